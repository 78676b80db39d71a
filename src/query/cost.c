/* What a plan costs, in about microseconds; see planner.h. */
#include <math.h>

#include "doc/scan.h"
#include "query/planner.h"

enum { RANGES_ESTIMATED = 8 }; /* of a scan in many pieces; the others are taken to be like them */

status cost_documents(struct planner *p, double *documents, struct err *err) {
    if (!p->has_documents) {
        TRY(record_estimate(p->req->txn, p->c, SLICE_NONE, SLICE_NONE, &p->documents, err));
        p->has_documents = true;
    }
    *documents = (double) p->documents;
    return ST_OK;
}

static status estimate(struct planner *p, const struct access *a, const struct byte_range *r, double *entries,
                       struct err *err) {
    uint64_t n;
    if (a->view.index == NULL) TRY(record_estimate(p->req->txn, p->c, r->lo, r->hi, &n, err));
    else TRY(index_estimate(p->req->txn, p->c, a->view.index, r->lo, r->hi, &n, err));
    *entries = (double) n;
    return ST_OK;
}

/* One entry for each combination of points, at most. */
static bool is_unique_points(const struct access *a) {
    for (uint32_t f = 0; f < a->view.field_count; f++) {
        if (!intervals_is_points(&a->bounds[f])) return false;
    }
    return a->view.is_unique;
}

status cost_access(struct planner *p, const struct access *a, double *keys, double *pieces, struct err *err) {
    struct byte_range ranges[RANGES_ESTIMATED];
    uint32_t count;
    if (access_is_one_key(a)) {
        *keys = *pieces = 1;
        return ST_OK;
    }
    TRY(scan_bounds_ranges(a->scan, RANGES_ESTIMATED, p->arena, ranges, &count, pieces, err));
    *keys = 0;
    if (count == 0) return ST_OK;
    if (is_unique_points(a)) {
        *keys = *pieces;
        return ST_OK;
    }
    for (uint32_t i = 0; i < count; i++) {
        double n;
        TRY(estimate(p, a, &ranges[i], &n, err));
        *keys += n;
    }
    *keys *= *pieces / count;
    /* Bounds behind the first range let the scan skip, at the price of seeks. */
    uint32_t f = 0;
    while (f < a->scan->checked_count && intervals_is_points(&a->bounds[f])) f++;
    for (f++; f < a->scan->checked_count; f++) {
        if (!intervals_is_all(&a->bounds[f])) *keys *= 0.5;
    }
    return ST_OK;
}

double cost_fetch(double rows, bool dedups) { return rows * (COST_FETCH + (dedups ? 0.7 : 0)); }

double cost_filter(const struct match_node *filter) {
    if (filter == NULL) return 0;
    return 0.05 + 0.05 * (filter->child_count > 0 ? filter->child_count : 1);
}

static double cost_sort(double rows, double need) {
    double kept = need > 0 && need < rows ? need : rows;
    return rows * 0.4 + kept * 0.1 * log2(kept + 2);
}

uint32_t cost_choose(struct planner *p, struct candidates *cs) {
    uint32_t best = 0;
    double rows = cs->count > 0 ? cs->at[0].rows : 0, need = (double) p->need;
    for (uint32_t i = 1; i < cs->count; i++) rows = fmin(rows, cs->at[i].rows);
    for (uint32_t i = 0; i < cs->count; i++) {
        struct candidate *c = &cs->at[i];
        if (p->sort != NULL && !c->is_sorted) c->cost = c->scan_cost + cost_sort(rows, need);
        else if (p->need != 0 && need < rows) c->cost = c->scan_cost * need / rows;
        else c->cost = c->scan_cost;
        c->node->cost = c->cost;
        c->node->rows = c->rows;
        /* On equal terms the one that narrows more fields, then the one found first. */
        const struct candidate *b = &cs->at[best];
        if (i != best && (c->cost < b->cost || (c->cost == b->cost && c->bounded_count > b->bounded_count))) best = i;
    }
    return best;
}
