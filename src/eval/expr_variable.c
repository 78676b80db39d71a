/* Operators that bind variables or choose what to evaluate: $let, $map, $filter, $reduce, $cond, $switch, $ifNull; and
 * $literal, $meta, $rand, whose arguments are no expressions. All are lazy.
 *
 * What a loop's body leaves in the arena is given back after each round where only its answer counts ($filter), or
 * copied out ($reduce), so that a long array does not pile up garbage. */
#include "eval/expr_internal.h"

struct binding {
    uint32_t slots[2];
};

/* The fields of an operator's object, in the order of `names`; B_MISSING where one is absent. */
static status read_fields(const struct expr_op *op, const struct expr_named *n, struct bval v, struct bval *fields,
                          struct err *err) {
    if (v.type != B_DOCUMENT)
        return RAISE_CODE(err, n->not_object, "%s only supports an object as its argument", op->name);
    uint32_t count = 0;
    for (; n->names[count] != NULL; count++) fields[count] = BVAL_MISSING;
    struct biter it = biter_of(bval_doc(v));
    struct belem e;
    while (biter_next(&it, &e)) {
        uint32_t i = 0;
        while (i < count && !slice_equal(e.name, slice_str(n->names[i]))) i++;
        if (i == count)
            return RAISE_CODE(err, n->unknown, "Unrecognized parameter to %s: %.*s", op->name, SLICE_ARGS(e.name));
        fields[i] = e.value;
    }
    for (uint32_t i = 0; i < count; i++) {
        if ((n->required >> i & 1) != 0 && fields[i].type == B_MISSING)
            return RAISE_CODE(err, n->missing + (int32_t) i, "Missing '%s' parameter to %s", n->names[i], op->name);
    }
    return ST_OK;
}

/* --- $let ------------------------------------------------------------------------------------------------------ */

static const char *const let_names[] = {"vars", "in", NULL};
static const struct expr_named let_fields = {let_names, 3, 16874, 16875, 16876};

static status parse_let(struct expr_scope *scope, struct bval v, struct expr *e, struct err *err) {
    struct bval f[2];
    TRY(read_fields(e->op, &let_fields, v, f, err));
    if (f[0].type != B_DOCUMENT)
        return RAISE_CODE(err, 10065, "invalid parameter: expected an object (vars)");
    uint32_t count = bdoc_count(bval_doc(f[0])), i = 0;
    uint32_t *slots = arena_array(scope->arena, uint32_t, (size_t) count + 1);
    const struct expr_var *outer = scope->vars, *bound = outer;
    if (slots == NULL) return RAISE(err, ST_NOMEM, "expression");
    TRY(expr_args(scope, e, count + 1, err));
    struct biter it = biter_of(bval_doc(f[0]));
    struct belem var;
    for (; biter_next(&it, &var); i++) { /* each value sees what was in scope outside */
        scope->vars = outer;
        TRY(expr_arg(scope, e, i, var.value, err));
        scope->vars = bound;
        TRY(expr_scope_bind(scope, var.name, &slots[i], err));
        bound = scope->vars;
    }
    TRY(expr_arg(scope, e, count, f[1], err));
    scope->vars = outer;
    e->extra = slots;
    return ST_OK;
}

static status op_let(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    const uint32_t *slots = e->extra;
    (void) args;
    for (uint32_t i = 0; i + 1 < e->argc; i++) TRY(expr_eval(x, e->args[i], &x->slots[slots[i]]));
    return expr_eval(x, e->args[e->argc - 1], out);
}

/* --- $map, $filter, $reduce ------------------------------------------------------------------------------------ */

