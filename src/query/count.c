/* count: from the collection's counters for everything, from index entries alone where they tell, else by reading. See find.h. */
#include "doc/write.h"
#include "query/run.h"

static bool is_everything(const struct find_request *req) {
    return (req->filter.p == NULL || bdoc_is_empty(req->filter)) && req->hint.type == B_MISSING;
}

static status count_all(struct op *op, const struct find_request *req, int64_t *count, struct err *err) {
    struct kv_txn *txn;
    struct collection *c = NULL;
    struct collection_stat stat = {0};
    bool owned;
    TRY(ns_check(req->ns, false, err));
    TRY(run_begin(op, &txn, &owned, err));
    status st = catalog_find(op, txn, req->ns, &c, err);
    if (st == ST_OK) {
        st = collection_stat(op, txn, c, &stat, err);
        collection_unref(c);
    } else if (st == ST_NOT_FOUND) {
        st = ST_OK;
    }
    if (owned) kv_abort(txn);
    if (st != ST_OK) return st;
    int64_t n = stat.documents - req->skip;
    if (n < 0) n = 0;
    *count = req->limit > 0 && n > req->limit ? req->limit : n;
    return ST_OK;
}

status count_run(struct op *op, const struct find_request *req, int64_t *count, struct err *err) {
    if (is_everything(req)) return count_all(op, req, count, err);
    struct run run;
    struct row row;
    TRY(run_open(&run, op, req, &(struct run_opts){.want = WANT_COUNT}, err));
    int64_t n = 0;
    status st;
    while ((st = run_next(&run, &row, err)) == ST_OK) n++;
    run_close(&run);
    if (st != ST_END) return st;
    *count = n;
    return ST_OK;
}
