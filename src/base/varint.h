/* Variable-length integers, two kinds.
 *
 * varint: LEB128, seven bits a byte, least significant first; for lengths and counts inside blocks. 1 to 10 bytes.
 *
 * ordered: for keys. First byte n = number of following bytes (0..8), then the integer big-endian in the fewest bytes.
 *   memcmp order is integer order, no encoding is a prefix of another, and zero is the single byte 00.
 *   Bytes: 0 -> 00; 1..255 -> 01 xx; 256..65535 -> 02 xx xx; ... */
#ifndef ELMO_BASE_VARINT_H
#define ELMO_BASE_VARINT_H

#include <stddef.h>
#include <stdint.h>

#define VARINT_LEN_MAX 10
#define ORDERED_LEN_MAX 9

/* Writes up to VARINT_LEN_MAX bytes: how many. */
static inline size_t varint_put(uint8_t *p, uint64_t v) {
    size_t n = 0;
    while (v >= 0x80) {
        p[n++] = (uint8_t) (v | 0x80);
        v >>= 7;
    }
    p[n++] = (uint8_t) v;
    return n;
}

/* Reads from [p, end): bytes used, 0 when truncated, overlong past 64 bits. */
static inline size_t varint_get(const uint8_t *p, const uint8_t *end, uint64_t *v) {
    uint64_t r = 0;
    for (size_t n = 0; n < VARINT_LEN_MAX && p + n < end; n++) {
        uint64_t b = p[n];
        if (n == 9 && b > 1) return 0;
        r |= (b & 0x7f) << (7 * n);
        if (b < 0x80) {
            *v = r;
            return n + 1;
        }
    }
    return 0;
}

static inline size_t varint_len(uint64_t v) {
    size_t n = 1;
    for (; v >= 0x80; v >>= 7) n++;
    return n;
}

static inline size_t ordered_put(uint8_t *p, uint64_t v) {
    unsigned n = v == 0 ? 0 : (64 - (unsigned) __builtin_clzll(v) + 7) / 8;
    p[0] = (uint8_t) n;
    for (unsigned i = 0; i < n; i++) p[1 + i] = (uint8_t) (v >> (8 * (n - 1 - i)));
    return 1 + n;
}

/* Bytes used, 0 when truncated or not in shortest form. */
static inline size_t ordered_get(const uint8_t *p, const uint8_t *end, uint64_t *v) {
    if (p >= end || p[0] > 8 || (size_t) (end - p) < 1u + p[0]) return 0;
    uint64_t r = 0;
    for (unsigned i = 0; i < p[0]; i++) r = r << 8 | p[1 + i];
    if (p[0] != 0 && p[1] == 0) return 0;
    *v = r;
    return 1u + p[0];
}

#endif
