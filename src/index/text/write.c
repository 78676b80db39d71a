/* Changing a text index with one document: its old number is marked dead, its new state gets a new number. */
#include "index/text/postings.h"
#include "index/text/score.h"

#include "base/varint.h"

struct write {
    const struct text_index *ix;
    struct kv_txn *txn;
    struct arena *scratch;
    struct analyzers analyzers;
    struct buf key, value;
    struct err *err;
};

static status no_memory(struct write *w) { return RAISE(w->err, ST_NOMEM, "no memory to write to a text index"); }

static status put(struct write *w, struct slice value) {
    return w->key.failed ? no_memory(w) : kv_put(w->txn, buf_slice(&w->key), value, w->err);
}

/* What stands under a number is nobody else's: there is nothing to conflict with, and looking for it would cost as much as writing. */
static status put_own(struct write *w, struct slice value) {
    return w->key.failed ? no_memory(w) : kv_put_blind(w->txn, buf_slice(&w->key), value, w->err);
}

static status del(struct write *w) {
    return w->key.failed ? no_memory(w) : kv_delete(w->txn, buf_slice(&w->key), w->err);
}

/* ---- did the indexed text change at all? ---- */

struct text_list {
    struct arena *arena;
    struct doc_text *texts;
    uint32_t count, cap;
};

static status add_text(void *ctx, const struct doc_text *text, struct err *err) {
    struct text_list *list = ctx;
    if (list->count == list->cap) {
        uint32_t cap = list->cap != 0 ? list->cap * 2 : 8;
        struct doc_text *texts = arena_alloc(list->arena, cap * sizeof(*texts));
        if (texts == NULL) return RAISE(err, ST_NOMEM, "no memory to write to a text index");
        if (list->count != 0) memcpy(texts, list->texts, list->count * sizeof(*texts));
        list->texts = texts;
        list->cap = cap;
    }
    list->texts[list->count++] = *text;
    return ST_OK;
}

static status is_same_text(struct write *w, struct bdoc old_doc, struct bdoc new_doc, bool *same) {
    struct text_list before = {.arena = w->scratch}, after = {.arena = w->scratch};
    TRY(doc_texts(w->ix->spec, old_doc, add_text, &before, w->err));
    TRY(doc_texts(w->ix->spec, new_doc, add_text, &after, w->err));
    *same = before.count == after.count;
    for (uint32_t i = 0; i < before.count && *same; i++) {
        const struct doc_text *a = &before.texts[i], *b = &after.texts[i];
        *same = a->weight == b->weight && a->language == b->language && slice_equal(a->text, b->text);
    }
    return ST_OK;
}

/* ---- the old state ---- */

/* The number of a document, 0 for none. */
static status find_number(struct write *w, struct slice locator, uint64_t *number) {
    struct kv_value v = KV_VALUE_INIT;
    *number = 0;
    text_key_locator(w->ix, &w->key, locator);
    if (w->key.failed) return no_memory(w);
    status st = kv_get(w->txn, buf_slice(&w->key), &v, w->err);
    if (st == ST_NOT_FOUND) return ST_OK;
    TRY(st);
    st = text_value_read_number(v.bytes, number, w->err);
    kv_value_release(&v);
    return st;
}

/* The document is part of a build that is not published, if it has words at all: the number which that build gives it is told dead by its locator's (T1).
 * The tombstone stands above what the build loads. */
static status remove_unnumbered(struct write *w, struct slice locator, struct bdoc doc) {
    struct doc_terms terms;
    TRY(doc_terms_of(w->ix->spec, doc, &w->analyzers, w->scratch, &terms, w->err));
    if (terms.count == 0) return ST_OK;
    text_key_locator(w->ix, &w->key, locator);
    TRY(del(w));
    text_key(w->ix, &w->key, TEXT_STALE);
    return w->key.failed ? no_memory(w) : kv_put_blind(w->txn, buf_slice(&w->key), SLICE_NONE, w->err);
}

static status remove_document(struct write *w, struct slice locator, struct bdoc doc) {
    uint64_t number;
    TRY(find_number(w, locator, &number));
    if (number == 0) return remove_unnumbered(w, locator, doc);
    text_key_locator(w->ix, &w->key, locator);
    TRY(del(w));
    text_key_number(w->ix, &w->key, TEXT_LOCATOR, number);
    TRY(del(w));
    text_key_number(w->ix, &w->key, TEXT_MARK, number);
    return put_own(w, SLICE_NONE);
}

/* ---- the new state ---- */

static status next_number(struct write *w, uint64_t *number) {
    text_key_sequence(w->ix, &w->key);
    return w->key.failed ? no_memory(w) : kv_sequence(w->ix->kv, buf_slice(&w->key), 1, number, w->err);
}

static status add_document(struct write *w, struct slice locator, struct bdoc doc) {
    struct doc_terms terms;
    uint64_t number;
    uint8_t bytes[ORDERED_LEN_MAX];
    TRY(doc_terms_of(w->ix->spec, doc, &w->analyzers, w->scratch, &terms, w->err));
    if (terms.count == 0) return ST_OK;
    TRY(next_number(w, &number));
    text_key_number(w->ix, &w->key, TEXT_LOCATOR, number);
    TRY(put_own(w, locator));
    text_key_locator(w->ix, &w->key, locator);
    TRY(put(w, slice_of(bytes, ordered_put(bytes, number))));
    for (uint32_t i = 0; i < terms.count; i++) {
        struct posting posting = {number, terms.terms[i].score};
        buf_clear(&w->value);
        TRY(block_encode(&posting, 1, &w->value, w->err));
        text_key_posting(w->ix, &w->key, terms.terms[i].term, number);
        TRY(put_own(w, buf_slice(&w->value)));
    }
    return ST_OK;
}

static status write_change(struct write *w, struct slice locator, struct bdoc old_doc, struct bdoc new_doc) {
    if (old_doc.p != NULL && new_doc.p != NULL) {
        bool same = false;
        TRY(is_same_text(w, old_doc, new_doc, &same));
        if (same) return ST_OK;
    }
    if (old_doc.p != NULL) TRY(remove_document(w, locator, old_doc));
    return new_doc.p != NULL ? add_document(w, locator, new_doc) : ST_OK;
}

status text_write(const struct text_index *ix, struct kv_txn *txn, struct slice locator, struct bdoc old_doc,
                  struct bdoc new_doc, struct arena *scratch, struct err *err) {
    struct write w = {.ix = ix, .txn = txn, .scratch = scratch, .err = err};
    analyzers_init(&w.analyzers, scratch->mem);
    buf_init(&w.key, scratch->mem);
    buf_init(&w.value, scratch->mem);
    status st = write_change(&w, locator, old_doc, new_doc);
    buf_release(&w.key);
    buf_release(&w.value);
    analyzers_release(&w.analyzers);
    return st;
}
