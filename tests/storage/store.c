/* The database file: commits under power cuts at every call, reuse and shrinking of space, damage, locks, full disks.
 *
 * The program under test holds one segment per "value": each commit replaces some segments. A segment's bytes are a pattern
 * of its id, so that a state can be verified from the manifest alone. */
#include "storage/store.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/chance.h"
#include "base/hash.h"
#include "os/env_sim.h"
#include "os/thread.h"
#include "storage/superblock.h"
#include "support/mem_fail.h"

#define PATH "/db/test.elmo"

static const struct store_opts create = {.create = true};

struct bench {
    struct sim *sim;
    struct store *store;
    struct manifest m;
    struct chance chance;
    uint64_t generation; /* commits that were acknowledged */
};

static uint8_t pattern(uint64_t id, uint64_t at) { return (uint8_t) (id * 37 + at / 7 + at * at % 251); }

static status open_bench(struct bench *b, const struct store_opts *opts, struct err *err) {
    manifest_init(&b->m, sim_env(b->sim)->mem);
    return store_open(sim_env(b->sim), PATH, opts, &b->store, &b->m, err);
}

static void close_bench(struct bench *b) {
    store_close(b->store);
    b->store = NULL;
    manifest_release(&b->m);
}

static status write_segment(struct bench *b, uint64_t id, struct segment_meta *meta, struct extent *extents, char *keys,
                            struct err *err) {
    uint64_t len = chance_below(&b->chance, chance_below(&b->chance, 4) ? 20000 : 300000) + 1;
    uint8_t *bytes = malloc(len);
    cr_assert_not_null(bytes);
    for (uint64_t i = 0; i < len; i++) bytes[i] = pattern(id, i);
    snprintf(keys, 32, "%010lu", id);
    *meta = (struct segment_meta){
        .id = id, .level = 6, .min_key = slice_str(keys), .max_key = slice_str(keys), .file_len = len};
    meta->entry_count = 1;
    meta->height = 1;
    meta->root = (struct block_ref){0, 1, id};
    meta->extents = extents;
    status st =
        store_alloc(b->store, len, 1 + (uint32_t) chance_below(&b->chance, 8), extents, &meta->extent_count, err);
    uint64_t done = 0;
    for (uint32_t i = 0; st == ST_OK && i < meta->extent_count; i++) {
        uint64_t part = len - done < extents[i].len ? len - done : extents[i].len;
        st = store_write(b->store, extents[i].at, bytes + done, part, err);
        done += part;
        if (st != ST_OK) store_forfeit(b->store, extents, meta->extent_count);
    }
    free(bytes);
    return st;
}

/* One commit: drops some segments and adds some. On failure b->m is the old state. */
static status commit_once(struct bench *b, uint32_t flags, struct err *err) {
    struct manifest next;
    struct extent freed[400];
    struct segment_meta metas[4];
    struct extent extents[4][SEGMENT_EXTENTS_MAX];
    char keys[4][32];
    size_t freed_count = 0, added = 0, drop = chance_below(&b->chance, 4), add = chance_below(&b->chance, 4);
    status st = manifest_copy(&next, &b->m, err);
    if (st != ST_OK) return st;
    while (drop-- > 0 && next.segment_count > 3) {
        const struct segment_meta *gone = &next.segments[chance_below(&b->chance, next.segment_count)];
        for (uint32_t i = 0; i < gone->extent_count; i++) freed[freed_count++] = gone->extents[i];
        manifest_remove(&next, gone->id);
    }
    for (size_t i = 0; i < add && st == ST_OK; i++) {
        uint64_t id = next.next_segment_id++;
        st = write_segment(b, id, &metas[i], extents[i], keys[i], err);
        if (st == ST_OK) added++;
        if (st == ST_OK) st = manifest_add(&next, &metas[i], err);
    }
    next.last_seq = b->m.last_seq + 1;
    if (st == ST_OK) {
        struct store_head head = *store_head(b->store);
        head.flags = flags;
        head.replay_lsn = next.last_seq * 10;
        head.log_count = 1;
        head.logs[0].id = next.last_seq;
        st = store_commit(b->store, &next, &head, freed, freed_count, err);
    }
    if (st != ST_OK) {
        for (size_t i = 0; i < added; i++) store_forfeit(b->store, metas[i].extents, metas[i].extent_count);
        manifest_release(&next);
        return st;
    }
    manifest_release(&b->m);
    b->m = next;
    b->generation++;
    return ST_OK;
}

static void count_fault(void *ctx, const char *text) {
    fprintf(stderr, "check: %s\n", text);
    ++*(int *) ctx;
}

