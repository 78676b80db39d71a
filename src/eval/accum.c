/* The accumulators of $group; see accum.h. Those that keep the n first or best are in accum_n.c. */
#include <assert.h>

#include "bson/compare.h"
#include "bson/decimal_math.h"
#include "eval/accum_internal.h"

/* --- memory ---------------------------------------------------------------------------------------------------- */

status accum_append(struct accum_run *r, struct buf *buf, const void *p, size_t len, struct err *err) {
    size_t before = buf->cap;
    if (!buf_append(buf, p, len)) return RAISE(err, ST_NOMEM, "accumulator");
    r->memory += buf->cap - before;
    return ST_OK;
}

void accum_buf_release(struct accum_run *r, struct buf *buf) {
    r->memory -= buf->cap;
    buf_release(buf);
}

status kept_set(struct accum_run *r, struct kept_value *k, struct bval v, struct err *err) {
    uint32_t room = k->cap != 0 ? k->cap : (uint32_t) sizeof(k->few);
    if (v.len > room) {
        uint8_t *p = mem_resize(r->mem, k->cap != 0 ? k->p : NULL, k->cap, v.len);
        if (p == NULL) return RAISE(err, ST_NOMEM, "accumulator");
        r->memory += v.len - k->cap;
        k->p = p;
        k->cap = v.len;
    }
    if (v.len != 0) memcpy(k->cap != 0 ? k->p : k->few, v.p, v.len);
    k->len = v.len;
    k->type = v.type;
    k->is_set = true;
    return ST_OK;
}

struct bval kept_get(const struct kept_value *k) {
    return (struct bval){k->cap != 0 ? k->p : k->few, k->len, k->type};
}

void kept_release(struct accum_run *r, struct kept_value *k) {
    if (k->cap != 0) mem_free(r->mem, k->p, k->cap);
    r->memory -= k->cap;
    *k = (struct kept_value){0};
}

/* --- sums ------------------------------------------------------------------------------------------------------ */

static status add_number(struct accum_run *r, const struct accum *a, void *state, struct bval v, struct err *err) {
    (void) r;
    (void) a;
    (void) err;
    if (bval_is_number(v)) expr_sum_add(state, v);
    return ST_OK;
}

static status sum_result(struct accum_run *r, const struct accum *a, void *state, struct bval *out) {
    (void) a;
    return expr_put_number(r->x, expr_sum_result(state), out);
}

static status avg_result(struct accum_run *r, const struct accum *a, void *state, struct bval *out) {
    const struct expr_sum *s = state;
    (void) a;
    *out = expr_null;
    if (s->count == 0) return ST_OK;
    if (s->width == 3)
        return expr_put_decimal(r->x, decimal_binary(DECIMAL_DIV, expr_sum_decimal(s), decimal_from_int64(s->count)),
                                out);
    return expr_put_double(r->x, expr_sum_double(s) / (double) s->count, out);
}

static status add_deviation(struct accum_run *r, const struct accum *a, void *state, struct bval v, struct err *err) {
    (void) r;
    (void) a;
    (void) err;
    if (bval_is_number(v)) expr_deviation_add(state, bnum_to_double(bnum_of(v)));
    return ST_OK;
}

static status deviation_result(struct accum_run *r, bool sample, void *state, struct bval *out) {
    double d;
    *out = expr_null;
    return expr_deviation_result(state, sample, &d) ? expr_put_double(r->x, d, out) : ST_OK;
}
static status pop_result(struct accum_run *r, const struct accum *a, void *state, struct bval *out) {
    (void) a;
    return deviation_result(r, false, state, out);
}
static status samp_result(struct accum_run *r, const struct accum *a, void *state, struct bval *out) {
    (void) a;
    return deviation_result(r, true, state, out);
}

static status parse_count(struct expr_scope *scope, struct bval arg, struct accum *out, struct err *err) {
    static const uint8_t one[4] = {1};
    if (arg.type != B_DOCUMENT || !bdoc_is_empty(bval_doc(arg)))
        return RAISE_CODE(err, CODE_BadValue, "$count takes no arguments, i.e. $count:{}");
    return expr_constant_new(scope, (struct bval){one, 4, B_INT32}, &out->arg, err);
}

/* --- one value ------------------------------------------------------------------------------------------------- */

