/* Terms and scores of a document; see score.h. */
#include "index/text/score.h"

#include <stdlib.h>

#include "base/hash.h"

#define CODE_LanguageType 17261

/* ---- the indexed strings ---- */

struct texts {
    const struct index_spec *spec;
    struct slice language_field;
    doc_text_visitor *visit;
    void *ctx;
    struct err *err;
};

static status read_language(const struct texts *t, struct bdoc doc, enum text_language *language) {
    struct bval v = bdoc_get(doc, t->language_field);
    if (v.type == B_MISSING) return ST_OK;
    if (v.type != B_STRING)
        return RAISE_CODE(t->err, CODE_LanguageType,
                          "found language override field '%.*s' in document with non-string type",
                          (int) (t->language_field.len < 200 ? t->language_field.len : 200),
                          (const char *) t->language_field.p);
    return text_language_parse(bval_string(v), language, t->err);
}

static status visit_text(const struct texts *t, struct bval v, int32_t weight, enum text_language language) {
    struct doc_text text = {bval_string(v), weight, language};
    return t->visit(t->ctx, &text, t->err);
}

static status walk_path(const struct texts *t, struct bdoc doc, const struct text_field *field, uint32_t at,
                        enum text_language language);

/* A value at the path's part `at`: the strings at its end, the documents on the way. */
static status walk_value(const struct texts *t, struct bval v, const struct text_field *field, uint32_t at,
                         enum text_language language) {
    bool is_end = at + 1 == field->path.part_count;
    if (is_end && v.type == B_STRING) return visit_text(t, v, field->weight, language);
    if (!is_end && v.type == B_DOCUMENT) return walk_path(t, bval_doc(v), field, at + 1, language);
    return ST_OK;
}

static status walk_path(const struct texts *t, struct bdoc doc, const struct text_field *field, uint32_t at,
                        enum text_language language) {
    TRY(read_language(t, doc, &language));
    struct bval v = bdoc_get(doc, field->path.parts[at].name);
    if (v.type != B_ARRAY) return walk_value(t, v, field, at, language);
    struct biter it = biter_of(bval_doc(v));
    struct belem e;
    while (biter_next(&it, &e)) TRY(walk_value(t, e.value, field, at, language));
    return ST_OK;
}

/* Where the walk over all strings stands: array positions do not count. */
struct place {
    struct slice name;
    const struct place *above;
};

static bool is_at(const struct place *place, const struct path *path) {
    uint32_t at = path->part_count;
    for (; place != NULL && at > 0 && slice_equal(place->name, path->parts[at - 1].name); place = place->above) at--;
    return place == NULL && at == 0;
}

static int32_t weight_at(const struct index_spec *spec, const struct place *place) {
    for (uint32_t i = 0; i < spec->text_field_count; i++) {
        if (is_at(place, &spec->text_fields[i].path)) return spec->text_fields[i].weight;
    }
    return 1;
}

static status walk_all(const struct texts *t, struct bdoc doc, bool is_array, const struct place *above,
                       enum text_language language) {
    struct biter it = biter_of(doc);
    struct belem e;
    if (!is_array) TRY(read_language(t, doc, &language));
    while (biter_next(&it, &e)) {
        struct place below = {e.name, above};
        const struct place *place = is_array ? above : &below;
        if (!is_array && slice_equal(e.name, t->language_field)) continue;
        if (e.value.type == B_STRING) TRY(visit_text(t, e.value, weight_at(t->spec, place), language));
        if (e.value.type == B_DOCUMENT || e.value.type == B_ARRAY)
            TRY(walk_all(t, bval_doc(e.value), e.value.type == B_ARRAY, place, language));
    }
    return ST_OK;
}

status doc_texts(const struct index_spec *spec, struct bdoc doc, doc_text_visitor *visit, void *ctx, struct err *err) {
    struct texts t = {spec, spec->language_override.len != 0 ? spec->language_override : SLICE_LIT("language"), visit,
                      ctx, err};
    enum text_language language = TEXT_LANGUAGE_ENGLISH;
    if (spec->default_language.len != 0) TRY(text_language_parse(spec->default_language, &language, err));
    if (spec->text_all_fields) return walk_all(&t, doc, false, NULL, language);
    for (uint32_t i = 0; i < spec->text_field_count; i++) TRY(walk_path(&t, doc, &spec->text_fields[i], 0, language));
    return ST_OK;
}

/* ---- adding up ---- */

#define NO_ENTRY UINT32_MAX

struct entry {
    struct slice term;
    uint64_t hash;
    double score;          /* over all values so far */
    uint32_t value_number; /* of which count, freq, exp and the chain are */
    uint32_t count;
    uint32_t next; /* in the value's chain */
    double freq, exp;
};

