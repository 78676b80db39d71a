/* The naive store of model_kv.h.
 *
 *   keys     sorted by key; each with its versions, oldest first. The state at a snapshot is a fold over versions with seq <= it.
 *   ranges   committed range deletes, kept for conflicts and bulk loads only: their effect is a DELETE version in every key they met.
 *   ops      a transaction's writes in the order made, and `order`: their indexes sorted by (key, position) for point writes.
 *
 * A key's state inside a transaction is the fold over its versions, then over its own ops by position.
 */
#include "support/model_kv.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/endian.h"
#include "storage/source.h"

struct version {
    uint64_t seq;
    uint8_t kind;
    struct slice value;
};
struct key {
    struct slice name;
    size_t count, cap;
    struct version *versions;
};
struct range {
    struct slice lo, hi;
    uint64_t seq;
};
struct counter {
    struct slice name;
    uint64_t next;
};

enum { OP_RANGE = 100 };

struct op {
    uint8_t kind; /* enum entry_kind or OP_RANGE */
    bool is_blind;
    bool is_undone; /* rolled back or refused: only its claim on the key stays (storage/intents.h) */
    uint32_t statement;
    struct slice key, value; /* OP_RANGE: lo, hi */
};

struct held {
    struct slice key;
    bool exclusive;
};

struct model;
struct mtxn {
    struct kv_txn base;
    struct model *m;
    struct mtxn *next;
    bool read_only;
    uint64_t snapshot;
    uint32_t statement;
    struct op *ops;
    size_t op_count, op_cap;
    size_t *order; /* point ops by (key, position) */
    size_t order_count, order_cap;
    size_t *range_ops; /* positions of OP_RANGE, ascending */
    size_t range_count, range_cap;
    struct held *held;
    size_t held_count, held_cap;
};

struct mcursor {
    struct kv_cursor base;
    struct mtxn *t;
    struct slice lo, hi;
    uint32_t statement;
    bool stands;
    struct slice key, value; /* owned copies */
};

struct mbulk {
    struct kv_bulk base;
    struct mtxn *t;
    struct op *ops;
    size_t count, cap;
};

struct model {
    struct kv base;
    uint64_t seq;
    struct key *keys;
    size_t key_count, key_cap;
    struct range *ranges;
    size_t range_count, range_cap;
    struct counter *counters;
    size_t counter_count, counter_cap;
    struct mtxn *open;
};

struct state {
    bool present;
    bool is_count;
    int64_t count;
    struct slice value;
};

static const struct kv_ops model_ops;

static void must(bool ok) {
    if (!ok) {
        fprintf(stderr, "model_kv: out of memory\n");
        abort();
    }
}
static void *grow(void *array, size_t *cap, size_t need, size_t size) {
    must(mem_grow(mem_default(), &array, cap, need, size));
    return array;
}
static struct slice copy(struct slice s) {
    void *p = malloc(s.len + 1);
    must(p != NULL);
    if (s.len != 0) memcpy(p, s.p, s.len);
    return slice_of(p, s.len);
}
static void drop(struct slice s) { free((void *) (uintptr_t) s.p); }

int64_t model_counter(struct slice value) { return value.len == 8 ? (int64_t) get_le64(value.p) : 0; }

/* --- states --- */

static void apply(struct state *s, uint8_t kind, struct slice value) {
    if (kind == ENTRY_DELETE) {
        *s = (struct state){0};
    } else if (kind == ENTRY_ADD) {
        int64_t old = !s->present ? 0 : s->is_count ? s->count : model_counter(s->value);
        *s = (struct state){.present = true, .is_count = true, .count = (int64_t) ((uint64_t) old + get_le64(value.p))};
    } else {
        *s = (struct state){.present = true, .value = value};
    }
}

static struct slice state_bytes(const struct state *s, uint8_t room[8]) {
    if (!s->is_count) return s->value;
    put_le64(room, (uint64_t) s->count);
    return slice_of(room, 8);
}

