/* Fragments: overlapping range deletes cut at every bound into disjoint pieces.
 *
 * Built by a sweep over the sorted bounds with the set of sequences that are open; neighbours with equal sets are joined again.
 * n ranges give at most 2n - 1 fragments; the lists of sequences take n * n in the worst case (all nested).
 *
 *   ranges      a---------e  seq 9          fragments  a---c  {9}
 *                   c---------g  seq 4                     c---e  {9, 4}
 *                                                              e---g  {4}
 *
 * Encoding (in segments): all numbers are varints
 *   count, then per fragment:  lo_len lo  hi_len hi  seq_count  seq[0]  seq[0]-seq[1]  seq[1]-seq[2] ...
 *
 *   F1  Fragments ascend and do not overlap; each has lo < hi and at least one sequence.
 *   F2  A fragment's sequences strictly descend and are greater than 0.
 *
 * Threads: immutable but for the reference count.
 */
#include "storage/range_delete.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/varint.h"

struct fragments {
    const struct mem *mem;
    _Atomic uint32_t refs;
    struct fragment *list;
    size_t count, cap;
    uint64_t *seqs; /* of all fragments, one after the other */
    size_t seq_count, seq_cap;
    uint8_t *bytes; /* of all bounds */
    size_t bytes_len;
};

static struct fragments *fragments_alloc(const struct mem *mem) {
    struct fragments *f = mem_new(mem, struct fragments);
    if (f == NULL) return NULL;
    f->mem = mem;
    atomic_init(&f->refs, 1);
    return f;
}

struct fragments *fragments_ref(struct fragments *f) {
    if (f != NULL) (void) atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
    return f;
}

void fragments_unref(struct fragments *f) {
    if (f == NULL) return;
    uint32_t refs = atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel);
    assert(refs != 0);
    if (refs != 1) return;
    mem_free(f->mem, f->list, f->cap * sizeof(*f->list));
    mem_free(f->mem, f->seqs, f->seq_cap * sizeof(*f->seqs));
    mem_free(f->mem, f->bytes, f->bytes_len);
    mem_delete(f->mem, f);
}

size_t fragments_count(const struct fragments *f) { return f != NULL ? f->count : 0; }

const struct fragment *fragments_at(const struct fragments *f, size_t idx) {
    assert(idx < f->count);
    return &f->list[idx];
}

size_t fragments_seq_count(const struct fragments *f) { return f != NULL ? f->seq_count : 0; }

size_t fragments_used(const struct fragments *f) {
    if (f == NULL) return 0;
    return sizeof(*f) + f->cap * sizeof(*f->list) + f->seq_cap * sizeof(*f->seqs) + f->bytes_len;
}

/* --- building --- */

struct bound {
    struct slice key;
    uint64_t seq;
    bool is_end;
};

struct open_seq {
    uint64_t seq;
    size_t count; /* of open ranges with it */
};

struct sweep {
    const struct mem *mem;
    struct bound *bounds;
    size_t bound_count, bound_cap;
    struct open_seq *open; /* descending */
    size_t open_count, open_cap;
};

static int bound_compare(const void *a, const void *b) {
    return slice_compare(((const struct bound *) a)->key, ((const struct bound *) b)->key);
}

/* Counts one range with b->seq in or out. False without memory. */
static bool sweep_step(struct sweep *w, const struct bound *b) {
    size_t lo = 0, hi = w->open_count;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (w->open[mid].seq > b->seq) lo = mid + 1;
        else hi = mid;
    }
    bool is_there = lo < w->open_count && w->open[lo].seq == b->seq;
    if (b->is_end) {
        /* A range that ends here may be counted out before another with its sequence is counted in, never before itself: lo < hi. */
        assert(is_there);
        if (--w->open[lo].count != 0) return true;
        w->open_count--;
        memmove(&w->open[lo], &w->open[lo + 1], (w->open_count - lo) * sizeof(*w->open));
        return true;
    }
    if (is_there) {
        w->open[lo].count++;
        return true;
    }
    void *p = w->open;
    int grew = mem_grow(w->mem, &p, &w->open_cap, w->open_count + 1, sizeof(*w->open));
    w->open = p;
    if (!grew) return false;
    memmove(&w->open[lo + 1], &w->open[lo], (w->open_count - lo) * sizeof(*w->open));
    w->open[lo] = (struct open_seq){b->seq, 1};
    w->open_count++;
    return true;
}

