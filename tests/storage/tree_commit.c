/* What may come between the steps of a tree commit or a merge: a commit that fails, a flush or a bulk load at the wrong moment. */
#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "os/env_sim.h"
#include "os/thread.h"
#include "support/kv_ease.h"

/* --- failing commits --- */

/* A tree commit that is not a flush. */
static status load(struct kv *kv, const char *key) {
    struct kv_txn *t;
    struct kv_bulk *b;
    struct err err = ERR_INIT;
    cr_assert_eq(kv_begin(kv, true, &t, &err), ST_OK, "%s", err.text);
    status st = kv_bulk_begin(t, &b, &err);
    if (st == ST_OK) {
        cr_assert_eq(kv_bulk_put(b, slice_str(key), slice_str("loaded"), &err), ST_OK, "%s", err.text);
        st = kv_bulk_commit(b, &err);
    }
    kv_abort(t);
    return st;
}

/* Write n of a flush finds the disk full; another commit succeeds, then the process dies. False when the flush made no such write. */
static bool survives_failed_flush(uint64_t n) {
    struct sim *sim;
    cr_assert_eq(sim_new(mem_default(), n, &sim, NULL), ST_OK);
    struct kv *kv = ease_open(sim_env(sim), "t.elmo", NULL);
    ease_put(kv, "acknowledged", "yes");
    sim_fail(sim, SIM_WRITE | SIM_PREALLOCATE, n, ST_NO_SPACE, false);
    status st = lsm_kv_flush(kv, NULL);
    bool hit = sim_fail_hit(sim);
    cr_assert(st == ST_OK || hit);
    sim_heal(sim);
    status again = load(kv, "x");
    if (again == ST_OK) again = load(kv, "y"); /* the second commit unlinks what the first did without */
    struct kv_txn *t;
    cr_assert_eq(kv_begin(kv, false, &t, NULL), ST_OK);
    cr_assert_eq(kv_put(t, slice_str("z"), slice_str("z"), NULL), again, "one half goes on writing without the other");
    kv_abort(t);
    cr_assert(again == ST_OK || again == ST_IO); /* a superblock that could not be written: refused from then on */
    sim_crash_process(sim);
    kv_close(kv);
    kv = ease_open(sim_env(sim), "t.elmo", NULL);
    ease_expect(kv, "acknowledged", "yes");
    ease_check(kv);
    kv_close(kv);
    sim_free(sim);
    return hit;
}

Test(tree_commit, a_flush_that_failed_still_needs_its_log) {
    for (uint64_t n = 1; n < 40 && survives_failed_flush(n); n++) continue;
}

Test(tree_commit, a_load_over_commits_that_only_the_log_has_survives_a_crash) {
    struct sim *sim;
    cr_assert_eq(sim_new(mem_default(), 1, &sim, NULL), ST_OK);
    struct kv *kv = ease_open(sim_env(sim), "t.elmo", NULL);
    ease_put(kv, "logged", "yes");
    cr_assert_eq(load(kv, "x"), ST_OK);
    sim_crash_process(sim);
    kv_close(kv);
    kv = ease_open(sim_env(sim), "t.elmo", NULL);
    ease_expect(kv, "logged", "yes");
    ease_expect(kv, "x", "loaded");
    ease_put(kv, "x", "again");
    ease_expect(kv, "x", "again");
    ease_check(kv);
    kv_close(kv);
    sim_free(sim);
}

/* --- other work in the midst of a merge --- */

/* Memory that, at allocation `at` of the thread that armed it, lets another thread do `work`: to its end or, when it has to wait for what the
 * allocating one holds, for a moment. */
struct meddler {
    struct mem mem;
    uint64_t at, count;
    _Atomic bool is_armed;
    bool was_there;
    pthread_t victim;
    struct thread thread;
    void (*work)(struct meddler *m);
    _Atomic bool is_done;
    struct kv *kv;
    struct kv_txn *txn;
};

static void *meddle(void *ctx) {
    struct meddler *m = ctx;
    m->work(m);
    atomic_store(&m->is_done, true);
    return NULL;
}

