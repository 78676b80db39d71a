/* Many sources as one: entries in order (key ascending, sequence descending), or the reverse, over a binary heap.
 *
 * While one source stays ahead of the others each step costs one comparison: the runner-up is remembered.
 * A merge moves in one direction at a time; a placing call sets it. It owns its sources.
 *
 * Threads: one at a time. */
#ifndef ELMO_STORAGE_MERGE_H
#define ELMO_STORAGE_MERGE_H

#include <stdbool.h>

#include "base/mem.h"
#include "storage/source.h"

struct run;

struct merge {
    const struct mem *mem;
    struct source **sources;
    uint32_t *heap; /* indexes of sources that stand on an entry; [0] is the next one */
    size_t count, cap;
    size_t heap_len;
    uint32_t runner_up; /* place in the heap of the second, 0: not known */
    bool is_backward;
};

void merge_init(struct merge *m, const struct mem *mem);
void merge_release(struct merge *m); /* closes the sources */
status merge_reserve(struct merge *m, size_t count, struct err *err);
void merge_push(struct merge *m, struct source *s); /* there is room by merge_reserve; takes it over */

/* Placing: ST_OK and stands, ST_END and stands nowhere, or a failure. */
status merge_seek_ge(struct merge *m, struct slice key, uint64_t seq, struct err *err);
status merge_seek_le(struct merge *m, struct slice key, uint64_t seq, struct err *err);
status merge_first(struct merge *m, struct err *err);
status merge_last(struct merge *m, struct err *err);
/* One step in the direction of the last placing. */
status merge_step(struct merge *m, struct err *err);
/* Forward: steps at once over up to `max` entries below `limit` (len 0: no limit) that are surely the only versions of their keys, visible at `snapshot` and present;
 * answers over how many, and stands on the entry after them. 0: it has not moved. */
uint64_t merge_pass(struct merge *m, struct slice limit, uint64_t snapshot, uint64_t max);
void merge_rest(struct merge *m);

static inline bool merge_stands(const struct merge *m) { return m->heap_len > 0; }
/* The entry it stands on; lives until the next call. */
static inline const struct entry *merge_at(const struct merge *m) { return &m->sources[m->heap[0]]->at; }

/* Forward: surely no further version of the key it stands on comes. */
static inline bool merge_leaves_key(const struct merge *m) {
    const struct source *s = m->sources[m->heap[0]];
    return s->is_last_version &&
        (m->runner_up == 0 || !slice_equal(m->sources[m->heap[m->runner_up]]->at.key, s->at.key));
}

/* The runs [0, n) of a level, which are disjoint and ascending, as one source. The array is copied, the runs are borrowed. */
status level_source_new(const struct mem *mem, struct run *const *runs, size_t n, bool fill_cache, struct source **out,
                        struct err *err);

#endif
