/* The inside of the table of sessions, for session.c and session_txn.c. */
#ifndef ELMO_DOC_SESSION_INTERNAL_H
#define ELMO_DOC_SESSION_INTERNAL_H

#include "doc/session.h"
#include "os/thread.h"

#define SESSION_BUCKETS 1024

struct sessions {
    struct db *db;
    const struct mem *mem;
    struct mutex mutex;
    struct cond left; /* somebody has left a session */
    struct session *buckets[SESSION_BUCKETS], *handles[SESSION_BUCKETS];
    size_t count;
    uint64_t last_handle;
    uint32_t lifetime_s;
    _Atomic uint64_t swept_at_ms;
    uint64_t idle_at_ms, records_at_ms;
    struct sessions_stat stat;
};

uint64_t sessions_now_ms(const struct sessions *ss);
/* The session is entered, its transaction runs: its members are told and it is aborted. */
void session_rollback(struct session *s);

#endif
