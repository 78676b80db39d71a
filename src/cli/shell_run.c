/* What the shell's methods do: each becomes a command, its reply a printed answer. A table row per method. */
#include "shell_run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "shell.h"

#define PAGE_ROWS 20 /* rows shown at a time on a terminal */

struct method {
    const char *name;
    int (*run)(struct shell *sh, const struct shell_line *line);
    const char *usage; /* NULL: another spelling */
    int args_max;
};

static int wrong_args(const struct shell_call *call, const char *expected) {
    return complain("%s() needs %s", call->name, expected);
}

/* Argument i, which may be missing or null but else must be a document: false and a complaint. *out is empty then. */
static bool optional_doc(const struct shell_call *call, int i, const char *what, bson_t *out) {
    static const uint8_t empty[] = {5, 0, 0, 0, 0};
    bson_iter_t it;
    (void) bson_init_static(out, empty, sizeof(empty));
    if (!shell_arg(call, i, &it) || BSON_ITER_HOLDS_NULL(&it) || shell_doc_arg(call, i, out)) return true;
    (void) complain("%s(): %s must be a document", call->name, what);
    return false;
}

/* A write command that succeeded as such may still tell of single writes that failed. */
static int complain_of_writes(const bson_t *reply) {
    bson_iter_t it, rows, row;
    int status = 0;
    if (!bson_iter_init_find(&it, reply, "writeErrors") || !BSON_ITER_HOLDS_ARRAY(&it) ||
        !bson_iter_recurse(&it, &rows))
        return 0;
    while (bson_iter_next(&rows)) {
        const char *message =
            bson_iter_recurse(&rows, &row) && bson_iter_find(&row, "errmsg") ? bson_iter_utf8(&row, NULL) : "?";
        int64_t index = bson_iter_recurse(&rows, &row) && bson_iter_find(&row, "index") ? bson_iter_as_int64(&row) : -1;
        status = complain("document %lld: %s", (long long) index, message);
    }
    return status;
}

/* Runs a command of the current database and prints `field` of its reply, or all of it. */
static int run_and_print(struct shell *sh, const bson_t *body, const char *field) {
    bson_t reply;
    bson_error_t error;
    bson_iter_t it;
    int status = 0;
    if (!elmo_command_simple(sh->db, sh->db_name, body, &reply, &error)) {
        status = complain_of(&error);
    } else if (field != NULL && bson_iter_init_find(&it, &reply, field)) {
        bson_t one = BSON_INITIALIZER;
        bson_append_iter(&one, field, -1, &it);
        if (BSON_ITER_HOLDS_INT(&it)) printf("%lld\n", (long long) bson_iter_as_int64(&it));
        else print_document(&one);
        bson_destroy(&one);
    } else {
        print_document(&reply);
        status = complain_of_writes(&reply);
    }
    bson_destroy(&reply);
    return status;
}

/* ---- reading ---- */

void shell_forget_cursor(struct shell *sh) {
    elmo_cursor_destroy(sh->cursor);
    elmo_collection_destroy(sh->collection);
    sh->cursor = NULL;
    sh->collection = NULL;
}

int shell_show_more(struct shell *sh) {
    const bson_t *doc;
    bson_error_t error;
    int rows = 0;
    if (sh->cursor == NULL) return complain("there is no cursor to go on with");
    while ((!sh->is_interactive || rows < PAGE_ROWS) && elmo_cursor_next(sh->cursor, &doc)) {
        print_document(doc);
        rows++;
    }
    int status = elmo_cursor_error(sh->cursor, &error) ? complain_of(&error) : 0;
    if (sh->is_interactive && rows == PAGE_ROWS) {
        puts("Type \"it\" for more");
    } else {
        shell_forget_cursor(sh);
    }
    return status;
}

