/* Trigonometry: doubles by the C library, decimals by Intel's. */
#include <math.h>

#include "bson/decimal_math.h"
#include "eval/expr_internal.h"

/* A function of one number with its domain. */
struct trig {
    const char *name;
    double (*f)(double);
    enum decimal_unary decimal;
    double lo, hi; /* inclusive */
    bool finite;   /* infinity is outside, too */
    const char *domain;
};

static const struct trig trigs[] = {
    {"$sin", sin, DECIMAL_SIN, -HUGE_VAL, HUGE_VAL, true, "(-inf,inf)"},
    {"$cos", cos, DECIMAL_COS, -HUGE_VAL, HUGE_VAL, true, "(-inf,inf)"},
    {"$tan", tan, DECIMAL_TAN, -HUGE_VAL, HUGE_VAL, true, "(-inf,inf)"},
    {"$asin", asin, DECIMAL_ASIN, -1, 1, false, "[-1,1]"},
    {"$acos", acos, DECIMAL_ACOS, -1, 1, false, "[-1,1]"},
    {"$atan", atan, DECIMAL_ATAN, -HUGE_VAL, HUGE_VAL, false, ""},
    {"$sinh", sinh, DECIMAL_SINH, -HUGE_VAL, HUGE_VAL, false, ""},
    {"$cosh", cosh, DECIMAL_COSH, -HUGE_VAL, HUGE_VAL, false, ""},
    {"$tanh", tanh, DECIMAL_TANH, -HUGE_VAL, HUGE_VAL, false, ""},
    {"$asinh", asinh, DECIMAL_ASINH, -HUGE_VAL, HUGE_VAL, false, ""},
    {"$acosh", acosh, DECIMAL_ACOSH, 1, HUGE_VAL, false, "[1,inf]"},
    {"$atanh", atanh, DECIMAL_ATANH, -1, 1, false, "[-1,1]"},
};

static status op_trig(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    size_t i = 0;
    while (strcmp(trigs[i].name, e->op->name) != 0) i++;
    const struct trig *t = &trigs[i];
    if (!bval_is_number(args[0]))
        return EXPR_RAISE(x, 28765, "%s only supports numeric types, not %s", t->name, expr_type_name(args[0]));
    struct bnum n = bnum_of(args[0]);
    bool nan = bnum_is_nan(n);
    double v = bnum_to_double(n);
    struct bnum lo = {.type = B_DOUBLE, .d = t->lo}, hi = {.type = B_DOUBLE, .d = t->hi};
    if (!nan && (bnum_compare(n, lo) < 0 || bnum_compare(n, hi) > 0 || (t->finite && isinf(v)))) {
        struct description d;
        return EXPR_RAISE(x, 50989, "cannot apply %s to %s, value must be in %s", t->name, describe_value(&d, args[0]),
                          t->domain);
    }
    if (n.type == B_DECIMAL) return expr_put_decimal(x, decimal_unary(t->decimal, n.dec), out);
    return expr_put_double(x, t->f(v), out);
}

static status op_atan2(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    for (int i = 0; i < 2; i++) {
        if (!bval_is_number(args[i]))
            return EXPR_RAISE(x, i == 0 ? 51044 : 51045, "%s only supports numeric types, not %s", e->op->name,
                              expr_type_name(args[i]));
    }
    struct bnum a = bnum_of(args[0]), b = bnum_of(args[1]);
    if (a.type == B_DECIMAL || b.type == B_DECIMAL)
        return expr_put_decimal(x, decimal_binary(DECIMAL_ATAN2, bnum_to_decimal(a), bnum_to_decimal(b)), out);
    return expr_put_double(x, atan2(bnum_to_double(a), bnum_to_double(b)), out);
}

#define PI 3.14159265358979323846
/* To 34 digits, as MongoDB's constants. */
#define RADIANS_TEXT "0.01745329251994329576923690768488613"
#define DEGREES_TEXT "57.29577951308232087679815481410517"

static status scale(struct expr_run *x, const struct expr *e, struct bval v, const char *text, double f,
                    struct bval *out) {
    struct decimal factor = {0, 0};
    if (!bval_is_number(v))
        return EXPR_RAISE(x, 28765, "%s only supports numeric types, not %s", e->op->name, expr_type_name(v));
    if (v.type != B_DECIMAL) return expr_put_double(x, bnum_to_double(bnum_of(v)) * f, out);
    (void) decimal_from_text(text, &factor);
    return expr_put_decimal(x, decimal_binary(DECIMAL_MUL, bnum_of(v).dec, factor), out);
}

static status op_degrees_to_radians(struct expr_run *x, const struct expr *e, const struct bval *args,
                                    struct bval *out) {
    return scale(x, e, args[0], RADIANS_TEXT, PI / 180.0, out);
}
static status op_radians_to_degrees(struct expr_run *x, const struct expr *e, const struct bval *args,
                                    struct bval *out) {
    return scale(x, e, args[0], DEGREES_TEXT, 180.0 / PI, out);
}

const struct expr_op expr_trig_ops[] = {
    {"$acos", 1, 1, EXPR_NULL_IN_NULL_OUT, op_trig, NULL, NULL},
    {"$acosh", 1, 1, EXPR_NULL_IN_NULL_OUT, op_trig, NULL, NULL},
    {"$asin", 1, 1, EXPR_NULL_IN_NULL_OUT, op_trig, NULL, NULL},
    {"$asinh", 1, 1, EXPR_NULL_IN_NULL_OUT, op_trig, NULL, NULL},
    {"$atan", 1, 1, EXPR_NULL_IN_NULL_OUT, op_trig, NULL, NULL},
    {"$atan2", 2, 2, EXPR_NULL_IN_NULL_OUT, op_atan2, NULL, NULL},
    {"$atanh", 1, 1, EXPR_NULL_IN_NULL_OUT, op_trig, NULL, NULL},
    {"$cos", 1, 1, EXPR_NULL_IN_NULL_OUT, op_trig, NULL, NULL},
    {"$cosh", 1, 1, EXPR_NULL_IN_NULL_OUT, op_trig, NULL, NULL},
    {"$degreesToRadians", 1, 1, EXPR_NULL_IN_NULL_OUT, op_degrees_to_radians, NULL, NULL},
    {"$radiansToDegrees", 1, 1, EXPR_NULL_IN_NULL_OUT, op_radians_to_degrees, NULL, NULL},
    {"$sin", 1, 1, EXPR_NULL_IN_NULL_OUT, op_trig, NULL, NULL},
    {"$sinh", 1, 1, EXPR_NULL_IN_NULL_OUT, op_trig, NULL, NULL},
    {"$tan", 1, 1, EXPR_NULL_IN_NULL_OUT, op_trig, NULL, NULL},
    {"$tanh", 1, 1, EXPR_NULL_IN_NULL_OUT, op_trig, NULL, NULL},
    {0},
};
