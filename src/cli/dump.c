/* elmo dump: databases as mongodump writes them, into a folder or an archive.
 *
 *   OUT/prelude.json                    {"ServerVersion":"...","ToolVersion":"..."}
 *   OUT/DB/COLLECTION.bson              the documents end to end
 *   OUT/DB/COLLECTION.metadata.json     options, indexes, uuid
 *
 * with ".gz" behind each name when it is compressed, or one archive (archive.h).
 *
 * What it guarantees: of a file everything comes from one state, since nobody writes to a file that is open for reading. Of a server each collection comes
 * from its own cursor. A file of the dump has its name only when it is whole. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "archive.h"
#include "dump_files.h"
#include "namespaces.h"
#include "target.h"

struct entry {
    char *db, *coll, *type, *uuid;
    bson_t options;
    struct text metadata;
    int64_t count; /* as the server estimates it; < 0: unknown */
    bool is_gone;
};

struct dump {
    struct target *target;
    struct ns_filter filter;
    const char *out, *archive, *db, *coll;
    bson_t query;
    bool gzip, quiet;
    char *server_version;
    struct entry *entries;
    size_t entry_count, entry_cap;
    struct crc64 *crc;
    int64_t documents, bytes;
    struct progress progress;
};

/* ---- what there is ---- */

/* Collections that belong to the server's own working, as mongodump leaves them out. */
static bool is_internal(const char *db, const char *coll) {
    static const char *const config[] = {"transactions",       "system.sessions",  "transaction_coordinators",
                                         "system.indexBuilds", "image_collection", "mongos",
                                         "system.preimages"};
    if (strcmp(db, "admin") == 0) return strcmp(coll, "system.keys") == 0;
    if (strcmp(db, "config") == 0) {
        for (size_t i = 0; i < sizeof(config) / sizeof(config[0]); i++)
            if (strcmp(coll, config[i]) == 0) return true;
        return strncmp(coll, "cache.", 6) == 0;
    }
    if (strcmp(coll, "system.js") == 0) return false;
    return strncmp(coll, "system.", 7) == 0 || (strchr(coll, '$') != NULL && strstr(coll, ".oplog.$") == NULL);
}

static const char *string_of(const bson_t *doc, const char *path) {
    bson_iter_t it, found;
    return bson_iter_init(&it, doc) && bson_iter_find_descendant(&it, path, &found) && BSON_ITER_HOLDS_UTF8(&found)
        ? bson_iter_utf8(&found, NULL)
        : "";
}

static char *uuid_of(const bson_t *row) {
    bson_iter_t it, found;
    bson_subtype_t subtype;
    uint32_t len;
    const uint8_t *p;
    struct text hex = {0};
    text_append(&hex, "", 0);
    if (bson_iter_init(&it, row) && bson_iter_find_descendant(&it, "info.uuid", &found) &&
        BSON_ITER_HOLDS_BINARY(&found)) {
        bson_iter_binary(&found, &subtype, &len, &p);
        for (uint32_t i = 0; i < len; i++) text_printf(&hex, "%02x", p[i]);
    }
    return hex.p;
}

static void add_entry(struct dump *d, const char *db, const bson_t *row) {
    bson_iter_t it;
    uint32_t len;
    const uint8_t *p;
    bson_t view;
    if (d->entry_count == d->entry_cap) {
        d->entry_cap = d->entry_cap == 0 ? 64 : d->entry_cap * 2;
        d->entries = bson_realloc(d->entries, d->entry_cap * sizeof(*d->entries));
    }
    struct entry *e = &d->entries[d->entry_count++];
    *e = (struct entry){.db = bson_strdup(db),
                        .coll = bson_strdup(string_of(row, "name")),
                        .uuid = uuid_of(row),
                        .count = -1};
    e->type = bson_strdup(string_of(row, "type"));
    bson_init(&e->options);
    if (!bson_iter_init_find(&it, row, "options") || !BSON_ITER_HOLDS_DOCUMENT(&it)) return;
    bson_iter_document(&it, &len, &p);
    if (bson_init_static(&view, p, len)) (void) bson_concat(&e->options, &view);
}