/* The terms in order of their first place, with a table of their numbers over them; all in the arena. */
struct adder {
    struct arena *arena;
    struct analyzers *analyzers;
    struct entry *entries;
    uint32_t *table;                    /* entry + 1, 0: empty */
    uint32_t count, cap;                /* the table has twice the cap */
    uint32_t value_number, value_terms; /* of the value being read */
    uint32_t value_first;
};

static void table_put(struct adder *a, uint32_t idx) {
    uint32_t mask = a->cap * 2 - 1, at = (uint32_t) a->entries[idx].hash & mask;
    while (a->table[at] != 0) at = (at + 1) & mask;
    a->table[at] = idx + 1;
}

static status grow(struct adder *a, struct err *err) {
    uint32_t cap = a->cap != 0 ? a->cap * 2 : 64;
    struct entry *entries = arena_alloc(a->arena, cap * sizeof(*entries));
    uint32_t *table = arena_array(a->arena, uint32_t, (size_t) cap * 2);
    if (entries == NULL || table == NULL) return RAISE(err, ST_NOMEM, "no memory for the terms of a document");
    if (a->count != 0) memcpy(entries, a->entries, a->count * sizeof(*entries));
    a->entries = entries;
    a->table = table;
    a->cap = cap;
    for (uint32_t i = 0; i < a->count; i++) table_put(a, i);
    return ST_OK;
}

static status find_entry(struct adder *a, struct slice term, uint32_t *out, struct err *err) {
    if (a->count == a->cap) TRY(grow(a, err));
    uint64_t hash = hash64(term.p, term.len, 0);
    uint32_t mask = a->cap * 2 - 1, at = (uint32_t) hash & mask;
    for (; a->table[at] != 0; at = (at + 1) & mask) {
        const struct entry *e = &a->entries[a->table[at] - 1];
        if (e->hash != hash || !slice_equal(e->term, term)) continue;
        *out = a->table[at] - 1;
        return ST_OK;
    }
    uint8_t *copy = arena_copy(a->arena, term.p, term.len);
    if (copy == NULL) return RAISE(err, ST_NOMEM, "no memory for the terms of a document");
    a->entries[a->count] = (struct entry){.term = slice_of(copy, term.len), .hash = hash};
    *out = a->count++;
    a->table[at] = a->count;
    return ST_OK;
}

static status add_term(void *ctx, struct slice term, struct slice raw, struct err *err) {
    struct adder *a = ctx;
    uint32_t idx = 0;
    (void) raw;
    TRY(find_entry(a, term, &idx, err));
    struct entry *e = &a->entries[idx];
    if (e->value_number != a->value_number) {
        e->value_number = a->value_number;
        e->count = 0;
        e->freq = e->exp = 0;
        e->next = a->value_first;
        a->value_first = idx;
    }
    e->exp = e->exp != 0 ? e->exp * 2 : 1;
    e->freq += 1 / e->exp;
    e->count++;
    a->value_terms++;
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

static status add_text(void *ctx, const struct doc_text *text, struct err *err) {
    struct adder *a = ctx;
    struct analyzer *analyzer;
    TRY(analyzers_get(a->analyzers, text->language, &analyzer, err));
    a->value_number++;
    a->value_terms = 0;
    a->value_first = NO_ENTRY;
    TRY(analyzer_terms(analyzer, text->text, add_term, a, err));
    for (uint32_t i = a->value_first; i != NO_ENTRY; i = a->entries[i].next) {
        struct entry *e = &a->entries[i];
        double share = 0.5 * e->count / a->value_terms + 0.5;
        e->score += text->weight * e->freq * share * (is_same_word(text->text, e->term) ? 1.1 : 1.0);
    }
    return ST_OK;
}

static int compare_terms(const void *x, const void *y) {
    const struct term_score *a = x, *b = y;
    return slice_compare(a->term, b->term);
}

status doc_terms_of(const struct index_spec *spec, struct bdoc doc, struct analyzers *analyzers, struct arena *arena,
                    struct doc_terms *out, struct err *err) {
    struct adder a = {.arena = arena, .analyzers = analyzers};
    TRY(doc_texts(spec, doc, add_text, &a, err));
    *out = (struct doc_terms){0};
    if (a.count == 0) return ST_OK;
    out->terms = arena_alloc(arena, a.count * sizeof(*out->terms));
    if (out->terms == NULL) return RAISE(err, ST_NOMEM, "no memory for the terms of a document");
    for (uint32_t i = 0; i < a.count; i++) out->terms[i] = (struct term_score){a.entries[i].term, a.entries[i].score};
    out->count = a.count;
    qsort(out->terms, out->count, sizeof(*out->terms), compare_terms);
    return ST_OK;
}

const struct term_score *doc_terms_find(const struct doc_terms *t, struct slice term) {
    struct term_score key = {term, 0};
    return t->count != 0 ? bsearch(&key, t->terms, t->count, sizeof(key), compare_terms) : NULL;
}
