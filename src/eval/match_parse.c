/* From a filter to a match tree; match.h tells the normal form, match.c evaluates it.
 *
 * Operators are rows of two tables at the end: those that stand where a field name could ($and), and those that stand
 * under a field ($gt). A row without a function is an operator that MongoDB has and elmo does not: it is refused by
 * name. Every parser appends the conjuncts it found to a list, which is what flattens AND. */
#include "base/codes.h"
#include "bson/compare.h"
#include "bson/number.h"
#include "eval/describe.h"
#include "eval/expr.h"
#include "eval/match_internal.h"
#include "eval/regex.h"
#include "eval/sort.h"

enum { TREE_DEPTH_MAX = 100 }; /* MongoDB's limit of nested operators */

/* Where a filter stands: $text may stand only where its truth is needed for the whole. */
enum place { PLACE_TOP, PLACE_OR, PLACE_NOR, PLACE_ELEMENT };

struct parse {
    struct arena *arena;
    struct matcher *m;
    struct err *err;
    uint32_t depth;
    enum place place;
};

struct list {
    struct match_node **nodes;
    uint32_t count, cap;
};

/* The predicate being parsed: {path: {..., name: value, ...}} */
struct predicate {
    const struct path *path;
    struct slice name;
    struct bval value;
    struct bdoc all; /* the document around it */
};

struct field_op {
    const char *name;
    status (*parse)(struct parse *ps, const struct predicate *p, enum match_op op, struct list *out);
    enum match_op op;
};

struct tree_op {
    const char *name;
    status (*parse)(struct parse *ps, struct belem e, enum match_op op, struct list *out);
    enum match_op op;
};

static const struct field_op *find_field_op(struct slice name);
static const struct tree_op *find_tree_op(struct slice name);
static status parse_filter(struct parse *ps, struct bdoc filter, struct list *out);
static status parse_predicates(struct parse *ps, const struct path *path, struct bdoc doc, struct list *out);

/* --- nodes ----------------------------------------------------------------------------------------------------- */

static status no_memory(struct parse *ps) { return RAISE(ps->err, ST_NOMEM, "query"); }

static status append(struct parse *ps, struct list *list, struct match_node *node) {
    if (list->count == list->cap) {
        uint32_t cap = list->cap == 0 ? 4 : list->cap * 2;
        struct match_node **nodes = arena_array(ps->arena, struct match_node *, cap);
        if (nodes == NULL) return no_memory(ps);
        if (list->count != 0) memcpy(nodes, list->nodes, list->count * sizeof(struct match_node *));
        list->nodes = nodes;
        list->cap = cap;
    }
    list->nodes[list->count++] = node;
    return ST_OK;
}

static status new_node(struct parse *ps, enum match_op op, const struct path *path, struct match_node **out) {
    struct match_node *n = arena_new(ps->arena, struct match_node);
    if (n == NULL) return no_memory(ps);
    n->op = op;
    if (path != NULL) n->path = *path;
    *out = n;
    return ST_OK;
}

static status new_leaf(struct parse *ps, enum match_op op, const struct path *path, struct list *out,
                       struct match_node **node) {
    TRY(new_node(ps, op, path, node));
    return append(ps, out, *node);
}

/* A node over children; an AND or OR of one is that one. */
static status join(struct parse *ps, enum match_op op, struct list *list, struct match_node **out) {
    if (list->count == 1 && (op == MATCH_AND || op == MATCH_OR)) {
        *out = list->nodes[0];
        return ST_OK;
    }
    if (op == MATCH_AND) return match_and(ps->arena, list->nodes, list->count, out, ps->err);
    TRY(new_node(ps, op, NULL, out));
    (*out)->children = list->nodes;
    (*out)->child_count = list->count;
    return ST_OK;
}

static status append_not(struct parse *ps, struct match_node *child, struct list *out) {
    if (child->op == MATCH_NOT) return append(ps, out, child->children[0]);
    struct list one = {0};
    struct match_node *n;
    TRY(append(ps, &one, child));
    TRY(join(ps, MATCH_NOT, &one, &n));
    return append(ps, out, n);
}

/* --- walks ----------------------------------------------------------------------------------------------------- */

