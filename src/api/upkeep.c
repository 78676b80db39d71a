/* check, compact and stat. */
#include "api/handles.h"
#include "doc/validate.h"
#include "storage/lsm.h"

struct check_call {
    struct op *op;
    struct kv_txn *txn;
    void (*found)(void *ctx, const char *text);
    void *ctx;
    uint64_t faults;
};

static void on_found(void *ctx, const char *text) {
    struct check_call *call = ctx;
    call->faults++;
    if (call->found != NULL) call->found(call->ctx, text);
}

static status check_collection(void *ctx, struct collection *c, struct err *err) {
    struct check_call *call = ctx;
    struct validate_report report = {0};
    return collection_validate(call->op, call->txn, c, on_found, call, &report, err);
}

static status check_all(struct elmo *db, struct check_call *call, struct err *err) {
    TRY(lsm_kv_check(db->kv, on_found, call, err));
    TRY(kv_begin(db->kv, true, &call->txn, err));
    status st = catalog_list(call->op, call->txn, SLICE_NONE, check_collection, call, err);
    kv_abort(call->txn);
    return st;
}

bool elmo_check(elmo_t *db, void (*found)(void *ctx, const char *text), void *ctx, uint64_t *faults,
                bson_error_t *error) {
    struct err err = ERR_INIT;
    struct op op;
    status st = api_begin(db, &op, &err);
    struct check_call call = {.op = &op, .found = found, .ctx = ctx};
    if (st == ST_OK) st = check_all(db, &call, &err);
    if (faults != NULL) *faults = call.faults;
    op_release(&op);
    return api_answer(st, &err, (struct bdoc){0}, NULL, error);
}

bool elmo_compact(elmo_t *db, bson_error_t *error) {
    struct err err = ERR_INIT;
    struct op op;
    status st = api_begin(db, &op, &err);
    if (st == ST_OK) st = lsm_kv_compact(db->kv, &err);
    op_release(&op);
    return api_answer(st, &err, (struct bdoc){0}, NULL, error);
}

static void append_levels(struct bbuild *b, const struct lsm_kv_stat *s) {
    struct bbuild levels = bbuild_open_array(b, SLICE_LIT("levels"));
    for (int i = 0; i < LEVEL_COUNT; i++) {
        const struct lsm_level_stat *l = &s->levels[i];
        struct bbuild row = bbuild_push_doc(&levels);
        bbuild_int64(&row, "level", i);
        bbuild_int64(&row, "segments", (int64_t) l->segments);
        bbuild_int64(&row, "bytes", (int64_t) l->bytes);
        bbuild_int64(&row, "dataBytes", (int64_t) l->data_bytes);
        bbuild_int64(&row, "largeValueBytes", (int64_t) l->large_bytes);
        bbuild_int64(&row, "entries", (int64_t) l->entries);
        bbuild_int64(&row, "tombstones", (int64_t) l->tombstones);
        bbuild_int64(&row, "rangeDeletes", (int64_t) l->range_deletes);
        bbuild_close(&row);
    }
    bbuild_close(&levels);
}

static void append_stat(struct bbuild *b, const struct lsm_kv_stat *s) {
    const struct {
        const char *name;
        uint64_t value;
    } rows[] = {
        {"fileBytes", s->file_len},
        {"usedBytes", s->used_len},
        {"freeBytes", s->free_len},
        {"pendingBytes", s->pending_len},
        {"logBytes", s->log_len},
        {"memtables", s->memtables},
        {"memtableBytes", s->memtable_bytes},
        {"memtableEntries", s->memtable_entries},
        {"sequence", s->sequence},
        {"snapshots", s->snapshots},
        {"oldestSnapshot", s->oldest_snapshot},
        {"cacheBytes", s->cache_bytes},
        {"cacheBytesMax", s->cache_bytes_max},
        {"cacheHits", s->cache_hits},
        {"cacheMisses", s->cache_misses},
        {"commits", s->commits},
        {"syncs", s->syncs},
        {"flushes", s->flushes},
        {"merges", s->merges},
        {"mergedBytes", s->merged_bytes},
        {"moves", s->moves},
        {"drops", s->drops},
        {"stalls", s->stalls},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) bbuild_int64(b, rows[i].name, (int64_t) rows[i].value);
    append_levels(b, s);
}

bool elmo_stat(elmo_t *db, bson_t *reply, bson_error_t *error) {
    struct err err = ERR_INIT;
    struct op op;
    struct buf buf;
    struct bbuild b;
    struct bdoc doc = {0};
    buf_init(&buf, db->mem);
    status st = api_begin(db, &op, &err);
    if (st == ST_OK) {
        struct lsm_kv_stat stat = {0};
        lsm_kv_stat(db->kv, &stat);
        bbuild_begin(&b, &buf);
        append_stat(&b, &stat);
        doc = bbuild_finish(&b);
        if (doc.p == NULL) st = RAISE(&err, ST_NOMEM, "no memory for the statistics");
    }
    bool ok = api_answer(st, &err, doc, reply, error);
    buf_release(&buf);
    op_release(&op);
    return ok;
}
