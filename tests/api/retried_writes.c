/* A write that is sent again with its txnNumber gives its first answer and writes nothing. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/api_client.h"

#define RETRY(n) LSID("1") ", " NUMBER(n)

Test(retried_writes, insert_update_and_delete_are_done_once) {
    elmo_t *db = open_at(":memory:", NULL);
    elmo_client_t *c = client_of(db, "{}");
    for (int i = 0; i < 2; i++) {
        const bson_t *r = ask(c, 0, "{insert: 'c', documents: [{_id: 1, n: 0}, {_id: 2, n: 0}, {_id: 3, n: 0}], " RETRY("1") "}");
        cr_assert_eq(number_in(r, "n"), 3);
        cr_assert_eq(bson_has_field(r, "writeErrors"), false);
        cr_assert_eq(number_in(r, "retriedStmtIds.2"), i == 0 ? -1 : 2);
    }
    for (int i = 0; i < 3; i++) {
        const bson_t *r = ask(c, 0, "{update: 'c', updates: [{q: {_id: 1}, u: {$inc: {n: 1}}}, {q: {_id: 9}, u: {$inc: {n: 7}}, upsert: true}], " RETRY("2") "}");
        cr_assert_eq(number_in(r, "n"), 2);
        cr_assert_eq(number_in(r, "nModified"), 1);
        cr_assert_eq(number_in(r, "upserted.0._id"), 9);
        cr_assert_eq(number_in(r, "upserted.0.index"), 1);
    }
    cr_assert_eq(number_in(ask(c, 0, "{count: 'c', query: {n: {$in: [1, 7]}}}"), "n"), 2);
    for (int i = 0; i < 2; i++) {
        const bson_t *r = ask(c, 0, "{delete: 'c', deletes: [{q: {n: 0}, limit: 1}], " RETRY("3") "}");
        cr_assert_eq(number_in(r, "n"), 1);
    }
    cr_assert_eq(number_in(ask(c, 0, "{count: 'c'}"), "n"), 3);
    (void) ask(c, 225, "{delete: 'c', deletes: [{q: {}, limit: 1}], " RETRY("2") "}");
    elmo_client_destroy(c);
    elmo_close(db);
}

Test(retried_writes, find_and_modify_answers_the_same_document) {
    elmo_t *db = open_at(":memory:", NULL);
    elmo_client_t *c = client_of(db, "{}");
    (void) ask(c, 0, "{insert: 'c', documents: [{_id: 1, n: 0}]}");
    for (int i = 0; i < 2; i++) {
        const bson_t *r = ask(c, 0, "{findAndModify: 'c', query: {_id: 1}, update: {$inc: {n: 1}}, new: true, " RETRY("1") "}");
        cr_assert_eq(number_in(r, "value.n"), 1);
        cr_assert_eq(number_in(r, "lastErrorObject.n"), 1);
    }
    for (int i = 0; i < 2; i++) {
        const bson_t *r = ask(c, 0, "{findAndModify: 'c', query: {_id: 5}, update: {$inc: {n: 1}}, upsert: true, " RETRY("2") "}");
        cr_assert_eq(number_in(r, "lastErrorObject.upserted"), 5);
    }
    for (int i = 0; i < 2; i++) {
        const bson_t *r = ask(c, 0, "{findAndModify: 'c', query: {n: 1}, sort: {_id: 1}, remove: true, " RETRY("3") "}");
        cr_assert_eq(number_in(r, "value._id"), 1);
    }
    cr_assert_eq(number_in(ask(c, 0, "{count: 'c'}"), "n"), 1);
    elmo_client_destroy(c);
    elmo_close(db);
}

Test(retried_writes, only_what_is_missing_is_done) {
    elmo_t *db = open_at(":memory:", NULL);
    elmo_client_t *c = client_of(db, "{}");
    (void) ask(c, 0, "{insert: 'c', documents: [{_id: 1}], stmtId: 0, " RETRY("1") "}");
    const bson_t *r = ask(c, 0, "{insert: 'c', documents: [{_id: 1}, {_id: 2}], " RETRY("1") "}");
    cr_assert_eq(number_in(r, "n"), 2);
    cr_assert_eq(number_in(r, "retriedStmtIds.0"), 0);
    cr_assert_eq(number_in(r, "retriedStmtIds.1"), -1);
    cr_assert_eq(number_in(ask(c, 0, "{count: 'c'}"), "n"), 2);
    elmo_client_destroy(c);
    elmo_close(db);
}

Test(retried_writes, take_no_statement_of_many_documents) {
    elmo_t *db = open_at(":memory:", NULL);
    elmo_client_t *c = client_of(db, "{}");
    const bson_t *r = ask(c, 0, "{update: 'c', updates: [{q: {}, u: {$set: {a: 1}}, multi: true}], " RETRY("1") "}");
    cr_assert_eq(number_in(r, "writeErrors.0.code"), 72);
    r = ask(c, 0, "{delete: 'c', deletes: [{q: {}, limit: 0}], " RETRY("2") "}");
    cr_assert_eq(number_in(r, "writeErrors.0.code"), 72);
    (void) ask(c, 0, "{find: 'c', " START("1", "3") "}");
    (void) ask(c, 217, "{insert: 'c', documents: [{}], " RETRY("3") "}");
    elmo_client_destroy(c);
    elmo_close(db);
}

/* 2,500 documents: several transactions, so several chunks of the record. */
static bson_t *many_of(void) {
    bson_t *body = doc_of("{insert: 'many', " LSID("3") ", " NUMBER("1") "}"), documents;
    BSON_APPEND_ARRAY_BEGIN(body, "documents", &documents);
    for (int i = 0; i < 2500; i++) {
        bson_t *d = doc_of("{_id: %d}", i);
        char key[16];
        (void) snprintf(key, sizeof(key), "%d", i);
        BSON_APPEND_DOCUMENT(&documents, key, d);
        bson_destroy(d);
    }
    bson_append_array_end(body, &documents);
    return body;
}

