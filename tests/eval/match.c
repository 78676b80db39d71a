/* The match language beyond its cases: the normal form, a naive evaluation beside it, hostile input, want of memory,
 * several threads. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/codes.h"
#include "bson/compare.h"
#include "bson/json.h"
#include "eval/match.h"
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

/* Lives in the arena. */
static struct bdoc doc_of(const char *json) {
    bool is_array;
    size_t used;
    struct err err = ERR_INIT;
    buf_clear(&text);
    cr_assert_eq(json_parse(slice_str(json), JSON_SHELL, &text, &is_array, &used, &err), ST_OK, "%s: %s", json,
                 err.text);
    return (struct bdoc){arena_copy(&arena, text.p, text.len), (uint32_t) text.len};
}

static struct matcher compiled(const char *json) {
    struct matcher m;
    struct err err = ERR_INIT;
    cr_assert_eq(match_compile(mem_default(), &arena, doc_of(json), &m, &err), ST_OK, "%s: %s", json, err.text);
    return m;
}

/* --- the normal form (M2, M3, M4) ------------------------------------------------------------------------------ */

Test(match, flattens_and, .init = set_up, .fini = tear_down) {
    struct matcher m = compiled("{$and: [{a: 1}, {$and: [{b: {$gt: 1, $lt: 5}}]}], c: 2}");
    cr_assert_eq(m.root->op, MATCH_AND);
    cr_assert_eq(m.root->child_count, 5 - 1);
    static const enum match_op ops[] = {MATCH_EQ, MATCH_GT, MATCH_LT, MATCH_EQ};
    for (int i = 0; i < 4; i++) cr_assert_eq(m.root->children[i]->op, ops[i]);
}

Test(match, makes_one_of_one, .init = set_up, .fini = tear_down) {
    cr_assert_eq(compiled("{a: {$in: [1]}}").root->op, MATCH_EQ);
    cr_assert_eq(compiled("{$or: [{a: 1}]}").root->op, MATCH_EQ);
    cr_assert_eq(compiled("{a: {$not: {$ne: 1}}}").root->op, MATCH_EQ);
    cr_assert_eq(compiled("{$or: [{a: 1, b: 2}], c: 3}").root->child_count, 3);
    cr_assert_eq(compiled("{}").root->op, MATCH_AND);
    cr_assert_eq(compiled("{}").root->child_count, 0);
}

Test(match, sorts_the_values_of_in, .init = set_up, .fini = tear_down) {
    struct matcher m = compiled("{a: {$in: [3, 'x', 1, 3.0, null, 2, 'x']}}");
    cr_assert_eq(m.root->op, MATCH_IN);
    cr_assert_eq(m.root->value_count, 5);
    for (uint32_t i = 1; i < m.root->value_count; i++)
        cr_assert_lt(bval_compare(m.root->values[i - 1], m.root->values[i]), 0);
}

Test(match, keeps_regular_expressions_of_in_apart, .init = set_up, .fini = tear_down) {
    struct matcher m = compiled("{a: {$in: [1, /x/, /y/i]}}");
    cr_assert_eq(m.root->value_count, 1);
    cr_assert_eq(m.root->child_count, 2);
    cr_assert_eq(m.root->children[0]->op, MATCH_REGEX);
    matcher_release(&m);
}

Test(match, takes_all_apart, .init = set_up, .fini = tear_down) {
    struct matcher m = compiled("{a: {$all: [1, 2]}}");
    cr_assert_eq(m.root->op, MATCH_AND);
    cr_assert_eq(m.root->child_count, 2);
    cr_assert_eq(m.root->children[1]->op, MATCH_EQ);
}

Test(match, puts_not_over_the_positive, .init = set_up, .fini = tear_down) {
    struct matcher m = compiled("{a: {$nin: [1, 2]}, b: {$ne: 3}, c: {$exists: false}}");
    cr_assert_eq(m.root->children[0]->op, MATCH_NOT);
    cr_assert_eq(m.root->children[0]->children[0]->op, MATCH_IN);
    cr_assert_eq(m.root->children[1]->children[0]->op, MATCH_EQ);
    cr_assert_eq(m.root->children[2]->op, MATCH_EXISTS);
    cr_assert_not(m.root->children[2]->exists);
}

