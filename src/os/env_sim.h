/* A simulated machine for tests: files in memory, where what was written is kept apart from what was synced. Everything that is
 * left to luck follows from one seed, so that a failure replays exactly (with one thread; with several, up to their order).
 *
 * How a crash test uses it:
 *
 *   struct sim *sim;
 *   sim_new(mem, seed, &sim, &err);
 *   sim_power_cut_after(sim, n);          // n more changing calls work; the power fails in the midst of the next
 *   ... run the program on sim_env(sim) until something fails, remember what was acknowledged, close everything ...
 *   sim_reboot(sim);                      // the machine after the power cut, on the same env
 *   ... open again on sim_env(sim), compare with what was acknowledged ...
 *   sim_free(sim);
 *
 * Run it for n = 0, 1, 2 ... until sim_is_off says that the program came to its end before the cut; sim_calls tells how many
 * changing calls there were. Close what the program had open before the reboot: handles from before stay dead ("the machine is
 * off"), but the program's threads must not open new ones on the new machine.
 *
 * What the machine may do (each has happened to somebody):
 *   - A write that was not synced survives a power cut or not, for each page or each 512-byte sector on its own: so it may be
 *     torn, and a later write survive an earlier one. A length that was not synced survives, does not, or something between.
 *   - Pages may be written back early, so an older content of a page may be what survives.
 *   - A name made, moved or removed is durable after sync_dir; without it, a first part of these changes survives, or any.
 *   - A failed write may have written a part. A failed sync may have written a part, and the kernel then forgets the rest: a
 *     page reads as it did before or as written, but no later sync writes it.
 *   - sim_crash_process is kill -9: open files and locks are gone, but what was written is in the kernel's hands.
 *
 * `mem` serves the code under test only (env.mem): the simulation's own memory does not count. All functions are thread-safe. */
#ifndef ELMO_OS_ENV_SIM_H
#define ELMO_OS_ENV_SIM_H

#include "os/env.h"

struct sim;

/* The calls that can be made to fail. All but READ, SIZE and LOCK are changing calls. */
enum sim_op {
    SIM_READ = 1u << 0,
    SIM_WRITE = 1u << 1,
    SIM_SYNC = 1u << 2,
    SIM_TRUNCATE = 1u << 3,
    SIM_PREALLOCATE = 1u << 4,
    SIM_OPEN = 1u << 5, /* changing only when it creates or truncates; counts as a changing call always */
    SIM_UNLINK = 1u << 6,
    SIM_RENAME = 1u << 7,
    SIM_SYNC_DIR = 1u << 8,
    SIM_SIZE = 1u << 9,
    SIM_LOCK = 1u << 10,
};
#define SIM_CHANGING 0x1feu
#define SIM_ALL 0x7ffu

status sim_new(const struct mem *mem, uint64_t seed, struct sim **out, struct err *err);
void sim_free(struct sim *sim); /* files must be closed; not env_free */
struct env *sim_env(struct sim *sim);

uint64_t sim_calls(struct sim *sim); /* changing calls so far */
void sim_power_cut_after(struct sim *sim, uint64_t calls);
bool sim_is_off(struct sim *sim);
void sim_power_cut(struct sim *sim); /* now */
void sim_reboot(
    struct sim *sim); /* cuts the power first if it is still on; forgets faults and plans, keeps the capacity */
void sim_crash_process(struct sim *sim);

/* Of the calls in `ops` (enum sim_op bits) the nth from now, from 1, fails with ST_IO or ST_NO_SPACE; for_good: and all later. */
void sim_fail(struct sim *sim, unsigned ops, uint64_t nth, status st, bool for_good);
bool sim_fail_hit(struct sim *sim); /* it has happened */
void sim_heal(struct sim *sim);     /* no more faults */
/* The disk holds files of so many bytes in all (whole pages); 0: no limit. */
void sim_set_capacity(struct sim *sim, uint64_t len);
uint64_t sim_used(struct sim *sim);
/* Turns one bit of a file around, in the cache and on the disk. False: there is no such file or byte. */
bool sim_flip_bit(struct sim *sim, const char *path, uint64_t at, unsigned bit);

#endif
