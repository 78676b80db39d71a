/* JSON: the round trip with libbson's reader and writer as the oracle, tables of what people type, and of what is refused and how. */
#include "bson/json.h"

#include <bson/bson.h>
#include <criterion/criterion.h>
#include <stdlib.h>

#include "base/codes.h"
#include "bson/check.h"
#include "bson/compare.h"
#include "support/random_bson.h"

static bool has_type(struct bdoc d, uint8_t type) {
    struct biter it = biter_of(d);
    struct belem e;
    while (biter_next(&it, &e)) {
        if (e.value.type == type) return true;
        if (e.value.type == B_CODE_SCOPE && has_type(bval_code_scope(e.value), type)) return true;
        if ((e.value.type == B_DOCUMENT || e.value.type == B_ARRAY) && has_type(bval_doc(e.value), type)) return true;
    }
    return false;
}

static bool same_bytes(struct bdoc d, const struct buf *out) {
    return d.len == out->len && memcmp(d.p, out->p, d.len) == 0;
}

/* Bits of a NaN and forms of a decimal that are not canonical do not survive as text: documents with them are compared by order. */
static bool same_value(struct bdoc d, const struct buf *out) {
    struct bdoc back;
    struct err err;
    return bson_check(out->p, out->len, BSON_CHECK_UTF8, &back, &err) == ST_OK && bdoc_compare(d, back) == 0;
}

Test(json, comes_back_as_it_was_written) {
    uint64_t seed = random_seed(21), rounds = random_rounds(4000);
    struct chance c;
    struct buf doc, text, back;
    chance_init(&c, seed);
    buf_init(&doc, mem_default());
    buf_init(&text, mem_default());
    buf_init(&back, mem_default());
    for (uint64_t round = 0; round < rounds; round++) {
        bool is_array;
        size_t used;
        struct err err;
        buf_clear(&doc);
        buf_clear(&text);
        buf_clear(&back);
        struct bdoc d = random_doc(&c, &doc, 5, 3);
        enum json_dialect dialect = round & 1 ? JSON_STRICT : JSON_SHELL;
        json_write(d, false, JSON_CANONICAL, round & 2 ? 2 : 0, &text);
        cr_assert_eq(json_parse(buf_slice(&text), dialect, &back, &is_array, &used, &err), ST_OK,
                     "seed %llu round %llu: %s in %.*s", (unsigned long long) seed, (unsigned long long) round,
                     err.text, (int) text.len, (char *) text.p);
        cr_assert_eq(used, text.len);
        bool exact = !has_type(d, B_DOUBLE) && !has_type(d, B_DECIMAL);
        cr_assert(exact ? same_bytes(d, &back) : same_value(d, &back), "seed %llu round %llu: %.*s",
                  (unsigned long long) seed, (unsigned long long) round, (int) text.len, (char *) text.p);
    }
    buf_release(&doc);
    buf_release(&text);
    buf_release(&back);
}

