/* A kv around another one that fails on demand, for tests of the layers above: call n and all later ones answer ST_IO ("the machine has
 * stopped"), so that what stood in the inner kv is what a crash would have left. Closing it leaves the inner kv open: a second handle on one
 * store, or a reopening. One thread at a time. */
#ifndef ELMO_TESTS_KV_FAIL_H
#define ELMO_TESTS_KV_FAIL_H

#include "storage/kv.h"

struct kv_fail {
    struct kv base;
    struct kv *inner;
    uint64_t calls, fail_at; /* fail_at 0: never */
    bool has_failed;
};

/* In place; give &f->base away. */
void kv_fail_init(struct kv_fail *f, struct kv *inner, uint64_t fail_at);

#endif
