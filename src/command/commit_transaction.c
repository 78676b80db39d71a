/* commitTransaction and abortTransaction: the ends of a transaction that began with a statement's startTransaction. */
#include "base/codes.h"
#include "command/fields.h"
#include "command/generic.h"
#include "doc/session.h"

struct end_transaction {
    struct bval name;
};

static const struct field commit_fields[] = {
    {"commitTransaction", FIELD_VALUE, offsetof(struct end_transaction, name), FIELD_REQUIRED},
    {"commitTimestamp", FIELD_IGNORED, 0, 0},
    {"durableTimestamp", FIELD_IGNORED, 0, 0},
    {"recoveryToken", FIELD_IGNORED, 0, 0},
};

static const struct field abort_fields[] = {
    {"abortTransaction", FIELD_VALUE, offsetof(struct end_transaction, name), FIELD_REQUIRED},
    {"recoveryToken", FIELD_IGNORED, 0, 0},
};

static status run_commit(struct command_call *call, struct err *err) {
    struct end_transaction cmd = {0};
    TRY(fields_parse("commitTransaction", call->body, commit_fields, sizeof(commit_fields) / sizeof(commit_fields[0]),
                     true, &cmd, err));
    return session_txn_commit(call->session, call->op, call->generic->number, err);
}

static status run_abort(struct command_call *call, struct err *err) {
    struct end_transaction cmd = {0};
    TRY(fields_parse("abortTransaction", call->body, abort_fields, sizeof(abort_fields) / sizeof(abort_fields[0]), true,
                     &cmd, err));
    return session_txn_abort(call->session, call->op, call->generic->number, err);
}

const struct command command_commit_transaction = {.name = "commitTransaction",
                                                   .flags = COMMAND_ADMIN_ONLY | COMMAND_IN_TXN | COMMAND_API_V1,
                                                   .run = run_commit,
                                                   .access = ACCESS_LOGGED_IN,
                                                   .help = "Commits a transaction."};
const struct command command_abort_transaction = {.name = "abortTransaction",
                                                  .flags = COMMAND_ADMIN_ONLY | COMMAND_IN_TXN | COMMAND_API_V1,
                                                  .run = run_abort,
                                                  .access = ACCESS_LOGGED_IN,
                                                  .help = "Aborts a transaction."};
