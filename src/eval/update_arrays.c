/* Update operators on arrays: $push, $addToSet, $pull, $pullAll, $pop. */
#include "base/codes.h"
#include "bson/compare.h"
#include "eval/describe.h"
#include "eval/sort.h"
#include "eval/update_internal.h"
#include "index/key.h"

static status no_memory(struct apply *ap) { return RAISE(ap->err, ST_NOMEM, "updated array"); }

/* Opens the array and copies the elements that stand there: how many. */
static size_t open_copy(struct apply *ap, struct slice name, struct bval old, uint32_t *count) {
    size_t at = update_open(ap, B_ARRAY, name);
    *count = 0;
    if (old.type == B_MISSING) return at;
    *count = bdoc_count(bval_doc(old));
    (void) buf_append(ap->out, old.p + 4, old.len - 5);
    return at;
}

/* What the new values may hold in depth: they come one level below the array. */
static status check_depth(struct apply *ap, struct bval v) {
    ap->depth++;
    status st = update_check_depth(ap, v);
    ap->depth--;
    return st;
}

/* Closes the array; it may turn out to be what it was. */
static void close_compare(struct apply *ap, size_t start, size_t at, struct bval old, enum outcome *outcome) {
    update_close(ap, at);
    *outcome = WRITTEN;
    if (ap->out->failed || old.type != B_ARRAY || ap->out->len - at != old.len ||
        memcmp(ap->out->p + at, old.p, old.len) != 0)
        return;
    ap->out->len = start;
    *outcome = SAME;
}

/* --- $push ----------------------------------------------------------------------------------------------------- */

static status parse_sort_field(struct update_parse *ps, struct belem e, struct update_push *push) {
    int64_t direction = 0;
    if (!bval_is_number(e.value) || !bnum_to_int64_exact(bnum_of(e.value), &direction) ||
        (direction != 1 && direction != -1))
        return RAISE_CODE(ps->err, CODE_BadValue, "The $sort element value must be either 1 or -1");
    struct path *path = &push->sort_paths[push->sort_count];
    TRY(path_parse(ps->arena, e.name, path, ps->err));
    for (uint32_t i = 0; i < path->part_count; i++) {
        if (path->parts[i].name.len == 0)
            return RAISE_CODE(ps->err, CODE_BadValue, "The $sort field is a dotted field but has an empty part: %.*s",
                              SLICE_ARGS(e.name));
    }
    push->sort_descending[push->sort_count++] = direction < 0;
    return ST_OK;
}

static status parse_sort(struct update_parse *ps, struct bval v, struct update_push *push) {
    int64_t direction = 0;
    if (bval_is_number(v)) {
        if (!bnum_to_int64_exact(bnum_of(v), &direction) || (direction != 1 && direction != -1))
            return RAISE_CODE(ps->err, CODE_BadValue, "The $sort element value must be either 1 or -1");
        push->sort = (int) direction;
        return ST_OK;
    }
    if (v.type != B_DOCUMENT)
        return RAISE_CODE(
            ps->err, CODE_BadValue,
            "The $sort is invalid: use 1/-1 to sort the whole element, or {field:1/-1} to sort embedded fields");
    uint32_t count = bdoc_count(bval_doc(v));
    if (count == 0)
        return RAISE_CODE(ps->err, CODE_BadValue, "The $sort pattern is empty when it should be a set of fields.");
    push->sort_paths = arena_array(ps->arena, struct path, count);
    push->sort_descending = arena_array(ps->arena, bool, count);
    if (push->sort_paths == NULL || push->sort_descending == NULL) return RAISE(ps->err, ST_NOMEM, "update");
    push->sort = 1;
    struct biter it = biter_of(bval_doc(v));
    struct belem e;
    while (biter_next(&it, &e)) TRY(parse_sort_field(ps, e, push));
    return ST_OK;
}

static status parse_whole(struct update_parse *ps, struct belem e, int64_t *out) {
    if (bval_is_number(e.value) && bnum_is_integral(bnum_of(e.value)) && bnum_to_int64(bnum_of(e.value), out))
        return ST_OK;
    return RAISE_CODE(ps->err, CODE_BadValue, "The value for %.*s must be an integer value but was given type: %s",
                      SLICE_ARGS(e.name), btype_name(e.value.type));
}