/* The one top-level field that a node reads, NULL when there are several or none. */
static const struct path_part *first_part(const struct match_node *n) {
    if (match_is_leaf(n->op)) return n->path.part_count != 0 ? &n->path.parts[0] : NULL;
    if (n->op > MATCH_NOT || n->child_count == 0) return NULL;
    const struct path_part *part = first_part(n->children[0]);
    for (uint32_t i = 1; part != NULL && i < n->child_count; i++) {
        const struct path_part *other = first_part(n->children[i]);
        if (other == NULL || !slice_equal(part->name, other->name)) return NULL;
    }
    return part;
}

static struct walk_field *field_for(struct match_walk *w, const struct match_node *n) {
    const struct path_part *part = first_part(n);
    if (part == NULL) return NULL;
    for (uint32_t i = 0; i < w->field_count; i++) {
        if (slice_equal(w->fields[i].name.name, part->name)) return &w->fields[i];
    }
    if (w->field_count == WALK_FIELDS_MAX) return NULL;
    w->fields[w->field_count].name = field_name_of(part->name);
    return &w->fields[w->field_count++];
}

/* Two passes: count what each group gets, then share out one array. */
static bool make_walk(struct arena *arena, struct match_node *and) {
    struct match_walk *w = arena_new(arena, struct match_walk);
    uint32_t n = and->child_count, fields_max = n < WALK_FIELDS_MAX ? n : WALK_FIELDS_MAX;
    struct match_node **shared = arena_array(arena, struct match_node *, n);
    struct walk_field **owner = arena_array(arena, struct walk_field *, n);
    if (w == NULL || shared == NULL || owner == NULL) return false;
    w->fields = arena_array(arena, struct walk_field, fields_max);
    if (w->fields == NULL) return false;
    for (uint32_t i = 0; i < n; i++) {
        owner[i] = field_for(w, and->children[i]);
        if (owner[i] != NULL) owner[i]->node_count++;
    }
    for (uint32_t i = 0; i < w->field_count; i++) {
        w->fields[i].nodes = shared;
        shared += w->fields[i].node_count;
        w->fields[i].node_count = 0;
    }
    w->rest = shared;
    for (uint32_t i = 0; i < n; i++) {
        if (owner[i] != NULL) owner[i]->nodes[owner[i]->node_count++] = and->children[i];
        else w->rest[w->rest_count++] = and->children[i];
    }
    and->walk = w;
    return true;
}

status match_and(struct arena *arena, struct match_node **nodes, uint32_t count, struct match_node **out,
                 struct err *err) {
    struct match_node *n = arena_new(arena, struct match_node);
    if (n == NULL) return RAISE(err, ST_NOMEM, "query");
    n->op = MATCH_AND;
    n->children = nodes;
    n->child_count = count;
    if (count != 0 && !make_walk(arena, n)) return RAISE(err, ST_NOMEM, "query");
    *out = n;
    return ST_OK;
}

/* --- comparisons ----------------------------------------------------------------------------------------------- */

static status append_regex(struct parse *ps, const struct path *path, struct slice pattern, struct slice options,
                           struct list *out) {
    struct match_node *n;
    struct match_regex *regex;
    TRY(regex_compile(ps->m->mem, ps->arena, pattern, options, &regex, ps->err));
    regex_chain(regex, &ps->m->regexes);
    TRY(new_leaf(ps, MATCH_REGEX, path, out, &n));
    n->regex = regex;
    return ST_OK;
}

static status append_compare(struct parse *ps, const struct path *path, enum match_op op, struct bval value,
                             struct list *out) {
    struct match_node *n;
    if (value.type == B_UNDEFINED) return RAISE_CODE(ps->err, CODE_BadValue, "cannot compare to undefined");
    TRY(new_leaf(ps, op, path, out, &n));
    n->value = value;
    n->rank = btype_rank(value.type);
    return ST_OK;
}

static status parse_compare(struct parse *ps, const struct predicate *p, enum match_op op, struct list *out) {
    if (p->value.type == B_REGEX && op != MATCH_EQ)
        return RAISE_CODE(ps->err, CODE_BadValue, "Can't have RegEx as arg to predicate over field '%.*s'.",
                          SLICE_ARGS(p->path->text));
    return append_compare(ps, p->path, op, p->value, out);
}

static status parse_ne(struct parse *ps, const struct predicate *p, enum match_op op, struct list *out) {
    struct list one = {0};
    if (p->value.type == B_REGEX) return RAISE_CODE(ps->err, CODE_BadValue, "Can't have regex as arg to $ne.");
    TRY(append_compare(ps, p->path, op, p->value, &one));
    return append_not(ps, one.nodes[0], out);
}

