/* The document database: a kv, its catalog, and the caches of both. Shared by threads. */
#ifndef ELMO_DOC_DB_H
#define ELMO_DOC_DB_H

#include "doc/op.h"

/* Takes over `kv` and `env` (closed and freed by db_close, not on failure). Creates the catalog in an empty kv; checks its version. Finishes or removes index builds that a crash left. */
status db_open(struct env *env, struct kv *kv, bool read_only, const struct mem *mem, struct db **out, struct err *err);
void db_close(struct db *db);
struct kv *db_kv(struct db *db);
struct env *db_env(struct db *db);
const struct mem *db_mem(struct db *db);
bool db_is_read_only(const struct db *db);

/* 12 bytes: seconds, 5 random bytes of this database handle, a counter. Thread-safe. */
void db_new_object_id(struct db *db, uint8_t id[12]);

#endif
