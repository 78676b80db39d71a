/* elmo restore: what mongodump or elmo dump wrote, into a file or a server. See restore.h for the parts. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "restore.h"

/* Failures of documents that are shown for each collection. */
#define TOLD_MAX 20

bool restore_wants(struct restore *r, const char *db, const char *coll) {
    if (!ns_filter_takes(&r->filter, db, coll)) return false;
    bool is_users = strncmp(coll, "$admin.system.", 14) == 0;
    bool is_system = strncmp(coll, "system.", 7) == 0 && strcmp(coll, "system.js") != 0;
    if (!is_users && !is_system) return true;
    if (!r->quiet) fprintf(stderr, "%s.%s is left out: it belongs to the server it was dumped from\n", db, coll);
    return false;
}

static bool tell_failure(void *ctx, uint64_t place, const char *message) {
    struct restore_job *job = ctx;
    if (++job->told <= TOLD_MAX)
        fprintf(stderr, "%s%s: byte %llu: %s\n", job->restore->progress.is_on ? "\r\033[K" : "", job->file,
                (unsigned long long) place, message);
    else if (job->told == TOLD_MAX + 1) fprintf(stderr, "%s: further failures are only counted\n", job->file);
    return !job->restore->stop_on_error;
}

/* ---- before the documents ---- */

static bool drop_collection(struct restore_job *job) {
    bson_t command = BSON_INITIALIZER, reply;
    bson_error_t error;
    BSON_APPEND_UTF8(&command, "drop", job->coll);
    bool ok = target_command(job->restore->target, job->db, &command, &reply, &error) || error.code == 26;
    if (!ok) (void) complain("%s.%s cannot be dropped: %s", job->db, job->coll, error.message);
    bson_destroy(&command);
    bson_destroy(&reply);
    return ok;
}

static void append_options(bson_t *command, const bson_t *options) {
    bson_iter_t it;
    if (!bson_iter_init(&it, options)) return;
    while (bson_iter_next(&it)) {
        const char *key = bson_iter_key(&it);
        if (strcmp(key, "autoIndexId") != 0 && strcmp(key, "create") != 0)
            (void) bson_append_iter(command, key, -1, &it);
    }
}

/* A collection that is there already is filled as it is. */
static bool create_collection(struct restore_job *job) {
    struct restore *r = job->restore;
    bson_t command = BSON_INITIALIZER, reply;
    bson_error_t error;
    BSON_APPEND_UTF8(&command, "create", job->coll);
    if (job->meta.has_options && !r->no_options) append_options(&command, &job->meta.options);
    bool ok = target_command(r->target, job->db, &command, &reply, &error);
    if (!ok && error.code == 48 && !job->is_view) {
        ok = true;
    } else if (!ok) {
        (void) complain("%s.%s cannot be made: %s%s", job->db, job->coll, error.message,
                        job->meta.has_options && !bson_empty(&job->meta.options) && !r->no_options && !job->is_view
                            ? " (--noOptionsRestore makes it without its options)"
                            : "");
    }
    bson_destroy(&command);
    bson_destroy(&reply);
    return ok;
}

bool restore_begin(struct restore *r, struct restore_job *job, const char *db, const char *coll, const char *metadata,
                   size_t metadata_len, const char *file) {
    *job = (struct restore_job){.restore = r, .file = file, .from = bson_strdup_printf("%s.%s", db, coll)};
    char *ns = ns_filter_rename(&r->filter, job->from), *dot = strchr(ns, '.');
    bool ok = metadata_read(&job->meta, metadata, metadata_len, job->from);
    if (ok && (dot == NULL || dot == ns || dot[1] == '\0'))
        ok = (complain("%s would be renamed to '%s', which is no namespace", job->from, ns), false);
    if (ok) {
        job->db = bson_strndup(ns, (size_t) (dot - ns));
        job->coll = bson_strdup(dot + 1);
        job->is_view = job->meta.type != NULL && strcmp(job->meta.type, "view") == 0;
        batch_init(&job->batch, r->target, job->db, job->coll, BATCH_INSERT, r->stop_on_error || r->keep_order);
        job->batch.bypass_validation = r->bypass_validation;
        job->batch.failed = tell_failure;
        job->batch.ctx = job;
        if (!r->dry_run) ok = (!r->drop || drop_collection(job)) && create_collection(job);
    }
    bson_free(ns);
    if (ok) return true;
    r->is_broken = true;
    restore_job_release(job);
    return false;
}

