/* libmongoc against elmo's server. Run by tests/clients/run; each test is a function that ends the program at the first thing that is wrong. */
#include <mongoc/mongoc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: %s: %s (error %u: %s)\n", __FILE__, __LINE__, __func__, #condition, error.code,    \
                    error.message);                                                                                    \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

enum { ROWS = 100000 };

static mongoc_client_t *client_of(const char *uri_text) {
    bson_error_t error = {0};
    mongoc_uri_t *uri = mongoc_uri_new_with_error(uri_text, &error);
    CHECK(uri != NULL);
    mongoc_uri_set_option_as_int32(uri, MONGOC_URI_SERVERSELECTIONTIMEOUTMS, 10000);
    mongoc_client_t *client = mongoc_client_new_from_uri(uri);
    CHECK(client != NULL);
    mongoc_client_set_error_api(client, MONGOC_ERROR_API_VERSION_2);
    mongoc_uri_destroy(uri);
    return client;
}

static mongoc_collection_t *fresh(mongoc_client_t *client, const char *name) {
    mongoc_collection_t *c = mongoc_client_get_collection(client, "libmongoc", name);
    (void) mongoc_collection_drop(c, NULL);
    return c;
}

static int64_t count(mongoc_collection_t *c, const bson_t *filter) {
    bson_error_t error = {0};
    int64_t n = mongoc_collection_count_documents(c, filter, NULL, NULL, NULL, &error);
    CHECK(n >= 0);
    return n;
}

static int32_t int_of(const bson_t *doc, const char *name) {
    bson_iter_t it;
    return bson_iter_init_find(&it, doc, name) ? (int32_t) bson_iter_as_int64(&it) : -1;
}

static void crud(mongoc_client_t *client) {
    bson_error_t error = {0};
    bson_t reply, empty = BSON_INITIALIZER,
                  *doc = BCON_NEW("_id", BCON_INT32(1), "name", "Ada", "tags", "[", "math", "]");
    bson_t *filter = BCON_NEW("_id", BCON_INT32(1)), *update = BCON_NEW("$push", "{", "tags", "code", "}");
    mongoc_collection_t *c = fresh(client, "crud");
    CHECK(mongoc_collection_insert_one(c, doc, NULL, NULL, &error));
    CHECK(!mongoc_collection_insert_one(c, doc, NULL, NULL, &error));
    CHECK(error.code == 11000 && error.domain == MONGOC_ERROR_SERVER);
    CHECK(strcmp(error.message,
                 "E11000 duplicate key error collection: libmongoc.crud index: _id_ dup key: { _id: 1 }") == 0);
    CHECK(mongoc_collection_update_one(c, filter, update, NULL, &reply, &error));
    CHECK(int_of(&reply, "modifiedCount") == 1);
    bson_destroy(&reply);
    mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(c, filter, NULL, NULL);
    const bson_t *got;
    CHECK(mongoc_cursor_next(cursor, &got));
    char *json = bson_as_relaxed_extended_json(got, NULL);
    CHECK(strcmp(json, "{ \"_id\" : 1, \"name\" : \"Ada\", \"tags\" : [ \"math\", \"code\" ] }") == 0);
    bson_free(json);
    CHECK(!mongoc_cursor_next(cursor, &got) && !mongoc_cursor_error(cursor, &error));
    mongoc_cursor_destroy(cursor);
    mongoc_find_and_modify_opts_t *opts = mongoc_find_and_modify_opts_new();
    mongoc_find_and_modify_opts_set_flags(opts, MONGOC_FIND_AND_MODIFY_REMOVE);
    CHECK(mongoc_collection_find_and_modify_with_opts(c, filter, opts, &reply, &error));
    bson_destroy(&reply);
    mongoc_find_and_modify_opts_destroy(opts);
    CHECK(count(c, &empty) == 0);
    CHECK(mongoc_collection_delete_many(c, &empty, NULL, NULL, &error));
    mongoc_collection_destroy(c);
    bson_destroy(doc), bson_destroy(filter), bson_destroy(update);
}

