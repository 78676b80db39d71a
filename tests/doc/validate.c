/* That validation finds what is wrong, and that a wrong catalog is refused. */
#include <criterion/criterion.h>
#include <string.h>

#include "doc/catalog_entry.h"
#include "support/doc_db.h"
#include "support/kv_fail.h"
#include "support/model_kv.h"

static void ok(struct doc_db *t, status st) { cr_assert_eq(st, ST_OK, "%s", t->err.text); }

static char found_text[512];
static int found_count;

static void note(void *ctx, const char *text) {
    (void) ctx;
    found_count++;
    strncpy(found_text, text, sizeof(found_text) - 1);
}

static struct validate_report validate(struct doc_db *t) {
    struct validate_report r;
    struct kv_txn *txn = begin_txn(t, true);
    struct collection *c = find_collection(t, txn);
    found_count = 0;
    ok(t, collection_validate(&t->op, txn, c, note, NULL, &r, &t->err));
    collection_unref(c);
    kv_abort(txn);
    return r;
}

/* The n-th key from `prefix` on. */
static struct buf nth_key(struct doc_db *t, struct slice prefix, int n) {
    struct buf key;
    struct kv_txn *txn = begin_txn(t, true);
    struct kv_cursor *cursor = NULL;
    buf_init(&key, mem_default());
    ok(t, kv_cursor_open(txn, NULL, &cursor, &t->err));
    ok(t, kv_seek_ge(cursor, prefix, &t->err));
    while (n-- > 0) ok(t, kv_next(cursor, &t->err));
    buf_append_slice(&key, kv_cursor_key(cursor));
    cr_assert(slice_starts_with(buf_slice(&key), prefix));
    kv_cursor_close(cursor);
    kv_abort(txn);
    return key;
}

/* Puts (value.p NULL: deletes) behind the back of the document level. */
static void tamper(struct doc_db *t, struct slice key, struct slice value) {
    struct kv_txn *txn = NULL;
    ok(t, kv_begin(t->kv, false, &txn, &t->err));
    ok(t, value.p != NULL ? kv_put(txn, key, value, &t->err) : kv_delete(txn, key, &t->err));
    ok(t, kv_commit(txn, KV_SYNC, &t->err));
}

static const uint8_t records[] = {1, 1, 0}, entries[] = {1, 1, 1, 1}, uniques[] = {1, 1, 1, 2}, flags[] = {0, 1, 3};

static void fill(struct doc_db *t) {
    doc_open(t);
    ok(t, create_index(t, "{'key': {'a': 1}}"));
    ok(t, create_index(t, "{'key': {'u': 1}, 'unique': true}"));
    for (int i = 0; i < 5; i++) ok(t, insert(t, json("{'_id': %d, 'a': [%d, 'x'], 'u': %d}", i, i, i)));
    assert_sound(t, 5);
}

Test(validate, a_missing_entry_is_named) {
    struct doc_db t;
    fill(&t);
    struct buf key = nth_key(&t, slice_of(entries, 4), 2);
    tamper(&t, buf_slice(&key), SLICE_NONE);
    struct validate_report r = validate(&t);
    cr_assert_eq(r.missing_entries, 1);
    cr_assert_eq(r.extra_entries, 0);
    cr_assert_eq(found_count, 1);
    cr_assert_str_eq(found_text, "test.c, index a_1, _id: 2: a key of the document is not in the index");
    buf_release(&key);
    doc_close(&t);
}

Test(validate, a_document_gone_leaves_entries_that_are_named) {
    struct doc_db t;
    fill(&t);
    struct buf key = nth_key(&t, slice_of(records, 3), 1);
    tamper(&t, buf_slice(&key), SLICE_NONE);
    struct validate_report r = validate(&t);
    cr_assert_eq(r.documents, 4);
    cr_assert_eq(r.extra_entries, 3);
    cr_assert_eq(r.count_mismatches, 1);
    buf_release(&key);
    doc_close(&t);
}

