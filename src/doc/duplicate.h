/* The duplicate key error, as MongoDB words it. Private to src/doc. */
#ifndef ELMO_DOC_DUPLICATE_H
#define ELMO_DOC_DUPLICATE_H

#include "doc/catalog.h"
#include "index/keygen.h"

/* Answers ST_DUPLICATE (or ST_NOMEM): code 11000, "E11000 duplicate key error collection: db.c index: a_1 dup key: { a: 1 }", details
 * {keyPattern, keyValue} in the op's arena. */
status duplicate_key(struct op *op, const struct collection *c, const struct index *ix, struct index_key key,
                     struct err *err);
status duplicate_id(struct op *op, const struct collection *c, struct bval id, struct err *err);

/* Appends a value as MongoDB's server prints it in messages: { a: 1, b: "x", c: ObjectId('...') }. */
void bval_dump(struct bval v, struct buf *out);
void bdoc_dump(struct bdoc d, bool is_array, struct buf *out);

#endif
