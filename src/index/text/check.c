/* Verifying a text index against its documents: one pass over the documents, one over each kind of entry, the postings compared by count and by a sum of
 * hashes, so that nothing but numbers is held in memory.
 *
 *   documents   each with words has a number, and that leads back to it
 *   kind 02     as many as documents with words
 *   kind 01     as many as documents with words; others only beside the stale flag
 *   kind 04     no live number is marked
 *   kind 03     each block whole; a posting's number is live, or marked, or stale; the live ones' postings are their documents' */
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "index/key.h"
#include "index/text/postings.h"
#include "index/text/score.h"

struct numbers {
    uint64_t *items;
    size_t count, cap;
};

struct text_checker {
    struct text_index ix;
    struct kv_txn *txn;
    const struct mem *mem;
    void (*found)(void *ctx, const char *text);
    void *ctx;
    struct numbers live, dead;           /* dead: marked, or stale */
    uint64_t posting_count, posting_sum; /* that the documents must give */
    uint64_t seen_count, seen_sum;       /* that the postings of live numbers gave */
    uint64_t locators;                   /* of a document, under kind 02 */
    bool is_stale;
    struct analyzers analyzers;
    struct arena scratch;
    struct buf key, hi;
};

status text_checker_new(const struct text_index *ix, struct kv_txn *txn, const struct mem *mem,
                        void (*found)(void *ctx, const char *text), void *ctx, struct text_checker **out,
                        struct err *err) {
    struct text_checker *c = mem_new(mem, struct text_checker);
    if (c == NULL) return RAISE(err, ST_NOMEM, "no memory to check a text index");
    *c = (struct text_checker){.ix = *ix, .txn = txn, .mem = mem, .found = found, .ctx = ctx};
    analyzers_init(&c->analyzers, mem);
    arena_init(&c->scratch, mem);
    buf_init(&c->key, mem);
    buf_init(&c->hi, mem);
    *out = c;
    return ST_OK;
}

void text_checker_abort(struct text_checker *c) {
    if (c == NULL) return;
    mem_free(c->mem, c->live.items, c->live.cap * sizeof(*c->live.items));
    mem_free(c->mem, c->dead.items, c->dead.cap * sizeof(*c->dead.items));
    analyzers_release(&c->analyzers);
    arena_release(&c->scratch);
    buf_release(&c->key);
    buf_release(&c->hi);
    mem_delete(c->mem, c);
}

static status no_memory(struct err *err) { return RAISE(err, ST_NOMEM, "no memory to check a text index"); }

static int name_len(const struct text_checker *c) {
    return (int) (c->ix.spec->name.len < 100 ? c->ix.spec->name.len : 100);
}

static void report(struct text_checker *c, const char *what, uint64_t number) {
    char text[256];
    (void) snprintf(text, sizeof(text), "text index '%.*s': %s (document number %llu)", name_len(c),
                    (const char *) c->ix.spec->name.p, what, (unsigned long long) number);
    c->found(c->ctx, text);
}

static void report_counts(struct text_checker *c, const char *what, uint64_t count, uint64_t expected) {
    char text[256];
    (void) snprintf(text, sizeof(text), "text index '%.*s': %s: %llu, %llu expected", name_len(c),
                    (const char *) c->ix.spec->name.p, what, (unsigned long long) count, (unsigned long long) expected);
    c->found(c->ctx, text);
}

/* Damage is told, and the check goes on. */
static status tell_damage(struct text_checker *c, status st, struct err *err) {
    if (st != ST_CORRUPT) return st;
    c->found(c->ctx, err != NULL && err->text[0] != 0 ? err->text : "a text index is damaged");
    err_clear(err);
    return ST_OK;
}

static status append_number(struct text_checker *c, struct numbers *list, uint64_t number, struct err *err) {
    void *items = list->items;
    if (!mem_grow(c->mem, &items, &list->cap, list->count + 1, sizeof(*list->items))) return no_memory(err);
    list->items = items;
    list->items[list->count++] = number;
    return ST_OK;
}

static int compare_numbers(const void *x, const void *y) {
    const uint64_t *a = x, *b = y;
    return (*a > *b) - (*a < *b);
}

