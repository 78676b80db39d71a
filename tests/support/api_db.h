/* A database by its public interface for tests: a folder of its own and short ways to say what a test says. Failures of helpers fail the test. */
#ifndef TESTS_SUPPORT_API_DB_H
#define TESTS_SUPPORT_API_DB_H

#include <elmo/elmo.h>

/* A new empty folder and the path of a file in it, removed with everything in it by folder_remove. */
struct folder {
    char path[200], file[240];
};
void folder_make(struct folder *f);
void folder_remove(struct folder *f);

/* From JSON as people type it; freed with bson_destroy. */
bson_t *doc_of(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Opens with options as JSON (NULL: none), or fails the test. */
elmo_t *open_at(const char *path, const char *opts);
/* The error's code of an open that must fail; *message (may be NULL) gets its text. */
uint32_t open_fails(const char *path, const char *opts, char message[504]);

bool insert_doc(elmo_collection_t *c, const char *json, bson_error_t *error);
int64_t documents_in(elmo_collection_t *c, const char *filter);
/* The documents that a find gives, as lines of JSON; freed with bson_free. */
char *rows_of(elmo_collection_t *c, const char *filter, const char *opts);
/* Runs a command given as JSON and returns its reply, freed with bson_destroy. */
bson_t *run_command_of(elmo_t *db, const char *json);
/* elmo_check finds nothing. */
void assert_no_faults(elmo_t *db);

/* A number at a dotted path of a document; -1: there is none. */
int64_t number_in(const bson_t *doc, const char *path);

#endif
