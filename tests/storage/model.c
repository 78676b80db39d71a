/* The engine against the model: the same random operations on both, every answer compared.
 *
 * Several transactions are open at once; they put, add, delete, delete ranges, roll back, meet each other, walk cursors both ways, load in bulk; in between
 * memtables are flushed, levels merged, the database checked and opened again. One parameter per set of options.
 *
 *   ELMO_MODEL_OPS   operations per set, default 200,000
 *   ELMO_MODEL_SEED  the seed, default 1
 *   ELMO_MODEL_SET   only the set with this number */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/chance.h"
#include "base/endian.h"
#include "storage/lsm.h"
#include "support/model_kv.h"

#define OPEN_MAX 4
#define VALUE_MAX (80 * 1024)

struct pair {
    struct kv_txn *real, *model;
    bool has_mark;
    struct kv_mark real_mark, model_mark;
};

struct world {
    struct chance chance;
    uint64_t seed, step;
    const struct set *set;
    struct env *env;
    struct kv *real, *model;
    struct pair open[OPEN_MAX];
    uint64_t last_number, bulk_count;
    uint8_t value[VALUE_MAX];
};

static const struct set {
    const char *name;
    struct lsm_opts opts;
    uint32_t keys, large_one_in;
} sets[] = {
    {"tiny",
     {.memtable_bytes = 32 << 10,
      .cache_bytes = 64 << 10,
      .leaf_len = 512,
      .segment_len = 8 << 10,
      .level_len = 16 << 10,
      .level_ratio = 2},
     300,
     2000},
    {"no filter, no compression",
     {.memtable_bytes = 32 << 10, .no_compression = true, .no_filter = true, .segment_len = 16 << 10},
     1000,
     0},
    {"zstd",
     {.memtable_bytes = 64 << 10, .compression = COMPRESS_ZSTD, .leaf_len = 4096, .segment_len = 64 << 10},
     2000,
     500},
    {"threads",
     {.threads = 2,
      .memtable_bytes = 32 << 10,
      .leaf_len = 1024,
      .segment_len = 8 << 10,
      .level_len = 16 << 10,
      .level_ratio = 3},
     500,
     1000},
    {"normal", {.sync = LSM_SYNC_NORMAL, .threads = 2, .memtable_bytes = 128 << 10, .segment_len = 32 << 10}, 5000, 0},
    {"off, two segments start a merge",
     {.sync = LSM_SYNC_OFF,
      .memtable_bytes = 32 << 10,
      .level0_count = 2,
      .leaf_len = 256,
      .segment_len = 4 << 10,
      .level_len = 8 << 10,
      .level_ratio = 2},
     200,
     0},
    {"large values", {.memtable_bytes = 64 << 10, .segment_len = 16 << 10}, 100, 20},
    {"few keys", {.memtable_bytes = 40 << 10, .leaf_len = 512, .segment_len = 4 << 10, .level0_count = 3}, 12, 3000},
    {"no cache",
     {.memtable_bytes = 48 << 10, .cache_bytes = 1, .leaf_len = 2048, .segment_len = 16 << 10, .level_len = 32 << 10},
     800,
     0},
    {"defaults", {.threads = 0}, 3000, 1000},
};
#define SET_COUNT (sizeof(sets) / sizeof(sets[0]))

#define FAIL(w, ...)                                                                                                   \
    do {                                                                                                               \
        fprintf(stderr, "set %s, seed %llu, step %llu: ", (w)->set->name, (unsigned long long) (w)->seed,              \
                (unsigned long long) (w)->step);                                                                       \
        cr_assert_fail(__VA_ARGS__);                                                                                   \
    } while (0)

static uint64_t below(struct world *w, uint64_t n) { return chance_below(&w->chance, n); }

/* --- random keys and values --- */

struct key {
    uint8_t p[48];
    size_t len;
};
static struct slice key_slice(const struct key *k) { return slice_of(k->p, k->len); }

