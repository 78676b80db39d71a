/* An index never changes an answer: random documents, indexes and queries; what the planner's choice gives, and each index by hint, against the scan of all
 * in natural order. ELMO_SEED and ELMO_ROUNDS make it another or a longer run; a failure prints the seed that repeats it. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/chance.h"
#include "base/codes.h"
#include "eval/sort_key.h"
#include "index/key.h"
#include "query/find.h"
#include "query/write.h"
#include "support/doc_db.h"
#include "support/kv_ease.h"
#include "support/random_bson.h"

enum { DOCS_MIN = 20, DOCS_MAX = 160, QUERIES = 40, INDEXES_MAX = 4 };

static const char *const paths[] = {"a", "b", "c", "a.x", "a.y", "b.x", "b.y", "c.x", "a.0", "b.0.x", "a.x.z", "_id"};
enum { PATHS = 11, PATHS_ID = 12, PLAIN_PATHS = 8 };

struct round {
    struct chance chance;
    uint64_t seed;
    struct doc_db t;
    struct env *env;          /* of the real store, or NULL */
    bool arrays, nested, odd; /* what documents may hold */
    uint32_t docs;
    struct bdoc indexes[INDEXES_MAX];
    uint32_t index_count;
    struct bdoc filter, sort, projection;
    struct bval hint;
    int64_t skip, limit;
    bool is_total;      /* the sort tells all documents apart */
    struct arena arena; /* all documents that the test makes */
    struct bdoc natural;
};

static uint64_t below(struct round *r, uint64_t n) { return chance_below(&r->chance, n); }
static bool maybe(struct round *r, uint64_t percent) { return below(r, 100) < percent; }

/* --- documents --- */

static void number(struct round *r, struct bbuild *b, const char *name) {
    int64_t n = (int64_t) below(r, 8) - 1;
    switch (below(r, 5)) {
    case 0: bbuild_int64(b, name, n); return;
    case 1: bbuild_double(b, name, (double) n + (maybe(r, 30) ? 0.5 : 0)); return;
    default: bbuild_int32(b, name, (int32_t) n); return;
    }
}

static void scalar(struct round *r, struct bbuild *b, const char *name) {
    static const char *const words[] = {"", "x", "xy", "abc", "abd", "b"};
    uint64_t k = below(r, r->odd ? 12 : 8);
    switch (k) {
    case 5:
    case 6: bbuild_str(b, name, words[below(r, 6)]); return;
    case 7: bbuild_null(b, name); return;
    case 8: bbuild_bool(b, name, maybe(r, 50)); return;
    case 9: bbuild_date(b, name, (int64_t) below(r, 3)); return;
    case 10: bbuild_double(b, name, maybe(r, 50) ? __builtin_nan("") : -0.0); return;
    case 11:
        if (maybe(r, 50)) bbuild_value(b, slice_str(name), (struct bval){NULL, 0, B_UNDEFINED});
        else bbuild_value(b, slice_str(name), (struct bval){NULL, 0, maybe(r, 50) ? B_MIN_KEY : B_MAX_KEY});
        return;
    default: number(r, b, name); return;
    }
}

static void value(struct round *r, struct bbuild *b, const char *name, int depth);

static void document(struct round *r, struct bbuild *sub, int depth) {
    static const char *const names[] = {"x", "y", "z", "0"};
    uint64_t first = below(r, 2);
    for (uint64_t i = 0; i < 2; i++) {
        if (maybe(r, 75))
            value(r, sub, names[maybe(r, 90) ? (first + i) % 2 : 2 + below(r, r->odd ? 2 : 1)], depth - 1);
    }
}

static void value(struct round *r, struct bbuild *b, const char *name, int depth) {
    if (depth > 0 && r->arrays && maybe(r, 30)) {
        struct bbuild sub = bbuild_open_array(b, slice_str(name));
        uint64_t n = below(r, 4);
        for (uint64_t i = 0; i < n; i++) {
            char at[4];
            snprintf(at, sizeof(at), "%u", (unsigned) i);
            value(r, &sub, at, depth - 1);
        }
        bbuild_close(&sub);
        return;
    }
    if (depth > 0 && r->nested && maybe(r, 40)) {
        struct bbuild sub = bbuild_open_doc(b, slice_str(name));
        document(r, &sub, depth);
        bbuild_close(&sub);
        return;
    }
    scalar(r, b, name);
}

