/* Keys against bounds; see scan_bounds.h. */
#include "query/scan_bounds.h"

#include "index/key.h"

/* --- making --- */

static status keep(struct arena *arena, const struct buf *b, struct slice *out, struct err *err) {
    if (b->failed) return RAISE(err, ST_NOMEM, "index bounds");
    *out = SLICE_NONE;
    if (b->len == 0) return ST_OK;
    uint8_t *p = arena_copy(arena, b->p, b->len);
    if (p == NULL) return RAISE(err, ST_NOMEM, "index bounds");
    *out = slice_of(p, b->len);
    return ST_OK;
}

/* succ(~end): where the inverted bytes of everything from `end` on stop. */
static status inverted(struct arena *arena, struct buf *scratch, struct slice end, struct slice *out, struct err *err) {
    buf_clear(scratch);
    for (size_t i = 0; i < end.len; i++) buf_append_u8(scratch, (uint8_t) ~end.p[i]);
    if (end.len != 0) key_successor(scratch);
    return keep(arena, scratch, out, err);
}

static status point_inverted(struct arena *arena, struct slice lo, struct slice *out, struct err *err) {
    uint8_t *p = arena_alloc(arena, lo.len);
    if (p == NULL) return RAISE(err, ST_NOMEM, "index bounds");
    for (size_t i = 0; i < lo.len; i++) p[i] = (uint8_t) ~lo.p[i];
    *out = slice_of(p, lo.len);
    return ST_OK;
}

static status make_field(struct arena *arena, struct buf *scratch, const struct intervals *iv, bool descending,
                         struct scan_bounds *b, uint32_t f, struct err *err) {
    struct byte_range *r = arena_array(arena, struct byte_range, iv->count != 0 ? iv->count : 1);
    if (r == NULL) return RAISE(err, ST_NOMEM, "index bounds");
    for (uint32_t i = 0; i < iv->count; i++) {
        const struct interval *x = &iv->at[descending ? iv->count - 1 - i : i];
        r[i] = (struct byte_range){x->lo, x->hi, x->is_point};
        if (!descending) continue;
        TRY(inverted(arena, scratch, x->hi, &r[i].lo, err));
        TRY(inverted(arena, scratch, x->lo, &r[i].hi, err));
        if (x->is_point) TRY(point_inverted(arena, x->lo, &r[i].lo, err));
    }
    b->fields[f].ranges = r;
    b->fields[f].count = iv->count;
    b->fields[f].descending = descending;
    return ST_OK;
}

/* Appends the least key that field f in range r can begin, as far as it is known. */
static void append_low(const struct scan_bounds *b, uint32_t f, const struct byte_range *r, struct buf *out) {
    buf_append_slice(out, r->lo);
    if (r->is_point && f + 1 < b->checked_count) append_low(b, f + 1, &b->fields[f + 1].ranges[0], out);
}

/* Makes `out`, which holds the fields before f, the exclusive upper end for field f in range r. Empty: open. */
static void append_high(const struct scan_bounds *b, uint32_t f, const struct byte_range *r, struct buf *out) {
    if (r->is_point) {
        buf_append_slice(out, r->lo);
        if (f + 1 < b->checked_count) append_high(b, f + 1, &b->fields[f + 1].ranges[b->fields[f + 1].count - 1], out);
        else key_successor(out);
    } else if (r->hi.len != 0) {
        buf_append_slice(out, r->hi);
    } else {
        key_successor(out);
    }
}

static bool is_contiguous(const struct scan_bounds *b) {
    uint32_t f = 0;
    while (f < b->checked_count && b->fields[f].count == 1 && b->fields[f].ranges[0].is_point) f++;
    return f == b->checked_count || (f + 1 == b->checked_count && b->fields[f].count == 1);
}

status scan_bounds_make(struct arena *arena, const struct index_field *fields, const struct intervals *bounds,
                        uint32_t field_count, struct scan_bounds **out, struct err *err) {
    struct scan_bounds *b = arena_new(arena, struct scan_bounds);
    if (b == NULL) return RAISE(err, ST_NOMEM, "index bounds");
    status st = ST_OK;
    struct buf scratch;
    buf_init(&scratch, arena->mem);
    b->field_count = field_count;
    for (uint32_t f = 0; f < field_count; f++) {
        TRY_OUT(make_field(arena, &scratch, &bounds[f], fields[f].descending, b, f, err));
        if (bounds[f].count == 0) b->is_empty = true;
        if (!intervals_is_all(&bounds[f])) b->checked_count = f + 1;
    }
    b->is_contiguous = !b->is_empty && is_contiguous(b);
    if (!b->is_empty && b->checked_count > 0) {
        buf_clear(&scratch);
        append_low(b, 0, &b->fields[0].ranges[0], &scratch);
        TRY_OUT(keep(arena, &scratch, &b->lo, err));
        buf_clear(&scratch);
        append_high(b, 0, &b->fields[0].ranges[b->fields[0].count - 1], &scratch);
        TRY_OUT(keep(arena, &scratch, &b->hi, err));
    }
    *out = b;
out:
    buf_release(&scratch);
    return st;
}

/* --- placing keys --- */

