/* The loop over a write command's statements (insert: its documents), with MongoDB's ordered and unordered semantics. See write.h. */
#ifndef ELMO_QUERY_WRITE_COMMAND_H
#define ELMO_QUERY_WRITE_COMMAND_H

#include "query/write_batch.h"
#include "query/retry.h"
#include "query/write.h"

struct write_command {
    uint32_t count;
    bool ordered, creates; /* a missing collection is made before the statement runs */
    /* Runs statement i in the batch, which is open (its collection NULL: there is none), and adds to `out` when it is done. A statement that failed has written
     * nothing that matters: it is undone to the mark taken before. */
    status (*run)(void *ctx, struct write_batch *b, uint32_t i, struct write_result *out, struct err *err);
    /* Does statement i want the batch empty, to run transactions of its own through it? May be NULL: none does. */
    bool (*runs_alone)(void *ctx, uint32_t i);
    void *ctx;
};

status write_command_run(struct op *op, struct ns ns, const struct write_command *cmd, struct write_result *out,
                         struct err *err);

/* Does the failure belong to one statement (it becomes a write error) or to the whole command? */
bool write_error_is_of_statement(status st);
status write_result_add_upserted(struct op *op, struct write_result *out, uint32_t i, struct bval id, struct err *err);

#endif
