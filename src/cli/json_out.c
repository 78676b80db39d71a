/* Extended JSON v2: see json_out.h. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json_out.h"

/* ---- text ---- */

static void reserve(struct text *t, size_t more) {
    if (t->cap - t->len > more) return;
    size_t cap = t->cap < 256 ? 256 : t->cap;
    while (cap - t->len <= more) cap *= 2;
    t->p = bson_realloc(t->p, cap);
    t->cap = cap;
}

void text_append(struct text *t, const char *bytes, size_t len) {
    reserve(t, len);
    memcpy(t->p + t->len, bytes, len);
    t->len += len;
    t->p[t->len] = '\0';
}

void text_append_str(struct text *t, const char *s) { text_append(t, s, strlen(s)); }

void text_printf(struct text *t, const char *fmt, ...) {
    va_list ap;
    char small[512];
    va_start(ap, fmt);
    int len = vsnprintf(small, sizeof(small), fmt, ap);
    va_end(ap);
    if (len < 0) return;
    if ((size_t) len < sizeof(small)) {
        text_append(t, small, (size_t) len);
        return;
    }
    reserve(t, (size_t) len + 1);
    va_start(ap, fmt);
    (void) vsnprintf(t->p + t->len, (size_t) len + 1, fmt, ap);
    va_end(ap);
    t->len += (size_t) len;
}

void text_release(struct text *t) {
    bson_free(t->p);
    *t = (struct text){0};
}

/* ---- pieces ---- */

void text_append_double(struct text *t, double v) {
    char digits[40];
    if (isnan(v)) {
        text_append_str(t, "NaN");
        return;
    }
    if (isinf(v)) {
        text_append_str(t, v > 0 ? "Infinity" : "-Infinity");
        return;
    }
    for (int precision = 15; precision <= 17; precision++) {
        (void) snprintf(digits, sizeof(digits), "%.*g", precision, v);
        if (strtod(digits, NULL) == v) break;
    }
    text_append_str(t, digits);
    if (strpbrk(digits, ".e") == NULL) text_append(t, ".0", 2);
}

/* Days since 1970 to a date of the Gregorian calendar, by eras of 400 years that begin on March 1st. */
static void civil_of(int64_t days, int64_t *year, int *month, int *day) {
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t of_era = days - era * 146097;
    int64_t y = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * y + y / 4 - y / 100);
    int64_t m = (5 * of_year + 2) / 153;
    *day = (int) (of_year - (153 * m + 2) / 5 + 1);
    *month = (int) (m < 10 ? m + 3 : m - 9);
    *year = y + era * 400 + (*month <= 2);
}

bool text_append_date(struct text *t, int64_t ms, bool always_ms) {
    const int64_t day_ms = 86400000;
    int64_t days = ms / day_ms, rest = ms % day_ms, year;
    int month, day;
    if (rest < 0) {
        rest += day_ms;
        days--;
    }
    if (days < -719528 || days > 2932896) return false; /* 0000-01-01, 9999-12-31 */
    civil_of(days, &year, &month, &day);
    text_printf(t, "%04lld-%02d-%02dT%02d:%02d:%02d", (long long) year, month, day, (int) (rest / 3600000),
                (int) (rest / 60000 % 60), (int) (rest / 1000 % 60));
    if (always_ms || rest % 1000 != 0) text_printf(t, ".%03d", (int) (rest % 1000));
    text_append(t, "Z", 1);
    return true;
}

static void append_string(struct text *t, const char *s, size_t len) {
    size_t from = 0;
    text_append(t, "\"", 1);
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char) s[i];
        const char *escape = c == '"' ? "\\\""
            : c == '\\'               ? "\\\\"
            : c == '\n'               ? "\\n"
            : c == '\r'               ? "\\r"
            : c == '\t'               ? "\\t"
                                      : NULL;
        if (c >= 0x20 && escape == NULL) continue;
        text_append(t, s + from, i - from);
        if (escape != NULL) text_append_str(t, escape);
        else text_printf(t, "\\u%04x", c);
        from = i + 1;
    }
    text_append(t, s + from, len - from);
    text_append(t, "\"", 1);
}

static void append_base64(struct text *t, const uint8_t *p, size_t len) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < len; i += 3) {
        uint32_t v =
            (uint32_t) p[i] << 16 | (i + 1 < len ? (uint32_t) p[i + 1] << 8 : 0) | (i + 2 < len ? p[i + 2] : 0);
        char four[4] = {digits[v >> 18], digits[v >> 12 & 63], i + 1 < len ? digits[v >> 6 & 63] : '=',
                        i + 2 < len ? digits[v & 63] : '='};
        text_append(t, four, 4);
    }
}

/* ---- values ---- */

struct writer {
    struct text *t;
    int style, depth;
};

static bool write_members(struct writer *w, bson_iter_t *it, bool is_array);
static bool write_value(struct writer *w, const bson_iter_t *it);

