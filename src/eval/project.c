/* Projection; project.h is the contract.
 *
 * A projection is a tree by path (path_tree.h) whose leaves keep, drop, slice or search. It is walked beside the
 * document: what is kept is copied as it is, what leads on to something deeper is entered, arrays element by element
 * (and arrays in arrays, though nothing is sliced in there). In an inclusion, what the tree does not name goes; in an exclusion it stays. As in MongoDB, a
 * field found by $elemMatch stands after the others in an inclusion, and $meta after everything. */
#include "eval/project.h"

#include "base/codes.h"
#include "bson/build.h"
#include "bson/number.h"
#include "eval/describe.h"
#include "eval/path_tree.h"

enum leaf_kind { LEAF_KEEP, LEAF_DROP, LEAF_SLICE, LEAF_ELEM_MATCH, LEAF_META };

struct leaf {
    enum leaf_kind kind;
    struct path path;
    int64_t skip, limit; /* SLICE: skip < 0 counts from the end; limit < 0: all of the last -limit */
    bool has_skip;
    struct matcher query; /* ELEM_MATCH */
};

struct projection {
    const struct mem *mem;
    bool is_empty, is_inclusion, is_plain, keeps_id, has_meta, has_elem_match;
    struct path_node root;
    struct leaf *leaves;
    uint32_t leaf_count;
    struct path *paths;
    uint32_t path_count;
};

/* --- compiling ------------------------------------------------------------------------------------------------- */

enum {
    CODE_COLLISION_PREFIX = 31249,
    CODE_COLLISION_SAME = 31250,
    CODE_INCLUSION_IN_EXCLUSION = 31253,
    CODE_EXCLUSION_IN_INCLUSION = 31254,
    PARSE_DEPTH_MAX = 100
};

struct parse {
    struct projection *p;
    struct arena *arena;
    struct err *err;
    enum { TYPE_OPEN, TYPE_INCLUSION, TYPE_EXCLUSION } type;
    enum { ID_UNSAID, ID_KEPT, ID_DROPPED } id;
    struct leaf *leaves;
    uint32_t leaf_count, leaf_cap;
    bool has_slice, has_nested_id;
};

static status no_memory(struct err *err) { return RAISE(err, ST_NOMEM, "projection"); }

static status check_path(const struct path *path, struct err *err) {
    if (path->text.len == 0) return RAISE_CODE(err, 40352, "FieldPath cannot be constructed with empty string");
    for (uint32_t i = 0; i < path->part_count; i++) {
        struct slice name = path->parts[i].name;
        if (name.len == 0 && i + 1 == path->part_count)
            return RAISE_CODE(err, 40353, "FieldPath must not end with a '.'.");
        if (name.len == 0) return RAISE_CODE(err, 15998, "FieldPath field names may not be empty strings.");
        if (name.p[0] != '$') continue;
        if (name.len == 1 && i != 0)
            return RAISE(err, ST_UNSUPPORTED, "the positional projection '%.*s' is not supported",
                         SLICE_ARGS(path->text));
        return RAISE_CODE(err, 16410,
                          "FieldPath field names may not start with '$'. Consider using $getField or $setField.");
    }
    return ST_OK;
}

static status new_leaf(struct parse *ps, enum leaf_kind kind, const struct path *path, struct leaf **out) {
    if (ps->leaf_count == ps->leaf_cap) {
        uint32_t cap = ps->leaf_cap == 0 ? 8 : ps->leaf_cap * 2;
        struct leaf *leaves = arena_array(ps->arena, struct leaf, cap);
        if (leaves == NULL) return no_memory(ps->err);
        if (ps->leaf_count != 0) memcpy(leaves, ps->leaves, ps->leaf_count * sizeof(*leaves));
        ps->leaves = leaves;
        ps->leaf_cap = cap;
    }
    *out = &ps->leaves[ps->leaf_count++];
    **out = (struct leaf){.kind = kind, .path = *path};
    return ST_OK;
}

