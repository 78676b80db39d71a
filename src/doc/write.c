/* The door through which a document changes.
 *
 * A write first computes everything that may be refused for the document's own sake (keys of all indexes, old and new), then takes a mark and
 * writes: the record, then index by index what the difference of its key sets says, then counters. Whatever fails after the mark
 * is rolled back to it.
 *
 *   record    key: prefix of the collection, locator (the encoded _id)   value: the BSON as given
 *   entries   doc/entry.h
 *
 * UNIQUE    The entry's key is the fields alone, so two transactions that write the same one conflict in the kv, and an older one is found by a get.
 * BUILDING  While an index is being built (index_build.c), what its build loads from older documents lies below what writers write and is not visible
 *           to all of them. In a unique one a writer therefore notes each key it adds (under log_prefix), for the build to compare with what it
 *           loaded, and removes an entry only if it is that document's own: the entry may be another's that got the key while this
 *           document's entry was not loaded yet. Without any entry it writes the deletion all the same, to cover what will be loaded. */
#include "doc/write.h"

#include "base/codes.h"
#include "base/varint.h"
#include "bson/compare.h"
#include "doc/ddl.h"
#include "doc/duplicate.h"
#include "doc/entry.h"
#include "doc/multikey.h"
#include "doc/text_of.h"
#include "doc/upkeep.h"
#include "index/key.h"
#include "index/keygen.h"

/* --- locking --- */

/* Is c what txn sees? */
static status check_current(struct op *op, struct kv_txn *txn, struct collection *c, struct err *err) {
    struct collection *seen = NULL;
    if (txn->tag != 0 && atomic_load_explicit(&c->valid_at, memory_order_acquire) == txn->tag) return ST_OK;
    status st = catalog_find(op, txn, c->ns, &seen, err);
    bool is_current = st == ST_OK && seen->id == c->id && seen->version == c->version;
    collection_unref(seen);
    if (st == ST_NOT_FOUND || (st == ST_OK && !is_current)) {
        st = RAISE(err, ST_STALE, "collection %s.%s has changed", (const char *) c->ns.db.p,
                   (const char *) c->ns.coll.p);
        if (err != NULL) err->labels |= ERR_TRANSIENT;
    }
    return st;
}

status collection_lock(struct op *op, struct kv_txn *txn, struct collection *c, struct err *err) {
    TRY(kv_lock_shared(txn, c->catalog_key, op_wait_ms(op, LOCK_WAIT_MS), err));
    TRY(check_current(op, txn, c, err));
    return multikey_refresh(op, c, err);
}

/* --- what a write changes --- */

struct index_change {
    struct key_diff diff;
    const uint64_t *multikey; /* the flags that the added keys need */
    bool text_is_touched;     /* of a text index, which finds the difference itself */
};

struct change {
    struct op *op;
    struct kv_txn *txn;
    struct collection *c;
    struct bdoc old_doc, new_doc; /* p NULL: none */
    struct bval id;
    struct slice locator;
    struct slice old_id_side, new_id_side;
    bool id_changed;              /* an _id that is equal but not identical: 1 and 1.0 */
    struct index_change *indexes; /* in the scratch arena */
};

static status refuse_new_id(struct op *op, struct bval id, struct err *err) {
    struct buf *text = &op->scratch.value;
    buf_clear(text);
    bval_dump(id, text);
    if (text->failed) return RAISE(err, ST_NOMEM, "writing a document");
    return RAISE_CODE(
        err, CODE_ImmutableField,
        "After applying the update, the (immutable) field '_id' was found to have been altered to _id: %.*s",
        (int) (text->len < 300 ? text->len : 300), (const char *) text->p);
}

