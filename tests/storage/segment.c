/* Segments against a sorted array: what was written is read, from every side, whole or damaged. */
#include "storage/segment.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "os/thread.h"
#include "support/mem_fail.h"
#include "support/segment_run.h"

#define GOLDEN_LEN 1801
#define GOLDEN_HASH 0xc399501b27d5220eu
#define CACHE_LEN ((size_t) 4 << 20)

static const struct run_shape shapes[] = {
    /* name                      keys  key prefix value versions alphabet leaf  compression   filter */
    {"ordinary", 3000, 16, 4, 100, 1, 256, 4096, COMPRESS_LZ4, 10},
    {"one entry", 1, 16, 0, 100, 1, 256, 4096, COMPRESS_LZ4, 10},
    {"two entries", 2, 1, 0, 0, 1, 256, 4096, COMPRESS_NONE, 10},
    {"keys of one byte", 256, 1, 0, 10, 2, 256, 128, COMPRESS_NONE, 4},
    {"empty values", 3000, 20, 0, 0, 1, 256, 4096, COMPRESS_LZ4, 10},
    {"few letters", 2000, 60, 0, 10, 2, 2, 1024, COMPRESS_LZ4, 10},
    {"a long common prefix", 1000, 10, 600, 10, 3, 256, 2048, COMPRESS_LZ4, 10},
    {"many versions", 30, 4, 2, 20, 300, 3, 512, COMPRESS_LZ4, 10},
    {"a tree of many levels", 6000, 12, 0, 4, 2, 256, 64, COMPRESS_NONE, 10},
    {"long separators", 300, 900, 500, 4, 2, 1, 256, COMPRESS_LZ4, 0},
    {"huge keys", 8, 100 * 1024, 100 * 1024, 10, 3, 2, 4096, COMPRESS_LZ4, 10},
    {"values beyond a leaf", 200, 12, 0, 30000, 1, 256, 16384, COMPRESS_ZSTD, 16},
    {"zstd", 3000, 16, 4, 100, 2, 256, 16384, COMPRESS_ZSTD, 8},
    {"no filter", 500, 16, 4, 100, 2, 256, 0, COMPRESS_LZ4, 0},
};
#define SHAPE_COUNT (sizeof(shapes) / sizeof(shapes[0]))

struct fixture {
    const struct run_shape *shape;
    struct chance chance;
    struct test_store t;
    struct cache *cache;
    struct run run;
    struct segment_meta meta;
    struct segment *segment;
    struct err err;
};

static uint64_t seed_of_run(size_t shape_idx) {
    const char *text = getenv("ELMO_SEED");
    return (text != NULL ? strtoull(text, NULL, 10) : 20260101) + shape_idx;
}

static void open_fixture(struct fixture *f, size_t shape_idx) {
    *f = (struct fixture){.shape = &shapes[shape_idx]};
    chance_init(&f->chance, seed_of_run(shape_idx));
    test_store_open(&f->t);
    cr_assert_eq(cache_new(mem_default(), CACHE_LEN, &f->cache, &f->err), ST_OK);
    run_make(&f->run, f->shape, &f->chance);
    cr_assert_eq(run_write(&f->run, f->t.store, mem_default(), f->shape, 7, &f->meta, &f->err), ST_OK, "%s",
                 f->err.text);
    cr_assert_eq(segment_open(f->t.store, f->cache, mem_default(), &f->meta, &f->segment, &f->err), ST_OK, "%s",
                 f->err.text);
}

static void close_fixture(struct fixture *f) {
    segment_unref(f->segment);
    segment_meta_release(mem_default(), &f->meta);
    run_release(&f->run);
    cr_assert_eq(cache_stat(f->cache).pinned_bytes, 0, "a pin was left");
    cache_free(f->cache);
    test_store_close(&f->t);
}

