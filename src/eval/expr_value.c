/* Making values: what operators give. Everything lies in the run's arena; lengths are known before bytes are written,
 * so nothing is copied twice. */
#include "bson/number.h"
#include "eval/expr_internal.h"

static const uint8_t empty_doc_bytes[] = {5, 0, 0, 0, 0}, empty_string_bytes[] = {1, 0, 0, 0, 0};
const struct bval expr_null = {(const uint8_t *) "", 0, B_NULL};
const struct bval expr_true = {(const uint8_t *) "\1", 1, B_BOOL};
const struct bval expr_false = {(const uint8_t *) "\0", 1, B_BOOL};
const struct bval expr_empty_string = {empty_string_bytes, 5, B_STRING};
const struct bval expr_empty_array = {empty_doc_bytes, 5, B_ARRAY};
const struct bval expr_empty_doc = {empty_doc_bytes, 5, B_DOCUMENT};

status expr_alloc(struct expr_run *x, size_t len, void *out) {
    void *p = NULL;
    memcpy(out, &p, sizeof(p));
    if (x->memory_max != 0 && x->arena->used + len > x->memory_max)
        return EXPR_RAISE(x, CODE_ExceededMemoryLimit,
                          "an expression needs more memory than the limit of %zu bytes allows", x->memory_max);
    p = arena_alloc(x->arena, len);
    if (p == NULL) return RAISE(x->err, ST_NOMEM, "expression");
    memcpy(out, &p, sizeof(p));
    return ST_OK;
}

status expr_put(struct expr_run *x, uint8_t type, const void *p, size_t len, struct bval *out) {
    uint8_t *to = NULL;
    TRY(expr_alloc(x, len, &to));
    if (len != 0) memcpy(to, p, len);
    *out = (struct bval){to, (uint32_t) len, type};
    return ST_OK;
}

status expr_put_int32(struct expr_run *x, int32_t v, struct bval *out) { return expr_put(x, B_INT32, &v, 4, out); }
status expr_put_int64(struct expr_run *x, int64_t v, struct bval *out) { return expr_put(x, B_INT64, &v, 8, out); }
status expr_put_double(struct expr_run *x, double v, struct bval *out) { return expr_put(x, B_DOUBLE, &v, 8, out); }
status expr_put_date(struct expr_run *x, int64_t ms, struct bval *out) { return expr_put(x, B_DATE, &ms, 8, out); }
status expr_put_decimal(struct expr_run *x, struct decimal v, struct bval *out) {
    return expr_put(x, B_DECIMAL, &v, 16, out);
}

status expr_put_int(struct expr_run *x, int64_t v, struct bval *out) {
    return v >= INT32_MIN && v <= INT32_MAX ? expr_put_int32(x, (int32_t) v, out) : expr_put_int64(x, v, out);
}

status expr_put_number(struct expr_run *x, struct bnum n, struct bval *out) {
    switch (n.type) {
    case B_INT32: return expr_put_int32(x, n.i32, out);
    case B_INT64: return expr_put_int64(x, n.i64, out);
    case B_DOUBLE: return expr_put_double(x, n.d, out);
    default: return expr_put_decimal(x, n.dec, out);
    }
}

static status too_large(struct expr_run *x, size_t len) {
    return RAISE(x->err, ST_TOO_LARGE, "an expression makes a value of %zu bytes, the limit is %zu", len, EXPR_LEN_MAX);
}

status expr_string_room(struct expr_run *x, size_t len, uint8_t **p, struct bval *out) {
    uint8_t *to = NULL;
    if (len > EXPR_LEN_MAX) return too_large(x, len);
    TRY(expr_alloc(x, len + 5, &to));
    put_le32(to, (uint32_t) len + 1);
    to[4 + len] = 0;
    *p = to + 4;
    *out = (struct bval){to, (uint32_t) len + 5, B_STRING};
    return ST_OK;
}

status expr_put_string(struct expr_run *x, struct slice s, struct bval *out) {
    uint8_t *p = NULL;
    TRY(expr_string_room(x, s.len, &p, out));
    if (s.len != 0) memcpy(p, s.p, s.len);
    return ST_OK;
}

/* --- arrays ---------------------------------------------------------------------------------------------------- */

static status grow(struct expr_run *x, void **at, uint32_t count, uint32_t *cap, size_t size) {
    uint32_t n = *cap == 0 ? 8 : *cap * 2;
    void *p = NULL;
    if (n > EXPR_LEN_MAX / 4) return too_large(x, (size_t) n * size);
    TRY(expr_alloc(x, n * size, &p));
    if (count != 0) memcpy(p, *at, count * size);
    *at = p;
    *cap = n;
    return ST_OK;
}

