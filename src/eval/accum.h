/* Accumulators: $sum, $avg, $push, ... as $group uses them. A row per accumulator; a state per group and field.
 *
 * A state is a few fixed bytes (accum->state_len) inside the group's record, zeroed to begin with; what grows (arrays, sets, copies of values)
 * is allocated from `mem` and counted in accum_run.memory, so that the caller can hold a limit and spill. */
#ifndef ELMO_EVAL_ACCUM_H
#define ELMO_EVAL_ACCUM_H

#include "base/buf.h"
#include "eval/expr.h"

struct accum_op;

/* One {$op: argument} of a $group, compiled. Immutable. */
struct accum {
    const struct accum_op *op;
    const struct expr *arg;       /* what is evaluated per document; NULL: nothing */
    const struct expr *n;         /* $firstN and kin: how many, evaluated once per group */
    const struct sort_pattern *sort; /* $top and kin */
    size_t state_len;
};

struct accum_run {
    struct expr_run *x;
    const struct mem *mem;
    size_t memory; /* bytes that states hold */
    struct err *err;
};

/* Compiles {name: {$op: argument}}'s inner part. 15952: unknown; ST_UNSUPPORTED: not yet. */
status accum_parse(struct expr_scope *scope, struct slice field, struct slice op, struct bval arg, struct accum *out,
                   struct err *err);
/* Evaluates the argument over x->root and adds it. `id`: the group's _id, for n. */
status accum_add(struct accum_run *r, const struct accum *a, void *state, struct err *err);
/* The result, in x->arena or in the state. The state stays. */
status accum_result(struct accum_run *r, const struct accum *a, void *state, struct bval *out, struct err *err);
void accum_release(struct accum_run *r, const struct accum *a, void *state);
/* The same where an array as argument is an expression, not a list of one argument: in windows. */
status accum_parse_operand(struct expr_scope *scope, struct slice op, struct bval arg, struct accum *out, struct err *err);
bool accum_is_known(struct slice name);

/* For windows that slide: the same with the argument's value given, and the sum of two states (`from` comes behind `into`). */
bool accum_merges(const struct accum *a); /* may accum_merge be called? */
status accum_add_value(struct accum_run *r, const struct accum *a, void *state, struct bval v, struct err *err);
status accum_merge(struct accum_run *r, const struct accum *a, void *into, const void *from, struct err *err);


#endif
