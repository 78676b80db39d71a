/* The create command. Every collection keeps its documents by _id, so a clustered index is what it has anyway: it is remembered, for those who list it. */
#include "base/codes.h"
#include "command/fields.h"
#include "command/requests.h"
#include "doc/db.h"

struct create {
    struct slice collection;
    struct slice validation_level, validation_action;
    struct bval collation, view_on, pipeline;
    struct bdoc clustered;
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
    {"validationLevel", FIELD_STRING, offsetof(struct create, validation_level), 0},
    {"validationAction", FIELD_STRING, offsetof(struct create, validation_action), 0},
    {"viewOn", FIELD_VALUE, offsetof(struct create, view_on), 0},
    {"pipeline", FIELD_VALUE, offsetof(struct create, pipeline), 0},
    {"timeseries", FIELD_REFUSED, 0, 0},
    {"clusteredIndex", FIELD_DOCUMENT, offsetof(struct create, clustered), 0},
    {"expireAfterSeconds", FIELD_REFUSED, 0, 0},
    {"changeStreamPreAndPostImages", FIELD_REFUSED, 0, 0},
    {"encryptedFields", FIELD_REFUSED, 0, 0},
};

/* In a transaction of its own, or the session's. Conflicts outside a session are tried again. */
static status create_collection(struct op *op, struct ns ns, struct bdoc options, struct err *err) {
    if (op->session_txn != NULL) return catalog_create(op, op->session_txn, ns, options, NULL, err);
    for (;;) {
        struct kv_txn *txn = NULL;
        TRY(kv_begin(db_kv(op->db), false, &txn, err));
        status st = catalog_create(op, txn, ns, options, NULL, err);
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

struct clustered {
    struct bdoc key;
    struct slice name;
    int64_t version;
    bool is_unique;
};

static status parse_clustered(struct bdoc doc, struct clustered *out, struct err *err) {
    static const struct field rows[] = {
        {"v", FIELD_INT64, offsetof(struct clustered, version), 0},
        {"key", FIELD_DOCUMENT, offsetof(struct clustered, key), FIELD_REQUIRED},
        {"unique", FIELD_BOOL, offsetof(struct clustered, is_unique), FIELD_REQUIRED},
        {"name", FIELD_STRING, offsetof(struct clustered, name), 0},
    };
    *out = (struct clustered){.name = SLICE_LIT("_id_"), .version = 2};
    TRY(fields_parse("create.clusteredIndex", doc, rows, sizeof(rows) / sizeof(rows[0]), false, out, err));
    struct bval one = bdoc_get_str(out->key, "_id");
    int64_t direction = 0;
    if (bdoc_count(out->key) != 1 || !bval_is_number(one) || !bnum_to_int64_exact(bnum_of(one), &direction) ||
        direction != 1)
        return RAISE_CODE(err, CODE_InvalidIndexSpecificationOption,
                          "The clusteredIndex option is only supported for the key {_id: 1}");
    if (!out->is_unique)
        return RAISE_CODE(err, 5979700, "The clusteredIndex option requires unique: true to be specified");
    if (out->version != 2)
        return RAISE_CODE(err, CODE_InvalidIndexSpecificationOption, "The clusteredIndex option has version 2 only");
    return ST_OK;
}

/* What the catalog remembers of the options, in the op's arena. */
static status make_options(struct op *op, const struct create *cmd, struct bdoc *out, struct err *err) {
    struct clustered clustered;
    struct buf buf;
    struct bbuild b;
    *out = bdoc_empty;
    if (cmd->clustered.p == NULL) return ST_OK;
    TRY(parse_clustered(cmd->clustered, &clustered, err));
    buf_init(&buf, op->mem);
    bbuild_begin(&b, &buf);
    struct bbuild c = bbuild_open_doc(&b, SLICE_LIT("clusteredIndex"));
    bbuild_int32(&c, "v", 2);
    struct bbuild key = bbuild_open_doc(&c, SLICE_LIT("key"));
    bbuild_int32(&key, "_id", 1);
    bbuild_close(&key);
    bbuild_slice(&c, "name", clustered.name);
    bbuild_bool(&c, "unique", true);
    bbuild_close(&c);
    struct bdoc doc = bbuild_finish(&b);
    const uint8_t *p = doc.p != NULL ? arena_copy(&op->arena, doc.p, doc.len) : NULL;
    buf_release(&buf);
    if (p == NULL) return RAISE(err, ST_NOMEM, "no memory for a collection's options");
    *out = bdoc_of(p);
    return ST_OK;
}

static status run(struct command_call *call, struct err *err) {
    static const char *const levels[] = {"off", "strict", "moderate", NULL}, *const actions[] = {"error", "warn", NULL};
    struct create cmd = {0};
    struct ns ns;
    struct bdoc options;
    TRY(fields_parse("create", call->body, fields, sizeof(fields) / sizeof(fields[0]), true, &cmd, err));
    TRY(collation_check(cmd.collation, err));
    TRY(check_view(&cmd, err));
    TRY(field_check_one_of("create.validationLevel", cmd.validation_level, levels, err));
    TRY(field_check_one_of("create.validationAction", cmd.validation_action, actions, err));
    TRY(make_options(call->op, &cmd, &options, err));
    TRY(command_ns(call, cmd.collection, true, &ns, err));
    return create_collection(call->op, ns, options, err);
}

const struct command command_create = {.name = "create",
                                       .flags = COMMAND_WRITES | COMMAND_IN_TXN | COMMAND_API_V1,
                                       .run = run,
                                       .access = ACCESS_KEEPERS,
                                       .help = "Creates a collection."};
