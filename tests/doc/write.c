/* The write door: index entries kept in step, duplicates, failures that leave nothing. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/codes.h"
#include "base/chance.h"
#include "support/doc_db.h"
#include "support/kv_fail.h"
#include "support/mem_fail.h"
#include "support/model_kv.h"
#include "support/random_bson.h"

static void ok(struct doc_db *t, status st) { cr_assert_eq(st, ST_OK, "%s", t->err.text); }

static void refused(struct doc_db *t, status st, int32_t code, const char *text) {
    cr_assert(status_failed(st), "was not refused: %s", text);
    cr_assert_eq(t->err.code, code, "%d %s", t->err.code, t->err.text);
    cr_assert_str_eq(t->err.text, text);
}

static bool details_are(const struct err *err, struct bdoc want) {
    return err->details_len == want.len && memcmp(err->details, want.p, want.len) == 0;
}

Test(write, a_document_is_found_under_its_id_and_in_its_indexes) {
    struct doc_db t;
    doc_open(&t);
    ok(&t, create_index(&t, "{'key': {'a': 1, 'b': -1}}"));
    ok(&t, insert(&t, json("{'_id': 2, 'a': 'x', 'b': 1}")));
    ok(&t, insert(&t, json("{'_id': 1, 'a': 'x', 'b': {'$numberLong': '2'}}")));
    ok(&t, insert(&t, json("{'_id': 3, 'b': [5, 4.5]}")));
    cr_assert_str_eq(entries_of(&t, "a_1_b_-1", false),
                     "{ }{ \"\" : { \"$numberInt\" : \"5\" } }{ \"\" : { \"$numberInt\" : \"3\" } }\n"
                     "{ }{ \"\" : { \"$numberDouble\" : \"4.5\" } }{ \"\" : { \"$numberInt\" : \"3\" } }\n"
                     "{ \"\" : \"x\" }{ \"\" : { \"$numberLong\" : \"2\" } }{ \"\" : { \"$numberInt\" : \"1\" } }\n"
                     "{ \"\" : \"x\" }{ \"\" : { \"$numberInt\" : \"1\" } }{ \"\" : { \"$numberInt\" : \"2\" } }\n");
    assert_sound(&t, 3);
    ok(&t, erase(&t, "{'_id': 2}"));
    assert_sound(&t, 2);
    doc_close(&t);
}

Test(write, a_second_document_of_an_id_is_refused_with_its_key) {
    struct doc_db t;
    doc_open(&t);
    ok(&t, insert(&t, json("{'_id': 'a', 'n': 1}")));
    refused(&t, insert(&t, json("{'_id': 'a', 'n': 2}")), CODE_DuplicateKey,
            "E11000 duplicate key error collection: test.c index: _id_ dup key: { _id: \"a\" }");
    cr_assert(details_are(&t.err, json("{'keyPattern': {'_id': 1}, 'keyValue': {'_id': 'a'}}")));
    /* numbers that are equal are one _id */
    ok(&t, insert(&t, json("{'_id': 1}")));
    refused(&t, insert(&t, json("{'_id': 1.0}")), CODE_DuplicateKey,
            "E11000 duplicate key error collection: test.c index: _id_ dup key: { _id: 1.0 }");
    assert_sound(&t, 2);
    doc_close(&t);
}

Test(write, a_duplicate_in_a_unique_index_is_refused_as_mongodb_says_it) {
    struct doc_db t;
    doc_open(&t);
    ok(&t, create_index(&t, "{'key': {'a': 1, 'b.c': -1}, 'unique': true}"));
    ok(&t, insert(&t, json("{'_id': 1, 'a': 1, 'b': {'c': 'x\\\"y'}}")));
    refused(&t, insert(&t, json("{'_id': 2, 'a': {'$numberLong': '1'}, 'b': [{'c': 7}, {'c': 'x\\\"y'}]}")),
            CODE_DuplicateKey,
            "E11000 duplicate key error collection: test.c index: a_1_b.c_-1 dup key: { a: 1, b.c: \"x\\\"y\" }");
    cr_assert(details_are(
        &t.err, json("{'keyPattern': {'a': 1, 'b.c': -1}, 'keyValue': {'a': {'$numberLong': '1'}, 'b.c': 'x\\\"y'}}")));
    ok(&t, insert(&t, json("{'_id': 3}")));
    refused(&t, insert(&t, json("{'_id': 4, 'a': null}")), CODE_DuplicateKey,
            "E11000 duplicate key error collection: test.c index: a_1_b.c_-1 dup key: { a: null, b.c: null }");
    assert_sound(&t, 2);
    ok(&t, replace(&t, "{'_id': 3}", json("{'_id': 3, 'a': 5}")));
    ok(&t, insert(&t, json("{'_id': 4, 'a': null}")));
    refused(&t, replace(&t, "{'_id': 3}", json("{'_id': 3}")), CODE_DuplicateKey,
            "E11000 duplicate key error collection: test.c index: a_1_b.c_-1 dup key: { a: null, b.c: null }");
    ok(&t, replace(&t, "{'_id': 3}", json("{'_id': 3, 'a': 5.0}"))); /* its own key, other side bits */
    assert_sound(&t, 3);
    doc_close(&t);
}

