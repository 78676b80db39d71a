/* Types: $type, $isNumber, $convert and its short forms.
 *
 * A conversion that cannot be made is 241 ConversionFailure, which $convert's onError catches; other errors pass. */
#include <math.h>
#include <stdio.h>

#include "bson/date.h"
#include "bson/decimal_math.h"
#include "bson/json_text.h"
#include "eval/expr_internal.h"

enum { CODE_ConversionFailure = 241 };

/* --- as text --------------------------------------------------------------------------------------------------- */

/* 16 digits as C's %g has them, with a point whatever the locale. */
static size_t double_text(double d, char text[48]) {
    if (isnan(d)) return (size_t) snprintf(text, 48, "NaN");
    if (isinf(d)) return (size_t) snprintf(text, 48, d < 0 ? "-Infinity" : "Infinity");
    size_t n = (size_t) snprintf(text, 48, "%.16g", d);
    for (size_t i = 0; i < n; i++) {
        if (text[i] == ',') text[i] = '.';
    }
    return n;
}

static status number_text(struct expr_run *x, struct bval v, struct bval *out) {
    char text[48];
    size_t n;
    switch (v.type) {
    case B_INT32: n = (size_t) snprintf(text, sizeof(text), "%d", (int) bval_int32(v)); break;
    case B_INT64: n = (size_t) snprintf(text, sizeof(text), "%lld", (long long) bval_int64(v)); break;
    case B_DOUBLE: n = double_text(bval_double(v), text); break;
    default:
        decimal_to_text(bnum_of(v).dec, text);
        n = strlen(text);
        break;
    }
    return expr_put_string(x, slice_of(text, n), out);
}

static status date_text(struct expr_run *x, int64_t ms, struct bval *out) {
    char text[32];
    if (!date_to_text_ms(ms, text)) return EXPR_RAISE(x, 18537, "Could not convert date to string: date component was outside the supported range of 0-9999");
    return expr_put_string(x, slice_str(text), out);
}

status expr_text(struct expr_run *x, struct bval v, struct bval *out) {
    *out = v;
    if (v.type == B_STRING) return ST_OK;
    if (bval_is_number(v)) return number_text(x, v, out);
    if (v.type == B_DATE) return date_text(x, bval_int64(v), out);
    if (v.type == B_SYMBOL || v.type == B_CODE) return expr_put_string(x, bval_string(v), out);
    *out = expr_empty_string;
    if (bval_is_nullish(v)) return ST_OK;
    return EXPR_RAISE(x, 16007, "can't convert from BSON type %s to String", expr_type_name(v));
}

/* --- conversions ----------------------------------------------------------------------------------------------- */

#define FAIL(x, ...) EXPR_RAISE(x, CODE_ConversionFailure, __VA_ARGS__)

static status no_conversion(struct expr_run *x, struct bval v, const char *to) {
    return FAIL(x, "Unsupported conversion from %s to %s in $convert with no onError value", expr_type_name(v), to);
}

static status not_a_number(struct expr_run *x, struct bval v) {
    return FAIL(x, "Failed to parse number '%.*s' in $convert with no onError value", SLICE_ARGS(bval_string(v)));
}

static bool special_double(struct slice s, double *out) {
    bool negative = s.len > 0 && s.p[0] == '-';
    if (s.len > 0 && (s.p[0] == '-' || s.p[0] == '+')) s = slice_of(s.p + 1, s.len - 1);
    if (slice_equal(s, SLICE_LIT("Infinity")) || slice_equal(s, SLICE_LIT("inf"))) *out = HUGE_VAL;
    else if (slice_equal(s, SLICE_LIT("NaN")) || slice_equal(s, SLICE_LIT("nan"))) *out = NAN;
    else return false;
    if (negative) *out = -*out;
    return true;
}

