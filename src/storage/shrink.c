/* Shrinking: what lies at the end of the file moves into the holes before it, and the end is cut off.
 *
 *   |sb|  run 7  |....hole....|  run 9  |..hole..|        run 12        | large value of 9 |..free..|
 *   |<------------- goal: as many bytes as are in use ------------>|<--- moves below it --->|
 *
 * A round: settle (give back, make reusable) -> choose -> copy -> one tree commit with segments that lie elsewhere. Rounds of ROUND_LEN follow each other until nothing moves.
 *
 *   - A segment is copied as it is, block by block unseen: its references count from its start, its checksums from its id. It keeps the id, so its blocks
 *     in the cache stay good. Only the parts beyond the goal move; the rest it shares with the run that it was (engine.h E6).
 *   - A large value is referred to by its place, so the segment that owns it is written anew with every version that it has, and a new id.
 *   - The copy is synced by the commit that names it. The old place is given back when no older version is left, by a later commit, and used again after the one
 *     behind that (store.h). So a crash at any moment finds one place or the other whole.
 *
 * What is copied is at most what is gained, but for segments with large values; and no call moves more than twice what was in use when it began. The file is shrunk unasked
 * when what is free is two thirds of it: so much must have been freed since the last time, and a third is all there is to copy. A failure leaves all as it was.
 *
 * Under merge_mutex: nobody else drops a run. Flushes and loads go on; what they write meanwhile stays where it is. */
#include <assert.h>
#include <stdlib.h>

#include "storage/rewrite.h"

#define ROUND_LEN ((uint64_t) 64 << 20)
#define COPY_LEN ((size_t) 1 << 20)
#define PIECES_MAX 8u    /* that one extent may fall into */
#define SETTLE_COMMITS 3 /* give back what was dropped; make it reusable; and what the manifests themselves left */

struct extent_list {
    struct extent *p;
    size_t count, cap;
};

/* One round. */
struct shift {
    struct lsm *l;
    uint64_t goal, moved_len;
    struct run **from, **to; /* pairs; `from` borrowed of a version, `to` with a reference */
    size_t count, from_cap, to_cap;
    struct extent_list left, taken; /* places left; new ones, to be forfeited on failure */
    uint8_t *copy;                  /* COPY_LEN */
};

static uint64_t end_of(struct extent e) { return e.at + e.len; }

static status list_reserve(struct lsm *l, struct extent_list *list, size_t more, struct err *err) {
    void *array = list->p;
    if (!mem_grow(l->mem, &array, &list->cap, list->count + more, sizeof(*list->p)))
        return RAISE(err, ST_NOMEM, "moved extents");
    list->p = array;
    return ST_OK;
}

/* --- moving extents --- */

static status copy_bytes(struct shift *s, uint64_t from, uint64_t to, uint64_t len, struct err *err) {
    while (len > 0) {
        size_t n = len < COPY_LEN ? (size_t) len : COPY_LEN;
        TRY(store_read(s->l->store, from, s->copy, n, err));
        TRY(store_write(s->l->store, to, s->copy, n, err));
        from += n;
        to += n;
        len -= n;
    }
    if (!atomic_load_explicit(&s->l->is_stopping, memory_order_relaxed)) return ST_OK;
    return RAISE(err, ST_INTERRUPTED, "the database is being closed");
}

/* Copies e to holes below the goal, or else at least below itself. *count 0: there is no room. */
static status move_extent(struct shift *s, struct extent e, uint32_t pieces_max, struct extent *out, uint32_t *count,
                          struct err *err) {
    struct lsm *l = s->l;
    TRY(list_reserve(l, &s->taken, pieces_max, err));
    TRY(list_reserve(l, &s->left, 1, err));
    *count = 0;
    status st = store_alloc_below(l->store, e.len, pieces_max, s->goal, out, count, err);
    if (st == ST_NOT_FOUND) st = store_alloc_below(l->store, e.len, pieces_max, e.at, out, count, err);
    if (st == ST_NOT_FOUND) return ST_OK;
    TRY(st);
    for (uint32_t i = 0; i < *count; i++) s->taken.p[s->taken.count++] = out[i];
    uint64_t from = e.at;
    for (uint32_t i = 0; i < *count; i++) {
        TRY(copy_bytes(s, from, out[i].at, out[i].len, err));
        from += out[i].len;
    }
    assert(from == end_of(e));
    s->left.p[s->left.count++] = e;
    s->moved_len += e.len;
    return ST_OK;
}

