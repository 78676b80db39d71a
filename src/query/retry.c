/* Backoff; see retry.h. */
#include "query/retry.h"

#include <sched.h>

#include "os/thread.h"

enum { YIELDS = 4 };

status retry_wait(struct retry *r, const struct op *op, status st, struct err *err) {
    if (st == ST_BUSY && ++r->busy_count > RETRY_BUSY_MAX) return st;
    TRY(op_check(op, err));
    err_clear(err);
    if (r->count++ < YIELDS) {
        (void) sched_yield();
        return ST_OK;
    }
    uint64_t ms = UINT64_C(1) << (r->count - YIELDS - 1 < 4 ? r->count - YIELDS - 1 : 4);
    struct mutex m;
    struct cond c;
    TRY(mutex_init(&m, err));
    status ok = cond_init(&c, err);
    if (ok == ST_OK) {
        mutex_lock(&m);
        (void) cond_wait_ms(&c, &m, ms);
        mutex_unlock(&m);
        cond_release(&c);
    }
    mutex_release(&m);
    return ok;
}
