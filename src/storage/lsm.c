/* The functions of lsm.h that are not the life of the database: flush, compact, maintain, statistics. */
#include "storage/lsm.h"

#include "storage/engine.h"

status lsm_kv_flush(struct kv *kv, struct err *err) {
    struct lsm *l = lsm_of(kv);
    TRY(lsm_refuse(l, err));
    return flush_everything(l, err);
}

status lsm_kv_compact(struct kv *kv, struct err *err) {
    struct lsm *l = lsm_of(kv);
    TRY(lsm_refuse(l, err));
    return compact_all(l, err);
}

status lsm_kv_maintain(struct kv *kv, struct err *err) {
    struct lsm *l = lsm_of(kv);
    TRY(lsm_refuse(l, err));
    atomic_store(&l->has_work, true);
    return maintain_here(l, err);
}

static void stat_version(struct version *v, struct lsm_kv_stat *out) {
    for (size_t i = 0; i < v->table_count; i++) {
        out->memtables++;
        out->memtable_bytes += memtable_used(v->tables[i].m);
        out->memtable_entries += memtable_entry_count(v->tables[i].m);
    }
    for (uint32_t level = 0; level < LEVEL_COUNT; level++)
        for (size_t i = v->level_at[level]; i < v->level_at[level + 1]; i++) {
            const struct segment_meta *m = v->runs[i]->meta;
            struct lsm_level_stat *s = &out->levels[level];
            s->segments++;
            s->bytes += m->file_len;
            s->data_bytes += m->data_len;
            s->large_bytes += m->large_len;
            s->entries += m->entry_count;
            s->tombstones += m->tombstone_count;
            s->range_deletes += m->range_delete_count;
        }
}

status lsm_kv_announce(struct kv *kv, struct slice where, struct err *err) {
    return store_announce(lsm_of(kv)->store, where, err);
}

void lsm_kv_stat(struct kv *kv, struct lsm_kv_stat *out) {
    struct lsm *l = lsm_of(kv);
    *out = (struct lsm_kv_stat){0};
    struct version *v = version_pin(l);
    stat_version(v, out);
    version_unpin(v);
    struct store_space space = store_space(l->store);
    struct cache_stat cache = cache_stat(l->cache);
    out->file_len = space.file_len;
    out->used_len = space.used_len;
    out->free_len = space.free_len;
    out->pending_len = space.pending_len;
    if (l->wal != NULL) {
        out->log_len = wal_current_len(l->wal);
        out->last_lsn = wal_last_lsn(l->wal);
    }
    out->sequence = snapshots_published(l->snapshots);
    out->snapshots = snapshots_count(l->snapshots);
    out->oldest_snapshot = snapshots_oldest(l->snapshots);
    out->cache_bytes = cache.bytes;
    out->cache_bytes_max = cache.bytes_max;
    out->cache_hits = cache.hits;
    out->cache_misses = cache.misses;
    out->flushes = atomic_load(&l->flush_count);
    out->merges = atomic_load(&l->merge_count);
    out->merged_bytes = atomic_load(&l->merged_len);
    out->moves = atomic_load(&l->move_count);
    out->shifted_bytes = atomic_load(&l->shifted_len);
    out->drops = atomic_load(&l->drop_count);
    out->stalls = atomic_load(&l->stall_count);
    out->syncs = atomic_load(&l->sync_count);
    out->commits = atomic_load(&l->commit_count);
}
