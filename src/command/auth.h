/* Who may do what: users, roles, SCRAM logins and the answer to "may this client?". See docs/decisions.md for what is taken from MongoDB's model.
 *
 * Users are documents of admin.system.users in MongoDB's shape ({_id: "db.name", userId, user, db, credentials: {"SCRAM-SHA-256": {...}}, roles: [{role, db}]}), written
 * through the write door like any document; nothing else may write there. The table of users is a cache of them, dropped when one changes. */
#ifndef ELMO_COMMAND_AUTH_H
#define ELMO_COMMAND_AUTH_H

#include "command/command.h"

struct granted {
    unsigned role;   /* enum command_access bits: ACCESS_BY_...; root is UINT_MAX */
    struct slice db; /* len 0: on every database */
};

/* A user as it was when it logged in; immutable and owned by its client. */
struct principal {
    const struct mem *mem;
    struct arena arena;
    struct slice user, db;
    struct slice full_name; /* "db.user": whose sessions and cursors are its own */
    uint64_t version; /* of users: when it is behind, the user is read again, and logged out when it is gone */
    uint32_t granted_count;
    struct granted *granted;
};
void principal_free(struct principal *p);

status users_new(struct env *env, const struct mem *mem, struct users **out, struct err *err);
void users_free(struct users *u);

/* Must this client log in first? False when the service asks for no login, the client is trusted, or (localhost exception) it is local and there is no user yet: then it may only
 * create the first one. */
bool auth_is_required(const struct client *client);
/* Ends a conversation under way and frees what the client holds of it. */
void auth_talk_free(struct auth_talk *talk);
/* hello's part: `saslSupportedMechs` and `speculativeAuthenticate` of the body, answered in the reply. */
status auth_hello(struct command_call *call, struct err *err);

#endif
