/* The log: power cuts anywhere, damage, foreign and missing files, group commit, recycling, full disks. */
#include "storage/wal.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/chance.h"
#include "os/env_sim.h"
#include "os/thread.h"
#include "storage/wal_file.h"
#include "support/mem_fail.h"

#define PATH "/db/test.elmo"

static const uint8_t uuid[16] = {1, 2, 3}, other_uuid[16] = {9};
static const struct wal_opts small = {.file_len = 1 << 16, .zero_step = 1 << 13};

/* The payload of an LSN follows from it, so that a replay can be verified without a list. */
static size_t payload_len(uint64_t lsn) { return lsn % 50 == 49 ? 30000 + lsn : 1 + (lsn * 2654435761u >> 7) % 300; }
static uint8_t payload_byte(uint64_t lsn, size_t i) { return (uint8_t) (lsn * 31 + i * i + (i >> 3)); }

static void fill(uint8_t *p, uint64_t lsn) {
    for (size_t i = 0; i < payload_len(lsn); i++) p[i] = payload_byte(lsn, i);
}

/* Appends the next record, in three pieces. */
static status append_next(struct wal *w, uint64_t *lsn, struct err *err) {
    static _Thread_local uint8_t p[40000];
    uint64_t next = wal_last_lsn(w) + 1;
    size_t len = payload_len(next), a = len / 3, b = len / 2;
    fill(p, next);
    struct slice pieces[3] = {slice_of(p, a), slice_of(p + a, b - a), slice_of(p + b, len - b)};
    status st = wal_append(w, pieces, 3, lsn, err);
    if (st == ST_OK) cr_assert_eq(*lsn, next);
    return st;
}

struct seen {
    uint64_t first, last, count;
    bool whole;
};

static status see(void *ctx, uint64_t lsn, struct slice record, struct err *err) {
    struct seen *s = ctx;
    (void) err;
    if (s->count++ == 0) s->first = lsn;
    s->whole &= s->count == 1 || lsn == s->last + 1;
    s->last = lsn;
    s->whole &= record.len == payload_len(lsn);
    for (size_t i = 0; i < record.len && s->whole; i++) s->whole &= record.p[i] == payload_byte(lsn, i);
    return ST_OK;
}

static status replay(struct env *env, const uint64_t *ids, size_t n, uint64_t after, struct seen *s, uint64_t *last,
                     struct err *err) {
    *s = (struct seen){.whole = true};
    return wal_replay(env, PATH, uuid, ids, n, after, see, s, last, err);
}

static struct sim *new_sim(uint64_t seed) {
    struct sim *sim;
    cr_assert_eq(sim_new(mem_default(), seed, &sim, NULL), ST_OK);
    return sim;
}

static struct wal *must_open(struct env *env, uint64_t first) {
    struct wal *w = NULL;
    struct err err = ERR_INIT;
    cr_assert_eq(wal_open(env, PATH, uuid, first, &small, &w, &err), ST_OK, "%s", err.text);
    return w;
}

static void must_append(struct wal *w, int n, bool sync) {
    uint64_t lsn = 0;
    struct err err = ERR_INIT;
    for (int i = 0; i < n; i++) {
        cr_assert_eq(append_next(w, &lsn, &err), ST_OK, "%s", err.text);
        if (sync) cr_assert_eq(wal_sync(w, lsn, &err), ST_OK, "%s", err.text);
    }
}

