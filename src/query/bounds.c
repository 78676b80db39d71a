/* The algebra of intervals; see bounds.h. */
#include "query/bounds.h"

#include <math.h>
#include <stdio.h>

#include "bson/compare.h"
#include "bson/json.h"
#include "index/key.h"

static struct interval whole = {.lo_inclusive = true, .hi_inclusive = true};
const struct intervals intervals_none = {NULL, 0};
const struct intervals intervals_all = {&whole, 1};

void bounds_maker_init(struct bounds_maker *m, struct arena *arena) {
    m->arena = arena;
    buf_init(&m->scratch, arena->mem);
}

void bounds_maker_release(struct bounds_maker *m) { buf_release(&m->scratch); }

bool intervals_is_all(const struct intervals *iv) {
    return iv->count == 1 && iv->at[0].lo.len == 0 && iv->at[0].hi.len == 0;
}

bool intervals_is_points(const struct intervals *iv) {
    for (uint32_t i = 0; i < iv->count; i++) {
        if (!iv->at[i].is_point) return false;
    }
    return iv->count > 0;
}

/* --- ends --- */

static status keep_scratch(struct bounds_maker *m, struct slice *out, struct err *err) {
    if (m->scratch.failed) return RAISE(err, ST_NOMEM, "index bounds");
    if (m->scratch.len == 0) {
        *out = SLICE_NONE;
        return ST_OK;
    }
    uint8_t *copy = arena_copy(m->arena, m->scratch.p, m->scratch.len);
    if (copy == NULL) return RAISE(err, ST_NOMEM, "index bounds");
    *out = slice_of(copy, m->scratch.len);
    return ST_OK;
}

static status encode_value(struct bounds_maker *m, struct bval v, bool after, struct slice *out, struct err *err) {
    buf_clear(&m->scratch);
    key_append(&m->scratch, v, false);
    if (after) key_successor(&m->scratch);
    return keep_scratch(m, out, err);
}

static status encode_rank(struct bounds_maker *m, int rank, bool hi, struct slice *out, struct err *err) {
    buf_clear(&m->scratch);
    if (hi) key_append_rank_hi(&m->scratch, rank, false);
    else key_append_rank_lo(&m->scratch, rank, false);
    return keep_scratch(m, out, err);
}

/* Order of lower ends: none is below all. */
static int compare_lo(struct slice a, struct slice b) { return slice_compare(a, b); }
/* Order of upper ends: none is above all. */
static int compare_hi(struct slice a, struct slice b) {
    if (a.len == 0 || b.len == 0) return (a.len == 0) - (b.len == 0);
    return slice_compare(a, b);
}
/* Does something lie between lo and hi? */
static bool is_below(struct slice lo, struct slice hi) { return hi.len == 0 || slice_compare(lo, hi) < 0; }

static status new_list(struct bounds_maker *m, size_t n, struct intervals *out, struct err *err) {
    *out = (struct intervals){arena_array(m->arena, struct interval, n != 0 ? n : 1), 0};
    return out->at != NULL ? ST_OK : RAISE(err, ST_NOMEM, "index bounds");
}

/* --- making --- */

static status set_point(struct bounds_maker *m, struct bval v, struct interval *out, struct err *err) {
    *out =
        (struct interval){.lo_value = v, .hi_value = v, .lo_inclusive = true, .hi_inclusive = true, .is_point = true};
    TRY(encode_value(m, v, false, &out->lo, err));
    return encode_value(m, v, true, &out->hi, err);
}

status intervals_points(struct bounds_maker *m, const struct bval *values, uint32_t n, struct intervals *out,
                        struct err *err) {
    TRY(new_list(m, n, out, err));
    for (uint32_t i = 0; i < n; i++) {
        struct interval *at = &out->at[out->count];
        TRY(set_point(m, values[i], at, err));
        /* Values that compare apart may still share an encoding (null and undefined). */
        if (out->count == 0 || compare_hi(at[-1].hi, at->hi) < 0) out->count++;
    }
    return ST_OK;
}

status intervals_point(struct bounds_maker *m, struct bval v, struct intervals *out, struct err *err) {
    return intervals_points(m, &v, 1, out, err);
}

