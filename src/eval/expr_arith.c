/* Arithmetic: $add, $multiply, $divide, ..., rounding, logarithms, bits. The widest operand decides the type; int32
 * overflows into int64, int64 into double; decimals by Intel's library. */
#include <math.h>

#include "bson/decimal_math.h"
#include "eval/expr_internal.h"
#include "eval/expr_sum.h"

static bool is_decimal(struct bval v) { return v.type == B_DECIMAL; }

static double number(struct bval v) { return bnum_to_double(bnum_of(v)); }
static struct decimal decimal(struct bval v) { return bnum_to_decimal(bnum_of(v)); }
static int64_t integer(struct bval v) { return v.type == B_INT32 ? bval_int32(v) : bval_int64(v); }

static status not_numeric(struct expr_run *x, const struct expr *e, struct bval v) {
    return EXPR_RAISE(x, 28765, "%s only supports numeric types, not %s", e->op->name, expr_type_name(v));
}

/* --- sums and products ----------------------------------------------------------------------------------------- */

/* What a number adds to a date: whole milliseconds. */
static bool add_ms(struct bval v, int64_t *ms) {
    int64_t n;
    if (v.type == B_DOUBLE) {
        double d = round(bval_double(v));
        if (!(d >= -0x1p63 && d < 0x1p63)) return false;
        n = (int64_t) d;
    } else if (v.type == B_DECIMAL) {
        struct bnum r = {.type = B_DECIMAL, .dec = decimal_round(bnum_of(v).dec, 0, DECIMAL_NEAREST)};
        if (!bnum_to_int64(r, &n)) return false;
    } else {
        n = integer(v);
    }
    return !__builtin_add_overflow(*ms, n, ms);
}

static status op_add(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    struct expr_sum sum = {0};
    int64_t ms = 0;
    bool has_date = false;
    for (uint32_t i = 0; i < e->argc; i++) {
        if (bval_is_nullish(args[i])) {
            *out = expr_null;
            return ST_OK;
        }
        if (args[i].type == B_DATE) {
            if (has_date) return EXPR_RAISE(x, 16612, "only one date allowed in an $add expression");
            has_date = true;
        } else if (!bval_is_number(args[i])) {
            return EXPR_RAISE(x, CODE_TypeMismatch, "$add only supports numeric or date types, not %s",
                              expr_type_name(args[i]));
        } else {
            expr_sum_add(&sum, args[i]);
        }
    }
    if (!has_date) return expr_put_number(x, expr_sum_result(&sum), out);
    for (uint32_t i = 0; i < e->argc; i++) {
        bool fits = args[i].type == B_DATE ? !__builtin_add_overflow(ms, bval_int64(args[i]), &ms)
                                           : add_ms(args[i], &ms);
        if (!fits) return EXPR_RAISE(x, CODE_Overflow, "date overflow in $add");
    }
    return expr_put_date(x, ms, out);
}

static status subtract_from_date(struct expr_run *x, struct bval date, struct bval v, struct bval *out) {
    int64_t ms = 0;
    if (v.type == B_DATE) {
        if (__builtin_sub_overflow(bval_int64(date), bval_int64(v), &ms))
            return EXPR_RAISE(x, CODE_Overflow, "date overflow in $subtract");
        return expr_put_int64(x, ms, out);
    }
    if (!bval_is_number(v))
        return EXPR_RAISE(x, CODE_TypeMismatch, "can't $subtract %s from date", expr_type_name(v));
    if (!add_ms(v, &ms) || __builtin_sub_overflow(bval_int64(date), ms, &ms))
        return EXPR_RAISE(x, CODE_Overflow, "date overflow in $subtract");
    return expr_put_date(x, ms, out);
}

