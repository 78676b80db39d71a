/* Keys of documents: MongoDB's rules for arrays, missing fields and nulls as a table; limits, differences, and running out of memory. */
#include "index/keygen.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "base/codes.h"
#include "bson/compare.h"
#include "bson/json.h"
#include "index/key.h"
#include "support/mem_fail.h"
#include "support/random_bson.h"

static struct bdoc parse(struct buf *buf, const char *text) {
    bool is_array;
    size_t used;
    struct err err;
    buf_clear(buf);
    cr_assert_eq(json_parse(slice_str(text), JSON_SHELL, buf, &is_array, &used, &err), ST_OK, "%s: %s", text, err.text);
    return bdoc_of(buf->p);
}

/* Decoded keys as JSON: [1, "x"] [2, "x"]; what is no value is named: missing, []. */
static void show_keys(const struct index_spec *spec, const struct key_set *set, struct buf *out) {
    struct buf scratch;
    struct err err;
    buf_init(&scratch, mem_default());
    for (uint32_t k = 0; k < set->count; k++) {
        struct slice key = set->keys[k].key, side = set->keys[k].side;
        if (k > 0) (void) buf_append_u8(out, ' ');
        (void) buf_append_u8(out, '(');
        for (uint32_t i = 0; i < spec->field_count; i++) {
            struct bval v;
            buf_clear(&scratch);
            cr_assert_eq(key_decode_field(&key, spec->fields[i].descending, &side, &scratch, &v, &err), ST_OK, "%s",
                         err.text);
            if (i > 0) (void) buf_append(out, ", ", 2);
            if (v.type == B_MISSING) (void) buf_append(out, "missing", 7);
            else json_write_value(v, JSON_RELAXED, 0, out);
        }
        cr_assert_eq(key.len, 0);
        (void) buf_append_u8(out, ')');
    }
    (void) buf_append_u8(out, 0);
    buf_release(&scratch);
}