static struct bdoc keep(struct round *r, struct buf *buf, struct bbuild *b) {
    struct bdoc d = bbuild_finish(b), copy = {arena_copy(&r->arena, d.p, d.len), d.len};
    buf_clear(buf);
    return copy;
}

static struct bdoc random_row(struct round *r, int32_t id) {
    static const char *const names[] = {"a", "b", "c"};
    struct bbuild b;
    struct buf buf;
    buf_init(&buf, mem_default());
    bbuild_begin(&b, &buf);
    bbuild_int32(&b, "_id", id);
    uint64_t first = below(r, 3);
    for (uint64_t i = 0; i < 3; i++) {
        if (maybe(r, 80)) value(r, &b, names[(first + i) % 3], 3);
    }
    struct bdoc d = keep(r, &buf, &b);
    buf_release(&buf);
    return d;
}

/* --- indexes --- */

static struct bdoc random_index(struct round *r) {
    struct bbuild b, key;
    struct buf buf;
    buf_init(&buf, mem_default());
    bbuild_begin(&b, &buf);
    key = bbuild_open_doc(&b, SLICE_LIT("key"));
    uint64_t n = 1 + below(r, 3);
    bool used[PATHS_ID] = {0};
    for (uint64_t i = 0; i < n; i++) {
        uint64_t p = below(r, maybe(r, 85) ? PLAIN_PATHS : PATHS_ID);
        if (used[p]) continue;
        used[p] = true;
        bbuild_int32(&key, paths[p], maybe(r, 60) ? 1 : -1);
    }
    bbuild_close(&key);
    if (maybe(r, 15)) bbuild_bool(&b, "sparse", true);
    if (maybe(r, 10)) bbuild_bool(&b, "unique", true);
    struct bdoc d = keep(r, &buf, &b);
    buf_release(&buf);
    return d;
}

static bool is_sparse(struct bdoc index) { return bdoc_get_str(index, "sparse").type != B_MISSING; }

static void add_index(struct round *r) {
    struct bdoc d = random_index(r);
    bool created;
    uint32_t before, after;
    if (catalog_create_indexes(&r->t.op, NS, &d, 1, NULL, NULL, &created, &before, &after, &r->t.err) == ST_OK &&
        before != after)
        r->indexes[r->index_count++] = d;
}

static void build(struct round *r) {
    /* Mostly over the naive store, now and then over the real one with everything small, so that scans meet many segments. */
    if (r->seed % 5 == 0) {
        r->env = ease_env();
        doc_open_kv(&r->t, ease_open(r->env, "/oracle.elmo", NULL));
    } else {
        doc_open(&r->t);
    }
    uint64_t early = below(r, 3), late = below(r, 3);
    for (uint64_t i = 0; i < early; i++) add_index(r);
    int32_t docs = DOCS_MIN + (int32_t) below(r, maybe(r, 50) ? 20 : DOCS_MAX - DOCS_MIN);
    for (int32_t i = 0; i < docs; i++) {
        struct bdoc d = random_row(r, i);
        status st = insert(&r->t, d);
        if (st == ST_OK) r->docs++;
        else
            cr_assert(st == ST_DUPLICATE || st == ST_INVALID, "seed %llu: %s", (unsigned long long) r->seed,
                      r->t.err.text);
    }
    for (uint64_t i = 0; i < late && r->index_count < INDEXES_MAX; i++) add_index(r);
}

/* --- queries --- */

static void condition(struct round *r, struct bbuild *b, int depth);

