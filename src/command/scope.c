/* The session around a command; see scope.h. */
#include "command/scope.h"

#include <stdio.h>

#include "base/codes.h"
#include "command/auth.h"
#include "doc/db.h"

struct session_id scope_session_id(const struct client *client, const uint8_t uuid[16]) {
    struct session_id id = {.user = client->principal != NULL ? client->principal->full_name : SLICE_NONE};
    memcpy(id.uuid, uuid, 16);
    return id;
}

static bool ends_txn(const struct command *command) {
    return command == &command_commit_transaction || command == &command_abort_transaction;
}

/* Labels of an error, and MongoDB's code for a lock that was not to be had, for a statement of a transaction. */
static void label(const struct command_call *call, status st, struct err *err) {
    bool ends = ends_txn(call->command);
    if (st == ST_BUSY && !ends) {
        err->code = CODE_LockTimeout;
        (void) snprintf(err->text, sizeof(err->text), "Unable to acquire lock within a max lock request timeout of '%dms'",
                        TXN_LOCK_WAIT_MS);
    }
    bool is_transient = st == ST_CONFLICT || st == ST_STALE || err->code == CODE_LockTimeout ||
        err->code == CODE_NoSuchTransaction || (err->code == CODE_ShutdownInProgress && !ends);
    if (is_transient) err->labels |= ERR_TRANSIENT;
    if (ends && (st == ST_OUTCOME_UNKNOWN || st == ST_IO)) err->labels |= ERR_UNKNOWN_COMMIT;
}

static status begin_txn(struct command_call *call, struct err *err) {
    const struct generic *g = call->generic;
    struct session *s = call->session;
    if (ends_txn(call->command)) return ST_OK;
    if (g->has_start) TRY(session_txn_start(s, call->op, g->number, err));
    else TRY(session_txn_continue(s, call->op, g->number, err));
    status st = session_txn_join(s, call->op, err);
    if (st != ST_OK) session_txn_fail(s); /* the statement has failed */
    return st;
}

/* A txnNumber without a transaction. */
static status begin_write(struct command_scope *scope, struct err *err) {
    struct command_call *call = scope->call;
    const struct generic *g = call->generic;
    struct history *h = &scope->history;
    bool repeats;
    TRY(session_write_start(call->session, call->op, g->number, &repeats, err));
    history_init(h, call->op, &call->session->id, g->number);
    h->first_id = g->has_stmt_id ? g->stmt_id : 0;
    h->ids = g->stmt_ids;
    if (repeats) TRY(history_load(h, err));
    call->op->history = h;
    return ST_OK;
}

/* A session of the program's own knows by itself whether a transaction runs. */
static status begin_own(struct command_scope *scope, struct session *own, struct err *err) {
    struct command_call *call = scope->call;
    call->session = session_ref(own);
    call->op->session = own;
    client_note_session(call->client, own);
    TRY(session_enter(own, call->op, err));
    scope->is_entered = true;
    if (!own->wants_txn) return ST_OK;
    scope->in_txn = true;
    if ((call->command->flags & COMMAND_IN_TXN) == 0)
        return RAISE_CODE(err, CODE_OperationNotSupportedInTransaction,
                          "Cannot run '%s' in a multi-document transaction.", call->command->name);
    TRY(session_txn_continue(own, call->op, own->number, err));
    return session_txn_join(own, call->op, err);
}

static status begin_of_wire(struct command_scope *scope, struct err *err) {
    struct command_call *call = scope->call;
    const struct generic *g = call->generic;
    if (!g->has_lsid || (call->command->flags & COMMAND_NO_SESSION) != 0) return ST_OK;
    /* Who must log in and has not keeps nothing here; as with MongoDB. */
    if (auth_is_asked(call->client) && call->client->principal == NULL) return ST_OK;
    struct session_id id = scope_session_id(call->client, g->lsid);
    TRY(sessions_get(call->env->sessions, &id, &call->session, err));
    call->op->session = call->session;
    client_note_session(call->client, call->session);
    if (!g->has_number) return ST_OK;
    TRY(session_enter(call->session, call->op, err));
    scope->is_entered = true;
    if (session_is_ended(call->session))
        return RAISE_CODE(err, CODE_Interrupted, "the session was ended while the command waited for it");
    scope->in_txn = generic_in_txn(g);
    return scope->in_txn ? begin_txn(call, err) : begin_write(scope, err);
}

static void leave(struct command_scope *scope) {
    struct command_call *call = scope->call;
    history_release(&scope->history);
    call->op->history = NULL;
    call->op->session_txn = NULL;
    call->op->session = NULL;
    if (call->session != NULL) client_note_session(call->client, NULL);
    if (scope->is_entered) session_leave(call->session);
    session_unref(call->session);
    call->session = NULL;
}

status scope_begin(struct command_scope *scope, struct command_call *call, struct session *own, struct err *err) {
    db_upkeep_sessions(call->env->db);
    *scope = (struct command_scope){.call = call};
    status st = own != NULL ? begin_own(scope, own, err) : begin_of_wire(scope, err);
    if (st == ST_OK) return ST_OK;
    if (scope->in_txn) label(call, st, err);
    else err->labels = 0;
    leave(scope);
    return st;
}

/* {retriedStmtIds: [...]}: what was not done again. */
static void append_repeated(struct history *h, struct bbuild *reply) {
    if (h->done_count == 0) return;
    struct bbuild list = bbuild_open_array(reply, SLICE_LIT("retriedStmtIds"));
    for (uint32_t i = 0; i < h->reached; i++) {
        uint8_t id[4];
        if (history_find(h, i) == NULL) continue;
        put_le32(id, (uint32_t) history_statement_id(h, i));
        bbuild_push(&list, (struct bval){id, sizeof(id), B_INT32});
    }
    bbuild_close(&list);
}

status scope_end(struct command_scope *scope, status st, struct err *err) {
    struct command_call *call = scope->call;
    struct op *op = call->op;
    if (op->history != NULL && st == ST_OK) append_repeated(op->history, call->reply);
    if (st != ST_OK && !scope->in_txn) err->labels = 0; /* only a transaction is run again as a whole */
    if (scope->in_txn) {
        if (st != ST_OK) label(call, st, err);
        if (!ends_txn(call->command) && (st != ST_OK || op->statement_failed || call->reply->buf->failed))
            session_txn_fail(call->session);
    }
    leave(scope);
    return st;
}