static status to_double(struct expr_run *x, struct bval v, struct bval *out) {
    double d;
    switch (v.type) {
    case B_DOUBLE: *out = v; return ST_OK;
    case B_BOOL: return expr_put_double(x, bval_bool(v), out);
    case B_INT32:
    case B_INT64: return expr_put_double(x, bnum_to_double(bnum_of(v)), out);
    case B_DATE: return expr_put_double(x, (double) bval_int64(v), out);
    case B_DECIMAL: {
        struct decimal_parts p = decimal_unpack(bnum_of(v).dec);
        d = decimal_to_double(bnum_of(v).dec);
        if (p.kind == DECIMAL_FINITE && isinf(d))
            return FAIL(x, "Conversion would overflow target type in $convert with no onError value");
        return expr_put_double(x, d, out);
    }
    case B_STRING: {
        struct slice s = bval_string(v);
        if (special_double(s, &d)) return expr_put_double(x, d, out);
        if (s.len > 1 && s.p[0] == '+') s = slice_of(s.p + 1, s.len - 1);
        if (!double_from_text(s, &d)) return not_a_number(x, v);
        if (isinf(d)) return FAIL(x, "Failed to parse number '%.*s' in $convert with no onError value: Out of range", SLICE_ARGS(s));
        return expr_put_double(x, d, out);
    }
    default: return no_conversion(x, v, "double");
    }
}

/* A whole number within [lo, hi] from a number or text; fractions are cut off numbers, not off text. */
static status to_whole(struct expr_run *x, struct bval v, int64_t lo, int64_t hi, int64_t *out) {
    if (v.type == B_STRING) {
        struct slice s = bval_string(v);
        if (s.len > 1 && s.p[0] == '+' && s.p[1] != '-') s = slice_of(s.p + 1, s.len - 1);
        if (!int64_from_text(s, out)) return not_a_number(x, v);
    } else if (v.type == B_BOOL) {
        *out = bval_bool(v);
    } else if (bnum_is_nan(bnum_of(v)) || (v.type == B_DOUBLE && isinf(bval_double(v)))) {
        return FAIL(x, "Attempt to convert NaN or infinity value to integer in $convert with no onError value");
    } else if (!bnum_to_int64(bnum_of(v), out)) {
        return FAIL(x, "Conversion would overflow target type in $convert with no onError value");
    }
    if (*out < lo || *out > hi) return FAIL(x, "Conversion would overflow target type in $convert with no onError value");
    return ST_OK;
}

static status to_int(struct expr_run *x, struct bval v, struct bval *out) {
    int64_t n;
    if (!bval_is_number(v) && v.type != B_STRING && v.type != B_BOOL) return no_conversion(x, v, "int");
    TRY(to_whole(x, v, INT32_MIN, INT32_MAX, &n));
    return expr_put_int32(x, (int32_t) n, out);
}

static status to_long(struct expr_run *x, struct bval v, struct bval *out) {
    int64_t n;
    if (v.type == B_DATE) return expr_put_int64(x, bval_int64(v), out);
    if (!bval_is_number(v) && v.type != B_STRING && v.type != B_BOOL) return no_conversion(x, v, "long");
    TRY(to_whole(x, v, INT64_MIN, INT64_MAX, &n));
    return expr_put_int64(x, n, out);
}

static status to_decimal(struct expr_run *x, struct bval v, struct bval *out) {
    struct decimal d;
    if (bval_is_number(v)) return expr_put_decimal(x, bnum_to_decimal(bnum_of(v)), out);
    if (v.type == B_BOOL) return expr_put_decimal(x, decimal_from_int64(bval_bool(v)), out);
    if (v.type == B_DATE) return expr_put_decimal(x, decimal_from_int64(bval_int64(v)), out);
    if (v.type != B_STRING) return no_conversion(x, v, "decimal");
    if (!decimal_from_slice(bval_string(v), &d)) return not_a_number(x, v);
    return expr_put_decimal(x, d, out);
}

static status to_bool(struct expr_run *x, struct bval v, struct bval *out) {
    (void) x;
    return expr_put_bool(bval_truthy(v), out);
}

