/* What the files of the segment reader share: the open segment and how its blocks come into memory. */
#ifndef ELMO_STORAGE_SEGMENT_FILE_H
#define ELMO_STORAGE_SEGMENT_FILE_H

#include <stdatomic.h>

#include "storage/block.h"
#include "storage/filter.h"
#include "storage/inner.h"
#include "storage/leaf.h"

struct segment {
    _Atomic uint32_t refs;
    _Atomic bool is_dropped; /* its blocks leave the cache with the last reference */
    struct store *store;
    struct cache *cache;
    const struct mem *mem;
    struct segment_meta meta;        /* owned */
    struct filter filter;            /* points into filter_pin */
    struct cached_block *filter_pin; /* pinned while open, so that it counts as cache; NULL: no filter */
    struct fragments *range_deletes; /* NULL: none */
    _Atomic(struct cached_block *)
        root; /* pinned from its first use, so that a get touches no shared counter of the hottest block */
};

/* Raises ST_CORRUPT with the place. */
status segment_damaged(const struct segment *s, uint64_t at, const char *what, struct err *err);

/* Reads bytes by their place in the segment. */
status segment_read(struct segment *s, uint64_t at, void *p, uint32_t len, struct err *err);
/* Tells the store that bytes will be read soon. */
void segment_will_need(struct segment *s, uint64_t at, uint64_t len);

/* Reads a block past the cache and unpacks its payload: for filters, range deletes and lists. Appends to `out`. */
status segment_read_payload(struct segment *s, const struct block_ref *ref, enum block_type type, struct buf *out,
                            uint32_t *item_count, struct err *err);

/* Verifies, unpacks and indexes a leaf or inner block that was read to `raw`. The block is the caller's, not in the cache. */
status segment_make_block(struct segment *s, const struct block_ref *ref, enum block_type type, const uint8_t *raw,
                          struct cached_block **out, struct err *err);
/* Pins a leaf or inner block, reading it when it is not in the cache. Without fill_cache a block that is read stays out of it
 * (cache_unpin frees it). */
status segment_load(struct segment *s, const struct block_ref *ref, enum block_type type, bool fill_cache,
                    struct cached_block **out, struct err *err);
/* The block from the cache, pinned; NULL when it is not there. ST_CORRUPT when it is of another type. */
status segment_pin_cached(struct segment *s, const struct block_ref *ref, enum block_type type,
                          struct cached_block **out, struct err *err);
struct cached_block *segment_publish(struct segment *s, const struct block_ref *ref, enum block_type type,
                                     struct cached_block *b);
/* The root, kept by the segment: do not unpin it. The segment must have entries. */
status segment_root(struct segment *s, struct cached_block **out, struct err *err);

static inline enum block_type segment_root_type(const struct segment *s) {
    return s->meta.height == 1 ? BLOCK_LEAF : BLOCK_INNER;
}
static inline const struct leaf *block_leaf(const struct cached_block *b) {
    return (const struct leaf *) (const void *) b->p;
}
static inline const struct inner *block_inner(const struct cached_block *b) {
    return (const struct inner *) (const void *) b->p;
}

#endif
