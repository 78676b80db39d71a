/* Looking for several fields in one walk over a document.
 *
 * A name's first eight bytes, zero-padded, are its head: read with one load, compared with one instruction, and for
 * names of up to eight bytes the length settles the rest. Lengths of values come from a table without a call for the
 * types that matter. Bytes are trusted as in bson/value.h. */
#ifndef ELMO_EVAL_FIELDS_H
#define ELMO_EVAL_FIELDS_H

#include "bson/value.h"

struct field_name {
    uint64_t head;
    struct slice name;
};

struct field {
    const uint8_t *at; /* its type byte */
    uint64_t head;
    struct slice name;
    struct bval value;
};

struct field_scan {
    const uint8_t *at, *end; /* end: the closing zero */
};

static inline struct field_name field_name_of(struct slice name) {
    uint64_t head = 0;
    if (name.len != 0) memcpy(&head, name.p, name.len < 8 ? name.len : 8);
    return (struct field_name){head, name};
}

static inline struct field_scan field_scan_of(struct bdoc d) { return (struct field_scan){d.p + 4, d.p + d.len - 1}; }

static inline bool field_is(const struct field *f, const struct field_name *n) {
    return f->head == n->head && f->name.len == n->name.len &&
        (n->name.len <= 8 || memcmp(f->name.p + 8, n->name.p + 8, n->name.len - 8) == 0);
}

/* The head of the name at p and its length. `end` is the closing zero of the document. */
static inline uint64_t field_head_at(const uint8_t *p, const uint8_t *end, size_t *len) {
    uint64_t w = 0;
    if (end - p >= 7) memcpy(&w, p, 8);
    else memcpy(&w, p, (size_t) (end - p) + 1);
    uint64_t zero = (w - UINT64_C(0x0101010101010101)) & ~w & UINT64_C(0x8080808080808080);
    if (zero != 0) {
        unsigned n = (unsigned) __builtin_ctzll(zero) >> 3;
        *len = n;
        return n == 0 ? 0 : w & (~UINT64_C(0) >> (64 - 8 * n));
    }
    *len = 8 + strlen((const char *) p + 8);
    return w;
}

static inline uint32_t field_value_len(uint8_t type, const uint8_t *p) {
    switch (type) {
    case B_INT32: return 4;
    case B_DOUBLE:
    case B_INT64:
    case B_DATE:
    case B_TIMESTAMP: return 8;
    case B_STRING: return 4 + get_le32(p);
    case B_DOCUMENT:
    case B_ARRAY: return get_le32(p);
    case B_OBJECT_ID: return 12;
    case B_BOOL: return 1;
    case B_NULL: return 0;
    default: return bval_len(type, p);
    }
}

static inline bool field_next(struct field_scan *s, struct field *f) {
    const uint8_t *p = s->at;
    if (p >= s->end) return false;
    size_t len;
    f->at = p;
    f->head = field_head_at(p + 1, s->end, &len);
    f->name = slice_of(p + 1, len);
    const uint8_t *v = p + 2 + len;
    f->value = (struct bval){v, field_value_len(*p, v), *p};
    s->at = v + f->value.len;
    return true;
}

/* The first field of that name; B_MISSING. */
static inline struct bval field_get(struct bdoc d, const struct field_name *name) {
    struct field_scan s = field_scan_of(d);
    struct field f;
    while (field_next(&s, &f)) {
        if (field_is(&f, name)) return f.value;
    }
    return BVAL_MISSING;
}

#endif
