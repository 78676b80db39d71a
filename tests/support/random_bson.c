/* Random BSON; see random_bson.h. */
#include "support/random_bson.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

uint64_t random_seed(uint64_t seed) {
    const char *text = getenv("ELMO_SEED");
    return text != NULL ? strtoull(text, NULL, 0) : seed;
}

uint64_t random_rounds(uint64_t rounds) {
    const char *text = getenv("ELMO_ROUNDS");
    return text != NULL ? rounds * strtoull(text, NULL, 0) : rounds;
}

static double double_of_bits(uint64_t bits) {
    double d;
    memcpy(&d, &bits, sizeof(d));
    return d;
}

static double random_double(struct chance *c) {
    static const double odd[] = {0.0,
                                 -0.0,
                                 0.1,
                                 0.5,
                                 1.5,
                                 -1.5,
                                 19.99,
                                 1e15,
                                 1e16,
                                 1e22,
                                 1e23,
                                 0x1p53,
                                 0x1p62,
                                 0x1p63,
                                 -0x1p63,
                                 0x1p64,
                                 4.9e-324,
                                 2.2250738585072014e-308,
                                 1.7976931348623157e308,
                                 9007199254740993.0};
    double d;
    switch (chance_below(c, 8)) {
    case 0: d = odd[chance_below(c, sizeof(odd) / sizeof(odd[0]))]; break;
    case 1: return double_of_bits(chance_next(c));
    case 2:
        return double_of_bits(chance_below(c, 4) << 63 | 0x7ff0000000000000u |
                              chance_below(c, 3)); /* infinities, NaN */
    case 3: d = ldexp(1.0, (int) chance_below(c, 2100) - 1075); break;
    case 4: d = ldexp(1.0, (int) chance_below(c, 70) - 4); break;
    case 5: d = (double) (int64_t) chance_below(c, 200) / 8; break;
    case 6: d = (double) chance_below(c, 10000) / 100; break;
    default: d = (double) (int64_t) (chance_next(c) >> chance_below(c, 64)); break;
    }
    uint64_t ulps = chance_below(c, 6);
    if (ulps == 0) d = nextafter(d, INFINITY);
    if (ulps == 1) d = nextafter(d, -INFINITY);
    return chance_below(c, 2) ? d : -d;
}

static int64_t random_int(struct chance *c) {
    int64_t v = (int64_t) (chance_next(c) >> chance_below(c, 64));
    switch (chance_below(c, 4)) {
    case 0: v = (int64_t) ((uint64_t) 1 << chance_below(c, 64)) - 1 + (int64_t) chance_below(c, 3); break;
    case 1: v = (int64_t) chance_below(c, 20); break;
    default: break;
    }
    return chance_below(c, 2) ? v : (int64_t) (0 - (uint64_t) v);
}

/* A decimal next to, or equal to, a double or an integer: its digits, a few of them changed, other exponents for the same value. */
static struct decimal random_near_decimal(struct chance *c) {
    char text[64];
    struct decimal d;
    double v = random_double(c);
    if (!isfinite(v)) v = 0.1;
    if (chance_below(c, 3) == 0) (void) snprintf(text, sizeof(text), "%lld", (long long) random_int(c));
    else (void) snprintf(text, sizeof(text), "%.*e", (int) chance_below(c, 34), v);
    if (!decimal_from_text(text, &d)) return decimal_from_int64(1);
    struct decimal_parts p = decimal_unpack(d);
    uint64_t nudge = chance_below(c, 4);
    if (nudge == 0 && p.coefficient < DECIMAL_COEFFICIENT_MAX) p.coefficient++;
    if (nudge == 1 && p.coefficient > 0) p.coefficient--;
    for (uint64_t n = chance_below(c, 3) == 0 ? chance_below(c, 34) : 0; n > 0; n--) {
        if (p.coefficient > DECIMAL_COEFFICIENT_MAX / 10 || p.exponent <= -DECIMAL_BIAS) break;
        p.coefficient *= 10;
        p.exponent--;
    }
    return decimal_pack(p.is_negative, p.coefficient, p.exponent);
}

