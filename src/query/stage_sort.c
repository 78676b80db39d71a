/* $sort: all rows in order, or the first few of them (a $limit behind it). A leading one goes into the source, where an index may give the order.
 *
 * Rows stand behind each other in one piece each: header, key, document. With a limit a heap holds the best so far, the worst at its top. */
#include <stdlib.h>

#include "eval/sort_key.h"
#include "query/pipeline_internal.h"

struct item {
    uint64_t arrival;
    double score;
    bool has_score;
    uint32_t key_len, doc_len;
    uint8_t bytes[];
};

struct sort_stage {
    struct pipe_stage base;
    struct bdoc spec;
    struct sort_pattern *pattern;
    uint64_t limit; /* 0: all */
    struct item **items;
    size_t count, cap, at;
    uint64_t arrivals;
    bool is_filled;
    struct buf key;
};

static size_t item_len(const struct item *it) { return sizeof(*it) + it->key_len + it->doc_len; }

static int compare(const struct item *a, const struct item *b) {
    int c = slice_compare(slice_of(a->bytes, a->key_len), slice_of(b->bytes, b->key_len));
    return c != 0 ? c : (a->arrival > b->arrival) - (a->arrival < b->arrival);
}

static int compare_pointers(const void *a, const void *b) {
    return compare(*(struct item *const *) a, *(struct item *const *) b);
}

static void free_item(struct sort_stage *s, struct item *it) {
    pipe_discharge(s->base.list->p, item_len(it) + sizeof(void *));
    mem_free(s->base.list->p->op.mem, it, item_len(it));
}

static void swap(struct item **a, struct item **b) {
    struct item *t = *a;
    *a = *b;
    *b = t;
}

static void sift_down(struct item **h, size_t count, size_t at) {
    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && compare(h[child + 1], h[child]) > 0) child++;
        if (compare(h[at], h[child]) >= 0) return;
        swap(&h[at], &h[child]);
    }
}

static void sift_up(struct item **h, size_t at) {
    for (; at > 0 && compare(h[at], h[(at - 1) / 2]) > 0; at = (at - 1) / 2) swap(&h[at], &h[(at - 1) / 2]);
}

static status keep(struct sort_stage *s, const struct pipe_row *row, struct err *err) {
    struct pipeline *p = s->base.list->p;
    struct item shape = {s->arrivals++, row->score, row->has_score, (uint32_t) s->key.len, row->doc.len};
    bool is_full = s->limit != 0 && s->count == s->limit;
    if (is_full) { /* later than all kept: it must be better than the worst */
        const struct item *worst = s->items[0];
        if (slice_compare(buf_slice(&s->key), slice_of(worst->bytes, worst->key_len)) >= 0) return ST_OK;
    }
    void *items = s->items;
    if (!is_full && !mem_grow(p->op.mem, &items, &s->cap, s->count + 1, sizeof(*s->items)))
        return RAISE(err, ST_NOMEM, "$sort");
    s->items = items;
    struct item *it = mem_alloc(p->op.mem, item_len(&shape));
    if (it == NULL) return RAISE(err, ST_NOMEM, "$sort");
    *it = shape;
    memcpy(it->bytes, s->key.p, s->key.len);
    memcpy(it->bytes + s->key.len, row->doc.p, row->doc.len);
    if (is_full) {
        free_item(s, s->items[0]);
        s->items[0] = it;
        sift_down(s->items, s->count, 0);
    } else {
        s->items[s->count++] = it;
        if (s->limit != 0) sift_up(s->items, s->count - 1);
    }
    return pipe_charge(p, "$sort", item_len(it) + sizeof(void *), err);
}

static status fill(struct sort_stage *s, struct err *err) {
    struct pipe_row row;
    status st;
    while ((st = pipe_next(&s->base, &row, err)) == ST_OK) {
        struct expr_run *x = pipe_run(&s->base, &row, err);
        TRY(pipe_tick(s->base.list->p, err));
        buf_clear(&s->key);
        TRY(sort_key_append(s->pattern, row.doc, row.score, x->arena, &s->key, err));
        TRY(keep(s, &row, err));
    }
    if (st != ST_END) return st;
    if (s->count > 1) qsort(s->items, s->count, sizeof(*s->items), compare_pointers);
    s->is_filled = true;
    return ST_OK;
}

