/* Stages that pass rows on: SKIP, LIMIT, PROJECTION, and the union of an $or. */
#include "query/exec.h"

/* --- SKIP, LIMIT --- */

struct limit {
    struct stage base;
    uint64_t left;
};

static status skip_next(struct stage *s, struct row *out, struct err *err) {
    struct limit *l = (struct limit *) s;
    while (l->left > 0) {
        TRY(stage_next(s->children[0], out, err));
        l->left--;
    }
    return stage_next(s->children[0], out, err);
}

static status limit_next(struct stage *s, struct row *out, struct err *err) {
    struct limit *l = (struct limit *) s;
    if (l->left == 0) return ST_END;
    TRY(stage_next(s->children[0], out, err));
    l->left--;
    return ST_OK;
}

status stage_limit_open(struct exec *x, const struct plan_node *plan, struct stage **out, struct err *err) {
    static const struct stage_ops skip = {skip_next, stage_rest_nothing, stage_close_nothing};
    static const struct stage_ops limit = {limit_next, stage_rest_nothing, stage_close_nothing};
    struct limit *l;
    TRY(stage_new(x, plan, plan->stage == PLAN_SKIP ? &skip : &limit, sizeof(*l), &l, err));
    l->left = plan->count;
    *out = &l->base;
    return ST_OK;
}

/* --- PROJECTION --- */

struct projector {
    struct stage base;
    struct buf out;
};

static status projection_next(struct stage *s, struct row *out, struct err *err) {
    struct projector *p = (struct projector *) s;
    TRY(stage_next(s->children[0], out, err));
    buf_clear(&p->out);
    if (s->x->query->owns_env) arena_reset(s->x->query->env->run.arena);
    s->x->query->env->run.score = out->score;
    s->x->query->env->run.has_score = s->x->query->needs_score;
    return projection_apply(s->x->query->projection, out->doc, out->score, &p->out, &out->doc, err);
}

static void projection_close(struct stage *s) { buf_release(&((struct projector *) s)->out); }

status stage_projection_open(struct exec *x, const struct plan_node *plan, struct stage **out, struct err *err) {
    static const struct stage_ops ops = {projection_next, stage_rest_nothing, projection_close};
    struct projector *p;
    TRY(stage_new(x, plan, &ops, sizeof(*p), &p, err));
    buf_init(&p->out, x->op->mem);
    *out = &p->base;
    return ST_OK;
}

/* --- OR --- */

/* A document that an earlier branch answers was given there: matching it against those branches takes the place of a set of what was
 * seen. Where documents may change meanwhile (rechecks) that would not hold, and the plan has no OR. */
struct unite {
    struct stage base;
    uint32_t branch;
};

static status or_next(struct stage *s, struct row *out, struct err *err) {
    struct unite *u = (struct unite *) s;
    while (u->branch < s->child_count) {
        status st = stage_next(s->children[u->branch], out, err);
        if (st == ST_END) {
            u->branch++;
            continue;
        }
        if (st != ST_OK) return st;
        bool given = false;
        for (uint32_t i = 0; i < u->branch && !given; i++)
            TRY(exec_matches(s->x, s->plan->branches[i], out->doc, &given, err));
        if (!given) return ST_OK;
    }
    return ST_END;
}

status stage_or_open(struct exec *x, const struct plan_node *plan, struct stage **out, struct err *err) {
    static const struct stage_ops ops = {or_next, stage_rest_nothing, stage_close_nothing};
    return stage_new(x, plan, &ops, sizeof(struct unite), out, err);
}