static status parse_push_clause(struct update_parse *ps, struct belem e, struct update_push *push) {
    if (slice_equal(e.name, SLICE_LIT("$each"))) {
        if (e.value.type != B_ARRAY)
            return RAISE_CODE(ps->err, CODE_BadValue,
                              "The argument to $each in $push must be an array but it was of type: %s",
                              btype_name(e.value.type));
        push->each = bval_doc(e.value);
        return ST_OK;
    }
    if (slice_equal(e.name, SLICE_LIT("$slice"))) {
        push->has_slice = true;
        return parse_whole(ps, e, &push->slice);
    }
    if (slice_equal(e.name, SLICE_LIT("$position"))) {
        push->has_position = true;
        return parse_whole(ps, e, &push->position);
    }
    if (slice_equal(e.name, SLICE_LIT("$sort"))) return parse_sort(ps, e.value, push);
    return RAISE_CODE(ps->err, CODE_BadValue, "Unrecognized clause in $push: %.*s", SLICE_ARGS(e.name));
}

static status parse_push(struct update_parse *ps, struct belem field, struct update_leaf *leaf) {
    struct update_push *push = arena_new(ps->arena, struct update_push);
    if (push == NULL) return RAISE(ps->err, ST_NOMEM, "update");
    leaf->arg = field.value;
    leaf->push = push;
    if (field.value.type != B_DOCUMENT || bdoc_get_str(bval_doc(field.value), "$each").type == B_MISSING) return ST_OK;
    struct biter it = biter_of(bval_doc(field.value));
    struct belem e;
    while (biter_next(&it, &e)) TRY(parse_push_clause(ps, e, push));
    return ST_OK;
}

/* Elements as they will stand, before sort and slice. */
static void gather(const struct update_push *push, const struct update_leaf *leaf, struct bdoc old,
                   struct sort_item *items, size_t old_count, size_t new_count) {
    size_t at = old_count;
    if (push->has_position && push->position >= 0 && (uint64_t) push->position < old_count)
        at = (size_t) push->position;
    if (push->has_position && push->position < 0)
        at = (uint64_t) - (push->position + 1) + 1 < old_count ? old_count + (size_t) push->position : 0;
    struct biter it = biter_of(old);
    struct belem e;
    for (size_t i = 0; biter_next(&it, &e); i++) items[i < at ? i : i + new_count].value = e.value;
    if (push->each.p == NULL) {
        items[at].value = leaf->arg;
        return;
    }
    it = biter_of(push->each);
    while (biter_next(&it, &e)) items[at++].value = e.value;
}

/* Keys of {field: direction} sorts; an element that is no document has no fields. */
static status make_keys(struct apply *ap, const struct update_push *push, struct sort_item *items, size_t count) {
    struct buf key;
    status st = ST_OK;
    buf_init(&key, ap->out->mem);
    for (size_t i = 0; st == ST_OK && i < count; i++) {
        struct bdoc doc = items[i].value.type == B_DOCUMENT ? bval_doc(items[i].value) : bdoc_empty;
        buf_clear(&key);
        for (uint32_t j = 0; j < push->sort_count; j++)
            key_append(&key, path_get(doc, &push->sort_paths[j]), push->sort_descending[j]);
        items[i].key = slice_of(key.failed ? NULL : arena_copy(ap->scratch, key.p, key.len), key.len);
        if (items[i].key.p == NULL) st = no_memory(ap);
    }
    buf_release(&key);
    return st;
}

/* Position, sort and slice: the elements as a list, then written anew. */
static status push_rearranged(struct apply *ap, const struct update_leaf *leaf, struct bval old, size_t new_count) {
    const struct update_push *push = leaf->push;
    struct bdoc elements = old.type == B_ARRAY ? bval_doc(old) : bdoc_empty;
    size_t old_count = bdoc_count(elements), count = old_count + new_count, from = 0;
    struct sort_item *items = arena_array(ap->scratch, struct sort_item, 2 * count + 1);
    if (items == NULL) return no_memory(ap);
    gather(push, leaf, elements, items, old_count, new_count);
    if (push->sort_count != 0) TRY(make_keys(ap, push, items, count));
    if (push->sort != 0) sort_items(items, items + count, count, push->sort);
    if (push->has_slice && push->slice >= 0 && (uint64_t) push->slice < count) count = (size_t) push->slice;
    if (push->has_slice && push->slice < 0 && push->slice > -(int64_t) count) from = count - (size_t) -push->slice;
    for (size_t i = from; i < count; i++) update_push_element(ap, (uint32_t) (i - from), items[i].value);
    return ST_OK;
}

