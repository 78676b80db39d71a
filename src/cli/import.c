/* elmo import: documents from JSON lines, a JSON array, BSON, CSV or TSV into a collection.
 *
 * Documents go in batches, one command and so one sync each. A bad document is told with its line (or byte offset in BSON); --keep-going skips and counts
 * it. With --mode other than insert a document finds its like by the fields of --upsertFields. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "batch.h"
#include "columns.h"
#include "input.h"

/* As many documents as mongoimport takes for a batch: --acknowledge answers often enough. */
#define IMPORT_BATCH 1000

enum input_kind { INPUT_JSON, INPUT_LINES, INPUT_ARRAY, INPUT_BSON, INPUT_CSV, INPUT_TSV };
enum import_mode { MODE_INSERT, MODE_UPSERT, MODE_MERGE, MODE_DELETE };

struct import {
    struct input input;
    enum input_kind kind;
    enum import_mode mode;
    bool keep_going, acknowledge, array_started, has_columns, has_header, is_typed;
    int64_t skipped;
    struct field_list fields, upsert_fields;
    struct columns columns;
    struct csv_row row;
    struct batch batch;
    struct progress progress;
};

/* ---- what goes wrong ---- */

/* False when the import must stop. */
static bool report(struct import *im, uint64_t place, const char *message) {
    fprintf(stderr, "%s%s:%s%llu: %s\n", im->progress.is_on ? "\r\033[K" : "", im->input.in.name,
            im->kind == INPUT_BSON ? " byte " : "", (unsigned long long) place, message);
    im->skipped++;
    return im->keep_going;
}

static bool report_failed(void *ctx, uint64_t place, const char *message) { return report(ctx, place, message); }

/* What stands before the bad document goes in first. */
static bool report_here(struct import *im, uint64_t place, const char *message) {
    return batch_flush(&im->batch) && report(im, place, message);
}

/* ---- documents on their way ---- */

static bool append_key(const struct import *im, const bson_t *doc, bson_t *query) {
    bool any = false;
    for (size_t i = 0; i < im->upsert_fields.count; i++) {
        bson_iter_t it;
        const char *name = im->upsert_fields.names[i];
        if (find_path(doc, name, &it)) any = bson_append_iter(query, name, -1, &it) || any;
        else BSON_APPEND_NULL(query, name);
    }
    return any;
}

/* {q, u, upsert} or {q, limit}. A document without any of the key's fields is new; there is none like it to delete. */
static bool send_keyed(struct import *im, const bson_t *doc, uint64_t place) {
    bson_t item = BSON_INITIALIZER, query = BSON_INITIALIZER, set = BSON_INITIALIZER;
    bool has_key = append_key(im, doc, &query), go_on = true;
    if (!has_key) {
        bson_oid_t oid;
        bson_oid_init(&oid, NULL);
        bson_reinit(&query);
        BSON_APPEND_OID(&query, "_id", &oid);
    }
    BSON_APPEND_DOCUMENT(&item, "q", &query);
    if (im->mode == MODE_DELETE) {
        BSON_APPEND_INT32(&item, "limit", 1);
    } else {
        if (im->mode == MODE_MERGE) BSON_APPEND_DOCUMENT(&set, "$set", doc);
        BSON_APPEND_DOCUMENT(&item, "u", im->mode == MODE_MERGE ? &set : doc);
        BSON_APPEND_BOOL(&item, "upsert", true);
    }
    if (has_key || im->mode != MODE_DELETE) go_on = batch_add(&im->batch, &item, place);
    bson_destroy(&item);
    bson_destroy(&query);
    bson_destroy(&set);
    return go_on;
}

static bool add(struct import *im, const bson_t *doc, uint64_t place) {
    int64_t sent = im->batch.sent;
    bool go_on = im->mode == MODE_INSERT ? batch_add(&im->batch, doc, place) : send_keyed(im, doc, place);
    if (im->batch.sent == sent) return go_on;
    if (im->acknowledge) {
        printf("%lld\n", (long long) im->batch.done);
        fflush(stdout);
    }
    progress_show(&im->progress, im->input.in.size > 0 ? (double) im->input.in.taken / (double) im->input.in.size : 0,
                  im->batch.done);
    return go_on;
}