/* {path: 1} or {path: 0}. _id alone may differ from the rest. */
static status add_flag(struct parse *ps, const struct path *path, bool keep) {
    struct leaf *leaf;
    if (slice_equal(path->text, SLICE_LIT("_id"))) {
        ps->id = keep ? ID_KEPT : ID_DROPPED;
        return ST_OK;
    }
    if (slice_equal(path->parts[0].name, SLICE_LIT("_id"))) ps->has_nested_id = true;
    if (keep && ps->type == TYPE_EXCLUSION)
        return RAISE_CODE(ps->err, CODE_INCLUSION_IN_EXCLUSION,
                          "Cannot do inclusion on field %.*s in exclusion projection", SLICE_ARGS(path->text));
    if (!keep && ps->type == TYPE_INCLUSION)
        return RAISE_CODE(ps->err, CODE_EXCLUSION_IN_INCLUSION,
                          "Cannot do exclusion on field %.*s in inclusion projection", SLICE_ARGS(path->text));
    ps->type = keep ? TYPE_INCLUSION : TYPE_EXCLUSION;
    return new_leaf(ps, keep ? LEAF_KEEP : LEAF_DROP, path, &leaf);
}

/* NaN counts as 0, what is too large as the largest. */
static bool slice_number(struct bval v, int64_t *out) {
    if (!bval_is_number(v)) return false;
    struct bnum n = bnum_of(v);
    *out = 0;
    if (bnum_is_nan(n) || bnum_to_int64(n, out)) return true;
    *out = bnum_to_double(n) < 0 ? INT64_MIN : INT64_MAX;
    return true;
}

/* What is no $slice of find may be the expression $slice, which takes 2 or 3 arguments and is not supported. One of
 * numbers only is nobody's: the expression wants an array first. */
static status wrong_slice(struct parse *ps, const struct path *path, struct bval v) {
    bool are_numbers = true;
    struct biter it = biter_of(v.type == B_ARRAY ? bval_doc(v) : bdoc_empty);
    struct belem e;
    uint32_t count = 0;
    for (; biter_next(&it, &e); count++) are_numbers = are_numbers && bval_is_number(e.value);
    if (count < 2 || count > 3 || (count == 3 && are_numbers))
        return RAISE_CODE(ps->err, 28667,
                          "Invalid $slice syntax. The given syntax did not match the find() syntax because :: $slice "
                          "needs a number or an array of 2 elements");
    if (are_numbers)
        return RAISE_CODE(ps->err, 28724,
                          "Invalid $slice syntax. The given syntax did not match the find() syntax because :: $slice "
                          "takes two numbers, the second positive");
    return RAISE(ps->err, ST_UNSUPPORTED, "the expression $slice in the projection of '%.*s' is not supported",
                 SLICE_ARGS(path->text));
}

static status add_slice(struct parse *ps, const struct path *path, struct bval v) {
    struct leaf *leaf;
    ps->has_slice = true;
    TRY(new_leaf(ps, LEAF_SLICE, path, &leaf));
    if (slice_number(v, &leaf->limit)) return ST_OK;
    leaf->has_skip = v.type == B_ARRAY && bdoc_count(bval_doc(v)) == 2 &&
        slice_number(barray_at(bval_doc(v), 0), &leaf->skip) && slice_number(barray_at(bval_doc(v), 1), &leaf->limit) &&
        leaf->limit > 0;
    return leaf->has_skip ? ST_OK : wrong_slice(ps, path, v);
}

