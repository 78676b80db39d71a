/* The document database: a kv, its catalog, and the caches of both. Shared by threads. */
#ifndef ELMO_DOC_DB_H
#define ELMO_DOC_DB_H

#include "doc/op.h"

/* Takes over `kv` and `env` (closed and freed by db_close, not on failure). Creates the catalog in an empty kv; checks its version. Removes index
 * builds that a crash left (not when read_only: then they stay, unused). */
status db_open(struct env *env, struct kv *kv, bool read_only, const struct mem *mem, struct db **out, struct err *err);
/* All transactions and ops must have ended, all collections be released. */
void db_close(struct db *db);
struct kv *db_kv(struct db *db);
struct env *db_env(struct db *db);
const struct mem *db_mem(struct db *db);
bool db_is_read_only(const struct db *db);

/* kv_begin, and the transaction learns at which state of the catalog it stands: catalog_find then needs no read in the common case. A transaction
 * begun by kv_begin works too, only slower. */
status db_begin(struct db *db, bool read_only, struct kv_txn **out, struct err *err);

/* Folding what writers leave in text indexes. Either a thread does it, started once after db_open and ended by db_close (nothing when read-only) ... */
status db_upkeep_start(struct db *db, struct err *err);
/* Ends the thread; db_close does it, too. */
void db_upkeep_stop(struct db *db);
/* The thread looks after these sessions, too; before it is started. They must live until it is stopped. */
struct sessions;
void db_upkeep_watch(struct db *db, struct sessions *sessions);
struct sessions *db_sessions(struct db *db); /* them */
/* The same work by a caller, now and then: aborts what is overdue, forgets who idles. Cheap when it was just done. */
void db_upkeep_sessions(struct db *db);
/* ... or the caller, now and then: one bounded step, nothing when nothing is due; *more tells that there is more to do. */
status db_upkeep(struct op *op, bool *more, struct err *err);

/* 12 bytes: seconds, 5 random bytes of this database handle, a counter. Thread-safe. */
void db_new_object_id(struct db *db, uint8_t id[12]);

#endif
