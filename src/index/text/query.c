/* The language of $search: words, "phrases", -negation, as MongoDB reads it.
 *
 *   A '-' negates when it stands at the start or after white space; the negation ends at the next white space outside a phrase. Words of a phrase are
 *   searched for as words too, unless the phrase is negated. A phrase that is never closed is only its words. A phrase is found as a piece of text, folded, not as
 *   whole words.
 *   Where case or diacritics count, the postings give the candidates (a document has a term however it is written) and the document decides. */
#include "index/text/query.h"

#include "index/text/score.h"

/* ---- parsing ---- */

struct parser {
    struct arena *arena;
    struct text_query *q;
    struct analyzer folded, exact; /* the latter only if the query is sensitive */
};

struct term_list {
    struct arena *arena;
    struct slice_list *list;
};

static status append(struct arena *arena, struct slice_list *list, struct slice s, struct err *err) {
    for (uint32_t i = 0; i < list->count; i++) {
        if (slice_equal(list->items[i], s)) return ST_OK;
    }
    if (list->count == list->cap) {
        uint32_t cap = list->cap != 0 ? list->cap * 2 : 8;
        struct slice *items = arena_array(arena, struct slice, cap);
        if (items == NULL) return RAISE(err, ST_NOMEM, "no memory for a text query");
        if (list->count != 0) memcpy(items, list->items, list->count * sizeof(*items));
        list->items = items;
        list->cap = cap;
    }
    uint8_t *copy = arena_copy(arena, s.p, s.len);
    if (copy == NULL) return RAISE(err, ST_NOMEM, "no memory for a text query");
    list->items[list->count++] = slice_of(copy, s.len);
    return ST_OK;
}

static status add_term(void *ctx, struct slice term, struct slice raw, struct err *err) {
    struct term_list *t = ctx;
    (void) raw;
    return append(t->arena, t->list, term, err);
}

static status add_words(struct parser *p, struct slice text, bool negated, struct err *err) {
    struct text_query *q = p->q;
    struct term_list list = {p->arena, negated ? &q->negated : &q->terms};
    TRY(analyzer_terms(&p->folded, text, add_term, &list, err));
    if (!query_is_sensitive(q)) return ST_OK;
    list.list = negated ? &q->exact_negated : &q->exact;
    return analyzer_terms(&p->exact, text, add_term, &list, err);
}

static status add_phrase(struct parser *p, struct slice text, bool negated, struct err *err) {
    struct buf folded;
    buf_init(&folded, p->arena->mem);
    status st = analyzer_fold(&p->exact, text, &folded, err);
    if (st == ST_OK) st = append(p->arena, negated ? &p->q->negated_phrases : &p->q->phrases, buf_slice(&folded), err);
    buf_release(&folded);
    return st;
}

