/* What runs now: the rows of currentOp and $currentOp. */
#ifndef ELMO_COMMAND_OPS_H
#define ELMO_COMMAND_OPS_H

#include "command/command.h"

struct ops_wanted {
    bool idle_connections;     /* clients between two commands, too */
    bool all_users;            /* as it was asked for; what counts is: */
    const struct client *only; /* NULL: of everybody; else of this client's user alone */
};
/* Appends a whole document per operation, in MongoDB's form, to `rows`. Long bodies are cut; those that may hold secrets are left out. */
status client_ops(struct command_env *env, const struct ops_wanted *wanted, struct buf *rows, struct err *err);

#endif
