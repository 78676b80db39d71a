/* The queue of commits.
 *
 *   commit_wait -> [ waits ] -> leads: takes all that wait -> make room -> reserve -> append each -> sync once -> apply each -> publish -> wakes them
 *
 * One at a time leads; while it syncs, others gather behind it and the next leader takes them together: a group commit. What the leader does is in
 * the order of the queue, so sequences, LSNs and what becomes visible agree (engine.h E1). The leadership can also be taken by itself (commit_lead): to change logs or
 * the active memtable with nobody writing.
 *
 * A failed append or sync breaks the database for writing (kv.h K8): whether the records are on disk is then unknown.
 */
#include <assert.h>

#include "base/endian.h"
#include "storage/batch.h"
#include "storage/engine.h"

#define GROUP_BYTES_MAX                                                                                                \
    ((uint64_t) 8                                                                                                      \
     << 20) /* a group is taken up to about so many bytes, so that the first of it is not kept waiting for long */

#define RANGES_MAX 512 /* range deletes in a memtable */

void lsm_break(struct lsm *l, const struct err *err) {
    mutex_lock(&l->state_mutex);
    if (!atomic_load(&l->is_broken)) {
        l->broken_err = *err;
        l->broken_err.details = NULL;
        atomic_store(&l->is_broken, true);
    }
    cond_broadcast(&l->room_cond);
    cond_broadcast(&l->work_cond);
    mutex_unlock(&l->state_mutex);
}

status lsm_refuse(struct lsm *l, struct err *err) {
    if (l->wal == NULL) return RAISE(err, ST_READ_ONLY, "the database was opened read-only");
    if (!atomic_load(&l->is_broken)) return ST_OK;
    mutex_lock(&l->state_mutex);
    status st = err_raise(err, l->broken_err.st, l->broken_err.code, l->broken_err.file, l->broken_err.line,
                          "no writing after a failure: %.400s", l->broken_err.text);
    mutex_unlock(&l->state_mutex);
    return st;
}

/* --- the leadership --- */

static void push(struct lsm *l, struct commit_wait *w) {
    w->next = NULL;
    if (l->queue_head == NULL) l->queue_head = w;
    else l->queue_tail->next = w;
    l->queue_tail = w;
}

void commit_lead(struct lsm *l, struct commit_wait *w) {
    *w = (struct commit_wait){.st = ST_OK};
    mutex_lock(&l->commit_mutex);
    push(l, w);
    while (l->is_led || l->queue_head != w) cond_wait(&l->commit_cond, &l->commit_mutex);
    l->is_led = true;
    mutex_unlock(&l->commit_mutex);
}

/* commit_mutex held: takes the first n out of the queue and lets the next one lead. */
static void hand_over(struct lsm *l, struct commit_wait *last) {
    l->queue_head = last->next;
    if (l->queue_head == NULL) l->queue_tail = NULL;
    l->is_led = false;
    cond_broadcast(&l->commit_cond);
}

void commit_yield(struct lsm *l, struct commit_wait *w) {
    mutex_lock(&l->commit_mutex);
    assert(l->is_led && l->queue_head == w);
    hand_over(l, w);
    mutex_unlock(&l->commit_mutex);
}

/* --- the memtable --- */

/* Goes on in the next log file, when one is ready and listed. Records of the new memtable may still be in the old file; never the other way round. */
static void rotate_log(struct lsm *l) {
    mutex_lock(&l->log_mutex);
    uint64_t id;
    if (l->has_prepared_log && wal_rotate(l->wal, &id, NULL) == ST_OK) {
        assert(l->log_count >= 2 && l->logs[l->log_count - 1].id == id);
        l->logs[l->log_count - 2].last_lsn = wal_last_lsn(l->wal);
        l->has_prepared_log = false;
    }
    mutex_unlock(&l->log_mutex);
}

status commit_switch(struct lsm *l, struct err *err) {
    if (memtable_entry_count(l->active) == 0 && memtable_max_seq(l->active) == 0) return ST_OK;
    struct memtable *fresh;
    TRY(memtable_new(l->mem, l->opts.memtable_bytes / 64, &fresh, err));
    struct version_edit edit = {.new_active = fresh, .last_lsn = l->active_lsn};
    struct version *v;
    status st = version_prepare(l, &edit, &v, err);
    if (st != ST_OK) {
        memtable_unref(fresh);
        return st;
    }
    atomic_store(&l->active_is_full, false);
    l->active = fresh; /* borrowed: the current version always holds it */
    version_install(l, &edit, v);
    rotate_log(l);
    return ST_OK;
}

/* A full memtable is replaced; when too many wait for their flush, the caller has made room before it queued, or this one grows a little. */
/* Also of range deletes, few as their bytes are: each new one copies the fragments of those before it. */
static bool active_is_full(const struct lsm *l) {
    return memtable_used(l->active) >= l->opts.memtable_bytes || memtable_range_count(l->active) >= RANGES_MAX;
}

static status switch_when_full(struct lsm *l, struct err *err) {
    if (!active_is_full(l) || !version_is_free(l)) return ST_OK;
    if (atomic_load(&l->table_count) >= TABLES_MAX) return ST_OK; /* not of `current`: a flush may let go of it */
    TRY(commit_switch(l, err));
    maintain_wake(l);
    return ST_OK;
}

/* --- a group --- */

static void fail(struct commit_wait *w, status st, const struct err *err) {
    w->st = st;
    if (w->err != NULL && w->err != err) *w->err = *err;
}

