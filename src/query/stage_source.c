/* The source of a pipeline: a query over its collection, planned as find's. It runs in the statement's transaction; when the pipeline is run again
 * ($lookup) it is compiled again, with the variables as they are then. */
#include "eval/regex.h"
#include "query/pipeline_internal.h"

struct pipe_source {
    struct pipe_stage base;
    struct op op; /* arena of the query, emptied at each run */
    struct find_request req;
    struct run run;
    bool is_open, at_end;
    const struct expr_var *vars; /* in scope where the pipeline stands */
    struct match_regex *regexes; /* of the query's expressions */
};

static status open_run(struct pipe_source *s, struct err *err) {
    struct pipeline *p = s->base.list->p;
    s->op.deadline_ns = p->op.deadline_ns;
    s->op.cancelled = p->op.cancelled;
    s->op.memory_max = p->op.memory_max;
    s->op.session_txn = p->op.session_txn;
    /* What this compiles goes with the run: memory, slots and regular expressions. No other source is being evaluated while this one is, so
     * the slots beyond the statement's own may be used by each. */
    struct expr_scope outer = p->env.scope, *scope = &p->env.scope;
    scope->arena = &s->op.arena;
    scope->vars = s->vars;
    scope->regexes = NULL;
    status st = run_open(&s->run, &s->op, &s->req, &(struct run_opts){.txn = p->txn, .want = WANT_DOCUMENTS, .goes_on = true}, err);
    s->regexes = scope->regexes;
    *scope = outer;
    TRY(st);
    if (p->env.scope.reads_score) s->run.query.needs_score = true;
    s->is_open = true;
    return ST_OK;
}

static void close_run(struct pipe_source *s) {
    if (s->is_open) run_close(&s->run);
    regex_free_all(s->op.mem, s->regexes);
    s->regexes = NULL;
    s->is_open = false;
}

static status source_next(struct pipe_stage *stage, struct pipe_row *out, struct err *err) {
    struct pipe_source *s = (struct pipe_source *) stage;
    struct row row;
    if (s->at_end) return ST_END;
    if (!s->is_open) TRY(open_run(s, err));
    s->op.deadline_ns = stage->list->p->op.deadline_ns;
    s->op.cancelled = stage->list->p->op.cancelled;
    status st = run_next(&s->run, &row, err);
    s->at_end = st != ST_OK;
    if (st != ST_OK) return st;
    *out = (struct pipe_row){row.doc, row.score, s->run.query.needs_score};
    return ST_OK;
}

static status source_restart(struct pipe_stage *stage, struct err *err) {
    struct pipe_source *s = (struct pipe_source *) stage;
    (void) err;
    close_run(s);
    arena_reset(&s->op.arena);
    s->at_end = false;
    return ST_OK;
}

static void source_rest(struct pipe_stage *stage) {
    struct pipe_source *s = (struct pipe_source *) stage;
    if (s->is_open) exec_rest(&s->run.exec);
}

static void source_close(struct pipe_stage *stage) {
    struct pipe_source *s = (struct pipe_source *) stage;
    close_run(s);
    op_release(&s->op);
}

static const struct stage_vtable ops = {.next = source_next, .restart = source_restart, .rest = source_rest, .close = source_close};
static const struct stage_def def = {.name = "$cursor", .flags = STAGE_FIRST};

status source_new(struct pipe_list *list, struct pipe_source **out, struct err *err) {
    struct pipe_parse ps = {list, err};
    struct pipe_source *s;
    TRY(pipe_stage_new(&ps, &def, &ops, sizeof(*s), &s));
    op_init(&s->op, list->p->op.db);
    s->op.mem = list->p->op.mem;
    arena_init(&s->op.arena, s->op.mem);
    s->req = (struct find_request){.ns = list->ns,
                                   .hint = list->hint,
                                   .allow_disk_use = list->p->req.allow_disk_use,
                                   .env = &list->p->env};
    s->vars = list->p->env.scope.vars;
    *out = s;
    return ST_OK;
}

struct pipe_stage *source_stage(struct pipe_source *s) {
    return &s->base;
}

void source_set(struct pipe_source *s, struct bdoc filter, struct bdoc sort, int64_t skip, int64_t limit) {
    s->req.filter = filter;
    s->req.sort = sort;
    s->req.skip = skip;
    s->req.limit = limit;
}

struct find_request *source_request(struct pipe_source *s) {
    return &s->req;
}

status source_run(struct pipe_source *s, struct run **out, struct err *err) {
    if (!s->is_open) TRY(open_run(s, err));
    *out = &s->run;
    return ST_OK;
}
