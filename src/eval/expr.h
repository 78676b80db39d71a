/* Aggregation expressions over one document: parsed once, constants folded, evaluated on the bytes in place. Knows no
 * storage.
 *
 *   E1  A compiled expression is immutable. What changes while it is evaluated stands in an expr_run: one thread each.
 *   E2  A result points into the document, the constants of the compiled expression, a variable's value, or run->arena,
 *       which the caller resets between rows. B_MISSING is a result too: no such field, $$REMOVE.
 *   E3  Every variable has a slot of its own, numbered through the whole statement (pipelines inside pipelines
 *       included), so that a run has one flat array of values and nothing is pushed or popped.
 *   E4  All sub-expressions of a node stand in its args, so that whoever walks a tree needs to know no operator.
 *   E5  Operators are rows: a family per file (expr_arith.c, ...), each ended by a row without a name. A row without
 *       `call` and `parse` is an operator that MongoDB has and elmo does not. */
#ifndef ELMO_EVAL_EXPR_H
#define ELMO_EVAL_EXPR_H

#include "base/arena.h"
#include "base/codes.h"
#include "base/err.h"
#include "bson/path.h"
#include "bson/value.h"

struct expr;
struct match_regex;

/* --- compiling ------------------------------------------------------------------------------------------------- */

#define EXPR_SLOTS_MAX 4096

/* A name in scope. */
struct expr_var {
    struct slice name;
    uint32_t slot;
    const struct expr_var *outer; /* what was in scope before it */
};

/* What a statement's expressions share while they are compiled. The arena keeps them; regular expressions compiled on
 * the way live in `mem` and are freed by expr_scope_release. Several pieces may be compiled one after another. */
struct expr_scope {
    const struct mem *mem;
    struct arena *arena;
    const struct expr_var *vars;
    uint32_t slot_count;
    int64_t now_ms;         /* $$NOW: one moment for the whole statement */
    uint64_t cluster_time;  /* $$CLUSTER_TIME; 0: there is none */
    struct match_regex *regexes;
    uint32_t depth;         /* of nested operators */
    bool reads_score;       /* something asks for {$meta: "textScore"} */
    bool is_random;         /* something is not the same at every evaluation */
};

void expr_scope_init(struct expr_scope *scope, const struct mem *mem, struct arena *arena, int64_t now_ms);
void expr_scope_release(struct expr_scope *scope);
/* Puts a user's variable into scope until scope->vars is put back. The name is checked: CODE_FailedToParse (9) as
 * MongoDB words it. */
status expr_scope_bind(struct expr_scope *scope, struct slice name, uint32_t *slot, struct err *err);

/* Any value: a literal, "$path", "$$variable.path", {$operator: ...}, {field: expression}, [expressions]. The value's
 * bytes must outlive the expression. An unknown operator: 168 InvalidPipelineOperator; one that is not supported:
 * ST_UNSUPPORTED. Folding a constant may fail as evaluating it would. */
status expr_parse(struct expr_scope *scope, struct bval v, const struct expr **out, struct err *err);
/* {$operator: argument} as one, by name and argument; `known` tells whether there is such an operator. */
bool expr_is_operator(struct slice name);

/* The value of an expression that is constant. */
bool expr_constant(const struct expr *e, struct bval *out);
/* Is it a plain field path of $$CURRENT or $$ROOT? Its path then. */
const struct path *expr_field_path(const struct expr *e);

/* What an expression reads of the document. */
struct expr_deps {
    struct arena *arena;
    bool all; /* the document as a whole */
    uint32_t count, cap;
    struct slice *paths; /* dotted, not sorted, may repeat */
};
status expr_deps_add(struct expr_deps *deps, const struct expr *e, struct err *err);
status expr_deps_add_path(struct expr_deps *deps, struct slice path, struct err *err);

/* --- evaluating ------------------------------------------------------------------------------------------------ */

struct expr_run {
    struct bdoc root;
    struct arena *arena;    /* of results */
    struct bval *slots;     /* scope.slot_count of them; zeroed is "missing" */
    struct err *err;
    const struct mem *mem;  /* for what outlives a mark of the arena */
    size_t memory_max;      /* of the arena: 146 ExceededMemoryLimit past it; 0: no limit */
    double score;           /* text score of the row */
    bool has_score;
    uint64_t random_state;  /* of $rand and $sampleRate */
};

status expr_eval(struct expr_run *x, const struct expr *e, struct bval *out);
/* The same, as truth. */
status expr_test(struct expr_run *x, const struct expr *e, bool *out);

/* --- both, for one statement ----------------------------------------------------------------------------------- */

/* What a statement compiles and evaluates with. Compile everything, then expr_env_prepare, then evaluate. Must stay where
 * it is. */
struct expr_env {
    struct expr_scope scope;
    struct expr_run run;
    uint32_t slot_cap;
    struct arena scratch; /* run.arena, unless the owner put another there */
};

/* `arena` keeps what is compiled. */
void expr_env_init(struct expr_env *env, const struct mem *mem, struct arena *arena, int64_t now_ms);
void expr_env_release(struct expr_env *env);
/* Makes room for the variables. Values bound before stay. */
status expr_env_prepare(struct expr_env *env, struct err *err);
/* Puts the values of `let` ({name: expression}, constants once $$NOW and each other's are known) in scope for all that
 * is compiled afterwards. */
status expr_env_let(struct expr_env *env, struct bdoc let, struct err *err);

/* Puts the values of `constants` ({name: value}, taken as they stand) in scope likewise; their bytes must outlive the statement. */
status expr_env_constants(struct expr_env *env, struct bdoc constants, struct err *err);

#endif
