/* Flush: the oldest immutable memtable becomes a segment.
 *
 * It goes to level 0; or, when nothing at all overlaps it, to the last level, so that sorted loads are written once.
 * Older versions that no snapshot sees are left behind, large values and tombstones not (their turn comes in merges). */
#include <assert.h>

#include "storage/rewrite.h"

/* The least and greatest keys of a memtable, its range deletes included. Owned copies. */
struct hull {
    struct buf lo, hi;
    bool hi_is_open;
};

static status widen(struct hull *h, struct slice lo, struct slice hi, bool hi_is_open, bool is_first, struct err *err) {
    if (is_first || slice_compare(lo, buf_slice(&h->lo)) < 0) {
        buf_clear(&h->lo);
        buf_append_slice(&h->lo, lo);
    }
    int c = is_first ? 1 : slice_compare(hi, buf_slice(&h->hi));
    if (c > 0) {
        buf_clear(&h->hi);
        buf_append_slice(&h->hi, hi);
        h->hi_is_open = hi_is_open;
    } else if (c == 0) {
        h->hi_is_open &= hi_is_open;
    }
    return h->lo.failed || h->hi.failed ? RAISE(err, ST_NOMEM, "bounds") : ST_OK;
}

static status find_hull(struct source *s, const struct fragments *f, struct hull *h, struct err *err) {
    bool is_first = true;
    status st = s->ops->first(s, err);
    if (st == ST_OK) {
        TRY(widen(h, s->at.key, s->at.key, false, true, err));
        TRY(s->ops->last(s, err));
        TRY(widen(h, s->at.key, s->at.key, false, false, err));
        is_first = false;
    } else if (st != ST_END) {
        return st;
    }
    size_t n = f != NULL ? fragments_count(f) : 0;
    if (n == 0) return ST_OK;
    TRY(widen(h, fragments_at(f, 0)->lo, fragments_at(f, 0)->hi, true, is_first, err));
    return widen(h, fragments_at(f, n - 1)->lo, fragments_at(f, n - 1)->hi, true, false, err);
}

/* tree_mutex held. The last level when nothing in any level, nor a running merge, overlaps the hull; else level 0. */
static uint32_t level_for(struct lsm *l, const struct hull *h) {
    struct slice lo = buf_slice(&h->lo), hi = buf_slice(&h->hi);
    if (tree_meets_merge(l, lo, hi, h->hi_is_open)) return 0;
    struct version *v = version_pin(l);
    bool meets = false;
    for (size_t i = 0; i < v->run_count && !meets; i++) meets = run_overlaps(v->runs[i], lo, hi, h->hi_is_open);
    version_unpin(v);
    return meets ? 0 : LEVEL_COUNT - 1;
}

/* Those of f as single ranges. */
static status list_ranges(struct lsm *l, const struct fragments *f, struct rewrite *r, struct err *err) {
    size_t n = 0;
    for (size_t i = 0; f != NULL && i < fragments_count(f); i++) n += fragments_at(f, i)->seq_count;
    if (n == 0) return ST_OK;
    r->ranges = mem_alloc(l->mem, n * sizeof(*r->ranges));
    if (r->ranges == NULL) return RAISE(err, ST_NOMEM, "range deletes");
    for (size_t i = 0; i < fragments_count(f); i++) {
        const struct fragment *at = fragments_at(f, i);
        for (uint32_t s = 0; s < at->seq_count; s++)
            r->ranges[r->range_count++] = (struct range_delete){at->lo, at->hi, at->seqs[s]};
    }
    return ST_OK;
}

static status write_table(struct lsm *l, struct memtable *m, struct rewrite *r, struct hull *h,
                          const struct fragments *f, struct err *err) {
    struct source *s;
    struct merge in;
    uint64_t *bounds = NULL;
    size_t bound_count = 0, range_cap = 0;
    merge_init(&in, l->mem);
    status st = merge_reserve(&in, 1, err);
    if (st == ST_OK) st = memtable_cursor(m, &s, err);
    if (st == ST_OK) {
        merge_push(&in, s);
        st = find_hull(s, f, h, err);
    }
    if (st == ST_OK) st = list_ranges(l, f, r, err);
    range_cap = r->range_count;
    if (st == ST_OK) st = snapshots_list(l->snapshots, l->mem, &bounds, &bound_count, err);
    if (st == ST_OK) {
        mutex_lock(&l->tree_mutex);
        r->level = level_for(l, h);
        mutex_unlock(&l->tree_mutex);
        r->in = &in;
        r->cut_len = r->level > 0 ? l->opts.segment_len : 0;
        r->bounds = bounds;
        r->bound_count = bound_count;
        r->cover = f;
        r->keeps_large = true;
        st = rewrite_all(r, err);
    }
    mem_free(l->mem, bounds, bound_count * sizeof(*bounds));
    mem_free(l->mem, r->ranges, range_cap * sizeof(*r->ranges));
    merge_release(&in);
    return st;
}

static status install(struct lsm *l, const struct table *t, struct rewrite *r, const struct hull *h, struct err *err) {
    mutex_lock(&l->tree_mutex);
    uint32_t level = r->level > 0 && level_for(l, h) < r->level ? 0 : r->level; /* something came in between */
    for (size_t i = 0; i < r->run_count; i++) r->runs[i]->level = level;
    struct tree_edit edit = {
        .version = {.flushed = t->m, .added = r->runs, .added_count = r->run_count},
        .is_flush = true,
        .replay_lsn = t->last_lsn,
        .last_seq = memtable_max_seq(t->m),
    };
    status st = tree_commit(l, &edit, err);
    mutex_unlock(&l->tree_mutex);
    return st;
}

static status flush_table(struct lsm *l, const struct table *t, struct err *err) {
    struct rewrite r = {.l = l};
    struct hull h = {0};
    buf_init(&h.lo, l->mem);
    buf_init(&h.hi, l->mem);
    rewrite_begin(&r);
    struct fragments *f = memtable_range_deletes(t->m);
    status st = write_table(l, t->m, &r, &h, f, err);
    if (st == ST_OK) {
        st = install(l, t, &r, &h, err);
        if (st != ST_OK) rewrite_forfeit(&r);
    }
    rewrite_release(&r);
    fragments_unref(f);
    buf_release(&h.lo);
    buf_release(&h.hi);
    if (st == ST_OK) (void) atomic_fetch_add(&l->flush_count, 1);
    return st;
}

status flush_oldest(struct lsm *l, bool *did, struct err *err) {
    status st = ST_OK;
    *did = false;
    mutex_lock(&l->flush_mutex);
    struct version *v = version_pin(l);
    if (v->table_count > 1) {
        st = flush_table(l, &v->tables[v->table_count - 1], err);
        *did = st == ST_OK;
    }
    version_unpin(v);
    mutex_unlock(&l->flush_mutex);
    if (*did) maintain_wake(l);
    return st;
}

status flush_everything(struct lsm *l, struct err *err) {
    struct commit_wait w;
    status st = ST_OK;
    for (bool is_full = true; is_full && st == ST_OK;) {
        for (bool did = true; did;) TRY(flush_oldest(l, &did, err));
        commit_lead(l, &w);
        is_full = atomic_load(&l->table_count) > TABLES_MAX; /* others came in between */
        if (!is_full) st = commit_switch(l, err);
        commit_yield(l, &w);
    }
    TRY(st);
    for (bool did = true; did;) TRY(flush_oldest(l, &did, err));
    return ST_OK;
}
