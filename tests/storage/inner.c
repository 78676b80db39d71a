/* Inner blocks alone: separators, routing, and payloads that somebody made up. */
#include "storage/inner.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "support/segment_run.h"

#define OWN_AT 1000000

static const struct run_shape shapes[] = {
    {.name = "ordinary",
     .key_count = 50,
     .key_len_max = 12,
     .prefix_len = 3,
     .value_len_max = 0,
     .version_max = 1,
     .alphabet = 256},
    {.name = "ties in heads",
     .key_count = 60,
     .key_len_max = 24,
     .prefix_len = 0,
     .value_len_max = 0,
     .version_max = 3,
     .alphabet = 1},
    {.name = "versions",
     .key_count = 12,
     .key_len_max = 3,
     .prefix_len = 1,
     .value_len_max = 0,
     .version_max = 20,
     .alphabet = 2},
};

/* A block whose children hold one entry each. */
static uint8_t *make_inner(const struct run *r, struct buf *payload, struct block_header *h) {
    struct inner_builder b;
    uint32_t payload_at;
    inner_builder_init(&b, mem_default());
    for (size_t i = 0; i < r->count; i++) {
        const struct entry *before = &r->entries[i - (i > 0)], *e = &r->entries[i];
        struct separator sep = {SLICE_NONE, SEQ_MAX};
        struct block_ref ref = {i * 100, 90, i};
        if (i > 0) sep = separator_between(before->key, before->seq, e->key);
        cr_assert_eq(inner_builder_add(&b, &sep, &ref, 1, e->key.len, NULL), ST_OK);
    }
    cr_assert_eq(inner_builder_encode(&b, payload, NULL), ST_OK);
    *h = (struct block_header){BLOCK_INNER, COMPRESS_NONE, (uint32_t) payload->len, (uint32_t) payload->len, b.count};
    inner_builder_release(&b);
    uint32_t len = inner_memory_len(h, &payload_at);
    cr_assert_neq(len, UINT32_MAX);
    uint8_t *memory = aligned_alloc(16, (len + 15) / 16 * 16);
    memcpy(memory + payload_at, payload->p, payload->len);
    return memory;
}

Test(inner, separators_stand_between_their_neighbours) {
    struct chance chance;
    struct run r;
    for (size_t s = 0; s < 3; s++) {
        chance_init(&chance, s);
        run_make(&r, &shapes[s], &chance);
        for (size_t i = 1; i < r.count; i++) {
            const struct entry *a = &r.entries[i - 1], *b = &r.entries[i];
            struct separator sep = separator_between(a->key, a->seq, b->key);
            cr_assert_lt(entry_compare(a->key, a->seq, sep.key, sep.seq), 0);
            cr_assert_leq(entry_compare(sep.key, sep.seq, b->key, b->seq), 0);
            cr_assert_leq(sep.key.len, b->key.len);
        }
        run_release(&r);
    }
}

Test(inner, leads_every_version_to_the_leaf_that_holds_it) {
    struct chance chance;
    for (size_t s = 0; s < 3; s++) {
        struct run r;
        struct buf payload;
        struct block_header h;
        chance_init(&chance, s);
        run_make(&r, &shapes[s], &chance);
        buf_init(&payload, mem_default());
        uint8_t *memory = make_inner(&r, &payload, &h);
        cr_assert_null(inner_index(memory, &h, OWN_AT));
        const struct inner *n = (const struct inner *) (void *) memory;
        for (size_t i = 0; i < r.count; i++) {
            const struct entry *e = &r.entries[i];
            cr_assert_eq(inner_search(n, e->key, e->seq), i, "%s", shapes[s].name);
            for (uint32_t from = 0; from <= i; from++) cr_assert_eq(inner_search_from(n, from, e->key, e->seq), i);
            cr_assert_eq(inner_entries(n, (uint32_t) i), 1);
            cr_assert_eq(inner_bytes(n, (uint32_t) i), e->key.len);
            cr_assert_eq(inner_ref(n, (uint32_t) i).checksum, i);
            /* what a get looks for: any snapshot from this version up to the next newer one */
            bool has_newer = i > 0 && slice_equal(r.entries[i - 1].key, e->key);
            uint64_t snapshot = has_newer ? r.entries[i - 1].seq - 1 : SEQ_MAX;
            cr_assert_eq(inner_search(n, e->key, snapshot), i, "%s: a get would read the wrong leaf", shapes[s].name);
        }
        buf_release(&payload);
        free(memory);
        run_release(&r);
    }
}

Test(inner, refuses_or_bears_any_payload) {
    size_t passed = 0, refused = 0;
    for (int round = 0; round < 40000; round++) {
        struct chance chance;
        struct run r;
        struct buf payload;
        struct block_header h;
        uint32_t payload_at;
        struct run_shape shape = shapes[round % 3];
        shape.key_count = 4;
        chance_init(&chance, 1000 + (uint64_t) round);
        run_make(&r, &shape, &chance);
        buf_init(&payload, mem_default());
        uint8_t *memory = make_inner(&r, &payload, &h);
        (void) inner_memory_len(&h, &payload_at);
        for (uint64_t n = 1 + chance_below(&chance, 2); n > 0; n--) {
            memory[payload_at + chance_below(&chance, payload.len)] =
                chance_below(&chance, 3) == 0 ? 0xff : (uint8_t) chance_next(&chance);
        }
        if (inner_index(memory, &h, OWN_AT) == NULL) {
            const struct inner *n = (const struct inner *) (void *) memory;
            uint64_t end = 0, seq;
            for (uint32_t i = 0; i < n->count; i++) {
                struct block_ref ref = inner_ref(n, i);
                cr_assert_geq(ref.at, end, "children overlap");
                end = ref.at + ref.len;
                cr_assert_leq(end, OWN_AT, "a child behind its parent");
                if (i > 0) {
                    struct slice sep = inner_separator(n, i, &seq);
                    for (size_t k = 0; k < sep.len; k++) end += sep.p[k] & 0;
                }
            }
            for (size_t i = 0; i < r.count; i++)
                cr_assert_lt(inner_search(n, r.entries[i].key, r.entries[i].seq), n->count);
            passed++;
        } else {
            refused++;
        }
        buf_release(&payload);
        free(memory);
        run_release(&r);
    }
    cr_assert_gt(passed, 100);
    cr_assert_gt(refused, 100);
}
