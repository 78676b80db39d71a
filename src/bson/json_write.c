/* Writing extended JSON v2, canonical and relaxed, from checked BSON. Text that is not UTF-8 (documents may hold it) is written with
 * U+FFFD in place of the bad bytes, so that the output always is JSON. */
#include <math.h>

#include "bson/date.h"
#include "bson/json.h"
#include "bson/json_text.h"
#include "bson/number.h"
#include "bson/utf8.h"

struct writer {
    struct buf *out;
    enum json_form form;
    int indent, depth;
};

static void put(struct writer *w, const char *text) { (void) buf_append(w->out, text, strlen(text)); }

static void put_escaped(struct writer *w, uint8_t c) {
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
    for (int i = 0; from[i] != 0; i++) {
        if (c == (uint8_t) from[i]) {
            uint8_t pair[2] = {'\\', (uint8_t) to[i]};
            (void) buf_append(w->out, pair, 2);
            return;
        }
    }
    (void) buf_append_format(w->out, "\\u%04x", c);
}

static void put_string(struct writer *w, struct slice s) {
    const uint8_t *p = s.p, *end = p + s.len, *run = p;
    (void) buf_append_u8(w->out, '"');
    while (p < end) {
        unsigned n = *p >= 0x80 ? utf8_char_len(p, end) : *p < 0x20 || *p == '"' || *p == '\\' ? 0 : 1;
        if (n != 0) {
            p += n;
            continue;
        }
        (void) buf_append(w->out, run, (size_t) (p - run));
        if (*p >= 0x80) put(w, "\\ufffd");
        else put_escaped(w, *p);
        run = ++p;
    }
    if (run != end) (void) buf_append(w->out, run, (size_t) (end - run));
    (void) buf_append_u8(w->out, '"');
}

static void put_hex(struct writer *w, const uint8_t *p, size_t n) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        (void) buf_append_u8(w->out, (uint8_t) digits[p[i] >> 4]);
        (void) buf_append_u8(w->out, (uint8_t) digits[p[i] & 15]);
    }
}

static void put_object_id(struct writer *w, const uint8_t *id) {
    put(w, "{\"$oid\": \"");
    put_hex(w, id, 12);
    put(w, "\"}");
}

static void put_int(struct writer *w, const char *kind, int64_t v) {
    if (w->form == JSON_RELAXED) (void) buf_append_format(w->out, "%lld", (long long) v);
    else (void) buf_append_format(w->out, "{\"%s\": \"%lld\"}", kind, (long long) v);
}

static void put_double(struct writer *w, double d) {
    char text[DOUBLE_TEXT_LEN];
    if (isfinite(d)) {
        double_to_text(d, text);
        (void) buf_append_format(w->out, w->form == JSON_RELAXED ? "%s" : "{\"$numberDouble\": \"%s\"}", text);
    } else {
        put(w,
            isnan(d)    ? "{\"$numberDouble\": \"NaN\"}"
                : d > 0 ? "{\"$numberDouble\": \"Infinity\"}"
                        : "{\"$numberDouble\": \"-Infinity\"}");
    }
}

static void put_date(struct writer *w, int64_t ms) {
    char text[32];
    if (w->form == JSON_RELAXED && ms >= 0 && date_to_text(ms, text))
        (void) buf_append_format(w->out, "{\"$date\": \"%s\"}", text);
    else (void) buf_append_format(w->out, "{\"$date\": {\"$numberLong\": \"%lld\"}}", (long long) ms);
}

static void put_binary(struct writer *w, struct bval v) {
    struct slice bytes = bval_binary(v);
    uint8_t subtype = bval_binary_subtype(v);
    if (subtype == 2 && bytes.len >= 4) bytes = slice_of(bytes.p + 4, bytes.len - 4); /* its inner length */
    put(w, "{\"$binary\": {\"base64\": \"");
    base64_append(w->out, bytes);
    put(w, "\", \"subType\": \"");
    put_hex(w, &subtype, 1);
    put(w, "\"}}");
}

static void put_value(struct writer *w, struct bval v);

static void put_line(struct writer *w) {
    (void) buf_append_u8(w->out, '\n');
    for (int i = 0; i < w->depth * w->indent; i++) (void) buf_append_u8(w->out, ' ');
}

