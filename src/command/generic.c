/* The fields that any command takes; see generic.h. Codes and words are MongoDB's. */
#include "command/generic.h"

#include "base/codes.h"
#include "bson/number.h"
#include "doc/db.h"

enum generic_kind {
    IGNORED,
    LSID,
    TXN_NUMBER,
    AUTOCOMMIT,
    START,
    STMT_ID,
    STMT_IDS,
    READ_CONCERN,
    WRITE_CONCERN,
    COMMENT,
    API_VERSION,
    API_STRICT,
    API_DEPRECATION,
    MAX_TIME,
};

static const struct {
    const char *name;
    enum generic_kind kind;
} rows[] = {
    {"$db", IGNORED},
    {"lsid", LSID},
    {"$clusterTime", IGNORED},
    {"txnNumber", TXN_NUMBER},
    {"autocommit", AUTOCOMMIT},
    {"startTransaction", START},
    {"stmtId", STMT_ID},
    {"stmtIds", STMT_IDS},
    {"readConcern", READ_CONCERN},
    {"writeConcern", WRITE_CONCERN},
    {"$readPreference", IGNORED},
    {"readPreference", IGNORED},
    {"comment", COMMENT},
    {"maxTimeMS", MAX_TIME},
    {"maxTimeMSOpOnly", IGNORED},
    {"rawData", IGNORED},
    {"apiVersion", API_VERSION},
    {"apiStrict", API_STRICT},
    {"apiDeprecationErrors", API_DEPRECATION},
    {"$audit", IGNORED},
    {"$client", IGNORED},
    {"$configServerState", IGNORED},
    {"$configTime", IGNORED},
    {"$topologyTime", IGNORED},
    {"mayBypassWriteBlocking", IGNORED},
};
#define ROW_COUNT (sizeof(rows) / sizeof(rows[0]))

static size_t find_row(struct slice name) {
    size_t i = 0;
    while (i < ROW_COUNT && !slice_equal(name, slice_str(rows[i].name))) i++;
    return i;
}

bool generic_is_field(struct slice name) { return find_row(name) < ROW_COUNT; }

static status wrong_type(const char *field, struct bval v, const char *expected, struct err *err) {
    return RAISE_CODE(err, CODE_TypeMismatch, "BSON field '%s' is the wrong type '%s', expected type '%s'", field,
                      btype_name(v.type), expected);
}

/* {id: UUID}; what identifies the user is elmo's to add, not the client's. */
static status read_lsid(struct bval v, struct generic *g, struct err *err) {
    if (v.type != B_DOCUMENT) return wrong_type("OperationSessionInfo.lsid", v, "object", err);
    struct biter it = biter_of(bval_doc(v));
    struct belem e;
    while (biter_next(&it, &e)) {
        if (!slice_equal(e.name, SLICE_LIT("id"))) {
            if (slice_equal(e.name, SLICE_LIT("uid")))
                return RAISE_CODE(err, CODE_Unauthorized, "Unauthorized to set user digest in LogicalSessionId");
            return RAISE_CODE(err, 40415, "BSON field 'OperationSessionInfo.lsid.%.*s' is an unknown field.",
                              (int) e.name.len, (const char *) e.name.p);
        }
        if (e.value.type != B_BINARY) return wrong_type("OperationSessionInfo.lsid.id", e.value, "binData", err);
        if (bval_binary_subtype(e.value) != 4)
            return RAISE_CODE(err, CODE_TypeMismatch,
                              "BSON field 'OperationSessionInfo.lsid.id' is the wrong binData type, expected type 'UUID'");
        if (bval_binary(e.value).len != 16)
            return RAISE_CODE(err, CODE_InvalidUUID, "uuid must be a 16-byte binary field with UUID (4) subtype");
        memcpy(g->lsid, bval_binary(e.value).p, 16);
        g->has_lsid = true;
    }
    if (!g->has_lsid)
        return RAISE_CODE(err, 40414, "BSON field 'OperationSessionInfo.lsid.id' is missing but a required field");
    return ST_OK;
}

