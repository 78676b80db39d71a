/* Writing a segment: entries become leaves, leaves get parents, all streams out in large writes.
 *
 *   entries -> leaf -> packed block -> out (WRITE_LEN) -> extents
 *                \-> levels[0] -> levels[1] -> ...      inner blocks, each written when it is full
 *
 * The blocks lie in the order in which they are finished: leaves in order, a parent after its children, then filter, range deletes and the list of
 * large extents. Zeros follow to the end of the last unit.
 * Extents are taken as the segment grows, half its length at a time, so that SEGMENT_EXTENTS_MAX suffice at any length; the unused tail is forfeited.
 * After a failure only abort (or finish, which answers the failure again) is left. */
#include <assert.h>

#include "base/hash.h"
#include "base/varint.h"
#include "storage/filter.h"
#include "storage/inner.h"
#include "storage/kv.h"
#include "storage/leaf.h"

#define LEAF_LEN 16384u
#define LEAF_LEN_MAX (16u << 20)
#define FILTER_BITS_PER_KEY 10u
#define WRITE_LEN ((size_t) 512 * 1024)
#define STEP_LEN ((uint64_t) 1024 * 1024) /* the least space taken at once */

struct segment_writer {
    struct store *store;
    const struct mem *mem;
    struct segment_opts opts;
    status st;                /* the first failure */
    struct segment_meta meta; /* id, level, counts and references so far */
    struct block_packer packer;
    struct leaf_builder leaf; /* not empty once an entry was added: its last entry is the last of all */
    struct inner_builder levels[SEGMENT_HEIGHT_MAX];
    uint32_t level_count; /* that have had a child */
    struct buf separator; /* the key before the leaf that is being built */
    uint64_t separator_seq;
    struct buf payload; /* of the block that is being packed */
    struct buf first_key;
    uint64_t *hashes; /* of distinct keys, for the filter */
    size_t hash_count, hash_cap;
    struct buf large_list;
    struct fragments *range_deletes;
    struct buf out;       /* packed, not yet written */
    uint64_t written_len; /* in the extents; the segment so far is this and `out` */
    struct extent extents[SEGMENT_EXTENTS_MAX];
    uint32_t extent_count;
    uint64_t room_len; /* of all extents */
};

static uint64_t min_u64(uint64_t a, uint64_t b) { return a < b ? a : b; }
static uint64_t round_to_units(uint64_t len) { return (len + UNIT_LEN - 1) / UNIT_LEN * UNIT_LEN; }

status segment_writer_new(struct store *store, const struct mem *mem, const struct segment_opts *opts, uint64_t id,
                          uint32_t level, struct segment_writer **out, struct err *err) {
    struct segment_writer *w = mem_new(mem, struct segment_writer);
    if (w == NULL) return RAISE(err, ST_NOMEM, "out of memory for writing a segment");
    w->store = store;
    w->mem = mem;
    w->opts = opts != NULL
        ? *opts
        : (struct segment_opts){.compression = COMPRESS_LZ4, .filter_bits_per_key = FILTER_BITS_PER_KEY};
    if (w->opts.leaf_len == 0) w->opts.leaf_len = LEAF_LEN;
    if (w->opts.leaf_len > LEAF_LEN_MAX) w->opts.leaf_len = LEAF_LEN_MAX;
    w->meta = (struct segment_meta){.id = id, .level = level, .min_seq = SEQ_MAX};
    w->separator_seq = SEQ_MAX;
    block_packer_init(&w->packer, mem, w->opts.compression);
    leaf_builder_init(&w->leaf, mem);
    for (uint32_t i = 0; i < SEGMENT_HEIGHT_MAX; i++) inner_builder_init(&w->levels[i], mem);
    struct buf *bufs[] = {&w->separator, &w->payload, &w->first_key, &w->large_list, &w->out};
    for (size_t i = 0; i < sizeof(bufs) / sizeof(bufs[0]); i++) buf_init(bufs[i], mem);
    *out = w;
    return ST_OK;
}