static struct key random_key(struct world *w) {
    struct key k;
    uint64_t n = below(w, w->set->keys);
    if (w->bulk_count > 0 && below(w, 8) == 0) {
        k.len = (size_t) snprintf((char *) k.p, sizeof(k.p), "bulk%llu/%03llu",
                                  (unsigned long long) below(w, w->bulk_count), (unsigned long long) below(w, 60));
        return k;
    }
    if (n % 7 == 0) k.len = (size_t) snprintf((char *) k.p, sizeof(k.p), "%llx", (unsigned long long) n);
    else
        k.len = (size_t) snprintf((char *) k.p, sizeof(k.p), "%c/common-prefix/%06llu", (int) ('a' + n % 3),
                                  (unsigned long long) n);
    if (n % 11 == 0) k.p[k.len++] = 0;
    return k;
}

static struct slice random_value(struct world *w) {
    size_t len = (size_t) below(w, 120);
    if (below(w, 8) == 0) len = 8;
    if (w->set->large_one_in > 0 && below(w, w->set->large_one_in) == 0) len = (64 << 10) + (size_t) below(w, 16 << 10);
    for (size_t i = 0; i < len && i < 64; i++) w->value[i] = (uint8_t) chance_next(&w->chance);
    if (len > 64) memset(w->value + 64, (int) below(w, 256), len - 64);
    return slice_of(w->value, len);
}

/* --- comparing --- */

static void same_status(struct world *w, const char *what, status real, status model, const struct err *err) {
    if (real != model) FAIL(w, "%s: engine %s (%s), model %s", what, status_text(real), err->text, status_text(model));
}

static void same_bytes(struct world *w, const char *what, struct slice key, struct slice real, struct slice model) {
    if (!slice_equal(real, model))
        FAIL(w, "%s of %.*s: engine has %zu bytes (%.20s), model %zu (%.20s)", what, (int) key.len,
             (const char *) key.p, real.len, (const char *) real.p, model.len, (const char *) model.p);
}

static void compare_get(struct world *w, struct pair *p, struct slice key) {
    struct kv_value a = KV_VALUE_INIT, b = KV_VALUE_INIT;
    struct err err = ERR_INIT;
    status sa = kv_get(p->real, key, &a, &err), sb = kv_get(p->model, key, &b, NULL);
    same_status(w, "get", sa, sb, &err);
    if (sa == ST_OK) same_bytes(w, "value", key, a.bytes, b.bytes);
    kv_value_release(&a);
    kv_value_release(&b);
}

static void compare_place(struct world *w, const char *what, struct kv_cursor *real, struct kv_cursor *model, status sa,
                          status sb, const struct err *err) {
    same_status(w, what, sa, sb, err);
    if (sa != ST_OK) return;
    struct slice va, vb;
    struct err own = ERR_INIT;
    same_bytes(w, what, kv_cursor_key(model), kv_cursor_key(real), kv_cursor_key(model));
    if (below(w, 16) == 0) kv_cursor_rest(real);
    if (below(w, 4) == 0) return;
    same_status(w, "cursor value", kv_cursor_value(real, &va, &own), kv_cursor_value(model, &vb, NULL), &own);
    same_bytes(w, "cursor value", kv_cursor_key(model), va, vb);
}

static void walk(struct world *w, struct pair *p) {
    struct kv_cursor *a, *b;
    struct kv_bounds bounds = {0};
    struct key lo = random_key(w), hi = random_key(w);
    struct err err = ERR_INIT;
    if (below(w, 2) == 0) bounds.lo = key_slice(&lo);
    if (below(w, 2) == 0) bounds.hi = key_slice(&hi);
    cr_assert_eq(kv_cursor_open(p->real, &bounds, &a, &err), ST_OK);
    cr_assert_eq(kv_cursor_open(p->model, &bounds, &b, NULL), ST_OK);
    bool stands = false, forward = below(w, 3) != 0;
    for (uint64_t i = 2 + below(w, 30); i > 0; i--) {
        struct key key = random_key(w);
        status sa, sb;
        uint64_t how = below(w, 12);
        const char *what;
        if (!stands || how == 0) {
            how = below(w, 4);
            what = how == 0 ? "first" : how == 1 ? "last" : how == 2 ? "seek_ge" : "seek_le";
            sa = how == 0  ? kv_first(a, &err)
                : how == 1 ? kv_last(a, &err)
                : how == 2 ? kv_seek_ge(a, key_slice(&key), &err)
                           : kv_seek_le(a, key_slice(&key), &err);
            sb = how == 0  ? kv_first(b, NULL)
                : how == 1 ? kv_last(b, NULL)
                : how == 2 ? kv_seek_ge(b, key_slice(&key), NULL)
                           : kv_seek_le(b, key_slice(&key), NULL);
        } else if (how == 2) {
            uint64_t max = 1 + below(w, below(w, 2) == 0 ? 4 : 1000), na, nb;
            what = "count";
            sa = kv_cursor_count(a, max, &na, &err);
            sb = kv_cursor_count(b, max, &nb, NULL);
            if (na != nb) FAIL(w, "count: %llu, want %llu", (unsigned long long) na, (unsigned long long) nb);
        } else {
            if (how == 1) forward = !forward;
            what = forward ? "next" : "prev";
            sa = forward ? kv_next(a, &err) : kv_prev(a, &err);
            sb = forward ? kv_next(b, NULL) : kv_prev(b, NULL);
        }
        compare_place(w, what, a, b, sa, sb, &err);
        stands = sa == ST_OK;
    }
    kv_cursor_close(a);
    kv_cursor_close(b);
}

