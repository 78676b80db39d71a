/* $lookup: to each row the array of another collection's documents that go with it: by equality of two fields, by a pipeline with variables, or both.
 *
 * The inner pipeline is compiled once and restarted for each row. Equality becomes a filter that is given to its source together with what the optimizer
 * put there, so that an index on the foreign field serves. A pipeline that depends on nothing of the row runs once. */
#include "bson/path.h"
#include "query/pipeline_internal.h"

struct let_var {
    const struct expr *value;
    uint32_t slot;
    struct buf kept; /* the value's bytes: they outlive the scratch arena */
};

struct lookup_stage {
    struct pipe_stage base;
    struct pipe_list inner;
    struct path local, foreign, as;
    bool has_fields;
    struct let_var *vars;
    uint32_t var_count;
    struct bdoc inner_filter; /* of the source before equality is added; p NULL: none */
    struct buf filter, array, out;
    bool is_constant, has_constant;
    struct pipe_row row;
};

/* --- equality -------------------------------------------------------------------------------------------------- */

struct collect {
    struct bbuild *array;
    uint32_t count;
    bool has_regex;
};

static void collect_value(struct collect *c, struct bval v) {
    if (bval_is_nullish(v)) v = (struct bval){(const uint8_t *) "", 0, B_NULL};
    c->has_regex = c->has_regex || v.type == B_REGEX;
    c->count++;
    struct bbuild *a = c->array;
    bbuild_push(a, v);
}

static bool visit_local(void *ctx, struct bval v, unsigned found) {
    struct collect *c = ctx;
    if (v.type != B_ARRAY || (found & PATH_AT_POSITION) != 0) {
        collect_value(c, v);
        return false;
    }
    struct biter it = biter_of(bval_doc(v));
    struct belem e;
    while (biter_next(&it, &e)) collect_value(c, e.value);
    return false;
}

/* {foreign: {$in: [the row's values]}} */
static void append_equality(struct lookup_stage *s, struct bdoc doc, struct bbuild *out, struct buf *values) {
    struct bbuild array;
    buf_clear(values);
    bbuild_begin(&array, values);
    struct collect c = {.array = &array};
    (void) path_visit(doc, &s->local, visit_local, &c);
    struct bdoc list = bbuild_finish(&array);
    if (list.p == NULL) {
        out->buf->failed = true;
        return;
    }
    if (!c.has_regex) {
        struct bbuild field = bbuild_open_doc(out, s->foreign.text);
        bbuild_array(&field, "$in", list);
        bbuild_close(&field);
        return;
    }
    struct bbuild any = bbuild_open_array(out, SLICE_LIT("$or")); /* in $in a regular expression would be a pattern */
    struct biter it = biter_of(list);
    struct belem e;
    while (biter_next(&it, &e)) {
        struct bbuild one = bbuild_push_doc(&any), field = bbuild_open_doc(&one, s->foreign.text);
        bbuild_value(&field, SLICE_LIT("$eq"), e.value);
        bbuild_close(&field);
        bbuild_close(&one);
    }
    bbuild_close(&any);
}

static struct find_request *source_of(struct lookup_stage *s) {
    struct pipe_stage *first = s->inner.last;
    while (first->from != NULL) first = first->from;
    return source_request((struct pipe_source *) first);
}

static status set_filter(struct lookup_stage *s, struct bdoc doc, struct err *err) {
    struct bbuild b;
    buf_clear(&s->filter);
    bbuild_begin(&b, &s->filter);
    if (s->inner_filter.p == NULL) {
        append_equality(s, doc, &b, &s->array);
    } else {
        struct bbuild both = bbuild_open_array(&b, SLICE_LIT("$and")), one = bbuild_push_doc(&both);
        append_equality(s, doc, &one, &s->array);
        bbuild_close(&one);
        bbuild_push(&both, (struct bval){s->inner_filter.p, s->inner_filter.len, B_DOCUMENT});
        bbuild_close(&both);
    }
    struct bdoc filter = bbuild_finish(&b);
    if (filter.p == NULL) return RAISE(err, ST_NOMEM, "$lookup");
    source_of(s)->filter = filter;
    return ST_OK;
}

/* --- rows ------------------------------------------------------------------------------------------------------ */

static status bind(struct lookup_stage *s, struct err *err) {
    struct expr_run *x = pipe_run(&s->base, &s->row, err);
    for (uint32_t i = 0; i < s->var_count; i++) {
        struct let_var *var = &s->vars[i];
        struct bval v;
        TRY(expr_eval(x, var->value, &v));
        buf_clear(&var->kept);
        if (!buf_append(&var->kept, v.p, v.len)) return RAISE(err, ST_NOMEM, "$lookup");
        v.p = var->kept.p;
        x->slots[var->slot] = v;
    }
    return ST_OK;
}

