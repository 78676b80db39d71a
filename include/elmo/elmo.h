/* elmo: a BSON document database in one file.
 *
 * Queries, updates and indexes mean what they mean in MongoDB 7.0; names and shapes follow libmongoc, so that a program ports by renaming.
 *
 *   elmo_t *db;
 *   bson_error_t error;
 *   if (!elmo_open ("app.elmo", NULL, &db, &error)) ...
 *   elmo_collection_t *users = elmo_get_collection (db, "app", "users");
 *   bson_t *doc = BCON_NEW ("name", BCON_UTF8 ("Ada"), "age", BCON_INT32 (36));
 *   if (!elmo_collection_insert_one (users, doc, NULL, NULL, &error)) ...
 *
 * THREADS   An elmo_t and an elmo_collection_t may be used by any number of threads at once. A cursor is used by one thread at a time and
 *           may move between threads.
 * OWNERSHIP Documents go in and come out borrowed: what you pass is read during the call only (a cursor copies its filter and options); what
 *           a cursor gives lives until its next call. Every `reply` may be NULL and may be uninitialised: it is always initialised, also on failure, and
 *           you destroy it with bson_destroy. Building a reply is the one place where libbson may abort the program for want of memory.
 * ERRORS    A function that can fail takes `bson_error_t *error`, which may be NULL. `domain` is ELMO_ERROR_SERVER, `code` is MongoDB's code (11000
 *           duplicate key, 112 write conflict, ...), `message` names the culprit. Any function may also answer 146 (out of memory), 38 (input/output error), 14031 (disk full),
 *           321 (the file is damaged; the message tells the place), 91 (the database was closed), 50 (maxTimeMS passed).
 * OPTIONS   `opts` may be NULL. They are documents with MongoDB's field names. An unknown one is an error (40415) that names it. Every function takes
 *           `maxTimeMS` (milliseconds), `comment` and `sessionId` (elmo_session_append).
 * DURABILITY A write is on disk when the call returns (`sync: "full"`, the default).
 */
#ifndef ELMO_ELMO_H
#define ELMO_ELMO_H

#include <bson/bson.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define ELMO_API __attribute__ ((visibility ("default")))
#else
#define ELMO_API
#endif

#define ELMO_ERROR_SERVER 17 /* bson_error_t.domain; the number is libmongoc's MONGOC_ERROR_SERVER */

typedef struct elmo elmo_t;
typedef struct elmo_collection elmo_collection_t;
typedef struct elmo_cursor elmo_cursor_t;
typedef struct elmo_session elmo_session_t;

/* The library's version, "0.1.0". Static. */
ELMO_API const char *elmo_version (void);

/* ---- the database ---- */

/* Opens the database file at `path`, creating it when missing. NULL or ":memory:" keeps everything in memory until elmo_close.
 * Recovers by itself when the last user did not close. While it is open, log files `<path>-log-<n>` stand beside the file; they belong to it.
 *
 *   create         bool    make a new database when there is none (default true)
 *   readOnly       bool    several readers may have the file open; nothing at all is written (default false)
 *   sync           string  "full": on disk when a write returns (default); "normal": survives a crash of the process at once, of the machine after 100 ms;
 *                          "off": survives a crash of the process only
 *   cacheSizeMB    number  block cache (default 64)
 *   writeBufferMB  number  memory for recent writes before they go to the file (default 32; at most three such buffers are held)
 *   compression    string  "lz4" (default), "zstd", "none"
 *   threads        number  background threads for upkeep (default 2); 0: upkeep runs inside the calls that write
 *   maxFileSizeMB  number  the file grows no further (default 0: no limit)
 *
 * *db is NULL on failure. Errors: 46 LockBusy (the message says who has the file), 321 (damaged), 2 (wrong option; not an elmo
 * database), 26 (missing and `create` is false). */
ELMO_API bool elmo_open (const char *path, const bson_t *opts, elmo_t **db, bson_error_t *error);

/* Gives the handle back. The file is released with the last handle made from it: collections and cursors that still live keep it open, and their
 * calls answer 91. Everything acknowledged is in the file afterwards. NULL is allowed. */
ELMO_API void elmo_close (elmo_t *db);

/* Runs a command as MongoDB's shell and drivers send them: {insert: "users", documents: [...]}. `reply` is the whole answer.
 * False when the command failed (`reply` then has ok: 0, errmsg, code, codeName); true also when single writes failed: look at writeErrors.
 * {listCommands: 1} tells which commands there are. Others: 115 when MongoDB has them, 59 when not. */
