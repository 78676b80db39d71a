/* Opening and closing.
 *
 *   store_open -> segments -> large extents claimed -> logs replayed into a memtable (their large extents claimed too)
 *     read-only:  done, nothing is written
 *     else:       a new log -> the memtable to a segment -> superblock with the new log only -> threads
 *
 *   close: threads stop -> flush -> superblock "clean", no logs -> logs unlinked. If that fails the logs stay and the next open replays them.
 *
 * Nothing is allocated before every extent in use is claimed: what only the log refers to is not in the manifest. */
#include <assert.h>

#include "storage/batch.h"
#include "storage/engine.h"

static void take_defaults(struct lsm_opts *o) {
    if (o->cache_bytes == 0) o->cache_bytes = (size_t) 64 << 20;
    if (o->memtable_bytes == 0) o->memtable_bytes = (size_t) 32 << 20;
    if (o->txn_bytes_max == 0) o->txn_bytes_max = (size_t) 256 << 20;
    if (o->compression == COMPRESS_NONE && !o->no_compression) o->compression = COMPRESS_LZ4;
    if (o->leaf_len == 0) o->leaf_len = 16 * 1024;
    if (o->filter_bits_per_key == 0 && !o->no_filter) o->filter_bits_per_key = 10;
    if (o->segment_len == 0) o->segment_len = (uint64_t) 16 << 20;
    if (o->level0_count == 0) o->level0_count = 4;
    if (o->level_len == 0) o->level_len = 8 * (uint64_t) o->memtable_bytes;
    if (o->shrink_free_len == 0) o->shrink_free_len = (uint64_t) 16 << 20;
    if (o->level_ratio < 2) o->level_ratio = 10;
}

/* --- the handle --- */

static status init_mutexes(struct lsm *l, struct err *err) {
    TRY(mutex_init(&l->version_mutex, err));
    TRY(mutex_init(&l->commit_mutex, err));
    TRY(mutex_init(&l->flush_mutex, err));
    TRY(mutex_init(&l->merge_mutex, err));
    TRY(mutex_init(&l->tree_mutex, err));
    TRY(mutex_init(&l->log_mutex, err));
    TRY(mutex_init(&l->free_mutex, err));
    TRY(mutex_init(&l->sequence_mutex, err));
    TRY(mutex_init(&l->state_mutex, err));
    TRY(cond_init(&l->commit_cond, err));
    TRY(cond_init(&l->work_cond, err));
    return cond_init(&l->room_cond, err);
}

static void release_mutexes(struct lsm *l) {
    mutex_release(&l->version_mutex);
    mutex_release(&l->commit_mutex);
    mutex_release(&l->flush_mutex);
    mutex_release(&l->merge_mutex);
    mutex_release(&l->tree_mutex);
    mutex_release(&l->log_mutex);
    mutex_release(&l->free_mutex);
    mutex_release(&l->sequence_mutex);
    mutex_release(&l->state_mutex);
    cond_release(&l->commit_cond);
    cond_release(&l->work_cond);
    cond_release(&l->room_cond);
}

static status handle_new(struct env *env, const struct lsm_opts *opts, struct lsm **out, struct err *err) {
    struct lsm *l = mem_new(env->mem, struct lsm);
    if (l == NULL) return RAISE(err, ST_NOMEM, "database handle");
    l->base.ops = &lsm_kv_ops;
    l->env = env;
    l->mem = env->mem;
    if (opts != NULL) l->opts = *opts;
    take_defaults(&l->opts);
    l->segment_opts = (struct segment_opts){l->opts.leaf_len, l->opts.compression, l->opts.filter_bits_per_key};
    manifest_init(&l->manifest, l->mem);
    status st = init_mutexes(l, err); /* fails only without memory; those not made are zero */
    if (st != ST_OK) {
        mem_delete(env->mem, l);
        return st;
    }
    l->slots = mem_zalloc(l->mem, READER_SLOTS * sizeof(*l->slots));
    *out = l;
    return l->slots != NULL ? ST_OK : RAISE(err, ST_NOMEM, "database handle");
}

