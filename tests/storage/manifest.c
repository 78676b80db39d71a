/* The manifest: order, round trip, hostile bytes, failing memory. */
#include "storage/manifest.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "base/chance.h"
#include "support/mem_fail.h"

/* A made-up segment; its place in the file follows from its id. Keys "<id>" as four digits, so that ranges do not overlap. */
struct made {
    struct segment_meta meta;
    char min[16], max[16];
    struct extent extents[SEGMENT_EXTENTS_MAX];
};

static void make_segment(struct made *m, uint64_t id, uint32_t level, uint32_t extent_count) {
    *m = (struct made){0};
    snprintf(m->min, sizeof(m->min), "%04lu", id);
    snprintf(m->max, sizeof(m->max), "%04lux", id);
    for (uint32_t i = 0; i < extent_count; i++)
        m->extents[i] = (struct extent){(2 + id * 200 + i * 3) * UNIT_LEN, (1 + i % 2) * UNIT_LEN};
    m->meta = (struct segment_meta){
        .id = id,
        .level = level,
        .min_key = slice_str(m->min),
        .max_key = slice_str(m->max),
        .max_is_exclusive = id % 2 == 0,
        .min_seq = id,
        .max_seq = id * 3,
        .entry_count = 100 + id,
        .tombstone_count = id,
        .range_delete_count = 2,
        .data_len = 5000,
        .file_len = 4000,
        .large_len = 1 << 20,
        .height = 2,
        .root = {.at = 3000, .len = 1000, .checksum = 0x1234567890abcdefu * id},
        .filter = {.at = 100, .len = 50, .checksum = id},
        .extent_count = extent_count,
        .extents = m->extents,
    };
}

static void add(struct manifest *m, uint64_t id, uint32_t level, uint32_t extent_count) {
    struct made made;
    make_segment(&made, id, level, extent_count);
    cr_assert_eq(manifest_add(m, &made.meta, NULL), ST_OK);
    if (m->next_segment_id <= id) m->next_segment_id = id + 1;
}

static void make_manifest(struct manifest *m, const struct mem *mem) {
    manifest_init(m, mem);
    m->last_seq = 77;
    add(m, 5, 1, 1);
    add(m, 3, 1, 64);
    add(m, 9, 0, 2);
    add(m, 8, 0, 1);
    add(m, 2, 6, 3);
    m->sequences = slice_of(mem_copy(mem, "sequences", 9), 9);
}

static bool same_segment(const struct segment_meta *a, const struct segment_meta *b) {
    return a->id == b->id && a->level == b->level && slice_equal(a->min_key, b->min_key) &&
        slice_equal(a->max_key, b->max_key) && a->max_is_exclusive == b->max_is_exclusive && a->min_seq == b->min_seq &&
        a->max_seq == b->max_seq && a->entry_count == b->entry_count && a->tombstone_count == b->tombstone_count &&
        a->range_delete_count == b->range_delete_count && a->data_len == b->data_len && a->file_len == b->file_len &&
        a->large_len == b->large_len && a->height == b->height && a->root.at == b->root.at &&
        a->root.len == b->root.len && a->root.checksum == b->root.checksum &&
        a->filter.checksum == b->filter.checksum && a->range_deletes.len == b->range_deletes.len &&
        a->extent_count == b->extent_count &&
        memcmp(a->extents, b->extents, a->extent_count * sizeof(*a->extents)) == 0;
}

static bool same(const struct manifest *a, const struct manifest *b) {
    bool ok = a->last_seq == b->last_seq && a->next_segment_id == b->next_segment_id &&
        a->segment_count == b->segment_count && slice_equal(a->sequences, b->sequences);
    for (size_t i = 0; ok && i < a->segment_count; i++) ok = same_segment(&a->segments[i], &b->segments[i]);
    return ok;
}

Test(manifest, keeps_segments_in_order) {
    struct manifest m;
    make_manifest(&m, mem_default());
    const uint64_t want[] = {9, 8, 3, 5, 2}; /* level 0 newest first, then by key */
    for (size_t i = 0; i < 5; i++) cr_expect_eq(m.segments[i].id, want[i]);
    manifest_remove(&m, 3);
    manifest_remove(&m, 4711);
    cr_expect_eq(m.segment_count, 4);
    cr_expect_eq(m.segments[2].id, 5);
    manifest_release(&m);
}

