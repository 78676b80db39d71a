/* The properties E1..E5 of index/key.h on random and hostile values. A failing round prints its seed; ELMO_ROUNDS lengthens. */
#include "index/key.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "bson/check.h"
#include "bson/compare.h"
#include "bson/json.h"
#include "support/mem_fail.h"
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
    cr_assert_eq(want, -bval_compare(b->v, a->v), "seed %llu round %llu: not antisymmetric", (unsigned long long) seed,
                 (unsigned long long) round);
    cr_assert_eq(got, descending ? -want : want, "seed %llu round %llu: order %d, keys %d, types %02x %02x",
                 (unsigned long long) seed, (unsigned long long) round, want, got, a->v.type, b->v.type);
    cr_assert_not(is_prefix(&a->key, &b->key) || is_prefix(&b->key, &a->key), "seed %llu round %llu: a prefix",
                  (unsigned long long) seed, (unsigned long long) round);
    if (want == 0)
        cr_assert_eq(bval_hash(a->v, 7), bval_hash(b->v, 7), "seed %llu round %llu: equal values hash apart",
                     (unsigned long long) seed, (unsigned long long) round);
}

static void check_round_trip(struct pair *p, bool descending, struct buf *out, uint64_t seed, uint64_t round) {
    struct err err;
    struct bval back;
    encode(p, descending);
    struct slice key = buf_slice(&p->key), side = buf_slice(&p->side);
    cr_assert_eq(key_field_len(key, descending), key.len);
    while (side.len > 0 && side.p[side.len - 1] == 0 && (round & 1)) side.len--; /* zeros at the end may be cut off */
    buf_clear(out);
    cr_assert_eq(key_decode_field(&key, descending, &side, out, &back, &err), ST_OK, "seed %llu round %llu type %02x",
                 (unsigned long long) seed, (unsigned long long) round, p->v.type);
    cr_assert(bval_identical(p->v, back), "seed %llu round %llu: type %02x came back as %02x",
              (unsigned long long) seed, (unsigned long long) round, p->v.type, back.type);
    cr_assert_eq(key.len, 0);
    cr_assert_eq(side.len, 0);
    key = buf_slice(&p->key);
    buf_clear(out);
    cr_assert_eq(key_decode_field(&key, descending, NULL, out, &back, &err), ST_OK);
    cr_assert_eq(bval_compare(p->v, back), 0, "seed %llu round %llu: without side bits", (unsigned long long) seed,
                 (unsigned long long) round);
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
                cr_assert_eq(bson_check(d.p, d.len, 0, &d, &err), ST_OK, "seed %llu round %llu: %s",
                             (unsigned long long) seed, (unsigned long long) round, err.text);
                buf_release(&doc);
            }
        }
        free(copy);
    }
    pair_release(&a);
    buf_release(&out);
}

/* The format is on disk: these bytes may change only with its version (docs/FORMAT.md, "Keys"). */
static const struct {
    const char *value, *key, *side;
} golden[] = {
    {"MinKey", "08", ""},
    {"null", "10", "00"},
    {"undefined", "10", "02"},
    {"NaN", "20", "00"},
    {"-Infinity", "21", "00"},
    {"-1e300", "2203903786efff14c7", "00"},
    {"NumberLong('-9223372036854775808')", "22783fffffffffffff", "01"},
    {"NumberLong('-9223372036854775807')", "230000000000000001", "00"},
    {"-2147483648", "26feffffffff", "00"},
    {"-1", "2afd", "00"},
    {"-0.5", "2b803fffffffffffff", "00"},
    {"0", "2c", "00"},
    {"0.0", "2c", "02"},
    {"-0.0", "2c", "03"},
    {"NumberDecimal('0')", "2c", "0500000000000000000000000000004030"},
    {"NumberDecimal('1E-6000')", "2d000000000000000100b114", "10"},
    {"NumberDecimal('0.1')",
     "2d7f733333333333331820"
     "14",
     "10"},
    {"0.1", "2d7f73333333333334", "00"},
    {"1", "2e02", "00"},
    {"NumberLong(1)", "2e02", "01"},
    {"1.0", "2e02", "02"},
    {"NumberDecimal('1.00')", "2e02", "12"},
    {"1.5",
     "2e03800000000000"
     "00",
     "00"},
    {"42", "2e54", "00"},
    {"127", "2efe", "00"},
    {"128", "2f0100", "00"},
    {"2147483647", "31fffffffe", "00"},
    {"NumberDecimal('19.99')",
     "2e27fd70a3d70a3d01"
     "1822"
     "27c6",
     "10"},
    {"NumberDecimal('9007199254740992.5')",
     "344000000000000101"
     "1830"
     "b50f27b96d9513b964",
     "10"},
    {"NumberDecimal('9223372036854775807.5')",
     "35ffffffffffffffff"
     "1833"
     "b92f4b2949ab5f97a196",
     "10"},
    {"9223372036854775808.0", "3687c0000000000000", "00"},
    {"Infinity", "37", "00"},
    {"'ab'", "40616200", "00"},
    {"{$symbol: 'ab'}", "40616200", "01"},
    {"'a\\u0000b\\u0001'",
     "40610101620102"
     "00",
     "00"},
    {"{a: 1, b: 'x'}",
     "4803"
     "61002e02"
     "0462004078"
     "0000",
     "0000"},
    {"[1, [], null]", "502e0250001000", "0000"},
    {"BinData(5, 'AQI=')",
     "58010205"
     "0102",
     ""},
    {"ObjectId('507f1f77bcf86cd799439011')", "60507f1f77bcf86cd799439011", ""},
    {"false", "68", ""},
    {"true", "69", ""},
    {"Date(0)", "708000000000000000", ""},
    {"Date(-1)", "707fffffffffffffff", ""},
    {"Timestamp(1, 2)", "780000000100000002", ""},
    {"/a/i", "8061006900", ""},
    {"{$dbPointer: {$ref: 'b', $id: ObjectId('507f1f77bcf86cd799439011')}}", "88010162507f1f77bcf86cd799439011", ""},
    {"{$code: 'f'}", "906600", ""},
    {"{$code: 'f', $scope: {a: 1}}",
     "986600"
     "0361002e02"
     "00",
     "00"},
    {"MaxKey", "f0", ""},
};

