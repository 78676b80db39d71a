/* Positional parts of update paths: `$` (the element that the query matched), `$[]` (every element), `$[id]` (those that an array filter matches).
 *
 * Compiled, such a path stands in the tree under its own text, so that two changes of the same place collide when the update is parsed. Applied,
 * each path is written out for the document at hand: a.$[].b becomes a.0.b, a.1.b, ..., and the tree is built anew of what came out, in scratch memory. What
 * then collides ("a.$[x]" and "a.0") is found there. */
#include "base/codes.h"
#include "eval/describe.h"
#include "eval/match_internal.h"
#include "eval/update_internal.h"

static status no_memory(struct err *err) { return RAISE(err, ST_NOMEM, "update"); }

enum positional update_part_kind(struct slice name) {
    if (name.len == 0 || name.p[0] != '$') return PART_NAME;
    if (name.len == 1) return PART_MATCHED;
    if (name.len < 3 || name.p[1] != '[' || name.p[name.len - 1] != ']') return PART_NAME;
    return name.len == 3 ? PART_ALL : PART_FILTERED;
}

uint32_t update_path_fixed(const struct path *path) {
    uint32_t i = 0;
    while (i < path->part_count && update_part_kind(path->parts[i].name) == PART_NAME) i++;
    return i;
}

struct path update_path_prefix(const struct path *path, uint32_t part_count) {
    struct path prefix = *path;
    if (part_count == path->part_count) return prefix;
    prefix.part_count = part_count;
    const struct path_part *last = part_count != 0 ? &path->parts[part_count - 1] : NULL;
    prefix.text.len = last != NULL ? (size_t) (last->name.p + last->name.len - path->text.p) : 0;
    return prefix;
}

/* --- array filters --------------------------------------------------------------------------------------------- */

static bool is_identifier(struct slice s) {
    if (s.len == 0 || s.p[0] < 'a' || s.p[0] > 'z') return false;
    for (size_t i = 1; i < s.len; i++) {
        uint8_t c = s.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))) return false;
    }
    return true;
}

/* The first part that all paths of the filter share. */
static status find_identifier(const struct match_node *n, struct slice *id, struct err *err) {
    for (uint32_t i = 0; !match_is_leaf(n->op) && i < n->child_count; i++)
        TRY(find_identifier(n->children[i], id, err));
    if (!match_is_leaf(n->op) || n->path.part_count == 0) return ST_OK;
    struct slice name = n->path.parts[0].name;
    if (id->p != NULL && !slice_equal(*id, name))
        return RAISE_CODE(err, CODE_FailedToParse,
                          "Error parsing array filter :: caused by :: Expected a single top-level field name, found "
                          "'%.*s' and '%.*s'",
                          SLICE_ARGS(*id), SLICE_ARGS(name));
    *id = name;
    return ST_OK;
}

static status check_identifier(const struct update *u, struct slice id, struct err *err) {
    if (id.p == NULL)
        return RAISE_CODE(err, CODE_FailedToParse,
                          "Cannot use an expression without a top-level field name in arrayFilters");
    if (!is_identifier(id))
        return RAISE_CODE(err, CODE_BadValue,
                          "Error parsing array filter :: caused by :: The top-level field name must be an alphanumeric "
                          "string beginning with a lowercase letter, found '%.*s'",
                          SLICE_ARGS(id));
    for (uint32_t i = 0; i < u->filter_count; i++) {
        if (slice_equal(u->filters[i].id, id))
            return RAISE_CODE(err, CODE_FailedToParse,
                              "Found multiple array filters with the same top-level field name %.*s", SLICE_ARGS(id));
    }
    return ST_OK;
}

static status parse_filter(struct update *u, struct arena *arena, struct bval v, struct err *err) {
    struct array_filter *filter = &u->filters[u->filter_count];
    if (v.type != B_DOCUMENT)
        return RAISE_CODE(err, CODE_TypeMismatch,
                          "BSON field 'arrayFilters.%u' is the wrong type '%s', expected type 'object'",
                          (unsigned) u->filter_count, btype_name(v.type));
    TRY(match_compile(u->mem, arena, bval_doc(v), &filter->matcher, err));
    filter->id = SLICE_NONE;
    status st = find_identifier(filter->matcher.root, &filter->id, err);
    if (st == ST_OK) st = check_identifier(u, filter->id, err);
    if (st == ST_OK) u->filter_count++;
    else matcher_release(&filter->matcher);
    return st;
}

