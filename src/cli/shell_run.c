/* Which method a line of the shell means. A table row per method; `help` is made from it. */
#include "shell_run.h"

#include <stdio.h>
#include <string.h>

#include "shell_methods.h"

struct method {
    const char *name;
    shell_method *run;
    const char *usage; /* NULL: another spelling */
    int args_max;
    bool has_chain;    /* .sort() and its kin may follow */
    bool is_explained; /* explain().name() tells how it would be run */
};

/* ---- what the methods share ---- */

int shell_wrong_args(const struct shell_call *call, const char *expected) {
    return complain("%s() needs %s", call->name, expected);
}

bool shell_optional_doc(const struct shell_call *call, int i, const char *what, bson_t *out) {
    static const uint8_t empty[] = {5, 0, 0, 0, 0};
    bson_iter_t it;
    (void) bson_init_static(out, empty, sizeof(empty));
    if (!shell_arg(call, i, &it) || BSON_ITER_HOLDS_NULL(&it) || shell_doc_arg(call, i, out)) return true;
    (void) complain("%s(): %s must be a document", call->name, what);
    return false;
}

const char *shell_text_arg(const struct shell_call *call, int i) {
    bson_iter_t it;
    return shell_arg(call, i, &it) && BSON_ITER_HOLDS_UTF8(&it) ? bson_iter_utf8(&it, NULL) : NULL;
}

int shell_complain_of_writes(const bson_t *reply) {
    bson_iter_t it, rows, row;
    int status = 0;
    if (!bson_iter_init_find(&it, reply, "writeErrors") || !BSON_ITER_HOLDS_ARRAY(&it) ||
        !bson_iter_recurse(&it, &rows))
        return 0;
    while (bson_iter_next(&rows)) {
        const char *message =
            bson_iter_recurse(&rows, &row) && bson_iter_find(&row, "errmsg") ? bson_iter_utf8(&row, NULL) : "?";
        int64_t index = bson_iter_recurse(&rows, &row) && bson_iter_find(&row, "index") ? bson_iter_as_int64(&row) : -1;
        int code = bson_iter_recurse(&rows, &row) && bson_iter_find(&row, "code") ? (int) bson_iter_as_int64(&row) : 0;
        status = complain("document %lld: %s (code %d)", (long long) index, message, code);
    }
    return status;
}

int shell_explain(struct shell *sh, const bson_t *body, const char *verbosity) {
    bson_t command = BSON_INITIALIZER, reply;
    bson_error_t error;
    int status = 0;
    BSON_APPEND_DOCUMENT(&command, "explain", body);
    BSON_APPEND_UTF8(&command, "verbosity", verbosity);
    if (elmo_command_simple(sh->db, sh->db_name, &command, &reply, &error)) print_explain(&reply, sh->is_interactive);
    else status = complain_of(&error);
    bson_destroy(&command);
    bson_destroy(&reply);
    return status;
}

/* A number and a document as such; what else a field may hold, by its name. */
static void print_field(const bson_iter_t *it, const char *field) {
    const uint8_t *data;
    uint32_t len;
    bson_t doc;
    if (BSON_ITER_HOLDS_INT(it) || BSON_ITER_HOLDS_DOUBLE(it)) {
        printf("%lld\n", (long long) bson_iter_as_int64(it));
    } else if (BSON_ITER_HOLDS_NULL(it)) {
        puts("null");
    } else if (BSON_ITER_HOLDS_DOCUMENT(it)) {
        bson_iter_document(it, &len, &data);
        if (bson_init_static(&doc, data, len)) print_document(&doc);
    } else {
        bson_t one = BSON_INITIALIZER;
        bson_append_iter(&one, field, -1, it);
        print_document(&one);
        bson_destroy(&one);
    }
}

int shell_command(struct shell *sh, const bson_t *body, const char *field) {
    bson_t reply;
    bson_error_t error;
    bson_iter_t it;
    int status = 0;
    if (sh->verbosity != NULL) return shell_explain(sh, body, sh->verbosity);
    if (!elmo_command_simple(sh->db, sh->db_name, body, &reply, &error)) {
        status = complain_of(&error);
    } else if (field != NULL && bson_iter_init_find(&it, &reply, field)) {
        print_field(&it, field);
    } else {
        print_document(&reply);
        status = shell_complain_of_writes(&reply);
    }
    bson_destroy(&reply);
    return status;
}

