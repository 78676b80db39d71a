/* lsm: the storage core of elmo, usable alone as an ordered, transactional key-value store in one file.
 *
 *     lsm_t *db;
 *     lsm_error_t error;
 *     if (!lsm_open ("app.lsm", NULL, &db, &error)) ...
 *     lsm_put (db, "key", 3, "value", 5, &error);
 *     lsm_close (db);
 *
 * Keys and values are bytes; keys order by memcmp, shorter first. A key has 1 byte to 16 MiB, a value 0 bytes to 16 MiB + 16 KiB.
 *
 * Transactions see the state committed when they began, plus their own writes. The first of two that write a key wins: the other's write
 * is refused with LSM_CONFLICT; abort it and run it again. A commit is atomic and, by default, on disk when it returns.
 *
 * Threads: an lsm_t may be used by any number of threads. A transaction and its cursors belong to one thread at a time.
 * Errors: functions answer true, or false with `error` filled (it may be NULL). "Not found" and "no more entries" are answers: see each function.
 * Memory: bytes that are lent say until when they are valid. The library never exits, prints or keeps global state. */
#ifndef ELMO_LSM_H
#define ELMO_LSM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef ELMO_API
#define ELMO_API __attribute__ ((visibility ("default")))
#endif

typedef struct lsm lsm_t;
typedef struct lsm_txn lsm_txn_t;
typedef struct lsm_cursor lsm_cursor_t;

typedef enum {
    LSM_OK = 0,
    LSM_NOMEM,
    LSM_IO,
    LSM_NO_SPACE,        /* the disk is full; what was there is unharmed, the call may be tried again */
    LSM_CORRUPT,         /* damage was found; the message says where */
    LSM_INVALID,         /* a bad argument */
    LSM_UNSUPPORTED,     /* a file of a newer version */
    LSM_CONFLICT,        /* another transaction wrote the key first */
    LSM_BUSY,            /* the file is open elsewhere */
    LSM_READ_ONLY,
    LSM_TOO_LARGE,
    LSM_OUTCOME_UNKNOWN, /* the log failed half way: the commit is there after the next open, whole, or not at all */
    LSM_MISSING,         /* no such database */
    LSM_OTHER,
} lsm_code_t;

typedef struct {
    lsm_code_t code;
    char message[504];   /* NUL-terminated */
} lsm_error_t;

typedef enum {
    LSM_FULL = 0,  /* a commit is on disk when it returns */
    LSM_NORMAL,    /* survives a crash of the process at once, of the machine after 100 ms */
    LSM_OFF,       /* survives a crash of the process */
} lsm_sync_mode_t;

/* Zero everything (LSM_OPTIONS_INIT) and set what differs. */
typedef struct {
    lsm_sync_mode_t sync;
    bool must_exist;        /* do not create */
    bool read_only;         /* others may read too; nothing is written */
    bool no_threads;        /* maintenance runs in the committing callers */
    size_t cache_bytes;     /* 0: 64 MiB */
    size_t memtable_bytes;  /* 0: 32 MiB; up to three of them are in memory */
} lsm_options_t;
#define LSM_OPTIONS_INIT {LSM_FULL, false, false, false, 0, 0}

/* Opens or creates the database at `path`; NULL or ":memory:" keeps it in memory. `options` may be NULL. While it is open a log stands beside
 * the file; after lsm_close only the file is left. Close with lsm_close. */
ELMO_API bool lsm_open (const char *path, const lsm_options_t *options, lsm_t **db, lsm_error_t *error);
/* All transactions must have ended. db may be NULL. */
ELMO_API void lsm_close (lsm_t *db);

/* Single operations, each a transaction of its own. A write that meets another transaction's is LSM_CONFLICT. */
ELMO_API bool lsm_put (lsm_t *db, const void *key, size_t key_len, const void *value, size_t value_len, lsm_error_t *error);
ELMO_API bool lsm_delete (lsm_t *db, const void *key, size_t key_len, lsm_error_t *error);
/* Deletes all keys in [lo, hi), in time independent of their number. */
ELMO_API bool lsm_delete_range (lsm_t *db, const void *lo, size_t lo_len, const void *hi, size_t hi_len, lsm_error_t *error);
/* *value is a copy that the caller frees with lsm_free; NULL (and true) when the key is absent. A value of no bytes is not NULL. */
ELMO_API bool lsm_get (lsm_t *db, const void *key, size_t key_len, void **value, size_t *value_len, lsm_error_t *error);
ELMO_API void lsm_free (void *value, size_t value_len);