static void operator(struct round *r, struct bbuild *sub, int depth) {
    static const char *const comparisons[] = {"$gt", "$gte", "$lt", "$lte", "$eq", "$ne"};
    static const char *const types[] = {"number", "string", "object", "array", "null", "bool", "int"};
    struct bbuild more;
    switch (below(r, 16)) {
    case 0:
    case 1:
    case 2:
    case 3:
    case 4:
    case 5: value(r, sub, comparisons[below(r, 6)], maybe(r, 20) ? 2 : 0); return;
    case 6:
    case 7:
        more = bbuild_open_array(sub, maybe(r, 80) ? SLICE_LIT("$in") : SLICE_LIT("$nin"));
        for (uint64_t i = below(r, 4), k = 0; k < i; k++) {
            char at[4];
            snprintf(at, sizeof(at), "%u", (unsigned) k);
            value(r, &more, at, maybe(r, 20) ? 2 : 0);
        }
        bbuild_close(&more);
        return;
    case 8: bbuild_bool(sub, "$exists", maybe(r, 60)); return;
    case 9: bbuild_str(sub, "$type", types[below(r, 7)]); return;
    case 10: bbuild_str(sub, "$regex", maybe(r, 70) ? (maybe(r, 50) ? "^ab" : "^x") : "b"); return;
    case 11: bbuild_int32(sub, "$size", (int32_t) below(r, 4)); return;
    case 12:
        more = bbuild_open_array(sub, SLICE_LIT("$mod"));
        bbuild_int32(&more, "0", 2);
        bbuild_int32(&more, "1", (int32_t) below(r, 2));
        bbuild_close(&more);
        return;
    case 13:
        more = bbuild_open_doc(sub, SLICE_LIT("$not"));
        value(r, &more, comparisons[below(r, 5)], 0);
        bbuild_close(&more);
        return;
    case 14:
        more = bbuild_open_array(sub, SLICE_LIT("$all"));
        value(r, &more, "0", 0);
        if (maybe(r, 50)) value(r, &more, "1", 0);
        bbuild_close(&more);
        return;
    default:
        more = bbuild_open_doc(sub, SLICE_LIT("$elemMatch"));
        if (maybe(r, 50)) {
            value(r, &more, comparisons[below(r, 2)], 0);
            value(r, &more, comparisons[2 + below(r, 2)], 0);
        } else if (depth > 0) {
            static const char *const inner[] = {"x", "y", "x.z"};
            for (int i = 0; i < 2; i++) {
                struct bbuild field = bbuild_open_doc(&more, slice_str(inner[below(r, i == 0 ? 1 : 3)]));
                operator(r, &field, 0);
                bbuild_close(&field);
                if (maybe(r, 50)) break;
            }
        } else {
            value(r, &more, "$gte", 0);
        }
        bbuild_close(&more);
        return;
    }
}

static void predicate(struct round *r, struct bbuild *b, int depth) {
    const char *path = paths[below(r, PATHS_ID)];
    if (maybe(r, 25)) {
        value(r, b, path, maybe(r, 30) ? 2 : 0);
        return;
    }
    struct bbuild sub = bbuild_open_doc(b, slice_str(path));
    operator(r, &sub, depth);
    if (maybe(r, 25)) {
        static const char *const second[] = {"$lt", "$gt", "$ne"};
        struct bdoc so_far = {sub.buf->p + sub.at, 0};
        (void) so_far;
        value(r, &sub, second[below(r, 3)], 0);
    }
    bbuild_close(&sub);
}

static void condition(struct round *r, struct bbuild *b, int depth) {
    uint64_t k = depth > 0 ? below(r, 10) : 9;
    if (k > 2) {
        predicate(r, b, depth);
        return;
    }
    struct bbuild array = bbuild_open_array(b,
                                            k == 0             ? SLICE_LIT("$and")
                                                : k == 1       ? SLICE_LIT("$or")
                                                : maybe(r, 70) ? SLICE_LIT("$or")
                                                               : SLICE_LIT("$nor"));
    for (uint64_t n = 1 + below(r, 3), i = 0; i < n; i++) {
        struct bbuild sub = bbuild_push_doc(&array);
        condition(r, &sub, depth - 1);
        if (maybe(r, 30)) condition(r, &sub, depth - 1);
        bbuild_close(&sub);
    }
    bbuild_close(&array);
}

static struct bdoc random_filter(struct round *r) {
    struct bbuild b;
    struct buf buf;
    buf_init(&buf, mem_default());
    bbuild_begin(&b, &buf);
    for (uint64_t n = maybe(r, 5) ? 0 : 1 + below(r, 3), i = 0; i < n; i++) condition(r, &b, 2);
    struct bdoc d = keep(r, &buf, &b);
    buf_release(&buf);
    return d;
}