static status to_string(struct expr_run *x, struct bval v, struct bval *out) {
    static const char digits[] = "0123456789abcdef";
    switch (v.type) {
    case B_STRING: *out = v; return ST_OK;
    case B_BOOL: return expr_put_string(x, bval_bool(v) ? SLICE_LIT("true") : SLICE_LIT("false"), out);
    case B_OBJECT_ID: {
        uint8_t *p;
        TRY(expr_string_room(x, 24, &p, out));
        for (int i = 0; i < 12; i++) {
            p[2 * i] = (uint8_t) digits[v.p[i] >> 4];
            p[2 * i + 1] = (uint8_t) digits[v.p[i] & 15];
        }
        return ST_OK;
    }
    case B_DATE: return date_text(x, bval_int64(v), out);
    default: return bval_is_number(v) ? number_text(x, v, out) : no_conversion(x, v, "string");
    }
}

static status to_date(struct expr_run *x, struct bval v, struct bval *out) {
    int64_t ms;
    switch (v.type) {
    case B_DATE: *out = v; return ST_OK;
    case B_INT64:
    case B_DOUBLE:
    case B_DECIMAL:
        TRY(to_whole(x, v, INT64_MIN, INT64_MAX, &ms));
        return expr_put_date(x, ms, out);
    case B_TIMESTAMP: return expr_put_date(x, (int64_t) (bval_timestamp(v) >> 32) * 1000, out);
    case B_OBJECT_ID: return expr_put_date(x, (int64_t) get_be32(v.p) * 1000, out);
    case B_STRING:
        if (!date_parse(bval_string(v), &ms))
            return FAIL(x, "Error parsing date string '%.*s'", SLICE_ARGS(bval_string(v)));
        return expr_put_date(x, ms, out);
    default: return no_conversion(x, v, "date");
    }
}

static status to_object_id(struct expr_run *x, struct bval v, struct bval *out) {
    uint8_t id[12];
    *out = v;
    if (v.type == B_OBJECT_ID) return ST_OK;
    if (v.type != B_STRING) return no_conversion(x, v, "objectId");
    if (bval_string(v).len != 24 || !hex_decode(bval_string(v), id, 12))
        return FAIL(x, "Failed to parse objectId '%.*s' in $convert with no onError value", SLICE_ARGS(bval_string(v)));
    return expr_put(x, B_OBJECT_ID, id, 12, out);
}

typedef status conversion(struct expr_run *x, struct bval v, struct bval *out);

static const struct {
    uint8_t type;
    conversion *call;
    const char *op;
} conversions[] = {
    {B_DOUBLE, to_double, "$toDouble"}, {B_STRING, to_string, "$toString"}, {B_OBJECT_ID, to_object_id, "$toObjectId"},
    {B_BOOL, to_bool, "$toBool"},       {B_DATE, to_date, "$toDate"},       {B_INT32, to_int, "$toInt"},
    {B_INT64, to_long, "$toLong"},      {B_DECIMAL, to_decimal, "$toDecimal"},
};
#define CONVERSION_COUNT (sizeof(conversions) / sizeof(conversions[0]))

/* {$toInt: x} and so on. */
static status op_to(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    for (size_t i = 0; i < CONVERSION_COUNT; i++) {
        if (strcmp(conversions[i].op, e->op->name) == 0) return conversions[i].call(x, args[0], out);
    }
    return ST_OK;
}

/* --- $convert -------------------------------------------------------------------------------------------------- */

static const char *const convert_names[] = {"input", "to", "onError", "onNull", NULL};

static status parse_convert(struct expr_scope *scope, struct bval v, struct expr *e, struct err *err) {
    static const struct expr_named named = {convert_names, 3, CODE_FailedToParse, CODE_FailedToParse,
                                            CODE_FailedToParse};
    struct expr_op op = {.name = e->op->name, .named = &named};
    return expr_parse_named(scope, &op, v, e, err);
}