static const char *colon(const struct writer *w) {
    return (w->style & (JSON_SPACED | JSON_PRETTY)) != 0 ? "\": " : "\":";
}
static const char *comma(const struct writer *w) { return (w->style & JSON_SPACED) != 0 ? ", " : ","; }

static void new_line(struct writer *w) {
    if ((w->style & JSON_PRETTY) == 0) return;
    text_append(w->t, "\n", 1);
    for (int i = 0; i < w->depth; i++) text_append(w->t, "\t", 1);
}

/* {"$name":  -- the caller writes the value and the bracket. */
static void begin_wrapper(struct writer *w, const char *name) {
    w->depth++;
    text_append(w->t, "{", 1);
    new_line(w);
    text_append(w->t, "\"", 1);
    text_append_str(w->t, name);
    text_append_str(w->t, colon(w));
}

static void next_in_wrapper(struct writer *w, const char *name) {
    text_append_str(w->t, comma(w));
    new_line(w);
    text_append(w->t, "\"", 1);
    text_append_str(w->t, name);
    text_append_str(w->t, colon(w));
}

static void end_wrapper(struct writer *w) {
    w->depth--;
    new_line(w);
    text_append(w->t, "}", 1);
}

static void write_wrapped(struct writer *w, const char *name, const char *value, size_t len) {
    begin_wrapper(w, name);
    append_string(w->t, value, len);
    end_wrapper(w);
}

static void write_number(struct writer *w, const char *name, const char *digits) {
    if ((w->style & JSON_CANONICAL) != 0) write_wrapped(w, name, digits, strlen(digits));
    else text_append_str(w->t, digits);
}

static void write_double(struct writer *w, double v) {
    if ((w->style & JSON_CANONICAL) == 0 && isfinite(v)) {
        text_append_double(w->t, v);
        return;
    }
    begin_wrapper(w, "$numberDouble");
    text_append(w->t, "\"", 1);
    text_append_double(w->t, v);
    text_append(w->t, "\"", 1);
    end_wrapper(w);
}

static void write_date(struct writer *w, int64_t ms) {
    struct text iso = {0};
    char digits[32];
    begin_wrapper(w, "$date");
    /* The relaxed form of the specification covers the years 1970 to 9999. */
    if ((w->style & JSON_CANONICAL) == 0 && ms >= 0 && text_append_date(&iso, ms, false)) {
        append_string(w->t, iso.p, iso.len);
    } else {
        (void) snprintf(digits, sizeof(digits), "%lld", (long long) ms);
        write_wrapped(w, "$numberLong", digits, strlen(digits));
    }
    end_wrapper(w);
    text_release(&iso);
}

