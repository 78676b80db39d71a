/* Window functions over a partition; see window.h.
 *
 * A sliding sum stands in two stacks, so that it never has to take anything back (a difference of sums of doubles is not the sum of the rest):
 *
 *   rows      lo ........ middle ........ hi
 *             front[i] = rows i..middle-1   sum = rows middle..hi-1        result = front[lo] + sum
 *
 * What comes in is added to `sum`; when lo passes `middle`, the sums from hi down to lo are made anew as `front`, and `sum` starts empty. Each row is
 * added at most twice. Source: the queue of two stacks, as in Tangwongsan, Hirzel, Schneider: Low-latency sliding-window aggregation (2017). */
#include <math.h>

#include "bson/compare.h"
#include "bson/decimal_math.h"
#include "eval/expr_internal.h"
#include "query/window.h"

enum {
    CODE_RANGE_NOT_NUMBER = 5429414,
    CODE_RANGE_NOT_DATE = 5429513,
    CODE_CURVE_INPUT = 5423900,
    CODE_FILL_REPEATS = 6050106,
};

/* --- numbers ---------------------------------------------------------------------------------------------------- */

static struct bnum number_double(double d) { return (struct bnum){.type = B_DOUBLE, .d = d}; }

/* Doubles, or decimals when one of the two is. */
static struct bnum calculate(enum decimal_binary op, struct bnum a, struct bnum b) {
    if (a.type == B_DECIMAL || b.type == B_DECIMAL)
        return (struct bnum){.type = B_DECIMAL, .dec = decimal_binary(op, bnum_to_decimal(a), bnum_to_decimal(b))};
    double x = bnum_to_double(a), y = bnum_to_double(b);
    switch (op) {
    case DECIMAL_ADD: return number_double(x + y);
    case DECIMAL_SUB: return number_double(x - y);
    case DECIMAL_MUL: return number_double(x * y);
    default: return number_double(x / y);
    }
}

static bool is_zero(struct bnum n) { return bnum_compare(n, number_double(0)) == 0; }

/* A number as a value in `bytes`. */
static struct bval value_of(struct bnum n, uint8_t bytes[16]) {
    switch (n.type) {
    case B_INT32: put_le32(bytes, (uint32_t) n.i32); return (struct bval){bytes, 4, B_INT32};
    case B_INT64: put_le64(bytes, (uint64_t) n.i64); return (struct bval){bytes, 8, B_INT64};
    case B_DOUBLE: memcpy(bytes, &n.d, 8); return (struct bval){bytes, 8, B_DOUBLE};
    default:
        put_le64(bytes, n.dec.lo);
        put_le64(bytes + 8, n.dec.hi);
        return (struct bval){bytes, 16, B_DECIMAL};
    }
}

/* --- rows ------------------------------------------------------------------------------------------------------- */

static struct expr_run *run_over(struct window_rows *rows, size_t i, struct err *err) {
    const struct window_row *r = rows->at[i];
    struct pipe_row row = {window_row_doc(r), r->score, r->has_score};
    return pipe_run(rows->stage, &row, err);
}

/* What lies in the row's own bytes stays there; the rest is copied into the partition's arena. */
static status keep(struct window_rows *rows, size_t i, struct bval v, struct bval *out, struct err *err) {
    struct bdoc d = window_row_doc(rows->at[i]);
    *out = v;
    if (v.len == 0 || (v.p >= d.p && v.p + v.len <= d.p + d.len)) return ST_OK;
    out->p = arena_copy(&rows->arena, v.p, v.len);
    return out->p != NULL ? ST_OK : RAISE(err, ST_NOMEM, "%s", rows->name);
}

static status evaluate_all(struct window_rows *rows, const struct expr *e, struct bval **out, struct err *err) {
    *out = NULL;
    if (e == NULL) return ST_OK;
    *out = arena_array(&rows->arena, struct bval, rows->count);
    if (*out == NULL) return RAISE(err, ST_NOMEM, "%s", rows->name);
    for (size_t i = 0; i < rows->count; i++) {
        struct bval v;
        TRY(expr_eval(run_over(rows, i, err), e, &v));
        TRY(keep(rows, i, v, &(*out)[i], err));
    }
    return ST_OK;
}

/* --- windows ---------------------------------------------------------------------------------------------------- */

