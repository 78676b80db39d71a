/* One update statement; see updating.h. */
#include "query/updating.h"

#include "base/codes.h"
#include "doc/db.h"
#include "eval/describe.h"
#include "query/pipeline.h"

/* --- one document --- */

status updating_change(struct modify *m, struct write_batch *b, struct bdoc doc, struct err *err) {
    struct updating *u = (struct updating *) m;
    struct bdoc after;
    bool changed;
    arena_reset(&u->scratch);
    buf_clear(&u->buf);
    u->after = doc;
    TRY(update_apply(u->update, doc, &u->env, &u->scratch, &u->buf, &after, &changed, err));
    if (!changed) return ST_OK;
    struct arena_mark mark = arena_mark(&m->op->arena);
    TRY(collection_write(m->op, b->txn, b->collection, doc, after, u->paths.paths != NULL ? &u->paths : NULL, err));
    arena_rewind(&m->op->arena, mark);
    write_batch_count(b, doc.len + after.len);
    m->tally.modified++;
    u->after = after;
    return ST_OK;
}

status updating_upsert(struct updating *u, struct write_batch *b, struct err *err) {
    struct bdoc doc;
    struct op *op = u->modify.op;
    TRY(write_batch_begin(b, true, err));
    arena_reset(&u->scratch);
    buf_clear(&u->buf);
    buf_clear(&u->prepared);
    TRY(update_upsert(u->update, &u->modify.matcher, &u->env, &u->scratch, &u->buf, &doc, err));
    TRY(collection_prepare(op, doc, &u->prepared, &u->after, err));
    TRY(collection_write(op, b->txn, b->collection, (struct bdoc){NULL, 0}, u->after, NULL, err));
    write_batch_count(b, u->after.len);
    return ST_OK;
}

/* --- one statement --- */

/* The first field that begins (or does not begin) with a dollar sign. */
static struct slice first_key(struct bdoc doc, bool dollar) {
    struct biter it = biter_of(doc);
    struct belem e;
    while (biter_next(&it, &e)) {
        if ((e.name.len > 0 && e.name.p[0] == '$') == dollar) return e.name;
    }
    return SLICE_NONE;
}

static status check_kind(const struct update_statement *s, enum update_kind kind, struct err *err) {
    struct slice culprit;
    if (s->expect == UPDATE_OPERATORS_ONLY && kind == UPDATE_REPLACEMENT) {
        culprit = first_key(bval_doc(s->update), false);
        return RAISE_CODE(err, CODE_InvalidBSON, "Invalid key '%.*s': update only works with $ operators and pipelines",
                          (int) culprit.len, (const char *) culprit.p);
    }
    if (s->expect == UPDATE_REPLACE_ONLY && kind == UPDATE_OPERATORS) {
        culprit = first_key(bval_doc(s->update), true);
        return RAISE_CODE(err, CODE_InvalidBSON, "Invalid key '%.*s': replace prohibits $ operators", (int) culprit.len,
                          (const char *) culprit.p);
    }
    if (s->multi && kind == UPDATE_REPLACEMENT)
        return RAISE_CODE(err, CODE_FailedToParse, "multi update is not supported for replacement-style update");
    return ST_OK;
}

static status check_statement(const struct update_statement *s, struct err *err) {
    if (s->update.type != B_DOCUMENT && s->update.type != B_ARRAY)
        return RAISE_CODE(err, CODE_FailedToParse, "Update argument must be either an object or an array");
    if (s->update.type == B_ARRAY && s->array_filters.p != NULL)
        return RAISE_CODE(err, CODE_FailedToParse, "arrayFilters may not be specified for pipeline-syle updates");
    if (s->update.type != B_ARRAY && s->constants.p != NULL)
        return RAISE_CODE(err, 51198, "Constant values may only be specified for pipeline updates");
    return ST_OK;
}

/* Names that no stage has are refused before those that no update takes. */
static status check_stage_names(struct bdoc stages, struct err *err) {
    struct biter it = biter_of(stages);
    struct belem e, stage;
    while (biter_next(&it, &e)) {
        if (e.value.type != B_DOCUMENT) continue;
        struct biter of = biter_of(bval_doc(e.value));
        if (biter_next(&of, &stage) && !pipeline_has_stage(stage.name))
            return RAISE_CODE(err, 40324, "Unrecognized pipeline stage name: '%.*s'", SLICE_ARGS(stage.name));
    }
    return ST_OK;
}

static status compile_pipeline(struct updating *u, const struct update_statement *s, struct err *err) {
    struct expr_env *env = &u->exprs.expr;
    TRY(check_stage_names(bval_doc(s->update), err));
    if (s->constants.p != NULL) TRY(expr_env_constants(env, s->constants, err));
    return update_compile_pipeline(env, bval_doc(s->update), &u->update, err);
}

static status compile(struct updating *u, const struct update_statement *s, struct err *err) {
    struct op *op = u->modify.op;
    TRY(check_statement(s, err));
    if (s->update.type == B_ARRAY) TRY(compile_pipeline(u, s, err));
    else TRY(update_compile_with(op->mem, &op->arena, bval_doc(s->update), s->array_filters, &u->update, err));
    TRY(check_kind(s, update_kind_of(u->update), err));
    u->env.query = &u->modify.matcher;
    bool all;
    u->paths.paths = update_paths(u->update, &u->paths.count, &all);
    if (all) u->paths.paths = NULL;
    TRY(modify_compile(&u->modify, err));
    return modify_prepare(&u->modify, err);
}

void updating_end(struct updating *u) {
    if (u->update != NULL) update_release(u->update);
    u->update = NULL;
    modify_end(&u->modify);
}

status updating_begin(struct updating *u, const struct update_statement *s,
                      status (*change)(struct modify *m, struct write_batch *b, struct bdoc doc, struct err *err),
                      struct err *err) {
    u->modify = (struct modify){.op = u->modify.op,
                                .env = &u->exprs,
                                .filter = s->filter.p != NULL ? s->filter : bdoc_empty,
                                .hint = s->hint,
                                .multi = s->multi,
                                .change = change};
    status st = compile(u, s, err);
    if (st != ST_OK) updating_end(u);
    return st;
}

void updating_init(struct updating *u, struct op *op) {
    struct env *env = db_env(op->db);
    uint64_t now = env->ops->now_ms(env);
    *u = (struct updating){.modify = {.op = op, .env = &u->exprs}, .env = {.now_ms = (int64_t) now, .timestamp = now / 1000 << 32 | 1}};
    modify_env_init(&u->exprs, op);
    arena_init(&u->scratch, op->mem);
    buf_init(&u->buf, op->mem);
    buf_init(&u->prepared, op->mem);
}

void updating_release(struct updating *u) {
    updating_end(u);
    modify_env_release(&u->exprs);
    arena_release(&u->scratch);
    buf_release(&u->buf);
    buf_release(&u->prepared);
}
