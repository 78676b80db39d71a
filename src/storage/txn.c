/* Transactions: a snapshot, a private buffer in front of it, intents and locks.
 *
 * begin -> writes: intent, look for newer commits, buffer -> commit: large values to their extents, one record, the queue -> publish -> release
 *
 * The order of releasing matters (intents.h): intents go after the sequence is published, so that whoever comes next meets one or the other.
 */
#include <assert.h>

#include "base/endian.h"
#include "storage/batch.h"
#include "storage/engine.h"

/* A value that is lent as a copy. Kept in a list of the transaction for reuse. One that lies in a block or memtable holds on to that. */
struct lent {
    struct lsm_txn *t;
    void *copy;
    size_t copy_len;
    struct lent *next;
};

static struct lsm_txn *txn_of(struct kv_txn *t) { return (struct lsm_txn *) t; }

static status txn_begin(struct kv *kv, bool read_only, struct kv_txn **out, struct err *err) {
    struct lsm *l = lsm_of(kv);
    struct lsm_txn *t = mem_new(l->mem, struct lsm_txn);
    if (t == NULL) return RAISE(err, ST_NOMEM, "transaction");
    status st = snapshots_acquire(l->snapshots, &t->snapshot, err);
    if (st != ST_OK) {
        mem_delete(l->mem, t);
        return st;
    }
    t->base.ops = &lsm_kv_ops;
    t->l = l;
    t->read_only = read_only;
    t->slot = atomic_fetch_add_explicit(&l->next_slot, 1, memory_order_relaxed) % READER_SLOTS;
    if (!read_only) {
        intent_owner_init(&t->intents, l->mem);
        lock_owner_init(&t->locks);
    }
    *out = &t->base;
    return ST_OK;
}

static void txn_abort(struct kv_txn *txn) {
    struct lsm_txn *t = txn_of(txn);
    struct lsm *l = t->l;
    assert(t->cursor_count == 0);
    snapshots_release(l->snapshots, &t->snapshot);
    if (!t->read_only) {
        intents_release_all(l->intents, &t->intents);
        locks_release_all(l->locks, &t->locks);
    }
    write_buffer_free(t->buffer);
    for (struct lent *e = t->free_lents, *next; e != NULL; e = next) {
        next = e->next;
        mem_delete(l->mem, e);
    }
    mem_delete(l->mem, t);
}

/* --- reading --- */

static void unlend(struct kv_value *v) {
    struct lent *e = v->pin;
    struct lsm_txn *t = e->t;
    mem_free(t->l->mem, e->copy, e->copy_len);
    *e = (struct lent){.t = t, .next = t->free_lents};
    t->free_lents = e;
}

static void unlend_block(struct kv_value *v) { cache_unpin(v->owner, v->pin); }
static void unlend_table(struct kv_value *v) { memtable_unref(v->pin); }

static struct lent *lent_new(struct lsm_txn *t) {
    struct lent *e = t->free_lents;
    if (e == NULL) {
        e = mem_new(t->l->mem, struct lent);
        if (e != NULL) e->t = t;
        return e;
    }
    t->free_lents = e->next;
    e->next = NULL;
    return e;
}

/* Lends a copy of `bytes`, or room of that length when bytes.p is NULL. */
static status lend_copy(struct lsm_txn *t, struct slice bytes, struct kv_value *out, struct err *err) {
    struct lent *e = lent_new(t);
    if (e == NULL) return RAISE(err, ST_NOMEM, "value");
    *out = (struct kv_value){.pin = e, .unpin = unlend};
    e->copy = mem_alloc(t->l->mem, bytes.len + 1);
    if (e->copy == NULL) {
        kv_value_release(out);
        return RAISE(err, ST_NOMEM, "value of %zu bytes", bytes.len);
    }
    e->copy_len = bytes.len + 1;
    if (bytes.p != NULL && bytes.len > 0) memcpy(e->copy, bytes.p, bytes.len);
    out->bytes = slice_of(e->copy, bytes.len);
    return ST_OK;
}

static status lend_large(struct lsm_txn *t, struct slice encoded, struct kv_value *out, struct err *err) {
    struct large_ref ref;
    TRY(large_ref_decode(encoded, &ref, err));
    TRY(lend_copy(t, slice_of(NULL, (size_t) ref.len), out, err));
    status st = large_read(t->l->store, &ref, ((struct lent *) out->pin)->copy, err);
    if (st != ST_OK) kv_value_release(out);
    return st;
}

static status lend_count(struct lsm_txn *t, int64_t count, struct kv_value *out, struct err *err) {
    uint8_t bytes[8];
    put_le64(bytes, (uint64_t) count);
    return lend_copy(t, slice_of(bytes, 8), out, err);
}

