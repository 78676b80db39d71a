/* The update language beyond its cases: a naive application beside it, limits, want of memory. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/codes.h"
#include "bson/check.h"
#include "bson/compare.h"
#include "bson/json.h"
#include "eval/update.h"
#include "support/mem_fail.h"
#include "support/random_bson.h"

static const struct update_env env = {.now_ms = 1700000000123, .timestamp = 77};
static struct arena arena, scratch;
static struct buf text, out;

static void set_up(void) {
    arena_init(&arena, mem_default());
    arena_init(&scratch, mem_default());
    buf_init(&text, mem_default());
    buf_init(&out, mem_default());
}

static void tear_down(void) {
    arena_release(&arena);
    arena_release(&scratch);
    buf_release(&text);
    buf_release(&out);
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

/* Moved from a buffer to the arena. */
static struct bdoc kept(struct bdoc d) { return (struct bdoc){arena_copy(&arena, d.p, d.len), d.len}; }

static struct update *compiled(const char *json) {
    struct update *u;
    struct err err = ERR_INIT;
    cr_assert_eq(update_compile(mem_default(), &arena, doc_of(json), &u, &err), ST_OK, "%s: %s", json, err.text);
    return u;
}

static status apply(const struct update *u, struct bdoc doc, struct bdoc *result, bool *changed, struct err *err) {
    buf_clear(&out);
    arena_reset(&scratch);
    return update_apply(u, doc, &env, &scratch, &out, result, changed, err);
}

Test(update, tells_its_kind_and_paths, .init = set_up, .fini = tear_down) {
    uint32_t count;
    bool all;
    struct update *u = compiled("{$set: {a: 1, 'b.c': 2}, $rename: {d: 'e.f'}}");
    cr_assert_eq(update_kind_of(u), UPDATE_OPERATORS);
    const struct path *paths = update_paths(u, &count, &all);
    cr_assert_not(all);
    cr_assert_eq(count, 4);
    static const char *const names[] = {"a", "b.c", "e.f", "d"};
    for (int i = 0; i < 4; i++) cr_assert(slice_equal(paths[i].text, slice_str(names[i])));
    u = compiled("{a: 1}");
    cr_assert_eq(update_kind_of(u), UPDATE_REPLACEMENT);
    (void) update_paths(u, &count, &all);
    cr_assert(all);
}

Test(update, appends_and_leaves_what_stands_before, .init = set_up, .fini = tear_down) {
    struct bdoc result;
    bool changed;
    struct err err = ERR_INIT;
    struct update *u = compiled("{$inc: {n: 1}}");
    (void) buf_append(&out, "before", 6);
    cr_assert_eq(update_apply(u, doc_of("{_id: 1, n: 1}"), &env, &scratch, &out, &result, &changed, &err), ST_OK);
    cr_assert(changed);
    cr_assert_eq(memcmp(out.p, "before", 6), 0);
    cr_assert_eq(result.p, out.p + 6);
    cr_assert_eq(out.len, 6 + result.len);
    size_t len = out.len;
    cr_assert_neq(update_apply(u, doc_of("{_id: 1, n: 'x'}"), &env, &scratch, &out, &result, &changed, &err), ST_OK);
    cr_assert_eq(out.len, len);
}

/* --- limits ---------------------------------------------------------------------------------------------------- */

static struct bdoc nested(int levels) {
    struct bbuild at[200];
    buf_clear(&text);
    bbuild_begin(&at[0], &text);
    for (int i = 1; i < levels; i++) at[i] = bbuild_open_doc(&at[i - 1], SLICE_LIT("a"));
    for (int i = levels - 1; i > 0; i--) bbuild_close(&at[i]);
    struct bdoc d = bbuild_finish(&at[0]);
    return (struct bdoc){arena_copy(&arena, d.p, d.len), d.len};
}

