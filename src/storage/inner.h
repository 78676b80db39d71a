/* Inner blocks: the parents of leaves and of other inner blocks.
 *
 * A separator stands between two neighbouring children: everything left of it is smaller, everything right of it is not. It is (key, sequence), ordered as
 * entries are, and as short as may be. Between keys A < B it is the shortest prefix of B that is greater than A, with SEQ_MAX. A leaf may be
 * cut between two versions of one key; the separator is then (key, sequence of the left one - 1). So every version of a key that a reader at some snapshot
 * wants first lies in the one leaf that (key, snapshot) leads to: a get reads one leaf.
 * The separator before a block's first child stands in its parent.
 *
 * ON DISK (the payload; the block's items are the children)
 *   varint   length of the prefix that all separators have in common
 *   ...      the prefix
 *   then each child:
 *     varint   place in the segment
 *     varint   length on disk
 *     8        checksum
 *     varint   entries below it
 *     varint   key and value bytes below it
 *     and but for the first child, the separator before it:
 *     varint   length of the suffix * 2 + 1 when a sequence follows
 *     varint   sequence (none: SEQ_MAX)
 *     ...      suffix
 *
 * IN MEMORY (a cached block), made by inner_index:
 *   struct inner | children: count * struct inner_child | heads: count * u64 | sep_at: count * u32 | the payload | slack
 * Counts are sums over the children before, so that a range is a difference.
 *
 * INVARIANTS (after inner_index)
 *   I1  count >= 1; heads[1..] do not descend; separators lie within the payload. heads[0] and sep_at[0] are not used.
 *   I2  Children lie before their parent in the segment, ascending, not overlapping: a tree of blocks has no cycles. */
#ifndef ELMO_STORAGE_INNER_H
#define ELMO_STORAGE_INNER_H

#include "storage/block.h"
#include "storage/leaf.h"

#define SEGMENT_HEIGHT_MAX 32u

struct separator {
    struct slice key;
    uint64_t seq;
};

/* ---- reading ---- */

struct inner_child {
    uint64_t at, checksum;
    uint64_t entries_before, bytes_before;
    uint64_t len; /* on disk */
};

struct inner {
    uint8_t type; /* BLOCK_INNER */
    uint8_t zero[3];
    uint32_t count;
    uint32_t prefix_at, prefix_len; /* from the struct's start, as sep_at */
    uint32_t heads_at, sep_at_at;
    uint64_t entry_count, data_len; /* below all children */
    struct inner_child children[];
};

uint32_t inner_memory_len(const struct block_header *h, uint32_t *payload_at);
/* Builds the index over the payload that lies in place; `at` is the block's own place. NULL, or what is wrong with it. */
const char *inner_index(uint8_t *memory, const struct block_header *h, uint64_t at);

static inline struct block_ref inner_ref(const struct inner *n, uint32_t idx) {
    const struct inner_child *c = &n->children[idx];
    return (struct block_ref){c->at, (uint32_t) c->len, c->checksum};
}
static inline uint64_t inner_entries(const struct inner *n, uint32_t idx) {
    return (idx + 1 < n->count ? n->children[idx + 1].entries_before : n->entry_count) -
        n->children[idx].entries_before;
}
static inline uint64_t inner_bytes(const struct inner *n, uint32_t idx) {
    return (idx + 1 < n->count ? n->children[idx + 1].bytes_before : n->data_len) - n->children[idx].bytes_before;
}

/* The child that (key, seq) leads to: the last one whose separator is not greater. */
uint32_t inner_search(const struct inner *n, struct slice key, uint64_t seq);
/* The same, cheaper when the answer is `from` (an earlier answer for a smaller key) or one of the next few children. */
uint32_t inner_search_from(const struct inner *n, uint32_t from, struct slice key, uint64_t seq);
/* The suffix of the separator before child idx >= 1; its key is the prefix and this. */
struct slice inner_separator(const struct inner *n, uint32_t idx, uint64_t *seq);
static inline struct slice inner_prefix(const struct inner *n) {
    return (struct slice){(const uint8_t *) n + n->prefix_at, n->prefix_len};
}

/* ---- building ---- */

struct inner_item {
    struct block_ref ref;
    uint64_t entry_count, data_len;
    size_t sep_at, sep_len; /* in inner_builder.seps */
    uint64_t seq;
};

/* Collects the children of one inner block. */
struct inner_builder {
    struct buf seps;
    struct inner_item *items;
    size_t item_cap;
    uint32_t count;
    uint64_t entry_count, data_len;
};

void inner_builder_init(struct inner_builder *b, const struct mem *mem);
void inner_builder_release(struct inner_builder *b);
void inner_builder_clear(struct inner_builder *b);
/* The separator is the one before this child. */
status inner_builder_add(struct inner_builder *b, const struct separator *sep, const struct block_ref *ref,
                         uint64_t entry_count, uint64_t data_len, struct err *err);
/* True when the block is long enough that its next child begins another. */
bool inner_builder_is_full(const struct inner_builder *b);
status inner_builder_encode(const struct inner_builder *b, struct buf *out, struct err *err);
/* The separator before the first child. Borrowed from the builder. */
struct separator inner_builder_first(const struct inner_builder *b);

/* The shortest separator between an entry (key a, sequence) and a greater one with key b. The key is a prefix of b. */
struct separator separator_between(struct slice a, uint64_t a_seq, struct slice b);

#endif
