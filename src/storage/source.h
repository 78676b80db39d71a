/* What a memtable, a segment and a transaction's buffer have in common: versions of keys, read in order.
 *
 * Entries order by (key ascending, sequence descending): the newest version of a key comes first. A range delete is not an entry;
 * each source gives its range deletes apart (storage/range_delete.h).
 *
 * CONTRACT
 *   S1  After a placing or moving call that returned ST_OK, `at` holds the entry; key and value bytes stay valid until the next call.
 *   S2  ST_END: the source stands nowhere; a failure too. After ST_END from next, prev is not allowed before a placing call.
 *   S3  seek_ge stands on the first entry >= (key, seq) in the order above: seq SEQ_MAX gives the newest version of `key`.
 *       seek_le stands on the last entry <= (key, seq): seq 0 gives the oldest version of `key`, or the entry before it.
 */
#ifndef ELMO_STORAGE_SOURCE_H
#define ELMO_STORAGE_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

/* Sequence numbers: 1 is the first commit. All writes of one transaction share one. */
#define SEQ_MAX UINT64_MAX

/* On disk: do not renumber. */
enum entry_kind {
    ENTRY_PUT = 1,
    ENTRY_DELETE = 2,
    ENTRY_ADD = 3,   /* value: int64 delta, little endian, to be added to the older versions */
    ENTRY_LARGE = 4, /* a PUT whose value is a large_ref: where the real value lies (storage/segment.h) */
};

struct entry {
    struct slice key;
    struct slice value; /* empty for ENTRY_DELETE */
    uint64_t seq;
    uint8_t kind; /* enum entry_kind */
};

struct source {
    const struct source_ops *ops;
    struct entry at;
    bool is_last_version; /* known: the source has no further version of this key. False tells nothing. */
};

struct source_ops {
    status (*seek_ge)(struct source *s, struct slice key, uint64_t seq, struct err *err);
    status (*seek_le)(struct source *s, struct slice key, uint64_t seq, struct err *err);
    status (*first)(struct source *s, struct err *err);
    status (*last)(struct source *s, struct err *err);
    status (*next)(struct source *s, struct err *err);
    status (*prev)(struct source *s, struct err *err);
    /* Standing on an entry: steps forward over up to `max` entries with keys below `limit` (len 0: no limit), each the only version of its key in the source, visible at
     * `snapshot` and a PUT or LARGE; *passed says over how many: 0 when the source cannot tell at once. It still stands on an entry. NULL: never can. */
    void (*pass)(struct source *s, struct slice limit, uint64_t snapshot, uint64_t max, uint64_t *passed);
    void (*rest)(struct source *s); /* lets go of pinned blocks; stands nowhere afterwards */
    void (*close)(struct source *s);
};

/* (key ascending, seq descending). */
static inline int entry_compare(struct slice ka, uint64_t sa, struct slice kb, uint64_t sb) {
    int c = slice_compare(ka, kb);
    return c != 0 ? c : (sa < sb) - (sa > sb);
}

#endif
