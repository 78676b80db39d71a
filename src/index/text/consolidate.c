/* Consolidation: folding small blocks into full ones and dropping the postings of dead numbers, in bounded steps.
 *
 * A pass walks all postings once. Its state stands under kind 05:
 *   u8 format (1); u8 phase (0 idle, 1 folding, 2 sweeping); varint n, then n varints (the first number, then differences): the dead numbers that this
 *   pass drops; varint the greatest number when the last pass began; varint the same of this pass; the rest: the key, behind its kind byte, at which the pass goes on.
 *
 * N1  A pass drops exactly the numbers that it listed at its start, and deletes their marks at its end: a mark that comes meanwhile waits for the next pass.
 * N2  Blocks are immutable, and only consolidation deletes them: a step conflicts with nothing but another step.
 * N3  Only neighbours in key order are folded together, so that folding never makes blocks overlap more than before.
 * N4  An index with the stale flag is swept first: a number that its document does not have becomes a marked one, and in the end the flag goes. Writers
 *     raise it only before the index is published, and only then may it be consolidated. */
#include <stdlib.h>

#include "base/varint.h"
#include "index/key.h"
#include "index/text/consolidate.h"
#include "index/text/postings.h"

#define STATE_FORMAT 1
#define MARKS_MAX 16384 /* dropped by one pass */

static const struct consolidate_limits usual_limits = {.step_blocks = 4000,
                                                       .step_locators = 4000,
                                                       .marks_min = 1000,
                                                       .numbers_min = 1000};

enum phase { PHASE_IDLE, PHASE_FOLDING, PHASE_SWEEPING, PHASE_COUNT };

struct state {
    enum phase phase;
    uint64_t *dead;
    size_t dead_count, dead_cap;
    uint64_t last_number, this_number; /* the greatest number when the last and this pass began */
    struct buf position;
};

struct step {
    const struct text_index *ix;
    const struct consolidate_limits *limits;
    const struct mem *mem;
    struct kv_txn *txn;
    struct state state;
    struct buf key, hi, value;
    /* the term being folded */
    struct buf term;
    struct posting *pending;
    size_t pending_count, pending_cap;
    uint32_t taken;           /* blocks that went into pending */
    bool is_changed;          /* one of them lost a posting */
    struct slice *taken_keys; /* in the arena */
    size_t taken_cap;
    struct arena arena;
    struct err *err;
};

static status no_memory(struct step *s) { return RAISE(s->err, ST_NOMEM, "no memory to consolidate a text index"); }

/* ---- state ---- */

static status read_state(struct step *s) {
    struct kv_value v = KV_VALUE_INIT;
    text_key(s->ix, &s->key, TEXT_STATE);
    if (s->key.failed) return no_memory(s);
    status st = kv_get(s->txn, buf_slice(&s->key), &v, s->err);
    if (st == ST_NOT_FOUND) return ST_OK;
    TRY(st);
    const uint8_t *p = v.bytes.p, *end = p + v.bytes.len;
    uint64_t n = 0, number = 0, delta = 0;
    size_t used = 0;
    bool ok = v.bytes.len > 2 && p[0] == STATE_FORMAT && p[1] < PHASE_COUNT &&
        (used = varint_get(p + 2, end, &n)) != 0 && n <= MARKS_MAX;
    if (ok) {
        s->state.phase = (enum phase) p[1];
        p += 2 + used;
        for (uint64_t i = 0; i < n && ok; i++) {
            ok = (used = varint_get(p, end, &delta)) != 0 && delta != 0 && delta < UINT64_MAX - number;
            p += used;
            if (ok) s->state.dead[s->state.dead_count++] = number += delta;
        }
        ok = ok && (used = varint_get(p, end, &s->state.last_number)) != 0;
        p += used;
        ok = ok && (used = varint_get(p, end, &s->state.this_number)) != 0;
        p += used;
        if (ok && !buf_append(&s->state.position, p, (size_t) (end - p))) st = no_memory(s);
    }
    kv_value_release(&v);
    TRY(st);
    return ok ? ST_OK : RAISE(s->err, ST_CORRUPT, "the consolidation state of a text index is damaged");
}

static status write_state(struct step *s) {
    buf_clear(&s->value);
    (void) buf_append_u8(&s->value, STATE_FORMAT);
    (void) buf_append_u8(&s->value, (uint8_t) s->state.phase);
    (void) buf_append_varint(&s->value, s->state.dead_count);
    for (size_t i = 0; i < s->state.dead_count; i++)
        (void) buf_append_varint(&s->value, s->state.dead[i] - (i > 0 ? s->state.dead[i - 1] : 0));
    (void) buf_append_varint(&s->value, s->state.last_number);
    (void) buf_append_varint(&s->value, s->state.this_number);
    (void) buf_append_slice(&s->value, buf_slice(&s->state.position));
    text_key(s->ix, &s->key, TEXT_STATE);
    if (s->key.failed || s->value.failed) return no_memory(s);
    return kv_put(s->txn, buf_slice(&s->key), buf_slice(&s->value), s->err);
}

