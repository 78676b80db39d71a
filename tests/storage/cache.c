/* The block cache: hits, pins, the cap, eviction, forgetting, and many threads. */
#include "storage/cache.h"

#include <criterion/criterion.h>
#include <string.h>

#include "base/chance.h"
#include "os/thread.h"
#include "support/mem_fail.h"

static struct cache *new_cache(const struct mem *mem, size_t bytes_max) {
    struct cache *c;
    struct err err = ERR_INIT;
    cr_assert_eq(cache_new(mem, bytes_max, &c, &err), ST_OK);
    return c;
}

/* Puts a block of len bytes in, all of them `fill`, and lets go of it. */
static void put(struct cache *c, uint64_t segment_id, uint64_t at, uint32_t len, int fill,
                enum cache_priority priority) {
    struct cached_block *b = cache_new_block(c, len);
    cr_assert_not_null(b);
    memset(b->p, fill, len);
    cache_unpin(c, cache_insert(c, segment_id, at, b, priority));
}

static bool has(struct cache *c, uint64_t segment_id, uint64_t at) {
    struct cached_block *b = cache_pin(c, segment_id, at);
    if (b != NULL) cache_unpin(c, b);
    return b != NULL;
}

Test(cache, finds_what_was_put_in_by_segment_and_place) {
    struct cache *c = new_cache(mem_default(), 1 << 20);
    put(c, 1, 100, 50, 'a', CACHE_LEAF);
    put(c, 2, 100, 60, 'b', CACHE_LEAF);
    struct cached_block *b = cache_pin(c, 2, 100);
    cr_assert_eq(b->len, 60);
    cr_assert_eq(b->p[59], 'b');
    cr_assert_eq((uintptr_t) b->p % 64, 0);
    cr_assert_null(cache_pin(c, 1, 101));
    cr_assert_null(cache_pin(c, 3, 100));
    cr_assert_gt(cache_stat(c).pinned_bytes, 60);
    cache_unpin(c, b);
    cr_assert_eq(cache_stat(c).pinned_bytes, 0);
    cr_assert_eq(cache_stat(c).hits, 1);
    cr_assert_eq(cache_stat(c).misses, 2);
    cache_free(c);
}

Test(cache, gives_the_first_of_two_that_were_made_for_one_place) {
    struct cache *c = new_cache(mem_default(), 1 << 20);
    struct cached_block *a = cache_new_block(c, 10), *b = cache_new_block(c, 10);
    cr_assert_eq(cache_insert(c, 1, 0, a, CACHE_LEAF), a);
    cr_assert_eq(cache_insert(c, 1, 0, b, CACHE_LEAF), a);
    cache_unpin(c, a);
    cache_unpin(c, a);
    cr_assert(has(c, 1, 0));
    cache_free(c);
}

Test(cache, stays_under_its_cap_and_keeps_what_is_used) {
    struct mem_fail mf;
    mem_fail_init(&mf, 0);
    struct cache *c = new_cache(&mf.mem, 1 << 20);
    put(c, 9, 0, 1000, 'h', CACHE_LEAF);
    put(c, 9, 1, 1000, 'i', CACHE_INNER);
    for (uint64_t i = 0; i < 5000; i++) {
        put(c, 1, i, 1000, 'x', CACHE_LEAF);
        if (i % 50 == 0) cr_assert(has(c, 9, 0), "a block in use was evicted after %lu", (unsigned long) i);
        cr_assert_leq(cache_stat(c).bytes, cache_stat(c).bytes_max);
    }
    cr_assert(has(c, 9, 1) || cache_stat(c).evictions > 4000);
    cr_assert_geq(cache_stat(c).bytes, (1 << 20) - 5000, "far below the cap");
    cr_assert_eq(cache_stat(c).bytes, mem_fail_live(&mf), "the count is what is held");
    cache_free(c);
    cr_assert_eq(mem_fail_live(&mf), 0);
}

Test(cache, parents_outlive_leaves) {
    struct cache *c = new_cache(mem_default(), 1 << 20);
    for (uint64_t i = 0; i < 100; i++) put(c, 2, i, 1000, 'p', CACHE_INNER);
    for (uint64_t i = 0; i < 1500; i++) put(c, 1, i, 1000, 'l', CACHE_LEAF);
    size_t kept = 0;
    for (uint64_t i = 0; i < 100; i++) kept += has(c, 2, i);
    cr_assert_gt(kept, 95, "%zu parents are left", kept);
    cache_free(c);
}

