/* The create command. */
#include "base/codes.h"
#include "command/fields.h"
#include "command/requests.h"
#include "doc/db.h"

struct create {
    struct slice collection;
    struct bval collation;
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
    {"viewOn", FIELD_REFUSED, 0, 0},
    {"pipeline", FIELD_REFUSED, 0, 0},
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

static status run(struct command_call *call, struct err *err) {
    struct create cmd = {0};
    struct ns ns;
    TRY(fields_parse("create", call->body, fields, sizeof(fields) / sizeof(fields[0]), true, &cmd, err));
    TRY(collation_check(cmd.collation, err));
    TRY(command_ns(call, cmd.collection, true, &ns, err));
    return create_collection(call->op, ns, err);
}

const struct command command_create = {"create", COMMAND_WRITES, run};