/* Every segment's bytes are its own, the check is clean, and space adds up. */
static void verify(struct bench *b, const char *when, uint64_t seed, uint64_t cut) {
    int faults = 0;
    static uint8_t bytes[400000];
    uint64_t held = 0;
    for (size_t i = 0; i < b->m.segment_count; i++) {
        const struct segment_meta *seg = &b->m.segments[i];
        uint64_t done = 0;
        for (uint32_t k = 0; k < seg->extent_count && done < seg->file_len; k++) {
            uint64_t part = seg->file_len - done < seg->extents[k].len ? seg->file_len - done : seg->extents[k].len;
            cr_assert_eq(store_read(b->store, seg->extents[k].at, bytes, part, NULL), ST_OK);
            for (uint64_t at = 0; at < part; at++)
                cr_assert_eq(bytes[at], pattern(seg->id, done + at), "%s: segment %lu at %lu, seed %lu cut %lu", when,
                             seg->id, done + at, seed, cut);
            done += part;
        }
        for (uint32_t k = 0; k < seg->extent_count; k++) held += seg->extents[k].len;
    }
    cr_assert_eq(store_check(b->store, &b->m, count_fault, &faults, NULL), ST_OK, "%s: seed %lu cut %lu", when, seed,
                 cut);
    cr_assert_eq(faults, 0, "%s: seed %lu cut %lu", when, seed, cut);
    struct store_space sp = store_space(b->store);
    cr_assert_eq(sp.file_len, sp.used_len + sp.free_len + sp.pending_len);
    if (strcmp(when, "after a fault") == 0)
        return; /* what a failed commit may have left on the disk is not given back */
    cr_assert_eq(sp.used_len, held + 2 * UNIT_LEN + UNIT_LEN,
                 "superblocks, one unit of manifest, segments; seed %lu cut %lu", seed, cut);
}

static void new_bench(struct bench *b, const struct mem *mem, uint64_t seed) {
    *b = (struct bench){0};
    cr_assert_eq(sim_new(mem, seed, &b->sim, NULL), ST_OK);
    chance_init(&b->chance, seed);
}

/* Runs `commits` commits with the power cut after `cut` calls. */
static void run_until_cut(struct bench *b, int commits, uint64_t cut, struct err *err) {
    sim_power_cut_after(b->sim, cut);
    status st = open_bench(b, &create, err);
    for (int i = 0; i < commits && st == ST_OK; i++) st = commit_once(b, i + 1 == commits ? STORE_CLEAN : 0, err);
}

/* After the reboot: the last acknowledged state or the one that was being committed; then life goes on. */
static void verify_after_cut(struct bench *b, uint64_t seed, uint64_t cut) {
    struct err err = ERR_INIT;
    uint64_t acknowledged = b->generation;
    cr_assert_eq(open_bench(b, &create, &err), ST_OK, "%s: seed %lu cut %lu", err.text, seed, cut);
    uint64_t seq = b->m.last_seq;
    cr_assert(seq == acknowledged || seq == acknowledged + 1,
              "state %lu after %lu acknowledged commits; seed %lu cut %lu", seq, acknowledged, seed, cut);
    cr_assert_eq(store_head(b->store)->replay_lsn, seq * 10, "head and manifest belong together");
    verify(b, "reopened", seed, cut);
    for (int i = 0; i < 3; i++) cr_assert_eq(commit_once(b, 0, &err), ST_OK, "%s", err.text);
    verify(b, "after more commits", seed, cut);
    close_bench(b);
}

static uint64_t rounds(uint64_t usual) {
    const char *text = getenv("ELMO_TEST_ROUNDS");
    return text != NULL ? strtoull(text, NULL, 10) : usual;
}

Test(store, is_one_of_two_adjacent_states_after_a_power_cut_at_any_call) {
    for (uint64_t seed = 1; seed <= rounds(3); seed++) {
        for (uint64_t cut = 0;; cut++) {
            struct bench b;
            struct err err = ERR_INIT;
            new_bench(&b, mem_default(), seed * 1000 + cut);
            chance_init(&b.chance, seed);
            run_until_cut(&b, 6, cut, &err);
            bool was_off = sim_is_off(b.sim);
            if (b.store != NULL) close_bench(&b);
            sim_reboot(b.sim);
            verify_after_cut(&b, seed, cut);
            sim_free(b.sim);
            if (!was_off) break;
        }
    }
}

