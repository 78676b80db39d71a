/* The ways into a collection that could answer a conjunction; see planner.h. */
#include <stdio.h>

#include "base/codes.h"
#include "bson/compare.h"
#include "query/planner.h"

enum {
    ANCHORS_MAX = 4,
    OR_DEPTH_MAX = 3,
    BRANCHES_MAX = 500,      /* a union of more is no plan */
    BRANCHES_WITH_REST = 16, /* with more, branches are bounded by themselves alone */
};

struct plan_node *plan_node_new(struct planner *p, enum plan_stage stage, struct plan_node *child) {
    struct plan_node *n = arena_new(p->arena, struct plan_node);
    if (n == NULL) return NULL;
    n->stage = stage;
    if (child == NULL) return n;
    n->children = arena_array(p->arena, struct plan_node *, 1);
    if (n->children == NULL) return NULL;
    n->children[0] = child;
    n->child_count = 1;
    return n;
}

static status add(struct planner *p, struct candidates *cs, const struct candidate *c, struct err *err) {
    if (c->node == NULL) return RAISE(err, ST_NOMEM, "query plan");
    if (cs->count == cs->cap) {
        uint32_t cap = cs->cap != 0 ? cs->cap * 2 : 8;
        struct candidate *at = arena_array(p->arena, struct candidate, cap);
        if (at == NULL) return RAISE(err, ST_NOMEM, "query plan");
        if (cs->count != 0) memcpy(at, cs->at, cs->count * sizeof(*at));
        cs->at = at;
        cs->cap = cap;
    }
    cs->at[cs->count++] = *c;
    return ST_OK;
}

/* --- hints --- */

static status no_such_index(struct err *err) {
    return RAISE_CODE(err, CODE_BadValue,
                      "error processing query: planner returned error :: caused by :: hint provided does not "
                      "correspond to an existing index");
}

static bool is_hinted(struct bval hint, const struct index_spec *spec) {
    if (hint.type == B_STRING) return slice_equal(bval_string(hint), spec->name);
    return bdoc_compare(bval_doc(hint), spec->key) == 0;
}

static bool is_id_hint(struct bval hint) {
    if (hint.type == B_STRING) return slice_equal(bval_string(hint), SLICE_LIT("_id_"));
    struct biter it = biter_of(bval_doc(hint));
    struct belem e, more;
    int64_t n;
    return biter_next(&it, &e) && slice_equal(e.name, SLICE_LIT("_id")) && bval_is_number(e.value) &&
        bnum_to_int64_exact(bnum_of(e.value), &n) && n == 1 && !biter_next(&it, &more);
}

status hint_resolve(struct planner *p, struct hint *out, struct err *err) {
    struct bval hint = p->q->hint;
    *out = (struct hint){0};
    if (hint.type == B_MISSING || (hint.type == B_DOCUMENT && bdoc_is_empty(bval_doc(hint)))) return ST_OK;
    out->is_set = true;
    struct bval natural = hint.type == B_DOCUMENT ? bdoc_get_str(bval_doc(hint), "$natural") : BVAL_MISSING;
    if (natural.type != B_MISSING) {
        int64_t n;
        if (!bval_is_number(natural) || !bnum_to_int64_exact(bnum_of(natural), &n) || (n != 1 && n != -1))
            return RAISE_CODE(err, CODE_BadValue, "$natural hint must be 1 or -1");
        out->is_natural = true;
        out->backward = n < 0;
        return ST_OK;
    }
    if (is_id_hint(hint)) return ST_OK;
    for (uint32_t i = 0; i < p->c->index_count; i++) {
        const struct index *ix = &p->c->indexes[i];
        if (ix->state != INDEX_READY || !is_hinted(hint, &ix->spec)) continue;
        if (ix->spec.kind != INDEX_ORDERED)
            return RAISE_CODE(err, CODE_NoQueryExecutionPlans,
                              "error processing query: planner returned error :: caused by :: No query solutions");
        out->index = ix;
        return ST_OK;
    }
    return no_such_index(err);
}

/* --- one index --- */

