/* Building indexes on existing data: beside writers, in little memory, to its end, or not at all. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/chance.h"
#include "base/codes.h"
#include "support/doc_db.h"
#include "support/kv_fail.h"
#include "support/mem_fail.h"
#include "support/model_kv.h"
#include "support/random_bson.h"

static void ok(struct doc_db *t, status st) { cr_assert_eq(st, ST_OK, "%s", t->err.text); }

static void fill(struct doc_db *t, int count) {
    for (int i = 0; i < count; i++)
        ok(t, insert(t, json("{'_id': %d, 'a': %d, 'tags': ['t%d', 't%d'], 'u': 'u%d'}", i, i % 7, i % 3, i % 5, i)));
}

struct built {
    bool created;
    uint32_t before, after;
};

static status build(struct doc_db *t, uint32_t count, const char *const *specs,
                    void (*progress)(void *ctx, struct index_build_progress p), void *ctx, struct built *out) {
    struct bdoc docs[8];
    for (uint32_t i = 0; i < count; i++) docs[i] = json("%s", specs[i]);
    return catalog_create_indexes(&t->op, NS, docs, count, progress, ctx, &out->created, &out->before, &out->after,
                                  &t->err);
}

static uint32_t index_count(struct doc_db *t) {
    struct kv_txn *txn = begin_txn(t, true);
    struct collection *c = find_collection(t, txn);
    uint32_t n = c != NULL ? c->index_count : 0;
    for (uint32_t i = 0; i < n; i++) cr_assert_eq(c->indexes[i].state, INDEX_READY);
    collection_unref(c);
    kv_abort(txn);
    return n;
}

static const char *const four[] = {"{'key': {'a': 1}}", "{'key': {'tags': 1, 'a': -1}}",
                                   "{'key': {'u': 1}, 'unique': true}", "{'key': {'_id': 1}}"};

Test(index_build, several_indexes_are_built_in_one_call) {
    struct doc_db t;
    struct built b;
    doc_open(&t);
    fill(&t, 300);
    ok(&t, build(&t, 4, four, NULL, NULL, &b));
    cr_assert(!b.created);
    cr_assert_eq(b.before, 1);
    cr_assert_eq(b.after, 4);
    assert_sound(&t, 300);
    ok(&t, build(&t, 4, four, NULL, NULL, &b)); /* all there */
    cr_assert_eq(b.before, 4);
    cr_assert_eq(b.after, 4);
    cr_assert_eq(insert(&t, json("{'_id': 1000, 'u': 'u5'}")), ST_DUPLICATE);
    ok(&t, erase(&t, "{'_id': 5}"));
    ok(&t, insert(&t, json("{'_id': 1000, 'u': 'u5'}")));
    assert_sound(&t, 300);
    doc_close(&t);
}

Test(index_build, a_missing_collection_is_created) {
    struct doc_db t;
    struct built b;
    doc_open(&t);
    ok(&t, build(&t, 3, four, NULL, NULL, &b));
    cr_assert(b.created);
    cr_assert_eq(b.after, 4);
    fill(&t, 10);
    assert_sound(&t, 10);
    doc_close(&t);
}

Test(index_build, runs_on_disk_give_what_memory_gives) {
    struct doc_db big, small;
    struct built b;
    doc_open(&big);
    doc_open(&small);
    fill(&big, 400);
    fill(&small, 400);
    small.op.memory_max = 8192;
    ok(&big, build(&big, 4, four, NULL, NULL, &b));
    ok(&small, build(&small, 4, four, NULL, NULL, &b));
    const char *names[] = {"a_1", "tags_1_a_-1", "u_1"};
    for (int i = 0; i < 3; i++)
        cr_assert_str_eq(entries_of(&big, names[i], false), entries_of(&small, names[i], false));
    cr_assert_eq(key_total(big.kv), key_total(small.kv));
    assert_sound(&small, 400);
    doc_close(&big);
    doc_close(&small);
}

Test(index_build, conflicts_with_existing_indexes_are_named) {
    struct doc_db t;
    doc_open(&t);
    fill(&t, 3);
    ok(&t, create_index(&t, "{'key': {'a': 1}}"));
    ok(&t, create_index(&t, "{'key': {'a': 1}, 'name': 'a_1'}"));
    cr_assert_eq(create_index(&t, "{'key': {'a': 1}, 'name': 'other'}"), ST_INVALID);
    cr_assert_eq(t.err.code, CODE_IndexOptionsConflict);
    cr_assert_str_eq(t.err.text, "Index already exists with a different name: a_1");
    cr_assert_eq(create_index(&t, "{'key': {'b': 1}, 'name': 'a_1'}"), ST_INVALID);
    cr_assert_eq(t.err.code, CODE_IndexKeySpecsConflict);
    cr_assert_eq(create_index(&t, "{'key': {'a': 1}, 'unique': true}"), ST_INVALID);
    cr_assert_eq(t.err.code, CODE_IndexKeySpecsConflict);
    cr_assert_eq(index_count(&t), 1);
    doc_close(&t);
}

