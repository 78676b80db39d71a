/* The memtable against a sorted array, its readers beside its writer, and its reservation. */
#include "storage/memtable.h"

#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/chance.h"
#include "base/endian.h"
#include "os/thread.h"
#include "storage/mem_reuse.h"
#include "support/mem_fail.h"

#define S(text) SLICE_LIT(text)

static void insert(struct memtable *m, struct slice key, uint64_t seq, enum entry_kind kind, struct slice value) {
    cr_assert_eq(memtable_insert(m, &(struct entry){key, value, seq, (uint8_t) kind}, NULL), ST_OK);
}

/* --- against a model --- */

#define MODEL_MAX 2000

struct row {
    uint8_t key[24];
    size_t key_len;
    uint64_t seq;
    uint8_t kind;
    uint64_t value;
};

static struct slice row_key(const struct row *r) { return slice_of(r->key, r->key_len); }

static int row_compare(const void *a, const void *b) {
    const struct row *x = a, *y = b;
    return entry_compare(row_key(x), x->seq, row_key(y), y->seq);
}

/* Keys of which many share their first 8 bytes, are prefixes of others, or end in zeros. */
static size_t random_key(struct chance *c, uint8_t *key) {
    size_t len = 1 + chance_below(c, 11);
    memset(key, 'k', 24);
    for (size_t i = len > 3 ? len - 2 : 0; i < len; i++) key[i] = (uint8_t) chance_below(c, 3);
    return len;
}

static void check_entry(const struct entry *e, const struct row *r, uint64_t seed) {
    cr_assert(slice_equal(e->key, row_key(r)), "seed %lu", seed);
    cr_assert_eq(e->seq, r->seq, "seed %lu", seed);
    cr_assert_eq(e->kind, r->kind, "seed %lu", seed);
    cr_assert_eq(e->value.len, r->value % 300, "seed %lu", seed);
    if (e->value.len != 0) cr_assert_eq(e->value.p[e->value.len - 1], (uint8_t) r->value, "seed %lu", seed);
}

/* The cursor stands on rows[want], or nowhere when want is outside. */
static void check_at(struct source *s, status st, const struct row *rows, size_t n, size_t want, uint64_t seed) {
    cr_assert_eq(st, want < n ? ST_OK : ST_END, "seed %lu", seed);
    if (want < n) check_entry(&s->at, &rows[want], seed);
}

static void check_cursor(struct memtable *m, struct chance *c, const struct row *rows, size_t n, uint64_t seed) {
    struct source *s;
    cr_assert_eq(memtable_cursor(m, &s, NULL), ST_OK);
    size_t at = 0;
    for (status st = s->ops->first(s, NULL); st == ST_OK; st = s->ops->next(s, NULL))
        check_entry(&s->at, &rows[at++], seed);
    cr_assert_eq(at, n);
    for (status st = s->ops->last(s, NULL); st == ST_OK; st = s->ops->prev(s, NULL))
        check_entry(&s->at, &rows[--at], seed);
    cr_assert_eq(at, 0);
    for (int i = 0; i < 300; i++) {
        struct row r = {.seq = chance_below(c, 4) == 0 ? SEQ_MAX : chance_below(c, MODEL_MAX)};
        r.key_len = random_key(c, r.key);
        if (n != 0 && chance_below(c, 2) == 0) r = rows[chance_below(c, n)];
        size_t ge = 0;
        while (ge < n && row_compare(&rows[ge], &r) < 0) ge++;
        check_at(s, s->ops->seek_ge(s, row_key(&r), r.seq, NULL), rows, n, ge, seed);
        if (ge < n) check_at(s, s->ops->prev(s, NULL), rows, n, ge - 1, seed);
        size_t le = ge < n && row_compare(&rows[ge], &r) == 0 ? ge : ge - 1;
        check_at(s, s->ops->seek_le(s, row_key(&r), r.seq, NULL), rows, n, le, seed);
        if (le < n) check_at(s, s->ops->next(s, NULL), rows, n, le + 1, seed);
        struct entry e;
        bool is_there = ge < n && slice_equal(row_key(&rows[ge]), row_key(&r));
        cr_assert_eq(memtable_get(m, row_key(&r), r.seq, &e), is_there ? ST_OK : ST_NOT_FOUND, "seed %lu", seed);
        if (is_there) check_entry(&e, &rows[ge], seed);
    }
    s->ops->rest(s);
    s->ops->close(s);
}

