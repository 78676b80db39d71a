#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "index/text/consolidate.h"
#include "index/text/postings.h"
#include "support/kv_ease.h"
#include "support/mem_fail.h"
#include "support/model_kv.h"
#include "support/random_bson.h"
#include "support/text_ease.h"

#define SPEC "{key: {title: 'text', body: 'text'}, weights: {title: 4}}"

/* ---- what a query means ---- */

static const char *const shelf[] = {
    "{body: 'The Coffee shop'}",             /* 1 */
    "{body: 'coffee cake'}",                 /* 2 */
    "{body: 'cake and tea', title: 'Shop'}", /* 3 */
    "{body: 'Café au lait'}",                /* 4 */
    "{body: 'cafe COFFEE'}",                 /* 5 */
    "{body: ['tea', 'shop coffee shops']}",  /* 6 */
    "{body: 'nothing'}",                     /* 7 */
    "{title: 5}",                            /* 8 */
};

struct query_case {
    const char *search;
    bool case_sensitive, diacritic_sensitive;
    const char *ids;
};

static const struct query_case query_cases[] = {
    {"coffee", 0, 0, "1 2 5 6"},
    {"COFFEES", 0, 0, "1 2 5 6"},
    {"coffee cake", 0, 0, "1 2 3 5 6"},
    {"coffee -cake", 0, 0, "1 5 6"},
    {"coffee - cake", 0, 0, "1 2 3 5 6"},
    {"coffee -shop-cake", 0, 0, "5"},
    {"coffee-cake", 0, 0, "1 2 3 5 6"},
    {"-coffee", 0, 0, ""},
    {"", 0, 0, ""},
    {"the", 0, 0, ""},
    {"\"the\"", 0, 0, ""},
    {"\"coffee shop\"", 0, 0, "1 6"},
    {"\"coffee shop\" tea", 0, 0, "1 6"},
    {"\"shop coffee\" \"tea\"", 0, 0, "6"},
    {"\"OFFEE CA\"", 0, 0, ""},         /* no word of it is a term */
    {"\"offee ca\" coffee", 0, 0, "2"}, /* but as a piece of text it is found */
    {"coffee -\"coffee cake\"", 0, 0, "1 5 6"},
    {"coffee -\"coffee cake\"shop", 0, 0, "5"},
    {"\"coffee cake", 0, 0, "1 2 3 5 6"},
    {"cafe", 0, 0, "4 5"},
    {"café", 0, 0, "4 5"},
    {"café", 0, 1, "4"},
    {"cafe", 0, 1, "5"},
    {"Cafe", 1, 0, "4"},
    {"cafe", 1, 0, "5"},
    {"Café", 1, 1, "4"},
    {"cafe\xcc\x81", 0, 1, "4"}, /* the same letter, decomposed */
    {"Coffee", 1, 0, "1"},
    {"coffee", 1, 0, "2 6"},
    {"coffee -Shop", 1, 0, "2 6"}, /* no document has Shop so written and coffee */
    {"coffee -shop", 1, 0, "2"},
    {"tea -Shop", 1, 0, "6"},
    {"tea -shop", 1, 0, "3"},
    {"The coffee", 1, 0, "2 6"}, /* a stop word in any case */
    {"\"Coffee Shop\"", 1, 0, ""},
    {"\"Coffee shop\"", 1, 0, "1"},
    {"zzz", 0, 0, ""},
};

Test(text_search, reads_queries_as_documented) {
    struct text_ease t;
    text_ease_open(&t, model_kv_new(), SPEC);
    for (size_t i = 0; i < sizeof(shelf) / sizeof(shelf[0]); i++)
        text_ease_put(&t, i + 1, (struct bdoc){0}, text_doc("%s", shelf[i]));
    for (size_t i = 0; i < sizeof(query_cases) / sizeof(query_cases[0]); i++) {
        const struct query_case *c = &query_cases[i];
        const char *got = text_ease_find(&t, c->search, c->case_sensitive, c->diacritic_sensitive);
        cr_expect_str_eq(got, c->ids, "%s (%d%d): %s", c->search, c->case_sensitive, c->diacritic_sensitive, got);
    }
    text_ease_close(&t);
}