/* What documents of this access must still satisfy. */
static status residue(struct planner *p, const struct conjunction *c, const bool *done, const struct match_node **out,
                      struct err *err) {
    struct match_node **left = arena_array(p->arena, struct match_node *, c->top_count + 1);
    uint32_t count = 0;
    if (left == NULL) return RAISE(err, ST_NOMEM, "query plan");
    for (uint32_t i = 0; i < c->top_count; i++) {
        bool skip = done != NULL && done[i] && !p->req->rechecks;
        if (!skip && c->tops[i]->op != MATCH_TEXT) left[count++] = (struct match_node *) (uintptr_t) c->tops[i];
    }
    *out = NULL;
    if (count == 0) return ST_OK;
    if (count == 1) {
        *out = left[0];
        return ST_OK;
    }
    struct match_node *all;
    TRY(match_and(p->arena, left, count, &all, err));
    *out = all;
    return ST_OK;
}

/* The one field besides _id that the projection keeps is in the index and its entry tells all. More fields than one: their order in the document is not known from the index. */
static bool is_covered(const struct planner *p, const struct access *a, bool is_sorted) {
    if (p->q->projection == NULL || (p->sort != NULL && !is_sorted) || a->view.is_multikey || p->req->rechecks ||
        p->depth > 0)
        return false;
    uint32_t count, others = 0;
    const struct path *paths = projection_paths(p->q->projection, &count);
    if (paths == NULL) return false;
    for (uint32_t i = 0; i < count; i++) {
        if (slice_equal(paths[i].text, SLICE_LIT("_id"))) continue;
        bool found = false;
        for (uint32_t f = 0; f < a->view.field_count; f++)
            found = found || (!a->view.is_opaque[f] && slice_equal(paths[i].text, a->view.fields[f].path.text));
        if (!found || ++others > 1) return false;
    }
    return others == 1;
}

static status documents_of(struct planner *p, const struct conjunction *c, struct access *a, bool backward,
                           uint32_t explode, struct candidate *out, struct err *err) {
    bool by_id = a->view.index == NULL;
    struct plan_node *scan = plan_node_new(p, by_id ? PLAN_ID_SCAN : PLAN_IXSCAN, NULL), *node = scan;
    const struct match_node *filter;
    TRY(residue(p, c, a->top_done, &filter, err));
    if (scan == NULL) return RAISE(err, ST_NOMEM, "query plan");
    scan->access = a;
    scan->backward = backward;
    bool dedups = !by_id && access_repeats(a);
    if (by_id) scan->filter = filter;
    if (explode > 0) {
        node = plan_node_new(p, PLAN_SORT_MERGE, scan);
        if (node == NULL) return RAISE(err, ST_NOMEM, "query plan");
        node->access = a;
        node->backward = backward;
        node->explode = explode;
    }
    bool bare = filter == NULL && !dedups && !p->req->rechecks, covered = bare && is_covered(p, a, out->is_sorted);
    if (!by_id && !(bare && p->req->want == WANT_COUNT)) {
        node = plan_node_new(p, covered ? PLAN_COVERED : PLAN_FETCH, node);
        if (node == NULL) return RAISE(err, ST_NOMEM, "query plan");
        node->filter = filter;
        node->access = a;
        node->dedups = dedups;
        if (!covered && a->view.is_unique && !dedups && access_is_one_key(a)) node->count = 1;
        node->backward = backward;
        out->fetches = true;
    }
    out->node = node;
    out->access = a;
    out->filter = filter;
    out->is_covered = covered;
    out->dedups = dedups;
    out->bounded_count = a->bounded_count;
    return ST_OK;
}