static void write_binary(struct writer *w, const bson_iter_t *it) {
    bson_subtype_t subtype;
    uint32_t len;
    const uint8_t *p;
    bson_iter_binary(it, &subtype, &len, &p);
    if (subtype == BSON_SUBTYPE_UUID && len == 16 && (w->style & JSON_UUID) != 0) {
        begin_wrapper(w, "$uuid");
        text_append(w->t, "\"", 1);
        for (uint32_t i = 0; i < 16; i++)
            text_printf(w->t, i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x", p[i]);
        text_append(w->t, "\"", 1);
        end_wrapper(w);
        return;
    }
    begin_wrapper(w, "$binary");
    begin_wrapper(w, "base64");
    text_append(w->t, "\"", 1);
    append_base64(w->t, p, len);
    text_append(w->t, "\"", 1);
    next_in_wrapper(w, "subType");
    text_printf(w->t, "\"%02x\"", (unsigned) subtype);
    end_wrapper(w);
    end_wrapper(w);
}

static void write_oid(struct writer *w, const bson_oid_t *oid) {
    char hex[25];
    bson_oid_to_string(oid, hex);
    write_wrapped(w, "$oid", hex, 24);
}

static void write_regex(struct writer *w, const bson_iter_t *it) {
    const char *options = "", *pattern = bson_iter_regex(it, &options);
    begin_wrapper(w, "$regularExpression");
    begin_wrapper(w, "pattern");
    append_string(w->t, pattern, strlen(pattern));
    next_in_wrapper(w, "options");
    append_string(w->t, options, strlen(options));
    end_wrapper(w);
    end_wrapper(w);
}

static bool write_code(struct writer *w, const bson_iter_t *it) {
    uint32_t len, scope_len;
    const uint8_t *scope;
    bson_t view;
    bson_iter_t members;
    const char *code = bson_iter_codewscope(it, &len, &scope_len, &scope);
    begin_wrapper(w, "$code");
    append_string(w->t, code, strlen(code));
    next_in_wrapper(w, "$scope");
    if (!bson_init_static(&view, scope, scope_len) || !bson_iter_init(&members, &view)) return false;
    if (!write_members(w, &members, false)) return false;
    end_wrapper(w);
    return true;
}

static void write_timestamp(struct writer *w, const bson_iter_t *it) {
    uint32_t t, i;
    bson_iter_timestamp(it, &t, &i);
    begin_wrapper(w, "$timestamp");
    begin_wrapper(w, "t");
    text_printf(w->t, "%u", t);
    next_in_wrapper(w, "i");
    text_printf(w->t, "%u", i);
    end_wrapper(w);
    end_wrapper(w);
}

static void write_pointer(struct writer *w, const bson_iter_t *it) {
    uint32_t len;
    const char *collection;
    const bson_oid_t *oid;
    bson_iter_dbpointer(it, &len, &collection, &oid);
    begin_wrapper(w, "$dbPointer");
    begin_wrapper(w, "$ref");
    append_string(w->t, collection, strlen(collection));
    next_in_wrapper(w, "$id");
    write_oid(w, oid);
    end_wrapper(w);
    end_wrapper(w);
}

static bool write_nested(struct writer *w, const bson_iter_t *it, bool is_array) {
    bson_iter_t members;
    return bson_iter_recurse(it, &members) && write_members(w, &members, is_array);
}

static void write_unit(struct writer *w, const char *name) {
    begin_wrapper(w, name);
    text_append(w->t, "1", 1);
    end_wrapper(w);
}

static bool write_value(struct writer *w, const bson_iter_t *it) {
    char digits[BSON_DECIMAL128_STRING];
    uint32_t len;
    const char *s;
    bson_decimal128_t decimal;
    switch (bson_iter_type(it)) {
    case BSON_TYPE_DOUBLE: write_double(w, bson_iter_double(it)); break;
    case BSON_TYPE_UTF8:
        s = bson_iter_utf8(it, &len);
        append_string(w->t, s, len);
        break;
    case BSON_TYPE_DOCUMENT: return write_nested(w, it, false);
    case BSON_TYPE_ARRAY: return write_nested(w, it, true);
    case BSON_TYPE_BINARY: write_binary(w, it); break;
    case BSON_TYPE_UNDEFINED:
        begin_wrapper(w, "$undefined");
        text_append_str(w->t, "true");
        end_wrapper(w);
        break;
    case BSON_TYPE_OID: write_oid(w, bson_iter_oid(it)); break;
    case BSON_TYPE_BOOL: text_append_str(w->t, bson_iter_bool(it) ? "true" : "false"); break;
    case BSON_TYPE_DATE_TIME: write_date(w, bson_iter_date_time(it)); break;
    case BSON_TYPE_NULL: text_append_str(w->t, "null"); break;
    case BSON_TYPE_REGEX: write_regex(w, it); break;
    case BSON_TYPE_DBPOINTER: write_pointer(w, it); break;
    case BSON_TYPE_CODE:
        s = bson_iter_code(it, &len);
        write_wrapped(w, "$code", s, len);
        break;
    case BSON_TYPE_SYMBOL:
        s = bson_iter_symbol(it, &len);
        write_wrapped(w, "$symbol", s, len);
        break;
    case BSON_TYPE_CODEWSCOPE: return write_code(w, it);
    case BSON_TYPE_INT32:
        (void) snprintf(digits, sizeof(digits), "%d", (int) bson_iter_int32(it));
        write_number(w, "$numberInt", digits);
        break;
    case BSON_TYPE_TIMESTAMP: write_timestamp(w, it); break;
    case BSON_TYPE_INT64:
        (void) snprintf(digits, sizeof(digits), "%lld", (long long) bson_iter_int64(it));
        write_number(w, "$numberLong", digits);
        break;
    case BSON_TYPE_DECIMAL128:
        if (!bson_iter_decimal128(it, &decimal)) return false;
        bson_decimal128_to_string(&decimal, digits);
        write_wrapped(w, "$numberDecimal", digits, strlen(digits));
        break;
    case BSON_TYPE_MAXKEY: write_unit(w, "$maxKey"); break;
    case BSON_TYPE_MINKEY: write_unit(w, "$minKey"); break;
    case BSON_TYPE_EOD:
    default: return false;
    }
    return true;
}

static bool write_members(struct writer *w, bson_iter_t *it, bool is_array) {
    bool first = true;
    if (++w->depth > JSON_DEPTH_MAX) return false;
    text_append(w->t, is_array ? "[" : "{", 1);
    while (bson_iter_next(it)) {
        if (!first) text_append_str(w->t, comma(w));
        first = false;
        new_line(w);
        if (!is_array) {
            const char *key = bson_iter_key(it);
            append_string(w->t, key, bson_iter_key_len(it));
            text_append_str(w->t, colon(w) + 1); /* the name's own quote is there */
        }
        if (!write_value(w, it)) return false;
    }
    w->depth--;
    if (!first) new_line(w);
    text_append(w->t, is_array ? "]" : "}", 1);
    return it->err_off == 0;
}

bool json_append(struct text *t, const bson_t *doc, bool is_array, int style) {
    struct writer w = {.t = t, .style = style};
    bson_iter_t it;
    return bson_iter_init(&it, doc) && write_members(&w, &it, is_array);
}

bool json_append_value(struct text *t, const bson_iter_t *it, int style) {
    struct writer w = {.t = t, .style = style};
    return write_value(&w, it);
}