/* Binds the loop variable (`this` without a name) and parses what is evaluated for each element. */
static status parse_body(struct expr_scope *scope, struct bval as, struct bval body, struct expr *e, uint32_t arg,
                         uint32_t *slot, struct err *err) {
    const struct expr_var *outer = scope->vars;
    struct slice name = SLICE_LIT("this");
    if (as.type != B_MISSING && as.type != B_STRING)
        return RAISE_CODE(err, CODE_TypeMismatch, "%s: 'as' must be a string, found %s", e->op->name, btype_name(as.type));
    if (as.type == B_STRING) name = bval_string(as);
    TRY(expr_scope_bind(scope, name, slot, err));
    TRY(expr_arg(scope, e, arg, body, err));
    scope->vars = outer;
    return ST_OK;
}

static struct binding *new_binding(struct expr_scope *scope, struct expr *e) {
    struct binding *b = arena_new(scope->arena, struct binding);
    e->extra = b;
    return b;
}

static const char *const map_names[] = {"input", "as", "in", NULL};
static const struct expr_named map_fields = {map_names, 5, 16878, 16879, 16880};

static status parse_map(struct expr_scope *scope, struct bval v, struct expr *e, struct err *err) {
    struct bval f[3];
    struct binding *b = new_binding(scope, e);
    if (b == NULL) return RAISE(err, ST_NOMEM, "expression");
    TRY(read_fields(e->op, &map_fields, v, f, err));
    TRY(expr_args(scope, e, 2, err));
    TRY(expr_arg(scope, e, 0, f[0], err));
    return parse_body(scope, f[1], f[2], e, 1, &b->slots[0], err);
}

/* The input of a loop: *done with null for a nullish one, an error for what is no array. */
static status loop_input(struct expr_run *x, const struct expr *e, int32_t code, struct bval *input, struct bval *out,
                         bool *done) {
    TRY(expr_eval(x, e->args[0], input));
    *done = bval_is_nullish(*input);
    *out = expr_null;
    if (*done || input->type == B_ARRAY) return ST_OK;
    return EXPR_RAISE(x, code, "input to %s must be an array not %s", e->op->name, expr_type_name(*input));
}

static status op_map(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    const struct binding *b = e->extra;
    struct bval input, v;
    struct expr_list list = {0};
    bool done;
    (void) args;
    TRY(loop_input(x, e, 16883, &input, out, &done));
    if (done) return ST_OK;
    struct biter it = biter_of(bval_doc(input));
    struct belem item;
    while (biter_next(&it, &item)) {
        x->slots[b->slots[0]] = item.value;
        TRY(expr_eval(x, e->args[1], &v));
        TRY(expr_list_push(x, &list, v));
    }
    return expr_put_array(x, list.at, list.count, out);
}

static const char *const filter_names[] = {"input", "as", "cond", "limit", NULL};
static const struct expr_named filter_fields = {filter_names, 5, 28646, 28647, 28648};

static status parse_filter(struct expr_scope *scope, struct bval v, struct expr *e, struct err *err) {
    struct bval f[4];
    struct binding *b = new_binding(scope, e);
    if (b == NULL) return RAISE(err, ST_NOMEM, "expression");
    TRY(read_fields(e->op, &filter_fields, v, f, err));
    TRY(expr_args(scope, e, 3, err));
    TRY(expr_arg(scope, e, 0, f[0], err));
    if (f[3].type != B_MISSING) TRY(expr_arg(scope, e, 2, f[3], err));
    return parse_body(scope, f[1], f[2], e, 1, &b->slots[0], err);
}

static status filter_limit(struct expr_run *x, const struct expr *e, uint32_t *out) {
    struct bval v;
    int32_t n;
    *out = UINT32_MAX;
    if (e->args[2] == NULL) return ST_OK;
    TRY(expr_eval(x, e->args[2], &v));
    if (bval_is_nullish(v)) return ST_OK;
    if (!expr_int32(v, &n)) {
        struct description d;
        return EXPR_RAISE(x, 327391, "$filter: limit must be represented as a 32-bit integral value: %s",
                          describe_value(&d, v));
    }
    if (n < 1) return EXPR_RAISE(x, 327392, "$filter: limit must be greater than 0: %d", (int) n);
    *out = (uint32_t) n;
    return ST_OK;
}

