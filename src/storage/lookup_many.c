/* Many point reads at once, so that they share their ways and their waits for memory overlap.
 *
 * One read follows a chain of places that are rarely in the processor's caches: filter, table of the block cache, leaf, entry. Done one after the other,
 * a hundred reads wait a hundred times for each; done in step, the memory fetches a place for many keys at the same time. A group of ascending keys is taken
 * through the steps together, each step asking ahead for what the next one reads. What holds for the whole group is found out once: which runs can have any
 * of its keys at all, and which span them all. Within a run a key goes on from where the one before it led to.
 *
 * Keys that are not simple (in a memtable by the filter's word, under a range delete, or perhaps in more than one segment) take the ordinary way, as do
 * groups that do not ascend.
 */
#include "storage/engine.h"

#define CANDIDATES_MAX 24u

/* A run that overlaps the group. */
struct candidate {
    struct run *run;
    bool spans_all;
    struct segment_way way;
};

struct many {
    uint64_t hash;
    struct candidate *in;      /* the only one that may have the key; NULL: none has */
    struct cached_block *leaf; /* pinned */
    uint32_t place;            /* in the leaf */
    bool is_plain;
};

struct group {
    struct lsm *l;
    struct version *v;
    const struct slice *keys;
    size_t n, candidate_count;
    uint64_t snapshot;
    struct candidate candidates[CANDIDATES_MAX];
    struct many at[LOOKUP_GROUP];
};

/* --- the group as a whole --- */

static bool add_candidate(struct group *g, struct run *r) {
    struct slice first = g->keys[0], last = g->keys[g->n - 1];
    if (r->meta->entry_count == 0 || !run_overlaps(r, first, last, false)) return true;
    if (g->candidate_count == CANDIDATES_MAX) return false;
    struct candidate *c = &g->candidates[g->candidate_count++];
    *c = (struct candidate){.run = r, .spans_all = run_spans(r, first) && run_spans(r, last)};
    return true;
}

/* False when there are too many. */
static bool find_candidates(struct group *g) {
    const struct version *v = g->v;
    g->candidate_count = 0;
    for (size_t i = 0; i < v->level_at[1]; i++)
        if (!add_candidate(g, v->runs[i])) return false;
    for (uint32_t level = 1; level < LEVEL_COUNT; level++) {
        size_t from, to;
        if (v->level_at[level] == v->level_at[level + 1]) continue;
        version_overlap(v, level, g->keys[0], g->keys[g->n - 1], false, &from, &to);
        for (; from < to; from++)
            if (!add_candidate(g, v->runs[from])) return false;
    }
    return true;
}

static bool ascends(const struct group *g) {
    for (size_t i = 1; i < g->n; i++)
        if (slice_compare(g->keys[i - 1], g->keys[i]) > 0) return false;
    return true;
}

/* --- the steps --- */

static void ask_for_filters(struct group *g) {
    for (size_t i = 0; i < g->n; i++) {
        uint64_t hash = segment_filter_hash(g->keys[i]);
        g->at[i] = (struct many){.hash = hash};
        for (size_t t = 0; t < g->v->table_count; t++) memtable_prefetch(g->v->tables[t].m, hash);
        for (size_t c = 0; c < g->candidate_count; c++) segment_prefetch_filter(g->candidates[c].run->seg, hash);
    }
}

/* False: the ordinary way. */
static bool choose(struct group *g, size_t i) {
    struct many *m = &g->at[i];
    for (size_t t = 0; t < g->v->table_count; t++)
        if (memtable_may_contain(g->v->tables[t].m, m->hash)) return false;
    for (size_t c = 0; c < g->candidate_count; c++) {
        struct candidate *in = &g->candidates[c];
        if (!in->spans_all && !run_spans(in->run, g->keys[i])) continue;
        if (!segment_may_contain_hash(in->run->seg, m->hash)) continue;
        if (m->in != NULL) return false;
        m->in = in;
    }
    return true;
}

static status find_leaves(struct group *g, struct err *err) {
    bool has_cover = g->v->cover != NULL || memtable_range_count(g->v->tables[0].m) != 0;
    for (size_t i = 0; i < g->n; i++) {
        struct many *m = &g->at[i];
        m->is_plain = choose(g, i) && (!has_cover || lookup_cover(g->v, g->keys[i], g->snapshot) == 0);
        if (!m->is_plain || m->in == NULL) continue;
        TRY(segment_find_leaf(m->in->run->seg, &m->in->way, g->keys[i], g->snapshot, &m->leaf, err));
    }
    return ST_OK;
}

static status read_leaf(const struct group *g, size_t i, struct found *out) {
    const struct many *m = &g->at[i];
    if (m->leaf == NULL) return ST_NOT_FOUND;
    status st = segment_get_in(m->leaf, m->place, g->keys[i], g->snapshot, &out->e);
    return st == ST_OK && out->e.kind == ENTRY_DELETE ? ST_NOT_FOUND : st;
}

/* Answers every key; *done says for how many before a failure. */
static status read_all(struct group *g, struct found *out, status *answers, size_t *done, struct err *err) {
    for (size_t i = 0; i < g->n; i++)
        if (g->at[i].leaf != NULL) g->at[i].place = segment_place_in(g->at[i].leaf, g->keys[i]);
    for (*done = 0; *done < g->n; ++*done) {
        size_t i = *done;
        struct many *m = &g->at[i];
        out[i] = (struct found){0};
        answers[i] =
            m->is_plain ? read_leaf(g, i, &out[i]) : lookup(g->l, g->v, g->keys[i], g->snapshot, &out[i], err);
        if (status_failed(answers[i])) return answers[i];
        if (m->is_plain && answers[i] == ST_OK) out[i].block = m->leaf, m->leaf = NULL; /* its pin goes along */
    }
    return ST_OK;
}

static status lookup_each(struct group *g, struct found *out, status *answers, size_t *done, struct err *err) {
    for (*done = 0; *done < g->n; ++*done) {
        out[*done] = (struct found){0};
        answers[*done] = lookup(g->l, g->v, g->keys[*done], g->snapshot, &out[*done], err);
        if (status_failed(answers[*done])) return answers[*done];
    }
    return ST_OK;
}

static status lookup_in_step(struct group *g, struct found *out, status *answers, size_t *done, struct err *err) {
    ask_for_filters(g);
    status st = find_leaves(g, err);
    for (size_t c = 0; c < g->candidate_count; c++) segment_leave(g->candidates[c].run->seg, &g->candidates[c].way);
    if (st == ST_OK) st = read_all(g, out, answers, done, err);
    for (size_t i = 0; i < g->n; i++) cache_unpin(g->l->cache, g->at[i].leaf); /* NULL is fine */
    return st;
}

status lookup_many(struct lsm *l, struct version *v, size_t n, const struct slice *keys, uint64_t snapshot,
                   struct found *out, status *answers, struct err *err) {
    struct group g;
    size_t done = 0;
    if (n == 0) return ST_OK;
    g.l = l, g.v = v, g.keys = keys, g.n = n, g.snapshot = snapshot;
    status st = n > 1 && ascends(&g) && find_candidates(&g) ? lookup_in_step(&g, out, answers, &done, err)
                                                           : lookup_each(&g, out, answers, &done, err);
    if (st == ST_OK) return ST_OK;
    for (size_t i = 0; i < done; i++)
        if (answers[i] == ST_OK) found_release(l, &out[i]);
    return st;
}
