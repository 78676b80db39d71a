/* What the files of the LSM share: the database handle, versions, and who may touch what.
 *
 *   commit.c   the queue of commits: one leader at a time logs, syncs, applies and publishes for all that wait
 *   version.c  the immutable list of sources that readers see, how it is replaced and when it is let go
 *   lookup.c   point reads and conflict checks over a version
 *   txn.c      transactions: buffer, intents, locks; the functions of kv.h
 *   cursor.c   the merge cursor of a transaction
 *   merge.c    k sources as one, both ways; a level as one source
 *   fold.c     which versions of a key a rewrite keeps
 *   tree.c     tree commits: manifest edits made durable and visible; space given back
 *   flush.c    memtable to segment; compact.c: merges; shrink.c: moves within the file; maintain.c: threads and back-pressure
 *   recover.c  open and close; sequence.c: id sequences; bulk.c: bulk loads; stat.c; check.c
 *
 * LOCKS, in the order in which they are taken
 *   flush_mutex    one flush at a time
 *   merge_mutex    one merge or move at a time
 *   tree_mutex     manifest, store_commit, list of logs
 *   leadership     commit.c: the right to append to the log, write the active memtable, replace it. Waited for like a lock.
 *   version_mutex  replacing `current`, the retired versions. Short: no I/O, but for the allocation of a version
 *   sequence_mutex, free_mutex, log_mutex, state_mutex: leaves
 *
 * INVARIANTS
 *   E1  Sequences are published in the order in which records were logged; a record whose sync failed is neither applied nor published.
 *   E2  replay_lsn is the LSN of the last record in the youngest flushed memtable; memtables are flushed oldest first.
 *   E3  A run leaves the manifest first, then the versions; its extents are given back after the last version with it is gone.
 *   E4  A large value's extents leave with the entry that a merge drops, and are given back as E6 has it: a snapshot keeps the entries that it sees, but a
 *       check reads those that nobody sees, too.
 *   E6  What was moved within the file leaves its old place when all versions older than the move are gone (struct left). A segment that was moved in part
 *       shares the rest with its heir, which it keeps.
 *   E5  Levels 1 and below hold disjoint runs, by their bounds with range deletes.
 */
#ifndef ELMO_STORAGE_ENGINE_H
#define ELMO_STORAGE_ENGINE_H

#include <stdatomic.h>

#include "base/buf.h"
#include "os/thread.h"
#include "storage/intents.h"
#include "storage/locks.h"
#include "storage/lsm.h"
#include "storage/memtable.h"
#include "storage/merge.h"
#include "storage/snapshots.h"
#include "storage/wal.h"
#include "storage/write_buffer.h"

#define READER_SLOTS 64 /* bits of the mask in struct version */
#define TABLES_MAX 3    /* the active memtable and those that wait for their flush */

struct lsm;

/* A segment as the versions hold it. */
struct run {
    struct lsm *l;
    struct segment *seg;
    const struct segment_meta *meta; /* of seg; `level` here below counts, not meta's */
    uint32_t level;                  /* tree_mutex */
    _Atomic uint32_t refs;
    bool is_input;   /* merge_mutex: of the running merge */
    bool is_dropped; /* no longer in the manifest: give its extents back at the end */
    struct run *next_free;
    struct run
        *heir; /* merge_mutex, until it is dropped: the same segment moved; a reference (E6). It has the extents then */
};

/* Places that a move or a dropped large value left, for those who read older versions (E4, E6). */
struct left {
    struct left *next;
    uint64_t until; /* free when no version has a lesser number */
    size_t count;
    struct extent extents[];
};

struct table {
    struct memtable *m;
    uint64_t last_lsn; /* of an immutable one: the last record in it */
};

struct version {
    struct lsm *l;
    _Atomic uint32_t refs;
    size_t table_count, run_count;
    struct table tables[TABLES_MAX + 2]; /* newest first; [0] is the active one */
    size_t level_at[LEVEL_COUNT + 1];    /* runs of level i: [level_at[i], level_at[i + 1]) */
    uint64_t max_seq[LEVEL_COUNT + 1];   /* the greatest sequence in levels >= i */
    struct fragments *run_cover;         /* range deletes of the runs, NULL when none */
    struct fragments *cover;             /* and of the immutable tables */
    struct version *next_retired;
    uint64_t number;               /* ascending with the versions */
    struct version *older, *newer; /* free_mutex: all that there are */
    uint64_t waiting_for;          /* retired: reader slots not yet seen empty */
    struct run *runs[];            /* level 0 by max_seq descending, others by min_key */
};

