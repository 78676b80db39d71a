/* A parsed $search string. */
#ifndef ELMO_INDEX_TEXT_QUERY_H
#define ELMO_INDEX_TEXT_QUERY_H

#include "index/text/analyze.h"
#include "index/text/text.h"

struct slice_list {
    struct slice *items;
    uint32_t count, cap;
};

struct text_query {
    enum text_language language;
    bool case_sensitive, diacritic_sensitive;
    const struct mem *mem;
    struct slice_list terms, negated;           /* as the postings have them, without duplicates */
    struct slice_list exact, exact_negated;     /* with the case and diacritics that count; only if either counts */
    struct slice_list phrases, negated_phrases; /* folded as far as the query allows */
};

static inline bool query_is_sensitive(const struct text_query *q) {
    return q->case_sensitive || q->diacritic_sensitive;
}
/* The postings alone cannot decide. */
static inline bool query_needs_document(const struct text_query *q) {
    return query_is_sensitive(q) || q->phrases.count != 0 || q->negated_phrases.count != 0;
}

/* Analysers that fold as the query wants, for query_check_document. */
void query_analyzers_init(const struct text_query *q, const struct mem *mem, struct analyzers *out);
/* Phrases, and where case or diacritics count, words: does a document that has a term of the query and, folded, none of the negated ones, match? */
status query_check_document(const struct text_index *ix, const struct text_query *q, struct bdoc doc,
                            struct analyzers *folding, struct arena *scratch, bool *matches, struct err *err);

#endif
