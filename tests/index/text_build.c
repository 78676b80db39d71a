#include <criterion/criterion.h>
#include <stdlib.h>

#include "index/text/consolidate.h"
#include "index/text/postings.h"
#include "support/kv_ease.h"
#include "support/kv_fail.h"
#include "support/mem_fail.h"
#include "support/model_kv.h"
#include "support/random_bson.h"
#include "support/text_ease.h"

#define SPEC "{key: {body: 'text'}}"
#define NONE ((struct bdoc){0})

static void check(struct text_ease *t) {
    struct kv_txn *txn = text_ease_begin(t);
    size_t faults = text_ease_check(t, txn);
    kv_abort(txn);
    cr_assert_eq(faults, 0, "%s", text_ease_fault);
}

static struct bdoc numbered(uint64_t i, const char *more) {
    return text_doc("{body: 'common words %s w%d v%d'}", more, (int) (i % 17), (int) (i % 5));
}

/* The records, without an index. */
static void put_records(struct text_ease *t, uint64_t n) {
    struct kv_txn *txn = text_ease_begin(t);
    for (uint64_t i = 0; i < n; i++) text_ease_record(t, txn, i, i % 10 == 9 ? text_doc("{n: 5}") : numbered(i, ""));
    text_ease_commit(txn);
}

static status build(struct text_ease *t, struct kv_txn *snapshot, uint64_t n, const struct mem *mem, size_t memory_max,
                    struct err *err) {
    struct text_builder *b = NULL;
    TRY(text_builder_new(&t->ix, snapshot, mem, memory_max, &b, err));
    for (uint64_t i = 0; i < n; i++) {
        uint8_t bytes[9];
        struct bdoc doc = i % 10 == 9 ? text_doc("{n: 5}") : numbered(i, "");
        status st = text_builder_add(b, text_ease_locator(i, bytes), doc, err);
        if (st == ST_OK) continue;
        text_builder_abort(b);
        return st;
    }
    return text_builder_finish(b, err);
}

static uint64_t count_hits(struct text_ease *t, const char *search) {
    static struct ease_hit hits[10000];
    struct arena arena;
    struct kv_txn *txn = text_ease_begin(t);
    arena_init(&arena, mem_default());
    uint64_t n = text_ease_search(t, txn, text_ease_query(t, search, false, false, &arena), false, 0, hits, 10000);
    arena_release(&arena);
    kv_abort(txn);
    return n;
}

Test(text_build, several_runs_give_what_one_gives) {
    static const size_t memory[] = {1, 64 << 10, 64 << 20};
    for (size_t k = 0; k < sizeof(memory) / sizeof(memory[0]); k++) {
        struct text_ease t;
        struct err err = ERR_INIT;
        text_ease_open(&t, model_kv_new(), SPEC);
        put_records(&t, 700);
        struct kv_txn *snapshot = text_ease_begin(&t);
        cr_assert_eq(build(&t, snapshot, 700, mem_default(), memory[k], &err), ST_OK, "%s", err.text);
        kv_abort(snapshot);
        check(&t);
        cr_assert_eq(count_hits(&t, "common"), 630);
        if (k == 2) cr_assert_lt(text_ease_count(&t, TEXT_POSTING), 50);
        text_ease_close(&t);
    }
}

