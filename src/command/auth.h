/* Who may do what: users, roles, SCRAM logins and the answer to "may this client?". See docs/decisions.md for what is taken from MongoDB's model.
 *
 * Users are documents of admin.system.users in MongoDB's shape ({_id: "db.name", userId, user, db, credentials: {"SCRAM-SHA-256": {...}}, roles: [{role, db}]}), written
 * through the write door like any document; nothing else may write there.
 *
 * A1  A client's principal is replaced by its own thread, under service->lock; other threads read it under that lock.
 * A2  users->version changes after every change of a user. A principal of an older version is read again before the next command is judged, so a user
 *     that was changed or dropped has its new rights, or none, from its next command on. */
#ifndef ELMO_COMMAND_AUTH_H
#define ELMO_COMMAND_AUTH_H

#include "command/command.h"

struct role; /* command/roles.h */
struct granted {
    const struct role *role;
    struct slice db;
};

/* A user as it was when it was last read; immutable and owned by its client. */
struct principal {
    const struct mem *mem;
    struct arena arena;
    struct slice user, db;
    struct slice full_name; /* "db.user": whose sessions and cursors are its own */
    struct slice full;   /* "user@db" */
    uint8_t user_id[16]; /* a user that was dropped and made again is another one */
    uint64_t version;    /* of users: when it is behind, the user is read again, and logged out when it is gone */
    uint32_t granted_count;
    struct granted *granted;
};
void principal_free(struct principal *p);

status users_new(struct env *env, const struct mem *mem, struct users **out, struct err *err);
void users_free(struct users *u); /* may be NULL */

/* Must this client log in first? False when the service asks for no login, the client is trusted or logged in, or (localhost exception) it is local and there is no user yet: then it may only
 * create the first one. */
bool auth_is_required(const struct client *client);
/* Ends a conversation under way and frees what the client holds of it. */
void auth_talk_free(struct auth_talk *talk);
/* hello's part: `saslSupportedMechs` and `speculativeAuthenticate` of the body, answered in the reply. */
status auth_hello(struct command_call *call, struct err *err);

/* The question with the collection in it: as command_authorize, but admin's system.users is for its user administrators alone, whatever `access` says. For every namespace
 * that a command touches beside the one that its row was asked about: $lookup, $unionWith, $out, $merge, renameCollection's target. */
status command_authorize_ns(const struct command_call *call, unsigned access, struct ns ns, struct err *err);
/* Would command_authorize say yes? For lists that show what one may see. */
bool auth_may(const struct command_call *call, unsigned access, struct slice db);
/* Whose a cursor or an op of this client is: "db.user", len 0 for nobody's. Lives as long as its principal (A1). */
struct slice auth_owner(const struct client *client);
/* May the caller touch what belongs to `owner`? Its own, and with `access` (ACCESS_BY_CLUSTER for killOp, ACCESS_BY_MONITOR for currentOp, ...) everybody's; everything where no login is asked for. */
bool auth_may_touch(const struct command_call *call, struct slice owner, unsigned access);
/* Does the service ask this client to log in, has it done so or not? */
bool auth_is_asked(const struct client *client);
/* The refusal in MongoDB's words: 13 "not authorized on <db> to execute command { ... }". */
status auth_refuse(const struct command_call *call, struct slice db, struct err *err);

#endif
