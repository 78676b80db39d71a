/* elmo export: a collection as JSON lines, a JSON array or CSV, as mongoexport writes them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "field_list.h"
#include "json_out.h"
#include "stream.h"
#include "target.h"

struct export {
    struct target *target;
    char *db, *coll;
    bson_t query, sort;
    int64_t limit, skip;
    struct field_list fields;
    bool is_csv, is_array, is_pretty, no_header, quiet;
    int style; /* of JSON */
    struct stream_out out;
    struct text row;
    int64_t count, total;
};

/* ---- CSV ---- */

/* Quoted when it must be, as RFC 4180 has it and Go's writer does it. */
static void append_csv(struct text *t, const char *s, size_t len) {
    bool quote = len > 0 && (s[0] == ' ' || s[0] == '\t' || (len == 2 && memcmp(s, "\\.", 2) == 0));
    for (size_t i = 0; i < len && !quote; i++) quote = s[i] == ',' || s[i] == '"' || s[i] == '\n' || s[i] == '\r';
    if (!quote) {
        text_append(t, s, len);
        return;
    }
    text_append(t, "\"", 1);
    for (size_t i = 0; i < len; i++) text_append(t, s[i] == '"' ? "\"\"" : s + i, s[i] == '"' ? 2 : 1);
    text_append(t, "\"", 1);
}

/* A value as mongoexport shows it in CSV: plain where that is plain enough, else as JSON. */
static bool append_cell(struct text *t, const bson_iter_t *it, int style) {
    struct text cell = {0};
    char hex[25], decimal_text[BSON_DECIMAL128_STRING];
    bson_decimal128_t decimal;
    uint32_t len;
    const char *s;
    bool ok = true;
    text_append(&cell, "", 0);
    switch (bson_iter_type(it)) {
    case BSON_TYPE_NULL:
    case BSON_TYPE_UNDEFINED: break;
    case BSON_TYPE_UTF8:
        s = bson_iter_utf8(it, &len);
        text_append(&cell, s, len);
        break;
    case BSON_TYPE_SYMBOL:
        s = bson_iter_symbol(it, &len);
        text_append(&cell, s, len);
        break;
    case BSON_TYPE_DOUBLE:
        text_append_double(&cell, bson_iter_double(it));
        if (cell.len > 2 && memcmp(cell.p + cell.len - 2, ".0", 2) == 0) cell.len -= 2;
        break;
    case BSON_TYPE_INT32: text_printf(&cell, "%d", (int) bson_iter_int32(it)); break;
    case BSON_TYPE_INT64: text_printf(&cell, "%lld", (long long) bson_iter_int64(it)); break;
    case BSON_TYPE_DECIMAL128:
        ok = bson_iter_decimal128(it, &decimal);
        if (ok) bson_decimal128_to_string(&decimal, decimal_text);
        if (ok) text_append_str(&cell, decimal_text);
        break;
    case BSON_TYPE_OID:
        bson_oid_to_string(bson_iter_oid(it), hex);
        text_printf(&cell, "ObjectId(%s)", hex);
        break;
    case BSON_TYPE_DATE_TIME:
        if (!text_append_date(&cell, bson_iter_date_time(it), true))
            text_printf(&cell, "%lld", (long long) bson_iter_date_time(it));
        break;
    default: ok = json_append_value(&cell, it, style); break;
    }
    if (ok) append_csv(t, cell.p, cell.len);
    text_release(&cell);
    return ok;
}

static bool append_csv_row(struct export *e, const bson_t *doc) {
    bson_iter_t it;
    for (size_t i = 0; i < e->fields.count; i++) {
        if (i > 0) text_append(&e->row, ",", 1);
        if (find_path(doc, e->fields.names[i], &it) && !append_cell(&e->row, &it, e->style)) return false;
    }
    text_append(&e->row, "\n", 1);
    return true;
}

static void append_csv_header(struct export *e) {
    for (size_t i = 0; i < e->fields.count; i++) {
        if (i > 0) text_append(&e->row, ",", 1);
        append_csv(&e->row, e->fields.names[i], strlen(e->fields.names[i]));
    }
    text_append(&e->row, "\n", 1);
}

/* ---- the documents ---- */

static bool append_row(struct export *e, const bson_t *doc) {
    if (e->is_csv) return append_csv_row(e, doc);
    if (e->is_array && e->count > 0) text_append(&e->row, ",", 1);
    if (e->is_pretty && e->count > 0) text_append(&e->row, "\n", 1);
    if (!json_append(&e->row, doc, false, e->style)) return false;
    if (!e->is_array && !e->is_pretty) text_append(&e->row, "\n", 1);
    return true;
}

static bool flush_row(struct export *e) {
    bool ok = stream_out_write(&e->out, e->row.p, e->row.len);
    e->row.len = 0;
    return ok;
}

static bool write_start(struct export *e) {
    text_append(&e->row, "", 0);
    if (e->is_csv && !e->no_header) append_csv_header(e);
    if (!e->is_csv && e->is_array) text_append(&e->row, "[", 1);
    return flush_row(e);
}