static size_t moved(size_t i, int64_t steps, size_t count) {
    if (steps >= 0) return (uint64_t) steps >= count - i ? count : i + (size_t) steps;
    uint64_t back = (uint64_t) 0 - (uint64_t) steps;
    return back > i ? 0 : i - (size_t) back;
}

/* The value that ends the window of the row with this value in sortBy. */
static status range_end(const struct window *w, const struct window_bound *b, struct bval base, uint8_t bytes[16],
                        struct bval *out, struct err *err) {
    *out = base;
    if (b->kind == BOUND_CURRENT) return ST_OK;
    if (w->has_unit) {
        int64_t ms;
        if (!date_add_units(bval_int64(base), w->unit, b->steps, &ms))
            return RAISE_CODE(err, 5166406, "$setWindowFields: the end of a window overflows");
        put_le64(bytes, (uint64_t) ms);
        *out = (struct bval){bytes, 8, B_DATE};
        return ST_OK;
    }
    struct bnum sum, x = bnum_of(base), y = bnum_of(b->offset);
    if (!bnum_add(x, y, &sum)) sum = number_double(bnum_to_double(x) + bnum_to_double(y));
    *out = value_of(sum, bytes);
    return ST_OK;
}

static status range_window(const struct window_field *f, const struct window_rows *rows, size_t i, size_t *lo,
                           size_t *hi, struct err *err) {
    const struct window *w = &f->window;
    struct bval base = rows->order[i], end;
    uint8_t bytes[16];
    if (w->has_unit ? base.type != B_DATE : !bval_is_number(base))
        return RAISE_CODE(err, w->has_unit ? (int) CODE_RANGE_NOT_DATE : (int) CODE_RANGE_NOT_NUMBER,
                          "Invalid range: Expected the sortBy field to be a %s, but it was %s",
                          w->has_unit ? "date" : "number", base.type == B_MISSING ? "missing" : btype_name(base.type));
    if (w->lower.kind != BOUND_UNBOUNDED) {
        TRY(range_end(w, &w->lower, base, bytes, &end, err));
        while (*lo < rows->count && bval_compare(rows->order[*lo], end) < 0) ++*lo;
    }
    if (w->upper.kind == BOUND_UNBOUNDED) {
        *hi = rows->count;
    } else {
        TRY(range_end(w, &w->upper, base, bytes, &end, err));
        while (*hi < rows->count && bval_compare(rows->order[*hi], end) <= 0) ++*hi;
    }
    return ST_OK;
}

/* The window of row i, from that of the row before. */
static status window_of(const struct window_field *f, const struct window_rows *rows, size_t i, size_t *lo, size_t *hi,
                        struct err *err) {
    const struct window *w = &f->window;
    size_t n = rows->count;
    bool is_whole = w->lower.kind == BOUND_UNBOUNDED && w->upper.kind == BOUND_UNBOUNDED;
    *lo = f->state.lo;
    *hi = f->state.hi;
    if (w->is_range && !is_whole) {
        TRY(range_window(f, rows, i, lo, hi, err));
    } else {
        const struct window_bound *a = &w->lower, *b = &w->upper;
        *lo = a->kind == BOUND_UNBOUNDED ? 0 : a->kind == BOUND_CURRENT ? i : moved(i, a->steps, n);
        /* One behind the last: i + steps + 1, where i + steps may lie before the first row. */
        *hi = b->kind == BOUND_UNBOUNDED                             ? n
            : b->kind == BOUND_CURRENT                               ? i + 1
            : b->steps < 0 && (uint64_t) 0 - (uint64_t) b->steps > i ? 0
                                                                     : moved(i, b->steps, n);
        if (b->kind == BOUND_OFFSET && *hi < n && !(b->steps < 0 && (uint64_t) 0 - (uint64_t) b->steps > i)) ++*hi;
    }
    if (*hi < *lo) *hi = *lo;
    return ST_OK;
}

/* --- accumulators ----------------------------------------------------------------------------------------------- */

static void zero_state(struct window_field *f, struct accum_run *run, void *state) {
    accum_release(run, &f->accum, state);
    memset(state, 0, f->accum.state_len);
}

static uint8_t *front_at(const struct window_field *f, size_t i) {
    return f->state.front + (i - f->state.front_lo) * f->accum.state_len;
}

