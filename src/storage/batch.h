/* What a log record says: the whole of one transaction, or a reservation of ids.
 *
 *   batch     01  sequence le64  entry count varint  range count varint  ranges  entries
 *     range       lo length varint, lo, hi length varint, hi
 *     entry       kind u8, key length varint, value length varint, key, value   (kind, value as storage/source.h has them)
 *   sequence  02  next le64  key (the rest)
 *
 * All entries and ranges of a batch share its sequence; its range deletes cover only older ones. Numbers as base/varint.h writes them.
 * Batches come from a log whose records are checksummed; still every length is checked. */
#ifndef ELMO_STORAGE_BATCH_H
#define ELMO_STORAGE_BATCH_H

#include "base/buf.h"
#include "storage/source.h"

enum record_kind { RECORD_BATCH = 1, RECORD_SEQUENCE = 2 };

#define BATCH_SEQ_AT 1 /* where the sequence stands, filled in when it is known */

struct batch_totals {
    uint64_t entry_count, range_count, bytes;
};

void batch_begin(struct buf *out, uint64_t entry_count, uint64_t range_count);
void batch_add_range(struct buf *out, struct slice lo, struct slice hi);
void batch_add(struct buf *out, uint8_t kind, struct slice key, struct slice value);

/* Calls range, then entry, for all that a batch holds; slices point into the record. ST_CORRUPT when it is not one. Either may be NULL. */
struct batch_visitor {
    void *ctx;
    status (*range)(void *ctx, struct slice lo, struct slice hi, uint64_t seq, struct err *err);
    status (*entry)(void *ctx, const struct entry *e, struct err *err);
};
status batch_visit(struct slice record, const struct batch_visitor *visitor, struct err *err);
/* Sequence and counts without a walk; bytes is the record's length. */
status batch_head(struct slice record, uint64_t *seq, struct batch_totals *out, struct err *err);

struct memtable;
/* Puts a batch into the memtable in two steps: prepare takes all the memory that is needed and shows nothing; apply cannot fail after it. `seq` is the sequence
 * that the batch will have. For a group of batches without ranges one memtable_reserve of their sums does as prepare. One with ranges at a time;
 * memtable_unstage_ranges takes a prepare back. */
status batch_prepare(struct slice record, uint64_t seq, struct memtable *m, const struct mem *mem, struct err *err);
status batch_apply(struct slice record, struct memtable *m, struct err *err);

#endif
