/* Arrays as sets: order and repetition do not count. Results ascend. */
#include "bson/compare.h"
#include "eval/expr_internal.h"
#include "eval/sort.h"

/* The elements, ascending and distinct, for searching. */
static status make_set(struct expr_run *x, struct bval array, struct expr_list *out) {
    uint32_t count = bdoc_count(bval_doc(array)), i = 0;
    struct sort_item *items;
    TRY(expr_alloc(x, 2 * count * sizeof(*items) + 1, &items));
    TRY(expr_alloc(x, count * sizeof(*out->at) + 1, &out->at));
    struct biter it = biter_of(bval_doc(array));
    struct belem e;
    for (; biter_next(&it, &e); i++) items[i] = (struct sort_item){.value = e.value};
    sort_items(items, items + count, count, 1);
    out->count = 0;
    out->cap = count;
    for (i = 0; i < count; i++) {
        if (out->count == 0 || !bval_equal(out->at[out->count - 1], items[i].value))
            out->at[out->count++] = items[i].value;
    }
    return ST_OK;
}

static bool holds(const struct expr_list *set, struct bval v) {
    uint32_t lo = 0, hi = set->count;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        int c = bval_compare(v, set->at[mid]);
        if (c == 0) return true;
        if (c < 0) hi = mid;
        else lo = mid + 1;
    }
    return false;
}

static status not_array(struct expr_run *x, const struct expr *e, int32_t code, struct bval v) {
    return EXPR_RAISE(x, code, "All operands of %s must be arrays. One argument is of type: %s", e->op->name,
                      expr_type_name(v));
}

static status op_set_equals(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    struct expr_list first = {0}, other = {0};
    bool equal = true;
    for (uint32_t i = 0; i < e->argc; i++) {
        if (args[i].type != B_ARRAY) return not_array(x, e, 17044, args[i]);
    }
    TRY(make_set(x, args[0], &first));
    for (uint32_t i = 1; i < e->argc && equal; i++) {
        TRY(make_set(x, args[i], &other));
        equal = first.count == other.count;
        for (uint32_t k = 0; k < first.count && equal; k++) equal = bval_equal(first.at[k], other.at[k]);
    }
    return expr_put_bool(equal, out);
}

static status op_set_intersection(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    struct expr_list all = {0}, next = {0};
    for (uint32_t i = 0; i < e->argc; i++) {
        if (bval_is_nullish(args[i])) {
            *out = expr_null;
            return ST_OK;
        }
        if (args[i].type != B_ARRAY) return not_array(x, e, 17047, args[i]);
        TRY(make_set(x, args[i], i == 0 ? &all : &next));
        if (i == 0) continue;
        uint32_t kept = 0;
        for (uint32_t k = 0; k < all.count; k++) {
            if (holds(&next, all.at[k])) all.at[kept++] = all.at[k];
        }
        all.count = kept;
    }
    return expr_put_array(x, all.at, all.count, out);
}

static status op_set_union(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    struct expr_list all = {0}, set = {0};
    struct bval joined;
    for (uint32_t i = 0; i < e->argc; i++) {
        if (bval_is_nullish(args[i])) {
            *out = expr_null;
            return ST_OK;
        }
        if (args[i].type != B_ARRAY) return not_array(x, e, 17043, args[i]);
        TRY(expr_list_push_all(x, &all, bval_doc(args[i])));
    }
    TRY(expr_put_array(x, all.at, all.count, &joined));
    TRY(make_set(x, joined, &set));
    return expr_put_array(x, set.at, set.count, out);
}

static status op_set_difference(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    struct expr_list from = {0}, without = {0};
    uint32_t kept = 0;
    (void) e;
    for (int i = 0; i < 2; i++) {
        if (args[i].type != B_ARRAY)
            return EXPR_RAISE(x, i == 0 ? 17048 : 17049,
                              "both operands of $setDifference must be arrays. %s argument is of type: %s",
                              i == 0 ? "First" : "Second", expr_type_name(args[i]));
    }
    TRY(make_set(x, args[1], &without));
    struct expr_list seen = {0};
    TRY(make_set(x, args[0], &seen));
    bool *given;
    TRY(expr_alloc(x, seen.count + 1, &given));
    memset(given, 0, seen.count + 1);
    struct biter it = biter_of(bval_doc(args[0]));
    struct belem item;
    while (biter_next(&it, &item)) { /* in the order of the first array, each once */
        if (holds(&without, item.value)) continue;
        uint32_t at = 0;
        while (!bval_equal(seen.at[at], item.value)) at++;
        if (given[at]) continue;
        given[at] = true;
        TRY(expr_list_push(x, &from, item.value));
        kept++;
    }
    return expr_put_array(x, from.at, kept, out);
}

static status op_set_is_subset(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    struct expr_list set = {0};
    (void) e;
    for (int i = 0; i < 2; i++) {
        if (args[i].type != B_ARRAY)
            return EXPR_RAISE(x, i == 0 ? 17046 : 17042,
                              "both operands of $setIsSubset must be arrays. %s argument is of type: %s",
                              i == 0 ? "First" : "Second", expr_type_name(args[i]));
    }
    TRY(make_set(x, args[1], &set));
    struct biter it = biter_of(bval_doc(args[0]));
    struct belem item;
    while (biter_next(&it, &item)) {
        if (!holds(&set, item.value)) return expr_put_bool(false, out);
    }
    return expr_put_bool(true, out);
}

static status op_all_elements_true(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    if (args[0].type != B_ARRAY)
        return EXPR_RAISE(x, 17040, "%s's argument must be an array, but is %s", e->op->name, expr_type_name(args[0]));
    struct biter it = biter_of(bval_doc(args[0]));
    struct belem item;
    while (biter_next(&it, &item)) {
        if (!bval_truthy(item.value)) return expr_put_bool(false, out);
    }
    return expr_put_bool(true, out);
}

static status op_any_element_true(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    if (args[0].type != B_ARRAY)
        return EXPR_RAISE(x, 17041, "%s's argument must be an array, but is %s", e->op->name, expr_type_name(args[0]));
    struct biter it = biter_of(bval_doc(args[0]));
    struct belem item;
    while (biter_next(&it, &item)) {
        if (bval_truthy(item.value)) return expr_put_bool(true, out);
    }
    return expr_put_bool(false, out);
}

const struct expr_op expr_set_ops[] = {
    {"$allElementsTrue", 1, 1, 0, op_all_elements_true, NULL, NULL},
    {"$anyElementTrue", 1, 1, 0, op_any_element_true, NULL, NULL},
    {"$setDifference", 2, 2, EXPR_NULL_IN_NULL_OUT, op_set_difference, NULL, NULL},
    {"$setEquals", 2, -1, 0, op_set_equals, NULL, NULL},
    {"$setIntersection", 0, -1, 0, op_set_intersection, NULL, NULL},
    {"$setIsSubset", 2, 2, 0, op_set_is_subset, NULL, NULL},
    {"$setUnion", 0, -1, 0, op_set_union, NULL, NULL},
    {0},
};
