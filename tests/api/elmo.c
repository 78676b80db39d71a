/* The functions of elmo.h: what they answer, whom they refuse, and who owns what. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/api_db.h"

#define DOCS(p) ((const bson_t **) (void *) (p))
#define FILLED_WITH_RUBBISH(name)                                                                                      \
    bson_t name;                                                                                                       \
    memset(&name, 0xAB, sizeof(name))

static void assert_code(bool ok, const bson_error_t *error, uint32_t code) {
    cr_assert_not(ok);
    cr_assert_eq(error->domain, ELMO_ERROR_SERVER);
    cr_assert_eq(error->code, code, "%u: %s", error->code, error->message);
    cr_assert(error->message[0] != '\0');
}

/* ---- opening and closing ---- */

Test(elmo, keeps_documents_in_a_file_and_leaves_only_that) {
    struct folder f;
    char log[300];
    folder_make(&f);
    elmo_t *db = open_at(f.file, NULL);
    elmo_collection_t *c = elmo_get_collection(db, "test", "c");
    cr_assert(insert_doc(c, "{_id: 1, a: 'x'}", NULL));
    (void) snprintf(log, sizeof(log), "%s-log-1", f.file);
    elmo_collection_destroy(c);
    elmo_close(db);
    cr_expect_neq(access(log, F_OK), 0, "a log stands beside a closed file");
    db = open_at(f.file, "{create: false}");
    c = elmo_get_collection(db, "test", "c");
    char *rows = rows_of(c, "{}", NULL);
    cr_expect_str_eq(rows, "{ \"_id\" : 1, \"a\" : \"x\" }\n");
    bson_free(rows);
    elmo_collection_destroy(c);
    assert_no_faults(db);
    elmo_close(db);
    folder_remove(&f);
}

Test(elmo, keeps_nothing_of_a_database_in_memory) {
    for (int i = 0; i < 2; i++) {
        elmo_t *db = open_at(i == 0 ? NULL : ":memory:", NULL);
        elmo_collection_t *c = elmo_get_collection(db, "test", "c");
        cr_expect_eq(documents_in(c, "{}"), 0);
        cr_expect(insert_doc(c, "{}", NULL));
        cr_expect_eq(documents_in(c, "{}"), 1);
        elmo_collection_destroy(c);
        elmo_close(db);
    }
    elmo_close(NULL);
}

Test(elmo, refuses_a_second_opener_and_says_who_has_the_file) {
    struct folder f;
    char message[504], pid[32];
    folder_make(&f);
    elmo_t *db = open_at(f.file, NULL);
    cr_expect_eq(open_fails(f.file, NULL, message), 46);
    (void) snprintf(pid, sizeof(pid), "pid %d", (int) getpid());
    cr_expect(strstr(message, pid) != NULL, "%s", message);
    cr_expect_eq(open_fails(f.file, "{readOnly: true}", NULL), 46);
    elmo_close(db);
    db = open_at(f.file, NULL);
    elmo_close(db);
    folder_remove(&f);
}

Test(elmo, lets_several_readers_in_and_none_of_them_writes) {
    struct folder f;
    bson_error_t error;
    folder_make(&f);
    elmo_t *db = open_at(f.file, NULL);
    elmo_collection_t *c = elmo_get_collection(db, "test", "c");
    cr_assert(insert_doc(c, "{_id: 1}", NULL));
    elmo_collection_destroy(c);
    elmo_close(db);
    cr_assert_eq(chmod(f.file, 0444), 0);
    elmo_t *a = open_at(f.file, "{readOnly: true}"), *b = open_at(f.file, "{readOnly: true}");
    cr_expect_eq(open_fails(f.file, NULL, NULL), geteuid() == 0 ? 46 : 38);
    c = elmo_get_collection(b, "test", "c");
    cr_expect_eq(documents_in(c, "{}"), 1);
    assert_code(insert_doc(c, "{}", &error), &error, 20);
    assert_code(elmo_collection_drop(c, &error), &error, 20);
    bson_t *filter = doc_of("{}"), *update = doc_of("{$set: {a: 1}}"), *spec = doc_of("{key: {a: 1}}");
    assert_code(elmo_collection_update_one(c, filter, update, NULL, NULL, &error), &error, 20);
    assert_code(elmo_collection_delete_many(c, filter, NULL, NULL, &error), &error, 20);
    assert_code(elmo_collection_create_indexes_with_opts(c, DOCS(&spec), 1, NULL, NULL, &error), &error, 20);
    assert_no_faults(b);
    bson_destroy(filter);
    bson_destroy(update);
    bson_destroy(spec);
    elmo_collection_destroy(c);
    elmo_close(a);
    elmo_close(b);
    folder_remove(&f);
}

