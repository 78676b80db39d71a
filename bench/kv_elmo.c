/* elmo's storage core through elmo/lsm.h. A read is a read-only transaction of its own, as LMDB's renewed one. */
#include <elmo/lsm.h>

#include "kv.h"

static lsm_t *db;
static lsm_error_t error;

static void must(bool ok, const char *what) {
    if (!ok) bench_fail(what, error.message);
}

static void open_elmo(const char *dir, int cache_mb, int durable) {
    char path[1100];
    lsm_options_t options = LSM_OPTIONS_INIT;
    (void) snprintf(path, sizeof(path), "%s/bench.elmo", dir);
    options.sync = durable ? LSM_FULL : LSM_OFF;
    options.cache_bytes = (size_t) cache_mb << 20;
    options.memtable_bytes = (size_t) 32 << 20;
    must(lsm_open(path, &options, &db, &error), "open");
}

static void close_elmo(void) { lsm_close(db); }

static void put_batch(const uint8_t (*keys)[KEY_LEN], const uint8_t (*values)[VALUE_LEN], int count) {
    lsm_txn_t *txn;
    must(lsm_txn_begin(db, false, &txn, &error), "begin");
    for (int i = 0; i < count; i++) must(lsm_txn_put(txn, keys[i], KEY_LEN, values[i], VALUE_LEN, &error), "put");
    must(lsm_txn_commit(txn, &error), "commit");
}

static int get(const uint8_t *key, uint8_t *first_byte) {
    lsm_txn_t *txn;
    const void *value;
    size_t len = 0;
    must(lsm_txn_begin(db, true, &txn, &error), "begin");
    must(lsm_txn_get(txn, key, KEY_LEN, &value, &len, &error), "get");
    if (value != NULL) *first_byte = *(const uint8_t *) value;
    bool found = value != NULL && len == VALUE_LEN;
    lsm_txn_abort(txn);
    return found;
}

static uint64_t walk(const uint8_t *from, uint64_t limit, uint64_t *sum) {
    lsm_txn_t *txn;
    lsm_cursor_t *cursor;
    uint64_t rows = 0;
    size_t len;
    must(lsm_txn_begin(db, true, &txn, &error), "begin");
    must(lsm_cursor_open(txn, NULL, 0, NULL, 0, &cursor, &error), "cursor");
    bool on = from != NULL ? lsm_cursor_seek(cursor, from, KEY_LEN) : lsm_cursor_first(cursor);
    for (; on && rows < limit; on = lsm_cursor_next(cursor), rows++) {
        const uint8_t *value = lsm_cursor_value(cursor, &len);
        if (value != NULL) *sum += *value;
    }
    must(!lsm_cursor_error(cursor, &error), "scan");
    lsm_cursor_close(cursor);
    lsm_txn_abort(txn);
    return rows;
}

static uint64_t scan(uint64_t *sum) { return walk(NULL, UINT64_MAX, sum); }
static int range(const uint8_t *key, int count, uint64_t *sum) { return (int) walk(key, (uint64_t) count, sum); }
static void settle(void) { must(lsm_compact(db, &error), "compact"); }

const struct kv_engine kv_elmo = {
    "elmo",
    "LZ4, filter 10 bits, 16 KiB leaves, 32 MiB memtable, sync off (durable put: full), compacted before the reads",
    open_elmo,
    close_elmo,
    put_batch,
    get,
    scan,
    range,
    settle};
