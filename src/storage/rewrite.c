/* See rewrite.h. Folding goes through the versions of a key from new to old, one at a time, and never looks back: what was decided about the newer ones is
 * in struct fold. */
#include "storage/rewrite.h"

#include <assert.h>

#include "base/endian.h"

/* --- outputs --- */

void rewrite_begin(struct rewrite *r) {
    buf_init(&r->key, r->l->mem);
    buf_init(&r->cut_lo, r->l->mem);
}

/* The ranges cut to [lo, hi); hi NULL: to the end. */
static status clipped_ranges(struct rewrite *r, const struct slice *lo, const struct slice *hi, struct fragments **out,
                             struct err *err) {
    *out = NULL;
    if (r->range_count == 0) return ST_OK;
    struct range_delete *clipped = mem_alloc(r->l->mem, r->range_count * sizeof(*clipped));
    if (clipped == NULL) return RAISE(err, ST_NOMEM, "range deletes");
    size_t n = 0;
    for (size_t i = 0; i < r->range_count; i++) {
        struct range_delete d = r->ranges[i];
        if (lo != NULL && slice_compare(d.lo, *lo) < 0) d.lo = *lo;
        if (hi != NULL && slice_compare(d.hi, *hi) > 0) d.hi = *hi;
        if (slice_compare(d.lo, d.hi) < 0) clipped[n++] = d;
    }
    status st = n > 0 ? fragments_new(r->l->mem, clipped, n, out, err) : ST_OK;
    mem_free(r->l->mem, clipped, r->range_count * sizeof(*clipped));
    return st;
}

static status open_writer(struct rewrite *r, struct err *err) {
    uint64_t id = atomic_fetch_add(&r->l->next_segment_id, 1);
    return segment_writer_new(r->l->store, r->l->mem, &r->l->segment_opts, id, r->level, &r->writer, err);
}

static status keep_run(struct rewrite *r, const struct segment_meta *meta, struct err *err) {
    void *array = r->runs;
    if (!mem_grow(r->l->mem, &array, &r->run_cap, r->run_count + 1, sizeof(*r->runs)))
        return RAISE(err, ST_NOMEM, "segments");
    r->runs = array;
    TRY(run_new(r->l, meta, &r->runs[r->run_count], err));
    r->run_count++;
    return ST_OK;
}

/* Ends the present output, whose keys and ranges lie below `next` (NULL: it is the last). */
static status finish_output(struct rewrite *r, const struct slice *next, struct err *err) {
    struct fragments *f;
    struct slice lo = buf_slice(&r->cut_lo);
    TRY(clipped_ranges(r, r->has_cut_lo ? &lo : NULL, next, &f, err));
    if (r->writer == NULL && f == NULL) return ST_OK;
    status st = r->writer == NULL ? open_writer(r, err) : ST_OK;
    if (st == ST_OK && f != NULL) st = segment_writer_range_deletes(r->writer, f, err);
    fragments_unref(f);
    TRY(st);
    struct segment_meta meta = {0};
    st = segment_writer_finish(r->writer, &meta, err);
    r->writer = NULL;
    TRY(st);
    st = keep_run(r, &meta, err);
    if (st != ST_OK) store_forfeit(r->l->store, meta.extents, meta.extent_count);
    segment_meta_release(r->l->mem, &meta);
    return st;
}

status rewrite_add(struct rewrite *r, const struct entry *e, bool may_cut, struct err *err) {
    if (may_cut && r->writer != NULL && r->cut_len != 0 && segment_writer_len(r->writer) >= r->cut_len) {
        TRY(finish_output(r, &e->key, err));
        buf_clear(&r->cut_lo);
        if (!buf_append_slice(&r->cut_lo, e->key)) return RAISE(err, ST_NOMEM, "key");
        r->has_cut_lo = true;
    }
    if (r->writer == NULL) TRY(open_writer(r, err));
    return segment_writer_add(r->writer, e, err);
}

status rewrite_end(struct rewrite *r, struct err *err) { return finish_output(r, NULL, err); }

void rewrite_forfeit(struct rewrite *r) {
    if (r->writer != NULL) segment_writer_abort(r->writer);
    r->writer = NULL;
    for (size_t i = 0; i < r->run_count; i++) {
        cache_forget_segment(r->l->cache, r->runs[i]->meta->id);
        store_forfeit(r->l->store, r->runs[i]->meta->extents, r->runs[i]->meta->extent_count);
        run_unref(r->runs[i]);
    }
    r->run_count = 0;
}

void rewrite_release(struct rewrite *r) {
    assert(r->writer == NULL);
    mem_free(r->l->mem, r->runs, r->run_cap * sizeof(*r->runs));
    mem_free(r->l->mem, r->freed, r->freed_cap * sizeof(*r->freed));
    buf_release(&r->key);
    buf_release(&r->cut_lo);
}

/* --- folding --- */

#define NO_STRATUM SIZE_MAX

/* What was decided about the newer versions of the present key. */
struct fold {
    size_t kept;  /* the stratum in which a version was kept (or known to be hidden) last; NO_STRATUM: none */
    bool has_sum; /* adds of stratum `kept` are being summed, not yet written */
    uint64_t sum, sum_seq;
    bool has_written; /* a version of this key is in the output: no cut */
};

