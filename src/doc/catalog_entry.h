/* The catalog's keys and values: what docs/FORMAT.md, "Catalog", says. Private to src/doc.
 *
 * Keys, all below collection 0 (index/key.h: ids are ordered varints, written o()):
 *   00 00 "format"                        a BSON document {version: 1}: the format of all that the document level writes
 *   00 01 01 db 00 collection             a collection's entry, a BSON document (names hold no zero byte; a database is the range of db 00)
 *   00 01 02 "collection"                 the sequence of collection ids
 *   00 01 03 o(collection) o(index) f c   component c of field f of the index met an array; value empty
 *   00 01 04 o(collection) 00 / 01        counters: documents, bytes
 *   00 01 05 uuid user chunk              what a session's last numbered write did (doc/history.h)
 * Entry: {id: int64, uuid: binary 4, version: int64, options: {...}, nextIndex: int64,
 *         indexes: [{id: int64, state: "ready" | "building", sort: int64, log: int64 (building only), spec: {...}}, ...]} */
#ifndef ELMO_DOC_CATALOG_ENTRY_H
#define ELMO_DOC_CATALOG_ENTRY_H

#include "doc/catalog.h"

#define CATALOG_FORMAT_VERSION 1

/* Each replaces what is in `key`; out of memory shows in key->failed. */
void catalog_key_format(struct buf *key);
void catalog_key_entry(struct buf *key, struct ns ns);
void catalog_key_database(struct buf *key, struct slice db,
                          bool is_end); /* the range of entries of a database; db.len 0: of all */
void catalog_key_collection_ids(struct buf *key);
void catalog_key_multikey(struct buf *key, uint64_t collection_id, uint64_t index_id); /* prefix of the flags */
void catalog_key_multikeys(struct buf *key, uint64_t collection_id);                   /* of all of a collection's */
void catalog_key_counter(struct buf *key, uint64_t collection_id, uint8_t which);
/* Of a session (user.len up to 65535): uuid, u16 length of the user, user, u32 chunk, big-endian. */
void catalog_key_history(struct buf *key, const uint8_t uuid[16], struct slice user, uint32_t chunk);
void catalog_key_histories(struct buf *key, bool is_end); /* the range of all */
#define CATALOG_HISTORY_PREFIX_LEN 3                      /* what stands before the uuid */
/* The names in an entry's key; borrowed from it. False when it is none. */
bool catalog_key_parse(struct slice key, struct ns *out);

/* An index as an entry has it, for changing entries. */
struct entry_index {
    uint64_t id;
    enum index_state state;
    uint64_t sort_id, log_id;
    struct bdoc spec;
};
struct entry_edit {
    uint64_t id, version, next_index_id;
    const uint8_t *uuid;
    struct bdoc options;
    uint32_t index_count;
    struct entry_index indexes[COLLECTION_INDEXES_MAX];
};

/* The entry of `c`, to be changed: version is already the next one. Borrows from c. */
void entry_edit_init(struct entry_edit *e, const struct collection *c);
/* Replaces `out` by the entry's BSON: out->failed without memory. */
void entry_write(const struct entry_edit *e, struct buf *out);

/* id and version of an entry; the fast part of reading it. ST_CORRUPT. */
status entry_peek(struct slice entry, uint64_t *id, uint64_t *version, struct err *err);
/* A new description with one reference, all but index.flags and index.multikey filled in. Names and bytes are copied. Damage is ST_CORRUPT. */
status entry_read(const struct mem *mem, struct ns ns, struct slice entry, struct collection **out, struct err *err);
void entry_free(struct collection *c); /* the memory alone */

#endif
