/* The storage core beside RocksDB and LMDB, one engine per process.
 * usage: bench_kv ENGINE DIR [N] [CACHE_MB]. Rows as bench.h says; every count is checked. */
#include <math.h>

#include "kv.h"

static const struct kv_engine *const engines[] = {&kv_elmo, &kv_rocksdb, &kv_lmdb};
#define BATCH 1000
#define READS 300000
#define RANGES 20000
#define DURABLE 5000
#define ZIPF_OPS 200000

static void make_key(uint64_t n, uint8_t key[KEY_LEN]) {
    memcpy(key, "user0000", 8);
    for (int i = 0; i < 8; i++) key[8 + i] = (uint8_t) (n >> (56 - 8 * i));
}

/* A bijection of 64-bit numbers (the finalizer of splitmix64): keys in random order, none twice. */
static uint64_t scatter(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static void make_value(uint64_t n, uint8_t value[VALUE_LEN]) {
    uint64_t s = n;
    for (int i = 0; i < VALUE_LEN / 2; i += 8) {
        uint64_t r = bench_random(&s);
        memcpy(value + i, &r, VALUE_LEN / 2 - i < 8 ? (size_t) (VALUE_LEN / 2 - i) : 8);
    }
    memset(value + VALUE_LEN / 2, 'x', VALUE_LEN / 2);
}

static void load(const struct kv_engine *e, uint32_t n, int sorted) {
    static uint8_t keys[BATCH][KEY_LEN], values[BATCH][VALUE_LEN];
    double seconds = 0;
    for (uint32_t i = 0; i < n; i += BATCH) {
        for (uint32_t j = 0; j < BATCH; j++) {
            make_key(sorted ? i + j : scatter(i + j), keys[j]);
            make_value(i + j, values[j]);
        }
        double start = bench_now();
        e->put_batch((const uint8_t(*)[KEY_LEN]) keys, (const uint8_t(*)[VALUE_LEN]) values, BATCH);
        seconds += bench_now() - start;
    }
    bench_rate(sorted ? "load sorted, batches of 1000" : "load random, batches of 1000", n, seconds);
}

static void expect(const char *row, uint64_t got, uint64_t want) {
    if (got == want) return;
    fprintf(stderr, "bench: %s: got %llu, expected %llu\n", row, (unsigned long long) got, (unsigned long long) want);
    exit(1);
}

static void gets(const struct kv_engine *e, uint32_t n) {
    uint8_t key[KEY_LEN], byte, value[VALUE_LEN];
    uint64_t s = 5, found = 0;
    for (int round = 0; round < 2; round++) { /* the first round warms the cache */
        double start = bench_now();
        for (int i = 0; i < READS; i++) {
            make_key(scatter(bench_random(&s) % n), key);
            found += (uint64_t) e->get(key, &byte);
        }
        if (round == 1) bench_rate("get, warm", READS, bench_now() - start);
    }
    expect("get", found, 2 * READS);
    make_key(scatter(7 % n), key);
    make_value(7 % n, value);
    expect("get a value", (uint64_t) e->get(key, &byte) * 1000 + byte, 1000u + value[0]);
    double start = bench_now();
    found = 0;
    for (int i = 0; i < READS; i++) {
        make_key(scatter(n + bench_random(&s) % n), key);
        found += (uint64_t) e->get(key, &byte);
    }
    bench_rate("get, absent key", READS, bench_now() - start);
    expect("get absent", found, 0);
}

static void scans(const struct kv_engine *e, uint32_t n) {
    uint8_t key[KEY_LEN];
    uint64_t s = 6, sum = 0, rows = 0;
    expect("scan", e->scan(&sum), n);
    double start = bench_now();
    expect("scan", e->scan(&sum), n);
    bench_rate("scan, warm (rows)", n, bench_now() - start);
    start = bench_now();
    for (int i = 0; i < RANGES; i++) {
        make_key(scatter(bench_random(&s) % n), key);
        rows += (uint64_t) e->range(key, 100, &sum);
    }
    bench_rate("seek + 100 next", RANGES, bench_now() - start);
    if (rows < RANGES * 99u) expect("range", rows, RANGES * 100u);
}

/* Half reads, half writes of single keys, the i-th most popular with weight 1/i^0.99 (by inversion of the continuous law). */
static void zipfian(const struct kv_engine *e, uint32_t n) {
    uint8_t keys[1][KEY_LEN], values[1][VALUE_LEN], byte;
    uint64_t s = 8;
    double start = bench_now();
    for (int i = 0; i < ZIPF_OPS; i++) {
        double u = (double) (bench_random(&s) >> 11) / 9007199254740992.0;
        uint64_t rank = (uint64_t) pow((pow((double) n, 0.01) - 1) * u + 1, 100.0) - 1;
        make_key(scatter(rank < n ? rank : n - 1), keys[0]);
        if (i % 2 == 0) {
            if (e->get(keys[0], &byte) != 1) expect("zipfian get", 0, 1);
        } else {
            make_value((uint64_t) i, values[0]);
            e->put_batch((const uint8_t(*)[KEY_LEN]) keys, (const uint8_t(*)[VALUE_LEN]) values, 1);
        }
    }
    bench_rate("zipfian 50/50", ZIPF_OPS, bench_now() - start);
}

static void durable_puts(const struct kv_engine *e) {
    uint8_t keys[1][KEY_LEN], values[1][VALUE_LEN];
    uint64_t s = 9;
    double start = bench_now();
    for (int i = 0; i < DURABLE; i++) {
        make_key(bench_random(&s), keys[0]);
        make_value((uint64_t) i, values[0]);
        e->put_batch((const uint8_t(*)[KEY_LEN]) keys, (const uint8_t(*)[VALUE_LEN]) values, 1);
    }
    bench_rate("durable put", DURABLE, bench_now() - start);
}

int main(int argc, char **argv) {
    if (argc < 3) bench_fail("usage", "bench_kv ENGINE DIR [N] [CACHE_MB]");
    uint32_t n = argc > 3 ? (uint32_t) strtoul(argv[3], NULL, 10) / BATCH * BATCH : 1000000;
    int cache_mb = argc > 4 ? atoi(argv[4]) : 256;
    char sorted[1024], random[1024];
    for (size_t i = 0; i < sizeof(engines) / sizeof(engines[0]); i++) {
        const struct kv_engine *e = engines[i];
        if (strcmp(e->name, argv[1]) != 0) continue;
        fprintf(stderr, "%s: %u keys, cache %d MB, %s\n", e->name, n, cache_mb, e->settings);
        (void) snprintf(sorted, sizeof(sorted), "%s/sorted", argv[2]);
        (void) snprintf(random, sizeof(random), "%s/random", argv[2]);
        (void) mkdir(sorted, 0755);
        (void) mkdir(random, 0755);
        e->open(sorted, cache_mb, 0);
        load(e, n, 1);
        e->close();
        e->open(random, cache_mb, 0);
        load(e, n, 0);
        bench_row("peak memory of the loads", bench_peak_mb(), "MB", "less");
        e->settle();
        gets(e, n);
        scans(e, n);
        e->close();
        bench_row("size after the load, closed", bench_folder_mb(random), "MB", "less");
        e->open(random, cache_mb, 0);
        zipfian(e, n);
        e->close();
        e->open(random, cache_mb, 1);
        durable_puts(e);
        e->close();
        return 0;
    }
    bench_fail("unknown engine", argv[1]);
    return 1;
}
