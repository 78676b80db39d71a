/* The bounds of consolidation, for tests that want small ones. */
#ifndef ELMO_INDEX_TEXT_CONSOLIDATE_H
#define ELMO_INDEX_TEXT_CONSOLIDATE_H

#include "index/text/text.h"

struct consolidate_limits {
    uint32_t step_blocks;   /* read by one step */
    uint32_t step_locators; /* looked at by one step of a sweep */
    uint64_t marks_min;     /* as many marks and one more for 32 blocks, or */
    uint64_t blocks_min;    /* more blocks than twice those left and this, start a pass */
};

/* text_consolidate with other bounds. */
status text_consolidate_step(const struct text_index *ix, const struct mem *mem, const struct consolidate_limits *limits, bool *more, struct err *err);

#endif
