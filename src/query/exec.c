/* Building and driving the tree of stages; see exec.h. */
#include "query/exec.h"

status exec_matches(struct exec *x, const struct match_node *filter, struct bdoc doc, bool *matches, struct err *err) {
    *matches = true;
    return filter != NULL ? match_node_doc(&x->query->matcher, filter, doc, matches, err) : ST_OK;
}

void stage_rest_nothing(struct stage *s) { (void) s; }
void stage_close_nothing(struct stage *s) { (void) s; }

/* --- stages without a file of their own --- */

static status eof_next(struct stage *s, struct row *out, struct err *err) {
    (void) s;
    (void) out;
    (void) err;
    return ST_END;
}

static status eof_open(struct exec *x, const struct plan_node *plan, struct stage **out, struct err *err) {
    static const struct stage_ops ops = {eof_next, stage_rest_nothing, stage_close_nothing};
    return stage_new(x, plan, &ops, sizeof(struct stage), out, err);
}

/* --- the tree --- */

static status (*const openers[PLAN_STAGE_COUNT])(struct exec *x, const struct plan_node *plan, struct stage **out,
                                                 struct err *err) = {
    [PLAN_EOF] = eof_open,
    [PLAN_COLLSCAN] = stage_collscan_open,
    [PLAN_ID_SCAN] = stage_id_scan_open,
    [PLAN_IXSCAN] = stage_ixscan_open,
    [PLAN_FETCH] = stage_fetch_open,
    [PLAN_COVERED] = stage_covered_open,
    [PLAN_OR] = stage_or_open,
    [PLAN_SORT_MERGE] = stage_sort_merge_open,
    [PLAN_TEXT] = stage_fetch_open, /* over stage_text */
    [PLAN_SORT] = stage_sort_open,
    [PLAN_SKIP] = stage_limit_open,
    [PLAN_LIMIT] = stage_limit_open,
    [PLAN_PROJECTION] = stage_projection_open,
};

status stage_new(struct exec *x, const struct plan_node *plan, const struct stage_ops *ops, size_t size, void *out,
                 struct err *err) {
    /* A merge reads its index itself; its child is there to be explained. */
    uint32_t count = plan->stage == PLAN_SORT_MERGE ? 0 : plan->child_count;
    struct stage *s = arena_zalloc(x->arena, size);
    if (s == NULL) return RAISE(err, ST_NOMEM, "query stage");
    s->x = x;
    s->plan = plan;
    if (count > 0) {
        s->children = arena_array(x->arena, struct stage *, count);
        if (s->children == NULL) return RAISE(err, ST_NOMEM, "query stage");
    }
    for (uint32_t i = 0; i < count; i++) {
        TRY(openers[plan->children[i]->stage](x, plan->children[i], &s->children[i], err));
        s->child_count++;
    }
    s->ops = ops;
    s->made_before = x->made;
    x->made = s;
    memcpy(out, &s, sizeof(s));
    return ST_OK;
}

status exec_open(struct exec *x, const struct plan_node *plan, struct err *err) {
    arena_init(&x->row_arena, x->op->mem);
    return openers[plan->stage](x, plan, &x->root, err);
}

status exec_next(struct exec *x, struct row *out, struct err *err) {
    *out = (struct row){0};
    return stage_next(x->root, out, err);
}

void exec_rest(struct exec *x) {
    for (struct stage *s = x->made; s != NULL; s = s->made_before) s->ops->rest(s);
}

void exec_close(struct exec *x) {
    for (struct stage *s = x->made; s != NULL; s = s->made_before) s->ops->close(s);
    x->made = x->root = NULL;
    arena_release(&x->row_arena);
}
