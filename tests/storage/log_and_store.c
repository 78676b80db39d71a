/* Log and superblock together, as an engine uses them, under power cuts: the least engine there can be. Its state is "records
 * 1 to n were committed"; a flush moves the border between segments and log, prepares, rotates, forgets and recycles logs. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/chance.h"
#include "base/endian.h"
#include "os/env_sim.h"
#include "storage/store.h"
#include "storage/wal.h"

#define PATH "/db/test.elmo"

static const struct wal_opts small = {.file_len = 1 << 16, .zero_step = 1 << 12};

struct engine {
    struct env *env;
    struct store *store;
    struct manifest m;
    struct wal *wal;
    uint64_t logs[STORE_LOGS_MAX]; /* needed, oldest first */
    size_t log_count;
    uint64_t recovered; /* last LSN found at open */
    uint64_t appended, durable;
};

static status note_record(void *ctx, uint64_t lsn, struct slice record, struct err *err) {
    uint64_t *last = ctx;
    (void) err;
    cr_assert_eq(lsn, *last + 1);
    cr_assert(record.len >= 8 && get_le64(record.p) == lsn, "record %lu is itself", lsn);
    *last = lsn;
    return ST_OK;
}

/* Commits `flags`, the border and the logs that are needed: those in e->logs. */
static status commit(struct engine *e, uint64_t replay_lsn, uint32_t flags, struct err *err) {
    struct store_head head = *store_head(e->store);
    head.flags = flags;
    head.replay_lsn = replay_lsn;
    head.log_count = (uint32_t) e->log_count;
    for (size_t i = 0; i < e->log_count; i++) head.logs[i].id = e->logs[i];
    e->m.last_seq = replay_lsn;
    return store_commit(e->store, &e->m, &head, NULL, 0, err);
}

static status prepare_next(struct engine *e, struct err *err) {
    uint64_t id;
    status st = wal_prepare(e->wal, &id, err);
    if (st == ST_OK) e->logs[e->log_count++] = id;
    return st;
}

static status start(struct engine *e, struct err *err) {
    static const struct store_opts create = {.create = true};
    manifest_init(&e->m, e->env->mem);
    status st = store_open(e->env, PATH, &create, &e->store, &e->m, err);
    if (st != ST_OK) return st;
    const struct store_head *head = store_head(e->store);
    cr_assert_eq(e->m.last_seq, head->replay_lsn);
    for (e->log_count = 0; e->log_count < head->log_count; e->log_count++)
        e->logs[e->log_count] = head->logs[e->log_count].id;
    uint64_t last = head->replay_lsn;
    st = wal_replay(e->env, PATH, head->uuid, e->logs, e->log_count, head->replay_lsn, note_record, &last,
                    &e->recovered, err);
    if (st != ST_OK) return st;
    e->appended = e->recovered;
    st = wal_open(e->env, PATH, head->uuid, e->recovered + 1, &small, &e->wal, err);
    if (st != ST_OK) return st;
    if (e->log_count > 8) e->log_count = 0; /* a flush right at the start: nothing of the old logs is needed */
    bool flushed = e->log_count == 0;
    e->logs[e->log_count++] = wal_current_id(e->wal);
    st = prepare_next(e, err);
    return st == ST_OK ? commit(e, flushed ? e->recovered : head->replay_lsn, 0, err) : st;
}

static void stop(struct engine *e) {
    wal_close(e->wal);
    store_close(e->store);
    manifest_release(&e->m);
    e->wal = NULL;
    e->store = NULL;
}

static status flush(struct engine *e, struct err *err) {
    uint64_t border = wal_last_lsn(e->wal), current;
    status st = wal_rotate(e->wal, &current, err);
    if (st != ST_OK) return st;
    e->logs[0] = current;
    e->log_count = 1;
    st = prepare_next(e, err);
    if (st == ST_OK) st = commit(e, border, 0, err);
    return st == ST_OK ? wal_forget(e->wal, e->logs, e->log_count, err) : st;
}

static status clean_end(struct engine *e, struct err *err) {
    e->log_count = 0;
    status st = commit(e, wal_last_lsn(e->wal), STORE_CLEAN, err);
    if (st == ST_OK) e->durable = wal_last_lsn(e->wal); /* in segments, durably */
    return st == ST_OK ? wal_remove_all(e->env, PATH, err) : st;
}

