/* Leaves alone: searching, and payloads that somebody made up. (Reading back is tested through segments.) */
#include "storage/leaf.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "support/segment_run.h"

/* A leaf in memory, of just the bytes it needs, so that a read past its end is noticed. */
static uint8_t *make_leaf(const struct run *r, struct buf *payload, struct block_header *h) {
    struct leaf_builder b;
    uint32_t payload_at;
    leaf_builder_init(&b, mem_default());
    for (size_t i = 0; i < r->count; i++) cr_assert_eq(leaf_builder_add(&b, &r->entries[i], NULL), ST_OK);
    cr_assert_eq(leaf_builder_encode(&b, payload, NULL), ST_OK);
    *h = (struct block_header){BLOCK_LEAF, COMPRESS_NONE, (uint32_t) payload->len, (uint32_t) payload->len, b.count};
    leaf_builder_release(&b);
    uint32_t len = leaf_memory_len(h, &payload_at);
    cr_assert_neq(len, UINT32_MAX);
    uint8_t *memory = aligned_alloc(16, (len + 15) / 16 * 16);
    memcpy(memory + payload_at, payload->p, payload->len);
    return memory;
}

/* Touches everything that a reader may. */
static uint64_t read_leaf(const struct leaf *l, const struct run *r) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < l->count; i++) {
        struct leaf_entry e;
        leaf_read(l, i, &e);
        for (uint32_t k = 0; k < e.suffix_len + e.value_len; k++) sum += e.suffix[k];
        for (uint32_t k = 0; k < LEAF_SLACK_LEN; k++) sum += e.suffix[e.suffix_len + k];
        cr_assert_leq(l->prefix_len + e.suffix_len, l->key_len_max);
    }
    for (size_t i = 0; i < r->count; i++) {
        uint32_t idx = leaf_search(l, r->entries[i].key, r->entries[i].seq);
        struct leaf_entry found;
        if (leaf_get(l, leaf_place(l, r->entries[i].key), r->entries[i].key, r->entries[i].seq, &found))
            sum += found.suffix_len;
        cr_assert_leq(idx, l->count);
        struct leaf_entry e;
        if (idx < l->count) {
            leaf_read(l, idx, &e);
            sum += (uint64_t) leaf_compare_key(l, &e, r->entries[i].key);
        }
    }
    return sum;
}

static const struct run_shape shapes[] = {
    {.name = "ordinary",
     .key_count = 60,
     .key_len_max = 12,
     .prefix_len = 3,
     .value_len_max = 20,
     .version_max = 1,
     .alphabet = 256},
    {.name = "ties in heads",
     .key_count = 80,
     .key_len_max = 24,
     .prefix_len = 0,
     .value_len_max = 3,
     .version_max = 3,
     .alphabet = 1},
    {.name = "two letters",
     .key_count = 80,
     .key_len_max = 30,
     .prefix_len = 1,
     .value_len_max = 3,
     .version_max = 4,
     .alphabet = 2},
};

Test(leaf, searches_as_an_array_does) {
    for (size_t s = 0; s < sizeof(shapes) / sizeof(shapes[0]); s++) {
        struct chance chance;
        struct run r;
        struct buf payload;
        struct block_header h;
        chance_init(&chance, s);
        run_make(&r, &shapes[s], &chance);
        buf_init(&payload, mem_default());
        uint8_t *memory = make_leaf(&r, &payload, &h);
        cr_assert_null(leaf_index(memory, &h));
        const struct leaf *l = (const struct leaf *) (void *) memory;
        cr_assert_eq(l->count, r.count);
        for (int round = 0; round < 20000; round++) {
            const struct entry *e = &r.entries[chance_below(&chance, r.count)];
            uint8_t key[64];
            size_t len = 1 + chance_below(&chance, e->key.len + 1);
            memcpy(key, e->key.p, e->key.len);
            key[e->key.len] = (uint8_t) chance_below(&chance, 3);
            if (chance_below(&chance, 3) == 0) key[chance_below(&chance, len)] ^= 1;
            uint64_t seq = chance_below(&chance, 2) == 0 ? e->seq : e->seq - 1 + chance_below(&chance, 3);
            size_t want = run_search(&r, slice_of(key, len), seq);
            cr_assert_eq(leaf_search(l, slice_of(key, len), seq), want, "%s", shapes[s].name);
            struct leaf_entry found;
            bool is_there = want < r.count && slice_equal(r.entries[want].key, slice_of(key, len));
            uint32_t place = leaf_place(l, slice_of(key, len));
            cr_assert_eq(leaf_get(l, place, slice_of(key, len), seq, &found), is_there, "%s", shapes[s].name);
            if (is_there) cr_assert_eq(found.seq, r.entries[want].seq);
        }
        buf_release(&payload);
        free(memory);
        run_release(&r);
    }
}

