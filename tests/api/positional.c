/* Positional updates beside indexes: entries follow the elements; memory may fail anywhere. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "api/handles.h"
#include "support/api_db.h"
#include "support/mem_fail.h"

static int64_t update(elmo_collection_t *c, const char *filter, const char *change, const char *opts,
                      bson_error_t *error) {
    bson_t reply, *f = doc_of("%s", filter), *u = doc_of("%s", change), *o = doc_of("%s", opts);
    int64_t modified = -1;
    if (elmo_collection_update_many(c, f, u, o, &reply, error))
        modified = bson_empty(&reply) ? -2 : number_in(&reply, "modifiedCount");
    bson_destroy(&reply);
    bson_destroy(f);
    bson_destroy(u);
    bson_destroy(o);
    return modified;
}

static elmo_collection_t *filled(elmo_t *db) {
    elmo_collection_t *c = elmo_get_collection(db, "test", "c");
    bson_error_t error;
    for (int i = 0; i < 100; i++) {
        char doc[200];
        (void) snprintf(doc, sizeof(doc), "{_id: %d, a: [{n: %d, k: 'x'}, {n: %d, k: 'y'}], s: [%d, %d]}", i, i, i + 1,
                        i % 7, i % 5);
        cr_assert(insert_doc(c, doc, &error), "%s", error.message);
    }
    bson_t *k1 = doc_of("{key: {'a.n': 1}}"), *k3 = doc_of("{key: {'a.0.n': 1}}");
    const bson_t *keys[] = {k1, k3};
    cr_assert(elmo_collection_create_indexes_with_opts(c, keys, 2, NULL, NULL, &error), "%s", error.message);
    bson_destroy(k1);
    bson_destroy(k3);
    return c;
}

Test(positional, index_entries_follow_the_elements) {
    elmo_t *db = open_at(NULL, NULL);
    elmo_collection_t *c = filled(db);
    bson_error_t error;
    cr_expect_eq(update(c, "{_id: {$lt: 50}}", "{$inc: {'a.$[].n': 1000}}", "{}", &error), 50);
    cr_expect_eq(documents_in(c, "{'a.n': {$gte: 1000}}"), 50);
    cr_expect_eq(update(c, "{'a.k': 'y'}", "{$set: {'a.$.n': -1}}", "{}", &error), 100);
    cr_expect_eq(documents_in(c, "{'a.1.n': -1}"), 100);
    cr_expect_eq(update(c, "{}", "{$set: {'a.$[e].n': 7}}", "{arrayFilters: [{'e.n': {$gte: 1000}}]}", &error), 50);
    cr_expect_eq(documents_in(c, "{'a.0.n': 7}"), 50);
    cr_expect_eq(documents_in(c, "{'a.n': {$gte: 1000}}"), 0);
    cr_expect_eq(update(c, "{s: 3}", "{$pull: {s: 3}, $unset: {'a.$[].k': 1}}", "{}", &error),
                 documents_in(c, "{'a.k': {$exists: false}}"));
    assert_no_faults(db);
    elmo_collection_destroy(c);
    elmo_close(db);
}

Test(positional, want_of_memory_changes_a_document_wholly_or_not) {
    struct mem_fail mf;
    for (uint64_t n = 1;; n += n > 300 ? 7 : 1) {
        bson_error_t error;
        elmo_t *db = NULL;
        mem_fail_init(&mf, 0);
        cr_assert(api_open(NULL, NULL, &mf.mem, &db, &error));
        elmo_collection_t *c = elmo_get_collection(db, "test", "c");
        cr_assert(insert_doc(c, "{_id: 1, a: [{n: 1}, {n: 2}, {n: 3}]}", &error));
        mf.fail_at = mf.count + n;
        mf.once = true;
        int64_t modified = update(c, "{'a.n': 2}", "{$set: {'a.$.b': 1, 'a.$[e].c': 2}, $inc: {'a.$[].n': 10}}",
                                  "{arrayFilters: [{'e.n': {$gte: 2}}]}", &error);
        bool hit = mem_fail_hit(&mf);
        mf.fail_at = 0;
        if (modified == -2) modified = 1; /* done, without memory to tell */
        cr_expect(modified == 1 || error.code == 146, "allocation %llu: %u %s", (unsigned long long) n, error.code,
                  error.message);
        cr_expect_eq(documents_in(c, "{a: [{n: 11}, {n: 12, b: 1, c: 2}, {n: 13, c: 2}]}"), modified == 1 ? 1 : 0);
        cr_expect_eq(documents_in(c, "{a: [{n: 1}, {n: 2}, {n: 3}]}"), modified == 1 ? 0 : 1);
        elmo_collection_destroy(c);
        elmo_close(db);
        cr_assert_eq(mem_fail_live(&mf), 0);
        if (!hit) break;
    }
}
