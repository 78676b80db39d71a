/* Projection: inclusion, exclusion, $slice, $elemMatch, {$meta: "textScore"}, positional later. Compiled once, copies
 * bytes. */
#ifndef ELMO_EVAL_PROJECT_H
#define ELMO_EVAL_PROJECT_H

#include "base/buf.h"
#include "eval/expr.h"
#include "eval/match.h"

struct projection;

enum projection_kind {
    PROJECTION_FIND,       /* of find */
    PROJECTION_STAGE,      /* of $project: $slice and $elemMatch are no operators of its own */
    PROJECTION_ADD_FIELDS, /* $addFields: every value is an expression, everything else stays */
};

/* {} keeps everything. Mixed inclusion and exclusion: 31253/31254 as MongoDB words it. The bytes of `doc` must outlive
 * it. */
status projection_compile(const struct mem *mem, struct arena *arena, struct bdoc doc, struct projection **out,
                          struct err *err);
/* The same with expressions: compiled and evaluated with `env`, which must outlive the projection and be prepared before
 * it is applied; results stand in env->run.arena, which the caller resets between rows. */
status projection_compile_with(struct expr_env *env, enum projection_kind kind, struct bdoc doc,
                               struct projection **out, struct err *err);
void projection_release(struct projection *p);
bool projection_needs_text_score(const struct projection *p);
/* An inclusion of plain dotted paths only (no operators): the paths it needs, `_id` among them when kept; for covered
 * plans. NULL otherwise. */
const struct path *projection_paths(const struct projection *p, uint32_t *count);
/* What it reads of a document, and whether it keeps what it does not name. */
status projection_deps(const struct projection *p, struct expr_deps *deps, bool *keeps_others, struct err *err);
/* Does it change, drop or make the field (or something in it, or something it is in)? */
bool projection_touches(const struct projection *p, struct slice path);
bool projection_is_inclusion(const struct projection *p);
/* Appends the projected document; *result points into out. */
status projection_apply(const struct projection *p, struct bdoc doc, double text_score, struct buf *out,
                        struct bdoc *result, struct err *err);

#endif
