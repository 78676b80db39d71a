/* elmo stat, elmo check and elmo compact: of a file all there is; of a server what its commands collStats, validate and compact do. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "target.h"

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

/* ---- collection by collection ---- */

struct visit {
    struct target *target;
    const char *command;                                                /* run on each collection; its first field */
    void (*each)(struct visit *v, const char *ns, const bson_t *reply); /* with its answer */
    int64_t faults;
    int status;
};

static void visit_collection(struct visit *v, const char *db, const char *coll) {
    bson_t body = BSON_INITIALIZER, reply;
    bson_error_t error;
    char *ns = bson_strdup_printf("%s.%s", db, coll);
    BSON_APPEND_UTF8(&body, v->command, coll);
    if (target_command(v->target, db, &body, &reply, &error)) v->each(v, ns, &reply);
    else v->status = complain("%s: %s", ns, error.message);
    bson_destroy(&reply);
    bson_destroy(&body);
    bson_free(ns);
}

static bool is_collection(const bson_t *row) {
    bson_iter_t it;
    return !bson_iter_init_find(&it, row, "type") || !BSON_ITER_HOLDS_UTF8(&it) ||
        strcmp(bson_iter_utf8(&it, NULL), "collection") == 0;
}

static void visit_database(void *ctx, const bson_t *row) {
    struct visit *v = ctx;
    struct rows rows;
    bson_iter_t it, name;
    bson_t body = BSON_INITIALIZER;
    bson_error_t error;
    const bson_t *collection;
    if (bson_iter_init_find(&it, row, "name") && BSON_ITER_HOLDS_UTF8(&it)) {
        const char *db = bson_iter_utf8(&it, NULL);
        BSON_APPEND_INT32(&body, "listCollections", 1);
        if (rows_open(&rows, v->target, db, &body, &error)) {
            while (rows_next(&rows, &collection))
                if (is_collection(collection) && bson_iter_init_find(&name, collection, "name") &&
                    BSON_ITER_HOLDS_UTF8(&name))
                    visit_collection(v, db, bson_iter_utf8(&name, NULL));
            if (rows_failed(&rows, &error)) v->status = complain_of(&error);
            rows_close(&rows);
        } else {
            v->status = complain_of(&error);
        }
    }
    bson_destroy(&body);
}

static void visit_all(struct visit *v) {
    bson_t body = BSON_INITIALIZER, reply;
    bson_error_t error;
    BSON_APPEND_INT32(&body, "listDatabases", 1);
    BSON_APPEND_BOOL(&body, "nameOnly", true);
    if (target_command(v->target, "admin", &body, &reply, &error))
        each_document(&reply, "databases", visit_database, v);
    else v->status = complain_of(&error);
    bson_destroy(&reply);
    bson_destroy(&body);
}

static void print_collection(struct visit *v, const char *ns, const bson_t *reply) {
    (void) v;
    printf("%-32s %14s %12s %12s %8lld\n", ns, with_commas(number(reply, "count")), with_unit(number(reply, "size")),
           with_unit(number(reply, "totalIndexSize")), (long long) number(reply, "nindexes"));
}

static int print_collections(struct target *t) {
    struct visit v = {.target = t, .command = "collStats", .each = print_collection};
    printf("%-32s %14s %12s %12s %8s\n", "collection", "documents", "data", "index data", "indexes");
    visit_all(&v);
    return v.status;
}

static void print_validation(struct visit *v, const char *ns, const bson_t *reply) {
    bson_iter_t it, sub;
    if (bson_iter_init_find(&it, reply, "valid") && bson_iter_as_bool(&it)) return;
    v->faults++;
    if (!bson_iter_init_find(&it, reply, "errors") || !bson_iter_recurse(&it, &sub)) return;
    while (bson_iter_next(&sub))
        if (BSON_ITER_HOLDS_UTF8(&sub)) printf("%s: %s\n", ns, bson_iter_utf8(&sub, NULL));
}

static int check_server(struct target *t) {
    struct visit v = {.target = t, .command = "validate", .each = print_validation};
    double started = now_seconds();
    visit_all(&v);
    if (v.faults != 0) return complain("%s: %s collections are damaged", target_name(t), with_commas(v.faults));
    if (v.status == 0) fprintf(stderr, "%s: sound, checked in %.2f s\n", target_name(t), now_seconds() - started);
    return v.status;
}

static void ignore_reply(struct visit *v, const char *ns, const bson_t *reply) { (void) v, (void) ns, (void) reply; }