static void check_newest(struct memtable *m, struct chance *c, const struct row *rows, size_t n, uint64_t seed) {
    for (int i = 0; i < 100; i++) {
        struct row lo = {0}, hi = {0};
        lo.key_len = random_key(c, lo.key);
        hi.key_len = chance_below(c, 8) == 0 ? 0 : random_key(c, hi.key);
        uint64_t of_key = 0, in_range = 0;
        for (size_t j = 0; j < n; j++) {
            if (slice_equal(row_key(&rows[j]), row_key(&lo)) && rows[j].seq > of_key) of_key = rows[j].seq;
            if (slice_compare(row_key(&lo), row_key(&rows[j])) > 0) continue;
            if (hi.key_len != 0 && slice_compare(row_key(&rows[j]), row_key(&hi)) >= 0) continue;
            if (rows[j].seq > in_range) in_range = rows[j].seq;
        }
        cr_assert_eq(memtable_newest(m, row_key(&lo)), of_key, "seed %lu", seed);
        cr_assert_eq(memtable_newest_in(m, row_key(&lo), row_key(&hi)), in_range, "seed %lu", seed);
    }
}

Test(memtable, answers_as_a_sorted_array) {
    static struct row rows[MODEL_MAX];
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct chance c;
        chance_init(&c, seed);
        struct mem_fail mf;
        mem_fail_init(&mf, 0);
        struct memtable *m;
        cr_assert_eq(memtable_new(&mf.mem, 4096, &m, NULL), ST_OK);
        cr_assert_eq(memtable_min_seq(m), SEQ_MAX);
        size_t n = seed == 1 ? 0 : chance_below(&c, MODEL_MAX);
        for (size_t i = 0; i < n; i++) {
            struct row *r = &rows[i];
            r->key_len = random_key(&c, r->key);
            r->seq = i + 1;
            r->kind = (uint8_t) (1 + chance_below(&c, 4));
            r->value = chance_next(&c);
            uint8_t value[300];
            memset(value, (uint8_t) r->value, sizeof(value));
            insert(m, row_key(r), r->seq, r->kind, slice_of(value, r->value % 300));
        }
        qsort(rows, n, sizeof(rows[0]), row_compare);
        check_cursor(m, &c, rows, n, seed);
        check_newest(m, &c, rows, n, seed);
        cr_assert_eq(memtable_entry_count(m), n);
        cr_assert_eq(memtable_max_seq(m), n);
        cr_assert_eq(memtable_min_seq(m), n != 0 ? 1 : SEQ_MAX);
        cr_assert_leq(mem_fail_live(&mf), memtable_used(m));
        memtable_unref(m);
        cr_assert_eq(mem_fail_live(&mf), 0);
    }
}

/* Keys of several tables in turns: each group ascends by itself (what the fingers are for), some step back. */
Test(memtable, keeps_order_when_groups_of_keys_ascend_in_turns) {
    struct memtable *m;
    struct chance c;
    chance_init(&c, 7);
    cr_assert_eq(memtable_new(mem_default(), 4096, &m, NULL), ST_OK);
    enum { GROUPS = 20, PER_GROUP = 500 };
    for (uint32_t i = 0; i < PER_GROUP; i++) {
        for (uint32_t g = 0; g < GROUPS; g++) {
            uint8_t key[8];
            put_be32(key, g * 1000);
            put_be32(key + 4, chance_below(&c, 10) == 0 ? (uint32_t) chance_below(&c, 1000000) : i * 1000);
            insert(m, slice_of(key, 8), 1 + i * GROUPS + g, ENTRY_PUT, SLICE_NONE);
        }
    }
    struct source *s;
    cr_assert_eq(memtable_cursor(m, &s, NULL), ST_OK);
    struct entry last = {0};
    size_t n = 0;
    for (status st = s->ops->first(s, NULL); st == ST_OK; st = s->ops->next(s, NULL), n++) {
        if (n != 0) cr_assert_lt(entry_compare(last.key, last.seq, s->at.key, s->at.seq), 0);
        last = s->at;
        struct entry e;
        cr_assert_eq(memtable_get(m, last.key, last.seq, &e),
                     ST_OK); /* found from the top as well: every level is in order */
        cr_assert_eq(e.seq, last.seq);
    }
    cr_assert_eq(n, GROUPS * PER_GROUP);
    s->ops->close(s);
    memtable_unref(m);
}