Test(store, survives_a_second_cut_right_after_the_first) {
    for (uint64_t seed = 1; seed <= rounds(200); seed++) {
        struct bench b;
        struct err err = ERR_INIT;
        new_bench(&b, mem_default(), seed);
        for (int life = 0; life < 6; life++) {
            uint64_t acknowledged;
            sim_power_cut_after(b.sim, chance_below(&b.chance, 40));
            status st = open_bench(&b, &create, &err);
            if (st == ST_OK) b.generation = b.m.last_seq;
            for (int i = 0; i < 5 && st == ST_OK; i++)
                st = commit_once(&b, chance_below(&b.chance, 3) == 0 ? STORE_CLEAN : 0, &err);
            acknowledged = b.generation;
            if (b.store != NULL) close_bench(&b);
            if (chance_below(&b.chance, 3) == 0 && !sim_is_off(b.sim)) sim_crash_process(b.sim);
            else sim_reboot(b.sim);
            cr_assert_eq(open_bench(&b, &create, &err), ST_OK, "%s: seed %lu life %d", err.text, seed, life);
            cr_assert(b.m.last_seq == acknowledged || b.m.last_seq == acknowledged + 1, "seed %lu life %d", seed, life);
            b.generation = b.m.last_seq;
            verify(&b, "reopened", seed, (uint64_t) life);
            close_bench(&b);
        }
        sim_free(b.sim);
    }
}

Test(store, survives_every_failed_call_once_and_for_good) {
    for (int for_good = 0; for_good < 2; for_good++) {
        for (int full = 0; full < 2; full++) {
            for (uint64_t n = 1;; n++) {
                struct bench b;
                struct err err = ERR_INIT;
                new_bench(&b, mem_default(), n);
                chance_init(&b.chance, 5);
                status want = full ? ST_NO_SPACE : ST_IO;
                sim_fail(b.sim, full ? SIM_WRITE | SIM_PREALLOCATE : SIM_CHANGING & ~SIM_TRUNCATE, n, want, for_good);
                status st = open_bench(&b, &create, &err);
                int done = 0, failed = 0;
                for (int i = 0; i < 8 && st == ST_OK; i++) {
                    status one = commit_once(&b, 0, &err);
                    cr_assert(one == ST_OK || one == want || one == ST_IO, "%d %s", one, err.text); /* a superblock not written: ST_IO for good */
                    failed += one != ST_OK;
                    done += one == ST_OK && failed != 0;
                }
                if (b.store != NULL) verify(&b, "after a fault", n, 0);
                bool hit = sim_fail_hit(b.sim);
                uint64_t acknowledged = b.generation;
                if (b.store != NULL) close_bench(&b);
                sim_reboot(b.sim);
                cr_assert_eq(open_bench(&b, &create, &err), ST_OK, "%s: n %lu", err.text, n);
                cr_assert(b.m.last_seq == acknowledged || b.m.last_seq == acknowledged + 1, "n %lu", n);
                verify(&b, "reopened", n, 0);
                close_bench(&b);
                sim_free(b.sim);
                if (!hit) break;
            }
        }
    }
}

Test(store, a_failed_sync_makes_it_read_only) {
    struct bench b;
    struct err err = ERR_INIT, again = ERR_INIT;
    struct extent e;
    uint32_t n;
    new_bench(&b, mem_default(), 1);
    cr_assert_eq(open_bench(&b, &create, NULL), ST_OK);
    cr_assert_eq(commit_once(&b, 0, NULL), ST_OK);
    sim_fail(b.sim, SIM_SYNC, 1, ST_IO, false);
    cr_expect_eq(commit_once(&b, 0, &err), ST_IO);
    cr_expect_eq(commit_once(&b, 0, &again), ST_IO, "it sticks though the disk works again");
    cr_expect_str_eq(err.text, again.text);
    cr_expect_eq(store_alloc(b.store, 1, 1, &e, &n, &again), ST_IO);
    close_bench(&b);
    cr_assert_eq(open_bench(&b, &create, &err), ST_OK, "%s", err.text);
    cr_expect_eq(commit_once(&b, 0, &err), ST_OK);
    close_bench(&b);
    sim_free(b.sim);
}

