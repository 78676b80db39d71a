/* The manifest: what the tree consists of. One value, held whole in memory, written whole at each tree commit (storage/store.h).
 *
 * Metadata per segment is O(1). Threads: a manifest belongs to whoever holds it; the store copies what it is given. */
#ifndef ELMO_STORAGE_MANIFEST_H
#define ELMO_STORAGE_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/slice.h"

#define UNIT_LEN 4096u /* space is given out in units of this many bytes */
#define LEVEL_COUNT 7  /* levels 0 (takes flushes) to 6 (the last) */
#define SEGMENT_EXTENTS_MAX 64

/* A run of units in the file. */
struct extent {
    uint64_t at;  /* bytes from the start of the file, a multiple of UNIT_LEN */
    uint64_t len; /* bytes, a multiple of UNIT_LEN */
};

/* Where a block lies inside its segment and what it must hash to. */
struct block_ref {
    uint64_t at;       /* bytes from the segment's start: the segment's extents laid end to end */
    uint32_t len;      /* bytes on disk, block header included */
    uint64_t checksum; /* of the whole block, seeded with the segment's salt */
};

struct segment_meta {
    uint64_t id; /* never reused; also the salt of its checksums */
    uint32_t level;
    struct slice min_key,
        max_key; /* least and greatest user key (inclusive); range deletes widen them: max may then be an exclusive end */
    bool max_is_exclusive;
    uint64_t min_seq, max_seq;
    uint64_t entry_count, tombstone_count, range_delete_count;
    uint64_t data_len;  /* key and value bytes before compression */
    uint64_t file_len;  /* bytes used in the extents */
    uint64_t large_len; /* bytes of the extents that its large values own */
    uint32_t height;    /* 1: the root is a leaf; 0: no entries, range deletes only */
    struct block_ref root, filter, range_deletes, large_list; /* len 0: none */
    uint32_t extent_count;
    struct extent *extents;
};

struct manifest {
    const struct mem *mem;
    uint64_t last_seq; /* everything up to here is in segments */
    uint64_t next_segment_id;
    size_t segment_count, segment_cap;
    struct segment_meta *
        segments; /* keys and extents owned by the manifest; order: level, then level 0 newest first, else by min_key */
    struct slice sequences; /* opaque to the manifest: the engine's table of id sequences (key, next), owned */
};

void manifest_init(struct manifest *m, const struct mem *mem);
void manifest_release(struct manifest *m);
status manifest_copy(struct manifest *to, const struct manifest *from, struct err *err);
/* Deep-copies `seg` in at its place in the order. */
status manifest_add(struct manifest *m, const struct segment_meta *seg, struct err *err);
void manifest_remove(struct manifest *m, uint64_t segment_id);
status manifest_encode(const struct manifest *m, struct buf *out, struct err *err);
/* *out must have been initialised (its memory hook is used) and hold nothing. Checks everything: a damaged or hostile manifest is
 * ST_CORRUPT with what is wrong, one with parts of a later version ST_UNSUPPORTED. */
status manifest_decode(struct slice bytes, struct manifest *out, struct err *err);

#endif
