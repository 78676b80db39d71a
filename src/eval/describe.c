/* Values as text for error messages; see describe.h. */
#include "eval/describe.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "bson/number.h"

enum { DESCRIBE_DEPTH_MAX = 8 };

struct writer {
    char *text;
    size_t len;
    bool is_full;
};

static void put(struct writer *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void put(struct writer *w, const char *fmt, ...) {
    if (w->is_full) return;
    size_t room = DESCRIBE_LEN - w->len;
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(w->text + w->len, room, fmt, args);
    va_end(args);
    if (n >= 0 && (size_t) n < room) {
        w->len += (size_t) n;
        return;
    }
    memcpy(w->text + DESCRIBE_LEN - 4, "...", 4);
    w->is_full = true;
}

static void put_double(struct writer *w, double d) {
    if (isnan(d)) put(w, "nan");
    else if (isinf(d)) put(w, d < 0 ? "-inf" : "inf");
    else if (d == floor(d) && fabs(d) < 1e15) put(w, "%.1f", d);
    else put(w, "%.15g", d);
}

static void put_value(struct writer *w, struct bval v, int depth);

static void put_elements(struct writer *w, struct bdoc d, bool is_array, int depth) {
    struct biter it = biter_of(d);
    struct belem e;
    bool is_first = true;
    put(w, is_array ? "[" : "{");
    while (!w->is_full && biter_next(&it, &e)) {
        put(w, is_first ? " " : ", ");
        if (!is_array) put(w, "%.*s: ", SLICE_ARGS(e.name));
        if (depth < DESCRIBE_DEPTH_MAX) put_value(w, e.value, depth + 1);
        else put(w, "...");
        is_first = false;
    }
    put(w, is_first ? "%s" : " %s", is_array ? "]" : "}");
}

static void put_object_id(struct writer *w, const uint8_t *p) {
    put(w, "ObjectId('");
    for (int i = 0; i < 12; i++) put(w, "%02x", p[i]);
    put(w, "')");
}

static void put_decimal(struct writer *w, struct bval v) {
    char text[43];
    decimal_to_text(bnum_of(v).dec, text);
    put(w, "%s", text);
}

static void put_value(struct writer *w, struct bval v, int depth) {
    switch (v.type) {
    case B_DOUBLE: put_double(w, bval_double(v)); break;
    case B_STRING:
    case B_SYMBOL: put(w, "\"%.*s\"", SLICE_ARGS(bval_string(v))); break;
    case B_DOCUMENT: put_elements(w, bval_doc(v), false, depth); break;
    case B_ARRAY: put_elements(w, bval_doc(v), true, depth); break;
    case B_BINARY: put(w, "BinData(%u, %zu bytes)", bval_binary_subtype(v), bval_binary(v).len); break;
    case B_OBJECT_ID: put_object_id(w, v.p); break;
    case B_BOOL: put(w, bval_bool(v) ? "true" : "false"); break;
    case B_DATE: put(w, "new Date(%lld)", (long long) bval_int64(v)); break;
    case B_NULL: put(w, "null"); break;
    case B_UNDEFINED: put(w, "undefined"); break;
    case B_REGEX: put(w, "/%.*s/%.*s", SLICE_ARGS(bval_regex_pattern(v)), SLICE_ARGS(bval_regex_options(v))); break;
    case B_INT32: put(w, "%d", bval_int32(v)); break;
    case B_INT64: put(w, "%lld", (long long) bval_int64(v)); break;
    case B_TIMESTAMP:
        put(w, "Timestamp(%u, %u)", (unsigned) (bval_timestamp(v) >> 32), (unsigned) bval_timestamp(v));
        break;
    case B_DECIMAL: put_decimal(w, v); break;
    case B_MIN_KEY: put(w, "MinKey"); break;
    case B_MAX_KEY: put(w, "MaxKey"); break;
    default: put(w, "%s", btype_name(v.type)); break;
    }
}

const char *describe_value(struct description *d, struct bval v) {
    struct writer w = {.text = d->text};
    d->text[0] = 0;
    put_value(&w, v, 0);
    return d->text;
}

const char *describe_field(struct description *d, struct slice name, struct bval v) {
    struct writer w = {.text = d->text};
    d->text[0] = 0;
    put(&w, "%.*s: ", SLICE_ARGS(name));
    put_value(&w, v, 0);
    return d->text;
}

const char *describe_doc(struct description *d, struct bdoc doc) {
    return describe_value(d, (struct bval){doc.p, doc.len, B_DOCUMENT});
}

const char *describe_id(struct description *d, struct bdoc doc) {
    struct bval id = bdoc_get(doc, SLICE_LIT("_id"));
    if (id.type != B_MISSING) return describe_field(d, SLICE_LIT("_id"), id);
    memcpy(d->text, "no id", 6);
    return d->text;
}
