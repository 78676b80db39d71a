/* Transactions as drivers send them: lsid, txnNumber, startTransaction, autocommit. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "support/api_client.h"

struct two {
    elmo_t *db;
    elmo_client_t *a, *b;
};

static struct two two_of(const char *path) {
    struct two t = {.db = open_at(path, NULL)};
    t.a = client_of(t.db, "{}");
    t.b = client_of(t.db, "{}");
    return t;
}

static void two_close(struct two *t) {
    elmo_client_destroy(t->a);
    elmo_client_destroy(t->b);
    elmo_close(t->db);
}

#define COMMIT(digit, n) "{commitTransaction: 1, $db: 'admin', " IN_TXN(digit, n) "}"
#define ABORT(digit, n) "{abortTransaction: 1, $db: 'admin', " IN_TXN(digit, n) "}"

Test(transactions, commit_shows_everything_at_once) {
    struct two t = two_of(":memory:");
    (void) ask(t.a, 0, "{insert: 'c', documents: [{_id: 1, a: 1}]}");
    (void) ask(t.a, 0, "{insert: 'c', documents: [{_id: 2}], " START("1", "1") "}");
    (void) ask(t.a, 0, "{update: 'c', updates: [{q: {}, u: {$set: {a: 5}}, multi: true}], " IN_TXN("1", "1") "}");
    cr_assert_eq(number_in(ask(t.b, 0, "{count: 'c'}"), "n"), 1);
    cr_assert_eq(number_in(ask(t.b, 0, "{count: 'c', query: {a: 5}}"), "n"), 0);
    const bson_t *found = ask(t.a, 0, "{find: 'c', filter: {a: 5}, " IN_TXN("1", "1") "}");
    cr_assert_eq(number_in(found, "cursor.firstBatch.1._id"), 2);
    (void) ask(t.a, 0, COMMIT("1", "1"));
    cr_assert_eq(number_in(ask(t.b, 0, "{count: 'c', query: {a: 5}}"), "n"), 2);
    (void) ask(t.a, 0, COMMIT("1", "1")); /* again is fine */
    (void) ask(t.a, 256, ABORT("1", "1"));
    (void) ask(t.a, 256, "{find: 'c', " IN_TXN("1", "1") "}");
    two_close(&t);
}

Test(transactions, abort_leaves_nothing) {
    struct two t = two_of(":memory:");
    (void) ask(t.a, 0, "{insert: 'new', documents: [{_id: 2}], " START("1", "1") "}");
    (void) ask(t.a, 0, ABORT("1", "1"));
    cr_assert_eq(number_in(ask(t.b, 0, "{count: 'new'}"), "n"), 0);
    cr_assert(has_label(ask(t.a, 251, ABORT("1", "1")), "TransientTransactionError"));
    cr_assert(has_label(ask(t.a, 251, COMMIT("1", "1")), "TransientTransactionError"));
    cr_assert(has_label(ask(t.a, 251, "{find: 'c', " IN_TXN("1", "1") "}"), "TransientTransactionError"));
    assert_no_faults(t.db);
    two_close(&t);
}

Test(transactions, a_reader_keeps_its_snapshot) {
    struct two t = two_of(":memory:");
    (void) ask(t.a, 0, "{insert: 'c', documents: [{_id: 1}]}");
    (void) ask(t.a, 0, "{find: 'c', readConcern: {level: 'snapshot'}, " START("1", "1") "}");
    (void) ask(t.b, 0, "{insert: 'c', documents: [{_id: 2}]}");
    const bson_t *r = ask(t.a, 0, "{find: 'c', " IN_TXN("1", "1") "}");
    cr_assert_eq(number_in(r, "cursor.firstBatch.1._id"), -1);
    (void) ask(t.a, 0, COMMIT("1", "1"));
    two_close(&t);
}

