/* Documents: elmo beside SQLite (JSON with expression indexes), one engine per process.
 * usage: bench_doc ENGINE DIR [N] [CACHE_MB] [PART] [ROUNDS]. PART: one of point, range, scan, count, update after the load, ROUNDS times (for profiling). Rows as bench.h says; every row checks its counts against what the data must give. */
#include "doc.h"

static const struct doc_engine *const engines[] = {&doc_elmo, &doc_sqlite, &doc_sqlite_rowid};
#define READS 100000
#define RANGES 3000
#define UPDATES 50000
#define DURABLE 3000
#define BATCH 1000

static int age_of(uint32_t n) {
    uint64_t s = n * 3 + 1;
    return 18 + (int) (bench_random(&s) % 60);
}
static int city_of(uint32_t n) {
    uint64_t s = n * 5 + 2;
    return (int) (bench_random(&s) % CITY_COUNT);
}

void profile_make(uint32_t n, struct profile *p) {
    uint64_t s = n * 7 + 3;
    memset(p, 0, sizeof(*p));
    p->id[0] = 0x65;
    for (int i = 0; i < 4; i++) p->id[8 + i] = (uint8_t) (n >> (24 - 8 * i));
    (void) snprintf(p->email, sizeof(p->email), "user%08x@example%u.org", (unsigned) (bench_random(&s)) ^ n, n);
    (void) snprintf(p->name, sizeof(p->name), "Person Number %u", n);
    (void) snprintf(p->city, sizeof(p->city), "City-%03d", city_of(n));
    (void) snprintf(p->street, sizeof(p->street), "%u %c-Street", (unsigned) (bench_random(&s) % 900),
                    'A' + (int) (n % 26));
    (void) snprintf(p->zip, sizeof(p->zip), "%05u", (unsigned) (bench_random(&s) % 100000));
    static const char words[] =
        "quiet river stone amber north walks early bread light under paper winter garden copper sails morning";
    for (size_t i = 0; i < 96; i++) p->bio[i] = words[(bench_random(&s) % 4 + i) % (sizeof(words) - 1)];
    p->age = age_of(n);
    p->balance = (double) (bench_random(&s) % 1000000) / 100;
    p->created_ms = 1600000000000 + (int64_t) n * 1000;
    for (int i = 0; i < 3; i++)
        (void) snprintf(p->tags[i], sizeof(p->tags[i]), "tag-%u", (unsigned) (bench_random(&s) % 50));
}

static void check(const char *row, double got, double want) {
    if (got == want) return;
    fprintf(stderr, "bench: %s: got %.0f rows, expected %.0f\n", row, got, want);
    exit(1);
}

static void bulk_insert(const struct doc_engine *e, uint32_t n) {
    static struct profile batch[BATCH];
    double seconds = 0;
    for (uint32_t i = 0; i < n; i += BATCH) {
        for (uint32_t j = 0; j < BATCH; j++) profile_make(i + j, &batch[j]);
        double start = bench_now();
        e->insert_batch(batch, BATCH);
        seconds += bench_now() - start;
    }
    bench_rate("bulk insert", n, seconds);
    bench_row("peak memory of bulk insert", bench_peak_mb(), "MB", "less");
}

static void point_reads(const struct doc_engine *e, uint32_t n) {
    struct profile p;
    uint64_t s = 1;
    int found = 0;
    double start = bench_now(), making = 0;
    for (int i = 0; i < READS; i++) {
        uint32_t k = (uint32_t) (bench_random(&s) % n);
        uint8_t id[12] = {0x65};
        for (int b = 0; b < 4; b++) id[8 + b] = (uint8_t) (k >> (24 - 8 * b));
        found += e->find_id(id);
    }
    bench_rate("find by _id", READS, bench_now() - start);
    check("find by _id", found, READS);
    found = 0;
    start = bench_now();
    for (int i = 0; i < READS; i++) {
        double t = bench_now();
        profile_make((uint32_t) (bench_random(&s) % n), &p);
        making += bench_now() - t;
        found += e->find_email(p.email);
    }
    bench_rate("find by unique field", READS, bench_now() - start - making);
    check("find by unique field", found, READS);
}

static void ranges(const struct doc_engine *e) {
    uint64_t s = 2;
    int rows = 0;
    double start = bench_now();
    for (int i = 0; i < RANGES; i++) {
        int lo = 18 + (int) (bench_random(&s) % 50);
        rows += e->range_age(lo, lo + 5, 100);
    }
    bench_rate("range on age, limit 100", RANGES, bench_now() - start);
    check("range on age", rows, RANGES * 100.0);
}

