/* The documents of admin.system.users, and what is remembered about logins. Any thread.
 *
 * U1  Users change one command at a time (`change_lock`), each in a transaction of its own that is durable before the answer; then `version` goes up.
 * U2  Once a user has been seen, the localhost exception is over until the database is opened again, as with MongoDB. */
#ifndef ELMO_COMMAND_USERS_H
#define ELMO_COMMAND_USERS_H

#include "command/auth.h"
#include "command/auth_delay.h"
#include "command/scram.h"

#define USER_NAME_LEN_MAX 512

struct users {
    struct env *env;
    const struct mem *mem;
    struct mutex change_lock;
    _Atomic uint64_t version;  /* from 1 */
    _Atomic uint64_t empty_at; /* the version at which there was no user; 0: not known */
    atomic_bool was_seen;
    uint8_t secret[32]; /* of this opening: salts for users that do not exist follow from it */
    struct auth_delay delay;
};

struct user_name {
    struct slice user, db;
};

/* The user's document, in the op's arena. ST_NOT_FOUND. */
status user_read(struct op *op, struct user_name name, struct bdoc *doc, struct err *err);
/* Calls visit for each user, in _id order. The document is borrowed. */
status users_each(struct op *op, status (*visit)(void *ctx, struct bdoc doc, struct err *err), void *ctx,
                  struct err *err);
status users_exist(struct users *u, struct op *op, bool *exist, struct err *err);

/* What becomes of a user: `change` gets its document (p NULL: there is none) and answers with the new one (p NULL: it goes), built in `out`. May be called
 * again after a conflict. A failure of `change` changes nothing. */
struct user_change {
    status (*change)(void *ctx, struct bdoc old_doc, struct buf *out, struct bdoc *new_doc, struct err *err);
    void *ctx;
};
status user_change(struct command_call *call, struct user_name name, const struct user_change *change, struct err *err);
/* Removes every user of the database. */
status users_remove_all(struct command_call *call, struct slice db, int64_t *count, struct err *err);

/* The principal that a user's document makes, with the version that was current before the document was read. Roles that are not known give nothing. */
status principal_new(const struct mem *mem, struct bdoc doc, uint64_t version, struct principal **out, struct err *err);
/* Makes it the client's (A1), NULL: nobody. Takes it over. */
void client_set_principal(struct client *client, struct principal *p);
/* Reads the client's user again when users have changed since, and logs it out when it is gone. */
status principal_refresh(const struct command_call *call, struct err *err);

/* Credentials in a user's document. ST_NOT_FOUND: none for that mechanism, or not in the form that they must have. */
status user_credentials(struct bdoc doc, enum scram_mechanism m, struct scram_credentials *out);
/* Appends {iterationCount, salt, storedKey, serverKey} under the mechanism's name. */
void credentials_append(struct bbuild *b, enum scram_mechanism m, const struct scram_credentials *c);

#endif