/* ---- random histories against the naive answer ---- */

#define DOCS 80
#define TXNS 3

struct state {
    struct bdoc docs[DOCS];
};

struct world {
    struct text_ease t;
    struct chance chance;
    uint64_t seed;
    struct state committed;
    struct kv_txn *txn[TXNS];
    struct state seen[TXNS];
    uint64_t conflicts, hits;
};

static const char *const vocabulary[] = {"apple", "Apple", "apples", "pie",   "Pie",   "caf\u00e9",
                                         "cafe",  "green", "the",    "tree",  "trees", "running",
                                         "run",   "stone", "Stone",  "river", "don't", "\u6771\u4eac\u90fd"};
#define WORD_COUNT (sizeof(vocabulary) / sizeof(vocabulary[0]))

static uint64_t below(struct world *w, uint64_t n) { return chance_below(&w->chance, n); }

static const char *random_word(struct world *w) { return vocabulary[below(w, 2) ? below(w, 5) : below(w, WORD_COUNT)]; }

static void random_text(struct world *w, char *out, size_t size, uint64_t words) {
    size_t at = 0;
    out[0] = 0;
    for (uint64_t i = 0; i < words; i++)
        at += (size_t) snprintf(out + at, size - at, "%s%s", i > 0 ? " " : "", random_word(w));
}

static struct bdoc random_document(struct world *w) {
    char body[400], title[100];
    random_text(w, body, sizeof(body), below(w, 12));
    random_text(w, title, sizeof(title), below(w, 3));
    return text_doc("{title: \"%s\", body: \"%s\", n: %d}", title, body, (int) below(w, 3));
}

static void random_query(struct world *w, char *out, size_t size) {
    size_t at = 0;
    for (uint64_t i = 1 + below(w, 3); i > 0; i--) {
        uint64_t kind = below(w, 8);
        char text[200];
        random_text(w, text, sizeof(text), kind < 6 ? 1 : 2);
        at += (size_t) snprintf(out + at, size - at,
                                kind == 5       ? "-%s "
                                    : kind == 6 ? "\"%s\" "
                                    : kind == 7 ? "-\"%s\" "
                                                : "%s ",
                                text);
    }
}

static int by_score(const void *x, const void *y) {
    const struct ease_hit *a = x, *b = y;
    return a->score != b->score ? (a->score < b->score) - (a->score > b->score) : (a->id > b->id) - (a->id < b->id);
}

static size_t naive_search(struct world *w, const struct text_query *q, const struct state *s, struct ease_hit *out) {
    size_t n = 0;
    for (uint64_t id = 0; id < DOCS; id++) {
        struct arena scratch;
        bool matches = false;
        double score = 0;
        if (s->docs[id].p == NULL) continue;
        arena_init(&scratch, mem_default());
        cr_assert_eq(text_query_matches(&w->t.ix, q, s->docs[id], &scratch, &matches, &score, NULL), ST_OK);
        arena_release(&scratch);
        if (matches) out[n++] = (struct ease_hit){id, score};
    }
    qsort(out, n, sizeof(*out), by_score);
    return n;
}

static bool is_near(double a, double b) { return fabs(a - b) < 1e-9; }

/* The hits as a set are the naive ones. */
static void compare_sets(struct world *w, const struct ease_hit *got, size_t n, const struct ease_hit *want, size_t m,
                         const char *query) {
    double scores[DOCS];
    cr_assert_eq(n, m, "seed %llu, %s: %zu hits, not %zu", (unsigned long long) w->seed, query, n, m);
    for (size_t i = 0; i < DOCS; i++) scores[i] = -1;
    for (size_t i = 0; i < m; i++) scores[want[i].id] = want[i].score;
    for (size_t i = 0; i < n; i++) {
        cr_assert(is_near(scores[got[i].id], got[i].score), "seed %llu, %s: document %llu",
                  (unsigned long long) w->seed, query, (unsigned long long) got[i].id);
        scores[got[i].id] = -2;
    }
}