Test(elmo, refuses_wrong_options_by_name) {
    static const struct {
        const char *opts;
        uint32_t code;
        const char *culprit;
    } rows[] = {
        {"{frob: 1}", 40415, "frob"},
        {"{sync: 'sometimes'}", 2, "sync"},
        {"{sync: 1}", 14, "sync"},
        {"{compression: 'rar'}", 2, "compression"},
        {"{cacheSizeMB: -1}", 51024, "cacheSizeMB"},
        {"{cacheSizeMB: 'x'}", 14, "cacheSizeMB"},
        {"{cacheSizeMB: 1e15}", 2, "cacheSizeMB"},
        {"{writeBufferMB: 1.5}", 9, "writeBufferMB"},
        {"{threads: 1000}", 2, "threads"},
        {"{readOnly: 'x'}", 14, "readOnly"},
        {"{create: true, create: false}", 40413, "create"},
    };
    struct folder f;
    folder_make(&f);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char message[504];
        cr_expect_eq(open_fails(f.file, rows[i].opts, message), rows[i].code, "%s: %s", rows[i].opts, message);
        cr_expect(strstr(message, rows[i].culprit) != NULL, "%s: %s", rows[i].opts, message);
        cr_expect_neq(access(f.file, F_OK), 0, "%s made a file", rows[i].opts);
    }
    cr_expect_eq(open_fails(f.file, "{create: false}", NULL), 26);
    cr_expect_eq(open_fails(f.file, "{readOnly: true}", NULL), 26);
    cr_expect_eq(open_fails(f.path, NULL, NULL), 38, "a folder");
    cr_expect_eq(open_fails("/no/such/folder/a.elmo", NULL, NULL), 38);
    cr_expect_eq(open_fails("", NULL, NULL), 2);
    folder_remove(&f);
}

Test(elmo, takes_every_option) {
    static const char *const opts[] = {"{sync: 'full', threads: 0}", "{sync: 'normal', compression: 'zstd'}",
                                       "{sync: 'off', compression: 'none', cacheSizeMB: 1}",
                                       "{writeBufferMB: 1, threads: 1, maxFileSizeMB: 100}",
                                       "{compression: 'lz4', create: true, readOnly: false}"};
    for (size_t i = 0; i < sizeof(opts) / sizeof(opts[0]); i++) {
        struct folder f;
        folder_make(&f);
        elmo_t *db = open_at(f.file, opts[i]);
        elmo_collection_t *c = elmo_get_collection(db, "test", "c");
        cr_expect(insert_doc(c, "{_id: 1}", NULL));
        elmo_collection_destroy(c);
        elmo_close(db);
        db = open_at(f.file, opts[(i + 1) % 5]);
        c = elmo_get_collection(db, "test", "c");
        cr_expect_eq(documents_in(c, "{}"), 1, "%s", opts[i]);
        elmo_collection_destroy(c);
        elmo_close(db);
        folder_remove(&f);
    }
}

Test(elmo, answers_91_through_handles_of_a_closed_database_which_keep_the_file) {
    struct folder f;
    bson_error_t error;
    const bson_t *row;
    FILLED_WITH_RUBBISH(reply);
    folder_make(&f);
    elmo_t *db = open_at(f.file, NULL);
    elmo_collection_t *c = elmo_get_collection(db, "test", "c");
    bson_t *doc = doc_of("{a: 1}"), *update = doc_of("{$set: {b: 1}}");
    cr_assert(insert_doc(c, "{}", NULL) && insert_doc(c, "{}", NULL));
    elmo_cursor_t *cursor = elmo_collection_find_with_opts(c, NULL, NULL);
    cr_assert(elmo_cursor_next(cursor, &row));
    elmo_close(db);
    cr_expect_not(elmo_cursor_next(cursor, &row));
    cr_expect_null(row);
    assert_code(!elmo_cursor_error(cursor, &error), &error, 91);
    assert_code(elmo_collection_insert_one(c, doc, NULL, &reply, &error), &error, 91);
    bson_destroy(&reply);
    assert_code(elmo_collection_insert_many(c, DOCS(&doc), 1, NULL, NULL, &error), &error, 91);
    assert_code(elmo_collection_update_many(c, doc, update, NULL, NULL, &error), &error, 91);
    assert_code(elmo_collection_replace_one(c, doc, doc, NULL, NULL, &error), &error, 91);
    assert_code(elmo_collection_delete_one(c, doc, NULL, NULL, &error), &error, 91);
    assert_code(elmo_collection_count_documents(c, doc, NULL, NULL, &error) != -1, &error, 91);
    assert_code(elmo_collection_estimated_document_count(c, NULL, NULL, &error) != -1, &error, 91);
    assert_code(elmo_collection_drop(c, &error), &error, 91);
    assert_code(elmo_collection_drop_index(c, "x", &error), &error, 91);
    assert_code(elmo_collection_create_indexes_with_opts(c, DOCS(&doc), 1, NULL, &reply, &error), &error, 91);
    bson_destroy(&reply);
    elmo_cursor_t *late = elmo_collection_find_with_opts(c, NULL, NULL),
                  *indexes = elmo_collection_find_indexes_with_opts(c, NULL);
    cr_expect_not(elmo_cursor_next(late, &row));
    assert_code(!elmo_cursor_error(late, &error), &error, 91);
    cr_expect_not(elmo_cursor_next(indexes, &row));
    assert_code(!elmo_cursor_error(indexes, &error), &error, 91);
    cr_expect_str_eq(elmo_collection_get_name(c), "c");
    elmo_cursor_destroy(late);
    elmo_cursor_destroy(indexes);
    elmo_collection_destroy(c);
    cr_expect_eq(open_fails(f.file, NULL, NULL), 46, "the cursor still keeps the file");
    elmo_cursor_destroy(cursor);
    db = open_at(f.file, NULL);
    elmo_close(db);
    bson_destroy(doc);
    bson_destroy(update);
    folder_remove(&f);
}