/* ---- JSON ---- */

/* Over a bad element of an array: to the comma or bracket that ends it. A bracket or quote that is never closed takes the rest. */
static void skip_element(struct input *in) {
    int depth = 0;
    char quote = 0;
    do {
        for (; in->at < in->len; in->at++) {
            char c = in->text[in->at];
            if (quote != 0) {
                if (c == '\\' && in->at + 1 < in->len) in->at++;
                else if (c == quote) quote = 0;
            } else if (c == '"' || c == '\'') {
                quote = c;
            } else if (c == '{' || c == '[') {
                depth++;
            } else if (depth == 0 && (c == ',' || c == ']')) {
                return;
            } else if ((c == '}' || c == ']') && depth > 0) {
                depth--;
            }
        }
    } while (input_more(in));
}

/* Does what begins here end in the window (all its brackets closed)? What does not begin with a bracket ends with its line. */
static bool ends_in_window(const struct input *in) {
    int depth = 0;
    char quote = 0;
    for (size_t at = in->at; at < in->len; at++) {
        char c = in->text[at];
        if (quote != 0) {
            if (c == '\\') at++;
            else if (c == quote) quote = 0;
        } else if (c == '"' || c == '\'') {
            quote = c;
        } else if (c == '{' || c == '[') {
            depth++;
        } else if (c == '}' || c == ']') {
            if (--depth <= 0) return true;
        } else if (c == '\n' && depth == 0) {
            return true;
        }
    }
    return false;
}

/* The line on which the bad document starts. The parser counts lines from there: the message tells the line in the file. */
static size_t place_of_error(struct import *im, char *message) {
    size_t line = 1, base = input_line(&im->input, im->input.at);
    char *rest = strstr(message, "column");
    if (rest == NULL || sscanf(message, "line %zu", &line) != 1) return base;
    if (line == 1) {
        memmove(message, rest, strlen(rest) + 1);
    } else { /* the document goes over several lines, or its last bracket is missing */
        char text[sizeof(((bson_error_t *) 0)->message)];
        (void) snprintf(text, sizeof(text), "(line %zu) %s", base + line - 1, rest);
        memcpy(message, text, strlen(text) + 1);
    }
    return base;
}

/* In an array: moves over brackets and commas to the next document. False at the end. */
static bool next_in_array(struct import *im, bool *failed) {
    struct input *in = &im->input;
    *failed = false;
    (void) input_skip_space(in);
    if (!im->array_started) {
        in->at++; /* '[' was seen by find_kind */
        im->array_started = true;
    } else if (in->at < in->len && in->text[in->at] == ',') {
        in->at++;
    }
    if (!input_skip_space(in)) {
        if (!input_failed(in))
            *failed = !report_here(im, input_line(in, in->at), "the array does not end: ']' is missing");
        else *failed = true;
        return false;
    }
    if (in->text[in->at] != ']') return true;
    in->at++;
    if (input_skip_space(in)) *failed = !report_here(im, input_line(in, in->at), "text after the array's end");
    return false;
}

/* One document from where the input stands; reads on while it may not be all there. False: *go_on tells whether to try the next. */
static bool parse_here(struct import *im, bson_t *doc, bool *go_on) {
    struct input *in = &im->input;
    bson_error_t error;
    size_t used = 0;
    while (!elmo_json_parse(in->text + in->at, (ssize_t) (in->len - in->at), doc, NULL, &used, &error)) {
        bson_destroy(doc);
        if (!in->at_end && !ends_in_window(in)) { /* by doubling, so that trying again costs little */
            size_t want = 2 * (in->len - in->at);
            if (input_has(in, want) || in->at_end) continue;
            (void) snprintf(error.message, sizeof(error.message), "the document is too large");
        }
        size_t place = place_of_error(im, error.message);
        *go_on = report_here(im, place, error.message);
        if (im->kind == INPUT_ARRAY) skip_element(in);
        else input_skip_line(in);
        return false;
    }
    in->at += used;
    return true;
}

