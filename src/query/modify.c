/* Finding and changing documents; see modify.h. */
#include "query/modify.h"

#include "doc/db.h"

static struct find_request request_of(const struct modify *m, const struct write_batch *b, int64_t limit) {
    return (struct find_request){.ns = b->ns,
                                 .filter = m->filter,
                                 .sort = m->sort,
                                 .hint = m->hint,
                                 .limit = limit,
                                 .env = &m->env->expr};
}

/* --- expressions --- */

void modify_env_init(struct modify_env *e, struct op *op) {
    struct env *env = db_env(op->db);
    *e = (struct modify_env){0};
    expr_env_init(&e->expr, op->mem, &op->arena, (int64_t) env->ops->now_ms(env));
    env->ops->random(env, &e->expr.run.random_state, sizeof(e->expr.run.random_state));
}

void modify_env_release(struct modify_env *e) { expr_env_release(&e->expr); }

status modify_env_let(struct modify_env *e, struct bdoc let, struct err *err) {
    if (let.p == NULL) return ST_OK;
    TRY(expr_env_let(&e->expr, let, err));
    e->vars = e->expr.scope.vars;
    e->slot_count = e->expr.scope.slot_count;
    return ST_OK;
}

void modify_env_rewind(struct modify_env *e) {
    expr_scope_release(&e->expr.scope); /* regular expressions: those of `let` have been evaluated */
    e->expr.scope.vars = e->vars;
    e->expr.scope.slot_count = e->slot_count;
    e->expr.scope.reads_score = false;
}

status modify_compile(struct modify *m, struct err *err) {
    return match_compile_with(&m->env->expr, m->op->mem, &m->op->arena, m->filter, &m->matcher, err);
}

status modify_prepare(struct modify *m, struct err *err) {
    m->needs_score = m->needs_score || m->env->expr.scope.reads_score;
    if (m->needs_score && !m->matcher.text.is_set)
        return err_raise(err, ST_INVALID, 40218, __FILE__, __LINE__,
                         "query requires text score metadata, but it is not available");
    m->slot_count = m->env->expr.scope.slot_count;
    return expr_env_prepare(&m->env->expr, err);
}

void modify_end(struct modify *m) {
    if (m->matcher.root != NULL) matcher_release(&m->matcher);
    m->matcher = (struct matcher){0};
    modify_env_rewind(m->env);
}

/* --- one document --- */

static status change_by_id(struct modify *m, struct write_batch *b, struct bval id, struct err *err) {
    struct buf key;
    struct kv_value value = KV_VALUE_INIT;
    buf_init(&key, m->op->mem);
    status st = record_get(b->txn, b->collection, id, &key, &value, err);
    if (st == ST_OK) {
        m->tally.matched = 1;
        st = m->change(m, b, bdoc_of(value.bytes.p), err);
    } else if (st == ST_NOT_FOUND) {
        st = ST_OK;
    }
    kv_value_release(&value);
    buf_release(&key);
    return st;
}

static status change_first(struct modify *m, struct write_batch *b, struct err *err) {
    struct find_request req = request_of(m, b, 1);
    struct run run;
    struct row row;
    TRY(run_open(&run, m->op, &req, &(struct run_opts){.txn = b->txn}, err));
    if (m->needs_score) run.query.needs_score = true;
    status st = run_next(&run, &row, err);
    if (st == ST_OK) {
        m->tally.matched = 1;
        m->score = row.score;
        m->env->expr.run.score = row.score;
        m->env->expr.run.has_score = m->needs_score;
        st = m->change(m, b, row.doc, err);
    } else if (st == ST_END) {
        st = ST_OK;
    }
    run_close(&run);
    return st;
}

/* --- many --- */

