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

/* How path_visit came to a value. */
enum path_found {
    PATH_IN_ARRAY = 1u << 0, /* through an element of an array */
    PATH_AT_POSITION = 1u
        << 1, /* the last part picked the value by its position in an array: the match rules do not expand it further,
                                 * {a: [[5]]} does not match {"a.0": 5} */
};

/* Calls `visit` for every value that the path means under MongoDB's match rules. An array met before the last part is entered element
 * by element: its documents take the rest of the path, a numeric part also picks a position (where an array is entered in turn);
 * other elements give nothing, so {a: [1]} has no "a.b", not even a missing one. Elsewhere a branch that ends early is reported once as
 * B_MISSING. A final array is not expanded here: the caller does so unless PATH_AT_POSITION. Stops and returns true as soon as
 * visit returns true. */
typedef bool path_visitor(void *ctx, struct bval v, unsigned found);
bool path_visit(struct bdoc d, const struct path *path, path_visitor *visit, void *ctx);

#endif
