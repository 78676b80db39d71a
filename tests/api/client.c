/* Clients: commands from outside, their bytes checked, sequences in the place of arrays, replies that always come. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include <elmo/client.h>

#include "api/handles.h"
#include "support/api_client.h"
#include "support/mem_fail.h"

Test(client, answers_commands) {
    elmo_t *db = open_at(":memory:", NULL);
    elmo_client_t *c = client_of(db, "{remote: '127.0.0.1:5', isLocal: true}");
    cr_assert_eq(number_in(ask(c, 0, "{ping: 1}"), "ok"), 1);
    cr_assert_eq(number_in(ask(c, 0, "{insert: 'c', documents: [{_id: 1}], $db: 'other'}"), "n"), 1);
    cr_assert_eq(number_in(ask(c, 0, "{count: 'c', $db: 'other'}"), "n"), 1);
    cr_assert_eq(number_in(ask(c, 0, "{count: 'c'}"), "n"), 0);
    (void) ask(c, 59, "{frobnicate: 1}");
    elmo_client_destroy(c);
    elmo_close(db);
}

Test(client, needs_a_database_for_a_command) {
    elmo_t *db = open_at(":memory:", NULL);
    elmo_client_t *c = client_of(db, "{}");
    const bson_t *reply;
    bson_error_t error;
    bson_t *body = doc_of("{ping: 1}");
    cr_assert_not(elmo_client_command(c, NULL, body, NULL, 0, &reply, &error));
    cr_assert_eq(error.code, 40571);
    bson_destroy(body);
    (void) ask(c, 14, "{ping: 1, $db: 5}");
    elmo_client_destroy(c);
    elmo_close(db);
}

Test(client, unwraps_what_op_query_wrapped) {
    elmo_t *db = open_at(":memory:", NULL);
    elmo_client_t *c = client_of(db, "{}");
    (void) ask(c, 0, "{$query: {ping: 1}, $readPreference: {mode: 'secondaryPreferred'}}");
    elmo_client_destroy(c);
    elmo_close(db);
}

/* Documents end to end, as OP_MSG has them. */
static size_t sequence_of(uint8_t *room, int n, int from) {
    size_t len = 0;
    for (int i = 0; i < n; i++) {
        bson_t *d = doc_of("{_id: %d, a: 'x'}", from + i);
        memcpy(room + len, bson_get_data(d), d->len);
        len += d->len;
        bson_destroy(d);
    }
    return len;
}

static bool send(elmo_client_t *c, const char *json, elmo_sequence_t *s, size_t n, bson_error_t *error) {
    bson_t *body = doc_of("%s", json);
    bool ok = elmo_client_command(c, "test", body, s, n, NULL, error);
    bson_destroy(body);
    return ok;
}

Test(client, takes_sequences_for_arrays) {
    elmo_t *db = open_at(":memory:", NULL);
    elmo_client_t *c = client_of(db, "{}");
    bson_error_t error;
    uint8_t room[4096];
    elmo_sequence_t s = {"documents", room, sequence_of(room, 50, 0)};
    cr_assert(send(c, "{insert: 'c'}", &s, 1, &error), "%s", error.message);
    cr_assert_eq(number_in(ask(c, 0, "{count: 'c'}"), "n"), 50);
    cr_assert_not(send(c, "{insert: 'c', documents: [{}]}", &s, 1, &error));
    cr_assert_eq(error.code, 40413);
    cr_assert_not(send(c, "{update: 'c'}", &s, 1, &error));
    cr_assert_eq(error.code, 40415);
    cr_assert_not(send(c, "{ping: 1}", &s, 1, &error));
    cr_assert_eq(error.code, 40415);
    cr_assert_not(send(c, "{insert: 'c'}", NULL, 0, &error));
    cr_assert_eq(error.code, 40414);
    bson_t *u = doc_of("{q: {_id: 3}, u: {$set: {a: 5}}}"), *d = doc_of("{q: {_id: 4}, limit: 1}");
    elmo_sequence_t updates = {"updates", bson_get_data(u), u->len}, deletes = {"deletes", bson_get_data(d), d->len};
    cr_assert(send(c, "{update: 'c'}", &updates, 1, &error), "%s", error.message);
    cr_assert(send(c, "{delete: 'c'}", &deletes, 1, &error), "%s", error.message);
    cr_assert_eq(number_in(ask(c, 0, "{count: 'c', query: {a: 5}}"), "n"), 1);
    cr_assert_eq(number_in(ask(c, 0, "{count: 'c'}"), "n"), 49);
    bson_destroy(u);
    bson_destroy(d);
    elmo_client_destroy(c);
    elmo_close(db);
}