static void assert_entry(const struct fixture *f, const struct entry *got, size_t idx) {
    const struct entry *want = &f->run.entries[idx];
    cr_assert(slice_equal(got->key, want->key), "%s: key of entry %zu", f->shape->name, idx);
    cr_assert(slice_equal(got->value, want->value), "%s: value of entry %zu", f->shape->name, idx);
    cr_assert_eq(got->seq, want->seq, "%s: sequence of entry %zu", f->shape->name, idx);
    cr_assert_eq(got->kind, want->kind, "%s: kind of entry %zu", f->shape->name, idx);
}

/* A key to look for: one that is there, or a neighbour of it. */
static struct slice probe_key(struct fixture *f, struct arena *arena) {
    const struct entry *e = &f->run.entries[chance_below(&f->chance, f->run.count)];
    uint8_t *p = arena_alloc(arena, e->key.len + 1);
    memcpy(p, e->key.p, e->key.len);
    size_t len = e->key.len;
    switch (chance_below(&f->chance, 5)) {
    case 0: p[len++] = 0; break;
    case 1:
        if (len > 1) len = 1 + chance_below(&f->chance, len - 1);
        break;
    case 2: p[chance_below(&f->chance, len)]++; break;
    case 3: p[chance_below(&f->chance, len)]--; break;
    default: break;
    }
    return (struct slice){p, len};
}

static uint64_t probe_seq(struct fixture *f) {
    switch (chance_below(&f->chance, 4)) {
    case 0: return SEQ_MAX;
    case 1: return 0;
    case 2: return chance_below(&f->chance, 1002000);
    default: return f->run.entries[chance_below(&f->chance, f->run.count)].seq;
    }
}

ParameterizedTestParameters(segment, reads_what_was_written) {
    static size_t rows[SHAPE_COUNT];
    for (size_t i = 0; i < SHAPE_COUNT; i++) rows[i] = i;
    return cr_make_param_array(size_t, rows, SHAPE_COUNT);
}
ParameterizedTest(size_t *row, segment, reads_what_was_written) {
    struct fixture f;
    open_fixture(&f, *row);
    cr_assert_eq(f.meta.entry_count, f.run.count);
    cr_assert(slice_equal(f.meta.min_key, f.run.entries[0].key));
    cr_assert(slice_equal(f.meta.max_key, f.run.entries[f.run.count - 1].key));
    for (int fill = 0; fill < 2; fill++) {
        struct source *c;
        cr_assert_eq(segment_cursor(f.segment, fill == 1, &c, &f.err), ST_OK);
        status st = c->ops->first(c, &f.err);
        for (size_t i = 0; i < f.run.count; i++, st = c->ops->next(c, &f.err)) {
            cr_assert_eq(st, ST_OK, "%s: entry %zu: %s", f.shape->name, i, f.err.text);
            assert_entry(&f, &c->at, i);
        }
        cr_assert_eq(st, ST_END);
        st = c->ops->last(c, &f.err);
        for (size_t i = f.run.count; i-- > 0; st = c->ops->prev(c, &f.err)) {
            cr_assert_eq(st, ST_OK, "%s: entry %zu: %s", f.shape->name, i, f.err.text);
            assert_entry(&f, &c->at, i);
        }
        cr_assert_eq(st, ST_END);
        cr_assert_eq(c->ops->seek_ge(c, SLICE_NONE, SEQ_MAX, &f.err), ST_OK);
        assert_entry(&f, &c->at, 0);
        cr_assert_eq(c->ops->seek_le(c, SLICE_NONE, 0, &f.err), ST_END);
        c->ops->close(c);
    }
    close_fixture(&f);
}

