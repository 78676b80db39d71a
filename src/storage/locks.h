/* Locks in memory: shared or exclusive, on names that are bytes, held by an owner until it releases them all at once.
 *
 * For catalog entries: every write to a collection holds its entry shared to the end of the transaction, DDL holds it exclusive.
 * The fast path, a shared lock on a name that others hold shared, is one hash, one uncontended mutex and no allocation.
 *
 * RULES
 *   L1  Shared with shared; exclusive with none. An owner's second request for what it holds (or less) is granted at once.
 *   L2  A new owner's shared request waits while an exclusive one is waiting, so that a stream of readers does not starve DDL.
 *   L3  Shared becomes exclusive in place once the owner is the only holder. Of two that both hold shared and want that, the second is refused
 *       at once: waiting could never end.
 *   L4  Deadlocks end by the timeout. A request that times out leaves what the owner held before untouched.
 *
 * Threads: any number; an owner belongs to one thread at a time.
 */
#ifndef ELMO_STORAGE_LOCKS_H
#define ELMO_STORAGE_LOCKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/slice.h"

struct env;
struct locks;
struct lock;

/* One lock held by one owner. Private to locks.c. */
struct lock_hold {
    struct lock *lock;
    struct lock_hold *next; /* of the owner */
    bool is_exclusive;
    bool is_inline; /* stands in the owner itself */
};

#define LOCK_HOLDS_INLINE 4

/* Stands in a transaction and must not move while it holds locks; lock_owner_init zeroes it. The fields are private to locks.c. */
struct lock_owner {
    struct lock_hold *holds;
    struct lock_hold inline_holds[LOCK_HOLDS_INLINE];
    uint32_t inline_count;
};

/* `env` gives the monotonic clock; it must outlive the locks. */
status locks_new(const struct mem *mem, struct env *env, struct locks **out, struct err *err);
void locks_free(struct locks *t); /* t may be NULL; nothing may be held */

static inline void lock_owner_init(struct lock_owner *o) { *o = (struct lock_owner){0}; }

/* ST_OK; ST_BUSY when it was not granted within timeout_ms (0: does not wait); ST_NOMEM. */
status locks_acquire(struct locks *t, struct lock_owner *o, struct slice name, bool is_exclusive, uint64_t timeout_ms,
                     struct err *err);
/* Whether o holds name, exclusive when so asked. */
bool locks_held(struct locks *t, const struct lock_owner *o, struct slice name, bool is_exclusive);
void locks_release_all(struct locks *t, struct lock_owner *o);

#endif
