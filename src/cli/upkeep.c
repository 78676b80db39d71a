/* elmo stat, elmo check and elmo compact. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

static int64_t number(const bson_t *doc, const char *name) {
    bson_iter_t it;
    return bson_iter_init_find(&it, doc, name) ? bson_iter_as_int64(&it) : 0;
}

/* Calls visit with each document of {cursor: {firstBatch: [...]}} or of the array `name`. */
static void each_document(const bson_t *reply, const char *path, void (*visit)(void *ctx, const bson_t *row),
                          void *ctx) {
    bson_iter_t it, found, sub;
    const uint8_t *data;
    uint32_t len;
    bson_t row;
    if (!bson_iter_init(&it, reply) || !bson_iter_find_descendant(&it, path, &found) ||
        !bson_iter_recurse(&found, &sub))
        return;
    while (bson_iter_next(&sub)) {
        if (!BSON_ITER_HOLDS_DOCUMENT(&sub)) continue;
        bson_iter_document(&sub, &len, &data);
        if (bson_init_static(&row, data, len)) visit(ctx, &row);
    }
}

static bool command(elmo_t *db, const char *db_name, const char *json, bson_t *reply) {
    bson_error_t error;
    bson_t body;
    if (!elmo_json_parse(json, -1, &body, NULL, NULL, &error) ||
        !elmo_command_simple(db, db_name, &body, reply, &error)) {
        (void) complain_of(&error);
        bson_destroy(&body);
        return false;
    }
    bson_destroy(&body);
    return true;
}

struct stat_ctx {
    elmo_t *db;
    char db_name[64];
};

static void print_collection(void *ctx, const bson_t *row) {
    struct stat_ctx *s = ctx;
    bson_iter_t it;
    bson_t body = BSON_INITIALIZER, reply;
    bson_error_t error;
    if (!bson_iter_init_find(&it, row, "name") || !BSON_ITER_HOLDS_UTF8(&it)) return;
    BSON_APPEND_UTF8(&body, "collStats", bson_iter_utf8(&it, NULL));
    if (elmo_command_simple(s->db, s->db_name, &body, &reply, &error)) {
        char ns[300];
        (void) snprintf(ns, sizeof(ns), "%s.%s", s->db_name, bson_iter_utf8(&it, NULL));
        printf("%-32s %14s %12s %12s %8lld\n", ns, with_commas(number(&reply, "count")),
               with_unit(number(&reply, "size")), with_unit(number(&reply, "totalIndexSize")),
               (long long) number(&reply, "nindexes"));
    }
    bson_destroy(&reply);
    bson_destroy(&body);
}

static void print_database(void *ctx, const bson_t *row) {
    struct stat_ctx *s = ctx;
    bson_iter_t it;
    bson_t reply;
    if (!bson_iter_init_find(&it, row, "name") || !BSON_ITER_HOLDS_UTF8(&it)) return;
    (void) snprintf(s->db_name, sizeof(s->db_name), "%s", bson_iter_utf8(&it, NULL));
    if (!command(s->db, s->db_name, "{listCollections: 1, nameOnly: true}", &reply)) return;
    each_document(&reply, "cursor.firstBatch", print_collection, s);
    bson_destroy(&reply);
}

static void print_level(void *ctx, const bson_t *row) {
    (void) ctx;
    if (number(row, "segments") == 0) return;
    printf("level %-2lld %8s segments %14s entries %12s on disk %12s of data %10s deleted\n",
           (long long) number(row, "level"), with_commas(number(row, "segments")), with_commas(number(row, "entries")),
           with_unit(number(row, "bytes") + number(row, "largeValueBytes")), with_unit(number(row, "dataBytes")),
           with_commas(number(row, "tombstones")));
}

static int print_stat(elmo_t *db) {
    bson_t stat, databases;
    bson_error_t error;
    struct stat_ctx s = {.db = db};
    if (!elmo_stat(db, &stat, &error)) {
        bson_destroy(&stat);
        return complain_of(&error);
    }
    if (!is_terminal(STDOUT_FILENO)) {
        print_document(&stat);
        bson_destroy(&stat);
        return 0;
    }
    printf("%-32s %14s %12s %12s %8s\n", "collection", "documents", "data", "index data", "indexes");
    if (command(db, "admin", "{listDatabases: 1, nameOnly: true}", &databases)) {
        each_document(&databases, "databases", print_database, &s);
        bson_destroy(&databases);
    }
    printf("\nfile %s, used %s, free %s, log %s\n", with_unit(number(&stat, "fileBytes")),
           with_unit(number(&stat, "usedBytes")), with_unit(number(&stat, "freeBytes")),
           with_unit(number(&stat, "logBytes")));
    printf("in memory: %s entries, %s; cache %s of %s\n", with_commas(number(&stat, "memtableEntries")),
           with_unit(number(&stat, "memtableBytes")), with_unit(number(&stat, "cacheBytes")),
           with_unit(number(&stat, "cacheBytesMax")));
    each_document(&stat, "levels", print_level, NULL);
    bson_destroy(&stat);
    return 0;
}

static int one_file(const struct subcommand *sub, int argc, char **argv, const char **path) {
    const char *db = NULL, *rest[1] = {NULL};
    int rest_count;
    const struct option_row rows[] = {{"--db", "FILE", "the database file", &db}};
    int status = args_parse(sub, argc, argv, rows, 1, rest, 1, &rest_count);
    if (status != 0) return status;
    if (db == NULL && rest_count == 0) return usage_error(sub, "the database file is missing");
    *path = db != NULL ? db : rest[0];
    return 0;
}

static int run_stat(int argc, char **argv) {
    const char *path;
    int status = one_file(&sub_stat, argc, argv, &path);
    if (status != 0) return status;
    elmo_t *db = open_db(path, true, false, NULL);
    if (db == NULL) return EXIT_ERROR;
    status = print_stat(db);
    elmo_close(db);
    return status;
}

static void print_fault(void *ctx, const char *text) {
    (void) ctx;
    printf("%s\n", text);
}

static int run_check(int argc, char **argv) {
    const char *path;
    bson_error_t error;
    uint64_t faults = 0;
    int status = one_file(&sub_check, argc, argv, &path);
    if (status != 0) return status;
    elmo_t *db = open_db(path, true, false, NULL);
    if (db == NULL) return EXIT_ERROR;
    double started = now_seconds();
    if (!elmo_check(db, print_fault, NULL, &faults, &error)) {
        status = complain_of(&error);
    } else if (faults != 0) {
        status = complain("%s: %s faults found", path, with_commas((int64_t) faults));
    } else {
        fprintf(stderr, "%s: sound, checked in %.2f s\n", path, now_seconds() - started);
    }
    elmo_close(db);
    return status;
}

static int run_compact(int argc, char **argv) {
    const char *path;
    bson_error_t error;
    int status = one_file(&sub_compact, argc, argv, &path);
    if (status != 0) return status;
    elmo_t *db = open_db(path, false, false, NULL);
    if (db == NULL) return EXIT_ERROR;
    if (!elmo_compact(db, &error)) status = complain_of(&error);
    elmo_close(db);
    return status;
}

const struct subcommand sub_stat = {"stat", "stat FILE", "collections, levels, space", run_stat};
const struct subcommand sub_check = {"check", "check FILE", "verify every block, document and index entry", run_check};
const struct subcommand sub_compact = {"compact", "compact FILE", "merge everything and shrink the file to what is in use", run_compact};
