/* Finding collections: the cache of descriptions and its validity (catalog.h, db_state.h); listing. */
#include "doc/catalog.h"

#include "base/hash.h"
#include "doc/catalog_entry.h"
#include "doc/db_state.h"
#include "doc/multikey.h"

void collection_unref(struct collection *c) {
    if (c == NULL || atomic_fetch_sub_explicit(&c->ref_count, 1, memory_order_acq_rel) != 1) return;
    for (uint32_t i = 0; i < c->index_count; i++) multikey_unref(c->indexes[i].flags);
    entry_free(c);
}

struct index *collection_index(const struct collection *c, struct slice name) {
    for (uint32_t i = 0; i < c->index_count; i++)
        if (slice_equal(c->indexes[i].spec.name, name)) return &c->indexes[i];
    return NULL;
}

/* --- the cache --- */

static bool is_of(const struct collection *c, struct ns ns) {
    return slice_equal(c->ns.coll, ns.coll) && slice_equal(c->ns.db, ns.db);
}

static size_t bucket_of(struct ns ns) {
    return hash64(ns.coll.p, ns.coll.len, hash64(ns.db.p, ns.db.len, 0)) % CACHE_BUCKETS;
}

/* Referenced, or NULL. */
static struct collection *cache_find(struct db *db, size_t bucket, struct ns ns) {
    struct collection *found = NULL;
    struct mutex *lock = &db->cache_locks[bucket % CACHE_STRIPES];
    mutex_lock(lock);
    for (int w = 0; w < CACHE_WAYS && found == NULL; w++) {
        struct collection *c = db->cache[bucket][w];
        if (c != NULL && is_of(c, ns)) found = collection_ref(c);
    }
    mutex_unlock(lock);
    return found;
}

/* Puts c (NULL: nothing) into the place of what is cached under that name, if that is `old` and not known to be newer. */
static bool cache_replace(struct db *db, size_t bucket, struct ns ns, struct collection *old, struct collection *c) {
    struct mutex *lock = &db->cache_locks[bucket % CACHE_STRIPES];
    struct collection **ways = db->cache[bucket], *evicted = NULL;
    mutex_lock(lock);
    int at = -1;
    for (int w = 0; w < CACHE_WAYS && at < 0; w++)
        if (ways[w] != NULL && is_of(ways[w], ns)) at = w;
    bool is_done = (at < 0 ? NULL : ways[at]) == old && (at >= 0 || c != NULL);
    if (is_done) {
        if (at < 0) at = CACHE_WAYS - 1;
        evicted = ways[at];
        memmove(&ways[1], &ways[0], (size_t) at * sizeof(*ways));
        ways[0] = c != NULL ? collection_ref(c) : NULL;
    }
    mutex_unlock(lock);
    collection_unref(evicted);
    return is_done;
}

/* Flags of indexes that `now`, which has the name of `old` (NULL: none has), has no more. */
static void forget_dropped(struct db *db, const struct collection *old, const struct collection *now) {
    for (uint32_t i = 0; i < old->index_count; i++) {
        bool is_kept = false;
        for (uint32_t k = 0; now != NULL && now->id == old->id && k < now->index_count; k++)
            is_kept |= now->indexes[k].id == old->indexes[i].id;
        if (!is_kept) multikey_forget(db, old, old->indexes[i].id);
    }
}

static void raise_valid_at(struct collection *c, uint64_t tag) {
    uint64_t at = atomic_load_explicit(&c->valid_at, memory_order_relaxed);
    while (at < tag &&
           !atomic_compare_exchange_weak_explicit(&c->valid_at, &at, tag, memory_order_release, memory_order_relaxed)) {
    }
}

/* --- finding --- */

static status open_flags(struct db *db, struct kv_txn *txn, struct collection *c, struct err *err) {
    for (uint32_t i = 0; i < c->index_count; i++) {
        struct index *ix = &c->indexes[i];
        TRY(multikey_open(db, txn, c, ix->id, &ix->flags, err));
        ix->multikey = ix->flags->bits;
    }
    return ST_OK;
}

/* A description of the entry as txn sees it. */
static status describe(struct db *db, struct kv_txn *txn, struct ns ns, struct slice entry, struct collection **out,
                       struct err *err) {
    struct collection *c = NULL;
    TRY(entry_read(db->mem, ns, entry, &c, err));
    status st = open_flags(db, txn, c, err);
    if (st == ST_OK) *out = c;
    else collection_unref(c);
    return st;
}