/* The inner pipeline's rows as an array in s->array. */
static status run_inner(struct lookup_stage *s, struct err *err) {
    struct pipe_row row;
    struct bbuild b;
    status st;
    TRY(pipe_list_restart(&s->inner, err));
    TRY(bind(s, err));
    if (s->has_fields) TRY(set_filter(s, s->row.doc, err));
    buf_clear(&s->array);
    bbuild_begin(&b, &s->array);
    while ((st = pipe_list_next(&s->inner, &row, err)) == ST_OK) {
        bbuild_push(&b, (struct bval){row.doc.p, row.doc.len, B_DOCUMENT});
        if (s->array.len > s->base.list->p->op.memory_max)
            return RAISE_CODE(err, 4568, "Total size of documents in %.*s matching pipeline's $lookup stage exceeds %zu bytes",
                              SLICE_ARGS(s->inner.ns.coll), s->base.list->p->op.memory_max);
    }
    if (st != ST_END) return st;
    pipe_list_rest(&s->inner);
    return bbuild_finish(&b).p != NULL ? ST_OK : RAISE(err, ST_NOMEM, "$lookup");
}

static status lookup_next(struct pipe_stage *stage, struct pipe_row *out, struct err *err) {
    struct lookup_stage *s = (struct lookup_stage *) stage;
    TRY(pipe_next(stage, &s->row, err));
    TRY(pipe_tick(stage->list->p, err));
    if (!s->has_constant) TRY(run_inner(s, err));
    s->has_constant = s->is_constant;
    struct bval array = {s->array.p, (uint32_t) s->array.len, B_ARRAY};
    *out = s->row;
    return pipe_put_at(&s->out, s->row.doc, &s->as, array, &out->doc, err);
}

static status lookup_restart(struct pipe_stage *stage, struct err *err) {
    (void) stage;
    (void) err;
    ((struct lookup_stage *) stage)->has_constant = false;
    return ST_OK;
}

static void lookup_close(struct pipe_stage *stage) {
    struct lookup_stage *s = (struct lookup_stage *) stage;
    for (uint32_t i = 0; i < s->var_count; i++) buf_release(&s->vars[i].kept);
    buf_release(&s->filter);
    buf_release(&s->array);
    buf_release(&s->out);
}

static bool overlap(struct slice a, struct slice b) {
    struct slice s = a.len < b.len ? a : b, l = a.len < b.len ? b : a;
    return slice_starts_with(l, s) && (l.len == s.len || l.p[s.len] == '.');
}

static bool lookup_passes(const struct pipe_stage *stage, struct slice path) {
    return !overlap(((const struct lookup_stage *) stage)->as.text, path);
}

static const struct stage_vtable ops = {
    .next = lookup_next, .restart = lookup_restart, .close = lookup_close, .passes = lookup_passes};

/* --- parsing --------------------------------------------------------------------------------------------------- */

struct lookup_spec {
    struct slice from, local, foreign, as;
    struct bdoc let, pipeline;
};

static status read_string(struct pipe_parse *ps, struct belem e, struct slice *out) {
    if (e.value.type != B_STRING)
        return RAISE_CODE(ps->err, CODE_FailedToParse, "$lookup argument '%.*s' must be a string, found %s", SLICE_ARGS(e.name), btype_name(e.value.type));
    *out = bval_string(e.value);
    return ST_OK;
}

static status read_spec(struct pipe_parse *ps, struct bdoc spec, struct lookup_spec *out) {
    struct biter it = biter_of(spec);
    struct belem e;
    while (biter_next(&it, &e)) {
        if (slice_equal(e.name, SLICE_LIT("from"))) {
            if (e.value.type == B_DOCUMENT)
                return RAISE(ps->err, ST_UNSUPPORTED, "$lookup from another database is not supported");
            TRY(read_string(ps, e, &out->from));
        } else if (slice_equal(e.name, SLICE_LIT("localField"))) {
            TRY(read_string(ps, e, &out->local));
        } else if (slice_equal(e.name, SLICE_LIT("foreignField"))) {
            TRY(read_string(ps, e, &out->foreign));
        } else if (slice_equal(e.name, SLICE_LIT("as"))) {
            TRY(read_string(ps, e, &out->as));
        } else if (slice_equal(e.name, SLICE_LIT("let"))) {
            if (e.value.type != B_DOCUMENT)
                return RAISE_CODE(ps->err, CODE_FailedToParse, "$lookup argument 'let' must be an object, found %s", btype_name(e.value.type));
            out->let = bval_doc(e.value);
        } else if (slice_equal(e.name, SLICE_LIT("pipeline"))) {
            if (e.value.type != B_ARRAY)
                return RAISE_CODE(ps->err, CODE_TypeMismatch, "'pipeline' option must be specified as an array");
            out->pipeline = bval_doc(e.value);
        } else {
            return RAISE_CODE(ps->err, CODE_FailedToParse, "unknown argument to $lookup: %.*s", SLICE_ARGS(e.name));
        }
    }
    if (out->as.p == NULL) return RAISE_CODE(ps->err, CODE_FailedToParse, "must specify 'as' field for a $lookup");
    if ((out->local.p == NULL) != (out->foreign.p == NULL))
        return RAISE_CODE(ps->err, CODE_FailedToParse, "$lookup requires both or neither of 'localField' and 'foreignField' to be specified");
    if (out->pipeline.p == NULL && out->local.p == NULL)
        return RAISE_CODE(ps->err, CODE_FailedToParse, "$lookup requires either 'pipeline' or both 'localField' and 'foreignField' to be specified");
    if (out->pipeline.p == NULL && out->let.p != NULL)
        return RAISE_CODE(ps->err, CODE_FailedToParse, "$lookup with a 'let' argument must also specify 'pipeline'");
    if (out->from.p == NULL && (out->pipeline.p == NULL || out->local.p != NULL))
        return RAISE_CODE(ps->err, CODE_FailedToParse, "must specify 'from' field for a $lookup");
    return ST_OK;
}

