/* Segments: immutable B+trees of variable-length blocks, bulk-loaded from a sorted run. Byte layout: docs/FORMAT.md.
 *
 * Leaf blocks (about 16 KiB before compression) keep their common key prefix once. A slot array for binary search, with the first key bytes after the
 * prefix, is made when a block is loaded and verified, so that a search touches few cache lines and the disk holds no slots. Inner blocks hold shortened
 * separators, child references (place, length, checksum) and entry counts. A filter (about 10 bits a key, 1 % false positives) over user keys answers "surely absent".
 *
 * A value of LARGE_LEN_MIN or more lies in extents of its own, written before the entry that refers to it; exactly one entry in one segment owns it, merges carry
 * the reference, and each segment lists the large extents that it owns.
 */
#ifndef ELMO_STORAGE_SEGMENT_H
#define ELMO_STORAGE_SEGMENT_H

#include "base/buf.h"
#include "storage/cache.h"
#include "storage/manifest.h"
#include "storage/range_delete.h"
#include "storage/source.h"
#include "storage/store.h"

#define LARGE_LEN_MIN ((size_t) 64 * 1024)
#define LARGE_EXTENTS_MAX 16

enum compression { COMPRESS_NONE = 0, COMPRESS_LZ4 = 1, COMPRESS_ZSTD = 2 };

/* The value bytes of an ENTRY_LARGE, encoded by large_ref_encode. */
struct large_ref {
    uint64_t len;      /* of the value */
    uint64_t checksum; /* XXH3 of the value */
    uint32_t extent_count;
    struct extent extents[LARGE_EXTENTS_MAX];
};
status large_ref_encode(const struct large_ref *ref, struct buf *out, struct err *err);
status large_ref_decode(struct slice bytes, struct large_ref *out, struct err *err);
/* Allocates extents and writes the value; the caller syncs (store_commit) before anything durable refers to it. On failure nothing stays allocated. */
status large_write(struct store *store, struct slice value, struct large_ref *out, struct err *err);
/* Reads and verifies the value into `p`, ref->len bytes. */
status large_read(struct store *store, const struct large_ref *ref, uint8_t *p, struct err *err);

struct segment_opts {
    uint32_t leaf_len; /* target bytes of a leaf before compression, default 16 KiB */
    enum compression compression;
    uint32_t filter_bits_per_key; /* default 10; 0: no filter */
};

/* --- writing --- */
struct segment_writer;

/* Starts segment `id` at `level`. Space is taken in steps and the rest forfeited at the end. */
status segment_writer_new(struct store *store, const struct mem *mem, const struct segment_opts *opts, uint64_t id,
                          uint32_t level, struct segment_writer **out, struct err *err);
/* Entries strictly ascend by entry_compare. ENTRY_LARGE: value is an encoded large_ref, and the segment owns its extents from now on. */
status segment_writer_add(struct segment_writer *w, const struct entry *e, struct err *err);
/* The range deletes of the segment, already cut to its bounds. At most once, before finish. */
status segment_writer_range_deletes(struct segment_writer *w, const struct fragments *f, struct err *err);
uint64_t segment_writer_len(const struct segment_writer *w); /* bytes written so far, on disk */
uint64_t segment_writer_entry_count(const struct segment_writer *w);
/* Writes parents, filter and lists; *meta is filled (keys and extents allocated with `mem`; release with segment_meta_release). An empty writer gives a meta with
 * entry_count 0 and no extents. Frees the writer. */
status segment_writer_finish(struct segment_writer *w, struct segment_meta *meta, struct err *err);
/* Forfeits its space (not that of large values it was handed) and frees it. */
void segment_writer_abort(struct segment_writer *w);
void segment_meta_release(const struct mem *mem, struct segment_meta *meta);

/* --- reading --- */
struct segment; /* reference-counted, shared by threads */

/* Loads filter and range deletes (both stay in memory while it is open); checks them. Copies the meta. */
status segment_open(struct store *store, struct cache *cache, const struct mem *mem, const struct segment_meta *meta,
                    struct segment **out, struct err *err);
struct segment *segment_ref(struct segment *s);
void segment_unref(struct segment *s);
/* The segment has left the tree: its blocks leave the cache with its last reference. */
void segment_drop(struct segment *s);
const struct segment_meta *segment_meta(const struct segment *s);
struct fragments *segment_range_deletes(struct segment *s); /* borrowed, may be NULL */

/* False: no version of key is in this segment. */
bool segment_may_contain(const struct segment *s, struct slice key);
uint64_t segment_filter_hash(struct slice key); /* so that one hash serves many segments */
bool segment_may_contain_hash(const struct segment *s, uint64_t hash);

/* The newest version of key with sequence <= snapshot; ST_NOT_FOUND when none. Does not ask the filter: callers do, before. entry->value points into *pin, a pinned cache block that the
 * caller unpins (cache_unpin); entry->key is the caller's key. */
status segment_get(struct segment *s, struct slice key, uint64_t snapshot, struct entry *out, struct cached_block **pin,
                   struct err *err);

/* segment_get in steps, for a reader that overlaps the waits of many keys (storage/lookup_many.c). */
void segment_prefetch_filter(const struct segment *s, uint64_t hash);
/* Where the key before led to; zeroed at first. Keys of one way ascend. */
struct segment_way {
    struct cached_block *parent; /* of leaves; NULL: none yet */
    uint32_t idx;                /* the child taken */
    struct cached_block *leaf;   /* that child, while its reader keeps it pinned */
};
/* Pins the leaf that (key, snapshot) leads to; leaves found by this way before must still be pinned. ST_OK with *leaf NULL when the segment has no entries. */
status segment_find_leaf(struct segment *s, struct segment_way *way, struct slice key, uint64_t snapshot,
                         struct cached_block **leaf, struct err *err);
void segment_leave(struct segment *s, struct segment_way *way);
/* Where segment_get_in will look in a pinned leaf: asks for the entry. */
uint32_t segment_place_in(const struct cached_block *leaf, struct slice key);
/* The newest version of key <= snapshot in the pinned leaf; ST_NOT_FOUND. Its value lives as long as the pin. */
status segment_get_in(const struct cached_block *leaf, uint32_t place, struct slice key, uint64_t snapshot,
                      struct entry *out);

/* fill_cache false: blocks read by this cursor do not push out others (merges, checks). Embeds struct source first. Reads ahead when it moves in one direction. */
status segment_cursor(struct segment *s, bool fill_cache, struct source **out, struct err *err);

/* About how many entries and bytes lie in [lo, hi) (hi.len 0: to the end), from the counts in the parents. Reads inner blocks only. */
status segment_estimate(struct segment *s, struct slice lo, struct slice hi, uint64_t *entries, uint64_t *bytes,
                        struct err *err);

/* Calls `visit` with every large extent that the segment owns. */
status segment_large_extents(struct segment *s, status (*visit)(void *ctx, struct extent e), void *ctx,
                             struct err *err);

/* Reads every block past the cache: checksums, order within and across blocks, counts, bounds, filter membership, large values. Calls `found` for each fault (text names segment and place). */
status segment_check(struct segment *s, void (*found)(void *ctx, const char *text), void *ctx, struct err *err);

#endif
