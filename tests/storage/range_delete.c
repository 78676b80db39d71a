/* Fragments against a naive answer: for every key, look through all ranges. */
#include "storage/range_delete.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "base/chance.h"
#include "base/varint.h"
#include "support/mem_fail.h"

#define S(text) SLICE_LIT(text)
#define RANGE_MAX 40

/* Keys are one or two letters: few enough that bounds meet. */
static struct slice random_key(struct chance *c, char *room) {
    room[0] = (char) ('a' + chance_below(c, 12));
    room[1] = (char) ('a' + chance_below(c, 3));
    return slice_of(room, 1 + chance_below(c, 2));
}

static uint64_t naive_cover(const struct range_delete *r, size_t n, struct slice key, uint64_t snapshot) {
    uint64_t max = 0;
    for (size_t i = 0; i < n; i++)
        if (slice_compare(r[i].lo, key) <= 0 && slice_compare(key, r[i].hi) < 0 && r[i].seq <= snapshot &&
            r[i].seq > max)
            max = r[i].seq;
    return max;
}

static uint64_t naive_max(const struct range_delete *r, size_t n, struct slice lo, struct slice hi) {
    uint64_t max = 0;
    for (size_t i = 0; i < n; i++)
        if (slice_compare(r[i].lo, hi) < 0 && slice_compare(lo, r[i].hi) < 0 && r[i].seq > max) max = r[i].seq;
    return max;
}

static void check_shape(const struct fragments *f) {
    for (size_t i = 0; i < fragments_count(f); i++) {
        const struct fragment *g = fragments_at(f, i);
        cr_assert_lt(slice_compare(g->lo, g->hi), 0);
        cr_assert_gt(g->seq_count, 0);
        for (uint32_t j = 1; j < g->seq_count; j++) cr_assert_gt(g->seqs[j - 1], g->seqs[j]);
        if (i == 0) continue;
        const struct fragment *b = fragments_at(f, i - 1);
        cr_assert_leq(slice_compare(b->hi, g->lo), 0);
        if (slice_equal(b->hi, g->lo) && b->seq_count == g->seq_count) /* else they would have been joined */
            cr_assert_neq(memcmp(b->seqs, g->seqs, g->seq_count * sizeof(uint64_t)), 0);
    }
}

static void check_against(const struct fragments *f, const struct range_delete *r, size_t n, uint64_t seed) {
    check_shape(f);
    for (int a = 'a' - 1; a <= 'n'; a++) {
        for (int b = 0; b < 4; b++) {
            char room[2] = {(char) a, (char) ('a' + b - 1)};
            struct slice key = slice_of(room, b == 0 ? 1 : 2), from, until;
            for (uint64_t snapshot = 0; snapshot <= 21; snapshot += 3) {
                uint64_t want = naive_cover(r, n, key, snapshot);
                cr_assert_eq(fragments_cover(f, key, snapshot), want, "seed %lu", seed);
                cr_assert_eq(fragments_cover_until(f, key, snapshot, &from, &until), want, "seed %lu", seed);
                cr_assert_leq(slice_compare(from, key), 0);
                cr_assert(until.len == 0 || slice_compare(key, until) < 0);
                if (from.len != 0) cr_assert_eq(naive_cover(r, n, from, snapshot), want, "seed %lu", seed);
            }
        }
    }
}

Test(range_delete, answers_as_a_look_through_all_ranges) {
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct chance c;
        chance_init(&c, seed);
        struct range_delete r[RANGE_MAX];
        char rooms[RANGE_MAX][2][2];
        size_t n = chance_below(&c, RANGE_MAX);
        for (size_t i = 0; i < n; i++) {
            do {
                r[i].lo = random_key(&c, rooms[i][0]);
                r[i].hi = random_key(&c, rooms[i][1]);
            } while (slice_compare(r[i].lo, r[i].hi) >= 0);
            r[i].seq = 1 + chance_below(&c, 20);
        }
        struct mem_fail mf;
        mem_fail_init(&mf, 0);
        struct fragments *f, *g;
        cr_assert_eq(fragments_new(&mf.mem, r, n, &f, NULL), ST_OK);
        check_against(f, r, n, seed);
        for (int i = 0; i < 30; i++) {
            char room[2][2];
            struct slice lo = random_key(&c, room[0]), hi = random_key(&c, room[1]);
            if (slice_compare(lo, hi) < 0)
                cr_assert_eq(fragments_max_seq(f, lo, hi), naive_max(r, n, lo, hi), "seed %lu", seed);
        }
        struct buf buf;
        buf_init(&buf, &mf.mem);
        cr_assert_eq(fragments_encode(f, &buf, NULL), ST_OK);
        cr_assert_eq(fragments_decode(&mf.mem, buf_slice(&buf), &g, NULL), ST_OK);
        cr_assert_eq(fragments_count(f), fragments_count(g));
        check_against(g, r, n, seed);
        fragments_unref(f);
        fragments_unref(g);
        buf_release(&buf);
        cr_assert_eq(mem_fail_live(&mf), 0);
    }
}