static struct bdoc random_sort(struct round *r) {
    struct bbuild b;
    struct buf buf;
    r->is_total = false;
    if (maybe(r, 40)) return (struct bdoc){0};
    buf_init(&buf, mem_default());
    bbuild_begin(&b, &buf);
    bool used[PATHS_ID] = {0};
    for (uint64_t n = 1 + below(r, 2), i = 0; i < n; i++) {
        uint64_t p = below(r, maybe(r, 90) ? PLAIN_PATHS : PATHS);
        if (used[p]) continue;
        used[p] = true;
        bbuild_int32(&b, paths[p], maybe(r, 60) ? 1 : -1);
    }
    if (maybe(r, 50)) {
        bbuild_int32(&b, "_id", maybe(r, 60) ? 1 : -1);
        r->is_total = true;
    }
    struct bdoc d = keep(r, &buf, &b);
    buf_release(&buf);
    return d;
}

static struct bdoc random_projection(struct round *r) {
    struct bbuild b;
    struct buf buf;
    if (maybe(r, 65)) return (struct bdoc){0};
    buf_init(&buf, mem_default());
    bbuild_begin(&b, &buf);
    int include = maybe(r, 75);
    bbuild_int32(&b, paths[below(r, PLAIN_PATHS)], include);
    if (maybe(r, 60)) bbuild_int32(&b, "_id", 0);
    struct bdoc d = keep(r, &buf, &b);
    buf_release(&buf);
    return d;
}

/* A query that leans on an index: points on its first fields, the order of the next ones, one of its fields wanted. */
static void guided_query(struct round *r) {
    struct bdoc key = bval_doc(bdoc_get_str(r->indexes[below(r, r->index_count)], "key"));
    struct bbuild filter, sort, projection, sub, in;
    struct buf buf[3];
    struct biter it = biter_of(key);
    struct belem e;
    char name[32];
    int reversed = maybe(r, 50);
    for (int i = 0; i < 3; i++) buf_init(&buf[i], mem_default());
    bbuild_begin(&filter, &buf[0]);
    bbuild_begin(&sort, &buf[1]);
    bbuild_begin(&projection, &buf[2]);
    uint64_t points = below(r, 3), wanted = below(r, 3);
    for (uint64_t f = 0; biter_next(&it, &e); f++) {
        snprintf(name, sizeof(name), "%.*s", (int) e.name.len, (const char *) e.name.p);
        if (f == wanted || (f == 0 && maybe(r, 30))) {
            bbuild_int32(&projection, name, 1);
            wanted = 99;
        }
        if (f >= points) {
            if (maybe(r, 90)) bbuild_int32(&sort, name, (bval_int32(e.value) > 0) != reversed ? 1 : -1);
            if (maybe(r, 50)) continue;
            sub = bbuild_open_doc(&filter, e.name);
            scalar(r, &sub, maybe(r, 50) ? "$gte" : "$lt");
            bbuild_close(&sub);
        } else if (maybe(r, 50)) {
            value(r, &filter, name, maybe(r, 20) ? 2 : 0);
        } else {
            sub = bbuild_open_doc(&filter, e.name);
            in = bbuild_open_array(&sub, SLICE_LIT("$in"));
            for (uint64_t i = 0, n = 1 + below(r, 5); i < n; i++) {
                snprintf(name, sizeof(name), "%u", (unsigned) i);
                scalar(r, &in, name);
            }
            bbuild_close(&in);
            bbuild_close(&sub);
        }
    }
    r->is_total = maybe(r, 50);
    if (r->is_total) bbuild_int32(&sort, "_id", maybe(r, 60) ? 1 : -1);
    if (maybe(r, 70)) bbuild_int32(&projection, "_id", 0);
    r->filter = keep(r, &buf[0], &filter);
    r->sort = keep(r, &buf[1], &sort);
    r->projection = wanted == 99 && maybe(r, 60) ? keep(r, &buf[2], &projection) : (struct bdoc){0};
    for (int i = 0; i < 3; i++) buf_release(&buf[i]);
}

/* --- answers --- */

struct answer {
    struct bdoc *docs;
    size_t count;
};

static void answer_free(struct answer *a) {
    free(a->docs);
    *a = (struct answer){0};
}

static status ask(struct round *r, struct bval hint, struct answer *out) {
    struct find_request req = {.ns = NS,
                               .filter = r->filter,
                               .sort = r->sort,
                               .projection = r->projection,
                               .skip = r->skip,
                               .limit = r->limit,
                               .hint = hint};
    struct find *f;
    struct bdoc d;
    *out = (struct answer){0};
    status st = find_open(&r->t.op, &req, &f, &r->t.err);
    if (st != ST_OK) return st;
    while ((st = find_next(&r->t.op, f, &d, &r->t.err)) == ST_OK) {
        out->docs = realloc(out->docs, (out->count + 1) * sizeof(d));
        out->docs[out->count++] = (struct bdoc){arena_copy(&r->arena, d.p, d.len), d.len};
        if (maybe(r, 5)) find_rest(f);
    }
    find_close(f);
    return st == ST_END ? ST_OK : st;
}

