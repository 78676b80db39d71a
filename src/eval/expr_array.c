/* Arrays. */
#include <limits.h>

#include "bson/compare.h"
#include "eval/expr_internal.h"
#include "eval/sort.h"
#include "eval/sort_key.h"

static status must_be_array(struct expr_run *x, const struct expr *e, int32_t code, struct bval v) {
    if (v.type == B_ARRAY) return ST_OK;
    return EXPR_RAISE(x, code, "%s's argument must be an array, but is %s", e->op->name, expr_type_name(v));
}

static status element_at(struct bval array, int64_t i, struct bval *out) {
    int64_t count = bdoc_count(bval_doc(array));
    if (i < 0) i += count;
    *out = i >= 0 && i < count ? barray_at(bval_doc(array), (uint32_t) i) : BVAL_MISSING;
    return ST_OK;
}

static status op_array_elem_at(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    int32_t i;
    TRY(must_be_array(x, e, 28689, args[0]));
    if (!bval_is_number(args[1]))
        return EXPR_RAISE(x, 28690, "$arrayElemAt's second argument must be a numeric value, but is %s",
                          expr_type_name(args[1]));
    if (!expr_int32(args[1], &i)) {
        struct description d;
        return EXPR_RAISE(x, 28691, "$arrayElemAt's second argument must be representable as a 32-bit integer: %s",
                          describe_value(&d, args[1]));
    }
    return element_at(args[0], i, out);
}

static status op_first(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    TRY(must_be_array(x, e, 28689, args[0]));
    return element_at(args[0], 0, out);
}
static status op_last(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    TRY(must_be_array(x, e, 28689, args[0]));
    return element_at(args[0], -1, out);
}

static status op_concat_arrays(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    struct expr_list list = {0};
    for (uint32_t i = 0; i < e->argc; i++) {
        if (bval_is_nullish(args[i])) {
            *out = expr_null;
            return ST_OK;
        }
        if (args[i].type != B_ARRAY)
            return EXPR_RAISE(x, 28664, "$concatArrays only supports arrays, not %s", expr_type_name(args[i]));
        TRY(expr_list_push_all(x, &list, bval_doc(args[i])));
    }
    return expr_put_array(x, list.at, list.count, out);
}

static status op_in(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    (void) e;
    if (args[1].type != B_ARRAY)
        return EXPR_RAISE(x, 40081, "$in requires an array as a second argument, found: %s", expr_type_name(args[1]));
    struct biter it = biter_of(bval_doc(args[1]));
    struct belem item;
    while (biter_next(&it, &item)) {
        if (args[0].type == item.value.type || (args[0].type != B_MISSING && !bval_is_nullish(args[0]))) {
            if (bval_equal(args[0], item.value)) return expr_put_bool(true, out);
        }
    }
    return expr_put_bool(false, out);
}

/* Start and end of a search, args[2] and args[3]. */
static status search_bound(struct expr_run *x, const struct expr *e, struct bval v, const char *which, int32_t *out) {
    if (!expr_int32(v, out))
        return EXPR_RAISE(x, 40096, "%s requires an integral %s index, found a value of type: %s", e->op->name, which,
                          expr_type_name(v));
    if (*out < 0)
        return EXPR_RAISE(x, 40097, "%s requires a nonnegative %s index, found: %d", e->op->name, which, (int) *out);
    return ST_OK;
}

static status op_index_of_array(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    int32_t start = 0, end = INT32_MAX, i = 0;
    if (bval_is_nullish(args[0])) {
        *out = expr_null;
        return ST_OK;
    }
    if (args[0].type != B_ARRAY)
        return EXPR_RAISE(x, 40090, "$indexOfArray requires an array as a first argument, found: %s",
                          expr_type_name(args[0]));
    if (e->argc > 2) TRY(search_bound(x, e, args[2], "starting", &start));
    if (e->argc > 3) TRY(search_bound(x, e, args[3], "ending", &end));
    struct biter it = biter_of(bval_doc(args[0]));
    struct belem item;
    for (; i < end && biter_next(&it, &item); i++) {
        if (i >= start && args[1].type != B_MISSING && bval_equal(item.value, args[1])) return expr_put_int32(x, i, out);
    }
    return expr_put_int32(x, -1, out);
}

