/* The write-ahead log: files beside the database, named `<real path>-log-<n>` (see docs/FORMAT.md).
 *
 *   - Each log file has a random 64-bit id which salts its record checksums, so that a stale or foreign record never counts.
 *     The id holds the file's number n in its low 24 bits.
 *   - LSNs are consecutive from 1 over all logs; each record carries its LSN and the LSN known durable when it was written.
 *   - A bad record is damage (ST_CORRUPT) if a later record of the same log says that it was durable, else the torn tail.
 *   - A recovered log is never appended to. Files are recycled and zero-filled ahead in steps.
 *   - The header holds pid and host of the writer, so that a second opener can be told who has the file.
 *
 * Threads: append and sync may be called from several threads; wal_sync is a group commit: one caller syncs for all that wait.
 */
#ifndef ELMO_STORAGE_WAL_H
#define ELMO_STORAGE_WAL_H

#include "base/slice.h"
#include "os/env.h"

#define WAL_RECORD_LEN_MAX (((size_t) 1 << 30) - 4096)

struct wal;

struct wal_opts {
    uint64_t
        file_len; /* preferred length of one log file, zero-filled ahead (default 64 MiB; `rotate` is the engine's call) */
    uint64_t zero_step; /* bytes zero-filled ahead at a time (default 1 MiB) */
};

/* Starts logging for the database at `path` with the first LSN to give. Creates the first file (recycling an old, unneeded one). */
status wal_open(struct env *env, const char *path, const uint8_t uuid[16], uint64_t first_lsn,
                const struct wal_opts *opts, struct wal **out, struct err *err);
void wal_close(struct wal *w); /* closes files, keeps them */

uint64_t wal_current_id(
    struct wal *w); /* of the file that takes new records: the superblock must name it before its records count */

/* Writes one record of 1 to WAL_RECORD_LEN_MAX bytes, given in pieces (writev). *out_lsn is its number. Returns when the operating system has it.
 * ST_NO_SPACE and ST_NOMEM met before anything was written do not stick: the same may be tried again. Any other failure does, as ST_IO when the disk is full. */
status wal_append(struct wal *w, const struct slice *pieces, size_t n, uint64_t *out_lsn, struct err *err);
/* Returns when every record up to lsn is on disk. A failure sticks: every later append answers it, and every sync of what was not on disk
 * before. */
status wal_sync(struct wal *w, uint64_t lsn, struct err *err);
uint64_t wal_last_lsn(struct wal *w);
uint64_t wal_current_len(struct wal *w); /* bytes in the current file */

/* Makes the next file ready, once, and names it, so that a superblock may list it before its first record is written: then
 * wal_rotate moves on to it at once and no acknowledged record is ever in a file that is not listed. A listed file without records is fine. */
status wal_prepare(struct wal *w, uint64_t *out_id, struct err *err);
/* Begins a new file for the records that follow (the prepared one if there is one); the old one stays until wal_forget. *out_id names the new one. */
status wal_rotate(struct wal *w, uint64_t *out_id, struct err *err);
/* The superblock (a durable one) no longer names logs with an id other than these. Since the superblock before it may, such a log is
 * recycled or unlinked by the second call that finds it unneeded. The current and the prepared file always stay. */
status wal_forget(struct wal *w, const uint64_t *ids_needed, size_t n, struct err *err);

/* Replays the logs named in `ids` in order: calls `visit` for every whole record with LSN > after_lsn. A named log that is missing is ST_CORRUPT
 * ("...-log-3 is missing"); log files of this database that are not named are ignored (and unlinked by wal_remove_all / recycled).
 * `visit` answers ST_OK or a failure, which ends the replay; a record is valid until it returns.
 * *last_lsn is the last one seen (or after_lsn). */
status wal_replay(struct env *env, const char *path, const uint8_t uuid[16], const uint64_t *ids, size_t n,
                  uint64_t after_lsn, status (*visit)(void *ctx, uint64_t lsn, struct slice record, struct err *err),
                  void *ctx, uint64_t *last_lsn, struct err *err);
/* Unlinks every log file of the database at `path` (clean close). */
status wal_remove_all(struct env *env, const char *path, struct err *err);
/* "pid 123 on host" of the newest log's writer, into text; empty when unknown. */
void wal_holder(struct env *env, const char *path, char *text, size_t text_len);

#endif