static bool import_json(struct import *im) {
    struct input *in = &im->input;
    bool failed = false, go_on = true;
    while (go_on) {
        bson_t doc;
        if (im->kind == INPUT_ARRAY && !next_in_array(im, &failed)) return !failed;
        if (!input_skip_space(in)) break;
        size_t place = input_line(in, in->at);
        if (!parse_here(im, &doc, &go_on)) continue;
        go_on = add(im, &doc, place);
        bson_destroy(&doc);
    }
    return go_on;
}

/* ---- BSON ---- */

static bool import_bson(struct import *im) {
    struct input *in = &im->input;
    for (bool go_on = true; go_on && input_has(in, 1);) {
        uint32_t len = 0;
        uint64_t place = in->base + in->at;
        bson_t view; /* over the window's own bytes */
        if (input_has(in, 4)) memcpy(&len, in->text + in->at, 4);
        if (len < 5 || len > 2 * DOCUMENT_BYTES_MAX || !input_has(in, len) ||
            !bson_init_static(&view, (const uint8_t *) in->text + in->at, len)) {
            if (input_failed(in)) return false;
            return report_here(im, place, "this is not a BSON document; the rest of the file cannot be read");
        }
        go_on = add(im, &view, place);
        in->at += len;
        if (!go_on) return false;
    }
    return true;
}

/* ---- CSV and TSV ---- */

/* The names: from the options or the first row. */
static bool take_columns(struct import *im) {
    struct csv_row *row = &im->row;
    if (im->has_header) {
        enum csv_result result = csv_next(&im->input, im->kind == INPUT_TSV, row);
        if (result == CSV_END) return complain("%s: the line of names is missing", im->input.in.name), false;
        if (result == CSV_BAD) return complain("%s:%zu: %s", im->input.in.name, row->line, row->error), false;
        for (size_t i = 0; i < row->count; i++)
            field_list_add(&im->fields, row->bytes + row->fields[i].at, row->fields[i].len);
    }
    return columns_init(&im->columns, &im->fields, im->is_typed, im->has_header ? im->input.in.name : "--fields");
}

static bool import_rows(struct import *im) {
    struct csv_row *row = &im->row;
    enum csv_result result;
    bool go_on = true;
    while (go_on && (result = csv_next(&im->input, im->kind == INPUT_TSV, row)) != CSV_END) {
        bson_t doc = BSON_INITIALIZER;
        bool skip = false;
        if (result == CSV_BAD) {
            go_on = report_here(im, row->line, row->error);
        } else if (!columns_document(&im->columns, row, &doc, &skip)) {
            go_on = report_here(im, row->line, row->error[0] != '\0' ? row->error : "the row is too large") || skip;
        } else if (!bson_empty(&doc) || !im->columns.ignore_blanks) {
            go_on = add(im, &doc, row->line);
        }
        bson_destroy(&doc);
    }
    return go_on;
}

/* ---- the whole ---- */

static bool kind_of(const char *text, enum input_kind *kind) {
    static const char *const names[] = {"json", "jsonl", "array", "bson", "csv", "tsv"};
    *kind = INPUT_JSON;
    for (int i = 0; text != NULL && i < 6; i++)
        if (strcmp(text, names[i]) == 0) return *kind = (enum input_kind) i, true;
    return text == NULL;
}

/* JSON is lines or an array, by its first character; without --type a file's name may say that it is BSON. */
static void find_kind(struct import *im, bool by_name) {
    size_t n = strlen(im->input.in.name);
    if (im->kind != INPUT_JSON) return;
    if (by_name && n > 5 && strcmp(im->input.in.name + n - 5, ".bson") == 0) im->kind = INPUT_BSON;
    else im->kind = input_skip_space(&im->input) && im->input.text[im->input.at] == '[' ? INPUT_ARRAY : INPUT_LINES;
}