static void drop_front(struct window_field *f, struct accum_run *run) {
    struct window_state *s = &f->state;
    for (size_t i = s->front_lo; i < s->middle; i++) accum_release(run, &f->accum, front_at(f, i));
    s->front_lo = s->middle;
}

static status flip(struct window_field *f, struct accum_run *run, size_t lo, size_t hi, struct err *err) {
    struct window_state *s = &f->state;
    size_t need = hi - lo;
    drop_front(f, run);
    if (need > s->front_cap) {
        size_t cap = need + need / 2;
        uint8_t *front = cap <= SIZE_MAX / f->accum.state_len ? mem_alloc(run->mem, cap * f->accum.state_len) : NULL;
        if (front == NULL) return RAISE(err, ST_NOMEM, "$setWindowFields");
        mem_free(run->mem, s->front, s->front_cap * f->accum.state_len);
        run->memory += (cap - s->front_cap) * f->accum.state_len;
        s->front = front;
        s->front_cap = cap;
    }
    memset(s->front, 0, need * f->accum.state_len);
    s->front_lo = lo;
    s->middle = hi;
    for (size_t i = hi; i-- > lo;) {
        TRY(accum_add_value(run, &f->accum, front_at(f, i), s->values[i], err));
        if (i + 1 < hi) TRY(accum_merge(run, &f->accum, front_at(f, i), front_at(f, i + 1), err));
    }
    zero_state(f, run, s->sum);
    return ST_OK;
}

static status slide(struct window_field *f, struct accum_run *run, size_t lo, size_t hi, struct err *err) {
    struct window_state *s = &f->state;
    if (lo >= s->hi && lo != s->lo) { /* all that was in is out */
        drop_front(f, run);
        zero_state(f, run, s->sum);
        s->front_lo = s->middle = s->hi = lo;
    }
    for (size_t i = s->hi; i < hi; i++) TRY(accum_add_value(run, &f->accum, s->sum, s->values[i], err));
    if (lo > s->middle && lo < hi) TRY(flip(f, run, lo, hi, err));
    s->lo = lo;
    s->hi = hi > s->hi ? hi : s->hi;
    return ST_OK;
}

static status slide_result(struct window_field *f, struct accum_run *run, struct bval *out, struct err *err) {
    struct window_state *s = &f->state;
    if (s->lo >= s->middle) return accum_result(run, &f->accum, s->sum, out, err);
    zero_state(f, run, s->result);
    TRY(accum_merge(run, &f->accum, s->result, front_at(f, s->lo), err));
    TRY(accum_merge(run, &f->accum, s->result, s->sum, err));
    return accum_result(run, &f->accum, s->result, out, err);
}

/* Accumulators that cannot be merged. */
static status gather(struct window_field *f, struct accum_run *run, struct window_rows *rows, size_t lo, size_t hi,
                     struct err *err) {
    struct window_state *s = &f->state;
    if (!s->is_begun || lo != s->lo) {
        zero_state(f, run, s->sum);
        s->lo = s->hi = lo;
    }
    for (; s->hi < hi; s->hi++) {
        TRY(pipe_tick(rows->stage->list->p, err));
        run->x = run_over(rows, s->hi, err);
        TRY(accum_add(run, &f->accum, s->sum, err));
    }
    return ST_OK;
}

static status accumulate(struct window_field *f, struct accum_run *run, struct window_rows *rows, size_t i, size_t lo,
                         size_t hi, struct bval *out, struct err *err) {
    bool merges = accum_merges(&f->accum);
    run->x = run_over(rows, i, err);
    TRY(merges ? slide(f, run, lo, hi, err) : gather(f, run, rows, lo, hi, err));
    f->state.is_begun = true;
    run->x = run_over(rows, i, err);
    return merges ? slide_result(f, run, out, err) : accum_result(run, &f->accum, f->state.sum, out, err);
}

/* --- curves ----------------------------------------------------------------------------------------------------- */

