/* The inside of a struct db, for the files of this folder.
 *
 * CATALOG WORD  changes * 2^20 + changes under way. Even a glance at it tells a beginning transaction whether the catalog stands still:
 *   W1  A transaction that is about to change the catalog adds 1 before its first such write; when it has ended, 2^20 - 1 is added.
 *   W2  A transaction that saw the same word, without changes under way, before and after it took its snapshot sees exactly the catalog of
 *       that word: whoever changed it in between would have moved the word twice.
 *   W3  The word never repeats. */
#ifndef ELMO_DOC_DB_STATE_H
#define ELMO_DOC_DB_STATE_H

#include "doc/catalog.h"
#include "doc/db.h"
#include "os/thread.h"

#define CATALOG_WORD_ONE ((uint64_t) 1 << 20)
#define CATALOG_WORD_BUSY (CATALOG_WORD_ONE - 1) /* mask: changes under way */

#define CACHE_STRIPES 16
#define CACHE_BUCKETS 1024 /* of CACHE_WAYS descriptions: a bound on memory, not on collections */
#define CACHE_WAYS 4
#define MULTIKEY_BUCKETS 256

/* An index build that runs: its indexes are no leftovers. */
struct active_build {
    uint64_t collection_id, first_index_id, index_end; /* [first, end) */
    struct active_build *next;
};

/* upkeep.c */
struct upkeep {
    struct mutex lock;
    struct cond wake;
    struct due *due;
    struct thread thread;
    struct sessions *sessions; /* NULL: none to look after */
    bool is_closing;
};

struct db {
    struct env *env;
    struct kv *kv;
    const struct mem *mem;
    bool is_read_only;
    _Atomic uint64_t catalog_word;

    struct mutex cache_locks[CACHE_STRIPES]; /* bucket b: lock b % CACHE_STRIPES */
    struct collection *cache[CACHE_BUCKETS][CACHE_WAYS];

    struct mutex lock; /* the two below */
    struct multikey *multikeys[MULTIKEY_BUCKETS];
    struct active_build *builds;

    struct upkeep upkeep;

    uint8_t id_random[5];
    atomic_uint id_counter, timestamp_counter;
};

/* A timestamp as the server fills in for Timestamp(0, 0): seconds and an ordinal that no other call of this second got. */
uint64_t db_new_timestamp(struct db *db);

#endif