static void bulk_and_a_long_cursor(mongoc_client_t *client) {
    bson_error_t error = {0};
    bson_t reply, empty = BSON_INITIALIZER;
    mongoc_collection_t *c = fresh(client, "rows");
    mongoc_bulk_operation_t *bulk = mongoc_collection_create_bulk_operation_with_opts(c, NULL);
    for (int32_t i = 0; i < ROWS; i++) {
        bson_t *doc = BCON_NEW("_id", BCON_INT32(i), "k", BCON_INT32((int32_t) ((int64_t) i * 7919 % ROWS)));
        CHECK(mongoc_bulk_operation_insert_with_opts(bulk, doc, NULL, &error));
        bson_destroy(doc);
    }
    CHECK(mongoc_bulk_operation_execute(bulk, &reply, &error) != 0);
    CHECK(int_of(&reply, "nInserted") == ROWS);
    bson_destroy(&reply);
    mongoc_bulk_operation_destroy(bulk);

    bson_t *command = BCON_NEW("createIndexes", "rows", "indexes", "[", "{", "key", "{", "k", BCON_INT32(1), "}",
                               "name", "k_1", "unique", BCON_BOOL(true), "}", "]");
    CHECK(mongoc_client_write_command_with_opts(client, "libmongoc", command, NULL, &reply, &error));
    CHECK(int_of(&reply, "numIndexesAfter") == 2);
    bson_destroy(&reply), bson_destroy(command);

    bson_t *opts = BCON_NEW("sort", "{", "k", BCON_INT32(1), "}", "batchSize", BCON_INT32(999));
    mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(c, &empty, opts, NULL);
    const bson_t *doc;
    int32_t n = 0;
    for (; mongoc_cursor_next(cursor, &doc); n++) CHECK(int_of(doc, "k") == n);
    CHECK(!mongoc_cursor_error(cursor, &error) && n == ROWS);
    mongoc_cursor_destroy(cursor);
    bson_destroy(opts);

    bson_t *pipeline = BCON_NEW("pipeline", "[", "{", "$match", "{", "k", "{", "$lt", BCON_INT32(1000), "}", "}", "}",
                                "{", "$group", "{", "_id", BCON_NULL, "sum", "{", "$sum", "$k", "}", "}", "}", "]");
    cursor = mongoc_collection_aggregate(c, MONGOC_QUERY_NONE, pipeline, NULL, NULL);
    CHECK(mongoc_cursor_next(cursor, &doc) && int_of(doc, "sum") == 499500);
    mongoc_cursor_destroy(cursor);
    bson_destroy(pipeline);

    opts = BCON_NEW("ordered", BCON_BOOL(false));
    bulk = mongoc_collection_create_bulk_operation_with_opts(c, opts);
    for (int32_t i = ROWS - 5; i < ROWS + 5; i++) {
        bson_t *twice = BCON_NEW("_id", BCON_INT32(i), "k", BCON_INT32(i));
        CHECK(mongoc_bulk_operation_insert_with_opts(bulk, twice, NULL, &error));
        bson_destroy(twice);
    }
    CHECK(mongoc_bulk_operation_execute(bulk, &reply, &error) == 0);
    bson_iter_t it, errors;
    uint32_t error_count = 0;
    CHECK(bson_iter_init_find(&it, &reply, "writeErrors") && bson_iter_recurse(&it, &errors));
    while (bson_iter_next(&errors)) error_count++;
    CHECK(error_count == 5 && int_of(&reply, "nInserted") == 5);
    bson_destroy(&reply), bson_destroy(opts);
    mongoc_bulk_operation_destroy(bulk);
    mongoc_collection_destroy(c);
}

static void compression(const char *uri) {
    static const char *const names[] = {"zlib", "snappy", "zstd"};
    for (size_t i = 0; i < 3; i++) {
        char text[300];
        snprintf(text, sizeof(text), "%s?compressors=%s", uri, names[i]);
        mongoc_client_t *client = client_of(text);
        crud(client);
        bson_error_t error = {0};
        bson_t empty = BSON_INITIALIZER, *doc = bson_new();
        char *large = bson_malloc(3000001);
        memset(large, 'x', 3000000), large[3000000] = 0;
        bson_append_utf8(doc, "large", 5, large, 3000000);
        mongoc_collection_t *c = fresh(client, "compressed");
        CHECK(mongoc_collection_insert_one(c, doc, NULL, NULL, &error));
        mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(c, &empty, NULL, NULL);
        const bson_t *got;
        CHECK(mongoc_cursor_next(cursor, &got) && got->len > 3000000);
        mongoc_cursor_destroy(cursor);
        mongoc_collection_destroy(c);
        mongoc_client_destroy(client);
        bson_free(large), bson_destroy(doc);
    }
}

