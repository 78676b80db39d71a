/* The ordered, transactional key-value store that the document layers stand on. The LSM is its first implementation; nothing
 * above this header knows of segments, logs or files.
 *
 * Keys and values are bytes; keys order by memcmp, shorter first. A key has 1 byte to 16 MiB, a value 0 bytes to 16 MiB + 16 KiB.
 *
 * THREADS  A kv may be used by any number of threads. A transaction, its cursors and its values belong to one thread at a time.
 *
 * CONTRACT
 *   K1  A transaction reads the state committed when it began (its snapshot) plus its own writes. Readers never wait.
 *   K2  First updater wins: put, add, delete and delete_range are refused with ST_CONFLICT at once when another transaction has a
 *       pending write to the key (or range), or committed one after this snapshot. add does not conflict with add. put_blind
 *       conflicts with nothing: the last commit wins (flags that only go up).
 *   K3  Commit is atomic: all or nothing, also across a crash. ST_OUTCOME_UNKNOWN may answer when the log failed half way.
 *   K4  A statement sees what earlier statements of its transaction wrote, not its own writes: a cursor opened in statement s
 *       sees buffered writes with statement number < s. kv_get sees everything written so far.
 *   K5  After a failed call the transaction stays usable unless the failure was ST_IO, ST_NO_SPACE, ST_CORRUPT or ST_CLOSED; what the failed call
 *       wrote, it did not write. ST_NOMEM leaves it usable.
 *   K6  Bytes lent by a value stay valid until kv_value_release or the transaction's end; by a cursor until its next call.
 *   K7  A cursor obeys: a new one stands nowhere; a placing or moving call returns ST_OK and stands on an entry, or ST_END and stands
 *       nowhere, or a failure, which sticks. key/value may be called only on an entry. Keys ascend strictly under next, descend
 *       strictly under prev. next after prev (and back) is allowed.
 *   K8  A failed sync makes the kv read-only: every later write answers the same failure; reads go on.
 */
#ifndef ELMO_STORAGE_KV_H
#define ELMO_STORAGE_KV_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/slice.h"

#define KV_KEY_LEN_MAX ((size_t) 16 * 1024 * 1024)
#define KV_VALUE_LEN_MAX ((size_t) 16 * 1024 * 1024 + 16 * 1024)

/* Told once, when the transaction has ended, by kv_commit (whatever it answered) or kv_abort; may free itself. In order last added, first told. */
struct kv_hook {
    void (*ended)(struct kv_hook *hook);
    struct kv_hook *next;
};

struct kv {
    const struct kv_ops *ops;
};
struct kv_txn {
    const struct kv_ops *ops;
    uint64_t tag;          /* the layer above's own word; 0 after begin */
    struct kv_hook *hooks; /* NULL after begin; the layer above may push */
};
struct kv_cursor {
    const struct kv_ops *ops;
};
struct kv_bulk {
    const struct kv_ops *ops;
};

/* A value read by get: borrowed bytes and what keeps them in place. Zero it before its first use (KV_VALUE_INIT). */
struct kv_value {
    struct slice bytes; /* p NULL: absent */
    void *pin, *owner;  /* the implementation's */
    void (*unpin)(struct kv_value *v);
};
#define KV_VALUE_INIT ((struct kv_value){0})
static inline void kv_value_release(struct kv_value *v) {
    if (v->unpin != NULL) v->unpin(v);
    *v = KV_VALUE_INIT;
}

enum kv_sync {
    KV_SYNC,       /* durable, as the database's sync mode has it, when commit returns */
    KV_SYNC_LATER, /* logged and visible now; durable when kv_sync returns, or as the sync mode has it */
};

struct kv_bounds {
    struct slice lo; /* inclusive; len 0: from the first key */
    struct slice hi; /* exclusive; len 0: to the last key */
};

struct kv_mark {
    uint64_t at;
    uint32_t statement;
};

struct kv_estimate {
    uint64_t entries, bytes;
};

struct kv_ops {
    void (*close)(struct kv *kv);
    status (*begin)(struct kv *kv, bool read_only, struct kv_txn **out, struct err *err);
    status (*commit)(struct kv_txn *txn, enum kv_sync sync, struct err *err);
    void (*abort)(struct kv_txn *txn);
    status (*sync)(struct kv *kv, struct err *err);
    status (*get)(struct kv_txn *txn, struct slice key, struct kv_value *out, struct err *err);
    status (*get_many)(struct kv_txn *txn, size_t n, const struct slice *keys, struct kv_value *out, struct err *err);
    status (*put)(struct kv_txn *txn, struct slice key, struct slice value, struct err *err);
    status (*put_blind)(struct kv_txn *txn, struct slice key, struct slice value, struct err *err);
    status (*add)(struct kv_txn *txn, struct slice key, int64_t delta, struct err *err);
    status (*del)(struct kv_txn *txn, struct slice key, struct err *err);
    status (*del_range)(struct kv_txn *txn, struct slice lo, struct slice hi, struct err *err);
    status (*lock)(struct kv_txn *txn, struct slice key, bool exclusive, uint64_t timeout_ms, struct err *err);
    status (*sequence)(struct kv *kv, struct slice key, uint64_t n, uint64_t *first, struct err *err);
    uint32_t (*next_statement)(struct kv_txn *txn);
    struct kv_mark (*mark)(struct kv_txn *txn);
    void (*rollback_to)(struct kv_txn *txn, struct kv_mark mark);
    status (*cursor)(struct kv_txn *txn, const struct kv_bounds *bounds, struct kv_cursor **out, struct err *err);
    status (*estimate)(struct kv_txn *txn, const struct kv_bounds *bounds, struct kv_estimate *out, struct err *err);
    status (*bulk_begin)(struct kv_txn *snapshot, struct kv_bulk **out, struct err *err);