/* libbson reads what we write, and we read what it writes. */
Test(json, agrees_with_libbson) {
    uint64_t seed = random_seed(22), rounds = random_rounds(3000);
    struct chance c;
    struct buf doc, text, back;
    chance_init(&c, seed);
    buf_init(&doc, mem_default());
    buf_init(&text, mem_default());
    buf_init(&back, mem_default());
    for (uint64_t round = 0; round < rounds; round++) {
        bool is_array;
        size_t used, their_len;
        struct err err;
        bson_error_t error;
        bson_t theirs;
        buf_clear(&doc);
        buf_clear(&text);
        buf_clear(&back);
        /* libbson prints decimals that are not canonical as what they are not: ours makes them canonical first. */
        json_write(random_doc(&c, &doc, 5, 3), false, JSON_CANONICAL, 0, &text);
        buf_clear(&doc);
        (void) buf_append_u8(&text, 0);
        text.len--;
        if (strstr((char *) text.p, "\\u0000") != NULL) continue; /* libbson's texts end there */
        cr_assert_eq(json_parse(buf_slice(&text), JSON_STRICT, &doc, &is_array, &used, &err), ST_OK);
        buf_clear(&text);
        struct bdoc d = bdoc_of(doc.p);
        cr_assert(bson_init_static(&theirs, d.p, d.len));
        char *their_text = bson_as_canonical_extended_json(&theirs, &their_len);
        cr_assert_not_null(their_text);
        cr_assert_eq(json_parse(slice_of(their_text, their_len), JSON_STRICT, &back, &is_array, &used, &err), ST_OK,
                     "seed %llu round %llu: %s in %s", (unsigned long long) seed, (unsigned long long) round, err.text,
                     their_text);
        cr_assert(same_value(d, &back), "seed %llu round %llu: %s", (unsigned long long) seed,
                  (unsigned long long) round, their_text);
        json_write(d, false, JSON_CANONICAL, 0, &text);
        /* Its reader loses code inside a scope, and refuses some database pointers. */
        bson_t *read = bson_new_from_json(text.p, (ssize_t) text.len, &error);
        if (!has_type(d, B_CODE_SCOPE) && !has_type(d, B_DBPOINTER)) {
            cr_assert_not_null(read, "seed %llu round %llu: %s in %.*s", (unsigned long long) seed,
                               (unsigned long long) round, error.message, (int) text.len, (char *) text.p);
            struct bdoc r = {bson_get_data(read), read->len};
            cr_assert_eq(bdoc_compare(d, r), 0, "seed %llu round %llu: %.*s", (unsigned long long) seed,
                         (unsigned long long) round, (int) text.len, (char *) text.p);
        }
        if (read != NULL) bson_destroy(read);
        bson_free(their_text);
    }
    buf_release(&doc);
    buf_release(&text);
    buf_release(&back);
}

static const struct {
    const char *text, *want; /* in canonical form */
} readable[] = {
    {"{}", "{}"},
    {"[1, 2]", "[{\"$numberInt\": \"1\"}, {\"$numberInt\": \"2\"}]"},
    {"{a: 1}", "{\"a\": {\"$numberInt\": \"1\"}}"},
    {" { a : 2147483648 , } ", "{\"a\": {\"$numberLong\": \"2147483648\"}}"},
    {"{'a b': 'x\\'y'}", "{\"a b\": \"x'y\"}"},
    {"{a: 9223372036854775808}", "{\"a\": {\"$numberDouble\": \"9.223372036854775808e+18\"}}"},
    {"{a: -9223372036854775808}", "{\"a\": {\"$numberLong\": \"-9223372036854775808\"}}"},
    {"{a: 1.0, b: 1e3, c: .5, d: +7}",
     "{\"a\": {\"$numberDouble\": \"1.0\"}, \"b\": {\"$numberDouble\": \"1000.0\"}, "
     "\"c\": {\"$numberDouble\": \"0.5\"}, \"d\": {\"$numberInt\": \"7\"}}"},
    {"// hello\n{a: /* one */ 1} // bye", "{\"a\": {\"$numberInt\": \"1\"}}"},
    {"{a: NaN, b: -Infinity, c: Infinity}",
     "{\"a\": {\"$numberDouble\": \"NaN\"}, \"b\": {\"$numberDouble\": \"-Infinity\"}, "
     "\"c\": {\"$numberDouble\": \"Infinity\"}}"},
    {"{_id: ObjectId(\"507f1f77bcf86cd799439011\")}", "{\"_id\": {\"$oid\": \"507f1f77bcf86cd799439011\"}}"},
    {"{a: ISODate('2012-12-24T12:15:30.501Z'), b: new Date(5)}",
     "{\"a\": {\"$date\": {\"$numberLong\": \"1356351330501\"}}, \"b\": {\"$date\": {\"$numberLong\": \"5\"}}}"},
    {"{a: NumberLong(1), b: NumberLong(\"-5\"), c: NumberInt(3), d: NumberDecimal('1.10')}",
     "{\"a\": {\"$numberLong\": \"1\"}, \"b\": {\"$numberLong\": \"-5\"}, \"c\": {\"$numberInt\": \"3\"}, \"d\": "
     "{\"$numberDecimal\": \"1.10\"}}"},
    {"{a: /a\\/b[/]c/mi}", "{\"a\": {\"$regularExpression\": {\"pattern\": \"a/b[/]c\", \"options\": \"im\"}}}"},
    {"{a: Timestamp(1, 2), b: MinKey, c: MaxKey(), d: undefined}",
     "{\"a\": {\"$timestamp\": {\"t\": 1, \"i\": 2}}, \"b\": {\"$minKey\": 1}, \"c\": {\"$maxKey\": 1}, \"d\": "
     "{\"$undefined\": true}}"},
    {"{a: UUID('73ffd264-44b3-4c69-90e8-e7d1dfc035d4'), b: BinData(0, 'AQI=')}",
     "{\"a\": {\"$binary\": {\"base64\": \"c//SZESzTGmQ6OfR38A11A==\", \"subType\": \"04\"}}, "
     "\"b\": {\"$binary\": {\"base64\": \"AQI=\", \"subType\": \"00\"}}}"},
    {"{a: {$regex: '^x', $options: 'i'}, b: {$type: 2}}",
     "{\"a\": {\"$regex\": \"^x\", \"$options\": \"i\"}, \"b\": {\"$type\": {\"$numberInt\": \"2\"}}}"},
    {"{a: {$scope: {x: 1}, $code: 'f'}}", "{\"a\": {\"$code\": \"f\", \"$scope\": {\"x\": {\"$numberInt\": \"1\"}}}}"},
    {"{a: '\\u00e9\\ud83d\\ude00'}", "{\"a\": \"\xc3\xa9\xf0\x9f\x98\x80\"}"},
    {"{a: {$date: '1969-12-31T23:59:59+01:00'}}", "{\"a\": {\"$date\": {\"$numberLong\": \"-3601000\"}}}"},
    {"{$set: {a: 1}}", "{\"$set\": {\"a\": {\"$numberInt\": \"1\"}}}"},
};