/* Writers beside a build: what they change, delete and insert stands above what the build loads. */
static void build_beside_writers(struct kv *kv, size_t memory_max) {
    struct text_ease t;
    struct err err = ERR_INIT;
    text_ease_open(&t, kv, SPEC);
    put_records(&t, 300);
    struct kv_txn *snapshot = text_ease_begin(&t);
    text_ease_put(&t, 3, numbered(3, ""), text_doc("{body: 'changed onetime'}"));
    text_ease_put(&t, 3, text_doc("{body: 'changed onetime'}"), text_doc("{body: 'changed twice'}"));
    text_ease_put(&t, 4, numbered(4, ""), NONE);
    text_ease_put(&t, 5, numbered(5, ""), NONE);
    text_ease_put(&t, 5, NONE, text_doc("{body: 'came back'}"));
    text_ease_put(&t, 6, numbered(6, ""), text_doc("{n: 'no text'}"));
    text_ease_put(&t, 9, text_doc("{n: 5}"), text_doc("{body: 'first words'}"));
    text_ease_put(&t, 500, NONE, text_doc("{body: 'common newcomer'}"));
    cr_assert_eq(build(&t, snapshot, 300, mem_default(), memory_max, &err), ST_OK, "%s", err.text);
    text_ease_put(&t, 7, numbered(7, ""), NONE); /* loaded, and not published yet */
    kv_abort(snapshot);
    for (int pass = 0; pass < 2; pass++) {
        check(&t);
        cr_assert_eq(count_hits(&t, "common"), 270 - 5 + 1);
        cr_assert_str_eq(text_ease_find(&t, "onetime", false, false), "");
        cr_assert_str_eq(text_ease_find(&t, "twice", false, false), "3");
        cr_assert_str_eq(text_ease_find(&t, "came", false, false), "5");
        cr_assert_str_eq(text_ease_find(&t, "first words -common", false, false), "9");
        cr_assert_str_eq(text_ease_find(&t, "newcomer", false, false), "500");
        cr_assert_eq(text_ease_count(&t, TEXT_STALE), pass == 0);
        struct consolidate_limits limits = {.step_blocks = 10, .step_locators = 20};
        bool more = true;
        int steps = 0;
        while (more) {
            cr_assert_eq(text_consolidate_step(&t.ix, mem_default(), &limits, &more, &err), ST_OK, "%s", err.text);
            cr_assert_lt(++steps, 1000);
        }
    }
    cr_assert_eq(text_ease_count(&t, TEXT_MARK), 0);
    cr_assert_eq(text_ease_count(&t, TEXT_LOCATOR), text_ease_count(&t, TEXT_NUMBER));
    text_ease_close(&t);
}

Test(text_build, writers_beside_a_build_are_not_lost) {
    struct env *env = ease_env();
    build_beside_writers(model_kv_new(), 1);
    build_beside_writers(model_kv_new(), 64 << 20);
    build_beside_writers(ease_open(env, "a.elmo", NULL), 64 << 10);
    env_free(env);
}

Test(text_build, every_failing_allocation_is_an_error) {
    for (uint64_t n = 1;; n += 1 + n / 30) {
        struct text_ease t;
        struct mem_fail mf;
        text_ease_open(&t, model_kv_new(), SPEC);
        put_records(&t, 40);
        mem_fail_init(&mf, n);
        struct kv_txn *snapshot = text_ease_begin(&t);
        status st = build(&t, snapshot, 40, &mf.mem, 300 << 10, NULL);
        kv_abort(snapshot);
        cr_assert_eq(mem_fail_live(&mf), 0);
        cr_assert_eq(st, mem_fail_hit(&mf) ? ST_NOMEM : ST_OK);
        text_ease_close(&t);
        if (!mem_fail_hit(&mf)) break;
    }
}

/* ---- consolidation ---- */

static void fill(struct text_ease *t, uint64_t n) {
    for (uint64_t i = 0; i < n; i++) text_ease_put(t, i, NONE, numbered(i, i % 100 == 0 ? "seldom" : ""));
}

static uint64_t consolidate_all(struct text_ease *t, const struct consolidate_limits *limits) {
    struct err err = ERR_INIT;
    bool more = true;
    uint64_t steps = 0;
    for (; more; steps++) {
        cr_assert_eq(text_consolidate_step(&t->ix, mem_default(), limits, &more, &err), ST_OK, "%s", err.text);
        cr_assert_lt(steps, 10000);
    }
    return steps;
}

Test(text_consolidate, folds_blocks_and_drops_what_is_dead) {
    struct text_ease t;
    struct consolidate_limits limits = {.step_blocks = 50, .step_locators = 50};
    text_ease_open(&t, model_kv_new(), SPEC);
    fill(&t, 1000);
    for (uint64_t i = 0; i < 1000; i += 2) text_ease_put(&t, i, numbered(i, i % 100 == 0 ? "seldom" : ""), NONE);
    struct kv_txn *before = text_ease_begin(&t);
    struct arena arena;
    static struct ease_hit then[1000], now[1000];
    arena_init(&arena, mem_default());
    const struct text_query *q = text_ease_query(&t, "common w3 -v2", false, false, &arena);
    size_t n = text_ease_search(&t, before, q, true, 0, then, 1000);
    cr_assert_eq(n, 400);
    uint64_t blocks = text_ease_count(&t, TEXT_POSTING);
    cr_assert_gt(consolidate_all(&t, &limits), blocks / 50 - 1);
    cr_assert_lt(text_ease_count(&t, TEXT_POSTING), 150);
    cr_assert_eq(text_ease_count(&t, TEXT_MARK), 0);
    check(&t);
    /* a snapshot does not change, and a new one gives the same */
    for (int i = 0; i < 2; i++) {
        struct kv_txn *txn = i == 0 ? before : text_ease_begin(&t);
        cr_assert_eq(text_ease_search(&t, txn, q, true, 0, now, 1000), n);
        cr_assert_eq(memcmp(then, now, n * sizeof(then[0])), 0);
        kv_abort(txn);
    }
    arena_release(&arena);
    text_ease_close(&t);
}

