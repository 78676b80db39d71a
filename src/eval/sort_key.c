/* Sort keys; sort_key.h is the contract.
 *
 * Without arrays a key is the fields' encodings end to end, read straight from the document. With arrays it is the
 * least of the keys that an index on the pattern would hold for the document: the fields that meet an array meet the
 * same one (else they are parallel), each of its elements takes its place in turn, and memcmp chooses. Directions are
 * in the bytes, so "least" is the greatest where descending. Elements are entered in place: the state is one position
 * per field, on the stack. */
#include "eval/sort_key.h"

#include "base/codes.h"
#include "bson/number.h"
#include "eval/describe.h"
#include "eval/fields.h"
#include "index/key.h"

/* --- patterns -------------------------------------------------------------------------------------------------- */

static status parse_meta(struct slice name, struct bdoc doc, struct sort_field *f, struct err *err) {
    struct description d;
    struct bval what = bdoc_get_str(doc, "$meta");
    if (bdoc_count(doc) != 1 || what.type == B_MISSING)
        return RAISE_CODE(err, 15974, "Illegal key in $sort specification: %s",
                          describe_field(&d, name, (struct bval){doc.p, doc.len, B_DOCUMENT}));
    if (what.type != B_STRING || !slice_equal(bval_string(what), SLICE_LIT("textScore")))
        return RAISE_CODE(err, 31138, "Illegal $meta sort: %s", describe_field(&d, SLICE_LIT("$meta"), what));
    f->is_text_score = true;
    f->descending = true;
    return ST_OK;
}

static status parse_direction(struct belem e, struct sort_field *f, struct err *err) {
    struct description d;
    int64_t direction;
    if (e.value.type == B_DOCUMENT) return parse_meta(e.name, bval_doc(e.value), f, err);
    if (!bval_is_number(e.value))
        return RAISE_CODE(err, 15974, "Illegal key in $sort specification: %s", describe_field(&d, e.name, e.value));
    if (!bnum_to_int64_exact(bnum_of(e.value), &direction) || (direction != 1 && direction != -1))
        return RAISE_CODE(err, 15975, "$sort key ordering must be 1 (for ascending) or -1 (for descending)");
    f->descending = direction < 0;
    return ST_OK;
}

static status check_path(const struct path *path, struct err *err) {
    if (path->text.len == 0) return RAISE_CODE(err, 40352, "FieldPath cannot be constructed with empty string");
    for (uint32_t i = 0; i < path->part_count; i++) {
        struct slice name = path->parts[i].name;
        if (name.len == 0 && i + 1 == path->part_count)
            return RAISE_CODE(err, 40353, "FieldPath must not end with a '.'.");
        if (name.len == 0) return RAISE_CODE(err, 15998, "FieldPath field names may not be empty strings.");
        if (name.p[0] == '$')
            return RAISE_CODE(err, 16410,
                              "FieldPath field names may not start with '$'. Consider using $getField or $setField.");
    }
    return ST_OK;
}

status sort_pattern_parse(struct arena *arena, struct bdoc doc, struct sort_pattern *out, struct err *err) {
    struct biter it = biter_of(doc);
    struct belem e;
    out->field_count = 0;
    while (biter_next(&it, &e)) {
        if (out->field_count == SORT_FIELDS_MAX)
            return RAISE_CODE(err, CODE_BadValue, "too many fields in a sort pattern, the limit is %d",
                              SORT_FIELDS_MAX);
        struct sort_field *f = &out->fields[out->field_count];
        *f = (struct sort_field){0};
        TRY(path_parse(arena, e.name, &f->path, err));
        TRY(check_path(&f->path, err));
        TRY(parse_direction(e, f, err));
        out->field_count++;
    }
    return ST_OK;
}

/* --- keys ------------------------------------------------------------------------------------------------------ */

/* Where a field has got to: the value reached by the parts before `part`. */
struct place {
    struct bval v;
    uint32_t part;
    bool is_done; /* v is what is sorted by */
};

struct expansion {
    const struct sort_pattern *pattern;
    double text_score;
    struct arena *scratch;
    struct buf *key; /* the least key so far stands at [start, len) */
    size_t start;
    bool has_key;
    struct err *err;
};

static const struct bval undefined_value = {(const uint8_t *) "", 0, B_UNDEFINED};