static void free_writer(struct segment_writer *w) {
    block_packer_release(&w->packer);
    leaf_builder_release(&w->leaf);
    for (uint32_t i = 0; i < SEGMENT_HEIGHT_MAX; i++) inner_builder_release(&w->levels[i]);
    struct buf *bufs[] = {&w->separator, &w->payload, &w->first_key, &w->large_list, &w->out};
    for (size_t i = 0; i < sizeof(bufs) / sizeof(bufs[0]); i++) buf_release(bufs[i]);
    if (w->hashes != NULL) mem_free(w->mem, w->hashes, w->hash_cap * sizeof(*w->hashes));
    fragments_unref(w->range_deletes);
    mem_delete(w->mem, w);
}

void segment_writer_abort(struct segment_writer *w) {
    if (w == NULL) return;
    if (w->extent_count > 0) store_forfeit(w->store, w->extents, w->extent_count);
    free_writer(w);
}

uint64_t segment_writer_len(const struct segment_writer *w) { return w->written_len + w->out.len; }
uint64_t segment_writer_entry_count(const struct segment_writer *w) { return w->meta.entry_count; }

/* ---- space and output ---- */

/* Puts new extents behind the old ones, as one where they touch. */
static void take_extents(struct segment_writer *w, const struct extent *extents, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        struct extent *last = w->extent_count > 0 ? &w->extents[w->extent_count - 1] : NULL;
        if (last != NULL && last->at + last->len == extents[i].at) {
            last->len += extents[i].len;
        } else {
            assert(w->extent_count < SEGMENT_EXTENTS_MAX);
            w->extents[w->extent_count++] = extents[i];
        }
        w->room_len += extents[i].len;
    }
}

/* Makes the extents at least need_len long. Fewer pieces are accepted the fewer are left. */
static status extend_room(struct segment_writer *w, uint64_t need_len, struct err *err) {
    while (w->room_len < need_len) {
        struct extent got[4];
        uint32_t left = SEGMENT_EXTENTS_MAX - w->extent_count, count = 0;
        if (left == 0) return RAISE(err, ST_NO_SPACE, "free space is in too many pieces for a segment");
        uint32_t pieces_max = left > 40 ? 4 : left > 8 ? 2 : 1;
        uint64_t need = round_to_units(need_len - w->room_len), step = round_to_units(w->room_len / 2);
        if (step < STEP_LEN) step = STEP_LEN;
        if (step < need) step = need;
        struct err first = ERR_INIT;
        status st = store_alloc(w->store, step, pieces_max, got, &count, &first);
        if (st == ST_NO_SPACE && step > need) {
            st = store_alloc(w->store, need, pieces_max, got, &count, err);
        } else if (st != ST_OK && err != NULL) {
            *err = first;
        }
        TRY(st);
        take_extents(w, got, count);
    }
    return ST_OK;
}

/* Writes the first `len` bytes of `out` to the extents. */
static status flush(struct segment_writer *w, size_t len, struct err *err) {
    TRY(extend_room(w, w->written_len + len, err));
    uint64_t start = 0; /* of the extent, in the segment */
    size_t done = 0;
    for (uint32_t i = 0; i < w->extent_count && done < len; i++) {
        struct extent e = w->extents[i];
        uint64_t at = w->written_len + done;
        if (at < start + e.len) {
            size_t n = (size_t) min_u64(len - done, start + e.len - at);
            TRY(store_write(w->store, e.at + (at - start), w->out.p + done, n, err));
            done += n;
        }
        start += e.len;
    }
    assert(done == len);
    w->written_len += len;
    memmove(w->out.p, w->out.p + len, w->out.len - len);
    w->out.len -= len;
    return ST_OK;
}

static status append_out(struct segment_writer *w, struct slice bytes, struct err *err) {
    if (w->out.cap == 0 && !buf_reserve(&w->out, WRITE_LEN))
        return RAISE(err, ST_NOMEM, "out of memory for writing a segment");
    while (bytes.len > 0) {
        size_t n = (size_t) min_u64(bytes.len, WRITE_LEN - w->out.len);
        (void) buf_append(&w->out, bytes.p, n);
        bytes.p += n;
        bytes.len -= n;
        if (w->out.len == WRITE_LEN) TRY(flush(w, WRITE_LEN, err));
    }
    return ST_OK;
}