static void free_entries(struct dump *d) {
    for (size_t i = 0; i < d->entry_count; i++) {
        struct entry *e = &d->entries[i];
        bson_free(e->db);
        bson_free(e->coll);
        bson_free(e->type);
        bson_free(e->uuid);
        bson_destroy(&e->options);
        text_release(&e->metadata);
    }
    bson_free(d->entries);
}

static bool list_collections(struct dump *d, const char *db) {
    bson_t command = BSON_INITIALIZER;
    bson_error_t error;
    const bson_t *row;
    struct rows rows;
    if (!is_safe_folder(db)) return complain("the database '%s' has a name that cannot be a folder", db), false;
    BSON_APPEND_INT32(&command, "listCollections", 1);
    bool ok = rows_open(&rows, d->target, db, &command, &error);
    bson_destroy(&command);
    if (!ok) return complain_of(&error), false;
    while (rows_next(&rows, &row)) {
        const char *coll = string_of(row, "name");
        if (d->coll != NULL ? strcmp(coll, d->coll) != 0 : is_internal(db, coll)) continue;
        if (ns_filter_takes(&d->filter, db, coll)) add_entry(d, db, row);
    }
    ok = !rows_failed(&rows, &error);
    rows_close(&rows);
    if (!ok) (void) complain_of(&error);
    return ok;
}

static bool list_all(struct dump *d) {
    bson_t command = BSON_INITIALIZER, reply;
    bson_error_t error;
    bson_iter_t it, rows, row;
    BSON_APPEND_INT32(&command, "listDatabases", 1);
    BSON_APPEND_BOOL(&command, "nameOnly", true);
    bool ok = target_command(d->target, "admin", &command, &reply, &error);
    bson_destroy(&command);
    if (!ok) (void) complain_of(&error);
    if (ok && bson_iter_init_find(&it, &reply, "databases") && bson_iter_recurse(&it, &rows)) {
        while (ok && bson_iter_next(&rows)) {
            if (!bson_iter_recurse(&rows, &row) || !bson_iter_find(&row, "name") || !BSON_ITER_HOLDS_UTF8(&row))
                continue;
            const char *db = bson_iter_utf8(&row, NULL);
            if (strcmp(db, "local") != 0 && strcmp(db, "config") != 0) ok = list_collections(d, db);
        }
    }
    bson_destroy(&reply);
    return ok;
}

static void ask_version(struct dump *d) {
    bson_t command = BSON_INITIALIZER, reply;
    BSON_APPEND_INT32(&command, "buildInfo", 1);
    bool ok = target_command(d->target, "admin", &command, &reply, NULL);
    d->server_version = bson_strdup(ok ? string_of(&reply, "version") : "");
    bson_destroy(&command);
    bson_destroy(&reply);
}

/* For the progress bar. */
static void ask_count(struct dump *d, struct entry *e) {
    bson_t command = BSON_INITIALIZER, reply;
    bson_iter_t it;
    BSON_APPEND_UTF8(&command, "count", e->coll);
    if (target_command(d->target, e->db, &command, &reply, NULL) && bson_iter_init_find(&it, &reply, "n"))
        e->count = bson_iter_as_int64(&it);
    bson_destroy(&command);
    bson_destroy(&reply);
}

static bool is_view(const struct entry *e) { return strcmp(e->type, "view") == 0; }

/* The collection's indexes as an array, then its metadata.json as text. */
static bool describe(struct dump *d, struct entry *e) {
    bson_t command = BSON_INITIALIZER, indexes = BSON_INITIALIZER;
    bson_error_t error = {0};
    const bson_t *row;
    struct rows rows;
    char buf[16];
    const char *key;
    uint32_t n = 0;
    BSON_APPEND_UTF8(&command, "listIndexes", e->coll);
    bool ok = is_view(e) || rows_open(&rows, d->target, e->db, &command, &error);
    if (ok && !is_view(e)) {
        while (rows_next(&rows, &row)) {
            size_t len = bson_uint32_to_string(n++, &key, buf, sizeof(buf));
            (void) bson_append_document(&indexes, key, (int) len, row);
        }
        ok = !rows_failed(&rows, &error);
        rows_close(&rows);
    }
    if (!ok && error.code == 26) {
        fprintf(stderr, "%s.%s was dropped meanwhile and is left out\n", e->db, e->coll);
        e->is_gone = ok = true;
    } else if (!ok) {
        (void) complain("%s.%s: %s", e->db, e->coll, error.message);
    } else if (!metadata_write(&e->metadata, &e->options, &indexes, e->uuid, e->coll, e->type)) {
        ok = (complain("%s.%s: its options or indexes cannot be written as JSON", e->db, e->coll), false);
    }
    bson_destroy(&command);
    bson_destroy(&indexes);
    return ok;
}