static const struct {
    const char *spec, *doc;
    const char *want; /* the keys in order, or the error's text */
    int32_t code;
    uint64_t multikey[2];
} rows[] = {
    {"{key: {a: 1}}", "{a: 5}", "(5)", 0, {0}},
    {"{key: {a: 1}}", "{}", "(missing)", 0, {0}},
    {"{key: {a: 1}}", "{a: null}", "(null)", 0, {0}},
    {"{key: {a: 1}}", "{a: undefined}", "({\"$undefined\": true})", 0, {0}},
    {"{key: {a: 1}}", "{a: []}", "([])", 0, {1}},
    {"{key: {a: 1}}", "{a: [3, 1, 2, 1]}", "(1) (2) (3)", 0, {1}},
    {"{key: {a: -1}}", "{a: [3, 1, 2]}", "(3) (2) (1)", 0, {1}},
    {"{key: {a: 1}}", "{a: [1, 1.0, NumberLong(1)]}", "(1)", 0, {1}},
    {"{key: {a: 1}}", "{a: [null, undefined]}", "(null)", 0, {1}},
    /* An array in an array is a value. */
    {"{key: {a: 1}}", "{a: [[1, 2], 3, []]}", "(3) ([]) ([1, 2])", 0, {1}},
    {"{key: {a: 1}}", "{a: {b: [1, 2]}}", "({\"b\": [1, 2]})", 0, {0}},
    {"{key: {'a.b': 1}}", "{a: {b: 4}}", "(4)", 0, {0}},
    {"{key: {'a.b': 1}}", "{a: 4}", "(missing)", 0, {0}},
    {"{key: {'a.b': 1}}", "{a: {b: [4, 5]}}", "(4) (5)", 0, {2}},
    {"{key: {'a.b': 1}}", "{a: [{b: 1}, {b: 2}]}", "(1) (2)", 0, {1}},
    {"{key: {'a.b': 1}}", "{a: [{b: [1, 3]}, {b: [2]}]}", "(1) (2) (3)", 0, {3}},
    {"{key: {'a.b': 1}}", "{a: [{b: 1}, {c: 2}, 7]}", "(missing) (1)", 0, {1}},
    {"{key: {'a.b': 1}}", "{a: [{b: []}, {b: 1}]}", "([]) (1)", 0, {3}},
    {"{key: {'a.b': 1}}", "{a: []}", "(missing)", 0, {1}},
    /* Documents in an array in an array are not entered. */
    {"{key: {'a.b': 1}}", "{a: [[{b: 1}]]}", "(missing)", 0, {1}},
    {"{key: {'a.b.c': 1}}", "{a: [{b: [{c: 1}, {c: 2}]}, {b: {c: 3}}]}", "(1) (2) (3)", 0, {3}},
    /* Positions. */
    {"{key: {'a.0': 1}}", "{a: [7, 8]}", "(7)", 0, {1}},
    {"{key: {'a.0': 1}}", "{a: {'0': 7}}", "(7)", 0, {0}},
    {"{key: {'a.1': 1}}", "{a: [7]}", "(missing)", 0, {1}},
    {"{key: {'a.0': 1}}", "{a: [[1, 2], 3]}", "([1, 2])", 0, {3}},
    {"{key: {'a.0.b': 1}}", "{a: [{b: 1}, {b: 2}]}", "(1)", 0, {1}},
    {"{key: {'a.0.b': 1}}", "{a: [{b: [1, 2]}]}", "(1) (2)", 0, {5}},
    {"{key: {'a.0.b': 1}}", "{a: [5]}", "(missing)", 0, {1}},
    {"{key: {'a.0': 1}}",
     "{a: [{'0': 5}]}",
     "Ambiguous field name found in array (do not use numeric field names in embedded elements in an array), field: "
     "'0'",
     16746,
     {0}},
    {"{key: {'a.5': 1}}", "{a: [{'5': 1}]}", "(1)", 0, {1}},
    /* Compound. */
    {"{key: {a: 1, b: 1}}", "{a: [1, 2], b: 3}", "(1, 3) (2, 3)", 0, {1, 0}},
    {"{key: {a: 1, b: -1}}", "{b: [1, 2]}", "(missing, 2) (missing, 1)", 0, {0, 1}},
    {"{key: {'a.b': 1, 'a.c': 1}}", "{a: [{b: 1, c: 2}, {b: 3}]}", "(1, 2) (3, missing)", 0, {1, 1}},
    {"{key: {a: 1, 'a.b': 1}}", "{a: [{b: 1}, {b: 2}]}", "({\"b\": 1}, 1) ({\"b\": 2}, 2)", 0, {1, 1}},
    {"{key: {a: 1, 'a.b': 1}}", "{a: []}", "([], missing)", 0, {1, 1}},
    {"{key: {a: 1, b: 1}}", "{a: [1], b: [2]}", "cannot index parallel arrays [b] [a]", 171, {0}},
    {"{key: {a: 1, b: 1}}", "{a: [], b: []}", "cannot index parallel arrays [b] [a]", 171, {0}},
    {"{key: {'a.b': 1, 'a.c': 1}}", "{a: [{b: [1], c: [2]}]}", "cannot index parallel arrays [c] [b]", 171, {0}},
    {"{key: {'a.b': 1, 'a.c': 1}}", "{a: [{b: [1, 2], c: 3}]}", "(1, 3) (2, 3)", 0, {3, 1}},
    /* Sparse: no key when all fields are missing; null is there. */
    {"{key: {a: 1}, sparse: true}", "{}", "", 0, {0}},
    {"{key: {a: 1}, sparse: true}", "{a: null}", "(null)", 0, {0}},
    {"{key: {a: 1}, sparse: true}", "{a: []}", "([])", 0, {1}},
    {"{key: {'a.b': 1}, sparse: true}", "{a: []}", "", 0, {1}},
    {"{key: {'a.b': 1}, sparse: true}", "{a: [{b: 1}, {}]}", "(1)", 0, {1}},
    {"{key: {a: 1, b: 1}, sparse: true}", "{b: 1}", "(missing, 1)", 0, {0}},
    {"{key: {a: 1, b: 1}, sparse: true}", "{c: 1}", "", 0, {0}},
};

