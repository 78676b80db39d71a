/* The transaction that a write command gathers documents in.
 *
 *            batch_begin            one document: mark, write, keep or undo        batch_commit
 *   (empty) ------------> (open) ------------------------------------------> (open) ------------> (empty)
 *
 * Outside a session documents share transactions only for speed: a conflict undoes one document, commits the others (batch_commit) and starts
 * afresh. Commits in between are not synced; batch_end syncs once for all. Inside a session everything happens in its transaction, which
 * begin and commit leave alone. One thread at a time. */
#ifndef ELMO_QUERY_BATCH_H
#define ELMO_QUERY_BATCH_H

#include "doc/write.h"

#define BATCH_COUNT_MAX 1000
#define BATCH_LEN_MAX ((size_t) 4 * 1024 * 1024)

struct batch {
    struct op *op;
    struct ns ns;
    struct kv_txn *txn;            /* NULL: empty */
    struct collection *collection; /* locked in txn; NULL: empty, or there is none */
    uint32_t count;                /* documents written in it */
    size_t len;                    /* about their bytes */
    uint32_t count_max;
    bool is_unsynced;              /* commits were made that are not synced */
};

void batch_init(struct batch *b, struct op *op, struct ns ns);
/* Opens it when it is empty. ST_NOT_FOUND: there is no collection and `create` is false; the transaction is open all the same. Transient failures (retry.h) leave it empty. */
status batch_begin(struct batch *b, bool create, struct err *err);
/* A document of `len` bytes was written. */
static inline void batch_count(struct batch *b, size_t len) { b->count++, b->len += len; }
static inline bool batch_is_full(const struct batch *b) { return b->count >= b->count_max || b->len >= BATCH_LEN_MAX; }
/* Empties it. `last`: nothing follows, so the commit may as well be the durable one. On failure what it held is lost. */
status batch_commit(struct batch *b, bool last, struct err *err);
void batch_abort(struct batch *b);
/* Commits what is open and makes all commits of this batch durable. */
status batch_end(struct batch *b, struct err *err);

#endif