Test(update, refuses_a_document_that_gets_too_deep, .init = set_up, .fini = tear_down) {
    struct bdoc result, doc = nested(BSON_DEPTH_MAX);
    bool changed;
    struct err err = ERR_INIT;
    char path[400] = "{$set: {'a";
    for (int i = 2; i < BSON_DEPTH_MAX; i++) (void) strcat(path, ".a");
    size_t len = strlen(path);
    (void) strcpy(path + len, "': 1}}");
    cr_assert_eq(apply(compiled(path), doc, &result, &changed, &err), ST_OK, "%s", err.text);
    (void) strcpy(path + len, "': {}}}");
    cr_assert_eq(apply(compiled(path), doc, &result, &changed, &err), ST_OK, "%s", err.text);
    (void) strcpy(path + len, "': {b: {}}}}");
    cr_assert_eq(apply(compiled(path), doc, &result, &changed, &err), ST_INVALID);
    cr_assert_eq(err.code, CODE_Overflow);
    (void) strcpy(path + len, ".a.b': 1}}");
    cr_assert_eq(apply(compiled(path), doc, &result, &changed, &err), ST_INVALID);
    cr_assert_eq(err.code, CODE_Overflow);
    (void) strcpy(path, "{$push: {'a");
    for (int i = 2; i < BSON_DEPTH_MAX; i++) (void) strcat(path, ".a");
    (void) strcat(path, ".x': {}}}");
    cr_assert_eq(apply(compiled(path), doc, &result, &changed, &err), ST_INVALID);
    cr_assert_eq(err.code, CODE_Overflow);
}

Test(update, refuses_a_document_that_gets_too_large, .init = set_up, .fini = tear_down) {
    struct bdoc result;
    bool changed;
    struct err err = ERR_INIT;
    struct bbuild b;
    char *filler = arena_alloc(&arena, 9 * 1024 * 1024);
    memset(filler, 'x', 9 * 1024 * 1024 - 1);
    filler[9 * 1024 * 1024 - 1] = 0;
    bbuild_begin(&b, &text);
    bbuild_str(&b, "a", filler);
    struct bdoc doc = bbuild_finish(&b);
    doc.p = arena_copy(&arena, doc.p, doc.len);
    struct update *u = compiled("{$rename: {x: 'y'}, $set: {b: 1}}");
    cr_assert_eq(apply(u, doc, &result, &changed, &err), ST_OK);
    buf_clear(&text);
    bbuild_begin(&b, &text);
    struct bbuild sub = bbuild_open_doc(&b, SLICE_LIT("$set"));
    bbuild_str(&sub, "b", filler);
    bbuild_close(&sub);
    cr_assert_eq(update_compile(mem_default(), &arena, bbuild_finish(&b), &u, &err), ST_OK);
    cr_assert_eq(apply(u, doc, &result, &changed, &err), ST_TOO_LARGE);
    cr_assert_eq(err.code, 17419);
    cr_assert_eq(out.len, 0);
}

Test(update, takes_a_hundred_thousand_fields, .init = set_up, .fini = tear_down) {
    struct bbuild b, sub;
    struct update *u;
    struct bdoc result;
    bool changed;
    struct err err = ERR_INIT;
    char name[20];
    bbuild_begin(&b, &text);
    sub = bbuild_open_doc(&b, SLICE_LIT("$inc"));
    for (int i = 0; i < 100000; i++) {
        (void) snprintf(name, sizeof(name), "f%d", (i * 7919) % 100000);
        bbuild_int32(&sub, name, 1);
    }
    bbuild_close(&sub);
    cr_assert_eq(update_compile(mem_default(), &arena, kept(bbuild_finish(&b)), &u, &err), ST_OK);
    cr_assert_eq(apply(u, doc_of("{_id: 1, f99999: 5}"), &result, &changed, &err), ST_OK);
    cr_assert_eq(bdoc_count(result), 100001);
    struct bdoc first = {arena_copy(&arena, result.p, result.len), result.len};
    cr_assert_eq(apply(u, first, &result, &changed, &err), ST_OK);
    cr_assert_eq(bval_int32(bdoc_get_str(result, "f99999")), 7);
    cr_assert_eq(bval_int32(bdoc_get_str(result, "f1")), 2);
}

