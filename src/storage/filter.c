/* Building and checking filters; see filter.h. */
#include "storage/filter.h"

#include <assert.h>

/* For b bits a key, b ln 2 probes would be best in one large filter; the uneven load of the lines asks for a few less when b is large. */
static uint32_t probes_for(uint32_t bits_per_key) {
    uint32_t n = bits_per_key * 6 / 10;
    if (n < 1) n = 1;
    return n < FILTER_PROBES_MAX ? n : FILTER_PROBES_MAX;
}

status filter_build(const uint64_t *hashes, size_t count, uint32_t bits_per_key, struct buf *out, struct err *err) {
    uint64_t lines = ((uint64_t) count * bits_per_key + FILTER_LINE_LEN * 8 - 1) / (FILTER_LINE_LEN * 8);
    uint64_t lines_max = BLOCK_PAYLOAD_LEN_MAX / FILTER_LINE_LEN - 1;
    if (lines < 1) lines = 1;
    if (lines > lines_max) lines = lines_max; /* more false positives, no false negatives */
    buf_clear(out);
    if (!buf_append_zero(out, FILTER_HEADER_LEN + lines * FILTER_LINE_LEN)) {
        return RAISE(err, ST_NOMEM, "out of memory for a filter of %llu lines", (unsigned long long) lines);
    }
    uint32_t probe_count = probes_for(bits_per_key);
    out->p[1] = (uint8_t) probe_count;
    put_le32(out->p + 4, (uint32_t) lines);
    struct filter f = {out->p + FILTER_HEADER_LEN, (uint32_t) lines, probe_count};
    for (size_t i = 0; i < count; i++) {
        uint8_t *line = out->p + (filter_line(&f, hashes[i]) - out->p);
        uint32_t h = (uint32_t) (hashes[i] >> 32);
        for (uint32_t n = probe_count; n > 0; n--, h *= FILTER_MULTIPLIER) {
            uint32_t bit = h >> 23;
            line[bit >> 3] |= (uint8_t) (1u << (bit & 7));
        }
    }
    return ST_OK;
}

const char *filter_open(const uint8_t *payload, size_t len, struct filter *out) {
    if (len < FILTER_HEADER_LEN + FILTER_LINE_LEN) return "a filter that is too short";
    uint32_t probe_count = payload[1], line_count = get_le32(payload + 4);
    if (probe_count < 1 || probe_count > FILTER_PROBES_MAX) return "a filter with an impossible number of probes";
    if (line_count == 0 || (uint64_t) line_count * FILTER_LINE_LEN != len - FILTER_HEADER_LEN)
        return "a filter of the wrong length";
    *out = (struct filter){payload + FILTER_HEADER_LEN, line_count, probe_count};
    return NULL;
}