static void append_extent(struct extent *out, uint32_t *count, struct extent e) {
    if (e.len == 0) return;
    if (*count > 0 && end_of(out[*count - 1]) == e.at) out[*count - 1].len += e.len;
    else out[(*count)++] = e;
}

/* Moves what of in[n] lies beyond the goal. out[*out_count] is then the same bytes, in at most `max` extents. `out` is not `in`. */
static status move_extents(struct shift *s, const struct extent *in, uint32_t n, uint32_t max, struct extent *out,
                           uint32_t *out_count, struct err *err) {
    struct extent pieces[PIECES_MAX];
    uint32_t k = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct extent stays = in[i], goes = {0, 0};
        if (end_of(in[i]) > s->goal && s->moved_len < ROUND_LEN) {
            uint64_t cut = in[i].at > s->goal ? in[i].at : s->goal;
            goes = (struct extent){cut, end_of(in[i]) - cut};
            stays.len = cut - in[i].at;
        }
        uint32_t room = max - k - (n - i - 1) - (stays.len > 0), count = 0;
        if (room > PIECES_MAX) room = PIECES_MAX;
        if (goes.len > 0 && room > 0) TRY(move_extent(s, goes, room, pieces, &count, err));
        append_extent(out, &k, count > 0 ? stays : in[i]);
        for (uint32_t p = 0; p < count; p++) append_extent(out, &k, pieces[p]);
        assert(k + (n - i - 1) <= max);
    }
    *out_count = k;
    return ST_OK;
}

/* --- moving segments --- */

static status reserve_pair(struct shift *s, struct err *err) {
    void *from = s->from, *to = s->to;
    bool ok = mem_grow(s->l->mem, &from, &s->from_cap, s->count + 1, sizeof(*s->from));
    s->from = from;
    ok = ok && mem_grow(s->l->mem, &to, &s->to_cap, s->count + 1, sizeof(*s->to));
    s->to = to;
    return ok ? ST_OK : RAISE(err, ST_NOMEM, "moved segments");
}

static void add_pair(struct shift *s, struct run *from, struct run *to) {
    s->from[s->count] = from;
    s->to[s->count++] = to;
}

static status move_segment(struct shift *s, struct run *r, struct err *err) {
    struct extent extents[SEGMENT_EXTENTS_MAX];
    struct segment_meta meta = *r->meta;
    size_t before = s->left.count;
    struct run *to;
    TRY(reserve_pair(s, err));
    TRY(move_extents(s, meta.extents, meta.extent_count, SEGMENT_EXTENTS_MAX, extents, &meta.extent_count, err));
    if (s->left.count == before) return ST_OK;
    meta.level = r->level;
    meta.extents = extents;
    TRY(run_new(s->l, &meta, &to, err));
    add_pair(s, r, to);
    return ST_OK;
}

/* --- moving large values --- */

/* If the value of e lies beyond the goal it moves, and e->value is the new reference, in `scratch`. */
static status move_value(struct shift *s, struct entry *e, struct buf *scratch, struct err *err) {
    struct large_ref ref, moved;
    TRY(large_ref_decode(e->value, &ref, err));
    moved = ref;
    size_t before = s->left.count;
    TRY(move_extents(s, ref.extents, ref.extent_count, LARGE_EXTENTS_MAX, moved.extents, &moved.extent_count, err));
    if (s->left.count == before) return ST_OK;
    buf_clear(scratch);
    TRY(large_ref_encode(&moved, scratch, err));
    e->value = buf_slice(scratch);
    return ST_OK;
}

/* The range deletes of a segment one by one; they borrow its keys. */
static status list_ranges(struct rewrite *w, struct run *r, size_t *cap, struct err *err) {
    const struct fragments *f = segment_range_deletes(r->seg);
    for (size_t i = 0; f != NULL && i < fragments_count(f); i++) {
        const struct fragment *at = fragments_at(f, i);
        void *array = w->ranges;
        if (!mem_grow(w->l->mem, &array, cap, w->range_count + at->seq_count, sizeof(*w->ranges)))
            return RAISE(err, ST_NOMEM, "range deletes");
        w->ranges = array;
        for (uint32_t k = 0; k < at->seq_count; k++)
            w->ranges[w->range_count++] = (struct range_delete){at->lo, at->hi, at->seqs[k]};
    }
    return ST_OK;
}