Test(update, keeps_a_large_set_a_set, .init = set_up, .fini = tear_down) {
    struct bbuild b, sub, each, array;
    struct update *u;
    struct bdoc result;
    bool changed;
    struct err err = ERR_INIT;
    bbuild_begin(&b, &text);
    sub = bbuild_open_doc(&b, SLICE_LIT("$addToSet"));
    each = bbuild_open_doc(&sub, SLICE_LIT("a"));
    array = bbuild_open_array(&each, SLICE_LIT("$each"));
    for (int i = 0; i < 200000; i++) {
        uint8_t bytes[4];
        put_le32(bytes, (uint32_t) (i % 50000));
        bbuild_push(&array, (struct bval){bytes, 4, B_INT32});
    }
    bbuild_close(&array);
    bbuild_close(&each);
    bbuild_close(&sub);
    cr_assert_eq(update_compile(mem_default(), &arena, kept(bbuild_finish(&b)), &u, &err), ST_OK);
    cr_assert_eq(apply(u, doc_of("{_id: 1, a: [0, 7, 'x']}"), &result, &changed, &err), ST_OK);
    cr_assert_eq(bdoc_count(bval_doc(bdoc_get_str(result, "a"))), 50001);
}

/* --- a naive application beside it ----------------------------------------------------------------------------- */

struct change {
    const char *op;
    char path[64];
    struct bval arg;
};

/* One operator on one path, by rebuilding everything on the way. False: an error. Appends the element, or nothing. */
static bool naive_change(const struct change *c, const char *path, struct bval old, struct slice name,
                         struct bbuild *to, bool in_array);

static bool naive_leaf(const struct change *c, struct bval old, struct slice name, struct bbuild *to, bool in_array) {
    if (strcmp(c->op, "$unset") == 0) {
        if (in_array && old.type != B_MISSING) bbuild_value(to, name, (struct bval){(const uint8_t *) "", 0, B_NULL});
        return true;
    }
    if (strcmp(c->op, "$inc") == 0 && old.type != B_MISSING) {
        struct bnum n;
        if (!bval_is_number(old) || !bnum_add(bnum_of(old), bnum_of(c->arg), &n)) return false;
        bbuild_number(to, name, n);
        return true;
    }
    int cmp = old.type == B_MISSING ? 0 : bval_compare(c->arg, old);
    bool keep =
        old.type != B_MISSING && ((strcmp(c->op, "$min") == 0 && cmp >= 0) || (strcmp(c->op, "$max") == 0 && cmp <= 0));
    bbuild_value(to, name, keep ? old : c->arg);
    return true;
}

static bool naive_children(const struct change *c, const char *path, struct bval old, struct bbuild *to) {
    size_t len = strcspn(path, ".");
    const char *rest = path[len] == '.' ? path + len + 1 : "";
    struct slice part = slice_of(path, len);
    struct belem e;
    bool found = false;
    uint64_t count = 0;
    struct biter it = biter_of(old.type == B_MISSING ? bdoc_empty : bval_doc(old));
    while (biter_next(&it, &e)) {
        count++;
        if (found || !slice_equal(e.name, part)) bbuild_value(to, e.name, e.value);
        else if (!naive_change(c, rest, e.value, e.name, to, old.type == B_ARRAY)) return false;
        else found = true;
    }
    if (found) return true;
    if (old.type == B_ARRAY) {
        char digits[24];
        bool is_position = len != 0 && len < 8 && strspn(path, "0123456789") == len && (path[0] != '0' || len == 1);
        if (strcmp(c->op, "$unset") == 0) return true;
        if (!is_position) return false;
        for (uint64_t i = count; i < strtoull(path, NULL, 10); i++) {
            (void) snprintf(digits, sizeof(digits), "%llu", (unsigned long long) i);
            bbuild_null(to, digits);
        }
    }
    return naive_change(c, rest, BVAL_MISSING, part, to, old.type == B_ARRAY);
}

static bool naive_change(const struct change *c, const char *path, struct bval old, struct slice name,
                         struct bbuild *to, bool in_array) {
    if (*path == 0) return naive_leaf(c, old, name, to, in_array);
    if (old.type == B_MISSING && strcmp(c->op, "$unset") == 0) return true;
    if (old.type != B_DOCUMENT && old.type != B_ARRAY && old.type != B_MISSING) {
        bbuild_value(to, name, old);
        return strcmp(c->op, "$unset") == 0;
    }
    struct bbuild sub = old.type == B_ARRAY ? bbuild_open_array(to, name) : bbuild_open_doc(to, name);
    if (!naive_children(c, path, old, &sub)) return false;
    bbuild_close(&sub);
    return true;
}