Test(elmo, needs_no_handle_to_fail) {
    bson_error_t error;
    const bson_t *row;
    bson_t doc = BSON_INITIALIZER;
    const bson_t *docs[] = {&doc};
    assert_code(elmo_collection_insert_one(NULL, &doc, NULL, NULL, &error), &error, 146);
    assert_code(elmo_collection_insert_many(NULL, docs, 1, NULL, NULL, &error), &error, 146);
    assert_code(elmo_collection_update_one(NULL, &doc, &doc, NULL, NULL, &error), &error, 146);
    assert_code(elmo_collection_delete_one(NULL, &doc, NULL, NULL, &error), &error, 146);
    assert_code(elmo_collection_count_documents(NULL, &doc, NULL, NULL, &error) != -1, &error, 146);
    assert_code(elmo_collection_drop(NULL, &error), &error, 146);
    elmo_cursor_t *cursor = elmo_collection_find_with_opts(NULL, &doc, NULL);
    cr_expect_not(elmo_cursor_next(cursor, &row));
    assert_code(!elmo_cursor_error(cursor, &error), &error, 146);
    elmo_cursor_destroy(cursor);
    elmo_cursor_destroy(NULL);
    elmo_collection_destroy(NULL);
}

/* ---- writing ---- */

struct bench {
    elmo_t *db;
    elmo_collection_t *c;
};

static struct bench bench_open(void) {
    elmo_t *db = open_at(NULL, NULL);
    return (struct bench){db, elmo_get_collection(db, "test", "c")};
}

static void bench_close(struct bench *b) {
    assert_no_faults(b->db);
    elmo_collection_destroy(b->c);
    elmo_close(b->db);
}

Test(elmo, insert_tells_the_id_it_made) {
    struct bench b = bench_open();
    bson_error_t error;
    bson_iter_t it;
    FILLED_WITH_RUBBISH(reply);
    bson_t *doc = doc_of("{a: 1}"), *other = doc_of("{_id: 7}");
    cr_assert(elmo_collection_insert_one(b.c, doc, NULL, &reply, &error), "%s", error.message);
    cr_expect_eq(number_in(&reply, "insertedCount"), 1);
    cr_assert(bson_iter_init_find(&it, &reply, "insertedId") && BSON_ITER_HOLDS_OID(&it));
    bson_t filter = BSON_INITIALIZER;
    BSON_APPEND_OID(&filter, "_id", bson_iter_oid(&it));
    cr_expect_eq(elmo_collection_count_documents(b.c, &filter, NULL, NULL, &error), 1);
    bson_destroy(&reply);
    bson_destroy(&filter);
    cr_assert(elmo_collection_insert_one(b.c, other, NULL, &reply, &error));
    cr_expect_eq(number_in(&reply, "insertedId"), 7);
    bson_destroy(&reply);
    assert_code(elmo_collection_insert_one(b.c, other, NULL, &reply, &error), &error, 11000);
    cr_expect(strstr(error.message, "_id: 7") != NULL, "%s", error.message);
    cr_expect_eq(number_in(&reply, "insertedCount"), 0);
    cr_expect_eq(number_in(&reply, "writeErrors.0.code"), 11000);
    bson_destroy(&reply);
    cr_expect_not(elmo_collection_insert_one(b.c, other, NULL, NULL, NULL), "reply and error may be NULL");
    bson_destroy(doc);
    bson_destroy(other);
    bench_close(&b);
}