Test(index_build, dropping_takes_one_or_all_but_never_ids) {
    struct doc_db t;
    struct built b;
    uint32_t before;
    doc_open(&t);
    fill(&t, 20);
    uint64_t bare = key_total(t.kv);
    ok(&t, build(&t, 3, four, NULL, NULL, &b));
    cr_assert_eq(catalog_drop_index(&t.op, NS, SLICE_LIT("_id_"), &before, &t.err), ST_INVALID);
    cr_assert_eq(t.err.code, CODE_InvalidOptions);
    cr_assert_eq(catalog_drop_index(&t.op, NS, SLICE_LIT("none"), &before, &t.err), ST_INVALID);
    cr_assert_eq(t.err.code, CODE_IndexNotFound);
    cr_assert_str_eq(t.err.text, "index not found with name [none]");
    ok(&t, catalog_drop_index(&t.op, NS, SLICE_LIT("tags_1_a_-1"), &before, &t.err));
    cr_assert_eq(before, 4);
    cr_assert_eq(index_count(&t), 2);
    assert_sound(&t, 20);
    ok(&t, catalog_drop_index(&t.op, NS, SLICE_LIT("*"), &before, &t.err));
    cr_assert_eq(before, 3);
    cr_assert_eq(key_total(t.kv), bare);
    assert_sound(&t, 20);
    doc_close(&t);
}

/* --- failures leave nothing --- */

Test(index_build, a_duplicate_fails_the_build_and_leaves_nothing) {
    struct doc_db t;
    struct built b;
    doc_open(&t);
    fill(&t, 100);
    ok(&t, insert(&t, json("{'_id': 500, 'u': 'u42'}")));
    uint64_t before = key_total(t.kv);
    for (int i = 0; i < 2; i++) {
        t.op.memory_max = i == 0 ? OP_MEMORY_MAX : 4096;
        cr_assert_eq(build(&t, 3, four, NULL, NULL, &b), ST_DUPLICATE);
        cr_assert_eq(t.err.code, CODE_DuplicateKey);
        cr_assert_str_eq(t.err.text,
                         "E11000 duplicate key error collection: test.c index: u_1 dup key: { u: \"u42\" }");
        struct bdoc want = json("{'keyPattern': {'u': 1}, 'keyValue': {'u': 'u42'}}");
        cr_assert_eq(t.err.details_len, want.len);
        cr_assert_eq(memcmp(t.err.details, want.p, want.len), 0);
        cr_assert_eq(index_count(&t), 0);
        cr_assert_eq(key_total(t.kv), before);
        assert_sound(&t, 101);
    }
    doc_close(&t);
}

static void set_flag(void *ctx, struct index_build_progress p) {
    if (p.done >= 128) atomic_store((atomic_bool *) ctx, true);
}

Test(index_build, a_cancelled_build_leaves_nothing) {
    struct doc_db t;
    struct built b;
    atomic_bool cancelled = false;
    doc_open(&t);
    fill(&t, 300);
    uint64_t before = key_total(t.kv);
    t.op.cancelled = &cancelled;
    cr_assert_eq(build(&t, 3, four, set_flag, &cancelled, &b), ST_INTERRUPTED);
    t.op.cancelled = NULL;
    cr_assert_eq(key_total(t.kv), before);
    assert_sound(&t, 300);
    doc_close(&t);
}

Test(index_build, a_session_may_not_build_on_what_is_there_nor_drop) {
    struct doc_db t;
    struct built b;
    uint32_t before;
    doc_open(&t);
    fill(&t, 3);
    t.op.session_txn = begin_txn(&t, false);
    cr_assert_eq(build(&t, 3, four, NULL, NULL, &b), ST_INVALID);
    cr_assert_eq(t.err.code, CODE_OperationNotSupportedInTransaction);
    cr_assert_eq(catalog_drop_index(&t.op, NS, SLICE_LIT("*"), &before, &t.err), ST_INVALID);
    cr_assert_eq(t.err.code, CODE_OperationNotSupportedInTransaction);
    kv_abort(t.op.session_txn);
    doc_close(&t);
}