ParameterizedTestParameters(segment, seeks_and_moves_as_an_array_does) {
    static size_t rows[SHAPE_COUNT];
    for (size_t i = 0; i < SHAPE_COUNT; i++) rows[i] = i;
    return cr_make_param_array(size_t, rows, SHAPE_COUNT);
}
ParameterizedTest(size_t *row, segment, seeks_and_moves_as_an_array_does) {
    struct fixture f;
    struct arena arena;
    struct source *c;
    open_fixture(&f, *row);
    arena_init(&arena, mem_default());
    cr_assert_eq(segment_cursor(f.segment, *row % 2 == 0, &c, &f.err), ST_OK);
    int rounds = f.shape->key_len_max > 10000 ? 60 : 1500;
    for (int round = 0; round < rounds; round++, arena_reset(&arena)) {
        struct slice key = probe_key(&f, &arena);
        uint64_t seq = probe_seq(&f);
        size_t at = run_search(&f.run, key, seq),
               count = f.run.count; /* `at` one past the place, count + 1 for nowhere */
        status st;
        if (chance_below(&f.chance, 2) == 0) {
            st = c->ops->seek_ge(c, key, seq, &f.err);
        } else {
            st = c->ops->seek_le(c, key, seq, &f.err);
            bool is_hit = at < count && entry_compare(f.run.entries[at].key, f.run.entries[at].seq, key, seq) == 0;
            if (!is_hit) at = at > 0 ? at - 1 : count;
        }
        cr_assert_eq(st, at < count ? ST_OK : ST_END, "%s: round %d, seed %zu", f.shape->name, round,
                     (size_t) seed_of_run(*row));
        for (uint64_t moves = chance_below(&f.chance, 40); st == ST_OK && moves > 0; moves--) {
            assert_entry(&f, &c->at, at);
            bool forward = chance_below(&f.chance, 3) != 0;
            if (forward) {
                st = c->ops->next(c, &f.err);
                at++;
            } else {
                st = c->ops->prev(c, &f.err);
                at = at > 0 ? at - 1 : count;
            }
            cr_assert_eq(st, at < count ? ST_OK : ST_END);
        }
        if (chance_below(&f.chance, 20) == 0) c->ops->rest(c);
    }
    c->ops->close(c);
    arena_release(&arena);
    close_fixture(&f);
}

ParameterizedTestParameters(segment, gets_the_newest_visible_version) {
    static size_t rows[SHAPE_COUNT];
    for (size_t i = 0; i < SHAPE_COUNT; i++) rows[i] = i;
    return cr_make_param_array(size_t, rows, SHAPE_COUNT);
}
ParameterizedTest(size_t *row, segment, gets_the_newest_visible_version) {
    struct fixture f;
    struct arena arena;
    open_fixture(&f, *row);
    arena_init(&arena, mem_default());
    int rounds = f.shape->key_len_max > 10000 ? 100 : 5000;
    for (int round = 0; round < rounds; round++, arena_reset(&arena)) {
        struct slice key = probe_key(&f, &arena);
        uint64_t snapshot = probe_seq(&f);
        size_t at = run_search(&f.run, key, snapshot);
        bool is_there = at < f.run.count && slice_equal(f.run.entries[at].key, key);
        struct entry e;
        struct cached_block *pin = NULL;
        status st = segment_get(f.segment, key, snapshot, &e, &pin, &f.err);
        cr_assert_eq(st, is_there ? ST_OK : ST_NOT_FOUND, "%s: round %d", f.shape->name, round);
        if (is_there) {
            cr_assert(segment_may_contain(f.segment, key));
            assert_entry(&f, &e, at);
            cache_unpin(f.cache, pin);
        }
    }
    arena_release(&arena);
    close_fixture(&f);
}

static void count_fault(void *ctx, const char *text) {
    cr_assert(strstr(text, "damaged") != NULL, "%s", text);
    ++*(size_t *) ctx;
}
static void print_fault(void *ctx, const char *text) {
    fprintf(stderr, "%s\n", text);
    ++*(size_t *) ctx;
}

