/* Checking a segment: every block is read past the cache and everything that it says is held against the rest.
 *
 * Leaves come in order, and every leaf must lie behind the one before it, so that a hostile tree whose parents share children is left after its first
 * fault instead of being walked over and over. A block that cannot be read is a fault, and the walk goes on beside it; only a lack of
 * memory ends it. */
#include <stdio.h>

#include "storage/segment_file.h"

struct check {
    struct segment *s;
    void (*found)(void *ctx, const char *text);
    void *ctx;
    struct buf last_key; /* the entry before, in any leaf */
    uint64_t last_seq;
    bool has_last;
    struct buf bound; /* the separator passed last: entries are not smaller */
    uint64_t bound_seq;
    bool has_bound;
    uint64_t leaf_end; /* in the segment */
    uint64_t entry_count, tombstone_count, data_len, large_len;
    struct buf key;
};

static void __attribute__((format(printf, 3, 4))) report(struct check *c, uint64_t at, const char *fmt, ...) {
    char what[256], text[384];
    va_list ap;
    va_start(ap, fmt);
    (void) vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);
    (void) snprintf(text, sizeof(text), "segment %llu is damaged at %llu: %s", (unsigned long long) c->s->meta.id,
                    (unsigned long long) at, what);
    c->found(c->ctx, text);
}

/* A failure to read: a fault to report, unless it is for want of memory. */
static status report_failure(struct check *c, status st, const struct err *e, struct err *err) {
    if (st == ST_NOMEM) {
        if (err != NULL) *err = *e;
        return st;
    }
    c->found(c->ctx, e->text);
    return ST_OK;
}

static bool keep(struct buf *to, struct slice key) {
    buf_clear(to);
    return buf_append_slice(to, key);
}

/* ---- entries ---- */

static status check_large(struct check *c, const struct block_ref *ref, struct slice value, struct err *err) {
    struct large_ref large;
    struct err e = ERR_INIT;
    status st = large_ref_decode(value, &large, &e);
    if (st != ST_OK) {
        report(c, ref->at, "%s", e.text);
        return ST_OK;
    }
    uint8_t *p = mem_alloc(c->s->mem, (size_t) large.len);
    if (p == NULL) return RAISE(err, ST_NOMEM, "out of memory for a large value");
    for (uint32_t i = 0; i < large.extent_count; i++) c->large_len += large.extents[i].len;
    st = large_read(c->s->store, &large, p, &e);
    mem_free(c->s->mem, p, (size_t) large.len);
    return st == ST_OK ? ST_OK : report_failure(c, st, &e, err);
}

static status check_entry(struct check *c, const struct block_ref *ref, const struct entry *e, struct err *err) {
    const struct segment_meta *m = &c->s->meta;
    if (c->has_last && entry_compare(buf_slice(&c->last_key), c->last_seq, e->key, e->seq) >= 0)
        report(c, ref->at, "entries out of order");
    if (c->has_bound && entry_compare(buf_slice(&c->bound), c->bound_seq, e->key, e->seq) > 0)
        report(c, ref->at, "an entry before its separator");
    if (e->seq < m->min_seq || e->seq > m->max_seq) report(c, ref->at, "a sequence out of the segment's bounds");
    int top = slice_compare(e->key, m->max_key);
    if (slice_compare(e->key, m->min_key) < 0 || top > 0 || (top == 0 && m->max_is_exclusive))
        report(c, ref->at, "a key out of the segment's bounds");
    if (!segment_may_contain(c->s, e->key)) report(c, ref->at, "a key that the filter denies");
    c->has_bound = false; /* holds for what follows, by the order */
    c->has_last = true;
    c->last_seq = e->seq;
    c->entry_count++;
    c->tombstone_count += e->kind == ENTRY_DELETE;
    c->data_len += e->key.len + e->value.len;
    if (!keep(&c->last_key, e->key)) return RAISE(err, ST_NOMEM, "out of memory for a key");
    return e->kind == ENTRY_LARGE ? check_large(c, ref, e->value, err) : ST_OK;
}

static status check_leaf(struct check *c, const struct block_ref *ref, const struct leaf *l, struct err *err) {
    if (ref->at < c->leaf_end) {
        report(c, ref->at, "a leaf out of place");
        return ST_OK;
    }
    c->leaf_end = ref->at + ref->len;
    for (uint32_t i = 0; i < l->count; i++) {
        struct leaf_entry e;
        leaf_read(l, i, &e);
        if (!keep(&c->key, (struct slice){(const uint8_t *) l + l->prefix_at, l->prefix_len}) ||
            !buf_append(&c->key, e.suffix, e.suffix_len)) {
            return RAISE(err, ST_NOMEM, "out of memory for a key");
        }
        struct entry entry = {buf_slice(&c->key), {e.suffix + e.suffix_len, e.value_len}, e.seq, e.kind};
        TRY(check_entry(c, ref, &entry, err));
    }
    return ST_OK;
}

/* ---- blocks ---- */

/* Reads a leaf or inner block afresh. *out stays NULL when it cannot be read, which is reported. */
static status read_block(struct check *c, const struct block_ref *ref, enum block_type type, struct cached_block **out,
                         struct err *err) {
    struct err e = ERR_INIT;
    *out = NULL;
    if (ref->at > c->s->meta.file_len || ref->len > c->s->meta.file_len - ref->at) {
        report(c, ref->at, "a reference past its end");
        return ST_OK;
    }
    uint8_t *raw = mem_alloc(c->s->mem, ref->len);
    if (raw == NULL) return RAISE(err, ST_NOMEM, "out of memory for a block of %u bytes", ref->len);
    status st = segment_read(c->s, ref->at, raw, ref->len, &e);
    if (st == ST_OK) st = segment_make_block(c->s, ref, type, raw, out, &e);
    mem_free(c->s->mem, raw, ref->len);
    return st == ST_OK ? ST_OK : report_failure(c, st, &e, err);
}

