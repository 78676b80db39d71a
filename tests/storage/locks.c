/* Locks: who waits for whom, fairness, raising, timeouts, and mutual exclusion under threads. */
#include "storage/locks.h"

#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/chance.h"
#include "os/env.h"
#include "os/thread.h"
#include "support/mem_fail.h"

#define S(text) SLICE_LIT(text)

struct house {
    struct env *env;
    struct locks *t;
};

static struct house house(void) {
    struct house h;
    cr_assert_eq(env_memory_new(mem_default(), &h.env, NULL), ST_OK);
    cr_assert_eq(locks_new(mem_default(), h.env, &h.t, NULL), ST_OK);
    return h;
}

static void house_free(struct house *h) {
    locks_free(h->t);
    env_free(h->env);
}

Test(locks, shares_and_excludes) {
    struct house h = house();
    struct lock_owner a, b, c;
    struct err err = ERR_INIT;
    lock_owner_init(&a);
    lock_owner_init(&b);
    lock_owner_init(&c);
    cr_assert_eq(locks_acquire(h.t, &a, S("x"), false, 0, NULL), ST_OK);
    cr_assert_eq(locks_acquire(h.t, &b, S("x"), false, 0, NULL), ST_OK);
    cr_assert_eq(locks_acquire(h.t, &c, S("x"), true, 0, &err), ST_BUSY);
    cr_assert_eq(err.code, 46);
    cr_assert_eq(locks_acquire(h.t, &c, S("y"), true, 0, NULL), ST_OK);
    cr_assert_eq(locks_acquire(h.t, &a, S("y"), false, 1, NULL), ST_BUSY);
    cr_assert_eq(locks_acquire(h.t, &c, S("y"), false, 0, NULL), ST_OK); /* L1 */
    cr_assert(locks_held(h.t, &c, S("y"), true));
    cr_assert(!locks_held(h.t, &a, S("x"), true) && locks_held(h.t, &a, S("x"), false));
    cr_assert(!locks_held(h.t, &a, S("y"), false));
    cr_assert_eq(locks_acquire(h.t, &a, S("x"), true, 1, NULL), ST_BUSY); /* b is there */
    cr_assert(locks_held(h.t, &a, S("x"), false));                        /* L4 */
    locks_release_all(h.t, &b);
    cr_assert_eq(locks_acquire(h.t, &a, S("x"), true, 0, NULL), ST_OK); /* L3 */
    cr_assert_eq(locks_acquire(h.t, &b, S("x"), false, 0, NULL), ST_BUSY);
    locks_release_all(h.t, &a);
    cr_assert_eq(locks_acquire(h.t, &b, S("x"), true, 0, NULL), ST_OK);
    locks_release_all(h.t, &b);
    locks_release_all(h.t, &c);
    house_free(&h);
}

struct waiter {
    struct house *h;
    struct lock_owner o;
    bool is_exclusive;
    uint64_t timeout_ms;
    _Atomic int answer; /* -1: not yet */
};

static void *wait_on(void *ctx) {
    struct waiter *w = ctx;
    atomic_store(&w->answer, (int) locks_acquire(w->h->t, &w->o, S("x"), w->is_exclusive, w->timeout_ms, NULL));
    return NULL;
}

static void start(struct waiter *w, struct thread *thread) {
    atomic_store(&w->answer, -1);
    cr_assert_eq(thread_start(thread, wait_on, w, NULL), ST_OK);
}

/* Waits, by asking for what only a waiting exclusive request refuses, until that request stands in line. */
static void until_exclusive_waits(struct house *h) {
    for (;;) {
        struct lock_owner o;
        lock_owner_init(&o);
        status st = locks_acquire(h->t, &o, S("x"), false, 0, NULL);
        locks_release_all(h->t, &o);
        if (st == ST_BUSY) return;
    }
}