/* A point of $derivative and $integral: dates in units. */
static status point_at(const struct window_field *f, const struct window_rows *rows, size_t i, struct bnum *x,
                       struct bnum *y, struct err *err) {
    struct bval order = rows->order[i], v = f->state.values[i];
    if (f->has_unit ? order.type != B_DATE : !bval_is_number(order))
        return RAISE_CODE(err, f->has_unit ? (int) CODE_RANGE_NOT_DATE : (int) CODE_RANGE_NOT_NUMBER,
                          "%s %s 'unit' expects the sortBy field to be a %s, but it was %s", f->name,
                          f->has_unit ? "with" : "without", f->has_unit ? "date" : "number",
                          order.type == B_MISSING ? "missing" : btype_name(order.type));
    if (!bval_is_number(v))
        return RAISE_CODE(err, CODE_CURVE_INPUT, "The input value of %s must be a number, but it was %s", f->name,
                          v.type == B_MISSING ? "missing" : btype_name(v.type));
    *x = f->has_unit ? (struct bnum){.type = B_INT64, .i64 = bval_int64(order)} : bnum_of(order);
    *y = bnum_of(v);
    return ST_OK;
}

static struct bnum distance(const struct window_field *f, struct bnum from, struct bnum to) {
    struct bnum d = calculate(DECIMAL_SUB, to, from);
    return f->has_unit ? calculate(DECIMAL_DIV, d, number_double((double) date_unit_ms(f->unit))) : d;
}

static status derivative(struct window_field *f, struct window_rows *rows, size_t lo, size_t hi, struct expr_run *x,
                         struct bval *out) {
    struct bnum x1, y1, x2, y2;
    *out = expr_null;
    if (hi - lo < 1) return ST_OK;
    TRY(point_at(f, rows, lo, &x1, &y1, x->err));
    TRY(point_at(f, rows, hi - 1, &x2, &y2, x->err));
    struct bnum dx = distance(f, x1, x2);
    if (is_zero(dx)) return ST_OK;
    return expr_put_number(x, calculate(DECIMAL_DIV, calculate(DECIMAL_SUB, y2, y1), dx), out);
}

/* The trapezoid between row i and the next. */
static status area_at(struct window_field *f, struct window_rows *rows, size_t i, struct bnum *out, struct err *err) {
    struct bnum x1, y1, x2, y2;
    TRY(point_at(f, rows, i, &x1, &y1, err));
    TRY(point_at(f, rows, i + 1, &x2, &y2, err));
    struct bnum area = calculate(DECIMAL_MUL, calculate(DECIMAL_SUB, x2, x1), calculate(DECIMAL_ADD, y1, y2));
    double divisor = f->has_unit ? 2.0 * (double) date_unit_ms(f->unit) : 2.0;
    *out = calculate(DECIMAL_DIV, area, number_double(divisor));
    return ST_OK;
}

/* The areas of all rows but the last are the `values` of a sum over windows that are one row shorter. */
static status integral_begin(struct window_field *f, struct window_rows *rows, struct err *err) {
    struct bval *areas = arena_array(&rows->arena, struct bval, rows->count);
    if (areas == NULL) return RAISE(err, ST_NOMEM, "%s", rows->name);
    for (size_t i = 0; i < rows->count; i++) {
        struct bnum area = number_double(0);
        uint8_t *bytes = arena_alloc(&rows->arena, 16);
        if (bytes == NULL) return RAISE(err, ST_NOMEM, "%s", rows->name);
        if (i + 1 < rows->count) {
            TRY(area_at(f, rows, i, &area, err));
        } else {
            struct bnum x, y;
            TRY(point_at(f, rows, i, &x, &y, err));
        }
        areas[i] = value_of(area, bytes);
    }
    f->state.values = areas;
    return ST_OK;
}

static status integral(struct window_field *f, struct accum_run *run, struct window_rows *rows, size_t i, size_t lo,
                       size_t hi, struct bval *out, struct err *err) {
    size_t end = hi > lo ? hi - 1 : lo;
    if (hi == lo) {
        *out = expr_null;
        return ST_OK;
    }
    run->x = run_over(rows, i, err);
    TRY(slide(f, run, lo, end, err));
    TRY(slide_result(f, run, out, err));
    return out->type == B_DECIMAL ? ST_OK : expr_put_double(run->x, bnum_to_double(bnum_of(*out)), out);
}

/* --- covariance ------------------------------------------------------------------------------------------------- */

struct covariance {
    int64_t count;
    bool is_decimal; /* one of the numbers in the window was; the decimals count then, else the doubles */
    double x, y, c;  /* the means; the sum of products of deviations */
    struct decimal dec_x, dec_y, dec_c;
};

