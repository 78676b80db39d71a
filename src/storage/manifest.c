/* The manifest as a value and as bytes; see manifest.h and docs/FORMAT.md.
 *
 * Bytes: magic "EMAN", version u32, then sections: tag varint, length varint, payload. A reader that does not know an odd tag
 * refuses the manifest; an even one may be skipped. Checksum and length stand in the superblock.
 *
 * Invariants, checked before a manifest is written and after it is read (check_manifest):
 *   M1  Segments stand in order: by level; within level 0 newest first (max_seq, then id, descending), else by min_key.
 *   M2  Segments of one level >= 1 do not overlap.
 *   M3  Segment ids are distinct and below next_segment_id.
 *   M4  Extents are whole units past the superblocks; no two overlap; a segment's extents hold its file_len bytes, and every
 *       block reference lies within these.
 */
#include "storage/manifest.h"

#include <assert.h>
#include <stdlib.h>

#include "base/endian.h"
#include "base/varint.h"

#define MANIFEST_MAGIC 0x4e414d45u /* "EMAN" */
#define MANIFEST_VERSION 1u
#define HEIGHT_MAX 40u
#define SUPERBLOCKS_LEN (2 * (uint64_t) UNIT_LEN)

enum section { SECTION_HEAD = 1, SECTION_SEGMENTS = 3, SECTION_SEQUENCES = 5 };

enum segment_flag { SEGMENT_MAX_IS_EXCLUSIVE = 1u << 0 };

/* --- the value --- */

void manifest_init(struct manifest *m, const struct mem *mem) {
    *m = (struct manifest){.mem = mem, .next_segment_id = 1};
}

static void free_slice(const struct mem *mem, struct slice s) {
    if (s.p != NULL) mem_free(mem, (void *) (uintptr_t) s.p, s.len);
}

static void release_segment(const struct mem *mem, struct segment_meta *seg) {
    free_slice(mem, seg->min_key);
    free_slice(mem, seg->max_key);
    mem_free(mem, seg->extents, seg->extent_count * sizeof(*seg->extents));
    *seg = (struct segment_meta){0};
}

void manifest_release(struct manifest *m) {
    for (size_t i = 0; i < m->segment_count; i++) release_segment(m->mem, &m->segments[i]);
    mem_free(m->mem, m->segments, m->segment_cap * sizeof(*m->segments));
    free_slice(m->mem, m->sequences);
    manifest_init(m, m->mem);
}

/* Copies `from` into *to, which owns what it points to. False without memory, and nothing is held. */
static bool copy_segment(const struct mem *mem, const struct segment_meta *from, struct segment_meta *to) {
    void *min = mem_copy(mem, from->min_key.p, from->min_key.len);
    void *max = mem_copy(mem, from->max_key.p, from->max_key.len);
    struct extent *extents = mem_copy(mem, from->extents, from->extent_count * sizeof(*extents));
    if (min == NULL || max == NULL || extents == NULL) {
        mem_free(mem, min, from->min_key.len);
        mem_free(mem, max, from->max_key.len);
        mem_free(mem, extents, from->extent_count * sizeof(*extents));
        return false;
    }
    *to = *from;
    to->min_key.p = min;
    to->max_key.p = max;
    to->extents = extents;
    return true;
}

/* The order M1: < 0 when a stands before b. */
static int segment_compare(const struct segment_meta *a, const struct segment_meta *b) {
    if (a->level != b->level) return a->level < b->level ? -1 : 1;
    if (a->level != 0) {
        int c = slice_compare(a->min_key, b->min_key);
        if (c != 0) return c;
    } else if (a->max_seq != b->max_seq) {
        return a->max_seq > b->max_seq ? -1 : 1;
    }
    return (a->id < b->id) - (a->id > b->id);
}

