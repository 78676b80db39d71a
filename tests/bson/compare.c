/* The order of numbers beside exact arithmetic on large integers, written naively; MongoDB's order of types; hashes. */
#include "bson/compare.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "bson/json.h"
#include "bson/number.h"
#include "support/random_bson.h"

/* A number as sign * digits * 2^two * 10^ten. */
struct exact {
    bool is_negative;
    unsigned __int128 digits;
    int two, ten;
};

/* False for NaN and infinities. */
static bool exact_of(struct bnum n, struct exact *e) {
    *e = (struct exact){0};
    if (n.type == B_INT32 || n.type == B_INT64) {
        int64_t v = n.type == B_INT32 ? n.i32 : n.i64;
        e->is_negative = v < 0;
        e->digits = v < 0 ? 0 - (uint64_t) v : (uint64_t) v;
    } else if (n.type == B_DOUBLE) {
        if (!isfinite(n.d)) return false;
        e->is_negative = n.d < 0;
        e->digits = (uint64_t) ldexp(frexp(fabs(n.d), &e->two), 53);
        e->two -= 53;
    } else {
        struct decimal_parts p = decimal_unpack(n.dec);
        if (p.kind != DECIMAL_FINITE) return false;
        e->is_negative = p.is_negative;
        e->digits = p.coefficient;
        e->ten = p.exponent;
    }
    if (e->digits == 0) e->is_negative = false;
    return true;
}

#define LIMBS 2000
struct large {
    uint32_t limb[LIMBS];
    int n;
};

static void multiply(struct large *x, uint32_t by) {
    uint64_t carry = 0;
    for (int i = 0; i < x->n; i++) {
        carry += (uint64_t) x->limb[i] * by;
        x->limb[i] = (uint32_t) carry;
        carry >>= 32;
    }
    if (carry != 0) x->limb[x->n++] = (uint32_t) carry;
}

/* digits * 2^two * 10^ten, both not negative. */
static void expand(struct large *x, unsigned __int128 digits, int two, int ten) {
    x->n = 0;
    for (; digits != 0; digits >>= 32) x->limb[x->n++] = (uint32_t) digits;
    for (; ten >= 9; ten -= 9) multiply(x, 1000000000);
    for (; ten > 0; ten--) multiply(x, 10);
    for (; two >= 31; two -= 31) multiply(x, 0x80000000u);
    for (; two > 0; two--) multiply(x, 2);
}

static int compare_exact(const struct exact *a, const struct exact *b) {
    static struct large x, y;
    if (a->is_negative != b->is_negative) return a->is_negative ? -1 : 1;
    int two = a->two < b->two ? a->two : b->two, ten = a->ten < b->ten ? a->ten : b->ten, c = 0;
    expand(&x, a->digits, a->two - two, a->ten - ten);
    expand(&y, b->digits, b->two - two, b->ten - ten);
    if (x.n != y.n) c = x.n < y.n ? -1 : 1;
    for (int i = x.n - 1; c == 0 && i >= 0; i--) c = (x.limb[i] > y.limb[i]) - (x.limb[i] < y.limb[i]);
    return a->is_negative ? -c : c;
}

Test(compare, orders_numbers_as_exact_arithmetic_does) {
    uint64_t seed = random_seed(41), rounds = random_rounds(60000), checked = 0, close = 0;
    struct chance c;
    chance_init(&c, seed);
    for (uint64_t round = 0; round < rounds; round++) {
        struct bnum a = random_number(&c), b = random_number(&c);
        struct exact ea, eb;
        if (round % 2 == 0 && a.type == B_DOUBLE && isfinite(a.d)) { /* a decimal as near as 34 digits come */
            char text[64];
            (void) snprintf(text, sizeof(text), "%.33e", a.d);
            b.type = B_DECIMAL;
            if (!decimal_from_text(text, &b.dec)) continue;
            close++;
        }
        if (!exact_of(a, &ea) || !exact_of(b, &eb)) continue;
        /* Exponents thousands apart cost much and teach little. */
        if (abs(ea.ten - eb.ten) > 1200 && round % 50 != 0) continue;
        checked++;
        cr_assert_eq(bnum_compare(a, b), compare_exact(&ea, &eb), "seed %llu round %llu", (unsigned long long) seed,
                     (unsigned long long) round);
        cr_assert_eq(bnum_compare(b, a), -bnum_compare(a, b), "seed %llu round %llu", (unsigned long long) seed,
                     (unsigned long long) round);
    }
    cr_assert_gt(checked, rounds / 3);
    cr_assert_gt(close, rounds / 20);
}