static void hex(const struct buf *in, char *text) {
    *text = 0;
    for (size_t i = 0; i < in->len; i++) (void) sprintf(text + 2 * i, "%02x", in->p[i]);
}

Test(key, has_the_bytes_of_its_format) {
    for (size_t i = 0; i < sizeof(golden) / sizeof(golden[0]); i++) {
        struct buf text, doc, key, side;
        char shown[256];
        bool is_array;
        size_t used;
        struct err err;
        buf_init(&text, mem_default());
        buf_init(&doc, mem_default());
        buf_init(&key, mem_default());
        buf_init(&side, mem_default());
        (void) buf_append_format(&text, "{x: %s}", golden[i].value);
        cr_assert_eq(json_parse(buf_slice(&text), JSON_SHELL, &doc, &is_array, &used, &err), ST_OK, "%s: %s",
                     golden[i].value, err.text);
        struct bval v = bdoc_get_str(bdoc_of(doc.p), "x");
        key_append(&key, v, false);
        key_append_side(&side, v);
        hex(&key, shown);
        cr_expect_str_eq(shown, golden[i].key, "%s: key %s", golden[i].value, shown);
        hex(&side, shown);
        cr_expect_str_eq(shown, golden[i].side, "%s: side %s", golden[i].value, shown);
        buf_release(&text);
        buf_release(&doc);
        buf_release(&key);
        buf_release(&side);
    }
}

Test(key, bounds_each_type_in_both_directions) {
    struct chance c;
    uint64_t seed = random_seed(14);
    struct pair a;
    struct buf lo, hi;
    chance_init(&c, seed);
    pair_init(&a);
    buf_init(&lo, mem_default());
    buf_init(&hi, mem_default());
    for (int round = 0; round < 20000; round++) {
        bool descending = round & 1;
        a.v = random_value(&c, &a.doc, 2);
        encode(&a, descending);
        for (int rank = 0; rank < BRANK_COUNT; rank++) {
            buf_clear(&lo);
            buf_clear(&hi);
            if (descending) {
                key_append_rank_hi(&lo, rank, true);
                key_append_rank_lo(&hi, rank, true);
            } else {
                key_append_rank_lo(&lo, rank, false);
                key_append_rank_hi(&hi, rank, false);
            }
            bool inside = slice_compare(buf_slice(&lo), buf_slice(&a.key)) <= 0 &&
                slice_compare(buf_slice(&a.key), buf_slice(&hi)) < 0;
            cr_assert_eq(inside, btype_rank(a.v.type) == rank, "seed %llu round %d rank %d", (unsigned long long) seed,
                         round, rank);
        }
    }
    pair_release(&a);
    buf_release(&lo);
    buf_release(&hi);
}

Test(key, successor_is_above_all_that_start_so) {
    struct buf b;
    buf_init(&b, mem_default());
    (void) buf_append(&b, "a\xff\xff", 3);
    key_successor(&b);
    cr_assert(slice_equal(buf_slice(&b), SLICE_LIT("b")));
    buf_clear(&b);
    (void) buf_append(&b, "\xff\xff", 2);
    key_successor(&b);
    cr_assert_eq(b.len, 0);
    key_append_prefix(&b, 256, 0);
    cr_assert(slice_equal(buf_slice(&b), SLICE_LIT("\2\1\0\0")));
    buf_release(&b);
}

Test(key, shows_in_the_buffer_that_memory_ran_out) {
    struct chance c;
    struct pair a;
    struct err err;
    chance_init(&c, 15);
    pair_init(&a);
    for (int round = 0; round < 200; round++) {
        a.v = random_value(&c, &a.doc, 3);
        encode(&a, false);
        for (uint64_t n = 1;; n++) {
            struct mem_fail mf;
            struct buf key, out;
            struct bval back;
            mem_fail_init(&mf, n);
            buf_init(&key, &mf.mem);
            buf_init(&out, &mf.mem);
            key_append(&key, a.v, false);
            cr_assert(key.failed || slice_equal(buf_slice(&key), buf_slice(&a.key)));
            struct slice k = buf_slice(&a.key), s = buf_slice(&a.side);
            status st = key_decode_field(&k, false, &s, &out, &back, &err);
            cr_assert(st == ST_NOMEM || (st == ST_OK && bval_identical(a.v, back)));
            buf_release(&key);
            buf_release(&out);
            cr_assert_eq(mem_fail_live(&mf), 0);
            if (!mem_fail_hit(&mf)) break;
        }
    }
    pair_release(&a);
}