Test(leaf, knows_whether_its_entries_count_one_by_one) {
    size_t plain = 0, others = 0;
    for (uint64_t round = 0; round < 600; round++) {
        struct chance chance;
        struct run r;
        struct buf payload;
        struct block_header h;
        struct run_shape shape = shapes[round % 3];
        shape.key_count = 3;
        shape.version_max = 1 + (uint32_t) (round % 2);
        chance_init(&chance, round);
        run_make(&r, &shape, &chance);
        buf_init(&payload, mem_default());
        uint8_t *memory = make_leaf(&r, &payload, &h);
        cr_assert_null(leaf_index(memory, &h));
        const struct leaf *l = (const struct leaf *) (void *) memory;
        bool want = true;
        uint64_t max_seq = 0;
        for (size_t i = 0; i < r.count; i++) {
            const struct entry *e = &r.entries[i];
            if (e->kind != ENTRY_PUT && e->kind != ENTRY_LARGE) want = false;
            if (i > 0 && slice_equal(e->key, r.entries[i - 1].key)) want = false;
            if (e->seq > max_seq) max_seq = e->seq;
        }
        cr_assert_eq(l->is_plain, want, "round %llu", (unsigned long long) round);
        cr_assert_eq(l->max_seq, max_seq);
        if (want) plain++;
        else others++;
        buf_release(&payload);
        free(memory);
        run_release(&r);
    }
    cr_assert_gt(plain, 20);
    cr_assert_gt(others, 20);
}

Test(leaf, refuses_or_bears_any_payload) {
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
        uint8_t *memory = make_leaf(&r, &payload, &h);
        (void) leaf_memory_len(&h, &payload_at);
        for (uint64_t n = 1 + chance_below(&chance, 3); n > 0; n--) {
            uint64_t at = chance_below(&chance, 2) == 0 ? chance_below(&chance, payload.len)
                                                        : chance_below(&chance, payload.len < 12 ? payload.len : 12);
            memory[payload_at + at] = chance_below(&chance, 2) == 0 ? (uint8_t) chance_next(&chance) : 0xff;
        }
        if (leaf_index(memory, &h) == NULL) {
            (void) read_leaf((const struct leaf *) (void *) memory, &r);
            passed++;
        } else {
            refused++;
        }
        buf_release(&payload);
        free(memory);
        run_release(&r);
    }
    cr_assert_gt(passed, 100, "the mutations were too coarse to test anything");
    cr_assert_gt(refused, 100);
}

Test(leaf, refuses_an_impossible_number_of_entries) {
    uint32_t at;
    struct block_header h = {.type = BLOCK_LEAF, .raw_len = 100, .stored_len = 100, .item_count = 0};
    cr_assert_eq(leaf_memory_len(&h, &at), UINT32_MAX);
    h.item_count = 51;
    cr_assert_eq(leaf_memory_len(&h, &at), UINT32_MAX);
    h.item_count = UINT32_MAX;
    h.raw_len = BLOCK_PAYLOAD_LEN_MAX;
    cr_assert_eq(leaf_memory_len(&h, &at), UINT32_MAX);
}