/* Walks through documents, and through arrays by position, until the value, or an array that must be entered. */
static void advance(const struct path *path, struct place *p) {
    while (!p->is_done) {
        bool at_end = p->part == path->part_count;
        if (p->v.type == B_ARRAY) {
            int64_t idx = at_end ? -1 : path->parts[p->part].idx;
            struct bval element =
                idx >= 0 && idx <= UINT32_MAX ? barray_at(bval_doc(p->v), (uint32_t) idx) : BVAL_MISSING;
            if (element.type == B_MISSING) return;
            p->v = element;
            p->part++;
        } else if (at_end) {
            p->is_done = true;
        } else if (p->v.type == B_DOCUMENT) {
            struct field_name name = field_name_of(path->parts[p->part].name);
            p->v = field_get(bval_doc(p->v), &name);
            p->part++;
        } else {
            p->v = BVAL_MISSING;
            p->is_done = true;
        }
    }
}

static void append_field(const struct expansion *x, uint32_t i, struct bval v, struct buf *key) {
    uint8_t bytes[8];
    if (x->pattern->fields[i].is_text_score) {
        memcpy(bytes, &x->text_score, 8);
        v = (struct bval){bytes, 8, B_DOUBLE};
    }
    key_append(key, v, x->pattern->fields[i].descending);
}

/* Writes the key of these places behind the least one and keeps the lesser of the two. */
static void offer(struct expansion *x, const struct place *places) {
    struct buf *key = x->key;
    size_t at = key->len;
    for (uint32_t i = 0; i < x->pattern->field_count; i++) append_field(x, i, places[i].v, key);
    if (key->failed || !x->has_key) {
        x->has_key = true;
        return;
    }
    struct slice best = slice_of(key->p + x->start, at - x->start), next = slice_of(key->p + at, key->len - at);
    bool is_less = slice_compare(next, best) < 0;
    if (is_less) memmove(key->p + x->start, next.p, next.len);
    key->len = is_less ? x->start + next.len : at;
}

/* The array that the places have met; they must agree on it. */
static status find_array(const struct expansion *x, const struct place *places, struct bval *array) {
    *array = BVAL_MISSING;
    for (uint32_t i = 0; i < x->pattern->field_count; i++) {
        if (places[i].is_done) continue;
        if (array->type != B_MISSING && places[i].v.p != array->p)
            return RAISE_CODE(x->err, CODE_BadValue, "cannot sort with keys that are parallel arrays");
        *array = places[i].v;
    }
    return ST_OK;
}

/* An element in the array's place. Between parts only documents lead on (arrays in arrays are not entered); past the
 * last part an element is the value. */
static void enter(const struct path *path, struct place *p, struct bval element) {
    if (p->part < path->part_count && element.type != B_DOCUMENT) element = BVAL_MISSING;
    p->v = element;
    if (p->part == path->part_count || element.type == B_MISSING) p->is_done = true;
    else advance(path, p);
}

static status expand(struct expansion *x, const struct place *places) {
    struct bval array;
    uint32_t count = x->pattern->field_count;
    TRY(find_array(x, places, &array));
    if (array.type == B_MISSING) {
        offer(x, places);
        return ST_OK;
    }
    struct arena_mark mark = arena_mark(x->scratch);
    struct place *next = arena_array(x->scratch, struct place, count);
    if (next == NULL) return RAISE(x->err, ST_NOMEM, "sort key");
    struct field_scan scan = field_scan_of(bval_doc(array));
    struct field e = {.value = undefined_value};
    bool any = field_next(&scan, &e); /* an empty array counts as one undefined element */
    do {
        for (uint32_t i = 0; i < count; i++) {
            next[i] = places[i];
            if (!places[i].is_done) enter(&x->pattern->fields[i].path, &next[i], e.value);
        }
        TRY(expand(x, next));
    } while (any && field_next(&scan, &e));
    arena_rewind(x->scratch, mark);
    return ST_OK;
}

status sort_key_append(const struct sort_pattern *p, struct bdoc doc, double text_score, struct arena *scratch,
                       struct buf *key, struct err *err) {
    struct expansion x = {
        .pattern = p, .text_score = text_score, .scratch = scratch, .key = key, .start = key->len, .err = err};
    struct place places[SORT_FIELDS_MAX];
    for (uint32_t i = 0; i < p->field_count; i++) {
        places[i] = (struct place){.v = {doc.p, doc.len, B_DOCUMENT}};
        if (p->fields[i].is_text_score) places[i].is_done = true;
        else advance(&p->fields[i].path, &places[i]);
    }
    status st = expand(&x, places);
    if (st == ST_OK && key->failed) st = RAISE(err, ST_NOMEM, "sort key");
    if (st != ST_OK) key->len = x.start;
    return st;
}