ELMO_API bool elmo_command_simple (elmo_t *db, const char *db_name, const bson_t *command, bson_t *reply, bson_error_t *error);

/* The same with options, which are appended to the command: `sessionId` (elmo_session_append), readConcern, writeConcern, collation and the like. */
ELMO_API bool elmo_command_with_opts (elmo_t *db, const char *db_name, const bson_t *command, const bson_t *opts, bson_t *reply, bson_error_t *error);

/* ---- sessions and transactions ---- */

/* A transaction makes any number of reads and writes, in any collections, one: all of it is committed or nothing. It reads the state of its first statement, plus
 * its own writes.
 *
 *   elmo_session_t *session = elmo_start_session (db, NULL, &error);
 *   bson_t opts = BSON_INITIALIZER;
 *   elmo_session_append (session, &opts, &error);
 *   elmo_session_start_transaction (session, NULL, &error);
 *   elmo_collection_update_one (accounts, from, take, &opts, NULL, &error);
 *   elmo_collection_update_one (accounts, to, give, &opts, NULL, &error);
 *   elmo_session_commit_transaction (session, NULL, &error);
 *
 * Who writes second what another transaction has written is refused at once (112); a statement that fails, for whatever reason, aborts its transaction, and so does
 * a lifetime of 60 seconds: later statements then answer 251. Errors after which the whole transaction may succeed when it is run again bear
 * the label "TransientTransactionError" in the reply; elmo_session_with_transaction does that by itself.
 *
 * THREADS  A session is used by one thread at a time and may move between threads; calls that meet wait for each other.
 * OWNERSHIP It keeps the database open as cursors do. Cursors opened in a transaction end with it: their next call answers 251. */

/* opts: causalConsistency, snapshot and defaultTransactionOptions are accepted: here every read is causally consistent, every transaction a snapshot. NULL on failure. */
ELMO_API elmo_session_t *elmo_start_session (elmo_t *db, const bson_t *opts, bson_error_t *error);
/* Ends it; a transaction that runs is aborted. NULL is allowed. */
ELMO_API void elmo_session_destroy (elmo_session_t *session);
/* Appends `sessionId` to the options of any function that takes options. They may be used as long as the session lives. False when there is no room. */
ELMO_API bool elmo_session_append (const elmo_session_t *session, bson_t *opts, bson_error_t *error);
/* From now on, calls with this session belong to the transaction. opts: readConcern, writeConcern and maxCommitTimeMS are accepted. Error: 117 when one runs already. */
ELMO_API bool elmo_session_start_transaction (elmo_session_t *session, const bson_t *opts, bson_error_t *error);
/* Makes it durable and visible. On failure it is aborted (label "TransientTransactionError"), or nobody knows (label "UnknownTransactionCommitResult": the disk failed half way;
 * reopen and look). Again after a success is fine. Error: 251 when there is none, or it was aborted. */
ELMO_API bool elmo_session_commit_transaction (elmo_session_t *session, bson_t *reply, bson_error_t *error);
/* Undoes it. Fine when a failed statement has aborted it already. Error: 251 when there is none. */
ELMO_API bool elmo_session_abort_transaction (elmo_session_t *session, bson_error_t *error);
/* Between start and commit or abort. */
ELMO_API bool elmo_session_in_transaction (elmo_session_t *session);
/* Runs a function in a transaction: start, cb, commit; all of it again after an error with the label "TransientTransactionError", for up to 120 seconds. `cb` passes the session in its
 * calls' options, answers false with `error` filled to give up, and may leave in *reply a new document (bson_new) with what failed: its labels decide. So cb must be fit to run
 * more than once. `reply` is the callback's or the commit's. */
typedef bool (*elmo_session_with_transaction_cb_t) (elmo_session_t *session, void *ctx, bson_t **reply, bson_error_t *error);
ELMO_API bool elmo_session_with_transaction (elmo_session_t *session, elmo_session_with_transaction_cb_t cb, const bson_t *opts, void *ctx, bson_t *reply, bson_error_t *error);
/* Is the label among the reply's errorLabels? */
ELMO_API bool elmo_error_has_label (const bson_t *reply, const char *label);

/* ---- collections ---- */

/* A handle on a collection, which need not exist: the first insert makes it. A bad name shows as an error (73) of the calls that use it; without memory the answer is
 * NULL, with which every call fails (146), so it need not be looked at. Destroy it with elmo_collection_destroy. */
