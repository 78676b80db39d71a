/* The explain command: parses the command inside as that command would be parsed, and asks the planner. */
#include "base/codes.h"
#include "command/fields.h"
#include "command/requests.h"
#include "command/version.h"

struct explain {
    struct bdoc command;
    struct slice verbosity;
};

static const struct field fields[] = {
    {"explain", FIELD_DOCUMENT, offsetof(struct explain, command), FIELD_REQUIRED},
    {"verbosity", FIELD_STRING, offsetof(struct explain, verbosity), 0},
};

static status parse_verbosity(struct slice text, enum explain_verbosity *out, struct err *err) {
    static const char *const names[] = {"queryPlanner", "executionStats", "allPlansExecution"};
    *out = EXPLAIN_ALL_PLANS;
    if (text.p == NULL) return ST_OK;
    for (int i = 0; i < 3; i++) {
        if (slice_equal(text, slice_str(names[i]))) {
            *out = (enum explain_verbosity) i;
            return ST_OK;
        }
    }
    return RAISE_CODE(err, CODE_BadValue,
                      "Enumeration value '%.*s' for field 'explain.verbosity' is not a valid value.", (int) text.len,
                      (const char *) text.p);
}

static status explain_read(struct command_call *call, struct bdoc inner, struct slice name, enum explain_verbosity v,
                           struct err *err) {
    struct find_command cmd;
    struct find_request req;
    struct slice key = SLICE_NONE;
    enum explain_kind kind = EXPLAIN_FIND;
    if (slice_equal(name, SLICE_LIT("aggregate"))) {
        struct pipeline_request pipeline;
        int64_t batch_size;
        bool explains = true;
        TRY(aggregate_command_parse(call, inner, &pipeline, &batch_size, &explains, err));
        return pipeline_explain(call->op, &pipeline, v, call->reply, err);
    }
    if (slice_equal(name, SLICE_LIT("find"))) {
        TRY(find_command_parse(call, inner, &cmd, &req, err));
    } else if (slice_equal(name, SLICE_LIT("count"))) {
        kind = EXPLAIN_COUNT;
        TRY(count_command_parse(call, inner, &req, err));
    } else {
        kind = EXPLAIN_DISTINCT;
        TRY(distinct_command_parse(call, inner, &req, &key, err));
    }
    return find_explain(call->op, &req, kind, key, v, call->reply, err);
}

static status explain_write(struct command_call *call, struct bdoc inner, struct slice name, enum explain_verbosity v,
                            struct err *err) {
    if (slice_equal(name, SLICE_LIT("update"))) {
        struct update_request req;
        TRY(update_command_parse(call, inner, &req, err));
        if (req.statement_count != 1)
            return RAISE_CODE(err, CODE_InvalidLength, "explained write batches must be of size 1");
        return update_explain(call->op, &req, v, call->reply, err);
    }
    if (!slice_equal(name, SLICE_LIT("delete"))) {
        struct find_and_modify_request req;
        struct slice collection;
        TRY(find_and_modify_parse(inner, true, &collection, &req, err));
        TRY(command_ns(call, collection, true, &req.ns, err));
        return find_and_modify_explain(call->op, &req, v, call->reply, err);
    }
    struct delete_request req;
    TRY(delete_command_parse(call, inner, &req, err));
    if (req.statement_count != 1)
        return RAISE_CODE(err, CODE_InvalidLength, "explained write batches must be of size 1");
    return delete_explain(call->op, &req, v, call->reply, err);
}

static status run(struct command_call *call, struct err *err) {
    struct explain cmd = {.command = bdoc_empty};
    enum explain_verbosity v;
    TRY(fields_parse("explain", call->body, fields, sizeof(fields) / sizeof(fields[0]), true, &cmd, err));
    TRY(parse_verbosity(cmd.verbosity, &v, err));
    struct biter it = biter_of(cmd.command);
    struct belem first;
    if (!biter_next(&it, &first)) return RAISE_CODE(err, CODE_FailedToParse, "explain needs the command to explain");
    struct command_call inner = *call;
    inner.body = cmd.command;
    inner.command = command_find_by_name(first.name, NULL);
    if (inner.command != NULL) TRY(command_authorize(&inner, inner.command->access, call->db, err));
    static const char *const reads[] = {"find", "count", "distinct", "aggregate"},
                             *const writes[] = {"update", "delete", "findAndModify", "findandmodify"};
    status st = ST_NOT_FOUND;
    for (size_t i = 0; i < 4; i++) {
        if (slice_equal(first.name, slice_str(reads[i]))) st = explain_read(call, cmd.command, first.name, v, err);
    }
    for (size_t i = 0; i < 4; i++) {
        if (slice_equal(first.name, slice_str(writes[i]))) st = explain_write(call, cmd.command, first.name, v, err);
    }
    if (st == ST_NOT_FOUND) {
        return RAISE_CODE(err, CODE_CommandNotFound, "Explain failed due to unknown command: %.*s",
                          (int) first.name.len, (const char *) first.name.p);
    }
    TRY(st);
    bbuild_doc(call->reply, "command", cmd.command);
    struct bbuild info = bbuild_open_doc(call->reply, SLICE_LIT("serverInfo"));
    bbuild_str(&info, "version", MONGODB_VERSION);
    bbuild_str(&info, "elmoVersion", call->env->version);
    bbuild_close(&info);
    return ST_OK;
}

const struct command command_explain = {.name = "explain",
                                        .flags = COMMAND_API_V1,
                                        .run = run,
                                        .access = ACCESS_ASKS,
                                        .help = "Tells how a command would be executed."};