static status read_bool(const char *field, struct bval v, bool *has, bool *out, struct err *err) {
    if (v.type != B_BOOL) return wrong_type(field, v, "bool", err);
    *has = true;
    *out = bval_bool(v);
    return ST_OK;
}

static status read_max_time(struct bval v, int64_t *out, struct err *err) {
    int64_t ms = 0;
    if (v.type == B_NULL) return ST_OK;
    if (!bval_is_number(v))
        return RAISE_CODE(
            err, CODE_TypeMismatch,
            "BSON field 'maxTimeMS' is the wrong type '%s', expected types '[long, int, decimal, double]'",
            btype_name(v.type));
    if (!bnum_to_int64_exact(bnum_of(v), &ms) || ms < 0 || ms > INT32_MAX)
        return RAISE_CODE(err, CODE_BadValue, "maxTimeMS must be a whole number between 0 and %d", INT32_MAX);
    *out = ms;
    return ST_OK;
}

static status read_stmt_ids(struct bval v, struct generic *g, struct err *err) {
    if (v.type != B_ARRAY) return wrong_type("stmtIds", v, "array", err);
    struct biter it = biter_of(bval_doc(v));
    struct belem e;
    while (biter_next(&it, &e))
        if (e.value.type != B_INT32) return wrong_type("stmtIds.0", e.value, "int", err);
    g->stmt_ids = bval_doc(v);
    return ST_OK;
}

static status read_value(enum generic_kind kind, struct bval v, struct generic *g, struct err *err) {
    bool ignored;
    switch (kind) {
    case IGNORED: return ST_OK;
    case LSID: return read_lsid(v, g, err);
    case TXN_NUMBER:
        if (v.type != B_INT64) return wrong_type("OperationSessionInfo.txnNumber", v, "long", err);
        g->has_number = true;
        g->number = bval_int64(v);
        return ST_OK;
    case AUTOCOMMIT: return read_bool("OperationSessionInfo.autocommit", v, &g->has_autocommit, &g->autocommit, err);
    case START: return read_bool("OperationSessionInfo.startTransaction", v, &g->has_start, &g->start, err);
    case STMT_ID:
        if (v.type != B_INT32) return wrong_type("stmtId", v, "int", err);
        g->has_stmt_id = true;
        g->stmt_id = bval_int32(v);
        return ST_OK;
    case STMT_IDS: return read_stmt_ids(v, g, err);
    case READ_CONCERN:
        if (v.type != B_DOCUMENT) return wrong_type("readConcern", v, "object", err);
        g->read_concern = v;
        return ST_OK;
    case WRITE_CONCERN:
        if (v.type != B_DOCUMENT) return wrong_type("writeConcern", v, "object", err);
        g->write_concern = v;
        return ST_OK;
    case COMMENT: g->comment = v; return ST_OK;
    case API_VERSION:
        if (v.type != B_STRING) return wrong_type("apiVersion", v, "string", err);
        g->api_version = bval_string(v);
        return ST_OK;
    case API_STRICT: return read_bool("apiStrict", v, &g->has_api_flag, &g->api_strict, err);
    case API_DEPRECATION: return read_bool("apiDeprecationErrors", v, &g->has_api_flag, &ignored, err);
    case MAX_TIME: return read_max_time(v, &g->max_time_ms, err);
    }
    return ST_OK;
}

status generic_parse(const char *command, struct bdoc body, struct generic *out, struct err *err) {
    uint64_t seen = 0;
    struct biter it = biter_of(body);
    struct belem e;
    *out = (struct generic){0};
    while (biter_next(&it, &e)) {
        size_t i = find_row(e.name);
        if (i == ROW_COUNT) continue;
        if ((seen >> i & 1) != 0)
            return RAISE_CODE(err, 40413, "BSON field '%s.%s' is a duplicate field", command, rows[i].name);
        seen |= (uint64_t) 1 << i;
        TRY(read_value(rows[i].kind, e.value, out, err));
    }
    return ST_OK;
}