status manifest_copy(struct manifest *to, const struct manifest *from, struct err *err) {
    struct manifest copy;
    manifest_init(&copy, from->mem);
    copy.last_seq = from->last_seq;
    copy.next_segment_id = from->next_segment_id;
    bool ok =
        mem_grow(copy.mem, (void **) &copy.segments, &copy.segment_cap, from->segment_count, sizeof(*copy.segments));
    for (size_t i = 0; ok && i < from->segment_count; i++) {
        ok = copy_segment(copy.mem, &from->segments[i], &copy.segments[i]);
        if (ok) copy.segment_count++;
    }
    if (ok && from->sequences.p != NULL) {
        copy.sequences = slice_of(mem_copy(copy.mem, from->sequences.p, from->sequences.len), from->sequences.len);
        ok = copy.sequences.p != NULL;
    }
    if (!ok) {
        manifest_release(&copy);
        return RAISE(err, ST_NOMEM, "copy of the manifest");
    }
    *to = copy;
    return ST_OK;
}

status manifest_add(struct manifest *m, const struct segment_meta *seg, struct err *err) {
    struct segment_meta copy;
    assert(seg->level < LEVEL_COUNT && seg->extent_count <= SEGMENT_EXTENTS_MAX);
    if (!mem_grow(m->mem, (void **) &m->segments, &m->segment_cap, m->segment_count + 1, sizeof(*m->segments)) ||
        !copy_segment(m->mem, seg, &copy))
        return RAISE(err, ST_NOMEM, "manifest");
    size_t lo = 0, hi = m->segment_count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (segment_compare(&m->segments[mid], &copy) < 0) lo = mid + 1;
        else hi = mid;
    }
    memmove(m->segments + lo + 1, m->segments + lo, (m->segment_count - lo) * sizeof(*m->segments));
    m->segments[lo] = copy;
    m->segment_count++;
    return ST_OK;
}

void manifest_remove(struct manifest *m, uint64_t segment_id) {
    for (size_t i = 0; i < m->segment_count; i++) {
        if (m->segments[i].id != segment_id) continue;
        release_segment(m->mem, &m->segments[i]);
        m->segment_count--;
        memmove(m->segments + i, m->segments + i + 1, (m->segment_count - i) * sizeof(*m->segments));
        return;
    }
}

/* --- checking --- */

#define DAMAGED(err, ...) RAISE(err, ST_CORRUPT, "manifest: " __VA_ARGS__)

static int compare_extents(const void *a, const void *b) {
    const struct extent *x = a, *y = b;
    return (x->at > y->at) - (x->at < y->at);
}

static int compare_ids(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;
    return (x > y) - (x < y);
}

static status check_ref(const struct segment_meta *seg, const struct block_ref *ref, const char *what,
                        struct err *err) {
    if (ref->len == 0 || (ref->at <= seg->file_len && ref->len <= seg->file_len - ref->at)) return ST_OK;
    return DAMAGED(err, "segment %llu: its %s lies outside", (unsigned long long) seg->id, what);
}

static status check_segment(const struct segment_meta *seg, struct err *err) {
    unsigned long long id = seg->id;
    uint64_t len = 0;
    if (seg->level >= LEVEL_COUNT) return DAMAGED(err, "segment %llu: level %u", id, seg->level);
    if (seg->min_seq > seg->max_seq || seg->tombstone_count > seg->entry_count)
        return DAMAGED(err, "segment %llu: its counts contradict each other", id);
    if (seg->height > HEIGHT_MAX || (seg->height == 0) != (seg->entry_count == 0) ||
        (seg->height == 0) != (seg->root.len == 0))
        return DAMAGED(err, "segment %llu: height %u with %llu entries", id, seg->height,
                       (unsigned long long) seg->entry_count);
    int c = slice_compare(seg->min_key, seg->max_key);
    if (c > 0 || (c == 0 && seg->max_is_exclusive))
        return DAMAGED(err, "segment %llu: its bounds are the wrong way round", id);
    if (seg->extent_count > SEGMENT_EXTENTS_MAX) return DAMAGED(err, "segment %llu: %u extents", id, seg->extent_count);
    for (uint32_t i = 0; i < seg->extent_count; i++) {
        const struct extent *e = &seg->extents[i];
        if (e->at % UNIT_LEN != 0 || e->len % UNIT_LEN != 0 || e->len == 0 || e->at < SUPERBLOCKS_LEN ||
            e->len > (uint64_t) INT64_MAX || e->at > (uint64_t) INT64_MAX - e->len)
            return DAMAGED(err, "segment %llu: extent of %llu bytes at %llu", id, (unsigned long long) e->len,
                           (unsigned long long) e->at);
        len += e->len; /* cannot wrap: fewer than 64 pieces of distinct places, else M4 fails below */
    }
    if (len < seg->file_len) return DAMAGED(err, "segment %llu: its extents are too short", id);
    TRY(check_ref(seg, &seg->root, "root", err));
    TRY(check_ref(seg, &seg->filter, "filter", err));
    TRY(check_ref(seg, &seg->range_deletes, "range deletes", err));
    return check_ref(seg, &seg->large_list, "list of large values", err);
}

