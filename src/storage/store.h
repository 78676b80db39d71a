/* The database file as a store of extents: two superblocks, a manifest, and space. Byte layout: docs/FORMAT.md.
 *
 *   store_alloc/write ... store_commit(new manifest): sync data -> write superblock -> sync. What superblock N freed is reused only
 *   after N+1 is durable. A crash at any point leaves superblock N with everything it refers to, and nothing else is in use.
 *
 * The free space is computed at open from the manifest's extents (segments, large values by their lists, the manifest itself) and kept in memory;
 * "persistent space accounting" means that no data is read for it.
 *
 * Threads: all functions may be called from any thread; store_commit serialises itself.
 */
#ifndef ELMO_STORAGE_STORE_H
#define ELMO_STORAGE_STORE_H

#include "os/env.h"
#include "storage/manifest.h"

struct store;

#define STORE_LOGS_MAX 64

struct store_log {
    uint64_t id;
}; /* a log file that recovery needs, oldest first */

/* What the superblock carries besides the manifest. */
struct store_head {
    uint8_t uuid[16];
    uint32_t format_version;
    uint32_t flags; /* STORE_CLEAN */
    uint32_t log_count;
    struct store_log logs[STORE_LOGS_MAX];
    uint64_t replay_lsn; /* records up to this LSN are in segments */
    uint64_t generation; /* of the superblock that was read or last written */
};
enum { STORE_CLEAN = 1u << 0 };

struct store_opts {
    bool read_only;
    bool create;        /* create when missing */
    bool exclusive;     /* refuse an existing database */
    uint64_t units_max; /* 0: no limit */
};

/* Opens or creates and locks the file (exclusive, or shared when read_only). A file that is not an elmo database, of a newer format
 * version or with unknown feature flags is refused with an error that says so. A locked file: ST_BUSY with who holds it when known.
 * A leftover of a creation that never reached its first superblock is created anew when `create` is set.
 * *out_manifest is the committed one (the caller releases it). */
status store_open(struct env *env, const char *path, const struct store_opts *opts, struct store **out,
                  struct manifest *out_manifest, struct err *err);
/* Releases the lock. Writes nothing: commit with STORE_CLEAN before (that commit also cuts the free end off the file). */
void store_close(struct store *s);
/* Tells whoever finds the file locked where this process can be reached; empty: nowhere any more. Nothing for readers, who write nothing. One thread at a time. */
status store_announce(struct store *s, struct slice where, struct err *err);

/* Changes with each commit: read it only where no commit can run meanwhile. */
const struct store_head *store_head(const struct store *s);
const char *store_path(const struct store *s); /* the real path */

/* Reserves `len` bytes (rounded up to units) as at most `extents_max` extents, low addresses first (keeps the file short).
 * Nothing is durable; a crash forgets it. ST_NO_SPACE when the file cannot grow. */
status store_alloc(struct store *s, uint64_t len, uint32_t extents_max, struct extent *out, uint32_t *out_count,
                   struct err *err);
/* The same with all of it below `limit`, in holes; the file does not grow. ST_NOT_FOUND when there is no such room. */
status store_alloc_below(struct store *s, uint64_t len, uint32_t extents_max, uint64_t limit, struct extent *out,
                         uint32_t *out_count, struct err *err);
/* Gives back what was allocated and never committed: free at once. */
void store_forfeit(struct store *s, const struct extent *extents, uint32_t count);

status store_write(struct store *s, uint64_t at, const void *p, size_t len, struct err *err);
status store_read(struct store *s, uint64_t at, void *p, size_t len, struct err *err);
/* Makes what was written durable, without a commit: what the log is about to refer to. A failure sticks. */
status store_sync(struct store *s, struct err *err);
void store_will_need(struct store *s, uint64_t at, uint64_t len);

/* Makes `m`, `head` (logs, replay_lsn, flags) and everything written before durable. `freed` are extents that the old manifest owned and
 * the new one does not: reusable after the commit after this one. (Readers pin segments by reference count in the engine, which passes extents as
 * freed only when no reader uses them any more.) On failure the old state stays the committed one and the store
 * refuses further commits with the same error when a sync failed. The file is shortened when its tail is free. */
status store_commit(struct store *s, const struct manifest *m, const struct store_head *head,
                    const struct extent *freed, size_t freed_count, struct err *err);

/* Cuts all of the free end off the file (a commit leaves some of it for the next writes). What cannot be cut now stays. */
void store_trim(struct store *s);

/* Tells the store at open what else is in use: extents of large values, which the manifest does not name. Before the first alloc. */
status store_claim(struct store *s, struct extent e, struct err *err);

struct store_space {
    uint64_t file_len, used_len, free_len, pending_len;
};
struct store_space store_space(struct store *s);

/* Verifies superblocks, manifest and that no two extents overlap and none lies outside: calls `found` for each fault. */
status store_check(struct store *s, const struct manifest *m, void (*found)(void *ctx, const char *text), void *ctx,
                   struct err *err);

#endif
