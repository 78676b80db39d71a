/* The storage core alone: accounts, transfers as transactions, a scan, a conflict.
 *
 *   cc lsm_bank.c $(pkg-config --cflags --libs elmo) && ./a.out bank.lsm */
#include <elmo/lsm.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void fail (const lsm_error_t *error) {
    fprintf (stderr, "%s\n", error->message);
    exit (1);
}

static long long balance (lsm_txn_t *txn, const char *name) {
    lsm_error_t error;
    const void *value;
    size_t len;
    int64_t amount = 0;
    if (!lsm_txn_get (txn, name, strlen (name), &value, &len, &error)) fail (&error);
    if (value != NULL && len == sizeof (amount)) memcpy (&amount, value, len);
    return amount;
}

/* Both sides of a transfer, or neither. Adds do not conflict with each other, so many transfers may run at once. */
static void transfer (lsm_t *db, const char *from, const char *to, int64_t amount) {
    lsm_error_t error;
    lsm_txn_t *txn;
    if (!lsm_txn_begin (db, false, &txn, &error)) fail (&error);
    if (!lsm_txn_add (txn, from, strlen (from), -amount, &error) || !lsm_txn_add (txn, to, strlen (to), amount, &error)) fail (&error);
    if (!lsm_txn_commit (txn, &error)) fail (&error);
}

int main (int argc, char **argv) {
    const char *path = argc > 1 ? argv[1] : "bank.lsm";
    lsm_error_t error;
    lsm_t *db;
    remove (path);
    if (!lsm_open (path, NULL, &db, &error)) fail (&error);

    transfer (db, "account/bank", "account/ann", 100);
    transfer (db, "account/ann", "account/bob", 30);

    lsm_txn_t *txn;
    lsm_cursor_t *cursor;
    if (!lsm_txn_begin (db, true, &txn, &error)) fail (&error);
    if (!lsm_cursor_open (txn, "account/", 8, "account0", 8, &cursor, &error)) fail (&error);
    for (bool on = lsm_cursor_first (cursor); on; on = lsm_cursor_next (cursor)) {
        size_t key_len, value_len;
        const char *key = lsm_cursor_key (cursor, &key_len);
        int64_t amount;
        memcpy (&amount, lsm_cursor_value (cursor, &value_len), sizeof (amount));
        printf ("%.*s has %lld\n", (int) key_len, key, (long long) amount);
    }
    if (lsm_cursor_error (cursor, &error)) fail (&error);
    lsm_cursor_close (cursor);

    /* Two transactions write the same key: the second is refused. */
    lsm_txn_t *first = NULL, *second = NULL;
    if (!lsm_txn_begin (db, false, &first, &error) || !lsm_txn_begin (db, false, &second, &error)) fail (&error);
    if (!lsm_txn_put (first, "owner", 5, "ann", 3, &error)) fail (&error);
    if (lsm_txn_put (second, "owner", 5, "bob", 3, &error) || error.code != LSM_CONFLICT) return 1;
    printf ("refused: %s\n", error.message);
    lsm_txn_abort (second);
    if (!lsm_txn_commit (first, &error)) fail (&error);

    printf ("ann's balance in the older snapshot is still %lld\n", balance (txn, "account/ann"));
    lsm_txn_abort (txn);

    uint64_t faults;
    if (!lsm_check (db, NULL, NULL, &faults, &error)) fail (&error);
    printf ("check: %llu faults\n", (unsigned long long) faults);
    lsm_close (db);
    remove (path);
    return faults != 0;
}
