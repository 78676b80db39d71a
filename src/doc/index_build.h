/* Building indexes on existing data beside writers. Private to src/doc. */
#ifndef ELMO_DOC_INDEX_BUILD_H
#define ELMO_DOC_INDEX_BUILD_H

#include "doc/ddl.h"

/* A registered build: its indexes stand in the entry as "building", writers maintain them. */
struct index_build {
    struct ns ns;
    uint64_t collection_id, first_id, end_id; /* the build's index ids, sort and log ranges included */
    struct kv_txn *snapshot; /* begun while no writer was at work, before the registration was committed */
    void (*progress)(void *ctx, struct index_build_progress p);
    void *ctx;
};

/* Brings registered indexes to "ready", or fails and leaves nothing of them. Ends b->snapshot. */
status index_build_run(struct op *op, struct index_build *b, struct err *err);

/* Takes an index out of an edited entry and deletes its entries, flags and build ranges. */
status entry_index_remove(struct op *op, struct kv_txn *txn, struct entry_edit *e, uint32_t at, struct err *err);
/* Is a build of that index running in this handle? If not, a "building" index is a leftover. */
bool index_build_is_active(struct db *db, uint64_t collection_id, uint64_t index_id);
/* Removes what builds of an earlier handle left. */
status index_builds_sweep(struct op *op, struct err *err);

#endif
