/* The block cache: decompressed, verified blocks by (segment id, offset), under a cap in bytes.
 *
 * Sharded; a hit takes one shard lock for a moment or none, and never allocates. Eviction is CLOCK (second chance). A pinned block is never evicted and counts;
 * when everything is pinned the cache goes over its cap rather than fail. Parents (inner blocks) and filters have a higher priority than leaves. */
#ifndef ELMO_STORAGE_CACHE_H
#define ELMO_STORAGE_CACHE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"

struct cache;

/* A block in memory. `p` is `len` bytes, 16-aligned, immutable. */
struct cached_block {
    uint8_t *p;
    uint32_t len;
};

enum cache_priority { CACHE_LEAF, CACHE_INNER };

status cache_new(const struct mem *mem, size_t bytes_max, struct cache **out, struct err *err);
void cache_free(struct cache *c); /* nothing may be pinned */

/* NULL when absent; else pinned. */
struct cached_block *cache_pin(struct cache *c, uint64_t segment_id, uint64_t at);
/* Puts a block of len uninitialised bytes aside, pinned: fill p, then cache_insert or cache_discard it. Or keep it private: it counts, is found by nobody, and is
 * freed with its last pin. NULL without memory. p begins on a cache line. */
struct cached_block *cache_new_block(struct cache *c, uint32_t len);
/* Publishes it and returns the pinned block: the other one if someone was faster (this one is freed then). Without memory for the table entry it stays private and pinned. */
struct cached_block *cache_insert(struct cache *c, uint64_t segment_id, uint64_t at, struct cached_block *b,
                                  enum cache_priority priority);
void cache_discard(struct cache *c, struct cached_block *b);
void cache_repin(struct cached_block *b); /* one more pin on a block that the caller has pinned */
void cache_unpin(struct cache *c, struct cached_block *b);
/* Forgets a segment's blocks, when it is dropped. Pinned ones go with their last pin. */
void cache_forget_segment(struct cache *c, uint64_t segment_id);

struct cache_stat {
    size_t bytes, bytes_max, pinned_bytes;
    uint64_t hits, misses, evictions;
};
struct cache_stat cache_stat(struct cache *c);

#endif