/* Writes in a process that is killed without a word. */
static void write_and_die(const char *path) {
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid != 0) {
        int status;
        cr_assert_eq(waitpid(pid, &status, 0), pid);
        cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        return;
    }
    elmo_t *db = open_at(path, NULL);
    elmo_client_t *c = client_of(db, "{}");
    (void) ask(c, 0, "{insert: 'c', documents: [{_id: 1, n: 0}], " LSID("1") ", " NUMBER("1") "}");
    (void) ask(c, 0, "{update: 'c', updates: [{q: {_id: 1}, u: {$inc: {n: 1}}}], " LSID("1") ", " NUMBER("2") "}");
    (void) ask(c, 0, "{insert: 'c', documents: [{_id: 2}], " START("2", "1") "}");
    (void) ask(c, 0, "{commitTransaction: 1, $db: 'admin', " IN_TXN("2", "1") "}");
    bson_error_t error;
    bson_t *body = many_of();
    if (!elmo_client_command(c, "test", body, NULL, 0, NULL, &error)) _exit(1);
    (void) kill(getpid(), SIGKILL);
}

Test(retried_writes, are_recognised_after_a_crash) {
    struct folder f;
    folder_make(&f);
    write_and_die(f.file);
    elmo_t *db = open_at(f.file, NULL);
    elmo_client_t *c = client_of(db, "{}");
    (void) ask(c, 225, "{insert: 'c', documents: [{_id: 1, n: 0}], " LSID("1") ", " NUMBER("1") "}");
    const bson_t *r = ask(c, 0, "{update: 'c', updates: [{q: {_id: 1}, u: {$inc: {n: 1}}}], " LSID("1") ", " NUMBER("2") "}");
    cr_assert_eq(number_in(r, "nModified"), 1);
    cr_assert_eq(number_in(ask(c, 0, "{count: 'c', query: {n: 1}}"), "n"), 1);
    (void) ask(c, 0, "{commitTransaction: 1, $db: 'admin', " IN_TXN("2", "1") "}");
    cr_assert_eq(number_in(ask(c, 0, "{count: 'c'}"), "n"), 2);
    bson_error_t error;
    bson_t *body = many_of();
    cr_assert(elmo_client_command(c, "test", body, NULL, 0, &r, &error), "%s", error.message);
    cr_assert_eq(number_in(r, "n"), 2500);
    cr_assert_not(bson_has_field(r, "writeErrors"));
    cr_assert_eq(number_in(r, "retriedStmtIds.2499"), 2499);
    bson_destroy(body);
    cr_assert_eq(number_in(ask(c, 0, "{count: 'many'}"), "n"), 2500);
    elmo_client_destroy(c);
    elmo_close(db);
    folder_remove(&f);
}

