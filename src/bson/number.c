/* Numbers of four types. Binary arithmetic is C's; decimal arithmetic is Intel's library with explicit rounding and flags, so that
 * nothing is global. Decimals are taken apart here where only their fields matter (IEEE 754-2008, 3.5.2, binary integer coding):
 *
 *   sign 1 | exponent 14 (bias 6176) | coefficient 113     the usual form
 *   sign 1 | 11 | ...                                       coefficient past 34 digits: not canonical, reads as zero
 *   sign 1 | 11110 ... infinity,  sign 1 | 11111 ... NaN
 */
#include "bson/number.h"

#include <bson/bson.h>
#include <math.h>

#define DECIMAL_CALL_BY_REFERENCE 0
#define DECIMAL_GLOBAL_ROUNDING 0
#define DECIMAL_GLOBAL_EXCEPTION_FLAGS 0
#include <bid_conf.h>
#include <bid_functions.h>

typedef unsigned __int128 u128;

static BID_UINT128 to_bid(struct decimal d) { return (BID_UINT128){{d.lo, d.hi}}; }
static struct decimal from_bid(BID_UINT128 b) { return (struct decimal){b.w[0], b.w[1]}; }

/* The larger of two ranks decides the type of a result. */
static int width(uint8_t type) { return type == B_INT32 ? 0 : type == B_INT64 ? 1 : type == B_DOUBLE ? 2 : 3; }

struct bnum bnum_of(struct bval v) {
    struct bnum n = {.type = v.type};
    switch (v.type) {
    case B_INT32: n.i32 = bval_int32(v); break;
    case B_INT64: n.i64 = bval_int64(v); break;
    case B_DOUBLE: n.d = bval_double(v); break;
    default: n.dec = (struct decimal){get_le64(v.p), get_le64(v.p + 8)}; break;
    }
    return n;
}

static int64_t int_of(struct bnum n) { return n.type == B_INT32 ? n.i32 : n.i64; }

static struct bnum narrow_int(int64_t v, bool to_int32) {
    if (to_int32 && v >= INT32_MIN && v <= INT32_MAX) return (struct bnum){.type = B_INT32, .i32 = (int32_t) v};
    return (struct bnum){.type = B_INT64, .i64 = v};
}

bool bnum_add(struct bnum a, struct bnum b, struct bnum *out) {
    int w = width(a.type) > width(b.type) ? width(a.type) : width(b.type);
    if (w == 3) {
        unsigned flags = 0;
        BID_UINT128 r =
            bid128_add(to_bid(bnum_to_decimal(a)), to_bid(bnum_to_decimal(b)), BID_ROUNDING_TO_NEAREST, &flags);
        *out = (struct bnum){.type = B_DECIMAL, .dec = from_bid(r)};
    } else if (w == 2) {
        *out = (struct bnum){.type = B_DOUBLE, .d = bnum_to_double(a) + bnum_to_double(b)};
    } else {
        int64_t r;
        if (__builtin_add_overflow(int_of(a), int_of(b), &r)) return false;
        *out = narrow_int(r, w == 0);
    }
    return true;
}

bool bnum_mul(struct bnum a, struct bnum b, struct bnum *out) {
    int w = width(a.type) > width(b.type) ? width(a.type) : width(b.type);
    if (w == 3) {
        unsigned flags = 0;
        BID_UINT128 r =
            bid128_mul(to_bid(bnum_to_decimal(a)), to_bid(bnum_to_decimal(b)), BID_ROUNDING_TO_NEAREST, &flags);
        *out = (struct bnum){.type = B_DECIMAL, .dec = from_bid(r)};
    } else if (w == 2) {
        *out = (struct bnum){.type = B_DOUBLE, .d = bnum_to_double(a) * bnum_to_double(b)};
    } else {
        int64_t r;
        if (__builtin_mul_overflow(int_of(a), int_of(b), &r)) return false;
        *out = narrow_int(r, w == 0);
    }
    return true;
}

