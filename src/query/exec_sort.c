/* SORT: all rows of the child in the order of their sort keys; rows of one key in the order in which they came.
 *
 * Without a limit every row is kept, then sorted; with one, a heap holds the best so far, its worst at the top. Either way the memory is
 * bounded by the op's budget: past it the query fails with MongoDB's 292. */
#include <stdlib.h>

#include "base/codes.h"
#include "query/exec.h"

/* One row: this header, key, document, locator in one piece. */
struct item {
    uint64_t head; /* the key's first eight bytes, big-endian: most comparisons end here */
    uint64_t arrival;
    double score;
    uint32_t key_len, doc_len, locator_len;
};

struct sorter {
    struct stage base;
    struct item **items;
    size_t count, cap, at;
    size_t len; /* bytes held */
    uint64_t arrivals, wanted;
    bool is_filled;
    struct item *given; /* freed at the next call */
    struct buf key;
};

static uint8_t *item_key(const struct item *it) { return (uint8_t *) (uintptr_t) (it + 1); }
static size_t item_len(const struct item *it) {
    return sizeof(*it) + (size_t) it->key_len + it->doc_len + it->locator_len;
}

static uint64_t head_of(struct slice key) {
    uint8_t b[8] = {0};
    if (key.len != 0) memcpy(b, key.p, key.len < 8 ? key.len : 8);
    uint64_t v;
    memcpy(&v, b, 8);
    return __builtin_bswap64(v);
}

static int compare_items(const struct item *a, const struct item *b) {
    if (a->head != b->head) return a->head < b->head ? -1 : 1;
    int c = slice_compare(slice_of(item_key(a), a->key_len), slice_of(item_key(b), b->key_len));
    return c != 0 ? c : (a->arrival > b->arrival) - (a->arrival < b->arrival);
}

static int compare_pointers(const void *a, const void *b) {
    return compare_items(*(struct item *const *) a, *(struct item *const *) b);
}

static void free_item(struct sorter *s, struct item *it) {
    if (it == NULL) return;
    s->len -= item_len(it);
    mem_free(s->base.x->op->mem, it, item_len(it));
}

static status too_large(struct sorter *s, struct err *err) {
    struct exec *x = s->base.x;
    if (x->query->allow_disk_use)
        return RAISE_CODE(
            err, CODE_QueryExceededMemoryLimitNoDiskUseAllowed,
            "Sort exceeded memory limit of %zu bytes; sorting on disk (allowDiskUse) is not supported yet",
            x->op->memory_max);
    return RAISE_CODE(err, CODE_QueryExceededMemoryLimitNoDiskUseAllowed,
                      "Executor error during find command :: caused by :: Sort exceeded memory limit of %zu bytes, but "
                      "did not opt in to external sorting. "
                      "Aborting operation. Pass allowDiskUse:true to opt in.",
                      x->op->memory_max);
}

static status new_item(struct sorter *s, const struct row *r, struct item **out, struct err *err) {
    struct slice key = buf_slice(&s->key);
    struct item shape = {head_of(key),       s->arrivals++, r->score,
                         (uint32_t) key.len, r->doc.len,    (uint32_t) r->locator.len};
    struct item *it = mem_alloc(s->base.x->op->mem, item_len(&shape));
    if (it == NULL) return RAISE(err, ST_NOMEM, "sort");
    *it = shape;
    uint8_t *p = item_key(it);
    if (key.len != 0) memcpy(p, key.p, key.len);
    memcpy(p + key.len, r->doc.p, r->doc.len);
    if (r->locator.len != 0) memcpy(p + key.len + r->doc.len, r->locator.p, r->locator.len);
    s->len += item_len(it);
    if (s->len > s->base.stats.memory_max) s->base.stats.memory_max = s->len;
    *out = it;
    return ST_OK;
}

/* --- the heap: the worst row kept is at the top --- */

