/* The bytes of the key encoding that encoder, decoder and bounds share. docs/FORMAT.md, "Keys", has the tables. */
#ifndef ELMO_INDEX_KEY_LAYOUT_H
#define ELMO_INDEX_KEY_LAYOUT_H

#include "base/err.h"
#include "bson/compare.h"
#include "bson/number.h"

/* The first byte of an encoding. Ranks lie apart, so that the byte before a rank's first and the byte after its last lead bound it
 * in both directions. Neither 00 (which ends documents, arrays and texts) nor ff is a lead, nor their neighbours' bounds. */
enum key_lead {
    LEAD_MIN_KEY = 0x08,
    LEAD_NULL = 0x10,
    LEAD_NAN = 0x20,
    LEAD_NEG_INFINITY = 0x21,
    LEAD_NEG_LARGE = 0x22, /* x <= -2^63 */
    LEAD_NEG_WHOLE = 0x2b, /* minus the byte count, 1..8: 0x23..0x2a */
    LEAD_NEG_SMALL = 0x2b, /* -1 < x < 0 */
    LEAD_ZERO = 0x2c,
    LEAD_POS_SMALL = 0x2d,
    LEAD_POS_WHOLE = 0x2d, /* plus the byte count: 0x2e..0x35 */
    LEAD_POS_LARGE = 0x36,
    LEAD_POS_INFINITY = 0x37,
    LEAD_STRING = 0x40,
    LEAD_DOCUMENT = 0x48,
    LEAD_ARRAY = 0x50,
    LEAD_BINARY = 0x58,
    LEAD_OBJECT_ID = 0x60,
    LEAD_FALSE = 0x68,
    LEAD_TRUE = 0x69,
    LEAD_DATE = 0x70,
    LEAD_TIMESTAMP = 0x78,
    LEAD_REGEX = 0x80,
    LEAD_DBPOINTER = 0x88,
    LEAD_CODE = 0x90,
    LEAD_CODE_SCOPE = 0x98,
    LEAD_MAX_KEY = 0xf0,
};

/* Texts: 00 and 01 are escaped as 01 01 and 01 02; 00 ends. */
enum { TEXT_END = 0x00, TEXT_ESCAPE = 0x01 };

/* Side bits. */
enum side_null { SIDE_NULL, SIDE_MISSING, SIDE_UNDEFINED, SIDE_EMPTY_ARRAY };
enum side_text { SIDE_STRING, SIDE_SYMBOL };
enum side_number {
    SIDE_NATURAL, /* what the encoding alone says: int32 where it fits, else int64, double, decimal */
    SIDE_INT64,
    SIDE_DOUBLE,
    SIDE_MINUS_ZERO,  /* the double */
    SIDE_RAW_DOUBLE,  /* 8 bytes follow: a NaN */
    SIDE_RAW_DECIMAL, /* 16 bytes follow: zeros, infinities, NaN, forms that are not canonical */
    SIDE_DECIMAL = 16 /* plus the number of zeros at the end of its coefficient, 0..33 */
};

#define KEY_NUMBER_LEN_MAX 32
/* Writes the encoding of n to p (KEY_NUMBER_LEN_MAX bytes): its length. */
size_t key_put_number(uint8_t *p, struct bnum n);
/* Writes the side bits of n to p (KEY_NUMBER_LEN_MAX bytes): their length. */
size_t key_put_number_side(uint8_t *p, struct bnum n);
static inline bool lead_is_number(uint8_t lead) { return lead >= LEAD_NAN && lead <= LEAD_POS_INFINITY; }
/* The length of the encoding of a number at p (bytes XOR mask), 0 when it is cut off or no number's. */
size_t key_number_len(const uint8_t *p, size_t len, uint8_t mask);
/* Reads an encoding of exactly len bytes, ascending, as the type that it says by itself. False: no number encodes so. */
bool key_get_number(const uint8_t *p, size_t len, struct bnum *out);
/* Gives `natural` the type that a side byte (not one of the raw ones) says. False: it cannot have it. */
bool key_apply_number_side(struct bnum natural, uint8_t side, struct bnum *out);

static inline size_t key_put_integer(uint8_t *p, int64_t v) {
    if (v == 0) {
        p[0] = LEAD_ZERO;
        return 1;
    }
    uint64_t twice = v < 0 ? (0 - (uint64_t) v) << 1 : (uint64_t) v << 1; /* |v| < 2^63 */
    unsigned n = (71 - (unsigned) __builtin_clzll(twice)) / 8;
    uint64_t bytes = __builtin_bswap64(twice << (64 - 8 * n));
    p[0] = (uint8_t) (v < 0 ? LEAD_NEG_WHOLE - n : LEAD_POS_WHOLE + n);
    bytes = v < 0 ? ~bytes : bytes;
    memcpy(p + 1, &bytes, 8);
    return 1 + n;
}

#endif
