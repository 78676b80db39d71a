/* Projection and sort keys beyond their cases: covered paths, want of memory, sort keys beside a naive choice. */
#include <criterion/criterion.h>
#include <string.h>

#include "bson/json.h"
#include "eval/project.h"
#include "eval/sort_key.h"
#include "index/key.h"
#include "support/mem_fail.h"
#include "support/random_bson.h"

static struct arena arena;
static struct buf text;

static void set_up(void) {
    arena_init(&arena, mem_default());
    buf_init(&text, mem_default());
}

static void tear_down(void) {
    arena_release(&arena);
    buf_release(&text);
}

static struct bdoc doc_of(const char *json) {
    bool is_array;
    size_t used;
    struct err err = ERR_INIT;
    buf_clear(&text);
    cr_assert_eq(json_parse(slice_str(json), JSON_SHELL, &text, &is_array, &used, &err), ST_OK, "%s: %s", json,
                 err.text);
    return (struct bdoc){arena_copy(&arena, text.p, text.len), (uint32_t) text.len};
}

static struct projection *compiled(const char *json) {
    struct projection *p;
    struct err err = ERR_INIT;
    cr_assert_eq(projection_compile(mem_default(), &arena, doc_of(json), &p, &err), ST_OK, "%s: %s", json, err.text);
    return p;
}

Test(project, names_the_paths_of_a_plain_inclusion, .init = set_up, .fini = tear_down) {
    uint32_t count;
    const struct path *paths = projection_paths(compiled("{a: 1, 'b.c': 1}"), &count);
    cr_assert_eq(count, 3);
    cr_assert(slice_equal(paths[1].text, SLICE_LIT("b.c")) && slice_equal(paths[2].text, SLICE_LIT("_id")));
    cr_assert_not_null(projection_paths(compiled("{a: 1, _id: 0}"), &count));
    cr_assert_eq(count, 1);
    static const char *const others[] = {
        "{}",      "{a: 0}", "{a: 1, b: {$slice: 1}}", "{a: {$elemMatch: {b: 1}}}", "{a: 1, s: {$meta: 'textScore'}}",
        "{_id: 0}"};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        struct projection *p = compiled(others[i]);
        cr_assert_null(projection_paths(p, &count), "%s", others[i]);
        projection_release(p);
    }
}

Test(project, says_when_it_needs_the_text_score, .init = set_up, .fini = tear_down) {
    cr_assert(projection_needs_text_score(compiled("{s: {$meta: 'textScore'}}")));
    cr_assert_not(projection_needs_text_score(compiled("{s: 1}")));
}

static void project_with(struct mem_fail *mf, struct bdoc spec, struct bdoc sort, struct bdoc doc) {
    struct arena own;
    struct buf out;
    struct projection *p = NULL;
    struct sort_pattern pattern;
    struct bdoc result;
    struct err err = ERR_INIT;
    arena_init(&own, &mf->mem);
    buf_init(&out, &mf->mem);
    status st = projection_compile(&mf->mem, &own, spec, &p, &err);
    if (st == ST_OK) {
        st = projection_apply(p, doc, 1, &out, &result, &err);
        if (st == ST_OK) st = sort_pattern_parse(&own, sort, &pattern, &err);
        if (st == ST_OK) st = sort_key_append(&pattern, doc, 1, &own, &out, &err);
        projection_release(p);
    }
    cr_assert(st == ST_OK || (st == ST_NOMEM && mem_fail_hit(mf)), "%s", err.text);
    buf_release(&out);
    arena_release(&own);
    cr_assert_eq(mem_fail_live(mf), 0);
}

