/* distinct: the values of one path, each once. By jumping from value to value through an index where one tells everything; else by reading
 * documents. See find.h.
 *
 * Values that compare equal are one: the first met stands for all, in the order of the index or else of arrival. */
#include "base/codes.h"
#include "bson/compare.h"
#include "index/key.h"
#include "query/distinct.h"

enum { STEPS_BEFORE_SEEK = 3 };

/* --- the answer --- */

struct values {
    struct op *op;
    struct buf *out;
    struct bbuild array;
    uint32_t *slots; /* offsets of elements in out, + 1; 0: free */
    uint32_t cap, count;
    bool failed;
    struct err *err;
    status st;
};

static struct bval element_at(const struct values *v, uint32_t at) {
    const uint8_t *p = v->out->p + at;
    const uint8_t *bytes = p + 1 + strlen((const char *) p + 1) + 1;
    return (struct bval){bytes, bval_len(p[0], bytes), p[0]};
}

static status grow(struct values *v) {
    uint32_t cap = v->cap != 0 ? v->cap * 2 : 64;
    uint32_t *slots = arena_array(&v->op->arena, uint32_t, cap);
    if (slots == NULL) return RAISE(v->err, ST_NOMEM, "distinct");
    for (uint32_t i = 0; i < v->cap; i++) {
        if (v->slots[i] == 0) continue;
        uint32_t at = (uint32_t) bval_hash(element_at(v, v->slots[i] - 1), 0) & (cap - 1);
        while (slots[at] != 0) at = (at + 1) & (cap - 1);
        slots[at] = v->slots[i];
    }
    v->slots = slots;
    v->cap = cap;
    return ST_OK;
}

static status add_value(struct values *v, struct bval value) {
    if (v->count * 2 >= v->cap) TRY(grow(v));
    uint32_t at = (uint32_t) bval_hash(value, 0) & (v->cap - 1);
    for (; v->slots[at] != 0; at = (at + 1) & (v->cap - 1)) {
        if (bval_equal(element_at(v, v->slots[at] - 1), value)) return ST_OK;
    }
    v->slots[at] = (uint32_t) v->out->len + 1;
    v->count++;
    bbuild_push(&v->array, value);
    if (v->out->failed) return RAISE(v->err, ST_NOMEM, "distinct");
    if (v->out->len - v->array.at > BSON_LEN_MAX) return RAISE_CODE(v->err, 17217, "distinct too big, 16mb cap");
    return ST_OK;
}

/* --- from documents --- */

static bool visit(void *ctx, struct bval v, unsigned found) {
    struct values *values = ctx;
    (void) found;
    if (v.type == B_MISSING) return false;
    if (v.type != B_ARRAY) {
        values->st = add_value(values, v);
        return values->st != ST_OK;
    }
    struct biter it = biter_of(bval_doc(v));
    struct belem e;
    while (values->st == ST_OK && biter_next(&it, &e)) values->st = add_value(values, e.value);
    return values->st != ST_OK;
}

static status from_documents(struct values *v, struct run *run, const struct path *path, struct err *err) {
    struct row row;
    status st;
    while ((st = run_next(run, &row, err)) == ST_OK) {
        (void) path_visit(row.doc, path, visit, v);
        if (v->st != ST_OK) return v->st;
    }
    return st == ST_END ? ST_OK : st;
}

/* --- from an index --- */

/* What of the first field's values is to be shown. The four that share a key (missing, null, undefined, empty array) are told apart by
 * their side bits: the missing one is no value. */
static status take_entry(struct values *v, const struct access *a, const struct index_entry *e, struct buf *scratch,
                         bool *taken) {
    struct slice key = e->key, side = e->side;
    struct bval value;
    buf_clear(scratch);
    TRY(key_decode_field(&key, a->view.fields[0].descending, &side, scratch, &value, v->err));
    *taken = value.type != B_MISSING;
    return *taken ? add_value(v, value) : ST_OK;
}

struct skipper {
    const struct access *access;
    struct index_scan *scan;
    struct buf target, given, scratch; /* given: the last field value that was taken */
    uint64_t keys, steps;
};

/* Where to go on from an entry inside the bounds: over the rest of its value, by steps at first. */
static bool skips(struct skipper *s, struct slice field) {
    if (s->given.len == 0 || !slice_equal(field, buf_slice(&s->given))) return false;
    if (++s->steps <= STEPS_BEFORE_SEEK) return false;
    buf_clear(&s->target);
    buf_append_slice(&s->target, field);
    key_successor(&s->target);
    return s->target.len > 0;
}