Test(manifest, comes_back_as_it_was) {
    struct manifest m, back, copy;
    struct buf bytes;
    make_manifest(&m, mem_default());
    buf_init(&bytes, mem_default());
    manifest_init(&back, mem_default());
    struct err err = ERR_INIT;
    cr_assert_eq(manifest_encode(&m, &bytes, &err), ST_OK, "%s", err.text);
    cr_assert_eq(manifest_decode(buf_slice(&bytes), &back, &err), ST_OK, "%s", err.text);
    cr_expect(same(&m, &back));
    cr_assert_eq(manifest_copy(&copy, &back, NULL), ST_OK);
    manifest_release(&back);
    cr_expect(same(&m, &copy));
    manifest_release(&copy);
    manifest_release(&m);
    buf_release(&bytes);
}

Test(manifest, an_empty_one_comes_back) {
    struct manifest m, back;
    struct buf bytes;
    manifest_init(&m, mem_default());
    manifest_init(&back, mem_default());
    buf_init(&bytes, mem_default());
    cr_assert_eq(manifest_encode(&m, &bytes, NULL), ST_OK);
    cr_assert_eq(manifest_decode(buf_slice(&bytes), &back, NULL), ST_OK);
    cr_expect(same(&m, &back));
    buf_release(&bytes);
}

/* What a program error might put into it is refused before it reaches the disk. */
static status encode_spoiled(void (*spoil)(struct manifest *m), struct err *err) {
    struct manifest m;
    struct buf bytes;
    make_manifest(&m, mem_default());
    buf_init(&bytes, mem_default());
    spoil(&m);
    status st = manifest_encode(&m, &bytes, err);
    manifest_release(&m);
    buf_release(&bytes);
    return st;
}

static void spoil_overlap(struct manifest *m) { m->segments[0].extents[0].at = m->segments[4].extents[0].at; }
static void spoil_order(struct manifest *m) { m->segments[0].max_seq = 1, m->segments[0].min_seq = 0; }
static void spoil_id(struct manifest *m) { m->segments[1].id = m->segments[0].id; }
static void spoil_future_id(struct manifest *m) { m->next_segment_id = 5; }
static void spoil_place(struct manifest *m) { m->segments[1].extents[0].at = UNIT_LEN; }
static void spoil_ref(struct manifest *m) { m->segments[1].root.at = 3001; }
static void spoil_len(struct manifest *m) { m->segments[1].file_len = 4097; }
static void spoil_keys(struct manifest *m) {
    struct slice t = m->segments[1].min_key;
    m->segments[1].min_key = m->segments[1].max_key;
    m->segments[1].max_key = t;
}
static void spoil_level(struct manifest *m) {
    struct slice t = m->segments[2].max_key; /* the first of level 1 now ends behind the second's begin */
    m->segments[2].max_key = m->segments[3].max_key;
    m->segments[3].max_key = t;
}

Test(manifest, refuses_what_contradicts_itself) {
    static void (*const spoils[])(struct manifest *) = {spoil_overlap,   spoil_order, spoil_id,
                                                        spoil_future_id, spoil_place, spoil_ref,
                                                        spoil_len,       spoil_keys,  spoil_level};
    for (size_t i = 0; i < sizeof(spoils) / sizeof(spoils[0]); i++) {
        struct err err = ERR_INIT;
        cr_expect_eq(encode_spoiled(spoils[i], &err), ST_CORRUPT, "case %zu", i);
        cr_expect(strncmp(err.text, "manifest: ", 10) == 0, "case %zu: %s", i, err.text);
    }
}

