/* What update and delete share: finding the documents of one statement, and changing each exactly once.
 *
 * One document: found and changed in the batch's own transaction. The scan's cursor was opened before the write, so the write is not seen by it.
 *
 * Many (multi), outside a session: a reading transaction R scans; each document that it gives is changed in the batch's transaction W, begun later.
 * R's snapshot does not move, so a document that the change moves ahead in the scanned index is not met again. In W the document is read anew, and
 * matched anew when it is no longer what R saw; a conflict undoes this document alone, commits the others and tries it in a fresh W. In a
 * session, whose transaction both scans and writes: the locators of all matches are gathered first.
 *
 * All statements of a command share an environment of expressions (modify_env): $$NOW and the values of `let` are the same for all of them. What one
 * statement put in it is taken out when that ends, what a scan put in it before the next scan. */
#ifndef ELMO_QUERY_MODIFY_H
#define ELMO_QUERY_MODIFY_H

#include "eval/expr.h"
#include "query/write_command.h"
#include "query/run.h"

/* Must stay where it is. */
struct modify_env {
    struct expr_env expr;
    const struct expr_var *vars; /* of `let` */
    uint32_t slot_count;
};

void modify_env_init(struct modify_env *e, struct op *op);
void modify_env_release(struct modify_env *e);
/* Evaluates `let` (p NULL: nothing); before any statement. */
status modify_env_let(struct modify_env *e, struct bdoc let, struct err *err);
/* Takes out what a statement put in. */
void modify_env_rewind(struct modify_env *e);

struct modify {
    struct op *op;
    struct modify_env *env;
    uint32_t slot_count; /* of variables, when everything of the statement is compiled */
    struct bdoc filter;
    struct bval hint;
    bool multi;
    struct bdoc sort;       /* which of several is the one, when not multi; p NULL: any */
    bool needs_score;       /* text scores are wanted */
    double score;           /* of the document that change gets, when needed and not multi */
    struct matcher matcher; /* compiled filter, for matching anew */
    /* Changes one document that matches, in the batch, which counts it when it wrote. */
    status (*change)(struct modify *m, struct write_batch *b, struct bdoc doc, struct err *err);
    struct tally {
        int64_t matched, modified;
    } tally; /* change adds to modified */
};

/* {_id: x} without a hint: x, a lookup without a plan. Else B_MISSING. */
struct bval modify_id(struct bdoc filter, struct bval hint);
/* Compiles the filter. When that and everything else of the statement is compiled, before it runs: modify_prepare. */
status modify_compile(struct modify *m, struct err *err);
status modify_prepare(struct modify *m, struct err *err);
/* Releases what modify_compile made, if it did. */
void modify_end(struct modify *m);
/* Runs the statement; the batch is open, and empty when multi. On success the tally tells how many there were; with multi everything is committed. */
status modify_run(struct modify *m, struct write_batch *b, struct err *err);

#endif