static status parse_path(struct pipe_parse *ps, struct slice text, struct path *out) {
    if (text.len == 0) return RAISE_CODE(ps->err, 40352, "FieldPath cannot be constructed with empty string");
    if (text.p[0] == '$')
        return RAISE_CODE(ps->err, 16410, "FieldPath field names may not start with '$'. Consider using $getField or $setField.");
    return path_parse(pipe_arena(ps), text, out, ps->err);
}

/* Values are of the outer row; names are seen in the inner pipeline. */
static status parse_let(struct pipe_parse *ps, struct lookup_stage *s, struct bdoc let) {
    struct expr_scope *scope = &ps->list->p->env.scope;
    s->vars = arena_array(pipe_arena(ps), struct let_var, (size_t) bdoc_count(let) + 1);
    if (s->vars == NULL) return RAISE(ps->err, ST_NOMEM, "$lookup");
    const struct expr_var *outer = scope->vars, *bound = outer;
    struct biter it = biter_of(let);
    struct belem e;
    while (biter_next(&it, &e)) {
        struct let_var *var = &s->vars[s->var_count];
        scope->vars = outer;
        TRY(expr_parse(scope, e.value, &var->value, ps->err));
        scope->vars = bound;
        TRY(expr_scope_bind(scope, e.name, &var->slot, ps->err));
        bound = scope->vars;
        buf_init(&var->kept, ps->list->p->op.mem);
        s->var_count++;
    }
    return ST_OK;
}

extern const struct stage_def stage_lookup;

static status parse(struct pipe_parse *ps, struct bval spec) {
    struct lookup_stage *s;
    struct lookup_spec l = {0};
    struct pipeline *p = ps->list->p;
    if (spec.type != B_DOCUMENT)
        return RAISE_CODE(ps->err, CODE_FailedToParse, "the $lookup stage specification must be an object, but found %s", btype_name(spec.type));
    TRY(read_spec(ps, bval_doc(spec), &l));
    TRY(pipe_append(ps, &stage_lookup, &ops, sizeof(*s), &s));
    buf_init(&s->filter, p->op.mem);
    buf_init(&s->array, p->op.mem);
    buf_init(&s->out, p->op.mem);
    struct ns ns = {ps->list->ns.db, l.from};
    if (l.from.p != NULL) TRY(ns_check(ns, false, ps->err));
    TRY(parse_path(ps, l.as, &s->as));
    s->has_fields = l.local.p != NULL;
    if (s->has_fields) {
        TRY(parse_path(ps, l.local, &s->local));
        TRY(parse_path(ps, l.foreign, &s->foreign));
    }
    const struct expr_var *outer = p->env.scope.vars;
    if (l.let.p != NULL) TRY(parse_let(ps, s, l.let));
    s->inner = (struct pipe_list){.p = p, .ns = ns, .depth = ps->list->depth + 1};
    bool was_random = p->env.scope.is_random;
    p->env.scope.is_random = false;
    TRY(pipe_list_parse(&s->inner, l.pipeline.p != NULL ? l.pipeline : bdoc_empty, true, ps->err));
    /* A variable of a $lookup around this one may be read inside, so only the outermost is taken for constant. */
    s->is_constant = !s->has_fields && s->var_count == 0 && outer == NULL && !p->env.scope.is_random;
    p->env.scope.is_random = p->env.scope.is_random || was_random;
    p->env.scope.vars = outer;
    if (s->has_fields) s->inner_filter = source_of(s)->filter;
    return ST_OK;
}

const struct stage_def stage_lookup = {"$lookup", STAGE_KEEPS_COUNT | STAGE_KEEPS_ORDER, parse};
