/* From a document to its terms and their scores, by MongoDB's formula (text index version 3).
 *
 * For each string value of an indexed field of weight w with n terms in all, a term that occurs c times in it adds
 *     w * (1 + 1/2 + ... + 1/2^(c-1)) * (c / (2 n) + 1/2) * (1.1 if the value is nothing but that term, else 1).
 *
 * Which strings are indexed, as in MongoDB: under each path the string or the strings in an array; on the way documents, and documents in arrays, but not
 * arrays in arrays. {"$**": "text"}: every string of the document, arrays in arrays too, but not the language fields. A document's language field (the
 * spec's language_override) holds for it and all below it. */
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

/* An indexed string. */
struct doc_text {
    struct slice text; /* in the document */
    int32_t weight;
    enum text_language language;
};

/* Calls `visit` for each indexed string. 17261 when a language field is no string, 17262 when it names no supported language. */
typedef status doc_text_visitor(void *ctx, const struct doc_text *text, struct err *err);
status doc_texts(const struct index_spec *spec, struct bdoc doc, doc_text_visitor *visit, void *ctx, struct err *err);

/* Everything in the arena. */
status doc_terms_of(const struct index_spec *spec, struct bdoc doc, struct analyzers *analyzers, struct arena *arena,
                    struct doc_terms *out, struct err *err);

/* NULL when the term is not among them. */
const struct term_score *doc_terms_find(const struct doc_terms *t, struct slice term);

#endif