static int compare_docs(const void *a, const void *b) {
    const struct bdoc *x = a, *y = b;
    if (x->len != y->len) return x->len < y->len ? -1 : 1;
    return memcmp(x->p, y->p, x->len);
}

static void sort_answer(struct answer *a) {
    if (a->count > 1) qsort(a->docs, a->count, sizeof(*a->docs), compare_docs);
}

static bool same_sequence(const struct answer *a, const struct answer *b) {
    if (a->count != b->count) return false;
    for (size_t i = 0; i < a->count; i++) {
        if (compare_docs(&a->docs[i], &b->docs[i]) != 0) return false;
    }
    return true;
}

static void tell(struct round *r, const char *what, struct bval hint) {
    fprintf(stderr, "%s; repeat with ELMO_SEED=%llu\n  filter %s\n", what, (unsigned long long) r->seed,
            text_of(r->filter));
    if (r->sort.p != NULL) fprintf(stderr, "  sort %s\n", text_of(r->sort));
    if (r->projection.p != NULL) fprintf(stderr, "  projection %s\n", text_of(r->projection));
    fprintf(stderr, "  skip %lld limit %lld\n", (long long) r->skip, (long long) r->limit);
    if (hint.type == B_DOCUMENT) fprintf(stderr, "  hint %s\n", text_of(bval_doc(hint)));
    for (uint32_t i = 0; i < r->index_count; i++) fprintf(stderr, "  index %s\n", text_of(r->indexes[i]));
}

static void explain(struct round *r, struct bval hint) {
    struct find_request req = {.ns = NS,
                               .filter = r->filter,
                               .sort = r->sort,
                               .projection = r->projection,
                               .skip = r->skip,
                               .limit = r->limit,
                               .hint = hint};
    struct buf buf;
    struct bbuild b;
    buf_init(&buf, mem_default());
    bbuild_begin(&b, &buf);
    if (find_explain(&r->t.op, &req, EXPLAIN_FIND, SLICE_NONE, EXPLAIN_EXECUTION_STATS, &b, &r->t.err) == ST_OK) {
        struct bdoc plan = bdoc_empty, q = bbuild_finish(&b);
        struct bval v = bdoc_get_str(q, "queryPlanner");
        if (v.type == B_DOCUMENT) v = bdoc_get_str(bval_doc(v), "winningPlan");
        if (v.type == B_DOCUMENT) plan = bval_doc(v);
        fprintf(stderr, "  plan %s\n", text_of(plan));
    }
    buf_release(&buf);
}

/* What the planner chose, so that a run over all kinds of plans can be told from one of scans alone. */
enum { SEEN_IXSCAN, SEEN_COVERED, SEEN_MERGE, SEEN_OR, SEEN_BACKWARD, SEEN_SORT, SEEN_COLLSCAN, SEEN_ID, SEEN_COUNT };
static uint64_t seen[SEEN_COUNT];
static void note_stages(struct bdoc d) {
    static const char *const names[SEEN_COUNT] = {"IXSCAN", "PROJECTION_COVERED", "SORT_MERGE", "OR", "backward",
                                                  "SORT",   "COLLSCAN",           "_id_"};
    struct biter it = biter_of(d);
    struct belem e;
    while (biter_next(&it, &e)) {
        if (e.value.type == B_DOCUMENT || e.value.type == B_ARRAY) note_stages(bval_doc(e.value));
        for (int i = 0; i < SEEN_COUNT && e.value.type == B_STRING; i++)
            seen[i] += slice_equal(bval_string(e.value), slice_str(names[i]));
    }
}

