/* The simulated machine itself: what it must keep, what it may lose, and that a seed replays. */
#include "os/env_sim.h"

#include <criterion/criterion.h>
#include <string.h>

#include "base/hash.h"

enum { LEN = 40000 };

static struct sim *new_sim(uint64_t seed) {
    struct sim *sim = NULL;
    cr_assert_eq(sim_new(mem_default(), seed, &sim, NULL), ST_OK);
    return sim;
}

static struct file *must_open(struct sim *sim, const char *path) {
    struct file *f = NULL;
    struct err err = ERR_INIT;
    cr_assert_eq(env_open(sim_env(sim), path, FILE_CREATE, &f, &err), ST_OK, "%s", err.text);
    return f;
}

static void fill(struct file *f, int value) {
    static uint8_t bytes[LEN];
    memset(bytes, value, sizeof(bytes));
    cr_assert_eq(file_write(f, 0, bytes, sizeof(bytes), NULL), ST_OK);
}

static status sync_dir(struct sim *sim, const char *path) {
    return sim_env(sim)->ops->sync_dir(sim_env(sim), path, NULL);
}

/* Sectors of the file with each value; -1: a sector that mixes. */
static void count_sectors(struct sim *sim, const char *path, int counts[4]) {
    uint8_t bytes[512];
    struct file *f = must_open(sim, path);
    memset(counts, 0, 4 * sizeof(*counts));
    for (uint64_t at = 0; at + 512 <= LEN; at += 512) {
        cr_assert_eq(file_read(f, at, bytes, 512, NULL), ST_OK);
        for (int i = 1; i < 512; i++) cr_assert_eq(bytes[i], bytes[0], "a sector is whole");
        cr_assert_lt(bytes[0], 4);
        counts[bytes[0]]++;
    }
    file_close(f);
}

Test(env_sim, keeps_what_was_synced_and_tears_what_was_not) {
    bool torn = false, all_old = false, all_new = false, intermediate = false;
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct sim *sim = new_sim(seed);
        struct file *f = must_open(sim, "/d/a");
        int counts[4];
        fill(f, 1);
        cr_assert_eq(file_sync(f, NULL), ST_OK);
        cr_assert_eq(sync_dir(sim, "/d/a"), ST_OK);
        fill(f, 2);
        fill(f, 3);
        sim_power_cut(sim);
        cr_expect_eq(file_sync(f, NULL), ST_IO);
        sim_reboot(sim);
        cr_expect_eq(file_sync(f, NULL), ST_IO, "a handle from before stays dead");
        file_close(f);
        count_sectors(sim, "/d/a", counts);
        cr_assert_eq(counts[0], 0, "what was synced is never lost altogether");
        torn |= counts[1] != 0 && counts[3] != 0;
        all_old |= counts[3] == 0 && counts[2] == 0;
        all_new |= counts[1] == 0 && counts[2] == 0;
        intermediate |= counts[2] != 0;
        sim_free(sim);
    }
    cr_expect(torn && all_old && all_new && intermediate, "all of these happen");
}

Test(env_sim, names_survive_by_the_sync_of_their_directory) {
    int made = 0, kept = 0, renamed_only = 0, both_or_neither = 0;
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct sim *sim = new_sim(seed);
        struct env *env = sim_env(sim);
        struct file *f;
        file_close(must_open(sim, "/d/old"));
        file_close(must_open(sim, "/d/from"));
        cr_assert_eq(sync_dir(sim, "/d/x"), ST_OK);
        file_close(must_open(sim, "/d/new"));
        cr_assert_eq(env->ops->unlink(env, "/d/old", NULL), ST_OK);
        cr_assert_eq(env->ops->rename(env, "/d/from", "/d/to", NULL), ST_OK);
        sim_reboot(sim);
        bool exists[4];
        static const char *const names[4] = {"/d/new", "/d/old", "/d/from", "/d/to"};
        for (int i = 0; i < 4; i++) {
            exists[i] = env_open(env, names[i], 0, &f, NULL) == ST_OK;
            if (exists[i]) file_close(f);
        }
        made += exists[0];
        kept += exists[1];
        renamed_only += exists[3] && !exists[2];
        both_or_neither += exists[2] == exists[3];
        sim_free(sim);
    }
    cr_expect(made > 20 && made < 180);
    cr_expect(kept > 20 && kept < 180);
    cr_expect(renamed_only > 20 && renamed_only < 180);
    cr_expect_eq(both_or_neither, 0, "a rename is atomic");
}

/* A little life with cuts; its outcome as a hash. */
static uint64_t outcome(uint64_t seed) {
    struct sim *sim = new_sim(seed);
    struct file *f = must_open(sim, "/d/a");
    uint8_t bytes[LEN];
    uint64_t chance, len;
    fill(f, 1);
    cr_assert_eq(sync_dir(sim, "/d/a"), ST_OK);
    (void) file_sync(f, NULL);
    sim_env(sim)->ops->random(sim_env(sim), &chance, sizeof(chance));
    sim_power_cut_after(sim, chance % 3);
    for (int i = 0; i < 4; i++) (void) file_write(f, (uint64_t) i * 5000, &chance, 8, NULL);
    file_close(f);
    sim_reboot(sim);
    f = must_open(sim, "/d/a");
    cr_assert_eq(f->ops->size(f, &len, NULL), ST_OK);
    cr_assert_eq(file_read(f, 0, bytes, len, NULL), ST_OK);
    file_close(f);
    sim_free(sim);
    return hash64(bytes, len, len);
}