Test(match, keeps_the_text_query, .init = set_up, .fini = tear_down) {
    struct matcher m = compiled("{a: 1, $text: {$search: 'fine coffee', $caseSensitive: true}}");
    cr_assert(m.text.is_set && m.text.case_sensitive && !m.text.diacritic_sensitive);
    cr_assert(slice_equal(m.text.search, SLICE_LIT("fine coffee")));
    cr_assert_null(m.text.language.p);
}

struct prefix_row {
    const char *filter, *prefix;
    bool exact;
};

Test(match, knows_the_prefix_of_a_pattern, .init = set_up, .fini = tear_down) {
    static const struct prefix_row rows[] = {
        {"{a: /^abc/}", "abc", true},    {"{a: /^abc*d/}", "ab", false}, {"{a: /^ab\\.c/}", "ab.c", true},
        {"{a: /^ab$/}", "ab", false},    {"{a: /^ab|c/}", NULL, false},  {"{a: /^abc/i}", NULL, false},
        {"{a: /abc/}", NULL, false},     {"{a: /^abc/m}", NULL, false},  {"{a: /^a?b/}", NULL, false},
        {"{a: /^(ab)/}", NULL, false},   {"{a: /^ab\\d/}", "ab", false}, {"{a: /^a b/x}", NULL, false},
        {"{a: /^ab{0,2}/}", "a", false}, {"{a: /^xé?/}", "x", false},    {"{a: /^ab+/}", "ab", false},
        {"{a: /^/}", NULL, false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct matcher m = compiled(rows[i].filter);
        struct slice prefix;
        bool exact = false, is_known = match_regex_prefix(m.root->regex, &prefix, &exact);
        cr_assert_eq(is_known, rows[i].prefix != NULL, "%s", rows[i].filter);
        if (is_known)
            cr_assert(slice_equal(prefix, slice_str(rows[i].prefix)), "%s: %.*s", rows[i].filter, (int) prefix.len,
                      (const char *) prefix.p);
        cr_assert_eq(exact, rows[i].exact, "%s", rows[i].filter);
        matcher_release(&m);
    }
}

Test(match, finds_the_position_of_an_element, .init = set_up, .fini = tear_down) {
    struct path path;
    struct err err = ERR_INIT;
    cr_assert_eq(path_parse(&arena, SLICE_LIT("a"), &path, &err), ST_OK);
    struct bdoc doc = doc_of("{a: [1, 5, 9], b: [{c: 1}]}");
    struct matcher by_value = compiled("{b: 1, a: {$gt: 4}}"), by_element = compiled("{a: {$elemMatch: {$gt: 5}}}"),
                   none = compiled("{b: 1}");
    cr_assert_eq(match_position(&by_value, doc, &path), 1);
    cr_assert_eq(match_position(&by_element, doc, &path), 2);
    cr_assert_eq(match_position(&none, doc, &path), -1);
    struct matcher below = compiled("{'a.c': 2}");
    cr_assert_eq(match_position(&below, doc_of("{a: [{c: 1}, 2, {c: [2]}]}"), &path), 2);
}

/* --- a naive evaluation beside it ------------------------------------------------------------------------------ */

static bool naive_value(struct slice op, struct bval operand, struct bval v);

/* All values that a path means, by MongoDB's words and not by ours: calls itself on the rest of the text. */
static bool naive_path(struct bval v, const char *path, bool by_position, struct slice op, struct bval operand) {
    struct biter it;
    struct belem e;
    if (*path == 0) {
        if (v.type == B_ARRAY && !by_position && !slice_equal(op, SLICE_LIT("$exists")) &&
            !slice_equal(op, SLICE_LIT("$size"))) {
            for (it = biter_of(bval_doc(v)); biter_next(&it, &e);) {
                if (naive_value(op, operand, e.value)) return true;
            }
        }
        return naive_value(op, operand, v);
    }
    size_t len = strcspn(path, ".");
    const char *rest = path[len] == '.' ? path + len + 1 : path + len;
    if (v.type == B_DOCUMENT) return naive_path(bdoc_get(bval_doc(v), slice_of(path, len)), rest, false, op, operand);
    if (v.type != B_ARRAY) return naive_path(BVAL_MISSING, "", false, op, operand);
    char position[20];
    int i = 0;
    for (it = biter_of(bval_doc(v)); biter_next(&it, &e); i++) {
        if (e.value.type == B_DOCUMENT && naive_path(e.value, path, false, op, operand)) return true;
        (void) snprintf(position, sizeof(position), "%d", i);
        if (strlen(position) != len || memcmp(position, path, len) != 0) continue;
        if (*rest == 0 && naive_path(e.value, "", true, op, operand)) return true;
        if (*rest != 0 && (e.value.type == B_DOCUMENT || e.value.type == B_ARRAY) &&
            naive_path(e.value, rest, false, op, operand))
            return true;
    }
    return false;
}

static bool naive_nan(struct bval v) { return bval_is_number(v) && bnum_is_nan(bnum_of(v)); }

static bool naive_value(struct slice op, struct bval operand, struct bval v) {
    if (slice_equal(op, SLICE_LIT("$exists"))) return v.type != B_MISSING;
    if (slice_equal(op, SLICE_LIT("$size")))
        return v.type == B_ARRAY && bdoc_count(bval_doc(v)) == (uint32_t) bval_int32(operand);
    if (slice_equal(op, SLICE_LIT("$in"))) {
        struct biter it = biter_of(bval_doc(operand));
        struct belem e;
        while (biter_next(&it, &e)) {
            if (bval_equal(e.value, v)) return true;
        }
        return false;
    }
    int c = bval_compare(v, operand);
    bool is_less = op.p[1] == 'l', or_equal = op.len == 4, is_eq = op.p[1] == 'e';
    if (btype_rank(v.type) != btype_rank(operand.type)) {
        if (operand.type == B_MIN_KEY || operand.type == B_MAX_KEY) return !is_eq && (is_less ? c < 0 : c > 0);
        return false;
    }
    if (naive_nan(v) || naive_nan(operand)) return naive_nan(v) && naive_nan(operand) && (is_eq || or_equal);
    if (is_eq) return c == 0;
    return is_less ? c < 0 || (or_equal && c == 0) : c > 0 || (or_equal && c == 0);
}

static bool naive_filter(struct bdoc filter, struct bdoc doc) {
    struct biter it = biter_of(filter), ops, clauses;
    struct belem e, op, clause;
    while (biter_next(&it, &e)) {
        if (e.name.p[0] == '$') {
            bool any = false;
            bool is_and = e.name.p[1] == 'a', is_nor = e.name.p[1] == 'n', all = true;
            for (clauses = biter_of(bval_doc(e.value)); biter_next(&clauses, &clause);) {
                bool yes = naive_filter(bval_doc(clause.value), doc);
                any = any || yes;
                all = all && yes;
            }
            if (is_and ? !all : is_nor ? any : !any) return false;
            continue;
        }
        for (ops = biter_of(bval_doc(e.value)); biter_next(&ops, &op);) {
            struct slice name = op.name;
            struct bval operand = op.value;
            bool negated = false;
            if (slice_equal(name, SLICE_LIT("$ne"))) {
                name = SLICE_LIT("$eq");
                negated = true;
            }
            if (slice_equal(name, SLICE_LIT("$nin"))) {
                name = SLICE_LIT("$in");
                negated = true;
            }
            if (slice_equal(name, SLICE_LIT("$exists"))) negated = !bval_bool(operand);
            if (naive_path((struct bval){doc.p, doc.len, B_DOCUMENT}, (const char *) e.name.p, false, name, operand) ==
                negated)
                return false;
        }
    }
    return true;
}

/* random_doc's names, and positions. */
static struct slice random_path(struct chance *chance, struct bdoc doc, char *path) {
    size_t len = 0;
    struct bval v = {doc.p, doc.len, B_DOCUMENT};
    int parts = 1 + (int) chance_below(chance, 3);
    for (int i = 0; i < parts; i++) {
        const char *name = NULL;
        static const char *const fallback[] = {"a", "b", "c", "0", "1", "x"};
        struct belem e = {0};
        if ((v.type == B_DOCUMENT || v.type == B_ARRAY) && bdoc_count(bval_doc(v)) != 0 &&
            chance_below(chance, 5) != 0) {
            struct biter it = biter_of(bval_doc(v));
            for (uint64_t n = chance_below(chance, bdoc_count(bval_doc(v))) + 1; n != 0; n--)
                (void) biter_next(&it, &e);
            bool enter = v.type == B_ARRAY && e.value.type == B_DOCUMENT &&
                chance_below(chance, 2) == 0; /* without a position */
            v = e.value;
            if (enter && i > 0) {
                i--;
                parts--;
                continue;
            }
            name = (const char *) e.name.p;
        }
        if (name == NULL || *name == 0 || *name == '$' || strchr(name, '.') != NULL) {
            name = fallback[chance_below(chance, 6)];
            v = BVAL_MISSING;
        }
        len += (size_t) snprintf(path + len, 100 - len, "%s%.20s", len != 0 ? "." : "", name);
    }
    if (len == 0) {
        memcpy(path, "a", 2);
        len = 1;
    }
    return slice_of(path, len);
}

static struct bval usable(struct bval v) {
    return v.type == B_REGEX || v.type == B_UNDEFINED ? (struct bval){(const uint8_t *) "", 0, B_NULL} : v;
}

/* A value out of the document, so that equality happens, or any. */
static struct bval random_operand(struct chance *chance, struct bdoc doc, struct buf *buf) {
    struct bval v = {doc.p, doc.len, B_DOCUMENT};
    if (chance_below(chance, 2) == 0) return usable(random_value(chance, buf, 2));
    for (int depth = 0; depth < 4 && (v.type == B_DOCUMENT || v.type == B_ARRAY) && bdoc_count(bval_doc(v)) != 0;
         depth++) {
        struct biter it = biter_of(bval_doc(v));
        struct belem e = {0};
        for (uint64_t n = chance_below(chance, bdoc_count(bval_doc(v))) + 1; n != 0; n--) (void) biter_next(&it, &e);
        v = e.value;
        if (chance_below(chance, 3) == 0) break;
    }
    return usable(v);
}

static void random_filter(struct chance *chance, struct bbuild *b, struct bdoc doc, int depth) {
    static const char *const ops[] = {"$eq", "$gt", "$gte", "$lt", "$lte", "$ne", "$in", "$nin", "$exists", "$size"};
    static const char *const trees[] = {"$and", "$or", "$nor"};
    char path[128];
    struct buf value;
    buf_init(&value, mem_default());
    for (int n = 1 + (int) chance_below(chance, 3); n > 0; n--) {
        if (depth > 0 && chance_below(chance, 4) == 0) {
            struct bbuild array = bbuild_open_array(b, slice_str(trees[chance_below(chance, 3)]));
            for (int i = 1 + (int) chance_below(chance, 2); i > 0; i--) {
                struct bbuild clause = bbuild_push_doc(&array);
                random_filter(chance, &clause, doc, depth - 1);
                bbuild_close(&clause);
            }
            bbuild_close(&array);
            continue;
        }
        struct bbuild sub = bbuild_open_doc(b, random_path(chance, doc, path));
        const char *op = ops[chance_below(chance, 10)];
        if (strstr(op, "in") != NULL) {
            struct bbuild array = bbuild_open_array(&sub, slice_str(op));
            for (int i = (int) chance_below(chance, 4); i > 0; i--)
                bbuild_push(&array, random_operand(chance, doc, &value));
            bbuild_close(&array);
        } else if (strcmp(op, "$exists") == 0) {
            bbuild_bool(&sub, op, chance_below(chance, 2) == 0);
        } else if (strcmp(op, "$size") == 0) {
            bbuild_int32(&sub, op, (int32_t) chance_below(chance, 4));
        } else {
            bbuild_value(&sub, slice_str(op), random_operand(chance, doc, &value));
        }
        bbuild_close(&sub);
    }
    buf_release(&value);
}

Test(match, agrees_with_a_naive_evaluation, .init = set_up, .fini = tear_down) {
    uint64_t seed = random_seed(1), rounds = random_rounds(20000), yes = 0;
    struct buf docs, filters;
    buf_init(&docs, mem_default());
    buf_init(&filters, mem_default());
    for (uint64_t round = 0; round < rounds; round++) {
        struct chance chance;
        chance_init(&chance, seed + round);
        buf_clear(&docs);
        buf_clear(&filters);
        arena_reset(&arena);
        struct bdoc doc = random_doc(&chance, &docs, 5, 3);
        struct bbuild b;
        bbuild_begin(&b, &filters);
        random_filter(&chance, &b, doc, 2);
        struct bdoc filter = bbuild_finish(&b);
        struct matcher m;
        struct err err = ERR_INIT;
        if (match_compile(mem_default(), &arena, filter, &m, &err) != ST_OK) continue; /* "cannot nest $ under $in" */
        bool matches, wanted = naive_filter(filter, doc);
        cr_assert_eq(match_doc(&m, doc, &matches, &err), ST_OK);
        if (matches != wanted) {
            buf_clear(&text);
            json_write(filter, false, JSON_CANONICAL, 0, &text);
            (void) buf_append(&text, "\n", 1);
            json_write(doc, false, JSON_CANONICAL, 0, &text);
            cr_assert_fail("seed %llu says %d:\n%.*s", (unsigned long long) (seed + round), matches, (int) text.len,
                           (const char *) text.p);
        }
        yes += matches;
        matcher_release(&m);
    }
    cr_assert(yes > rounds / 20 && yes < rounds, "%llu of %llu match: the test is worth nothing",
              (unsigned long long) yes, (unsigned long long) rounds);
    buf_release(&docs);
    buf_release(&filters);
}

/* --- hostile input --------------------------------------------------------------------------------------------- */

Test(match, refuses_a_filter_that_is_too_deep, .init = set_up, .fini = tear_down) {
    struct buf json;
    struct matcher m;
    struct err err = ERR_INIT;
    buf_init(&json, mem_default());
    for (int i = 0; i < 85; i++) (void) buf_append(&json, "{\"$or\":[", 8);
    (void) buf_append(&json, "{\"a\":{\"$not\":{\"$not\":{\"$not\":{\"$gt\":1}}}}}", 42);
    for (int i = 0; i < 85; i++) (void) buf_append(&json, "]}", 2);
    (void) buf_append_u8(&json, 0);
    cr_assert_eq(match_compile(mem_default(), &arena, doc_of((const char *) json.p), &m, &err), ST_OK, "%s", err.text);
    struct bbuild levels[121], b;
    buf_clear(&json);
    bbuild_begin(&levels[0], &json);
    for (int i = 0; i < 120; i++)
        levels[i + 1] = bbuild_open_doc(&levels[i], i == 0 ? SLICE_LIT("a") : SLICE_LIT("$not"));
    b = levels[120];
    bbuild_int32(&b, "$gt", 1);
    for (int i = 120; i > 0; i--) bbuild_close(&levels[i]);
    cr_assert_eq(match_compile(mem_default(), &arena, bbuild_finish(&levels[0]), &m, &err), ST_INVALID);
    cr_assert_eq(err.code, CODE_BadValue);
    cr_assert_not_null(strstr(err.text, "tree depth"));
    buf_release(&json);
}

Test(match, ends_a_hostile_pattern_with_an_error, .init = set_up, .fini = tear_down) {
    static const char *const patterns[] = {"{a: {$regex: '^(a+)+$'}}", "{a: {$regex: '(a|aa)+$'}}",
                                           "{a: {$regex: '(.*)*(.*)*(.*)*x'}}", "{a: {$regex: '(?:(?:a+)+)+\\\\d'}}"};
    struct bdoc doc = doc_of("{a: 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab'}");
    for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
        struct matcher m = compiled(patterns[i]);
        struct err err = ERR_INIT;
        bool matches = true;
        status st = match_doc(&m, doc, &matches, &err);
        cr_assert(st == ST_INVALID ? err.code == 51156 : !matches, "%s", patterns[i]);
        matcher_release(&m);
    }
}

