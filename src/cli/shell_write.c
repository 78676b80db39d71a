/* The shell's writes. Each is the command of its name, so that explain() tells of it too; the answer is in mongosh's terms. */
#include "shell_methods.h"

#include <stdio.h>
#include <string.h>

/* ---- insert ---- */

/* `docs`: an array; or one document. */
static int insert(struct shell *sh, const char *collection, const bson_t *docs, const bson_t *one, const bson_t *opts) {
    bson_t body = BSON_INITIALIZER, list;
    BSON_APPEND_UTF8(&body, "insert", collection);
    if (docs != NULL) {
        BSON_APPEND_ARRAY(&body, "documents", docs);
    } else {
        BSON_APPEND_ARRAY_BEGIN(&body, "documents", &list);
        BSON_APPEND_DOCUMENT(&list, "0", one);
        bson_append_array_end(&body, &list);
    }
    bson_concat(&body, opts);
    int status = shell_command(sh, &body, NULL);
    bson_destroy(&body);
    return status;
}

static bool array_arg(const struct shell_call *call, int i, bson_t *out) {
    bson_iter_t it;
    const uint8_t *data;
    uint32_t len;
    if (!shell_arg(call, i, &it) || !BSON_ITER_HOLDS_ARRAY(&it)) return false;
    bson_iter_array(&it, &len, &data);
    return bson_init_static(out, data, len);
}

int shell_insert_one(struct shell *sh, const struct shell_line *line) {
    const struct shell_call *call = &line->calls[0];
    bson_t doc, opts, reply;
    bson_error_t error;
    if (!shell_doc_arg(call, 0, &doc)) return shell_wrong_args(call, "a document");
    if (!shell_optional_doc(call, 1, "the options", &opts)) return EXIT_ERROR;
    elmo_collection_t *c = elmo_get_collection(sh->db, sh->db_name, line->collection);
    int status = elmo_collection_insert_one(c, &doc, &opts, &reply, &error) ? 0 : complain_of(&error);
    elmo_collection_destroy(c);
    if (status == 0) print_document(&reply);
    bson_destroy(&reply);
    return status;
}

int shell_insert_many(struct shell *sh, const struct shell_line *line) {
    bson_t docs, opts;
    if (!array_arg(&line->calls[0], 0, &docs)) return shell_wrong_args(&line->calls[0], "an array of documents");
    if (!shell_optional_doc(&line->calls[0], 1, "the options", &opts)) return EXIT_ERROR;
    return insert(sh, line->collection, &docs, NULL, &opts);
}

int shell_insert(struct shell *sh, const struct shell_line *line) {
    bson_t docs;
    return array_arg(&line->calls[0], 0, &docs) ? shell_insert_many(sh, line) : shell_insert_one(sh, line);
}

/* ---- update and delete ---- */

enum write_kind { UPDATE_ONE, UPDATE_MANY, REPLACE_ONE, DELETE_ONE, DELETE_MANY };

static bool is_update(enum write_kind kind) { return kind == UPDATE_ONE || kind == UPDATE_MANY || kind == REPLACE_ONE; }

/* Splits a method's options into those of the statement and those of the command. */
static void split_options(const bson_t *opts, bson_t *statement, bson_t *body) {
    static const char *const of_statement[] = {"upsert", "arrayFilters", "hint", "collation", "sort"};
    bson_iter_t it;
    if (!bson_iter_init(&it, opts)) return;
    while (bson_iter_next(&it)) {
        bool found = false;
        for (size_t i = 0; i < sizeof(of_statement) / sizeof(of_statement[0]) && !found; i++)
            found = strcmp(bson_iter_key(&it), of_statement[i]) == 0;
        bson_append_iter(found ? statement : body, bson_iter_key(&it), -1, &it);
    }
}

static bool starts_with_operator(const bson_iter_t *update) {
    bson_iter_t first;
    return BSON_ITER_HOLDS_ARRAY(update) ||
        (bson_iter_recurse(update, &first) && bson_iter_next(&first) && bson_iter_key(&first)[0] == '$');
}

/* MongoDB's drivers check this before they send anything, since the command takes both. */
static int check_update(const char *method, enum write_kind kind, const bson_iter_t *update) {
    bool has_operators = starts_with_operator(update);
    if (kind == REPLACE_ONE && has_operators)
        return complain("%s(): the replacement must be a document without operators; updateOne() takes those", method);
    if (kind != REPLACE_ONE && is_update(kind) && !has_operators)
        return complain("%s(): the update must be operators like {$set: {...}} or an array of stages; replaceOne() "
                        "takes a whole document",
                        method);
    return 0;
}

