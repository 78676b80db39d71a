/* From the array of stages to a linked list of them: names, rules of place. See pipeline_internal.h. */
#include "query/pipeline_internal.h"

enum {
    STAGES_MAX = 1000,   /* as MongoDB's internalPipelineLengthLimit */
    PIPELINE_DEPTH_MAX = 20, /* as MongoDB: 232 MaxSubPipelineDepthExceeded */
    CODE_MaxSubPipelineDepthExceeded = 232,
};

#define X(id) extern const struct stage_def stage_##id;
#include "query/stages.def"
#undef X

static const struct stage_def *const stages[] = {
#define X(id) &stage_##id,
#include "query/stages.def"
#undef X
};

static const char *const unsupported[] = {
    "$bucketAuto", "$changeStream", "$changeStreamSplitLargeEvent", "$densify", "$fill", "$geoNear", "$graphLookup",
    "$listCatalog", "$listClusterCatalog", "$listLocalSessions", "$listSampledQueries", "$listSearchIndexes",
    "$listSessions", "$planCacheStats", "$queryStats", "$redact", "$search", "$searchMeta",
    "$shardedDataDistribution", "$vectorSearch", "$querySettings", "$rankFusion",
};

static const struct stage_def *find_stage(struct slice name) {
    for (size_t i = 0; i < sizeof(stages) / sizeof(stages[0]); i++) {
        if (slice_equal(name, slice_str(stages[i]->name))) return stages[i];
    }
    return NULL;
}

bool pipeline_has_stage(struct slice name) {
    for (size_t i = 0; i < sizeof(unsupported) / sizeof(unsupported[0]); i++) {
        if (slice_equal(name, slice_str(unsupported[i]))) return true;
    }
    return find_stage(name) != NULL;
}

static status no_memory(struct err *err) { return RAISE(err, ST_NOMEM, "pipeline"); }

status pipe_stage_new(struct pipe_parse *ps, const struct stage_def *def, const struct stage_vtable *ops, size_t size,
                      void *out) {
    struct pipeline *p = ps->list->p;
    struct pipe_stage *s = arena_zalloc(&p->op.arena, size);
    if (s == NULL) return no_memory(ps->err);
    s->def = def;
    s->ops = ops;
    s->list = ps->list;
    s->made_before = p->made;
    p->made = s;
    memcpy(out, &s, sizeof(s));
    return ST_OK;
}

static status push(struct pipe_list *list, struct pipe_stage *s, struct err *err) {
    if (list->count == list->cap) {
        uint32_t cap = list->cap == 0 ? 8 : list->cap * 2;
        struct pipe_stage **at = arena_array(&list->p->op.arena, struct pipe_stage *, cap);
        if (at == NULL) return no_memory(err);
        if (list->count != 0) memcpy(at, list->stages, list->count * sizeof(struct pipe_stage *));
        list->stages = at;
        list->cap = cap;
    }
    list->stages[list->count++] = s;
    return ST_OK;
}

status pipe_append(struct pipe_parse *ps, const struct stage_def *def, const struct stage_vtable *ops, size_t size,
                   void *out) {
    struct pipe_stage *s = NULL;
    TRY(pipe_stage_new(ps, def, ops, size, &s));
    memcpy(out, &s, sizeof(s));
    return push(ps->list, s, ps->err);
}

status pipe_keep(struct pipe_parse *ps, struct bdoc d, struct bval *out) {
    const uint8_t *p = d.p != NULL ? arena_copy(pipe_arena(ps), d.p, d.len) : NULL;
    if (p == NULL) return no_memory(ps->err);
    *out = (struct bval){p, d.len, B_DOCUMENT};
    return ST_OK;
}

status pipe_parse_stage(struct pipe_parse *ps, struct slice name, struct bval spec) {
    const struct stage_def *def = find_stage(name);
    if (def == NULL) {
        for (size_t i = 0; i < sizeof(unsupported) / sizeof(unsupported[0]); i++) {
            if (slice_equal(name, slice_str(unsupported[i])))
                return RAISE_CODE(ps->err, CODE_CommandNotSupported, "the stage %s is not supported", unsupported[i]);
        }
        return RAISE_CODE(ps->err, 40324, "Unrecognized pipeline stage name: '%.*s'", SLICE_ARGS(name));
    }
    if (ps->list->in_facet && (def->flags & (STAGE_NOT_IN_FACET | STAGE_FIRST)) != 0)
        return RAISE_CODE(ps->err, 40600, "%s is not allowed to be used within a $facet stage", def->name);
    if (ps->list->depth > 0 && !ps->list->in_facet && (def->flags & STAGE_NOT_NESTED) != 0)
        return RAISE_CODE(ps->err, 51047, "%s is not allowed within a $lookup's sub-pipeline", def->name);
    uint32_t from = ps->list->count;
    TRY(def->parse(ps, spec));
    for (uint32_t i = from; i < ps->list->count; i++) {
        if (ps->list->stages[i]->spec.type == B_MISSING) ps->list->stages[i]->spec = spec;
    }
    return ST_OK;
}

