/* Runs of entries; see segment_run.h. */
#include "support/segment_run.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static int by_key(const void *a, const void *b) {
    const struct slice *x = a, *y = b;
    return slice_compare(*x, *y);
}

static struct slice make_key(struct arena *arena, const struct run_shape *shape, struct chance *chance) {
    size_t own = 1 + chance_below(chance, shape->key_len_max);
    uint8_t *p = arena_alloc(arena, shape->prefix_len + own);
    memset(p, 'p', shape->prefix_len);
    for (size_t i = 0; i < own; i++) p[shape->prefix_len + i] = (uint8_t) chance_below(chance, shape->alphabet);
    return (struct slice){p, shape->prefix_len + own};
}

static void make_entry(struct run *r, struct slice key, uint64_t seq, const struct run_shape *shape,
                       struct chance *chance) {
    struct entry *e = &r->entries[r->count++];
    uint64_t dice = chance_below(chance, 10);
    *e = (struct entry){.key = key, .seq = seq, .kind = dice == 0 ? ENTRY_DELETE : dice == 1 ? ENTRY_ADD : ENTRY_PUT};
    if (e->kind == ENTRY_DELETE) return;
    size_t len = e->kind == ENTRY_ADD ? 8 : chance_below(chance, shape->value_len_max + 1);
    uint8_t *p = arena_alloc(&r->arena, len + 1);
    for (size_t i = 0; i < len; i++) p[i] = (uint8_t) (i % 7 == 0 ? chance_next(chance) : 'v');
    e->value = (struct slice){p, len};
}

void run_make(struct run *r, const struct run_shape *shape, struct chance *chance) {
    *r = (struct run){0};
    arena_init(&r->arena, mem_default());
    struct slice *keys = malloc(shape->key_count * sizeof(*keys));
    for (size_t i = 0; i < shape->key_count; i++) keys[i] = make_key(&r->arena, shape, chance);
    qsort(keys, shape->key_count, sizeof(*keys), by_key);
    r->entries = malloc(shape->key_count * shape->version_max * sizeof(*r->entries));
    for (size_t i = 0; i < shape->key_count; i++) {
        if (i > 0 && slice_equal(keys[i], keys[i - 1])) continue;
        uint64_t seq = 1000 + chance_below(chance, 1000000);
        for (size_t n = 1 + chance_below(chance, shape->version_max); n > 0; n--) {
            make_entry(r, keys[i], seq, shape, chance);
            uint64_t step = 1 + chance_below(chance, 3);
            if (seq <= step) break;
            seq -= step;
        }
    }
    free(keys);
}

void run_release(struct run *r) {
    free(r->entries);
    arena_release(&r->arena);
}

size_t run_search(const struct run *r, struct slice key, uint64_t seq) {
    size_t lo = 0, hi = r->count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (entry_compare(r->entries[mid].key, r->entries[mid].seq, key, seq) < 0) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

status run_write(const struct run *r, struct store *store, const struct mem *mem, const struct run_shape *shape,
                 uint64_t id, struct segment_meta *meta, struct err *err) {
    struct segment_opts opts = {shape->leaf_len, shape->compression, shape->filter_bits};
    struct segment_writer *w;
    TRY(segment_writer_new(store, mem, &opts, id, 1, &w, err));
    for (size_t i = 0; i < r->count; i++) {
        status st = segment_writer_add(w, &r->entries[i], err);
        if (st != ST_OK) {
            segment_writer_abort(w);
            return st;
        }
    }
    return segment_writer_finish(w, meta, err);
}

void test_store_open(struct test_store *t) {
    struct manifest m;
    struct err err = ERR_INIT;
    cr_assert_eq(env_memory_new(mem_default(), &t->env, &err), ST_OK, "%s", err.text);
    struct store_opts opts = {.create = true};
    cr_assert_eq(store_open(t->env, "/test.elmo", &opts, &t->store, &m, &err), ST_OK, "%s", err.text);
    manifest_release(&m);
}

void test_store_close(struct test_store *t) {
    store_close(t->store);
    env_free(t->env);
}