ParameterizedTestParameters(segment, checks_clean_and_estimates_within_a_leaf) {
    static size_t rows[SHAPE_COUNT];
    for (size_t i = 0; i < SHAPE_COUNT; i++) rows[i] = i;
    return cr_make_param_array(size_t, rows, SHAPE_COUNT);
}
ParameterizedTest(size_t *row, segment, checks_clean_and_estimates_within_a_leaf) {
    struct fixture f;
    struct arena arena;
    size_t faults = 0;
    open_fixture(&f, *row);
    arena_init(&arena, mem_default());
    cr_assert_eq(segment_check(f.segment, print_fault, &faults, &f.err), ST_OK, "%s", f.err.text);
    cr_assert_eq(faults, 0, "%s", f.shape->name);
    size_t leaf_count = 4 * (f.shape->leaf_len != 0 ? f.shape->leaf_len : 16384) / (f.shape->key_len_max / 4 + 1) + 2;
    for (int round = 0; round < 200; round++, arena_reset(&arena)) {
        struct slice lo = probe_key(&f, &arena), hi = probe_key(&f, &arena);
        uint64_t entries, bytes;
        size_t from = run_search(&f.run, lo, SEQ_MAX), to = run_search(&f.run, hi, SEQ_MAX);
        cr_assert_eq(segment_estimate(f.segment, lo, hi, &entries, &bytes, &f.err), ST_OK);
        size_t want = to > from ? to - from : 0, off = want > entries ? want - entries : (size_t) entries - want;
        cr_assert_leq(off, 2 * leaf_count, "%s: %zu entries, estimated %zu", f.shape->name, want, (size_t) entries);
    }
    uint64_t entries, bytes;
    cr_assert_eq(segment_estimate(f.segment, SLICE_NONE, SLICE_NONE, &entries, &bytes, &f.err), ST_OK);
    cr_assert_eq(entries, f.meta.entry_count);
    cr_assert_eq(bytes, f.meta.data_len);
    arena_release(&arena);
    close_fixture(&f);
}

Test(segment, filter_denies_nearly_all_absent_keys) {
    struct fixture f;
    open_fixture(&f, 0);
    size_t passed = 0;
    for (int i = 0; i < 20000; i++) {
        char key[32];
        int n = snprintf(key, sizeof(key), "absent-%d", i);
        passed += segment_may_contain(f.segment, slice_of(key, (size_t) n));
    }
    cr_assert_lt(passed, 400, "%zu of 20000", passed);
    close_fixture(&f);
}

/* Free space in pieces of 64 units: blocks lie across their ends. */
Test(segment, lies_in_many_extents) {
    static const struct run_shape shape = {.name = "pieces",
                                           .key_count = 4000,
                                           .key_len_max = 12,
                                           .prefix_len = 3,
                                           .value_len_max = 1500,
                                           .version_max = 1,
                                           .alphabet = 256,
                                           .leaf_len = 30000,
                                           .compression = COMPRESS_NONE,
                                           .filter_bits = 10};
    struct test_store t;
    struct run run;
    struct chance chance;
    struct segment_meta meta;
    struct cache *cache;
    struct segment *s;
    struct source *c;
    struct err err = ERR_INIT;
    struct extent gaps[40], used;
    uint32_t count;
    size_t faults = 0;
    test_store_open(&t);
    for (size_t i = 0; i < 40; i++) {
        cr_assert_eq(store_alloc(t.store, 64 * UNIT_LEN, 1, &gaps[i], &count, &err), ST_OK);
        cr_assert_eq(store_alloc(t.store, UNIT_LEN, 1, &used, &count, &err), ST_OK);
    }
    store_forfeit(t.store, gaps, 40);
    uint64_t used_before = store_space(t.store).used_len;
    chance_init(&chance, 11);
    run_make(&run, &shape, &chance);
    cr_assert_eq(run_write(&run, t.store, mem_default(), &shape, 9, &meta, &err), ST_OK, "%s", err.text);
    cr_assert_gt(meta.extent_count, 4, "%u extents", meta.extent_count);
    uint64_t len = 0;
    for (uint32_t i = 0; i < meta.extent_count; i++) len += meta.extents[i].len;
    cr_assert_eq(store_space(t.store).used_len - used_before, len, "the unused tail was not given back");
    cr_assert_lt(len - meta.file_len, UNIT_LEN);
    cr_assert_eq(cache_new(mem_default(), CACHE_LEN, &cache, &err), ST_OK);
    cr_assert_eq(segment_open(t.store, cache, mem_default(), &meta, &s, &err), ST_OK, "%s", err.text);
    for (int fill = 0; fill < 2; fill++) {
        cr_assert_eq(segment_cursor(s, fill == 1, &c, &err), ST_OK);
        size_t n = 0;
        for (status st = c->ops->first(c, &err); st == ST_OK; st = c->ops->next(c, &err), n++) {
            cr_assert(slice_equal(c->at.key, run.entries[n].key));
            cr_assert(slice_equal(c->at.value, run.entries[n].value));
        }
        cr_assert_eq(n, run.count);
        c->ops->close(c);
    }
    cr_assert_eq(segment_check(s, print_fault, &faults, &err), ST_OK);
    cr_assert_eq(faults, 0);
    segment_unref(s);
    segment_meta_release(mem_default(), &meta);
    cache_free(cache);
    run_release(&run);
    test_store_close(&t);
}