/* The marks that the snapshot shows, up to MARKS_MAX. */
static status list_dead(struct step *s) {
    struct kv_cursor *c = NULL;
    text_key(s->ix, &s->key, TEXT_MARK);
    text_key(s->ix, &s->hi, TEXT_MARK + 1);
    if (s->key.failed || s->hi.failed) return no_memory(s);
    struct kv_bounds bounds = {buf_slice(&s->key), buf_slice(&s->hi)};
    TRY(kv_cursor_open(s->txn, &bounds, &c, s->err));
    status st = kv_first(c, s->err);
    while (st == ST_OK && s->state.dead_count < MARKS_MAX) {
        st = text_key_read_number(kv_cursor_key(c), s->key.len, &s->state.dead[s->state.dead_count++], s->err);
        if (st == ST_OK) st = kv_next(c, s->err);
    }
    kv_cursor_close(c);
    return status_failed(st) ? st : ST_OK;
}

/* The greatest number of a document, 0 for none. */
static status greatest_number(struct step *s, uint64_t *number) {
    struct kv_cursor *c = NULL;
    *number = 0;
    text_key(s->ix, &s->key, TEXT_LOCATOR);
    text_key(s->ix, &s->hi, TEXT_LOCATOR + 1);
    if (s->key.failed || s->hi.failed) return no_memory(s);
    struct kv_bounds bounds = {buf_slice(&s->key), buf_slice(&s->hi)};
    TRY(kv_cursor_open(s->txn, &bounds, &c, s->err));
    status st = kv_last(c, s->err);
    if (st == ST_OK) st = text_key_read_number(kv_cursor_key(c), s->key.len, number, s->err);
    kv_cursor_close(c);
    return status_failed(st) ? st : ST_OK;
}

/* ---- folding a term ---- */

static int compare_numbers(const void *x, const void *y) {
    const uint64_t *a = x, *b = y;
    return (*a > *b) - (*a < *b);
}

static bool is_dead(const struct step *s, uint64_t number) {
    return s->state.dead_count != 0 &&
        bsearch(&number, s->state.dead, s->state.dead_count, sizeof(number), compare_numbers) != NULL;
}

/* Is one of the range dead? */
static bool has_dead(const struct step *s, uint64_t first, uint64_t last) {
    size_t lo = 0, hi = s->state.dead_count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (s->state.dead[mid] < first) lo = mid + 1;
        else hi = mid;
    }
    return lo < s->state.dead_count && s->state.dead[lo] <= last;
}

static int compare_postings(const void *x, const void *y) {
    const struct posting *a = x, *b = y;
    return (a->number > b->number) - (a->number < b->number);
}

static status write_pending(struct step *s) {
    for (uint32_t i = 0; i < s->taken; i++) TRY(kv_delete(s->txn, s->taken_keys[i], s->err));
    if (s->pending_count != 0) qsort(s->pending, s->pending_count, sizeof(*s->pending), compare_postings);
    for (size_t at = 0; at < s->pending_count; at += BLOCK_FULL) {
        size_t n = s->pending_count - at < BLOCK_FULL ? s->pending_count - at : BLOCK_FULL;
        buf_clear(&s->value);
        TRY(block_encode(s->pending + at, (uint32_t) n, &s->value, s->err));
        text_key_posting(s->ix, &s->key, buf_slice(&s->term), s->pending[at].number);
        if (s->key.failed) return no_memory(s);
        TRY(kv_put(s->txn, buf_slice(&s->key), buf_slice(&s->value), s->err));
    }
    return ST_OK;
}

/* Ends a run of neighbours: rewrites what was taken when that makes fewer or shorter blocks. */
static status end_run(struct step *s) {
    status st = s->taken > 1 || s->is_changed ? write_pending(s) : ST_OK;
    s->pending_count = 0;
    s->taken = 0;
    s->is_changed = false;
    arena_reset(&s->arena);
    return st;
}

