/* Predicates and their intervals; see predicate.h. The rules are MongoDB's, one function per family of operators. */
#include "query/predicate.h"

#include <math.h>

#include "bson/compare.h"
#include "bson/number.h"
#include "eval/regex.h"

/* --- taking a conjunction apart --- */

struct collector {
    struct arena *arena;
    struct conjunction *out;
    uint32_t predicate_cap, top_cap;
    struct err *err;
};

static status grow(struct collector *c, void **items, uint32_t count, uint32_t *cap, size_t size) {
    if (count < *cap) return ST_OK;
    uint32_t more = *cap != 0 ? *cap * 2 : 8;
    void *p = arena_alloc(c->arena, more * size);
    if (p == NULL) return RAISE(c->err, ST_NOMEM, "query plan");
    if (count != 0) memcpy(p, *items, count * size);
    *items = p;
    *cap = more;
    return ST_OK;
}

/* The path of a node below the array that the scope is about. */
static status whole_path(struct collector *c, struct slice base, const struct match_node *node, struct slice *out) {
    if (base.p == NULL || node->path.part_count == 0) {
        *out = base.p == NULL ? node->path.text : base;
        return ST_OK;
    }
    uint8_t *p = arena_alloc(c->arena, base.len + 1 + node->path.text.len);
    if (p == NULL) return RAISE(c->err, ST_NOMEM, "query plan");
    memcpy(p, base.p, base.len);
    p[base.len] = '.';
    if (node->path.text.len != 0) memcpy(p + base.len + 1, node->path.text.p, node->path.text.len);
    *out = slice_of(p, base.len + 1 + node->path.text.len);
    return ST_OK;
}

static bool is_leaf(enum match_op op) {
    switch (op) {
    case MATCH_EQ:
    case MATCH_GT:
    case MATCH_GTE:
    case MATCH_LT:
    case MATCH_LTE:
    case MATCH_IN:
    case MATCH_EXISTS:
    case MATCH_TYPE:
    case MATCH_MOD:
    case MATCH_REGEX:
    case MATCH_SIZE: return true;
    default: return false;
    }
}

static status collect(struct collector *c, const struct match_node *node, const struct match_node *top,
                      struct slice base, const struct elem_scope *scope, bool negated);

static status collect_scope(struct collector *c, const struct match_node *node, const struct match_node *top,
                            struct slice base, const struct elem_scope *up) {
    struct elem_scope *scope = arena_new(c->arena, struct elem_scope);
    if (scope == NULL) return RAISE(c->err, ST_NOMEM, "query plan");
    struct slice path;
    TRY(whole_path(c, base, node, &path));
    *scope = (struct elem_scope){node, (up != NULL ? up->part_count : 0) + node->path.part_count, up};
    for (uint32_t i = 0; i < node->child_count; i++) TRY(collect(c, node->children[i], top, path, scope, false));
    return ST_OK;
}

static status collect(struct collector *c, const struct match_node *node, const struct match_node *top,
                      struct slice base, const struct elem_scope *scope, bool negated) {
    if (node->op == MATCH_AND && !negated) {
        for (uint32_t i = 0; i < node->child_count; i++) TRY(collect(c, node->children[i], top, base, scope, false));
        return ST_OK;
    }
    if (node->op == MATCH_NOT && !negated) return collect(c, node->children[0], top, base, scope, true);
    if ((node->op == MATCH_ELEM_MATCH_OBJECT || node->op == MATCH_ELEM_MATCH_VALUE) && !negated)
        return collect_scope(c, node, top, base, scope);
    if (!is_leaf(node->op)) return ST_OK;
    struct predicate p = {.node = node, .top = top, .is_negated = negated, .scope = scope};
    TRY(whole_path(c, base, node, &p.path));
    void *items = c->out->predicates;
    TRY(grow(c, &items, c->out->predicate_count, &c->predicate_cap, sizeof(p)));
    c->out->predicates = items;
    c->out->predicates[c->out->predicate_count++] = p;
    return ST_OK;
}

