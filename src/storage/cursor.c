/* A transaction's cursor: its buffer, the memtables and the segments of one version as one sequence of visible keys.
 *
 * Forward, the merge gives the versions of a key from new to old. On a plain value the cursor stands in place: key and value are lent from the source. Otherwise
 * (an add is summed) it stands on copies and the merge is already past the key. Backward, versions come from old to new, so the cursor always
 * folds them into copies and the merge is past the key.
 *
 *   place / next:  skip the versions of the last key -> the first version <= snapshot decides -> stand, or skip the key
 *   turning round: seek again from the key that it stands on
 *   rest:          keeps the key, lets go of sources and version; the next call opens the current version and seeks
 *
 * Range deletes: the answer for one key holds for a stretch of keys around it and is kept for that long.
 *
 * INVARIANTS
 *   C1  When `stands`: at_key and at_value are what key and value answer; if not in_place, at_key is in `key`.
 *   C2  Own writes have sequence SEQ_MAX and come before all others of a key.
 */
#include <assert.h>

#include "base/endian.h"
#include "storage/engine.h"

enum direction { FORWARD, BACKWARD };

struct lsm_cursor {
    struct kv_cursor base;
    struct lsm_txn *t;
    struct lsm *l;
    struct slice lo, hi; /* owned, in one piece */
    uint32_t limit;      /* own writes of statements below it */
    bool is_open, stands, in_place, is_large, is_resting;
    enum direction direction;
    status failed;
    struct err *failure;
    struct version *v;
    struct merge merge;
    struct fragments *active_cover;
    bool has_cover, cover_is_known, own_is_covered;
    uint64_t cover; /* for keys in [cover_from, cover_until) */
    struct slice cover_from, cover_until;
    struct buf key, value, large;
    struct slice at_key, at_value;
};

static struct lsm_cursor *cursor_of(struct kv_cursor *c) { return (struct lsm_cursor *) c; }

/* --- opening and closing the sources --- */

static void close_sources(struct lsm_cursor *c) {
    if (!c->is_open) return;
    merge_release(&c->merge);
    fragments_unref(c->active_cover);
    version_unpin(c->v);
    c->active_cover = NULL;
    c->v = NULL;
    c->is_open = false;
}

static bool in_bounds(const struct lsm_cursor *c, const struct run *r) {
    return r->meta->entry_count > 0 && run_overlaps(r, c->lo, c->hi, true);
}

static status push_tables(struct lsm_cursor *c, struct err *err) {
    struct source *s;
    if (c->limit > 0 && c->t->buffer != NULL && !write_buffer_is_empty(c->t->buffer)) {
        TRY(write_buffer_cursor(c->t->buffer, c->limit, &s, err));
        merge_push(&c->merge, s);
    }
    for (size_t i = 0; i < c->v->table_count; i++) {
        if (memtable_entry_count(c->v->tables[i].m) == 0 || memtable_min_seq(c->v->tables[i].m) > c->t->snapshot.seq)
            continue;
        TRY(memtable_cursor(c->v->tables[i].m, &s, err));
        merge_push(&c->merge, s);
    }
    return ST_OK;
}

static status push_runs(struct lsm_cursor *c, struct err *err) {
    struct source *s;
    for (size_t i = 0; i < c->v->level_at[1]; i++) {
        if (!in_bounds(c, c->v->runs[i])) continue;
        TRY(segment_cursor(c->v->runs[i]->seg, true, &s, err));
        merge_push(&c->merge, s);
    }
    for (uint32_t level = 1; level < LEVEL_COUNT; level++) {
        size_t from, to;
        version_overlap(c->v, level, c->lo, c->hi, true, &from, &to);
        if (from == to) continue;
        TRY(level_source_new(c->l->mem, &c->v->runs[from], to - from, true, &s, err));
        merge_push(&c->merge, s);
    }
    return ST_OK;
}

