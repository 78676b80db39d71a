/* The language of $search: words, "phrases", -negation, as MongoDB reads it.
 *
 *   A '-' negates when it stands at the start or after white space; the negation ends at the next white space. Words of a phrase are searched for
 *   as words too, unless the phrase is negated. A phrase that is never closed is only its words. */
#include "index/text/query.h"

#include "index/text/analyze.h"
#include "index/text/score.h"

struct parser {
    struct arena *arena;
    struct text_query *q;
    struct analyzer analyzer;
    struct slice_list *terms; /* where the analyser's terms go */
};

static status append(struct arena *arena, struct slice_list *list, struct slice s, bool distinct, struct err *err) {
    for (uint32_t i = 0; distinct && i < list->count; i++) {
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
    struct parser *p = ctx;
    struct slice_list *words = p->terms == &p->q->terms ? &p->q->words : &p->q->negated_words;
    TRY(append(p->arena, words, raw, true, err));
    return append(p->arena, p->terms, term, true, err);
}

static bool is_space(uint8_t c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static status parse(struct parser *p, struct slice s, struct err *err) {
    struct text_query *q = p->q;
    bool negated = false, in_phrase = false, after_space = true;
    size_t phrase_at = 0, at = 0;
    while (at < s.len) {
        uint8_t c = s.p[at];
        if (is_space(c)) {
            after_space = true;
            negated = negated && in_phrase;
            at++;
        } else if (c == '"') {
            if (in_phrase) TRY(append(p->arena, negated ? &q->negated_phrases : &q->phrases, slice_of(s.p + phrase_at, at - phrase_at), true, err));
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
            p->terms = negated ? &q->negated_terms : &q->terms;
            if (!(negated && in_phrase)) TRY(analyzer_terms(&p->analyzer, slice_of(s.p + start, at - start), add_term, p, err));
            after_space = false;
        }
    }
    return ST_OK;
}

status text_query_parse(const struct text_index *ix, struct slice search, struct slice language, bool case_sensitive, bool diacritic_sensitive, struct arena *arena,
                        struct text_query **out, struct err *err) {
    struct text_query *q = arena_new(arena, struct text_query);
    if (q == NULL) return RAISE(err, ST_NOMEM, "no memory for a text query");
    q->language = language.len != 0 ? language : ix->spec->default_language.len != 0 ? ix->spec->default_language : SLICE_LIT("english");
    q->case_sensitive = case_sensitive;
    q->diacritic_sensitive = diacritic_sensitive;
    struct parser p = {.arena = arena, .q = q};
    TRY(analyzer_open(&p.analyzer, arena->mem, q->language, err));
    status st = parse(&p, search, err);
    analyzer_close(&p.analyzer);
    TRY(st);
    q->needs_document = q->phrases.count != 0 || q->negated_phrases.count != 0 || case_sensitive || diacritic_sensitive;
    *out = q;
    return ST_OK;
}

/* ---- a document against the query ---- */

/* What is looked for in the document's strings, and what was found. */
struct check {
    const struct text_query *q;
    struct analyzer fold;     /* folds as the query's sensitivity wants */
    struct buf text, pattern;
    uint32_t word_hits;       /* words found, counted once a value */
    bool found_negated, found_word;
    bool *phrase_found;
};

static bool contains(const struct buf *text, const struct buf *pattern) {
    return pattern->len == 0 || (text->len >= pattern->len && memmem(text->p, text->len, pattern->p, pattern->len) != NULL);
}

static status has_phrase(struct check *c, struct slice phrase, bool *found, struct err *err) {
    buf_clear(&c->pattern);
    TRY(analyzer_fold(&c->fold, phrase, &c->pattern, err));
    *found = contains(&c->text, &c->pattern);
    return ST_OK;
}

/* With case or diacritics counting, a term must occur folded only so far as the query allows. */
struct word_check {
    struct check *c;
    struct analyzer *query_words;
    bool matched;
    struct slice wanted;
};

static status compare_word(void *ctx, struct slice term, struct slice raw, struct err *err) {
    struct word_check *w = ctx;
    (void) raw;
    (void) err;
    w->matched = w->matched || slice_equal(term, w->wanted);
    return ST_OK;
}

struct one_term {
    struct buf *out;
};

static status take_term(void *ctx, struct slice term, struct slice raw, struct err *err) {
    struct one_term *t = ctx;
    (void) raw;
    buf_clear(t->out);
    return buf_append_slice(t->out, term) ? ST_OK : RAISE(err, ST_NOMEM, "no memory to check a word");
}

/* Does the text have the word, both analysed with the query's sensitivity? */
static status has_word(struct check *c, struct slice text, struct slice word, bool *found, struct err *err) {
    struct one_term one = {&c->pattern};
    buf_clear(&c->pattern);
    TRY(analyzer_terms(&c->fold, word, take_term, &one, err));
    struct word_check w = {.c = c, .wanted = buf_slice(&c->pattern)};
    if (w.wanted.len == 0) return ST_OK;
    TRY(analyzer_terms(&c->fold, text, compare_word, &w, err));
    *found = *found || w.matched;
    return ST_OK;
}

static status check_text(void *ctx, struct slice text, int32_t weight, struct err *err) {
    struct check *c = ctx;
    const struct text_query *q = c->q;
    bool found = false;
    (void) weight;
    buf_clear(&c->text);
    TRY(analyzer_fold(&c->fold, text, &c->text, err));
    for (uint32_t i = 0; i < q->phrases.count; i++) {
        TRY(has_phrase(c, q->phrases.items[i], &found, err));
        c->phrase_found[i] = c->phrase_found[i] || found;
    }
    for (uint32_t i = 0; i < q->negated_phrases.count; i++) {
        TRY(has_phrase(c, q->negated_phrases.items[i], &found, err));
        c->found_negated = c->found_negated || found;
    }
    for (uint32_t i = 0; i < q->words.count && !c->found_word; i++) TRY(has_word(c, text, q->words.items[i], &c->found_word, err));
    for (uint32_t i = 0; i < q->negated_words.count && !c->found_negated; i++) TRY(has_word(c, text, q->negated_words.items[i], &c->found_negated, err));
    return ST_OK;
}

static status score_document(const struct text_index *ix, const struct text_query *q, struct bdoc doc, struct arena *scratch, double *score, struct err *err) {
    struct doc_terms terms;
    *score = 0;
    TRY(doc_terms_of(ix->spec, doc, scratch, &terms, err));
    for (uint32_t i = 0; i < q->terms.count; i++) {
        const struct term_score *t = doc_terms_find(&terms, q->terms.items[i]);
        if (t != NULL) *score += t->score;
    }
    return ST_OK;
}

status text_query_matches(const struct text_index *ix, const struct text_query *q, struct bdoc doc, struct arena *scratch, bool *matches, double *score, struct err *err) {
    struct check c = {.q = q, .phrase_found = arena_array(scratch, bool, q->phrases.count + 1)};
    struct slice language;
    if (c.phrase_found == NULL) return RAISE(err, ST_NOMEM, "no memory to check a document");
    TRY(score_document(ix, q, doc, scratch, score, err));
    TRY(doc_language(ix->spec, doc, &language, err));
    TRY(analyzer_open(&c.fold, scratch->mem, language, err));
    c.fold.keep_case = q->case_sensitive;
    c.fold.keep_diacritics = q->diacritic_sensitive;
    buf_init(&c.text, scratch->mem);
    buf_init(&c.pattern, scratch->mem);
    status st = doc_texts(ix->spec, doc, check_text, &c, err);
    buf_release(&c.text);
    buf_release(&c.pattern);
    analyzer_close(&c.fold);
    TRY(st);
    *matches = *score > 0 && c.found_word && !c.found_negated;
    for (uint32_t i = 0; i < q->phrases.count; i++) *matches = *matches && c.phrase_found[i];
    return ST_OK;
}
