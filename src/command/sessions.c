/* startSession, refreshSessions, endSessions, killSessions, killAllSessions, killAllSessionsByPattern. */
#include "base/codes.h"
#include "command/auth.h"
#include "command/fields.h"
#include "command/scope.h"
#include "doc/db.h"

/* --- one session --- */

static status run_start(struct command_call *call, struct err *err) {
    struct env *env = db_env(call->env->db);
    uint8_t uuid[16];
    struct session *s;
    env->ops->random(env, uuid, sizeof(uuid));
    uuid[6] = (uint8_t) ((uuid[6] & 0x0f) | 0x40); /* RFC 4122, version 4 */
    uuid[8] = (uint8_t) ((uuid[8] & 0x3f) | 0x80);
    struct session_id id = scope_session_id(call->client, uuid);
    TRY(sessions_get(call->env->sessions, &id, &s, err));
    session_unref(s);
    struct bbuild doc = bbuild_open_doc(call->reply, SLICE_LIT("id"));
    bbuild_binary(&doc, "id", 4, slice_of(uuid, sizeof(uuid)));
    bbuild_close(&doc);
    bbuild_int32(call->reply, "timeoutMinutes", SESSION_IDLE_MINUTES);
    return ST_OK;
}

struct to_end {
    struct command_call *call;
    struct slice *users; /* NULL: of all */
    size_t user_count;
};

/* What it runs is stopped, its cursors and its transaction end; the table forgets it, unless it is the program's own. */
static void end_session(struct command_call *call, struct session *s) {
    struct command_env *env = call->env;
    service_stop_session(env, s, call->client, CODE_Interrupted);
    cursors_kill_session(env->cursors, &s->id);
    if (s->is_local) session_kill_txn(s);
    else session_end(s);
}

static status each_id(struct command_call *call, struct bdoc list, void (*visit)(struct command_call *, struct session *),
                      bool make, struct err *err) {
    struct biter it = biter_of(list);
    struct belem e;
    while (biter_next(&it, &e)) {
        struct bval v = e.value.type == B_DOCUMENT ? bdoc_get_str(bval_doc(e.value), "id") : BVAL_MISSING;
        if (v.type != B_BINARY || bval_binary(v).len != 16 || bval_binary_subtype(v) != 4)
            return RAISE_CODE(err, CODE_TypeMismatch, "BSON field '%s.%s' must hold session ids: {id: UUID}",
                              call->command->name, call->command->name);
    }
    it = biter_of(list);
    while (biter_next(&it, &e)) {
        struct session_id id = scope_session_id(call->client, bval_binary(bdoc_get_str(bval_doc(e.value), "id")).p);
        struct session *s = NULL;
        status st = make ? sessions_get(call->env->sessions, &id, &s, err)
                         : sessions_find(call->env->sessions, &id, &s);
        if (st == ST_NOT_FOUND) continue;
        TRY(st);
        visit(call, s);
        session_unref(s);
    }
    return ST_OK;
}

static void visit_end(struct command_call *call, struct session *s) { end_session(call, s); }
static void visit_touch(struct command_call *call, struct session *s) {
    (void) call;
    (void) s; /* finding it was the touch */
}

/* --- many --- */

static void visit_all(void *ctx, struct session *s) {
    struct to_end *t = ctx;
    bool wanted = t->users == NULL;
    for (size_t i = 0; i < t->user_count && !wanted; i++) wanted = slice_equal(s->id.user, t->users[i]);
    if (wanted) end_session(t->call, s);
}

static status end_all(struct command_call *call, struct slice *users, size_t user_count, struct err *err) {
    struct to_end t = {call, users, user_count};
    return sessions_each(call->env->sessions, visit_all, &t, err);
}

/* "db.user" of {user, db}. */
static status full_name(struct op *op, struct bdoc d, struct slice *out, struct err *err) {
    struct bval user = bdoc_get_str(d, "user"), db = bdoc_get_str(d, "db");
    if (user.type != B_STRING || db.type != B_STRING)
        return RAISE_CODE(err, CODE_TypeMismatch, "a user must be given as {user: string, db: string}");
    struct slice u = bval_string(user), b = bval_string(db);
    uint8_t *p = arena_alloc(&op->arena, b.len + 1 + u.len);
    if (p == NULL) return RAISE(err, ST_NOMEM, "no memory for a user's name");
    memcpy(p, b.p, b.len);
    p[b.len] = '.';
    memcpy(p + b.len + 1, u.p, u.len);
    *out = slice_of(p, b.len + 1 + u.len);
    return ST_OK;
}

static status users_of(struct command_call *call, struct bdoc list, struct slice **out, size_t *count,
                       struct err *err) {
    uint32_t n = bdoc_count(list);
    *count = 0;
    *out = arena_array(&call->op->arena, struct slice, n + 1);
    if (*out == NULL) return RAISE(err, ST_NOMEM, "no memory for %u users", n);
    struct biter it = biter_of(list);
    struct belem e;
    while (biter_next(&it, &e)) {
        if (e.value.type != B_DOCUMENT)
            return RAISE_CODE(err, CODE_TypeMismatch, "BSON field '%s.%s' must hold documents", call->command->name,
                              call->command->name);
        TRY(full_name(call->op, bval_doc(e.value), &(*out)[(*count)++], err));
    }
    return ST_OK;
}