/* Packs w->payload and sends it on its way. */
static status write_block(struct segment_writer *w, enum block_type type, uint32_t item_count, struct block_ref *ref,
                          struct err *err) {
    struct slice block;
    uint64_t at = segment_writer_len(w);
    TRY(block_pack(&w->packer, type, item_count, buf_slice(&w->payload), w->meta.id, ref, &block, err));
    ref->at = at;
    return append_out(w, block, err);
}

/* ---- the tree ---- */

static status add_child(struct segment_writer *w, uint32_t level, const struct separator *sep,
                        const struct block_ref *ref, uint64_t entry_count, uint64_t data_len, struct err *err);

/* Writes the inner block that is being built at `level` and gives it to the level above. */
static status close_inner(struct segment_writer *w, uint32_t level, struct err *err) {
    struct inner_builder *b = &w->levels[level];
    struct block_ref ref;
    TRY(inner_builder_encode(b, &w->payload, err));
    TRY(write_block(w, BLOCK_INNER, b->count, &ref, err));
    struct separator sep = inner_builder_first(b);
    TRY(add_child(w, level + 1, &sep, &ref, b->entry_count, b->data_len, err));
    inner_builder_clear(b);
    return ST_OK;
}

static status add_child(struct segment_writer *w, uint32_t level, const struct separator *sep,
                        const struct block_ref *ref, uint64_t entry_count, uint64_t data_len, struct err *err) {
    if (level + 1 >= SEGMENT_HEIGHT_MAX) return RAISE(err, ST_TOO_LARGE, "a segment has grown too high");
    if (inner_builder_is_full(&w->levels[level])) TRY(close_inner(w, level, err));
    if (level >= w->level_count) w->level_count = level + 1;
    return inner_builder_add(&w->levels[level], sep, ref, entry_count, data_len, err);
}

/* Writes the leaf that is being built. `next` is the entry that begins the next one, NULL at the end. */
static status close_leaf(struct segment_writer *w, const struct entry *next, struct err *err) {
    struct leaf_builder *b = &w->leaf;
    struct block_ref ref;
    struct separator sep = {buf_slice(&w->separator), w->separator_seq};
    TRY(leaf_builder_encode(b, &w->payload, err));
    TRY(write_block(w, BLOCK_LEAF, b->count, &ref, err));
    TRY(add_child(w, 0, &sep, &ref, b->count, b->data_len, err));
    if (next != NULL) {
        sep = separator_between(leaf_builder_key(b, b->count - 1), b->items[b->count - 1].seq, next->key);
        buf_clear(&w->separator);
        if (!buf_append_slice(&w->separator, sep.key)) return RAISE(err, ST_NOMEM, "out of memory for a separator");
        w->separator_seq = sep.seq;
        leaf_builder_clear(b);
    }
    return ST_OK;
}

/* Closes all levels: the one block that is left is the root. */
static status close_tree(struct segment_writer *w, struct err *err) {
    TRY(close_leaf(w, NULL, err));
    for (uint32_t level = 0;; level++) {
        struct inner_builder *b = &w->levels[level];
        if (level + 1 == w->level_count && b->count == 1) {
            w->meta.root = b->items[0].ref;
            w->meta.height = level + 1;
            return ST_OK;
        }
        TRY(close_inner(w, level, err));
    }
}

/* ---- entries ---- */

static status check_entry(const struct segment_writer *w, const struct entry *e, struct err *err) {
    if (e->key.len == 0 || e->key.len > KV_KEY_LEN_MAX || e->value.len > VALUE_LEN_MAX || e->kind < ENTRY_PUT ||
        e->kind > ENTRY_LARGE || (e->kind == ENTRY_DELETE && e->value.len != 0)) {
        return RAISE(err, ST_INVALID, "an entry that a segment cannot hold");
    }
    uint32_t n = w->leaf.count;
    if (n > 0 && entry_compare(leaf_builder_key(&w->leaf, n - 1), w->leaf.items[n - 1].seq, e->key, e->seq) >= 0) {
        return RAISE(err, ST_INVALID, "entries of a segment are out of order");
    }
    return ST_OK;
}

