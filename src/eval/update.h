/* The update language over one document: compiled once, applied to documents in place of bytes -> new bytes. Knows no
 * storage. */
#ifndef ELMO_EVAL_UPDATE_H
#define ELMO_EVAL_UPDATE_H

#include "base/buf.h"
#include "eval/expr.h"
#include "eval/match.h"

struct update;

struct update_env {
    int64_t now_ms;     /* for $currentDate */
    uint64_t timestamp; /* for {$currentDate: {x: {$type: "timestamp"}}} */
    const struct matcher *query; /* what the document matched, for the positional `$`; NULL: it matches nothing */
};

enum update_kind { UPDATE_OPERATORS, UPDATE_REPLACEMENT, UPDATE_PIPELINE };

/* Compiles {$set: ...} or a replacement document.
 * A first field that starts with $ makes it an update, else it is a replacement. Conflicting paths:
 * CODE_ConflictingUpdateOperators (40); unknown modifier: CODE_FailedToParse (9) as MongoDB words it. Arguments that
 * MongoDB has and elmo does not: ST_UNSUPPORTED. `doc` must outlive the result. */
status update_compile(const struct mem *mem, struct arena *arena, struct bdoc doc, struct update **out,
                      struct err *err);
/* The same with the filters that paths like a.$[id] name: an array of documents, which must outlive the result; p NULL: none. A filter that no path
 * names is refused (9), as is a path that names none (2). */
status update_compile_with(const struct mem *mem, struct arena *arena, struct bdoc doc, struct bdoc array_filters,
                           struct update **out, struct err *err);
/* An update by a pipeline: an array of $addFields ($set), $project, $unset, $replaceRoot and $replaceWith; any other stage is refused (72). Compiled and applied with `env`,
 * whose arena and mem serve for all, which must outlive the update and be prepared before it is applied: one thread at a time. */
status update_compile_pipeline(struct expr_env *env, struct bdoc stages, struct update **out, struct err *err);
void update_release(struct update *u);
enum update_kind update_kind_of(const struct update *u);
/* The top-level-to-leaf paths that this update may change, so that indexes that do not meet them are skipped. A
 * replacement or a pipeline touches everything: *all. */
const struct path *update_paths(const struct update *u, uint32_t *count, bool *all);

/* Appends the new document to `out` (the buffer's end; *result points there). *changed false: the same bytes, nothing
 * appended. `_id` may not change (66 ImmutableField); a replacement or a pipeline
 * that makes none keeps the old `_id`. `scratch` holds intermediate
 * values and may be reset after each document. The result obeys size and depth limits. */
status update_apply(const struct update *u, struct bdoc doc, const struct update_env *env, struct arena *scratch,
                    struct buf *out, struct bdoc *result, bool *changed, struct err *err);
/* The document to insert for an upsert: equality fields of the query, then the update with $setOnInsert. `_id` is first
 * when present; when absent the caller's door adds one. */
status update_upsert(const struct update *u, const struct matcher *query, const struct update_env *env,
                     struct arena *scratch, struct buf *out, struct bdoc *result, struct err *err);

#endif