/* {"": {$elemMatch: query}}, for match_first_element. */
static status wrap_query(struct parse *ps, struct bval query, struct bdoc *out) {
    struct buf buf;
    struct bbuild b;
    buf_init(&buf, ps->p->mem);
    bbuild_begin(&b, &buf);
    struct bbuild sub = bbuild_open_doc(&b, SLICE_LIT(""));
    bbuild_value(&sub, SLICE_LIT("$elemMatch"), query);
    bbuild_close(&sub);
    struct bdoc d = bbuild_finish(&b);
    out->p = d.p != NULL ? arena_copy(ps->arena, d.p, d.len) : NULL;
    out->len = d.len;
    buf_release(&buf);
    return out->p == NULL ? no_memory(ps->err) : ST_OK;
}

static status add_elem_match(struct parse *ps, const struct path *path, struct bval v) {
    struct leaf *leaf;
    struct bdoc filter;
    struct matcher query;
    if (v.type != B_DOCUMENT)
        return RAISE_CODE(ps->err, 31274, "elemMatch: Invalid argument, object required, but got %s",
                          btype_name(v.type));
    if (path->part_count > 1) return RAISE_CODE(ps->err, 31275, "Cannot use $elemMatch projection on a nested field.");
    TRY(new_leaf(ps, LEAF_ELEM_MATCH, path, &leaf));
    TRY(wrap_query(ps, v, &filter));
    TRY(match_compile(ps->p->mem, ps->arena, filter, &query, ps->err));
    leaf->query = query;
    ps->p->has_elem_match = true;
    return ST_OK;
}

static status add_meta(struct parse *ps, const struct path *path, struct bval v) {
    struct leaf *leaf;
    struct slice what = v.type == B_STRING ? bval_string(v) : SLICE_NONE;
    if (!slice_equal(what, SLICE_LIT("textScore"))) {
        struct description d;
        return RAISE_CODE(ps->err, 17308, "Unsupported argument to $meta: %s", describe_value(&d, v));
    }
    if (path->part_count > 1)
        return RAISE(ps->err, ST_UNSUPPORTED, "$meta on the nested field '%.*s' is not supported",
                     SLICE_ARGS(path->text));
    ps->p->has_meta = true;
    return new_leaf(ps, LEAF_META, path, &leaf);
}

static status add_operator(struct parse *ps, const struct path *path, struct bdoc doc, struct belem e) {
    if (bdoc_count(doc) != 1)
        return RAISE_CODE(
            ps->err, 15983,
            "An object representing an expression must have exactly one field, in the projection of '%.*s'",
            SLICE_ARGS(path->text));
    if (slice_equal(e.name, SLICE_LIT("$slice"))) return add_slice(ps, path, e.value);
    if (slice_equal(e.name, SLICE_LIT("$elemMatch"))) return add_elem_match(ps, path, e.value);
    if (slice_equal(e.name, SLICE_LIT("$meta"))) return add_meta(ps, path, e.value);
    return RAISE(ps->err, ST_UNSUPPORTED, "the expression %.*s in the projection of '%.*s' is not supported",
                 SLICE_ARGS(e.name), SLICE_ARGS(path->text));
}

static status add_field(struct parse *ps, struct slice prefix, struct belem e, int depth);

static status add_nested(struct parse *ps, const struct path *path, struct bdoc doc, int depth) {
    struct biter it = biter_of(doc);
    struct belem e;
    if (!biter_next(&it, &e))
        return RAISE_CODE(ps->err, 51270,
                          "An empty sub-projection is not a valid value. Found empty object at path: %.*s",
                          SLICE_ARGS(path->text));
    if (e.name.len != 0 && e.name.p[0] == '$') return add_operator(ps, path, doc, e);
    if (depth >= PARSE_DEPTH_MAX) return RAISE_CODE(ps->err, CODE_Overflow, "the projection is nested too deeply");
    do TRY(add_field(ps, path->text, e, depth + 1));
    while (biter_next(&it, &e));
    return ST_OK;
}

