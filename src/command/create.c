/* The create command. */
#include "base/codes.h"
#include "command/ddl.h"
#include "command/fields.h"
#include "command/requests.h"
#include "doc/db.h"

struct create {
    struct slice collection;
    struct bval collation;
};

static const struct field fields[] = {
    {"create", FIELD_STRING, offsetof(struct create, collection), FIELD_REQUIRED},
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
    {"viewOn", FIELD_REFUSED, 0, 0},
    {"pipeline", FIELD_REFUSED, 0, 0},
    {"timeseries", FIELD_REFUSED, 0, 0},
    {"clusteredIndex", FIELD_REFUSED, 0, 0},
    {"expireAfterSeconds", FIELD_REFUSED, 0, 0},
    {"changeStreamPreAndPostImages", FIELD_REFUSED, 0, 0},
    {"encryptedFields", FIELD_REFUSED, 0, 0},
};

/* create and drop commit a transaction of their own; a session's is used as it is. Conflicts outside a session are tried again. */
status ddl_run(struct op *op, status (*change)(struct op *op, struct kv_txn *txn, void *ctx, struct err *err), void *ctx, struct err *err) {
    if (op->session_txn != NULL) return change(op, op->session_txn, ctx, err);
    for (;;) {
        struct kv_txn *txn = NULL;
        TRY(kv_begin(db_kv(op->db), false, &txn, err));
        status st = change(op, txn, ctx, err);
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

struct create_ctx { struct ns ns; };

static status create_in(struct op *op, struct kv_txn *txn, void *ctx, struct err *err) {
    struct create_ctx *c = ctx;
    return catalog_create(op, txn, c->ns, bdoc_empty, NULL, err);
}

static status run(struct command_call *call, struct err *err) {
    struct create cmd = {0};
    struct create_ctx ctx;
    TRY(fields_parse("create", call->body, fields, sizeof(fields) / sizeof(fields[0]), true, &cmd, err));
    TRY(collation_check(cmd.collation, err));
    TRY(command_ns(call, cmd.collection, true, &ctx.ns, err));
    return ddl_run(call->op, create_in, &ctx, err);
}

const struct command command_create = {"create", COMMAND_WRITES, run};