status expr_list_push(struct expr_run *x, struct expr_list *l, struct bval v) {
    if (l->count == l->cap) {
        void *at = l->at;
        TRY(grow(x, &at, l->count, &l->cap, sizeof(*l->at)));
        l->at = at;
    }
    l->at[l->count++] = v;
    return ST_OK;
}

status expr_list_push_all(struct expr_run *x, struct expr_list *l, struct bdoc array) {
    struct biter it = biter_of(array);
    struct belem e;
    while (biter_next(&it, &e)) TRY(expr_list_push(x, l, e.value));
    return ST_OK;
}

static uint32_t digit_count(uint32_t v) {
    uint32_t n = 1;
    for (; v >= 10; v /= 10) n++;
    return n;
}

status expr_put_array(struct expr_run *x, const struct bval *at, uint32_t count, struct bval *out) {
    size_t len = 5;
    uint8_t *to = NULL;
    for (uint32_t i = 0; i < count; i++) len += 2 + digit_count(i) + at[i].len;
    if (len > EXPR_LEN_MAX) return too_large(x, len);
    TRY(expr_alloc(x, len, &to));
    *out = (struct bval){to, (uint32_t) len, B_ARRAY};
    put_le32(to, (uint32_t) len);
    to += 4;
    for (uint32_t i = 0; i < count; i++) {
        *to++ = at[i].type == B_MISSING ? B_NULL : at[i].type;
        uint32_t digits = digit_count(i), rest = i;
        for (uint32_t d = digits; d-- > 0; rest /= 10) to[d] = (uint8_t) ('0' + rest % 10);
        to += digits;
        *to++ = 0;
        if (at[i].type != B_MISSING && at[i].len != 0) memcpy(to, at[i].p, at[i].len);
        to += at[i].type != B_MISSING ? at[i].len : 0;
    }
    *to = 0;
    return ST_OK;
}

/* --- documents ------------------------------------------------------------------------------------------------- */

status expr_fields_add(struct expr_run *x, struct expr_fields *f, struct slice name, struct bval v) {
    if (f->count == f->cap) {
        void *at = f->at;
        TRY(grow(x, &at, f->count, &f->cap, sizeof(*f->at)));
        f->at = at;
    }
    f->at[f->count++] = (struct belem){name, v};
    return ST_OK;
}

status expr_fields_set(struct expr_run *x, struct expr_fields *f, struct slice name, struct bval v) {
    for (uint32_t i = 0; i < f->count; i++) {
        if (!slice_equal(f->at[i].name, name)) continue;
        f->at[i].value = v;
        return ST_OK;
    }
    return expr_fields_add(x, f, name, v);
}

status expr_put_document(struct expr_run *x, const struct expr_fields *f, struct bval *out) {
    size_t len = 5;
    uint8_t *to = NULL;
    for (uint32_t i = 0; i < f->count; i++) {
        if (f->at[i].value.type != B_MISSING) len += 2 + f->at[i].name.len + f->at[i].value.len;
    }
    if (len > EXPR_LEN_MAX) return too_large(x, len);
    TRY(expr_alloc(x, len, &to));
    *out = (struct bval){to, (uint32_t) len, B_DOCUMENT};
    put_le32(to, (uint32_t) len);
    to += 4;
    for (uint32_t i = 0; i < f->count; i++) {
        const struct belem *e = &f->at[i];
        if (e->value.type == B_MISSING) continue;
        *to++ = e->value.type;
        if (e->name.len != 0) memcpy(to, e->name.p, e->name.len);
        to += e->name.len;
        *to++ = 0;
        if (e->value.len != 0) memcpy(to, e->value.p, e->value.len);
        to += e->value.len;
    }
    *to = 0;
    return ST_OK;
}

static bool is_deeper(struct bval v, uint32_t levels) {
    if (v.type != B_DOCUMENT && v.type != B_ARRAY) return false;
    if (levels == 0) return true;
    struct biter it = biter_of(bval_doc(v));
    struct belem e;
    while (biter_next(&it, &e)) {
        if (is_deeper(e.value, levels - 1)) return true;
    }
    return false;
}

status expr_check_depth(struct expr_run *x, struct bval v) {
    if (!is_deeper(v, BSON_DEPTH_MAX)) return ST_OK;
    return EXPR_RAISE(x, CODE_Overflow, "an expression makes a value of more than %d levels", BSON_DEPTH_MAX);
}
