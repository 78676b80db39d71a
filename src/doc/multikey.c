/* Multikey flags: see multikey.h. */
#include "doc/multikey.h"

#include "base/hash.h"
#include "doc/catalog_entry.h"
#include "doc/db_state.h"
#include "index/key.h"

static struct multikey **bucket_of(struct db *db, uint64_t collection_id, uint64_t index_id) {
    return &db->multikeys[(collection_id * 31 + index_id) % MULTIKEY_BUCKETS];
}

uint64_t multikey_home(struct ns ns) { return hash64(ns.coll.p, ns.coll.len, hash64(ns.db.p, ns.db.len, 1)); }

/* Referenced; with db->lock held. */
static struct multikey *find(struct db *db, uint64_t collection_id, uint64_t index_id) {
    for (struct multikey *m = *bucket_of(db, collection_id, index_id); m != NULL; m = m->next) {
        if (m->collection_id != collection_id || m->index_id != index_id) continue;
        atomic_fetch_add_explicit(&m->ref_count, 1, memory_order_relaxed);
        return m;
    }
    return NULL;
}

void multikey_unref(struct multikey *m) {
    if (m != NULL && atomic_fetch_sub_explicit(&m->ref_count, 1, memory_order_acq_rel) == 1) mem_delete(m->mem, m);
}

/* Raises bits (and with `is_stored`, stored) by the flags that txn sees. */
static status load(struct multikey *m, struct kv_txn *txn, bool is_stored, struct err *err) {
    status st = ST_OK;
    struct kv_cursor *cursor = NULL;
    struct buf lo, hi;
    buf_init(&lo, m->mem);
    buf_init(&hi, m->mem);
    catalog_key_multikey(&lo, m->collection_id, m->index_id);
    catalog_key_multikey(&hi, m->collection_id, m->index_id);
    key_successor(&hi);
    if (lo.failed || hi.failed) TRY_OUT(RAISE(err, ST_NOMEM, "multikey flags"));
    struct kv_bounds bounds = {buf_slice(&lo), buf_slice(&hi)};
    TRY_OUT(kv_cursor_open(txn, &bounds, &cursor, err));
    for (st = kv_first(cursor, err); st == ST_OK; st = kv_next(cursor, err)) {
        struct slice key = kv_cursor_key(cursor);
        if (key.len != lo.len + 2 || key.p[lo.len] >= INDEX_FIELDS_MAX || key.p[lo.len + 1] >= 64)
            TRY_OUT(RAISE(err, ST_CORRUPT, "the catalog is damaged: bad multikey flag"));
        uint64_t bit = (uint64_t) 1 << key.p[lo.len + 1];
        atomic_fetch_or(&m->bits[key.p[lo.len]], bit);
        if (is_stored) atomic_fetch_or(&m->stored[key.p[lo.len]], bit);
    }
    if (st == ST_END) st = ST_OK;
out:
    kv_cursor_close(cursor);
    buf_release(&hi);
    buf_release(&lo);
    return st;
}

static status load_committed(struct db *db, struct multikey *m, struct err *err) {
    struct kv_txn *latest = NULL;
    TRY(kv_begin(db->kv, true, &latest, err));
    status st = load(m, latest, true, err);
    kv_abort(latest);
    return st;
}

/* Puts m, which has one reference, into the table unless another thread was faster: that one's is returned then, and m freed. */
static struct multikey *install(struct db *db, struct multikey *m) {
    mutex_lock(&db->lock);
    struct multikey *winner = find(db, m->collection_id, m->index_id);
    if (winner == NULL) {
        struct multikey **bucket = bucket_of(db, m->collection_id, m->index_id);
        m->next = *bucket;
        *bucket = m;
        atomic_fetch_add_explicit(&m->ref_count, 1, memory_order_relaxed); /* the table's */
        winner = m;
        m = NULL;
    }
    mutex_unlock(&db->lock);
    multikey_unref(m);
    return winner;
}

