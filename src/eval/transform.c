/* One document made of another; see transform.h. All but $replaceRoot and $replaceWith are projections (project.h). */
#include "eval/transform.h"

#include "base/codes.h"
#include "bson/build.h"
#include "eval/describe.h"

static status parse_project(struct transform *t, const char *name, struct bval spec, struct err *err) {
    (void) name;
    if (spec.type != B_DOCUMENT) return RAISE_CODE(err, 15969, "$project specification must be an object");
    if (bdoc_is_empty(bval_doc(spec)))
        return RAISE_CODE(err, 51272,
                          "Invalid $project :: caused by :: projection specification must have at least one field");
    return projection_compile_with(t->env, PROJECTION_STAGE, bval_doc(spec), &t->projection, err);
}

static status parse_add_fields(struct transform *t, const char *name, struct bval spec, struct err *err) {
    if (spec.type != B_DOCUMENT)
        return RAISE_CODE(err, 40272, "%s specification stage must be an object, got %s", name, btype_name(spec.type));
    return projection_compile_with(t->env, PROJECTION_ADD_FIELDS, bval_doc(spec), &t->projection, err);
}

/* Adds {name: 0} for a name or for each of an array of names. */
static status drop_names(struct bbuild *b, struct bval spec, struct err *err) {
    struct biter it = biter_of(spec.type == B_ARRAY ? bval_doc(spec) : bdoc_empty);
    struct belem e;
    if (spec.type == B_STRING) bbuild_value(b, bval_string(spec), (struct bval){(const uint8_t *) "\0\0\0", 4, B_INT32});
    while (biter_next(&it, &e)) {
        if (e.value.type != B_STRING)
            return RAISE_CODE(err, 31120,
                              "$unset specification must be a string or an array containing only string values");
        bbuild_value(b, bval_string(e.value), (struct bval){(const uint8_t *) "\0\0\0", 4, B_INT32});
    }
    return ST_OK;
}

static status parse_unset(struct transform *t, const char *name, struct bval spec, struct err *err) {
    struct buf buf;
    struct bbuild b;
    (void) name;
    if (spec.type != B_STRING && spec.type != B_ARRAY)
        return RAISE_CODE(err, 31002, "$unset specification must be a string or an array");
    if (spec.type == B_ARRAY && bdoc_is_empty(bval_doc(spec)))
        return RAISE_CODE(err, 31119, "$unset specification must be a string or an array with at least one field");
    buf_init(&buf, t->env->scope.mem);
    bbuild_begin(&b, &buf);
    status st = drop_names(&b, spec, err);
    struct bdoc names = bbuild_finish(&b);
    if (names.p != NULL) names.p = arena_copy(t->env->scope.arena, names.p, names.len);
    buf_release(&buf);
    TRY(st);
    if (names.p == NULL) return RAISE(err, ST_NOMEM, "$unset");
    return projection_compile_with(t->env, PROJECTION_STAGE, names, &t->projection, err);
}

static status parse_replace_with(struct transform *t, const char *name, struct bval spec, struct err *err) {
    (void) name;
    return expr_parse(&t->env->scope, spec, &t->root, err);
}

static status parse_replace_root(struct transform *t, const char *name, struct bval spec, struct err *err) {
    struct bval root = BVAL_MISSING;
    if (spec.type != B_DOCUMENT)
        return RAISE_CODE(err, 40229, "expected an object as specification for $replaceRoot stage, got %s",
                          btype_name(spec.type));
    struct biter it = biter_of(bval_doc(spec));
    struct belem e;
    while (biter_next(&it, &e)) {
        if (!slice_equal(e.name, SLICE_LIT("newRoot")))
            return RAISE_CODE(err, 40415, "BSON field '$replaceRoot.%.*s' is an unknown field.", SLICE_ARGS(e.name));
        root = e.value;
    }
    if (root.type == B_MISSING)
        return RAISE_CODE(err, 40414, "BSON field '$replaceRoot.newRoot' is missing but a required field");
    return parse_replace_with(t, name, root, err);
}

status transform_compile(struct expr_env *env, struct slice name, struct bval spec, struct transform *out,
                         struct err *err) {
    static const struct {
        const char *name;
        status (*parse)(struct transform *t, const char *name, struct bval spec, struct err *err);
    } rows[] = {
        {"$project", parse_project},         {"$addFields", parse_add_fields},
        {"$set", parse_add_fields},          {"$unset", parse_unset},
        {"$replaceRoot", parse_replace_root}, {"$replaceWith", parse_replace_with},
    };
    *out = (struct transform){.env = env};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (slice_equal(name, slice_str(rows[i].name))) return rows[i].parse(out, rows[i].name, spec, err);
    }
    return ST_NOT_FOUND;
}

void transform_release(struct transform *t) {
    if (t->projection != NULL) projection_release(t->projection);
    *t = (struct transform){0};
}

static status replace(const struct transform *t, struct bdoc doc, struct buf *out, struct bdoc *result,
                      struct err *err) {
    struct expr_run *x = &t->env->run;
    struct bval v;
    x->root = doc;
    x->err = err;
    TRY(expr_eval(x, t->root, &v));
    if (v.type != B_DOCUMENT) {
        struct description d;
        return RAISE_CODE(err, 40228,
                          "'newRoot' expression  must evaluate to an object, but resulting value was: %s. Type of "
                          "resulting value: '%s'.",
                          describe_value(&d, v), btype_name(v.type));
    }
    size_t start = out->len;
    if (!buf_append(out, v.p, v.len)) return RAISE(err, ST_NOMEM, "$replaceRoot");
    *result = bdoc_of(out->p + start);
    return ST_OK;
}

status transform_apply(const struct transform *t, struct bdoc doc, struct buf *out, struct bdoc *result,
                       struct err *err) {
    if (t->projection == NULL) return replace(t, doc, out, result, err);
    return projection_apply(t->projection, doc, t->env->run.score, out, result, err);
}

status transform_deps(const struct transform *t, struct expr_deps *deps, bool *ends, struct err *err) {
    bool keeps_others = false;
    if (t->projection == NULL) TRY(expr_deps_add(deps, t->root, err));
    else TRY(projection_deps(t->projection, deps, &keeps_others, err));
    *ends = !keeps_others;
    return ST_OK;
}

bool transform_touches(const struct transform *t, struct slice path) {
    return t->projection == NULL || projection_touches(t->projection, path);
}
