/* Records of numbered writes; see history.h. */
#include "doc/history.h"

#include <stdlib.h>

#include "bson/check.h"
#include "doc/catalog_entry.h"
#include "doc/db.h"

#define SWEEP_MAX 10000 /* keys removed in one transaction */
#define CHUNK_LEN_MAX                                                                                                  \
    ((size_t) 1024 * 1024) /* of statements: more go into the next chunk, but for a single one that is longer */

void history_init(struct history *h, struct op *op, const struct session_id *id, int64_t number) {
    *h = (struct history){.op = op, .id = id, .number = number};
    buf_init(&h->pending, op->mem);
}

void history_release(struct history *h) { buf_release(&h->pending); }

int32_t history_statement_id(struct history *h, uint32_t i) {
    struct belem e;
    if (h->ids.p == NULL) return (int32_t) ((uint32_t) h->first_id + i);
    if (h->ids_at == 0 || i + 1 < h->ids_at) h->ids_it = biter_of(h->ids), h->ids_at = 0;
    while (h->ids_at <= i) {
        h->ids_last = biter_next(&h->ids_it, &e) && e.value.type == B_INT32 ? bval_int32(e.value) : -1;
        h->ids_at++;
    }
    return h->ids_last;
}

/* --- reading --- */

static status damaged(struct err *err) {
    return RAISE(err, ST_CORRUPT, "the catalog is damaged: bad record of a session");
}

static int64_t int_in(struct bdoc d, const char *name, int64_t missing) {
    struct bval v = bdoc_get_str(d, name);
    return v.type == B_INT32 ? bval_int32(v) : v.type == B_INT64 ? bval_int64(v) : missing;
}

/* Chunk `chunk` of the record, copied into the op's arena. ST_NOT_FOUND. */
static status read_chunk(struct op *op, struct kv_txn *txn, const struct session_id *id, uint32_t chunk,
                         struct bdoc *out, struct err *err) {
    struct kv_value value = KV_VALUE_INIT;
    struct buf *key = &op->scratch.key;
    catalog_key_history(key, id->uuid, id->user, chunk);
    if (key->failed) return RAISE(err, ST_NOMEM, "record of a session");
    TRY(kv_get(txn, buf_slice(key), &value, err));
    status st =
        bson_check(value.bytes.p, value.bytes.len, BSON_CHECK_DEEPER, out, NULL) == ST_OK ? ST_OK : damaged(err);
    if (st == ST_OK) {
        out->p = arena_copy(&op->arena, out->p, out->len);
        if (out->p == NULL) st = RAISE(err, ST_NOMEM, "record of a session");
    }
    kv_value_release(&value);
    return st;
}

static status read_done(struct bdoc d, struct done *out, struct err *err) {
    struct bval more = bdoc_get_str(d, "x");
    *out = (struct done){.id = (int32_t) int_in(d, "i", -1),
                         .count = (int32_t) int_in(d, "c", 1),
                         .inserted = int_in(d, "p", 0),
                         .matched = int_in(d, "m", 0),
                         .modified = int_in(d, "o", 0),
                         .deleted = int_in(d, "d", 0),
                         .upserted = bdoc_get_str(d, "u")};
    if (more.type == B_DOCUMENT) out->more = bval_doc(more);
    return out->count > 0 ? ST_OK : damaged(err);
}

static status add_chunk(struct history *h, struct bdoc record, struct err *err) {
    struct bval list = bdoc_get_str(record, "s");
    if (list.type != B_ARRAY) return damaged(err);
    uint32_t n = bdoc_count(bval_doc(list));
    struct done *all = arena_array(&h->op->arena, struct done, (size_t) h->done_count + n + 1);
    if (all == NULL) return RAISE(err, ST_NOMEM, "record of a session");
    if (h->done_count != 0) memcpy(all, h->done, h->done_count * sizeof(*all));
    struct biter it = biter_of(bval_doc(list));
    struct belem e;
    while (biter_next(&it, &e)) {
        if (e.value.type != B_DOCUMENT) return damaged(err);
        TRY(read_done(bval_doc(e.value), &all[h->done_count++], err));
    }
    h->done = all;
    return ST_OK;
}

static int by_id(const void *a, const void *b) {
    int32_t x = ((const struct done *) a)->id, y = ((const struct done *) b)->id;
    return (x > y) - (x < y);
}

static void sort_done(struct history *h) {
    int64_t reach = INT64_MIN;
    if (h->done_count != 0) qsort(h->done, h->done_count, sizeof(*h->done), by_id);
    for (uint32_t i = 0; i < h->done_count; i++) {
        int64_t end = (int64_t) h->done[i].id + h->done[i].count;
        reach = h->done[i].reach = end > reach ? end : reach;
    }
}

