/* The file shrinks to what is in use, and whatever happens meanwhile nothing is lost: readers of the old places, writers, failing calls, power cuts. */
#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/endian.h"
#include "os/env_sim.h"
#include "os/thread.h"
#include "storage/engine.h"
#include "support/kv_ease.h"
#include "support/mem_fail.h"

#define SLACK ((uint64_t) 96 << 10) /* superblocks, two manifests, unused ends of units, holes too small for use */
#define LARGE ((size_t) 70000)

struct world {
    struct sim *sim;
    struct env *env;
    struct lsm_opts opts;
    struct kv *kv;
    uint32_t large_one_in; /* 0: no large values */
};

static void world_init(struct world *w, const struct mem *mem, uint64_t segment_len, uint32_t large_one_in) {
    *w = (struct world){.large_one_in = large_one_in};
    cr_assert_eq(sim_new(mem, 5, &w->sim, NULL), ST_OK);
    w->env = sim_env(w->sim);
    w->opts = ease_opts();
    w->opts.no_compression = true;
    w->opts.segment_len = segment_len;
    w->opts.shrink_free_len = UINT64_MAX; /* not unasked */
    w->kv = ease_open(w->env, "t.elmo", &w->opts);
}

static void world_release(struct world *w) {
    kv_close(w->kv);
    sim_free(w->sim);
}

static struct slice key_of(uint32_t i, char room[16]) { return slice_of(room, (size_t) snprintf(room, 16, "%06u", i)); }

/* The bytes follow from the key and what is said of it. */
static struct slice value_of(const struct world *w, uint32_t i, uint32_t version, uint8_t *room) {
    size_t len = w->large_one_in != 0 && i % w->large_one_in == 1 ? LARGE + i % 9000 : 300 + i % 300;
    memset(room, (int) (i * 31 + version), len);
    put_le32(room, i);
    put_le32(room + 4, version);
    return slice_of(room, len);
}

static void put_keys(struct world *w, uint32_t from, uint32_t to, uint32_t step, uint32_t version) {
    static uint8_t room[LARGE + 9000];
    char name[16];
    struct err err = ERR_INIT;
    for (uint32_t i = from; i < to;) {
        struct kv_txn *t;
        cr_assert_eq(kv_begin(w->kv, false, &t, &err), ST_OK, "%s", err.text);
        for (uint32_t n = 0; n < 20 && i < to; n++, i += step)
            cr_assert_eq(kv_put(t, key_of(i, name), value_of(w, i, version, room), &err), ST_OK, "%s", err.text);
        cr_assert_eq(kv_commit(t, KV_SYNC_LATER, &err), ST_OK, "%s", err.text);
    }
}

static void delete_keys(struct world *w, uint32_t from, uint32_t to) {
    char lo[16], hi[16];
    (void) key_of(from, lo);
    (void) key_of(to, hi);
    ease_delete_range(w->kv, lo, hi);
}

/* Key i of [from, to) has this version; 0: it is absent. */
static void expect_keys(const struct world *w, struct kv_txn *t, uint32_t from, uint32_t to, uint32_t step,
                        uint32_t version) {
    static uint8_t room[LARGE + 9000];
    char name[16];
    struct err err = ERR_INIT;
    for (uint32_t i = from; i < to; i += step) {
        struct kv_value v = KV_VALUE_INIT;
        status st = kv_get(t, key_of(i, name), &v, &err);
        cr_assert_eq(st, version != 0 ? ST_OK : ST_NOT_FOUND, "key %u: %s", i, err.text);
        if (version != 0) cr_assert(slice_equal(v.bytes, value_of(w, i, version, room)), "key %u has another value", i);
        kv_value_release(&v);
    }
}

static void expect_now(const struct world *w, uint32_t from, uint32_t to, uint32_t step, uint32_t version) {
    struct kv_txn *t;
    cr_assert_eq(kv_begin(w->kv, true, &t, NULL), ST_OK);
    expect_keys(w, t, from, to, step, version);
    kv_abort(t);
}

static void compact(struct world *w) {
    struct err err = ERR_INIT;
    cr_assert_eq(lsm_kv_compact(w->kv, &err), ST_OK, "%s", err.text);
}

static uint64_t live_len(const struct lsm_kv_stat *s) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < LEVEL_COUNT; i++)
        sum += s->levels[i].bytes + s->levels[i].large_bytes + s->levels[i].segments * UNIT_LEN;
    return sum;
}

