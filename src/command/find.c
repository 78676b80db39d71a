/* The find command. */
#include "base/codes.h"
#include "command/command.h"
#include "command/fields.h"
#include "command/requests.h"

const struct field find_fields[] = {
    {"find", FIELD_NAMESPACE, offsetof(struct find_command, collection), FIELD_REQUIRED},
    {"filter", FIELD_DOCUMENT, offsetof(struct find_command, filter), 0},
    {"sort", FIELD_DOCUMENT, offsetof(struct find_command, sort), 0},
    {"projection", FIELD_DOCUMENT, offsetof(struct find_command, projection), 0},
    {"hint", FIELD_VALUE, offsetof(struct find_command, hint), 0},
    {"skip", FIELD_COUNT, offsetof(struct find_command, skip), 0},
    {"limit", FIELD_COUNT, offsetof(struct find_command, limit), 0},
    {"batchSize", FIELD_COUNT, offsetof(struct find_command, batch_size), 0},
    {"singleBatch", FIELD_BOOL, offsetof(struct find_command, single_batch), 0},
    {"noCursorTimeout", FIELD_BOOL, offsetof(struct find_command, no_cursor_timeout), 0},
    {"allowDiskUse", FIELD_BOOL, offsetof(struct find_command, allow_disk_use), 0},
    {"collation", FIELD_VALUE, offsetof(struct find_command, collation), 0},
    {"let", FIELD_DOCUMENT, offsetof(struct find_command, let), 0},
    {"min", FIELD_REFUSED, 0, 0},
    {"max", FIELD_REFUSED, 0, 0},
    {"returnKey", FIELD_REFUSED, 0, 0},
    {"showRecordId", FIELD_REFUSED, 0, 0},
    {"tailable", FIELD_REFUSED, 0, 0},
    {"awaitData", FIELD_REFUSED, 0, 0},
    {"oplogReplay", FIELD_IGNORED, 0, 0},
    {"allowPartialResults", FIELD_IGNORED, 0, 0},
};
const size_t find_field_count = sizeof(find_fields) / sizeof(find_fields[0]);

status collation_check(struct bval collation, struct err *err) {
    if (collation.type == B_MISSING || collation.type == B_NULL) return ST_OK;
    if (collation.type != B_DOCUMENT)
        return RAISE_CODE(err, CODE_TypeMismatch, "collation must be an object, not %s", btype_name(collation.type));
    struct bdoc d = bval_doc(collation);
    struct bval locale = bdoc_get_str(d, "locale");
    if (bdoc_is_empty(d) || (locale.type == B_STRING && slice_equal(bval_string(locale), SLICE_LIT("simple"))))
        return ST_OK;
    return RAISE_CODE(err, CODE_NotImplemented, "collations other than {locale: \"simple\"} are not supported");
}

status find_command_parse(const struct command_call *call, struct bdoc body, struct find_command *cmd,
                          struct find_request *req, struct err *err) {
    *cmd = (struct find_command){.batch_size = 101};
    TRY(fields_parse("find", body, find_fields, find_field_count, true, cmd, err));
    TRY(collation_check(cmd->collation, err));
    *req = (struct find_request){.filter = cmd->filter,
                                 .projection = cmd->projection,
                                 .sort = cmd->sort,
                                 .hint = cmd->hint,
                                 .skip = cmd->skip,
                                 .limit = cmd->limit,
                                 .allow_disk_use = cmd->allow_disk_use,
                                 .let = cmd->let};
    return command_ns(call, cmd->collection, false, &req->ns, err);
}

static status run(struct command_call *call, struct err *err) {
    struct find_command cmd;
    struct find_request req;
    struct find *find = NULL;
    struct client_cursor *cursor = NULL;
    TRY(find_command_parse(call, call->body, &cmd, &req, err));
    command_count_ops(call->env, OPCOUNT_QUERY, 1);
    TRY(find_open(call->op, &req, &find, err));
    status st = client_cursor_new(call->env->cursors, req.ns, find, &cursor, err);
    if (st != ST_OK) {
        find_close(find);
        return st;
    }
    cursor->access = call->command->access;
    cursor->no_timeout = cmd.no_cursor_timeout;
    if (cmd.limit > 0) cursor->rows_left = cmd.limit;
    return cursor_reply(call->env->cursors, call->op, cursor, "firstBatch", cmd.batch_size, cmd.single_batch,
                        call->reply, err);
}

const struct command command_find = {.name = "find",
                                     .flags = COMMAND_IN_TXN | COMMAND_API_V1,
                                     .run = run,
                                     .access = ACCESS_READERS,
                                     .help = "Finds documents."};
