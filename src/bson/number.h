/* Numbers across BSON's four numeric types, with MongoDB's rules for widening. Decimal128 goes through Intel's library. */
#ifndef ELMO_BSON_NUMBER_H
#define ELMO_BSON_NUMBER_H

#include "base/err.h"
#include "bson/value.h"

struct decimal {
    uint64_t lo, hi;
}; /* BID encoding, as in BSON */

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
bool bnum_is_integral(struct bnum n);                  /* a whole number, finite */
bool bnum_to_int64(struct bnum n, int64_t *out);       /* toward zero; false when not finite or too large */
bool bnum_to_int64_exact(struct bnum n, int64_t *out); /* false for fractions too */
double bnum_to_double(struct bnum n);
struct decimal bnum_to_decimal(struct bnum n);
struct decimal decimal_from_int64(int64_t v);
/* A decimal taken apart. Infinity and NaN have no coefficient; one that is not canonical reads as zero. */
enum decimal_kind { DECIMAL_FINITE, DECIMAL_INFINITE, DECIMAL_NAN };
struct decimal_parts {
    unsigned __int128 coefficient; /* up to 34 digits */
    int exponent;                  /* -6176 .. 6111 */
    enum decimal_kind kind;
    bool is_negative;
};
#define DECIMAL_BIAS 6176
#define DECIMAL_EXPONENT_MAX 6111
#define DECIMAL_COEFFICIENT_MAX ((unsigned __int128) 0x1ed09bead87c0u << 64 | 0x378d8e63ffffffffu) /* 10^34 - 1 */
struct decimal_parts decimal_unpack(struct decimal d);
struct decimal decimal_pack(bool is_negative, unsigned __int128 coefficient, int exponent);
int decimal_digit_count(unsigned __int128 coefficient); /* 1 for zero */
/* The greatest double that is not above |d|; true when it is exactly |d|. Precondition: finite. */
bool decimal_truncate(struct decimal d, double *out);
/* False when 34 digits do not hold it exactly. */
bool decimal_from_double_exact(double v, struct decimal *out);
int decimal_compare(struct decimal a, struct decimal b); /* NaN below all, equal to itself */
/* Text of a decimal as extended JSON has it; at most 43 bytes with the NUL. */
void decimal_to_text(struct decimal d, char text[43]);
bool decimal_from_text(const char *text, struct decimal *out);

#endif
