/* The functions of include/elmo/lsm.h: thin over kv.h. A transaction holds one lent value at a time; a cursor keeps its last error. */
#include "elmo/lsm.h"

#include <stdio.h>

#include "os/env.h"
#include "storage/lsm.h"

struct lsm {
    struct env *env;
    struct kv *kv;
};

struct lsm_txn {
    struct kv_txn *t;
    struct kv_value lent;
};

struct lsm_cursor {
    struct kv_cursor *c;
    status st;
    struct err err;
};

static const struct {
    status st;
    lsm_code_t code;
} codes[] = {
    {ST_NOMEM, LSM_NOMEM},
    {ST_IO, LSM_IO},
    {ST_NO_SPACE, LSM_NO_SPACE},
    {ST_CORRUPT, LSM_CORRUPT},
    {ST_INVALID, LSM_INVALID},
    {ST_UNSUPPORTED, LSM_UNSUPPORTED},
    {ST_CONFLICT, LSM_CONFLICT},
    {ST_BUSY, LSM_BUSY},
    {ST_READ_ONLY, LSM_READ_ONLY},
    {ST_TOO_LARGE, LSM_TOO_LARGE},
    {ST_OUTCOME_UNKNOWN, LSM_OUTCOME_UNKNOWN},
    {ST_NOT_FOUND, LSM_MISSING},
};

/* True for ST_OK; else fills error. */
static bool answer(status st, const struct err *err, lsm_error_t *error) {
    if (st == ST_OK) return true;
    if (error == NULL) return false;
    error->code = LSM_OTHER;
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
        if (codes[i].st == st) error->code = codes[i].code;
    snprintf(error->message, sizeof(error->message), "%s", err->st != ST_OK ? err->text : status_text(st));
    return false;
}

/* --- open and close --- */

bool lsm_open(const char *path, const lsm_options_t *options, lsm_t **db, lsm_error_t *error) {
    struct err err = ERR_INIT;
    bool in_memory = path == NULL || strcmp(path, ":memory:") == 0;
    struct lsm_opts opts = {.create = true, .threads = LSM_THREADS_DEFAULT};
    if (options != NULL) {
        opts.sync = options->sync == LSM_FULL ? LSM_SYNC_FULL
            : options->sync == LSM_NORMAL     ? LSM_SYNC_NORMAL
                                              : LSM_SYNC_OFF;
        opts.read_only = options->read_only;
        opts.create = !options->must_exist && !options->read_only;
        if (options->no_threads) opts.threads = 0;
        opts.cache_bytes = options->cache_bytes;
        opts.memtable_bytes = options->memtable_bytes;
    }
    lsm_t *made = mem_new(mem_default(), lsm_t);
    if (made == NULL) return answer(ST_NOMEM, &err, error);
    status st =
        in_memory ? env_memory_new(mem_default(), &made->env, &err) : env_posix_new(mem_default(), &made->env, &err);
    if (st == ST_OK) st = lsm_kv_open(made->env, in_memory ? "memory" : path, &opts, &made->kv, &err);
    if (st != ST_OK) {
        env_free(made->env);
        mem_delete(mem_default(), made);
        return answer(st, &err, error);
    }
    *db = made;
    return true;
}

void lsm_close(lsm_t *db) {
    if (db == NULL) return;
    kv_close(db->kv);
    env_free(db->env);
    mem_delete(mem_default(), db);
}

/* --- single operations --- */

enum single { SINGLE_PUT, SINGLE_DELETE, SINGLE_DELETE_RANGE };

static bool write_one(lsm_t *db, enum single what, struct slice a, struct slice b, lsm_error_t *error) {
    struct err err = ERR_INIT;
    struct kv_txn *t;
    status st = kv_begin(db->kv, false, &t, &err);
    if (st != ST_OK) return answer(st, &err, error);
    st = what == SINGLE_PUT     ? kv_put(t, a, b, &err)
        : what == SINGLE_DELETE ? kv_delete(t, a, &err)
                                : kv_delete_range(t, a, b, &err);
    if (st == ST_OK) st = kv_commit(t, KV_SYNC, &err);
    else kv_abort(t);
    return answer(st, &err, error);
}

bool lsm_put(lsm_t *db, const void *key, size_t key_len, const void *value, size_t value_len, lsm_error_t *error) {
    return write_one(db, SINGLE_PUT, slice_of(key, key_len), slice_of(value, value_len), error);
}
bool lsm_delete(lsm_t *db, const void *key, size_t key_len, lsm_error_t *error) {
    return write_one(db, SINGLE_DELETE, slice_of(key, key_len), SLICE_NONE, error);
}
bool lsm_delete_range(lsm_t *db, const void *lo, size_t lo_len, const void *hi, size_t hi_len, lsm_error_t *error) {
    return write_one(db, SINGLE_DELETE_RANGE, slice_of(lo, lo_len), slice_of(hi, hi_len), error);
}

