/* From index entries to documents: FETCH, in batches that are looked up in key order and given in the child's; COVERED, which rebuilds
 * them from the entries alone.
 *
 * A document with several keys inside the bounds is given at the first of them in scan direction, found by making its keys anew: document
 * and entries are of one snapshot, so no set of what was given is needed (documents of very many keys are remembered all the same, for speed). Where they are not of one moment (a transaction that goes on
 * writing while its cursor is open: rechecks), the locators given are remembered instead. */
#include "query/exec.h"

#include "base/hash.h"
#include "index/key.h"

enum {
    BATCH_FIRST = 16,
    BATCH_MAX = 256,
    BATCH_LEN_MAX = 4 * 1024 * 1024, /* about how many bytes of documents a batch may pin */
    KEYS_MANY =
        32, /* a document with more keys is remembered when it is given: to make them again at each would take the square of their number */
};

struct fetched {
    struct slice locator, key; /* in the batch's arena; key only when it is needed */
    double score;
};

struct seen { /* locators given: open addressing, p NULL is free */
    struct slice *slots;
    size_t count, cap, len;
};

struct fetch {
    struct stage base;
    struct stage *source;
    struct arena batch_arena;
    struct fetched *rows;
    struct slice *locators;
    struct kv_value *values;
    uint32_t count, at, size, cap; /* rows in the batch; next; how many to ask for; room */
    uint64_t left;                 /* rows that are wanted at most */
    bool is_rested, at_end, needs_key;
    struct buf target;
    struct seen seen;
};

/* --- each document once --- */

static size_t seen_slot(const struct slice *slots, size_t cap, struct slice locator) {
    size_t i = (size_t) hash64(locator.p, locator.len, 0) & (cap - 1);
    while (slots[i].p != NULL && !slice_equal(slots[i], locator)) i = (i + 1) & (cap - 1);
    return i;
}

static status seen_grow(struct fetch *f, struct err *err) {
    struct exec *x = f->base.x;
    size_t cap = f->seen.cap != 0 ? f->seen.cap * 2 : 64;
    struct slice *slots = arena_array(x->arena, struct slice, cap);
    if (slots == NULL) return RAISE(err, ST_NOMEM, "set of documents");
    for (size_t i = 0; i < f->seen.cap; i++) {
        if (f->seen.slots[i].p != NULL) slots[seen_slot(slots, cap, f->seen.slots[i])] = f->seen.slots[i];
    }
    f->seen.len += cap * sizeof(*slots);
    f->seen.slots = slots;
    f->seen.cap = cap;
    return ST_OK;
}

static status is_first_sight(struct fetch *f, struct slice locator, bool *first, struct err *err) {
    struct exec *x = f->base.x;
    if (f->seen.count * 2 >= f->seen.cap) TRY(seen_grow(f, err));
    size_t i = seen_slot(f->seen.slots, f->seen.cap, locator);
    *first = f->seen.slots[i].p == NULL;
    if (!*first) return ST_OK;
    f->seen.len += locator.len;
    if (f->seen.len > x->op->memory_max)
        return RAISE(err, ST_NOMEM,
                     "a query over a multikey index inside a transaction met its memory limit of %zu bytes",
                     x->op->memory_max);
    uint8_t *copy = arena_copy(x->arena, locator.p, locator.len);
    if (copy == NULL) return RAISE(err, ST_NOMEM, "set of documents");
    f->seen.slots[i] = slice_of(copy, locator.len);
    f->seen.count++;
    return ST_OK;
}

static status is_first_key(struct fetch *f, const struct fetched *r, struct bdoc doc, bool *first, struct err *err) {
    struct exec *x = f->base.x;
    const struct access *a = f->base.plan->access;
    struct key_set set;
    *first = false;
    if (f->seen.count > 0 && f->seen.slots[seen_slot(f->seen.slots, f->seen.cap, r->locator)].p != NULL) return ST_OK;
    arena_reset(&x->row_arena);
    TRY(keygen(&a->view.index->spec, doc, &x->row_arena, &set, err));
    bool backward = f->base.plan->backward;
    for (uint32_t i = 0; i < set.count; i++) {
        const struct index_key *k = &set.keys[backward ? set.count - 1 - i : i];
        if (scan_bounds_place(a->scan, k->key, backward, &f->target) != KEY_INSIDE) continue;
        *first = slice_equal(k->key, r->key);
        bool added;
        if (*first && set.count > KEYS_MANY)
            (void) is_first_sight(f, r->locator, &added, NULL); /* without memory it is only slower */
        return ST_OK;
    }
    return ST_OK;
}

/* --- batches --- */

static void release_values(struct fetch *f, uint32_t from) {
    for (uint32_t i = from; i < f->count; i++) kv_value_release(&f->values[i]);
}

