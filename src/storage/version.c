/* Versions: the immutable list of sources that readers see.
 *
 * `current` is replaced under version_mutex. A get reads it between version_enter and version_leave without taking a reference: it only counts
 * itself in a slot that it shares with few. A replaced version is retired: it is let go once every slot has been seen empty after the replacement.
 * Why that is enough: enter (a) adds to the slot, then (b) loads current; the replacement (x) stores current, then (y) reads the slot; all sequentially
 * consistent. If (y) misses the reader, (y) came before (a), so (x) before (b): the reader has the new version. Nobody ever waits.
 *
 * Cursors and maintenance hold references.
 */
#include <assert.h>
#include <stdlib.h>

#include "storage/engine.h"

/* --- runs --- */

status run_new(struct lsm *l, const struct segment_meta *meta, struct run **out, struct err *err) {
    struct run *r = mem_new(l->mem, struct run);
    if (r == NULL) return RAISE(err, ST_NOMEM, "segment handle");
    status st = segment_open(l->store, l->cache, l->mem, meta, &r->seg, err);
    if (st != ST_OK) {
        mem_delete(l->mem, r);
        return st;
    }
    r->l = l;
    r->meta = segment_meta(r->seg);
    r->level = meta->level;
    atomic_init(&r->refs, 1);
    *out = r;
    return ST_OK;
}

struct run *run_ref(struct run *r) {
    (void) atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
    return r;
}

void run_unref(struct run *r) {
    if (r == NULL || atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) != 1) return;
    struct lsm *l = r->l;
    struct run *heir = r->heir;
    if (!r->is_dropped || heir != NULL) {
        segment_unref(r->seg);
        mem_delete(l->mem, r);
        run_unref(heir);
        return;
    }
    cache_forget_segment(l->cache, r->meta->id);
    mutex_lock(&l->free_mutex);
    r->next_free = l->free_runs;
    l->free_runs = r;
    mutex_unlock(&l->free_mutex);
}

bool run_overlaps(const struct run *r, struct slice lo, struct slice hi, bool hi_is_open) {
    int c = slice_compare(r->meta->max_key, lo);
    if (c < 0 || (c == 0 && r->meta->max_is_exclusive)) return false;
    if (hi_is_open && hi.len == 0) return true;
    c = slice_compare(r->meta->min_key, hi);
    return c < 0 || (c == 0 && !hi_is_open);
}

/* --- building --- */

/* --- the list of all, in free_mutex --- */

static void list(struct lsm *l, struct version *v) {
    mutex_lock(&l->free_mutex);
    v->number = ++l->version_number;
    v->older = l->newest;
    if (v->older != NULL) v->older->newer = v;
    else l->oldest = v;
    l->newest = v;
    mutex_unlock(&l->free_mutex);
}

static void unlist(struct lsm *l, struct version *v) {
    mutex_lock(&l->free_mutex);
    *(v->older != NULL ? &v->older->newer : &l->oldest) = v->newer;
    *(v->newer != NULL ? &v->newer->older : &l->newest) = v->older;
    mutex_unlock(&l->free_mutex);
}

static void version_free(struct lsm *l, struct version *v) {
    for (size_t i = 0; i < v->table_count; i++) memtable_unref(v->tables[i].m);
    for (size_t i = 0; i < v->run_count; i++) run_unref(v->runs[i]);
    fragments_unref(v->cover);
    fragments_unref(v->run_cover);
    unlist(l, v);
    mem_free(l->mem, v, sizeof(*v) + (v->run_count > 0 ? v->run_count : 1) * sizeof(v->runs[0]));
}

static int compare_runs(const void *pa, const void *pb) {
    const struct run *a = *(struct run *const *) pa, *b = *(struct run *const *) pb;
    if (a->level != b->level) return a->level < b->level ? -1 : 1;
    if (a->level != 0) return slice_compare(a->meta->min_key, b->meta->min_key);
    if (a->meta->max_seq != b->meta->max_seq) return a->meta->max_seq > b->meta->max_seq ? -1 : 1;
    return (a->meta->id < b->meta->id) - (a->meta->id > b->meta->id);
}

static size_t count_ranges(const struct fragments *f) {
    size_t n = 0;
    for (size_t i = 0; i < fragments_count(f); i++) n += fragments_at(f, i)->seq_count;
    return n;
}

static void copy_ranges(const struct fragments *f, struct range_delete *out, size_t *n) {
    for (size_t i = 0; i < fragments_count(f); i++) {
        const struct fragment *fragment = fragments_at(f, i);
        for (uint32_t s = 0; s < fragment->seq_count; s++)
            out[(*n)++] = (struct range_delete){fragment->lo, fragment->hi, fragment->seqs[s]};
    }
}

