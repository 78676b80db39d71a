/* Building a text index on existing data: postings are gathered in memory by term and loaded in runs of full blocks. */
#include "index/text/postings.h"
#include "index/text/score.h"

#include <stdlib.h>

#include "base/hash.h"
#include "base/varint.h"

#define NUMBERS_AHEAD 4096

/* A term's postings so far: a chain of pieces in the arena, newest first, each twice as long as the one before: most terms occur once. */
#define PIECE_MAX 64

struct piece {
    struct piece *older;
    uint32_t count, cap;
    struct posting postings[];
};

struct builder_term {
    struct slice term;
    struct piece *newest;
    uint32_t count;
    struct builder_term *next; /* in its bucket */
};

struct numbered {
    uint64_t number;
    struct slice locator;
    struct numbered *older;
};

struct text_builder {
    struct text_index ix;
    struct kv_txn *snapshot;
    const struct mem *mem;
    size_t memory_max;
    struct arena arena, scratch; /* of the run; of one document */
    struct analyzers analyzers;
    struct builder_term **buckets;
    uint32_t bucket_count, term_count;
    struct numbered *docs; /* newest first */
    uint32_t doc_count;
    uint64_t next_number, numbers_left;
    struct buf key, value;
};

#define BUCKETS (1u << 16)

static void release(struct text_builder *b) {
    arena_release(&b->arena);
    arena_release(&b->scratch);
    analyzers_release(&b->analyzers);
    buf_release(&b->key);
    buf_release(&b->value);
    if (b->buckets != NULL) mem_free(b->mem, b->buckets, sizeof(*b->buckets) * BUCKETS);
    mem_delete(b->mem, b);
}

status text_builder_new(const struct text_index *ix, struct kv_txn *snapshot, const struct mem *mem, size_t memory_max,
                        struct text_builder **out, struct err *err) {
    struct text_builder *b = mem_new(mem, struct text_builder);
    if (b == NULL) return RAISE(err, ST_NOMEM, "no memory to build a text index");
    b->ix = *ix;
    b->snapshot = snapshot;
    b->mem = mem;
    b->memory_max = memory_max;
    arena_init(&b->arena, mem);
    arena_init(&b->scratch, mem);
    analyzers_init(&b->analyzers, mem);
    buf_init(&b->key, mem);
    buf_init(&b->value, mem);
    b->buckets = mem_zalloc(mem, sizeof(*b->buckets) * BUCKETS);
    if (b->buckets == NULL) {
        release(b);
        return RAISE(err, ST_NOMEM, "no memory to build a text index");
    }
    *out = b;
    return ST_OK;
}

void text_builder_abort(struct text_builder *b) {
    if (b != NULL) release(b);
}

static status take_number(struct text_builder *b, uint64_t *number, struct err *err) {
    if (b->numbers_left == 0) {
        text_key_sequence(&b->ix, &b->key);
        if (b->key.failed) return RAISE(err, ST_NOMEM, "no memory to build a text index");
        TRY(kv_sequence(b->ix.kv, buf_slice(&b->key), NUMBERS_AHEAD, &b->next_number, err));
        b->numbers_left = NUMBERS_AHEAD;
    }
    b->numbers_left--;
    *number = b->next_number++;
    return ST_OK;
}

static struct builder_term *find_term(struct text_builder *b, struct slice term) {
    struct builder_term **bucket = &b->buckets[hash64(term.p, term.len, 0) & (BUCKETS - 1)];
    for (struct builder_term *t = *bucket; t != NULL; t = t->next) {
        if (slice_equal(t->term, term)) return t;
    }
    struct builder_term *t = arena_new(&b->arena, struct builder_term);
    uint8_t *copy = arena_copy(&b->arena, term.p, term.len);
    if (t == NULL || copy == NULL) return NULL;
    t->term = slice_of(copy, term.len);
    t->next = *bucket;
    *bucket = t;
    b->term_count++;
    return t;
}

static status add_posting(struct text_builder *b, const struct term_score *ts, uint64_t number, struct err *err) {
    struct builder_term *t = find_term(b, ts->term);
    if (t == NULL) return RAISE(err, ST_NOMEM, "no memory to build a text index");
    if (t->newest == NULL || t->newest->count == t->newest->cap) {
        uint32_t cap = t->newest == NULL ? 1 : t->newest->cap < PIECE_MAX ? t->newest->cap * 2 : PIECE_MAX;
        struct piece *piece = arena_alloc(&b->arena, sizeof(*piece) + cap * sizeof(piece->postings[0]));
        if (piece == NULL) return RAISE(err, ST_NOMEM, "no memory to build a text index");
        *piece = (struct piece){.older = t->newest, .cap = cap};
        t->newest = piece;
    }
    t->newest->postings[t->newest->count++] = (struct posting){number, ts->score};
    t->count++;
    return ST_OK;
}

/* ---- writing a run ---- */

static int compare_terms(const void *x, const void *y) {
    struct builder_term *const *a = x, *const *b = y;
    return slice_compare((*a)->term, (*b)->term);
}

static int compare_locators(const void *x, const void *y) {
    struct numbered *const *a = x, *const *b = y;
    return slice_compare((*a)->locator, (*b)->locator);
}