static status add_top(struct collector *c, const struct match_node *node) {
    if (node->op == MATCH_AND) {
        for (uint32_t i = 0; i < node->child_count; i++) TRY(add_top(c, node->children[i]));
        return ST_OK;
    }
    if (node->op == MATCH_TRUE) return ST_OK;
    void *items = c->out->tops;
    TRY(grow(c, &items, c->out->top_count, &c->top_cap, sizeof(*c->out->tops)));
    c->out->tops = items;
    c->out->tops[c->out->top_count++] = node;
    return collect(c, node, node, SLICE_NONE, NULL, false);
}

status conjunction_make(struct arena *arena, const struct match_node *const *nodes, uint32_t count,
                        struct conjunction *out, struct err *err) {
    *out = (struct conjunction){0};
    struct collector c = {.arena = arena, .out = out, .err = err};
    for (uint32_t i = 0; i < count; i++) {
        TRY(add_top(&c, nodes[i]));
        if (i == 0) out->first_predicate_count = out->predicate_count, out->first_top_count = out->top_count;
    }
    return ST_OK;
}

uint32_t predicate_common_parts(const struct predicate *a, const struct predicate *b) {
    for (const struct elem_scope *x = a->scope; x != NULL; x = x->up) {
        for (const struct elem_scope *y = b->scope; y != NULL; y = y->up) {
            if (x->node == y->node) return x->part_count;
        }
    }
    return 0;
}

/* --- intervals by operator --- */

static const struct bval null_value = {NULL, 0, B_NULL};

static status useless(struct predicate_bounds *out) {
    *out = (struct predicate_bounds){.intervals = intervals_all, .is_useless = true};
    return ST_OK;
}

/* Null, undefined, missing and the empty array share a key: always checked on the document. An array is met at its first element, or as a
 * whole where it is itself an element. */
static status bounds_of_equal(struct bounds_maker *m, struct bval v, struct predicate_bounds *out, struct err *err) {
    *out = (struct predicate_bounds){.exactness = BOUNDS_EXACT, .needs_presence = !bval_is_nullish(v)};
    if (bval_is_nullish(v)) out->exactness = BOUNDS_INEXACT;
    TRY(intervals_point(m, v, &out->intervals, err));
    if (v.type != B_ARRAY) return ST_OK;
    out->exactness = BOUNDS_INEXACT;
    struct bval first = barray_at(bval_doc(v), 0);
    struct intervals element;
    TRY(intervals_point(m, first.type == B_MISSING ? null_value : first, &element, err));
    return intervals_unite(m, out->intervals, element, &out->intervals, err);
}

/* A string value in the arena. */
static struct bval new_string(struct arena *arena, const uint8_t *p, size_t len) {
    uint8_t *s = arena_alloc(arena, 4 + len + 1);
    if (s == NULL) return BVAL_MISSING;
    put_le32(s, (uint32_t) len + 1);
    if (len != 0) memcpy(s + 4, p, len);
    s[4 + len] = 0;
    return (struct bval){s, (uint32_t) (4 + len + 1), B_STRING};
}

/* Strings that begin with the prefix that the pattern demands, and stored regular expressions, which match by being equal. */
static status bounds_of_regex(struct bounds_maker *m, const struct match_regex *regex, struct predicate_bounds *out,
                              struct err *err) {
    *out = (struct predicate_bounds){.exactness = BOUNDS_INEXACT, .needs_presence = true};
    struct slice prefix;
    bool exact = false;
    struct bval lo = BVAL_MISSING, hi = BVAL_MISSING;
    if (match_regex_prefix(regex, &prefix, &exact)) {
        size_t len = prefix.len;
        while (len > 0 && prefix.p[len - 1] == 0xff) len--;
        lo = new_string(m->arena, prefix.p, prefix.len);
        hi = len > 0 ? new_string(m->arena, prefix.p, len) : BVAL_MISSING;
        if (lo.type == B_MISSING || (len > 0 && hi.type == B_MISSING)) return RAISE(err, ST_NOMEM, "index bounds");
        if (exact && len > 0) out->exactness = BOUNDS_EXACT;
        /* The least string above all with this prefix: its last byte raised. */
        if (len > 0) ((uint8_t *) (uintptr_t) hi.p)[4 + len - 1]++;
    }
    TRY(intervals_range(m, B_STRING, lo, true, hi, false, &out->intervals, err));
    struct intervals stored;
    struct slice pattern = regex_pattern(regex), options = regex_options(regex);
    uint8_t *p = arena_zalloc(m->arena, pattern.len + options.len + 2);
    if (p == NULL) return RAISE(err, ST_NOMEM, "index bounds");
    if (pattern.len != 0) memcpy(p, pattern.p, pattern.len);
    if (options.len != 0) memcpy(p + pattern.len + 1, options.p, options.len);
    TRY(intervals_point(m, (struct bval){p, (uint32_t) (pattern.len + options.len + 2), B_REGEX}, &stored, err));
    return intervals_unite(m, out->intervals, stored, &out->intervals, err);
}

