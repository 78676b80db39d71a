/* Reading a collection: by _id, by scanning documents, by scanning an index. Thin over kv: what comes out is borrowed bytes. */
#ifndef ELMO_DOC_SCAN_H
#define ELMO_DOC_SCAN_H

#include "base/buf.h"
#include "doc/catalog.h"

/* The document with that _id: out->bytes is its BSON until released. ST_NOT_FOUND. */
status record_get(struct kv_txn *txn, const struct collection *c, struct bval id, struct buf *key_scratch,
                  struct kv_value *out, struct err *err);
/* By locator (what index entries hold: the encoded _id). */
status record_get_at(struct kv_txn *txn, const struct collection *c, struct slice locator, struct buf *key_scratch,
                     struct kv_value *out, struct err *err);
/* Many at once, in the given order; absent ones have bytes.p NULL. Sorts internally. */
status record_get_many(struct op *op, struct kv_txn *txn, const struct collection *c, const struct slice *locators,
                       size_t n, struct kv_value *out, struct err *err);

/* All documents in _id order, both ways. lo and hi are encoded _ids (len 0: open; lo inclusive, hi exclusive). Starts before the first (after the last when `backward`). */
struct record_scan;
status record_scan_open(struct op *op, struct kv_txn *txn, const struct collection *c, struct slice lo, struct slice hi,
                        bool backward, struct record_scan **out, struct err *err);
status record_scan_next(struct record_scan *s, struct bdoc *doc, struct err *err); /* ST_END; doc until the next call */
struct slice record_scan_locator(const struct record_scan *s);
void record_scan_rest(struct record_scan *s);
void record_scan_close(struct record_scan *s);

/* Index entries in [lo, hi) of key bytes (without collection and index prefix), both ways. */
struct index_entry {
    struct slice key; /* the fields' encodings, end to end */
    struct slice locator;
    struct slice
        side; /* the fields' side bits, end to end, then those of the document's _id (with which the locator decodes to it exactly) */
};
struct index_scan;
status index_scan_open(struct op *op, struct kv_txn *txn, const struct collection *c, const struct index *ix,
                       bool backward, struct index_scan **out, struct err *err);
/* Narrows or moves the scan to [lo, hi) and stands before its first entry in scan direction. */
status index_scan_range(struct index_scan *s, struct slice lo, struct slice hi, struct err *err);
/* In scan direction, jumps to the first entry at or past `key` (for skipping inside compound bounds): forward the first >= key; backward the last
 * < key, as if key were the range's hi. Stays inside the range. */
status index_scan_seek(struct index_scan *s, struct slice key, struct index_entry *out, struct err *err);
status index_scan_next(struct index_scan *s, struct index_entry *out, struct err *err); /* entry until the next call */
/* The entry of a unique index with exactly that key; its bytes lie in *value, which the caller releases, and in key_scratch. ST_NOT_FOUND. */
status index_get(struct kv_txn *txn, const struct index *ix, struct slice key, struct buf *key_scratch,
                 struct kv_value *value, struct index_entry *out, struct err *err);
/* Forward scans: counts entries from where the scan stands on, at most max, without showing them; ST_END after the last (*n counts too). Not to be mixed with next and seek. */
status index_scan_count(struct index_scan *s, uint64_t max, uint64_t *n, struct err *err);
void index_scan_rest(struct index_scan *s);
void index_scan_close(struct index_scan *s);
status index_estimate(struct kv_txn *txn, const struct collection *c, const struct index *ix, struct slice lo,
                      struct slice hi, uint64_t *entries, struct err *err);
status record_estimate(struct kv_txn *txn, const struct collection *c, struct slice lo, struct slice hi,
                       uint64_t *entries, struct err *err);
/* Bytes of keys and values before compression: of an index's entries, of the documents. Estimates from the tree's own counts. */
status index_size(struct kv_txn *txn, const struct collection *c, const struct index *ix, uint64_t *bytes,
                  struct err *err);
status record_size(struct kv_txn *txn, const struct collection *c, uint64_t *bytes, struct err *err);

#endif