Test(index_build, a_crash_at_any_call_leaves_all_or_nothing) {
    struct built b;
    uint64_t outcomes[2] = {0};
    for (uint64_t n = 1;; n++) {
        struct doc_db t, again;
        struct kv_fail f;
        struct kv *model = model_kv_new();
        doc_open_kv(&t, (kv_fail_init(&f, model, 0), &f.base));
        fill(&t, 12);
        t.op.memory_max = 1500;
        f.calls = 0;
        f.fail_at = n;
        status st = build(&t, 3, four, NULL, NULL, &b);
        cr_assert(st == ST_OK || f.has_failed, "%s", t.err.text);
        doc_close(&t);
        doc_open_kv(&again, model); /* after the crash */
        uint32_t count = index_count(&again);
        cr_assert(count == 0 || count == 3, "call %llu left %u indexes", (unsigned long long) n, count);
        cr_assert(st != ST_OK || count == 3);
        outcomes[count != 0]++;
        assert_sound(&again, 12);
        ok(&again, build(&again, 3, four, NULL, NULL, &b));
        assert_sound(&again, 12);
        uint64_t total = key_total(model);
        doc_close(&again);
        /* entries: 12 of a, 12 or 24 of tags, 12 of u; nothing of sorts and logs */
        cr_assert_lt(total, 12 + 12 + 24 + 12 + 8);
        if (!f.has_failed) break;
    }
    cr_assert_gt(outcomes[0], 0);
    cr_assert_gt(outcomes[1], 0);
}

Test(index_build, no_memory_at_any_allocation_leaves_nothing) {
    struct built b;
    for (uint64_t n = 1;; n++) {
        struct mem_fail mf;
        struct doc_db t;
        struct kv *model = model_kv_new();
        doc_open_kv(&t, model);
        fill(&t, 10);
        op_release(&t.op);
        struct kv_fail shared;
        kv_fail_init(&shared, model, 0);
        struct doc_db low;
        mem_fail_init(&mf, 0);
        ok(&low, doc_try_open(&low, &shared.base, &mf.mem));
        mf.once = true;
        mf.count = 0;
        mf.fail_at = n;
        status st = build(&low, 3, four, NULL, NULL, &b);
        bool hit = mem_fail_hit(&mf);
        mf.fail_at = 0;
        if (hit) cr_assert(st == ST_NOMEM || st == ST_OK, "allocation %llu: %s", (unsigned long long) n, low.err.text);
        else ok(&low, st);
        cr_assert_eq(index_count(&low), st == ST_OK ? 3 : 0, "allocation %llu", (unsigned long long) n);
        assert_sound(&low, 10);
        doc_close(&low);
        cr_assert_eq(mem_fail_live(&mf), 0);
        op_init(&t.op, t.db);
        doc_close(&t);
        if (!hit) break;
    }
}

/* --- beside writers: they write from within the progress call, where a thread of theirs could have run --- */

struct beside {
    struct doc_db *t;
    struct doc_db writer; /* the same database, an op of its own */
    void (*write)(struct doc_db *w);
    uint64_t at;
};

static void run_beside(void *ctx, struct index_build_progress p) {
    struct beside *b = ctx;
    if (b->write != NULL && p.done >= b->at) {
        void (*write)(struct doc_db * w) = b->write;
        b->write = NULL;
        write(&b->writer);
    }
}

/* Builds a unique index on u over 300 documents while `write` runs after `at` documents have been scanned (UINT64_MAX: after loading). */
static status build_beside(struct doc_db *t, void (*write)(struct doc_db *w), uint64_t at) {
    struct built built;
    struct beside b = {.t = t, .writer = *t, .write = write, .at = at};
    doc_open(t);
    fill(t, 300);
    b.writer = *t;
    op_init(&b.writer.op, t->db);
    status st = build(t, 3, four, run_beside, &b, &built);
    op_release(&b.writer.op);
    cr_assert_null(b.write);
    return st;
}

/* Before, amid and (the scan's last report) after the scan; what follows loading has a test of its own. */
static const uint64_t moments[] = {0, 128, 256};
#define EACH_MOMENT(t, write)                                                                                          \
    for (int m = 0; m < 3; m++)                                                                                        \
        for (status st = build_beside(&(t), write, moments[m]), once = ST_OK; once == ST_OK;                           \
             once = ST_END, doc_close(&(t)))