static void note_plan(struct round *r, struct bval hint) {
    struct find_request req = {.ns = NS,
                               .filter = r->filter,
                               .sort = r->sort,
                               .projection = r->projection,
                               .skip = r->skip,
                               .limit = r->limit,
                               .hint = hint};
    struct buf buf;
    struct bbuild b;
    buf_init(&buf, mem_default());
    bbuild_begin(&b, &buf);
    cr_assert_eq(find_explain(&r->t.op, &req, EXPLAIN_FIND, SLICE_NONE, EXPLAIN_QUERY_PLANNER, &b, &r->t.err), ST_OK,
                 "%s", r->t.err.text);
    struct bdoc planner = bval_doc(bdoc_get_str(bbuild_finish(&b), "queryPlanner"));
    note_stages(bval_doc(bdoc_get_str(planner, "winningPlan")));
    buf_release(&buf);
}

static void show_difference(const struct answer *want, const struct answer *got) {
    fprintf(stderr, "  %zu documents wanted, %zu given\n", want->count, got->count);
    size_t i = 0, j = 0;
    for (int shown = 0; (i < want->count || j < got->count) && shown < 6;) {
        int c = i == want->count ? 1 : j == got->count ? -1 : compare_docs(&want->docs[i], &got->docs[j]);
        if (c < 0) fprintf(stderr, "  missing %s\n", text_of(want->docs[i])), shown++;
        if (c > 0) fprintf(stderr, "  too much %s\n", text_of(got->docs[j])), shown++;
        i += c <= 0;
        j += c >= 0;
    }
}

static void check_order(struct round *r, const struct answer *a, struct bval hint) {
    struct sort_pattern pattern;
    struct arena arena, scratch;
    struct buf key, last;
    if (r->sort.p == NULL || r->projection.p != NULL) return;
    arena_init(&arena, mem_default());
    arena_init(&scratch, mem_default());
    buf_init(&key, mem_default());
    buf_init(&last, mem_default());
    cr_assert_eq(sort_pattern_parse(&arena, r->sort, &pattern, NULL), ST_OK);
    for (size_t i = 0; i < a->count; i++) {
        buf_clear(&key);
        arena_reset(&scratch);
        cr_assert_eq(sort_key_append(&pattern, a->docs[i], 0, &scratch, &key, NULL), ST_OK);
        if (i > 0 && slice_compare(buf_slice(&last), buf_slice(&key)) > 0) {
            tell(r, "out of order", hint);
            explain(r, hint);
            fprintf(stderr, "  %s\n  before %s\n", text_of(a->docs[i - 1]), text_of(a->docs[i]));
            cr_assert_fail("out of order");
        }
        struct buf t = last;
        last = key;
        key = t;
    }
    buf_release(&key);
    buf_release(&last);
    arena_release(&arena);
    arena_release(&scratch);
}

static void compare(struct round *r, struct answer *want, struct answer *want_sorted, struct bval hint) {
    struct answer got;
    status st = ask(r, hint, &got);
    if (st != ST_OK) {
        tell(r, "failed", hint);
        cr_assert_fail("%s", r->t.err.text);
    }
    check_order(r, &got, hint);
    bool same = r->is_total ? same_sequence(want, &got) : got.count == want->count;
    if (same && !r->is_total && r->limit == 0 && r->skip == 0) {
        sort_answer(&got);
        same = same_sequence(want_sorted, &got);
    }
    if (!same) {
        tell(r, "an index changed the answer", hint);
        explain(r, hint);
        sort_answer(&got);
        show_difference(want_sorted, &got);
        cr_assert_fail("an index changed the answer");
    }
    answer_free(&got);
}

static void compare_counts(struct round *r, size_t want) {
    struct find_request req = {.ns = NS, .filter = r->filter, .skip = r->skip, .limit = r->limit};
    int64_t n = -1;
    cr_assert_eq(count_run(&r->t.op, &req, &n, &r->t.err), ST_OK, "%s", r->t.err.text);
    if (n == (int64_t) want) return;
    tell(r, "count differs", BVAL_MISSING);
    cr_assert_fail("%lld counted, %zu found", (long long) n, want);
}