bool lsm_get(lsm_t *db, const void *key, size_t key_len, void **value, size_t *value_len, lsm_error_t *error) {
    struct err err = ERR_INIT;
    struct kv_txn *t;
    struct kv_value v = KV_VALUE_INIT;
    status st = kv_begin(db->kv, true, &t, &err);
    if (st != ST_OK) return answer(st, &err, error);
    st = kv_get(t, slice_of(key, key_len), &v, &err);
    void *copy = NULL;
    if (st == ST_OK) {
        copy = mem_alloc(mem_default(), v.bytes.len);
        if (copy == NULL) st = RAISE(&err, ST_NOMEM, "value of %zu bytes", v.bytes.len);
        else if (v.bytes.len > 0) memcpy(copy, v.bytes.p, v.bytes.len);
    }
    if (st == ST_OK || st == ST_NOT_FOUND) {
        *value = copy;
        *value_len = v.bytes.len;
    }
    kv_value_release(&v);
    kv_abort(t);
    return answer(st == ST_NOT_FOUND ? ST_OK : st, &err, error);
}

void lsm_free(void *value, size_t value_len) { mem_free(mem_default(), value, value_len); }

/* --- transactions --- */

bool lsm_txn_begin(lsm_t *db, bool read_only, lsm_txn_t **txn, lsm_error_t *error) {
    struct err err = ERR_INIT;
    lsm_txn_t *made = mem_new(mem_default(), lsm_txn_t);
    if (made == NULL) return answer(ST_NOMEM, &err, error);
    status st = kv_begin(db->kv, read_only, &made->t, &err);
    if (st == ST_OK) *txn = made;
    else mem_delete(mem_default(), made);
    return answer(st, &err, error);
}

bool lsm_txn_commit(lsm_txn_t *txn, lsm_error_t *error) {
    struct err err = ERR_INIT;
    kv_value_release(&txn->lent);
    status st = kv_commit(txn->t, KV_SYNC, &err);
    mem_delete(mem_default(), txn);
    return answer(st, &err, error);
}

void lsm_txn_abort(lsm_txn_t *txn) {
    if (txn == NULL) return;
    kv_value_release(&txn->lent);
    kv_abort(txn->t);
    mem_delete(mem_default(), txn);
}

bool lsm_txn_put(lsm_txn_t *txn, const void *key, size_t key_len, const void *value, size_t value_len,
                 lsm_error_t *error) {
    struct err err = ERR_INIT;
    return answer(kv_put(txn->t, slice_of(key, key_len), slice_of(value, value_len), &err), &err, error);
}
bool lsm_txn_delete(lsm_txn_t *txn, const void *key, size_t key_len, lsm_error_t *error) {
    struct err err = ERR_INIT;
    return answer(kv_delete(txn->t, slice_of(key, key_len), &err), &err, error);
}
bool lsm_txn_delete_range(lsm_txn_t *txn, const void *lo, size_t lo_len, const void *hi, size_t hi_len,
                          lsm_error_t *error) {
    struct err err = ERR_INIT;
    return answer(kv_delete_range(txn->t, slice_of(lo, lo_len), slice_of(hi, hi_len), &err), &err, error);
}
bool lsm_txn_add(lsm_txn_t *txn, const void *key, size_t key_len, int64_t delta, lsm_error_t *error) {
    struct err err = ERR_INIT;
    return answer(kv_add(txn->t, slice_of(key, key_len), delta, &err), &err, error);
}

bool lsm_txn_get(lsm_txn_t *txn, const void *key, size_t key_len, const void **value, size_t *value_len,
                 lsm_error_t *error) {
    struct err err = ERR_INIT;
    kv_value_release(&txn->lent);
    status st = kv_get(txn->t, slice_of(key, key_len), &txn->lent, &err);
    if (status_failed(st)) return answer(st, &err, error);
    *value = txn->lent.bytes.p;
    *value_len = txn->lent.bytes.len;
    return true;
}

/* --- cursors --- */

