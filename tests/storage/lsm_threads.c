/* Many threads on one database, with background maintenance: transfers between accounts keep their sum at every snapshot, counters lose nothing. Run under ThreadSanitizer too. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/chance.h"
#include "base/endian.h"
#include "os/thread.h"
#include "support/kv_ease.h"

#define ACCOUNTS 50
#define WORKERS 4

struct worker {
    struct kv *kv;
    uint64_t seed;
    uint32_t steps, conflicts, done;
    bool is_reader;
    struct thread thread;
};

static struct slice name_of(uint32_t i, char room[24]) {
    return slice_of(room, (size_t) snprintf(room, 24, "account/%03u", i));
}

static int64_t balance(struct kv_txn *t, uint32_t i) {
    char room[24];
    struct kv_value v = KV_VALUE_INIT;
    status st = kv_get(t, name_of(i, room), &v, NULL);
    cr_assert(st == ST_OK || st == ST_NOT_FOUND);
    int64_t n = st == ST_OK ? (int64_t) get_le64(v.bytes.p) : 0;
    kv_value_release(&v);
    return n;
}

static status set(struct kv_txn *t, uint32_t i, int64_t n) {
    char room[24];
    uint8_t bytes[200] = {0};
    put_le64(bytes, (uint64_t) n);
    return kv_put(t, name_of(i, room), slice_of(bytes, sizeof(bytes)), NULL);
}

static void transfer(struct worker *w, struct chance *c) {
    struct kv_txn *t;
    cr_assert_eq(kv_begin(w->kv, false, &t, NULL), ST_OK);
    uint32_t a = (uint32_t) chance_below(c, ACCOUNTS),
             b = (a + 1 + (uint32_t) chance_below(c, ACCOUNTS - 1)) % ACCOUNTS;
    int64_t amount = (int64_t) chance_below(c, 10), na = balance(t, a), nb = balance(t, b);
    status st = set(t, a, na - amount);
    if (st == ST_OK) st = set(t, b, nb + amount);
    if (st == ST_OK) st = kv_add(t, SLICE_LIT("transfers"), 1, NULL);
    if (st == ST_OK) {
        cr_assert_eq(kv_commit(t, chance_below(c, 4) ? KV_SYNC : KV_SYNC_LATER, NULL), ST_OK);
        w->done++;
        return;
    }
    cr_assert_eq(st, ST_CONFLICT);
    w->conflicts++;
    kv_abort(t);
}

static void sum_all(struct worker *w, struct chance *c) {
    struct kv_txn *t;
    struct kv_cursor *cursor;
    int64_t sum = 0;
    bool forward = chance_below(c, 2) != 0;
    struct kv_bounds bounds = {SLICE_LIT("account/"), SLICE_LIT("account0")};
    cr_assert_eq(kv_begin(w->kv, true, &t, NULL), ST_OK);
    cr_assert_eq(kv_cursor_open(t, &bounds, &cursor, NULL), ST_OK);
    status st = forward ? kv_first(cursor, NULL) : kv_last(cursor, NULL);
    for (; st == ST_OK; st = forward ? kv_next(cursor, NULL) : kv_prev(cursor, NULL)) {
        struct slice value;
        cr_assert_eq(kv_cursor_value(cursor, &value, NULL), ST_OK);
        sum += (int64_t) get_le64(value.p);
    }
    cr_assert_eq(st, ST_END);
    cr_assert_eq(sum, 0, "the accounts sum to %lld", (long long) sum);
    kv_cursor_close(cursor);
    sum = 0;
    for (uint32_t i = 0; i < ACCOUNTS; i++) sum += balance(t, i);
    cr_assert_eq(sum, 0, "the accounts sum to %lld by gets", (long long) sum);
    kv_abort(t);
}

static void *work(void *ctx) {
    struct worker *w = ctx;
    struct chance c;
    chance_init(&c, w->seed);
    for (uint32_t i = 0; i < w->steps; i++) {
        if (w->is_reader || chance_below(&c, 20) == 0) sum_all(w, &c);
        else transfer(w, &c);
    }
    return NULL;
}

static void run(enum lsm_sync sync) {
    struct env *env = ease_env();
    struct lsm_opts opts = {.create = true,
                            .sync = sync,
                            .threads = 2,
                            .memtable_bytes = 64 << 10,
                            .segment_len = 16 << 10,
                            .level_len = 64 << 10,
                            .level_ratio = 3,
                            .cache_bytes = 256 << 10,
                            .log_file_len = 256 << 10,
                            .log_zero_step = 64 << 10};
    struct kv *kv = ease_open(env, "bank.elmo", &opts);
    struct worker workers[WORKERS];
    for (uint32_t i = 0; i < WORKERS; i++) {
        workers[i] = (struct worker){.kv = kv, .seed = i + 1, .steps = i == 0 ? 150 : 800, .is_reader = i == 0};
        cr_assert_eq(thread_start(&workers[i].thread, work, &workers[i], NULL), ST_OK);
    }
    int64_t done = 0;
    for (uint32_t i = 0; i < WORKERS; i++) {
        thread_join(&workers[i].thread);
        done += workers[i].done;
    }
    cr_assert_gt(done, 0);
    cr_assert_eq(ease_counter(kv, "transfers"), done);
    ease_check(kv);
    kv_close(kv);
    kv = ease_open(env, "bank.elmo", &opts);
    cr_assert_eq(ease_counter(kv, "transfers"), done);
    kv_close(kv);
    env_free(env);
}

Test(lsm_threads, transfers_keep_the_sum, .timeout = 120) { run(LSM_SYNC_FULL); }
Test(lsm_threads, transfers_keep_the_sum_in_mode_normal, .timeout = 120) { run(LSM_SYNC_NORMAL); }
