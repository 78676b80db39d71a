/* One document made of another: what the stages $addFields ($set), $project, $unset, $replaceRoot and $replaceWith do to a document, the same in a pipeline and
 * in an update. Knows neither. */
#ifndef ELMO_EVAL_TRANSFORM_H
#define ELMO_EVAL_TRANSFORM_H

#include "eval/project.h"

struct transform {
    struct projection *projection; /* NULL: the document becomes `root` */
    const struct expr *root;
    struct expr_env *env;
};

/* Compiles {name: spec}, whose bytes must outlive it. ST_NOT_FOUND, without a word: there is no such transform. It is compiled and applied with `env`, which must outlive
 * it and be prepared before it is applied. On failure nothing needs to be released. */
status transform_compile(struct expr_env *env, struct slice name, struct bval spec, struct transform *out,
                         struct err *err);
void transform_release(struct transform *t); /* also a zeroed one */
/* Appends the new document to `out`, in which `doc` does not lie; *result points there. Evaluates with the text score that env->run has, in env->run.arena, which the caller
 * resets. */
status transform_apply(const struct transform *t, struct bdoc doc, struct buf *out, struct bdoc *result,
                       struct err *err);
/* What it reads, and whether nothing that it does not name is left. */
status transform_deps(const struct transform *t, struct expr_deps *deps, bool *ends, struct err *err);
/* Does it change, drop or make the field (or something in it, or something it is in)? */
bool transform_touches(const struct transform *t, struct slice path);

#endif