Test(elmo, insert_many_is_ordered_unless_told) {
    struct bench b = bench_open();
    bson_error_t error;
    bson_t reply, *opts = doc_of("{ordered: false, comment: 'x', maxTimeMS: 10000}");
    bson_t *docs[] = {doc_of("{_id: 1}"), doc_of("{_id: 1}"), doc_of("{_id: 2}"), doc_of("{_id: 1}")};
    assert_code(elmo_collection_insert_many(b.c, DOCS(docs), 4, NULL, &reply, &error), &error, 11000);
    cr_expect_eq(number_in(&reply, "insertedCount"), 1);
    cr_expect_eq(number_in(&reply, "writeErrors.0.index"), 1);
    cr_expect_eq(number_in(&reply, "writeErrors.0.keyPattern._id"), 1);
    cr_expect_eq(number_in(&reply, "writeErrors.1.index"), -1);
    bson_destroy(&reply);
    assert_code(elmo_collection_insert_many(b.c, DOCS(docs), 4, opts, &reply, &error), &error, 11000);
    cr_expect_eq(number_in(&reply, "insertedCount"), 1);
    cr_expect_eq(number_in(&reply, "writeErrors.2.index"), 3);
    bson_destroy(&reply);
    assert_code(elmo_collection_insert_many(b.c, NULL, 0, NULL, &reply, &error), &error, 16);
    bson_destroy(&reply);
    cr_expect_eq(documents_in(b.c, "{}"), 2);
    for (int i = 0; i < 4; i++) bson_destroy(docs[i]);
    bson_destroy(opts);
    bench_close(&b);
}

Test(elmo, insert_refuses_what_is_no_document) {
    struct bench b = bench_open();
    bson_error_t error;
    static const uint8_t hostile[][20] = {
        {12, 0, 0, 0, 0x77, 'a', 0, 1, 0, 0, 0, 0},        /* an unknown type */
        {14, 0, 0, 0, 2, 'a', 0, 200, 0, 0, 0, 'x', 0, 0}, /* a string longer than the document */
        {14, 0, 0, 0, 2, 'a', 0, 2, 0, 0, 0, 0xFF, 0, 0},  /* no UTF-8 */
        {13, 0, 0, 0, 3, 'a', 0, 90, 0, 0, 0, 0, 0},       /* a document longer than its parent */
        {9, 0, 0, 0, 8, 'a', 0, 7, 0},                     /* neither true nor false */
    };
    for (size_t i = 0; i < sizeof(hostile) / sizeof(hostile[0]); i++) {
        bson_t doc, reply;
        cr_assert(bson_init_static(&doc, hostile[i], hostile[i][0]));
        const bson_t *docs[] = {&doc};
        assert_code(elmo_collection_insert_one(b.c, &doc, NULL, &reply, &error), &error, 22);
        cr_expect(strstr(error.message, "offset") != NULL || strstr(error.message, "'a'") != NULL, "no place: %s",
                  error.message);
        bson_destroy(&reply);
        assert_code(elmo_collection_insert_many(b.c, docs, 1, NULL, NULL, &error), &error, 22);
        assert_code(elmo_collection_update_one(b.c, &doc, &doc, NULL, NULL, &error), &error, 22);
        assert_code(elmo_collection_delete_one(b.c, &doc, NULL, NULL, &error), &error, 22);
        assert_code(elmo_collection_count_documents(b.c, NULL, &doc, NULL, &error) != -1, &error, 22);
        assert_code(elmo_command_simple(b.db, "test", &doc, &reply, &error), &error, 22);
        cr_expect_eq(number_in(&reply, "code"), 22);
        bson_destroy(&reply);
        elmo_cursor_t *cursor = elmo_collection_find_with_opts(b.c, &doc, NULL);
        assert_code(!elmo_cursor_error(cursor, &error), &error, 22);
        elmo_cursor_destroy(cursor);
    }
    cr_expect_eq(documents_in(b.c, "{}"), 0);
    bench_close(&b);
}

Test(elmo, limits_of_size_and_depth) {
    struct bench b = bench_open();
    bson_error_t error;
    uint32_t largest = 16 * 1024 * 1024;
    for (int over = 0; over < 2; over++) { /* {_id: int32, s: string}: 4 + 9 + 3 + 4 + n + 1 + 1 */
        bson_t doc = BSON_INITIALIZER;
        uint32_t n = largest - 22 + (uint32_t) over;
        char *text = bson_malloc(n);
        memset(text, 'x', n);
        BSON_APPEND_INT32(&doc, "_id", over);
        bson_append_utf8(&doc, "s", 1, text, (int) n);
        cr_assert_eq(doc.len, largest + (uint32_t) over);
        bool ok = elmo_collection_insert_one(b.c, &doc, NULL, NULL, &error);
        if (over) assert_code(ok, &error, 2);
        else cr_assert(ok, "%s", error.message);
        bson_destroy(&doc);
        bson_free(text);
    }
    for (int depth = 179; depth < 190; depth++) {
        bson_t inner = BSON_INITIALIZER;
        for (int i = 0; i < depth - 1; i++) {
            bson_t outer = BSON_INITIALIZER;
            BSON_APPEND_DOCUMENT(&outer, "a", &inner);
            bson_destroy(&inner);
            bson_copy_to(&outer, &inner);
            bson_destroy(&outer);
        }
        bool ok = elmo_collection_insert_one(b.c, &inner, NULL, NULL, &error);
        cr_expect_eq(ok, depth <= 180, "depth %d: %s", depth, ok ? "taken" : error.message);
        bson_destroy(&inner);
    }
    char *rows = rows_of(b.c, "{_id: 0}", "{projection: {_id: 1}}");
    cr_expect_str_eq(rows, "{ \"_id\" : 0 }\n");
    bson_free(rows);
    bench_close(&b);
}

