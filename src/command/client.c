/* Clients and the service that they share; see client.h. Also the gate for commands from outside: client_command checks every byte before anything reads it. */
#include "command/client.h"

#include <stdio.h>

#include "base/codes.h"
#include "bson/check.h"
#include "command/auth.h"
#include "command/command.h"
#include "command/generic.h"
#include "doc/db.h"

/* --- the service --- */

status service_init(struct service *s, struct env *env, const struct mem *mem, struct err *err) {
    (void) mem;
    TRY(mutex_init(&s->lock, err));
    uint32_t seconds = (uint32_t) (env->ops->now_ms(env) / 1000);
    s->opened_at_ms = env->ops->now_ms(env);
    s->opened_ns = env->ops->monotonic_ns(env);
    env->ops->random(env, s->process_id, sizeof(s->process_id));
    put_be32(s->process_id, seconds);
    s->is_ready = true;
    return ST_OK;
}

void service_release(struct service *s, const struct mem *mem) {
    if (!s->is_ready) return;
    service_info_unref(s->info, mem);
    for (size_t i = 0; i < LOG_LINES_MAX; i++) {
        if (s->lines[i].text != NULL) mem_free(mem, s->lines[i].text, strlen(s->lines[i].text) + 1);
    }
    mutex_release(&s->lock);
    s->is_ready = false;
}

struct service_info *service_info_of(struct command_env *env) {
    struct service *s = &env->service;
    mutex_lock(&s->lock);
    struct service_info *info = s->info;
    if (info != NULL) atomic_fetch_add_explicit(&info->ref_count, 1, memory_order_relaxed);
    mutex_unlock(&s->lock);
    return info;
}

void service_info_unref(struct service_info *info, const struct mem *mem) {
    if (info == NULL || atomic_fetch_sub_explicit(&info->ref_count, 1, memory_order_acq_rel) != 1) return;
    arena_release(&info->arena);
    mem_delete(mem, info);
}

void service_set_info(struct command_env *env, struct service_info *info) {
    struct service *s = &env->service;
    mutex_lock(&s->lock);
    struct service_info *old = s->info;
    s->info = info;
    atomic_store_explicit(&s->asks_login, info != NULL && info->auth, memory_order_release);
    atomic_store_explicit(&s->is_replica, info != NULL && info->replica_set.len != 0, memory_order_release);
    mutex_unlock(&s->lock);
    service_info_unref(old, db_mem(env->db));
}

void service_log_line(struct command_env *env, const char *line, bool is_warning) {
    struct service *s = &env->service;
    const struct mem *mem = db_mem(env->db);
    char *text = mem_copy(mem, line, strlen(line) + 1);
    if (text == NULL) return; /* the oldest line is worth more than none */
    mutex_lock(&s->lock);
    size_t i = s->line_count++ % LOG_LINES_MAX;
    char *old = s->lines[i].text;
    s->lines[i].text = text;
    s->lines[i].is_warning = is_warning;
    mutex_unlock(&s->lock);
    if (old != NULL) mem_free(mem, old, strlen(old) + 1);
}

/* Under service->lock. */
static bool is_of_same_user(const struct client *a, const struct client *b) {
    return a->principal != NULL && b->principal != NULL && slice_equal(a->principal->full_name, b->principal->full_name);
}

bool service_kill_op(struct command_env *env, uint64_t op_id, const struct client *only, int32_t code) {
    struct service *s = &env->service;
    bool found = false;
    mutex_lock(&s->lock);
    for (struct client *c = s->clients; c != NULL && !found; c = c->next) {
        if (c->running == NULL || c->running->op_id != op_id) continue;
        if (only != NULL && !is_of_same_user(only, c)) continue;
        running_stop(c->running, code);
        found = true;
    }
    mutex_unlock(&s->lock);
    return found;
}

void service_stop_session(struct command_env *env, const struct session *session, const struct client *except,
                          int32_t code) {
    struct service *s = &env->service;
    mutex_lock(&s->lock);
    for (struct client *c = s->clients; c != NULL; c = c->next) {
        if (c->running != NULL && c != except && c->running->session == session) running_stop(c->running, code);
    }
    mutex_unlock(&s->lock);
}

void client_note_session(struct client *c, const struct session *session) {
    struct service *s = &c->env->service;
    mutex_lock(&s->lock);
    if (c->running != NULL) c->running->session = session;
    mutex_unlock(&s->lock);
}

/* --- clients --- */

void client_init(struct client *c, struct command_env *env, bool is_internal) {
    struct service *s = &env->service;
    *c = (struct client){.env = env, .mem = db_mem(env->db), .is_internal = is_internal, .is_trusted = is_internal};
    buf_init(&c->app, c->mem);
    if (!is_internal) c->connected_at_ms = db_env(env->db)->ops->now_ms(db_env(env->db));
    mutex_lock(&s->lock);
    if (!is_internal) {
        c->id = ++s->next_client_id;
        s->client_count++;
        s->clients_created++;
    }
    c->next = s->clients;
    if (c->next != NULL) c->next->prev = c;
    s->clients = c;
    mutex_unlock(&s->lock);
}

