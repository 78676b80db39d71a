/* Strings: bytes and code points. Regular expressions and $replace... are in expr_text.c. */
#include "bson/utf8.h"
#include "eval/expr_internal.h"

static bool is_continuation(uint8_t b) { return (b & 0xc0) == 0x80; }

/* Bytes of the character at p; a byte that starts none counts as one. */
static size_t char_len(const uint8_t *p, const uint8_t *end) {
    unsigned n = utf8_char_len(p, end);
    return n != 0 ? n : 1;
}

static int64_t char_count(struct slice s) {
    int64_t n = 0;
    for (size_t i = 0; i < s.len; i++) n += !is_continuation(s.p[i]);
    return n;
}

/* --- joining and changing -------------------------------------------------------------------------------------- */

static status op_concat(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    size_t len = 0;
    uint8_t *p;
    for (uint32_t i = 0; i < e->argc; i++) {
        if (bval_is_nullish(args[i])) {
            *out = expr_null;
            return ST_OK;
        }
        if (args[i].type != B_STRING)
            return EXPR_RAISE(x, 16702, "$concat only supports strings, not %s", expr_type_name(args[i]));
        len += bval_string(args[i]).len;
    }
    TRY(expr_string_room(x, len, &p, out));
    for (uint32_t i = 0; i < e->argc; i++) {
        struct slice s = bval_string(args[i]);
        memcpy(p, s.p, s.len);
        p += s.len;
    }
    return ST_OK;
}

static status change_case(struct expr_run *x, struct bval v, uint8_t lo, uint8_t hi, struct bval *out) {
    uint8_t *p;
    TRY(expr_text(x, v, &v));
    struct slice s = bval_string(v);
    TRY(expr_string_room(x, s.len, &p, out));
    for (size_t i = 0; i < s.len; i++) p[i] = s.p[i] >= lo && s.p[i] <= hi ? s.p[i] ^ 0x20 : s.p[i];
    return ST_OK;
}

static status op_to_lower(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    (void) e;
    return change_case(x, args[0], 'A', 'Z', out);
}
static status op_to_upper(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    (void) e;
    return change_case(x, args[0], 'a', 'z', out);
}

static status op_strcasecmp(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    struct bval a, b;
    (void) e;
    TRY(change_case(x, args[0], 'A', 'Z', &a));
    TRY(change_case(x, args[1], 'A', 'Z', &b));
    int c = slice_compare(bval_string(a), bval_string(b));
    return expr_put_int32(x, (c > 0) - (c < 0), out);
}

/* --- parts ----------------------------------------------------------------------------------------------------- */

static status op_substr_bytes(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    struct bval v;
    int64_t start, len;
    TRY(expr_text(x, args[0], &v));
    struct slice s = bval_string(v);
    if (!bval_is_number(args[1]) || !bnum_to_int64(bnum_of(args[1]), &start))
        return EXPR_RAISE(x, 16034, "%s:  starting index must be a numeric type (is BSON type %s)", e->op->name,
                          expr_type_name(args[1]));
    if (!bval_is_number(args[2]) || !bnum_to_int64(bnum_of(args[2]), &len))
        return EXPR_RAISE(x, 16035, "%s:  length must be a numeric type (is BSON type %s)", e->op->name,
                          expr_type_name(args[2]));
    if (start < 0)
        return EXPR_RAISE(x, 50752, "%s: starting index must be non-negative (got: %lld)", e->op->name,
                          (long long) start);
    if ((uint64_t) start >= s.len) {
        *out = expr_empty_string;
        return ST_OK;
    }
    size_t from = (size_t) start, left = s.len - from;
    size_t n = len < 0 || (uint64_t) len > left ? left : (size_t) len;
    if (is_continuation(s.p[from]))
        return EXPR_RAISE(x, 28656, "%s:  Invalid range, starting index is a UTF-8 continuation byte.", e->op->name);
    if (from + n < s.len && is_continuation(s.p[from + n]))
        return EXPR_RAISE(x, 28657, "%s:  Invalid range, ending index is in the middle of a UTF-8 character.",
                          e->op->name);
    return expr_put_string(x, slice_of(s.p + from, n), out);
}