static void counts(const struct doc_engine *e, uint32_t n) {
    char city[24];
    int64_t total = 0;
    double start = bench_now();
    for (int i = 0; i < 3 * CITY_COUNT; i++) {
        (void) snprintf(city, sizeof(city), "City-%03d", i % CITY_COUNT);
        total += e->count_city(city);
    }
    bench_row("count per city", (bench_now() - start) / 3 * 1000, "ms", "less");
    check("count per city", (double) total, 3.0 * n);
}

static void whole_scans(const struct doc_engine *e, uint32_t n) {
    struct profile p;
    double by_city[CITY_COUNT] = {0}, sums[CITY_COUNT] = {0}, seen_of[CITY_COUNT] = {0};
    int want = 0, rows = 0;
    for (uint32_t i = 0; i < n; i++) {
        profile_make(i, &p);
        want += p.balance < 5000 && strstr(p.bio, "qui") != NULL;
        sums[city_of(i)] += p.age;
        seen_of[city_of(i)]++;
    }
    double start = bench_now();
    for (int i = 0; i < 3; i++) rows = e->filter(5000, "qui");
    bench_row("unindexed filter over all", (bench_now() - start) / 3 * 1000, "ms", "less");
    check("unindexed filter", rows, want);
    counts(e, n);
    start = bench_now();
    for (int i = 0; i < 3; i++) {
        memset(by_city, 0, sizeof(by_city));
        check("average age", e->average_age(by_city), n);
    }
    bench_row("average age per city", (bench_now() - start) / 3 * 1000, "ms", "less");
    for (int i = 0; i < CITY_COUNT; i++) {
        double d = by_city[i] - sums[i] / (seen_of[i] > 0 ? seen_of[i] : 1);
        if (d > 1e-6 || d < -1e-6) check("average age of a city", by_city[i], sums[i] / seen_of[i]);
    }
}

static void updates(const struct doc_engine *e, uint32_t n) {
    static uint8_t ids[BATCH][12];
    uint64_t s = 4;
    for (int kind = 0; kind < 2; kind++) {
        double start = bench_now();
        for (int i = 0; i < UPDATES; i += BATCH) {
            for (int j = 0; j < BATCH; j++) {
                uint32_t k = (uint32_t) (bench_random(&s) % n);
                memset(ids[j], 0, 12);
                ids[j][0] = 0x65;
                for (int b = 0; b < 4; b++) ids[j][8 + b] = (uint8_t) (k >> (24 - 8 * b));
            }
            if (kind == 0) e->update_age((const uint8_t(*)[12]) ids, BATCH, 1);
            else e->update_balance((const uint8_t(*)[12]) ids, BATCH, 1);
        }
        bench_rate(kind == 0 ? "update indexed field" : "update plain field", UPDATES, bench_now() - start);
    }
}

static void durable_inserts(const struct doc_engine *e, uint32_t n) {
    struct profile p;
    double start = bench_now();
    for (uint32_t i = 0; i < DURABLE; i++) {
        profile_make(n + i, &p);
        e->insert_batch(&p, 1);
    }
    bench_rate("durable insert", DURABLE, bench_now() - start);
}

int main(int argc, char **argv) {
    if (argc < 3) bench_fail("usage", "bench_doc ENGINE DIR [N] [CACHE_MB]");
    uint32_t n = argc > 3 ? (uint32_t) strtoul(argv[3], NULL, 10) / BATCH * BATCH : 500000;
    int cache_mb = argc > 4 ? atoi(argv[4]) : 256;
    for (size_t i = 0; i < sizeof(engines) / sizeof(engines[0]); i++) {
        const struct doc_engine *e = engines[i];
        if (strcmp(e->name, argv[1]) != 0) continue;
        fprintf(stderr, "%s: %u documents, cache %d MB, %s\n", e->name, n, cache_mb, e->settings);
        e->open(argv[2], cache_mb, 0);
        const char *part = argc > 5 ? argv[5] : NULL;
        bulk_insert(e, n);
        for (int rounds = argc > 6 ? atoi(argv[6]) : 1; rounds > 0; rounds--) {
            if (part == NULL || strcmp(part, "point") == 0) point_reads(e, n);
            if (part == NULL || strcmp(part, "range") == 0) ranges(e);
            if (part == NULL || strcmp(part, "scan") == 0) whole_scans(e, n);
            if (part != NULL && strcmp(part, "count") == 0) counts(e, n);
            if (part == NULL || strcmp(part, "update") == 0) updates(e, n);
        }
        e->close();
        if (part != NULL) return 0;
        bench_row("size", bench_folder_mb(argv[2]), "MB", "less");
        e->open(argv[2], cache_mb, 1);
        durable_inserts(e, n);
        e->close();
        return 0;
    }
    bench_fail("unknown engine", argv[1]);
    return 1;
}
