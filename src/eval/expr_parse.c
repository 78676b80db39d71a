/* From BSON to expressions; expr.h is the contract.
 *
 * Operators are found in the families' tables by name. After its arguments an operator whose arguments are all constant
 * is evaluated on the spot and becomes a constant itself. */
#include "bson/number.h"
#include "eval/expr_internal.h"
#include "eval/regex.h"

enum { OPERATOR_DEPTH_MAX = 200 };

static const struct expr_op *const families[] = {
    expr_arith_ops,   expr_trig_ops,    expr_array_ops,  expr_string_ops, expr_text_ops,
    expr_date_ops,    expr_date_math_ops, expr_compare_ops, expr_object_ops, expr_convert_ops,
    expr_set_ops,     expr_variable_ops, expr_accum_ops,  expr_misc_ops,   expr_n_ops,
};

static status no_memory(struct err *err) { return RAISE(err, ST_NOMEM, "expression"); }

static const struct expr_op *find_op(struct slice name) {
    for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
        for (const struct expr_op *op = families[i]; op->name != NULL; op++) {
            if (slice_equal(name, slice_str(op->name))) return op;
        }
    }
    return NULL;
}

bool expr_is_operator(struct slice name) { return find_op(name) != NULL; }

/* --- the scope ------------------------------------------------------------------------------------------------- */

void expr_scope_init(struct expr_scope *scope, const struct mem *mem, struct arena *arena, int64_t now_ms) {
    *scope = (struct expr_scope){.mem = mem, .arena = arena, .now_ms = now_ms};
}

void expr_scope_release(struct expr_scope *scope) {
    regex_free_all(scope->mem, scope->regexes);
    scope->regexes = NULL;
}

/* A user's names start with a small letter, the system's with a capital: both may be read. */
static status check_variable_name(struct slice name, bool reads, struct err *err) {
    if (name.len == 0) return RAISE_CODE(err, CODE_FailedToParse, "empty variable names are not allowed");
    if (slice_equal(name, SLICE_LIT("CURRENT"))) return ST_OK;
    uint8_t c = name.p[0];
    if (!((c >= 'a' && c <= 'z') || c >= 0x80 || (reads && c >= 'A' && c <= 'Z')))
        return RAISE_CODE(err, CODE_FailedToParse,
                          "'%.*s' starts with an invalid character for a user variable name", SLICE_ARGS(name));
    for (size_t i = 1; i < name.len; i++) {
        c = name.p[i];
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c >= 0x80) continue;
        return RAISE_CODE(err, CODE_FailedToParse, "'%.*s' contains an invalid character for a variable name: '%c'",
                          SLICE_ARGS(name), c);
    }
    return ST_OK;
}

status expr_scope_bind(struct expr_scope *scope, struct slice name, uint32_t *slot, struct err *err) {
    TRY(check_variable_name(name, false, err));
    if (scope->slot_count == EXPR_SLOTS_MAX)
        return RAISE_CODE(err, CODE_BadValue, "too many variables, the limit is %d", EXPR_SLOTS_MAX);
    struct expr_var *var = arena_new(scope->arena, struct expr_var);
    if (var == NULL) return no_memory(err);
    *slot = scope->slot_count++;
    *var = (struct expr_var){name, *slot, scope->vars};
    scope->vars = var;
    return ST_OK;
}

static const struct expr_var *find_var(const struct expr_scope *scope, struct slice name) {
    for (const struct expr_var *v = scope->vars; v != NULL; v = v->outer) {
        if (slice_equal(v->name, name)) return v;
    }
    return NULL;
}

/* --- nodes ----------------------------------------------------------------------------------------------------- */

static status node_new(struct expr_scope *scope, enum expr_kind kind, struct expr **out, struct err *err) {
    struct expr *e = arena_new(scope->arena, struct expr);
    if (e == NULL) return no_memory(err);
    e->kind = kind;
    *out = e;
    return ST_OK;
}

