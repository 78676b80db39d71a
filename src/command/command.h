/* Commands: one row per command in commands.def, one file per family. A command reads its body, does its work through query and doc, and writes
 * its reply's fields; what is common to all of them (generic fields, ok, errors as documents) is in command.c.
 *
 * Threads: command_run may be called from any thread; each call has its own op. */
#ifndef ELMO_COMMAND_COMMAND_H
#define ELMO_COMMAND_COMMAND_H

#include "bson/build.h"
#include "command/client.h"
#include "command/cursors.h"
#include "doc/op.h"

/* What the storage says of itself, for dbStats; filled by the layer that opened it. */
struct storage_stat {
    uint64_t file_len, used_len, free_len;
    bool is_in_memory;
};

/* One per open database. */
struct command_env {
    struct db *db;
    struct cursors *cursors;
    void (*storage_stat)(void *ctx, struct storage_stat *out);
    status (*storage_compact)(void *ctx, struct err *err); /* may be NULL, as storage_stat */
    void *storage_ctx;
    const char *version;
    struct service service;
    struct sessions *sessions; /* doc/session.h */
    struct users *users;       /* command/auth.h: users and their roles, cached */
};

/* Documents that came beside the body (OP_MSG sections of kind 1), checked. They stand for the body's array `name`. */
struct command_sequence {
    struct slice name;
    struct slice bytes; /* documents end to end */
    uint32_t count;
};

struct generic; /* command/generic.h: the fields that any command takes */

/* One running command. */
struct command_call {
    struct command_env *env;
    struct client *client;
    struct op *op;
    const struct command *command;
    const struct generic *generic;
    struct session *session; /* of the lsid, referenced; entered when it runs a transaction or a retryable write. NULL: none */
    const struct command_sequence *sequences;
    size_t sequence_count;
    struct slice db; /* the database's name */
    struct bdoc body;
    struct bbuild *reply; /* the command appends its fields; `ok` is added after it */
};

enum command_flag {
    COMMAND_WRITES = 1u << 0,     /* refused on a read-only database */
    COMMAND_ADMIN_ONLY = 1u << 1, /* only against the database "admin": 13 Unauthorized elsewhere, as MongoDB answers */
    COMMAND_IN_TXN = 1u << 2,     /* may run inside a transaction; others are refused there with 263 */
    COMMAND_RETRYABLE = 1u << 3,  /* takes a txnNumber without a transaction */
    COMMAND_UNLOGGED = 1u << 4,   /* its body may hold secrets: not shown by currentOp or the log */
    COMMAND_API_V1 = 1u << 5,     /* part of MongoDB's Stable API 1: others are refused under apiStrict (323) */
    COMMAND_NO_SESSION = 1u << 6, /* ignores lsid (hello and its kin) */
};

/* Whom a command is for: the roles on its database any of which suffices (root always does), or one of the last three. 0, which a row that says nothing
 * gets, is root alone. */
enum command_access {
    ACCESS_BY_READ = 1u << 0,
    ACCESS_BY_WRITE = 1u << 1, /* readWrite */
    ACCESS_BY_DB_ADMIN = 1u << 2,
    ACCESS_BY_USER_ADMIN = 1u << 3,
    ACCESS_BY_MONITOR = 1u << 4, /* clusterMonitor: looks at the server; whatever the database */
    ACCESS_BY_CLUSTER = 1u << 5, /* hostManager: acts on the server */
    ACCESS_READERS = ACCESS_BY_READ | ACCESS_BY_WRITE,
    ACCESS_ON_DATABASE = ACCESS_BY_READ | ACCESS_BY_WRITE | ACCESS_BY_DB_ADMIN | ACCESS_BY_USER_ADMIN, /* any of them */
    ACCESS_KEEPERS = ACCESS_BY_WRITE | ACCESS_BY_DB_ADMIN,
    ACCESS_ANYBODY = 1u << 8,   /* logged in or not: hello, saslStart, ... */
    ACCESS_LOGGED_IN = 1u << 9, /* whoever is logged in, when somebody must be */
    ACCESS_ASKS = 1u << 10,     /* as ACCESS_LOGGED_IN, and the command itself asks command_authorize for more */
};

struct command {
    const char *name;
    unsigned flags;
    status (*run)(struct command_call *call, struct err *err); /* NULL: known to MongoDB, not supported */
    unsigned access;                                           /* enum command_access */
    const char *help;                                          /* one line, for listCommands */
};

/* May this client do that to the database? ST_OK, or 13 Unauthorized in MongoDB's words. command_run asks by the command's row. (command/auth.c) */
status command_authorize(const struct command_call *call, unsigned access, struct slice db, struct err *err);

#define X(id) extern const struct command command_##id;
#include "command/commands.def"
#undef X

/* Runs the command that the body's first field names, and appends the whole reply document to `reply` ({..., ok: 1} or {ok: 0, errmsg, code, codeName}).
 * Body and sequences must be checked BSON (client_command checks), the database be named. A failed command is also the answer, with err; ST_NOMEM may leave the reply unusable (reply->failed).
 * `op` is initialised; maxTimeMS sets its deadline. */
status command_run(struct client *client, struct op *op, const struct command_input *in, struct buf *reply,
                   struct bdoc *reply_doc, struct err *err);

/* The command of that name (aliases too), NULL: unknown. *is_known (may be NULL) tells that MongoDB has it. */
const struct command *command_find_by_name(struct slice name, bool *is_known);
/* The rows, for listCommands. */
const struct command *const *command_rows(size_t *count);

/* For serverStatus: n more of that kind have run. */
static inline void command_count_ops(struct command_env *env, enum opcounter which, uint64_t n) {
    atomic_fetch_add_explicit(&env->service.counters[which], n, memory_order_relaxed);
}

/* The documents of the body's array `field`, or of the sequence that stands for it, in the op's arena. `where` is the array's full name in messages. */
status command_documents(const struct command_call *call, const char *where, const char *field, struct bdoc array,
                         const struct bdoc **out, uint32_t *count, struct err *err);

/* {ok: 0, errmsg, code, codeName} as the whole of `reply`, for calls that never reach a command. p NULL: no memory. */
struct bdoc command_failure(struct buf *reply, const struct err *err);

/* The namespace of a command whose first field is the collection's name: CODE_InvalidNamespace (73) when that is no string or not a valid name. */
status command_ns(const struct command_call *call, struct slice collection, bool for_write, struct ns *out,
                  struct err *err);

/* Labels for an answer that only says that the server goes down: what the command would have done may be done again elsewhere or later, as MongoDB's drivers do by these. */
void command_label_shutdown(const struct command_env *env, const struct command *command, const struct generic *g,
                            struct err *err);

/* The transaction in which a statement reads: the session's, or one of its own that command_end_read ends. */
status command_begin_read(struct op *op, struct kv_txn **out, struct err *err);
void command_end_read(struct op *op, struct kv_txn *txn);

#endif