static status parse_element(struct pipe_parse *ps, struct bval v, uint32_t i, uint32_t count, bool *wrote) {
    if (v.type != B_DOCUMENT)
        return RAISE_CODE(ps->err, CODE_TypeMismatch, "Each element of the 'pipeline' array must be an object");
    struct biter it = biter_of(bval_doc(v));
    struct belem e;
    if (bdoc_count(bval_doc(v)) != 1 || !biter_next(&it, &e))
        return RAISE_CODE(ps->err, 40323, "A pipeline stage specification object must contain exactly one field.");
    const struct stage_def *def = find_stage(e.name);
    TRY(pipe_parse_stage(ps, e.name, e.value));
    if ((def->flags & STAGE_FIRST) != 0 && i > 0)
        return RAISE_CODE(ps->err, 40602, "%s is only valid as the first stage in a pipeline", def->name);
    if ((def->flags & STAGE_LAST) != 0 && i + 1 < count)
        return RAISE_CODE(ps->err, 40601, "%s can only be the final stage in the pipeline", def->name);
    *wrote = (def->flags & STAGE_LAST) != 0;
    return ST_OK;
}

static status check_source(const struct pipe_list *list, struct err *err) {
    const struct stage_def *def = list->count > 0 ? list->stages[0]->def : NULL;
    unsigned flags = def != NULL ? def->flags : 0;
    if (list->ns.coll.len == 0 && (flags & STAGE_WITHOUT_COLLECTION) == 0)
        return RAISE_CODE(err, CODE_InvalidNamespace, "{aggregate: 1} is not valid for '%s'; a collection is required.",
                          def != NULL ? def->name : "an empty pipeline");
    if (list->ns.coll.len != 0 && (flags & STAGE_WITHOUT_COLLECTION) != 0 && list->depth == 0)
        return RAISE_CODE(err, CODE_InvalidNamespace, "'%s' can only be run with {aggregate: 1}", def->name);
    return ST_OK;
}

status pipe_list_parse(struct pipe_list *list, struct bdoc array, bool needs_source, struct err *err) {
    struct pipe_parse ps = {list, err};
    struct biter it = biter_of(array);
    struct belem e;
    uint32_t count = bdoc_count(array), i = 0;
    bool wrote = false;
    if (count > STAGES_MAX) return RAISE_CODE(err, 7749501, "Pipeline length must be no longer than %d stages", STAGES_MAX);
    if (list->depth > PIPELINE_DEPTH_MAX)
        return RAISE_CODE(err, CODE_MaxSubPipelineDepthExceeded, "Maximum number of nested sub-pipelines exceeded. Limit is %d",
                          PIPELINE_DEPTH_MAX);
    for (; biter_next(&it, &e); i++) TRY(parse_element(&ps, e.value, i, count, &wrote));
    bool makes = list->count > 0 && (list->stages[0]->def->flags & STAGE_FIRST) != 0;
    if (needs_source) TRY(check_source(list, err));
    struct pipe_source *source = NULL;
    if (needs_source && !makes) TRY(source_new(list, &source, err));
    TRY(pipe_optimize(list, source, err));
    struct pipe_stage *from = source != NULL ? source_stage(source) : NULL;
    for (i = 0; i < list->count; i++) {
        list->stages[i]->from = from;
        from = list->stages[i];
    }
    list->last = from;
    return ST_OK;
}

status pipe_push_source(struct pipe_list *list, struct pipe_stage *source, struct err *err) {
    (void) err;
    source->list = list;
    if (list->count > 0) list->stages[0]->from = source;
    else list->last = source;
    return ST_OK;
}

status pipe_list_restart(struct pipe_list *list, struct err *err) {
    for (struct pipe_stage *s = list->last; s != NULL; s = s->from) {
        if (s->ops->restart != NULL) TRY(s->ops->restart(s, err));
        if (s->list != list) break;
    }
    return ST_OK;
}

void pipe_list_rest(struct pipe_list *list) {
    for (struct pipe_stage *s = list->last; s != NULL; s = s->from) {
        if (s->ops->rest != NULL) s->ops->rest(s);
    }
}

bool pipeline_writes(struct bdoc pipeline) {
    struct biter it = biter_of(pipeline);
    struct belem e, stage;
    while (biter_next(&it, &e)) {
        if (e.value.type != B_DOCUMENT) continue;
        struct biter of = biter_of(bval_doc(e.value));
        if (biter_next(&of, &stage) &&
            (slice_equal(stage.name, SLICE_LIT("$out")) || slice_equal(stage.name, SLICE_LIT("$merge"))))
            return true;
    }
    return false;
}
