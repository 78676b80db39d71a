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

enum { ENTRIES_PER_CHECK = 65536 };

/* Every entry of a contiguous piece of an index counts: nobody needs to see them. */
static bool is_entries_alone(const struct plan_node *root) {
    return root->stage == PLAN_IXSCAN && root->access->scan->is_contiguous && !root->access->scan->is_empty;
}

static status count_entries(struct run *run, const struct access *a, int64_t *count, struct err *err) {
    struct index_scan *scan;
    uint64_t n, sum = 0;
    TRY(index_scan_open(run->op, run->txn, run->collection, a->view.index, false, &scan, err));
    status st = index_scan_range(scan, a->scan->lo, a->scan->hi, err);
    while (st == ST_OK) {
        st = index_scan_count(scan, ENTRIES_PER_CHECK, &n, err);
        sum += n;
        if (st == ST_OK) st = op_check(run->op, err);
    }
    index_scan_close(scan);
    if (st != ST_END) return st;
    *count = (int64_t) sum;
    return ST_OK;
}

static status count_rows(struct run *run, int64_t *count, struct err *err) {
    struct row row;
    status st;
    *count = 0;
    while ((st = run_next(run, &row, err)) == ST_OK) ++*count;
    return st == ST_END ? ST_OK : st;
}

status count_run(struct op *op, const struct find_request *req, int64_t *count, struct err *err) {
    if (is_everything(req)) return count_all(op, req, count, err);
    struct run run;
    int64_t n = 0;
    TRY(run_open(&run, op, req, &(struct run_opts){.want = WANT_COUNT}, err));
    status st = is_entries_alone(run.plan.root) ? count_entries(&run, run.plan.root->access, &n, err)
                                                : count_rows(&run, &n, err);
    run_close(&run);
    if (st == ST_OK) *count = n;
    return st;
}
