/* What stages of a pipeline are made of.
 *
 *   source -> stage -> stage -> ... each pulls rows from the one before it (`from`)
 *
 * INVARIANTS
 *   P1  A row's bytes lie in a buffer of the stage that gave it or of one before it, and live until the next call of next, restart or rest on
 *       any stage of that list. The scratch arena (env.run.arena) is anybody's within one call of next and holds nothing across calls.
 *   P2  next gives ST_OK and a row, ST_END (again and again until restart), or a failure, after which only close may follow.
 *   P3  restart forgets everything that was read: the list runs again, with the variables as they are then ($lookup runs its pipeline so for each row).
 *   P4  What blocks counts its memory with pipe_charge: past the statement's limit it fails with 292. That is where spilling will hang in.
 *   P5  Everything in one statement shares one environment of expressions, so that slots of variables are unique (expr.h, E3), and one transaction. */
#ifndef ELMO_QUERY_PIPELINE_INTERNAL_H
#define ELMO_QUERY_PIPELINE_INTERNAL_H

#include "base/codes.h"
#include "bson/number.h"
#include "eval/describe.h"
#include "eval/expr.h"
#include "query/pipeline.h"
#include "query/run.h"

struct pipe_row {
    struct bdoc doc;
    double score;
    bool has_score;
};

struct pipe_list;
struct pipe_stage;

enum stage_flag {
    STAGE_KEEPS_DOCUMENTS = 1u << 0, /* rows pass as they are */
    STAGE_KEEPS_COUNT = 1u << 1,     /* one row out for each row in */
    STAGE_KEEPS_ORDER = 1u << 2,
    STAGE_BLOCKS = 1u << 3,
    STAGE_FIRST = 1u << 4,           /* makes rows: must be the first */
    STAGE_LAST = 1u << 5,
    STAGE_NOT_IN_FACET = 1u << 6,
    STAGE_NOT_NESTED = 1u << 7,      /* neither in $lookup nor in $unionWith */
    STAGE_WITHOUT_COLLECTION = 1u << 8, /* {aggregate: 1} */
};

struct pipe_parse {
    struct pipe_list *list; /* parsed stages are appended to it */
    struct err *err;
};

struct stage_def {
    const char *name;
    unsigned flags;
    status (*parse)(struct pipe_parse *ps, struct bval spec); /* NULL: known to MongoDB, not supported */
};

struct stage_vtable {
    status (*next)(struct pipe_stage *s, struct pipe_row *out, struct err *err);
    /* The rest may be NULL: nothing to do. */
    status (*restart)(struct pipe_stage *s, struct err *err);
    void (*rest)(struct pipe_stage *s);
    void (*close)(struct pipe_stage *s);
    /* What it reads of its input; *ends: nothing else of the input is seen behind it. NULL: everything is read. */
    status (*deps)(const struct pipe_stage *s, struct expr_deps *deps, bool *ends, struct err *err);
    /* May a $match on this path stand before it as well as behind it? NULL: no. */
    bool (*passes)(const struct pipe_stage *s, struct slice path);
    /* The stage as explain shows it. NULL: as it was written. */
    void (*show)(const struct pipe_stage *s, struct bbuild *out);
};

/* Stages embed it first. */
struct pipe_stage {
    const struct stage_def *def;
    const struct stage_vtable *ops;
    struct pipe_list *list;
    struct pipe_stage *from;
    struct bval spec; /* as written */
    uint64_t advanced;
    struct pipe_stage *made_before; /* of all in the statement */
};

/* One pipeline: the statement's, or one inside $lookup, $unionWith, $facet. */
struct pipe_list {
    struct pipeline *p;
    struct ns ns; /* coll.len 0: none */
    struct pipe_stage **stages;
    uint32_t count, cap;
    uint32_t depth;   /* of pipelines around it */
    bool in_facet;
    struct bval hint; /* of the source */
    struct pipe_stage *last; /* linked: what rows are pulled from */
};

struct pipeline {
    struct op op; /* its own: the arena outlives the statement's; limits are those of the current one */
    struct pipeline_request req; /* copied */
    struct expr_env env;
    struct kv_txn *txn;
    bool owns_txn;
    struct pipe_list list;
    struct pipe_stage *made;
    size_t memory; /* what blocking stages hold */
    uint32_t ticks;
    bool is_done; /* it wrote, when it was opened */
};

