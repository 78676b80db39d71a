/* What a tool works on: a database file that it opens itself, or a server that it reaches by URI. One seam, commands: what a tool does
 * to the one it does to the other.
 *
 * A file to be read is opened read-only: while it is open nobody writes to it, so that everything read comes from one state. A server goes on
 * writing: each cursor reads as its server promises (elmo's: the state of the moment at which it was opened).
 *
 * One thread. Failures are told on standard error by the caller, from `error`. */
#ifndef ELMO_CLI_TARGET_H
#define ELMO_CLI_TARGET_H

#include "cli.h"

/* A command's documents go in batches; these are MongoDB's limits, less room for the command around them. */
#define BATCH_COUNT_MAX 100000
#define BATCH_BYTES_MAX ((size_t) 16 * 1024 * 1024)
#define DOCUMENT_BYTES_MAX ((size_t) 16 * 1024 * 1024)

/* The options by which a target is named; TARGET_OPTIONS puts them into a table of rows. */
struct target_args {
    const char *target; /* FILE or mongodb://..., from the arguments; the subcommand puts it here */
    const char *uri, *host, *port, *username, *password, *auth_db, *auth_mechanism, *tls, *tls_ca, *tls_key,
        *tls_insecure;
    const char *sync, *ignored;
};
#define TARGET_OPTIONS(a)                                                                                              \
    {"--uri", "URI", "the server, mongodb://...", &(a)->uri},                                                          \
        {"--host", "HOST", "the server by its name or address (or HOST:PORT)", &(a)->host},                            \
        {"--port", "PORT", "the server's port", &(a)->port},                                                           \
        {"--username|-u", "NAME", "log in at the server", &(a)->username},                                             \
        {"--password|-p", "TEXT", "with this password", &(a)->password},                                               \
        {"--authenticationDatabase", "NAME", "the database that knows the user", &(a)->auth_db},                       \
        {"--authenticationMechanism", "NAME", "SCRAM-SHA-256, SCRAM-SHA-1, MONGODB-X509", &(a)->auth_mechanism},       \
        {"--ssl", NULL, NULL, &(a)->tls}, {"--tls", NULL, "speak TLS with the server", &(a)->tls},                     \
        {"--tlsCAFile", "FILE", "whom to trust", &(a)->tls_ca}, {"--sslCAFile", "FILE", NULL, &(a)->tls_ca},           \
        {"--tlsCertificateKeyFile", "FILE", "the client's certificate and key", &(a)->tls_key},                        \
        {"--sslPEMKeyFile", "FILE", NULL, &(a)->tls_key},                                                              \
        {"--tlsInsecure", NULL, "do not check the server's certificate", &(a)->tls_insecure},                          \
        {"--readPreference", "NAME", NULL, &(a)->ignored}, {                                                           \
        "--verbose|-v", NULL, NULL, &(a)->ignored                                                                      \
    }
#define OPTION_COUNT(rows) ((int) (sizeof(rows) / sizeof((rows)[0])))

struct target;

enum target_use { TARGET_READ, TARGET_WRITE, TARGET_CREATE }; /* CREATE: a file that is missing is made */

bool is_uri(const char *text);
/* Is a server or file named by --uri, --host or --port? */
bool target_is_named(const struct target_args *a);
/* Opens it; complains and answers NULL on failure. `tool` is what the server sees as the application's name. */
struct target *target_open(const struct target_args *a, enum target_use use, const char *tool);
/* Closes it: what was written to a file is in the file. NULL is allowed. */
void target_close(struct target *t);
/* For messages: the file's path, or HOST:PORT; no password in it. */
const char *target_name(const struct target *t);
bool target_is_file(const struct target *t);
/* The file's handle, NULL for a server. */
elmo_t *target_db(struct target *t);
/* The database that the URI names ("mongodb://host/app"), or NULL. */
const char *target_default_db(const struct target *t);

/* The namespace that --db and --collection mean: --db is the database, else the URI's, else what stands before the first dot of --collection. Complains. Both are to be
 * freed with bson_free, also on failure. */
bool target_namespace(const struct target *t, const char *db, const char *coll, char **db_out, char **coll_out);

/* Runs a command. `reply` is always initialised and the caller's to destroy. False when the command failed; writeErrors are in the reply. */
bool target_command(struct target *t, const char *db, const bson_t *command, bson_t *reply, bson_error_t *error);

/* The rows of a command that answers with a cursor. */
struct rows {
    struct target *target;
    char *db, *coll;
    bson_t reply; /* the batch; `it` walks it */
    bson_iter_t it;
    bool has_batch, failed;
    int64_t id;
    bson_t view;
    bson_error_t error;
};
/* Runs `command`. False, and nothing to close, on failure. */
bool rows_open(struct rows *r, struct target *t, const char *db, const bson_t *command, bson_error_t *error);
/* The next document; it lives until the next call. False at the end or on failure: rows_failed tells. */
bool rows_next(struct rows *r, const bson_t **doc);
bool rows_failed(struct rows *r, bson_error_t *error);
void rows_close(struct rows *r);

#endif