/* The command {update|delete: collection, updates|deletes: [statement], ...}. `update` NULL for deletes. */
static void write_body(const char *collection, enum write_kind kind, const bson_t *filter, const bson_iter_t *update,
                       const bson_t *opts, bson_t *body) {
    bson_t list, statement = BSON_INITIALIZER, rest = BSON_INITIALIZER;
    BSON_APPEND_DOCUMENT(&statement, "q", filter);
    if (update != NULL) {
        bson_append_iter(&statement, "u", -1, update);
        BSON_APPEND_BOOL(&statement, "multi", kind == UPDATE_MANY);
    } else {
        BSON_APPEND_INT32(&statement, "limit", kind == DELETE_ONE ? 1 : 0);
    }
    split_options(opts, &statement, &rest);
    BSON_APPEND_UTF8(body, update != NULL ? "update" : "delete", collection);
    bson_append_array_begin(body, update != NULL ? "updates" : "deletes", -1, &list);
    BSON_APPEND_DOCUMENT(&list, "0", &statement);
    bson_append_array_end(body, &list);
    bson_concat(body, &rest);
    bson_destroy(&statement);
    bson_destroy(&rest);
}

static int64_t number_of(const bson_t *reply, const char *name) {
    bson_iter_t it;
    return bson_iter_init_find(&it, reply, name) ? bson_iter_as_int64(&it) : 0;
}

/* {n, nModified, upserted} of the command as {matchedCount, modifiedCount, upsertedCount, upsertedId}. */
static void print_counts(const bson_t *reply, bool of_update) {
    bson_t out = BSON_INITIALIZER;
    bson_iter_t it, first, id;
    if (of_update) {
        bool has_id = bson_iter_init_find(&it, reply, "upserted") && bson_iter_recurse(&it, &first) &&
            bson_iter_next(&first) && bson_iter_recurse(&first, &id) && bson_iter_find(&id, "_id");
        BSON_APPEND_INT64(&out, "matchedCount", number_of(reply, "n") - (has_id ? 1 : 0));
        BSON_APPEND_INT64(&out, "modifiedCount", number_of(reply, "nModified"));
        BSON_APPEND_INT64(&out, "upsertedCount", has_id ? 1 : 0);
        if (has_id) bson_append_iter(&out, "upsertedId", -1, &id);
    } else {
        BSON_APPEND_INT64(&out, "deletedCount", number_of(reply, "n"));
    }
    print_document(&out);
    bson_destroy(&out);
}

static int run_write(struct shell *sh, const bson_t *body, bool of_update) {
    bson_t reply;
    bson_error_t error;
    if (sh->verbosity != NULL) return shell_explain(sh, body, sh->verbosity);
    int status = elmo_command_simple(sh->db, sh->db_name, body, &reply, &error) ? shell_complain_of_writes(&reply)
                                                                                : complain_of(&error);
    if (status == 0) print_counts(&reply, of_update);
    bson_destroy(&reply);
    return status;
}

static int change(struct shell *sh, const struct shell_line *line, enum write_kind kind) {
    const struct shell_call *call = &line->calls[0];
    bson_iter_t update;
    bson_t filter, opts, body = BSON_INITIALIZER;
    bool has_filter = shell_doc_arg(call, 0, &filter), of_update = is_update(kind);
    if (!of_update && !has_filter) return shell_wrong_args(call, "a filter ({} means every document)");
    if (of_update &&
        (!has_filter || !shell_arg(call, 1, &update) ||
         !(BSON_ITER_HOLDS_DOCUMENT(&update) || BSON_ITER_HOLDS_ARRAY(&update))))
        return shell_wrong_args(call, "a filter and an update, both documents");
    if (of_update && check_update(call->name, kind, &update) != 0) return EXIT_ERROR;
    if (!shell_optional_doc(call, of_update ? 2 : 1, "the options", &opts)) return EXIT_ERROR;
    write_body(line->collection, kind, &filter, of_update ? &update : NULL, &opts, &body);
    int status = run_write(sh, &body, of_update);
    bson_destroy(&body);
    return status;
}

int shell_update_one(struct shell *sh, const struct shell_line *line) { return change(sh, line, UPDATE_ONE); }
int shell_update_many(struct shell *sh, const struct shell_line *line) { return change(sh, line, UPDATE_MANY); }
int shell_replace_one(struct shell *sh, const struct shell_line *line) { return change(sh, line, REPLACE_ONE); }
int shell_delete_one(struct shell *sh, const struct shell_line *line) { return change(sh, line, DELETE_ONE); }
int shell_delete_many(struct shell *sh, const struct shell_line *line) { return change(sh, line, DELETE_MANY); }

