/* elmo through its public typed functions; batches of updates through the update command. */
#include <elmo/elmo.h>

#include "doc.h"

static elmo_t *db;
static elmo_collection_t *coll;
static bson_error_t error;

static void must(bool ok, const char *what) {
    if (!ok) bench_fail(what, error.message);
}

static void open_elmo(const char *dir, int cache_mb, int durable) {
    char path[1024];
    bson_t opts = BSON_INITIALIZER;
    (void) snprintf(path, sizeof(path), "%s/bench.elmo", dir);
    BSON_APPEND_UTF8(&opts, "sync", durable ? "full" : "normal");
    BSON_APPEND_INT32(&opts, "cacheSizeMB", cache_mb);
    must(elmo_open(path, &opts, &db, &error), "elmo_open");
    coll = elmo_get_collection(db, "bench", "profiles");
    bson_t *specs[] = {BCON_NEW("key", "{", "age", BCON_INT32(1), "}"),
                       BCON_NEW("key", "{", "city", BCON_INT32(1), "}"),
                       BCON_NEW("key", "{", "email", BCON_INT32(1), "}", "unique", BCON_BOOL(true))};
    const bson_t *lent[] = {specs[0], specs[1], specs[2]};
    must(elmo_collection_create_indexes_with_opts(coll, lent, 3, NULL, NULL, &error), "create indexes");
    for (int i = 0; i < 3; i++) bson_destroy(specs[i]);
    bson_destroy(&opts);
}

static void close_elmo(void) {
    elmo_collection_destroy(coll);
    elmo_close(db);
}

static void append_profile(bson_t *doc, const struct profile *p) {
    bson_oid_t oid;
    bson_t sub;
    memcpy(oid.bytes, p->id, 12);
    BSON_APPEND_OID(doc, "_id", &oid);
    BSON_APPEND_UTF8(doc, "name", p->name);
    BSON_APPEND_UTF8(doc, "email", p->email);
    BSON_APPEND_INT32(doc, "age", p->age);
    BSON_APPEND_UTF8(doc, "city", p->city);
    BSON_APPEND_DOCUMENT_BEGIN(doc, "address", &sub);
    BSON_APPEND_UTF8(&sub, "street", p->street);
    BSON_APPEND_UTF8(&sub, "zip", p->zip);
    bson_append_document_end(doc, &sub);
    BSON_APPEND_DOUBLE(doc, "balance", p->balance);
    BSON_APPEND_DATE_TIME(doc, "created", p->created_ms);
    BSON_APPEND_ARRAY_BEGIN(doc, "tags", &sub);
    BSON_APPEND_UTF8(&sub, "0", p->tags[0]);
    BSON_APPEND_UTF8(&sub, "1", p->tags[1]);
    BSON_APPEND_UTF8(&sub, "2", p->tags[2]);
    bson_append_array_end(doc, &sub);
    BSON_APPEND_UTF8(doc, "bio", p->bio);
}

static void insert_batch(const struct profile *p, int count) {
    static bson_t docs[1000];
    static const bson_t *pointers[1000];
    for (int i = 0; i < count; i++) {
        bson_init(&docs[i]);
        append_profile(&docs[i], &p[i]);
        pointers[i] = &docs[i];
    }
    must(elmo_collection_insert_many(coll, pointers, (size_t) count, NULL, NULL, &error), "insert");
    for (int i = 0; i < count; i++) bson_destroy(&docs[i]);
}

/* Rows of a find; every document's bytes are reached. */
static int count_rows(const bson_t *filter, const bson_t *opts) {
    const bson_t *doc;
    int rows = 0;
    elmo_cursor_t *cursor = elmo_collection_find_with_opts(coll, filter, opts);
    while (elmo_cursor_next(cursor, &doc)) rows += doc->len > 100;
    must(!elmo_cursor_error(cursor, &error), "find");
    elmo_cursor_destroy(cursor);
    return rows;
}

static int find_id(const uint8_t id[12]) {
    bson_t filter = BSON_INITIALIZER;
    bson_oid_t oid;
    memcpy(oid.bytes, id, 12);
    BSON_APPEND_OID(&filter, "_id", &oid);
    int rows = count_rows(&filter, NULL);
    bson_destroy(&filter);
    return rows;
}

static int find_email(const char *email) {
    bson_t filter = BSON_INITIALIZER;
    BSON_APPEND_UTF8(&filter, "email", email);
    int rows = count_rows(&filter, NULL);
    bson_destroy(&filter);
    return rows;
}

