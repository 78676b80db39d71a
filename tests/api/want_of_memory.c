/* Every allocation of a whole scenario fails once: each call answers an error (146) or does its work, nothing leaks, and what was acknowledged stays. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "api/handles.h"
#include "support/api_db.h"
#include "support/mem_fail.h"

static bool is_expected(const bson_error_t *error) {
    return error->code == 146 || error->code == 91 || error->code == 43;
}

static void expect(bool ok, const bson_error_t *error, uint64_t n) {
    cr_expect(ok || is_expected(error), "allocation %llu: %u %s", (unsigned long long) n, error->code, error->message);
}

/* Through the document functions; answers how many inserts were acknowledged. */
static int use(elmo_t *db, uint64_t n) {
    bson_error_t error;
    const bson_t *row;
    bson_t reply;
    int inserted = 0;
    elmo_collection_t *c = elmo_get_collection(db, "test", "c");
    bson_t *key = doc_of("{key: {a: 1}}"), *filter = doc_of("{a: {$gte: 1}}"),
           *opts = doc_of("{sort: {b: -1}, projection: {a: 1}}"), *set = doc_of("{$push: {b: 1}}");
    bson_t *find = doc_of("{find: 'c', batchSize: 1}"), *explain = doc_of("{explain: {find: 'c', filter: {a: 1}}}"),
           *list = doc_of("{listCollections: 1, filter: {name: 'c'}}");
    const bson_t *keys[] = {key}, *commands[] = {find, explain, list};
    for (int i = 0; i < 4; i++) {
        bson_t *doc = doc_of("{_id: %d, a: %d, b: [%d]}", i, i % 3, i);
        bool ok = elmo_collection_insert_one(c, doc, NULL, &reply, &error);
        expect(ok, &error, n);
        inserted += ok;
        bson_destroy(&reply);
        bson_destroy(doc);
    }
    expect(elmo_collection_create_indexes_with_opts(c, keys, 1, NULL, &reply, &error), &error, n);
    bson_destroy(&reply);
    expect(elmo_collection_update_many(c, filter, set, NULL, &reply, &error), &error, n);
    bson_destroy(&reply);
    elmo_cursor_t *cursor = elmo_collection_find_with_opts(c, filter, opts);
    while (elmo_cursor_next(cursor, &row)) cr_expect(row != NULL);
    expect(!elmo_cursor_error(cursor, &error), &error, n);
    elmo_cursor_destroy(cursor);
    for (int i = 0; i < 3; i++) {
        expect(elmo_command_simple(db, "test", commands[i], &reply, &error), &error, n);
        bson_destroy(&reply);
    }
    int64_t count = elmo_collection_count_documents(c, NULL, NULL, NULL, &error);
    if (count >= 0) cr_expect_geq(count, inserted);
    else expect(false, &error, n);
    elmo_collection_destroy(c);
    bson_t *all[] = {key, filter, opts, set, find, explain, list};
    for (int i = 0; i < 7; i++) bson_destroy(all[i]);
    return inserted;
}

static void sweep(bool once) {
    struct mem_fail mf;
    uint64_t step = 1;
    for (uint64_t n = 1;; n += step) {
        bson_error_t error;
        elmo_t *db = NULL;
        mem_fail_init(&mf, n);
        mf.once = once;
        bool ok = api_open(NULL, NULL, &mf.mem, &db, &error);
        expect(ok, &error, n);
        if (ok) {
            (void) use(db, n);
            elmo_close(db);
        } else {
            cr_expect_null(db);
        }
        cr_assert_eq(mem_fail_live(&mf), 0, "allocation %llu: %llu bytes leak", (unsigned long long) n,
                     (unsigned long long) mem_fail_live(&mf));
        if (!mem_fail_hit(&mf)) break;
        if (n > 300) step = 7;
    }
}

Test(want_of_memory, is_an_error_wherever_it_happens) { sweep(false); }
Test(want_of_memory, that_passes_leaves_no_trace) { sweep(true); }