static status copy_slice(struct arena *arena, struct slice s, struct slice *out, struct err *err) {
    uint8_t *p = arena_copy(arena, s.p, s.len);
    if (p == NULL) return RAISE(err, ST_NOMEM, "fetch");
    *out = slice_of(p, s.len);
    return ST_OK;
}

static status get_documents(struct fetch *f, uint32_t from, struct err *err) {
    struct exec *x = f->base.x;
    return record_get_many(x->op, x->txn, x->collection, f->locators + from, f->count - from, f->values + from, err);
}

/* Room for `size` rows; the batch is empty. */
static status make_room(struct fetch *f, struct err *err) {
    uint32_t cap = f->size < f->left ? f->size : (uint32_t) f->left;
    if (cap <= f->cap) return ST_OK;
    struct arena *arena = f->base.x->arena;
    f->rows = arena_alloc(arena, cap * sizeof(*f->rows));
    f->locators = arena_alloc(arena, cap * sizeof(*f->locators));
    f->values = arena_alloc(arena, cap * sizeof(*f->values));
    f->cap = f->rows != NULL && f->locators != NULL && f->values != NULL ? cap : 0;
    return f->cap != 0 ? ST_OK : RAISE(err, ST_NOMEM, "fetch");
}

/* Pulls the next batch of entries and looks their documents up. Batches grow while documents are small. */
static status fill(struct fetch *f, struct err *err) {
    release_values(f, 0);
    arena_reset(&f->batch_arena);
    f->count = f->at = 0;
    TRY(make_room(f, err));
    while (f->count < f->size && f->count < f->left && !f->at_end) {
        struct row r = {0};
        status st = stage_next(f->source, &r, err);
        if (st == ST_END) {
            f->at_end = true;
            break;
        }
        if (st != ST_OK) {
            f->count = 0;
            return st;
        }
        struct fetched *row = &f->rows[f->count];
        *row = (struct fetched){.score = r.score};
        st = copy_slice(&f->batch_arena, r.locator, &row->locator, err);
        if (st == ST_OK && f->needs_key) st = copy_slice(&f->batch_arena, r.key, &row->key, err);
        if (st != ST_OK) {
            f->count = 0;
            return st;
        }
        f->values[f->count] = KV_VALUE_INIT;
        f->locators[f->count++] = row->locator;
    }
    if (f->count == 0) return ST_END;
    status st = get_documents(f, 0, err);
    if (st != ST_OK) {
        f->count = 0;
        return st;
    }
    f->left -= f->count;
    size_t len = 1;
    for (uint32_t i = 0; i < f->count; i++) len += f->values[i].bytes.len;
    size_t size = (size_t) f->size * 8, fits = BATCH_LEN_MAX / (len / f->count + 1) + 1;
    if (size > fits) size = fits;
    f->size = (uint32_t) (size < BATCH_MAX ? size : BATCH_MAX);
    return ST_OK;
}

static status fetch_check(struct fetch *f, const struct fetched *r, struct bdoc doc, bool *wanted, struct err *err) {
    struct exec *x = f->base.x;
    TRY(exec_matches(x, f->base.plan->filter, doc, wanted, err));
    if (!*wanted || !f->base.plan->dedups) return ST_OK;
    return x->rechecks ? is_first_sight(f, r->locator, wanted, err) : is_first_key(f, r, doc, wanted, err);
}

static status fetch_next(struct stage *s, struct row *out, struct err *err) {
    struct fetch *f = (struct fetch *) s;
    for (;;) {
        TRY(exec_tick(s->x, err));
        if (f->at == f->count) TRY(fill(f, err));
        if (f->is_rested) {
            TRY(get_documents(f, f->at, err));
            f->is_rested = false;
        }
        const struct fetched *r = &f->rows[f->at];
        struct slice bytes = f->values[f->at++].bytes;
        if (bytes.p == NULL) {
            if (s->x->rechecks) continue;
            return RAISE(err, ST_CORRUPT, "an index entry leads to no document");
        }
        s->stats.documents++;
        out->doc = bdoc_of(bytes.p);
        bool wanted;
        TRY(fetch_check(f, r, out->doc, &wanted, err));
        if (!wanted) continue;
        out->locator = r->locator;
        out->key = out->side = SLICE_NONE;
        out->score = r->score;
        return ST_OK;
    }
}

static void fetch_rest(struct stage *s) {
    struct fetch *f = (struct fetch *) s;
    release_values(f, 0);
    f->is_rested = f->at < f->count;
}

static void fetch_close(struct stage *s) {
    struct fetch *f = (struct fetch *) s;
    release_values(f, 0);
    f->count = f->at = 0;
    arena_release(&f->batch_arena);
    buf_release(&f->target);
}

