/* killOp: {killOp: 1, op: number}. */
#include "base/codes.h"
#include "bson/number.h"
#include "command/auth.h"
#include "command/fields.h"

struct kill_op {
    struct bval name;
    struct bval op;
};

static const struct field fields[] = {
    {"killOp", FIELD_VALUE, offsetof(struct kill_op, name), FIELD_REQUIRED},
    {"op", FIELD_VALUE, offsetof(struct kill_op, op), 0},
};

static status run(struct command_call *call, struct err *err) {
    struct kill_op cmd = {0};
    int64_t id;
    TRY(fields_parse("killOp", call->body, fields, sizeof(fields) / sizeof(fields[0]), true, &cmd, err));
    if (cmd.op.type == B_MISSING) return RAISE_CODE(err, CODE_NoSuchKey, "Missing expected field \"op\"");
    if (!bval_is_number(cmd.op))
        return RAISE_CODE(err, CODE_TypeMismatch, "Expected field \"op\" to have numeric type, but found %s",
                          btype_name(cmd.op.type));
    if (!bnum_to_int64_exact(bnum_of(cmd.op), &id))
        return RAISE_CODE(err, CODE_BadValue, "Expected field \"op\" to have a value exactly representable as a 64-bit integer");
    /* Everybody may stop what is his own. One that has ended, or is another's, is answered alike, as MongoDB does. */
    const struct client *only = auth_may(call, ACCESS_BY_CLUSTER, call->db) ? NULL : call->client;
    (void) service_kill_op(call->env, (uint64_t) id, only, CODE_Interrupted);
    bbuild_str(call->reply, "info", "attempting to kill op");
    return ST_OK;
}

const struct command command_kill_op = {
    .name = "killOp", .flags = COMMAND_ADMIN_ONLY, .run = run, .access = ACCESS_ASKS, .help = "Stops what runs."};
