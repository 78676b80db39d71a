/* The match language over one document: compiled once, evaluated on the bytes in place. Knows no storage.
 *
 * A matcher is immutable after match_compile and may be used by several threads, each with its own match_scratch. */
#ifndef ELMO_EVAL_MATCH_H
#define ELMO_EVAL_MATCH_H

#include "base/arena.h"
#include "base/err.h"
#include "bson/path.h"
#include "bson/value.h"

enum match_op {
    MATCH_AND, MATCH_OR, MATCH_NOR, MATCH_NOT, /* NOT: one child */
    MATCH_EQ, MATCH_GT, MATCH_GTE, MATCH_LT, MATCH_LTE, MATCH_IN, /* $ne and $nin are NOT over EQ and IN */
    MATCH_EXISTS, MATCH_TYPE, MATCH_MOD, MATCH_REGEX, MATCH_SIZE, MATCH_ALL,
    MATCH_ELEM_MATCH_OBJECT, /* child: a query on the element's fields */
    MATCH_ELEM_MATCH_VALUE,  /* child: predicates on the element itself */
    MATCH_TEXT,              /* $text: true here; the executor answers it from the index */
    MATCH_TRUE, MATCH_FALSE,
};

/* The compiled form, which the planner reads. Nodes live in the arena given to match_compile. */
struct match_node {
    enum match_op op;
    struct path path;      /* leaf nodes and element matches; part_count 0: the value itself (inside $elemMatch value) */
    struct bval value;     /* EQ..LTE operand; borrowed from the filter, which must outlive the matcher */
    uint32_t value_count;  /* IN, ALL: sorted, without duplicates, regexes apart in children */
    struct bval *values;
    uint32_t child_count;
    struct match_node **children;
    uint64_t type_set;     /* MATCH_TYPE: bit per btype_rank-independent type, see match.c */
    int64_t divisor, remainder;
    int64_t size;
    bool exists;
    void *regex;           /* struct match_regex */
};

struct match_text {        /* the one $text of a filter, if any */
    bool is_set;
    struct slice search, language;
    bool case_sensitive, diacritic_sensitive;
};

struct matcher {
    struct match_node *root; /* never NULL; MATCH_AND without children matches all */
    struct match_text text;
    const struct mem *mem;   /* of compiled regexes */
    void *regexes;
};

/* Compiles `filter` ({} matches all). The filter's bytes must outlive the matcher. Refusals carry MongoDB's codes and texts: "unknown operator: $foo" (2), "$and/$or/$nor entries need to be full objects", ...
 * An operator that MongoDB has and elmo does not: a clear error that names it. The tree is normalised: nested $and flattened, $in of one value an EQ. */
status match_compile(const struct mem *mem, struct arena *arena, struct bdoc filter, struct matcher *out, struct err *err);
void matcher_release(struct matcher *m);

/* Does the document match? Never fails but for the limits of a regex (ST_INVALID, 51091 or the like). */
status match_doc(const struct matcher *m, struct bdoc doc, bool *matches, struct err *err);
/* One node against a document (residual predicates). */
status match_node_doc(const struct matcher *m, const struct match_node *node, struct bdoc doc, bool *matches, struct err *err);
/* One value against predicates without a path ($pull conditions, $elemMatch on values). */
status match_value(const struct matcher *m, struct bval v, bool *matches, struct err *err);
/* The position in the array of the first element that made an $elemMatch/array predicate on `path` true; for positional projection. -1: none. */
int64_t match_position(const struct matcher *m, struct bdoc doc, const struct path *path);

#endif
