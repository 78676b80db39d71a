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

enum leaf_kind { LEAF_KEEP, LEAF_DROP, LEAF_SLICE, LEAF_ELEM_MATCH, LEAF_META, LEAF_EXPR };

struct leaf {
    enum leaf_kind kind;
    struct path path;
    int64_t skip, limit; /* SLICE: skip < 0 counts from the end; limit < 0: all of the last -limit */
    bool has_skip;
    struct matcher query;    /* ELEM_MATCH */
    const struct expr *expr; /* EXPR */
};

struct projection {
    const struct mem *mem;
    struct expr_env *env; /* NULL: there are no expressions */
    enum projection_kind kind;
    bool is_empty, is_inclusion, is_plain, keeps_id, has_meta, has_elem_match, has_expr;
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
    CODE_EXPRESSION_IN_EXCLUSION = 31252,
    CODE_UNKNOWN_EXPRESSION = 31325,
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
    bool has_slice, has_nested_id, has_id_expr;
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

/* {path: expression}. Any but $addFields's makes it an inclusion. */
static status add_expr(struct parse *ps, const struct path *path, struct bval v) {
    struct leaf *leaf;
    bool is_id = slice_equal(path->text, SLICE_LIT("_id"));
    if (ps->p->env == NULL)
        return RAISE(ps->err, ST_UNSUPPORTED, "an expression as projection of '%.*s' is not supported here",
                     SLICE_ARGS(path->text));
    if (ps->type == TYPE_EXCLUSION)
        return RAISE_CODE(ps->err, CODE_EXPRESSION_IN_EXCLUSION,
                          "Cannot use an expression %.*s in an exclusion projection", SLICE_ARGS(path->text));
    if (slice_equal(path->parts[0].name, SLICE_LIT("_id"))) ps->has_nested_id = true;
    if (ps->p->kind != PROJECTION_ADD_FIELDS && !is_id) ps->type = TYPE_INCLUSION;
    if (is_id && ps->p->kind != PROJECTION_ADD_FIELDS) ps->has_id_expr = true;
    ps->p->has_expr = true;
    TRY(new_leaf(ps, LEAF_EXPR, path, &leaf));
    const struct expr *e;
    TRY(expr_parse(&ps->p->env->scope, v, &e, ps->err));
    leaf->expr = e;
    return ST_OK;
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

/* What is no $slice of find may be the expression $slice (ST_NOT_FOUND), which takes 2 or 3 arguments. One of numbers
 * only is nobody's: the expression wants an array first. */
static status wrong_slice(struct parse *ps, struct bval v) {
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
    return ST_NOT_FOUND;
}

/* ST_NOT_FOUND: it is an expression. */
static status add_slice(struct parse *ps, const struct path *path, struct bval v) {
    struct leaf *leaf, slice = {.kind = LEAF_SLICE, .path = *path};
    if (!slice_number(v, &slice.limit)) {
        slice.has_skip = v.type == B_ARRAY && bdoc_count(bval_doc(v)) == 2 &&
            slice_number(barray_at(bval_doc(v), 0), &slice.skip) &&
            slice_number(barray_at(bval_doc(v), 1), &slice.limit) && slice.limit > 0;
        if (!slice.has_skip) return wrong_slice(ps, v);
    }
    ps->has_slice = true;
    TRY(new_leaf(ps, LEAF_SLICE, path, &leaf));
    *leaf = slice;
    return ST_OK;
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
    struct bval whole = {doc.p, doc.len, B_DOCUMENT};
    if (ps->p->kind == PROJECTION_FIND) {
        status st = ST_NOT_FOUND;
        if (slice_equal(e.name, SLICE_LIT("$slice"))) st = add_slice(ps, path, e.value);
        else if (slice_equal(e.name, SLICE_LIT("$elemMatch"))) st = add_elem_match(ps, path, e.value);
        else if (slice_equal(e.name, SLICE_LIT("$meta"))) st = add_meta(ps, path, e.value);
        if (st != ST_NOT_FOUND) return st;
    }
    if (ps->p->kind != PROJECTION_ADD_FIELDS && !expr_is_operator(e.name))
        return RAISE_CODE(ps->err, CODE_UNKNOWN_EXPRESSION, "Unknown expression %.*s", SLICE_ARGS(e.name));
    return add_expr(ps, path, whole);
}

static status add_field(struct parse *ps, struct slice prefix, struct belem e, int depth);

static status add_nested(struct parse *ps, const struct path *path, struct bdoc doc, int depth) {
    struct biter it = biter_of(doc);
    struct belem e;
    if (!biter_next(&it, &e) && ps->p->kind == PROJECTION_ADD_FIELDS)
        return add_expr(ps, path, (struct bval){doc.p, doc.len, B_DOCUMENT});
    if (bdoc_is_empty(doc))
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
    bool is_flag = bval_is_number(e.value) || e.value.type == B_BOOL;
    if (is_flag && ps->p->kind != PROJECTION_ADD_FIELDS) return add_flag(ps, &path, bval_truthy(e.value));
    if (e.value.type == B_DOCUMENT) return add_nested(ps, &path, bval_doc(e.value), depth);
    return add_expr(ps, &path, e.value);
}

/* What decides when neither 1 nor 0 was said of any other field: {_id: 1} includes, else $slice excludes, else
 * $elemMatch includes. */
static bool is_inclusion(const struct parse *ps) {
    if (ps->p->kind == PROJECTION_ADD_FIELDS) return false;
    if (ps->type != TYPE_OPEN) return ps->type == TYPE_INCLUSION;
    return ps->id == ID_KEPT || ps->has_id_expr || (ps->p->has_elem_match && !ps->has_slice);
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

/* Which nodes make fields, in the order of the specification; *makes: this one does. */
static status order_made(struct parse *ps, struct path_node *node, bool *makes) {
    const struct leaf *leaf = node->leaf;
    if (leaf != NULL) {
        *makes = leaf->kind == LEAF_EXPR;
        node->order = (uint32_t) (leaf - ps->leaves);
        return ST_OK;
    }
    node->order = UINT32_MAX;
    node->made = arena_array(ps->arena, const struct path_node *, (size_t) node->child_count + 1);
    if (node->made == NULL) return no_memory(ps->err);
    for (uint32_t i = 0; i < node->child_count; i++) {
        struct path_node *child = &node->children[i];
        bool child_makes = false;
        TRY(order_made(ps, child, &child_makes));
        if (child->order < node->order) node->order = child->order;
        if (!child_makes) continue;
        uint32_t at = node->made_count++;
        for (; at > 0 && node->made[at - 1]->order > child->order; at--) node->made[at] = node->made[at - 1];
        node->made[at] = child;
    }
    *makes = node->made_count != 0;
    return ST_OK;
}

static status finish(struct parse *ps) {
    struct projection *p = ps->p;
    struct path_collision collision;
    p->is_inclusion = is_inclusion(ps);
    p->is_plain = p->is_inclusion && !p->has_expr && !p->has_meta && !p->has_elem_match && !ps->has_slice;
    TRY(add_id(ps));
    struct path_place *places = arena_array(ps->arena, struct path_place, (size_t) ps->leaf_count + 1);
    p->paths = arena_array(ps->arena, struct path, (size_t) ps->leaf_count + 1);
    if (places == NULL || p->paths == NULL) return no_memory(ps->err);
    for (uint32_t i = 0; i < ps->leaf_count; i++) {
        places[i] = (struct path_place){&ps->leaves[i].path, &ps->leaves[i]};
        if (ps->leaves[i].kind == LEAF_KEEP) p->paths[p->path_count++] = ps->leaves[i].path;
    }
    TRY(path_tree_build(ps->arena, places, ps->leaf_count, &p->root, &collision, ps->err));
    if (collision.found) return collide(&collision, ps->err);
    bool makes;
    return p->has_expr ? order_made(ps, &p->root, &makes) : ST_OK;
}

static void release_leaves(struct leaf *leaves, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        if (leaves[i].kind == LEAF_ELEM_MATCH && leaves[i].query.root != NULL) matcher_release(&leaves[i].query);
    }
}

static status compile(struct parse *ps, struct bdoc doc, struct projection **out) {
    struct projection *p = ps->p;
    p->is_empty = bdoc_is_empty(doc);
    struct biter it = biter_of(doc);
    struct belem e;
    status st = ST_OK;
    while (st == ST_OK && biter_next(&it, &e)) st = add_field(ps, SLICE_NONE, e, 0);
    if (st == ST_OK) st = finish(ps);
    if (st != ST_OK) {
        release_leaves(ps->leaves, ps->leaf_count);
        return st;
    }
    p->leaves = ps->leaves;
    p->leaf_count = ps->leaf_count;
    *out = p;
    return ST_OK;
}

status projection_compile(const struct mem *mem, struct arena *arena, struct bdoc doc, struct projection **out,
                          struct err *err) {
    struct projection *p = arena_new(arena, struct projection);
    if (p == NULL) return no_memory(err);
    p->mem = mem;
    return compile(&(struct parse){.p = p, .arena = arena, .err = err}, doc, out);
}

status projection_compile_with(struct expr_env *env, enum projection_kind kind, struct bdoc doc,
                               struct projection **out, struct err *err) {
    struct projection *p = arena_new(env->scope.arena, struct projection);
    if (p == NULL) return no_memory(err);
    p->mem = env->scope.mem;
    p->env = env;
    p->kind = kind;
    return compile(&(struct parse){.p = p, .arena = env->scope.arena, .err = err}, doc, out);
}

void projection_release(struct projection *p) {
    if (p != NULL) release_leaves(p->leaves, p->leaf_count);
}

bool projection_needs_text_score(const struct projection *p) { return p->has_meta; }

bool projection_is_inclusion(const struct projection *p) { return p->is_inclusion; }

status projection_deps(const struct projection *p, struct expr_deps *deps, bool *keeps_others, struct err *err) {
    *keeps_others = !p->is_inclusion || p->is_empty;
    for (uint32_t i = 0; i < p->leaf_count; i++) {
        const struct leaf *leaf = &p->leaves[i];
        if (leaf->kind == LEAF_EXPR) TRY(expr_deps_add(deps, leaf->expr, err));
        /* A field made inside another one needs that one for what stands around it. */
        if (leaf->kind != LEAF_EXPR || leaf->path.part_count > 1)
            TRY(expr_deps_add_path(deps, leaf->kind == LEAF_EXPR ? leaf->path.parts[0].name : leaf->path.text, err));
    }
    return ST_OK;
}

/* Is one the other, or a prefix of it up to a dot? */
static bool overlap(struct slice a, struct slice b) {
    struct slice s = a.len < b.len ? a : b, l = a.len < b.len ? b : a;
    return slice_starts_with(l, s) && (l.len == s.len || l.p[s.len] == '.');
}

bool projection_touches(const struct projection *p, struct slice path) {
    bool named = false;
    for (uint32_t i = 0; i < p->leaf_count; i++) {
        if (!overlap(p->leaves[i].path.text, path)) continue;
        if (p->leaves[i].kind != LEAF_KEEP) return true;
        named = named || slice_starts_with(path, p->leaves[i].path.text);
    }
    return p->is_inclusion && !named;
}

const struct path *projection_paths(const struct projection *p, uint32_t *count) {
    *count = p->is_plain ? p->path_count : 0;
    return p->is_plain ? p->paths : NULL;
}

/* --- applying -------------------------------------------------------------------------------------------------- */

static status make_field(const struct projection *p, const struct path_node *node, struct bbuild *out, struct err *err);

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

/* A field made anew: its value, or a document of what is made below it. */
static status make_field(const struct projection *p, const struct path_node *node, struct bbuild *out,
                         struct err *err) {
    const struct leaf *leaf = node->leaf;
    if (leaf != NULL) {
        struct bval v;
        TRY(expr_eval(&p->env->run, leaf->expr, &v));
        bbuild_value(out, node->name.name, v);
        return ST_OK;
    }
    struct bbuild sub = bbuild_open_doc(out, node->name.name);
    for (uint32_t i = 0; i < node->made_count; i++) TRY(make_field(p, node->made[i], &sub, err));
    bbuild_close(&sub);
    return ST_OK;
}

/* A document made in the place of what is none. */
static status make_document(const struct projection *p, const struct path_node *node, struct bbuild *sub,
                            struct err *err) {
    for (uint32_t i = 0; i < node->made_count; i++) TRY(make_field(p, node->made[i], sub, err));
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
        } else if (p->kind == PROJECTION_ADD_FIELDS && node->made_count != 0) {
            struct bbuild sub = bbuild_push_doc(out);
            TRY(make_document(p, node, &sub, err));
            bbuild_close(&sub);
        } else if (!p->is_inclusion) {
            bbuild_push(out, e.value);
        }
    }
    return ST_OK;
}