static status open_sources(struct lsm_cursor *c, struct err *err) {
    c->v = version_pin(c->l);
    merge_init(&c->merge, c->l->mem);
    c->is_open = true;
    status st = merge_reserve(&c->merge, 1 + c->v->table_count + c->v->level_at[1] + LEVEL_COUNT, err);
    if (st == ST_OK) st = push_tables(c, err);
    if (st == ST_OK) st = push_runs(c, err);
    if (st != ST_OK) {
        close_sources(c);
        return st;
    }
    c->active_cover = memtable_range_deletes(c->v->tables[0].m);
    c->has_cover = c->v->cover != NULL || c->active_cover != NULL;
    c->cover_is_known = false;
    return ST_OK;
}

/* --- range deletes --- */

static void narrow(struct lsm_cursor *c, struct slice from, struct slice until) {
    if (from.len != 0 && (c->cover_from.len == 0 || slice_compare(from, c->cover_from) > 0)) c->cover_from = from;
    if (until.len != 0 && (c->cover_until.len == 0 || slice_compare(until, c->cover_until) < 0)) c->cover_until = until;
}

static void find_cover(struct lsm_cursor *c, struct slice key) {
    struct slice from, until;
    c->cover = 0;
    c->cover_from = c->cover_until = SLICE_NONE;
    const struct fragments *both[2] = {c->v->cover, c->active_cover};
    for (size_t i = 0; i < 2; i++) {
        if (both[i] == NULL) continue;
        from = until = SLICE_NONE;
        uint64_t seq = fragments_cover_until(both[i], key, c->t->snapshot.seq, &from, &until);
        if (seq > c->cover) c->cover = seq;
        narrow(c, from, until);
    }
    c->cover_is_known = true;
}

/* Whether a committed version of `key` with this sequence is under a range delete that the cursor sees. */
static bool find_covered(struct lsm_cursor *c, struct slice key, uint64_t seq) {
    if (c->limit > 0 && c->t->buffer != NULL && write_buffer_covers(c->t->buffer, key, c->limit, NULL, NULL))
        return true;
    if (!c->has_cover) return false;
    if (!c->cover_is_known || (c->cover_until.len != 0 && slice_compare(key, c->cover_until) >= 0) ||
        (c->cover_from.len != 0 && slice_compare(key, c->cover_from) < 0))
        find_cover(c, key);
    return seq < c->cover;
}
static inline bool is_covered(struct lsm_cursor *c, struct slice key, uint64_t seq) {
    return (c->has_cover || c->t->buffer != NULL) && find_covered(c, key, seq);
}

/* --- settling on a visible key --- */

static status keep_key(struct lsm_cursor *c, struct slice key, struct err *err) {
    if (key.p == c->key.p) return ST_OK; /* already there */
    c->key.len = 0;
    c->key.failed = false;
    if (!buf_append_slice(&c->key, key)) return RAISE(err, ST_NOMEM, "key of %zu bytes", key.len);
    return ST_OK;
}

static inline bool at_kept_key(const struct lsm_cursor *c) {
    struct slice key = merge_at(&c->merge)->key;
    return key.len == c->key.len && memcmp(key.p, c->key.p, key.len) == 0;
}

/* Steps over all further versions of the kept key. */
static status skip_key(struct lsm_cursor *c, struct err *err) {
    status st = ST_OK;
    while (merge_stands(&c->merge) && at_kept_key(c) && st == ST_OK) st = merge_step(&c->merge, err);
    return st == ST_END ? ST_OK : st;
}

static inline bool is_visible(const struct lsm_cursor *c, const struct entry *e) {
    return e->seq <= c->t->snapshot.seq || e->seq == SEQ_MAX;
}

static status stand_on_count(struct lsm_cursor *c, uint64_t sum, struct err *err) {
    uint8_t bytes[8];
    put_le64(bytes, sum);
    c->value.len = 0;
    c->value.failed = false;
    if (!buf_append(&c->value, bytes, 8)) return RAISE(err, ST_NOMEM, "counter");
    c->at_key = buf_slice(&c->key);
    c->at_value = buf_slice(&c->value);
    c->stands = true;
    c->in_place = c->is_large = false;
    return ST_OK;
}

