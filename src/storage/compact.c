/* Merges: which are due, and doing one.
 *
 * The last level takes what there is; the levels above it are each level_ratio times smaller, down to level_len; those that would be smaller are not used: level 0 then
 * merges straight into the first level that is. So a small database has two levels, and dead versions are at most about 1 / level_ratio of the data.
 *
 * Due, in this order:
 *   drop   a segment wholly under a range delete that every snapshot sees: unread
 *   level 0 has level0_count segments: all of it, with what it overlaps in the next used level
 *   a level is over its size: the segment with the least overlap below it, moved if there is none
 *   a segment is half tombstones, or has range deletes: down one level; in the last one rewritten in place, once they can go
 *
 * One merge at a time (merge_mutex). A failure leaves all as it was.
 *
 * Flushes and bulk loads install segments meanwhile. So the version that is merged, the hull announced to them (l->merging) and the list of snapshots
 * are of one moment, under tree_mutex: what came before it is in the version; what comes after it goes around the hull, and the snapshot
 * of such a load is in the list, which keeps the deletes above what it loads.
 */
#include <assert.h>

#include "storage/rewrite.h"

struct pick {
    struct run **inputs; /* references held */
    size_t count, cap;
    uint32_t level; /* of the output */
    bool is_drop;
    uint64_t *bounds; /* snapshots_list */
    size_t bound_count;
};

/* Runs outside a merge that may hold older versions of its keys. */
struct outside {
    struct lsm *l;
    struct run **runs;
    size_t count, cap;
    uint64_t table_min_seq;
};

/* --- sizes --- */

static uint64_t level_bytes(const struct version *v, uint32_t level) {
    uint64_t n = 0;
    for (size_t i = v->level_at[level]; i < v->level_at[level + 1]; i++)
        n += v->runs[i]->meta->file_len + v->runs[i]->meta->large_len;
    return n;
}

/* Sizes over which levels 1 to 5 are due; 0: not in use. */
static void level_targets(const struct lsm *l, const struct version *v, uint64_t targets[LEVEL_COUNT]) {
    uint64_t size = level_bytes(v, LEVEL_COUNT - 1);
    targets[0] = 0;
    targets[LEVEL_COUNT - 1] = UINT64_MAX;
    for (uint32_t level = LEVEL_COUNT - 2; level > 0; level--) {
        size /= l->opts.level_ratio;
        targets[level] = size >= l->opts.level_len ? size : 0;
    }
}

/* Where level 0 goes: the first level that is in use or holds anything. */
static uint32_t level_below_0(const struct version *v, const uint64_t targets[LEVEL_COUNT]) {
    for (uint32_t level = 1; level < LEVEL_COUNT; level++)
        if (targets[level] > 0 || v->level_at[level] < v->level_at[level + 1]) return level;
    return LEVEL_COUNT - 1;
}

/* --- picking --- */

static void pick_release(struct lsm *l, struct pick *p) {
    for (size_t i = 0; i < p->count; i++) run_unref(p->inputs[i]);
    mem_free(l->mem, p->inputs, p->cap * sizeof(*p->inputs));
    mem_free(l->mem, p->bounds, p->bound_count * sizeof(*p->bounds));
    *p = (struct pick){0};
}

static status pick_run(struct lsm *l, struct pick *p, struct run *r, struct err *err) {
    void *array = p->inputs;
    if (!mem_grow(l->mem, &array, &p->cap, p->count + 1, sizeof(*p->inputs))) return RAISE(err, ST_NOMEM, "merge");
    p->inputs = array;
    p->inputs[p->count++] = run_ref(r);
    return ST_OK;
}

/* The hull of the inputs. */
static void pick_hull(const struct pick *p, struct slice *lo, struct slice *hi, bool *hi_is_open) {
    *lo = p->inputs[0]->meta->min_key;
    *hi = p->inputs[0]->meta->max_key;
    *hi_is_open = p->inputs[0]->meta->max_is_exclusive;
    for (size_t i = 1; i < p->count; i++) {
        const struct segment_meta *m = p->inputs[i]->meta;
        if (slice_compare(m->min_key, *lo) < 0) *lo = m->min_key;
        int c = slice_compare(m->max_key, *hi);
        if (c > 0) *hi_is_open = m->max_is_exclusive;
        else if (c == 0) *hi_is_open &= m->max_is_exclusive;
        if (c > 0) *hi = m->max_key;
    }
}

/* Adds what the inputs overlap in the output level, if they do not come from there. */
static status pick_below(struct lsm *l, const struct version *v, struct pick *p, struct err *err) {
    struct slice lo, hi;
    bool hi_is_open;
    size_t from, to;
    pick_hull(p, &lo, &hi, &hi_is_open);
    version_overlap(v, p->level, lo, hi, hi_is_open, &from, &to);
    for (size_t i = from; i < to; i++) TRY(pick_run(l, p, v->runs[i], err));
    return ST_OK;
}

