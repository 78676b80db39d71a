/* Cursors that wait for a getMore: a table from id to a source of rows. One table per open database; any thread.
 *
 * C1  A cursor is in the table (idle) or checked out by one call, never both.
 * C2  An idle cursor has rested (find_rest): it pins no blocks, only its snapshot.
 * C3  A cursor belongs to the session and the user that opened it; getMore of another is refused. One that was opened in a transaction is a member of it
 *     (doc/session.h, S3): killed by others it is only marked, and closed when the transaction ends.
 * C4  There are at most CURSORS_MAX, and those over finished rows hold at most CURSOR_ROWS_LEN_MAX bytes together.
 * C5  Cursors that idle longer than CURSOR_IDLE_MS are closed at the next call, unless opened with noCursorTimeout. */
#ifndef ELMO_COMMAND_CURSORS_H
#define ELMO_COMMAND_CURSORS_H

#include "doc/catalog.h"
#include "doc/session.h"
#include "query/find.h"
#include "query/pipeline.h"

#define CURSOR_IDLE_MS ((uint64_t) 10 * 60 * 1000)

#define CURSORS_MAX 100000
#define CURSOR_ROWS_LEN_MAX ((size_t) 256 * 1024 * 1024)

struct cursors;

/* A source of rows: a find, a pipeline, or documents made beforehand. */
struct client_cursor {
    int64_t id;        /* 0 until it is stored */
    struct ns ns;      /* owned copy */
    struct slice user; /* the same; who opened it, len 0: nobody */
    unsigned access;   /* what its user must still have at each getMore (enum command_access); 0: nothing */
    struct cursors *table;
    bool has_session;
    uint8_t lsid[16];
    bool in_txn; /* of this number: */
    int64_t txn_number;
    struct txn_member member;
    size_t rows_counted; /* of table->rows_len */
    struct find *find; /* or NULL: */
    struct pipeline *pipeline; /* or NULL: */
    struct buf rows;   /* whole documents end to end */
    size_t rows_at;
    bool has_held; /* a document that did not fit the last batch waits in `held` */
    struct buf held;
    bool no_timeout;
    int64_t rows_left;     /* of a find's limit: at 0 the cursor ends without another batch; < 0: no limit */
    uint64_t time_left_ns; /* of the find's maxTimeMS, which counts work and not waiting; 0: no limit */
    uint64_t used_at_ms;
    bool is_busy, is_killed;
    struct client_cursor *next; /* in its bucket */
};

status cursors_new(struct env *env, const struct mem *mem, struct cursors **out, struct err *err);
void cursors_free(struct cursors *cs); /* closes every cursor; none may be checked out */

/* A new cursor, not in the table yet: over `find` (taken over), or over documents appended to ->rows. A pipeline is
 * put into ->pipeline. */
status client_cursor_new(struct cursors *cs, struct ns ns, struct find *find, struct client_cursor **out,
                         struct err *err);
void client_cursor_free(struct cursors *cs, struct client_cursor *c);

/* The next document; it lives until the next call. ST_END. */
status client_cursor_next(struct op *op, struct client_cursor *c, struct bdoc *doc, struct err *err);
/* The document that client_cursor_next just gave comes again next time. */
status client_cursor_hold(struct client_cursor *c, struct bdoc doc, struct err *err);

/* Stores it (giving it an id the first time) until it is taken again. A cursor killed meanwhile is closed: its id is 0 then. */
int64_t cursors_put(struct cursors *cs, struct client_cursor *c);
/* Checks it out: CODE_CursorNotFound (43); 12051 CursorInUse when another call has it; 13 Unauthorized when it belongs to another namespace or user, 50736 to 50741 to
 * another session or transaction, as MongoDB answers. */
status cursors_take(struct cursors *cs, const struct op *op, int64_t id, struct ns ns, struct client_cursor **out,
                    struct err *err);
/* True when it existed and is the user's (len 0: anybody's). A busy one is closed when its call puts it back. */
bool cursors_kill(struct cursors *cs, struct slice user, int64_t id);
/* All of a session's. */
void cursors_kill_session(struct cursors *cs, const struct session_id *id);
size_t cursors_count(struct cursors *cs);
struct cursors_stat {
    uint64_t open, opened, timed_out, no_timeout, in_txn;
};
void cursors_stat(struct cursors *cs, struct cursors_stat *out);

/* Writes {cursor: {firstBatch|nextBatch: [...], id, ns}} into reply: up to batch_size documents (< 0: no limit) within 16 MiB. Stores or frees the cursor. */
status cursor_reply(struct cursors *cs, struct op *op, struct client_cursor *c, const char *batch_name,
                    int64_t batch_size, bool single_batch, struct bbuild *reply, struct err *err);

#endif
