/* elmo restore from a folder: DIR/DB/COLLECTION.bson with COLLECTION.metadata.json beside it, each perhaps with ".gz"; one database's folder; or a
 * single .bson file. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "restore.h"

/* A collection found in the dump. */
struct found {
    char *db, *stem;   /* the file's name without its endings */
    char *data, *meta; /* paths; either may be missing */
};

struct folder {
    struct restore *r;
    struct found *found;
    size_t count, cap;
};

#define METADATA_TEXT_MAX ((size_t) 64 * 1024 * 1024)

static struct found *find_or_add(struct folder *f, const char *db, const char *stem) {
    for (size_t i = f->count; i-- > 0;)
        if (strcmp(f->found[i].db, db) == 0 && strcmp(f->found[i].stem, stem) == 0) return &f->found[i];
    if (f->count == f->cap) {
        f->cap = f->cap == 0 ? 64 : f->cap * 2;
        f->found = bson_realloc(f->found, f->cap * sizeof(*f->found));
    }
    f->found[f->count] = (struct found){.db = bson_strdup(db), .stem = bson_strdup(stem)};
    return &f->found[f->count++];
}

static void release(struct folder *f) {
    for (size_t i = 0; i < f->count; i++) {
        bson_free(f->found[i].db);
        bson_free(f->found[i].stem);
        bson_free(f->found[i].data);
        bson_free(f->found[i].meta);
    }
    bson_free(f->found);
}

/* Cuts `ending` (or `ending`.gz) off; 0 when the name does not end so. */
static size_t stem_len(const char *name, const char *ending) {
    size_t len = strlen(name), n = strlen(ending);
    if (len > 3 && strcmp(name + len - 3, ".gz") == 0) len -= 3;
    return len > n && memcmp(name + len - n, ending, n) == 0 ? len - n : 0;
}

static void take_file(struct folder *f, const char *db, const char *folder, const char *name) {
    size_t meta = stem_len(name, ".metadata.json"), data = stem_len(name, ".bson");
    if (meta == 0 && data == 0) {
        if (strcmp(name, "prelude.json") != 0 && strcmp(name, "prelude.json.gz") != 0 && !f->r->quiet)
            fprintf(stderr, "%s/%s is left out: it is no part of a dump\n", folder, name);
        return;
    }
    char *stem = bson_strndup(name, meta != 0 ? meta : data);
    struct found *found = find_or_add(f, db, stem);
    char **path = meta != 0 ? &found->meta : &found->data;
    bson_free(*path);
    *path = bson_strdup_printf("%s/%s", folder, name);
    bson_free(stem);
}

/* Calls for each entry but "." and "..". */
static bool each_entry(const char *folder,
                       void (*take)(struct folder *f, const char *db, const char *folder, const char *name),
                       struct folder *f, const char *db) {
    DIR *dir = opendir(folder);
    struct dirent *entry;
    if (dir == NULL) return complain("cannot read '%s': %s", folder, strerror(errno)), false;
    for (errno = 0; (entry = readdir(dir)) != NULL; errno = 0)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) take(f, db, folder, entry->d_name);
    bool ok = errno == 0;
    if (!ok) (void) complain("cannot read '%s': %s", folder, strerror(errno));
    (void) closedir(dir);
    return ok;
}

