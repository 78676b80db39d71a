/* A naive key-value store behind storage/kv.h, to compare the real one with and to test the layers above without it.
 *
 * Everything is in sorted arrays and every version is kept while a transaction may see it. It keeps the contract K1..K7 of kv.h
 * exactly and never fails for want of memory (it gives up the test instead). One thread at a time; a lock that would have to wait
 * answers ST_BUSY at once. Commit orders: the sync argument has no meaning here. */
#ifndef ELMO_TESTS_MODEL_KV_H
#define ELMO_TESTS_MODEL_KV_H

#include "storage/kv.h"

/* An empty store; close it with kv_close. */
struct kv *model_kv_new(void);

/* A value that add meets and that is not 8 bytes long counts as 0, here as there. */
int64_t model_counter(struct slice value);

#endif
