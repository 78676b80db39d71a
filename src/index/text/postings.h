/* Keys and values of a text index in the keyspace.
 *
 * Under the index's prefix (index/key.h) a kind byte follows:
 *   01 number            -> locator               a live number's document
 *   02 locator           -> number                ordered varint
 *   03 term 00 number    -> a block of postings   number: the least in the block
 *   04 number            -> (empty)               delete mark: the number is dead, its postings may still stand
 *   05                   -> consolidation state   (consolidate.c)
 *   06                   -> (empty)               stale flag: a writer met a document of a build that was not published yet (T1)
 * Numbers in keys are ordered varints (base/varint.h), from 1 to 2^64 - 2; terms are UTF-8 without NUL.
 *
 * A block of one posting, as writers make them:
 *   u8 format (2); f64 score.
 * A block of several:
 *   u8 format (1); varint count n; varint last - first; f64 greatest score;
 *   n - 1 varints: number - previous number (the first number stands in the key);
 *   varint d: distinct scores, or 0; d > 0: d doubles ascending, then n bytes of index; d = 0: n doubles.
 */
#ifndef ELMO_INDEX_TEXT_POSTINGS_H
#define ELMO_INDEX_TEXT_POSTINGS_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "index/text/text.h"

enum text_kind {
    TEXT_LOCATOR = 1,
    TEXT_NUMBER = 2,
    TEXT_POSTING = 3,
    TEXT_MARK = 4,
    TEXT_STATE = 5,
    TEXT_STALE = 6,
    TEXT_KIND_END = 7
};

#define BLOCK_FULL 256 /* postings in a full block */

struct posting {
    uint64_t number;
    double score;
};

struct block_head {
    uint64_t first, last;
    uint32_t count;
    double score_max;
    struct slice rest; /* what follows the head; len 0: a block of one posting */
};

/* Each clears `key` and writes a whole key. */
void text_key(const struct text_index *ix, struct buf *key, enum text_kind kind);
void text_key_number(const struct text_index *ix, struct buf *key, enum text_kind kind, uint64_t number);
void text_key_locator(const struct text_index *ix, struct buf *key, struct slice locator);
void text_key_term(const struct text_index *ix, struct buf *key, struct slice term); /* the prefix of a term's blocks */
void text_key_posting(const struct text_index *ix, struct buf *key, struct slice term, uint64_t first);
/* Where the index's numbers come from. */
void text_key_sequence(const struct text_index *ix, struct buf *key);

/* Reads the number at the end of a key; `prefix_len`: what stands before it. ST_CORRUPT when it is none. */
status text_key_read_number(struct slice key, size_t prefix_len, uint64_t *number, struct err *err);
/* Reads the value of a kind 02 entry. */
status text_value_read_number(struct slice value, uint64_t *number, struct err *err);
/* Splits the key of a posting block: term and first number. */
status text_key_read_posting(const struct text_index *ix, struct slice key, struct slice *term, uint64_t *first,
                             struct err *err);

/* Appends a block of n > 0 postings in ascending order. */
status block_encode(const struct posting *postings, uint32_t n, struct buf *out, struct err *err);
status block_read_head(struct slice value, uint64_t first, struct block_head *out, struct err *err);
/* `out` has room for head->count. */
status block_decode(const struct block_head *head, struct posting *out, struct err *err);

#endif