static status add_max(struct accum_run *r, const struct accum *a, void *state, struct bval v, struct err *err) {
    struct kept_value *k = state;
    (void) a;
    if (bval_is_nullish(v) || (k->is_set && bval_compare(v, kept_get(k)) <= 0)) return ST_OK;
    return kept_set(r, k, v, err);
}
static status add_min(struct accum_run *r, const struct accum *a, void *state, struct bval v, struct err *err) {
    struct kept_value *k = state;
    (void) a;
    if (bval_is_nullish(v) || (k->is_set && bval_compare(v, kept_get(k)) >= 0)) return ST_OK;
    return kept_set(r, k, v, err);
}
static status add_first(struct accum_run *r, const struct accum *a, void *state, struct bval v, struct err *err) {
    struct kept_value *k = state;
    (void) a;
    return k->is_set ? ST_OK : kept_set(r, k, v, err);
}
static status add_last(struct accum_run *r, const struct accum *a, void *state, struct bval v, struct err *err) {
    (void) a;
    return kept_set(r, state, v, err);
}
static status kept_result(struct accum_run *r, const struct accum *a, void *state, struct bval *out) {
    (void) r;
    (void) a;
    *out = kept_get(state);
    if (out->type == B_MISSING) *out = expr_null;
    return ST_OK;
}
static void release_kept(struct accum_run *r, void *state) { kept_release(r, state); }

/* --- arrays ---------------------------------------------------------------------------------------------------- */

/* An array under construction: its bytes but for the last zero. */
struct pushed {
    struct buf buf;
    uint32_t count;
};

static status add_push(struct accum_run *r, const struct accum *a, void *state, struct bval v, struct err *err) {
    struct pushed *s = state;
    uint8_t head[16];
    (void) a;
    if (v.type == B_MISSING) return ST_OK;
    if (s->buf.mem == NULL) {
        buf_init(&s->buf, r->mem);
        TRY(accum_append(r, &s->buf, "\0\0\0\0", 4, err));
    }
    uint32_t n = 0, digits = 1, idx = s->count;
    for (uint32_t i = idx; i >= 10; i /= 10) digits++;
    head[n++] = v.type;
    for (uint32_t d = digits; d-- > 0; idx /= 10) head[1 + d] = (uint8_t) ('0' + idx % 10);
    n += digits;
    head[n++] = 0;
    TRY(accum_append(r, &s->buf, head, n, err));
    s->count++;
    return accum_append(r, &s->buf, v.p, v.len, err);
}

static status push_result(struct accum_run *r, const struct accum *a, void *state, struct bval *out) {
    struct pushed *s = state;
    (void) a;
    *out = expr_empty_array;
    if (s->buf.mem == NULL) return ST_OK;
    size_t len = s->buf.len + 1;
    if (len > EXPR_LEN_MAX) return RAISE(r->x->err, ST_TOO_LARGE, "$push makes an array of %zu bytes", len);
    if (!buf_reserve(&s->buf, 1)) return RAISE(r->x->err, ST_NOMEM, "accumulator");
    s->buf.p[s->buf.len] = 0;
    put_le32(s->buf.p, (uint32_t) len);
    *out = (struct bval){s->buf.p, (uint32_t) len, B_ARRAY};
    return ST_OK;
}

static void release_push(struct accum_run *r, void *state) {
    struct pushed *s = state;
    if (s->buf.mem != NULL) accum_buf_release(r, &s->buf);
}

/* Values behind each other (type, length, bytes) and a hash table of where they stand. */
struct value_set {
    struct buf values;
    uint32_t *slots; /* offset + 1; 0: free */
    uint32_t slot_count, count;
};

static struct bval set_value(const struct value_set *s, uint32_t at) {
    const uint8_t *p = s->values.p + at;
    return (struct bval){p + 5, get_le32(p + 1), p[0]};
}

static bool set_find(const struct value_set *s, struct bval v, uint32_t *slot) {
    uint32_t mask = s->slot_count - 1;
    for (uint32_t i = (uint32_t) bval_hash(v, 0) & mask;; i = (i + 1) & mask) {
        *slot = i;
        if (s->slots[i] == 0) return false;
        struct bval other = set_value(s, s->slots[i] - 1);
        if (bval_equal(v, other)) return true;
    }
}

