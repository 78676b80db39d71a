/* Reading documents in _id order: all of them, or those in intervals of _id. */
#include "query/exec.h"

/* --- COLLSCAN --- */

struct collscan {
    struct stage base;
    struct record_scan *scan;
};

static status collscan_next(struct stage *s, struct row *out, struct err *err) {
    struct collscan *c = (struct collscan *) s;
    struct exec *x = s->x;
    if (c->scan == NULL)
        TRY(record_scan_open(x->op, x->txn, x->collection, SLICE_NONE, SLICE_NONE, s->plan->backward, &c->scan, err));
    for (;;) {
        TRY(exec_tick(x, err));
        TRY(record_scan_next(c->scan, &out->doc, err));
        s->stats.documents++;
        bool matches;
        TRY(exec_matches(x, s->plan->filter, out->doc, &matches, err));
        if (matches) break;
    }
    out->locator = record_scan_locator(c->scan);
    return ST_OK;
}

static void collscan_rest(struct stage *s) {
    struct collscan *c = (struct collscan *) s;
    if (c->scan != NULL) record_scan_rest(c->scan);
}

static void collscan_close(struct stage *s) {
    struct collscan *c = (struct collscan *) s;
    if (c->scan != NULL) record_scan_close(c->scan);
    c->scan = NULL;
}

status stage_collscan_open(struct exec *x, const struct plan_node *plan, struct stage **out, struct err *err) {
    static const struct stage_ops ops = {collscan_next, collscan_rest, collscan_close};
    return stage_new(x, plan, &ops, sizeof(struct collscan), out, err);
}

/* --- ID_SCAN --- */

struct id_scan {
    struct stage base;
    uint32_t range_idx;       /* in scan direction */
    struct record_scan *scan; /* of the current range; NULL: none or a point */
    struct kv_value value;    /* of the current point */
    struct buf key;
};

static void let_go(struct id_scan *c) {
    kv_value_release(&c->value);
    if (c->scan != NULL) record_scan_close(c->scan);
    c->scan = NULL;
}

static status point_next(struct id_scan *c, struct slice locator, struct row *out, struct err *err) {
    struct exec *x = c->base.x;
    kv_value_release(&c->value);
    c->base.stats.keys++;
    status st = record_get_at(x->txn, x->collection, locator, &c->key, &c->value, err);
    if (st != ST_OK) return st;
    out->doc = bdoc_of(c->value.bytes.p);
    out->locator = locator;
    return ST_OK;
}

/* The next document of the range at range_idx; ST_END or ST_NOT_FOUND when there is none, and the index moves on. */
static status range_next(struct id_scan *c, struct row *out, struct err *err) {
    struct exec *x = c->base.x;
    const struct scan_bounds *b = c->base.plan->access->scan;
    uint32_t count = b->fields[0].count;
    const struct byte_range *r = &b->fields[0].ranges[c->base.plan->backward ? count - 1 - c->range_idx : c->range_idx];
    status st;
    if (r->is_point) {
        c->range_idx++;
        return point_next(c, r->lo, out, err);
    }
    if (c->scan == NULL)
        TRY(record_scan_open(x->op, x->txn, x->collection, r->lo, r->hi, c->base.plan->backward, &c->scan, err));
    st = record_scan_next(c->scan, &out->doc, err);
    if (st == ST_OK) {
        c->base.stats.keys++;
        out->locator = record_scan_locator(c->scan);
    } else if (st == ST_END) {
        let_go(c);
        c->range_idx++;
    }
    return st;
}

static status id_scan_next(struct stage *s, struct row *out, struct err *err) {
    struct id_scan *c = (struct id_scan *) s;
    while (c->range_idx < s->plan->access->scan->fields[0].count) {
        TRY(exec_tick(s->x, err));
        status st = range_next(c, out, err);
        if (st == ST_END || st == ST_NOT_FOUND) continue;
        if (st != ST_OK) return st;
        s->stats.documents++;
        bool matches;
        TRY(exec_matches(s->x, s->plan->filter, out->doc, &matches, err));
        if (matches) return ST_OK;
    }
    return ST_END;
}

static void id_scan_rest(struct stage *s) {
    struct id_scan *c = (struct id_scan *) s;
    kv_value_release(&c->value);
    if (c->scan != NULL) record_scan_rest(c->scan);
}

static void id_scan_close(struct stage *s) {
    struct id_scan *c = (struct id_scan *) s;
    let_go(c);
    buf_release(&c->key);
}

status stage_id_scan_open(struct exec *x, const struct plan_node *plan, struct stage **out, struct err *err) {
    static const struct stage_ops ops = {id_scan_next, id_scan_rest, id_scan_close};
    struct id_scan *c;
    TRY(stage_new(x, plan, &ops, sizeof(*c), &c, err));
    buf_init(&c->key, x->op->mem);
    *out = &c->base;
    return ST_OK;
}