/* Lends what was found in the version; takes f over. */
static status lend_found(struct lsm_txn *t, struct version *v, struct slice key, struct found *f, struct kv_value *out,
                         struct err *err) {
    if (f->e.kind == ENTRY_ADD) {
        int64_t sum;
        TRY(lookup_sum(t->l, v, key, f, &sum, err));
        return lend_count(t, sum, out, err);
    }
    if (f->e.kind == ENTRY_LARGE) {
        status st = lend_large(t, f->e.value, out, err);
        found_release(t->l, f);
        return st;
    }
    *out = f->block != NULL
        ? (struct kv_value){.bytes = f->e.value, .pin = f->block, .owner = t->l->cache, .unpin = unlend_block}
        : (struct kv_value){.bytes = f->e.value, .pin = memtable_ref(f->table), .unpin = unlend_table};
    if (out->bytes.p == NULL) out->bytes.p = (const uint8_t *) ""; /* NULL means absent */
    return ST_OK;
}

/* Below the transaction's buffer, inside a reader slot. */
static status get_below(struct lsm_txn *t, struct version *v, struct slice key, struct kv_value *out, struct err *err) {
    struct found f;
    TRY(lookup(t->l, v, key, t->snapshot.seq, &f, err));
    return lend_found(t, v, key, &f, out, err);
}

/* An add in the buffer on what lies below. */
static status get_sum(struct lsm_txn *t, struct version *v, struct slice key, struct slice delta, struct kv_value *out,
                      struct err *err) {
    int64_t own = counter_of(delta), sum = 0;
    struct kv_value below = KV_VALUE_INIT;
    status st = ST_NOT_FOUND;
    if (!write_buffer_covers(t->buffer, key, STATEMENT_ALL, NULL, NULL)) st = get_below(t, v, key, &below, err);
    if (status_failed(st)) return st;
    if (st == ST_OK) sum = counter_of(below.bytes);
    kv_value_release(&below);
    return lend_count(t, (int64_t) ((uint64_t) own + (uint64_t) sum), out, err);
}

static status get_in(struct lsm_txn *t, struct version *v, struct slice key, struct kv_value *out, struct err *err) {
    struct entry e;
    if (t->buffer != NULL && write_buffer_get(t->buffer, key, STATEMENT_ALL, &e) == ST_OK) {
        if (e.kind == ENTRY_DELETE) return ST_NOT_FOUND;
        if (e.kind == ENTRY_ADD) return get_sum(t, v, key, e.value, out, err);
        return lend_copy(t, e.value.p != NULL ? e.value : SLICE_LIT(""), out, err);
    }
    if (t->buffer != NULL && write_buffer_covers(t->buffer, key, STATEMENT_ALL, NULL, NULL)) return ST_NOT_FOUND;
    return get_below(t, v, key, out, err);
}

static status txn_get(struct kv_txn *txn, struct slice key, struct kv_value *out, struct err *err) {
    struct lsm_txn *t = txn_of(txn);
    assert(out->pin == NULL);
    *out = KV_VALUE_INIT;
    struct version *v = version_enter(t->l, t->slot);
    status st = get_in(t, v, key, out, err);
    version_leave(t->l, t->slot);
    return st;
}

/* Up to LOOKUP_GROUP reads of a transaction that wrote nothing, in step. */
static status get_group(struct lsm_txn *t, struct version *v, size_t n, const struct slice *keys, struct kv_value *out,
                        struct err *err) {
    struct found found[LOOKUP_GROUP];
    status answers[LOOKUP_GROUP], st = ST_OK;
    TRY(lookup_many(t->l, v, n, keys, t->snapshot.seq, found, answers, err));
    for (size_t i = 0; i < n; i++) {
        if (answers[i] != ST_OK) continue;
        if (st == ST_OK) st = lend_found(t, v, keys[i], &found[i], &out[i], err);
        else found_release(t->l, &found[i]);
        if (st == ST_NOT_FOUND) st = ST_OK;
    }
    return st;
}

static status txn_get_many(struct kv_txn *txn, size_t n, const struct slice *keys, struct kv_value *out,
                           struct err *err) {
    struct lsm_txn *t = txn_of(txn);
    status st = ST_OK;
    struct version *v = version_enter(t->l, t->slot);
    for (size_t i = 0; i < n; i++) out[i] = KV_VALUE_INIT;
    for (size_t i = 0; i < n && !status_failed(st);) {
        size_t step = t->buffer == NULL ? n - i < LOOKUP_GROUP ? n - i : LOOKUP_GROUP : 1;
        st = t->buffer == NULL ? get_group(t, v, step, keys + i, out + i, err) : get_in(t, v, keys[i], &out[i], err);
        i += step;
    }
    version_leave(t->l, t->slot);
    if (!status_failed(st)) return ST_OK;
    for (size_t i = 0; i < n; i++) kv_value_release(&out[i]);
    return st;
}