/* Everything, one way. */
static void compare_all(struct world *w, struct pair *p, bool forward) {
    struct kv_cursor *a, *b;
    struct err err = ERR_INIT;
    struct slice va, vb;
    (void) kv_next_statement(p->real);
    (void) kv_next_statement(p->model);
    cr_assert_eq(kv_cursor_open(p->real, NULL, &a, &err), ST_OK);
    cr_assert_eq(kv_cursor_open(p->model, NULL, &b, NULL), ST_OK);
    status sa = forward ? kv_first(a, &err) : kv_last(a, &err), sb = forward ? kv_first(b, NULL) : kv_last(b, NULL);
    for (;;) {
        same_status(w, "scan", sa, sb, &err);
        if (sa != ST_OK) break;
        same_bytes(w, "scan", kv_cursor_key(b), kv_cursor_key(a), kv_cursor_key(b));
        cr_assert_eq(kv_cursor_value(a, &va, &err), ST_OK);
        cr_assert_eq(kv_cursor_value(b, &vb, NULL), ST_OK);
        same_bytes(w, "scanned value", kv_cursor_key(b), va, vb);
        sa = forward ? kv_next(a, &err) : kv_prev(a, &err);
        sb = forward ? kv_next(b, NULL) : kv_prev(b, NULL);
    }
    kv_cursor_close(a);
    kv_cursor_close(b);
}

/* --- transactions --- */

static void begin(struct world *w, struct pair *p) {
    struct err err = ERR_INIT;
    if (kv_begin(w->real, false, &p->real, &err) != ST_OK) FAIL(w, "begin: %s", err.text);
    cr_assert_eq(kv_begin(w->model, false, &p->model, NULL), ST_OK);
    p->has_mark = false;
}

static void end(struct world *w, struct pair *p, bool commit) {
    struct err err = ERR_INIT;
    if (commit)
        same_status(w, "commit", kv_commit(p->real, below(w, 2) ? KV_SYNC : KV_SYNC_LATER, &err),
                    kv_commit(p->model, KV_SYNC, NULL), &err);
    else kv_abort(p->real), kv_abort(p->model);
    *p = (struct pair){0};
}

static void end_all(struct world *w, bool commit) {
    for (size_t i = 0; i < OPEN_MAX; i++)
        if (w->open[i].real != NULL) end(w, &w->open[i], commit);
}

static void write(struct world *w, struct pair *p) {
    struct key k = random_key(w), to = random_key(w);
    struct slice key = key_slice(&k), hi = key_slice(&to), value;
    struct err err = ERR_INIT;
    uint64_t how = below(w, 20);
    if (how < 10) {
        value = random_value(w);
        same_status(w, "put", kv_put(p->real, key, value, &err), kv_put(p->model, key, value, NULL), &err);
    } else if (how < 13) {
        int64_t delta = (int64_t) below(w, 100) - 50;
        same_status(w, "add", kv_add(p->real, key, delta, &err), kv_add(p->model, key, delta, NULL), &err);
    } else if (how < 17) {
        same_status(w, "delete", kv_delete(p->real, key, &err), kv_delete(p->model, key, NULL), &err);
    } else if (how < 18) {
        value = random_value(w);
        same_status(w, "put_blind", kv_put_blind(p->real, key, value, &err), kv_put_blind(p->model, key, value, NULL),
                    &err);
    } else if (below(w, 4) == 0) {
        if (below(w, 4) != 0) { /* mostly narrow ones */
            to = k;
            to.p[to.len++] = 0xff;
            if (to.len > 3) to.p[to.len - 3]++;
            hi = key_slice(&to);
        }
        same_status(w, "delete_range", kv_delete_range(p->real, key, hi, &err),
                    kv_delete_range(p->model, key, hi, NULL), &err);
    }
}