/* Whether contiguous range deletes, newer than the run and seen by all snapshots, cover all of it. */
static bool is_wholly_covered(const struct version *v, const struct run *r, uint64_t oldest) {
    struct slice at = r->meta->min_key;
    for (;;) {
        struct slice from = SLICE_NONE, until = SLICE_NONE;
        uint64_t seq = fragments_cover_until(v->run_cover, at, oldest, &from, &until);
        if (seq <= r->meta->max_seq) return false;
        if (until.len == 0) return true;
        int c = slice_compare(until, r->meta->max_key);
        if (c > 0 || (c == 0 && r->meta->max_is_exclusive)) return true;
        at = until;
    }
}

static status pick_drop(struct lsm *l, const struct version *v, uint64_t oldest, struct pick *p, struct err *err) {
    if (v->run_cover == NULL) return ST_OK;
    for (size_t i = 0; i < v->run_count; i++)
        if (is_wholly_covered(v, v->runs[i], oldest)) TRY(pick_run(l, p, v->runs[i], err));
    p->is_drop = p->count > 0;
    return ST_OK;
}

static uint64_t overlap_bytes(const struct version *v, const struct run *r, uint32_t level) {
    size_t from, to;
    uint64_t n = 0;
    version_overlap(v, level, r->meta->min_key, r->meta->max_key, r->meta->max_is_exclusive, &from, &to);
    for (size_t i = from; i < to; i++) n += v->runs[i]->meta->file_len;
    return n;
}

static status pick_level(struct lsm *l, const struct version *v, uint32_t level, struct pick *p, struct err *err) {
    struct run *best = NULL;
    double best_cost = 0;
    for (size_t i = v->level_at[level]; i < v->level_at[level + 1]; i++) {
        struct run *r = v->runs[i];
        double cost = (double) overlap_bytes(v, r, level + 1) / (double) (r->meta->file_len + 1);
        if (best != NULL && cost >= best_cost) continue;
        best = r;
        best_cost = cost;
    }
    assert(best != NULL);
    p->level = level + 1;
    TRY(pick_run(l, p, best, err));
    return pick_below(l, v, p, err);
}

/* Can a version older than seq lie in the bounds of r, elsewhere? */
static bool lies_over_older(const struct version *v, const struct run *r) {
    for (size_t i = 0; i < v->table_count; i++)
        if (memtable_min_seq(v->tables[i].m) < r->meta->max_seq) return true;
    for (size_t i = 0; i < v->run_count; i++)
        if (v->runs[i] != r && v->runs[i]->meta->min_seq < r->meta->max_seq &&
            run_overlaps(v->runs[i], r->meta->min_key, r->meta->max_key, r->meta->max_is_exclusive))
            return true;
    return false;
}

static bool is_dense_in_deletes(const struct run *r) {
    return r->meta->range_delete_count > 0 || 2 * r->meta->tombstone_count >= r->meta->entry_count;
}

static status pick_deletes(struct lsm *l, const struct version *v, uint64_t oldest, struct pick *p, struct err *err) {
    for (uint32_t level = 1; level < LEVEL_COUNT; level++)
        for (size_t i = v->level_at[level]; i < v->level_at[level + 1]; i++) {
            struct run *r = v->runs[i];
            if ((r->meta->tombstone_count == 0 && r->meta->range_delete_count == 0) || !is_dense_in_deletes(r) ||
                r->meta->max_seq > oldest)
                continue;
            bool is_last = level == LEVEL_COUNT - 1;
            if (is_last && lies_over_older(v, r)) continue;
            p->level = is_last ? level : level + 1;
            TRY(pick_run(l, p, r, err));
            return is_last ? ST_OK : pick_below(l, v, p, err);
        }
    return ST_OK;
}

static status pick_due(struct lsm *l, const struct version *v, struct pick *p, struct err *err) {
    uint64_t targets[LEVEL_COUNT], oldest = snapshots_oldest(l->snapshots);
    TRY(pick_drop(l, v, oldest, p, err));
    if (p->count > 0) return ST_OK;
    level_targets(l, v, targets);
    if (v->level_at[1] >= l->opts.level0_count) {
        p->level = level_below_0(v, targets);
        for (size_t i = 0; i < v->level_at[1]; i++) TRY(pick_run(l, p, v->runs[i], err));
        return pick_below(l, v, p, err);
    }
    for (uint32_t level = 1; level < LEVEL_COUNT - 1; level++)
        if (level_bytes(v, level) > targets[level]) return pick_level(l, v, level, p, err);
    return pick_deletes(l, v, oldest, p, err);
}

/* --- merging --- */