struct reader_slot {
    _Atomic uint32_t readers;
    char pad[60];
};

/* One that waits in the commit queue: a commit, or (record NULL) somebody who wants the leadership. */
struct commit_wait {
    struct slice record;
    uint8_t *seq_at;             /* in the record, to be filled */
    uint64_t entry_count, bytes; /* for memtable_reserve */
    bool wants_sync, is_done;
    bool has_ranges; /* range deletes: not in a group */
    status st;
    struct err *err;
    uint64_t seq, lsn;
    struct commit_wait *next;
};

/* A log file that the superblock names. */
struct listed_log {
    uint64_t id, last_lsn; /* last_lsn: UINT64_MAX for the current one, and for the prepared one after it */
};

struct sequence; /* sequence.c */

struct lsm {
    struct kv base;
    struct env *env;
    const struct mem *mem;
    struct lsm_opts opts;
    struct segment_opts segment_opts;
    struct store *store;
    struct cache *cache;
    struct wal *wal; /* NULL when read-only */
    struct intents *intents;
    struct locks *locks;
    struct snapshots *snapshots;

    struct reader_slot *slots;
    _Atomic uint32_t next_slot;
    _Atomic(struct version *) current;
    struct mutex version_mutex;
    struct version *retired;

    struct mutex commit_mutex;
    struct cond commit_cond;
    struct commit_wait *queue_head, *queue_tail;
    bool is_led;
    struct memtable *active;       /* leader */
    uint64_t last_seq;             /* leader: given last */
    uint64_t active_lsn;           /* leader: of the last record applied to the active memtable */
    _Atomic uint64_t unsynced_lsn; /* the last record appended and not known synced (mode normal) */
    uint64_t last_sync_ns;         /* leader; threads 0 in mode normal */

    struct mutex flush_mutex, merge_mutex, tree_mutex;
    struct manifest manifest; /* tree_mutex: the committed one */
    struct store_head head;   /* tree_mutex */
    struct mutex log_mutex;
    struct listed_log logs[STORE_LOGS_MAX]; /* log_mutex; oldest first */
    size_t log_count;
    bool has_prepared_log; /* log_mutex: the last of them is listed in a durable superblock and takes no records yet */
    _Atomic uint64_t next_segment_id;
    struct {
        bool is_on;
        struct slice lo, hi;
        bool hi_is_open;
    } merging; /* tree_mutex: the hull of the running merge or move, borrowed keys */

    struct mutex free_mutex;
    struct run *free_runs; /* dropped, seen by nobody any more */
    struct left *lefts;
    struct version *oldest, *newest; /* all versions that are not freed */
    uint64_t version_number;         /* given last */

    struct mutex sequence_mutex;
    struct sequence *sequences;
    size_t sequence_count, sequence_cap;

    struct mutex state_mutex;
    struct cond work_cond, room_cond;
    _Atomic bool is_stopping, has_work;         /* has_work: for threads 0 */
    _Atomic uint32_t table_count, level0_count; /* of the current version */
    _Atomic bool active_is_full;                /* the active memtable wants a fresh one in its place */
    bool has_flush_work, has_merge_work;
    struct err background_err; /* the last failure of a flush or merge; st ST_OK: none */
    struct err broken_err;     /* K8: why writes are refused */
    _Atomic bool is_broken, has_background_err;
    struct thread flusher, merger, syncer;

    _Atomic uint64_t flush_count, merge_count, merged_len, move_count, shifted_len, drop_count, stall_count,
        commit_count, sync_count;
};

static inline struct lsm *lsm_of(struct kv *kv) { return (struct lsm *) kv; }

/* --- version.c --- */
status run_new(struct lsm *l, const struct segment_meta *meta, struct run **out, struct err *err); /* one reference */
struct run *run_ref(struct run *r);
void run_unref(struct run *r);

/* Enters and leaves the place where the current version may be read without holding it. No blocking on commits or maintenance inside. */
static inline struct version *version_enter(struct lsm *l, uint32_t slot) {
    (void) atomic_fetch_add(&l->slots[slot].readers, 1);
    return atomic_load(&l->current);
}
static inline void version_leave(struct lsm *l, uint32_t slot) {
    (void) atomic_fetch_sub_explicit(&l->slots[slot].readers, 1, memory_order_release);
}
struct version *version_pin(struct lsm *l); /* the current one, with a reference */
void version_unpin(struct version *v);