/* The merge stands on a visible ADD: sums down to a value or nothing, and goes past the key. */
static status sum_forward(struct lsm_cursor *c, struct err *err) {
    uint64_t sum = 0;
    TRY(keep_key(c, merge_at(&c->merge)->key, err));
    while (merge_stands(&c->merge) && at_kept_key(c)) {
        const struct entry *e = merge_at(&c->merge);
        if (is_visible(c, e)) {
            if (e->seq != SEQ_MAX && is_covered(c, e->key, e->seq)) break;
            if (e->kind == ENTRY_PUT || e->kind == ENTRY_ADD) sum += (uint64_t) counter_of(e->value);
            if (e->kind != ENTRY_ADD) break;
        }
        status st = merge_step(&c->merge, err);
        if (st == ST_END) break;
        TRY(st);
    }
    TRY(skip_key(c, err));
    return stand_on_count(c, sum, err);
}

/* Forward: the merge stands on the newest version of a key not yet given, or at the end. */
static status settle_forward(struct lsm_cursor *c, struct err *err) {
    c->direction = FORWARD;
    while (merge_stands(&c->merge)) {
        const struct entry *e = merge_at(&c->merge);
        if (c->hi.len != 0 && slice_compare(e->key, c->hi) >= 0) return ST_END;
        if (!is_visible(c, e)) {
            status st = merge_step(&c->merge, err);
            if (st == ST_END) return ST_END;
            TRY(st);
            continue;
        }
        if (e->kind == ENTRY_DELETE || (e->seq != SEQ_MAX && is_covered(c, e->key, e->seq))) {
            TRY(keep_key(c, e->key, err));
            TRY(skip_key(c, err));
            continue;
        }
        if (e->kind == ENTRY_ADD) return sum_forward(c, err);
        c->at_key = e->key;
        c->at_value = e->value;
        c->is_large = e->kind == ENTRY_LARGE;
        c->stands = c->in_place = true;
        return ST_OK;
    }
    return ST_END;
}

/* What the versions of a key come to, taken from old to new. */
struct folded {
    bool is_present, is_count, is_large;
    uint64_t count;
};

static status fold_in(struct lsm_cursor *c, struct folded *f, const struct entry *e, struct err *err) {
    if (e->kind == ENTRY_DELETE) {
        *f = (struct folded){0};
        return ST_OK;
    }
    if (e->kind == ENTRY_ADD) {
        uint64_t base = !f->is_present || f->is_large ? 0
            : f->is_count                             ? f->count
                                                      : (uint64_t) counter_of(buf_slice(&c->value));
        *f = (struct folded){.is_present = true, .is_count = true, .count = base + (uint64_t) counter_of(e->value)};
        return ST_OK;
    }
    c->value.len = 0;
    c->value.failed = false;
    if (!buf_append_slice(&c->value, e->value)) return RAISE(err, ST_NOMEM, "value of %zu bytes", e->value.len);
    *f = (struct folded){.is_present = true, .is_large = e->kind == ENTRY_LARGE};
    return ST_OK;
}

/* Backward: the merge stands on the oldest version of a key not yet given, or at the end. */
static status settle_backward(struct lsm_cursor *c, struct err *err) {
    c->direction = BACKWARD;
    while (merge_stands(&c->merge)) {
        if (slice_compare(merge_at(&c->merge)->key, c->lo) < 0) return ST_END;
        TRY(keep_key(c, merge_at(&c->merge)->key, err));
        struct folded f = {0};
        status st = ST_OK;
        while (st == ST_OK && at_kept_key(c)) {
            const struct entry *e = merge_at(&c->merge);
            if (is_visible(c, e) && (e->seq == SEQ_MAX || !is_covered(c, e->key, e->seq))) TRY(fold_in(c, &f, e, err));
            st = merge_step(&c->merge, err);
        }
        if (status_failed(st)) return st;
        if (!f.is_present) continue;
        if (f.is_count) return stand_on_count(c, f.count, err);
        c->at_key = buf_slice(&c->key);
        c->at_value = buf_slice(&c->value);
        c->is_large = f.is_large;
        c->stands = true;
        c->in_place = false;
        return ST_OK;
    }
    return ST_END;
}