/* Fills the node's values, ascending and distinct. */
static status sort_values(struct parse *ps, struct match_node *n, struct bdoc array) {
    uint32_t cap = bdoc_count(array), count = 0;
    struct sort_item *items = arena_array(ps->arena, struct sort_item, 2 * (size_t) cap + 1);
    n->values = arena_array(ps->arena, struct bval, cap + 1);
    if (items == NULL || n->values == NULL) return no_memory(ps);
    struct biter it = biter_of(array);
    struct belem e;
    while (biter_next(&it, &e)) {
        if (e.value.type != B_REGEX) items[count++].value = e.value;
    }
    sort_items(items, items + cap, count, 1);
    for (uint32_t i = 0; i < count; i++) {
        if (i == 0 || !bval_equal(items[i].value, items[i - 1].value)) n->values[n->value_count++] = items[i].value;
    }
    return ST_OK;
}

static bool has_operator_name(struct bval v) {
    if (v.type != B_DOCUMENT) return false;
    struct biter it = biter_of(bval_doc(v));
    struct belem e;
    return biter_next(&it, &e) && e.name.len != 0 && e.name.p[0] == '$';
}

/* {$ref: ..., $id: ...} is a value, a reference, and no predicate. */
static bool is_reference(struct bdoc d) {
    return bdoc_get_str(d, "$ref").type != B_MISSING && bdoc_get_str(d, "$id").type != B_MISSING;
}

static bool is_predicate(struct bval v) { return has_operator_name(v) && !is_reference(bval_doc(v)); }

static status parse_in(struct parse *ps, const struct predicate *p, enum match_op op, struct list *out) {
    struct match_node *n = NULL;
    struct list regexes = {0};
    if (p->value.type != B_ARRAY) return RAISE_CODE(ps->err, CODE_BadValue, "%.*s needs an array", SLICE_ARGS(p->name));
    struct biter it = biter_of(bval_doc(p->value));
    struct belem e;
    while (biter_next(&it, &e)) {
        if (is_predicate(e.value))
            return RAISE_CODE(ps->err, CODE_BadValue, "cannot nest $ under %.*s", SLICE_ARGS(p->name));
        if (e.value.type == B_UNDEFINED)
            return RAISE_CODE(ps->err, CODE_BadValue, "InMatchExpression equality cannot be undefined");
        if (e.value.type == B_REGEX)
            TRY(append_regex(ps, p->path, bval_regex_pattern(e.value), bval_regex_options(e.value), &regexes));
    }
    TRY(new_node(ps, op, p->path, &n));
    TRY(sort_values(ps, n, bval_doc(p->value)));
    if (n->value_count == 1 && regexes.count == 0) return append_compare(ps, p->path, MATCH_EQ, n->values[0], out);
    if (n->value_count == 0 && regexes.count == 1) return append(ps, out, regexes.nodes[0]);
    n->children = regexes.nodes;
    n->child_count = regexes.count;
    return append(ps, out, n);
}

static status parse_nin(struct parse *ps, const struct predicate *p, enum match_op op, struct list *out) {
    struct list one = {0};
    TRY(parse_in(ps, p, op, &one));
    return append_not(ps, one.nodes[0], out);
}

/* --- other predicates ------------------------------------------------------------------------------------------ */

static status parse_exists(struct parse *ps, const struct predicate *p, enum match_op op, struct list *out) {
    struct match_node *n;
    TRY(new_leaf(ps, op, p->path, out, &n));
    n->exists = bval_truthy(p->value);
    return ST_OK;
}

static status add_type_number(struct parse *ps, struct bval v, uint64_t *set) {
    struct description d;
    int64_t code;
    if (!bnum_to_int64_exact(bnum_of(v), &code))
        return RAISE_CODE(ps->err, CODE_BadValue, "Invalid numerical type code: %s", describe_value(&d, v));
    if (code == 0)
        return RAISE_CODE(ps->err, CODE_BadValue, "Invalid numerical type code: 0. Instead use {$exists:false}.");
    bool is_known = (code >= B_DOUBLE && code <= B_DECIMAL) || code == B_MAX_KEY || code == -1;
    if (!is_known) return RAISE_CODE(ps->err, CODE_BadValue, "Invalid numerical type code: %lld", (long long) code);
    *set |= match_type_bit((uint8_t) code);
    return ST_OK;
}

