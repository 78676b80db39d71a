/* Building indexes on existing data beside writers.
 *
 *   registered   catalog_create_indexes (index_ddl.c) commits the entry with the indexes "building" while it holds every writer off, and takes the
 *                build's snapshot before it lets them go: documents written before are in the snapshot and have no entries,
 *                documents written after are not and have theirs from their writers.
 *   scanned      scan_documents: keys of all documents of the snapshot, for all indexes of the build in one pass, into one sort (text
 *                indexes: into their own builders, which load by themselves)
 *   loaded       load_entries: in key order by kv_bulk, as of the snapshot, so below whatever writers wrote or deleted since
 *   published    publish: holds writers off again, settles unique keys (below), sets "ready", deletes the build's ranges
 *   failed       discard: holds writers off, takes the indexes out of the entry and deletes all that is theirs
 *
 * A crash in any state leaves "building" indexes in the entry, or nothing; index_builds_sweep discards them at the next opening.
 *
 * UNIQUE  Two documents of the snapshot with one key meet in the sort. A writer that adds a key is refused when it sees another's entry, but the
 *   loaded entry may lie below its own, unseen. So writers note the keys they add (write.c), and publish looks at each: is there a loaded entry (read through
 *   the snapshot) of a document that still has the key? Then that document and the entry's owner of now are duplicates; when there is no entry now (its
 *   owner has been deleted again), the document gets its entry back. */
#include "doc/index_build.h"

#include "base/codes.h"
#include "base/varint.h"
#include "doc/db_state.h"
#include "doc/duplicate.h"
#include "doc/entry.h"
#include "doc/multikey.h"
#include "doc/sort.h"
#include "doc/text_of.h"
#include "doc/write.h"
#include "index/key.h"
#include "index/keygen.h"

#define CHECK_EVERY 128 /* documents, entries between looks at deadline and cancel flag */

/* --- which builds run --- */

static void enter_build(struct db *db, struct active_build *a) {
    mutex_lock(&db->lock);
    a->next = db->builds;
    db->builds = a;
    mutex_unlock(&db->lock);
}

static void leave_build(struct db *db, struct active_build *a) {
    mutex_lock(&db->lock);
    struct active_build **p = &db->builds;
    while (*p != a) p = &(*p)->next;
    *p = a->next;
    mutex_unlock(&db->lock);
}

bool index_build_is_active(struct db *db, uint64_t collection_id, uint64_t index_id) {
    bool is_active = false;
    mutex_lock(&db->lock);
    for (const struct active_build *a = db->builds; a != NULL; a = a->next)
        is_active |= a->collection_id == collection_id && a->first_index_id <= index_id && index_id < a->index_end;
    mutex_unlock(&db->lock);
    return is_active;
}

/* --- scanning --- */

struct build {
    struct op *op;
    const struct index_build *b;
    struct collection *c; /* with the indexes "building" */
    struct entry_sort *sort;
    struct text_builder
        *texts[COLLECTION_INDEXES_MAX]; /* by the index's place in c; NULL: no text index of this build */
    struct text_index text_indexes[COLLECTION_INDEXES_MAX];
    struct buf side; /* the _id's side bits, then an entry's */
    struct index_build_progress done;
};

static bool is_ours(const struct index_build *b, uint64_t index_id) {
    return b->first_id <= index_id && index_id < b->end_id;
}

static void report(struct build *w) {
    if (w->b->progress != NULL) w->b->progress(w->b->ctx, w->done);
}

/* Raises flags in memory; publish writes them. Before the document's entries can be seen. */
static void raise_flags(struct index *ix, const uint64_t bits[INDEX_FIELDS_MAX]) {
    for (uint32_t f = 0; f < ix->spec.field_count; f++)
        if (bits[f] != 0) atomic_fetch_or(&ix->multikey[f], bits[f]);
}

static status add_keys(struct build *w, struct index *ix, struct bdoc doc, struct slice locator, struct err *err) {
    struct key_set *set = arena_alloc(&w->op->scratch.arena, sizeof(*set));
    if (set == NULL) return RAISE(err, ST_NOMEM, "building an index");
    TRY(keygen(&ix->spec, doc, &w->op->scratch.arena, set, err));
    raise_flags(ix, set->multikey);
    size_t id_side_len = w->side.len;
    for (uint32_t i = 0; i < set->count; i++) {
        /* side bits of fields, then the _id's: the latter stand at the buffer's start */
        w->side.len = id_side_len;
        if (!buf_reserve(&w->side, set->keys[i].side.len + id_side_len))
            return RAISE(err, ST_NOMEM, "building an index");
        buf_append_slice(&w->side, set->keys[i].side);
        buf_append(&w->side, w->side.p, id_side_len);
        TRY(entry_sort_add(w->sort, ix->prefix, set->keys[i].key, locator,
                           slice_of(w->side.p + id_side_len, w->side.len - id_side_len), err));
    }
    w->side.len = id_side_len;
    return ST_OK;
}

