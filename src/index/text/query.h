/* A parsed $search string. */
#ifndef ELMO_INDEX_TEXT_QUERY_H
#define ELMO_INDEX_TEXT_QUERY_H

#include "index/text/text.h"

struct slice_list {
    struct slice *items;
    uint32_t count, cap;
};

struct text_query {
    struct slice language;
    bool case_sensitive, diacritic_sensitive;
    bool needs_document;                     /* the postings alone cannot decide */
    struct slice_list terms, negated_terms;  /* folded and stemmed, without duplicates */
    struct slice_list words, negated_words;  /* as typed: looked for again when case or diacritics count */
    struct slice_list phrases, negated_phrases;
};

#endif
