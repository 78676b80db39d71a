/* Power cuts, crashes of the process, failing calls, a full disk and failing allocations: nothing acknowledged is lost, nothing is there by half, nothing leaks.
 *
 *   ELMO_CRASH_SEEDS  how many seeds, default 2,000;  ELMO_CRASH_SEED  only this one */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdio.h>
#include <stdlib.h>

#include "support/crash_world.h"
#include "support/mem_fail.h"

#define SHARDS 4

static uint64_t from_env(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    return text != NULL ? strtoull(text, NULL, 10) : otherwise;
}

struct fault_plan {
    bool is_on, forgets; /* forgets: a failed sync may lose what was written and acknowledged before it */
};

/* In a third of the lives something fails, once or for a while, and the work goes on beside it. */
static struct fault_plan plan_fault(struct crash_world *w) {
    static const struct {
        unsigned ops;
        status st;
    } faults[] = {
        {SIM_WRITE | SIM_PREALLOCATE | SIM_TRUNCATE, ST_NO_SPACE},
        {SIM_WRITE | SIM_OPEN | SIM_TRUNCATE | SIM_PREALLOCATE | SIM_RENAME | SIM_UNLINK | SIM_SYNC_DIR, ST_IO},
        {SIM_SYNC, ST_IO},
        {SIM_READ, ST_IO},
    };
    if (chance_below(&w->chance, 3) != 0) return (struct fault_plan){false, false};
    uint64_t which = chance_below(&w->chance, sizeof(faults) / sizeof(faults[0]));
    sim_fail(w->sim, faults[which].ops, 1 + chance_below(&w->chance, 150), faults[which].st,
             chance_below(&w->chance, 3) == 0);
    return (struct fault_plan){true, (faults[which].ops & SIM_SYNC) != 0};
}

/* Works until the power fails or the steps are done. A step may fail when the plan has struck; the next ones are tried all the same. */
static void work(struct crash_world *w, struct fault_plan *plan) {
    for (uint64_t steps = 20 + chance_below(&w->chance, 150); steps > 0 && !sim_is_off(w->sim); steps--) {
        struct err err = ERR_INIT;
        status st = crash_world_step(w, &err);
        bool was_hit = plan->is_on && sim_fail_hit(w->sim);
        cr_assert(st == ST_OK || sim_is_off(w->sim) || was_hit, "seed %llu: %s", (unsigned long long) w->seed,
                  err.text);
        if (was_hit && chance_below(&w->chance, 8) == 0) {
            sim_heal(w->sim); /* what broke stays broken: steps may go on failing */
            while (--steps > 0 && !sim_is_off(w->sim)) (void) crash_world_step(w, &err);
            return;
        }
    }
}

/* Opens, works until the power fails (or `steps` are done), three times over; then opens once more and looks at everything. */
static void live_through(uint64_t seed) {
    static struct crash_world w;
    struct err err = ERR_INIT;
    crash_world_init(&w, mem_default(), seed);
    for (int round = 0; round < 3; round++) {
        bool whole_machine = chance_below(&w.chance, 4) != 0;
        w.process_crash_only = false;
        if (whole_machine) sim_power_cut_after(w.sim, 1 + chance_below(&w.chance, 400));
        struct fault_plan plan = plan_fault(&w);
        status st = crash_world_open(&w, &err);
        cr_assert(st == ST_OK || sim_is_off(w.sim) || (plan.is_on && sim_fail_hit(w.sim)), "seed %llu: open: %s",
                  (unsigned long long) seed, err.text);
        if (st == ST_OK) {
            work(&w, &plan);
            if (!whole_machine) {
                w.process_crash_only = !plan.forgets;
                sim_crash_process(w.sim);
            }
            crash_world_close(&w);
        }
        sim_heal(w.sim);
        if (whole_machine) sim_reboot(w.sim);
        if (!whole_machine) {
            st = crash_world_open(&w, &err);
            cr_assert_eq(st, ST_OK, "seed %llu: open after a crash of the process: %s", (unsigned long long) seed,
                         err.text);
            crash_world_close(&w);
        }
    }
    w.process_crash_only = false;
    cr_assert_eq(crash_world_open(&w, &err), ST_OK, "seed %llu: last open: %s", (unsigned long long) seed, err.text);
    crash_world_check(&w);
    for (int i = 0; i < 10; i++)
        cr_assert_eq(crash_world_step(&w, &err), ST_OK, "seed %llu: %s", (unsigned long long) seed, err.text);
    crash_world_verify(&w, ST_OK);
    crash_world_check(&w);
    crash_world_close(&w);
    crash_world_release(&w);
}

ParameterizedTestParameters(crash, loses_nothing_that_was_acknowledged) {
    static size_t numbers[SHARDS];
    for (size_t i = 0; i < SHARDS; i++) numbers[i] = i;
    return cr_make_param_array(size_t, numbers, SHARDS);
}

ParameterizedTest(size_t *shard, crash, loses_nothing_that_was_acknowledged, .timeout = 1200) {
    uint64_t one = from_env("ELMO_CRASH_SEED", 0), seeds = from_env("ELMO_CRASH_SEEDS", 2000);
    if (one != 0) {
        if (*shard == 0) live_through(one);
        return;
    }
    for (uint64_t seed = 1 + *shard; seed <= seeds; seed += SHARDS) live_through(seed);
}