static void *resize_and_meddle(void *ctx, void *p, size_t old_len, size_t new_len) {
    struct meddler *m = ctx;
    if (m->is_armed && new_len > 0 && pthread_equal(m->victim, pthread_self()) && ++m->count == m->at) {
        m->was_there = true;
        cr_assert_eq(thread_start(&m->thread, meddle, m, NULL), ST_OK);
        for (int ms = 0; ms < 15 && !atomic_load(&m->is_done); ms++)
            (void) nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    return mem_default()->resize(mem_default()->ctx, p, old_len, new_len);
}

/* Merges everything, with m->work in the midst of it. */
static void compact_with(struct meddler *m) {
    struct err err = ERR_INIT;
    cr_assert_eq(lsm_kv_maintain(m->kv, &err), ST_OK, "%s", err.text);
    m->victim = pthread_self();
    m->is_armed = true;
    cr_assert_eq(lsm_kv_compact(m->kv, &err), ST_OK, "%s", err.text);
    m->is_armed = false;
    thread_join(&m->thread);
}

static struct env *begin_meddling(struct meddler *m, uint64_t at, void (*work)(struct meddler *m)) {
    struct env *env;
    *m = (struct meddler){.mem = {resize_and_meddle, m}, .at = at, .work = work};
    cr_assert_eq(env_memory_new(&m->mem, &env, NULL), ST_OK);
    m->kv = ease_open(env, "t.elmo", NULL);
    return env;
}

static void flush_between(struct meddler *m) {
    struct err err = ERR_INIT;
    ease_put(m->kv, "m", "between");
    cr_assert_eq(lsm_kv_flush(m->kv, &err), ST_OK, "%s", err.text);
}

static bool merge_meets_flush(uint64_t at) {
    static struct meddler m;
    struct env *env = begin_meddling(&m, at, flush_between);
    ease_put(m.kv, "a", "low");
    cr_assert_eq(lsm_kv_flush(m.kv, NULL), ST_OK);
    ease_put(m.kv, "z", "high");
    cr_assert_eq(lsm_kv_flush(m.kv, NULL), ST_OK);
    compact_with(&m);
    ease_check(m.kv);
    ease_expect(m.kv, "a", "low");
    ease_expect(m.kv, "m", m.was_there ? "between" : NULL);
    ease_expect(m.kv, "z", "high");
    kv_close(m.kv);
    env_free(env);
    return m.was_there;
}

Test(tree_commit, a_flush_into_a_gap_of_a_merge_is_found, .timeout = 60) {
    for (uint64_t at = 1; at < 200 && merge_meets_flush(at); at++) continue;
}

static void load_below(struct meddler *m) {
    struct kv_bulk *b;
    struct err err = ERR_INIT;
    cr_assert_eq(kv_bulk_begin(m->txn, &b, &err), ST_OK, "%s", err.text);
    cr_assert_eq(kv_bulk_put(b, slice_str("k"), slice_str("old"), &err), ST_OK, "%s", err.text);
    cr_assert_eq(kv_bulk_commit(b, &err), ST_OK, "%s", err.text);
    kv_abort(m->txn);
    m->txn = NULL;
}

static bool merge_meets_load(uint64_t at) {
    static struct meddler m;
    struct env *env = begin_meddling(&m, at, load_below);
    cr_assert_eq(kv_begin(m.kv, true, &m.txn, NULL), ST_OK);
    ease_put(m.kv, "a", "low");
    ease_delete(m.kv, "k");
    ease_delete_range(m.kv, "m", "p");
    cr_assert_eq(lsm_kv_flush(m.kv, NULL), ST_OK);
    compact_with(&m);
    kv_abort(m.txn);
    ease_expect(m.kv, "k", NULL);
    cr_assert_eq(lsm_kv_compact(m.kv, NULL), ST_OK);
    ease_expect(m.kv, "k", NULL);
    ease_check(m.kv);
    kv_close(m.kv);
    env_free(env);
    return m.was_there;
}

Test(tree_commit, a_delete_above_a_load_outlives_a_merge_beside_it, .timeout = 60) {
    for (uint64_t at = 1; at < 200 && merge_meets_load(at); at++) continue;
}
