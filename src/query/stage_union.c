/* $unionWith: the rows that come, then those of another collection's pipeline. */
#include "query/pipeline_internal.h"

struct union_stage {
    struct pipe_stage base;
    struct pipe_list other;
    bool in_other;
};

static status union_next(struct pipe_stage *stage, struct pipe_row *out, struct err *err) {
    struct union_stage *s = (struct union_stage *) stage;
    if (!s->in_other) {
        status st = pipe_next(stage, out, err);
        if (st != ST_END) return st;
        s->in_other = true;
    }
    return pipe_list_next(&s->other, out, err);
}

static status union_restart(struct pipe_stage *stage, struct err *err) {
    struct union_stage *s = (struct union_stage *) stage;
    s->in_other = false;
    return pipe_list_restart(&s->other, err);
}

static const struct stage_vtable ops = {.next = union_next, .restart = union_restart};

extern const struct stage_def stage_union_with;

static status read_spec(struct pipe_parse *ps, struct bval spec, struct slice *coll, struct bdoc *pipeline) {
    if (spec.type == B_STRING) {
        *coll = bval_string(spec);
        return ST_OK;
    }
    if (spec.type != B_DOCUMENT)
        return RAISE_CODE(ps->err, CODE_FailedToParse, "the $unionWith stage specification must be an object or string, but found %s", btype_name(spec.type));
    struct biter it = biter_of(bval_doc(spec));
    struct belem e;
    while (biter_next(&it, &e)) {
        if (slice_equal(e.name, SLICE_LIT("coll"))) {
            if (e.value.type != B_STRING)
                return RAISE_CODE(ps->err, CODE_TypeMismatch, "BSON field '$unionWith.coll' is the wrong type '%s', expected type 'string'", btype_name(e.value.type));
            *coll = bval_string(e.value);
        } else if (slice_equal(e.name, SLICE_LIT("pipeline"))) {
            if (e.value.type != B_ARRAY)
                return RAISE_CODE(ps->err, CODE_TypeMismatch, "BSON field '$unionWith.pipeline' is the wrong type '%s', expected type 'array'", btype_name(e.value.type));
            *pipeline = bval_doc(e.value);
        } else {
            return RAISE_CODE(ps->err, 40415, "BSON field '$unionWith.%.*s' is an unknown field.", SLICE_ARGS(e.name));
        }
    }
    return ST_OK;
}

static status parse(struct pipe_parse *ps, struct bval spec) {
    struct union_stage *s;
    struct slice coll = SLICE_NONE;
    struct bdoc pipeline = bdoc_empty;
    TRY(read_spec(ps, spec, &coll, &pipeline));
    if (coll.p == NULL && bdoc_is_empty(pipeline))
        return RAISE_CODE(ps->err, CODE_FailedToParse, "$unionWith stage without explicit collection must have a pipeline with $documents as first stage");
    TRY(pipe_append(ps, &stage_union_with, &ops, sizeof(*s), &s));
    struct ns ns = {ps->list->ns.db, coll};
    if (coll.p != NULL) TRY(ns_check(ns, false, ps->err));
    s->other = (struct pipe_list){.p = ps->list->p, .ns = ns, .depth = ps->list->depth + 1};
    /* Variables of a $lookup around it are not seen inside. */
    return pipe_list_parse(&s->other, pipeline, true, ps->err);
}

const struct stage_def stage_union_with = {"$unionWith", STAGE_KEEPS_ORDER, parse};