/* --- moving --- */

static status settled(struct lsm_cursor *c, status st, struct err *own, struct err *err) {
    if (!status_failed(st)) {
        if (st != ST_OK) c->stands = false;
        return st;
    }
    c->stands = false;
    c->failed = st;
    if (c->failure == NULL) c->failure = mem_new(c->l->mem, struct err);
    if (c->failure != NULL) *c->failure = *own;
    if (err != NULL) *err = *own;
    return st;
}

static status start(struct lsm_cursor *c, struct err *own, struct err *err) {
    if (c->failed != ST_OK) {
        if (err != NULL && c->failure != NULL) *err = *c->failure;
        return c->failed;
    }
    c->is_resting = false;
    if (c->is_open) return ST_OK;
    return open_sources(c, own);
}

static status go_first(struct lsm_cursor *c, struct err *err) {
    status st = c->lo.len != 0 ? merge_seek_ge(&c->merge, c->lo, SEQ_MAX, err) : merge_first(&c->merge, err);
    return st == ST_OK ? settle_forward(c, err) : st;
}

/* The last key below `key`; key.p NULL: of all. */
static status go_below(struct lsm_cursor *c, struct slice key, struct err *err) {
    if (key.p == NULL) {
        status st = merge_last(&c->merge, err);
        return st == ST_OK ? settle_backward(c, err) : st;
    }
    status st = merge_seek_le(&c->merge, key, SEQ_MAX, err);
    while (st == ST_OK && slice_equal(merge_at(&c->merge)->key, key))
        st = merge_step(&c->merge, err); /* an own write of key: C2 */
    return st == ST_OK ? settle_backward(c, err) : st;
}

static status go_last(struct lsm_cursor *c, struct err *err) {
    return go_below(c, c->hi.len != 0 ? c->hi : SLICE_NONE, err);
}

static status go_ge(struct lsm_cursor *c, struct slice key, struct err *err) {
    if (slice_compare(key, c->lo) <= 0) return go_first(c, err);
    status st = merge_seek_ge(&c->merge, key, SEQ_MAX, err);
    return st == ST_OK ? settle_forward(c, err) : st;
}

static status go_le(struct lsm_cursor *c, struct slice key, struct err *err) {
    if (c->hi.len != 0 && slice_compare(key, c->hi) >= 0) return go_last(c, err);
    status st = merge_seek_le(&c->merge, key, 0, err);
    return st == ST_OK ? settle_backward(c, err) : st;
}

static status go_next(struct lsm_cursor *c, struct err *err) {
    if (c->in_place && c->direction == FORWARD) {
        TRY(keep_key(c, c->at_key, err));
        TRY(skip_key(c, err));
        return settle_forward(c, err);
    }
    if (c->direction == FORWARD && !c->in_place) return settle_forward(c, err);
    status st = merge_seek_ge(&c->merge, buf_slice(&c->key), 0, err);
    return st == ST_OK ? settle_forward(c, err) : st;
}

static status go_prev(struct lsm_cursor *c, struct err *err) {
    if (c->direction == BACKWARD) return settle_backward(c, err);
    TRY(keep_key(c, c->at_key, err));
    return go_below(c, buf_slice(&c->key), err);
}

status cursor_seek_ge(struct kv_cursor *cursor, struct slice key, struct err *err) {
    struct lsm_cursor *c = cursor_of(cursor);
    struct err own = ERR_INIT;
    status st = start(c, &own, err);
    if (c->failed != ST_OK) return st;
    return settled(c, st == ST_OK ? go_ge(c, key, &own) : st, &own, err);
}