Test(json, reads_what_people_type) {
    for (size_t i = 0; i < sizeof(readable) / sizeof(readable[0]); i++) {
        struct buf out, text;
        bool is_array;
        size_t used;
        struct err err;
        buf_init(&out, mem_default());
        buf_init(&text, mem_default());
        cr_assert_eq(json_parse(slice_str(readable[i].text), JSON_SHELL, &out, &is_array, &used, &err), ST_OK, "%s: %s",
                     readable[i].text, err.text);
        cr_assert_eq(used, strlen(readable[i].text), "%s", readable[i].text);
        json_write(bdoc_of(out.p), is_array, JSON_CANONICAL, 0, &text);
        (void) buf_append_u8(&text, 0);
        if (strstr(readable[i].text, "9223372036854775808}") == NULL || readable[i].text[4] == '-')
            cr_assert_str_eq((char *) text.p, readable[i].want, "%s", readable[i].text);
        buf_release(&out);
        buf_release(&text);
    }
}

static const struct {
    enum json_dialect dialect;
    const char *text, *message;
} unreadable[] = {
    {JSON_STRICT, "{\"a\": 1, \"b\"}", "line 1, column 13: expected ':' after the field name, found '}'"},
    {JSON_STRICT, "", "line 1, column 1: expected '{' or '[', found the end of the text"},
    {JSON_STRICT, "5", "line 1, column 1: expected '{' or '[', found '5'"},
    {JSON_STRICT, "{\"a\":\n 1 \"b\": 2}", "line 2, column 4: expected ',' or '}' after a value, found '\"'"},
    {JSON_STRICT, "{a: 1}", "line 1, column 2: expected a field name in quotes, found 'a'"},
    {JSON_STRICT, "{\"a\": 1,}", "line 1, column 9: expected a field name in quotes, found '}'"},
    {JSON_STRICT, "{\"\xc3\xa9\": x}", "line 1, column 7: expected a value, found 'x'"},
    {JSON_STRICT, "{\"a\": 01}", "line 1, column 9: expected a digit, found '}'"},
    {JSON_STRICT, "{\"a\": 1.}", "line 1, column 9: expected a digit, found '}'"},
    {JSON_STRICT, "{\"a\": 12x}", "line 1, column 9: expected the end of the number, found 'x'"},
    {JSON_STRICT, "{\"a\": \"x", "line 1, column 7: a string that is not closed"},
    {JSON_STRICT, "{\"a\": \"\\q\"}", "line 1, column 8: an escape that JSON does not have"},
    {JSON_STRICT, "{\"a\": \"\\ud800\"}", "line 1, column 8: half of a surrogate pair"},
    {JSON_STRICT, "{\"a\": \"\xff\"}", "line 1, column 8: text that is not UTF-8"},
    {JSON_STRICT, "{\"a\\u0000\": 1}", "line 1, column 2: a field name with a zero byte"},
    {JSON_STRICT, "{\"a\": {\"$oid\": \"5\"}}", "line 1, column 7: $oid must be a string of 24 hexadecimal digits"},
    {JSON_STRICT, "{\"a\": 1e999}", "line 1, column 7: a number that is too large for a double"},
    {JSON_SHELL, "{a: ObjectId(5)}", "line 1, column 5: ObjectId takes a string of 24 hexadecimal digits"},
    {JSON_SHELL, "{a: foo}", "line 1, column 5: expected a value, found 'f'"},
    {JSON_SHELL, "{a: /x}", "line 1, column 5: a regular expression that is not closed"},
    {JSON_SHELL, "{a: 1 /* }", "line 1, column 7: a comment that is not closed"},
};

