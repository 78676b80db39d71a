/* Reading JSON straight into BSON, by recursive descent; depth is that of BSON. An element is begun with a type byte to be filled in, because
 * the type is known only after the value: a document that turns out to be extended JSON is replaced where it stands.
 *
 * Texts of strings are decoded into the output. Places in error messages are counted only when there is an error. */
#include <stdio.h>

#include "base/codes.h"
#include "bson/date.h"
#include "bson/json.h"
#include "bson/json_text.h"
#include "bson/number.h"
#include "bson/utf8.h"

struct json {
    const uint8_t *start, *p, *end;
    bool shell;
    struct buf *out;
    int depth;
    struct err *err;
};

/* What stands at p, for a message: a character in quotes, or the end. */
static const char *found_at(const struct json *j, const uint8_t *p, char text[24]) {
    if (p >= j->end) return "the end of the text";
    unsigned n = utf8_char_len(p, j->end);
    if (n == 0 || *p < 0x20) (void) snprintf(text, 24, "byte 0x%02x", *p);
    else (void) snprintf(text, 24, "'%.*s'", (int) n, (const char *) p);
    return text;
}

/* Line and column (characters, from 1) of p. */
static void place_of(const struct json *j, const uint8_t *p, unsigned long *line, unsigned long *column) {
    *line = *column = 1;
    for (const uint8_t *q = j->start; q < p && q < j->end; q++) {
        if (*q == '\n') {
            ++*line;
            *column = 1;
        } else if ((*q & 0xc0) != 0x80) {
            ++*column;
        }
    }
}

static status fail(const struct json *j, const uint8_t *p, const char *what) {
    unsigned long line, column;
    place_of(j, p, &line, &column);
    return RAISE_CODE(j->err, CODE_FailedToParse, "line %lu, column %lu: %s", line, column, what);
}

static status fail_expected(const struct json *j, const uint8_t *p, const char *expected) {
    unsigned long line, column;
    char text[24];
    place_of(j, p, &line, &column);
    return RAISE_CODE(j->err, CODE_FailedToParse, "line %lu, column %lu: expected %s, found %s", line, column, expected,
                      found_at(j, p, text));
}

static bool is_space(uint8_t c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }
static bool is_digit(uint8_t c) { return c >= '0' && c <= '9'; }

static bool is_name_start(uint8_t c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '$' || c >= 0x80;
}
static bool is_name_char(uint8_t c) { return is_name_start(c) || is_digit(c); }

static status skip_comment(struct json *j) {
    const uint8_t *at = j->p;
    if (j->p[1] == '/') {
        while (j->p < j->end && *j->p != '\n') j->p++;
        return ST_OK;
    }
    for (j->p += 2; j->end - j->p >= 2; j->p++) {
        if (j->p[0] == '*' && j->p[1] == '/') {
            j->p += 2;
            return ST_OK;
        }
    }
    return fail(j, at, "a comment that is not closed");
}

static status skip_space(struct json *j) {
    for (;;) {
        while (j->p < j->end && is_space(*j->p)) j->p++;
        if (!j->shell || j->end - j->p < 2 || j->p[0] != '/' || (j->p[1] != '/' && j->p[1] != '*')) return ST_OK;
        TRY(skip_comment(j));
    }
}

static bool take(struct json *j, char c) {
    if (j->p >= j->end || *j->p != (uint8_t) c) return false;
    j->p++;
    return true;
}

/* Takes one character after white space, or fails. */
static status need(struct json *j, char c, const char *expected) {
    TRY(skip_space(j));
    return take(j, c) ? ST_OK : fail_expected(j, j->p, expected);
}

/* ---- strings ---- */

static bool take_hex(struct json *j, int n, uint32_t *out) {
    *out = 0;
    for (int i = 0; i < n; i++, j->p++) {
        if (j->p >= j->end) return false;
        uint8_t c = *j->p, low = c | 0x20;
        if (!is_digit(c) && !(low >= 'a' && low <= 'f')) return false;
        *out = *out << 4 | (uint32_t) (is_digit(c) ? c - '0' : low - 'a' + 10);
    }
    return true;
}

/* \uXXXX, the u taken; a high surrogate needs its low one. */
static status take_unicode(struct json *j, const uint8_t *at) {
    uint32_t c, low;
    uint8_t bytes[4];
    if (!take_hex(j, 4, &c)) return fail(j, at, "\\u must be followed by four hexadecimal digits");
    if (c >= 0xd800 && c < 0xe000) {
        if (c >= 0xdc00 || !take(j, '\\') || !take(j, 'u') || !take_hex(j, 4, &low) || low < 0xdc00 || low >= 0xe000)
            return fail(j, at, "half of a surrogate pair");
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
    }
    (void) buf_append(j->out, bytes, utf8_put(bytes, c));
    return ST_OK;
}