static status op_subtract(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    struct bval a = args[0], b = args[1];
    int64_t r;
    (void) e;
    if (a.type == B_DATE) return subtract_from_date(x, a, b, out);
    if (!bval_is_number(a) || !bval_is_number(b))
        return EXPR_RAISE(x, CODE_TypeMismatch, "can't $subtract %s from %s", expr_type_name(b), expr_type_name(a));
    if (is_decimal(a) || is_decimal(b))
        return expr_put_decimal(x, decimal_binary(DECIMAL_SUB, decimal(a), decimal(b)), out);
    if (a.type == B_DOUBLE || b.type == B_DOUBLE) return expr_put_double(x, number(a) - number(b), out);
    if (__builtin_sub_overflow(integer(a), integer(b), &r)) return expr_put_double(x, number(a) - number(b), out);
    return a.type == B_INT32 && b.type == B_INT32 ? expr_put_int(x, r, out) : expr_put_int64(x, r, out);
}

static status op_multiply(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    struct bnum product = {.type = B_INT32, .i32 = 1};
    for (uint32_t i = 0; i < e->argc; i++) {
        if (bval_is_nullish(args[i])) {
            *out = expr_null;
            return ST_OK;
        }
        if (!bval_is_number(args[i]))
            return EXPR_RAISE(x, CODE_TypeMismatch, "$multiply only supports numeric types, not %s",
                              expr_type_name(args[i]));
        struct bnum next;
        if (!bnum_mul(product, bnum_of(args[i]), &next))
            next = (struct bnum){.type = B_DOUBLE, .d = bnum_to_double(product) * number(args[i])};
        product = next;
    }
    return expr_put_number(x, product, out);
}

static bool is_zero(struct bval v) { return !bval_truthy(v); }

static status op_divide(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    struct bval a = args[0], b = args[1];
    (void) e;
    if (!bval_is_number(a) || !bval_is_number(b))
        return EXPR_RAISE(x, CODE_TypeMismatch, "$divide only supports numeric types, not %s and %s",
                          expr_type_name(a), expr_type_name(b));
    if (is_zero(b)) return EXPR_RAISE(x, CODE_BadValue, "can't $divide by zero");
    if (is_decimal(a) || is_decimal(b))
        return expr_put_decimal(x, decimal_binary(DECIMAL_DIV, decimal(a), decimal(b)), out);
    return expr_put_double(x, number(a) / number(b), out);
}

static status op_mod(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    struct bval a = args[0], b = args[1];
    (void) e;
    if (!bval_is_number(a) || !bval_is_number(b))
        return EXPR_RAISE(x, 16611, "$mod only supports numeric types, not %s and %s", expr_type_name(a),
                          expr_type_name(b));
    if (is_zero(b)) return EXPR_RAISE(x, 16610, "can't $mod by zero");
    if (is_decimal(a) || is_decimal(b))
        return expr_put_decimal(x, decimal_binary(DECIMAL_FMOD, decimal(a), decimal(b)), out);
    /* A divisor of type double counts as the integer that it is: shells write all numbers so. */
    int32_t divisor = 0;
    bool is_whole = b.type == B_DOUBLE && expr_int32(b, &divisor);
    if (a.type == B_DOUBLE || (b.type == B_DOUBLE && !is_whole))
        return expr_put_double(x, fmod(number(a), number(b)), out);
    int64_t by = is_whole ? divisor : integer(b), r = by == -1 ? 0 : integer(a) % by;
    return a.type == B_INT32 && b.type != B_INT64 ? expr_put_int32(x, (int32_t) r, out) : expr_put_int64(x, r, out);
}

/* --- one number ------------------------------------------------------------------------------------------------ */

static status op_abs(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    struct bval v = args[0];
    if (!bval_is_number(v)) return not_numeric(x, e, v);
    if (is_decimal(v)) return expr_put_decimal(x, decimal_abs(bnum_of(v).dec), out);
    if (v.type == B_DOUBLE) return expr_put_double(x, fabs(bval_double(v)), out);
    int64_t n = integer(v);
    if (n == INT64_MIN) return EXPR_RAISE(x, 28680, "can't take $abs of long long min");
    if (n < 0) n = -n;
    return v.type == B_INT32 ? expr_put_int(x, n, out) : expr_put_int64(x, n, out);
}