Test(wal, replays_what_was_appended_over_several_files) {
    struct sim *sim = new_sim(1);
    struct env *env = sim_env(sim);
    struct wal *w = must_open(env, 1);
    uint64_t ids[3] = {wal_current_id(w)}, last;
    struct seen s;
    must_append(w, 60, false);
    cr_assert_eq(wal_rotate(w, &ids[1], NULL), ST_OK);
    must_append(w, 60, false);
    cr_assert_eq(wal_prepare(w, &ids[2], NULL), ST_OK);
    uint64_t again;
    cr_assert_eq(wal_prepare(w, &again, NULL), ST_OK);
    cr_expect_eq(again, ids[2], "one file is prepared, not two");
    cr_expect_eq(replay(env, ids, 3, 0, &s, &last, NULL), ST_OK, "a prepared file without records is fine");
    cr_expect(s.whole && s.first == 1 && last == 120);
    cr_assert_eq(wal_rotate(w, &again, NULL), ST_OK);
    cr_expect_eq(again, ids[2]);
    cr_expect_eq(wal_current_id(w), ids[2]);
    must_append(w, 7, true);
    cr_expect_gt(wal_current_len(w), WAL_HEADER_LEN);
    wal_close(w);
    cr_expect_eq(replay(env, ids, 3, 0, &s, &last, NULL), ST_OK);
    cr_expect(s.whole && s.count == 127 && s.first == 1 && last == 127);
    cr_expect_eq(replay(env, ids, 3, 100, &s, &last, NULL), ST_OK);
    cr_expect(s.whole && s.first == 101 && last == 127, "only what comes after");
    cr_expect_eq(replay(env, ids + 1, 2, 90, &s, &last, NULL), ST_OK, "the oldest is not needed for that");
    cr_expect(s.whole && s.first == 91 && last == 127);
    cr_expect_eq(replay(env, ids, 0, 55, &s, &last, NULL), ST_OK);
    cr_expect_eq(last, 55);
    sim_free(sim);
}

Test(wal, takes_records_of_seventeen_mebibytes) {
    struct sim *sim = new_sim(1);
    struct wal *w = must_open(sim_env(sim), 1);
    size_t len = 17 << 20;
    uint8_t *big = malloc(len);
    uint64_t lsn, id = wal_current_id(w), last;
    struct seen s = {0};
    struct err err = ERR_INIT;
    memset(big, 0xa5, len);
    struct slice piece = slice_of(big, len);
    cr_assert_eq(wal_append(w, &piece, 1, &lsn, &err), ST_OK, "%s", err.text);
    must_append(w, 3, true);
    wal_close(w);
    cr_assert_eq(wal_replay(sim_env(sim), PATH, uuid, &id, 1, 0, see, &s, &last, &err), ST_OK, "%s", err.text);
    cr_expect_eq(last, 4);
    free(big);
    sim_free(sim);
}

/* One life of a log until the power fails: appends, syncs, rotations. Gives the ids that a superblock would name and the
 * greatest LSN that was acknowledged as durable. */
struct life {
    uint64_t ids[40];
    size_t id_count;
    uint64_t appended, durable;
};

static void live(struct env *env, struct chance *c, struct life *l, int steps) {
    struct wal *w = NULL;
    uint64_t first = l->appended + 1;
    if (wal_open(env, PATH, uuid, first, &small, &w, NULL) != ST_OK) return;
    l->ids[l->id_count++] = wal_current_id(w);
    for (int i = 0; i < steps; i++) {
        uint64_t lsn;
        status st = ST_OK;
        switch (chance_below(c, 8)) {
        case 0:
            st = wal_last_lsn(w) > 0 ? wal_sync(w, wal_last_lsn(w), NULL) : ST_OK;
            if (st == ST_OK) l->durable = wal_last_lsn(w);
            break;
        case 1:
            if (chance_below(c, 4) == 0 && l->id_count < 38) {
                st = wal_rotate(w, &lsn, NULL);
                if (st == ST_OK) l->ids[l->id_count++] = lsn;
            }
            break;
        default:
            st = append_next(w, &lsn, NULL);
            if (st == ST_OK) l->appended = lsn;
        }
        if (st != ST_OK) break;
    }
    wal_close(w);
}

static uint64_t rounds(uint64_t usual) {
    const char *text = getenv("ELMO_TEST_ROUNDS");
    return text != NULL ? strtoull(text, NULL, 10) : usual;
}

Test(wal, has_every_synced_record_and_no_half_one_after_power_cuts) {
    for (uint64_t seed = 1; seed <= rounds(1500); seed++) {
        struct sim *sim = new_sim(seed);
        struct chance c;
        struct life l = {0};
        chance_init(&c, seed);
        for (int lives = 0; lives < 4; lives++) {
            struct seen s;
            struct err err = ERR_INIT;
            uint64_t last;
            sim_power_cut_after(sim, chance_below(&c, 120));
            live(sim_env(sim), &c, &l, 60);
            if (chance_below(&c, 4) == 0) sim_crash_process(sim);
            else sim_reboot(sim);
            cr_assert_eq(replay(sim_env(sim), l.ids, l.id_count, 0, &s, &last, &err), ST_OK, "%s: seed %lu", err.text,
                         seed);
            cr_assert(s.whole, "seed %lu", seed);
            cr_assert_geq(last, l.durable, "seed %lu: an acknowledged record is lost", seed);
            cr_assert_leq(last, l.appended + 1, "seed %lu", seed);
            l.appended = last; /* the program goes on with what it found */
        }
        sim_free(sim);
    }
}

