/* Update operators on a field as a whole: $set, $unset, $inc, $mul, $min, $max, $rename, $setOnInsert, $currentDate,
 * $bit. */
#include "base/codes.h"
#include "bson/compare.h"
#include "eval/describe.h"
#include "eval/update_internal.h"

/* --- $set, $setOnInsert, $unset -------------------------------------------------------------------------------- */

static status keep_argument(struct update_parse *ps, struct belem field, struct update_leaf *leaf) {
    (void) ps;
    leaf->arg = field.value;
    return ST_OK;
}

static status op_set(struct apply *ap, const struct update_leaf *leaf, struct bval old, struct slice name,
                     enum outcome *outcome) {
    return update_put_new(ap, name, old, leaf->arg, outcome);
}

static status op_unset(struct apply *ap, const struct update_leaf *leaf, struct bval old, struct slice name,
                       enum outcome *outcome) {
    (void) ap;
    (void) leaf;
    (void) name;
    *outcome = old.type == B_MISSING ? SAME : REMOVED;
    return ST_OK;
}

/* --- $inc, $mul ------------------------------------------------------------------------------------------------ */

static struct bval number_value(struct bnum n, uint8_t bytes[16]) {
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

static status parse_number(struct update_parse *ps, struct belem field, struct update_leaf *leaf, const char *verb) {
    struct description d;
    if (!bval_is_number(field.value))
        return RAISE_CODE(ps->err, CODE_TypeMismatch, "Cannot %s with non-numeric argument: {%s}", verb,
                          describe_field(&d, field.name, field.value));
    leaf->arg = field.value;
    return ST_OK;
}

static status parse_inc(struct update_parse *ps, struct belem field, struct update_leaf *leaf) {
    return parse_number(ps, field, leaf, "increment");
}

static status parse_mul(struct update_parse *ps, struct belem field, struct update_leaf *leaf) {
    return parse_number(ps, field, leaf, "multiply");
}

static status not_a_number(struct apply *ap, const struct update_leaf *leaf, struct bval old, struct slice name) {
    struct description d;
    return RAISE_CODE(
        ap->err, CODE_TypeMismatch,
        "Cannot apply %s to a value of non-numeric type. {%s} has the field '%.*s' of non-numeric type %s",
        leaf->op->name, describe_id(&d, ap->original), SLICE_ARGS(name), btype_name(old.type));
}

static status op_arith(struct apply *ap, const struct update_leaf *leaf, struct bval old, struct slice name,
                       enum outcome *outcome, bool (*combine)(struct bnum a, struct bnum b, struct bnum *out)) {
    uint8_t bytes[16];
    struct bnum result;
    struct description d, id;
    if (!bval_is_number(old)) return not_a_number(ap, leaf, old, name);
    if (!combine(bnum_of(old), bnum_of(leaf->arg), &result))
        return RAISE_CODE(ap->err, CODE_BadValue,
                          "Failed to apply %s operations to current value (%s%s) for document {%s}", leaf->op->name,
                          old.type == B_INT64 ? "(NumberLong)" : "(NumberInt)", describe_value(&d, old),
                          describe_id(&id, ap->original));
    return update_put_new(ap, name, old, number_value(result, bytes), outcome);
}

static status op_inc(struct apply *ap, const struct update_leaf *leaf, struct bval old, struct slice name,
                     enum outcome *outcome) {
    if (old.type == B_MISSING) return update_put_new(ap, name, old, leaf->arg, outcome);
    return op_arith(ap, leaf, old, name, outcome, bnum_add);
}

/* A missing field becomes a zero of the argument's type. */
static status op_mul(struct apply *ap, const struct update_leaf *leaf, struct bval old, struct slice name,
                     enum outcome *outcome) {
    uint8_t bytes[16];
    if (old.type != B_MISSING) return op_arith(ap, leaf, old, name, outcome, bnum_mul);
    struct bnum zero = {.type = leaf->arg.type};
    if (zero.type == B_DECIMAL) zero.dec = decimal_from_int64(0);
    return update_put_new(ap, name, old, number_value(zero, bytes), outcome);
}

/* --- $min, $max ------------------------------------------------------------------------------------------------ */

static status op_min(struct apply *ap, const struct update_leaf *leaf, struct bval old, struct slice name,
                     enum outcome *outcome) {
    if (old.type != B_MISSING && bval_compare(leaf->arg, old) >= 0) return ST_OK;
    return update_put_new(ap, name, old, leaf->arg, outcome);
}

static status op_max(struct apply *ap, const struct update_leaf *leaf, struct bval old, struct slice name,
                     enum outcome *outcome) {
    if (old.type != B_MISSING && bval_compare(leaf->arg, old) <= 0) return ST_OK;
    return update_put_new(ap, name, old, leaf->arg, outcome);
}

/* --- $rename --------------------------------------------------------------------------------------------------- */

static bool is_path_prefix(const struct path *a, const struct path *b) {
    if (a->part_count > b->part_count) return false;
    for (uint32_t i = 0; i < a->part_count; i++) {
        if (!slice_equal(a->parts[i].name, b->parts[i].name)) return false;
    }
    return true;
}

/* The leaf stands at the new name; update.c adds another, update_rename_source, at the old one. */
static status parse_rename(struct update_parse *ps, struct belem field, struct update_leaf *leaf) {
    struct description d;
    if (field.value.type != B_STRING)
        return RAISE_CODE(ps->err, CODE_BadValue, "The 'to' field for $rename must be a string: %s",
                          describe_field(&d, field.name, field.value));
    struct slice to = bval_string(field.value);
    if (to.len != 0 && memchr(to.p, 0, to.len) != NULL)
        return RAISE_CODE(ps->err, CODE_BadValue, "The 'to' field for $rename cannot contain an embedded null byte");
    leaf->source = leaf->path;
    TRY(path_parse(ps->arena, to, &leaf->path, ps->err));
    if (slice_equal(to, field.name))
        return RAISE_CODE(ps->err, CODE_BadValue, "The source and target field for $rename must differ: %s",
                          describe_field(&d, field.name, field.value));
    if (is_path_prefix(&leaf->source, &leaf->path) || is_path_prefix(&leaf->path, &leaf->source))
        return RAISE_CODE(ps->err, CODE_BadValue,
                          "The source and target field for $rename must not be on the same path: %s",
                          describe_field(&d, field.name, field.value));
    return ST_OK;
}

static status op_rename(struct apply *ap, const struct update_leaf *leaf, struct bval old, struct slice name,
                        enum outcome *outcome) {
    struct bval v = update_lookup(ap->original, &leaf->source, NULL);
    return v.type == B_MISSING ? ST_OK : update_put_new(ap, name, old, v, outcome);
}

const struct update_op update_rename_source = {"$rename", 0, NULL, op_unset};

/* --- $currentDate ---------------------------------------------------------------------------------------------- */

static status parse_current_date(struct update_parse *ps, struct belem field, struct update_leaf *leaf) {
    if (field.value.type == B_BOOL) return ST_OK;
    if (field.value.type != B_DOCUMENT)
        return RAISE_CODE(ps->err, CODE_BadValue,
                          "%s is not valid type for $currentDate. Please use a boolean ('true') or a $type expression "
                          "({$type: 'timestamp/date'}).",
                          btype_name(field.value.type));
    struct biter it = biter_of(bval_doc(field.value));
    struct belem e;
    bool is_set = false;
    while (biter_next(&it, &e)) {
        if (!slice_equal(e.name, SLICE_LIT("$type")))
            return RAISE_CODE(ps->err, CODE_BadValue, "Unrecognized $currentDate option: %.*s", SLICE_ARGS(e.name));
        struct slice type = e.value.type == B_STRING ? bval_string(e.value) : SLICE_NONE;
        is_set = slice_equal(type, SLICE_LIT("date")) || slice_equal(type, SLICE_LIT("timestamp"));
        leaf->is_timestamp = slice_equal(type, SLICE_LIT("timestamp"));
        if (!is_set) break;
    }
    if (!is_set)
        return RAISE_CODE(ps->err, CODE_BadValue,
                          "The '$type' string field is required to be 'date' or 'timestamp': {$currentDate: {field : "
                          "{$type: 'date'}}}");
    return ST_OK;
}

static status op_current_date(struct apply *ap, const struct update_leaf *leaf, struct bval old, struct slice name,
                              enum outcome *outcome) {
    uint8_t bytes[8];
    put_le64(bytes, leaf->is_timestamp ? ap->env->timestamp : (uint64_t) ap->env->now_ms);
    return update_put_new(ap, name, old, (struct bval){bytes, 8, leaf->is_timestamp ? B_TIMESTAMP : B_DATE}, outcome);
}

/* --- $bit ------------------------------------------------------------------------------------------------------ */

enum { BIT_AND, BIT_OR, BIT_XOR };

static bool is_whole(struct bval v) { return v.type == B_INT32 || v.type == B_INT64; }

static status parse_bit(struct update_parse *ps, struct belem field, struct update_leaf *leaf) {
    static const char *const names[] = {[BIT_AND] = "and", [BIT_OR] = "or", [BIT_XOR] = "xor"};
    struct description d;
    if (field.value.type != B_DOCUMENT)
        return RAISE_CODE(
            ps->err, CODE_BadValue,
            "The $bit modifier is not compatible with a %s. You must embed an object: {$bit: {field: {and/or/xor: #}}}",
            btype_name(field.value.type));
    struct biter it = biter_of(bval_doc(field.value));
    struct belem e;
    while (biter_next(&it, &e)) {
        int op = 0;
        while (op < 3 && !slice_equal(e.name, slice_str(names[op]))) op++;
        if (op == 3)
            return RAISE_CODE(
                ps->err, CODE_BadValue,
                "The $bit modifier only supports 'and', 'or', and 'xor', not '%.*s' which is an unknown operator: {%s}",
                SLICE_ARGS(e.name), describe_field(&d, e.name, e.value));
        if (!is_whole(e.value))
            return RAISE_CODE(
                ps->err, CODE_BadValue,
                "The $bit modifier field must be an Integer(32/64 bit); a '%s' is not supported here: {%s}",
                btype_name(e.value.type), describe_field(&d, e.name, e.value));
        if (leaf->bit_count == 3)
            return RAISE_CODE(ps->err, CODE_BadValue, "$bit takes at most three operations on a field");
        leaf->bits[leaf->bit_count++] = (struct update_bit){op, bnum_of(e.value)};
    }
    if (leaf->bit_count == 0)
        return RAISE_CODE(
            ps->err, CODE_BadValue,
            "You must pass in at least one bitwise operation. The format is: {$bit: {field: {and/or/xor: #}}");
    return ST_OK;
}

static int64_t whole_of(struct bnum n) { return n.type == B_INT32 ? n.i32 : n.i64; }

static status op_bit(struct apply *ap, const struct update_leaf *leaf, struct bval old, struct slice name,
                     enum outcome *outcome) {
    uint8_t bytes[16];
    struct description d;
    struct bnum result = {.type = B_INT32};
    if (old.type != B_MISSING && !is_whole(old))
        return RAISE_CODE(
            ap->err, CODE_BadValue,
            "Cannot apply $bit to a value of non-integral type.{%s} has the field %.*s of non-integer type %s",
            describe_id(&d, ap->original), SLICE_ARGS(name), btype_name(old.type));
    if (old.type != B_MISSING) result = bnum_of(old);
    for (int i = 0; i < leaf->bit_count; i++) {
        int64_t a = whole_of(result), b = whole_of(leaf->bits[i].operand);
        int64_t v = leaf->bits[i].op == BIT_AND ? a & b : leaf->bits[i].op == BIT_OR ? a | b : a ^ b;
        if (result.type == B_INT64 || leaf->bits[i].operand.type == B_INT64)
            result = (struct bnum){.type = B_INT64, .i64 = v};
        else result = (struct bnum){.type = B_INT32, .i32 = (int32_t) v};
    }
    return update_put_new(ap, name, old, number_value(result, bytes), outcome);
}

const struct update_op update_field_ops[] = {
    {"$set", UPDATE_CREATES, keep_argument, op_set},
    {"$setOnInsert", UPDATE_CREATES | UPDATE_INSERT_ONLY, keep_argument, op_set},
    {"$unset", UPDATE_TOLERATES, keep_argument, op_unset},
    {"$inc", UPDATE_CREATES, parse_inc, op_inc},
    {"$mul", UPDATE_CREATES, parse_mul, op_mul},
    {"$min", UPDATE_CREATES, keep_argument, op_min},
    {"$max", UPDATE_CREATES, keep_argument, op_max},
    {"$rename", UPDATE_CREATES, parse_rename, op_rename},
    {"$currentDate", UPDATE_CREATES, parse_current_date, op_current_date},
    {"$bit", UPDATE_CREATES, parse_bit, op_bit},
    {NULL, 0, NULL, NULL},
};
