/* Evaluating a match tree on the bytes of a document; match.h has the language, match_parse.c compiles it.
 *
 * How a path meets arrays (MongoDB's rules, and the whole difficulty):
 *   - Between two parts, an array is entered: its documents are asked for the next part, and if that part is a
 * position, the element there takes the step alone. An array that has no documents and no such position gives nothing
 * at all, not even a missing value.
 *   - After the last part, an array counts element by element and then as a whole. $exists, $size and $elemMatch look
 * at the array as a whole only.
 *   - An element picked by position as the last step is not entered: {"a.0": 5} does not find {a: [[5]]}.
 *   - A document without the field gives one missing value, which equals null.
 *
 * Answers travel as small integers: YES, NO, or FAILED with the error kept aside. */
#include "eval/match.h"

#include <assert.h>

#include "base/codes.h"
#include "bson/compare.h"
#include "bson/number.h"
#include "eval/expr.h"
#include "eval/match_internal.h"
#include "eval/regex.h"

enum answer { FAILED = -1, NO = 0, YES = 1 };

struct failure {
    status st;
    struct err *err;
    struct expr_env *env; /* of $expr */
};

/* What a tree is asked about: a document, or a value that stands for the first part of every path. */
struct subject {
    struct bdoc doc;
    struct bval first;
    bool has_first;
};

static enum answer eval_node(const struct match_node *n, const struct subject *s, struct failure *f);

static enum answer answer_of(bool b) { return b ? YES : NO; }

/* --- one value ------------------------------------------------------------------------------------------------- */

static bool is_nan(struct bval v) { return (v.type == B_DOUBLE || v.type == B_DECIMAL) && bnum_is_nan(bnum_of(v)); }

static bool order_fits(enum match_op op, int c) {
    switch (op) {
    case MATCH_EQ: return c == 0;
    case MATCH_GT: return c > 0;
    case MATCH_GTE: return c >= 0;
    case MATCH_LT: return c < 0;
    default: return c <= 0;
    }
}

/* Values of different types never compare, but for the two ends of the order. NaN is equal to itself and not in any
 * order. */
static bool test_order_slow(const struct match_node *n, struct bval v) {
    if (btype_rank(v.type) != n->rank) {
        if (n->value.type == B_MIN_KEY) return n->op == MATCH_GT || n->op == MATCH_GTE;
        if (n->value.type == B_MAX_KEY) return n->op == MATCH_LT || n->op == MATCH_LTE;
        return false;
    }
    bool v_is_nan = is_nan(v), operand_is_nan = is_nan(n->value);
    if (v_is_nan || operand_is_nan) return v_is_nan && operand_is_nan && n->op != MATCH_GT && n->op != MATCH_LT;
    return order_fits(n->op, bval_compare(v, n->value));
}

static inline bool test_order(const struct match_node *n, struct bval v) {
    if (v.type != n->value.type) return test_order_slow(n, v);
    switch (v.type) {
    case B_INT32: {
        int32_t a = bval_int32(v), b = bval_int32(n->value);
        return order_fits(n->op, (a > b) - (a < b));
    }
    case B_STRING: {
        struct slice a = bval_string(v), b = bval_string(n->value);
        return n->op == MATCH_EQ ? slice_equal(a, b) : order_fits(n->op, slice_compare(a, b));
    }
    case B_OBJECT_ID: return order_fits(n->op, memcmp(v.p, n->value.p, 12));
    default: return test_order_slow(n, v);
    }
}

static bool is_among(struct bval v, const struct bval *values, uint32_t count) {
    uint32_t lo = 0, hi = count;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        int c = bval_compare(v, values[mid]);
        if (c == 0) return true;
        if (c < 0) hi = mid;
        else lo = mid + 1;
    }
    return false;
}

static enum answer test_regex(const struct match_node *n, struct bval v, struct failure *f) {
    if (v.type == B_REGEX)
        return answer_of(slice_equal(bval_regex_pattern(v), regex_pattern(n->regex)) &&
                         slice_equal(bval_regex_options(v), regex_options(n->regex)));
    if (v.type != B_STRING && v.type != B_SYMBOL) return NO;
    bool matches = false;
    f->st = regex_match(n->regex, bval_string(v), &matches, f->err);
    return f->st != ST_OK ? FAILED : answer_of(matches);
}

