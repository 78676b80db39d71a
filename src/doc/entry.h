/* Index entries as they are stored. Private to src/doc.
 *
 *   ordinary  key: prefix, fields, locator   value: side bits
 *   unique    key: prefix, fields            value: varint(length of the locator), locator, side bits
 * Side bits: those of the fields, end to end, then those of the document's _id. The locator is opaque to the index. */
#ifndef ELMO_DOC_ENTRY_H
#define ELMO_DOC_ENTRY_H

#include "base/buf.h"
#include "doc/scan.h"

/* Key and value without prefix, apart. ST_CORRUPT. */
status index_entry_split(const struct index *ix, struct slice key, struct slice value, struct index_entry *out,
                         struct err *err);

/* Each appends; out of memory shows in the buffer. */
static inline void index_entry_key(struct buf *out, struct slice prefix, bool is_unique, struct slice fields,
                                   struct slice locator) {
    buf_append_slice(out, prefix);
    buf_append_slice(out, fields);
    if (!is_unique) buf_append_slice(out, locator);
}
static inline void index_entry_value(struct buf *out, bool is_unique, struct slice locator, struct slice side,
                                     struct slice id_side) {
    if (is_unique) {
        buf_append_varint(out, locator.len);
        buf_append_slice(out, locator);
    }
    buf_append_slice(out, side);
    buf_append_slice(out, id_side);
}

#endif
