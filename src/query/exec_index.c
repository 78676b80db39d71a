/* Reading index entries inside bounds, skipping what lies between them; and the merge of several such scans by what follows their leading points. */
#include "query/exec.h"

#include "index/key.h"

enum { STEPS_BEFORE_SEEK = 3 }; /* keys outside that are cheaper to step over than to seek past */

/* One scan held to the bounds; what IXSCAN and SORT_MERGE share. */
struct bounded_scan {
    struct index_scan *scan;
    struct buf target;
};

static status bounded_next(struct bounded_scan *b, struct stage *s, struct index_entry *out, struct err *err) {
    const struct scan_bounds *bounds = s->plan->access->scan;
    bool backward = s->plan->backward, seek = false;
    for (uint32_t outside = 0;;) {
        TRY(exec_tick(s->x, err));
        if (seek) TRY(index_scan_seek(b->scan, buf_slice(&b->target), out, err));
        else TRY(index_scan_next(b->scan, out, err));
        s->stats.keys++;
        if (bounds->is_contiguous) return ST_OK;
        switch (scan_bounds_place(bounds, out->key, backward, &b->target)) {
        case KEY_INSIDE: return ST_OK;
        case KEY_PAST: return ST_END;
        case KEY_DAMAGED:
            return RAISE(err, ST_CORRUPT, "damaged key in index %.*s", (int) s->plan->access->view.index->spec.name.len,
                         (const char *) s->plan->access->view.index->spec.name.p);
        case KEY_BETWEEN: break;
        }
        if (b->target.failed) return RAISE(err, ST_NOMEM, "index scan");
        /* A seek must go on: a target that is not past this key would find it again. */
        int c = slice_compare(buf_slice(&b->target), out->key);
        seek = ++outside > STEPS_BEFORE_SEEK && (backward ? c <= 0 : c > 0);
        if (seek) s->stats.seeks++;
    }
}

/* --- IXSCAN --- */

struct ixscan {
    struct stage base;
    struct bounded_scan scan;
    bool is_one_key, at_end; /* one key: read by a get; scan.target holds it */
    struct kv_value value;
};

/* The only entry there can be. */
static status one_key_next(struct ixscan *c, struct index_entry *out, struct err *err) {
    struct exec *x = c->base.x;
    const struct access *a = c->base.plan->access;
    if (c->at_end) return ST_END;
    c->at_end = true;
    status st = index_get(x->txn, a->view.index, a->scan->lo, &c->scan.target, &c->value, out, err);
    c->base.stats.seeks++;
    if (st == ST_NOT_FOUND) return ST_END;
    if (st == ST_OK) c->base.stats.keys++;
    return st;
}

static status ixscan_next(struct stage *s, struct row *out, struct err *err) {
    struct ixscan *c = (struct ixscan *) s;
    struct exec *x = s->x;
    const struct access *a = s->plan->access;
    if (a->scan->is_empty) return ST_END;
    if (c->scan.scan == NULL && !c->is_one_key) {
        TRY(index_scan_open(x->op, x->txn, x->collection, a->view.index, s->plan->backward, &c->scan.scan, err));
        TRY(index_scan_range(c->scan.scan, a->scan->lo, a->scan->hi, err));
        s->stats.seeks++;
    }
    struct index_entry e;
    TRY(c->is_one_key ? one_key_next(c, &e, err) : bounded_next(&c->scan, s, &e, err));
    out->key = e.key;
    out->side = e.side;
    out->locator = e.locator;
    return ST_OK;
}

static void ixscan_rest(struct stage *s) {
    struct ixscan *c = (struct ixscan *) s;
    if (c->scan.scan != NULL) index_scan_rest(c->scan.scan);
    kv_value_release(&c->value);
}

static void ixscan_close(struct stage *s) {
    struct ixscan *c = (struct ixscan *) s;
    if (c->scan.scan != NULL) index_scan_close(c->scan.scan);
    c->scan.scan = NULL;
    kv_value_release(&c->value);
    buf_release(&c->scan.target);
}

status stage_ixscan_open(struct exec *x, const struct plan_node *plan, struct stage **out, struct err *err) {
    static const struct stage_ops ops = {ixscan_next, ixscan_rest, ixscan_close};
    struct ixscan *c;
    TRY(stage_new(x, plan, &ops, sizeof(*c), &c, err));
    buf_init(&c->scan.target, x->op->mem);
    c->is_one_key = x->is_snapshot && !plan->access->scan->is_empty && access_is_one_key(plan->access);
    *out = &c->base;
    return ST_OK;
}

/* --- SORT_MERGE --- */

struct stream {
    struct bounded_scan scan;
    struct index_entry entry;
    size_t prefix_len;
    bool has_entry;
    struct buf held; /* the waiting entry, while the scan rests */
};

struct sort_merge {
    struct stage base;
    struct stream *streams;
    uint32_t stream_count;
    struct stream *last; /* whose entry was given: advanced at the next call */
    bool is_open;
};

