/* The heap of merge.h, and a level as one source. */
#include "storage/merge.h"

#include <assert.h>

#include "storage/engine.h"

void merge_init(struct merge *m, const struct mem *mem) { *m = (struct merge){.mem = mem}; }

void merge_release(struct merge *m) {
    for (size_t i = 0; i < m->count; i++) m->sources[i]->ops->close(m->sources[i]);
    mem_free(m->mem, m->sources, m->cap * sizeof(*m->sources));
    mem_free(m->mem, m->heap, m->cap * sizeof(*m->heap));
    merge_init(m, m->mem);
}

status merge_reserve(struct merge *m, size_t count, struct err *err) {
    assert(m->cap == 0);
    struct source **sources = mem_alloc(m->mem, count * sizeof(*sources));
    uint32_t *heap = mem_alloc(m->mem, count * sizeof(*heap));
    if (sources == NULL || heap == NULL) {
        mem_free(m->mem, sources, count * sizeof(*sources));
        mem_free(m->mem, heap, count * sizeof(*heap));
        return RAISE(err, ST_NOMEM, "merge of %zu sources", count);
    }
    m->sources = sources;
    m->heap = heap;
    m->cap = count;
    return ST_OK;
}

void merge_push(struct merge *m, struct source *s) {
    assert(m->count < m->cap);
    m->sources[m->count++] = s;
}

static inline bool comes_first(const struct merge *m, uint32_t a, uint32_t b) {
    const struct entry *ea = &m->sources[a]->at, *eb = &m->sources[b]->at;
    int c = entry_compare(ea->key, ea->seq, eb->key, eb->seq);
    return m->is_backward ? c > 0 : c < 0;
}

static void sift_down(struct merge *m, size_t i) {
    uint32_t moving = m->heap[i];
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= m->heap_len) break;
        if (child + 1 < m->heap_len && comes_first(m, m->heap[child + 1], m->heap[child])) child++;
        if (!comes_first(m, m->heap[child], moving)) break;
        m->heap[i] = m->heap[child];
        i = child;
    }
    m->heap[i] = moving;
}

static void find_runner_up(struct merge *m) {
    m->runner_up = 0;
    if (m->heap_len > 1) m->runner_up = m->heap_len > 2 && comes_first(m, m->heap[2], m->heap[1]) ? 2 : 1;
}

enum place { PLACE_FIRST, PLACE_LAST, PLACE_GE, PLACE_LE };

static status place(struct merge *m, enum place how, struct slice key, uint64_t seq, struct err *err) {
    m->is_backward = how == PLACE_LAST || how == PLACE_LE;
    m->heap_len = 0;
    size_t n = 0;
    for (size_t i = 0; i < m->count; i++) {
        struct source *s = m->sources[i];
        status st = how == PLACE_GE ? s->ops->seek_ge(s, key, seq, err)
            : how == PLACE_LE       ? s->ops->seek_le(s, key, seq, err)
            : how == PLACE_FIRST    ? s->ops->first(s, err)
                                    : s->ops->last(s, err);
        if (st == ST_OK) m->heap[n++] = (uint32_t) i;
        else if (st != ST_END) return st;
    }
    m->heap_len = n;
    for (size_t i = n / 2; i-- > 0;) sift_down(m, i);
    find_runner_up(m);
    return n > 0 ? ST_OK : ST_END;
}

status merge_seek_ge(struct merge *m, struct slice key, uint64_t seq, struct err *err) {
    return place(m, PLACE_GE, key, seq, err);
}
status merge_seek_le(struct merge *m, struct slice key, uint64_t seq, struct err *err) {
    return place(m, PLACE_LE, key, seq, err);
}
status merge_first(struct merge *m, struct err *err) { return place(m, PLACE_FIRST, SLICE_NONE, 0, err); }
status merge_last(struct merge *m, struct err *err) { return place(m, PLACE_LAST, SLICE_NONE, 0, err); }

status merge_step(struct merge *m, struct err *err) {
    assert(m->heap_len > 0);
    struct source *s = m->sources[m->heap[0]];
    status st = m->is_backward ? s->ops->prev(s, err) : s->ops->next(s, err);
    if (st == ST_OK) {
        if (m->runner_up == 0 || comes_first(m, m->heap[0], m->heap[m->runner_up])) return ST_OK;
        sift_down(m, 0);
        find_runner_up(m);
        return ST_OK;
    }
    if (st != ST_END) {
        m->heap_len = 0;
        return st;
    }
    m->heap[0] = m->heap[--m->heap_len];
    if (m->heap_len == 0) return ST_END;
    sift_down(m, 0);
    find_runner_up(m);
    return ST_OK;
}

uint64_t merge_pass(struct merge *m, struct slice limit, uint64_t snapshot, uint64_t max) {
    assert(m->heap_len > 0 && !m->is_backward);
    struct source *s = m->sources[m->heap[0]];
    uint64_t passed = 0;
    if (s->ops->pass == NULL) return 0;
    if (m->runner_up != 0) {
        struct slice other = m->sources[m->heap[m->runner_up]]->at.key;
        if (limit.len == 0 || slice_compare(other, limit) < 0) limit = other;
    }
    s->ops->pass(s, limit, snapshot, max, &passed);
    if (passed == 0 || m->runner_up == 0) return passed;
    sift_down(m, 0);
    find_runner_up(m);
    return passed;
}