static status op_filter(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    const struct binding *b = e->extra;
    struct bval input;
    struct expr_list list = {0};
    uint32_t limit;
    bool done, keeps;
    (void) args;
    TRY(loop_input(x, e, 28651, &input, out, &done));
    if (done) return ST_OK;
    TRY(filter_limit(x, e, &limit));
    struct biter it = biter_of(bval_doc(input));
    struct belem item;
    while (list.count < limit && biter_next(&it, &item)) {
        struct arena_mark mark = arena_mark(x->arena);
        x->slots[b->slots[0]] = item.value;
        TRY(expr_test(x, e->args[1], &keeps));
        arena_rewind(x->arena, mark);
        if (keeps) TRY(expr_list_push(x, &list, item.value));
    }
    return expr_put_array(x, list.at, list.count, out);
}

static const char *const reduce_names[] = {"input", "initialValue", "in", NULL};
static const struct expr_named reduce_fields = {reduce_names, 7, 40075, 40076, 40077};

static status parse_reduce(struct expr_scope *scope, struct bval v, struct expr *e, struct err *err) {
    struct bval f[3];
    struct binding *b = new_binding(scope, e);
    const struct expr_var *outer = scope->vars;
    if (b == NULL) return RAISE(err, ST_NOMEM, "expression");
    TRY(read_fields(e->op, &reduce_fields, v, f, err));
    TRY(expr_args(scope, e, 3, err));
    TRY(expr_arg(scope, e, 0, f[0], err));
    TRY(expr_arg(scope, e, 1, f[1], err));
    TRY(expr_scope_bind(scope, SLICE_LIT("this"), &b->slots[0], err));
    TRY(expr_scope_bind(scope, SLICE_LIT("value"), &b->slots[1], err));
    TRY(expr_arg(scope, e, 2, f[2], err));
    scope->vars = outer;
    return ST_OK;
}

/* One round: the value so far moves between two buffers, so that what the rounds leave in the arena can go. */
static status reduce_round(struct expr_run *x, const struct expr *e, struct bval *value, struct buf *next) {
    const struct binding *b = e->extra;
    struct arena_mark mark = arena_mark(x->arena);
    x->slots[b->slots[1]] = *value;
    TRY(expr_eval(x, e->args[2], value));
    TRY(expr_check_depth(x, *value));
    buf_clear(next);
    if (!buf_append(next, value->p, value->len)) return RAISE(x->err, ST_NOMEM, "$reduce");
    value->p = next->p;
    arena_rewind(x->arena, mark);
    return ST_OK;
}

static status op_reduce(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    const struct binding *b = e->extra;
    struct bval input, value;
    struct buf bufs[2];
    bool done;
    (void) args;
    TRY(loop_input(x, e, 40080, &input, out, &done));
    if (done) return ST_OK;
    TRY(expr_eval(x, e->args[1], &value));
    buf_init(&bufs[0], x->mem);
    buf_init(&bufs[1], x->mem);
    struct biter it = biter_of(bval_doc(input));
    struct belem item;
    status st = ST_OK;
    for (uint32_t i = 0; st == ST_OK && biter_next(&it, &item); i++) {
        x->slots[b->slots[0]] = item.value;
        st = reduce_round(x, e, &value, &bufs[i % 2]);
    }
    if (st == ST_OK) st = expr_put(x, value.type, value.p, value.len, out);
    buf_release(&bufs[0]);
    buf_release(&bufs[1]);
    return st;
}

/* --- $cond, $switch, $ifNull ----------------------------------------------------------------------------------- */

static const char *const cond_names[] = {"if", "then", "else", NULL};
static const struct expr_named cond_fields = {cond_names, 7, 16020, 17083, 17080};

