/* A running pipeline; see pipeline.h. */
#include "doc/db.h"
#include "query/pipeline_internal.h"

enum { TICKS_PER_CHECK = 128 };

status pipe_tick(struct pipeline *p, struct err *err) {
    if (++p->ticks % TICKS_PER_CHECK != 0) return ST_OK;
    return op_check(&p->op, err);
}

status pipe_charge(struct pipeline *p, const char *stage, size_t len, struct err *err) {
    p->memory += len;
    if (p->memory <= p->op.memory_max) return ST_OK;
    return RAISE_CODE(err, CODE_QueryExceededMemoryLimitNoDiskUseAllowed,
                      "Exceeded memory limit for %s: %zu bytes%s", stage, p->op.memory_max,
                      p->req.allow_disk_use ? "; using the disk (allowDiskUse) is not supported yet"
                                            : ", but didn't allow external spilling; pass allowDiskUse:true to opt in");
}

void pipe_discharge(struct pipeline *p, size_t len) { p->memory -= len; }

static status copy(struct pipeline *p, const uint8_t **at, size_t len, struct err *err) {
    if (*at == NULL) return ST_OK;
    *at = arena_copy(&p->op.arena, *at, len);
    return *at != NULL ? ST_OK : RAISE(err, ST_NOMEM, "pipeline");
}

static status copy_request(struct pipeline *p, const struct pipeline_request *req, struct err *err) {
    p->req = *req;
    TRY(copy(p, &p->req.ns.db.p, req->ns.db.len, err));
    TRY(copy(p, &p->req.ns.coll.p, req->ns.coll.len, err));
    TRY(copy(p, &p->req.pipeline.p, req->pipeline.len, err));
    TRY(copy(p, &p->req.let.p, req->let.len, err));
    return req->hint.type != B_MISSING ? copy(p, &p->req.hint.p, req->hint.len, err) : ST_OK;
}

static void borrow_limits(struct pipeline *p, const struct op *op) {
    p->op.deadline_ns = op->deadline_ns;
    p->op.cancelled = op->cancelled;
    p->op.memory_max = op->memory_max;
    p->op.session_txn = op->session_txn;
}

/* What $out and $merge do is done here and now. */
static status run_writes(struct pipeline *p, struct err *err) {
    struct pipe_row row;
    if (p->list.count == 0 || (p->list.stages[p->list.count - 1]->def->flags & STAGE_LAST) == 0) return ST_OK;
    p->is_done = true;
    status st = pipe_list_next(&p->list, &row, err);
    return st == ST_END ? ST_OK : st;
}

static status open_list(struct pipeline *p, struct err *err) {
    p->list = (struct pipe_list){.p = p, .ns = p->req.ns, .hint = p->req.hint};
    if (p->req.ns.coll.len != 0) TRY(ns_check(p->req.ns, false, err));
    if (p->req.let.p != NULL) TRY(expr_env_let(&p->env, p->req.let, err));
    TRY(pipe_list_parse(&p->list, p->req.pipeline, true, err));
    p->req.hooks = NULL; /* lent until here */
    TRY(expr_env_prepare(&p->env, err));
    return run_begin(&p->op, &p->txn, &p->owns_txn, err);
}

static status new_pipeline(struct op *op, const struct pipeline_request *req, struct pipeline **out, struct err *err) {
    struct env *env = db_env(op->db);
    struct pipeline *p = mem_new(op->mem, struct pipeline);
    if (p == NULL) return RAISE(err, ST_NOMEM, "pipeline");
    op_init(&p->op, op->db);
    p->op.mem = op->mem;
    arena_init(&p->op.arena, op->mem);
    expr_env_init(&p->env, op->mem, &p->op.arena, (int64_t) env->ops->now_ms(env));
    env->ops->random(env, &p->env.run.random_state, sizeof(p->env.run.random_state));
    borrow_limits(p, op);
    status st = copy_request(p, req, err);
    if (st == ST_OK) st = open_list(p, err);
    if (st != ST_OK) {
        pipeline_close(p);
        return st;
    }
    *out = p;
    return ST_OK;
}

