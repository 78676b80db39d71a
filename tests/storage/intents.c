/* Intents: who conflicts with whom, against a naive table, and that two threads never both get a key. */
#include "storage/intents.h"

#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/chance.h"
#include "base/endian.h"
#include "os/thread.h"
#include "support/mem_fail.h"

#define S(text) SLICE_LIT(text)

static struct intents *table(const struct mem *mem) {
    struct intents *t;
    cr_assert_eq(intents_new(mem, &t, NULL), ST_OK);
    return t;
}

Test(intents, refuses_a_second_writer_and_lets_adders_share) {
    struct intents *t = table(mem_default());
    struct intent_owner a, b;
    struct err err = ERR_INIT;
    intent_owner_init(&a, mem_default());
    intent_owner_init(&b, mem_default());
    cr_assert_eq(intents_acquire(t, &a, S("k"), INTENT_WRITE, NULL), ST_OK);
    cr_assert_eq(intents_acquire(t, &a, S("k"), INTENT_ADD, NULL), ST_OK);
    cr_assert_eq(intents_acquire(t, &b, S("k"), INTENT_WRITE, &err), ST_CONFLICT);
    cr_assert_eq(err.code, 112);
    cr_assert(err.labels & ERR_TRANSIENT);
    cr_assert_eq(intents_acquire(t, &b, S("k"), INTENT_ADD, NULL), ST_CONFLICT);
    cr_assert_eq(intents_acquire(t, &a, S("n"), INTENT_ADD, NULL), ST_OK);
    cr_assert_eq(intents_acquire(t, &b, S("n"), INTENT_ADD, NULL), ST_OK);
    cr_assert_eq(intents_acquire(t, &a, S("n"), INTENT_WRITE, NULL), ST_CONFLICT); /* not while b adds */
    intents_release_all(t, &b);
    cr_assert_eq(intents_acquire(t, &a, S("n"), INTENT_WRITE, NULL), ST_OK);
    cr_assert_eq(intents_acquire(t, &b, S("n"), INTENT_ADD, NULL), ST_CONFLICT);
    intents_release_all(t, &a);
    cr_assert_eq(intents_acquire(t, &b, S("k"), INTENT_WRITE, NULL), ST_OK);
    intents_release_all(t, &b);
    cr_assert_eq(intents_count(t), 0);
    intents_free(t);
}

/* --- against a naive table --- */

enum { OWNERS = 4, KEYS = 12 };

struct naive {
    int point[OWNERS][KEYS]; /* 0, or 1 + enum intent_kind */
    bool range[OWNERS][KEYS];
};

static bool naive_point(struct naive *n, int o, int key, int kind) {
    if (n->point[o][key] == 1 + INTENT_WRITE || (n->point[o][key] != 0 && kind == INTENT_ADD)) return true;
    for (int other = 0; other < OWNERS; other++) {
        if (other == o) continue;
        if (n->range[other][key]) return false;
        if (n->point[other][key] == 1 + INTENT_WRITE || (n->point[other][key] != 0 && kind == INTENT_WRITE))
            return false;
    }
    n->point[o][key] = 1 + kind;
    return true;
}

static bool naive_range(struct naive *n, int o, int lo, int hi) {
    for (int other = 0; other < OWNERS; other++)
        for (int key = lo; key < hi && other != o; key++)
            if (n->point[other][key] != 0 || n->range[other][key]) return false;
    for (int key = lo; key < hi; key++) n->range[o][key] = true;
    return true;
}

Test(intents, answers_as_a_naive_table) {
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct chance c;
        chance_init(&c, seed);
        struct mem_fail mf;
        mem_fail_init(&mf, 0);
        struct intents *t = table(&mf.mem);
        struct intent_owner owners[OWNERS];
        struct naive n = {0};
        for (int o = 0; o < OWNERS; o++) intent_owner_init(&owners[o], &mf.mem);
        for (int step = 0; step < 300; step++) {
            int o = (int) chance_below(&c, OWNERS), key = (int) chance_below(&c, KEYS);
            char lo = (char) ('a' + key), hi;
            uint64_t what = chance_below(&c, 10);
            if (what == 0) {
                intents_release_all(t, &owners[o]);
                memset(n.point[o], 0, sizeof(n.point[o]));
                memset(n.range[o], 0, sizeof(n.range[o]));
            } else if (what == 1) {
                int end = key + (int) chance_below(&c, 4);
                if (end > KEYS) end = KEYS;
                hi = (char) ('a' + end);
                bool want = key >= end || naive_range(&n, o, key, end);
                status st = intents_acquire_range(t, &owners[o], slice_of(&lo, 1), slice_of(&hi, 1), NULL);
                cr_assert_eq(st, want ? ST_OK : ST_CONFLICT, "seed %lu step %d", seed, step);
            } else {
                enum intent_kind kind = what < 6 ? INTENT_ADD : INTENT_WRITE;
                bool want = naive_point(&n, o, key, kind);
                cr_assert_eq(intents_acquire(t, &owners[o], slice_of(&lo, 1), kind, NULL), want ? ST_OK : ST_CONFLICT,
                             "seed %lu step %d", seed, step);
            }
            uint64_t count = 0;
            for (int i = 0; i < OWNERS; i++)
                for (int k = 0; k < KEYS; k++) count += n.point[i][k] != 0;
            cr_assert_eq(intents_count(t), count, "seed %lu", seed);
        }
        for (int o = 0; o < OWNERS; o++) intents_release_all(t, &owners[o]);
        intents_free(t);
        cr_assert_eq(mem_fail_live(&mf), 0);
    }
}

