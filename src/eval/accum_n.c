/* $firstN, $lastN, $minN, $maxN, and $top, $bottom with their N: the n first, last or best of a group.
 *
 * What is kept stands as records (order key, value) in arrival order; when there are n more than wanted, the worst half
 * goes. The key is empty for $firstN and $lastN, whose order is arrival. */
#include "bson/compare.h"
#include "eval/accum_internal.h"
#include "index/key.h"

#include <math.h>
#include <stdlib.h>

enum { CODE_N_NOT_OBJECT = 5787801, CODE_N_UNKNOWN = 5787901 };

/* What the rows differ in. */
struct n_kind {
    const char *name;
    bool keeps_last; /* the greatest keys, the latest arrivals */
    bool by_value;   /* key: the value itself */
    bool by_sort;    /* key: a sort pattern's */
    bool single;     /* the value itself, not an array */
};

static const struct n_kind kinds[] = {
    {"$firstN", false, false, false, false}, {"$lastN", true, false, false, false},
    {"$minN", false, true, false, false},    {"$maxN", true, true, false, false},
    {"$topN", false, false, true, false},    {"$bottomN", true, false, true, false},
    {"$top", false, false, true, true},      {"$bottom", true, false, true, true},
};

static const struct n_kind *kind_of(const char *name) {
    size_t i = 0;
    while (strcmp(kinds[i].name, name) != 0) i++;
    return &kinds[i];
}

struct n_item {
    uint64_t arrival;
    uint32_t key_len, value_len;
    uint8_t type;
    uint8_t bytes[];
};

struct n_state {
    int64_t n; /* 0: not known yet */
    uint64_t arrivals;
    struct n_item **items;
    size_t count, cap;
};

/* --- parsing --------------------------------------------------------------------------------------------------- */

static status parse_fields(struct bval arg, const struct n_kind *k, struct bval *n, struct bval *input,
                           struct bval *sort, struct err *err) {
    if (arg.type != B_DOCUMENT)
        return RAISE_CODE(err, k->by_sort ? 5788001 : CODE_N_NOT_OBJECT,
                          "specification must be an object; found %s :%s", k->name, btype_name(arg.type));
    struct biter it = biter_of(bval_doc(arg));
    struct belem f;
    while (biter_next(&it, &f)) {
        if (!k->single && slice_equal(f.name, SLICE_LIT("n"))) *n = f.value;
        else if (slice_equal(f.name, k->by_sort ? SLICE_LIT("output") : SLICE_LIT("input"))) *input = f.value;
        else if (k->by_sort && slice_equal(f.name, SLICE_LIT("sortBy"))) *sort = f.value;
        else
            return RAISE_CODE(err, k->by_sort ? 5788002 : CODE_N_UNKNOWN, "Unknown argument to %s '%.*s'", k->name,
                              SLICE_ARGS(f.name));
    }
    if (!k->single && n->type == B_MISSING)
        return RAISE_CODE(err, k->by_sort ? 5788003 : 5787906, "Missing value for 'n'");
    if (input->type == B_MISSING)
        return RAISE_CODE(err, k->by_sort ? 5788004 : 5787907, "Missing value for '%s'",
                          k->by_sort ? "output" : "input");
    if (k->by_sort && sort->type == B_MISSING) return RAISE_CODE(err, 5788005, "Missing value for 'sortBy'");
    if (k->by_sort && sort->type != B_DOCUMENT)
        return RAISE_CODE(err, 5788604, "expected 'sortBy' to already be an object in the arguments to %s", k->name);
    return ST_OK;
}

static status check_n(struct bval v, int64_t *n, struct err *err) {
    if (!bval_is_number(v))
        return RAISE_CODE(err, 5787902, "Value for 'n' must be of integral type, but found %s", btype_name(v.type));
    if (!expr_int64(v, n))
        return RAISE_CODE(err, bnum_is_integral(bnum_of(v)) || !isfinite(bnum_to_double(bnum_of(v))) ? 31109 : 5787903,
                          "Value for 'n' must be of integral type that 64 bits hold");
    return *n > 0 ? ST_OK : RAISE_CODE(err, 5787908, "'n' must be greater than 0, found %lld", (long long) *n);
}

static status parse_n(struct expr_scope *scope, struct bval arg, struct accum *out, struct err *err) {
    const struct n_kind *k = kind_of(out->op->name);
    struct bval n = BVAL_MISSING, input = BVAL_MISSING, sort = BVAL_MISSING;
    TRY(parse_fields(arg, k, &n, &input, &sort, err));
    if (!k->single) TRY(expr_parse(scope, n, &out->n, err));
    struct bval constant;
    int64_t count;
    if (out->n != NULL && expr_constant(out->n, &constant)) TRY(check_n(constant, &count, err));
    TRY(expr_parse(scope, input, &out->arg, err));
    if (!k->by_sort) return ST_OK;
    struct sort_pattern *p = arena_new(scope->arena, struct sort_pattern);
    if (p == NULL) return RAISE(err, ST_NOMEM, "accumulator");
    out->sort = p;
    return sort_pattern_parse(scope->arena, bval_doc(sort), p, err);
}

/* --- keeping --------------------------------------------------------------------------------------------------- */

static int compare_items(const struct n_item *a, const struct n_item *b) {
    int c = slice_compare(slice_of(a->bytes, a->key_len), slice_of(b->bytes, b->key_len));
    return c != 0 ? c : (a->arrival > b->arrival) - (a->arrival < b->arrival);
}

