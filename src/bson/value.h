/* BSON in place: a value is a type and a borrowed run of bytes, a document an iterator over them. Nothing is allocated or copied.
 *
 * Everything here trusts its bytes: they went through bson_check (bson/check.h) when they came in. Lifetime is the bytes' own. */
#ifndef ELMO_BSON_VALUE_H
#define ELMO_BSON_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/endian.h"
#include "base/slice.h"

/* BSON's type bytes (bsonspec.org), and one of ours for "no value". */
enum btype {
    B_MISSING = 0x00, /* no such field: not in any document */
    B_DOUBLE = 0x01,
    B_STRING = 0x02,
    B_DOCUMENT = 0x03,
    B_ARRAY = 0x04,
    B_BINARY = 0x05,
    B_UNDEFINED = 0x06,
    B_OBJECT_ID = 0x07,
    B_BOOL = 0x08,
    B_DATE = 0x09,
    B_NULL = 0x0a,
    B_REGEX = 0x0b,
    B_DBPOINTER = 0x0c,
    B_CODE = 0x0d,
    B_SYMBOL = 0x0e,
    B_CODE_SCOPE = 0x0f,
    B_INT32 = 0x10,
    B_TIMESTAMP = 0x11,
    B_INT64 = 0x12,
    B_DECIMAL = 0x13,
    B_MAX_KEY = 0x7f,
    B_MIN_KEY = 0xff,
};

#define BSON_LEN_MAX ((uint32_t) 16 * 1024 * 1024) /* of a stored document */
#define BSON_DEPTH_MAX 180                         /* levels of documents and arrays */

/* A value: `p` is where its bytes start after type and name, `len` how many they are. */
struct bval {
    const uint8_t *p;
    uint32_t len;
    uint8_t type; /* enum btype */
};
#define BVAL_MISSING ((struct bval){NULL, 0, B_MISSING})

/* A document or an array: the bytes from its length to its closing zero. */
struct bdoc {
    const uint8_t *p;
    uint32_t len;
};

struct belem {
    struct slice name;
    struct bval value;
};

struct biter {
    const uint8_t *at, *end; /* end: the closing zero */
};

static inline struct bdoc bdoc_of(const uint8_t *p) { return (struct bdoc){p, get_le32(p)}; }
extern const struct bdoc bdoc_empty; /* {} */

static inline struct biter biter_of(struct bdoc d) { return (struct biter){d.p + 4, d.p + d.len - 1}; }

/* How the length of a value follows from its type, by the type's low five bits: the low bits are bytes to count always, LE32 adds the
 * length that stands first in the value, REGEX is two C strings. */
enum { BTYPE_LEN_LE32 = 0x80, BTYPE_LEN_REGEX = 0x40, BTYPE_LEN_MASK = 0x1f };
extern const uint8_t btype_len[32];
uint32_t bval_regex_len(const uint8_t *p);

/* Bytes of a value of this type that starts at p. */
static inline uint32_t bval_len(uint8_t type, const uint8_t *p) {
    uint8_t rule = btype_len[type & 31];
    uint32_t n = rule & BTYPE_LEN_MASK;
    if (rule & BTYPE_LEN_LE32) return n + get_le32(p);
    return rule & BTYPE_LEN_REGEX ? bval_regex_len(p) : n;
}

/* Length of the C string at p, which ends before `end`; eight bytes at a time where they are there to be read. */
static inline size_t bson_name_len(const uint8_t *p, const uint8_t *end) {
    const uint8_t *s = p;
    for (; end - s >= 8; s += 8) {
        uint64_t w = get_le64(s), zero = (w - 0x0101010101010101u) & ~w & 0x8080808080808080u;
        if (zero != 0) return (size_t) (s - p) + (unsigned) __builtin_ctzll(zero) / 8;
    }
    while (*s != 0) s++;
    return (size_t) (s - p);
}

/* False at the end. The element's name and value are borrowed from the document. */
static inline bool biter_next(struct biter *it, struct belem *out) {
    const uint8_t *p = it->at;
    if (p >= it->end) return false;
    uint8_t type = *p++;
    size_t name_len = bson_name_len(p, it->end);
    const uint8_t *value = p + name_len + 1;
    uint32_t len = bval_len(type, value);
    out->name = (struct slice){p, name_len};
    out->value = (struct bval){value, len, type};
    it->at = value + len;
    return true;
}

/* The first field of that name, a B_MISSING value when there is none. */
static inline struct bval bdoc_get(struct bdoc d, struct slice name) {
    struct biter it = biter_of(d);
    struct belem e;
    while (biter_next(&it, &e))
        if (e.name.len == name.len && memcmp(e.name.p, name.p, name.len) == 0) return e.value;
    return BVAL_MISSING;
}
struct bval bdoc_get_str(struct bdoc d, const char *name);
struct bval barray_at(struct bdoc array, uint32_t idx); /* by position */
uint32_t bdoc_count(struct bdoc d);
static inline bool bdoc_is_empty(struct bdoc d) { return d.len <= 5; }

/* Preconditions: the value has that type. */
static inline struct bdoc bval_doc(struct bval v) { return (struct bdoc){v.p, v.len}; } /* document, array */
static inline double bval_double(struct bval v) {
    double d;
    memcpy(&d, v.p, 8);
    return d;
}
static inline int32_t bval_int32(struct bval v) { return (int32_t) get_le32(v.p); }
static inline int64_t bval_int64(struct bval v) { return (int64_t) get_le64(v.p); } /* int64, date */
static inline uint64_t bval_timestamp(struct bval v) { return get_le64(v.p); }
static inline bool bval_bool(struct bval v) { return v.p[0] != 0; }
static inline struct slice bval_string(struct bval v) {
    return slice_of(v.p + 4, get_le32(v.p) - 1);
} /* string, symbol, code */
static inline struct slice bval_object_id(struct bval v) { return slice_of(v.p, 12); }
static inline uint8_t bval_binary_subtype(struct bval v) { return v.p[4]; }
static inline struct slice bval_binary(struct bval v) {
    return slice_of(v.p + 5, get_le32(v.p));
} /* subtype 2 keeps its inner length */
struct slice bval_regex_pattern(struct bval v);
struct slice bval_regex_options(struct bval v);
struct slice bval_code(struct bval v); /* code, code with scope */
struct bdoc bval_code_scope(struct bval v);

static inline bool bval_is_number(struct bval v) {
    return v.type == B_INT32 || v.type == B_INT64 || v.type == B_DOUBLE || v.type == B_DECIMAL;
}
static inline bool bval_is_nullish(struct bval v) {
    return v.type == B_NULL || v.type == B_UNDEFINED || v.type == B_MISSING;
}
/* MongoDB's truth: not false, zero, null, undefined or missing. */
bool bval_truthy(struct bval v);

const char *btype_name(uint8_t type);                   /* "string", "objectId", ... as $type has them; "missing" */
bool btype_from_name(struct slice name, uint8_t *type); /* aliases of $type but for "number" */

#endif