/* ---- findOneAnd... ---- */

/* The drivers' names of findAndModify's options. */
static void append_find_and_options(const bson_t *opts, bson_t *body) {
    bson_iter_t it;
    if (!bson_iter_init(&it, opts)) return;
    while (bson_iter_next(&it)) {
        const char *name = bson_iter_key(&it);
        if (strcmp(name, "returnDocument") == 0) {
            BSON_APPEND_BOOL(body, "new", BSON_ITER_HOLDS_UTF8(&it) && strcmp(bson_iter_utf8(&it, NULL), "after") == 0);
        } else {
            if (strcmp(name, "projection") == 0) name = "fields";
            if (strcmp(name, "returnNewDocument") == 0) name = "new";
            bson_append_iter(body, name, -1, &it);
        }
    }
}

static int find_one_and(struct shell *sh, const struct shell_line *line, enum write_kind kind) {
    const struct shell_call *call = &line->calls[0];
    bson_iter_t update;
    bson_t filter, opts, body = BSON_INITIALIZER;
    bool of_update = is_update(kind);
    if (!shell_doc_arg(call, 0, &filter)) return shell_wrong_args(call, "a filter");
    if (of_update &&
        (!shell_arg(call, 1, &update) || !(BSON_ITER_HOLDS_DOCUMENT(&update) || BSON_ITER_HOLDS_ARRAY(&update))))
        return shell_wrong_args(call, "a filter and an update, both documents");
    if (of_update && check_update(call->name, kind, &update) != 0) return EXIT_ERROR;
    if (!shell_optional_doc(call, of_update ? 2 : 1, "the options", &opts)) return EXIT_ERROR;
    BSON_APPEND_UTF8(&body, "findAndModify", line->collection);
    BSON_APPEND_DOCUMENT(&body, "query", &filter);
    if (of_update) bson_append_iter(&body, "update", -1, &update);
    else BSON_APPEND_BOOL(&body, "remove", true);
    append_find_and_options(&opts, &body);
    int status = shell_command(sh, &body, "value");
    bson_destroy(&body);
    return status;
}

int shell_find_one_and_update(struct shell *sh, const struct shell_line *line) {
    return find_one_and(sh, line, UPDATE_ONE);
}
int shell_find_one_and_replace(struct shell *sh, const struct shell_line *line) {
    return find_one_and(sh, line, REPLACE_ONE);
}
int shell_find_one_and_delete(struct shell *sh, const struct shell_line *line) {
    return find_one_and(sh, line, DELETE_ONE);
}

int shell_find_and_modify(struct shell *sh, const struct shell_line *line) {
    bson_t options, body = BSON_INITIALIZER;
    if (!shell_doc_arg(&line->calls[0], 0, &options))
        return shell_wrong_args(&line->calls[0], "a document, like {query: {...}, update: {...}}");
    BSON_APPEND_UTF8(&body, "findAndModify", line->collection);
    bson_concat(&body, &options);
    int status = shell_command(sh, &body, "value");
    bson_destroy(&body);
    return status;
}

/* ---- bulkWrite ---- */

struct bulk_sums {
    int64_t inserted, matched, modified, deleted, upserted;
};

static bool doc_in(const bson_iter_t *parent, const char *name, bson_t *out) {
    bson_iter_t it;
    const uint8_t *data;
    uint32_t len;
    if (!bson_iter_recurse(parent, &it) || !bson_iter_find(&it, name) || !BSON_ITER_HOLDS_DOCUMENT(&it)) return false;
    bson_iter_document(&it, &len, &data);
    return bson_init_static(out, data, len);
}

/* The fields of an operation that are options of its statement. */
static void bulk_options(const bson_iter_t *op, bson_t *out) {
    bson_iter_t it;
    if (!bson_iter_recurse(op, &it)) return;
    while (bson_iter_next(&it)) {
        const char *name = bson_iter_key(&it);
        if (strcmp(name, "filter") != 0 && strcmp(name, "update") != 0 && strcmp(name, "replacement") != 0 &&
            strcmp(name, "document") != 0)
            bson_append_iter(out, name, -1, &it);
    }
}