static status add_type(struct parse *ps, struct bval v, uint64_t *set) {
    uint8_t type;
    if (bval_is_number(v)) return add_type_number(ps, v, set);
    if (v.type != B_STRING)
        return RAISE_CODE(ps->err, CODE_TypeMismatch, "type must be represented as a number or a string");
    struct slice name = bval_string(v);
    if (slice_equal(name, SLICE_LIT("number"))) {
        *set |=
            match_type_bit(B_INT32) | match_type_bit(B_INT64) | match_type_bit(B_DOUBLE) | match_type_bit(B_DECIMAL);
        return ST_OK;
    }
    if (!btype_from_name(name, &type) || type == B_MISSING)
        return RAISE_CODE(ps->err, CODE_BadValue, "Unknown type name alias: %.*s", SLICE_ARGS(name));
    *set |= match_type_bit(type);
    return ST_OK;
}

static status parse_type(struct parse *ps, const struct predicate *p, enum match_op op, struct list *out) {
    struct match_node *n;
    TRY(new_leaf(ps, op, p->path, out, &n));
    if (p->value.type != B_ARRAY) return add_type(ps, p->value, &n->type_set);
    struct biter it = biter_of(bval_doc(p->value));
    struct belem e;
    while (biter_next(&it, &e)) TRY(add_type(ps, e.value, &n->type_set));
    if (n->type_set == 0)
        return RAISE_CODE(ps->err, CODE_FailedToParse, "%.*s must match at least one type", SLICE_ARGS(p->path->text));
    return ST_OK;
}

static status parse_size(struct parse *ps, const struct predicate *p, enum match_op op, struct list *out) {
    struct description d;
    struct match_node *n;
    const char *fault = NULL;
    int64_t size = 0;
    if (!bval_is_number(p->value)) fault = "Expected a number in";
    else if (!bnum_is_integral(bnum_of(p->value))) fault = "Expected an integer";
    else if (!bnum_to_int64_exact(bnum_of(p->value), &size)) fault = "Cannot represent as a 64-bit integer";
    else if (size < 0) fault = "Expected a non-negative number in";
    if (fault != NULL)
        return RAISE_CODE(ps->err, CODE_BadValue, "Failed to parse $size. %s: %s", fault,
                          describe_field(&d, p->name, p->value));
    TRY(new_leaf(ps, op, p->path, out, &n));
    n->size = size;
    return ST_OK;
}

static status mod_operand(struct parse *ps, struct bval v, const char *which, int64_t *out) {
    struct description d;
    if (bval_is_number(v) && bnum_to_int64(bnum_of(v), out)) return ST_OK;
    if (!bval_is_number(v)) return RAISE_CODE(ps->err, CODE_BadValue, "malformed mod, %s not a number", which);
    return RAISE_CODE(ps->err, CODE_BadValue,
                      "malformed mod, %s value is invalid :: caused by :: Unable to coerce %s to a 64-bit integer",
                      which, describe_value(&d, v));
}

static status parse_mod(struct parse *ps, const struct predicate *p, enum match_op op, struct list *out) {
    struct match_node *n;
    if (p->value.type != B_ARRAY) return RAISE_CODE(ps->err, CODE_BadValue, "malformed mod, needs to be an array");
    uint32_t count = bdoc_count(bval_doc(p->value));
    if (count < 2) return RAISE_CODE(ps->err, CODE_BadValue, "malformed mod, not enough elements");
    if (count > 2) return RAISE_CODE(ps->err, CODE_BadValue, "malformed mod, too many elements");
    TRY(new_leaf(ps, op, p->path, out, &n));
    TRY(mod_operand(ps, barray_at(bval_doc(p->value), 0), "divisor", &n->divisor));
    TRY(mod_operand(ps, barray_at(bval_doc(p->value), 1), "remainder", &n->remainder));
    if (n->divisor == 0) return RAISE_CODE(ps->err, CODE_BadValue, "divisor cannot be 0");
    return ST_OK;
}

static status parse_regex(struct parse *ps, const struct predicate *p, enum match_op op, struct list *out) {
    (void) op;
    struct slice pattern, options = SLICE_LIT("");
    struct bval given = bdoc_get_str(p->all, "$options");
    if (p->value.type == B_REGEX) {
        pattern = bval_regex_pattern(p->value);
        options = bval_regex_options(p->value);
    } else if (p->value.type == B_STRING) {
        pattern = bval_string(p->value);
    } else {
        return RAISE_CODE(ps->err, CODE_BadValue, "$regex has to be a string");
    }
    if (given.type != B_MISSING) {
        if (given.type != B_STRING) return RAISE_CODE(ps->err, CODE_BadValue, "$options has to be a string");
        if (options.len != 0) return RAISE_CODE(ps->err, 51075, "options set in both $regex and $options");
        options = bval_string(given);
    }
    return append_regex(ps, p->path, pattern, options, out);
}