status multikey_open(struct db *db, struct kv_txn *txn, const struct collection *c, uint64_t index_id,
                     struct multikey **out, struct err *err) {
    status st = ST_OK;
    mutex_lock(&db->lock);
    struct multikey *m = find(db, c->id, index_id);
    mutex_unlock(&db->lock);
    if (m == NULL) {
        m = mem_new(db->mem, struct multikey);
        if (m == NULL) return RAISE(err, ST_NOMEM, "multikey flags");
        m->mem = db->mem;
        m->collection_id = c->id;
        m->index_id = index_id;
        atomic_init(&m->home, multikey_home(c->ns));
        atomic_init(&m->ref_count, 1);
        TRY_OUT(load_committed(db, m, err));
        TRY_OUT(load(m, txn, false, err));
        m = install(db, m);
    }
    *out = m;
    m = NULL;
out:
    multikey_unref(m);
    return st;
}

void multikey_forget(struct db *db, const struct collection *c, uint64_t index_id) {
    struct multikey *gone = NULL;
    uint64_t home = multikey_home(c->ns);
    mutex_lock(&db->lock);
    for (struct multikey **p = bucket_of(db, c->id, index_id); *p != NULL; p = &(*p)->next) {
        if ((*p)->collection_id != c->id || (*p)->index_id != index_id) continue;
        if (atomic_load(&(*p)->home) != home) break;
        gone = *p;
        *p = gone->next;
        break;
    }
    mutex_unlock(&db->lock);
    multikey_unref(gone);
}

void multikey_move(const struct collection *c, struct ns to) {
    for (uint32_t i = 0; i < c->index_count; i++) atomic_store(&c->indexes[i].flags->home, multikey_home(to));
}

void multikey_forget_all(struct db *db) {
    for (size_t i = 0; i < MULTIKEY_BUCKETS; i++) {
        while (db->multikeys[i] != NULL) {
            struct multikey *m = db->multikeys[i];
            db->multikeys[i] = m->next;
            multikey_unref(m);
        }
    }
}

static status put_flag(struct op *op, struct kv_txn *txn, const struct collection *c, const struct index *ix,
                       uint32_t field, unsigned component, struct err *err) {
    struct buf *key = &op->scratch.key;
    catalog_key_multikey(key, c->id, ix->id);
    buf_append_u8(key, (uint8_t) field);
    buf_append_u8(key, (uint8_t) component);
    if (key->failed) return RAISE(err, ST_NOMEM, "multikey flag");
    return kv_put_blind(txn, buf_slice(key), SLICE_LIT(""), err);
}

status multikey_raise(struct op *op, struct kv_txn *txn, const struct collection *c, const struct index *ix,
                      const uint64_t bits[INDEX_FIELDS_MAX], struct err *err) {
    struct multikey *m = ix->flags;
    for (uint32_t f = 0; f < ix->spec.field_count; f++) {
        if (bits[f] == 0) continue;
        if ((bits[f] & ~atomic_load_explicit(&m->bits[f], memory_order_relaxed)) != 0)
            atomic_fetch_or(&m->bits[f], bits[f]);
        uint64_t unstored = bits[f] & ~atomic_load_explicit(&m->stored[f], memory_order_relaxed);
        for (; unstored != 0; unstored &= unstored - 1)
            TRY(put_flag(op, txn, c, ix, f, (unsigned) __builtin_ctzll(unstored), err));
    }
    return ST_OK;
}

static bool has_unstored(const struct index *ix) {
    for (uint32_t f = 0; f < ix->spec.field_count; f++)
        if ((atomic_load_explicit(&ix->flags->bits[f], memory_order_relaxed) &
             ~atomic_load_explicit(&ix->flags->stored[f], memory_order_relaxed)) != 0)
            return true;
    return false;
}

status multikey_refresh(struct op *op, const struct collection *c, struct err *err) {
    for (uint32_t i = 0; i < c->index_count; i++)
        if (has_unstored(&c->indexes[i])) TRY(load_committed(op->db, c->indexes[i].flags, err));
    return ST_OK;
}
