/* Intents: which open transaction has a pending write to which key, so that a second one is refused at once (kv.h K2).
 *
 * A sharded hash table from key bytes to owners, and a list of ranges (delete_range). Compatible: adds with adds; everything of one owner
 * with itself. put_blind takes no intent.
 *
 * How a write uses it: acquire the intent; then look for a version newer than the snapshot (another may have committed and released just before);
 * then write. At commit: publish the sequence; then release. In this order a writer either meets the intent or sees the
 * commit.
 *
 * Rolled back writes keep their intents to the end of the transaction: correct, and only ever refuses more than it must.
 *
 * INVARIANTS
 *   I1  A key has either one owner that writes, or any number of owners that add.
 *   I2  A point intent is entered before it looks at the ranges, a range before it looks at the points (both sequentially
 *       consistent): of two that meet, at least one sees the other. Both may be refused.
 *   I3  Intents live in their owner's arena; they are unlinked from the table before that is released.
 *
 * Threads: any number; an owner belongs to one thread at a time.
 */
#ifndef ELMO_STORAGE_INTENTS_H
#define ELMO_STORAGE_INTENTS_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/slice.h"

struct intents;
struct intent;
struct intent_range;

enum intent_kind { INTENT_WRITE, INTENT_ADD };

/* Stands in a transaction; zeroed by intent_owner_init. The fields are private to intents.c. */
struct intent_owner {
    struct arena arena;
    struct intent *intents;
    struct intent_range *ranges;
    uint64_t intent_count, range_count;
};

status intents_new(const struct mem *mem, struct intents **out, struct err *err);
void intents_free(struct intents *t); /* t may be NULL; every owner must have released */

/* Takes no memory. */
void intent_owner_init(struct intent_owner *o, const struct mem *mem);

/* ST_OK, also when it was already the owner's (a write intent includes add; an add is raised to write when nobody else adds); ST_CONFLICT when another
 * owner is in the way, and nothing changed; ST_NOMEM. O(1). */
status intents_acquire(struct intents *t, struct intent_owner *o, struct slice key, enum intent_kind kind,
                       struct err *err);
/* For delete_range over [lo, hi). Time: every point intent of all others, when there are any. */
status intents_acquire_range(struct intents *t, struct intent_owner *o, struct slice lo, struct slice hi,
                             struct err *err);
/* Releases everything and frees the owner's memory; the owner may be used again. */
void intents_release_all(struct intents *t, struct intent_owner *o);

/* Bytes of memory held for this owner's intents, to be counted with its buffer. */
size_t intent_owner_used(const struct intent_owner *o);
/* Point intents of all owners. */
uint64_t intents_count(const struct intents *t);

#endif