status command_deadline(struct op *op, struct bdoc body, struct err *err) {
    struct bval v = bdoc_get_str(body, "maxTimeMS");
    int64_t ms = 0;
    if (v.type != B_MISSING) TRY(read_max_time(v, &ms, err));
    if (ms > 0) {
        struct env *e = db_env(op->db);
        op->deadline_ns = e->ops->monotonic_ns(e) + (uint64_t) ms * 1000000;
    }
    return ST_OK;
}

/* --- the rules --- */

static status check_api(const struct generic *g, const struct command *command, struct err *err) {
    if (g->api_version.p == NULL) {
        if (!g->has_api_flag) return ST_OK;
        return RAISE_CODE(err, 4886600,
                          "Provided apiStrict and/or apiDeprecationErrors without passing apiVersion");
    }
    if (!slice_equal(g->api_version, SLICE_LIT("1")))
        return RAISE_CODE(err, CODE_APIVersionError, "API version must be \"1\"");
    if (g->api_strict && (command->flags & COMMAND_API_V1) == 0)
        return RAISE_CODE(err, CODE_APIStrictError,
                          "Provided apiStrict:true, but the command %s is not in API Version 1. Information on supported "
                          "commands and migrations in API Version 1 can be found at "
                          "https://dochub.mongodb.org/core/manual-versioned-api.",
                          command->name);
    return ST_OK;
}

static bool ends_txn(const struct command *command) {
    return command == &command_commit_transaction || command == &command_abort_transaction;
}

static status check_txn_fields(const struct generic *g, const struct command *command, struct err *err) {
    if (g->has_number && !g->has_lsid)
        return RAISE_CODE(err, CODE_InvalidOptions, "Transaction number requires a session ID to also be specified");
    if (g->has_number && g->number < 0)
        return RAISE_CODE(err, CODE_InvalidOptions, "Transaction number cannot be negative");
    if (g->has_autocommit && !g->has_number)
        return RAISE_CODE(err, CODE_InvalidOptions,
                          "'autocommit' field requires a transaction number to also be specified");
    if (g->has_autocommit && g->autocommit)
        return RAISE_CODE(err, CODE_InvalidOptions, "Specifying autocommit=true is not allowed.");
    if (g->has_start && !g->has_number)
        return RAISE_CODE(err, CODE_InvalidOptions,
                          "'startTransaction' field requires a transaction number to also be specified");
    if (g->has_start && !g->start)
        return RAISE_CODE(err, CODE_InvalidOptions, "Specifying startTransaction=false is not allowed.");
    if (g->has_start && !g->has_autocommit)
        return RAISE_CODE(err, CODE_InvalidOptions,
                          "'startTransaction' field requires 'autocommit' field to also be specified");
    if (ends_txn(command) && !g->has_autocommit)
        return RAISE_CODE(err, CODE_CommandFailed, "%s must be run within a transaction", command->name);
    return ST_OK;
}

static status check_txn(const struct generic *g, const struct command *command, struct err *err) {
    TRY(check_txn_fields(g, command, err));
    if (generic_in_txn(g)) {
        if ((command->flags & COMMAND_IN_TXN) == 0)
            return RAISE_CODE(err, CODE_OperationNotSupportedInTransaction,
                              "Cannot run '%s' in a multi-document transaction.%s", command->name,
                              command == &command_count ? " Please see http://dochub.mongodb.org/core/transaction-count "
                                                          "for a recommended alternative."
                                                        : "");
        if (g->has_start && ends_txn(command))
            return RAISE_CODE(err, CODE_OperationNotSupportedInTransaction,
                              "Cannot run '%s' as the first command of a transaction", command->name);
        return ST_OK;
    }
    if (g->has_number && (command->flags & COMMAND_RETRYABLE) == 0)
        return RAISE_CODE(err, 50768,
                          "txnNumber may only be provided for multi-document transactions and retryable write commands. "
                          "autocommit:false was not provided, and '%s' is not a retryable write command.",
                          command->name);
    return ST_OK;
}

