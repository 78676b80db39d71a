/* Bounds, residue and order of one index; see access.h. */
#include "query/access.h"

/* --- views --- */

static const struct path_part id_part = {{(const uint8_t *) "_id", 3}, -1};
static const struct index_field id_field = {.path = {.text = {(const uint8_t *) "_id", 3},
                                                     .part_count = 1,
                                                     .parts = (struct path_part *) (uintptr_t) &id_part}};

static bool has_number(const struct path *p) {
    for (uint32_t i = 0; i < p->part_count; i++) {
        if (p->parts[i].idx >= 0) return true;
    }
    return false;
}

void index_view_of(const struct index *index, struct index_view *out) {
    if (index == NULL) {
        *out = (struct index_view){.field_count = 1, .fields = &id_field, .is_unique = true};
        return;
    }
    *out = (struct index_view){.index = index,
                               .field_count = index->spec.field_count,
                               .fields = index->spec.fields,
                               .is_sparse = index->spec.is_sparse,
                               .is_unique = index->spec.is_unique};
    for (uint32_t f = 0; f < out->field_count; f++) {
        out->multikey[f] = index_multikey(index, f);
        out->is_multikey = out->is_multikey || out->multikey[f] != 0;
        out->is_opaque[f] = has_number(&out->fields[f].path);
    }
}

static uint32_t shared_parts(const struct path *a, const struct path *b) {
    uint32_t n = 0;
    while (n < a->part_count && n < b->part_count && slice_equal(a->parts[n].name, b->parts[n].name)) n++;
    return n;
}

/* The array components that two fields (or a field and itself) have in common: bit i for component i. */
static uint64_t shared_arrays(const struct index_view *v, uint32_t a, uint32_t b) {
    uint32_t n = shared_parts(&v->fields[a].path, &v->fields[b].path);
    uint64_t below = n >= 64 ? ~UINT64_C(0) : (UINT64_C(1) << n) - 1;
    return (v->multikey[a] | v->multikey[b]) & below;
}

bool index_view_shares_array(const struct index_view *v, uint32_t a, uint32_t b) { return shared_arrays(v, a, b) != 0; }

/* --- bounds --- */

struct assignment {
    const struct predicate *predicate;
    uint32_t field;
};

/* A1 */
static bool combines(const struct index_view *v, const struct assignment *a, const struct assignment *b) {
    if ((a->predicate->is_negated && a->predicate->scope == NULL) ||
        (b->predicate->is_negated && b->predicate->scope == NULL))
        return true;
    uint64_t arrays = shared_arrays(v, a->field, b->field);
    if (arrays == 0) return true;
    uint32_t deepest = 63 - (uint32_t) __builtin_clzll(arrays); /* bit 63 stands for all from there on */
    return deepest < 63 && deepest < predicate_common_parts(a->predicate, b->predicate);
}

struct assigner {
    struct bounds_maker *m;
    struct access *access;
    const struct conjunction *c;
    const struct predicate_bounds *bounds_of;
    struct assignment *taken;
    uint32_t taken_count;
    struct err *err;
};

static status assign(struct assigner *s, uint32_t p, uint32_t field) {
    struct access *a = s->access;
    const struct predicate_bounds *b = &s->bounds_of[p];
    struct assignment one = {&s->c->predicates[p], field};
    if (b->needs_presence && !one.predicate->is_negated) a->is_present = true;
    if (b->is_useless) return ST_OK;
    for (uint32_t i = 0; i < s->taken_count; i++) {
        if (s->taken[i].predicate == one.predicate || !combines(&a->view, &s->taken[i], &one)) return ST_OK;
    }
    s->taken[s->taken_count++] = one;
    TRY(intervals_intersect(s->m, a->bounds[field], b->intervals, &a->bounds[field], s->err));
    bool exact = b->exactness == BOUNDS_EXACT || (b->exactness == BOUNDS_EXACT_SINGLE && a->view.multikey[field] == 0);
    for (uint32_t t = 0; t < s->c->top_count && exact; t++) {
        const struct match_node *top = s->c->tops[t];
        /* Only a predicate that is the whole member leaves nothing to check. */
        if (top == one.predicate->top &&
            (top == one.predicate->node ||
             (one.predicate->is_negated && top->op == MATCH_NOT && top->children[0] == one.predicate->node)))
            a->top_done[t] = true;
    }
    return ST_OK;
}

