/* elmo_listen and what belongs to it: the server as a whole is set up and taken down here. */
#include <elmo/server.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/compress.h"
#include "server/conn.h"
#include "server/fault.h"
#include "server/server.h"

static void close_server(void *ctx);

static struct server *server_of(elmo_t *db) { return elmo_close_hook(db, close_server); }

static void wake_conn(void *ctx, struct share *share) {
    struct server *s = ctx;
    struct conn *c = (struct conn *) (void *) ((char *) share - offsetof(struct conn, share));
    pool_push(&s->pool, c);
}

/* ---- what the database is told ---- */

/* Where clients of a replica set of one are to come: an address that others can use, too. */
static void host_text(const struct server *s, char *out, size_t len) {
    const char *text = s->addresses.of[0].text;
    for (unsigned i = 0; i < s->addresses.count; i++) {
        if (s->addresses.of[i].is_unix) continue;
        text = s->addresses.of[i].text;
        break;
    }
    bool is_any = strncmp(text, "0.0.0.0:", 8) == 0 || strncmp(text, "[::]:", 5) == 0;
    char name[128] = "";
    if (is_any && gethostname(name, sizeof(name) - 1) == 0 && name[0] != '\0')
        (void) snprintf(out, len, "%s:%u", name, s->addresses.port);
    else (void) snprintf(out, len, "%s", text);
}

static bool tell_service(struct server *s, bson_error_t *error) {
    const struct options *o = &s->options;
    char host[ADDRESS_TEXT_MAX];
    bson_t service = BSON_INITIALIZER, names;
    host_text(s, host, sizeof(host));
    BSON_APPEND_UTF8(&service, "host", host);
    BSON_APPEND_UTF8(&service, "uri", s->uri);
    if (o->replica_set != NULL) BSON_APPEND_UTF8(&service, "replicaSet", o->replica_set);
    BSON_APPEND_BOOL(&service, "auth", o->auth);
    BSON_APPEND_ARRAY_BEGIN(&service, "compressors", &names);
    for (unsigned i = 0; i < o->compressor_count; i++) {
        static const char *const keys[] = {"0", "1", "2", "3"};
        BSON_APPEND_UTF8(&names, keys[i], compressor_name(o->compressors[i]));
    }
    bson_append_array_end(&service, &names);
    if (o->has_argv) BSON_APPEND_ARRAY(&service, "argv", &o->argv);
    if (o->has_parsed) BSON_APPEND_DOCUMENT(&service, "parsed", &o->parsed);
    BSON_APPEND_INT64(&service, "maxConnections", o->connections_max);
    bool ok = elmo_set_service(s->db, &service, error);
    bson_destroy(&service);
    return ok;
}

/* ---- up and down ---- */

static bool open_parts(struct server *s, bson_error_t *error) {
    const struct options *o = &s->options;
    if (!log_open(&s->log, s->db, o->log_path, o->is_quiet, error)) return false;
    if (!tls_context_open(&s->tls, o, error)) goto no_tls;
    if (!addresses_open(&s->addresses, o, error)) goto no_addresses;
    (void) fault_memory(error); /* whoever fails otherwise says so */
    if (!budget_init(&s->budget, BUDGET_LEN, wake_conn, s)) goto no_budget;
    if (!pool_init(&s->pool, s, (size_t) o->threads_max)) goto no_pool;
    if (!loop_open(s, error)) goto no_loop;
    addresses_uri(&s->addresses, s->uri, sizeof(s->uri));
    return true;
no_loop:
    pool_release(&s->pool);
no_pool:
    budget_release(&s->budget);
no_budget:
    addresses_close(&s->addresses);
no_addresses:
    tls_context_close(&s->tls);
no_tls:
    log_close(&s->log);
    return false;
}

static void close_parts(struct server *s) {
    loop_close(s);
    pool_release(&s->pool);
    budget_release(&s->budget);
    addresses_close(&s->addresses);
    tls_context_close(&s->tls);
    log_close(&s->log);
}