/* The first key >= name. */
static size_t find_key(const struct model *m, struct slice name) {
    size_t lo = 0, hi = m->key_count;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (slice_compare(m->keys[mid].name, name) < 0) lo = mid + 1;
        else hi = mid;
    }
    return lo;
}

static struct key *get_key(const struct model *m, struct slice name) {
    size_t i = find_key(m, name);
    return i < m->key_count && slice_equal(m->keys[i].name, name) ? &m->keys[i] : NULL;
}

static struct key *make_key(struct model *m, struct slice name) {
    size_t i = find_key(m, name);
    if (i < m->key_count && slice_equal(m->keys[i].name, name)) return &m->keys[i];
    m->keys = grow(m->keys, &m->key_cap, m->key_count + 1, sizeof(*m->keys));
    memmove(&m->keys[i + 1], &m->keys[i], (m->key_count - i) * sizeof(*m->keys));
    m->key_count++;
    m->keys[i] = (struct key){.name = copy(name)};
    return &m->keys[i];
}

/* Versions that no open transaction can tell apart become one. */
static void fold_old(struct model *m, struct key *k) {
    uint64_t oldest = m->seq;
    for (struct mtxn *t = m->open; t != NULL; t = t->next)
        if (t->snapshot < oldest) oldest = t->snapshot;
    struct state s = {0};
    size_t n = 0;
    while (n < k->count && k->versions[n].seq <= oldest) apply(&s, k->versions[n].kind, k->versions[n].value), n++;
    if (n < 2) return;
    uint8_t room[8];
    struct version one = {.seq = k->versions[n - 1].seq,
                          .kind = s.present ? ENTRY_PUT : ENTRY_DELETE,
                          .value = copy(state_bytes(&s, room))};
    for (size_t i = 0; i < n; i++) drop(k->versions[i].value);
    k->versions[0] = one;
    memmove(&k->versions[1], &k->versions[n], (k->count - n) * sizeof(*k->versions));
    k->count -= n - 1;
}

/* Below the versions of the same sequence when is_late: a bulk load meets a range delete whose transaction wrote the key anew. */
static void add_version(struct model *m, struct slice name, uint8_t kind, struct slice value, uint64_t seq,
                        bool is_late) {
    struct key *k = make_key(m, name);
    if (k->count >= 8) fold_old(m, k);
    k->versions = grow(k->versions, &k->cap, k->count + 1, sizeof(*k->versions));
    size_t i = k->count;
    while (i > 0 && (k->versions[i - 1].seq > seq || (is_late && k->versions[i - 1].seq == seq))) i--;
    memmove(&k->versions[i + 1], &k->versions[i], (k->count - i) * sizeof(*k->versions));
    k->versions[i] = (struct version){seq, kind, copy(value)};
    k->count++;
}

static struct slice op_key(const struct mtxn *t, size_t i) { return t->ops[t->order[i]].key; }

/* The first place in `order` whose key is >= name. */
static size_t find_op(const struct mtxn *t, struct slice name) {
    size_t lo = 0, hi = t->order_count;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (slice_compare(op_key(t, mid), name) < 0) lo = mid + 1;
        else hi = mid;
    }
    return lo;
}

/* What the transaction sees under name, of its own writes only those of statements < statement. */
static struct state see(const struct mtxn *t, struct slice name, uint32_t statement) {
    struct state s = {0};
    struct key *k = get_key(t->m, name);
    for (size_t i = 0; k != NULL && i < k->count && k->versions[i].seq <= t->snapshot; i++)
        apply(&s, k->versions[i].kind, k->versions[i].value);
    size_t i = find_op(t, name), r = 0;
    for (;;) {
        size_t point = i < t->order_count && slice_equal(op_key(t, i), name) ? t->order[i] : SIZE_MAX;
        size_t range = r < t->range_count ? t->range_ops[r] : SIZE_MAX;
        if (point == SIZE_MAX && range == SIZE_MAX) return s;
        const struct op *op = &t->ops[point < range ? point : range];
        if (point < range) i++;
        else r++;
        if (op->is_undone || op->statement >= statement) continue;
        if (op->kind != OP_RANGE) apply(&s, op->kind, op->value);
        else if (slice_compare(op->key, name) <= 0 && slice_compare(name, op->value) < 0) s = (struct state){0};
    }
}