static status add_hash(struct segment_writer *w, struct slice key, struct err *err) {
    uint64_t hash = segment_filter_hash(key);
    if (w->hash_count > 0 && w->hashes[w->hash_count - 1] == hash) return ST_OK; /* another version */
    void *hashes = w->hashes;
    if (!mem_grow(w->mem, &hashes, &w->hash_cap, w->hash_count + 1, sizeof(*w->hashes))) {
        return RAISE(err, ST_NOMEM, "out of memory for a filter");
    }
    w->hashes = hashes;
    w->hashes[w->hash_count++] = hash;
    return ST_OK;
}

static status own_large(struct segment_writer *w, struct slice value, struct err *err) {
    struct large_ref ref;
    TRY(large_ref_decode(value, &ref, err));
    for (uint32_t i = 0; i < ref.extent_count; i++) {
        (void) buf_append_varint(&w->large_list, ref.extents[i].at / UNIT_LEN);
        (void) buf_append_varint(&w->large_list, ref.extents[i].len / UNIT_LEN);
        w->meta.large_len += ref.extents[i].len;
    }
    return w->large_list.failed ? RAISE(err, ST_NOMEM, "out of memory for a list of large values") : ST_OK;
}

static status add_entry(struct segment_writer *w, const struct entry *e, struct err *err) {
    struct segment_meta *m = &w->meta;
    TRY(check_entry(w, e, err));
    if (w->opts.filter_bits_per_key != 0) TRY(add_hash(w, e->key, err));
    if (e->kind == ENTRY_LARGE) TRY(own_large(w, e->value, err));
    if (w->leaf.count == 0 && !buf_append_slice(&w->first_key, e->key))
        return RAISE(err, ST_NOMEM, "out of memory for a key");
    if (w->leaf.count > 0 && leaf_builder_len_with(&w->leaf, e) > w->opts.leaf_len) TRY(close_leaf(w, e, err));
    TRY(leaf_builder_add(&w->leaf, e, err));
    m->entry_count++;
    m->tombstone_count += e->kind == ENTRY_DELETE;
    m->data_len += e->key.len + e->value.len;
    if (e->seq < m->min_seq) m->min_seq = e->seq;
    if (e->seq > m->max_seq) m->max_seq = e->seq;
    return ST_OK;
}

status segment_writer_add(struct segment_writer *w, const struct entry *e, struct err *err) {
    if (w->st != ST_OK) return RAISE(err, w->st, "writing this segment has failed before");
    return w->st = add_entry(w, e, err);
}

status segment_writer_range_deletes(struct segment_writer *w, const struct fragments *f, struct err *err) {
    (void) err;
    assert(w->range_deletes == NULL);
    if (f == NULL || fragments_count(f) == 0) return ST_OK;
    union {
        const struct fragments *borrowed;
        struct fragments *shared;
    } u = {f}; /* only the count changes */
    w->range_deletes = fragments_ref(u.shared);
    return ST_OK;
}

/* ---- the end ---- */

static status write_filter(struct segment_writer *w, struct err *err) {
    if (w->hash_count == 0) return ST_OK;
    TRY(filter_build(w->hashes, w->hash_count, w->opts.filter_bits_per_key, &w->payload, err));
    uint32_t items = (uint32_t) min_u64(w->hash_count, UINT32_MAX);
    return write_block(w, BLOCK_FILTER, items, &w->meta.filter, err);
}

static status write_range_deletes(struct segment_writer *w, struct err *err) {
    if (w->range_deletes == NULL) return ST_OK;
    size_t count = fragments_count(w->range_deletes);
    for (size_t i = 0; i < count; i++) {
        const struct fragment *f = fragments_at(w->range_deletes, i);
        if (f->seq_count == 0) continue;
        if (f->seqs[0] > w->meta.max_seq) w->meta.max_seq = f->seqs[0];
        if (f->seqs[f->seq_count - 1] < w->meta.min_seq) w->meta.min_seq = f->seqs[f->seq_count - 1];
    }
    w->meta.range_delete_count = count;
    buf_clear(&w->payload);
    TRY(fragments_encode(w->range_deletes, &w->payload, err));
    return write_block(w, BLOCK_RANGE_DELETES, (uint32_t) min_u64(count, UINT32_MAX), &w->meta.range_deletes, err);
}