Test(env_sim, a_seed_replays_exactly) {
    int distinct = 0;
    for (uint64_t seed = 0; seed < 50; seed++) {
        uint64_t first = outcome(seed);
        cr_assert_eq(outcome(seed), first, "seed %lu", seed);
        distinct += first != outcome(seed + 1000);
    }
    cr_expect_gt(distinct, 40);
}

Test(env_sim, cuts_the_power_after_so_many_calls) {
    for (uint64_t n = 0; n < 4; n++) {
        struct sim *sim = new_sim(n);
        struct file *f = must_open(sim, "/d/a");
        uint64_t before = sim_calls(sim), done = 0, len;
        sim_power_cut_after(sim, n);
        while (file_write(f, 0, "x", 1, NULL) == ST_OK) done++;
        cr_expect_eq(done, n);
        cr_expect_eq(sim_calls(sim), before + n + 1);
        cr_expect(sim_is_off(sim));
        cr_expect_eq(f->ops->size(f, &len, NULL), ST_IO, "reads fail too");
        file_close(f);
        sim_free(sim);
    }
}

Test(env_sim, fails_the_nth_call_once_or_for_good) {
    struct sim *sim = new_sim(1);
    struct file *f = must_open(sim, "/d/a");
    sim_fail(sim, SIM_SYNC, 2, ST_IO, false);
    cr_expect_eq(file_sync(f, NULL), ST_OK);
    cr_expect_eq(file_write(f, 0, "x", 1, NULL), ST_OK, "another kind of call");
    cr_expect_not(sim_fail_hit(sim));
    cr_expect_eq(file_sync(f, NULL), ST_IO);
    cr_expect(sim_fail_hit(sim));
    cr_expect_eq(file_sync(f, NULL), ST_OK);
    sim_fail(sim, SIM_WRITE, 1, ST_NO_SPACE, true);
    cr_expect_eq(file_write(f, 0, "x", 1, NULL), ST_NO_SPACE);
    cr_expect_eq(file_write(f, 0, "x", 1, NULL), ST_NO_SPACE);
    sim_heal(sim);
    cr_expect_eq(file_write(f, 0, "x", 1, NULL), ST_OK);
    file_close(f);
    sim_free(sim);
}

Test(env_sim, after_a_failed_sync_a_later_one_does_not_help) {
    int lost = 0;
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct sim *sim = new_sim(seed);
        struct file *f = must_open(sim, "/d/a");
        int counts[4];
        fill(f, 1);
        cr_assert_eq(file_sync(f, NULL), ST_OK);
        cr_assert_eq(sync_dir(sim, "/d/a"), ST_OK);
        fill(f, 2);
        sim_fail(sim, SIM_SYNC, 1, ST_IO, false);
        cr_assert_eq(file_sync(f, NULL), ST_IO);
        cr_assert_eq(file_sync(f, NULL), ST_OK, "the kernel has forgotten");
        file_close(f);
        sim_reboot(sim);
        count_sectors(sim, "/d/a", counts);
        lost += counts[1] != 0;
        sim_free(sim);
    }
    cr_expect_gt(lost, 50);
}

Test(env_sim, a_crash_of_the_process_loses_nothing_but_locks) {
    struct sim *sim = new_sim(1);
    struct file *f = must_open(sim, "/d/a"), *g;
    int counts[4];
    fill(f, 2);
    cr_assert_eq(f->ops->lock(f, FILE_LOCK_EXCLUSIVE, NULL), ST_OK);
    sim_crash_process(sim);
    cr_expect_eq(file_write(f, 0, "x", 1, NULL), ST_IO);
    g = must_open(sim, "/d/a");
    cr_expect_eq(g->ops->lock(g, FILE_LOCK_EXCLUSIVE, NULL), ST_OK);
    file_close(f);
    file_close(g);
    count_sectors(sim, "/d/a", counts);
    cr_expect_eq(counts[2], LEN / 512);
    sim_free(sim);
}

Test(env_sim, a_small_disk_is_full_at_its_capacity) {
    struct sim *sim = new_sim(1);
    struct file *f = must_open(sim, "/d/a"), *g = must_open(sim, "/d/b");
    sim_set_capacity(sim, 50000);
    fill(f, 1);
    cr_expect_eq(file_write(g, 0, "x", 1, NULL), ST_OK);
    cr_expect_eq(file_write(g, 5000, "x", 1, NULL), ST_OK);
    cr_expect_eq(file_write(g, 9100, "x", 1, NULL), ST_NO_SPACE);
    cr_expect_eq(g->ops->preallocate(g, 0, 20000, NULL), ST_NO_SPACE);
    fill(f, 2); /* what is there may be written again */
    file_close(f);
    cr_expect_eq(sim_env(sim)->ops->unlink(sim_env(sim), "/d/a", NULL), ST_OK);
    cr_expect_eq(file_write(g, 9100, "x", 1, NULL), ST_OK);
    cr_expect_leq(sim_used(sim), 50000);
    file_close(g);
    sim_free(sim);
}

Test(env_sim, flips_bits) {
    struct sim *sim = new_sim(1);
    struct file *f = must_open(sim, "/d/a");
    uint8_t b = 0;
    fill(f, 1);
    cr_expect(sim_flip_bit(sim, "/d/a", 12345, 2));
    cr_expect_not(sim_flip_bit(sim, "/d/a", LEN, 2));
    cr_expect_not(sim_flip_bit(sim, "/d/b", 0, 2));
    cr_expect_eq(file_read(f, 12345, &b, 1, NULL), ST_OK);
    cr_expect_eq(b, 5);
    file_close(f);
    sim_free(sim);
}
