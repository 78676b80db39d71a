/* The aggregate command. */
#include "base/codes.h"
#include "bson/number.h"
#include "command/auth.h"
#include "command/command.h"
#include "command/fields.h"
#include "command/ops.h"
#include "command/requests.h"
#include "doc/db.h"

struct aggregate {
    struct bval collection, pipeline, cursor, hint, collation;
    struct bdoc let;
    bool explain, allow_disk_use, bypass_validation;
};

static const struct field fields[] = {
    {"aggregate", FIELD_VALUE, offsetof(struct aggregate, collection), FIELD_REQUIRED},
    {"pipeline", FIELD_VALUE, offsetof(struct aggregate, pipeline), FIELD_REQUIRED},
    {"cursor", FIELD_VALUE, offsetof(struct aggregate, cursor), 0},
    {"explain", FIELD_BOOL, offsetof(struct aggregate, explain), 0},
    {"allowDiskUse", FIELD_BOOL, offsetof(struct aggregate, allow_disk_use), 0},
    {"hint", FIELD_VALUE, offsetof(struct aggregate, hint), 0},
    {"let", FIELD_DOCUMENT, offsetof(struct aggregate, let), 0},
    {"bypassDocumentValidation", FIELD_BOOL, offsetof(struct aggregate, bypass_validation), 0},
    {"collation", FIELD_VALUE, offsetof(struct aggregate, collation), 0},
    {"fromMongos", FIELD_IGNORED, 0, 0},
};

static status read_cursor(const struct aggregate *cmd, int64_t *batch_size, struct err *err) {
    *batch_size = 101;
    if (cmd->cursor.type == B_MISSING) {
        return cmd->explain ? ST_OK
                            : RAISE_CODE(err, CODE_FailedToParse,
                                         "The 'cursor' option is required, except for aggregate with the explain argument");
    }
    if (cmd->cursor.type != B_DOCUMENT)
        return RAISE_CODE(err, CODE_TypeMismatch, "cursor field must be missing or an object");
    TRY(list_cursor_parse(bval_doc(cmd->cursor), batch_size, err));
    if (*batch_size < 0) *batch_size = 101;
    return ST_OK;
}

/* A collection's name, or 1 for none. */
static status read_ns(const struct command_call *call, struct bval v, struct ns *out, struct err *err) {
    int64_t one;
    *out = (struct ns){call->db, SLICE_LIT("")};
    if (v.type == B_STRING) return command_ns(call, bval_string(v), false, out, err);
    if (!bval_is_number(v))
        return RAISE_CODE(err, CODE_TypeMismatch, "collection name has invalid type %s", btype_name(v.type));
    if (bnum_to_int64_exact(bnum_of(v), &one) && one == 1) return ST_OK;
    return RAISE_CODE(err, CODE_FailedToParse, "Invalid command format: the 'aggregate' field must specify a collection name or 1");
}

/* --- may this client? The collection itself was asked about already; these are the others. --- */

static status authorize_stages(const struct command_call *call, struct bdoc pipeline, struct err *err);

/* $out's and $merge's: a name, or {db, coll}. What is neither is refused when the pipeline is made. */
static status authorize_target(const struct command_call *call, struct bval v, struct err *err) {
    struct slice db = call->db;
    if (v.type == B_DOCUMENT) {
        struct bval named = bdoc_get_str(bval_doc(v), "db");
        if (named.type == B_STRING) db = bval_string(named);
        v = bdoc_get_str(bval_doc(v), "coll");
    }
    struct slice coll = v.type == B_STRING ? bval_string(v) : SLICE_NONE;
    return command_authorize_ns(call, ACCESS_BY_WRITE, (struct ns){db, coll}, err);
}

/* Whatever field of that name may count: `from` of $lookup, `coll` of $unionWith, `into` of $merge, `pipeline`, and $facet's pipelines. */
static status authorize_stage(const struct command_call *call, struct slice name, struct bval spec, struct err *err) {
    bool is_merge = slice_equal(name, SLICE_LIT("$merge")), is_facet = slice_equal(name, SLICE_LIT("$facet")),
         reads = slice_equal(name, SLICE_LIT("$lookup")) || slice_equal(name, SLICE_LIT("$unionWith"));
    if (slice_equal(name, SLICE_LIT("$out")) || (is_merge && spec.type == B_STRING))
        return authorize_target(call, spec, err);
    if (reads && spec.type == B_STRING)
        return command_authorize_ns(call, ACCESS_READERS, (struct ns){call->db, bval_string(spec)}, err);
    if (!(reads || is_merge || is_facet) || spec.type != B_DOCUMENT) return ST_OK;
    struct biter it = biter_of(bval_doc(spec));
    struct belem e;
    while (biter_next(&it, &e)) {
        if (is_merge && slice_equal(e.name, SLICE_LIT("into"))) TRY(authorize_target(call, e.value, err));
        if (is_merge) continue;
        if (e.value.type == B_ARRAY && (is_facet || slice_equal(e.name, SLICE_LIT("pipeline"))))
            TRY(authorize_stages(call, bval_doc(e.value), err));
        if (reads && e.value.type == B_STRING &&
            (slice_equal(e.name, SLICE_LIT("from")) || slice_equal(e.name, SLICE_LIT("coll"))))
            TRY(command_authorize_ns(call, ACCESS_READERS, (struct ns){call->db, bval_string(e.value)}, err));
    }
    return ST_OK;
}