static int compare_pointers(const void *a, const void *b) {
    return compare_items(*(struct n_item *const *) a, *(struct n_item *const *) b);
}

static size_t item_len(const struct n_item *it) { return sizeof(*it) + it->key_len + it->value_len; }

static void free_item(struct accum_run *r, struct n_item *it) {
    r->memory -= item_len(it);
    mem_free(r->mem, it, item_len(it));
}

/* Down to n, in order. */
static void trim(struct accum_run *r, struct n_state *s, const struct n_kind *k) {
    if (s->count > 1) qsort(s->items, s->count, sizeof(*s->items), compare_pointers);
    size_t n = (uint64_t) s->n < s->count ? (size_t) s->n : s->count, drop = s->count - n;
    if (k->keeps_last) {
        for (size_t i = 0; i < drop; i++) free_item(r, s->items[i]);
        if (n != 0) memmove(s->items, s->items + drop, n * sizeof(*s->items));
    } else {
        for (size_t i = n; i < s->count; i++) free_item(r, s->items[i]);
    }
    s->count = n;
}

static status read_n(struct accum_run *r, const struct accum *a, struct n_state *s, struct err *err) {
    struct bval v;
    int64_t n = 1;
    if (a->n != NULL) {
        TRY(expr_eval(r->x, a->n, &v));
        TRY(check_n(v, &n, err));
    }
    s->n = n;
    return ST_OK;
}

static status append_item(struct accum_run *r, struct n_state *s, struct slice key, struct bval v, struct err *err) {
    struct n_item shape = {s->arrivals++, (uint32_t) key.len, v.len, v.type};
    void *items = s->items;
    size_t cap = s->cap;
    if (!mem_grow(r->mem, &items, &s->cap, s->count + 1, sizeof(*s->items))) return RAISE(err, ST_NOMEM, "accumulator");
    s->items = items;
    r->memory += (s->cap - cap) * sizeof(*s->items);
    struct n_item *it = mem_alloc(r->mem, item_len(&shape));
    if (it == NULL) return RAISE(err, ST_NOMEM, "accumulator");
    r->memory += item_len(&shape);
    *it = shape;
    if (key.len != 0) memcpy(it->bytes, key.p, key.len);
    if (v.len != 0) memcpy(it->bytes + key.len, v.p, v.len);
    s->items[s->count++] = it;
    return ST_OK;
}

static status add_n(struct accum_run *r, const struct accum *a, void *state, struct bval v, struct err *err) {
    struct n_state *s = state;
    const struct n_kind *k = kind_of(a->op->name);
    struct buf key;
    if (s->n == 0) TRY(read_n(r, a, s, err));
    if (k->by_value && bval_is_nullish(v)) return ST_OK;
    if (!k->by_value && !k->by_sort && !k->keeps_last && (uint64_t) s->n <= s->count) return ST_OK;
    if (v.type == B_MISSING) v = expr_null;
    buf_init(&key, r->mem);
    if (k->by_value) key_append(&key, v, false);
    status st = key.failed ? RAISE(err, ST_NOMEM, "accumulator") : ST_OK;
    if (k->by_sort) st = sort_key_append(a->sort, r->x->root, r->x->score, r->x->arena, &key, err);
    if (st == ST_OK) st = append_item(r, s, buf_slice(&key), v, err);
    buf_release(&key);
    if (st == ST_OK && s->count >= 64 && s->count / 2 >= (uint64_t) s->n) trim(r, s, k);
    return st;
}

static status n_result(struct accum_run *r, const struct accum *a, void *state, struct bval *out) {
    struct n_state *s = state;
    const struct n_kind *k = kind_of(a->op->name);
    struct expr_list list = {0};
    trim(r, s, k);
    for (size_t i = 0; i < s->count; i++) {
        const struct n_item *it = s->items[strcmp(k->name, "$maxN") == 0 ? s->count - 1 - i : i];
        TRY(expr_list_push(r->x, &list, (struct bval){it->bytes + it->key_len, it->value_len, it->type}));
    }
    if (!k->single) return expr_put_array(r->x, list.at, list.count, out);
    *out = list.count != 0 ? list.at[0] : expr_null;
    return ST_OK;
}

static void release_n(struct accum_run *r, void *state) {
    struct n_state *s = state;
    for (size_t i = 0; i < s->count; i++) free_item(r, s->items[i]);
    r->memory -= s->cap * sizeof(*s->items);
    mem_free(r->mem, s->items, s->cap * sizeof(*s->items));
}

const struct accum_op accum_n_ops[] = {
    {"$bottom", sizeof(struct n_state), add_n, n_result, release_n, parse_n, NULL},
    {"$bottomN", sizeof(struct n_state), add_n, n_result, release_n, parse_n, NULL},
    {"$firstN", sizeof(struct n_state), add_n, n_result, release_n, parse_n, NULL},
    {"$lastN", sizeof(struct n_state), add_n, n_result, release_n, parse_n, NULL},
    {"$maxN", sizeof(struct n_state), add_n, n_result, release_n, parse_n, NULL},
    {"$minN", sizeof(struct n_state), add_n, n_result, release_n, parse_n, NULL},
    {"$top", sizeof(struct n_state), add_n, n_result, release_n, parse_n, NULL},
    {"$topN", sizeof(struct n_state), add_n, n_result, release_n, parse_n, NULL},
    {0},
};