static status skip_through(struct values *v, struct skipper *s, struct err *err) {
    const struct scan_bounds *b = s->access->scan;
    bool seek = false;
    for (;;) {
        struct index_entry e;
        if (++s->keys % 128 == 0) TRY(op_check(v->op, err));
        status st = seek ? index_scan_seek(s->scan, buf_slice(&s->target), &e, err) : index_scan_next(s->scan, &e, err);
        if (st != ST_OK) return st == ST_END ? ST_OK : st;
        seek = false;
        enum key_place place = scan_bounds_place(b, e.key, false, &s->target);
        if (place == KEY_PAST) return ST_OK;
        size_t len = key_field_len(e.key, b->fields[0].descending);
        if (place == KEY_DAMAGED || len == 0) return RAISE(err, ST_CORRUPT, "damaged key in an index");
        if (place == KEY_BETWEEN) {
            seek = slice_compare(buf_slice(&s->target), e.key) > 0;
            continue;
        }
        struct slice field = slice_of(e.key.p, len);
        if (s->given.len != 0 && slice_equal(field, buf_slice(&s->given))) {
            seek = skips(s, field);
            if (s->target.len == 0 && s->steps > STEPS_BEFORE_SEEK) return ST_OK;
            continue;
        }
        bool taken;
        TRY(take_entry(v, s->access, &e, &s->scratch, &taken));
        if (!taken) continue;
        buf_clear(&s->given);
        buf_append_slice(&s->given, field);
        s->steps = 0;
        if (s->given.failed || s->target.failed) return RAISE(err, ST_NOMEM, "distinct");
    }
}

static status from_index(struct values *v, struct run *run, const struct access *a, uint64_t *keys, struct err *err) {
    struct skipper s = {.access = a};
    if (a->scan->is_empty) return ST_OK;
    buf_init(&s.target, v->op->mem);
    buf_init(&s.given, v->op->mem);
    buf_init(&s.scratch, v->op->mem);
    status st = index_scan_open(v->op, run->txn, run->collection, a->view.index, false, &s.scan, err);
    if (st == ST_OK) {
        st = index_scan_range(s.scan, a->scan->lo, a->scan->hi, err);
        if (st == ST_OK) st = skip_through(v, &s, err);
        index_scan_close(s.scan);
    }
    *keys = s.keys;
    buf_release(&s.target);
    buf_release(&s.given);
    buf_release(&s.scratch);
    return st;
}

/* --- which --- */

/* An index whose first field is the path, whose bounds leave nothing to check, and in which every document has one key. */
static status usable(struct run *run, const struct conjunction *c, const struct predicate_bounds *bounds_of,
                     struct bounds_maker *m, const struct index *ix, struct slice path, struct access **out,
                     struct err *err) {
    struct index_view view;
    *out = NULL;
    if (ix->state != INDEX_READY || ix->spec.kind != INDEX_ORDERED || !slice_equal(ix->spec.fields[0].path.text, path))
        return ST_OK;
    index_view_of(ix, &view);
    if (view.is_multikey || view.is_opaque[0]) return ST_OK;
    struct access *a;
    TRY(access_make(m, &view, c, bounds_of, UINT32_MAX, &a, err));
    for (uint32_t i = 0; i < c->top_count; i++) {
        if (!a->top_done[i]) return ST_OK;
    }
    (void) run;
    *out = a;
    return ST_OK;
}

status distinct_access(struct run *run, struct slice path, struct access **out, struct err *err) {
    struct arena *arena = run->query.arena;
    struct conjunction c;
    struct bounds_maker m;
    const struct match_node *root = run->query.matcher.root;
    *out = NULL;
    if (run->collection == NULL || run->query.hint.type != B_MISSING || run->query.matcher.text.is_set) return ST_OK;
    TRY(conjunction_make(arena, &root, 1, &c, err));
    struct predicate_bounds *bounds_of = arena_array(arena, struct predicate_bounds, c.predicate_count + 1);
    if (bounds_of == NULL) return RAISE(err, ST_NOMEM, "query plan");
    bounds_maker_init(&m, arena);
    status st = ST_OK;
    for (uint32_t i = 0; i < c.predicate_count && st == ST_OK; i++)
        st = predicate_bounds(&m, &c.predicates[i], &bounds_of[i], err);
    for (uint32_t i = 0; i < run->collection->index_count && st == ST_OK; i++) {
        struct access *a;
        st = usable(run, &c, bounds_of, &m, &run->collection->indexes[i], path, &a, err);
        if (st == ST_OK && a != NULL && (*out == NULL || a->bounded_count > (*out)->bounded_count)) *out = a;
    }
    bounds_maker_release(&m);
    return st;
}

status distinct_read(struct run *run, const struct access *a, const struct path *path, struct buf *out,
                     struct bdoc *values, uint64_t *keys, struct err *err) {
    struct values v = {.op = run->op, .out = out, .err = err};
    bbuild_begin(&v.array, out);
    TRY(a != NULL ? from_index(&v, run, a, keys, err) : from_documents(&v, run, path, err));
    *values = bbuild_finish(&v.array);
    return values->p != NULL ? ST_OK : RAISE(err, ST_NOMEM, "distinct");
}

status distinct_run(struct op *op, const struct find_request *req, struct slice key, struct buf *out,
                    struct bdoc *values, struct err *err) {
    struct run run;
    struct path path;
    struct access *a;
    uint64_t keys = 0;
    TRY(path_parse(&op->arena, key, &path, err));
    TRY(run_open(&run, op, req, &(struct run_opts){0}, err));
    status st = distinct_access(&run, key, &a, err);
    if (st == ST_OK) st = distinct_read(&run, a, &path, out, values, &keys, err);
    run_close(&run);
    return st;
}