Test(write, a_sparse_unique_index_lets_documents_without_the_field_in) {
    struct doc_db t;
    doc_open(&t);
    ok(&t, create_index(&t, "{'key': {'a': 1}, 'unique': true, 'sparse': true}"));
    ok(&t, insert(&t, json("{'_id': 1}")));
    ok(&t, insert(&t, json("{'_id': 2}")));
    ok(&t, insert(&t, json("{'_id': 3, 'a': null}")));
    refused(&t, insert(&t, json("{'_id': 4, 'a': null}")), CODE_DuplicateKey,
            "E11000 duplicate key error collection: test.c index: a_1 dup key: { a: null }");
    assert_sound(&t, 3);
    doc_close(&t);
}

Test(write, the_third_indexs_duplicate_leaves_nothing_of_the_document) {
    struct doc_db t;
    doc_open(&t);
    ok(&t, create_index(&t, "{'key': {'a': 1}}"));
    ok(&t, create_index(&t, "{'key': {'b': 1}}"));
    ok(&t, create_index(&t, "{'key': {'u': 1}, 'unique': true}"));
    struct kv_txn *txn = begin_txn(&t, false);
    ok(&t, write_in(&t, txn, (struct bdoc){0}, json("{'_id': 1, 'a': 1, 'b': 1, 'u': 1}")));
    cr_assert_eq(write_in(&t, txn, (struct bdoc){0}, json("{'_id': 2, 'a': [2, 3], 'b': 2, 'u': [9, 1]}")),
                 ST_DUPLICATE);
    ok(&t, write_in(&t, txn, (struct bdoc){0}, json("{'_id': 3, 'a': 3, 'b': 3, 'u': 9}")));
    ok(&t, kv_commit(txn, KV_SYNC, &t.err));
    assert_sound(&t, 2);
    doc_close(&t);
}

Test(write, an_id_may_not_change_but_in_its_type) {
    struct doc_db t;
    doc_open(&t);
    ok(&t, create_index(&t, "{'key': {'a': 1, '_id': 1}}"));
    ok(&t, insert(&t, json("{'_id': 1, 'a': 1}")));
    refused(&t, replace(&t, "{'_id': 1}", json("{'_id': 2, 'a': 1}")), CODE_ImmutableField,
            "After applying the update, the (immutable) field '_id' was found to have been altered to _id: 2");
    ok(&t, replace(&t, "{'_id': 1}", json("{'_id': 1.0, 'a': 1}")));
    cr_assert_str_eq(entries_of(&t, "a_1__id_1", false),
                     "{ \"\" : { \"$numberInt\" : \"1\" } }{ \"\" : { \"$numberDouble\" : \"1.0\" } }{ \"\" : { "
                     "\"$numberDouble\" : \"1.0\" } }\n");
    assert_sound(&t, 1);
    doc_close(&t);
}

Test(write, parallel_arrays_are_refused) {
    struct doc_db t;
    doc_open(&t);
    ok(&t, create_index(&t, "{'key': {'a': 1, 'b': 1}}"));
    cr_assert(status_failed(insert(&t, json("{'_id': 1, 'a': [1], 'b': [2]}"))));
    cr_assert_eq(t.err.code, CODE_CannotIndexParallelArrays);
    assert_sound(&t, 0);
    doc_close(&t);
}

Test(write, an_aborted_transaction_leaves_nothing) {
    struct doc_db t;
    doc_open(&t);
    ok(&t, create_index(&t, "{'key': {'a': 1}}"));
    uint64_t before = key_total(t.kv);
    struct kv_txn *txn = begin_txn(&t, false);
    ok(&t, write_in(&t, txn, (struct bdoc){0}, json("{'_id': 1, 'a': [1, 2]}")));
    kv_abort(txn);
    cr_assert_eq(key_total(t.kv), before);
    assert_sound(&t, 0);
    doc_close(&t);
}