static void sort_numbers(struct numbers *list) {
    if (list->count != 0) qsort(list->items, list->count, sizeof(*list->items), compare_numbers);
}

static bool has_number(const struct numbers *list, uint64_t number) {
    return list->count != 0 && bsearch(&number, list->items, list->count, sizeof(number), compare_numbers) != NULL;
}

static uint64_t hash_posting(struct slice term, uint64_t number, double score) {
    uint64_t bits;
    memcpy(&bits, &score, 8);
    return hash64(term.p, term.len, number * 0x9e3779b97f4a7c15u ^ bits);
}

/* ---- documents ---- */

/* The number that is kept for a locator, 0 for none. */
static status read_number(struct text_checker *c, struct slice locator, uint64_t *number, struct err *err) {
    struct kv_value v = KV_VALUE_INIT;
    *number = 0;
    text_key_locator(&c->ix, &c->key, locator);
    if (c->key.failed) return no_memory(err);
    status st = kv_get(c->txn, buf_slice(&c->key), &v, err);
    if (st == ST_OK) {
        c->locators++;
        st = tell_damage(c, text_value_read_number(v.bytes, number, err), err);
    }
    kv_value_release(&v);
    return st == ST_NOT_FOUND ? ST_OK : st;
}

static status check_way_back(struct text_checker *c, struct slice locator, uint64_t number, struct err *err) {
    struct kv_value v = KV_VALUE_INIT;
    text_key_number(&c->ix, &c->key, TEXT_LOCATOR, number);
    if (c->key.failed) return no_memory(err);
    status st = kv_get(c->txn, buf_slice(&c->key), &v, err);
    if (status_failed(st)) return st;
    if (st != ST_OK || !slice_equal(v.bytes, locator))
        report(c, "the number does not lead back to its document", number);
    kv_value_release(&v);
    return ST_OK;
}

/* A document that the index should have refused is told of. */
static status analyze(struct text_checker *c, struct bdoc doc, struct doc_terms *terms, struct err *err) {
    *terms = (struct doc_terms){0};
    status st = doc_terms_of(c->ix.spec, doc, &c->analyzers, &c->scratch, terms, err);
    if (st != ST_INVALID) return st;
    report(c, "a document cannot be indexed", 0);
    err_clear(err);
    return ST_OK;
}

status text_checker_add(struct text_checker *c, struct slice locator, struct bdoc doc, struct err *err) {
    struct doc_terms terms;
    uint64_t number;
    arena_reset(&c->scratch);
    TRY(analyze(c, doc, &terms, err));
    TRY(read_number(c, locator, &number, err));
    if (number == 0) {
        if (terms.count != 0) report(c, "a document with words is not in the index", 0);
        return ST_OK;
    }
    TRY(check_way_back(c, locator, number, err));
    if (terms.count == 0) report(c, "a document without words is in the index", number);
    TRY(append_number(c, &c->live, number, err));
    c->posting_count += terms.count;
    for (uint32_t i = 0; i < terms.count; i++)
        c->posting_sum += hash_posting(terms.terms[i].term, number, terms.terms[i].score);
    return ST_OK;
}

/* ---- entries ---- */

typedef status (*entry_visit)(struct text_checker *c, struct slice key, size_t prefix_len, struct slice value,
                              struct err *err);

static status walk(struct text_checker *c, enum text_kind kind, entry_visit visit, uint64_t *count, struct err *err) {
    struct kv_cursor *cursor = NULL;
    struct slice value;
    text_key(&c->ix, &c->key, kind);
    text_key(&c->ix, &c->hi, kind + 1);
    if (c->hi.failed || c->key.failed) return no_memory(err);
    size_t prefix_len = c->key.len;
    struct kv_bounds bounds = {buf_slice(&c->key), buf_slice(&c->hi)};
    TRY(kv_cursor_open(c->txn, &bounds, &cursor, err));
    status st = kv_first(cursor, err);
    for (*count = 0; st == ST_OK; ++*count) {
        st = kv_cursor_value(cursor, &value, err);
        if (st == ST_OK) st = tell_damage(c, visit(c, kv_cursor_key(cursor), prefix_len, value, err), err);
        if (st == ST_OK) st = kv_next(cursor, err);
    }
    kv_cursor_close(cursor);
    return st == ST_END ? ST_OK : st;
}

