/* Duplicate key errors: the text and the details. */
#include "doc/duplicate.h"

#include <stdio.h>

#include "base/codes.h"
#include "bson/build.h"
#include "index/key.h"

static void dump_hex(struct slice s, struct buf *out) {
    for (size_t i = 0; i < s.len; i++) buf_append_format(out, "%02x", s.p[i]);
}

static void dump_quoted(struct slice s, struct buf *out) {
    buf_append_u8(out, '"');
    for (size_t i = 0; i < s.len; i++) {
        uint8_t ch = s.p[i];
        if (ch == '"' || ch == '\\') buf_append_u8(out, '\\'), buf_append_u8(out, ch);
        else if (ch == '\n') buf_append_slice(out, SLICE_LIT("\\n"));
        else if (ch == '\r') buf_append_slice(out, SLICE_LIT("\\r"));
        else if (ch == '\t') buf_append_slice(out, SLICE_LIT("\\t"));
        else if (ch < 0x20) buf_append_format(out, "\\x%02x", ch);
        else buf_append_u8(out, ch);
    }
    buf_append_u8(out, '"');
}

static void dump_double(double d, struct buf *out) {
    char text[40];
    int n = snprintf(text, sizeof(text), "%.16g", d);
    buf_append(out, text, (size_t) n);
    if (memchr(text, '.', (size_t) n) == NULL && memchr(text, 'e', (size_t) n) == NULL &&
        memchr(text, 'n', (size_t) n) == NULL)
        buf_append_slice(out, SLICE_LIT(".0"));
}

static void dump_binary(struct bval v, struct buf *out) {
    buf_append_format(out, "BinData(%u, ", bval_binary_subtype(v));
    for (size_t i = 0; i < bval_binary(v).len; i++) buf_append_format(out, "%02X", bval_binary(v).p[i]);
    buf_append_u8(out, ')');
}

static void dump_regex(struct bval v, struct buf *out) {
    buf_append_u8(out, '/');
    buf_append_slice(out, bval_regex_pattern(v));
    buf_append_u8(out, '/');
    buf_append_slice(out, bval_regex_options(v));
}

static void dump_decimal(struct bval v, struct buf *out) {
    char text[43];
    decimal_to_text(bnum_of(v).dec, text);
    buf_append(out, text, strlen(text));
}

void bdoc_dump(struct bdoc d, bool is_array, struct buf *out) {
    struct biter it = biter_of(d);
    struct belem e;
    bool is_first = true;
    if (bdoc_is_empty(d)) {
        buf_append_slice(out, is_array ? SLICE_LIT("[]") : SLICE_LIT("{}"));
        return;
    }
    buf_append_slice(out, is_array ? SLICE_LIT("[ ") : SLICE_LIT("{ "));
    while (biter_next(&it, &e)) {
        if (!is_first) buf_append_slice(out, SLICE_LIT(", "));
        is_first = false;
        if (!is_array) {
            buf_append_slice(out, e.name);
            buf_append_slice(out, SLICE_LIT(": "));
        }
        bval_dump(e.value, out);
    }
    buf_append_slice(out, is_array ? SLICE_LIT(" ]") : SLICE_LIT(" }"));
}

void bval_dump(struct bval v, struct buf *out) {
    switch (v.type) {
    case B_DOUBLE: dump_double(bval_double(v), out); break;
    case B_STRING:
    case B_SYMBOL: dump_quoted(bval_string(v), out); break;
    case B_DOCUMENT: bdoc_dump(bval_doc(v), false, out); break;
    case B_ARRAY: bdoc_dump(bval_doc(v), true, out); break;
    case B_BINARY: dump_binary(v, out); break;
    case B_UNDEFINED: buf_append_slice(out, SLICE_LIT("undefined")); break;
    case B_OBJECT_ID:
        buf_append_slice(out, SLICE_LIT("ObjectId('"));
        dump_hex(bval_object_id(v), out);
        buf_append_slice(out, SLICE_LIT("')"));
        break;
    case B_BOOL: buf_append_slice(out, bval_bool(v) ? SLICE_LIT("true") : SLICE_LIT("false")); break;
    case B_DATE: buf_append_format(out, "new Date(%lld)", (long long) bval_int64(v)); break;
    case B_REGEX: dump_regex(v, out); break;
    case B_CODE:
    case B_CODE_SCOPE: buf_append_slice(out, bval_code(v)); break;
    case B_INT32: buf_append_format(out, "%d", bval_int32(v)); break;
    case B_INT64: buf_append_format(out, "%lld", (long long) bval_int64(v)); break;
    case B_TIMESTAMP:
        buf_append_format(out, "Timestamp(%u, %u)", (unsigned) (bval_timestamp(v) >> 32), (unsigned) bval_timestamp(v));
        break;
    case B_DECIMAL: dump_decimal(v, out); break;
    case B_MIN_KEY: buf_append_slice(out, SLICE_LIT("MinKey")); break;
    case B_MAX_KEY: buf_append_slice(out, SLICE_LIT("MaxKey")); break;
    default: buf_append_slice(out, SLICE_LIT("null")); break; /* null, missing, DBPointer */
    }
}