/* --- conflicts --- */

static bool conflicts_with_pending(const struct mtxn *t, const struct op *op) {
    for (struct mtxn *o = t->m->open; o != NULL; o = o->next) {
        if (o == t) continue;
        for (size_t r = 0; r < o->range_count; r++) {
            const struct op *range = &o->ops[o->range_ops[r]];
            if (op->kind == OP_RANGE
                    ? slice_compare(range->key, op->value) < 0 && slice_compare(op->key, range->value) < 0
                    : slice_compare(range->key, op->key) <= 0 && slice_compare(op->key, range->value) < 0)
                return true;
        }
        for (size_t i = find_op(o, op->key); i < o->order_count; i++) {
            const struct op *other = &o->ops[o->order[i]];
            if (op->kind == OP_RANGE ? slice_compare(other->key, op->value) >= 0 : !slice_equal(other->key, op->key))
                break;
            if (other->is_blind || (op->kind == ENTRY_ADD && other->kind == ENTRY_ADD)) continue;
            return true;
        }
    }
    return false;
}

static bool conflicts_with_committed(const struct mtxn *t, const struct op *op) {
    const struct model *m = t->m;
    for (size_t r = 0; r < m->range_count; r++) {
        const struct range *range = &m->ranges[r];
        if (range->seq <= t->snapshot) continue;
        if (op->kind == OP_RANGE ? slice_compare(range->lo, op->value) < 0 && slice_compare(op->key, range->hi) < 0
                                 : slice_compare(range->lo, op->key) <= 0 && slice_compare(op->key, range->hi) < 0)
            return true;
    }
    for (size_t i = find_key(m, op->key); i < m->key_count; i++) {
        const struct key *k = &m->keys[i];
        if (op->kind == OP_RANGE ? slice_compare(k->name, op->value) >= 0 : !slice_equal(k->name, op->key)) break;
        for (size_t v = 0; v < k->count; v++)
            if (k->versions[v].seq > t->snapshot && !(op->kind == ENTRY_ADD && k->versions[v].kind == ENTRY_ADD))
                return true;
    }
    return false;
}

/* --- writing --- */

static struct mtxn *txn_of(struct kv_txn *t) { return (struct mtxn *) t; }

static status write_op(struct kv_txn *txn, struct op op, struct err *err) {
    struct mtxn *t = txn_of(txn);
    if (t->read_only) return RAISE(err, ST_READ_ONLY, "a read-only transaction cannot write");
    if (op.key.len > KV_KEY_LEN_MAX || (op.kind != OP_RANGE && op.key.len == 0))
        return RAISE(err, ST_INVALID, "bad key length");
    if (op.kind != OP_RANGE && op.value.len > KV_VALUE_LEN_MAX) return RAISE(err, ST_TOO_LARGE, "value too long");
    if (op.kind == OP_RANGE && slice_compare(op.key, op.value) >= 0) return ST_OK;
    if (!op.is_blind && conflicts_with_pending(t, &op)) return RAISE(err, ST_CONFLICT, "write conflict");
    op.is_undone = !op.is_blind && conflicts_with_committed(t, &op);
    op.statement = t->statement;
    op.key = copy(op.key);
    op.value = copy(op.value);
    t->ops = grow(t->ops, &t->op_cap, t->op_count + 1, sizeof(*t->ops));
    size_t at = t->op_count++;
    t->ops[at] = op;
    if (op.kind == OP_RANGE) {
        t->range_ops = grow(t->range_ops, &t->range_cap, t->range_count + 1, sizeof(*t->range_ops));
        t->range_ops[t->range_count++] = at;
        return op.is_undone ? RAISE(err, ST_CONFLICT, "write conflict") : ST_OK;
    }
    t->order = grow(t->order, &t->order_cap, t->order_count + 1, sizeof(*t->order));
    size_t i = find_op(t, op.key);
    while (i < t->order_count && slice_equal(op_key(t, i), op.key)) i++;
    memmove(&t->order[i + 1], &t->order[i], (t->order_count - i) * sizeof(*t->order));
    t->order[i] = at;
    t->order_count++;
    return op.is_undone ? RAISE(err, ST_CONFLICT, "write conflict") : ST_OK;
}

