/* Sessions: what MongoDB calls logical sessions, and their transactions. One table per open database, from (uuid, user) to session.
 *
 *                 session_txn_start                    session_txn_commit
 *    TXN_NONE  ---------------------> TXN_RUNS ------------------------------> TXN_COMMITTED
 *       ^                                | session_txn_abort, a failed statement, 60 seconds, a kill
 *       | a greater number               +------------------------------------> TXN_ABORTED
 *
 * S1  A session is entered by one command at a time; who wants it meanwhile waits. Only who has entered touches `number`, `state`, `txn`, `members`.
 * S2  A transaction's snapshot is taken by its first statement, not by its start. Its number is greater than every one before.
 * S3  Whatever reads in the transaction from statement to statement (a cursor) is a member: told before the transaction ends, while the session is
 *     entered, so that it closes in time.
 * S4  A session that nobody has entered and that idles for SESSION_IDLE_MS ends; a transaction older than its lifetime is aborted: both at
 *     sessions_sweep, which commands and the database's upkeep thread call now and then.
 * S5  The last number and what its writes did lie in the file beside the writes (doc/history.h); a session that is new here reads it first.
 *
 * Any thread. The table's mutex guards the rest. */
#ifndef ELMO_DOC_SESSION_H
#define ELMO_DOC_SESSION_H

#include "doc/op.h"

#define SESSION_IDLE_MS ((uint64_t) 30 * 60 * 1000) /* MongoDB's localLogicalSessionTimeoutMinutes */
#define SESSION_IDLE_MINUTES 30
#define SESSIONS_MAX 1000000
#define TXN_LIFETIME_S 60 /* MongoDB's transactionLifetimeLimitSeconds */

struct sessions;

struct session_id {
    uint8_t uuid[16];
    struct slice user; /* "db.name"; len 0: nobody */
};

enum txn_state {
    TXN_NONE,
    TXN_RUNS,
    TXN_COMMITTED,
    TXN_ABORTED,
    TXN_UNKNOWN, /* its commit failed half way: nobody knows */
};

/* Something that reads in a transaction from statement to statement. `ended` is called once, with the session entered; it must not call session_part. */
struct txn_member {
    void (*ended)(struct txn_member *m);
    struct session *session; /* NULL: of none, or ended */
    struct txn_member *next, *prev;
};

struct session {
    struct sessions *table;
    struct session_id id; /* owned */
    uint64_t handle;      /* a small number for this process (sessionId of the API) */
    bool is_local;        /* the API's own: nothing about it is kept in the file */

    /* under the table's mutex */
    struct session *next;        /* in its bucket */
    struct session *handle_next; /* in its bucket of handles */
    uint32_t ref_count;          /* the table's, and whoever looks at it */
    bool is_busy, is_listed, is_killed, is_ending;
    uint64_t used_at_ms;     /* on the monotonic clock */
    uint64_t txn_began_ms;   /* 0: no transaction runs */

    /* of who entered */
    bool wants_txn;          /* of the API: statements belong to transaction `number` until it is committed or aborted */
    bool is_loaded;          /* the file was asked for its number */
    int64_t number;          /* of the last transaction or retryable write; -1: none */
    enum txn_state state;
    struct kv_txn *txn;      /* TXN_RUNS: NULL until the first statement */
    uint64_t txn_mark;       /* kv_mark at its begin: the same at commit when nothing was written */
    struct txn_member *members;
};

status sessions_new(struct db *db, struct sessions **out, struct err *err);
/* Aborts what runs. No session may be entered, none be referenced. NULL is allowed. */
void sessions_free(struct sessions *ss);

/* Finds or makes it, and notes that it is used. Referenced: session_unref. 261 when there are too many. */
status sessions_get(struct sessions *ss, const struct session_id *id, struct session **out, struct err *err);
/* The same without making one: ST_NOT_FOUND. */
status sessions_find(struct sessions *ss, const struct session_id *id, struct session **out);
/* Is it in the table? Does not count as a use. */
bool sessions_has(struct sessions *ss, const struct session_id *id);
/* A new one with a random id, for the API. */
status sessions_start(struct sessions *ss, struct session **out, struct err *err);
/* By handle: NULL when there is none. */
struct session *sessions_by_handle(struct sessions *ss, uint64_t handle);
struct session *session_ref(struct session *s);
void session_unref(struct session *s);
size_t sessions_count(struct sessions *ss);

/* Waits until nobody else has it: op_check's failures end the wait. It may have been ended meanwhile. */
status session_enter(struct session *s, const struct op *op, struct err *err);
/* The table has forgotten it: another of the same id may have been made, and what this one knows no longer counts. */
bool session_is_ended(struct session *s);
/* Gives it back; a kill or an expired lifetime met meanwhile takes effect. */
void session_leave(struct session *s);

/* Ends it: its transaction is aborted, and the table forgets it; when somebody has entered, as soon as that one leaves: so no two of one id are ever entered. */
void session_end(struct session *s);
/* Aborts its transaction alone. */
void session_kill_txn(struct session *s);
/* Calls visit, with the session referenced and not entered, for each session there is now. */
status sessions_each(struct sessions *ss, void (*visit)(void *ctx, struct session *s), void *ctx, struct err *err);
/* S4. Cheap when it was done within the last second. True: more than five minutes have passed since the records in the file were looked through; history_sweep is due. */
bool sessions_sweep(struct sessions *ss);
void sessions_set_lifetime(struct sessions *ss, uint32_t seconds);
uint32_t sessions_lifetime(struct sessions *ss);
struct sessions_stat {
    uint64_t active, started, committed, aborted; /* transactions: now and ever */
};
void sessions_stat(struct sessions *ss, struct sessions_stat *out);

/* --- transactions; the session must be entered (session_txn.c) --- */

/* {startTransaction: true, txnNumber}: 225 TransactionTooOld, 50911 when the number is taken. An older transaction that runs is aborted. */
status session_txn_start(struct session *s, struct op *op, int64_t number, struct err *err);
/* A statement of the transaction: 251 NoSuchTransaction, 256 TransactionCommitted, 225. */
status session_txn_continue(struct session *s, struct op *op, int64_t number, struct err *err);
/* op->session_txn becomes the transaction, begun now if this is the first statement. */
status session_txn_join(struct session *s, struct op *op, struct err *err);
/* Again is fine. 112 and 246 when it met a conflict: then it is aborted. */
status session_txn_commit(struct session *s, struct op *op, int64_t number, struct err *err);
status session_txn_abort(struct session *s, struct op *op, int64_t number, struct err *err);
/* A statement failed. */
void session_txn_fail(struct session *s);

void session_add_member(struct session *s, struct txn_member *m);
/* The session must be entered. Nothing when it is no member (any more). */
void session_part(struct txn_member *m);

/* Begins or repeats a retryable write: 225; 217 when the number was a transaction's. *repeats tells that the number is not new. */
status session_write_start(struct session *s, struct op *op, int64_t number, bool *repeats, struct err *err);

#endif
