/* find: a run that outlives the statement that opened it, with a short way for {_id: x}. See find.h. */
#include "query/find.h"

#include "doc/db.h"
#include "query/run.h"

struct find {
    struct op op;            /* its own: the arena outlives the statement's; limits are those of the current one */
    struct find_request req; /* copied */
    bool by_id, at_end;
    struct run run; /* not by_id */
    /* by_id: */
    struct kv_txn *txn;
    bool owns_txn;
    struct collection *collection;
    struct projection *projection;
    struct expr_env env; /* of the projection */
    bool has_env;
    struct bval id;
    struct buf key, out;
    struct kv_value value;
};

static status copy_doc(struct find *f, struct bdoc *d, struct err *err) {
    if (d->p == NULL) return ST_OK;
    d->p = arena_copy(&f->op.arena, d->p, d->len);
    return d->p != NULL ? ST_OK : RAISE(err, ST_NOMEM, "find");
}

static status copy_slice(struct find *f, struct slice *s, struct err *err) {
    s->p = arena_copy(&f->op.arena, s->p, s->len);
    return s->p != NULL ? ST_OK : RAISE(err, ST_NOMEM, "find");
}

static status copy_request(struct find *f, const struct find_request *req, struct err *err) {
    f->req = *req;
    TRY(copy_slice(f, &f->req.ns.db, err));
    TRY(copy_slice(f, &f->req.ns.coll, err));
    TRY(copy_doc(f, &f->req.filter, err));
    TRY(copy_doc(f, &f->req.projection, err));
    TRY(copy_doc(f, &f->req.sort, err));
    TRY(copy_doc(f, &f->req.let, err));
    if (req->hint.type == B_MISSING) return ST_OK;
    struct slice hint = slice_of(req->hint.p, req->hint.len);
    TRY(copy_slice(f, &hint, err));
    f->req.hint.p = hint.p;
    return ST_OK;
}

static void borrow_limits(struct find *f, const struct op *op) {
    f->op.deadline_ns = op->deadline_ns;
    f->op.cancelled = op->cancelled;
    f->op.memory_max = op->memory_max;
    f->op.session_txn = op->session_txn;
}

/* Nothing to plan: one document by its key. */
static bool is_by_id(const struct find_request *req) {
    bool plain = req->sort.p == NULL && req->let.p == NULL && req->hint.type == B_MISSING && req->skip == 0 && req->min.p == NULL &&
        req->max.p == NULL && !req->return_key && !req->show_record_id;
    return plain && req->filter.p != NULL && query_simple_id(req->filter).type != B_MISSING;
}

static status open_by_id(struct find *f, struct err *err) {
    f->by_id = true;
    f->id = query_simple_id(f->req.filter);
    buf_init(&f->key, f->op.mem);
    buf_init(&f->out, f->op.mem);
    TRY(ns_check(f->req.ns, false, err));
    if (f->req.projection.p != NULL && !bdoc_is_empty(f->req.projection)) {
        struct env *env = db_env(f->op.db);
        expr_env_init(&f->env, f->op.mem, &f->op.arena, (int64_t) env->ops->now_ms(env));
        f->has_env = true;
        TRY(projection_compile_with(&f->env, PROJECTION_FIND, f->req.projection, &f->projection, err));
        TRY(expr_env_prepare(&f->env, err));
        if (projection_needs_text_score(f->projection) || f->env.scope.reads_score)
            return err_raise(err, ST_INVALID, 40218, __FILE__, __LINE__,
                             "query requires text score metadata, but it is not available");
    }
    TRY(run_begin(&f->op, &f->txn, &f->owns_txn, err));
    status st = catalog_find(&f->op, f->txn, f->req.ns, &f->collection, err);
    f->at_end = st == ST_NOT_FOUND;
    return f->at_end ? ST_OK : st;
}

status find_open(struct op *op, const struct find_request *req, struct find **out, struct err *err) {
    struct find *f = mem_new(op->mem, struct find);
    if (f == NULL) return RAISE(err, ST_NOMEM, "find");
    status st = ST_OK;
    op_init(&f->op, op->db);
    f->op.mem = op->mem;
    arena_init(&f->op.arena, op->mem);
    borrow_limits(f, op);
    TRY_OUT(copy_request(f, req, err));
    if (is_by_id(req)) TRY_OUT(open_by_id(f, err));
    else TRY_OUT(run_open(&f->run, &f->op, &f->req, &(struct run_opts){.want = WANT_DOCUMENTS, .goes_on = true}, err));
    *out = f;
    f = NULL;
out:
    find_close(f);
    return st;
}

static status next_by_id(struct find *f, struct bdoc *doc, struct err *err) {
    kv_value_release(&f->value);
    if (f->at_end) return ST_END;
    f->at_end = true;
    status st = record_get(f->txn, f->collection, f->id, &f->key, &f->value, err);
    if (st == ST_NOT_FOUND) return ST_END;
    TRY(st);
    *doc = bdoc_of(f->value.bytes.p);
    if (f->projection == NULL) return ST_OK;
    buf_clear(&f->out);
    return projection_apply(f->projection, *doc, 0, &f->out, doc, err);
}

status find_next(struct op *op, struct find *f, struct bdoc *doc, struct err *err) {
    borrow_limits(f, op);
    if (f->by_id) return next_by_id(f, doc, err);
    if (f->at_end) return ST_END;
    struct row row;
    status st = run_next(&f->run, &row, err);
    if (st == ST_OK) *doc = row.doc;
    f->at_end = st != ST_OK;
    return st;
}

void find_rest(struct find *f) {
    if (f->by_id) kv_value_release(&f->value);
    else exec_rest(&f->run.exec);
}

void find_close(struct find *f) {
    if (f == NULL) return;
    if (f->by_id) {
        kv_value_release(&f->value);
        if (f->projection != NULL) projection_release(f->projection);
        if (f->has_env) expr_env_release(&f->env);
        if (f->collection != NULL) collection_unref(f->collection);
        if (f->owns_txn) kv_abort(f->txn);
        buf_release(&f->key);
        buf_release(&f->out);
    } else {
        run_close(&f->run);
    }
    const struct mem *mem = f->op.mem;
    op_release(&f->op);
    mem_delete(mem, f);
}