/* ---- the documents ---- */

bool restore_document(struct restore_job *job, const bson_t *doc, uint64_t place) {
    if (!job->restore->dry_run) return batch_add(&job->batch, doc, place);
    size_t at;
    job->batch.done++;
    if (bson_validate(doc, BSON_VALIDATE_NONE, &at)) return true;
    job->batch.done--;
    job->batch.failures++;
    return tell_failure(job, place, "the document is damaged");
}

bool restore_flush(struct restore_job *job) { return job->restore->dry_run || batch_flush(&job->batch); }

/* ---- after them ---- */

static bool is_named(const bson_t *index, const char *name) {
    bson_iter_t it;
    return bson_iter_init_find(&it, index, "name") && BSON_ITER_HOLDS_UTF8(&it) &&
        strcmp(bson_iter_utf8(&it, NULL), name) == 0;
}

static bool is_id_index(const bson_t *index) {
    bson_iter_t it, key;
    return is_named(index, "_id_") ||
        (bson_iter_init_find(&it, index, "key") && BSON_ITER_HOLDS_DOCUMENT(&it) && bson_iter_recurse(&it, &key) &&
         bson_iter_next(&key) && strcmp(bson_iter_key(&key), "_id") == 0 && !BSON_ITER_HOLDS_UTF8(&key) &&
         !bson_iter_next(&key));
}

/* Appends the specification to the array, without what the server chooses by itself. */
static void append_index(const struct restore *r, bson_t *array, uint32_t i, const bson_t *index) {
    bson_t spec;
    bson_iter_t it;
    char buf[16];
    const char *key;
    size_t len = bson_uint32_to_string(i, &key, buf, sizeof(buf));
    bson_append_document_begin(array, key, (int) len, &spec);
    if (bson_iter_init(&it, index)) {
        while (bson_iter_next(&it)) {
            const char *name = bson_iter_key(&it);
            if (strcmp(name, "ns") == 0 || strcmp(name, "background") == 0) continue;
            if (strcmp(name, "v") == 0 && !r->keep_index_version) continue;
            (void) bson_append_iter(&spec, name, -1, &it);
        }
    }
    bson_append_document_end(array, &spec);
}

/* Builds index `only`, or all when it is < 0. *count: how many there are. */
static bool create_indexes(struct restore_job *job, int64_t only, int64_t *count, bson_error_t *error) {
    bson_t command = BSON_INITIALIZER, array, reply, index;
    bson_iter_t it;
    uint32_t len, n = 0;
    const uint8_t *p;
    bool ok = true;
    *count = 0;
    BSON_APPEND_UTF8(&command, "createIndexes", job->coll);
    bson_append_array_begin(&command, "indexes", -1, &array);
    for (bool more = bson_iter_init(&it, &job->meta.indexes); more && bson_iter_next(&it);) {
        if (!BSON_ITER_HOLDS_DOCUMENT(&it)) continue;
        bson_iter_document(&it, &len, &p);
        if (!bson_init_static(&index, p, len) || is_id_index(&index)) continue;
        if (only < 0 || only == *count) append_index(job->restore, &array, n++, &index);
        ++*count;
    }
    bson_append_array_end(&command, &array);
    if (n > 0) {
        ok = target_command(job->restore->target, job->db, &command, &reply, error);
        bson_destroy(&reply);
    }
    bson_destroy(&command);
    return ok;
}

/* All in one pass over the documents; when that fails one by one, so that only those are missing that cannot be. */
static bool restore_indexes(struct restore_job *job) {
    bson_error_t error;
    int64_t count, ignored;
    bool all = true;
    if (create_indexes(job, -1, &count, &error)) {
        if (count > 0 && !job->restore->quiet)
            fprintf(stderr, "%s.%s: %lld index%s built\n", job->db, job->coll, (long long) count,
                    count == 1 ? "" : "es");
        return true;
    }
    for (int64_t i = 0; i < count; i++) {
        if (create_indexes(job, i, &ignored, &error)) continue;
        (void) complain("%s.%s: an index cannot be built: %s", job->db, job->coll, error.message);
        all = false;
    }
    return all;
}