/* The stratum of a sequence: the first bound >= seq; bound_count when it is newer than all. */
static size_t stratum_of(const struct rewrite *r, uint64_t seq) {
    size_t n = r->bound_count;
    if (n == 0 || seq > r->bounds[n - 1]) return n;
    size_t lo = 0, hi = n - 1;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (r->bounds[mid] < seq) lo = mid + 1;
        else hi = mid;
    }
    return lo;
}

static status write(struct rewrite *r, struct fold *f, const struct entry *e, struct err *err) {
    TRY(rewrite_add(r, e, !f->has_written, err));
    f->has_written = true;
    return ST_OK;
}

static status write_sum(struct rewrite *r, struct fold *f, enum entry_kind kind, struct err *err) {
    uint8_t bytes[8];
    put_le64(bytes, f->sum);
    f->has_sum = false;
    struct entry e = {.key = buf_slice(&r->key),
                      .value = slice_of(bytes, 8),
                      .seq = f->sum_seq,
                      .kind = (uint8_t) kind};
    return write(r, f, &e, err);
}

static status drop(struct rewrite *r, const struct entry *e, struct err *err) {
    if (e->kind != ENTRY_LARGE) return ST_OK;
    struct large_ref ref;
    TRY(large_ref_decode(e->value, &ref, err));
    void *array = r->freed;
    if (!mem_grow(r->l->mem, &array, &r->freed_cap, r->freed_count + ref.extent_count, sizeof(*r->freed)))
        return RAISE(err, ST_NOMEM, "extents");
    r->freed = array;
    for (uint32_t i = 0; i < ref.extent_count; i++) r->freed[r->freed_count++] = ref.extents[i];
    return ST_OK;
}

/* A version that nobody sees. */
static status drop_or_keep(struct rewrite *r, struct fold *f, const struct entry *e, struct err *err) {
    if (e->kind == ENTRY_LARGE && r->keeps_large) return write(r, f, e, err);
    return drop(r, e, err);
}

static bool tombstone_is_needed(const struct rewrite *r, const struct entry *e, size_t stratum) {
    if (stratum != 0 || r->keeps_large || r->has_older == NULL) return true;
    return r->has_older(r->ctx, e->key, e->key, e->seq);
}

/* An older version of the stratum in which adds are being summed. */
static status end_sum(struct rewrite *r, struct fold *f, const struct entry *e, bool is_hidden, struct err *err) {
    if (!is_hidden && e->kind == ENTRY_ADD) {
        f->sum += (uint64_t) counter_of(e->value);
        return ST_OK;
    }
    if (!is_hidden && e->kind == ENTRY_PUT) f->sum += (uint64_t) counter_of(e->value);
    TRY(write_sum(r, f, ENTRY_PUT, err));
    return drop_or_keep(r, f, e, err);
}

static status fold_version(struct rewrite *r, struct fold *f, const struct entry *e, struct err *err) {
    size_t stratum = stratum_of(r, e->seq);
    if (stratum == r->bound_count) return write(r, f, e, err);
    bool is_hidden = r->cover != NULL && fragments_cover(r->cover, e->key, r->bounds[stratum]) > e->seq;
    if (f->has_sum && stratum == f->kept) return end_sum(r, f, e, is_hidden, err);
    if (f->has_sum) TRY(write_sum(r, f, ENTRY_ADD, err));
    if (stratum == f->kept || is_hidden) return drop_or_keep(r, f, e, err);
    f->kept = stratum;
    if (e->kind == ENTRY_ADD) {
        f->has_sum = true;
        f->sum = (uint64_t) counter_of(e->value);
        f->sum_seq = e->seq;
        return ST_OK;
    }
    if (e->kind == ENTRY_DELETE && !tombstone_is_needed(r, e, stratum)) return ST_OK;
    return write(r, f, e, err);
}

static status fold_all(struct rewrite *r, struct err *err) {
    struct fold f = {.kept = NO_STRATUM};
    size_t steps = 0;
    status st = merge_first(r->in, err);
    for (; st == ST_OK; st = merge_step(r->in, err)) {
        const struct entry *e = merge_at(r->in);
        if (!r->has_key || !slice_equal(e->key, buf_slice(&r->key))) {
            if (f.has_sum) TRY(write_sum(r, &f, ENTRY_ADD, err));
            f = (struct fold){.kept = NO_STRATUM};
            buf_clear(&r->key);
            if (!buf_append_slice(&r->key, e->key)) return RAISE(err, ST_NOMEM, "key");
            r->has_key = true;
            if (r->is_cancellable && (++steps & 255) == 0 &&
                atomic_load_explicit(&r->l->is_stopping, memory_order_relaxed))
                return RAISE(err, ST_INTERRUPTED, "the database is being closed");
        }
        TRY(fold_version(r, &f, e, err));
    }
    if (st != ST_END) return st;
    return f.has_sum ? write_sum(r, &f, ENTRY_ADD, err) : ST_OK;
}

status rewrite_all(struct rewrite *r, struct err *err) {
    status st = fold_all(r, err);
    if (st == ST_OK) st = rewrite_end(r, err);
    if (st != ST_OK) rewrite_forfeit(r);
    return st;
}
