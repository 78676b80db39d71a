/* Projection: inclusion, exclusion, $slice, $elemMatch, {$meta: "textScore"}, positional later. Compiled once, copies
 * bytes. */
#ifndef ELMO_EVAL_PROJECT_H
#define ELMO_EVAL_PROJECT_H

#include "base/buf.h"
#include "eval/match.h"

struct projection;

/* {} keeps everything. Mixed inclusion and exclusion: 31253/31254 as MongoDB words it. The bytes of `doc` must outlive
 * it. */
status projection_compile(const struct mem *mem, struct arena *arena, struct bdoc doc, struct projection **out,
                          struct err *err);
void projection_release(struct projection *p);
bool projection_needs_text_score(const struct projection *p);
/* An inclusion of plain dotted paths only (no operators): the paths it needs, `_id` among them when kept; for covered
 * plans. NULL otherwise. */
const struct path *projection_paths(const struct projection *p, uint32_t *count);
/* Appends the projected document; *result points into out. */
status projection_apply(const struct projection *p, struct bdoc doc, double text_score, struct buf *out,
                        struct bdoc *result, struct err *err);

#endif
