/* Searching: document at a time over the terms' streams, with the blocks' best scores to leave out what cannot win.
 *
 * The numbers are cut into ranges within which the set of groups that may contribute does not change. The sum of those groups' best scores bounds every score in the range:
 * once the heap holds `limit` hits, a range whose bound does not beat the worst of them is passed without decoding (the interval form of block-max
 * pruning; Ding and Suel, 2011). A later number with an equal score loses, so that a bound must be beaten. */
#include <stdlib.h>

#include "index/key.h"
#include "index/text/postings.h"
#include "index/text/query.h"
#include "index/text/stream.h"

struct hit {
    uint64_t number;
    double score;
};

struct text_search {
    struct text_index ix;
    struct kv_txn *txn;
    const struct mem *mem;
    const struct text_query *query;
    struct text_search_opts opts;
    uint32_t stream_count, negated_count;
    struct stream *streams, *negated;
    struct kv_cursor *marks; /* delete marks, ascending */
    uint64_t mark;           /* the least mark >= the last number asked for; UINT64_MAX: none */
    size_t mark_prefix_len;
    bool is_stale;        /* T1: a number must be its locator's */
    uint64_t next_number; /* everything below was seen */
    uint64_t range_end;   /* unranked: the decoded range being read, inclusive; 0: none */
    struct hit *hits;     /* ranked: the heap, then the sorted hits */
    size_t hit_count, hit_cap, hit_at;
    bool is_ranked_done;
    struct buf key;
    struct kv_value locator;
    struct analyzers folding; /* for documents that must be looked at */
    struct arena scratch;
};

/* ---- opening ---- */

static status open_streams(struct text_search *s, const struct slice_list *terms, struct stream **out, uint32_t *count,
                           struct err *err) {
    if (terms->count == 0) return ST_OK;
    *out = mem_zalloc(s->mem, terms->count * sizeof(**out));
    if (*out == NULL) return RAISE(err, ST_NOMEM, "no memory for a text search");
    *count = terms->count;
    for (uint32_t i = 0; i < terms->count; i++)
        TRY(stream_open(&(*out)[i], &s->ix, s->txn, terms->items[i], s->mem, err));
    return ST_OK;
}

static status read_mark(struct text_search *s, status st, struct err *err) {
    s->mark = UINT64_MAX;
    if (st == ST_END) return ST_OK;
    TRY(st);
    return text_key_read_number(kv_cursor_key(s->marks), s->mark_prefix_len, &s->mark, err);
}

static status open_marks(struct text_search *s, struct err *err) {
    struct buf hi;
    text_key(&s->ix, &s->key, TEXT_MARK);
    s->mark_prefix_len = s->key.len;
    buf_init(&hi, s->mem);
    text_key(&s->ix, &hi, TEXT_MARK + 1);
    status st = hi.failed || s->key.failed ? RAISE(err, ST_NOMEM, "no memory for a text search") : ST_OK;
    struct kv_bounds bounds = {buf_slice(&s->key), buf_slice(&hi)};
    if (st == ST_OK) st = kv_cursor_open(s->txn, &bounds, &s->marks, err);
    buf_release(&hi);
    TRY(st);
    return read_mark(s, kv_first(s->marks, err), err);
}

static status read_stale_flag(struct text_search *s, struct err *err) {
    struct kv_value v = KV_VALUE_INIT;
    text_key(&s->ix, &s->key, TEXT_STALE);
    if (s->key.failed) return RAISE(err, ST_NOMEM, "no memory for a text search");
    status st = kv_get(s->txn, buf_slice(&s->key), &v, err);
    s->is_stale = st == ST_OK;
    kv_value_release(&v);
    return status_failed(st) ? st : ST_OK;
}