static bool is_level(struct slice level, const char *const *names) {
    for (; *names != NULL; names++)
        if (slice_equal(level, slice_str(*names))) return true;
    return false;
}

static status check_read_concern(const struct generic *g, struct err *err) {
    static const char *const all[] = {"local", "available", "majority", "linearizable", "snapshot", NULL},
                             *const in_txn[] = {"local", "majority", "snapshot", NULL};
    struct slice level = SLICE_LIT("local");
    struct biter it = biter_of(bval_doc(g->read_concern));
    struct belem e;
    bool has_time = false;
    if (generic_in_txn(g) && !g->has_start)
        return RAISE_CODE(err, CODE_InvalidOptions,
                          "Only the first command in a transaction may specify a readConcern");
    while (biter_next(&it, &e)) {
        if (slice_equal(e.name, SLICE_LIT("level"))) {
            if (e.value.type != B_STRING) return wrong_type("level", e.value, "string", err);
            level = bval_string(e.value);
        } else if (slice_equal(e.name, SLICE_LIT("afterClusterTime")) ||
                   slice_equal(e.name, SLICE_LIT("atClusterTime"))) {
            if (e.value.type != B_TIMESTAMP)
                return RAISE_CODE(err, CODE_TypeMismatch, "\"%.*s\" had the wrong type. Expected timestamp, found %s",
                                  (int) e.name.len, (const char *) e.name.p, btype_name(e.value.type));
            has_time = true;
        } else if (!slice_equal(e.name, SLICE_LIT("provenance")) && !slice_equal(e.name, SLICE_LIT("afterOpTime"))) {
            return RAISE_CODE(err, CODE_InvalidOptions, "Unrecognized option in readConcern: %.*s", (int) e.name.len,
                              (const char *) e.name.p);
        }
    }
    if (!is_level(level, all))
        return RAISE_CODE(err, CODE_FailedToParse,
                          "readConcern.level must be either 'local', 'majority', 'linearizable', 'available', or "
                          "'snapshot'");
    if (generic_in_txn(g) && !is_level(level, in_txn))
        return RAISE_CODE(err, CODE_InvalidOptions,
                          "The readConcern level must be either 'local' (default), 'majority' or 'snapshot' in order to "
                          "run in a transaction");
    if (has_time && !is_level(level, in_txn))
        return RAISE_CODE(err, CODE_InvalidOptions,
                          "afterClusterTime field can be set only if level is equal to majority, local, or snapshot");
    return ST_OK;
}

static bool is_majority(struct bval w) { return w.type == B_STRING && slice_equal(bval_string(w), SLICE_LIT("majority")); }

static status check_w(struct bval w, bool is_replica, struct err *err) {
    int64_t n = 0;
    if (bval_is_number(w)) {
        if (!bnum_to_int64_exact(bnum_of(w), &n) || n < 0 || n > 50)
            return RAISE_CODE(err, CODE_FailedToParse,
                              "w has to be a non-negative number and not greater than 50");
        if (n > 1 && !is_replica)
            return RAISE_CODE(err, CODE_BadValue, "cannot use 'w' > 1 when a host is not replicated");
        return ST_OK;
    }
    if (w.type == B_DOCUMENT && is_replica) return ST_OK; /* tags: nobody has them */
    if (w.type != B_STRING)
        return RAISE_CODE(err, CODE_FailedToParse, "w has to be a number, string, or object; found: %s",
                          btype_name(w.type));
    if (!is_majority(w) && !is_replica)
        return RAISE_CODE(err, CODE_BadValue,
                          "cannot use non-majority 'w' mode %.*s when a host is not a member of a replica set",
                          (int) bval_string(w).len, (const char *) bval_string(w).p);
    return ST_OK;
}

