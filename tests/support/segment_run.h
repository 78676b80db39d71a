/* Sorted runs of entries for tests of segments: made by chance from a seed, kept in an array, written as a segment. */
#ifndef TESTS_SUPPORT_SEGMENT_RUN_H
#define TESTS_SUPPORT_SEGMENT_RUN_H

#include "base/arena.h"
#include "base/chance.h"
#include "os/env.h"
#include "storage/segment.h"

/* What a run looks like. */
struct run_shape {
    const char *name;
    size_t key_count;   /* distinct keys */
    size_t key_len_max; /* after the prefix */
    size_t prefix_len;  /* shared by all keys */
    size_t value_len_max;
    size_t version_max; /* versions of one key */
    unsigned alphabet;  /* distinct bytes in keys: few make long common parts */
    uint32_t leaf_len;
    enum compression compression;
    uint32_t filter_bits;
};

struct run {
    struct arena arena;
    struct entry *entries; /* in order */
    size_t count;
};

void run_make(struct run *r, const struct run_shape *shape, struct chance *chance);
void run_release(struct run *r);
/* The first entry >= (key, seq); count when there is none. */
size_t run_search(const struct run *r, struct slice key, uint64_t seq);

status run_write(const struct run *r, struct store *store, const struct mem *mem, const struct run_shape *shape,
                 uint64_t id, struct segment_meta *meta, struct err *err);

/* A store in memory. */
struct test_store {
    struct env *env;
    struct store *store;
};
void test_store_open(struct test_store *t);
void test_store_close(struct test_store *t);

#endif
