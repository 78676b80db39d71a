/* Dotted paths, parsed once: "a.b.0.c". */
#ifndef ELMO_BSON_PATH_H
#define ELMO_BSON_PATH_H

#include "base/arena.h"
#include "base/err.h"
#include "bson/value.h"

#define PATH_PARTS_MAX 200

struct path_part {
    struct slice name;
    int64_t idx; /* >= 0 when the name is a canonical array position ("0", "12", not "01"), else -1 */
};

struct path {
    struct slice text;
    uint32_t part_count;
    struct path_part *parts; /* in the arena, names borrowed from `text`, which is copied into the arena */
};

/* An empty part is allowed ("a..b" names an empty field). ST_NOMEM, or CODE_Overflow past PATH_PARTS_MAX. */
status path_parse(struct arena *arena, struct slice text, struct path *out, struct err *err);

/* A plain lookup without entering arrays' elements: through documents and, for numeric parts, array positions. B_MISSING when absent. */
struct bval path_get(struct bdoc d, const struct path *path);

/* Calls `visit` for every value that the path means under MongoDB's match rules: an array met before the last part is entered element
 * by element (its documents only), and a numeric part also picks a position. `in_array`: the value was reached through an element of
 * an array. A B_MISSING value is reported for each branch that ends early. Stops and returns true as soon as visit returns
 * true. The final array itself is not expanded. */
bool path_visit(struct bdoc d, const struct path *path, bool (*visit)(void *ctx, struct bval v, bool in_array), void *ctx);

#endif