/* Everything that is there; the store's file stays as it is. */
static void handle_free(struct lsm *l) {
    struct version *current = atomic_load(&l->current);
    version_reclaim(l);
    assert(l->retired == NULL);
    version_unpin(current);
    for (struct run *r = l->free_runs, *next; r != NULL; r = next) {
        next = r->next_free;
        segment_unref(r->seg);
        mem_delete(l->mem, r);
    }
    for (struct left *at = l->lefts, *next; at != NULL; at = next) {
        next = at->next;
        mem_free(l->mem, at, sizeof(*at) + at->count * sizeof(at->extents[0]));
    }
    if (l->wal != NULL) wal_close(l->wal);
    intents_free(l->intents);
    locks_free(l->locks);
    snapshots_free(l->snapshots);
    if (l->cache != NULL) cache_free(l->cache);
    if (l->store != NULL) store_close(l->store);
    manifest_release(&l->manifest);
    sequence_release(l);
    mem_free(l->mem, l->slots, READER_SLOTS * sizeof(*l->slots));
    release_mutexes(l);
    mem_delete(l->mem, l);
}

/* --- opening --- */

static status claim_extent(void *ctx, struct extent e) { return store_claim(((struct lsm *) ctx)->store, e, NULL); }

static status open_runs(struct lsm *l, struct memtable *active, struct err *err) {
    size_t n = l->manifest.segment_count, opened = 0;
    status st = ST_OK;
    struct run **runs = mem_zalloc(l->mem, (n + 1) * sizeof(*runs));
    if (runs == NULL) return RAISE(err, ST_NOMEM, "segments");
    for (; opened < n && st == ST_OK; opened++) {
        const struct segment_meta *meta = &l->manifest.segments[opened];
        st = run_new(l, meta, &runs[opened], err);
        if (st == ST_OK && meta->large_len > 0 && !l->opts.read_only) {
            st = segment_large_extents(runs[opened]->seg, claim_extent, l, err);
            if (st != ST_OK && err != NULL && err->st == ST_OK)
                st = RAISE(err, st, "large values of segment %llu overlap other data", (unsigned long long) meta->id);
        }
    }
    if (st == ST_OK) st = version_first(l, active, runs, n, err);
    for (size_t i = 0; i < opened; i++) run_unref(runs[i]);
    mem_free(l->mem, runs, (n + 1) * sizeof(*runs));
    return st;
}

static status replay_entry(void *ctx, const struct entry *e, struct err *err) {
    struct lsm *l = ctx;
    if (e->kind == ENTRY_LARGE && !l->opts.read_only) {
        struct large_ref ref;
        TRY(large_ref_decode(e->value, &ref, err));
        for (uint32_t i = 0; i < ref.extent_count; i++) TRY(store_claim(l->store, ref.extents[i], err));
    }
    return memtable_insert(l->active, e, err);
}

static status replay_range(void *ctx, struct slice lo, struct slice hi, uint64_t seq, struct err *err) {
    return memtable_delete_range(((struct lsm *) ctx)->active, lo, hi, seq, err);
}

static status replay_record(void *ctx, uint64_t lsn, struct slice record, struct err *err) {
    struct lsm *l = ctx;
    (void) lsn;
    if (record.len == 0 || record.p[0] != RECORD_BATCH) return sequence_replay(l, record, err);
    uint64_t seq;
    struct batch_totals totals;
    TRY(batch_head(record, &seq, &totals, err));
    if (seq <= l->last_seq) /* 0 too */
        return RAISE(err, ST_CORRUPT, "the log goes back from sequence %llu to %llu", (unsigned long long) l->last_seq,
                     (unsigned long long) seq);
    struct batch_visitor visitor = {l, replay_range, replay_entry};
    TRY(batch_visit(record, &visitor, err));
    l->last_seq = seq;
    return ST_OK;
}

static status replay(struct lsm *l, uint64_t *last_lsn, struct err *err) {
    uint64_t ids[STORE_LOGS_MAX];
    for (uint32_t i = 0; i < l->head.log_count; i++) ids[i] = l->head.logs[i].id;
    *last_lsn = l->head.replay_lsn;
    if (l->head.log_count == 0) return ST_OK;
    return wal_replay(l->env, store_path(l->store), l->head.uuid, ids, l->head.log_count, l->head.replay_lsn,
                      replay_record, l, last_lsn, err);
}