static status op_push(struct apply *ap, const struct update_leaf *leaf, struct bval old, struct slice name,
                      enum outcome *outcome) {
    const struct update_push *push = leaf->push;
    struct description d;
    if (old.type != B_ARRAY && old.type != B_MISSING)
        return RAISE_CODE(ap->err, CODE_BadValue,
                          "The field '%.*s' must be an array but is of type %s in document {%s}",
                          SLICE_ARGS(leaf->path.text), btype_name(old.type), describe_id(&d, ap->original));
    TRY(check_depth(ap, push->each.p == NULL ? leaf->arg : (struct bval){push->each.p, push->each.len, B_ARRAY}));
    size_t start = ap->out->len, at;
    if (push->has_position || push->has_slice || push->sort != 0) {
        at = update_open(ap, B_ARRAY, name);
        TRY(push_rearranged(ap, leaf, old, push->each.p == NULL ? 1 : bdoc_count(push->each)));
    } else {
        uint32_t count;
        at = open_copy(ap, name, old, &count);
        struct biter it = biter_of(push->each.p != NULL ? push->each : bdoc_empty);
        struct belem e;
        if (push->each.p == NULL) update_push_element(ap, count, leaf->arg);
        while (biter_next(&it, &e)) update_push_element(ap, count++, e.value);
    }
    if (push->sort != 0) { /* counts as a change, as in MongoDB, also when the order was right */
        update_close(ap, at);
        *outcome = WRITTEN;
    } else {
        close_compare(ap, start, at, old, outcome);
    }
    return ST_OK;
}

/* --- $addToSet ------------------------------------------------------------------------------------------------- */

/* Values by equality: open addressing, at most half full. */
struct value_set {
    struct bval *slots; /* B_MISSING: free */
    size_t mask;
};

static bool set_init(struct value_set *set, struct arena *arena, size_t count) {
    size_t cap = 16;
    while (cap < 2 * count) cap *= 2;
    set->mask = cap - 1;
    set->slots = arena_array(arena, struct bval, cap);
    return set->slots != NULL;
}

/* False when it was there. */
static bool set_add(struct value_set *set, struct bval v) {
    size_t at = bval_hash(v, 0) & set->mask;
    for (; set->slots[at].type != B_MISSING; at = (at + 1) & set->mask) {
        if (bval_equal(set->slots[at], v)) return false;
    }
    set->slots[at] = v;
    return true;
}

static status parse_add_to_set(struct update_parse *ps, struct belem field, struct update_leaf *leaf) {
    struct description d;
    struct update_push *push = arena_new(ps->arena, struct update_push);
    if (push == NULL) return RAISE(ps->err, ST_NOMEM, "update");
    leaf->arg = field.value;
    leaf->push = push;
    if (field.value.type != B_DOCUMENT) return ST_OK;
    struct biter it = biter_of(bval_doc(field.value));
    struct belem e;
    if (!biter_next(&it, &e) || !slice_equal(e.name, SLICE_LIT("$each"))) return ST_OK;
    if (e.value.type != B_ARRAY)
        return RAISE_CODE(ps->err, CODE_TypeMismatch,
                          "The argument to $each in $addToSet must be an array but it was of type %s",
                          btype_name(e.value.type));
    push->each = bval_doc(e.value);
    if (biter_next(&it, &e))
        return RAISE_CODE(ps->err, CODE_BadValue, "Found unexpected fields after $each in $addToSet: %s",
                          describe_value(&d, field.value));
    return ST_OK;
}

static bool array_has(struct bdoc array, struct bval v) {
    struct biter it = biter_of(array);
    struct belem e;
    while (biter_next(&it, &e)) {
        if (bval_equal(e.value, v)) return true;
    }
    return false;
}