int shell_simple_command(struct shell *sh, const struct shell_line *line, const char *name, const char *field) {
    bson_t body = BSON_INITIALIZER;
    if (line->collection[0] != '\0') BSON_APPEND_UTF8(&body, name, line->collection);
    else BSON_APPEND_INT32(&body, name, 1);
    int status = shell_command(sh, &body, field);
    bson_destroy(&body);
    return status;
}

/* ---- the table ---- */

static const struct method collection_methods[] = {
    {"find", shell_find,
     "find({age: {$gt: 30}}, {name: 1}).sort({age: 1}).skip(0).limit(5); also .hint() .count() "
     ".explain(\"executionStats\")",
     2, true, true},
    {"findOne", shell_find_one, "findOne({name: \"Ada\"})", 2, true, true},
    {"aggregate", shell_aggregate, "aggregate([{$match: {age: {$gt: 30}}}, {$group: {_id: \"$city\", n: {$sum: 1}}}])",
     16, true, true},
    {"countDocuments", shell_count, "countDocuments({age: 36})", 2, false, true},
    {"count", shell_count, NULL, 2, false, true},
    {"estimatedDocumentCount", shell_estimated_count, "estimatedDocumentCount()", 1, false, true},
    {"distinct", shell_distinct, "distinct(\"city\", {age: 36})", 3, false, true},
    {"insertOne", shell_insert_one, "insertOne({name: \"Ada\", age: 36})", 2, false, false},
    {"insertMany", shell_insert_many, "insertMany([{...}, {...}], {ordered: false})", 2, false, false},
    {"insert", shell_insert, NULL, 2, false, false},
    {"updateOne", shell_update_one, "updateOne({name: \"Ada\"}, {$inc: {age: 1}}, {upsert: true})", 3, false, true},
    {"updateMany", shell_update_many, "updateMany({}, [{$set: {total: {$sum: \"$marks\"}}}])", 3, false, true},
    {"replaceOne", shell_replace_one, "replaceOne({_id: 1}, {name: \"Bob\"})", 3, false, true},
    {"deleteOne", shell_delete_one, "deleteOne({_id: 1})", 2, false, true},
    {"deleteMany", shell_delete_many, "deleteMany({age: {$lt: 18}})", 2, false, true},
    {"findOneAndUpdate", shell_find_one_and_update,
     "findOneAndUpdate({_id: \"orders\"}, {$inc: {n: 1}}, {upsert: true, returnDocument: \"after\"})", 3, false, true},
    {"findOneAndReplace", shell_find_one_and_replace, "findOneAndReplace({_id: 1}, {name: \"Cyd\"})", 3, false, true},
    {"findOneAndDelete", shell_find_one_and_delete, "findOneAndDelete({done: true}, {sort: {at: 1}})", 2, false, true},
    {"findAndModify", shell_find_and_modify, NULL, 1, false, true},
    {"bulkWrite", shell_bulk_write, "bulkWrite([{insertOne: {document: {...}}}, {deleteOne: {filter: {...}}}])", 2,
     false, false},
    {"explain", NULL,
     "explain(\"executionStats\").aggregate([...]); before find, count, distinct, updates and deletes too", 1, true,
     false},
    {"createIndex", shell_create_index,
     "createIndex({age: 1, name: -1}, {unique: true}); createIndex({title: \"text\"})", 2, false, false},
    {"createIndexes", shell_create_indexes, "createIndexes([{age: 1}, {city: 1}])", 2, false, false},
    {"getIndexes", shell_get_indexes, "getIndexes()", 0, false, false},
    {"dropIndex", shell_drop_index, "dropIndex(\"age_1\")", 1, false, false},
    {"dropIndexes", shell_drop_indexes, "dropIndexes()", 1, false, false},
    {"hideIndex", shell_hide_index, "hideIndex(\"age_1\"), unhideIndex(\"age_1\")", 1, false, false},
    {"unhideIndex", shell_unhide_index, NULL, 1, false, false},
    {"renameCollection", shell_rename, "renameCollection(\"persons\")", 2, false, false},
    {"drop", shell_drop, "drop()", 0, false, false},
    {"stats", shell_coll_stats, "stats()", 0, false, false},
    {"validate", shell_validate, "validate()", 0, false, false},
};
static const struct method database_methods[] = {
    {"getCollectionNames", shell_collection_names, "getCollectionNames()", 0, false, false},
    {"getCollectionInfos", shell_collection_infos, "getCollectionInfos({type: \"view\"})", 1, false, false},
    {"createCollection", shell_create_collection, "createCollection(\"users\", {validator: {...}})", 2, false, false},
    {"createView", shell_create_view, "createView(\"adults\", \"users\", [{$match: {age: {$gte: 18}}}])", 4, false,
     false},
    {"aggregate", shell_db_aggregate, "aggregate([{$documents: [{a: 1}]}])", 16, false, false},
    {"dropDatabase", shell_drop_database, "dropDatabase()", 0, false, false},
    {"runCommand", shell_run_command, "runCommand({ping: 1})", 1, false, false},
    {"adminCommand", shell_admin_command, "adminCommand({serverStatus: 1})", 1, false, false},
    {"stats", shell_db_stats, "stats()", 0, false, false},
    {"serverStatus", shell_server_status, "serverStatus()", 0, false, false},
    {"currentOp", shell_current_op, "currentOp()", 0, false, false},
    {"compact", shell_compact, "compact()", 0, false, false},
    {"version", shell_version, "version()", 0, false, false},
};
#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

