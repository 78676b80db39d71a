/* Changing a text index with one document: its old number is marked dead, its new state gets a new number. */
#include "index/text/postings.h"
#include "index/text/score.h"

#include "base/varint.h"

struct write {
    const struct text_index *ix;
    struct kv_txn *txn;
    struct buf key, value;
    struct err *err;
};

static status put(struct write *w, struct slice value) {
    if (w->key.failed) return RAISE(w->err, ST_NOMEM, "no memory for a key of a text index");
    return kv_put(w->txn, buf_slice(&w->key), value, w->err);
}

static status del(struct write *w) {
    if (w->key.failed) return RAISE(w->err, ST_NOMEM, "no memory for a key of a text index");
    return kv_delete(w->txn, buf_slice(&w->key), w->err);
}

static status remove_document(struct write *w, struct slice locator) {
    struct kv_value v = KV_VALUE_INIT;
    uint64_t number = 0;
    text_key_locator(w->ix, &w->key, locator);
    if (w->key.failed) return RAISE(w->err, ST_NOMEM, "no memory for a key of a text index");
    status st = kv_get(w->txn, buf_slice(&w->key), &v, w->err);
    if (st == ST_NOT_FOUND) {
        /* The document is part of a build that is not published: its number will be told dead by its locator's (T1). The
         * tombstone stands above what the build loads. */
        TRY(del(w));
        text_key(w->ix, &w->key, TEXT_STALE);
        return w->key.failed ? RAISE(w->err, ST_NOMEM, "no memory for a key of a text index") : kv_put_blind(w->txn, buf_slice(&w->key), SLICE_NONE, w->err);
    }
    TRY(st);
    bool ok = ordered_get(v.bytes.p, v.bytes.p + v.bytes.len, &number) == v.bytes.len && v.bytes.len != 0;
    kv_value_release(&v);
    if (!ok) return RAISE(w->err, ST_CORRUPT, "a text index has a locator without a number");
    TRY(del(w));
    text_key_number(w->ix, &w->key, TEXT_LOCATOR, number);
    TRY(del(w));
    text_key_number(w->ix, &w->key, TEXT_MARK, number);
    return put(w, SLICE_NONE);
}

static status next_number(struct write *w, uint64_t *number) {
    text_key_sequence(w->ix, &w->key);
    if (w->key.failed) return RAISE(w->err, ST_NOMEM, "no memory for a key of a text index");
    return kv_sequence(w->ix->kv, buf_slice(&w->key), 1, number, w->err);
}

static status add_document(struct write *w, struct slice locator, const struct doc_terms *terms) {
    uint64_t number;
    uint8_t bytes[ORDERED_LEN_MAX];
    TRY(next_number(w, &number));
    text_key_number(w->ix, &w->key, TEXT_LOCATOR, number);
    TRY(put(w, locator));
    text_key_locator(w->ix, &w->key, locator);
    TRY(put(w, slice_of(bytes, ordered_put(bytes, number))));
    for (uint32_t i = 0; i < terms->count; i++) {
        struct posting posting = {number, terms->terms[i].score};
        buf_clear(&w->value);
        TRY(block_encode(&posting, 1, &w->value, w->err));
        text_key_posting(w->ix, &w->key, terms->terms[i].term, number);
        TRY(put(w, buf_slice(&w->value)));
    }
    return ST_OK;
}

static bool is_same(const struct doc_terms *a, const struct doc_terms *b) {
    if (a->count != b->count) return false;
    for (uint32_t i = 0; i < a->count; i++) {
        if (a->terms[i].score != b->terms[i].score || !slice_equal(a->terms[i].term, b->terms[i].term)) return false;
    }
    return true;
}

status text_write(const struct text_index *ix, struct kv_txn *txn, struct slice locator, struct bdoc old_doc, struct bdoc new_doc, struct arena *scratch, struct err *err) {
    struct doc_terms before = {0}, after = {0};
    struct write w = {.ix = ix, .txn = txn, .err = err};
    status st = ST_OK;
    if (old_doc.p != NULL) TRY(doc_terms_of(ix->spec, old_doc, scratch, &before, err));
    if (new_doc.p != NULL) TRY(doc_terms_of(ix->spec, new_doc, scratch, &after, err));
    if (is_same(&before, &after)) return ST_OK;
    buf_init(&w.key, scratch->mem);
    buf_init(&w.value, scratch->mem);
    if (before.count != 0) st = remove_document(&w, locator);
    if (st == ST_OK && after.count != 0) st = add_document(&w, locator, &after);
    buf_release(&w.key);
    buf_release(&w.value);
    return st;
}