status text_search_open(const struct text_index *ix, struct kv_txn *txn, const struct text_query *q,
                        const struct text_search_opts *opts, const struct mem *mem, struct text_search **out,
                        struct err *err) {
    status st = ST_OK;
    struct text_search *s = mem_new(mem, struct text_search);
    if (s == NULL) return RAISE(err, ST_NOMEM, "no memory for a text search");
    s->ix = *ix;
    s->txn = txn;
    s->mem = mem;
    s->query = q;
    s->opts = *opts;
    buf_init(&s->key, mem);
    arena_init(&s->scratch, mem);
    query_analyzers_init(q, mem, &s->folding);
    TRY_OUT(open_streams(s, &q->terms, &s->streams, &s->stream_count, err));
    /* a negated word written in another way excludes nothing when case or diacritics count: the document tells */
    if (s->stream_count != 0 && !query_is_sensitive(q))
        TRY_OUT(open_streams(s, &q->negated, &s->negated, &s->negated_count, err));
    TRY_OUT(open_marks(s, err));
    TRY_OUT(read_stale_flag(s, err));
    *out = s;
    s = NULL;
out:
    text_search_close(s);
    return st;
}

static void close_streams(struct text_search *s, struct stream *streams, uint32_t count) {
    if (streams == NULL) return;
    for (uint32_t i = 0; i < count; i++) stream_close(&streams[i]);
    mem_free(s->mem, streams, count * sizeof(*streams));
}

void text_search_close(struct text_search *s) {
    if (s == NULL) return;
    kv_value_release(&s->locator);
    close_streams(s, s->streams, s->stream_count);
    close_streams(s, s->negated, s->negated_count);
    kv_cursor_close(s->marks);
    mem_free(s->mem, s->hits, s->hit_cap * sizeof(*s->hits));
    buf_release(&s->key);
    analyzers_release(&s->folding);
    arena_release(&s->scratch);
    mem_delete(s->mem, s);
}

void text_search_rest(struct text_search *s) {
    kv_value_release(&s->locator);
    for (uint32_t i = 0; i < s->stream_count; i++) stream_rest(&s->streams[i]);
    for (uint32_t i = 0; i < s->negated_count; i++) stream_rest(&s->negated[i]);
    kv_cursor_rest(s->marks);
}

uint64_t text_search_keys_examined(const struct text_search *s) {
    uint64_t n = 0;
    for (uint32_t i = 0; i < s->stream_count; i++) n += s->streams[i].keys_examined;
    for (uint32_t i = 0; i < s->negated_count; i++) n += s->negated[i].keys_examined;
    return n;
}

/* ---- is a number a hit? ---- */

static status is_marked(struct text_search *s, uint64_t number, bool *marked, struct err *err) {
    for (int steps = 0; s->mark < number && steps < 4; steps++) TRY(read_mark(s, kv_next(s->marks, err), err));
    if (s->mark < number) {
        text_key_number(&s->ix, &s->key, TEXT_MARK, number);
        if (s->key.failed) return RAISE(err, ST_NOMEM, "no memory for a text search");
        TRY(read_mark(s, kv_seek_ge(s->marks, buf_slice(&s->key), err), err));
    }
    *marked = s->mark == number;
    return ST_OK;
}

/* The number's document's locator into s->locator. ST_NOT_FOUND: the number is dead. */
static status read_locator(struct text_search *s, uint64_t number, struct err *err) {
    kv_value_release(&s->locator);
    text_key_number(&s->ix, &s->key, TEXT_LOCATOR, number);
    if (s->key.failed) return RAISE(err, ST_NOMEM, "no memory for a text search");
    return kv_get(s->txn, buf_slice(&s->key), &s->locator, err);
}

static status is_current(struct text_search *s, uint64_t number, bool *current, struct err *err) {
    struct kv_value v = KV_VALUE_INIT;
    uint64_t found = 0;
    text_key_locator(&s->ix, &s->key, s->locator.bytes);
    if (s->key.failed) return RAISE(err, ST_NOMEM, "no memory for a text search");
    status st = kv_get(s->txn, buf_slice(&s->key), &v, err);
    if (st == ST_OK) st = text_value_read_number(v.bytes, &found, err);
    *current = st == ST_OK && found == number;
    kv_value_release(&v);
    return status_failed(st) ? st : ST_OK;
}

/* Phrases and sensitive words are decided by the document, which lies under the collection's own prefix. */
static status check_document(struct text_search *s, bool *matches, struct err *err) {
    struct kv_value v = KV_VALUE_INIT;
    *matches = false;
    buf_clear(&s->key);
    key_append_prefix(&s->key, s->ix.collection_id, 0);
    if (!buf_append_slice(&s->key, s->locator.bytes)) return RAISE(err, ST_NOMEM, "no memory for a text search");
    status st = kv_get(s->txn, buf_slice(&s->key), &v, err);
    if (st == ST_OK) {
        arena_reset(&s->scratch);
        struct bdoc doc = {v.bytes.p, (uint32_t) v.bytes.len};
        st = query_check_document(&s->ix, s->query, doc, &s->folding, &s->scratch, matches, err);
    }
    kv_value_release(&v);
    return st == ST_NOT_FOUND ? ST_OK : st;
}

