/* See kv_fail.h. */
#include "support/kv_fail.h"

#include <stdlib.h>

struct ftxn {
    struct kv_txn base;
    struct kv_txn *in;
    struct kv_fail *f;
};
struct fcursor {
    struct kv_cursor base;
    struct kv_cursor *in;
    struct kv_fail *f;
};
struct fbulk {
    struct kv_bulk base;
    struct kv_bulk *in;
    struct kv_fail *f;
};

static const struct kv_ops fail_ops;

static status count(struct kv_fail *f, struct err *err) {
    f->calls++;
    if (f->fail_at == 0 || f->calls < f->fail_at) return ST_OK;
    f->has_failed = true;
    return RAISE(err, ST_IO, "the machine has stopped");
}

#define T(t) ((struct ftxn *) (t))
#define C(c) ((struct fcursor *) (c))
#define B(b) ((struct fbulk *) (b))
#define F(kv) ((struct kv_fail *) (kv))

static void close_kv(struct kv *kv) { (void) kv; }
static status begin(struct kv *kv, bool read_only, struct kv_txn **out, struct err *err) {
    TRY(count(F(kv), err));
    struct ftxn *t = calloc(1, sizeof(*t));
    t->base.ops = &fail_ops;
    t->f = F(kv);
    status st = kv_begin(F(kv)->inner, read_only, &t->in, err);
    if (st == ST_OK) *out = &t->base;
    else free(t);
    return st;
}
static status commit(struct kv_txn *t, enum kv_sync sync, struct err *err) {
    status st = count(T(t)->f, err);
    if (st == ST_OK) st = kv_commit(T(t)->in, sync, err);
    else kv_abort(T(t)->in);
    free(t);
    return st;
}
static void abort_txn(struct kv_txn *t) { kv_abort(T(t)->in), free(t); }
static status sync_kv(struct kv *kv, struct err *err) {
    TRY(count(F(kv), err));
    return kv_sync(F(kv)->inner, err);
}
static status get(struct kv_txn *t, struct slice k, struct kv_value *out, struct err *err) {
    TRY(count(T(t)->f, err));
    return kv_get(T(t)->in, k, out, err);
}
static status get_many(struct kv_txn *t, size_t n, const struct slice *keys, struct kv_value *out, struct err *err) {
    TRY(count(T(t)->f, err));
    return kv_get_many(T(t)->in, n, keys, out, err);
}
static status put(struct kv_txn *t, struct slice k, struct slice v, struct err *err) {
    TRY(count(T(t)->f, err));
    return kv_put(T(t)->in, k, v, err);
}
static status put_blind(struct kv_txn *t, struct slice k, struct slice v, struct err *err) {
    TRY(count(T(t)->f, err));
    return kv_put_blind(T(t)->in, k, v, err);
}
static status add(struct kv_txn *t, struct slice k, int64_t d, struct err *err) {
    TRY(count(T(t)->f, err));
    return kv_add(T(t)->in, k, d, err);
}
static status del(struct kv_txn *t, struct slice k, struct err *err) {
    TRY(count(T(t)->f, err));
    return kv_delete(T(t)->in, k, err);
}
static status del_range(struct kv_txn *t, struct slice lo, struct slice hi, struct err *err) {
    TRY(count(T(t)->f, err));
    return kv_delete_range(T(t)->in, lo, hi, err);
}
static status lock(struct kv_txn *t, struct slice k, bool x, uint64_t ms, struct err *err) {
    TRY(count(T(t)->f, err));
    return x ? kv_lock_exclusive(T(t)->in, k, ms, err) : kv_lock_shared(T(t)->in, k, ms, err);
}
static status sequence(struct kv *kv, struct slice k, uint64_t n, uint64_t *first, struct err *err) {
    TRY(count(F(kv), err));
    return kv_sequence(F(kv)->inner, k, n, first, err);
}
static uint32_t next_statement(struct kv_txn *t) { return kv_next_statement(T(t)->in); }
static struct kv_mark mark(struct kv_txn *t) { return kv_mark(T(t)->in); }
static void rollback_to(struct kv_txn *t, struct kv_mark m) { kv_rollback_to(T(t)->in, m); }
static status cursor(struct kv_txn *t, const struct kv_bounds *b, struct kv_cursor **out, struct err *err) {
    TRY(count(T(t)->f, err));
    struct fcursor *c = calloc(1, sizeof(*c));
    c->base.ops = &fail_ops;
    c->f = T(t)->f;
    status st = kv_cursor_open(T(t)->in, b, &c->in, err);
    if (st == ST_OK) *out = &c->base;
    else free(c);
    return st;
}
static status estimate(struct kv_txn *t, const struct kv_bounds *b, struct kv_estimate *out, struct err *err) {
    TRY(count(T(t)->f, err));
    return kv_estimate(T(t)->in, b, out, err);
}
static status bulk_begin(struct kv_txn *t, struct kv_bulk **out, struct err *err) {
    TRY(count(T(t)->f, err));
    struct fbulk *b = calloc(1, sizeof(*b));
    b->base.ops = &fail_ops;
    b->f = T(t)->f;
    status st = kv_bulk_begin(T(t)->in, &b->in, err);
    if (st == ST_OK) *out = &b->base;
    else free(b);
    return st;
}
static status seek_ge(struct kv_cursor *c, struct slice k, struct err *err) {
    TRY(count(C(c)->f, err));
    return kv_seek_ge(C(c)->in, k, err);
}
static status seek_le(struct kv_cursor *c, struct slice k, struct err *err) {
    TRY(count(C(c)->f, err));
    return kv_seek_le(C(c)->in, k, err);
}
static status first(struct kv_cursor *c, struct err *err) {
    TRY(count(C(c)->f, err));
    return kv_first(C(c)->in, err);
}
static status last(struct kv_cursor *c, struct err *err) {
    TRY(count(C(c)->f, err));
    return kv_last(C(c)->in, err);
}
static status next(struct kv_cursor *c, struct err *err) {
    TRY(count(C(c)->f, err));
    return kv_next(C(c)->in, err);
}
static status prev(struct kv_cursor *c, struct err *err) {
    TRY(count(C(c)->f, err));
    return kv_prev(C(c)->in, err);
}
static status count_entries(struct kv_cursor *c, uint64_t max, uint64_t *n, struct err *err) {
    TRY(count(C(c)->f, err));
    return kv_cursor_count(C(c)->in, max, n, err);
}
static struct slice cursor_key(struct kv_cursor *c) { return kv_cursor_key(C(c)->in); }
static status cursor_value(struct kv_cursor *c, struct slice *out, struct err *err) {
    TRY(count(C(c)->f, err));
    return kv_cursor_value(C(c)->in, out, err);
}
static void rest(struct kv_cursor *c) { kv_cursor_rest(C(c)->in); }
static void cursor_close(struct kv_cursor *c) { kv_cursor_close(C(c)->in), free(c); }
static status bulk_put(struct kv_bulk *b, struct slice k, struct slice v, struct err *err) {
    TRY(count(B(b)->f, err));
    return kv_bulk_put(B(b)->in, k, v, err);
}
static void bulk_abort(struct kv_bulk *b) { kv_bulk_abort(B(b)->in), free(b); }
static status bulk_commit(struct kv_bulk *b, struct err *err) {
    status st = count(B(b)->f, err);
    if (st == ST_OK) st = kv_bulk_commit(B(b)->in, err);
    else kv_bulk_abort(B(b)->in);
    free(b);
    return st;
}

static const struct kv_ops fail_ops = {
    .close = close_kv,
    .begin = begin,
    .commit = commit,
    .abort = abort_txn,
    .sync = sync_kv,
    .get = get,
    .get_many = get_many,
    .put = put,
    .put_blind = put_blind,
    .add = add,
    .del = del,
    .del_range = del_range,
    .lock = lock,
    .sequence = sequence,
    .next_statement = next_statement,
    .mark = mark,
    .rollback_to = rollback_to,
    .cursor = cursor,
    .estimate = estimate,
    .bulk_begin = bulk_begin,
    .seek_ge = seek_ge,
    .seek_le = seek_le,
    .first = first,
    .last = last,
    .next = next,
    .prev = prev,
    .count = count_entries,
    .key = cursor_key,
    .value = cursor_value,
    .rest = rest,
    .cursor_close = cursor_close,
    .bulk_put = bulk_put,
    .bulk_commit = bulk_commit,
    .bulk_abort = bulk_abort,
};

void kv_fail_init(struct kv_fail *f, struct kv *inner, uint64_t fail_at) {
    *f = (struct kv_fail){.base.ops = &fail_ops, .inner = inner, .fail_at = fail_at};
}