static void compare_answers(struct world *w, struct kv_txn *txn, const struct state *s) {
    struct ease_hit want[DOCS], got[DOCS], top[DOCS];
    struct arena arena;
    char text[600];
    random_query(w, text, sizeof(text));
    bool case_sensitive = below(w, 4) == 0, diacritic_sensitive = below(w, 4) == 0;
    (void) kv_next_statement(txn);
    arena_init(&arena, mem_default());
    const struct text_query *q = text_ease_query(&w->t, text, case_sensitive, diacritic_sensitive, &arena);
    size_t m = naive_search(w, q, s, want);
    compare_sets(w, got, text_ease_search(&w->t, txn, q, false, 0, got, DOCS), want, m, text);
    size_t n = text_ease_search(&w->t, txn, q, true, 0, got, DOCS);
    compare_sets(w, got, n, want, m, text);
    for (size_t i = 1; i < n; i++) cr_assert(got[i - 1].score >= got[i].score);
    uint64_t limit = 1 + below(w, 12);
    size_t k = text_ease_search(&w->t, txn, q, true, limit, top, DOCS);
    cr_assert_eq(k, n < limit ? n : limit, "seed %llu, %s", (unsigned long long) w->seed, text);
    for (size_t i = 0; i < k; i++)
        cr_assert(top[i].id == got[i].id && top[i].score == got[i].score, "seed %llu, %s: the best %zu",
                  (unsigned long long) w->seed, text, k);
    w->hits += m;
    arena_release(&arena);
}

static void begin(struct world *w, int i) {
    if (w->txn[i] != NULL) return;
    w->txn[i] = text_ease_begin(&w->t);
    w->seen[i] = w->committed;
}

static void write_one(struct world *w, int i) {
    struct state *s = &w->seen[i];
    uint64_t id = below(w, DOCS);
    struct bdoc new_doc = below(w, 4) == 0 ? (struct bdoc){0} : random_document(w);
    struct err err = ERR_INIT;
    if (s->docs[id].p == NULL && new_doc.p == NULL) return;
    status st = text_ease_write(&w->t, w->txn[i], id, s->docs[id], new_doc, mem_default(), &err);
    if (st == ST_CONFLICT) {
        w->conflicts++;
        kv_abort(w->txn[i]);
        w->txn[i] = NULL;
        return;
    }
    cr_assert_eq(st, ST_OK, "%s", err.text);
    s->docs[id] = new_doc;
}

static void end(struct world *w, int i, bool commit) {
    if (w->txn[i] == NULL) return;
    if (commit) text_ease_commit(w->txn[i]);
    else kv_abort(w->txn[i]);
    w->txn[i] = NULL;
}

static void consolidate(struct world *w, uint32_t steps) {
    struct consolidate_limits limits = {.step_blocks = 1 + (uint32_t) below(w, 60),
                                        .step_locators = 1 + (uint32_t) below(w, 30),
                                        .marks_min = below(w, 5),
                                        .numbers_min = below(w, 20)};
    bool more = true;
    struct err err = ERR_INIT;
    for (uint32_t i = 0; i < steps && more; i++)
        cr_assert_eq(text_consolidate_step(&w->t.ix, mem_default(), &limits, &more, &err), ST_OK, "%s", err.text);
}

/* Documents never move in memory while a history runs, so a state is its pointers; a commit takes over what the transaction changed since it began. */
static void play(struct world *w, int steps) {
    static struct state began[TXNS];
    for (int step = 0; step < steps; step++) {
        int i = (int) below(w, TXNS);
        uint64_t what = below(w, 20);
        if (w->txn[i] == NULL) {
            begin(w, i);
            began[i] = w->committed;
        }
        if (what < 10) {
            write_one(w, i);
        } else if (what < 13) {
            struct state mine = w->seen[i];
            end(w, i, true);
            for (int d = 0; d < DOCS; d++)
                if (mine.docs[d].p != began[i].docs[d].p) w->committed.docs[d] = mine.docs[d];
        } else if (what < 14) {
            end(w, i, false);
        } else if (what < 15) {
            consolidate(w, 1 + (uint32_t) below(w, 8));
        } else if (what < 16 && step % 8 == 0) {
            cr_assert_eq(text_ease_check(&w->t, w->txn[i]), 0, "seed %llu: %s", (unsigned long long) w->seed,
                         text_ease_fault);
        } else {
            compare_answers(w, w->txn[i], &w->seen[i]);
        }
    }
    for (int i = 0; i < TXNS; i++) end(w, i, false);
}

