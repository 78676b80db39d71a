/* Extended JSON's documents that stand for values: one row a kind. A row's function writes the value behind the document, whose fields
 * stay readable meanwhile; the value is then moved over it. The order of fields does not matter.
 *
 * $regex with $options is left alone: it is the query operator. */
#include <math.h>

#include "bson/date.h"
#include "bson/json_text.h"
#include "bson/number.h"

/* A document being converted, and where its value goes. */
struct extended {
    struct bdoc doc;
    uint32_t count; /* its fields */
    struct bval v;  /* the field that names the kind */
    struct buf *out;
    uint8_t type;
};

static bool is_string(struct bval v) { return v.type == B_STRING; }

static bool has_zero(struct slice s) { return s.len != 0 && memchr(s.p, 0, s.len) != NULL; }

static bool put_u32(struct extended *x, uint32_t v) { return buf_append_u32(x->out, v), true; }

static bool put_u64(struct extended *x, uint64_t v) { return buf_append_u64(x->out, v), true; }

static bool put_string(struct extended *x, struct slice s) {
    (void) buf_append_u32(x->out, (uint32_t) s.len + 1);
    (void) buf_append_slice(x->out, s);
    (void) buf_append_u8(x->out, 0);
    return true;
}

static bool to_object_id(struct extended *x) {
    uint8_t id[12];
    if (x->count != 1 || !is_string(x->v) || !hex_decode(bval_string(x->v), id, 12)) return false;
    (void) buf_append(x->out, id, 12);
    return true;
}

static bool to_int32(struct extended *x) {
    int64_t v;
    if (x->count != 1 || !is_string(x->v) || !int64_from_text(bval_string(x->v), &v) || v < INT32_MIN || v > INT32_MAX)
        return false;
    return put_u32(x, (uint32_t) v);
}

static bool to_int64(struct extended *x) {
    int64_t v;
    if (x->count != 1 || !is_string(x->v) || !int64_from_text(bval_string(x->v), &v)) return false;
    return put_u64(x, (uint64_t) v);
}

static bool to_double(struct extended *x) {
    double d = 0;
    uint64_t bits;
    if (x->count != 1 || !is_string(x->v)) return false;
    struct slice s = bval_string(x->v);
    if (slice_equal(s, SLICE_LIT("NaN"))) d = (double) NAN;
    else if (slice_equal(s, SLICE_LIT("Infinity"))) d = (double) INFINITY;
    else if (slice_equal(s, SLICE_LIT("-Infinity"))) d = -(double) INFINITY;
    else if (!double_from_text(s, &d)) return false;
    memcpy(&bits, &d, sizeof(bits));
    return put_u64(x, bits);
}

static bool to_decimal(struct extended *x) {
    struct decimal d;
    if (x->count != 1 || !is_string(x->v) || !decimal_from_slice(bval_string(x->v), &d)) return false;
    return put_u64(x, d.lo) && put_u64(x, d.hi);
}

/* {"base64": "...", "subType": "00"}, or the old {"$binary": "...", "$type": "00"}. */
static bool to_binary(struct extended *x) {
    bool is_new = x->v.type == B_DOCUMENT;
    struct bval data = is_new ? bdoc_get_str(bval_doc(x->v), "base64") : x->v;
    struct bval subtype = is_new ? bdoc_get_str(bval_doc(x->v), "subType") : bdoc_get_str(x->doc, "$type");
    if (x->count != (is_new ? 1 : 2) || (is_new && bdoc_count(bval_doc(x->v)) != 2) || !is_string(data) ||
        !is_string(subtype))
        return false;
    struct slice s = bval_string(subtype);
    uint8_t digits[2] = {'0', '0'}, byte;
    if (s.len < 1 || s.len > 2) return false;
    memcpy(digits + 2 - s.len, s.p, s.len);
    if (!hex_decode(slice_of(digits, 2), &byte, 1)) return false;
    size_t at = x->out->len;
    (void) put_u32(x, 0);
    (void) buf_append_u8(x->out, byte);
    if (byte == 2) (void) put_u32(x, 0); /* the old subtype repeats the length inside */
    size_t start = x->out->len;
    if (!base64_decode(bval_string(data), x->out)) return false;
    if (x->out->failed) return true;
    uint32_t len = (uint32_t) (x->out->len - start);
    put_le32(x->out->p + at, len + (byte == 2 ? 4 : 0));
    if (byte == 2) put_le32(x->out->p + at + 5, len);
    return true;
}