/* The document as W sees it now, matched anew unless it is byte for byte what the scan saw. Changes it. */
static status change_in_batch(struct modify *m, struct write_batch *b, struct slice locator, struct bdoc seen,
                              struct err *err) {
    struct buf key;
    struct kv_value value = KV_VALUE_INIT;
    bool matches = true;
    buf_init(&key, m->op->mem);
    status st = record_get_at(b->txn, b->collection, locator, &key, &value, err);
    if (st == ST_OK) {
        struct bdoc now = bdoc_of(value.bytes.p);
        bool same = seen.p != NULL && now.len == seen.len && memcmp(now.p, seen.p, now.len) == 0;
        if (!same) st = match_doc(&m->matcher, now, &matches, err);
        if (st == ST_OK && matches) st = m->change(m, b, now, err);
        if (st == ST_OK && matches) m->tally.matched++;
    } else if (st == ST_NOT_FOUND) {
        st = ST_OK;
    }
    kv_value_release(&value);
    buf_release(&key);
    return st;
}

/* Documents of the open batch, in case its commit meets a conflict and they must be done again. */
struct pending {
    struct slice *locators;
    uint32_t count;
    struct tally before; /* them */
    struct arena arena;
};

static status change_one(struct modify *m, struct write_batch *b, uint64_t collection_id, struct slice locator,
                         struct bdoc seen, struct err *err);

static status flush(struct modify *m, struct write_batch *b, struct pending *p, uint64_t collection_id,
                    struct err *err) {
    status st = write_batch_commit(b, false, err);
    uint32_t count = p->count;
    p->count = 0;
    if (retry_is_transient(st)) {
        struct retry retry = {0};
        TRY(retry_wait(&retry, m->op, st, err));
        m->tally = p->before;
        st = ST_OK;
        for (uint32_t i = 0; i < count && st == ST_OK; i++)
            st = change_one(m, b, collection_id, p->locators[i], (struct bdoc){NULL, 0}, err);
    }
    if (st != ST_OK) return st;
    arena_reset(&p->arena);
    p->locators = NULL;
    p->before = m->tally;
    return ST_OK;
}

/* In a transaction of its own, until it is applied. */
static status change_one(struct modify *m, struct write_batch *b, uint64_t collection_id, struct slice locator,
                         struct bdoc seen, struct err *err) {
    struct retry retry = {0};
    struct tally before = m->tally;
    for (;;) {
        m->tally = before;
        status st = write_batch_begin(b, false, err);
        if (st == ST_NOT_FOUND || (st == ST_OK && b->collection->id != collection_id)) {
            write_batch_abort(b);
            return ST_OK;
        }
        if (st == ST_OK) st = change_in_batch(m, b, locator, seen, err);
        if (st == ST_OK) st = write_batch_commit(b, false, err);
        if (st == ST_OK) return ST_OK;
        write_batch_abort(b);
        if (!retry_is_transient(st)) return st;
        TRY(retry_wait(&retry, m->op, st, err));
    }
}

static status note(struct pending *p, struct slice locator, struct err *err) {
    if (p->locators == NULL) p->locators = arena_array(&p->arena, struct slice, BATCH_COUNT_MAX + 1);
    uint8_t *copy = p->locators != NULL ? arena_copy(&p->arena, locator.p, locator.len) : NULL;
    if (copy == NULL) return RAISE(err, ST_NOMEM, "update");
    p->locators[p->count++] = slice_of(copy, locator.len);
    return ST_OK;
}