Test(match, takes_a_long_text_without_a_deep_stack, .init = set_up, .fini = tear_down) {
    struct buf doc;
    struct bbuild b;
    struct matcher m = compiled("{a: /^(?:x|y)*$/}");
    struct err err = ERR_INIT;
    bool matches = false;
    buf_init(&doc, mem_default());
    char *long_text = arena_alloc(&arena, 1000001);
    memset(long_text, 'x', 1000000);
    long_text[1000000] = 0;
    bbuild_begin(&b, &doc);
    bbuild_str(&b, "a", long_text);
    status st = match_doc(&m, bbuild_finish(&b), &matches, &err);
    cr_assert(st == ST_OK ? matches : err.code == 51156);
    buf_release(&doc);
    matcher_release(&m);
}

/* --- want of memory, threads ----------------------------------------------------------------------------------- */

static void match_with(struct mem_fail *mf, struct bdoc filter, struct bdoc doc) {
    struct arena own;
    struct matcher m;
    struct err err = ERR_INIT;
    bool matches;
    arena_init(&own, &mf->mem);
    status st = match_compile(&mf->mem, &own, filter, &m, &err);
    if (st == ST_OK) {
        st = match_doc(&m, doc, &matches, &err);
        if (st == ST_OK) cr_assert(matches);
        matcher_release(&m);
    }
    cr_assert(st == ST_OK || (st == ST_NOMEM && mem_fail_hit(mf)), "%s", err.text);
    arena_release(&own);
    cr_assert_eq(mem_fail_live(mf), 0);
}