static void expect_short(const struct world *w) {
    struct lsm_kv_stat s;
    lsm_kv_stat(w->kv, &s);
    cr_assert_leq(s.file_len, live_len(&s) + SLACK, "%llu bytes for %llu", (unsigned long long) s.file_len,
                  (unsigned long long) live_len(&s));
}

/* Closed and opened again, as long as it says. */
static void expect_short_when_closed(struct world *w) {
    struct lsm_kv_stat s;
    struct file *f;
    uint64_t len;
    lsm_kv_stat(w->kv, &s);
    kv_close(w->kv);
    cr_assert_eq(env_open(w->env, "t.elmo", FILE_READ_ONLY, &f, NULL), ST_OK);
    cr_assert_eq(f->ops->size(f, &len, NULL), ST_OK);
    file_close(f);
    cr_assert_leq(len, live_len(&s) + SLACK, "%llu bytes for %llu", (unsigned long long) len,
                  (unsigned long long) live_len(&s));
    w->kv = ease_open(w->env, "t.elmo", &w->opts);
}

/* --- how short --- */

static void compact_shortens(uint64_t segment_len, uint32_t large_one_in) {
    struct world w;
    struct lsm_kv_stat s;
    world_init(&w, mem_default(), segment_len, large_one_in);
    put_keys(&w, 0, 4000, 1, 1);
    for (uint32_t round = 2; round < 5; round++) {
        put_keys(&w, 0, 4000, round, round);
        compact(&w);
        expect_short(&w);
        ease_check(w.kv);
    }
    lsm_kv_stat(w.kv, &s);
    cr_assert_gt(s.shifted_bytes, 0, "nothing had to move: no test");
    delete_keys(&w, 600, 3700);
    compact(&w);
    expect_short(&w);
    ease_check(w.kv);
    expect_short_when_closed(&w);
    ease_check(w.kv);
    expect_now(&w, 0, 600, 12, 4);
    expect_now(&w, 600, 3700, 1, 0);
    expect_now(&w, 3700, 4000, 4, 4);
    world_release(&w);
}

Test(shrink, compact_shortens_a_file_of_one_segment, .timeout = 60) { compact_shortens((uint64_t) 1 << 30, 0); }
Test(shrink, compact_shortens_a_file_of_many_segments, .timeout = 60) { compact_shortens(32 << 10, 0); }
Test(shrink, compact_moves_large_values_too, .timeout = 60) { compact_shortens(64 << 10, 50); }

Test(shrink, a_file_of_large_values_alone_shrinks, .timeout = 60) {
    struct world w;
    world_init(&w, mem_default(), 1 << 20, 0);
    w.large_one_in = 2;
    put_keys(&w, 1, 101, 2, 1);
    compact(&w);
    delete_keys(&w, 0, 80);
    compact(&w);
    expect_short(&w);
    ease_check(w.kv);
    expect_now(&w, 81, 101, 2, 1);
    expect_short_when_closed(&w);
    expect_now(&w, 81, 101, 2, 1);
    world_release(&w);
}

Test(shrink, compacting_again_makes_it_no_longer) {
    struct world w;
    struct lsm_kv_stat before, after;
    world_init(&w, mem_default(), 32 << 10, 40);
    put_keys(&w, 0, 600, 1, 1);
    compact(&w);
    compact(&w);
    lsm_kv_stat(w.kv, &before);
    compact(&w);
    lsm_kv_stat(w.kv, &after);
    cr_assert_leq(after.shifted_bytes - before.shifted_bytes, 2 * live_len(&after));
    cr_assert_leq(after.file_len, before.file_len + SLACK);
    world_release(&w);
}

Test(shrink, an_empty_database_is_compacted) {
    struct world w;
    world_init(&w, mem_default(), 32 << 10, 0);
    compact(&w);
    expect_short(&w);
    put_keys(&w, 0, 400, 1, 1);
    delete_keys(&w, 0, 400);
    compact(&w);
    expect_short(&w);
    ease_check(w.kv);
    world_release(&w);
}