struct version_edit {
    struct memtable
        *new_active; /* becomes tables[0]; the old one's last record is last_lsn. A reference goes over on success. */
    uint64_t last_lsn;
    struct memtable *flushed; /* leaves the tables */
    struct run **added;       /* references go over on success */
    size_t added_count;
    struct run **dropped; /* leave; marked as dropped */
    size_t dropped_count;
    struct run *moved; /* changes its level */
    uint32_t from_level, to_level;
};
/* Prepared before the tree commit so that installing cannot fail: version_install swaps, version_discard forgets. */
status version_prepare(struct lsm *l, const struct version_edit *edit, struct version **out,
                       struct err *err); /* takes version_mutex, holds it on success */
bool version_is_free(struct lsm *l);     /* a hint: version_prepare would not wait for a tree commit */
void version_install(struct lsm *l, const struct version_edit *edit, struct version *v); /* releases it */
void version_discard(struct lsm *l, const struct version_edit *edit, struct version *v); /* releases it */
status version_first(struct lsm *l, struct memtable *active, struct run **runs, size_t n,
                     struct err *err); /* at open */
void version_reclaim(struct lsm *l);   /* lets go of retired versions nobody reads */
/* Runs of level >= 1 that overlap [lo, hi] lie in [*from, *to). hi_is_open: hi excluded; hi.len 0 and hi_is_open: to the end. */
void version_overlap(const struct version *v, uint32_t level, struct slice lo, struct slice hi, bool hi_is_open,
                     size_t *from, size_t *to);
bool run_overlaps(const struct run *r, struct slice lo, struct slice hi, bool hi_is_open);
/* May the run hold versions of key, by its bounds? */
static inline bool run_spans(const struct run *r, struct slice key) {
    if (slice_compare(key, r->meta->min_key) < 0) return false;
    int c = slice_compare(key, r->meta->max_key);
    return c < 0 || (c == 0 && !r->meta->max_is_exclusive);
}
struct run *version_run_of(const struct version *v, uint32_t level,
                           struct slice key); /* level >= 1: the one that spans key, or NULL */

/* --- lookup.c --- */
/* The newest version of a key, and what keeps its bytes in place. */
struct found {
    struct entry e;
    struct cached_block *block; /* pinned, or NULL */
    struct memtable *table;     /* holds e's bytes, no reference taken; or NULL */
};
/* The newest version of key with sequence <= snapshot that no range delete <= snapshot hides. ST_NOT_FOUND: none, or deleted (kind ENTRY_DELETE is not given). */
status lookup(struct lsm *l, struct version *v, struct slice key, uint64_t snapshot, struct found *out,
              struct err *err);
/* The greatest sequence <= snapshot of a range delete over key, 0 when none. */
uint64_t lookup_cover(struct version *v, struct slice key, uint64_t snapshot);
/* n <= LOOKUP_GROUP lookups: answers[i] is lookup's. On failure nothing is found. */
#define LOOKUP_GROUP 32
status lookup_many(struct lsm *l, struct version *v, size_t n, const struct slice *keys, uint64_t snapshot,
                   struct found *out, status *answers, struct err *err);
void found_release(struct lsm *l, struct found *f);
/* Sums an ADD's chain: f is an ENTRY_ADD. Releases f. */
status lookup_sum(struct lsm *l, struct version *v, struct slice key, struct found *f, int64_t *sum, struct err *err);
/* ST_CONFLICT when a commit after `snapshot` touched key; is_add: adds do not count. */
status lookup_newer(struct lsm *l, struct version *v, struct slice key, uint64_t snapshot, bool is_add,
                    struct err *err);
status lookup_newer_in(struct lsm *l, struct version *v, struct slice lo, struct slice hi, uint64_t snapshot,
                       struct err *err);

/* --- commit.c --- */
status commit_wait(struct lsm *l, struct commit_wait *w, struct err *err);
/* The leadership: nobody appends to the log or writes the memtable until it is given back. */
void commit_lead(struct lsm *l, struct commit_wait *w);
void commit_yield(struct lsm *l, struct commit_wait *w);
/* Leader: a new active memtable, the old one waits for its flush. Nothing when it is empty. */
status commit_switch(struct lsm *l, struct err *err);
/* K8. */
void lsm_break(struct lsm *l, const struct err *err);
status lsm_refuse(struct lsm *l, struct err *err); /* ST_OK unless broken or read-only */

