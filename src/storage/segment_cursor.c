/* Cursors over one segment.
 *
 * A cursor keeps the way down from the root: path[0] is the root, path[i] the inner block i levels below it with the child that was taken, and `leaf_pin` the leaf. A seek that
 * goes the same way as the one before finds its blocks pinned already and asks the cache for nothing.
 * Within a leaf next and prev compare nothing: they read the entry at the next index.
 *
 * The key is handed out in one piece. The leaf's prefix lies in `key` since the leaf was entered, a move copies the suffix behind it; without a
 * prefix the key is lent in place.
 *
 * Reading ahead: a cursor that goes forward from leaf to leaf reads the neighbours of a missing leaf with it into `run`, tells the store about the
 * bytes after those, and takes the next leaves from there. Such a read is RUN_LEN_MIN bytes at first and doubles up to RUN_LEN; one that does not fill the
 * cache (a merge) begins with RUN_LEN.
 *
 * INVARIANTS
 *   S1  `leaf` is NULL: the cursor stands nowhere; else it is leaf_pin's and idx < leaf->count.
 *   S2  path[i + 1].pin (or leaf_pin, at the end) is NULL or the child path[i].idx of path[i].pin. */
#include <assert.h>

#include "storage/segment_file.h"

#define RUN_LEN ((uint32_t) 256 * 1024)
#define RUN_LEN_MIN ((uint32_t) 32 * 1024)
#define SEQUENTIAL_MIN 2u /* leaves gone through in a row before more is read than asked for */

struct step {
    struct cached_block *pin;
    uint32_t idx;
};

struct segment_cursor {
    struct source source; /* first */
    struct segment *segment;
    const struct leaf *leaf;
    uint32_t idx;
    uint8_t *key; /* prefix, then the suffix of the entry */
    size_t key_cap;
    bool fill_cache;
    uint32_t sequential; /* leaves entered from their left neighbour since the last seek */
    uint32_t depth;      /* inner blocks on the way to a leaf: height - 1 */
    struct cached_block *leaf_pin;
    uint8_t *run;    /* RUN_LEN bytes, NULL before its first use */
    uint64_t run_at; /* in the segment */
    uint32_t run_len;
    uint32_t ahead_len; /* of the next run */
    struct step path[SEGMENT_HEIGHT_MAX];
};

static struct segment_cursor *cursor_of(struct source *s) { return (struct segment_cursor *) (void *) s; }

/* ---- the way down ---- */

/* The block below path[depth - 1]: an inner block's or the leaf's. */
static struct cached_block **pin_at(struct segment_cursor *c, uint32_t depth) {
    return depth < c->depth ? &c->path[depth].pin : &c->leaf_pin;
}

static void unpin_from(struct segment_cursor *c, uint32_t depth) {
    for (; depth <= c->depth; depth++) {
        struct cached_block **pin = pin_at(c, depth);
        cache_unpin(c->segment->cache, *pin);
        *pin = NULL;
    }
}

static void rest(struct source *s) {
    struct segment_cursor *c = cursor_of(s);
    c->leaf = NULL;
    unpin_from(c, 0);
    if (c->run != NULL) mem_free(c->segment->mem, c->run, RUN_LEN);
    c->run = NULL;
    c->run_len = 0;
}

/* How many bytes from child idx on lie side by side: that child's, and its neighbours' up to len_max. */
static uint32_t run_from(const struct inner *n, uint32_t idx, uint32_t len_max) {
    uint64_t at = n->children[idx].at, len = n->children[idx].len;
    for (idx++; idx < n->count && n->children[idx].at == at + len && len + n->children[idx].len <= len_max; idx++) {
        len += n->children[idx].len;
    }
    return (uint32_t) len;
}