/* How explain names the open ends of a rank, as MongoDB does: [-inf.0, 5), ["", {}). Ranks without a row show MinKey and MaxKey. */
static const uint8_t bytes_minus_inf[8] = {0, 0, 0, 0, 0, 0, 0xf0, 0xff}, bytes_inf[8] = {0, 0, 0, 0, 0, 0, 0xf0, 0x7f};
static const uint8_t bytes_empty_string[5] = {1}, bytes_empty_doc[5] = {5}, bytes_empty_binary[5] = {0};
static const uint8_t bytes_id_least[12] = {0},
                     bytes_id_most[12] = {255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255};
static const uint8_t bytes_false[1] = {0}, bytes_true[1] = {1};
static const uint8_t bytes_date_least[8] = {0, 0, 0, 0, 0, 0, 0, 0x80},
                     bytes_date_most[8] = {255, 255, 255, 255, 255, 255, 255, 0x7f};
static const struct {
    struct bval lo, hi;
    bool hi_inclusive;
} rank_ends[BRANK_COUNT] = {
    [BRANK_NUMBER] = {{bytes_minus_inf, 8, B_DOUBLE}, {bytes_inf, 8, B_DOUBLE}, true},
    [BRANK_STRING] = {{bytes_empty_string, 5, B_STRING}, {bytes_empty_doc, 5, B_DOCUMENT}, false},
    [BRANK_DOCUMENT] = {{bytes_empty_doc, 5, B_DOCUMENT}, {bytes_empty_doc, 5, B_ARRAY}, false},
    [BRANK_BINARY] = {{bytes_empty_binary, 5, B_BINARY}, {bytes_id_least, 12, B_OBJECT_ID}, false},
    [BRANK_OBJECT_ID] = {{bytes_id_least, 12, B_OBJECT_ID}, {bytes_id_most, 12, B_OBJECT_ID}, true},
    [BRANK_BOOL] = {{bytes_false, 1, B_BOOL}, {bytes_true, 1, B_BOOL}, true},
    [BRANK_DATE] = {{bytes_date_least, 8, B_DATE}, {bytes_date_most, 8, B_DATE}, true},
};

status intervals_range(struct bounds_maker *m, uint8_t sample_type, struct bval lo, bool lo_inclusive, struct bval hi,
                       bool hi_inclusive, struct intervals *out, struct err *err) {
    TRY(new_list(m, 1, out, err));
    struct interval *at = &out->at[0];
    *at = (struct interval){.lo_value = lo, .hi_value = hi, .lo_inclusive = lo_inclusive, .hi_inclusive = hi_inclusive};
    int rank = btype_rank(sample_type);
    if (lo.type != B_MISSING) TRY(encode_value(m, lo, !lo_inclusive, &at->lo, err));
    else TRY(encode_rank(m, rank, false, &at->lo, err));
    if (hi.type != B_MISSING) TRY(encode_value(m, hi, hi_inclusive, &at->hi, err));
    else TRY(encode_rank(m, rank, true, &at->hi, err));
    if (lo.type == B_MISSING) at->lo_value = rank_ends[rank].lo, at->lo_inclusive = true;
    if (hi.type == B_MISSING)
        at->hi_value = rank_ends[rank].hi,
        at->hi_inclusive = rank_ends[rank].hi.type == B_MISSING || rank_ends[rank].hi_inclusive;
    out->count = is_below(at->lo, at->hi);
    return ST_OK;
}

/* --- algebra --- */

status intervals_intersect(struct bounds_maker *m, struct intervals a, struct intervals b, struct intervals *out,
                           struct err *err) {
    struct intervals r;
    if (intervals_is_all(&a) || intervals_is_all(&b)) {
        *out = intervals_is_all(&a) ? b : a;
        return ST_OK;
    }
    TRY(new_list(m, (size_t) a.count + b.count, &r, err));
    for (uint32_t i = 0, j = 0; i < a.count && j < b.count;) {
        const struct interval *x = &a.at[i], *y = &b.at[j];
        const struct interval *lower = compare_lo(x->lo, y->lo) >= 0 ? x : y,
                              *upper = compare_hi(x->hi, y->hi) <= 0 ? x : y;
        if (is_below(lower->lo, upper->hi)) {
            r.at[r.count++] =
                (struct interval){lower->lo,           upper->hi,           lower->lo_value,           upper->hi_value,
                                  lower->lo_inclusive, upper->hi_inclusive, x->is_point || y->is_point};
        }
        if (upper == x) i++;
        else j++;
    }
    *out = r;
    return ST_OK;
}

