/* What the numbered writes of a session did, kept beside the writes: a write that is sent again with its number gives its first answer, also after a crash.
 *
 * A session has one record, of its last number; a new number overwrites it. Key: catalog_entry.h; value, BSON:
 *   {n: int64 number, t: date, k: "write" | "commit", s: [statement...]}
 *   statement {i: int32 id, c: int32 (so many, ids ascending; default 1), p: inserted, m: matched, o: modified, d: deleted, u: _id upserted, x: more}
 * Fields of a statement that are 0 or missing are left out. "commit": the number was a transaction's, which was committed.
 *
 * Chunk 0 is the record; each further transaction of one command, and one that has much to tell, adds a chunk, 1, 2, ..., of the same form. Chunks of other numbers are leftovers of longer commands
 * and count for nothing.
 *
 * H1  A record is written in the same transaction as the writes that it tells of.
 * H2  Only who has entered the session writes its record; history_sweep removes those that are older than SESSION_IDLE_MS and whose session is not in the table.
 *
 * A struct history is one command's view of it: op->history. A statement that changed nothing leaves no trace, and runs again, as MongoDB has it. */
#ifndef ELMO_DOC_HISTORY_H
#define ELMO_DOC_HISTORY_H

#include "bson/build.h"
#include "doc/session.h"

/* What `count` statements with ascending ids did, each the same. */
struct done {
    int32_t id, count;
    int64_t reach; /* of a record that was read: no id of it or of those before it is this large */
    int64_t inserted, matched, modified, deleted;
    struct bval upserted; /* B_MISSING: none */
    struct bdoc more;     /* findAndModify's: what it found; p NULL: none */
};

struct history {
    struct op *op;
    const struct session_id *id;
    int64_t number;
    int32_t first_id;    /* of statement 0, the others follow; or: */
    struct bdoc ids;     /* stmtIds; p NULL: none */
    struct biter ids_it; /* behind element ids_at - 1, whose value is ids_last: statements come in their order */
    uint32_t ids_at;
    int32_t ids_last;
    struct done *done; /* before, by ascending id; in the op's arena */
    uint32_t done_count;
    uint32_t chunk;       /* the first of the open transaction */
    uint32_t chunk_count; /* that history_put has written into it */
    uint32_t reached;     /* statements of the command that have been reached */
    struct buf pending;   /* of the open transaction: statements, the elements of an array */
    uint32_t pending_count;
    struct done last; /* still growing; count 0: none */
    struct bdoc more; /* of the statement that runs; lives as long as it likes */
};

void history_init(struct history *h, struct op *op, const struct session_id *id, int64_t number);
void history_release(struct history *h);
/* Reads what was done before under this number. */
status history_load(struct history *h, struct err *err);
/* What statement i did before, NULL: nothing. */
const struct done *history_find(struct history *h, uint32_t i);
int32_t history_statement_id(struct history *h, uint32_t i);
/* Statement i has done this, in the open transaction. */
status history_note(struct history *h, uint32_t i, const struct done *did, struct err *err);
/* Writes what was noted into the transaction, which is about to be committed. */
status history_put(struct history *h, struct kv_txn *txn, struct err *err);
/* It has been committed. */
void history_committed(struct history *h);
/* The open transaction has ended, or is forgotten. */
void history_forget(struct history *h);

/* The last number of a session that the file knows: -1, none. */
status history_last(struct op *op, const struct session_id *id, int64_t *number, bool *was_txn, struct err *err);
/* The transaction of this number is about to be committed. */
status history_put_commit(struct op *op, struct kv_txn *txn, const struct session_id *id, int64_t number,
                          struct err *err);
/* H2. */
status history_sweep(struct op *op, struct sessions *ss, struct err *err);

#endif