static status parse_cond(struct expr_scope *scope, struct bval v, struct expr *e, struct err *err) {
    struct bval f[3];
    if (v.type == B_DOCUMENT) {
        TRY(read_fields(e->op, &cond_fields, v, f, err));
    } else {
        uint32_t count = v.type == B_ARRAY ? bdoc_count(bval_doc(v)) : 1;
        if (count != 3)
            return RAISE_CODE(err, 16020, "Expression $cond takes exactly 3 arguments. %u were passed in.", count);
        for (uint32_t i = 0; i < 3; i++) f[i] = barray_at(bval_doc(v), i);
    }
    TRY(expr_args(scope, e, 3, err));
    for (uint32_t i = 0; i < 3; i++) TRY(expr_arg(scope, e, i, f[i], err));
    return ST_OK;
}

static status op_cond(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    bool is_true;
    (void) args;
    TRY(expr_test(x, e->args[0], &is_true));
    return expr_eval(x, e->args[is_true ? 1 : 2], out);
}

static status parse_branch(struct expr_scope *scope, struct bval v, struct expr *e, uint32_t at, struct err *err) {
    if (v.type != B_DOCUMENT)
        return RAISE_CODE(err, 40062, "$switch requires each branch to be an object, found: %s", btype_name(v.type));
    struct biter it = biter_of(bval_doc(v));
    struct belem f;
    while (biter_next(&it, &f)) {
        if (slice_equal(f.name, SLICE_LIT("case"))) TRY(expr_arg(scope, e, at, f.value, err));
        else if (slice_equal(f.name, SLICE_LIT("then"))) TRY(expr_arg(scope, e, at + 1, f.value, err));
        else
            return RAISE_CODE(err, 40063, "$switch found an unknown argument to a branch: %.*s", SLICE_ARGS(f.name));
    }
    if (e->args[at] == NULL) return RAISE_CODE(err, 40064, "$switch requires each branch have a 'case' expression");
    if (e->args[at + 1] == NULL) return RAISE_CODE(err, 40065, "$switch requires each branch have a 'then' expression.");
    return ST_OK;
}

/* args: case, then, case, then, ..., default (or NULL). */
static status parse_switch(struct expr_scope *scope, struct bval v, struct expr *e, struct err *err) {
    struct bval branches = BVAL_MISSING, otherwise = BVAL_MISSING;
    if (v.type != B_DOCUMENT)
        return RAISE_CODE(err, 40060, "$switch requires an object as an argument, found: %s", btype_name(v.type));
    struct biter it = biter_of(bval_doc(v));
    struct belem f;
    while (biter_next(&it, &f)) {
        if (slice_equal(f.name, SLICE_LIT("branches"))) branches = f.value;
        else if (slice_equal(f.name, SLICE_LIT("default"))) otherwise = f.value;
        else return RAISE_CODE(err, 40067, "$switch found an unknown argument: %.*s", SLICE_ARGS(f.name));
    }
    if (branches.type != B_MISSING && branches.type != B_ARRAY)
        return RAISE_CODE(err, 40061, "$switch expected an array for 'branches', found: %s", btype_name(branches.type));
    uint32_t count = branches.type == B_ARRAY ? bdoc_count(bval_doc(branches)) : 0, at = 0;
    if (count == 0) return RAISE_CODE(err, 40068, "$switch requires at least one branch.");
    TRY(expr_args(scope, e, 2 * count + 1, err));
    it = biter_of(bval_doc(branches));
    for (; biter_next(&it, &f); at += 2) TRY(parse_branch(scope, f.value, e, at, err));
    return otherwise.type != B_MISSING ? expr_arg(scope, e, at, otherwise, err) : ST_OK;
}

static status op_switch(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    uint32_t last = e->argc - 1;
    (void) args;
    for (uint32_t i = 0; i < last; i += 2) {
        bool is_true;
        TRY(expr_test(x, e->args[i], &is_true));
        if (is_true) return expr_eval(x, e->args[i + 1], out);
    }
    if (e->args[last] != NULL) return expr_eval(x, e->args[last], out);
    return EXPR_RAISE(x, 40066, "$switch could not find a matching branch for an input, and no default was specified.");
}