static struct answer distinct(struct round *r, const char *path, struct bval hint) {
    struct find_request req = {.ns = NS, .filter = r->filter, .hint = hint};
    struct buf out;
    struct bdoc values;
    struct answer a = {0};
    buf_init(&out, mem_default());
    cr_assert_eq(distinct_run(&r->t.op, &req, slice_str(path), &out, &values, &r->t.err), ST_OK, "%s", r->t.err.text);
    struct biter it = biter_of(values);
    struct belem e;
    while (biter_next(&it, &e)) {
        /* numbers that are equal are one value: which of them stands for all is open */
        struct bbuild b;
        struct buf one;
        buf_init(&one, mem_default());
        key_append(&one, e.value, false);
        struct buf doc;
        buf_init(&doc, mem_default());
        bbuild_begin(&b, &doc);
        bbuild_binary(&b, "", 0, buf_slice(&one));
        a.docs = realloc(a.docs, (a.count + 1) * sizeof(*a.docs));
        a.docs[a.count++] = keep(r, &doc, &b);
        buf_release(&one);
        buf_release(&doc);
    }
    buf_release(&out);
    sort_answer(&a);
    return a;
}

static void compare_distinct(struct round *r, struct bval natural) {
    const char *path = paths[below(r, PATHS)];
    struct answer want = distinct(r, path, natural), got = distinct(r, path, BVAL_MISSING);
    if (!same_sequence(&want, &got)) {
        tell(r, "distinct differs", BVAL_MISSING);
        cr_assert_fail("distinct %s: %zu values by scan, %zu by plan", path, want.count, got.count);
    }
    answer_free(&want);
    answer_free(&got);
}

static void query(struct round *r) {
    struct bval natural = {r->natural.p, r->natural.len, B_DOCUMENT};
    struct answer want, want_sorted;
    r->filter = random_filter(r);
    r->sort = random_sort(r);
    r->projection = random_projection(r);
    if (r->index_count > 0 && maybe(r, 40)) guided_query(r);
    r->skip = maybe(r, 10) ? (int64_t) below(r, 5) : 0;
    r->limit = maybe(r, 30) ? (int64_t) (1 + below(r, 10)) : 0;
    status st = ask(r, natural, &want);
    if (st !=
        ST_OK) { /* a filter that is refused is refused however it is asked; what a sort refuses depends on the documents that come to it */
        struct answer again;
        bool by_sort = strstr(r->t.err.text, "parallel arrays") != NULL;
        cr_assert(ask(r, BVAL_MISSING, &again) != ST_OK || by_sort, "seed %llu: %s", (unsigned long long) r->seed,
                  r->t.err.text);
        answer_free(&again);
        answer_free(&want);
        return;
    }
    check_order(r, &want, natural);
    want_sorted = (struct answer){malloc(want.count * sizeof(*want.docs) + 1), want.count};
    if (want.count > 0) memcpy(want_sorted.docs, want.docs, want.count * sizeof(*want.docs));
    sort_answer(&want_sorted);
    compare(r, &want, &want_sorted, BVAL_MISSING);
    for (uint32_t i = 0; i < r->index_count; i++) {
        if (!is_sparse(r->indexes[i])) compare(r, &want, &want_sorted, bdoc_get_str(r->indexes[i], "key"));
    }
    compare_counts(r, want.count);
    if (maybe(r, 30)) compare_distinct(r, natural);
    if (maybe(r, 20)) note_plan(r, BVAL_MISSING);
    if (r->index_count > 0 && maybe(r, 20)) note_plan(r, bdoc_get_str(r->indexes[0], "key"));
    free(want_sorted.docs);
    answer_free(&want);
}

static void run_round(uint64_t seed) {
    struct round r = {.seed = seed};
    chance_init(&r.chance, seed);
    arena_init(&r.arena, mem_default());
    static struct bdoc natural;
    if (natural.p == NULL) natural = json("{'$natural': 1}");
    r.natural = natural;
    r.arrays = maybe(&r, 65);
    r.nested = maybe(&r, 75);
    r.odd = maybe(&r, 40);
    build(&r);
    for (int i = 0; i < QUERIES; i++) query(&r);
    doc_close(&r.t);
    env_free(r.env);
    arena_release(&r.arena);
}

static void run_rounds(uint64_t from, uint64_t count) {
    uint64_t seed = random_seed(from);
    for (uint64_t i = 0; i < random_rounds(count); i++) run_round(seed + i);
    /* A run of scans alone would prove nothing. */
    for (int i = 0; i < SEEN_COUNT && random_rounds(count) >= count; i++)
        cr_assert_gt(seen[i], 0, "no plan of kind %d", i);
}

Test(oracle, an_index_never_changes_an_answer) { run_rounds(1, 120); }
Test(oracle, nor_does_it_with_other_seeds) { run_rounds(1000000, 120); }
