/* Decoding of keys. Bytes may be anything (E5): every read is checked, depth is bounded, and what would not be valid BSON is
 * refused. A descending field is read through a mask that inverts each byte. */
#include <stdio.h>

#include "base/varint.h"
#include "index/key.h"
#include "index/key_layout.h"

struct reader {
    const uint8_t *p, *end;
    const uint8_t *side, *side_end; /* NULL: no side bits, everything is what its encoding says by itself */
    struct buf *out;
    uint8_t mask;
};

static size_t left(const struct reader *r) { return (size_t) (r->end - r->p); }
static uint8_t peek(const struct reader *r) { return *r->p ^ r->mask; }

/* The next side byte; past the end they are zero. */
static uint8_t side_byte(struct reader *r) { return r->side < r->side_end ? *r->side++ : 0; }

/* Appends n bytes of the key. */
static bool copy_bytes(struct reader *r, size_t n) {
    if (left(r) < n) return false;
    uint8_t *to = buf_extend(r->out, n);
    if (to != NULL)
        for (size_t i = 0; i < n; i++) to[i] = r->p[i] ^ r->mask;
    r->p += n;
    return true;
}

/* The byte that ends a text or name, or NULL. */
static const uint8_t *find_end(const struct reader *r) {
    return left(r) != 0 ? memchr(r->p, TEXT_END ^ r->mask, left(r)) : NULL;
}

/* Appends a C string with its zero. */
static bool copy_name(struct reader *r) {
    const uint8_t *end = find_end(r);
    return end != NULL && copy_bytes(r, (size_t) (end - r->p) + 1);
}

/* Appends a BSON string: length, text without escapes, zero. */
static bool copy_text(struct reader *r) {
    const uint8_t *end = find_end(r);
    if (end == NULL) return false;
    size_t at = r->out->len;
    uint8_t *start = buf_extend(r->out, 4 + (size_t) (end - r->p) + 1);
    uint8_t *to = start != NULL ? start + 4 : NULL;
    for (; r->p < end; r->p++) {
        uint8_t b = peek(r);
        if (b == TEXT_ESCAPE) {
            b = ++r->p < end ? peek(r) : 0;
            if (b != 1 && b != 2) return false;
            b--;
        }
        if (to != NULL) *to++ = b;
    }
    r->p = end + 1;
    if (start == NULL) return true; /* out of memory shows in out->failed */
    *to++ = 0;
    put_le32(start, (uint32_t) (to - start) - 4);
    r->out->len = at + (size_t) (to - start);
    return true;
}

static bool read_len(struct reader *r, uint64_t *len) {
    uint8_t bytes[ORDERED_LEN_MAX];
    size_t n = left(r) < sizeof(bytes) ? left(r) : sizeof(bytes);
    for (size_t i = 0; i < n; i++) bytes[i] = r->p[i] ^ r->mask;
    size_t used = ordered_get(bytes, bytes + n, len);
    r->p += used;
    return used != 0 && *len <= left(r);
}

static bool copy_u64(struct reader *r, uint64_t flip) {
    if (left(r) < 8) return false;
    uint64_t v = get_be64(r->p) ^ (r->mask != 0 ? ~(uint64_t) 0 : 0);
    r->p += 8;
    (void) buf_append_u64(r->out, v ^ flip);
    return true;
}

/* A number that carries its own bytes in the side bits; it must be one of those that encode alike. */
static bool take_raw(struct reader *r, uint8_t side, struct bnum natural, struct bnum *n) {
    uint8_t raw[16] = {0};
    for (size_t i = 0; i < (side == SIDE_RAW_DOUBLE ? 8u : 16u); i++) raw[i] = side_byte(r);
    *n = bnum_of((struct bval){raw, 0, side == SIDE_RAW_DOUBLE ? B_DOUBLE : B_DECIMAL});
    return bnum_compare(*n, natural) == 0;
}

static bool copy_number(struct reader *r, uint8_t *type) {
    uint8_t bytes[KEY_NUMBER_LEN_MAX];
    size_t len = key_number_len(r->p, left(r), r->mask);
    if (len == 0 || len > sizeof(bytes)) return false;
    for (size_t i = 0; i < len; i++) bytes[i] = r->p[i] ^ r->mask;
    r->p += len;
    struct bnum natural, n;
    if (!key_get_number(bytes, len, &natural)) return false;
    uint8_t side = r->side != NULL ? side_byte(r) : SIDE_NATURAL;
    if (side == SIDE_RAW_DOUBLE || side == SIDE_RAW_DECIMAL) {
        if (!take_raw(r, side, natural, &n)) return false;
    } else if (!key_apply_number_side(natural, side, &n)) {
        return false;
    }
    *type = n.type;
    (void) buf_append(r->out, &n.i32, n.type == B_INT32 ? 4 : n.type == B_DECIMAL ? 16 : 8);
    return true;
}