status expr_constant_new(struct expr_scope *scope, struct bval v, const struct expr **out, struct err *err) {
    struct expr *e = NULL;
    TRY(node_new(scope, EXPR_CONSTANT, &e, err));
    e->value = v;
    *out = e;
    return ST_OK;
}

status expr_slot_new(struct expr_scope *scope, uint32_t slot, const struct expr **out, struct err *err) {
    struct expr *e = NULL;
    TRY(node_new(scope, EXPR_PATH, &e, err));
    e->slot = slot;
    *out = e;
    return ST_OK;
}

status expr_args(struct expr_scope *scope, struct expr *e, uint32_t count, struct err *err) {
    e->args = arena_array(scope->arena, const struct expr *, (size_t) count + 1);
    e->argc = count;
    return e->args != NULL ? ST_OK : no_memory(err);
}

/* --- paths and variables --------------------------------------------------------------------------------------- */

static status check_field_name(struct slice name, bool is_last, struct err *err) {
    if (name.len == 0 && is_last) return RAISE_CODE(err, 40353, "FieldPath must not end with a '.'.");
    if (name.len == 0) return RAISE_CODE(err, 15998, "FieldPath field names may not be empty strings.");
    if (name.p[0] == '$')
        return RAISE_CODE(err, 16410,
                          "FieldPath field names may not start with '$'. Consider using $getField or $setField.");
    if (memchr(name.p, 0, name.len) != NULL)
        return RAISE_CODE(err, 16411, "FieldPath field names may not contain '\\0'.");
    return ST_OK;
}

/* The names of a dotted path, after the first `skip`. */
static status split_path(struct expr_scope *scope, struct slice text, struct expr *e, struct err *err) {
    TRY(path_parse(scope->arena, text, &e->path, err));
    struct field_name *names = arena_array(scope->arena, struct field_name, (size_t) e->path.part_count + 1);
    if (names == NULL) return no_memory(err);
    for (uint32_t i = 0; i < e->path.part_count; i++) {
        TRY(check_field_name(e->path.parts[i].name, i + 1 == e->path.part_count, err));
        names[i] = field_name_of(e->path.parts[i].name);
    }
    e->names = names;
    e->name_count = e->path.part_count;
    return ST_OK;
}

/* System variables with a value of their own. */
static status system_constant(struct expr_scope *scope, struct slice name, struct bval *out, struct err *err) {
    static const struct {
        const char *name;
        const char *text; /* as a BSON string */
        uint32_t len;
    } actions[] = {{"KEEP", "\5\0\0\0keep", 9}, {"PRUNE", "\6\0\0\0prune", 10}, {"DESCEND", "\x8\0\0\0descend", 12}};
    *out = BVAL_MISSING;
    for (size_t i = 0; i < 3; i++) {
        if (!slice_equal(name, slice_str(actions[i].name))) continue;
        *out = (struct bval){(const uint8_t *) actions[i].text, actions[i].len, B_STRING};
        return ST_OK;
    }
    if (slice_equal(name, SLICE_LIT("NOW"))) {
        uint8_t *p = arena_copy(scope->arena, &scope->now_ms, 8);
        if (p == NULL) return no_memory(err);
        *out = (struct bval){p, 8, B_DATE};
        return ST_OK;
    }
    if (slice_equal(name, SLICE_LIT("CLUSTER_TIME"))) {
        if (scope->cluster_time == 0)
            return RAISE_CODE(err, 51144, "Builtin variable '$$CLUSTER_TIME' is not available");
        uint8_t *p = arena_copy(scope->arena, &scope->cluster_time, 8);
        if (p == NULL) return no_memory(err);
        *out = (struct bval){p, 8, B_TIMESTAMP};
        return ST_OK;
    }
    if (slice_equal(name, SLICE_LIT("SEARCH_META")) || slice_equal(name, SLICE_LIT("USER_ROLES")) ||
        slice_equal(name, SLICE_LIT("JS_SCOPE")))
        return RAISE(err, ST_UNSUPPORTED, "the variable $$%.*s is not supported", SLICE_ARGS(name));
    return ST_NOT_FOUND;
}