Test(shrink, comes_unasked_when_most_of_the_file_is_free, .timeout = 60) {
    struct world w;
    struct lsm_kv_stat s;
    world_init(&w, mem_default(), 64 << 10, 60);
    kv_close(w.kv);
    w.opts.shrink_free_len = 256 << 10;
    w.kv = ease_open(w.env, "t.elmo", &w.opts);
    put_keys(&w, 0, 6000, 1, 1);
    cr_assert_eq(lsm_kv_flush(w.kv, NULL), ST_OK);
    cr_assert_eq(lsm_kv_maintain(w.kv, NULL), ST_OK);
    lsm_kv_stat(w.kv, &s);
    uint64_t before = s.file_len;
    delete_keys(&w, 0, 5500);
    cr_assert_eq(lsm_kv_flush(w.kv, NULL), ST_OK);
    cr_assert_eq(lsm_kv_maintain(w.kv, NULL), ST_OK);
    lsm_kv_stat(w.kv, &s);
    cr_assert_gt(s.shifted_bytes, 0);
    cr_assert_lt(s.file_len, before / 4, "%llu of %llu bytes are left", (unsigned long long) s.file_len,
                 (unsigned long long) before);
    ease_check(w.kv);
    expect_now(&w, 5500, 6000, 1, 1);
    world_release(&w);
}

/* --- readers --- */

Test(shrink, readers_of_the_old_places_go_on, .timeout = 60) {
    static uint8_t room[LARGE + 9000];
    struct world w;
    struct kv_txn *t;
    struct kv_cursor *c, *late;
    struct err err = ERR_INIT;
    char name[16];
    world_init(&w, mem_default(), 32 << 10, 30);
    put_keys(&w, 0, 1500, 1, 1);
    cr_assert_eq(lsm_kv_maintain(w.kv, NULL), ST_OK);
    cr_assert_eq(kv_begin(w.kv, true, &t, NULL), ST_OK);
    cr_assert_eq(kv_cursor_open(t, NULL, &c, NULL), ST_OK);
    cr_assert_eq(kv_cursor_open(t, NULL, &late, NULL), ST_OK);
    cr_assert_eq(kv_first(c, &err), ST_OK);
    for (uint32_t round = 2; round < 5; round++) {
        put_keys(&w, 0, 1500, 1, round);
        if (round == 3) delete_keys(&w, 100, 1400);
        compact(&w);
        ease_check(w.kv);
        expect_keys(&w, t, 0, 1500, 7, 1);
        put_keys(&w, 5000, 6000, 1, round); /* into whatever was given back */
        for (uint32_t i = 0; i < 300; i++) {
            struct slice value;
            uint32_t at = (round - 2) * 300 + i;
            cr_assert(slice_equal(kv_cursor_key(c), key_of(at, name)), "not at key %u", at);
            cr_assert_eq(kv_cursor_value(c, &value, &err), ST_OK, "%s", err.text);
            cr_assert(slice_equal(value, value_of(&w, at, 1, room)), "key %u has another value", at);
            cr_assert_eq(kv_next(c, &err), ST_OK, "%s", err.text);
        }
    }
    cr_assert_eq(kv_last(late, &err), ST_OK, "%s", err.text);
    cr_assert(slice_equal(kv_cursor_key(late), key_of(1499, name)));
    kv_cursor_close(c);
    kv_cursor_close(late);
    kv_abort(t);
    compact(&w);
    expect_short(&w);
    expect_now(&w, 0, 1500, 1, 4);
    expect_short_when_closed(&w);
    expect_now(&w, 0, 1500, 1, 4);
    world_release(&w);
}