status stage_fetch_open(struct exec *x, const struct plan_node *plan, struct stage **out, struct err *err) {
    static const struct stage_ops ops = {fetch_next, fetch_rest, fetch_close};
    struct fetch *f;
    TRY(stage_new(x, plan, &ops, sizeof(*f), &f, err));
    arena_init(&f->batch_arena, x->op->mem);
    buf_init(&f->target, x->op->mem);
    f->size = BATCH_FIRST;
    f->left = plan->count > 0 ? plan->count : UINT64_MAX;
    f->needs_key = plan->dedups && !x->rechecks;
    if (plan->stage == PLAN_TEXT) TRY(stage_text_open(x, plan, &f->source, err));
    else f->source = f->base.children[0];
    *out = &f->base;
    return ST_OK;
}

/* --- COVERED --- */

struct covered {
    struct stage base;
    const struct path *path; /* the one field besides _id */
    uint32_t field_idx;      /* in the index */
    bool has_id;
    struct buf values, doc, key;
    struct kv_value fetched;
};

/* Decodes the wanted field and the _id. *missing: the document has no such field, or the entry does not tell. */
static status decode_entry(struct covered *c, const struct row *in, size_t *id_at, size_t *value_at, bool *missing,
                           struct err *err) {
    const struct index_view *v = &c->base.plan->access->view;
    struct slice key = in->key, side = in->side, locator = in->locator;
    struct bval value;
    *missing = true;
    buf_clear(&c->values);
    for (uint32_t f = 0; f < v->field_count; f++) {
        size_t at = c->values.len;
        TRY(key_decode_field(&key, v->fields[f].descending, &side, &c->values, &value, err));
        if (f != c->field_idx) continue;
        *missing = value.type == B_MISSING;
        *value_at = at;
    }
    *id_at = c->values.len;
    return c->has_id ? key_decode_field(&locator, false, &side, &c->values, &value, err) : ST_OK;
}

/* A decoded field stands as an element with an empty name: type, 0, bytes. */
static struct bval value_at(const struct buf *b, size_t at) {
    const uint8_t *p = b->p + at;
    return (struct bval){p + 2, bval_len(p[0], p + 2), p[0]};
}

static void append_nested(struct bbuild *b, const struct path *path, uint32_t part, struct bval v) {
    if (part + 1 == path->part_count) {
        bbuild_value(b, path->parts[part].name, v);
        return;
    }
    struct bbuild sub = bbuild_open_doc(b, path->parts[part].name);
    append_nested(&sub, path, part + 1, v);
    bbuild_close(&sub);
}

static status covered_next(struct stage *s, struct row *out, struct err *err) {
    struct covered *c = (struct covered *) s;
    struct row in = {0};
    size_t id_at = 0, at = 0;
    bool missing;
    kv_value_release(&c->fetched);
    TRY(stage_next(s->children[0], &in, err));
    TRY(decode_entry(c, &in, &id_at, &at, &missing, err));
    *out = in;
    if (missing && c->path->part_count > 1) {
        /* {a: {}} and {} have no a.b alike, and are projected apart. */
        status st = record_get_at(s->x->txn, s->x->collection, in.locator, &c->key, &c->fetched, err);
        if (st == ST_NOT_FOUND) return RAISE(err, ST_CORRUPT, "an index entry leads to no document");
        TRY(st);
        s->stats.documents++;
        out->doc = bdoc_of(c->fetched.bytes.p);
        return ST_OK;
    }
    struct bbuild b;
    buf_clear(&c->doc);
    bbuild_begin(&b, &c->doc);
    if (c->has_id) bbuild_value(&b, SLICE_LIT("_id"), value_at(&c->values, id_at));
    if (!missing) append_nested(&b, c->path, 0, value_at(&c->values, at));
    out->doc = bbuild_finish(&b);
    return out->doc.p != NULL ? ST_OK : RAISE(err, ST_NOMEM, "covered document");
}

static void covered_rest(struct stage *s) { kv_value_release(&((struct covered *) s)->fetched); }

static void covered_close(struct stage *s) {
    struct covered *c = (struct covered *) s;
    kv_value_release(&c->fetched);
    buf_release(&c->values);
    buf_release(&c->doc);
    buf_release(&c->key);
}

status stage_covered_open(struct exec *x, const struct plan_node *plan, struct stage **out, struct err *err) {
    static const struct stage_ops ops = {covered_next, covered_rest, covered_close};
    struct covered *c;
    TRY(stage_new(x, plan, &ops, sizeof(*c), &c, err));
    buf_init(&c->values, x->op->mem);
    buf_init(&c->doc, x->op->mem);
    buf_init(&c->key, x->op->mem);
    uint32_t count;
    const struct path *paths = projection_paths(x->query->projection, &count);
    for (uint32_t i = 0; i < count; i++) {
        if (slice_equal(paths[i].text, SLICE_LIT("_id"))) c->has_id = true;
        else c->path = &paths[i];
    }
    for (uint32_t f = 0; f < plan->access->view.field_count; f++) {
        if (slice_equal(plan->access->view.fields[f].path.text, c->path->text)) c->field_idx = f;
    }
    *out = &c->base;
    return ST_OK;
}