static void transactions(const char *uri) {
    bson_error_t error = {0};
    mongoc_client_t *client = client_of(uri), *other = client_of(uri);
    mongoc_collection_t *c = fresh(client, "txn"), *seen = mongoc_client_get_collection(other, "libmongoc", "txn");
    bson_t opts = BSON_INITIALIZER, empty = BSON_INITIALIZER, reply, *one = BCON_NEW("_id", BCON_INT32(1)),
           *two = BCON_NEW("_id", BCON_INT32(2));
    mongoc_client_session_t *session = mongoc_client_start_session(client, NULL, &error);
    CHECK(session != NULL && mongoc_client_session_append(session, &opts, &error));
    CHECK(mongoc_client_session_start_transaction(session, NULL, &error));
    CHECK(mongoc_collection_insert_one(c, one, &opts, NULL, &error) &&
          mongoc_collection_insert_one(c, two, &opts, NULL, &error));
    CHECK(count(seen, &empty) == 0);
    CHECK(mongoc_client_session_commit_transaction(session, &reply, &error));
    bson_destroy(&reply);
    CHECK(count(seen, &empty) == 2);
    CHECK(mongoc_client_session_start_transaction(session, NULL, &error));
    CHECK(mongoc_collection_delete_many(c, &empty, &opts, NULL, &error));
    CHECK(mongoc_client_session_abort_transaction(session, &error));
    mongoc_client_session_destroy(session);
    mongoc_collection_destroy(c), mongoc_collection_destroy(seen);
    mongoc_client_destroy(client), mongoc_client_destroy(other);
    bson_destroy(&opts), bson_destroy(one), bson_destroy(two);
}

static void logins(int port) {
    bson_error_t error = {0};
    char uri[300];
    bson_t reply, *ping = BCON_NEW("find", "c"),
                  *user = BCON_NEW("createUser", "boss", "pwd", "secret", "roles", "[", "root", "]");
    snprintf(uri, sizeof(uri), "mongodb://127.0.0.1:%d/", port);
    mongoc_client_t *client = client_of(uri);
    CHECK(mongoc_client_command_simple(client, "admin", user, NULL, &reply, &error));
    bson_destroy(&reply);
    CHECK(!mongoc_client_command_simple(client, "app", ping, NULL, &reply, &error) && error.code == 13);
    bson_destroy(&reply);
    mongoc_client_destroy(client);
    static const char *const mechanisms[] = {"SCRAM-SHA-1", "SCRAM-SHA-256"};
    for (size_t i = 0; i < 2; i++) {
        for (int right = 0; right < 2; right++) {
            snprintf(uri, sizeof(uri), "mongodb://boss:%s@127.0.0.1:%d/?authMechanism=%s", right ? "secret" : "wrong",
                     port, mechanisms[i]);
            client = client_of(uri);
            CHECK(mongoc_client_command_simple(client, "app", ping, NULL, &reply, &error) == (right == 1));
            bson_destroy(&reply);
            mongoc_client_destroy(client);
        }
    }
    bson_destroy(ping), bson_destroy(user);
}

static void tls(int port) {
    bson_error_t error = {0};
    char uri[2000];
    snprintf(uri, sizeof(uri), "mongodb://localhost:%d/?tls=true&tlsCAFile=%s&tlsCertificateKeyFile=%s", port,
             getenv("TLS_CA"), getenv("TLS_CLIENT"));
    mongoc_client_t *client = client_of(uri);
    crud(client);
    mongoc_client_destroy(client);
    snprintf(uri, sizeof(uri),
             "mongodb://localhost:%d/"
             "?tls=true&tlsCAFile=%s&tlsCertificateKeyFile=%s&serverSelectionTimeoutMS=500&serverSelectionTryOnce=true",
             port, getenv("TLS_CA"), getenv("TLS_STRANGER"));
    mongoc_uri_t *parsed = mongoc_uri_new(uri);
    client = mongoc_client_new_from_uri(parsed);
    bson_t *ping = BCON_NEW("ping", BCON_INT32(1));
    CHECK(!mongoc_client_command_simple(client, "admin", ping, NULL, NULL, &error));
    bson_destroy(ping);
    mongoc_uri_destroy(parsed);
    mongoc_client_destroy(client);
}

int main(void) {
    mongoc_init();
    mongoc_client_t *client = client_of(getenv("PLAIN_URI"));
    crud(client);
    bulk_and_a_long_cursor(client);
    mongoc_client_destroy(client);
    compression(getenv("PLAIN_URI"));
    transactions(getenv("SET_URI"));
    logins(atoi(getenv("AUTH_PORT")));
    tls(atoi(getenv("TLS_PORT")));
    mongoc_cleanup();
    puts("libmongoc: crud, bulk, cursor, aggregate, indexes, compression, transactions, logins, TLS: all well");
    return 0;
}
