/* findAndModify: the first document that matches, in the order asked for, is updated, replaced or deleted, and answered as it was or as it has become: one step that no
 * other writer comes between. Outside a session it is tried again until no other writer came between. */
#ifndef ELMO_QUERY_FIND_AND_MODIFY_H
#define ELMO_QUERY_FIND_AND_MODIFY_H

#include "query/write.h"

struct find_and_modify_request {
    struct ns ns;
    struct bdoc sort, projection; /* p NULL: none */
    struct bdoc let;              /* variables for expressions; p NULL: none */
    bool remove;                  /* else it is updated */
    bool returns_new;             /* the document as the update left it; not with remove */
    bool bypass_validation;
    struct update_statement statement; /* multi is false; remove uses the filter and the hint alone */
};

/* In the op's arena. */
struct find_and_modify_result {
    bool found;           /* a document matched: it was changed, or was already as it should be */
    struct bval upserted; /* the _id of the document that was inserted; B_MISSING: none was */
    struct bdoc value;    /* p NULL: there is none */
};

status find_and_modify_run(struct op *op, const struct find_and_modify_request *req, struct find_and_modify_result *out,
                           struct err *err);
/* What it would do, as update_explain. */
status find_and_modify_explain(struct op *op, const struct find_and_modify_request *req, enum explain_verbosity v,
                               struct bbuild *out, struct err *err);

#endif