status history_load(struct history *h, struct err *err) {
    struct kv_txn *txn = NULL;
    struct bdoc record;
    TRY(db_begin(h->op->db, true, &txn, err));
    status st;
    while ((st = read_chunk(h->op, txn, h->id, h->chunk, &record, err)) == ST_OK) {
        if (int_in(record, "n", -1) != h->number) break;
        st = add_chunk(h, record, err);
        if (st != ST_OK) break;
        h->chunk++;
    }
    kv_abort(txn);
    if (st == ST_NOT_FOUND) st = ST_OK;
    if (st == ST_OK) sort_done(h);
    return st;
}

status history_last(struct op *op, const struct session_id *id, int64_t *number, bool *was_txn, struct err *err) {
    struct kv_txn *txn = NULL;
    struct bdoc record;
    *number = -1;
    *was_txn = false;
    TRY(db_begin(op->db, true, &txn, err));
    status st = read_chunk(op, txn, id, 0, &record, err);
    kv_abort(txn);
    if (st == ST_NOT_FOUND) return ST_OK;
    TRY(st);
    struct bval kind = bdoc_get_str(record, "k");
    *number = int_in(record, "n", -1);
    *was_txn = kind.type == B_STRING && slice_equal(bval_string(kind), SLICE_LIT("commit"));
    return ST_OK;
}

const struct done *history_find(struct history *h, uint32_t i) {
    if (h->done_count == 0) return NULL;
    int32_t id = history_statement_id(h, i);
    uint32_t lo = 0, hi = h->done_count; /* the first whose id is larger */
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (h->done[mid].id <= id) lo = mid + 1;
        else hi = mid;
    }
    /* Ids that a command gave twice may lie in more than one; as a rule this looks at one. */
    while (lo-- > 0 && h->done[lo].reach > id)
        if ((int64_t) id < (int64_t) h->done[lo].id + h->done[lo].count) return &h->done[lo];
    return NULL;
}

/* --- writing --- */

static void put_count(struct bbuild *b, const char *name, int64_t n) {
    if (n != 0) bbuild_int64(b, name, n);
}

static void flush_last(struct history *h) {
    const struct done *d = &h->last;
    struct bbuild b;
    if (d->count == 0) return;
    /* An element of the array: type, name, document. Names of elements are counted later, when all are known. */
    bbuild_begin(&b, &h->pending);
    bbuild_int32(&b, "i", d->id);
    if (d->count > 1) bbuild_int32(&b, "c", d->count);
    put_count(&b, "p", d->inserted);
    put_count(&b, "m", d->matched);
    put_count(&b, "o", d->modified);
    put_count(&b, "d", d->deleted);
    bbuild_value(&b, SLICE_LIT("u"), d->upserted);
    if (d->more.p != NULL) bbuild_doc(&b, "x", d->more);
    (void) bbuild_finish(&b);
    h->pending_count++;
    h->last = (struct done){0};
}

static bool is_same(const struct done *a, const struct done *b) {
    return a->inserted == b->inserted && a->matched == b->matched && a->modified == b->modified &&
        a->deleted == b->deleted && a->upserted.type == B_MISSING && b->upserted.type == B_MISSING &&
        a->more.p == NULL && b->more.p == NULL;
}

status history_note(struct history *h, uint32_t i, const struct done *did, struct err *err) {
    struct done d = *did;
    d.id = history_statement_id(h, i);
    d.count = 1;
    if (h->last.count != 0 && is_same(&h->last, &d) && d.id == h->last.id + h->last.count) {
        h->last.count++;
        return ST_OK;
    }
    flush_last(h);
    h->last = d;
    if (d.upserted.type != B_MISSING || d.more.p != NULL) flush_last(h);
    return h->pending.failed ? RAISE(err, ST_NOMEM, "record of a session") : ST_OK;
}

void history_forget(struct history *h) {
    buf_clear(&h->pending);
    h->pending_count = 0;
    h->last = (struct done){0};
}

static void begin_record(struct op *op, struct bbuild *b, int64_t number, const char *kind) {
    struct env *env = db_env(op->db);
    buf_clear(&op->scratch.value);
    bbuild_begin(b, &op->scratch.value);
    bbuild_int64(b, "n", number);
    bbuild_date(b, "t", (int64_t) env->ops->now_ms(env));
    bbuild_str(b, "k", kind);
}

static status put_record(struct op *op, struct kv_txn *txn, const struct session_id *id, uint32_t chunk,
                         struct bbuild *b, struct err *err) {
    (void) bbuild_finish(b);
    catalog_key_history(&op->scratch.key, id->uuid, id->user, chunk);
    if (op->scratch.key.failed || op->scratch.value.failed) return RAISE(err, ST_NOMEM, "record of a session");
    return kv_put(txn, buf_slice(&op->scratch.key), buf_slice(&op->scratch.value), err);
}