/* "$$name" or "$$name.path". */
static status parse_variable(struct expr_scope *scope, struct slice text, const struct expr **out, struct err *err) {
    const uint8_t *dot = memchr(text.p, '.', text.len);
    struct slice name = {text.p, dot != NULL ? (size_t) (dot - text.p) : text.len};
    struct expr *e = NULL;
    TRY(check_variable_name(name, true, err));
    TRY(node_new(scope, EXPR_PATH, &e, err));
    if (dot != NULL) TRY(split_path(scope, slice_of(dot + 1, text.len - name.len - 1), e, err));
    const struct expr_var *var = find_var(scope, name);
    *out = e;
    if (var != NULL) {
        e->slot = var->slot;
        return ST_OK;
    }
    e->slot = EXPR_SLOT_ROOT;
    if (slice_equal(name, SLICE_LIT("ROOT")) || slice_equal(name, SLICE_LIT("CURRENT"))) return ST_OK;
    if (slice_equal(name, SLICE_LIT("REMOVE"))) {
        e->kind = EXPR_CONSTANT;
        e->value = BVAL_MISSING;
        return ST_OK;
    }
    struct bval v = BVAL_MISSING;
    status st = system_constant(scope, name, &v, err);
    if (st == ST_NOT_FOUND) return RAISE_CODE(err, 17276, "Use of undefined variable: %.*s", SLICE_ARGS(name));
    TRY(st);
    e->kind = EXPR_CONSTANT;
    e->value = dot == NULL ? v : BVAL_MISSING;
    return ST_OK;
}

static status parse_path(struct expr_scope *scope, struct slice text, const struct expr **out, struct err *err) {
    struct expr *e = NULL;
    if (text.len == 0) return RAISE_CODE(err, 16872, "'$' by itself is not a valid FieldPath");
    if (text.p[0] == '$') return parse_variable(scope, slice_of(text.p + 1, text.len - 1), out, err);
    TRY(node_new(scope, EXPR_PATH, &e, err));
    TRY(split_path(scope, text, e, err));
    const struct expr_var *current = find_var(scope, SLICE_LIT("CURRENT"));
    e->slot = current != NULL ? current->slot : EXPR_SLOT_ROOT;
    *out = e;
    return ST_OK;
}

/* --- operators ------------------------------------------------------------------------------------------------- */

static status wrong_count(const struct expr_op *op, uint32_t count, struct err *err) {
    if (op->min == op->max)
        return RAISE_CODE(err, 16020, "Expression %s takes exactly %d arguments. %u were passed in.", op->name, op->min,
                          count);
    if (op->max < 0)
        return RAISE_CODE(err, 28667, "Expression %s takes at least %d arguments, but %u were passed in.", op->name,
                          op->min, count);
    return RAISE_CODE(err, 28667, "Expression %s takes at least %d arguments, and at most %d, but %u were passed in.",
                      op->name, op->min, op->max, count);
}

static status parse_positional(struct expr_scope *scope, const struct expr_op *op, struct bval v, struct expr *e,
                               struct err *err) {
    uint32_t count = v.type == B_ARRAY ? bdoc_count(bval_doc(v)) : 1, i = 0;
    if ((int64_t) count < op->min || (op->max >= 0 && (int64_t) count > op->max)) return wrong_count(op, count, err);
    TRY(expr_args(scope, e, count, err));
    if (v.type != B_ARRAY) return expr_arg(scope, e, 0, v, err);
    struct biter it = biter_of(bval_doc(v));
    struct belem item;
    while (biter_next(&it, &item)) TRY(expr_arg(scope, e, i++, item.value, err));
    return ST_OK;
}