static bool start_loop(struct server *s, bson_error_t *error) {
    sigset_t all, before;
    (void) sigfillset(&all);
    (void) pthread_sigmask(SIG_SETMASK, &all, &before); /* the program's signals are not for the server's threads */
    int rc = pthread_create(&s->thread, NULL, loop_run, s);
    (void) pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc == 0 || fault(error, FAULT_NO_MEMORY, "the server's thread cannot be made: %s", strerror(rc));
}

static void log_start(struct server *s) {
    for (unsigned i = 0; i < s->addresses.count; i++)
        LOG(&s->log, 'I', "NETWORK", 23015, "listener", "Listening on", ATTR_T("address", s->addresses.of[i].text));
    LOG(&s->log, 'I', "NETWORK", 23016, "listener", "Waiting for connections", ATTR_N("port", s->addresses.port),
        ATTR_T("ssl", s->options.tls_mode == TLS_DISABLED ? "off" : "on"));
    if (s->options.replica_set != NULL)
        LOG(&s->log, 'I', "REPL", 21331, "OplogApplier-0",
            "Transition to primary complete; database writes are now permitted", ATTR_N("term", 1));
}

static struct server *server_open(elmo_t *db, const bson_t *opts, bson_error_t *error) {
    struct server *s = calloc(1, sizeof(*s));
    if (s == NULL) {
        (void) fault_memory(error);
        return NULL;
    }
    s->db = db;
    atomic_init(&s->is_stopping, false);
    atomic_init(&s->deadline_count, 0);
    if (!options_parse(&s->options, opts, error) || !open_parts(s, error)) goto failed;
    if (tell_service(s, error)) {
        if (start_loop(s, error)) return s;
        (void) elmo_set_service(db, NULL, NULL);
    }
    close_parts(s);
failed:
    options_release(&s->options);
    free(s);
    return NULL;
}

static void close_server(void *ctx) {
    struct server *s = ctx;
    loop_stop(s);
    (void) pthread_join(s->thread, NULL);
    pool_stop(&s->pool);
    elmo_set_close_hook(s->db, NULL, NULL);
    (void) elmo_set_service(s->db, NULL, NULL);
    LOG(&s->log, 'I', "NETWORK", 20562, "listener", "Shutdown: going to close listening sockets",
        ATTR_T("address", s->uri));
    close_parts(s);
    options_release(&s->options);
    free(s);
}

/* ---- for the program ---- */

bool elmo_listen(elmo_t *db, const bson_t *opts, bson_error_t *error) {
    struct server *s = server_of(db);
    if (s != NULL) return fault(error, FAULT_BAD_VALUE, "the database listens already, on %s", s->uri);
    s = server_open(db, opts, error);
    if (s == NULL) return false;
    elmo_set_close_hook(db, close_server, s);
    log_start(s);
    return true;
}

const char *elmo_listen_address(elmo_t *db) {
    struct server *s = server_of(db);
    return s != NULL ? s->uri : NULL;
}

void elmo_unlisten(elmo_t *db) {
    struct server *s = server_of(db);
    if (s != NULL) close_server(s);
}

bool elmo_listen_reopen_log(elmo_t *db, bson_error_t *error) {
    struct server *s = server_of(db);
    return s == NULL || log_reopen(&s->log, error);
}

void elmo_listen_log(elmo_t *db, char severity, const char *component, int32_t id, const char *context,
                     const char *message, const bson_t *attr) {
    struct server *s = server_of(db);
    char *json = attr != NULL && !bson_empty(attr) ? bson_as_relaxed_extended_json(attr, NULL) : NULL;
    if (s != NULL && json != NULL) log_json(&s->log, severity, component, id, context, message, json);
    else if (s != NULL) log_line(&s->log, severity, component, id, context, message, NULL, 0);
    bson_free(json);
}
