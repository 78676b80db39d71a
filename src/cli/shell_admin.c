/* The shell's methods about collections, indexes, views and upkeep. */
#include "shell_methods.h"

#include <stdio.h>
#include <string.h>

/* ---- indexes ---- */

/* The name that an index gets by its keys: age_1_name_-1. */
static char *default_index_name(const bson_t *key) {
    bson_string_t *name = bson_string_new(NULL);
    bson_iter_t it;
    if (bson_iter_init(&it, key)) {
        while (bson_iter_next(&it)) {
            bson_string_append_printf(name, "%s%s_", name->len != 0 ? "_" : "", bson_iter_key(&it));
            if (BSON_ITER_HOLDS_UTF8(&it)) bson_string_append(name, bson_iter_utf8(&it, NULL));
            else bson_string_append_printf(name, "%lld", (long long) bson_iter_as_int64(&it));
        }
    }
    return bson_string_free(name, false);
}

/* Appends {key, name, ...options} to an array of index specifications. */
static void append_spec(bson_t *list, uint32_t i, const bson_t *key, const bson_t *options) {
    char digits[16];
    const char *index;
    bson_t spec;
    size_t n = bson_uint32_to_string(i, &index, digits, sizeof(digits));
    bson_append_document_begin(list, index, (int) n, &spec);
    BSON_APPEND_DOCUMENT(&spec, "key", key);
    if (!bson_has_field(options, "name")) {
        char *name = default_index_name(key);
        BSON_APPEND_UTF8(&spec, "name", name);
        bson_free(name);
    }
    bson_concat(&spec, options);
    bson_append_document_end(list, &spec);
}

int shell_create_index(struct shell *sh, const struct shell_line *line) {
    const struct shell_call *call = &line->calls[0];
    bson_t key, options, body = BSON_INITIALIZER, list;
    if (!shell_doc_arg(call, 0, &key)) return shell_wrong_args(call, "the keys, like {age: 1}");
    if (!shell_optional_doc(call, 1, "the options", &options)) return EXIT_ERROR;
    BSON_APPEND_UTF8(&body, "createIndexes", line->collection);
    BSON_APPEND_ARRAY_BEGIN(&body, "indexes", &list);
    append_spec(&list, 0, &key, &options);
    bson_append_array_end(&body, &list);
    int status = shell_command(sh, &body, NULL);
    bson_destroy(&body);
    return status;
}

int shell_create_indexes(struct shell *sh, const struct shell_line *line) {
    const struct shell_call *call = &line->calls[0];
    bson_iter_t it, keys;
    bson_t options, body = BSON_INITIALIZER, list;
    bool ok = shell_arg(call, 0, &it) && BSON_ITER_HOLDS_ARRAY(&it) && bson_iter_recurse(&it, &keys);
    if (!ok) return shell_wrong_args(call, "an array of keys, like [{age: 1}, {name: 1}]");
    if (!shell_optional_doc(call, 1, "the options", &options)) return EXIT_ERROR;
    BSON_APPEND_UTF8(&body, "createIndexes", line->collection);
    BSON_APPEND_ARRAY_BEGIN(&body, "indexes", &list);
    for (uint32_t i = 0; ok && bson_iter_next(&keys); i++) {
        const uint8_t *data;
        uint32_t len;
        bson_t key;
        ok = BSON_ITER_HOLDS_DOCUMENT(&keys);
        if (!ok) break;
        bson_iter_document(&keys, &len, &data);
        if (bson_init_static(&key, data, len)) append_spec(&list, i, &key, &options);
    }
    bson_append_array_end(&body, &list);
    int status = ok ? shell_command(sh, &body, NULL) : shell_wrong_args(call, "documents as keys, like [{age: 1}]");
    bson_destroy(&body);
    return status;
}

int shell_get_indexes(struct shell *sh, const struct shell_line *line) {
    shell_forget_cursor(sh);
    sh->collection = elmo_get_collection(sh->db, sh->db_name, line->collection);
    sh->cursor = elmo_collection_find_indexes_with_opts(sh->collection, NULL);
    return shell_show_more(sh);
}

