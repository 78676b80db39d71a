/* The answer to "may this client?". Without `auth` in the service, and for trusted clients, everything may be done, as in MongoDB: a login is possible and changes nothing.
 *
 * The localhost exception is MongoDB's: a local client may, as long as no user was ever seen since the database was opened, create one on admin and give it roles of admin; nothing else. */
#include "base/codes.h"
#include "command/roles.h"
#include "command/users.h"
#include "doc/db.h"
#include "doc/duplicate.h"

bool auth_is_asked(const struct client *client) {
    return client != NULL && !client->is_trusted &&
        atomic_load_explicit(&client->env->service.asks_login, memory_order_acquire);
}

static status is_excepted(const struct client *client, struct op *op, bool *out, struct err *err) {
    bool exist = true;
    *out = false;
    if (!client->is_local) return ST_OK;
    TRY(users_exist(client->env->users, op, &exist, err));
    *out = !exist;
    return ST_OK;
}

bool auth_is_required(const struct client *client) {
    bool excepted = false;
    if (!auth_is_asked(client) || client->principal != NULL) return false;
    struct op op;
    op_init(&op, client->env->db);
    status st = is_excepted(client, &op, &excepted, NULL);
    op_release(&op);
    return st != ST_OK || !excepted;
}

static bool is_secret(struct slice name) {
    return slice_equal(name, SLICE_LIT("pwd")) || slice_equal(name, SLICE_LIT("payload")) ||
        slice_equal(name, SLICE_LIT("key")) || slice_equal(name, SLICE_LIT("nonce"));
}

status auth_refuse(const struct command_call *call, struct slice db, struct err *err) {
    struct buf text;
    struct biter it = biter_of(call->body);
    struct belem e;
    const char *separator = "{ ";
    bool has_secrets = (call->command->flags & COMMAND_UNLOGGED) != 0;
    buf_init(&text, call->op->mem);
    text.cap_max = 64 * 1024; /* more would not fit into the message anyway */
    while (biter_next(&it, &e) && text.len < ERR_TEXT_LEN) {
        buf_append_format(&text, "%s%.*s: ", separator, (int) (e.name.len < 255 ? e.name.len : 255),
                          (const char *) e.name.p);
        separator = ", ";
        if (has_secrets && is_secret(e.name)) buf_append_slice(&text, SLICE_LIT("\"xxx\""));
        else if (e.value.len > ERR_TEXT_LEN) buf_append_slice(&text, SLICE_LIT("..."));
        else bval_dump(e.value, &text);
    }
    buf_append_slice(&text, SLICE_LIT(" }"));
    status st = RAISE_CODE(err, CODE_Unauthorized, "not authorized on %.*s to execute command %.*s", (int) db.len,
                           (const char *) db.p, (int) text.len, text.p != NULL ? (const char *) text.p : "");
    buf_release(&text);
    return st;
}

static unsigned access_of(const struct client *client, struct slice db) {
    const struct principal *p = client->principal;
    return p != NULL ? grants_access(p->granted, p->granted_count, db) : 0;
}

/* Whoever is not logged in: the localhost exception, or nothing. */
static status authorize_nobody(const struct command_call *call, unsigned access, struct slice db, struct err *err) {
    bool excepted;
    TRY(is_excepted(call->client, call->op, &excepted, err));
    if (!excepted) return RAISE_CODE(err, CODE_Unauthorized, "Command %s requires authentication", call->command->name);
    bool is_row = (access & (ACCESS_LOGGED_IN | ACCESS_ASKS)) != 0;
    bool is_first = access == ACCESS_BY_USER_ADMIN && slice_equal(db, SLICE_LIT("admin"));
    if (call->command == &command_create_user && (is_row || is_first)) return ST_OK;
    if (is_row) return RAISE_CODE(err, CODE_Unauthorized, "Command %s requires authentication", call->command->name);
    return auth_refuse(call, db, err);
}

static status authorize(const struct command_call *call, unsigned access, struct slice db, struct err *err) {
    /* Once for each command, before it begins: what runs borrows the principal's names (op->user). */
    if (call->op->user.len == 0) TRY(principal_refresh(call, err));
    if (!auth_is_asked(call->client) || (access & ACCESS_ANYBODY) != 0) return ST_OK;
    if (call->client->principal == NULL) return authorize_nobody(call, access, db, err);
    if ((access & (ACCESS_LOGGED_IN | ACCESS_ASKS)) != 0) return ST_OK;
    unsigned has = access_of(call->client, db);
    if (has == ~0u || (has & access) != 0) return ST_OK;
    return auth_refuse(call, db, err);
}

static bool is_users(struct ns ns) {
    return slice_equal(ns.db, SLICE_LIT("admin")) && slice_equal(ns.coll, SLICE_LIT("system.users"));
}

status command_authorize_ns(const struct command_call *call, unsigned access, struct ns ns, struct err *err) {
    return authorize(call, is_users(ns) ? (unsigned) ACCESS_BY_USER_ADMIN : access, ns.db, err);
}

status command_authorize(const struct command_call *call, unsigned access, struct slice db, struct err *err) {
    struct biter it = biter_of(call->body);
    struct belem first;
    /* What a command's first field names is its collection, if it is a string; no harm where it is something else. */
    bool names = (access & ACCESS_ON_DATABASE) != 0 && biter_next(&it, &first) && first.value.type == B_STRING;
    if (names) return command_authorize_ns(call, access, (struct ns){db, bval_string(first.value)}, err);
    return authorize(call, access, db, err);
}

bool auth_may(const struct command_call *call, unsigned access, struct slice db) {
    if (!auth_is_asked(call->client)) return true;
    unsigned has = access_of(call->client, db);
    return has == ~0u || (has & access) != 0;
}

struct slice auth_owner(const struct client *client) {
    return client != NULL && client->principal != NULL ? client->principal->full_name : SLICE_NONE;
}

bool auth_may_touch(const struct command_call *call, struct slice owner, unsigned access) {
    return slice_equal(owner, auth_owner(call->client)) || auth_may(call, access, SLICE_LIT("admin"));
}
