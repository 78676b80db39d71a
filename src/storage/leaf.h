/* Leaves: the blocks that hold entries.
 *
 * ON DISK (the payload; the block's items are the entries)
 *   1        flags. Bit 0: the entries carry their sequence, else all have the base's
 *   varint   base sequence, the least in the leaf
 *   varint   length of the prefix that all keys have in common
 *   ...      the prefix
 *   then each entry, in order of (key ascending, sequence descending):
 *     varint   length of the suffix: the key without the prefix
 *     varint   length of the value * 8 + enum entry_kind
 *     varint   sequence - base sequence (only with flag bit 0)
 *     ...      suffix, then value
 *
 * IN MEMORY (a cached block), made from it by leaf_index, which verifies everything that the readers below rely on:
 *   struct leaf | heads: count * u64 | entry_at: count * u32 | the payload as above | LEAF_SLACK_LEN zero bytes
 * A head is the first 8 bytes of a suffix as a big-endian integer, zeros where it is shorter: heads order as the suffixes do, but for ties. A
 * search runs over the heads alone, which lie close together, and reads an entry only to break a tie. The arrays cost 12 bytes an entry in
 * memory and nothing on disk, where they would not compress; making them is one pass, which validation needs anyway.
 *
 * INVARIANTS (after leaf_index)
 *   L1  count >= 1; entry_at ascends; every varint, suffix and value lies within the payload.
 *   L2  Keys have 1 to KV_KEY_LEN_MAX bytes, at most key_len_max; kinds are known; deletes have no value.
 *   L3  Heads do not descend. (The full order is segment_check's to verify: a wrong order finds wrong entries, but reads no wild byte.)
 *   L4  LEAF_SLACK_LEN bytes may be read past any suffix.
 *   L5  is_plain: every entry is a PUT or LARGE, and no two neighbours have the same key. (A version of the last key may begin the next leaf.) */
#ifndef ELMO_STORAGE_LEAF_H
#define ELMO_STORAGE_LEAF_H

#include "base/endian.h"
#include "storage/block.h"
#include "storage/source.h"

#define LEAF_SLACK_LEN 16u
#define LEAF_HAS_SEQS 1u
#define ENTRY_KIND_BITS 3u
#define VALUE_LEN_MAX ((uint64_t) 32 * 1024 * 1024) /* inline; beyond what kv.h allows */

/* ---- reading ---- */

struct leaf {
    uint8_t type; /* BLOCK_LEAF: every block in the cache begins so */
    uint8_t flags;
    bool is_plain; /* L5 */
    uint8_t zero;
    uint32_t count;
    uint32_t prefix_at, prefix_len; /* from the struct's start, as entry_at */
    uint32_t key_len_max;
    uint32_t entry_at_at; /* where the array entry_at begins */
    uint64_t base_seq, max_seq; /* least and greatest */
    uint64_t heads[];
};

/* Bytes of memory for a leaf, and where in it the payload goes. UINT32_MAX when the header is impossible. */
uint32_t leaf_memory_len(const struct block_header *h, uint32_t *payload_at);
/* Builds the index over the payload that lies in place. NULL, or what is wrong with it. */
const char *leaf_index(uint8_t *memory, const struct block_header *h);

static inline const uint32_t *leaf_entry_at(const struct leaf *l) {
    return (const uint32_t *) (const void *) ((const uint8_t *) l + l->entry_at_at);
}

/* A varint that is known to be sound. */
static inline const uint8_t *leaf_varint(const uint8_t *p, uint64_t *v) {
    uint64_t r = *p++;
    if (r >= 0x80) {
        r &= 0x7f;
        for (unsigned shift = 7;; shift += 7) {
            uint64_t b = *p++;
            r |= (b & 0x7f) << shift;
            if (b < 0x80) break;
        }
    }
    *v = r;
    return p;
}

/* An entry in place: its key is the leaf's prefix, then the suffix. */
struct leaf_entry {
    const uint8_t *suffix;
    uint32_t suffix_len, value_len;
    uint64_t seq;
    uint8_t kind;
};

static inline void leaf_read(const struct leaf *l, uint32_t idx, struct leaf_entry *e) {
    uint64_t suffix_len, tag, seq = 0;
    const uint8_t *p = (const uint8_t *) l + leaf_entry_at(l)[idx];
    p = leaf_varint(p, &suffix_len);
    p = leaf_varint(p, &tag);
    if ((l->flags & LEAF_HAS_SEQS) != 0) p = leaf_varint(p, &seq);
    e->suffix = p;
    e->suffix_len = (uint32_t) suffix_len;
    e->value_len = (uint32_t) (tag >> ENTRY_KIND_BITS);
    e->kind = (uint8_t) (tag & ((1u << ENTRY_KIND_BITS) - 1));
    e->seq = l->base_seq + seq;
}

/* The first entry >= (key, seq): its index, count when there is none. */
uint32_t leaf_search(const struct leaf *l, struct slice key, uint64_t seq);
/* The search of one key in two steps, so that the entry can be asked for in between: leaf_place reads heads only and answers the first entry that may be of the
 * key (count: none is); leaf_get finds from there its newest version <= seq. */
uint32_t leaf_place(const struct leaf *l, struct slice key);
bool leaf_get(const struct leaf *l, uint32_t place, struct slice key, uint64_t seq, struct leaf_entry *e);
/* The entry's key against `key`. */
int leaf_compare_key(const struct leaf *l, const struct leaf_entry *e, struct slice key);

/* ---- heads, for inner blocks too ---- */

static inline uint64_t head_of(const uint8_t *p, size_t len) {
    if (len >= 8) return get_be64(p);
    uint64_t h = 0;
    if (len != 0) memcpy(&h, p, len);
    return __builtin_bswap64(h);
}
/* How many of the n heads are < h; <= h. */
uint32_t heads_below(const uint64_t *heads, uint32_t n, uint64_t h);
static inline uint32_t heads_up_to(const uint64_t *heads, uint32_t n, uint64_t h) {
    return h == UINT64_MAX ? n : heads_below(heads, n, h + 1);
}
size_t common_prefix_len(struct slice a, struct slice b);

/* ---- building ---- */

struct leaf_item {
    uint64_t seq;
    size_t key_at; /* in leaf_builder.bytes; the value follows the key */
    uint32_t key_len, value_len;
    uint8_t kind;
};

/* Collects the entries of one leaf. */
struct leaf_builder {
    struct buf bytes;
    struct leaf_item *items;
    size_t item_cap;
    uint32_t count;
    size_t prefix_len; /* common to all keys so far */
    uint64_t min_seq, max_seq;
    uint64_t data_len; /* keys and values */
};

void leaf_builder_init(struct leaf_builder *b, const struct mem *mem);
void leaf_builder_release(struct leaf_builder *b);
void leaf_builder_clear(struct leaf_builder *b);
status leaf_builder_add(struct leaf_builder *b, const struct entry *e, struct err *err);
/* About how long the payload would be with this entry too. */
size_t leaf_builder_len_with(const struct leaf_builder *b, const struct entry *e);
/* The payload. The builder must not be empty. */
status leaf_builder_encode(const struct leaf_builder *b, struct buf *out, struct err *err);
static inline struct slice leaf_builder_key(const struct leaf_builder *b, uint32_t idx) {
    return (struct slice){b->bytes.p + b->items[idx].key_at, b->items[idx].key_len};
}

#endif