/* --- tree.c --- */
struct tree_edit {
    struct version_edit version;
    const struct extent *left; /* places that were moved away from, large values dropped */
    size_t left_count;
    bool is_flush; /* replay_lsn and last_seq rise to these */
    uint64_t replay_lsn, last_seq;
};
/* tree_mutex held. Makes the edit durable and visible, or changes nothing. The references of version.added go over on success. */
status tree_commit(struct lsm *l, const struct tree_edit *edit, struct err *err);
/* tree_mutex held. Commits the present manifest; `flags` as store_head. `is_exact`: sequences without the numbers reserved ahead. */
status tree_commit_head(struct lsm *l, uint32_t flags, bool is_exact, struct err *err);
bool tree_meets_merge(const struct lsm *l, struct slice lo, struct slice hi,
                      bool hi_is_open); /* tree_mutex held: the hull of the running merge */
/* Bytes that the next tree commits give back: of dropped runs and left places that nobody needs any more. */
uint64_t tree_freed_len(struct lsm *l);

/* --- flush.c --- */
status flush_oldest(struct lsm *l, bool *did, struct err *err); /* takes flush_mutex */
status flush_everything(struct lsm *l, struct err *err);

/* --- compact.c --- */
status compact_one(struct lsm *l, bool *did, struct err *err); /* takes merge_mutex; one due merge, move or drop */
status compact_all(struct lsm *l, struct err *err);

/* --- shrink.c; merge_mutex held --- */
/* Moves what lies at the end of the file into holes and cuts the end off, until nothing is gained. */
status shrink_all(struct lsm *l, struct err *err);
/* A step of the same, when so much is free that it pays without being asked for. */
status shrink_when_due(struct lsm *l, bool *did, struct err *err);

/* --- maintain.c --- */
status maintain_start(struct lsm *l, struct err *err);
void maintain_stop(struct lsm *l);
void maintain_wake(struct lsm *l); /* there may be work */
status maintain_make_room(struct lsm *l,
                          struct err *err); /* before a commit: slows down, waits or works until there is room */
status maintain_here(struct lsm *l, struct err *err); /* until nothing is due */

/* --- sequence.c --- */
status sequence_next(struct kv *kv, struct slice key, uint64_t n, uint64_t *first, struct err *err);
status sequence_encode(struct lsm *l, bool exact, struct buf *out, struct err *err);
status sequence_decode(struct lsm *l, struct slice bytes, struct err *err);
status sequence_replay(struct lsm *l, struct slice record, struct err *err);
void sequence_release(struct lsm *l);

/* --- the functions of kv.h, txn.c gathers them --- */
extern const struct kv_ops lsm_kv_ops;
void lsm_kv_close(struct kv *kv);

struct lsm_txn {
    struct kv_txn base;
    struct lsm *l;
    bool read_only;
    uint32_t slot, statement;
    struct snapshot snapshot;
    struct write_buffer *buffer; /* NULL before the first write */
    struct intent_owner intents;
    struct lock_owner locks;
    struct lent *free_lents;
    size_t cursor_count;
};

status cursor_new(struct kv_txn *txn, const struct kv_bounds *bounds, struct kv_cursor **out, struct err *err);
status bulk_new(struct kv_txn *txn, struct kv_bulk **out, struct err *err);

/* kv_cursor functions (cursor.c) and kv_bulk functions (bulk.c). */
status cursor_seek_ge(struct kv_cursor *c, struct slice key, struct err *err);
status cursor_seek_le(struct kv_cursor *c, struct slice key, struct err *err);
status cursor_first(struct kv_cursor *c, struct err *err);
status cursor_last(struct kv_cursor *c, struct err *err);
status cursor_next(struct kv_cursor *c, struct err *err);
status cursor_prev(struct kv_cursor *c, struct err *err);
status cursor_count(struct kv_cursor *c, uint64_t max, uint64_t *n, struct err *err);
struct slice cursor_key(struct kv_cursor *c);
status cursor_value(struct kv_cursor *c, struct slice *out, struct err *err);
void cursor_rest(struct kv_cursor *c);
void cursor_close(struct kv_cursor *c);
status bulk_put(struct kv_bulk *b, struct slice key, struct slice value, struct err *err);
status bulk_commit(struct kv_bulk *b, struct err *err);
void bulk_abort(struct kv_bulk *b);

#endif