Test(locks, lets_a_waiting_exclusive_request_go_before_new_shared_ones) {
    struct house h = house();
    struct lock_owner a, b;
    struct thread threads[2] = {0};
    struct waiter ddl = {.h = &h, .is_exclusive = true, .timeout_ms = 60000}, reader = {.h = &h, .timeout_ms = 60000};
    lock_owner_init(&a);
    lock_owner_init(&b);
    cr_assert_eq(locks_acquire(h.t, &a, S("x"), false, 0, NULL), ST_OK);
    start(&ddl, &threads[0]);
    until_exclusive_waits(&h);
    start(&reader, &threads[1]);
    cr_assert_eq(locks_acquire(h.t, &b, S("x"), false, 5, NULL), ST_BUSY); /* L2 */
    cr_assert_eq(locks_acquire(h.t, &a, S("x"), false, 0, NULL), ST_OK);   /* but who has it keeps it */
    cr_assert_eq(atomic_load(&ddl.answer), -1);
    locks_release_all(h.t, &a);
    thread_join(&threads[0]);
    cr_assert_eq(atomic_load(&ddl.answer), ST_OK);
    cr_assert_eq(atomic_load(&reader.answer), -1);
    locks_release_all(h.t, &ddl.o);
    thread_join(&threads[1]);
    cr_assert_eq(atomic_load(&reader.answer), ST_OK);
    locks_release_all(h.t, &reader.o);
    house_free(&h);
}

Test(locks, wakes_shared_requests_when_the_exclusive_one_gives_up) {
    struct house h = house();
    struct lock_owner a;
    struct thread threads[2] = {0};
    struct waiter ddl = {.h = &h, .is_exclusive = true, .timeout_ms = 100}, reader = {.h = &h, .timeout_ms = 60000};
    lock_owner_init(&a);
    cr_assert_eq(locks_acquire(h.t, &a, S("x"), false, 0, NULL), ST_OK);
    start(&ddl, &threads[0]);
    until_exclusive_waits(&h);
    start(&reader, &threads[1]);
    thread_join(&threads[0]);
    cr_assert_eq(atomic_load(&ddl.answer), ST_BUSY);
    thread_join(&threads[1]); /* long before its minute is over */
    cr_assert_eq(atomic_load(&reader.answer), ST_OK);
    locks_release_all(h.t, &a);
    locks_release_all(h.t, &reader.o);
    house_free(&h);
}

Test(locks, refuses_the_second_of_two_that_raise) {
    struct house h = house();
    struct lock_owner b;
    struct thread thread = {0};
    struct waiter a = {.h = &h, .is_exclusive = true, .timeout_ms = 60000};
    lock_owner_init(&b);
    cr_assert_eq(locks_acquire(h.t, &a.o, S("x"), false, 0, NULL), ST_OK);
    cr_assert_eq(locks_acquire(h.t, &b, S("x"), false, 0, NULL), ST_OK);
    start(&a, &thread);
    until_exclusive_waits(&h);
    cr_assert_eq(locks_acquire(h.t, &b, S("x"), true, 60000, NULL), ST_BUSY); /* L3: at once */
    locks_release_all(h.t, &b);
    thread_join(&thread);
    cr_assert_eq(atomic_load(&a.answer), ST_OK);
    cr_assert(locks_held(h.t, &a.o, S("x"), true));
    locks_release_all(h.t, &a.o);
    house_free(&h);
}

