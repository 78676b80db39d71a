/* findAndModify; see find_and_modify.h. A write command of one statement, whose failure is the command's. */
#include "query/find_and_modify.h"

#include "doc/history.h"
#include "eval/project.h"
#include "query/updating.h"

struct finding {
    struct updating updating;
    const struct find_and_modify_request *req;
    struct projection *projection; /* NULL: whole documents */
    /* What the last attempt found; attempts that met a conflict are forgotten. */
    bool found, has_value;
    struct buf value, upserted; /* upserted: {_id} */
};

/* The document, projected, is the answer: copied, for its bytes may be gone when the statement has ended. */
static status keep_value(struct finding *f, struct bdoc doc, struct err *err) {
    struct bdoc projected;
    buf_clear(&f->value);
    f->has_value = true;
    arena_reset(f->updating.exprs.expr.run.arena);
    if (f->projection != NULL)
        return projection_apply(f->projection, doc, f->updating.modify.score, &f->value, &projected, err);
    return buf_append(&f->value, doc.p, doc.len) ? ST_OK
                                                 : RAISE(err, ST_NOMEM, "the document that findAndModify found");
}

static status update_found(struct modify *m, struct write_batch *b, struct bdoc doc, struct err *err) {
    struct finding *f = (struct finding *) m;
    if (!f->req->returns_new) TRY(keep_value(f, doc, err));
    TRY(updating_change(m, b, doc, err));
    return f->req->returns_new ? keep_value(f, f->updating.after, err) : ST_OK;
}

static status delete_found(struct modify *m, struct write_batch *b, struct bdoc doc, struct err *err) {
    struct finding *f = (struct finding *) m;
    TRY(keep_value(f, doc, err));
    struct arena_mark mark = arena_mark(&m->op->arena);
    TRY(collection_write(m->op, b->txn, b->collection, doc, (struct bdoc){NULL, 0}, NULL, err));
    arena_rewind(&m->op->arena, mark);
    write_batch_count(b, doc.len);
    return ST_OK;
}

static status insert_missing(struct finding *f, struct write_batch *b, struct err *err) {
    struct bbuild id;
    TRY(updating_upsert(&f->updating, b, err));
    bbuild_begin(&id, &f->upserted);
    bbuild_value(&id, SLICE_LIT("_id"), bdoc_get_str(f->updating.after, "_id"));
    if (bbuild_finish(&id).p == NULL) return RAISE(err, ST_NOMEM, "the _id of the upserted document");
    return f->req->returns_new ? keep_value(f, f->updating.after, err) : ST_OK;
}

/* For a repetition: {found, value, upserted}, in the op's arena. */
static status remember(struct finding *f, struct history *h, struct err *err) {
    struct bbuild b;
    struct buf buf;
    buf_init(&buf, h->op->mem);
    bbuild_begin(&b, &buf);
    bbuild_bool(&b, "found", f->found);
    if (f->has_value) bbuild_doc(&b, "value", bdoc_of(f->value.p));
    if (f->upserted.len != 0) bbuild_value(&b, SLICE_LIT("upserted"), bdoc_get_str(bdoc_of(f->upserted.p), "_id"));
    h->more = bbuild_finish(&b);
    if (h->more.p != NULL) h->more.p = arena_copy(&h->op->arena, h->more.p, h->more.len);
    buf_release(&buf);
    return h->more.p != NULL ? ST_OK : RAISE(err, ST_NOMEM, "findAndModify");
}

static status recall(struct bdoc more, struct find_and_modify_result *out) {
    struct bval found = bdoc_get_str(more, "found"), value = bdoc_get_str(more, "value");
    *out = (struct find_and_modify_result){.found = bval_truthy(found), .upserted = bdoc_get_str(more, "upserted")};
    if (value.type == B_DOCUMENT) out->value = bval_doc(value);
    return ST_OK;
}

static status run_one(void *ctx, struct write_batch *b, uint32_t i, struct write_result *out, struct err *err) {
    struct finding *f = ctx;
    struct modify *m = &f->updating.modify;
    (void) i;
    (void) out;
    f->found = f->has_value = false;
    buf_clear(&f->upserted);
    TRY(modify_run(m, b, err));
    f->found = m->tally.matched != 0;
    if (!f->found && f->req->statement.upsert && !f->req->remove) TRY(insert_missing(f, b, err));
    return m->op->history != NULL ? remember(f, m->op->history, err) : ST_OK;
}

static status compile_projection(struct finding *f, struct err *err) {
    struct modify *m = &f->updating.modify;
    if (f->req->projection.p == NULL || bdoc_is_empty(f->req->projection)) return ST_OK;
    TRY(projection_compile_with(&m->env->expr, PROJECTION_FIND, f->req->projection, &f->projection, err));
    m->needs_score = projection_needs_text_score(f->projection);
    return ST_OK;
}

static status compile(struct finding *f, struct err *err) {
    struct modify *m = &f->updating.modify;
    const struct update_statement *s = &f->req->statement;
    if (f->req->remove) {
        m->filter = s->filter.p != NULL ? s->filter : bdoc_empty;
        m->hint = s->hint;
        m->change = delete_found;
        TRY(modify_compile(m, err));
    } else {
        TRY(updating_begin(&f->updating, s, update_found, err));
    }
    if (f->req->sort.p != NULL && !bdoc_is_empty(f->req->sort)) m->sort = f->req->sort;
    TRY(compile_projection(f, err));
    return modify_prepare(m, err);
}

static status copy_out(struct finding *f, struct find_and_modify_result *out, struct err *err) {
    struct arena *arena = &f->updating.modify.op->arena;
    *out = (struct find_and_modify_result){.found = f->found, .upserted = BVAL_MISSING};
    if (f->has_value) {
        const uint8_t *p = arena_copy(arena, f->value.p, f->value.len);
        if (p == NULL) return RAISE(err, ST_NOMEM, "findAndModify");
        out->value = bdoc_of(p);
    }
    if (f->upserted.len != 0) {
        const uint8_t *p = arena_copy(arena, f->upserted.p, f->upserted.len);
        if (p == NULL) return RAISE(err, ST_NOMEM, "findAndModify");
        out->upserted = bdoc_get_str(bdoc_of(p), "_id");
    }
    return ST_OK;
}

status find_and_modify_run(struct op *op, const struct find_and_modify_request *req, struct find_and_modify_result *out,
                           struct err *err) {
    struct finding f = {.req = req};
    struct write_command cmd = {.count = 1, .ordered = true, .run = run_one, .ctx = &f};
    struct write_result result = {0};
    const struct done *done = op->history != NULL ? history_find(op->history, 0) : NULL;
    if (done != NULL && done->more.p != NULL) {
        op->history->reached = 1;
        return recall(done->more, out);
    }
    updating_init(&f.updating, op);
    buf_init(&f.value, op->mem);
    buf_init(&f.upserted, op->mem);
    status st = modify_env_let(&f.updating.exprs, req->let, err);
    if (st == ST_OK) st = compile(&f, err);
    if (st == ST_OK) st = write_command_run(op, req->ns, &cmd, &result, err);
    if (st == ST_OK && result.error_count != 0) {
        const struct write_error *we = &result.errors[0];
        st = RAISE_CODE(err, we->code, "%s", we->text);
        if (err != NULL) err->details = we->details.p, err->details_len = we->details.len;
    }
    if (st == ST_OK) st = copy_out(&f, out, err);
    if (f.projection != NULL) projection_release(f.projection);
    buf_release(&f.upserted);
    buf_release(&f.value);
    updating_release(&f.updating);
    return st;
}