/* M3, and the half of M4 that concerns several segments. */
static status check_distinct(const struct manifest *m, struct err *err) {
    size_t extent_count = 0, n = 0;
    for (size_t i = 0; i < m->segment_count; i++) extent_count += m->segments[i].extent_count;
    struct extent *all = mem_alloc(m->mem, extent_count * sizeof(*all));
    uint64_t *ids = mem_alloc(m->mem, m->segment_count * sizeof(*ids));
    status st = ST_OK;
    if (all == NULL || ids == NULL) {
        st = RAISE(err, ST_NOMEM, "check of the manifest");
        goto out;
    }
    for (size_t i = 0; i < m->segment_count; i++) {
        ids[i] = m->segments[i].id;
        for (uint32_t k = 0; k < m->segments[i].extent_count; k++) all[n++] = m->segments[i].extents[k];
    }
    qsort(all, n, sizeof(*all), compare_extents);
    qsort(ids, m->segment_count, sizeof(*ids), compare_ids);
    for (size_t i = 1; i < n && st == ST_OK; i++)
        if (all[i].at < all[i - 1].at + all[i - 1].len)
            st = DAMAGED(err, "two extents overlap at %llu", (unsigned long long) all[i].at);
    for (size_t i = 0; i < m->segment_count && st == ST_OK; i++)
        if (ids[i] == 0 || ids[i] >= m->next_segment_id || (i > 0 && ids[i] == ids[i - 1]))
            st = DAMAGED(err, "segment id %llu is twice there or was never given", (unsigned long long) ids[i]);
out:
    mem_free(m->mem, all, extent_count * sizeof(*all));
    mem_free(m->mem, ids, m->segment_count * sizeof(*ids));
    return st;
}

static status check_manifest(const struct manifest *m, struct err *err) {
    for (size_t i = 0; i < m->segment_count; i++) {
        const struct segment_meta *seg = &m->segments[i], *before = seg - 1;
        TRY(check_segment(seg, err));
        if (i == 0) continue;
        if (segment_compare(before, seg) >= 0)
            return DAMAGED(err, "segment %llu stands out of order", (unsigned long long) seg->id);
        if (seg->level == 0 || seg->level != before->level) continue;
        int c = slice_compare(before->max_key, seg->min_key);
        if (c > 0 || (c == 0 && !before->max_is_exclusive))
            return DAMAGED(err, "segments %llu and %llu of level %u overlap", (unsigned long long) before->id,
                           (unsigned long long) seg->id, seg->level);
    }
    return check_distinct(m, err);
}

/* --- writing --- */

static void put_bytes(struct buf *out, struct slice s) {
    buf_append_varint(out, s.len);
    buf_append_slice(out, s);
}

static void put_ref(struct buf *out, const struct block_ref *ref) {
    buf_append_varint(out, ref->len);
    if (ref->len == 0) return;
    buf_append_varint(out, ref->at);
    buf_append_u64(out, ref->checksum);
}

static void put_segment(struct buf *out, const struct segment_meta *seg) {
    buf_append_varint(out, seg->id);
    buf_append_varint(out, seg->level);
    buf_append_varint(out, seg->max_is_exclusive ? SEGMENT_MAX_IS_EXCLUSIVE : 0);
    put_bytes(out, seg->min_key);
    put_bytes(out, seg->max_key);
    const uint64_t numbers[] = {
        seg->min_seq,  seg->max_seq,  seg->entry_count, seg->tombstone_count, seg->range_delete_count,
        seg->data_len, seg->file_len, seg->large_len,   seg->height};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) buf_append_varint(out, numbers[i]);
    put_ref(out, &seg->root);
    put_ref(out, &seg->filter);
    put_ref(out, &seg->range_deletes);
    put_ref(out, &seg->large_list);
    buf_append_varint(out, seg->extent_count);
    for (uint32_t i = 0; i < seg->extent_count; i++) {
        buf_append_varint(out, seg->extents[i].at / UNIT_LEN);
        buf_append_varint(out, seg->extents[i].len / UNIT_LEN);
    }
}