static bool copy_null(struct reader *r, int depth, uint8_t *type) {
    uint8_t side = r->side != NULL ? side_byte(r) : SIDE_NULL;
    *type = side == SIDE_NULL    ? B_NULL
        : side == SIDE_UNDEFINED ? B_UNDEFINED
        : side == SIDE_MISSING   ? B_MISSING
                                 : B_ARRAY;
    if (side == SIDE_EMPTY_ARRAY) (void) buf_append(r->out, bdoc_empty.p, bdoc_empty.len);
    /* Missing values and expanded arrays are fields of an index, not of a document. */
    return side <= SIDE_EMPTY_ARRAY && (depth == 0 || side == SIDE_NULL || side == SIDE_UNDEFINED);
}

static bool copy_value(struct reader *r, int depth, uint8_t *type);

/* The value of an element whose name is there already, and its type into the byte before the name. */
static bool copy_element(struct reader *r, size_t type_at, int depth) {
    uint8_t type;
    if (!copy_value(r, depth, &type)) return false;
    if (!r->out->failed) r->out->p[type_at] = type;
    return true;
}

static void close_doc(struct buf *out, size_t at) {
    if (buf_append_u8(out, 0)) put_le32(out->p + at, (uint32_t) (out->len - at));
}

static bool copy_fields(struct reader *r, int depth) {
    size_t at = r->out->len;
    if (depth >= BSON_DEPTH_MAX) return false;
    (void) buf_append_zero(r->out, 4);
    while (left(r) != 0 && peek(r) != TEXT_END) {
        int rank = peek(r) - 1;
        size_t type_at = r->out->len;
        r->p++;
        (void) buf_append_u8(r->out, 0);
        if (!copy_name(r) || !copy_element(r, type_at, depth + 1)) return false;
        if (!r->out->failed && btype_rank(r->out->p[type_at]) != rank) return false;
    }
    if (left(r) == 0) return false;
    r->p++;
    close_doc(r->out, at);
    return true;
}

static bool copy_elements(struct reader *r, int depth) {
    size_t at = r->out->len;
    if (depth >= BSON_DEPTH_MAX) return false;
    (void) buf_append_zero(r->out, 4);
    for (unsigned idx = 0; left(r) != 0 && peek(r) != TEXT_END; idx++) {
        char name[12];
        int len = snprintf(name, sizeof(name), "%u", idx);
        size_t type_at = r->out->len;
        (void) buf_append_u8(r->out, 0);
        (void) buf_append(r->out, name, (size_t) len + 1);
        if (!copy_element(r, type_at, depth + 1)) return false;
    }
    if (left(r) == 0) return false;
    r->p++;
    close_doc(r->out, at);
    return true;
}

static bool copy_binary(struct reader *r) {
    uint64_t len;
    if (!read_len(r, &len) || left(r) < len + 1) return false;
    (void) buf_append_u32(r->out, (uint32_t) len);
    const uint8_t *at = r->p;
    if ((*at ^ r->mask) == 2) { /* the old subtype repeats its length inside */
        if (len < 4) return false;
        uint32_t inner = get_le32(at + 1) ^ (r->mask != 0 ? UINT32_MAX : 0);
        if (inner != len - 4) return false;
    }
    return copy_bytes(r, (size_t) len + 1);
}

static bool copy_dbpointer(struct reader *r) {
    uint64_t len;
    if (!read_len(r, &len) || left(r) < len + 12) return false;
    (void) buf_append_u32(r->out, (uint32_t) len + 1);
    bool ok = copy_bytes(r, (size_t) len);
    (void) buf_append_u8(r->out, 0);
    return ok && copy_bytes(r, 12);
}

static bool copy_code_scope(struct reader *r, int depth) {
    size_t at = r->out->len;
    (void) buf_append_zero(r->out, 4);
    if (!copy_text(r) || !copy_fields(r, depth)) return false;
    if (!r->out->failed) put_le32(r->out->p + at, (uint32_t) (r->out->len - at));
    return true;
}

static bool copy_string(struct reader *r, uint8_t *type) {
    uint8_t side = r->side != NULL ? side_byte(r) : SIDE_STRING;
    *type = side == SIDE_SYMBOL ? B_SYMBOL : B_STRING;
    return side <= SIDE_SYMBOL && copy_text(r);
}

