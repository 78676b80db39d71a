/* $match. A leading one goes into the source; the others filter rows. */
#include "eval/match.h"
#include "query/pipeline_internal.h"

struct match_stage {
    struct pipe_stage base;
    struct bdoc filter;
    struct matcher matcher;
    bool is_compiled;
};

static status match_next(struct pipe_stage *stage, struct pipe_row *out, struct err *err) {
    struct match_stage *s = (struct match_stage *) stage;
    for (;;) {
        bool matches = false;
        TRY(pipe_tick(stage->list->p, err));
        TRY(pipe_next(stage, out, err));
        TRY(match_doc(&s->matcher, out->doc, &matches, err));
        if (matches) return ST_OK;
    }
}

static void match_close(struct pipe_stage *stage) {
    struct match_stage *s = (struct match_stage *) stage;
    if (s->is_compiled) matcher_release(&s->matcher);
}

static bool match_passes(const struct pipe_stage *s, struct slice path) {
    (void) s;
    (void) path;
    return true;
}

static status add_node(struct expr_deps *deps, const struct match_node *n, struct err *err) {
    if (n->op == MATCH_EXPR) return expr_deps_add(deps, n->expr, err);
    if (n->path.part_count != 0) return expr_deps_add_path(deps, n->path.text, err);
    for (uint32_t i = 0; i < n->child_count; i++) TRY(add_node(deps, n->children[i], err));
    return ST_OK;
}

static status match_deps(const struct pipe_stage *stage, struct expr_deps *deps, bool *ends, struct err *err) {
    const struct match_stage *s = (const struct match_stage *) stage;
    *ends = false;
    return add_node(deps, s->matcher.root, err);
}

static void match_show(const struct pipe_stage *stage, struct bbuild *out) {
    bbuild_doc(out, "$match", ((const struct match_stage *) stage)->filter);
}

static const struct stage_vtable ops = {
    .next = match_next, .close = match_close, .deps = match_deps, .passes = match_passes, .show = match_show};

status match_new(struct pipe_parse *ps, struct bdoc filter, struct pipe_stage **out) {
    struct match_stage *s;
    struct pipeline *p = ps->list->p;
    TRY(pipe_stage_new(ps, &stage_match, &ops, sizeof(*s), &s));
    s->filter = filter;
    TRY(match_compile_with(&p->env, p->op.mem, &p->op.arena, filter, &s->matcher, ps->err));
    s->is_compiled = true;
    *out = &s->base;
    return ST_OK;
}

static status parse(struct pipe_parse *ps, struct bval spec) {
    struct match_stage *s;
    struct pipeline *p = ps->list->p;
    if (spec.type != B_DOCUMENT)
        return RAISE_CODE(ps->err, 15959, "the match filter must be an expression in an object");
    TRY(pipe_append(ps, &stage_match, &ops, sizeof(*s), &s));
    s->filter = bval_doc(spec);
    TRY(match_compile_with(&p->env, p->op.mem, &p->op.arena, s->filter, &s->matcher, ps->err));
    s->is_compiled = true;
    if (s->matcher.text.is_set && (ps->list->count != 1 || ps->list->in_facet))
        return RAISE_CODE(ps->err, 17313, "$match with $text is only allowed as the first pipeline stage");
    return ST_OK;
}

struct bdoc match_filter(const struct pipe_stage *s) {
    return ((const struct match_stage *) s)->filter;
}

bool match_has_text(const struct pipe_stage *s) { return ((const struct match_stage *) s)->matcher.text.is_set; }

const struct stage_def stage_match = {"$match", STAGE_KEEPS_DOCUMENTS | STAGE_KEEPS_ORDER, parse};
