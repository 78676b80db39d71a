/* The bounds of consolidation, for tests that want small ones. */
#ifndef ELMO_INDEX_TEXT_CONSOLIDATE_H
#define ELMO_INDEX_TEXT_CONSOLIDATE_H

#include "index/text/text.h"

struct consolidate_limits {
    uint32_t step_blocks;   /* read by one step */
    uint32_t step_locators; /* looked at by one step of a sweep */
    /* A pass starts with as many marks and one more for 32 numbers that the index had when the last pass began, or as many numbers given since then and one more
     * for four: so at most about a fifth of the postings stand alone, and a pass over the whole index is paid for by what it folds. */
    uint64_t marks_min, numbers_min;
};

/* text_consolidate with other bounds. */
status text_consolidate_step(const struct text_index *ix, const struct mem *mem,
                             const struct consolidate_limits *limits, bool *more, struct err *err);

#endif