/* Welford's method for two variables; source: Bennett et al., Numerically stable, single-pass, parallel statistics algorithms (2009). */
static void covariance_add(struct covariance *s, struct bnum x, struct bnum y) {
    s->count++;
    if (!s->is_decimal) {
        double n = (double) s->count, a = bnum_to_double(x), dy = bnum_to_double(y) - s->y;
        s->x += (a - s->x) / n;
        s->y += dy / n;
        s->c += (a - s->x) * dy;
        return;
    }
    struct decimal n = decimal_from_int64(s->count), p = bnum_to_decimal(x);
    struct decimal dx = decimal_binary(DECIMAL_SUB, p, s->dec_x);
    struct decimal dy = decimal_binary(DECIMAL_SUB, bnum_to_decimal(y), s->dec_y);
    s->dec_x = decimal_binary(DECIMAL_ADD, s->dec_x, decimal_binary(DECIMAL_DIV, dx, n));
    s->dec_y = decimal_binary(DECIMAL_ADD, s->dec_y, decimal_binary(DECIMAL_DIV, dy, n));
    s->dec_c = decimal_binary(DECIMAL_ADD, s->dec_c,
                              decimal_binary(DECIMAL_MUL, decimal_binary(DECIMAL_SUB, p, s->dec_x), dy));
}

/* Row i's pair; false when it is none of two numbers. */
static status covariance_pair(struct window_field *f, struct window_rows *rows, size_t i, struct bval *x,
                              struct bval *y, bool *is_pair, struct err *err) {
    *x = f->state.values[i];
    *y = BVAL_MISSING;
    if (f->input_y != NULL) {
        TRY(expr_eval(run_over(rows, i, err), f->input_y, y));
    } else if (x->type == B_ARRAY && bdoc_count(bval_doc(*x)) == 2) {
        *y = barray_at(bval_doc(*x), 1);
        *x = barray_at(bval_doc(*x), 0);
    }
    *is_pair = bval_is_number(*x) && bval_is_number(*y);
    return ST_OK;
}

static void covariance_restart(struct covariance *c, bool is_decimal) {
    struct decimal zero = decimal_from_int64(0);
    *c = (struct covariance){.is_decimal = is_decimal, .dec_x = zero, .dec_y = zero, .dec_c = zero};
}

static status covariance(struct window_field *f, struct window_rows *rows, size_t i, size_t lo, size_t hi,
                         struct bval *out, struct err *err) {
    struct window_state *s = &f->state;
    struct covariance *c = s->sum;
    struct bval a, b;
    bool is_pair;
    if (!s->is_begun || lo != s->lo) {
        covariance_restart(c, false);
        s->hi = lo;
    }
    s->is_begun = true;
    s->lo = lo;
    for (; s->hi < hi; s->hi++) {
        TRY(pipe_tick(rows->stage->list->p, err));
        TRY(covariance_pair(f, rows, s->hi, &a, &b, &is_pair, err));
        if (!is_pair) continue;
        if (!c->is_decimal && (a.type == B_DECIMAL || b.type == B_DECIMAL) && c->count > 0) {
            covariance_restart(c, true);
            s->hi = lo - 1; /* once more from the start */
            continue;
        }
        if (a.type == B_DECIMAL || b.type == B_DECIMAL) c->is_decimal = true;
        covariance_add(c, bnum_of(a), bnum_of(b));
    }
    struct expr_run *x = run_over(rows, i, err);
    int64_t n = f->function == WINDOW_COVARIANCE_SAMP ? c->count - 1 : c->count;
    *out = expr_null;
    if (n <= 0) return ST_OK;
    if (c->is_decimal && c->count > 1)
        return expr_put_decimal(x, decimal_binary(DECIMAL_DIV, c->dec_c, decimal_from_int64(n)), out);
    return expr_put_double(x, c->c / (double) n, out);
}

/* --- one row after another -------------------------------------------------------------------------------------- */

static void rank(struct window_field *f, const struct window_rows *rows, size_t i) {
    struct window_state *s = &f->state;
    if (i > 0 && slice_equal(window_row_order(rows->at[i]), window_row_order(rows->at[i - 1]))) return;
    s->rank = (int64_t) i + 1;
    s->dense_rank++;
}

