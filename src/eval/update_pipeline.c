/* Updates by a pipeline: the document goes through transforms (transform.h), one after the other; what comes out
 * replaces it (update.c). Two buffers take turns, so that a long pipeline needs no more room than a short one. */
#include "base/codes.h"
#include "eval/describe.h"
#include "eval/transform.h"
#include "eval/update_internal.h"

enum {
    STAGES_MAX = 1000, /* as MongoDB's internalPipelineLengthLimit */
    MADE_MAX = 8 * BSON_LEN_MAX, /* bytes of a document on the way, before it is refused for its length */
};

struct update_pipeline {
    struct expr_env *env;
    uint32_t count;
    struct transform *transforms;
    struct buf bufs[2];
};

static status parse_stage(struct update_pipeline *p, struct bval stage, struct err *err) {
    struct belem e;
    if (stage.type != B_DOCUMENT)
        return RAISE_CODE(err, CODE_TypeMismatch, "Each element of the 'pipeline' array must be an object");
    struct biter it = biter_of(bval_doc(stage));
    if (bdoc_count(bval_doc(stage)) != 1 || !biter_next(&it, &e))
        return RAISE_CODE(err, 40323, "A pipeline stage specification object must contain exactly one field.");
    struct transform *t = &p->transforms[p->count];
    status st = transform_compile(p->env, e.name, e.value, t, err);
    if (st == ST_NOT_FOUND)
        return RAISE_CODE(err, CODE_InvalidOptions, "%.*s is not allowed to be used within an update",
                          SLICE_ARGS(e.name));
    if (st == ST_OK) p->count++;
    return st;
}

status update_compile_pipeline(struct expr_env *env, struct bdoc stages, struct update **out, struct err *err) {
    struct arena *arena = env->scope.arena;
    struct biter it = biter_of(stages);
    struct belem e;
    uint32_t count = bdoc_count(stages);
    status st = ST_OK;
    if (count > STAGES_MAX)
        return RAISE_CODE(err, 7749501, "Pipeline length must be no longer than %d stages", STAGES_MAX);
    struct update *u = arena_new(arena, struct update);
    struct update_pipeline *p = arena_new(arena, struct update_pipeline);
    if (p != NULL) p->transforms = arena_array(arena, struct transform, (size_t) count + 1);
    if (u == NULL || p == NULL || p->transforms == NULL) return RAISE(err, ST_NOMEM, "update");
    *u = (struct update){.mem = env->scope.mem, .kind = UPDATE_PIPELINE, .replacement = bdoc_empty, .pipeline = p};
    p->env = env;
    for (int i = 0; i < 2; i++) {
        buf_init(&p->bufs[i], env->scope.mem);
        p->bufs[i].cap_max = MADE_MAX;
    }
    while (st == ST_OK && biter_next(&it, &e)) st = parse_stage(p, e.value, err);
    if (st == ST_OK) *out = u;
    else update_pipeline_release(p);
    return st;
}

void update_pipeline_release(struct update_pipeline *p) {
    if (p == NULL) return;
    for (uint32_t i = 0; i < p->count; i++) transform_release(&p->transforms[i]);
    for (int i = 0; i < 2; i++) buf_release(&p->bufs[i]);
}

/* A document on the way obeys the limits of one that is stored: the next stage may double it. */
static status check_made(struct apply *ap, struct bdoc doc) {
    if (doc.len > BSON_LEN_MAX) return update_too_large(ap);
    return update_check_depth(ap, (struct bval){doc.p, doc.len, B_DOCUMENT});
}

status update_pipeline_run(struct apply *ap, struct update_pipeline *p, struct bdoc doc, struct bdoc *result) {
    *result = doc;
    for (uint32_t i = 0; i < p->count; i++) {
        struct buf *out = &p->bufs[i & 1];
        buf_clear(out);
        arena_reset(p->env->run.arena);
        status st = transform_apply(&p->transforms[i], *result, out, result, ap->err);
        if (st == ST_NOMEM && out->cap > BSON_LEN_MAX) return update_too_large(ap);
        TRY(st);
        TRY(check_made(ap, *result));
    }
    return ST_OK;
}