static status op_ceil(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    struct bval v = args[0];
    if (!bval_is_number(v)) return not_numeric(x, e, v);
    if (v.type == B_DOUBLE) return expr_put_double(x, ceil(bval_double(v)), out);
    *out = v;
    if (!is_decimal(v) || decimal_unpack(bnum_of(v).dec).kind != DECIMAL_FINITE) return ST_OK;
    return expr_put_decimal(x, decimal_round(bnum_of(v).dec, 0, DECIMAL_CEIL), out);
}

static status op_floor(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    struct bval v = args[0];
    if (!bval_is_number(v)) return not_numeric(x, e, v);
    if (v.type == B_DOUBLE) return expr_put_double(x, floor(bval_double(v)), out);
    *out = v;
    if (!is_decimal(v) || decimal_unpack(bnum_of(v).dec).kind != DECIMAL_FINITE) return ST_OK;
    return expr_put_decimal(x, decimal_round(bnum_of(v).dec, 0, DECIMAL_FLOOR), out);
}

static status op_exp(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    if (!bval_is_number(args[0])) return not_numeric(x, e, args[0]);
    if (is_decimal(args[0])) return expr_put_decimal(x, decimal_unary(DECIMAL_EXP, decimal(args[0])), out);
    return expr_put_double(x, exp(number(args[0])), out);
}

static bool is_negative(struct bval v) {
    int32_t zero = 0;
    return bnum_compare(bnum_of(v), (struct bnum){.type = B_INT32, .i32 = zero}) < 0 && !bnum_is_nan(bnum_of(v));
}
static bool is_positive_or_nan(struct bval v) {
    return bnum_is_nan(bnum_of(v)) || bnum_compare(bnum_of(v), (struct bnum){.type = B_INT32}) > 0;
}

static status op_sqrt(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    if (!bval_is_number(args[0])) return not_numeric(x, e, args[0]);
    if (is_negative(args[0])) return EXPR_RAISE(x, 28714, "$sqrt's argument must be greater than or equal to 0");
    if (is_decimal(args[0])) return expr_put_decimal(x, decimal_unary(DECIMAL_SQRT, decimal(args[0])), out);
    return expr_put_double(x, sqrt(number(args[0])), out);
}

static status out_of_domain(struct expr_run *x, const struct expr *e, int32_t code, struct bval v) {
    struct description d;
    return EXPR_RAISE(x, code, "%s's argument must be a positive number, but is %s", e->op->name,
                      describe_value(&d, v));
}

static status op_ln(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    if (!bval_is_number(args[0])) return not_numeric(x, e, args[0]);
    if (!is_positive_or_nan(args[0])) return out_of_domain(x, e, 28766, args[0]);
    if (is_decimal(args[0])) return expr_put_decimal(x, decimal_unary(DECIMAL_LN, decimal(args[0])), out);
    return expr_put_double(x, log(number(args[0])), out);
}

static status op_log10(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    if (!bval_is_number(args[0])) return not_numeric(x, e, args[0]);
    if (!is_positive_or_nan(args[0])) return out_of_domain(x, e, 28761, args[0]);
    if (is_decimal(args[0])) return expr_put_decimal(x, decimal_unary(DECIMAL_LOG10, decimal(args[0])), out);
    return expr_put_double(x, log10(number(args[0])), out);
}

static bool is_one(struct bval v) {
    return bnum_compare(bnum_of(v), (struct bnum){.type = B_INT32, .i32 = 1}) == 0;
}

static status op_log(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    struct bval v = args[0], base = args[1];
    if (!bval_is_number(v)) return EXPR_RAISE(x, 28756, "$log's argument must be numeric, not %s", expr_type_name(v));
    if (!bval_is_number(base)) return EXPR_RAISE(x, 28757, "$log's base must be numeric, not %s", expr_type_name(base));
    if (!is_positive_or_nan(v)) return out_of_domain(x, e, 28758, v);
    if (!is_positive_or_nan(base) || is_one(base))
        return EXPR_RAISE(x, 28759, "$log's base must be a positive number not equal to 1");
    if (is_decimal(v) || is_decimal(base)) {
        struct decimal a = decimal_unary(DECIMAL_LN, decimal(v)), b = decimal_unary(DECIMAL_LN, decimal(base));
        return expr_put_decimal(x, decimal_binary(DECIMAL_DIV, a, b), out);
    }
    return expr_put_double(x, log(number(v)) / log(number(base)), out);
}