static status set_grow(struct accum_run *r, struct value_set *s, struct err *err) {
    uint32_t count = s->slot_count == 0 ? 16 : s->slot_count * 2;
    struct value_set next = *s;
    if (count > 1u << 28) return RAISE(err, ST_NOMEM, "$addToSet");
    next.slots = mem_zalloc(r->mem, count * sizeof(*next.slots));
    if (next.slots == NULL) return RAISE(err, ST_NOMEM, "accumulator");
    next.slot_count = count;
    for (uint32_t i = 0; i < s->slot_count; i++) {
        uint32_t slot;
        if (s->slots[i] == 0) continue;
        (void) set_find(&next, set_value(s, s->slots[i] - 1), &slot);
        next.slots[slot] = s->slots[i];
    }
    mem_free(r->mem, s->slots, s->slot_count * sizeof(*s->slots));
    r->memory += (count - s->slot_count) * sizeof(*s->slots);
    *s = next;
    return ST_OK;
}

static status add_to_set(struct accum_run *r, const struct accum *a, void *state, struct bval v, struct err *err) {
    struct value_set *s = state;
    uint32_t slot;
    uint8_t head[5] = {v.type};
    (void) a;
    if (v.type == B_MISSING) return ST_OK;
    if (s->values.mem == NULL) buf_init(&s->values, r->mem);
    if (s->count * 4 >= s->slot_count * 3) TRY(set_grow(r, s, err));
    if (set_find(s, v, &slot)) return ST_OK;
    size_t at = s->values.len;
    put_le32(head + 1, v.len);
    TRY(accum_append(r, &s->values, head, 5, err));
    TRY(accum_append(r, &s->values, v.p, v.len, err));
    s->slots[slot] = (uint32_t) at + 1;
    s->count++;
    return ST_OK;
}

static status set_result(struct accum_run *r, const struct accum *a, void *state, struct bval *out) {
    struct value_set *s = state;
    struct expr_list list = {0};
    (void) a;
    for (size_t at = 0; at < s->values.len;) {
        struct bval v = set_value(s, (uint32_t) at);
        TRY(expr_list_push(r->x, &list, v));
        at += 5 + v.len;
    }
    return expr_put_array(r->x, list.at, list.count, out);
}

static void release_set(struct accum_run *r, void *state) {
    struct value_set *s = state;
    if (s->values.mem == NULL) return;
    accum_buf_release(r, &s->values);
    r->memory -= s->slot_count * sizeof(*s->slots);
    mem_free(r->mem, s->slots, s->slot_count * sizeof(*s->slots));
}

/* --- $mergeObjects --------------------------------------------------------------------------------------------- */

static status add_merge(struct accum_run *r, const struct accum *a, void *state, struct bval v, struct err *err) {
    struct kept_value *k = state;
    struct expr_fields f = {0};
    struct biter it;
    struct belem e;
    struct bval merged;
    (void) a;
    if (bval_is_nullish(v)) return ST_OK;
    if (v.type != B_DOCUMENT)
        return RAISE_CODE(err, 40400, "$mergeObjects requires object inputs, but input is of type %s",
                          btype_name(v.type));
    if (!k->is_set) return kept_set(r, k, v, err);
    it = biter_of(bval_doc(kept_get(k)));
    while (biter_next(&it, &e)) TRY(expr_fields_add(r->x, &f, e.name, e.value));
    it = biter_of(bval_doc(v));
    while (biter_next(&it, &e)) TRY(expr_fields_set(r->x, &f, e.name, e.value));
    TRY(expr_put_document(r->x, &f, &merged));
    return kept_set(r, k, merged, err);
}

static status merge_result(struct accum_run *r, const struct accum *a, void *state, struct bval *out) {
    const struct kept_value *k = state;
    (void) r;
    (void) a;
    *out = k->is_set ? kept_get(k) : expr_empty_doc;
    return ST_OK;
}

/* --- merging --------------------------------------------------------------------------------------------------- */

static status merge_sums(struct accum_run *r, void *into, const void *from, struct err *err) {
    (void) r;
    (void) err;
    expr_sum_merge(into, from);
    return ST_OK;
}
static status merge_deviations(struct accum_run *r, void *into, const void *from, struct err *err) {
    (void) r;
    (void) err;
    expr_deviation_merge(into, from);
    return ST_OK;
}
static status merge_max(struct accum_run *r, void *into, const void *from, struct err *err) {
    const struct kept_value *k = from;
    return k->is_set ? add_max(r, NULL, into, kept_get(k), err) : ST_OK;
}
static status merge_min(struct accum_run *r, void *into, const void *from, struct err *err) {
    const struct kept_value *k = from;
    return k->is_set ? add_min(r, NULL, into, kept_get(k), err) : ST_OK;
}