/* The modifiers behind find: sort, limit, skip, hint, projection, explain, count. */
static int read_chain(const struct shell_line *line, bson_t *opts, const char **verbosity, bool *count) {
    static const char *const document_names[] = {"sort", "projection"};
    static const char *const number_names[] = {"limit", "skip", "maxTimeMS", "batchSize"};
    bson_iter_t it;
    bson_t doc;
    *verbosity = NULL;
    *count = false;
    for (int i = 1; i < line->call_count; i++) {
        const struct shell_call *call = &line->calls[i];
        bool known = false;
        for (size_t n = 0; n < 2; n++) {
            if (strcmp(call->name, document_names[n]) != 0) continue;
            if (!shell_doc_arg(call, 0, &doc)) return wrong_args(call, "a document");
            BSON_APPEND_DOCUMENT(opts, call->name, &doc);
            known = true;
        }
        for (size_t n = 0; n < 4; n++) {
            if (strcmp(call->name, number_names[n]) != 0) continue;
            if (!shell_arg(call, 0, &it) || !BSON_ITER_HOLDS_NUMBER(&it)) return wrong_args(call, "a number");
            bson_append_iter(opts, call->name, -1, &it);
            known = true;
        }
        if (strcmp(call->name, "hint") == 0) {
            if (!shell_arg(call, 0, &it)) return wrong_args(call, "an index name or a key pattern");
            bson_append_iter(opts, "hint", -1, &it);
        } else if (strcmp(call->name, "explain") == 0) {
            bool has_arg = shell_arg(call, 0, &it);
            if (has_arg && !BSON_ITER_HOLDS_UTF8(&it)) return wrong_args(call, "a verbosity, like \"executionStats\"");
            *verbosity = has_arg ? bson_iter_utf8(&it, NULL) : "queryPlanner";
        } else if (strcmp(call->name, "count") == 0) {
            *count = true;
        } else if (strcmp(call->name, "pretty") != 0 && strcmp(call->name, "toArray") != 0 && !known) {
            return complain("a find has no method %s(): sort, limit, skip, hint, projection, maxTimeMS, count, explain",
                            call->name);
        }
    }
    return 0;
}

static int explain(struct shell *sh, const char *collection, const bson_t *filter, const bson_t *opts,
                   const char *verbosity) {
    bson_t body = BSON_INITIALIZER, find, reply;
    bson_error_t error;
    int status = 0;
    BSON_APPEND_DOCUMENT_BEGIN(&body, "explain", &find);
    BSON_APPEND_UTF8(&find, "find", collection);
    BSON_APPEND_DOCUMENT(&find, "filter", filter);
    bson_concat(&find, opts);
    bson_append_document_end(&body, &find);
    BSON_APPEND_UTF8(&body, "verbosity", verbosity);
    if (elmo_command_simple(sh->db, sh->db_name, &body, &reply, &error)) print_explain(&reply, sh->is_interactive);
    else status = complain_of(&error);
    bson_destroy(&body);
    bson_destroy(&reply);
    return status;
}

static int find(struct shell *sh, const struct shell_line *line, bool only_one) {
    bson_t filter, projection, opts = BSON_INITIALIZER;
    bson_error_t error;
    const char *verbosity;
    bool count;
    const struct shell_call *call = &line->calls[0];
    if (!optional_doc(call, 0, "the filter", &filter) || !optional_doc(call, 1, "the projection", &projection))
        return EXIT_ERROR;
    if (!bson_empty(&projection)) BSON_APPEND_DOCUMENT(&opts, "projection", &projection);
    int status = read_chain(line, &opts, &verbosity, &count);
    if (only_one) BSON_APPEND_INT32(&opts, "limit", 1);
    if (status == 0 && verbosity != NULL) {
        status = explain(sh, line->collection, &filter, &opts, verbosity);
    } else if (status == 0) {
        shell_forget_cursor(sh);
        sh->collection = elmo_get_collection(sh->db, sh->db_name, line->collection);
        if (sh->collection == NULL) {
            status = complain("no memory");
        } else if (count) {
            int64_t n = elmo_collection_count_documents(sh->collection, &filter, &opts, NULL, &error);
            if (n < 0) status = complain_of(&error);
            else printf("%lld\n", (long long) n);
        } else {
            sh->cursor = elmo_collection_find_with_opts(sh->collection, &filter, &opts);
            status = shell_show_more(sh);
        }
    }
    bson_destroy(&opts);
    return status;
}

static int m_find(struct shell *sh, const struct shell_line *line) { return find(sh, line, false); }
static int m_find_one(struct shell *sh, const struct shell_line *line) { return find(sh, line, true); }

static int m_count(struct shell *sh, const struct shell_line *line) {
    bson_t filter, body = BSON_INITIALIZER;
    if (!optional_doc(&line->calls[0], 0, "the filter", &filter)) return EXIT_ERROR;
    BSON_APPEND_UTF8(&body, "count", line->collection);
    BSON_APPEND_DOCUMENT(&body, "query", &filter);
    int status = run_and_print(sh, &body, "n");
    bson_destroy(&body);
    return status;
}