static uint64_t bits_of(struct doc_db *t, const char *index, uint32_t field) {
    struct kv_txn *txn = begin_txn(t, true);
    struct collection *c = find_collection(t, txn);
    uint64_t bits = index_multikey(collection_index(c, slice_str(index)), field);
    collection_unref(c);
    kv_abort(txn);
    return bits;
}

/* A second handle on the same store reads the flags from it. */
static uint64_t stored_bits(struct doc_db *t, const char *index, uint32_t field) {
    struct doc_db other;
    struct kv_fail shared;
    kv_fail_init(&shared, t->kv, 0);
    doc_open_kv(&other, &shared.base);
    uint64_t bits = bits_of(&other, index, field);
    doc_close(&other);
    return bits;
}

Test(write, two_transactions_with_the_first_array_of_a_field_do_not_conflict) {
    struct doc_db t;
    doc_open(&t);
    ok(&t, create_index(&t, "{'key': {'x': 1, 'a.b': 1}}"));
    ok(&t, insert(&t, json("{'_id': 0, 'a': {'b': 1}}")));
    cr_assert_eq(bits_of(&t, "x_1_a.b_1", 1), 0);
    struct kv_txn *one = begin_txn(&t, false), *two = begin_txn(&t, false);
    ok(&t, write_in(&t, one, (struct bdoc){0}, json("{'_id': 1, 'a': [{'b': 1}]}")));
    cr_assert_eq(bits_of(&t, "x_1_a.b_1", 1), 1);
    ok(&t, write_in(&t, two, (struct bdoc){0}, json("{'_id': 2, 'a': [{'b': 1}]}")));
    kv_abort(one); /* whoever raised it first does not count */
    ok(&t, kv_commit(two, KV_SYNC, &t.err));
    cr_assert_eq(stored_bits(&t, "x_1_a.b_1", 1), 1);
    cr_assert_eq(stored_bits(&t, "x_1_a.b_1", 0), 0);
    assert_sound(&t, 2);
    doc_close(&t);
}

Test(write, a_flag_of_an_aborted_transaction_stays_raised_and_is_stored_with_the_next_array) {
    struct doc_db t;
    doc_open(&t);
    ok(&t, create_index(&t, "{'key': {'a': 1}}"));
    struct kv_txn *one = begin_txn(&t, false);
    ok(&t, write_in(&t, one, (struct bdoc){0}, json("{'_id': 1, 'a': [1]}")));
    kv_abort(one);
    cr_assert_eq(bits_of(&t, "a_1", 0), 1);
    cr_assert_eq(stored_bits(&t, "a_1", 0), 0);
    ok(&t, insert(&t, json("{'_id': 1, 'a': [1]}")));
    cr_assert_eq(stored_bits(&t, "a_1", 0), 1);
    doc_close(&t);
}

Test(write, counters_are_exact_at_every_snapshot) {
    struct doc_db t;
    struct collection_stat s;
    doc_open(&t);
    ok(&t, insert(&t, json("{'_id': 1}")));
    struct kv_txn *old = begin_txn(&t, true);
    struct collection *c = find_collection(&t, old);
    ok(&t, insert(&t, json("{'_id': 2, 'x': 'abc'}")));
    ok(&t, collection_stat(&t.op, old, c, &s, &t.err));
    cr_assert_eq(s.documents, 1);
    cr_assert_eq(s.bytes, 14);
    kv_abort(old);
    ok(&t, replace(&t, "{'_id': 1}", json("{'_id': 1, 'y': 1}")));
    old = begin_txn(&t, true);
    ok(&t, collection_stat(&t.op, old, c, &s, &t.err));
    cr_assert_eq(s.documents, 2);
    cr_assert_eq(s.bytes, 21 + 25);
    kv_abort(old);
    collection_unref(c);
    doc_close(&t);
}

/* --- every kind of index over random writes --- */

#define MODEL_DOCS 40

struct slot {
    bool present;
    struct buf doc;
};

static struct bdoc slot_doc(const struct slot *s) {
    return s->present ? (struct bdoc){s->doc.p, (uint32_t) s->doc.len} : (struct bdoc){0};
}

static struct bdoc random_record(struct chance *ch, struct buf *buf, int id) {
    struct bbuild b;
    buf_clear(buf);
    bbuild_begin(&b, buf);
    bbuild_int32(&b, "_id", id);
    static const char *names[] = {"a", "b", "u"};
    for (int i = 0; i < 3; i++)
        if (chance_below(ch, 4) != 0) random_elem(ch, &b, slice_str(names[i]), 2);
    return bbuild_finish(&b);
}

