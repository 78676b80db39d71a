/* From a document to its terms and their scores, by MongoDB's formula (text index version 3).
 *
 * For each string value of an indexed field of weight w with n terms in all, a term that occurs c times in it adds
 *     w * (1 + 1/2 + ... + 1/2^(c-1)) * (c / (2 n) + 1/2) * (1.1 if the value is nothing but that term, else 1). */
#ifndef ELMO_INDEX_TEXT_SCORE_H
#define ELMO_INDEX_TEXT_SCORE_H

#include "base/arena.h"
#include "index/spec.h"
#include "index/text/analyze.h"

struct term_score {
    struct slice term;
    double score;
};

struct doc_terms {
    struct term_score *terms; /* sorted by term */
    uint32_t count;
};

/* Everything in the arena. A document's own language (the spec's language_override field) overrides the default; 17261 when it is no string. */
status doc_terms_of(const struct index_spec *spec, struct bdoc doc, struct arena *arena, struct doc_terms *out, struct err *err);

/* Calls `visit` for each indexed string value of the document with its field's weight. */
status doc_texts(const struct index_spec *spec, struct bdoc doc, status (*visit)(void *ctx, struct slice text, int32_t weight, struct err *err), void *ctx, struct err *err);

/* The language of a document: its override field, else the index's default. */
status doc_language(const struct index_spec *spec, struct bdoc doc, struct slice *out, struct err *err);

/* NULL when the term is not among them. */
const struct term_score *doc_terms_find(const struct doc_terms *t, struct slice term);

#endif