/* A field of the document that something is said of. In $addFields a new value takes the old one's place; in an
 * inclusion it stands after the fields kept. */
static status project_leaf(const struct projection *p, const struct path_node *node, const struct field *f, bool nested,
                           struct bbuild *out, struct err *err) {
    const struct leaf *leaf = node->leaf;
    switch (leaf->kind) {
    case LEAF_KEEP: bbuild_value(out, f->name, f->value); return ST_OK;
    case LEAF_SLICE:
        if (f->value.type == B_ARRAY && !nested) project_slice(leaf, f->name, f->value, out);
        else bbuild_value(out, f->name, f->value);
        return ST_OK;
    case LEAF_ELEM_MATCH: return p->is_inclusion ? ST_OK : project_elem_match(leaf, f->name, f->value, out, err);
    case LEAF_EXPR: return p->is_inclusion ? ST_OK : make_field(p, node, out, err);
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
    } else if (node->made_count != 0) {
        return make_field(p, node, out, err);
    } else if (!p->is_inclusion) {
        bbuild_value(out, f->name, f->value);
    }
    return ST_OK;
}

/* The fields that are made and were not met in the document. */
static status make_missing(const struct projection *p, const struct path_node *node, struct bdoc doc,
                           struct bbuild *out, struct err *err) {
    for (uint32_t i = 0; i < node->made_count; i++) {
        const struct path_node *child = node->made[i];
        bool after = p->is_inclusion && child->leaf != NULL; /* whether it was there or not */
        if (!after && field_get(doc, &child->name).type != B_MISSING) continue;
        TRY(make_field(p, child, out, err));
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
            TRY(project_leaf(p, child, &f, nested, out, err));
        } else {
            TRY(project_inner(p, child, &f, nested, out, err));
        }
    }
    return node->made_count != 0 ? make_missing(p, node, doc, out, err) : ST_OK;
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
    if (p->has_expr) {
        p->env->run.root = doc;
        p->env->run.err = err;
    }
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
