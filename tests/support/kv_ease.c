/* See kv_ease.h. */
#include "support/kv_ease.h"

#include <criterion/criterion.h>

struct env *ease_env(void) {
    struct env *env;
    cr_assert_eq(env_memory_new(mem_default(), &env, NULL), ST_OK);
    return env;
}

struct lsm_opts ease_opts(void) {
    return (struct lsm_opts){.create = true,
                             .memtable_bytes = 64 << 10,
                             .cache_bytes = 1 << 20,
                             .leaf_len = 1024,
                             .segment_len = 32 << 10,
                             .log_file_len = 64 << 10,
                             .log_zero_step = 16 << 10};
}

struct kv *ease_open(struct env *env, const char *path, const struct lsm_opts *opts) {
    struct lsm_opts small = ease_opts();
    struct err err = ERR_INIT;
    struct kv *kv = NULL;
    status st = lsm_kv_open(env, path, opts != NULL ? opts : &small, &kv, &err);
    cr_assert_eq(st, ST_OK, "%s", err.text);
    return kv;
}

static struct kv_txn *begin(struct kv *kv) {
    struct kv_txn *t = NULL;
    cr_assert_eq(kv_begin(kv, false, &t, NULL), ST_OK);
    return t;
}

static void commit(struct kv_txn *t) {
    struct err err = ERR_INIT;
    cr_assert_eq(kv_commit(t, KV_SYNC, &err), ST_OK, "%s", err.text);
}

void ease_put(struct kv *kv, const char *key, const char *value) {
    struct kv_txn *t = begin(kv);
    struct err err = ERR_INIT;
    cr_assert_eq(kv_put(t, slice_str(key), slice_str(value), &err), ST_OK, "%s", err.text);
    commit(t);
}

void ease_delete(struct kv *kv, const char *key) {
    struct kv_txn *t = begin(kv);
    cr_assert_eq(kv_delete(t, slice_str(key), NULL), ST_OK);
    commit(t);
}

void ease_delete_range(struct kv *kv, const char *lo, const char *hi) {
    struct kv_txn *t = begin(kv);
    cr_assert_eq(kv_delete_range(t, slice_str(lo), slice_str(hi), NULL), ST_OK);
    commit(t);
}

void ease_add(struct kv *kv, const char *key, int64_t delta) {
    struct kv_txn *t = begin(kv);
    cr_assert_eq(kv_add(t, slice_str(key), delta, NULL), ST_OK);
    commit(t);
}

void ease_expect(struct kv *kv, const char *key, const char *value) {
    struct kv_txn *t = begin(kv);
    struct kv_value v = KV_VALUE_INIT;
    struct err err = ERR_INIT;
    status st = kv_get(t, slice_str(key), &v, &err);
    cr_assert_eq(st, value != NULL ? ST_OK : ST_NOT_FOUND, "%s: %s %s", key, status_text(st), err.text);
    if (value != NULL)
        cr_assert(slice_equal(v.bytes, slice_str(value)), "%s is %.*s, not %s", key, (int) v.bytes.len,
                  (const char *) v.bytes.p, value);
    kv_value_release(&v);
    kv_abort(t);
}

int64_t ease_counter(struct kv *kv, const char *key) {
    struct kv_txn *t = begin(kv);
    struct kv_value v = KV_VALUE_INIT;
    status st = kv_get(t, slice_str(key), &v, NULL);
    cr_assert(st == ST_OK || st == ST_NOT_FOUND);
    int64_t n = st == ST_OK
        ? (int64_t) (v.bytes.len == 8 ? *(const int64_t *) (const void *) memcpy(&(int64_t){0}, v.bytes.p, 8) : 0)
        : 0;
    kv_value_release(&v);
    kv_abort(t);
    return n;
}

size_t ease_count(struct kv *kv) {
    struct kv_txn *t = begin(kv);
    struct kv_cursor *c;
    struct err err = ERR_INIT;
    size_t up = 0, down = 0;
    cr_assert_eq(kv_cursor_open(t, NULL, &c, &err), ST_OK, "%s", err.text);
    status st;
    for (st = kv_first(c, &err); st == ST_OK; st = kv_next(c, &err)) up++;
    cr_assert_eq(st, ST_END, "%s", err.text);
    uint64_t counted = 0;
    st = kv_first(c, &err);
    if (st == ST_OK) st = kv_cursor_count(c, UINT64_MAX, &counted, &err);
    cr_assert_eq(counted, up, "the count is %llu, a scan gives %zu", (unsigned long long) counted, up);
    cr_assert_eq(st, ST_END, "%s", err.text);
    for (st = kv_last(c, &err); st == ST_OK; st = kv_prev(c, &err)) down++;
    cr_assert_eq(st, ST_END, "%s", err.text);
    cr_assert_eq(up, down, "%zu keys forward, %zu backward", up, down);
    kv_cursor_close(c);
    kv_abort(t);
    return up;
}

static void fault(void *ctx, const char *text) {
    (void) ctx;
    cr_assert_fail("check: %s", text);
}

void ease_check(struct kv *kv) {
    struct err err = ERR_INIT;
    cr_assert_eq(lsm_kv_check(kv, fault, NULL, &err), ST_OK, "%s", err.text);
}
