/* Commands: one row per command in commands.def, one file per family. A command reads its body, does its work through query and doc, and writes
 * its reply's fields; what is common to all of them (generic fields, ok, errors as documents) is in command.c.
 *
 * Threads: command_run may be called from any thread; each call has its own op. */
#ifndef ELMO_COMMAND_COMMAND_H
#define ELMO_COMMAND_COMMAND_H

#include "bson/build.h"
#include "command/cursors.h"
#include "doc/op.h"

/* What the storage says of itself, for dbStats; filled by the layer that opened it. */
struct storage_stat {
    uint64_t file_len, used_len, free_len;
};

/* One per open database. */
struct command_env {
    struct db *db;
    struct cursors *cursors;
    void (*storage_stat)(void *ctx, struct storage_stat *out);
    void *storage_ctx;
    const char *version;
};

/* One running command. */
struct command_call {
    struct command_env *env;
    struct op *op;
    const struct command *command;
    struct slice db; /* the database's name */
    struct bdoc body;
    struct bbuild *reply; /* the command appends its fields; `ok` is added after it */
};

enum command_flag {
    COMMAND_WRITES = 1u << 0, /* refused on a read-only database */
};

struct command {
    const char *name;
    unsigned flags;
    status (*run)(struct command_call *call, struct err *err); /* NULL: known to MongoDB, not supported */
};

#define X(id) extern const struct command command_##id;
#include "command/commands.def"
#undef X

/* Runs `body`, whose first field names the command, and appends the whole reply document to `reply` ({..., ok: 1} or {ok: 0, errmsg, code, codeName}).
 * The body must be checked BSON. A failed command is also the answer, with err; ST_NOMEM may leave the reply unusable (reply->failed).
 * `op` is initialised; maxTimeMS sets its deadline. */
status command_run(struct command_env *env, struct op *op, struct slice db, struct bdoc body, struct buf *reply,
                   struct bdoc *reply_doc, struct err *err);

/* {ok: 0, errmsg, code, codeName} as the whole of `reply`, for calls that never reach a command. p NULL: no memory. */
struct bdoc command_failure(struct buf *reply, const struct err *err);

/* Sets the op's deadline from the body's maxTimeMS: a whole number of milliseconds, 0 for none. */
status command_deadline(struct op *op, struct bdoc body, struct err *err);

/* The namespace of a command whose first field is the collection's name: CODE_InvalidNamespace (73) when that is no string or not a valid name. */
status command_ns(const struct command_call *call, struct slice collection, bool for_write, struct ns *out,
                  struct err *err);

/* The transaction in which a statement reads: the session's, or one of its own that command_end_read ends. */
status command_begin_read(struct op *op, struct kv_txn **out, struct err *err);
void command_end_read(struct op *op, struct kv_txn *txn);

#endif
