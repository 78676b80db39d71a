/* Intervals of one indexed field, as bytes of the key encoding (index/key.h, ascending), and as values for people.
 *
 * An interval is [lo, hi) in encoded bytes. Because no encoding is a prefix of another, every interval of values has this form:
 *
 *   = v        [enc(v), succ(enc(v)))           succ: the least string above all that start with it
 *   >= v       [enc(v), rank_hi)                > v: [succ(enc(v)), rank_hi)
 *   <= v       [rank_lo, succ(enc(v)))          < v: [rank_lo, enc(v))
 *
 * and what follows the field in a compound key changes nothing: e.rest is in [lo, hi) exactly when e is.
 *
 * INVARIANTS
 *   B1  A list is sorted, its intervals are disjoint and none is empty. They may touch.
 *   B2  No end of an interval lies inside another's point.
 *
 * Lists live in the arena that they were made in and are never changed. One thread at a time. */
#ifndef ELMO_QUERY_BOUNDS_H
#define ELMO_QUERY_BOUNDS_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "bson/build.h"
#include "bson/value.h"

struct interval {
    struct slice lo, hi;            /* len 0: open */
    struct bval lo_value, hi_value; /* what explain shows: B_MISSING is MinKey below, MaxKey above */
    bool lo_inclusive, hi_inclusive;
    bool is_point;
};

struct intervals {
    struct interval *at;
    uint32_t count;
};

/* What making intervals takes: where they live and a buffer for encoding. */
struct bounds_maker {
    struct arena *arena;
    struct buf scratch;
};
void bounds_maker_init(struct bounds_maker *m, struct arena *arena);
void bounds_maker_release(struct bounds_maker *m);

extern const struct intervals intervals_none;
extern const struct intervals intervals_all; /* static storage */
bool intervals_is_all(const struct intervals *iv);
bool intervals_is_points(const struct intervals *iv); /* at least one, and each a point */
static inline bool intervals_is_point(const struct intervals *iv) { return iv->count == 1 && iv->at[0].is_point; }

/* v as a point. The value is borrowed for explain. */
status intervals_point(struct bounds_maker *m, struct bval v, struct intervals *out, struct err *err);
/* n values that ascend strictly in the total order. */
status intervals_points(struct bounds_maker *m, const struct bval *values, uint32_t n, struct intervals *out,
                        struct err *err);
/* Within one rank (btype_rank). lo or hi B_MISSING: to the rank's end, of which sample_type tells the rank. */
status intervals_range(struct bounds_maker *m, uint8_t sample_type, struct bval lo, bool lo_inclusive, struct bval hi,
                       bool hi_inclusive, struct intervals *out, struct err *err);

status intervals_intersect(struct bounds_maker *m, struct intervals a, struct intervals b, struct intervals *out,
                           struct err *err);
status intervals_unite(struct bounds_maker *m, struct intervals a, struct intervals b, struct intervals *out,
                       struct err *err);
status intervals_complement(struct bounds_maker *m, struct intervals a, struct intervals *out, struct err *err);

/* Appends the list as explain shows it, in scan order: ["[1, 5)", "[\"x\", \"x\"]"]. */
void intervals_show(const struct intervals *iv, bool reversed, const struct mem *mem, struct bbuild *array);

#endif