Test(match, survives_want_of_memory, .init = set_up, .fini = tear_down) {
    struct bdoc filter = doc_of("{a: {$in: [1, 2, /b+c/, /x.y/i]}, $or: [{b: /^q[a-z]/}, {c: {$elemMatch: {d: {$gt: "
                                "1}, $nor: [{e: 1}]}}}], 'f.g': {$not: {$all: [1, 2]}}}");
    struct bdoc doc = doc_of("{a: 'abbc', b: 'no', c: [{d: 2}]}");
    struct mem_fail mf;
    uint64_t n = 1;
    do {
        mem_fail_init(&mf, n++);
        match_with(&mf, filter, doc);
    } while (mem_fail_hit(&mf));
    cr_assert_gt(n, 5);
}

Test(match, allocates_nothing_per_document, .init = set_up, .fini = tear_down) {
    struct bdoc filter = doc_of("{a: {$gt: 1}, b: /x.y/, 'c.d': {$in: [1, 2]}, e: {$elemMatch: {f: 1}}}"),
                doc = doc_of("{a: 2, b: 'xzy', c: [{d: 2}], e: [{f: 1}]}");
    struct mem_fail mf;
    struct arena own;
    struct matcher m;
    struct err err = ERR_INIT;
    bool matches = false;
    mem_fail_init(&mf, 0);
    arena_init(&own, &mf.mem);
    cr_assert_eq(match_compile(&mf.mem, &own, filter, &m, &err), ST_OK);
    cr_assert_eq(match_doc(&m, doc, &matches, &err), ST_OK); /* the regex makes its match block */
    uint64_t count = mf.count;
    for (int i = 0; i < 100; i++) cr_assert_eq(match_doc(&m, doc, &matches, &err), ST_OK);
    cr_assert(matches);
    cr_assert_eq(mf.count, count);
    matcher_release(&m);
    arena_release(&own);
}

struct shared {
    struct matcher m;
    struct bdoc yes, no;
    bool failed;
};

static void *match_many(void *ctx) {
    struct shared *s = ctx;
    struct err err = ERR_INIT;
    for (int i = 0; i < 2000; i++) {
        bool yes = false, no = true;
        if (match_doc(&s->m, s->yes, &yes, &err) != ST_OK || match_doc(&s->m, s->no, &no, &err) != ST_OK || !yes || no)
            __atomic_store_n(&s->failed, true, __ATOMIC_RELAXED);
    }
    return NULL;
}

Test(match, serves_several_threads, .init = set_up, .fini = tear_down) {
    struct shared s = {.m = compiled("{a: /x[yz]+w/, b: {$in: [1, /q.r/]}}"),
                       .yes = doc_of("{a: 'xyzw', b: 'qxr'}"),
                       .no = doc_of("{a: 'xyzw', b: 'qxs'}")};
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) cr_assert_eq(pthread_create(&threads[i], NULL, match_many, &s), 0);
    for (int i = 0; i < 4; i++) cr_assert_eq(pthread_join(threads[i], NULL), 0);
    cr_assert_not(s.failed);
    matcher_release(&s.m);
}