/* The range deletes of the runs, and of the immutable tables too, in one; NULL when there are none. */
static status build_cover(struct lsm *l, const struct version *v, bool with_tables, struct fragments **out,
                          struct err *err) {
    struct fragments *tables[TABLES_MAX + 2] = {NULL};
    size_t n = 0, filled = 0;
    for (size_t i = 1; with_tables && i < v->table_count; i++) {
        tables[i] = memtable_range_deletes(v->tables[i].m);
        if (tables[i] != NULL) n += count_ranges(tables[i]);
    }
    for (size_t i = 0; i < v->run_count; i++)
        if (segment_range_deletes(v->runs[i]->seg) != NULL) n += count_ranges(segment_range_deletes(v->runs[i]->seg));
    status st = ST_OK;
    struct range_delete *all = n > 0 ? mem_alloc(l->mem, n * sizeof(*all)) : NULL;
    if (n > 0 && all == NULL) st = RAISE(err, ST_NOMEM, "range deletes");
    if (all != NULL) {
        for (size_t i = 1; i < v->table_count; i++)
            if (tables[i] != NULL) copy_ranges(tables[i], all, &filled);
        for (size_t i = 0; i < v->run_count; i++)
            if (segment_range_deletes(v->runs[i]->seg) != NULL)
                copy_ranges(segment_range_deletes(v->runs[i]->seg), all, &filled);
        st = fragments_new(l->mem, all, filled, out, err);
    }
    mem_free(l->mem, all, n * sizeof(*all));
    for (size_t i = 1; i < v->table_count; i++) fragments_unref(tables[i]);
    return st;
}

/* Sorts the runs, fills what is derived from them. */
static status finish_version(struct lsm *l, struct version *v, struct err *err) {
    if (v->run_count > 1) qsort(v->runs, v->run_count, sizeof(v->runs[0]), compare_runs);
    size_t i = 0;
    for (uint32_t level = 0; level < LEVEL_COUNT; level++) {
        v->level_at[level] = i;
        while (i < v->run_count && v->runs[i]->level == level) i++;
    }
    v->level_at[LEVEL_COUNT] = i;
    assert(i == v->run_count);
    for (uint32_t level = LEVEL_COUNT; level-- > 0;) {
        v->max_seq[level] = v->max_seq[level + 1];
        for (size_t r = v->level_at[level]; r < v->level_at[level + 1]; r++)
            if (v->runs[r]->meta->max_seq > v->max_seq[level]) v->max_seq[level] = v->runs[r]->meta->max_seq;
    }
    TRY(build_cover(l, v, false, &v->run_cover, err));
    return build_cover(l, v, true, &v->cover, err);
}

static struct version *version_alloc(struct lsm *l, size_t run_count) {
    struct version *v = mem_zalloc(l->mem, sizeof(*v) + (run_count > 0 ? run_count : 1) * sizeof(v->runs[0]));
    if (v == NULL) return NULL;
    v->l = l;
    atomic_init(&v->refs, 1);
    list(l, v);
    return v;
}

status version_first(struct lsm *l, struct memtable *active, struct run **runs, size_t n, struct err *err) {
    struct version *v = version_alloc(l, n);
    if (v == NULL) return RAISE(err, ST_NOMEM, "version");
    for (size_t i = 0; i < n; i++) v->runs[i] = run_ref(runs[i]);
    v->run_count = n;
    v->tables[0].m = memtable_ref(active);
    v->table_count = 1;
    status st = finish_version(l, v, err);
    if (st != ST_OK) version_free(l, v);
    else atomic_store(&l->current, v);
    if (st == ST_OK) atomic_store(&l->level0_count, (uint32_t) v->level_at[1]);
    return st;
}

bool version_is_free(struct lsm *l) {
    if (pthread_mutex_trylock(&l->version_mutex.m) != 0) return false;
    mutex_unlock(&l->version_mutex);
    return true;
}

static bool is_among(struct run *const *runs, size_t n, const struct run *r) {
    for (size_t i = 0; i < n; i++)
        if (runs[i] == r) return true;
    return false;
}