Test(elmo, updates_replaces_and_deletes) {
    struct bench b = bench_open();
    bson_error_t error;
    FILLED_WITH_RUBBISH(reply);
    bson_t *all = doc_of("{}"), *set = doc_of("{$set: {b: 1}}"), *one = doc_of("{_id: 1}"), *plain = doc_of("{c: 1}"),
           *upsert = doc_of("{upsert: true}"), *nine = doc_of("{_id: 9}"), *wrong = doc_of("{frob: 1}"),
           *inc = doc_of("{$inc: {s: 1}}");
    for (int i = 1; i <= 3; i++) {
        bson_t *d = doc_of("{_id: %d, s: 'x'}", i);
        cr_assert(elmo_collection_insert_one(b.c, d, NULL, NULL, NULL));
        bson_destroy(d);
    }
    cr_assert(elmo_collection_update_one(b.c, all, set, NULL, &reply, &error));
    cr_expect(number_in(&reply, "matchedCount") == 1 && number_in(&reply, "modifiedCount") == 1 &&
              number_in(&reply, "upsertedCount") == 0);
    bson_destroy(&reply);
    cr_assert(elmo_collection_update_many(b.c, all, set, NULL, &reply, &error));
    cr_expect(number_in(&reply, "matchedCount") == 3 && number_in(&reply, "modifiedCount") == 2);
    bson_destroy(&reply);
    cr_assert(elmo_collection_replace_one(b.c, one, plain, NULL, &reply, &error));
    cr_expect_eq(number_in(&reply, "modifiedCount"), 1);
    bson_destroy(&reply);
    cr_assert(elmo_collection_update_one(b.c, nine, set, upsert, &reply, &error));
    cr_expect(number_in(&reply, "upsertedCount") == 1 && number_in(&reply, "upsertedId") == 9 &&
              number_in(&reply, "matchedCount") == 0);
    bson_destroy(&reply);
    assert_code(elmo_collection_update_one(b.c, all, plain, NULL, &reply, &error), &error, 22);
    bson_destroy(&reply);
    cr_expect_not(elmo_collection_replace_one(b.c, all, set, NULL, &reply, &error), "operators in a replacement");
    bson_destroy(&reply);
    assert_code(elmo_collection_update_one(b.c, all, set, wrong, &reply, &error), &error, 40415);
    bson_destroy(&reply);
    assert_code(elmo_collection_update_many(b.c, all, inc, NULL, &reply, &error), &error, 14);
    cr_expect_eq(number_in(&reply, "writeErrors.0.code"), 14);
    bson_destroy(&reply);
    cr_assert(elmo_collection_delete_one(b.c, all, NULL, &reply, &error));
    cr_expect_eq(number_in(&reply, "deletedCount"), 1);
    bson_destroy(&reply);
    cr_assert(elmo_collection_delete_many(b.c, all, NULL, &reply, &error));
    cr_expect_eq(number_in(&reply, "deletedCount"), 3);
    bson_destroy(&reply);
    bson_t *docs[] = {all, set, one, plain, upsert, nine, wrong, inc};
    for (int i = 0; i < 8; i++) bson_destroy(docs[i]);
    bench_close(&b);
}

/* ---- reading ---- */

Test(elmo, updates_by_a_pipeline_and_with_variables) {
    bson_error_t error;
    bson_t reply, *filter = doc_of("{$expr: {$gte: ['$a', '$$least']}}"), *opts = doc_of("{let: {least: 2, by: 10}}"),
                  *stages = doc_of("{'0': {$set: {a: {$add: ['$a', '$$by']}}}, '1': {$unset: 'b'}}");
    elmo_t *db = open_at(NULL, NULL);
    elmo_collection_t *c = elmo_get_collection(db, "test", "c");
    for (int i = 1; i <= 3; i++) {
        bson_t *doc = doc_of("{_id: %d, a: %d, b: 1}", i, i);
        cr_assert(elmo_collection_insert_one(c, doc, NULL, NULL, &error));
        bson_destroy(doc);
    }
    cr_assert(elmo_collection_update_many(c, filter, stages, opts, &reply, &error), "%s", error.message);
    cr_assert_eq(number_in(&reply, "modifiedCount"), 2);
    bson_destroy(&reply);
    cr_assert_eq(documents_in(c, "{a: {$in: [12, 13]}, b: {$exists: false}}"), 2);
    /* A replacement's fields are only named like that. */
    bson_t *first = doc_of("{_id: 1}"), *positions = doc_of("{'0': {x: 1}, '1': 2}");
    cr_assert(elmo_collection_replace_one(c, first, positions, NULL, NULL, &error), "%s", error.message);
    cr_assert_eq(documents_in(c, "{'0.x': 1, '1': 2}"), 1);
    cr_assert_not(elmo_collection_update_one(c, first, positions, NULL, NULL, &error));
    cr_assert(elmo_collection_delete_many(c, filter, opts, &reply, &error), "%s", error.message);
    cr_assert_eq(number_in(&reply, "deletedCount"), 2);
    bson_destroy(&reply);
    assert_no_faults(db);
    elmo_collection_destroy(c);
    elmo_close(db);
    bson_t *all[] = {filter, opts, stages, first, positions};
    for (int i = 0; i < 5; i++) bson_destroy(all[i]);
}

