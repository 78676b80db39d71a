/* Open segments: loading blocks, point reads, estimates; see segment.h and segment_file.h. */
#include <assert.h>

#include "base/hash.h"
#include "base/varint.h"
#include "storage/segment_file.h"

#define PREFETCH_LINES 6u /* of an entry: documents are some hundreds of bytes */
#define FILTER_SEED 0x656c6d6f66696c74u /* of the hash of a user key */

status segment_damaged(const struct segment *s, uint64_t at, const char *what, struct err *err) {
    return RAISE(err, ST_CORRUPT, "segment %llu is damaged at %llu: %s", (unsigned long long) s->meta.id,
                 (unsigned long long) at, what);
}

/* ---- bytes ---- */

status segment_read(struct segment *s, uint64_t at, void *p, uint32_t len, struct err *err) {
    uint8_t *to = p;
    uint64_t start = 0; /* of the extent, in the segment */
    if (at > s->meta.file_len || len > s->meta.file_len - at)
        return segment_damaged(s, at, "a reference past its end", err);
    for (uint32_t i = 0; i < s->meta.extent_count && len > 0; i++) {
        struct extent e = s->meta.extents[i];
        if (at < start + e.len) {
            uint64_t n = start + e.len - at < len ? start + e.len - at : len;
            TRY(store_read(s->store, e.at + (at - start), to, (size_t) n, err));
            to += n;
            at += n;
            len -= (uint32_t) n;
        }
        start += e.len;
    }
    assert(len == 0);
    return ST_OK;
}

void segment_will_need(struct segment *s, uint64_t at, uint64_t len) {
    uint64_t start = 0;
    if (at >= s->meta.file_len) return;
    if (len > s->meta.file_len - at) len = s->meta.file_len - at;
    for (uint32_t i = 0; i < s->meta.extent_count && len > 0; i++) {
        struct extent e = s->meta.extents[i];
        if (at < start + e.len) {
            uint64_t n = start + e.len - at < len ? start + e.len - at : len;
            store_will_need(s->store, e.at + (at - start), n);
            at += n;
            len -= n;
        }
        start += e.len;
    }
}

/* ---- blocks ---- */

/* Reads a whole block and verifies it. *out is ref->len bytes of memory for the caller to free. */
static status read_raw(struct segment *s, const struct block_ref *ref, uint8_t **out, struct err *err) {
    if (ref->at > s->meta.file_len || ref->len > s->meta.file_len - ref->at) {
        return segment_damaged(s, ref->at, "a reference past its end", err);
    }
    uint8_t *raw = mem_alloc(s->mem, ref->len);
    if (raw == NULL) return RAISE(err, ST_NOMEM, "out of memory for a block of %u bytes", ref->len);
    status st = segment_read(s, ref->at, raw, ref->len, err);
    if (st != ST_OK) {
        mem_free(s->mem, raw, ref->len);
        return st;
    }
    *out = raw;
    return ST_OK;
}

static status verify(struct segment *s, const struct block_ref *ref, enum block_type type, const uint8_t *raw,
                     struct block_header *h, struct err *err) {
    const char *fault = block_verify(raw, ref, s->meta.id, type, h);
    return fault == NULL ? ST_OK : segment_damaged(s, ref->at, fault, err);
}

status segment_read_payload(struct segment *s, const struct block_ref *ref, enum block_type type, struct buf *out,
                            uint32_t *item_count, struct err *err) {
    status st = ST_OK;
    struct block_header h;
    uint8_t *raw = NULL;
    TRY_OUT(read_raw(s, ref, &raw, err));
    TRY_OUT(verify(s, ref, type, raw, &h, err));
    uint8_t *p = buf_extend(out, h.raw_len);
    if (p == NULL) {
        st = RAISE(err, ST_NOMEM, "out of memory for a block of %u bytes", h.raw_len);
        goto out;
    }
    TRY_OUT(block_unpack(s->mem, raw, &h, p, err));
    *item_count = h.item_count;
out:
    if (raw != NULL) mem_free(s->mem, raw, ref->len);
    return st;
}