static bool drop(struct target *t, const char *db, const char *coll) {
    bson_t command = BSON_INITIALIZER, reply;
    bson_error_t error;
    BSON_APPEND_UTF8(&command, "drop", coll);
    bool ok = target_command(t, db, &command, &reply, &error) || error.code == 26;
    if (!ok) (void) complain_of(&error);
    bson_destroy(&command);
    bson_destroy(&reply);
    return ok;
}

static const char *mode_word(enum import_mode mode) {
    return mode == MODE_DELETE ? "deleted from" : mode == MODE_INSERT ? "imported into" : "written to";
}

/* What has no columns is no table: the names come first, before anything is dropped. */
static int run_import(struct import *im, struct target *t, const char *db, const char *coll, bool drop_first) {
    static const enum batch_kind kinds[] = {BATCH_INSERT, BATCH_UPDATE, BATCH_UPDATE, BATCH_DELETE};
    bool bypass = im->batch.bypass_validation, is_table = im->kind == INPUT_CSV || im->kind == INPUT_TSV;
    batch_init(&im->batch, t, db, coll, kinds[im->mode], !im->keep_going);
    im->batch.bypass_validation = bypass && im->mode != MODE_DELETE;
    im->batch.count_max = IMPORT_BATCH;
    im->batch.failed = report_failed;
    im->batch.ctx = im;
    if ((is_table && !take_columns(im)) || (drop_first && !drop(t, db, coll))) return EXIT_ERROR;
    progress_start(&im->progress, "importing");
    bool ok = im->kind == INPUT_BSON ? import_bson(im) : is_table ? import_rows(im) : import_json(im);
    int64_t sent = im->batch.sent;
    ok = batch_flush(&im->batch) && ok;
    if (im->acknowledge && im->batch.sent != sent) printf("%lld\n", (long long) im->batch.done);
    progress_end(&im->progress);
    if (input_failed(&im->input)) ok = false;
    fprintf(stderr, "%s document%s %s %s.%s in %.2f s", with_commas(im->batch.done), im->batch.done == 1 ? "" : "s",
            mode_word(im->mode), db, coll, now_seconds() - im->progress.started);
    if (im->skipped != 0)
        fprintf(stderr, ", %s %s", with_commas(im->skipped),
                ok ? "skipped" : "bad; stopped there (--keep-going skips bad ones)");
    fputc('\n', stderr);
    return ok ? 0 : EXIT_ERROR;
}

/* ---- the command line ---- */

struct import_args {
    struct target_args target;
    const char *db, *coll, *file, *type, *keep_going, *acknowledge, *drop, *array, *header, *fields, *field_file,
        *typed, *grace, *blanks, *use_arrays, *mode, *upsert, *upsert_fields, *stop, *order, *bypass;
};

/* Which argument is what: TARGET INPUT, or INPUT when --uri, --host or --db names the target. */
static int check_names(struct import_args *a, const char *const *rest, int rest_count) {
    int at = 0;
    if (target_is_named(&a->target) || (rest_count > 0 && is_uri(rest[0]))) {
        if (!target_is_named(&a->target)) a->target.target = rest[at++];
    } else if (rest_count == 2 || (rest_count == 1 && a->file != NULL)) {
        a->target.target = rest[at++];
    } else if (a->db != NULL) { /* --db alone names the file, as elsewhere */
        a->target.target = a->db;
        a->db = NULL;
    }
    if (at < rest_count && a->file != NULL)
        return usage_error(&sub_import, "the input is named twice: '%s' and '%s'", rest[at], a->file);
    if (at < rest_count) a->file = rest[at++];
    if (at < rest_count) return usage_error(&sub_import, "one argument too many: '%s'", rest[at]);
    bool is_server = target_is_named(&a->target) || (a->target.target != NULL && is_uri(a->target.target));
    if (a->file == NULL && is_server && !is_terminal(STDIN_FILENO)) a->file = "-"; /* as mongoimport */
    if (a->file == NULL) return usage_error(&sub_import, "the file to import is missing ('-' reads standard input)");
    if (a->target.target == NULL && !is_server) return usage_error(&sub_import, "%s is missing", "--db FILE");
    if (a->coll == NULL) return usage_error(&sub_import, "%s is missing", "--collection DB.COLL");
    return 0;
}

