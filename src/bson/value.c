/* Views of BSON values: what is not hot enough to stand in the header. */
#include "bson/value.h"

static const uint8_t empty_bytes[5] = {5, 0, 0, 0, 0};
const struct bdoc bdoc_empty = {empty_bytes, 5};

const uint8_t btype_len[32] = {
    [B_DOUBLE] = 8,
    [B_STRING] = BTYPE_LEN_LE32 | 4,
    [B_DOCUMENT] = BTYPE_LEN_LE32,
    [B_ARRAY] = BTYPE_LEN_LE32,
    [B_BINARY] = BTYPE_LEN_LE32 | 5,
    [B_OBJECT_ID] = 12,
    [B_BOOL] = 1,
    [B_DATE] = 8,
    [B_REGEX] = BTYPE_LEN_REGEX,
    [B_DBPOINTER] = BTYPE_LEN_LE32 | 16,
    [B_CODE] = BTYPE_LEN_LE32 | 4,
    [B_SYMBOL] = BTYPE_LEN_LE32 | 4,
    [B_CODE_SCOPE] = BTYPE_LEN_LE32,
    [B_INT32] = 4,
    [B_TIMESTAMP] = 8,
    [B_INT64] = 8,
    [B_DECIMAL] = 16,
};

uint32_t bval_regex_len(const uint8_t *p) {
    size_t pattern_len = strlen((const char *) p);
    return (uint32_t) (pattern_len + strlen((const char *) p + pattern_len + 1) + 2);
}

struct bval bdoc_get_str(struct bdoc d, const char *name) {
    return bdoc_get(d, slice_str(name));
}

struct bval barray_at(struct bdoc array, uint32_t idx) {
    struct biter it = biter_of(array);
    struct belem e;
    while (biter_next(&it, &e))
        if (idx-- == 0) return e.value;
    return BVAL_MISSING;
}

uint32_t bdoc_count(struct bdoc d) {
    struct biter it = biter_of(d);
    struct belem e;
    uint32_t n = 0;
    while (biter_next(&it, &e)) n++;
    return n;
}

struct slice bval_regex_pattern(struct bval v) {
    return slice_str((const char *) v.p);
}

struct slice bval_regex_options(struct bval v) {
    return slice_str((const char *) v.p + strlen((const char *) v.p) + 1);
}

struct slice bval_code(struct bval v) {
    const uint8_t *p = v.type == B_CODE_SCOPE ? v.p + 4 : v.p;
    return slice_of(p + 4, get_le32(p) - 1);
}

struct bdoc bval_code_scope(struct bval v) {
    return bdoc_of(v.p + 8 + get_le32(v.p + 4));
}

/* A decimal is zero when its coefficient is, or is larger than 34 digits can be (IEEE 754-2008, 3.5.2). */
static bool decimal_is_zero(const uint8_t *p) {
    uint64_t hi = get_le64(p + 8);
    if ((hi >> 61 & 3) == 3)
        return (hi >> 59 & 3) != 3; /* the long form is never canonical; 11110 and 11111: infinity, NaN */
    unsigned __int128 coefficient = (unsigned __int128) (hi & 0x1ffffffffffffu) << 64 | get_le64(p);
    unsigned __int128 max = (unsigned __int128) 0x1ed09bead87c0u << 64 | 0x378d8e63ffffffffu;
    return coefficient == 0 || coefficient > max;
}

bool bval_truthy(struct bval v) {
    switch (v.type) {
    case B_MISSING:
    case B_UNDEFINED:
    case B_NULL: return false;
    case B_BOOL: return bval_bool(v);
    case B_INT32: return bval_int32(v) != 0;
    case B_INT64: return bval_int64(v) != 0;
    case B_DOUBLE: return bval_double(v) != 0;
    case B_DECIMAL: return !decimal_is_zero(v.p);
    default: return true;
    }
}

static const struct {
    uint8_t type;
    const char *name;
} type_names[] = {
    {B_DOUBLE, "double"},      {B_STRING, "string"},       {B_DOCUMENT, "object"},
    {B_ARRAY, "array"},        {B_BINARY, "binData"},      {B_UNDEFINED, "undefined"},
    {B_OBJECT_ID, "objectId"}, {B_BOOL, "bool"},           {B_DATE, "date"},
    {B_NULL, "null"},          {B_REGEX, "regex"},         {B_DBPOINTER, "dbPointer"},
    {B_CODE, "javascript"},    {B_SYMBOL, "symbol"},       {B_CODE_SCOPE, "javascriptWithScope"},
    {B_INT32, "int"},          {B_TIMESTAMP, "timestamp"}, {B_INT64, "long"},
    {B_DECIMAL, "decimal"},    {B_MIN_KEY, "minKey"},      {B_MAX_KEY, "maxKey"},
    {B_MISSING, "missing"},
};

const char *btype_name(uint8_t type) {
    for (size_t i = 0; i < sizeof(type_names) / sizeof(type_names[0]); i++)
        if (type_names[i].type == type) return type_names[i].name;
    return "unknown";
}

bool btype_from_name(struct slice name, uint8_t *type) {
    for (size_t i = 0; i < sizeof(type_names) / sizeof(type_names[0]); i++) {
        if (type_names[i].type != B_MISSING && slice_equal(name, slice_str(type_names[i].name))) {
            *type = type_names[i].type;
            return true;
        }
    }
    return false;
}