static bool same_seqs(const struct fragments *f, size_t from, uint32_t count, const struct sweep *w) {
    if (count != w->open_count) return false;
    for (uint32_t i = 0; i < count; i++)
        if (f->seqs[from + i] != w->open[i].seq) return false;
    return true;
}

/* Appends [lo, hi) under what is open; bounds already lie in f->bytes. seqs pointers are set at the end: the array still moves. */
static bool emit(struct fragments *f, const struct sweep *w, struct slice lo, struct slice hi) {
    struct fragment *last = f->count != 0 ? &f->list[f->count - 1] : NULL;
    if (last != NULL && last->hi.p == lo.p && same_seqs(f, f->seq_count - last->seq_count, last->seq_count, w)) {
        last->hi = hi;
        return true;
    }
    void *list = f->list, *seqs = f->seqs;
    int grew = mem_grow(f->mem, &list, &f->cap, f->count + 1, sizeof(*f->list));
    f->list = list;
    if (!grew) return false;
    grew = mem_grow(f->mem, &seqs, &f->seq_cap, f->seq_count + w->open_count, sizeof(*f->seqs));
    f->seqs = seqs;
    if (!grew) return false;
    f->list[f->count++] = (struct fragment){lo, hi, NULL, (uint32_t) w->open_count};
    for (size_t i = 0; i < w->open_count; i++) f->seqs[f->seq_count++] = w->open[i].seq;
    return true;
}

static void point_at_seqs(struct fragments *f) {
    size_t at = 0;
    for (size_t i = 0; i < f->count; i++) {
        f->list[i].seqs = f->seqs + at;
        at += f->list[i].seq_count;
    }
    assert(at == f->seq_count);
}

/* Copies the bytes of the distinct bounds into f and points the sorted bounds there. */
static bool own_bounds(struct fragments *f, struct sweep *w) {
    size_t len = 0;
    for (size_t i = 0; i < w->bound_count; i++) len += w->bounds[i].key.len;
    f->bytes = mem_alloc(f->mem, len);
    if (f->bytes == NULL) return false;
    f->bytes_len = len;
    uint8_t *at = f->bytes;
    struct slice own = SLICE_NONE;
    for (size_t i = 0; i < w->bound_count; i++) {
        struct slice key = w->bounds[i].key;
        if (i == 0 || !slice_equal(own, key)) {
            if (key.len != 0) memcpy(at, key.p, key.len);
            own = slice_of(at, key.len);
            at += key.len;
        }
        w->bounds[i].key = own;
    }
    return true;
}

static bool sweep_run(struct fragments *f, struct sweep *w) {
    for (size_t i = 0; i < w->bound_count;) {
        struct slice lo = w->bounds[i].key;
        size_t end = i;
        while (end < w->bound_count && w->bounds[end].key.p == lo.p && w->bounds[end].key.len == lo.len) end++;
        for (size_t j = i; j < end; j++)
            if (!w->bounds[j].is_end && !sweep_step(w, &w->bounds[j])) return false;
        for (size_t j = i; j < end; j++)
            if (w->bounds[j].is_end && !sweep_step(w, &w->bounds[j])) return false;
        if (w->open_count != 0) {
            assert(end < w->bound_count);
            if (!emit(f, w, lo, w->bounds[end].key)) return false;
        }
        i = end;
    }
    assert(w->open_count == 0);
    return true;
}