static void run_history(struct kv *kv, uint64_t seed, int steps) {
    struct world w = {.seed = seed};
    chance_init(&w.chance, seed);
    text_ease_open(&w.t, kv, SPEC);
    play(&w, steps);
    struct kv_txn *txn = text_ease_begin(&w.t);
    cr_assert_eq(text_ease_check(&w.t, txn), 0, "seed %llu: %s", (unsigned long long) seed, text_ease_fault);
    for (int i = 0; i < 20; i++) compare_answers(&w, txn, &w.committed);
    kv_abort(txn);
    cr_assert_gt(w.hits, 100);
    cr_assert_gt(w.conflicts, 0);
    text_ease_close(&w.t);
}

Test(text_search, random_histories_answer_as_the_naive_search_does) {
    uint64_t seed = random_seed(100);
    for (uint64_t round = 0; round < random_rounds(4); round++) run_history(model_kv_new(), seed + round, 900);
}

Test(text_search, random_histories_on_the_real_store) {
    uint64_t seed = random_seed(200);
    struct env *env = ease_env();
    for (uint64_t round = 0; round < random_rounds(3); round++) {
        char path[32];
        (void) snprintf(path, sizeof(path), "t%llu.elmo", (unsigned long long) round);
        run_history(ease_open(env, path, NULL), seed + round, 900);
    }
    env_free(env);
}

/* ---- many documents: blocks, ranges, what may be left out ---- */

#define MANY 3000

static struct bdoc many_doc(struct chance *c) {
    char text[600];
    size_t at = 0, n = 1 + chance_below(c, 20);
    for (size_t i = 0; i < n; i++)
        at += (size_t) snprintf(text + at, sizeof(text) - at, "w%llu ",
                                (unsigned long long) chance_below(c, 1 + chance_below(c, 60)));
    return text_doc("{body: '%s'}", text);
}

Test(text_search, the_best_of_many_documents_are_those_of_a_full_sort) {
    struct text_ease t;
    struct chance chance;
    static struct ease_hit all[MANY], top[MANY];
    uint64_t seed = random_seed(7);
    chance_init(&chance, seed);
    text_ease_open(&t, model_kv_new(), "{key: {body: 'text'}, default_language: 'none'}");
    struct kv_txn *txn = text_ease_begin(&t);
    for (uint64_t id = 0; id < MANY; id++)
        cr_assert_eq(text_ease_write(&t, txn, id, (struct bdoc){0}, many_doc(&chance), mem_default(), NULL), ST_OK);
    text_ease_commit(txn);
    for (int pass = 0; pass < 2; pass++) {
        txn = text_ease_begin(&t);
        for (int i = 0; i < 60; i++) {
            char text[100];
            struct arena arena;
            (void) snprintf(text, sizeof(text), "w%llu w%llu %sw%llu", (unsigned long long) chance_below(&chance, 60),
                            (unsigned long long) chance_below(&chance, 10), i % 3 == 0 ? "-" : "",
                            (unsigned long long) chance_below(&chance, 60));
            arena_init(&arena, mem_default());
            const struct text_query *q = text_ease_query(&t, text, false, false, &arena);
            size_t n = text_ease_search(&t, txn, q, true, 0, all, MANY);
            uint64_t limit = i % 2 ? 10 : 100;
            size_t k = text_ease_search(&t, txn, q, true, limit, top, MANY);
            cr_assert_eq(k, n < limit ? n : limit);
            cr_assert_eq(memcmp(top, all, k * sizeof(top[0])), 0, "seed %llu: %s", (unsigned long long) seed, text);
            arena_release(&arena);
        }
        kv_abort(txn);
        bool more = true;
        uint64_t before = text_ease_count(&t, TEXT_POSTING);
        while (more) cr_assert_eq(text_consolidate(&t.ix, mem_default(), &more, NULL), ST_OK);
        if (pass == 0) cr_assert_lt(text_ease_count(&t, TEXT_POSTING) * 20, before);
    }
    text_ease_close(&t);
}

