/* One query from request to rows: compiled, in a transaction, planned, executing. What find, count, distinct, update, delete and explain stand on. */
#ifndef ELMO_QUERY_RUN_H
#define ELMO_QUERY_RUN_H

#include "query/exec.h"

struct run {
    struct op *op;
    struct kv_txn *txn;
    bool owns_txn, has_query;
    struct collection *collection; /* NULL: there is none */
    struct query query;
    struct plan plan;
    struct exec exec;
};

struct run_opts {
    struct kv_txn *txn; /* the transaction to read in; NULL: the session's, else a reading one of its own */
    enum plan_want want;
    bool keeps_rejected; /* for explain */
    bool goes_on;        /* rows are pulled by several statements of a session */
};

/* The request's documents must outlive the run; what it keeps lives in op->arena. On failure nothing needs to be closed. */
status run_open(struct run *r, struct op *op, const struct find_request *req, const struct run_opts *opts,
                struct err *err);
static inline status run_next(struct run *r, struct row *out, struct err *err) { return exec_next(&r->exec, out, err); }
void run_close(struct run *r);

/* The transaction that a reading statement runs in: the session's, at a new statement, or a new one (*owned). */
status run_begin(struct op *op, struct kv_txn **txn, bool *owned, struct err *err);

#endif