static status copy_entries(struct shift *s, struct rewrite *w, struct run *r, struct buf *scratch, struct err *err) {
    struct source *in;
    TRY(segment_cursor(r->seg, false, &in, err));
    status st = in->ops->first(in, err);
    while (st == ST_OK) {
        struct entry e = in->at;
        if (e.kind == ENTRY_LARGE) st = move_value(s, &e, scratch, err);
        if (st == ST_OK) st = rewrite_add(w, &e, false, err);
        if (st == ST_OK) st = in->ops->next(in, err);
    }
    in->ops->close(in);
    return st == ST_END ? rewrite_end(w, err) : st;
}

static void add_rewritten(struct shift *s, struct run *r, struct rewrite *w) {
    assert(w->run_count == 1 && w->runs[0]->meta->entry_count == r->meta->entry_count);
    const struct segment_meta *m = w->runs[0]->meta;
    for (uint32_t i = 0; i < m->extent_count; i++) s->taken.p[s->taken.count++] = m->extents[i];
    s->moved_len += m->file_len;
    add_pair(s, r, w->runs[0]);
}

/* Writes the segment anew: all its versions, and other places for its large values. When there is no room for any of these, it moves as it is. */
static status rewrite_segment(struct shift *s, struct run *r, struct err *err) {
    struct lsm *l = s->l;
    struct rewrite w = {.l = l, .level = r->level};
    struct buf scratch;
    size_t range_cap = 0, before = s->left.count;
    rewrite_begin(&w);
    buf_init(&scratch, l->mem);
    status st = reserve_pair(s, err);
    if (st == ST_OK) st = list_ranges(&w, r, &range_cap, err);
    if (st == ST_OK) st = copy_entries(s, &w, r, &scratch, err);
    if (st == ST_OK) st = list_reserve(l, &s->taken, SEGMENT_EXTENTS_MAX, err);
    bool is_done = st == ST_OK && s->left.count > before;
    if (is_done) add_rewritten(s, r, &w);
    else rewrite_forfeit(&w);
    buf_release(&scratch);
    mem_free(l->mem, w.ranges, range_cap * sizeof(*w.ranges));
    rewrite_release(&w);
    return st == ST_OK && !is_done ? move_segment(s, r, err) : st;
}

/* --- choosing --- */

struct candidate {
    struct run *run;
    uint64_t goal, top, large_top; /* where it ends, with and of its large values */
};

static status see_large(void *ctx, struct extent e) {
    struct candidate *c = ctx;
    if (end_of(e) > c->large_top) c->large_top = end_of(e);
    return ST_OK;
}

static int compare_tops(const void *pa, const void *pb) {
    const struct candidate *a = pa, *b = pb;
    return (a->top < b->top) - (a->top > b->top);
}

/* The runs that reach beyond the goal, the last ones in the file first. */
static status choose(struct shift *s, const struct version *v, struct candidate *all, size_t *count, struct err *err) {
    *count = 0;
    for (size_t i = 0; i < v->run_count; i++) {
        struct candidate c = {.run = v->runs[i]};
        const struct segment_meta *m = c.run->meta;
        for (uint32_t k = 0; k < m->extent_count; k++)
            if (end_of(m->extents[k]) > c.top) c.top = end_of(m->extents[k]);
        if (m->large_len > 0) TRY(segment_large_extents(c.run->seg, see_large, &c, err));
        if (c.large_top > c.top) c.top = c.large_top;
        if (c.top > s->goal) all[(*count)++] = c;
    }
    qsort(all, *count, sizeof(*all), compare_tops);
    return ST_OK;
}

static status move_all(struct shift *s, const struct candidate *all, size_t count, struct err *err) {
    for (size_t i = 0; i < count && s->moved_len < ROUND_LEN; i++) {
        if (all[i].large_top > s->goal) TRY(rewrite_segment(s, all[i].run, err));
        else TRY(move_segment(s, all[i].run, err));
    }
    return ST_OK;
}

/* --- a round --- */

static bool is_same_segment(const struct run *a, const struct run *b) { return a->meta->id == b->meta->id; }

static status commit_moves(struct shift *s, struct err *err) {
    struct lsm *l = s->l;
    struct tree_edit edit = {
        .version = {.added = s->to, .added_count = s->count, .dropped = s->from, .dropped_count = s->count},
        .left = s->left.p,
        .left_count = s->left.count,
    };
    mutex_lock(&l->tree_mutex);
    for (size_t i = 0; i < s->count; i++)
        if (is_same_segment(s->from[i], s->to[i])) s->from[i]->heir = run_ref(s->to[i]);
    status st = tree_commit(l, &edit, err);
    for (size_t i = 0; st != ST_OK && i < s->count; i++) {
        run_unref(s->from[i]->heir);
        s->from[i]->heir = NULL;
    }
    mutex_unlock(&l->tree_mutex);
    return st;
}

