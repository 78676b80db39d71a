/* Creating and dropping collections, and the frame of every change of the catalog: see ddl.h. */
#include "doc/ddl.h"

#include <strings.h>

#include "base/codes.h"
#include "base/varint.h"
#include "bson/compare.h"
#include "doc/db_state.h"
#include "index/key.h"

/* --- the catalog word (db_state.h W1) --- */

struct ddl_hook {
    struct kv_hook base;
    struct db *db;
};

static void ddl_ended(struct kv_hook *hook) {
    struct ddl_hook *h = (struct ddl_hook *) hook;
    atomic_fetch_add(&h->db->catalog_word, CATALOG_WORD_ONE - 1);
    mem_delete(h->db->mem, h);
}

status ddl_note(struct op *op, struct kv_txn *txn, struct err *err) {
    for (struct kv_hook *h = txn->hooks; h != NULL; h = h->next)
        if (h->ended == ddl_ended) return ST_OK;
    struct ddl_hook *h = mem_new(op->db->mem, struct ddl_hook);
    if (h == NULL) return RAISE(err, ST_NOMEM, "change of the catalog");
    h->db = op->db;
    h->base = (struct kv_hook){.ended = ddl_ended, .next = txn->hooks};
    txn->hooks = &h->base;
    txn->tag = 0;
    atomic_fetch_add(&op->db->catalog_word, 1);
    return ST_OK;
}

/* --- a change of its own --- */

static status lock_exclusive(struct op *op, struct kv_txn *txn, struct ns ns, struct err *err) {
    catalog_key_entry(&op->scratch.key, ns);
    if (op->scratch.key.failed) return RAISE(err, ST_NOMEM, "change of the catalog");
    return kv_lock_exclusive(txn, buf_slice(&op->scratch.key), op_wait_ms(op, LOCK_DRAIN_MS), err);
}

void ddl_abort(struct ddl *d) {
    collection_unref(d->c);
    kv_abort(d->txn);
    kv_abort(d->gate);
    *d = (struct ddl){0};
}

status ddl_gate(struct op *op, const struct ns *names, uint32_t count, struct kv_txn **gate, struct err *err) {
    status st = ST_STALE;
    *gate = NULL;
    for (int i = 0; st == ST_STALE && i < DDL_RETRIES_MAX; i++) {
        kv_abort(*gate);
        *gate = NULL;
        TRY(op_check(op, err));
        TRY(kv_begin(op->db->kv, false, gate, err));
        st = ST_OK;
        for (uint32_t k = 0; k < count && st == ST_OK; k++) st = lock_exclusive(op, *gate, names[k], err);
    }
    if (st == ST_OK) return ST_OK;
    kv_abort(*gate);
    *gate = NULL;
    return st;
}

status ddl_begin(struct op *op, struct ns ns, bool may_miss, struct ddl *out, struct err *err) {
    status st = ST_OK;
    struct ddl d = {0};
    TRY_OUT(ddl_gate(op, &ns, 1, &d.gate, err));
    TRY_OUT(db_begin(op->db, false, &d.txn, err));
    st = catalog_find(op, d.txn, ns, &d.c, err);
    if (st == ST_NOT_FOUND && may_miss) st = ST_OK;
    if (st != ST_OK) goto out;
    *out = d;
    return ST_OK;
out:
    ddl_abort(&d);
    return st;
}

status ddl_commit(struct ddl *d, struct err *err) {
    status st = kv_commit(d->txn, KV_SYNC, err);
    d->txn = NULL;
    ddl_abort(d);
    return st;
}

/* --- entries --- */

status entry_put(struct op *op, struct kv_txn *txn, struct ns ns, const struct entry_edit *e, struct err *err) {
    TRY(ddl_note(op, txn, err));
    struct buf *key = &op->scratch.key, *value = &op->scratch.value;
    catalog_key_entry(key, ns);
    entry_write(e, value);
    if (key->failed || value->failed) return RAISE(err, ST_NOMEM, "collection");
    return kv_put(txn, buf_slice(key), buf_slice(value), err);
}

