/* $unwind: a row for each element of an array, the element in the array's place. What is no array counts as an array of itself. */
#include "bson/path.h"
#include "query/pipeline_internal.h"

struct unwind_stage {
    struct pipe_stage base;
    struct path path, index_path;
    bool has_index, preserves;
    struct pipe_row row; /* the one being unwound */
    bool has_row;
    struct biter it;
    int64_t idx;
    struct buf out, other;
};

/* Copies the document with the value at the path replaced; B_MISSING takes it out, a path that is not there is made. */
static status put_at(struct bbuild *out, struct bdoc doc, const struct path *path, uint32_t part, struct bval v) {
    struct biter it = biter_of(doc);
    struct belem e;
    bool done = false, is_last = part + 1 == path->part_count;
    while (biter_next(&it, &e)) {
        if (done || !slice_equal(e.name, path->parts[part].name)) {
            bbuild_value(out, e.name, e.value);
            continue;
        }
        done = true;
        if (is_last) {
            bbuild_value(out, e.name, v);
        } else {
            struct bbuild sub = bbuild_open_doc(out, e.name);
            TRY(put_at(&sub, e.value.type == B_DOCUMENT ? bval_doc(e.value) : bdoc_empty, path, part + 1, v));
            bbuild_close(&sub);
        }
    }
    if (done || v.type == B_MISSING) return ST_OK;
    if (is_last) {
        bbuild_value(out, path->parts[part].name, v);
        return ST_OK;
    }
    struct bbuild sub = bbuild_open_doc(out, path->parts[part].name);
    TRY(put_at(&sub, bdoc_empty, path, part + 1, v));
    bbuild_close(&sub);
    return ST_OK;
}

status pipe_put_at(struct buf *buf, struct bdoc doc, const struct path *path, struct bval v, struct bdoc *out,
                   struct err *err) {
    struct bbuild b;
    buf_clear(buf);
    bbuild_begin(&b, buf);
    TRY(put_at(&b, doc, path, 0, v));
    *out = bbuild_finish(&b);
    return out->p != NULL ? ST_OK : RAISE(err, ST_NOMEM, "pipeline");
}

static status emit(struct unwind_stage *s, const struct bval *v, int64_t idx, struct pipe_row *out, struct err *err) {
    uint8_t bytes[8];
    *out = s->row;
    if (v != NULL) TRY(pipe_put_at(&s->out, out->doc, &s->path, *v, &out->doc, err));
    if (!s->has_index) return ST_OK;
    put_le64(bytes, (uint64_t) idx);
    struct bval number = {bytes, 8, B_INT64};
    if (idx < 0) number = (struct bval){(const uint8_t *) "", 0, B_NULL};
    return pipe_put_at(&s->other, out->doc, &s->index_path, number, &out->doc, err);
}

/* Through documents only: an array on the way stops the path. */
static struct bval value_at(struct bdoc doc, const struct path *path) {
    struct bval v = {doc.p, doc.len, B_DOCUMENT};
    for (uint32_t i = 0; i < path->part_count; i++) {
        if (v.type != B_DOCUMENT) return BVAL_MISSING;
        v = bdoc_get(bval_doc(v), path->parts[i].name);
    }
    return v;
}

static status unwind_next(struct pipe_stage *stage, struct pipe_row *out, struct err *err) {
    struct unwind_stage *s = (struct unwind_stage *) stage;
    for (;;) {
        struct belem e;
        if (s->has_row && biter_next(&s->it, &e)) return emit(s, &e.value, s->idx++, out, err);
        s->has_row = false;
        TRY(pipe_tick(stage->list->p, err));
        TRY(pipe_next(stage, &s->row, err));
        struct bval v = value_at(s->row.doc, &s->path);
        if (v.type == B_ARRAY && !bdoc_is_empty(bval_doc(v))) {
            s->has_row = true;
            s->it = biter_of(bval_doc(v));
            s->idx = 0;
        } else if (v.type == B_ARRAY) {
            if (s->preserves) return emit(s, &BVAL_MISSING, -1, out, err);
        } else if (!bval_is_nullish(v) || s->preserves) {
            return emit(s, NULL, -1, out, err);
        }
    }
}

static status unwind_restart(struct pipe_stage *stage, struct err *err) {
    (void) err;
    ((struct unwind_stage *) stage)->has_row = false;
    return ST_OK;
}

static void unwind_close(struct pipe_stage *stage) {
    struct unwind_stage *s = (struct unwind_stage *) stage;
    buf_release(&s->out);
    buf_release(&s->other);
}