static void many_writes(struct doc_db *w) {
    for (int i = 0; i < 300; i += 3) ok(w, erase(w, text_of(json("{'_id': %d}", i))));
    for (int i = 1; i < 300; i += 3)
        ok(w,
           replace(w, text_of(json("{'_id': %d}", i)),
                   json("{'_id': %d, 'a': [%d, 77], 'tags': 'x', 'u': 'v%d'}", i, i, i)));
    for (int i = 0; i < 300; i += 6) ok(w, insert(w, json("{'_id': %d, 'a': 1, 'u': 'u%d'}", i, i)));
    for (int i = 400; i < 450; i++) ok(w, insert(w, json("{'_id': %d, 'a': {'b': 1}, 'tags': [], 'u': 'u%d'}", i, i)));
}

Test(index_build, what_writers_do_meanwhile_is_in_the_index) {
    struct doc_db t;
    EACH_MOMENT(t, many_writes) {
        ok(&t, st);
        assert_sound(&t, 200 + 50 + 50);
    }
}

static void add_a_duplicate(struct doc_db *w) {
    ok(w, insert(w, json("{'_id': 1000, 'u': 'u200'}")));
    cr_assert_eq(insert(w, json("{'_id': 1001, 'u': 'u200'}")), ST_DUPLICATE); /* two writers see each other's */
}

Test(index_build, a_writers_duplicate_of_a_scanned_key_fails_the_build) {
    struct doc_db t;
    EACH_MOMENT(t, add_a_duplicate) {
        cr_assert_eq(st, ST_DUPLICATE);
        cr_assert_str_eq(t.err.text,
                         "E11000 duplicate key error collection: test.c index: u_1 dup key: { u: \"u200\" }");
        cr_assert_eq(index_count(&t), 0);
        assert_sound(&t, 301);
    }
}

static void add_and_remove_a_duplicate(struct doc_db *w) {
    ok(w, insert(w, json("{'_id': 1000, 'u': 'u200'}")));
    ok(w, erase(w, "{'_id': 1000}"));
}

Test(index_build, a_duplicate_that_is_gone_again_gives_the_key_back) {
    struct doc_db t;
    EACH_MOMENT(t, add_and_remove_a_duplicate) {
        ok(&t, st);
        assert_sound(&t, 300);
        cr_assert_eq(insert(&t, json("{'_id': 1000, 'u': 'u200'}")), ST_DUPLICATE);
    }
}

static void take_over_a_key(struct doc_db *w) {
    ok(w, insert(w, json("{'_id': 1000, 'u': 'u200'}")));
    ok(w, erase(w, "{'_id': 200}"));
    ok(w, replace(w, "{'_id': 100}", json("{'_id': 100, 'u': 'w'}")));
    ok(w, insert(w, json("{'_id': 1001, 'u': 'u100'}")));
}

Test(index_build, a_key_may_change_hands_during_the_build) {
    struct doc_db t;
    EACH_MOMENT(t, take_over_a_key) {
        ok(&t, st);
        assert_sound(&t, 301);
    }
}

static void meet_loaded_keys(struct doc_db *w) {
    cr_assert_eq(insert(w, json("{'_id': 1000, 'u': 'u200'}")), ST_DUPLICATE);
    ok(w, erase(w, "{'_id': 200}"));
    ok(w, insert(w, json("{'_id': 1000, 'u': 'u200'}")));
    cr_assert_eq(insert(w, json("{'_id': 200, 'u': 'u200'}")), ST_DUPLICATE);
    many_writes(w);
}

Test(index_build, writers_between_loading_and_publishing_see_what_was_loaded) {
    struct doc_db t;
    ok(&t, build_beside(&t, meet_loaded_keys, 300));
    assert_sound(&t, 300);
    doc_close(&t);
}

static void drop_the_collection(struct doc_db *w) { ok(w, catalog_drop_now(&w->op, NS, &w->err)); }

Test(index_build, a_collection_dropped_meanwhile_ends_the_build) {
    struct doc_db t;
    EACH_MOMENT(t, drop_the_collection) {
        cr_assert_eq(st, ST_INVALID);
        cr_assert_eq(t.err.code, CODE_IndexBuildAborted);
        cr_assert_eq(key_total(t.kv), 1); /* the format record */
    }
}

static void drop_and_create_the_collection(struct doc_db *w) {
    ok(w, catalog_drop_now(&w->op, NS, &w->err));
    ok(w, insert(w, json("{'_id': 1, 'u': 1}")));
}

Test(index_build, a_collection_of_the_same_name_is_not_touched) {
    struct doc_db t;
    EACH_MOMENT(t, drop_and_create_the_collection) {
        cr_assert_eq(st, ST_INVALID);
        cr_assert_eq(t.err.code, CODE_IndexBuildAborted);
        assert_sound(&t, 1);
        cr_assert_eq(index_count(&t), 0);
    }
}