static status add_access(struct planner *p, const struct conjunction *c, struct access *a, const struct hint *hint,
                         struct candidates *out, struct err *err) {
    struct candidate cand = {0};
    bool backward = false;
    uint32_t explode = 0;
    cand.is_sorted = p->sort != NULL && access_gives_sort(a, p->sort, &backward, &explode);
    if (cand.is_sorted && explode > 0) {
        double pieces = 1;
        for (uint32_t f = 0; f < explode; f++) pieces *= a->bounds[f].count;
        if (pieces > 64) cand.is_sorted = false; /* streams to merge; beyond that a sort is better */
    }
    if (!cand.is_sorted) backward = false, explode = 0;
    if (!hint->is_set && !a->has_leading && !cand.is_sorted) return ST_OK;
    if (!hint->is_set && a->view.is_sparse && !a->is_present) return ST_OK;
    TRY(documents_of(p, c, a, backward, explode, &cand, err));
    cand.streams = explode > 0;
    return add(p, out, &cand, err);
}

/* Where the predicates on the first field do not combine, each of them in turn is taken first. */
static status add_index(struct planner *p, const struct conjunction *c, const struct predicate_bounds *bounds_of,
                        const struct index *index, const struct hint *hint, struct candidates *out, struct err *err) {
    struct index_view view;
    index_view_of(index, &view);
    struct access *a;
    uint32_t anchors = 0;
    for (uint32_t i = 0; view.is_multikey && !view.is_opaque[0] && i < c->predicate_count && anchors < ANCHORS_MAX;
         i++) {
        if (bounds_of[i].is_useless || !slice_equal(c->predicates[i].path, view.fields[0].path.text)) continue;
        TRY(access_make(&p->maker, &view, c, bounds_of, i, &a, err));
        TRY(add_access(p, c, a, hint, out, err));
        anchors++;
    }
    if (anchors > 0 && p->sort == NULL) return ST_OK;
    /* A multikey field orders only under full bounds: once more without any. */
    struct conjunction unbounded = *c;
    if (anchors > 0) unbounded.predicate_count = 0;
    TRY(access_make(&p->maker, &view, &unbounded, bounds_of, UINT32_MAX, &a, err));
    return add_access(p, c, a, hint, out, err);
}

/* --- weighing --- */

/* The ways through one index cost what the tree's counts say. */
static status weigh(struct planner *p, struct candidates *cs, struct err *err) {
    for (uint32_t i = 0; i < cs->count; i++) {
        struct candidate *c = &cs->at[i];
        double keys, pieces;
        if (c->access == NULL) continue;
        TRY(cost_access(p, c->access, &keys, &pieces, err));
        c->scan_cost = keys * (c->access->view.index == NULL ? COST_DOCUMENT : COST_KEY) + pieces * COST_SEEK;
        if (c->fetches) c->scan_cost += c->is_covered ? keys * 0.2 : cost_fetch(keys, c->dedups);
        c->scan_cost += keys * cost_filter(c->filter);
        c->rows = c->filter != NULL ? keys * predicate_selectivity(c->filter) : keys;
    }
    return ST_OK;
}

/* Of n rows that are wanted of r in the range, the only way that gives the order and leaves nothing to check costs at most 1.15 min(n, r) + 2 (a key and a
 * fetch each, one seek); a scan of all and a sort costs at least 100 + 0.4 r. So up to 130 rows the counts need not be asked. */
enum { ROWS_SURE = 128 };

static bool is_sure(const struct planner *p, const struct candidates *cs) {
    if (cs->count != 1 || p->sort == NULL || p->need == 0 || p->need > ROWS_SURE) return false;
    const struct candidate *c = &cs->at[0];
    return c->is_sorted && c->access != NULL && c->access->view.index != NULL && c->access->scan->is_contiguous &&
        c->filter == NULL && !c->dedups && !c->streams && !slice_equal(p->sort->fields[0].path.text, SLICE_LIT("_id"));
}

/* --- scan of all --- */

/* Is there a way that costs less than even an empty scan of all? Then how many documents there are need not be asked. */
static bool beats_any_scan(const struct planner *p, const struct candidates *cs) {
    if (p->need != 0 || p->sort != NULL) return false;
    for (uint32_t i = 0; i < cs->count; i++) {
        if (cs->at[i].scan_cost < COST_SCAN_ALL) return true;
    }
    return false;
}