/* After the replay: a bulk load's segments have the sequence of its snapshot, which may be that of a record not in any segment yet. */
static void raise_last_seq(struct lsm *l) {
    for (size_t i = 0; i < l->manifest.segment_count; i++)
        if (l->manifest.segments[i].max_seq > l->last_seq) l->last_seq = l->manifest.segments[i].max_seq;
}

/* A new log, what was replayed in a segment, a superblock that names the new log only. */
static status begin_logging(struct lsm *l, uint64_t last_lsn, struct err *err) {
    struct wal_opts opts = {l->opts.log_file_len, l->opts.log_zero_step};
    TRY(wal_open(l->env, store_path(l->store), l->head.uuid, last_lsn + 1, &opts, &l->wal, err));
    for (uint32_t i = 0; i < l->head.log_count && l->log_count + 1 < STORE_LOGS_MAX; i++)
        l->logs[l->log_count++] = (struct listed_log){l->head.logs[i].id, last_lsn};
    l->logs[l->log_count++] = (struct listed_log){wal_current_id(l->wal), UINT64_MAX};
    l->active_lsn = last_lsn;
    if (memtable_max_seq(l->active) > 0) return flush_everything(l, err);
    l->head.replay_lsn = last_lsn;
    mutex_lock(&l->tree_mutex);
    status st = tree_commit_head(l, 0, false, err);
    mutex_unlock(&l->tree_mutex);
    return st;
}

static status open_parts(struct lsm *l, const char *path, struct err *err) {
    struct store_opts store_opts = {l->opts.read_only, l->opts.create, l->opts.exclusive,
                                    l->opts.file_len_max / UNIT_LEN};
    uint64_t last_lsn;
    struct memtable *active;
    TRY(store_open(l->env, path, &store_opts, &l->store, &l->manifest, err));
    TRY(cache_new(l->mem, l->opts.cache_bytes, &l->cache, err));
    TRY(intents_new(l->mem, &l->intents, err));
    TRY(locks_new(l->mem, l->env, &l->locks, err));
    l->head = *store_head(l->store);
    l->last_seq =
        l->manifest.last_seq > 0 ? l->manifest.last_seq : 1; /* 0 is no sequence: a snapshot of nothing has 1 */
    atomic_store(&l->next_segment_id, l->manifest.next_segment_id > 0 ? l->manifest.next_segment_id : 1);
    TRY(sequence_decode(l, l->manifest.sequences, err));
    TRY(memtable_new(l->mem, l->opts.memtable_bytes / 64, &active, err));
    l->active = active;
    atomic_store(&l->table_count, 1);
    status st = open_runs(l, active, err);
    memtable_unref(active); /* the version holds it */
    TRY(st);
    TRY(replay(l, &last_lsn, err));
    raise_last_seq(l);
    TRY(snapshots_new(l->mem, l->last_seq, &l->snapshots, err));
    if (l->opts.read_only) return ST_OK;
    TRY(begin_logging(l, last_lsn, err));
    return maintain_start(l, err);
}

status lsm_kv_open(struct env *env, const char *path, const struct lsm_opts *opts, struct kv **out, struct err *err) {
    struct lsm *l = NULL;
    status st = handle_new(env, opts, &l, err);
    if (st == ST_OK) st = open_parts(l, path, err);
    if (st == ST_OK) {
        *out = &l->base;
    } else if (l != NULL) {
        maintain_stop(l);
        handle_free(l);
    }
    return st;
}

/* --- closing --- */

static status close_cleanly(struct lsm *l) {
    if (atomic_load(&l->is_broken)) return ST_IO;
    TRY(flush_everything(l, NULL));
    version_reclaim(l); /* so that all extents can be given back */
    mutex_lock(&l->tree_mutex);
    status st = tree_commit_head(l, STORE_CLEAN, true, NULL);
    mutex_unlock(&l->tree_mutex);
    TRY(st);
    wal_close(l->wal);
    l->wal = NULL;
    return wal_remove_all(l->env, store_path(l->store), NULL);
}

void lsm_kv_close(struct kv *kv) {
    struct lsm *l = lsm_of(kv);
    maintain_stop(l);
    if (l->wal != NULL) (void) close_cleanly(l);
    handle_free(l);
}