static bool is_space(uint8_t c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static status parse(struct parser *p, struct slice s, struct err *err) {
    bool negated = false, in_phrase = false, after_space = true;
    size_t phrase_at = 0, at = 0;
    while (at < s.len) {
        uint8_t c = s.p[at];
        if (is_space(c)) {
            after_space = true;
            negated = negated && in_phrase;
            at++;
        } else if (c == '"') {
            if (in_phrase) TRY(add_phrase(p, slice_of(s.p + phrase_at, at - phrase_at), negated, err));
            in_phrase = !in_phrase;
            phrase_at = ++at;
            after_space = false;
        } else if (c == '-' && !in_phrase && after_space) {
            negated = true;
            after_space = false;
            at++;
        } else {
            size_t start = at;
            while (at < s.len && !is_space(s.p[at]) && s.p[at] != '"') at++;
            if (!(negated && in_phrase)) TRY(add_words(p, slice_of(s.p + start, at - start), negated, err));
            after_space = false;
        }
    }
    return ST_OK;
}

status text_query_parse(const struct text_index *ix, struct slice search, struct slice language, bool case_sensitive,
                        bool diacritic_sensitive, struct arena *arena, struct text_query **out, struct err *err) {
    struct text_query *q = arena_new(arena, struct text_query);
    if (q == NULL) return RAISE(err, ST_NOMEM, "no memory for a text query");
    if (language.len == 0)
        language = ix->spec->default_language.len != 0 ? ix->spec->default_language : SLICE_LIT("english");
    TRY(text_language_parse(language, &q->language, err));
    q->mem = arena->mem;
    q->case_sensitive = case_sensitive;
    q->diacritic_sensitive = diacritic_sensitive;
    struct parser p = {.arena = arena, .q = q};
    status st = analyzer_open(&p.folded, arena->mem, q->language, err);
    if (st == ST_OK) st = analyzer_open(&p.exact, arena->mem, q->language, err);
    p.exact.keep_case = case_sensitive;
    p.exact.keep_diacritics = diacritic_sensitive;
    if (st == ST_OK) st = parse(&p, search, err);
    analyzer_close(&p.folded);
    analyzer_close(&p.exact);
    TRY(st);
    *out = q;
    return ST_OK;
}

/* ---- a document against the query ---- */

struct check {
    const struct text_query *q;
    struct analyzers *folding;
    struct buf text;
    bool found_word, found_negated;
    bool *phrase_found;
};

static bool has(const struct slice_list *list, struct slice s) {
    for (uint32_t i = 0; i < list->count; i++) {
        if (slice_equal(list->items[i], s)) return true;
    }
    return false;
}

static bool contains(const struct buf *text, struct slice phrase) {
    return phrase.len == 0 || (text->len >= phrase.len && memmem(text->p, text->len, phrase.p, phrase.len) != NULL);
}

static status check_term(void *ctx, struct slice term, struct slice raw, struct err *err) {
    struct check *c = ctx;
    (void) raw;
    (void) err;
    c->found_word = c->found_word || has(&c->q->exact, term);
    c->found_negated = c->found_negated || has(&c->q->exact_negated, term);
    return ST_OK;
}

static status check_text(void *ctx, const struct doc_text *text, struct err *err) {
    struct check *c = ctx;
    const struct text_query *q = c->q;
    struct analyzer *analyzer;
    TRY(analyzers_get(c->folding, text->language, &analyzer, err));
    if (query_is_sensitive(q)) TRY(analyzer_terms(analyzer, text->text, check_term, c, err));
    if (q->phrases.count + q->negated_phrases.count == 0) return ST_OK;
    buf_clear(&c->text);
    TRY(analyzer_fold(analyzer, text->text, &c->text, err));
    for (uint32_t i = 0; i < q->phrases.count; i++)
        c->phrase_found[i] = c->phrase_found[i] || contains(&c->text, q->phrases.items[i]);
    for (uint32_t i = 0; i < q->negated_phrases.count; i++)
        c->found_negated = c->found_negated || contains(&c->text, q->negated_phrases.items[i]);
    return ST_OK;
}

void query_analyzers_init(const struct text_query *q, const struct mem *mem, struct analyzers *out) {
    analyzers_init(out, mem);
    out->keep_case = q->case_sensitive;
    out->keep_diacritics = q->diacritic_sensitive;
}

status query_check_document(const struct text_index *ix, const struct text_query *q, struct bdoc doc,
                            struct analyzers *folding, struct arena *scratch, bool *matches, struct err *err) {
    struct check c = {.q = q,
                      .folding = folding,
                      .found_word = !query_is_sensitive(q),
                      .phrase_found = arena_array(scratch, bool, q->phrases.count + 1)};
    if (c.phrase_found == NULL) return RAISE(err, ST_NOMEM, "no memory to check a document");
    buf_init(&c.text, scratch->mem);
    status st = doc_texts(ix->spec, doc, check_text, &c, err);
    buf_release(&c.text);
    TRY(st);
    *matches = c.found_word && !c.found_negated;
    for (uint32_t i = 0; i < q->phrases.count; i++) *matches = *matches && c.phrase_found[i];
    return ST_OK;
}

status text_query_matches(const struct text_index *ix, const struct text_query *q, struct bdoc doc,
                          struct arena *scratch, bool *matches, double *score, struct err *err) {
    struct doc_terms terms = {0};
    struct analyzers plain, folding;
    analyzers_init(&plain, scratch->mem);
    query_analyzers_init(q, scratch->mem, &folding);
    bool candidate = false;
    *score = 0;
    *matches = false;
    status st = doc_terms_of(ix->spec, doc, &plain, scratch, &terms, err);
    for (uint32_t i = 0; i < q->terms.count && st == ST_OK; i++) {
        const struct term_score *t = doc_terms_find(&terms, q->terms.items[i]);
        candidate = candidate || t != NULL;
        if (t != NULL) *score += t->score;
    }
    for (uint32_t i = 0; i < q->negated.count && !query_is_sensitive(q) && st == ST_OK; i++)
        candidate = candidate && doc_terms_find(&terms, q->negated.items[i]) == NULL;
    if (st == ST_OK && candidate) st = query_check_document(ix, q, doc, &folding, scratch, matches, err);
    analyzers_release(&plain);
    analyzers_release(&folding);
    return st;
}
