/* Numbers in keys: one exact encoding for int32, int64, double and decimal128.
 *
 * Every finite x other than zero has a binary part B(x): |x| cut toward zero to what int64 and double can hold at that size. B(x) = |x|
 * for all integers and doubles, so only decimals have a rest, and two numbers with the same B(x) and a rest are both decimals. So:
 *
 *   lead                          class by size and sign
 *   B(x)                          1 to 8 bytes, the last bit says whether a rest follows
 *   rest: exponent, digits        the decimal itself, in an order-preserving form
 *
 *   |x| < 1          8 bytes: bits of B(x) as a double, shifted left by one, | rest
 *   1 <= |x| < 2^63  n bytes (the lead counts them): 2 * whole part | fraction. Without `fraction` that is all: an integer.
 *                    Else 8 - n bytes: the fraction's bits, cut to a double's precision, the last bit says whether a rest follows;
 *                    n = 8 has no room for a fraction, nor doubles with one: the rest follows at once.
 *   2^63 <= |x|      8 bytes as for |x| < 1; decimals past the largest double have that as B(x) and a rest
 *
 *   rest: 2 bytes    decimal exponent of the first digit + 6177, big endian
 *         1..17      two digits a byte, first digit not zero: pair << 1 | more; no pair 00 last
 *
 * Negative numbers invert every byte after the lead. The whole part keeps its 63 bits where doubles have 53: B(x) is the whole
 * part from 2^53 on, x cut to 53 bits below. */
#include <math.h>

#include "base/endian.h"
#include "index/key_layout.h"

typedef unsigned __int128 u128;

#define TAIL_BIAS 6177
#define DIGITS_MAX 34
#define TEN18 1000000000000000000u

static u128 power_of_ten(int n) {
    u128 r = 1;
    for (; n >= 18; n -= 18) r *= TEN18;
    for (; n > 0; n--) r *= 10;
    return r;
}

static uint64_t bits_of(double d) {
    uint64_t bits;
    memcpy(&bits, &d, sizeof(bits));
    return bits;
}

static double double_of(uint64_t bits) {
    double d;
    memcpy(&d, &bits, sizeof(d));
    return d;
}

/* The decimal in order-preserving form. */
static size_t put_rest(uint8_t *p, u128 coefficient, int exponent) {
    int digit_count = decimal_digit_count(coefficient);
    put_be16(p, (uint16_t) (exponent + digit_count - 1 + TAIL_BIAS));
    coefficient *= power_of_ten(DIGITS_MAX - digit_count);
    uint8_t pairs[17];
    uint64_t low = (uint64_t) (coefficient % TEN18), high = (uint64_t) (coefficient / TEN18);
    for (int i = 16; i >= 8; i--, low /= 100) pairs[i] = (uint8_t) (low % 100);
    for (int i = 7; i >= 0; i--, high /= 100) pairs[i] = (uint8_t) (high % 100);
    int count = 17;
    while (pairs[count - 1] == 0) count--;
    for (int i = 0; i < count; i++) p[2 + i] = (uint8_t) (pairs[i] << 1 | (i + 1 < count));
    return 2 + (size_t) count;
}

/* Lead and binary part of |x| given as a double, and whether a rest follows. Infinity is not given. */
static size_t put_double_part(uint8_t *p, double d, bool has_rest) {
    if (d < 1 || d >= 0x1p63) {
        p[0] = d < 1 ? LEAD_POS_SMALL : LEAD_POS_LARGE;
        put_be64(p + 1, bits_of(d) << 1 | has_rest);
        return 9;
    }
    uint64_t whole = (uint64_t) d;
    double fraction = d - (double) whole;
    if (fraction == 0 && !has_rest) return key_put_integer(p, (int64_t) whole);
    uint64_t twice = whole << 1 | 1;
    unsigned n = (71 - (unsigned) __builtin_clzll(twice)) / 8;
    p[0] = (uint8_t) (LEAD_POS_WHOLE + n);
    put_be64(p + 1, twice << (64 - 8 * n));
    if (n == 8) return 9; /* has_rest, implied */
    /* Below 2^53 here, or without fraction: the fraction's bits fit above the last one. */
    uint64_t fixed = (uint64_t) (fraction * 0x1p52) << 12; /* fraction * 2^64 */
    put_be64(p + 1, twice << (64 - 8 * n) | ((fixed >> (8 * n)) & ~(uint64_t) 1) | has_rest);
    return 9;
}