void merge_rest(struct merge *m) {
    m->heap_len = 0;
    for (size_t i = 0; i < m->count; i++) m->sources[i]->ops->rest(m->sources[i]);
}

/* --- a level as one source: a cursor over one run at a time, opened when it is come to --- */

struct level_source {
    struct source base;
    const struct mem *mem;
    struct source *at; /* cursor over runs[idx], NULL: none */
    size_t idx, count;
    bool fill_cache;
    struct run *runs[];
};

static status open_run(struct level_source *s, size_t idx, struct err *err) {
    if (s->at != NULL && s->idx == idx) return ST_OK;
    struct source *cursor;
    TRY(segment_cursor(s->runs[idx]->seg, s->fill_cache, &cursor, err));
    if (s->at != NULL) s->at->ops->close(s->at);
    s->at = cursor;
    s->idx = idx;
    return ST_OK;
}

static inline void take_entry(struct level_source *s) {
    s->base.at = s->at->at;
    s->base.is_last_version = s->at->is_last_version;
}

/* Takes over what the run's cursor answered; at its end goes on with the neighbours. */
static status settle(struct level_source *s, status st, bool backward, struct err *err) {
    while (st == ST_END) {
        if (backward ? s->idx == 0 : s->idx + 1 >= s->count) return ST_END;
        TRY(open_run(s, backward ? s->idx - 1 : s->idx + 1, err));
        st = backward ? s->at->ops->last(s->at, err) : s->at->ops->first(s->at, err);
    }
    if (st == ST_OK) take_entry(s);
    return st;
}

/* The first run whose bounds do not end before `key` (count: none): those before it hold smaller keys only, those behind it greater ones. */
static size_t run_for(const struct level_source *s, struct slice key) {
    size_t lo = 0, hi = s->count;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        int c = slice_compare(s->runs[mid]->meta->max_key, key);
        if (c < 0 || (c == 0 && s->runs[mid]->meta->max_is_exclusive)) lo = mid + 1;
        else hi = mid;
    }
    return lo;
}

static status level_seek_ge(struct source *base, struct slice key, uint64_t seq, struct err *err) {
    struct level_source *s = (struct level_source *) base;
    size_t idx = run_for(s, key);
    if (idx == s->count) return ST_END;
    TRY(open_run(s, idx, err));
    return settle(s, s->at->ops->seek_ge(s->at, key, seq, err), false, err);
}

static status level_seek_le(struct source *base, struct slice key, uint64_t seq, struct err *err) {
    struct level_source *s = (struct level_source *) base;
    size_t idx = run_for(s, key);
    if (idx == s->count) idx--;
    TRY(open_run(s, idx, err));
    return settle(s, s->at->ops->seek_le(s->at, key, seq, err), true, err);
}

static status level_first(struct source *base, struct err *err) {
    struct level_source *s = (struct level_source *) base;
    TRY(open_run(s, 0, err));
    return settle(s, s->at->ops->first(s->at, err), false, err);
}

static status level_last(struct source *base, struct err *err) {
    struct level_source *s = (struct level_source *) base;
    TRY(open_run(s, s->count - 1, err));
    return settle(s, s->at->ops->last(s->at, err), true, err);
}

static status level_next(struct source *base, struct err *err) {
    struct level_source *s = (struct level_source *) base;
    return settle(s, s->at->ops->next(s->at, err), false, err);
}

static status level_prev(struct source *base, struct err *err) {
    struct level_source *s = (struct level_source *) base;
    return settle(s, s->at->ops->prev(s->at, err), true, err);
}

static void level_pass(struct source *base, struct slice limit, uint64_t snapshot, uint64_t max, uint64_t *passed) {
    struct level_source *s = (struct level_source *) base;
    s->at->ops->pass(s->at, limit, snapshot, max, passed);
    if (*passed > 0) take_entry(s);
}

static void level_rest(struct source *base) {
    struct level_source *s = (struct level_source *) base;
    if (s->at != NULL) s->at->ops->rest(s->at);
}

static void level_close(struct source *base) {
    struct level_source *s = (struct level_source *) base;
    if (s->at != NULL) s->at->ops->close(s->at);
    mem_free(s->mem, s, sizeof(*s) + s->count * sizeof(s->runs[0]));
}

static const struct source_ops level_ops = {
    .seek_ge = level_seek_ge,
    .seek_le = level_seek_le,
    .first = level_first,
    .last = level_last,
    .next = level_next,
    .prev = level_prev,
    .pass = level_pass,
    .rest = level_rest,
    .close = level_close,
};

status level_source_new(const struct mem *mem, struct run *const *runs, size_t n, bool fill_cache, struct source **out,
                        struct err *err) {
    assert(n > 0);
    struct level_source *s = mem_zalloc(mem, sizeof(*s) + n * sizeof(s->runs[0]));
    if (s == NULL) return RAISE(err, ST_NOMEM, "level cursor");
    s->base.ops = &level_ops;
    s->mem = mem;
    s->count = n;
    s->fill_cache = fill_cache;
    memcpy(s->runs, runs, n * sizeof(s->runs[0]));
    *out = &s->base;
    return ST_OK;
}