static status check_write_concern(const struct generic *g, const struct command *command, bool is_replica,
                                  struct err *err) {
    struct biter it = biter_of(bval_doc(g->write_concern));
    struct belem e;
    if (generic_in_txn(g) && !ends_txn(command))
        return RAISE_CODE(err, CODE_InvalidOptions,
                          "writeConcern is not allowed within a multi-statement transaction");
    while (biter_next(&it, &e)) {
        if (slice_equal(e.name, SLICE_LIT("w"))) {
            TRY(check_w(e.value, is_replica, err));
        } else if (slice_equal(e.name, SLICE_LIT("j")) || slice_equal(e.name, SLICE_LIT("fsync"))) {
            if (e.value.type != B_BOOL && !bval_is_number(e.value))
                return RAISE_CODE(err, CODE_TypeMismatch,
                                  "BSON field 'writeConcern.%.*s' is the wrong type '%s', expected types '[bool, long, "
                                  "int, decimal, double]'",
                                  (int) e.name.len, (const char *) e.name.p, btype_name(e.value.type));
        } else if (slice_equal(e.name, SLICE_LIT("wtimeout"))) {
            if (!bval_is_number(e.value))
                return RAISE_CODE(err, CODE_TypeMismatch,
                                  "BSON field 'writeConcern.wtimeout' is the wrong type '%s', expected types '[long, int, "
                                  "decimal, double]'",
                                  btype_name(e.value.type));
        } else if (!slice_equal(e.name, SLICE_LIT("provenance")) && !slice_equal(e.name, SLICE_LIT("getLastError")) &&
                   !slice_equal(e.name, SLICE_LIT("wElectionId")) && !slice_equal(e.name, SLICE_LIT("wOpTime"))) {
            return RAISE_CODE(err, CODE_FailedToParse, "unrecognized write concern field: %.*s", (int) e.name.len,
                              (const char *) e.name.p);
        }
    }
    return ST_OK;
}

status generic_check(const struct generic *g, const struct command *command, bool is_replica, struct err *err) {
    TRY(check_api(g, command, err));
    if ((command->flags & COMMAND_NO_SESSION) == 0) TRY(check_txn(g, command, err));
    if (g->read_concern.type != B_MISSING) TRY(check_read_concern(g, err));
    if (g->write_concern.type != B_MISSING) TRY(check_write_concern(g, command, is_replica, err));
    return ST_OK;
}

void generic_append_concern_error(const struct generic *g, struct bbuild *reply) {
    if (g->write_concern.type == B_MISSING) return;
    struct bval w = bdoc_get_str(bval_doc(g->write_concern), "w");
    int64_t n = 0;
    bool too_many = bval_is_number(w) && bnum_to_int64_exact(bnum_of(w), &n) && n > 1;
    bool unknown = (w.type == B_STRING && !is_majority(w)) || w.type == B_DOCUMENT;
    if (!too_many && !unknown) return;
    int32_t code = too_many ? CODE_UnsatisfiableWriteConcern : CODE_UnknownReplWriteConcern;
    struct bbuild e = bbuild_open_doc(reply, SLICE_LIT("writeConcernError"));
    bbuild_int32(&e, "code", code);
    bbuild_str(&e, "codeName", code_name(code));
    bbuild_str(&e, "errmsg",
               too_many ? "Not enough data-bearing nodes"
                        : "No write concern mode of this name found in replica set configuration");
    struct bbuild info = bbuild_open_doc(&e, SLICE_LIT("errInfo"));
    bbuild_doc(&info, "writeConcern", bval_doc(g->write_concern));
    bbuild_close(&info);
    bbuild_close(&e);
}