/* ---- no memory, no store ---- */

static status search_all(struct text_ease *t, struct kv_txn *txn, const struct mem *mem) {
    struct arena arena;
    struct text_query *q;
    struct text_search *s = NULL;
    struct text_hit hit;
    struct text_search_opts opts = {.ranked = true, .with_score = true, .limit = 3};
    uint64_t estimate;
    arena_init(&arena, mem);
    status st = text_query_parse(&t->ix, slice_str("coffee cake -tea \"coffee\" -\"au lait\""), SLICE_NONE, true, false,
                                 &arena, &q, NULL);
    if (st == ST_OK) st = text_estimate(&t->ix, txn, q, &estimate, NULL);
    if (st == ST_OK) st = text_search_open(&t->ix, txn, q, &opts, mem, &s, NULL);
    while (st == ST_OK) st = text_search_next(s, &hit, NULL);
    text_search_close(s);
    arena_release(&arena);
    return st;
}

Test(text_search, every_failing_allocation_is_an_error) {
    struct text_ease t;
    struct mem_fail mf;
    text_ease_open(&t, model_kv_new(), SPEC);
    for (size_t i = 0; i < sizeof(shelf) / sizeof(shelf[0]); i++)
        text_ease_put(&t, i + 1, (struct bdoc){0}, text_doc("%s", shelf[i]));
    struct kv_txn *txn = text_ease_begin(&t);
    for (uint64_t n = 1;; n++) {
        mem_fail_init(&mf, n);
        status st = search_all(&t, txn, &mf.mem);
        cr_assert_eq(mem_fail_live(&mf), 0);
        cr_assert_eq(st, mem_fail_hit(&mf) ? ST_NOMEM : ST_END);
        if (!mem_fail_hit(&mf)) break;
    }
    kv_abort(txn);
    for (uint64_t n = 1;; n++) { /* writing */
        mem_fail_init(&mf, n);
        txn = text_ease_begin(&t);
        status st =
            text_ease_write(&t, txn, 2, text_doc("%s", shelf[1]), text_doc("{body: 'other words'}"), &mf.mem, NULL);
        cr_assert_eq(mem_fail_live(&mf), 0);
        cr_assert_eq(st, mem_fail_hit(&mf) ? ST_NOMEM : ST_OK);
        kv_abort(txn);
        if (!mem_fail_hit(&mf)) break;
    }
    text_ease_close(&t);
}

Test(text_search, concurrent_inserts_of_the_same_words_do_not_conflict) {
    struct text_ease t;
    struct ease_hit hits[8];
    struct arena arena;
    text_ease_open(&t, model_kv_new(), SPEC);
    struct kv_txn *a = text_ease_begin(&t), *b = text_ease_begin(&t), *before = text_ease_begin(&t);
    struct bdoc doc = text_doc("{body: 'shared words'}");
    cr_assert_eq(text_ease_write(&t, a, 1, (struct bdoc){0}, doc, mem_default(), NULL), ST_OK);
    cr_assert_eq(text_ease_write(&t, b, 2, (struct bdoc){0}, doc, mem_default(), NULL), ST_OK);
    text_ease_commit(b);
    text_ease_commit(a);
    cr_assert_str_eq(text_ease_find(&t, "shared", false, false), "1 2");
    arena_init(&arena, mem_default());
    cr_assert_eq(text_ease_search(&t, before, text_ease_query(&t, "shared", false, false, &arena), true, 0, hits, 8),
                 0);
    arena_release(&arena);
    kv_abort(before);
    text_ease_close(&t);
}