static status add_collscan(struct planner *p, const struct conjunction *c, const struct hint *hint,
                           struct candidates *out, struct err *err) {
    if (beats_any_scan(p, out)) return ST_OK;
    struct candidate cand = {0};
    double documents;
    struct plan_node *n = plan_node_new(p, PLAN_COLLSCAN, NULL);
    if (n == NULL) return RAISE(err, ST_NOMEM, "query plan");
    TRY(residue(p, c, NULL, &n->filter, err));
    TRY(cost_documents(p, &documents, err));
    n->backward = hint->backward;
    if (p->sort != NULL && p->sort->field_count > 0 && slice_equal(p->sort->fields[0].path.text, SLICE_LIT("_id")) &&
        !p->sort->fields[0].is_text_score) {
        cand.is_sorted = true;
        n->backward = p->sort->fields[0].descending;
    }
    cand.node = n;
    cand.scan_cost = COST_SCAN_ALL + documents * (COST_DOCUMENT + cost_filter(n->filter));
    cand.rows = n->filter != NULL ? documents * predicate_selectivity(n->filter) : documents;
    return add(p, out, &cand, err);
}

/* --- unions --- */

/* The $or's branches, each with the rest of the conjunction; *useless when one of them has no better way than a scan of all. */
static status or_branches(struct planner *p, const struct conjunction *c, const struct match_node *or_node,
                          struct plan_node *node, struct candidate *sum, bool *useless, struct err *err) {
    const struct match_node **nodes = arena_array(p->arena, const struct match_node *, c->top_count);
    if (nodes == NULL) return RAISE(err, ST_NOMEM, "query plan");
    uint32_t rest = 1;
    for (uint32_t i = 0; i < c->top_count; i++) {
        if (c->tops[i] != or_node) nodes[rest++] = c->tops[i];
    }
    struct hint none = {0};
    for (uint32_t i = 0; i < or_node->child_count; i++) {
        struct conjunction branch;
        struct candidates cs = {0};
        nodes[0] = or_node->children[i];
        TRY(conjunction_make(p->arena, nodes, rest, &branch, err));
        if (or_node->child_count > BRANCHES_WITH_REST) branch.predicate_count = branch.first_predicate_count;
        TRY(candidates_find(p, &branch, &none, &cs, err));
        struct candidate *best = &cs.at[cost_choose(p, &cs)];
        if (best->node->stage == PLAN_COLLSCAN) {
            *useless = true;
            return ST_OK;
        }
        node->children[i] = best->node;
        node->branches[i] = or_node->children[i];
        node->child_count++;
        sum->scan_cost += best->scan_cost + best->rows * 0.1 * i;
        sum->rows += best->rows;
        sum->bounded_count = 1;
    }
    return ST_OK;
}

static status add_union(struct planner *p, const struct conjunction *c, const struct match_node *or_node,
                        struct candidates *out, struct err *err) {
    struct candidate cand = {0};
    struct plan_node *n = plan_node_new(p, PLAN_OR, NULL);
    if (n == NULL) return RAISE(err, ST_NOMEM, "query plan");
    n->children = arena_array(p->arena, struct plan_node *, or_node->child_count);
    n->branches = arena_array(p->arena, const struct match_node *, or_node->child_count);
    if (n->children == NULL || n->branches == NULL) return RAISE(err, ST_NOMEM, "query plan");
    const struct sort_pattern *sort = p->sort;
    const struct plan_request *req = p->req;
    struct plan_request documents = *req;
    documents.want = WANT_DOCUMENTS; /* branches are told apart by their documents */
    uint64_t need = p->need;
    bool useless = false;
    p->sort = NULL;
    p->need = 0;
    p->req = &documents;
    p->depth++;
    status st = or_branches(p, c, or_node, n, &cand, &useless, err);
    p->depth--;
    p->req = req;
    p->sort = sort;
    p->need = need;
    if (st != ST_OK || useless) return st;
    cand.node = n;
    return add(p, out, &cand, err);
}