static status take_escape(struct json *j) {
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const uint8_t *at = j->p - 1;
    uint32_t c;
    if (j->p >= j->end) return fail(j, at, "a string that is not closed");
    uint8_t e = *j->p++;
    if (e == 'u') return take_unicode(j, at);
    for (int i = 0; from[i] != 0; i++) {
        if (e == (uint8_t) from[i]) {
            (void) buf_append_u8(j->out, (uint8_t) to[i]);
            return ST_OK;
        }
    }
    if (j->shell && (e == '\'' || e == '`')) {
        (void) buf_append_u8(j->out, e);
        return ST_OK;
    }
    if (j->shell && e == 'x') {
        uint8_t bytes[4];
        if (!take_hex(j, 2, &c)) return fail(j, at, "\\x must be followed by two hexadecimal digits");
        (void) buf_append(j->out, bytes, utf8_put(bytes, c));
        return ST_OK;
    }
    return fail(j, at, "an escape that JSON does not have");
}

/* The text up to the closing quote, decoded, appended without anything around it. */
static status take_text(struct json *j) {
    const uint8_t *at = j->p;
    uint8_t quote = *j->p++;
    for (;;) {
        const uint8_t *run = j->p;
        while (j->p < j->end && *j->p != quote && *j->p != '\\' && *j->p >= 0x20) j->p++;
        if (!utf8_is_valid(run, j->p)) return fail(j, run, "text that is not UTF-8");
        (void) buf_append(j->out, run, (size_t) (j->p - run));
        if (j->p >= j->end) return fail(j, at, "a string that is not closed");
        uint8_t c = *j->p++;
        if (c == quote) return ST_OK;
        if (c == '\\') TRY(take_escape(j));
        else if (j->shell && c == '\t') (void) buf_append_u8(j->out, c);
        else return fail(j, j->p - 1, "a control character in a string; write it as an escape");
    }
}

static bool at_quote(const struct json *j) { return j->p < j->end && (*j->p == '"' || (j->shell && *j->p == '\'')); }

/* A BSON string: length, text, zero. */
static status take_string(struct json *j) {
    size_t at = j->out->len;
    (void) buf_append_zero(j->out, 4);
    TRY(take_text(j));
    (void) buf_append_u8(j->out, 0);
    if (!j->out->failed) put_le32(j->out->p + at, (uint32_t) (j->out->len - at - 4));
    return ST_OK;
}

/* A C string and its zero. */
static status take_cstring(struct json *j, const char *what) {
    size_t at = j->out->len;
    const uint8_t *start = j->p;
    TRY(take_text(j));
    if (!j->out->failed && j->out->len > at && memchr(j->out->p + at, 0, j->out->len - at) != NULL)
        return fail(j, start, what);
    (void) buf_append_u8(j->out, 0);
    return ST_OK;
}

/* ---- numbers ---- */

static status put_number(struct json *j, struct bnum n, uint8_t *type) {
    *type = n.type;
    (void) buf_append(j->out, &n.i32, n.type == B_INT32 ? 4 : n.type == B_DECIMAL ? 16 : 8);
    return ST_OK;
}

static struct bnum int_number(int64_t v) {
    if (v >= INT32_MIN && v <= INT32_MAX) return (struct bnum){.type = B_INT32, .i32 = (int32_t) v};
    return (struct bnum){.type = B_INT64, .i64 = v};
}

/* The extent of a number by RFC 8259; the shell takes a plus and a missing whole part or fraction, too. */
static bool scan_number(struct json *j, bool *is_whole) {
    *is_whole = true;
    if (!take(j, '-') && j->shell) (void) take(j, '+');
    const uint8_t *digits = j->p;
    while (j->p < j->end && is_digit(*j->p)) j->p++;
    size_t whole_len = (size_t) (j->p - digits), fraction_len = 0;
    if (!j->shell && (whole_len == 0 || (whole_len > 1 && *digits == '0'))) return false;
    if (take(j, '.')) {
        const uint8_t *fraction = j->p;
        *is_whole = false;
        while (j->p < j->end && is_digit(*j->p)) j->p++;
        fraction_len = (size_t) (j->p - fraction);
        if (!j->shell && fraction_len == 0) return false;
    }
    if (whole_len + fraction_len == 0) return false;
    if (j->p < j->end && (*j->p == 'e' || *j->p == 'E')) {
        *is_whole = false;
        j->p++;
        if (!take(j, '-')) (void) take(j, '+');
        if (j->p >= j->end || !is_digit(*j->p)) return false;
        while (j->p < j->end && is_digit(*j->p)) j->p++;
    }
    return true;
}

