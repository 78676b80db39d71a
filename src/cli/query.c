/* elmo find, elmo explain and elmo create-index. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli.h"

struct find_args {
    const char *db, *ns, *filter, *sort, *projection, *limit, *skip, *hint, *tree;
};

/* A hint is a key pattern when it starts with '{', else a name. */
static bool append_hint(bson_t *opts, const char *hint) {
    bson_t pattern;
    if (hint[0] != '{') return BSON_APPEND_UTF8(opts, "hint", hint);
    if (!parse_document(hint, "--hint", &pattern)) return false;
    bool ok = BSON_APPEND_DOCUMENT(opts, "hint", &pattern);
    bson_destroy(&pattern);
    return ok;
}

static bool append_document(bson_t *opts, const char *name, const char *text) {
    bson_t doc;
    if (text == NULL) return true;
    char what[64];
    (void) snprintf(what, sizeof(what), "--%s", name);
    if (!parse_document(text, what, &doc)) return false;
    bool ok = BSON_APPEND_DOCUMENT(opts, name, &doc);
    bson_destroy(&doc);
    return ok;
}

static bool append_number(bson_t *opts, const char *name, const char *text) {
    char *end;
    if (text == NULL) return true;
    long long v = strtoll(text, &end, 10);
    if (*text != '\0' && *end == '\0') return BSON_APPEND_INT64(opts, name, v);
    (void) complain("--%s: '%s' is not a whole number", name, text);
    return false;
}

static int find_args_parse(const struct subcommand *sub, int argc, char **argv, struct find_args *a) {
    const char *rest[2];
    int rest_count;
    const struct option_row rows[] = {
        {"--db", "FILE", "the database file", &a->db},
        {"--collection", "DB.COLL", "the collection", &a->ns},
        {"--sort", "DOC", "{age: -1}", &a->sort},
        {"--projection", "DOC", "{name: 1, _id: 0}", &a->projection},
        {"--limit", "N", "at most so many documents", &a->limit},
        {"--skip", "N", "leave out so many first", &a->skip},
        {"--hint", "INDEX", "an index's name or key pattern, or {$natural: 1}", &a->hint},
        {"--tree", NULL, "explain: a tree for people, also when the output is no terminal", &a->tree},
    };
    int status = args_parse(sub, argc, argv, rows, 8, rest, 1, &rest_count);
    if (status != 0) return status;
    if (a->db == NULL || a->ns == NULL)
        return usage_error(sub, "%s is missing", a->db == NULL ? "--db FILE" : "--collection DB.COLL");
    a->filter = rest_count > 0 ? rest[0] : NULL;
    return 0;
}

static bool build_options(const struct find_args *a, bson_t *opts) {
    return append_document(opts, "sort", a->sort) && append_document(opts, "projection", a->projection) &&
        append_number(opts, "limit", a->limit) && append_number(opts, "skip", a->skip) &&
        (a->hint == NULL || append_hint(opts, a->hint));
}

static int print_rows(elmo_cursor_t *cursor) {
    const bson_t *doc;
    bson_error_t error;
    while (elmo_cursor_next(cursor, &doc)) print_document(doc);
    int status = elmo_cursor_error(cursor, &error) ? complain_of(&error) : 0;
    if (ferror(stdout)) status = complain("cannot write the output");
    return status;
}

static int explain_find(elmo_t *db, const struct find_args *a, const bson_t *filter, const bson_t *opts) {
    const char *dot = a->ns;
    while (*dot != '\0' && *dot != '.') dot++;
    bson_t command = BSON_INITIALIZER, find, reply;
    bson_error_t error;
    char *db_name = bson_strndup(a->ns, (size_t) (dot - a->ns));
    BSON_APPEND_DOCUMENT_BEGIN(&command, "explain", &find);
    BSON_APPEND_UTF8(&find, "find", *dot != '\0' ? dot + 1 : "");
    BSON_APPEND_DOCUMENT(&find, "filter", filter);
    bson_concat(&find, opts);
    bson_append_document_end(&command, &find);
    BSON_APPEND_UTF8(&command, "verbosity", "executionStats");
    int status = 0;
    if (elmo_command_simple(db, db_name, &command, &reply, &error)) {
        print_explain(&reply, a->tree != NULL || is_terminal(STDOUT_FILENO));
    } else {
        status = complain_of(&error);
    }
    bson_free(db_name);
    bson_destroy(&command);
    bson_destroy(&reply);
    return status;
}