static enum answer test_in(const struct match_node *n, struct bval v, struct failure *f) {
    if (is_among(v, n->values, n->value_count)) return YES;
    for (uint32_t i = 0; i < n->child_count; i++) {
        enum answer a = test_regex(n->children[i], v, f);
        if (a != NO) return a;
    }
    return NO;
}

/* The dividend is cut toward zero; what does not fit 64 bits has no remainder. */
static bool test_mod(const struct match_node *n, struct bval v) {
    int64_t dividend;
    if (!bval_is_number(v) || !bnum_to_int64(bnum_of(v), &dividend)) return false;
    int64_t rest = n->divisor == -1 ? 0 : dividend % n->divisor;
    return rest == n->remainder;
}

static bool test_size(const struct match_node *n, struct bval v) {
    return v.type == B_ARRAY && (int64_t) bdoc_count(bval_doc(v)) == n->size;
}

/* Does the element satisfy the child of an $elemMatch? */
static enum answer test_element(const struct match_node *n, struct bval element, struct failure *f) {
    struct subject s = {.first = element, .has_first = true};
    if (n->op == MATCH_ELEM_MATCH_OBJECT) {
        if (element.type != B_DOCUMENT && element.type != B_ARRAY) return NO;
        s = (struct subject){.doc = bval_doc(element)};
    }
    return eval_node(n->children[0], &s, f);
}

static enum answer test_elem_match(const struct match_node *n, struct bval v, struct failure *f) {
    if (v.type != B_ARRAY) return NO;
    struct field_scan scan = field_scan_of(bval_doc(v));
    struct field e;
    while (field_next(&scan, &e)) {
        enum answer a = test_element(n, e.value, f);
        if (a != NO) return a;
    }
    return NO;
}

/* The predicate on this value alone. */
static enum answer test_value(const struct match_node *n, struct bval v, struct failure *f) {
    switch (n->op) {
    case MATCH_EQ:
    case MATCH_GT:
    case MATCH_GTE:
    case MATCH_LT:
    case MATCH_LTE: return answer_of(test_order(n, v));
    case MATCH_IN: return test_in(n, v, f);
    case MATCH_EXISTS: return answer_of(v.type != B_MISSING);
    case MATCH_TYPE: return answer_of(v.type != B_MISSING && (n->type_set & match_type_bit(v.type)) != 0);
    case MATCH_MOD: return answer_of(test_mod(n, v));
    case MATCH_REGEX: return test_regex(n, v, f);
    case MATCH_SIZE: return answer_of(test_size(n, v));
    default: return test_elem_match(n, v, f);
    }
}

/* --- paths ----------------------------------------------------------------------------------------------------- */

static bool enters_last_array(enum match_op op) {
    return op != MATCH_EXISTS && op != MATCH_SIZE && op != MATCH_ELEM_MATCH_OBJECT && op != MATCH_ELEM_MATCH_VALUE;
}

/* The value at the end of the path: an array by its elements and as a whole. */
static enum answer test_end(const struct match_node *n, struct bval v, struct failure *f) {
    if (v.type == B_ARRAY && enters_last_array(n->op)) {
        struct field_scan scan = field_scan_of(bval_doc(v));
        struct field e;
        while (field_next(&scan, &e)) {
            enum answer a = test_value(n, e.value, f);
            if (a != NO) return a;
        }
    }
    return test_value(n, v, f);
}

static enum answer walk_array(const struct match_node *n, struct bval array, uint32_t part, struct failure *f);

/* From the value of part - 1 on. */
static enum answer walk_path(const struct match_node *n, struct bval v, uint32_t part, struct failure *f) {
    while (part < n->path.part_count) {
        if (v.type == B_ARRAY) return walk_array(n, v, part, f);
        if (v.type != B_DOCUMENT) {
            v = BVAL_MISSING;
            break;
        }
        struct field_name name = field_name_of(n->path.parts[part].name);
        v = field_get(bval_doc(v), &name);
        part++;
    }
    return test_end(n, v, f);
}