static void mark_or_roll_back(struct world *w, struct pair *p) {
    if (!p->has_mark) {
        p->real_mark = kv_mark(p->real);
        p->model_mark = kv_mark(p->model);
        p->has_mark = true;
        return;
    }
    kv_rollback_to(p->real, p->real_mark);
    kv_rollback_to(p->model, p->model_mark);
    p->has_mark = false;
    (void) w;
}

#define MANY_MAX 40

static int compare_slices(const void *a, const void *b) {
    return slice_compare(*(const struct slice *) a, *(const struct slice *) b);
}

static void get_many(struct world *w, struct pair *p) {
    struct key keys[MANY_MAX];
    struct slice slices[MANY_MAX];
    struct kv_value a[MANY_MAX] = {0}, b[MANY_MAX] = {0};
    struct err err = ERR_INIT;
    size_t n = 1 + (size_t) below(w, MANY_MAX);
    for (size_t i = 0; i < n; i++) {
        keys[i] = random_key(w);
        slices[i] = key_slice(&keys[i]);
    }
    if (below(w, 4) != 0) qsort(slices, n, sizeof(slices[0]), compare_slices);
    same_status(w, "get_many", kv_get_many(p->real, n, slices, a, &err), kv_get_many(p->model, n, slices, b, NULL),
                &err);
    for (size_t i = 0; i < n; i++) {
        if ((a[i].bytes.p == NULL) != (b[i].bytes.p == NULL)) FAIL(w, "get_many finds what get does not");
        same_bytes(w, "get_many", slices[i], a[i].bytes, b[i].bytes);
        kv_value_release(&a[i]);
        kv_value_release(&b[i]);
    }
}

/* --- the database as a whole --- */

static void fault(void *ctx, const char *text) { FAIL((struct world *) ctx, "check: %s", text); }

static void check(struct world *w) {
    struct err err = ERR_INIT;
    if (lsm_kv_check(w->real, fault, w, &err) != ST_OK) FAIL(w, "check: %s", err.text);
}

static void open_real(struct world *w) {
    struct lsm_opts opts = w->set->opts;
    struct err err = ERR_INIT;
    opts.create = true;
    opts.log_file_len = 256 << 10;
    opts.log_zero_step = 64 << 10;
    if (lsm_kv_open(w->env, "model.elmo", &opts, &w->real, &err) != ST_OK) FAIL(w, "open: %s", err.text);
}

static void reopen(struct world *w) {
    end_all(w, true);
    kv_close(w->real);
    open_real(w);
    if (below(w, 4) == 0) check(w);
}

/* A load beside writers: the snapshot is taken, others write under the same prefix, then the load is committed below them. */
static void bulk(struct world *w) {
    struct pair snapshot;
    struct kv_bulk *a, *b;
    struct err err = ERR_INIT;
    uint64_t prefix = w->bulk_count;
    begin(w, &snapshot);
    w->bulk_count++;
    if (kv_bulk_begin(snapshot.real, &a, &err) != ST_OK) FAIL(w, "bulk_begin: %s", err.text);
    cr_assert_eq(kv_bulk_begin(snapshot.model, &b, NULL), ST_OK);
    for (unsigned i = 0; i < 60; i++) {
        char key[32];
        int len = snprintf(key, sizeof(key), "bulk%llu/%03u", (unsigned long long) prefix, i);
        if (below(w, 3) == 0) continue;
        struct slice value = random_value(w);
        same_status(w, "bulk_put", kv_bulk_put(a, slice_of(key, (size_t) len), value, &err),
                    kv_bulk_put(b, slice_of(key, (size_t) len), value, NULL), &err);
    }
    for (unsigned i = 0; i < 10; i++) {
        struct pair p;
        begin(w, &p);
        write(w, &p);
        write(w, &p);
        end(w, &p, true);
    }
    if (below(w, 3) == 0) cr_assert_eq(lsm_kv_flush(w->real, &err), ST_OK, "%s", err.text);
    if (below(w, 5) == 0) kv_bulk_abort(a), kv_bulk_abort(b);
    else same_status(w, "bulk_commit", kv_bulk_commit(a, &err), kv_bulk_commit(b, NULL), &err);
    end(w, &snapshot, false);
}