static bson_t *text_of(char letter, size_t len) {
    char *text = malloc(len + 1);
    memset(text, letter, len);
    text[len] = 0;
    bson_t *d = bson_new();
    cr_assert(bson_append_utf8(d, "_id", 3, text, (int) len));
    free(text);
    return d;
}

/* Two upserts of documents with long _ids, 19 MB together: more than one value of the store holds. */
static void upsert_long_ids(elmo_client_t *c, int64_t number, bson_t *copy) {
    bson_t *body = doc_of("{update: 'c', %s, txnNumber: {$numberLong: '%lld'}}", LSID("1"), (long long) number), updates;
    BSON_APPEND_ARRAY_BEGIN(body, "updates", &updates);
    for (int i = 0; i < 2; i++) {
        bson_t *q = text_of((char) ('a' + i), i == 0 ? 3900000 : 15000000), u = BSON_INITIALIZER, statement;
        bson_t inc = BSON_INITIALIZER;
        BSON_APPEND_INT32(&inc, "n", 1);
        BSON_APPEND_DOCUMENT(&u, "$inc", &inc);
        BSON_APPEND_DOCUMENT_BEGIN(&updates, i == 0 ? "0" : "1", &statement);
        BSON_APPEND_DOCUMENT(&statement, "q", q);
        BSON_APPEND_DOCUMENT(&statement, "u", &u);
        BSON_APPEND_BOOL(&statement, "upsert", true);
        bson_append_document_end(&updates, &statement);
        bson_destroy(q);
        bson_destroy(&inc);
        bson_destroy(&u);
    }
    bson_append_array_end(body, &updates);
    const bson_t *reply;
    bson_error_t error;
    cr_assert(elmo_client_command(c, "test", body, NULL, 0, &reply, &error), "%s", error.message);
    bson_copy_to(reply, copy);
    bson_destroy(body);
}

Test(retried_writes, much_that_must_be_remembered_is) {
    elmo_t *db = open_at(":memory:", NULL);
    elmo_client_t *c = client_of(db, "{}");
    for (int i = 0; i < 2; i++) {
        bson_t reply;
        upsert_long_ids(c, 1, &reply);
        cr_assert_not(bson_has_field(&reply, "writeErrors"));
        cr_assert_eq(number_in(&reply, "n"), 2);
        cr_assert(bson_has_field(&reply, "upserted.1._id"));
        bson_destroy(&reply);
        cr_assert_eq(number_in(ask(c, 0, "{count: 'c', query: {n: 1}}"), "n"), 2);
    }
    elmo_client_destroy(c);
    elmo_close(db);
}

/* {_id: 1, n: 0, a: {a: {...}}}, so many levels. */
static bson_t *deep_doc(int levels) {
    bson_t *d = bson_new();
    for (int i = 1; i < levels; i++) {
        bson_t *outer = i == levels - 1 ? doc_of("{_id: 1, n: 0}") : bson_new();
        BSON_APPEND_DOCUMENT(outer, "a", d);
        bson_destroy(d);
        d = outer;
    }
    return d;
}