static status take_number(struct json *j, uint8_t *type) {
    const uint8_t *at = j->p;
    bool is_whole;
    int64_t i;
    double d;
    if (!scan_number(j, &is_whole)) return fail_expected(j, j->p, "a digit");
    if (j->p < j->end && is_name_char(*j->p)) return fail_expected(j, j->p, "the end of the number");
    struct slice text = slice_of(at, (size_t) (j->p - at));
    if (is_whole && int64_from_text(text, &i)) return put_number(j, int_number(i), type);
    if (!double_from_text(text, &d)) return fail(j, at, "a number that is too long");
    if (__builtin_isinf(d)) return fail(j, at, "a number that is too large for a double");
    return put_number(j, (struct bnum){.type = B_DOUBLE, .d = d}, type);
}

/* ---- documents and arrays ---- */

static status take_value(struct json *j, uint8_t *type);

static void close_doc(struct json *j, size_t at) {
    if (buf_append_u8(j->out, 0)) put_le32(j->out->p + at, (uint32_t) (j->out->len - at));
}

static status enter(struct json *j) {
    if (++j->depth > BSON_DEPTH_MAX) return fail(j, j->p, "documents are nested too deeply");
    return j->out->failed ? RAISE(j->err, ST_NOMEM, "out of memory for a document") : ST_OK;
}

static status take_name(struct json *j) {
    if (at_quote(j)) return take_cstring(j, "a field name with a zero byte");
    const uint8_t *at = j->p;
    if (!j->shell || at >= j->end || !is_name_char(*at)) return fail_expected(j, at, "a field name in quotes");
    while (j->p < j->end && is_name_char(*j->p)) j->p++;
    if (!utf8_is_valid(at, j->p)) return fail(j, at, "text that is not UTF-8");
    (void) buf_append(j->out, at, (size_t) (j->p - at));
    (void) buf_append_u8(j->out, 0);
    return ST_OK;
}

/* After an element: another one follows (*more), or the end. */
static status take_separator(struct json *j, char close, const char *expected, bool *more) {
    TRY(skip_space(j));
    *more = take(j, ',');
    if (*more) {
        TRY(skip_space(j));
        if (j->shell && take(j, close)) *more = false;
        return ST_OK;
    }
    return take(j, close) ? ST_OK : fail_expected(j, j->p, expected);
}

/* The value of the element whose type byte is at type_at. */
static status take_element(struct json *j, size_t type_at) {
    uint8_t type;
    TRY(skip_space(j));
    TRY(take_value(j, &type));
    if (!j->out->failed) j->out->p[type_at] = type;
    return ST_OK;
}

/* From the opening brace to the closing one. */
static status take_document(struct json *j) {
    size_t at = j->out->len;
    TRY(enter(j));
    j->p++;
    (void) buf_append_zero(j->out, 4);
    TRY(skip_space(j));
    bool more = !take(j, '}');
    while (more) {
        size_t type_at = j->out->len;
        (void) buf_append_u8(j->out, 0);
        TRY(take_name(j));
        TRY(need(j, ':', "':' after the field name"));
        TRY(take_element(j, type_at));
        TRY(take_separator(j, '}', "',' or '}' after a value", &more));
    }
    close_doc(j, at);
    j->depth--;
    return ST_OK;
}

static status take_array(struct json *j) {
    size_t at = j->out->len;
    TRY(enter(j));
    j->p++;
    (void) buf_append_zero(j->out, 4);
    TRY(skip_space(j));
    bool more = !take(j, ']');
    for (uint32_t idx = 0; more; idx++) {
        char name[12];
        int len = snprintf(name, sizeof(name), "%u", idx);
        size_t type_at = j->out->len;
        (void) buf_append_u8(j->out, 0);
        (void) buf_append(j->out, name, (size_t) len + 1);
        TRY(take_element(j, type_at));
        TRY(take_separator(j, ']', "',' or ']' after a value", &more));
    }
    close_doc(j, at);
    j->depth--;
    return ST_OK;
}