static int m_distinct(struct shell *sh, const struct shell_line *line) {
    const struct shell_call *call = &line->calls[0];
    bson_iter_t it;
    bson_t filter, body = BSON_INITIALIZER;
    if (!shell_arg(call, 0, &it) || !BSON_ITER_HOLDS_UTF8(&it)) return wrong_args(call, "a field's name");
    if (!optional_doc(call, 1, "the filter", &filter)) return EXIT_ERROR;
    BSON_APPEND_UTF8(&body, "distinct", line->collection);
    bson_append_iter(&body, "key", -1, &it);
    BSON_APPEND_DOCUMENT(&body, "query", &filter);
    int status = run_and_print(sh, &body, "values");
    bson_destroy(&body);
    return status;
}

/* ---- writing ---- */

static int print_reply(bool ok, bson_t *reply, const bson_error_t *error) {
    int status = 0;
    if (ok) {
        print_document(reply);
    } else {
        status = complain_of(error);
    }
    bson_destroy(reply);
    return status;
}

static int m_insert_one(struct shell *sh, const struct shell_line *line) {
    const struct shell_call *call = &line->calls[0];
    bson_t doc, opts, reply;
    bson_error_t error;
    if (!shell_doc_arg(call, 0, &doc)) return wrong_args(call, "a document");
    if (!optional_doc(call, 1, "the options", &opts)) return EXIT_ERROR;
    elmo_collection_t *c = elmo_get_collection(sh->db, sh->db_name, line->collection);
    bool ok = elmo_collection_insert_one(c, &doc, &opts, &reply, &error);
    elmo_collection_destroy(c);
    return print_reply(ok, &reply, &error);
}

static int m_insert_many(struct shell *sh, const struct shell_line *line) {
    const struct shell_call *call = &line->calls[0];
    bson_iter_t it;
    bson_t options, body = BSON_INITIALIZER;
    if (!shell_arg(call, 0, &it) || !BSON_ITER_HOLDS_ARRAY(&it)) return wrong_args(call, "an array of documents");
    if (!optional_doc(call, 1, "the options", &options)) return EXIT_ERROR;
    BSON_APPEND_UTF8(&body, "insert", line->collection);
    bson_append_iter(&body, "documents", -1, &it);
    bson_concat(&body, &options);
    int status = run_and_print(sh, &body, NULL);
    bson_destroy(&body);
    return status;
}

typedef bool (*update_call)(elmo_collection_t *c, const bson_t *filter, const bson_t *update, const bson_t *opts,
                            bson_t *reply, bson_error_t *error);

static int update(struct shell *sh, const struct shell_line *line, update_call call_update) {
    const struct shell_call *call = &line->calls[0];
    bson_t filter, change, opts, reply;
    bson_error_t error;
    if (!shell_doc_arg(call, 0, &filter) || !shell_doc_arg(call, 1, &change))
        return wrong_args(call, "a filter and an update, both documents");
    if (!optional_doc(call, 2, "the options", &opts)) return EXIT_ERROR;
    elmo_collection_t *c = elmo_get_collection(sh->db, sh->db_name, line->collection);
    bool ok = call_update(c, &filter, &change, &opts, &reply, &error);
    elmo_collection_destroy(c);
    return print_reply(ok, &reply, &error);
}

static int m_update_one(struct shell *sh, const struct shell_line *line) {
    return update(sh, line, elmo_collection_update_one);
}
static int m_update_many(struct shell *sh, const struct shell_line *line) {
    return update(sh, line, elmo_collection_update_many);
}
static int m_replace_one(struct shell *sh, const struct shell_line *line) {
    return update(sh, line, elmo_collection_replace_one);
}

static int delete_docs(struct shell *sh, const struct shell_line *line, bool many) {
    const struct shell_call *call = &line->calls[0];
    bson_t filter, opts, reply;
    bson_error_t error;
    if (!shell_doc_arg(call, 0, &filter)) return wrong_args(call, "a filter ({} means every document)");
    if (!optional_doc(call, 1, "the options", &opts)) return EXIT_ERROR;
    elmo_collection_t *c = elmo_get_collection(sh->db, sh->db_name, line->collection);
    bool ok = many ? elmo_collection_delete_many(c, &filter, &opts, &reply, &error)
                   : elmo_collection_delete_one(c, &filter, &opts, &reply, &error);
    elmo_collection_destroy(c);
    return print_reply(ok, &reply, &error);
}

static int m_delete_one(struct shell *sh, const struct shell_line *line) { return delete_docs(sh, line, false); }
static int m_delete_many(struct shell *sh, const struct shell_line *line) { return delete_docs(sh, line, true); }

/* ---- indexes and upkeep ---- */

