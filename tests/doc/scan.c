/* Reading: by _id, many at once, ranges of documents and of index entries, both ways. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/chance.h"
#include "index/key.h"
#include "support/doc_db.h"
#include "support/random_bson.h"

static void ok(struct doc_db *t, status st) { cr_assert_eq(st, ST_OK, "%s", t->err.text); }

static struct buf key_of(int n) {
    struct buf b;
    uint8_t bytes[4];
    buf_init(&b, mem_default());
    put_le32(bytes, (uint32_t) n);
    key_append(&b, (struct bval){bytes, 4, B_INT32}, false);
    return b;
}

static int id_of(struct bdoc d) { return bval_int32(bdoc_get_str(d, "_id")); }

Test(scan, documents_come_in_id_order_within_their_bounds_both_ways) {
    struct doc_db t;
    doc_open(&t);
    for (int i = 0; i < 50; i++) ok(&t, insert(&t, json("{'_id': %d}", i * 7 % 50)));
    struct kv_txn *txn = begin_txn(&t, true);
    struct collection *c = find_collection(&t, txn);
    for (int lo = -2; lo < 53; lo += 5) {
        for (int hi = -2; hi < 53; hi += 5) {
            struct buf klo = key_of(lo), khi = key_of(hi);
            for (int backward = 0; backward < 2; backward++) {
                struct record_scan *s = NULL;
                struct bdoc d;
                int from = lo < 0 ? 0 : lo, to = hi > 50 ? 50 : hi, n = 0;
                ok(&t, record_scan_open(&t.op, txn, c, buf_slice(&klo), buf_slice(&khi), backward, &s, &t.err));
                while (record_scan_next(s, &d, &t.err) == ST_OK) {
                    cr_assert_eq(id_of(d), backward ? to - 1 - n : from + n);
                    struct buf own = key_of(id_of(d));
                    cr_assert(slice_equal(record_scan_locator(s), buf_slice(&own)));
                    buf_release(&own);
                    if (n++ % 3 == 0) record_scan_rest(s);
                }
                cr_assert_eq(record_scan_next(s, &d, &t.err), ST_END);
                cr_assert_eq(n, to > from ? to - from : 0);
                record_scan_close(s);
            }
            buf_release(&klo);
            buf_release(&khi);
        }
    }
    collection_unref(c);
    kv_abort(txn);
    doc_close(&t);
}

Test(scan, many_documents_are_read_in_the_order_asked_for) {
    struct doc_db t;
    struct kv_value values[8] = {0};
    struct slice locators[8];
    struct buf keys[8];
    static const int wanted[8] = {5, 99, 1, 1, 7, 0, 98, 3};
    doc_open(&t);
    for (int i = 0; i < 10; i++) ok(&t, insert(&t, json("{'_id': %d}", i)));
    struct kv_txn *txn = begin_txn(&t, true);
    struct collection *c = find_collection(&t, txn);
    for (int i = 0; i < 8; i++) keys[i] = key_of(wanted[i]), locators[i] = buf_slice(&keys[i]);
    ok(&t, record_get_many(&t.op, txn, c, locators, 8, values, &t.err));
    for (int i = 0; i < 8; i++) {
        if (wanted[i] >= 10) cr_assert_null(values[i].bytes.p);
        else cr_assert_eq(id_of((struct bdoc){values[i].bytes.p, (uint32_t) values[i].bytes.len}), wanted[i]);
        kv_value_release(&values[i]);
        buf_release(&keys[i]);
    }
    collection_unref(c);
    kv_abort(txn);
    doc_close(&t);
}

/* All entries' a, in order, for [lo, hi) and from a seek on. */
struct want {
    int lo, hi;
    bool backward;
};

static int a_of(const struct index_entry *e) {
    struct slice key = e->key;
    struct buf out;
    struct bval v;
    struct slice side = e->side;
    buf_init(&out, mem_default());
    cr_assert_eq(key_decode_field(&key, false, &side, &out, &v, NULL), ST_OK);
    int a = bval_int32(v);
    buf_release(&out);
    return a;
}

static void check_index_range(struct doc_db *t, struct index_scan *s, int lo, int hi, bool backward,
                              const int *counts) {
    struct index_entry e;
    struct buf klo = key_of(lo), khi = key_of(hi);
    ok(t, index_scan_range(s, buf_slice(&klo), buf_slice(&khi), &t->err));
    int n = 0, want = 0, last = backward ? hi : lo - 1;
    for (int a = lo; a < hi; a++) want += counts[a];
    while (index_scan_next(s, &e, &t->err) == ST_OK) {
        int a = a_of(&e);
        cr_assert(lo <= a && a < hi);
        cr_assert(backward ? a <= last : a >= last);
        last = a;
        n++;
    }
    cr_assert_eq(n, want);
    /* jumps inside the range, to before it, behind it */
    ok(t, index_scan_range(s, buf_slice(&klo), buf_slice(&khi), &t->err));
    for (int to = 0; to < 30; to++) {
        int at = backward ? 29 - to : to;
        struct buf key = key_of(at);
        status st = index_scan_seek(s, buf_slice(&key), &e, &t->err);
        int found = -1;
        for (int a = lo; a < hi; a++)
            if (counts[a] != 0 && (backward ? a < at : a >= at) && (backward || found < 0)) found = a;
        cr_assert_eq(st, found < 0 ? ST_END : ST_OK);
        if (st == ST_OK) cr_assert_eq(a_of(&e), found);
        buf_release(&key);
    }
    buf_release(&klo);
    buf_release(&khi);
}

Test(scan, index_entries_come_within_their_range_and_from_a_seek_on) {
    static const char *const specs[] = {"{'key': {'a': 1}, 'name': 'i'}",
                                        "{'key': {'a': 1}, 'name': 'i', 'unique': true}"};
    for (int unique = 0; unique < 2; unique++) {
        struct doc_db t;
        int counts[40] = {0};
        struct chance ch;
        chance_init(&ch, 5);
        doc_open(&t);
        ok(&t, create_index(&t, specs[unique]));
        for (int i = 0; i < 40; i++) {
            int a = (int) chance_below(&ch, 30);
            if (unique && counts[a] != 0) continue;
            ok(&t, insert(&t, json("{'_id': %d, 'a': %d}", i, a)));
            counts[a]++;
        }
        struct kv_txn *txn = begin_txn(&t, true);
        struct collection *c = find_collection(&t, txn);
        for (int backward = 0; backward < 2; backward++) {
            struct index_scan *s = NULL;
            ok(&t, index_scan_open(&t.op, txn, c, collection_index(c, SLICE_LIT("i")), backward, &s, &t.err));
            for (int lo = 0; lo < 30; lo += 3)
                for (int hi = 0; hi <= 30; hi += 4) check_index_range(&t, s, lo, hi, backward, counts);
            index_scan_close(s);
        }
        uint64_t all = 0;
        ok(&t, index_estimate(txn, c, &c->indexes[0], SLICE_NONE, SLICE_NONE, &all, &t.err));
        cr_assert_gt(all, 0);
        collection_unref(c);
        kv_abort(txn);
        doc_close(&t);
    }
}
