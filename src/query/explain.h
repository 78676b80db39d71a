/* Plans for people, in MongoDB 7's shape and names. */
#ifndef ELMO_QUERY_EXPLAIN_H
#define ELMO_QUERY_EXPLAIN_H

#include "query/run.h"

/* The fields of a normalised filter. */
void explain_match(struct bbuild *b, const struct match_node *n);

/* Fields of a stage: `node` and, when `stage` is not NULL, what it has counted. */
void explain_stage(struct bbuild *b, const struct run *run, const struct plan_node *node, const struct stage *stage);

/* Sums over the tree of stages. */
void explain_totals(const struct stage *s, uint64_t *keys, uint64_t *documents);

#endif
