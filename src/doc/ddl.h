/* Changing the catalog: what catalog.c, index_ddl.c and index_build.c share. Private to src/doc. */
#ifndef ELMO_DOC_DDL_H
#define ELMO_DOC_DDL_H

#include "doc/catalog_entry.h"

#define LOCK_WAIT_MS 60000   /* of a writer, for a change of the collection to end */
#define LOCK_DRAIN_MS 60000  /* of a change, for writers to end */
#define DDL_RETRIES_MAX 1000 /* each means that another change of the same collection was committed meanwhile */

/* Must precede txn's first write to the catalog (W1 of db_state.h). */
status ddl_note(struct op *op, struct kv_txn *txn, struct err *err);

/* A change in a transaction of its own, writers drained first.
 *   `gate` holds the exclusive lock on the entry; `txn` was begun when it was granted, so that its snapshot has every writer's commit and its writes
 *   meet no conflict; no writer starts before gate ends, and then it finds its snapshot stale. */
struct ddl {
    struct kv_txn *gate, *txn;
    struct collection *c; /* NULL: does not exist (only when so allowed) */
};
/* A gate alone: a transaction that holds the exclusive locks on these names' entries, whether they exist or not; every writer to them has ended, and none
 * begins before the gate is aborted. */
status ddl_gate(struct op *op, const struct ns *names, uint32_t count, struct kv_txn **gate, struct err *err);
/* ST_NOT_FOUND when there is no such collection, unless may_miss. On failure nothing is held. */
status ddl_begin(struct op *op, struct ns ns, bool may_miss, struct ddl *out, struct err *err);
/* Both end what is held. */
status ddl_commit(struct ddl *d, struct err *err);
void ddl_abort(struct ddl *d);

/* Deletes a collection with all that is its, through txn, behind a gate. */
status collection_delete(struct op *op, struct kv_txn *txn, const struct collection *c, struct err *err);
/* Writes the edited entry of a collection through txn. */
status entry_put(struct op *op, struct kv_txn *txn, struct ns ns, const struct entry_edit *e, struct err *err);
/* The entry of a new collection. */
status entry_init_new(struct op *op, struct bdoc options, uint8_t uuid[16], struct entry_edit *out, struct err *err);
/* A database's name may not differ from another's in case only (13297): asked before a collection is made. */
status database_check_case(struct op *op, struct kv_txn *txn, struct slice db, struct err *err);
/* Deletes all keys of an index id of a collection (not its flags). */
status index_range_delete(struct op *op, struct kv_txn *txn, uint64_t collection_id, uint64_t index_id,
                          struct err *err);
status index_flags_delete(struct op *op, struct kv_txn *txn, uint64_t collection_id, uint64_t index_id,
                          struct err *err);

#endif