void shell_help(void) {
    puts("show dbs, show collections       what is in the file\n"
         "use NAME                         make NAME the database that `db` means\n"
         "it                               the next rows of the last find or aggregate\n"
         "help, exit\n");
    for (size_t i = 0; i < COUNT(collection_methods); i++) {
        if (collection_methods[i].usage != NULL) printf("db.COLLECTION.%s\n", collection_methods[i].usage);
    }
    for (size_t i = 0; i < COUNT(database_methods); i++) printf("db.%s\n", database_methods[i].usage);
    puts("\nA collection with an odd name: db[\"my collection\"]. Documents are JSON as people type it: names need no "
         "quotes,\n"
         "ObjectId(\"...\"), ISODate(\"...\"), NumberLong(1), NumberDecimal(\"1.5\") and /regex/i are understood.");
}

static const struct method *method_find(const struct method *rows, size_t n, const char *name) {
    for (size_t i = 0; i < n; i++)
        if (strcmp(rows[i].name, name) == 0) return &rows[i];
    return NULL;
}

static int run_method(struct shell *sh, const struct method *m, const struct shell_line *line) {
    if (shell_arg_count(&line->calls[0]) > m->args_max) {
        return m->args_max == 0
            ? complain("%s() takes no arguments", m->name)
            : complain("%s() takes at most %d argument%s", m->name, m->args_max, m->args_max == 1 ? "" : "s");
    }
    if (line->call_count > 1 && !m->has_chain) return complain("nothing can follow %s()", m->name);
    return m->run(sh, line);
}

/* db.c.explain(verbosity).method(...): the method, told to explain. */
static int run_explained(struct shell *sh, const struct shell_line *line) {
    bson_iter_t it;
    struct shell_line rest;
    bool has_arg = shell_arg(&line->calls[0], 0, &it);
    if (has_arg && !BSON_ITER_HOLDS_UTF8(&it))
        return shell_wrong_args(&line->calls[0], "a verbosity, like \"executionStats\"");
    const struct method *m =
        line->call_count > 1 ? method_find(collection_methods, COUNT(collection_methods), line->calls[1].name) : NULL;
    if (m == NULL || !m->is_explained)
        return complain("explain() needs a method behind it: find, aggregate, count, distinct, an update or a delete");
    memcpy(rest.collection, line->collection, sizeof(rest.collection));
    rest.call_count = line->call_count - 1;
    memcpy(rest.calls, &line->calls[1], (size_t) rest.call_count * sizeof(rest.calls[0]));
    sh->verbosity = has_arg ? bson_iter_utf8(&it, NULL) : "queryPlanner";
    int status = run_method(sh, m, &rest);
    sh->verbosity = NULL;
    return status;
}

int shell_run_line(struct shell *sh, const struct shell_line *line) {
    bool of_db = line->collection[0] == '\0';
    const struct method *m =
        method_find(of_db ? database_methods : collection_methods,
                    of_db ? COUNT(database_methods) : COUNT(collection_methods), line->calls[0].name);
    if (m == NULL)
        return complain("%s has no method %s(); `help` lists them", of_db ? "db" : "a collection", line->calls[0].name);
    return m->run != NULL ? run_method(sh, m, line) : run_explained(sh, line);
}

/* ---- show ---- */

int shell_show(struct shell *sh, const char *what) {
    bool dbs = strcmp(what, "dbs") == 0 || strcmp(what, "databases") == 0;
    bool collections = strcmp(what, "collections") == 0 || strcmp(what, "tables") == 0;
    bson_t body = BSON_INITIALIZER, reply;
    bson_error_t error;
    bson_iter_t it, found, sub, name;
    if (!dbs && !collections) return complain("show what? `show dbs` or `show collections`");
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