Test(segment, keeps_range_deletes_and_widens_its_bounds) {
    struct range_delete ranges[] = {{SLICE_LIT("b"), SLICE_LIT("d"), 50}, {SLICE_LIT("c"), SLICE_LIT("x"), 70}};
    for (int with_entries = 0; with_entries < 2; with_entries++) {
        struct test_store t;
        struct fragments *f;
        struct segment_writer *w;
        struct segment_meta meta;
        struct cache *cache;
        struct segment *s;
        struct err err = ERR_INIT;
        size_t faults = 0;
        test_store_open(&t);
        cr_assert_eq(cache_new(mem_default(), CACHE_LEN, &cache, &err), ST_OK);
        cr_assert_eq(fragments_new(mem_default(), ranges, 2, &f, &err), ST_OK);
        cr_assert_eq(segment_writer_new(t.store, mem_default(), NULL, 3, 0, &w, &err), ST_OK);
        cr_assert_eq(segment_writer_range_deletes(w, f, &err), ST_OK);
        struct entry a = {.key = SLICE_LIT("a"), .seq = 60, .kind = ENTRY_DELETE},
                     x = {.key = SLICE_LIT("x"), .seq = 90, .kind = ENTRY_PUT};
        if (with_entries != 0) {
            cr_assert_eq(segment_writer_add(w, &a, &err), ST_OK);
            cr_assert_eq(segment_writer_add(w, &x, &err), ST_OK);
        }
        cr_assert_eq(segment_writer_finish(w, &meta, &err), ST_OK, "%s", err.text);
        fragments_unref(f);
        cr_assert_eq(meta.min_seq, 50);
        cr_assert_eq(meta.max_seq, with_entries != 0 ? 90 : 70);
        cr_assert(slice_equal(meta.min_key, with_entries != 0 ? SLICE_LIT("a") : SLICE_LIT("b")));
        cr_assert(slice_equal(meta.max_key, SLICE_LIT("x")));
        cr_assert_eq(meta.max_is_exclusive, with_entries == 0);
        cr_assert_eq(meta.tombstone_count, (uint64_t) with_entries);
        cr_assert_eq(segment_open(t.store, cache, mem_default(), &meta, &s, &err), ST_OK, "%s", err.text);
        cr_assert_eq(fragments_count(segment_range_deletes(s)), meta.range_delete_count);
        cr_assert_eq(fragments_cover(segment_range_deletes(s), SLICE_LIT("c"), SEQ_MAX), 70);
        cr_assert_eq(segment_check(s, print_fault, &faults, &err), ST_OK);
        cr_assert_eq(faults, 0);
        segment_unref(s);
        segment_meta_release(mem_default(), &meta);
        cache_free(cache);
        test_store_close(&t);
    }
}

Test(segment, dropped_leaves_nothing_in_the_cache) {
    struct fixture f;
    struct source *c;
    open_fixture(&f, 0);
    cr_assert_eq(segment_cursor(f.segment, true, &c, &f.err), ST_OK);
    while (c->ops->seek_ge(c, f.run.entries[0].key, SEQ_MAX, &f.err) == ST_OK && c->ops->next(c, &f.err) == ST_OK) {
        for (size_t i = 0; i < f.run.count - 2; i++) cr_assert_eq(c->ops->next(c, &f.err), ST_OK);
        break;
    }
    segment_drop(f.segment);
    c->ops->close(c);
    size_t before = cache_stat(f.cache).bytes;
    segment_unref(segment_ref(f.segment));
    cr_assert_eq(cache_stat(f.cache).bytes, before, "somebody still holds it");
    segment_unref(f.segment);
    f.segment = NULL;
    cr_assert_lt(cache_stat(f.cache).bytes, before / 2);
    close_fixture(&f);
}

