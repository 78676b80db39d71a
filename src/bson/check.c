/* One walk over the bytes with an explicit stack. Invariant: every read lies below the end of the innermost open document, whose own
 * end was checked against its parent's when it was opened.
 *
 * UTF-8 is looked at only where a byte has its high bit set; that is found eight bytes at a time. */
#include "bson/check.h"

#include <stdio.h>

#include "base/codes.h"
#include "bson/utf8.h"

#define DEEPER 8 /* levels, by BSON_CHECK_DEEPER */

struct frame {
    const uint8_t *end;  /* the document's closing zero */
    const uint8_t *name; /* of the field that is being read in it */
};

struct checker {
    const uint8_t *start;
    bool wants_utf8;
    int depth; /* index of the innermost open document */
    int depth_max;
    struct frame frames[BSON_DEPTH_MAX + DEEPER];
};

/* Appends a name, bytes that are no printable ASCII as '?'; returns the new end. */
static size_t append_name(char *text, size_t at, size_t cap, const uint8_t *name, const uint8_t *end) {
    for (; name < end && *name != 0 && at + 1 < cap; name++)
        text[at++] = *name >= 0x20 && *name < 0x7f ? (char) *name : '?';
    text[at] = 0;
    return at;
}

static status fail_at(const struct checker *c, const uint8_t *at, int32_t code, const char *what, struct err *err) {
    char path[256] = "";
    size_t len = 0;
    for (int i = 0; i <= c->depth && i < c->depth_max; i++) {
        if (c->frames[i].name == NULL) break;
        if (i > 0 && len + 1 < sizeof(path)) path[len++] = '.';
        len = append_name(path, len, sizeof(path), c->frames[i].name, c->frames[i].end);
    }
    size_t offset = (size_t) (at - c->start);
    if (c->depth < 0 || c->frames[0].name == NULL)
        return RAISE_CODE(err, code, "invalid BSON at offset %zu: %s", offset, what);
    return RAISE_CODE(err, code, "invalid BSON in field '%s' at offset %zu: %s", path, offset, what);
}

static status fail(const struct checker *c, const uint8_t *at, const char *what, struct err *err) {
    return fail_at(c, at, CODE_InvalidBSON, what, err);
}

/* A string inside a document: the eight bytes before its end always lie in the document. */
static inline bool is_string_ok(const uint8_t *p, size_t len) {
    const uint8_t *at = p, *end = p + len;
    uint64_t bits = 0;
    for (; end - at >= 8; at += 8) bits |= get_le64(at);
    if (at < end) bits |= get_le64(end - 8) >> 8 * (8 - (end - at));
    return (bits & UTF8_HIGH_BITS) == 0 || utf8_is_valid(p, end);
}

/* The zero that ends a C string before `end`, NULL when there is none. *bits collects the bytes seen (or more of them). */
static inline const uint8_t *find_zero(const uint8_t *p, const uint8_t *end, uint64_t *bits) {
    for (; end - p >= 8; p += 8) {
        uint64_t w = get_le64(p), zero = (w - 0x0101010101010101u) & ~w & UTF8_HIGH_BITS;
        if (zero != 0) {
            unsigned n = (unsigned) __builtin_ctzll(zero) / 8;
            *bits |= w & (((uint64_t) 1 << 8 * n) - 1);
            return p + n;
        }
        *bits |= w;
    }
    for (; p < end; p++) {
        if (*p == 0) return p;
        *bits |= *p;
    }
    return NULL;
}

/* Checks a C string at *p and moves past its zero. */
static status check_cstring(const struct checker *c, const uint8_t **p, const uint8_t *end, const char *what,
                            struct err *err) {
    uint64_t bits = 0;
    const uint8_t *zero = find_zero(*p, end, &bits);
    if (zero == NULL) return fail(c, *p, what, err);
    if (c->wants_utf8 && (bits & UTF8_HIGH_BITS) != 0 && !utf8_is_valid(*p, zero))
        return fail(c, *p, "text that is not UTF-8", err);
    *p = zero + 1;
    return ST_OK;
}

/* Checks length, closing zero and text of a string at *p and moves past it. */
static inline status check_string(const struct checker *c, const uint8_t **p, const uint8_t *end, struct err *err) {
    const uint8_t *s = *p;
    if (end - s < 5) return fail(c, s, "a string that is cut off", err);
    uint32_t len = get_le32(s);
    if (len == 0 || len > (size_t) (end - s) - 4) return fail(c, s, "a string whose length is wrong", err);
    if (s[4 + len - 1] != 0) return fail(c, s, "a string without its closing zero", err);
    if (c->wants_utf8 && !is_string_ok(s + 4, len - 1)) return fail(c, s + 4, "text that is not UTF-8", err);
    *p = s + 4 + len;
    return ST_OK;
}

static status check_binary(const struct checker *c, const uint8_t **p, const uint8_t *end, struct err *err) {
    const uint8_t *s = *p;
    if (end - s < 5) return fail(c, s, "binary data that is cut off", err);
    uint32_t len = get_le32(s);
    if (len > (size_t) (end - s) - 5) return fail(c, s, "binary data whose length is wrong", err);
    if (s[4] == 2 && (len < 4 || get_le32(s + 5) != len - 4))
        return fail(c, s, "binary data whose inner length is wrong", err);
    *p = s + 5 + len;
    return ST_OK;
}

