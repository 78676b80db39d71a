/* The memtable: recent commits in memory, ordered by (key, sequence descending), in an arena.
 *
 * One writer at a time, any number of readers without locks: nodes are published with release stores and never move or change.
 * A hint makes ascending inserts cheap (append path). Range deletes are kept beside, as immutable fragments replaced at each one. */
#ifndef ELMO_STORAGE_MEMTABLE_H
#define ELMO_STORAGE_MEMTABLE_H

#include "base/mem.h"
#include "storage/range_delete.h"
#include "storage/source.h"

struct memtable;

/* One reference. `filter_len`: bytes for a filter over the keys, rounded down to a power of two, at least 64: 1 to 2 bytes for each
 * entry that is expected make a search for an absent key nearly free. */
status memtable_new(const struct mem *mem, size_t filter_len, struct memtable **out, struct err *err);
struct memtable *memtable_ref(struct memtable *m);
void memtable_unref(struct memtable *m);

/* Writer only. Makes sure that `entry_count` inserts with `bytes` of keys and values in all cannot fail for want of memory. */
status memtable_reserve(struct memtable *m, size_t entry_count, size_t bytes, struct err *err);
/* Writer only. Key and value are copied. Inserted (key, seq) pairs are distinct. Infallible after a sufficient memtable_reserve. */
status memtable_insert(struct memtable *m, const struct entry *e, struct err *err);
status memtable_delete_range(struct memtable *m, struct slice lo, struct slice hi, uint64_t seq, struct err *err);
/* The same for many at once and in two steps, for a writer that may not fail between them (it logs): stage does all that can fail and shows nothing;
 * install shows it, infallible; unstage forgets it. One stage at a time; n may be 0. */
status memtable_stage_ranges(struct memtable *m, const struct range_delete *ranges, size_t n, struct err *err);
void memtable_install_ranges(struct memtable *m);
void memtable_unstage_ranges(struct memtable *m);

/* The newest version of key with sequence <= snapshot. ST_NOT_FOUND when there is none. Bytes live as long as the memtable.
 * Range deletes are not looked at. */
status memtable_get(struct memtable *m, struct slice key, uint64_t snapshot, struct entry *out);
/* False: no version of a key with this hash (segment_filter_hash) is in the table that was committed before the caller took its snapshot. */
bool memtable_may_contain(const struct memtable *m, uint64_t hash);
/* The line of the filter that a test of this hash will read. */
void memtable_prefetch(const struct memtable *m, uint64_t hash);
/* The sequence of the newest version of key, 0 when none. */
uint64_t memtable_newest(struct memtable *m, struct slice key);
/* The greatest sequence of an entry in [lo, hi), 0 when none. */
uint64_t memtable_newest_in(struct memtable *m, struct slice lo, struct slice hi);

/* Range deletes as they lie in the fragments: what the next one costs grows with it. 0: there are none. */
size_t memtable_range_count(const struct memtable *m);
/* The current fragments, with a reference for the caller; NULL when there are none. */
struct fragments *memtable_range_deletes(struct memtable *m);

/* A cursor over it; embeds struct source first. It holds a reference. Entries committed meanwhile may or may not show (snapshot filters). */
status memtable_cursor(struct memtable *m, struct source **out, struct err *err);

/* About how many entries lie in [lo, hi); hi.len 0: to the end. */
uint64_t memtable_estimate(struct memtable *m, struct slice lo, struct slice hi);

uint64_t memtable_entry_count(const struct memtable *m);
size_t memtable_used(const struct memtable *m);      /* bytes of memory held */
uint64_t memtable_min_seq(const struct memtable *m); /* SEQ_MAX when empty */
uint64_t memtable_max_seq(const struct memtable *m);

#endif