Test(range_delete, joins_neighbours_with_equal_sequences) {
    struct range_delete r[] = {{S("a"), S("c"), 7}, {S("c"), S("e"), 7}, {S("e"), S("f"), 8}};
    struct fragments *f;
    cr_assert_eq(fragments_new(mem_default(), r, 3, &f, NULL), ST_OK);
    cr_assert_eq(fragments_count(f), 2);
    cr_assert(slice_equal(fragments_at(f, 0)->hi, S("e")));
    cr_assert_eq(fragments_max_seq(f, S("d"), SLICE_NONE), 8);
    fragments_unref(f);
    cr_assert_eq(fragments_cover(NULL, S("a"), UINT64_MAX), 0);
    cr_assert_eq(fragments_max_seq(NULL, S("a"), S("b")), 0);
}

Test(range_delete, refuses_malformed_bytes) {
    struct range_delete r[] = {{S("a"), S("e"), 9}, {S("c"), S("g"), 4}, {S("x"), S("yy"), UINT64_MAX}};
    struct fragments *f, *g;
    struct buf buf;
    buf_init(&buf, mem_default());
    cr_assert_eq(fragments_new(mem_default(), r, 3, &f, NULL), ST_OK);
    cr_assert_eq(fragments_encode(f, &buf, NULL), ST_OK);
    fragments_unref(f);
    for (size_t len = 0; len < buf.len; len++)
        cr_assert_eq(fragments_decode(mem_default(), slice_of(buf.p, len), &g, NULL), ST_CORRUPT);
    /* Any flipped bit gives either a refusal or something well formed. */
    for (size_t i = 0; i < buf.len * 8; i++) {
        buf.p[i / 8] ^= (uint8_t) (1 << i % 8);
        if (fragments_decode(mem_default(), buf_slice(&buf), &g, NULL) == ST_OK) {
            check_shape(g);
            fragments_unref(g);
        }
        buf.p[i / 8] ^= (uint8_t) (1 << i % 8);
    }
    static const struct {
        const char *bytes;
        size_t len;
    } bad[] = {
        {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10}, /* more fragments than bytes */
        {"\x01\x01"
         "b"
         "\x01"
         "a"
         "\x01\x05",
         7}, /* lo above hi */
        {"\x01\x01"
         "a"
         "\x01"
         "a"
         "\x01\x05",
         7}, /* empty */
        {"\x01\x01"
         "a"
         "\x01"
         "b"
         "\x00",
         6}, /* no sequence */
        {"\x01\x01"
         "a"
         "\x01"
         "b"
         "\x01\x00",
         7}, /* sequence 0 */
        {"\x01\x01"
         "a"
         "\x01"
         "b"
         "\x02\x05\x05",
         8}, /* falls to 0 */
        {"\x01\x01"
         "a"
         "\x01"
         "b"
         "\x01\x05\x00",
         8}, /* a byte too many */
        {"\x02\x01"
         "a"
         "\x01"
         "c"
         "\x01\x05\x01"
         "b"
         "\x01"
         "d"
         "\x01\x05",
         13}, /* overlap */
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_assert_eq(fragments_decode(mem_default(), slice_of(bad[i].bytes, bad[i].len), &g, NULL), ST_CORRUPT,
                     "row %zu", i);
    buf_release(&buf);
}

Test(range_delete, survives_every_failing_allocation) {
    for (uint64_t n = 1;; n++) {
        struct mem_fail mf;
        mem_fail_init(&mf, n);
        struct range_delete r[RANGE_MAX];
        char keys[2 * RANGE_MAX];
        for (size_t i = 0; i < RANGE_MAX; i++) { /* nested: lists grow */
            keys[i] = (char) ('0' + i);
            keys[2 * RANGE_MAX - 1 - i] = (char) ('0' + 2 * RANGE_MAX - i);
            r[i] = (struct range_delete){slice_of(&keys[i], 1), slice_of(&keys[2 * RANGE_MAX - 1 - i], 1), i + 1};
        }
        struct fragments *f = NULL, *g = NULL;
        struct buf buf;
        buf_init(&buf, &mf.mem);
        struct err err = ERR_INIT;
        status st = fragments_new(&mf.mem, r, RANGE_MAX, &f, &err);
        if (st == ST_OK) st = fragments_encode(f, &buf, &err);
        if (st == ST_OK) st = fragments_decode(&mf.mem, buf_slice(&buf), &g, &err);
        cr_assert(st == (mem_fail_hit(&mf) ? ST_NOMEM : ST_OK), "allocation %lu", n);
        cr_assert_eq(err.st, st == ST_OK ? 0 : ST_NOMEM);
        if (st == ST_OK) cr_assert_eq(fragments_at(g, RANGE_MAX - 1)->seq_count, RANGE_MAX);
        fragments_unref(f);
        fragments_unref(g);
        buf_release(&buf);
        cr_assert_eq(mem_fail_live(&mf), 0);
        if (!mem_fail_hit(&mf)) break;
    }
}