static status op_is_array(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    (void) x;
    (void) e;
    return expr_put_bool(args[0].type == B_ARRAY, out);
}

/* --- $range ---------------------------------------------------------------------------------------------------- */

static status range_number(struct expr_run *x, struct bval v, int32_t code, const char *which, int32_t *out) {
    struct description d;
    if (!bval_is_number(v))
        return EXPR_RAISE(x, code, "$range requires a numeric %s value, found value of type: %s", which,
                          expr_type_name(v));
    if (!expr_int32(v, out))
        return EXPR_RAISE(x, code + 1,
                          "$range requires a %s value that can be represented as a 32-bit integer, found value: %s",
                          which, describe_value(&d, v));
    return ST_OK;
}

static status op_range(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    int32_t start, end, step = 1;
    struct expr_list list = {0};
    TRY(range_number(x, args[0], 34443, "starting", &start));
    TRY(range_number(x, args[1], 34445, "ending", &end));
    if (e->argc > 2) TRY(range_number(x, args[2], 34447, "step", &step));
    if (step == 0) return EXPR_RAISE(x, 34449, "$range requires a non-zero step value");
    int64_t span = step > 0 ? (int64_t) end - start : (int64_t) start - end;
    int64_t count = span <= 0 ? 0 : (span + (step > 0 ? step : -(int64_t) step) - 1) / (step > 0 ? step : -(int64_t) step);
    if (count * 12 > (int64_t) EXPR_LEN_MAX)
        return EXPR_RAISE(x, CODE_ExceededMemoryLimit, "$range would use too much memory (%lld values)",
                          (long long) count);
    if (count == 0) return expr_put_array(x, NULL, 0, out);
    uint8_t *numbers;
    TRY(expr_alloc(x, (size_t) count * 4, &numbers));
    TRY(expr_alloc(x, (size_t) count * sizeof(*list.at), &list.at));
    for (int64_t i = 0; i < count; i++) {
        put_le32(numbers + 4 * i, (uint32_t) (int32_t) (start + i * step));
        list.at[i] = (struct bval){numbers + 4 * i, 4, B_INT32};
    }
    return expr_put_array(x, list.at, (uint32_t) count, out);
}

/* --- order and parts ------------------------------------------------------------------------------------------- */

static status op_reverse_array(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    struct expr_list list = {0};
    (void) e;
    if (args[0].type != B_ARRAY)
        return EXPR_RAISE(x, 34435, "The argument to $reverseArray must be an array, but was of type: %s",
                          expr_type_name(args[0]));
    TRY(expr_list_push_all(x, &list, bval_doc(args[0])));
    for (uint32_t i = 0; i < list.count / 2; i++) {
        struct bval swap = list.at[i];
        list.at[i] = list.at[list.count - 1 - i];
        list.at[list.count - 1 - i] = swap;
    }
    return expr_put_array(x, list.at, list.count, out);
}

static status op_size(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    (void) e;
    if (args[0].type != B_ARRAY)
        return EXPR_RAISE(x, 17124, "The argument to $size must be an array, but was of type: %s",
                          expr_type_name(args[0]));
    return expr_put_int32(x, (int32_t) bdoc_count(bval_doc(args[0])), out);
}

static status slice_number(struct expr_run *x, struct bval v, int32_t code, const char *which, int32_t *out) {
    if (!bval_is_number(v))
        return EXPR_RAISE(x, code, "%s argument to $slice must be numeric, but is of type: %s", which, expr_type_name(v));
    if (!expr_int32(v, out)) {
        struct description d;
        return EXPR_RAISE(x, code + 1, "%s argument to $slice can't be represented as a 32-bit integer: %s", which,
                          describe_value(&d, v));
    }
    return ST_OK;
}

