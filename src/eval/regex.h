/* Regular expressions of queries: PCRE2 in UTF mode, compiled once, with limits, so that a hostile pattern ends in an
 * error.
 *
 * Safe for several threads: the code is read only, and the one spare match block is taken and given back atomically. */
#ifndef ELMO_EVAL_REGEX_H
#define ELMO_EVAL_REGEX_H

#include "base/arena.h"
#include "base/err.h"
#include "bson/value.h"

struct match_regex;

/* Compiles `pattern` with options out of "imsxu". The object lives in `mem`, its strings in the arena and the operands'
 * bytes. 51091: invalid; 51108: an unknown option. */
status regex_compile(const struct mem *mem, struct arena *arena, struct slice pattern, struct slice options,
                     struct match_regex **out, struct err *err);
/* Frees a chain made with regex_chain. */
void regex_free_all(const struct mem *mem, struct match_regex *first);
void regex_chain(struct match_regex *regex, struct match_regex **first);

/* Does the text match? ST_INVALID, 51156 when the limits were met; ST_NOMEM. */
status regex_match(struct match_regex *regex, struct slice text, bool *matches, struct err *err);
/* The first match at or after `from`: *found, and offsets[2 * i], [2 * i + 1] of group i (0: the whole match; SIZE_MAX: not
 * taking part) for i < pair_count. ST_INVALID, 51156 when the limits were met; ST_NOMEM. */
status regex_find(struct match_regex *regex, struct slice text, size_t from, size_t *offsets, uint32_t pair_count,
                  bool *found, struct err *err);
uint32_t regex_group_count(const struct match_regex *regex); /* without the whole match */
struct slice regex_pattern(const struct match_regex *regex);
struct slice regex_options(const struct match_regex *regex);

#endif
