/* elmo_client_t and what a server tells the database about itself; see include/elmo/client.h. Commands run in command/client.c. */
#include <elmo/client.h>

#include "api/handles.h"
#include "base/codes.h"
#include "command/fields.h"
#include "doc/db.h"
#include "storage/lsm.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define REPLY_KEPT_MAX ((size_t) 256 * 1024) /* memory for replies that a client keeps from command to command */

struct elmo_client {
    struct elmo *db;
    struct client client;
    struct buf reply;
    bson_t *lent; /* in `room`, where its alignment falls, as in struct elmo_cursor */
    uint8_t room[2 * sizeof(bson_t)];
};

/* --- the service --- */

static const struct field service_fields[] = {
    {"host", FIELD_STRING, offsetof(struct service_info, host), 0},
    {"uri", FIELD_STRING, offsetof(struct service_info, uri), 0},
    {"replicaSet", FIELD_STRING, offsetof(struct service_info, replica_set), 0},
    {"auth", FIELD_BOOL, offsetof(struct service_info, auth), 0},
    {"compressors", FIELD_ARRAY, offsetof(struct service_info, compressors), 0},
    {"argv", FIELD_ARRAY, offsetof(struct service_info, argv), 0},
    {"parsed", FIELD_DOCUMENT, offsetof(struct service_info, parsed), 0},
    {"maxConnections", FIELD_COUNT, offsetof(struct service_info, max_connections), 0},
};

static status fill_info(struct service_info *info, struct bdoc doc, struct err *err) {
    const uint8_t *copy = arena_copy(&info->arena, doc.p, doc.len);
    if (copy == NULL) return RAISE(err, ST_NOMEM, "no memory for the description of the service");
    info->told = (struct bdoc){copy, doc.len};
    info->compressors = info->argv = info->parsed = bdoc_empty;
    return fields_parse("service", info->told, service_fields, COUNT(service_fields), false, info, err);
}

static status set_service(struct elmo *db, const bson_t *service, struct err *err) {
    struct bdoc doc;
    if (atomic_load_explicit(&db->is_closed, memory_order_acquire))
        return RAISE(err, ST_CLOSED, "the database was closed");
    if (service == NULL) {
        service_set_info(&db->command, NULL);
        (void) lsm_kv_announce(db->kv, SLICE_NONE, NULL);
        return ST_OK;
    }
    TRY(api_document(service, "the description of the service", &doc, err));
    struct service_info *info = mem_new(db->mem, struct service_info);
    if (info == NULL) return RAISE(err, ST_NOMEM, "no memory for the description of the service");
    atomic_init(&info->ref_count, 1);
    arena_init(&info->arena, db->mem);
    status st = fill_info(info, doc, err);
    if (st == ST_OK) (void) lsm_kv_announce(db->kv, info->uri, NULL); /* a courtesy: it may fail */
    if (st == ST_OK) service_set_info(&db->command, info);
    else service_info_unref(info, db->mem);
    return st;
}

bool elmo_set_service(elmo_t *db, const bson_t *service, bson_error_t *error) {
    struct err err = ERR_INIT;
    return api_answer(set_service(db, service, &err), &err, (struct bdoc){0}, NULL, error);
}

void elmo_set_close_hook(elmo_t *db, void (*closing)(void *ctx), void *ctx) {
    struct mutex *lock = &db->command.service.lock;
    mutex_lock(lock);
    db->closing = closing;
    db->closing_ctx = closing != NULL ? ctx : NULL;
    mutex_unlock(lock);
}

void *elmo_close_hook(elmo_t *db, void (*closing)(void *ctx)) {
    struct mutex *lock = &db->command.service.lock;
    mutex_lock(lock);
    void *ctx = db->closing == closing ? db->closing_ctx : NULL;
    mutex_unlock(lock);
    return ctx;
}

void api_run_close_hook(struct elmo *db) {
    struct mutex *lock = &db->command.service.lock;
    mutex_lock(lock);
    void (*closing)(void *ctx) = db->closing;
    void *ctx = db->closing_ctx;
    db->closing = NULL;
    db->closing_ctx = NULL;
    mutex_unlock(lock);
    if (closing != NULL) closing(ctx);
}

void elmo_log_line(elmo_t *db, const char *line, bool is_warning) {
    if (line != NULL) service_log_line(&db->command, line, is_warning);
}

/* --- clients --- */

struct client_opts {
    struct slice remote, tls_subject;
    bool is_local, is_trusted;
};

static const struct field client_fields[] = {
    {"remote", FIELD_STRING, offsetof(struct client_opts, remote), 0},
    {"isLocal", FIELD_BOOL, offsetof(struct client_opts, is_local), 0},
    {"tlsSubject", FIELD_STRING, offsetof(struct client_opts, tls_subject), 0},
    {"trusted", FIELD_BOOL, offsetof(struct client_opts, is_trusted), 0},
};