Test(locks, survives_failing_allocations) {
    for (uint64_t n = 1;; n += 1 + n / 16) {
        struct mem_fail mf;
        mem_fail_init(&mf, n);
        mf.once = true;
        struct env *env;
        struct locks *t = NULL;
        struct lock_owner o, other;
        lock_owner_init(&o);
        lock_owner_init(&other);
        cr_assert_eq(env_memory_new(mem_default(), &env, NULL), ST_OK);
        if (locks_new(&mf.mem, env, &t, NULL) == ST_OK) {
            for (int i = 0; i < 2000; i++) { /* more than the buckets and the idle locks that are kept */
                char name[16];
                (void) snprintf(name, sizeof(name), "%d", i);
                status st = locks_acquire(t, &o, slice_str(name), i % 3 == 0, 0, NULL);
                cr_assert(st == ST_OK || (st == ST_NOMEM && mem_fail_hit(&mf)));
                cr_assert_eq(locks_held(t, &o, slice_str(name), false), st == ST_OK);
                if (i % 100 == 99) locks_release_all(t, &o);
                if (st != ST_OK) cr_assert_eq(locks_acquire(t, &other, slice_str(name), true, 0, NULL), ST_OK);
            }
            locks_release_all(t, &o);
            locks_release_all(t, &other);
        }
        locks_free(t);
        env_free(env);
        cr_assert_eq(mem_fail_live(&mf), 0);
        if (!mem_fail_hit(&mf)) break;
    }
}

/* --- threads --- */

enum { NAMES = 3 };

struct shared {
    struct house h;
    uint64_t plain[NAMES]; /* written under exclusive, read under shared locks */
    uint64_t copy[NAMES];
    _Atomic uint64_t granted[2];
};

static void *contend(void *ctx) {
    struct shared *sh = ctx;
    struct chance c;
    struct lock_owner o;
    chance_init(&c, (uint64_t) (uintptr_t) &c);
    lock_owner_init(&o);
    for (int i = 0; i < 3000; i++) {
        unsigned n = (unsigned) chance_below(&c, NAMES);
        char name = (char) ('a' + n);
        bool is_exclusive = chance_below(&c, 5) == 0, is_raised = chance_below(&c, 10) == 0;
        status st =
            locks_acquire(sh->h.t, &o, slice_of(&name, 1), is_exclusive && !is_raised, chance_below(&c, 20), NULL);
        if (st == ST_OK && is_exclusive && is_raised)
            st = locks_acquire(sh->h.t, &o, slice_of(&name, 1), true, 5, NULL);
        cr_assert(st == ST_OK || st == ST_BUSY);
        if (st == ST_OK && is_exclusive) {
            sh->plain[n]++;
            sh->copy[n]++;
        }
        if (st == ST_OK) {
            cr_assert_eq(sh->plain[n], sh->copy[n]);
            (void) atomic_fetch_add(&sh->granted[is_exclusive], 1);
        }
        locks_release_all(sh->h.t, &o);
    }
    return NULL;
}

Test(locks, keeps_readers_and_writers_apart) {
    static struct shared sh;
    sh.h = house();
    struct thread threads[4] = {0};
    for (int i = 0; i < 4; i++) cr_assert_eq(thread_start(&threads[i], contend, &sh, NULL), ST_OK);
    for (int i = 0; i < 4; i++) thread_join(&threads[i]);
    cr_assert_gt(sh.granted[0], 1000);
    cr_assert_gt(sh.granted[1], 200);
    cr_assert_eq(sh.plain[0] + sh.plain[1] + sh.plain[2], sh.granted[1]);
    house_free(&sh.h);
}

Test(locks, is_fast) {
    if (getenv("MICRO") == NULL) return;
    struct house h = house();
    struct lock_owner a, b;
    struct timespec s, e;
    lock_owner_init(&a);
    lock_owner_init(&b);
    (void) locks_acquire(h.t, &b, S("collection"), false, 0, NULL);
    (void) clock_gettime(CLOCK_MONOTONIC, &s);
    for (int i = 0; i < 5000000; i++) {
        (void) locks_acquire(h.t, &a, S("collection"), false, 0, NULL);
        locks_release_all(h.t, &a);
    }
    (void) clock_gettime(CLOCK_MONOTONIC, &e);
    fprintf(stderr, "shared lock taken and given back: %.1f ns\n",
            ((double) (e.tv_sec - s.tv_sec) * 1e9 + (double) (e.tv_nsec - s.tv_nsec)) / 5e6);
    locks_release_all(h.t, &b);
    house_free(&h);
}