static int drop_indexes(struct shell *sh, const struct shell_line *line, bool all) {
    bson_iter_t it;
    bson_t body = BSON_INITIALIZER;
    bool has_arg = shell_arg(&line->calls[0], 0, &it);
    if (!has_arg && !all) return shell_wrong_args(&line->calls[0], "an index's name or its keys");
    BSON_APPEND_UTF8(&body, "dropIndexes", line->collection);
    if (has_arg) bson_append_iter(&body, "index", -1, &it);
    else BSON_APPEND_UTF8(&body, "index", "*");
    int status = shell_command(sh, &body, NULL);
    bson_destroy(&body);
    return status;
}

int shell_drop_index(struct shell *sh, const struct shell_line *line) { return drop_indexes(sh, line, false); }
int shell_drop_indexes(struct shell *sh, const struct shell_line *line) { return drop_indexes(sh, line, true); }

static int set_hidden(struct shell *sh, const struct shell_line *line, bool hidden) {
    const struct shell_call *call = &line->calls[0];
    bson_iter_t it;
    bson_t body = BSON_INITIALIZER, index;
    if (!shell_arg(call, 0, &it)) return shell_wrong_args(call, "an index's name or its keys");
    BSON_APPEND_UTF8(&body, "collMod", line->collection);
    BSON_APPEND_DOCUMENT_BEGIN(&body, "index", &index);
    bson_append_iter(&index, BSON_ITER_HOLDS_UTF8(&it) ? "name" : "keyPattern", -1, &it);
    BSON_APPEND_BOOL(&index, "hidden", hidden);
    bson_append_document_end(&body, &index);
    int status = shell_command(sh, &body, NULL);
    bson_destroy(&body);
    return status;
}

int shell_hide_index(struct shell *sh, const struct shell_line *line) { return set_hidden(sh, line, true); }
int shell_unhide_index(struct shell *sh, const struct shell_line *line) { return set_hidden(sh, line, false); }

/* ---- collections ---- */

int shell_drop(struct shell *sh, const struct shell_line *line) { return shell_simple_command(sh, line, "drop", NULL); }
int shell_coll_stats(struct shell *sh, const struct shell_line *line) {
    return shell_simple_command(sh, line, "collStats", NULL);
}
int shell_validate(struct shell *sh, const struct shell_line *line) {
    return shell_simple_command(sh, line, "validate", NULL);
}

static int admin_command(struct shell *sh, const bson_t *body) {
    char name[sizeof(sh->db_name)];
    memcpy(name, sh->db_name, sizeof(name));
    (void) snprintf(sh->db_name, sizeof(sh->db_name), "admin");
    int status = shell_command(sh, body, NULL);
    memcpy(sh->db_name, name, sizeof(name));
    return status;
}

int shell_rename(struct shell *sh, const struct shell_line *line) {
    const struct shell_call *call = &line->calls[0];
    const char *to = shell_text_arg(call, 0);
    bson_iter_t it;
    bson_t body = BSON_INITIALIZER;
    if (to == NULL) return shell_wrong_args(call, "the new name");
    char *from_ns = bson_strdup_printf("%s.%s", sh->db_name, line->collection);
    char *to_ns = bson_strdup_printf("%s.%s", sh->db_name, to);
    BSON_APPEND_UTF8(&body, "renameCollection", from_ns);
    BSON_APPEND_UTF8(&body, "to", to_ns);
    if (shell_arg(call, 1, &it)) BSON_APPEND_BOOL(&body, "dropTarget", bson_iter_as_bool(&it));
    int status = admin_command(sh, &body);
    bson_destroy(&body);
    bson_free(from_ns);
    bson_free(to_ns);
    return status;
}

int shell_create_collection(struct shell *sh, const struct shell_line *line) {
    const char *name = shell_text_arg(&line->calls[0], 0);
    bson_t body = BSON_INITIALIZER, options;
    if (name == NULL) return shell_wrong_args(&line->calls[0], "a name");
    if (!shell_optional_doc(&line->calls[0], 1, "the options", &options)) return EXIT_ERROR;
    BSON_APPEND_UTF8(&body, "create", name);
    bson_concat(&body, &options);
    int status = shell_command(sh, &body, NULL);
    bson_destroy(&body);
    return status;
}