/* An exact power of integers, false when it does not fit. */
static bool int_pow(int64_t base, int64_t exponent, int64_t *out) {
    int64_t r = 1;
    if (base == 0 || base == 1 || base == -1) {
        *out = exponent == 0 ? 1 : base == -1 && exponent % 2 == 0 ? 1 : base;
        return true;
    }
    if (exponent > 63) return false;
    for (; exponent > 0; exponent--) {
        if (__builtin_mul_overflow(r, base, &r)) return false;
    }
    *out = r;
    return true;
}

static status op_pow(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    struct bval a = args[0], b = args[1];
    int64_t r = 0;
    (void) e;
    if (!bval_is_number(a)) return EXPR_RAISE(x, 28762, "$pow's base must be numeric, not %s", expr_type_name(a));
    if (!bval_is_number(b)) return EXPR_RAISE(x, 28763, "$pow's exponent must be numeric, not %s", expr_type_name(b));
    if (is_zero(a) && is_negative(b)) return EXPR_RAISE(x, 28764, "$pow cannot take a base of 0 and a negative exponent");
    if (is_decimal(a) || is_decimal(b))
        return expr_put_decimal(x, decimal_binary(DECIMAL_POW, decimal(a), decimal(b)), out);
    if (a.type == B_DOUBLE || b.type == B_DOUBLE) return expr_put_double(x, pow(number(a), number(b)), out);
    int64_t base = integer(a), exponent = integer(b);
    if (exponent < 0 && base != 1 && base != -1) return expr_put_double(x, pow(number(a), number(b)), out);
    if (!int_pow(base, exponent, &r)) return expr_put_double(x, pow(number(a), number(b)), out);
    return a.type == B_INT32 && b.type == B_INT32 ? expr_put_int(x, r, out) : expr_put_int64(x, r, out);
}

/* --- rounding -------------------------------------------------------------------------------------------------- */

static status round_integer(struct expr_run *x, const struct expr *e, struct bval v, int place, enum decimal_rounding how,
                            struct bval *out) {
    int64_t n;
    *out = v;
    if (place >= 0) return ST_OK;
    struct bnum r = {.type = B_DECIMAL, .dec = decimal_round(decimal_from_int64(integer(v)), place, how)};
    if (!bnum_to_int64(r, &n))
        return EXPR_RAISE(x, 51080, "invalid conversion from Decimal128 result in %s resulting from arguments",
                          e->op->name);
    return v.type == B_INT32 ? expr_put_int(x, n, out) : expr_put_int64(x, n, out);
}

static status round_to(struct expr_run *x, const struct expr *e, const struct bval *args, enum decimal_rounding how,
                       struct bval *out) {
    struct bval v = args[0];
    int64_t place = 0;
    if (bval_is_nullish(v) || (e->argc > 1 && bval_is_nullish(args[1]))) {
        *out = expr_null;
        return ST_OK;
    }
    if (!bval_is_number(v)) return EXPR_RAISE(x, 51081, "%s only supports numeric types, not %s", e->op->name, expr_type_name(v));
    if (e->argc > 1) {
        if (!bval_is_number(args[1]))
            return EXPR_RAISE(x, 16004, "can't convert from BSON type %s to long", expr_type_name(args[1]));
        if (!expr_int64(args[1], &place))
            return EXPR_RAISE(x, 51082, "%s requires \"place\" argument to be an integer", e->op->name);
        if (place < -20 || place > 100)
            return EXPR_RAISE(x, 51083, "cannot apply %s with precision value %lld value must be in [-20, 100]",
                              e->op->name, (long long) place);
    }
    if (v.type == B_INT32 || v.type == B_INT64) return round_integer(x, e, v, (int) place, how, out);
    struct decimal d = is_decimal(v) ? bnum_of(v).dec : decimal_of_double(bval_double(v));
    struct decimal r = decimal_round(d, (int) place, how);
    *out = v;
    if (decimal_unpack(r).kind == DECIMAL_NAN) return ST_OK; /* more digits than there are: it is exact already */
    return is_decimal(v) ? expr_put_decimal(x, r, out) : expr_put_double(x, decimal_to_double(r), out);
}