/* ---- writing ---- */

/* All documents to `out`; *crc (may be NULL) is their checksum. */
static bool write_documents(struct dump *d, const struct entry *e, struct stream_out *out, uint64_t *crc) {
    bson_t command = BSON_INITIALIZER;
    bson_error_t error;
    const bson_t *doc;
    struct rows rows;
    int64_t n = 0;
    BSON_APPEND_UTF8(&command, "find", e->coll);
    if (!bson_empty(&d->query)) BSON_APPEND_DOCUMENT(&command, "filter", &d->query);
    if (!target_is_file(d->target)) BSON_APPEND_BOOL(&command, "noCursorTimeout", true);
    bool ok = rows_open(&rows, d->target, e->db, &command, &error);
    bson_destroy(&command);
    if (!ok) return complain("%s.%s: %s", e->db, e->coll, error.message), false;
    progress_start(&d->progress, e->coll);
    while (ok && rows_next(&rows, &doc)) {
        ok = stream_out_write(out, bson_get_data(doc), doc->len);
        if (crc != NULL) *crc = crc64_add(d->crc, *crc, bson_get_data(doc), doc->len);
        if ((++n & 0xff) == 0) progress_show(&d->progress, e->count > 0 ? (double) n / (double) e->count : 0, n);
        d->bytes += doc->len;
    }
    progress_end(&d->progress);
    if (ok && rows_failed(&rows, &error)) ok = (complain("%s.%s: %s", e->db, e->coll, error.message), false);
    rows_close(&rows);
    if (!ok) return false;
    d->documents += n;
    if (!d->quiet) fprintf(stderr, "%s.%s: %s document%s\n", e->db, e->coll, with_commas(n), n == 1 ? "" : "s");
    return true;
}

static bool make_folder(const char *path) {
    if (mkdir(path, 0777) == 0 || errno == EEXIST) return true;
    (void) complain("cannot make the folder '%s': %s", path, strerror(errno));
    return false;
}

static bool write_file(const char *path, bool gzip, const char *text, size_t len) {
    struct stream_out out;
    if (!stream_out_open(&out, path, gzip)) return false;
    if (stream_out_write(&out, text, len)) return stream_out_commit(&out);
    stream_out_abort(&out);
    return false;
}

static bool write_entry(struct dump *d, const struct entry *e) {
    struct stream_out out;
    const char *gz = d->gzip ? ".gz" : "";
    char *name = dump_file_name(e->coll);
    char *meta = bson_strdup_printf("%s/%s/%s.metadata.json%s", d->out, e->db, name, gz);
    char *data = bson_strdup_printf("%s/%s/%s.bson%s", d->out, e->db, name, gz);
    char *folder = bson_strdup_printf("%s/%s", d->out, e->db);
    bool ok = make_folder(folder) && write_file(meta, d->gzip, e->metadata.p, e->metadata.len);
    if (ok && !is_view(e)) {
        ok = stream_out_open(&out, data, d->gzip);
        if (ok) ok = write_documents(d, e, &out, NULL) ? stream_out_commit(&out) : (stream_out_abort(&out), false);
    }
    bson_free(name);
    bson_free(meta);
    bson_free(data);
    bson_free(folder);
    return ok;
}

/* Beside the database's files when there is but one database, as mongodump does. */
static bool write_prelude(struct dump *d) {
    bson_t doc = BSON_INITIALIZER;
    struct text json = {0};
    const char *gz = d->gzip ? ".gz" : "";
    BSON_APPEND_UTF8(&doc, "ServerVersion", d->server_version);
    BSON_APPEND_UTF8(&doc, "ToolVersion", elmo_version());
    (void) json_append(&json, &doc, false, JSON_CANONICAL);
    char *path = d->db != NULL ? bson_strdup_printf("%s/%s/prelude.json%s", d->out, d->db, gz)
                               : bson_strdup_printf("%s/prelude.json%s", d->out, gz);
    bool ok = write_file(path, d->gzip, json.p, json.len);
    bson_free(path);
    text_release(&json);
    bson_destroy(&doc);
    return ok;
}