/* One operation, {updateOne: {filter, update, ...}}, as a command. */
static bool bulk_body(const char *collection, const bson_iter_t *op, int index, bson_t *body) {
    static const char *const names[] = {"updateOne", "updateMany", "replaceOne", "deleteOne", "deleteMany"};
    const char *name = bson_iter_key(op);
    bson_iter_t update;
    bson_t doc, opts = BSON_INITIALIZER, list;
    bool ok = false;
    if (strcmp(name, "insertOne") == 0) {
        if (!doc_in(op, "document", &doc)) {
            (void) complain("bulkWrite(), operation %d: insertOne needs a `document`", index);
        } else {
            BSON_APPEND_UTF8(body, "insert", collection);
            BSON_APPEND_ARRAY_BEGIN(body, "documents", &list);
            BSON_APPEND_DOCUMENT(&list, "0", &doc);
            bson_append_array_end(body, &list);
            ok = true;
        }
        bson_destroy(&opts);
        return ok;
    }
    int kind = 0;
    while (kind < 5 && strcmp(name, names[kind]) != 0) kind++;
    bool of_update = is_update((enum write_kind) kind);
    const char *change_name = kind == REPLACE_ONE ? "replacement" : "update";
    if (kind == 5) {
        (void) complain("bulkWrite(), operation %d: there is no %s; there are insertOne, updateOne, updateMany, "
                        "replaceOne, deleteOne, deleteMany",
                        index, name);
    } else if (!doc_in(op, "filter", &doc)) {
        (void) complain("bulkWrite(), operation %d: %s needs a `filter`", index, name);
    } else if (of_update &&
               !(bson_iter_recurse(op, &update) && bson_iter_find(&update, change_name) &&
                 (BSON_ITER_HOLDS_DOCUMENT(&update) || BSON_ITER_HOLDS_ARRAY(&update)))) {
        (void) complain("bulkWrite(), operation %d: %s needs `%s`, a document", index, name, change_name);
    } else if (!of_update || check_update(name, (enum write_kind) kind, &update) == 0) {
        bulk_options(op, &opts);
        write_body(collection, (enum write_kind) kind, &doc, of_update ? &update : NULL, &opts, body);
        ok = true;
    }
    bson_destroy(&opts);
    return ok;
}

static void bulk_count(const bson_iter_t *op, const bson_t *reply, struct bulk_sums *sums) {
    const char *name = bson_iter_key(op);
    bson_iter_t it;
    int64_t n = number_of(reply, "n");
    if (name[0] == 'i') {
        sums->inserted += n;
    } else if (name[0] == 'd') {
        sums->deleted += n;
    } else {
        bool upserted = bson_iter_init_find(&it, reply, "upserted");
        sums->upserted += upserted;
        sums->matched += n - upserted;
        sums->modified += number_of(reply, "nModified");
    }
}

static int bulk_one(struct shell *sh, const char *collection, const bson_iter_t *element, int index,
                    struct bulk_sums *sums) {
    bson_t body = BSON_INITIALIZER, reply;
    bson_error_t error;
    bson_iter_t op;
    int status = EXIT_ERROR;
    if (!BSON_ITER_HOLDS_DOCUMENT(element) || !bson_iter_recurse(element, &op) || !bson_iter_next(&op) ||
        !BSON_ITER_HOLDS_DOCUMENT(&op)) {
        (void) complain("bulkWrite(), operation %d: expected a document like {insertOne: {document: {...}}}", index);
    } else if (bulk_body(collection, &op, index, &body)) {
        if (elmo_command_simple(sh->db, sh->db_name, &body, &reply, &error)) {
            status = shell_complain_of_writes(&reply);
            bulk_count(&op, &reply, sums);
        } else {
            status = complain_of(&error);
        }
        bson_destroy(&reply);
    }
    bson_destroy(&body);
    return status;
}

int shell_bulk_write(struct shell *sh, const struct shell_line *line) {
    const struct shell_call *call = &line->calls[0];
    bson_t list, opts, out = BSON_INITIALIZER;
    bson_iter_t it, option;
    struct bulk_sums sums = {0};
    int status = 0, index = 0;
    if (!array_arg(call, 0, &list)) return shell_wrong_args(call, "an array of operations");
    if (!shell_optional_doc(call, 1, "the options", &opts)) return EXIT_ERROR;
    bool ordered = !bson_iter_init_find(&option, &opts, "ordered") || bson_iter_as_bool(&option);
    (void) bson_iter_init(&it, &list);
    while (bson_iter_next(&it) && (status == 0 || !ordered)) {
        int one = bulk_one(sh, line->collection, &it, index++, &sums);
        if (status == 0) status = one;
    }
    BSON_APPEND_INT64(&out, "insertedCount", sums.inserted);
    BSON_APPEND_INT64(&out, "matchedCount", sums.matched);
    BSON_APPEND_INT64(&out, "modifiedCount", sums.modified);
    BSON_APPEND_INT64(&out, "deletedCount", sums.deleted);
    BSON_APPEND_INT64(&out, "upsertedCount", sums.upserted);
    print_document(&out);
    bson_destroy(&out);
    return status;
}
