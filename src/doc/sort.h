/* Sorting index entries for a build: in memory up to a limit, past it in runs that are bulk-loaded into a range of their own in the kv and
 * merged from there. Private to src/doc.
 *
 * Entries order by key; several indexes are sorted at once, since their prefixes keep them apart. Runs are loaded through the build's snapshot: they stand
 * below everything, are removed by one range delete, and a crash leaves nothing that the sweep at opening does not find.
 *   run entry   key: prefix(collection, sort id), ordered(run), key   value: varint(tail), value
 * One thread. add ... add, finish, next ... next, free. */
#ifndef ELMO_DOC_SORT_H
#define ELMO_DOC_SORT_H

#include "base/err.h"
#include "base/mem.h"
#include "base/slice.h"
#include "storage/kv.h"

struct sort_entry {
    struct slice key, value;
    uint32_t tail; /* length of the key's last part (a unique key's locator): carried along */
};

struct entry_sort;

/* run_prefix is copied. memory_max: of entries in memory. */
status entry_sort_new(const struct mem *mem, size_t memory_max, struct kv_txn *snapshot, struct slice run_prefix,
                      struct entry_sort **out, struct err *err);
void entry_sort_free(struct entry_sort *s); /* s may be NULL */
/* Copies the key, given in three parts, and the value. May write a run. */
status entry_sort_add(struct entry_sort *s, struct slice prefix, struct slice key, struct slice tail,
                      struct slice value, struct err *err);
status entry_sort_finish(struct entry_sort *s, struct err *err);
/* The next entry in key order; until the next call. ST_END. */
status entry_sort_next(struct entry_sort *s, struct sort_entry *out, struct err *err);
uint64_t entry_sort_count(const struct entry_sort *s);

#endif
