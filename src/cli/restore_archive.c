/* elmo restore from an archive. Collections may take turns in it; a batch is sent whenever one's turn ends, so that there is only ever one. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "archive.h"
#include "restore.h"

struct archive_restore {
    struct restore *r;
    struct archive_reader reader;
    struct stream_in in;
};

/* The job of a collection, made at its first block; NULL: it is not wanted or cannot be. */
static struct restore_job *job_of(struct archive_restore *a, struct archive_ns *ns) {
    static char unwanted; /* marks what is passed over */
    struct restore *r = a->r;
    if (ns->user == &unwanted) return NULL;
    if (ns->user != NULL) return ns->user;
    ns->user = &unwanted;
    if ((r->db != NULL && strcmp(r->db, ns->db) != 0) || (r->coll != NULL && strcmp(r->coll, ns->coll) != 0) ||
        !restore_wants(r, ns->db, ns->coll))
        return NULL;
    struct restore_job *job = bson_malloc0(sizeof(*job));
    if (restore_begin(r, job, ns->db, ns->coll, ns->metadata, strlen(ns->metadata), a->in.name)) {
        ns->user = job;
        return job;
    }
    bson_free(job);
    return NULL;
}

static void end_job(struct archive_ns *ns) {
    restore_job_release(ns->user);
    bson_free(ns->user);
    ns->user = NULL;
}

/* False: stop. */
static bool take_event(struct archive_restore *a, enum archive_event event) {
    struct archive_ns *ns = a->reader.current;
    struct restore_job *job = job_of(a, ns);
    if (a->r->stop_on_error && a->r->is_broken) return false;
    if (job == NULL) return true;
    if (event == ARCHIVE_DOCUMENT) return restore_document(job, &a->reader.doc, a->reader.doc_at);
    if (event == ARCHIVE_BLOCK_END) return restore_flush(job);
    bool go_on = restore_finish(job, true);
    end_job(ns);
    return go_on;
}

/* What was begun and has not come to its end. */
static void end_unfinished(struct archive_restore *a) {
    for (size_t i = 0; i < a->reader.ns_count; i++) {
        struct archive_ns *ns = &a->reader.ns[i];
        struct restore_job *job = ns->is_closed || !ns->was_seen ? NULL : job_of(a, ns);
        if (job == NULL) continue;
        (void) restore_finish(job, false);
        end_job(ns);
    }
}

/* Views have no blocks in some archives: their turn comes at the end. */
static bool make_views(struct archive_restore *a) {
    for (size_t i = 0; i < a->reader.ns_count; i++) {
        struct archive_ns *ns = &a->reader.ns[i];
        if (ns->was_seen) continue;
        struct restore_job *job = job_of(a, ns);
        if (job == NULL) continue;
        bool go_on = restore_finish(job, true);
        end_job(ns);
        if (!go_on) return false;
    }
    return !a->r->stop_on_error || !a->r->is_broken;
}

static bool read_archive(struct archive_restore *a) {
    enum archive_event event = ARCHIVE_DOCUMENT;
    bool go_on = true;
    uint32_t turns = 0;
    if (!archive_read_head(&a->reader, &a->in)) return complain("%s: %s", a->in.name, a->reader.error), false;
    while (go_on && (event = archive_next(&a->reader)) != ARCHIVE_END && event != ARCHIVE_FAILED) {
        go_on = take_event(a, event);
        if ((++turns & 0xff) == 0)
            progress_show(&a->r->progress, a->in.size > 0 ? (double) a->in.taken / (double) a->in.size : 0,
                          a->r->documents + turns);
    }
    progress_end(&a->r->progress);
    if (event == ARCHIVE_FAILED) (void) complain("%s: %s", a->in.name, a->reader.error);
    end_unfinished(a);
    return go_on && event == ARCHIVE_END && make_views(a);
}

bool restore_archive(struct restore *r, const char *path) {
    struct archive_restore *a = bson_malloc0(sizeof(*a));
    struct stat st;
    char *in_folder = NULL;
    a->r = r;
    if (strcmp(path, "-") != 0 && stat(path, &st) == 0 && S_ISDIR(st.st_mode)) { /* as mongodump names it there */
        in_folder = bson_strdup_printf("%s/archive%s", path, r->gzip == GZIP_YES ? ".gz" : "");
        path = in_folder;
    }
    bool ok = stream_in_open(&a->in, path, r->gzip);
    if (ok) {
        ok = read_archive(a);
        archive_release(&a->reader);
        stream_in_close(&a->in);
    }
    bson_free(in_folder);
    bson_free(a);
    return ok;
}
