/* JSON to BSON and back: extended JSON v2 (canonical and relaxed, read and written), and the relaxed syntax that people type:
 * unquoted field names, single quotes, trailing commas, comments, ObjectId("..."), ISODate("..."), NumberLong(1),
 * NumberDecimal("1"), /regex/i, ... */
#ifndef ELMO_BSON_JSON_H
#define ELMO_BSON_JSON_H

#include "base/buf.h"
#include "base/err.h"
#include "bson/value.h"

enum json_dialect {
    JSON_STRICT, /* RFC 8259 with extended JSON */
    JSON_SHELL,  /* what people type, too */
};

/* Reads one document (or array, *is_array) from text, which need not end there: *used is how many bytes it took, following white
 * space included. Appends the BSON to `out`. A plain number becomes int32, int64 when it does not fit, a double when it has a fraction,
 * an exponent or is larger. Depth is limited. A fault is CODE_FailedToParse (9) with line and column and what was expected:
 * "line 1, column 14: expected ':' after the field name, found '}'". */
status json_parse(struct slice text, enum json_dialect dialect, struct buf *out, bool *is_array, size_t *used,
                  struct err *err);

enum json_form { JSON_RELAXED, JSON_CANONICAL };
/* Appends the text. indent 0: one line. */
void json_write(struct bdoc d, bool is_array, enum json_form form, int indent, struct buf *out);
void json_write_value(struct bval v, enum json_form form, int indent, struct buf *out);

#endif