/* --- writing --- */

static status may_write(struct lsm_txn *t, struct err *err) {
    if (t->read_only) return RAISE(err, ST_READ_ONLY, "a read-only transaction cannot write");
    if (t->l->wal == NULL || atomic_load_explicit(&t->l->is_broken, memory_order_relaxed)) TRY(lsm_refuse(t->l, err));
    if (t->buffer != NULL) return ST_OK;
    TRY(write_buffer_new(t->l->mem, t->l->opts.txn_bytes_max, &t->buffer, err));
    while (write_buffer_statement(t->buffer) < t->statement) (void) write_buffer_next_statement(t->buffer);
    return ST_OK;
}

static status check_key(struct slice key, struct err *err) {
    if (key.len > 0 && key.len <= KV_KEY_LEN_MAX) return ST_OK;
    return RAISE(err, ST_INVALID, "a key has 1 to %zu bytes, not %zu", KV_KEY_LEN_MAX, key.len);
}

/* First updater wins: the intent first, then newer commits. */
static status claim(struct lsm_txn *t, struct slice key, enum intent_kind kind, struct err *err) {
    TRY(intents_acquire(t->l->intents, &t->intents, key, kind, err));
    struct version *v = version_enter(t->l, t->slot);
    status st = lookup_newer(t->l, v, key, t->snapshot.seq, kind == INTENT_ADD, err);
    version_leave(t->l, t->slot);
    return st;
}

static status put(struct kv_txn *txn, struct slice key, struct slice value, bool is_blind, struct err *err) {
    struct lsm_txn *t = txn_of(txn);
    TRY(may_write(t, err));
    TRY(check_key(key, err));
    if (value.len > KV_VALUE_LEN_MAX)
        return RAISE(err, ST_TOO_LARGE, "a value has at most %zu bytes, not %zu", KV_VALUE_LEN_MAX, value.len);
    if (!is_blind) TRY(claim(t, key, INTENT_WRITE, err));
    return write_buffer_put(t->buffer, key, value, err);
}

static status txn_put(struct kv_txn *t, struct slice key, struct slice value, struct err *err) {
    return put(t, key, value, false, err);
}
static status txn_put_blind(struct kv_txn *t, struct slice key, struct slice value, struct err *err) {
    return put(t, key, value, true, err);
}

static status txn_add(struct kv_txn *txn, struct slice key, int64_t delta, struct err *err) {
    struct lsm_txn *t = txn_of(txn);
    TRY(may_write(t, err));
    TRY(check_key(key, err));
    TRY(claim(t, key, INTENT_ADD, err));
    return write_buffer_add(t->buffer, key, delta, err);
}

static status txn_delete(struct kv_txn *txn, struct slice key, struct err *err) {
    struct lsm_txn *t = txn_of(txn);
    TRY(may_write(t, err));
    TRY(check_key(key, err));
    TRY(claim(t, key, INTENT_WRITE, err));
    return write_buffer_delete(t->buffer, key, err);
}

static status txn_delete_range(struct kv_txn *txn, struct slice lo, struct slice hi, struct err *err) {
    struct lsm_txn *t = txn_of(txn);
    TRY(may_write(t, err));
    if (lo.len == 0) lo = slice_of("", 1); /* the least key is one zero byte */
    if (lo.len > KV_KEY_LEN_MAX || hi.len > KV_KEY_LEN_MAX)
        return RAISE(err, ST_INVALID, "a bound has at most %zu bytes", KV_KEY_LEN_MAX);
    if (slice_compare(lo, hi) >= 0) return ST_OK;
    TRY(intents_acquire_range(t->l->intents, &t->intents, lo, hi, err));
    struct version *v = version_enter(t->l, t->slot);
    status st = lookup_newer_in(t->l, v, lo, hi, t->snapshot.seq, err);
    version_leave(t->l, t->slot);
    TRY(st);
    return write_buffer_delete_range(t->buffer, lo, hi, err);
}

