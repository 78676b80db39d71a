/* The analyser: text to terms, the same for documents and queries.
 *
 *   bytes -> words (Unicode classes; in English an apostrophe inside a word belongs to it) -> folded (case, and diacritics unless told otherwise)
 *   -> stop words dropped -> stemmed (Snowball).
 * Runs of scripts written without spaces (Han, Hiragana, Katakana) give their bigrams.
 * One thread at a time. Invalid UTF-8 bytes separate words. A term holds no NUL byte. */
#ifndef ELMO_INDEX_TEXT_ANALYZE_H
#define ELMO_INDEX_TEXT_ANALYZE_H

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

#define TERM_LEN_MAX 256 /* bytes; longer words are cut */

struct sb_stemmer;
struct stem_cache;

enum text_language { TEXT_LANGUAGE_NONE, TEXT_LANGUAGE_ENGLISH, TEXT_LANGUAGE_COUNT };

/* "english" ("en") and "none", in any case. Others: 17262 as MongoDB words it. */
status text_language_parse(struct slice name, enum text_language *out, struct err *err);

struct analyzer {
    enum text_language language;
    struct sb_stemmer *stemmer; /* NULL: language "none" */
    struct stem_cache *stems;   /* NULL until the analyser has seen enough words for it to pay */
    bool keep_case, keep_diacritics;
    uint32_t word_count;
    struct buf folded;
};

status analyzer_open(struct analyzer *a, const struct mem *mem, enum text_language language, struct err *err);
void analyzer_close(struct analyzer *a);

/* The analysers of several languages, each opened when it is first asked for. */
struct analyzers {
    const struct mem *mem;
    bool keep_case, keep_diacritics;
    bool is_open[TEXT_LANGUAGE_COUNT];
    struct analyzer of[TEXT_LANGUAGE_COUNT];
};

void analyzers_init(struct analyzers *set, const struct mem *mem);
void analyzers_release(struct analyzers *set);
status analyzers_get(struct analyzers *set, enum text_language language, struct analyzer **out, struct err *err);

/* Calls `visit` for each term; `raw` is the word as it stands in the text (of a bigram: its first character's place). Stops at a failure and returns it. */
status analyzer_terms(struct analyzer *a, struct slice text,
                      status (*visit)(void *ctx, struct slice term, struct slice raw, struct err *err), void *ctx,
                      struct err *err);

/* The text folded as the analyser folds words, delimiters kept: for finding phrases. Appends to out. */
status analyzer_fold(const struct analyzer *a, struct slice text, struct buf *out, struct err *err);

#endif