void client_release(struct client *c) {
    struct service *s = &c->env->service;
    mutex_lock(&s->lock);
    if (c->prev != NULL) c->prev->next = c->next;
    else s->clients = c->next;
    if (c->next != NULL) c->next->prev = c->prev;
    if (!c->is_internal) s->client_count--;
    mutex_unlock(&s->lock);
    principal_free(c->principal);
    auth_talk_free(c->talk);
    if (c->tls_subject != NULL) mem_free(c->mem, c->tls_subject, strlen(c->tls_subject) + 1);
    buf_release(&c->app);
}

void client_stop(struct client *c, int32_t code) {
    struct service *s = &c->env->service;
    mutex_lock(&s->lock);
    if (c->running != NULL) running_stop(c->running, code);
    mutex_unlock(&s->lock);
}

void client_begin(struct client *c, struct running *r) {
    struct service *s = &c->env->service;
    struct env *env = db_env(c->env->db);
    r->client = c;
    r->started_ns = env->ops->monotonic_ns(env);
    r->started_at_ms = env->ops->now_ms(env);
    mutex_lock(&s->lock);
    r->op_id = ++s->next_op_id;
    c->running = r;
    mutex_unlock(&s->lock);
}

void client_end(struct client *c) {
    struct service *s = &c->env->service;
    mutex_lock(&s->lock);
    c->running = NULL;
    mutex_unlock(&s->lock);
}

/* --- commands from outside --- */

/* The documents of a sequence, each checked. */
static status check_sequence(const struct command_sequence *in, struct command_sequence *out, struct err *err) {
    *out = *in;
    out->count = 0;
    for (size_t at = 0; at < in->bytes.len;) {
        struct bdoc doc;
        size_t left = in->bytes.len - at;
        uint32_t len = left >= 4 ? get_le32(in->bytes.p + at) : 0;
        if (len < 5 || len > left)
            return RAISE_CODE(err, CODE_InvalidBSON, "invalid BSON in sequence '%.*s' at offset %zu: bad length",
                              (int) in->name.len, (const char *) in->name.p, at);
        TRY(bson_check(in->bytes.p + at, len, BSON_CHECK_UTF8, &doc, err));
        out->count++;
        at += len;
    }
    return ST_OK;
}

static status check_sequences(struct op *op, const struct command_sequence *in, size_t n,
                              const struct command_sequence **out, struct err *err) {
    *out = NULL;
    if (n == 0) return ST_OK;
    struct command_sequence *checked = arena_array(&op->arena, struct command_sequence, n);
    if (checked == NULL) return RAISE(err, ST_NOMEM, "no memory for %zu document sequences", n);
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < i; j++) {
            if (slice_equal(in[i].name, in[j].name))
                return RAISE_CODE(err, 51175, "Duplicate document sequence: %.*s", (int) in[i].name.len,
                                  (const char *) in[i].name.p);
        }
        TRY(check_sequence(&in[i], &checked[i], err));
    }
    *out = checked;
    return ST_OK;
}

/* {$query: {...}, $readPreference: ...}, as OP_QUERY carried commands, stands for what is in $query. */
static struct bdoc unwrapped(struct bdoc body) {
    struct biter it = biter_of(body);
    struct belem first;
    if (!biter_next(&it, &first) || first.value.type != B_DOCUMENT) return body;
    bool wraps = slice_equal(first.name, SLICE_LIT("$query")) || slice_equal(first.name, SLICE_LIT("query"));
    return wraps ? bval_doc(first.value) : body;
}

static status database_of(struct bdoc body, struct slice *db, struct err *err) {
    if (db->p != NULL) return ST_OK;
    struct bval v = bdoc_get(body, SLICE_LIT("$db"));
    if (v.type == B_MISSING) return RAISE_CODE(err, 40571, "OP_MSG requests require a $db argument");
    if (v.type != B_STRING)
        return RAISE_CODE(err, CODE_TypeMismatch, "BSON field '$db' is the wrong type '%s', expected type 'string'",
                          btype_name(v.type));
    *db = bval_string(v);
    return ST_OK;
}

static status gate(struct op *op, struct command_input *in, struct err *err) {
    TRY(bson_check(in->body.p, in->body.len, BSON_CHECK_UTF8, &in->body, err));
    TRY(check_sequences(op, in->sequences, in->sequence_count, &in->sequences, err));
    in->body = unwrapped(in->body);
    return database_of(in->body, &in->db, err);
}

status client_command(struct client *c, struct op *op, const struct command_input *input, struct buf *reply,
                      struct bdoc *reply_doc, struct err *err) {
    struct err own = ERR_INIT;
    struct command_input in = *input;
    if (err == NULL) err = &own;
    *reply_doc = (struct bdoc){0};
    status st = gate(op, &in, err);
    if (st == ST_OK) return command_run(c, op, &in, reply, reply_doc, err);
    *reply_doc = command_failure(reply, err);
    return st;
}

void client_label_closed(struct client *c, const struct command_input *in, struct err *err) {
    struct bdoc body;
    struct generic generic;
    struct belem first;
    if (bson_check(in->body.p, in->body.len, 0, &body, NULL) != ST_OK) return;
    body = unwrapped(body);
    struct biter it = biter_of(body);
    if (!biter_next(&it, &first) || generic_parse("", body, &generic, NULL) != ST_OK) return;
    command_label_shutdown(c->env, command_find_by_name(first.name, NULL), &generic, err);
}
