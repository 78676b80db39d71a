/* What the planner's parts share: plan.c builds trees, candidates.c finds ways in, cost.c weighs them. */
#ifndef ELMO_QUERY_PLANNER_H
#define ELMO_QUERY_PLANNER_H

#include "query/plan.h"

struct planner {
    const struct plan_request *req;
    const struct query *q;
    struct arena *arena;
    struct bounds_maker maker;
    const struct collection *c;
    uint64_t documents;              /* about how many there are */
    bool has_documents;              /* that was asked */
    const struct sort_pattern *sort; /* NULL: none wanted (below an OR) */
    uint64_t need;                   /* rows that skip and limit ask for; 0: all */
    uint32_t depth;
};

/* A way in: a tree that gives documents (or index rows for a count), before sort, skip, limit and projection. */
struct candidate {
    struct plan_node *node;
    const struct access *access; /* NULL: no single one, and weighed when it was found */
    const struct match_node *filter;
    bool is_sorted, is_covered, fetches, dedups, streams;
    double scan_cost; /* of all rows */
    double rows;      /* that it gives */
    double cost;      /* with sort and limit */
    uint32_t bounded_count;
};

struct candidates {
    struct candidate *at;
    uint32_t count, cap;
};

struct plan_node *plan_node_new(struct planner *p, enum plan_stage stage,
                                struct plan_node *child); /* NULL without memory */

/* What the request says about the index to take. */
struct hint {
    bool is_set, is_natural, backward;
    const struct index *index; /* NULL with is_set: by _id */
};
status hint_resolve(struct planner *p, struct hint *out, struct err *err);
/* Every way to answer the conjunction; at least one. */
status candidates_find(struct planner *p, const struct conjunction *c, const struct hint *hint, struct candidates *out,
                       struct err *err);

/* About how many entries the access reads, and in how many pieces. */
status cost_access(struct planner *p, const struct access *a, double *keys, double *pieces, struct err *err);
status cost_documents(struct planner *p, double *documents, struct err *err);
/* Fills in `cost` of all, the same number of result rows assumed for all; answers the cheapest. */
uint32_t cost_choose(struct planner *p, struct candidates *cs);
double cost_fetch(double rows, bool dedups);
double cost_filter(const struct match_node *filter);

#define COST_KEY 0.15      /* reading one index entry */
#define COST_DOCUMENT 0.30 /* reading one document in a scan */
#define COST_FETCH 1.0     /* one document by its locator */
#define COST_SEEK 2.0
#define COST_SCAN_ALL 100.0 /* on top: a small collection is read by its indexes, as people expect of explain */

#endif