static void sequence(struct world *w) {
    uint64_t first = 0, n = 1 + below(w, 5);
    struct err err = ERR_INIT;
    if (kv_sequence(w->real, SLICE_LIT("ids"), n, &first, &err) != ST_OK) FAIL(w, "sequence: %s", err.text);
    if (first <= w->last_number) FAIL(w, "the number %llu was given before", (unsigned long long) first);
    w->last_number = first + n - 1;
}

static void maintain(struct world *w) {
    struct err err = ERR_INIT;
    uint64_t how = below(w, 60);
    struct pair p = {0};
    if (how < 20) cr_assert_eq(lsm_kv_flush(w->real, &err), ST_OK, "%s", err.text);
    else if (how < 30) cr_assert_eq(lsm_kv_maintain(w->real, &err), ST_OK, "%s", err.text);
    else if (how < 31) cr_assert_eq(lsm_kv_compact(w->real, &err), ST_OK, "%s", err.text);
    else if (how < 36) check(w);
    else if (how < 40) reopen(w);
    else if (how < 46 && w->bulk_count < 200) bulk(w);
    else if (how < 50) {
        begin(w, &p);
        compare_all(w, &p, how < 48);
        end(w, &p, false);
    } else sequence(w);
}

static void step(struct world *w) {
    struct pair *p = &w->open[below(w, OPEN_MAX)];
    uint64_t how = below(w, 1000);
    if (how < 3) {
        maintain(w);
        return;
    }
    if (p->real == NULL) begin(w, p);
    struct key k = random_key(w);
    if (how < 500) write(w, p);
    else if (how < 750) compare_get(w, p, key_slice(&k));
    else if (how < 780) get_many(w, p);
    else if (how < 800) walk(w, p);
    else if (how < 830) mark_or_roll_back(w, p);
    else if (how < 860)
        same_status(w, "statement", kv_next_statement(p->real) == kv_next_statement(p->model) ? ST_OK : ST_INVALID,
                    ST_OK, &ERR_INIT);
    else if (how < 870) {
        struct kv_estimate e;
        struct err err = ERR_INIT;
        struct kv_bounds b = {.lo = key_slice(&k)};
        same_status(w, "estimate", kv_estimate(p->real, &b, &e, &err), ST_OK, &err);
    } else end(w, p, how < 980);
}

static uint64_t from_env(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    return text != NULL ? strtoull(text, NULL, 10) : otherwise;
}

ParameterizedTestParameters(model, agrees_with_the_engine) {
    static size_t numbers[SET_COUNT];
    for (size_t i = 0; i < SET_COUNT; i++) numbers[i] = i;
    return cr_make_param_array(size_t, numbers, SET_COUNT);
}

ParameterizedTest(size_t *number, model, agrees_with_the_engine, .timeout = 1200) {
    static struct world w;
    if (from_env("ELMO_MODEL_SET", *number) != *number) return;
    w = (struct world){.set = &sets[*number], .seed = from_env("ELMO_MODEL_SEED", 1)};
    chance_init(&w.chance, w.seed * 1000 + *number);
    cr_assert_eq(env_memory_new(mem_default(), &w.env, NULL), ST_OK);
    w.model = model_kv_new();
    open_real(&w);
    uint64_t ops = from_env("ELMO_MODEL_OPS", 200000);
    for (w.step = 0; w.step < ops; w.step++) step(&w);
    end_all(&w, true);
    struct pair p;
    begin(&w, &p);
    compare_all(&w, &p, true);
    compare_all(&w, &p, false);
    end(&w, &p, false);
    check(&w);
    kv_close(w.real);
    kv_close(w.model);
    env_free(w.env);
}