static bool dump_to_folder(struct dump *d) {
    if (!make_folder(d->out)) return false;
    if (d->db != NULL) {
        char *folder = bson_strdup_printf("%s/%s", d->out, d->db);
        bool ok = make_folder(folder);
        bson_free(folder);
        if (!ok) return false;
    }
    for (size_t i = 0; i < d->entry_count; i++)
        if (!d->entries[i].is_gone && !write_entry(d, &d->entries[i])) return false;
    return write_prelude(d);
}

static bool write_archive(struct dump *d, struct stream_out *out) {
    bool ok = archive_write_head(out, d->server_version, elmo_version());
    for (size_t i = 0; ok && i < d->entry_count; i++) {
        struct entry *e = &d->entries[i];
        if (!e->is_gone && e->metadata.len + strlen(e->coll) + 200 > DOCUMENT_BYTES_MAX)
            return complain("%s.%s: its options and indexes do not fit into an archive", e->db, e->coll), false;
        ok = e->is_gone || archive_write_metadata(out, e->db, e->coll, e->metadata.p, e->type);
    }
    ok = ok && archive_write_end_mark(out);
    for (size_t i = 0; ok && i < d->entry_count; i++) {
        struct entry *e = &d->entries[i];
        uint64_t crc = 0;
        if (e->is_gone) continue;
        ok = archive_write_begin(out, e->db, e->coll) && (is_view(e) || write_documents(d, e, out, &crc)) &&
            archive_write_close(out, e->db, e->coll, crc);
    }
    return ok;
}

static bool dump_to_archive(struct dump *d) {
    struct stream_out out;
    struct stat st;
    char *path = stat(d->archive, &st) == 0 && S_ISDIR(st.st_mode)
        ? bson_strdup_printf("%s/archive%s", d->archive, d->gzip ? ".gz" : "")
        : bson_strdup(d->archive);
    bool ok = stream_out_open(&out, path, d->gzip);
    bson_free(path);
    if (!ok) return false;
    d->crc = bson_malloc(sizeof(*d->crc));
    crc64_init(d->crc);
    ok = write_archive(d, &out) ? stream_out_commit(&out) : (stream_out_abort(&out), false);
    bson_free(d->crc);
    return ok;
}

/* One collection's documents and nothing else. */
static bool dump_to_stdout(struct dump *d) {
    struct stream_out out;
    if (!stream_out_open(&out, "-", d->gzip)) return false;
    return write_documents(d, &d->entries[0], &out, NULL) ? stream_out_commit(&out) : (stream_out_abort(&out), false);
}

static bool run_dump(struct dump *d) {
    if (!(d->db != NULL ? list_collections(d, d->db) : list_all(d))) return false;
    if (d->entry_count == 0 && d->coll != NULL) return complain("there is no collection %s.%s", d->db, d->coll), false;
    if (d->entry_count == 0 && d->db != NULL) fprintf(stderr, "the database %s has no collections\n", d->db);
    ask_version(d);
    for (size_t i = 0; i < d->entry_count; i++) {
        if (!describe(d, &d->entries[i])) return false;
        if (is_terminal(STDERR_FILENO) && !is_view(&d->entries[i])) ask_count(d, &d->entries[i]);
    }
    if (d->archive != NULL) return dump_to_archive(d);
    return strcmp(d->out, "-") == 0 ? dump_to_stdout(d) : dump_to_folder(d);
}

/* ---- the command line ---- */

struct dump_args {
    struct target_args target;
    const char *db, *coll, *out, *archive, *gzip, *query, *query_file, *quiet;
};

