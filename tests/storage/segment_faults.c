/* Segments over a disk that fails: every call once, or from some call on, and a disk that is full. Nothing leaks, neither memory nor space. */
#include <criterion/criterion.h>

#include "os/env_sim.h"
#include "support/mem_fail.h"
#include "support/segment_run.h"

static const struct run_shape shape = {.name = "faults",
                                       .key_count = 400,
                                       .key_len_max = 12,
                                       .prefix_len = 3,
                                       .value_len_max = 600,
                                       .version_max = 2,
                                       .alphabet = 256,
                                       .leaf_len = 512,
                                       .compression = COMPRESS_LZ4,
                                       .filter_bits = 10};

struct disk {
    struct sim *sim;
    struct store *store;
};

static void open_disk(struct disk *d, uint64_t capacity) {
    struct manifest m;
    struct err err = ERR_INIT;
    struct store_opts opts = {.create = true};
    cr_assert_eq(sim_new(mem_default(), 1, &d->sim, &err), ST_OK);
    cr_assert_eq(store_open(sim_env(d->sim), "/test.elmo", &opts, &d->store, &m, &err), ST_OK, "%s", err.text);
    manifest_release(&m);
    if (capacity != 0) sim_set_capacity(d->sim, sim_used(d->sim) + capacity);
}

static void close_disk(struct disk *d) {
    store_close(d->store);
    sim_free(d->sim);
}

static void make_run(struct run *r) {
    struct chance chance;
    chance_init(&chance, 8);
    run_make(r, &shape, &chance);
}

static void count_fault(void *ctx, const char *text) {
    (void) text;
    ++*(size_t *) ctx;
}

/* Scans both ways and gets some; the first failure, or ST_OK. A second try after a failure may work. */
static status read_all(struct segment *s, struct cache *cache, const struct run *run, struct err *err) {
    struct source *c;
    status st = segment_cursor(s, true, &c, err);
    if (st != ST_OK) return st;
    size_t n = 0;
    for (st = c->ops->first(c, err); st == ST_OK; st = c->ops->next(c, err))
        cr_assert(slice_equal(c->at.key, run->entries[n++].key));
    if (st == ST_END) {
        cr_assert_eq(n, run->count);
        for (st = c->ops->last(c, err); st == ST_OK; st = c->ops->prev(c, err))
            cr_assert(slice_equal(c->at.key, run->entries[--n].key));
    }
    c->ops->close(c);
    if (st != ST_END) return st;
    for (size_t i = 0; i < run->count; i += 13) {
        struct entry e;
        struct cached_block *pin;
        st = segment_get(s, run->entries[i].key, run->entries[i].seq, &e, &pin, err);
        if (st != ST_OK) return st;
        cr_assert(slice_equal(e.value, run->entries[i].value));
        cache_unpin(cache, pin);
    }
    return ST_OK;
}

Test(segment_faults, every_failing_read_is_reported_and_the_next_try_works, .timeout = 120) {
    struct disk d;
    struct run run;
    struct segment_meta meta;
    struct err err = ERR_INIT;
    make_run(&run);
    open_disk(&d, 0);
    cr_assert_eq(run_write(&run, d.store, mem_default(), &shape, 9, &meta, &err), ST_OK, "%s", err.text);
    for (uint64_t n = 1;; n++) {
        struct cache *cache;
        struct segment *s = NULL;
        size_t faults = 0;
        cr_assert_eq(cache_new(mem_default(), 20000, &cache, &err), ST_OK);
        sim_fail(d.sim, SIM_READ, n, ST_IO, false);
        status st = segment_open(d.store, cache, mem_default(), &meta, &s, &err);
        if (st == ST_OK) st = read_all(s, cache, &run, &err);
        bool hit = sim_fail_hit(d.sim);
        cr_assert_eq(st, hit ? ST_IO : ST_OK, "read %lu: %s", (unsigned long) n, err.text);
        sim_heal(d.sim);
        if (s != NULL) {
            cr_assert_eq(read_all(s, cache, &run, &err), ST_OK, "the try after read %lu", (unsigned long) n);
            sim_fail(d.sim, SIM_READ, 1 + n % 20, ST_IO, false);
            cr_assert_eq(segment_check(s, count_fault, &faults, &err), ST_OK);
            cr_assert_gt(faults, 0, "check did not tell of a failed read");
            sim_heal(d.sim);
        }
        segment_unref(s);
        cr_assert_eq(cache_stat(cache).pinned_bytes, 0);
        cache_free(cache);
        if (!hit) break;
        if (n > 100) n += n / 10;
    }
    segment_meta_release(mem_default(), &meta);
    close_disk(&d);
    run_release(&run);
}

Test(segment_faults, every_failing_write_gives_back_memory_and_space) {
    struct run run;
    make_run(&run);
    for (uint64_t n = 1;; n++) {
        struct disk d;
        struct mem_fail mf;
        struct segment_meta meta;
        struct err err = ERR_INIT;
        mem_fail_init(&mf, 0);
        open_disk(&d, 0);
        uint64_t used = store_space(d.store).used_len;
        sim_fail(d.sim, SIM_WRITE | SIM_PREALLOCATE | SIM_TRUNCATE, n, ST_IO, true);
        status st = run_write(&run, d.store, &mf.mem, &shape, 9, &meta, &err);
        bool hit = sim_fail_hit(d.sim);
        if (st == ST_OK) {
            cr_assert_eq(store_space(d.store).used_len - used, meta.extents[0].len,
                         "more is taken than the segment has");
            cr_assert_lt(meta.extents[0].len - meta.file_len, UNIT_LEN);
            segment_meta_release(&mf.mem, &meta);
        } else {
            cr_assert_eq(st, ST_IO, "%s", err.text);
            cr_assert_eq(store_space(d.store).used_len, used, "space leaks when write %lu fails", (unsigned long) n);
        }
        cr_assert_eq(mem_fail_live(&mf), 0);
        sim_heal(d.sim);
        close_disk(&d);
        if (!hit) break;
    }
    run_release(&run);
}

Test(segment_faults, a_full_disk_is_told_and_a_small_one_is_used_to_its_end) {
    struct run run;
    size_t full = 0, fitted = 0;
    make_run(&run);
    for (uint64_t capacity = 4096; capacity <= 2 << 20; capacity *= 2) {
        struct disk d;
        struct segment_meta meta;
        struct err err = ERR_INIT;
        open_disk(&d, capacity);
        status st = run_write(&run, d.store, mem_default(), &shape, 9, &meta, &err);
        cr_assert(st == ST_OK || st == ST_NO_SPACE, "%s", err.text);
        fitted += st == ST_OK;
        full += st == ST_NO_SPACE;
        if (st == ST_OK) segment_meta_release(mem_default(), &meta);
        close_disk(&d);
    }
    cr_assert_gt(full, 2);
    cr_assert_gt(fitted, 1);
    run_release(&run);
}
