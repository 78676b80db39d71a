/* Large values: in extents of their own, referred to by one entry.
 *
 * A reference, the value bytes of an ENTRY_LARGE:
 *   varint  length of the value
 *   8       XXH3 of the value, seed 0
 *   varint  extents, 1 to LARGE_EXTENTS_MAX
 *   each:   varint place / UNIT_LEN, varint length / UNIT_LEN
 * The extents hold the value and zeros to the end of its last unit, nothing else. */
#include <assert.h>

#include "base/endian.h"
#include "base/hash.h"
#include "base/varint.h"
#include "storage/kv.h"
#include "storage/segment.h"

#define CHECKSUM_SEED 0

static uint64_t round_to_units(uint64_t len) { return (len + UNIT_LEN - 1) / UNIT_LEN * UNIT_LEN; }

status large_ref_encode(const struct large_ref *ref, struct buf *out, struct err *err) {
    assert(ref->extent_count <= LARGE_EXTENTS_MAX);
    (void) buf_append_varint(out, ref->len);
    (void) buf_append_u64(out, ref->checksum);
    (void) buf_append_varint(out, ref->extent_count);
    for (uint32_t i = 0; i < ref->extent_count; i++) {
        (void) buf_append_varint(out, ref->extents[i].at / UNIT_LEN);
        (void) buf_append_varint(out, ref->extents[i].len / UNIT_LEN);
    }
    return out->failed ? RAISE(err, ST_NOMEM, "out of memory for a reference to a large value") : ST_OK;
}

/* One extent in units: false when it is cut off, empty or beyond any file. */
static bool decode_extent(const uint8_t **p, const uint8_t *end, struct extent *out) {
    uint64_t at, len;
    size_t n = varint_get(*p, end, &at);
    *p += n;
    if (n == 0 || at > INT64_MAX / UNIT_LEN) return false;
    n = varint_get(*p, end, &len);
    *p += n;
    if (n == 0 || len == 0 || len > INT64_MAX / UNIT_LEN - at) return false;
    *out = (struct extent){at * UNIT_LEN, len * UNIT_LEN};
    return true;
}

status large_ref_decode(struct slice bytes, struct large_ref *out, struct err *err) {
    const uint8_t *p = bytes.p, *end = p + bytes.len;
    struct large_ref ref;
    uint64_t count = 0, room = 0;
    size_t n = bytes.len != 0 ? varint_get(p, end, &ref.len) : 0;
    p += n;
    if (n == 0 || ref.len == 0 || ref.len > KV_VALUE_LEN_MAX || end - p < 8) goto damaged;
    ref.checksum = get_le64(p);
    p += 8;
    n = varint_get(p, end, &count);
    p += n;
    if (n == 0 || count == 0 || count > LARGE_EXTENTS_MAX) goto damaged;
    ref.extent_count = (uint32_t) count;
    for (uint32_t i = 0; i < ref.extent_count; i++) {
        if (!decode_extent(&p, end, &ref.extents[i]) || ref.extents[i].len > round_to_units(ref.len) - room)
            goto damaged;
        room += ref.extents[i].len;
    }
    if (p != end || room != round_to_units(ref.len)) goto damaged;
    *out = ref;
    return ST_OK;
damaged:
    return RAISE(err, ST_CORRUPT, "a damaged reference to a large value");
}

/* Writes the part of a value that lies in one extent, the last unit filled with zeros. */
static status write_extent(struct store *store, struct extent e, struct slice part, struct err *err) {
    size_t whole = part.len / UNIT_LEN * UNIT_LEN;
    if (whole != 0) TRY(store_write(store, e.at, part.p, whole, err));
    if (whole == part.len) return ST_OK;
    uint8_t last[UNIT_LEN] = {0};
    memcpy(last, part.p + whole, part.len - whole);
    return store_write(store, e.at + whole, last, UNIT_LEN, err);
}

status large_write(struct store *store, struct slice value, struct large_ref *out, struct err *err) {
    assert(value.len > 0);
    struct large_ref ref = {.len = value.len, .checksum = hash64(value.p, value.len, CHECKSUM_SEED)};
    TRY(store_alloc(store, value.len, LARGE_EXTENTS_MAX, ref.extents, &ref.extent_count, err));
    size_t at = 0;
    for (uint32_t i = 0; i < ref.extent_count; i++) {
        size_t n = value.len - at < ref.extents[i].len ? value.len - at : (size_t) ref.extents[i].len;
        status st = write_extent(store, ref.extents[i], (struct slice){value.p + at, n}, err);
        if (st != ST_OK) {
            store_forfeit(store, ref.extents, ref.extent_count);
            return st;
        }
        at += n;
    }
    assert(at == value.len);
    *out = ref;
    return ST_OK;
}

status large_read(struct store *store, const struct large_ref *ref, uint8_t *p, struct err *err) {
    uint64_t at = 0;
    for (uint32_t i = 0; i < ref->extent_count && at < ref->len; i++) {
        uint64_t n = ref->len - at < ref->extents[i].len ? ref->len - at : ref->extents[i].len;
        TRY(store_read(store, ref->extents[i].at, p + at, (size_t) n, err));
        at += n;
    }
    if (at != ref->len || hash64(p, (size_t) ref->len, CHECKSUM_SEED) != ref->checksum) {
        return RAISE(err, ST_CORRUPT, "the large value at %llu is damaged: wrong checksum",
                     (unsigned long long) (ref->extent_count > 0 ? ref->extents[0].at : 0));
    }
    return ST_OK;
}
