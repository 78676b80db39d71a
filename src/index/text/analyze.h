/* The analyser: text to terms, the same for documents and queries.
 *
 *   bytes -> words (Unicode classes; an apostrophe inside a word belongs to it) -> folded (case, and diacritics unless told otherwise)
 *   -> stop words dropped -> stemmed (Snowball).
 * Runs of scripts written without spaces (Han, Hiragana, Katakana) give their bigrams.
 * One thread at a time. Invalid UTF-8 bytes separate words. */
#ifndef ELMO_INDEX_TEXT_ANALYZE_H
#define ELMO_INDEX_TEXT_ANALYZE_H

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

#define TERM_LEN_MAX 256 /* bytes; longer words are cut */

struct sb_stemmer;

struct analyzer {
    struct sb_stemmer *stemmer; /* NULL: language "none" */
    bool keep_case, keep_diacritics;
    bool no_stop_words;
    struct buf folded;
};

/* Languages: "english" ("en") and "none". Others: 17262 as MongoDB words it. */
status analyzer_open(struct analyzer *a, const struct mem *mem, struct slice language, struct err *err);
void analyzer_close(struct analyzer *a);

/* Calls `visit` for each term; `raw` is the word as it stands in the text (of a bigram: its first character's place). Stops at a failure and returns it. */
status analyzer_terms(struct analyzer *a, struct slice text, status (*visit)(void *ctx, struct slice term, struct slice raw, struct err *err), void *ctx, struct err *err);

/* The text folded as the analyser folds words, delimiters kept: for finding phrases. Appends to out. */
status analyzer_fold(const struct analyzer *a, struct slice text, struct buf *out, struct err *err);

/* True for a code point that separates words. */
bool analyzer_is_delimiter(int32_t codepoint);

#endif
