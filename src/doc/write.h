/* The only door through which a document changes: documents, index entries, text postings, counts, all in the caller's transaction. */
#ifndef ELMO_DOC_WRITE_H
#define ELMO_DOC_WRITE_H

#include "base/buf.h"
#include "doc/catalog.h"

/* Takes the shared lock on the collection's catalog entry for the rest of the transaction and checks that `c` is still its state (ST_STALE otherwise). Call once per
 * transaction and collection before the first collection_write. */
status collection_lock(struct op *op, struct kv_txn *txn, struct collection *c, struct err *err);

/* old NULL p: insert; new NULL p: delete; both: replace (same _id, else 66 ImmutableField). Documents are checked BSON with _id first in `new_doc` (collection_prepare). `paths`: what an update may have touched
 * (all: NULL), so that indexes it does not meet are skipped. Duplicate key: CODE_DuplicateKey (11000), MongoDB's text "E11000 duplicate key error collection: db.c index: a_1 dup key: { a: 1 }" and
 * {keyPattern, keyValue} in err->details. A failed call leaves the transaction as it was before it. */
struct write_paths {
    const struct path *paths;
    uint32_t count;
};
status collection_write(struct op *op, struct kv_txn *txn, struct collection *c, struct bdoc old_doc,
                        struct bdoc new_doc, const struct write_paths *paths, struct err *err);

/* Makes a document fit to be stored: size and depth limits, `_id` first, added (ObjectId) when missing; _id may not be an array, regex or undefined (2 / 53 as MongoDB). *out borrows `doc` when nothing had to change, else lives in `buf`. */
status collection_prepare(struct op *op, struct bdoc doc, struct buf *buf, struct bdoc *out, struct err *err);

/* Exact at the transaction's snapshot, from counters. */
struct collection_stat {
    int64_t documents, bytes;
};
status collection_stat(struct op *op, struct kv_txn *txn, struct collection *c, struct collection_stat *out,
                       struct err *err);

#endif
