/* Index specifications: what is accepted and in which normal form, and what is refused with which code and text. */
#include "index/spec.h"

#include <criterion/criterion.h>

#include "base/codes.h"
#include "bson/compare.h"
#include "bson/json.h"

static struct bdoc parse(struct buf *buf, const char *text) {
    bool is_array;
    size_t used;
    struct err err;
    buf_clear(buf);
    cr_assert_eq(json_parse(slice_str(text), JSON_SHELL, buf, &is_array, &used, &err), ST_OK, "%s: %s", text, err.text);
    return bdoc_of(buf->p);
}

static const struct {
    const char *spec, *want;
} accepted[] = {
    {"{key: {a: 1}}", "{\"v\": 2, \"key\": {\"a\": 1}, \"name\": \"a_1\"}"},
    {"{key: {a: 1, 'b.c': -1}, name: 'x', v: 1}", "{\"v\": 1, \"key\": {\"a\": 1, \"b.c\": -1}, \"name\": \"x\"}"},
    {"{key: {a: 1.0, b: -2.5}}", "{\"v\": 2, \"key\": {\"a\": 1.0, \"b\": -2.5}, \"name\": \"a_1_b_-2.5\"}"},
    {"{key: {a: 1}, unique: true, sparse: 1, background: true, hidden: false, ns: 'db.c'}",
     "{\"v\": 2, \"key\": {\"a\": 1}, \"name\": \"a_1\", \"unique\": true, \"sparse\": true}"},
    {"{key: {a: 1}, unique: false, collation: {locale: 'simple'}}",
     "{\"v\": 2, \"key\": {\"a\": 1}, \"name\": \"a_1\"}"},
    {"{key: {_id: 1}, name: 'whatever'}", "{\"v\": 2, \"key\": {\"_id\": 1}, \"name\": \"_id_\"}"},
    {"{key: {_id: 1, a: 1}}", "{\"v\": 2, \"key\": {\"_id\": 1, \"a\": 1}, \"name\": \"_id_1_a_1\"}"},
    {"{key: {'a.$id': 1}}", "{\"v\": 2, \"key\": {\"a.$id\": 1}, \"name\": \"a.$id_1\"}"},
    {"{key: {title: 'text', body: 'text'}, weights: {title: 10}}",
     "{\"v\": 2, \"key\": {\"_fts\": \"text\", \"_ftsx\": 1}, \"name\": \"title_text_body_text\", \"weights\": "
     "{\"body\": 1, \"title\": 10}, "
     "\"default_language\": \"english\", \"language_override\": \"language\", \"textIndexVersion\": 3}"},
    {"{key: {'$**': 'text'}, default_language: 'none', language_override: 'idioma'}",
     "{\"v\": 2, \"key\": {\"_fts\": \"text\", \"_ftsx\": 1}, \"name\": \"$**_text\", \"weights\": {\"$**\": 1}, "
     "\"default_language\": \"none\", \"language_override\": \"idioma\", \"textIndexVersion\": 3}"},
};

static void check_accepted(size_t i) {
    struct arena arena;
    struct buf buf, text;
    struct index_spec spec, again;
    struct err err;
    arena_init(&arena, mem_default());
    buf_init(&buf, mem_default());
    buf_init(&text, mem_default());
    cr_assert_eq(index_spec_parse(&arena, parse(&buf, accepted[i].spec), &spec, &err), ST_OK, "%s: %s",
                 accepted[i].spec, err.text);
    buf_clear(&buf); /* nothing is borrowed from what was parsed */
    json_write(spec.document, false, JSON_RELAXED, 0, &text);
    (void) buf_append_u8(&text, 0);
    cr_assert_str_eq((char *) text.p, accepted[i].want);
    /* The normal form is its own normal form. */
    cr_assert_eq(index_spec_parse(&arena, spec.document, &again, &err), ST_OK, "%s: %s", accepted[i].want, err.text);
    cr_assert(index_spec_same(&spec, &again));
    cr_assert_eq(bdoc_compare(spec.document, again.document), 0, "%s", accepted[i].want);
    arena_release(&arena);
    buf_release(&buf);
    buf_release(&text);
}

Test(spec, gives_the_normal_form) {
    for (size_t i = 0; i < sizeof(accepted) / sizeof(accepted[0]); i++) check_accepted(i);
}