Test(transactions, the_second_writer_of_a_document_loses_at_once) {
    struct two t = two_of(":memory:");
    (void) ask(t.a, 0, "{insert: 'c', documents: [{_id: 1, n: 0}]}");
    (void) ask(t.a, 0, "{update: 'c', updates: [{q: {_id: 1}, u: {$inc: {n: 1}}}], " START("1", "1") "}");
    const bson_t *r = ask(t.b, 112, "{update: 'c', updates: [{q: {_id: 1}, u: {$inc: {n: 1}}}], " START("2", "1") "}");
    cr_assert(has_label(r, "TransientTransactionError"));
    (void) ask(t.b, 251, COMMIT("2", "1"));
    (void) ask(t.a, 0, COMMIT("1", "1"));
    (void) ask(t.b, 0, "{update: 'c', updates: [{q: {_id: 1}, u: {$inc: {n: 1}}}], " START("2", "2") "}");
    (void) ask(t.b, 0, COMMIT("2", "2"));
    cr_assert_eq(number_in(ask(t.a, 0, "{find: 'c'}"), "cursor.firstBatch.0.n"), 2);
    two_close(&t);
}

Test(transactions, an_error_aborts) {
    struct two t = two_of(":memory:");
    (void) ask(t.a, 0, "{insert: 'c', documents: [{_id: 1}]}");
    (void) ask(t.a, 0, "{insert: 'c', documents: [{_id: 2}], " START("1", "1") "}");
    const bson_t *r = ask(t.a, 0, "{insert: 'c', documents: [{_id: 3}, {_id: 1}, {_id: 4}], ordered: false, " IN_TXN("1", "1") "}");
    cr_assert_eq(number_in(r, "writeErrors.0.code"), 11000);
    (void) ask(t.a, 251, COMMIT("1", "1"));
    (void) ask(t.a, 0, "{insert: 'c', documents: [{_id: 5}], " START("1", "2") "}");
    r = ask(t.a, 2, "{find: 'c', filter: {$nonsense: 1}, " IN_TXN("1", "2") "}");
    cr_assert_not(has_label(r, "TransientTransactionError"));
    (void) ask(t.a, 251, COMMIT("1", "2"));
    cr_assert_eq(number_in(ask(t.b, 0, "{count: 'c'}"), "n"), 1);
    two_close(&t);
}

Test(transactions, numbers_only_go_up) {
    struct two t = two_of(":memory:");
    (void) ask(t.a, 0, "{find: 'c', " START("1", "5") "}");
    (void) ask(t.a, 50911, "{find: 'c', " START("1", "5") "}");
    (void) ask(t.a, 0, "{find: 'c', " IN_TXN("1", "5") "}");
    (void) ask(t.a, 225, "{find: 'c', " START("1", "4") "}");
    (void) ask(t.a, 225, "{find: 'c', " IN_TXN("1", "4") "}");
    (void) ask(t.a, 251, "{find: 'c', " IN_TXN("1", "6") "}");
    (void) ask(t.a, 0, "{find: 'c', " START("1", "6") "}");
    (void) ask(t.a, 0, "{find: 'c', " START("1", "7") "}"); /* a new one ends the old one */
    (void) ask(t.a, 0, "{find: 'c', " IN_TXN("1", "7") "}");
    two_close(&t);
}

Test(transactions, fields_go_together) {
    struct two t = two_of(":memory:");
    (void) ask(t.a, 72, "{find: 'c', " NUMBER("1") ", startTransaction: true, autocommit: false}");
    (void) ask(t.a, 72, "{find: 'c', " LSID("1") ", startTransaction: true, autocommit: false}");
    (void) ask(t.a, 72, "{find: 'c', " LSID("1") ", " NUMBER("1") ", startTransaction: true}");
    (void) ask(t.a, 72, "{find: 'c', " LSID("1") ", " NUMBER("1") ", startTransaction: true, autocommit: true}");
    (void) ask(t.a, 72, "{find: 'c', " LSID("1") ", " NUMBER("1") ", startTransaction: false, autocommit: false}");
    (void) ask(t.a, 72, "{find: 'c', " LSID("1") ", " NUMBER("-1") ", autocommit: false}");
    (void) ask(t.a, 50768, "{find: 'c', " LSID("1") ", " NUMBER("1") "}");
    (void) ask(t.a, 14, "{find: 'c', lsid: {id: 1}}");
    (void) ask(t.a, 40414, "{find: 'c', lsid: {}}");
    (void) ask(t.a, 263, "{count: 'c', " START("1", "1") "}");
    (void) ask(t.a, 263, "{listDatabases: 1, $db: 'admin', " START("1", "1") "}");
    (void) ask(t.a, 13, "{commitTransaction: 1, " IN_TXN("1", "1") "}");
    (void) ask(t.a, 125, "{commitTransaction: 1, $db: 'admin'}");
    (void) ask(t.a, 72, "{insert: 'c', documents: [{}], writeConcern: {w: 1}, " START("1", "1") "}");
    (void) ask(t.a, 0, "{find: 'c', " START("1", "1") "}");
    (void) ask(t.a, 72, "{find: 'c', readConcern: {level: 'snapshot'}, " IN_TXN("1", "1") "}");
    (void) ask(t.a, 72, "{find: 'c', readConcern: {level: 'linearizable'}, " START("1", "2") "}");
    (void) ask(t.a, 0, COMMIT("1", "1"));
    two_close(&t);
}