static status add_field(struct parse *ps, struct slice prefix, struct belem e, int depth) {
    struct path path;
    struct slice text = e.name;
    if (prefix.len != 0) {
        uint8_t *joined = arena_alloc(ps->arena, prefix.len + 1 + e.name.len);
        if (joined == NULL) return no_memory(ps->err);
        memcpy(joined, prefix.p, prefix.len);
        joined[prefix.len] = '.';
        if (e.name.len != 0) memcpy(joined + prefix.len + 1, e.name.p, e.name.len);
        text = slice_of(joined, prefix.len + 1 + e.name.len);
    }
    TRY(path_parse(ps->arena, text, &path, ps->err));
    TRY(check_path(&path, ps->err));
    if (bval_is_number(e.value) || e.value.type == B_BOOL) return add_flag(ps, &path, bval_truthy(e.value));
    if (e.value.type == B_DOCUMENT) return add_nested(ps, &path, bval_doc(e.value), depth);
    return RAISE(ps->err, ST_UNSUPPORTED, "literals and field paths as projection of '%.*s' are not supported",
                 SLICE_ARGS(text));
}

/* What decides when neither 1 nor 0 was said of any other field: {_id: 1} includes, else $slice excludes, else
 * $elemMatch includes. */
static bool is_inclusion(const struct parse *ps) {
    if (ps->type != TYPE_OPEN) return ps->type == TYPE_INCLUSION;
    return ps->id == ID_KEPT || (ps->p->has_elem_match && !ps->has_slice);
}

static status add_id(struct parse *ps) {
    struct leaf *leaf;
    struct path path;
    bool drop = ps->id == ID_DROPPED;
    bool is_wanted = ps->p->is_inclusion ? ps->id == ID_KEPT || (ps->id == ID_UNSAID && !ps->has_nested_id) : drop;
    if (!is_wanted) return ST_OK;
    TRY(path_parse(ps->arena, SLICE_LIT("_id"), &path, ps->err));
    return new_leaf(ps, drop ? LEAF_DROP : LEAF_KEEP, &path, &leaf);
}

static status collide(const struct path_collision *c, struct err *err) {
    if (c->second->part_count <= c->first->part_count)
        return RAISE_CODE(err, CODE_COLLISION_SAME, "Path collision at %.*s", SLICE_ARGS(c->second->text));
    struct slice rest = c->second->text;
    rest.p = c->second->parts[c->first->part_count].name.p;
    rest.len -= (size_t) (rest.p - c->second->text.p);
    return RAISE_CODE(err, CODE_COLLISION_PREFIX, "Path collision at %.*s remaining portion %.*s",
                      SLICE_ARGS(c->second->text), SLICE_ARGS(rest));
}

static status finish(struct parse *ps) {
    struct projection *p = ps->p;
    struct path_collision collision;
    p->is_inclusion = is_inclusion(ps);
    p->is_plain = p->is_inclusion && !p->has_meta && !p->has_elem_match && !ps->has_slice;
    TRY(add_id(ps));
    struct path_place *places = arena_array(ps->arena, struct path_place, (size_t) ps->leaf_count + 1);
    p->paths = arena_array(ps->arena, struct path, (size_t) ps->leaf_count + 1);
    if (places == NULL || p->paths == NULL) return no_memory(ps->err);
    for (uint32_t i = 0; i < ps->leaf_count; i++) {
        places[i] = (struct path_place){&ps->leaves[i].path, &ps->leaves[i]};
        if (ps->leaves[i].kind == LEAF_KEEP) p->paths[p->path_count++] = ps->leaves[i].path;
    }
    TRY(path_tree_build(ps->arena, places, ps->leaf_count, &p->root, &collision, ps->err));
    return collision.found ? collide(&collision, ps->err) : ST_OK;
}

static void release_leaves(struct leaf *leaves, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        if (leaves[i].kind == LEAF_ELEM_MATCH && leaves[i].query.root != NULL) matcher_release(&leaves[i].query);
    }
}