static int compact_server(struct target *t) {
    struct visit v = {.target = t, .command = "compact", .each = ignore_reply};
    visit_all(&v);
    return v.status;
}

/* ---- files ---- */

static void print_level(void *ctx, const bson_t *row) {
    (void) ctx;
    if (number(row, "segments") == 0) return;
    printf("level %-2lld %8s segments %14s entries %12s on disk %12s of data %10s deleted\n",
           (long long) number(row, "level"), with_commas(number(row, "segments")), with_commas(number(row, "entries")),
           with_unit(number(row, "bytes") + number(row, "largeValueBytes")), with_unit(number(row, "dataBytes")),
           with_commas(number(row, "tombstones")));
}

static int print_stat(struct target *t) {
    elmo_t *db = target_db(t);
    bson_t stat;
    bson_error_t error;
    int status = 0;
    if (!elmo_stat(db, &stat, &error)) {
        bson_destroy(&stat);
        return complain_of(&error);
    }
    if (!is_terminal(STDOUT_FILENO)) {
        print_document(&stat);
        bson_destroy(&stat);
        return 0;
    }
    status = print_collections(t);
    printf("\nfile %s, used %s, free %s, log %s\n", with_unit(number(&stat, "fileBytes")),
           with_unit(number(&stat, "usedBytes")), with_unit(number(&stat, "freeBytes")),
           with_unit(number(&stat, "logBytes")));
    printf("in memory: %s entries, %s; cache %s of %s\n", with_commas(number(&stat, "memtableEntries")),
           with_unit(number(&stat, "memtableBytes")), with_unit(number(&stat, "cacheBytes")),
           with_unit(number(&stat, "cacheBytesMax")));
    each_document(&stat, "levels", print_level, NULL);
    bson_destroy(&stat);
    return status;
}

/* The target that the arguments name, open; NULL with the exit status. */
static struct target *open_one(const struct subcommand *sub, int argc, char **argv, enum target_use use, int *status) {
    struct target_args a = {0};
    const char *db = NULL, *rest[1] = {NULL};
    int rest_count;
    const struct option_row rows[] = {{"--db", "FILE", "the database file", &db}, TARGET_OPTIONS(&a)};
    *status = args_parse(sub, argc, argv, rows, OPTION_COUNT(rows), rest, 1, &rest_count);
    if (*status != 0) return NULL;
    a.target = db != NULL ? db : rest[0];
    if (a.target == NULL && !target_is_named(&a)) {
        *status = usage_error(sub, "the database file is missing");
        return NULL;
    }
    struct target *t = target_open(&a, use, "elmo");
    if (t == NULL) *status = EXIT_ERROR;
    return t;
}

static int run_stat(int argc, char **argv) {
    int status;
    struct target *t = open_one(&sub_stat, argc, argv, TARGET_READ, &status);
    if (t == NULL) return status;
    status = target_is_file(t) ? print_stat(t) : print_collections(t);
    target_close(t);
    return status;
}

static void print_fault(void *ctx, const char *text) {
    (void) ctx;
    printf("%s\n", text);
}

static int check_file(struct target *t) {
    bson_error_t error;
    uint64_t faults = 0;
    double started = now_seconds();
    if (!elmo_check(target_db(t), print_fault, NULL, &faults, &error)) return complain_of(&error);
    if (faults != 0) return complain("%s: %s faults found", target_name(t), with_commas((int64_t) faults));
    fprintf(stderr, "%s: sound, checked in %.2f s\n", target_name(t), now_seconds() - started);
    return 0;
}

static int run_check(int argc, char **argv) {
    int status;
    struct target *t = open_one(&sub_check, argc, argv, TARGET_READ, &status);
    if (t == NULL) return status;
    status = target_is_file(t) ? check_file(t) : check_server(t);
    target_close(t);
    return status;
}

static int run_compact(int argc, char **argv) {
    int status;
    bson_error_t error;
    struct target *t = open_one(&sub_compact, argc, argv, TARGET_WRITE, &status);
    if (t == NULL) return status;
    if (!target_is_file(t)) status = compact_server(t);
    else if (!elmo_compact(target_db(t), &error)) status = complain_of(&error);
    target_close(t);
    return status;
}

const struct subcommand sub_stat = {"stat", "stat FILE|URI", "collections, levels, space", run_stat};
const struct subcommand sub_check = {"check", "check FILE|URI", "verify every block, document and index entry",
                                     run_check};
const struct subcommand sub_compact = {"compact", "compact FILE|URI",
                                       "merge everything; gives back free space at the end of the file", run_compact};
