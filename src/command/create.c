/* The create command. */
#include "base/codes.h"
#include "command/fields.h"
#include "command/requests.h"
#include "doc/db.h"

struct create {
    struct slice collection;
    struct bval collation, view_on, pipeline;
};

static const struct field fields[] = {
    {"create", FIELD_NAME, offsetof(struct create, collection), FIELD_REQUIRED},
    {"collation", FIELD_VALUE, offsetof(struct create, collation), 0},
    {"capped", FIELD_REFUSED, 0, 0},
    {"size", FIELD_REFUSED, 0, 0},
    {"max", FIELD_REFUSED, 0, 0},
    {"autoIndexId", FIELD_IGNORED, 0, 0},
    {"storageEngine", FIELD_IGNORED, 0, 0},
    {"indexOptionDefaults", FIELD_IGNORED, 0, 0},
    {"validator", FIELD_REFUSED, 0, 0},
    {"validationLevel", FIELD_IGNORED, 0, 0},
    {"validationAction", FIELD_IGNORED, 0, 0},
    {"viewOn", FIELD_VALUE, offsetof(struct create, view_on), 0},
    {"pipeline", FIELD_VALUE, offsetof(struct create, pipeline), 0},
    {"timeseries", FIELD_REFUSED, 0, 0},
    {"clusteredIndex", FIELD_REFUSED, 0, 0},
    {"expireAfterSeconds", FIELD_REFUSED, 0, 0},
    {"changeStreamPreAndPostImages", FIELD_REFUSED, 0, 0},
    {"encryptedFields", FIELD_REFUSED, 0, 0},
};

/* In a transaction of its own, or the session's. Conflicts outside a session are tried again. */
static status create_collection(struct op *op, struct ns ns, struct err *err) {
    if (op->session_txn != NULL) return catalog_create(op, op->session_txn, ns, bdoc_empty, NULL, err);
    for (;;) {
        struct kv_txn *txn = NULL;
        TRY(kv_begin(db_kv(op->db), false, &txn, err));
        status st = catalog_create(op, txn, ns, bdoc_empty, NULL, err);
        if (st == ST_OK) {
            st = kv_commit(txn, KV_SYNC, err);
        } else {
            kv_abort(txn);
        }
        if (st != ST_CONFLICT && st != ST_STALE) return st;
        TRY(op_check(op, err));
        err_clear(err);
    }
}

static bool is_given(struct bval v) { return v.type != B_MISSING && v.type != B_NULL && v.type != B_UNDEFINED; }

/* Views are not supported; what is wrong about one is said first. */
static status check_view(const struct create *cmd, struct err *err) {
    if (is_given(cmd->view_on) && cmd->view_on.type != B_STRING)
        return RAISE_CODE(err, CODE_TypeMismatch,
                          "BSON field 'create.viewOn' is the wrong type '%s', expected type 'string'",
                          btype_name(cmd->view_on.type));
    if (is_given(cmd->pipeline) && cmd->pipeline.type != B_ARRAY)
        return RAISE_CODE(err, CODE_TypeMismatch,
                          "BSON field 'create.pipeline' is the wrong type '%s', expected type 'array'",
                          btype_name(cmd->pipeline.type));
    if (is_given(cmd->pipeline) && !is_given(cmd->view_on))
        return RAISE_CODE(err, CODE_InvalidOptions, "'pipeline' requires 'viewOn' to also be specified");
    if (!is_given(cmd->view_on)) return ST_OK;
    if (bval_string(cmd->view_on).len == 0) return RAISE_CODE(err, CODE_BadValue, "'viewOn' cannot be empty");
    return RAISE_CODE(err, CODE_NotImplemented, "BSON field 'create.viewOn' is not supported");
}

static status run(struct command_call *call, struct err *err) {
    struct create cmd = {0};
    struct ns ns;
    TRY(fields_parse("create", call->body, fields, sizeof(fields) / sizeof(fields[0]), true, &cmd, err));
    TRY(collation_check(cmd.collation, err));
    TRY(check_view(&cmd, err));
    TRY(command_ns(call, cmd.collection, true, &ns, err));
    return create_collection(call->op, ns, err);
}

const struct command command_create = {.name = "create",
                                       .flags = COMMAND_WRITES | COMMAND_IN_TXN | COMMAND_API_V1,
                                       .run = run,
                                       .access = ACCESS_KEEPERS,
                                       .help = "Creates a collection."};