static status put(struct text_builder *b, struct kv_bulk *bulk, struct slice value, struct err *err) {
    if (b->key.failed) return RAISE(err, ST_NOMEM, "no memory to build a text index");
    return kv_bulk_put(bulk, buf_slice(&b->key), value, err);
}

/* Kind 01 in order of number, then kind 02 in order of locator: keys must ascend. */
static status write_documents(struct text_builder *b, struct kv_bulk *bulk, struct err *err) {
    struct numbered **docs = arena_array(&b->scratch, struct numbered *, b->doc_count);
    uint8_t bytes[ORDERED_LEN_MAX];
    if (docs == NULL) return RAISE(err, ST_NOMEM, "no memory to build a text index");
    uint32_t at = b->doc_count;
    for (struct numbered *d = b->docs; d != NULL; d = d->older) docs[--at] = d;
    for (uint32_t i = 0; i < b->doc_count; i++) {
        text_key_number(&b->ix, &b->key, TEXT_LOCATOR, docs[i]->number);
        TRY(put(b, bulk, docs[i]->locator, err));
    }
    qsort(docs, b->doc_count, sizeof(struct numbered *), compare_locators);
    for (uint32_t i = 0; i < b->doc_count; i++) {
        text_key_locator(&b->ix, &b->key, docs[i]->locator);
        TRY(put(b, bulk, slice_of(bytes, ordered_put(bytes, docs[i]->number)), err));
    }
    return ST_OK;
}

/* A term's postings in order, cut into full blocks. */
static status write_term(struct text_builder *b, struct kv_bulk *bulk, const struct builder_term *t, struct err *err) {
    struct arena_mark mark = arena_mark(&b->scratch);
    struct posting *all = arena_alloc(&b->scratch, t->count * sizeof(*all));
    if (all == NULL) return RAISE(err, ST_NOMEM, "no memory to build a text index");
    uint32_t at = t->count;
    for (const struct piece *p = t->newest; p != NULL; p = p->older) {
        at -= p->count;
        memcpy(all + at, p->postings, p->count * sizeof(*all));
    }
    for (at = 0; at < t->count; at += BLOCK_FULL) {
        uint32_t n = t->count - at < BLOCK_FULL ? t->count - at : BLOCK_FULL;
        buf_clear(&b->value);
        TRY(block_encode(all + at, n, &b->value, err));
        text_key_posting(&b->ix, &b->key, t->term, all[at].number);
        TRY(put(b, bulk, buf_slice(&b->value), err));
    }
    arena_rewind(&b->scratch, mark);
    return ST_OK;
}

static status write_terms(struct text_builder *b, struct kv_bulk *bulk, struct err *err) {
    struct builder_term **terms = arena_array(&b->arena, struct builder_term *, b->term_count);
    uint32_t n = 0;
    if (terms == NULL) return RAISE(err, ST_NOMEM, "no memory to build a text index");
    for (uint32_t i = 0; i < BUCKETS; i++) {
        for (struct builder_term *t = b->buckets[i]; t != NULL; t = t->next) terms[n++] = t;
    }
    qsort(terms, n, sizeof(struct builder_term *), compare_terms);
    for (uint32_t i = 0; i < n; i++) TRY(write_term(b, bulk, terms[i], err));
    return ST_OK;
}

/* Loads what is in memory and forgets it. Runs have different numbers, so that their keys differ. */
static status write_run(struct text_builder *b, struct err *err) {
    struct kv_bulk *bulk = NULL;
    if (b->doc_count == 0) return ST_OK;
    arena_reset(&b->scratch);
    TRY(kv_bulk_begin(b->snapshot, &bulk, err));
    status st = write_documents(b, bulk, err);
    if (st == ST_OK) st = write_terms(b, bulk, err);
    if (st != ST_OK) {
        kv_bulk_abort(bulk);
        return st;
    }
    TRY(kv_bulk_commit(bulk, err));
    memset(b->buckets, 0, sizeof(*b->buckets) * BUCKETS);
    b->docs = NULL;
    b->doc_count = b->term_count = 0;
    arena_reset(&b->arena);
    return ST_OK;
}

status text_builder_add(struct text_builder *b, struct slice locator, struct bdoc doc, struct err *err) {
    struct doc_terms terms;
    arena_reset(&b->scratch);
    TRY(doc_terms_of(b->ix.spec, doc, &b->analyzers, &b->scratch, &terms, err));
    if (terms.count == 0) return ST_OK;
    struct numbered *d = arena_new(&b->arena, struct numbered);
    uint8_t *copy = arena_copy(&b->arena, locator.p, locator.len);
    if (d == NULL || copy == NULL) return RAISE(err, ST_NOMEM, "no memory to build a text index");
    TRY(take_number(b, &d->number, err));
    d->locator = slice_of(copy, locator.len);
    d->older = b->docs;
    b->docs = d;
    b->doc_count++;
    for (uint32_t i = 0; i < terms.count; i++) TRY(add_posting(b, &terms.terms[i], d->number, err));
    return b->arena.used > b->memory_max ? write_run(b, err) : ST_OK;
}

status text_builder_finish(struct text_builder *b, struct err *err) {
    status st = write_run(b, err);
    release(b);
    return st;
}
