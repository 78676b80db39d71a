/* Building, indexing and searching inner blocks; see inner.h. */
#include "storage/inner.h"

#include <assert.h>

#include "base/varint.h"
#include "storage/kv.h"

#define INNER_LEN 8192u                       /* target of a payload: some 300 children */
#define INNER_LEN_HUGE ((size_t) 1024 * 1024) /* past this, few children must do */
#define CHILD_LEN 24u                         /* of an ordinary child, without its separator */
#define CHILD_LEN_MIN 12u
#define COUNT_MAX ((uint64_t) 1 << 56) /* entries or bytes below a child */

/* ---- building ---- */

void inner_builder_init(struct inner_builder *b, const struct mem *mem) {
    *b = (struct inner_builder){0};
    buf_init(&b->seps, mem);
}

void inner_builder_release(struct inner_builder *b) {
    if (b->items != NULL) mem_free(b->seps.mem, b->items, b->item_cap * sizeof(*b->items));
    buf_release(&b->seps);
    b->items = NULL;
    b->item_cap = 0;
}

void inner_builder_clear(struct inner_builder *b) {
    buf_clear(&b->seps);
    b->count = 0;
    b->entry_count = b->data_len = 0;
}

bool inner_builder_is_full(const struct inner_builder *b) {
    size_t len = b->seps.len + (size_t) b->count * CHILD_LEN;
    return (len >= INNER_LEN && b->count >= 8) || (len >= INNER_LEN_HUGE && b->count >= 2);
}

status inner_builder_add(struct inner_builder *b, const struct separator *sep, const struct block_ref *ref,
                         uint64_t entry_count, uint64_t data_len, struct err *err) {
    void *items = b->items;
    size_t at = b->seps.len;
    if (!mem_grow(b->seps.mem, &items, &b->item_cap, (size_t) b->count + 1, sizeof(*b->items))) {
        return RAISE(err, ST_NOMEM, "out of memory for an inner block");
    }
    b->items = items;
    if (!buf_append_slice(&b->seps, sep->key)) return RAISE(err, ST_NOMEM, "out of memory for an inner block");
    b->items[b->count++] = (struct inner_item){*ref, entry_count, data_len, at, sep->key.len, sep->seq};
    b->entry_count += entry_count;
    b->data_len += data_len;
    return ST_OK;
}

static struct slice item_key(const struct inner_builder *b, uint32_t idx) {
    return (struct slice){b->seps.p + b->items[idx].sep_at, b->items[idx].sep_len};
}

struct separator inner_builder_first(const struct inner_builder *b) {
    assert(b->count > 0);
    return (struct separator){item_key(b, 0), b->items[0].seq};
}

status inner_builder_encode(const struct inner_builder *b, struct buf *out, struct err *err) {
    assert(b->count > 0);
    struct slice prefix = b->count > 1 ? item_key(b, 1) : SLICE_NONE;
    if (b->count > 1) prefix.len = common_prefix_len(prefix, item_key(b, b->count - 1));
    buf_clear(out);
    (void) buf_append_varint(out, prefix.len);
    (void) buf_append_slice(out, prefix);
    for (uint32_t i = 0; i < b->count; i++) {
        const struct inner_item *item = &b->items[i];
        (void) buf_append_varint(out, item->ref.at);
        (void) buf_append_varint(out, item->ref.len);
        (void) buf_append_u64(out, item->ref.checksum);
        (void) buf_append_varint(out, item->entry_count);
        (void) buf_append_varint(out, item->data_len);
        if (i == 0) continue;
        struct slice key = item_key(b, i);
        (void) buf_append_varint(out, (uint64_t) (key.len - prefix.len) << 1 | (item->seq != SEQ_MAX));
        if (item->seq != SEQ_MAX) (void) buf_append_varint(out, item->seq);
        (void) buf_append(out, key.p + prefix.len, key.len - prefix.len);
    }
    return out->failed ? RAISE(err, ST_NOMEM, "out of memory for an inner block") : ST_OK;
}