static status predicate_bounds_all(struct planner *p, const struct conjunction *c, struct predicate_bounds **out,
                                   struct err *err) {
    *out = arena_array(p->arena, struct predicate_bounds, c->predicate_count + 1);
    if (*out == NULL) return RAISE(err, ST_NOMEM, "query plan");
    for (uint32_t i = 0; i < c->predicate_count; i++)
        TRY(predicate_bounds(&p->maker, &c->predicates[i], &(*out)[i], err));
    return ST_OK;
}

static bool may_use(const struct conjunction *c, const struct sort_pattern *sort, const struct index *ix) {
    if (ix->state != INDEX_READY || ix->spec.kind != INDEX_ORDERED) return false;
    for (uint32_t i = 0; i < c->predicate_count; i++) {
        if (slice_equal(c->predicates[i].path, ix->spec.fields[0].path.text)) return true;
    }
    return sort != NULL;
}

/* Do equalities name every field of a unique index? */
static bool may_be_one_key(const struct conjunction *c, const struct predicate_bounds *bounds_of,
                           const struct index *ix) {
    if (!ix->spec.is_unique || ix->state != INDEX_READY || ix->spec.kind != INDEX_ORDERED) return false;
    for (uint32_t f = 0; f < ix->spec.field_count; f++) {
        bool is_held = false;
        for (uint32_t i = 0; i < c->predicate_count && !is_held; i++)
            is_held = !bounds_of[i].is_useless && intervals_is_point(&bounds_of[i].intervals) &&
                slice_equal(c->predicates[i].path, ix->spec.fields[f].path.text);
        if (!is_held) return false;
    }
    return true;
}

/* One key of a unique index: nothing beats it but _id, so that nothing else is weighed. *found: `out` holds just that. */
static status add_one_key(struct planner *p, const struct conjunction *c, const struct predicate_bounds *bounds_of,
                          const struct hint *hint, struct candidates *out, bool *found, struct err *err) {
    *found = false;
    for (uint32_t i = 0; i < p->c->index_count && !*found; i++) {
        if (!may_be_one_key(c, bounds_of, &p->c->indexes[i])) continue;
        TRY(add_index(p, c, bounds_of, &p->c->indexes[i], hint, out, err));
        *found = out->count == 1 && access_is_one_key(out->at[0].node->access);
        if (!*found) out->count = 0;
    }
    return ST_OK;
}

status candidates_find(struct planner *p, const struct conjunction *c, const struct hint *hint, struct candidates *out,
                       struct err *err) {
    struct predicate_bounds *bounds_of;
    TRY(predicate_bounds_all(p, c, &bounds_of, err));
    if (hint->is_set && hint->is_natural) return add_collscan(p, c, hint, out, err);
    if (hint->is_set) {
        TRY(add_index(p, c, bounds_of, hint->index, hint, out, err));
        return weigh(p, out, err);
    }
    bool by_id = false;
    for (uint32_t i = 0; i < c->predicate_count; i++)
        by_id = by_id || slice_equal(c->predicates[i].path, SLICE_LIT("_id"));
    if (by_id) TRY(add_index(p, c, bounds_of, NULL, hint, out, err));
    if (by_id && p->depth == 0 && p->q->id.type != B_MISSING && out->count > 0)
        return weigh(p, out, err); /* nothing beats one lookup */
    if (!by_id) {
        bool found;
        TRY(add_one_key(p, c, bounds_of, hint, out, &found, err));
        if (found) return weigh(p, out, err);
    }
    for (uint32_t i = 0; i < p->c->index_count; i++) {
        if (may_use(c, p->sort, &p->c->indexes[i])) TRY(add_index(p, c, bounds_of, &p->c->indexes[i], hint, out, err));
    }
    uint32_t tops = p->depth == 0 ? c->top_count : c->first_top_count; /* a branch's own */
    for (uint32_t i = 0; i < tops && !p->req->rechecks && p->depth < OR_DEPTH_MAX; i++) {
        if (c->tops[i]->op == MATCH_OR && c->tops[i]->child_count <= BRANCHES_MAX)
            TRY(add_union(p, c, c->tops[i], out, err));
    }
    if (is_sure(p, out)) return ST_OK;
    TRY(weigh(p, out, err));
    return add_collscan(p, c, hint, out, err);
}
