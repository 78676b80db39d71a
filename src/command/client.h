/* One connection's context: who is logged in, what runs, and the service that all connections share. Behind elmo_client_t (include/elmo/client.h), and
 * one of its own, trusted, behind every elmo_command_simple.
 *
 * C1  A client runs one command at a time; `running` is set from its beginning to its end, under service->lock.
 * C2  Whoever wants to stop it (killOp, elmo_client_cancel, killSessions) sets running->stop under service->lock; the op's `cancelled` points to it.
 * C3  Sessions, cursors and users belong to the database, not to a client: each is guarded by its own table. */
#ifndef ELMO_COMMAND_CLIENT_H
#define ELMO_COMMAND_CLIENT_H

#include <stdatomic.h>

#include "base/buf.h"
#include "bson/value.h"
#include "doc/op.h"
#include "os/thread.h"

struct command;
struct command_env;
struct generic;
struct session;   /* doc/session.h: transactions and retried writes of an lsid */
struct principal; /* command/auth.h: the user and its roles; NULL: nobody logged in */
struct auth_talk; /* command/auth.h: a SASL conversation under way */

struct client {
    struct command_env *env;
    const struct mem *mem;
    uint64_t id; /* connectionId; from 1 */
    char remote[64];
    char *tls_subject; /* NULL: none; owned */
    bool is_local, is_trusted;
    bool is_internal; /* elmo_command_simple's: not listed */
    struct principal *principal;
    struct auth_talk *talk;
    struct buf app; /* the `client` document of its first hello (driver, os, application name), empty before */
    uint64_t connected_at_ms;
    struct running *running;    /* NULL between commands */
    struct client *next, *prev; /* of service->clients, under service->lock */
};

/* A command that runs: what currentOp shows and killOp stops. Lives on its thread's stack. */
struct running {
    uint64_t op_id;
    const struct command *command;
    const struct generic *generic; /* command/generic.h: its lsid, txnNumber, comment */
    struct client *client;
    const struct session *session; /* under service->lock; to be compared, and not NULL: its id read */
    struct slice db;
    struct bdoc body; /* as it came; valid while it runs. Read only under service->lock */
    uint64_t started_ns, started_at_ms;
    atomic_bool stop;
    int32_t stop_code; /* 11601, or what the stopper says; under service->lock */
};

/* What elmo_set_service was told, parsed; NULL pointers and len 0 where nothing was said. Immutable: replaced as a whole, reference-counted. */
struct service_info {
    atomic_uint ref_count;
    struct arena arena;
    struct bdoc told; /* the whole document */
    struct slice host, uri, replica_set;
    bool auth;
    struct bdoc compressors, argv, parsed;
    int64_t max_connections;
};

enum opcounter {
    OPCOUNT_INSERT,
    OPCOUNT_QUERY,
    OPCOUNT_UPDATE,
    OPCOUNT_DELETE,
    OPCOUNT_GETMORE,
    OPCOUNT_COMMAND,
    OPCOUNT_COUNT
};

#define LOG_LINES_MAX 1024

/* One per open database; part of command_env. */
struct service {
    bool is_ready;
    atomic_bool asks_login, is_replica; /* of info, to be read without the lock */
    struct mutex lock;      /* clients, running, info, lines */
    struct client *clients;
    uint64_t client_count, clients_created, next_client_id, next_op_id;
    struct service_info *info; /* NULL: not served */
    uint64_t opened_at_ms, opened_ns;
    _Atomic uint64_t counters[OPCOUNT_COUNT];
    _Atomic uint64_t asserts_user;
    struct {
        char *text;
        bool is_warning;
    } lines[LOG_LINES_MAX]; /* a ring */
    uint64_t line_count;    /* ever */
    uint8_t process_id[12]; /* an ObjectId, for hello's and electionId's fields */
};

status service_init(struct service *s, struct env *env, const struct mem *mem, struct err *err);
void service_release(struct service *s, const struct mem *mem);
/* The description in force, referenced (service_info_unref); NULL when there is none. */
struct service_info *service_info_of(struct command_env *env);
void service_info_unref(struct service_info *info, const struct mem *mem);

/* Replaces the description (NULL: none) and takes its reference over. */
void service_set_info(struct command_env *env, struct service_info *info);
/* Keeps a line for getLog, copied; forgets the oldest. Without memory it is not kept. */
void service_log_line(struct command_env *env, const char *line, bool is_warning);

/* A new client in place, listed. Allocates nothing. Fields that say who it is are set afterwards, before its first command. */
void client_init(struct client *c, struct command_env *env, bool is_internal);
void client_release(struct client *c);
/* What runs for it, if anything does, ends soon with `code`. From any thread. */
void client_stop(struct client *c, int32_t code);
/* Around a command (C1): `r` with command, db and body filled in is what runs; it gets its number. */
void client_begin(struct client *c, struct running *r);
void client_end(struct client *c);
/* What runs, runs in this session (NULL: no more), which is referenced meanwhile. */
void client_note_session(struct client *c, const struct session *session);
/* Under service->lock. The first code counts. */
static inline void running_stop(struct running *r, int32_t code) {
    if (r->stop_code == 0) r->stop_code = code;
    atomic_store_explicit(&r->stop, true, memory_order_relaxed);
}

/* A command as it came. */
struct command_sequence;
struct command_input {
    struct slice db; /* p NULL: the body's `$db` names it */
    struct bdoc body;
    const struct command_sequence *sequences;
    size_t sequence_count;
    struct session *session; /* of the program's own caller; NULL: what the body's lsid says */
};
/* Checks all bytes, then command_run. The sequences' counts need not be known. */
status client_command(struct client *c, struct op *op, const struct command_input *in, struct buf *reply,
                      struct bdoc *reply_doc, struct err *err);

/* The command was not run, for the database is closed: the labels that tell a driver so. */
void client_label_closed(struct client *c, const struct command_input *in, struct err *err);

/* Stops the op with this number, if it is of the same user as `only` (NULL: of anybody): false when there is none. `code` goes to its caller (11601 Interrupted as a rule). */
bool service_kill_op(struct command_env *env, uint64_t op_id, const struct client *only, int32_t code);

/* Stops whatever runs in the session, but for what `except` (may be NULL) runs. */
void service_stop_session(struct command_env *env, const struct session *s, const struct client *except, int32_t code);

#endif