status update_filters_parse(struct update *u, struct arena *arena, struct bdoc filters, struct err *err) {
    if (filters.p == NULL || bdoc_is_empty(filters)) return ST_OK;
    struct biter it = biter_of(filters);
    struct belem e;
    u->filters = arena_array(arena, struct array_filter, bdoc_count(filters));
    if (u->filters == NULL) return no_memory(err);
    while (biter_next(&it, &e)) TRY(parse_filter(u, arena, e.value, err));
    return ST_OK;
}

void update_filters_release(struct update *u) {
    for (uint32_t i = 0; i < u->filter_count; i++) matcher_release(&u->filters[i].matcher);
    u->filter_count = 0;
}

static struct array_filter *find_filter(const struct update *u, struct slice part) {
    struct slice id = slice_of(part.p + 2, part.len - 3);
    for (uint32_t i = 0; i < u->filter_count; i++)
        if (slice_equal(u->filters[i].id, id)) return &u->filters[i];
    return NULL;
}

static status use_filters(struct update *u, const struct path *path, struct err *err) {
    for (uint32_t i = 0; i < path->part_count; i++) {
        struct slice name = path->parts[i].name;
        if (update_part_kind(name) != PART_FILTERED) continue;
        struct array_filter *filter = find_filter(u, name);
        if (filter == NULL)
            return RAISE_CODE(err, CODE_BadValue, "No array filter found for identifier '%.*s' in path '%.*s'",
                              (int) name.len - 3, (const char *) name.p + 2, SLICE_ARGS(path->text));
        filter->is_used = true;
    }
    return ST_OK;
}

status update_filters_check(struct update *u, struct bdoc update, struct err *err) {
    struct description d;
    for (uint32_t i = 0; i < u->leaf_count; i++) TRY(use_filters(u, &u->leaves[i].path, err));
    for (uint32_t i = 0; i < u->filter_count; i++) {
        if (u->filters[i].is_used) continue;
        return RAISE_CODE(err, CODE_FailedToParse,
                          "The array filter for identifier '%.*s' was not used in the update %s",
                          SLICE_ARGS(u->filters[i].id), describe_doc(&d, update));
    }
    return ST_OK;
}

/* --- the matched element --------------------------------------------------------------------------------------- */

/* The part of the predicate's path that leads to the first array on its way; part_count 0: there is none. */
static struct path first_array(struct bdoc doc, const struct path *path) {
    struct bval v = {doc.p, doc.len, B_DOCUMENT};
    for (uint32_t i = 0; i < path->part_count && v.type == B_DOCUMENT; i++) {
        v = bdoc_get(bval_doc(v), path->parts[i].name);
        if (v.type == B_ARRAY) return update_path_prefix(path, i + 1);
    }
    return (struct path){0};
}

static int64_t leaf_position(const struct matcher *query, struct match_node *n, struct bdoc doc) {
    struct matcher alone = *query;
    struct path array = first_array(doc, &n->path);
    alone.root = n;
    return array.part_count != 0 ? match_position(&alone, doc, &array) : -1;
}

/* {$or: [{a: 1}, {a: 2}]} is {a: {$in: [1, 2]}} by another name. */
static bool is_in(const struct match_node *n) {
    if (n->op != MATCH_OR) return false;
    for (uint32_t i = 0; i < n->child_count; i++) {
        const struct match_node *c = n->children[i];
        if ((c->op != MATCH_EQ && c->op != MATCH_IN) || !slice_equal(c->path.text, n->children[0]->path.text))
            return false;
    }
    return true;
}

