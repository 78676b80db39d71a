/* Running a plan: a tree of stages, each pulling rows from those below it.
 *
 * CONTRACT of a stage
 *   X1  next gives ST_OK and a row, ST_END for good, or a failure. A row's bytes live until the next call of next or rest on any stage of the tree.
 *   X2  A row has a document, or an index entry (key, side, locator), or both; where documents are asked for, the top stage gives documents.
 *   X3  rest lets go of everything that pins blocks; the next row is the same as without it.
 *   X4  A stage's memory is the exec's arena, what it opens is closed by close, which is called once, children first or last.
 *
 * One thread at a time. */
#ifndef ELMO_QUERY_EXEC_H
#define ELMO_QUERY_EXEC_H

#include "doc/scan.h"
#include "query/plan.h"

struct row {
    struct bdoc doc; /* p NULL: not fetched */
    struct slice locator;
    struct slice key, side; /* of the index entry */
    double score;
};

struct stage_stats {
    uint64_t advanced, keys, documents, seeks, memory_max;
};

struct exec;
struct stage;

struct stage_ops {
    status (*next)(struct stage *s, struct row *out, struct err *err);
    void (*rest)(struct stage *s);
    void (*close)(struct stage *s);
};

/* Stages embed it first. */
struct stage {
    const struct stage_ops *ops;
    struct exec *x;
    const struct plan_node *plan;
    struct stage **children;
    uint32_t child_count;
    struct stage_stats stats;
    struct stage *made_before; /* of all in the exec */
};

struct exec {
    struct op *op; /* of the statement that runs now: set before every call */
    struct kv_txn *txn;
    struct collection *collection;
    const struct query *query;
    struct arena *arena;    /* for stages and what they keep */
    struct arena row_arena; /* scratch of one row */
    bool is_snapshot;       /* nothing is ever written in txn: a get sees what a cursor sees */
    bool rechecks;          /* plan_request.rechecks: entries may lead nowhere */
    uint32_t ticks;
    struct stage *root, *made;
};

/* The exec is zeroed and its fields up to `rechecks` (but for row_arena) are filled in. On failure exec_close is needed all the same. */
status exec_open(struct exec *x, const struct plan_node *plan, struct err *err);
status exec_next(struct exec *x, struct row *out, struct err *err);
void exec_rest(struct exec *x);
void exec_close(struct exec *x);

/* For stages. */
static inline status stage_next(struct stage *s, struct row *out, struct err *err) {
    status st = s->ops->next(s, out, err);
    if (st == ST_OK) s->stats.advanced++;
    return st;
}
/* op_check every so many calls. */
#define EXEC_TICKS_PER_CHECK 128u
static inline status exec_tick(struct exec *x, struct err *err) {
    return ++x->ticks % EXEC_TICKS_PER_CHECK != 0 ? ST_OK : op_check(x->op, err);
}
status exec_matches(struct exec *x, const struct match_node *filter, struct bdoc doc, bool *matches, struct err *err);
/* A zeroed stage of `size` bytes with its children opened. */
status stage_new(struct exec *x, const struct plan_node *plan, const struct stage_ops *ops, size_t size, void *out,
                 struct err *err);
void stage_rest_nothing(struct stage *s);
void stage_close_nothing(struct stage *s);

/* One per file exec_*.c */
status stage_collscan_open(struct exec *x, const struct plan_node *plan, struct stage **out, struct err *err);
status stage_id_scan_open(struct exec *x, const struct plan_node *plan, struct stage **out, struct err *err);
status stage_ixscan_open(struct exec *x, const struct plan_node *plan, struct stage **out, struct err *err);
status stage_fetch_open(struct exec *x, const struct plan_node *plan, struct stage **out, struct err *err);
status stage_covered_open(struct exec *x, const struct plan_node *plan, struct stage **out, struct err *err);
status stage_or_open(struct exec *x, const struct plan_node *plan, struct stage **out, struct err *err);
status stage_sort_merge_open(struct exec *x, const struct plan_node *plan, struct stage **out, struct err *err);
status stage_text_open(struct exec *x, const struct plan_node *plan, struct stage **out,
                       struct err *err); /* rows of locator and score */
status stage_sort_open(struct exec *x, const struct plan_node *plan, struct stage **out, struct err *err);
status stage_limit_open(struct exec *x, const struct plan_node *plan, struct stage **out,
                        struct err *err); /* SKIP, LIMIT */
status stage_projection_open(struct exec *x, const struct plan_node *plan, struct stage **out, struct err *err);

#endif