/* What a lock protects must not have changed after the snapshot. */
static status txn_lock(struct kv_txn *txn, struct slice key, bool exclusive, uint64_t timeout_ms, struct err *err) {
    struct lsm_txn *t = txn_of(txn);
    if (t->read_only) return RAISE(err, ST_READ_ONLY, "a read-only transaction takes no locks");
    TRY(locks_acquire(t->l->locks, &t->locks, key, exclusive, timeout_ms, err));
    struct err why = ERR_INIT;
    struct version *v = version_enter(t->l, t->slot);
    status st = lookup_newer(t->l, v, key, t->snapshot.seq, false, &why);
    version_leave(t->l, t->slot);
    if (st == ST_CONFLICT)
        return RAISE(err, ST_STALE, "what the lock protects was changed after this transaction began");
    if (st != ST_OK && err != NULL) *err = why;
    return st;
}

static uint32_t txn_next_statement(struct kv_txn *txn) {
    struct lsm_txn *t = txn_of(txn);
    if (t->buffer != NULL) (void) write_buffer_next_statement(t->buffer);
    return ++t->statement;
}
static struct kv_mark txn_mark(struct kv_txn *txn) {
    struct lsm_txn *t = txn_of(txn);
    return (struct kv_mark){t->buffer != NULL ? write_buffer_mark(t->buffer) : 0, t->statement};
}
static void txn_rollback_to(struct kv_txn *txn, struct kv_mark mark) {
    struct lsm_txn *t = txn_of(txn);
    if (t->buffer != NULL) write_buffer_rollback_to(t->buffer, mark.at);
}

/* --- commit --- */

struct recording {
    struct lsm *l;
    struct buf out;
    struct buf scratch;      /* an encoded large_ref */
    struct large_ref *large; /* written by this transaction */
    size_t large_count, large_cap;
    uint64_t entry_count, bytes;
    bool has_ranges;
    struct err *err;
};

static status record_range(void *ctx, struct slice lo, struct slice hi) {
    struct recording *r = ctx;
    batch_add_range(&r->out, lo, hi);
    r->bytes += lo.len + hi.len;
    return ST_OK;
}

static status record_large(struct recording *r, const struct entry *e) {
    void *array = r->large;
    if (!mem_grow(r->l->mem, &array, &r->large_cap, r->large_count + 1, sizeof(*r->large)))
        return RAISE(r->err, ST_NOMEM, "large values");
    r->large = array;
    TRY(large_write(r->l->store, e->value, &r->large[r->large_count], r->err));
    buf_clear(&r->scratch);
    struct large_ref *ref = &r->large[r->large_count++];
    TRY(large_ref_encode(ref, &r->scratch, r->err));
    if (r->scratch.failed) return RAISE(r->err, ST_NOMEM, "large value");
    batch_add(&r->out, ENTRY_LARGE, e->key, buf_slice(&r->scratch));
    r->bytes += e->key.len + r->scratch.len;
    return ST_OK;
}

static status record_entry(void *ctx, const struct entry *e) {
    struct recording *r = ctx;
    r->entry_count++;
    if (e->kind == ENTRY_PUT && e->value.len >= LARGE_LEN_MIN) return record_large(r, e);
    batch_add(&r->out, e->kind, e->key, e->value);
    r->bytes += e->key.len + e->value.len;
    return ST_OK;
}

/* A failure sticks to the store: nothing more could be flushed (K8). */
static status sync_large(struct lsm *l, struct err *err) {
    status st = store_sync(l->store, err);
    if (st != ST_OK) lsm_break(l, err);
    return st;
}

/* The transaction as one record, its large values on disk. */
static status record(struct lsm_txn *t, struct recording *r) {
    struct write_buffer_totals totals = write_buffer_totals(t->buffer);
    batch_begin(&r->out, totals.entry_count, totals.range_count);
    TRY(write_buffer_final(t->buffer, record_range, record_entry, r));
    assert(r->entry_count == totals.entry_count);
    if (r->out.failed)
        return RAISE(r->err, ST_NOMEM, "a commit of %llu entries", (unsigned long long) totals.entry_count);
    if (r->out.len > WAL_RECORD_LEN_MAX)
        return RAISE(r->err, ST_TOO_LARGE, "a transaction of %zu bytes, at most %zu", r->out.len, WAL_RECORD_LEN_MAX);
    r->has_ranges = totals.range_count > 0;
    return r->large_count > 0 ? sync_large(t->l, r->err) : ST_OK;
}