Test(cache, never_evicts_a_pinned_block_and_goes_over_the_cap_instead) {
    struct cache *c = new_cache(mem_default(), 100000);
    struct cached_block *pins[200];
    for (uint64_t i = 0; i < 200; i++) {
        pins[i] = cache_insert(c, 1, i, cache_new_block(c, 5000), CACHE_LEAF);
        memset(pins[i]->p, (int) i, 5000);
    }
    cr_assert_gt(cache_stat(c).bytes, 200 * 5000);
    for (uint64_t i = 0; i < 200; i++) {
        cr_assert_eq(pins[i]->p[4999], (uint8_t) i);
        cache_repin(pins[i]);
        cache_unpin(c, pins[i]);
        cache_unpin(c, pins[i]);
    }
    put(c, 2, 0, 10, 'x', CACHE_LEAF);
    cr_assert_leq(cache_stat(c).bytes, 100000);
    cache_free(c);
}

Test(cache, forgets_a_segment_but_for_its_pinned_blocks) {
    struct mem_fail mf;
    mem_fail_init(&mf, 0);
    struct cache *c = new_cache(&mf.mem, 1 << 20);
    for (uint64_t i = 0; i < 100; i++) put(c, 1 + i % 2, i, 100, 'x', CACHE_LEAF);
    struct cached_block *b = cache_pin(c, 1, 0);
    cache_forget_segment(c, 1);
    for (uint64_t i = 0; i < 100; i++) cr_assert_eq(has(c, 1 + i % 2, i), i % 2 == 1);
    cr_assert_eq(b->p[99], 'x');
    cache_unpin(c, b);
    cache_free(c);
    cr_assert_eq(mem_fail_live(&mf), 0);
}

Test(cache, survives_every_failing_allocation) {
    for (uint64_t n = 1;; n++) {
        struct mem_fail mf;
        struct cache *c = NULL;
        mem_fail_init(&mf, n);
        mf.once = n % 2 == 0;
        if (cache_new(&mf.mem, 1 << 20, &c, NULL) == ST_OK) {
            for (uint64_t i = 0; i < 3000; i++) {
                struct cached_block *b = cache_new_block(c, 10);
                if (b == NULL) continue;
                cache_unpin(c, cache_insert(c, 1, i, b, CACHE_LEAF));
                cr_assert(has(c, 1, i));
            }
        }
        cache_free(c);
        cr_assert_eq(mem_fail_live(&mf), 0);
        if (!mem_fail_hit(&mf)) break;
        if (n > 300) n += n / 3;
    }
}

struct worker {
    struct cache *c;
    struct thread thread;
    uint64_t seed;
};

/* Pins, makes, repins and forgets blocks whose bytes tell their place. */
static void *work(void *ctx) {
    struct worker *w = ctx;
    struct chance chance;
    chance_init(&chance, w->seed);
    for (int i = 0; i < 20000; i++) {
        uint64_t at = chance_below(&chance, 300), id = 1 + chance_below(&chance, 3);
        struct cached_block *b = cache_pin(w->c, id, at);
        if (b == NULL) {
            b = cache_new_block(w->c, 500);
            memset(b->p, (int) (at + id), 500);
            b = cache_insert(w->c, id, at, b, at % 10 == 0 ? CACHE_INNER : CACHE_LEAF);
        }
        cr_assert_eq(b->p[0], (uint8_t) (at + id));
        cr_assert_eq(b->p[499], (uint8_t) (at + id));
        cache_repin(b);
        cache_unpin(w->c, b);
        if (i % 5000 == 77) cache_forget_segment(w->c, id);
        if (i % 1000 == 5) (void) cache_stat(w->c);
        cr_assert_eq(b->p[250], (uint8_t) (at + id));
        cache_unpin(w->c, b);
    }
    return NULL;
}

Test(cache, serves_many_threads) {
    struct cache *c = new_cache(mem_default(), 200000);
    struct worker workers[4];
    for (uint64_t i = 0; i < 4; i++) {
        workers[i] = (struct worker){.c = c, .seed = i};
        cr_assert_eq(thread_start(&workers[i].thread, work, &workers[i], NULL), ST_OK);
    }
    for (int i = 0; i < 4; i++) thread_join(&workers[i].thread);
    cr_assert_eq(cache_stat(c).pinned_bytes, 0);
    cr_assert_leq(cache_stat(c).bytes, 200000 + 1000);
    cache_free(c);
}
