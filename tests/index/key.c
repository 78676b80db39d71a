/* The properties E1..E5 of index/key.h on random and hostile values. A failing round prints its seed; ELMO_ROUNDS lengthens. */
#include "index/key.h"

#include <criterion/criterion.h>

#include "bson/check.h"
#include "bson/compare.h"
#include "support/random_bson.h"

static int sign(int c) { return (c > 0) - (c < 0); }

struct pair {
    struct buf doc, key, side;
    struct bval v;
};

static void pair_init(struct pair *p) {
    buf_init(&p->doc, mem_default());
    buf_init(&p->key, mem_default());
    buf_init(&p->side, mem_default());
}

static void pair_release(struct pair *p) {
    buf_release(&p->doc);
    buf_release(&p->key);
    buf_release(&p->side);
}

static void encode(struct pair *p, bool descending) {
    buf_clear(&p->key);
    buf_clear(&p->side);
    key_append(&p->key, p->v, descending);
    key_append_side(&p->side, p->v);
}

static bool is_prefix(struct buf *a, struct buf *b) { return a->len < b->len && memcmp(a->p, b->p, a->len) == 0; }

static void check_pair(struct pair *a, struct pair *b, bool descending, uint64_t seed, uint64_t round) {
    encode(a, descending);
    encode(b, descending);
    int want = bval_compare(a->v, b->v), got = sign(slice_compare(buf_slice(&a->key), buf_slice(&b->key)));
    cr_assert_eq(want, -bval_compare(b->v, a->v), "seed %llu round %llu: not antisymmetric", (unsigned long long) seed, (unsigned long long) round);
    cr_assert_eq(got, descending ? -want : want, "seed %llu round %llu: order %d, keys %d, types %02x %02x", (unsigned long long) seed,
                 (unsigned long long) round, want, got, a->v.type, b->v.type);
    cr_assert_not(is_prefix(&a->key, &b->key) || is_prefix(&b->key, &a->key), "seed %llu round %llu: a prefix",
                  (unsigned long long) seed, (unsigned long long) round);
    if (want == 0) cr_assert_eq(bval_hash(a->v, 7), bval_hash(b->v, 7), "seed %llu round %llu: equal values hash apart", (unsigned long long) seed, (unsigned long long) round);
}

static void check_round_trip(struct pair *p, bool descending, struct buf *out, uint64_t seed, uint64_t round) {
    struct err err;
    struct bval back;
    encode(p, descending);
    struct slice key = buf_slice(&p->key), side = buf_slice(&p->side);
    cr_assert_eq(key_field_len(key, descending), key.len);
    while (side.len > 0 && side.p[side.len - 1] == 0 && (round & 1)) side.len--; /* zeros at the end may be cut off */
    buf_clear(out);
    cr_assert_eq(key_decode_field(&key, descending, &side, out, &back, &err), ST_OK, "seed %llu round %llu type %02x", (unsigned long long) seed, (unsigned long long) round, p->v.type);
    cr_assert(bval_identical(p->v, back), "seed %llu round %llu: type %02x came back as %02x", (unsigned long long) seed, (unsigned long long) round, p->v.type, back.type);
    cr_assert_eq(key.len, 0);
    cr_assert_eq(side.len, 0);
    key = buf_slice(&p->key);
    buf_clear(out);
    cr_assert_eq(key_decode_field(&key, descending, NULL, out, &back, &err), ST_OK);
    cr_assert_eq(bval_compare(p->v, back), 0, "seed %llu round %llu: without side bits", (unsigned long long) seed, (unsigned long long) round);
}

Test(key, orders_values_as_the_comparison_does) {
    uint64_t seed = random_seed(11), rounds = random_rounds(150000);
    struct chance c;
    chance_init(&c, seed);
    struct pair a, b;
    pair_init(&a);
    pair_init(&b);
    struct buf out;
    buf_init(&out, mem_default());
    for (uint64_t round = 0; round < rounds; round++) {
        a.v = random_value(&c, &a.doc, 3);
        b.v = random_value(&c, &b.doc, 3);
        check_pair(&a, &b, round & 1, seed, round);
        check_round_trip(&a, round & 2, &out, seed, round);
    }
    pair_release(&a);
    pair_release(&b);
    buf_release(&out);
}

static struct bval build_number(struct buf *buf, struct bnum n) {
    struct bbuild b;
    buf_clear(buf);
    bbuild_begin(&b, buf);
    bbuild_number(&b, SLICE_LIT(""), n);
    return bdoc_get_str(bbuild_finish(&b), "");
}

Test(key, orders_numbers_of_all_types_exactly) {
    uint64_t seed = random_seed(12), rounds = random_rounds(400000);
    struct chance c;
    chance_init(&c, seed);
    struct pair a, b;
    pair_init(&a);
    pair_init(&b);
    struct buf out;
    buf_init(&out, mem_default());
    for (uint64_t round = 0; round < rounds; round++) {
        a.v = build_number(&a.doc, random_number(&c));
        b.v = build_number(&b.doc, random_number(&c));
        check_pair(&a, &b, round & 1, seed, round);
        check_round_trip(&a, round & 2, &out, seed, round);
    }
    pair_release(&a);
    pair_release(&b);
    buf_release(&out);
}

/* E5 */
Test(key, decodes_any_bytes_without_harm) {
    uint64_t seed = random_seed(13), rounds = random_rounds(60000);
    struct chance c;
    chance_init(&c, seed);
    struct pair a;
    pair_init(&a);
    struct buf out;
    buf_init(&out, mem_default());
    for (uint64_t round = 0; round < rounds; round++) {
        bool descending = round & 1;
        a.v = random_value(&c, &a.doc, 3);
        encode(&a, descending);
        for (uint64_t n = chance_below(&c, 4); n > 0 && a.key.len > 0; n--)
            a.key.p[chance_below(&c, a.key.len)] = (uint8_t) chance_next(&c);
        size_t len = chance_below(&c, 3) == 0 ? chance_below(&c, a.key.len + 1) : a.key.len;
        uint8_t *copy = malloc(len + 1); /* exact, for ASan; one byte more so that it is never empty */
        memcpy(copy + 1, a.key.p, len);
        struct slice key = slice_of(copy + 1, len), side = buf_slice(&a.side);
        struct err err;
        struct bval v;
        buf_clear(&out);
        size_t field_len = key_field_len(key, descending);
        cr_assert_leq(field_len, len);
        status st = key_decode_field(&key, descending, round & 4 ? &side : NULL, &out, &v, &err);
        cr_assert(st == ST_OK || st == ST_CORRUPT);
        if (st == ST_OK) {
            cr_assert_eq(field_len, len - key.len);
            if (v.type != B_MISSING) {
                struct buf doc;
                struct bbuild b;
                struct bdoc d;
                buf_init(&doc, mem_default());
                bbuild_begin(&b, &doc);
                bbuild_value(&b, SLICE_LIT("x"), v);
                d = bbuild_finish(&b);
                cr_assert_eq(bson_check(d.p, d.len, 0, &d, &err), ST_OK, "seed %llu round %llu: %s", (unsigned long long) seed, (unsigned long long) round, err.text);
                buf_release(&doc);
            }
        }
        free(copy);
    }
    pair_release(&a);
    buf_release(&out);
}
