/* Functions of decimal128 beyond sum and product, by Intel's library, rounded to nearest (ties to even). */
#ifndef ELMO_BSON_DECIMAL_MATH_H
#define ELMO_BSON_DECIMAL_MATH_H

#include "bson/number.h"

enum decimal_unary {
    DECIMAL_SQRT,
    DECIMAL_EXP,
    DECIMAL_LN,
    DECIMAL_LOG10,
    DECIMAL_SIN,
    DECIMAL_COS,
    DECIMAL_TAN,
    DECIMAL_ASIN,
    DECIMAL_ACOS,
    DECIMAL_ATAN,
    DECIMAL_SINH,
    DECIMAL_COSH,
    DECIMAL_TANH,
    DECIMAL_ASINH,
    DECIMAL_ACOSH,
    DECIMAL_ATANH,
};
enum decimal_binary { DECIMAL_ADD, DECIMAL_SUB, DECIMAL_MUL, DECIMAL_DIV, DECIMAL_FMOD, DECIMAL_POW, DECIMAL_ATAN2 };
enum decimal_rounding { DECIMAL_NEAREST, DECIMAL_TRUNCATE, DECIMAL_FLOOR, DECIMAL_CEIL };

struct decimal decimal_unary(enum decimal_unary f, struct decimal a);
struct decimal decimal_binary(enum decimal_binary f, struct decimal a, struct decimal b);
struct decimal decimal_abs(struct decimal a);
/* To `place` digits after the point (negative: before it). Infinity, NaN and what has no 34 digits for it come back as NaN. */
struct decimal decimal_round(struct decimal a, int place, enum decimal_rounding rounding);
/* All 34 digits of a double, where bnum_to_decimal keeps 15. */
struct decimal decimal_of_double(double v);
double decimal_to_double(struct decimal a);

#endif