status intervals_unite(struct bounds_maker *m, struct intervals a, struct intervals b, struct intervals *out,
                       struct err *err) {
    struct intervals r;
    TRY(new_list(m, (size_t) a.count + b.count, &r, err));
    for (uint32_t i = 0, j = 0; i < a.count || j < b.count;) {
        bool take_a = j == b.count || (i < a.count && compare_lo(a.at[i].lo, b.at[j].lo) <= 0);
        const struct interval *x = take_a ? &a.at[i++] : &b.at[j++];
        struct interval *last = r.count > 0 ? &r.at[r.count - 1] : NULL;
        if (last == NULL || (last->hi.len != 0 && slice_compare(x->lo, last->hi) >= 0)) {
            r.at[r.count++] = *x;
            continue;
        }
        last->is_point = last->is_point && x->is_point;
        if (compare_hi(x->hi, last->hi) > 0)
            last->hi = x->hi, last->hi_value = x->hi_value, last->hi_inclusive = x->hi_inclusive;
    }
    *out = r;
    return ST_OK;
}

status intervals_complement(struct bounds_maker *m, struct intervals a, struct intervals *out, struct err *err) {
    struct intervals r;
    TRY(new_list(m, (size_t) a.count + 1, &r, err));
    struct interval gap = whole;
    for (uint32_t i = 0; i < a.count; i++) {
        const struct interval *x = &a.at[i];
        gap.hi = x->lo;
        gap.hi_value = x->lo_value;
        gap.hi_inclusive = !x->lo_inclusive;
        if (x->lo.len != 0 && is_below(gap.lo, gap.hi)) r.at[r.count++] = gap;
        if (x->hi.len == 0) goto done;
        gap = (struct interval){.lo = x->hi,
                                .lo_value = x->hi_value,
                                .lo_inclusive = !x->hi_inclusive,
                                .hi_inclusive = true};
    }
    r.at[r.count++] = gap;
done:
    *out = r;
    return ST_OK;
}

/* --- for people --- */

static void show_value(struct bval v, const char *open, struct buf *text) {
    if (v.type == B_MISSING) buf_append(text, open, strlen(open));
    else if (v.type == B_DOUBLE && isinf(bval_double(v)))
        buf_append_format(text, "%sinf.0", bval_double(v) < 0 ? "-" : "");
    else if (v.type == B_REGEX)
        (void) (buf_append_u8(text, '/'), buf_append_slice(text, bval_regex_pattern(v)), buf_append_u8(text, '/'),
                buf_append_slice(text, bval_regex_options(v)));
    else json_write_value(v, JSON_RELAXED, 0, text);
}

static void show_interval(const struct interval *iv, bool reversed, struct buf *text) {
    bool from_inclusive = reversed ? iv->hi_inclusive : iv->lo_inclusive,
         to_inclusive = reversed ? iv->lo_inclusive : iv->hi_inclusive;
    buf_append_u8(text, from_inclusive ? '[' : '(');
    show_value(reversed ? iv->hi_value : iv->lo_value, reversed ? "MaxKey" : "MinKey", text);
    buf_append(text, ", ", 2);
    show_value(reversed ? iv->lo_value : iv->hi_value, reversed ? "MinKey" : "MaxKey", text);
    buf_append_u8(text, to_inclusive ? ']' : ')');
}

void intervals_show(const struct intervals *iv, bool reversed, const struct mem *mem, struct bbuild *array) {
    struct buf text;
    buf_init(&text, mem);
    for (uint32_t i = 0; i < iv->count; i++) {
        buf_clear(&text);
        show_interval(&iv->at[reversed ? iv->count - 1 - i : i], reversed, &text);
        if (text.failed) {
            array->buf->failed = true;
            break;
        }
        char name[12];
        int n = snprintf(name, sizeof(name), "%u", i);
        (void) n;
        bbuild_slice(array, name, buf_slice(&text));
    }
    buf_release(&text);
}
