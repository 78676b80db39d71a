/* What elmo restore's two sources (folders and archives) share: one collection at a time is prepared, filled and finished.
 *
 *   restore_begin    renames, drops and creates the collection
 *   restore_document for each document
 *   restore_flush    before another collection takes its turn
 *   restore_finish   builds the indexes, when all documents are in
 */
#ifndef ELMO_CLI_RESTORE_H
#define ELMO_CLI_RESTORE_H

#include "batch.h"
#include "dump_files.h"
#include "namespaces.h"
#include "stream.h"

struct restore {
    struct target *target; /* NULL in a dry run */
    struct ns_filter filter;
    const char *db, *coll; /* only this one, or where a single file goes; may be NULL */
    bool drop, dry_run, stop_on_error, keep_order, no_indexes, no_options, keep_index_version, bypass_validation, quiet;
    enum gzip_mode gzip;
    int64_t documents, failures, collections;
    bool is_broken; /* something failed: exit 1 */
    struct progress progress;
};

/* One collection on its way. */
struct restore_job {
    struct restore *restore;
    char *from;       /* the dump's DB.COLL, for messages */
    char *db, *coll;  /* where it goes */
    const char *file; /* where its documents are read, for messages; borrowed */
    struct metadata meta;
    bool is_view;
    struct batch batch;
    int64_t told; /* failures shown */
};

/* Does the user want it? Says why not when it belongs to the server's own working. */
bool restore_wants(struct restore *r, const char *db, const char *coll);
/* `metadata` may be "". False: it cannot be restored, which is told and noted; there is nothing to release. */
bool restore_begin(struct restore *r, struct restore_job *job, const char *db, const char *coll, const char *metadata,
                   size_t metadata_len, const char *file);
/* `place` is the byte at which the document begins. False: stop. */
bool restore_document(struct restore_job *job, const bson_t *doc, uint64_t place);
bool restore_flush(struct restore_job *job);
/* All documents are in (`is_whole`), or what was to come is lost. */
bool restore_finish(struct restore_job *job, bool is_whole);
void restore_job_release(struct restore_job *job);

/* The sources. False when the restore stopped early; r->is_broken tells of the rest. */
bool restore_folder(struct restore *r, const char *path);
bool restore_archive(struct restore *r, const char *path);

#endif