static bool overlap(struct slice a, struct slice b) {
    struct slice s = a.len < b.len ? a : b, l = a.len < b.len ? b : a;
    return slice_starts_with(l, s) && (l.len == s.len || l.p[s.len] == '.');
}

static bool unwind_passes(const struct pipe_stage *stage, struct slice path) {
    const struct unwind_stage *s = (const struct unwind_stage *) stage;
    return !overlap(s->path.text, path) && !(s->has_index && overlap(s->index_path.text, path));
}

static status unwind_deps(const struct pipe_stage *stage, struct expr_deps *deps, bool *ends, struct err *err) {
    *ends = false;
    return expr_deps_add_path(deps, ((const struct unwind_stage *) stage)->path.text, err);
}

static const struct stage_vtable ops = {.next = unwind_next,
                                        .restart = unwind_restart,
                                        .close = unwind_close,
                                        .passes = unwind_passes,
                                        .deps = unwind_deps};

/* --- parsing --------------------------------------------------------------------------------------------------- */

static status read_fields(struct pipe_parse *ps, struct bdoc spec, struct unwind_stage *s, struct bval *path,
                          struct bval *index) {
    struct biter it = biter_of(spec);
    struct belem e;
    while (biter_next(&it, &e)) {
        if (slice_equal(e.name, SLICE_LIT("path"))) {
            if (e.value.type != B_STRING)
                return RAISE_CODE(ps->err, 28808, "expected a string as the path for $unwind stage, got %s", btype_name(e.value.type));
            *path = e.value;
        } else if (slice_equal(e.name, SLICE_LIT("preserveNullAndEmptyArrays"))) {
            if (e.value.type != B_BOOL)
                return RAISE_CODE(ps->err, 28809, "expected a boolean for the preserveNullAndEmptyArrays option to $unwind stage, got %s",
                                  btype_name(e.value.type));
            s->preserves = bval_bool(e.value);
        } else if (slice_equal(e.name, SLICE_LIT("includeArrayIndex"))) {
            if (e.value.type != B_STRING || bval_string(e.value).len == 0)
                return RAISE_CODE(ps->err, 28810, "expected a non-empty string for the includeArrayIndex option to $unwind stage, got %s",
                                  btype_name(e.value.type));
            *index = e.value;
        } else {
            return RAISE_CODE(ps->err, 28811, "unrecognized option to $unwind stage: %.*s", SLICE_ARGS(e.name));
        }
    }
    return ST_OK;
}

extern const struct stage_def stage_unwind;

static status parse(struct pipe_parse *ps, struct bval spec) {
    struct unwind_stage *s;
    struct bval path = BVAL_MISSING, index = BVAL_MISSING;
    const struct expr *e;
    TRY(pipe_append(ps, &stage_unwind, &ops, sizeof(*s), &s));
    buf_init(&s->out, ps->list->p->op.mem);
    buf_init(&s->other, ps->list->p->op.mem);
    if (spec.type == B_STRING) path = spec;
    else if (spec.type == B_DOCUMENT) TRY(read_fields(ps, bval_doc(spec), s, &path, &index));
    else
        return RAISE_CODE(ps->err, 15981, "expected either a string or an object as specification for $unwind stage, got %s",
                          btype_name(spec.type));
    struct slice text = path.type == B_STRING ? bval_string(path) : SLICE_LIT("");
    if (text.len == 0) return RAISE_CODE(ps->err, 28812, "no path specified to $unwind stage");
    if (text.p[0] != '$')
        return RAISE_CODE(ps->err, 28818, "path option to $unwind stage should be prefixed with a '$': %.*s", SLICE_ARGS(text));
    TRY(expr_parse(&ps->list->p->env.scope, path, &e, ps->err)); /* the rules of paths */
    TRY(path_parse(pipe_arena(ps), slice_of(text.p + 1, text.len - 1), &s->path, ps->err));
    if (index.type == B_MISSING) return ST_OK;
    s->has_index = true;
    struct slice name = bval_string(index);
    if (name.p[0] == '$')
        return RAISE_CODE(ps->err, 28822, "includeArrayIndex option to $unwind stage should not be prefixed with a '$': %.*s", SLICE_ARGS(name));
    return path_parse(pipe_arena(ps), name, &s->index_path, ps->err);
}

const struct stage_def stage_unwind = {"$unwind", STAGE_KEEPS_ORDER, parse};
