/* A write command's transaction; see write_batch.h. */
#include "query/write_batch.h"

#include "doc/db.h"
#include "doc/history.h"

void write_batch_init(struct write_batch *b, struct op *op, struct ns ns) {
    *b = (struct write_batch){.op = op, .ns = ns, .count_max = BATCH_COUNT_MAX};
}

static void forget(struct write_batch *b) {
    if (b->op->history != NULL) history_forget(b->op->history);
    if (b->collection != NULL) collection_unref(b->collection);
    b->collection = NULL;
    b->txn = NULL;
    b->count = 0;
    b->len = 0;
}

void write_batch_abort(struct write_batch *b) {
    if (b->txn != NULL && b->txn != b->op->session_txn) kv_abort(b->txn);
    forget(b);
}

static status find_collection(struct write_batch *b, bool create, struct err *err) {
    status st = catalog_find(b->op, b->txn, b->ns, &b->collection, err);
    if (st == ST_NOT_FOUND && create) {
        b->collection = NULL;
        st = catalog_create(b->op, b->txn, b->ns, bdoc_empty, &b->collection, err);
    }
    if (st == ST_NOT_FOUND) b->collection = NULL;
    TRY(st);
    return collection_lock(b->op, b->txn, b->collection, err);
}

status write_batch_begin(struct write_batch *b, bool create, struct err *err) {
    if (b->txn != NULL && (b->collection != NULL || !create)) return b->collection != NULL ? ST_OK : ST_NOT_FOUND;
    if (b->txn == NULL) {
        if (b->op->session_txn != NULL) b->txn = b->op->session_txn;
        else TRY(db_begin(b->op->db, false, &b->txn, err));
    }
    status st = find_collection(b, create, err);
    if (st != ST_OK && st != ST_NOT_FOUND) write_batch_abort(b);
    return st;
}

status write_batch_commit(struct write_batch *b, bool last, struct err *err) {
    if (b->txn == NULL || b->txn == b->op->session_txn) {
        forget(b);
        return ST_OK;
    }
    struct kv_txn *txn = b->txn;
    bool wrote = b->count > 0, durable = last && !b->is_unsynced;
    status st = wrote && b->op->history != NULL ? history_put(b->op->history, txn, err) : ST_OK;
    forget(b);
    if (!wrote || st != ST_OK) {
        kv_abort(txn);
        return st;
    }
    TRY(kv_commit(txn, durable ? KV_SYNC : KV_SYNC_LATER, err));
    if (b->op->history != NULL) history_committed(b->op->history);
    b->is_unsynced = !durable;
    return ST_OK;
}

status write_batch_end(struct write_batch *b, struct err *err) {
    TRY(write_batch_commit(b, true, err));
    if (!b->is_unsynced) return ST_OK;
    b->is_unsynced = false;
    return kv_sync(db_kv(b->op->db), err);
}