status projection_compile(const struct mem *mem, struct arena *arena, struct bdoc doc, struct projection **out,
                          struct err *err) {
    struct projection *p = arena_new(arena, struct projection);
    if (p == NULL) return no_memory(err);
    p->mem = mem;
    p->is_empty = bdoc_is_empty(doc);
    struct parse ps = {.p = p, .arena = arena, .err = err};
    struct biter it = biter_of(doc);
    struct belem e;
    status st = ST_OK;
    while (st == ST_OK && biter_next(&it, &e)) st = add_field(&ps, SLICE_NONE, e, 0);
    if (st == ST_OK) st = finish(&ps);
    if (st != ST_OK) {
        release_leaves(ps.leaves, ps.leaf_count);
        return st;
    }
    p->leaves = ps.leaves;
    p->leaf_count = ps.leaf_count;
    *out = p;
    return ST_OK;
}

void projection_release(struct projection *p) {
    if (p != NULL) release_leaves(p->leaves, p->leaf_count);
}

bool projection_needs_text_score(const struct projection *p) { return p->has_meta; }

const struct path *projection_paths(const struct projection *p, uint32_t *count) {
    *count = p->is_plain ? p->path_count : 0;
    return p->is_plain ? p->paths : NULL;
}

/* --- applying -------------------------------------------------------------------------------------------------- */

/* `nested`: inside an array that is an array's element. */
static status project_fields(const struct projection *p, const struct path_node *node, struct bdoc doc, bool nested,
                             struct bbuild *out, struct err *err);

/* Copies elements [from, to) of the array. */
static void copy_elements(struct bdoc array, uint64_t from, uint64_t to, struct bbuild *out) {
    struct biter it = biter_of(array);
    struct belem e;
    for (uint64_t i = 0; i < to && biter_next(&it, &e); i++) {
        if (i >= from) bbuild_push(out, e.value);
    }
}

static void project_slice(const struct leaf *leaf, struct slice name, struct bval v, struct bbuild *out) {
    uint64_t count = bdoc_count(bval_doc(v)), from = 0, to = count;
    if (leaf->has_skip) {
        if (leaf->skip >= 0) from = (uint64_t) leaf->skip < count ? (uint64_t) leaf->skip : count;
        else from = leaf->skip > -(int64_t) count ? count - (uint64_t) -leaf->skip : 0;
        to = (uint64_t) leaf->limit < count - from ? from + (uint64_t) leaf->limit : count;
    } else if (leaf->limit >= 0) {
        to = (uint64_t) leaf->limit < count ? (uint64_t) leaf->limit : count;
    } else if (leaf->limit > -(int64_t) count) {
        from = count - (uint64_t) -leaf->limit;
    }
    struct bbuild array = bbuild_open_array(out, name);
    copy_elements(bval_doc(v), from, to, &array);
    bbuild_close(&array);
}

static status project_elem_match(const struct leaf *leaf, struct slice name, struct bval v, struct bbuild *out,
                                 struct err *err) {
    struct bval element = BVAL_MISSING;
    if (v.type != B_ARRAY) return ST_OK;
    TRY(match_first_element(&leaf->query, bval_doc(v), &element, err));
    if (element.type == B_MISSING) return ST_OK;
    struct bbuild array = bbuild_open_array(out, name);
    bbuild_push(&array, element);
    bbuild_close(&array);
    return ST_OK;
}

static status project_elements(const struct projection *p, const struct path_node *node, struct bdoc array, bool nested,
                               struct bbuild *out, struct err *err) {
    struct biter it = biter_of(array);
    struct belem e;
    while (biter_next(&it, &e)) {
        if (e.value.type == B_DOCUMENT) {
            struct bbuild sub = bbuild_push_doc(out);
            TRY(project_fields(p, node, bval_doc(e.value), nested, &sub, err));
            bbuild_close(&sub);
        } else if (e.value.type == B_ARRAY) {
            struct bbuild sub = bbuild_push_array(out);
            TRY(project_elements(p, node, bval_doc(e.value), true, &sub, err));
            bbuild_close(&sub);
        } else if (!p->is_inclusion) {
            bbuild_push(out, e.value);
        }
    }
    return ST_OK;
}

