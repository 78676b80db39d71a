/* Large values in a whole database: a check beside merges that drop them, a sync of theirs that fails. */
#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/endian.h"
#include "os/env_sim.h"
#include "os/thread.h"
#include "storage/segment.h"
#include "support/kv_ease.h"

#define KEYS 24u
#define LARGE (LARGE_LEN_MIN + 5000)

struct world {
    struct sim *sim;
    struct kv *kv;
    _Atomic bool is_over;
};

static void world_init(struct world *w) {
    struct lsm_opts opts = ease_opts();
    *w = (struct world){0};
    cr_assert_eq(sim_new(mem_default(), 7, &w->sim, NULL), ST_OK);
    w->kv = ease_open(sim_env(w->sim), "t.elmo", &opts);
}

static void world_release(struct world *w) {
    kv_close(w->kv);
    sim_free(w->sim);
}

static status put(struct kv *kv, uint32_t i, uint32_t version, size_t len, struct err *err) {
    static uint8_t bytes[LARGE];
    char name[16];
    struct kv_txn *t;
    memset(bytes, (int) (i + version), len);
    put_le32(bytes, version);
    struct slice key = slice_of(name, (size_t) snprintf(name, sizeof(name), "%04u", i));
    TRY(kv_begin(kv, false, &t, err));
    status st = kv_put(t, key, slice_of(bytes, len), err);
    if (st == ST_OK) return kv_commit(t, KV_SYNC, err);
    kv_abort(t);
    return st;
}

static void *write_and_merge(void *ctx) {
    struct world *w = ctx;
    struct err err = ERR_INIT;
    for (uint32_t version = 1; version < 30; version++) {
        for (uint32_t i = 0; i < KEYS; i++) cr_assert_eq(put(w->kv, i, version, LARGE, &err), ST_OK, "%s", err.text);
        cr_assert_eq(lsm_kv_compact(w->kv, &err), ST_OK, "%s", err.text);
    }
    atomic_store(&w->is_over, true);
    return NULL;
}

Test(large_commits, a_check_beside_merges_finds_nothing, .timeout = 120) {
    struct world w;
    struct thread thread = {0};
    world_init(&w);
    cr_assert_eq(thread_start(&thread, write_and_merge, &w, NULL), ST_OK);
    while (!atomic_load(&w.is_over)) ease_check(w.kv);
    thread_join(&thread);
    world_release(&w);
}

Test(large_commits, a_failed_sync_of_a_large_value_ends_the_writing) {
    struct world w;
    struct err err = ERR_INIT;
    world_init(&w);
    cr_assert_eq(put(w.kv, 1, 1, 100, &err), ST_OK, "%s", err.text);
    sim_fail(w.sim, SIM_SYNC, 1, ST_IO, false);
    cr_assert_eq(put(w.kv, 2, 1, LARGE, &err), ST_IO, "%s", err.text);
    cr_assert(sim_fail_hit(w.sim));
    cr_assert_eq(put(w.kv, 3, 1, 100, &err), ST_IO, "%s", err.text);
    cr_assert_eq(put(w.kv, 4, 1, LARGE, &err), ST_IO, "%s", err.text);
    cr_assert_eq(ease_count(w.kv), 1);
    world_release(&w);
}