Test(text_search, a_change_beside_the_text_writes_nothing) {
    struct text_ease t;
    text_ease_open(&t, model_kv_new(), SPEC);
    text_ease_put(&t, 1, (struct bdoc){0}, text_doc("{body: 'same words', n: 1}"));
    text_ease_put(&t, 1, text_doc("{body: 'same words', n: 1}"), text_doc("{n: 2, body: 'same words'}"));
    cr_assert_eq(text_ease_count(&t, TEXT_MARK), 0);
    text_ease_put(&t, 1, text_doc("{n: 2, body: 'same words'}"), text_doc("{body: 'same words', language: 'none'}"));
    cr_assert_eq(text_ease_count(&t, TEXT_MARK), 1);
    text_ease_close(&t);
}

/* Whatever bytes stand in the index, searching and consolidating end with an answer. */
Test(text_search, damaged_entries_do_no_harm) {
    uint64_t seed = random_seed(9);
    struct chance chance;
    chance_init(&chance, seed);
    for (uint64_t round = 0; round < random_rounds(300); round++) {
        struct text_ease t;
        struct arena arena;
        struct text_query *q;
        struct text_search *s = NULL;
        struct text_hit hit;
        struct buf key;
        text_ease_open(&t, model_kv_new(), SPEC);
        buf_init(&key, mem_default());
        for (size_t i = 0; i < sizeof(shelf) / sizeof(shelf[0]); i++)
            text_ease_put(&t, i + 1, (struct bdoc){0}, text_doc("%s", shelf[i]));
        struct kv_txn *txn = text_ease_begin(&t);
        for (int k = 0; k < 3; k++) {
            uint8_t junk[12];
            for (size_t i = 0; i < sizeof(junk); i++)
                junk[i] =
                    chance_below(&chance, 2) ? (uint8_t) chance_below(&chance, 4) : (uint8_t) chance_next(&chance);
            size_t len = chance_below(&chance, sizeof(junk) + 1);
            uint64_t kind = chance_below(&chance, 6);
            if (kind == 0) text_key_posting(&t.ix, &key, SLICE_LIT("coffe"), 1 + chance_below(&chance, 9));
            else if (kind == 1)
                text_key_posting(&t.ix, &key, SLICE_LIT("coffe"), UINT64_MAX - chance_below(&chance, 3));
            else if (kind == 2) text_key_number(&t.ix, &key, TEXT_LOCATOR, 1 + chance_below(&chance, 9));
            else if (kind == 3) text_key_number(&t.ix, &key, TEXT_MARK, UINT64_MAX - chance_below(&chance, 2));
            else if (kind == 4) text_key(&t.ix, &key, TEXT_STATE);
            else text_key(&t.ix, &key, TEXT_STALE);
            if (chance_below(&chance, 4) == 0) (void) buf_append(&key, junk, 1);
            cr_assert_eq(kv_put(txn, buf_slice(&key), slice_of(junk, len), NULL), ST_OK);
        }
        text_ease_commit(txn);
        txn = text_ease_begin(&t);
        arena_init(&arena, mem_default());
        cr_assert_eq(text_query_parse(&t.ix, SLICE_LIT("coffee cake"), SLICE_NONE, false, false, &arena, &q, NULL),
                     ST_OK);
        struct text_search_opts opts = {.ranked = round % 2, .with_score = true, .limit = round % 3};
        status st = text_search_open(&t.ix, txn, q, &opts, mem_default(), &s, NULL);
        for (int n = 0; st == ST_OK && n < 100; n++) st = text_search_next(s, &hit, NULL);
        cr_assert(st == ST_END || st == ST_CORRUPT, "seed %llu round %llu", (unsigned long long) seed,
                  (unsigned long long) round);
        text_search_close(s);
        (void) text_ease_check(&t, txn);
        kv_abort(txn);
        struct consolidate_limits limits = {.step_blocks = 3, .step_locators = 3};
        bool more = true;
        st = ST_OK;
        for (int n = 0; n < 100 && more && st == ST_OK; n++)
            st = text_consolidate_step(&t.ix, mem_default(), &limits, &more, NULL);
        cr_assert(st == ST_OK || st == ST_CORRUPT);
        arena_release(&arena);
        buf_release(&key);
        text_ease_close(&t);
    }
}