status fragments_new(const struct mem *mem, const struct range_delete *ranges, size_t n, struct fragments **out,
                     struct err *err) {
    status st = ST_OK;
    struct sweep w = {.mem = mem};
    struct fragments *f = fragments_alloc(mem);
    if (f == NULL || n > SIZE_MAX / 2 / sizeof(struct bound)) goto nomem;
    if (n != 0) {
        w.bound_cap = 2 * n;
        w.bounds = mem_alloc(mem, w.bound_cap * sizeof(*w.bounds));
        if (w.bounds == NULL) goto nomem;
    }
    for (size_t i = 0; i < n; i++) {
        const struct range_delete *r = &ranges[i];
        assert(r->seq != 0);
        if (slice_compare(r->lo, r->hi) >= 0) continue;
        w.bounds[w.bound_count++] = (struct bound){r->lo, r->seq, false};
        w.bounds[w.bound_count++] = (struct bound){r->hi, r->seq, true};
    }
    if (w.bound_count != 0) {
        qsort(w.bounds, w.bound_count, sizeof(*w.bounds), bound_compare);
        if (!own_bounds(f, &w) || !sweep_run(f, &w)) goto nomem;
    }
    point_at_seqs(f);
    *out = f;
    f = NULL;
    goto out;
nomem:
    st = RAISE(err, ST_NOMEM, "no memory for %zu range deletes", n);
out:
    mem_free(mem, w.bounds, w.bound_cap * sizeof(*w.bounds));
    mem_free(mem, w.open, w.open_cap * sizeof(*w.open));
    fragments_unref(f);
    return st;
}

/* --- looking --- */

/* How many fragments have lo <= key. */
static size_t count_from(const struct fragments *f, struct slice key) {
    size_t lo = 0, hi = f->count;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (slice_compare(f->list[mid].lo, key) <= 0) lo = mid + 1;
        else hi = mid;
    }
    return lo;
}

/* The greatest sequence <= snapshot, 0 when none. */
static uint64_t newest_seen(const struct fragment *g, uint64_t snapshot) {
    uint32_t lo = 0, hi = g->seq_count;
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        if (g->seqs[mid] > snapshot) lo = mid + 1;
        else hi = mid;
    }
    return lo < g->seq_count ? g->seqs[lo] : 0;
}

uint64_t fragments_cover(const struct fragments *f, struct slice key, uint64_t snapshot) {
    if (f == NULL || f->count == 0) return 0;
    size_t n = count_from(f, key);
    if (n == 0 || slice_compare(key, f->list[n - 1].hi) >= 0) return 0;
    return newest_seen(&f->list[n - 1], snapshot);
}

uint64_t fragments_cover_until(const struct fragments *f, struct slice key, uint64_t snapshot, struct slice *from,
                               struct slice *until) {
    *from = *until = SLICE_NONE;
    if (f == NULL || f->count == 0) return 0;
    size_t n = count_from(f, key);
    const struct fragment *g = n != 0 ? &f->list[n - 1] : NULL;
    if (g != NULL && slice_compare(key, g->hi) < 0) {
        *from = g->lo;
        *until = g->hi;
        return newest_seen(g, snapshot);
    }
    if (g != NULL) *from = g->hi;
    if (n < f->count) *until = f->list[n].lo;
    return 0;
}

uint64_t fragments_max_seq(const struct fragments *f, struct slice lo, struct slice hi) {
    if (f == NULL || f->count == 0) return 0;
    size_t i = count_from(f, lo);
    if (i != 0 && slice_compare(lo, f->list[i - 1].hi) < 0) i--;
    uint64_t max = 0;
    for (; i < f->count && (hi.len == 0 || slice_compare(f->list[i].lo, hi) < 0); i++)
        if (f->list[i].seqs[0] > max) max = f->list[i].seqs[0];
    return max;
}

/* --- encoding --- */

status fragments_encode(const struct fragments *f, struct buf *out, struct err *err) {
    size_t count = fragments_count(f);
    (void) buf_append_varint(out, count);
    for (size_t i = 0; i < count; i++) {
        const struct fragment *g = &f->list[i];
        (void) buf_append_varint(out, g->lo.len);
        (void) buf_append_slice(out, g->lo);
        (void) buf_append_varint(out, g->hi.len);
        (void) buf_append_slice(out, g->hi);
        (void) buf_append_varint(out, g->seq_count);
        for (uint32_t j = 0; j < g->seq_count; j++)
            (void) buf_append_varint(out, j == 0 ? g->seqs[0] : g->seqs[j - 1] - g->seqs[j]);
    }
    return out->failed ? RAISE(err, ST_NOMEM, "no memory to encode %zu range deletes", count) : ST_OK;
}

