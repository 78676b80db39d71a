/* The shell's reads: find and aggregate with the methods that may follow them, count, distinct. */
#include "shell_methods.h"

#include <stdio.h>
#include <string.h>

#define PAGE_ROWS 20 /* rows shown at a time on a terminal */

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

/* How many rows are left; none is shown. */
static int count_rows(struct shell *sh) {
    const bson_t *doc;
    bson_error_t error;
    long long n = 0;
    while (elmo_cursor_next(sh->cursor, &doc)) n++;
    int status = elmo_cursor_error(sh->cursor, &error) ? complain_of(&error) : 0;
    shell_forget_cursor(sh);
    if (status == 0) printf("%lld\n", n);
    return status;
}

/* ---- the methods behind find and aggregate ---- */

enum chain_kind { TAKES_DOC, TAKES_NUMBER, TAKES_BOOL, TAKES_TEXT, TAKES_HINT, TAKES_NOTHING, IS_EXPLAIN, IS_COUNT };

struct chain_row {
    const char *name;
    enum chain_kind kind;
    bool for_aggregate;
};

static const struct chain_row chain_rows[] = {
    {"sort", TAKES_DOC, false},          {"projection", TAKES_DOC, false}, {"project", TAKES_DOC, false},
    {"limit", TAKES_NUMBER, false},      {"skip", TAKES_NUMBER, false},    {"maxTimeMS", TAKES_NUMBER, true},
    {"batchSize", TAKES_NUMBER, true},   {"hint", TAKES_HINT, true},       {"allowDiskUse", TAKES_BOOL, true},
    {"comment", TAKES_TEXT, true},       {"let", TAKES_DOC, true},         {"collation", TAKES_DOC, true},
    {"min", TAKES_DOC, false},           {"max", TAKES_DOC, false},        {"returnKey", TAKES_BOOL, false},
    {"showRecordId", TAKES_BOOL, false}, {"explain", IS_EXPLAIN, true},    {"count", IS_COUNT, false},
    {"itcount", IS_COUNT, true},         {"pretty", TAKES_NOTHING, true},  {"toArray", TAKES_NOTHING, true},
};
#define CHAIN_ROWS (sizeof(chain_rows) / sizeof(chain_rows[0]))

struct chain {
    bson_t opts;
    const char *verbosity; /* NULL: no explain */
    bool counts;           /* count(): the matching documents; itcount(): the rows */
    bool by_rows;
};

static const struct chain_row *chain_find(const char *name, bool is_aggregate) {
    for (size_t i = 0; i < CHAIN_ROWS; i++)
        if (strcmp(chain_rows[i].name, name) == 0 && (!is_aggregate || chain_rows[i].for_aggregate))
            return &chain_rows[i];
    return NULL;
}

static int no_such_method(const char *name, bool is_aggregate) {
    char names[400] = "";
    for (size_t i = 0; i < CHAIN_ROWS; i++) {
        if (is_aggregate && !chain_rows[i].for_aggregate) continue;
        size_t at = strlen(names);
        (void) snprintf(names + at, sizeof(names) - at, "%s%s", at != 0 ? ", " : "", chain_rows[i].name);
    }
    return complain("%s has no method %s(); there are %s", is_aggregate ? "an aggregate" : "a find", name, names);
}

static int take_one(const struct shell_call *call, const struct chain_row *row, struct chain *c) {
    bson_iter_t it;
    bson_t doc;
    const char *name = strcmp(row->name, "project") == 0 ? "projection" : row->name;
    bool has_arg = shell_arg(call, 0, &it);
    switch (row->kind) {
    case TAKES_DOC:
        if (!shell_doc_arg(call, 0, &doc)) return shell_wrong_args(call, "a document");
        BSON_APPEND_DOCUMENT(&c->opts, name, &doc);
        return 0;
    case TAKES_NUMBER:
        if (!has_arg || !BSON_ITER_HOLDS_NUMBER(&it)) return shell_wrong_args(call, "a number");
        bson_append_iter(&c->opts, name, -1, &it);
        return 0;
    case TAKES_BOOL: BSON_APPEND_BOOL(&c->opts, name, !has_arg || bson_iter_as_bool(&it)); return 0;
    case TAKES_TEXT:
    case TAKES_HINT:
        if (!has_arg)
            return shell_wrong_args(call, row->kind == TAKES_HINT ? "an index name or a key pattern" : "a text");
        bson_append_iter(&c->opts, name, -1, &it);
        return 0;
    case IS_EXPLAIN:
        if (has_arg && !BSON_ITER_HOLDS_UTF8(&it))
            return shell_wrong_args(call, "a verbosity, like \"executionStats\"");
        c->verbosity = has_arg ? bson_iter_utf8(&it, NULL) : "queryPlanner";
        return 0;
    case IS_COUNT:
        c->counts = true;
        c->by_rows = strcmp(row->name, "itcount") == 0;
        return 0;
    case TAKES_NOTHING: return 0;
    }
    return 0;
}