static bool has_older(void *ctx, struct slice lo, struct slice hi, uint64_t seq) {
    const struct outside *o = ctx;
    if (o->table_min_seq < seq) return true;
    for (size_t i = 0; i < o->count; i++)
        if (o->runs[i]->meta->min_seq < seq && run_overlaps(o->runs[i], lo, hi, false)) return true;
    return false;
}

static status find_outside(struct lsm *l, const struct version *v, const struct pick *p, struct outside *o,
                           struct err *err) {
    struct slice lo, hi;
    bool hi_is_open;
    pick_hull(p, &lo, &hi, &hi_is_open);
    o->table_min_seq = UINT64_MAX;
    for (size_t i = 0; i < v->table_count; i++)
        if (memtable_min_seq(v->tables[i].m) < o->table_min_seq) o->table_min_seq = memtable_min_seq(v->tables[i].m);
    for (size_t i = 0; i < v->run_count; i++) {
        struct run *r = v->runs[i];
        if (r->is_input || !run_overlaps(r, lo, hi, hi_is_open)) continue;
        void *array = o->runs;
        if (!mem_grow(l->mem, &array, &o->cap, o->count + 1, sizeof(*o->runs))) return RAISE(err, ST_NOMEM, "merge");
        o->runs = array;
        o->runs[o->count++] = r;
    }
    return ST_OK;
}

/* One source per input of level 0, one per level below. */
static status open_inputs(struct lsm *l, const struct pick *p, struct merge *in, struct err *err) {
    TRY(merge_reserve(in, p->count, err));
    struct source *s;
    for (size_t i = 0; i < p->count;) {
        size_t n = 1;
        while (p->inputs[i]->level > 0 && i + n < p->count && p->inputs[i + n]->level == p->inputs[i]->level) n++;
        TRY(level_source_new(l->mem, &p->inputs[i], n, false, &s, err));
        merge_push(in, s);
        i += n;
    }
    return ST_OK;
}

/* The inputs' range deletes that must live on. */
static status carry_ranges(struct lsm *l, const struct pick *p, struct rewrite *r, size_t *cap, struct err *err) {
    for (size_t i = 0; i < p->count; i++) {
        const struct fragments *f = segment_range_deletes(p->inputs[i]->seg);
        for (size_t j = 0; f != NULL && j < fragments_count(f); j++) {
            const struct fragment *at = fragments_at(f, j);
            for (uint32_t s = 0; s < at->seq_count; s++) {
                if (at->seqs[s] <= r->bounds[0] && !has_older(r->ctx, at->lo, at->hi, at->seqs[s])) continue;
                void *array = r->ranges;
                if (!mem_grow(l->mem, &array, cap, r->range_count + 1, sizeof(*r->ranges)))
                    return RAISE(err, ST_NOMEM, "range deletes");
                r->ranges = array;
                r->ranges[r->range_count++] = (struct range_delete){at->lo, at->hi, at->seqs[s]};
            }
        }
    }
    return ST_OK;
}

static status write_outputs(struct lsm *l, const struct version *v, const struct pick *p, struct rewrite *r,
                            struct err *err) {
    struct merge in;
    struct outside o = {.l = l};
    size_t range_cap = 0;
    merge_init(&in, l->mem);
    status st = find_outside(l, v, p, &o, err);
    if (st == ST_OK) st = open_inputs(l, p, &in, err);
    if (st == ST_OK) {
        r->in = &in;
        r->level = p->level;
        r->cut_len = l->opts.segment_len;
        r->bounds = p->bounds;
        r->bound_count = p->bound_count;
        r->cover = v->run_cover;
        r->has_older = has_older;
        r->ctx = &o;
        r->is_cancellable = true;
        st = carry_ranges(l, p, r, &range_cap, err);
    }
    if (st == ST_OK) st = rewrite_all(r, err);
    merge_release(&in);
    mem_free(l->mem, r->ranges, range_cap * sizeof(*r->ranges));
    mem_free(l->mem, o.runs, o.cap * sizeof(*o.runs));
    return st;
}

static status merge_inputs(struct lsm *l, const struct version *v, struct pick *p, struct err *err) {
    struct rewrite r = {.l = l};
    rewrite_begin(&r);
    for (size_t i = 0; i < p->count; i++) p->inputs[i]->is_input = true;
    status st = write_outputs(l, v, p, &r, err);

    mutex_lock(&l->tree_mutex);
    if (st == ST_OK) {
        uint64_t bytes = 0;
        for (size_t i = 0; i < r.run_count; i++) bytes += r.runs[i]->meta->file_len;
        struct tree_edit edit = {
            .version = {.added = r.runs, .added_count = r.run_count, .dropped = p->inputs, .dropped_count = p->count},
            .left = r.freed,
            .left_count = r.freed_count,
        };
        st = tree_commit(l, &edit, err);
        if (st != ST_OK) rewrite_forfeit(&r);
        else (void) atomic_fetch_add(&l->merged_len, bytes);
    }
    mutex_unlock(&l->tree_mutex);
    for (size_t i = 0; i < p->count; i++) p->inputs[i]->is_input = false;
    rewrite_release(&r);
    if (st == ST_OK) (void) atomic_fetch_add(&l->merge_count, 1);
    return st;
}