static status op_slice(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    int32_t first, n = 0;
    struct expr_list list = {0};
    if (args[0].type != B_ARRAY)
        return EXPR_RAISE(x, 28724, "First argument to $slice must be an array, but is of type: %s",
                          expr_type_name(args[0]));
    TRY(slice_number(x, args[1], 28725, "Second", &first));
    if (e->argc > 2) TRY(slice_number(x, args[2], 28727, "Third", &n));
    if (e->argc > 2 && n <= 0) return EXPR_RAISE(x, 28729, "Third argument to $slice must be positive: %d", (int) n);
    int64_t count = bdoc_count(bval_doc(args[0])), from, to;
    if (e->argc > 2) {
        from = first >= 0 ? first : count + first > 0 ? count + first : 0;
        to = from + n;
    } else {
        from = first >= 0 ? 0 : count + first > 0 ? count + first : 0;
        to = first >= 0 ? first : count;
    }
    struct biter it = biter_of(bval_doc(args[0]));
    struct belem item;
    for (int64_t i = 0; i < to && biter_next(&it, &item); i++) {
        if (i >= from) TRY(expr_list_push(x, &list, item.value));
    }
    return expr_put_array(x, list.at, list.count, out);
}

/* --- $zip ------------------------------------------------------------------------------------------------------ */

struct zip {
    uint32_t input_count, default_count; /* args: inputs, then defaults */
    bool longest;
};

static status zip_fields(struct bval v, struct bval *inputs, struct bval *defaults, struct zip *z, struct err *err) {
    if (v.type != B_DOCUMENT)
        return RAISE_CODE(err, 34460, "$zip only supports an object as an argument, found %s", btype_name(v.type));
    struct biter it = biter_of(bval_doc(v));
    struct belem f;
    while (biter_next(&it, &f)) {
        if (slice_equal(f.name, SLICE_LIT("inputs"))) {
            if (f.value.type != B_ARRAY)
                return RAISE_CODE(err, 34461, "inputs must be an array of expressions, found %s",
                                  btype_name(f.value.type));
            *inputs = f.value;
        } else if (slice_equal(f.name, SLICE_LIT("defaults"))) {
            if (f.value.type != B_ARRAY)
                return RAISE_CODE(err, 34462, "defaults must be an array of expressions, found %s",
                                  btype_name(f.value.type));
            *defaults = f.value;
        } else if (slice_equal(f.name, SLICE_LIT("useLongestLength"))) {
            if (f.value.type != B_BOOL)
                return RAISE_CODE(err, 34463, "useLongestLength must be a bool, found %s", btype_name(f.value.type));
            z->longest = bval_bool(f.value);
        } else {
            return RAISE_CODE(err, 34464, "$zip found an unknown argument: %.*s", SLICE_ARGS(f.name));
        }
    }
    return ST_OK;
}

static status parse_zip(struct expr_scope *scope, struct bval v, struct expr *e, struct err *err) {
    struct zip *z = arena_new(scope->arena, struct zip);
    struct bval inputs = BVAL_MISSING, defaults = BVAL_MISSING;
    if (z == NULL) return RAISE(err, ST_NOMEM, "expression");
    e->extra = z;
    TRY(zip_fields(v, &inputs, &defaults, z, err));
    z->input_count = inputs.type == B_ARRAY ? bdoc_count(bval_doc(inputs)) : 0;
    z->default_count = defaults.type == B_ARRAY ? bdoc_count(bval_doc(defaults)) : 0;
    if (z->input_count == 0) return RAISE_CODE(err, 34465, "$zip requires at least one input array");
    if (z->default_count != 0 && !z->longest)
        return RAISE_CODE(err, 34466, "cannot specify defaults unless useLongestLength is true");
    if (z->default_count != 0 && z->default_count != z->input_count)
        return RAISE_CODE(err, 34467, "defaults and inputs must have the same length");
    TRY(expr_args(scope, e, z->input_count + z->default_count, err));
    for (uint32_t i = 0; i < e->argc; i++) {
        struct bval item = i < z->input_count ? barray_at(bval_doc(inputs), i)
                                              : barray_at(bval_doc(defaults), i - z->input_count);
        TRY(expr_arg(scope, e, i, item, err));
    }
    return ST_OK;
}