static void check_row(size_t i) {
    struct arena arena;
    struct buf spec_buf, doc_buf, shown;
    struct index_spec spec;
    struct key_set set;
    struct err err;
    arena_init(&arena, mem_default());
    buf_init(&spec_buf, mem_default());
    buf_init(&doc_buf, mem_default());
    buf_init(&shown, mem_default());
    cr_assert_eq(index_spec_parse(&arena, parse(&spec_buf, rows[i].spec), &spec, &err), ST_OK, "%s: %s", rows[i].spec,
                 err.text);
    status st = keygen(&spec, parse(&doc_buf, rows[i].doc), &arena, &set, &err);
    if (rows[i].code != 0) {
        cr_assert_eq(st, ST_INVALID, "%s %s", rows[i].spec, rows[i].doc);
        cr_assert_eq(err.code, rows[i].code);
        cr_assert_str_eq(err.text, rows[i].want);
    } else {
        cr_assert_eq(st, ST_OK, "%s %s: %s", rows[i].spec, rows[i].doc, err.text);
        show_keys(&spec, &set, &shown);
        cr_assert_str_eq((char *) shown.p, rows[i].want, "%s %s", rows[i].spec, rows[i].doc);
        for (uint32_t f = 0; f < spec.field_count; f++)
            cr_assert_eq(set.multikey[f], rows[i].multikey[f], "%s %s: field %u has %llx", rows[i].spec, rows[i].doc, f,
                         (unsigned long long) set.multikey[f]);
    }
    arena_release(&arena);
    buf_release(&spec_buf);
    buf_release(&doc_buf);
    buf_release(&shown);
}

Test(keygen, follows_mongodbs_rules) {
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) check_row(i);
}

Test(keygen, gives_an_error_when_memory_runs_out) {
    struct buf spec_buf, doc_buf, text;
    struct err err;
    buf_init(&spec_buf, mem_default());
    buf_init(&doc_buf, mem_default());
    buf_init(&text, mem_default());
    (void) buf_append_format(&text, "{b: 'x', a: [");
    for (int i = 0; i < 400; i++) (void) buf_append_format(&text, "{c: '%d and some more text'}, ", i);
    (void) buf_append_format(&text, "]}");
    struct bdoc doc = parse(&doc_buf, (char *) text.p), pattern = parse(&spec_buf, "{key: {'a.c': 1, b: -1}}");
    bool done = false;
    for (uint64_t n = 1; !done; n++) {
        struct mem_fail f;
        struct arena arena;
        struct index_spec spec;
        struct key_set set, none = {.count = 0};
        struct key_diff diff;
        mem_fail_init(&f, n);
        arena_init(&arena, &f.mem);
        status st = index_spec_parse(&arena, pattern, &spec, &err);
        if (st == ST_OK) st = keygen(&spec, doc, &arena, &set, &err);
        if (st == ST_OK) st = key_set_diff(&none, &set, &arena, &diff, &err);
        cr_assert(st == ST_OK || st == ST_NOMEM, "allocation %llu: %s", (unsigned long long) n, err.text);
        done = st == ST_OK;
        if (done) cr_assert(set.count == 400 && diff.add_count == 400 && diff.remove_count == 0);
        arena_release(&arena);
        cr_assert_eq(mem_fail_live(&f), 0, "allocation %llu", (unsigned long long) n);
    }
    buf_release(&spec_buf);
    buf_release(&doc_buf);
    buf_release(&text);
}

Test(keygen, limits_the_keys_of_a_document) {
    struct arena arena;
    struct buf spec_buf, doc_buf;
    struct index_spec spec;
    struct key_set set;
    struct err err;
    struct bbuild b;
    arena_init(&arena, mem_default());
    buf_init(&spec_buf, mem_default());
    buf_init(&doc_buf, mem_default());
    cr_assert_eq(index_spec_parse(&arena, parse(&spec_buf, "{key: {a: 1, b: 1}}"), &spec, &err), ST_OK);
    for (int over = 0; over <= 1; over++) {
        buf_clear(&doc_buf);
        bbuild_begin(&b, &doc_buf);
        struct bbuild array = bbuild_open_array(&b, SLICE_LIT("a"));
        for (int32_t i = 0; i < INDEX_KEYS_PER_DOCUMENT_MAX + over; i++)
            bbuild_push(&array, (struct bval){(uint8_t *) &i, 4, B_INT32});
        bbuild_close(&array);
        status st = keygen(&spec, bbuild_finish(&b), &arena, &set, &err);
        cr_assert_eq(st, over ? ST_INVALID : ST_OK);
        if (over) cr_assert_eq(err.code, CODE_CannotBuildIndexKeys);
    }
    /* Many keys that all carry one large field. */
    buf_clear(&doc_buf);
    bbuild_begin(&b, &doc_buf);
    struct bbuild array = bbuild_open_array(&b, SLICE_LIT("a"));
    for (int32_t i = 0; i < 1000; i++) bbuild_push(&array, (struct bval){(uint8_t *) &i, 4, B_INT32});
    bbuild_close(&array);
    char *large = calloc(1, 6000000);
    bbuild_slice(&b, "b", slice_of(memset(large, 'x', 5999999), 1000000));
    struct bdoc doc = bbuild_finish(&b);
    cr_assert_eq(keygen(&spec, doc, &arena, &set, &err), ST_INVALID);
    cr_assert_eq(err.code, CODE_CannotBuildIndexKeys);
    buf_clear(&doc_buf);
    bbuild_begin(&b, &doc_buf);
    bbuild_slice(&b, "b", slice_of(memset(large, 0, 6000000), 6000000)); /* every byte is escaped */
    cr_assert_eq(keygen(&spec, bbuild_finish(&b), &arena, &set, &err), ST_INVALID);
    cr_assert_eq(err.code, CODE_KeyTooLong);
    free(large);
    arena_release(&arena);
    buf_release(&spec_buf);
    buf_release(&doc_buf);
}