static int m_create_index(struct shell *sh, const struct shell_line *line) {
    const struct shell_call *call = &line->calls[0];
    bson_t key, options, spec = BSON_INITIALIZER, reply;
    bson_error_t error;
    if (!shell_doc_arg(call, 0, &key)) return wrong_args(call, "the keys, like {age: 1}");
    if (!optional_doc(call, 1, "the options", &options)) return EXIT_ERROR;
    BSON_APPEND_DOCUMENT(&spec, "key", &key);
    bson_concat(&spec, &options);
    elmo_collection_t *c = elmo_get_collection(sh->db, sh->db_name, line->collection);
    const bson_t *specs[] = {&spec};
    bool ok = elmo_collection_create_indexes_with_opts(c, specs, 1, NULL, &reply, &error);
    elmo_collection_destroy(c);
    bson_destroy(&spec);
    return print_reply(ok, &reply, &error);
}

static int m_get_indexes(struct shell *sh, const struct shell_line *line) {
    shell_forget_cursor(sh);
    sh->collection = elmo_get_collection(sh->db, sh->db_name, line->collection);
    sh->cursor = elmo_collection_find_indexes_with_opts(sh->collection, NULL);
    return shell_show_more(sh);
}

/* Commands whose body is only {name: collection} or {name: 1}. */
static int simple(struct shell *sh, const struct shell_line *line, const char *name, const char *field) {
    bson_t body = BSON_INITIALIZER;
    if (line->collection[0] != '\0') BSON_APPEND_UTF8(&body, name, line->collection);
    else BSON_APPEND_INT32(&body, name, 1);
    int status = run_and_print(sh, &body, field);
    bson_destroy(&body);
    return status;
}

static int m_drop(struct shell *sh, const struct shell_line *line) { return simple(sh, line, "drop", NULL); }
static int m_coll_stats(struct shell *sh, const struct shell_line *line) { return simple(sh, line, "collStats", NULL); }
static int m_validate(struct shell *sh, const struct shell_line *line) { return simple(sh, line, "validate", NULL); }
static int m_db_stats(struct shell *sh, const struct shell_line *line) { return simple(sh, line, "dbStats", NULL); }

static int m_drop_index(struct shell *sh, const struct shell_line *line) {
    bson_iter_t it;
    bson_t body = BSON_INITIALIZER;
    if (!shell_arg(&line->calls[0], 0, &it)) return wrong_args(&line->calls[0], "an index's name or its keys");
    BSON_APPEND_UTF8(&body, "dropIndexes", line->collection);
    bson_append_iter(&body, "index", -1, &it);
    int status = run_and_print(sh, &body, NULL);
    bson_destroy(&body);
    return status;
}

static int m_run_command(struct shell *sh, const struct shell_line *line) {
    bson_t body;
    if (!shell_doc_arg(&line->calls[0], 0, &body)) return wrong_args(&line->calls[0], "a command document");
    return run_and_print(sh, &body, NULL);
}

static int m_create_collection(struct shell *sh, const struct shell_line *line) {
    bson_iter_t it;
    bson_t body = BSON_INITIALIZER, options;
    if (!shell_arg(&line->calls[0], 0, &it) || !BSON_ITER_HOLDS_UTF8(&it)) return wrong_args(&line->calls[0], "a name");
    if (!optional_doc(&line->calls[0], 1, "the options", &options)) return EXIT_ERROR;
    bson_append_iter(&body, "create", -1, &it);
    bson_concat(&body, &options);
    int status = run_and_print(sh, &body, NULL);
    bson_destroy(&body);
    return status;
}

static int m_names(struct shell *sh, const struct shell_line *line) {
    (void) line;
    return shell_show(sh, "collections");
}

static int m_compact(struct shell *sh, const struct shell_line *line) {
    bson_error_t error;
    (void) line;
    return elmo_compact(sh->db, &error) ? 0 : complain_of(&error);
}

static int m_version(struct shell *sh, const struct shell_line *line) {
    (void) sh;
    (void) line;
    puts(elmo_version());
    return 0;
}