status expr_parse_named(struct expr_scope *scope, const struct expr_op *op, struct bval v, struct expr *e,
                        struct err *err) {
    const struct expr_named *n = op->named;
    uint32_t count = 0;
    if (v.type != B_DOCUMENT)
        return RAISE_CODE(err, n->not_object, "%s requires an object as an argument, found: %s", op->name,
                          btype_name(v.type));
    while (n->names[count] != NULL) count++;
    TRY(expr_args(scope, e, count, err));
    struct biter it = biter_of(bval_doc(v));
    struct belem item;
    while (biter_next(&it, &item)) {
        uint32_t i = 0;
        while (i < count && !slice_equal(item.name, slice_str(n->names[i]))) i++;
        if (i == count)
            return RAISE_CODE(err, n->unknown, "%s found an unknown argument: %.*s", op->name, SLICE_ARGS(item.name));
        TRY(expr_arg(scope, e, i, item.value, err));
    }
    for (uint32_t i = 0; i < count; i++) {
        if ((n->required >> i & 1) != 0 && e->args[i] == NULL)
            return RAISE_CODE(err, n->missing, "%s requires '%s' to be specified", op->name, n->names[i]);
    }
    return ST_OK;
}

static bool is_foldable(const struct expr *e) {
    if (e->kind == EXPR_CALL && (e->op->flags & EXPR_IMPURE) != 0) return false;
    for (uint32_t i = 0; i < e->argc; i++) {
        if (e->args[i] != NULL && e->args[i]->kind != EXPR_CONSTANT) return false;
    }
    return true;
}

static status fold(struct expr_scope *scope, struct expr *e, struct err *err) {
    struct expr_run x = {.root = bdoc_empty, .arena = scope->arena, .err = err, .mem = scope->mem};
    struct bval v;
    if (!is_foldable(e)) return ST_OK;
    x.memory_max = scope->arena->used + 2 * EXPR_LEN_MAX;
    x.slots = arena_array(scope->arena, struct bval, (size_t) scope->slot_count + 1);
    if (x.slots == NULL) return no_memory(err);
    TRY(expr_eval(&x, e, &v));
    *e = (struct expr){.kind = EXPR_CONSTANT, .value = v};
    return ST_OK;
}

static status parse_operator(struct expr_scope *scope, struct belem field, const struct expr **out, struct err *err) {
    const struct expr_op *op = find_op(field.name);
    struct expr *e = NULL;
    if (op == NULL)
        return RAISE_CODE(err, CODE_InvalidPipelineOperator, "Unrecognized expression '%.*s'", SLICE_ARGS(field.name));
    if (op->call == NULL && op->parse == NULL)
        return RAISE(err, ST_UNSUPPORTED, "the expression %s is not supported", op->name);
    TRY(node_new(scope, EXPR_CALL, &e, err));
    e->op = op;
    if (op->parse != NULL) TRY(op->parse(scope, field.value, e, err));
    else if (op->named != NULL) TRY(expr_parse_named(scope, op, field.value, e, err));
    else TRY(parse_positional(scope, op, field.value, e, err));
    *out = e;
    return fold(scope, e, err);
}

/* --- values ---------------------------------------------------------------------------------------------------- */