static status put(struct kv_txn *t, struct slice key, struct slice value, struct err *err) {
    return write_op(t, (struct op){.kind = ENTRY_PUT, .key = key, .value = value}, err);
}
static status put_blind(struct kv_txn *t, struct slice key, struct slice value, struct err *err) {
    return write_op(t, (struct op){.kind = ENTRY_PUT, .is_blind = true, .key = key, .value = value}, err);
}
static status add(struct kv_txn *t, struct slice key, int64_t delta, struct err *err) {
    uint8_t room[8];
    put_le64(room, (uint64_t) delta);
    return write_op(t, (struct op){.kind = ENTRY_ADD, .key = key, .value = slice_of(room, 8)}, err);
}
static status del(struct kv_txn *t, struct slice key, struct err *err) {
    return write_op(t, (struct op){.kind = ENTRY_DELETE, .key = key}, err);
}
static status del_range(struct kv_txn *t, struct slice lo, struct slice hi, struct err *err) {
    return write_op(t, (struct op){.kind = OP_RANGE, .key = lo, .value = hi}, err);
}

static uint32_t next_statement(struct kv_txn *t) { return ++txn_of(t)->statement; }
static struct kv_mark mark(struct kv_txn *t) { return (struct kv_mark){txn_of(t)->op_count, txn_of(t)->statement}; }

static void rollback_to(struct kv_txn *txn, struct kv_mark to) {
    struct mtxn *t = txn_of(txn);
    for (size_t i = to.at; i < t->op_count; i++) t->ops[i].is_undone = true;
}

/* --- reading --- */

static void unpin(struct kv_value *v) { free(v->pin); }

static status get(struct kv_txn *txn, struct slice key, struct kv_value *out, struct err *err) {
    (void) err;
    *out = KV_VALUE_INIT;
    struct state s = see(txn_of(txn), key, UINT32_MAX);
    if (!s.present) return ST_NOT_FOUND;
    uint8_t room[8];
    out->bytes = copy(state_bytes(&s, room));
    out->pin = (void *) (uintptr_t) out->bytes.p;
    out->unpin = unpin;
    return ST_OK;
}
static status get_many(struct kv_txn *t, size_t n, const struct slice *keys, struct kv_value *out, struct err *err) {
    for (size_t i = 0; i < n; i++) (void) get(t, keys[i], &out[i], err);
    return ST_OK;
}

static status cursor_open(struct kv_txn *txn, const struct kv_bounds *bounds, struct kv_cursor **out, struct err *err) {
    (void) err;
    struct mcursor *c = calloc(1, sizeof(*c));
    must(c != NULL);
    c->base.ops = &model_ops;
    c->t = txn_of(txn);
    c->statement = c->t->statement;
    c->lo = copy(bounds != NULL ? bounds->lo : SLICE_NONE);
    c->hi = copy(bounds != NULL ? bounds->hi : SLICE_NONE);
    c->key = c->value = copy(SLICE_NONE);
    c->value = copy(SLICE_NONE);
    *out = &c->base;
    return ST_OK;
}

static bool stand(struct mcursor *c, struct slice name) {
    struct state s = see(c->t, name, c->statement);
    if (!s.present) return false;
    uint8_t room[8];
    struct slice key = copy(name), value = copy(state_bytes(&s, room));
    drop(c->key);
    drop(c->value);
    c->key = key;
    c->value = value;
    c->stands = true;
    return true;
}

