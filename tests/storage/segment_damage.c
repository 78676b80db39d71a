/* Segments whose bytes were changed by somebody who knew how to make the checksums right again: no read may crash or hang, whatever it answers. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "base/endian.h"
#include "base/hash.h"
#include "storage/block.h"
#include "support/segment_run.h"

#define ID 9
#define CACHE_LEN ((size_t) 1 << 20)

static const struct run_shape shapes[] = {
    {.name = "one leaf",
     .key_count = 12,
     .key_len_max = 10,
     .prefix_len = 2,
     .value_len_max = 20,
     .version_max = 2,
     .alphabet = 256,
     .leaf_len = 16384,
     .filter_bits = 10},
    {.name = "two levels",
     .key_count = 100,
     .key_len_max = 10,
     .prefix_len = 2,
     .value_len_max = 20,
     .version_max = 3,
     .alphabet = 4,
     .leaf_len = 128,
     .filter_bits = 10},
    {.name = "three levels",
     .key_count = 700,
     .key_len_max = 300,
     .prefix_len = 2,
     .value_len_max = 4,
     .version_max = 2,
     .alphabet = 1,
     .leaf_len = 256,
     .filter_bits = 10},
};

/* The segment's bytes, to be changed and put back. */
struct image {
    uint8_t *bytes;
    struct segment_meta meta;
    struct test_store t;
    struct run run;
};

static void make_image(struct image *im, const struct run_shape *shape, struct chance *chance) {
    struct err err = ERR_INIT;
    test_store_open(&im->t);
    run_make(&im->run, shape, chance);
    cr_assert_eq(run_write(&im->run, im->t.store, mem_default(), shape, ID, &im->meta, &err), ST_OK, "%s", err.text);
    cr_assert_eq(im->meta.extent_count, 1);
    im->bytes = malloc(im->meta.file_len);
    cr_assert_eq(store_read(im->t.store, im->meta.extents[0].at, im->bytes, im->meta.file_len, &err), ST_OK);
}

static void release_image(struct image *im) {
    segment_meta_release(mem_default(), &im->meta);
    run_release(&im->run);
    free(im->bytes);
    test_store_close(&im->t);
}

/* Puts the new checksum of a block where its parent (a later block, or the meta) has the old one; and so on up to the root. */
static void mend_checksums(uint8_t *bytes, struct segment_meta *m, uint64_t was, uint64_t is) {
    for (;;) {
        if (m->root.checksum == was) m->root.checksum = is;
        if (m->filter.checksum == was) m->filter.checksum = is;
        uint64_t at = 0;
        for (; at + 8 <= m->file_len && get_le64(bytes + at) != was; at++) {
        }
        if (at + 8 > m->file_len) return;
        uint64_t block = 0; /* the block that holds it: blocks lie end to end */
        while (block + BLOCK_HEADER_LEN + get_le32(bytes + block + 8) <= at)
            block += BLOCK_HEADER_LEN + get_le32(bytes + block + 8);
        uint32_t len = BLOCK_HEADER_LEN + get_le32(bytes + block + 8);
        uint64_t parent_was = hash64(bytes + block, len, ID);
        put_le64(bytes + at, is);
        is = hash64(bytes + block, len, ID);
        was = parent_was;
    }
}

/* Changes a few bytes of one block, header length aside, and mends the checksums above it. */
static void damage(const struct image *im, uint8_t *bytes, struct segment_meta *m, struct chance *chance) {
    uint64_t target = chance_below(chance, m->file_len), at = 0;
    if (chance_below(chance, 2) == 0) target = m->root.at; /* as often as all leaves */
    while (at + BLOCK_HEADER_LEN + get_le32(im->bytes + at + 8) <= target)
        at += BLOCK_HEADER_LEN + get_le32(im->bytes + at + 8);
    uint32_t len = BLOCK_HEADER_LEN + get_le32(im->bytes + at + 8);
    uint64_t was = hash64(bytes + at, len, ID);
    for (uint64_t n = 1 + chance_below(chance, 3); n > 0; n--) {
        uint64_t k = chance_below(chance, len);
        if (k >= 8 && k < 12) continue; /* the stored length: the mending above relies on it */
        bytes[at + k] = chance_below(chance, 4) == 0 ? 0xff : (uint8_t) (bytes[at + k] + 1 - chance_below(chance, 3));
    }
    mend_checksums(bytes, m, was, hash64(bytes + at, len, ID));
}

static void count_fault(void *ctx, const char *text) {
    cr_assert(strlen(text) > 10);
    ++*(size_t *) ctx;
}

static uint64_t touch(const struct entry *e) {
    uint64_t sum = e->seq + e->kind;
    for (size_t i = 0; i < e->key.len; i++) sum += e->key.p[i];
    for (size_t i = 0; i < e->value.len; i++) sum += e->value.p[i];
    return sum;
}