static status take_block(struct step *s, struct slice key, const struct block_head *head) {
    void *pending = s->pending, *keys = s->taken_keys;
    bool is_full = head->count >= BLOCK_FULL * 3 / 4;
    if (is_full && !has_dead(s, head->first, head->last)) return end_run(s); /* it stays */
    if (!mem_grow(s->mem, &pending, &s->pending_cap, s->pending_count + head->count, sizeof(*s->pending)))
        return no_memory(s);
    s->pending = pending;
    if (!mem_grow(s->mem, &keys, &s->taken_cap, s->taken + 1, sizeof(*s->taken_keys))) return no_memory(s);
    s->taken_keys = keys;
    struct posting *at = s->pending + s->pending_count;
    size_t kept = 0;
    TRY(block_decode(head, at, s->err));
    for (uint32_t i = 0; i < head->count; i++) {
        if (!is_dead(s, at[i].number)) at[kept++] = at[i];
    }
    if (kept == head->count && is_full) return end_run(s);
    uint8_t *copy = arena_copy(&s->arena, key.p, key.len);
    if (copy == NULL) return no_memory(s);
    s->taken_keys[s->taken++] = slice_of(copy, key.len);
    s->pending_count += kept;
    s->is_changed = s->is_changed || kept != head->count;
    return ST_OK;
}

static status visit_block(struct step *s, struct kv_cursor *c) {
    struct slice key = kv_cursor_key(c), term, value;
    struct block_head head;
    uint64_t first;
    TRY(text_key_read_posting(s->ix, key, &term, &first, s->err));
    TRY(kv_cursor_value(c, &value, s->err));
    if (!slice_equal(term, buf_slice(&s->term))) {
        TRY(end_run(s));
        buf_clear(&s->term);
        if (!buf_append_slice(&s->term, term)) return no_memory(s);
    }
    TRY(block_read_head(value, first, &head, s->err));
    return take_block(s, key, &head);
}

/* Walks some blocks from the state's position; *ended when the pass is through. */
static status walk(struct step *s, bool *ended) {
    struct kv_cursor *c = NULL;
    text_key(s->ix, &s->key, TEXT_POSTING);
    size_t prefix_len = s->key.len;
    (void) buf_append_slice(&s->key, buf_slice(&s->state.position));
    text_key(s->ix, &s->hi, TEXT_POSTING + 1);
    if (s->key.failed || s->hi.failed) return no_memory(s);
    struct kv_bounds bounds = {buf_slice(&s->key), buf_slice(&s->hi)};
    TRY(kv_cursor_open(s->txn, &bounds, &c, s->err));
    status st = kv_first(c, s->err);
    for (uint32_t n = 0; st == ST_OK && n < s->limits->step_blocks; n++) {
        st = visit_block(s, c);
        if (st == ST_OK) st = kv_next(c, s->err);
    }
    *ended = st == ST_END;
    if (st == ST_OK) {
        struct slice key = kv_cursor_key(c);
        buf_clear(&s->state.position);
        if (!buf_append(&s->state.position, key.p + prefix_len, key.len - prefix_len)) st = no_memory(s);
    }
    kv_cursor_close(c);
    return status_failed(st) ? st : end_run(s);
}

static status end_pass(struct step *s) {
    for (size_t i = 0; i < s->state.dead_count; i++) {
        text_key_number(s->ix, &s->key, TEXT_MARK, s->state.dead[i]);
        if (s->key.failed) return no_memory(s);
        TRY(kv_delete(s->txn, buf_slice(&s->key), s->err));
    }
    s->state.phase = PHASE_IDLE;
    s->state.last_number = s->state.this_number;
    s->state.dead_count = 0;
    buf_clear(&s->state.position);
    return ST_OK;
}

/* ---- sweeping ---- */

/* A number that its locator does not have any more is marked. */
static status sweep_number(struct step *s, struct kv_cursor *c, size_t prefix_len) {
    struct slice key = kv_cursor_key(c), locator;
    struct kv_value v = KV_VALUE_INIT;
    uint64_t number, found = 0;
    TRY(text_key_read_number(key, prefix_len, &number, s->err));
    TRY(kv_cursor_value(c, &locator, s->err));
    text_key_locator(s->ix, &s->value, locator);
    if (s->value.failed) return no_memory(s);
    status st = kv_get(s->txn, buf_slice(&s->value), &v, s->err);
    if (st == ST_OK) st = text_value_read_number(v.bytes, &found, s->err);
    kv_value_release(&v);
    if (status_failed(st)) return st;
    if (found == number) return ST_OK;
    TRY(kv_delete(s->txn, key, s->err));
    text_key_number(s->ix, &s->value, TEXT_MARK, number);
    return s->value.failed ? no_memory(s) : kv_put(s->txn, buf_slice(&s->value), SLICE_NONE, s->err);
}

