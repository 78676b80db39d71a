/* A text index over a key-value store for tests, without the layers above: documents stand under the collection's prefix, as src/doc keeps them. Failures of
 * helpers fail the test. */
#ifndef ELMO_TESTS_TEXT_EASE_H
#define ELMO_TESTS_TEXT_EASE_H

#include "base/buf.h"
#include "index/text/text.h"

struct text_ease {
    struct kv *kv;
    struct arena arena;
    struct index_spec spec;
    struct text_index ix;
};

/* JSON as people type it; lives until the process ends. */
struct bdoc text_doc(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* The spec as createIndexes takes it: "{key: {body: 'text'}}". Takes the kv over. */
void text_ease_open(struct text_ease *t, struct kv *kv, const char *spec);
void text_ease_close(struct text_ease *t);

struct kv_txn *text_ease_begin(struct text_ease *t);
void text_ease_commit(struct kv_txn *txn);
/* One document's change, record and postings; p NULL: none. */
status text_ease_write(struct text_ease *t, struct kv_txn *txn, uint64_t id, struct bdoc old_doc, struct bdoc new_doc,
                       const struct mem *mem, struct err *err);
/* The record alone, as if it stood there before the index. */
void text_ease_record(struct text_ease *t, struct kv_txn *txn, uint64_t id, struct bdoc doc);
/* In a transaction of its own. */
void text_ease_put(struct text_ease *t, uint64_t id, struct bdoc old_doc, struct bdoc new_doc);

struct slice text_ease_locator(uint64_t id, uint8_t bytes[9]);
uint64_t text_ease_id(struct slice locator);

struct ease_hit {
    uint64_t id;
    double score;
};
struct text_query *text_ease_query(struct text_ease *t, const char *search, bool case_sensitive,
                                   bool diacritic_sensitive, struct arena *arena);
/* All hits, as search gives them: how many. */
size_t text_ease_search(struct text_ease *t, struct kv_txn *txn, const struct text_query *q, bool ranked,
                        uint64_t limit, struct ease_hit *out, size_t max);
/* Ids of the hits of a search in ascending order, as "1 2 3". */
const char *text_ease_find(struct text_ease *t, const char *search, bool case_sensitive, bool diacritic_sensitive);

/* text_checker over all records that txn sees: faults found; the last one's text stays in text_ease_fault. */
size_t text_ease_check(struct text_ease *t, struct kv_txn *txn);
extern char text_ease_fault[512];
/* Entries of a kind of the index (postings.h). */
uint64_t text_ease_count(struct text_ease *t, int kind);

#endif