Test(memtable, estimates_within_a_factor_of_two) {
    struct memtable *m;
    cr_assert_eq(memtable_new(mem_default(), 4096, &m, NULL), ST_OK);
    for (uint32_t i = 0; i < 20000; i++) {
        uint8_t key[4];
        put_be32(key, i * 7919 % 20000);
        insert(m, slice_of(key, 4), i + 1, ENTRY_PUT, SLICE_NONE);
    }
    for (uint32_t lo = 0; lo < 20000; lo += 1777) {
        for (uint32_t len = 1; lo + len <= 20000; len *= 3) {
            uint8_t a[4], b[4];
            put_be32(a, lo);
            put_be32(b, lo + len);
            uint64_t n = memtable_estimate(m, slice_of(a, 4), slice_of(b, 4));
            cr_assert(n >= len / 2 && n <= 2 * len, "%lu for %u", n, len);
            if (len < 8) cr_assert_eq(n, len);
        }
    }
    uint64_t all = memtable_estimate(m, S("\0"), SLICE_NONE);
    cr_assert(all > 10000 && all < 40000, "%lu", all);
    memtable_unref(m);
}

/* --- range deletes --- */

Test(memtable, shows_range_deletes_when_they_are_installed) {
    struct mem_fail mf;
    mem_fail_init(&mf, 0);
    struct memtable *m;
    cr_assert_eq(memtable_new(&mf.mem, 4096, &m, NULL), ST_OK);
    cr_assert_null(memtable_range_deletes(m));
    cr_assert_eq(memtable_delete_range(m, S("b"), S("f"), 5, NULL), ST_OK);
    struct fragments *before = memtable_range_deletes(m);
    struct range_delete two[] = {{S("a"), S("c"), 9}, {S("x"), S("z"), 9}};
    cr_assert_eq(memtable_stage_ranges(m, two, 2, NULL), ST_OK);
    cr_assert_eq(memtable_max_seq(m), 5);
    memtable_unstage_ranges(m);
    cr_assert_eq(memtable_stage_ranges(m, two, 2, NULL), ST_OK);
    uint64_t count = mf.count;
    memtable_install_ranges(m);
    cr_assert_eq(mf.count, count); /* takes no memory: cannot fail */
    struct fragments *after = memtable_range_deletes(m);
    cr_assert_eq(fragments_cover(before, S("b"), 100), 5); /* the old ones live on for who holds them */
    cr_assert_eq(fragments_cover(before, S("y"), 100), 0);
    cr_assert_eq(fragments_cover(after, S("b"), 100), 9);
    cr_assert_eq(fragments_cover(after, S("b"), 8), 5);
    cr_assert_eq(fragments_cover(after, S("y"), 100), 9);
    cr_assert_eq(memtable_max_seq(m), 9);
    cr_assert_eq(memtable_min_seq(m), 5);
    fragments_unref(before);
    fragments_unref(after);
    memtable_unref(m);
    cr_assert_eq(mem_fail_live(&mf), 0);
}

/* --- memory --- */

/* After a reserve that was answered with OK no insert asks for memory, whatever came before and whatever the sizes. */
Test(memtable, never_asks_for_memory_after_a_reservation) {
    static uint8_t value[100000];
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct chance c;
        chance_init(&c, seed);
        struct mem_fail mf;
        mem_fail_init(&mf, 0);
        struct memtable *m;
        cr_assert_eq(memtable_new(&mf.mem, 4096, &m, NULL), ST_OK);
        uint64_t seq = 0, bytes_in = 0;
        for (int batch = 0; batch < 60; batch++) {
            size_t n = chance_below(&c, 2) == 0 ? 1 : chance_below(&c, 300), bytes = 0;
            size_t value_len[300];
            for (size_t i = 0; i < n; i++) {
                value_len[i] = chance_below(&c, 20) == 0 ? chance_below(&c, sizeof(value)) : chance_below(&c, 60);
                bytes += 8 + value_len[i];
            }
            cr_assert_eq(memtable_reserve(m, n, bytes, NULL), ST_OK);
            uint64_t count = mf.count;
            for (size_t i = 0; i < n; i++) {
                uint8_t key[8];
                put_be64(key, chance_next(&c));
                insert(m, slice_of(key, 8), ++seq, ENTRY_PUT, slice_of(value, value_len[i]));
            }
            cr_assert_eq(mf.count, count, "seed %lu batch %d", seed, batch);
            bytes_in += bytes + n * 64;
            if (chance_below(&c, 4) == 0) insert(m, S("unreserved"), ++seq, ENTRY_PUT, SLICE_NONE);
        }
        cr_assert_lt(memtable_used(m), bytes_in * 3 / 2 + 1200000, "seed %lu: %zu for %lu", seed, memtable_used(m),
                     bytes_in);
        memtable_unref(m);
    }
}