static status moving_average(struct window_field *f, size_t i, struct expr_run *x, struct bval *out) {
    struct window_state *s = &f->state;
    struct bval v = s->values[i];
    *out = expr_null;
    if (!bval_is_number(v)) return ST_OK;
    struct bnum n = bnum_of(v);
    if (!s->has_average) {
        s->average = n;
        s->has_average = true;
        *out = v;
        return ST_OK;
    }
    if (n.type == B_DECIMAL || s->average.type == B_DECIMAL) {
        struct decimal alpha = f->alpha_decimal, rest = decimal_binary(DECIMAL_SUB, decimal_from_int64(1), alpha);
        s->average =
            (struct bnum){.type = B_DECIMAL,
                          .dec = decimal_binary(DECIMAL_ADD, decimal_binary(DECIMAL_MUL, bnum_to_decimal(n), alpha),
                                                decimal_binary(DECIMAL_MUL, bnum_to_decimal(s->average), rest))};
    } else {
        s->average = number_double(bnum_to_double(n) * f->alpha + bnum_to_double(s->average) * (1 - f->alpha));
    }
    return expr_put_number(x, s->average, out);
}

static status check_fill(struct window_field *f, const struct window_rows *rows, size_t i, struct err *err) {
    struct bval v = f->state.values[i], order = rows->order[i];
    if (order.type != B_DATE && !bval_is_number(order))
        return RAISE_CODE(err, CODE_TypeMismatch, "%s: the sortBy field must be a number or a date, but it was %s",
                          f->name, order.type == B_MISSING ? "missing" : btype_name(order.type));
    if ((order.type == B_DATE) != (rows->order[0].type == B_DATE))
        return RAISE_CODE(err, CODE_TypeMismatch,
                          "%s: the sortBy field must be either a number or a date in all rows, not both", f->name);
    if (!bval_is_nullish(v) && !bval_is_number(v))
        return RAISE_CODE(err, CODE_TypeMismatch,
                          "%s: the value to be filled must be numeric or nullish, but it was %s", f->name,
                          btype_name(v.type));
    if (i > 0 && bval_compare(order, rows->order[i - 1]) == 0)
        return RAISE_CODE(err, CODE_FILL_REPEATS, "There can be no repeated values in the sort field");
    return ST_OK;
}

static struct bnum order_number(struct bval v) {
    return v.type == B_DATE ? (struct bnum){.type = B_INT64, .i64 = bval_int64(v)} : bnum_of(v);
}

/* Between the nearest rows with a value before and behind it; null where there is none on one side. */
static status linear_fill(struct window_field *f, struct window_rows *rows, size_t i, struct expr_run *x,
                          struct bval *out) {
    struct window_state *s = &f->state;
    TRY(check_fill(f, rows, i, x->err));
    *out = s->values[i];
    if (!bval_is_nullish(*out)) {
        s->filled = i;
        return ST_OK;
    }
    *out = expr_null;
    if (s->filled == SIZE_MAX) return ST_OK;
    if (s->next == SIZE_MAX || s->next < i) {
        s->next = i + 1;
        while (s->next < rows->count && bval_is_nullish(s->values[s->next])) s->next++;
    }
    if (s->next == rows->count) return ST_OK;
    TRY(check_fill(f, rows, s->next, x->err));
    struct bnum x1 = order_number(rows->order[s->filled]), x2 = order_number(rows->order[s->next]),
                at = order_number(rows->order[i]), y1 = bnum_of(s->values[s->filled]), y2 = bnum_of(s->values[s->next]);
    struct bnum slope = calculate(DECIMAL_DIV, calculate(DECIMAL_SUB, y2, y1), calculate(DECIMAL_SUB, x2, x1));
    return expr_put_number(x, calculate(DECIMAL_ADD, y1, calculate(DECIMAL_MUL, slope, calculate(DECIMAL_SUB, at, x1))),
                           out);
}

static status shift(struct window_field *f, struct window_rows *rows, size_t i, struct bval *out, struct err *err) {
    int64_t at = (int64_t) i + f->by;
    if (at >= 0 && (uint64_t) at < rows->count) {
        TRY(expr_eval(run_over(rows, (size_t) at, err), f->input, out));
        if (out->type == B_MISSING) *out = expr_null;
        return ST_OK;
    }
    *out = expr_null;
    return f->fallback != NULL ? expr_eval(run_over(rows, i, err), f->fallback, out) : ST_OK;
}

/* --- the door --------------------------------------------------------------------------------------------------- */

