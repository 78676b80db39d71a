/* Large values: written, read, verified, owned by their segment. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "storage/kv.h"
#include "support/segment_run.h"

static uint8_t *make_bytes(size_t len) {
    uint8_t *p = malloc(len);
    for (size_t i = 0; i < len; i++) p[i] = (uint8_t) (i * 7 + i / 256);
    return p;
}

Test(large, reads_what_was_written) {
    static const size_t lens[] = {1, 4095, 4096, 4097, LARGE_LEN_MIN, LARGE_LEN_MIN + 1, 5000001, KV_VALUE_LEN_MAX};
    struct test_store t;
    struct err err = ERR_INIT;
    test_store_open(&t);
    for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        uint8_t *own = make_bytes(lens[i]);
        struct slice value = {own, lens[i]};
        struct large_ref ref, again;
        struct buf bytes;
        buf_init(&bytes, mem_default());
        uint8_t *p = malloc(value.len);
        cr_assert_eq(large_write(t.store, value, &ref, &err), ST_OK, "%s", err.text);
        cr_assert_eq(large_ref_encode(&ref, &bytes, &err), ST_OK);
        cr_assert_eq(large_ref_decode(buf_slice(&bytes), &again, &err), ST_OK, "%s", err.text);
        cr_assert_eq(again.len, value.len);
        cr_assert_eq(large_read(t.store, &again, p, &err), ST_OK, "%s", err.text);
        cr_assert_arr_eq(p, value.p, value.len);
        uint8_t wrong = (uint8_t) (p[value.len / 2] ^ 1);
        cr_assert_eq(store_write(t.store, ref.extents[0].at + (ref.extent_count == 1 ? value.len / 2 : 0), &wrong, 1,
                                 &err),
                     ST_OK);
        cr_assert(large_read(t.store, &again, p, &err) == ST_CORRUPT || ref.extent_count > 1);
        free(p);
        free(own);
        buf_release(&bytes);
    }
    test_store_close(&t);
}

Test(large, refuses_or_bears_any_reference) {
    struct large_ref ref = {.len = 70000,
                            .checksum = 5,
                            .extent_count = 3,
                            .extents = {{8192, 8192}, {40960, 32768}, {204800, 32768}}},
                     got;
    struct buf bytes;
    struct chance chance;
    buf_init(&bytes, mem_default());
    chance_init(&chance, 4);
    cr_assert_eq(large_ref_encode(&ref, &bytes, NULL), ST_OK);
    cr_assert_eq(large_ref_decode(buf_slice(&bytes), &got, NULL), ST_OK);
    cr_assert_eq(got.extents[2].at, 204800);
    for (size_t n = 0; n < bytes.len; n++)
        cr_assert_eq(large_ref_decode(slice_of(bytes.p, n), &got, NULL), ST_CORRUPT, "cut to %zu bytes", n);
    for (int round = 0; round < 100000; round++) {
        uint8_t copy[64];
        memcpy(copy, bytes.p, bytes.len);
        for (uint64_t n = 1 + chance_below(&chance, 3); n > 0; n--)
            copy[chance_below(&chance, bytes.len)] = (uint8_t) chance_next(&chance);
        if (large_ref_decode(slice_of(copy, bytes.len), &got, NULL) != ST_OK) continue;
        uint64_t room = 0;
        cr_assert_leq(got.extent_count, LARGE_EXTENTS_MAX);
        for (uint32_t i = 0; i < got.extent_count; i++) room += got.extents[i].len;
        cr_assert_geq(room, got.len, "a value longer than its extents");
    }
    buf_release(&bytes);
}

static status sum_extent(void *ctx, struct extent e) {
    *(uint64_t *) ctx += e.len;
    return ST_OK;
}
static void count_fault(void *ctx, const char *text) {
    (void) text;
    ++*(size_t *) ctx;
}

Test(large, belong_to_their_segment_which_lists_and_checks_them) {
    struct test_store t;
    struct cache *cache;
    struct segment_writer *w;
    struct segment_meta meta;
    struct segment *s;
    struct err err = ERR_INIT;
    struct large_ref refs[10];
    uint64_t written = 0, listed = 0;
    size_t faults = 0;
    test_store_open(&t);
    cr_assert_eq(cache_new(mem_default(), 1 << 20, &cache, &err), ST_OK);
    cr_assert_eq(segment_writer_new(t.store, mem_default(), NULL, 4, 0, &w, &err), ST_OK);
    for (int i = 0; i < 10; i++) {
        size_t len = LARGE_LEN_MIN + (size_t) i * 5000;
        uint8_t *own = make_bytes(len);
        struct slice value = {own, len};
        struct buf bytes;
        uint8_t key = (uint8_t) i;
        buf_init(&bytes, mem_default());
        cr_assert_eq(large_write(t.store, value, &refs[i], &err), ST_OK);
        cr_assert_eq(large_ref_encode(&refs[i], &bytes, &err), ST_OK);
        struct entry e = {.key = {&key, 1}, .value = buf_slice(&bytes), .seq = 1, .kind = ENTRY_LARGE};
        cr_assert_eq(segment_writer_add(w, &e, &err), ST_OK);
        for (uint32_t k = 0; k < refs[i].extent_count; k++) written += refs[i].extents[k].len;
        buf_release(&bytes);
        free(own);
    }
    cr_assert_eq(segment_writer_finish(w, &meta, &err), ST_OK, "%s", err.text);
    cr_assert_eq(meta.large_len, written);
    cr_assert_eq(segment_open(t.store, cache, mem_default(), &meta, &s, &err), ST_OK);
    cr_assert_eq(segment_large_extents(s, sum_extent, &listed, &err), ST_OK);
    cr_assert_eq(listed, written);
    cr_assert_eq(segment_check(s, count_fault, &faults, &err), ST_OK);
    cr_assert_eq(faults, 0);
    cr_assert_eq(store_write(t.store, refs[5].extents[0].at + 100, "x", 1, &err), ST_OK);
    cr_assert_eq(segment_check(s, count_fault, &faults, &err), ST_OK);
    cr_assert_eq(faults, 1, "a changed byte of a large value");
    segment_unref(s);
    segment_meta_release(mem_default(), &meta);
    cache_free(cache);
    test_store_close(&t);
}