Test(store, a_full_disk_is_an_error_that_passes) {
    struct bench b;
    struct err err = ERR_INIT;
    new_bench(&b, mem_default(), 3);
    sim_set_capacity(b.sim, 1500000);
    cr_assert_eq(open_bench(&b, &create, NULL), ST_OK);
    status st = ST_OK;
    for (int i = 0; i < 200 && st == ST_OK; i++) st = commit_once(&b, 0, &err);
    cr_assert_eq(st, ST_NO_SPACE, "%s", err.text);
    verify(&b, "when full", 3, 0);
    sim_set_capacity(b.sim, 0);
    for (int i = 0; i < 20; i++) cr_assert_eq(commit_once(&b, 0, &err), ST_OK, "%s", err.text);
    verify(&b, "after", 3, 0);
    close_bench(&b);
    struct store_opts small = {.units_max = 10};
    sim_reboot(b.sim);
    cr_assert_eq(open_bench(&b, &small, &err), ST_OK);
    struct extent e[8];
    uint32_t n;
    cr_expect_eq(store_alloc(b.store, 64 << 20, 8, e, &n, &err), ST_NO_SPACE);
    close_bench(&b);
    sim_free(b.sim);
}

Test(store, reuses_space_two_commits_later_and_not_before) {
    struct bench b;
    struct err err = ERR_INIT;
    struct extent a, other;
    uint32_t n;
    new_bench(&b, mem_default(), 1);
    cr_assert_eq(open_bench(&b, &create, NULL), ST_OK);
    struct store_head head = *store_head(b.store);
    head.flags = 0; /* a clean commit would write two superblocks */
    cr_assert_eq(store_alloc(b.store, 40000, 1, &a, &n, NULL), ST_OK);
    cr_assert_eq(store_commit(b.store, &b.m, &head, &a, 1, &err), ST_OK, "%s", err.text);
    cr_assert_eq(store_alloc(b.store, 40000, 1, &other, &n, NULL), ST_OK);
    cr_expect(other.at >= a.at + a.len || other.at + other.len <= a.at, "the older superblock may still refer to it");
    store_forfeit(b.store, &other, 1);
    cr_assert_eq(store_commit(b.store, &b.m, &head, NULL, 0, &err), ST_OK);
    cr_assert_eq(store_alloc(b.store, 40000, 1, &other, &n, NULL), ST_OK);
    cr_expect(other.at < a.at + a.len && other.at + other.len > a.at, "now nothing does");
    close_bench(&b);
    sim_free(b.sim);
}

Test(store, shrinks_the_file_when_its_end_is_free) {
    struct bench b;
    struct extent big[8];
    uint32_t n;
    new_bench(&b, mem_default(), 1);
    cr_assert_eq(open_bench(&b, &create, NULL), ST_OK);
    struct store_head head = *store_head(b.store);
    head.flags = 0;
    cr_assert_eq(store_alloc(b.store, 100 << 20, 8, big, &n, NULL), ST_OK);
    cr_expect_geq(store_space(b.store).file_len, 100 << 20);
    cr_assert_eq(store_commit(b.store, &b.m, &head, big, n, NULL), ST_OK);
    cr_expect_geq(store_space(b.store).file_len, 100 << 20, "the older superblock needs it");
    head.flags = STORE_CLEAN;
    cr_assert_eq(store_commit(b.store, &b.m, &head, NULL, 0, NULL), ST_OK);
    cr_expect_leq(store_space(b.store).file_len, 6 * UNIT_LEN, "at a clean end only what is in use is left");
    head.flags = 0;
    cr_assert_eq(store_alloc(b.store, 100 << 20, 8, big, &n, NULL), ST_OK);
    cr_assert_eq(store_commit(b.store, &b.m, &head, big, n, NULL), ST_OK);
    for (int i = 0; i < 4; i++) cr_assert_eq(store_commit(b.store, &b.m, &head, NULL, 0, NULL), ST_OK);
    cr_expect_lt(store_space(b.store).file_len, 30 << 20, "and on the way too, once the manifest has moved down");
    head.flags = STORE_CLEAN;
    cr_assert_eq(store_commit(b.store, &b.m, &head, NULL, 0, NULL), ST_OK);
    close_bench(&b);
    cr_assert_eq(open_bench(&b, &create, NULL), ST_OK);
    cr_expect_eq(store_head(b.store)->flags, STORE_CLEAN);
    close_bench(&b);
    sim_free(b.sim);
}

Test(store, splits_an_allocation_over_free_runs_before_it_grows) {
    struct bench b;
    struct extent e[40], many[8];
    uint32_t n;
    new_bench(&b, mem_default(), 1);
    cr_assert_eq(open_bench(&b, &create, NULL), ST_OK);
    for (int i = 0; i < 8; i++) cr_assert_eq(store_alloc(b.store, 128 << 10, 1, &e[i], &n, NULL), ST_OK);
    uint64_t len = store_space(b.store).file_len;
    for (int i = 0; i < 8; i += 2) store_forfeit(b.store, &e[i], 1);
    cr_assert_eq(store_alloc(b.store, 256 << 10, 4, many, &n, NULL), ST_OK);
    cr_expect_eq(n, 2);
    cr_expect(many[0].at == e[0].at && many[1].at == e[2].at, "low addresses first");
    cr_expect_eq(store_space(b.store).file_len, len);
    cr_assert_eq(store_alloc(b.store, 10 << 20, 1, many, &n, NULL), ST_OK);
    cr_expect_eq(n, 1);
    close_bench(&b);
    sim_free(b.sim);
}

