/* Transactions of sessions: numbers, states, beginning and ending; see session.h. */
#include "base/codes.h"
#include "doc/db.h"
#include "doc/history.h"
#include "doc/session_internal.h"

/* --- members --- */

void session_add_member(struct session *s, struct txn_member *m) {
    m->session = s;
    m->prev = NULL;
    m->next = s->members;
    if (m->next != NULL) m->next->prev = m;
    s->members = m;
}

void session_part(struct txn_member *m) {
    if (m->session == NULL) return;
    if (m->prev != NULL) m->prev->next = m->next;
    else m->session->members = m->next;
    if (m->next != NULL) m->next->prev = m->prev;
    m->session = NULL;
}

static void tell_members(struct session *s) {
    while (s->members != NULL) {
        struct txn_member *m = s->members;
        session_part(m);
        m->ended(m);
    }
}

/* --- states --- */

static void begin_state(struct session *s, int64_t number) {
    struct sessions *ss = s->table;
    uint64_t now_ms = sessions_now_ms(ss);
    s->number = number;
    s->state = TXN_RUNS;
    mutex_lock(&ss->mutex);
    s->txn_began_ms = now_ms != 0 ? now_ms : 1;
    ss->stat.active++;
    ss->stat.started++;
    mutex_unlock(&ss->mutex);
}

static void end_state(struct session *s, enum txn_state state) {
    struct sessions *ss = s->table;
    s->state = state;
    s->txn = NULL;
    mutex_lock(&ss->mutex);
    s->txn_began_ms = 0;
    ss->stat.active--;
    if (state == TXN_COMMITTED) ss->stat.committed++;
    else ss->stat.aborted++;
    mutex_unlock(&ss->mutex);
}

void session_rollback(struct session *s) {
    tell_members(s);
    kv_abort(s->txn);
    end_state(s, TXN_ABORTED);
}

void session_txn_fail(struct session *s) {
    if (s->state == TXN_RUNS) session_rollback(s);
}

/* What the file knows of a session that is new here (S5). */
static status load(struct session *s, struct op *op, struct err *err) {
    if (s->is_loaded) return ST_OK;
    bool was_txn = false;
    TRY(history_last(op, &s->id, &s->number, &was_txn, err));
    s->state = was_txn ? TXN_COMMITTED : TXN_NONE;
    s->is_loaded = true;
    return ST_OK;
}

static status too_old(const struct session *s, int64_t number, const char *what, struct err *err) {
    return RAISE_CODE(err, CODE_TransactionTooOld,
                      "Cannot %s with number %lld on this session because a newer transaction with number %lld has "
                      "already started on it",
                      what, (long long) number, (long long) s->number);
}

status session_txn_start(struct session *s, struct op *op, int64_t number, struct err *err) {
    TRY(load(s, op, err));
    if (number < s->number) return too_old(s, number, "start a transaction", err);
    if (number == s->number)
        return RAISE_CODE(err, 50911, "Cannot start a transaction at given transaction number %lld: it was used before",
                          (long long) number);
    session_txn_fail(s);
    begin_state(s, number);
    return ST_OK;
}

status session_txn_continue(struct session *s, struct op *op, int64_t number, struct err *err) {
    TRY(load(s, op, err));
    if (number < s->number) return too_old(s, number, "continue a transaction", err);
    if (number > s->number || s->state == TXN_NONE)
        return RAISE_CODE(err, CODE_NoSuchTransaction,
                          "Given transaction number %lld does not match any in-progress transactions. The active "
                          "transaction number is %lld",
                          (long long) number, (long long) s->number);
    if (s->state == TXN_COMMITTED)
        return RAISE_CODE(err, CODE_TransactionCommitted, "Transaction with { txnNumber: %lld } has been committed.",
                          (long long) number);
    if (s->state != TXN_RUNS)
        return RAISE_CODE(err, CODE_NoSuchTransaction, "Transaction with { txnNumber: %lld } has been aborted.",
                          (long long) number);
    return ST_OK;
}

status session_txn_join(struct session *s, struct op *op, struct err *err) {
    if (s->txn == NULL) {
        TRY(db_begin(op->db, db_is_read_only(op->db), &s->txn, err));
        s->txn_mark = kv_mark(s->txn).at;
    }
    op->session_txn = s->txn;
    return ST_OK;
}

/* Commits what it wrote, with the record that says so; a transaction that only read has nothing to keep. */
static status commit(struct session *s, struct op *op, struct err *err) {
    struct kv_txn *txn = s->txn;
    tell_members(s);
    if (txn == NULL) return ST_OK;
    if (kv_mark(txn).at == s->txn_mark) {
        kv_abort(txn);
        return ST_OK;
    }
    status st = s->is_local ? ST_OK : history_put_commit(op, txn, &s->id, s->number, err);
    if (st == ST_OK) return kv_commit(txn, KV_SYNC, err);
    kv_abort(txn);
    return st;
}

status session_txn_commit(struct session *s, struct op *op, int64_t number, struct err *err) {
    TRY(load(s, op, err));
    if (number == s->number && s->state == TXN_COMMITTED) return ST_OK;
    if (number == s->number && s->state == TXN_UNKNOWN)
        return RAISE(err, ST_OUTCOME_UNKNOWN, "the outcome of the commit of transaction %lld is unknown",
                     (long long) number);
    TRY(session_txn_continue(s, op, number, err));
    status st = commit(s, op, err);
    bool unknown = st == ST_OUTCOME_UNKNOWN || st == ST_IO;
    end_state(s, st == ST_OK ? TXN_COMMITTED : unknown ? TXN_UNKNOWN : TXN_ABORTED);
    return st;
}

status session_txn_abort(struct session *s, struct op *op, int64_t number, struct err *err) {
    TRY(session_txn_continue(s, op, number, err));
    session_rollback(s);
    return ST_OK;
}

status session_write_start(struct session *s, struct op *op, int64_t number, bool *repeats, struct err *err) {
    TRY(load(s, op, err));
    if (number < s->number)
        return RAISE_CODE(err, CODE_TransactionTooOld,
                          "Retryable write with txnNumber %lld is prohibited on this session because a newer retryable "
                          "write with txnNumber %lld has already started on it",
                          (long long) number, (long long) s->number);
    *repeats = number == s->number;
    if (*repeats && s->state != TXN_NONE)
        return RAISE_CODE(err, CODE_IncompleteTransactionHistory,
                          "Cannot use number %lld for a retryable write: it was a transaction's", (long long) number);
    session_txn_fail(s);
    s->number = number;
    s->state = TXN_NONE;
    return ST_OK;
}
