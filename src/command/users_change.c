/* The commands that change users: createUser, updateUser, dropUser, dropAllUsersFromDatabase, grantRolesToUser, revokeRolesFromUser.
 *
 * Who administers the users of a database may not give more than he is trusted with: a role is given (and taken away) by whoever administers the users of the role's own database. */
#include <openssl/crypto.h>

#include "base/codes.h"
#include "command/fields.h"
#include "command/roles.h"
#include "command/users.h"
#include "doc/db.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define PASSWORD_LEN_MAX 4096

/* What a user is to become. Absent: p NULL, has_roles false. */
struct user_fields {
    struct slice name;
    struct bval password;
    struct bdoc custom, roles, mechanisms;
    bool digests;
};

static const struct field create_fields[] = {
    {"createUser", FIELD_STRING, offsetof(struct user_fields, name), FIELD_REQUIRED},
    {"pwd", FIELD_VALUE, offsetof(struct user_fields, password), 0},
    {"roles", FIELD_ARRAY, offsetof(struct user_fields, roles), FIELD_REQUIRED},
    {"customData", FIELD_DOCUMENT, offsetof(struct user_fields, custom), 0},
    {"mechanisms", FIELD_ARRAY, offsetof(struct user_fields, mechanisms), 0},
    {"digestPassword", FIELD_STRICT_BOOL, offsetof(struct user_fields, digests), 0},
    {"passwordDigestor", FIELD_IGNORED, 0, 0}, /* shells send "server" */
    {"authenticationRestrictions", FIELD_REFUSED, 0, 0},
};
static const struct field update_fields[] = {
    {"updateUser", FIELD_STRING, offsetof(struct user_fields, name), FIELD_REQUIRED},
    {"pwd", FIELD_VALUE, offsetof(struct user_fields, password), 0},
    {"roles", FIELD_ARRAY, offsetof(struct user_fields, roles), 0},
    {"customData", FIELD_DOCUMENT, offsetof(struct user_fields, custom), 0},
    {"mechanisms", FIELD_ARRAY, offsetof(struct user_fields, mechanisms), 0},
    {"digestPassword", FIELD_STRICT_BOOL, offsetof(struct user_fields, digests), 0},
    {"passwordDigestor", FIELD_IGNORED, 0, 0},
    {"authenticationRestrictions", FIELD_REFUSED, 0, 0},
};

struct change {
    struct command_call *call;
    struct user_fields f;
    struct user_name name;
    struct granted *granted;
    uint32_t granted_count;
    unsigned mechanisms;                    /* a bit for each */
    bool has_roles, has_credentials, takes; /* takes: roles are taken away */
    bool is_first;                          /* under the localhost exception: only while there is nobody */
    struct scram_credentials credentials[SCRAM_COUNT];
    uint8_t user_id[16];
};

static status no_user(const struct change *c, struct err *err) {
    return RAISE_CODE(err, CODE_UserNotFound, "User '%.*s@%.*s' not found", (int) c->name.user.len,
                      (const char *) c->name.user.p, (int) c->name.db.len, (const char *) c->name.db.p);
}

/* --- reading the command --- */

static status parse_mechanisms(struct change *c, struct err *err) {
    struct bdoc array = c->f.mechanisms;
    struct belem e;
    if (array.p == NULL) {
        c->mechanisms = c->f.digests ? (1u << SCRAM_COUNT) - 1 : 1u << SCRAM_SHA_1;
        return ST_OK;
    }
    if (bdoc_is_empty(array)) return RAISE_CODE(err, CODE_BadValue, "mechanisms field must not be empty");
    struct biter it = biter_of(array);
    while (biter_next(&it, &e)) {
        enum scram_mechanism m;
        struct slice name = e.value.type == B_STRING ? bval_string(e.value) : SLICE_LIT("");
        if (!scram_of_name(name, &m))
            return RAISE_CODE(err, CODE_BadValue, "Unknown auth mechanism '%.*s'", (int) name.len,
                              (const char *) name.p);
        if ((c->mechanisms & 1u << m) != 0)
            return RAISE_CODE(err, CODE_BadValue, "mechanisms field must not contain duplicates");
        c->mechanisms |= 1u << m;
    }
    if (!c->f.digests && (c->mechanisms & 1u << SCRAM_SHA_256) != 0)
        return RAISE_CODE(err, CODE_BadValue, "Use of SCRAM-SHA-256 requires undigested passwords");
    return ST_OK;
}

