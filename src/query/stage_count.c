/* Stages that stand for others: $count, $sortByCount, $bucket. */
#include "bson/compare.h"
#include "eval/accum.h"
#include "query/pipeline_internal.h"

/* Parses a stage whose specification was built in `buf`. */
static status parse_built(struct pipe_parse *ps, struct slice name, struct bbuild *b) {
    struct bval spec;
    TRY(pipe_keep(ps, bbuild_finish(b), &spec));
    return pipe_parse_stage(ps, name, spec);
}

/* --- $count: $group, then $project ------------------------------------------------------------------------------ */

static status parse_count(struct pipe_parse *ps, struct bval spec) {
    if (spec.type != B_STRING) return RAISE_CODE(ps->err, 40156, "the count field must be a non-empty string");
    struct slice name = bval_string(spec);
    if (name.len == 0) return RAISE_CODE(ps->err, 40157, "the count field must be a non-empty string");
    if (name.p[0] == '$') return RAISE_CODE(ps->err, 40158, "the count field cannot be a $-prefixed path");
    if (memchr(name.p, 0, name.len) != NULL)
        return RAISE_CODE(ps->err, 40159, "the count field cannot contain a null byte");
    if (memchr(name.p, '.', name.len) != NULL) return RAISE_CODE(ps->err, 40160, "the count field cannot contain '.'");
    struct buf buf;
    struct bbuild b, sum;
    buf_init(&buf, ps->list->p->op.mem);
    bbuild_begin(&b, &buf);
    bbuild_null(&b, "_id");
    sum = bbuild_open_doc(&b, name);
    bbuild_int32(&sum, "$sum", 1);
    bbuild_close(&sum);
    status st = parse_built(ps, SLICE_LIT("$group"), &b);
    buf_clear(&buf);
    bbuild_begin(&b, &buf);
    bbuild_int32(&b, "_id", 0);
    if (st == ST_OK) st = parse_built(ps, SLICE_LIT("$project"), &b);
    buf_release(&buf);
    return st;
}

/* --- $sortByCount: $group, then $sort --------------------------------------------------------------------------- */

static status parse_sort_by_count(struct pipe_parse *ps, struct bval spec) {
    struct buf buf;
    struct bbuild b, sum;
    struct belem e;
    struct biter it = biter_of(spec.type == B_DOCUMENT ? bval_doc(spec) : bdoc_empty);
    bool is_operator = biter_next(&it, &e) && e.name.len > 0 && e.name.p[0] == '$';
    if (spec.type == B_DOCUMENT && !is_operator)
        return RAISE_CODE(ps->err, 40147, "the sortByCount field must be defined as a $-prefixed path or an expression inside an object");
    if (spec.type == B_STRING && (bval_string(spec).len == 0 || bval_string(spec).p[0] != '$'))
        return RAISE_CODE(ps->err, 40148, "the sortByCount field must be defined as a $-prefixed path or an expression inside an object");
    if (spec.type != B_DOCUMENT && spec.type != B_STRING)
        return RAISE_CODE(ps->err, 40149, "the sortByCount field must be specified as a string or as an object");
    buf_init(&buf, ps->list->p->op.mem);
    bbuild_begin(&b, &buf);
    bbuild_value(&b, SLICE_LIT("_id"), spec);
    sum = bbuild_open_doc(&b, SLICE_LIT("count"));
    bbuild_int32(&sum, "$sum", 1);
    bbuild_close(&sum);
    status st = parse_built(ps, SLICE_LIT("$group"), &b);
    buf_clear(&buf);
    bbuild_begin(&b, &buf);
    bbuild_int32(&b, "count", -1);
    if (st == ST_OK) st = parse_built(ps, SLICE_LIT("$sort"), &b);
    buf_release(&buf);
    return st;
}

/* --- $bucket: $group by a $switch, then $sort ------------------------------------------------------------------- */

struct bucket {
    struct bval group_by, boundaries, otherwise, output;
};

