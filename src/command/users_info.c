/* usersInfo and rolesInfo: what is known of users and roles, credentials on request only. */
#include "base/codes.h"
#include "command/fields.h"
#include "command/roles.h"
#include "command/users.h"
#include "eval/match.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define REPLY_LEN_MAX ((size_t) BSON_LEN_MAX)

static void push_string(struct bbuild *array, const char *text) {
    uint8_t bytes[64] = {0};
    size_t len = strlen(text);
    put_le32(bytes, (uint32_t) len + 1);
    memcpy(bytes + 4, text, len);
    bbuild_push(array, (struct bval){bytes, (uint32_t) len + 5, B_STRING});
}

/* --- usersInfo --- */

struct users_info {
    struct bval which;
    struct bdoc filter;
    bool credentials, privileges, custom, restrictions;
};

static const struct field users_fields[] = {
    {"usersInfo", FIELD_VALUE, offsetof(struct users_info, which), FIELD_REQUIRED},
    {"showCredentials", FIELD_BOOL, offsetof(struct users_info, credentials), 0},
    {"showPrivileges", FIELD_BOOL, offsetof(struct users_info, privileges), 0},
    {"showCustomData", FIELD_BOOL, offsetof(struct users_info, custom), 0},
    {"showAuthenticationRestrictions", FIELD_BOOL, offsetof(struct users_info, restrictions), 0},
    {"filter", FIELD_DOCUMENT, offsetof(struct users_info, filter), 0},
};

struct one_user {
    struct slice user, db;
    bool for_all;
};
static const struct field one_fields[] = {
    {"user", FIELD_STRING, offsetof(struct one_user, user), 0},
    {"db", FIELD_STRING, offsetof(struct one_user, db), 0},
    {"forAllDBs", FIELD_BOOL, offsetof(struct one_user, for_all), 0},
};

struct listing {
    struct command_call *call;
    struct users_info cmd;
    struct slice db; /* p NULL: all */
    struct matcher matcher;
    struct buf row;
    struct bbuild *array;
};

/* The roles that stand in a user's document, with what comes of them. */
static status append_inherited(const struct listing *l, struct bdoc doc, struct bbuild *b, struct err *err) {
    struct principal *p;
    TRY(principal_new(l->call->op->mem, doc, 0, &p, err));
    struct bbuild roles = bbuild_open_array(b, SLICE_LIT("inheritedRoles"));
    grants_append(p->granted, p->granted_count, &roles);
    bbuild_close(&roles);
    struct bbuild privileges = bbuild_open_array(b, SLICE_LIT("inheritedPrivileges"));
    grants_privileges(p->granted, p->granted_count, &privileges);
    bbuild_close(&privileges);
    struct bbuild restrictions = bbuild_open_array(b, SLICE_LIT("inheritedAuthenticationRestrictions"));
    bbuild_close(&restrictions);
    principal_free(p);
    return ST_OK;
}

static status append_user(struct listing *l, struct bdoc doc, struct err *err) {
    static const char *const kept[] = {"_id", "userId", "user", "db", "credentials", "customData", "roles"};
    struct bbuild b;
    struct scram_credentials c;
    bool matches = true;
    buf_clear(&l->row);
    bbuild_begin(&b, &l->row);
    for (size_t i = 0; i < COUNT(kept); i++) {
        if ((i == 4 && !l->cmd.credentials) || (i == 5 && !l->cmd.custom)) continue;
        bbuild_value(&b, slice_str(kept[i]), bdoc_get_str(doc, kept[i]));
    }
    struct bbuild mechanisms = bbuild_open_array(&b, SLICE_LIT("mechanisms"));
    for (int m = SCRAM_COUNT - 1; m >= 0; m--)
        if (user_credentials(doc, (enum scram_mechanism) m, &c) == ST_OK)
            push_string(&mechanisms, scram_name((enum scram_mechanism) m));
    bbuild_close(&mechanisms);
    scram_wipe(&c);
    if (l->cmd.privileges) TRY(append_inherited(l, doc, &b, err));
    if (l->cmd.restrictions) {
        struct bbuild none = bbuild_open_array(&b, SLICE_LIT("authenticationRestrictions"));
        bbuild_close(&none);
    }
    struct bdoc row = bbuild_finish(&b);
    if (row.p == NULL) return RAISE(err, ST_NOMEM, "no memory to list users");
    TRY(match_doc(&l->matcher, row, &matches, err));
    if (matches) bbuild_push(l->array, (struct bval){row.p, row.len, B_DOCUMENT});
    if (l->call->reply->buf->len > REPLY_LEN_MAX)
        return RAISE(err, ST_TOO_LARGE, "the users' descriptions are larger than 16 MiB: name those that you want");
    return ST_OK;
}

