/* A source that gives rows lying in a buffer: see stage_rows.c. */
#ifndef ELMO_QUERY_STAGE_ROWS_H
#define ELMO_QUERY_STAGE_ROWS_H

#include "query/pipeline_internal.h"

/* Gives the documents in `rows`, which lie end to end and are the caller's. Closed with the statement. */
status queue_new(struct pipe_list *list, const struct buf *rows, struct pipe_stage **out, struct err *err);

#endif
