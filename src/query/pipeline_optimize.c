/* The optimizer: moves and merges stages by what they say of themselves, then gives the source what it can do better.
 *
 *   O1  $match moves before a stage that passes every path it reads (and keeps its truth: vtable.passes).
 *   O2  $sort + $limit (with $skip between them) keeps the first few only.
 *   O3  A leading $match becomes the source's filter; then $sort, $skip and $limit become the source's, where an index may give the order.
 *
 * `is_plain` of the request turns everything off, so that tests can compare. */
#include "eval/match.h"
#include "query/pipeline_internal.h"

static bool is(const struct pipe_list *list, uint32_t i, const struct stage_def *def) {
    return i < list->count && list->stages[i]->def == def;
}

static void take_out(struct pipe_list *list, uint32_t at) {
    memmove(&list->stages[at], &list->stages[at + 1], (list->count - at - 1) * sizeof(*list->stages));
    list->count--;
}

/* --- O1 -------------------------------------------------------------------------------------------------------- */

static status passes_all(struct pipe_list *list, uint32_t at, bool *out, struct err *err) {
    const struct pipe_stage *match = list->stages[at], *before = list->stages[at - 1];
    struct expr_deps deps = {.arena = &list->p->op.arena};
    bool ends;
    *out = false;
    if (before->ops->passes == NULL || before->def == &stage_match) return ST_OK;
    TRY(match->ops->deps(match, &deps, &ends, err));
    if (deps.all || deps.count == 0) return ST_OK;
    for (uint32_t i = 0; i < deps.count; i++) {
        if (!before->ops->passes(before, deps.paths[i])) return ST_OK;
    }
    *out = true;
    return ST_OK;
}

static status move_matches(struct pipe_list *list, struct err *err) {
    for (uint32_t i = 1; i < list->count; i++) {
        for (uint32_t at = i; at > 0 && is(list, at, &stage_match); at--) {
            bool passes;
            TRY(passes_all(list, at, &passes, err));
            if (!passes) break;
            struct pipe_stage *match = list->stages[at];
            list->stages[at] = list->stages[at - 1];
            list->stages[at - 1] = match;
        }
    }
    return ST_OK;
}

/* --- O2 -------------------------------------------------------------------------------------------------------- */

static void limit_sorts(struct pipe_list *list) {
    for (uint32_t i = 0; i + 1 < list->count; i++) {
        uint64_t skip = 0;
        uint32_t at = i + 1;
        if (!is(list, i, &stage_sort)) continue;
        for (; is(list, at, &stage_skip); at++) {
            if (__builtin_add_overflow(skip, (uint64_t) limit_count(list->stages[at]), &skip)) break;
        }
        uint64_t wanted;
        if (!is(list, at, &stage_limit) ||
            __builtin_add_overflow(skip, (uint64_t) limit_count(list->stages[at]), &wanted))
            continue;
        sort_set_limit(list->stages[i], wanted);
        if (at == i + 1) take_out(list, at);
    }
}

/* --- O3 -------------------------------------------------------------------------------------------------------- */

static status join_filters(struct pipe_list *list, uint32_t count, struct bdoc *out, struct err *err) {
    struct pipe_parse ps = {list, err};
    struct buf buf;
    struct bbuild b;
    struct bval kept;
    if (count == 1) {
        *out = match_filter(list->stages[0]);
        return ST_OK;
    }
    buf_init(&buf, list->p->op.mem);
    bbuild_begin(&b, &buf);
    struct bbuild all = bbuild_open_array(&b, SLICE_LIT("$and"));
    for (uint32_t i = 0; i < count; i++) {
        struct bdoc f = match_filter(list->stages[i]);
        bbuild_push(&all, (struct bval){f.p, f.len, B_DOCUMENT});
    }
    bbuild_close(&all);
    status st = pipe_keep(&ps, bbuild_finish(&b), &kept);
    buf_release(&buf);
    if (st == ST_OK) *out = bval_doc(kept);
    return st;
}

static status give_to_source(struct pipe_list *list, struct pipe_source *source, struct err *err) {
    struct bdoc filter = {0}, sort = {0};
    int64_t skip = 0, limit = 0;
    uint32_t matches = 0;
    while (is(list, matches, &stage_match)) matches++;
    if (matches > 0) TRY(join_filters(list, matches, &filter, err));
    for (; matches > 0; matches--) take_out(list, 0);
    if (is(list, 0, &stage_sort)) {
        sort = sort_spec(list->stages[0]);
        uint64_t first = sort_limit(list->stages[0]);
        bool skips = is(list, 1, &stage_skip);
        if (first != 0 && first <= INT64_MAX && !skips) limit = (int64_t) first;
        take_out(list, 0);
    }
    if (limit == 0 && is(list, 0, &stage_skip)) {
        skip = limit_count(list->stages[0]);
        take_out(list, 0);
    }
    if (limit == 0 && is(list, 0, &stage_limit)) {
        limit = limit_count(list->stages[0]);
        take_out(list, 0);
    }
    source_set(source, filter, sort, skip, limit);
    return ST_OK;
}

/* Text scores come from a $text in the source's filter. */
static status check_text(struct pipe_list *list, const struct pipe_source *source, bool has_text, struct err *err) {
    (void) source;
    if (list->depth > 0 || has_text || !list->p->env.scope.reads_score) return ST_OK;
    return err_raise(err, ST_INVALID, 40218, __FILE__, __LINE__,
                     "query requires text score metadata, but it is not available");
}

status pipe_optimize(struct pipe_list *list, struct pipe_source *source, struct err *err) {
    bool has_text = is(list, 0, &stage_match) && match_has_text(list->stages[0]);
    TRY(check_text(list, source, has_text, err));
    if (list->p->req.is_plain && !has_text) return ST_OK;
    TRY(move_matches(list, err));
    limit_sorts(list);
    return source != NULL ? give_to_source(list, source, err) : ST_OK;
}