static int run_query(const struct subcommand *sub, int argc, char **argv, bool explain) {
    struct find_args a = {0};
    bson_t filter, opts = BSON_INITIALIZER;
    int status = find_args_parse(sub, argc, argv, &a);
    if (status != 0) return status;
    if (!check_namespace(a.ns) || !parse_document(a.filter, "the filter", &filter)) return EXIT_ERROR;
    elmo_t *db = NULL;
    elmo_collection_t *c = NULL;
    status = EXIT_ERROR;
    if (!build_options(&a, &opts)) goto out;
    db = open_db(a.db, true, false, NULL);
    if (db == NULL) goto out;
    c = open_collection(db, a.ns);
    if (c == NULL) goto out;
    if (explain) {
        status = explain_find(db, &a, &filter, &opts);
    } else {
        elmo_cursor_t *cursor = elmo_collection_find_with_opts(c, &filter, &opts);
        status = print_rows(cursor);
        elmo_cursor_destroy(cursor);
    }
out:
    elmo_collection_destroy(c);
    elmo_close(db);
    bson_destroy(&filter);
    bson_destroy(&opts);
    return status;
}

static int run_find(int argc, char **argv) { return run_query(&sub_find, argc, argv, false); }
static int run_explain(int argc, char **argv) { return run_query(&sub_explain, argc, argv, true); }

static int create_index(const char *db_path, const char *ns, const bson_t *spec) {
    bson_error_t error;
    bson_t reply;
    elmo_t *db = open_db(db_path, false, false, NULL);
    elmo_collection_t *c = db != NULL ? open_collection(db, ns) : NULL;
    int status = EXIT_ERROR;
    if (c != NULL) {
        double started = now_seconds();
        const bson_t *specs[] = {spec};
        if (elmo_collection_create_indexes_with_opts(c, specs, 1, NULL, &reply, &error)) {
            bson_iter_t it;
            bool existed = bson_iter_init_find(&it, &reply, "note");
            fprintf(stderr, existed ? "the index exists already\n" : "index built in %.2f s\n",
                    now_seconds() - started);
            status = 0;
        } else {
            status = complain_of(&error);
        }
        bson_destroy(&reply);
    }
    elmo_collection_destroy(c);
    elmo_close(db);
    return status;
}

static int run_create_index(int argc, char **argv) {
    const char *db = NULL, *ns = NULL, *name = NULL, *unique = NULL, *sparse = NULL, *weights = NULL, *rest[1];
    int rest_count;
    const struct option_row rows[] = {
        {"--db", "FILE", "the database file", &db},
        {"--collection", "DB.COLL", "the collection", &ns},
        {"--name", "NAME", "the index's name (default: from its keys)", &name},
        {"--unique", NULL, "refuse documents with equal keys", &unique},
        {"--sparse", NULL, "leave out documents without the fields", &sparse},
        {"--weights", "DOC", "of a text index: {title: 10, body: 1}", &weights},
    };
    int status = args_parse(&sub_create_index, argc, argv, rows, 6, rest, 1, &rest_count);
    if (status != 0) return status;
    if (db == NULL || ns == NULL)
        return usage_error(&sub_create_index, "%s is missing", db == NULL ? "--db FILE" : "--collection DB.COLL");
    if (rest_count == 0) return usage_error(&sub_create_index, "the keys are missing: '{age: 1}', '{title: \"text\"}'");
    bson_t key, spec = BSON_INITIALIZER;
    if (!check_namespace(ns) || !parse_document(rest[0], "the keys", &key)) return EXIT_ERROR;
    BSON_APPEND_DOCUMENT(&spec, "key", &key);
    if (name != NULL) BSON_APPEND_UTF8(&spec, "name", name);
    if (unique != NULL) BSON_APPEND_BOOL(&spec, "unique", true);
    if (sparse != NULL) BSON_APPEND_BOOL(&spec, "sparse", true);
    status = append_document(&spec, "weights", weights) ? create_index(db, ns, &spec) : EXIT_ERROR;
    bson_destroy(&key);
    bson_destroy(&spec);
    return status;
}

const struct subcommand sub_find = {"find", "find [FILTER] --db F --collection DB.COLL",
                                    "print the documents that match", run_find};
const struct subcommand sub_explain = {"explain", "explain [FILTER] --db F --collection DB.COLL",
                                       "how a find is answered, with counts", run_explain};
const struct subcommand sub_create_index = {"create-index", "create-index KEYS --db F --collection DB.COLL",
                                            "build an index", run_create_index};