/* $regex reads it. */
static status parse_options(struct parse *ps, const struct predicate *p, enum match_op op, struct list *out) {
    (void) op;
    (void) out;
    if (bdoc_get_str(p->all, "$regex").type == B_MISSING)
        return RAISE_CODE(ps->err, CODE_BadValue, "$options needs a $regex");
    return ST_OK;
}

/* Predicates on the element itself, or a query on its fields? Operators that take field names decide for the second. */
static bool speaks_of_value(struct bval v) {
    if (!is_predicate(v)) return false;
    struct biter it = biter_of(bval_doc(v));
    struct belem e = {0};
    (void) biter_next(&it, &e);
    return find_tree_op(e.name) == NULL || slice_equal(e.name, SLICE_LIT("$comment"));
}

static status parse_elem_match(struct parse *ps, const struct predicate *p, enum match_op op, struct list *out) {
    struct match_node *n;
    struct list list = {0};
    struct path none = {0};
    if (p->value.type != B_DOCUMENT) return RAISE_CODE(ps->err, CODE_BadValue, "$elemMatch needs an Object");
    bool of_value = speaks_of_value(p->value);
    enum place place = ps->place;
    ps->place = PLACE_ELEMENT;
    TRY(of_value ? parse_predicates(ps, &none, bval_doc(p->value), &list)
                 : parse_filter(ps, bval_doc(p->value), &list));
    ps->place = place;
    TRY(new_leaf(ps, of_value ? MATCH_ELEM_MATCH_VALUE : op, p->path, out, &n));
    n->children = arena_array(ps->arena, struct match_node *, 1);
    if (n->children == NULL) return no_memory(ps);
    n->child_count = 1;
    return join(ps, MATCH_AND, &list, &n->children[0]);
}

static status parse_all_elem_match(struct parse *ps, const struct predicate *p, struct list *out) {
    struct biter it = biter_of(bval_doc(p->value));
    struct belem e, inner;
    while (biter_next(&it, &e)) {
        struct biter of_e = biter_of(e.value.type == B_DOCUMENT ? bval_doc(e.value) : bdoc_empty);
        if (!biter_next(&of_e, &inner) || !slice_equal(inner.name, SLICE_LIT("$elemMatch")))
            return RAISE_CODE(ps->err, CODE_BadValue, "$all/$elemMatch has to be consistent");
        struct predicate sub = {p->path, inner.name, inner.value, bval_doc(e.value)};
        TRY(parse_elem_match(ps, &sub, MATCH_ELEM_MATCH_OBJECT, out));
    }
    return ST_OK;
}

static status parse_all(struct parse *ps, const struct predicate *p, enum match_op op, struct list *out) {
    if (p->value.type != B_ARRAY) return RAISE_CODE(ps->err, CODE_BadValue, "$all needs an array");
    struct biter it = biter_of(bval_doc(p->value));
    struct belem e, inner;
    bool is_first = true;
    while (biter_next(&it, &e)) {
        if (is_first && has_operator_name(e.value)) {
            struct biter of_e = biter_of(bval_doc(e.value));
            if (biter_next(&of_e, &inner) && slice_equal(inner.name, SLICE_LIT("$elemMatch")))
                return parse_all_elem_match(ps, p, out);
        }
        is_first = false;
        if (is_predicate(e.value)) return RAISE_CODE(ps->err, CODE_BadValue, "no $ expressions in $all");
        if (e.value.type == B_REGEX)
            TRY(append_regex(ps, p->path, bval_regex_pattern(e.value), bval_regex_options(e.value), out));
        else TRY(append_compare(ps, p->path, op, e.value, out));
    }
    struct match_node *never;
    return is_first ? new_leaf(ps, MATCH_FALSE, NULL, out, &never) : ST_OK;
}