/* Reads in every way; answers how many ended in ST_CORRUPT. */
static size_t read_all(struct image *im, struct segment *s, struct cache *cache, struct chance *chance) {
    struct source *c;
    size_t refused = 0;
    uint64_t sum = 0, entries, bytes;
    cr_assert_eq(segment_cursor(s, chance_below(chance, 2) == 0, &c, NULL), ST_OK);
    status st = c->ops->first(c, NULL);
    for (; st == ST_OK; st = c->ops->next(c, NULL)) sum += touch(&c->at);
    refused += st == ST_CORRUPT;
    for (st = c->ops->last(c, NULL); st == ST_OK; st = c->ops->prev(c, NULL)) sum += touch(&c->at);
    refused += st == ST_CORRUPT;
    for (int i = 0; i < 20; i++) {
        const struct entry *want = &im->run.entries[chance_below(chance, im->run.count)];
        struct entry e;
        struct cached_block *pin;
        (void) segment_may_contain(s, want->key);
        st = segment_get(s, want->key, want->seq, &e, &pin, NULL);
        if (st == ST_OK) {
            sum += touch(&e);
            cache_unpin(cache, pin);
        }
        refused += st == ST_CORRUPT;
        st = i % 2 == 0 ? c->ops->seek_ge(c, want->key, want->seq, NULL)
                        : c->ops->seek_le(c, want->key, want->seq, NULL);
        if (st == ST_OK) sum += touch(&c->at);
        refused += st == ST_CORRUPT;
        (void) segment_estimate(s, want->key, SLICE_NONE, &entries, &bytes, NULL);
    }
    c->ops->close(c);
    return refused + (sum == 1);
}

Test(segment_damage, no_read_of_hostile_blocks_crashes, .timeout = 120) {
    size_t refused = 0, faults = 0, passed = 0;
    const char *rounds = getenv("ELMO_ROUNDS");
    int round_max = rounds != NULL ? atoi(rounds) : 1500;
    for (size_t row = 0; row < sizeof(shapes) / sizeof(shapes[0]); row++) {
        struct image im;
        struct chance chance;
        chance_init(&chance, 40 + row);
        make_image(&im, &shapes[row], &chance);
        cr_assert_eq(im.meta.height, row + 1, "%s: height %u", shapes[row].name, im.meta.height);
        uint8_t *bytes = malloc(im.meta.file_len);
        for (int round = 0; round < round_max; round++) {
            struct segment_meta m = im.meta;
            struct cache *cache;
            struct segment *s;
            size_t found = 0;
            memcpy(bytes, im.bytes, im.meta.file_len);
            damage(&im, bytes, &m, &chance);
            cr_assert_eq(store_write(im.t.store, m.extents[0].at, bytes, m.file_len, NULL), ST_OK);
            cr_assert_eq(cache_new(mem_default(), CACHE_LEN, &cache, NULL), ST_OK);
            if (segment_open(im.t.store, cache, mem_default(), &m, &s, NULL) == ST_OK) {
                size_t n = read_all(&im, s, cache, &chance);
                refused += n;
                cr_assert_eq(segment_check(s, count_fault, &found, NULL), ST_OK);
                if (n > 0) cr_assert_gt(found, 0, "%s, round %d: reads failed, check did not", shapes[row].name, round);
                faults += found;
                passed += n == 0;
                segment_unref(s);
            } else {
                refused++;
            }
            cr_assert_eq(cache_stat(cache).pinned_bytes, 0);
            cache_free(cache);
        }
        free(bytes);
        release_image(&im);
    }
    cr_assert_gt(refused, 500, "%zu", refused);
    cr_assert_gt(passed, 300, "the changes were too coarse");
    cr_assert_gt(faults, 500);
}

Test(segment_damage, open_refuses_an_impossible_description) {
    struct image im;
    struct chance chance;
    struct cache *cache;
    struct segment *s = NULL;
    chance_init(&chance, 50);
    make_image(&im, &shapes[1], &chance);
    cr_assert_eq(cache_new(mem_default(), CACHE_LEN, &cache, NULL), ST_OK);
    for (int fault = 0; fault < 9; fault++) {
        struct segment_meta m = im.meta;
        struct extent extents[1] = {m.extents[0]};
        m.extents = extents;
        switch (fault) {
        case 0: m.height = 0; break;
        case 1: m.height = 1000; break;
        case 2: m.root.at = m.file_len; break;
        case 3: m.root.len = UINT32_MAX; break;
        case 4: m.filter.at = UINT64_MAX; break;
        case 5: m.file_len = UINT64_MAX; break;
        case 6: m.entry_count = 0; break;
        case 7: m.root.len = 3; break;
        default: m.filter.checksum++; break;
        }
        struct err err = ERR_INIT;
        cr_assert_eq(segment_open(im.t.store, cache, mem_default(), &m, &s, &err), ST_CORRUPT, "fault %d", fault);
        cr_assert(strstr(err.text, "segment 9 is damaged") != NULL, "%s", err.text);
    }
    struct segment_meta m = im.meta;
    m.height++; /* the root is then of another type */
    cr_assert_eq(segment_open(im.t.store, cache, mem_default(), &m, &s, NULL), ST_OK);
    struct source *c;
    cr_assert_eq(segment_cursor(s, true, &c, NULL), ST_OK);
    cr_assert_eq(c->ops->first(c, NULL), ST_CORRUPT);
    c->ops->close(c);
    segment_unref(s);
    cache_free(cache);
    release_image(&im);
}