/* Makes the leaf from a run of its neighbours, read in one piece. *out stays NULL when there is no memory for a run, or the leaf is too long for it. */
static status load_from_run(struct segment_cursor *c, const struct inner *n, uint32_t idx, struct cached_block **out,
                            struct err *err) {
    struct segment *s = c->segment;
    struct block_ref ref = inner_ref(n, idx);
    if (ref.len > RUN_LEN) return ST_OK;
    if (ref.at < c->run_at || ref.at - c->run_at + ref.len > c->run_len) {
        if (c->run == NULL) c->run = mem_alloc(s->mem, RUN_LEN);
        if (c->run == NULL) return ST_OK;
        uint32_t len = run_from(n, idx, c->ahead_len);
        if (c->ahead_len < RUN_LEN) c->ahead_len *= 2;
        c->run_len = 0;
        TRY(segment_read(s, ref.at, c->run, len, err));
        c->run_at = ref.at;
        c->run_len = len;
        segment_will_need(s, ref.at + len, c->ahead_len);
    }
    TRY(segment_make_block(s, &ref, BLOCK_LEAF, c->run + (ref.at - c->run_at), out, err));
    if (c->fill_cache) *out = segment_publish(s, &ref, BLOCK_LEAF, *out);
    return ST_OK;
}

/* Pins child path[depth - 1].idx. */
static status load_child(struct segment_cursor *c, uint32_t depth, struct err *err) {
    struct cached_block **pin = pin_at(c, depth);
    const struct inner *n = block_inner(c->path[depth - 1].pin);
    uint32_t idx = c->path[depth - 1].idx;
    struct block_ref ref = inner_ref(n, idx);
    unpin_from(c, depth);
    if (depth < c->depth) return segment_load(c->segment, &ref, BLOCK_INNER, c->fill_cache, pin, err);
    if (c->sequential < SEQUENTIAL_MIN && (c->fill_cache || c->sequential == 0)) {
        return segment_load(c->segment, &ref, BLOCK_LEAF, c->fill_cache, pin, err);
    }
    TRY(segment_pin_cached(c->segment, &ref, BLOCK_LEAF, pin, err));
    if (*pin == NULL) TRY(load_from_run(c, n, idx, pin, err));
    return *pin != NULL ? ST_OK : segment_load(c->segment, &ref, BLOCK_LEAF, c->fill_cache, pin, err);
}

static status pin_root(struct segment_cursor *c, struct err *err) {
    struct cached_block **pin = pin_at(c, 0);
    if (*pin != NULL) return ST_OK;
    struct cached_block *b;
    TRY(segment_root(c->segment, &b, err));
    cache_repin(b);
    *pin = b;
    return ST_OK;
}

/* Goes down to the leaf that (key, seq) leads to. */
static status descend(struct segment_cursor *c, struct slice key, uint64_t seq, struct err *err) {
    TRY(pin_root(c, err));
    for (uint32_t depth = 0; depth < c->depth; depth++) {
        struct step *step = &c->path[depth];
        uint32_t idx = inner_search(block_inner(step->pin), key, seq);
        if (step->idx == idx && *pin_at(c, depth + 1) != NULL) continue; /* S2: the same way as before */
        step->idx = idx;
        TRY(load_child(c, depth + 1, err));
    }
    return ST_OK;
}

/* Goes down from path[depth] along its first or last children, path[depth].idx being chosen. */
static status descend_edge(struct segment_cursor *c, uint32_t depth, bool to_last, struct err *err) {
    for (; depth < c->depth; depth++) {
        TRY(load_child(c, depth + 1, err));
        if (depth + 1 < c->depth) c->path[depth + 1].idx = to_last ? block_inner(c->path[depth + 1].pin)->count - 1 : 0;
    }
    return ST_OK;
}

/* ---- standing on an entry ---- */

