/* $limit and $skip. */
#include "query/pipeline_internal.h"

struct limit_stage {
    struct pipe_stage base;
    int64_t count, seen;
};

static status limit_next(struct pipe_stage *stage, struct pipe_row *out, struct err *err) {
    struct limit_stage *s = (struct limit_stage *) stage;
    if (s->seen == s->count) return ST_END;
    TRY(pipe_next(stage, out, err));
    s->seen++;
    return ST_OK;
}

static status skip_next(struct pipe_stage *stage, struct pipe_row *out, struct err *err) {
    struct limit_stage *s = (struct limit_stage *) stage;
    for (; s->seen < s->count; s->seen++) {
        TRY(pipe_tick(stage->list->p, err));
        TRY(pipe_next(stage, out, err));
    }
    return pipe_next(stage, out, err);
}

static status restart(struct pipe_stage *stage, struct err *err) {
    (void) err;
    ((struct limit_stage *) stage)->seen = 0;
    return ST_OK;
}

static status no_deps(const struct pipe_stage *s, struct expr_deps *deps, bool *ends, struct err *err) {
    (void) s;
    (void) deps;
    (void) err;
    *ends = false;
    return ST_OK;
}

static const struct stage_vtable limit_ops = {.next = limit_next, .restart = restart, .deps = no_deps};
static const struct stage_vtable skip_ops = {.next = skip_next, .restart = restart, .deps = no_deps};

int64_t limit_count(const struct pipe_stage *s) {
    return ((const struct limit_stage *) s)->count;
}

static status parse_limit(struct pipe_parse *ps, struct bval spec) {
    struct limit_stage *s;
    int64_t n;
    struct description d;
    if (!bval_is_number(spec) || !bnum_to_int64_exact(bnum_of(spec), &n))
        return RAISE_CODE(ps->err, 5107201, "invalid argument to $limit stage: Expected a number in: $limit: %s",
                          describe_value(&d, spec));
    if (n < 0) return RAISE_CODE(ps->err, 5107201, "invalid argument to $limit stage: Expected a non-negative number in: $limit: %lld", (long long) n);
    if (n == 0) return RAISE_CODE(ps->err, 15958, "the limit must be positive");
    TRY(pipe_append(ps, &stage_limit, &limit_ops, sizeof(*s), &s));
    s->count = n;
    return ST_OK;
}

static status parse_skip(struct pipe_parse *ps, struct bval spec) {
    struct limit_stage *s;
    int64_t n;
    struct description d;
    if (!bval_is_number(spec) || !bnum_to_int64_exact(bnum_of(spec), &n) || n < 0)
        return RAISE_CODE(ps->err, 5107200, "invalid argument to $skip stage: Expected a non-negative number in: $skip: %s",
                          describe_value(&d, spec));
    TRY(pipe_append(ps, &stage_skip, &skip_ops, sizeof(*s), &s));
    s->count = n;
    return ST_OK;
}

const struct stage_def stage_limit = {"$limit", STAGE_KEEPS_DOCUMENTS | STAGE_KEEPS_ORDER, parse_limit};
const struct stage_def stage_skip = {"$skip", STAGE_KEEPS_DOCUMENTS | STAGE_KEEPS_ORDER, parse_skip};
