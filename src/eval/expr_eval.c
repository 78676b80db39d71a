/* Evaluating expressions: constants, paths, arrays, objects, and the frame around every operator's call. */
#include "eval/expr_internal.h"

#define ARGS_FEW 4

/* What a path means (MongoDB's rule for expressions, not that of matches): names lead through documents; an array is
 * entered element by element and gives the array of what its documents give; positions mean nothing. */
static status walk_array(struct expr_run *x, const struct expr *e, uint32_t at, struct bdoc array, struct bval *out);

static status walk(struct expr_run *x, const struct expr *e, uint32_t at, struct bval v, struct bval *out) {
    for (; at < e->name_count; at++) {
        if (v.type == B_ARRAY) return walk_array(x, e, at, bval_doc(v), out);
        if (v.type != B_DOCUMENT) {
            *out = BVAL_MISSING;
            return ST_OK;
        }
        v = field_get(bval_doc(v), &e->names[at]);
    }
    *out = v;
    return ST_OK;
}

static status walk_array(struct expr_run *x, const struct expr *e, uint32_t at, struct bdoc array, struct bval *out) {
    struct field_scan scan = field_scan_of(array);
    struct field f;
    struct expr_list list = {0};
    while (field_next(&scan, &f)) {
        struct bval v;
        if (f.value.type != B_DOCUMENT) continue;
        TRY(walk(x, e, at, f.value, &v));
        if (v.type != B_MISSING) TRY(expr_list_push(x, &list, v));
    }
    return expr_put_array(x, list.at, list.count, out);
}

static status eval_array(struct expr_run *x, const struct expr *e, struct bval *out) {
    struct bval *values;
    TRY(expr_alloc(x, (size_t) e->argc * sizeof(*values) + 1, &values));
    for (uint32_t i = 0; i < e->argc; i++) TRY(expr_eval(x, e->args[i], &values[i]));
    return expr_put_array(x, values, e->argc, out);
}

static status eval_object(struct expr_run *x, const struct expr *e, struct bval *out) {
    struct expr_fields f = {.count = e->argc};
    TRY(expr_alloc(x, (size_t) e->argc * sizeof(*f.at) + 1, &f.at));
    for (uint32_t i = 0; i < e->argc; i++) {
        f.at[i].name = e->names[i].name;
        TRY(expr_eval(x, e->args[i], &f.at[i].value));
    }
    return expr_put_document(x, &f, out);
}

static status eval_call(struct expr_run *x, const struct expr *e, struct bval *out) {
    const struct expr_op *op = e->op;
    if ((op->flags & EXPR_LAZY) != 0) return op->call(x, e, NULL, out);
    struct bval few[ARGS_FEW], *args = few;
    bool has_null = false;
    if (e->argc > ARGS_FEW) TRY(expr_alloc(x, e->argc * sizeof(*args), &args));
    for (uint32_t i = 0; i < e->argc; i++) {
        args[i] = BVAL_MISSING;
        if (e->args[i] == NULL) continue;
        TRY(expr_eval(x, e->args[i], &args[i]));
        has_null = has_null || bval_is_nullish(args[i]);
    }
    if (has_null && (op->flags & EXPR_NULL_IN_NULL_OUT) != 0) {
        *out = expr_null;
        return ST_OK;
    }
    return op->call(x, e, args, out);
}

status expr_eval(struct expr_run *x, const struct expr *e, struct bval *out) {
    switch (e->kind) {
    case EXPR_CONSTANT: *out = e->value; return ST_OK;
    case EXPR_PATH: {
        struct bval v =
            e->slot == EXPR_SLOT_ROOT ? (struct bval){x->root.p, x->root.len, B_DOCUMENT} : x->slots[e->slot];
        return walk(x, e, 0, v, out);
    }
    case EXPR_ARRAY: return eval_array(x, e, out);
    case EXPR_OBJECT: return eval_object(x, e, out);
    case EXPR_CALL: return eval_call(x, e, out);
    }
    *out = BVAL_MISSING;
    return ST_OK;
}

status expr_test(struct expr_run *x, const struct expr *e, bool *out) {
    struct bval v;
    TRY(expr_eval(x, e, &v));
    *out = v.type != B_MISSING && bval_truthy(v);
    return ST_OK;
}