/* --- the door -------------------------------------------------------------------------------------------------- */

static const struct accum_op *find(struct slice name) {
    for (const struct accum_op *op = accum_ops; op->name != NULL; op++) {
        if (slice_equal(name, slice_str(op->name))) return op;
    }
    for (const struct accum_op *op = accum_n_ops; op->name != NULL; op++) {
        if (slice_equal(name, slice_str(op->name))) return op;
    }
    return NULL;
}

bool accum_is_known(struct slice name) { return find(name) != NULL; }

status accum_parse_operand(struct expr_scope *scope, struct slice name, struct bval arg, struct accum *out,
                           struct err *err) {
    const struct accum_op *op = find(name);
    if (op == NULL) return RAISE_CODE(err, 15952, "unknown group operator '%.*s'", SLICE_ARGS(name));
    if (op->add == NULL) return RAISE(err, ST_UNSUPPORTED, "the accumulator %s is not supported", op->name);
    *out = (struct accum){.op = op, .state_len = (op->state_len + 15) & ~(size_t) 15};
    return op->parse != NULL ? op->parse(scope, arg, out, err) : expr_parse(scope, arg, &out->arg, err);
}

status accum_parse(struct expr_scope *scope, struct slice field, struct slice name, struct bval arg, struct accum *out,
                   struct err *err) {
    const struct accum_op *op = find(name);
    (void) field;
    if (op != NULL && op->add != NULL && op->parse == NULL && arg.type == B_ARRAY) {
        if (bdoc_count(bval_doc(arg)) != 1)
            return RAISE_CODE(err, 40237, "The %s accumulator is a unary operator", op->name);
        arg = barray_at(bval_doc(arg), 0);
    }
    return accum_parse_operand(scope, name, arg, out, err);
}

status accum_add(struct accum_run *r, const struct accum *a, void *state, struct err *err) {
    struct bval v = BVAL_MISSING;
    if (a->arg != NULL) TRY(expr_eval(r->x, a->arg, &v));
    return a->op->add(r, a, state, v, err);
}

status accum_result(struct accum_run *r, const struct accum *a, void *state, struct bval *out, struct err *err) {
    (void) err;
    return a->op->result(r, a, state, out);
}

bool accum_merges(const struct accum *a) { return a->op->merge != NULL; }

status accum_add_value(struct accum_run *r, const struct accum *a, void *state, struct bval v, struct err *err) {
    return a->op->add(r, a, state, v, err);
}

status accum_merge(struct accum_run *r, const struct accum *a, void *into, const void *from, struct err *err) {
    return a->op->merge(r, into, from, err);
}

void accum_release(struct accum_run *r, const struct accum *a, void *state) {
    if (a->op->release != NULL) a->op->release(r, state);
}

const struct accum_op accum_ops[] = {
    {"$addToSet", sizeof(struct value_set), add_to_set, set_result, release_set, NULL, NULL},
    {"$avg", sizeof(struct expr_sum), add_number, avg_result, NULL, NULL, merge_sums},
    {"$count", sizeof(struct expr_sum), add_number, sum_result, NULL, parse_count, merge_sums},
    {"$first", sizeof(struct kept_value), add_first, kept_result, release_kept, NULL, NULL},
    {"$last", sizeof(struct kept_value), add_last, kept_result, release_kept, NULL, NULL},
    {"$max", sizeof(struct kept_value), add_max, kept_result, release_kept, NULL, merge_max},
    {"$mergeObjects", sizeof(struct kept_value), add_merge, merge_result, release_kept, NULL, NULL},
    {"$min", sizeof(struct kept_value), add_min, kept_result, release_kept, NULL, merge_min},
    {"$push", sizeof(struct pushed), add_push, push_result, release_push, NULL, NULL},
    {"$stdDevPop", sizeof(struct expr_deviation), add_deviation, pop_result, NULL, NULL, merge_deviations},
    {"$stdDevSamp", sizeof(struct expr_deviation), add_deviation, samp_result, NULL, NULL, merge_deviations},
    {"$sum", sizeof(struct expr_sum), add_number, sum_result, NULL, NULL, merge_sums},
    {"$accumulator", 0, NULL, NULL, NULL, NULL, NULL},
    {"$median", 0, NULL, NULL, NULL, NULL, NULL},
    {"$percentile", 0, NULL, NULL, NULL, NULL, NULL},
    {0},
};
