/* A small database on a simulated machine, and what must be in it after a crash.
 *
 * Every commit writes a few of the keys, adds one to a counter and writes its own number under "commit". So what is found after a crash says
 * which commit was the last, p; all keys must be exactly as that commit left them, and p must not be below the last commit that was known durable nor above the last one tried:
 * nothing acknowledged is lost, nothing is there by half.
 *
 * Besides, bulk loads fill slots, whole or not at all, and commits empty them; and a reader keeps its snapshot while files are merged and moved under it. */
#ifndef ELMO_TESTS_CRASH_WORLD_H
#define ELMO_TESTS_CRASH_WORLD_H

#include "base/chance.h"
#include "os/env_sim.h"
#include "storage/lsm.h"

#define CRASH_KEYS 40
#define CRASH_COMMITS_MAX 1200
#define CRASH_SLOTS 3
#define CRASH_STATE_LEN (CRASH_KEYS + 2 + CRASH_SLOTS)

/* The last bulk load into a slot. It is there when it was made and no commit has deleted it or a later one. */
struct crash_load {
    uint32_t version; /* 0: none */
    bool is_made;
    bool is_unknown; /* it failed: after the next open it is there or not */
};

struct crash_world {
    struct chance chance;
    uint64_t seed;
    struct sim *sim;
    struct lsm_opts opts;
    struct kv *kv;
    uint32_t tried, durable; /* commits tried; the last one known to be on disk */
    uint32_t visible;        /* the last one that commit said it made */
    /* After commit i: the version of each key, 0: absent; the counter; the greatest number given; of each slot the last load that was deleted. */
    uint32_t (*states)[CRASH_STATE_LEN];
    struct crash_load loads[CRASH_SLOTS];
    uint32_t load_version;
    struct kv_txn *reader; /* NULL: none */
    struct kv_cursor *reader_cursor;
    uint32_t reader_at;
    struct crash_load reader_loads[CRASH_SLOTS];
    uint32_t next_version;
    uint64_t last_number;
    bool process_crash_only; /* the machine stays on: what was acknowledged is there in every mode */
    uint32_t large_one_in;
};

/* Options drawn from the seed. */
void crash_world_init(struct crash_world *w, const struct mem *mem, uint64_t seed);
void crash_world_release(struct crash_world *w);

/* Opens; ST_OK means that what is in it was verified and `tried`, `durable` start from there. Other statuses as lsm_kv_open. */
status crash_world_open(struct crash_world *w, struct err *err);
void crash_world_close(struct crash_world *w);
/* One random commit, load, flush, merge, compaction, scan or number, or a step of a reader; the status of the first call that failed. */
status crash_world_step(struct crash_world *w, struct err *err);
/* The state after commit `visible`, by every read path. Only failures in `allowed` (a status, or ST_OK for none) may come up. */
void crash_world_verify(struct crash_world *w, status allowed);
void crash_world_check(struct crash_world *w);

#endif