/* Many values: a set of what is there decides. */
static status add_each(struct apply *ap, struct bdoc each, struct bval old, uint32_t count) {
    struct value_set set;
    if (!set_init(&set, ap->scratch, (size_t) count + bdoc_count(each))) return no_memory(ap);
    struct biter it = biter_of(old.type == B_ARRAY ? bval_doc(old) : bdoc_empty);
    struct belem e;
    while (biter_next(&it, &e)) (void) set_add(&set, e.value);
    it = biter_of(each);
    while (biter_next(&it, &e)) {
        if (set_add(&set, e.value)) update_push_element(ap, count++, e.value);
    }
    return ST_OK;
}

static status op_add_to_set(struct apply *ap, const struct update_leaf *leaf, struct bval old, struct slice name,
                            enum outcome *outcome) {
    if (old.type != B_ARRAY && old.type != B_MISSING)
        return RAISE_CODE(ap->err, CODE_BadValue,
                          "Cannot apply $addToSet to non-array field. Field named '%.*s' has non-array type %s",
                          SLICE_ARGS(name), btype_name(old.type));
    struct bdoc each = leaf->push->each;
    if (each.p == NULL && old.type == B_ARRAY && array_has(bval_doc(old), leaf->arg)) return ST_OK;
    TRY(check_depth(ap, each.p == NULL ? leaf->arg : (struct bval){each.p, each.len, B_ARRAY}));
    uint32_t count;
    size_t start = ap->out->len, at = open_copy(ap, name, old, &count);
    if (each.p == NULL) update_push_element(ap, count, leaf->arg);
    else TRY(add_each(ap, each, old, count));
    close_compare(ap, start, at, old, outcome);
    return ST_OK;
}

/* --- $pull, $pullAll, $pop ------------------------------------------------------------------------------------- */

static bool starts_with_operator(struct bval v) {
    if (v.type != B_DOCUMENT) return false;
    struct biter it = biter_of(bval_doc(v));
    struct belem e;
    return biter_next(&it, &e) && e.name.len != 0 && e.name.p[0] == '$';
}

/* {"": v}, so that predicates on an element find it under a path. */
static status wrap(struct update_parse *ps, struct bval v, struct bdoc *out) {
    uint8_t *p = arena_alloc(ps->arena, 7 + (size_t) v.len);
    if (p == NULL) return RAISE(ps->err, ST_NOMEM, "update");
    put_le32(p, 7 + v.len);
    p[4] = v.type;
    p[5] = 0;
    if (v.len != 0) memcpy(p + 6, v.p, v.len);
    p[6 + v.len] = 0;
    *out = (struct bdoc){p, 7 + v.len};
    return ST_OK;
}

static status parse_pull(struct update_parse *ps, struct belem field, struct update_leaf *leaf) {
    struct bdoc filter;
    struct matcher *matcher;
    leaf->arg = field.value;
    bool is_predicate = starts_with_operator(field.value) || field.value.type == B_REGEX;
    if (!is_predicate && field.value.type != B_DOCUMENT) return ST_OK;
    leaf->condition_on_fields = !is_predicate;
    if (is_predicate) TRY(wrap(ps, field.value, &filter));
    else filter = bval_doc(field.value);
    matcher = arena_new(ps->arena, struct matcher);
    if (matcher == NULL) return RAISE(ps->err, ST_NOMEM, "update");
    TRY(match_compile(ps->mem, ps->arena, filter, matcher, ps->err));
    leaf->condition = matcher;
    return ST_OK;
}

