/* Values as MongoDB prints them inside its error messages: `{ a: 1, b: [ "x", null ] }`. Cut to what fits. */
#ifndef ELMO_EVAL_DESCRIBE_H
#define ELMO_EVAL_DESCRIBE_H

#include "bson/value.h"

#define DESCRIBE_LEN 200

struct description {
    char text[DESCRIBE_LEN]; /* NUL-terminated; "..." at the end when it was cut */
};

const char *describe_value(struct description *d, struct bval v);                    /* 5 */
const char *describe_field(struct description *d, struct slice name, struct bval v); /* a: 5 */
const char *describe_doc(struct description *d, struct bdoc doc);                    /* { a: 5 } */
/* The _id of a document, `_id: 1`, or "no id". */
const char *describe_id(struct description *d, struct bdoc doc);

/* For printf's "%.*s". */
#define SLICE_ARGS(s)                                                                                                  \
    (int) ((s).len < 200 ? (s).len : 200), (const char *) ((s).p != NULL ? (s).p : (const uint8_t *) "")

#endif