static status project_leaf(const struct projection *p, const struct leaf *leaf, const struct field *f, bool nested,
                           struct bbuild *out, struct err *err) {
    switch (leaf->kind) {
    case LEAF_KEEP: bbuild_value(out, f->name, f->value); return ST_OK;
    case LEAF_SLICE:
        if (f->value.type == B_ARRAY && !nested) project_slice(leaf, f->name, f->value, out);
        else bbuild_value(out, f->name, f->value);
        return ST_OK;
    case LEAF_ELEM_MATCH: return p->is_inclusion ? ST_OK : project_elem_match(leaf, f->name, f->value, out, err);
    default: return ST_OK;
    }
}

static status project_inner(const struct projection *p, const struct path_node *node, const struct field *f,
                            bool nested, struct bbuild *out, struct err *err) {
    if (f->value.type == B_DOCUMENT) {
        struct bbuild sub = bbuild_open_doc(out, f->name);
        TRY(project_fields(p, node, bval_doc(f->value), nested, &sub, err));
        bbuild_close(&sub);
    } else if (f->value.type == B_ARRAY) {
        struct bbuild sub = bbuild_open_array(out, f->name);
        TRY(project_elements(p, node, bval_doc(f->value), nested, &sub, err));
        bbuild_close(&sub);
    } else if (!p->is_inclusion) {
        bbuild_value(out, f->name, f->value);
    }
    return ST_OK;
}

static status project_fields(const struct projection *p, const struct path_node *node, struct bdoc doc, bool nested,
                             struct bbuild *out, struct err *err) {
    struct field_scan scan = field_scan_of(doc);
    struct field f;
    while (field_next(&scan, &f)) {
        const struct path_node *child = path_tree_find(node, &f);
        if (child == NULL) {
            if (!p->is_inclusion) bbuild_value(out, f.name, f.value);
        } else if (child->leaf != NULL) {
            TRY(project_leaf(p, child->leaf, &f, nested, out, err));
        } else {
            TRY(project_inner(p, child, &f, nested, out, err));
        }
    }
    return ST_OK;
}

/* What stands after the document's own fields. */
static status project_computed(const struct projection *p, struct bdoc doc, double text_score, struct bbuild *out,
                               struct err *err) {
    uint8_t bytes[8];
    memcpy(bytes, &text_score, 8);
    for (uint32_t i = 0; p->is_inclusion && p->has_elem_match && i < p->leaf_count; i++) {
        const struct leaf *leaf = &p->leaves[i];
        if (leaf->kind == LEAF_ELEM_MATCH)
            TRY(project_elem_match(leaf, leaf->path.text, bdoc_get(doc, leaf->path.text), out, err));
    }
    for (uint32_t i = 0; p->has_meta && i < p->leaf_count; i++) {
        if (p->leaves[i].kind == LEAF_META)
            bbuild_value(out, p->leaves[i].path.text, (struct bval){bytes, 8, B_DOUBLE});
    }
    return ST_OK;
}

status projection_apply(const struct projection *p, struct bdoc doc, double text_score, struct buf *out,
                        struct bdoc *result, struct err *err) {
    struct bbuild b;
    size_t start = out->len;
    bbuild_begin(&b, out);
    if (p->is_empty) {
        bbuild_elems(&b, doc);
    } else {
        status st = project_fields(p, &p->root, doc, false, &b, err);
        if (st == ST_OK) st = project_computed(p, doc, text_score, &b, err);
        if (st != ST_OK) {
            out->len = start;
            return st;
        }
    }
    struct bdoc d = bbuild_finish(&b);
    if (d.p == NULL) return no_memory(err);
    *result = d;
    return ST_OK;
}