/* A segment that moves in part under a reader of its first place; then all of it goes and its space is written over. */
Test(shrink, a_reader_keeps_what_a_moved_segment_shares, .timeout = 60) {
    static uint8_t room[LARGE + 9000];
    struct world w;
    struct kv_txn *t;
    struct kv_cursor *c;
    struct err err = ERR_INIT;
    char name[16];
    world_init(&w, mem_default(), (uint64_t) 1 << 30, 0);
    kv_close(w.kv);
    w.opts.memtable_bytes = 8 << 20;
    w.opts.cache_bytes = 1 << 10;
    w.kv = ease_open(w.env, "t.elmo", &w.opts);
    struct lsm *l = lsm_of(w.kv);
    for (uint32_t from = 0; from < 2000; from += 500) {
        put_keys(&w, from, from < 1000 ? from + 500 : 4000, 1, 1);
        cr_assert_eq(lsm_kv_flush(w.kv, NULL), ST_OK);
        if (from == 1000) break;
    }
    for (uint32_t from = 0; from < 1000; from += 500) {
        delete_keys(&w, from, from + 500);
        cr_assert_eq(lsm_kv_flush(w.kv, NULL), ST_OK);
        cr_assert_eq(lsm_kv_maintain(w.kv, NULL), ST_OK);
        if (from == 0) {
            cr_assert_eq(kv_begin(w.kv, true, &t, NULL), ST_OK);
            cr_assert_eq(kv_cursor_open(t, &(struct kv_bounds){key_of(1000, name), SLICE_NONE}, &c, NULL), ST_OK);
            cr_assert_eq(kv_first(c, &err), ST_OK, "%s", err.text);
        }
        uint64_t before = atomic_load(&l->shifted_len);
        mutex_lock(&l->merge_mutex);
        cr_assert_eq(shrink_all(l, &err), ST_OK, "%s", err.text);
        mutex_unlock(&l->merge_mutex);
        if (from == 0) cr_assert_gt(atomic_load(&l->shifted_len), before, "nothing moved: no test");
    }
    ease_check(w.kv);
    put_keys(&w, 1000, 4000, 1, 2);
    compact(&w);
    put_keys(&w, 5000, 12000, 1, 1);
    cr_assert_eq(lsm_kv_flush(w.kv, NULL), ST_OK);
    for (uint32_t i = 1000; i < 4000; i++) {
        struct slice value;
        cr_assert(slice_equal(kv_cursor_key(c), key_of(i, name)));
        cr_assert_eq(kv_cursor_value(c, &value, &err), ST_OK, "%s", err.text);
        cr_assert(slice_equal(value, value_of(&w, i, 1, room)), "key %u has another value", i);
        cr_assert_eq(kv_next(c, &err), i < 3999 ? ST_OK : ST_END, "%s", err.text);
    }
    kv_cursor_close(c);
    kv_abort(t);
    compact(&w);
    expect_short(&w);
    expect_now(&w, 1000, 4000, 1, 2);
    ease_check(w.kv);
    world_release(&w);
}

/* --- writers and readers at the same time --- */

struct busy {
    struct world *w;
    _Atomic bool is_over;
    uint32_t from, rounds;
    struct thread thread;
};

static void *write_on(void *ctx) {
    struct busy *b = ctx;
    static _Thread_local uint8_t room[LARGE + 9000];
    char name[16];
    while (!atomic_load(&b->is_over)) {
        struct kv_txn *t;
        struct err err = ERR_INIT;
        uint32_t version = ++b->rounds;
        cr_assert_eq(kv_begin(b->w->kv, false, &t, NULL), ST_OK);
        for (uint32_t i = b->from; i < b->from + 100; i++) {
            struct kv_value v = KV_VALUE_INIT;
            status st = kv_get(t, key_of(i, name), &v, &err);
            cr_assert_eq(st, version > 1 ? ST_OK : ST_NOT_FOUND, "%s", err.text);
            if (version > 1) cr_assert(slice_equal(v.bytes, value_of(b->w, i, version - 1, room)));
            kv_value_release(&v);
            cr_assert_eq(kv_put(t, key_of(i, name), value_of(b->w, i, version, room), &err), ST_OK, "%s", err.text);
        }
        cr_assert_eq(kv_commit(t, KV_SYNC_LATER, &err), ST_OK, "%s", err.text);
    }
    return NULL;
}

Test(shrink, goes_on_beside_writers, .timeout = 120) {
    struct world w;
    struct busy busy[2];
    world_init(&w, mem_default(), 64 << 10, 45);
    kv_close(w.kv);
    w.opts.threads = 2;
    w.opts.shrink_free_len = 128 << 10;
    w.kv = ease_open(w.env, "t.elmo", &w.opts);
    put_keys(&w, 1000, 2500, 1, 1);
    for (uint32_t i = 0; i < 2; i++) {
        busy[i] = (struct busy){.w = &w, .from = i * 200};
        cr_assert_eq(thread_start(&busy[i].thread, write_on, &busy[i], NULL), ST_OK);
    }
    for (uint32_t round = 2; round < 6; round++) {
        put_keys(&w, 1000, 2500, round, round);
        if (round == 4) delete_keys(&w, 1500, 2400);
        compact(&w);
    }
    for (uint32_t i = 0; i < 2; i++) atomic_store(&busy[i].is_over, true);
    for (uint32_t i = 0; i < 2; i++) thread_join(&busy[i].thread);
    ease_check(w.kv);
    compact(&w);
    expect_short(&w);
    for (uint32_t i = 0; i < 2; i++) expect_now(&w, busy[i].from, busy[i].from + 100, 1, busy[i].rounds);
    expect_short_when_closed(&w);
    for (uint32_t i = 0; i < 2; i++) expect_now(&w, busy[i].from, busy[i].from + 100, 1, busy[i].rounds);
    world_release(&w);
}

/* --- what may go wrong --- */

