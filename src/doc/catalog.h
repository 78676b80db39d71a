/* The catalog: databases, collections and their indexes, kept as BSON documents in collection 0 of the same keyspace, changed in the same
 * transactions as the data. Ids are never reused.
 *
 * A `struct collection` is an immutable description of one collection at one version of its catalog entry, reference-counted and
 * cached; a change makes a new one. Writers hold kv_lock_shared on the entry's key to the end of their transaction; DDL kv_lock_exclusive.
 *
 * VALIDITY  The database counts changes of the catalog. A transaction begun by db_begin while none was under way carries that count as its
 * tag: all transactions of one tag see the same catalog, so a description found valid at a tag is valid for each of them without a read. Any other
 * transaction (an older snapshot, one that changed the catalog itself, one begun by kv_begin) reads the entry through its own snapshot.
 */
#ifndef ELMO_DOC_CATALOG_H
#define ELMO_DOC_CATALOG_H

#include "doc/op.h"
#include "index/keygen.h"
#include "index/spec.h"

struct ns {
    struct slice db, coll;
};

/* MongoDB's rules for names: CODE_InvalidNamespace (73) with the culprit. `for_write`: also refuses "system." collections. */
status ns_check(struct ns ns, bool for_write, struct err *err);

/* "db.collection" for messages and replies. */
#define NS_TEXT_LEN 260
void ns_text(struct ns ns, char text[NS_TEXT_LEN]);

#define INDEX_ID_DOCUMENTS 0 /* the documents themselves, by _id */

enum index_state { INDEX_BUILDING, INDEX_READY };

struct multikey;

struct index {
    uint64_t id;            /* > 0 */
    enum index_state state; /* building: writers maintain it, readers do not use it */
    struct index_spec spec;
    _Atomic uint64_t *
        multikey; /* per indexed field, bits of array components (keygen.h); only ever gain bits; read with index_multikey */
    struct multikey *flags; /* what holds them: shared by all descriptions of this index (doc/multikey.h) */
    struct slice prefix;    /* of its entries' keys */
    uint64_t sort_id,
        log_id; /* building: ids of the ranges that the build sorts in and writers note unique keys in; 0: none */
    struct slice log_prefix; /* building and unique: prefix of the latter (doc/index_build.c), else len 0 */
};

struct collection {
    atomic_uint ref_count;
    _Atomic uint64_t
        valid_at; /* the last state of the catalog (kv_txn.tag) at which this is known to be the collection */
    const struct mem *mem;
    uint64_t id;
    uint8_t uuid[16];
    struct ns ns; /* NUL-terminated strings */
    struct bdoc options;
    uint32_t index_count;              /* without the documents themselves (_id) */
    struct index *indexes;             /* ids ascend */
    struct slice catalog_key;          /* what locks are taken on */
    struct slice prefix;               /* of its documents' keys */
    struct slice count_key, bytes_key; /* its counters */
    uint64_t version;                  /* of the catalog entry; every change adds one */
    uint64_t next_index_id;
    struct arena arena;
};

/* The collection as the transaction sees it, referenced: release with collection_unref. ST_NOT_FOUND when there is none. */
status catalog_find(struct op *op, struct kv_txn *txn, struct ns ns, struct collection **out, struct err *err);
static inline struct collection *collection_ref(struct collection *c) {
    atomic_fetch_add_explicit(&c->ref_count, 1, memory_order_relaxed);
    return c;
}
void collection_unref(struct collection *c); /* c may be NULL */
/* By name; NULL: none. _id_ is no struct index. */
struct index *collection_index(const struct collection *c, struct slice name);

/* CODE_NamespaceExists (48) when it exists with other options; with the same options it is fine (as MongoDB). *out may be NULL. */
status catalog_create(struct op *op, struct kv_txn *txn, struct ns ns, struct bdoc options, struct collection **out,
                      struct err *err);
/* One range delete. ST_NOT_FOUND when there is none. ST_CONFLICT or ST_STALE when writers were at work: retried outside sessions, best by catalog_drop_now. */
status catalog_drop(struct op *op, struct kv_txn *txn, struct ns ns, struct err *err);
/* The same in a transaction of its own, committed: waits for writers to end and keeps new ones waiting meanwhile, so that it needs no retry.
 * 263 inside a session's transaction. */
status catalog_drop_now(struct op *op, struct ns ns, struct err *err);
/* Gives a collection another name, in another database too; its documents and indexes stay where they are. Commits a transaction of its own, which also drops the
 * collection that has the name when drop_target. 26 NamespaceNotFound; 48 NamespaceExists; 20 for the same name; 12587 while an index is being built; 263 inside a
 * session's transaction. */
status catalog_rename(struct op *op, struct ns from, struct ns to, bool drop_target, struct err *err);
/* Drops every collection of a database, all in one transaction of its own. *existed: there was one. 263 inside a session's transaction. */
status catalog_drop_database(struct op *op, struct slice db, bool *existed, struct err *err);
/* Calls visit for each collection of a database (db.len 0: of all), in name order. The collection is borrowed. */
status catalog_list(struct op *op, struct kv_txn *txn, struct slice db,
                    status (*visit)(void *ctx, struct collection *c, struct err *err), void *ctx, struct err *err);

/* Builds indexes on existing data beside writers (DESIGN section 5): commits several transactions of its own; inside a session's only on
 * a collection that this makes or made, and that is empty (else 263 OperationNotSupportedInTransaction). Creates the collection when missing (*created). *before and *after count indexes with _id's. An index that exists with the same spec is skipped; conflicts are 85/86. On failure (duplicate key 11000 with keyPattern and
 * keyValue in err->details, cancel, timeout) nothing is left behind. `progress` (may be NULL) is called now and then. */
struct index_build_progress {
    uint64_t done, total;
};
status catalog_create_indexes(struct op *op, struct ns ns, const struct bdoc *specs, uint32_t spec_count,
                              void (*progress)(void *ctx, struct index_build_progress p), void *ctx, bool *created,
                              uint32_t *before, uint32_t *after, struct err *err);
/* By name; "*" drops all but _id. 27 IndexNotFound; _id cannot be dropped (72 InvalidOptions). */
status catalog_drop_index(struct op *op, struct ns ns, struct slice name, uint32_t *before, struct err *err);

#define COLLECTION_INDEXES_MAX 64 /* with _id's, as MongoDB */

/* The multikey bits of field `field_idx` in force (at or after any snapshot of the caller). */
static inline uint64_t index_multikey(const struct index *ix, uint32_t field_idx) {
    return atomic_load_explicit(&ix->multikey[field_idx], memory_order_acquire);
}

#endif
