/* Table-driven reading of command fields; see fields.h. */
#include "command/fields.h"

#include "base/codes.h"
#include "bson/number.h"
#include "command/generic.h"

bool fields_is_generic(struct slice name) { return generic_is_field(name); }

static status wrong_type(const char *where, const struct field *row, struct bval v, const char *expected,
                         struct err *err) {
    return RAISE_CODE(err, CODE_TypeMismatch, "BSON field '%s.%s' is the wrong type '%s', expected %s", where,
                      row->name, btype_name(v.type), expected);
}

static status read_int64(const char *where, const struct field *row, struct bval v, int64_t *out, struct err *err) {
    if (!bval_is_number(v)) return wrong_type(where, row, v, "types '[long, int, decimal, double]'", err);
    struct bnum n = bnum_of(v);
    if (!bnum_to_int64_exact(n, out)) {
        return RAISE_CODE(err, CODE_FailedToParse, "BSON field '%s.%s' must be a whole number that fits in 64 bits",
                          where, row->name);
    }
    if (row->kind == FIELD_COUNT && *out < 0) {
        return RAISE_CODE(err, 51024, "BSON field '%s.%s' value must be >= 0, actual value '%lld'", where, row->name,
                          (long long) *out);
    }
    return ST_OK;
}

status field_read(const char *where, const struct field *row, struct bval v, void *target, struct err *err) {
    void *at = (char *) target + row->offset;
    switch (row->kind) {
    case FIELD_DOCUMENT:
        if (v.type != B_DOCUMENT) return wrong_type(where, row, v, "type 'object'", err);
        *(struct bdoc *) at = bval_doc(v);
        return ST_OK;
    case FIELD_ARRAY:
        if (v.type != B_ARRAY) return wrong_type(where, row, v, "type 'array'", err);
        *(struct bdoc *) at = bval_doc(v);
        return ST_OK;
    case FIELD_STRING:
        if (v.type != B_STRING) return wrong_type(where, row, v, "type 'string'", err);
        *(struct slice *) at = bval_string(v);
        return ST_OK;
    case FIELD_NAME:
    case FIELD_NAMESPACE:
        if (v.type != B_STRING) {
            int32_t code = row->kind == FIELD_NAME ? CODE_BadValue : CODE_InvalidNamespace;
            return RAISE_CODE(err, code, "collection name has invalid type %s", btype_name(v.type));
        }
        *(struct slice *) at = bval_string(v);
        return ST_OK;
    case FIELD_STRICT_BOOL:
        if (v.type != B_BOOL) return wrong_type(where, row, v, "type 'bool'", err);
        *(bool *) at = bval_truthy(v);
        return ST_OK;
    case FIELD_BOOL:
        if (v.type != B_BOOL && !bval_is_number(v))
            return wrong_type(where, row, v, "types '[bool, long, int, decimal, double]'", err);
        *(bool *) at = bval_truthy(v);
        return ST_OK;
    case FIELD_INT64:
    case FIELD_COUNT: return read_int64(where, row, v, (int64_t *) at, err);
    case FIELD_VALUE: *(struct bval *) at = v; return ST_OK;
    case FIELD_IGNORED: return ST_OK;
    case FIELD_REFUSED:
        if (!bval_truthy(v) || ((v.type == B_DOCUMENT || v.type == B_ARRAY) && bdoc_is_empty(bval_doc(v))))
            return ST_OK;
        return RAISE_CODE(err, CODE_NotImplemented, "BSON field '%s.%s' is not supported", where, row->name);
    }
    return ST_OK;
}

/* null and undefined stand for a field of a known type that is not there, as MongoDB has it. */
static bool is_absent(const struct field *row, struct bval v) {
    if (v.type != B_NULL && v.type != B_UNDEFINED) return false;
    return row->kind != FIELD_VALUE && row->kind != FIELD_NAME && row->kind != FIELD_NAMESPACE &&
        row->kind != FIELD_IGNORED;
}

status fields_parse(const char *where, struct bdoc body, const struct field *rows, size_t row_count, bool generic,
                    void *target, struct err *err) {
    uint64_t seen = 0; /* a bit per row: tables have fewer than 64 */
    struct biter it = biter_of(body);
    struct belem e;
    while (biter_next(&it, &e)) {
        size_t i = 0;
        while (i < row_count && !slice_equal(e.name, slice_str(rows[i].name))) i++;
        if (i == row_count) {
            if (generic && generic_is_field(e.name)) continue;
            return RAISE_CODE(err, 40415, "BSON field '%s.%.*s' is an unknown field.", where, (int) e.name.len,
                              (const char *) e.name.p);
        }
        if (is_absent(&rows[i], e.value)) continue;
        if ((seen >> i & 1) != 0)
            return RAISE_CODE(err, 40413, "BSON field '%s.%s' is a duplicate field", where, rows[i].name);
        seen |= (uint64_t) 1 << i;
        TRY(field_read(where, &rows[i], e.value, target, err));
    }
    for (size_t i = 0; i < row_count; i++) {
        if ((rows[i].flags & FIELD_REQUIRED) != 0 && (seen >> i & 1) == 0) {
            return RAISE_CODE(err, 40414, "BSON field '%s.%s' is missing but a required field", where, rows[i].name);
        }
    }
    return ST_OK;
}

status field_check_one_of(const char *where, struct slice text, const char *const *names, struct err *err) {
    if (text.p == NULL) return ST_OK;
    for (int i = 0; names[i] != NULL; i++)
        if (slice_equal(text, slice_str(names[i]))) return ST_OK;
    return RAISE_CODE(err, CODE_BadValue, "Enumeration value '%.*s' for field '%s' is not a valid value.",
                      (int) text.len, (const char *) text.p, where);
}
