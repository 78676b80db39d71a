/* Decimal128 functions; see decimal_math.h. Explicit rounding and flags: nothing is global. */
#include "bson/decimal_math.h"

#define DECIMAL_CALL_BY_REFERENCE 0
#define DECIMAL_GLOBAL_ROUNDING 0
#define DECIMAL_GLOBAL_EXCEPTION_FLAGS 0
#include <bid_conf.h>
#include <bid_functions.h>

static BID_UINT128 to_bid(struct decimal d) { return (BID_UINT128){{d.lo, d.hi}}; }
static struct decimal from_bid(BID_UINT128 b) { return (struct decimal){b.w[0], b.w[1]}; }

struct decimal decimal_unary(enum decimal_unary f, struct decimal a) {
    unsigned flags = 0, mode = BID_ROUNDING_TO_NEAREST;
    BID_UINT128 v = to_bid(a), r = v;
    switch (f) {
    case DECIMAL_SQRT: r = bid128_sqrt(v, mode, &flags); break;
    case DECIMAL_EXP: r = bid128_exp(v, mode, &flags); break;
    case DECIMAL_LN: r = bid128_log(v, mode, &flags); break;
    case DECIMAL_LOG10: r = bid128_log10(v, mode, &flags); break;
    case DECIMAL_SIN: r = bid128_sin(v, mode, &flags); break;
    case DECIMAL_COS: r = bid128_cos(v, mode, &flags); break;
    case DECIMAL_TAN: r = bid128_tan(v, mode, &flags); break;
    case DECIMAL_ASIN: r = bid128_asin(v, mode, &flags); break;
    case DECIMAL_ACOS: r = bid128_acos(v, mode, &flags); break;
    case DECIMAL_ATAN: r = bid128_atan(v, mode, &flags); break;
    case DECIMAL_SINH: r = bid128_sinh(v, mode, &flags); break;
    case DECIMAL_COSH: r = bid128_cosh(v, mode, &flags); break;
    case DECIMAL_TANH: r = bid128_tanh(v, mode, &flags); break;
    case DECIMAL_ASINH: r = bid128_asinh(v, mode, &flags); break;
    case DECIMAL_ACOSH: r = bid128_acosh(v, mode, &flags); break;
    case DECIMAL_ATANH: r = bid128_atanh(v, mode, &flags); break;
    }
    return from_bid(r);
}

struct decimal decimal_binary(enum decimal_binary f, struct decimal a, struct decimal b) {
    unsigned flags = 0, mode = BID_ROUNDING_TO_NEAREST;
    BID_UINT128 x = to_bid(a), y = to_bid(b), r = x;
    switch (f) {
    case DECIMAL_ADD: r = bid128_add(x, y, mode, &flags); break;
    case DECIMAL_SUB: r = bid128_sub(x, y, mode, &flags); break;
    case DECIMAL_MUL: r = bid128_mul(x, y, mode, &flags); break;
    case DECIMAL_DIV: r = bid128_div(x, y, mode, &flags); break;
    case DECIMAL_FMOD: r = bid128_fmod(x, y, &flags); break;
    case DECIMAL_POW: r = bid128_pow(x, y, mode, &flags); break;
    case DECIMAL_ATAN2: r = bid128_atan2(x, y, mode, &flags); break;
    }
    return from_bid(r);
}

struct decimal decimal_abs(struct decimal a) {
    a.hi &= ~((uint64_t) 1 << 63);
    return a;
}

struct decimal decimal_round(struct decimal a, int place, enum decimal_rounding rounding) {
    static const unsigned modes[] = {BID_ROUNDING_TO_NEAREST, BID_ROUNDING_TO_ZERO, BID_ROUNDING_DOWN, BID_ROUNDING_UP};
    unsigned flags = 0;
    return from_bid(bid128_quantize(to_bid(a), to_bid(decimal_pack(false, 1, -place)), modes[rounding], &flags));
}

struct decimal decimal_of_double(double v) {
    unsigned flags = 0;
    return from_bid(binary64_to_bid128(v, BID_ROUNDING_TO_NEAREST, &flags));
}

double decimal_to_double(struct decimal a) {
    unsigned flags = 0;
    return bid128_to_binary64(to_bid(a), BID_ROUNDING_TO_NEAREST, &flags);
}