static int range_age(int lo, int hi, int limit) {
    bson_t *filter = BCON_NEW("age", "{", "$gte", BCON_INT32(lo), "$lt", BCON_INT32(hi), "}");
    bson_t *opts = BCON_NEW("sort", "{", "age", BCON_INT32(1), "}", "limit", BCON_INT32(limit));
    int rows = count_rows(filter, opts);
    bson_destroy(filter);
    bson_destroy(opts);
    return rows;
}

static int filter_all(double below, const char *text) {
    bson_t *filter =
        BCON_NEW("balance", "{", "$lt", BCON_DOUBLE(below), "}", "bio", "{", "$regex", BCON_UTF8(text), "}");
    int rows = count_rows(filter, NULL);
    bson_destroy(filter);
    return rows;
}

static int64_t count_city(const char *city) {
    bson_t filter = BSON_INITIALIZER;
    BSON_APPEND_UTF8(&filter, "city", city);
    int64_t n = elmo_collection_count_documents(coll, &filter, NULL, NULL, &error);
    must(n >= 0, "count");
    bson_destroy(&filter);
    return n;
}

/* $group is not there yet: the caller groups what a projection gives. */
static double average_age(double *by_city) {
    bson_t *filter = bson_new(),
           *opts = BCON_NEW("projection", "{", "_id", BCON_INT32(0), "city", BCON_INT32(1), "age", BCON_INT32(1), "}");
    const bson_t *doc;
    double counts[CITY_COUNT] = {0}, rows = 0;
    elmo_cursor_t *cursor = elmo_collection_find_with_opts(coll, filter, opts);
    while (elmo_cursor_next(cursor, &doc)) {
        bson_iter_t it;
        int city = -1, age = 0;
        if (!bson_iter_init(&it, doc)) continue;
        while (bson_iter_next(&it)) {
            if (bson_iter_key(&it)[0] == 'c') city = atoi(bson_iter_utf8(&it, NULL) + 5);
            else age = bson_iter_int32(&it);
        }
        if (city < 0 || city >= CITY_COUNT) continue;
        by_city[city] += age;
        counts[city]++;
        rows++;
    }
    must(!elmo_cursor_error(cursor, &error), "find");
    for (int i = 0; i < CITY_COUNT; i++) by_city[i] /= counts[i] > 0 ? counts[i] : 1;
    elmo_cursor_destroy(cursor);
    bson_destroy(filter);
    bson_destroy(opts);
    return rows;
}

static void update_batch(const uint8_t (*ids)[12], int count, const char *field, bool is_int, double delta) {
    bson_t command = BSON_INITIALIZER, updates, one, q, u, inc, reply;
    bson_oid_t oid;
    char key[16];
    BSON_APPEND_UTF8(&command, "update", "profiles");
    BSON_APPEND_ARRAY_BEGIN(&command, "updates", &updates);
    for (int i = 0; i < count; i++) {
        (void) snprintf(key, sizeof(key), "%d", i);
        memcpy(oid.bytes, ids[i], 12);
        BSON_APPEND_DOCUMENT_BEGIN(&updates, key, &one);
        BSON_APPEND_DOCUMENT_BEGIN(&one, "q", &q);
        BSON_APPEND_OID(&q, "_id", &oid);
        bson_append_document_end(&one, &q);
        BSON_APPEND_DOCUMENT_BEGIN(&one, "u", &u);
        BSON_APPEND_DOCUMENT_BEGIN(&u, "$inc", &inc);
        if (is_int) BSON_APPEND_INT32(&inc, field, (int) delta);
        else BSON_APPEND_DOUBLE(&inc, field, delta);
        bson_append_document_end(&u, &inc);
        bson_append_document_end(&one, &u);
        bson_append_document_end(&updates, &one);
    }
    bson_append_array_end(&command, &updates);
    must(elmo_command_simple(db, "bench", &command, &reply, &error), "update");
    bson_iter_t it;
    if (!bson_iter_init_find(&it, &reply, "nModified") || bson_iter_int32(&it) != count)
        bench_fail("update", "not every document was updated");
    bson_destroy(&reply);
    bson_destroy(&command);
}

static void update_age(const uint8_t (*ids)[12], int count, int delta) { update_batch(ids, count, "age", true, delta); }
static void update_balance(const uint8_t (*ids)[12], int count, double delta) {
    update_batch(ids, count, "balance", false, delta);
}

const struct doc_engine doc_elmo = {"elmo",        "sync normal (durable insert: full), lz4",
                                    open_elmo,     close_elmo,
                                    insert_batch,  find_id,
                                    find_email,    range_age,
                                    filter_all,    count_city,
                                    average_age,   update_age,
                                    update_balance};