Test(memtable, survives_every_failing_allocation) {
    for (uint64_t n = 1;; n++) {
        struct mem_fail mf;
        mem_fail_init(&mf, n);
        struct memtable *m = NULL;
        struct source *s = NULL;
        uint64_t done = 0;
        static uint8_t value[3000];
        status st = memtable_new(&mf.mem, 4096, &m, NULL);
        for (uint32_t i = 0; st == ST_OK && i < 60; i++) {
            uint8_t key[4];
            put_be32(key, i * 7 % 60);
            if (i % 2 == 0) st = memtable_reserve(m, 1, 4 + sizeof(value), NULL);
            if (st == ST_OK)
                st =
                    memtable_insert(m,
                                    &(struct entry){slice_of(key, 4), slice_of(value, sizeof(value)), i + 1, ENTRY_PUT},
                                    NULL);
            if (st == ST_OK) done++;
            if (st == ST_OK && i % 20 == 0) st = memtable_delete_range(m, slice_of(key, 4), S("\xff"), i + 1, NULL);
        }
        if (st == ST_OK) st = memtable_cursor(m, &s, NULL);
        cr_assert_eq(st, mem_fail_hit(&mf) ? ST_NOMEM : ST_OK, "allocation %lu", n);
        if (m != NULL) cr_assert_eq(memtable_entry_count(m), done);
        if (s != NULL) s->ops->close(s);
        memtable_unref(m);
        cr_assert_eq(mem_fail_live(&mf), 0);
        if (!mem_fail_hit(&mf)) break;
    }
}

/* --- readers beside the writer --- */

struct shared {
    struct memtable *m;
    _Atomic uint64_t published;
    _Atomic bool is_done;
    _Atomic uint64_t reads;
};

enum { WRITES = 20000, KEYS = 500 };

/* The value of every entry is its sequence; sequence s writes key s * 7919 % KEYS, so what a snapshot holds is known. */
static void key_of_seq(uint64_t seq, uint8_t *key) { put_be64(key, seq * 7919 % KEYS); }

static void *read_on(void *ctx) {
    struct shared *sh = ctx;
    struct chance c;
    chance_init(&c, (uint64_t) (uintptr_t) &c);
    struct source *s;
    cr_assert_eq(memtable_cursor(sh->m, &s, NULL), ST_OK);
    while (!atomic_load(&sh->is_done)) {
        uint64_t snapshot = atomic_load_explicit(&sh->published, memory_order_acquire);
        if (snapshot < KEYS) continue;
        for (int i = 0; i < 20; i++) {
            uint64_t want = snapshot - chance_below(&c, KEYS); /* the last KEYS sequences wrote each key once */
            uint8_t key[8];
            key_of_seq(want, key);
            struct entry e;
            cr_assert_eq(memtable_get(sh->m, slice_of(key, 8), snapshot, &e), ST_OK);
            cr_assert_eq(e.seq, want);
            cr_assert_eq(get_le64(e.value.p), want);
        }
        /* A scan, either way, sees every key of the snapshot once. */
        bool is_backwards = chance_below(&c, 2) == 0;
        uint64_t seen = 0, newest = 0;
        status st = is_backwards ? s->ops->last(s, NULL) : s->ops->first(s, NULL);
        for (; st == ST_OK; st = is_backwards ? s->ops->prev(s, NULL) : s->ops->next(s, NULL)) {
            cr_assert_eq(get_le64(s->at.value.p), s->at.seq);
            if (s->at.seq <= snapshot && s->at.seq > snapshot - KEYS) seen++;
            if (s->at.seq > newest) newest = s->at.seq;
        }
        cr_assert_eq(seen, KEYS);
        cr_assert_geq(newest, snapshot);
        struct fragments *f = memtable_range_deletes(sh->m);
        uint64_t covered = fragments_cover(f, S("r"), snapshot);
        cr_assert_geq(covered, snapshot / 1000 * 1000);
        cr_assert_leq(covered, snapshot);
        fragments_unref(f);
        (void) atomic_fetch_add(&sh->reads, 1);
    }
    s->ops->close(s);
    return NULL;
}

