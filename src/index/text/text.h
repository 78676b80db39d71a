/* A text index: documents' words as postings in the same keyspace and the same transaction. Layout and formulas: docs/FORMAT.md.
 *
 * A document gets a number from kv_sequence (an update is a new number). A transaction only adds: blocks of one posting keyed
 * (term, number) and a delete mark per number; so concurrent inserts of common words never conflict. text_consolidate, an
 * ordinary transaction, folds small blocks into full ones and drops marked numbers.
 *
 * T1  A number is live when it has no delete mark and, if the index carries the stale flag, when its locator's number is it.
 * T2  Numbers are never used again; a block holds ascending numbers, and blocks of one term may overlap in their ranges.
 * T3  A document's score for a term is a constant of the document (MongoDB's formula), kept in its posting. */
#ifndef ELMO_INDEX_TEXT_TEXT_H
#define ELMO_INDEX_TEXT_TEXT_H

#include "base/arena.h"
#include "index/spec.h"
#include "storage/kv.h"

struct text_index {
    struct kv *kv;
    uint64_t collection_id, index_id;
    const struct index_spec *spec;
};

/* Old and new state of one document (p NULL: none), whose locator is given. Part of the caller's transaction. A document whose indexed text did not change costs a
 * comparison. 17261, 17262: its language field is no string, or names a language that is not supported. */
status text_write(const struct text_index *ix, struct kv_txn *txn, struct slice locator, struct bdoc old_doc,
                  struct bdoc new_doc, struct arena *scratch, struct err *err);

/* Building on existing data: add documents in any order, finish writes full blocks through kv_bulk. Memory is bounded by `memory_max`: runs are spilled as blocks. */
struct text_builder;
status text_builder_new(const struct text_index *ix, struct kv_txn *snapshot, const struct mem *mem, size_t memory_max,
                        struct text_builder **out, struct err *err);
status text_builder_add(struct text_builder *b, struct slice locator, struct bdoc doc, struct err *err);
status text_builder_finish(struct text_builder *b, struct err *err); /* frees b */
void text_builder_abort(struct text_builder *b);

/* A parsed $search: words, "phrases", -negation; by the language's analyser. Lives in the arena. */
struct text_query;
status text_query_parse(const struct text_index *ix, struct slice search, struct slice language, bool case_sensitive,
                        bool diacritic_sensitive, struct arena *arena, struct text_query **out, struct err *err);

struct text_hit {
    struct slice locator;
    double score;
}; /* until the next call */
struct text_search;
/* ranked: best score first (ties by number), stopping early after `limit` hits (0: all) by skipping blocks that cannot win; not ranked: in
 * number order. Phrases, and words where case or diacritics count, are checked on the documents themselves, before a hit counts. */
struct text_search_opts {
    bool ranked, with_score;
    uint64_t limit;
};
status text_search_open(const struct text_index *ix, struct kv_txn *txn, const struct text_query *q,
                        const struct text_search_opts *opts, const struct mem *mem, struct text_search **out,
                        struct err *err);
status text_search_next(struct text_search *s, struct text_hit *hit, struct err *err); /* ST_END */
void text_search_rest(struct text_search *s);
void text_search_close(struct text_search *s);
uint64_t text_search_keys_examined(const struct text_search *s);
/* Does this document match the query, by analysing it anew? */
status text_query_matches(const struct text_index *ix, const struct text_query *q, struct bdoc doc,
                          struct arena *scratch, bool *matches, double *score, struct err *err);

/* About how many documents match; from statistics. */
status text_estimate(const struct text_index *ix, struct kv_txn *txn, const struct text_query *q, uint64_t *documents,
                     struct err *err);

/* Folds small blocks into full ones and drops what deleted documents left: one bounded step in a transaction of its own; *more tells that there is more to do,
 * false also when nothing is due. A conflict with another step is not an error: nothing was done. Only for an index that is published (ready). */
status text_consolidate(const struct text_index *ix, const struct mem *mem, bool *more, struct err *err);

/* Verifies that every document is represented by exactly one live number and that the postings of the live numbers are those that the
 * analyser gives: hand every document of the collection to text_checker_add, in any order, then finish. `found` gets a text per fault. */
struct text_checker;
status text_checker_new(const struct text_index *ix, struct kv_txn *txn, const struct mem *mem,
                        void (*found)(void *ctx, const char *text), void *ctx, struct text_checker **out,
                        struct err *err);
status text_checker_add(struct text_checker *c, struct slice locator, struct bdoc doc, struct err *err);
/* Frees it. *postings (may be NULL): of live numbers. */
status text_checker_finish(struct text_checker *c, uint64_t *postings, struct err *err);
void text_checker_abort(struct text_checker *c);

#endif