static status op_round(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    return round_to(x, e, args, DECIMAL_NEAREST, out);
}
static status op_trunc(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    return round_to(x, e, args, DECIMAL_TRUNCATE, out);
}

/* --- bits ------------------------------------------------------------------------------------------------------ */

static status bits(struct expr_run *x, const struct expr *e, const struct bval *args, char op, struct bval *out) {
    int64_t r = op == '&' ? -1 : 0;
    bool is_long = false;
    for (uint32_t i = 0; i < e->argc; i++) {
        if (bval_is_nullish(args[i])) {
            *out = expr_null;
            return ST_OK;
        }
        if (args[i].type != B_INT32 && args[i].type != B_INT64)
            return EXPR_RAISE(x, CODE_TypeMismatch, "%s only supports int and long operands, not %s.", e->op->name,
                              expr_type_name(args[i]));
        is_long = is_long || args[i].type == B_INT64;
        int64_t v = integer(args[i]);
        r = op == '&' ? r & v : op == '|' ? r | v : r ^ v;
    }
    return is_long ? expr_put_int64(x, r, out) : expr_put_int32(x, (int32_t) r, out);
}

static status op_bit_and(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    return bits(x, e, args, '&', out);
}
static status op_bit_or(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    return bits(x, e, args, '|', out);
}
static status op_bit_xor(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    return bits(x, e, args, '^', out);
}
static status op_bit_not(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    if (args[0].type == B_INT32) return expr_put_int32(x, ~bval_int32(args[0]), out);
    if (args[0].type == B_INT64) return expr_put_int64(x, ~bval_int64(args[0]), out);
    return EXPR_RAISE(x, CODE_TypeMismatch, "%s only supports int and long, not %s.", e->op->name,
                      expr_type_name(args[0]));
}

const struct expr_op expr_arith_ops[] = {
    /* name       min max flags                  call */
    {"$abs", 1, 1, EXPR_NULL_IN_NULL_OUT, op_abs, NULL, NULL},
    {"$add", 0, -1, 0, op_add, NULL, NULL},
    {"$bitAnd", 0, -1, 0, op_bit_and, NULL, NULL},
    {"$bitNot", 1, 1, EXPR_NULL_IN_NULL_OUT, op_bit_not, NULL, NULL},
    {"$bitOr", 0, -1, 0, op_bit_or, NULL, NULL},
    {"$bitXor", 0, -1, 0, op_bit_xor, NULL, NULL},
    {"$ceil", 1, 1, EXPR_NULL_IN_NULL_OUT, op_ceil, NULL, NULL},
    {"$divide", 2, 2, EXPR_NULL_IN_NULL_OUT, op_divide, NULL, NULL},
    {"$exp", 1, 1, EXPR_NULL_IN_NULL_OUT, op_exp, NULL, NULL},
    {"$floor", 1, 1, EXPR_NULL_IN_NULL_OUT, op_floor, NULL, NULL},
    {"$ln", 1, 1, EXPR_NULL_IN_NULL_OUT, op_ln, NULL, NULL},
    {"$log", 2, 2, EXPR_NULL_IN_NULL_OUT, op_log, NULL, NULL},
    {"$log10", 1, 1, EXPR_NULL_IN_NULL_OUT, op_log10, NULL, NULL},
    {"$mod", 2, 2, EXPR_NULL_IN_NULL_OUT, op_mod, NULL, NULL},
    {"$multiply", 0, -1, 0, op_multiply, NULL, NULL},
    {"$pow", 2, 2, EXPR_NULL_IN_NULL_OUT, op_pow, NULL, NULL},
    {"$round", 1, 2, 0, op_round, NULL, NULL},
    {"$sqrt", 1, 1, EXPR_NULL_IN_NULL_OUT, op_sqrt, NULL, NULL},
    {"$subtract", 2, 2, EXPR_NULL_IN_NULL_OUT, op_subtract, NULL, NULL},
    {"$trunc", 1, 2, 0, op_trunc, NULL, NULL},
    {0},
};
