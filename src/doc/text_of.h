/* A collection's text index as src/index/text wants it named. Private to src/doc. */
#ifndef ELMO_DOC_TEXT_OF_H
#define ELMO_DOC_TEXT_OF_H

#include "doc/catalog.h"
#include "doc/db.h"
#include "index/text/text.h"

static inline struct text_index text_of(struct op *op, const struct collection *c, const struct index *ix) {
    return (struct text_index){.kv = db_kv(op->db), .collection_id = c->id, .index_id = ix->id, .spec = &ix->spec};
}

#endif
