/* UTF-8 as Unicode defines it (The Unicode Standard, table 3-7): shortest forms only, no surrogates, up to U+10FFFF. */
#ifndef ELMO_BSON_UTF8_H
#define ELMO_BSON_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/endian.h"

#define UTF8_HIGH_BITS 0x8080808080808080u

/* Bytes of the well-formed character at p < end: 1 to 4, 0 when there is none. */
static inline unsigned utf8_char_len(const uint8_t *p, const uint8_t *end) {
    uint8_t b = *p, lo = 0x80, hi = 0xbf;
    if (b < 0x80) return 1;
    unsigned n = b < 0xe0 ? 2 : b < 0xf0 ? 3 : 4;
    if (b < 0xc2 || b > 0xf4 || (size_t) (end - p) < n) return 0;
    if (b == 0xe0) lo = 0xa0;
    if (b == 0xed) hi = 0x9f;
    if (b == 0xf0) lo = 0x90;
    if (b == 0xf4) hi = 0x8f;
    if (p[1] < lo || p[1] > hi) return 0;
    for (unsigned i = 2; i < n; i++)
        if ((p[i] & 0xc0) != 0x80) return 0;
    return n;
}

static inline bool utf8_is_valid(const uint8_t *p, const uint8_t *end) {
    while (p < end) {
        if (end - p >= 8 && (get_le64(p) & UTF8_HIGH_BITS) == 0) {
            p += 8;
            continue;
        }
        unsigned n = utf8_char_len(p, end);
        if (n == 0) return false;
        p += n;
    }
    return true;
}

/* Writes a code point (no surrogate): 1 to 4 bytes. */
static inline unsigned utf8_put(uint8_t *p, uint32_t c) {
    if (c < 0x80) {
        p[0] = (uint8_t) c;
        return 1;
    }
    unsigned n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (unsigned i = n - 1; i > 0; i--, c >>= 6) p[i] = (uint8_t) (0x80 | (c & 0x3f));
    p[0] = (uint8_t) (c | (0xf00u >> n));
    return n;
}

#endif
