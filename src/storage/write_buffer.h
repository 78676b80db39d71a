/* A transaction's private buffer: what it wrote and has not committed, in key order.
 *
 * Every write carries the statement that made it, so that a cursor of statement s reads only what earlier statements wrote
 * (kv.h K4). A key's versions stand in a chain, newest first, and each one is complete: an `add` on a buffered put is stored as the
 * put of the sum, on a buffered delete as the put of the delta, on an earlier add as the add of the sum; a delete_range
 * sets every buffered key inside it to "deleted". So a read takes the newest version under its limit and folds nothing.
 *
 * Range deletes are kept as disjoint intervals with the statement since which each is covered: they speak for keys that have no visible
 * version here. Statement numbers never fall, so "covered since" says everything about every limit.
 *
 * put_blind differs from put only in the intents that it does not take (storage/intents.h): here both are write_buffer_put.
 *
 * INVARIANTS
 *   B1  Statement numbers in a key's chain never rise from newest to oldest.
 *   B2  The history links every change, newest first; undoing them one by one restores every earlier state exactly.
 *   B3  A change's record is taken from the arena before all else that the change takes, so that undoing it rewinds the arena to it.
 *   B4  A failed call changes nothing.
 *
 * Threads: one at a time.
 */
#ifndef ELMO_STORAGE_WRITE_BUFFER_H
#define ELMO_STORAGE_WRITE_BUFFER_H

#include <stdbool.h>

#include "base/mem.h"
#include "storage/source.h"

struct write_buffer;

#define STATEMENT_ALL UINT32_MAX /* as a limit: everything written so far */

/* memory_max: bytes it may hold; a write past it fails with ST_TOO_LARGE (TransactionTooLarge) and changes nothing. 0: no limit. */
status write_buffer_new(const struct mem *mem, size_t memory_max, struct write_buffer **out, struct err *err);
void write_buffer_free(struct write_buffer *b); /* b may be NULL; its cursors must be closed before */

/* Writes are recorded under the current statement: 0 until the first call of write_buffer_next_statement, which returns 1. */
uint32_t write_buffer_statement(const struct write_buffer *b);
uint32_t write_buffer_next_statement(struct write_buffer *b);

/* Keys and values are copied. ST_NOMEM, ST_TOO_LARGE. */
status write_buffer_put(struct write_buffer *b, struct slice key, struct slice value, struct err *err);
status write_buffer_add(struct write_buffer *b, struct slice key, int64_t delta, struct err *err);
status write_buffer_delete(struct write_buffer *b, struct slice key, struct err *err);
/* [lo, hi), both non-empty; lo >= hi does nothing. Time: the buffered keys inside, not the stored ones. */
status write_buffer_delete_range(struct write_buffer *b, struct slice lo, struct slice hi, struct err *err);

/* What an `add` adds to: a value of 8 bytes, little endian; any other length counts as 0. */
int64_t counter_of(struct slice value);

/* The state of key as statements < limit left it.
 *   ST_OK         out->kind ENTRY_PUT (value), ENTRY_DELETE (by delete or delete_range: look no further below), or
 *                 ENTRY_ADD (value: 8 bytes, the delta onto what lies below); out->seq SEQ_MAX; out->key is the caller's.
 *   ST_NOT_FOUND  the buffer says nothing about key.
 * The value lives until the change that wrote it is rolled back or the buffer is freed (an ADD's only until the next write). */
status write_buffer_get(const struct write_buffer *b, struct slice key, uint32_t limit, struct entry *out);

/* Whether a delete_range of a statement < limit covers key from what lies below the buffer. `from` and `until` (may be NULL) are set
 * to an interval [from, until) around key with the same answer (len 0: without end on that side), so that a scan may keep it. They live until the next
 * delete_range or rollback. */
bool write_buffer_covers(const struct write_buffer *b, struct slice key, uint32_t limit, struct slice *from,
                         struct slice *until);
/* Whether there is any range delete at all. */
bool write_buffer_has_ranges(const struct write_buffer *b);

/* Calls visit with each maximal range deleted by statements < limit, ascending and disjoint. Stops at the first status that is not ST_OK. */
status write_buffer_ranges(const struct write_buffer *b, uint32_t limit,
                           status (*visit)(void *ctx, struct slice lo, struct slice hi), void *ctx);

/* How many changes there are: a mark for rollback. Costs nothing. */
uint64_t write_buffer_mark(const struct write_buffer *b);
/* Undoes every change after the mark, in time proportional to their number, and gives their memory back: bytes lent from them die. The statement
 * number stays. Cursors with a limit above the oldest undone statement stand nowhere and must be placed again; others are not touched. Infallible. */
void write_buffer_rollback_to(struct write_buffer *b, uint64_t mark);

/* Bytes of memory held. */
size_t write_buffer_used(const struct write_buffer *b);
bool write_buffer_is_empty(const struct write_buffer *b);

/* A cursor over the state under `limit`; embeds struct source first. One entry per key: PUT, DELETE or ADD, seq SEQ_MAX; keys that only a range
 * delete covers are no entries. Writes made while it is open are seen or not as their statement says. Nothing in it fails. */
status write_buffer_cursor(struct write_buffer *b, uint32_t limit, struct source **out, struct err *err);

/* For the commit: how many entries write_buffer_final will give, and the bytes of their keys and values; likewise the ranges. */
struct write_buffer_totals {
    uint64_t entry_count, entry_bytes, range_count, range_bytes;
};
struct write_buffer_totals write_buffer_totals(const struct write_buffer *b);
/* What the transaction comes to: first range() for each maximal deleted range, then entry() for each key's last state, both ascending. All share one sequence:
 * a range delete covers only older sequences, so an entry stands above the transaction's own range deletes; a DELETE that a range delete
 * covers anyway is left out. Large values come as ENTRY_PUT. e->seq is 0. Stops at the first status that is not ST_OK. */
status write_buffer_final(const struct write_buffer *b, status (*range)(void *ctx, struct slice lo, struct slice hi),
                          status (*entry)(void *ctx, const struct entry *e), void *ctx);

#endif
