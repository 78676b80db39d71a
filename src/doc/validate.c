/* Checking a collection: see validate.h.
 *
 * Documents are read in order; each key that one should have is looked up in its index. Then each index is counted: when all keys are there and
 * there are as many entries as keys, there is nothing else in it. Only otherwise every entry is taken back to its document to name those that should
 * not be. */
#include "doc/validate.h"

#include "bson/check.h"
#include "doc/duplicate.h"
#include "doc/entry.h"
#include "doc/text_of.h"
#include "doc/write.h"
#include "index/key.h"
#include "index/keygen.h"

#define CHECK_EVERY 128

struct validator {
    struct op *op;
    struct kv_txn *txn;
    struct collection *c;
    void (*found)(void *ctx, const char *text);
    void *ctx;
    struct validate_report report;
    uint64_t *key_counts, *missing_counts; /* per index */
    struct text_checker **texts;           /* per index; NULL: no text index */
    int64_t bytes;
    struct buf key, value, text;
    struct arena arena; /* of one document */
};

/* `what`, then the _id that a locator stands for. */
static void fault(struct validator *v, const struct index *ix, struct slice locator, const char *what) {
    struct buf decoded;
    struct bval id;
    struct slice rest = locator;
    buf_init(&decoded, v->op->mem);
    buf_clear(&v->text);
    buf_append_format(&v->text, "%s.%s", (const char *) v->c->ns.db.p, (const char *) v->c->ns.coll.p);
    if (ix != NULL)
        buf_append_format(&v->text, ", index %.*s", (int) ix->spec.name.len, (const char *) ix->spec.name.p);
    if (locator.len != 0 && key_decode_field(&rest, false, NULL, &decoded, &id, NULL) == ST_OK) {
        buf_append_slice(&v->text, SLICE_LIT(", _id: "));
        bval_dump(id, &v->text);
    }
    buf_append_format(&v->text, ": %s", what);
    buf_append_u8(&v->text, 0);
    if (v->found != NULL) v->found(v->ctx, v->text.failed ? what : (const char *) v->text.p);
    buf_release(&decoded);
}

/* --- documents and their keys --- */

static bool is_entry_right(struct validator *v, const struct index *ix, struct slice stored, struct slice locator,
                           struct slice side, struct slice id_side) {
    buf_clear(&v->value);
    index_entry_value(&v->value, ix->spec.is_unique, locator, side, id_side);
    return !v->value.failed && slice_equal(stored, buf_slice(&v->value));
}

static status check_key(struct validator *v, uint32_t at, struct slice locator, const struct index_key *k,
                        struct slice id_side, struct err *err) {
    const struct index *ix = &v->c->indexes[at];
    struct kv_value stored = KV_VALUE_INIT;
    buf_clear(&v->key);
    index_entry_key(&v->key, ix->prefix, ix->spec.is_unique, k->key, locator);
    if (v->key.failed) return RAISE(err, ST_NOMEM, "validating");
    status st = kv_get(v->txn, buf_slice(&v->key), &stored, err);
    bool is_right = st == ST_OK && is_entry_right(v, ix, stored.bytes, locator, k->side, id_side);
    kv_value_release(&stored);
    if (status_failed(st)) return st;
    v->report.keys++;
    v->key_counts[at]++;
    if (is_right) return ST_OK;
    v->report.missing_entries++;
    v->missing_counts[at]++;
    fault(v, ix, locator,
          st == ST_OK ? "the index entry of a key is another document's or has other side bits"
                      : "a key of the document is not in the index");
    return ST_OK;
}

static bool is_flagged(const struct index *ix, const struct key_set *set) {
    for (uint32_t f = 0; f < ix->spec.field_count; f++)
        if ((set->multikey[f] & ~index_multikey(ix, f)) != 0) return false;
    return true;
}

static status check_index_keys(struct validator *v, uint32_t at, struct bdoc doc, struct slice locator,
                               struct slice id_side, struct err *err) {
    const struct index *ix = &v->c->indexes[at];
    struct key_set *set = arena_alloc(&v->arena, sizeof(*set));
    if (set == NULL) return RAISE(err, ST_NOMEM, "validating");
    status st = keygen(&ix->spec, doc, &v->arena, set, err);
    if (st == ST_INVALID) { /* a document that the index should have refused */
        v->report.invalid_documents++;
        fault(v, ix, locator, "the document cannot be indexed");
        return ST_OK;
    }
    if (st != ST_OK) return st;
    if (!is_flagged(ix, set)) {
        v->report.missing_entries++;
        fault(v, ix, locator, "the document has an array that the index's multikey flags do not tell of");
    }
    for (uint32_t i = 0; i < set->count; i++) TRY(check_key(v, at, locator, &set->keys[i], id_side, err));
    return ST_OK;
}

