/* Sort patterns: {a: 1, "b.c": -1, score: {$meta: "textScore"}}. A document's sort key is bytes: compared with memcmp
 * (index/key.h). */
#ifndef ELMO_EVAL_SORT_KEY_H
#define ELMO_EVAL_SORT_KEY_H

#include "base/buf.h"
#include "bson/path.h"

#define SORT_FIELDS_MAX 32

struct sort_field {
    struct path path;
    bool descending;
    bool is_text_score;
};

struct sort_pattern {
    uint32_t field_count;
    struct sort_field fields[SORT_FIELDS_MAX];
};

/* Directions 1, -1 (also as double, long); else MongoDB's codes. Limit of fields. */
status sort_pattern_parse(struct arena *arena, struct bdoc doc, struct sort_pattern *out, struct err *err);
/* Appends the document's sort key. An array sorts by its least element ascending, its greatest descending; an empty
 * array as undefined and a missing field as null, which are one in keys, so that an index gives the same order. Two
 * parallel arrays: 2 BadValue "cannot sort with keys that are parallel arrays". */
status sort_key_append(const struct sort_pattern *p, struct bdoc doc, double text_score, struct arena *scratch,
                       struct buf *key, struct err *err);

#endif