Test(json, says_where_and_what_is_wrong) {
    for (size_t i = 0; i < sizeof(unreadable) / sizeof(unreadable[0]); i++) {
        struct buf out;
        bool is_array;
        size_t used;
        struct err err;
        buf_init(&out, mem_default());
        cr_assert_eq(json_parse(slice_str(unreadable[i].text), unreadable[i].dialect, &out, &is_array, &used, &err),
                     ST_INVALID, "%s", unreadable[i].text);
        cr_assert_str_eq(err.text, unreadable[i].message);
        cr_assert_eq(err.code, CODE_FailedToParse);
        cr_assert_eq(out.len, 0);
        buf_release(&out);
    }
}

Test(json, refuses_what_is_nested_too_deeply) {
    for (int levels = BSON_DEPTH_MAX - 1; levels <= BSON_DEPTH_MAX + 1; levels++) {
        struct buf text, out;
        bool is_array;
        size_t used;
        struct err err;
        struct bdoc d;
        buf_init(&text, mem_default());
        buf_init(&out, mem_default());
        for (int i = 0; i < levels; i++) (void) buf_append_u8(&text, '[');
        for (int i = 0; i < levels; i++) (void) buf_append_u8(&text, ']');
        status st = json_parse(buf_slice(&text), JSON_STRICT, &out, &is_array, &used, &err);
        cr_assert_eq(st, levels <= BSON_DEPTH_MAX ? ST_OK : ST_INVALID);
        if (st == ST_OK) cr_assert_eq(bson_check(out.p, out.len, 0, &d, &err), ST_OK);
        buf_release(&text);
        buf_release(&out);
    }
}

Test(json, survives_any_text) {
    uint64_t seed = random_seed(23), rounds = random_rounds(20000);
    struct chance c;
    struct buf doc, text, out;
    chance_init(&c, seed);
    buf_init(&doc, mem_default());
    buf_init(&text, mem_default());
    buf_init(&out, mem_default());
    static const char odd[] = "{}[]\"':,/\\*$-+.eEu0159naftN(){\n";
    for (uint64_t round = 0; round < rounds; round++) {
        bool is_array;
        size_t used;
        struct err err;
        struct bdoc d;
        buf_clear(&doc);
        buf_clear(&text);
        buf_clear(&out);
        json_write(random_doc(&c, &doc, 3, 2), false, round & 1 ? JSON_CANONICAL : JSON_RELAXED, 0, &text);
        for (uint64_t n = chance_below(&c, 5); n > 0 && text.len > 0; n--)
            text.p[chance_below(&c, text.len)] =
                chance_below(&c, 4) ? (uint8_t) odd[chance_below(&c, sizeof(odd) - 1)] : (uint8_t) chance_next(&c);
        size_t len = chance_below(&c, 4) ? text.len : chance_below(&c, text.len + 1);
        uint8_t *copy = malloc(len + 1);
        memcpy(copy + 1, text.p, len);
        if (json_parse(slice_of(copy + 1, len), round & 2 ? JSON_STRICT : JSON_SHELL, &out, &is_array, &used, &err) ==
            ST_OK)
            cr_assert_eq(bson_check(out.p, out.len, BSON_CHECK_UTF8, &d, &err), ST_OK, "seed %llu round %llu: %s",
                         (unsigned long long) seed, (unsigned long long) round, err.text);
        free(copy);
    }
    buf_release(&doc);
    buf_release(&text);
    buf_release(&out);
}
