/* The planner: from a compiled query to a tree of stages (exec.h runs it, explain.h shows it).
 *
 *   predicates -> candidates (one per index and way to bound it, the scan of all, the union over an $or) -> cost of each -> the cheapest
 *   -> SORT, SKIP, LIMIT, PROJECTION where the candidate does not bring them
 *
 * Costs are about microseconds, from the tree's own counts (index_estimate), and deterministic: the same data and query give the same plan. */
#ifndef ELMO_QUERY_PLAN_H
#define ELMO_QUERY_PLAN_H

#include "query/access.h"
#include "query/query.h"

enum plan_stage {
    PLAN_EOF,
    PLAN_COLLSCAN,   /* all documents, in _id order */
    PLAN_ID_SCAN,    /* documents by intervals of _id */
    PLAN_IXSCAN,     /* index entries */
    PLAN_FETCH,      /* documents of index entries: child */
    PLAN_COVERED,    /* documents rebuilt from index entries; fetched only where an entry does not tell: child IXSCAN */
    PLAN_OR,         /* union of children, each document once */
    PLAN_SORT_MERGE, /* one index scanned point by point, merged by what follows: child IXSCAN under its FETCH */
    PLAN_TEXT,
    PLAN_SORT,
    PLAN_SKIP,
    PLAN_LIMIT,
    PLAN_PROJECTION,
    PLAN_STAGE_COUNT
};

struct plan_node {
    enum plan_stage stage;
    struct plan_node **children;
    uint32_t child_count;
    const struct match_node *filter; /* what rows must still satisfy, or NULL (COLLSCAN, ID_SCAN, FETCH, TEXT) */
    struct access *access;           /* IXSCAN, ID_SCAN, FETCH, COVERED, SORT_MERGE */
    bool backward;
    bool dedups;                        /* FETCH: a document may have several keys inside the bounds */
    bool is_id_hack;                    /* ID_SCAN of one _id and nothing else */
    uint32_t explode;                   /* SORT_MERGE: leading fields that are points */
    const struct match_node **branches; /* OR: what each child answers */
    uint64_t count;                     /* SKIP, LIMIT; SORT, FETCH, TEXT: rows that are wanted (0: all) */
    bool ranked;                        /* TEXT: best first */
    const struct index *text_index;
    double cost, rows;
};

struct plan {
    struct plan_node *root;
    struct plan_node **rejected;
    uint32_t rejected_count;
    bool is_sorted;
};

enum plan_want {
    WANT_DOCUMENTS,
    WANT_COUNT, /* rows need no documents */
};

struct plan_request {
    struct op *op;
    struct kv_txn *txn;
    const struct collection *collection; /* NULL: there is none */
    const struct query *query;
    enum plan_want want;
    bool keeps_rejected; /* for explain */
    bool rechecks;       /* documents may have changed since their index entries were scanned: check the whole filter */
};

/* In the query's arena. CODE_BadValue for a hint that names no index, 27 for $text without a text index. */
status plan_make(const struct plan_request *req, struct plan *out, struct err *err);

#endif