Test(transactions, a_cursor_belongs_to_its_transaction) {
    struct two t = two_of(":memory:");
    (void) ask(t.a, 0, "{insert: 'c', documents: [{_id: 1}, {_id: 2}, {_id: 3}]}");
    long long id = number_in(ask(t.a, 0, "{find: 'c', batchSize: 1, " START("1", "1") "}"), "cursor.id");
    (void) ask(t.b, 50737, "{getMore: {$numberLong: '%lld'}, collection: 'c'}", id);
    (void) ask(t.b, 50740, "{getMore: {$numberLong: '%lld'}, collection: 'c', " LSID("1") "}", id);
    (void) ask(t.b, 50738, "{getMore: {$numberLong: '%lld'}, collection: 'c', " LSID("2") "}", id);
    const bson_t *r = ask(t.a, 0, "{getMore: {$numberLong: '%lld'}, collection: 'c', batchSize: 1, " IN_TXN("1", "1") "}", id);
    cr_assert_eq(number_in(r, "cursor.nextBatch.0._id"), 2);
    (void) ask(t.a, 0, COMMIT("1", "1"));
    (void) ask(t.a, 43, "{getMore: {$numberLong: '%lld'}, collection: 'c', " LSID("1") "}", id);
    id = number_in(ask(t.a, 0, "{find: 'c', batchSize: 1, " START("1", "2") "}"), "cursor.id");
    (void) ask(t.b, 0, "{killCursors: 'c', cursors: [{$numberLong: '%lld'}]}", id); /* from elsewhere, while the transaction lives */
    (void) ask(t.a, 43, "{getMore: {$numberLong: '%lld'}, collection: 'c', " IN_TXN("1", "2") "}", id);
    id = number_in(ask(t.a, 0, "{find: 'c', batchSize: 1, " START("1", "3") "}"), "cursor.id");
    two_close(&t); /* with the cursor open and the transaction running */
}

Test(transactions, a_drop_waits_for_no_longer_than_the_lock_is_wanted) {
    struct two t = two_of(":memory:");
    (void) ask(t.a, 0, "{insert: 'c', documents: [{_id: 1}]}");
    (void) ask(t.a, 0, "{insert: 'c', documents: [{_id: 2}], " START("1", "1") "}");
    (void) ask(t.b, 50, "{drop: 'c', maxTimeMS: 30}"); /* the insert is open */
    (void) ask(t.a, 0, COMMIT("1", "1"));
    (void) ask(t.a, 0, "{find: 'c', " START("1", "2") "}");
    (void) ask(t.b, 0, "{drop: 'c'}");
    const bson_t *r = ask(t.a, 246, "{insert: 'c', documents: [{_id: 3}], " IN_TXN("1", "2") "}");
    cr_assert(has_label(r, "TransientTransactionError"));
    assert_no_faults(t.db);
    two_close(&t);
}

Test(transactions, two_may_insert_documents_that_share_words) {
    struct two t = two_of(":memory:");
    (void) ask(t.a, 0, "{createIndexes: 'c', indexes: [{key: {a: 'text'}, name: 't'}, {key: {b: 1}, name: 'b'}]}");
    (void) ask(t.a, 0, "{insert: 'c', documents: [{_id: 1, a: 'the common word', b: [1, 2]}], " START("1", "1") "}");
    (void) ask(t.b, 0, "{insert: 'c', documents: [{_id: 2, a: 'another common word', b: [2, 3]}], " START("2", "1") "}");
    const bson_t *r = ask(t.b, 0, "{find: 'c', filter: {$text: {$search: 'common'}}, " IN_TXN("2", "1") "}");
    cr_assert_eq(number_in(r, "cursor.firstBatch.0._id"), 2);
    cr_assert_eq(number_in(r, "cursor.firstBatch.1._id"), -1);
    (void) ask(t.a, 0, COMMIT("1", "1"));
    (void) ask(t.b, 0, COMMIT("2", "1"));
    cr_assert_eq(number_in(ask(t.a, 0, "{count: 'c', query: {$text: {$search: 'common'}}}"), "n"), 2);
    cr_assert_eq(number_in(ask(t.a, 0, "{count: 'c', query: {b: 2}}"), "n"), 2);
    assert_no_faults(t.db);
    two_close(&t);
}