struct large_list {
    struct lsm *l;
    struct extent *extents;
    size_t count, cap;
};

static status note_large(void *ctx, struct extent e) {
    struct large_list *list = ctx;
    void *array = list->extents;
    if (!mem_grow(list->l->mem, &array, &list->cap, list->count + 1, sizeof(*list->extents))) return ST_NOMEM;
    list->extents = array;
    list->extents[list->count++] = e;
    return ST_OK;
}

static status drop_inputs(struct lsm *l, struct pick *p, struct err *err) {
    struct large_list large = {.l = l};
    status st = ST_OK;
    for (size_t i = 0; i < p->count && st == ST_OK; i++)
        if (p->inputs[i]->meta->large_len > 0) st = segment_large_extents(p->inputs[i]->seg, note_large, &large, err);
    if (st == ST_OK) {
        struct tree_edit edit = {.version = {.dropped = p->inputs, .dropped_count = p->count},
                                 .left = large.extents,
                                 .left_count = large.count};
        mutex_lock(&l->tree_mutex);
        st = tree_commit(l, &edit, err);
        mutex_unlock(&l->tree_mutex);
    }
    mem_free(l->mem, large.extents, large.cap * sizeof(*large.extents));
    if (st == ST_OK) (void) atomic_fetch_add(&l->drop_count, p->count);
    return st;
}

static status move_input(struct lsm *l, struct pick *p, struct err *err) {
    struct run *r = p->inputs[0];
    struct tree_edit edit = {.version = {.moved = r, .from_level = r->level, .to_level = p->level}};
    mutex_lock(&l->tree_mutex);
    status st = tree_commit(l, &edit, err);
    mutex_unlock(&l->tree_mutex);
    if (st == ST_OK) (void) atomic_fetch_add(&l->move_count, 1);
    return st;
}

static status run_pick(struct lsm *l, const struct version *v, struct pick *p, struct err *err) {
    if (p->is_drop) return drop_inputs(l, p, err);
    if (p->count == 1 && p->inputs[0]->level < p->level) return move_input(l, p, err);
    return merge_inputs(l, v, p, err);
}

/* tree_mutex held: from now on flushes and loads know of the merge. */
static status announce(struct lsm *l, struct pick *p, struct err *err) {
    TRY(snapshots_list(l->snapshots, l->mem, &p->bounds, &p->bound_count, err));
    l->merging.is_on = true;
    pick_hull(p, &l->merging.lo, &l->merging.hi, &l->merging.hi_is_open);
    return ST_OK;
}

static status pick_all(struct lsm *l, const struct version *v, struct pick *p, struct err *err) {
    p->level = LEVEL_COUNT - 1;
    for (size_t i = 0; i < v->run_count; i++) TRY(pick_run(l, p, v->runs[i], err));
    return ST_OK;
}

/* merge_mutex held. Does what `choose` picks, if anything. */
static status compact(struct lsm *l,
                      status (*choose)(struct lsm *, const struct version *, struct pick *, struct err *), bool *did,
                      struct err *err) {
    struct pick p = {0};
    mutex_lock(&l->tree_mutex);
    struct version *v = version_pin(l);
    status st = choose(l, v, &p, err);
    if (st == ST_OK && p.count > 0) st = announce(l, &p, err);
    mutex_unlock(&l->tree_mutex);
    *did = false;
    if (st == ST_OK && p.count > 0) {
        st = run_pick(l, v, &p, err);
        *did = st == ST_OK;
    }
    mutex_lock(&l->tree_mutex);
    l->merging.is_on = false; /* before its keys go */
    mutex_unlock(&l->tree_mutex);
    pick_release(l, &p);
    version_unpin(v);
    version_reclaim(l);
    return st;
}

status compact_one(struct lsm *l, bool *did, struct err *err) {
    *did = false;
    if (l->wal == NULL || atomic_load(&l->is_stopping)) return ST_OK;
    mutex_lock(&l->merge_mutex);
    status st = compact(l, pick_due, did, err);
    if (st == ST_OK && !*did) st = shrink_when_due(l, did, err);
    mutex_unlock(&l->merge_mutex);
    return st;
}

status compact_all(struct lsm *l, struct err *err) {
    bool did;
    TRY(flush_everything(l, err));
    mutex_lock(&l->merge_mutex);
    status st = compact(l, pick_all, &did, err);
    if (st == ST_OK) st = shrink_all(l, err);
    mutex_unlock(&l->merge_mutex);
    return st;
}
