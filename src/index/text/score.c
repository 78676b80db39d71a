/* Terms and scores of a document; see score.h. */
#include "index/text/score.h"

#include <stdlib.h>

#include "base/hash.h"

#define CODE_LanguageType 17261

/* ---- the indexed strings ---- */

struct texts {
    status (*visit)(void *ctx, struct slice text, int32_t weight, struct err *err);
    void *ctx;
    int32_t weight;
    status st;
    struct err *err;
};

static status visit_value(struct texts *t, struct bval v, bool enter) {
    if (v.type == B_STRING) return t->visit(t->ctx, bval_string(v), t->weight, t->err);
    if (v.type != B_ARRAY && !(enter && v.type == B_DOCUMENT)) return ST_OK;
    struct biter it = biter_of(bval_doc(v));
    struct belem e;
    while (biter_next(&it, &e)) {
        if (v.type == B_ARRAY && !enter && e.value.type != B_STRING) continue;
        TRY(visit_value(t, e.value, enter));
    }
    return ST_OK;
}

static bool visit_path(void *ctx, struct bval v, unsigned flags) {
    struct texts *t = ctx;
    (void) flags;
    t->st = visit_value(t, v, false);
    return t->st != ST_OK;
}

status doc_texts(const struct index_spec *spec, struct bdoc doc, status (*visit)(void *ctx, struct slice text, int32_t weight, struct err *err), void *ctx, struct err *err) {
    struct texts t = {.visit = visit, .ctx = ctx, .weight = 1, .st = ST_OK, .err = err};
    if (spec->text_all_fields) return visit_value(&t, (struct bval){doc.p, doc.len, B_DOCUMENT}, true);
    for (uint32_t i = 0; i < spec->text_field_count; i++) {
        t.weight = spec->text_fields[i].weight;
        (void) path_visit(doc, &spec->text_fields[i].path, visit_path, &t);
        TRY(t.st);
    }
    return ST_OK;
}

status doc_language(const struct index_spec *spec, struct bdoc doc, struct slice *out, struct err *err) {
    struct slice field = spec->language_override.len != 0 ? spec->language_override : SLICE_LIT("language");
    struct bval v = bdoc_get(doc, field);
    *out = spec->default_language.len != 0 ? spec->default_language : SLICE_LIT("english");
    if (v.type == B_MISSING) return ST_OK;
    if (v.type != B_STRING) return RAISE_CODE(err, CODE_LanguageType, "found language override field '%.*s' in document with non-string type", (int) field.len, (const char *) field.p);
    *out = bval_string(v);
    return ST_OK;
}

/* ---- adding up ---- */

struct slot {
    struct slice term;
    double score;          /* over all values so far */
    uint32_t value_number; /* of which count and the next two are */
    uint32_t count;
    double freq, exp;
};

/* An open-addressing table in the arena. */
struct adder {
    struct arena *arena;
    struct analyzer *analyzer;
    struct slot *slots;
    uint32_t cap, used;
    uint32_t value_number, term_count; /* of the value being read */
};

static status grow(struct adder *a, struct err *err) {
    uint32_t cap = a->cap != 0 ? a->cap * 2 : 64;
    struct slot *slots = arena_array(a->arena, struct slot, cap);
    if (slots == NULL) return RAISE(err, ST_NOMEM, "no memory for the terms of a document");
    for (uint32_t i = 0; i < a->cap; i++) {
        if (a->slots[i].term.p == NULL) continue;
        uint32_t at = (uint32_t) hash64(a->slots[i].term.p, a->slots[i].term.len, 0) & (cap - 1);
        while (slots[at].term.p != NULL) at = (at + 1) & (cap - 1);
        slots[at] = a->slots[i];
    }
    a->slots = slots;
    a->cap = cap;
    return ST_OK;
}