status access_make(struct bounds_maker *m, const struct index_view *view, const struct conjunction *c,
                   const struct predicate_bounds *bounds_of, uint32_t anchor, struct access **out, struct err *err) {
    struct access *a = arena_new(m->arena, struct access);
    struct assigner s = {.m = m, .access = a, .c = c, .bounds_of = bounds_of, .err = err};
    s.taken = arena_array(m->arena, struct assignment, c->predicate_count + 1);
    if (a == NULL || s.taken == NULL) return RAISE(err, ST_NOMEM, "query plan");
    a->view = *view;
    a->bounds = arena_array(m->arena, struct intervals, view->field_count);
    a->top_done = arena_array(m->arena, bool, c->top_count + 1);
    if (a->bounds == NULL || a->top_done == NULL) return RAISE(err, ST_NOMEM, "query plan");
    for (uint32_t f = 0; f < view->field_count; f++) a->bounds[f] = intervals_all;
    if (anchor != UINT32_MAX) TRY(assign(&s, anchor, 0));
    for (uint32_t f = 0; f < view->field_count; f++) {
        if (view->is_opaque[f]) continue;
        for (uint32_t p = 0; p < c->predicate_count; p++) {
            if (slice_equal(c->predicates[p].path, view->fields[f].path.text)) TRY(assign(&s, p, f));
        }
        if (!intervals_is_all(&a->bounds[f])) a->bounded_count++;
    }
    a->has_leading = !intervals_is_all(&a->bounds[0]);
    TRY(scan_bounds_make(m->arena, view->fields, a->bounds, view->field_count, &a->scan, err));
    *out = a;
    return ST_OK;
}

bool access_is_one_key(const struct access *a) {
    for (uint32_t f = 0; f < a->view.field_count; f++) {
        if (!intervals_is_point(&a->bounds[f])) return false;
    }
    return a->view.is_unique;
}

/* --- order --- */

/* May field f of a multikey index order documents? Only when the key that a document is emitted at has its least (greatest) value: full bounds on f, and on what shares its arrays. */
static bool orders(const struct access *a, uint32_t f) {
    const struct index_view *v = &a->view;
    if (v->is_opaque[f]) return false;
    if (v->multikey[f] == 0) return true;
    if (!intervals_is_all(&a->bounds[f])) return false;
    for (uint32_t g = 0; g < v->field_count; g++) {
        if (g != f && index_view_shares_array(v, f, g)) return false;
    }
    return true;
}

/* Is the sort field the same for all that the scan gives? */
static bool is_constant(const struct access *a, const struct sort_field *s, uint32_t before) {
    for (uint32_t f = 0; f < before; f++) {
        if (a->view.multikey[f] == 0 && !a->view.is_opaque[f] && intervals_is_point(&a->bounds[f]) &&
            slice_equal(a->view.fields[f].path.text, s->path.text))
            return true;
    }
    return false;
}

/* Entries of one key come in the order of their locators, which is that of _id. */
static bool ends_in_id(const struct access *a, const struct sort_field *s, bool has_direction, bool *backward) {
    if (a->view.index == NULL || !slice_equal(s->path.text, SLICE_LIT("_id"))) return false;
    if (a->view.is_multikey) return false;
    if (!has_direction) *backward = s->descending;
    return *backward == s->descending;
}

bool access_gives_sort(const struct access *a, const struct sort_pattern *sort, bool *backward, uint32_t *explode) {
    uint32_t n = 0, f = 0;
    bool has_direction = false, exploding = false;
    *backward = false;
    *explode = 0;
    for (; f < a->view.field_count && n < sort->field_count; f++) {
        const struct sort_field *s = &sort->fields[n];
        if (s->is_text_score) return false;
        if (slice_equal(a->view.fields[f].path.text, s->path.text) && orders(a, f)) {
            bool reversed = a->view.fields[f].descending != s->descending;
            if (!has_direction) *backward = reversed, has_direction = true;
            else if (*backward != reversed) return false;
            n++;
            continue;
        }
        if (is_constant(a, s, f)) {
            n++;
            f--;
            continue;
        }
        if (a->view.is_opaque[f] || has_direction) {
            if (!intervals_is_point(&a->bounds[f])) return false;
            continue;
        }
        if (!intervals_is_points(&a->bounds[f])) return false;
        if (!intervals_is_point(&a->bounds[f])) exploding = true;
        if (exploding && a->view.is_multikey) return false;
        *explode = f + 1;
    }
    if (!exploding) *explode = 0;
    while (n < sort->field_count && is_constant(a, &sort->fields[n], f)) n++;
    if (n == sort->field_count) return true;
    if (f < a->view.field_count) return false;
    /* All fields of the index are used up: ties are ordered by _id, and there are none under a unique key. */
    if (a->view.is_unique && !exploding && !a->view.is_multikey) return true;
    return !a->view.is_unique && !exploding && ends_in_id(a, &sort->fields[n], has_direction, backward);
}
