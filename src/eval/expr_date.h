/* What the two families of date operators share. */
#ifndef ELMO_EVAL_EXPR_DATE_H
#define ELMO_EVAL_EXPR_DATE_H

#include "eval/expr_internal.h"

/* A date, a timestamp or an ObjectId as milliseconds: 16006 for others. */
status expr_date_ms(struct expr_run *x, struct bval v, int64_t *ms);
/* A zone's offset; B_MISSING is UTC. 40517: no string, 40485: no zone. */
status expr_date_zone(struct expr_run *x, struct bval v, int64_t *offset_ms);

#endif