static const struct {
    const char *spec;
    int32_t code;
    const char *text;
} refused[] = {
    {"{}", 9, "The 'key' field is a required property of an index specification"},
    {"{key: 5}", 14, "The field 'key' must be an object, but got int"},
    {"{key: {}}", 67, "Index keys cannot be empty."},
    {"{key: {a: 0}}", 67, "Values in the index key pattern cannot be 0."},
    {"{key: {a: NaN}}", 67, "Values in the index key pattern cannot be NaN."},
    {"{key: {a: true}}", 67,
     "Values in v:2 index key pattern cannot be of type bool. Only numbers > 0, numbers < 0, and strings are allowed."},
    {"{key: {a: 1, a: 1}}", 2, "The field 'a' appears multiple times in the index key pattern"},
    {"{key: {'': 1}}", 67, "Index keys cannot be an empty field."},
    {"{key: {'a..b': 1}}", 67, "Index keys cannot contain an empty field."},
    {"{key: {'a.': 1}}", 67, "Index keys cannot contain an empty field."},
    {"{key: {'$a': 1}}", 67, "Index key contains an illegal field name: field name starts with '$': '$a'"},
    {"{key: {a: 'foo'}}", 67, "Unknown index plugin 'foo'"},
    {"{key: {a: 'hashed'}}", 67, "Indexes of kind 'hashed' are not supported yet"},
    {"{key: {a: '2dsphere'}}", 67, "Indexes of kind '2dsphere' are not supported yet"},
    {"{key: {'$**': 1}}", 67, "Wildcard indexes are not supported yet"},
    {"{key: {'a.$**': 1}}", 67, "Wildcard indexes are not supported yet"},
    {"{key: {a: 'text', b: 1}}", 67, "A compound index of text and other fields is not supported yet"},
    {"{key: {a: 'text'}, unique: true}", 67, "Index type 'text' does not support the unique option"},
    {"{key: {a: 'text'}, weights: {a: 100000}}", 67,
     "text index weight must be in the exclusive interval (0,100000) but the weight of 'a' is not"},
    {"{key: {a: 'text'}, default_language: 'klingon'}", 67, "default_language is not valid: 'klingon'"},
    {"{key: {a: 'text'}, language_override: '$x'}", 67, "language_override is not valid"},
    {"{key: {a: 1}, weights: {a: 1}}", 197,
     "The fields 'weights', 'default_language' and 'language_override' are valid for a text index only"},
    {"{key: {a: 1}, unique: 'yes'}", 14,
     "The field 'unique' has a value of type string, which is not convertible to bool"},
    {"{key: {a: 1}, name: 5}", 14, "The field 'name' must be a string, but got int"},
    {"{key: {a: 1}, name: ''}", 67, "The index name cannot be empty"},
    {"{key: {a: 1}, v: 3}", 67,
     "Invalid index specification; cannot create an index with v=3, only 1 and 2 are possible"},
    {"{key: {a: 1}, expireAfterSeconds: 5}", 67, "The index option 'expireAfterSeconds' is not supported yet"},
    {"{key: {a: 1}, partialFilterExpression: {}}", 67,
     "The index option 'partialFilterExpression' is not supported yet"},
    {"{key: {a: 1}, hidden: true}", 67, "The index option 'hidden' is not supported yet"},
    {"{key: {a: 1}, collation: {locale: 'de'}}", 67,
     "Index collations other than {locale: \"simple\"} are not supported yet"},
    {"{key: {a: 1}, uniqe: true}", 197, "The field 'uniqe' is not valid for an index specification"},
    {"{key: {_id: -1}}", 2, "The field 'key' for an _id index must be {_id: 1}, but got {_id: -1}"},
    {"{key: {_id: 1}, sparse: true}", 197, "The field 'sparse' is not valid for an _id index specification"},
    {"{key: {a: 1}, name: '_id_'}", 2,
     "The index name '_id_' is reserved for the _id index, which must have key pattern {_id: 1}"},
};

Test(spec, refuses_with_mongodbs_codes) {
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        struct arena arena;
        struct buf buf;
        struct index_spec spec;
        struct err err;
        arena_init(&arena, mem_default());
        buf_init(&buf, mem_default());
        status st = index_spec_parse(&arena, parse(&buf, refused[i].spec), &spec, &err);
        cr_assert(st == ST_INVALID || st == ST_UNSUPPORTED, "%s", refused[i].spec);
        cr_assert_str_eq(err.text, refused[i].text, "%s", refused[i].spec);
        cr_assert_eq(err.code, refused[i].code, "%s: %d", refused[i].spec, err.code);
        arena_release(&arena);
        buf_release(&buf);
    }
}

Test(spec, limits_the_number_of_fields) {
    for (int n = INDEX_FIELDS_MAX; n <= INDEX_FIELDS_MAX + 1; n++) {
        struct arena arena;
        struct buf buf, text;
        struct index_spec spec;
        struct err err;
        arena_init(&arena, mem_default());
        buf_init(&buf, mem_default());
        buf_init(&text, mem_default());
        (void) buf_append_format(&text, "{key: {");
        for (int i = 0; i < n; i++) (void) buf_append_format(&text, "f%d: 1,", i);
        (void) buf_append_format(&text, "}}");
        (void) buf_append_u8(&text, 0);
        cr_assert_eq(index_spec_parse(&arena, parse(&buf, (char *) text.p), &spec, &err),
                     n <= INDEX_FIELDS_MAX ? ST_OK : ST_INVALID);
        arena_release(&arena);
        buf_release(&buf);
        buf_release(&text);
    }
}

Test(spec, is_the_same_but_for_its_name) {
    static const struct {
        const char *a, *b;
        bool same;
    } pairs[] = {
        {"{key: {a: 1}}", "{key: {a: 1.0}, name: 'x', v: 1}", true},
        {"{key: {a: 1}}", "{key: {a: -1}}", false},
        {"{key: {a: 1, b: 1}}", "{key: {b: 1, a: 1}}", false},
        {"{key: {a: 1}}", "{key: {a: 1}, unique: true}", false},
        {"{key: {a: 1}}", "{key: {a: 1}, sparse: true}", false},
        {"{key: {a: 'text'}}", "{key: {a: 'text'}, weights: {a: 1}}", true},
        {"{key: {a: 'text'}}", "{key: {a: 'text'}, weights: {a: 2}}", false},
        {"{key: {a: 'text'}}", "{key: {'$**': 'text'}}", false},
    };
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        struct arena arena;
        struct buf buf;
        struct index_spec a, b;
        struct err err;
        arena_init(&arena, mem_default());
        buf_init(&buf, mem_default());
        cr_assert_eq(index_spec_parse(&arena, parse(&buf, pairs[i].a), &a, &err), ST_OK);
        cr_assert_eq(index_spec_parse(&arena, parse(&buf, pairs[i].b), &b, &err), ST_OK);
        cr_assert_eq(index_spec_same(&a, &b), pairs[i].same, "%s %s", pairs[i].a, pairs[i].b);
        arena_release(&arena);
        buf_release(&buf);
    }
}
