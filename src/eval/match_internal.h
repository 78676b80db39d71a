/* What the compiler (match_parse.c) prepares for the evaluator (match.c). */
#ifndef ELMO_EVAL_MATCH_INTERNAL_H
#define ELMO_EVAL_MATCH_INTERNAL_H

#include "eval/fields.h"
#include "eval/match.h"

#define WALK_FIELDS_MAX 64 /* bits of a word */

/* The children of an AND, grouped by the top-level field that they read: one walk over the document serves all groups.
 */
struct walk_field {
    struct field_name name;
    uint32_t node_count;
    struct match_node **nodes;
};

struct match_walk {
    uint32_t field_count;
    struct walk_field *fields;
    uint32_t rest_count; /* children that read several fields, or none */
    struct match_node **rest;
};

static inline bool match_is_leaf(enum match_op op) { return op >= MATCH_EQ && op <= MATCH_ELEM_MATCH_VALUE; }

#endif