/* The first range whose upper end is above f; count when there is none. */
static uint32_t range_from(const struct byte_range *r, uint32_t count, struct slice f) {
    uint32_t lo = 0, hi = count;
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        if (r[mid].hi.len == 0 || slice_compare(f, r[mid].hi) < 0) hi = mid;
        else lo = mid + 1;
    }
    return lo;
}

static enum key_place seek_up(const struct scan_bounds *b, uint32_t f, uint32_t next, struct slice before,
                              struct buf *target) {
    buf_clear(target);
    buf_append_slice(target, before);
    if (next < b->fields[f].count) {
        append_low(b, f, &b->fields[f].ranges[next], target);
        return KEY_BETWEEN;
    }
    if (f == 0) return KEY_PAST;
    key_successor(target);
    return target->len == 0 && !target->failed ? KEY_PAST : KEY_BETWEEN;
}

/* `next`: one more than the range to go to. */
static enum key_place seek_down(const struct scan_bounds *b, uint32_t f, uint32_t next, struct slice before,
                                struct buf *target) {
    buf_clear(target);
    buf_append_slice(target, before);
    if (next > 0) {
        append_high(b, f, &b->fields[f].ranges[next - 1], target);
        return KEY_BETWEEN;
    }
    return f == 0 ? KEY_PAST : KEY_BETWEEN;
}

enum key_place scan_bounds_place(const struct scan_bounds *b, struct slice key, bool backward, struct buf *target) {
    size_t at = 0;
    for (uint32_t i = 0; i < b->checked_count; i++) {
        struct slice rest = slice_of(key.p + at, key.len - at);
        size_t len = key_field_len(rest, b->fields[i].descending);
        if (len == 0) return KEY_DAMAGED;
        struct slice f = slice_of(rest.p, len);
        const struct byte_range *r = b->fields[i].ranges;
        uint32_t n = range_from(r, b->fields[i].count, f);
        bool inside = n < b->fields[i].count && slice_compare(f, r[n].lo) >= 0;
        if (!inside) {
            struct slice before = slice_of(key.p, at);
            return backward ? seek_down(b, i, n, before, target) : seek_up(b, i, n, before, target);
        }
        at += len;
    }
    return KEY_INSIDE;
}

/* --- for the planner --- */

struct enumeration {
    const struct scan_bounds *b;
    struct arena *arena;
    struct byte_range *out;
    uint32_t max, count;
    struct buf prefix;
    struct err *err;
};

static status add_range(struct enumeration *e, uint32_t f, const struct byte_range *r) {
    struct buf *p = &e->prefix;
    size_t len = p->len;
    struct byte_range *out = &e->out[e->count];
    *out = (struct byte_range){0};
    if (r != NULL) buf_append_slice(p, r->lo);
    TRY(keep(e->arena, p, &out->lo, e->err));
    p->len = len;
    if (r != NULL) append_high(e->b, f, r, p);
    else key_successor(p);
    TRY(keep(e->arena, p, &out->hi, e->err));
    e->count++;
    return ST_OK;
}

static status enumerate(struct enumeration *e, uint32_t f) {
    const struct scan_bounds *b = e->b;
    size_t len = e->prefix.len;
    for (uint32_t i = 0; i < b->fields[f].count && e->count < e->max; i++) {
        const struct byte_range *r = &b->fields[f].ranges[i];
        if (!r->is_point || f + 1 >= b->checked_count) {
            /* append_high may shorten what it was given: the prefix is put back from the range's own copy. */
            struct slice before = SLICE_NONE;
            TRY(keep(e->arena, &e->prefix, &before, e->err));
            TRY(add_range(e, f, r));
            buf_clear(&e->prefix);
            buf_append_slice(&e->prefix, before);
            continue;
        }
        buf_append_slice(&e->prefix, r->lo);
        TRY(enumerate(e, f + 1));
        e->prefix.len = len;
    }
    return ST_OK;
}

status scan_bounds_ranges(const struct scan_bounds *b, uint32_t max, struct arena *arena, struct byte_range *out,
                          uint32_t *count, double *total, struct err *err) {
    struct enumeration e = {.b = b, .arena = arena, .out = out, .max = max, .err = err};
    *total = b->is_empty ? 0 : 1;
    *count = 0;
    if (b->is_empty) return ST_OK;
    if (b->checked_count == 0) {
        out[0] = (struct byte_range){b->lo, b->hi, false};
        *count = 1;
        return ST_OK;
    }
    for (uint32_t f = 0; f < b->checked_count; f++) {
        *total *= b->fields[f].count;
        bool all_points = true;
        for (uint32_t i = 0; i < b->fields[f].count; i++) all_points = all_points && b->fields[f].ranges[i].is_point;
        if (!all_points) break;
    }
    buf_init(&e.prefix, arena->mem);
    status st = enumerate(&e, 0);
    if (st == ST_OK && e.prefix.failed) st = RAISE(err, ST_NOMEM, "index bounds");
    buf_release(&e.prefix);
    *count = e.count;
    return st;
}

bool scan_bounds_is_single(const struct scan_bounds *b, const uint64_t *multikey) {
    for (uint32_t f = 0; f < b->field_count; f++) {
        if (multikey[f] != 0 && !(b->fields[f].count == 1 && b->fields[f].ranges[0].is_point)) return false;
    }
    return true;
}