static bool to_uuid(struct extended *x) {
    uint8_t digits[32], bytes[16];
    if (x->count != 1 || !is_string(x->v)) return false;
    struct slice s = bval_string(x->v);
    if (s.len != 36) return false;
    size_t n = 0;
    for (size_t i = 0; i < 36; i++) {
        bool is_dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (is_dash != (s.p[i] == '-')) return false;
        if (!is_dash) digits[n++] = s.p[i];
    }
    if (!hex_decode(slice_of(digits, 32), bytes, 16)) return false;
    (void) put_u32(x, 16);
    (void) buf_append_u8(x->out, 4);
    (void) buf_append(x->out, bytes, 16);
    return true;
}

static bool to_date(struct extended *x) {
    int64_t ms;
    if (x->count != 1) return false;
    if (is_string(x->v)) {
        if (!date_parse(bval_string(x->v), &ms)) return false;
    } else if (x->v.type == B_INT64) {
        ms = bval_int64(x->v);
    } else {
        return false;
    }
    return put_u64(x, (uint64_t) ms);
}

static bool to_timestamp(struct extended *x) {
    int64_t t, i;
    if (x->count != 1 || x->v.type != B_DOCUMENT || bdoc_count(bval_doc(x->v)) != 2) return false;
    struct bval vt = bdoc_get_str(bval_doc(x->v), "t"), vi = bdoc_get_str(bval_doc(x->v), "i");
    if (!bval_is_number(vt) || !bval_is_number(vi) || !bnum_to_int64_exact(bnum_of(vt), &t) ||
        !bnum_to_int64_exact(bnum_of(vi), &i))
        return false;
    if (t < 0 || t > UINT32_MAX || i < 0 || i > UINT32_MAX) return false;
    return put_u64(x, (uint64_t) t << 32 | (uint64_t) i);
}

static bool to_regex(struct extended *x) {
    if (x->count != 1 || x->v.type != B_DOCUMENT || bdoc_count(bval_doc(x->v)) != 2) return false;
    struct bval pattern = bdoc_get_str(bval_doc(x->v), "pattern"), opts = bdoc_get_str(bval_doc(x->v), "options");
    if (!is_string(pattern) || !is_string(opts) || has_zero(bval_string(pattern)) || has_zero(bval_string(opts)))
        return false;
    (void) buf_append(x->out, bval_string(pattern).p, bval_string(pattern).len + 1);
    size_t at = x->out->len, n = bval_string(opts).len;
    (void) buf_append(x->out, bval_string(opts).p, n + 1);
    if (x->out->failed) return true;
    sort_bytes(x->out->p + at, n);
    return true;
}

static bool to_symbol(struct extended *x) {
    return x->count == 1 && is_string(x->v) && put_string(x, bval_string(x->v));
}

static bool to_code(struct extended *x) {
    if (!is_string(x->v)) return false;
    if (x->count == 1) return put_string(x, bval_string(x->v));
    struct bval scope = bdoc_get_str(x->doc, "$scope");
    if (x->count != 2 || scope.type != B_DOCUMENT) return false;
    x->type = B_CODE_SCOPE;
    (void) put_u32(x, 4 + x->v.len + scope.len);
    (void) put_string(x, bval_string(x->v));
    (void) buf_append(x->out, scope.p, scope.len);
    return true;
}

static bool to_dbpointer(struct extended *x) {
    if (x->count != 1 || x->v.type != B_DOCUMENT || bdoc_count(bval_doc(x->v)) != 2) return false;
    struct bval ref = bdoc_get_str(bval_doc(x->v), "$ref"), id = bdoc_get_str(bval_doc(x->v), "$id");
    if (!is_string(ref) || id.type != B_OBJECT_ID) return false;
    (void) put_string(x, bval_string(ref));
    (void) buf_append(x->out, id.p, 12);
    return true;
}

