/* Sessions of the program's own: handles on doc/session.h, and how calls with a `sessionId` among their options join them.
 *
 * A typed function's op enters the session for the length of the call (api_opts), and leaves it with the call's outcome (api_leave). A cursor that was opened in a transaction
 * enters again for each row. */
#include <string.h>

#include "api/handles.h"
#include "api/options.h"
#include "base/codes.h"
#include "bson/number.h"
#include "command/fields.h"
#include "doc/db.h"

#define WITH_TRANSACTION_MS 120000 /* as libmongoc and the drivers' specification have it */
#define SESSION_ID "sessionId"

struct elmo_session {
    struct elmo *db;
    struct session *session;
};

/* --- joining --- */

/* The options without `sessionId`, in the op's arena. */
static status strip(struct op *op, struct bdoc *opts, struct err *err) {
    struct buf buf;
    struct bbuild b;
    struct biter it = biter_of(*opts);
    struct belem e;
    buf_init(&buf, op->mem);
    bbuild_begin(&b, &buf);
    while (biter_next(&it, &e))
        if (!slice_equal(e.name, SLICE_LIT(SESSION_ID))) bbuild_value(&b, e.name, e.value);
    struct bdoc d = bbuild_finish(&b);
    const uint8_t *p = d.p != NULL ? arena_copy(&op->arena, d.p, d.len) : NULL;
    buf_release(&buf);
    if (p == NULL) return RAISE(err, ST_NOMEM, "no memory for the options");
    *opts = bdoc_of(p);
    return ST_OK;
}

status api_session_of(struct op *op, struct bdoc *opts, struct session **out, struct err *err) {
    int64_t handle = 0;
    *out = NULL;
    if (opts->p == NULL) return ST_OK;
    struct bval v = bdoc_get(*opts, SLICE_LIT(SESSION_ID));
    if (v.type == B_MISSING) return ST_OK;
    if (!bval_is_number(v) || !bnum_to_int64_exact(bnum_of(v), &handle))
        return RAISE_CODE(err, CODE_TypeMismatch, "option 'sessionId' must be what elmo_session_append appended, not %s",
                          btype_name(v.type));
    TRY(strip(op, opts, err));
    *out = sessions_by_handle(db_sessions(op->db), (uint64_t) handle);
    if (*out == NULL || !(*out)->is_local) {
        session_unref(*out);
        *out = NULL;
        return RAISE_CODE(err, CODE_NoSuchSession, "option 'sessionId': there is no session %lld", (long long) handle);
    }
    return ST_OK;
}

status api_opts(struct op *op, const bson_t *opts, const char *what, struct bdoc *out, struct err *err) {
    struct session *s;
    TRY(api_document(opts, what, out, err));
    TRY(api_session_of(op, out, &s, err));
    if (s == NULL) return ST_OK;
    status st = session_enter(s, op, err);
    if (st != ST_OK) {
        session_unref(s);
        return st;
    }
    op->session = s; /* api_leave gives it back from here on */
    if (!s->wants_txn) return ST_OK;
    TRY(session_txn_continue(s, op, s->number, err));
    return session_txn_join(s, op, err);
}

/* The label of an error in a transaction; outside one there is nothing to be run again. */
static void label(const struct session *s, status st, struct err *err) {
    bool is_transient = st == ST_CONFLICT || st == ST_STALE || st == ST_BUSY || err->code == CODE_NoSuchTransaction;
    if (st == ST_BUSY) err->code = CODE_LockTimeout;
    err->labels = s != NULL && s->wants_txn && is_transient ? ERR_TRANSIENT : 0;
}

void api_leave(struct op *op, status st, struct err *err) {
    struct session *s = op->session;
    if (st != ST_OK) label(s, st, err);
    if (s == NULL) return;
    if (s->wants_txn && (st != ST_OK || op->statement_failed)) session_txn_fail(s);
    op->session = NULL;
    op->session_txn = NULL;
    session_leave(s);
    session_unref(s);
}

/* --- handles --- */

struct session_options {
    struct bdoc defaults;
    bool causal, snapshot;
};