static int read_chain(struct shell *sh, const struct shell_line *line, bool is_aggregate, struct chain *c) {
    int status = 0;
    for (int i = 1; i < line->call_count && status == 0; i++) {
        const struct chain_row *row = chain_find(line->calls[i].name, is_aggregate);
        status = row != NULL ? take_one(&line->calls[i], row, c) : no_such_method(line->calls[i].name, is_aggregate);
    }
    if (c->verbosity == NULL) c->verbosity = sh->verbosity;
    return status;
}

/* ---- find ---- */

static int explain_find(struct shell *sh, const char *collection, const bson_t *filter, const struct chain *c) {
    bson_t body = BSON_INITIALIZER;
    BSON_APPEND_UTF8(&body, "find", collection);
    BSON_APPEND_DOCUMENT(&body, "filter", filter);
    bson_concat(&body, &c->opts);
    int status = shell_explain(sh, &body, c->verbosity);
    bson_destroy(&body);
    return status;
}

static int run_find(struct shell *sh, const char *collection, const bson_t *filter, const struct chain *c) {
    bson_error_t error;
    shell_forget_cursor(sh);
    sh->collection = elmo_get_collection(sh->db, sh->db_name, collection);
    if (sh->collection == NULL) return complain("no memory");
    if (c->counts && !c->by_rows) {
        int64_t n = elmo_collection_count_documents(sh->collection, filter, &c->opts, NULL, &error);
        if (n < 0) return complain_of(&error);
        printf("%lld\n", (long long) n);
        return 0;
    }
    sh->cursor = elmo_collection_find_with_opts(sh->collection, filter, &c->opts);
    return c->counts ? count_rows(sh) : shell_show_more(sh);
}

static int find(struct shell *sh, const struct shell_line *line, bool only_one) {
    bson_t filter, projection;
    struct chain c = {.opts = BSON_INITIALIZER};
    const struct shell_call *call = &line->calls[0];
    if (!shell_optional_doc(call, 0, "the filter", &filter) ||
        !shell_optional_doc(call, 1, "the projection", &projection))
        return EXIT_ERROR;
    if (!bson_empty(&projection)) BSON_APPEND_DOCUMENT(&c.opts, "projection", &projection);
    int status = read_chain(sh, line, false, &c);
    if (only_one) BSON_APPEND_INT32(&c.opts, "limit", 1);
    if (status == 0)
        status = c.verbosity != NULL ? explain_find(sh, line->collection, &filter, &c)
                                     : run_find(sh, line->collection, &filter, &c);
    bson_destroy(&c.opts);
    return status;
}

int shell_find(struct shell *sh, const struct shell_line *line) { return find(sh, line, false); }
int shell_find_one(struct shell *sh, const struct shell_line *line) { return find(sh, line, true); }

/* ---- aggregate ---- */

/* aggregate([stage, stage], {options}), or aggregate(stage, stage). */
static bool read_pipeline(const struct shell_call *call, bson_t *pipeline, bson_t *opts) {
    bson_iter_t it;
    const uint8_t *data;
    uint32_t len;
    bson_t options;
    if (!shell_arg(call, 0, &it)) return true;
    if (!BSON_ITER_HOLDS_ARRAY(&it)) {
        bson_destroy(pipeline);
        bson_copy_to(&call->args, pipeline);
        return true;
    }
    if (!shell_optional_doc(call, 1, "the options", &options)) return false;
    bson_iter_array(&it, &len, &data);
    bson_t stages;
    if (!bson_init_static(&stages, data, len)) return false;
    bson_destroy(pipeline);
    bson_copy_to(&stages, pipeline);
    bson_concat(opts, &options);
    return true;
}