status cursor_seek_le(struct kv_cursor *cursor, struct slice key, struct err *err) {
    struct lsm_cursor *c = cursor_of(cursor);
    struct err own = ERR_INIT;
    status st = start(c, &own, err);
    if (c->failed != ST_OK) return st;
    return settled(c, st == ST_OK ? go_le(c, key, &own) : st, &own, err);
}

status cursor_first(struct kv_cursor *cursor, struct err *err) {
    struct lsm_cursor *c = cursor_of(cursor);
    struct err own = ERR_INIT;
    status st = start(c, &own, err);
    if (c->failed != ST_OK) return st;
    return settled(c, st == ST_OK ? go_first(c, &own) : st, &own, err);
}

status cursor_last(struct kv_cursor *cursor, struct err *err) {
    struct lsm_cursor *c = cursor_of(cursor);
    struct err own = ERR_INIT;
    status st = start(c, &own, err);
    if (c->failed != ST_OK) return st;
    return settled(c, st == ST_OK ? go_last(c, &own) : st, &own, err);
}

/* After a rest: as if it had come from the other side, so that the key it kept is sought. */
static void turn_after_rest(struct lsm_cursor *c, enum direction wanted) {
    if (!c->is_resting) return;
    c->in_place = false;
    c->direction = wanted == FORWARD ? BACKWARD : FORWARD;
    c->at_key = buf_slice(&c->key);
}

status cursor_next(struct kv_cursor *cursor, struct err *err) {
    struct lsm_cursor *c = cursor_of(cursor);
    if (c->failed == ST_OK && !c->stands) return ST_END;
    struct err own;
    own.st = ST_OK;
    bool on_merge = c->stands && c->in_place && c->is_open && c->direction == FORWARD;
    if (on_merge && merge_leaves_key(&c->merge)) { /* nothing to skip */
        status moved = merge_step(&c->merge, &own);
        if (moved == ST_OK) moved = settle_forward(c, &own);
        return moved == ST_OK ? ST_OK : settled(c, moved, &own, err);
    }
    turn_after_rest(c, FORWARD);
    status st = start(c, &own, err);
    if (c->failed != ST_OK) return st;
    return settled(c, st == ST_OK ? go_next(c, &own) : st, &own, err);
}

status cursor_prev(struct kv_cursor *cursor, struct err *err) {
    struct lsm_cursor *c = cursor_of(cursor);
    if (c->failed == ST_OK && !c->stands) return ST_END;
    struct err own;
    own.st = ST_OK;
    turn_after_rest(c, BACKWARD);
    status st = start(c, &own, err);
    if (c->failed != ST_OK) return st;
    return settled(c, st == ST_OK ? go_prev(c, &own) : st, &own, err);
}

/* --- counting --- */

/* Many at once where the merge can tell that they count; else one. */
static status count_some(struct lsm_cursor *c, uint64_t max, uint64_t *n, struct err *err) {
    if (c->in_place && c->direction == FORWARD && !c->has_cover && c->t->buffer == NULL) {
        uint64_t passed = merge_pass(&c->merge, c->hi, c->t->snapshot.seq, max);
        *n += passed;
        if (passed > 0) return settle_forward(c, err);
    }
    ++*n;
    return go_next(c, err);
}

status cursor_count(struct kv_cursor *cursor, uint64_t max, uint64_t *n, struct err *err) {
    struct lsm_cursor *c = cursor_of(cursor);
    *n = 0;
    if (c->failed == ST_OK && !c->stands) return ST_END;
    struct err own;
    own.st = ST_OK;
    turn_after_rest(c, FORWARD);
    status st = start(c, &own, err);
    if (c->failed != ST_OK) return st;
    while (st == ST_OK && *n < max) st = count_some(c, max - *n, n, &own);
    return settled(c, st, &own, err);
}

