/* The database handle: opening, beginning transactions with a catalog tag, object ids. Inside: db_state.h. */
#include "doc/db.h"

#include "bson/build.h"
#include "bson/check.h"
#include "doc/catalog_entry.h"
#include "doc/db_state.h"
#include "doc/index_build.h"
#include "doc/multikey.h"
#include "doc/upkeep.h"

struct kv *db_kv(struct db *db) {
    return db->kv;
}
struct env *db_env(struct db *db) {
    return db->env;
}
const struct mem *db_mem(struct db *db) { return db->mem; }
bool db_is_read_only(const struct db *db) { return db->is_read_only; }

static status write_format(struct op *op, struct kv_txn *txn, struct err *err) {
    struct bbuild b;
    catalog_key_format(&op->scratch.key);
    buf_clear(&op->scratch.value);
    bbuild_begin(&b, &op->scratch.value);
    bbuild_int32(&b, "version", CATALOG_FORMAT_VERSION);
    (void) bbuild_finish(&b);
    if (op->scratch.key.failed || op->scratch.value.failed) return RAISE(err, ST_NOMEM, "opening");
    return kv_put(txn, buf_slice(&op->scratch.key), buf_slice(&op->scratch.value), err);
}

static status check_format(struct slice value, struct err *err) {
    struct bdoc d;
    if (bson_check(value.p, value.len, 0, &d, NULL) != ST_OK)
        return RAISE(err, ST_CORRUPT, "the catalog is damaged: bad format record");
    struct bval version = bdoc_get_str(d, "version");
    if (version.type != B_INT32) return RAISE(err, ST_CORRUPT, "the catalog is damaged: no format version");
    if (bval_int32(version) != CATALOG_FORMAT_VERSION)
        return RAISE(err, ST_UNSUPPORTED,
                     "the documents in this file have format version %d, this library reads version %d",
                     bval_int32(version), CATALOG_FORMAT_VERSION);
    return ST_OK;
}

/* Checks the format record, writes it into an empty store. */
static status open_format(struct op *op, struct err *err) {
    status st = ST_OK;
    struct kv_txn *txn = NULL;
    struct kv_value value = KV_VALUE_INIT;
    TRY(kv_begin(op->db->kv, op->db->is_read_only, &txn, err));
    catalog_key_format(&op->scratch.key);
    if (op->scratch.key.failed) TRY_OUT(RAISE(err, ST_NOMEM, "opening"));
    st = kv_get(txn, buf_slice(&op->scratch.key), &value, err);
    if (st == ST_OK) {
        TRY_OUT(check_format(value.bytes, err));
    } else if (st == ST_NOT_FOUND) {
        st = ST_OK;
        if (op->db->is_read_only) goto out;
        TRY_OUT(write_format(op, txn, err));
        st = kv_commit(txn, KV_SYNC, err);
        txn = NULL;
    }
out:
    kv_value_release(&value);
    kv_abort(txn);
    return st;
}

static status start(struct db *db, struct err *err) {
    struct op op;
    op_init(&op, db);
    status st = open_format(&op, err);
    if (st == ST_OK && !db->is_read_only) st = index_builds_sweep(&op, err);
    op_release(&op);
    return st;
}

static void clear_cache(struct db *db) {
    for (size_t b = 0; b < CACHE_BUCKETS; b++)
        for (size_t w = 0; w < CACHE_WAYS; w++) {
            collection_unref(db->cache[b][w]);
            db->cache[b][w] = NULL;
        }
    multikey_forget_all(db);
}

static status init_locks(struct db *db, struct err *err) {
    int made = 0;
    TRY(mutex_init(&db->lock, err));
    status st = upkeep_init(&db->upkeep, err);
    if (st != ST_OK) {
        mutex_release(&db->lock);
        return st;
    }
    while (made < CACHE_STRIPES && (st = mutex_init(&db->cache_locks[made], err)) == ST_OK) made++;
    if (st == ST_OK) return ST_OK;
    while (made > 0) mutex_release(&db->cache_locks[--made]);
    upkeep_release(db);
    mutex_release(&db->lock);
    return st;
}

static void free_db(struct db *db) {
    upkeep_release(db);
    clear_cache(db);
    for (int i = 0; i < CACHE_STRIPES; i++) mutex_release(&db->cache_locks[i]);
    mutex_release(&db->lock);
    mem_delete(db->mem, db);
}

status db_open(struct env *env, struct kv *kv, bool read_only, const struct mem *mem, struct db **out,
               struct err *err) {
    struct db *db = mem_new(mem, struct db);
    if (db == NULL) return RAISE(err, ST_NOMEM, "database");
    db->env = env;
    db->kv = kv;
    db->mem = mem;
    db->is_read_only = read_only;
    status st = init_locks(db, err);
    if (st != ST_OK) {
        mem_delete(mem, db);
        return st;
    }
    atomic_init(&db->catalog_word, CATALOG_WORD_ONE);
    uint32_t counters[2];
    env->ops->random(env, db->id_random, sizeof(db->id_random));
    env->ops->random(env, counters, sizeof(counters));
    atomic_init(&db->id_counter, counters[0]);
    atomic_init(&db->timestamp_counter, 0);
    st = start(db, err);
    if (st == ST_OK) *out = db;
    else free_db(db);
    return st;
}

void db_close(struct db *db) {
    if (db == NULL) return;
    struct kv *kv = db->kv;
    struct env *env = db->env;
    free_db(db);
    kv_close(kv);
    env_free(env);
}

status db_begin(struct db *db, bool read_only, struct kv_txn **out, struct err *err) {
    uint64_t before = atomic_load(&db->catalog_word);
    TRY(kv_begin(db->kv, read_only, out, err));
    if ((before & CATALOG_WORD_BUSY) == 0 && atomic_load(&db->catalog_word) == before) (*out)->tag = before;
    return ST_OK;
}

void db_new_object_id(struct db *db, uint8_t id[12]) {
    uint32_t n = atomic_fetch_add_explicit(&db->id_counter, 1, memory_order_relaxed);
    put_be32(id, (uint32_t) (db->env->ops->now_ms(db->env) / 1000));
    memcpy(id + 4, db->id_random, 5);
    id[9] = (uint8_t) (n >> 16);
    id[10] = (uint8_t) (n >> 8);
    id[11] = (uint8_t) n;
}

uint64_t db_new_timestamp(struct db *db) {
    uint32_t ordinal = atomic_fetch_add_explicit(&db->timestamp_counter, 1, memory_order_relaxed) + 1;
    return db->env->ops->now_ms(db->env) / 1000 << 32 | ordinal;
}