static int64_t predicate_position(const struct matcher *query, struct match_node *n, struct bdoc doc) {
    int64_t first = -1;
    if (match_is_leaf(n->op)) return leaf_position(query, n, doc);
    for (uint32_t i = 0; is_in(n) && i < n->child_count; i++) {
        int64_t at = leaf_position(query, n->children[i], doc);
        if (at >= 0 && (first < 0 || at < first)) first = at;
    }
    return first;
}

/* By the last predicate of the query that went through an array; what stands under $or, $nor and $not does not count. -1: none. */
static int64_t matched_position(const struct matcher *query, struct bdoc doc) {
    struct match_node *root = query->root;
    int64_t found = -1;
    uint32_t count = root->op == MATCH_AND ? root->child_count : 1;
    for (uint32_t i = 0; i < count; i++) {
        int64_t at = predicate_position(query, root->op == MATCH_AND ? root->children[i] : root, doc);
        if (at >= 0) found = at;
    }
    return found;
}

/* --- writing paths out ----------------------------------------------------------------------------------------- */

struct expansion {
    struct apply *ap;
    const struct update *u;
    const struct update_leaf *leaf; /* whose path is being written out */
    struct path_part *parts;        /* so far */
    uint32_t last;                  /* its last positional part */
    struct path_place *places;
    size_t place_count, place_cap;
    int64_t matched; /* -2: not asked for yet */
};

/* "a.0.b" of the parts so far. */
static struct slice text_of(struct expansion *x, uint32_t part_count) {
    size_t len = 0, at = 0;
    for (uint32_t i = 0; i < part_count; i++) len += x->parts[i].name.len + 1;
    char *text = arena_alloc(x->ap->scratch, len + 1);
    if (text == NULL) return SLICE_NONE;
    for (uint32_t i = 0; i < part_count; i++) {
        if (i != 0) text[at++] = '.';
        memcpy(text + at, x->parts[i].name.p, x->parts[i].name.len);
        at += x->parts[i].name.len;
    }
    return slice_of(text, at);
}

static status add_place(struct expansion *x) {
    struct arena *arena = x->ap->scratch;
    uint32_t n = x->leaf->path.part_count;
    struct path *path = arena_new(arena, struct path);
    if (x->place_count == x->place_cap) {
        size_t cap = 2 * x->place_cap;
        struct path_place *places = arena_array(arena, struct path_place, cap);
        if (places == NULL) return no_memory(x->ap->err);
        memcpy(places, x->places, x->place_count * sizeof(*places));
        x->places = places;
        x->place_cap = cap;
    }
    if (path == NULL) return no_memory(x->ap->err);
    *path = (struct path){.text = text_of(x, n), .part_count = n};
    path->parts = arena_copy(arena, x->parts, n * sizeof(*path->parts));
    if (path->parts == NULL || path->text.p == NULL) return no_memory(x->ap->err);
    x->places[x->place_count++] = (struct path_place){path, x->leaf};
    return ST_OK;
}

/* Text of a position, in scratch. */
static status put_position(struct expansion *x, uint32_t part, int64_t idx) {
    char *digits = arena_alloc(x->ap->scratch, 20);
    size_t at = 20;
    if (digits == NULL) return no_memory(x->ap->err);
    for (int64_t n = idx; at == 20 || n != 0; n /= 10) digits[--at] = (char) ('0' + n % 10);
    x->parts[part] = (struct path_part){slice_of(digits + at, 20 - at), idx};
    return ST_OK;
}

static struct bval child_of(struct bval v, const struct path_part *part) {
    if (v.type == B_DOCUMENT) return bdoc_get(bval_doc(v), part->name);
    if (v.type == B_ARRAY && part->idx >= 0 && part->idx <= UINT32_MAX)
        return barray_at(bval_doc(v), (uint32_t) part->idx);
    return BVAL_MISSING;
}

static status expand_from(struct expansion *x, uint32_t part, struct bval v);

static status expand_matched(struct expansion *x, uint32_t part, struct bval v) {
    const struct update_env *env = x->ap->env;
    if (x->matched == -2)
        x->matched = env->query != NULL && !x->ap->is_insert ? matched_position(env->query, x->ap->original) : -1;
    if (x->matched < 0)
        return RAISE_CODE(x->ap->err, CODE_BadValue,
                          "The positional operator did not find the match needed from the query.");
    TRY(put_position(x, part, x->matched));
    return expand_from(x, part + 1, child_of(v, &x->parts[part]));
}

