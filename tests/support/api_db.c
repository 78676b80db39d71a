/* See api_db.h. It uses the public interface only, which the api layer's tests link; other layers' tests leave it out of the archive. */
#include "support/api_db.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void folder_make(struct folder *f) {
    const char *tmp = getenv("TMPDIR");
    (void) snprintf(f->path, sizeof(f->path), "%.150s/elmo-test-XXXXXX", tmp != NULL ? tmp : "/tmp");
    cr_assert(mkdtemp(f->path) != NULL);
    (void) snprintf(f->file, sizeof(f->file), "%s/a.elmo", f->path);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at) {
    (void) st;
    (void) kind;
    (void) at;
    return remove(path);
}

void folder_remove(struct folder *f) { (void) nftw(f->path, remove_one, 16, FTW_DEPTH | FTW_PHYS); }

bson_t *doc_of(const char *fmt, ...) {
    char text[2000];
    va_list ap;
    bson_error_t error;
    bson_t parsed;
    va_start(ap, fmt);
    (void) vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    cr_assert(elmo_json_parse(text, -1, &parsed, NULL, NULL, &error), "%s: %s", text, error.message);
    bson_t *copy = bson_copy(&parsed);
    bson_destroy(&parsed);
    return copy;
}

elmo_t *open_at(const char *path, const char *opts) {
    bson_error_t error;
    elmo_t *db;
    bson_t *o = doc_of("%s", opts != NULL ? opts : "{}");
    cr_assert(elmo_open(path, o, &db, &error), "%s: %s", path, error.message);
    bson_destroy(o);
    return db;
}

uint32_t open_fails(const char *path, const char *opts, char message[504]) {
    bson_error_t error;
    elmo_t *db = (elmo_t *) &error;
    bson_t *o = doc_of("%s", opts != NULL ? opts : "{}");
    cr_assert_not(elmo_open(path, o, &db, &error), "%s %s", path, opts);
    cr_assert_null(db);
    cr_assert_eq(error.domain, ELMO_ERROR_SERVER);
    cr_assert(error.message[0] != '\0');
    if (message != NULL) memcpy(message, error.message, sizeof(error.message));
    bson_destroy(o);
    return error.code;
}

bool insert_doc(elmo_collection_t *c, const char *json, bson_error_t *error) {
    bson_t *doc = doc_of("%s", json);
    bool ok = elmo_collection_insert_one(c, doc, NULL, NULL, error);
    bson_destroy(doc);
    return ok;
}

int64_t documents_in(elmo_collection_t *c, const char *filter) {
    bson_error_t error;
    bson_t *f = doc_of("%s", filter);
    int64_t n = elmo_collection_count_documents(c, f, NULL, NULL, &error);
    cr_assert(n >= 0, "%s", error.message);
    bson_destroy(f);
    return n;
}

char *rows_of(elmo_collection_t *c, const char *filter, const char *opts) {
    bson_t *f = doc_of("%s", filter), *o = doc_of("%s", opts != NULL ? opts : "{}");
    const bson_t *row;
    bson_error_t error;
    bson_string_t *lines = bson_string_new("");
    elmo_cursor_t *cursor = elmo_collection_find_with_opts(c, f, o);
    bson_destroy(f);
    bson_destroy(o);
    while (elmo_cursor_next(cursor, &row)) {
        char *json = bson_as_relaxed_extended_json(row, NULL);
        bson_string_append(lines, json);
        bson_string_append(lines, "\n");
        bson_free(json);
    }
    cr_assert_not(elmo_cursor_error(cursor, &error), "%s", error.message);
    elmo_cursor_destroy(cursor);
    return bson_string_free(lines, false);
}

bson_t *run_command_of(elmo_t *db, const char *json) {
    bson_t *command = doc_of("%s", json), reply;
    bson_error_t error;
    cr_assert(elmo_command_simple(db, "test", command, &reply, &error), "%s: %s", json, error.message);
    bson_t *copy = bson_copy(&reply);
    bson_destroy(&reply);
    bson_destroy(command);
    return copy;
}

static void print_fault(void *ctx, const char *text) {
    (void) ctx;
    (void) fprintf(stderr, "%s\n", text);
}

void assert_no_faults(elmo_t *db) {
    bson_error_t error;
    uint64_t faults = 0;
    cr_assert(elmo_check(db, print_fault, NULL, &faults, &error), "%s", error.message);
    cr_assert_eq(faults, 0);
}

int64_t number_in(const bson_t *doc, const char *path) {
    bson_iter_t it, found;
    return bson_iter_init(&it, doc) && bson_iter_find_descendant(&it, path, &found) ? bson_iter_as_int64(&found) : -1;
}
