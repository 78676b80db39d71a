/* The fields that any command takes, read in one pass, checked where they mean something: session, transaction, read and write concern, API version, maxTimeMS. */
#ifndef ELMO_COMMAND_GENERIC_H
#define ELMO_COMMAND_GENERIC_H

#include "command/command.h"

struct generic {
    bool has_lsid;
    uint8_t lsid[16];
    bool has_number; /* txnNumber */
    int64_t number;
    bool has_autocommit, autocommit, has_start, start;
    bool has_stmt_id;
    int32_t stmt_id;
    struct bdoc stmt_ids; /* p NULL: not given */
    struct bval read_concern, write_concern, comment;
    struct slice api_version; /* p NULL: not given */
    bool has_api_flag, api_strict;
    int64_t max_time_ms; /* 0: none */
};

bool generic_is_field(struct slice name);
/* `command` is for messages. */
status generic_parse(const char *command, struct bdoc body, struct generic *out, struct err *err);
/* Rules that bind these fields to each other and to the command: MongoDB's codes. `is_replica`: elmo says that it is a replica set of one. */
status generic_check(const struct generic *g, const struct command *command, bool is_replica, struct err *err);
/* {writeConcernError: ...} when a replica set of one cannot give what was asked for. */
void generic_append_concern_error(const struct generic *g, struct bbuild *reply);
/* Is this command a statement of a transaction? */
static inline bool generic_in_txn(const struct generic *g) { return g->has_autocommit; }

/* Sets the op's deadline from a maxTimeMS: a whole number of milliseconds, 0 for none. */
status command_deadline(struct op *op, struct bdoc body, struct err *err);

#endif
