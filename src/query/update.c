/* update and replace, with upsert; see write.h. */
#include "base/codes.h"
#include "query/updating.h"

struct update_run {
    struct updating updating;
    const struct update_request *req;
};

static status run_one(void *ctx, struct write_batch *b, uint32_t i, struct write_result *out, struct err *err) {
    struct update_run *run = ctx;
    struct updating *u = &run->updating;
    const struct update_statement *s = &run->req->statements[i];
    if (s->multi && u->modify.op->history != NULL)
        return RAISE_CODE(err, CODE_InvalidOptions, "Cannot use (or request) retryable writes with multi=true");
    TRY(updating_begin(u, s, updating_change, err));
    status st = modify_run(&u->modify, b, err);
    if (st == ST_OK && u->modify.tally.matched == 0 && s->upsert) {
        st = updating_upsert(u, b, err);
        if (st == ST_OK) st = write_result_add_upserted(u->modify.op, out, i, bdoc_get_str(u->after, "_id"), err);
    }
    updating_end(u);
    if (st != ST_OK) return st;
    out->matched += u->modify.tally.matched;
    out->modified += u->modify.tally.modified;
    return ST_OK;
}

static bool runs_alone(void *ctx, uint32_t i) {
    const struct update_run *run = ctx;
    const struct update_statement *s = &run->req->statements[i];
    return s->multi && modify_id(s->filter, s->hint).type == B_MISSING;
}

status update_run(struct op *op, const struct update_request *req, struct write_result *out, struct err *err) {
    struct update_run run = {.req = req};
    updating_init(&run.updating, op);
    struct write_command cmd = {
        .count = req->statement_count, .ordered = req->ordered, .run = run_one, .runs_alone = runs_alone, .ctx = &run};
    status st = modify_env_let(&run.updating.exprs, req->let, err);
    if (st == ST_OK) st = write_command_run(op, req->ns, &cmd, out, err);
    updating_release(&run.updating);
    return st;
}