static status parse_not(struct parse *ps, const struct predicate *p, enum match_op op, struct list *out) {
    (void) op;
    struct list list = {0};
    struct match_node *child;
    if (p->value.type == B_REGEX) {
        TRY(append_regex(ps, p->path, bval_regex_pattern(p->value), bval_regex_options(p->value), &list));
    } else {
        if (p->value.type != B_DOCUMENT) return RAISE_CODE(ps->err, CODE_BadValue, "$not needs a regex or a document");
        if (bdoc_is_empty(bval_doc(p->value))) return RAISE_CODE(ps->err, CODE_BadValue, "$not cannot be empty");
        TRY(parse_predicates(ps, p->path, bval_doc(p->value), &list));
    }
    TRY(join(ps, MATCH_AND, &list, &child));
    return append_not(ps, child, out);
}

static status parse_nothing(struct parse *ps, const struct predicate *p, enum match_op op, struct list *out) {
    (void) ps;
    (void) p;
    (void) op;
    (void) out;
    return ST_OK;
}

static status deeper(struct parse *ps) {
    if (++ps->depth > TREE_DEPTH_MAX)
        return RAISE_CODE(ps->err, CODE_BadValue, "exceeded maximum query tree depth of %d", TREE_DEPTH_MAX);
    return ST_OK;
}

static status parse_predicates(struct parse *ps, const struct path *path, struct bdoc doc, struct list *out) {
    struct biter it = biter_of(doc);
    struct predicate p = {.path = path, .all = doc};
    struct belem e;
    TRY(deeper(ps));
    while (biter_next(&it, &e)) {
        const struct field_op *row = find_field_op(e.name);
        if (row == NULL) return RAISE_CODE(ps->err, CODE_BadValue, "unknown operator: %.*s", SLICE_ARGS(e.name));
        if (row->parse == NULL)
            return RAISE(ps->err, ST_UNSUPPORTED, "the query operator %s is not supported", row->name);
        p.name = e.name;
        p.value = e.value;
        TRY(row->parse(ps, &p, row->op, out));
    }
    ps->depth--;
    return ST_OK;
}

/* --- trees ----------------------------------------------------------------------------------------------------- */

static status check_clauses(struct parse *ps, struct belem e) {
    if (e.value.type != B_ARRAY) return RAISE_CODE(ps->err, CODE_BadValue, "%.*s must be an array", SLICE_ARGS(e.name));
    struct biter it = biter_of(bval_doc(e.value));
    struct belem clause;
    bool is_empty = true;
    while (biter_next(&it, &clause)) {
        is_empty = false;
        if (clause.value.type != B_DOCUMENT)
            return RAISE_CODE(ps->err, CODE_BadValue, "$or/$and/$nor entries need to be full objects");
    }
    return is_empty ? RAISE_CODE(ps->err, CODE_BadValue, "$and/$or/$nor must be a nonempty array") : ST_OK;
}

static status parse_and(struct parse *ps, struct belem e, enum match_op op, struct list *out) {
    (void) op;
    TRY(check_clauses(ps, e));
    struct biter it = biter_of(bval_doc(e.value));
    struct belem clause;
    while (biter_next(&it, &clause)) TRY(parse_filter(ps, bval_doc(clause.value), out));
    return ST_OK;
}

static status parse_or(struct parse *ps, struct belem e, enum match_op op, struct list *out) {
    struct list clauses = {0};
    struct match_node *n;
    TRY(check_clauses(ps, e));
    enum place place = ps->place;
    if (ps->place != PLACE_ELEMENT)
        ps->place = op == MATCH_NOR ? PLACE_NOR : ps->place == PLACE_TOP ? PLACE_OR : ps->place;
    struct biter it = biter_of(bval_doc(e.value));
    struct belem clause;
    while (biter_next(&it, &clause)) {
        struct list list = {0};
        TRY(parse_filter(ps, bval_doc(clause.value), &list));
        TRY(join(ps, MATCH_AND, &list, &n));
        TRY(append(ps, &clauses, n));
    }
    ps->place = place;
    TRY(join(ps, op, &clauses, &n));
    if (n->op == MATCH_AND) { /* the only clause of an OR */
        for (uint32_t i = 0; i < n->child_count; i++) TRY(append(ps, out, n->children[i]));
        return ST_OK;
    }
    return append(ps, out, n);
}

static status parse_constant(struct parse *ps, struct belem e, enum match_op op, struct list *out) {
    struct match_node *n;
    int64_t one;
    if (!bval_is_number(e.value) || !bnum_to_int64_exact(bnum_of(e.value), &one) || one != 1)
        return RAISE_CODE(ps->err, CODE_FailedToParse, "%.*s must be an integer value of 1", SLICE_ARGS(e.name));
    return new_leaf(ps, op, NULL, out, &n);
}