int shell_create_view(struct shell *sh, const struct shell_line *line) {
    const struct shell_call *call = &line->calls[0];
    const char *name = shell_text_arg(call, 0), *on = shell_text_arg(call, 1);
    bson_iter_t it;
    bson_t body = BSON_INITIALIZER, options;
    if (name == NULL || on == NULL || !shell_arg(call, 2, &it) || !BSON_ITER_HOLDS_ARRAY(&it))
        return shell_wrong_args(call, "the view's name, the collection it is on, and an array of stages");
    if (!shell_optional_doc(call, 3, "the options", &options)) return EXIT_ERROR;
    BSON_APPEND_UTF8(&body, "create", name);
    BSON_APPEND_UTF8(&body, "viewOn", on);
    bson_append_iter(&body, "pipeline", -1, &it);
    bson_concat(&body, &options);
    int status = shell_command(sh, &body, NULL);
    bson_destroy(&body);
    return status;
}

int shell_collection_names(struct shell *sh, const struct shell_line *line) {
    (void) line;
    return shell_show(sh, "collections");
}

int shell_collection_infos(struct shell *sh, const struct shell_line *line) {
    bson_t filter, body = BSON_INITIALIZER, reply;
    bson_error_t error;
    bson_iter_t it, batch, row;
    if (!shell_optional_doc(&line->calls[0], 0, "the filter", &filter)) return EXIT_ERROR;
    BSON_APPEND_INT32(&body, "listCollections", 1);
    BSON_APPEND_DOCUMENT(&body, "filter", &filter);
    int status = elmo_command_simple(sh->db, sh->db_name, &body, &reply, &error) ? 0 : complain_of(&error);
    if (status == 0 && bson_iter_init(&it, &reply) && bson_iter_find_descendant(&it, "cursor.firstBatch", &batch) &&
        bson_iter_recurse(&batch, &row)) {
        while (bson_iter_next(&row)) {
            const uint8_t *data;
            uint32_t len;
            bson_t doc;
            bson_iter_document(&row, &len, &data);
            if (bson_init_static(&doc, data, len)) print_document(&doc);
        }
    }
    bson_destroy(&body);
    bson_destroy(&reply);
    return status;
}

/* ---- the database and the engine ---- */

int shell_drop_database(struct shell *sh, const struct shell_line *line) {
    return shell_simple_command(sh, line, "dropDatabase", NULL);
}
int shell_db_stats(struct shell *sh, const struct shell_line *line) {
    return shell_simple_command(sh, line, "dbStats", NULL);
}
int shell_server_status(struct shell *sh, const struct shell_line *line) {
    return shell_simple_command(sh, line, "serverStatus", NULL);
}

int shell_current_op(struct shell *sh, const struct shell_line *line) {
    bson_t body = BSON_INITIALIZER;
    (void) line;
    BSON_APPEND_INT32(&body, "currentOp", 1);
    int status = admin_command(sh, &body);
    bson_destroy(&body);
    return status;
}

int shell_run_command(struct shell *sh, const struct shell_line *line) {
    bson_t body;
    if (!shell_doc_arg(&line->calls[0], 0, &body)) return shell_wrong_args(&line->calls[0], "a command document");
    return shell_command(sh, &body, NULL);
}

int shell_admin_command(struct shell *sh, const struct shell_line *line) {
    bson_t body;
    if (!shell_doc_arg(&line->calls[0], 0, &body)) return shell_wrong_args(&line->calls[0], "a command document");
    return admin_command(sh, &body);
}

int shell_compact(struct shell *sh, const struct shell_line *line) {
    bson_error_t error;
    (void) line;
    return elmo_compact(sh->db, &error) ? 0 : complain_of(&error);
}

int shell_version(struct shell *sh, const struct shell_line *line) {
    (void) sh;
    (void) line;
    puts(elmo_version());
    return 0;
}