Test(text_consolidate, waits_until_it_pays) {
    struct text_ease t;
    bool more = true;
    text_ease_open(&t, model_kv_new(), SPEC);
    fill(&t, 100);
    cr_assert_eq(text_consolidate(&t.ix, mem_default(), &more, NULL), ST_OK);
    cr_assert(!more);
    cr_assert_eq(text_ease_count(&t, TEXT_STATE), 0);
    text_ease_close(&t);
}

/* Folding must not make groups of overlapping blocks: then nothing could be left out any more. */
Test(text_consolidate, blocks_do_not_come_to_overlap) {
    struct text_ease t;
    struct consolidate_limits limits = {.step_blocks = 1000, .step_locators = 10};
    uint64_t at = 0;
    text_ease_open(&t, model_kv_new(), SPEC);
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < 700; i++, at++) text_ease_put(&t, at, NONE, text_doc("{body: 'same'}"));
        for (uint64_t i = at - 700; i < at; i += 333) text_ease_put(&t, i, text_doc("{body: 'same'}"), NONE);
        consolidate_all(&t, &limits);
    }
    struct kv_txn *txn = text_ease_begin(&t);
    struct kv_cursor *c = NULL;
    struct slice value, term;
    struct block_head head;
    uint64_t first, last = 0, blocks = 0;
    cr_assert_eq(kv_cursor_open(txn, NULL, &c, NULL), ST_OK);
    for (status st = kv_first(c, NULL); st == ST_OK; st = kv_next(c, NULL)) {
        struct slice key = kv_cursor_key(c);
        if (text_key_read_posting(&t.ix, key, &term, &first, NULL) != ST_OK || !slice_equal(term, SLICE_LIT("same")))
            continue;
        cr_assert_eq(kv_cursor_value(c, &value, NULL), ST_OK);
        cr_assert_eq(block_read_head(value, first, &head, NULL), ST_OK);
        cr_assert_gt(head.first, last);
        last = head.last;
        blocks++;
    }
    cr_assert_lt(blocks, 30);
    kv_cursor_close(c);
    kv_abort(txn);
    check(&t);
    text_ease_close(&t);
}

Test(text_consolidate, two_steps_at_once_conflict_and_nobody_is_told) {
    struct text_ease t;
    struct consolidate_limits limits = {.step_blocks = 50, .step_locators = 50};
    bool more = true;
    text_ease_open(&t, model_kv_new(), SPEC);
    fill(&t, 100);
    /* another step that has begun: it has written the state */
    struct kv_txn *other = text_ease_begin(&t);
    struct buf key;
    buf_init(&key, mem_default());
    text_key(&t.ix, &key, TEXT_STATE);
    cr_assert_eq(kv_put(other, buf_slice(&key), SLICE_LIT("x"), NULL), ST_OK);
    buf_release(&key);
    uint64_t blocks = text_ease_count(&t, TEXT_POSTING);
    cr_assert_eq(text_consolidate_step(&t.ix, mem_default(), &limits, &more, NULL), ST_OK);
    cr_assert(!more);
    kv_abort(other);
    cr_assert_eq(text_ease_count(&t, TEXT_POSTING), blocks);
    consolidate_all(&t, &limits);
    check(&t);
    text_ease_close(&t);
}

/* The machine stops at call n: what is committed is whole, and consolidation goes on from there. */
Test(text_consolidate, stops_anywhere_and_goes_on) {
    struct text_ease t;
    struct consolidate_limits limits = {.step_blocks = 40, .step_locators = 40};
    text_ease_open(&t, model_kv_new(), SPEC);
    fill(&t, 60);
    for (uint64_t i = 0; i < 60; i += 3) text_ease_put(&t, i, numbered(i, i % 100 == 0 ? "seldom" : ""), NONE);
    for (uint64_t n = 1;; n += 7) {
        struct kv_fail fail;
        struct text_index ix = t.ix;
        bool more = true;
        status st = ST_OK;
        kv_fail_init(&fail, t.kv, n);
        ix.kv = &fail.base;
        while (more && st == ST_OK) st = text_consolidate_step(&ix, mem_default(), &limits, &more, NULL);
        check(&t);
        cr_assert_eq(count_hits(&t, "common"), 40);
        if (!fail.has_failed) break;
        cr_assert_neq(st, ST_OK);
    }
    cr_assert_eq(text_ease_count(&t, TEXT_MARK), 0);
    text_ease_close(&t);
}