/* A transaction. End it with lsm_txn_commit or lsm_txn_abort, its cursors closed. A read-only one costs less. */
ELMO_API bool lsm_txn_begin (lsm_t *db, bool read_only, lsm_txn_t **txn, lsm_error_t *error);
/* Ends the transaction, whatever the answer. */
ELMO_API bool lsm_txn_commit (lsm_txn_t *txn, lsm_error_t *error);
ELMO_API void lsm_txn_abort (lsm_txn_t *txn);
ELMO_API bool lsm_txn_put (lsm_txn_t *txn, const void *key, size_t key_len, const void *value, size_t value_len, lsm_error_t *error);
ELMO_API bool lsm_txn_delete (lsm_txn_t *txn, const void *key, size_t key_len, lsm_error_t *error);
ELMO_API bool lsm_txn_delete_range (lsm_txn_t *txn, const void *lo, size_t lo_len, const void *hi, size_t hi_len, lsm_error_t *error);
/* Adds to a counter (absent: 0; 8 bytes, little endian). Two transactions that only add to a key do not conflict. */
ELMO_API bool lsm_txn_add (lsm_txn_t *txn, const void *key, size_t key_len, int64_t delta, lsm_error_t *error);
/* *value is lent until the transaction's next lsm_txn_get or its end; NULL (and true) when the key is absent. */
ELMO_API bool lsm_txn_get (lsm_txn_t *txn, const void *key, size_t key_len, const void **value, size_t *value_len, lsm_error_t *error);

/* A cursor over [lo, hi); a bound of length 0 is open. It sees the writes that its transaction made before it was opened. Stands nowhere at first. */
ELMO_API bool lsm_cursor_open (lsm_txn_t *txn, const void *lo, size_t lo_len, const void *hi, size_t hi_len, lsm_cursor_t **cursor, lsm_error_t *error);
ELMO_API void lsm_cursor_close (lsm_cursor_t *cursor);
/* Moves: true when it stands on an entry. False at the end, and on failure: lsm_cursor_error tells. next and prev need an entry to move from. */
ELMO_API bool lsm_cursor_first (lsm_cursor_t *cursor);
ELMO_API bool lsm_cursor_last (lsm_cursor_t *cursor);
ELMO_API bool lsm_cursor_seek (lsm_cursor_t *cursor, const void *key, size_t key_len);      /* the first entry >= key */
ELMO_API bool lsm_cursor_seek_back (lsm_cursor_t *cursor, const void *key, size_t key_len); /* the last entry <= key */
ELMO_API bool lsm_cursor_next (lsm_cursor_t *cursor);
ELMO_API bool lsm_cursor_prev (lsm_cursor_t *cursor);
/* Lent until the next move. Only when it stands on an entry. */
ELMO_API const void *lsm_cursor_key (lsm_cursor_t *cursor, size_t *key_len);
/* NULL when a large value cannot be read: lsm_cursor_error tells. */
ELMO_API const void *lsm_cursor_value (lsm_cursor_t *cursor, size_t *value_len);
/* True when the last move or value failed. */
ELMO_API bool lsm_cursor_error (lsm_cursor_t *cursor, lsm_error_t *error);

typedef struct {
    uint64_t segments, entries, tombstones;          /* in the file, all versions counted */
    uint64_t data_bytes, file_bytes, free_bytes;     /* keys and values; the file; reusable bytes in it */
    uint64_t memory_bytes, cache_bytes;              /* memtables; block cache */
    uint64_t log_bytes, commits, flushes, merges;
    uint64_t snapshots;                              /* open transactions */
} lsm_stat_t;
ELMO_API void lsm_stat (lsm_t *db, lsm_stat_t *stat);
/* Writes what is in memory into the file. */
ELMO_API bool lsm_flush (lsm_t *db, lsm_error_t *error);
/* Merges everything and shrinks the file to what is in use. While it runs the file may be twice as long. What open transactions still read stays. */
ELMO_API bool lsm_compact (lsm_t *db, lsm_error_t *error);
/* Verifies every byte in use; `found` is called with a text for each fault. True when the check could be made; *faults (may be NULL) counts them. */
ELMO_API bool lsm_check (lsm_t *db, void (*found) (void *ctx, const char *text), void *ctx, uint64_t *faults, lsm_error_t *error);

#ifdef __cplusplus
}
#endif

#endif
