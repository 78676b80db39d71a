/* load URI SECONDS CONNECTIONS SEED: mixed reads and writes from many connections, whatever happens to the server meanwhile; then everything that was acknowledged (w: 1, j: true) is
 * looked for. Prints a line of counts; exit status 1 when something acknowledged is missing or a read was wrong.
 *
 * Each connection has documents {_id: "T-N", t: T, n: N, ...} of its own, so that it knows what must be there. A write whose answer never came may have happened or not. */
#include <mongoc/mongoc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { UNKNOWN = 1, ACKNOWLEDGED = 2, DELETED = 3, MAYBE_DELETED = 4 };

struct worker {
    pthread_t thread;
    const char *uri;
    int32_t t;
    uint64_t chance;
    time_t until;
    uint8_t *fate; /* of document n */
    int32_t count, room;
    int64_t counter, counter_unknown; /* increments answered, and not answered */
    int64_t done, failed;
    bool is_wrong;
};

static uint64_t chance(uint64_t *s) {
    uint64_t z = (*s += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static mongoc_client_t *client_of(const char *text) {
    mongoc_uri_t *uri = mongoc_uri_new(text);
    mongoc_uri_set_option_as_int32(uri, MONGOC_URI_SERVERSELECTIONTIMEOUTMS, 500);
    mongoc_uri_set_option_as_int32(uri, MONGOC_URI_SOCKETTIMEOUTMS, 20000);
    mongoc_uri_set_option_as_bool(uri, MONGOC_URI_RETRYWRITES, false);
    mongoc_client_t *client = mongoc_client_new_from_uri(uri);
    mongoc_client_set_error_api(client, MONGOC_ERROR_API_VERSION_2);
    mongoc_uri_destroy(uri);
    return client;
}

static mongoc_collection_t *collection_of(mongoc_client_t *client) {
    mongoc_collection_t *c = mongoc_client_get_collection(client, "load", "docs");
    mongoc_write_concern_t *w = mongoc_write_concern_new();
    mongoc_write_concern_set_w(w, 1);
    mongoc_write_concern_set_journal(w, true);
    mongoc_collection_set_write_concern(c, w);
    mongoc_write_concern_destroy(w);
    return c;
}

static void complain(struct worker *w, const char *what, const bson_error_t *error) {
    w->is_wrong = true;
    fprintf(stderr, "connection %d: %s (%u: %s)\n", w->t, what, error->code, error->message);
}

/* Did the server answer no? Then something is wrong; else the connection was lost, and nobody knows. */
static bool was_refused(const bson_error_t *error) {
    return error->domain == MONGOC_ERROR_SERVER && error->code != 11600 && error->code != 91 && error->code != 11601;
}

static void name_of(char *name, size_t room, int32_t t, int32_t n) { (void) snprintf(name, room, "%d-%d", t, n); }

static void insert(struct worker *w, mongoc_collection_t *c) {
    bson_error_t error = {0};
    char name[32], text[301];
    if (w->count == w->room) {
        w->room = w->room != 0 ? w->room * 2 : 4096;
        w->fate = realloc(w->fate, (size_t) w->room);
        if (w->fate == NULL) abort();
    }
    name_of(name, sizeof(name), w->t, w->count);
    memset(text, 'a' + w->count % 26, 300), text[300] = 0;
    bson_t *doc = BCON_NEW("_id", name, "t", BCON_INT32(w->t), "n", BCON_INT32(w->count), "text", text);
    bool ok = mongoc_collection_insert_one(c, doc, NULL, NULL, &error);
    if (!ok && was_refused(&error)) complain(w, "insert", &error);
    w->fate[w->count++] = ok ? ACKNOWLEDGED : UNKNOWN;
    w->failed += !ok;
    bson_destroy(doc);
}

static void delete (struct worker *w, mongoc_collection_t *c) {
    bson_error_t error = {0};
    char name[32];
    int32_t n = (int32_t) (chance(&w->chance) % (uint64_t) w->count);
    if (w->fate[n] != ACKNOWLEDGED) return;
    name_of(name, sizeof(name), w->t, n);
    bson_t *filter = BCON_NEW("_id", name);
    bool ok = mongoc_collection_delete_one(c, filter, NULL, NULL, &error);
    if (!ok && was_refused(&error)) complain(w, "delete", &error);
    w->fate[n] = ok ? DELETED : MAYBE_DELETED;
    w->failed += !ok;
    bson_destroy(filter);
}

static void increment(struct worker *w, mongoc_collection_t *c) {
    bson_error_t error = {0};
    char name[32];
    (void) snprintf(name, sizeof(name), "counter-%d", w->t);
    bson_t *filter = BCON_NEW("_id", name), *update = BCON_NEW("$inc", "{", "count", BCON_INT64(1), "}"),
           *opts = BCON_NEW("upsert", BCON_BOOL(true));
    bool ok = mongoc_collection_update_one(c, filter, update, opts, NULL, &error);
    if (!ok && was_refused(&error)) complain(w, "update", &error);
    if (ok) w->counter++;
    else w->counter_unknown++, w->failed++;
    bson_destroy(filter), bson_destroy(update), bson_destroy(opts);
}

static void read_one(struct worker *w, mongoc_collection_t *c) {
    bson_error_t error = {0};
    char name[32];
    const bson_t *doc;
    int32_t n = (int32_t) (chance(&w->chance) % (uint64_t) w->count);
    name_of(name, sizeof(name), w->t, n);
    bson_t *filter = BCON_NEW("_id", name);
    mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(c, filter, NULL, NULL);
    bool found = mongoc_cursor_next(cursor, &doc), failed = mongoc_cursor_error(cursor, &error);
    if (failed && was_refused(&error)) complain(w, "find", &error);
    if (!failed && found != (w->fate[n] == ACKNOWLEDGED) && (w->fate[n] == ACKNOWLEDGED || w->fate[n] == DELETED))
        complain(w, found ? "a deleted document was found" : "an acknowledged document was not found", &error);
    w->failed += failed;
    mongoc_cursor_destroy(cursor);
    bson_destroy(filter);
}

static void read_many(struct worker *w, mongoc_collection_t *c) {
    bson_error_t error = {0};
    const bson_t *doc;
    int32_t last = -1;
    bson_iter_t it;
    bson_t *filter = BCON_NEW("t", BCON_INT32(w->t)),
           *opts =
               BCON_NEW("sort", "{", "n", BCON_INT32(1), "}", "limit", BCON_INT64(250), "batchSize", BCON_INT32(100));
    mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(c, filter, opts, NULL);
    while (mongoc_cursor_next(cursor, &doc)) {
        if (!bson_iter_init_find(&it, doc, "n") || bson_iter_int32(&it) <= last)
            complain(w, "rows are out of order", &error);
        else last = bson_iter_int32(&it);
    }
    bool failed = mongoc_cursor_error(cursor, &error);
    if (failed && was_refused(&error) && error.code != 43)
        complain(w, "find", &error); /* 43: the cursor went with the server */
    w->failed += failed;
    mongoc_cursor_destroy(cursor);
    bson_destroy(filter), bson_destroy(opts);
}

static void *work(void *arg) {
    struct worker *w = arg;
    mongoc_client_t *client = client_of(w->uri);
    mongoc_collection_t *c = collection_of(client);
    while (time(NULL) < w->until && !w->is_wrong) {
        int64_t failed = w->failed;
        uint64_t dice = chance(&w->chance) % 100;
        if (w->count == 0 || dice < 45) insert(w, c);
        else if (dice < 55) increment(w, c);
        else if (dice < 62) delete (w, c);
        else if (dice < 97) read_one(w, c);
        else read_many(w, c);
        w->done++;
        if (w->failed != failed) usleep(50000);
    }
    mongoc_collection_destroy(c);
    mongoc_client_destroy(client);
    return NULL;
}

/* Looks for all that was acknowledged, document by document. */
static void verify(struct worker *w, mongoc_collection_t *c) {
    bson_error_t error = {0};
    const bson_t *doc;
    bson_iter_t it;
    uint8_t *seen = calloc((size_t) w->count + 1, 1);
    bson_t *filter = BCON_NEW("t", BCON_INT32(w->t));
    mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(c, filter, NULL, NULL);
    while (mongoc_cursor_next(cursor, &doc)) {
        int32_t n = bson_iter_init_find(&it, doc, "n") ? bson_iter_int32(&it) : -1;
        if (n < 0 || n >= w->count || seen[n]++ != 0) complain(w, "a document that nobody wrote, or twice", &error);
    }
    if (mongoc_cursor_error(cursor, &error)) complain(w, "verifying", &error);
    mongoc_cursor_destroy(cursor);
    bson_destroy(filter);
    for (int32_t n = 0; n < w->count; n++) {
        if (w->fate[n] == ACKNOWLEDGED && !seen[n])
            fprintf(stderr, "document %d-%d was acknowledged and is lost\n", w->t, n), w->is_wrong = true;
        if (w->fate[n] == DELETED && seen[n])
            fprintf(stderr, "document %d-%d was deleted and is back\n", w->t, n), w->is_wrong = true;
    }
    free(seen);
    char name[32];
    (void) snprintf(name, sizeof(name), "counter-%d", w->t);
    filter = BCON_NEW("_id", name);
    cursor = mongoc_collection_find_with_opts(c, filter, NULL, NULL);
    int64_t count =
        mongoc_cursor_next(cursor, &doc) && bson_iter_init_find(&it, doc, "count") ? bson_iter_as_int64(&it) : 0;
    if (count < w->counter || count > w->counter + w->counter_unknown) {
        fprintf(stderr, "counter %d is %lld: %lld increments were acknowledged, %lld unknown\n", w->t,
                (long long) count, (long long) w->counter, (long long) w->counter_unknown);
        w->is_wrong = true;
    }
    mongoc_cursor_destroy(cursor);
    bson_destroy(filter);
}

static void make_index(const char *uri) {
    bson_error_t error;
    mongoc_client_t *client = client_of(uri);
    bson_t *command = BCON_NEW("createIndexes", "docs", "indexes", "[", "{", "key", "{", "t", BCON_INT32(1), "n",
                               BCON_INT32(1), "}", "name", "t_1_n_1", "}", "]");
    if (!mongoc_client_command_simple(client, "load", command, NULL, NULL, &error)) {
        fprintf(stderr, "createIndexes: %s\n", error.message);
        exit(1);
    }
    bson_destroy(command);
    mongoc_client_destroy(client);
}

int main(int argc, char **argv) {
    if (argc != 5) {
        fprintf(stderr, "usage: %s URI SECONDS CONNECTIONS SEED\n", argv[0]);
        return 2;
    }
    mongoc_init();
    int n = atoi(argv[3]);
    struct worker *ws = calloc((size_t) n, sizeof(*ws));
    int64_t done = 0, failed = 0, documents = 0;
    bool is_wrong = false;
    make_index(argv[1]);
    for (int i = 0; i < n; i++) {
        ws[i] = (struct worker){.uri = argv[1],
                                .t = i,
                                .chance = strtoull(argv[4], NULL, 10) * 1000 + (uint64_t) i,
                                .until = time(NULL) + atoi(argv[2])};
        if (pthread_create(&ws[i].thread, NULL, work, &ws[i]) != 0) return 1;
    }
    for (int i = 0; i < n; i++) (void) pthread_join(ws[i].thread, NULL);
    mongoc_client_t *client = client_of(argv[1]);
    mongoc_collection_t *c = collection_of(client);
    for (int tries = 0; tries < 60; tries++) { /* it may have been killed just now */
        bson_t *ping = BCON_NEW("ping", BCON_INT32(1));
        bool ok = mongoc_client_command_simple(client, "admin", ping, NULL, NULL, NULL);
        bson_destroy(ping);
        if (ok) break;
        sleep(1);
    }
    for (int i = 0; i < n; i++) {
        verify(&ws[i], c);
        done += ws[i].done, failed += ws[i].failed, documents += ws[i].count, is_wrong |= ws[i].is_wrong;
        free(ws[i].fate);
    }
    printf("%lld operations, %lld of them interrupted, %lld documents written: %s\n", (long long) done,
           (long long) failed, (long long) documents, is_wrong ? "WRONG" : "nothing acknowledged is lost");
    mongoc_collection_destroy(c);
    mongoc_client_destroy(client);
    free(ws);
    mongoc_cleanup();
    return is_wrong;
}
