/* Trying again after a conflict: at once, then after waits that double up to RETRY_WAIT_MS_MAX, until the op's deadline. */
#ifndef ELMO_QUERY_RETRY_H
#define ELMO_QUERY_RETRY_H

#include "doc/op.h"

#define RETRY_WAIT_MS_MAX 16
#define RETRY_BUSY_MAX 200 /* locks that were not given: then it is told */

struct retry {
    uint32_t count, busy_count;
};

/* Is this an outcome after which a fresh transaction may succeed? */
static inline bool retry_is_transient(status st) { return st == ST_CONFLICT || st == ST_STALE || st == ST_BUSY; }
/* After a transient failure `st`: ST_OK when it is time to try again, else what ends the trying (err as it was for ST_BUSY). */
status retry_wait(struct retry *r, const struct op *op, status st, struct err *err);

#endif