ELMO_API elmo_collection_t *elmo_get_collection (elmo_t *db, const char *db_name, const char *collection);
ELMO_API void elmo_collection_destroy (elmo_collection_t *c);
ELMO_API const char *elmo_collection_get_name (elmo_collection_t *c);
/* Removes the collection with its indexes. A missing one is fine. */
ELMO_API bool elmo_collection_drop (elmo_collection_t *c, bson_error_t *error);

/* Inserts one document; `_id` (an ObjectId) is added when missing. Reply: {insertedCount: 1, insertedId}.
 * opts: bypassDocumentValidation. Errors: 11000 duplicate key, 22 invalid BSON (with its place), 2 larger than 16 MiB, nested deeper than 180, or with an
 * `_id` that cannot be one. */
ELMO_API bool elmo_collection_insert_one (elmo_collection_t *c, const bson_t *doc, const bson_t *opts, bson_t *reply, bson_error_t *error);

/* Inserts n documents, with one sync. opts: ordered (default true: stop at the first that fails; false: try all). Reply: {insertedCount, writeErrors: [{index, code,
 * errmsg, keyPattern, keyValue}]}. False when any failed; `error` is the first. */
ELMO_API bool elmo_collection_insert_many (elmo_collection_t *c, const bson_t **docs, size_t n, const bson_t *opts, bson_t *reply, bson_error_t *error);

/* Updates the first, or every, document that matches with update operators ({$set: ...}) or by a pipeline of $set, $unset, $project, $replaceRoot and their other names
 * ({"0": {$set: ...}, "1": ...}), or replaces the first one. opts: upsert, hint, arrayFilters, let, bypassDocumentValidation. Reply: {modifiedCount, matchedCount, upsertedCount, upsertedId}.
 * Errors: 22 (operators expected, or not), 40 (conflicting paths), 66 (_id would change), 11000, 14, 28 and others of the update language. */
ELMO_API bool elmo_collection_update_one (elmo_collection_t *c, const bson_t *filter, const bson_t *update, const bson_t *opts, bson_t *reply, bson_error_t *error);
ELMO_API bool elmo_collection_update_many (elmo_collection_t *c, const bson_t *filter, const bson_t *update, const bson_t *opts, bson_t *reply, bson_error_t *error);
ELMO_API bool elmo_collection_replace_one (elmo_collection_t *c, const bson_t *filter, const bson_t *replacement, const bson_t *opts, bson_t *reply, bson_error_t *error);

/* Deletes the first, or every, document that matches. opts: hint, let. Reply: {deletedCount}. */
ELMO_API bool elmo_collection_delete_one (elmo_collection_t *c, const bson_t *filter, const bson_t *opts, bson_t *reply, bson_error_t *error);
ELMO_API bool elmo_collection_delete_many (elmo_collection_t *c, const bson_t *filter, const bson_t *opts, bson_t *reply, bson_error_t *error);

/* Changes the first document that matches and tells it, in one step that no other writer comes between: a counter's next value, a queue's next job.
 * opts, with the names of the command findAndModify:
 *
 *   update     document  operators, a replacement or a pipeline (array); this or `remove` must be there
 *   remove     bool      delete it
 *   sort       document  which of several is the first
 *   fields     document  projection of the document that is told
 *   new        bool      tell it as it is after the update (default false: as it was)
 *   upsert     bool      insert one when none matches
 *   hint, arrayFilters, let, bypassDocumentValidation
 *
 * Reply: {lastErrorObject: {n, updatedExisting, upserted}, value}; value is null when there is no document to tell.
 * Errors: 9 (neither `update` nor `remove`, or both), and those of updates and finds. */
ELMO_API bool elmo_collection_find_and_modify_with_opts (elmo_collection_t *c, const bson_t *query, const bson_t *opts, bson_t *reply, bson_error_t *error);

/* Finds. Never NULL; errors, want of memory among them, come by elmo_cursor_error.
 * opts: projection, sort, skip, limit, hint (index name or key pattern), allowDiskUse; batchSize, singleBatch and noCursorTimeout are accepted and mean nothing here.
 * The cursor reads the state of the moment it was made, whatever is written meanwhile. */
ELMO_API elmo_cursor_t *elmo_collection_find_with_opts (elmo_collection_t *c, const bson_t *filter, const bson_t *opts);

