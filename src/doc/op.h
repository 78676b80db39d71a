/* What every call below the API carries: limits, memory, and the transaction it runs in. One thread at a time. */
#ifndef ELMO_DOC_OP_H
#define ELMO_DOC_OP_H

#include <stdatomic.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "os/env.h"
#include "storage/kv.h"

struct db;
struct session;
struct history; /* doc/history.h */

#define OP_MEMORY_MAX ((size_t) 100 * 1024 * 1024) /* MongoDB's limit of a blocking stage */

/* Memory of one document's write, kept from document to document so that a bulk insert soon allocates nothing. Private to src/doc. */
struct op_scratch {
    struct arena arena;
    struct buf key, value, locator, side;
};

struct op {
    struct db *db;
    const struct mem *mem;
    struct arena arena; /* the statement's memory: freed with the op */
    struct op_scratch scratch;
    uint64_t deadline_ns;         /* on the env's monotonic clock; 0: none (maxTimeMS) */
    const atomic_bool *cancelled; /* NULL, or set from another thread to stop the op */
    size_t memory_max;            /* for blocking steps: sort, sets for deduplication */
    struct slice user;            /* "db.name" of who is logged in; len 0: nobody. What it opens is its own */
    struct session *session;      /* doc/session.h: whose command it is; NULL: nobody's */
    struct kv_txn *session_txn;   /* the session's transaction that it is a statement of, NULL: none */
    struct history *history;      /* of a retryable write, NULL else: what its statements did before */
    bool statement_failed;        /* a write error in a session's transaction: it must be aborted, though the command answers */
};

/* Allocates nothing. No limits but memory_max = OP_MEMORY_MAX. */
void op_init(struct op *op, struct db *db);
void op_release(struct op *op);
/* ST_TIMEOUT or ST_INTERRUPTED when the op must stop; call it every so many rows (it reads the clock when there is a deadline). */
status op_check(const struct op *op, struct err *err);
#define TXN_LOCK_WAIT_MS 5 /* MongoDB's maxTransactionLockRequestTimeoutMillis */
/* How long the op may wait for a lock: to its deadline, at most `max_ms`; inside a session's transaction hardly at all, for others may wait for it. */
uint64_t op_wait_ms(const struct op *op, uint64_t max_ms);

#endif