static int check_table(struct import *im, const struct import_args *a) {
    bool is_table = im->kind == INPUT_CSV || im->kind == INPUT_TSV;
    const char *of_table = a->header != NULL ? "--headerline"
        : a->fields != NULL                  ? "--fields"
        : a->field_file != NULL              ? "--fieldFile"
        : a->typed != NULL                   ? "--columnsHaveTypes"
        : a->blanks != NULL                  ? "--ignoreBlanks"
        : a->use_arrays != NULL              ? "--useArrayIndexFields"
                                             : NULL;
    if (!is_table && of_table != NULL) return usage_error(&sub_import, "%s needs --type csv or --type tsv", of_table);
    if (is_table && a->array != NULL)
        return usage_error(&sub_import, "--jsonArray does not go with --type %s", a->type);
    int given = (a->header != NULL) + (a->fields != NULL) + (a->field_file != NULL);
    if (is_table && given != 1)
        return usage_error(&sub_import, "--type %s needs one of --headerline, --fields and --fieldFile", a->type);
    if (a->grace != NULL && !parse_grace_of(a->grace, &im->columns.grace))
        return usage_error(&sub_import, "--parseGrace must be autoCast, skipField, skipRow or stop, not '%s'",
                           a->grace);
    return 0;
}

static int check_mode(struct import *im, const struct import_args *a) {
    static const char *const modes[] = {"insert", "upsert", "merge", "delete"};
    int mode = a->upsert != NULL || a->upsert_fields != NULL ? MODE_UPSERT : MODE_INSERT;
    if (a->mode != NULL) {
        for (mode = 0; mode < 4 && strcmp(modes[mode], a->mode) != 0;) mode++;
        if (mode == 4)
            return usage_error(&sub_import, "--mode must be insert, upsert, merge or delete, not '%s'", a->mode);
    }
    if (mode == MODE_INSERT && a->upsert_fields != NULL)
        return usage_error(&sub_import, "--upsertFields does not go with --mode insert");
    im->mode = (enum import_mode) mode;
    return 0;
}

static int import_with(struct import *im, const struct import_args *a) {
    char *db = NULL, *coll = NULL;
    int status = EXIT_ERROR;
    struct target *t = NULL;
    bool is_file = a->target.target != NULL && !is_uri(a->target.target);
    if (is_file && a->db == NULL && !check_namespace(a->coll)) return EXIT_ERROR;
    if (!field_list_read(&im->fields, a->fields, a->field_file)) return EXIT_ERROR;
    if (!field_list_read(&im->upsert_fields, a->upsert_fields != NULL ? a->upsert_fields : "_id", NULL) ||
        !field_list_check(&im->upsert_fields, "--upsertFields") || !input_open(&im->input, a->file))
        return EXIT_ERROR;
    find_kind(im, a->type == NULL);
    t = target_open(&a->target, TARGET_CREATE, "elmo import");
    if (t != NULL && target_namespace(t, a->db, a->coll, &db, &coll))
        status = run_import(im, t, db, coll, a->drop != NULL);
    bson_free(db);
    bson_free(coll);
    batch_release(&im->batch);
    target_close(t);
    return status;
}