struct separator separator_between(struct slice a, uint64_t a_seq, struct slice b) {
    size_t n = common_prefix_len(a, b);
    if (n == b.len) { /* a == b, as a <= b: versions of one key */
        assert(a.len == b.len && a_seq > 0);
        return (struct separator){b, a_seq - 1};
    }
    return (struct separator){{b.p, n + 1}, SEQ_MAX};
}

/* ---- indexing ---- */

uint32_t inner_memory_len(const struct block_header *h, uint32_t *payload_at) {
    uint64_t per_child = sizeof(struct inner_child) + sizeof(uint64_t) + sizeof(uint32_t);
    uint64_t at = sizeof(struct inner) + h->item_count * per_child;
    uint64_t len = at + h->raw_len + LEAF_SLACK_LEN;
    if (h->item_count == 0 || h->item_count > h->raw_len / CHILD_LEN_MIN || len >= UINT32_MAX) return UINT32_MAX;
    *payload_at = (uint32_t) at;
    return (uint32_t) len;
}

/* Takes one varint from *p; false when there is none. */
static bool take_varint(const uint8_t **p, const uint8_t *end, uint64_t *v) {
    size_t n = varint_get(*p, end, v);
    *p += n;
    return n != 0;
}

/* Reads a child's reference and counts into n->children[i], adding to the block's sums. */
static const char *index_child(struct inner *n, uint32_t i, const uint8_t **p, const uint8_t *end, uint64_t *free_at,
                               uint64_t own_at) {
    struct inner_child *c = &n->children[i];
    uint64_t entry_count, data_len;
    if (!take_varint(p, end, &c->at) || !take_varint(p, end, &c->len) || end - *p < 8) return "a bad child";
    c->checksum = get_le64(*p);
    *p += 8;
    if (!take_varint(p, end, &entry_count) || !take_varint(p, end, &data_len)) return "a bad child";
    if (c->len < BLOCK_HEADER_LEN || c->len > UINT32_MAX || c->at < *free_at || c->at > own_at ||
        c->len > own_at - c->at) {
        return "a child out of place";
    }
    *free_at = c->at + c->len;
    if (entry_count == 0 || entry_count > COUNT_MAX - n->entry_count || data_len > COUNT_MAX - n->data_len)
        return "a child with impossible counts";
    c->entries_before = n->entry_count;
    c->bytes_before = n->data_len;
    n->entry_count += entry_count;
    n->data_len += data_len;
    return NULL;
}

/* Reads the separator before child i. */
static const char *index_separator(uint8_t *memory, struct inner *n, uint32_t i, const uint8_t **p,
                                   const uint8_t *end) {
    uint64_t *heads = (uint64_t *) (void *) (memory + n->heads_at);
    uint32_t *sep_at = (uint32_t *) (void *) (memory + n->sep_at_at);
    uint64_t tag, seq = SEQ_MAX;
    sep_at[i] = (uint32_t) (*p - memory);
    if (!take_varint(p, end, &tag) || ((tag & 1) != 0 && !take_varint(p, end, &seq))) return "a bad separator";
    if (tag >> 1 > (uint64_t) (end - *p) || (tag >> 1) + n->prefix_len > KV_KEY_LEN_MAX)
        return "a separator past the end of its block";
    heads[i] = head_of(*p, tag >> 1);
    if (i > 1 && heads[i] < heads[i - 1]) return "separators out of order";
    *p += tag >> 1;
    return NULL;
}