/* One segment, many readers, a cache too small for all of it. */
struct reader {
    struct fixture *f;
    struct thread thread;
    uint64_t seed;
};

static void *read_at_random(void *ctx) {
    struct reader *r = ctx;
    struct fixture *f = r->f;
    struct chance chance;
    struct source *c;
    chance_init(&chance, r->seed);
    cr_assert_eq(segment_cursor(f->segment, true, &c, NULL), ST_OK);
    for (int i = 0; i < 3000; i++) {
        size_t at = chance_below(&chance, f->run.count);
        struct entry e;
        struct cached_block *pin;
        cr_assert_eq(segment_get(f->segment, f->run.entries[at].key, f->run.entries[at].seq, &e, &pin, NULL), ST_OK);
        assert_entry(f, &e, at);
        cr_assert_eq(c->ops->seek_ge(c, f->run.entries[at].key, f->run.entries[at].seq, NULL), ST_OK);
        for (int n = 0; n < 20 && at + 1 < f->run.count; n++)
            cr_assert_eq(c->ops->next(c, NULL), ++at < f->run.count ? ST_OK : ST_END);
        assert_entry(f, &c->at, at);
        cache_unpin(f->cache, pin);
    }
    c->ops->close(c);
    return NULL;
}

Test(segment, serves_many_readers) {
    struct fixture f;
    struct reader readers[4];
    open_fixture(&f, 0);
    struct segment *s;
    cache_free(NULL);
    segment_unref(f.segment);
    cache_free(f.cache);
    cr_assert_eq(cache_new(mem_default(), 200000, &f.cache, &f.err), ST_OK);
    cr_assert_eq(segment_open(f.t.store, f.cache, mem_default(), &f.meta, &s, &f.err), ST_OK);
    f.segment = s;
    for (uint64_t i = 0; i < 4; i++) {
        readers[i] = (struct reader){.f = &f, .seed = i};
        cr_assert_eq(thread_start(&readers[i].thread, read_at_random, &readers[i], NULL), ST_OK);
    }
    for (int i = 0; i < 4; i++) thread_join(&readers[i].thread);
    cr_assert_gt(cache_stat(f.cache).evictions, 0);
    close_fixture(&f);
}

/* The bytes of version 1, uncompressed as compressors change. When this fails the format has changed: then it needs a version. */
Test(segment, bytes_are_those_of_the_first_version) {
    struct test_store t;
    struct segment_writer *w;
    struct segment_meta meta;
    struct fragments *f;
    struct err err = ERR_INIT;
    struct segment_opts opts = {.leaf_len = 256, .compression = COMPRESS_NONE, .filter_bits_per_key = 10};
    struct range_delete range = {SLICE_LIT("golden-10"), SLICE_LIT("golden-20"), 77};
    test_store_open(&t);
    cr_assert_eq(segment_writer_new(t.store, mem_default(), &opts, 42, 1, &w, &err), ST_OK);
    for (unsigned i = 0; i < 100; i++) {
        char key[32], value[32];
        int key_len = snprintf(key, sizeof(key), "golden-%02u", i / 2),
            value_len = snprintf(value, sizeof(value), "value %u", i * i);
        struct entry e = {.key = slice_of(key, (size_t) key_len),
                          .value = slice_of(value, (size_t) value_len),
                          .seq = 300 - i,
                          .kind = ENTRY_PUT};
        if (i % 10 == 3) e = (struct entry){.key = e.key, .seq = e.seq, .kind = ENTRY_DELETE};
        cr_assert_eq(segment_writer_add(w, &e, &err), ST_OK);
    }
    cr_assert_eq(fragments_new(mem_default(), &range, 1, &f, &err), ST_OK);
    cr_assert_eq(segment_writer_range_deletes(w, f, &err), ST_OK);
    fragments_unref(f);
    cr_assert_eq(segment_writer_finish(w, &meta, &err), ST_OK);
    uint8_t bytes[8192] = {0};
    cr_assert_leq(meta.file_len, sizeof(bytes));
    cr_assert_eq(store_read(t.store, meta.extents[0].at, bytes, meta.file_len, &err), ST_OK);
    cr_assert_eq(meta.height, 2);
    cr_assert_eq(meta.file_len, GOLDEN_LEN, "%lu bytes", (unsigned long) meta.file_len);
    cr_assert_eq(hash64(bytes, meta.file_len, 0), GOLDEN_HASH, "hash %016lx",
                 (unsigned long) hash64(bytes, meta.file_len, 0));
    segment_meta_release(mem_default(), &meta);
    test_store_close(&t);
}

