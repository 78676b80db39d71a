/* A write that is sent again with its txnNumber gives its first answer and writes nothing. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
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