status history_put(struct history *h, struct kv_txn *txn, struct err *err) {
    flush_last(h);
    h->chunk_count = 0;
    if (h->pending.failed) return RAISE(err, ST_NOMEM, "record of a session");
    for (size_t at = 0; at < h->pending.len;) {
        struct bbuild b;
        begin_record(h->op, &b, h->number, "write");
        struct bbuild list = bbuild_open_array(&b, SLICE_LIT("s"));
        for (size_t start = at; at < h->pending.len;) {
            struct bdoc d = bdoc_of(h->pending.p + at);
            if (at != start && at + d.len - start > CHUNK_LEN_MAX) break;
            bbuild_push(&list, (struct bval){d.p, d.len, B_DOCUMENT});
            at += d.len;
        }
        bbuild_close(&list);
        TRY(put_record(h->op, txn, h->id, h->chunk + h->chunk_count, &b, err));
        h->chunk_count++;
    }
    return ST_OK;
}

void history_committed(struct history *h) {
    h->chunk += h->chunk_count;
    h->chunk_count = 0;
}

status history_put_commit(struct op *op, struct kv_txn *txn, const struct session_id *id, int64_t number,
                          struct err *err) {
    struct bbuild b;
    begin_record(op, &b, number, "commit");
    struct bbuild list = bbuild_open_array(&b, SLICE_LIT("s"));
    bbuild_close(&list);
    return put_record(op, txn, id, 0, &b, err);
}

/* --- upkeep --- */

/* Whose record it is. False: not a key of a record. */
static bool parse_key(struct slice key, struct session_id *out) {
    size_t at = CATALOG_HISTORY_PREFIX_LEN;
    if (key.len < at + 16 + 2 + 4) return false;
    memcpy(out->uuid, key.p + at, 16);
    size_t user_len = get_be16(key.p + at + 16);
    out->user = slice_of(key.p + at + 18, user_len);
    return key.len == at + 18 + user_len + 4;
}

static bool is_expired(struct sessions *ss, struct slice key, struct slice value, uint64_t now_ms) {
    struct session_id id;
    struct bdoc record;
    if (!parse_key(key, &id) || bson_check(value.p, value.len, BSON_CHECK_DEEPER, &record, NULL) != ST_OK) return false;
    struct bval t = bdoc_get_str(record, "t");
    if (t.type != B_DATE || (uint64_t) bval_int64(t) + SESSION_IDLE_MS > now_ms) return false;
    return !sessions_has(ss, &id);
}

static status sweep(struct op *op, struct sessions *ss, struct kv_txn *txn, struct kv_cursor *cursor, uint32_t *removed,
                    struct err *err) {
    struct env *env = db_env(op->db);
    uint64_t now_ms = env->ops->now_ms(env);
    struct slice value;
    status st = kv_first(cursor, err);
    for (; st == ST_OK && *removed < SWEEP_MAX; st = kv_next(cursor, err)) {
        TRY(op_check(op, err));
        TRY(kv_cursor_value(cursor, &value, err));
        if (!is_expired(ss, kv_cursor_key(cursor), value, now_ms)) continue;
        buf_clear(&op->scratch.key);
        if (!buf_append_slice(&op->scratch.key, kv_cursor_key(cursor)))
            return RAISE(err, ST_NOMEM, "records of sessions");
        TRY(kv_delete(txn, buf_slice(&op->scratch.key), err));
        ++*removed;
    }
    return st == ST_END ? ST_OK : st;
}

status history_sweep(struct op *op, struct sessions *ss, struct err *err) {
    struct kv_txn *txn = NULL;
    struct kv_cursor *cursor = NULL;
    struct buf lo, hi;
    uint32_t removed = 0;
    status st = ST_OK;
    buf_init(&lo, op->mem);
    buf_init(&hi, op->mem);
    catalog_key_histories(&lo, false);
    catalog_key_histories(&hi, true);
    if (lo.failed || hi.failed) TRY_OUT(RAISE(err, ST_NOMEM, "records of sessions"));
    TRY_OUT(db_begin(op->db, false, &txn, err));
    struct kv_bounds bounds = {buf_slice(&lo), buf_slice(&hi)};
    TRY_OUT(kv_cursor_open(txn, &bounds, &cursor, err));
    st = sweep(op, ss, txn, cursor, &removed, err);
    kv_cursor_close(cursor);
    if (st == ST_OK && removed != 0) {
        st = kv_commit(txn, KV_SYNC_LATER, err);
        txn = NULL;
    }
out:
    kv_abort(txn);
    buf_release(&hi);
    buf_release(&lo);
    return st;
}
