/* Numbers and bytes as text, for reading and writing JSON. Independent of the process's locale. */
#ifndef ELMO_BSON_JSON_TEXT_H
#define ELMO_BSON_JSON_TEXT_H

#include "base/buf.h"
#include "base/slice.h"
#include "bson/number.h"

#define DOUBLE_TEXT_LEN 40
/* The shortest text that reads back as d (finite), always with a fraction or an exponent: "1.0", "0.1", "1e+300". */
void double_to_text(double d, char text[DOUBLE_TEXT_LEN]);
/* The whole text as a double: digits, fraction, exponent. No hexadecimal, no "inf". */
bool double_from_text(struct slice text, double *out);
/* The whole text as an integer. */
bool int64_from_text(struct slice text, int64_t *out);

void base64_append(struct buf *out, struct slice bytes);
/* Appends the bytes; false for text that is not base64 with its padding. */
bool base64_decode(struct slice text, struct buf *out);
bool hex_decode(struct slice text, uint8_t *bytes, size_t n); /* 2 * n digits */

bool decimal_from_slice(struct slice text,
                        struct decimal *out); /* text followed by a zero byte, as BSON's strings are */
void sort_bytes(uint8_t *p, size_t n); /* a regular expression's options: BSON wants them in alphabetical order */

/* Gives a document that stands for a value of extended JSON ({"$oid": "..."}) its meaning. `doc` is the document at out->p + at, the
 * last bytes of the buffer; they are replaced by the value's. *type: the type to write, B_DOCUMENT when it is just a document.
 * False with *why (static storage) when it looks like one but is wrong. */
bool json_convert_extended(struct buf *out, size_t at, uint8_t *type, const char **why);

#endif