Test(segment, empty_writer_makes_a_segment_without_extents) {
    struct test_store t;
    struct segment_writer *w;
    struct segment_meta meta;
    struct cache *cache;
    struct segment *s;
    struct source *c;
    struct err err = ERR_INIT;
    test_store_open(&t);
    cr_assert_eq(cache_new(mem_default(), CACHE_LEN, &cache, &err), ST_OK);
    cr_assert_eq(segment_writer_new(t.store, mem_default(), NULL, 3, 0, &w, &err), ST_OK);
    cr_assert_eq(segment_writer_finish(w, &meta, &err), ST_OK);
    cr_assert_eq(meta.entry_count, 0);
    cr_assert_eq(meta.extent_count, 0);
    cr_assert_eq(meta.height, 0);
    cr_assert_eq(segment_open(t.store, cache, mem_default(), &meta, &s, &err), ST_OK, "%s", err.text);
    cr_assert_not(segment_may_contain(s, SLICE_LIT("a")));
    cr_assert_eq(segment_cursor(s, true, &c, &err), ST_OK);
    cr_assert_eq(c->ops->first(c, &err), ST_END);
    cr_assert_eq(c->ops->last(c, &err), ST_END);
    cr_assert_eq(c->ops->seek_ge(c, SLICE_LIT("a"), SEQ_MAX, &err), ST_END);
    c->ops->close(c);
    segment_unref(s);
    segment_meta_release(mem_default(), &meta);
    cache_free(cache);
    test_store_close(&t);
}

Test(segment, refuses_entries_out_of_order) {
    struct test_store t;
    struct segment_writer *w;
    struct segment_meta meta;
    struct err err = ERR_INIT;
    test_store_open(&t);
    cr_assert_eq(segment_writer_new(t.store, mem_default(), NULL, 3, 0, &w, &err), ST_OK);
    struct entry e = {.key = SLICE_LIT("b"), .value = SLICE_LIT("v"), .seq = 5, .kind = ENTRY_PUT};
    cr_assert_eq(segment_writer_add(w, &e, &err), ST_OK);
    cr_assert_eq(segment_writer_add(w, &e, &err), ST_INVALID, "the same again");
    cr_assert_eq(segment_writer_finish(w, &meta, &err), ST_INVALID, "the failure sticks");
    test_store_close(&t);
}

/* Reads everything in every way: the first failure, ST_OK or what segment_check found. */
static status read_all(struct store *store, const struct mem *mem, const struct segment_meta *meta, struct cache *cache,
                       const struct run *run, size_t *faults, struct err *err) {
    struct segment *s = NULL;
    struct source *c = NULL;
    status st = segment_open(store, cache, mem, meta, &s, err);
    if (st != ST_OK) return st;
    for (int fill = 0; fill < 2; fill++) {
        TRY_OUT(segment_cursor(s, fill == 1, &c, err));
        size_t n = 0;
        for (st = c->ops->first(c, err); st == ST_OK; st = c->ops->next(c, err)) n++;
        if (st != ST_END) goto out;
        for (st = c->ops->last(c, err); st == ST_OK; st = c->ops->prev(c, err)) n++;
        if (st != ST_END) goto out;
        cr_assert_eq(n, 2 * run->count);
        c->ops->close(c);
        c = NULL;
    }
    for (size_t i = 0; i < run->count; i += 7) {
        struct entry e;
        struct cached_block *pin;
        TRY_OUT(segment_get(s, run->entries[i].key, SEQ_MAX, &e, &pin, err));
        cache_unpin(cache, pin);
    }
    TRY_OUT(segment_check(s, count_fault, faults, err));
out:
    if (c != NULL) c->ops->close(c);
    segment_unref(s);
    return st;
}

