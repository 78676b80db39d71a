/* Building, indexing and searching leaves; see leaf.h. */
#include "storage/leaf.h"

#include <assert.h>

#include "base/varint.h"
#include "storage/kv.h"

#define ENTRY_OVERHEAD_LEN 4u /* the varints of an ordinary entry */

/* ---- building ---- */

void leaf_builder_init(struct leaf_builder *b, const struct mem *mem) {
    *b = (struct leaf_builder){0};
    buf_init(&b->bytes, mem);
}

void leaf_builder_release(struct leaf_builder *b) {
    if (b->items != NULL) mem_free(b->bytes.mem, b->items, b->item_cap * sizeof(*b->items));
    buf_release(&b->bytes);
    b->items = NULL;
    b->item_cap = 0;
}

void leaf_builder_clear(struct leaf_builder *b) {
    buf_clear(&b->bytes);
    b->count = 0;
    b->prefix_len = 0;
    b->data_len = 0;
}

size_t common_prefix_len(struct slice a, struct slice b) {
    size_t n = a.len < b.len ? a.len : b.len, i = 0;
    while (i + 8 <= n) {
        uint64_t d = get_le64(a.p + i) ^ get_le64(b.p + i);
        if (d != 0) return i + (size_t) (__builtin_ctzll(d) >> 3);
        i += 8;
    }
    while (i < n && a.p[i] == b.p[i]) i++;
    return i;
}

static size_t prefix_len_with(const struct leaf_builder *b, struct slice key) {
    if (b->count == 0) return key.len;
    return common_prefix_len((struct slice){b->bytes.p + b->items[0].key_at, b->prefix_len}, key);
}

size_t leaf_builder_len_with(const struct leaf_builder *b, const struct entry *e) {
    size_t entry_len = e->key.len + e->value.len, n = (size_t) b->count + 1;
    return (size_t) b->data_len + entry_len + n * ENTRY_OVERHEAD_LEN - (n - 1) * prefix_len_with(b, e->key);
}

status leaf_builder_add(struct leaf_builder *b, const struct entry *e, struct err *err) {
    size_t at = b->bytes.len, prefix_len = prefix_len_with(b, e->key);
    void *items = b->items;
    if (!mem_grow(b->bytes.mem, &items, &b->item_cap, (size_t) b->count + 1, sizeof(*b->items))) goto no_memory;
    b->items = items;
    uint8_t *p = buf_extend(&b->bytes, e->key.len + e->value.len);
    if (p == NULL) goto no_memory;
    memcpy(p, e->key.p, e->key.len);
    if (e->value.len != 0) memcpy(p + e->key.len, e->value.p, e->value.len);
    b->items[b->count] = (struct leaf_item){.seq = e->seq,
                                            .key_at = at,
                                            .key_len = (uint32_t) e->key.len,
                                            .value_len = (uint32_t) e->value.len,
                                            .kind = e->kind};
    if (b->count == 0 || e->seq < b->min_seq) b->min_seq = e->seq;
    if (b->count == 0 || e->seq > b->max_seq) b->max_seq = e->seq;
    b->prefix_len = prefix_len;
    b->data_len += e->key.len + e->value.len;
    b->count++;
    return ST_OK;
no_memory:
    return RAISE(err, ST_NOMEM, "out of memory for a leaf");
}

status leaf_builder_encode(const struct leaf_builder *b, struct buf *out, struct err *err) {
    assert(b->count > 0);
    bool has_seqs = b->min_seq != b->max_seq;
    buf_clear(out);
    size_t room = 1 + 2 * VARINT_LEN_MAX + b->prefix_len + b->bytes.len + (size_t) b->count * 3 * VARINT_LEN_MAX;
    if (!buf_reserve(out, room)) return RAISE(err, ST_NOMEM, "out of memory for a leaf of %zu bytes", room);
    uint8_t *p = out->p;
    *p++ = has_seqs ? LEAF_HAS_SEQS : 0;
    p += varint_put(p, b->min_seq);
    p += varint_put(p, b->prefix_len);
    memcpy(p, b->bytes.p + b->items[0].key_at, b->prefix_len);
    p += b->prefix_len;
    for (uint32_t i = 0; i < b->count; i++) {
        const struct leaf_item *item = &b->items[i];
        p += varint_put(p, item->key_len - b->prefix_len);
        p += varint_put(p, (uint64_t) item->value_len << ENTRY_KIND_BITS | item->kind);
        if (has_seqs) p += varint_put(p, item->seq - b->min_seq);
        size_t n = item->key_len - b->prefix_len + item->value_len;
        memcpy(p, b->bytes.p + item->key_at + b->prefix_len, n);
        p += n;
    }
    out->len = (size_t) (p - out->p);
    assert(out->len <= out->cap);
    return ST_OK;
}

