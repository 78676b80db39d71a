/* elmo import: documents from JSON lines, a JSON array or BSON into a collection.
 *
 * The input is one run of bytes (a mapped file, or all of standard input). Documents go in batches; a batch is one insert_many and so one sync.
 * A bad document is told with its line (or byte offset in BSON); --keep-going skips and counts it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"

#define BATCH_COUNT 1000
#define BATCH_BYTES ((size_t) 4 * 1024 * 1024)

enum input_kind { INPUT_LINES, INPUT_ARRAY, INPUT_BSON };

struct import {
    const char *file;
    const char *text;
    size_t len, at;
    size_t line, counted_to; /* `line` is that of byte counted_to, from 1 */
    enum input_kind kind;
    bool keep_going, acknowledge, is_mapped, array_started, array_ended;
    elmo_collection_t *collection;
    bson_t batch[BATCH_COUNT];
    size_t places[BATCH_COUNT]; /* line, or offset in BSON */
    size_t batch_count, batch_bytes;
    int64_t inserted, skipped;
    struct progress progress;
};

static size_t line_of(struct import *im, size_t at) {
    for (; im->counted_to < at && im->counted_to < im->len; im->counted_to++)
        im->line += im->text[im->counted_to] == '\n';
    return im->line;
}

/* False when the import must stop. */
static bool report(struct import *im, size_t place, const char *message) {
    fprintf(stderr, "%s%s:%s%zu: %s\n", im->progress.is_on ? "\r\033[K" : "", im->file,
            im->kind == INPUT_BSON ? " byte " : "", place, message);
    im->skipped++;
    return im->keep_going;
}

static bool report_write_errors(struct import *im, const bson_t *reply, const bson_error_t *error) {
    bson_iter_t it, sub, row;
    if (!bson_iter_init_find(&it, reply, "writeErrors") || !bson_iter_recurse(&it, &sub)) {
        (void) complain_of(error);
        return false;
    }
    bool go_on = true;
    while (bson_iter_next(&sub) && go_on) {
        int64_t index = -1;
        const char *message = "";
        if (bson_iter_recurse(&sub, &row) && bson_iter_find(&row, "index")) index = bson_iter_as_int64(&row);
        if (bson_iter_recurse(&sub, &row) && bson_iter_find(&row, "errmsg") && BSON_ITER_HOLDS_UTF8(&row))
            message = bson_iter_utf8(&row, NULL);
        if (index >= 0 && (size_t) index < im->batch_count) go_on = report(im, im->places[index], message);
    }
    return go_on;
}

static bool flush_batch(struct import *im) {
    bson_error_t error;
    bson_t reply, opts = BSON_INITIALIZER;
    bool go_on = true;
    if (im->batch_count == 0) return true;
    BSON_APPEND_BOOL(&opts, "ordered", !im->keep_going);
    bson_iter_t it;
    const bson_t *docs[BATCH_COUNT];
    for (size_t i = 0; i < im->batch_count; i++) docs[i] = &im->batch[i];
    bool ok = elmo_collection_insert_many(im->collection, docs, im->batch_count, &opts, &reply, &error);
    if (bson_iter_init_find(&it, &reply, "insertedCount")) im->inserted += bson_iter_as_int64(&it);
    if (im->acknowledge) {
        printf("%lld\n", (long long) im->inserted);
        fflush(stdout);
    }
    if (!ok) go_on = report_write_errors(im, &reply, &error);
    for (size_t i = 0; i < im->batch_count; i++) bson_destroy(&im->batch[i]);
    im->batch_count = 0;
    im->batch_bytes = 0;
    bson_destroy(&reply);
    bson_destroy(&opts);
    return go_on;
}

/* The document stands in batch[batch_count]. */
static bool add(struct import *im, size_t place) {
    im->batch_bytes += im->batch[im->batch_count].len;
    im->places[im->batch_count++] = place;
    if (im->batch_count < BATCH_COUNT && im->batch_bytes < BATCH_BYTES) return true;
    bool go_on = flush_batch(im);
    progress_show(&im->progress, (double) im->at / (double) im->len, im->inserted);
    return go_on;
}

static void skip_space(struct import *im) {
    while (im->at < im->len && strchr(" \t\r\n", im->text[im->at]) != NULL) im->at++;
}

static void skip_line(struct import *im) {
    const char *end = memchr(im->text + im->at, '\n', im->len - im->at);
    im->at = end != NULL ? (size_t) (end - im->text) + 1 : im->len;
}