/* The description for an entry that txn sees: `cached` (may be NULL; the reference is taken over) when it is of that version, else a new one, which
 * becomes the cached one when the transaction stands at a later state of the catalog. */
static status match_entry(struct db *db, struct kv_txn *txn, struct ns ns, struct slice entry,
                          struct collection *cached, struct collection **out, struct err *err) {
    status st = ST_OK;
    uint64_t id = 0, version = 0;
    struct collection *c = NULL;
    TRY_OUT(entry_peek(entry, &id, &version, err));
    if (cached != NULL && cached->id == id && cached->version == version) {
        if (txn->tag != 0) raise_valid_at(cached, txn->tag);
        *out = cached;
        return ST_OK;
    }
    TRY_OUT(describe(db, txn, ns, entry, &c, err));
    if (txn->tag != 0) {
        atomic_store(&c->valid_at, txn->tag);
        bool is_later = cached == NULL || atomic_load(&cached->valid_at) < txn->tag;
        if (is_later && cache_replace(db, bucket_of(ns), ns, cached, c) && cached != NULL)
            forget_dropped(db, cached, c);
    }
    *out = c;
out:
    collection_unref(cached);
    return st;
}

status catalog_find(struct op *op, struct kv_txn *txn, struct ns ns, struct collection **out, struct err *err) {
    struct db *db = op->db;
    size_t bucket = bucket_of(ns);
    struct collection *c = cache_find(db, bucket, ns);
    if (c != NULL && txn->tag != 0 && atomic_load_explicit(&c->valid_at, memory_order_acquire) == txn->tag) {
        *out = c;
        return ST_OK;
    }
    struct kv_value value = KV_VALUE_INIT;
    catalog_key_entry(&op->scratch.key, ns);
    status st = op->scratch.key.failed ? RAISE(err, ST_NOMEM, "collection")
                                       : kv_get(txn, buf_slice(&op->scratch.key), &value, err);
    if (st == ST_OK) {
        st = match_entry(db, txn, ns, value.bytes, c, out, err);
    } else {
        if (st == ST_NOT_FOUND && c != NULL && txn->tag > atomic_load(&c->valid_at) &&
            cache_replace(db, bucket, ns, c, NULL))
            forget_dropped(db, c, NULL);
        collection_unref(c);
    }
    kv_value_release(&value);
    return st;
}

/* --- listing --- */

static status visit_entry(struct db *db, struct kv_txn *txn, struct kv_cursor *cursor,
                          status (*visit)(void *ctx, struct collection *c, struct err *err), void *ctx,
                          struct err *err) {
    struct ns ns;
    struct slice entry;
    struct collection *c = NULL;
    if (!catalog_key_parse(kv_cursor_key(cursor), &ns))
        return RAISE(err, ST_CORRUPT, "the catalog is damaged: bad key");
    TRY(kv_cursor_value(cursor, &entry, err));
    TRY(match_entry(db, txn, ns, entry, cache_find(db, bucket_of(ns), ns), &c, err));
    status st = visit(ctx, c, err);
    collection_unref(c);
    return st;
}

status catalog_list(struct op *op, struct kv_txn *txn, struct slice db,
                    status (*visit)(void *ctx, struct collection *c, struct err *err), void *ctx, struct err *err) {
    status st = ST_OK;
    struct kv_cursor *cursor = NULL;
    struct buf lo, hi;
    buf_init(&lo, op->mem);
    buf_init(&hi, op->mem);
    catalog_key_database(&lo, db, false);
    catalog_key_database(&hi, db, true);
    if (lo.failed || hi.failed) TRY_OUT(RAISE(err, ST_NOMEM, "listing"));
    struct kv_bounds bounds = {buf_slice(&lo), buf_slice(&hi)};
    (void) kv_next_statement(txn); /* what this transaction has created is listed, too */
    TRY_OUT(kv_cursor_open(txn, &bounds, &cursor, err));
    for (st = kv_first(cursor, err); st == ST_OK; st = kv_next(cursor, err))
        TRY_OUT(visit_entry(op->db, txn, cursor, visit, ctx, err));
    if (st == ST_END) st = ST_OK;
out:
    kv_cursor_close(cursor);
    buf_release(&hi);
    buf_release(&lo);
    return st;
}
