/* Verifying a text index against its documents: one pass over the documents, one over the postings, compared by count and
 * by a sum of hashes, so that nothing but the live numbers is held in memory. */
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/varint.h"
#include "index/key.h"
#include "index/text/postings.h"
#include "index/text/score.h"

struct text_checker {
    struct text_index ix;
    struct kv_txn *txn;
    const struct mem *mem;
    void (*found)(void *ctx, const char *text);
    void *ctx;
    uint64_t *live;
    size_t live_count, live_cap;
    uint64_t posting_count, posting_sum; /* that the documents must give */
    struct arena scratch;
    struct buf key;
};

status text_checker_new(const struct text_index *ix, struct kv_txn *txn, const struct mem *mem, void (*found)(void *ctx, const char *text), void *ctx,
                        struct text_checker **out, struct err *err) {
    struct text_checker *c = mem_new(mem, struct text_checker);
    if (c == NULL) return RAISE(err, ST_NOMEM, "no memory to check a text index");
    *c = (struct text_checker){.ix = *ix, .txn = txn, .mem = mem, .found = found, .ctx = ctx};
    arena_init(&c->scratch, mem);
    buf_init(&c->key, mem);
    *out = c;
    return ST_OK;
}

void text_checker_abort(struct text_checker *c) {
    if (c == NULL) return;
    mem_free(c->mem, c->live, c->live_cap * sizeof(*c->live));
    arena_release(&c->scratch);
    buf_release(&c->key);
    mem_delete(c->mem, c);
}

static void report(struct text_checker *c, const char *what, uint64_t number) {
    char text[256];
    (void) snprintf(text, sizeof(text), "text index '%.*s': %s (document number %llu)", (int) (c->ix.spec->name.len < 100 ? c->ix.spec->name.len : 100),
                    (const char *) c->ix.spec->name.p, what, (unsigned long long) number);
    c->found(c->ctx, text);
}

static uint64_t hash_posting(struct slice term, uint64_t number, double score) {
    uint64_t bits;
    memcpy(&bits, &score, 8);
    return hash64(term.p, term.len, number * 0x9e3779b97f4a7c15u ^ bits);
}

/* The number of a locator, checked both ways; 0 when there is none. */
static status number_of(struct text_checker *c, struct slice locator, uint64_t *number, struct err *err) {
    struct kv_value v = KV_VALUE_INIT;
    *number = 0;
    text_key_locator(&c->ix, &c->key, locator);
    if (c->key.failed) return RAISE(err, ST_NOMEM, "no memory to check a text index");
    status st = kv_get(c->txn, buf_slice(&c->key), &v, err);
    if (st == ST_OK && ordered_get(v.bytes.p, v.bytes.p + v.bytes.len, number) == 0) *number = 0;
    kv_value_release(&v);
    if (st == ST_NOT_FOUND) return ST_OK;
    TRY(st);
    text_key_number(&c->ix, &c->key, TEXT_LOCATOR, *number);
    if (c->key.failed) return RAISE(err, ST_NOMEM, "no memory to check a text index");
    st = kv_get(c->txn, buf_slice(&c->key), &v, err);
    if (status_failed(st)) return st;
    if (st != ST_OK || !slice_equal(v.bytes, locator)) report(c, "the number does not lead back to its document", *number);
    kv_value_release(&v);
    return ST_OK;
}

status text_checker_add(struct text_checker *c, struct slice locator, struct bdoc doc, struct err *err) {
    struct doc_terms terms;
    uint64_t number;
    arena_reset(&c->scratch);
    TRY(doc_terms_of(c->ix.spec, doc, &c->scratch, &terms, err));
    TRY(number_of(c, locator, &number, err));
    if (number == 0) {
        if (terms.count != 0) report(c, "a document with words is not in the index", 0);
        return ST_OK;
    }
    if (terms.count == 0) report(c, "a document without words is in the index", number);
    void *live = c->live;
    if (!mem_grow(c->mem, &live, &c->live_cap, c->live_count + 1, sizeof(*c->live))) return RAISE(err, ST_NOMEM, "no memory to check a text index");
    c->live = live;
    c->live[c->live_count++] = number;
    c->posting_count += terms.count;
    for (uint32_t i = 0; i < terms.count; i++) c->posting_sum += hash_posting(terms.terms[i].term, number, terms.terms[i].score);
    return ST_OK;
}

static int compare_numbers(const void *x, const void *y) {
    const uint64_t *a = x, *b = y;
    return (*a > *b) - (*a < *b);
}

struct totals { uint64_t count, sum; };

static status add_block(struct text_checker *c, struct kv_cursor *cursor, struct totals *t, struct err *err) {
    struct slice term, value;
    struct block_head head;
    uint64_t first;
    TRY(text_key_read_posting(&c->ix, kv_cursor_key(cursor), &term, &first, err));
    TRY(kv_cursor_value(cursor, &value, err));
    TRY(block_read_head(value, first, &head, err));
    arena_reset(&c->scratch);
    struct posting *postings = arena_alloc(&c->scratch, head.count * sizeof(*postings));
    if (postings == NULL) return RAISE(err, ST_NOMEM, "no memory to check a text index");
    TRY(block_decode(&head, postings, err));
    double score_max = 0;
    for (uint32_t i = 0; i < head.count; i++) {
        if (i == 0 || postings[i].score > score_max) score_max = postings[i].score;
        if (c->live_count == 0 || bsearch(&postings[i].number, c->live, c->live_count, sizeof(*c->live), compare_numbers) == NULL) continue;
        t->count++;
        t->sum += hash_posting(term, postings[i].number, postings[i].score);
    }
    if (score_max != head.score_max) report(c, "a block does not tell its best score", head.first);
    return ST_OK;
}

static status add_postings(struct text_checker *c, struct totals *t, struct err *err) {
    struct kv_cursor *cursor = NULL;
    struct buf hi;
    buf_init(&hi, c->mem);
    text_key(&c->ix, &c->key, TEXT_POSTING);
    text_key(&c->ix, &hi, TEXT_POSTING + 1);
    struct kv_bounds bounds = {buf_slice(&c->key), buf_slice(&hi)};
    status st = hi.failed || c->key.failed ? RAISE(err, ST_NOMEM, "no memory to check a text index") : kv_cursor_open(c->txn, &bounds, &cursor, err);
    if (st == ST_OK) st = kv_first(cursor, err);
    while (st == ST_OK) {
        st = add_block(c, cursor, t, err);
        if (st == ST_OK) st = kv_next(cursor, err);
    }
    kv_cursor_close(cursor);
    buf_release(&hi);
    return status_failed(st) ? st : ST_OK;
}

status text_checker_finish(struct text_checker *c, uint64_t *postings, struct err *err) {
    struct totals t = {0};
    if (c->live_count != 0) qsort(c->live, c->live_count, sizeof(*c->live), compare_numbers);
    for (size_t i = 1; i < c->live_count; i++) {
        if (c->live[i] == c->live[i - 1]) report(c, "two documents have one number", c->live[i]);
    }
    status st = add_postings(c, &t, err);
    if (st == ST_OK && (t.count != c->posting_count || t.sum != c->posting_sum)) {
        char text[256];
        (void) snprintf(text, sizeof(text), "text index '%.*s': its postings are not those of its documents: %llu postings, %llu expected",
                        (int) (c->ix.spec->name.len < 100 ? c->ix.spec->name.len : 100), (const char *) c->ix.spec->name.p, (unsigned long long) t.count,
                        (unsigned long long) c->posting_count);
        c->found(c->ctx, text);
    }
    if (postings != NULL) *postings = t.count;
    text_checker_abort(c);
    return st;
}