/* ---- indexing ---- */

uint32_t leaf_memory_len(const struct block_header *h, uint32_t *payload_at) {
    uint64_t at = sizeof(struct leaf) + (uint64_t) h->item_count * (sizeof(uint64_t) + sizeof(uint32_t));
    uint64_t len = at + h->raw_len + LEAF_SLACK_LEN;
    if (h->item_count == 0 || h->item_count > h->raw_len / 2 || len >= UINT32_MAX) return UINT32_MAX;
    *payload_at = (uint32_t) at;
    return (uint32_t) len;
}

/* Reads flags, base sequence and prefix: where the entries begin, or NULL. */
static const uint8_t *index_prefix(struct leaf *l, const uint8_t *p, const uint8_t *end) {
    uint64_t prefix_len;
    size_t n;
    if (p == end || *p > LEAF_HAS_SEQS) return NULL;
    l->flags = *p++;
    if ((n = varint_get(p, end, &l->base_seq)) == 0) return NULL;
    p += n;
    if ((n = varint_get(p, end, &prefix_len)) == 0) return NULL;
    p += n;
    if (prefix_len > KV_KEY_LEN_MAX || prefix_len > (size_t) (end - p)) return NULL;
    l->prefix_at = (uint32_t) (p - (const uint8_t *) l);
    l->prefix_len = (uint32_t) prefix_len;
    return p + prefix_len;
}

/* One varint: the position after it, or NULL. */
static inline const uint8_t *index_varint(const uint8_t *p, const uint8_t *end, uint64_t *v) {
    if (p < end && *p < 0x80) {
        *v = *p;
        return p + 1;
    }
    size_t n = varint_get(p, end, v);
    return n != 0 ? p + n : NULL;
}

/* Is the entry at `p` a further version of the one before it, which has an equal head? */
static bool is_same_suffix(const struct leaf *l, uint32_t before, const uint8_t *p, uint64_t suffix_len) {
    struct leaf_entry e;
    leaf_read(l, before, &e);
    return e.suffix_len == suffix_len && memcmp(e.suffix, p, suffix_len) == 0;
}

const char *leaf_index(uint8_t *memory, const struct block_header *h) {
    struct leaf *l = (struct leaf *) (void *) memory;
    *l = (struct leaf){.type = BLOCK_LEAF, .count = h->item_count};
    l->entry_at_at = (uint32_t) (sizeof(*l) + (size_t) l->count * sizeof(uint64_t));
    uint32_t *entry_at = (uint32_t *) (void *) (memory + l->entry_at_at);
    const uint8_t *p = (const uint8_t *) (entry_at + l->count), *end = p + h->raw_len;
    memset(memory + (end - memory), 0, LEAF_SLACK_LEN);
    p = index_prefix(l, p, end);
    if (p == NULL) return "a leaf with a bad prefix";
    uint64_t head = 0, suffix_len = 0, suffix_len_max = 0, tag = 0, seq = 0, seq_max = 0;
    l->is_plain = true;
    for (uint32_t i = 0; i < l->count; i++) {
        entry_at[i] = (uint32_t) (p - memory);
        if ((p = index_varint(p, end, &suffix_len)) == NULL || (p = index_varint(p, end, &tag)) == NULL)
            return "a bad entry";
        if ((l->flags & LEAF_HAS_SEQS) != 0 && (p = index_varint(p, end, &seq)) == NULL) return "a bad entry";
        uint64_t value_len = tag >> ENTRY_KIND_BITS, room = (uint64_t) (end - p);
        unsigned kind = tag & ((1u << ENTRY_KIND_BITS) - 1);
        if (suffix_len > room || value_len > room - suffix_len) return "an entry past the end of its leaf";
        if (kind < ENTRY_PUT || kind > ENTRY_LARGE || (kind == ENTRY_DELETE && value_len != 0))
            return "an entry of unknown kind";
        if (seq > UINT64_MAX - l->base_seq) return "an entry with an impossible sequence";
        if (suffix_len + l->prefix_len == 0) return "an empty key";
        uint64_t next = head_of(p, suffix_len);
        if (next < head) return "entries out of order";
        if (kind != ENTRY_PUT && kind != ENTRY_LARGE) l->is_plain = false;
        if (next == head && i > 0 && l->is_plain && is_same_suffix(l, i - 1, p, suffix_len)) l->is_plain = false;
        if (seq > seq_max) seq_max = seq;
        l->heads[i] = head = next;
        if (suffix_len > suffix_len_max) suffix_len_max = suffix_len;
        p += suffix_len + value_len;
    }
    if (p != end) return "bytes after the last entry";
    if (suffix_len_max + l->prefix_len > KV_KEY_LEN_MAX) return "a key that is too long";
    l->key_len_max = (uint32_t) (suffix_len_max + l->prefix_len);
    l->max_seq = l->base_seq + seq_max;
    return NULL;
}

