/* The multikey flags of indexes: which components of which field's path met an array. Private to src/doc.
 *
 * One object per index and database handle, shared by all descriptions of the index, so that a planner with an old snapshot sees what writers have
 * set since. A flag only goes up:
 *   M1  It is set in memory before the first entry that needs it is written, and stays set if that write is undone.
 *   M2  Every transaction that writes an entry needing it also writes the flag's key (blindly), until the flag is known to be committed: a
 *       transaction that found it set by another one must not rely on that one's commit.
 *   M3  Each flag has a key of its own, since the last blind write of a key wins.
 *   M4  The object lives as long as the database handle or until the index is gone: a transaction may have unreferenced its collection before it commits.
 *   M5  That a collection is not found under its name any more does not say that it is gone: it may have been renamed. So the object knows its collection's
 *       name, by hash, and is forgotten under that one only. */
#ifndef ELMO_DOC_MULTIKEY_H
#define ELMO_DOC_MULTIKEY_H

#include "doc/catalog.h"

struct multikey {
    struct multikey *next; /* in the table, under db->lock */
    const struct mem *mem;
    uint64_t collection_id, index_id;
    _Atomic uint64_t home; /* of the name that the collection has, or is being given: multikey_home */
    atomic_uint ref_count;
    _Atomic uint64_t bits[INDEX_FIELDS_MAX];
    _Atomic uint64_t stored[INDEX_FIELDS_MAX]; /* known to be committed */
    atomic_uint text_writes; /* of a text index: documents written since it was last looked after (upkeep.c) */
    atomic_bool is_due;
};

uint64_t multikey_home(struct ns ns);
/* The flags of an index of c, referenced; loaded from the last committed state and from what txn sees when they are not in memory. */
status multikey_open(struct db *db, struct kv_txn *txn, const struct collection *c, uint64_t index_id,
                     struct multikey **out, struct err *err);
void multikey_unref(struct multikey *m); /* m may be NULL */
/* Lets the table forget the flags of a dropped index of c, unless the collection has another name now. */
void multikey_forget(struct db *db, const struct collection *c, uint64_t index_id);
/* The collection is being renamed: before its new name can be seen, and back if it is not renamed after all. */
void multikey_move(const struct collection *c, struct ns to);
void multikey_forget_all(struct db *db);

/* Raises the flags that a document's keys need and writes those not known to be committed. */
status multikey_raise(struct op *op, struct kv_txn *txn, const struct collection *c, const struct index *ix,
                      const uint64_t bits[INDEX_FIELDS_MAX], struct err *err);
/* Looks whether raised flags have been committed meanwhile, so that writers need not write them any more. */
status multikey_refresh(struct op *op, const struct collection *c, struct err *err);

#endif