static void put_section(struct buf *out, enum section tag, const struct buf *payload) {
    buf_append_varint(out, tag);
    put_bytes(out, buf_slice(payload));
    if (payload->failed) out->failed = true;
}

status manifest_encode(const struct manifest *m, struct buf *out, struct err *err) {
    struct buf part;
    TRY(check_manifest(m, err));
    buf_init(&part, m->mem);
    buf_append_u32(out, MANIFEST_MAGIC);
    buf_append_u32(out, MANIFEST_VERSION);
    buf_append_varint(&part, m->last_seq);
    buf_append_varint(&part, m->next_segment_id);
    put_section(out, SECTION_HEAD, &part);
    buf_clear(&part);
    buf_append_varint(&part, m->segment_count);
    for (size_t i = 0; i < m->segment_count; i++) put_segment(&part, &m->segments[i]);
    put_section(out, SECTION_SEGMENTS, &part);
    buf_clear(&part);
    buf_append_slice(&part, m->sequences);
    put_section(out, SECTION_SEQUENCES, &part);
    buf_release(&part);
    return out->failed ? RAISE(err, ST_NOMEM, "manifest") : ST_OK;
}

/* --- reading --- */

/* What is left to read. A read past the end sets `failed` and gives zeros, so that a caller may check once at its end. */
struct reader {
    const uint8_t *at, *end;
    bool failed;
};

static uint64_t read_number(struct reader *r, uint64_t max) {
    uint64_t v = 0;
    size_t n = r->failed ? 0 : varint_get(r->at, r->end, &v);
    if (n == 0 || v > max) {
        r->failed = true;
        return 0;
    }
    r->at += n;
    return v;
}

static struct slice read_bytes(struct reader *r) {
    uint64_t len = read_number(r, UINT64_MAX);
    if (r->failed || len > (uint64_t) (r->end - r->at)) {
        r->failed = true;
        return SLICE_NONE;
    }
    struct slice s = slice_of(r->at, (size_t) len);
    r->at += len;
    return s;
}

static struct block_ref read_ref(struct reader *r) {
    struct block_ref ref = {.len = (uint32_t) read_number(r, UINT32_MAX)};
    if (ref.len == 0) return ref;
    ref.at = read_number(r, UINT64_MAX);
    if (r->failed || r->end - r->at < 8) {
        r->failed = true;
        return (struct block_ref){0};
    }
    ref.checksum = get_le64(r->at);
    r->at += 8;
    return ref;
}

/* The keys of *seg point into what is read, its extents to `extents`, which has room for SEGMENT_EXTENTS_MAX. */
static void read_segment(struct reader *r, struct segment_meta *seg, struct extent *extents) {
    *seg = (struct segment_meta){.id = read_number(r, UINT64_MAX), .extents = extents};
    seg->level = (uint32_t) read_number(r, LEVEL_COUNT - 1);
    seg->max_is_exclusive = read_number(r, SEGMENT_MAX_IS_EXCLUSIVE) != 0;
    seg->min_key = read_bytes(r);
    seg->max_key = read_bytes(r);
    seg->min_seq = read_number(r, UINT64_MAX);
    seg->max_seq = read_number(r, UINT64_MAX);
    seg->entry_count = read_number(r, UINT64_MAX);
    seg->tombstone_count = read_number(r, UINT64_MAX);
    seg->range_delete_count = read_number(r, UINT64_MAX);
    seg->data_len = read_number(r, UINT64_MAX);
    seg->file_len = read_number(r, UINT64_MAX);
    seg->large_len = read_number(r, UINT64_MAX);
    seg->height = (uint32_t) read_number(r, HEIGHT_MAX);
    seg->root = read_ref(r);
    seg->filter = read_ref(r);
    seg->range_deletes = read_ref(r);
    seg->large_list = read_ref(r);
    seg->extent_count = (uint32_t) read_number(r, SEGMENT_EXTENTS_MAX);
    for (uint32_t i = 0; i < seg->extent_count; i++) {
        extents[i].at = read_number(r, INT64_MAX / UNIT_LEN) * UNIT_LEN;
        extents[i].len = read_number(r, INT64_MAX / UNIT_LEN) * UNIT_LEN;
    }
}