Test(elmo, a_cursor_keeps_its_own_copies_and_its_state_of_things) {
    struct bench b = bench_open();
    const bson_t *row;
    bson_error_t error;
    cr_assert(insert_doc(b.c, "{_id: 1, a: 2}", NULL) && insert_doc(b.c, "{_id: 2, a: 1}", NULL) &&
              insert_doc(b.c, "{_id: 3, a: 0}", NULL));
    bson_t *filter = doc_of("{a: {$gt: 0}}"),
           *opts = doc_of("{sort: {a: 1}, projection: {_id: 1}, batchSize: 1, maxTimeMS: 60000}");
    elmo_cursor_t *cursor = elmo_collection_find_with_opts(b.c, filter, opts);
    memset((void *) (uintptr_t) bson_get_data(filter), 0x55, filter->len);
    memset((void *) (uintptr_t) bson_get_data(opts), 0x55, opts->len);
    bson_t all = BSON_INITIALIZER;
    cr_assert(elmo_collection_delete_many(b.c, &all, NULL, NULL, NULL));
    cr_assert(elmo_cursor_next(cursor, &row));
    cr_expect_eq(number_in(row, "_id"), 2);
    cr_assert(elmo_cursor_next(cursor, &row));
    cr_expect_eq(number_in(row, "_id"), 1);
    cr_expect_not(elmo_cursor_next(cursor, &row));
    cr_expect_not(elmo_cursor_next(cursor, &row), "the end stays the end");
    cr_expect_null(row);
    cr_expect_not(elmo_cursor_error(cursor, &error));
    elmo_cursor_destroy(cursor);
    bson_free(filter); /* its bytes are inside of it */
    bson_free(opts);
    bench_close(&b);
}

Test(elmo, a_failed_find_is_a_cursor_without_rows) {
    static const struct {
        const char *filter, *opts;
        uint32_t code;
    } rows[] = {
        {"{a: {$frob: 1}}", "{}", 2},   {"{}", "{sort: {a: 2}}", 15975},
        {"{}", "{limit: -1}", 51024},   {"{}", "{frob: 1}", 40415},
        {"{}", "{hint: 'nope'}", 2},    {"{}", "{projection: {a: 1, b: 0}}", 31254},
        {"{}", "{maxTimeMS: 'x'}", 14}, {"{}", "{collation: {locale: 'de'}}", 238},
    };
    struct bench b = bench_open();
    cr_assert(insert_doc(b.c, "{}", NULL));
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        bson_t *filter = doc_of("%s", rows[i].filter), *opts = doc_of("%s", rows[i].opts);
        const bson_t *row;
        bson_error_t error;
        elmo_cursor_t *cursor = elmo_collection_find_with_opts(b.c, filter, opts);
        cr_assert_not_null(cursor);
        cr_expect_not(elmo_cursor_next(cursor, &row));
        assert_code(!elmo_cursor_error(cursor, &error), &error, rows[i].code);
        cr_expect(elmo_cursor_error(cursor, NULL));
        elmo_cursor_destroy(cursor);
        bson_destroy(filter);
        bson_destroy(opts);
    }
    bench_close(&b);
}

Test(elmo, counts) {
    struct bench b = bench_open();
    bson_error_t error;
    FILLED_WITH_RUBBISH(reply);
    for (int i = 0; i < 5; i++) cr_assert(insert_doc(b.c, i < 3 ? "{a: 1}" : "{a: 2}", NULL));
    bson_t *filter = doc_of("{a: 1}"), *opts = doc_of("{skip: 1, limit: 1}"), *wrong = doc_of("{a: {$frob: 1}}");
    cr_expect_eq(elmo_collection_count_documents(b.c, filter, NULL, &reply, &error), 3);
    cr_expect_eq(number_in(&reply, "n"), 3);
    bson_destroy(&reply);
    cr_expect_eq(elmo_collection_count_documents(b.c, filter, opts, NULL, NULL), 1);
    cr_expect_eq(elmo_collection_count_documents(b.c, NULL, NULL, NULL, NULL), 5);
    cr_expect_eq(elmo_collection_estimated_document_count(b.c, NULL, &reply, &error), 5);
    bson_destroy(&reply);
    cr_expect_eq(elmo_collection_count_documents(b.c, wrong, NULL, &reply, &error), -1);
    cr_expect_eq(error.code, 2);
    bson_destroy(&reply);
    bson_destroy(filter);
    bson_destroy(opts);
    bson_destroy(wrong);
    bench_close(&b);
}