static status check_array(struct expansion *x, uint32_t part, struct bval v) {
    struct description d;
    if (v.type == B_ARRAY) return ST_OK;
    struct slice text = text_of(x, part);
    if (v.type == B_MISSING)
        return RAISE_CODE(x->ap->err, CODE_BadValue,
                          "The path '%.*s' must exist in the document in order to apply array updates.",
                          SLICE_ARGS(text));
    return RAISE_CODE(x->ap->err, CODE_BadValue, "Cannot apply array updates to non-array element %s",
                      describe_field(&d, x->parts[part - 1].name, v));
}

static status expand_elements(struct expansion *x, uint32_t part, struct bval v, const struct array_filter *filter) {
    struct biter it;
    struct belem e;
    TRY(check_array(x, part, v));
    it = biter_of(bval_doc(v));
    for (int64_t idx = 0; biter_next(&it, &e); idx++) {
        bool matches = true;
        if (filter != NULL) TRY(match_value(&filter->matcher, e.value, &matches, x->ap->err));
        if (!matches) continue;
        TRY(put_position(x, part, idx));
        TRY(expand_from(x, part + 1, e.value));
    }
    return ST_OK;
}

/* `v`: what the parts before lead to. */
static status expand_from(struct expansion *x, uint32_t part, struct bval v) {
    const struct path *path = &x->leaf->path;
    for (; part <= x->last; part++) {
        const struct path_part *p = &path->parts[part];
        switch (update_part_kind(p->name)) {
        case PART_MATCHED: return expand_matched(x, part, v);
        case PART_ALL: return expand_elements(x, part, v, NULL);
        case PART_FILTERED: return expand_elements(x, part, v, find_filter(x->u, p->name));
        case PART_NAME: break;
        }
        x->parts[part] = *p;
        v = child_of(v, p);
    }
    if (part < path->part_count)
        memcpy(&x->parts[part], &path->parts[part], (path->part_count - part) * sizeof(*path->parts));
    return add_place(x);
}

static status expand_leaf(struct expansion *x, const struct update_leaf *leaf) {
    uint32_t last = leaf->path.part_count;
    if ((leaf->op->flags & UPDATE_INSERT_ONLY) != 0 && !x->ap->is_insert) return ST_OK;
    while (last > 0 && update_part_kind(leaf->path.parts[last - 1].name) == PART_NAME) last--;
    x->leaf = leaf;
    x->parts = arena_array(x->ap->scratch, struct path_part, leaf->path.part_count);
    if (x->parts == NULL) return no_memory(x->ap->err);
    if (last == 0) {
        memcpy(x->parts, leaf->path.parts, leaf->path.part_count * sizeof(*x->parts));
        return add_place(x);
    }
    x->last = last - 1;
    return expand_from(x, 0, (struct bval){x->ap->original.p, x->ap->original.len, B_DOCUMENT});
}

status update_expand(struct apply *ap, const struct update *u, struct path_node *root) {
    struct expansion x = {.ap = ap, .u = u, .matched = -2, .place_cap = (size_t) u->leaf_count + 8};
    struct path_collision collision = {0};
    x.places = arena_array(ap->scratch, struct path_place, x.place_cap);
    if (x.places == NULL) return no_memory(ap->err);
    for (uint32_t i = 0; i < u->leaf_count; i++) TRY(expand_leaf(&x, &u->leaves[i]));
    TRY(path_tree_build(ap->scratch, x.places, (uint32_t) x.place_count, root, &collision, ap->err));
    if (!collision.found) return ST_OK;
    bool second_is_shorter = collision.second->part_count < collision.first->part_count;
    return RAISE_CODE(ap->err, CODE_ConflictingUpdateOperators, "Update created a conflict at '%.*s'",
                      SLICE_ARGS((second_is_shorter ? collision.second : collision.first)->text));
}