status entry_init_new(struct op *op, struct bdoc options, uint8_t uuid[16], struct entry_edit *out, struct err *err) {
    struct db *db = op->db;
    uint64_t id;
    catalog_key_collection_ids(&op->scratch.key);
    if (op->scratch.key.failed) return RAISE(err, ST_NOMEM, "collection");
    TRY(kv_sequence(db->kv, buf_slice(&op->scratch.key), 1, &id, err));
    db->env->ops->random(db->env, uuid, 16);
    uuid[6] = (uint8_t) ((uuid[6] & 0x0f) | 0x40); /* RFC 4122, version 4 */
    uuid[8] = (uint8_t) ((uuid[8] & 0x3f) | 0x80);
    *out = (struct entry_edit){
        .id = id, .version = 1, .next_index_id = 1, .uuid = uuid, .options = options.p != NULL ? options : bdoc_empty};
    return ST_OK;
}

/* The next database at or after the cursor's place: ST_END at the end. */
static status next_database(struct kv_cursor *cursor, struct buf *key, struct ns *ns, struct err *err) {
    catalog_key_database(key, ns->db, true);
    if (key->failed) return RAISE(err, ST_NOMEM, "collection");
    TRY(ns->db.len == 0 ? kv_first(cursor, err) : kv_seek_ge(cursor, buf_slice(key), err));
    return catalog_key_parse(kv_cursor_key(cursor), ns) ? ST_OK
                                                        : RAISE(err, ST_CORRUPT, "the catalog is damaged: bad key");
}

static bool differs_in_case(struct slice a, struct slice b) {
    return a.len == b.len && !slice_equal(a, b) && strncasecmp((const char *) a.p, (const char *) b.p, a.len) == 0;
}

/* Goes from database to database. Two first collections made at the same moment may pass side by side: their names stay apart in keys, so the rule is for people
 * and for files that are taken to MongoDB. */
status database_check_case(struct op *op, struct kv_txn *txn, struct slice db, struct err *err) {
    status st = ST_OK;
    struct kv_cursor *cursor = NULL;
    struct ns ns = {0};
    struct buf lo, hi;
    buf_init(&lo, op->mem);
    buf_init(&hi, op->mem);
    catalog_key_database(&lo, SLICE_NONE, false);
    catalog_key_database(&hi, SLICE_NONE, true);
    if (lo.failed || hi.failed) TRY_OUT(RAISE(err, ST_NOMEM, "collection"));
    struct kv_bounds bounds = {buf_slice(&lo), buf_slice(&hi)};
    (void) kv_next_statement(txn); /* what this transaction has created counts, too */
    TRY_OUT(kv_cursor_open(txn, &bounds, &cursor, err));
    for (;;) {
        st = next_database(cursor, &op->scratch.key, &ns, err);
        if (st != ST_OK || slice_equal(ns.db, db)) break;
        if (differs_in_case(ns.db, db))
            TRY_OUT(RAISE_CODE(err, CODE_DatabaseDifferCase,
                               "db already exists with different case already have: [%.*s] trying to create [%.*s]",
                               (int) ns.db.len, (const char *) ns.db.p, (int) db.len, (const char *) db.p));
    }
    if (st == ST_END) st = ST_OK;
out:
    kv_cursor_close(cursor);
    buf_release(&hi);
    buf_release(&lo);
    return st;
}

static status check_options(const struct collection *c, struct bdoc options, struct err *err) {
    if (bdoc_compare(c->options, options.p != NULL ? options : bdoc_empty) == 0) return ST_OK;
    return RAISE_CODE(err, CODE_NamespaceExists, "namespace %s.%s already exists, but with different options",
                      (const char *) c->ns.db.p, (const char *) c->ns.coll.p);
}

