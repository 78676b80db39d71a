/* elmo's server through libmongoc. */
#include <mongoc/mongoc.h>

#include "bench.h"
#include "server.h"

struct connection {
    mongoc_client_t *client;
    mongoc_collection_t *c;
};

static void *connect_to(const char *where) {
    mongoc_init();
    struct connection *k = calloc(1, sizeof(*k));
    k->client = mongoc_client_new(where);
    if (k->client == NULL) bench_fail("libmongoc", where);
    mongoc_client_set_error_api(k->client, MONGOC_ERROR_API_VERSION_2);
    k->c = mongoc_client_get_collection(k->client, "bench", "profiles");
    mongoc_write_concern_t *w = mongoc_write_concern_new();
    mongoc_write_concern_set_w(w, 1);
    mongoc_write_concern_set_journal(w, true);
    mongoc_collection_set_write_concern(k->c, w);
    mongoc_write_concern_destroy(w);
    return k;
}

static void disconnect(void *connection) {
    struct connection *k = connection;
    mongoc_collection_destroy(k->c);
    mongoc_client_destroy(k->client);
    free(k);
}

static bson_t *document(int64_t id) {
    struct profile p;
    profile_make(&p, id);
    return BCON_NEW("_id", BCON_INT64(p.id), "name", p.name, "email", p.email, "city", p.city, "age", BCON_INT32(p.age),
                    "score", BCON_DOUBLE(p.score), "tags", "[", p.tags[0], p.tags[1], p.tags[2], "]", "bio", p.bio,
                    "visits", BCON_INT32(0));
}

static void prepare(void *connection) {
    struct connection *k = connection;
    bson_error_t error;
    (void) mongoc_collection_drop(k->c, NULL);
    bson_t *command =
        BCON_NEW("createIndexes", "profiles", "indexes", "[", "{", "key", "{", "email", BCON_INT32(1), "}", "name",
                 "email", "unique", BCON_BOOL(true), "}", "{", "key", "{", "age", BCON_INT32(1), "}", "name", "age",
                 "}", "{", "key", "{", "tags", BCON_INT32(1), "}", "name", "tags", "}", "]");
    if (!mongoc_client_command_simple(k->client, "bench", command, NULL, NULL, &error))
        bench_fail("createIndexes", error.message);
    bson_destroy(command);
}

static void load(void *connection, int64_t from, int64_t count) {
    struct connection *k = connection;
    bson_error_t error;
    bson_t **docs = calloc((size_t) count, sizeof(*docs));
    for (int64_t i = 0; i < count; i++) docs[i] = document(from + i);
    if (!mongoc_collection_insert_many(k->c, (const bson_t **) docs, (size_t) count, NULL, NULL, &error))
        bench_fail("load", error.message);
    for (int64_t i = 0; i < count; i++) bson_destroy(docs[i]);
    free(docs);
}

static void insert(void *connection, int64_t id) {
    struct connection *k = connection;
    bson_error_t error;
    bson_t *doc = document(id);
    if (!mongoc_collection_insert_one(k->c, doc, NULL, NULL, &error)) bench_fail("insert", error.message);
    bson_destroy(doc);
}

static int64_t drain(mongoc_cursor_t *cursor) {
    const bson_t *doc;
    bson_error_t error;
    int64_t n = 0;
    while (mongoc_cursor_next(cursor, &doc)) n++;
    if (mongoc_cursor_error(cursor, &error)) bench_fail("cursor", error.message);
    mongoc_cursor_destroy(cursor);
    return n;
}

static int64_t find(struct connection *k, bson_t *filter, int64_t limit) {
    bson_t opts = BSON_INITIALIZER;
    BSON_APPEND_INT64(&opts, "limit", limit);
    int64_t n = drain(mongoc_collection_find_with_opts(k->c, filter, &opts, NULL));
    bson_destroy(filter);
    return n;
}

static int64_t find_id(void *k, int64_t id) { return find(k, BCON_NEW("_id", BCON_INT64(id)), 1); }
static int64_t find_email(void *k, int64_t id) {
    struct profile p;
    profile_make(&p, id);
    return find(k, BCON_NEW("email", p.email), 1);
}
static int64_t find_age(void *k, int32_t age) { return find(k, BCON_NEW("age", BCON_INT32(age)), 20); }
static int64_t find_tag(void *k, int32_t tag) {
    char text[16];
    (void) snprintf(text, sizeof(text), "tag%d", tag);
    return find(k, BCON_NEW("tags", text), 20);
}

static int64_t aggregate(void *connection, int32_t age) {
    struct connection *k = connection;
    bson_t *pipeline =
        BCON_NEW("pipeline", "[", "{", "$match", "{", "age", BCON_INT32(age), "}", "}", "{", "$group", "{", "_id",
                 "$city", "n", "{", "$sum", BCON_INT32(1), "}", "mean", "{", "$avg", "$score", "}", "}", "}", "]");
    bson_t opts = BSON_INITIALIZER;
    BSON_APPEND_INT32(&opts, "batchSize", 1000);
    int64_t n = drain(mongoc_collection_aggregate(k->c, MONGOC_QUERY_NONE, pipeline, &opts, NULL));
    bson_destroy(pipeline);
    return n;
}

static void update(void *connection, int64_t id) {
    struct connection *k = connection;
    bson_error_t error;
    bson_t *filter = BCON_NEW("_id", BCON_INT64(id)), *change = BCON_NEW("$inc", "{", "visits", BCON_INT32(1), "}");
    if (!mongoc_collection_update_one(k->c, filter, change, NULL, NULL, &error)) bench_fail("update", error.message);
    bson_destroy(filter), bson_destroy(change);
}

const struct peer peer_elmo = {"elmo",  connect_to, disconnect, prepare,  load,      insert,
                               find_id, find_email, find_age,   find_tag, aggregate, update};