/* Appends the bytes of one value, reading its lead first. `depth` documents are open around it. */
static bool copy_value(struct reader *r, int depth, uint8_t *type) {
    if (left(r) == 0) return false;
    uint8_t lead = peek(r);
    if (lead_is_number(lead)) return copy_number(r, type);
    r->p++;
    switch (lead) {
    case LEAD_NULL: return copy_null(r, depth, type);
    case LEAD_STRING: return copy_string(r, type);
    case LEAD_DOCUMENT: *type = B_DOCUMENT; return copy_fields(r, depth);
    case LEAD_ARRAY: *type = B_ARRAY; return copy_elements(r, depth);
    case LEAD_BINARY: *type = B_BINARY; return copy_binary(r);
    case LEAD_OBJECT_ID: *type = B_OBJECT_ID; return copy_bytes(r, 12);
    case LEAD_FALSE:
    case LEAD_TRUE:
        *type = B_BOOL;
        (void) buf_append_u8(r->out, lead == LEAD_TRUE);
        return true;
    case LEAD_DATE: *type = B_DATE; return copy_u64(r, (uint64_t) 1 << 63);
    case LEAD_TIMESTAMP: *type = B_TIMESTAMP; return copy_u64(r, 0);
    case LEAD_REGEX: *type = B_REGEX; return copy_name(r) && copy_name(r);
    case LEAD_DBPOINTER: *type = B_DBPOINTER; return copy_dbpointer(r);
    case LEAD_CODE: *type = B_CODE; return copy_text(r);
    case LEAD_CODE_SCOPE: *type = B_CODE_SCOPE; return copy_code_scope(r, depth);
    case LEAD_MIN_KEY: *type = B_MIN_KEY; return true;
    case LEAD_MAX_KEY: *type = B_MAX_KEY; return true;
    default: return false;
    }
}

status key_decode_field(struct slice *key, bool descending, struct slice *side, struct buf *out, struct bval *value,
                        struct err *err) {
    static const uint8_t no_side[1];
    struct reader r = {.p = key->p, .end = key->p + key->len, .out = out, .mask = descending ? 0xff : 0};
    if (side != NULL) {
        r.side = side->p != NULL ? side->p : no_side;
        r.side_end = r.side + side->len;
    }
    size_t at = out->len;
    uint8_t type = B_NULL;
    (void) buf_append_zero(out, 2); /* type and empty name */
    bool ok = copy_value(&r, 0, &type);
    if (out->failed) return RAISE(err, ST_NOMEM, "out of memory for an index key");
    if (!ok) {
        out->len = at;
        return RAISE(err, ST_CORRUPT, "an index key of %zu bytes is damaged", key->len);
    }
    out->p[at] = type;
    *value = (struct bval){out->p + at + 2, (uint32_t) (out->len - at - 2), type};
    if (type == B_MISSING) {
        out->len = at;
        *value = BVAL_MISSING;
    }
    *key = slice_of(r.p, left(&r));
    if (side != NULL) *side = slice_of(r.side, (size_t) (r.side_end - r.side));
    return ST_OK;
}

/* Moves past n bytes. */
static bool skip_bytes(struct reader *r, uint64_t n) {
    if (left(r) < n) return false;
    r->p += n;
    return true;
}

static bool skip_text(struct reader *r) {
    const uint8_t *end = find_end(r);
    if (end != NULL) r->p = end + 1;
    return end != NULL;
}

static bool skip_value(struct reader *r, int depth);

/* Fields (with their rank and name) or elements up to the byte that ends them. */
static bool skip_all(struct reader *r, bool with_names, int depth) {
    if (depth >= BSON_DEPTH_MAX) return false;
    while (left(r) != 0 && peek(r) != TEXT_END) {
        if (with_names && !(skip_bytes(r, 1) && skip_text(r))) return false;
        if (!skip_value(r, depth + 1)) return false;
    }
    return skip_bytes(r, 1);
}

static bool skip_value(struct reader *r, int depth) {
    uint64_t len;
    if (left(r) == 0) return false;
    uint8_t lead = peek(r);
    if (lead_is_number(lead)) {
        size_t n = key_number_len(r->p, left(r), r->mask);
        return n != 0 && skip_bytes(r, n);
    }
    r->p++;
    switch (lead) {
    case LEAD_STRING:
    case LEAD_CODE: return skip_text(r);
    case LEAD_DOCUMENT: return skip_all(r, true, depth);
    case LEAD_ARRAY: return skip_all(r, false, depth);
    case LEAD_BINARY: return read_len(r, &len) && skip_bytes(r, len + 1);
    case LEAD_OBJECT_ID: return skip_bytes(r, 12);
    case LEAD_DATE:
    case LEAD_TIMESTAMP: return skip_bytes(r, 8);
    case LEAD_REGEX: return skip_text(r) && skip_text(r);
    case LEAD_DBPOINTER: return read_len(r, &len) && skip_bytes(r, len + 12);
    case LEAD_CODE_SCOPE: return skip_text(r) && skip_all(r, true, depth);
    case LEAD_NULL:
    case LEAD_FALSE:
    case LEAD_TRUE:
    case LEAD_MIN_KEY:
    case LEAD_MAX_KEY: return true;
    default: return false;
    }
}

size_t key_field_len(struct slice key, bool descending) {
    struct reader r = {.p = key.p, .end = key.p + key.len, .mask = descending ? 0xff : 0};
    return key.len != 0 && skip_value(&r, 0) ? key.len - left(&r) : 0;
}
