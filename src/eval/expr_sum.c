/* See expr_sum.h. */
#include "eval/expr_sum.h"

#include <math.h>

#include "bson/decimal_math.h"

static void add_pair(double *sum, double *rest, double v) {
    double t = *sum + v;
    *rest += fabs(*sum) >= fabs(v) ? (*sum - t) + v : (v - t) + *sum;
    *sum = t;
}

void expr_sum_add(struct expr_sum *s, struct bval v) {
    s->count++;
    switch (v.type) {
    case B_INT32: s->whole += bval_int32(v); return;
    case B_INT64:
        s->whole += bval_int64(v);
        if (s->width < 1) s->width = 1;
        return;
    case B_DOUBLE:
        s->plain += bval_double(v);
        add_pair(&s->sum, &s->rest, bval_double(v));
        if (s->width < 2) s->width = 2;
        return;
    default:
        s->decimal = s->width == 3 ? decimal_binary(DECIMAL_ADD, s->decimal, bnum_of(v).dec) : bnum_of(v).dec;
        s->width = 3;
        return;
    }
}

void expr_sum_merge(struct expr_sum *s, const struct expr_sum *other) {
    s->count += other->count;
    s->whole += other->whole;
    s->plain += other->plain;
    add_pair(&s->sum, &s->rest, other->sum);
    s->rest += other->rest;
    if (other->width == 3)
        s->decimal = s->width == 3 ? decimal_binary(DECIMAL_ADD, s->decimal, other->decimal) : other->decimal;
    if (s->width < other->width) s->width = other->width;
}

void expr_deviation_merge(struct expr_deviation *d, const struct expr_deviation *other) {
    if (other->count == 0) return;
    double n = (double) d->count, m = (double) other->count, delta = other->mean - d->mean;
    d->count += other->count;
    d->mean += delta * m / (n + m);
    d->squares += other->squares + delta * delta * n * m / (n + m);
}

double expr_sum_double(const struct expr_sum *s) {
    if (!isfinite(s->plain)) return s->plain;
    double sum = s->sum, rest = s->rest;
    /* A whole sum in two doubles, exactly enough: 64 bits above, 63 below. */
    double hi = (double) (int64_t) (s->whole >> 32) * 4294967296.0, lo = (double) (uint32_t) s->whole;
    add_pair(&sum, &rest, hi);
    add_pair(&sum, &rest, lo);
    double total = sum + rest;
    return isfinite(total) || !isfinite(s->sum) ? total : s->plain + (double) s->whole;
}

static struct decimal whole_decimal(__int128 v) {
    unsigned __int128 u = v < 0 ? (unsigned __int128) 0 - (unsigned __int128) v : (unsigned __int128) v;
    return decimal_pack(v < 0, u, 0);
}

struct decimal expr_sum_decimal(const struct expr_sum *s) {
    struct decimal d = s->width == 3 ? s->decimal : decimal_from_int64(0);
    if (s->whole != 0) d = decimal_binary(DECIMAL_ADD, d, whole_decimal(s->whole));
    if (s->plain == 0 && s->sum == 0) return d;
    if (!isfinite(s->plain)) return decimal_binary(DECIMAL_ADD, d, decimal_of_double(s->plain));
    d = decimal_binary(DECIMAL_ADD, d, decimal_of_double(s->sum));
    return s->rest != 0 ? decimal_binary(DECIMAL_ADD, d, decimal_of_double(s->rest)) : d;
}

struct bnum expr_sum_result(const struct expr_sum *s) {
    if (s->width == 3) return (struct bnum){.type = B_DECIMAL, .dec = expr_sum_decimal(s)};
    if (s->width == 2 || s->whole < INT64_MIN || s->whole > INT64_MAX)
        return (struct bnum){.type = B_DOUBLE, .d = expr_sum_double(s)};
    if (s->width == 0 && s->whole >= INT32_MIN && s->whole <= INT32_MAX)
        return (struct bnum){.type = B_INT32, .i32 = (int32_t) s->whole};
    return (struct bnum){.type = B_INT64, .i64 = (int64_t) s->whole};
}
