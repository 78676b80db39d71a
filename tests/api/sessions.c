/* Sessions and transactions through the typed functions, and want of memory in them. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "api/handles.h"
#include "support/api_client.h"
#include "support/mem_fail.h"

struct world {
    elmo_t *db;
    elmo_collection_t *c;
    elmo_session_t *s;
    bson_t opts;
};

static struct world world_of(void) {
    struct world w = {.db = open_at(":memory:", NULL)};
    bson_error_t error;
    w.c = elmo_get_collection(w.db, "test", "c");
    w.s = elmo_start_session(w.db, NULL, &error);
    cr_assert_not_null(w.s);
    bson_init(&w.opts);
    cr_assert(elmo_session_append(w.s, &w.opts, &error));
    return w;
}

static void world_end(struct world *w) {
    bson_destroy(&w->opts);
    elmo_session_destroy(w->s);
    elmo_collection_destroy(w->c);
    elmo_close(w->db);
}

static bool insert_in(struct world *w, const char *json, bson_t *reply, bson_error_t *error) {
    bson_t *d = doc_of("%s", json);
    bool ok = elmo_collection_insert_one(w->c, d, &w->opts, reply, error);
    bson_destroy(d);
    return ok;
}

static int64_t seen_by(struct world *w, bool in_session) {
    bson_error_t error;
    return elmo_collection_count_documents(w->c, NULL, in_session ? &w->opts : NULL, NULL, &error);
}

Test(sessions, a_transaction_is_seen_when_it_is_committed) {
    struct world w = world_of();
    bson_error_t error;
    cr_assert_not(elmo_session_in_transaction(w.s));
    cr_assert(elmo_session_start_transaction(w.s, NULL, &error));
    cr_assert(elmo_session_in_transaction(w.s));
    cr_assert_not(elmo_session_start_transaction(w.s, NULL, &error));
    cr_assert_eq(error.code, 117);
    cr_assert(insert_in(&w, "{_id: 1}", NULL, &error), "%s", error.message);
    cr_assert(insert_in(&w, "{_id: 2}", NULL, &error), "%s", error.message);
    cr_assert_eq(seen_by(&w, true), 2);
    cr_assert_eq(seen_by(&w, false), 0);
    cr_assert(elmo_session_commit_transaction(w.s, NULL, &error), "%s", error.message);
    cr_assert(elmo_session_commit_transaction(w.s, NULL, &error), "%s", error.message);
    cr_assert_eq(seen_by(&w, false), 2);
    cr_assert(insert_in(&w, "{_id: 3}", NULL, &error)); /* in the session, in no transaction */
    cr_assert_eq(seen_by(&w, false), 3);
    world_end(&w);
}

Test(sessions, a_failed_statement_aborts) {
    struct world w = world_of();
    bson_error_t error;
    cr_assert(insert_in(&w, "{_id: 1}", NULL, &error));
    cr_assert(elmo_session_start_transaction(w.s, NULL, &error));
    cr_assert(insert_in(&w, "{_id: 2}", NULL, &error));
    cr_assert_not(insert_in(&w, "{_id: 1}", NULL, &error));
    cr_assert_eq(error.code, 11000);
    bson_t reply;
    cr_assert_not(insert_in(&w, "{_id: 3}", &reply, &error));
    cr_assert_eq(error.code, 251);
    cr_assert(elmo_error_has_label(&reply, "TransientTransactionError"));
    bson_destroy(&reply);
    cr_assert_not(elmo_session_commit_transaction(w.s, &reply, &error));
    cr_assert(elmo_error_has_label(&reply, "TransientTransactionError"));
    bson_destroy(&reply);
    cr_assert_eq(seen_by(&w, false), 1);
    cr_assert_not(elmo_session_abort_transaction(w.s, &error));
    world_end(&w);
}

Test(sessions, a_cursor_ends_with_its_transaction) {
    struct world w = world_of();
    bson_error_t error;
    const bson_t *doc;
    for (int i = 0; i < 5; i++) {
        bson_t *d = doc_of("{_id: %d}", i);
        cr_assert(elmo_collection_insert_one(w.c, d, NULL, NULL, &error));
        bson_destroy(d);
    }
    cr_assert(elmo_session_start_transaction(w.s, NULL, &error));
    cr_assert(insert_in(&w, "{_id: 7}", NULL, &error));
    bson_t empty = BSON_INITIALIZER;
    elmo_cursor_t *cursor = elmo_collection_find_with_opts(w.c, &empty, &w.opts), *other = elmo_collection_find_with_opts(w.c, &empty, &w.opts);
    cr_assert(elmo_cursor_next(cursor, &doc));
    cr_assert(insert_in(&w, "{_id: 8}", NULL, &error));
    int rows = 0;
    while (elmo_cursor_next(other, &doc)) rows++;
    cr_assert_not(elmo_cursor_error(other, &error));
    cr_assert_eq(rows, 6); /* its statement's state */
    elmo_cursor_destroy(other);
    cr_assert(elmo_cursor_next(cursor, &doc));
    cr_assert_eq(number_in(doc, "_id"), 1);
    cr_assert(elmo_session_commit_transaction(w.s, NULL, &error));
    cr_assert_not(elmo_cursor_next(cursor, &doc));
    cr_assert(elmo_cursor_error(cursor, &error));
    cr_assert_eq(error.code, 251);
    elmo_cursor_destroy(cursor);
    world_end(&w);
}