/* ---- searching ---- */

/* Halves without a branch that could be mispredicted. */
uint32_t heads_below(const uint64_t *heads, uint32_t n, uint64_t h) {
    if (n == 0) return 0;
    const uint64_t *base = heads;
    while (n > 1) {
        uint32_t half = n / 2;
        base = base[half - 1] < h ? base + half : base;
        n -= half;
    }
    return (uint32_t) (base - heads) + (*base < h);
}

int leaf_compare_key(const struct leaf *l, const struct leaf_entry *e, struct slice key) {
    struct slice prefix = {(const uint8_t *) l + l->prefix_at, l->prefix_len};
    size_t n = key.len < prefix.len ? key.len : prefix.len;
    int c = memcmp(prefix.p, key.p, n);
    if (c != 0) return c;
    if (key.len < prefix.len) return 1;
    return slice_compare((struct slice){e->suffix, e->suffix_len}, (struct slice){key.p + n, key.len - n});
}

uint32_t leaf_search(const struct leaf *l, struct slice key, uint64_t seq) {
    const uint8_t *prefix = (const uint8_t *) l + l->prefix_at;
    if (key.len == 0) return 0;
    if (l->prefix_len != 0) {
        int c = memcmp(key.p, prefix, key.len < l->prefix_len ? key.len : l->prefix_len);
        if (c != 0) return c < 0 ? 0 : l->count;
        if (key.len < l->prefix_len) return 0;
    }
    struct slice rest = {key.p + l->prefix_len, key.len - l->prefix_len};
    uint64_t h = head_of(rest.p, rest.len);
    uint32_t lo = heads_below(l->heads, l->count, h);
    if (lo == l->count || l->heads[lo] != h) return lo;
    uint32_t hi = lo + 1;
    if (hi < l->count && l->heads[hi] == h) hi = heads_up_to(l->heads, l->count, h);
    while (lo < hi) { /* among equal heads */
        uint32_t mid = lo + (hi - lo) / 2;
        struct leaf_entry e;
        leaf_read(l, mid, &e);
        if (entry_compare((struct slice){e.suffix, e.suffix_len}, e.seq, rest, seq) < 0) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

uint32_t leaf_place(const struct leaf *l, struct slice key) {
    if (key.len < l->prefix_len || memcmp(key.p, (const uint8_t *) l + l->prefix_at, l->prefix_len) != 0)
        return l->count;
    uint64_t h = head_of(key.p + l->prefix_len, key.len - l->prefix_len);
    uint32_t idx = heads_below(l->heads, l->count, h);
    return idx < l->count && l->heads[idx] == h ? idx : l->count;
}

bool leaf_get(const struct leaf *l, uint32_t place, struct slice key, uint64_t seq, struct leaf_entry *e) {
    if (place == l->count) return false;
    bool is_alone = place + 1 == l->count || l->heads[place + 1] != l->heads[place];
    if (!is_alone) place = leaf_search(l, key, seq);
    if (place == l->count) return false;
    leaf_read(l, place, e);
    return e->suffix_len + l->prefix_len == key.len && e->seq <= seq &&
        memcmp(e->suffix, key.p + l->prefix_len, e->suffix_len) == 0;
}