/* Holes in front, segments and large values behind them. */
static void build_holes(struct world *w, const struct mem *mem) {
    world_init(w, mem, 24 << 10, 23);
    put_keys(w, 0, 120, 1, 1);
    cr_assert_eq(lsm_kv_flush(w->kv, NULL), ST_OK);
    put_keys(w, 120, 240, 1, 1);
    delete_keys(w, 0, 90);
    cr_assert_eq(kv_sync(w->kv, NULL), ST_OK);
}

static void expect_holes(const struct world *w) {
    expect_now(w, 0, 90, 1, 0);
    expect_now(w, 90, 240, 1, 1);
}

static void fault(void *ctx, const char *text) {
    (void) ctx;
    cr_assert_fail("check: %s", text);
}

/* Call n of a compaction fails; what follows depends on whether the store goes on. */
static bool compact_with_fault(uint64_t n, unsigned ops, status what, bool for_good) {
    struct world w;
    struct err err = ERR_INIT;
    build_holes(&w, mem_default());
    sim_fail(w.sim, ops, n, what, for_good);
    status st = lsm_kv_compact(w.kv, &err);
    bool hit = sim_fail_hit(w.sim);
    cr_assert(st == ST_OK || hit, "%s", err.text);
    sim_heal(w.sim);
    expect_holes(&w);
    status again = lsm_kv_compact(w.kv, &err);
    cr_assert(again == ST_OK || st != ST_OK, "%s", err.text);
    expect_holes(&w);
    if (again == ST_OK) {
        expect_short(&w);
        ease_check(w.kv);
    }
    if (n % 2 == 0) sim_crash_process(w.sim);
    else sim_power_cut(w.sim);
    kv_close(w.kv);
    sim_reboot(w.sim);
    w.kv = ease_open(w.env, "t.elmo", &w.opts);
    expect_holes(&w);
    ease_check(w.kv);
    compact(&w);
    expect_short(&w);
    expect_holes(&w);
    world_release(&w);
    return hit;
}

Test(shrink, a_call_that_fails_harms_nothing, .timeout = 120) {
    for (uint64_t n = 1; compact_with_fault(n, SIM_ALL & ~(unsigned) SIM_LOCK, ST_IO, n % 3 == 0); n++) continue;
}

Test(shrink, a_full_disk_harms_nothing, .timeout = 120) {
    for (uint64_t n = 1; compact_with_fault(n, SIM_WRITE | SIM_PREALLOCATE, ST_NO_SPACE, n % 3 == 0); n++) continue;
}

Test(shrink, a_power_cut_at_any_call_loses_nothing, .timeout = 120) {
    bool was_off = true;
    for (uint64_t n = 0; was_off; n++) {
        struct world w;
        struct err err = ERR_INIT;
        build_holes(&w, mem_default());
        sim_power_cut_after(w.sim, n);
        status st = lsm_kv_compact(w.kv, &err);
        was_off = sim_is_off(w.sim);
        cr_assert(was_off || st == ST_OK, "%s", err.text);
        kv_close(w.kv);
        sim_reboot(w.sim);
        w.kv = ease_open(w.env, "t.elmo", &w.opts);
        expect_holes(&w);
        cr_assert_eq(lsm_kv_check(w.kv, fault, NULL, &err), ST_OK, "%s", err.text);
        world_release(&w);
    }
}

static bool compact_without_memory(uint64_t n, bool once) {
    struct world w;
    struct mem_fail mf;
    struct err err = ERR_INIT;
    mem_fail_init(&mf, 0);
    build_holes(&w, &mf.mem);
    mf.fail_at = mf.count + n;
    mf.once = once;
    status st = lsm_kv_compact(w.kv, &err);
    bool hit = mem_fail_hit(&mf);
    cr_assert(st == ST_OK || (st == ST_NOMEM && hit), "allocation %llu: %s", (unsigned long long) n, err.text);
    mf.fail_at = 0;
    expect_holes(&w);
    ease_check(w.kv);
    compact(&w);
    expect_short(&w);
    expect_holes(&w);
    world_release(&w);
    cr_assert_eq(mem_fail_live(&mf), 0, "allocation %llu: %llu bytes are left", (unsigned long long) n,
                 (unsigned long long) mem_fail_live(&mf));
    return hit;
}

Test(shrink, an_allocation_that_fails_harms_nothing, .timeout = 120) {
    for (uint64_t n = 1; compact_without_memory(n, n % 2 == 0); n += n < 60 ? 5 : 19) continue;
}
