/* The bounds of one index scan in the bytes of that index: which keys are inside, and where to jump from one that is not.
 *
 *   index {a: 1, b: -1}, a in [3, 3], [5, 9), b >= 7
 *
 *   field 0  ranges over enc(a)                 lo .. hi is the hull of all: the scan never leaves it
 *   field 1  ranges over ~enc(b)                (descending: the ascending interval [x, y) becomes [succ(~y), succ(~x)))
 *
 * Immutable, in an arena. The intervals' own order is the index's: sorted by bytes. */
#ifndef ELMO_QUERY_SCAN_BOUNDS_H
#define ELMO_QUERY_SCAN_BOUNDS_H

#include "base/buf.h"
#include "index/spec.h"
#include "query/bounds.h"

struct byte_range {
    struct slice lo, hi; /* len 0: open */
    bool is_point;
};

struct scan_bounds {
    uint32_t field_count;
    uint32_t checked_count; /* fields from here on are open */
    bool is_empty;          /* some field has no interval */
    bool is_contiguous;     /* every key in [lo, hi) is inside */
    struct slice lo, hi;
    struct {
        struct byte_range *ranges;
        uint32_t count;
        bool descending;
    } fields[INDEX_FIELDS_MAX];
};

status scan_bounds_make(struct arena *arena, const struct index_field *fields, const struct intervals *bounds,
                        uint32_t field_count, struct scan_bounds **out, struct err *err);

enum key_place {
    KEY_INSIDE,
    KEY_BETWEEN, /* seek to *target: in scan direction nothing is inside before it */
    KEY_PAST,    /* nothing more in scan direction */
    KEY_DAMAGED,
};
/* `target` is overwritten (check target->failed). For backward scans the target is exclusive: the last key below it. */
enum key_place scan_bounds_place(const struct scan_bounds *b, struct slice key, bool backward, struct buf *target);

/* The contiguous ranges that the leading points and the first field after them give, up to `max` of them: for estimates. *total: how many there are. */
status scan_bounds_ranges(const struct scan_bounds *b, uint32_t max, struct arena *arena, struct byte_range *out,
                          uint32_t *count, double *total, struct err *err);

/* Can a document have more than one key inside? Not when every multikey field is held to one point. */
bool scan_bounds_is_single(const struct scan_bounds *b, const uint64_t *multikey);

#endif
