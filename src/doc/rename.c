/* Renaming: an entry of the catalog moves to another key. Documents, indexes and counters are found by the collection's id and stay. */
#include "base/codes.h"
#include "doc/db.h"
#include "doc/index_build.h"
#include "doc/multikey.h"

struct rename {
    struct op *op;
    struct ns from, to;
    bool drops_target;
    struct kv_txn *gate, *txn; /* as in struct ddl, on both names */
    struct collection *source, *target;
};

static bool comes_before(struct ns a, struct ns b) {
    int c = slice_compare(a.db, b.db);
    return c != 0 ? c < 0 : slice_compare(a.coll, b.coll) < 0;
}

static status find_both(struct rename *r, struct err *err) {
    char text[NS_TEXT_LEN];
    status st = catalog_find(r->op, r->txn, r->from, &r->source, err);
    if (st == ST_NOT_FOUND) {
        ns_text(r->from, text);
        return RAISE_CODE(err, CODE_NamespaceNotFound, "Source collection %s does not exist", text);
    }
    TRY(st);
    st = catalog_find(r->op, r->txn, r->to, &r->target, err);
    if (st == ST_OK && !r->drops_target) return RAISE_CODE(err, CODE_NamespaceExists, "target namespace exists");
    return st == ST_NOT_FOUND ? ST_OK : st;
}

/* A build finds its collection by name. */
static status check_builds(struct rename *r, struct err *err) {
    for (uint32_t i = 0; i < r->source->index_count; i++) {
        const struct index *ix = &r->source->indexes[i];
        if (ix->state != INDEX_BUILDING || !index_build_is_active(r->op->db, r->source->id, ix->id)) continue;
        return RAISE_CODE(err, CODE_BackgroundOperationInProgressForNamespace,
                          "cannot perform operation: an index build is currently running for collection '%s.%s'",
                          (const char *) r->source->ns.db.p, (const char *) r->source->ns.coll.p);
    }
    return ST_OK;
}

static status move_entry(struct rename *r, struct err *err) {
    struct entry_edit e;
    TRY(find_both(r, err));
    TRY(check_builds(r, err));
    TRY(database_check_case(r->op, r->txn, r->to.db, err));
    if (r->target != NULL) TRY(collection_delete(r->op, r->txn, r->target, err));
    entry_edit_init(&e, r->source);
    TRY(entry_put(r->op, r->txn, r->to, &e, err));
    return kv_delete(r->txn, r->source->catalog_key, err);
}

static status commit(struct rename *r, struct err *err) {
    struct kv_txn *txn = r->txn;
    r->txn = NULL;
    multikey_move(r->source, r->to);
    status st = kv_commit(txn, KV_SYNC, err);
    if (st != ST_OK && st != ST_OUTCOME_UNKNOWN) multikey_move(r->source, r->from);
    return st;
}

status catalog_rename(struct op *op, struct ns from, struct ns to, bool drop_target, struct err *err) {
    status st = ST_OK;
    struct rename r = {.op = op, .from = from, .to = to, .drops_target = drop_target};
    if (op->session_txn != NULL)
        return RAISE_CODE(err, CODE_OperationNotSupportedInTransaction, "Cannot rename a collection in a transaction");
    TRY(ns_check(from, true, err));
    TRY(ns_check(to, true, err));
    if (slice_equal(from.db, to.db) && slice_equal(from.coll, to.coll))
        return RAISE_CODE(err, CODE_IllegalOperation, "Can't rename a collection to itself");
    bool in_order = comes_before(from, to); /* so that two renames never wait for each other */
    struct ns names[2] = {in_order ? from : to, in_order ? to : from};
    TRY_OUT(ddl_gate(op, names, 2, &r.gate, err));
    TRY_OUT(db_begin(op->db, false, &r.txn, err));
    TRY_OUT(move_entry(&r, err));
    st = commit(&r, err);
out:
    collection_unref(r.source);
    collection_unref(r.target);
    kv_abort(r.txn);
    kv_abort(r.gate);
    return st;
}
