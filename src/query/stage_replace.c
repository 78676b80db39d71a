/* $replaceRoot and $replaceWith: the row becomes the document that an expression gives. */
#include "query/pipeline_internal.h"

struct replace_stage {
    struct pipe_stage base;
    const struct expr *root;
    struct buf out;
};

static status replace_next(struct pipe_stage *stage, struct pipe_row *out, struct err *err) {
    struct replace_stage *s = (struct replace_stage *) stage;
    struct bval v;
    TRY(pipe_next(stage, out, err));
    struct expr_run *x = pipe_run(stage, out, err);
    TRY(expr_eval(x, s->root, &v));
    if (v.type != B_DOCUMENT) {
        struct description d;
        return RAISE_CODE(err, 40228,
                          "'newRoot' expression  must evaluate to an object, but resulting value was: %s. Type of resulting value: '%s'.",
                          describe_value(&d, v), btype_name(v.type));
    }
    buf_clear(&s->out);
    if (!buf_append(&s->out, v.p, v.len)) return RAISE(err, ST_NOMEM, "$replaceRoot");
    out->doc = bdoc_of(s->out.p);
    return ST_OK;
}

static void replace_close(struct pipe_stage *stage) { buf_release(&((struct replace_stage *) stage)->out); }

static status replace_deps(const struct pipe_stage *stage, struct expr_deps *deps, bool *ends, struct err *err) {
    *ends = true;
    return expr_deps_add(deps, ((const struct replace_stage *) stage)->root, err);
}

static const struct stage_vtable ops = {.next = replace_next, .close = replace_close, .deps = replace_deps};

static status make(struct pipe_parse *ps, const struct stage_def *def, struct bval root) {
    struct replace_stage *s;
    TRY(pipe_append(ps, def, &ops, sizeof(*s), &s));
    buf_init(&s->out, ps->list->p->op.mem);
    return expr_parse(&ps->list->p->env.scope, root, &s->root, ps->err);
}

extern const struct stage_def stage_replace_root, stage_replace_with;

static status parse_root(struct pipe_parse *ps, struct bval spec) {
    struct bval root = BVAL_MISSING;
    if (spec.type != B_DOCUMENT)
        return RAISE_CODE(ps->err, 40229, "expected an object as specification for $replaceRoot stage, got %s", btype_name(spec.type));
    struct biter it = biter_of(bval_doc(spec));
    struct belem e;
    while (biter_next(&it, &e)) {
        if (!slice_equal(e.name, SLICE_LIT("newRoot")))
            return RAISE_CODE(ps->err, 40415, "BSON field '$replaceRoot.%.*s' is an unknown field.", SLICE_ARGS(e.name));
        root = e.value;
    }
    if (root.type == B_MISSING) return RAISE_CODE(ps->err, 40414, "BSON field '$replaceRoot.newRoot' is missing but a required field");
    return make(ps, &stage_replace_root, root);
}

static status parse_with(struct pipe_parse *ps, struct bval spec) { return make(ps, &stage_replace_with, spec); }

#define FLAGS (STAGE_KEEPS_COUNT | STAGE_KEEPS_ORDER | STAGE_PER_DOCUMENT)
const struct stage_def stage_replace_root = {"$replaceRoot", FLAGS, parse_root};
const struct stage_def stage_replace_with = {"$replaceWith", FLAGS, parse_with};
