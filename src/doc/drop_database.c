/* Dropping a database: all its collections in one transaction, behind one gate on all their names. A collection that is made meanwhile is made after the drop. */
#include "base/codes.h"
#include "doc/db.h"
#include "doc/ddl.h"

struct names {
    struct op *op;
    struct ns *names; /* in name order, in the op's arena */
    size_t count, cap;
};

static status note(void *ctx, struct collection *c, struct err *err) {
    struct names *n = ctx;
    struct arena *arena = &n->op->arena;
    if (n->count == n->cap) {
        size_t cap = n->cap != 0 ? 2 * n->cap : 16;
        struct ns *names = arena_array(arena, struct ns, cap);
        if (names == NULL) return RAISE(err, ST_NOMEM, "dropping a database");
        if (n->count != 0) memcpy(names, n->names, n->count * sizeof(*names));
        n->names = names;
        n->cap = cap;
    }
    const uint8_t *name = arena_copy(arena, c->ns.coll.p, c->ns.coll.len),
                  *db = arena_copy(arena, c->ns.db.p, c->ns.db.len);
    if (name == NULL || db == NULL) return RAISE(err, ST_NOMEM, "dropping a database");
    n->names[n->count++] = (struct ns){slice_of(db, c->ns.db.len), slice_of(name, c->ns.coll.len)};
    return ST_OK;
}

static status list(struct op *op, struct slice db, struct names *out, struct err *err) {
    struct kv_txn *txn = NULL;
    *out = (struct names){.op = op};
    TRY(db_begin(op->db, true, &txn, err));
    status st = catalog_list(op, txn, db, note, out, err);
    kv_abort(txn);
    return st;
}

/* Those of the names that still exist. */
static status delete_all(struct op *op, struct kv_txn *txn, const struct names *n, bool *existed, struct err *err) {
    for (size_t i = 0; i < n->count; i++) {
        struct collection *c = NULL;
        status st = catalog_find(op, txn, n->names[i], &c, err);
        if (st == ST_NOT_FOUND) continue;
        TRY(st);
        st = collection_delete(op, txn, c, err);
        collection_unref(c);
        TRY(st);
        *existed = true;
    }
    return ST_OK;
}

status catalog_drop_database(struct op *op, struct slice db, bool *existed, struct err *err) {
    status st = ST_OK;
    struct kv_txn *gate = NULL, *txn = NULL;
    struct names names;
    *existed = false;
    if (op->session_txn != NULL)
        return RAISE_CODE(err, CODE_OperationNotSupportedInTransaction, "Cannot drop a database in a transaction");
    TRY(list(op, db, &names, err));
    if (names.count == 0) return ST_OK;
    TRY_OUT(ddl_gate(op, names.names, (uint32_t) names.count, &gate, err));
    TRY_OUT(db_begin(op->db, false, &txn, err));
    TRY_OUT(delete_all(op, txn, &names, existed, err));
    st = kv_commit(txn, KV_SYNC, err);
    txn = NULL;
out:
    kv_abort(txn);
    kv_abort(gate);
    return st;
}