struct list_command {
    struct bdoc list;
};

static status read_list(struct command_call *call, struct bdoc *out, struct err *err) {
    struct list_command cmd = {.list = bdoc_empty};
    const struct field rows[] = {{call->command->name, FIELD_ARRAY, offsetof(struct list_command, list), FIELD_REQUIRED}};
    TRY(fields_parse(call->command->name, call->body, rows, 1, true, &cmd, err));
    *out = cmd.list;
    return ST_OK;
}

static status run_refresh(struct command_call *call, struct err *err) {
    struct bdoc list;
    TRY(read_list(call, &list, err));
    return each_id(call, list, visit_touch, true, err);
}

static status run_end(struct command_call *call, struct err *err) {
    struct bdoc list;
    TRY(read_list(call, &list, err));
    return each_id(call, list, visit_end, false, err);
}

/* An empty list means all of the caller's own. */
static status run_kill(struct command_call *call, struct err *err) {
    struct bdoc list;
    TRY(read_list(call, &list, err));
    if (!bdoc_is_empty(list)) return each_id(call, list, visit_end, false, err);
    struct slice own = call->client->principal != NULL ? call->client->principal->full_name : SLICE_NONE;
    return end_all(call, &own, 1, err);
}

static status run_kill_all(struct command_call *call, struct err *err) {
    struct bdoc list;
    struct slice *users;
    size_t count;
    TRY(read_list(call, &list, err));
    if (bdoc_is_empty(list)) return end_all(call, NULL, 0, err);
    TRY(users_of(call, list, &users, &count, err));
    return end_all(call, users, count, err);
}

/* {lsid: {id}} or {users: [{user, db}]}; {} is everybody. */
static status kill_pattern(struct command_call *call, struct bdoc pattern, struct err *err) {
    struct bval lsid = bdoc_get_str(pattern, "lsid"), users = bdoc_get_str(pattern, "users");
    struct slice *names;
    size_t count;
    if (bdoc_is_empty(pattern)) return end_all(call, NULL, 0, err);
    if (users.type == B_ARRAY) {
        TRY(users_of(call, bval_doc(users), &names, &count, err));
        return end_all(call, names, count, err);
    }
    struct bval id = lsid.type == B_DOCUMENT ? bdoc_get_str(bval_doc(lsid), "id") : BVAL_MISSING;
    if (id.type != B_BINARY || bval_binary(id).len != 16)
        return RAISE_CODE(err, CODE_NotImplemented,
                          "killAllSessionsByPattern: a pattern must be {}, {lsid: {id: UUID}} or {users: [{user, db}]}");
    struct session_id wanted = scope_session_id(call->client, bval_binary(id).p);
    struct session *s = NULL;
    if (sessions_find(call->env->sessions, &wanted, &s) != ST_OK) return ST_OK;
    end_session(call, s);
    session_unref(s);
    return ST_OK;
}

static status run_kill_pattern(struct command_call *call, struct err *err) {
    struct bdoc list;
    TRY(read_list(call, &list, err));
    if (bdoc_is_empty(list)) return end_all(call, NULL, 0, err);
    struct biter it = biter_of(list);
    struct belem e;
    while (biter_next(&it, &e)) {
        if (e.value.type != B_DOCUMENT)
            return RAISE_CODE(err, CODE_TypeMismatch, "BSON field 'killAllSessionsByPattern.killAllSessionsByPattern' "
                                                      "must hold documents");
        TRY(kill_pattern(call, bval_doc(e.value), err));
    }
    return ST_OK;
}

const struct command command_start_session = {.name = "startSession",
                                              .flags = 0,
                                              .run = run_start,
                                              .access = ACCESS_LOGGED_IN,
                                              .help = "Starts a logical session."};
const struct command command_refresh_sessions = {.name = "refreshSessions",
                                                 .flags = COMMAND_API_V1,
                                                 .run = run_refresh,
                                                 .access = ACCESS_LOGGED_IN,
                                                 .help = "Keeps sessions from ending."};
const struct command command_end_sessions = {.name = "endSessions",
                                             .flags = COMMAND_API_V1,
                                             .run = run_end,
                                             .access = ACCESS_ANYBODY,
                                             .help = "Ends sessions."};
const struct command command_kill_sessions = {.name = "killSessions",
                                              .flags = 0,
                                              .run = run_kill,
                                              .access = ACCESS_LOGGED_IN,
                                              .help = "Ends sessions of the caller, and what they run."};
const struct command command_kill_all_sessions = {.name = "killAllSessions",
                                                  .flags = 0,
                                                  .run = run_kill_all,
                                                  .access = ACCESS_BY_CLUSTER,
                                                  .help = "Ends all sessions of the users given, or of everybody."};
const struct command command_kill_all_sessions_by_pattern = {.name = "killAllSessionsByPattern",
                                                             .flags = 0,
                                                             .run = run_kill_pattern,
                                                             .access = ACCESS_BY_CLUSTER,
                                                             .help = "Ends all sessions that match a pattern."};