static enum answer walk_array(const struct match_node *n, struct bval array, uint32_t part, struct failure *f) {
    int64_t wanted = n->path.parts[part].idx, at = 0;
    struct field_scan scan = field_scan_of(bval_doc(array));
    struct field e;
    for (; field_next(&scan, &e); at++) {
        enum answer a = NO;
        if (e.value.type == B_DOCUMENT) a = walk_path(n, e.value, part, f);
        if (a == NO && at == wanted) {
            if (part + 1 == n->path.part_count) a = test_value(n, e.value, f);
            else if (e.value.type == B_ARRAY) a = walk_array(n, e.value, part + 1, f);
            else if (e.value.type == B_DOCUMENT) a = walk_path(n, e.value, part + 1, f);
        }
        if (a != NO) return a;
    }
    return NO;
}

static enum answer eval_leaf(const struct match_node *n, const struct subject *s, struct failure *f) {
    enum answer a;
    if (n->path.part_count == 0) {
        a = test_value(n, s->first, f);
    } else if (s->has_first) {
        a = walk_path(n, s->first, 1, f);
    } else {
        struct field_name name = field_name_of(n->path.parts[0].name);
        a = walk_path(n, field_get(s->doc, &name), 1, f);
    }
    return n->op == MATCH_EXISTS && !n->exists && a != FAILED ? answer_of(a == NO) : a;
}

/* --- trees ----------------------------------------------------------------------------------------------------- */

static enum answer eval_all(struct match_node *const *nodes, uint32_t count, const struct subject *s,
                            struct failure *f) {
    for (uint32_t i = 0; i < count; i++) {
        enum answer a = eval_node(nodes[i], s, f);
        if (a != YES) return a;
    }
    return YES;
}

static enum answer eval_any(struct match_node *const *nodes, uint32_t count, const struct subject *s,
                            struct failure *f) {
    for (uint32_t i = 0; i < count; i++) {
        enum answer a = eval_node(nodes[i], s, f);
        if (a != NO) return a;
    }
    return NO;
}

/* Asks each group as its field comes by, and those whose field never came about a missing value. */
static enum answer eval_walk(const struct match_walk *w, const struct subject *s, struct failure *f) {
    uint64_t waiting = w->field_count == 64 ? ~UINT64_C(0) : (UINT64_C(1) << w->field_count) - 1;
    struct field_scan scan = field_scan_of(s->doc);
    struct field e;
    struct subject sub = {.has_first = true};
    while (waiting != 0 && field_next(&scan, &e)) {
        for (uint32_t i = 0; i < w->field_count; i++) {
            if (!field_is(&e, &w->fields[i].name)) continue;
            if ((waiting >> i & 1) == 0) break;
            waiting &= ~(UINT64_C(1) << i);
            sub.first = e.value;
            enum answer a = eval_all(w->fields[i].nodes, w->fields[i].node_count, &sub, f);
            if (a != YES) return a;
            break;
        }
    }
    sub.first = BVAL_MISSING;
    for (; waiting != 0; waiting &= waiting - 1) {
        const struct walk_field *field = &w->fields[__builtin_ctzll(waiting)];
        enum answer a = eval_all(field->nodes, field->node_count, &sub, f);
        if (a != YES) return a;
    }
    return eval_all(w->rest, w->rest_count, s, f);
}

static enum answer eval_expr(const struct match_node *n, const struct subject *s, struct failure *f) {
    struct expr_run x = f->env->run;
    struct arena_mark mark = arena_mark(x.arena);
    bool is_true = false;
    x.root = s->doc;
    x.err = f->err;
    f->st = expr_test(&x, n->expr, &is_true);
    f->env->run.random_state = x.random_state;
    arena_rewind(x.arena, mark);
    return f->st != ST_OK ? FAILED : answer_of(is_true);
}

static enum answer negate(enum answer a) { return a == FAILED ? FAILED : answer_of(a == NO); }

