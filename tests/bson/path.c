/* Paths under the match rules: which values are visited, and how they were found. */
#include "bson/path.h"

#include <criterion/criterion.h>

#include "base/codes.h"
#include "bson/build.h"
#include "bson/json.h"
#include "support/mem_fail.h"

static bool show(void *ctx, struct bval v, unsigned found) {
    struct buf *out = ctx;
    if (out->len != 0) (void) buf_append_u8(out, ' ');
    if (found & PATH_AT_POSITION) (void) buf_append_u8(out, '@');
    else if (found & PATH_IN_ARRAY) (void) buf_append_u8(out, '*');
    if (v.type == B_MISSING) (void) buf_append(out, "missing", 7);
    else json_write_value(v, JSON_RELAXED, 0, out);
    return false;
}

static const struct {
    const char *path, *doc, *visited, *plain; /* *: in an array, @: at a position */
} rows[] = {
    {"a", "{a: 1}", "1", "1"},
    {"a", "{b: 1}", "missing", "missing"},
    {"a", "{a: [1, 2]}", "[1, 2]", "[1, 2]"},
    {"a.b", "{a: {b: 1}}", "1", "1"},
    {"a.b", "{a: 5}", "missing", "missing"},
    {"a.b", "{a: [1, {b: 2}, {c: 3}, [{b: 4}]]}", "*2 *missing", "missing"},
    {"a.b", "{a: []}", "", "missing"},
    {"a.b", "{a: [1, 2]}", "", "missing"},
    {"a.b", "{a: [{b: [1, 2]}]}", "*[1, 2]", "missing"},
    {"a.b.c", "{a: [{b: [{c: 1}, {c: 2}]}, {b: {c: 3}}]}", "*1 *2 *3", "missing"},
    {"a.0", "{a: [7, 8]}", "@7", "7"},
    {"a.0", "{a: [[7], 8]}", "@[7]", "[7]"},
    {"a.1", "{a: [{'1': 4}, 5]}", "*4 @5", "5"},
    {"a.0.b", "{a: [{b: 1}, {b: 2}]}", "*missing *1 *missing", "1"},
    {"a.0.0", "{a: [[3]]}", "@3", "3"},
    {"a.01", "{a: [1, 2]}", "", "missing"},
    {"a.0", "{a: {'0': 1}}", "1", "1"},
    {"a..b", "{a: {'': {b: 1}}}", "1", "1"},
};

Test(path, visits_what_the_match_rules_say) {
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct arena arena;
        struct buf doc, shown;
        struct path path;
        bool is_array;
        size_t used;
        struct err err;
        arena_init(&arena, mem_default());
        buf_init(&doc, mem_default());
        buf_init(&shown, mem_default());
        cr_assert_eq(json_parse(slice_str(rows[i].doc), JSON_SHELL, &doc, &is_array, &used, &err), ST_OK, "%s",
                     err.text);
        cr_assert_eq(path_parse(&arena, slice_str(rows[i].path), &path, &err), ST_OK);
        (void) path_visit(bdoc_of(doc.p), &path, show, &shown);
        (void) buf_append_u8(&shown, 0);
        cr_assert_str_eq((char *) shown.p, rows[i].visited, "%s in %s", rows[i].path, rows[i].doc);
        buf_clear(&shown);
        (void) show(&shown, path_get(bdoc_of(doc.p), &path), 0);
        (void) buf_append_u8(&shown, 0);
        cr_assert_str_eq((char *) shown.p, rows[i].plain, "%s in %s", rows[i].path, rows[i].doc);
        arena_release(&arena);
        buf_release(&doc);
        buf_release(&shown);
    }
}

Test(path, has_a_limit_of_parts) {
    char text[2 * PATH_PARTS_MAX + 2];
    struct arena arena;
    struct path path;
    struct err err;
    arena_init(&arena, mem_default());
    memset(text, '.', sizeof(text));
    cr_assert_eq(path_parse(&arena, slice_of(text, PATH_PARTS_MAX - 1), &path, &err), ST_OK);
    cr_assert_eq(path.part_count, PATH_PARTS_MAX);
    cr_assert_eq(path_parse(&arena, slice_of(text, PATH_PARTS_MAX), &path, &err), ST_INVALID);
    cr_assert_eq(err.code, CODE_Overflow);
    arena_release(&arena);
}

/* Building and parsing with the n-th allocation failing. */
Test(path, and_builders_report_lack_of_memory) {
    static const char text[] =
        "{a: [{b: 1, c: 'some text'}, {$numberDecimal: '1.5'}, ObjectId('507f1f77bcf86cd799439011')], d: /x/i}";
    for (uint64_t n = 1;; n++) {
        struct mem_fail mf;
        struct arena arena;
        struct buf doc, copy;
        struct path path;
        struct bbuild b;
        bool is_array;
        size_t used;
        struct err err;
        mem_fail_init(&mf, n);
        arena_init(&arena, &mf.mem);
        buf_init(&doc, &mf.mem);
        buf_init(&copy, &mf.mem);
        status st = json_parse(slice_str(text), JSON_SHELL, &doc, &is_array, &used, &err);
        cr_assert(st == ST_OK || st == ST_NOMEM, "%s", err.text);
        if (st == ST_OK) {
            bbuild_begin(&b, &copy);
            bbuild_elems(&b, bdoc_of(doc.p));
            struct bbuild array = bbuild_open_array(&b, SLICE_LIT("list"));
            for (int i = 0; i < 20; i++) bbuild_push(&array, bdoc_get_str(bdoc_of(doc.p), "d"));
            bbuild_close(&array);
            struct bdoc d = bbuild_finish(&b);
            cr_assert_eq(d.p == NULL, copy.failed);
            if (d.p != NULL) cr_assert_eq(bdoc_count(bval_doc(bdoc_get_str(d, "list"))), 20);
            st = path_parse(&arena, SLICE_LIT("a.b.c"), &path, &err);
            cr_assert(st == ST_OK || st == ST_NOMEM);
        }
        arena_release(&arena);
        buf_release(&doc);
        buf_release(&copy);
        cr_assert_eq(mem_fail_live(&mf), 0);
        if (!mem_fail_hit(&mf)) break;
    }
}