Test(elmo, bad_names_show_when_they_are_used) {
    static const char *const names[][2] = {
        {"", "c"},    {"a b", "c"},    {"a.b", "c"},
        {"test", ""}, {"test", "a$b"}, {"test", ".a"},
        {NULL, "c"},  {"test", NULL},  {"0123456789012345678901234567890123456789012345678901234567890123", "c"}};
    elmo_t *db = open_at(NULL, NULL);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        bson_error_t error;
        const bson_t *row;
        elmo_collection_t *c = elmo_get_collection(db, names[i][0], names[i][1]);
        cr_assert_not_null(c);
        assert_code(insert_doc(c, "{}", &error), &error, 73);
        assert_code(elmo_collection_count_documents(c, NULL, NULL, NULL, &error) != -1, &error, 73);
        assert_code(elmo_collection_drop(c, &error), &error, 73);
        elmo_cursor_t *cursor = elmo_collection_find_with_opts(c, NULL, NULL);
        cr_expect_not(elmo_cursor_next(cursor, &row));
        assert_code(!elmo_cursor_error(cursor, &error), &error, 73);
        elmo_cursor_destroy(cursor);
        elmo_collection_destroy(c);
    }
    elmo_close(db);
}

/* ---- indexes, commands, upkeep ---- */

Test(elmo, makes_lists_and_drops_indexes) {
    struct bench b = bench_open();
    bson_error_t error;
    const bson_t *row;
    FILLED_WITH_RUBBISH(reply);
    bson_t *specs[] = {doc_of("{key: {a: 1}}"), doc_of("{key: {b: -1, c: 1}, name: 'bc', unique: true}")};
    bson_t *frob = doc_of("{frob: 1}");
    cr_assert(insert_doc(b.c, "{_id: 1, a: [1, 2], b: 1, c: 1}", NULL));
    cr_assert(elmo_collection_create_indexes_with_opts(b.c, DOCS(specs), 2, NULL, &reply, &error), "%s", error.message);
    cr_expect_eq(number_in(&reply, "numIndexesAfter"), 3);
    bson_destroy(&reply);
    assert_code(insert_doc(b.c, "{_id: 2, b: 1, c: 1}", &error), &error, 11000);
    static const char *const names[] = {"_id_", "a_1", "bc"};
    elmo_cursor_t *cursor = elmo_collection_find_indexes_with_opts(b.c, NULL);
    for (int i = 0; i < 3; i++) {
        bson_iter_t it;
        cr_assert(elmo_cursor_next(cursor, &row));
        cr_expect(bson_iter_init_find(&it, row, "name") && strcmp(bson_iter_utf8(&it, NULL), names[i]) == 0);
    }
    cr_expect_not(elmo_cursor_next(cursor, &row));
    elmo_cursor_destroy(cursor);
    assert_code(elmo_collection_create_indexes_with_opts(b.c, DOCS(specs), 2, frob, &reply, &error), &error, 40415);
    bson_destroy(&reply);
    assert_code(elmo_collection_create_indexes_with_opts(b.c, DOCS(&frob), 1, NULL, &reply, &error), &error, 197);
    bson_destroy(&reply);
    assert_code(elmo_collection_drop_index(b.c, "nope", &error), &error, 27);
    assert_code(elmo_collection_drop_index(b.c, "_id_", &error), &error, 72);
    cr_expect(elmo_collection_drop_index(b.c, "a_1", &error));
    cr_expect(elmo_collection_drop_index(b.c, "*", &error));
    cr_expect(elmo_collection_drop(b.c, &error) && elmo_collection_drop(b.c, &error), "a missing one is fine");
    cursor = elmo_collection_find_indexes_with_opts(b.c, NULL);
    cr_expect_not(elmo_cursor_next(cursor, &row));
    assert_code(!elmo_cursor_error(cursor, &error), &error, 26);
    elmo_cursor_destroy(cursor);
    bson_destroy(specs[0]);
    bson_destroy(specs[1]);
    bson_destroy(frob);
    bench_close(&b);
}