/* Over a bad element of an array: to the comma or bracket that ends it. A bracket or quote that is never closed takes the rest. */
static void skip_element(struct import *im) {
    int depth = 0;
    for (char quote = 0; im->at < im->len; im->at++) {
        char c = im->text[im->at];
        if (quote != 0) {
            if (c == '\\') im->at++;
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
    if (im->at > im->len) im->at = im->len;
}

/* The line on which the bad document starts. The parser counts lines from there: the message tells the line in the file. */
static size_t place_of_error(struct import *im, size_t start, char *message) {
    size_t line = 1, base = line_of(im, start);
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
    *failed = false;
    skip_space(im);
    if (!im->array_started) {
        im->at++; /* '[' was seen by detect_kind */
        im->array_started = true;
    } else if (im->at < im->len && im->text[im->at] == ',') {
        im->at++;
    }
    skip_space(im);
    if (im->at < im->len && im->text[im->at] == ']') {
        im->at++;
        im->array_ended = true;
        skip_space(im);
        *failed = im->at < im->len && !report(im, line_of(im, im->at), "text after the array's end");
        return false;
    }
    if (im->at < im->len) return true;
    *failed = !report(im, line_of(im, im->at), "the array does not end: ']' is missing");
    return false;
}

static bool import_json(struct import *im) {
    bool failed = false;
    for (;;) {
        skip_space(im);
        if (im->kind == INPUT_ARRAY && !next_in_array(im, &failed)) return !failed;
        if (im->at >= im->len) return true;
        bson_error_t error;
        size_t used = 0, start = im->at;
        bson_t *doc = &im->batch[im->batch_count];
        if (elmo_json_parse(im->text + im->at, (ssize_t) (im->len - im->at), doc, NULL, &used, &error)) {
            im->at += used;
            if (!add(im, line_of(im, start))) return false;
            continue;
        }
        bson_destroy(doc);
        if (!flush_batch(im)) return false; /* what stands before the bad line is in */
        size_t place = place_of_error(im, start, error.message);
        if (!report(im, place, error.message)) return false;
        if (im->kind == INPUT_ARRAY) skip_element(im);
        else skip_line(im);
    }
}

static bool import_bson(struct import *im) {
    while (im->at < im->len) {
        uint32_t len = 0;
        if (im->len - im->at >= 4) memcpy(&len, im->text + im->at, 4);
        bson_t *view = &im->batch[im->batch_count]; /* over the file's own bytes */
        if (len < 5 || len > im->len - im->at || !bson_init_static(view, (const uint8_t *) im->text + im->at, len)) {
            if (!flush_batch(im)) return false;
            (void) report(im, im->at, "this is not a BSON document; the rest of the file cannot be read");
            return im->keep_going;
        }
        size_t place = im->at;
        im->at += len;
        if (!add(im, place)) return false;
    }
    return true;
}

static bool read_all(int fd, struct import *im) {
    size_t cap = 1 << 16;
    char *text = malloc(cap);
    ssize_t n;
    im->len = 0;
    while (text != NULL && (n = read(fd, text + im->len, cap - im->len)) != 0) {
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) break;
        im->len += (size_t) n;
        if (im->len < cap) continue;
        char *more = realloc(text, cap *= 2);
        if (more == NULL) free(text);
        text = more;
    }
    im->text = text;
    return text != NULL;
}

static bool open_input(struct import *im) {
    struct stat st;
    int fd = strcmp(im->file, "-") == 0 ? STDIN_FILENO : open(im->file, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        (void) complain("cannot read '%s': %s", im->file, strerror(errno));
        return false;
    }
    if (S_ISREG(st.st_mode) && st.st_size > 0) {
        void *p = mmap(NULL, (size_t) st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        im->is_mapped = p != MAP_FAILED;
        im->text = im->is_mapped ? p : NULL;
        im->len = (size_t) st.st_size;
    }
    bool ok = im->is_mapped || (S_ISDIR(st.st_mode) ? (errno = EISDIR, false) : read_all(fd, im));
    if (!ok) (void) complain("cannot read '%s': %s", im->file, strerror(errno));
    if (fd != STDIN_FILENO) (void) close(fd);
    return ok;
}

static void close_input(struct import *im) {
    if (im->text == NULL) return;
    union {
        const char *p;
        void *free;
    } text = {.p = im->text}; /* mapped, or malloc'ed by read_all */
    if (im->is_mapped) (void) munmap(text.free, im->len);
    else free(text.free);
}

/* Behind the mark that some editors put before UTF-8. */
static void skip_mark(struct import *im) {
    if (im->len >= 3 && memcmp(im->text, "\xEF\xBB\xBF", 3) == 0) im->at = 3;
}

static bool detect_kind(struct import *im, const char *type) {
    static const char *const names[] = {"jsonl", "array", "bson"};
    if (type != NULL) {
        for (int i = 0; i < 3; i++) {
            if (strcmp(type, names[i]) == 0) {
                im->kind = (enum input_kind) i;
                return true;
            }
        }
        return false;
    }
    size_t n = strlen(im->file), at = im->at;
    while (at < im->len && strchr(" \t\r\n", im->text[at]) != NULL) at++;
    if (n > 5 && strcmp(im->file + n - 5, ".bson") == 0) im->kind = INPUT_BSON;
    else im->kind = at < im->len && im->text[at] == '[' ? INPUT_ARRAY : INPUT_LINES;
    return true;
}

static int run_import(struct import *im, const char *db_path, const char *ns, const char *sync, bool drop) {
    bson_error_t error;
    int status = EXIT_ERROR;
    elmo_t *db = open_db(db_path, false, true, sync);
    if (db == NULL) return EXIT_ERROR;
    im->collection = open_collection(db, ns);
    if (im->collection == NULL) goto out;
    if (drop && !elmo_collection_drop(im->collection, &error)) {
        (void) complain_of(&error);
        goto out;
    }
    progress_start(&im->progress, "importing");
    bool ok = im->kind == INPUT_BSON ? import_bson(im) : import_json(im);
    ok = flush_batch(im) && ok;
    progress_end(&im->progress);
    double seconds = now_seconds() - im->progress.started;
    fprintf(stderr, "%s document%s imported into %s in %.2f s", with_commas(im->inserted), im->inserted == 1 ? "" : "s",
            ns, seconds);
    if (im->skipped != 0)
        fprintf(stderr, ", %s %s", with_commas(im->skipped),
                im->keep_going ? "skipped" : "bad; stopped there (--keep-going skips bad ones)");
    fputc('\n', stderr);
    status = ok ? 0 : EXIT_ERROR;
out:
    elmo_collection_destroy(im->collection);
    elmo_close(db);
    return status;
}

static int run(int argc, char **argv) {
    const char *db = NULL, *ns = NULL, *type = NULL, *keep_going = NULL, *acknowledge = NULL, *drop = NULL,
               *sync = NULL, *rest[1];
    int rest_count;
    const struct option_row rows[] = {
        {"--db", "FILE", "the database file (made when missing)", &db},
        {"--collection", "DB.COLL", "where the documents go", &ns},
        {"--type", "TYPE", "jsonl, array or bson (default: by the name and the first byte)", &type},
        {"--keep-going", NULL, "skip and count bad documents instead of stopping", &keep_going},
        {"--acknowledge", NULL, "print the number of documents that are safely stored after each batch", &acknowledge},
        {"--drop", NULL, "drop the collection first", &drop},
        {"--sync", "MODE", "full (default), normal or off", &sync},
    };
    int status = args_parse(&sub_import, argc, argv, rows, 7, rest, 1, &rest_count);
    if (status != 0) return status;
    if (rest_count == 0) return usage_error(&sub_import, "the file to import is missing ('-' reads standard input)");
    if (db == NULL || ns == NULL)
        return usage_error(&sub_import, "%s is missing", db == NULL ? "--db FILE" : "--collection DB.COLL");
    struct import im = {.file = rest[0],
                        .line = 1,
                        .keep_going = keep_going != NULL,
                        .acknowledge = acknowledge != NULL};
    if (!check_namespace(ns) || !open_input(&im)) return EXIT_ERROR;
    skip_mark(&im);
    if (!detect_kind(&im, type)) {
        close_input(&im);
        return usage_error(&sub_import, "--type must be jsonl, array or bson, not '%s'", type);
    }
    status = run_import(&im, db, ns, sync, drop != NULL);
    close_input(&im);
    return status;
}

const struct subcommand sub_import = {"import", "import FILE --db F --collection DB.COLL",
                                      "import JSON lines, a JSON array or BSON", run};
