/* Checking a collection: every document is sound BSON under its key, every index entry leads to a document that has that key, every
 * key of every document is in its index, counts agree, text postings agree. */
#ifndef ELMO_DOC_VALIDATE_H
#define ELMO_DOC_VALIDATE_H

#include "doc/catalog.h"

/* keys: index keys and text postings; faults of a text index count as extra_entries. */
struct validate_report {
    uint64_t documents, invalid_documents, keys, missing_entries, extra_entries, count_mismatches;
    const uint64_t *index_keys, *index_missing; /* per index of the collection, in the op's arena; of text indexes 0 */
};
/* Calls `found` for each fault with a text that names collection, index and _id. ST_OK also when faults were found. */
status collection_validate(struct op *op, struct kv_txn *txn, struct collection *c,
                           void (*found)(void *ctx, const char *text), void *ctx, struct validate_report *out,
                           struct err *err);

#endif