static void overwrite(struct bench *b, uint64_t at, const void *p, size_t len) {
    struct file *f;
    cr_assert_eq(env_open(sim_env(b->sim), PATH, FILE_CREATE, &f, NULL), ST_OK);
    cr_assert_eq(file_write(f, at, p, len, NULL), ST_OK);
    file_close(f);
}

static void make_database(struct bench *b, uint64_t seed) {
    new_bench(b, mem_default(), seed);
    cr_assert_eq(open_bench(b, &create, NULL), ST_OK);
    while (b->generation < 5 || b->m.segment_count == 0) cr_assert_eq(commit_once(b, 0, NULL), ST_OK);
    close_bench(b);
}

/* Generation g lies in slot g % 2; creation is generation 1. */
static uint64_t newest_slot(struct bench *b) { return (b->generation + 1) % 2 * UNIT_LEN; }

Test(store, falls_back_when_the_newest_superblock_is_torn) {
    struct bench b;
    struct err err = ERR_INIT;
    make_database(&b, 9);
    sim_flip_bit(b.sim, PATH, newest_slot(&b) + 80, 3);
    cr_assert_eq(open_bench(&b, &create, &err), ST_OK, "%s", err.text);
    cr_expect_eq(b.m.last_seq, b.generation - 1);
    verify(&b, "older", 9, 0);
    close_bench(&b);
    sim_flip_bit(b.sim, PATH, 80, 3);
    sim_flip_bit(b.sim, PATH, UNIT_LEN + 80, 3);
    if (newest_slot(&b) == 0) sim_flip_bit(b.sim, PATH, 80, 4);
    else sim_flip_bit(b.sim, PATH, UNIT_LEN + 80, 4);
    cr_assert_eq(open_bench(&b, &create, &err), ST_CORRUPT);
    cr_expect(strstr(err.text, "both superblocks are damaged") != NULL, "%s", err.text);
    sim_free(b.sim);
}

Test(store, finds_a_flipped_bit_in_the_manifest) {
    struct bench b;
    struct err err = ERR_INIT;
    make_database(&b, 10);
    struct superblock sb;
    enum superblock_state state;
    uint8_t slot[UNIT_LEN];
    struct file *f;
    cr_assert_eq(env_open(sim_env(b.sim), PATH, 0, &f, NULL), ST_OK);
    cr_assert_eq(file_read(f, newest_slot(&b), slot, UNIT_LEN, NULL), ST_OK);
    file_close(f);
    cr_assert_eq(superblock_decode(slot, (uint32_t) (newest_slot(&b) / UNIT_LEN), &sb, &state, NULL), ST_OK);
    cr_assert_eq(state, SUPERBLOCK_WHOLE);
    cr_assert_eq(open_bench(&b, &create, &err), ST_OK);
    sim_flip_bit(b.sim, PATH, sb.manifest_extents[0].at + sb.manifest_len / 2, 0);
    int faults = 0;
    cr_expect_eq(store_check(b.store, &b.m, count_fault, &faults, &err), ST_OK);
    cr_expect_eq(faults, 1, "check finds it in an open database");
    close_bench(&b);
    cr_expect_eq(open_bench(&b, &create, &err), ST_CORRUPT, "a damaged manifest is no reason to show an older state");
    cr_expect(strstr(err.text, "manifest") != NULL && strstr(err.text, PATH) != NULL, "%s", err.text);
    sim_free(b.sim);
}

/* Puts a superblock with a right checksum and one field changed into both slots. */
static status open_with_field(struct bench *b, uint64_t at, uint32_t value, struct err *err) {
    struct file *f;
    uint8_t slot[UNIT_LEN];
    cr_assert_eq(env_open(sim_env(b->sim), PATH, 0, &f, NULL), ST_OK);
    uint64_t place = newest_slot(b);
    cr_assert_eq(file_read(f, place, slot, UNIT_LEN, NULL), ST_OK);
    memcpy(slot + at, &value, 4);
    uint64_t sum = hash64(slot, UNIT_LEN - 8, place / UNIT_LEN);
    memcpy(slot + UNIT_LEN - 8, &sum, 8);
    cr_assert_eq(file_write(f, place, slot, UNIT_LEN, NULL), ST_OK);
    file_close(f);
    return open_bench(b, &create, err);
}