static enum answer eval_node(const struct match_node *n, const struct subject *s, struct failure *f) {
    switch (n->op) {
    case MATCH_AND:
        if (n->walk != NULL && !s->has_first) return eval_walk(n->walk, s, f);
        return eval_all(n->children, n->child_count, s, f);
    case MATCH_OR: return eval_any(n->children, n->child_count, s, f);
    case MATCH_NOR: return negate(eval_any(n->children, n->child_count, s, f));
    case MATCH_NOT: return negate(eval_node(n->children[0], s, f));
    case MATCH_EXPR: return eval_expr(n, s, f);
    case MATCH_TEXT:
    case MATCH_TRUE: return YES;
    case MATCH_FALSE: return NO;
    default: return eval_leaf(n, s, f);
    }
}

static status ask(const struct matcher *m, const struct match_node *n, const struct subject *s, bool *matches,
                  struct err *err) {
    struct failure f = {ST_OK, err, m->env};
    enum answer a = eval_node(n, s, &f);
    if (a == FAILED) return f.st;
    *matches = a == YES;
    return ST_OK;
}

status match_node_doc(const struct matcher *m, const struct match_node *node, struct bdoc doc, bool *matches,
                      struct err *err) {
    struct subject s = {.doc = doc};
    return ask(m, node, &s, matches, err);
}

status match_doc(const struct matcher *m, struct bdoc doc, bool *matches, struct err *err) {
    return match_node_doc(m, m->root, doc, matches, err);
}

status match_value(const struct matcher *m, struct bval v, bool *matches, struct err *err) {
    struct subject s = {.first = v, .has_first = true};
    return ask(m, m->root, &s, matches, err);
}

status match_first_element(const struct matcher *m, struct bdoc array, struct bval *element, struct err *err) {
    struct failure f = {ST_OK, err, m->env};
    struct field_scan scan = field_scan_of(array);
    struct field e;
    assert(m->root->op == MATCH_ELEM_MATCH_OBJECT || m->root->op == MATCH_ELEM_MATCH_VALUE);
    *element = BVAL_MISSING;
    while (field_next(&scan, &e)) {
        enum answer a = test_element(m->root, e.value, &f);
        if (a == FAILED) return f.st;
        if (a == NO) continue;
        *element = e.value;
        break;
    }
    return ST_OK;
}

/* --- positions ------------------------------------------------------------------------------------------------- */

static bool path_starts_with(const struct path *p, const struct path *prefix) {
    if (p->part_count < prefix->part_count) return false;
    for (uint32_t i = 0; i < prefix->part_count; i++) {
        if (!slice_equal(p->parts[i].name, prefix->parts[i].name)) return false;
    }
    return true;
}

static bool element_fits(const struct match_node *n, uint32_t part, struct bval element) {
    struct failure f = {ST_OK, NULL, NULL};
    bool is_elem_match = n->op == MATCH_ELEM_MATCH_OBJECT || n->op == MATCH_ELEM_MATCH_VALUE;
    if (n->path.part_count == part)
        return (is_elem_match ? test_element(n, element, &f) : test_value(n, element, &f)) == YES;
    return element.type == B_DOCUMENT && walk_path(n, element, part, &f) == YES;
}

static int64_t position_of(const struct match_node *n, struct bdoc array, const struct path *path) {
    if (n->op == MATCH_AND || n->op == MATCH_OR) {
        for (uint32_t i = 0; i < n->child_count; i++) {
            int64_t at = position_of(n->children[i], array, path);
            if (at >= 0) return at;
        }
        return -1;
    }
    if (!match_is_leaf(n->op) || !path_starts_with(&n->path, path)) return -1;
    struct field_scan scan = field_scan_of(array);
    struct field e;
    for (int64_t at = 0; field_next(&scan, &e); at++) {
        if (element_fits(n, path->part_count, e.value)) return at;
    }
    return -1;
}

int64_t match_position(const struct matcher *m, struct bdoc doc, const struct path *path) {
    struct bval v = path_get(doc, path);
    return v.type == B_ARRAY ? position_of(m->root, bval_doc(v), path) : -1;
}