/* As deep as BSON may nest. */
static status authorize_stages(const struct command_call *call, struct bdoc pipeline, struct err *err) {
    struct biter it = biter_of(pipeline);
    struct belem stage, e;
    while (biter_next(&it, &stage)) {
        if (stage.value.type != B_DOCUMENT) continue;
        struct biter fields_it = biter_of(bval_doc(stage.value));
        while (biter_next(&fields_it, &e)) TRY(authorize_stage(call, e.name, e.value, err));
    }
    return ST_OK;
}

status aggregate_command_parse(const struct command_call *call, struct bdoc body, struct pipeline_request *req,
                               int64_t *batch_size, bool *explain, struct err *err) {
    struct aggregate cmd = {.explain = *explain};
    TRY(fields_parse("aggregate", body, fields, sizeof(fields) / sizeof(fields[0]), true, &cmd, err));
    TRY(collation_check(cmd.collation, err));
    if (cmd.pipeline.type != B_ARRAY)
        return RAISE_CODE(err, CODE_TypeMismatch, "'pipeline' option must be specified as an array");
    cmd.explain = cmd.explain || *explain;
    TRY(read_cursor(&cmd, batch_size, err));
    if (cmd.hint.type != B_MISSING && cmd.hint.type != B_STRING && cmd.hint.type != B_DOCUMENT)
        return RAISE_CODE(err, CODE_FailedToParse, "Hint must be a string or an object");
    *req = (struct pipeline_request){.pipeline = bval_doc(cmd.pipeline),
                                     .let = cmd.let,
                                     .hint = cmd.hint,
                                     .allow_disk_use = cmd.allow_disk_use,
                                     .bypass_validation = cmd.bypass_validation};
    *explain = cmd.explain;
    TRY(read_ns(call, cmd.collection, &req->ns, err));
    TRY(authorize_stages(call, req->pipeline, err));
    if (!pipeline_writes(req->pipeline) || *explain) return ST_OK;
    if (db_is_read_only(call->op->db))
        return RAISE(err, ST_READ_ONLY, "a pipeline with $out or $merge needs to write, but the database was opened read-only");
    return ST_OK;
}

static status open_cursor(struct command_call *call, const struct pipeline_request *req, struct client_cursor **out,
                          struct err *err) {
    struct ns ns = req->ns;
    if (ns.coll.len == 0) ns.coll = SLICE_LIT("$cmd.aggregate");
    TRY(client_cursor_new(call->env->cursors, ns, NULL, out, err));
    status st = pipeline_open(call->op, req, &(*out)->pipeline, err);
    if (st != ST_OK) client_cursor_free(call->env->cursors, *out);
    return st;
}

static const struct field current_op_fields[] = {
    {"allUsers", FIELD_STRICT_BOOL, offsetof(struct ops_wanted, all_users), 0},
    {"idleConnections", FIELD_STRICT_BOOL, offsetof(struct ops_wanted, idle_connections), 0},
    {"idleSessions", FIELD_IGNORED, 0, 0},
    {"idleCursors", FIELD_IGNORED, 0, 0},
    {"localOps", FIELD_IGNORED, 0, 0},
    {"truncateOps", FIELD_IGNORED, 0, 0},
    {"targetAllNodes", FIELD_IGNORED, 0, 0},
    {"backtrace", FIELD_IGNORED, 0, 0},
};

/* $currentOp's rows; everybody's are for who may monitor. */
static status current_op(void *ctx, struct bdoc spec, struct buf *rows, struct err *err) {
    const struct command_call *call = ctx;
    struct ops_wanted wanted = {0};
    TRY(fields_parse("$currentOp", spec, current_op_fields, sizeof(current_op_fields) / sizeof(current_op_fields[0]),
                     false, &wanted, err));
    if (wanted.all_users) TRY(command_authorize(call, ACCESS_BY_MONITOR, call->db, err));
    wanted.only = wanted.all_users ? NULL : call->client;
    return client_ops(call->env, &wanted, rows, err);
}

static status run(struct command_call *call, struct err *err) {
    struct pipeline_request req;
    struct pipeline_hooks hooks = {current_op, call};
    struct client_cursor *cursor = NULL;
    int64_t batch_size;
    bool explain = false;
    TRY(aggregate_command_parse(call, call->body, &req, &batch_size, &explain, err));
    command_count_ops(call->env, OPCOUNT_COMMAND, 1);
    req.hooks = &hooks;
    if (explain) return pipeline_explain(call->op, &req, EXPLAIN_QUERY_PLANNER, call->reply, err);
    TRY(open_cursor(call, &req, &cursor, err));
    cursor->access = call->command->access;
    return cursor_reply(call->env->cursors, call->op, cursor, "firstBatch", batch_size, false, call->reply, err);
}

const struct command command_aggregate = {.name = "aggregate",
                                          .flags = COMMAND_IN_TXN | COMMAND_API_V1,
                                          .run = run,
                                          .access = ACCESS_READERS,
                                          .help = "Runs an aggregation pipeline."};