Test(manifest, refuses_parts_of_a_later_version_that_matter) {
    struct manifest m, back;
    struct buf bytes;
    make_manifest(&m, mem_default());
    manifest_init(&back, mem_default());
    buf_init(&bytes, mem_default());
    cr_assert_eq(manifest_encode(&m, &bytes, NULL), ST_OK);
    size_t len = bytes.len;
    buf_append(&bytes, "\x08\x03xyz", 5); /* an even tag */
    cr_expect_eq(manifest_decode(buf_slice(&bytes), &back, NULL), ST_OK, "may be skipped");
    manifest_release(&back);
    bytes.p[len] = 7; /* an odd one */
    cr_expect_eq(manifest_decode(buf_slice(&bytes), &back, NULL), ST_UNSUPPORTED);
    bytes.len = len;
    bytes.p[4] = 2;
    cr_expect_eq(manifest_decode(buf_slice(&bytes), &back, NULL), ST_UNSUPPORTED);
    manifest_release(&m);
    buf_release(&bytes);
}

Test(manifest, survives_hostile_bytes) {
    struct manifest m, back;
    struct buf bytes;
    struct chance c;
    struct mem_fail mf;
    mem_fail_init(&mf, 0);
    make_manifest(&m, &mf.mem);
    buf_init(&bytes, &mf.mem);
    chance_init(&c, 11);
    cr_assert_eq(manifest_encode(&m, &bytes, NULL), ST_OK);
    uint64_t live = mem_fail_live(&mf);
    for (size_t len = 0; len < bytes.len; len++) {
        /* a copy of exact length, so that reading past the end is found */
        uint8_t *cut = mem_copy(mem_default(), bytes.p, len);
        manifest_init(&back, &mf.mem);
        cr_assert_neq(manifest_decode(slice_of(cut, len), &back, NULL), ST_OK, "cut at %zu", len);
        mem_free(mem_default(), cut, len);
    }
    for (int i = 0; i < 20000; i++) {
        uint8_t *bad = mem_copy(mem_default(), bytes.p, bytes.len);
        for (uint64_t n = chance_below(&c, 4) + 1; n > 0; n--)
            bad[chance_below(&c, bytes.len)] = (uint8_t) (chance_below(&c, 3) ? chance_next(&c) : 0xff);
        manifest_init(&back, &mf.mem);
        if (manifest_decode(slice_of(bad, bytes.len), &back, NULL) == ST_OK) manifest_release(&back);
        mem_free(mem_default(), bad, bytes.len);
    }
    cr_expect_eq(mem_fail_live(&mf), live, "nothing leaks");
    cr_expect_lt(mf.peak_len, 1 << 20, "a wrong count does not ask for much memory");
    manifest_release(&m);
    buf_release(&bytes);
    cr_expect_eq(mem_fail_live(&mf), 0);
}

static status scenario(const struct mem *mem) {
    struct manifest m, copy, back;
    struct buf bytes;
    struct made made;
    status st = ST_OK;
    manifest_init(&m, mem);
    manifest_init(&copy, mem);
    manifest_init(&back, mem);
    buf_init(&bytes, mem);
    for (uint64_t id = 1; id < 20 && st == ST_OK; id++) {
        make_segment(&made, id, (uint32_t) (id % 3), 2);
        st = manifest_add(&m, &made.meta, NULL);
    }
    m.next_segment_id = 20;
    if (st == ST_OK) {
        void *p = mem_copy(mem, "abc", 3);
        if (p != NULL) m.sequences = slice_of(p, 3);
        else st = ST_NOMEM;
    }
    if (st == ST_OK) st = manifest_copy(&copy, &m, NULL);
    if (st == ST_OK) st = manifest_encode(&copy, &bytes, NULL);
    if (st == ST_OK) st = manifest_decode(buf_slice(&bytes), &back, NULL);
    manifest_release(&m);
    manifest_release(&copy);
    manifest_release(&back);
    buf_release(&bytes);
    return st;
}

Test(manifest, survives_every_failed_allocation) {
    for (uint64_t n = 1;; n++) {
        struct mem_fail mf;
        mem_fail_init(&mf, n);
        status st = scenario(&mf.mem);
        cr_assert_eq(st, mem_fail_hit(&mf) ? ST_NOMEM : ST_OK, "allocation %lu", n);
        cr_assert_eq(mem_fail_live(&mf), 0, "allocation %lu", n);
        if (!mem_fail_hit(&mf)) break;
    }
}
