/* A sorted run of versions written anew as segments, without what nobody can see any more.
 *
 * Which versions stay: the live snapshots' sequences cut history into strata; within a stratum only the newest version of a key can be seen, so only that is kept.
 *   - A version under a range delete of its own stratum goes.
 *   - Adds of one stratum become one; with the value under them, a value.
 *   - A tombstone of the oldest stratum goes when no older version can lie outside the input; so does a range delete.
 * Versions newer than the last bound all stay: the snapshots above it are not known.
 *
 * Outputs are cut between distinct keys only; range deletes are cut to [first key of the output, first key of the next).
 *
 * Threads: one at a time. */
#ifndef ELMO_STORAGE_REWRITE_H
#define ELMO_STORAGE_REWRITE_H

#include "storage/engine.h"

struct rewrite {
    struct lsm *l;
    struct merge *in;
    uint32_t level;
    uint64_t cut_len;       /* bytes on disk at which the next segment begins; 0: never */
    const uint64_t *bounds; /* ascending sequences of snapshots_list; none: everything stays */
    size_t bound_count;
    const struct fragments *cover; /* range deletes that hide versions, NULL: none */
    struct range_delete *ranges;   /* to be carried into the outputs */
    size_t range_count;
    bool keeps_large; /* no large value is dropped, nor any tombstone (flush) */
    /* Can a version of [lo, hi] older than seq lie outside the input? NULL: it can. */
    bool (*has_older)(void *ctx, struct slice lo, struct slice hi, uint64_t seq);
    void *ctx;
    bool is_cancellable; /* ST_INTERRUPTED when the database is being closed */

    /* What came of it. */
    struct run **runs;
    size_t run_count, run_cap;
    struct extent *freed; /* large values dropped */
    size_t freed_count, freed_cap;

    /* Private. */
    struct segment_writer *writer;
    struct buf key, cut_lo; /* the key being folded; where the present output begins */
    bool has_cut_lo, has_key;
};

/* First of all, on a struct with only the public fields set. */
void rewrite_begin(struct rewrite *r);
/* Fills runs and freed. On failure everything written is forfeited and only rewrite_release is due. */
status rewrite_all(struct rewrite *r, struct err *err);
/* Forfeits the outputs (they were not committed). */
void rewrite_forfeit(struct rewrite *r);
/* Frees the lists (not the runs' references, which a tree commit took over or rewrite_forfeit gave back). */
void rewrite_release(struct rewrite *r);

/* Writes one entry as it is, cutting when `may_cut`. For bulk loads, instead of rewrite_all; then rewrite_end. */
status rewrite_add(struct rewrite *r, const struct entry *e, bool may_cut, struct err *err);
status rewrite_end(struct rewrite *r, struct err *err);

#endif
