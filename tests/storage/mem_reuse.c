/* The hook that keeps chunks: lengths below, the cap, failing allocations. */
#include "storage/mem_reuse.h"

#include <criterion/criterion.h>
#include <string.h>

#include "base/chance.h"
#include "support/mem_fail.h"

/* mem_fail checks that every piece is freed with the length that it was allocated with. */
Test(mem_reuse, hands_out_what_was_asked_for_whatever_came_before) {
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct chance c;
        struct mem_fail mf;
        struct mem_reuse *r;
        uint8_t *p[40] = {0};
        size_t len[40] = {0};
        chance_init(&c, seed);
        mem_fail_init(&mf, 0);
        cr_assert_eq(mem_reuse_new(&mf.mem, 8 << 20, &r, NULL), ST_OK);
        const struct mem *mem = mem_reuse_hook(r);
        for (int step = 0; step < 200; step++) {
            size_t i = chance_below(&c, 40), n = (size_t) 1 << chance_below(&c, 24);
            n += chance_below(&c, n);
            if (chance_below(&c, 4) == 0) n = (size_t) 16384 << chance_below(&c, 9); /* the bounds of classes */
            uint8_t *q = chance_below(&c, 2) == 0 && p[i] != NULL ? mem_resize(mem, p[i], len[i], n) : NULL;
            if (q == NULL) {
                mem_free(mem, p[i], len[i]);
                len[i] = 0;
                q = mem_alloc(mem, n);
                cr_assert_not_null(q);
            }
            if (len[i] != 0)
                cr_assert(q[0] == (uint8_t) i && q[(len[i] < n ? len[i] : n) - 1] == (uint8_t) i, "seed %lu", seed);
            memset(q, (int) i, n); /* the sanitizer sees whether it is all there */
            p[i] = q;
            len[i] = n;
            cr_assert_leq(mem_reuse_kept(r), 8 << 20);
        }
        for (size_t i = 0; i < 40; i++) mem_free(mem, p[i], len[i]);
        mem_reuse_free(r);
        cr_assert_eq(mem_fail_live(&mf), 0);
    }
}

Test(mem_reuse, asks_below_only_for_what_it_does_not_keep) {
    struct mem_fail mf;
    struct mem_reuse *r;
    void *p[10];
    mem_fail_init(&mf, 0);
    cr_assert_eq(mem_reuse_new(&mf.mem, 5 << 20, &r, NULL), ST_OK);
    const struct mem *mem = mem_reuse_hook(r);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 10; i++) p[i] = mem_alloc(mem, 1 << 20);
        for (int i = 0; i < 10; i++) mem_free(mem, p[i], 1 << 20);
    }
    cr_assert_eq(mf.count, 1 + 10 + 5 + 5);
    cr_assert_eq(mem_reuse_kept(r), 5 << 20);
    mem_reuse_trim(r);
    cr_assert_eq(mem_reuse_kept(r), 0);
    mem_reuse_free(r);
    cr_assert_eq(mem_fail_live(&mf), 0);
}

Test(mem_reuse, gives_up_what_it_keeps_when_there_is_no_memory) {
    struct mem_fail mf;
    struct mem_reuse *r;
    mem_fail_init(&mf, 1);
    cr_assert_eq(mem_reuse_new(&mf.mem, 1 << 20, &r, NULL), ST_NOMEM);
    mem_fail_init(&mf, 3); /* the hook, one piece, then once none */
    mf.once = true;
    cr_assert_eq(mem_reuse_new(&mf.mem, 1 << 20, &r, NULL), ST_OK);
    const struct mem *mem = mem_reuse_hook(r);
    mem_free(mem, mem_alloc(mem, 100000), 100000);
    cr_assert_gt(mem_reuse_kept(r), 0);
    void *p = mem_alloc(mem, 200000);
    cr_assert_not_null(p);
    cr_assert_eq(mem_reuse_kept(r), 0);
    mem_free(mem, p, 200000);
    mem_reuse_free(r);
    cr_assert_eq(mem_fail_live(&mf), 0);
}
