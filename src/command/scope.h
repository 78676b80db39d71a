/* The session around a command: found by its lsid, entered when it runs a transaction or a retryable write, told how the command ended. */
#ifndef ELMO_COMMAND_SCOPE_H
#define ELMO_COMMAND_SCOPE_H

#include "command/generic.h"
#include "doc/history.h"

struct command_scope {
    struct command_call *call;
    bool is_entered, in_txn;
    struct history history; /* op->history points to it, or nothing does */
};

/* `own`: the session of the program's own caller, or NULL. On failure nothing needs to be ended; a failed transaction is aborted already. */
status scope_begin(struct command_scope *scope, struct command_call *call, struct session *own, struct err *err);
/* The command answered st. Its labels are added to err; retriedStmtIds to the reply. Answers st. */
status scope_end(struct command_scope *scope, status st, struct err *err);

/* The lsid with the client's user; borrows from both. */
struct session_id scope_session_id(const struct client *client, const uint8_t uuid[16]);

#endif