static inline void show_entry(struct segment_cursor *c) {
    const struct leaf *l = c->leaf;
    struct leaf_entry e;
    leaf_read(l, c->idx, &e);
    struct entry *at = &c->source.at;
    if (l->prefix_len == 0) {
        at->key = (struct slice){e.suffix, e.suffix_len};
    } else {
        uint8_t *to = c->key + l->prefix_len;
        memcpy(to, e.suffix, LEAF_SLACK_LEN); /* L4; most suffixes are shorter than that */
        if (e.suffix_len > LEAF_SLACK_LEN)
            memcpy(to + LEAF_SLACK_LEN, e.suffix + LEAF_SLACK_LEN, e.suffix_len - LEAF_SLACK_LEN);
        at->key = (struct slice){c->key, l->prefix_len + e.suffix_len};
    }
    at->value = (struct slice){e.suffix + e.suffix_len, e.value_len};
    at->seq = e.seq;
    at->kind = e.kind;
    c->source.is_last_version = l->is_plain && c->idx + 1 < l->count; /* L5 */
}

/* Takes the pinned leaf as the current one: its prefix goes to the key buffer. */
static status enter_leaf(struct segment_cursor *c, struct err *err) {
    const struct leaf *l = block_leaf(c->leaf_pin);
    size_t need = (size_t) l->key_len_max + LEAF_SLACK_LEN;
    if (l->prefix_len != 0 && need > c->key_cap) {
        uint8_t *key = mem_resize(c->segment->mem, c->key, c->key_cap, need * 2);
        if (key == NULL) return RAISE(err, ST_NOMEM, "out of memory for a key of %u bytes", l->key_len_max);
        c->key = key;
        c->key_cap = need * 2;
    }
    if (l->prefix_len != 0) memcpy(c->key, (const uint8_t *) l + l->prefix_at, l->prefix_len);
    c->leaf = l;
    return ST_OK;
}

/* After a failure the cursor stands nowhere and holds nothing. */
static status fail(struct segment_cursor *c, status st) {
    rest(&c->source);
    return st;
}

static status stand(struct segment_cursor *c, uint32_t idx, struct err *err) {
    status st = enter_leaf(c, err);
    if (st != ST_OK) return fail(c, st);
    c->idx = idx;
    assert(idx < c->leaf->count);
    show_entry(c);
    return ST_OK;
}

/* Goes to the first entry of the next leaf or the last one of the leaf before. */
static status step_leaf(struct segment_cursor *c, bool forward, struct err *err) {
    uint32_t depth = c->depth;
    c->leaf = NULL;
    while (depth > 0) {
        struct step *step = &c->path[depth - 1];
        if (forward ? step->idx + 1 < block_inner(step->pin)->count : step->idx > 0) break;
        depth--;
    }
    if (depth == 0) return ST_END;
    c->sequential = forward ? c->sequential + 1 : 0;
    if (forward) {
        c->path[depth - 1].idx++;
    } else {
        c->path[depth - 1].idx--;
    }
    status st = descend_edge(c, depth - 1, !forward, err);
    if (st != ST_OK) return fail(c, st);
    return stand(c, forward ? 0 : block_leaf(c->leaf_pin)->count - 1, err);
}

/* ---- the source's operations ---- */

/* Before a cursor is placed. */
static void begin_placing(struct segment_cursor *c) {
    c->leaf = NULL;
    c->sequential = 0;
    c->ahead_len = c->fill_cache ? RUN_LEN_MIN : RUN_LEN;
}

static status seek_ge(struct source *s, struct slice key, uint64_t seq, struct err *err) {
    struct segment_cursor *c = cursor_of(s);
    begin_placing(c);
    if (c->segment->meta.height == 0) return ST_END;
    status st = descend(c, key, seq, err);
    if (st != ST_OK) return fail(c, st);
    const struct leaf *l = block_leaf(c->leaf_pin);
    uint32_t idx = leaf_search(l, key, seq);
    return idx < l->count ? stand(c, idx, err) : step_leaf(c, true, err);
}