static status sweep(struct step *s) {
    struct kv_cursor *c = NULL;
    text_key(s->ix, &s->key, TEXT_LOCATOR);
    size_t prefix_len = s->key.len;
    (void) buf_append_slice(&s->key, buf_slice(&s->state.position));
    text_key(s->ix, &s->hi, TEXT_LOCATOR + 1);
    if (s->key.failed || s->hi.failed) return no_memory(s);
    struct kv_bounds bounds = {buf_slice(&s->key), buf_slice(&s->hi)};
    TRY(kv_cursor_open(s->txn, &bounds, &c, s->err));
    status st = kv_first(c, s->err);
    for (uint32_t n = 0; st == ST_OK && n < s->limits->step_locators; n++) {
        st = sweep_number(s, c, prefix_len);
        if (st == ST_OK) st = kv_next(c, s->err);
    }
    bool ended = st == ST_END;
    buf_clear(&s->state.position);
    if (st == ST_OK &&
        !buf_append(&s->state.position, kv_cursor_key(c).p + prefix_len, kv_cursor_key(c).len - prefix_len))
        st = no_memory(s);
    kv_cursor_close(c);
    if (status_failed(st) || !ended) return st;
    s->state.phase = PHASE_IDLE;
    text_key(s->ix, &s->key, TEXT_STALE);
    return s->key.failed ? no_memory(s) : kv_delete(s->txn, buf_slice(&s->key), s->err);
}

/* ---- a step ---- */

static status has_stale_flag(struct step *s, bool *has) {
    struct kv_value v = KV_VALUE_INIT;
    text_key(s->ix, &s->key, TEXT_STALE);
    if (s->key.failed) return no_memory(s);
    status st = kv_get(s->txn, buf_slice(&s->key), &v, s->err);
    *has = st == ST_OK;
    kv_value_release(&v);
    return status_failed(st) ? st : ST_OK;
}

/* What is to be done next; ST_END: nothing. */
static status choose_phase(struct step *s) {
    bool is_stale = false;
    uint64_t number;
    if (s->state.phase != PHASE_IDLE) return ST_OK;
    TRY(has_stale_flag(s, &is_stale));
    if (is_stale) {
        s->state.phase = PHASE_SWEEPING;
        return ST_OK;
    }
    TRY(list_dead(s));
    TRY(greatest_number(s, &number));
    uint64_t marks_min = s->limits->marks_min + s->state.last_number / 32,
             numbers_min = s->limits->numbers_min + s->state.last_number / 4;
    if (marks_min > MARKS_MAX) marks_min = MARKS_MAX;
    if (s->state.dead_count < marks_min && number < s->state.last_number + numbers_min) return ST_END;
    s->state.phase = PHASE_FOLDING;
    s->state.this_number = number;
    return ST_OK;
}

static status run_step(struct step *s, bool *more) {
    bool ended = false;
    TRY(read_state(s));
    TRY(choose_phase(s));
    if (s->state.phase == PHASE_SWEEPING) {
        TRY(sweep(s));
    } else {
        TRY(walk(s, &ended));
        if (ended) TRY(end_pass(s));
    }
    *more = !ended;
    return write_state(s);
}

static void release(struct step *s) {
    buf_release(&s->key);
    buf_release(&s->hi);
    buf_release(&s->value);
    buf_release(&s->term);
    buf_release(&s->state.position);
    mem_free(s->mem, s->state.dead, s->state.dead_cap * sizeof(*s->state.dead));
    mem_free(s->mem, s->pending, s->pending_cap * sizeof(*s->pending));
    mem_free(s->mem, s->taken_keys, s->taken_cap * sizeof(*s->taken_keys));
    arena_release(&s->arena);
}

status text_consolidate_step(const struct text_index *ix, const struct mem *mem,
                             const struct consolidate_limits *limits, bool *more, struct err *err) {
    struct step s = {.ix = ix, .limits = limits, .mem = mem, .err = err};
    *more = false;
    buf_init(&s.key, mem);
    buf_init(&s.hi, mem);
    buf_init(&s.value, mem);
    buf_init(&s.term, mem);
    buf_init(&s.state.position, mem);
    arena_init(&s.arena, mem);
    void *dead = NULL;
    status st = mem_grow(mem, &dead, &s.state.dead_cap, MARKS_MAX, sizeof(*s.state.dead)) ? ST_OK : no_memory(&s);
    s.state.dead = dead;
    if (st == ST_OK) st = kv_begin(ix->kv, false, &s.txn, err);
    if (st == ST_OK) {
        st = run_step(&s, more);
        if (st == ST_OK) st = kv_commit(s.txn, KV_SYNC_LATER, err);
        else kv_abort(s.txn);
    }
    release(&s);
    if (st != ST_CONFLICT && st != ST_END) return st;
    *more = false;
    err_clear(err);
    return ST_OK;
}

status text_consolidate(const struct text_index *ix, const struct mem *mem, bool *more, struct err *err) {
    return text_consolidate_step(ix, mem, &usual_limits, more, err);
}