static void shift_release(struct shift *s, bool is_done) {
    struct lsm *l = s->l;
    for (size_t i = 0; !is_done && i < s->count; i++) run_unref(s->to[i]);
    if (!is_done) store_forfeit(l->store, s->taken.p, (uint32_t) s->taken.count);
    mem_free(l->mem, s->from, s->from_cap * sizeof(*s->from));
    mem_free(l->mem, s->to, s->to_cap * sizeof(*s->to));
    mem_free(l->mem, s->left.p, s->left.cap * sizeof(*s->left.p));
    mem_free(l->mem, s->taken.p, s->taken.cap * sizeof(*s->taken.p));
    mem_free(l->mem, s->copy, COPY_LEN);
}

/* All that is not free, wherever it lies. */
static uint64_t bytes_in_use(struct lsm *l) {
    struct store_space space = store_space(l->store);
    return space.file_len - space.free_len;
}

static status move_round(struct lsm *l, uint64_t *moved_len, struct err *err) {
    struct shift s = {.l = l, .goal = bytes_in_use(l)};
    size_t count = 0;
    status st = ST_OK;
    struct version *v = version_pin(l);
    size_t all_len = (v->run_count + 1) * sizeof(struct candidate);
    struct candidate *all = mem_alloc(l->mem, all_len);
    *moved_len = 0;
    if (all == NULL) st = RAISE(err, ST_NOMEM, "moved segments");
    if (st == ST_OK) st = choose(&s, v, all, &count, err);
    if (st == ST_OK && count > 0) {
        s.copy = mem_alloc(l->mem, COPY_LEN);
        if (s.copy == NULL) st = RAISE(err, ST_NOMEM, "moved segments");
        if (st == ST_OK) st = move_all(&s, all, count, err);
        if (st == ST_OK && s.count > 0) st = commit_moves(&s, err);
    }
    if (st == ST_OK && s.count > 0) {
        *moved_len = s.moved_len;
        (void) atomic_fetch_add(&l->shifted_len, s.moved_len);
    }
    shift_release(&s, st == ST_OK);
    mem_free(l->mem, all, all_len);
    version_unpin(v);
    return st;
}

static status settle(struct lsm *l, struct err *err) {
    status st = ST_OK;
    for (int i = 0; i < SETTLE_COMMITS && st == ST_OK; i++) {
        version_reclaim(l);
        mutex_lock(&l->tree_mutex);
        st = lsm_refuse(l, err);
        if (st == ST_OK) st = tree_commit_head(l, 0, false, err);
        mutex_unlock(&l->tree_mutex);
    }
    return st;
}

status shrink_all(struct lsm *l, struct err *err) {
    status st = settle(l, err);
    uint64_t most = 2 * bytes_in_use(l), moved_len = 0, sum = 0;
    do {
        if (st == ST_OK) st = move_round(l, &moved_len, err);
        sum += moved_len;
        if (st == ST_OK && moved_len > 0) st = settle(l, err);
    } while (st == ST_OK && moved_len > 0 && sum < most);
    store_trim(l->store);
    return st;
}

/* So much, and two thirds of the file. */
static bool is_most(const struct lsm *l, uint64_t len, uint64_t file_len) {
    return len >= l->opts.shrink_free_len && len / 2 > file_len - len;
}

status shrink_when_due(struct lsm *l, bool *did, struct err *err) {
    uint64_t moved_len = 0;
    struct store_space space = store_space(l->store);
    *did = false;
    if (!is_most(l, space.free_len + space.pending_len + tree_freed_len(l), space.file_len)) return ST_OK;
    if (!is_most(l, space.free_len, space.file_len)) TRY(settle(l, err));
    store_trim(l->store);
    space = store_space(l->store);
    if (!is_most(l, space.free_len, space.file_len)) return ST_OK;
    status st = move_round(l, &moved_len, err);
    if (st == ST_NO_SPACE) return ST_OK; /* nothing is lost but the try */
    if (st != ST_OK || moved_len == 0) return st;
    TRY(settle(l, err));
    store_trim(l->store);
    *did = true;
    return ST_OK;
}