/* A log of 40 synced records; gives its id. */
static uint64_t make_log(struct sim *sim) {
    struct wal *w = must_open(sim_env(sim), 1);
    uint64_t id = wal_current_id(w);
    must_append(w, 40, true);
    wal_close(w);
    return id;
}

Test(wal, finds_every_flipped_bit_in_its_durable_part) {
    struct sim *sim = new_sim(4);
    uint64_t id = make_log(sim), last, end = WAL_HEADER_LEN;
    struct chance c;
    chance_init(&c, 4);
    for (uint64_t lsn = 1; lsn <= 39; lsn++) end += wal_record_room(payload_len(lsn)); /* the last one has no witness */
    for (int i = 0; i < 400; i++) {
        struct seen s;
        struct err err = ERR_INIT;
        uint64_t at = WAL_HEADER_LEN + chance_below(&c, end - WAL_HEADER_LEN);
        unsigned bit = (unsigned) chance_below(&c, 8);
        cr_assert(sim_flip_bit(sim, PATH "-log-1", at, bit));
        status st = replay(sim_env(sim), &id, 1, 0, &s, &last, &err);
        /* padding behind a payload carries no meaning */
        cr_assert(st == ST_CORRUPT || (st == ST_OK && last == 40 && s.whole), "at %lu: %s", at, status_text(st));
        if (st == ST_CORRUPT)
            cr_assert(strstr(err.text, "log-1") != NULL && strstr(err.text, "was on disk") != NULL, "%s", err.text);
        cr_assert(sim_flip_bit(sim, PATH "-log-1", at, bit));
    }
    sim_free(sim);
}

Test(wal, takes_damage_behind_the_durable_part_for_the_torn_end) {
    struct sim *sim = new_sim(4);
    struct wal *w = must_open(sim_env(sim), 1);
    uint64_t id = wal_current_id(w), last, end = WAL_HEADER_LEN;
    struct seen s;
    must_append(w, 20, true);
    must_append(w, 10, false);
    wal_close(w);
    for (uint64_t lsn = 1; lsn <= 25; lsn++) end += wal_record_room(payload_len(lsn));
    cr_assert(sim_flip_bit(sim, PATH "-log-1", end + 40, 0)); /* inside record 26 */
    cr_expect_eq(replay(sim_env(sim), &id, 1, 0, &s, &last, NULL), ST_OK);
    cr_expect_eq(last, 25);
    cr_expect(s.whole);
    sim_free(sim);
}

Test(wal, a_hole_between_two_logs_is_damage_if_it_was_durable) {
    struct sim *sim = new_sim(5);
    struct wal *w = must_open(sim_env(sim), 1);
    uint64_t ids[2] = {wal_current_id(w)}, last, end = WAL_HEADER_LEN;
    struct seen s;
    struct err err = ERR_INIT;
    must_append(w, 10, false);
    cr_assert_eq(wal_rotate(w, &ids[1], NULL), ST_OK);
    must_append(w, 5, false);
    for (uint64_t lsn = 1; lsn <= 9; lsn++) end += wal_record_room(payload_len(lsn));
    cr_assert(sim_flip_bit(sim, PATH "-log-1", end, 0)); /* record 10 */
    cr_expect_eq(replay(sim_env(sim), ids, 2, 0, &s, &last, &err), ST_OK, "%s", err.text);
    cr_expect_eq(last, 9, "nothing says that 10 was durable");
    cr_assert_eq(wal_sync(w, 15, NULL), ST_OK);
    must_append(w, 1, true);
    wal_close(w);
    cr_expect_eq(replay(sim_env(sim), ids, 2, 0, &s, &last, &err), ST_CORRUPT);
    cr_expect_eq(replay(sim_env(sim), ids, 2, 10, &s, &last, &err), ST_OK, "in segments by then");
    cr_expect_eq(last, 16);
    sim_free(sim);
}

