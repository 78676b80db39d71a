/* Readers that keep their snapshot through flushes, merges, range deletes, bulk loads and freed large values: what they see stays, by every way
 * of reading. Run under ThreadSanitizer too.
 *
 *   ELMO_READERS_ROUNDS  rounds of each writer, default 60 */
#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/chance.h"
#include "base/hash.h"
#include "os/thread.h"
#include "support/kv_ease.h"

#define WRITERS 2
#define READERS 2
#define GROUPS 6      /* of each writer */
#define GROUP_KEYS 24 /* written in one commit, deleted in one: a snapshot has all of a group or none */

struct shared {
    struct kv *kv;
    uint64_t rounds;
    _Atomic int writing;
};
struct worker {
    struct shared *shared;
    uint32_t number;
    struct thread thread;
};

static struct slice key_of(char room[32], uint64_t group, uint64_t i) {
    return slice_of(room,
                    (size_t) snprintf(room, 32, "%03llu/%03llu", (unsigned long long) group, (unsigned long long) i));
}

/* A value says whose it is; some are large. */
static struct slice value_of(uint8_t *room, struct slice key, struct chance *c) {
    size_t len = chance_below(c, 12) == 0 ? 40000 + chance_below(c, 30000) : 20 + chance_below(c, 400);
    memset(room, key.p[key.len - 1], len);
    memcpy(room, key.p, key.len);
    return slice_of(room, len);
}

static void put_group(struct kv *kv, uint64_t group, struct chance *c, uint8_t *room) {
    struct kv_txn *t;
    struct err err = ERR_INIT;
    char name[32];
    cr_assert_eq(kv_begin(kv, false, &t, NULL), ST_OK);
    for (uint64_t i = 0; i < GROUP_KEYS; i++) {
        struct slice key = key_of(name, group, i);
        cr_assert_eq(kv_put(t, key, value_of(room, key, c), &err), ST_OK, "%s", err.text);
    }
    cr_assert_eq(kv_commit(t, KV_SYNC_LATER, &err), ST_OK, "%s", err.text);
}

static void delete_group(struct kv *kv, uint64_t group, bool by_range) {
    struct kv_txn *t;
    struct err err = ERR_INIT;
    char lo[32], hi[32];
    cr_assert_eq(kv_begin(kv, false, &t, NULL), ST_OK);
    if (by_range) {
        cr_assert_eq(kv_delete_range(t, key_of(lo, group, 0), key_of(hi, group, GROUP_KEYS), &err), ST_OK, "%s",
                     err.text);
    } else {
        for (uint64_t i = 0; i < GROUP_KEYS; i++)
            cr_assert_eq(kv_delete(t, key_of(lo, group, i), &err), ST_OK, "%s", err.text);
    }
    cr_assert_eq(kv_commit(t, KV_SYNC_LATER, &err), ST_OK, "%s", err.text);
}

/* A group of its own, never used again, loaded below the deletes of every second key. What remains is checked at once and at the end. */
static void load_group(struct kv *kv, uint64_t group, struct chance *c, uint8_t *room) {
    struct kv_txn *snapshot;
    struct kv_bulk *b;
    struct err err = ERR_INIT;
    char name[32];
    cr_assert_eq(kv_begin(kv, true, &snapshot, NULL), ST_OK);
    for (uint64_t i = 0; i < GROUP_KEYS; i += 2) {
        (void) key_of(name, group, i);
        ease_delete(kv, name);
    }
    cr_assert_eq(kv_bulk_begin(snapshot, &b, &err), ST_OK, "%s", err.text);
    for (uint64_t i = 0; i < GROUP_KEYS; i++) {
        struct slice key = key_of(name, group, i);
        cr_assert_eq(kv_bulk_put(b, key, value_of(room, key, c), &err), ST_OK, "%s", err.text);
    }
    cr_assert_eq(kv_bulk_commit(b, &err), ST_OK, "%s", err.text);
    kv_abort(snapshot);
}

static void *write_rounds(void *ctx) {
    struct worker *w = ctx;
    struct kv *kv = w->shared->kv;
    struct chance c;
    chance_init(&c, w->number + 1);
    uint8_t *room = malloc(80000);
    bool there[GROUPS] = {false};
    for (uint64_t round = 0; round < w->shared->rounds; round++) {
        uint64_t g = chance_below(&c, GROUPS), group = w->number * GROUPS + g;
        if (there[g] && chance_below(&c, 3) != 0) delete_group(kv, group, chance_below(&c, 2) != 0), there[g] = false;
        else put_group(kv, group, &c, room), there[g] = true;
        if (round % 8 == 0) load_group(kv, 100 + round / 8 * WRITERS + w->number, &c, room);
        if (chance_below(&c, 10) == 0) cr_assert_eq(lsm_kv_compact(kv, NULL), ST_OK);
    }
    free(room);
    atomic_fetch_sub(&w->shared->writing, 1);
    return NULL;
}

