/* What is behind the public handles, and the small conversions between bson_t and bytes in place.
 *
 * H1  An elmo_t counts its users: itself until elmo_close, every collection, cursor and client. The last one releases the file.
 * H2  After elmo_close `is_closed` is set: every call then answers ST_CLOSED (91). */
#ifndef ELMO_API_HANDLES_H
#define ELMO_API_HANDLES_H

#include <stdatomic.h>

#include <elmo/elmo.h>

#include "command/command.h"
#include "doc/catalog.h"
#include "doc/session.h"
#include "query/find.h"
#include "query/pipeline.h"

struct elmo {
    atomic_uint ref_count;
    atomic_bool is_closed;
    const struct mem *mem;
    struct env *env; /* owned by `document_db` */
    struct kv *kv;   /* owned by `document_db` */
    struct db *document_db;
    bool is_in_memory;
    struct command_env command;
    void (*closing)(void *ctx); /* these two under command.service.lock */
    void *closing_ctx;
};

struct elmo_collection {
    struct elmo *db;
    char *names; /* "db\0collection\0", allocated */
    size_t names_len;
    struct ns ns;
};

struct elmo_cursor {
    struct elmo *db;
    struct find *find;         /* or */
    struct pipeline *pipeline; /* or rows: */
    struct buf rows;
    size_t rows_at;
    uint64_t time_left_ns; /* of maxTimeMS, which counts work and not waiting; 0: no limit */
    bson_t *doc;           /* lent; in `room`, where its alignment (128) falls: allocators promise less */
    uint8_t room[2 * sizeof(bson_t)];
    struct op op;
    bool is_failed, is_done;
    /* opened in a transaction: */
    struct session *session; /* referenced; NULL: not in one. To be entered before `find` is looked at */
    struct txn_member member;
    struct err err;
};

/* elmo_open with an allocator: everything that the database ever asks for comes from it. */
bool api_open(const char *path, const bson_t *opts, const struct mem *mem, elmo_t **db, bson_error_t *error);

/* Calls the close hook, once. */
void api_run_close_hook(struct elmo *db);

struct elmo *elmo_ref(struct elmo *db);
void elmo_unref(struct elmo *db);

/* Starts a statement: its op, and 91 when the database was closed. */
status api_begin(struct elmo *db, struct op *op, struct err *err);

/* Runs a command of the program's own, trusted, in op and (when not NULL) in the session. The body must be checked. The reply lies in `reply`. */
status api_command(struct elmo *db, struct op *op, struct session *session, struct slice db_name, struct bdoc body,
                   struct buf *reply, struct bdoc *reply_doc, struct err *err);

/* The answer of a call on a collection handle for which there was no memory (NULL): false, with 146. */
bool api_no_handle(bson_t *reply, bson_error_t *error);

/* The `opts` of a call, checked, without `sessionId`: when that is given, the op becomes the session's until api_leave, which every call must make that has begun. */
status api_opts(struct op *op, const bson_t *opts, const char *what, struct bdoc *out, struct err *err);
/* The call has answered st: a failure aborts the session's transaction; err gets its labels. */
void api_leave(struct op *op, status st, struct err *err);
/* The session among the options, referenced, not entered; NULL: none. It is taken out of *opts. */
status api_session_of(struct op *op, struct bdoc *opts, struct session **out, struct err *err);

/* For functions that give cursors: a new one (NULL: no memory), the one that stands for want of memory, one that failed. api_cursor_opened tells
 * that its find or pipeline is open: in a session's transaction it lives as long as that, and maxTimeMS stands still until the next row. */
struct elmo_cursor *api_cursor_new(struct elmo *db);
struct elmo_cursor *api_cursor_none(void);
void api_cursor_fail(struct elmo_cursor *cur);
void api_cursor_opened(struct elmo_cursor *cur);

/* Checked bytes of a document from outside; `what` names it in the message. NULL gives {} . */
status api_document(const bson_t *doc, const char *what, struct bdoc *out, struct err *err);
/* Without looking inside: for documents that the write door checks. */
static inline struct bdoc api_unchecked(const bson_t *doc) { return (struct bdoc){bson_get_data(doc), doc->len}; }

/* The call's answer: fills error on failure, copies `reply_doc` (p NULL: an empty document) into reply when that is wanted. True for ST_OK. */
bool api_answer(status st, const struct err *err, struct bdoc reply_doc, bson_t *reply, bson_error_t *error);

#endif