status segment_make_block(struct segment *s, const struct block_ref *ref, enum block_type type, const uint8_t *raw,
                          struct cached_block **out, struct err *err) {
    struct block_header h;
    uint32_t payload_at = 0;
    TRY(verify(s, ref, type, raw, &h, err));
    uint32_t len = type == BLOCK_LEAF ? leaf_memory_len(&h, &payload_at) : inner_memory_len(&h, &payload_at);
    if (len == UINT32_MAX) return segment_damaged(s, ref->at, "an impossible number of items", err);
    struct cached_block *b = cache_new_block(s->cache, len);
    if (b == NULL) return RAISE(err, ST_NOMEM, "out of memory for a block of %u bytes", len);
    status st = block_unpack(s->mem, raw, &h, b->p + payload_at, err);
    if (st == ST_OK) {
        const char *fault = type == BLOCK_LEAF ? leaf_index(b->p, &h) : inner_index(b->p, &h, ref->at);
        if (fault != NULL) st = segment_damaged(s, ref->at, fault, err);
    }
    if (st != ST_OK) {
        cache_discard(s->cache, b);
        return st;
    }
    *out = b;
    return ST_OK;
}

status segment_pin_cached(struct segment *s, const struct block_ref *ref, enum block_type type,
                          struct cached_block **out, struct err *err) {
    struct cached_block *b = cache_pin(s->cache, s->meta.id, ref->at);
    if (b != NULL && b->p[0] != (uint8_t) type) {
        cache_unpin(s->cache, b);
        return segment_damaged(s, ref->at, "a block of another type", err);
    }
    *out = b;
    return ST_OK;
}

struct cached_block *segment_publish(struct segment *s, const struct block_ref *ref, enum block_type type,
                                     struct cached_block *b) {
    struct cached_block *kept =
        cache_insert(s->cache, s->meta.id, ref->at, b, type == BLOCK_LEAF ? CACHE_LEAF : CACHE_INNER);
    assert(kept->p[0] == (uint8_t) type || kept != b);
    return kept;
}

status segment_load(struct segment *s, const struct block_ref *ref, enum block_type type, bool fill_cache,
                    struct cached_block **out, struct err *err) {
    struct cached_block *b = NULL;
    TRY(segment_pin_cached(s, ref, type, &b, err));
    if (b == NULL) {
        uint8_t *raw;
        TRY(read_raw(s, ref, &raw, err));
        status st = segment_make_block(s, ref, type, raw, &b, err);
        mem_free(s->mem, raw, ref->len);
        if (st != ST_OK) return st;
        if (fill_cache) b = segment_publish(s, ref, type, b);
    }
    *out = b;
    return ST_OK;
}

status segment_root(struct segment *s, struct cached_block **out, struct err *err) {
    struct cached_block *b = atomic_load_explicit(&s->root, memory_order_acquire), *none = NULL;
    if (b == NULL) {
        TRY(segment_load(s, &s->meta.root, segment_root_type(s), true, &b, err));
        if (!atomic_compare_exchange_strong(&s->root, &none, b)) { /* somebody was faster */
            cache_unpin(s->cache, b);
            b = none;
        }
    }
    *out = b;
    return ST_OK;
}

/* ---- opening ---- */

static bool ref_is_sound(const struct segment_meta *m, const struct block_ref *ref) {
    if (ref->len == 0) return true;
    return ref->len >= BLOCK_HEADER_LEN && ref->at <= m->file_len && ref->len <= m->file_len - ref->at;
}

