/* What every call below the API carries: limits, memory, and the transaction it runs in. One thread at a time. */
#ifndef ELMO_DOC_OP_H
#define ELMO_DOC_OP_H

#include <stdatomic.h>

#include "base/arena.h"
#include "base/err.h"
#include "os/env.h"
#include "storage/kv.h"

struct db;

struct op {
    struct db *db;
    const struct mem *mem;
    struct arena arena;           /* the statement's memory: freed with the op */
    uint64_t deadline_ns;         /* on the env's monotonic clock; 0: none (maxTimeMS) */
    const atomic_bool *cancelled; /* NULL, or set from another thread to stop the op */
    size_t memory_max;            /* for blocking steps: sort, sets for deduplication */
    struct kv_txn *session_txn;   /* the transaction of a session, NULL outside one */
};

void op_init(struct op *op, struct db *db);
void op_release(struct op *op);
/* ST_TIMEOUT or ST_INTERRUPTED when the op must stop; call it every so many rows. */
status op_check(const struct op *op, struct err *err);

#endif