Test(client, checks_every_byte_first) {
    elmo_t *db = open_at(":memory:", NULL);
    elmo_client_t *c = client_of(db, "{}");
    bson_error_t error;
    uint8_t room[4096];
    size_t len = sequence_of(room, 3, 0);
    /* Every cut and every changed byte is an answer, never a crash. */
    for (size_t cut = 0; cut < len; cut++) {
        elmo_sequence_t s = {"documents", room, cut};
        (void) send(c, "{insert: 'c'}", &s, 1, &error);
    }
    for (size_t at = 0; at < len; at++) {
        uint8_t old = room[at];
        room[at] ^= 0x81;
        elmo_sequence_t s = {"documents", room, len};
        (void) send(c, "{insert: 'c'}", &s, 1, &error);
        room[at] = old;
    }
    elmo_sequence_t twice[2] = {{"documents", room, len}, {"documents", room, len}};
    cr_assert_not(send(c, "{insert: 'c'}", twice, 2, &error));
    cr_assert_eq(error.code, 51175);
    bson_t *body = doc_of("{insert: 'c', documents: [{a: 'text'}], x: [1, {y: 2}], b: true}");
    for (size_t at = 4; at < body->len; at++) {
        for (int bit = 0; bit < 8; bit++) {
            uint8_t *p = (uint8_t *) (uintptr_t) bson_get_data(body) + at;
            *p ^= (uint8_t) (1 << bit);
            (void) elmo_client_command(c, "test", body, NULL, 0, NULL, &error);
            *p ^= (uint8_t) (1 << bit);
        }
    }
    bson_destroy(body);
    elmo_client_destroy(c);
    elmo_close(db);
}

Test(client, is_told_when_the_database_was_closed) {
    elmo_t *db = open_at(":memory:", NULL);
    elmo_client_t *c = client_of(db, "{}");
    elmo_close(db);
    (void) ask(c, 91, "{ping: 1}");
    elmo_client_destroy(c);
}

Test(client, must_log_in_where_the_service_says_so) {
    elmo_t *db = open_at(":memory:", NULL);
    bson_error_t error;
    bson_t *service = doc_of("{auth: true, host: 'h:1'}"), *wrong = doc_of("{auht: true}");
    elmo_client_t *c = client_of(db, "{}"), *trusted = client_of(db, "{trusted: true}");
    cr_assert_not(elmo_set_service(db, wrong, &error));
    cr_assert_eq(error.code, 40415);
    cr_assert(elmo_set_service(db, service, &error));
    (void) ask(c, 13, "{find: 'c'}");
    (void) ask(c, 0, "{ping: 1}");
    (void) ask(trusted, 0, "{find: 'c'}");
    cr_assert(elmo_set_service(db, NULL, &error));
    (void) ask(c, 0, "{find: 'c'}");
    bson_destroy(service);
    bson_destroy(wrong);
    elmo_client_destroy(c);
    elmo_client_destroy(trusted);
    elmo_close(db);
}

static void closing(void *ctx) { ++*(int *) ctx; }

Test(client, a_close_hook_is_called_once_before_anything_is_closed) {
    elmo_t *db = open_at(":memory:", NULL);
    int calls = 0;
    elmo_set_close_hook(db, closing, &calls);
    cr_assert_eq(elmo_close_hook(db, closing), &calls);
    cr_assert_null(elmo_close_hook(db, NULL));
    elmo_close(db);
    cr_assert_eq(calls, 1);
}

/* One client's life; true when nothing failed. */
static bool live(const struct mem *mem, bool *told) {
    bson_t *service = doc_of("{auth: false, host: 'h:1', argv: ['a']}"), *opts = doc_of("{tlsSubject: 'CN=x'}"),
           *body = doc_of("{insert: 'c', ordered: false}");
    uint8_t room[4096];
    bson_error_t error;
    elmo_t *db;
    elmo_sequence_t s = {"documents", room, sequence_of(room, 3, 0)};
    bool ok = false;
    if (api_open(":memory:", NULL, mem, &db, &error)) {
        const bson_t *reply = NULL;
        *told = elmo_set_service(db, service, &error);
        elmo_log_line(db, "a line", false);
        elmo_client_t *c = elmo_client_new(db, opts, &error);
        ok = c != NULL && elmo_client_command(c, "test", body, &s, 1, &reply, &error);
        if (c != NULL) {
            cr_assert_not_null(reply);
            cr_assert(bson_validate(reply, BSON_VALIDATE_NONE, NULL));
            cr_assert_eq(number_in(reply, "ok"), ok);
            if (!ok) cr_assert_eq(number_in(reply, "code"), 146, "%ld", (long) number_in(reply, "code"));
        }
        elmo_client_destroy(c);
        elmo_close(db);
    }
    bson_destroy(service);
    bson_destroy(opts);
    bson_destroy(body);
    return ok;
}

Test(client, want_of_memory_is_an_answer_at_every_allocation) {
    for (uint64_t n = 1;; n++) {
        struct mem_fail mf;
        bool told = true;
        mem_fail_init(&mf, n);
        bool ok = live(&mf.mem, &told) && told;
        cr_assert_eq(mem_fail_live(&mf), 0, "allocation %llu leaks", (unsigned long long) n);
        if (!mem_fail_hit(&mf)) {
            cr_assert(ok);
            break;
        }
        cr_assert_lt(n, 5000u);
    }
}
