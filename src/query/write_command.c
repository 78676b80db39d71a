/* Statements one after the other; see write_command.h.
 *
 * A transient failure of statement i (conflict, stale catalog) commits what stands before it, begins afresh and runs i again. If the commit
 * itself meets a conflict, everything since the batch began runs again, each in a transaction of its own. */
#include "query/write_command.h"

#include "base/codes.h"
#include "doc/history.h"

bool write_error_is_of_statement(status st) {
    return st == ST_INVALID || st == ST_UNSUPPORTED || st == ST_DUPLICATE || st == ST_TOO_LARGE;
}

static status add_error(struct op *op, struct write_result *out, uint32_t i, const struct err *e, struct err *err) {
    if ((out->error_count & (out->error_count - 1)) == 0) {
        struct write_error *errors =
            arena_array(&op->arena, struct write_error, out->error_count != 0 ? out->error_count * 2 : 1);
        if (errors == NULL) return RAISE(err, ST_NOMEM, "write errors");
        if (out->error_count != 0) memcpy(errors, out->errors, out->error_count * sizeof(*errors));
        out->errors = errors;
    }
    const char *text = arena_strndup(&op->arena, e->text, strlen(e->text));
    if (text == NULL) return RAISE(err, ST_NOMEM, "write errors");
    out->errors[out->error_count++] = (struct write_error){i, e->code, text, {e->details, (uint32_t) e->details_len}};
    return ST_OK;
}

status write_result_add_upserted(struct op *op, struct write_result *out, uint32_t i, struct bval id, struct err *err) {
    if ((out->upserted_count & (out->upserted_count - 1)) == 0) {
        struct upserted *items =
            arena_array(&op->arena, struct upserted, out->upserted_count != 0 ? out->upserted_count * 2 : 1);
        if (items == NULL) return RAISE(err, ST_NOMEM, "upserted ids");
        if (out->upserted_count != 0) memcpy(items, out->upserted, out->upserted_count * sizeof(*items));
        out->upserted = items;
    }
    uint8_t *p = arena_copy(&op->arena, id.p, id.len);
    if (p == NULL) return RAISE(err, ST_NOMEM, "upserted ids");
    out->upserted[out->upserted_count++] = (struct upserted){i, {p, id.len, id.type}};
    return ST_OK;
}

struct loop {
    struct op *op;
    const struct write_command *cmd;
    struct write_result *out;
    struct write_batch batch;
    struct retry retry;
    uint32_t i;
    /* where the open batch began */
    uint32_t from_i;
    struct write_result from_out;
    uint32_t single_until; /* statements below it get transactions of their own */
    bool is_lost;          /* a batch could not be committed: what its statements have answered is not so */
};

/* Empties the batch; a conflict sends the loop back to where the batch began. *again tells. */
static status commit_batch(struct loop *l, bool last, bool *again, struct err *err) {
    status st = write_batch_commit(&l->batch, last, err);
    *again = retry_is_transient(st);
    l->is_lost = st != ST_OK && !*again;
    if (!*again) return st;
    TRY(retry_wait(&l->retry, l->op, st, err));
    if (l->i > l->single_until) l->single_until = l->i;
    l->i = l->from_i;
    *l->out = l->from_out;
    return ST_OK;
}

static void note_start(struct loop *l) {
    l->from_i = l->i;
    l->from_out = *l->out;
}

/* Statement i failed for now: the ones before it are committed, it is tried again. */
static status try_again(struct loop *l, status st, struct err *err) {
    if (l->op->session_txn != NULL) return st;
    uint32_t i = l->i;
    bool again;
    struct err first = err != NULL ? *err : ERR_INIT;
    TRY(commit_batch(l, false, &again, err));
    if (again) {
        if (l->single_until <= i) l->single_until = i + 1;
        return ST_OK;
    }
    if (err != NULL) *err = first;
    return retry_wait(&l->retry, l->op, st, err);
}

/* A statement of a write that was sent again: its first answer, if it has been done. */
static status repeat_statement(struct loop *l, bool *repeated, struct err *err) {
    const struct done *done = history_find(l->op->history, l->i);
    *repeated = done != NULL;
    if (done == NULL) return ST_OK;
    l->out->inserted += done->inserted;
    l->out->matched += done->matched;
    l->out->modified += done->modified;
    l->out->deleted += done->deleted;
    if (done->upserted.type != B_MISSING)
        TRY(write_result_add_upserted(l->op, l->out, l->i, done->upserted, err));
    l->batch.is_unsynced = true; /* the first time may have ended between its commit and its sync */
    l->i++;
    return ST_OK;
}

