/* The getMore command. */
#include "base/codes.h"
#include "command/auth.h"
#include "command/command.h"
#include "command/fields.h"

struct get_more {
    struct bval id;
    struct slice collection;
    int64_t batch_size;
};

static const struct field fields[] = {
    {"getMore", FIELD_VALUE, offsetof(struct get_more, id), FIELD_REQUIRED},
    {"collection", FIELD_STRING, offsetof(struct get_more, collection), FIELD_REQUIRED},
    {"batchSize", FIELD_COUNT, offsetof(struct get_more, batch_size), 0},
    {"term", FIELD_IGNORED, 0, 0},
    {"lastKnownCommittedOpTime", FIELD_IGNORED, 0, 0},
};

static status run(struct command_call *call, struct err *err) {
    struct get_more cmd = {.batch_size = 0};
    struct client_cursor *cursor = NULL;
    TRY(fields_parse("getMore", call->body, fields, sizeof(fields) / sizeof(fields[0]), true, &cmd, err));
    if (cmd.id.type != B_INT64) {
        return RAISE_CODE(err, CODE_TypeMismatch,
                          "BSON field 'getMore.getMore' is the wrong type '%s', expected type 'long'",
                          btype_name(cmd.id.type));
    }
    if (call->op->deadline_ns != 0)
        return RAISE_CODE(err, CODE_BadValue, "cannot set maxTimeMS on getMore command for a non-awaitData cursor");
    struct ns ns = {call->db, cmd.collection};
    command_count_ops(call->env, OPCOUNT_GETMORE, 1);
    TRY(cursors_take(call->env->cursors, call->op, bval_int64(cmd.id), ns, &cursor, err));
    /* A role that was taken away since must not go on to read. */
    status st = cursor->access != 0 ? command_authorize_ns(call, cursor->access, ns, err) : ST_OK;
    if (st != ST_OK) {
        (void) cursors_put(call->env->cursors, cursor);
        return st;
    }
    return cursor_reply(call->env->cursors, call->op, cursor, "nextBatch", cmd.batch_size > 0 ? cmd.batch_size : -1,
                        false, call->reply, err);
}

const struct command command_get_more = {.name = "getMore",
                                         .flags = COMMAND_IN_TXN | COMMAND_API_V1,
                                         .run = run,
                                         .access = ACCESS_LOGGED_IN,
                                         .help = "The next documents of a cursor."};