static status op_zip(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    const struct zip *z = e->extra;
    struct biter *its;
    struct bval *row;
    struct expr_list rows = {0};
    uint32_t count = z->longest ? 0 : UINT32_MAX, n = z->input_count;
    TRY(expr_alloc(x, n * sizeof(*its), &its));
    TRY(expr_alloc(x, n * sizeof(*row), &row));
    for (uint32_t i = 0; i < n; i++) {
        if (bval_is_nullish(args[i])) {
            *out = expr_null;
            return ST_OK;
        }
        if (args[i].type != B_ARRAY)
            return EXPR_RAISE(x, 34468, "$zip found a non-array expression in input: %s", expr_type_name(args[i]));
        uint32_t len = bdoc_count(bval_doc(args[i]));
        if (z->longest ? len > count : len < count) count = len;
        its[i] = biter_of(bval_doc(args[i]));
    }
    for (uint32_t r = 0; r < count; r++) {
        struct belem item;
        struct bval v;
        for (uint32_t i = 0; i < n; i++)
            row[i] = biter_next(&its[i], &item) ? item.value : z->default_count != 0 ? args[n + i] : expr_null;
        TRY(expr_put_array(x, row, n, &v));
        TRY(expr_list_push(x, &rows, v));
    }
    return expr_put_array(x, rows.at, rows.count, out);
}

/* --- $sortArray ------------------------------------------------------------------------------------------------ */

struct sort_by {
    int sign;                     /* of whole values; 0: by fields */
    struct sort_pattern *pattern;
};

static status parse_sort_by(struct expr_scope *scope, struct bval v, struct sort_by *by, struct err *err) {
    int64_t sign;
    if (v.type == B_DOCUMENT) {
        by->pattern = arena_new(scope->arena, struct sort_pattern);
        if (by->pattern == NULL) return RAISE(err, ST_NOMEM, "expression");
        if (bdoc_is_empty(bval_doc(v))) return RAISE_CODE(err, CODE_BadValue, "$sortArray needs at least one sort key");
        struct biter it = biter_of(bval_doc(v));
        struct belem f;
        while (biter_next(&it, &f)) {
            if (!expr_int64(f.value, &sign) || (sign != 1 && sign != -1))
                return RAISE_CODE(err, CODE_BadValue, "The $sort element value must be either 1 or -1");
        }
        return sort_pattern_parse(scope->arena, bval_doc(v), by->pattern, err);
    }
    if (!expr_int64(v, &sign) || (sign != 1 && sign != -1))
        return RAISE_CODE(err, CODE_BadValue, "The $sort element value must be either 1 or -1");
    by->sign = (int) sign;
    return ST_OK;
}

static status parse_sort_array(struct expr_scope *scope, struct bval v, struct expr *e, struct err *err) {
    struct sort_by *by = arena_new(scope->arena, struct sort_by);
    struct bval order = BVAL_MISSING;
    if (by == NULL) return RAISE(err, ST_NOMEM, "expression");
    e->extra = by;
    if (v.type != B_DOCUMENT)
        return RAISE_CODE(err, 2942500, "$sortArray requires an object as an argument, found: %s", btype_name(v.type));
    TRY(expr_args(scope, e, 1, err));
    struct biter it = biter_of(bval_doc(v));
    struct belem f;
    while (biter_next(&it, &f)) {
        if (slice_equal(f.name, SLICE_LIT("input"))) TRY(expr_arg(scope, e, 0, f.value, err));
        else if (slice_equal(f.name, SLICE_LIT("sortBy"))) order = f.value;
        else return RAISE_CODE(err, 2942501, "$sortArray found an unknown argument: %.*s", SLICE_ARGS(f.name));
    }
    if (e->args[0] == NULL) return RAISE_CODE(err, 2942502, "$sortArray requires 'input' to be specified");
    if (order.type == B_MISSING) return RAISE_CODE(err, 2942503, "$sortArray requires 'sortBy' to be specified");
    return parse_sort_by(scope, order, by, err);
}

