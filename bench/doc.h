/* The document benchmark's seam: profiles of about 365 bytes, three secondary indexes (age, city, unique email). */
#ifndef ELMO_BENCH_DOC_H
#define ELMO_BENCH_DOC_H

#include <bson/bson.h>

#include "bench.h"

#define CITY_COUNT 100
#define AGE_MAX 100

struct profile {
    uint8_t id[12];
    char email[48], name[48], city[24], street[48], zip[8], bio[128];
    int32_t age;
    double balance;
    int64_t created_ms;
    char tags[3][16];
};

void profile_make(uint32_t n, struct profile *p); /* the same for every engine */

struct doc_engine {
    const char *name, *settings;
    void (*open)(const char *dir, int cache_mb, int durable);
    void (*close)(void);
    void (*insert_batch)(const struct profile *p, int count);
    int (*find_id)(const uint8_t id[12]); /* 1 when found, its bytes read */
    int (*find_email)(const char *email);
    int (*range_age)(int lo, int hi, int limit);                    /* rows, in order of age */
    int (*filter)(double balance_below, const char *street_prefix); /* unindexed, over all: rows */
    int64_t (*count_city)(const char *city);
    double (*average_age)(double *by_city); /* average age per city into by_city[CITY_COUNT]: rows seen */
    void (*update_age)(const uint8_t (*ids)[12], int count, int delta);        /* indexed field */
    void (*update_balance)(const uint8_t (*ids)[12], int count, double delta); /* plain field */
};

extern const struct doc_engine doc_elmo, doc_sqlite, doc_sqlite_rowid;

#endif