static status find_slot(struct adder *a, struct slice term, struct slot **out, struct err *err) {
    if (a->used * 2 >= a->cap) TRY(grow(a, err));
    uint32_t at = (uint32_t) hash64(term.p, term.len, 0) & (a->cap - 1);
    while (a->slots[at].term.p != NULL && !slice_equal(a->slots[at].term, term)) at = (at + 1) & (a->cap - 1);
    if (a->slots[at].term.p == NULL) {
        uint8_t *copy = arena_copy(a->arena, term.p, term.len);
        if (copy == NULL) return RAISE(err, ST_NOMEM, "no memory for the terms of a document");
        a->slots[at].term = slice_of(copy, term.len);
        a->used++;
    }
    *out = &a->slots[at];
    return ST_OK;
}

static status add_term(void *ctx, struct slice term, struct slice raw, struct err *err) {
    struct adder *a = ctx;
    struct slot *s = NULL;
    (void) raw;
    TRY(find_slot(a, term, &s, err));
    if (s->value_number != a->value_number) {
        s->value_number = a->value_number;
        s->count = 0;
        s->freq = s->exp = 0;
    }
    s->exp = s->exp != 0 ? s->exp * 2 : 1;
    s->freq += 1 / s->exp;
    s->count++;
    a->term_count++;
    return ST_OK;
}

/* Without regard to case, in ASCII: as MongoDB compares the raw value with a term. */
static bool is_same_word(struct slice a, struct slice b) {
    if (a.len != b.len) return false;
    for (size_t i = 0; i < a.len; i++) {
        uint8_t x = a.p[i], y = b.p[i];
        if (x >= 'A' && x <= 'Z') x |= 0x20;
        if (y >= 'A' && y <= 'Z') y |= 0x20;
        if (x != y) return false;
    }
    return true;
}

static status add_text(void *ctx, struct slice text, int32_t weight, struct err *err) {
    struct adder *a = ctx;
    a->value_number++;
    a->term_count = 0;
    TRY(analyzer_terms(a->analyzer, text, add_term, a, err));
    for (uint32_t i = 0; i < a->cap; i++) {
        struct slot *s = &a->slots[i];
        if (s->term.p == NULL || s->value_number != a->value_number) continue;
        double share = 0.5 * s->count / a->term_count + 0.5;
        s->score += weight * s->freq * share * (is_same_word(text, s->term) ? 1.1 : 1.0);
    }
    return ST_OK;
}

static int compare_terms(const void *x, const void *y) {
    const struct term_score *a = x, *b = y;
    return slice_compare(a->term, b->term);
}

static status collect(const struct adder *a, struct doc_terms *out, struct err *err) {
    *out = (struct doc_terms){0};
    if (a->used == 0) return ST_OK;
    out->terms = arena_array(a->arena, struct term_score, a->used);
    if (out->terms == NULL) return RAISE(err, ST_NOMEM, "no memory for the terms of a document");
    for (uint32_t i = 0; i < a->cap; i++) {
        if (a->slots[i].term.p != NULL) out->terms[out->count++] = (struct term_score){a->slots[i].term, a->slots[i].score};
    }
    qsort(out->terms, out->count, sizeof(*out->terms), compare_terms);
    return ST_OK;
}

status doc_terms_of(const struct index_spec *spec, struct bdoc doc, struct arena *arena, struct doc_terms *out, struct err *err) {
    struct slice language;
    struct analyzer analyzer;
    TRY(doc_language(spec, doc, &language, err));
    status st = analyzer_open(&analyzer, arena->mem, language, err);
    struct adder a = {.arena = arena, .analyzer = &analyzer};
    if (st == ST_OK) st = doc_texts(spec, doc, add_text, &a, err);
    if (st == ST_OK) st = collect(&a, out, err);
    analyzer_close(&analyzer);
    return st;
}

const struct term_score *doc_terms_find(const struct doc_terms *t, struct slice term) {
    struct term_score key = {term, 0};
    return t->count != 0 ? bsearch(&key, t->terms, t->count, sizeof(key), compare_terms) : NULL;
}