static status take_document_value(struct json *j, uint8_t *type) {
    const uint8_t *start = j->p;
    const char *why;
    size_t at = j->out->len;
    TRY(take_document(j));
    *type = B_DOCUMENT;
    if (j->out->failed) return ST_OK;
    return json_convert_extended(j->out, at, type, &why) ? ST_OK : fail(j, start, why);
}

/* ---- what people type: words, calls, regular expressions ---- */

#define CALL_ARGS_MAX 2

/* Arguments of a call, as elements "0", "1" of an array in a buffer of its own. */
struct call {
    struct buf buf;
    struct bval args[CALL_ARGS_MAX];
    uint32_t count;
};

static bool arg_int64(struct bval v, int64_t *out) {
    if (v.type == B_STRING) return int64_from_text(bval_string(v), out);
    return bval_is_number(v) && bnum_to_int64_exact(bnum_of(v), out);
}

static bool call_object_id(struct buf *out, const struct call *c) {
    uint8_t id[12];
    if (c->count != 1 || c->args[0].type != B_STRING || !hex_decode(bval_string(c->args[0]), id, 12)) return false;
    return buf_append(out, id, 12), true;
}

static bool call_date(struct buf *out, const struct call *c) {
    int64_t ms;
    if (c->count != 1) return false;
    if (c->args[0].type == B_STRING ? !date_parse(bval_string(c->args[0]), &ms) : !arg_int64(c->args[0], &ms))
        return false;
    return buf_append_u64(out, (uint64_t) ms), true;
}

static bool call_long(struct buf *out, const struct call *c) {
    int64_t v = 0;
    if (c->count > 1 || (c->count == 1 && !arg_int64(c->args[0], &v))) return false;
    return buf_append_u64(out, (uint64_t) v), true;
}

static bool call_int(struct buf *out, const struct call *c) {
    int64_t v = 0;
    if (c->count > 1 || (c->count == 1 && !arg_int64(c->args[0], &v)) || v < INT32_MIN || v > INT32_MAX) return false;
    return buf_append_u32(out, (uint32_t) v), true;
}

static bool call_double(struct buf *out, const struct call *c) {
    double d = 0;
    uint64_t bits;
    if (c->count > 1) return false;
    if (c->count == 1 && bval_is_number(c->args[0])) d = bnum_to_double(bnum_of(c->args[0]));
    else if (c->count == 1 && (c->args[0].type != B_STRING || !double_from_text(bval_string(c->args[0]), &d)))
        return false;
    memcpy(&bits, &d, sizeof(bits));
    return buf_append_u64(out, bits), true;
}

static bool call_decimal(struct buf *out, const struct call *c) {
    struct decimal d = decimal_from_int64(0);
    if (c->count > 1) return false;
    if (c->count == 1 && bval_is_number(c->args[0])) d = bnum_to_decimal(bnum_of(c->args[0]));
    else if (c->count == 1 && (c->args[0].type != B_STRING || !decimal_from_slice(bval_string(c->args[0]), &d)))
        return false;
    return buf_append(out, &d, sizeof(d)), true;
}

static bool call_timestamp(struct buf *out, const struct call *c) {
    int64_t t, i;
    if (c->count != 2 || !arg_int64(c->args[0], &t) || !arg_int64(c->args[1], &i)) return false;
    if (t < 0 || t > UINT32_MAX || i < 0 || i > UINT32_MAX) return false;
    return buf_append_u64(out, (uint64_t) t << 32 | (uint64_t) i), true;
}

static bool call_bin_data(struct buf *out, const struct call *c) {
    int64_t subtype;
    if (c->count != 2 || !arg_int64(c->args[0], &subtype) || subtype < 0 || subtype > 255 || subtype == 2 ||
        c->args[1].type != B_STRING)
        return false;
    size_t at = out->len;
    (void) buf_append_u32(out, 0);
    (void) buf_append_u8(out, (uint8_t) subtype);
    if (!base64_decode(bval_string(c->args[1]), out)) return false;
    if (!out->failed) put_le32(out->p + at, (uint32_t) (out->len - at - 5));
    return true;
}

static bool call_uuid(struct buf *out, const struct call *c) {
    uint8_t digits[32], bytes[16];
    size_t n = 0;
    if (c->count != 1 || c->args[0].type != B_STRING) return false;
    struct slice s = bval_string(c->args[0]);
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] == '-') continue;
        if (n == 32) return false;
        digits[n++] = s.p[i];
    }
    if (!hex_decode(slice_of(digits, n), bytes, 16)) return false;
    (void) buf_append_u32(out, 16);
    (void) buf_append_u8(out, 4);
    return buf_append(out, bytes, 16), true;
}