    status (*seek_ge)(struct kv_cursor *c, struct slice key, struct err *err);
    status (*seek_le)(struct kv_cursor *c, struct slice key, struct err *err);
    status (*first)(struct kv_cursor *c, struct err *err);
    status (*last)(struct kv_cursor *c, struct err *err);
    status (*next)(struct kv_cursor *c, struct err *err);
    status (*prev)(struct kv_cursor *c, struct err *err);
    status (*count)(struct kv_cursor *c, uint64_t max, uint64_t *n, struct err *err);
    struct slice (*key)(struct kv_cursor *c);
    status (*value)(struct kv_cursor *c, struct slice *out, struct err *err);
    void (*rest)(struct kv_cursor *c);
    void (*cursor_close)(struct kv_cursor *c);

    status (*bulk_put)(struct kv_bulk *b, struct slice key, struct slice value, struct err *err);
    status (*bulk_commit)(struct kv_bulk *b, struct err *err);
    void (*bulk_abort)(struct kv_bulk *b);
};

/* Waits for background work, writes what is in memory, closes. All transactions must have ended. */
static inline void kv_close(struct kv *kv) {
    if (kv != NULL) kv->ops->close(kv);
}

/* Begins with a snapshot of what is committed now. A read_only one refuses writes (ST_READ_ONLY) and costs less. */
static inline status kv_begin(struct kv *kv, bool read_only, struct kv_txn **out, struct err *err) {
    status st = kv->ops->begin(kv, read_only, out, err);
    if (st == ST_OK) (*out)->tag = 0, (*out)->hooks = NULL;
    return st;
}
static inline void kv_hooks_run(struct kv_hook *hook) {
    for (struct kv_hook *next; hook != NULL; hook = next) next = hook->next, hook->ended(hook);
}
/* Ends the transaction and frees it, whatever the answer. Its cursors must be closed, its values released before. */
static inline status kv_commit(struct kv_txn *t, enum kv_sync sync, struct err *err) {
    struct kv_hook *hooks = t->hooks;
    status st = t->ops->commit(t, sync, err);
    kv_hooks_run(hooks);
    return st;
}
static inline void kv_abort(struct kv_txn *t) {
    if (t == NULL) return;
    struct kv_hook *hooks = t->hooks;
    t->ops->abort(t);
    kv_hooks_run(hooks);
}
/* Makes every commit that has returned durable (mode "full": waits for the disk; other modes: as they promise). */
static inline status kv_sync(struct kv *kv, struct err *err) { return kv->ops->sync(kv, err); }

/* ST_NOT_FOUND (out->bytes.p NULL) when absent. `out` must be zeroed or released. A value of an `add` key is 8 bytes, little endian, signed. */
static inline status kv_get(struct kv_txn *t, struct slice key, struct kv_value *out, struct err *err) {
    return t->ops->get(t, key, out, err);
}
/* n gets at once, in any order of keys; ascending is fastest. ST_OK even when some are absent (bytes.p NULL). On failure nothing is lent. */
static inline status kv_get_many(struct kv_txn *t, size_t n, const struct slice *keys, struct kv_value *out,
                                 struct err *err) {
    return t->ops->get_many(t, n, keys, out, err);
}

static inline status kv_put(struct kv_txn *t, struct slice key, struct slice value, struct err *err) {
    return t->ops->put(t, key, value, err);
}
static inline status kv_put_blind(struct kv_txn *t, struct slice key, struct slice value, struct err *err) {
    return t->ops->put_blind(t, key, value, err);
}
/* Adds to a counter (absent = 0), wrapping. Never conflicts with another add. */
static inline status kv_add(struct kv_txn *t, struct slice key, int64_t delta, struct err *err) {
    return t->ops->add(t, key, delta, err);
}
static inline status kv_delete(struct kv_txn *t, struct slice key, struct err *err) { return t->ops->del(t, key, err); }
/* Deletes every key in [lo, hi) that this transaction sees, in time independent of their number. */
static inline status kv_delete_range(struct kv_txn *t, struct slice lo, struct slice hi, struct err *err) {
    return t->ops->del_range(t, lo, hi, err);
}