/* One row of the scan, gathered with others in the batch. */
static status change_row(struct modify *m, struct write_batch *b, struct pending *p, const struct run *run,
                         const struct row *row, struct err *err) {
    status st = write_batch_begin(b, false, err);
    if (st == ST_NOT_FOUND || (st == ST_OK && b->collection->id != run->collection->id)) {
        write_batch_abort(b); /* dropped meanwhile: nothing of it is left to change */
        return ST_END;
    }
    if (st == ST_OK) {
        struct tally before = m->tally;
        struct kv_mark mark = kv_mark(b->txn);
        TRY(note(p, row->locator, err));
        st = change_in_batch(m, b, row->locator, row->doc, err);
        if (st == ST_OK)
            return write_batch_is_full(b) || p->count == BATCH_COUNT_MAX ? flush(m, b, p, run->collection->id, err)
                                                                         : ST_OK;
        kv_rollback_to(b->txn, mark);
        m->tally = before;
        p->count--;
    }
    if (!retry_is_transient(st)) return st;
    TRY(flush(m, b, p, run->collection->id, err));
    err_clear(err);
    return change_one(m, b, run->collection->id, row->locator, row->doc, err);
}

static status change_all(struct modify *m, struct write_batch *b, struct err *err) {
    struct find_request req = request_of(m, b, 0);
    struct run run;
    struct row row;
    struct pending pending = {0};
    write_batch_abort(b);
    TRY(run_open(&run, m->op, &req, &(struct run_opts){0}, err));
    arena_init(&pending.arena, m->op->mem);
    status st;
    while ((st = run_next(&run, &row, err)) == ST_OK) {
        st = change_row(m, b, &pending, &run, &row, err);
        if (st != ST_OK) break;
    }
    /* What was changed before a failure stays. */
    struct err flush_err = ERR_INIT;
    bool fatal = status_failed(st) && !write_error_is_of_statement(st) && st != ST_TIMEOUT && st != ST_INTERRUPTED;
    if (fatal) write_batch_abort(b);
    status flushed = fatal ? ST_OK : flush(m, b, &pending, run.collection != NULL ? run.collection->id : 0, &flush_err);
    arena_release(&pending.arena);
    run_close(&run);
    if (status_failed(st)) return st;
    if (flushed != ST_OK && err != NULL) *err = flush_err;
    return flushed;
}

/* In a session: all matches first, then their changes. */
static status change_gathered(struct modify *m, struct write_batch *b, struct err *err) {
    struct find_request req = request_of(m, b, 0);
    struct run run;
    struct row row;
    struct buf locators;
    buf_init(&locators, m->op->mem);
    locators.cap_max = m->op->memory_max;
    TRY(run_open(&run, m->op, &req, &(struct run_opts){.txn = b->txn}, err));
    status st;
    while ((st = run_next(&run, &row, err)) == ST_OK) {
        buf_append_u32(&locators, (uint32_t) row.locator.len);
        buf_append_slice(&locators, row.locator);
        if (locators.failed)
            st = RAISE(err, ST_NOMEM,
                       "the documents of one statement in a transaction met the memory limit of %zu bytes",
                       m->op->memory_max);
        if (st != ST_OK) break;
    }
    run_close(&run);
    if (st == ST_END) st = ST_OK;
    for (size_t at = 0; st == ST_OK && at < locators.len;) {
        uint32_t len = get_le32(locators.p + at);
        st = op_check(m->op, err);
        if (st == ST_OK) st = change_in_batch(m, b, slice_of(locators.p + at + 4, len), (struct bdoc){NULL, 0}, err);
        at += 4 + len;
    }
    buf_release(&locators);
    return st;
}

struct bval modify_id(struct bdoc filter, struct bval hint) {
    return hint.type == B_MISSING && filter.p != NULL ? query_simple_id(filter) : BVAL_MISSING;
}

status modify_run(struct modify *m, struct write_batch *b, struct err *err) {
    m->tally = (struct tally){0};
    m->env->expr.run.has_score = false;
    m->env->expr.scope.slot_count = m->slot_count;
    if (b->collection == NULL) return ST_OK;
    struct bval id = m->sort.p == NULL ? modify_id(m->filter, m->hint) : BVAL_MISSING;
    if (id.type != B_MISSING) return change_by_id(m, b, id, err);
    if (!m->multi) return change_first(m, b, err);
    return m->op->session_txn != NULL ? change_gathered(m, b, err) : change_all(m, b, err);
}