static status derive(struct change *c, enum scram_mechanism m, struct err *err) {
    struct scram_credentials *out = &c->credentials[m];
    struct env *env = db_env(c->call->env->db);
    struct slice password = bval_string(c->f.password);
    struct buf secret;
    status st = ST_OK;
    buf_init(&secret, c->call->op->mem);
    secret.cap_max = 64 * 1024;
    /* Whole at once, so that growing leaves no copies behind. */
    if (!buf_reserve(&secret, password.len * 4 + 64)) {
        st = RAISE(err, ST_NOMEM, "no memory for a password");
    } else {
        if (c->f.digests) st = scram_secret(c->call->op->mem, m, c->name.user, password, &secret, err);
        else buf_append_slice(&secret, password);
        out->salt_len = (uint32_t) scram_salt_len(m);
        if (st == ST_OK) st = env->ops->secret(env, out->salt, out->salt_len, err);
        if (st == ST_OK) st = scram_derive(m, buf_slice(&secret), scram_iterations(m), out, err);
    }
    if (secret.p != NULL) OPENSSL_cleanse(secret.p, secret.cap);
    buf_release(&secret);
    return st;
}

static bool is_external(const struct change *c) { return slice_equal(c->name.db, SLICE_LIT("$external")); }

/* The password's checks, and credentials for each mechanism. */
static status parse_password(struct change *c, struct err *err) {
    struct bval v = c->f.password;
    if (v.type == B_MISSING) return ST_OK;
    if (is_external(c))
        return RAISE_CODE(err, CODE_BadValue, "Cannot set the password for users defined on the '$external' database");
    if (v.type != B_STRING)
        return RAISE_CODE(err, CODE_TypeMismatch, "BSON field 'pwd' is the wrong type '%s', expected type 'string'",
                          btype_name(v.type));
    if (bval_string(v).len == 0) return RAISE_CODE(err, CODE_BadValue, "Password cannot be empty");
    if (bval_string(v).len > PASSWORD_LEN_MAX)
        return RAISE_CODE(err, CODE_BadValue, "Password must be at most %d bytes long", PASSWORD_LEN_MAX);
    c->has_credentials = true;
    for (int m = 0; m < SCRAM_COUNT; m++)
        if ((c->mechanisms & 1u << m) != 0) TRY(derive(c, (enum scram_mechanism) m, err));
    return ST_OK;
}

static status parse_roles(struct change *c, struct bdoc array, struct err *err) {
    if (array.p == NULL) return ST_OK;
    c->has_roles = true;
    TRY(grants_parse(c->call->op, array, c->name.db, &c->granted, &c->granted_count, err));
    for (uint32_t i = 0; i < c->granted_count; i++)
        TRY(command_authorize(c->call, ACCESS_BY_USER_ADMIN, c->granted[i].db, err));
    return ST_OK;
}

static status parse_name(struct change *c, struct slice name, struct err *err) {
    if (name.len == 0) return RAISE_CODE(err, CODE_BadValue, "User document needs 'user' field to be non-empty");
    if (name.len > USER_NAME_LEN_MAX || memchr(name.p, 0, name.len) != NULL)
        return RAISE_CODE(err, CODE_BadValue, "Username must have at most %d bytes, none of them zero",
                          USER_NAME_LEN_MAX);
    if (slice_equal(c->call->db, SLICE_LIT("local")))
        return RAISE_CODE(err, CODE_BadValue, "Cannot create users in the local database");
    c->name = (struct user_name){name, c->call->db};
    return ST_OK;
}

static void forget(struct change *c) { OPENSSL_cleanse(c->credentials, sizeof(c->credentials)); }

/* --- the new document --- */