static status parse_object(struct expr_scope *scope, struct bdoc doc, const struct expr **out, struct err *err) {
    struct biter it = biter_of(doc);
    struct belem field;
    struct expr *e = NULL;
    uint32_t count = bdoc_count(doc), i = 0;
    if (biter_next(&it, &field) && field.name.len > 0 && field.name.p[0] == '$') {
        struct description d;
        if (count != 1)
            return RAISE_CODE(err, 15983, "an object representing an expression must have exactly one field: %s",
                              describe_doc(&d, doc));
        return parse_operator(scope, field, out, err);
    }
    TRY(node_new(scope, EXPR_OBJECT, &e, err));
    TRY(expr_args(scope, e, count, err));
    struct field_name *names = arena_array(scope->arena, struct field_name, (size_t) count + 1);
    if (names == NULL) return no_memory(err);
    it = biter_of(doc);
    for (; biter_next(&it, &field); i++) {
        TRY(check_field_name(field.name, false, err));
        if (memchr(field.name.p, '.', field.name.len) != NULL)
            return RAISE_CODE(err, 16412,
                              "FieldPath field names may not contain '.'. Consider using $getField or $setField.");
        for (uint32_t k = 0; k < i; k++) {
            if (slice_equal(names[k].name, field.name))
                return RAISE_CODE(err, 16406, "duplicate field name specified in object literal: %.*s",
                                  SLICE_ARGS(field.name));
        }
        names[i] = field_name_of(field.name);
        TRY(expr_arg(scope, e, i, field.value, err));
    }
    e->names = names;
    *out = e;
    return fold(scope, e, err);
}

static status parse_array(struct expr_scope *scope, struct bdoc array, const struct expr **out, struct err *err) {
    struct biter it = biter_of(array);
    struct belem item;
    struct expr *e = NULL;
    uint32_t i = 0;
    TRY(node_new(scope, EXPR_ARRAY, &e, err));
    TRY(expr_args(scope, e, bdoc_count(array), err));
    while (biter_next(&it, &item)) TRY(expr_arg(scope, e, i++, item.value, err));
    *out = e;
    return fold(scope, e, err);
}

status expr_parse(struct expr_scope *scope, struct bval v, const struct expr **out, struct err *err) {
    status st;
    if (++scope->depth > OPERATOR_DEPTH_MAX)
        return RAISE_CODE(err, CODE_Overflow, "expressions are nested deeper than %d levels", OPERATOR_DEPTH_MAX);
    if (v.type == B_STRING && bval_string(v).len > 0 && bval_string(v).p[0] == '$') {
        struct slice s = bval_string(v);
        st = parse_path(scope, slice_of(s.p + 1, s.len - 1), out, err);
    } else if (v.type == B_DOCUMENT) {
        st = parse_object(scope, bval_doc(v), out, err);
    } else if (v.type == B_ARRAY) {
        st = parse_array(scope, bval_doc(v), out, err);
    } else {
        st = expr_constant_new(scope, v, out, err);
    }
    scope->depth--;
    return st;
}

/* --- looking at expressions ------------------------------------------------------------------------------------ */

bool expr_constant(const struct expr *e, struct bval *out) {
    if (e->kind != EXPR_CONSTANT) return false;
    *out = e->value;
    return true;
}

const struct path *expr_field_path(const struct expr *e) {
    return e->kind == EXPR_PATH && e->slot == EXPR_SLOT_ROOT && e->name_count > 0 ? &e->path : NULL;
}

status expr_deps_add_path(struct expr_deps *deps, struct slice path, struct err *err) {
    if (deps->count == deps->cap) {
        uint32_t cap = deps->cap == 0 ? 16 : deps->cap * 2;
        struct slice *paths = arena_array(deps->arena, struct slice, cap);
        if (paths == NULL) return no_memory(err);
        if (deps->count != 0) memcpy(paths, deps->paths, deps->count * sizeof(*paths));
        deps->paths = paths;
        deps->cap = cap;
    }
    deps->paths[deps->count++] = path;
    return ST_OK;
}

status expr_deps_add(struct expr_deps *deps, const struct expr *e, struct err *err) {
    if (e == NULL) return ST_OK;
    if (e->kind == EXPR_PATH && e->slot == EXPR_SLOT_ROOT) {
        if (e->name_count == 0) deps->all = true;
        else TRY(expr_deps_add_path(deps, e->path.text, err));
    }
    for (uint32_t i = 0; i < e->argc; i++) TRY(expr_deps_add(deps, e->args[i], err));
    return ST_OK;
}