const char *inner_index(uint8_t *memory, const struct block_header *h, uint64_t at) {
    struct inner *n = (struct inner *) (void *) memory;
    *n = (struct inner){.type = BLOCK_INNER, .count = h->item_count};
    n->heads_at = (uint32_t) (sizeof(*n) + n->count * sizeof(struct inner_child));
    n->sep_at_at = (uint32_t) (n->heads_at + n->count * sizeof(uint64_t));
    memset(memory + n->heads_at, 0, n->count * (sizeof(uint64_t) + sizeof(uint32_t)));
    const uint8_t *p = memory + n->sep_at_at + n->count * sizeof(uint32_t), *end = p + h->raw_len;
    memset(memory + (end - memory), 0, LEAF_SLACK_LEN);
    uint64_t prefix_len, free_at = 0;
    if (!take_varint(&p, end, &prefix_len) || prefix_len > (size_t) (end - p) || prefix_len > KV_KEY_LEN_MAX)
        return "a bad prefix";
    n->prefix_at = (uint32_t) (p - memory);
    n->prefix_len = (uint32_t) prefix_len;
    p += prefix_len;
    for (uint32_t i = 0; i < n->count; i++) {
        const char *fault = index_child(n, i, &p, end, &free_at, at);
        if (fault == NULL && i > 0) fault = index_separator(memory, n, i, &p, end);
        if (fault != NULL) return fault;
    }
    return p == end ? NULL : "bytes after the last child";
}

/* ---- searching ---- */

struct slice inner_separator(const struct inner *n, uint32_t idx, uint64_t *seq) {
    assert(idx > 0 && idx < n->count);
    const uint32_t *sep_at = (const uint32_t *) (const void *) ((const uint8_t *) n + n->sep_at_at);
    uint64_t tag;
    const uint8_t *p = leaf_varint((const uint8_t *) n + sep_at[idx], &tag);
    *seq = SEQ_MAX;
    if ((tag & 1) != 0) p = leaf_varint(p, seq);
    return (struct slice){p, tag >> 1};
}

uint32_t inner_search(const struct inner *n, struct slice key, uint64_t seq) {
    struct slice prefix = inner_prefix(n);
    if (n->count == 1 || key.len == 0) return 0;
    if (prefix.len != 0) {
        int c = memcmp(key.p, prefix.p, key.len < prefix.len ? key.len : prefix.len);
        if (c != 0) return c < 0 ? 0 : n->count - 1;
        if (key.len < prefix.len) return 0;
    }
    struct slice rest = {key.p + prefix.len, key.len - prefix.len};
    const uint64_t *heads = (const uint64_t *) (const void *) ((const uint8_t *) n + n->heads_at) + 1;
    uint64_t h = head_of(rest.p, rest.len);
    uint32_t hi = heads_up_to(heads, n->count - 1, h);
    if (hi == 0 || heads[hi - 1] != h) return hi;
    uint32_t lo = hi - 1;
    if (lo > 0 && heads[lo - 1] == h) lo = heads_below(heads, n->count - 1, h);
    while (lo < hi) { /* among equal heads: how many are not greater */
        uint32_t mid = lo + (hi - lo) / 2;
        uint64_t mid_seq;
        struct slice mid_key = inner_separator(n, mid + 1, &mid_seq);
        if (entry_compare(mid_key, mid_seq, rest, seq) <= 0) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

#define STEPS_MAX 4u /* a binary search costs about as much */

uint32_t inner_search_from(const struct inner *n, uint32_t from, struct slice key, uint64_t seq) {
    struct slice prefix = inner_prefix(n);
    assert(from < n->count);
    if (key.len < prefix.len || memcmp(key.p, prefix.p, prefix.len) != 0) return inner_search(n, key, seq);
    const uint64_t *heads = (const uint64_t *) (const void *) ((const uint8_t *) n + n->heads_at);
    uint64_t h = head_of(key.p + prefix.len, key.len - prefix.len);
    if (from > 0 && heads[from] >= h) return inner_search(n, key, seq);
    for (uint32_t idx = from; idx < from + STEPS_MAX; idx++) {
        if (idx + 1 == n->count || heads[idx + 1] > h) return idx;
        if (heads[idx + 1] == h) break;
    }
    return inner_search(n, key, seq);
}
