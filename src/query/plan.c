/* From the cheapest candidate to the whole tree; see plan.h. */
#include "query/plan.h"

#include "base/codes.h"
#include "query/planner.h"

static status push(struct planner *p, struct plan_node **root, enum plan_stage stage, uint64_t count, struct err *err) {
    struct plan_node *n = plan_node_new(p, stage, *root);
    if (n == NULL) return RAISE(err, ST_NOMEM, "query plan");
    n->count = count;
    *root = n;
    return ST_OK;
}

/* The stages above the way in. */
static status finish(struct planner *p, struct plan_node *root, bool is_sorted, struct plan_node **out,
                     struct err *err) {
    const struct query *q = p->q;
    /* Where every document that is fetched is wanted, no more are fetched than that. */
    bool streams = q->sort == NULL || is_sorted;
    if (root->stage == PLAN_FETCH && streams && root->filter == NULL && !root->dedups && !p->req->rechecks &&
        p->need != 0 && root->count == 0)
        root->count = p->need;
    if (q->sort != NULL && !is_sorted) TRY(push(p, &root, PLAN_SORT, p->need, err));
    if (q->skip > 0) TRY(push(p, &root, PLAN_SKIP, (uint64_t) q->skip, err));
    if (q->limit > 0) TRY(push(p, &root, PLAN_LIMIT, (uint64_t) q->limit, err));
    if (q->projection != NULL && p->req->want == WANT_DOCUMENTS) TRY(push(p, &root, PLAN_PROJECTION, 0, err));
    *out = root;
    return ST_OK;
}

/* --- text --- */

static const struct index *find_text_index(const struct collection *c) {
    for (uint32_t i = 0; i < c->index_count; i++) {
        if (c->indexes[i].state == INDEX_READY && c->indexes[i].spec.kind == INDEX_TEXT) return &c->indexes[i];
    }
    return NULL;
}

/* $text is answered by its index; what else the filter says is checked on the documents. */
static status plan_text(struct planner *p, const struct conjunction *c, struct plan *out, struct err *err) {
    const struct query *q = p->q;
    struct plan_node *n = plan_node_new(p, PLAN_TEXT, NULL);
    if (n == NULL) return RAISE(err, ST_NOMEM, "query plan");
    n->text_index = find_text_index(p->c);
    if (n->text_index == NULL) return RAISE_CODE(err, CODE_IndexNotFound, "text index required for $text query");
    struct match_node **left = arena_array(p->arena, struct match_node *, c->top_count + 1);
    uint32_t count = 0;
    bool found = false;
    if (left == NULL) return RAISE(err, ST_NOMEM, "query plan");
    for (uint32_t i = 0; i < c->top_count; i++) {
        if (c->tops[i]->op == MATCH_TEXT) found = true;
        else left[count++] = (struct match_node *) (uintptr_t) c->tops[i];
    }
    if (!found)
        return RAISE_CODE(
            err, CODE_NoQueryExecutionPlans,
            "error processing query: planner returned error :: caused by :: Failed to produce a solution for TEXT "
            "under OR - other non-TEXT clauses under OR have to be indexed as well.");
    if (count > 0) {
        struct match_node *all;
        TRY(match_and(p->arena, left, count, &all, err));
        n->filter = all;
    }
    n->ranked = q->sort != NULL && q->sort->field_count == 1 && q->sort->fields[0].is_text_score;
    n->count = n->ranked && n->filter == NULL ? p->need : 0;
    return finish(p, n, n->ranked, &out->root, err);
}

/* --- all else --- */

static bool is_false(const struct conjunction *c) {
    for (uint32_t i = 0; i < c->top_count; i++) {
        if (c->tops[i]->op == MATCH_FALSE) return true;
    }
    return false;
}

static void mark_id_hack(struct planner *p, struct plan_node *n) {
    if (n->stage != PLAN_ID_SCAN || n->filter != NULL || p->q->id.type == B_MISSING) return;
    n->is_id_hack = intervals_is_point(&n->access->bounds[0]);
}

static status plan_best(struct planner *p, const struct conjunction *c, struct plan *out, struct err *err) {
    struct hint hint;
    struct candidates cs = {0};
    TRY(hint_resolve(p, &hint, err));
    TRY(candidates_find(p, c, &hint, &cs, err));
    uint32_t best = cost_choose(p, &cs);
    mark_id_hack(p, cs.at[best].node);
    out->is_sorted = cs.at[best].is_sorted;
    TRY(finish(p, cs.at[best].node, cs.at[best].is_sorted, &out->root, err));
    if (!p->req->keeps_rejected) return ST_OK;
    out->rejected = arena_array(p->arena, struct plan_node *, cs.count);
    if (out->rejected == NULL) return RAISE(err, ST_NOMEM, "query plan");
    for (uint32_t i = 0; i < cs.count; i++) {
        /* As MongoDB, which does not weigh a scan of all against indexes. */
        if (i == best || cs.at[i].node->stage == PLAN_COLLSCAN) continue;
        TRY(finish(p, cs.at[i].node, cs.at[i].is_sorted, &out->rejected[out->rejected_count], err));
        out->rejected_count++;
    }
    return ST_OK;
}

status plan_make(const struct plan_request *req, struct plan *out, struct err *err) {
    const struct query *q = req->query;
    struct planner p = {.req = req, .q = q, .arena = q->arena, .c = req->collection, .sort = q->sort};
    uint64_t skip = (uint64_t) q->skip;
    if (q->limit > 0) p.need = (uint64_t) q->limit + skip;
    *out = (struct plan){0};
    struct conjunction c;
    const struct match_node *root = q->matcher.root;
    TRY(conjunction_make(p.arena, &root, 1, &c, err));
    if (req->collection == NULL || is_false(&c)) {
        struct plan_node *n = plan_node_new(&p, PLAN_EOF, NULL);
        if (n == NULL) return RAISE(err, ST_NOMEM, "query plan");
        out->root = n;
        return ST_OK;
    }
    bounds_maker_init(&p.maker, p.arena);
    status st = q->matcher.text.is_set ? plan_text(&p, &c, out, err) : plan_best(&p, &c, out, err);
    bounds_maker_release(&p.maker);
    return st;
}