static const struct method collection_methods[] = {
    {"find", m_find,
     "find({age: {$gt: 30}}, {name: 1}).sort({age: 1}).skip(0).limit(5); also .hint() .count() "
     ".explain(\"executionStats\")",
     2},
    {"findOne", m_find_one, "findOne({name: \"Ada\"})", 2},
    {"countDocuments", m_count, "countDocuments({age: 36})", 1},
    {"count", m_count, NULL, 1},
    {"estimatedDocumentCount", m_count, NULL, 0},
    {"distinct", m_distinct, "distinct(\"city\", {age: 36})", 2},
    {"insertOne", m_insert_one, "insertOne({name: \"Ada\", age: 36})", 2},
    {"insertMany", m_insert_many, "insertMany([{...}, {...}], {ordered: false})", 2},
    {"updateOne", m_update_one, "updateOne({name: \"Ada\"}, {$inc: {age: 1}}, {upsert: true})", 3},
    {"updateMany", m_update_many, "updateMany({}, {$set: {seen: true}})", 3},
    {"replaceOne", m_replace_one, "replaceOne({_id: 1}, {name: \"Bob\"})", 3},
    {"deleteOne", m_delete_one, "deleteOne({_id: 1})", 2},
    {"deleteMany", m_delete_many, "deleteMany({age: {$lt: 18}})", 2},
    {"createIndex", m_create_index, "createIndex({age: 1, name: -1}, {unique: true}); createIndex({title: \"text\"})",
     2},
    {"getIndexes", m_get_indexes, "getIndexes()", 0},
    {"dropIndex", m_drop_index, "dropIndex(\"age_1\")", 1},
    {"drop", m_drop, "drop()", 0},
    {"stats", m_coll_stats, "stats()", 0},
    {"validate", m_validate, "validate()", 0},
};
static const struct method database_methods[] = {
    {"getCollectionNames", m_names, "getCollectionNames()", 0},
    {"createCollection", m_create_collection, "createCollection(\"users\")", 2},
    {"runCommand", m_run_command, "runCommand({ping: 1})", 1},
    {"stats", m_db_stats, "stats()", 0},
    {"compact", m_compact, "compact()", 0},
    {"version", m_version, "version()", 0},
};
#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

void shell_help(void) {
    puts("show dbs, show collections       what is in the file\n"
         "use NAME                         make NAME the database that `db` means\n"
         "it                               the next rows of the last find\n"
         "help, exit\n");
    for (size_t i = 0; i < COUNT(collection_methods); i++) {
        if (collection_methods[i].usage != NULL) printf("db.COLLECTION.%s\n", collection_methods[i].usage);
    }
    for (size_t i = 0; i < COUNT(database_methods); i++) printf("db.%s\n", database_methods[i].usage);
    puts("\nA collection with an odd name: db[\"my collection\"]. Documents are JSON as people type it: names need no "
         "quotes,\n"
         "ObjectId(\"...\"), ISODate(\"...\"), NumberLong(1), NumberDecimal(\"1.5\") and /regex/i are understood.");
}

int shell_run_line(struct shell *sh, const struct shell_line *line) {
    bool of_db = line->collection[0] == '\0';
    const struct method *rows = of_db ? database_methods : collection_methods;
    size_t n = of_db ? COUNT(database_methods) : COUNT(collection_methods);
    for (size_t i = 0; i < n; i++) {
        if (strcmp(rows[i].name, line->calls[0].name) != 0) continue;
        if (shell_arg_count(&line->calls[0]) > rows[i].args_max) {
            return rows[i].args_max == 0 ? complain("%s() takes no arguments", rows[i].name)
                                         : complain("%s() takes at most %d argument%s", rows[i].name, rows[i].args_max,
                                                    rows[i].args_max == 1 ? "" : "s");
        }
        if (line->call_count > 1 && strncmp(rows[i].name, "find", 4) != 0)
            return complain("nothing can follow %s()", rows[i].name);
        return rows[i].run(sh, line);
    }
    return complain("%s has no method %s(); `help` lists them", of_db ? "db" : "a collection", line->calls[0].name);
}

/* ---- show ---- */

int shell_show(struct shell *sh, const char *what) {
    bool dbs = strcmp(what, "dbs") == 0 || strcmp(what, "databases") == 0;
    bson_t body = BSON_INITIALIZER, reply;
    bson_error_t error;
    bson_iter_t it, found, sub, name;
    if (!dbs && strcmp(what, "collections") != 0) return complain("show what? `show dbs` or `show collections`");
    BSON_APPEND_INT32(&body, dbs ? "listDatabases" : "listCollections", 1);
    BSON_APPEND_BOOL(&body, "nameOnly", true);
    int status = 0;
    if (!elmo_command_simple(sh->db, dbs ? "admin" : sh->db_name, &body, &reply, &error)) {
        status = complain_of(&error);
    } else if (bson_iter_init(&it, &reply) &&
               bson_iter_find_descendant(&it, dbs ? "databases" : "cursor.firstBatch", &found) &&
               bson_iter_recurse(&found, &sub)) {
        while (bson_iter_next(&sub)) {
            if (bson_iter_recurse(&sub, &name) && bson_iter_find(&name, "name") && BSON_ITER_HOLDS_UTF8(&name))
                puts(bson_iter_utf8(&name, NULL));
        }
    }
    bson_destroy(&body);
    bson_destroy(&reply);
    return status;
}