/* --- what it stands on --- */

struct slice cursor_key(struct kv_cursor *cursor) {
    struct lsm_cursor *c = cursor_of(cursor);
    assert(c->stands);
    return c->at_key;
}

static status read_large(struct lsm_cursor *c, struct err *err) {
    struct large_ref ref;
    TRY(large_ref_decode(c->at_value, &ref, err));
    c->large.len = 0;
    c->large.failed = false;
    uint8_t *p = buf_extend(&c->large, (size_t) ref.len);
    if (p == NULL) return RAISE(err, ST_NOMEM, "value of %llu bytes", (unsigned long long) ref.len);
    TRY(large_read(c->l->store, &ref, p, err));
    c->at_value = buf_slice(&c->large);
    c->is_large = false;
    return ST_OK;
}

status cursor_value(struct kv_cursor *cursor, struct slice *out, struct err *err) {
    struct lsm_cursor *c = cursor_of(cursor);
    assert(c->stands || c->failed != ST_OK);
    struct err own;
    own.st = ST_OK;
    if (c->is_resting) {
        status st = start(c, &own, err);
        if (c->failed != ST_OK) return st;
        st = settled(c, st == ST_OK ? go_ge(c, buf_slice(&c->key), &own) : st, &own, err);
        if (st == ST_END) return RAISE(err, ST_NOT_FOUND, "the entry is gone");
        TRY(st);
    }
    if (c->is_large) {
        status st = read_large(c, &own);
        if (st != ST_OK) return settled(c, st, &own, err);
    }
    *out = c->at_value;
    return ST_OK;
}

void cursor_rest(struct kv_cursor *cursor) {
    struct lsm_cursor *c = cursor_of(cursor);
    if (!c->is_open) return;
    if (c->stands) {
        struct err own = ERR_INIT;
        if (keep_key(c, c->at_key, &own) != ST_OK) return; /* no memory for the key: stays as it is */
        c->at_key = buf_slice(&c->key);
        c->is_resting = true;
        c->is_large = false;
    }
    close_sources(c);
}

/* --- its life --- */

status cursor_new(struct kv_txn *txn, const struct kv_bounds *bounds, struct kv_cursor **out, struct err *err) {
    struct lsm_txn *t = (struct lsm_txn *) txn;
    struct kv_bounds all = {0};
    if (bounds == NULL) bounds = &all;
    size_t lo_len = bounds->lo.len, hi_len = bounds->hi.len;
    struct lsm_cursor *c = mem_zalloc(t->l->mem, sizeof(*c) + lo_len + hi_len);
    if (c == NULL) return RAISE(err, ST_NOMEM, "cursor");
    uint8_t *bytes = (uint8_t *) (c + 1);
    if (lo_len > 0) memcpy(bytes, bounds->lo.p, lo_len);
    if (hi_len > 0) memcpy(bytes + lo_len, bounds->hi.p, hi_len);
    c->lo = slice_of(bytes, lo_len);
    c->hi = slice_of(bytes + lo_len, hi_len);
    c->base.ops = &lsm_kv_ops;
    c->t = t;
    c->l = t->l;
    c->limit = t->statement;
    c->failed = ST_OK;
    buf_init(&c->key, c->l->mem);
    buf_init(&c->value, c->l->mem);
    buf_init(&c->large, c->l->mem);
    t->cursor_count++;
    *out = &c->base;
    return ST_OK;
}

void cursor_close(struct kv_cursor *cursor) {
    struct lsm_cursor *c = cursor_of(cursor);
    close_sources(c);
    buf_release(&c->key);
    buf_release(&c->value);
    buf_release(&c->large);
    c->t->cursor_count--;
    if (c->failure != NULL) mem_delete(c->l->mem, c->failure);
    mem_free(c->l->mem, c, sizeof(*c) + c->lo.len + c->hi.len);
}
