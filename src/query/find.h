/* Reading: find, count, distinct and explain. A request is what the typed functions and the commands fill alike. */
#ifndef ELMO_QUERY_FIND_H
#define ELMO_QUERY_FIND_H

#include "bson/build.h"
#include "doc/catalog.h"

struct expr_env;

struct find_request {
    struct ns ns;
    struct bdoc filter, projection, sort; /* p NULL: none */
    struct bval hint;                /* B_MISSING, a string (index name), a document (key pattern or {$natural: 1}) */
    int64_t skip, limit;             /* limit 0: none */
    struct bdoc min, max;            /* refused for now */
    bool return_key, show_record_id; /* refused for now */
    bool allow_disk_use;
    struct bdoc let;         /* variables for expressions; p NULL: none */
    struct expr_env *env;    /* what expressions are compiled and evaluated with, of a statement around this one; NULL: the query makes its own */
};

/* A running find. It copies the request and keeps a reading transaction of its own (or the session's) until it is closed. */
struct find;
/* Parses, plans and positions; nothing is read before find_next. A collection that does not exist gives no rows. */
status find_open(struct op *op, const struct find_request *req, struct find **out, struct err *err);
/* ST_END after the last row. doc until the next call. `op` is the current statement's (its deadline counts). */
status find_next(struct op *op, struct find *f, struct bdoc *doc, struct err *err);
void find_rest(struct find *f); /* between batches: lets go of what it pins */
void find_close(struct find *f);

status count_run(struct op *op, const struct find_request *req, int64_t *count, struct err *err);
/* The distinct values of a dotted key as an array document in `out`. 16 MiB limit as MongoDB (17217). */
status distinct_run(struct op *op, const struct find_request *req, struct slice key, struct buf *out,
                    struct bdoc *values, struct err *err);

enum explain_verbosity { EXPLAIN_QUERY_PLANNER, EXPLAIN_EXECUTION_STATS, EXPLAIN_ALL_PLANS };
enum explain_kind { EXPLAIN_FIND, EXPLAIN_COUNT, EXPLAIN_DISTINCT };
/* MongoDB's explain document (queryPlanner, executionStats, ...) without the outer ok/command fields, appended to `out`. */
status find_explain(struct op *op, const struct find_request *req, enum explain_kind kind, struct slice distinct_key,
                    enum explain_verbosity v, struct bbuild *out, struct err *err);

#endif
