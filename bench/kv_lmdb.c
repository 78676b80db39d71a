/* LMDB: memory-mapped; MDB_NOSYNC but for the durable row. It has no cache of its own: the page cache serves it whole. */
#include <lmdb.h>

#include "kv.h"

static MDB_env *env;
static MDB_dbi dbi;
static MDB_txn *reading; /* renewed for each read */

static void must(int rc, const char *what) {
    if (rc != 0) bench_fail(what, mdb_strerror(rc));
}

static void open_lmdb(const char *dir, int cache_mb, int durable) {
    MDB_txn *txn;
    (void) cache_mb;
    must(mdb_env_create(&env), "create");
    must(mdb_env_set_mapsize(env, (size_t) 8 << 30), "map size");
    must(mdb_env_open(env, dir, durable ? 0 : MDB_NOSYNC, 0644), "open");
    must(mdb_txn_begin(env, NULL, 0, &txn), "begin");
    must(mdb_dbi_open(txn, NULL, 0, &dbi), "dbi");
    must(mdb_txn_commit(txn), "commit");
    must(mdb_txn_begin(env, NULL, MDB_RDONLY, &reading), "begin");
    mdb_txn_reset(reading);
}

static void close_lmdb(void) {
    mdb_txn_abort(reading);
    mdb_env_close(env);
}

static void put_batch(const uint8_t (*keys)[KEY_LEN], const uint8_t (*values)[VALUE_LEN], int count) {
    MDB_txn *txn;
    must(mdb_txn_begin(env, NULL, 0, &txn), "begin");
    for (int i = 0; i < count; i++) {
        union {
            const uint8_t *p;
            void *q;
        } k = {.p = keys[i]}, v = {.p = values[i]};
        MDB_val key = {KEY_LEN, k.q}, value = {VALUE_LEN, v.q};
        must(mdb_put(txn, dbi, &key, &value, 0), "put");
    }
    must(mdb_txn_commit(txn), "commit");
}

static int get(const uint8_t *key, uint8_t *first_byte) {
    union {
        const uint8_t *p;
        void *q;
    } u = {.p = key};
    MDB_val k = {KEY_LEN, u.q}, v;
    must(mdb_txn_renew(reading), "renew");
    int rc = mdb_get(reading, dbi, &k, &v);
    if (rc == 0) *first_byte = *(const uint8_t *) v.mv_data;
    mdb_txn_reset(reading);
    if (rc != 0 && rc != MDB_NOTFOUND) must(rc, "get");
    return rc == 0 && v.mv_size == VALUE_LEN;
}

static uint64_t walk(const uint8_t *from, uint64_t limit, uint64_t *sum) {
    MDB_cursor *cursor;
    union {
        const uint8_t *p;
        void *q;
    } u = {.p = from};
    MDB_val k = {KEY_LEN, u.q}, v;
    uint64_t rows = 0;
    must(mdb_txn_renew(reading), "renew");
    must(mdb_cursor_open(reading, dbi, &cursor), "cursor");
    int rc = mdb_cursor_get(cursor, &k, &v, from != NULL ? MDB_SET_RANGE : MDB_FIRST);
    for (; rc == 0 && rows < limit; rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT), rows++)
        *sum += *(const uint8_t *) v.mv_data;
    mdb_cursor_close(cursor);
    mdb_txn_reset(reading);
    return rows;
}

static uint64_t scan(uint64_t *sum) { return walk(NULL, UINT64_MAX, sum); }
static int range(const uint8_t *key, int count, uint64_t *sum) { return (int) walk(key, (uint64_t) count, sum); }
static void settle(void) {}

const struct kv_engine kv_lmdb = {
    "lmdb",    "memory-mapped, MDB_NOSYNC (durable put: synced); no compression, no cache of its own",
    open_lmdb, close_lmdb,
    put_batch, get,
    scan,      range,
    settle};
