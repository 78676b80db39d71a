/* The published sequence and the registry of live snapshots: which old versions may still be read.
 *
 * A snapshot is a sequence number in a slot. Taking one is a compare-and-swap in a slot that is likely free and in no other
 * thread's cache line, and a load; giving it back is a store. Slots come in blocks; blocks are added when all are taken and kept.
 *
 * INVARIANT
 *   N1  No snapshot in use is below a value that snapshots_oldest returned before.
 *       Why: acquire (a) loads published = s, (b) stores s in a slot, (c) loads published again and starts over unless it is still s.
 *       oldest (x) loads published = p, (y) reads all slots, returns the least of p and the slots. All are sequentially consistent. If (y)
 *       missed the slot, then (y), and so (x), came before (b), and so before (c); published never falls, hence p <= s. If (y) saw it, the result is
 *       <= s. A block of slots is linked before it is used, so a reader of the slots that misses the block came before (b) as well.
 *
 * Threads: any number, all functions.
 */
#ifndef ELMO_STORAGE_SNAPSHOTS_H
#define ELMO_STORAGE_SNAPSHOTS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"

struct snapshots;

struct snapshot {
    uint64_t seq;
    _Atomic uint64_t *slot; /* NULL: not held */
};
#define SNAPSHOT_INIT ((struct snapshot){0})

status snapshots_new(const struct mem *mem, uint64_t published, struct snapshots **out, struct err *err);
void snapshots_free(struct snapshots *s); /* s may be NULL; every snapshot must have been released */

/* Makes everything up to seq visible to later snapshots. Never falls; callers serialise themselves. */
void snapshots_publish(struct snapshots *s, uint64_t seq);
uint64_t snapshots_published(const struct snapshots *s);

/* Holds the state published now. ST_NOMEM only when more snapshots than ever before are live. */
status snapshots_acquire(struct snapshots *s, struct snapshot *out, struct err *err);
void snapshots_release(struct snapshots *s, struct snapshot *snapshot); /* nothing when not held */

/* The least sequence that a live or future snapshot can have. May be less than an earlier answer: a slot may hold a value that its taker is about
 * to replace by a newer one. That is safe, only later than need be. */
uint64_t snapshots_oldest(const struct snapshots *s);
/* The distinct sequences that live snapshots have, ascending, and at the end the sequence published when it was called (once): snapshots taken later are not
 * below that. So a merge keeps, per key, the newest version <= each of them and all versions above the last. *out has *count >= 1 elements and is the
 * caller's: mem_free(mem, *out, *count * sizeof(uint64_t)). */
status snapshots_list(const struct snapshots *s, const struct mem *mem, uint64_t **out, size_t *count, struct err *err);
/* How many are live, about. */
size_t snapshots_count(const struct snapshots *s);

#endif