/* Call n fails once or from then on; what was acknowledged is there when the database is opened again. False when there was no such call. */
static bool live_through_fault(uint64_t seed, uint64_t n, unsigned ops, status fault, bool for_good) {
    static struct crash_world w;
    struct err err = ERR_INIT;
    crash_world_init(&w, mem_default(), seed);
    sim_fail(w.sim, ops, n, fault, for_good);
    status st = crash_world_open(&w, &err);
    if (st == ST_OK) {
        for (int i = 0; i < 60 && st != ST_OUTCOME_UNKNOWN; i++) st = crash_world_step(&w, &err);
        bool hit = sim_fail_hit(w.sim);
        cr_assert(st == ST_OK || hit, "seed %llu: %s", (unsigned long long) seed, err.text);
        sim_heal(w.sim);
        crash_world_verify(&w, ST_OK); /* reads go on */
        crash_world_close(&w);
    } else {
        cr_assert(sim_fail_hit(w.sim), "seed %llu, fault %llu: %s", (unsigned long long) seed, (unsigned long long) n,
                  err.text);
    }
    bool hit = sim_fail_hit(w.sim);
    sim_heal(w.sim);
    w.process_crash_only = false;
    cr_assert_eq(crash_world_open(&w, &err), ST_OK, "seed %llu, fault %llu: open: %s", (unsigned long long) seed,
                 (unsigned long long) n, err.text);
    crash_world_check(&w);
    for (int i = 0; i < 5; i++)
        cr_assert_eq(crash_world_step(&w, &err), ST_OK, "seed %llu: %s", (unsigned long long) seed, err.text);
    crash_world_verify(&w, ST_OK);
    crash_world_close(&w);
    crash_world_release(&w);
    return hit;
}

Test(crash, a_write_that_fails_harms_nothing_else, .timeout = 300) {
    for (uint64_t n = 1; n < 400; n += 3)
        if (!live_through_fault(1000 + n, n,
                                SIM_WRITE | SIM_OPEN | SIM_TRUNCATE | SIM_PREALLOCATE | SIM_RENAME | SIM_UNLINK |
                                    SIM_SYNC_DIR,
                                ST_IO, n % 2 == 0) &&
            n > 300)
            break;
}

Test(crash, a_sync_that_fails_ends_the_writing_not_the_reading, .timeout = 300) {
    for (uint64_t n = 1; n < 120; n++) (void) live_through_fault(5000 + n, n, SIM_SYNC, ST_IO, n % 2 == 0);
}

Test(crash, a_full_disk_refuses_and_goes_on, .timeout = 300) {
    for (uint64_t n = 1; n < 300; n += 4)
        (void) live_through_fault(9000 + n, n, SIM_WRITE | SIM_PREALLOCATE | SIM_TRUNCATE, ST_NO_SPACE, n % 2 == 0);
}

Test(crash, space_freed_on_a_full_disk_is_used_again, .timeout = 300) {
    static struct crash_world w;
    struct err err = ERR_INIT;
    crash_world_init(&w, mem_default(), 77);
    w.large_one_in = 0;
    cr_assert_eq(crash_world_open(&w, &err), ST_OK, "%s", err.text);
    status st = ST_OK;
    for (int i = 0; i < 20; i++) cr_assert_eq(crash_world_step(&w, &err), ST_OK, "%s", err.text);
    sim_set_capacity(w.sim, sim_used(w.sim) + (4 << 10));
    for (int i = 0; i < 800 && st == ST_OK; i++) st = crash_world_step(&w, &err);
    cr_assert_eq(st, ST_NO_SPACE, "%s: %s", status_text(st), err.text);
    crash_world_verify(&w, ST_OK);
    sim_set_capacity(w.sim, 0);
    for (int i = 0; i < 50; i++) cr_assert_eq(crash_world_step(&w, &err), ST_OK, "%s", err.text);
    crash_world_verify(&w, ST_OK);
    crash_world_check(&w);
    crash_world_close(&w);
    cr_assert_eq(crash_world_open(&w, &err), ST_OK, "%s", err.text);
    crash_world_close(&w);
    crash_world_release(&w);
}

/* Allocation n fails, once: the call that needed it answers so, all else goes on. */
static bool live_through_no_memory(uint64_t n, bool once) {
    static struct crash_world w;
    struct mem_fail mf;
    struct err err = ERR_INIT;
    mem_fail_init(&mf, n);
    mf.once = once;
    crash_world_init(&w, &mf.mem, 4242);
    w.opts.sync = LSM_SYNC_FULL;
    status st = crash_world_open(&w, &err);
    if (st == ST_OK) {
        for (int i = 0; i < 40; i++) {
            st = crash_world_step(&w, &err);
            cr_assert(st == ST_OK || (st == ST_NOMEM && mem_fail_hit(&mf)), "allocation %llu: %s: %s",
                      (unsigned long long) n, status_text(st), err.text);
        }
        crash_world_verify(&w, ST_NOMEM);
        crash_world_close(&w);
    } else {
        cr_assert_eq(st, ST_NOMEM, "allocation %llu: open: %s", (unsigned long long) n, err.text);
    }
    bool hit = mem_fail_hit(&mf);
    mf.fail_at = 0;
    cr_assert_eq(crash_world_open(&w, &err), ST_OK, "allocation %llu: open again: %s", (unsigned long long) n,
                 err.text);
    crash_world_verify(&w, ST_OK);
    crash_world_check(&w);
    crash_world_close(&w);
    crash_world_release(&w);
    cr_assert_eq(mem_fail_live(&mf), 0, "allocation %llu: %llu bytes are left", (unsigned long long) n,
                 (unsigned long long) mem_fail_live(&mf));
    return hit;
}

Test(crash, an_allocation_that_fails_harms_nothing_else, .timeout = 600) {
    for (uint64_t n = 1, step = 1; live_through_no_memory(n, n % 2 == 0); n += step)
        step = n < 300 ? 1 : n < 2000 ? 7 : 41;
}
