/* Sums of numbers as $add, $sum and $avg take them: integers exactly, doubles in pairs (Kahan and Babuska's summation by
 * Neumaier, so that 0.1 + 0.2 + 0.3 is 0.6), decimals apart; the widest type met decides the type of the result. */
#ifndef ELMO_EVAL_EXPR_SUM_H
#define ELMO_EVAL_EXPR_SUM_H

#include "eval/expr_internal.h"

struct expr_sum {
    __int128 whole;
    double plain, sum, rest; /* of doubles: as C adds them; the pair */
    struct decimal decimal;
    int width; /* 0 int32, 1 int64, 2 double, 3 decimal */
    int64_t count;
};

/* Zeroed is the empty sum. The value must be a number. */
void expr_sum_add(struct expr_sum *s, struct bval v);
/* An integer type overflows into the next, int64 into double. */
struct bnum expr_sum_result(const struct expr_sum *s);
double expr_sum_double(const struct expr_sum *s);
struct decimal expr_sum_decimal(const struct expr_sum *s);

/* Adds what another sum has seen. */
void expr_sum_merge(struct expr_sum *s, const struct expr_sum *other);

/* Standard deviation by Welford's method. Zeroed is nothing yet. */
struct expr_deviation {
    int64_t count;
    double mean, squares;
};
void expr_deviation_add(struct expr_deviation *d, double v);
/* Chan, Golub and LeVeque: updating formulae for computing sample variances (1979). */
void expr_deviation_merge(struct expr_deviation *d, const struct expr_deviation *other);
/* False when there are too few values. */
bool expr_deviation_result(const struct expr_deviation *d, bool sample, double *out);

#endif