/* A decimal's whole part when it is below 2^63, and whether something is left over. */
static uint64_t whole_part(struct decimal_parts p, bool *has_rest) {
    *has_rest = false;
    if (p.exponent >= 0) return (uint64_t) (p.coefficient * power_of_ten(p.exponent));
    u128 unit = power_of_ten(-p.exponent);
    *has_rest = p.coefficient % unit != 0;
    return (uint64_t) (p.coefficient / unit);
}

static size_t put_decimal(uint8_t *p, struct decimal dec, struct decimal_parts parts) {
    double d;
    bool has_rest = !decimal_truncate(dec, &d);
    size_t n;
    if (d >= 0x1p53 && d < 0x1p63) { /* the whole part has more bits than the double */
        uint64_t whole = whole_part(parts, &has_rest);
        n = key_put_integer(p, (int64_t) whole);
        if (has_rest) p[n - 1] |= 1;
        if (has_rest && n < 9) { /* room for a fraction that no double has */
            memset(p + n, 0, 9 - n);
            p[8] = 1;
            n = 9;
        }
    } else {
        n = put_double_part(p, d, has_rest);
    }
    return has_rest ? n + put_rest(p + n, parts.coefficient, parts.exponent) : n;
}

/* Turns the encoding of |x| into that of -|x|. */
static void negate(uint8_t *p, size_t len) {
    p[0] = (uint8_t) (2 * LEAD_ZERO - p[0]);
    for (size_t i = 1; i < len; i++) p[i] = (uint8_t) ~p[i];
}

static size_t put_class(uint8_t *p, uint8_t lead) {
    p[0] = lead;
    return 1;
}

static size_t put_double(uint8_t *p, double d) {
    if (isnan(d)) return put_class(p, LEAD_NAN);
    if (d == 0) return put_class(p, LEAD_ZERO);
    if (isinf(d)) return put_class(p, d < 0 ? LEAD_NEG_INFINITY : LEAD_POS_INFINITY);
    size_t n = put_double_part(p, fabs(d), false);
    if (d < 0) negate(p, n);
    return n;
}

size_t key_put_number(uint8_t *p, struct bnum n) {
    if (n.type == B_INT32) return key_put_integer(p, n.i32);
    if (n.type == B_INT64) return n.i64 == INT64_MIN ? put_double(p, -0x1p63) : key_put_integer(p, n.i64);
    if (n.type == B_DOUBLE) return put_double(p, n.d);
    struct decimal_parts parts = decimal_unpack(n.dec);
    if (parts.kind == DECIMAL_NAN) return put_class(p, LEAD_NAN);
    if (parts.kind == DECIMAL_INFINITE) return put_class(p, parts.is_negative ? LEAD_NEG_INFINITY : LEAD_POS_INFINITY);
    if (parts.coefficient == 0) return put_class(p, LEAD_ZERO);
    size_t len = put_decimal(p, n.dec, parts);
    if (parts.is_negative) negate(p, len);
    return len;
}

#define CANONICAL_NAN 0x7ff8000000000000u

size_t key_put_number_side(uint8_t *p, struct bnum n) {
    p[0] = SIDE_NATURAL;
    if (n.type == B_INT64) {
        if ((n.i64 >= INT32_MIN && n.i64 <= INT32_MAX) || n.i64 == INT64_MIN) p[0] = SIDE_INT64;
    } else if (n.type == B_DOUBLE) {
        uint64_t bits = bits_of(n.d);
        if (isnan(n.d) && bits != CANONICAL_NAN) {
            p[0] = SIDE_RAW_DOUBLE;
            put_le64(p + 1, bits);
            return 9;
        }
        if (n.d == 0) p[0] = bits == 0 ? SIDE_DOUBLE : SIDE_MINUS_ZERO;
        else if (fabs(n.d) < 0x1p63 && trunc(n.d) == n.d) p[0] = SIDE_DOUBLE;
    } else if (n.type == B_DECIMAL) {
        struct decimal_parts parts = decimal_unpack(n.dec);
        if (parts.coefficient == 0) { /* zeros, infinities, NaN, not canonical */
            p[0] = SIDE_RAW_DECIMAL;
            put_le64(p + 1, n.dec.lo);
            put_le64(p + 9, n.dec.hi);
            return 17;
        }
        unsigned zeros = 0;
        for (; parts.coefficient % 10 == 0; zeros++) parts.coefficient /= 10;
        p[0] = (uint8_t) (SIDE_DECIMAL + zeros);
    }
    return 1;
}