static status start_session(struct elmo *db, const bson_t *opts, struct elmo_session **out, struct err *err) {
    static const struct field rows[] = {
        {"causalConsistency", FIELD_BOOL, offsetof(struct session_options, causal), 0},
        {"snapshot", FIELD_BOOL, offsetof(struct session_options, snapshot), 0},
        {"defaultTransactionOptions", FIELD_DOCUMENT, offsetof(struct session_options, defaults), 0},
    };
    struct session_options o = {0};
    struct bdoc doc;
    if (atomic_load_explicit(&db->is_closed, memory_order_acquire))
        return RAISE(err, ST_CLOSED, "the database was closed");
    TRY(api_document(opts, "the options of elmo_start_session", &doc, err));
    TRY(fields_parse("elmo_start_session", doc, rows, sizeof(rows) / sizeof(rows[0]), false, &o, err));
    struct elmo_session *s = mem_new(db->mem, struct elmo_session);
    if (s == NULL) return RAISE(err, ST_NOMEM, "no memory for a session");
    status st = sessions_start(db->command.sessions, &s->session, err);
    if (st != ST_OK) {
        mem_delete(db->mem, s);
        return st;
    }
    s->db = elmo_ref(db);
    *out = s;
    return ST_OK;
}

elmo_session_t *elmo_start_session(elmo_t *db, const bson_t *opts, bson_error_t *error) {
    struct err err = ERR_INIT;
    struct elmo_session *s = NULL;
    (void) api_answer(start_session(db, opts, &s, &err), &err, (struct bdoc){0}, NULL, error);
    return s;
}

void elmo_session_destroy(elmo_session_t *s) {
    if (s == NULL) return;
    struct elmo *db = s->db;
    session_end(s->session);
    session_unref(s->session);
    mem_delete(db->mem, s);
    elmo_unref(db);
}

bool elmo_session_append(const elmo_session_t *s, bson_t *opts, bson_error_t *error) {
    if (bson_append_int64(opts, SESSION_ID, -1, (int64_t) s->session->handle)) return true;
    bson_set_error(error, ELMO_ERROR_SERVER, CODE_BSONObjectTooLarge, "the options are too large");
    return false;
}

/* Calls `act` with the session entered; the reply gets ok or the error's labels. */
static bool with_session(elmo_session_t *s, status (*act)(struct session *s, struct op *op, struct err *err),
                         bson_t *reply, bson_error_t *error) {
    struct err err = ERR_INIT;
    struct op op;
    status st = api_begin(s->db, &op, &err);
    if (st == ST_OK) st = session_enter(s->session, &op, &err);
    if (st == ST_OK) {
        st = act(s->session, &op, &err);
        session_leave(s->session);
    }
    bool ok = api_answer(st, &err, (struct bdoc){0}, reply, error);
    op_release(&op);
    return ok;
}

static status act_start(struct session *s, struct op *op, struct err *err) {
    if (s->wants_txn)
        return RAISE_CODE(err, CODE_ConflictingOperationInProgress, "Transaction already in progress");
    TRY(session_txn_start(s, op, s->number + 1, err));
    s->wants_txn = true;
    return ST_OK;
}

static status act_commit(struct session *s, struct op *op, struct err *err) {
    if (!s->wants_txn && s->state != TXN_COMMITTED && s->state != TXN_UNKNOWN)
        return RAISE_CODE(err, CODE_NoSuchTransaction, "No transaction started");
    status st = session_txn_commit(s, op, s->number, err);
    s->wants_txn = false;
    if (st == ST_OK) return st;
    bool unknown = s->state == TXN_UNKNOWN, gone = st == ST_CONFLICT || st == ST_STALE || err->code == CODE_NoSuchTransaction;
    err->labels = unknown ? ERR_UNKNOWN_COMMIT : gone ? ERR_TRANSIENT : 0;
    return st;
}

static status act_abort(struct session *s, struct op *op, struct err *err) {
    (void) op;
    if (!s->wants_txn) return RAISE_CODE(err, CODE_NoSuchTransaction, "No transaction started");
    session_txn_fail(s);
    s->wants_txn = false;
    return ST_OK;
}

