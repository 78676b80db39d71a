/* $project, $addFields, $set, $unset, $replaceRoot and $replaceWith: each row becomes what a transform (eval/transform.h) makes of it. */
#include "eval/transform.h"
#include "query/pipeline_internal.h"

struct transform_stage {
    struct pipe_stage base;
    struct transform transform;
    struct buf out;
};

static status transform_next(struct pipe_stage *stage, struct pipe_row *out, struct err *err) {
    struct transform_stage *s = (struct transform_stage *) stage;
    TRY(pipe_next(stage, out, err));
    (void) pipe_run(stage, out, err);
    buf_clear(&s->out);
    return transform_apply(&s->transform, out->doc, &s->out, &out->doc, err);
}

static void transform_close(struct pipe_stage *stage) {
    struct transform_stage *s = (struct transform_stage *) stage;
    transform_release(&s->transform);
    buf_release(&s->out);
}

static status deps(const struct pipe_stage *stage, struct expr_deps *deps, bool *ends, struct err *err) {
    return transform_deps(&((const struct transform_stage *) stage)->transform, deps, ends, err);
}

static bool passes(const struct pipe_stage *stage, struct slice path) {
    return !transform_touches(&((const struct transform_stage *) stage)->transform, path);
}

static const struct stage_vtable ops = {
    .next = transform_next, .close = transform_close, .deps = deps, .passes = passes};

static status make(struct pipe_parse *ps, const struct stage_def *def, struct bval spec) {
    struct transform_stage *s;
    TRY(pipe_append(ps, def, &ops, sizeof(*s), &s));
    buf_init(&s->out, ps->list->p->op.mem);
    return transform_compile(&ps->list->p->env, slice_str(def->name), spec, &s->transform, ps->err);
}

/* One row: `id` is the stage_... object. */
#define TRANSFORM(id, text)                                                                                            \
    static status parse_##id(struct pipe_parse *ps, struct bval spec) { return make(ps, &stage_##id, spec); }          \
    const struct stage_def stage_##id = {text, STAGE_KEEPS_COUNT | STAGE_KEEPS_ORDER, parse_##id};

extern const struct stage_def stage_project, stage_add_fields, stage_set, stage_unset, stage_replace_root,
    stage_replace_with;

TRANSFORM(project, "$project")
TRANSFORM(add_fields, "$addFields")
TRANSFORM(set, "$set")
TRANSFORM(unset, "$unset")
TRANSFORM(replace_root, "$replaceRoot")
TRANSFORM(replace_with, "$replaceWith")