static status list_user(void *ctx, struct bdoc doc, struct err *err) {
    struct listing *l = ctx;
    struct bval db = bdoc_get_str(doc, "db");
    if (l->db.p != NULL && (db.type != B_STRING || !slice_equal(bval_string(db), l->db))) return ST_OK;
    return append_user(l, doc, err);
}

static status may_view(const struct listing *l, const struct one_user *who, struct err *err) {
    const struct principal *p = l->call->client != NULL ? l->call->client->principal : NULL;
    if (p != NULL && who->user.p != NULL && slice_equal(p->user, who->user) && slice_equal(p->db, who->db))
        return ST_OK; /* oneself */
    return command_authorize(l->call, ACCESS_BY_USER_ADMIN, who->for_all ? SLICE_LIT("admin") : who->db, err);
}

/* One of the array, or the only one: "name" or {user, db}. */
static status parse_one(const struct listing *l, struct bval v, struct one_user *who, struct err *err) {
    *who = (struct one_user){.db = l->call->db};
    if (v.type == B_STRING) who->user = bval_string(v);
    else if (v.type == B_DOCUMENT)
        TRY(fields_parse("usersInfo", bval_doc(v), one_fields, COUNT(one_fields), false, who, err));
    else return RAISE_CODE(err, CODE_BadValue, "User and role names must be either strings or objects");
    if (who->user.p == NULL && !who->for_all)
        return RAISE_CODE(err, CODE_BadValue, "BSON field 'usersInfo.user' is missing but a required field");
    return ST_OK;
}

static status list_one(struct listing *l, struct bval v, struct err *err) {
    struct one_user who;
    struct bdoc doc;
    TRY(parse_one(l, v, &who, err));
    TRY(may_view(l, &who, err));
    if (who.for_all) {
        l->db = SLICE_NONE;
        return users_each(l->call->op, list_user, l, err);
    }
    status st = user_read(l->call->op, (struct user_name){who.user, who.db}, &doc, err);
    return st == ST_NOT_FOUND ? ST_OK : st == ST_OK ? append_user(l, doc, err) : st;
}

static status list_users(struct listing *l, struct err *err) {
    struct bval which = l->cmd.which;
    struct belem e;
    if (which.type == B_STRING || which.type == B_DOCUMENT) return list_one(l, which, err);
    if (which.type == B_ARRAY) {
        struct biter it = biter_of(bval_doc(which));
        while (biter_next(&it, &e)) TRY(list_one(l, e.value, err));
        return ST_OK;
    }
    TRY(command_authorize(l->call, ACCESS_BY_USER_ADMIN, l->call->db, err));
    l->db = l->call->db;
    return users_each(l->call->op, list_user, l, err);
}

static status run_users_info(struct command_call *call, struct err *err) {
    struct listing l = {.call = call, .cmd = {.filter = bdoc_empty, .custom = true}};
    TRY(fields_parse("usersInfo", call->body, users_fields, COUNT(users_fields), true, &l.cmd, err));
    TRY(match_compile(call->op->mem, &call->op->arena, l.cmd.filter, &l.matcher, err));
    buf_init(&l.row, call->op->mem);
    struct bbuild array = bbuild_open_array(call->reply, SLICE_LIT("users"));
    l.array = &array;
    status st = list_users(&l, err);
    bbuild_close(&array);
    buf_release(&l.row);
    matcher_release(&l.matcher);
    return st;
}

const struct command command_users_info = {.name = "usersInfo",
                                           .run = run_users_info,
                                           .access = ACCESS_ASKS,
                                           .help = "Describes users."};

/* --- rolesInfo --- */

struct roles_info {
    struct bval which, privileges;
    bool built_in, restrictions;
};
static const struct field roles_fields[] = {
    {"rolesInfo", FIELD_VALUE, offsetof(struct roles_info, which), FIELD_REQUIRED},
    {"showPrivileges", FIELD_VALUE, offsetof(struct roles_info, privileges), 0},
    {"showBuiltinRoles", FIELD_BOOL, offsetof(struct roles_info, built_in), 0},
    {"showAuthenticationRestrictions", FIELD_BOOL, offsetof(struct roles_info, restrictions), 0},
};