struct decimal_parts decimal_unpack(struct decimal d) {
    struct decimal_parts p = {.is_negative = d.hi >> 63 != 0, .kind = DECIMAL_FINITE};
    if ((d.hi >> 61 & 3) == 3) {
        unsigned kind = (unsigned) (d.hi >> 58) & 31;
        p.kind = kind == 31 ? DECIMAL_NAN : kind == 30 ? DECIMAL_INFINITE : DECIMAL_FINITE;
        p.exponent = (int) (d.hi >> 47 & 0x3fff) - DECIMAL_BIAS;
        return p;
    }
    p.exponent = (int) (d.hi >> 49 & 0x3fff) - DECIMAL_BIAS;
    u128 c = (u128) (d.hi & 0x1ffffffffffffu) << 64 | d.lo;
    p.coefficient = c > DECIMAL_COEFFICIENT_MAX ? 0 : c;
    return p;
}

struct decimal decimal_pack(bool is_negative, u128 coefficient, int exponent) {
    uint64_t hi =
        (uint64_t) is_negative << 63 | (uint64_t) (exponent + DECIMAL_BIAS) << 49 | (uint64_t) (coefficient >> 64);
    return (struct decimal){(uint64_t) coefficient, hi};
}

struct decimal decimal_from_int64(int64_t v) {
    return decimal_pack(v < 0, v < 0 ? (u128) 0 - (u128) (__int128) v : (u128) v, 0);
}

int decimal_digit_count(u128 coefficient) {
    int n = 1;
    if (coefficient >= (u128) 10000000000000000u * 10) { /* 10^17 */
        coefficient /= (u128) 10000000000000000u * 10;
        n += 17;
    }
    for (uint64_t c = (uint64_t) coefficient; c >= 10; c /= 10) n++;
    return n;
}

bool decimal_truncate(struct decimal d, double *out) {
    unsigned flags = 0;
    d.hi &= ~((uint64_t) 1 << 63);
    *out = bid128_to_binary64(to_bid(d), BID_ROUNDING_TO_ZERO, &flags);
    return (flags & (BID_INEXACT_EXCEPTION | BID_OVERFLOW_EXCEPTION | BID_UNDERFLOW_EXCEPTION)) == 0;
}

bool decimal_from_double_exact(double v, struct decimal *out) {
    unsigned flags = 0;
    *out = from_bid(binary64_to_bid128(v, BID_ROUNDING_TO_NEAREST, &flags));
    return (flags & BID_INEXACT_EXCEPTION) == 0;
}

/* Keeps 15 digits of a double, as MongoDB does: what a person who wrote 0.1 meant. */
static struct decimal decimal_from_double(double v) {
    unsigned flags = 0;
    BID_UINT128 exact = binary64_to_bid128(v, BID_ROUNDING_TO_NEAREST, &flags);
    struct decimal_parts p = decimal_unpack(from_bid(exact));
    if (p.kind != DECIMAL_FINITE || p.coefficient == 0) return from_bid(exact);
    int exponent = p.exponent + decimal_digit_count(p.coefficient) - 15;
    for (;; exponent++) {
        BID_UINT128 unit = to_bid(decimal_pack(false, 1, exponent));
        struct decimal r = from_bid(bid128_quantize(exact, unit, BID_ROUNDING_TO_NEAREST, &flags));
        /* Rounding up may have made a sixteenth digit. */
        if (decimal_unpack(r).coefficient < 1000000000000000u) return r;
    }
}

struct decimal bnum_to_decimal(struct bnum n) {
    switch (n.type) {
    case B_DECIMAL: return n.dec;
    case B_DOUBLE: return decimal_from_double(n.d);
    default: return decimal_from_int64(int_of(n));
    }
}

double bnum_to_double(struct bnum n) {
    switch (n.type) {
    case B_INT32: return n.i32;
    case B_INT64: return (double) n.i64;
    case B_DOUBLE: return n.d;
    default: {
        unsigned flags = 0;
        return bid128_to_binary64(to_bid(n.dec), BID_ROUNDING_TO_NEAREST, &flags);
    }
    }
}

bool bnum_is_nan(struct bnum n) {
    if (n.type == B_DOUBLE) return isnan(n.d);
    return n.type == B_DECIMAL && decimal_unpack(n.dec).kind == DECIMAL_NAN;
}

bool bnum_is_integral(struct bnum n) {
    if (n.type == B_DOUBLE) return isfinite(n.d) && trunc(n.d) == n.d;
    if (n.type != B_DECIMAL) return true;
    struct decimal_parts p = decimal_unpack(n.dec);
    if (p.kind != DECIMAL_FINITE) return false;
    if (p.coefficient == 0) return true;
    for (; p.exponent < 0 && p.coefficient % 10 == 0; p.exponent++) p.coefficient /= 10;
    return p.exponent >= 0;
}

