/* Aggregation pipelines: parsed, optimized, and pulled row by row. What the aggregate command and elmo_collection_aggregate stand on; updates by
 * pipeline use the per-document stages only.
 *
 *   parse (pipeline_parse.c)  ->  optimize (pipeline_optimize.c)  ->  source + stages (stage_*.c), each pulling from the one before it
 *
 * A pipeline reads, $lookup, $unionWith and $facet included, from one snapshot: the session's transaction or one of its own. */
#ifndef ELMO_QUERY_PIPELINE_H
#define ELMO_QUERY_PIPELINE_H

#include "query/find.h"

/* What the layer above lends while a pipeline is opened: rows that only it knows of. */
struct pipeline_hooks {
    /* $currentOp: appends whole documents to `rows`. */
    status (*current_op)(void *ctx, struct bdoc spec, struct buf *rows, struct err *err);
    void *ctx;
};

struct pipeline_request {
    struct ns ns;          /* coll.len 0: {aggregate: 1} */
    struct bdoc pipeline;  /* an array */
    struct bdoc let;       /* p NULL: none */
    struct bval hint;      /* as find's */
    bool allow_disk_use, bypass_validation;
    bool is_plain;         /* no optimizing: every stage as it stands over a scan of everything; for tests */
    const struct pipeline_hooks *hooks; /* NULL: none */
};

struct pipeline;

/* Copies the request, parses and opens; a pipeline that ends in $out or $merge has done its work when this returns, and gives no rows. */
status pipeline_open(struct op *op, const struct pipeline_request *req, struct pipeline **out, struct err *err);
/* ST_END after the last row. doc until the next call. */
status pipeline_next(struct op *op, struct pipeline *p, struct bdoc *doc, struct err *err);
void pipeline_rest(struct pipeline *p); /* between batches: lets go of what it pins */
void pipeline_close(struct pipeline *p); /* p may be NULL */

/* Is it the name of a stage, though elmo may not support it? */
bool pipeline_has_stage(struct slice name);
/* Does it end in $out or $merge? Looks at names only. */
bool pipeline_writes(struct bdoc pipeline);

/* {stages: [...]} or the find plan alone when everything went into it, as MongoDB. */
status pipeline_explain(struct op *op, const struct pipeline_request *req, enum explain_verbosity v, struct bbuild *out,
                        struct err *err);

#endif
