/* Short ways to write tests over a key-value store: each asserts that it worked. Keys and values are C strings. */
#ifndef ELMO_TESTS_KV_EASE_H
#define ELMO_TESTS_KV_EASE_H

#include "storage/lsm.h"

struct env *ease_env(void); /* files in memory */
/* NULL opts: made when missing, small memtables and segments, maintenance in the caller. */
struct lsm_opts ease_opts(void);
struct kv *ease_open(struct env *env, const char *path, const struct lsm_opts *opts);
void ease_put(struct kv *kv, const char *key, const char *value);
void ease_delete(struct kv *kv, const char *key);
void ease_delete_range(struct kv *kv, const char *lo, const char *hi);
void ease_add(struct kv *kv, const char *key, int64_t delta);
void ease_expect(struct kv *kv, const char *key, const char *value); /* NULL: absent */
int64_t ease_counter(struct kv *kv, const char *key);
size_t ease_count(struct kv *kv); /* by a scan forward, and the same backward */
void ease_check(struct kv *kv);   /* lsm_kv_check finds nothing */

#endif
