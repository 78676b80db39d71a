/* Many writers on the same documents over the real store: every increment counts exactly once, nobody sees a conflict. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "os/thread.h"
#include "storage/lsm.h"
#include "support/query_ease.h"

enum { THREADS = 4, ROUNDS = 60 };

struct writer {
    struct db *db;
    int idx;
    int64_t modified, inserted, upserted;
    bool failed;
};

static struct bval doc_value(struct bdoc d) { return (struct bval){d.p, d.len, B_DOCUMENT}; }

static struct bdoc inc, all, one, missing;

static bool update(struct op *op, struct writer *w, struct bdoc filter, bool multi, bool upsert) {
    struct err err = ERR_INIT;
    struct write_result r;
    struct update_statement s = {.filter = filter, .update = doc_value(inc), .multi = multi, .upsert = upsert};
    struct update_request req = {.ns = NS, .statement_count = 1, .statements = &s, .ordered = true};
    if (update_run(op, &req, &r, &err) != ST_OK || r.error_count > 0) {
        fprintf(stderr, "%s %s\n", err.text, r.error_count > 0 ? r.errors[0].text : "");
        return false;
    }
    w->modified += r.modified;
    w->upserted += r.upserted_count;
    return true;
}

static void *run(void *ctx) {
    struct writer *w = ctx;
    for (int i = 0; i < ROUNDS && !w->failed; i++) {
        struct op op;
        op_init(&op, w->db);
        bool ok = update(&op, w, one, false, false) && update(&op, w, missing, false, true);
        if (ok && i % 10 == w->idx) ok = update(&op, w, all, true, false);
        w->failed = !ok;
        op_release(&op);
    }
    return NULL;
}

static int64_t sum(struct doc_db *t) {
    struct find_request req = {.ns = NS, .filter = bdoc_empty};
    struct find *f;
    struct bdoc d;
    int64_t n = 0, v;
    cr_assert_eq(find_open(&t->op, &req, &f, &t->err), ST_OK);
    while (find_next(&t->op, f, &d, &t->err) == ST_OK) {
        struct bval b = bdoc_get_str(d, "n");
        if (bval_is_number(b) && bnum_to_int64(bnum_of(b), &v)) n += v;
    }
    find_close(f);
    return n;
}

Test(threads, each_increment_counts_exactly_once) {
    struct doc_db t;
    struct env *env;
    struct kv *kv;
    struct lsm_opts opts = {.create = true,
                            .threads = LSM_THREADS_DEFAULT,
                            .sync = LSM_SYNC_NORMAL,
                            .memtable_bytes = 256 << 10};
    cr_assert_eq(env_memory_new(mem_default(), &env, NULL), ST_OK);
    cr_assert_eq(lsm_kv_open(env, "/t.elmo", &opts, &kv, NULL), ST_OK);
    doc_open_kv(&t, kv);
    cr_assert_eq(create_index(&t, "{'key': {'n': 1}}"), ST_OK, "%s", t.err.text);
    for (int i = 0; i < 40; i++) cr_assert_eq(insert(&t, json("{'_id': %d, 'n': 0, 'g': 1}", i)), ST_OK);
    inc = json("{'$inc': {'n': 1}}");
    all = json("{'n': {'$gte': 0}, 'g': 1}");
    one = json("{'_id': 3}");
    missing = json("{'_id': 100}");
    struct writer w[THREADS];
    struct thread threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        w[i] = (struct writer){.db = t.db, .idx = i};
        cr_assert_eq(thread_start(&threads[i], run, &w[i], NULL), ST_OK);
    }
    int64_t modified = 0, upserted = 0;
    for (int i = 0; i < THREADS; i++) {
        thread_join(&threads[i]);
        cr_assert(!w[i].failed);
        modified += w[i].modified;
        upserted += w[i].upserted;
    }
    cr_assert_eq(upserted, 1);
    cr_assert_eq(modified, 2 * THREADS * ROUNDS - 1 + 40 * THREADS * (ROUNDS / 10));
    cr_assert_eq(sum(&t), modified + upserted);
    assert_sound(&t, 41);
    doc_close(&t);
    env_free(env);
}