static status check_meta(const struct segment *s, struct err *err) {
    const struct segment_meta *m = &s->meta;
    uint64_t room = 0;
    if (m->extent_count > SEGMENT_EXTENTS_MAX) return segment_damaged(s, 0, "too many extents", err);
    for (uint32_t i = 0; i < m->extent_count; i++) {
        if (m->extents[i].len > UINT64_MAX / 2 - room) return segment_damaged(s, 0, "impossible extents", err);
        room += m->extents[i].len;
    }
    if (m->file_len > room) return segment_damaged(s, 0, "it is longer than its extents", err);
    if (m->height > SEGMENT_HEIGHT_MAX || (m->height == 0) != (m->root.len == 0) ||
        (m->height == 0) != (m->entry_count == 0)) {
        return segment_damaged(s, 0, "impossible height", err);
    }
    const struct block_ref *refs[] = {&m->root, &m->filter, &m->range_deletes, &m->large_list};
    for (size_t i = 0; i < sizeof(refs) / sizeof(refs[0]); i++) {
        if (!ref_is_sound(m, refs[i])) return segment_damaged(s, refs[i]->at, "a reference past its end", err);
    }
    return ST_OK;
}

static status copy_meta(struct segment *s, const struct segment_meta *from, struct err *err) {
    struct segment_meta *m = &s->meta;
    *m = *from;
    m->min_key.p = mem_copy(s->mem, from->min_key.p, from->min_key.len);
    m->max_key.p = mem_copy(s->mem, from->max_key.p, from->max_key.len);
    m->extents =
        from->extent_count != 0 ? mem_copy(s->mem, from->extents, from->extent_count * sizeof(struct extent)) : NULL;
    if (m->min_key.p != NULL && m->max_key.p != NULL && (m->extents != NULL || m->extent_count == 0)) return ST_OK;
    return RAISE(err, ST_NOMEM, "out of memory for opening a segment");
}

/* The filter lies in a cache block that stays pinned: so it counts, and pushes out others, as cache. */
static status open_filter(struct segment *s, struct err *err) {
    const struct block_ref *ref = &s->meta.filter;
    struct block_header h;
    struct cached_block *b = NULL;
    uint8_t *raw = NULL;
    status st = ST_OK;
    if (ref->len == 0) return ST_OK;
    TRY_OUT(read_raw(s, ref, &raw, err));
    TRY_OUT(verify(s, ref, BLOCK_FILTER, raw, &h, err));
    b = cache_new_block(s->cache, h.raw_len);
    if (b == NULL) {
        st = RAISE(err, ST_NOMEM, "out of memory for a filter of %u bytes", h.raw_len);
        goto out;
    }
    TRY_OUT(block_unpack(s->mem, raw, &h, b->p, err));
    const char *fault = filter_open(b->p, h.raw_len, &s->filter);
    if (fault != NULL) {
        st = segment_damaged(s, ref->at, fault, err);
        goto out;
    }
    s->filter_pin = b;
    b = NULL;
out:
    if (b != NULL) cache_discard(s->cache, b);
    if (raw != NULL) mem_free(s->mem, raw, ref->len);
    return st;
}

static status open_range_deletes(struct segment *s, struct err *err) {
    struct buf payload;
    uint32_t count;
    status st = ST_OK;
    if (s->meta.range_deletes.len == 0) return ST_OK;
    buf_init(&payload, s->mem);
    payload.cap_max = (size_t) 2 * BLOCK_PAYLOAD_LEN_MAX;
    TRY_OUT(segment_read_payload(s, &s->meta.range_deletes, BLOCK_RANGE_DELETES, &payload, &count, err));
    TRY_OUT(fragments_decode(s->mem, buf_slice(&payload), &s->range_deletes, err));
out:
    buf_release(&payload);
    return st;
}

