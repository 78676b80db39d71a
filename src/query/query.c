/* Compiling a request; see query.h. */
#include "query/query.h"

#include "base/codes.h"

struct bval query_simple_id(struct bdoc filter) {
    struct biter it = biter_of(filter);
    struct belem e, more;
    if (!biter_next(&it, &e) || !slice_equal(e.name, SLICE_LIT("_id"))) return BVAL_MISSING;
    struct bval v = e.value;
    if (v.type == B_ARRAY || v.type == B_REGEX || bval_is_nullish(v) || biter_next(&it, &more)) return BVAL_MISSING;
    if (v.type == B_DOCUMENT) {
        it = biter_of(bval_doc(v));
        if (biter_next(&it, &e) && e.name.len > 0 && e.name.p[0] == '$') return BVAL_MISSING;
    }
    return v;
}

static status check_options(const struct find_request *req, struct err *err) {
    if (req->min.p != NULL || req->max.p != NULL)
        return RAISE(err, ST_UNSUPPORTED, "the options 'min' and 'max' are not supported");
    if (req->return_key) return RAISE(err, ST_UNSUPPORTED, "the option 'returnKey' is not supported");
    if (req->show_record_id) return RAISE(err, ST_UNSUPPORTED, "the option 'showRecordId' is not supported");
    if (req->skip < 0)
        return RAISE_CODE(err, CODE_BadValue, "Skip value must be non-negative, but received: %lld",
                          (long long) req->skip);
    if (req->limit < 0)
        return RAISE_CODE(err, CODE_BadValue, "Limit value must be non-negative, but received: %lld",
                          (long long) req->limit);
    if (req->hint.type != B_MISSING && req->hint.type != B_STRING && req->hint.type != B_DOCUMENT)
        return RAISE_CODE(err, CODE_FailedToParse, "Hint must be a string or an object");
    return ST_OK;
}

static status compile_order(struct arena *arena, const struct find_request *req, struct query *q, struct err *err) {
    if (req->sort.p != NULL && !bdoc_is_empty(req->sort)) {
        struct sort_pattern *sort = arena_new(arena, struct sort_pattern);
        if (sort == NULL) return RAISE(err, ST_NOMEM, "sort");
        TRY(sort_pattern_parse(arena, req->sort, sort, err));
        q->sort = sort->field_count > 0 ? sort : NULL;
        q->sort_doc = req->sort;
        for (uint32_t i = 0; i < sort->field_count; i++)
            q->needs_score = q->needs_score || sort->fields[i].is_text_score;
    }
    if (req->projection.p != NULL && !bdoc_is_empty(req->projection)) {
        TRY(projection_compile_with(q->env, PROJECTION_FIND, req->projection, &q->projection, err));
        q->projection_doc = req->projection;
        q->needs_score = q->needs_score || projection_needs_text_score(q->projection);
    }
    return ST_OK;
}

/* The statement's own environment of expressions, unless it runs inside another's. */
static status make_env(const struct mem *mem, struct arena *arena, int64_t now_ms, const struct find_request *req,
                       struct query *q, struct err *err) {
    q->env = req->env;
    if (q->env != NULL) return ST_OK;
    q->env = arena_new(arena, struct expr_env);
    if (q->env == NULL) return RAISE(err, ST_NOMEM, "query");
    q->owns_env = true;
    expr_env_init(q->env, mem, arena, now_ms);
    return req->let.p != NULL ? expr_env_let(q->env, req->let, err) : ST_OK;
}

static status compile(const struct mem *mem, struct arena *arena, const struct find_request *req, struct query *q,
                      struct err *err) {
    TRY(match_compile_with(q->env, mem, arena, q->filter, &q->matcher, err));
    TRY(compile_order(arena, req, q, err));
    TRY(expr_env_prepare(q->env, err));
    q->needs_score = q->needs_score || (q->owns_env && q->env->scope.reads_score);
    if (q->needs_score && !q->matcher.text.is_set)
        return err_raise(err, ST_INVALID, 40218, __FILE__, __LINE__,
                         "query requires text score metadata, but it is not available");
    if (q->matcher.text.is_set && q->hint.type != B_MISSING)
        return RAISE_CODE(err, CODE_BadValue, "$text and hint not allowed in same query");
    return ST_OK;
}

status query_compile(const struct mem *mem, struct arena *arena, int64_t now_ms, const struct find_request *req,
                     struct query *out, struct err *err) {
    struct query q = {.arena = arena,
                      .filter = req->filter.p != NULL ? req->filter : bdoc_empty,
                      .hint = req->hint,
                      .skip = req->skip,
                      .limit = req->limit,
                      .allow_disk_use = req->allow_disk_use};
    TRY(check_options(req, err));
    q.id = query_simple_id(q.filter);
    status st = make_env(mem, arena, now_ms, req, &q, err);
    if (st == ST_OK) st = compile(mem, arena, req, &q, err);
    if (st != ST_OK) {
        query_release(&q);
        return st;
    }
    *out = q;
    return ST_OK;
}

void query_release(struct query *q) {
    if (q->projection != NULL) projection_release(q->projection);
    matcher_release(&q->matcher);
    if (q->owns_env) expr_env_release(q->env);
    q->owns_env = false;
    q->projection = NULL;
}