/* --- the error --- */

/* {keyPattern, keyValue}, in the op's arena; keyValue follows the pattern's names. */
static status write_details(struct op *op, struct bdoc pattern, struct bdoc value, struct bdoc *out) {
    struct bbuild b;
    struct buf bytes;
    buf_init(&bytes, op->mem);
    bbuild_begin(&b, &bytes);
    bbuild_doc(&b, "keyPattern", pattern);
    bbuild_doc(&b, "keyValue", value);
    struct bdoc d = bbuild_finish(&b);
    const uint8_t *p = d.p != NULL ? arena_copy(&op->arena, d.p, d.len) : NULL;
    *out = (struct bdoc){p, d.len};
    buf_release(&bytes);
    return p != NULL ? ST_OK : ST_NOMEM;
}

static status raise_duplicate(struct op *op, const struct collection *c, struct slice index_name, struct bdoc pattern,
                              struct bdoc value, struct err *err) {
    struct buf text;
    struct bdoc details;
    if (write_details(op, pattern, value, &details) != ST_OK) return RAISE(err, ST_NOMEM, "duplicate key");
    buf_init(&text, op->mem);
    bdoc_dump(value, false, &text);
    status st = text.failed
        ? RAISE(err, ST_NOMEM, "duplicate key")
        : RAISE(err, ST_DUPLICATE, "E11000 duplicate key error collection: %s.%s index: %.*s dup key: %.*s",
                (const char *) c->ns.db.p, (const char *) c->ns.coll.p, (int) index_name.len,
                (const char *) index_name.p, (int) (text.len < ERR_TEXT_LEN ? text.len : ERR_TEXT_LEN),
                (const char *) text.p);
    buf_release(&text);
    if (st == ST_DUPLICATE && err != NULL) err->details = details.p, err->details_len = details.len;
    return st;
}

/* {a: 1, b: "x"} out of the encoded key, named by the pattern. */
static status decode_key(const struct index *ix, struct index_key key, struct buf *out, struct buf *field,
                         struct bdoc *value, struct err *err) {
    struct biter names = biter_of(ix->spec.key);
    struct belem name;
    struct bbuild b;
    bbuild_begin(&b, out);
    for (uint32_t f = 0; f < ix->spec.field_count && biter_next(&names, &name); f++) {
        struct bval v;
        buf_clear(field);
        TRY(key_decode_field(&key.key, ix->spec.fields[f].descending, &key.side, field, &v, err));
        if (v.type == B_MISSING) v.type = B_NULL;
        bbuild_value(&b, name.name, v);
    }
    *value = bbuild_finish(&b);
    return value->p != NULL ? ST_OK : RAISE(err, ST_NOMEM, "duplicate key");
}

status duplicate_key(struct op *op, const struct collection *c, const struct index *ix, struct index_key key,
                     struct err *err) {
    struct buf out, field;
    struct bdoc value;
    buf_init(&out, op->mem);
    buf_init(&field, op->mem);
    status st = decode_key(ix, key, &out, &field, &value, err);
    if (st == ST_OK) st = raise_duplicate(op, c, ix->spec.name, ix->spec.key, value, err);
    buf_release(&field);
    buf_release(&out);
    return st;
}

status duplicate_id(struct op *op, const struct collection *c, struct bval id, struct err *err) {
    static const uint8_t pattern[] = {14, 0, 0, 0, B_INT32, '_', 'i', 'd', 0, 1, 0, 0, 0, 0};
    struct bbuild b;
    struct buf out;
    buf_init(&out, op->mem);
    bbuild_begin(&b, &out);
    bbuild_value(&b, SLICE_LIT("_id"), id);
    struct bdoc value = bbuild_finish(&b);
    status st = value.p == NULL
        ? RAISE(err, ST_NOMEM, "duplicate key")
        : raise_duplicate(op, c, SLICE_LIT("_id_"), (struct bdoc){pattern, sizeof(pattern)}, value, err);
    buf_release(&out);
    return st;
}
