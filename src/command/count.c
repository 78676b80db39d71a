/* The count command. */
#include "base/codes.h"
#include "command/fields.h"
#include "command/requests.h"

struct count {
    struct slice collection;
    struct bdoc query;
    struct bval hint, collation;
    int64_t skip, limit;
};

static const struct field fields[] = {
    {"count", FIELD_NAMESPACE, offsetof(struct count, collection), FIELD_REQUIRED},
    {"query", FIELD_DOCUMENT, offsetof(struct count, query), 0},
    {"hint", FIELD_VALUE, offsetof(struct count, hint), 0},
    {"skip", FIELD_COUNT, offsetof(struct count, skip), 0},
    {"limit", FIELD_INT64, offsetof(struct count, limit), 0},
    {"collation", FIELD_VALUE, offsetof(struct count, collation), 0},
    {"fields", FIELD_IGNORED, 0, 0},
};

status count_command_parse(const struct command_call *call, struct bdoc body, struct find_request *req,
                           struct err *err) {
    struct count cmd = {0};
    TRY(fields_parse("count", body, fields, sizeof(fields) / sizeof(fields[0]), true, &cmd, err));
    TRY(collation_check(cmd.collation, err));
    if (cmd.limit == INT64_MIN)
        return RAISE_CODE(err, CODE_BadValue, "limit value for count cannot be the least 64-bit number");
    /* A negative limit means the same as its absolute value, as the old wire protocol had it. */
    *req = (struct find_request){.filter = cmd.query,
                                 .hint = cmd.hint,
                                 .skip = cmd.skip,
                                 .limit = cmd.limit < 0 ? -cmd.limit : cmd.limit};
    return command_ns(call, cmd.collection, false, &req->ns, err);
}

static status run(struct command_call *call, struct err *err) {
    struct find_request req;
    int64_t n = 0;
    TRY(count_command_parse(call, call->body, &req, err));
    TRY(count_run(call->op, &req, &n, err));
    if (n <= INT32_MAX) {
        bbuild_int32(call->reply, "n", (int32_t) n);
    } else {
        bbuild_int64(call->reply, "n", n);
    }
    return ST_OK;
}

const struct command command_count = {
    .name = "count", .flags = COMMAND_API_V1, .run = run, .access = ACCESS_READERS, .help = "Counts documents."};