Test(memtable, lets_readers_read_whole_snapshots_while_it_is_written) {
    struct shared sh = {0};
    cr_assert_eq(memtable_new(mem_default(), 4096, &sh.m, NULL), ST_OK);
    struct thread readers[3] = {0};
    for (int i = 0; i < 3; i++) cr_assert_eq(thread_start(&readers[i], read_on, &sh, NULL), ST_OK);
    for (uint64_t seq = 1; seq <= WRITES || atomic_load(&sh.reads) < 6; seq++) {
        if (seq > WRITES) continue;
        uint8_t key[8], value[8];
        key_of_seq(seq, key);
        put_le64(value, seq);
        insert(sh.m, slice_of(key, 8), seq, ENTRY_PUT, slice_of(value, 8));
        if (seq % 1000 == 0) cr_assert_eq(memtable_delete_range(sh.m, S("r"), S("s"), seq, NULL), ST_OK);
        atomic_store_explicit(&sh.published, seq, memory_order_release);
    }
    atomic_store(&sh.is_done, true);
    for (int i = 0; i < 3; i++) thread_join(&readers[i]);
    memtable_unref(sh.m);
}

/* --- speed, when asked for: MICRO=1 --- */

static double nanoseconds(void) {
    struct timespec t;
    (void) clock_gettime(CLOCK_MONOTONIC, &t);
    return (double) t.tv_sec * 1e9 + (double) t.tv_nsec;
}

static void measure(const struct mem *mem, const char *name, uint64_t n, uint64_t groups, bool is_random) {
    struct memtable *m;
    struct chance c;
    uint8_t key[20] = {1, 5, 0, 7}, value[200] = {0};
    chance_init(&c, 1);
    cr_assert_eq(memtable_new(mem, 4096, &m, NULL), ST_OK);
    double start = nanoseconds();
    for (uint64_t i = 0; i < n; i++) {
        key[3] = (uint8_t) (i % groups);
        put_be64(key + 4, is_random ? chance_next(&c) : i);
        insert(m, slice_of(key, 20), i + 1, ENTRY_PUT, slice_of(value, 200));
    }
    double middle = nanoseconds();
    chance_init(&c, 1);
    for (uint64_t i = 0; i < n; i++) {
        struct entry e;
        key[3] = (uint8_t) (i % groups);
        put_be64(key + 4, is_random ? chance_next(&c) : i);
        cr_assert(memtable_get(m, slice_of(key, 20), SEQ_MAX, &e) == ST_OK);
    }
    double end = nanoseconds();
    fprintf(stderr, "%-40s insert %4.0f ns  get %4.0f ns  %zu bytes each\n", name, (middle - start) / (double) n,
            (end - middle) / (double) n, memtable_used(m) / n);
    memtable_unref(m);
}

Test(memtable, is_fast) {
    if (getenv("MICRO") == NULL) return;
    struct mem_reuse *r;
    cr_assert_eq(mem_reuse_new(mem_default(), (size_t) 200 << 20, &r, NULL), ST_OK);
    for (int i = 0; i < 3; i++) {
        const struct mem *mem = i == 0 ? mem_default() : mem_reuse_hook(r);
        fprintf(stderr, "%s\n",
                i == 0       ? "fresh memory"
                    : i == 1 ? "the first time through mem_reuse"
                             : "memory used before");
        measure(mem, "ascending", 500000, 1, false);
        measure(mem, "ascending, 4 groups in turns", 500000, 4, false);
        measure(mem, "random", 500000, 1, true);
    }
    mem_reuse_free(r);
}
