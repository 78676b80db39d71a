/* What update and delete share: finding the documents of one statement, and changing each exactly once.
 *
 * One document: found and changed in the batch's own transaction. The scan's cursor was opened before the write, so the write is not seen by it.
 *
 * Many (multi), outside a session: a reading transaction R scans; each document that it gives is changed in the batch's transaction W, begun later.
 * R's snapshot does not move, so a document that the change moves ahead in the scanned index is not met again. In W the document is read anew, and
 * matched anew when it is no longer what R saw; a conflict undoes this document alone, commits the others and tries it in a fresh W. In a
 * session, whose transaction both scans and writes: the locators of all matches are gathered first. */
#ifndef ELMO_QUERY_MODIFY_H
#define ELMO_QUERY_MODIFY_H

#include "query/write_command.h"
#include "query/run.h"

struct modify {
    struct op *op;
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
/* Runs the statement; the batch is open, and empty when multi. On success the tally tells how many there were; with multi everything is committed. */
status modify_run(struct modify *m, struct write_batch *b, struct err *err);

#endif
