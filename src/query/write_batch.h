/* The transaction that a write command gathers documents in.
 *
 *            write_batch_begin            one document: mark, write, keep or undo        write_batch_commit
 *   (empty) ------------> (open) ------------------------------------------> (open) ------------> (empty)
 *
 * Outside a session documents share transactions only for speed: a conflict undoes one document, commits the others (write_batch_commit) and starts
 * afresh. Commits in between are not synced; write_batch_end syncs once for all. Inside a session everything happens in its transaction, which
 * begin and commit leave alone. One thread at a time. */
#ifndef ELMO_QUERY_WRITE_BATCH_H
#define ELMO_QUERY_WRITE_BATCH_H

#include "doc/write.h"

#define BATCH_COUNT_MAX 1000
#define BATCH_LEN_MAX ((size_t) 4 * 1024 * 1024)

struct write_batch {
    struct op *op;
    struct ns ns;
    struct kv_txn *txn;            /* NULL: empty */
    struct collection *collection; /* locked in txn; NULL: empty, or there is none */
    uint32_t count;                /* documents written in it */
    size_t len;                    /* about their bytes */
    uint32_t count_max;
    bool is_unsynced; /* commits were made that are not synced */
};

void write_batch_init(struct write_batch *b, struct op *op, struct ns ns);
/* Opens it when it is empty. ST_NOT_FOUND: there is no collection and `create` is false; the transaction is open all the same. Transient failures (retry.h) leave it empty. */
status write_batch_begin(struct write_batch *b, bool create, struct err *err);
/* A document of `len` bytes was written. */
static inline void write_batch_count(struct write_batch *b, size_t len) { b->count++, b->len += len; }
static inline bool write_batch_is_full(const struct write_batch *b) {
    return b->count >= b->count_max || b->len >= BATCH_LEN_MAX;
}
/* Empties it. `last`: nothing follows, so the commit may as well be the durable one. On failure what it held is lost. */
status write_batch_commit(struct write_batch *b, bool last, struct err *err);
void write_batch_abort(struct write_batch *b);
/* Commits what is open and makes all commits of this batch durable. */
status write_batch_end(struct write_batch *b, struct err *err);

#endif