static bool call_regex(struct buf *out, const struct call *c) {
    if (c->count < 1 || c->args[0].type != B_STRING || (c->count == 2 && c->args[1].type != B_STRING)) return false;
    for (uint32_t i = 0; i < CALL_ARGS_MAX; i++) {
        struct slice s = i < c->count ? bval_string(c->args[i]) : SLICE_LIT("");
        if (s.len != 0 && memchr(s.p, 0, s.len) != NULL) return false;
        size_t at = out->len;
        (void) buf_append_slice(out, s);
        if (i == 1 && !out->failed) sort_bytes(out->p + at, s.len);
        (void) buf_append_u8(out, 0);
    }
    return true;
}

static bool call_end_key(struct buf *out, const struct call *c) {
    (void) out;
    return c->count == 0;
}

static const struct json_call {
    const char *name;
    uint8_t type;
    bool (*call)(struct buf *out, const struct call *c);
    const char *why;
} calls[] = {
    {"ObjectId", B_OBJECT_ID, call_object_id, "ObjectId takes a string of 24 hexadecimal digits"},
    {"ISODate", B_DATE, call_date, "ISODate takes an ISO 8601 string"},
    {"Date", B_DATE, call_date, "Date takes an ISO 8601 string or milliseconds since 1970"},
    {"NumberLong", B_INT64, call_long, "NumberLong takes a 64-bit integer"},
    {"Long", B_INT64, call_long, "Long takes a 64-bit integer"},
    {"NumberInt", B_INT32, call_int, "NumberInt takes a 32-bit integer"},
    {"Int32", B_INT32, call_int, "Int32 takes a 32-bit integer"},
    {"Double", B_DOUBLE, call_double, "Double takes a number"},
    {"NumberDecimal", B_DECIMAL, call_decimal,
     "NumberDecimal takes a number or a string with one of at most 34 digits"},
    {"Decimal128", B_DECIMAL, call_decimal, "Decimal128 takes a number or a string with one of at most 34 digits"},
    {"Timestamp", B_TIMESTAMP, call_timestamp, "Timestamp takes seconds and an increment"},
    {"BinData", B_BINARY, call_bin_data, "BinData takes a subtype and a base64 string"},
    {"UUID", B_BINARY, call_uuid, "UUID takes a string of 32 hexadecimal digits"},
    {"RegExp", B_REGEX, call_regex, "RegExp takes a pattern and options, both strings"},
    {"MinKey", B_MIN_KEY, call_end_key, "MinKey takes nothing"},
    {"MaxKey", B_MAX_KEY, call_end_key, "MaxKey takes nothing"},
};

/* The arguments between the parentheses, none if there are no parentheses. */
static status take_args(struct json *j, struct call *c) {
    struct json inner = *j;
    size_t ends[CALL_ARGS_MAX];
    inner.out = &c->buf;
    TRY(skip_space(&inner));
    if (!take(&inner, '(')) return ST_OK;
    TRY(skip_space(&inner));
    bool more = !take(&inner, ')');
    while (more) {
        if (c->count == CALL_ARGS_MAX) return fail_expected(&inner, inner.p, "')'");
        TRY(take_value(&inner, &c->args[c->count].type));
        ends[c->count++] = c->buf.len;
        TRY(take_separator(&inner, ')', "',' or ')' after an argument", &more));
    }
    if (c->buf.failed) return RAISE(j->err, ST_NOMEM, "out of memory for a document");
    for (uint32_t i = 0; i < c->count; i++) {
        size_t at = i > 0 ? ends[i - 1] : 0;
        c->args[i].p = c->buf.p + at;
        c->args[i].len = (uint32_t) (ends[i] - at);
    }
    j->p = inner.p;
    return ST_OK;
}

static status take_call(struct json *j, const struct json_call *row, const uint8_t *at, uint8_t *type) {
    struct call c = {.count = 0};
    status st = ST_OK;
    buf_init(&c.buf, j->out->mem);
    TRY_OUT(enter(j));
    TRY_OUT(take_args(j, &c));
    j->depth--;
    *type = row->type;
    if (!row->call(j->out, &c)) st = fail(j, at, row->why);
out:
    buf_release(&c.buf);
    return st;
}

static bool take_word(struct json *j, const char *word) {
    size_t n = strlen(word);
    if ((size_t) (j->end - j->p) < n || memcmp(j->p, word, n) != 0) return false;
    if ((size_t) (j->end - j->p) > n && is_name_char(j->p[n])) return false;
    j->p += n;
    return true;
}