static void drop(struct sort_stage *s) {
    size_t from = s->is_filled && s->at > 0 ? s->at - 1 : 0;
    for (size_t i = from; i < s->count; i++) free_item(s, s->items[i]);
    s->count = s->at = 0;
    s->is_filled = false;
}

static status sort_next(struct pipe_stage *stage, struct pipe_row *out, struct err *err) {
    struct sort_stage *s = (struct sort_stage *) stage;
    if (!s->is_filled) TRY(fill(s, err));
    if (s->at > s->count) return ST_END;
    if (s->at > 0) free_item(s, s->items[s->at - 1]);
    s->at++;
    if (s->at > s->count) return ST_END;
    struct item *it = s->items[s->at - 1];
    *out = (struct pipe_row){{it->bytes + it->key_len, it->doc_len}, it->score, it->has_score};
    return ST_OK;
}

static status sort_restart(struct pipe_stage *stage, struct err *err) {
    (void) err;
    drop((struct sort_stage *) stage);
    return ST_OK;
}

static void sort_close(struct pipe_stage *stage) {
    struct sort_stage *s = (struct sort_stage *) stage;
    drop(s);
    mem_free(stage->list->p->op.mem, s->items, s->cap * sizeof(*s->items));
    buf_release(&s->key);
}

static status sort_deps(const struct pipe_stage *stage, struct expr_deps *deps, bool *ends, struct err *err) {
    const struct sort_stage *s = (const struct sort_stage *) stage;
    *ends = false;
    for (uint32_t i = 0; i < s->pattern->field_count; i++) {
        if (!s->pattern->fields[i].is_text_score) TRY(expr_deps_add_path(deps, s->pattern->fields[i].path.text, err));
    }
    return ST_OK;
}

/* With a limit a filter behind it means something else than one before it. */
static bool sort_passes(const struct pipe_stage *stage, struct slice path) {
    (void) path;
    return ((const struct sort_stage *) stage)->limit == 0;
}

static void sort_show(const struct pipe_stage *stage, struct bbuild *out) {
    const struct sort_stage *s = (const struct sort_stage *) stage;
    struct bbuild inner = bbuild_open_doc(out, SLICE_LIT("$sort"));
    struct bbuild key = bbuild_open_doc(&inner, SLICE_LIT("sortKey"));
    bbuild_elems(&key, s->spec);
    bbuild_close(&key);
    if (s->limit != 0) bbuild_int64(&inner, "limit", (int64_t) s->limit);
    bbuild_close(&inner);
}

static const struct stage_vtable ops = {.next = sort_next,
                                        .restart = sort_restart,
                                        .close = sort_close,
                                        .deps = sort_deps,
                                        .passes = sort_passes,
                                        .show = sort_show};

struct bdoc sort_spec(const struct pipe_stage *s) {
    return ((const struct sort_stage *) s)->spec;
}
void sort_set_limit(struct pipe_stage *stage, uint64_t limit) { ((struct sort_stage *) stage)->limit = limit; }
uint64_t sort_limit(const struct pipe_stage *s) { return ((const struct sort_stage *) s)->limit; }

static status parse(struct pipe_parse *ps, struct bval spec) {
    struct sort_stage *s;
    if (spec.type != B_DOCUMENT) return RAISE_CODE(ps->err, 15973, "the $sort key specification must be an object");
    if (bdoc_is_empty(bval_doc(spec))) return RAISE_CODE(ps->err, 15976, "$sort stage must have at least one sort key");
    TRY(pipe_append(ps, &stage_sort, &ops, sizeof(*s), &s));
    buf_init(&s->key, ps->list->p->op.mem);
    s->spec = bval_doc(spec);
    s->pattern = arena_new(pipe_arena(ps), struct sort_pattern);
    if (s->pattern == NULL) return RAISE(ps->err, ST_NOMEM, "$sort");
    TRY(sort_pattern_parse(pipe_arena(ps), s->spec, s->pattern, ps->err));
    for (uint32_t i = 0; i < s->pattern->field_count; i++) {
        if (s->pattern->fields[i].is_text_score) ps->list->p->env.scope.reads_score = true;
    }
    return ST_OK;
}

const struct stage_def stage_sort = {"$sort", STAGE_KEEPS_DOCUMENTS | STAGE_KEEPS_COUNT | STAGE_BLOCKS, parse};