Test(validate, a_changed_document_and_a_swapped_owner_are_found) {
    struct doc_db t;
    fill(&t);
    struct buf key = nth_key(&t, slice_of(records, 3), 1), entry = nth_key(&t, slice_of(uniques, 4), 3);
    struct bdoc other = json("{'_id': 1, 'a': [1, 'y'], 'u': 1}");
    tamper(&t, buf_slice(&key), slice_of(other.p, other.len));
    tamper(&t, buf_slice(&entry),
           SLICE_LIT("\x01"
                     "?"));
    struct validate_report r = validate(&t);
    cr_assert_eq(r.missing_entries, 2);
    cr_assert_eq(r.extra_entries, 2);
    buf_release(&key);
    buf_release(&entry);
    doc_close(&t);
}

Test(validate, bytes_that_are_no_document_are_found) {
    struct doc_db t;
    fill(&t);
    struct buf key = nth_key(&t, slice_of(records, 3), 1);
    struct bdoc foreign = json("{'_id': 9, 'a': 1, 'u': 77}");
    tamper(&t, buf_slice(&key), slice_of(foreign.p, foreign.len));
    cr_assert_eq(validate(&t).invalid_documents, 1);
    uint8_t bad[] = {12, 0, 0, 0, 0x7e, 'a', 0, 1, 0, 0, 0, 0};
    tamper(&t, buf_slice(&key), slice_of(bad, sizeof(bad)));
    cr_assert_eq(validate(&t).invalid_documents, 1);
    buf_release(&key);
    doc_close(&t);
}

Test(validate, a_lost_multikey_flag_is_found_by_the_next_handle) {
    struct doc_db t, again;
    struct kv_fail shared;
    fill(&t);
    struct buf key = nth_key(&t, slice_of(flags, 3), 0);
    tamper(&t, buf_slice(&key), SLICE_NONE);
    kv_fail_init(&shared, t.kv, 0);
    doc_open_kv(&again, &shared.base);
    cr_assert_eq(validate(&again).missing_entries, 5);
    doc_close(&again);
    buf_release(&key);
    doc_close(&t);
}

Test(validate, a_damaged_catalog_is_refused_and_never_crashes) {
    struct doc_db t;
    fill(&t);
    struct buf key, value;
    struct kv_txn *txn = begin_txn(&t, true);
    struct kv_value v = KV_VALUE_INIT;
    buf_init(&key, mem_default());
    buf_init(&value, mem_default());
    catalog_key_entry(&key, NS);
    ok(&t, kv_get(txn, buf_slice(&key), &v, &t.err));
    buf_append_slice(&value, v.bytes);
    kv_value_release(&v);
    kv_abort(txn);
    for (size_t i = 0; i < value.len; i++) {
        struct kv_fail shared;
        struct doc_db again;
        kv_fail_init(&shared, t.kv, 0);
        for (int bit = 0; bit < 8; bit += 3) {
            value.p[i] ^= (uint8_t) (1u << bit);
            tamper(&t, buf_slice(&key), buf_slice(&value));
            status st = doc_try_open(&again, &shared.base, mem_default());
            if (st == ST_OK) { /* what can be read is some catalog */
                struct collection *c = NULL;
                txn = begin_txn(&again, true);
                st = catalog_find(&again.op, txn, NS, &c, &again.err);
                collection_unref(c);
                kv_abort(txn);
                doc_close(&again);
            }
            cr_assert(st == ST_OK || st == ST_CORRUPT, "byte %zu: %d %s", i, (int) st, again.err.text);
            value.p[i] ^= (uint8_t) (1u << bit);
            tamper(&t, buf_slice(&key), buf_slice(&value));
        }
    }
    buf_release(&key);
    buf_release(&value);
    doc_close(&t);
}

Test(validate, another_format_version_is_refused) {
    struct kv *kv = model_kv_new();
    struct kv_fail shared;
    struct doc_db t, again;
    doc_open_kv(&t, kv);
    struct buf key;
    buf_init(&key, mem_default());
    catalog_key_format(&key);
    struct bdoc other = json("{'version': 2}");
    tamper(&t, buf_slice(&key), slice_of(other.p, other.len));
    kv_fail_init(&shared, kv, 0);
    cr_assert_eq(doc_try_open(&again, &shared.base, mem_default()), ST_UNSUPPORTED);
    cr_assert_str_eq(again.err.text, "the documents in this file have format version 2, this library reads version 1");
    buf_release(&key);
    doc_close(&t);
}