/* The first visible key >= from (or > from). */
static status go_up(struct mcursor *c, struct slice from, bool inclusive) {
    c->stands = false;
    struct slice held = copy(slice_compare(from, c->lo) < 0 ? c->lo : from);
    if (slice_compare(from, c->lo) < 0) inclusive = true;
    size_t k = find_key(c->t->m, held), o = find_op(c->t, held);
    while (!c->stands) {
        struct slice name = SLICE_NONE;
        if (k < c->t->m->key_count) name = c->t->m->keys[k].name;
        if (o < c->t->order_count && (name.p == NULL || slice_compare(op_key(c->t, o), name) < 0))
            name = op_key(c->t, o);
        if (name.p == NULL || (c->hi.len != 0 && slice_compare(name, c->hi) >= 0)) break;
        while (o < c->t->order_count && slice_equal(op_key(c->t, o), name)) o++;
        if (k < c->t->m->key_count && slice_equal(c->t->m->keys[k].name, name)) k++;
        if (!inclusive && slice_equal(name, held)) continue;
        (void) stand(c, name);
    }
    drop(held);
    return c->stands ? ST_OK : ST_END;
}

/* The last visible key <= from (or < from); from NULL: the last of all. */
static status go_down(struct mcursor *c, struct slice from, bool inclusive) {
    c->stands = false;
    if (c->hi.len != 0 && (from.p == NULL || slice_compare(from, c->hi) >= 0)) from = c->hi, inclusive = false;
    struct slice held = copy(from);
    bool from_end = from.p == NULL;
    size_t k = from_end ? c->t->m->key_count : find_key(c->t->m, held),
           o = from_end ? c->t->order_count : find_op(c->t, held);
    if (!from_end && k < c->t->m->key_count && slice_equal(c->t->m->keys[k].name, held)) k++;
    while (!from_end && o < c->t->order_count && slice_equal(op_key(c->t, o), held)) o++;
    while (!c->stands) {
        struct slice name = SLICE_NONE;
        if (k > 0) name = c->t->m->keys[k - 1].name;
        if (o > 0 && (name.p == NULL || slice_compare(op_key(c->t, o - 1), name) > 0)) name = op_key(c->t, o - 1);
        if (name.p == NULL || slice_compare(name, c->lo) < 0) break;
        while (o > 0 && slice_equal(op_key(c->t, o - 1), name)) o--;
        if (k > 0 && slice_equal(c->t->m->keys[k - 1].name, name)) k--;
        if (!from_end && !inclusive && slice_equal(name, held)) continue;
        (void) stand(c, name);
    }
    drop(held);
    return c->stands ? ST_OK : ST_END;
}

static struct mcursor *cursor_of(struct kv_cursor *c) { return (struct mcursor *) c; }
static status seek_ge(struct kv_cursor *c, struct slice key, struct err *err) {
    (void) err;
    return go_up(cursor_of(c), key, true);
}
static status seek_le(struct kv_cursor *c, struct slice key, struct err *err) {
    (void) err;
    return go_down(cursor_of(c), key.p != NULL ? key : slice_of("", 0), true);
}
static status first(struct kv_cursor *c, struct err *err) {
    (void) err;
    return go_up(cursor_of(c), SLICE_NONE, true);
}
static status last(struct kv_cursor *c, struct err *err) {
    (void) err;
    return go_down(cursor_of(c), SLICE_NONE, true);
}
static status next(struct kv_cursor *c, struct err *err) {
    (void) err;
    return go_up(cursor_of(c), cursor_of(c)->key, false);
}
static status prev(struct kv_cursor *c, struct err *err) {
    (void) err;
    return go_down(cursor_of(c), cursor_of(c)->key, false);
}
static status count(struct kv_cursor *c, uint64_t max, uint64_t *n, struct err *err) {
    status st = ST_OK;
    for (*n = 0; *n < max && st == ST_OK; ++*n) st = next(c, err);
    return st;
}
static struct slice cursor_key(struct kv_cursor *c) { return cursor_of(c)->key; }
static status cursor_value(struct kv_cursor *c, struct slice *out, struct err *err) {
    (void) err;
    *out = cursor_of(c)->value;
    return ST_OK;
}
static void cursor_rest(struct kv_cursor *c) { (void) c; }
static void cursor_close(struct kv_cursor *cursor) {
    struct mcursor *c = cursor_of(cursor);
    drop(c->lo);
    drop(c->hi);
    drop(c->key);
    drop(c->value);
    free(c);
}