static void sift_down(struct item **h, size_t count, size_t at) {
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= count) return;
        if (child + 1 < count && compare_items(h[child + 1], h[child]) > 0) child++;
        if (compare_items(h[at], h[child]) >= 0) return;
        struct item *t = h[at];
        h[at] = h[child];
        h[child] = t;
        at = child;
    }
}

static void sift_up(struct item **h, size_t at) {
    while (at > 0 && compare_items(h[at], h[(at - 1) / 2]) > 0) {
        struct item *t = h[at];
        h[at] = h[(at - 1) / 2];
        h[(at - 1) / 2] = t;
        at = (at - 1) / 2;
    }
}

/* Is the row in s->key worse than the worst kept (or equal to it and later)? */
static bool is_beaten(const struct sorter *s) {
    const struct item *worst = s->items[0];
    struct slice key = buf_slice(&s->key);
    uint64_t head = head_of(key);
    if (head != worst->head) return head > worst->head;
    return slice_compare(key, slice_of(item_key(worst), worst->key_len)) >= 0;
}

static status keep(struct sorter *s, const struct row *r, struct err *err) {
    struct exec *x = s->base.x;
    bool full = s->wanted > 0 && s->count == s->wanted;
    if (full && is_beaten(s)) return ST_OK;
    struct item *it = NULL;
    void *items = s->items;
    if (!full && !mem_grow(x->op->mem, &items, &s->cap, s->count + 1, sizeof(*s->items)))
        return RAISE(err, ST_NOMEM, "sort");
    s->items = items;
    TRY(new_item(s, r, &it, err));
    if (full) {
        free_item(s, s->items[0]);
        s->items[0] = it;
        sift_down(s->items, s->count, 0);
    } else {
        s->items[s->count++] = it;
        if (s->wanted > 0) sift_up(s->items, s->count - 1);
    }
    return s->len + s->count * sizeof(*s->items) <= x->op->memory_max ? ST_OK : too_large(s, err);
}

static status fill(struct sorter *s, struct err *err) {
    struct exec *x = s->base.x;
    for (;;) {
        struct row r = {0};
        TRY(exec_tick(x, err));
        status st = stage_next(s->base.children[0], &r, err);
        if (st == ST_END) break;
        if (st != ST_OK) return st;
        arena_reset(&x->row_arena);
        buf_clear(&s->key);
        TRY(sort_key_append(x->query->sort, r.doc, r.score, &x->row_arena, &s->key, err));
        if (s->key.failed) return RAISE(err, ST_NOMEM, "sort");
        TRY(keep(s, &r, err));
    }
    if (s->count > 1) qsort(s->items, s->count, sizeof(*s->items), compare_pointers);
    s->is_filled = true;
    return ST_OK;
}

static status sort_next(struct stage *stage, struct row *out, struct err *err) {
    struct sorter *s = (struct sorter *) stage;
    if (!s->is_filled) TRY(fill(s, err));
    free_item(s, s->given);
    s->given = NULL;
    if (s->at == s->count) return ST_END;
    struct item *it = s->given = s->items[s->at++];
    uint8_t *p = item_key(it) + it->key_len;
    *out = (struct row){.doc = {p, it->doc_len},
                        .locator = slice_of(p + it->doc_len, it->locator_len),
                        .score = it->score};
    return ST_OK;
}

static void sort_close(struct stage *stage) {
    struct sorter *s = (struct sorter *) stage;
    free_item(s, s->given);
    while (s->at < s->count) free_item(s, s->items[s->at++]);
    if (s->items != NULL) mem_free(stage->x->op->mem, s->items, s->cap * sizeof(*s->items));
    s->given = NULL;
    s->items = NULL;
    s->count = s->at = s->cap = 0;
    buf_release(&s->key);
}

status stage_sort_open(struct exec *x, const struct plan_node *plan, struct stage **out, struct err *err) {
    static const struct stage_ops ops = {sort_next, stage_rest_nothing, sort_close};
    struct sorter *s;
    TRY(stage_new(x, plan, &ops, sizeof(*s), &s, err));
    buf_init(&s->key, x->op->mem);
    s->wanted = plan->count;
    *out = &s->base;
    return ST_OK;
}