static status append(struct engine *e, struct chance *c, struct err *err) {
    uint8_t bytes[3000] = {0};
    put_le64(bytes, wal_last_lsn(e->wal) + 1);
    struct slice piece = slice_of(bytes, 8 + chance_below(c, sizeof(bytes) - 8));
    return wal_append(e->wal, &piece, 1, &e->appended, err);
}

static void live(struct engine *e, struct chance *c, int steps) {
    struct err err = ERR_INIT;
    status st = start(e, &err);
    if (st == ST_CORRUPT) cr_assert_fail("%s", err.text);
    for (int i = 0; i < steps && st == ST_OK; i++) {
        switch (chance_below(c, 10)) {
        case 0:
            st = flush(e, &err);
            if (st == ST_OK) e->durable = store_head(e->store)->replay_lsn;
            break;
        case 1:
        case 2:
        case 3:
            st = wal_sync(e->wal, wal_last_lsn(e->wal), &err);
            if (st == ST_OK) e->durable = wal_last_lsn(e->wal);
            break;
        default: st = append(e, c, &err);
        }
    }
    if (st == ST_OK && chance_below(c, 3) == 0) st = clean_end(e, &err);
    cr_assert(st == ST_OK || st == ST_IO, "%s", err.text);
    stop(e);
}

static uint64_t rounds(uint64_t usual) {
    const char *text = getenv("ELMO_TEST_ROUNDS");
    return text != NULL ? strtoull(text, NULL, 10) : usual;
}

Test(log_and_store, nothing_acknowledged_is_lost_over_many_lives) {
    for (uint64_t seed = 1; seed <= rounds(400); seed++) {
        struct sim *sim;
        struct chance c;
        uint64_t durable = 0, appended = 0;
        cr_assert_eq(sim_new(mem_default(), seed, &sim, NULL), ST_OK);
        chance_init(&c, seed);
        for (int life = 0; life < 8; life++) {
            struct engine e = {.env = sim_env(sim), .durable = durable, .appended = appended};
            sim_power_cut_after(sim, chance_below(&c, 150));
            live(&e, &c, 80);
            durable = e.durable;
            appended = e.appended > appended ? e.appended : appended;
            if (!sim_is_off(sim) && chance_below(&c, 2) == 0) sim_crash_process(sim);
            else sim_reboot(sim);
            struct engine after = {.env = sim_env(sim)};
            struct err err = ERR_INIT;
            cr_assert_eq(start(&after, &err), ST_OK, "%s: seed %lu life %d", err.text, seed, life);
            cr_assert_geq(after.recovered, durable, "an acknowledged commit is lost: seed %lu life %d", seed, life);
            cr_assert_leq(after.recovered, appended + 1, "seed %lu life %d", seed, life);
            appended = after.recovered;
            stop(&after);
            if (chance_below(&c, 2) == 0) sim_crash_process(sim);
        }
        sim_free(sim);
    }
}

static status count_name(void *ctx, const char *name) {
    (void) name;
    ++*(int *) ctx;
    return ST_OK;
}

Test(log_and_store, a_clean_close_leaves_one_file) {
    struct sim *sim;
    struct chance c;
    int names = 0;
    chance_init(&c, 1);
    cr_assert_eq(sim_new(mem_default(), 1, &sim, NULL), ST_OK);
    struct engine e = {.env = sim_env(sim)};
    cr_assert_eq(start(&e, NULL), ST_OK);
    for (int i = 0; i < 50; i++) cr_assert_eq(i % 10 == 9 ? flush(&e, NULL) : append(&e, &c, NULL), ST_OK);
    cr_assert_eq(e.env->ops->list_dir(e.env, PATH, count_name, &names, NULL), ST_OK);
    cr_expect(names > 1 && names <= 6, "logs are recycled, not piled up: %d files", names);
    cr_assert_eq(clean_end(&e, NULL), ST_OK);
    stop(&e);
    names = 0;
    cr_assert_eq(e.env->ops->list_dir(e.env, PATH, count_name, &names, NULL), ST_OK);
    cr_expect_eq(names, 1);
    sim_reboot(sim);
    cr_assert_eq(start(&e, NULL), ST_OK);
    cr_expect_eq(e.recovered, 45);
    stop(&e);
    sim_free(sim);
}