static void append_credentials(const struct change *c, struct bdoc old, struct bbuild *b) {
    struct bbuild all = bbuild_open_doc(b, SLICE_LIT("credentials"));
    struct bval had = old.p != NULL ? bdoc_get_str(old, "credentials") : BVAL_MISSING;
    for (int i = SCRAM_COUNT - 1; i >= 0; i--) {
        enum scram_mechanism m = (enum scram_mechanism) i;
        const char *name = scram_name(m);
        if ((c->mechanisms & 1u << m) == 0 && c->f.mechanisms.p != NULL) continue;
        if (c->has_credentials && (c->mechanisms & 1u << m) != 0) credentials_append(&all, m, &c->credentials[m]);
        else if (!c->has_credentials && had.type == B_DOCUMENT)
            bbuild_value(&all, slice_str(name), bdoc_get_str(bval_doc(had), name));
    }
    if (is_external(c)) bbuild_bool(&all, "external", true);
    bbuild_close(&all);
}

static void append_id(const struct change *c, struct bbuild *b) {
    struct buf id;
    buf_init(&id, c->call->op->mem);
    buf_append_slice(&id, c->name.db);
    buf_append_u8(&id, '.');
    buf_append_slice(&id, c->name.user);
    if (id.failed) b->buf->failed = true;
    bbuild_slice(b, "_id", buf_slice(&id));
    buf_release(&id);
}

static status build(const struct change *c, struct bdoc old, struct buf *out, struct bdoc *doc, struct err *err) {
    struct bbuild b;
    bbuild_begin(&b, out);
    append_id(c, &b);
    bbuild_binary(&b, "userId", 4, slice_of(c->user_id, sizeof(c->user_id)));
    bbuild_slice(&b, "user", c->name.user);
    bbuild_slice(&b, "db", c->name.db);
    append_credentials(c, old, &b);
    if (c->f.custom.p != NULL) bbuild_doc(&b, "customData", c->f.custom);
    else if (old.p != NULL) bbuild_value(&b, SLICE_LIT("customData"), bdoc_get_str(old, "customData"));
    if (c->has_roles || old.p == NULL) {
        struct bbuild roles = bbuild_open_array(&b, SLICE_LIT("roles"));
        grants_append(c->granted, c->granted_count, &roles);
        bbuild_close(&roles);
    } else {
        bbuild_value(&b, SLICE_LIT("roles"), bdoc_get_str(old, "roles"));
    }
    *doc = bbuild_finish(&b);
    return doc->p != NULL ? ST_OK : RAISE(err, ST_NOMEM, "no memory for a user");
}

/* --- createUser --- */

static status make(void *ctx, struct bdoc old, struct buf *out, struct bdoc *doc, struct err *err) {
    struct change *c = ctx;
    bool exist = false;
    if (old.p != NULL)
        return RAISE_CODE(err, 51003, "User \"%.*s@%.*s\" already exists", (int) c->name.user.len,
                          (const char *) c->name.user.p, (int) c->name.db.len, (const char *) c->name.db.p);
    /* Another first user may have been made since the command was let in. */
    if (c->is_first) TRY(users_exist(c->call->env->users, c->call->op, &exist, err));
    if (exist) return auth_refuse(c->call, c->call->db, err);
    return build(c, old, out, doc, err);
}

static status parse_create(struct change *c, struct err *err) {
    struct env *env = db_env(c->call->env->db);
    TRY(fields_parse("createUser", c->call->body, create_fields, COUNT(create_fields), true, &c->f, err));
    TRY(command_authorize(c->call, ACCESS_BY_USER_ADMIN, c->call->db, err));
    TRY(parse_name(c, c->f.name, err));
    TRY(parse_mechanisms(c, err));
    TRY(parse_roles(c, c->f.roles, err));
    TRY(parse_password(c, err));
    if (!c->has_credentials && !is_external(c))
        return RAISE_CODE(err, CODE_BadValue,
                          "Must provide a 'pwd' field for all user documents, except those with '$external' as the "
                          "user's source db");
    env->ops->random(env, c->user_id, sizeof(c->user_id));
    c->user_id[6] = (uint8_t) ((c->user_id[6] & 0x0f) | 0x40); /* RFC 4122, version 4 */
    c->user_id[8] = (uint8_t) ((c->user_id[8] & 0x3f) | 0x80);
    return ST_OK;
}