static bool to_end_key(struct extended *x) {
    int64_t one;
    return x->count == 1 && bval_is_number(x->v) && bnum_to_int64_exact(bnum_of(x->v), &one) && one == 1;
}

static bool to_undefined(struct extended *x) { return x->count == 1 && x->v.type == B_BOOL && bval_bool(x->v); }

static const struct extended_kind {
    const char *name;
    uint8_t type;
    bool (*convert)(struct extended *x);
    const char *why;
} kinds[] = {
    {"$oid", B_OBJECT_ID, to_object_id, "$oid must be a string of 24 hexadecimal digits"},
    {"$numberInt", B_INT32, to_int32, "$numberInt must be a string with a 32-bit integer"},
    {"$numberLong", B_INT64, to_int64, "$numberLong must be a string with a 64-bit integer"},
    {"$numberDouble", B_DOUBLE, to_double, "$numberDouble must be a string with a number, NaN, Infinity or -Infinity"},
    {"$numberDecimal", B_DECIMAL, to_decimal, "$numberDecimal must be a string with a number of at most 34 digits"},
    {"$binary", B_BINARY, to_binary, "$binary must be {base64: string, subType: string of two hexadecimal digits}"},
    {"$uuid", B_BINARY, to_uuid, "$uuid must be a string like \"73ffd264-44b3-4c69-90e8-e7d1dfc035d4\""},
    {"$date", B_DATE, to_date, "$date must be an ISO 8601 string or {$numberLong: milliseconds since 1970}"},
    {"$timestamp", B_TIMESTAMP, to_timestamp,
     "$timestamp must be {t: seconds, i: increment}, both unsigned 32-bit integers"},
    {"$regularExpression", B_REGEX, to_regex, "$regularExpression must be {pattern: string, options: string}"},
    {"$symbol", B_SYMBOL, to_symbol, "$symbol must be a string"},
    {"$code", B_CODE, to_code, "$code must be a string, with $scope, a document, or alone"},
    {"$dbPointer", B_DBPOINTER, to_dbpointer, "$dbPointer must be {$ref: string, $id: ObjectId}"},
    {"$minKey", B_MIN_KEY, to_end_key, "$minKey must be 1"},
    {"$maxKey", B_MAX_KEY, to_end_key, "$maxKey must be 1"},
    {"$undefined", B_UNDEFINED, to_undefined, "$undefined must be true"},
};

static const struct extended_kind *find_kind(struct bdoc doc, struct bval *v) {
    struct biter it = biter_of(doc);
    struct belem e;
    while (biter_next(&it, &e)) {
        if (e.name.len < 2 || e.name.p[0] != '$') continue;
        for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
            if (!slice_equal(e.name, slice_str(kinds[i].name))) continue;
            *v = e.value;
            return &kinds[i];
        }
    }
    return NULL;
}

bool json_convert_extended(struct buf *out, size_t at, uint8_t *type, const char **why) {
    struct bdoc doc = {out->p + at, (uint32_t) (out->len - at)};
    struct bval v;
    *type = B_DOCUMENT;
    if (doc.len <= 5 || doc.p[5] != '$' || find_kind(doc, &v) == NULL) return true;
    /* A value is not longer than the document it was written as, so the fields stay where they are meanwhile. */
    if (!buf_reserve(out, doc.len + 64)) return true;
    doc.p = out->p + at;
    const struct extended_kind *kind = find_kind(doc, &v);
    struct extended x = {.doc = doc, .count = bdoc_count(doc), .v = v, .out = out, .type = kind->type};
    size_t value_at = out->len;
    if (!kind->convert(&x)) {
        *why = kind->why;
        return false;
    }
    if (out->failed) return true;
    size_t len = out->len - value_at;
    memmove(out->p + at, out->p + value_at, len);
    out->len = at + len;
    *type = x.type;
    return true;
}
