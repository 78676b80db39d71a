/* What a filter says about single fields: the conjunction at its top, taken apart into predicates, and their intervals.
 *
 * Every predicate of the list holds for every document that matches. One inside an $elemMatch carries the whole path and its scope: the
 * chain of $elemMatches around it, because predicates speak of the same array element only inside a common scope. */
#ifndef ELMO_QUERY_PREDICATE_H
#define ELMO_QUERY_PREDICATE_H

#include "eval/match.h"
#include "query/bounds.h"

struct elem_scope {
    const struct match_node *node;
    uint32_t part_count; /* of the whole path of the array */
    const struct elem_scope *up;
};

struct predicate {
    const struct match_node *node; /* a leaf; under NOT its child */
    const struct match_node *top;  /* the child of the filter's conjunction that it stems from */
    struct slice path;             /* whole dotted path */
    bool is_negated;
    const struct elem_scope *scope; /* innermost, or NULL */
};

struct conjunction {
    uint32_t predicate_count, top_count;
    uint32_t first_predicate_count, first_top_count; /* that stem from the first node */
    struct predicate *predicates;
    const struct match_node **tops; /* what must hold, predicates or not ($or, $nor, ...) */
};

/* The conjunction of `nodes` (nested ANDs flattened). In the arena. */
status conjunction_make(struct arena *arena, const struct match_node *const *nodes, uint32_t count,
                        struct conjunction *out, struct err *err);

/* Parts of the deepest $elemMatch array that both predicates speak of: its components are one and the same for both. 0: none. */
uint32_t predicate_common_parts(const struct predicate *a, const struct predicate *b);

enum exactness {
    BOUNDS_INEXACT,      /* a document that matches has a key inside; the rest must be checked */
    BOUNDS_EXACT_SINGLE, /* exact when the field is not multikey */
    BOUNDS_EXACT,        /* a key inside is a match */
};
struct predicate_bounds {
    struct intervals intervals;
    enum exactness exactness;
    bool needs_presence; /* only documents that have the field match: a sparse index misses none */
    bool is_useless;     /* it says nothing that an index could use */
};

/* INVARIANT  A document that satisfies the predicate has a key of the index on its path inside the intervals; all of its keys when the predicate is negated. */
status predicate_bounds(struct bounds_maker *m, const struct predicate *p, struct predicate_bounds *out,
                        struct err *err);

/* A guess at the part of documents for which it holds, where nothing better is known. */
double predicate_selectivity(const struct match_node *node);

#endif