static status code_point_number(struct expr_run *x, struct bval v, int32_t code, const char *which, int32_t *out) {
    if (!bval_is_number(v))
        return EXPR_RAISE(x, code, "$substrCP: %s must be a numeric type (is BSON type %s)", which, expr_type_name(v));
    if (!expr_int32(v, out))
        return EXPR_RAISE(x, code + 1, "$substrCP: %s cannot be represented as a 32-bit integral value", which);
    return ST_OK;
}

static status op_substr_cp(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    struct bval v;
    int32_t start, len;
    (void) e;
    TRY(expr_text(x, args[0], &v));
    TRY(code_point_number(x, args[1], 34450, "starting index", &start));
    TRY(code_point_number(x, args[2], 34452, "length", &len));
    if (len < 0) return EXPR_RAISE(x, 34454, "$substrCP: length must be a nonnegative integer.");
    if (start < 0) return EXPR_RAISE(x, 34455, "$substrCP: the starting index must be nonnegative integer.");
    struct slice s = bval_string(v);
    const uint8_t *p = s.p, *end = s.p + s.len;
    for (; start > 0 && p < end; start--) p += char_len(p, end);
    const uint8_t *to = p;
    for (; len > 0 && to < end; len--) to += char_len(to, end);
    return expr_put_string(x, slice_of(p, (size_t) (to - p)), out);
}

static status op_str_len_bytes(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    (void) e;
    if (args[0].type != B_STRING)
        return EXPR_RAISE(x, 34473, "$strLenBytes requires a string argument, found: %s", expr_type_name(args[0]));
    return expr_put_int32(x, (int32_t) bval_string(args[0]).len, out);
}

static status op_str_len_cp(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    (void) e;
    if (args[0].type != B_STRING)
        return EXPR_RAISE(x, 34471, "$strLenCP requires a string argument, found: %s", expr_type_name(args[0]));
    return expr_put_int32(x, (int32_t) char_count(bval_string(args[0])), out);
}

static status op_split(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    struct expr_list list = {0};
    struct bval part;
    (void) e;
    if (args[0].type != B_STRING)
        return EXPR_RAISE(x, 40085, "$split requires an expression that evaluates to a string as a first argument, found: %s",
                          expr_type_name(args[0]));
    if (args[1].type != B_STRING)
        return EXPR_RAISE(x, 40086, "$split requires an expression that evaluates to a string as a second argument, found: %s",
                          expr_type_name(args[1]));
    struct slice s = bval_string(args[0]), by = bval_string(args[1]);
    if (by.len == 0) return EXPR_RAISE(x, 40087, "$split requires a non-empty separator");
    for (;;) {
        const uint8_t *at = memmem(s.p, s.len, by.p, by.len);
        size_t n = at != NULL ? (size_t) (at - s.p) : s.len;
        TRY(expr_put_string(x, slice_of(s.p, n), &part));
        TRY(expr_list_push(x, &list, part));
        if (at == NULL) break;
        s = slice_of(at + by.len, s.len - n - by.len);
    }
    return expr_put_array(x, list.at, list.count, out);
}

/* --- searching ------------------------------------------------------------------------------------------------- */

static status search_bound(struct expr_run *x, const struct expr *e, struct bval v, const char *which, int32_t *out) {
    if (!expr_int32(v, out))
        return EXPR_RAISE(x, 40096, "%s requires an integral %s index, found a value of type: %s", e->op->name, which,
                          expr_type_name(v));
    if (*out < 0)
        return EXPR_RAISE(x, 40097, "%s requires a nonnegative %s index, found: %d", e->op->name, which, (int) *out);
    return ST_OK;
}