/* Its truth is asked of the whole document, so it stands where $text may, but for $elemMatch. */
static status parse_expr(struct parse *ps, struct belem e, enum match_op op, struct list *out) {
    struct match_node *n;
    if (ps->place == PLACE_ELEMENT)
        return RAISE_CODE(ps->err, CODE_BadValue, "$expr can only be applied to the top-level document");
    if (ps->m->env == NULL) return RAISE(ps->err, ST_UNSUPPORTED, "$expr is not supported here");
    TRY(new_leaf(ps, op, NULL, out, &n));
    n->value = e.value;
    return expr_parse(&ps->m->env->scope, e.value, &n->expr, ps->err);
}

static status parse_comment(struct parse *ps, struct belem e, enum match_op op, struct list *out) {
    (void) ps;
    (void) e;
    (void) op;
    (void) out;
    return ST_OK;
}

static status check_text_place(struct parse *ps) {
    if (ps->place == PLACE_ELEMENT)
        return RAISE_CODE(ps->err, CODE_BadValue, "$text can only be applied to the top-level document");
    if (ps->place == PLACE_NOR) return RAISE_CODE(ps->err, CODE_BadValue, "text expression not allowed in nor");
    if (ps->place == PLACE_OR)
        return RAISE_CODE(ps->err, CODE_NoQueryExecutionPlans,
                          "Failed to produce a solution for TEXT under OR with other non-TEXT clauses");
    if (ps->m->text.is_set) return RAISE_CODE(ps->err, CODE_BadValue, "Too many text expressions");
    return ST_OK;
}

static status parse_text_field(struct parse *ps, struct belem e, struct match_text *text) {
    struct slice *string = slice_equal(e.name, SLICE_LIT("$search")) ? &text->search
        : slice_equal(e.name, SLICE_LIT("$language"))                ? &text->language
                                                                     : NULL;
    bool *flag = slice_equal(e.name, SLICE_LIT("$caseSensitive")) ? &text->case_sensitive
        : slice_equal(e.name, SLICE_LIT("$diacriticSensitive"))   ? &text->diacritic_sensitive
                                                                  : NULL;
    if (string == NULL && flag == NULL) return RAISE_CODE(ps->err, CODE_BadValue, "extra fields in $text");
    if (e.value.type != (string != NULL ? B_STRING : B_BOOL))
        return RAISE_CODE(ps->err, CODE_TypeMismatch, "\"%.*s\" had the wrong type. Expected %s, found %s",
                          SLICE_ARGS(e.name), string != NULL ? "string" : "bool", btype_name(e.value.type));
    if (string != NULL) *string = bval_string(e.value);
    else *flag = bval_bool(e.value);
    return ST_OK;
}

static status parse_text(struct parse *ps, struct belem e, enum match_op op, struct list *out) {
    struct match_node *n;
    if (e.value.type != B_DOCUMENT) return RAISE_CODE(ps->err, CODE_BadValue, "$text expects an object");
    TRY(check_text_place(ps));
    struct match_text text = {.is_set = true};
    struct biter it = biter_of(bval_doc(e.value));
    struct belem field;
    while (biter_next(&it, &field)) TRY(parse_text_field(ps, field, &text));
    if (text.search.p == NULL) return RAISE_CODE(ps->err, CODE_NoSuchKey, "Missing expected field \"$search\"");
    ps->m->text = text;
    return new_leaf(ps, op, NULL, out, &n);
}

static status parse_field(struct parse *ps, struct belem e, struct list *out) {
    struct path path;
    TRY(path_parse(ps->arena, e.name, &path, ps->err));
    if (is_predicate(e.value)) return parse_predicates(ps, &path, bval_doc(e.value), out);
    if (e.value.type == B_REGEX)
        return append_regex(ps, &path, bval_regex_pattern(e.value), bval_regex_options(e.value), out);
    return append_compare(ps, &path, MATCH_EQ, e.value, out);
}