static status add_document(struct build *w, struct bdoc doc, struct slice locator, struct err *err) {
    arena_reset(&w->op->scratch.arena);
    buf_clear(&w->side);
    key_append_side(&w->side, bdoc_get(doc, SLICE_LIT("_id")));
    if (w->side.failed) return RAISE(err, ST_NOMEM, "building an index");
    for (uint32_t i = 0; i < w->c->index_count; i++) {
        struct index *ix = &w->c->indexes[i];
        if (!is_ours(w->b, ix->id)) continue;
        if (w->texts[i] != NULL) TRY(text_builder_add(w->texts[i], locator, doc, err));
        else TRY(add_keys(w, ix, doc, locator, err));
    }
    return ST_OK;
}

static status scan_documents(struct build *w, struct err *err) {
    struct bdoc doc;
    struct record_scan *scan = NULL;
    struct collection_stat stat;
    TRY(collection_stat(w->op, w->b->snapshot, w->c, &stat, err));
    w->done.total = stat.documents > 0 ? (uint64_t) stat.documents : 0;
    TRY(record_scan_open(w->op, w->b->snapshot, w->c, SLICE_NONE, SLICE_NONE, false, &scan, err));
    status st = ST_OK;
    while (st == ST_OK) {
        if (w->done.done % CHECK_EVERY == 0) {
            report(w);
            TRY_OUT(op_check(w->op, err));
        }
        st = record_scan_next(scan, &doc, err);
        if (st == ST_OK) st = add_document(w, doc, record_scan_locator(scan), err);
        w->done.done++;
    }
    if (st == ST_END) st = entry_sort_finish(w->sort, err);
out:
    record_scan_close(scan);
    return st;
}

/* --- loading --- */

static status duplicate_at(struct build *w, const struct index *ix, struct slice fields, struct slice side,
                           struct err *err) {
    return duplicate_key(w->op, w->c, ix, (struct index_key){fields, side}, err);
}

/* One entry in key order; `last` holds the unique key loaded before it. */
static status load_entry(struct build *w, struct kv_bulk *bulk, const struct index *ix, const struct sort_entry *e,
                         struct buf *last, struct err *err) {
    if (!ix->spec.is_unique) return kv_bulk_put(bulk, e->key, e->value, err);
    struct slice key = slice_of(e->key.p, e->key.len - e->tail), locator = slice_of(e->key.p + key.len, e->tail);
    if (slice_equal(key, buf_slice(last)))
        return duplicate_at(w, ix, slice_of(key.p + ix->prefix.len, key.len - ix->prefix.len), e->value, err);
    struct buf *value = &w->op->scratch.value;
    buf_clear(value);
    index_entry_value(value, true, locator, e->value, SLICE_NONE);
    buf_clear(last);
    if (!buf_append_slice(last, key) || value->failed) return RAISE(err, ST_NOMEM, "building an index");
    return kv_bulk_put(bulk, key, buf_slice(value), err);
}

static status load_all(struct build *w, struct kv_bulk *bulk, struct buf *last, struct err *err) {
    struct sort_entry e;
    uint32_t at = 0;
    for (uint64_t n = 0;; n++) {
        if (n % CHECK_EVERY == 0) TRY(op_check(w->op, err));
        TRY(entry_sort_next(w->sort, &e, err));
        while (at < w->c->index_count && !slice_starts_with(e.key, w->c->indexes[at].prefix)) at++;
        if (at == w->c->index_count || e.key.len < w->c->indexes[at].prefix.len + e.tail)
            return RAISE(err, ST_CORRUPT, "a run of an index build is damaged");
        TRY(load_entry(w, bulk, &w->c->indexes[at], &e, last, err));
    }
}

static status load_entries(struct build *w, struct err *err) {
    struct kv_bulk *bulk = NULL;
    struct buf last;
    if (entry_sort_count(w->sort) == 0) return ST_OK;
    TRY(kv_bulk_begin(w->b->snapshot, &bulk, err));
    buf_init(&last, w->op->mem);
    status st = load_all(w, bulk, &last, err);
    buf_release(&last);
    if (st == ST_END) return kv_bulk_commit(bulk, err);
    kv_bulk_abort(bulk);
    return st;
}