static status read_bucket(struct pipe_parse *ps, struct bval spec, struct bucket *out) {
    if (spec.type != B_DOCUMENT)
        return RAISE_CODE(ps->err, 40201, "Argument to $bucket stage must be an object, but found type: %s.", btype_name(spec.type));
    struct biter it = biter_of(bval_doc(spec));
    struct belem e;
    while (biter_next(&it, &e)) {
        if (slice_equal(e.name, SLICE_LIT("groupBy"))) out->group_by = e.value;
        else if (slice_equal(e.name, SLICE_LIT("boundaries"))) out->boundaries = e.value;
        else if (slice_equal(e.name, SLICE_LIT("default"))) out->otherwise = e.value;
        else if (slice_equal(e.name, SLICE_LIT("output"))) out->output = e.value;
        else return RAISE_CODE(ps->err, 40197, "Unrecognized option to $bucket: %.*s.", SLICE_ARGS(e.name));
    }
    bool has_both = out->group_by.type != B_MISSING && out->boundaries.type != B_MISSING;
    if (!has_both)
        return RAISE_CODE(ps->err, 40198, "$bucket requires 'groupBy' and 'boundaries' to be specified.");
    if (out->output.type != B_MISSING && out->output.type != B_DOCUMENT)
        return RAISE_CODE(ps->err, 40196, "The $bucket 'output' field must be an object, but found type: %s.",
                          btype_name(out->output.type));
    return ST_OK;
}

static status constant_of(struct pipe_parse *ps, struct bval v, int32_t code, struct bval *out) {
    const struct expr *e;
    TRY(expr_parse(&ps->list->p->env.scope, v, &e, ps->err));
    if (expr_constant(e, out)) return ST_OK;
    return RAISE_CODE(ps->err, code, "The $bucket 'boundaries' and 'default' must be constant values.");
}

static status check_group_by(struct pipe_parse *ps, struct bval v) {
    struct biter it = biter_of(v.type == B_DOCUMENT ? bval_doc(v) : bdoc_empty);
    struct belem e;
    bool is_operator = biter_next(&it, &e) && e.name.len > 0 && e.name.p[0] == '$';
    bool is_path = v.type == B_STRING && bval_string(v).len > 0 && bval_string(v).p[0] == '$';
    if (is_operator || is_path) return ST_OK;
    return RAISE_CODE(ps->err, 40202, "The $bucket 'groupBy' field must be defined as a $-prefixed path or an expression.");
}

/* The boundaries, evaluated: ascending and of one type. */
static status read_boundaries(struct pipe_parse *ps, const struct bucket *k, struct bval **out, uint32_t *count) {
    if (k->boundaries.type != B_ARRAY)
        return RAISE_CODE(ps->err, 40200, "The $bucket 'boundaries' field must be an array, but found type: %s.", btype_name(k->boundaries.type));
    *count = bdoc_count(bval_doc(k->boundaries));
    if (*count < 2)
        return RAISE_CODE(ps->err, 40192, "The $bucket 'boundaries' field must have at least 2 values, but found %u value(s).", *count);
    *out = arena_array(pipe_arena(ps), struct bval, *count);
    if (*out == NULL) return RAISE(ps->err, ST_NOMEM, "$bucket");
    struct biter it = biter_of(bval_doc(k->boundaries));
    struct belem e;
    for (uint32_t i = 0; biter_next(&it, &e); i++) {
        struct bval *b = *out;
        TRY(constant_of(ps, e.value, 40191, &b[i]));
        if (i == 0) continue;
        if (btype_rank(b[i].type) != btype_rank(b[i - 1].type))
            return RAISE_CODE(ps->err, 40193, "All values in the 'boundaries' option to $bucket must have the same type.");
        if (bval_compare(b[i - 1], b[i]) >= 0)
            return RAISE_CODE(ps->err, 40194, "The 'boundaries' option to $bucket must be sorted in ascending order.");
    }
    return ST_OK;
}