/* Runs an aggregation pipeline: an array of stages ({"0": {$match: ...}, "1": ...}) or {pipeline: [...]}. Never NULL; errors come by elmo_cursor_error.
 * opts: let, hint, allowDiskUse, bypassDocumentValidation, maxTimeMS; batchSize is accepted and means nothing here. Everything that it reads, $lookup
 * included, is the state of the moment it was made. With $out or $merge at its end it has done its work when it is made, and gives no documents. */
ELMO_API elmo_cursor_t *elmo_collection_aggregate (elmo_collection_t *c, const bson_t *pipeline, const bson_t *opts);

/* Counts the documents that match, -1 on failure. opts: skip, limit, hint. */
ELMO_API int64_t elmo_collection_count_documents (elmo_collection_t *c, const bson_t *filter, const bson_t *opts, bson_t *reply, bson_error_t *error);
/* The number of documents from the collection's counter (exact, no scan), -1 on failure. */
ELMO_API int64_t elmo_collection_estimated_document_count (elmo_collection_t *c, const bson_t *opts, bson_t *reply, bson_error_t *error);

/* ---- cursors ---- */

/* The next document, true; false at the end or on failure (elmo_cursor_error tells which). *doc lives until the next call with this cursor. */
ELMO_API bool elmo_cursor_next (elmo_cursor_t *cursor, const bson_t **doc);
/* True, and `error` filled, when the cursor failed. */
ELMO_API bool elmo_cursor_error (elmo_cursor_t *cursor, bson_error_t *error);
ELMO_API void elmo_cursor_destroy (elmo_cursor_t *cursor);

/* ---- indexes ---- */

/* Builds indexes, all in one pass, while others read and write. Each spec is MongoDB's: {key: {age: 1, name: -1}, name: "...", unique: true, sparse: true}, or for text
 * {key: {title: "text", body: "text"}, weights: {title: 5}, default_language: "english"}. A missing name is made of the key ("age_1_name_-1"); the command createIndexes wants
 * one. An index that exists already is skipped. Reply: as createIndexes.
 * Errors: 11000 (duplicates, with keyPattern and keyValue in the reply), 67, 85, 86, 171, 197. On failure nothing is left behind. */
ELMO_API bool elmo_collection_create_indexes_with_opts (elmo_collection_t *c, const bson_t **specs, size_t n, const bson_t *opts, bson_t *reply, bson_error_t *error);
/* The specs of the collection's indexes, `_id_` first. */
ELMO_API elmo_cursor_t *elmo_collection_find_indexes_with_opts (elmo_collection_t *c, const bson_t *opts);
/* Drops an index by name; "*" drops all but `_id_`. Errors: 27 (no such index), 26 (no such collection), 72 (`_id_`). */
ELMO_API bool elmo_collection_drop_index (elmo_collection_t *c, const char *index_name, bson_error_t *error);

/* ---- upkeep ---- */

/* Verifies the file: every block, order, references and space, then every document, every index entry against its document and back. Calls `found`, from this
 * thread, with a text for each fault. Writers may go on. False when the check itself could not be made. *faults (may be NULL) counts. */
ELMO_API bool elmo_check (elmo_t *db, void (*found) (void *ctx, const char *text), void *ctx, uint64_t *faults, bson_error_t *error);
/* Merges everything into the last level and shrinks the file to what is in use. While it runs the file may be twice as long, and that much room must be there. Takes
 * long on a large database; others may read and write meanwhile. What an open cursor or transaction still reads stays until the next time. */
ELMO_API bool elmo_compact (elmo_t *db, bson_error_t *error);
/* What is inside: levels, segments, blocks, cache, log, space; figures in bytes unless named otherwise. */
ELMO_API bool elmo_stat (elmo_t *db, bson_t *reply, bson_error_t *error);

/* ---- JSON ---- */

/* Reads one document from the first `len` bytes of `text` (len < 0: it ends with a NUL) as people type them in the shell: unquoted names, single quotes,
 * trailing commas, comments, ObjectId("..."), ISODate("..."), NumberLong(1), NumberDecimal("1.5"), /regex/i; extended JSON too. *used (may be NULL) tells how many bytes were read, white
 * space after the document included; when it is NULL nothing but white space may follow. `is_array` (may be NULL: then an array is refused) tells that it was an array. `out` is always initialised. Errors: 9, with line and column. */
ELMO_API bool elmo_json_parse (const char *text, ssize_t len, bson_t *out, bool *is_array, size_t *used, bson_error_t *error);

#ifdef __cplusplus
}
#endif

#endif