/* The type to convert to; B_MISSING for null. */
static status target_type(struct expr_run *x, struct bval to, uint8_t *type) {
    int32_t number;
    *type = B_MISSING;
    if (bval_is_nullish(to)) return ST_OK;
    if (to.type == B_STRING) {
        if (btype_from_name(bval_string(to), type)) return ST_OK;
        return EXPR_RAISE(x, CODE_BadValue, "Unknown type name: %.*s", SLICE_ARGS(bval_string(to)));
    }
    if (!bval_is_number(to))
        return EXPR_RAISE(x, CODE_FailedToParse, "$convert's 'to' argument must be a string or number, but is %s",
                          expr_type_name(to));
    if (!expr_int32(to, &number))
        return EXPR_RAISE(x, CODE_FailedToParse,
                          "In $convert, numeric value for 'to' does not correspond to a BSON type");
    *type = number == -1 ? B_MIN_KEY : (uint8_t) number;
    bool known = (number >= 1 && number <= 19) || number == 127 || number == -1;
    if (!known)
        return EXPR_RAISE(x, CODE_FailedToParse,
                          "In $convert, numeric value for 'to' does not correspond to a BSON type: %d", (int) number);
    return ST_OK;
}

static status convert(struct expr_run *x, struct bval v, uint8_t type, struct bval *out) {
    for (size_t i = 0; i < CONVERSION_COUNT; i++) {
        if (conversions[i].type == type) return conversions[i].call(x, v, out);
    }
    return no_conversion(x, v, btype_name(type));
}

static status op_convert(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    struct bval input, to;
    struct err *outer = x->err, inner = ERR_INIT;
    uint8_t type;
    (void) args;
    TRY(expr_eval(x, e->args[0], &input));
    TRY(expr_eval(x, e->args[1], &to));
    if (bval_is_nullish(input)) {
        *out = expr_null;
        return e->args[3] != NULL ? expr_eval(x, e->args[3], out) : ST_OK;
    }
    TRY(target_type(x, to, &type));
    if (type == B_MISSING) {
        *out = expr_null;
        return ST_OK;
    }
    if (e->args[2] == NULL) return convert(x, input, type, out);
    x->err = &inner;
    status st = convert(x, input, type, out);
    x->err = outer;
    if (st == ST_OK) return ST_OK;
    if (inner.code == CODE_ConversionFailure || inner.code == 18537) return expr_eval(x, e->args[2], out);
    if (outer != NULL) *outer = inner;
    return st;
}

/* --- questions ------------------------------------------------------------------------------------------------- */

static status op_type(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    (void) e;
    return expr_put_string(x, slice_str(expr_type_name(args[0])), out);
}

static status op_is_number(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    (void) x;
    (void) e;
    return expr_put_bool(bval_is_number(args[0]), out);
}

const struct expr_op expr_convert_ops[] = {
    {"$convert", 1, 1, EXPR_LAZY, op_convert, NULL, parse_convert},
    {"$isNumber", 1, 1, 0, op_is_number, NULL, NULL},
    {"$toBool", 1, 1, EXPR_NULL_IN_NULL_OUT, op_to, NULL, NULL},
    {"$toDate", 1, 1, EXPR_NULL_IN_NULL_OUT, op_to, NULL, NULL},
    {"$toDecimal", 1, 1, EXPR_NULL_IN_NULL_OUT, op_to, NULL, NULL},
    {"$toDouble", 1, 1, EXPR_NULL_IN_NULL_OUT, op_to, NULL, NULL},
    {"$toInt", 1, 1, EXPR_NULL_IN_NULL_OUT, op_to, NULL, NULL},
    {"$toLong", 1, 1, EXPR_NULL_IN_NULL_OUT, op_to, NULL, NULL},
    {"$toObjectId", 1, 1, EXPR_NULL_IN_NULL_OUT, op_to, NULL, NULL},
    {"$toString", 1, 1, EXPR_NULL_IN_NULL_OUT, op_to, NULL, NULL},
    {"$type", 1, 1, 0, op_type, NULL, NULL},
    {0},
};
