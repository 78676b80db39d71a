/* English stop words: words that carry so little that they are not indexed. */
#ifndef ELMO_INDEX_TEXT_STOP_WORDS_H
#define ELMO_INDEX_TEXT_STOP_WORDS_H

#include <stdbool.h>

#include "base/slice.h"

#define STOP_WORD_LEN_MAX 16

/* `word` in lower case. */
bool stop_word_english(struct slice word);

#endif