static bool takes_window(const struct window_field *f) {
    switch (f->function) {
    case WINDOW_ACCUMULATE:
    case WINDOW_FIRST:
    case WINDOW_LAST:
    case WINDOW_DERIVATIVE:
    case WINDOW_INTEGRAL:
    case WINDOW_COVARIANCE_POP:
    case WINDOW_COVARIANCE_SAMP: return true;
    default: return false;
    }
}

static bool sums(const struct window_field *f) {
    return f->function == WINDOW_ACCUMULATE || f->function == WINDOW_INTEGRAL;
}

status window_begin(struct window_field *f, struct accum_run *run, struct window_rows *rows, struct err *err) {
    struct window_state *s = &f->state;
    window_end(f, run);
    *s = (struct window_state){.filled = SIZE_MAX, .next = SIZE_MAX};
    bool has_values = f->function != WINDOW_SHIFT && (f->function != WINDOW_ACCUMULATE || accum_merges(&f->accum));
    if (has_values)
        TRY(evaluate_all(rows, f->function == WINDOW_ACCUMULATE ? f->accum.arg : f->input, &s->values, err));
    if (f->function == WINDOW_INTEGRAL) TRY(integral_begin(f, rows, err));
    if (!sums(f) && f->function != WINDOW_COVARIANCE_POP && f->function != WINDOW_COVARIANCE_SAMP) return ST_OK;
    size_t len = sums(f) ? f->accum.state_len : sizeof(struct covariance);
    s->sum = arena_zalloc(&rows->arena, len);
    s->result = arena_zalloc(&rows->arena, len);
    return s->sum != NULL && s->result != NULL ? ST_OK : RAISE(err, ST_NOMEM, "%s", rows->name);
}

status window_next(struct window_field *f, struct accum_run *run, struct window_rows *rows, size_t i, struct bval *out,
                   struct err *err) {
    struct window_state *s = &f->state;
    size_t lo = 0, hi = 0;
    if (takes_window(f)) TRY(window_of(f, rows, i, &lo, &hi, err));
    switch (f->function) {
    case WINDOW_ACCUMULATE: return accumulate(f, run, rows, i, lo, hi, out, err);
    case WINDOW_INTEGRAL: return integral(f, run, rows, i, lo, hi, out, err);
    case WINDOW_COVARIANCE_POP:
    case WINDOW_COVARIANCE_SAMP: return covariance(f, rows, i, lo, hi, out, err);
    case WINDOW_SHIFT: return shift(f, rows, i, out, err);
    default: break;
    }
    struct expr_run *x = run_over(rows, i, err);
    s->lo = lo;
    s->hi = hi;
    switch (f->function) {
    case WINDOW_FIRST:
    case WINDOW_LAST:
        *out = hi > lo ? s->values[f->function == WINDOW_FIRST ? lo : hi - 1] : expr_null;
        if (out->type == B_MISSING) *out = expr_null;
        return ST_OK;
    case WINDOW_RANK: rank(f, rows, i); return expr_put_int(x, s->rank, out);
    case WINDOW_DENSE_RANK: rank(f, rows, i); return expr_put_int(x, s->dense_rank, out);
    case WINDOW_DOCUMENT_NUMBER: return expr_put_int(x, (int64_t) i + 1, out);
    case WINDOW_DERIVATIVE: return derivative(f, rows, lo, hi, x, out);
    case WINDOW_MOVING_AVERAGE: return moving_average(f, i, x, out);
    case WINDOW_LINEAR_FILL: return linear_fill(f, rows, i, x, out);
    default: /* WINDOW_LOCF */
        if (!bval_is_nullish(s->values[i])) s->last = s->values[i];
        *out = s->last.type != B_MISSING ? s->last : expr_null;
        return ST_OK;
    }
}

void window_end(struct window_field *f, struct accum_run *run) {
    struct window_state *s = &f->state;
    if (f->function == WINDOW_ACCUMULATE || f->function == WINDOW_INTEGRAL) {
        if (s->front != NULL) drop_front(f, run);
        if (s->sum != NULL) accum_release(run, &f->accum, s->sum);
        if (s->result != NULL) accum_release(run, &f->accum, s->result);
        run->memory -= s->front_cap * f->accum.state_len;
        mem_free(run->mem, s->front, s->front_cap * f->accum.state_len);
    }
    *s = (struct window_state){0};
}
