/* The log-structured merge tree behind kv.h, in one file with a log beside it.
 *
 * lsm_kv_open gives a struct kv; kv_close closes it. The functions below that take a struct kv may be given only such a one.
 * Threads: as kv.h says; all functions here may be called from any thread. */
#ifndef ELMO_STORAGE_LSM_H
#define ELMO_STORAGE_LSM_H

#include "os/env.h"
#include "storage/kv.h"
#include "storage/manifest.h"
#include "storage/segment.h"

enum lsm_sync {
    LSM_SYNC_FULL = 0, /* a commit is on disk when it returns */
    LSM_SYNC_NORMAL,   /* survives a crash of the process at once, of the machine after at most LSM_NORMAL_SYNC_MS */
    LSM_SYNC_OFF,      /* survives a crash of the process */
};
#define LSM_NORMAL_SYNC_MS 100

/* Zero takes the default, but for `threads`, which has to be said: LSM_THREADS_DEFAULT or 0 for maintenance in the caller. */
struct lsm_opts {
    enum lsm_sync sync;
    bool read_only;        /* takes a shared lock, replays the log in memory, writes nothing */
    bool create;           /* when missing */
    bool exclusive;        /* refuse an existing database */
    uint32_t threads;      /* 0: maintenance runs in the committing callers; else one thread flushes and one merges */
    size_t cache_bytes;    /* default 64 MiB */
    size_t memtable_bytes; /* default 32 MiB; at most three of them are in memory */
    size_t txn_bytes_max;  /* a transaction's buffer, default 256 MiB */
    enum compression compression;
    bool no_compression;          /* `compression` 0 means the default, LZ4, unless this is set */
    uint32_t leaf_len;            /* default 16 KiB */
    uint32_t filter_bits_per_key; /* default 10 */
    bool no_filter;
    uint64_t segment_len; /* bytes on disk at which a merge starts the next segment, default 16 MiB */
    uint32_t
        level0_count; /* segments in level 0 that start a merge, default 4; writers slow down at twice, stop at four times as many */
    uint64_t level_len;   /* bytes of the smallest level below level 0, default 8 memtables */
    uint32_t level_ratio; /* each further level is so many times larger, default 10 */
    uint64_t
        shrink_free_len;   /* the file is shrunk unasked when so much, and two thirds of it, are free; default 16 MiB */
    uint64_t file_len_max; /* the file grows no further; 0: no limit */
    uint64_t log_file_len; /* zero-filled ahead; default 64 MiB */
    uint64_t log_zero_step; /* default 1 MiB */
};
#define LSM_THREADS_DEFAULT 2

/* Opens the database at `path`, recovering from its log when it was not closed. `env` must outlive it. Errors as store_open and wal_replay give. */
status lsm_kv_open(struct env *env, const char *path, const struct lsm_opts *opts, struct kv **out, struct err *err);

/* Writes everything committed so far into segments. */
status lsm_kv_flush(struct kv *kv, struct err *err);
/* Flushes, then merges everything into the last level, dropping what no snapshot sees, and shrinks the file to what is in use then: what lies behind holes moves
 * into them. While it runs, the file may be twice as long as before. What a snapshot or cursor still reads stays where it is. */
status lsm_kv_compact(struct kv *kv, struct err *err);
/* Runs due maintenance in the caller until there is none (threads: 0, tests). */
status lsm_kv_maintain(struct kv *kv, struct err *err);

struct lsm_kv_stat {
    struct lsm_level_stat {
        uint64_t segments, bytes, data_bytes, large_bytes, entries, tombstones, range_deletes;
    } levels[LEVEL_COUNT];
    uint64_t memtables, memtable_bytes, memtable_entries;
    uint64_t file_len, used_len, free_len, pending_len;
    uint64_t log_len, last_lsn, sequence;
    uint64_t snapshots, oldest_snapshot;
    uint64_t cache_bytes, cache_bytes_max, cache_hits, cache_misses;
    uint64_t flushes, merges, merged_bytes, moves, shifted_bytes, drops, stalls, syncs, commits;
};
void lsm_kv_stat(struct kv *kv, struct lsm_kv_stat *out);
/* As store_announce. */
status lsm_kv_announce(struct kv *kv, struct slice where, struct err *err);

/* Verifies superblocks, manifest, space, every block of every segment, the order and disjointness of levels, large values. Calls `found` for each fault with a
 * text that names the place. ST_OK also when faults were found; a failure only when the check could not be made. Reads beside writers; the database stays open. */
status lsm_kv_check(struct kv *kv, void (*found)(void *ctx, const char *text), void *ctx, struct err *err);

#endif