/* Locator and side bits of the _id. */
static status name_document(struct change *ch, struct err *err) {
    struct op_scratch *s = &ch->op->scratch;
    bool has_old = ch->old_doc.p != NULL, has_new = ch->new_doc.p != NULL;
    struct bval old_id = has_old ? bdoc_get(ch->old_doc, SLICE_LIT("_id")) : BVAL_MISSING;
    struct bval new_id = has_new ? bdoc_get(ch->new_doc, SLICE_LIT("_id")) : BVAL_MISSING;
    if (has_old && has_new && !bval_equal(old_id, new_id)) return refuse_new_id(ch->op, new_id, err);
    ch->id = has_new ? new_id : old_id;
    ch->id_changed = has_old && has_new && !bval_identical(old_id, new_id);
    buf_clear(&s->locator);
    buf_clear(&s->side);
    key_append(&s->locator, ch->id, false);
    if (has_old) key_append_side(&s->side, old_id);
    size_t old_len = s->side.len;
    if (has_new) key_append_side(&s->side, new_id);
    if (s->locator.failed || s->side.failed) return RAISE(err, ST_NOMEM, "writing a document");
    ch->locator = buf_slice(&s->locator);
    ch->old_id_side = slice_of(s->side.p, old_len);
    ch->new_id_side = slice_of(s->side.p + old_len, s->side.len - old_len);
    return ST_OK;
}

/* Do two paths meet, array positions left out? Then one's change may change what the other reads. */
static bool paths_meet(const struct path *a, const struct path *b) {
    uint32_t i = 0, k = 0;
    for (;;) {
        while (i < a->part_count && a->parts[i].idx >= 0) i++;
        while (k < b->part_count && b->parts[k].idx >= 0) k++;
        if (i == a->part_count || k == b->part_count) return true;
        if (!slice_equal(a->parts[i++].name, b->parts[k++].name)) return false;
    }
}

/* The language of a (sub)document stands in a field beside the text. */
static bool names_language(const struct path *path, struct slice override) {
    for (uint32_t i = 0; i < path->part_count; i++)
        if (slice_equal(path->parts[i].name, override)) return true;
    return false;
}

static bool meets_index(const struct index_spec *spec, const struct path *path) {
    if (spec->kind == INDEX_TEXT) {
        if (spec->text_all_fields || names_language(path, spec->language_override)) return true;
        for (uint32_t f = 0; f < spec->text_field_count; f++)
            if (paths_meet(&spec->text_fields[f].path, path)) return true;
        return false;
    }
    for (uint32_t f = 0; f < spec->field_count; f++)
        if (paths_meet(&spec->fields[f].path, path)) return true;
    return false;
}

static bool is_touched(const struct index_spec *spec, const struct write_paths *paths) {
    if (paths == NULL) return true;
    for (uint32_t i = 0; i < paths->count; i++)
        if (meets_index(spec, &paths->paths[i])) return true;
    return false;
}

static status diff_index(struct change *ch, const struct index *ix, struct index_change *out, struct err *err) {
    struct arena *arena = &ch->op->scratch.arena;
    struct key_set *sets = arena_alloc(arena, 2 * sizeof(*sets));
    if (sets == NULL) return RAISE(err, ST_NOMEM, "writing a document");
    struct key_set *before = &sets[0], *after = &sets[1];
    before->count = after->count = 0;
    if (ch->old_doc.p != NULL) TRY(keygen(&ix->spec, ch->old_doc, arena, before, err));
    if (ch->new_doc.p != NULL) TRY(keygen(&ix->spec, ch->new_doc, arena, after, err));
    out->multikey = ch->new_doc.p != NULL ? after->multikey : NULL;
    if (before->count != 0 && after->count != 0 && !ch->id_changed)
        return key_set_diff(before, after, arena, &out->diff, err);
    if (before->count != 0) out->diff.remove = before->keys, out->diff.remove_count = before->count;
    if (after->count != 0) out->diff.add = after->keys, out->diff.add_count = after->count;
    return ST_OK;
}

