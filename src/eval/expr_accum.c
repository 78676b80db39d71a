/* Accumulators as expressions: over their arguments, or over the elements of the only argument. What is no number does
 * not count in sums; null does not count in $min and $max. */
#include <math.h>

#include "bson/compare.h"
#include "bson/decimal_math.h"
#include "eval/expr_sum.h"

/* The values that count. */
static status values(struct expr_run *x, const struct expr *e, const struct bval *args, struct expr_list *out) {
    *out = (struct expr_list){0};
    if (e->argc == 1 && args[0].type == B_ARRAY) return expr_list_push_all(x, out, bval_doc(args[0]));
    for (uint32_t i = 0; i < e->argc; i++) TRY(expr_list_push(x, out, args[i]));
    return ST_OK;
}

static status op_sum(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    struct expr_list l;
    struct expr_sum sum = {0};
    TRY(values(x, e, args, &l));
    for (uint32_t i = 0; i < l.count; i++) {
        if (bval_is_number(l.at[i])) expr_sum_add(&sum, l.at[i]);
    }
    return expr_put_number(x, expr_sum_result(&sum), out);
}

static status op_avg(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    struct expr_list l;
    struct expr_sum sum = {0};
    TRY(values(x, e, args, &l));
    for (uint32_t i = 0; i < l.count; i++) {
        if (bval_is_number(l.at[i])) expr_sum_add(&sum, l.at[i]);
    }
    *out = expr_null;
    if (sum.count == 0) return ST_OK;
    if (sum.width == 3)
        return expr_put_decimal(
            x, decimal_binary(DECIMAL_DIV, expr_sum_decimal(&sum), decimal_from_int64(sum.count)), out);
    return expr_put_double(x, expr_sum_double(&sum) / (double) sum.count, out);
}

static status extreme(struct expr_run *x, const struct expr *e, const struct bval *args, int sign, struct bval *out) {
    struct expr_list l;
    TRY(values(x, e, args, &l));
    *out = expr_null;
    for (uint32_t i = 0; i < l.count; i++) {
        if (bval_is_nullish(l.at[i])) continue;
        if (bval_is_nullish(*out) || bval_compare(l.at[i], *out) * sign > 0) *out = l.at[i];
    }
    return ST_OK;
}

static status op_max(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    return extreme(x, e, args, 1, out);
}
static status op_min(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    return extreme(x, e, args, -1, out);
}

static status op_std_dev(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    struct expr_list l;
    struct expr_deviation d = {0};
    TRY(values(x, e, args, &l));
    for (uint32_t i = 0; i < l.count; i++) {
        if (bval_is_number(l.at[i])) expr_deviation_add(&d, bnum_to_double(bnum_of(l.at[i])));
    }
    double r;
    *out = expr_null;
    return expr_deviation_result(&d, strcmp(e->op->name, "$stdDevSamp") == 0, &r) ? expr_put_double(x, r, out) : ST_OK;
}

void expr_deviation_add(struct expr_deviation *d, double v) {
    double delta = v - d->mean;
    d->count++;
    if (d->count == 1) {
        d->mean = v;
        d->squares = isfinite(v) ? 0 : NAN;
        return;
    }
    d->mean += delta / (double) d->count;
    d->squares += delta * (v - d->mean);
}

bool expr_deviation_result(const struct expr_deviation *d, bool sample, double *out) {
    int64_t n = sample ? d->count - 1 : d->count;
    if (n <= 0) return false;
    *out = sqrt(d->squares / (double) n);
    return true;
}

const struct expr_op expr_accum_ops[] = {
    {"$avg", 0, -1, 0, op_avg, NULL, NULL},
    {"$max", 0, -1, 0, op_max, NULL, NULL},
    {"$min", 0, -1, 0, op_min, NULL, NULL},
    {"$stdDevPop", 0, -1, 0, op_std_dev, NULL, NULL},
    {"$stdDevSamp", 0, -1, 0, op_std_dev, NULL, NULL},
    {"$sum", 0, -1, 0, op_sum, NULL, NULL},
    {0},
};