static status read_segments(struct reader *r, struct manifest *m, struct err *err) {
    struct extent extents[SEGMENT_EXTENTS_MAX];
    uint64_t count = read_number(r, UINT64_MAX);
    for (uint64_t i = 0; i < count && !r->failed; i++) {
        struct segment_meta seg;
        read_segment(r, &seg, extents);
        if (r->failed) break;
        if (!mem_grow(m->mem, (void **) &m->segments, &m->segment_cap, m->segment_count + 1, sizeof(*m->segments)) ||
            !copy_segment(m->mem, &seg, &m->segments[m->segment_count]))
            return RAISE(err, ST_NOMEM, "manifest");
        m->segment_count++; /* in the order in which they stand: check_manifest holds it */
    }
    return ST_OK;
}

static status read_section(struct manifest *m, uint64_t tag, struct slice payload, struct err *err) {
    struct reader r = {payload.p, payload.p + payload.len, false};
    switch (tag) {
    case SECTION_HEAD:
        m->last_seq = read_number(&r, UINT64_MAX);
        m->next_segment_id = read_number(&r, UINT64_MAX);
        break;
    case SECTION_SEGMENTS: TRY(read_segments(&r, m, err)); break;
    case SECTION_SEQUENCES:
        if (payload.len == 0) return ST_OK;
        m->sequences = slice_of(mem_copy(m->mem, payload.p, payload.len), payload.len);
        if (m->sequences.p == NULL) {
            m->sequences = SLICE_NONE;
            return RAISE(err, ST_NOMEM, "manifest");
        }
        return ST_OK;
    default:
        if (tag % 2 == 0) return ST_OK;
        return RAISE(err, ST_UNSUPPORTED, "the manifest has a part (%llu) that this version does not know",
                     (unsigned long long) tag);
    }
    return r.failed || r.at != r.end ? DAMAGED(err, "part %llu is cut short or too long", (unsigned long long) tag)
                                     : ST_OK;
}

static status read_sections(struct reader *r, struct manifest *m, struct err *err) {
    uint64_t last_tag = 0;
    bool has_head = false, has_segments = false, has_sequences = false;
    while (r->at < r->end) {
        uint64_t tag = read_number(r, UINT64_MAX);
        struct slice payload = read_bytes(r);
        if (r->failed) return DAMAGED(err, "cut short");
        if (tag <= last_tag) return DAMAGED(err, "its parts are out of order");
        last_tag = tag;
        has_head |= tag == SECTION_HEAD;
        has_segments |= tag == SECTION_SEGMENTS;
        has_sequences |= tag == SECTION_SEQUENCES;
        TRY(read_section(m, tag, payload, err));
    }
    return has_head && has_segments && has_sequences ? check_manifest(m, err) : DAMAGED(err, "a part is missing");
}

status manifest_decode(struct slice bytes, struct manifest *out, struct err *err) {
    struct manifest m;
    if (bytes.len < 8 || get_le32(bytes.p) != MANIFEST_MAGIC) return DAMAGED(err, "it does not begin as one");
    if (get_le32(bytes.p + 4) != MANIFEST_VERSION)
        return RAISE(err, ST_UNSUPPORTED, "manifest version %u; this version reads %u", get_le32(bytes.p + 4),
                     MANIFEST_VERSION);
    struct reader r = {bytes.p + 8, bytes.p + bytes.len, false};
    manifest_init(&m, out->mem);
    status st = read_sections(&r, &m, err);
    if (st != ST_OK) manifest_release(&m);
    else *out = m;
    return st;
}
