/* Finding a command by its name, running it, and turning failures into MongoDB's error documents. */
#include "command/command.h"

#include <stdio.h>

#include "base/codes.h"
#include "command/auth.h"
#include "command/generic.h"
#include "command/scope.h"
#include "doc/db.h"

static const struct command *const commands[] = {
#define X(id) &command_##id,
#include "command/commands.def"
#undef X
};

/* Other spellings that MongoDB takes. */
static const struct {
    const char *alias, *name;
} aliases[] = {
    {"buildinfo", "buildInfo"}, {"ismaster", "isMaster"},         {"collstats", "collStats"},
    {"dbstats", "dbStats"},     {"deleteIndexes", "dropIndexes"}, {"findandmodify", "findAndModify"},
};

/* MongoDB 7.0's commands that elmo does not have (yet): told apart from misspellings. */
static const char *const unsupported[] = {
    "mapReduce",
    "geoSearch",
    "reIndex",
    "convertToCapped",
    "cloneCollectionAsCapped",
    "shutdown",
    "profile",
    "setFeatureCompatibilityVersion",
    "filemd5",
    "setDefaultRWConcern",
    "planCacheClear",
    "replSetStepDown",
    "logRotate",
    "createRole",
    "updateRole",
    "dropRole",
    "dropAllRolesFromDatabase",
    "grantPrivilegesToRole",
    "revokePrivilegesFromRole",
    "grantRolesToRole",
    "revokeRolesFromRole",
    "invalidateUserCache",
};

const struct command *const *command_rows(size_t *count) {
    *count = sizeof(commands) / sizeof(commands[0]);
    return commands;
}

const struct command *command_find_by_name(struct slice name, bool *is_known) {
    for (size_t i = 0; i < sizeof(aliases) / sizeof(aliases[0]); i++) {
        if (slice_equal(name, slice_str(aliases[i].alias))) name = slice_str(aliases[i].name);
    }
    if (is_known != NULL) *is_known = true;
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (slice_equal(name, slice_str(commands[i]->name))) return commands[i];
    }
    if (is_known == NULL) return NULL;
    *is_known = false;
    for (size_t i = 0; i < sizeof(unsupported) / sizeof(unsupported[0]); i++) {
        if (slice_equal(name, slice_str(unsupported[i]))) *is_known = true;
    }
    return NULL;
}

/* The row of the command that the body's first field names, if it has a function. */
static status find_row(struct bdoc body, const struct command **out, struct err *err) {
    struct biter it = biter_of(body);
    struct belem first;
    bool is_known;
    if (!biter_next(&it, &first))
        return RAISE_CODE(err, CODE_FailedToParse, "a command must not be empty: its first field names it");
    *out = command_find_by_name(first.name, &is_known);
    if (*out != NULL && (*out)->run != NULL) return ST_OK;
    int len = (int) first.name.len;
    const char *name = (const char *) first.name.p;
    if (*out != NULL || is_known)
        return RAISE_CODE(err, CODE_CommandNotSupported, "command '%.*s' is not supported", len, name);
    return RAISE_CODE(err, CODE_CommandNotFound, "no such command: '%.*s'", len, name);
}

static void set_deadline(struct op *op, const struct generic *g) {
    struct env *env = db_env(op->db);
    if (g->max_time_ms > 0) op->deadline_ns = env->ops->monotonic_ns(env) + (uint64_t) g->max_time_ms * 1000000;
}

static bool takes_sequences(const struct command *command) {
    return command == &command_insert || command == &command_update || command == &command_delete;
}

/* Is it for this database, this body and this client? */
static status check_call(const struct command_call *call, struct err *err) {
    const struct command *command = call->command;
    const struct generic *g = call->generic;
    /* As a collection's name, any would do: this asks about the database's. */
    TRY(ns_check((struct ns){call->db, SLICE_LIT("c")}, false, err));
    if ((command->flags & COMMAND_ADMIN_ONLY) != 0 && !slice_equal(call->db, SLICE_LIT("admin")))
        return RAISE_CODE(err, CODE_Unauthorized, "%s may only be run against the admin database.", command->name);
    TRY(command_authorize(call, command->access, call->db, err));
    if (call->sequence_count != 0 && !takes_sequences(command))
        return RAISE_CODE(err, 40415, "BSON field '%s.%.*s' is an unknown field.", command->name,
                          (int) call->sequences[0].name.len, (const char *) call->sequences[0].name.p);
    TRY(generic_check(g, command, atomic_load_explicit(&call->env->service.is_replica, memory_order_acquire), err));
    set_deadline(call->op, g);
    if ((command->flags & COMMAND_WRITES) != 0 && db_is_read_only(call->env->db)) {
        return RAISE(err, ST_READ_ONLY, "'%s' needs to write, but the database was opened read-only", command->name);
    }
    return ST_OK;
}

/* insert, update, delete, find and getMore count themselves by what they do. */
static bool counts_itself(const struct command *command) {
    return command == &command_insert || command == &command_update || command == &command_delete ||
        command == &command_find || command == &command_get_more;
}

/* In the session that it names. */
static status run_in_scope(struct command_call *call, struct session *own, struct err *err) {
    struct command_scope scope;
    TRY(scope_begin(&scope, call, own, err));
    if (!counts_itself(call->command)) command_count_ops(call->env, OPCOUNT_COMMAND, 1);
    status st = call->command->run(call, err);
    if (st == ST_OK && (call->command->flags & COMMAND_WRITES) != 0)
        generic_append_concern_error(call->generic, call->reply);
    return scope_end(&scope, st, err);
}