static status open_stream(struct sort_merge *m, struct stream *st, struct slice prefix, struct err *err) {
    struct exec *x = m->base.x;
    struct buf hi;
    buf_init(&hi, x->op->mem);
    buf_append_slice(&hi, prefix);
    key_successor(&hi);
    status ok = hi.failed ? RAISE(err, ST_NOMEM, "index scan")
                          : index_scan_open(x->op, x->txn, x->collection, m->base.plan->access->view.index,
                                            m->base.plan->backward, &st->scan.scan, err);
    if (ok == ST_OK) ok = index_scan_range(st->scan.scan, prefix, buf_slice(&hi), err);
    buf_release(&hi);
    st->prefix_len = prefix.len;
    m->base.stats.seeks++;
    return ok;
}

static status advance(struct sort_merge *m, struct stream *st, struct err *err) {
    status ok = bounded_next(&st->scan, &m->base, &st->entry, err);
    st->has_entry = ok == ST_OK;
    return ok == ST_END ? ST_OK : ok;
}

/* One stream per combination of points of the leading fields. */
static status open_streams(struct sort_merge *m, uint32_t field, struct buf *prefix, struct err *err) {
    const struct scan_bounds *b = m->base.plan->access->scan;
    size_t len = prefix->len;
    if (field == m->base.plan->explode) {
        struct stream *st = &m->streams[m->stream_count++];
        buf_init(&st->scan.target, m->base.x->op->mem);
        buf_init(&st->held, m->base.x->op->mem);
        if (prefix->failed) return RAISE(err, ST_NOMEM, "index scan");
        TRY(open_stream(m, st, buf_slice(prefix), err));
        return advance(m, st, err);
    }
    for (uint32_t i = 0; i < b->fields[field].count; i++) {
        prefix->len = len;
        buf_append_slice(prefix, b->fields[field].ranges[i].lo);
        TRY(open_streams(m, field + 1, prefix, err));
    }
    return ST_OK;
}

static status open_all(struct sort_merge *m, struct err *err) {
    struct exec *x = m->base.x;
    size_t count = 1;
    for (uint32_t f = 0; f < m->base.plan->explode; f++) count *= m->base.plan->access->scan->fields[f].count;
    m->streams = arena_array(x->arena, struct stream, count + 1);
    if (m->streams == NULL) return RAISE(err, ST_NOMEM, "index scan");
    m->is_open = true;
    if (m->base.plan->access->scan->is_empty) return ST_OK;
    struct buf prefix;
    buf_init(&prefix, x->op->mem);
    status st = open_streams(m, 0, &prefix, err);
    buf_release(&prefix);
    return st;
}

static int compare_streams(const struct stream *a, const struct stream *b) {
    int c = slice_compare(slice_of(a->entry.key.p + a->prefix_len, a->entry.key.len - a->prefix_len),
                          slice_of(b->entry.key.p + b->prefix_len, b->entry.key.len - b->prefix_len));
    return c != 0 ? c : slice_compare(a->entry.locator, b->entry.locator);
}

static status sort_merge_next(struct stage *s, struct row *out, struct err *err) {
    struct sort_merge *m = (struct sort_merge *) s;
    if (!m->is_open) TRY(open_all(m, err));
    if (m->last != NULL) TRY(advance(m, m->last, err));
    struct stream *best = NULL;
    for (uint32_t i = 0; i < m->stream_count; i++) {
        struct stream *st = &m->streams[i];
        if (!st->has_entry) continue;
        if (best == NULL || (s->plan->backward ? compare_streams(st, best) > 0 : compare_streams(st, best) < 0))
            best = st;
    }
    m->last = best;
    if (best == NULL) return ST_END;
    out->key = best->entry.key;
    out->side = best->entry.side;
    out->locator = best->entry.locator;
    return ST_OK;
}

/* The waiting entries are kept as copies; without memory for that a stream stays pinned. */
static void sort_merge_rest(struct stage *s) {
    struct sort_merge *m = (struct sort_merge *) s;
    for (uint32_t i = 0; i < m->stream_count; i++) {
        struct stream *st = &m->streams[i];
        struct index_entry e = st->entry;
        if (!st->has_entry || st == m->last || (e.key.len != 0 && e.key.p == st->held.p)) continue;
        buf_clear(&st->held);
        buf_append_slice(&st->held, e.key);
        buf_append_slice(&st->held, e.locator);
        buf_append_slice(&st->held, e.side);
        if (st->held.failed) continue;
        st->entry.key = slice_of(st->held.p, e.key.len);
        st->entry.locator = slice_of(st->held.p + e.key.len, e.locator.len);
        st->entry.side = slice_of(st->held.p + e.key.len + e.locator.len, e.side.len);
        index_scan_rest(st->scan.scan);
    }
    if (m->last != NULL) index_scan_rest(m->last->scan.scan);
}

static void sort_merge_close(struct stage *s) {
    struct sort_merge *m = (struct sort_merge *) s;
    for (uint32_t i = 0; i < m->stream_count; i++) {
        if (m->streams[i].scan.scan != NULL) index_scan_close(m->streams[i].scan.scan);
        buf_release(&m->streams[i].scan.target);
        buf_release(&m->streams[i].held);
    }
    m->stream_count = 0;
}

status stage_sort_merge_open(struct exec *x, const struct plan_node *plan, struct stage **out, struct err *err) {
    static const struct stage_ops ops = {sort_merge_next, sort_merge_rest, sort_merge_close};
    return stage_new(x, plan, &ops, sizeof(struct sort_merge), out, err);
}