Test(keygen, tells_what_an_update_changes) {
    struct arena arena;
    struct buf spec_buf, doc_buf, shown;
    struct index_spec spec;
    struct key_set before, after;
    struct key_diff diff;
    struct err err;
    arena_init(&arena, mem_default());
    buf_init(&spec_buf, mem_default());
    buf_init(&doc_buf, mem_default());
    buf_init(&shown, mem_default());
    cr_assert_eq(index_spec_parse(&arena, parse(&spec_buf, "{key: {a: 1}}"), &spec, &err), ST_OK);
    cr_assert_eq(keygen(&spec, parse(&doc_buf, "{a: [1, 2, 3, 4]}"), &arena, &before, &err), ST_OK);
    cr_assert_eq(keygen(&spec, parse(&doc_buf, "{a: [2, 3.0, 5]}"), &arena, &after, &err), ST_OK);
    cr_assert_eq(key_set_diff(&before, &after, &arena, &diff, &err), ST_OK);
    struct key_set part = {.keys = diff.remove, .count = diff.remove_count};
    show_keys(&spec, &part, &shown);
    cr_assert_str_eq((char *) shown.p, "(1) (3) (4)");
    buf_clear(&shown);
    part = (struct key_set){.keys = diff.add, .count = diff.add_count};
    show_keys(&spec, &part, &shown);
    cr_assert_str_eq((char *) shown.p, "(3.0) (5)"); /* 3 is now a double */
    arena_release(&arena);
    buf_release(&spec_buf);
    buf_release(&doc_buf);
    buf_release(&shown);
}

/* Any pattern over any document: keys ascend strictly and decode. */
Test(keygen, survives_random_documents) {
    static const char *const names[] = {"a", "b", "a.b", "b.a", "a.0", "a.0.b", "a.b.c", "b.1", "c", "0", "a.a"};
    uint64_t seed = random_seed(31), rounds = random_rounds(20000);
    struct chance c;
    struct arena arena;
    struct buf spec_buf, doc_buf, shown;
    struct err err;
    chance_init(&c, seed);
    arena_init(&arena, mem_default());
    buf_init(&spec_buf, mem_default());
    buf_init(&doc_buf, mem_default());
    buf_init(&shown, mem_default());
    for (uint64_t round = 0; round < rounds; round++) {
        struct bbuild b;
        struct index_spec spec;
        struct key_set set;
        arena_reset(&arena);
        buf_clear(&spec_buf);
        buf_clear(&doc_buf);
        buf_clear(&shown);
        bbuild_begin(&b, &spec_buf);
        struct bbuild key = bbuild_open_doc(&b, SLICE_LIT("key"));
        for (uint64_t i = chance_below(&c, 3), n = i + 1 + chance_below(&c, 3); i < n; i++)
            bbuild_int32(&key, names[i * 3 % 11], i & 1 ? -1 : 1);
        bbuild_close(&key);
        cr_assert_eq(index_spec_parse(&arena, bbuild_finish(&b), &spec, &err), ST_OK, "%s", err.text);
        status st = keygen(&spec, random_doc(&c, &doc_buf, 5, 4), &arena, &set, &err);
        cr_assert(st == ST_OK || err.code == CODE_CannotIndexParallelArrays || err.code == 16746,
                  "seed %llu round %llu: %s", (unsigned long long) seed, (unsigned long long) round, err.text);
        if (st != ST_OK) continue;
        for (uint32_t i = 1; i < set.count; i++) cr_assert_lt(slice_compare(set.keys[i - 1].key, set.keys[i].key), 0);
        show_keys(&spec, &set, &shown);
    }
    arena_release(&arena);
    buf_release(&spec_buf);
    buf_release(&doc_buf);
    buf_release(&shown);
}