/* Locks in memory, held to the end of the transaction. Shared with shared; exclusive with none. Waits up to timeout_ms (ST_BUSY then; of two waiting for each other one gets ST_BUSY
 * by the timeout). ST_STALE when the value under `key` was changed by a commit after this snapshot. */
static inline status kv_lock_shared(struct kv_txn *t, struct slice key, uint64_t timeout_ms, struct err *err) {
    return t->ops->lock(t, key, false, timeout_ms, err);
}
static inline status kv_lock_exclusive(struct kv_txn *t, struct slice key, uint64_t timeout_ms, struct err *err) {
    return t->ops->lock(t, key, true, timeout_ms, err);
}

/* n numbers that no call gave before for this key, starting at *first >= 1; ascending, gaps allowed, durable before anything that uses them is.
 * Not part of any transaction. The key must not be used otherwise. */
static inline status kv_sequence(struct kv *kv, struct slice key, uint64_t n, uint64_t *first, struct err *err) {
    return kv->ops->sequence(kv, key, n, first, err);
}

/* Starts the next statement: cursors opened from now on see all writes made so far. Returns its number, from 1. */
static inline uint32_t kv_next_statement(struct kv_txn *t) { return t->ops->next_statement(t); }
/* Undoes every write after the mark (locks stay). Cursors stay valid but must be placed again. */
static inline struct kv_mark kv_mark(struct kv_txn *t) { return t->ops->mark(t); }
static inline void kv_rollback_to(struct kv_txn *t, struct kv_mark mark) { t->ops->rollback_to(t, mark); }

/* A cursor over [lo, hi) at the transaction's snapshot. The bounds are copied. NULL bounds: everything. */
static inline status kv_cursor_open(struct kv_txn *t, const struct kv_bounds *b, struct kv_cursor **out,
                                    struct err *err) {
    return t->ops->cursor(t, b, out, err);
}
static inline status kv_seek_ge(struct kv_cursor *c, struct slice key, struct err *err) {
    return c->ops->seek_ge(c, key, err);
}
static inline status kv_seek_le(struct kv_cursor *c, struct slice key, struct err *err) {
    return c->ops->seek_le(c, key, err);
}
static inline status kv_first(struct kv_cursor *c, struct err *err) { return c->ops->first(c, err); }
static inline status kv_last(struct kv_cursor *c, struct err *err) { return c->ops->last(c, err); }
static inline status kv_next(struct kv_cursor *c, struct err *err) { return c->ops->next(c, err); }
static inline status kv_prev(struct kv_cursor *c, struct err *err) { return c->ops->prev(c, err); }
/* Counts the entries from the one it stands on, at most max (> 0), and steps over them, as *n calls of kv_next would but faster: ST_OK stands on the entry after
 * them, ST_END there is none. *n counts in both cases. */
static inline status kv_cursor_count(struct kv_cursor *c, uint64_t max, uint64_t *n, struct err *err) {
    return c->ops->count(c, max, n, err);
}
static inline struct slice kv_cursor_key(struct kv_cursor *c) { return c->ops->key(c); }
/* Fails only when a large value must be read from disk. */
static inline status kv_cursor_value(struct kv_cursor *c, struct slice *out, struct err *err) {
    return c->ops->value(c, out, err);
}
/* Lets go of pinned blocks and versions; the next call finds the place again. For cursors that wait for a client. */
static inline void kv_cursor_rest(struct kv_cursor *c) { c->ops->rest(c); }
static inline void kv_cursor_close(struct kv_cursor *c) {
    if (c != NULL) c->ops->cursor_close(c);
}

/* About how many entries and bytes lie in the bounds, from the tree's own counts: no entry is read. Cheap enough for every plan. */
static inline status kv_estimate(struct kv_txn *t, const struct kv_bounds *b, struct kv_estimate *out,
                                 struct err *err) {
    return t->ops->estimate(t, b, out, err);
}

/* Loads entries below everything written after `snapshot`: they count as written when it was taken, so that later writes to the same
 * keys (deletes too) stand above them. For index builds: keys strictly ascend, and no key may exist that was written before the snapshot.
 * Nothing is visible before bulk_commit, which is durable when it returns; afterwards the snapshot's own transaction sees them too (gets, and
 * cursors opened from then on). The snapshot must stay open until then. Several loads, one after the other, may come from one snapshot. */
static inline status kv_bulk_begin(struct kv_txn *snapshot, struct kv_bulk **out, struct err *err) {
    return snapshot->ops->bulk_begin(snapshot, out, err);
}
static inline status kv_bulk_put(struct kv_bulk *b, struct slice key, struct slice value, struct err *err) {
    return b->ops->bulk_put(b, key, value, err);
}
static inline status kv_bulk_commit(struct kv_bulk *b, struct err *err) {
    return b->ops->bulk_commit(b, err);
} /* frees b */
static inline void kv_bulk_abort(struct kv_bulk *b) {
    if (b != NULL) b->ops->bulk_abort(b);
}

#endif