static void append_role(const struct roles_info *cmd, const struct granted *g, struct bbuild *array) {
    struct bbuild b = bbuild_push_doc(array);
    char id[160];
    size_t db_len = g->db.len < 64 ? g->db.len : 64, name_len = strlen(g->role->name);
    memcpy(id, g->db.p, db_len);
    id[db_len] = '.';
    memcpy(id + db_len + 1, g->role->name, name_len);
    bbuild_slice(&b, "_id", slice_of(id, db_len + 1 + name_len));
    bbuild_str(&b, "role", g->role->name);
    bbuild_slice(&b, "db", g->db);
    static const char *const lists[] = {"roles", "inheritedRoles"};
    for (int i = 0; i < 2; i++) {
        struct bbuild none = bbuild_open_array(&b, slice_str(lists[i]));
        bbuild_close(&none);
    }
    if (bval_truthy(cmd->privileges)) {
        static const char *const names[] = {"privileges", "inheritedPrivileges"};
        for (int i = 0; i < 2; i++) {
            struct bbuild list = bbuild_open_array(&b, slice_str(names[i]));
            grants_privileges(g, 1, &list);
            bbuild_close(&list);
        }
    }
    bbuild_bool(&b, "isBuiltin", true);
    bbuild_close(&b);
}

static status append_named(struct command_call *call, const struct roles_info *cmd, struct bval v, struct bbuild *array,
                           struct err *err) {
    struct slice name, db = call->db;
    if (v.type == B_STRING) {
        name = bval_string(v);
    } else {
        struct bval role = v.type == B_DOCUMENT ? bdoc_get_str(bval_doc(v), "role") : BVAL_MISSING,
                    of = v.type == B_DOCUMENT ? bdoc_get_str(bval_doc(v), "db") : BVAL_MISSING;
        if (role.type != B_STRING || of.type != B_STRING)
            return RAISE_CODE(err, CODE_BadValue, "Role names must be either strings or objects of role and db");
        name = bval_string(role);
        db = bval_string(of);
    }
    struct granted g = {role_find(name, db), db};
    const struct principal *p = call->client != NULL ? call->client->principal : NULL;
    bool is_own = false;
    for (uint32_t i = 0; p != NULL && i < p->granted_count; i++)
        is_own = is_own || (p->granted[i].role == g.role && slice_equal(p->granted[i].db, db));
    if (!is_own) TRY(command_authorize(call, ACCESS_BY_USER_ADMIN, db, err));
    if (g.role != NULL) append_role(cmd, &g, array);
    return ST_OK;
}

static status append_roles(struct command_call *call, const struct roles_info *cmd, struct bbuild *array,
                           struct err *err) {
    struct belem e;
    if (cmd->which.type == B_STRING || cmd->which.type == B_DOCUMENT)
        return append_named(call, cmd, cmd->which, array, err);
    if (cmd->which.type == B_ARRAY) {
        struct biter it = biter_of(bval_doc(cmd->which));
        while (biter_next(&it, &e)) TRY(append_named(call, cmd, e.value, array, err));
        return ST_OK;
    }
    TRY(command_authorize(call, ACCESS_BY_USER_ADMIN, call->db, err));
    const struct role *role;
    for (size_t i = 0; cmd->built_in && (role = role_at(i)) != NULL; i++) {
        struct granted g = {role_find(slice_str(role->name), call->db), call->db};
        if (g.role != NULL) append_role(cmd, &g, array);
    }
    return ST_OK;
}

static status run_roles_info(struct command_call *call, struct err *err) {
    struct roles_info cmd = {.which = BVAL_MISSING};
    TRY(fields_parse("rolesInfo", call->body, roles_fields, COUNT(roles_fields), true, &cmd, err));
    struct bbuild array = bbuild_open_array(call->reply, SLICE_LIT("roles"));
    status st = append_roles(call, &cmd, &array, err);
    bbuild_close(&array);
    return st;
}

const struct command command_roles_info = {.name = "rolesInfo",
                                           .run = run_roles_info,
                                           .access = ACCESS_ASKS,
                                           .help = "Describes roles."};
