/* Many point reads at once, so that their waits for memory overlap.
 *
 * One read follows a chain of places that are rarely in the processor's caches: filter, table of the block cache, leaf, entry. Done one after the other,
 * a hundred reads wait a hundred times for each; done in step, the memory fetches a place for many keys at the same time. A group of keys is taken through
 * the steps together, each step asking ahead for what the next one reads. Keys that are not simple (in a memtable by the filter's word, under a range
 * delete, or perhaps in more than one segment) take the ordinary way.
 */
#include "storage/engine.h"

struct many {
    uint64_t hash;
    struct run *run;           /* the only one that may have the key; NULL: none has */
    struct cached_block *leaf; /* pinned */
    bool is_plain;
};

static void prefetch_filters(struct version *v, struct slice key, uint64_t hash) {
    for (size_t i = 0; i < v->table_count; i++) memtable_prefetch(v->tables[i].m, hash);
    for (size_t i = 0; i < v->level_at[1]; i++)
        if (run_spans(v->runs[i], key)) segment_prefetch_filter(v->runs[i]->seg, hash);
    for (uint32_t level = 1; level < LEVEL_COUNT; level++) {
        struct run *r = v->level_at[level] != v->level_at[level + 1] ? version_run_of(v, level, key) : NULL;
        if (r != NULL) segment_prefetch_filter(r->seg, hash);
    }
}

/* False when a second one may have it. */
static bool choose_run(struct many *m, struct run *r) {
    if (r->meta->entry_count == 0 || !segment_may_contain_hash(r->seg, m->hash)) return true;
    if (m->run != NULL) return false;
    m->run = r;
    return true;
}

static bool choose(struct version *v, struct slice key, struct many *m) {
    for (size_t i = 0; i < v->table_count; i++)
        if (memtable_may_contain(v->tables[i].m, m->hash)) return false;
    for (size_t i = 0; i < v->level_at[1]; i++)
        if (run_spans(v->runs[i], key) && !choose_run(m, v->runs[i])) return false;
    for (uint32_t level = 1; level < LEVEL_COUNT; level++) {
        struct run *r = v->level_at[level] != v->level_at[level + 1] ? version_run_of(v, level, key) : NULL;
        if (r != NULL && !choose_run(m, r)) return false;
    }
    return true;
}

static status read_leaf(struct lsm *l, struct slice key, uint64_t snapshot, struct many *m, struct found *out) {
    *out = (struct found){0};
    if (m->run == NULL || segment_get_in(m->leaf, key, snapshot, &out->e) != ST_OK) return ST_NOT_FOUND;
    if (out->e.kind == ENTRY_DELETE) return ST_NOT_FOUND;
    out->block = m->leaf; /* its pin goes along */
    m->leaf = NULL;
    (void) l;
    return ST_OK;
}

status lookup_many(struct lsm *l, struct version *v, size_t n, const struct slice *keys, uint64_t snapshot,
                   struct found *out, status *answers, struct err *err) {
    struct many group[LOOKUP_GROUP];
    size_t done = 0;
    status st = ST_OK;
    bool has_cover = v->cover != NULL || memtable_has_ranges(v->tables[0].m);
    for (size_t i = 0; i < n; i++) {
        group[i] = (struct many){.hash = segment_filter_hash(keys[i])};
        prefetch_filters(v, keys[i], group[i].hash);
    }
    for (size_t i = 0; i < n && st == ST_OK; i++) {
        struct many *m = &group[i];
        m->is_plain = choose(v, keys[i], m) && (!has_cover || lookup_cover(v, keys[i], snapshot) == 0);
        if (m->is_plain && m->run != NULL) st = segment_find_leaf(m->run->seg, keys[i], snapshot, &m->leaf, err);
    }
    for (size_t i = 0; i < n && st == ST_OK; i++)
        if (group[i].leaf != NULL) segment_prefetch_search(group[i].leaf);
    for (size_t i = 0; i < n && st == ST_OK; i++)
        if (group[i].leaf != NULL) segment_prefetch_in(group[i].leaf, keys[i], snapshot);
    for (; done < n && st == ST_OK; done++) {
        answers[done] = group[done].is_plain ? read_leaf(l, keys[done], snapshot, &group[done], &out[done])
                                             : lookup(l, v, keys[done], snapshot, &out[done], err);
        if (!status_failed(answers[done])) continue;
        st = answers[done];
        break;
    }
    for (size_t i = 0; i < n; i++) cache_unpin(l->cache, group[i].leaf); /* NULL is fine */
    if (st == ST_OK) return ST_OK;
    for (size_t i = 0; i < done; i++)
        if (answers[i] == ST_OK) found_release(l, &out[i]);
    return st;
}