bool bnum_to_int64(struct bnum n, int64_t *out) {
    if (n.type == B_DOUBLE) {
        if (!(n.d >= -0x1p63 && n.d < 0x1p63)) return false;
        *out = (int64_t) n.d;
    } else if (n.type == B_DECIMAL) {
        unsigned flags = 0;
        int64_t v = bid128_to_int64_int(to_bid(n.dec), &flags);
        if (flags & BID_INVALID_EXCEPTION) return false;
        *out = v;
    } else {
        *out = int_of(n);
    }
    return true;
}

bool bnum_to_int64_exact(struct bnum n, int64_t *out) { return bnum_is_integral(n) && bnum_to_int64(n, out); }

#define ORDER(a, b) (((a) > (b)) - ((a) < (b)))

int decimal_compare(struct decimal a, struct decimal b) {
    bool a_nan = decimal_unpack(a).kind == DECIMAL_NAN, b_nan = decimal_unpack(b).kind == DECIMAL_NAN;
    if (a_nan || b_nan) return b_nan - a_nan;
    unsigned flags = 0;
    if (bid128_quiet_less(to_bid(a), to_bid(b), &flags)) return -1;
    return bid128_quiet_equal(to_bid(a), to_bid(b), &flags) ? 0 : 1;
}

static int compare_doubles(double a, double b) {
    if (a < b) return -1;
    if (a > b) return 1;
    if (a == b) return 0;
    return (isnan(b) != 0) - (isnan(a) != 0); /* NaN is below everything */
}

/* Exact: the whole part of a double below 2^63 is an int64. */
static int compare_int_double(int64_t i, double d) {
    if (isnan(d)) return 1;
    if (d >= 0x1p63) return -1;
    if (d < -0x1p63) return 1;
    int64_t whole = (int64_t) d;
    if (i != whole) return i < whole ? -1 : 1;
    double fraction = d - (double) whole;
    return fraction > 0 ? -1 : fraction < 0;
}

/* Exact: a decimal lies at its truncation to a double or between that and the next double, so two doubles are compared, and whether
 * the truncation lost something decides a tie. */
static int compare_decimal_double(struct decimal a, double b) {
    struct decimal_parts p = decimal_unpack(a);
    if (p.kind == DECIMAL_NAN) return isnan(b) ? 0 : -1;
    if (isnan(b)) return 1;
    if (p.kind == DECIMAL_INFINITE) return compare_doubles(p.is_negative ? -(double) INFINITY : (double) INFINITY, b);
    if (p.coefficient == 0) return b > 0 ? -1 : b < 0;
    if (p.is_negative != (b < 0) || b == 0) return p.is_negative ? -1 : 1;
    double truncated;
    bool is_exact = decimal_truncate(a, &truncated);
    int c = compare_doubles(truncated, fabs(b));
    if (c == 0) c = is_exact ? 0 : 1;
    return p.is_negative ? -c : c;
}

int bnum_compare(struct bnum a, struct bnum b) {
    int wa = width(a.type), wb = width(b.type);
    if (wa > wb) return -bnum_compare(b, a);
    if (wb <= 1) return ORDER(int_of(a), int_of(b));
    if (wb == 2) return wa == 2 ? compare_doubles(a.d, b.d) : compare_int_double(int_of(a), b.d);
    if (wa == 3) return decimal_compare(a.dec, b.dec);
    if (wa == 2) return -compare_decimal_double(b.dec, a.d);
    return decimal_compare(decimal_from_int64(int_of(a)), b.dec);
}

void decimal_to_text(struct decimal d, char text[43]) {
    /* libbson prints a coefficient that is not canonical; it means zero. */
    struct decimal_parts p = decimal_unpack(d);
    if (p.kind == DECIMAL_FINITE) d = decimal_pack(p.is_negative, p.coefficient, p.exponent);
    bson_decimal128_t dec = {.low = d.lo, .high = d.hi};
    _Static_assert(BSON_DECIMAL128_STRING == 43, "libbson's buffer is ours");
    bson_decimal128_to_string(&dec, text);
}

bool decimal_from_text(const char *text, struct decimal *out) {
    bson_decimal128_t dec;
    if (!bson_decimal128_from_string(text, &dec)) return false;
    *out = (struct decimal){dec.low, dec.high};
    return true;
}