static status fill_client(struct client *c, const struct client_opts *o, struct err *err) {
    struct mutex *lock = &c->env->service.lock;
    size_t len = o->remote.len < sizeof(c->remote) - 1 ? o->remote.len : sizeof(c->remote) - 1;
    mutex_lock(lock); /* it is listed already: currentOp may read this */
    if (len != 0) memcpy(c->remote, o->remote.p, len);
    c->remote[len] = 0;
    mutex_unlock(lock);
    c->is_local = o->is_local;
    c->is_trusted = o->is_trusted;
    if (o->tls_subject.p == NULL) return ST_OK;
    /* As a C string: what follows a zero byte, which no subject has, does not count. */
    len = strnlen((const char *) o->tls_subject.p, o->tls_subject.len);
    c->tls_subject = mem_alloc(c->mem, len + 1);
    if (c->tls_subject == NULL) return RAISE(err, ST_NOMEM, "no memory for a client");
    memcpy(c->tls_subject, o->tls_subject.p, len);
    c->tls_subject[len] = 0;
    return ST_OK;
}

static status new_client(struct elmo *db, const bson_t *opts, struct elmo_client **out, struct err *err) {
    struct client_opts o = {0};
    struct bdoc doc;
    if (atomic_load_explicit(&db->is_closed, memory_order_acquire))
        return RAISE(err, ST_CLOSED, "the database was closed");
    TRY(api_document(opts, "the options of elmo_client_new", &doc, err));
    TRY(fields_parse("elmo_client_new", doc, client_fields, COUNT(client_fields), false, &o, err));
    struct elmo_client *c = mem_new(db->mem, struct elmo_client);
    if (c == NULL) return RAISE(err, ST_NOMEM, "no memory for a client");
    c->db = elmo_ref(db);
    c->lent = (bson_t *) (void *) (c->room + (-(uintptr_t) c->room & (_Alignof(bson_t) - 1)));
    buf_init(&c->reply, db->mem);
    client_init(&c->client, &db->command, false);
    status st = fill_client(&c->client, &o, err);
    if (st == ST_OK) *out = c;
    else elmo_client_destroy(c);
    return st;
}

elmo_client_t *elmo_client_new(elmo_t *db, const bson_t *opts, bson_error_t *error) {
    struct err err = ERR_INIT;
    struct elmo_client *c = NULL;
    (void) api_answer(new_client(db, opts, &c, &err), &err, (struct bdoc){0}, NULL, error);
    return c;
}

void elmo_client_destroy(elmo_client_t *c) {
    if (c == NULL) return;
    struct elmo *db = c->db;
    client_release(&c->client);
    buf_release(&c->reply);
    mem_delete(db->mem, c);
    elmo_unref(db);
}

void elmo_client_cancel(elmo_client_t *c) {
    if (c != NULL) client_stop(&c->client, CODE_InterruptedAtShutdown);
}

/* {ok: 0.0, errmsg: "out of memory", code: 146, codeName: "ExceededMemoryLimit"}, for want of the memory to say it otherwise. */
static struct bdoc no_memory_reply(void) {
    static const uint8_t bytes[] = "\x57\0\0\0"
                                   "\x01ok\0\0\0\0\0\0\0\0\0"
                                   "\x02"
                                   "errmsg\0\x0e\0\0\0out of memory\0"
                                   "\x10"
                                   "code\0\x92\0\0\0"
                                   "\x02"
                                   "codeName\0\x14\0\0\0"
                                   "ExceededMemoryLimit\0";
    return (struct bdoc){bytes, sizeof(bytes)};
}

/* The sequences as slices, in the op's arena; client_command checks what is in them. */
static status lend_sequences(struct op *op, const elmo_sequence_t *in, size_t n, struct command_input *out,
                             struct err *err) {
    if (n == 0) return ST_OK;
    struct command_sequence *s = arena_array(&op->arena, struct command_sequence, n);
    if (s == NULL) return RAISE(err, ST_NOMEM, "no memory for %zu document sequences", n);
    for (size_t i = 0; i < n; i++) {
        s[i].name = slice_str(in[i].name);
        s[i].bytes = slice_of(in[i].bytes, in[i].len);
    }
    out->sequences = s;
    out->sequence_count = n;
    return ST_OK;
}

void elmo_client_forget(elmo_client_t *c) {
    buf_release(&c->reply);
    buf_init(&c->reply, c->db->mem);
}

bool elmo_client_command(elmo_client_t *c, const char *db_name, const bson_t *body, const elmo_sequence_t *sequences,
                         size_t sequence_count, const bson_t **reply, bson_error_t *error) {
    struct err err = ERR_INIT;
    struct op op;
    struct bdoc reply_doc = {0};
    struct command_input in = {.db = db_name != NULL ? slice_str(db_name) : SLICE_NONE, .body = api_unchecked(body)};
    if (c->reply.cap > REPLY_KEPT_MAX) {
        buf_release(&c->reply);
        buf_init(&c->reply, c->db->mem);
    }
    buf_clear(&c->reply);
    status st = api_begin(c->db, &op, &err);
    if (st == ST_OK) st = lend_sequences(&op, sequences, sequence_count, &in, &err);
    if (st == ST_OK) st = client_command(&c->client, &op, &in, &c->reply, &reply_doc, &err);
    if (st == ST_CLOSED && reply_doc.p == NULL) client_label_closed(&c->client, &in, &err);
    if (st != ST_OK && reply_doc.p == NULL) reply_doc = command_failure(&c->reply, &err);
    if (reply_doc.p == NULL) reply_doc = no_memory_reply();
    (void) bson_init_static(c->lent, reply_doc.p, reply_doc.len);
    if (reply != NULL) *reply = c->lent;
    bool ok = api_answer(st, &err, (struct bdoc){0}, NULL, error);
    op_release(&op);
    return ok;
}
