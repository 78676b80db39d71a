/* Opening and closing a query; see run.h. */
#include "query/run.h"

#include "doc/db.h"

status run_begin(struct op *op, struct kv_txn **txn, bool *owned, struct err *err) {
    *owned = op->session_txn == NULL;
    if (!*owned) {
        *txn = op->session_txn;
        (void) kv_next_statement(*txn);
        return ST_OK;
    }
    return db_begin(op->db, true, txn, err);
}

static status open_exec(struct run *r, const struct run_opts *opts, struct err *err) {
    bool rechecks = opts->goes_on && r->op->session_txn != NULL;
    struct plan_request plan = {.op = r->op,
                                .txn = r->txn,
                                .collection = r->collection,
                                .query = &r->query,
                                .want = opts->want,
                                .keeps_rejected = opts->keeps_rejected,
                                .rechecks = rechecks};
    TRY(plan_make(&plan, &r->plan, err));
    r->exec = (struct exec){.op = r->op,
                            .txn = r->txn,
                            .collection = r->collection,
                            .query = &r->query,
                            .arena = &r->op->arena,
                            .is_snapshot = r->owns_txn,
                            .rechecks = rechecks};
    return exec_open(&r->exec, r->plan.root, err);
}

status run_open(struct run *r, struct op *op, const struct find_request *req, const struct run_opts *opts,
                struct err *err) {
    status st = ST_OK;
    *r = (struct run){.op = op};
    TRY_OUT(ns_check(req->ns, false, err));
    struct env *env = db_env(op->db);
    TRY_OUT(query_compile(op->mem, &op->arena, (int64_t) env->ops->now_ms(env), req, &r->query, err));
    r->has_query = true;
    if (opts->txn != NULL) r->txn = opts->txn;
    else TRY_OUT(run_begin(op, &r->txn, &r->owns_txn, err));
    st = catalog_find(op, r->txn, req->ns, &r->collection, err);
    if (st == ST_NOT_FOUND) r->collection = NULL, st = ST_OK;
    TRY_OUT(st);
    TRY_OUT(open_exec(r, opts, err));
out:
    if (st != ST_OK) run_close(r);
    return st;
}

void run_close(struct run *r) {
    if (r->exec.op != NULL) exec_close(&r->exec);
    if (r->has_query) query_release(&r->query);
    if (r->collection != NULL) collection_unref(r->collection);
    if (r->owns_txn) kv_abort(r->txn);
    *r = (struct run){0};
}