static bool is_sound(struct validator *v, struct bdoc doc, struct slice locator) {
    struct bdoc checked;
    if (bson_check(doc.p, doc.len, 0, &checked, NULL) != ST_OK) return false;
    buf_clear(&v->key);
    key_append(&v->key, bdoc_get(doc, SLICE_LIT("_id")), false);
    return slice_equal(buf_slice(&v->key), locator);
}

static status check_document(struct validator *v, struct bdoc doc, struct slice locator, struct err *err) {
    struct buf side;
    v->report.documents++;
    v->bytes += doc.len;
    arena_reset(&v->arena);
    if (!is_sound(v, doc, locator)) {
        if (v->key.failed) return RAISE(err, ST_NOMEM, "validating");
        v->report.invalid_documents++;
        fault(v, NULL, locator, "the document is no sound BSON or does not stand under its _id");
        return ST_OK;
    }
    buf_init(&side, v->op->mem);
    key_append_side(&side, bdoc_get(doc, SLICE_LIT("_id")));
    status st = side.failed ? RAISE(err, ST_NOMEM, "validating") : ST_OK;
    for (uint32_t i = 0; st == ST_OK && i < v->c->index_count; i++) {
        const struct index *ix = &v->c->indexes[i];
        if (v->texts[i] != NULL) st = text_checker_add(v->texts[i], locator, doc, err);
        else if (ix->state == INDEX_READY && ix->spec.kind == INDEX_ORDERED)
            st = check_index_keys(v, i, doc, locator, buf_slice(&side), err);
    }
    buf_release(&side);
    return st;
}

static status check_documents(struct validator *v, struct err *err) {
    struct record_scan *scan = NULL;
    struct bdoc doc;
    TRY(record_scan_open(v->op, v->txn, v->c, SLICE_NONE, SLICE_NONE, false, &scan, err));
    status st = ST_OK;
    for (uint64_t n = 0; st == ST_OK; n++) {
        if (n % CHECK_EVERY == 0) st = op_check(v->op, err);
        if (st == ST_OK) st = record_scan_next(scan, &doc, err);
        if (st == ST_OK) st = check_document(v, doc, record_scan_locator(scan), err);
    }
    record_scan_close(scan);
    return st == ST_END ? ST_OK : st;
}

/* --- entries and their documents --- */

/* Does the entry's document have the key? */
static status check_entry(struct validator *v, const struct index *ix, const struct index_entry *e, struct err *err) {
    struct kv_value value = KV_VALUE_INIT;
    struct key_set *set = NULL;
    bool is_right = false;
    arena_reset(&v->arena);
    status st = record_get_at(v->txn, v->c, e->locator, &v->key, &value, err);
    if (st == ST_OK) {
        struct bdoc doc = {value.bytes.p, (uint32_t) value.bytes.len};
        set = arena_alloc(&v->arena, sizeof(*set));
        if (set == NULL) st = RAISE(err, ST_NOMEM, "validating");
        else if (bson_check(doc.p, doc.len, 0, &doc, NULL) == ST_OK) st = keygen(&ix->spec, doc, &v->arena, set, err);
        else st = ST_NOT_FOUND;
    }
    for (uint32_t i = 0; st == ST_OK && i < set->count; i++) is_right |= slice_equal(set->keys[i].key, e->key);
    kv_value_release(&value);
    if (status_failed(st) && st != ST_INVALID) return st;
    if (is_right) return ST_OK;
    v->report.extra_entries++;
    fault(v, ix, e->locator,
          st == ST_NOT_FOUND ? "an index entry leads to no document"
                             : "an index entry has a key that its document has not");
    return ST_OK;
}