Test(intents, survives_every_failing_allocation) {
    for (uint64_t n = 1;; n++) {
        struct mem_fail mf;
        mem_fail_init(&mf, n);
        mf.once = true;
        struct intents *t = NULL;
        struct intent_owner a, b;
        intent_owner_init(&a, &mf.mem);
        intent_owner_init(&b, &mf.mem);
        if (intents_new(&mf.mem, &t, NULL) == ST_OK) {
            for (uint32_t i = 0; i < 5000; i++) {
                uint8_t key[4];
                put_be32(key, i);
                status st = intents_acquire(t, &a, slice_of(key, 4), INTENT_WRITE, NULL);
                cr_assert(st == ST_OK || (st == ST_NOMEM && mem_fail_hit(&mf)));
                /* What was refused for memory was not taken. */
                cr_assert_eq(intents_acquire(t, &b, slice_of(key, 4), INTENT_WRITE, NULL),
                             st == ST_OK ? ST_CONFLICT : ST_OK);
                if (i % 500 != 0) continue;
                st = intents_acquire_range(t, &a, S("x"), S("y"), NULL);
                cr_assert(st == ST_OK || (st == ST_NOMEM && mem_fail_hit(&mf)));
            }
            intents_release_all(t, &a);
            intents_release_all(t, &b);
        }
        intents_free(t);
        cr_assert_eq(mem_fail_live(&mf), 0);
        if (!mem_fail_hit(&mf)) break;
    }
}

/* --- threads --- */

struct shared {
    struct intents *t;
    _Atomic int writers[KEYS], adders[KEYS];
    uint64_t plain[KEYS]; /* written by whoever has the write intent: a race if two have it */
    _Atomic uint64_t granted, refused;
};

static void check_alone(struct shared *sh, int key) {
    cr_assert_eq(atomic_fetch_add(&sh->writers[key], 1), 0);
    cr_assert_eq(atomic_load(&sh->adders[key]), 0);
    sh->plain[key]++;
}

static void *contend(void *ctx) {
    struct shared *sh = ctx;
    struct chance c;
    struct intent_owner o;
    chance_init(&c, (uint64_t) (uintptr_t) &c);
    intent_owner_init(&o, mem_default());
    for (int i = 0; i < 4000; i++) {
        int held[KEYS] = {0};
        for (int j = 0; j < 3; j++) {
            int key = (int) chance_below(&c, KEYS);
            char lo = (char) ('a' + key), hi = (char) (lo + 2);
            if (held[key] != 0) continue;
            uint64_t what = chance_below(&c, 8);
            status st = what == 0 ? intents_acquire_range(sh->t, &o, slice_of(&lo, 1), slice_of(&hi, 1), NULL)
                : what < 4        ? intents_acquire(sh->t, &o, slice_of(&lo, 1), INTENT_ADD, NULL)
                                  : intents_acquire(sh->t, &o, slice_of(&lo, 1), INTENT_WRITE, NULL);
            (void) atomic_fetch_add(st == ST_OK ? &sh->granted : &sh->refused, 1);
            if (st != ST_OK) continue;
            if (what >= 1 && what < 4) {
                /* An add inside an own range is a range's. */
                if (held[key] == 0) {
                    held[key] = 1;
                    (void) atomic_fetch_add(&sh->adders[key], 1);
                    cr_assert_eq(atomic_load(&sh->writers[key]), 0);
                }
            } else {
                for (int k = key; k < KEYS && k < key + (what == 0 ? 2 : 1); k++) {
                    if (held[k] == 1) (void) atomic_fetch_sub(&sh->adders[k], 1);
                    if (held[k] != 2) check_alone(sh, k);
                    held[k] = 2;
                }
            }
        }
        for (int key = 0; key < KEYS; key++) {
            if (held[key] == 1) (void) atomic_fetch_sub(&sh->adders[key], 1);
            if (held[key] == 2) (void) atomic_fetch_sub(&sh->writers[key], 1);
        }
        intents_release_all(sh->t, &o);
    }
    return NULL;
}

Test(intents, gives_a_key_to_one_writer_at_a_time) {
    static struct shared sh;
    sh.t = table(mem_default());
    struct thread threads[4] = {0};
    for (int i = 0; i < 4; i++) cr_assert_eq(thread_start(&threads[i], contend, &sh, NULL), ST_OK);
    for (int i = 0; i < 4; i++) thread_join(&threads[i]);
    cr_assert_gt(sh.granted, 4000);
    cr_assert_eq(intents_count(sh.t), 0);
    intents_free(sh.t);
}

Test(intents, is_fast) {
    if (getenv("MICRO") == NULL) return;
    struct intents *t = table(mem_default());
    struct intent_owner o;
    struct timespec a, b, d;
    intent_owner_init(&o, mem_default());
    for (int round = 0; round < 3; round++) {
        (void) clock_gettime(CLOCK_MONOTONIC, &a);
        for (uint64_t i = 0; i < 100000; i++) {
            uint8_t key[20] = {1, 5, 0, 7};
            put_be64(key + 4, i);
            (void) intents_acquire(t, &o, slice_of(key, 20), INTENT_WRITE, NULL);
        }
        (void) clock_gettime(CLOCK_MONOTONIC, &b);
        intents_release_all(t, &o);
        (void) clock_gettime(CLOCK_MONOTONIC, &d);
        fprintf(stderr, "intent taken %.0f ns, given back %.0f ns\n",
                ((double) (b.tv_sec - a.tv_sec) * 1e9 + (double) (b.tv_nsec - a.tv_nsec)) / 1e5,
                ((double) (d.tv_sec - b.tv_sec) * 1e9 + (double) (d.tv_nsec - b.tv_nsec)) / 1e5);
    }
    intents_free(t);
}
