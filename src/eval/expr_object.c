/* Objects: $mergeObjects, $objectToArray, $arrayToObject, $getField, $setField, $unsetField. */
#include "eval/expr_internal.h"

static status op_merge_objects(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    struct expr_fields f = {0};
    const struct bval *at = args;
    uint32_t count = e->argc;
    struct expr_list items = {0};
    if (count == 1 && args[0].type == B_ARRAY) {
        TRY(expr_list_push_all(x, &items, bval_doc(args[0])));
        at = items.at;
        count = items.count;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (bval_is_nullish(at[i])) continue;
        if (at[i].type != B_DOCUMENT)
            return EXPR_RAISE(x, 40400, "$mergeObjects requires object inputs, but input %s is of type %s",
                              describe_value(&(struct description){0}, at[i]), expr_type_name(at[i]));
        struct biter it = biter_of(bval_doc(at[i]));
        struct belem field;
        while (biter_next(&it, &field)) TRY(expr_fields_set(x, &f, field.name, field.value));
    }
    return expr_put_document(x, &f, out);
}

static status op_object_to_array(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    struct expr_list list = {0};
    (void) e;
    if (args[0].type != B_DOCUMENT)
        return EXPR_RAISE(x, 40390, "$objectToArray requires a document input, found: %s", expr_type_name(args[0]));
    struct biter it = biter_of(bval_doc(args[0]));
    struct belem field;
    while (biter_next(&it, &field)) {
        struct bval name, pair;
        TRY(expr_put_string(x, field.name, &name));
        struct belem items[2] = {{SLICE_LIT("k"), name}, {SLICE_LIT("v"), field.value}};
        struct expr_fields f = {items, 2, 2};
        TRY(expr_put_document(x, &f, &pair));
        TRY(expr_list_push(x, &list, pair));
    }
    return expr_put_array(x, list.at, list.count, out);
}

static status check_key(struct expr_run *x, struct slice key) {
    if (key.len != 0 && memchr(key.p, 0, key.len) != NULL)
        return EXPR_RAISE(x, 4940401, "Key field cannot contain an embedded null byte");
    return ST_OK;
}

/* [key, value] */
static status pair_of_array(struct expr_run *x, struct bval v, struct expr_fields *f) {
    if (v.type != B_ARRAY)
        return EXPR_RAISE(x, 40396,
                          "$arrayToObject requires a consistent input format. Elements must all be arrays or all be "
                          "objects. Array was detected, now found: %s",
                          expr_type_name(v));
    if (bdoc_count(bval_doc(v)) != 2)
        return EXPR_RAISE(x, 40397, "$arrayToObject requires an array of size 2 arrays,found array of size: %u",
                          bdoc_count(bval_doc(v)));
    struct bval key = barray_at(bval_doc(v), 0);
    if (key.type != B_STRING)
        return EXPR_RAISE(x, 40395,
                          "$arrayToObject requires an array of key-value pairs, where the key must be of type string. "
                          "Found key type: %s",
                          expr_type_name(key));
    TRY(check_key(x, bval_string(key)));
    return expr_fields_set(x, f, bval_string(key), barray_at(bval_doc(v), 1));
}

/* {k: key, v: value} */
static status pair_of_object(struct expr_run *x, struct bval v, struct expr_fields *f) {
    if (v.type != B_DOCUMENT)
        return EXPR_RAISE(x, 40391,
                          "$arrayToObject requires a consistent input format. Elements must all be arrays or all be "
                          "objects. Object was detected, now found: %s",
                          expr_type_name(v));
    if (bdoc_count(bval_doc(v)) != 2)
        return EXPR_RAISE(x, 40392,
                          "$arrayToObject requires an object keys of 'k' and 'v'. Found incorrect number of keys:%u",
                          bdoc_count(bval_doc(v)));
    struct bval key = bdoc_get_str(bval_doc(v), "k"), value = bdoc_get_str(bval_doc(v), "v");
    if (key.type == B_MISSING || value.type == B_MISSING)
        return EXPR_RAISE(x, 40393, "$arrayToObject requires an object with keys 'k' and 'v'. Missing either or both keys");
    if (key.type != B_STRING)
        return EXPR_RAISE(x, 40394,
                          "$arrayToObject requires an object with keys 'k' and 'v', where the value of 'k' must be of "
                          "type string. Found type: %s",
                          expr_type_name(key));
    TRY(check_key(x, bval_string(key)));
    return expr_fields_set(x, f, bval_string(key), value);
}

static status op_array_to_object(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    struct expr_fields f = {0};
    (void) e;
    if (args[0].type != B_ARRAY)
        return EXPR_RAISE(x, 40386, "$arrayToObject requires an array input, found: %s", expr_type_name(args[0]));
    struct biter it = biter_of(bval_doc(args[0]));
    struct belem item;
    bool of_arrays = false;
    for (uint32_t i = 0; biter_next(&it, &item); i++) {
        if (i == 0) {
            of_arrays = item.value.type == B_ARRAY;
            if (!of_arrays && item.value.type != B_DOCUMENT)
                return EXPR_RAISE(x, 40398, "Unrecognised input type format for $arrayToObject: %s",
                                  expr_type_name(item.value));
        }
        TRY(of_arrays ? pair_of_array(x, item.value, &f) : pair_of_object(x, item.value, &f));
    }
    return expr_put_document(x, &f, out);
}

/* --- one field ------------------------------------------------------------------------------------------------- */