static void put_elements(struct writer *w, struct bdoc d, bool is_array) {
    struct biter it = biter_of(d);
    struct belem e;
    bool is_first = true;
    (void) buf_append_u8(w->out, is_array ? '[' : '{');
    w->depth++;
    for (; biter_next(&it, &e); is_first = false) {
        if (!is_first) put(w, w->indent > 0 ? "," : ", ");
        if (w->indent > 0) put_line(w);
        if (!is_array) {
            put_string(w, e.name);
            put(w, ": ");
        }
        put_value(w, e.value);
    }
    w->depth--;
    if (!is_first && w->indent > 0) put_line(w);
    (void) buf_append_u8(w->out, is_array ? ']' : '}');
}

static void put_regex(struct writer *w, struct bval v) {
    put(w, "{\"$regularExpression\": {\"pattern\": ");
    put_string(w, bval_regex_pattern(v));
    put(w, ", \"options\": ");
    put_string(w, bval_regex_options(v));
    put(w, "}}");
}

static void put_code(struct writer *w, struct bval v) {
    put(w, "{\"$code\": ");
    put_string(w, bval_code(v));
    if (v.type == B_CODE_SCOPE) {
        put(w, ", \"$scope\": ");
        put_elements(w, bval_code_scope(v), false);
    }
    put(w, "}");
}

static void put_dbpointer(struct writer *w, struct bval v) {
    put(w, "{\"$dbPointer\": {\"$ref\": ");
    put_string(w, bval_string(v));
    put(w, ", \"$id\": ");
    put_object_id(w, v.p + v.len - 12);
    put(w, "}}");
}

static void put_decimal(struct writer *w, struct bval v) {
    char text[43];
    decimal_to_text(bnum_of(v).dec, text);
    (void) buf_append_format(w->out, "{\"$numberDecimal\": \"%s\"}", text);
}

static void put_symbol(struct writer *w, struct bval v) {
    put(w, "{\"$symbol\": ");
    put_string(w, bval_string(v));
    put(w, "}");
}

static void put_value(struct writer *w, struct bval v) {
    switch (v.type) {
    case B_DOUBLE: put_double(w, bval_double(v)); break;
    case B_STRING: put_string(w, bval_string(v)); break;
    case B_DOCUMENT: put_elements(w, bval_doc(v), false); break;
    case B_ARRAY: put_elements(w, bval_doc(v), true); break;
    case B_BINARY: put_binary(w, v); break;
    case B_OBJECT_ID: put_object_id(w, v.p); break;
    case B_BOOL: put(w, bval_bool(v) ? "true" : "false"); break;
    case B_DATE: put_date(w, bval_int64(v)); break;
    case B_NULL: put(w, "null"); break;
    case B_REGEX: put_regex(w, v); break;
    case B_DBPOINTER: put_dbpointer(w, v); break;
    case B_CODE:
    case B_CODE_SCOPE: put_code(w, v); break;
    case B_SYMBOL: put_symbol(w, v); break;
    case B_INT32: put_int(w, "$numberInt", bval_int32(v)); break;
    case B_INT64: put_int(w, "$numberLong", bval_int64(v)); break;
    case B_TIMESTAMP:
        (void) buf_append_format(w->out, "{\"$timestamp\": {\"t\": %u, \"i\": %u}}",
                                 (unsigned) (bval_timestamp(v) >> 32), (unsigned) bval_timestamp(v));
        break;
    case B_DECIMAL: put_decimal(w, v); break;
    case B_MIN_KEY: put(w, "{\"$minKey\": 1}"); break;
    case B_MAX_KEY: put(w, "{\"$maxKey\": 1}"); break;
    default: put(w, "{\"$undefined\": true}"); break; /* missing, too: there is no other word for it */
    }
}

void json_write(struct bdoc d, bool is_array, enum json_form form, int indent, struct buf *out) {
    struct writer w = {.out = out, .form = form, .indent = indent};
    put_elements(&w, d, is_array);
}

void json_write_value(struct bval v, enum json_form form, int indent, struct buf *out) {
    struct writer w = {.out = out, .form = form, .indent = indent};
    put_value(&w, v);
}