Test(sessions, commands_belong_to_the_transaction_too) {
    struct world w = world_of();
    bson_error_t error;
    bson_t reply, *count = doc_of("{count: 'c'}"), *find = doc_of("{find: 'c'}"), *insert = doc_of("{insert: 'c', documents: [{}]}");
    cr_assert(elmo_session_start_transaction(w.s, NULL, &error));
    cr_assert(elmo_command_with_opts(w.db, "test", insert, &w.opts, NULL, &error), "%s", error.message);
    cr_assert(elmo_command_with_opts(w.db, "test", find, &w.opts, NULL, &error), "%s", error.message);
    cr_assert(elmo_command_with_opts(w.db, "test", count, NULL, &reply, &error));
    cr_assert_eq(number_in(&reply, "n"), 0);
    bson_destroy(&reply);
    cr_assert(elmo_session_commit_transaction(w.s, NULL, &error), "%s", error.message);
    cr_assert_eq(seen_by(&w, false), 1);
    bson_t *wrong = doc_of("{sessionId: 12345}");
    cr_assert_not(elmo_command_with_opts(w.db, "test", count, wrong, NULL, &error));
    cr_assert_eq(error.code, 206);
    cr_assert_eq(elmo_collection_count_documents(w.c, NULL, wrong, NULL, &error), -1);
    cr_assert_eq(error.code, 206);
    bson_destroy(wrong);
    bson_destroy(count);
    bson_destroy(find);
    bson_destroy(insert);
    world_end(&w);
}

struct adding {
    struct world *w;
    int calls;
};

static bool add_one(elmo_session_t *s, void *ctx, bson_t **reply, bson_error_t *error) {
    struct adding *a = ctx;
    bson_t *filter = doc_of("{_id: 1}"), *update = doc_of("{$inc: {n: 1}}"), opts = BSON_INITIALIZER, r;
    cr_assert(elmo_session_append(s, &opts, error));
    if (a->calls++ == 0) { /* somebody else is faster */
        cr_assert_eq(elmo_collection_count_documents(a->w->c, filter, &opts, NULL, error), 1);
        cr_assert(elmo_collection_update_one(a->w->c, filter, update, NULL, NULL, error));
    }
    bool ok = elmo_collection_update_one(a->w->c, filter, update, &opts, &r, error);
    *reply = bson_copy(&r);
    bson_destroy(&r);
    bson_destroy(&opts);
    bson_destroy(filter);
    bson_destroy(update);
    return ok;
}

static bool gives_up(elmo_session_t *s, void *ctx, bson_t **reply, bson_error_t *error) {
    ++*(int *) ctx;
    bson_set_error(error, 1, 7, "no");
    return false;
}

Test(sessions, with_transaction_runs_again_after_a_conflict) {
    struct world w = world_of();
    bson_error_t error;
    bson_t reply;
    struct adding a = {&w, 0};
    int calls = 0;
    cr_assert(insert_in(&w, "{_id: 1, n: 0}", NULL, &error));
    cr_assert(elmo_session_with_transaction(w.s, add_one, NULL, &a, &reply, &error), "%s", error.message);
    bson_destroy(&reply);
    cr_assert_eq(a.calls, 2);
    cr_assert_eq(documents_in(w.c, "{n: 2}"), 1);
    cr_assert_not(elmo_session_with_transaction(w.s, gives_up, NULL, &calls, NULL, &error));
    cr_assert_eq(error.code, 7);
    cr_assert_eq(calls, 1);
    cr_assert_not(elmo_session_in_transaction(w.s));
    world_end(&w);
}

Test(sessions, outlives_the_database_handle) {
    struct world w = world_of();
    bson_error_t error;
    cr_assert(elmo_session_start_transaction(w.s, NULL, &error));
    cr_assert(insert_in(&w, "{_id: 1}", NULL, &error));
    elmo_close(w.db);
    cr_assert_not(elmo_session_commit_transaction(w.s, NULL, &error));
    cr_assert_eq(error.code, 91);
    bson_destroy(&w.opts);
    elmo_collection_destroy(w.c);
    elmo_session_destroy(w.s);
}