static bool write_end(struct export *e) {
    if (!e->is_csv && e->is_array) text_append(&e->row, "]\n", 2);
    else if (!e->is_csv && e->is_pretty && e->count > 0) text_append(&e->row, "\n", 1);
    return flush_row(e);
}

static void build_find(struct export *e, bson_t *command) {
    bson_t projection = BSON_INITIALIZER;
    BSON_APPEND_UTF8(command, "find", e->coll);
    BSON_APPEND_DOCUMENT(command, "filter", &e->query);
    if (!bson_empty(&e->sort)) BSON_APPEND_DOCUMENT(command, "sort", &e->sort);
    if (e->fields.count > 0) {
        field_list_projection(&e->fields, e->is_csv, &projection);
        BSON_APPEND_DOCUMENT(command, "projection", &projection);
    }
    if (e->skip > 0) BSON_APPEND_INT64(command, "skip", e->skip);
    if (e->limit > 0) BSON_APPEND_INT64(command, "limit", e->limit);
    if (!target_is_file(e->target)) BSON_APPEND_BOOL(command, "noCursorTimeout", true);
    bson_destroy(&projection);
}

/* For the progress bar; without a filter it costs nothing. */
static void ask_total(struct export *e) {
    bson_t command = BSON_INITIALIZER, reply;
    bson_iter_t it;
    BSON_APPEND_UTF8(&command, "count", e->coll);
    if (bson_empty(&e->query) && target_command(e->target, e->db, &command, &reply, NULL)) {
        if (bson_iter_init_find(&it, &reply, "n")) e->total = bson_iter_as_int64(&it) - e->skip;
        if (e->limit > 0 && e->total > e->limit) e->total = e->limit;
        bson_destroy(&reply);
    }
    bson_destroy(&command);
}

static bool write_rows(struct export *e, struct rows *rows) {
    struct progress progress;
    bson_error_t error;
    const bson_t *doc;
    bool ok = true;
    progress_start(&progress, "exporting");
    if (progress.is_on) ask_total(e);
    while (ok && rows_next(rows, &doc)) {
        if (!append_row(e, doc))
            ok = (complain("document %lld is damaged or nested too deep", (long long) e->count + 1), false);
        ok = ok && flush_row(e);
        e->count++;
        if ((e->count & 0xff) == 0)
            progress_show(&progress, e->total > 0 ? (double) e->count / (double) e->total : 0, e->count);
    }
    progress_end(&progress);
    if (ok && rows_failed(rows, &error)) ok = (complain_of(&error), false);
    return ok;
}

static bool run_export(struct export *e, const char *out) {
    bson_t command = BSON_INITIALIZER;
    bson_error_t error;
    struct rows rows;
    build_find(e, &command);
    bool ok = rows_open(&rows, e->target, e->db, &command, &error);
    bson_destroy(&command);
    if (!ok) return complain_of(&error), false;
    ok = stream_out_open(&e->out, out, false);
    if (ok) {
        ok = write_start(e) && write_rows(e, &rows) && write_end(e);
        if (ok) ok = stream_out_commit(&e->out);
        else stream_out_abort(&e->out);
    }
    rows_close(&rows);
    text_release(&e->row);
    return ok;
}

/* ---- the command line ---- */

struct export_args {
    struct target_args target;
    const char *db, *coll, *type, *out, *query, *query_file, *sort, *limit, *skip, *fields, *field_file, *array,
        *pretty, *format, *no_header, *assert_exists, *quiet;
};

static int check_args(struct export *e, struct export_args *a) {
    if (a->target.target == NULL && !target_is_named(&a->target)) { /* --db alone names the file, as elsewhere */
        if (a->db == NULL) return usage_error(&sub_export, "the database file or the server's URI is missing");
        a->target.target = a->db;
        a->db = NULL;
    }
    if (a->coll == NULL) return usage_error(&sub_export, "--collection is missing");
    if (a->query != NULL && a->query_file != NULL)
        return usage_error(&sub_export, "--query and --queryFile exclude each other");
    if (a->fields != NULL && a->field_file != NULL)
        return usage_error(&sub_export, "--fields and --fieldFile exclude each other");
    if (a->type != NULL && strcmp(a->type, "csv") != 0 && strcmp(a->type, "json") != 0)
        return usage_error(&sub_export, "--type must be json or csv, not '%s'", a->type);
    e->is_csv = a->type != NULL && strcmp(a->type, "csv") == 0;
    if (e->is_csv && a->fields == NULL && a->field_file == NULL)
        return usage_error(&sub_export, "--type csv needs --fields or --fieldFile");
    if (e->is_csv && (a->array != NULL || a->pretty != NULL))
        return usage_error(&sub_export, "--jsonArray and --pretty do not go with --type csv");
    if (a->format != NULL && strcmp(a->format, "canonical") != 0 && strcmp(a->format, "relaxed") != 0)
        return usage_error(&sub_export, "--jsonFormat must be canonical or relaxed, not '%s'", a->format);
    e->is_array = a->array != NULL;
    e->is_pretty = a->pretty != NULL;
    e->no_header = a->no_header != NULL;
    e->quiet = a->quiet != NULL;
    e->style = JSON_UUID | (a->format != NULL && strcmp(a->format, "canonical") == 0 ? JSON_CANONICAL : JSON_RELAXED) |
        (e->is_pretty ? JSON_PRETTY : 0);
    return 0;
}