static int run_with(struct import *im, struct import_args *a, const char *const *rest, int rest_count) {
    int status = check_names(a, rest, rest_count);
    if (status == 0 && !kind_of(a->type, &im->kind))
        status = usage_error(&sub_import, "--type must be json, jsonl, array, bson, csv or tsv, not '%s'", a->type);
    if (status == 0) status = check_table(im, a);
    if (status == 0) status = check_mode(im, a);
    if (status != 0) return status;
    if (a->keep_going != NULL && (a->stop != NULL || a->order != NULL))
        return usage_error(&sub_import, "--keep-going and %s exclude each other", a->stop != NULL ? a->stop : a->order);
    im->keep_going = a->keep_going != NULL;
    im->acknowledge = a->acknowledge != NULL;
    im->has_header = a->header != NULL;
    im->is_typed = a->typed != NULL;
    im->columns.ignore_blanks = a->blanks != NULL;
    im->columns.use_arrays = a->use_arrays != NULL;
    im->batch.bypass_validation = a->bypass != NULL;
    status = import_with(im, a);
    columns_release(&im->columns);
    csv_row_release(&im->row);
    field_list_release(&im->fields);
    field_list_release(&im->upsert_fields);
    if (im->input.text != NULL) input_close(&im->input);
    return status;
}

static int run(int argc, char **argv) {
    struct import *im = bson_malloc0(sizeof(*im));
    struct import_args a = {0};
    const char *rest[2];
    int rest_count;
    const struct option_row rows[] = {
        {"--db|-d", "FILE",
         "the database file (made when missing); the database's name when the file or server is named otherwise",
         &a.db},
        {"--collection|-c", "DB.COLL", "where the documents go", &a.coll},
        {"--file", "INPUT", "what to import; - is standard input; gzip is found out", &a.file},
        {"--type", "TYPE", "json, csv, tsv, bson, jsonl or array (default: by the name and the first byte)", &a.type},
        {"--keep-going", NULL, "skip and count bad documents instead of stopping", &a.keep_going},
        {"--stopOnError", NULL, "stop at the first bad document (as without it)", &a.stop},
        {"--acknowledge", NULL, "print the number of documents that are safely stored after each batch",
         &a.acknowledge},
        {"--drop", NULL, "drop the collection first", &a.drop},
        {"--mode", "MODE", "insert (default), upsert, merge or delete", &a.mode},
        {"--upsertFields", "A,B.C", "the fields that tell which document is meant (default _id)", &a.upsert_fields},
        {"--upsert", NULL, NULL, &a.upsert},
        {"--headerline", NULL, "csv, tsv: the first line has the names", &a.header},
        {"--fields|-f", "A,B.C", "csv, tsv: the names", &a.fields},
        {"--fieldFile", "FILE", "csv, tsv: the names, one a line", &a.field_file},
        {"--columnsHaveTypes", NULL,
         "names are NAME.TYPE(ARGUMENT): auto boolean int32 int64 double decimal string date date_ms date_oracle "
         "binary",
         &a.typed},
        {"--parseGrace", "WHAT", "of values not of their type: stop (default), autoCast, skipField, skipRow", &a.grace},
        {"--ignoreBlanks", NULL, "csv, tsv: leave empty fields out", &a.blanks},
        {"--useArrayIndexFields", NULL, "csv, tsv: a.0, a.1 make an array", &a.use_arrays},
        {"--jsonArray", NULL, NULL, &a.array}, /* found out */
        {"--legacy", NULL, NULL, &a.target.ignored},
        {"--maintainInsertionOrder", NULL, NULL, &a.order},
        {"--numInsertionWorkers|-j", "N", NULL, &a.target.ignored},
        {"--batchSize", "N", NULL, &a.target.ignored},
        {"--writeConcern", "DOC", NULL, &a.target.ignored},
        {"--bypassDocumentValidation", NULL, "do not ask the collection's validator", &a.bypass},
        {"--sync", "MODE", "of a file: full (default), normal or off", &a.target.sync},
        TARGET_OPTIONS(&a.target),
    };
    int status = args_parse(&sub_import, argc, argv, rows, OPTION_COUNT(rows), rest, 2, &rest_count);
    if (status == 0) status = run_with(im, &a, rest, rest_count);
    bson_free(im);
    return status;
}

const struct subcommand sub_import = {"import", "import FILE --db F --collection DB.COLL",
                                      "import JSON, CSV, TSV or BSON", run};