Test(wal, refuses_missing_foreign_and_damaged_logs) {
    struct sim *sim = new_sim(6);
    struct env *env = sim_env(sim);
    uint64_t id = make_log(sim), last;
    struct seen s;
    struct err err = ERR_INIT;
    uint64_t missing[2] = {id, (id & ~(uint64_t) WAL_NUMBER_MAX) | 3};
    cr_expect_eq(replay(env, missing, 2, 0, &s, &last, &err), ST_CORRUPT);
    cr_expect(strstr(err.text, "-log-3 is missing") != NULL, "%s", err.text);
    uint64_t impostor = id ^ (uint64_t) 1 << 40;
    cr_expect_eq(replay(env, &impostor, 1, 0, &s, &last, &err), ST_CORRUPT);
    cr_expect(strstr(err.text, "another with its name") != NULL, "%s", err.text);
    cr_expect_eq(wal_replay(env, PATH, other_uuid, &id, 1, 0, see, &s, &last, &err), ST_CORRUPT);
    cr_expect(strstr(err.text, "another database") != NULL, "%s", err.text);
    sim_flip_bit(sim, PATH "-log-1", 36, 1);
    cr_expect_eq(replay(env, &id, 1, 0, &s, &last, &err), ST_CORRUPT);
    cr_expect(strstr(err.text, "header is damaged") != NULL, "%s", err.text);
    sim_free(sim);
}

Test(wal, stale_and_foreign_records_never_count) {
    struct sim *sim = new_sim(7);
    struct env *env = sim_env(sim);
    struct wal *w = must_open(env, 1);
    uint64_t ids[4] = {wal_current_id(w)}, last, unused;
    struct seen s;
    must_append(w, 100, true);
    cr_assert_eq(wal_rotate(w, &ids[1], NULL), ST_OK);
    must_append(w, 1, true);
    cr_assert_eq(wal_forget(w, &ids[1], 1, NULL), ST_OK);
    struct file *f;
    cr_expect_eq(env_open(env, PATH "-log-1", 0, &f, NULL), ST_OK, "the older superblock may still name it");
    file_close(f);
    cr_assert_eq(wal_forget(w, &ids[1], 1, NULL), ST_OK);
    cr_assert_eq(wal_rotate(w, &ids[2], NULL), ST_OK);
    cr_expect_eq(env_open(env, PATH "-log-1", 0, &f, NULL), ST_NOT_FOUND, "it was taken for log 3");
    must_append(w, 2, true);
    wal_close(w);
    cr_expect_eq(replay(env, ids + 1, 2, 100, &s, &last, NULL), ST_OK);
    cr_expect(s.whole && s.count == 3 && last == 103, "its old records, which lie behind the new ones, are nothing");
    w = must_open(env, 104); /* files that no superblock names stand about: they are ignored, then taken away */
    unused = wal_current_id(w);
    cr_expect_eq(wal_number_of(unused), 4, "a number is not given twice");
    for (int i = 0; i < 3; i++) cr_assert_eq(wal_forget(w, &unused, 1, NULL), ST_OK);
    cr_expect_eq(env_open(env, PATH "-log-2", 0, &f, NULL), ST_NOT_FOUND, "one is kept as a spare, the others go");
    wal_close(w);
    cr_assert_eq(wal_remove_all(env, PATH, NULL), ST_OK);
    struct wal_numbers numbers;
    cr_assert_eq(wal_list(env, PATH, &numbers, NULL), ST_OK);
    cr_expect_eq(numbers.count, 0);
    wal_numbers_release(&numbers);
    sim_free(sim);
}

Test(wal, lists_only_files_of_its_own_kind) {
    struct sim *sim = new_sim(7);
    static const char *const names[] = {
        PATH "-log-12",       PATH "-log-7",     PATH "-log-07",         PATH "-log-", PATH "-log-x",
        PATH "-log-99999999", PATH "-log-3.bak", "/db/other.elmo-log-1", PATH,         "/elsewhere/test.elmo-log-2"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct file *f;
        cr_assert_eq(env_open(sim_env(sim), names[i], FILE_CREATE, &f, NULL), ST_OK);
        file_close(f);
    }
    struct wal_numbers numbers;
    cr_assert_eq(wal_list(sim_env(sim), PATH, &numbers, NULL), ST_OK);
    cr_assert_eq(numbers.count, 2);
    cr_expect(numbers.n[0] == 7 && numbers.n[1] == 12);
    wal_numbers_release(&numbers);
    sim_free(sim);
}

