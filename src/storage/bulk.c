/* Bulk loads: segments written directly, with the snapshot's sequence, and installed by one tree commit.
 *
 * What was written after the snapshot has greater sequences and stands above, wherever the segments lie; tombstones newer than a live snapshot are never dropped,
 * so a delete that came in between is still there. Each segment goes as deep as its level has room for it.
 * The log is synced before: the load was made from what it says. */
#include <assert.h>

#include "storage/rewrite.h"

struct lsm_bulk {
    struct kv_bulk base;
    struct lsm_txn *t;
    struct rewrite r;
    struct buf last, scratch;
    bool has_last;
    struct extent *large; /* extents of its large values, to be forfeited on abort */
    size_t large_count, large_cap;
};

status bulk_new(struct kv_txn *txn, struct kv_bulk **out, struct err *err) {
    struct lsm_txn *t = (struct lsm_txn *) txn;
    TRY(lsm_refuse(t->l, err));
    struct lsm_bulk *b = mem_new(t->l->mem, struct lsm_bulk);
    if (b == NULL) return RAISE(err, ST_NOMEM, "bulk load");
    b->base.ops = &lsm_kv_ops;
    b->t = t;
    b->r = (struct rewrite){.l = t->l, .level = LEVEL_COUNT - 1, .cut_len = t->l->opts.segment_len};
    rewrite_begin(&b->r);
    buf_init(&b->last, t->l->mem);
    buf_init(&b->scratch, t->l->mem);
    *out = &b->base;
    return ST_OK;
}

static void bulk_free(struct lsm_bulk *b) {
    struct lsm *l = b->t->l;
    rewrite_release(&b->r);
    buf_release(&b->last);
    buf_release(&b->scratch);
    mem_free(l->mem, b->large, b->large_cap * sizeof(*b->large));
    mem_delete(l->mem, b);
}

static status put_large(struct lsm_bulk *b, struct entry *e, struct err *err) {
    struct lsm *l = b->t->l;
    struct large_ref ref;
    void *array = b->large;
    if (!mem_grow(l->mem, &array, &b->large_cap, b->large_count + LARGE_EXTENTS_MAX, sizeof(*b->large)))
        return RAISE(err, ST_NOMEM, "bulk load");
    b->large = array;
    TRY(large_write(l->store, e->value, &ref, err));
    for (uint32_t i = 0; i < ref.extent_count; i++) b->large[b->large_count++] = ref.extents[i];
    buf_clear(&b->scratch);
    TRY(large_ref_encode(&ref, &b->scratch, err));
    if (b->scratch.failed) return RAISE(err, ST_NOMEM, "bulk load");
    e->kind = ENTRY_LARGE;
    e->value = buf_slice(&b->scratch);
    return ST_OK;
}

status bulk_put(struct kv_bulk *bulk, struct slice key, struct slice value, struct err *err) {
    struct lsm_bulk *b = (struct lsm_bulk *) bulk;
    if (key.len == 0 || key.len > KV_KEY_LEN_MAX)
        return RAISE(err, ST_INVALID, "a key has 1 to %zu bytes, not %zu", KV_KEY_LEN_MAX, key.len);
    if (value.len > KV_VALUE_LEN_MAX)
        return RAISE(err, ST_TOO_LARGE, "a value has at most %zu bytes, not %zu", KV_VALUE_LEN_MAX, value.len);
    if (b->has_last && slice_compare(buf_slice(&b->last), key) >= 0)
        return RAISE(err, ST_INVALID, "the keys of a bulk load ascend strictly");
    struct entry e = {.key = key, .value = value, .seq = b->t->snapshot.seq, .kind = ENTRY_PUT};
    buf_clear(&b->last);
    if (!buf_append_slice(&b->last, key)) return RAISE(err, ST_NOMEM, "bulk load");
    b->has_last = true;
    if (value.len >= LARGE_LEN_MIN) TRY(put_large(b, &e, err));
    return rewrite_add(&b->r, &e, true, err);
}

/* tree_mutex held. The deepest level whose segments leave room for r. */
static uint32_t level_for(struct lsm *l, const struct run *r) {
    const struct segment_meta *m = r->meta;
    if (tree_meets_merge(l, m->min_key, m->max_key, m->max_is_exclusive)) return 0;
    struct version *v = version_pin(l);
    uint32_t level = LEVEL_COUNT - 1;
    for (; level > 0; level--) {
        size_t from, to;
        version_overlap(v, level, m->min_key, m->max_key, m->max_is_exclusive, &from, &to);
        if (from == to) break;
    }
    version_unpin(v);
    return level;
}

static status install(struct lsm_bulk *b, struct err *err) {
    struct lsm *l = b->t->l;
    TRY(rewrite_end(&b->r, err));
    if (b->r.run_count == 0) return ST_OK;
    struct err own = ERR_INIT;
    status st = wal_sync(l->wal, wal_last_lsn(l->wal), &own);
    if (st != ST_OK) {
        lsm_break(l, &own);
        if (err != NULL) *err = own;
        return st;
    }
    mutex_lock(&l->tree_mutex);
    for (size_t i = 0; i < b->r.run_count; i++) b->r.runs[i]->level = level_for(l, b->r.runs[i]);
    struct tree_edit edit = {.version = {.added = b->r.runs, .added_count = b->r.run_count}};
    st = tree_commit(l, &edit, err);
    mutex_unlock(&l->tree_mutex);
    return st;
}

static void forfeit(struct lsm_bulk *b) {
    rewrite_forfeit(&b->r);
    store_forfeit(b->t->l->store, b->large, (uint32_t) b->large_count);
}

status bulk_commit(struct kv_bulk *bulk, struct err *err) {
    struct lsm_bulk *b = (struct lsm_bulk *) bulk;
    struct lsm *l = b->t->l;
    status st = lsm_refuse(l, err);
    if (st == ST_OK) st = install(b, err);
    if (st != ST_OK) forfeit(b);
    bulk_free(b);
    if (st == ST_OK) maintain_wake(l);
    return st;
}

void bulk_abort(struct kv_bulk *bulk) {
    struct lsm_bulk *b = (struct lsm_bulk *) bulk;
    forfeit(b);
    bulk_free(b);
}