Test(store, refuses_what_it_does_not_understand) {
    static const struct {
        uint64_t at;
        uint32_t value;
        status want;
        const char *text;
    } rows[] = {
        {8, 2, ST_UNSUPPORTED, "format version 2"},
        {16, 4, ST_UNSUPPORTED, "0x4"},
        {12, 4, ST_OK, ""}, /* a compatible feature */
        {20, 8192, ST_CORRUPT, "contradict"},
        {60, 65, ST_CORRUPT, "contradict"},
        {72, 0x7fffffff, ST_CORRUPT, "manifest"},
        {88, 9, ST_CORRUPT, "contradict"},
        {96, 12345, ST_CORRUPT, "manifest"},
        {100, 1 << 20, ST_CORRUPT, "outside"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct bench b;
        struct err err = ERR_INIT;
        make_database(&b, 20 + i);
        status st = open_with_field(&b, rows[i].at, rows[i].value, &err);
        cr_expect_eq(st, rows[i].want, "row %zu: %s", i, err.text);
        cr_expect(strstr(err.text, rows[i].text) != NULL, "row %zu: %s", i, err.text);
        if (st == ST_OK) close_bench(&b);
        sim_free(b.sim);
    }
}

Test(store, refuses_files_that_are_not_databases_and_leaves_them_alone) {
    static const char *const contents[] = {"hello", "SQLite format 3",
                                           "\x89"
                                           "ELMO\r\n\x1a and more"};
    for (size_t i = 0; i < 3; i++) {
        struct bench b;
        struct err err = ERR_INIT;
        char back[32] = {0};
        struct file *f;
        new_bench(&b, mem_default(), i);
        overwrite(&b, i == 1 ? 20000 : 0, contents[i], strlen(contents[i]));
        if (i == 1) overwrite(&b, 0, contents[i], strlen(contents[i]));
        status st = open_bench(&b, &create, &err);
        cr_expect(st == ST_INVALID || st == ST_CORRUPT, "%zu: %s", i, err.text);
        cr_assert_eq(env_open(sim_env(b.sim), PATH, 0, &f, NULL), ST_OK);
        cr_assert_eq(file_read(f, 0, back, strlen(contents[i]), NULL), ST_OK);
        cr_expect_str_eq(back, contents[i]);
        file_close(f);
        sim_free(b.sim);
    }
}

Test(store, a_creation_that_was_cut_short_begins_anew) {
    /* whatever a prefix of the first superblock, or its sectors in any order, may leave in slot 1 */
    uint8_t slot[UNIT_LEN];
    struct superblock sb = {.head = {.format_version = 1, .generation = 1}};
    superblock_encode(&sb, slot);
    for (size_t len = 0; len < UNIT_LEN; len += len < 20 ? 1 : 300) {
        for (int missing = 0; missing < 2; missing++) {
            struct bench b;
            struct err err = ERR_INIT;
            uint8_t part[2 * UNIT_LEN] = {0};
            memcpy(part + UNIT_LEN, slot, len);
            if (missing) memset(part + UNIT_LEN, 0, 512);
            new_bench(&b, mem_default(), len);
            overwrite(&b, 0, part, sizeof(part));
            cr_assert_eq(open_bench(&b, &create, &err), ST_OK, "%zu bytes: %s", len, err.text);
            cr_assert_eq(commit_once(&b, 0, &err), ST_OK);
            close_bench(&b);
            sim_free(b.sim);
        }
    }
}

Test(store, opens_by_its_options) {
    struct bench b;
    struct err err = ERR_INIT;
    struct store_opts none = {0}, exclusive = {.create = true, .exclusive = true}, read_only = {.read_only = true};
    new_bench(&b, mem_default(), 1);
    cr_expect_eq(open_bench(&b, &none, &err), ST_IO);
    cr_expect(strstr(err.text, "there is no database") != NULL, "%s", err.text);
    overwrite(&b, 0, "", 0);
    cr_expect_eq(open_bench(&b, &none, &err), ST_INVALID, "an empty file");
    cr_expect_eq(open_bench(&b, &exclusive, &err), ST_OK, "%s", err.text);
    cr_expect_eq(commit_once(&b, 0, &err), ST_OK);
    struct store *second;
    struct manifest m;
    manifest_init(&m, mem_default());
    cr_expect_eq(store_open(sim_env(b.sim), PATH, &create, &second, &m, &err), ST_BUSY);
    cr_expect(strstr(err.text, "already open") != NULL, "%s", err.text);
    cr_expect_eq(store_open(sim_env(b.sim), PATH, &read_only, &second, &m, &err), ST_BUSY);
    close_bench(&b);
    cr_expect_eq(open_bench(&b, &exclusive, &err), ST_DUPLICATE);
    uint64_t calls = sim_calls(b.sim);
    cr_assert_eq(open_bench(&b, &read_only, &err), ST_OK, "%s", err.text);
    cr_expect_eq(store_open(sim_env(b.sim), PATH, &read_only, &second, &m, &err), ST_OK, "readers share");
    cr_expect_eq(sim_calls(b.sim), calls + 2, "two opens, and nothing is written");
    manifest_release(&m);
    store_close(second);
    cr_expect_eq(commit_once(&b, 0, &err), ST_READ_ONLY);
    close_bench(&b);
    sim_free(b.sim);
}

Test(store, claims_what_the_manifest_does_not_name) {
    struct bench b;
    struct err err = ERR_INIT;
    struct extent e = {5 * UNIT_LEN, 4 * UNIT_LEN}, got;
    uint32_t n;
    make_database(&b, 3);
    cr_assert_eq(open_bench(&b, &create, NULL), ST_OK);
    uint64_t end = store_space(b.store).file_len;
    e = (struct extent){end - 4 * UNIT_LEN, 4 * UNIT_LEN};
    cr_expect_eq(store_claim(b.store, e, &err), ST_OK, "%s", err.text);
    cr_expect_eq(store_claim(b.store, e, &err), ST_CORRUPT, "twice");
    cr_expect(strstr(err.text, "overlap") != NULL, "%s", err.text);
    cr_expect_eq(store_claim(b.store, (struct extent){end, UNIT_LEN}, &err), ST_CORRUPT, "outside");
    cr_expect_eq(store_claim(b.store, (struct extent){UINT64_MAX - 4095, UNIT_LEN}, &err), ST_CORRUPT);
    cr_expect_eq(store_claim(b.store, (struct extent){end - 6 * UNIT_LEN + 1, UNIT_LEN}, &err), ST_CORRUPT);
    cr_expect_eq(store_claim(b.store, b.m.segments[0].extents[0], &err), ST_CORRUPT, "a segment's");
    while (store_space(b.store).file_len == end) {
        cr_assert_eq(store_alloc(b.store, UNIT_LEN, 1, &got, &n, NULL), ST_OK);
        cr_assert(got.at + got.len <= e.at || got.at >= e.at + e.len);
    }
    close_bench(&b);
    sim_free(b.sim);
}

Test(store, a_truncated_file_is_refused) {
    struct bench b;
    struct err err = ERR_INIT;
    struct file *f;
    make_database(&b, 4);
    cr_assert_eq(env_open(sim_env(b.sim), PATH, 0, &f, NULL), ST_OK);
    uint64_t cut = b.m.segment_count; /* released; only the file matters */
    (void) cut;
    cr_assert_eq(f->ops->truncate(f, 3 * UNIT_LEN, NULL), ST_OK);
    file_close(f);
    cr_expect_eq(open_bench(&b, &create, &err), ST_CORRUPT);
    cr_expect(strstr(err.text, "outside of the file") != NULL, "%s", err.text);
    sim_free(b.sim);
}

Test(store, survives_every_flipped_bit_of_the_superblocks) {
    struct bench b;
    make_database(&b, 5);
    struct chance c;
    chance_init(&c, 5);
    for (int i = 0; i < 1500; i++) {
        uint64_t at = chance_below(&c, 2) ? chance_below(&c, 800) : chance_below(&c, 2 * UNIT_LEN);
        unsigned bit = (unsigned) chance_below(&c, 8);
        struct store_opts read_only = {.read_only = true};
        cr_assert(sim_flip_bit(b.sim, PATH, at, bit));
        status st = open_bench(&b, &read_only, NULL);
        cr_assert_eq(st, ST_OK, "one slot is whole");
        cr_expect(b.m.last_seq == b.generation || b.m.last_seq == b.generation - 1);
        close_bench(&b);
        cr_assert(sim_flip_bit(b.sim, PATH, at, bit));
    }
    sim_free(b.sim);
}

Test(store, survives_every_failed_allocation) {
    for (uint64_t n = 1;; n++) {
        struct mem_fail mf;
        struct bench b;
        struct err err = ERR_INIT;
        mem_fail_init(&mf, n);
        mf.once = n % 2 == 0;
        new_bench(&b, &mf.mem, 7);
        status st = open_bench(&b, &create, &err);
        cr_assert(st == ST_OK || st == ST_NOMEM, "%d %s", st, err.text);
        for (int i = 0; i < 5 && st == ST_OK; i++) {
            status one = commit_once(&b, i == 4 ? STORE_CLEAN : 0, &err);
            cr_assert(one == ST_OK || one == ST_NOMEM, "%d %s", one, err.text);
        }
        bool hit = mem_fail_hit(&mf);
        mf.fail_at = 0;
        uint64_t acknowledged = b.generation;
        if (b.store != NULL) close_bench(&b);
        cr_assert_eq(mem_fail_live(&mf), 0, "allocation %lu", n);
        cr_assert_eq(open_bench(&b, &create, &err), ST_OK, "%s", err.text);
        cr_assert_eq(b.m.last_seq, acknowledged, "no memory is no power cut");
        verify(&b, "after a failed allocation", n, 0);
        close_bench(&b);
        sim_free(b.sim);
        if (!hit) break;
    }
}

struct worker {
    struct store *store;
    uint8_t value;
    bool ok;
};

/* Takes, fills, reads back and gives back extents. */
static void *fill_extents(void *ctx) {
    struct worker *me = ctx;
    uint8_t bytes[9000], back[9000];
    memset(bytes, me->value, sizeof(bytes));
    me->ok = true;
    for (int i = 0; i < 300; i++) {
        struct extent e[4];
        uint32_t n = 0;
        me->ok &= store_alloc(me->store, sizeof(bytes), 1, e, &n, NULL) == ST_OK;
        me->ok &= store_write(me->store, e[0].at, bytes, sizeof(bytes), NULL) == ST_OK;
        me->ok &= store_read(me->store, e[0].at, back, sizeof(back), NULL) == ST_OK;
        me->ok &= memcmp(bytes, back, sizeof(back)) == 0;
        me->ok &= store_space(me->store).used_len >= sizeof(bytes);
        store_forfeit(me->store, e, n);
    }
    return NULL;
}

Test(store, serves_several_threads_while_it_commits) {
    struct bench b;
    struct thread t[3];
    struct worker w[3];
    new_bench(&b, mem_default(), 8);
    cr_assert_eq(open_bench(&b, &create, NULL), ST_OK);
    for (int i = 0; i < 3; i++) {
        w[i] = (struct worker){b.store, (uint8_t) (i + 1), false};
        cr_assert_eq(thread_start(&t[i], fill_extents, &w[i], NULL), ST_OK);
    }
    for (int i = 0; i < 60; i++) cr_assert_eq(commit_once(&b, 0, NULL), ST_OK);
    for (int i = 0; i < 3; i++) {
        thread_join(&t[i]);
        cr_expect(w[i].ok);
    }
    verify(&b, "after threads", 8, 0);
    close_bench(&b);
    sim_free(b.sim);
}

/* The whole life of it on a real disk. */
Test(store, works_on_real_files) {
    char dir[] = "/tmp/elmo-store-XXXXXX", path[64];
    struct env *env;
    struct store *s, *second;
    struct manifest m;
    struct err err = ERR_INIT;
    cr_assert_not_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/a.elmo", dir);
    cr_assert_eq(env_posix_new(mem_default(), &env, NULL), ST_OK);
    manifest_init(&m, mem_default());
    cr_assert_eq(store_open(env, path, &create, &s, &m, &err), ST_OK, "%s", err.text);
    cr_expect_eq(store_open(env, path, &create, &second, &m, &err), ST_BUSY);
    struct extent e;
    uint32_t n;
    uint8_t bytes[5000], back[5000];
    memset(bytes, 7, sizeof(bytes));
    cr_assert_eq(store_alloc(s, sizeof(bytes), 1, &e, &n, &err), ST_OK, "%s", err.text);
    cr_assert_eq(store_write(s, e.at, bytes, sizeof(bytes), &err), ST_OK);
    m.last_seq = 4;
    struct store_head head = *store_head(s);
    head.flags = STORE_CLEAN;
    cr_assert_eq(store_commit(s, &m, &head, NULL, 0, &err), ST_OK, "%s", err.text);
    cr_assert_eq(store_read(s, e.at, back, sizeof(back), &err), ST_OK);
    cr_expect(memcmp(bytes, back, sizeof(back)) == 0);
    store_close(s);
    manifest_release(&m);
    cr_assert_eq(store_open(env, path, &create, &s, &m, &err), ST_OK, "%s", err.text);
    cr_expect_eq(m.last_seq, 4);
    manifest_release(&m);
    store_close(s);
    env_free(env);
    remove(path);
    remove(dir);
}