Test(wal, says_who_holds_it) {
    struct sim *sim = new_sim(1);
    char text[64];
    wal_holder(sim_env(sim), PATH, text, sizeof(text));
    cr_expect_str_eq(text, "");
    struct wal *w = must_open(sim_env(sim), 1);
    wal_holder(sim_env(sim), PATH, text, sizeof(text));
    cr_expect_str_eq(text, "pid 1 on simulator");
    wal_holder(sim_env(sim), PATH, text, 6);
    cr_expect_str_eq(text, "pid 1");
    wal_close(w);
    sim_free(sim);
}

Test(wal, a_failed_sync_sticks_but_spares_what_was_durable) {
    struct sim *sim = new_sim(1);
    struct wal *w = must_open(sim_env(sim), 1);
    struct err err = ERR_INIT, again = ERR_INIT;
    uint64_t lsn, id;
    must_append(w, 5, true);
    must_append(w, 5, false);
    sim_fail(sim, SIM_SYNC, 1, ST_IO, false);
    cr_expect_eq(wal_sync(w, 10, &err), ST_IO);
    cr_expect_eq(wal_sync(w, 10, &again), ST_IO);
    cr_expect_str_eq(err.text, again.text);
    cr_expect_eq(append_next(w, &lsn, &again), ST_IO);
    cr_expect_eq(wal_rotate(w, &id, &again), ST_IO);
    cr_expect_eq(wal_sync(w, 5, &again), ST_OK, "these are on disk");
    wal_close(w);
    sim_free(sim);
}

Test(wal, a_full_disk_is_an_error_that_passes) {
    struct sim *sim = new_sim(1);
    struct wal *w = must_open(sim_env(sim), 1);
    uint64_t lsn = 0, id = wal_current_id(w), last;
    struct err err = ERR_INIT;
    struct seen s;
    sim_set_capacity(sim, 1 << 17);
    status st = ST_OK;
    while (st == ST_OK) st = append_next(w, &lsn, &err);
    cr_assert_eq(st, ST_NO_SPACE, "%s", err.text);
    cr_expect_eq(wal_sync(w, lsn, &err), ST_OK, "what was appended can be made durable");
    cr_expect_eq(wal_rotate(w, &id, &err), ST_NO_SPACE, "no room for another file");
    cr_expect_eq(wal_last_lsn(w), lsn);
    sim_set_capacity(sim, 0);
    id = wal_current_id(w);
    must_append(w, 10, true);
    wal_close(w);
    cr_assert_eq(replay(sim_env(sim), &id, 1, 0, &s, &last, &err), ST_OK);
    cr_expect(s.whole && last == lsn + 10);
    sim_free(sim);
}

/* A life with rotation and recycling; ids of the logs that are needed for records > 0. */
static status scenario(struct env *env, uint64_t *ids, size_t *n, uint64_t *durable) {
    struct wal *w = NULL;
    uint64_t lsn = 0;
    status st = wal_open(env, PATH, uuid, 1, &small, &w, NULL);
    if (st != ST_OK) return st;
    ids[(*n)++] = wal_current_id(w);
    for (int i = 0; i < 30 && st == ST_OK; i++) {
        st = append_next(w, &lsn, NULL);
        if (st == ST_OK && i % 3 == 0) st = wal_sync(w, lsn, NULL);
        if (st == ST_OK && i % 3 == 0) *durable = lsn;
        if (st == ST_OK && i % 10 == 9) {
            uint64_t id;
            st = wal_rotate(w, &id, NULL);
            if (st == ST_OK) ids[(*n)++] = id;
            if (st == ST_OK) st = wal_forget(w, ids, *n, NULL);
        }
    }
    wal_close(w);
    return st;
}

Test(wal, survives_every_failed_call_once_and_for_good) {
    for (int mode = 0; mode < 4; mode++) {
        for (uint64_t n = 1;; n++) {
            struct sim *sim = new_sim(n);
            uint64_t ids[8], durable = 0, last;
            size_t count = 0;
            struct seen s;
            struct err err = ERR_INIT;
            sim_fail(sim, SIM_ALL, n, mode & 1 ? ST_NO_SPACE : ST_IO, (mode & 2) != 0);
            (void) scenario(sim_env(sim), ids, &count, &durable);
            bool hit = sim_fail_hit(sim);
            sim_reboot(sim);
            cr_assert_eq(replay(sim_env(sim), ids, count, 0, &s, &last, &err), ST_OK, "%s: call %lu", err.text, n);
            cr_assert(s.whole && last >= durable, "call %lu", n);
            sim_free(sim);
            if (!hit) break;
        }
    }
}