Test(elmo, a_failed_command_replies_with_the_error) {
    elmo_t *db = open_at(NULL, NULL);
    elmo_collection_t *c = elmo_get_collection(db, "test", "c"); /* keeps db alive after the close */
    bson_error_t error;
    FILLED_WITH_RUBBISH(reply);
    bson_t *frob = doc_of("{frob: 1}"), *ping = doc_of("{ping: 1}");
    assert_code(elmo_command_simple(db, "test", frob, &reply, &error), &error, 59);
    cr_expect(number_in(&reply, "ok") == 0 && number_in(&reply, "code") == 59 && bson_has_field(&reply, "errmsg") &&
              bson_has_field(&reply, "codeName"));
    bson_destroy(&reply);
    cr_expect_not(elmo_command_simple(db, NULL, ping, NULL, NULL));
    cr_expect(elmo_command_simple(db, "test", ping, NULL, NULL));
    elmo_close(db);
    assert_code(elmo_command_simple(db, "test", ping, &reply, &error), &error, 91);
    cr_expect(number_in(&reply, "ok") == 0 && number_in(&reply, "code") == 91);
    bson_destroy(&reply);
    bson_destroy(frob);
    bson_destroy(ping);
    elmo_collection_destroy(c);
}

Test(elmo, a_batch_holds_16_mib_and_the_rest_comes_later) {
    struct bench b = bench_open();
    bson_error_t error;
    char *text = bson_malloc(3000000);
    memset(text, 'x', 3000000);
    for (int i = 0; i < 12; i++) {
        bson_t doc = BSON_INITIALIZER;
        BSON_APPEND_INT32(&doc, "_id", i);
        bson_append_utf8(&doc, "s", 1, text, 3000000);
        cr_assert(elmo_collection_insert_one(b.c, &doc, NULL, NULL, &error), "%s", error.message);
        bson_destroy(&doc);
    }
    bson_t *reply = run_command_of(b.db, "{find: 'c'}");
    int seen = 0, batches = 0;
    for (;;) {
        bson_iter_t it, found, row;
        cr_assert_lt(reply->len, 16 * 1024 * 1024 + 16 * 1024);
        cr_assert(bson_iter_init(&it, reply) &&
                  bson_iter_find_descendant(&it, batches == 0 ? "cursor.firstBatch" : "cursor.nextBatch", &found));
        cr_assert(bson_iter_recurse(&found, &row));
        for (; bson_iter_next(&row); seen++) {
            bson_iter_t id;
            cr_expect(bson_iter_recurse(&row, &id) && bson_iter_find(&id, "_id") && bson_iter_as_int64(&id) == seen);
        }
        batches++;
        int64_t id = number_in(reply, "cursor.id");
        bson_destroy(reply);
        if (id == 0) break;
        char more[100];
        (void) snprintf(more, sizeof(more), "{getMore: NumberLong('%lld'), collection: 'c'}", (long long) id);
        reply = run_command_of(b.db, more);
    }
    cr_expect_eq(seen, 12);
    cr_expect_eq(batches, 3);
    bson_free(text);
    bench_close(&b);
}

Test(elmo, stat_check_and_compact) {
    struct folder f;
    bson_error_t error;
    FILLED_WITH_RUBBISH(reply);
    folder_make(&f);
    elmo_t *db = open_at(f.file, NULL);
    elmo_collection_t *c = elmo_get_collection(db, "test", "c");
    for (int i = 0; i < 100; i++) cr_assert(insert_doc(c, "{a: 1}", NULL));
    cr_assert(elmo_stat(db, &reply, &error));
    cr_expect_gt(number_in(&reply, "fileBytes"), 0);
    cr_expect_gt(number_in(&reply, "logBytes"), 0);
    bson_destroy(&reply);
    cr_expect(elmo_compact(db, &error), "%s", error.message);
    cr_expect_eq(documents_in(c, "{a: 1}"), 100);
    assert_no_faults(db);
    cr_expect(elmo_check(db, NULL, NULL, NULL, NULL));
    elmo_collection_destroy(c);
    elmo_close(db);
    folder_remove(&f);
}

Test(elmo, reads_json_as_people_type_it) {
    bson_t doc;
    bson_error_t error;
    size_t used;
    bool is_array;
    cr_assert(elmo_json_parse("{a: 1, 'b': /x/i,} rest", -1, &doc, &is_array, &used, &error), "%s", error.message);
    cr_expect(used == 19 && !is_array && bson_count_keys(&doc) == 2, "used %zu", used);
    bson_destroy(&doc);
    cr_assert(elmo_json_parse("[1, 2]", 6, &doc, &is_array, NULL, &error));
    cr_expect(is_array);
    bson_destroy(&doc);
    static const char *const wrong[] = {"",         "{",           "{a}",      "[1]",
                                        "{a: 1} x", "{a: 1, b: }", "nonsense", "{a: ObjectId('x')}"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        memset(&doc, 0xAB, sizeof(doc));
        assert_code(elmo_json_parse(wrong[i], -1, &doc, NULL, NULL, &error), &error, 9);
        bson_destroy(&doc);
    }
}