static status diff_indexes(struct change *ch, const struct write_paths *paths, struct err *err) {
    struct collection *c = ch->c;
    if (c->index_count == 0) return ST_OK;
    ch->indexes = arena_array(&ch->op->scratch.arena, struct index_change, c->index_count);
    if (ch->indexes == NULL) return RAISE(err, ST_NOMEM, "writing a document");
    for (uint32_t i = 0; i < c->index_count; i++) {
        const struct index *ix = &c->indexes[i];
        if (!ch->id_changed && !is_touched(&ix->spec, paths)) continue;
        if (ix->spec.kind == INDEX_TEXT) ch->indexes[i].text_is_touched = true;
        else TRY(diff_index(ch, ix, &ch->indexes[i], err));
    }
    return ST_OK;
}

/* --- writing it --- */

static status write_record(struct change *ch, struct err *err) {
    struct buf *key = &ch->op->scratch.key;
    struct kv_value existing = KV_VALUE_INIT;
    buf_clear(key);
    buf_append_slice(key, ch->c->prefix);
    buf_append_slice(key, ch->locator);
    if (key->failed) return RAISE(err, ST_NOMEM, "writing a document");
    if (ch->new_doc.p == NULL) return kv_delete(ch->txn, buf_slice(key), err);
    if (ch->old_doc.p == NULL) {
        status st = kv_get(ch->txn, buf_slice(key), &existing, err);
        if (st == ST_OK) st = duplicate_id(ch->op, ch->c, ch->id, err);
        kv_value_release(&existing);
        if (st != ST_NOT_FOUND) return st;
    }
    return kv_put(ch->txn, buf_slice(key), slice_of(ch->new_doc.p, ch->new_doc.len), err);
}

static status make_key(struct change *ch, const struct index *ix, struct slice fields, struct slice *out,
                       struct err *err) {
    struct buf *key = &ch->op->scratch.key;
    buf_clear(key);
    index_entry_key(key, ix->prefix, ix->spec.is_unique, fields, ch->locator);
    *out = buf_slice(key);
    return key->failed ? RAISE(err, ST_NOMEM, "writing an index entry") : ST_OK;
}

/* Whose is the entry under this key of a unique index? ST_NOT_FOUND: nobody's. */
static status find_owner(struct change *ch, const struct index *ix, struct slice key, bool *is_own, struct err *err) {
    struct index_entry e;
    struct kv_value value = KV_VALUE_INIT;
    TRY(kv_get(ch->txn, key, &value, err));
    status st = index_entry_split(ix, key, value.bytes, &e, err);
    if (st == ST_OK) *is_own = slice_equal(e.locator, ch->locator);
    kv_value_release(&value);
    return st;
}

static status remove_key(struct change *ch, const struct index *ix, struct index_key k, struct err *err) {
    struct slice key;
    TRY(make_key(ch, ix, k.key, &key, err));
    if (ix->log_prefix.len != 0) {
        bool is_own = true;
        status st = find_owner(ch, ix, key, &is_own, err);
        if (status_failed(st)) return st;
        if (!is_own) return ST_OK;
    }
    return kv_delete(ch->txn, key, err);
}

/* Notes a key added to a unique index that is being built. */
static status log_key(struct change *ch, const struct index *ix, struct index_key k, struct err *err) {
    struct buf *key = &ch->op->scratch.key;
    buf_clear(key);
    index_entry_key(key, ix->log_prefix, true, k.key, SLICE_NONE);
    if (key->failed) return RAISE(err, ST_NOMEM, "writing an index entry");
    return kv_put_blind(ch->txn, buf_slice(key), SLICE_LIT(""), err);
}

static status add_key(struct change *ch, const struct index *ix, struct index_key k, struct err *err) {
    struct slice key;
    struct buf *value = &ch->op->scratch.value;
    TRY(make_key(ch, ix, k.key, &key, err));
    if (ix->spec.is_unique) {
        bool is_own = true;
        status st = find_owner(ch, ix, key, &is_own, err);
        if (status_failed(st)) return st;
        if (!is_own) return duplicate_key(ch->op, ch->c, ix, k, err);
    }
    buf_clear(value);
    index_entry_value(value, ix->spec.is_unique, ch->locator, k.side, ch->new_id_side);
    if (value->failed) return RAISE(err, ST_NOMEM, "writing an index entry");
    TRY(kv_put(ch->txn, key, buf_slice(value), err));
    return ix->log_prefix.len != 0 ? log_key(ch, ix, k, err) : ST_OK;
}