/* Ascending; those on one line (until an empty one) are equal. */
static const char *const order[] = {
    "{x: MinKey}",
    "",
    "{x: null}",
    "{x: undefined}",
    "",
    "{x: NaN}",
    "{x: NumberDecimal('NaN')}",
    "",
    "{x: -Infinity}",
    "{x: NumberDecimal('-Infinity')}",
    "",
    "{x: NumberDecimal('-1E+400')}",
    "",
    "{x: -1.7976931348623157e308}",
    "",
    "{x: NumberLong('-9223372036854775808')}",
    "{x: -9223372036854775808.0}",
    "{x: NumberDecimal('-9223372036854775808')}",
    "",
    "{x: -1}",
    "{x: -1.0}",
    "{x: NumberDecimal('-1.00')}",
    "",
    "{x: -5e-324}",
    "",
    "{x: NumberDecimal('-1E-6000')}",
    "",
    "{x: 0}",
    "{x: -0.0}",
    "{x: NumberDecimal('-0E+10')}",
    "{x: NumberLong(0)}",
    "",
    "{x: NumberDecimal('1E-6000')}",
    "",
    "{x: 5e-324}",
    "",
    "{x: NumberDecimal('0.1')}",
    "",
    "{x: 0.1}",
    "",
    "{x: NumberLong('9007199254740992')}",
    "{x: 9007199254740992.0}",
    "",
    "{x: NumberDecimal('9007199254740992.5')}",
    "",
    "{x: NumberLong('9007199254740993')}",
    "{x: NumberDecimal('9007199254740993.0')}",
    "",
    "{x: NumberLong('9223372036854775807')}",
    "",
    "{x: NumberDecimal('9223372036854775807.5')}",
    "",
    "{x: 9223372036854775808.0}",
    "",
    "{x: NumberDecimal('1E+6144')}",
    "",
    "{x: Infinity}",
    "{x: NumberDecimal('Infinity')}",
    "",
    "{x: ''}",
    "",
    "{x: 'a'}",
    "{x: {$symbol: 'a'}}",
    "",
    "{x: 'a\\u0000'}",
    "",
    "{x: 'b'}",
    "",
    "{x: '\\u00e9'}",
    "",
    "{x: {}}",
    "",
    "{x: {a: 1}}",
    "{x: {a: 1.0}}",
    "",
    "{x: {a: 1, b: 1}}",
    "",
    "{x: {b: 1}}",
    "",
    "{x: {a: 'x'}}",
    "",
    "{x: []}",
    "",
    "{x: [1]}",
    "",
    "{x: [1, 0]}",
    "",
    "{x: [2]}",
    "",
    "{x: ['a']}",
    "",
    "{x: BinData(0, '')}",
    "",
    "{x: BinData(5, 'AA==')}",
    "",
    "{x: BinData(0, 'AAA=')}",
    "",
    "{x: ObjectId('000000000000000000000001')}",
    "",
    "{x: ObjectId('ff0000000000000000000000')}",
    "",
    "{x: false}",
    "",
    "{x: true}",
    "",
    "{x: Date(-5)}",
    "",
    "{x: Date(0)}",
    "",
    "{x: Date(5)}",
    "",
    "{x: Timestamp(0, 1)}",
    "",
    "{x: Timestamp(4294967295, 0)}",
    "",
    "{x: /a/}",
    "",
    "{x: /a/i}",
    "",
    "{x: /b/}",
    "",
    "{x: {$dbPointer: {$ref: 'b', $id: ObjectId('000000000000000000000001')}}}",
    "",
    "{x: {$code: 'f'}}",
    "",
    "{x: {$code: 'e', $scope: {}}}",
    "",
    "{x: {$code: 'e', $scope: {a: 1}}}",
    "",
    "{x: MaxKey}",
    "",
};

Test(compare, has_mongodbs_order_of_types) {
    enum { COUNT = sizeof(order) / sizeof(order[0]) };
    static struct buf docs[COUNT];
    int group[COUNT], groups = 0;
    for (size_t i = 0; i < COUNT; i++) {
        bool is_array;
        size_t used;
        struct err err;
        buf_init(&docs[i], mem_default());
        group[i] = order[i][0] == 0 ? -1 : groups;
        groups += order[i][0] == 0;
        if (group[i] >= 0)
            cr_assert_eq(json_parse(slice_str(order[i]), JSON_SHELL, &docs[i], &is_array, &used, &err), ST_OK, "%s: %s",
                         order[i], err.text);
    }
    for (size_t a = 0; a < COUNT; a++) {
        for (size_t b = 0; b < COUNT; b++) {
            if (group[a] < 0 || group[b] < 0) continue;
            struct bval va = bdoc_get_str(bdoc_of(docs[a].p), "x"), vb = bdoc_get_str(bdoc_of(docs[b].p), "x");
            int want = (group[a] > group[b]) - (group[a] < group[b]);
            cr_assert_eq(bval_compare(va, vb), want, "%s %s", order[a], order[b]);
            if (want == 0) cr_assert_eq(bval_hash(va, 1), bval_hash(vb, 1), "%s %s", order[a], order[b]);
        }
    }
    for (size_t i = 0; i < COUNT; i++) buf_release(&docs[i]);
}

Test(compare, is_transitive) {
    uint64_t seed = random_seed(42), rounds = random_rounds(30000);
    struct chance c;
    struct buf bufs[3];
    chance_init(&c, seed);
    for (int i = 0; i < 3; i++) buf_init(&bufs[i], mem_default());
    for (uint64_t round = 0; round < rounds; round++) {
        struct bval v[3];
        for (int i = 0; i < 3; i++) v[i] = random_value(&c, &bufs[i], 2);
        cr_assert_eq(bval_compare(v[0], v[0]), 0);
        if (bval_compare(v[0], v[1]) <= 0 && bval_compare(v[1], v[2]) <= 0)
            cr_assert_leq(bval_compare(v[0], v[2]), 0, "seed %llu round %llu", (unsigned long long) seed,
                          (unsigned long long) round);
    }
    for (int i = 0; i < 3; i++) buf_release(&bufs[i]);
}