/* A session's life; true when nothing failed. */
static bool live(const struct mem *mem) {
    bson_error_t error;
    elmo_t *db;
    bson_t *doc = doc_of("{_id: 1, a: 'text'}"), *more = doc_of("{_id: 2}");
    bool ok = api_open(":memory:", NULL, mem, &db, &error);
    if (ok) {
        elmo_collection_t *c = elmo_get_collection(db, "test", "c");
        elmo_session_t *s = elmo_start_session(db, NULL, &error);
        bson_t opts = BSON_INITIALIZER;
        const bson_t *row;
        ok = s != NULL && elmo_session_append(s, &opts, &error) && elmo_session_start_transaction(s, NULL, &error) &&
            elmo_collection_insert_one(c, doc, &opts, NULL, &error) &&
            elmo_collection_insert_one(c, more, &opts, NULL, &error);
        elmo_cursor_t *cursor = ok ? elmo_collection_find_with_opts(c, NULL, &opts) : NULL;
        ok = ok && elmo_cursor_next(cursor, &row) && elmo_session_commit_transaction(s, NULL, &error);
        if (ok) ok = !elmo_cursor_next(cursor, &row);
        elmo_cursor_destroy(cursor);
        elmo_session_destroy(s);
        elmo_client_t *client = elmo_client_new(db, NULL, &error);
        if (client != NULL) {
            static const char *const bodies[] = {
                "{insert: 'd', documents: [{_id: 1}], " START("1", "1") "}",
                "{find: 'd', batchSize: 0, " IN_TXN("1", "1") "}",
                "{commitTransaction: 1, " IN_TXN("1", "1") ", $db: 'admin'}",
                "{insert: 'd', documents: [{_id: 2}, {_id: 3}], " LSID("1") ", " NUMBER("2") "}",
                "{insert: 'd', documents: [{_id: 2}, {_id: 3}], " LSID("1") ", " NUMBER("2") "}",
                "{findAndModify: 'd', query: {_id: 2}, update: {$set: {a: 1}}, " LSID("1") ", " NUMBER("3") "}",
                "{findAndModify: 'd', query: {_id: 2}, update: {$set: {a: 1}}, " LSID("1") ", " NUMBER("3") "}",
                "{currentOp: 1, $all: true, $db: 'admin'}",
                "{killAllSessions: [], $db: 'admin'}",
            };
            for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
                bson_t *body = doc_of("%s", bodies[i]);
                const bson_t *reply;
                ok = elmo_client_command(client, bson_has_field(body, "$db") ? NULL : "test", body, NULL, 0, &reply, &error) && ok;
                bson_destroy(body);
            }
        }
        ok = ok && client != NULL;
        elmo_client_destroy(client);
        bson_destroy(&opts);
        elmo_collection_destroy(c);
        elmo_close(db);
    }
    bson_destroy(doc);
    bson_destroy(more);
    return ok;
}

static void sweep(bool once) {
    for (uint64_t n = 1;; n += n < 300 ? 1 : 5) {
        struct mem_fail mf;
        mem_fail_init(&mf, n);
        mf.once = once;
        bool ok = live(&mf.mem);
        cr_assert_eq(mem_fail_live(&mf), 0, "allocation %llu: %llu bytes leak", (unsigned long long) n,
                     (unsigned long long) mem_fail_live(&mf));
        if (!mem_fail_hit(&mf)) {
            cr_assert(ok);
            break;
        }
    }
}

Test(sessions, want_of_memory_is_an_error_wherever_it_happens) { sweep(false); }
Test(sessions, want_of_memory_that_passes_leaves_no_trace) { sweep(true); }

Test(sessions, one_that_is_ended_while_it_is_entered_stays_the_only_one) {
    elmo_t *db = open_at(":memory:", NULL);
    struct sessions *ss = db->command.sessions;
    struct session_id id = {.uuid = {1}, .user = SLICE_NONE};
    struct session *first, *second, *third;
    struct op op;
    op_init(&op, db->document_db);
    cr_assert_eq(sessions_get(ss, &id, &first, NULL), ST_OK);
    cr_assert_eq(session_enter(first, &op, NULL), ST_OK);
    session_end(first);
    cr_assert_eq(sessions_get(ss, &id, &second, NULL), ST_OK);
    cr_assert_eq(first, second); /* it may be writing: who comes now must wait for it */
    session_leave(first);
    cr_assert(session_is_ended(first));
    cr_assert_eq(sessions_get(ss, &id, &third, NULL), ST_OK);
    cr_assert_not(session_is_ended(third));
    session_unref(first);
    session_unref(second);
    session_unref(third);
    op_release(&op);
    elmo_close(db);
}

Test(sessions, a_transaction_whose_time_has_come_ends_when_its_statement_does) {
    elmo_t *db = open_at(":memory:", NULL);
    struct sessions *ss = db->command.sessions;
    struct session_id id = {.uuid = {1}, .user = SLICE_NONE};
    struct session *s;
    struct op op;
    op_init(&op, db->document_db);
    sessions_set_lifetime(ss, 0);
    cr_assert_eq(sessions_get(ss, &id, &s, NULL), ST_OK);
    cr_assert_eq(session_enter(s, &op, NULL), ST_OK);
    cr_assert_eq(session_txn_start(s, &op, 1, NULL), ST_OK);
    session_leave(s);
    cr_assert_eq(session_enter(s, &op, NULL), ST_OK);
    cr_assert_eq(s->state, TXN_ABORTED);
    session_leave(s);
    session_unref(s);
    op_release(&op);
    elmo_close(db);
}