static status commit_buffer(struct lsm_txn *t, enum kv_sync sync, struct err *err) {
    struct lsm *l = t->l;
    struct err own = ERR_INIT;
    struct recording r = {.l = l, .err = &own};
    buf_init(&r.out, l->mem);
    buf_init(&r.scratch, l->mem);
    status st = lsm_refuse(l, &own);
    if (st == ST_OK) st = maintain_make_room(l, &own);
    if (st == ST_OK) st = record(t, &r);
    if (st == ST_OK) {
        struct commit_wait w = {.record = buf_slice(&r.out),
                                .seq_at = r.out.p + BATCH_SEQ_AT,
                                .entry_count = r.entry_count,
                                .bytes = r.bytes,
                                .wants_sync = sync == KV_SYNC,
                                .has_ranges = r.has_ranges};
        st = commit_wait(l, &w, &own);
    }
    /* Whether the record counts after a crash is open: then its extents stay taken until the next open. */
    if (st != ST_OK && st != ST_OUTCOME_UNKNOWN)
        for (size_t i = 0; i < r.large_count; i++) store_forfeit(l->store, r.large[i].extents, r.large[i].extent_count);
    mem_free(l->mem, r.large, r.large_cap * sizeof(*r.large));
    buf_release(&r.out);
    buf_release(&r.scratch);
    if (st != ST_OK && err != NULL) *err = own;
    return st;
}

static status txn_commit(struct kv_txn *txn, enum kv_sync sync, struct err *err) {
    struct lsm_txn *t = txn_of(txn);
    struct lsm *l = t->l;
    status st = ST_OK;
    bool wrote = t->buffer != NULL && !write_buffer_is_empty(t->buffer);
    if (wrote) st = commit_buffer(t, sync, err);
    txn_abort(txn);
    if (wrote && st == ST_OK && l->opts.threads == 0) (void) maintain_here(l, NULL);
    return st;
}

static status kv_sync_all(struct kv *kv, struct err *err) {
    struct lsm *l = lsm_of(kv);
    if (l->wal == NULL) return ST_OK;
    TRY(lsm_refuse(l, err));
    if (l->opts.sync != LSM_SYNC_FULL) return ST_OK;
    struct err own = ERR_INIT;
    status st = wal_sync(l->wal, wal_last_lsn(l->wal), &own);
    (void) atomic_fetch_add_explicit(&l->sync_count, 1, memory_order_relaxed);
    if (st != ST_OK) {
        lsm_break(l, &own);
        if (err != NULL) *err = own;
    }
    return st;
}

/* --- estimate --- */

static status txn_estimate(struct kv_txn *txn, const struct kv_bounds *b, struct kv_estimate *out, struct err *err) {
    struct lsm_txn *t = txn_of(txn);
    struct kv_bounds all = {0};
    if (b == NULL) b = &all;
    struct kv_estimate sum = {0};
    status st = ST_OK;
    struct version *v = version_enter(t->l, t->slot);
    for (size_t i = 0; i < v->table_count; i++) {
        uint64_t n = memtable_estimate(v->tables[i].m, b->lo, b->hi), entries = memtable_entry_count(v->tables[i].m);
        sum.entries += n;
        if (entries > 0)
            sum.bytes += (uint64_t) ((double) memtable_used(v->tables[i].m) / (double) entries * (double) n);
    }
    for (size_t i = 0; i < v->run_count && st == ST_OK; i++) {
        uint64_t entries = 0, bytes = 0;
        if (!run_overlaps(v->runs[i], b->lo, b->hi, true)) continue;
        st = segment_estimate(v->runs[i]->seg, b->lo, b->hi, &entries, &bytes, err);
        sum.entries += entries;
        sum.bytes += bytes;
    }
    version_leave(t->l, t->slot);
    if (st == ST_OK) *out = sum;
    return st;
}

const struct kv_ops lsm_kv_ops = {
    .close = lsm_kv_close,
    .begin = txn_begin,
    .commit = txn_commit,
    .abort = txn_abort,
    .sync = kv_sync_all,
    .get = txn_get,
    .get_many = txn_get_many,
    .put = txn_put,
    .put_blind = txn_put_blind,
    .add = txn_add,
    .del = txn_delete,
    .del_range = txn_delete_range,
    .lock = txn_lock,
    .sequence = sequence_next,
    .next_statement = txn_next_statement,
    .mark = txn_mark,
    .rollback_to = txn_rollback_to,
    .cursor = cursor_new,
    .estimate = txn_estimate,
    .bulk_begin = bulk_new,
    .seek_ge = cursor_seek_ge,
    .seek_le = cursor_seek_le,
    .first = cursor_first,
    .last = cursor_last,
    .next = cursor_next,
    .prev = cursor_prev,
    .count = cursor_count,
    .key = cursor_key,
    .value = cursor_value,
    .rest = cursor_rest,
    .cursor_close = cursor_close,
    .bulk_put = bulk_put,
    .bulk_commit = bulk_commit,
    .bulk_abort = bulk_abort,
};