/* Starts the build's text indexes; they share the memory with the sort. */
static status begin_texts(struct build *w, size_t memory_max, struct err *err) {
    for (uint32_t i = 0; i < w->c->index_count; i++) {
        const struct index *ix = &w->c->indexes[i];
        if (!is_ours(w->b, ix->id) || ix->spec.kind != INDEX_TEXT) continue;
        w->text_indexes[i] = text_of(w->op, w->c, ix);
        TRY(text_builder_new(&w->text_indexes[i], w->b->snapshot, w->op->mem, memory_max, &w->texts[i], err));
    }
    return ST_OK;
}

static status finish_texts(struct build *w, struct err *err) {
    for (uint32_t i = 0; i < w->c->index_count; i++) {
        struct text_builder *text = w->texts[i];
        w->texts[i] = NULL;
        if (text != NULL) TRY(text_builder_finish(text, err));
    }
    return ST_OK;
}

static void abort_texts(struct build *w) {
    for (uint32_t i = 0; i < w->c->index_count; i++)
        if (w->texts[i] != NULL) text_builder_abort(w->texts[i]);
}

static status build_entries(struct op *op, const struct index_build *b, struct collection *c, struct err *err) {
    struct build w = {.op = op, .b = b, .c = c};
    uint8_t room[2 * ORDERED_LEN_MAX];
    size_t n = ordered_put(room, c->id);
    n += ordered_put(room + n, b->end_id - 1); /* the sort's range is the last of the build's ids */
    uint32_t parts = 1;
    for (uint32_t i = 0; i < c->index_count; i++)
        parts += is_ours(b, c->indexes[i].id) && c->indexes[i].spec.kind == INDEX_TEXT;
    TRY(entry_sort_new(op->mem, op->memory_max / parts, b->snapshot, slice_of(room, n), &w.sort, err));
    buf_init(&w.side, op->mem);
    status st = begin_texts(&w, op->memory_max / parts, err);
    if (st == ST_OK) st = scan_documents(&w, err);
    if (st == ST_OK) st = finish_texts(&w, err);
    if (st == ST_OK) st = load_entries(&w, err);
    report(&w);
    abort_texts(&w);
    buf_release(&w.side);
    entry_sort_free(w.sort);
    return st;
}

/* --- publishing --- */

/* Does the document that was loaded under this key still have it? *key then says with which side bits. */
static status still_has_key(struct op *op, struct ddl *d, const struct index *ix, struct slice locator,
                            struct slice fields, struct index_key *key, struct slice *id_side, struct err *err) {
    struct kv_value value = KV_VALUE_INIT;
    struct key_set set;
    status st = record_get_at(d->txn, d->c, locator, &op->scratch.key, &value, err);
    if (st != ST_OK) return st;
    arena_reset(&op->scratch.arena);
    struct bdoc doc = {value.bytes.p, (uint32_t) value.bytes.len};
    buf_clear(&op->scratch.side);
    key_append_side(&op->scratch.side, bdoc_get(doc, SLICE_LIT("_id")));
    *id_side = buf_slice(&op->scratch.side);
    st = op->scratch.side.failed ? RAISE(err, ST_NOMEM, "building an index")
                                 : keygen(&ix->spec, doc, &op->scratch.arena, &set, err);
    kv_value_release(&value);
    if (st != ST_OK) return st;
    for (uint32_t i = 0; i < set.count; i++) {
        if (!slice_equal(set.keys[i].key, fields)) continue;
        *key = set.keys[i];
        return ST_OK;
    }
    return ST_NOT_FOUND;
}

/* The owner of the loaded entry is known to have the key: so must the entry of now be its own. */
static status settle_owner(struct op *op, struct ddl *d, const struct index *ix, struct slice key, struct slice locator,
                           struct index_key k, struct slice id_side, struct err *err) {
    struct index_entry e;
    struct kv_value now = KV_VALUE_INIT;
    status st = kv_get(d->txn, key, &now, err);
    if (st == ST_OK) {
        st = index_entry_split(ix, key, now.bytes, &e, err);
        if (st == ST_OK && !slice_equal(e.locator, locator)) st = duplicate_key(op, d->c, ix, k, err);
    } else if (st == ST_NOT_FOUND) {
        buf_clear(&op->scratch.value);
        index_entry_value(&op->scratch.value, true, locator, k.side, id_side);
        st = op->scratch.value.failed ? RAISE(err, ST_NOMEM, "building an index")
                                      : kv_put(d->txn, key, buf_slice(&op->scratch.value), err);
    }
    kv_value_release(&now);
    return st;
}

