/* Upkeep: the threads that flush, merge and sync; and back-pressure.
 *
 * threads > 0: one thread flushes, one merges, in mode "normal" one syncs the log. They are woken when a memtable is replaced or a flush ends. A failure is kept in
 * background_err and tried again after RETRY_MS; writers meet it only when they have to wait for room.
 * threads = 0: the committing callers do it after their commit.
 *
 * Back-pressure: from 2 x level0_count segments in level 0 each commit waits a moment, from 4 x it waits until there are fewer; likewise when the active memtable
 * is full and all others wait for their flush.
 */
#include "storage/engine.h"

#define RETRY_MS 100
#define SLOW_MS 1

void maintain_wake(struct lsm *l) {
    atomic_store(&l->has_work, true);
    mutex_lock(&l->state_mutex);
    l->has_flush_work = l->has_merge_work = true;
    cond_broadcast(&l->work_cond);
    cond_broadcast(&l->room_cond);
    mutex_unlock(&l->state_mutex);
}

static void note_outcome(struct lsm *l, status st, const struct err *err) {
    mutex_lock(&l->state_mutex);
    if (st != ST_OK) l->background_err = *err;
    atomic_store(&l->has_background_err, st != ST_OK);
    cond_broadcast(&l->room_cond);
    mutex_unlock(&l->state_mutex);
}

/* Waits until *work is set, then clears it. False when the database is being closed. */
static bool wait_for_work(struct lsm *l, bool *work) {
    mutex_lock(&l->state_mutex);
    while (!atomic_load(&l->is_stopping) && !*work) cond_wait(&l->work_cond, &l->state_mutex);
    *work = false;
    mutex_unlock(&l->state_mutex);
    return !atomic_load(&l->is_stopping);
}

static void pause_after_failure(struct lsm *l, bool *work) {
    mutex_lock(&l->state_mutex);
    if (!atomic_load(&l->is_stopping)) (void) cond_wait_ms(&l->work_cond, &l->state_mutex, RETRY_MS);
    *work = !atomic_load(&l->is_broken);
    mutex_unlock(&l->state_mutex);
}

static void work_until_done(struct lsm *l, status (*work)(struct lsm *, bool *, struct err *), bool *flag) {
    struct err err = ERR_INIT;
    bool did = true;
    status st = ST_OK;
    while (did && st == ST_OK && !atomic_load(&l->is_stopping)) {
        st = work(l, &did, &err);
        if (did || st != ST_OK) note_outcome(l, st == ST_INTERRUPTED ? ST_OK : st, &err);
    }
    if (st != ST_OK) pause_after_failure(l, flag);
}

static void *flusher(void *ctx) {
    struct lsm *l = ctx;
    while (wait_for_work(l, &l->has_flush_work)) work_until_done(l, flush_oldest, &l->has_flush_work);
    return NULL;
}

static void *merger(void *ctx) {
    struct lsm *l = ctx;
    while (wait_for_work(l, &l->has_merge_work)) work_until_done(l, compact_one, &l->has_merge_work);
    return NULL;
}

static void *syncer(void *ctx) {
    struct lsm *l = ctx;
    uint64_t synced = 0;
    for (;;) {
        mutex_lock(&l->state_mutex);
        if (!atomic_load(&l->is_stopping)) (void) cond_wait_ms(&l->work_cond, &l->state_mutex, LSM_NORMAL_SYNC_MS / 2);
        mutex_unlock(&l->state_mutex);
        if (atomic_load(&l->is_stopping)) return NULL;
        uint64_t lsn = atomic_load_explicit(&l->unsynced_lsn, memory_order_relaxed);
        if (lsn == synced || atomic_load(&l->is_broken)) continue;
        struct err err = ERR_INIT;
        if (wal_sync(l->wal, lsn, &err) != ST_OK) lsm_break(l, &err);
        (void) atomic_fetch_add_explicit(&l->sync_count, 1, memory_order_relaxed);
        synced = lsn;
    }
}

status maintain_start(struct lsm *l, struct err *err) {
    if (l->opts.threads == 0 || l->wal == NULL) return ST_OK;
    TRY(thread_start(&l->flusher, flusher, l, err));
    TRY(thread_start(&l->merger, merger, l, err));
    if (l->opts.sync == LSM_SYNC_NORMAL) TRY(thread_start(&l->syncer, syncer, l, err));
    maintain_wake(l);
    return ST_OK;
}

void maintain_stop(struct lsm *l) {
    mutex_lock(&l->state_mutex);
    atomic_store(&l->is_stopping, true);
    cond_broadcast(&l->work_cond);
    cond_broadcast(&l->room_cond);
    mutex_unlock(&l->state_mutex);
    thread_join(&l->flusher);
    thread_join(&l->merger);
    thread_join(&l->syncer);
}

status maintain_here(struct lsm *l, struct err *err) {
    if (!atomic_exchange(&l->has_work, false)) return ST_OK;
    status st = ST_OK;
    for (bool flushed = true, merged = true; (flushed || merged) && st == ST_OK;) {
        merged = false;
        st = flush_oldest(l, &flushed, err);
        if (st == ST_OK) st = compact_one(l, &merged, err);
    }
    if (st != ST_OK) atomic_store(&l->has_work, true);
    return st;
}

/* --- back-pressure --- */

static bool must_wait(const struct lsm *l) {
    if (atomic_load_explicit(&l->level0_count, memory_order_relaxed) >= 4 * l->opts.level0_count) return true;
    return atomic_load_explicit(&l->table_count, memory_order_relaxed) >= TABLES_MAX &&
        atomic_load_explicit(&l->active_is_full, memory_order_relaxed);
}

static bool should_slow_down(const struct lsm *l) {
    return atomic_load_explicit(&l->level0_count, memory_order_relaxed) >= 2 * l->opts.level0_count;
}

static status wait_for_room(struct lsm *l, struct err *err) {
    status st = ST_OK;
    (void) atomic_fetch_add_explicit(&l->stall_count, 1, memory_order_relaxed);
    mutex_lock(&l->state_mutex);
    while (must_wait(l) && st == ST_OK && !atomic_load(&l->is_broken) && !atomic_load(&l->is_stopping)) {
        if (atomic_load(&l->has_background_err)) {
            if (err != NULL) *err = l->background_err;
            st = l->background_err.st;
        } else {
            (void) cond_wait_ms(&l->room_cond, &l->state_mutex, RETRY_MS);
        }
    }
    mutex_unlock(&l->state_mutex);
    return st;
}

status maintain_make_room(struct lsm *l, struct err *err) {
    if (must_wait(l)) {
        if (l->opts.threads > 0) return wait_for_room(l, err);
        atomic_store(&l->has_work, true);
        return maintain_here(l, err);
    }
    if (l->opts.threads > 0 && should_slow_down(l)) {
        mutex_lock(&l->state_mutex);
        if (should_slow_down(l)) (void) cond_wait_ms(&l->room_cond, &l->state_mutex, SLOW_MS);
        mutex_unlock(&l->state_mutex);
    }
    return ST_OK;
}