static status parse_pull_all(struct update_parse *ps, struct belem field, struct update_leaf *leaf) {
    if (field.value.type != B_ARRAY)
        return RAISE_CODE(ps->err, CODE_BadValue, "$pullAll requires an array argument but was given a %s",
                          btype_name(field.value.type));
    size_t count = bdoc_count(bval_doc(field.value));
    struct sort_item *items = arena_array(ps->arena, struct sort_item, 2 * count + 1);
    leaf->values = arena_array(ps->arena, struct bval, count + 1);
    if (items == NULL || leaf->values == NULL) return RAISE(ps->err, ST_NOMEM, "update");
    struct biter it = biter_of(bval_doc(field.value));
    struct belem e;
    for (size_t i = 0; biter_next(&it, &e); i++) items[i].value = e.value;
    sort_items(items, items + count, count, 1);
    for (size_t i = 0; i < count; i++) leaf->values[i] = items[i].value;
    leaf->value_count = (uint32_t) count;
    return ST_OK;
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

static status goes_away(struct apply *ap, const struct update_leaf *leaf, struct bval v, bool *goes) {
    *goes = false;
    if (leaf->values != NULL) *goes = is_among(v, leaf->values, leaf->value_count);
    else if (leaf->condition == NULL) *goes = bval_equal(v, leaf->arg);
    else if (!leaf->condition_on_fields) return match_value(leaf->condition, v, goes, ap->err);
    else if (v.type == B_DOCUMENT) return match_doc(leaf->condition, bval_doc(v), goes, ap->err);
    return ST_OK;
}

static status op_pull(struct apply *ap, const struct update_leaf *leaf, struct bval old, struct slice name,
                      enum outcome *outcome) {
    if (old.type == B_MISSING) return ST_OK;
    if (old.type != B_ARRAY) return RAISE_CODE(ap->err, CODE_BadValue, "Cannot apply $pull to a non-array value");
    size_t start = ap->out->len, at = update_open(ap, B_ARRAY, name);
    struct biter it = biter_of(bval_doc(old));
    struct belem e;
    uint32_t kept = 0, count = 0;
    for (; biter_next(&it, &e); count++) {
        bool goes;
        TRY(goes_away(ap, leaf, e.value, &goes));
        if (!goes) update_push_element(ap, kept++, e.value);
    }
    update_close(ap, at);
    *outcome = kept == count ? SAME : WRITTEN;
    if (kept == count) ap->out->len = start;
    return ST_OK;
}

static status parse_pop(struct update_parse *ps, struct belem field, struct update_leaf *leaf) {
    struct description d;
    int64_t which = 0;
    if (!bval_is_number(field.value))
        return RAISE_CODE(ps->err, CODE_FailedToParse, "Expected a number in: %s",
                          describe_field(&d, field.name, field.value));
    if (!bnum_to_int64_exact(bnum_of(field.value), &which))
        return RAISE_CODE(ps->err, CODE_FailedToParse, "Expected an integer: %s",
                          describe_field(&d, field.name, field.value));
    if (which != 1 && which != -1)
        return RAISE_CODE(ps->err, CODE_FailedToParse, "$pop expects 1 or -1, found: %lld", (long long) which);
    leaf->arg = field.value;
    return ST_OK;
}

static status op_pop(struct apply *ap, const struct update_leaf *leaf, struct bval old, struct slice name,
                     enum outcome *outcome) {
    int64_t which = 0;
    if (old.type == B_MISSING) return ST_OK;
    if (old.type != B_ARRAY)
        return RAISE_CODE(ap->err, CODE_TypeMismatch, "Path '%.*s' contains an element of non-array type '%s'",
                          SLICE_ARGS(leaf->path.text), btype_name(old.type));
    uint32_t count = bdoc_count(bval_doc(old)), kept = 0;
    if (count == 0) return ST_OK;
    (void) bnum_to_int64(bnum_of(leaf->arg), &which);
    uint32_t gone = which > 0 ? count - 1 : 0;
    size_t at = update_open(ap, B_ARRAY, name);
    struct biter it = biter_of(bval_doc(old));
    struct belem e;
    for (uint32_t i = 0; biter_next(&it, &e); i++) {
        if (i != gone) update_push_element(ap, kept++, e.value);
    }
    update_close(ap, at);
    *outcome = WRITTEN;
    return ST_OK;
}

const struct update_op update_array_ops[] = {
    {"$push", UPDATE_CREATES, parse_push, op_push},
    {"$addToSet", UPDATE_CREATES, parse_add_to_set, op_add_to_set},
    {"$pull", 0, parse_pull, op_pull},
    {"$pullAll", 0, parse_pull_all, op_pull},
    {"$pop", 0, parse_pop, op_pop},
    {"$pushAll", 0, NULL, NULL},
    {NULL, 0, NULL, NULL},
};
