/* Free space: disjoint runs of bytes, ordered by address, none touching another (neighbours are joined).
 *
 * A treap over an array of nodes: expected O(log n) for taking and giving. Each node knows the longest run below it, so that the
 * run with the lowest address that is long enough is found without a scan. One thread at a time (the store locks). */
#ifndef ELMO_STORAGE_SPACE_H
#define ELMO_STORAGE_SPACE_H

#include "base/chance.h"
#include "base/err.h"
#include "base/mem.h"
#include "storage/manifest.h"

struct space_node;

struct space {
    const struct mem *mem;
    struct space_node *nodes; /* [0] stands for "none" */
    size_t node_count, node_cap;
    uint32_t root, unused; /* unused: nodes to use again, chained */
    uint64_t free_len;
    struct chance chance;
};

void space_init(struct space *sp, const struct mem *mem);
void space_release(struct space *sp);

/* Makes e free. No part of it may be free already (S1, asserted). ST_NOMEM: nothing changed. */
status space_give(struct space *sp, struct extent e, struct err *err);
/* Makes sure that the next `count` calls of space_give need no memory. */
status space_reserve(struct space *sp, size_t count, struct err *err);
/* Takes `len` bytes from the run with the lowest address that has as many. False when there is none. Never needs memory. */
bool space_take(struct space *sp, uint64_t len, struct extent *out);
/* Takes up to `max` bytes, at least `min`, from the run with the lowest address that has `min`. */
bool space_take_some(struct space *sp, uint64_t min, uint64_t max, struct extent *out);
/* The same with all of it below `limit`. */
bool space_take_below(struct space *sp, uint64_t min, uint64_t max, uint64_t limit, struct extent *out);
/* The part of e that is free, of several the one with the highest address; len 0: none of it is free. */
struct extent space_part(const struct space *sp, struct extent e);
/* Takes exactly e. False when any part of it is not free. ST_NOMEM may be met when it is cut out of the middle of a run. */
status space_claim(struct space *sp, struct extent e, bool *out_was_free, struct err *err);
/* True when any part of e is free. */
bool space_overlaps(const struct space *sp, struct extent e);
/* The run with the highest address; len 0 when nothing is free. */
struct extent space_last(const struct space *sp);
uint64_t space_longest(const struct space *sp);
/* Calls `visit` for each run, ascending. */
void space_each(const struct space *sp, void (*visit)(void *ctx, struct extent e), void *ctx);

#endif
