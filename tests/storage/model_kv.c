/* The model itself, where its answers are easy to tell by hand. */
#include "support/model_kv.h"

#include <criterion/criterion.h>

#define S(text) SLICE_LIT(text)

static struct kv_txn *begin(struct kv *kv) {
    struct kv_txn *t;
    cr_assert_eq(kv_begin(kv, false, &t, NULL), ST_OK);
    return t;
}

static void expect(struct kv_txn *t, struct slice key, const char *want) {
    struct kv_value v = KV_VALUE_INIT;
    status st = kv_get(t, key, &v, NULL);
    cr_assert_eq(st, want == NULL ? ST_NOT_FOUND : ST_OK);
    if (want != NULL) cr_assert(slice_equal(v.bytes, slice_str(want)));
    kv_value_release(&v);
}

Test(model_kv, reads_its_snapshot_and_its_own_writes) {
    struct kv *kv = model_kv_new();
    struct kv_txn *a = begin(kv), *b = begin(kv);
    cr_assert_eq(kv_put(a, S("k"), S("1"), NULL), ST_OK);
    expect(a, S("k"), "1");
    expect(b, S("k"), NULL);
    cr_assert_eq(kv_put(b, S("k"), S("2"), NULL), ST_CONFLICT);
    cr_assert_eq(kv_commit(a, KV_SYNC, NULL), ST_OK);
    expect(b, S("k"), NULL);
    cr_assert_eq(kv_put(b, S("k"), S("2"), NULL), ST_CONFLICT);
    cr_assert_eq(kv_delete_range(b, S("a"), S("z"), NULL), ST_CONFLICT);
    kv_abort(b);
    a = begin(kv);
    expect(a, S("k"), "1");
    kv_abort(a);
    kv_close(kv);
}

Test(model_kv, walks_both_ways_over_keys_and_own_writes) {
    struct kv *kv = model_kv_new();
    struct kv_txn *t = begin(kv);
    cr_assert_eq(kv_put(t, S("b"), S("B"), NULL), ST_OK);
    cr_assert_eq(kv_put(t, S("d"), S("D"), NULL), ST_OK);
    cr_assert_eq(kv_commit(t, KV_SYNC, NULL), ST_OK);
    t = begin(kv);
    cr_assert_eq(kv_put(t, S("c"), S("C"), NULL), ST_OK);
    struct kv_cursor *halloween, *c;
    cr_assert_eq(kv_cursor_open(t, NULL, &halloween, NULL), ST_OK);
    (void) kv_next_statement(t);
    cr_assert_eq(kv_cursor_open(t, NULL, &c, NULL), ST_OK);
    cr_assert_eq(kv_first(halloween, NULL), ST_OK);
    cr_assert_eq(kv_next(halloween, NULL), ST_OK);
    cr_assert(slice_equal(kv_cursor_key(halloween), S("d")));
    cr_assert_eq(kv_seek_ge(c, S("bb"), NULL), ST_OK);
    cr_assert(slice_equal(kv_cursor_key(c), S("c")));
    cr_assert_eq(kv_prev(c, NULL), ST_OK);
    cr_assert(slice_equal(kv_cursor_key(c), S("b")));
    cr_assert_eq(kv_prev(c, NULL), ST_END);
    cr_assert_eq(kv_last(c, NULL), ST_OK);
    cr_assert(slice_equal(kv_cursor_key(c), S("d")));
    cr_assert_eq(kv_seek_le(c, S("cz"), NULL), ST_OK);
    cr_assert(slice_equal(kv_cursor_key(c), S("c")));
    kv_cursor_close(c);
    kv_cursor_close(halloween);
    kv_abort(t);
    kv_close(kv);
}

Test(model_kv, bulk_load_lies_below_later_deletes) {
    struct kv *kv = model_kv_new();
    struct kv_txn *snapshot = begin(kv), *t = begin(kv);
    cr_assert_eq(kv_delete_range(t, S("a"), S("c"), NULL), ST_OK);
    cr_assert_eq(kv_put(t, S("b"), S("new"), NULL), ST_OK);
    cr_assert_eq(kv_commit(t, KV_SYNC, NULL), ST_OK);
    struct kv_bulk *b;
    cr_assert_eq(kv_bulk_begin(snapshot, &b, NULL), ST_OK);
    cr_assert_eq(kv_bulk_put(b, S("a"), S("1"), NULL), ST_OK);
    cr_assert_eq(kv_bulk_put(b, S("b"), S("2"), NULL), ST_OK);
    cr_assert_eq(kv_bulk_put(b, S("c"), S("3"), NULL), ST_OK);
    cr_assert_eq(kv_bulk_commit(b, NULL), ST_OK);
    kv_abort(snapshot);
    t = begin(kv);
    expect(t, S("a"), NULL);
    expect(t, S("b"), "new");
    expect(t, S("c"), "3");
    kv_abort(t);
    kv_close(kv);
}

Test(model_kv, adds_do_not_conflict_and_rollback_undoes) {
    struct kv *kv = model_kv_new();
    struct kv_txn *a = begin(kv), *b = begin(kv);
    cr_assert_eq(kv_add(a, S("n"), 5, NULL), ST_OK);
    struct kv_mark m = kv_mark(a);
    cr_assert_eq(kv_add(a, S("n"), 100, NULL), ST_OK);
    kv_rollback_to(a, m);
    cr_assert_eq(kv_add(b, S("n"), -2, NULL), ST_OK);
    cr_assert_eq(kv_commit(a, KV_SYNC, NULL), ST_OK);
    cr_assert_eq(kv_commit(b, KV_SYNC, NULL), ST_OK);
    a = begin(kv);
    struct kv_value v = KV_VALUE_INIT;
    cr_assert_eq(kv_get(a, S("n"), &v, NULL), ST_OK);
    cr_assert_eq(model_counter(v.bytes), 3);
    kv_value_release(&v);
    kv_abort(a);
    kv_close(kv);
}
