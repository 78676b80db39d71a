/* Point reads over a version, and the search for commits newer than a snapshot.
 *
 * Range deletes are asked first: what is older than the newest visible one over the key does not count, so the search starts with that sequence as the
 * least that is of interest. Then the sources from young to old. Levels alone do not order versions of a key (a bulk load puts old sequences above
 * newer ones), so the search goes on until no remaining source holds anything newer than what was found; for most trees that is at once.
 */
#include <assert.h>

#include "base/endian.h"
#include "storage/engine.h"

uint64_t lookup_cover(struct version *v, struct slice key, uint64_t snapshot) {
    uint64_t cover = v->cover != NULL ? fragments_cover(v->cover, key, snapshot) : 0;
    struct fragments *f = memtable_range_deletes(v->tables[0].m);
    if (f != NULL) {
        uint64_t c = fragments_cover(f, key, snapshot);
        if (c > cover) cover = c;
        fragments_unref(f);
    }
    return cover;
}

void found_release(struct lsm *l, struct found *f) {
    if (f->block != NULL) cache_unpin(l->cache, f->block);
    *f = (struct found){0};
}

/* What a search has and what it still wants: versions with sequence >= need. */
struct search {
    struct lsm *l;
    struct slice key;
    uint64_t snapshot, need, hash;
    bool has_found;
    struct found found;
};

static status search_run(struct search *s, struct run *r, struct err *err) {
    if (r->meta->max_seq < s->need || r->meta->entry_count == 0) return ST_OK;
    if (!segment_may_contain_hash(r->seg, s->hash)) return ST_OK;
    struct found f = {0};
    status st = segment_get(r->seg, s->key, s->snapshot, &f.e, &f.block, err);
    if (st == ST_NOT_FOUND) return ST_OK;
    TRY(st);
    if (f.e.seq < s->need) {
        found_release(s->l, &f);
        return ST_OK;
    }
    found_release(s->l, &s->found);
    s->found = f;
    s->has_found = true;
    s->need = f.e.seq + 1;
    return ST_OK;
}

static status search_runs(struct search *s, struct version *v, struct err *err) {
    for (size_t i = 0; i < v->level_at[1]; i++) {
        if (v->runs[i]->meta->max_seq < s->need) break; /* level 0 is ordered by it */
        if (run_spans(v->runs[i], s->key)) TRY(search_run(s, v->runs[i], err));
    }
    for (uint32_t level = 1; level < LEVEL_COUNT; level++) {
        if (v->max_seq[level] < s->need) break;
        if (v->level_at[level] == v->level_at[level + 1]) continue;
        struct run *r = version_run_of(v, level, s->key);
        if (r != NULL) TRY(search_run(s, r, err));
    }
    return ST_OK;
}

/* The newest version <= snapshot with a sequence >= cover, of whatever kind. */
static status newest(struct lsm *l, struct version *v, struct slice key, uint64_t snapshot, uint64_t cover,
                     struct found *out, struct err *err) {
    struct search s = {.l = l, .key = key, .snapshot = snapshot, .need = cover, .hash = segment_filter_hash(key)};
    for (size_t i = 0; i < v->table_count && !s.has_found; i++) {
        if (!memtable_may_contain(v->tables[i].m, s.hash) ||
            memtable_get(v->tables[i].m, key, snapshot, &s.found.e) != ST_OK)
            continue;
        if (s.found.e.seq < s.need) return ST_NOT_FOUND; /* tables are in order: all else is older still */
        s.has_found = true;
        s.found.table = v->tables[i].m;
        s.need = s.found.e.seq + 1;
    }
    if (!s.has_found) s.found = (struct found){0};
    status st = v->max_seq[0] < s.need ? ST_OK : search_runs(&s, v, err);
    if (st != ST_OK) {
        found_release(l, &s.found);
        return st;
    }
    if (!s.has_found) return ST_NOT_FOUND;
    *out = s.found;
    return ST_OK;
}

status lookup(struct lsm *l, struct version *v, struct slice key, uint64_t snapshot, struct found *out,
              struct err *err) {
    TRY(newest(l, v, key, snapshot, lookup_cover(v, key, snapshot), out, err));
    if (out->e.kind != ENTRY_DELETE) return ST_OK;
    found_release(l, out);
    return ST_NOT_FOUND;
}

status lookup_sum(struct lsm *l, struct version *v, struct slice key, struct found *f, int64_t *sum, struct err *err) {
    assert(f->e.kind == ENTRY_ADD);
    uint64_t cover = lookup_cover(v, key, f->e.seq), total = 0;
    for (;;) {
        uint64_t seq = f->e.seq;
        bool is_add = f->e.kind == ENTRY_ADD;
        if (f->e.kind != ENTRY_DELETE && f->e.kind != ENTRY_LARGE) total += (uint64_t) counter_of(f->e.value);
        found_release(l, f);
        if (!is_add || seq == 0) break;
        status st = newest(l, v, key, seq - 1, cover, f, err);
        if (st == ST_NOT_FOUND) break;
        TRY(st);
    }
    *sum = (int64_t) total;
    return ST_OK;
}

