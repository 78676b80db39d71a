/* The match language over one document: compiled once, evaluated on the bytes in place. Knows no storage.
 *
 *   M1  A matcher is immutable after match_compile and may be used by several threads at once.
 *   M2  The tree is normalised: an $and inside an $and is flattened, {a: {$gt: 1, $lt: 5}} is two children of the AND
 * around it, an AND, OR or $in of one is that one, NOT never stands over NOT. $all becomes an AND of its values: one
 * EQ, REGEX or ELEM_MATCH each. {$exists: false} is a leaf. M3  $ne is NOT over EQ, $nin is NOT over IN; {a: {$not:
 * {...}}} is NOT over its predicates (their AND). M4  The values of an IN are ascending (bson/compare.h) and distinct;
 * its regular expressions are its children. M5  A leaf is true when any value that its path means makes it true: path
 * steps enter arrays, and the last value, when it is an array, counts element by element and as a whole. So two leaves
 * on one path may be satisfied by different elements; only the children of one ELEM_MATCH speak of the same one. M6
 * Evaluation allocates nothing per document. */
#ifndef ELMO_EVAL_MATCH_H
#define ELMO_EVAL_MATCH_H

#include "base/arena.h"
#include "base/err.h"
#include "bson/path.h"
#include "bson/value.h"

enum match_op {
    MATCH_AND,
    MATCH_OR,
    MATCH_NOR,
    MATCH_NOT, /* NOT: one child */
    MATCH_EQ,
    MATCH_GT,
    MATCH_GTE,
    MATCH_LT,
    MATCH_LTE,
    MATCH_IN,
    MATCH_EXISTS,
    MATCH_TYPE,
    MATCH_MOD,
    MATCH_REGEX,
    MATCH_SIZE,
    MATCH_ELEM_MATCH_OBJECT, /* child: a query on the element's fields */
    MATCH_ELEM_MATCH_VALUE,  /* child: predicates on the element itself, their paths have no parts */
    MATCH_TEXT,              /* $text: true here; the executor answers it from the index */
    MATCH_EXPR,              /* $expr: true of the whole document */
    MATCH_TRUE,
    MATCH_FALSE,
};

struct match_walk;
struct match_regex;
struct expr;
struct expr_env;

/* The compiled form, which the planner reads. Nodes live in the arena given to match_compile. */
struct match_node {
    enum match_op op;
    struct path path;     /* leaf nodes and element matches; part_count 0: the value itself (inside $elemMatch value) */
    struct bval value;    /* EQ..LTE operand; borrowed from the filter, which must outlive the matcher */
    int rank;             /* EQ..LTE: btype_rank of the operand */
    uint32_t value_count; /* IN */
    struct bval *values;
    uint32_t child_count;
    struct match_node **children;
    uint64_t type_set;          /* TYPE: match_type_bit of each type */
    int64_t divisor, remainder; /* MOD */
    int64_t size;               /* SIZE */
    bool exists;                /* EXISTS */
    struct match_regex *regex;
    const struct expr *expr; /* EXPR */
    struct match_walk *walk; /* AND: how match.c serves its children from one walk; NULL is allowed, only slower */
};

static inline uint64_t match_type_bit(uint8_t type) {
    return type == B_MIN_KEY ? UINT64_C(1) << 63 : type == B_MAX_KEY ? UINT64_C(1) << 62 : UINT64_C(1) << (type & 31);
}

/* What a regular expression demands of the start of a string: strings that match begin with *prefix (of at least one
 * byte); false when nothing is known. `exact`: and every string that begins so matches. For index bounds; values of
 * type regex match by being equal. Borrowed from the matcher. */
bool match_regex_prefix(const struct match_regex *regex, struct slice *prefix, bool *exact);

struct match_text { /* the one $text of a filter, if any */
    bool is_set;
    struct slice search, language; /* language.p NULL: the index's own */
    bool case_sensitive, diacritic_sensitive;
};

struct matcher {
    struct match_node *root; /* never NULL; MATCH_AND without children matches all */
    struct match_text text;
    const struct mem *mem;       /* of compiled regexes */
    struct match_regex *regexes; /* all of them, to be released */
    struct expr_env *env;        /* what $expr is evaluated with: then one thread at a time. NULL: none */
};

/* Compiles `filter` ({} matches all). The filter's bytes must outlive the matcher. Refusals carry MongoDB's codes and
 * texts. An operator that MongoDB has and elmo does not: ST_UNSUPPORTED, and the text names it. On failure nothing
 * needs to be released. */
status match_compile(const struct mem *mem, struct arena *arena, struct bdoc filter, struct matcher *out,
                     struct err *err);
/* The same for filters that may hold $expr: compiled and evaluated with `env`, whose arena and mem serve for all, and which must outlive the
 * matcher and be prepared before it is used. env NULL is match_compile. */
status match_compile_with(struct expr_env *env, const struct mem *mem, struct arena *arena, struct bdoc filter,
                          struct matcher *out, struct err *err);
void matcher_release(struct matcher *m);

/* An AND over nodes of a compiled matcher, for residual predicates. Keeps the array. */
status match_and(struct arena *arena, struct match_node **nodes, uint32_t count, struct match_node **out,
                 struct err *err);

/* Does the document match? Fails only for a regular expression that met its limits (CODE 51156). */
status match_doc(const struct matcher *m, struct bdoc doc, bool *matches, struct err *err);
/* One node against a document (residual predicates). */
status match_node_doc(const struct matcher *m, const struct match_node *node, struct bdoc doc, bool *matches,
                      struct err *err);
/* One value against predicates: it stands for what the first part of every path names ($pull conditions compile {"":
 * condition}). */
status match_value(const struct matcher *m, struct bval v, bool *matches, struct err *err);
/* The first element of the array that satisfies the $elemMatch of a query that is nothing else, {"": {$elemMatch:
 * ...}}; B_MISSING when none does. */
status match_first_element(const struct matcher *m, struct bdoc array, struct bval *element, struct err *err);
/* The position of the first element of the array at `path` that makes a predicate of the query on that path (or below
 * it) true; for positional projection. -1: none. */
int64_t match_position(const struct matcher *m, struct bdoc doc, const struct path *path);

#endif