status pipeline_open(struct op *op, const struct pipeline_request *req, struct pipeline **out, struct err *err) {
    struct pipeline *p;
    TRY(new_pipeline(op, req, &p, err));
    status st = run_writes(p, err);
    if (st != ST_OK) {
        pipeline_close(p);
        return st;
    }
    *out = p;
    return ST_OK;
}

status pipeline_next(struct op *op, struct pipeline *p, struct bdoc *doc, struct err *err) {
    struct pipe_row row = {0};
    if (p->is_done) return ST_END;
    borrow_limits(p, op);
    status st = pipe_list_next(&p->list, &row, err);
    if (st != ST_OK) return st;
    if (row.doc.len > BSON_LEN_MAX)
        return RAISE(err, ST_TOO_LARGE, "BSONObj size: %u is invalid. Size must be between 0 and %u", row.doc.len,
                     BSON_LEN_MAX);
    *doc = row.doc;
    return ST_OK;
}

void pipeline_rest(struct pipeline *p) {
    for (struct pipe_stage *s = p->made; s != NULL; s = s->made_before) {
        if (s->ops->rest != NULL) s->ops->rest(s);
    }
}

void pipeline_close(struct pipeline *p) {
    if (p == NULL) return;
    for (struct pipe_stage *s = p->made; s != NULL; s = s->made_before) {
        if (s->ops->close != NULL) s->ops->close(s);
    }
    expr_env_release(&p->env);
    if (p->owns_txn) kv_abort(p->txn);
    const struct mem *mem = p->op.mem;
    op_release(&p->op);
    mem_delete(mem, p);
}

/* --- explain --------------------------------------------------------------------------------------------------- */

static void show_stage(struct bbuild *array, const struct pipe_stage *s, bool with_stats) {
    struct bbuild doc = bbuild_push_doc(array);
    if (s->ops->show != NULL) s->ops->show(s, &doc);
    else bbuild_value(&doc, slice_str(s->def->name), s->spec);
    if (with_stats) bbuild_int64(&doc, "nReturned", (int64_t) s->advanced);
    bbuild_close(&doc);
}

static status drain(struct pipeline *p, struct err *err) {
    struct pipe_row row;
    status st;
    if (p->list.count > 0 && (p->list.stages[p->list.count - 1]->def->flags & STAGE_LAST) != 0)
        return ST_OK; /* nothing is written by explain */
    while ((st = pipe_list_next(&p->list, &row, err)) == ST_OK) continue;
    return st == ST_END ? ST_OK : st;
}

/* What the source reads, as find's explain shows it. */
static status explain_source(struct op *op, struct pipeline *p, enum explain_verbosity v, struct bbuild *out,
                             struct err *err) {
    struct pipe_stage *first = p->list.last;
    while (first != NULL && first->from != NULL) first = first->from;
    if (first == NULL || (p->list.count > 0 && first == p->list.stages[0])) return ST_OK;
    struct find_request req = *source_request((struct pipe_source *) first);
    req.env = NULL;
    req.let = p->req.let;
    return find_explain(op, &req, EXPLAIN_FIND, SLICE_NONE, v, out, err);
}

status pipeline_explain(struct op *op, const struct pipeline_request *req, enum explain_verbosity v, struct bbuild *out,
                        struct err *err) {
    struct pipeline *p;
    status st = ST_OK;
    TRY(new_pipeline(op, req, &p, err));
    if (p->list.count == 0) {
        st = explain_source(op, p, v, out, err);
    } else {
        struct bbuild array = bbuild_open_array(out, SLICE_LIT("stages"));
        struct bbuild first = bbuild_push_doc(&array), cursor = bbuild_open_doc(&first, SLICE_LIT("$cursor"));
        st = explain_source(op, p, v, &cursor, err);
        bbuild_close(&cursor);
        bbuild_close(&first);
        if (st == ST_OK && v != EXPLAIN_QUERY_PLANNER) st = drain(p, err);
        for (uint32_t i = 0; st == ST_OK && i < p->list.count; i++)
            show_stage(&array, p->list.stages[i], v != EXPLAIN_QUERY_PLANNER);
        bbuild_close(&array);
    }
    if (st == ST_OK) bbuild_str(out, "explainVersion", "1");
    pipeline_close(p);
    return st;
}