static int check_args(struct dump *d, struct dump_args *a) {
    if (a->target.target == NULL && !target_is_named(&a->target)) { /* --db alone names the file, as elsewhere */
        if (a->db == NULL) return usage_error(&sub_dump, "the database file or the server's URI is missing");
        a->target.target = a->db;
        a->db = NULL;
    }
    if (a->archive != NULL && a->out != NULL) return usage_error(&sub_dump, "--out and --archive exclude each other");
    if (a->coll != NULL && a->db == NULL && strchr(a->coll, '.') == NULL)
        return usage_error(&sub_dump, "--collection needs --db, or is DB.COLL");
    if ((a->query != NULL || a->query_file != NULL) && a->coll == NULL)
        return usage_error(&sub_dump, "--query needs --collection");
    if (a->query != NULL && a->query_file != NULL)
        return usage_error(&sub_dump, "--query and --queryFile exclude each other");
    if (a->out != NULL && strcmp(a->out, "-") == 0 && a->coll == NULL)
        return usage_error(&sub_dump, "--out - needs --collection");
    d->out = a->out != NULL ? a->out : "dump";
    d->archive = a->archive;
    d->gzip = a->gzip != NULL;
    d->quiet = a->quiet != NULL;
    return 0;
}

static int dump_with(struct dump *d, struct dump_args *a) {
    char *ns_db = NULL;
    int status = EXIT_ERROR;
    d->target = target_open(&a->target, TARGET_READ, "elmo dump");
    if (d->target == NULL) return EXIT_ERROR;
    if (a->db == NULL && a->coll != NULL) {
        const char *dot = strchr(a->coll, '.');
        ns_db = bson_strndup(a->coll, (size_t) (dot - a->coll));
        a->db = ns_db;
        a->coll = dot + 1;
    }
    d->db = a->db != NULL ? a->db : target_default_db(d->target);
    d->coll = a->coll;
    if (run_dump(d)) {
        status = 0;
        if (!d->quiet)
            fprintf(stderr, "%s document%s of %s dumped from %s\n", with_commas(d->documents),
                    d->documents == 1 ? "" : "s", with_unit(d->bytes), target_name(d->target));
    }
    free_entries(d);
    bson_free(d->server_version);
    bson_free(ns_db);
    target_close(d->target);
    return status;
}

static int run(int argc, char **argv) {
    struct dump *d = bson_malloc0(sizeof(*d));
    struct dump_args a = {0};
    const char *rest[1] = {NULL};
    int rest_count;
    const struct option_row rows[] = {
        {"--db|-d", "NAME", "one database (default: all but local and config)", &a.db},
        {"--collection|-c", "NAME", "one collection of it, or DB.COLL", &a.coll},
        {"--out|-o", "DIR", "the folder to write (default dump); - writes one collection's BSON to standard output",
         &a.out},
        {"--archive", "=FILE", "one archive instead of a folder; to standard output without a FILE", &a.archive},
        {"--gzip", NULL, "compress", &a.gzip},
        {"--query|-q", "DOC", "only the documents of the collection that match", &a.query},
        {"--queryFile", "FILE", "the same, read from a file", &a.query_file},
        {"--nsInclude", "PATTERN...", "only collections whose DB.COLL fits ('*' stands for anything)",
         d->filter.include},
        {"--nsExclude", "PATTERN...", "none whose DB.COLL fits", d->filter.exclude},
        {"--excludeCollection", "NAME...", "not this collection", d->filter.exclude_collections},
        {"--excludeCollectionsWithPrefix", "TEXT...", "no collection that begins so", d->filter.exclude_prefixes},
        {"--quiet", NULL, "say nothing but errors", &a.quiet},
        {"--numParallelCollections|-j", "N", NULL, &a.target.ignored},
        {"--forceTableScan", NULL, NULL, &a.target.ignored},
        TARGET_OPTIONS(&a.target),
    };
    int status = args_parse(&sub_dump, argc, argv, rows, OPTION_COUNT(rows), rest, 1, &rest_count);
    a.target.target = rest[0];
    if (status == 0) status = check_args(d, &a);
    if (status == 0) {
        bool ok = ns_filter_check(&d->filter) &&
            (a.query_file != NULL ? read_document(a.query_file, "--queryFile", &d->query)
                                  : parse_document(a.query, "--query", &d->query));
        status = ok ? dump_with(d, &a) : EXIT_ERROR;
        if (ok) bson_destroy(&d->query);
    }
    bson_free(d);
    return status;
}

const struct subcommand sub_dump = {"dump", "dump FILE|URI [--out DIR | --archive[=FILE]]",
                                    "write databases as mongodump does", run};