static bool assert_exists(struct export *e) {
    bson_t command = BSON_INITIALIZER, filter;
    bson_error_t error;
    const bson_t *row;
    struct rows rows;
    BSON_APPEND_INT32(&command, "listCollections", 1);
    BSON_APPEND_DOCUMENT_BEGIN(&command, "filter", &filter);
    BSON_APPEND_UTF8(&filter, "name", e->coll);
    bson_append_document_end(&command, &filter);
    bool ok = rows_open(&rows, e->target, e->db, &command, &error), exists = false;
    bson_destroy(&command);
    if (!ok) return complain_of(&error), false;
    exists = rows_next(&rows, &row);
    rows_close(&rows);
    if (!exists) (void) complain("there is no collection %s.%s", e->db, e->coll);
    return exists;
}

static int export_with(struct export *e, const struct export_args *a) {
    int status = EXIT_ERROR;
    e->target = target_open(&a->target, TARGET_READ, "elmo export");
    if (e->target == NULL) return EXIT_ERROR;
    if (target_namespace(e->target, a->db, a->coll, &e->db, &e->coll) &&
        (a->assert_exists == NULL || assert_exists(e)) && run_export(e, a->out != NULL ? a->out : "-")) {
        status = 0;
        if (!e->quiet) fprintf(stderr, "%s document%s exported\n", with_commas(e->count), e->count == 1 ? "" : "s");
    }
    bson_free(e->db);
    bson_free(e->coll);
    target_close(e->target);
    return status;
}

/* The documents and numbers among the options. */
static bool read_values(struct export *e, const struct export_args *a) {
    bool ok = a->query_file != NULL ? read_document(a->query_file, "--queryFile", &e->query)
                                    : parse_document(a->query, "--query", &e->query);
    if (!ok) return false;
    ok = parse_document(a->sort, "--sort", &e->sort);
    if (ok) {
        ok = number_option("--limit", a->limit, 0, INT64_MAX, &e->limit) &&
            number_option("--skip", a->skip, 0, INT64_MAX, &e->skip) &&
            field_list_read(&e->fields, a->fields, a->field_file);
        if (!ok) bson_destroy(&e->sort);
    }
    if (!ok) bson_destroy(&e->query);
    return ok;
}

static int run(int argc, char **argv) {
    struct export *e = bson_malloc0(sizeof(*e));
    struct export_args a = {0};
    const char *rest[1] = {NULL};
    int rest_count;
    const struct option_row rows[] = {
        {"--db|-d", "NAME", "the database", &a.db},
        {"--collection|-c", "NAME", "the collection, or DB.COLL", &a.coll},
        {"--out|-o", "FILE", "where to write (default: standard output)", &a.out},
        {"--type", "TYPE", "json (default) or csv", &a.type},
        {"--fields|-f", "A,B.C", "these fields only; of CSV the columns", &a.fields},
        {"--fieldFile", "FILE", "the fields, one a line", &a.field_file},
        {"--query|-q", "DOC", "only the documents that match", &a.query},
        {"--queryFile", "FILE", "the same, read from a file", &a.query_file},
        {"--sort", "DOC", "{age: -1}", &a.sort},
        {"--limit", "N", "at most so many", &a.limit},
        {"--skip", "N", "leave out so many first", &a.skip},
        {"--jsonFormat", "FORM", "relaxed (default) or canonical extended JSON", &a.format},
        {"--jsonArray", NULL, "one array instead of lines", &a.array},
        {"--pretty", NULL, "laid out for people", &a.pretty},
        {"--noHeaderLine", NULL, "of CSV: without the line of names", &a.no_header},
        {"--assertExists", NULL, "a missing collection is an error", &a.assert_exists},
        {"--quiet", NULL, "say nothing but errors", &a.quiet},
        {"--forceTableScan", NULL, NULL, &a.target.ignored},
        TARGET_OPTIONS(&a.target),
    };
    int status = args_parse(&sub_export, argc, argv, rows, OPTION_COUNT(rows), rest, 1, &rest_count);
    a.target.target = rest[0];
    if (status == 0) status = check_args(e, &a);
    if (status == 0) {
        bool ok = read_values(e, &a);
        status = ok ? export_with(e, &a) : EXIT_ERROR;
        if (ok) {
            bson_destroy(&e->query);
            bson_destroy(&e->sort);
        }
    }
    field_list_release(&e->fields);
    bson_free(e);
    return status;
}

const struct subcommand sub_export = {"export", "export FILE|URI --collection DB.COLL",
                                      "write a collection as JSON or CSV", run};