/* All entries: counted, or (`each`) taken back to their documents. */
static status walk_entries(struct validator *v, const struct index *ix, bool each, uint64_t *count, struct err *err) {
    struct index_scan *scan = NULL;
    struct index_entry e;
    TRY(index_scan_open(v->op, v->txn, v->c, ix, false, &scan, err));
    status st = ST_OK;
    for (*count = 0; st == ST_OK; ++*count) {
        if (*count % CHECK_EVERY == 0) TRY_OUT(op_check(v->op, err));
        st = index_scan_next(scan, &e, err);
        if (st == ST_OK && each) st = check_entry(v, ix, &e, err);
        if (st != ST_OK) break;
    }
    if (st == ST_END) st = ST_OK;
out:
    index_scan_close(scan);
    return st;
}

static status check_entries(struct validator *v, uint32_t at, struct err *err) {
    const struct index *ix = &v->c->indexes[at];
    uint64_t count = 0;
    if (ix->state != INDEX_READY || ix->spec.kind != INDEX_ORDERED) return ST_OK;
    TRY(walk_entries(v, ix, false, &count, err));
    if (count == v->key_counts[at] && v->missing_counts[at] == 0) return ST_OK;
    return walk_entries(v, ix, true, &count, err);
}

/* --- text --- */

static void text_fault(void *ctx, const char *text) {
    struct validator *v = ctx;
    v->report.extra_entries++;
    if (v->found != NULL) v->found(v->ctx, text);
}

static status begin_texts(struct validator *v, struct err *err) {
    for (uint32_t i = 0; i < v->c->index_count; i++) {
        const struct index *ix = &v->c->indexes[i];
        if (ix->state != INDEX_READY || ix->spec.kind != INDEX_TEXT) continue;
        struct text_index text = text_of(v->op, v->c, ix);
        TRY(text_checker_new(&text, v->txn, v->op->mem, text_fault, v, &v->texts[i], err));
    }
    return ST_OK;
}

static status finish_texts(struct validator *v, struct err *err) {
    for (uint32_t i = 0; i < v->c->index_count; i++) {
        uint64_t postings = 0;
        struct text_checker *text = v->texts[i];
        v->texts[i] = NULL;
        if (text != NULL) TRY(text_checker_finish(text, &postings, err));
        v->report.keys += postings;
    }
    return ST_OK;
}

static void abort_texts(struct validator *v) {
    for (uint32_t i = 0; v->texts != NULL && i < v->c->index_count; i++) text_checker_abort(v->texts[i]);
}

static status check_counters(struct validator *v, struct err *err) {
    struct collection_stat stat;
    TRY(collection_stat(v->op, v->txn, v->c, &stat, err));
    if (stat.documents == (int64_t) v->report.documents && stat.bytes == v->bytes) return ST_OK;
    v->report.count_mismatches++;
    fault(v, NULL, SLICE_NONE, "the counters of documents and bytes do not agree with the documents");
    return ST_OK;
}

static status run(struct validator *v, struct err *err) {
    v->key_counts = arena_array(&v->op->arena, uint64_t, v->c->index_count + 1);
    v->missing_counts = arena_array(&v->op->arena, uint64_t, v->c->index_count + 1);
    v->texts = arena_array(&v->op->arena, struct text_checker *, v->c->index_count + 1);
    if (v->key_counts == NULL || v->missing_counts == NULL || v->texts == NULL)
        return RAISE(err, ST_NOMEM, "validating");
    v->report.index_keys = v->key_counts;
    v->report.index_missing = v->missing_counts;
    TRY(begin_texts(v, err));
    TRY(check_documents(v, err));
    TRY(finish_texts(v, err));
    for (uint32_t i = 0; i < v->c->index_count; i++) TRY(check_entries(v, i, err));
    return check_counters(v, err);
}

status collection_validate(struct op *op, struct kv_txn *txn, struct collection *c,
                           void (*found)(void *ctx, const char *text), void *ctx, struct validate_report *out,
                           struct err *err) {
    struct validator v = {.op = op, .txn = txn, .c = c, .found = found, .ctx = ctx};
    arena_init(&v.arena, op->mem);
    buf_init(&v.key, op->mem);
    buf_init(&v.value, op->mem);
    buf_init(&v.text, op->mem);
    status st = run(&v, err);
    if (st == ST_OK) *out = v.report;
    abort_texts(&v);
    buf_release(&v.text);
    buf_release(&v.value);
    buf_release(&v.key);
    arena_release(&v.arena);
    return st;
}
