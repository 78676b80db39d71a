/* delete; see write.h. */
#include "base/codes.h"
#include "query/modify.h"

struct deletion {
    struct modify modify;
    struct modify_env env;
    const struct delete_request *req;
};

static status delete_document(struct modify *m, struct write_batch *b, struct bdoc doc, struct err *err) {
    struct arena_mark mark = arena_mark(&m->op->arena);
    TRY(collection_write(m->op, b->txn, b->collection, doc, (struct bdoc){NULL, 0}, NULL, err));
    arena_rewind(&m->op->arena, mark);
    write_batch_count(b, doc.len);
    return ST_OK;
}

static bool runs_alone(void *ctx, uint32_t i) {
    const struct deletion *d = ctx;
    const struct delete_statement *s = &d->req->statements[i];
    return s->multi && modify_id(s->filter, s->hint).type == B_MISSING;
}

static status run_one(void *ctx, struct write_batch *b, uint32_t i, struct write_result *out, struct err *err) {
    struct deletion *d = ctx;
    const struct delete_statement *s = &d->req->statements[i];
    struct modify *m = &d->modify;
    if (s->multi && m->op->history != NULL)
        return RAISE_CODE(err, CODE_InvalidOptions, "Cannot use (or request) retryable writes with limit=0");
    *m = (struct modify){.op = m->op,
                         .env = &d->env,
                         .filter = s->filter.p != NULL ? s->filter : bdoc_empty,
                         .hint = s->hint,
                         .multi = s->multi,
                         .change = delete_document};
    status st = modify_compile(m, err);
    if (st == ST_OK) st = modify_prepare(m, err);
    if (st == ST_OK) st = modify_run(m, b, err);
    modify_end(m);
    if (st == ST_OK) out->deleted += m->tally.matched;
    return st;
}

status delete_run(struct op *op, const struct delete_request *req, struct write_result *out, struct err *err) {
    struct deletion d = {.modify = {.op = op}, .req = req};
    struct write_command cmd = {
        .count = req->statement_count, .ordered = req->ordered, .run = run_one, .runs_alone = runs_alone, .ctx = &d};
    modify_env_init(&d.env, op);
    status st = modify_env_let(&d.env, req->let, err);
    if (st == ST_OK) st = write_command_run(op, req->ns, &cmd, out, err);
    modify_env_release(&d.env);
    return st;
}