Test(retried_writes, the_deepest_document_is_remembered) {
    struct folder f;
    folder_make(&f);
    elmo_t *db = open_at(f.file, NULL);
    elmo_collection_t *coll = elmo_get_collection(db, "test", "c");
    bson_t *deep = deep_doc(180);
    bson_error_t error;
    cr_assert(elmo_collection_insert_one(coll, deep, NULL, NULL, &error), "%s", error.message);
    bson_destroy(deep);
    elmo_collection_destroy(coll);
    for (int i = 0; i < 3; i++) {
        elmo_client_t *c = client_of(db, "{}");
        const bson_t *r = ask(c, 0, "{findAndModify: 'c', query: {_id: 1}, update: {$inc: {n: 1}}, new: true, " RETRY("1") "}");
        cr_assert_eq(number_in(r, "value.n"), 1);
        elmo_client_destroy(c);
        if (i == 0) continue;
        elmo_close(db);
        db = open_at(f.file, NULL);
    }
    elmo_close(db);
    folder_remove(&f);
}

Test(retried_writes, whoever_comes_too_late_is_told_to_come_again) {
    elmo_t *db = open_at(":memory:", NULL);
    bson_error_t error;
    bson_t *service = doc_of("{host: 'here:1', replicaSet: 'rs'}");
    cr_assert(elmo_set_service(db, service, &error), "%s", error.message);
    bson_destroy(service);
    elmo_client_t *c = client_of(db, "{trusted: true}");
    elmo_close(db);
    cr_assert(has_label(ask(c, 91, "{insert: 'c', documents: [{_id: 1}], " RETRY("1") "}"), "RetryableWriteError"));
    cr_assert(has_label(ask(c, 91, "{commitTransaction: 1, $db: 'admin', " IN_TXN("1", "2") "}"), "RetryableWriteError"));
    cr_assert(has_label(ask(c, 91, "{find: 'c', " START("1", "2") "}"), "TransientTransactionError"));
    cr_assert_not(bson_has_field(ask(c, 91, "{insert: 'c', documents: [{_id: 1}]}"), "errorLabels"));
    elmo_client_destroy(c);
}

Test(retried_writes, statements_are_known_by_their_ids_in_any_order) {
    elmo_t *db = open_at(":memory:", NULL);
    elmo_client_t *c = client_of(db, "{}");
    (void) ask(c, 0, "{update: 'c', updates: [{q: {_id: 0}, u: {$inc: {n: 1}}, upsert: true}, {q: {_id: 1}, u: {$inc: {n: 1}}, upsert: true}, "
                     "{q: {_id: 1}, u: {$inc: {n: 1}}}, {q: {_id: 1}, u: {$inc: {n: 1}}}], stmtIds: [7, 3, 4, 9], " RETRY("1") "}");
    /* 9, 4 and 7 are done; 5 and 8 lie between ids that are. */
    for (int i = 0; i < 2; i++) {
        const bson_t *r = ask(c, 0, "{update: 'c', updates: [{q: {_id: 1}, u: {$inc: {n: 1}}}, {q: {_id: 2}, u: {$inc: {n: 1}}, upsert: true}, "
                                    "{q: {_id: 1}, u: {$inc: {n: 1}}}, {q: {_id: 3}, u: {$inc: {n: 1}}, upsert: true}, "
                                    "{q: {_id: 0}, u: {$inc: {n: 1}}}], stmtIds: [9, 5, 4, 8, 7], " RETRY("1") "}");
        cr_assert_eq(number_in(r, "n"), 5);
        cr_assert_eq(number_in(r, "retriedStmtIds.0"), 9);
        cr_assert_eq(number_in(r, "retriedStmtIds.1"), i == 0 ? 4 : 5);
        cr_assert_eq(bson_has_field(r, "retriedStmtIds.3"), i == 1);
    }
    cr_assert_eq(number_in(ask(c, 0, "{count: 'c', query: {_id: 1, n: 3}}"), "n"), 1);
    cr_assert_eq(number_in(ask(c, 0, "{count: 'c', query: {_id: {$ne: 1}, n: 1}}"), "n"), 3);
    elmo_client_destroy(c);
    elmo_close(db);
}
