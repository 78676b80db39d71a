/* The key-value benchmark's seam: 16-byte keys in order of a number or scattered, values of 200 bytes of which half compresses. */
#ifndef ELMO_BENCH_KV_H
#define ELMO_BENCH_KV_H

#include "bench.h"

#define KEY_LEN 16
#define VALUE_LEN 200

struct kv_engine {
    const char *name, *settings;
    void (*open)(const char *dir, int cache_mb, int durable);
    void (*close)(void);
    void (*put_batch)(const uint8_t (*keys)[KEY_LEN], const uint8_t (*values)[VALUE_LEN],
                      int count);                               /* one transaction */
    int (*get)(const uint8_t *key, uint8_t *first_byte);        /* 1 when found */
    uint64_t (*scan)(uint64_t *sum);                            /* all rows: count; sum of the values' first bytes */
    int (*range)(const uint8_t *key, int count, uint64_t *sum); /* seek, then `count` rows */
    void (*settle)(void);                                       /* waits until merges are through, or runs them */
};

extern const struct kv_engine kv_elmo, kv_rocksdb, kv_lmdb;

#endif