static status parse_filter(struct parse *ps, struct bdoc filter, struct list *out) {
    struct biter it = biter_of(filter);
    struct belem e;
    TRY(deeper(ps));
    while (biter_next(&it, &e)) {
        if (e.name.len == 0 || e.name.p[0] != '$') {
            TRY(parse_field(ps, e, out));
            continue;
        }
        const struct tree_op *row = find_tree_op(e.name);
        if (row == NULL)
            return RAISE_CODE(ps->err, CODE_BadValue,
                              "unknown top level operator: %.*s. If you have a field name that starts with a '$' "
                              "symbol, consider using $getField or $setField.",
                              SLICE_ARGS(e.name));
        if (row->parse == NULL)
            return RAISE(ps->err, ST_UNSUPPORTED, "the query operator %s is not supported", row->name);
        TRY(row->parse(ps, e, row->op, out));
    }
    ps->depth--;
    return ST_OK;
}

status match_compile(const struct mem *mem, struct arena *arena, struct bdoc filter, struct matcher *out,
                     struct err *err) {
    return match_compile_with(NULL, mem, arena, filter, out, err);
}

status match_compile_with(struct expr_env *env, const struct mem *mem, struct arena *arena, struct bdoc filter,
                          struct matcher *out, struct err *err) {
    *out = (struct matcher){.mem = mem, .env = env};
    struct parse ps = {.arena = arena, .m = out, .err = err};
    struct list list = {0};
    status st = parse_filter(&ps, filter, &list);
    if (st == ST_OK) st = join(&ps, MATCH_AND, &list, &out->root);
    if (st != ST_OK) matcher_release(out);
    return st;
}

void matcher_release(struct matcher *m) {
    regex_free_all(m->mem, m->regexes);
    *m = (struct matcher){.mem = m->mem};
}

/* --- the tables ------------------------------------------------------------------------------------------------ */

static const struct field_op field_ops[] = {
    {"$eq", parse_compare, MATCH_EQ},
    {"$gt", parse_compare, MATCH_GT},
    {"$gte", parse_compare, MATCH_GTE},
    {"$lt", parse_compare, MATCH_LT},
    {"$lte", parse_compare, MATCH_LTE},
    {"$ne", parse_ne, MATCH_EQ},
    {"$in", parse_in, MATCH_IN},
    {"$nin", parse_nin, MATCH_IN},
    {"$not", parse_not, MATCH_NOT},
    {"$exists", parse_exists, MATCH_EXISTS},
    {"$type", parse_type, MATCH_TYPE},
    {"$all", parse_all, MATCH_EQ},
    {"$elemMatch", parse_elem_match, MATCH_ELEM_MATCH_OBJECT},
    {"$size", parse_size, MATCH_SIZE},
    {"$mod", parse_mod, MATCH_MOD},
    {"$regex", parse_regex, MATCH_REGEX},
    {"$options", parse_options, MATCH_REGEX},
    {"$comment", parse_nothing, MATCH_TRUE},
    {"$bitsAllClear", NULL, 0},
    {"$bitsAllSet", NULL, 0},
    {"$bitsAnyClear", NULL, 0},
    {"$bitsAnySet", NULL, 0},
    {"$expr", NULL, 0},
    {"$geoIntersects", NULL, 0},
    {"$geoNear", NULL, 0},
    {"$geoWithin", NULL, 0},
    {"$maxDistance", NULL, 0},
    {"$minDistance", NULL, 0},
    {"$near", NULL, 0},
    {"$nearSphere", NULL, 0},
    {"$within", NULL, 0},
};

static const struct tree_op tree_ops[] = {
    {"$and", parse_and, MATCH_AND},
    {"$or", parse_or, MATCH_OR},
    {"$nor", parse_or, MATCH_NOR},
    {"$text", parse_text, MATCH_TEXT},
    {"$comment", parse_comment, MATCH_TRUE},
    {"$alwaysTrue", parse_constant, MATCH_TRUE},
    {"$alwaysFalse", parse_constant, MATCH_FALSE},
    {"$expr", parse_expr, MATCH_EXPR},
    {"$jsonSchema", NULL, 0},
    {"$sampleRate", NULL, 0},
    {"$where", NULL, 0},
};

static const struct field_op *find_field_op(struct slice name) {
    for (size_t i = 0; i < sizeof(field_ops) / sizeof(field_ops[0]); i++) {
        if (slice_equal(name, slice_str(field_ops[i].name))) return &field_ops[i];
    }
    return NULL;
}

static const struct tree_op *find_tree_op(struct slice name) {
    for (size_t i = 0; i < sizeof(tree_ops) / sizeof(tree_ops[0]); i++) {
        if (slice_equal(name, slice_str(tree_ops[i].name))) return &tree_ops[i];
    }
    return NULL;
}