static status seek_le(struct source *s, struct slice key, uint64_t seq, struct err *err) {
    struct segment_cursor *c = cursor_of(s);
    begin_placing(c);
    if (c->segment->meta.height == 0) return ST_END;
    status st = descend(c, key, seq, err);
    if (st != ST_OK) return fail(c, st);
    const struct leaf *l = block_leaf(c->leaf_pin);
    uint32_t idx = leaf_search(l, key, seq);
    if (idx < l->count) { /* the entry itself, or the first greater one */
        struct leaf_entry e;
        leaf_read(l, idx, &e);
        if (e.seq == seq && leaf_compare_key(l, &e, key) == 0) return stand(c, idx, err);
    }
    return idx > 0 ? stand(c, idx - 1, err) : step_leaf(c, false, err);
}

static status seek_edge(struct segment_cursor *c, bool to_last, struct err *err) {
    begin_placing(c);
    if (c->segment->meta.height == 0) return ST_END;
    status st = pin_root(c, err);
    if (st == ST_OK && c->depth > 0) {
        c->path[0].idx = to_last ? block_inner(c->path[0].pin)->count - 1 : 0;
        st = descend_edge(c, 0, to_last, err);
    }
    if (st != ST_OK) return fail(c, st);
    return stand(c, to_last ? block_leaf(c->leaf_pin)->count - 1 : 0, err);
}

static status seek_first(struct source *s, struct err *err) { return seek_edge(cursor_of(s), false, err); }
static status seek_last(struct source *s, struct err *err) { return seek_edge(cursor_of(s), true, err); }

static status next(struct source *s, struct err *err) {
    struct segment_cursor *c = cursor_of(s);
    assert(c->leaf != NULL);
    if (++c->idx == c->leaf->count) return step_leaf(c, true, err);
    show_entry(c);
    return ST_OK;
}

static status prev(struct source *s, struct err *err) {
    struct segment_cursor *c = cursor_of(s);
    assert(c->leaf != NULL);
    if (c->idx == 0) return step_leaf(c, false, err);
    c->idx--;
    show_entry(c);
    return ST_OK;
}

/* All but the leaf's last entry, of which the next leaf may hold an older version. */
static void pass(struct source *s, struct slice limit, uint64_t snapshot, uint64_t max, uint64_t *passed) {
    struct segment_cursor *c = cursor_of(s);
    const struct leaf *l = c->leaf;
    *passed = 0;
    if (!l->is_plain || l->max_seq > snapshot) return;
    uint32_t end = limit.len != 0 ? leaf_search(l, limit, SEQ_MAX) : l->count;
    if (end >= l->count) end = l->count - 1;
    if (end > c->idx && end - c->idx > max) end = c->idx + (uint32_t) max;
    if (end <= c->idx) return;
    *passed = end - c->idx;
    c->idx = end;
    show_entry(c);
}

static void close_cursor(struct source *s) {
    struct segment_cursor *c = cursor_of(s);
    struct segment *segment = c->segment;
    const struct mem *mem = segment->mem;
    rest(s);
    if (c->key != NULL) mem_free(mem, c->key, c->key_cap);
    mem_delete(mem, c);
    segment_unref(segment);
}

static const struct source_ops cursor_ops = {
    .seek_ge = seek_ge,
    .seek_le = seek_le,
    .first = seek_first,
    .last = seek_last,
    .next = next,
    .prev = prev,
    .pass = pass,
    .rest = rest,
    .close = close_cursor,
};

status segment_cursor(struct segment *s, bool fill_cache, struct source **out, struct err *err) {
    struct segment_cursor *c = mem_new(s->mem, struct segment_cursor);
    if (c == NULL) return RAISE(err, ST_NOMEM, "out of memory for a cursor");
    c->source.ops = &cursor_ops;
    c->segment = segment_ref(s);
    c->fill_cache = fill_cache;
    c->depth = s->meta.height > 0 ? s->meta.height - 1 : 0;
    *out = &c->source;
    return ST_OK;
}
