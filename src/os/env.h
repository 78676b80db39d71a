/* The env seam: every file, clock and random byte that the library uses comes through here.
 *
 * Three implementations: env_posix (real), env_memory (`:memory:` databases), env_sim (tests: written bytes kept apart from
 * synced bytes, power cuts, torn and reordered unsynced writes, EIO, ENOSPC, short reads, n-th call fails; all from one seed).
 * Threads, mutexes and condition variables are POSIX threads in every env; see os/thread.h.
 *
 * CONTRACT
 *   E1  read_at returns the whole range or fails; a range past the end of the file is ST_CORRUPT ("short read"), not a partial answer.
 *   E2  write_at writes all or fails; on failure any part may have been written. Bytes are not durable before sync returns ST_OK.
 *   E3  sync makes the bytes and the length of this file durable. After a failed sync nothing may be assumed about unsynced bytes.
 *   E4  A created or removed name is durable only after sync_dir of its directory.
 *   E5  Errors carry the path and the operating system's text. ENOSPC, EDQUOT and EFBIG are ST_NO_SPACE.
 *   E6  Files may be read by several threads at once, also beside one writer of other ranges.
 *   E7  Interrupted calls are restarted inside.
 *   E8  A file may be closed after its env is gone only in env_posix; the others want their files closed first.
 */
#ifndef ELMO_OS_ENV_H
#define ELMO_OS_ENV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"

enum file_flag {
    FILE_CREATE = 1u << 0,    /* create when missing */
    FILE_EXCLUSIVE = 1u << 1, /* with FILE_CREATE: refuse an existing file (ST_DUPLICATE) */
    FILE_READ_ONLY = 1u << 2,
    FILE_TRUNCATE = 1u << 3,
};

enum file_lock { FILE_LOCK_SHARED, FILE_LOCK_EXCLUSIVE };

/* One open file. Implementations embed it first. */
struct file {
    const struct file_ops *ops;
};

struct file_ops {
    status (*read_at)(struct file *f, uint64_t at, void *p, size_t len, struct err *err);
    status (*write_at)(struct file *f, uint64_t at, const void *p, size_t len, struct err *err);
    status (*sync)(struct file *f, struct err *err);
    status (*truncate)(struct file *f, uint64_t len, struct err *err);
    status (*size)(struct file *f, uint64_t *len, struct err *err);
    /* Reserves blocks for [at, at + len) and extends the length; a hint: a file system that cannot is ST_OK. ST_NO_SPACE is real. */
    status (*preallocate)(struct file *f, uint64_t at, uint64_t len, struct err *err);
    /* Locks the whole file for this open (open-file-description lock): another open, in this process too, is ST_BUSY. Not waiting. */
    status (*lock)(struct file *f, enum file_lock kind, struct err *err);
    /* Tells that [at, at+len) will be read soon. A hint. */
    void (*will_need)(struct file *f, uint64_t at, uint64_t len);
    void (*close)(struct file *f); /* releases the lock; never fails as nothing unsynced is promised */
};

struct env {
    const struct env_ops *ops;
    const struct mem *mem;
};

struct env_ops {
    /* ST_NOT_FOUND (no err) when missing and FILE_CREATE is not given. */
    status (*open)(struct env *env, const char *path, unsigned flags, struct file **out, struct err *err);
    status (*unlink)(struct env *env, const char *path, struct err *err); /* ST_NOT_FOUND when missing */
    status (*rename)(struct env *env, const char *from, const char *to, struct err *err); /* replaces `to` */
    status (*sync_dir)(struct env *env, const char *path, struct err *err); /* of the directory that holds `path` */
    /* The absolute path with links resolved; the last component need not exist. NUL-terminated, mem_free'd with strlen + 1. */
    status (*real_path)(struct env *env, const char *path, char **out, struct err *err);
    /* Calls `visit` for every name in the directory that holds `path`; stops when it answers other than ST_OK. */
    status (*list_dir)(struct env *env, const char *path, status (*visit)(void *ctx, const char *name), void *ctx,
                       struct err *err);
    uint64_t (*now_ms)(struct env *env); /* wall clock, since 1970 UTC */
    uint64_t (*monotonic_ns)(struct env *env);
    void (*random)(struct env *env, void *p, size_t len); /* fit for ids and salts */
    /* Fit for keys and nonces: the kernel's generator or ST_IO, never anything weaker. (The simulated machine's follow from its seed.) */
    status (*secret)(struct env *env, void *p, size_t len, struct err *err);
    /* Who runs here, for people: "pid 123 on host", NUL-terminated, cut to text_len. */
    void (*process_name)(struct env *env, char *text, size_t text_len);
    void (*free)(struct env *env);
};

/* The real thing. Shared and immutable but for its memory hook. */
status env_posix_new(const struct mem *mem, struct env **out, struct err *err);
/* Files in memory, gone with the env. Thread-safe. */
status env_memory_new(const struct mem *mem, struct env **out, struct err *err);

static inline status env_open(struct env *e, const char *path, unsigned flags, struct file **out, struct err *err) {
    return e->ops->open(e, path, flags, out, err);
}
static inline void env_free(struct env *e) {
    if (e != NULL) e->ops->free(e);
}
static inline status file_read(struct file *f, uint64_t at, void *p, size_t len, struct err *err) {
    return f->ops->read_at(f, at, p, len, err);
}
static inline status file_write(struct file *f, uint64_t at, const void *p, size_t len, struct err *err) {
    return f->ops->write_at(f, at, p, len, err);
}
static inline status file_sync(struct file *f, struct err *err) { return f->ops->sync(f, err); }
static inline void file_close(struct file *f) {
    if (f != NULL) f->ops->close(f);
}

#endif