/* A key that a writer noted. */
static status settle_key(struct op *op, const struct index_build *b, struct ddl *d, const struct index *ix,
                         struct slice fields, struct buf *key, struct err *err) {
    struct kv_value loaded = KV_VALUE_INIT;
    struct index_entry e;
    struct index_key k;
    struct slice id_side;
    buf_clear(key);
    index_entry_key(key, ix->prefix, true, fields, SLICE_NONE);
    if (key->failed) return RAISE(err, ST_NOMEM, "building an index");
    status st = kv_get(b->snapshot, buf_slice(key), &loaded, err);
    if (st == ST_OK) st = index_entry_split(ix, buf_slice(key), loaded.bytes, &e, err);
    if (st == ST_OK) st = still_has_key(op, d, ix, e.locator, fields, &k, &id_side, err);
    if (st == ST_OK) st = settle_owner(op, d, ix, buf_slice(key), e.locator, k, id_side, err);
    kv_value_release(&loaded);
    return st == ST_NOT_FOUND ? ST_OK : st;
}

static status settle_keys(struct op *op, const struct index_build *b, struct ddl *d, const struct index *ix,
                          struct err *err) {
    struct kv_cursor *log = NULL;
    struct buf key, hi;
    status st = ST_OK;
    buf_init(&key, op->mem);
    buf_init(&hi, op->mem);
    buf_append_slice(&hi, ix->log_prefix);
    key_successor(&hi);
    if (hi.failed) TRY_OUT(RAISE(err, ST_NOMEM, "building an index"));
    struct kv_bounds bounds = {ix->log_prefix, buf_slice(&hi)};
    TRY_OUT(kv_cursor_open(d->txn, &bounds, &log, err));
    for (st = kv_first(log, err); st == ST_OK; st = kv_next(log, err)) {
        struct slice noted = kv_cursor_key(log);
        TRY_OUT(settle_key(op, b, d, ix, slice_of(noted.p + ix->log_prefix.len, noted.len - ix->log_prefix.len), &key,
                           err));
    }
    if (st == ST_END) st = ST_OK;
out:
    kv_cursor_close(log);
    buf_release(&hi);
    buf_release(&key);
    return st;
}

static status publish_index(struct op *op, const struct index_build *b, struct ddl *d, const struct index *ix,
                            struct entry_index *e, struct err *err) {
    uint64_t bits[INDEX_FIELDS_MAX];
    if (ix->log_id != 0) {
        TRY(settle_keys(op, b, d, ix, err));
        TRY(index_range_delete(op, d->txn, d->c->id, ix->log_id, err));
    }
    TRY(index_range_delete(op, d->txn, d->c->id, ix->sort_id, err));
    for (uint32_t f = 0; f < ix->spec.field_count; f++) bits[f] = index_multikey(ix, f);
    e->state = INDEX_READY;
    return multikey_raise(op, d->txn, d->c, ix, bits, err);
}

static status publish_in(struct op *op, const struct index_build *b, struct ddl *d, struct collection *built,
                         struct err *err) {
    struct entry_edit e;
    uint32_t published = 0, wanted = 0;
    for (uint32_t i = 0; i < built->index_count; i++) wanted += is_ours(b, built->indexes[i].id);
    if (d->c->id == b->collection_id) {
        entry_edit_init(&e, d->c);
        for (uint32_t i = 0; i < d->c->index_count; i++) {
            if (!is_ours(b, d->c->indexes[i].id)) continue;
            TRY(publish_index(op, b, d, &d->c->indexes[i], &e.indexes[i], err));
            published++;
        }
    }
    if (published != wanted)
        return RAISE_CODE(err, CODE_IndexBuildAborted,
                          "Index build aborted: the collection or an index of the build has been dropped");
    return entry_put(op, d->txn, b->ns, &e, err);
}

static status publish(struct op *op, const struct index_build *b, struct collection *built, struct err *err) {
    struct ddl d;
    status st = ddl_begin(op, b->ns, false, &d, err);
    if (st == ST_NOT_FOUND)
        return RAISE_CODE(err, CODE_IndexBuildAborted, "Index build aborted: the collection has been dropped");
    if (st != ST_OK) return st;
    st = publish_in(op, b, &d, built, err);
    if (st == ST_OK) return ddl_commit(&d, err);
    ddl_abort(&d);
    return st;
}