static status write_text(struct change *ch, const struct index *ix, struct err *err) {
    struct text_index text = text_of(ch->op, ch->c, ix);
    TRY(text_write(&text, ch->txn, ch->locator, ch->old_doc, ch->new_doc, &ch->op->scratch.arena, err));
    upkeep_note_text(ch->op->db, ch->c, ix);
    return ST_OK;
}

static status write_index(struct change *ch, const struct index *ix, const struct index_change *ic, struct err *err) {
    if (ic->text_is_touched) return write_text(ch, ix, err);
    if (ic->multikey != NULL) TRY(multikey_raise(ch->op, ch->txn, ch->c, ix, ic->multikey, err));
    for (uint32_t i = 0; i < ic->diff.remove_count; i++) TRY(remove_key(ch, ix, ic->diff.remove[i], err));
    for (uint32_t i = 0; i < ic->diff.add_count; i++) TRY(add_key(ch, ix, ic->diff.add[i], err));
    return ST_OK;
}

static status write_counters(struct change *ch, struct err *err) {
    int64_t count = (ch->new_doc.p != NULL) - (ch->old_doc.p != NULL);
    int64_t bytes = (ch->new_doc.p != NULL ? (int64_t) ch->new_doc.len : 0) -
        (ch->old_doc.p != NULL ? (int64_t) ch->old_doc.len : 0);
    if (count != 0) TRY(kv_add(ch->txn, ch->c->count_key, count, err));
    return bytes != 0 ? kv_add(ch->txn, ch->c->bytes_key, bytes, err) : ST_OK;
}

static status apply(struct change *ch, struct err *err) {
    TRY(write_record(ch, err));
    for (uint32_t i = 0; i < ch->c->index_count; i++) TRY(write_index(ch, &ch->c->indexes[i], &ch->indexes[i], err));
    return write_counters(ch, err);
}

status collection_write(struct op *op, struct kv_txn *txn, struct collection *c, struct bdoc old_doc,
                        struct bdoc new_doc, const struct write_paths *paths, struct err *err) {
    struct change ch = {.op = op, .txn = txn, .c = c, .old_doc = old_doc, .new_doc = new_doc};
    if (new_doc.p != NULL && new_doc.len > BSON_LEN_MAX)
        return RAISE(err, ST_TOO_LARGE, "Resulting document after update is larger than %u", BSON_LEN_MAX);
    arena_reset(&op->scratch.arena);
    TRY(name_document(&ch, err));
    TRY(diff_indexes(&ch, paths, err));
    struct kv_mark mark = kv_mark(txn);
    status st = apply(&ch, err);
    if (st != ST_OK) kv_rollback_to(txn, mark);
    return st;
}

/* --- statistics --- */

static status read_counter(struct kv_txn *txn, struct slice key, int64_t *out, struct err *err) {
    struct kv_value value = KV_VALUE_INIT;
    status st = kv_get(txn, key, &value, err);
    *out = 0;
    if (st == ST_OK && value.bytes.len != 8) st = RAISE(err, ST_CORRUPT, "the catalog is damaged: bad counter");
    else if (st == ST_OK) *out = (int64_t) get_le64(value.bytes.p);
    kv_value_release(&value);
    return st == ST_NOT_FOUND ? ST_OK : st;
}

status collection_stat(struct op *op, struct kv_txn *txn, struct collection *c, struct collection_stat *out,
                       struct err *err) {
    (void) op;
    struct collection_stat s;
    TRY(read_counter(txn, c->count_key, &s.documents, err));
    TRY(read_counter(txn, c->bytes_key, &s.bytes, err));
    *out = s;
    return ST_OK;
}