static status is_hit(struct text_search *s, uint64_t number, bool *hit, struct err *err) {
    bool no = false, needs_document = query_needs_document(s->query);
    *hit = false;
    TRY(is_marked(s, number, &no, err));
    for (uint32_t i = 0; i < s->negated_count && !no; i++) TRY(stream_has(&s->negated[i], number, &no, err));
    if (no) return ST_OK;
    *hit = true;
    if (!s->is_stale && !needs_document) return ST_OK;
    status st = read_locator(s, number, err);
    *hit = st == ST_OK;
    if (st != ST_OK) return st == ST_NOT_FOUND ? ST_OK : st;
    if (s->is_stale) TRY(is_current(s, number, hit, err));
    if (*hit && needs_document) TRY(check_document(s, hit, err));
    return ST_OK;
}

/* ---- ranges ---- */

/* The next range at or after next_number: [*lo, *hi] with its bound. ST_END when the streams are done. */
static status next_range(struct text_search *s, uint64_t *lo, uint64_t *hi, double *bound, struct err *err) {
    *lo = *hi = UINT64_MAX;
    *bound = 0;
    for (uint32_t i = 0; i < s->stream_count; i++) {
        struct stream *t = &s->streams[i];
        TRY(stream_seek(t, s->next_number, err));
        if (t->is_done) continue;
        uint64_t first = t->first > s->next_number ? t->first : s->next_number;
        if (first < *lo) *lo = first;
    }
    if (*lo == UINT64_MAX) return ST_END;
    for (uint32_t i = 0; i < s->stream_count; i++) {
        struct stream *t = &s->streams[i];
        if (t->is_done) continue;
        uint64_t end = t->first <= *lo ? t->last : t->first - 1;
        if (end < *hi) *hi = end;
        if (t->first <= *lo) *bound += t->score_max;
    }
    return ST_OK;
}

static status decode_range(struct text_search *s, uint64_t lo, struct err *err) {
    for (uint32_t i = 0; i < s->stream_count; i++) {
        struct stream *t = &s->streams[i];
        if (!t->is_done && t->first <= lo) TRY(stream_decode(t, lo, err));
    }
    return ST_OK;
}

/* The least number <= hi that a decoded stream stands on, with the sum of its scores; moves past it. */
static bool take_number(struct text_search *s, uint64_t hi, struct hit *out) {
    uint64_t least = UINT64_MAX;
    for (uint32_t i = 0; i < s->stream_count; i++) {
        struct stream *t = &s->streams[i];
        if (!t->is_done && t->is_decoded && t->at < t->count && t->postings[t->at].number < least)
            least = t->postings[t->at].number;
    }
    if (least > hi || least == UINT64_MAX) return false;
    *out = (struct hit){least, 0};
    for (uint32_t i = 0; i < s->stream_count; i++) {
        struct stream *t = &s->streams[i];
        if (!t->is_done && t->is_decoded && t->at < t->count && t->postings[t->at].number == least)
            out->score += t->postings[t->at++].score;
    }
    return true;
}

/* ---- ranked ---- */

/* Worse: a lower score, or the same and a greater number. */
static bool is_worse(const struct hit *a, const struct hit *b) {
    return a->score != b->score ? a->score < b->score : a->number > b->number;
}

static void sift_down(struct hit *heap, size_t n, size_t at) {
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= n) return;
        if (child + 1 < n && is_worse(&heap[child + 1], &heap[child])) child++;
        if (!is_worse(&heap[child], &heap[at])) return;
        struct hit t = heap[at];
        heap[at] = heap[child];
        heap[child] = t;
        at = child;
    }
}

static void sift_up(struct hit *heap, size_t at) {
    while (at > 0 && is_worse(&heap[at], &heap[(at - 1) / 2])) {
        struct hit t = heap[at];
        heap[at] = heap[(at - 1) / 2];
        heap[(at - 1) / 2] = t;
        at = (at - 1) / 2;
    }
}

