/* One update statement, compiled: changing a document by it, and the document that an upsert inserts. What update and findAndModify share. */
#ifndef ELMO_QUERY_UPDATING_H
#define ELMO_QUERY_UPDATING_H

#include "eval/update.h"
#include "query/modify.h"

struct updating {
    struct modify modify;
    struct update *update;
    struct write_paths paths; /* what it may touch; paths NULL: everything */
    struct update_env env;
    struct modify_env exprs;
    struct arena scratch;
    struct buf buf, prepared;
    struct bdoc
        after; /* what the document last changed, or inserted, has become: valid until the next one; the old one's bytes when nothing changed */
};

void updating_init(struct updating *u, struct op *op);
void updating_release(struct updating *u);

/* Compiles the statement, whose documents must outlive its use; `change` is told for each document (updating_change, or what calls it). */
status updating_begin(struct updating *u, const struct update_statement *s,
                      status (*change)(struct modify *m, struct write_batch *b, struct bdoc doc, struct err *err),
                      struct err *err);
/* Ends the statement; updating_begin may follow. Nothing when none is begun. */
void updating_end(struct updating *u);

/* Changes one document that matches, as modify.change. */
status updating_change(struct modify *m, struct write_batch *b, struct bdoc doc, struct err *err);
/* Inserts what the update makes of the filter, in the batch, opened when it is not; u->after is the new document. */
status updating_upsert(struct updating *u, struct write_batch *b, struct err *err);

#endif