status catalog_create(struct op *op, struct kv_txn *txn, struct ns ns, struct bdoc options, struct collection **out,
                      struct err *err) {
    struct collection *c = NULL;
    /* Its keepers make admin.system.users; whoever writes where he is told to has been refused before he came here. */
    bool is_users = slice_equal(ns.db, SLICE_LIT("admin")) && slice_equal(ns.coll, SLICE_LIT("system.users"));
    TRY(ns_check(ns, !is_users, err));
    status st = catalog_find(op, txn, ns, &c, err);
    if (st == ST_NOT_FOUND) {
        struct entry_edit e;
        uint8_t uuid[16];
        struct kv_mark mark = kv_mark(txn);
        TRY(database_check_case(op, txn, ns.db, err));
        TRY(lock_exclusive(op, txn, ns, err));
        TRY(entry_init_new(op, options, uuid, &e, err));
        TRY(entry_put(op, txn, ns, &e, err));
        st = out != NULL ? catalog_find(op, txn, ns, &c, err) : ST_OK;
        if (st != ST_OK) kv_rollback_to(txn, mark);
    } else if (st == ST_OK) {
        st = check_options(c, options, err);
    }
    if (st != ST_OK || out == NULL) collection_unref(c);
    else *out = c;
    return st;
}

/* --- dropping --- */

static status prefix_delete(struct kv_txn *txn, struct buf *lo, struct buf *hi, struct err *err) {
    buf_clear(hi);
    buf_append_slice(hi, buf_slice(lo));
    key_successor(hi);
    if (lo->failed || hi->failed) return RAISE(err, ST_NOMEM, "deleting a range");
    return kv_delete_range(txn, buf_slice(lo), buf_slice(hi), err);
}

status index_range_delete(struct op *op, struct kv_txn *txn, uint64_t collection_id, uint64_t index_id,
                          struct err *err) {
    struct buf *lo = &op->scratch.key;
    buf_clear(lo);
    key_append_prefix(lo, collection_id, index_id);
    return prefix_delete(txn, lo, &op->scratch.value, err);
}

status index_flags_delete(struct op *op, struct kv_txn *txn, uint64_t collection_id, uint64_t index_id,
                          struct err *err) {
    catalog_key_multikey(&op->scratch.key, collection_id, index_id);
    return prefix_delete(txn, &op->scratch.key, &op->scratch.value, err);
}

/* The keys of all indexes of a collection, documents included, are one range. */
static status delete_data(struct op *op, struct kv_txn *txn, const struct collection *c, struct err *err) {
    uint8_t room[ORDERED_LEN_MAX];
    struct buf *lo = &op->scratch.key;
    buf_clear(lo);
    buf_append(lo, room, ordered_put(room, c->id));
    TRY(prefix_delete(txn, lo, &op->scratch.value, err));
    catalog_key_multikeys(lo, c->id);
    TRY(prefix_delete(txn, lo, &op->scratch.value, err));
    TRY(kv_delete(txn, c->count_key, err));
    return kv_delete(txn, c->bytes_key, err);
}

status collection_delete(struct op *op, struct kv_txn *txn, const struct collection *c, struct err *err) {
    struct kv_mark mark = kv_mark(txn);
    TRY(ddl_note(op, txn, err));
    status st = kv_delete(txn, c->catalog_key, err);
    if (st == ST_OK) st = delete_data(op, txn, c, err);
    if (st != ST_OK) kv_rollback_to(txn, mark);
    return st;
}

status catalog_drop(struct op *op, struct kv_txn *txn, struct ns ns, struct err *err) {
    struct collection *c = NULL;
    TRY(catalog_find(op, txn, ns, &c, err));
    status st = lock_exclusive(op, txn, ns, err);
    if (st == ST_OK) st = collection_delete(op, txn, c, err);
    collection_unref(c);
    return st;
}

status catalog_drop_now(struct op *op, struct ns ns, struct err *err) {
    struct ddl d;
    if (op->session_txn != NULL)
        return RAISE_CODE(err, CODE_OperationNotSupportedInTransaction, "Cannot drop a collection in a transaction");
    TRY(ddl_begin(op, ns, false, &d, err));
    status st = collection_delete(op, d.txn, d.c, err);
    if (st == ST_OK) return ddl_commit(&d, err);
    ddl_abort(&d);
    return st;
}