/* The log failed: breaks the database and answers what a caller may conclude. */
static status log_failed(struct lsm *l, status st, struct err *err, bool in_sync) {
    if ((st == ST_NO_SPACE || st == ST_NOMEM) && !in_sync) return st; /* nothing was written: these do not stick */
    lsm_break(l, err);
    struct err why = *err;
    return err_raise(err, ST_OUTCOME_UNKNOWN, 0, why.file, why.line, "the outcome of the commit is unknown: %.400s",
                     why.text);
}

/* Appends each member; those that were not appended have their failure in `st`. Whether any was. There is room in the memtable for all. */
static bool append_group(struct lsm *l, struct commit_wait *first, struct commit_wait *last, uint64_t *last_lsn,
                         bool *wants_sync) {
    struct err err = ERR_INIT;
    status st = ST_OK;
    bool any = false;
    uint64_t seq = l->last_seq;
    for (struct commit_wait *w = first;; w = w->next) {
        if (st == ST_OK) {
            put_le64(w->seq_at, seq + 1);
            st = wal_append(l->wal, &w->record, 1, &w->lsn, &err);
            if (st != ST_OK) st = log_failed(l, st, &err, false);
        }
        if (st == ST_OK) {
            w->seq = ++seq;
            *last_lsn = w->lsn;
            *wants_sync |= w->wants_sync;
            any = true;
        } else {
            fail(w, st, &err);
        }
        if (w == last) break;
    }
    return any;
}

static void apply_group(struct lsm *l, struct commit_wait *first, struct commit_wait *last) {
    for (struct commit_wait *w = first;; w = w->next) {
        if (w->st == ST_OK) {
            struct err err = ERR_INIT;
            status st = batch_apply(w->record, l->active, &err);
            assert(st == ST_OK);
            if (st != ST_OK) { /* reserved before: cannot be, but must not be half visible */
                lsm_break(l, &err);
                fail(w, st, &err);
                break;
            }
            l->last_seq = w->seq;
            l->active_lsn = w->lsn;
            snapshots_publish(l->snapshots, w->seq);
            (void) atomic_fetch_add_explicit(&l->commit_count, 1, memory_order_relaxed);
        }
        if (w == last) break;
    }
    atomic_store_explicit(&l->active_is_full, active_is_full(l), memory_order_relaxed);
}

static bool sync_is_due(struct lsm *l) {
    if (l->opts.sync != LSM_SYNC_NORMAL || l->opts.threads != 0) return false;
    uint64_t now = l->env->ops->monotonic_ns(l->env);
    if (now - l->last_sync_ns < (uint64_t) LSM_NORMAL_SYNC_MS * 1000000) return false;
    l->last_sync_ns = now;
    return true;
}

static void fail_group(struct commit_wait *first, struct commit_wait *last, status st, const struct err *err) {
    for (struct commit_wait *w = first;; w = w->next) {
        if (w->st == ST_OK) fail(w, st, err);
        if (w == last) return;
    }
}

static void run_group(struct lsm *l, struct commit_wait *first, struct commit_wait *last) {
    struct err err = ERR_INIT;
    status st = lsm_refuse(l, &err);
    if (st == ST_OK) st = switch_when_full(l, &err);
    uint64_t lsn = 0, entries = 0, bytes = 0;
    bool wants_sync = false;
    for (struct commit_wait *w = first;; w = w->next) {
        w->st = ST_OK;
        entries += w->entry_count;
        bytes += w->bytes;
        if (w == last) break;
    }
    if (st == ST_OK && first->has_ranges) st = batch_prepare(first->record, l->last_seq + 1, l->active, l->mem, &err);
    else if (st == ST_OK) st = memtable_reserve(l->active, entries, bytes, &err);
    if (st != ST_OK) {
        fail_group(first, last, st, &err);
        return;
    }
    if (!append_group(l, first, last, &lsn, &wants_sync)) {
        if (first->has_ranges) memtable_unstage_ranges(l->active);
        return;
    }
    if ((wants_sync && l->opts.sync == LSM_SYNC_FULL) || sync_is_due(l)) {
        st = wal_sync(l->wal, lsn, &err);
        (void) atomic_fetch_add_explicit(&l->sync_count, 1, memory_order_relaxed);
        if (st != ST_OK) {
            if (first->has_ranges) memtable_unstage_ranges(l->active);
            fail_group(first, last, log_failed(l, st, &err, true), &err);
            return;
        }
    } else {
        atomic_store_explicit(&l->unsynced_lsn, lsn, memory_order_relaxed);
    }
    apply_group(l, first, last);
}

static bool may_join(const struct commit_wait *w) { return w != NULL && w->record.p != NULL && !w->has_ranges; }

status commit_wait(struct lsm *l, struct commit_wait *w, struct err *err) {
    w->is_done = false;
    w->err = err;
    mutex_lock(&l->commit_mutex);
    push(l, w);
    while (!w->is_done && (l->is_led || l->queue_head != w)) cond_wait(&l->commit_cond, &l->commit_mutex);
    if (w->is_done) {
        mutex_unlock(&l->commit_mutex);
        return w->st;
    }
    l->is_led = true;
    struct commit_wait *last = w;
    for (uint64_t bytes = w->bytes; !w->has_ranges && may_join(last->next) && bytes < GROUP_BYTES_MAX;
         bytes += last->bytes)
        last = last->next;
    mutex_unlock(&l->commit_mutex);

    run_group(l, w, last);

    mutex_lock(&l->commit_mutex);
    struct commit_wait *next;
    struct commit_wait *after = last->next;
    hand_over(l, last);
    for (struct commit_wait *m = w; m != after; m = next) {
        next = m->next; /* a member may return and be gone once it is done and the mutex is free */
        m->is_done = true;
    }
    mutex_unlock(&l->commit_mutex);
    return w->st;
}