status segment_open(struct store *store, struct cache *cache, const struct mem *mem, const struct segment_meta *meta,
                    struct segment **out, struct err *err) {
    status st = ST_OK;
    struct segment *s = mem_new(mem, struct segment);
    if (s == NULL) return RAISE(err, ST_NOMEM, "out of memory for opening a segment");
    atomic_init(&s->refs, 1);
    s->store = store;
    s->cache = cache;
    s->mem = mem;
    TRY_OUT(copy_meta(s, meta, err));
    TRY_OUT(check_meta(s, err));
    TRY_OUT(open_filter(s, err));
    TRY_OUT(open_range_deletes(s, err));
    *out = s;
    s = NULL;
out:
    segment_unref(s);
    return st;
}

struct segment *segment_ref(struct segment *s) {
    (void) atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void segment_unref(struct segment *s) {
    if (s == NULL || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1) return;
    cache_unpin(s->cache, atomic_load(&s->root));
    cache_unpin(s->cache, s->filter_pin);
    if (atomic_load(&s->is_dropped)) cache_forget_segment(s->cache, s->meta.id);
    fragments_unref(s->range_deletes);
    segment_meta_release(s->mem, &s->meta);
    mem_delete(s->mem, s);
}

void segment_drop(struct segment *s) { atomic_store(&s->is_dropped, true); }

const struct segment_meta *segment_meta(const struct segment *s) { return &s->meta; }
struct fragments *segment_range_deletes(struct segment *s) {
    return s->range_deletes;
}

/* ---- point reads ---- */

uint64_t segment_filter_hash(struct slice key) { return hash64(key.p, key.len, FILTER_SEED); }

bool segment_may_contain_hash(const struct segment *s, uint64_t hash) {
    return s->meta.height != 0 && filter_may_contain(&s->filter, hash);
}

bool segment_may_contain(const struct segment *s, struct slice key) {
    return segment_may_contain_hash(s, segment_filter_hash(key));
}

/* Goes down to the parent of the leaf that (key, seq) leads to: pinned, but for the root. The segment has inner blocks. */
static status find_parent(struct segment *s, struct slice key, uint64_t seq, struct cached_block **out,
                          struct err *err) {
    struct cached_block *b;
    TRY(segment_root(s, &b, err));
    for (uint32_t height = s->meta.height; height > 2; height--) {
        const struct inner *n = block_inner(b);
        struct block_ref ref = inner_ref(n, inner_search(n, key, seq));
        struct cached_block *child;
        status st = segment_load(s, &ref, BLOCK_INNER, true, &child, err);
        if (height < s->meta.height) cache_unpin(s->cache, b);
        if (st != ST_OK) return st;
        b = child;
    }
    *out = b;
    return ST_OK;
}

static void let_parent_go(struct segment *s, struct cached_block *parent) {
    if (s->meta.height > 2) cache_unpin(s->cache, parent); /* the root is not ours */
}

/* Pins the leaf that (key, seq) leads to. */
static status find_leaf(struct segment *s, struct slice key, uint64_t seq, struct cached_block **out, struct err *err) {
    struct cached_block *b;
    if (s->meta.height == 1) {
        TRY(segment_root(s, &b, err));
        cache_repin(b);
        *out = b;
        return ST_OK;
    }
    TRY(find_parent(s, key, seq, &b, err));
    struct block_ref ref = inner_ref(block_inner(b), inner_search(block_inner(b), key, seq));
    status st = segment_load(s, &ref, BLOCK_LEAF, true, out, err);
    let_parent_go(s, b);
    return st;
}

void segment_prefetch_filter(const struct segment *s, uint64_t hash) {
    if (s->filter.lines != NULL) __builtin_prefetch(filter_line(&s->filter, hash));
}

/* The child of way->parent for a key not smaller than the one before. False when another parent may have it: the last child's keys have no
 * upper bound here. */
static bool goes_on(const struct segment *s, const struct segment_way *way, struct slice key, uint64_t seq,
                    uint32_t *idx) {
    if (way->parent == NULL) return false;
    const struct inner *n = block_inner(way->parent);
    *idx = inner_search_from(n, way->idx, key, seq);
    return *idx + 1 < n->count || s->meta.height == 2;
}

status segment_find_leaf(struct segment *s, struct segment_way *way, struct slice key, uint64_t snapshot,
                         struct cached_block **leaf, struct err *err) {
    uint32_t idx;
    *leaf = NULL;
    if (s->meta.height == 0 || key.len == 0) return ST_OK;
    if (s->meta.height == 1) return find_leaf(s, key, snapshot, leaf, err);
    if (!goes_on(s, way, key, snapshot, &idx)) {
        segment_leave(s, way);
        TRY(find_parent(s, key, snapshot, &way->parent, err));
        idx = inner_search(block_inner(way->parent), key, snapshot);
    } else if (way->leaf != NULL && idx == way->idx) {
        cache_repin(way->leaf);
        *leaf = way->leaf;
        return ST_OK;
    }
    struct block_ref ref = inner_ref(block_inner(way->parent), idx);
    way->idx = idx;
    way->leaf = NULL;
    TRY(segment_load(s, &ref, BLOCK_LEAF, true, leaf, err));
    way->leaf = *leaf;
    return ST_OK;
}

void segment_leave(struct segment *s, struct segment_way *way) {
    if (way->parent != NULL) let_parent_go(s, way->parent);
    *way = (struct segment_way){0};
}

uint32_t segment_place_in(const struct cached_block *leaf, struct slice key) {
    const struct leaf *l = block_leaf(leaf);
    uint32_t place = leaf_place(l, key);
    if (place == l->count) return place;
    const uint8_t *at = (const uint8_t *) l + leaf_entry_at(l)[place];
    for (uint32_t line = 0; line < PREFETCH_LINES; line++) __builtin_prefetch(at + line * 64);
    return place;
}

status segment_get_in(const struct cached_block *leaf, uint32_t place, struct slice key, uint64_t snapshot,
                      struct entry *out) {
    struct leaf_entry e;
    if (!leaf_get(block_leaf(leaf), place, key, snapshot, &e)) return ST_NOT_FOUND;
    *out = (struct entry){key, {e.suffix + e.suffix_len, e.value_len}, e.seq, e.kind};
    return ST_OK;
}

status segment_get(struct segment *s, struct slice key, uint64_t snapshot, struct entry *out, struct cached_block **pin,
                   struct err *err) {
    struct cached_block *b;
    if (s->meta.height == 0 || key.len == 0) return ST_NOT_FOUND;
    TRY(find_leaf(s, key, snapshot, &b, err));
    status st = segment_get_in(b, leaf_place(block_leaf(b), key), key, snapshot, out);
    if (st == ST_OK) *pin = b;
    else cache_unpin(s->cache, b);
    return st;
}

/* ---- estimates ---- */

struct rank {
    uint64_t entries, bytes;
};

/* How much of child idx lies before key, in 1/1024, judged by the separators on both sides. */
static uint64_t interpolate(const struct inner *n, uint32_t idx, struct slice key) {
    struct slice prefix = inner_prefix(n);
    uint64_t seq;
    if (idx == 0 || idx + 1 >= n->count || !slice_starts_with(key, prefix)) return 512;
    struct slice a = inner_separator(n, idx, &seq), b = inner_separator(n, idx + 1, &seq);
    struct slice rest = {key.p + prefix.len, key.len - prefix.len};
    size_t same = common_prefix_len(a, b);
    if (rest.len < same) return 0;
    uint64_t lo = head_of(a.p + same, a.len - same), hi = head_of(b.p + same, b.len - same);
    uint64_t at = head_of(rest.p + same, rest.len - same);
    if (hi <= lo) return 512;
    if (at <= lo) return 0;
    if (at >= hi) return 1024;
    return (uint64_t) (((unsigned __int128) (at - lo) << 10) / (hi - lo));
}

/* Adds the entries of a leaf that lie before key: exactly, as the leaf is in memory. */
static void rank_in_leaf(const struct leaf *l, struct slice key, uint64_t data_len, struct rank *r) {
    uint32_t idx = leaf_search(l, key, SEQ_MAX);
    r->entries += idx;
    r->bytes += data_len * idx / l->count;
}

/* How many entries and bytes lie before key. A leaf is looked into only when it is in the cache. */
static status find_rank(struct segment *s, struct slice key, struct rank *out, struct err *err) {
    struct rank r = {0, 0};
    struct cached_block *b, *child = NULL;
    status st = ST_OK;
    TRY(segment_root(s, &b, err));
    if (s->meta.height == 1) rank_in_leaf(block_leaf(b), key, s->meta.data_len, &r);
    for (uint32_t height = s->meta.height; height > 1 && st == ST_OK; height--) {
        const struct inner *n = block_inner(b);
        uint32_t idx = inner_search(n, key, SEQ_MAX);
        struct block_ref ref = inner_ref(n, idx);
        r.entries += n->children[idx].entries_before;
        r.bytes += n->children[idx].bytes_before;
        child = NULL;
        st = height > 2 ? segment_load(s, &ref, BLOCK_INNER, true, &child, err)
                        : segment_pin_cached(s, &ref, BLOCK_LEAF, &child, err);
        if (st == ST_OK && height == 2 && child != NULL) rank_in_leaf(block_leaf(child), key, inner_bytes(n, idx), &r);
        if (st == ST_OK && height == 2 && child == NULL) {
            uint64_t part = interpolate(n, idx, key);
            r.entries += (uint64_t) ((unsigned __int128) inner_entries(n, idx) * part >> 10);
            r.bytes += (uint64_t) ((unsigned __int128) inner_bytes(n, idx) * part >> 10);
        }
        if (height < s->meta.height) cache_unpin(s->cache, b);
        b = child;
    }
    if (s->meta.height > 1) cache_unpin(s->cache, child);
    *out = r;
    return st;
}

status segment_estimate(struct segment *s, struct slice lo, struct slice hi, uint64_t *entries, uint64_t *bytes,
                        struct err *err) {
    struct rank from = {0, 0}, to = {s->meta.entry_count, s->meta.data_len};
    if (s->meta.height != 0 && lo.len != 0) TRY(find_rank(s, lo, &from, err));
    if (s->meta.height != 0 && hi.len != 0) TRY(find_rank(s, hi, &to, err));
    *entries = to.entries > from.entries ? to.entries - from.entries : 0;
    *bytes = to.bytes > from.bytes ? to.bytes - from.bytes : 0;
    return ST_OK;
}

/* ---- large values ---- */

status segment_large_extents(struct segment *s, status (*visit)(void *ctx, struct extent e), void *ctx,
                             struct err *err) {
    struct buf list;
    uint32_t count;
    status st = ST_OK;
    if (s->meta.large_list.len == 0) return ST_OK;
    buf_init(&list, s->mem);
    list.cap_max = (size_t) 2 * BLOCK_PAYLOAD_LEN_MAX;
    TRY_OUT(segment_read_payload(s, &s->meta.large_list, BLOCK_LARGE_LIST, &list, &count, err));
    for (const uint8_t *p = list.p, *end = list.p + list.len; p < end;) {
        uint64_t at, len;
        size_t n = varint_get(p, end, &at), m = n != 0 ? varint_get(p + n, end, &len) : 0;
        p += n + m;
        if (m == 0 || at > INT64_MAX / UNIT_LEN || len == 0 || len > INT64_MAX / UNIT_LEN - at) {
            st = segment_damaged(s, s->meta.large_list.at, "a bad list of large values", err);
            goto out;
        }
        TRY_OUT(visit(ctx, (struct extent){at * UNIT_LEN, len * UNIT_LEN}));
    }
out:
    buf_release(&list);
    return st;
}