static bool is_negative_lead(uint8_t lead) { return lead < LEAD_ZERO; }

/* The length of the part before the rest, and whether a rest follows; 0 when cut off. */
static size_t binary_part_len(const uint8_t *p, size_t len, uint8_t mask, bool *has_rest) {
    uint8_t lead = p[0] ^ mask;
    *has_rest = false;
    if (lead == LEAD_NAN || lead == LEAD_NEG_INFINITY || lead == LEAD_ZERO || lead == LEAD_POS_INFINITY) return 1;
    if (is_negative_lead(lead)) {
        mask = (uint8_t) ~mask;
        lead = (uint8_t) (2 * LEAD_ZERO - lead);
    }
    size_t n = 8;
    if (lead > LEAD_POS_WHOLE && lead <= LEAD_POS_WHOLE + 8) {
        n = lead - LEAD_POS_WHOLE;
        if (len < 1 + n) return 0;
        if (((p[n] ^ mask) & 1) == 0) return 1 + n;
    }
    if (len < 9) return 0;
    *has_rest = ((p[8] ^ mask) & 1) != 0;
    return 9;
}

size_t key_number_len(const uint8_t *p, size_t len, uint8_t mask) {
    bool has_rest;
    if (len == 0 || !lead_is_number(p[0] ^ mask)) return 0;
    size_t n = binary_part_len(p, len, mask, &has_rest);
    if (n == 0 || !has_rest) return n;
    if (is_negative_lead(p[0] ^ mask)) mask = (uint8_t) ~mask;
    n += 2;
    for (int i = 0; i < 17; i++, n++) {
        if (n >= len) return 0;
        if (((p[n] ^ mask) & 1) == 0) return n + 1;
    }
    return 0;
}

/* The decimal of a rest. */
static bool get_rest(const uint8_t *p, size_t len, struct decimal *out) {
    int count = (int) len - 2;
    u128 coefficient = 0;
    for (int i = 0; i < count; i++) {
        if (p[2 + i] >> 1 > 99) return false;
        coefficient = coefficient * 100 + (p[2 + i] >> 1);
    }
    int exponent = get_be16(p) - TAIL_BIAS - (decimal_digit_count(coefficient) - 1);
    for (; coefficient != 0 && coefficient % 10 == 0; exponent++) coefficient /= 10;
    if (coefficient == 0) return false;
    /* A large exponent is held by zeros in the coefficient. */
    for (; exponent > DECIMAL_EXPONENT_MAX; exponent--) {
        if (coefficient > DECIMAL_COEFFICIENT_MAX / 10) return false;
        coefficient *= 10;
    }
    if (exponent < -DECIMAL_BIAS) return false;
    *out = decimal_pack(false, coefficient, exponent);
    return true;
}

/* |x| when it is an integer or a double. */
static bool get_binary(const uint8_t *p, size_t len, struct bnum *out) {
    if (p[0] == LEAD_POS_SMALL || p[0] == LEAD_POS_LARGE) {
        *out = (struct bnum){.type = B_DOUBLE, .d = double_of(get_be64(p + 1) >> 1)};
        return isfinite(out->d) && out->d != 0;
    }
    unsigned n = p[0] - LEAD_POS_WHOLE;
    uint64_t twice = 0;
    for (unsigned i = 0; i < n; i++) twice = twice << 8 | p[1 + i];
    if (len == 1 + n) {
        int64_t v = (int64_t) (twice >> 1);
        bool is_small = v <= INT32_MAX;
        *out = is_small ? (struct bnum){.type = B_INT32, .i32 = (int32_t) v} : (struct bnum){.type = B_INT64, .i64 = v};
        return true;
    }
    uint64_t fraction = get_be64(p + 1) << (8 * n); /* left-aligned */
    *out = (struct bnum){.type = B_DOUBLE, .d = (double) (twice >> 1) + (double) (fraction >> 11) * 0x1p-53};
    return true;
}