static status write_large_list(struct segment_writer *w, struct err *err) {
    if (w->large_list.len == 0) return ST_OK;
    buf_clear(&w->payload);
    if (!buf_append_slice(&w->payload, buf_slice(&w->large_list)))
        return RAISE(err, ST_NOMEM, "out of memory for a list of large values");
    return write_block(w, BLOCK_LARGE_LIST, 0, &w->meta.large_list, err);
}

/* Forfeits what lies behind the segment's last unit. */
static void trim_extents(struct segment_writer *w) {
    uint64_t left = round_to_units(w->meta.file_len);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < w->extent_count; i++) {
        struct extent e = w->extents[i];
        uint64_t keep = min_u64(left, e.len);
        if (keep < e.len) store_forfeit(w->store, &(struct extent){e.at + keep, e.len - keep}, 1);
        if (keep > 0) w->extents[kept++] = (struct extent){e.at, keep};
        left -= keep;
    }
    assert(left == 0);
    w->extent_count = kept;
}

/* Least and greatest key, range deletes included, as copies. */
static bool copy_bounds(struct segment_writer *w, struct segment_meta *m) {
    struct slice lo = buf_slice(&w->first_key);
    struct slice hi = w->leaf.count > 0 ? leaf_builder_key(&w->leaf, w->leaf.count - 1) : SLICE_NONE;
    if (w->range_deletes != NULL) {
        struct slice first = fragments_at(w->range_deletes, 0)->lo;
        struct slice last = fragments_at(w->range_deletes, fragments_count(w->range_deletes) - 1)->hi;
        if (w->leaf.count == 0 || slice_compare(first, lo) < 0) lo = first;
        if (w->leaf.count == 0 || slice_compare(last, hi) > 0) {
            hi = last;
            m->max_is_exclusive = true;
        }
    }
    m->min_key = (struct slice){mem_copy(w->mem, lo.p, lo.len), lo.len};
    m->max_key = (struct slice){mem_copy(w->mem, hi.p, hi.len), hi.len};
    return m->min_key.p != NULL && m->max_key.p != NULL;
}

static status write_all(struct segment_writer *w, struct err *err) {
    if (w->leaf.count > 0) TRY(close_tree(w, err));
    TRY(write_filter(w, err));
    TRY(write_range_deletes(w, err));
    TRY(write_large_list(w, err));
    w->meta.file_len = segment_writer_len(w);
    size_t padding = (size_t) (round_to_units(w->meta.file_len) - w->meta.file_len);
    if (!buf_append_zero(&w->out, padding)) return RAISE(err, ST_NOMEM, "out of memory for writing a segment");
    return flush(w, w->out.len, err);
}

status segment_writer_finish(struct segment_writer *w, struct segment_meta *meta, struct err *err) {
    status st = w->st;
    if (st != ST_OK) {
        (void) RAISE(err, st, "writing this segment has failed before");
        goto out;
    }
    if (w->meta.entry_count != 0 || w->range_deletes != NULL) TRY_OUT(write_all(w, err));
    if (w->meta.min_seq == SEQ_MAX && w->meta.max_seq == 0) w->meta.min_seq = 0;
    trim_extents(w);
    struct segment_meta m = w->meta;
    m.extents = w->extent_count != 0 ? mem_copy(w->mem, w->extents, w->extent_count * sizeof(struct extent)) : NULL;
    m.extent_count = m.extents != NULL ? w->extent_count : 0;
    if (m.extent_count != w->extent_count || !copy_bounds(w, &m)) {
        segment_meta_release(w->mem, &m);
        st = RAISE(err, ST_NOMEM, "out of memory for a segment's description");
        goto out;
    }
    w->extent_count = 0; /* the meta's now */
    *meta = m;
out:
    segment_writer_abort(w);
    return st;
}

void segment_meta_release(const struct mem *mem, struct segment_meta *meta) {
    union {
        const uint8_t *p;
        uint8_t *owned;
    } min_key = {meta->min_key.p}, max_key = {meta->max_key.p};
    mem_free(mem, min_key.owned, meta->min_key.len);
    mem_free(mem, max_key.owned, meta->max_key.len);
    mem_free(mem, meta->extents, meta->extent_count * sizeof(struct extent));
    *meta = (struct segment_meta){0};
}
