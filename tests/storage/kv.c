/* The engine through kv.h: what a caller is promised, in small. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "storage/lsm.h"
#include "support/kv_ease.h"

TestSuite(kv);

Test(kv, keeps_what_was_committed_across_reopen) {
    struct env *env = ease_env();
    struct kv *kv = ease_open(env, "a.elmo", NULL);
    ease_put(kv, "apple", "1");
    ease_put(kv, "pear", "2");
    ease_expect(kv, "apple", "1");
    kv_close(kv);
    kv = ease_open(env, "a.elmo", NULL);
    ease_expect(kv, "apple", "1");
    ease_expect(kv, "pear", "2");
    ease_expect(kv, "plum", NULL);
    ease_check(kv);
    kv_close(kv);
    env_free(env);
}

Test(kv, reads_through_flush_and_merge) {
    struct env *env = ease_env();
    struct kv *kv = ease_open(env, "a.elmo", NULL);
    char key[32], value[64];
    for (int round = 0; round < 6; round++) {
        for (int i = 0; i < 500; i++) {
            snprintf(key, sizeof(key), "key%05d", (i * 7 + round * 31) % 1000);
            snprintf(value, sizeof(value), "value %d of %d", i, round);
            ease_put(kv, key, value);
        }
        cr_assert_eq(lsm_kv_flush(kv, NULL), ST_OK);
        cr_assert_eq(lsm_kv_maintain(kv, NULL), ST_OK);
        ease_check(kv);
    }
    size_t n = ease_count(kv);
    cr_assert_gt(n, 500);
    cr_assert_eq(lsm_kv_compact(kv, NULL), ST_OK);
    cr_assert_eq(ease_count(kv), n);
    ease_check(kv);
    kv_close(kv);
    kv = ease_open(env, "a.elmo", NULL);
    cr_assert_eq(ease_count(kv), n);
    kv_close(kv);
    env_free(env);
}

Test(kv, first_updater_wins) {
    struct env *env = ease_env();
    struct kv *kv = ease_open(env, "a.elmo", NULL);
    struct kv_txn *a, *b;
    struct err err = ERR_INIT;
    cr_assert_eq(kv_begin(kv, false, &a, NULL), ST_OK);
    cr_assert_eq(kv_begin(kv, false, &b, NULL), ST_OK);
    cr_assert_eq(kv_put(a, SLICE_LIT("k"), SLICE_LIT("a"), NULL), ST_OK);
    cr_assert_eq(kv_put(b, SLICE_LIT("k"), SLICE_LIT("b"), &err), ST_CONFLICT);
    cr_assert_eq(err.code, 112);
    cr_assert_eq(kv_commit(a, KV_SYNC, NULL), ST_OK);
    cr_assert_eq(kv_put(b, SLICE_LIT("k"), SLICE_LIT("b"), NULL), ST_CONFLICT);
    cr_assert_eq(kv_delete_range(b, SLICE_LIT("a"), SLICE_LIT("z"), NULL), ST_CONFLICT);
    cr_assert_eq(kv_put(b, SLICE_LIT("other"), SLICE_LIT("b"), NULL), ST_OK);
    cr_assert_eq(kv_commit(b, KV_SYNC, NULL), ST_OK);
    ease_expect(kv, "k", "a");
    ease_expect(kv, "other", "b");
    kv_close(kv);
    env_free(env);
}

/* Dropping collections one by one: each range delete costs what the last ones of it cost, not what all before it left in the memtable. */
Test(kv, many_small_range_deletes_stay_cheap, .timeout = 20) {
    enum { RANGES = 12000 };
    struct env *env = ease_env();
    struct lsm_opts opts = ease_opts();
    opts.memtable_bytes = 16 << 20;
    struct kv *kv = ease_open(env, "a.elmo", &opts);
    char lo[32], hi[32];
    for (int i = 0; i < RANGES; i += 100) {
        snprintf(lo, sizeof(lo), "key%05d", i);
        ease_put(kv, lo, "kept until its range goes");
    }
    ease_put(kv, "zebra", "stays");
    for (int i = 0; i < RANGES; i++) {
        snprintf(lo, sizeof(lo), "key%05d", i);
        snprintf(hi, sizeof(hi), "key%05d!", i);
        ease_delete_range(kv, lo, hi);
    }
    cr_assert_eq(ease_count(kv), 1);
    ease_expect(kv, "zebra", "stays");
    ease_check(kv);
    kv_close(kv);
    kv = ease_open(env, "a.elmo", NULL);
    cr_assert_eq(ease_count(kv), 1);
    kv_close(kv);
    env_free(env);
}