static int explain_aggregate(struct shell *sh, const char *collection, const bson_t *pipeline, const struct chain *c) {
    static const uint8_t empty[] = {5, 0, 0, 0, 0};
    bson_t body = BSON_INITIALIZER, cursor;
    (void) bson_init_static(&cursor, empty, sizeof(empty));
    BSON_APPEND_UTF8(&body, "aggregate", collection);
    BSON_APPEND_ARRAY(&body, "pipeline", pipeline);
    BSON_APPEND_DOCUMENT(&body, "cursor", &cursor);
    bson_concat(&body, &c->opts);
    int status = shell_explain(sh, &body, c->verbosity);
    bson_destroy(&body);
    return status;
}

int shell_aggregate(struct shell *sh, const struct shell_line *line) {
    bson_t pipeline = BSON_INITIALIZER;
    struct chain c = {.opts = BSON_INITIALIZER};
    int status = EXIT_ERROR;
    if (read_pipeline(&line->calls[0], &pipeline, &c.opts)) status = read_chain(sh, line, true, &c);
    if (status == 0 && c.verbosity != NULL) {
        status = explain_aggregate(sh, line->collection, &pipeline, &c);
    } else if (status == 0) {
        shell_forget_cursor(sh);
        sh->collection = elmo_get_collection(sh->db, sh->db_name, line->collection);
        if (sh->collection != NULL) sh->cursor = elmo_collection_aggregate(sh->collection, &pipeline, &c.opts);
        if (sh->cursor == NULL) status = complain("no memory");
        else status = c.counts ? count_rows(sh) : shell_show_more(sh);
    }
    bson_destroy(&pipeline);
    bson_destroy(&c.opts);
    return status;
}

/* db.aggregate: what needs no collection ($documents, $currentOp). Its rows come as one reply. */
int shell_db_aggregate(struct shell *sh, const struct shell_line *line) {
    bson_t pipeline = BSON_INITIALIZER, opts = BSON_INITIALIZER, body = BSON_INITIALIZER, cursor, reply;
    bson_iter_t it, batch, row;
    bson_error_t error;
    int status = EXIT_ERROR;
    if (read_pipeline(&line->calls[0], &pipeline, &opts)) {
        BSON_APPEND_INT32(&body, "aggregate", 1);
        BSON_APPEND_ARRAY(&body, "pipeline", &pipeline);
        BSON_APPEND_DOCUMENT_BEGIN(&body, "cursor", &cursor);
        BSON_APPEND_INT32(&cursor, "batchSize", INT32_MAX);
        bson_append_document_end(&body, &cursor);
        bson_concat(&body, &opts);
        status = elmo_command_simple(sh->db, sh->db_name, &body, &reply, &error) ? 0 : complain_of(&error);
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
        bson_destroy(&reply);
    }
    bson_destroy(&pipeline);
    bson_destroy(&opts);
    bson_destroy(&body);
    return status;
}

/* ---- count and distinct ---- */

static int count(struct shell *sh, const struct shell_line *line, bool takes_filter) {
    bson_t filter, options, body = BSON_INITIALIZER;
    const struct shell_call *call = &line->calls[0];
    if (!shell_optional_doc(call, 0, takes_filter ? "the filter" : "the options", &filter) ||
        !shell_optional_doc(call, 1, "the options", &options))
        return EXIT_ERROR;
    BSON_APPEND_UTF8(&body, "count", line->collection);
    if (takes_filter) BSON_APPEND_DOCUMENT(&body, "query", &filter);
    bson_concat(&body, takes_filter ? &options : &filter);
    int status = shell_command(sh, &body, "n");
    bson_destroy(&body);
    return status;
}

int shell_count(struct shell *sh, const struct shell_line *line) { return count(sh, line, true); }
int shell_estimated_count(struct shell *sh, const struct shell_line *line) { return count(sh, line, false); }

int shell_distinct(struct shell *sh, const struct shell_line *line) {
    const struct shell_call *call = &line->calls[0];
    const char *key = shell_text_arg(call, 0);
    bson_t filter, options, body = BSON_INITIALIZER;
    if (key == NULL) return shell_wrong_args(call, "a field's name");
    if (!shell_optional_doc(call, 1, "the filter", &filter) || !shell_optional_doc(call, 2, "the options", &options))
        return EXIT_ERROR;
    BSON_APPEND_UTF8(&body, "distinct", line->collection);
    BSON_APPEND_UTF8(&body, "key", key);
    BSON_APPEND_DOCUMENT(&body, "query", &filter);
    bson_concat(&body, &options);
    int status = shell_command(sh, &body, "values");
    bson_destroy(&body);
    return status;
}