static void random_change(struct chance *chance, struct change *c, struct buf *value) {
    static const char *const ops[] = {"$set", "$unset", "$inc", "$min", "$max"};
    static const char *const names[] = {"a", "b", "c", "d", "0", "1", "3", "12", "01"};
    c->op = ops[chance_below(chance, 5)];
    c->path[0] = 0;
    for (int parts = 1 + (int) chance_below(chance, 3), i = 0; i < parts; i++) {
        if (i != 0) (void) strcat(c->path, ".");
        (void) strcat(c->path, names[chance_below(chance, 9)]);
    }
    c->arg = random_value(chance, value, 2);
    if (strcmp(c->op, "$inc") == 0) {
        buf_clear(value);
        struct bbuild b;
        bbuild_begin(&b, value);
        bbuild_number(&b, SLICE_LIT(""), random_number(chance));
        c->arg = bdoc_get_str(bbuild_finish(&b), "");
    }
}

static void report(uint64_t seed, struct bdoc update, struct bdoc doc) {
    buf_clear(&text);
    json_write(update, false, JSON_CANONICAL, 0, &text);
    (void) buf_append(&text, "\n", 1);
    json_write(doc, false, JSON_CANONICAL, 0, &text);
    cr_assert_fail("seed %llu:\n%.*s", (unsigned long long) seed, (int) text.len, (const char *) text.p);
}

Test(update, agrees_with_a_naive_application, .init = set_up, .fini = tear_down) {
    uint64_t seed = random_seed(1), rounds = random_rounds(20000), applied = 0;
    struct buf docs, value, update, naive;
    buf_init(&docs, mem_default());
    buf_init(&value, mem_default());
    buf_init(&update, mem_default());
    buf_init(&naive, mem_default());
    for (uint64_t round = 0; round < rounds; round++) {
        struct chance chance;
        struct change c;
        struct bbuild b, sub;
        struct update *u;
        struct err err = ERR_INIT;
        chance_init(&chance, seed + round);
        buf_clear(&docs);
        buf_clear(&update);
        buf_clear(&naive);
        arena_reset(&arena);
        struct bdoc doc = random_doc(&chance, &docs, 5, 3);
        random_change(&chance, &c, &value);
        bbuild_begin(&b, &update);
        sub = bbuild_open_doc(&b, slice_str(c.op));
        bbuild_value(&sub, slice_str(c.path), c.arg);
        bbuild_close(&sub);
        struct bdoc spec = bbuild_finish(&b), result, checked;
        cr_assert_eq(update_compile(mem_default(), &arena, spec, &u, &err), ST_OK, "%s", err.text);
        bool changed = false;
        status st = apply(u, doc, &result, &changed, &err);
        bbuild_begin(&b, &naive);
        bool fits = naive_children(&c, c.path, (struct bval){doc.p, doc.len, B_DOCUMENT}, &b);
        if (fits != (st == ST_OK)) report(seed + round, spec, doc);
        if (!fits) continue;
        struct bdoc wanted = bbuild_finish(&b);
        bool is_same = wanted.len == doc.len && memcmp(wanted.p, doc.p, doc.len) == 0;
        if (result.len != wanted.len || memcmp(result.p, wanted.p, wanted.len) != 0 || changed == is_same)
            report(seed + round, spec, doc);
        cr_assert_eq(bson_check(result.p, result.len, 0, &checked, &err), ST_OK, "%s", err.text);
        applied += changed;
    }
    cr_assert_gt(applied, rounds / 4);
    buf_release(&docs);
    buf_release(&value);
    buf_release(&update);
    buf_release(&naive);
}

/* --- want of memory -------------------------------------------------------------------------------------------- */