Test(write, indexes_of_every_kind_agree_with_their_documents_over_random_writes) {
    uint64_t seed = random_seed(7), rounds = random_rounds(1500);
    struct doc_db t;
    struct chance ch;
    struct slot slots[MODEL_DOCS] = {0};
    struct buf scratch;
    uint64_t present = 0, refusals = 0;
    doc_open(&t);
    chance_init(&ch, seed);
    buf_init(&scratch, mem_default());
    for (int i = 0; i < MODEL_DOCS; i++) buf_init(&slots[i].doc, mem_default());
    ok(&t, create_index(&t, "{'key': {'a': 1}}"));
    ok(&t, create_index(&t, "{'key': {'b': -1, 'a': 1}}"));
    ok(&t, create_index(&t, "{'key': {'a.b': 1}, 'sparse': true}"));
    ok(&t, create_index(&t, "{'key': {'u': 1}, 'unique': true, 'sparse': true}"));
    for (uint64_t r = 0; r < rounds; r++) {
        int id = (int) chance_below(&ch, MODEL_DOCS);
        struct slot *s = &slots[id];
        struct bdoc doc = chance_below(&ch, 3) == 0 && s->present ? (struct bdoc){0} : random_record(&ch, &scratch, id);
        struct kv_txn *txn = begin_txn(&t, false);
        status st = write_in(&t, txn, slot_doc(s), doc);
        bool is_kept = st == ST_OK && chance_below(&ch, 8) != 0;
        if (is_kept) ok(&t, kv_commit(txn, KV_SYNC, &t.err));
        else kv_abort(txn);
        cr_assert(st == ST_OK || st == ST_DUPLICATE || t.err.code == CODE_CannotIndexParallelArrays, "seed %llu: %s",
                  (unsigned long long) seed, t.err.text);
        refusals += st != ST_OK;
        if (is_kept) {
            present += (doc.p != NULL) - s->present;
            s->present = doc.p != NULL;
            buf_clear(&s->doc);
            if (doc.p != NULL) buf_append(&s->doc, doc.p, doc.len);
        }
        if (r % 50 == 49) assert_sound(&t, present);
    }
    cr_assert_gt(refusals, 0);
    assert_sound(&t, present);
    for (int i = 0; i < MODEL_DOCS; i++) buf_release(&slots[i].doc);
    buf_release(&scratch);
    doc_close(&t);
}

Test(write, no_memory_at_any_allocation_leaves_the_transaction_as_it_was) {
    for (uint64_t n = 1;; n++) {
        struct mem_fail mf;
        struct doc_db t;
        mem_fail_init(&mf, 0);
        mf.once = true;
        cr_assert_eq(doc_try_open(&t, model_kv_new(), &mf.mem), ST_OK);
        ok(&t, create_index(&t, "{'key': {'a': 1}}"));
        ok(&t, create_index(&t, "{'key': {'b': 1, 'a': -1}}"));
        ok(&t, create_index(&t, "{'key': {'u': 1}, 'unique': true}"));
        op_release(&t.op);
        op_init(&t.op, t.db);
        struct kv_txn *txn = begin_txn(&t, false);
        mf.count = 0;
        mf.fail_at = n;
        status st = write_in(&t, txn, (struct bdoc){0}, json("{'_id': 1, 'a': [1, 2, 3], 'b': 'x', 'u': 1}"));
        bool hit = mem_fail_hit(&mf);
        mf.fail_at = 0;
        cr_assert_eq(st, hit ? ST_NOMEM : ST_OK, "allocation %llu", (unsigned long long) n);
        ok(&t, kv_commit(txn, KV_SYNC, &t.err));
        assert_sound(&t, st == ST_OK);
        doc_close(&t);
        cr_assert_eq(mem_fail_live(&mf), 0);
        if (!hit) break;
    }
}

Test(write, a_text_index_is_kept_in_step) {
    struct doc_db t;
    doc_open(&t);
    ok(&t, create_index(&t, "{'key': {'title': 'text', 'body': 'text'}}"));
    ok(&t, insert(&t, json("{'_id': 1, 'title': 'green apples', 'body': 'apples and pears'}")));
    ok(&t, insert(&t, json("{'_id': 2, 'title': 'green grass'}")));
    ok(&t, insert(&t, json("{'_id': 3, 'other': 'none'}")));
    assert_sound(&t, 3);
    ok(&t, replace(&t, "{'_id': 1}", json("{'_id': 1, 'title': 'red apples'}")));
    ok(&t, erase(&t, "{'_id': 2}"));
    assert_sound(&t, 2);
    struct kv_txn *txn = begin_txn(&t, false);
    ok(&t, write_in(&t, txn, (struct bdoc){0}, json("{'_id': 5, 'title': 'gone'}")));
    kv_abort(txn);
    assert_sound(&t, 2);
    doc_close(&t);
}
