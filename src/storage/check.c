/* lsm_kv_check: the store's own check, every segment, and what holds between segments (engine.h E5, extents used once). */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "storage/engine.h"

struct owned {
    struct extent e;
    uint64_t segment_id;
};

struct checker {
    struct lsm *l;
    void (*found)(void *ctx, const char *text);
    void *ctx;
    uint64_t segment_id;
    struct owned *owned;
    size_t count, cap;
};

static status own(void *ctx, struct extent e) {
    struct checker *c = ctx;
    void *array = c->owned;
    if (!mem_grow(c->l->mem, &array, &c->cap, c->count + 1, sizeof(*c->owned))) return ST_NOMEM;
    c->owned = array;
    c->owned[c->count++] = (struct owned){e, c->segment_id};
    return ST_OK;
}

static int compare_owned(const void *pa, const void *pb) {
    const struct owned *a = pa, *b = pb;
    return (a->e.at > b->e.at) - (a->e.at < b->e.at);
}

static status check_extents(struct checker *c, const struct version *v, struct err *err) {
    for (size_t i = 0; i < v->run_count; i++) {
        const struct segment_meta *m = v->runs[i]->meta;
        c->segment_id = m->id;
        for (uint32_t x = 0; x < m->extent_count; x++)
            if (own(c, m->extents[x]) != ST_OK) return RAISE(err, ST_NOMEM, "check");
        struct err why = ERR_INIT;
        status st = m->large_len > 0 ? segment_large_extents(v->runs[i]->seg, own, c, &why) : ST_OK;
        if (st == ST_NOMEM) return RAISE(err, ST_NOMEM, "check");
        if (st != ST_OK) c->found(c->ctx, why.text);
    }
    if (c->count > 1) qsort(c->owned, c->count, sizeof(*c->owned), compare_owned);
    for (size_t i = 1; i < c->count; i++) {
        const struct owned *a = &c->owned[i - 1], *b = &c->owned[i];
        if (a->e.at + a->e.len <= b->e.at) continue;
        char text[200];
        snprintf(text, sizeof(text), "segments %" PRIu64 " and %" PRIu64 " both own the bytes at %" PRIu64,
                 a->segment_id, b->segment_id, b->e.at);
        c->found(c->ctx, text);
    }
    return ST_OK;
}

static void check_order(struct checker *c, const struct version *v) {
    for (uint32_t level = 1; level < LEVEL_COUNT; level++)
        for (size_t i = v->level_at[level]; i + 1 < v->level_at[level + 1]; i++) {
            const struct segment_meta *a = v->runs[i]->meta, *b = v->runs[i + 1]->meta;
            int order = slice_compare(a->max_key, b->min_key);
            if (order < 0 || (order == 0 && a->max_is_exclusive)) continue;
            char text[200];
            snprintf(text, sizeof(text), "segments %" PRIu64 " and %" PRIu64 " of level %" PRIu32 " overlap", a->id,
                     b->id, level);
            c->found(c->ctx, text);
        }
}

status lsm_kv_check(struct kv *kv, void (*found)(void *ctx, const char *text), void *ctx, struct err *err) {
    struct lsm *l = lsm_of(kv);
    struct checker c = {.l = l, .found = found, .ctx = ctx};
    mutex_lock(&l->tree_mutex);
    struct version *v = version_pin(l);
    status st = store_check(l->store, &l->manifest, found, ctx, err);
    mutex_unlock(&l->tree_mutex);
    if (st == ST_OK) st = check_extents(&c, v, err);
    if (st == ST_OK) check_order(&c, v);
    for (size_t i = 0; i < v->run_count && st == ST_OK; i++) st = segment_check(v->runs[i]->seg, found, ctx, err);
    mem_free(l->mem, c.owned, c.cap * sizeof(*c.owned));
    version_unpin(v);
    return st;
}
