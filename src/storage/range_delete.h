/* Range deletes: "every key in [lo, hi) older than seq is gone".
 *
 * Indexed as disjoint fragments: sorted by lo, not overlapping, each with the descending list of the sequences that cover it,
 * so that "which is the newest range delete over this key that I may see" is one binary search.
 * Immutable once built; shared by reference count. Built from any overlapping set. */
#ifndef ELMO_STORAGE_RANGE_DELETE_H
#define ELMO_STORAGE_RANGE_DELETE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/slice.h"

struct range_delete {
    struct slice lo, hi; /* [lo, hi), lo < hi */
    uint64_t seq;
};

struct fragment {
    struct slice lo, hi;
    const uint64_t *seqs; /* descending, distinct */
    uint32_t seq_count;
};

struct fragments; /* reference-counted */

/* From any set of ranges; copies what it keeps. n may be 0. */
status fragments_new(const struct mem *mem, const struct range_delete *ranges, size_t n, struct fragments **out,
                     struct err *err);
struct fragments *fragments_ref(struct fragments *f);
void fragments_unref(struct fragments *f);
size_t fragments_count(const struct fragments *f);
const struct fragment *fragments_at(const struct fragments *f, size_t idx);
size_t fragments_seq_count(const struct fragments *f); /* of all fragments together; f may be NULL */
size_t fragments_used(const struct fragments *f); /* bytes of memory held; f may be NULL */

/* The greatest sequence <= snapshot of a range delete that covers key, 0 when none. f may be NULL. */
uint64_t fragments_cover(const struct fragments *f, struct slice key, uint64_t snapshot);
/* The same, and the end of the fragment (or the start of the next one) so that a scan can keep the answer while key < *until (len 0: for ever). */
uint64_t fragments_cover_until(const struct fragments *f, struct slice key, uint64_t snapshot, struct slice *from,
                               struct slice *until);
/* The greatest sequence of any range delete that overlaps [lo, hi); 0 when none. hi.len 0: to the end. */
uint64_t fragments_max_seq(const struct fragments *f, struct slice lo, struct slice hi);

status fragments_encode(const struct fragments *f, struct buf *out, struct err *err);
status fragments_decode(const struct mem *mem, struct slice bytes, struct fragments **out, struct err *err);

#endif
