/* The parts of distinct that explain shows, too. */
#ifndef ELMO_QUERY_DISTINCT_H
#define ELMO_QUERY_DISTINCT_H

#include "query/run.h"

/* The index that gives the distinct values of `path` by itself, NULL when there is none. */
status distinct_access(struct run *run, struct slice path, struct access **out, struct err *err);
/* From that index, or (a NULL) from the run's documents. *keys: index entries read. */
status distinct_read(struct run *run, const struct access *a, const struct path *path, struct buf *out,
                     struct bdoc *values, uint64_t *keys, struct err *err);

#endif