static status put_double(struct json *j, double d, uint8_t *type) {
    return put_number(j, (struct bnum){.type = B_DOUBLE, .d = d}, type);
}

static status take_shell_word(struct json *j, uint8_t *type) {
    const uint8_t *at = j->p;
    *type = B_UNDEFINED;
    if (take_word(j, "undefined")) return ST_OK;
    if (take_word(j, "NaN")) return put_double(j, __builtin_nan(""), type);
    if (take_word(j, "Infinity") || take_word(j, "+Infinity")) return put_double(j, __builtin_inf(), type);
    if (take_word(j, "-Infinity")) return put_double(j, -__builtin_inf(), type);
    if (take_word(j, "new")) TRY(skip_space(j));
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
        if (take_word(j, calls[i].name)) return take_call(j, &calls[i], at, type);
    return fail_expected(j, at, "a value");
}

/* /pattern/options: the pattern as it stands, \/ for a slash. */
static status take_regex(struct json *j) {
    const uint8_t *at = j->p++;
    bool in_class = false;
    for (;; j->p++) {
        if (j->p >= j->end || *j->p == '\n' || *j->p == 0)
            return fail(j, at, "a regular expression that is not closed");
        if (*j->p == '/' && !in_class) break;
        if (*j->p == '[') in_class = true;
        if (*j->p == ']') in_class = false;
        if (*j->p == '\\' && j->p + 1 < j->end && j->p[1] != 0 && j->p[1] != '\n') {
            if (j->p[1] != '/') (void) buf_append_u8(j->out, '\\');
            j->p++;
        }
        (void) buf_append_u8(j->out, *j->p);
    }
    if (!utf8_is_valid(at, j->p)) return fail(j, at, "text that is not UTF-8");
    (void) buf_append_u8(j->out, 0);
    j->p++;
    size_t options_at = j->out->len;
    for (; j->p < j->end && *j->p >= 'a' && *j->p <= 'z'; j->p++) (void) buf_append_u8(j->out, *j->p);
    if (!j->out->failed) sort_bytes(j->out->p + options_at, j->out->len - options_at);
    (void) buf_append_u8(j->out, 0);
    return ST_OK;
}

/* ---- any value ---- */

static status take_value(struct json *j, uint8_t *type) {
    if (j->p >= j->end) return fail_expected(j, j->p, "a value");
    uint8_t c = *j->p;
    if (at_quote(j)) {
        *type = B_STRING;
        return take_string(j);
    }
    if (c == '{') return take_document_value(j, type);
    if (c == '[') {
        *type = B_ARRAY;
        return take_array(j);
    }
    bool is_signed_word = (c == '-' || c == '+') && j->shell && j->end - j->p > 1 && j->p[1] == 'I';
    if ((is_digit(c) || c == '-' || (j->shell && (c == '+' || c == '.'))) && !is_signed_word)
        return take_number(j, type);
    bool is_true = take_word(j, "true");
    if (is_true || take_word(j, "false")) {
        *type = B_BOOL;
        (void) buf_append_u8(j->out, is_true);
        return ST_OK;
    }
    *type = B_NULL;
    if (take_word(j, "null")) return ST_OK;
    *type = B_REGEX;
    if (c == '/' && j->shell) return take_regex(j);
    return j->shell ? take_shell_word(j, type) : fail_expected(j, j->p, "a value");
}

status json_parse(struct slice text, enum json_dialect dialect, struct buf *out, bool *is_array, size_t *used,
                  struct err *err) {
    struct json j = {
        .start = text.p, .p = text.p, .end = text.p + text.len, .shell = dialect == JSON_SHELL, .out = out, .err = err};
    size_t at = out->len;
    status st = ST_OK;
    TRY_OUT(skip_space(&j));
    bool is_list = j.p < j.end && *j.p == '[';
    if (!is_list && (j.p >= j.end || *j.p != '{')) TRY_OUT(fail_expected(&j, j.p, "'{' or '['"));
    TRY_OUT(is_list ? take_array(&j) : take_document(&j));
    TRY_OUT(skip_space(&j));
    if (out->failed || out->len - at > INT32_MAX) TRY_OUT(RAISE(err, ST_NOMEM, "out of memory for a document"));
    *is_array = is_list;
    *used = (size_t) (j.p - j.start);
out:
    if (st != ST_OK) out->len = at;
    return st;
}