static status run_create(struct command_call *call, struct err *err) {
    struct change c = {.call = call, .f.digests = true};
    struct user_change change = {make, &c};
    c.is_first = !call->client->is_trusted && call->client->principal == NULL &&
        atomic_load_explicit(&call->env->service.asks_login, memory_order_acquire);
    status st = parse_create(&c, err);
    if (st == ST_OK) st = user_change(call, c.name, &change, err);
    forget(&c);
    return st;
}

const struct command command_create_user = {.name = "createUser",
                                            .flags = COMMAND_WRITES | COMMAND_UNLOGGED,
                                            .run = run_create,
                                            .access = ACCESS_ASKS,
                                            .help = "Makes a user."};

/* --- updateUser, grantRolesToUser, revokeRolesFromUser --- */

/* The roles it has, changed by those in the command. */
static status merge_roles(struct change *c, struct bdoc old, bool takes, struct granted **out, uint32_t *count,
                          struct err *err) {
    struct principal *p;
    uint32_t n = 0;
    TRY(principal_new(c->call->op->mem, old, 0, &p, err));
    struct granted *all = arena_array(&c->call->op->arena, struct granted, p->granted_count + c->granted_count + 1);
    status st = all != NULL ? ST_OK : RAISE(err, ST_NOMEM, "no memory for roles");
    for (uint32_t i = 0; st == ST_OK && i < p->granted_count; i++) {
        bool is_named = false;
        for (uint32_t j = 0; j < c->granted_count; j++)
            is_named = is_named ||
                (c->granted[j].role == p->granted[i].role && slice_equal(c->granted[j].db, p->granted[i].db));
        if (is_named) continue;
        const uint8_t *db = arena_copy(&c->call->op->arena, p->granted[i].db.p, p->granted[i].db.len + 1);
        if (db == NULL) st = RAISE(err, ST_NOMEM, "no memory for roles");
        else all[n++] = (struct granted){p->granted[i].role, slice_of(db, p->granted[i].db.len)};
    }
    principal_free(p);
    for (uint32_t j = 0; st == ST_OK && !takes && j < c->granted_count; j++) all[n++] = c->granted[j];
    *out = all;
    *count = n;
    return st;
}

static void keep_id(struct change *c, struct bdoc old) {
    struct bval id = bdoc_get_str(old, "userId");
    if (id.type == B_BINARY && bval_binary(id).len == sizeof(c->user_id))
        memcpy(c->user_id, bval_binary(id).p, sizeof(c->user_id));
}

static status alter(void *ctx, struct bdoc old, struct buf *out, struct bdoc *doc, struct err *err) {
    struct change *c = ctx;
    struct scram_credentials had;
    if (old.p == NULL) return no_user(c, err);
    keep_id(c, old);
    for (int m = 0; !c->has_credentials && c->f.mechanisms.p != NULL && m < SCRAM_COUNT; m++) {
        if ((c->mechanisms & 1u << m) != 0 && user_credentials(old, (enum scram_mechanism) m, &had) != ST_OK)
            return RAISE_CODE(err, CODE_BadValue, "mechanisms field must be a subset of previously set mechanisms");
    }
    OPENSSL_cleanse(&had, sizeof(had));
    return build(c, old, out, doc, err);
}

static status alter_roles(void *ctx, struct bdoc old, struct buf *out, struct bdoc *doc, struct err *err) {
    struct change *c = ctx;
    struct change merged = *c;
    if (old.p == NULL) return no_user(c, err);
    keep_id(&merged, old);
    TRY(merge_roles(c, old, c->takes, &merged.granted, &merged.granted_count, err));
    return build(&merged, old, out, doc, err);
}

static status parse_update(struct change *c, struct err *err) {
    TRY(fields_parse("updateUser", c->call->body, update_fields, COUNT(update_fields), true, &c->f, err));
    TRY(command_authorize(c->call, ACCESS_BY_USER_ADMIN, c->call->db, err));
    TRY(parse_name(c, c->f.name, err));
    if (c->f.password.type == B_MISSING && c->f.roles.p == NULL && c->f.custom.p == NULL && c->f.mechanisms.p == NULL)
        return RAISE_CODE(err, CODE_BadValue, "Must specify at least one field to update in updateUser");
    TRY(parse_mechanisms(c, err));
    TRY(parse_roles(c, c->f.roles, err));
    /* Roles that it loses may be of any database. */
    if (c->has_roles) TRY(command_authorize(c->call, ACCESS_BY_USER_ADMIN, SLICE_LIT("admin"), err));
    return parse_password(c, err);
}

