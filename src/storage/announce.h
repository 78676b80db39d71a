/* Where the process that has the database open can be reached: whoever finds the file locked reads it and is told.
 *
 *   `<real>-listen`:  pid 4711 on host LF mongodb://127.0.0.1:27017 LF
 *
 * It is beside the lock, no part of the database: nothing is synced, no failure matters, and it counts only while the lock is held by the
 * process that its first line names (the log's header names the holder). What a crash leaves is removed by the next who opens to write. */
#ifndef ELMO_STORAGE_ANNOUNCE_H
#define ELMO_STORAGE_ANNOUNCE_H

#include "base/slice.h"
#include "os/env.h"

status announce_write(struct env *env, const char *real, struct slice where, struct err *err);
void announce_remove(struct env *env, const char *real);
/* What `holder` says of itself, printable; empty when it says nothing. */
void announce_read(struct env *env, const char *real, const char *holder, char *where, size_t where_len);

#endif
