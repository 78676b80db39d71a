/* The registry of snapshots, alone and under threads that publish, hold and ask for the oldest at once. */
#include "storage/snapshots.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/chance.h"
#include "os/thread.h"
#include "support/mem_fail.h"

static struct snapshots *registry(const struct mem *mem, uint64_t published) {
    struct snapshots *s;
    cr_assert_eq(snapshots_new(mem, published, &s, NULL), ST_OK);
    return s;
}

static struct snapshot hold(struct snapshots *s) {
    struct snapshot snapshot;
    cr_assert_eq(snapshots_acquire(s, &snapshot, NULL), ST_OK);
    return snapshot;
}

Test(snapshots, oldest_is_the_least_that_is_held_or_can_be_taken) {
    struct snapshots *s = registry(mem_default(), 0);
    cr_assert_eq(snapshots_oldest(s), 0);
    struct snapshot zero = hold(s);
    cr_assert_eq(zero.seq, 0);
    snapshots_publish(s, 5);
    struct snapshot five = hold(s);
    snapshots_publish(s, 9);
    cr_assert_eq(five.seq, 5);
    cr_assert_eq(snapshots_oldest(s), 0);
    snapshots_release(s, &zero);
    cr_assert_null(zero.slot);
    snapshots_release(s, &zero);
    cr_assert_eq(snapshots_oldest(s), 5);
    cr_assert_eq(snapshots_count(s), 1);
    snapshots_release(s, &five);
    cr_assert_eq(snapshots_oldest(s), 9);
    snapshots_free(s);
}

Test(snapshots, lists_each_live_sequence_once_and_the_published_one_last) {
    struct mem_fail mf;
    mem_fail_init(&mf, 0);
    struct snapshots *s = registry(&mf.mem, 3);
    struct snapshot held[300];
    for (int i = 0; i < 300; i++) { /* more than a block has slots */
        held[i] = hold(s);
        if (i % 3 == 2) snapshots_publish(s, snapshots_published(s) + 2);
    }
    cr_assert_eq(snapshots_count(s), 300);
    uint64_t *list;
    size_t count;
    cr_assert_eq(snapshots_list(s, &mf.mem, &list, &count, NULL), ST_OK);
    cr_assert_eq(count, 101);
    for (size_t i = 0; i < count; i++) cr_assert_eq(list[i], 3 + 2 * i);
    mem_free(&mf.mem, list, count * sizeof(*list));
    uint64_t allocations = mf.count;
    for (int i = 0; i < 300; i++) {
        snapshots_release(s, &held[i]);
        held[i] = hold(s);
    }
    cr_assert_eq(mf.count, allocations); /* slots are used again */
    for (int i = 0; i < 300; i++) snapshots_release(s, &held[i]);
    cr_assert_eq(snapshots_list(s, &mf.mem, &list, &count, NULL), ST_OK);
    cr_assert(count == 1 && list[0] == 203);
    mem_free(&mf.mem, list, sizeof(*list));
    snapshots_free(s);
    cr_assert_eq(mem_fail_live(&mf), 0);
}

Test(snapshots, survives_every_failing_allocation) {
    for (uint64_t n = 1;; n++) {
        struct mem_fail mf;
        mem_fail_init(&mf, n);
        struct snapshots *s = NULL;
        struct snapshot held[100] = {0};
        uint64_t *list = NULL;
        size_t count = 0;
        status st = snapshots_new(&mf.mem, 1, &s, NULL);
        for (int i = 0; st == ST_OK && i < 100; i++) st = snapshots_acquire(s, &held[i], NULL);
        if (st == ST_OK) st = snapshots_list(s, &mf.mem, &list, &count, NULL);
        cr_assert_eq(st, mem_fail_hit(&mf) ? ST_NOMEM : ST_OK, "allocation %lu", n);
        if (list != NULL) mem_free(&mf.mem, list, count * sizeof(*list));
        for (int i = 0; i < 100 && s != NULL; i++) snapshots_release(s, &held[i]);
        snapshots_free(s);
        cr_assert_eq(mem_fail_live(&mf), 0);
        if (!mem_fail_hit(&mf)) break;
    }
}

/* --- N1 under threads --- */

struct shared {
    struct snapshots *s;
    _Atomic uint64_t dropped; /* what a merge has dropped: versions below it are gone */
    _Atomic bool is_done;
    _Atomic uint64_t held;
};

static void *hold_on(void *ctx) {
    struct shared *sh = ctx;
    while (!atomic_load(&sh->is_done)) {
        struct snapshot a = hold(sh->s);
        for (int i = 0; i < 5; i++)
            cr_assert_geq(a.seq, atomic_load(&sh->dropped)); /* still there, for as long as it is held */
        struct snapshot b = hold(sh->s);
        cr_assert_geq(b.seq, a.seq);
        snapshots_release(sh->s, &a);
        for (int i = 0; i < 5; i++) cr_assert_geq(b.seq, atomic_load(&sh->dropped));
        snapshots_release(sh->s, &b);
        (void) atomic_fetch_add(&sh->held, 1);
    }
    return NULL;
}

Test(snapshots, never_drops_what_a_snapshot_taken_meanwhile_reads) {
    struct shared sh = {.s = registry(mem_default(), 0)};
    struct thread threads[2] = {0};
    for (int i = 0; i < 2; i++) cr_assert_eq(thread_start(&threads[i], hold_on, &sh, NULL), ST_OK);
    /* A commit right before each question: what is dropped is as new as it may be. Without the second look of snapshots_acquire this mostly fails
     * within the million rounds on a machine of two cores. */
    for (uint64_t i = 0; i < 1000000 || atomic_load(&sh.held) < 1000; i++) {
        snapshots_publish(sh.s, i);
        uint64_t oldest = snapshots_oldest(sh.s);
        if (i % 256 == 0) {
            uint64_t *list;
            size_t count;
            cr_assert_eq(snapshots_list(sh.s, mem_default(), &list, &count, NULL), ST_OK);
            oldest = list[0];
            mem_free(mem_default(), list, count * sizeof(*list));
        }
        if (oldest > atomic_load(&sh.dropped)) atomic_store(&sh.dropped, oldest);
    }
    atomic_store(&sh.is_done, true);
    for (int i = 0; i < 2; i++) thread_join(&threads[i]);
    snapshots_free(sh.s);
}

Test(snapshots, is_fast) {
    if (getenv("MICRO") == NULL) return;
    struct snapshots *s = registry(mem_default(), 0);
    struct timespec a, b;
    (void) clock_gettime(CLOCK_MONOTONIC, &a);
    for (int i = 0; i < 10000000; i++) {
        struct snapshot snapshot;
        (void) snapshots_acquire(s, &snapshot, NULL);
        snapshots_release(s, &snapshot);
    }
    (void) clock_gettime(CLOCK_MONOTONIC, &b);
    fprintf(stderr, "snapshot taken and given back: %.1f ns\n",
            ((double) (b.tv_sec - a.tv_sec) * 1e9 + (double) (b.tv_nsec - a.tv_nsec)) / 1e7);
    snapshots_free(s);
}
