#include <criterion/criterion.h>
#include <stdlib.h>

#include "base/varint.h"
#include "index/text/postings.h"
#include "support/random_bson.h"
#include "support/text_ease.h"

static void random_postings(struct chance *chance, struct posting *out, uint32_t n) {
    uint64_t number = 1 + chance_below(chance, 3) * chance_below(chance, UINT64_C(1) << 40);
    uint64_t step = chance_below(chance, 4) == 0 ? UINT64_C(1) << 45 : chance_below(chance, 2) ? 1 : 300;
    uint64_t scores = 1 + chance_below(chance, chance_below(chance, 2) ? 10 : 100000);
    for (uint32_t i = 0; i < n; i++) {
        out[i] = (struct posting){number, 0.5 + (double) chance_below(chance, scores) / 7};
        number += 1 + chance_below(chance, step);
    }
}

Test(text_postings, blocks_come_back_as_they_were) {
    uint64_t seed = random_seed(1);
    struct chance chance;
    struct posting in[600], out[600];
    struct buf bytes;
    buf_init(&bytes, mem_default());
    chance_init(&chance, seed);
    for (int round = 0; round < 3000; round++) {
        uint32_t n = 1 + (uint32_t) chance_below(&chance, round % 3 == 0 ? 4 : 600);
        struct block_head head;
        random_postings(&chance, in, n);
        buf_clear(&bytes);
        cr_assert_eq(block_encode(in, n, &bytes, NULL), ST_OK);
        cr_assert_eq(block_read_head(buf_slice(&bytes), in[0].number, &head, NULL), ST_OK);
        cr_assert_eq(head.count, n);
        cr_assert_eq(head.first, in[0].number);
        cr_assert_eq(head.last, in[n - 1].number);
        cr_assert_eq(block_decode(&head, out, NULL), ST_OK);
        double best = 0;
        for (uint32_t i = 0; i < n; i++) {
            cr_assert(out[i].number == in[i].number && out[i].score == in[i].score, "seed %llu round %d",
                      (unsigned long long) seed, round);
            if (in[i].score > best) best = in[i].score;
        }
        cr_assert_eq(head.score_max, best);
    }
    buf_release(&bytes);
}

static void expect_bytes(const struct posting *p, uint32_t n, const char *hex) {
    struct buf bytes, text;
    buf_init(&bytes, mem_default());
    buf_init(&text, mem_default());
    cr_assert_eq(block_encode(p, n, &bytes, NULL), ST_OK);
    for (size_t i = 0; i < bytes.len; i++) (void) buf_append_format(&text, "%02x", bytes.p[i]);
    (void) buf_append_u8(&text, 0);
    cr_expect_str_eq((const char *) text.p, hex);
    buf_release(&bytes);
    buf_release(&text);
}

/* docs/FORMAT.md */
Test(text_postings, blocks_have_the_bytes_of_the_format) {
    struct posting p[12];
    for (uint32_t i = 0; i < 12; i++) p[i] = (struct posting){5 + i * 200, i % 2 ? 1.5 : 0.75};
    expect_bytes(p, 1,
                 "02"
                 "000000000000e83f");
    expect_bytes(p, 2,
                 "01"
                 "02"
                 "c801"
                 "000000000000f83f"
                 "c801"
                 "00"
                 "000000000000e83f"
                 "000000000000f83f");
    expect_bytes(p, 4,
                 "01"
                 "04"
                 "d804"
                 "000000000000f83f"
                 "c801c801c801"
                 "02"
                 "000000000000e83f"
                 "000000000000f83f"
                 "00010001");
}

Test(text_postings, hostile_bytes_are_refused_or_decoded_within_bounds) {
    uint64_t seed = random_seed(2);
    struct chance chance;
    struct posting in[300];
    struct buf bytes;
    size_t refused = 0;
    buf_init(&bytes, mem_default());
    chance_init(&chance, seed);
    for (uint64_t round = 0; round < random_rounds(20000); round++) {
        uint32_t n = 1 + (uint32_t) chance_below(&chance, round % 2 ? 5 : 300);
        struct block_head head;
        random_postings(&chance, in, n);
        buf_clear(&bytes);
        cr_assert_eq(block_encode(in, n, &bytes, NULL), ST_OK);
        size_t len = chance_below(&chance, 3) == 0 ? chance_below(&chance, bytes.len + 1) : bytes.len;
        uint8_t *exact = malloc(len != 0 ? len : 1);
        memcpy(exact, bytes.p, len);
        for (uint64_t k = chance_below(&chance, 4); k > 0 && len > 0; k--)
            exact[chance_below(&chance, len < 20 || chance_below(&chance, 2) ? len : 20)] =
                (uint8_t) chance_next(&chance);
        uint64_t first = chance_below(&chance, 3) == 0 ? UINT64_MAX - chance_below(&chance, 1000) - 1 : in[0].number;
        if (block_read_head(slice_of(exact, len), first, &head, NULL) == ST_OK) {
            cr_assert_leq(head.count, len);
            cr_assert_geq(head.last, head.first);
            struct posting *out = malloc(head.count * sizeof(*out));
            status st = block_decode(&head, out, NULL);
            cr_assert(st == ST_OK || st == ST_CORRUPT);
            if (st == ST_OK) {
                for (uint32_t i = 0; i < head.count; i++) {
                    cr_assert(out[i].number >= head.first && out[i].number <= head.last &&
                              out[i].score <= head.score_max && out[i].score >= 0);
                    if (i > 0) cr_assert_gt(out[i].number, out[i - 1].number);
                }
            }
            refused += st != ST_OK;
            free(out);
        } else {
            refused++;
        }
        free(exact);
    }
    cr_assert_gt(refused, 1000);
    buf_release(&bytes);
}

Test(text_postings, keys_are_read_back_and_bad_ones_refused) {
    struct text_ease t;
    struct buf key;
    struct slice term;
    uint64_t number = 0;
    text_ease_open(&t, NULL, "{key: {body: 'text'}}");
    buf_init(&key, mem_default());
    text_key_posting(&t.ix, &key, SLICE_LIT("apfel"), 70000);
    cr_assert_eq(text_key_read_posting(&t.ix, buf_slice(&key), &term, &number, NULL), ST_OK);
    cr_assert(slice_equal(term, SLICE_LIT("apfel")) && number == 70000);
    for (size_t len = 0; len < key.len; len++)
        cr_assert_eq(text_key_read_posting(&t.ix, slice_of(key.p, len), &term, &number, NULL), ST_CORRUPT);
    (void) buf_append_u8(&key, 0);
    cr_assert_eq(text_key_read_posting(&t.ix, buf_slice(&key), &term, &number, NULL), ST_CORRUPT);
    text_key_number(&t.ix, &key, TEXT_MARK, UINT64_MAX);
    cr_assert_eq(text_key_read_number(buf_slice(&key), key.len - 9, &number, NULL), ST_CORRUPT);
    text_key_number(&t.ix, &key, TEXT_MARK, 0);
    cr_assert_eq(text_key_read_number(buf_slice(&key), key.len - 1, &number, NULL), ST_CORRUPT);
    buf_release(&key);
    arena_release(&t.arena);
}