static struct bnum negated(struct bnum n) {
    switch (n.type) {
    case B_INT32: n.i32 = -n.i32; break;
    case B_INT64: n.i64 = -n.i64; break;
    case B_DOUBLE: n.d = -n.d; break;
    default: n.dec.hi ^= (uint64_t) 1 << 63; break;
    }
    /* -2^31 is an int32, though 2^31 is none. */
    if (n.type == B_INT64 && n.i64 == INT32_MIN) return (struct bnum){.type = B_INT32, .i32 = INT32_MIN};
    return n;
}

bool key_get_number(const uint8_t *key, size_t len, struct bnum *out) {
    uint8_t p[KEY_NUMBER_LEN_MAX], again[KEY_NUMBER_LEN_MAX];
    if (len == 0 || len > sizeof(p) || !lead_is_number(key[0])) return false;
    memcpy(p, key, len);
    switch (p[0]) {
    case LEAD_NAN: *out = (struct bnum){.type = B_DOUBLE, .d = double_of(CANONICAL_NAN)}; return len == 1;
    case LEAD_NEG_INFINITY: *out = (struct bnum){.type = B_DOUBLE, .d = -(double) INFINITY}; return len == 1;
    case LEAD_POS_INFINITY: *out = (struct bnum){.type = B_DOUBLE, .d = (double) INFINITY}; return len == 1;
    case LEAD_ZERO: *out = (struct bnum){.type = B_INT32, .i32 = 0}; return len == 1;
    default: break;
    }
    bool is_negative = is_negative_lead(p[0]), has_rest;
    if (is_negative) negate(p, len);
    size_t n = binary_part_len(p, len, 0, &has_rest);
    if (n == 0 || (!has_rest && n != len)) return false;
    if (has_rest) {
        if (len < n + 3 || !get_rest(p + n, len - n, &out->dec)) return false;
        out->type = B_DECIMAL;
    } else if (!get_binary(p, len, out)) {
        return false;
    }
    /* Only what this value encodes to is its encoding. */
    if (key_put_number(again, *out) != len || memcmp(p, again, len) != 0) return false;
    if (is_negative) *out = negated(*out);
    return true;
}

static bool to_decimal(struct bnum natural, unsigned zeros, struct bnum *out) {
    struct decimal d = natural.dec;
    if (natural.type == B_DOUBLE) {
        if (!isfinite(natural.d) || !decimal_from_double_exact(natural.d, &d)) return false;
    } else if (natural.type != B_DECIMAL) {
        d = decimal_from_int64(natural.type == B_INT32 ? natural.i32 : natural.i64);
    }
    struct decimal_parts p = decimal_unpack(d);
    if (p.coefficient == 0) return false;
    for (; p.coefficient % 10 == 0; p.exponent++) p.coefficient /= 10;
    if (zeros >= DIGITS_MAX || p.coefficient > DECIMAL_COEFFICIENT_MAX / power_of_ten((int) zeros)) return false;
    p.coefficient *= power_of_ten((int) zeros);
    p.exponent -= (int) zeros;
    if (p.exponent < -DECIMAL_BIAS || p.exponent > DECIMAL_EXPONENT_MAX) return false;
    *out = (struct bnum){.type = B_DECIMAL, .dec = decimal_pack(p.is_negative, p.coefficient, p.exponent)};
    return true;
}

bool key_apply_number_side(struct bnum natural, uint8_t side, struct bnum *out) {
    bool is_integer = natural.type == B_INT32 || natural.type == B_INT64;
    int64_t i = natural.type == B_INT32 ? natural.i32 : natural.type == B_INT64 ? natural.i64 : 0;
    switch (side) {
    case SIDE_NATURAL: *out = natural; return true;
    case SIDE_INT64:
        if (natural.type == B_DOUBLE && natural.d == -0x1p63) i = INT64_MIN;
        else if (!is_integer) return false;
        *out = (struct bnum){.type = B_INT64, .i64 = i};
        return true;
    case SIDE_DOUBLE:
        *out = natural.type == B_DOUBLE ? natural : (struct bnum){.type = B_DOUBLE, .d = (double) i};
        return natural.type == B_DOUBLE || (is_integer && bnum_compare(natural, *out) == 0);
    case SIDE_MINUS_ZERO: *out = (struct bnum){.type = B_DOUBLE, .d = -0.0}; return is_integer && i == 0;
    default: return side >= SIDE_DECIMAL && to_decimal(natural, side - SIDE_DECIMAL, out);
    }
}