/* The operands of $indexOfBytes and $indexOfCP; *done when the answer is null. */
static status search_operands(struct expr_run *x, const struct expr *e, const struct bval *args, int32_t code,
                              int32_t bounds[2], bool *done) {
    *done = bval_is_nullish(args[0]);
    if (*done) return ST_OK;
    for (int i = 0; i < 2; i++) {
        if (args[i].type != B_STRING)
            return EXPR_RAISE(x, code + i, "%s requires a string as the %s argument, found: %s", e->op->name,
                              i == 0 ? "first" : "second", expr_type_name(args[i]));
    }
    bounds[0] = 0;
    bounds[1] = INT32_MAX;
    if (e->argc > 2) TRY(search_bound(x, e, args[2], "starting", &bounds[0]));
    if (e->argc > 3) TRY(search_bound(x, e, args[3], "ending", &bounds[1]));
    return ST_OK;
}

static const uint8_t *find(const uint8_t *from, const uint8_t *to, struct slice what) {
    if (from > to) return NULL;
    if (what.len == 0) return from;
    return memmem(from, (size_t) (to - from), what.p, what.len);
}

static status op_index_of_bytes(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    int32_t bounds[2];
    bool done;
    *out = expr_null;
    TRY(search_operands(x, e, args, 40091, bounds, &done));
    if (done) return ST_OK;
    struct slice s = bval_string(args[0]);
    size_t end = (size_t) bounds[1] < s.len ? (size_t) bounds[1] : s.len;
    if ((size_t) bounds[0] > end) return expr_put_int32(x, -1, out);
    const uint8_t *at = find(s.p + bounds[0], s.p + end, bval_string(args[1]));
    return expr_put_int32(x, at != NULL ? (int32_t) (at - s.p) : -1, out);
}

static status op_index_of_cp(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    int32_t bounds[2];
    bool done;
    *out = expr_null;
    TRY(search_operands(x, e, args, 40093, bounds, &done));
    if (done) return ST_OK;
    struct slice s = bval_string(args[0]);
    const uint8_t *end = s.p + s.len, *from = s.p, *to;
    int32_t i = 0;
    for (; i < bounds[0] && from < end; i++) from += char_len(from, end);
    if (i < bounds[0] || bounds[1] < bounds[0]) return expr_put_int32(x, -1, out);
    for (to = from; i < bounds[1] && to < end; i++) to += char_len(to, end);
    const uint8_t *at = find(from, to, bval_string(args[1]));
    if (at == NULL) return expr_put_int32(x, -1, out);
    return expr_put_int32(x, (int32_t) char_count(slice_of(s.p, (size_t) (at - s.p))), out);
}

const struct expr_op expr_string_ops[] = {
    {"$concat", 0, -1, 0, op_concat, NULL, NULL},
    {"$indexOfBytes", 2, 4, 0, op_index_of_bytes, NULL, NULL},
    {"$indexOfCP", 2, 4, 0, op_index_of_cp, NULL, NULL},
    {"$split", 2, 2, EXPR_NULL_IN_NULL_OUT, op_split, NULL, NULL},
    {"$strLenBytes", 1, 1, 0, op_str_len_bytes, NULL, NULL},
    {"$strLenCP", 1, 1, 0, op_str_len_cp, NULL, NULL},
    {"$strcasecmp", 2, 2, 0, op_strcasecmp, NULL, NULL},
    {"$substr", 3, 3, 0, op_substr_bytes, NULL, NULL},
    {"$substrBytes", 3, 3, 0, op_substr_bytes, NULL, NULL},
    {"$substrCP", 3, 3, 0, op_substr_cp, NULL, NULL},
    {"$toLower", 1, 1, 0, op_to_lower, NULL, NULL},
    {"$toUpper", 1, 1, 0, op_to_upper, NULL, NULL},
    {0},
};
