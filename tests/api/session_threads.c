/* Threads in sessions, and one that stops what another runs. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>

#include "support/api_client.h"

#define THREADS 2
#define ROUNDS 30

static bool add_one(elmo_session_t *s, void *ctx, bson_t **reply, bson_error_t *error) {
    elmo_collection_t *c = ctx;
    bson_t *filter = doc_of("{_id: 1}"), *update = doc_of("{$inc: {n: 1}}"), *log = doc_of("{}"), opts = BSON_INITIALIZER;
    bson_t r = BSON_INITIALIZER;
    (void) elmo_session_append(s, &opts, error);
    bool ok = elmo_collection_insert_one(c, log, &opts, NULL, error) &&
        elmo_collection_update_one(c, filter, update, &opts, &r, error);
    if (!ok) *reply = bson_copy(&r);
    bson_destroy(&r);
    bson_destroy(&opts);
    bson_destroy(log);
    bson_destroy(filter);
    bson_destroy(update);
    return ok;
}

static void *count_up(void *ctx) {
    elmo_t *db = ctx;
    bson_error_t error;
    elmo_collection_t *c = elmo_get_collection(db, "test", "c");
    elmo_session_t *s = elmo_start_session(db, NULL, &error);
    for (int i = 0; i < ROUNDS; i++)
        cr_assert(elmo_session_with_transaction(s, add_one, NULL, c, NULL, &error), "%u %s", error.code, error.message);
    elmo_session_destroy(s);
    elmo_collection_destroy(c);
    return NULL;
}

Test(session_threads, lose_no_transaction) {
    elmo_t *db = open_at(":memory:", NULL);
    elmo_collection_t *c = elmo_get_collection(db, "test", "c");
    bson_error_t error;
    pthread_t threads[THREADS];
    cr_assert(insert_doc(c, "{_id: 1, n: 0}", &error));
    for (int i = 0; i < THREADS; i++) cr_assert_eq(pthread_create(&threads[i], NULL, count_up, db), 0);
    for (int i = 0; i < THREADS; i++) cr_assert_eq(pthread_join(threads[i], NULL), 0);
    char filter[40];
    (void) snprintf(filter, sizeof(filter), "{n: %d}", THREADS * ROUNDS);
    cr_assert_eq(documents_in(c, filter), 1);
    cr_assert_eq(documents_in(c, "{}"), 1 + THREADS * ROUNDS);
    elmo_collection_destroy(c);
    elmo_close(db);
}

struct running {
    elmo_t *db;
    atomic_bool ended;
    uint32_t code;
};

/* The same slow count, until somebody stops it. */
static void *count_slowly(void *ctx) {
    struct running *r = ctx;
    elmo_client_t *c = client_of(r->db, "{}");
    bson_t *body = doc_of("{count: 'c', query: {a: {$regex: 'x.*y.*z$'}}, $db: 'test', comment: 'slow', " LSID("1") "}");
    bson_error_t error;
    while (elmo_client_command(c, NULL, body, NULL, 0, NULL, &error)) continue;
    r->code = error.code;
    atomic_store(&r->ended, true);
    bson_destroy(body);
    elmo_client_destroy(c);
    return NULL;
}

static elmo_t *filled(void) {
    elmo_t *db = open_at(":memory:", NULL);
    elmo_collection_t *c = elmo_get_collection(db, "test", "c");
    bson_error_t error;
    for (int i = 0; i < 2000; i++) cr_assert(insert_doc(c, "{a: 'xxxxxxxxxxxxxxxxyyyyyyyyyyyyyyyyyyyyyy'}", &error));
    elmo_collection_destroy(c);
    return db;
}

Test(session_threads, kill_op_stops_what_current_op_shows) {
    struct running r = {.db = filled()};
    pthread_t thread;
    elmo_client_t *c = client_of(r.db, "{}");
    cr_assert_eq(pthread_create(&thread, NULL, count_slowly, &r), 0);
    while (!atomic_load(&r.ended)) {
        const bson_t *ops = ask(c, 0, "{currentOp: 1, ns: 'test.c', 'command.comment': 'slow', $db: 'admin'}");
        long long id = number_in(ops, "inprog.0.opid");
        if (id > 0) (void) ask(c, 0, "{killOp: 1, op: {$numberLong: '%lld'}, $db: 'admin'}", id);
        (void) sched_yield();
    }
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_assert_eq(r.code, 11601);
    elmo_client_destroy(c);
    elmo_close(r.db);
}

Test(session_threads, killing_a_session_stops_what_it_runs) {
    struct running r = {.db = filled()};
    pthread_t thread;
    elmo_client_t *c = client_of(r.db, "{}");
    cr_assert_eq(pthread_create(&thread, NULL, count_slowly, &r), 0);
    while (!atomic_load(&r.ended)) {
        (void) ask(c, 0, "{killAllSessions: [], $db: 'admin'}");
        (void) sched_yield();
    }
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_assert_eq(r.code, 11601);
    elmo_client_destroy(c);
    elmo_close(r.db);
}
