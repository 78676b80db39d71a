/* How expressions are held, and what operators are made of; expr.h has the invariants. */
#ifndef ELMO_EVAL_EXPR_INTERNAL_H
#define ELMO_EVAL_EXPR_INTERNAL_H

#include "base/buf.h"
#include "bson/number.h"
#include "eval/describe.h"
#include "eval/expr.h"
#include "eval/fields.h"

enum expr_kind {
    EXPR_CONSTANT, /* value */
    EXPR_PATH,     /* names under a variable's value, or under the document */
    EXPR_ARRAY,    /* [args] */
    EXPR_OBJECT,   /* {names: args} */
    EXPR_CALL,     /* op of args */
};

enum expr_flag {
    EXPR_NULL_IN_NULL_OUT = 1u << 0, /* any argument null, undefined or missing: null */
    EXPR_LAZY = 1u << 1,             /* evaluates its arguments itself: call gets args NULL */
    EXPR_IMPURE = 1u << 2,           /* not folded */
};

struct expr_op;

#define EXPR_SLOT_ROOT UINT32_MAX

struct expr {
    enum expr_kind kind;
    uint32_t argc;
    const struct expr **args; /* of a call with named arguments: NULL where one is absent */
    const struct expr_op *op;
    struct bval value;                /* CONSTANT */
    uint32_t slot;                    /* PATH: whose value; EXPR_SLOT_ROOT */
    uint32_t name_count;              /* PATH: 0 is the value itself */
    const struct field_name *names;   /* PATH, OBJECT */
    struct path path;                 /* PATH of the document */
    const void *extra;                /* what the operator's parse keeps */
};

/* Arguments as an object, {$trim: {input: ..., chars: ...}}: they become args in the order of `names`. */
struct expr_named {
    const char *const *names; /* ended by NULL */
    uint32_t required;        /* bits */
    int32_t not_object, unknown, missing; /* MongoDB's codes */
};

typedef status expr_call(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out);

struct expr_op {
    const char *name;
    int min, max; /* of arguments; max -1: any number */
    unsigned flags;
    expr_call *call;
    const struct expr_named *named;
    /* Reads an argument of its own form into e->args and e->extra. */
    status (*parse)(struct expr_scope *scope, struct bval v, struct expr *e, struct err *err);
};

extern const struct expr_op expr_arith_ops[], expr_trig_ops[], expr_array_ops[], expr_string_ops[], expr_text_ops[],
    expr_date_ops[], expr_date_math_ops[], expr_compare_ops[], expr_object_ops[], expr_convert_ops[], expr_set_ops[],
    expr_variable_ops[], expr_accum_ops[], expr_misc_ops[], expr_n_ops[];

/* --- for parsing ----------------------------------------------------------------------------------------------- */

/* Puts `count` empty argument places into e. */
status expr_args(struct expr_scope *scope, struct expr *e, uint32_t count, struct err *err);
/* The same with a place parsed. */
static inline status expr_arg(struct expr_scope *scope, struct expr *e, uint32_t i, struct bval v, struct err *err) {
    return expr_parse(scope, v, &e->args[i], err);
}
status expr_parse_named(struct expr_scope *scope, const struct expr_op *op, struct bval v, struct expr *e,
                        struct err *err);
/* A constant node. */
status expr_constant_new(struct expr_scope *scope, struct bval v, const struct expr **out, struct err *err);
/* The $$variable without a path. */
status expr_slot_new(struct expr_scope *scope, uint32_t slot, const struct expr **out, struct err *err);

/* --- results (expr_value.c) ------------------------------------------------------------------------------------ */

#define EXPR_LEN_MAX ((size_t) 64 * 1024 * 1024) /* of one value on the way, as MongoDB's internal limit */

extern const struct bval expr_null, expr_true, expr_false, expr_empty_string, expr_empty_array, expr_empty_doc;

/* Memory of the row; fails past memory_max (146). */
status expr_alloc(struct expr_run *x, size_t len, void *out);
status expr_put(struct expr_run *x, uint8_t type, const void *p, size_t len, struct bval *out); /* copies */
status expr_put_int32(struct expr_run *x, int32_t v, struct bval *out);
status expr_put_int64(struct expr_run *x, int64_t v, struct bval *out);
status expr_put_int(struct expr_run *x, int64_t v, struct bval *out); /* int32 where it fits */
status expr_put_double(struct expr_run *x, double v, struct bval *out);
status expr_put_decimal(struct expr_run *x, struct decimal v, struct bval *out);
status expr_put_number(struct expr_run *x, struct bnum n, struct bval *out);
status expr_put_date(struct expr_run *x, int64_t ms, struct bval *out);
static inline status expr_put_bool(bool v, struct bval *out) {
    *out = v ? expr_true : expr_false;
    return ST_OK;
}
/* A string of `len` bytes to be filled in at *p. */
status expr_string_room(struct expr_run *x, size_t len, uint8_t **p, struct bval *out);
status expr_put_string(struct expr_run *x, struct slice s, struct bval *out);

struct expr_list {
    struct bval *at;
    uint32_t count, cap;
};
status expr_list_push(struct expr_run *x, struct expr_list *l, struct bval v);
/* The elements of an array, appended. */
status expr_list_push_all(struct expr_run *x, struct expr_list *l, struct bdoc array);
/* Missing elements become null. */
status expr_put_array(struct expr_run *x, const struct bval *at, uint32_t count, struct bval *out);

struct expr_fields {
    struct belem *at;
    uint32_t count, cap;
};
status expr_fields_add(struct expr_run *x, struct expr_fields *f, struct slice name, struct bval v);
/* Replaces the field of that name in its place, else adds. */
status expr_fields_set(struct expr_run *x, struct expr_fields *f, struct slice name, struct bval v);
/* Missing values are left out. */
status expr_put_document(struct expr_run *x, const struct expr_fields *f, struct bval *out);
/* Levels of documents and arrays in a value must not pass BSON_DEPTH_MAX: CODE_Overflow (15). */
status expr_check_depth(struct expr_run *x, struct bval v);

#define EXPR_RAISE(x, code, ...) RAISE_CODE((x)->err, code, __VA_ARGS__)

/* The type's name as MongoDB's messages have it: "missing" and so on. */
static inline const char *expr_type_name(struct bval v) { return btype_name(v.type); }

/* --- shared between families ----------------------------------------------------------------------------------- */

/* An integer that the value stands for exactly (any numeric type). */
static inline bool expr_int64(struct bval v, int64_t *out) {
    return bval_is_number(v) && bnum_to_int64_exact(bnum_of(v), out);
}
static inline bool expr_int32(struct bval v, int32_t *out) {
    int64_t n;
    if (!expr_int64(v, &n) || n < INT32_MIN || n > INT32_MAX) return false;
    *out = (int32_t) n;
    return true;
}
/* The text that a value has in string operators: strings, numbers, dates, null as "". Code 16007 for others. */
status expr_text(struct expr_run *x, struct bval v, struct bval *out);

#endif