/* --- discarding --- */

status entry_index_remove(struct op *op, struct kv_txn *txn, struct entry_edit *e, uint32_t at, struct err *err) {
    struct entry_index gone = e->indexes[at];
    TRY(ddl_note(op, txn, err));
    TRY(index_range_delete(op, txn, e->id, gone.id, err));
    if (gone.sort_id != 0) TRY(index_range_delete(op, txn, e->id, gone.sort_id, err));
    if (gone.log_id != 0) TRY(index_range_delete(op, txn, e->id, gone.log_id, err));
    TRY(index_flags_delete(op, txn, e->id, gone.id, err));
    memmove(&e->indexes[at], &e->indexes[at + 1], (e->index_count - at - 1) * sizeof(gone));
    e->index_count--;
    return ST_OK;
}

/* Removes the "building" indexes whose ids are in [first, end). */
static status discard(struct op *op, struct ns ns, uint64_t collection_id, uint64_t first, uint64_t end,
                      struct err *err) {
    struct ddl d;
    struct entry_edit e;
    bool is_changed = false;
    status st = ddl_begin(op, ns, false, &d, err);
    if (st == ST_NOT_FOUND) return ST_OK;
    if (st != ST_OK) return st;
    entry_edit_init(&e, d.c);
    for (uint32_t i = e.index_count; st == ST_OK && i-- > 0;) {
        if (d.c->id != collection_id || e.indexes[i].state != INDEX_BUILDING || e.indexes[i].id < first ||
            e.indexes[i].id >= end)
            continue;
        st = entry_index_remove(op, d.txn, &e, i, err);
        is_changed = true;
    }
    if (st == ST_OK && is_changed) st = entry_put(op, d.txn, ns, &e, err);
    if (st == ST_OK && is_changed) return ddl_commit(&d, err);
    ddl_abort(&d);
    return st;
}

/* After a failure, whatever limit the op has met. What cannot be removed now is removed at the next opening, or by the next build of that name. */
static void discard_failed(struct op *op, const struct index_build *b) {
    uint64_t deadline_ns = op->deadline_ns;
    const atomic_bool *cancelled = op->cancelled;
    op->deadline_ns = 0;
    op->cancelled = NULL;
    (void) discard(op, b->ns, b->collection_id, b->first_id, b->end_id, NULL);
    op->deadline_ns = deadline_ns;
    op->cancelled = cancelled;
}

static status find_built(struct op *op, const struct index_build *b, struct collection **out, struct err *err) {
    struct kv_txn *txn = NULL;
    TRY(db_begin(op->db, true, &txn, err));
    status st = catalog_find(op, txn, b->ns, out, err);
    kv_abort(txn);
    if (st == ST_NOT_FOUND || (st == ST_OK && (*out)->id != b->collection_id)) {
        if (st == ST_OK) collection_unref(*out);
        *out = NULL;
        return RAISE_CODE(err, CODE_IndexBuildAborted, "Index build aborted: the collection has been dropped");
    }
    return st;
}

status index_build_run(struct op *op, struct index_build *b, struct err *err) {
    struct collection *c = NULL;
    struct active_build active = {.collection_id = b->collection_id,
                                  .first_index_id = b->first_id,
                                  .index_end = b->end_id};
    enter_build(op->db, &active);
    status st = find_built(op, b, &c, err);
    if (st == ST_OK) st = build_entries(op, b, c, err);
    if (st == ST_OK) st = publish(op, b, c, err);
    collection_unref(c);
    kv_abort(b->snapshot);
    b->snapshot = NULL;
    if (st != ST_OK) discard_failed(op, b);
    leave_build(op->db, &active);
    return st;
}

static status sweep_collection(void *ctx, struct collection *c, struct err *err) {
    struct op *op = ctx;
    for (uint32_t i = 0; i < c->index_count; i++)
        if (c->indexes[i].state == INDEX_BUILDING) return discard(op, c->ns, c->id, 0, UINT64_MAX, err);
    return ST_OK;
}

status index_builds_sweep(struct op *op, struct err *err) {
    struct kv_txn *txn = NULL;
    TRY(db_begin(op->db, true, &txn, err));
    status st = catalog_list(op, txn, SLICE_NONE, sweep_collection, op, err);
    kv_abort(txn);
    return st;
}