/* --- conflicts --- */

static status refuse(struct err *err) {
    return RAISE(err, ST_CONFLICT, "write conflict: the key was changed after this transaction began");
}

/* ST_CONFLICT when a version in (snapshot, ..] counts against the writer. For adds the chain is walked while it consists of adds. */
static status check_table(struct memtable *m, struct slice key, uint64_t hash, uint64_t snapshot, bool is_add,
                          struct err *err) {
    if (memtable_max_seq(m) <= snapshot || memtable_entry_count(m) == 0 || !memtable_may_contain(m, hash)) return ST_OK;
    struct entry e;
    for (uint64_t seq = SEQ_MAX; memtable_get(m, key, seq, &e) == ST_OK && e.seq > snapshot; seq = e.seq - 1)
        if (!is_add || e.kind != ENTRY_ADD) return refuse(err);
    return ST_OK;
}

static status check_run(struct lsm *l, struct run *r, struct slice key, uint64_t hash, uint64_t snapshot, bool is_add,
                        struct err *err) {
    if (r->meta->max_seq <= snapshot || r->meta->entry_count == 0 || !run_spans(r, key) ||
        !segment_may_contain_hash(r->seg, hash))
        return ST_OK;
    for (uint64_t seq = SEQ_MAX;;) {
        struct found f = {0};
        status st = segment_get(r->seg, key, seq, &f.e, &f.block, err);
        if (st == ST_NOT_FOUND) return ST_OK;
        TRY(st);
        struct entry e = f.e;
        found_release(l, &f);
        if (e.seq <= snapshot) return ST_OK;
        if (!is_add || e.kind != ENTRY_ADD) return refuse(err);
        seq = e.seq - 1;
    }
}

status lookup_newer(struct lsm *l, struct version *v, struct slice key, uint64_t snapshot, bool is_add,
                    struct err *err) {
    uint64_t hash = segment_filter_hash(key);
    if (lookup_cover(v, key, SEQ_MAX) > snapshot) return refuse(err);
    for (size_t i = 0; i < v->table_count; i++) TRY(check_table(v->tables[i].m, key, hash, snapshot, is_add, err));
    if (v->max_seq[0] <= snapshot) return ST_OK;
    for (size_t i = 0; i < v->level_at[1] && v->runs[i]->meta->max_seq > snapshot; i++)
        TRY(check_run(l, v->runs[i], key, hash, snapshot, is_add, err));
    for (uint32_t level = 1; level < LEVEL_COUNT && v->max_seq[level] > snapshot; level++) {
        struct run *r = version_run_of(v, level, key);
        if (r != NULL) TRY(check_run(l, r, key, hash, snapshot, is_add, err));
    }
    return ST_OK;
}

static status check_run_in(struct run *r, struct slice lo, struct slice hi, uint64_t snapshot, struct err *err) {
    if (r->meta->max_seq <= snapshot || r->meta->entry_count == 0 || !run_overlaps(r, lo, hi, true)) return ST_OK;
    struct source *s;
    TRY(segment_cursor(r->seg, false, &s, err));
    status st = s->ops->seek_ge(s, lo, SEQ_MAX, err);
    for (; st == ST_OK && slice_compare(s->at.key, hi) < 0; st = s->ops->next(s, err))
        if (s->at.seq > snapshot) {
            st = refuse(err);
            break;
        }
    s->ops->close(s);
    return st == ST_END ? ST_OK : st;
}

status lookup_newer_in(struct lsm *l, struct version *v, struct slice lo, struct slice hi, uint64_t snapshot,
                       struct err *err) {
    (void) l;
    if (v->cover != NULL && fragments_max_seq(v->cover, lo, hi) > snapshot) return refuse(err);
    struct fragments *f = memtable_range_deletes(v->tables[0].m);
    uint64_t newest_range = f != NULL ? fragments_max_seq(f, lo, hi) : 0;
    fragments_unref(f);
    if (newest_range > snapshot) return refuse(err);
    for (size_t i = 0; i < v->table_count; i++)
        if (memtable_max_seq(v->tables[i].m) > snapshot && memtable_newest_in(v->tables[i].m, lo, hi) > snapshot)
            return refuse(err);
    for (size_t i = 0; i < v->run_count; i++) TRY(check_run_in(v->runs[i], lo, hi, snapshot, err));
    return ST_OK;
}