void command_label_shutdown(const struct command_env *env, const struct command *command, const struct generic *g,
                            struct err *err) {
    bool ends_txn = command == &command_commit_transaction || command == &command_abort_transaction;
    if ((err->code != CODE_InterruptedAtShutdown && err->code != CODE_ShutdownInProgress) || !g->has_number) return;
    if (generic_in_txn(g) && !ends_txn) err->labels |= ERR_TRANSIENT;
    else if (atomic_load_explicit(&env->service.is_replica, memory_order_acquire)) err->labels |= ERR_RETRYABLE;
}

static status run(struct command_call *call, struct session *own, struct err *err) {
    struct client *client = call->client;
    struct generic generic;
    TRY(find_row(call->body, &call->command, err));
    TRY(generic_parse(call->command->name, call->body, &generic, err));
    call->generic = &generic;
    struct running running = {.command = call->command, .generic = &generic, .db = call->db, .body = call->body};
    client_begin(client, &running);
    call->op->cancelled = &running.stop;
    status st = check_call(call, err);
    /* Not before: judging the call may have read the user again. */
    if (client->principal != NULL) call->op->user = client->principal->full_name;
    if (st == ST_OK) st = run_in_scope(call, own, err);
    /* A lock that was not to be had before the deadline: the deadline is what matters. */
    if (st == ST_BUSY && call->op->deadline_ns != 0 && err->code == CODE_LockBusy) {
        struct err late = ERR_INIT;
        if (op_check(call->op, &late) == ST_TIMEOUT) *err = late, st = ST_TIMEOUT;
    }
    call->op->cancelled = NULL;
    call->op->user = SLICE_NONE;
    client_end(client);
    if (st == ST_INTERRUPTED && running.stop_code != 0) err->code = running.stop_code;
    if (st != ST_OK) command_label_shutdown(call->env, call->command, &generic, err);
    call->generic = NULL;
    return st;
}

static void write_labels(struct bbuild *reply, uint32_t bits) {
    static const struct {
        uint32_t bit;
        const char *name;
    } rows[] = {
        {ERR_TRANSIENT, "TransientTransactionError"},
        {ERR_UNKNOWN_COMMIT, "UnknownTransactionCommitResult"},
        {ERR_RETRYABLE, "RetryableWriteError"},
    };
    if (bits == 0) return;
    struct bbuild labels = bbuild_open_array(reply, SLICE_LIT("errorLabels"));
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if ((bits & rows[i].bit) != 0) bbuild_push_slice(&labels, slice_str(rows[i].name));
    bbuild_close(&labels);
}

static void write_error(struct bbuild *reply, const struct err *err) {
    bbuild_double(reply, "ok", 0);
    bbuild_str(reply, "errmsg", err->text);
    bbuild_int32(reply, "code", err->code);
    const char *name = code_name(err->code);
    char location[32];
    if (name == NULL) {
        (void) snprintf(location, sizeof(location), "Location%d", err->code);
        name = location;
    }
    bbuild_str(reply, "codeName", name);
    if (err->details != NULL) bbuild_elems(reply, bdoc_of(err->details));
    write_labels(reply, err->labels);
}

struct bdoc command_failure(struct buf *reply, const struct err *err) {
    struct bbuild b;
    buf_clear(reply);
    reply->failed = false;
    bbuild_begin(&b, reply);
    write_error(&b, err);
    return bbuild_finish(&b);
}

status command_run(struct client *client, struct op *op, const struct command_input *in, struct buf *reply,
                   struct bdoc *reply_doc, struct err *err) {
    struct err own = ERR_INIT;
    if (err == NULL) err = &own;
    size_t start = reply->len;
    struct bbuild b;
    bbuild_begin(&b, reply);
    struct command_call call = {.env = client->env,
                                .client = client,
                                .op = op,
                                .sequences = in->sequences,
                                .sequence_count = in->sequence_count,
                                .db = in->db,
                                .body = in->body,
                                .reply = &b};
    status st = run(&call, in->session, err);
    if (st == ST_OK && !reply->failed) {
        bbuild_double(&b, "ok", 1);
    } else {
        if (st == ST_OK) st = RAISE(err, ST_NOMEM, "no memory for the reply");
        if (err->code != CODE_ExceededMemoryLimit)
            atomic_fetch_add_explicit(&client->env->service.asserts_user, 1, memory_order_relaxed);
        reply->len = start;
        reply->failed = false;
        bbuild_begin(&b, reply);
        write_error(&b, err);
    }
    *reply_doc = bbuild_finish(&b);
    if (reply_doc->p == NULL && st == ST_OK) st = RAISE(err, ST_NOMEM, "no memory for the reply");
    return st;
}

status command_ns(const struct command_call *call, struct slice collection, bool for_write, struct ns *out,
                  struct err *err) {
    struct ns ns = {call->db, collection};
    TRY(ns_check(ns, for_write, err));
    *out = ns;
    return ST_OK;
}

status command_begin_read(struct op *op, struct kv_txn **out, struct err *err) {
    if (op->session_txn != NULL) {
        *out = op->session_txn;
        (void) kv_next_statement(*out);
        return ST_OK;
    }
    return kv_begin(db_kv(op->db), true, out, err);
}

void command_end_read(struct op *op, struct kv_txn *txn) {
    if (txn != NULL && txn != op->session_txn) kv_abort(txn);
}