static status check_block(struct check *c, const struct block_ref *ref, uint32_t height, struct err *err);

/* Checks the separator before child idx, then makes it the bound of what follows. */
static status pass_separator(struct check *c, const struct block_ref *ref, const struct inner *n, uint32_t idx,
                             struct err *err) {
    uint64_t seq;
    struct slice suffix = inner_separator(n, idx, &seq);
    if (!keep(&c->bound, inner_prefix(n)) || !buf_append_slice(&c->bound, suffix))
        return RAISE(err, ST_NOMEM, "out of memory for a separator");
    c->bound_seq = seq;
    c->has_bound = true;
    if (c->has_last && entry_compare(buf_slice(&c->last_key), c->last_seq, buf_slice(&c->bound), seq) >= 0) {
        report(c, ref->at, "an entry behind its separator");
    }
    return ST_OK;
}

static status check_inner(struct check *c, const struct block_ref *ref, const struct inner *n, uint32_t height,
                          struct err *err) {
    for (uint32_t i = 0; i < n->count; i++) {
        uint64_t entries = c->entry_count, bytes = c->data_len;
        struct block_ref child = inner_ref(n, i);
        if (i > 0) TRY(pass_separator(c, ref, n, i, err));
        TRY(check_block(c, &child, height - 1, err));
        if (c->entry_count - entries != inner_entries(n, i) || c->data_len - bytes != inner_bytes(n, i)) {
            report(c, ref->at, "wrong counts for the child at %llu", (unsigned long long) child.at);
        }
    }
    return ST_OK;
}

static status check_block(struct check *c, const struct block_ref *ref, uint32_t height, struct err *err) {
    struct cached_block *b;
    /* Siblings are told apart by their leaves' places; a subtree that lies before the last leaf was walked already. */
    if (ref->at < c->leaf_end) {
        report(c, ref->at, "a block out of place");
        return ST_OK;
    }
    TRY(read_block(c, ref, height > 1 ? BLOCK_INNER : BLOCK_LEAF, &b, err));
    if (b == NULL) return ST_OK;
    status st = height > 1 ? check_inner(c, ref, block_inner(b), height, err) : check_leaf(c, ref, block_leaf(b), err);
    cache_discard(c->s->cache, b);
    return st;
}

static status check_payload(struct check *c, const struct block_ref *ref, enum block_type type, struct err *err) {
    struct err e = ERR_INIT;
    struct buf payload;
    uint32_t count;
    if (ref->len == 0) return ST_OK;
    buf_init(&payload, c->s->mem);
    payload.cap_max = (size_t) 2 * BLOCK_PAYLOAD_LEN_MAX;
    status st = segment_read_payload(c->s, ref, type, &payload, &count, &e);
    struct filter filter;
    if (st == ST_OK && type == BLOCK_FILTER) {
        const char *fault = filter_open(payload.p, payload.len, &filter);
        if (fault != NULL) report(c, ref->at, "%s", fault);
    }
    if (st == ST_OK && type == BLOCK_RANGE_DELETES) {
        struct fragments *f = NULL;
        st = fragments_decode(c->s->mem, buf_slice(&payload), &f, &e);
        if (st == ST_OK && fragments_count(f) != c->s->meta.range_delete_count)
            report(c, ref->at, "a wrong number of range deletes");
        fragments_unref(f);
    }
    buf_release(&payload);
    return st == ST_OK ? ST_OK : report_failure(c, st, &e, err);
}

static status sum_extent(void *ctx, struct extent e) {
    *(uint64_t *) ctx += e.len;
    return ST_OK;
}

/* ---- the whole ---- */

static status check_large_list(struct check *c, struct err *err) {
    struct err e = ERR_INIT;
    uint64_t listed = 0;
    status st = segment_large_extents(c->s, sum_extent, &listed, &e);
    if (st != ST_OK) return report_failure(c, st, &e, err);
    if (listed != c->large_len || listed != c->s->meta.large_len) {
        report(c, c->s->meta.large_list.at, "%llu bytes of large values are listed, %llu are referred to",
               (unsigned long long) listed, (unsigned long long) c->large_len);
    }
    return ST_OK;
}

static void check_totals(struct check *c) {
    const struct segment_meta *m = &c->s->meta;
    if (c->entry_count != m->entry_count) {
        report(c, 0, "%llu entries instead of %llu", (unsigned long long) c->entry_count,
               (unsigned long long) m->entry_count);
    }
    if (c->tombstone_count != m->tombstone_count) report(c, 0, "a wrong number of tombstones");
    if (c->data_len != m->data_len) report(c, 0, "a wrong number of bytes");
}

status segment_check(struct segment *s, void (*found)(void *ctx, const char *text), void *ctx, struct err *err) {
    struct check c = {.s = s, .found = found, .ctx = ctx};
    status st = ST_OK;
    struct buf *bufs[] = {&c.last_key, &c.bound, &c.key};
    for (size_t i = 0; i < sizeof(bufs) / sizeof(bufs[0]); i++) buf_init(bufs[i], s->mem);
    if (s->meta.height > 0) TRY_OUT(check_block(&c, &s->meta.root, s->meta.height, err));
    check_totals(&c);
    TRY_OUT(check_payload(&c, &s->meta.filter, BLOCK_FILTER, err));
    TRY_OUT(check_payload(&c, &s->meta.range_deletes, BLOCK_RANGE_DELETES, err));
    TRY_OUT(check_large_list(&c, err));
out:
    for (size_t i = 0; i < sizeof(bufs) / sizeof(bufs[0]); i++) buf_release(bufs[i]);
    return st;
}