static status estimate(struct kv_txn *txn, const struct kv_bounds *b, struct kv_estimate *out, struct err *err) {
    struct kv_cursor *c;
    TRY(cursor_open(txn, b, &c, err));
    *out = (struct kv_estimate){0};
    for (status st = first(c, err); st == ST_OK; st = next(c, err)) {
        out->entries++;
        out->bytes += cursor_of(c)->key.len + cursor_of(c)->value.len;
    }
    cursor_close(c);
    return ST_OK;
}

/* --- transactions --- */

static status begin(struct kv *kv, bool read_only, struct kv_txn **out, struct err *err) {
    (void) err;
    struct model *m = (struct model *) kv;
    struct mtxn *t = calloc(1, sizeof(*t));
    must(t != NULL);
    t->base.ops = &model_ops;
    t->m = m;
    t->read_only = read_only;
    t->snapshot = m->seq;
    if (m->open == NULL) {
        for (size_t i = 0; i < m->range_count; i++) drop(m->ranges[i].lo), drop(m->ranges[i].hi);
        m->range_count = 0;
    }
    t->next = m->open;
    m->open = t;
    *out = &t->base;
    return ST_OK;
}

static void abort_txn(struct kv_txn *txn) {
    struct mtxn *t = txn_of(txn), **at = &t->m->open;
    while (*at != t) at = &(*at)->next;
    *at = t->next;
    for (size_t i = 0; i < t->op_count; i++) drop(t->ops[i].key), drop(t->ops[i].value);
    for (size_t i = 0; i < t->held_count; i++) drop(t->held[i].key);
    free(t->held);
    free(t->ops);
    free(t->order);
    free(t->range_ops);
    free(t);
}

static void commit_range(struct model *m, const struct op *op, uint64_t seq) {
    m->ranges = grow(m->ranges, &m->range_cap, m->range_count + 1, sizeof(*m->ranges));
    m->ranges[m->range_count++] = (struct range){copy(op->key), copy(op->value), seq};
    for (size_t i = find_key(m, op->key); i < m->key_count && slice_compare(m->keys[i].name, op->value) < 0; i++)
        add_version(m, m->keys[i].name, ENTRY_DELETE, SLICE_NONE, seq, false);
}

static status commit(struct kv_txn *txn, enum kv_sync sync, struct err *err) {
    (void) err;
    (void) sync;
    struct mtxn *t = txn_of(txn);
    struct model *m = t->m;
    if (t->op_count > 0) m->seq++;
    for (size_t i = 0; i < t->op_count; i++) {
        const struct op *op = &t->ops[i];
        if (op->is_undone) continue;
        if (op->kind == OP_RANGE) commit_range(m, op, m->seq);
        else add_version(m, op->key, op->kind, op->value, m->seq, false);
    }
    abort_txn(txn);
    return ST_OK;
}

static status sync_kv(struct kv *kv, struct err *err) {
    (void) kv;
    (void) err;
    return ST_OK;
}

static status lock(struct kv_txn *txn, struct slice key, bool exclusive, uint64_t timeout_ms, struct err *err) {
    (void) timeout_ms;
    struct mtxn *t = txn_of(txn);
    for (struct mtxn *o = t->m->open; o != NULL; o = o->next)
        for (size_t i = 0; o != t && i < o->held_count; i++)
            if (slice_equal(o->held[i].key, key) && (exclusive || o->held[i].exclusive))
                return RAISE(err, ST_BUSY, "locked by another transaction");
    struct key *k = get_key(t->m, key);
    if (k != NULL && k->count > 0 && k->versions[k->count - 1].seq > t->snapshot)
        return RAISE(err, ST_STALE, "changed since the snapshot");
    t->held = grow(t->held, &t->held_cap, t->held_count + 1, sizeof(*t->held));
    t->held[t->held_count++] = (struct held){copy(key), exclusive};
    return ST_OK;
}