static void drop_the_index(struct doc_db *w) {
    uint32_t before;
    ok(w, catalog_drop_index(&w->op, NS, SLICE_LIT("a_1"), &before, &w->err));
}

Test(index_build, an_index_dropped_meanwhile_ends_the_build) {
    struct doc_db t;
    EACH_MOMENT(t, drop_the_index) {
        cr_assert_eq(st, ST_INVALID);
        cr_assert_eq(t.err.code, CODE_IndexBuildAborted);
        cr_assert_eq(index_count(&t), 0);
        assert_sound(&t, 300);
    }
}

static void build_the_same(struct doc_db *w) {
    cr_assert_eq(create_index(w, "{'key': {'a': 1}}"), ST_INVALID);
    cr_assert_eq(w->err.code, CODE_ConflictingOperationInProgress);
    ok(w, create_index(w, "{'key': {'z': 1}}")); /* another one beside it */
}

Test(index_build, builds_of_one_collection_run_side_by_side) {
    struct doc_db t;
    EACH_MOMENT(t, build_the_same) {
        ok(&t, st);
        cr_assert_eq(index_count(&t), 4);
        assert_sound(&t, 300);
    }
}

/* Random writes of a small set of unique keys during the build: whatever comes of it is sound. */
static struct chance random_writer;

static void write_randomly(struct doc_db *w) {
    for (int i = 0; i < 60; i++) {
        int id = (int) chance_below(&random_writer, 60), u = (int) chance_below(&random_writer, 80);
        status st = chance_below(&random_writer, 2) != 0
            ? erase(w, text_of(json("{'_id': %d}", id)))
            : insert(w, json("{'_id': %d, 'a': %d, 'u': 'u%d'}", id, u, u));
        cr_assert(st == ST_OK || st == ST_NOT_FOUND || st == ST_DUPLICATE, "%s", w->err.text);
    }
}

Test(index_build, random_writes_beside_a_unique_build_give_a_sound_index_or_none) {
    uint64_t seed = random_seed(3), rounds = random_rounds(12), built = 0;
    chance_init(&random_writer, seed);
    for (uint64_t r = 0; r < rounds; r++) {
        struct doc_db t;
        struct kv_txn *txn;
        struct collection *c;
        struct validate_report report;
        status st = build_beside(&t, write_randomly, moments[r % 3]);
        cr_assert(st == ST_OK || st == ST_DUPLICATE, "seed %llu: %s", (unsigned long long) seed, t.err.text);
        built += st == ST_OK;
        cr_assert_eq(index_count(&t), st == ST_OK ? 3 : 0);
        txn = begin_txn(&t, true);
        c = find_collection(&t, txn);
        ok(&t, collection_validate(&t.op, txn, c, NULL, NULL, &report, &t.err));
        cr_assert_eq(report.missing_entries + report.extra_entries + report.count_mismatches + report.invalid_documents,
                     0, "seed %llu", (unsigned long long) seed);
        collection_unref(c);
        kv_abort(txn);
        doc_close(&t);
    }
}

/* --- text --- */

static void write_texts(struct doc_db *w) {
    ok(w, erase(w, "{'_id': 3}"));
    ok(w, replace(w, "{'_id': 4}", json("{'_id': 4, 'tags': 'wholly other words'}")));
    ok(w, insert(w, json("{'_id': 1000, 'tags': 'new words'}")));
    ok(w, erase(w, "{'_id': 1000}"));
    ok(w, insert(w, json("{'_id': 1001, 'tags': 'new words'}")));
}

Test(index_build, a_text_index_is_built_beside_writers_and_other_indexes) {
    static const char *const specs[] = {"{'key': {'tags': 'text'}}", "{'key': {'a': 1}}"};
    for (uint64_t at = 0; at <= 300; at += 128) {
        struct doc_db t;
        struct built built;
        doc_open(&t);
        fill(&t, 300);
        struct beside b = {.t = &t, .writer = t, .write = write_texts, .at = at};
        op_init(&b.writer.op, t.db);
        ok(&t, build(&t, 2, specs, run_beside, &b, &built));
        op_release(&b.writer.op);
        assert_sound(&t, 300);
        uint32_t before;
        ok(&t, catalog_drop_index(&t.op, NS, SLICE_LIT("tags_text"), &before, &t.err));
        assert_sound(&t, 300);
        doc_close(&t);
    }
}