static const struct run_shape small = {"small", 300, 12, 3, 60, 2, 256, 512, COMPRESS_LZ4, 10};

Test(segment, survives_every_failing_allocation, .timeout = 120) {
    struct run run;
    struct chance chance;
    chance_init(&chance, 5);
    run_make(&run, &small, &chance);
    for (uint64_t n = 1;; n++) {
        struct mem_fail mf;
        struct test_store t;
        struct segment_meta meta;
        struct cache *cache = NULL;
        struct err err = ERR_INIT;
        size_t faults = 0;
        test_store_open(&t);
        mem_fail_init(&mf, n);
        status st = cache_new(&mf.mem, CACHE_LEN, &cache, &err);
        if (st == ST_OK) st = run_write(&run, t.store, &mf.mem, &small, 9, &meta, &err);
        if (st == ST_OK) {
            st = read_all(t.store, &mf.mem, &meta, cache, &run, &faults, &err);
            segment_meta_release(&mf.mem, &meta);
        }
        cache_free(cache);
        cr_assert(st == ST_OK || st == ST_NOMEM, "allocation %lu: %s", (unsigned long) n, err.text);
        cr_assert_eq(faults, 0);
        cr_assert_eq(mem_fail_live(&mf), 0, "allocation %lu: a leak", (unsigned long) n);
        test_store_close(&t);
        if (!mem_fail_hit(&mf)) {
            cr_assert_eq(st, ST_OK);
            break;
        }
        if (n > 60) n += n / 20; /* the later ones are much alike */
    }
    run_release(&run);
}

Test(segment, notices_every_changed_byte, .timeout = 120) {
    struct run run;
    struct chance chance;
    struct test_store t;
    struct segment_meta meta;
    struct err err = ERR_INIT;
    struct run_shape shape = small;
    shape.key_count = 60;
    chance_init(&chance, 6);
    run_make(&run, &shape, &chance);
    test_store_open(&t);
    cr_assert_eq(run_write(&run, t.store, mem_default(), &shape, 9, &meta, &err), ST_OK);
    cr_assert_eq(meta.extent_count, 1);
    for (uint64_t at = 0; at < meta.file_len; at++) {
        struct cache *cache;
        uint8_t was, is;
        size_t faults = 0;
        cr_assert_eq(cache_new(mem_default(), CACHE_LEN, &cache, &err), ST_OK);
        cr_assert_eq(store_read(t.store, meta.extents[0].at + at, &was, 1, &err), ST_OK);
        is = was ^ (uint8_t) (1u << chance_below(&chance, 8));
        cr_assert_eq(store_write(t.store, meta.extents[0].at + at, &is, 1, &err), ST_OK);
        status st = read_all(t.store, mem_default(), &meta, cache, &run, &faults, &err);
        cr_assert(st == ST_CORRUPT, "byte %lu went unnoticed", (unsigned long) at);
        struct segment *s;
        if (segment_open(t.store, cache, mem_default(), &meta, &s, &err) == ST_OK) {
            cr_assert_eq(segment_check(s, count_fault, &faults, &err), ST_OK);
            cr_assert_gt(faults, 0, "check passed over byte %lu", (unsigned long) at);
            segment_unref(s);
        }
        cr_assert_eq(store_write(t.store, meta.extents[0].at + at, &was, 1, &err), ST_OK);
        cache_free(cache);
    }
    segment_meta_release(mem_default(), &meta);
    run_release(&run);
    test_store_close(&t);
}