static void update_with(struct mem_fail *mf, struct bdoc spec, struct bdoc doc, struct bdoc filter) {
    struct arena own, own_scratch;
    struct buf own_out;
    struct update *u = NULL;
    struct matcher query = {.mem = &mf->mem};
    struct bdoc result;
    bool changed;
    struct err err = ERR_INIT;
    arena_init(&own, &mf->mem);
    arena_init(&own_scratch, &mf->mem);
    buf_init(&own_out, &mf->mem);
    status st = update_compile(&mf->mem, &own, spec, &u, &err);
    if (st == ST_OK) {
        st = update_apply(u, doc, &env, &own_scratch, &own_out, &result, &changed, &err);
        if (st == ST_OK) st = match_compile(&mf->mem, &own, filter, &query, &err);
        if (st == ST_OK) st = update_upsert(u, &query, &env, &own_scratch, &own_out, &result, &err);
        update_release(u);
    }
    cr_assert(st == ST_OK || (st == ST_NOMEM && mem_fail_hit(mf)), "%s", err.text);
    matcher_release(&query);
    buf_release(&own_out);
    arena_release(&own_scratch);
    arena_release(&own);
    cr_assert_eq(mem_fail_live(mf), 0);
}

static void update_by_pipeline(const struct mem_fail *mf, struct bdoc stages, struct bdoc doc) {
    struct arena own, own_scratch;
    struct buf own_out;
    struct expr_env exprs;
    struct update *u = NULL;
    struct err err = ERR_INIT;
    struct bdoc result;
    bool changed = false;
    arena_init(&own, &mf->mem);
    arena_init(&own_scratch, &mf->mem);
    buf_init(&own_out, &mf->mem);
    expr_env_init(&exprs, &mf->mem, &own, 0);
    status st = update_compile_pipeline(&exprs, stages, &u, &err);
    if (st == ST_OK) {
        st = expr_env_prepare(&exprs, &err);
        if (st == ST_OK) st = update_apply(u, doc, &env, &own_scratch, &own_out, &result, &changed, &err);
        if (st == ST_OK) cr_assert(changed);
        update_release(u);
    }
    cr_assert(st == ST_OK || (st == ST_NOMEM && mem_fail_hit(mf)), "%s", err.text);
    expr_env_release(&exprs);
    buf_release(&own_out);
    arena_release(&own_scratch);
    arena_release(&own);
    cr_assert_eq(mem_fail_live(mf), 0);
}

Test(update, by_a_pipeline_survives_want_of_memory, .init = set_up, .fini = tear_down) {
    struct bdoc stages = doc_of("{'0': {$set: {a: {$add: ['$n', 1]}, 'd.e': {$let: {vars: {v: '$a'}, in: '$$v'}}}}, '1': "
                                "{$unset: ['n', 'q']}, '2': {$replaceRoot: {newRoot: {made: '$$ROOT'}}}, '3': {$project: {x: "
                                "'$made.a', made: 1}}}"),
                doc = doc_of("{_id: 1, n: 1, q: [1, 2]}");
    struct mem_fail mf;
    uint64_t n = 1;
    do {
        mem_fail_init(&mf, n++);
        update_by_pipeline(&mf, stages, doc);
    } while (mem_fail_hit(&mf));
    cr_assert_gt(n, 8);
}

Test(update, survives_want_of_memory, .init = set_up, .fini = tear_down) {
    static const char *const updates[] = {
        "{$set: {a: 1, 'b.c': {d: [1]}}, $inc: {n: 1}, $unset: {u: 1}, $rename: {r: 's.t'}, $currentDate: {when: "
        "true}}",
        "{$push: {l: {$each: [{x: 2}, {x: 1}], $sort: {x: -1}, $slice: 5}}, $addToSet: {m: {$each: [1, 2, 3]}}, $pull: "
        "{o: {$in: [1, /x+y/]}}, $pullAll: {p: [1, 2]}, $pop: {q: 1}}",
        "{replaced: 'wholly', with: [1, 2, 3]}",
    };
    struct bdoc doc = doc_of("{_id: 1, n: 1, u: 1, r: 1, l: [{x: 7}], m: [2], o: [1, 'xxy', 'z'], p: [1, 3], q: [1]}"),
                filter = doc_of("{zz: 1, n: {$eq: 4}, _id: 5, o: [1]}");
    for (size_t i = 0; i < 3; i++) {
        struct bdoc spec = doc_of(updates[i]);
        struct mem_fail mf;
        uint64_t n = 1;
        do {
            mem_fail_init(&mf, n++);
            update_with(&mf, spec, doc, filter);
        } while (mem_fail_hit(&mf));
        cr_assert_gt(n, 3);
    }
}