/* --- for stages ------------------------------------------------------------------------------------------------ */

/* A zeroed stage of `size` bytes, closed with the statement. */
status pipe_stage_new(struct pipe_parse *ps, const struct stage_def *def, const struct stage_vtable *ops, size_t size,
                      void *out);
/* The same, appended to the list. */
status pipe_append(struct pipe_parse *ps, const struct stage_def *def, const struct stage_vtable *ops, size_t size,
                   void *out);
/* Parses {name: spec} as if it stood there. The bytes must live as long as the statement. */
status pipe_parse_stage(struct pipe_parse *ps, struct slice name, struct bval spec);
/* An array of stages into a list that is zeroed but for p, ns, depth, in_facet; links and optimizes it. `needs_source`: rows come from its collection
 * unless its first stage makes them. */
status pipe_list_parse(struct pipe_list *list, struct bdoc stages, bool needs_source, struct err *err);
status pipe_list_restart(struct pipe_list *list, struct err *err);
static inline status pipe_list_next(struct pipe_list *list, struct pipe_row *out, struct err *err) {
    status st = list->last->ops->next(list->last, out, err);
    if (st == ST_OK) list->last->advanced++;
    return st;
}
void pipe_list_rest(struct pipe_list *list);

static inline status pipe_next(struct pipe_stage *s, struct pipe_row *out, struct err *err) {
    status st = s->from->ops->next(s->from, out, err);
    if (st == ST_OK) s->from->advanced++;
    return st;
}
/* op_check every so many calls. */
status pipe_tick(struct pipeline *p, struct err *err);
/* The statement's evaluator over this row, its scratch emptied. */
static inline struct expr_run *pipe_run(struct pipe_stage *s, const struct pipe_row *row, struct err *err) {
    struct expr_run *x = &s->list->p->env.run;
    arena_reset(x->arena);
    x->root = row->doc;
    x->score = row->score;
    x->has_score = row->has_score;
    x->err = err;
    return x;
}
/* Counts memory of a blocking stage, which names itself in the failure (292). */
status pipe_charge(struct pipeline *p, const char *stage, size_t len, struct err *err);
void pipe_discharge(struct pipeline *p, size_t len);
static inline struct arena *pipe_arena(struct pipe_parse *ps) { return &ps->list->p->op.arena; }
/* Moves a document built in `buf` into the statement's arena. */
status pipe_keep(struct pipe_parse *ps, struct bdoc d, struct bval *out);
/* The document with the value at the path replaced, in `buf`, which is emptied first: B_MISSING takes it out, a path that is not there is made. */
status pipe_put_at(struct buf *buf, struct bdoc doc, const struct path *path, struct bval v, struct bdoc *out,
                   struct err *err);
/* A stage that gives the rows of a queue: what $facet and tests feed. */
status pipe_push_source(struct pipe_list *list, struct pipe_stage *source, struct err *err);

/* --- the source (stage_source.c) ------------------------------------------------------------------------------- */

/* Reads the list's collection: a query with filter, sort and limit, which the optimizer fills. */
struct pipe_source;
status source_new(struct pipe_list *list, struct pipe_source **out, struct err *err);
struct pipe_stage *source_stage(struct pipe_source *s);
/* What the planner gets; documents in the statement's arena. p NULL: none. */
void source_set(struct pipe_source *s, struct bdoc filter, struct bdoc sort, int64_t skip, int64_t limit);
struct find_request *source_request(struct pipe_source *s);
/* Opens it if it is not open yet, for explain. */
status source_run(struct pipe_source *s, struct run **out, struct err *err);

/* pipeline_optimize.c */
status pipe_optimize(struct pipe_list *list, struct pipe_source *source, struct err *err);

/* --- what the optimizer asks of stages ------------------------------------------------------------------------- */

extern const struct stage_def stage_match, stage_sort, stage_limit, stage_skip;
struct bdoc match_filter(const struct pipe_stage *s);
bool match_has_text(const struct pipe_stage *s);
/* A $match of this filter put into the list at `at`. */
status match_new(struct pipe_parse *ps, struct bdoc filter, struct pipe_stage **out);
struct bdoc sort_spec(const struct pipe_stage *s);
void sort_set_limit(struct pipe_stage *s, uint64_t limit);
uint64_t sort_limit(const struct pipe_stage *s);
int64_t limit_count(const struct pipe_stage *s); /* of $limit and $skip */

#endif
