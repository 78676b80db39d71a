/* Documents as extended JSON v2, canonical or relaxed, and single values as text for CSV. Doubles are written with the fewest digits that read
 * back as the same number. */
#ifndef ELMO_CLI_JSON_OUT_H
#define ELMO_CLI_JSON_OUT_H

#include "cli.h"

/* A growing text; out of memory ends the program, as everywhere in libbson. */
struct text {
    char *p;
    size_t len, cap;
};
void text_append(struct text *t, const char *bytes, size_t len);
void text_append_str(struct text *t, const char *s);
void text_printf(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void text_release(struct text *t);

enum json_style {
    JSON_RELAXED = 0,
    JSON_CANONICAL = 1,
    JSON_SPACED = 2, /* {"a": 1, "b": 2}, as people type it; without: {"a":1,"b":2} */
    JSON_PRETTY = 4, /* each member on a line of its own, indented by tabs */
    JSON_UUID = 8,   /* binary of subtype 4 as {"$uuid": "..."} */
};
#define JSON_DEPTH_MAX 1000

/* False when the document is damaged or nested deeper than JSON_DEPTH_MAX. */
bool json_append(struct text *t, const bson_t *doc, bool is_array, int style);
bool json_append_value(struct text *t, const bson_iter_t *it, int style);
/* The shortest text of a double that reads back the same; "1.0", "NaN", "Infinity". */
void text_append_double(struct text *t, double v);
/* "2020-01-01T00:00:00.123Z"; false (and nothing appended) outside the years 0 to 9999. */
bool text_append_date(struct text *t, int64_t ms, bool always_ms);

#endif