status version_prepare(struct lsm *l, const struct version_edit *edit, struct version **out, struct err *err) {
    mutex_lock(&l->version_mutex);
    const struct version *old = atomic_load(&l->current);
    struct version *v = version_alloc(l, old->run_count - edit->dropped_count + edit->added_count);
    if (v == NULL) {
        mutex_unlock(&l->version_mutex);
        return RAISE(err, ST_NOMEM, "version");
    }
    if (edit->moved != NULL) edit->moved->level = edit->to_level;
    if (edit->new_active != NULL) v->tables[v->table_count++].m = memtable_ref(edit->new_active);
    for (size_t i = 0; i < old->table_count; i++) {
        if (old->tables[i].m == edit->flushed) continue;
        assert(v->table_count < TABLES_MAX + 2);
        struct table t = {memtable_ref(old->tables[i].m), old->tables[i].last_lsn};
        if (i == 0 && edit->new_active != NULL) t.last_lsn = edit->last_lsn;
        v->tables[v->table_count++] = t;
    }
    for (size_t i = 0; i < old->run_count; i++)
        if (!is_among(edit->dropped, edit->dropped_count, old->runs[i]))
            v->runs[v->run_count++] = run_ref(old->runs[i]);
    for (size_t i = 0; i < edit->added_count; i++) v->runs[v->run_count++] = run_ref(edit->added[i]);
    assert(v->run_count == old->run_count - edit->dropped_count + edit->added_count);
    status st = finish_version(l, v, err);
    if (st != ST_OK) {
        version_discard(l, edit, v);
        return st;
    }
    *out = v;
    return ST_OK;
}

/* --- replacing --- */

/* version_mutex held. */
static void reclaim(struct lsm *l) {
    for (struct version **at = &l->retired; *at != NULL;) {
        struct version *v = *at;
        for (uint32_t i = 0; i < READER_SLOTS; i++)
            if ((v->waiting_for >> i & 1) != 0 && atomic_load(&l->slots[i].readers) == 0)
                v->waiting_for &= ~((uint64_t) 1 << i);
        if (v->waiting_for != 0) {
            at = &v->next_retired;
            continue;
        }
        *at = v->next_retired;
        version_unpin(v);
    }
}

void version_reclaim(struct lsm *l) {
    mutex_lock(&l->version_mutex);
    reclaim(l);
    mutex_unlock(&l->version_mutex);
}

void version_install(struct lsm *l, const struct version_edit *edit, struct version *v) {
    struct version *old = atomic_exchange(&l->current, v);
    atomic_store(&l->table_count, (uint32_t) v->table_count);
    atomic_store(&l->level0_count, (uint32_t) v->level_at[1]);
    for (size_t i = 0; i < edit->dropped_count; i++) edit->dropped[i]->is_dropped = true;
    for (size_t i = 0; i < edit->added_count; i++) run_unref(edit->added[i]);
    if (edit->new_active != NULL) memtable_unref(edit->new_active);
    old->waiting_for = ~(uint64_t) 0;
    old->next_retired = l->retired;
    l->retired = old;
    reclaim(l);
    mutex_unlock(&l->version_mutex);
}

void version_discard(struct lsm *l, const struct version_edit *edit, struct version *v) {
    if (edit->moved != NULL) edit->moved->level = edit->from_level;
    mutex_unlock(&l->version_mutex);
    version_free(l, v);
}

struct version *version_pin(struct lsm *l) {
    struct version *v = version_enter(l, 0);
    (void) atomic_fetch_add_explicit(&v->refs, 1, memory_order_relaxed);
    version_leave(l, 0);
    return v;
}

void version_unpin(struct version *v) {
    if (v == NULL || atomic_fetch_sub_explicit(&v->refs, 1, memory_order_acq_rel) != 1) return;

    version_free(v->l, v);
}

/* --- finding runs --- */

/* Level >= 1: the first run whose bounds do not end before key. */
static size_t first_reaching(const struct version *v, uint32_t level, struct slice key) {
    size_t lo = v->level_at[level], hi = v->level_at[level + 1];
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        int c = slice_compare(v->runs[mid]->meta->max_key, key);
        if (c < 0 || (c == 0 && v->runs[mid]->meta->max_is_exclusive)) lo = mid + 1;
        else hi = mid;
    }
    return lo;
}

struct run *version_run_of(const struct version *v, uint32_t level, struct slice key) {
    assert(level > 0);
    size_t i = first_reaching(v, level, key);
    return i < v->level_at[level + 1] && run_spans(v->runs[i], key) ? v->runs[i] : NULL;
}

void version_overlap(const struct version *v, uint32_t level, struct slice lo, struct slice hi, bool hi_is_open,
                     size_t *from, size_t *to) {
    assert(level > 0);
    *from = *to = first_reaching(v, level, lo);
    while (*to < v->level_at[level + 1] && run_overlaps(v->runs[*to], lo, hi, hi_is_open)) ++*to;
}