static bool is_nan(struct bval v) { return bval_is_number(v) && bnum_is_nan(bnum_of(v)); }

/* $gt, $gte, $lt, $lte compare within the rank of the operand. Arrays are compared as a whole, which their elements' keys do not show;
 * MinKey and MaxKey compare with everything; NaN only with itself. */
static status bounds_of_comparison(struct bounds_maker *m, const struct match_node *node, struct predicate_bounds *out,
                                   struct err *err) {
    struct bval v = node->value;
    bool inclusive = node->op == MATCH_GTE || node->op == MATCH_LTE,
         is_lower = node->op == MATCH_GT || node->op == MATCH_GTE;
    if (v.type == B_ARRAY || v.type == B_MIN_KEY || v.type == B_MAX_KEY) return useless(out);
    if (bval_is_nullish(v)) {
        if (inclusive) return bounds_of_equal(m, null_value, out, err);
        *out = (struct predicate_bounds){.intervals = intervals_none, .exactness = BOUNDS_INEXACT};
        return ST_OK;
    }
    if (is_nan(v)) {
        TRY(bounds_of_equal(m, v, out, err));
        out->exactness = BOUNDS_INEXACT;
        return ST_OK;
    }
    *out = (struct predicate_bounds){.exactness = BOUNDS_EXACT, .needs_presence = true};
    if (is_lower) return intervals_range(m, v.type, v, inclusive, BVAL_MISSING, true, &out->intervals, err);
    static const uint8_t nan_bytes[8] = {0, 0, 0, 0, 0, 0, 0xf8, 0x7f};
    struct bval lo = bval_is_number(v) ? (struct bval){nan_bytes, 8, B_DOUBLE} : BVAL_MISSING;
    TRY(intervals_range(m, v.type, lo, lo.type == B_MISSING, v, inclusive, &out->intervals, err));
    if (lo.type == B_MISSING || out->intervals.count == 0) return ST_OK;
    /* For people it begins at minus infinity: NaN lies below. */
    static const uint8_t minus_inf[8] = {0, 0, 0, 0, 0, 0, 0xf0, 0xff};
    out->intervals.at[0].lo_value = (struct bval){minus_inf, 8, B_DOUBLE};
    out->intervals.at[0].lo_inclusive = true;
    return ST_OK;
}

/* The distinct plain values are points in order; null, arrays and regular expressions are united with them. */
static status bounds_of_in(struct bounds_maker *m, const struct match_node *node, struct predicate_bounds *out,
                           struct err *err) {
    struct bval *plain = arena_array(m->arena, struct bval, node->value_count + 1);
    if (plain == NULL) return RAISE(err, ST_NOMEM, "index bounds");
    uint32_t count = 0;
    for (uint32_t i = 0; i < node->value_count; i++) {
        if (!bval_is_nullish(node->values[i]) && node->values[i].type != B_ARRAY) plain[count++] = node->values[i];
    }
    *out = (struct predicate_bounds){.exactness = BOUNDS_EXACT, .needs_presence = true};
    TRY(intervals_points(m, plain, count, &out->intervals, err));
    for (uint32_t i = 0; i < node->value_count + node->child_count; i++) {
        struct predicate_bounds one;
        if (i < node->value_count) {
            if (!bval_is_nullish(node->values[i]) && node->values[i].type != B_ARRAY) continue;
            TRY(bounds_of_equal(m, node->values[i], &one, err));
        } else {
            TRY(bounds_of_regex(m, node->children[i - node->value_count]->regex, &one, err));
        }
        TRY(intervals_unite(m, out->intervals, one.intervals, &out->intervals, err));
        out->exactness = BOUNDS_INEXACT;
        out->needs_presence = out->needs_presence && one.needs_presence;
    }
    return ST_OK;
}