static status sequence(struct kv *kv, struct slice key, uint64_t n, uint64_t *first_out, struct err *err) {
    (void) err;
    struct model *m = (struct model *) kv;
    struct counter *c = NULL;
    for (size_t i = 0; i < m->counter_count; i++)
        if (slice_equal(m->counters[i].name, key)) c = &m->counters[i];
    if (c == NULL) {
        m->counters = grow(m->counters, &m->counter_cap, m->counter_count + 1, sizeof(*m->counters));
        c = &m->counters[m->counter_count++];
        *c = (struct counter){copy(key), 1};
    }
    *first_out = c->next;
    c->next += n;
    return ST_OK;
}

/* --- bulk --- */

static status bulk_begin(struct kv_txn *snapshot, struct kv_bulk **out, struct err *err) {
    (void) err;
    struct mbulk *b = calloc(1, sizeof(*b));
    must(b != NULL);
    b->base.ops = &model_ops;
    b->t = txn_of(snapshot);
    *out = &b->base;
    return ST_OK;
}
static status bulk_put(struct kv_bulk *bulk, struct slice key, struct slice value, struct err *err) {
    struct mbulk *b = (struct mbulk *) bulk;
    if (b->count > 0 && slice_compare(b->ops[b->count - 1].key, key) >= 0)
        return RAISE(err, ST_INVALID, "bulk keys must ascend");
    b->ops = grow(b->ops, &b->cap, b->count + 1, sizeof(*b->ops));
    b->ops[b->count++] = (struct op){.kind = ENTRY_PUT, .key = copy(key), .value = copy(value)};
    return ST_OK;
}
static void bulk_abort(struct kv_bulk *bulk) {
    struct mbulk *b = (struct mbulk *) bulk;
    for (size_t i = 0; i < b->count; i++) drop(b->ops[i].key), drop(b->ops[i].value);
    free(b->ops);
    free(b);
}
static status bulk_commit(struct kv_bulk *bulk, struct err *err) {
    (void) err;
    struct mbulk *b = (struct mbulk *) bulk;
    struct model *m = b->t->m;
    for (size_t i = 0; i < b->count; i++) {
        add_version(m, b->ops[i].key, ENTRY_PUT, b->ops[i].value, b->t->snapshot, true);
        for (size_t r = 0; r < m->range_count; r++)
            if (m->ranges[r].seq > b->t->snapshot && slice_compare(m->ranges[r].lo, b->ops[i].key) <= 0 &&
                slice_compare(b->ops[i].key, m->ranges[r].hi) < 0)
                add_version(m, b->ops[i].key, ENTRY_DELETE, SLICE_NONE, m->ranges[r].seq, true);
    }
    bulk_abort(bulk);
    return ST_OK;
}

static void close_kv(struct kv *kv) {
    struct model *m = (struct model *) kv;
    for (size_t i = 0; i < m->key_count; i++) {
        for (size_t v = 0; v < m->keys[i].count; v++) drop(m->keys[i].versions[v].value);
        free(m->keys[i].versions);
        drop(m->keys[i].name);
    }
    for (size_t i = 0; i < m->range_count; i++) drop(m->ranges[i].lo), drop(m->ranges[i].hi);
    for (size_t i = 0; i < m->counter_count; i++) drop(m->counters[i].name);
    free(m->keys);
    free(m->ranges);
    free(m->counters);
    free(m);
}

static const struct kv_ops model_ops = {
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
    .cursor = cursor_open,
    .estimate = estimate,
    .bulk_begin = bulk_begin,
    .seek_ge = seek_ge,
    .seek_le = seek_le,
    .first = first,
    .last = last,
    .next = next,
    .prev = prev,
    .count = count,
    .key = cursor_key,
    .value = cursor_value,
    .rest = cursor_rest,
    .cursor_close = cursor_close,
    .bulk_put = bulk_put,
    .bulk_commit = bulk_commit,
    .bulk_abort = bulk_abort,
};

struct kv *model_kv_new(void) {
    struct model *m = calloc(1, sizeof(*m));
    must(m != NULL);
    m->base.ops = &model_ops;
    return &m->base;
}