bool lsm_cursor_open(lsm_txn_t *txn, const void *lo, size_t lo_len, const void *hi, size_t hi_len,
                     lsm_cursor_t **cursor, lsm_error_t *error) {
    struct err err = ERR_INIT;
    struct kv_bounds bounds = {slice_of(lo, lo_len), slice_of(hi, hi_len)};
    lsm_cursor_t *made = mem_new(mem_default(), lsm_cursor_t);
    if (made == NULL) return answer(ST_NOMEM, &err, error);
    (void) kv_next_statement(txn->t); /* it sees all writes made before */
    status st = kv_cursor_open(txn->t, &bounds, &made->c, &err);
    if (st == ST_OK) *cursor = made;
    else mem_delete(mem_default(), made);
    return answer(st, &err, error);
}

void lsm_cursor_close(lsm_cursor_t *cursor) {
    if (cursor == NULL) return;
    kv_cursor_close(cursor->c);
    mem_delete(mem_default(), cursor);
}

static bool moved(lsm_cursor_t *cursor, status st) {
    cursor->st = st;
    return st == ST_OK;
}

bool lsm_cursor_first(lsm_cursor_t *cursor) { return moved(cursor, kv_first(cursor->c, &cursor->err)); }
bool lsm_cursor_last(lsm_cursor_t *cursor) { return moved(cursor, kv_last(cursor->c, &cursor->err)); }
bool lsm_cursor_seek(lsm_cursor_t *cursor, const void *key, size_t key_len) {
    return moved(cursor, kv_seek_ge(cursor->c, slice_of(key, key_len), &cursor->err));
}
bool lsm_cursor_seek_back(lsm_cursor_t *cursor, const void *key, size_t key_len) {
    return moved(cursor, kv_seek_le(cursor->c, slice_of(key, key_len), &cursor->err));
}
bool lsm_cursor_next(lsm_cursor_t *cursor) { return moved(cursor, kv_next(cursor->c, &cursor->err)); }
bool lsm_cursor_prev(lsm_cursor_t *cursor) { return moved(cursor, kv_prev(cursor->c, &cursor->err)); }

const void *lsm_cursor_key(lsm_cursor_t *cursor, size_t *key_len) {
    struct slice key = kv_cursor_key(cursor->c);
    *key_len = key.len;
    return key.p;
}

const void *lsm_cursor_value(lsm_cursor_t *cursor, size_t *value_len) {
    struct slice value = SLICE_NONE;
    status st = kv_cursor_value(cursor->c, &value, &cursor->err);
    if (st != ST_OK) {
        (void) moved(cursor, st);
        return NULL;
    }
    *value_len = value.len;
    return value.p != NULL ? (const void *) value.p : "";
}

bool lsm_cursor_error(lsm_cursor_t *cursor, lsm_error_t *error) {
    return status_failed(cursor->st) && !answer(cursor->st, &cursor->err, error);
}

/* --- upkeep --- */

void lsm_stat(lsm_t *db, lsm_stat_t *stat) {
    struct lsm_kv_stat s;
    lsm_kv_stat(db->kv, &s);
    *stat = (lsm_stat_t){.file_bytes = s.file_len,
                         .free_bytes = s.free_len + s.pending_len,
                         .memory_bytes = s.memtable_bytes,
                         .cache_bytes = s.cache_bytes,
                         .log_bytes = s.log_len,
                         .commits = s.commits,
                         .flushes = s.flushes,
                         .merges = s.merges,
                         .snapshots = s.snapshots};
    for (uint32_t i = 0; i < LEVEL_COUNT; i++) {
        stat->segments += s.levels[i].segments;
        stat->entries += s.levels[i].entries;
        stat->tombstones += s.levels[i].tombstones;
        stat->data_bytes += s.levels[i].data_bytes + s.levels[i].large_bytes;
    }
    stat->entries += s.memtable_entries;
}

bool lsm_flush(lsm_t *db, lsm_error_t *error) {
    struct err err = ERR_INIT;
    return answer(lsm_kv_flush(db->kv, &err), &err, error);
}

bool lsm_compact(lsm_t *db, lsm_error_t *error) {
    struct err err = ERR_INIT;
    return answer(lsm_kv_compact(db->kv, &err), &err, error);
}

struct counting {
    void (*found)(void *ctx, const char *text);
    void *ctx;
    uint64_t n;
};

static void count_fault(void *ctx, const char *text) {
    struct counting *c = ctx;
    c->n++;
    if (c->found != NULL) c->found(c->ctx, text);
}

bool lsm_check(lsm_t *db, void (*found)(void *ctx, const char *text), void *ctx, uint64_t *faults, lsm_error_t *error) {
    struct err err = ERR_INIT;
    struct counting c = {found, ctx, 0};
    status st = lsm_kv_check(db->kv, count_fault, &c, &err);
    if (faults != NULL) *faults = c.n;
    return answer(st, &err, error);
}