/* Kind 01: a document's, or one that is told dead by its locator's number. */
static status visit_locator(struct text_checker *c, struct slice key, size_t prefix_len, struct slice value,
                            struct err *err) {
    uint64_t number;
    (void) value;
    TRY(text_key_read_number(key, prefix_len, &number, err));
    if (has_number(&c->live, number)) return ST_OK;
    if (!c->is_stale) report(c, "a number leads to no document", number);
    return append_number(c, &c->dead, number, err);
}

/* Kind 02 */
static status visit_number(struct text_checker *c, struct slice key, size_t prefix_len, struct slice value,
                           struct err *err) {
    uint64_t number;
    (void) c;
    (void) key;
    (void) prefix_len;
    return text_value_read_number(value, &number, err);
}

/* Kind 04 */
static status visit_mark(struct text_checker *c, struct slice key, size_t prefix_len, struct slice value,
                         struct err *err) {
    uint64_t number;
    (void) value;
    TRY(text_key_read_number(key, prefix_len, &number, err));
    if (has_number(&c->live, number)) report(c, "the number of a document is marked as deleted", number);
    return append_number(c, &c->dead, number, err);
}

/* Kind 03 */
static status visit_block(struct text_checker *c, struct slice key, size_t prefix_len, struct slice value,
                          struct err *err) {
    struct slice term;
    struct block_head head;
    uint64_t first;
    double score_max = 0;
    (void) prefix_len;
    TRY(text_key_read_posting(&c->ix, key, &term, &first, err));
    TRY(block_read_head(value, first, &head, err));
    arena_reset(&c->scratch);
    struct posting *postings = arena_alloc(&c->scratch, head.count * sizeof(*postings));
    if (postings == NULL) return no_memory(err);
    TRY(block_decode(&head, postings, err));
    for (uint32_t i = 0; i < head.count; i++) {
        const struct posting *p = &postings[i];
        if (p->score > score_max) score_max = p->score;
        if (has_number(&c->live, p->number)) {
            c->seen_count++;
            c->seen_sum += hash_posting(term, p->number, p->score);
        } else if (!has_number(&c->dead, p->number)) {
            report(c, "a posting is of no document and not marked as deleted", p->number);
        }
    }
    if (score_max != head.score_max) report(c, "a block does not tell its best score", head.first);
    return ST_OK;
}

static status read_stale_flag(struct text_checker *c, struct err *err) {
    struct kv_value v = KV_VALUE_INIT;
    text_key(&c->ix, &c->key, TEXT_STALE);
    if (c->key.failed) return no_memory(err);
    status st = kv_get(c->txn, buf_slice(&c->key), &v, err);
    c->is_stale = st == ST_OK;
    kv_value_release(&v);
    return status_failed(st) ? st : ST_OK;
}

static status check_entries(struct text_checker *c, struct err *err) {
    uint64_t count;
    TRY(read_stale_flag(c, err));
    TRY(walk(c, TEXT_LOCATOR, visit_locator, &count, err));
    TRY(walk(c, TEXT_NUMBER, visit_number, &count, err));
    if (count != c->locators) report_counts(c, "it has numbers of documents that there are not", count, c->locators);
    TRY(walk(c, TEXT_MARK, visit_mark, &count, err));
    sort_numbers(&c->dead);
    TRY(walk(c, TEXT_POSTING, visit_block, &count, err));
    if (c->seen_count != c->posting_count)
        report_counts(c, "its postings are not as many as its documents give", c->seen_count, c->posting_count);
    else if (c->seen_sum != c->posting_sum)
        report_counts(c, "its postings are not those that its documents give", c->seen_count, c->posting_count);
    return ST_OK;
}

status text_checker_finish(struct text_checker *c, uint64_t *postings, struct err *err) {
    sort_numbers(&c->live);
    for (size_t i = 1; i < c->live.count; i++) {
        if (c->live.items[i] == c->live.items[i - 1]) report(c, "two documents have one number", c->live.items[i]);
    }
    status st = check_entries(c, err);
    if (postings != NULL) *postings = c->seen_count;
    text_checker_abort(c);
    return st;
}
