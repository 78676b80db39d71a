/* The input of fuzzers that take two documents: text, two documents in shell JSON, or, when it does not start with a
 * brace, two BSON documents one after the other. Only what passes the gates (json_parse, bson_check) comes through. */
#ifndef ELMO_FUZZ_TWO_DOCS_H
#define ELMO_FUZZ_TWO_DOCS_H

#include <stdlib.h>

#include "bson/check.h"
#include "bson/json.h"

struct two_docs {
    struct buf bufs[2]; /* of text */
    struct bdoc docs[2];
};

static inline bool two_docs_next(struct two_docs *t, int i, bool is_text, struct slice *rest) {
    bool is_array;
    size_t used;
    if (is_text) {
        if (json_parse(*rest, JSON_SHELL, &t->bufs[i], &is_array, &used, NULL) != ST_OK) return false;
        if (bson_check(t->bufs[i].p, t->bufs[i].len, BSON_CHECK_UTF8, &t->docs[i], NULL) != ST_OK) return false;
    } else {
        if (rest->len < 5) return false;
        used = get_le32(rest->p);
        if (used > rest->len || bson_check(rest->p, used, 0, &t->docs[i], NULL) != ST_OK) return false;
    }
    *rest = slice_of(rest->p + used, rest->len - used);
    return true;
}

/* False when the input is no two documents. Either way the owner releases. */
static inline bool two_docs_read(struct two_docs *t, const uint8_t *data, size_t len) {
    struct slice rest = slice_of(data, len);
    bool is_text = len != 0 && data[0] == '{';
    buf_init(&t->bufs[0], mem_default());
    buf_init(&t->bufs[1], mem_default());
    return two_docs_next(t, 0, is_text, &rest) && two_docs_next(t, 1, is_text, &rest);
}

static inline void two_docs_release(struct two_docs *t) {
    buf_release(&t->bufs[0]);
    buf_release(&t->bufs[1]);
}

/* What was made must be BSON again. */
static inline void check_result(struct bdoc d) {
    struct bdoc checked;
    if (bson_check(d.p, d.len, 0, &checked, NULL) != ST_OK) abort();
}

#endif