bool elmo_session_start_transaction(elmo_session_t *s, const bson_t *opts, bson_error_t *error) {
    struct err err = ERR_INIT;
    struct bdoc doc;
    status st = api_document(opts, "the options of the transaction", &doc, &err);
    if (st != ST_OK) return api_answer(st, &err, (struct bdoc){0}, NULL, error);
    return with_session(s, act_start, NULL, error);
}

bool elmo_session_commit_transaction(elmo_session_t *s, bson_t *reply, bson_error_t *error) {
    return with_session(s, act_commit, reply, error);
}

bool elmo_session_abort_transaction(elmo_session_t *s, bson_error_t *error) {
    return with_session(s, act_abort, NULL, error);
}

bool elmo_session_in_transaction(elmo_session_t *s) {
    struct op op;
    op_init(&op, s->db->document_db);
    bool is_in = session_enter(s->session, &op, NULL) == ST_OK;
    if (is_in) {
        is_in = s->session->wants_txn;
        session_leave(s->session);
    }
    op_release(&op);
    return is_in;
}

bool elmo_error_has_label(const bson_t *reply, const char *label) {
    bson_iter_t it, labels;
    if (reply == NULL || !bson_iter_init_find(&it, reply, "errorLabels") || !BSON_ITER_HOLDS_ARRAY(&it) ||
        !bson_iter_recurse(&it, &labels))
        return false;
    while (bson_iter_next(&labels)) {
        if (BSON_ITER_HOLDS_UTF8(&labels) && strcmp(bson_iter_utf8(&labels, NULL), label) == 0) return true;
    }
    return false;
}

/* --- the callback --- */

static bool is_transient(const bson_t *reply, const bson_error_t *error) {
    if (elmo_error_has_label(reply, "TransientTransactionError")) return true;
    /* The callback need not hand a reply on. */
    return error->domain == ELMO_ERROR_SERVER &&
        (error->code == CODE_WriteConflict || error->code == CODE_SnapshotUnavailable ||
         error->code == CODE_LockTimeout || error->code == CODE_NoSuchTransaction);
}

static uint64_t now_ms(const elmo_session_t *s) { return s->db->env->ops->monotonic_ns(s->db->env) / 1000000; }

/* *restart: the whole transaction must run again. A commit whose outcome is unknown is not tried again: a file that failed stays failed, and there is no other server to
 * ask. */
static bool commit(elmo_session_t *s, uint64_t until_ms, bool *restart, bson_t *reply, bson_error_t *error) {
    bson_destroy(reply);
    if (elmo_session_commit_transaction(s, reply, error)) return true;
    *restart = now_ms(s) < until_ms && elmo_error_has_label(reply, "TransientTransactionError");
    return false;
}

static bool run_once(elmo_session_t *s, elmo_session_with_transaction_cb_t cb, const bson_t *opts, void *ctx,
                     uint64_t until_ms, bool *restart, bson_t *reply, bson_error_t *error) {
    bson_t *its_reply = NULL;
    *restart = false;
    if (!elmo_session_start_transaction(s, opts, error)) return false;
    bool ok = cb(s, ctx, &its_reply, error);
    if (!ok) {
        *restart = is_transient(its_reply, error) && now_ms(s) < until_ms;
        if (elmo_session_in_transaction(s)) (void) elmo_session_abort_transaction(s, NULL);
    }
    if (its_reply != NULL) {
        bson_destroy(reply);
        bson_copy_to(its_reply, reply);
        bson_destroy(its_reply);
    }
    if (!ok) return false;
    if (!elmo_session_in_transaction(s)) return true; /* the callback has ended it */
    return commit(s, until_ms, restart, reply, error);
}

bool elmo_session_with_transaction(elmo_session_t *s, elmo_session_with_transaction_cb_t cb, const bson_t *opts,
                                   void *ctx, bson_t *reply, bson_error_t *error) {
    bson_error_t own_error = {0};
    bson_t own = BSON_INITIALIZER;
    uint64_t until_ms = now_ms(s) + WITH_TRANSACTION_MS;
    bool restart, ok;
    if (error == NULL) error = &own_error;
    do {
        memset(error, 0, sizeof(*error));
        ok = run_once(s, cb, opts, ctx, until_ms, &restart, &own, error);
    } while (!ok && restart);
    if (reply != NULL) bson_copy_to(&own, reply);
    bson_destroy(&own);
    return ok;
}
