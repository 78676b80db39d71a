/* Filters: "surely absent" by a Bloom filter in lines of 64 bytes. A query touches one cache line.
 *
 * The low half of a key's hash chooses the line, the high half the bits in it: bit n is the top 9 bits of high * K^n (mod 2^32), with K odd, so that
 * no division is done and all bits come from one hash. (The scheme of cache-local Bloom filters; with 10 bits a key and 6 probes about 1 % pass by mistake.)
 *
 * Payload of a filter block (its items are the keys):
 *   0    1    zero (in memory: the block's type)
 *   1    1    probes, 1 to 16
 *   2    2    zero
 *   4    4    lines, at least 1
 *   8   56    zero
 *   64  ...   the lines, 64 bytes each */
#ifndef ELMO_STORAGE_FILTER_H
#define ELMO_STORAGE_FILTER_H

#include "base/buf.h"
#include "base/endian.h"
#include "storage/block.h"

#define FILTER_LINE_LEN 64u
#define FILTER_HEADER_LEN 64u
#define FILTER_PROBES_MAX 16u
#define FILTER_MULTIPLIER 0x9e3779b9u

/* A filter in memory, borrowed. */
struct filter {
    const uint8_t *lines; /* NULL: no filter, everything may be there */
    uint32_t line_count;
    uint32_t probe_count;
};

/* The payload of a filter over `count` hashes. */
status filter_build(const uint64_t *hashes, size_t count, uint32_t bits_per_key, struct buf *out, struct err *err);
/* Reads a payload, which must stay in place. NULL, or what is wrong with it. */
const char *filter_open(const uint8_t *payload, size_t len, struct filter *out);

static inline const uint8_t *filter_line(const struct filter *f, uint64_t hash) {
    return f->lines + (((hash & UINT32_MAX) * f->line_count) >> 32) * FILTER_LINE_LEN;
}

static inline bool filter_may_contain(const struct filter *f, uint64_t hash) {
    if (f->lines == NULL) return true;
    const uint8_t *line = filter_line(f, hash);
    uint32_t h = (uint32_t) (hash >> 32);
    for (uint32_t n = f->probe_count; n > 0; n--, h *= FILTER_MULTIPLIER) {
        uint32_t bit = h >> 23;
        if ((line[bit >> 3] >> (bit & 7) & 1) == 0) return false;
    }
    return true;
}

#endif