/* The field's name must be a constant string (or, for $getField, anything that gives a string). */
static status parse_get_field(struct expr_scope *scope, struct bval v, struct expr *e, struct err *err) {
    struct bval field = v, input = BVAL_MISSING;
    if (v.type == B_DOCUMENT) {
        struct biter it = biter_of(bval_doc(v));
        struct belem f = {0};
        bool is_operator = biter_next(&it, &f) && f.name.len > 0 && f.name.p[0] == '$';
        if (!is_operator) {
            field = BVAL_MISSING;
            it = biter_of(bval_doc(v));
            while (biter_next(&it, &f)) {
                if (slice_equal(f.name, SLICE_LIT("field"))) field = f.value;
                else if (slice_equal(f.name, SLICE_LIT("input"))) input = f.value;
                else return RAISE_CODE(err, 3041701, "$getField found an unknown argument: %.*s", SLICE_ARGS(f.name));
            }
            if (field.type == B_MISSING) return RAISE_CODE(err, 3041702, "$getField requires 'field' to be specified");
            if (input.type == B_MISSING) return RAISE_CODE(err, 3041703, "$getField requires 'input' to be specified");
        }
    }
    TRY(expr_args(scope, e, 2, err));
    TRY(expr_arg(scope, e, 0, field, err));
    if (input.type != B_MISSING) return expr_arg(scope, e, 1, input, err);
    static const uint8_t current[] = "\x0a\0\0\0$$CURRENT";
    return expr_arg(scope, e, 1, (struct bval){current, sizeof(current), B_STRING}, err);
}

static status op_get_field(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    (void) e;
    if (args[0].type != B_STRING)
        return EXPR_RAISE(x, 3041704, "$getField requires 'field' to evaluate to type String, but got %s",
                          expr_type_name(args[0]));
    *out = BVAL_MISSING;
    if (args[1].type == B_DOCUMENT) *out = bdoc_get(bval_doc(args[1]), bval_string(args[0]));
    else if (args[1].type != B_MISSING && bval_is_nullish(args[1])) *out = expr_null;
    return ST_OK;
}

/* field, input and (for $setField) value; the field is a constant. */
static status parse_set_field(struct expr_scope *scope, struct bval v, struct expr *e, struct err *err) {
    bool sets = strcmp(e->op->name, "$setField") == 0;
    struct bval name = BVAL_MISSING, given = BVAL_MISSING;
    if (v.type != B_DOCUMENT)
        return RAISE_CODE(err, 4161100, "%s only supports an object as its argument", e->op->name);
    TRY(expr_args(scope, e, 3, err));
    struct biter it = biter_of(bval_doc(v));
    struct belem f;
    while (biter_next(&it, &f)) {
        int i = slice_equal(f.name, SLICE_LIT("field")) ? 0
            : slice_equal(f.name, SLICE_LIT("input"))   ? 1
            : sets && slice_equal(f.name, SLICE_LIT("value")) ? 2
                                                              : -1;
        if (i < 0) return RAISE_CODE(err, 4161101, "%s found an unknown argument: %.*s", e->op->name, SLICE_ARGS(f.name));
        TRY(expr_arg(scope, e, (uint32_t) i, f.value, err));
        if (i == 0) given = f.value;
    }
    if (e->args[0] == NULL) return RAISE_CODE(err, 4161102, "%s requires 'field' to be specified", e->op->name);
    if (sets && e->args[2] == NULL) return RAISE_CODE(err, 4161103, "%s requires 'value' to be specified", e->op->name);
    if (e->args[1] == NULL) return RAISE_CODE(err, 4161109, "%s requires 'input' to be specified", e->op->name);
    if (given.type == B_STRING && !expr_constant(e->args[0], &name))
        return RAISE_CODE(err, 4161108, "'%s' must be a constant, not a field path", "field");
    if (!expr_constant(e->args[0], &name) || (name.type != B_STRING && (given.type == B_DOCUMENT || given.type == B_ARRAY)))
        return RAISE_CODE(err, 4161106, "%s requires 'field' to evaluate to a constant String", e->op->name);
    if (name.type != B_STRING)
        return RAISE_CODE(err, 4161107, "%s requires 'field' to evaluate to type String, but got %s", e->op->name,
                          btype_name(name.type));
    return ST_OK;
}

static status op_set_field(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    struct expr_fields f = {0};
    struct slice name = bval_string(args[0]);
    bool sets = e->args[2] != NULL;
    if (bval_is_nullish(args[1])) {
        *out = expr_null;
        return ST_OK;
    }
    if (args[1].type != B_DOCUMENT)
        return EXPR_RAISE(x, 4161105, "%s requires 'input' to evaluate to type Object", e->op->name);
    struct biter it = biter_of(bval_doc(args[1]));
    struct belem field;
    while (biter_next(&it, &field)) {
        if (sets || !slice_equal(field.name, name)) TRY(expr_fields_add(x, &f, field.name, field.value));
    }
    if (sets) TRY(expr_fields_set(x, &f, name, args[2]));
    return expr_put_document(x, &f, out);
}

const struct expr_op expr_object_ops[] = {
    {"$arrayToObject", 1, 1, EXPR_NULL_IN_NULL_OUT, op_array_to_object, NULL, NULL},
    {"$getField", 1, 1, 0, op_get_field, NULL, parse_get_field},
    {"$mergeObjects", 0, -1, 0, op_merge_objects, NULL, NULL},
    {"$objectToArray", 1, 1, EXPR_NULL_IN_NULL_OUT, op_object_to_array, NULL, NULL},
    {"$setField", 1, 1, 0, op_set_field, NULL, parse_set_field},
    {"$unsetField", 1, 1, 0, op_set_field, NULL, parse_set_field},
    {0},
};