/* What a scan sees, as one number; groups must be whole. */
static uint64_t scan(struct kv_txn *t, bool forward, bool rests) {
    struct kv_cursor *cursor;
    struct err err = ERR_INIT;
    uint64_t sum = 0, counts[200] = {0};
    cr_assert_eq(kv_cursor_open(t, NULL, &cursor, &err), ST_OK);
    status st = forward ? kv_first(cursor, &err) : kv_last(cursor, &err);
    for (uint64_t n = 0; st == ST_OK; n++) {
        struct slice value, key = kv_cursor_key(cursor);
        char digits[4] = {(char) key.p[0], (char) key.p[1], (char) key.p[2], 0};
        counts[atoi(digits)]++;
        uint64_t seed = hash64(key.p, key.len, 7);
        cr_assert_eq(kv_cursor_value(cursor, &value, &err), ST_OK, "%s", err.text);
        key = kv_cursor_key(cursor);
        cr_assert(value.len >= key.len && memcmp(value.p, key.p, key.len) == 0, "the value of another key");
        sum += hash64(value.p, value.len, seed);
        if (rests && n % 7 == 0) kv_cursor_rest(cursor);
        st = forward ? kv_next(cursor, &err) : kv_prev(cursor, &err);
    }
    cr_assert_eq(st, ST_END, "%s", err.text);
    kv_cursor_close(cursor);
    for (int g = 0; g < 100; g++)
        cr_assert(counts[g] == 0 || counts[g] == GROUP_KEYS, "group %d has %llu keys", g,
                  (unsigned long long) counts[g]);
    for (int g = 100; g < 200; g++)
        cr_assert(counts[g] <= GROUP_KEYS, "group %d has %llu keys", g, (unsigned long long) counts[g]);
    return sum;
}

static uint64_t get_all(struct kv_txn *t, bool many) {
    uint64_t sum = 0;
    for (uint64_t g = 0; g < WRITERS * GROUPS; g++) {
        char names[GROUP_KEYS][32];
        struct slice keys[GROUP_KEYS];
        struct kv_value values[GROUP_KEYS]; /* get_many zeroes them */
        for (uint64_t i = 0; i < GROUP_KEYS; i++) keys[i] = key_of(names[i], g, i);
        if (many) cr_assert_eq(kv_get_many(t, GROUP_KEYS, keys, values, NULL), ST_OK);
        for (uint64_t i = 0; i < GROUP_KEYS; i++) {
            if (!many) values[i] = KV_VALUE_INIT;
            if (!many) cr_assert(!status_failed(kv_get(t, keys[i], &values[i], NULL)));
            if (values[i].bytes.p != NULL)
                sum += hash64(values[i].bytes.p, values[i].bytes.len, hash64(keys[i].p, keys[i].len, 7));
            kv_value_release(&values[i]);
        }
    }
    return sum;
}

static void *read_rounds(void *ctx) {
    struct worker *w = ctx;
    struct chance c;
    chance_init(&c, 1000 + w->number);
    while (atomic_load(&w->shared->writing) > 0) {
        struct kv_txn *t;
        cr_assert_eq(kv_begin(w->shared->kv, true, &t, NULL), ST_OK);
        uint64_t got = get_all(t, chance_below(&c, 2) != 0);
        for (int again = 0; again < 4; again++) {
            (void) scan(t, chance_below(&c, 2) != 0, chance_below(&c, 2) != 0);
            uint64_t now = get_all(t, chance_below(&c, 2) != 0);
            cr_assert_eq(got, now, "a snapshot changed");
        }
        kv_abort(t);
    }
    return NULL;
}

static void check_loaded(struct kv *kv, uint64_t rounds) {
    char name[32];
    struct kv_txn *t;
    cr_assert_eq(kv_begin(kv, true, &t, NULL), ST_OK);
    for (uint64_t group = 100; group < 100 + (rounds + 7) / 8 * WRITERS; group++)
        for (uint64_t i = 0; i < GROUP_KEYS; i++) {
            struct kv_value v = KV_VALUE_INIT;
            status st = kv_get(t, key_of(name, group, i), &v, NULL);
            cr_assert_eq(st, i % 2 == 0 ? ST_NOT_FOUND : ST_OK, "%s: %s", name, status_text(st));
            kv_value_release(&v);
        }
    cr_assert_eq(scan(t, true, false), scan(t, false, true));
    kv_abort(t);
}

Test(long_readers, a_snapshot_stays_what_it_is, .timeout = 120) {
    struct env *env = ease_env();
    struct lsm_opts opts = {.create = true,
                            .threads = 2,
                            .memtable_bytes = 32 << 10,
                            .segment_len = 16 << 10,
                            .level_len = 32 << 10,
                            .level_ratio = 2,
                            .leaf_len = 1024,
                            .cache_bytes = 128 << 10,
                            .log_file_len = 128 << 10,
                            .log_zero_step = 32 << 10};
    const char *rounds = getenv("ELMO_READERS_ROUNDS");
    struct shared shared = {.kv = ease_open(env, "t.elmo", &opts),
                            .rounds = rounds != NULL ? strtoull(rounds, NULL, 10) : 60};
    struct worker workers[WRITERS + READERS];
    if (shared.rounds > 390) shared.rounds = 390; /* groups below 200 */
    atomic_init(&shared.writing, WRITERS);
    for (uint32_t i = 0; i < WRITERS + READERS; i++) {
        workers[i] = (struct worker){.shared = &shared, .number = i};
        cr_assert_eq(thread_start(&workers[i].thread, i < WRITERS ? write_rounds : read_rounds, &workers[i], NULL),
                     ST_OK);
    }
    for (uint32_t i = 0; i < WRITERS + READERS; i++) thread_join(&workers[i].thread);
    check_loaded(shared.kv, shared.rounds);
    ease_check(shared.kv);
    kv_close(shared.kv);
    shared.kv = ease_open(env, "t.elmo", &opts);
    check_loaded(shared.kv, shared.rounds);
    ease_check(shared.kv);
    kv_close(shared.kv);
    env_free(env);
}
