/* SASLprep in RFC 3454's steps: map, normalise (NFKC), prohibit, check the direction. Unassigned code points are those of the Unicode version that utf8proc knows. */
#include "command/saslprep.h"

#include <openssl/crypto.h>
#include <utf8proc.h>

#include "base/codes.h"
#include "bson/utf8.h"

struct range {
    int32_t lo, hi;
};

/* RFC 3454, table B.1: commonly mapped to nothing. */
static const struct range mapped_to_nothing[] = {{0xad, 0xad},     {0x34f, 0x34f},   {0x1806, 0x1806},
                                                 {0x180b, 0x180d}, {0x200b, 0x200d}, {0x2060, 0x2060},
                                                 {0xfe00, 0xfe0f}, {0xfeff, 0xfeff}};
/* C.1.2: spaces that are not ASCII's. */
static const struct range spaces[] = {{0xa0, 0xa0},     {0x1680, 0x1680}, {0x2000, 0x200b},
                                      {0x202f, 0x202f}, {0x205f, 0x205f}, {0x3000, 0x3000}};
/* C.2.1 to C.9, without those that depend on the low 16 bits alone (C.4). */
static const struct range prohibited[] = {
    {0x0, 0x1f},        {0x7f, 0x9f},       {0x340, 0x341},     {0x6dd, 0x6dd},     {0x70f, 0x70f},
    {0x180e, 0x180e},   {0x200c, 0x200f},   {0x2028, 0x202e},   {0x2060, 0x2063},   {0x206a, 0x206f},
    {0x2ff0, 0x2ffb},   {0xd800, 0xf8ff},   {0xfdd0, 0xfdef},   {0xfeff, 0xfeff},   {0xfff9, 0xffff},
    {0x1d173, 0x1d17a}, {0xe0001, 0xe0001}, {0xe0020, 0xe007f}, {0xf0000, 0xffffd}, {0x100000, 0x10fffd},
};

static bool is_in(const struct range *ranges, size_t count, int32_t c) {
    for (size_t i = 0; i < count; i++)
        if (c >= ranges[i].lo && c <= ranges[i].hi) return true;
    return false;
}
#define IS_IN(table, c) is_in(table, sizeof(table) / sizeof((table)[0]), (c))

static status refuse(struct err *err) {
    return RAISE_CODE(err, CODE_BadValue, "the password is not valid UTF-8 or holds characters that SASLprep forbids");
}

/* Decoded, mapped and decomposed into at most `max` code points: how many, or -1 when it does not fit or is not UTF-8. */
static ptrdiff_t decompose(struct slice text, int32_t *out, size_t max) {
    const utf8proc_option_t options = UTF8PROC_STABLE | UTF8PROC_COMPAT | UTF8PROC_DECOMPOSE;
    size_t n = 0;
    for (size_t at = 0; at < text.len;) {
        int32_t c;
        int boundary = 0;
        utf8proc_ssize_t used = utf8proc_iterate(text.p + at, (utf8proc_ssize_t) (text.len - at), &c);
        if (used <= 0) return -1;
        at += (size_t) used;
        if (IS_IN(mapped_to_nothing, c)) continue;
        if (IS_IN(spaces, c)) c = ' ';
        utf8proc_ssize_t got = utf8proc_decompose_char(c, out + n, (utf8proc_ssize_t) (max - n), options, &boundary);
        if (got < 0 || (size_t) got > max - n) return -1;
        n += (size_t) got;
    }
    return (ptrdiff_t) n;
}

/* Combining marks in the order of their classes, stably: what utf8proc_normalize_utf32 expects. */
static void order_marks(int32_t *c, size_t n) {
    for (size_t i = 1; i < n; i++) {
        int32_t moving = c[i];
        int klass = utf8proc_get_property(moving)->combining_class;
        size_t at = i;
        if (klass == 0) continue;
        while (at > 0 && utf8proc_get_property(c[at - 1])->combining_class > klass) c[at] = c[at - 1], at--;
        c[at] = moving;
    }
}

static bool is_right_to_left(int32_t c) {
    utf8proc_propval_t d = (utf8proc_propval_t) utf8proc_get_property(c)->bidi_class;
    return d == UTF8PROC_BIDI_CLASS_R || d == UTF8PROC_BIDI_CLASS_AL;
}

/* RFC 3454, section 6: text with right-to-left characters has no left-to-right ones, and begins and ends with the former. */
static bool is_permitted(const int32_t *c, size_t n) {
    bool has_right = false, has_left = false;
    for (size_t i = 0; i < n; i++) {
        if (IS_IN(prohibited, c[i]) || IS_IN(spaces, c[i]) || (c[i] & 0xfffe) == 0xfffe) return false;
        const utf8proc_property_t *property = utf8proc_get_property(c[i]);
        if (property->category == UTF8PROC_CATEGORY_CN) return false;
        has_left = has_left || property->bidi_class == UTF8PROC_BIDI_CLASS_L;
        has_right = has_right || is_right_to_left(c[i]);
    }
    return !has_right || (!has_left && is_right_to_left(c[0]) && is_right_to_left(c[n - 1]));
}

status saslprep(const struct mem *mem, struct slice text, struct buf *out, struct err *err) {
    /* Compatibility decomposition gives at most 18 code points for one (U+FDFA). */
    size_t max = text.len * 18 + 1;
    if (text.len > 1024 * 1024) return RAISE_CODE(err, CODE_BadValue, "the password is too long");
    int32_t *c = mem_alloc(mem, max * sizeof(*c));
    if (c == NULL) return RAISE(err, ST_NOMEM, "a password");
    status st = ST_OK;
    ptrdiff_t n = decompose(text, c, max);
    if (n > 0) {
        order_marks(c, (size_t) n);
        n = utf8proc_normalize_utf32(c, n, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    }
    if (n < 0 || !is_permitted(c, (size_t) n)) st = refuse(err);
    for (ptrdiff_t i = 0; st == ST_OK && i < n; i++) {
        uint8_t bytes[4];
        buf_append(out, bytes, utf8_put(bytes, (uint32_t) c[i]));
        OPENSSL_cleanse(bytes, sizeof(bytes));
    }
    if (st == ST_OK && out->failed) st = RAISE(err, ST_NOMEM, "a password");
    OPENSSL_cleanse(c, max * sizeof(*c));
    mem_free(mem, c, max * sizeof(*c));
    return st;
}