static bool is_full(const struct text_search *s) { return s->opts.limit != 0 && s->hit_count >= s->opts.limit; }

static status keep_hit(struct text_search *s, struct hit h, struct err *err) {
    if (is_full(s)) {
        s->hits[0] = h;
        sift_down(s->hits, s->hit_count, 0);
        return ST_OK;
    }
    void *hits = s->hits;
    if (!mem_grow(s->mem, &hits, &s->hit_cap, s->hit_count + 1, sizeof(*s->hits)))
        return RAISE(err, ST_NOMEM, "no memory for the hits of a text search");
    s->hits = hits;
    s->hits[s->hit_count] = h;
    sift_up(s->hits, s->hit_count++);
    return ST_OK;
}

static int compare_hits(const void *x, const void *y) {
    const struct hit *a = x, *b = y;
    return is_worse(b, a) ? -1 : is_worse(a, b) ? 1 : 0;
}

static status rank(struct text_search *s, struct err *err) {
    uint64_t lo, hi;
    double bound;
    for (;;) {
        status st = next_range(s, &lo, &hi, &bound, err);
        if (st == ST_END) break;
        TRY(st);
        s->next_number = hi + 1;
        if (is_full(s) && bound <= s->hits[0].score) continue;
        TRY(decode_range(s, lo, err));
        struct hit h;
        while (take_number(s, hi, &h)) {
            bool hit = false;
            if (is_full(s) && h.score <= s->hits[0].score) continue;
            TRY(is_hit(s, h.number, &hit, err));
            if (hit) TRY(keep_hit(s, h, err));
        }
    }
    if (s->hit_count != 0) qsort(s->hits, s->hit_count, sizeof(*s->hits), compare_hits);
    s->is_ranked_done = true;
    return ST_OK;
}

/* ---- in order of number ---- */

static status next_in_order(struct text_search *s, struct hit *out, struct err *err) {
    for (;;) {
        uint64_t lo, hi;
        double bound;
        bool hit = false;
        if (s->range_end == 0) {
            TRY(next_range(s, &lo, &hi, &bound, err));
            TRY(decode_range(s, lo, err));
            s->range_end = hi;
            s->next_number = hi + 1;
        }
        while (take_number(s, s->range_end, out)) {
            TRY(is_hit(s, out->number, &hit, err));
            if (hit) return ST_OK;
        }
        s->range_end = 0;
    }
}

status text_search_next(struct text_search *s, struct text_hit *hit, struct err *err) {
    struct hit h;
    for (;;) {
        if (s->opts.ranked) {
            if (!s->is_ranked_done) TRY(rank(s, err));
            if (s->hit_at == s->hit_count) return ST_END;
            h = s->hits[s->hit_at++];
        } else {
            TRY(next_in_order(s, &h, err));
        }
        status st = read_locator(s, h.number, err);
        if (st == ST_NOT_FOUND) continue;
        TRY(st);
        *hit = (struct text_hit){s->locator.bytes, h.score};
        return ST_OK;
    }
}

/* ---- estimate ---- */

status text_estimate(const struct text_index *ix, struct kv_txn *txn, const struct text_query *q, uint64_t *documents,
                     struct err *err) {
    struct buf lo, hi;
    status st = ST_OK;
    *documents = 0;
    buf_init(&lo, q->mem);
    buf_init(&hi, q->mem);
    for (uint32_t i = 0; i < q->terms.count && st == ST_OK; i++) {
        struct kv_estimate e = {0};
        text_key_term(ix, &lo, q->terms.items[i]);
        buf_clear(&hi);
        (void) buf_append(&hi, lo.p, lo.len);
        key_successor(&hi);
        if (lo.failed || hi.failed) st = RAISE(err, ST_NOMEM, "no memory for an estimate");
        struct kv_bounds bounds = {buf_slice(&lo), buf_slice(&hi)};
        if (st == ST_OK) st = kv_estimate(txn, &bounds, &e, err);
        /* A posting takes some 3 bytes in a full block, and a small block is one posting. */
        *documents += e.entries + e.bytes / 6;
    }
    buf_release(&lo);
    buf_release(&hi);
    return st;
}