static struct decimal random_decimal(struct chance *c) {
    static const char *const odd[] = {"0",
                                      "-0",
                                      "0E+6111",
                                      "0E-6176",
                                      "NaN",
                                      "-NaN",
                                      "Infinity",
                                      "-Infinity",
                                      "1E-6176",
                                      "0.1",
                                      "0.10",
                                      "1E+6111",
                                      "9.999999999999999999999999999999999E+6144",
                                      "1E+400",
                                      "1E-400",
                                      "9223372036854775807.5",
                                      "9223372036854775808",
                                      "-9223372036854775808.0",
                                      "9007199254740993",
                                      "9007199254740992.5",
                                      "0.1000000000000000055511151231257827",
                                      "0.1000000000000000055511151231257828",
                                      "2.5",
                                      "2.500",
                                      "18014398509481984.25",
                                      "0.9999999999999999999999999999999999",
                                      "1.000000000000000000000000000000001"};
    struct decimal d = decimal_from_int64(0);
    switch (chance_below(c, 5)) {
    case 0: (void) decimal_from_text(odd[chance_below(c, sizeof(odd) / sizeof(odd[0]))], &d); return d;
    case 1: return (struct decimal){chance_next(c), chance_next(c)};
    case 2: {
        unsigned __int128 coefficient = (unsigned __int128) chance_next(c) << 64 | chance_next(c);
        coefficient = (coefficient >> chance_below(c, 128)) % (DECIMAL_COEFFICIENT_MAX + 1);
        int exponent =
            chance_below(c, 2) ? (int) chance_below(c, 70) - 35 : (int) chance_below(c, 12288) - DECIMAL_BIAS;
        return decimal_pack(chance_below(c, 2), coefficient, exponent);
    }
    default: return random_near_decimal(c);
    }
}

struct bnum random_number(struct chance *c) {
    switch (chance_below(c, 4)) {
    case 0: return (struct bnum){.type = B_INT32, .i32 = (int32_t) random_int(c)};
    case 1: return (struct bnum){.type = B_INT64, .i64 = random_int(c)};
    case 2: return (struct bnum){.type = B_DOUBLE, .d = random_double(c)};
    default: return (struct bnum){.type = B_DECIMAL, .dec = random_decimal(c)};
    }
}

/* Short texts with zero bytes, 01 (the escape) and ff, which make the best accidents. */
static struct slice random_text(struct chance *c, uint8_t text[24], bool allow_zero) {
    static const uint8_t bytes[] = {'a', 'b', 'a', 0x01, 0x02, 0xc3, 0x7f, 0x00};
    size_t len = chance_below(c, 4) == 0 ? chance_below(c, 24) : chance_below(c, 4);
    for (size_t i = 0; i < len; i++) {
        text[i] = bytes[chance_below(c, sizeof(bytes) - (allow_zero ? 0 : 1))];
        if (text[i] != 0xc3) continue;
        if (i + 1 < len) text[++i] = 0xa9; /* é */
        else text[i] = 'c';
    }
    return slice_of(text, len);
}

static void put_text(struct buf *out, struct slice s) {
    (void) buf_append_u32(out, (uint32_t) s.len + 1);
    (void) buf_append_slice(out, s);
    (void) buf_append_u8(out, 0);
}

static struct slice random_name(struct chance *c) {
    static const char *const names[] = {"a", "b", "c", "0", "1", "", "ab", "a\x01"};
    return slice_str(names[chance_below(c, chance_below(c, 3) == 0 ? 8 : 4)]);
}