/* Keys of all elements behind each other in one buffer; what is no document sorts as one without fields. */
static status element_keys(struct expr_run *x, const struct sort_by *by, struct sort_item *items, uint32_t count,
                           struct buf *keys) {
    size_t *ends;
    TRY(expr_alloc(x, count * sizeof(*ends) + 1, &ends));
    for (uint32_t i = 0; i < count; i++) {
        struct bdoc d = items[i].value.type == B_DOCUMENT ? bval_doc(items[i].value) : bdoc_empty;
        TRY(sort_key_append(by->pattern, d, 0, x->arena, keys, x->err));
        ends[i] = keys->len;
    }
    for (uint32_t i = 0; i < count; i++) {
        size_t from = i == 0 ? 0 : ends[i - 1];
        items[i].key = slice_of(keys->p + from, ends[i] - from);
    }
    return ST_OK;
}

static status op_sort_array(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    const struct sort_by *by = e->extra;
    struct sort_item *items;
    struct bval *values;
    struct buf keys;
    if (args[0].type != B_ARRAY)
        return EXPR_RAISE(x, 2942504, "The input argument to $sortArray must be an array, but was of type: %s",
                          expr_type_name(args[0]));
    uint32_t count = bdoc_count(bval_doc(args[0])), i = 0;
    TRY(expr_alloc(x, 2 * count * sizeof(*items) + 1, &items));
    TRY(expr_alloc(x, count * sizeof(*values) + 1, &values));
    struct biter it = biter_of(bval_doc(args[0]));
    struct belem item;
    for (; biter_next(&it, &item); i++) items[i] = (struct sort_item){.value = item.value};
    buf_init(&keys, x->mem);
    status st = by->sign == 0 ? element_keys(x, by, items, count, &keys) : ST_OK;
    if (st == ST_OK) sort_items(items, items + count, count, by->sign == 0 ? 1 : by->sign);
    buf_release(&keys);
    TRY(st);
    for (i = 0; i < count; i++) values[i] = items[i].value;
    return expr_put_array(x, values, count, out);
}

const struct expr_op expr_array_ops[] = {
    {"$arrayElemAt", 2, 2, EXPR_NULL_IN_NULL_OUT, op_array_elem_at, NULL, NULL},
    {"$concatArrays", 0, -1, 0, op_concat_arrays, NULL, NULL},
    {"$first", 1, 1, EXPR_NULL_IN_NULL_OUT, op_first, NULL, NULL},
    {"$in", 2, 2, 0, op_in, NULL, NULL},
    {"$indexOfArray", 2, 4, 0, op_index_of_array, NULL, NULL},
    {"$isArray", 1, 1, 0, op_is_array, NULL, NULL},
    {"$last", 1, 1, EXPR_NULL_IN_NULL_OUT, op_last, NULL, NULL},
    {"$range", 2, 3, 0, op_range, NULL, NULL},
    {"$reverseArray", 1, 1, EXPR_NULL_IN_NULL_OUT, op_reverse_array, NULL, NULL},
    {"$size", 1, 1, 0, op_size, NULL, NULL},
    {"$slice", 2, 3, EXPR_NULL_IN_NULL_OUT, op_slice, NULL, NULL},
    {"$sortArray", 1, 1, EXPR_NULL_IN_NULL_OUT, op_sort_array, NULL, parse_sort_array},
    {"$zip", 1, 1, 0, op_zip, NULL, parse_zip},
    {0},
};
