/* $project, $addFields, $set, $unset: one projection (eval/project.h) for each row. */
#include "eval/project.h"
#include "query/pipeline_internal.h"

struct project_stage {
    struct pipe_stage base;
    struct projection *projection;
    struct buf out;
};

static status project_next(struct pipe_stage *stage, struct pipe_row *out, struct err *err) {
    struct project_stage *s = (struct project_stage *) stage;
    TRY(pipe_next(stage, out, err));
    (void) pipe_run(stage, out, err);
    buf_clear(&s->out);
    return projection_apply(s->projection, out->doc, out->score, &s->out, &out->doc, err);
}

static void project_close(struct pipe_stage *stage) {
    struct project_stage *s = (struct project_stage *) stage;
    if (s->projection != NULL) projection_release(s->projection);
    buf_release(&s->out);
}

static status project_deps(const struct pipe_stage *stage, struct expr_deps *deps, bool *ends, struct err *err) {
    const struct project_stage *s = (const struct project_stage *) stage;
    bool keeps_others;
    TRY(projection_deps(s->projection, deps, &keeps_others, err));
    *ends = !keeps_others;
    return ST_OK;
}

static bool project_passes(const struct pipe_stage *stage, struct slice path) {
    return !projection_touches(((const struct project_stage *) stage)->projection, path);
}

static const struct stage_vtable ops = {
    .next = project_next, .close = project_close, .deps = project_deps, .passes = project_passes};

static status make(struct pipe_parse *ps, const struct stage_def *def, enum projection_kind kind, struct bdoc spec) {
    struct project_stage *s;
    TRY(pipe_append(ps, def, &ops, sizeof(*s), &s));
    buf_init(&s->out, ps->list->p->op.mem);
    return projection_compile_with(&ps->list->p->env, kind, spec, &s->projection, ps->err);
}

extern const struct stage_def stage_project, stage_add_fields, stage_set, stage_unset;

static status parse_project(struct pipe_parse *ps, struct bval spec) {
    if (spec.type != B_DOCUMENT) return RAISE_CODE(ps->err, 15969, "$project specification must be an object");
    if (bdoc_is_empty(bval_doc(spec)))
        return RAISE_CODE(ps->err, 51272, "Invalid $project :: caused by :: projection specification must have at least one field");
    return make(ps, &stage_project, PROJECTION_STAGE, bval_doc(spec));
}

static status add_fields(struct pipe_parse *ps, const struct stage_def *def, struct bval spec) {
    if (spec.type != B_DOCUMENT)
        return RAISE_CODE(ps->err, 40272, "%s specification stage must be an object, got %s", def->name, btype_name(spec.type));
    return make(ps, def, PROJECTION_ADD_FIELDS, bval_doc(spec));
}
static status parse_add_fields(struct pipe_parse *ps, struct bval spec) { return add_fields(ps, &stage_add_fields, spec); }
static status parse_set(struct pipe_parse *ps, struct bval spec) { return add_fields(ps, &stage_set, spec); }

/* A name or an array of names: {name: 0, ...}. */
static status parse_unset(struct pipe_parse *ps, struct bval spec) {
    struct buf buf;
    struct bbuild b;
    struct bval kept = BVAL_MISSING;
    struct belem e;
    if (spec.type != B_STRING && spec.type != B_ARRAY)
        return RAISE_CODE(ps->err, 31002, "$unset specification must be a string or an array");
    if (spec.type == B_ARRAY && bdoc_is_empty(bval_doc(spec)))
        return RAISE_CODE(ps->err, 31119, "$unset specification must be a string or an array with at least one field");
    buf_init(&buf, ps->list->p->op.mem);
    bbuild_begin(&b, &buf);
    status st = ST_OK;
    struct biter it = biter_of(spec.type == B_ARRAY ? bval_doc(spec) : bdoc_empty);
    if (spec.type == B_STRING) bbuild_value(&b, bval_string(spec), (struct bval){(const uint8_t *) "\0\0\0", 4, B_INT32});
    while (st == ST_OK && biter_next(&it, &e)) {
        if (e.value.type != B_STRING)
            st = RAISE_CODE(ps->err, 31120, "$unset specification must be a string or an array containing only string values");
        else bbuild_value(&b, bval_string(e.value), (struct bval){(const uint8_t *) "\0\0\0", 4, B_INT32});
    }
    if (st == ST_OK) st = pipe_keep(ps, bbuild_finish(&b), &kept);
    buf_release(&buf);
    TRY(st);
    return make(ps, &stage_unset, PROJECTION_STAGE, bval_doc(kept));
}

#define FLAGS (STAGE_KEEPS_COUNT | STAGE_KEEPS_ORDER | STAGE_PER_DOCUMENT)
const struct stage_def stage_project = {"$project", FLAGS, parse_project};
const struct stage_def stage_add_fields = {"$addFields", FLAGS, parse_add_fields};
const struct stage_def stage_set = {"$set", FLAGS, parse_set};
const struct stage_def stage_unset = {"$unset", FLAGS, parse_unset};