Test(text_consolidate, every_failing_allocation_is_an_error) {
    struct text_ease t;
    struct consolidate_limits limits = {.step_blocks = 400, .step_locators = 40};
    text_ease_open(&t, model_kv_new(), SPEC);
    fill(&t, 20);
    text_ease_put(&t, 1, numbered(1, ""), NONE);
    for (uint64_t n = 1;; n++) {
        struct mem_fail mf;
        bool more = true;
        mem_fail_init(&mf, n);
        status st = text_consolidate_step(&t.ix, &mf.mem, &limits, &more, NULL);
        cr_assert_eq(mem_fail_live(&mf), 0);
        cr_assert_eq(st, mem_fail_hit(&mf) ? ST_NOMEM : ST_OK);
        check(&t);
        if (!mem_fail_hit(&mf)) break;
    }
    text_ease_close(&t);
}

/* ---- faults that are planted ---- */

static size_t plant(int fault) {
    struct text_ease t;
    struct buf key, value;
    struct posting one = {3, 0.5};
    uint8_t locator[9];
    text_ease_open(&t, model_kv_new(), SPEC);
    fill(&t, 10); /* numbers 1 to 10 */
    struct kv_txn *txn = text_ease_begin(&t);
    buf_init(&key, mem_default());
    buf_init(&value, mem_default());
    bool is_delete = false;
    switch (fault) {
    case 0: text_key_number(&t.ix, &key, TEXT_MARK, 4); break;
    case 1: text_key_number(&t.ix, &key, TEXT_LOCATOR, 4), is_delete = true; break;
    case 2: text_key_locator(&t.ix, &key, text_ease_locator(4, locator)), is_delete = true; break;
    case 3: text_key_posting(&t.ix, &key, SLICE_LIT("common"), 3), is_delete = true; break;
    case 4: text_key_posting(&t.ix, &key, SLICE_LIT("common"), 3), (void) block_encode(&one, 1, &value, NULL); break;
    case 5: text_key_posting(&t.ix, &key, SLICE_LIT("extra"), 3), (void) block_encode(&one, 1, &value, NULL); break;
    case 6: text_key_posting(&t.ix, &key, SLICE_LIT("common"), 77), (void) block_encode(&one, 1, &value, NULL); break;
    case 7: text_key_number(&t.ix, &key, TEXT_LOCATOR, 50), (void) buf_append_u8(&value, 0); break;
    case 8:
        text_key_locator(&t.ix, &key, text_ease_locator(40, locator)), (void) buf_append(&value, "\x01\x32", 2);
        break;
    case 9: text_key_posting(&t.ix, &key, SLICE_LIT("common"), 3), (void) buf_append(&value, "junk", 4); break;
    case 10:
        text_key_locator(&t.ix, &key, text_ease_locator(4, locator)), (void) buf_append(&value, "\x01\x03", 2);
        break;
    case 11: text_ease_record(&t, txn, 60, text_doc("{body: 'not indexed'}")); break;
    case 12: text_ease_record(&t, txn, 3, NONE); break;
    case 13: text_ease_record(&t, txn, 3, text_doc("{body: 'other words'}")); break;
    default: text_ease_record(&t, txn, 61, text_doc("{n: 'nothing to index'}")); break; /* no fault */
    }
    if (key.len != 0)
        cr_assert_eq(is_delete ? kv_delete(txn, buf_slice(&key), NULL)
                               : kv_put(txn, buf_slice(&key), buf_slice(&value), NULL),
                     ST_OK);
    text_ease_commit(txn);
    txn = text_ease_begin(&t);
    size_t found = text_ease_check(&t, txn);
    kv_abort(txn);
    buf_release(&key);
    buf_release(&value);
    text_ease_close(&t);
    return found;
}

Test(text_check, finds_every_planted_fault_and_nothing_else) {
    for (int fault = 0; fault <= 13; fault++) cr_expect_gt(plant(fault), 0, "fault %d", fault);
    cr_expect_eq(plant(14), 0);
}