static status run_update(struct command_call *call, struct err *err) {
    struct change c = {.call = call, .f.digests = true};
    struct user_change change = {alter, &c};
    status st = parse_update(&c, err);
    if (st == ST_OK) st = user_change(call, c.name, &change, err);
    forget(&c);
    return st;
}

const struct command command_update_user = {.name = "updateUser",
                                            .flags = COMMAND_WRITES | COMMAND_UNLOGGED,
                                            .run = run_update,
                                            .access = ACCESS_ASKS,
                                            .help = "Changes a user: password, roles, data."};

struct role_change {
    struct slice name;
    struct bdoc roles;
};

static status change_roles(struct command_call *call, const char *command, bool takes, struct err *err) {
    const struct field rows[] = {
        {command, FIELD_STRING, offsetof(struct role_change, name), FIELD_REQUIRED},
        {"roles", FIELD_ARRAY, offsetof(struct role_change, roles), FIELD_REQUIRED},
    };
    struct role_change cmd = {.roles = bdoc_empty};
    struct change c = {.call = call, .f.digests = true, .takes = takes};
    struct user_change change = {alter_roles, &c};
    TRY(fields_parse(command, call->body, rows, COUNT(rows), true, &cmd, err));
    TRY(parse_name(&c, cmd.name, err));
    if (bdoc_is_empty(cmd.roles))
        return RAISE_CODE(err, CODE_BadValue, "%s command requires a non-empty \"roles\" array", command);
    TRY(parse_roles(&c, cmd.roles, err));
    return user_change(call, c.name, &change, err);
}

static status run_grant(struct command_call *call, struct err *err) {
    return change_roles(call, "grantRolesToUser", false, err);
}
static status run_revoke(struct command_call *call, struct err *err) {
    return change_roles(call, "revokeRolesFromUser", true, err);
}

const struct command command_grant_roles = {.name = "grantRolesToUser",
                                            .flags = COMMAND_WRITES,
                                            .run = run_grant,
                                            .access = ACCESS_ASKS,
                                            .help = "Gives a user roles."};
const struct command command_revoke_roles = {.name = "revokeRolesFromUser",
                                             .flags = COMMAND_WRITES,
                                             .run = run_revoke,
                                             .access = ACCESS_ASKS,
                                             .help = "Takes roles from a user."};

/* --- dropUser, dropAllUsersFromDatabase --- */

static status remove_it(void *ctx, struct bdoc old, struct buf *out, struct bdoc *doc, struct err *err) {
    (void) out;
    *doc = (struct bdoc){0};
    return old.p != NULL ? ST_OK : no_user(ctx, err);
}

static status run_drop(struct command_call *call, struct err *err) {
    static const struct field rows[] = {{"dropUser", FIELD_STRING, offsetof(struct user_fields, name), FIELD_REQUIRED}};
    struct change c = {.call = call};
    struct user_change change = {remove_it, &c};
    TRY(fields_parse("dropUser", call->body, rows, COUNT(rows), true, &c.f, err));
    TRY(parse_name(&c, c.f.name, err));
    return user_change(call, c.name, &change, err);
}

const struct command command_drop_user = {.name = "dropUser",
                                          .flags = COMMAND_WRITES,
                                          .run = run_drop,
                                          .access = ACCESS_BY_USER_ADMIN,
                                          .help = "Removes a user."};

static status run_drop_all(struct command_call *call, struct err *err) {
    static const struct field rows[] = {{"dropAllUsersFromDatabase", FIELD_IGNORED, 0, FIELD_REQUIRED}};
    int64_t count;
    TRY(fields_parse("dropAllUsersFromDatabase", call->body, rows, COUNT(rows), true, NULL, err));
    TRY(users_remove_all(call, call->db, &count, err));
    bbuild_int32(call->reply, "n", (int32_t) count);
    return ST_OK;
}

const struct command command_drop_all_users = {.name = "dropAllUsersFromDatabase",
                                               .flags = COMMAND_WRITES,
                                               .run = run_drop_all,
                                               .access = ACCESS_BY_USER_ADMIN,
                                               .help = "Removes the users of the database."};