struct reader {
    const uint8_t *p, *end;
};

static bool read_number(struct reader *r, uint64_t *v) {
    size_t n = varint_get(r->p, r->end, v);
    r->p += n;
    return n != 0;
}

static bool read_key(struct reader *r, struct slice *key) {
    uint64_t len;
    if (!read_number(r, &len) || len > (uint64_t) (r->end - r->p)) return false;
    *key = slice_of(r->p, (size_t) len);
    r->p += len;
    return true;
}

/* One fragment's sequences: stored when `seqs` is not NULL. F2. */
static bool read_seqs(struct reader *r, uint64_t count, uint64_t *seqs) {
    uint64_t seq = 0, v;
    for (uint64_t i = 0; i < count; i++) {
        if (!read_number(r, &v) || v == 0 || (i != 0 && v >= seq)) return false;
        seq = i == 0 ? v : seq - v;
        if (seqs != NULL) seqs[i] = seq;
    }
    return true;
}

/* Reads everything. With f->list NULL it checks F1 and F2 and counts, else it fills the arrays that were made by those counts. */
static bool read_all(struct slice bytes, struct fragments *f) {
    struct reader r = {bytes.p, bytes.p + bytes.len};
    bool is_filling = f->list != NULL;
    uint64_t count, seq_count;
    uint8_t *at = f->bytes;
    size_t seq_at = 0, bytes_len = 0;
    struct slice last = SLICE_NONE;
    /* A fragment takes at least 5 bytes: what the counts ask for is bounded by what is there. */
    if (!read_number(&r, &count) || count > bytes.len / 5) return false;
    for (uint64_t i = 0; i < count; i++) {
        struct slice lo, hi;
        if (!read_key(&r, &lo) || !read_key(&r, &hi) || !read_number(&r, &seq_count)) return false;
        if (slice_compare(lo, hi) >= 0 || (i != 0 && slice_compare(last, lo) > 0)) return false;
        if (seq_count == 0 || seq_count > (uint64_t) (r.end - r.p) || seq_count > UINT32_MAX) return false;
        if (!read_seqs(&r, seq_count, is_filling ? f->seqs + seq_at : NULL)) return false;
        if (is_filling) {
            if (lo.len != 0) memcpy(at, lo.p, lo.len);
            memcpy(at + lo.len, hi.p, hi.len);
            f->list[i] = (struct fragment){{at, lo.len}, {at + lo.len, hi.len}, NULL, (uint32_t) seq_count};
            at += lo.len + hi.len;
        }
        last = hi;
        seq_at += (size_t) seq_count;
        bytes_len += lo.len + hi.len;
    }
    f->count = f->cap = (size_t) count;
    f->seq_count = f->seq_cap = seq_at;
    f->bytes_len = bytes_len;
    return r.p == r.end;
}

status fragments_decode(const struct mem *mem, struct slice bytes, struct fragments **out, struct err *err) {
    struct fragments counts = {0};
    if (!read_all(bytes, &counts)) return RAISE(err, ST_CORRUPT, "range deletes of %zu bytes are malformed", bytes.len);
    struct fragments *f = fragments_alloc(mem);
    if (f == NULL) return RAISE(err, ST_NOMEM, "range deletes");
    if (counts.count != 0) {
        f->cap = counts.cap;
        f->list = mem_alloc(mem, f->cap * sizeof(*f->list));
        f->seq_cap = counts.seq_cap;
        f->seqs = mem_alloc(mem, f->seq_cap * sizeof(*f->seqs));
        f->bytes_len = counts.bytes_len;
        f->bytes = mem_alloc(mem, f->bytes_len);
        if (f->list == NULL || f->seqs == NULL || f->bytes == NULL) {
            fragments_unref(f);
            return RAISE(err, ST_NOMEM, "no memory for %zu range deletes", counts.count);
        }
        bool is_read = read_all(bytes, f);
        assert(is_read);
        (void) is_read;
        point_at_seqs(f);
    }
    *out = f;
    return ST_OK;
}