bool restore_finish(struct restore_job *job, bool is_whole) {
    struct restore *r = job->restore;
    bool ok = restore_flush(job);
    if (job->batch.failures > 0) r->is_broken = true;
    r->documents += job->batch.done;
    r->failures += job->batch.failures;
    r->collections++;
    if (!is_whole || !ok) r->is_broken = true;
    if (!r->quiet && !job->is_view) {
        bool renamed = strncmp(job->from, job->db, strlen(job->db)) != 0 ||
            strcmp(job->from + strlen(job->db) + 1, job->coll) != 0;
        fprintf(stderr, "%s.%s: %s document%s %s%s%s", job->db, job->coll, with_commas(job->batch.done),
                job->batch.done == 1 ? "" : "s", r->dry_run ? "would be restored" : "restored", renamed ? " from " : "",
                renamed ? job->from : "");
        if (job->batch.failures > 0) fprintf(stderr, ", %s failed", with_commas(job->batch.failures));
        fputs(is_whole ? "\n" : "; it is not complete\n", stderr);
    }
    if (!ok || !is_whole || r->dry_run || r->no_indexes || job->is_view || !job->meta.has_indexes) return ok;
    if (restore_indexes(job)) return true;
    r->is_broken = true;
    return !r->stop_on_error;
}

void restore_job_release(struct restore_job *job) {
    batch_release(&job->batch);
    metadata_release(&job->meta);
    bson_free(job->from);
    bson_free(job->db);
    bson_free(job->coll);
}

/* ---- the command line ---- */

struct restore_args {
    struct target_args target;
    const char *db, *coll, *dir, *archive, *gzip, *drop, *dry_run, *stop, *order, *no_indexes, *no_options,
        *keep_version, *bypass, *quiet;
};

static int check_args(struct restore *r, struct restore_args *a, const char *const *rest, int rest_count) {
    int at = 0;
    if (!target_is_named(&a->target) && (rest_count > 0 || a->db == NULL)) {
        if (rest_count == 0) return usage_error(&sub_restore, "the database file or the server's URI is missing");
        a->target.target = rest[at++];
    } else if (!target_is_named(&a->target)) { /* --db alone names the file, as elsewhere */
        a->target.target = a->db;
        a->db = NULL;
    }
    if (at < rest_count && a->dir != NULL)
        return usage_error(&sub_restore, "the dump is named twice: '%s' and '%s'", rest[at], a->dir);
    if (at < rest_count) a->dir = rest[at++];
    if (at < rest_count) return usage_error(&sub_restore, "one argument too many: '%s'", rest[at]);
    if (a->archive != NULL && a->dir != NULL)
        return usage_error(&sub_restore, "--archive (its file behind '=') and a folder exclude each other");
    if (a->coll != NULL && a->db == NULL) return usage_error(&sub_restore, "--collection needs --db");
    if (a->dir != NULL && strcmp(a->dir, "-") == 0 && a->coll == NULL)
        return usage_error(&sub_restore, "standard input needs --db and --collection");
    r->db = a->db;
    r->coll = a->coll;
    r->drop = a->drop != NULL;
    r->dry_run = a->dry_run != NULL;
    r->stop_on_error = a->stop != NULL || a->order != NULL; /* keeping the order means stopping, as in mongorestore */
    r->keep_order = a->order != NULL;
    r->no_indexes = a->no_indexes != NULL;
    r->no_options = a->no_options != NULL;
    r->keep_index_version = a->keep_version != NULL;
    r->bypass_validation = a->bypass != NULL;
    r->quiet = a->quiet != NULL;
    r->gzip = a->gzip != NULL ? GZIP_YES : GZIP_DETECT;
    return 0;
}