static bool is_folder(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static void take_database(struct folder *f, const char *db, const char *folder, const char *name) {
    char *path = bson_strdup_printf("%s/%s", folder, name);
    (void) db;
    if (is_folder(path)) {
        if (!each_entry(path, take_file, f, name)) f->r->is_broken = true;
    } else if (strcmp(name, "prelude.json") != 0 && strcmp(name, "prelude.json.gz") != 0) {
        if (strcmp(name, "oplog.bson") == 0)
            (void) complain("%s is left out: operations since the dump are not replayed", path);
        else if (!f->r->quiet)
            fprintf(stderr,
                    "%s is left out: a dump has a folder for each database (--db NAME takes the folder of one)\n",
                    path);
    }
    bson_free(path);
}

/* ---- one collection ---- */

static bool read_documents(struct restore_job *job, const char *path, enum gzip_mode gzip) {
    struct stream_in in;
    struct restore *r = job->restore;
    uint32_t n = 0, len;
    size_t got;
    bool ok = true;
    bson_t doc;
    if (!stream_in_open(&in, path, gzip)) return r->is_broken = true, false;
    job->file = in.name;
    uint8_t *bytes = bson_malloc(DOCUMENT_BYTES_MAX);
    while (ok) {
        uint64_t place = in.at;
        const char *why = NULL;
        if (!stream_in_exact(&in, bytes, 4, &got)) {
            if (got == 0 && in.error[0] == '\0') break;
            why = "the file is cut off";
        } else {
            len =
                (uint32_t) bytes[0] | (uint32_t) bytes[1] << 8 | (uint32_t) bytes[2] << 16 | (uint32_t) bytes[3] << 24;
            if (len < 5 || len > DOCUMENT_BYTES_MAX)
                why = "this is not a BSON document; the rest of the file cannot be read";
            else if (!stream_in_exact(&in, bytes + 4, len - 4, NULL))
                why = "the file is cut off in the middle of a document";
            else if (!bson_init_static(&doc, bytes, len))
                why = "a document does not end where its length says; the rest of the file cannot be read";
        }
        if (why != NULL) {
            (void) complain("%s: byte %llu: %s", in.name, (unsigned long long) place,
                            in.error[0] != '\0' ? in.error : why);
            r->is_broken = true;
            ok = false;
        } else {
            ok = restore_document(job, &doc, place);
        }
        if ((++n & 0xff) == 0)
            progress_show(&r->progress, in.size > 0 ? (double) in.taken / (double) in.size : 0, r->documents + n);
    }
    progress_end(&r->progress);
    bool go_on = restore_finish(job, ok);
    bson_free(bytes);
    stream_in_close(&in);
    return go_on && (ok || !r->stop_on_error);
}

/* False: stop. `db` and `coll` override the file's names when they are not NULL. */
static bool restore_found(struct restore *r, const struct found *found, const char *db, const char *coll) {
    struct restore_job job;
    struct metadata meta;
    size_t len = 0;
    char *text = found->meta != NULL ? read_text(found->meta, METADATA_TEXT_MAX, &len) : bson_strdup("");
    if (text == NULL) return r->is_broken = true, !r->stop_on_error;
    char *name = coll != NULL ? bson_strdup(coll) : NULL;
    if (name == NULL && found->meta != NULL) { /* the metadata knows names too long for a file */
        if (metadata_read(&meta, text, len, found->meta)) name = meta.coll != NULL ? bson_strdup(meta.coll) : NULL;
        metadata_release(&meta);
    }
    if (name == NULL) name = dump_file_collection(found->stem);
    bool go_on = true;
    if (name == NULL) {
        (void) complain("%s: its name cannot be read as that of a collection",
                        found->data != NULL ? found->data : found->meta);
        r->is_broken = true;
    } else if (restore_wants(r, db, name)) {
        const char *file = found->data != NULL ? found->data : found->meta;
        if (!restore_begin(r, &job, db, name, text, len, file)) {
            go_on = !r->stop_on_error;
        } else {
            go_on = found->data != NULL && !job.is_view
                ? read_documents(&job, found->data,
                                 strcmp(found->data, "-") == 0 || r->gzip == GZIP_YES ? r->gzip : GZIP_DETECT)
                : restore_finish(&job, true);
            restore_job_release(&job);
        }
    }
    bson_free(name);
    bson_free(text);
    return go_on;
}

static bool is_view_file(const struct found *f) { return f->data == NULL; }

/* Collections first, each database's in the order of names; then views, which have no documents of their own. */
static int compare_found(const void *a, const void *b) {
    const struct found *left = a, *right = b;
    if (is_view_file(left) != is_view_file(right)) return is_view_file(left) ? 1 : -1;
    int order = strcmp(left->db, right->db);
    return order != 0 ? order : strcmp(left->stem, right->stem);
}

static bool restore_all(struct folder *f) {
    struct restore *r = f->r;
    bool go_on = true;
    if (f->count > 0) qsort(f->found, f->count, sizeof(*f->found), compare_found);
    for (size_t i = 0; go_on && i < f->count; i++) {
        if (strcmp(f->found[i].stem, "system.indexes") == 0) continue; /* of servers before 3.0 */
        if (r->coll != NULL) {
            char *name = dump_file_collection(f->found[i].stem);
            bool wanted = name != NULL && strcmp(name, r->coll) == 0;
            bson_free(name);
            if (!wanted) continue;
        }
        go_on = restore_found(r, &f->found[i], f->found[i].db, NULL);
    }
    if (go_on && r->collections == 0 && r->coll != NULL && !r->is_broken)
        go_on = (complain("the dump has no collection %s.%s", r->db, r->coll), false);
    return go_on;
}

/* FILE.bson, or "-": its metadata is looked for beside it. */
static bool restore_file(struct restore *r, const char *path) {
    struct stat st;
    bool is_stdin = strcmp(path, "-") == 0;
    const char *slash = strrchr(path, '/'), *base = slash != NULL ? slash + 1 : path;
    size_t len = is_stdin ? 0 : stem_len(base, ".bson");
    if (!is_stdin && len == 0)
        return complain("'%s' is neither a folder nor a .bson file (an archive is named by --archive=FILE)", path),
               false;
    if (r->db == NULL) return complain("'%s' is a single file: --db tells where it goes", path), false;
    struct found found = {.stem = bson_strndup(base, len), .data = bson_strdup(path)};
    for (int gz = 0; gz < 2 && found.meta == NULL && !is_stdin; gz++) {
        found.meta =
            bson_strdup_printf("%.*s.metadata.json%s", (int) ((size_t) (base - path) + len), path, gz ? ".gz" : "");
        if (stat(found.meta, &st) == 0) break;
        bson_free(found.meta);
        found.meta = NULL;
    }
    bool ok = restore_found(r, &found, r->db, r->coll);
    bson_free(found.stem);
    bson_free(found.data);
    bson_free(found.meta);
    return ok;
}

bool restore_folder(struct restore *r, const char *path) {
    struct folder f = {.r = r};
    struct stat st;
    if (strcmp(path, "-") != 0 && stat(path, &st) != 0)
        return complain("cannot read '%s': %s", path, strerror(errno)), false;
    if (strcmp(path, "-") == 0 || !S_ISDIR(st.st_mode)) return restore_file(r, path);
    char *sub = r->db != NULL ? bson_strdup_printf("%s/%s", path, r->db) : NULL;
    bool ok = r->db == NULL ? each_entry(path, take_database, &f, NULL)
                            : each_entry(is_safe_folder(r->db) && is_folder(sub) ? sub : path, take_file, &f, r->db);
    if (ok && f.count == 0) ok = (complain("'%s' has nothing to restore", path), false);
    ok = ok && restore_all(&f);
    bson_free(sub);
    release(&f);
    return ok;
}