Test(project, survives_want_of_memory, .init = set_up, .fini = tear_down) {
    struct bdoc spec =
        doc_of("{a: {$slice: [1, 1]}, b: {c: 1, d: {e: 1}}, f: {$elemMatch: {g: /x+y/}}, s: {$meta: 'textScore'}}");
    struct bdoc doc = doc_of("{_id: 1, a: [1, 2, 3], b: [{c: 1, d: {e: 2}}, [{c: 2}]], f: [{g: 'xy'}], z: 1}"),
                sort = doc_of("{'b.c': 1, 'b.d.e': -1, a: 1}");
    struct mem_fail mf;
    uint64_t n = 1;
    sort = doc_of("{'b.c': 1, 'b.d.e': -1, z: 1}");
    do {
        mem_fail_init(&mf, n++);
        project_with(&mf, spec, sort, doc);
    } while (mem_fail_hit(&mf));
    cr_assert_gt(n, 3);
}

/* --- sort keys ------------------------------------------------------------------------------------------------- */

/* Keys of one field, one by one, the least (or greatest) chosen afterwards. */
static void naive_values(struct bval v, const char *path, struct bval *values, size_t *count) {
    struct biter it;
    struct belem e;
    if (*path == 0) {
        if (v.type != B_ARRAY) {
            values[(*count)++] = v;
            return;
        }
        if (bdoc_is_empty(bval_doc(v))) values[(*count)++] = (struct bval){(const uint8_t *) "", 0, B_NULL};
        for (it = biter_of(bval_doc(v)); biter_next(&it, &e);) values[(*count)++] = e.value;
        return;
    }
    size_t len = strcspn(path, ".");
    const char *rest = path[len] == '.' ? path + len + 1 : path + len;
    if (v.type == B_DOCUMENT) {
        naive_values(bdoc_get(bval_doc(v), slice_of(path, len)), rest, values, count);
        return;
    }
    if (v.type != B_ARRAY || bdoc_is_empty(bval_doc(v))) {
        values[(*count)++] = BVAL_MISSING;
        return;
    }
    struct bval at = bdoc_get(bval_doc(v), slice_of(path, len)); /* the names of elements are their positions */
    if (at.type != B_MISSING) {
        naive_values(at, rest, values, count);
        return;
    }
    for (it = biter_of(bval_doc(v)); biter_next(&it, &e);)
        naive_values(e.value.type == B_DOCUMENT ? e.value : BVAL_MISSING, path, values, count);
}

Test(project, sorts_by_the_least_of_all_values, .init = set_up, .fini = tear_down) {
    static const char *const paths[] = {"a", "b", "a.b", "b.a", "a.0", "c.d", "a.b.c", "b.1.a"};
    uint64_t seed = random_seed(1), rounds = random_rounds(10000);
    struct buf docs, key, naive, best;
    struct bval values[1000];
    buf_init(&docs, mem_default());
    buf_init(&key, mem_default());
    buf_init(&naive, mem_default());
    buf_init(&best, mem_default());
    for (uint64_t round = 0; round < rounds; round++) {
        struct chance chance;
        struct err err = ERR_INIT;
        chance_init(&chance, seed + round);
        buf_clear(&docs);
        buf_clear(&key);
        buf_clear(&best);
        arena_reset(&arena);
        struct bdoc doc = random_doc(&chance, &docs, 5, 3);
        const char *path = paths[chance_below(&chance, 8)];
        struct sort_pattern p = {.field_count = 1};
        p.fields[0].descending = chance_below(&chance, 2) == 0;
        cr_assert_eq(path_parse(&arena, slice_str(path), &p.fields[0].path, &err), ST_OK);
        cr_assert_eq(sort_key_append(&p, doc, 0, &arena, &key, &err), ST_OK);
        size_t count = 0;
        naive_values((struct bval){doc.p, doc.len, B_DOCUMENT}, path, values, &count);
        for (size_t i = 0; i < count; i++) {
            buf_clear(&naive);
            key_append(&naive, values[i], p.fields[0].descending);
            if (i != 0 && slice_compare(buf_slice(&naive), buf_slice(&best)) >= 0) continue;
            buf_clear(&best);
            (void) buf_append(&best, naive.p, naive.len);
        }
        cr_assert(slice_equal(buf_slice(&key), buf_slice(&best)), "seed %llu, path %s",
                  (unsigned long long) (seed + round), path);
    }
    buf_release(&docs);
    buf_release(&key);
    buf_release(&naive);
    buf_release(&best);
}