Test(wal, survives_every_failed_allocation) {
    for (uint64_t n = 1;; n++) {
        struct mem_fail mf;
        struct sim *sim;
        uint64_t ids[8], durable = 0, last = 0;
        size_t count = 0;
        struct seen s;
        char who[32];
        mem_fail_init(&mf, n);
        cr_assert_eq(sim_new(&mf.mem, n, &sim, NULL), ST_OK);
        status st = scenario(sim_env(sim), ids, &count, &durable);
        wal_holder(sim_env(sim), PATH, who, sizeof(who));
        if (st == ST_OK) st = replay(sim_env(sim), ids, count, 0, &s, &last, NULL);
        if (st == ST_OK) st = wal_remove_all(sim_env(sim), PATH, NULL);
        cr_assert_eq(st, mem_fail_hit(&mf) ? ST_NOMEM : ST_OK, "allocation %lu: %s", n, status_text(st));
        cr_assert_eq(mem_fail_live(&mf), 0, "allocation %lu", n);
        sim_free(sim);
        if (!mem_fail_hit(&mf)) break;
    }
}

struct crowd {
    struct wal *wal;
    bool ok;
};

static void *commit_many(void *ctx) {
    struct crowd *me = ctx;
    me->ok = true;
    for (int i = 0; i < 200; i++) {
        uint64_t lsn = 0;
        struct slice piece = SLICE_LIT("a commit of one of several threads");
        me->ok &= wal_append(me->wal, &piece, 1, &lsn, NULL) == ST_OK;
        me->ok &= wal_sync(me->wal, lsn, NULL) == ST_OK;
    }
    return NULL;
}

static status count_record(void *ctx, uint64_t lsn, struct slice record, struct err *err) {
    (void) lsn;
    (void) record;
    (void) err;
    ++*(int *) ctx;
    return ST_OK;
}

Test(wal, several_threads_share_syncs_while_files_rotate) {
    struct sim *sim = new_sim(1);
    struct wal *w = must_open(sim_env(sim), 1);
    struct thread t[4];
    struct crowd crowd[4];
    uint64_t ids[12] = {wal_current_id(w)}, last;
    size_t n = 1;
    int count = 0;
    for (int i = 0; i < 4; i++) {
        crowd[i] = (struct crowd){w, false};
        cr_assert_eq(thread_start(&t[i], commit_many, &crowd[i], NULL), ST_OK);
    }
    for (int i = 0; i < 10; i++) {
        cr_assert_eq(wal_rotate(w, &ids[n++], NULL), ST_OK);
        cr_assert_eq(wal_forget(w, ids, n, NULL), ST_OK);
    }
    for (int i = 0; i < 4; i++) {
        thread_join(&t[i]);
        cr_expect(crowd[i].ok);
    }
    cr_expect_eq(wal_last_lsn(w), 800);
    wal_close(w);
    sim_reboot(sim);
    cr_assert_eq(wal_replay(sim_env(sim), PATH, uuid, ids, n, 0, count_record, &count, &last, NULL), ST_OK);
    cr_expect(count == 800 && last == 800, "%d", count);
    sim_free(sim);
}

Test(wal, survives_random_bytes) {
    struct sim *sim = new_sim(8);
    uint64_t id = make_log(sim), last;
    struct chance c;
    struct file *f;
    chance_init(&c, 8);
    cr_assert_eq(env_open(sim_env(sim), PATH "-log-1", 0, &f, NULL), ST_OK);
    for (int i = 0; i < 300; i++) {
        uint8_t junk[64];
        struct seen s;
        for (size_t k = 0; k < sizeof(junk); k++) junk[k] = (uint8_t) (chance_below(&c, 2) ? chance_next(&c) : 0xff);
        cr_assert_eq(file_write(f, WAL_HEADER_LEN + chance_below(&c, 8000), junk, chance_below(&c, 64), NULL), ST_OK);
        if (i % 50 == 49) cr_assert_eq(f->ops->truncate(f, WAL_HEADER_LEN + chance_below(&c, 5000), NULL), ST_OK);
        (void) replay(sim_env(sim), &id, 1, 0, &s, &last, NULL);
        cr_assert(s.whole, "what is passed on is always a record that was written");
    }
    file_close(f);
    sim_free(sim);
}
