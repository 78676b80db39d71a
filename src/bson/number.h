/* Numbers across BSON's four numeric types, with MongoDB's rules for widening. Decimal128 goes through Intel's library. */
#ifndef ELMO_BSON_NUMBER_H
#define ELMO_BSON_NUMBER_H

#include "base/err.h"
#include "bson/value.h"

struct decimal { uint64_t lo, hi; }; /* BID encoding, as in BSON */

/* A number by value, for arithmetic. */
struct bnum {
    uint8_t type; /* B_INT32, B_INT64, B_DOUBLE or B_DECIMAL */
    union {
        int32_t i32;
        int64_t i64;
        double d;
        struct decimal dec;
    };
};

struct bnum bnum_of(struct bval v); /* precondition: bval_is_number */
/* int32 + int32 widens to int64 when it overflows; int64 fails (false) when it overflows; double and decimal win. */
bool bnum_add(struct bnum a, struct bnum b, struct bnum *out);
bool bnum_mul(struct bnum a, struct bnum b, struct bnum *out);
int bnum_compare(struct bnum a, struct bnum b);
bool bnum_is_nan(struct bnum n);
bool bnum_is_integral(struct bnum n); /* a whole number, finite */
bool bnum_to_int64(struct bnum n, int64_t *out);       /* toward zero; false when not finite or too large */
bool bnum_to_int64_exact(struct bnum n, int64_t *out); /* false for fractions too */
double bnum_to_double(struct bnum n);
struct decimal bnum_to_decimal(struct bnum n);
struct decimal decimal_from_int64(int64_t v);
int decimal_compare(struct decimal a, struct decimal b); /* NaN below all, equal to itself */
/* Text of a decimal as extended JSON has it; at most 43 bytes with the NUL. */
void decimal_to_text(struct decimal d, char text[43]);
bool decimal_from_text(const char *text, struct decimal *out);

#endif