/* What the statement did, by the difference of the result before and now. */
static status note_statement(struct loop *l, const struct write_result *before, struct err *err) {
    const struct write_result *now = l->out;
    struct history *h = l->op->history;
    struct done did = {.inserted = now->inserted - before->inserted,
                       .matched = now->matched - before->matched,
                       .modified = now->modified - before->modified,
                       .deleted = now->deleted - before->deleted,
                       .more = h->more};
    h->more = (struct bdoc){0};
    if (now->upserted_count > before->upserted_count) did.upserted = now->upserted[now->upserted_count - 1].id;
    return history_note(h, l->i, &did, err);
}

static status run_statement(struct loop *l, struct err *err) {
    const struct write_command *cmd = l->cmd;
    bool again;
    if (l->op->history != NULL) {
        bool repeated;
        TRY(repeat_statement(l, &repeated, err));
        if (repeated) return ST_OK;
    }
    if (cmd->runs_alone != NULL && cmd->runs_alone(cmd->ctx, l->i) && l->batch.txn != NULL) {
        TRY(commit_batch(l, false, &again, err));
        if (again) return ST_OK;
    }
    if (l->batch.txn == NULL) note_start(l);
    l->batch.count_max = l->i < l->single_until ? 1 : BATCH_COUNT_MAX;
    status st = write_batch_begin(&l->batch, cmd->creates, err);
    if (retry_is_transient(st)) return try_again(l, st, err);
    if (st != ST_OK && st != ST_NOT_FOUND) return st;
    (void) kv_next_statement(l->batch.txn);
    struct kv_mark mark = kv_mark(l->batch.txn);
    struct kv_txn *txn = l->batch.txn;
    struct write_result before = *l->out;
    uint32_t count = l->batch.count;
    st = cmd->run(cmd->ctx, &l->batch, l->i, l->out, err);
    if (st == ST_OK && l->op->history != NULL && l->batch.count > count) st = note_statement(l, &before, err);
    if (st == ST_OK) {
        l->i++;
        l->retry = (struct retry){0};
        return write_batch_is_full(&l->batch) ? commit_batch(l, false, &again, err) : ST_OK;
    }
    *l->out = before;
    if (l->batch.txn == txn && txn != NULL) kv_rollback_to(txn, mark);
    if (retry_is_transient(st)) return try_again(l, st, err);
    return st;
}

static status loop_run(struct loop *l, struct err *err) {
    for (;;) {
        bool again;
        while (l->i < l->cmd->count) {
            struct err e = ERR_INIT;
            status st = op_check(l->op, &e);
            if (st == ST_OK) st = run_statement(l, &e);
            if (st == ST_OK) continue;
            if (l->is_lost || !write_error_is_of_statement(st)) {
                if (err != NULL) *err = e;
                return st;
            }
            TRY(add_error(l->op, l->out, l->i, &e, err));
            if (l->op->session_txn != NULL) l->op->statement_failed = true;
            if (l->cmd->ordered || l->op->session_txn != NULL) break;
            l->i++;
        }
        uint32_t i = l->i;
        TRY(commit_batch(l, true, &again, err));
        if (!again) {
            if (l->op->history != NULL) l->op->history->reached = i;
            return ST_OK;
        }
        if (l->single_until < i) l->single_until = i;
    }
}

status write_command_run(struct op *op, struct ns ns, const struct write_command *cmd, struct write_result *out,
                         struct err *err) {
    *out = (struct write_result){0};
    TRY(ns_check(ns, true, err));
    struct loop l = {.op = op, .cmd = cmd, .out = out};
    write_batch_init(&l.batch, op, ns);
    status st = loop_run(&l, err);
    if (st == ST_OK) return write_batch_end(&l.batch, err);
    /* What was applied before the failure stays, and is made durable as far as that goes. */
    if (st == ST_TIMEOUT || st == ST_INTERRUPTED) (void) write_batch_end(&l.batch, NULL);
    else write_batch_abort(&l.batch);
    return st;
}