static int restore_with(struct restore *r, const struct restore_args *a) {
    if (!r->dry_run) {
        r->target = target_open(&a->target, TARGET_CREATE, "elmo restore");
        if (r->target == NULL) return EXIT_ERROR;
    }
    progress_start(&r->progress, "restoring");
    bool ok = a->archive != NULL ? restore_archive(r, a->archive) : restore_folder(r, a->dir != NULL ? a->dir : "dump");
    double seconds = now_seconds() - r->progress.started;
    target_close(r->target);
    if (!r->quiet) {
        fprintf(stderr, "%s document%s %s in %.2f s", with_commas(r->documents), r->documents == 1 ? "" : "s",
                r->dry_run ? "would be restored; nothing was written;" : "restored", seconds);
        if (r->failures > 0) fprintf(stderr, ", %s failed", with_commas(r->failures));
        fputs(ok && !r->is_broken ? "\n" : "; the restore is NOT complete\n", stderr);
    }
    return ok && !r->is_broken ? 0 : EXIT_ERROR;
}

static int run(int argc, char **argv) {
    struct restore *r = bson_malloc0(sizeof(*r));
    struct restore_args a = {0};
    const char *rest[2] = {NULL, NULL};
    int rest_count;
    const struct option_row rows[] = {
        {"--db|-d", "NAME", "only this database of the dump, or where a single file goes", &a.db},
        {"--collection|-c", "NAME", "only this collection of it, or where a single file goes", &a.coll},
        {"--dir", "DIR", "the dump (default dump); also a single .bson file, or - for BSON on standard input", &a.dir},
        {"--archive", "=FILE", "an archive instead of a folder; from standard input without a FILE", &a.archive},
        {"--gzip", NULL, "the dump is compressed (found out without it too)", &a.gzip},
        {"--nsInclude", "PATTERN...", "only collections whose DB.COLL fits ('*' stands for anything)",
         r->filter.include},
        {"--nsExclude", "PATTERN...", "none whose DB.COLL fits", r->filter.exclude},
        {"--nsFrom", "PATTERN...", "rename what fits this, as 'old.*' or '$db$.x_$name$'", r->filter.from},
        {"--nsTo", "PATTERN...", "to this, as 'new.*' or '$db$_$name$.x'", r->filter.to},
        {"--excludeCollection", "NAME...", "not this collection", r->filter.exclude_collections},
        {"--excludeCollectionsWithPrefix", "TEXT...", "no collection that begins so", r->filter.exclude_prefixes},
        {"--drop", NULL, "drop each collection of the dump first", &a.drop},
        {"--dryRun", NULL, "read and verify everything, write nothing", &a.dry_run},
        {"--stopOnError", NULL, "stop at the first document that fails", &a.stop},
        {"--maintainInsertionOrder", NULL, "in the dump's order; stops at the first failure", &a.order},
        {"--noIndexRestore", NULL, "leave the indexes out", &a.no_indexes},
        {"--noOptionsRestore", NULL, "leave the collections' options out", &a.no_options},
        {"--keepIndexVersion", NULL, "keep the indexes' version numbers", &a.keep_version},
        {"--bypassDocumentValidation", NULL, "do not ask the collections' validators", &a.bypass},
        {"--sync", "MODE", "of a file: full (default), normal or off", &a.target.sync},
        {"--quiet", NULL, "say nothing but errors", &a.quiet},
        {"--objcheck", NULL, NULL, &a.target.ignored}, /* documents are always checked */
        {"--writeConcern", "DOC", NULL, &a.target.ignored},
        {"--numParallelCollections|-j", "N", NULL, &a.target.ignored},
        {"--numInsertionWorkersPerCollection", "N", NULL, &a.target.ignored},
        TARGET_OPTIONS(&a.target),
    };
    int status = args_parse(&sub_restore, argc, argv, rows, OPTION_COUNT(rows), rest, 2, &rest_count);
    if (status == 0) status = check_args(r, &a, rest, rest_count);
    if (status == 0) status = ns_filter_check(&r->filter) ? restore_with(r, &a) : EXIT_ERROR;
    bson_free(r);
    return status;
}

const struct subcommand sub_restore = {"restore", "restore FILE|URI [DIR | FILE.bson | --archive[=FILE]]",
                                       "bring back what elmo dump or mongodump wrote", run};