static status parse_if_null(struct expr_scope *scope, struct bval v, struct expr *e, struct err *err) {
    uint32_t count = v.type == B_ARRAY ? bdoc_count(bval_doc(v)) : 1;
    if (count < 2) return RAISE_CODE(err, 1257300, "$ifNull needs at least two arguments, had: %u", count);
    TRY(expr_args(scope, e, count, err));
    for (uint32_t i = 0; i < count; i++) TRY(expr_arg(scope, e, i, barray_at(bval_doc(v), i), err));
    return ST_OK;
}

static status op_if_null(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    (void) args;
    for (uint32_t i = 0; i < e->argc; i++) {
        TRY(expr_eval(x, e->args[i], out));
        if (!bval_is_nullish(*out)) break;
    }
    return ST_OK;
}

/* --- arguments that are no expressions ------------------------------------------------------------------------- */

static status parse_literal(struct expr_scope *scope, struct bval v, struct expr *e, struct err *err) {
    TRY(expr_args(scope, e, 1, err));
    return expr_constant_new(scope, v, &e->args[0], err);
}

static status op_literal(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    (void) x;
    (void) e;
    *out = args[0];
    return ST_OK;
}

static status parse_meta(struct expr_scope *scope, struct bval v, struct expr *e, struct err *err) {
    static const char *const known[] = {"searchScore", "searchHighlights", "geoNearDistance", "geoNearPoint", "recordId",
                                        "indexKey", "sortKey", "randVal", "searchScoreDetails", "timeseriesBucketMinTime",
                                        "timeseriesBucketMaxTime", "vectorSearchScore"};
    struct description d;
    (void) e;
    if (v.type == B_STRING && slice_equal(bval_string(v), SLICE_LIT("textScore"))) {
        scope->reads_score = true;
        return ST_OK;
    }
    for (size_t i = 0; v.type == B_STRING && i < sizeof(known) / sizeof(known[0]); i++) {
        if (slice_equal(bval_string(v), slice_str(known[i])))
            return RAISE(err, ST_UNSUPPORTED, "{$meta: \"%s\"} is not supported", known[i]);
    }
    return RAISE_CODE(err, 17308, "Unsupported argument to $meta: %s", describe_value(&d, v));
}

static status op_meta(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    (void) e;
    (void) args;
    *out = BVAL_MISSING;
    return x->has_score ? expr_put_double(x, x->score, out) : ST_OK;
}

static status parse_rand(struct expr_scope *scope, struct bval v, struct expr *e, struct err *err) {
    (void) e;
    bool is_empty = (v.type == B_DOCUMENT || v.type == B_ARRAY) && bdoc_is_empty(bval_doc(v));
    if (!is_empty) return RAISE_CODE(err, 3040501, "$rand does not currently accept arguments");
    scope->is_random = true;
    return ST_OK;
}

/* SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014). */
static status op_rand(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    (void) e;
    (void) args;
    uint64_t z = x->random_state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return expr_put_double(x, (double) (z >> 11) * 0x1p-53, out);
}

const struct expr_op expr_variable_ops[] = {
    {"$cond", 3, 3, EXPR_LAZY, op_cond, NULL, parse_cond},
    {"$const", 1, 1, 0, op_literal, NULL, parse_literal},
    {"$filter", 1, 1, EXPR_LAZY, op_filter, NULL, parse_filter},
    {"$ifNull", 2, -1, EXPR_LAZY, op_if_null, NULL, parse_if_null},
    {"$let", 1, 1, EXPR_LAZY, op_let, NULL, parse_let},
    {"$literal", 1, 1, 0, op_literal, NULL, parse_literal},
    {"$map", 1, 1, EXPR_LAZY, op_map, NULL, parse_map},
    {"$meta", 1, 1, EXPR_IMPURE, op_meta, NULL, parse_meta},
    {"$rand", 0, 0, EXPR_IMPURE, op_rand, NULL, parse_rand},
    {"$reduce", 1, 1, EXPR_LAZY, op_reduce, NULL, parse_reduce},
    {"$switch", 1, -1, EXPR_LAZY, op_switch, NULL, parse_switch},
    {0},
};
