/* A request, compiled: filter, sort, projection and hint, checked. What find, count, distinct, update and delete plan from. */
#ifndef ELMO_QUERY_QUERY_H
#define ELMO_QUERY_QUERY_H

#include "eval/expr.h"
#include "eval/match.h"
#include "eval/project.h"
#include "eval/sort_key.h"
#include "query/find.h"

struct query {
    struct arena *arena;
    struct bdoc filter;
    struct matcher matcher;
    struct bval id;                       /* filter is {_id: value} and nothing else: that value. B_MISSING: no */
    struct sort_pattern *sort;            /* NULL: none */
    struct bdoc projection_doc, sort_doc; /* p NULL: none; their bytes and the filter's are borrowed from the request */
    struct projection *projection;        /* NULL: none */
    struct bval hint;
    int64_t skip, limit;
    bool needs_score; /* sort or projection asks for the text score */
    bool allow_disk_use;
    struct expr_env *env; /* of expressions */
    bool owns_env;
};

/* `now_ms` is $$NOW. The request's documents must outlive the query. On failure nothing needs to be released. */
status query_compile(const struct mem *mem, struct arena *arena, int64_t now_ms, const struct find_request *req, struct query *out,
                     struct err *err);
void query_release(struct query *q);

/* {_id: x} where x is compared for equality (no operators, no null, array or regular expression): x, else B_MISSING. */
struct bval query_simple_id(struct bdoc filter);

#endif