/* Opens the document at p, which must end before `limit`. */
static status push_doc(struct checker *c, const uint8_t *p, const uint8_t *limit, struct err *err) {
    if (limit - p < 5) return fail(c, p, "a document that is cut off", err);
    uint32_t len = get_le32(p);
    if (len < 5 || len > (size_t) (limit - p)) return fail(c, p, "a document whose length is wrong", err);
    if (p[len - 1] != 0) return fail(c, p, "a document without its closing zero", err);
    if (c->depth + 1 == c->depth_max) {
        char what[64];
        (void) snprintf(what, sizeof(what), "documents nested deeper than %d levels", c->depth_max);
        return fail_at(c, p, CODE_Overflow, what, err);
    }
    c->frames[++c->depth] = (struct frame){p + len - 1, NULL};
    return ST_OK;
}

/* The code of a code with scope; its scope, a document, must fill the rest exactly. *p moves to the scope. */
static status check_code_scope(struct checker *c, const uint8_t **p, const uint8_t *end, struct err *err) {
    const uint8_t *s = *p;
    if (end - s < 14) return fail(c, s, "code with scope that is cut off", err);
    uint32_t len = get_le32(s);
    if (len < 14 || len > (size_t) (end - s)) return fail(c, s, "code with scope whose length is wrong", err);
    const uint8_t *at = s + 4, *limit = s + len;
    TRY(check_string(c, &at, limit, err));
    if (limit - at < 5 || get_le32(at) != (size_t) (limit - at))
        return fail(c, at, "a scope whose length is wrong", err);
    *p = at;
    return ST_OK;
}

enum rule {
    RULE_BAD = 0,
    RULE_TEXT = 20,
    RULE_DOC,
    RULE_BINARY,
    RULE_BOOL,
    RULE_REGEX,
    RULE_DBPOINTER,
    RULE_CODE_SCOPE
};

/* What a type's value must be: n + 1 for n plain bytes, or a rule. */
static const uint8_t rules[256] = {
    [B_DOUBLE] = 9,       [B_STRING] = RULE_TEXT,   [B_DOCUMENT] = RULE_DOC,
    [B_ARRAY] = RULE_DOC, [B_BINARY] = RULE_BINARY, [B_UNDEFINED] = 1,
    [B_OBJECT_ID] = 13,   [B_BOOL] = RULE_BOOL,     [B_DATE] = 9,
    [B_NULL] = 1,         [B_REGEX] = RULE_REGEX,   [B_DBPOINTER] = RULE_DBPOINTER,
    [B_CODE] = RULE_TEXT, [B_SYMBOL] = RULE_TEXT,   [B_CODE_SCOPE] = RULE_CODE_SCOPE,
    [B_INT32] = 5,        [B_TIMESTAMP] = 9,        [B_INT64] = 9,
    [B_DECIMAL] = 17,     [B_MAX_KEY] = 1,          [B_MIN_KEY] = 1,
};

/* The types that are not a plain number of bytes; *p moves past the value, or to a document that was opened. */
static status check_other(struct checker *c, uint8_t type, const uint8_t **p, const uint8_t *end, struct err *err) {
    switch (rules[type]) {
    case RULE_BINARY: return check_binary(c, p, end, err);
    case RULE_BOOL:
        if (end - *p < 1) return fail(c, *p, "a value that is cut off", err);
        if (**p > 1) return fail(c, *p, "a boolean that is neither 0 nor 1", err);
        *p += 1;
        return ST_OK;
    case RULE_REGEX:
        TRY(check_cstring(c, p, end, "a regular expression without its closing zero", err));
        return check_cstring(c, p, end, "regular expression options without their closing zero", err);
    case RULE_DBPOINTER:
        TRY(check_string(c, p, end, err));
        if (end - *p < 12) return fail(c, *p, "a value that is cut off", err);
        *p += 12;
        return ST_OK;
    case RULE_CODE_SCOPE:
        TRY(check_code_scope(c, p, end, err));
        TRY(push_doc(c, *p, end, err));
        *p += 4;
        return ST_OK;
    default: return fail(c, *p, "a value of an unknown type", err);
    }
}

static status check_elements(struct checker *c, struct err *err) {
    const uint8_t *p = c->start + 4, *end = c->frames[0].end;
    for (;;) {
        while (p == end) { /* at the closing zero */
            if (c->depth == 0) return ST_OK;
            p = end + 1;
            end = c->frames[--c->depth].end;
        }
        uint8_t type = *p++;
        c->frames[c->depth].name = p;
        TRY(check_cstring(c, &p, end, "a field name without its closing zero", err));
        uint8_t rule = rules[type];
        if (rule != RULE_BAD && rule < RULE_TEXT) {
            if (end - p < rule - 1) return fail(c, p, "a value that is cut off", err);
            p += rule - 1;
        } else if (rule == RULE_TEXT) {
            TRY(check_string(c, &p, end, err));
        } else if (rule == RULE_DOC) {
            TRY(push_doc(c, p, end, err));
            p += 4;
            end = c->frames[c->depth].end;
        } else {
            TRY(check_other(c, type, &p, end, err));
            end = c->frames[c->depth].end;
        }
    }
}

status bson_check(const uint8_t *p, size_t len, unsigned flags, struct bdoc *out, struct err *err) {
    struct checker c;
    c.start = p;
    c.wants_utf8 = (flags & BSON_CHECK_UTF8) != 0;
    c.depth = -1;
    c.depth_max = (flags & BSON_CHECK_DEEPER) != 0 ? BSON_DEPTH_MAX + DEEPER : BSON_DEPTH_MAX;
    if (len < 5) return fail(&c, p, "a document that is cut off", err);
    if (get_le32(p) != len) return fail(&c, p, "a document whose length is wrong", err);
    TRY(push_doc(&c, p, p + len, err));
    TRY(check_elements(&c, err));
    *out = (struct bdoc){p, (uint32_t) len};
    return ST_OK;
}