static void random_scalar(struct chance *c, struct bbuild *b, struct slice name, uint8_t type) {
    uint8_t text[24], raw[256];
    struct buf out;
    buf_init(&out, mem_default());
    size_t fixed = type == B_OBJECT_ID ? 12 : type == B_BOOL ? 1 : type == B_DATE || type == B_TIMESTAMP ? 8 : 0;
    for (size_t i = 0; i < fixed; i++) raw[i] = (uint8_t) (chance_below(c, 2) ? 0 : chance_next(c));
    if (type == B_BOOL) raw[0] &= 1;
    if (type == B_STRING || type == B_SYMBOL || type == B_CODE) put_text(&out, random_text(c, text, true));
    else if (type == B_REGEX) {
        (void) buf_append_slice(&out, random_text(c, text, false));
        (void) buf_append_u8(&out, 0);
        (void) buf_append_slice(&out, chance_below(c, 2) ? SLICE_LIT("i") : SLICE_LIT(""));
        (void) buf_append_u8(&out, 0);
    } else if (type == B_DBPOINTER) {
        put_text(&out, random_text(c, text, true));
        (void) buf_append(&out, "123456789012", 12);
    } else if (type == B_BINARY) {
        struct slice s = random_text(c, text, true);
        (void) buf_append_u32(&out, (uint32_t) s.len);
        (void) buf_append_u8(&out, (uint8_t) (chance_below(c, 2) ? 0 : 128));
        (void) buf_append_slice(&out, s);
    } else (void) buf_append(&out, raw, fixed);
    bbuild_value(b, name, (struct bval){out.p, (uint32_t) out.len, type});
    buf_release(&out);
}

static void random_code_scope(struct chance *c, struct bbuild *b, struct slice name, int depth) {
    uint8_t text[24];
    struct buf out;
    buf_init(&out, mem_default());
    (void) buf_append_zero(&out, 4);
    put_text(&out, random_text(c, text, true));
    (void) random_doc(c, &out, 2, depth);
    put_le32(out.p, (uint32_t) out.len);
    bbuild_value(b, name, (struct bval){out.p, (uint32_t) out.len, B_CODE_SCOPE});
    buf_release(&out);
}

static void random_fields(struct chance *c, struct bbuild *b, int fields, int depth, bool is_array) {
    char idx[12];
    for (int i = 0, n = (int) chance_below(c, (uint64_t) fields + 1); i < n; i++) {
        (void) snprintf(idx, sizeof(idx), "%d", i);
        random_elem(c, b, is_array ? slice_str(idx) : random_name(c), depth);
    }
}

void random_elem(struct chance *c, struct bbuild *b, struct slice name, int depth) {
    static const uint8_t types[] = {B_STRING,  B_STRING,  B_SYMBOL,    B_BINARY,    B_UNDEFINED, B_OBJECT_ID,
                                    B_BOOL,    B_DATE,    B_NULL,      B_REGEX,     B_CODE,      B_TIMESTAMP,
                                    B_MIN_KEY, B_MAX_KEY, B_DBPOINTER, B_CODE_SCOPE};
    uint64_t pick = chance_below(c, 10);
    if (pick < 4) {
        bbuild_number(b, name, random_number(c));
    } else if (pick < 6 && depth > 0) {
        bool is_array = chance_below(c, 2);
        struct bbuild sub = is_array ? bbuild_open_array(b, name) : bbuild_open_doc(b, name);
        random_fields(c, &sub, 3, depth - 1, is_array);
        bbuild_close(&sub);
    } else {
        uint8_t type = types[chance_below(c, sizeof(types))];
        if (type == B_CODE_SCOPE && depth > 0) random_code_scope(c, b, name, depth - 1);
        else random_scalar(c, b, name, type == B_CODE_SCOPE ? B_STRING : type);
    }
}

struct bdoc random_doc(struct chance *c, struct buf *buf, int fields, int depth) {
    struct bbuild b;
    bbuild_begin(&b, buf);
    random_fields(c, &b, fields, depth, false);
    return bbuild_finish(&b);
}

struct bval random_value(struct chance *c, struct buf *buf, int depth) {
    struct bbuild b;
    buf_clear(buf);
    bbuild_begin(&b, buf);
    random_elem(c, &b, SLICE_LIT(""), depth);
    struct biter it = biter_of(bbuild_finish(&b));
    struct belem e;
    return biter_next(&it, &e) ? e.value : BVAL_MISSING;
}
