/* elmo's clients: what a server, or anything else that runs commands for others, builds on.
 *
 * An elmo_client_t is one connection's context: who is logged in, its cursors, its running command. Commands and replies are those of MongoDB's wire
 * protocol, so that a server needs to know of nothing but frames.
 *
 * THREADS   A client is used by one thread at a time and may move between threads; elmo_client_cancel may be called from any thread at any time
 *           before elmo_client_destroy begins.
 * OWNERSHIP A client keeps its database open: after elmo_close its commands answer 91, and the file is released with the last client.
 */
#ifndef ELMO_CLIENT_H
#define ELMO_CLIENT_H

#include <elmo/elmo.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct elmo_client elmo_client_t;

/* A section of kind 1 of an OP_MSG: documents end to end, which take the place of the body's array of that name. */
typedef struct {
    const char *name; /* "documents", "updates", "deletes"; ends with a NUL */
    const uint8_t *bytes;
    size_t len;
} elmo_sequence_t;

/* Tells the database how it is being served; commands such as hello, getCmdLineOpts and hostInfo answer from it. One description for each database, copied;
 * a later call replaces it; NULL takes it away.
 *
 *   host         string  "127.0.0.1:27017": where clients reach it
 *   uri          string  "mongodb://127.0.0.1:27017": told to whoever tries to open the file meanwhile
 *   replicaSet   string  says that it is the primary of a replica set of one, of this name
 *   auth         bool    clients must log in (default false)
 *   compressors  array   of strings: what the server can read, in the order of preference
 *   argv         array   of strings: the command line
 *   parsed       document  the options as mongod's getCmdLineOpts shows them
 *   maxConnections number */
ELMO_API bool elmo_set_service (elmo_t *db, const bson_t *service, bson_error_t *error);
/* `closing` is called by elmo_close, from its thread, before anything is closed: a server stops there. One for each database; NULL takes it away. */
ELMO_API void elmo_set_close_hook (elmo_t *db, void (*closing) (void *ctx), void *ctx);
/* The ctx that was given with `closing`, NULL when that is not the hook. */
ELMO_API void *elmo_close_hook (elmo_t *db, void (*closing) (void *ctx));
/* Keeps a line of the server's log for the command getLog: the last 1,024 are kept. `is_warning`: it is shown by {getLog: "startupWarnings"} too. */
ELMO_API void elmo_log_line (elmo_t *db, const char *line, bool is_warning);

/* A new client, not logged in. NULL on failure (146, 91).
 *
 *   remote      string  the peer, "127.0.0.1:50312"
 *   isLocal     bool    it came over loopback or a unix socket: the localhost exception holds
 *   tlsSubject  string  the subject of its verified certificate (RFC 2253)
 *   trusted     bool    needs no login and may do everything (default: the service's `auth` decides) */
ELMO_API elmo_client_t *elmo_client_new (elmo_t *db, const bson_t *opts, bson_error_t *error);
/* Ends it. Its sessions, transactions and cursors live on until they are ended or time out, as MongoDB's do: another connection may go on with them. NULL is
 * allowed. */
ELMO_API void elmo_client_destroy (elmo_client_t *client);

/* Runs a command. `db_name` NULL: the body's `$db` names it. The bytes may come from anywhere: they are checked before anything is read from them.
 * *reply is the whole answer, {..., ok: 1} or {ok: 0, errmsg, code, codeName}; it lives until the client's next call. False when the command failed:
 * then `error` too tells why. For want of memory the answer is one that needs none; *reply is never NULL.
 * For a command that asks for no answer (OP_MSG's moreToCome) do the same and forget the reply. */
ELMO_API bool elmo_client_command (elmo_client_t *client, const char *db_name, const bson_t *body, const elmo_sequence_t *sequences, size_t sequence_count, const bson_t **reply,
                                   bson_error_t *error);
/* The last reply is not needed any more: its memory is given back now, not with the next command. For connections that may be idle for long. */
ELMO_API void elmo_client_forget (elmo_client_t *client);
/* The command that is running, if any, ends soon with 11600. For a peer that has gone, and a server that stops: a write with a txnNumber is told that it may be sent again. */
ELMO_API void elmo_client_cancel (elmo_client_t *client);

#ifdef __cplusplus
}
#endif

#endif