static void append_compare(struct bbuild *array, const char *op, struct bval group_by, struct bval boundary) {
    struct bbuild test = bbuild_push_doc(array), operands = bbuild_open_array(&test, slice_str(op));
    bbuild_push(&operands, group_by);
    struct bbuild literal = bbuild_push_doc(&operands);
    bbuild_value(&literal, SLICE_LIT("$literal"), boundary);
    bbuild_close(&literal);
    bbuild_close(&operands);
    bbuild_close(&test);
}

static void append_literal(struct bbuild *doc, const char *name, struct bval v) {
    struct bbuild literal = bbuild_open_doc(doc, slice_str(name));
    bbuild_value(&literal, SLICE_LIT("$literal"), v);
    bbuild_close(&literal);
}

static void append_switch(struct bbuild *group, const struct bucket *k, const struct bval *b, uint32_t count) {
    struct bbuild id = bbuild_open_doc(group, SLICE_LIT("_id")), sw = bbuild_open_doc(&id, SLICE_LIT("$switch"));
    struct bbuild branches = bbuild_open_array(&sw, SLICE_LIT("branches"));
    for (uint32_t i = 0; i + 1 < count; i++) {
        struct bbuild branch = bbuild_push_doc(&branches), test = bbuild_open_doc(&branch, SLICE_LIT("case"));
        struct bbuild both = bbuild_open_array(&test, SLICE_LIT("$and"));
        append_compare(&both, "$gte", k->group_by, b[i]);
        append_compare(&both, "$lt", k->group_by, b[i + 1]);
        bbuild_close(&both);
        bbuild_close(&test);
        append_literal(&branch, "then", b[i]);
        bbuild_close(&branch);
    }
    bbuild_close(&branches);
    if (k->otherwise.type != B_MISSING) append_literal(&sw, "default", k->otherwise);
    bbuild_close(&sw);
    bbuild_close(&id);
}

static status parse_bucket(struct pipe_parse *ps, struct bval spec) {
    struct bucket k = {BVAL_MISSING, BVAL_MISSING, BVAL_MISSING, BVAL_MISSING};
    struct bval *b = NULL;
    uint32_t count = 0;
    struct buf buf;
    struct bbuild group;
    TRY(read_bucket(ps, spec, &k));
    TRY(check_group_by(ps, k.group_by));
    TRY(read_boundaries(ps, &k, &b, &count));
    if (k.otherwise.type != B_MISSING) {
        TRY(constant_of(ps, k.otherwise, 40195, &k.otherwise));
        bool is_inside = bval_compare(k.otherwise, b[0]) >= 0 && bval_compare(k.otherwise, b[count - 1]) < 0;
        if (is_inside)
            return RAISE_CODE(ps->err, 40199, "The $bucket 'default' field must be less than the lowest boundary or greater than or equal to the highest boundary.");
    }
    buf_init(&buf, ps->list->p->op.mem);
    bbuild_begin(&group, &buf);
    append_switch(&group, &k, b, count);
    if (k.output.type == B_MISSING) {
        struct bbuild sum = bbuild_open_doc(&group, SLICE_LIT("count"));
        bbuild_int32(&sum, "$sum", 1);
        bbuild_close(&sum);
    } else {
        bbuild_elems(&group, bval_doc(k.output));
    }
    status st = parse_built(ps, SLICE_LIT("$group"), &group);
    buf_clear(&buf);
    bbuild_begin(&group, &buf);
    bbuild_int32(&group, "_id", 1);
    if (st == ST_OK) st = parse_built(ps, SLICE_LIT("$sort"), &group);
    buf_release(&buf);
    return st;
}

extern const struct stage_def stage_count, stage_sort_by_count, stage_bucket;
const struct stage_def stage_count = {"$count", STAGE_BLOCKS, parse_count};
const struct stage_def stage_sort_by_count = {"$sortByCount", STAGE_BLOCKS, parse_sort_by_count};
const struct stage_def stage_bucket = {"$bucket", STAGE_BLOCKS, parse_bucket};