static status bounds_of_type(struct bounds_maker *m, const struct match_node *node, struct predicate_bounds *out,
                             struct err *err) {
    static const uint8_t types[] = {B_DOUBLE,    B_STRING, B_DOCUMENT, B_BINARY,     B_UNDEFINED,
                                    B_OBJECT_ID, B_BOOL,   B_DATE,     B_NULL,       B_REGEX,
                                    B_DBPOINTER, B_CODE,   B_SYMBOL,   B_CODE_SCOPE, B_INT32,
                                    B_TIMESTAMP, B_INT64,  B_DECIMAL,  B_MAX_KEY,    B_MIN_KEY};
    if (node->type_set & match_type_bit(B_ARRAY)) return useless(out);
    *out = (struct predicate_bounds){.intervals = intervals_none, .exactness = BOUNDS_INEXACT, .needs_presence = true};
    for (size_t i = 0; i < sizeof(types); i++) {
        if (!(node->type_set & match_type_bit(types[i]))) continue;
        struct intervals rank;
        TRY(intervals_range(m, types[i], BVAL_MISSING, true, BVAL_MISSING, true, &rank, err));
        TRY(intervals_unite(m, out->intervals, rank, &out->intervals, err));
    }
    return ST_OK;
}

static status bounds_of_leaf(struct bounds_maker *m, const struct match_node *node, struct predicate_bounds *out,
                             struct err *err) {
    switch (node->op) {
    case MATCH_EQ: return bounds_of_equal(m, node->value, out, err);
    case MATCH_GT:
    case MATCH_GTE:
    case MATCH_LT:
    case MATCH_LTE: return bounds_of_comparison(m, node, out, err);
    case MATCH_IN: return bounds_of_in(m, node, out, err);
    case MATCH_TYPE: return bounds_of_type(m, node, out, err);
    case MATCH_REGEX: return bounds_of_regex(m, node->regex, out, err);
    case MATCH_MOD:
        *out = (struct predicate_bounds){.exactness = BOUNDS_INEXACT, .needs_presence = true};
        return intervals_range(m, B_INT32, BVAL_MISSING, true, BVAL_MISSING, true, &out->intervals, err);
    case MATCH_EXISTS:
        if (!node->exists) return bounds_of_equal(m, null_value, out, err);
        TRY(useless(out));
        out->needs_presence = true;
        return ST_OK;
    default: return useless(out);
    }
}

status predicate_bounds(struct bounds_maker *m, const struct predicate *p, struct predicate_bounds *out,
                        struct err *err) {
    TRY(bounds_of_leaf(m, p->node, out, err));
    if (!p->is_negated) return ST_OK;
    /* Where a key inside is a match, no key of a document that does not match is inside: all are in the complement. */
    if (out->is_useless || out->exactness != BOUNDS_EXACT) return useless(out);
    out->exactness = BOUNDS_EXACT_SINGLE;
    out->needs_presence = false;
    return intervals_complement(m, out->intervals, &out->intervals, err);
}

double predicate_selectivity(const struct match_node *node) {
    double s = 1;
    switch (node->op) {
    case MATCH_EQ: return 0.05;
    case MATCH_IN: return fmin(0.05 * (node->value_count + node->child_count), 0.5);
    case MATCH_GT:
    case MATCH_GTE:
    case MATCH_LT:
    case MATCH_LTE:
    case MATCH_REGEX: return 0.3;
    case MATCH_AND:
        for (uint32_t i = 0; i < node->child_count; i++) s *= predicate_selectivity(node->children[i]);
        return fmax(s, 1e-6);
    case MATCH_OR:
        for (uint32_t i = 0; i < node->child_count; i++) s *= 1 - predicate_selectivity(node->children[i]);
        return 1 - s;
    case MATCH_NOT:
    case MATCH_NOR: return 0.8;
    case MATCH_FALSE: return 0;
    case MATCH_TRUE: return 1;
    default: return 0.4;
    }
}