Test(transactions, make_collections) {
    struct two t = two_of(":memory:");
    (void) ask(t.a, 0, "{create: 'x', " START("1", "1") "}");
    (void) ask(t.a, 0, "{insert: 'x', documents: [{_id: 1}], " IN_TXN("1", "1") "}");
    (void) ask(t.a, 0, "{insert: 'y', documents: [{_id: 1}], " IN_TXN("1", "1") "}");
    const bson_t *r = ask(t.b, 24, "{insert: 'x', documents: [{_id: 2}], " START("2", "1") "}");
    cr_assert(has_label(r, "TransientTransactionError"));
    (void) ask(t.a, 0, COMMIT("1", "1"));
    cr_assert_eq(number_in(ask(t.b, 0, "{count: 'x'}"), "n"), 1);
    cr_assert_eq(number_in(ask(t.b, 0, "{count: 'y'}"), "n"), 1);
    (void) ask(t.a, 263, "{drop: 'x', " START("1", "2") "}");
    two_close(&t);
}

Test(transactions, make_indexes_on_collections_of_their_own) {
    struct two t = two_of(":memory:");
    (void) ask(t.a, 0, "{insert: 'old', documents: [{_id: 1}]}");
    (void) ask(t.a, 0, "{createIndexes: 'x', indexes: [{key: {a: 1}, name: 'a', unique: true}], " START("1", "1") "}");
    (void) ask(t.a, 0, "{insert: 'x', documents: [{_id: 1, a: 1}, {_id: 2, a: [2, 3]}], " IN_TXN("1", "1") "}");
    const bson_t *r = ask(t.a, 0, "{find: 'x', filter: {a: 3}, hint: 'a', " IN_TXN("1", "1") "}");
    cr_assert_eq(number_in(r, "cursor.firstBatch.0._id"), 2);
    (void) ask(t.a, 0, COMMIT("1", "1"));
    r = ask(t.b, 0, "{find: 'x', filter: {a: 1}, hint: 'a'}");
    cr_assert_eq(number_in(r, "cursor.firstBatch.0._id"), 1);
    r = ask(t.b, 0, "{insert: 'x', documents: [{_id: 3, a: 3}]}");
    cr_assert_eq(number_in(r, "writeErrors.0.code"), 11000);
    (void) ask(t.a, 263, "{createIndexes: 'old', indexes: [{key: {a: 1}, name: 'a'}], " START("1", "2") "}");
    (void) ask(t.a, 0, "{insert: 'y', documents: [{_id: 1}], " START("1", "3") "}");
    (void) ask(t.a, 263, "{createIndexes: 'y', indexes: [{key: {a: 1}, name: 'a'}], " IN_TXN("1", "3") "}");
    assert_no_faults(t.db);
    two_close(&t);
}

Test(transactions, end_with_their_session) {
    struct two t = two_of(":memory:");
    (void) ask(t.a, 0, "{insert: 'c', documents: [{_id: 1}], " START("1", "1") "}");
    (void) ask(t.b, 0, "{killSessions: [{id: {$binary: {base64: 'AAAAAAAAAAAAAAAAAAAA1A==', subType: '04'}}}]}");
    (void) ask(t.a, 251, "{find: 'c', " IN_TXN("1", "1") "}");
    (void) ask(t.a, 0, "{insert: 'c', documents: [{_id: 1}], " START("2", "1") "}");
    (void) ask(t.b, 0, "{killAllSessions: []}");
    (void) ask(t.a, 251, COMMIT("2", "1"));
    cr_assert_eq(number_in(ask(t.b, 0, "{count: 'c'}"), "n"), 0);
    cr_assert_eq(number_in(ask(t.b, 0, "{startSession: 1}"), "timeoutMinutes"), 30);
    two_close(&t);
}
