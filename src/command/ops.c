/* The rows of currentOp; see ops.h. They are written under the service's lock, for what runs may end meanwhile; nothing else waits there for long. */
#include "command/ops.h"

#include <stdio.h>

#include "command/auth.h"
#include "command/generic.h"
#include "doc/db.h"

#define BODY_LEN_MAX 4096 /* a longer one is cut: values of more than VALUE_LEN_MAX bytes are left out */
#define VALUE_LEN_MAX 512

static const char *kind_of(const struct command *command) {
    static const struct {
        const struct command *command;
        const char *kind;
    } rows[] = {
        {&command_find, "query"},    {&command_get_more, "getmore"}, {&command_insert, "insert"},
        {&command_update, "update"}, {&command_delete, "remove"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (rows[i].command == command) return rows[i].kind;
    return "command";
}

static void append_ns(struct bbuild *row, const struct running *r) {
    struct biter it = biter_of(r->body);
    struct belem first;
    char text[NS_TEXT_LEN];
    struct slice coll = SLICE_LIT("$cmd");
    if (biter_next(&it, &first)) {
        struct bval v = r->command == &command_get_more ? bdoc_get_str(r->body, "collection") : first.value;
        if (v.type == B_STRING) coll = bval_string(v);
    }
    (void) snprintf(text, sizeof(text), "%.*s.%.*s", (int) r->db.len, (const char *) r->db.p, (int) coll.len,
                    (const char *) coll.p);
    bbuild_str(row, "ns", text);
}

static void append_body(struct bbuild *row, const struct running *r) {
    struct bbuild out = bbuild_open_doc(row, SLICE_LIT("command"));
    struct biter it = biter_of(r->body);
    struct belem e;
    uint32_t cut = 0;
    bool is_secret = (r->command->flags & COMMAND_UNLOGGED) != 0, is_long = r->body.len > BODY_LEN_MAX;
    while (biter_next(&it, &e)) {
        if (is_secret) {
            bbuild_str(&out, r->command->name, "xxx");
            break;
        }
        if (is_long && e.value.len > VALUE_LEN_MAX) cut += e.value.len;
        else bbuild_value(&out, e.name, e.value);
    }
    if (cut != 0) {
        char text[64];
        (void) snprintf(text, sizeof(text), "%u bytes", cut);
        bbuild_str(&out, "$truncated", text);
    }
    bbuild_close(&out);
}

static void append_users(struct bbuild *row, const struct client *c) {
    if (c->principal == NULL) return;
    struct bbuild users = bbuild_open_array(row, SLICE_LIT("effectiveUsers"));
    struct bbuild user = bbuild_push_doc(&users);
    bbuild_slice(&user, "user", c->principal->user);
    bbuild_slice(&user, "db", c->principal->db);
    bbuild_close(&user);
    bbuild_close(&users);
}

static void append_client(struct bbuild *row, const struct client *c) {
    char text[32];
    bbuild_str(row, "type", "op");
    if (c->id != 0) {
        (void) snprintf(text, sizeof(text), "conn%llu", (unsigned long long) c->id);
        bbuild_str(row, "desc", text);
        bbuild_int64(row, "connectionId", (int64_t) c->id);
    } else {
        bbuild_str(row, "desc", "embedded");
    }
    if (c->remote[0] != 0) bbuild_str(row, "client", c->remote);
    if (c->app.len >= 5) {
        struct bdoc app = bdoc_of(c->app.p);
        struct bval application = bdoc_get_str(app, "application");
        if (application.type == B_DOCUMENT)
            bbuild_value(row, SLICE_LIT("appName"), bdoc_get_str(bval_doc(application), "name"));
        bbuild_doc(row, "clientMetadata", app);
    }
    append_users(row, c);
}

static void append_session(struct bbuild *row, const struct running *r) {
    const struct generic *g = r->generic;
    if (r->session == NULL) return;
    struct bbuild lsid = bbuild_open_doc(row, SLICE_LIT("lsid"));
    bbuild_binary(&lsid, "id", 4, slice_of(r->session->id.uuid, 16));
    bbuild_close(&lsid);
    if (g == NULL || !g->has_number) return;
    struct bbuild txn = bbuild_open_doc(row, SLICE_LIT("transaction"));
    struct bbuild parameters = bbuild_open_doc(&txn, SLICE_LIT("parameters"));
    bbuild_int64(&parameters, "txnNumber", g->number);
    if (g->has_autocommit) bbuild_bool(&parameters, "autocommit", false);
    bbuild_close(&parameters);
    bbuild_close(&txn);
}

static void append_running(struct bbuild *row, struct command_env *env, const struct running *r) {
    struct env *e = db_env(env->db);
    uint64_t now_ns = e->ops->monotonic_ns(e), ran_ns = now_ns > r->started_ns ? now_ns - r->started_ns : 0;
    bbuild_bool(row, "active", true);
    bbuild_date(row, "currentOpTime", (int64_t) e->ops->now_ms(e));
    bbuild_int64(row, "opid", (int64_t) r->op_id);
    append_session(row, r);
    bbuild_int64(row, "secs_running", (int64_t) (ran_ns / 1000000000));
    bbuild_int64(row, "microsecs_running", (int64_t) (ran_ns / 1000));
    bbuild_str(row, "op", kind_of(r->command));
    append_ns(row, r);
    bbuild_bool(row, "redacted", false);
    append_body(row, r);
    if (atomic_load_explicit(&r->stop, memory_order_relaxed)) bbuild_bool(row, "killPending", true);
    bbuild_int32(row, "numYields", 0);
    bbuild_bool(row, "waitingForLock", false);
}

static bool is_wanted(const struct client *c, const struct ops_wanted *wanted) {
    if (c->running == NULL && (!wanted->idle_connections || c->is_internal)) return false;
    if (wanted->only == NULL) return true;
    const struct principal *own = wanted->only->principal, *its = c->principal;
    if (own == NULL || its == NULL) return own == its;
    return slice_equal(own->full_name, its->full_name);
}

status client_ops(struct command_env *env, const struct ops_wanted *wanted, struct buf *rows, struct err *err) {
    struct service *s = &env->service;
    mutex_lock(&s->lock);
    for (const struct client *c = s->clients; c != NULL && !rows->failed; c = c->next) {
        struct bbuild row;
        if (!is_wanted(c, wanted)) continue;
        bbuild_begin(&row, rows);
        append_client(&row, c);
        if (c->running != NULL) append_running(&row, env, c->running);
        else bbuild_bool(&row, "active", false);
        (void) bbuild_finish(&row);
    }
    mutex_unlock(&s->lock);
    return rows->failed ? RAISE(err, ST_NOMEM, "no memory for the running operations") : ST_OK;
}
