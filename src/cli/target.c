/* The two kinds of target: see target.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <mongoc/mongoc.h>

#include "target.h"

struct target {
    char *name;
    elmo_t *db; /* a file; or: */
    mongoc_client_t *server;
    mongoc_client_session_t
        *session; /* a cursor belongs to the session that opened it; NULL when the server has none */
    char *default_db;
};

bool is_uri(const char *text) {
    return strncmp(text, "mongodb://", 10) == 0 || strncmp(text, "mongodb+srv://", 14) == 0;
}

bool target_is_named(const struct target_args *a) { return a->uri != NULL || a->host != NULL || a->port != NULL; }

const char *target_name(const struct target *t) { return t->name; }
bool target_is_file(const struct target *t) { return t->db != NULL; }
elmo_t *target_db(struct target *t) { return t->db; }
const char *target_default_db(const struct target *t) { return t->default_db; }

/* ---- servers ---- */

static bool set_tls(mongoc_uri_t *uri, const struct target_args *a) {
    bool ok = true;
    if (a->tls != NULL || a->tls_ca != NULL || a->tls_key != NULL || a->tls_insecure != NULL)
        ok = mongoc_uri_set_option_as_bool(uri, MONGOC_URI_TLS, true);
    if (a->tls_ca != NULL) ok = ok && mongoc_uri_set_option_as_utf8(uri, MONGOC_URI_TLSCAFILE, a->tls_ca);
    if (a->tls_key != NULL) ok = ok && mongoc_uri_set_option_as_utf8(uri, MONGOC_URI_TLSCERTIFICATEKEYFILE, a->tls_key);
    if (a->tls_insecure != NULL) ok = ok && mongoc_uri_set_option_as_bool(uri, MONGOC_URI_TLSINSECURE, true);
    return ok;
}

static bool set_login(mongoc_uri_t *uri, const struct target_args *a) {
    bool ok = true;
    if (a->username != NULL) ok = mongoc_uri_set_username(uri, a->username);
    if (a->password != NULL) ok = ok && mongoc_uri_set_password(uri, a->password);
    if (a->auth_db != NULL) ok = ok && mongoc_uri_set_auth_source(uri, a->auth_db);
    if (a->auth_mechanism != NULL) ok = ok && mongoc_uri_set_auth_mechanism(uri, a->auth_mechanism);
    if (a->username != NULL && a->auth_db == NULL && mongoc_uri_get_database(uri) == NULL)
        ok = ok && mongoc_uri_set_auth_source(uri, "admin");
    return ok;
}

/* From --uri or the argument, else from --host and --port. */
static char *uri_text(const struct target_args *a) {
    if (a->uri != NULL && !is_uri(a->uri)) return bson_strdup_printf("mongodb://%s", a->uri);
    if (a->uri != NULL) return bson_strdup(a->uri);
    if (a->target != NULL && is_uri(a->target)) return bson_strdup(a->target);
    const char *host = a->host != NULL ? a->host : "localhost";
    if (is_uri(host)) return bson_strdup(host);
    if (a->port != NULL) return bson_strdup_printf("mongodb://%s:%s", host, a->port);
    return bson_strdup_printf("mongodb://%s", host);
}

static mongoc_uri_t *make_uri(const struct target_args *a, const char *tool) {
    bson_error_t error;
    char *text = uri_text(a);
    mongoc_uri_t *uri = mongoc_uri_new_with_error(text, &error);
    bson_free(text);
    if (uri == NULL) {
        (void) complain("the URI cannot be used: %s", error.message);
        return NULL;
    }
    (void) mongoc_uri_set_appname(uri, tool);
    if (set_tls(uri, a) && set_login(uri, a)) return uri;
    (void) complain("the options for the connection cannot be used together");
    mongoc_uri_destroy(uri);
    return NULL;
}

/* What people recognise: the first host. */
static char *host_name(const mongoc_uri_t *uri) {
    const mongoc_host_list_t *hosts = mongoc_uri_get_hosts(uri);
    return bson_strdup(hosts != NULL ? hosts->host_and_port : mongoc_uri_get_srv_hostname(uri));
}

static bool greet(struct target *t) {
    bson_error_t error;
    bson_t ping = BSON_INITIALIZER, reply;
    BSON_APPEND_INT32(&ping, "ping", 1);
    bool ok = mongoc_client_command_simple(t->server, "admin", &ping, NULL, &reply, &error);
    bson_destroy(&ping);
    bson_destroy(&reply);
    if (!ok) {
        (void) complain("%s: %s", t->name, error.message);
        return false;
    }
    t->session = mongoc_client_start_session(t->server, NULL, &error);
    return true;
}

static bool open_server(struct target *t, const struct target_args *a, const char *tool) {
    bson_error_t error;
    mongoc_init();
    mongoc_log_set_handler(NULL, NULL);
    mongoc_uri_t *uri = make_uri(a, tool);
    if (uri == NULL) return false;
    t->name = host_name(uri);
    if (mongoc_uri_get_database(uri) != NULL) t->default_db = bson_strdup(mongoc_uri_get_database(uri));
    t->server = mongoc_client_new_from_uri_with_error(uri, &error);
    mongoc_uri_destroy(uri);
    if (t->server == NULL) {
        (void) complain("%s: %s", t->name, error.message);
        return false;
    }
    (void) mongoc_client_set_error_api(t->server, MONGOC_ERROR_API_VERSION_2);
    return greet(t);
}

static bool server_command(struct target *t, const char *db, const bson_t *command, bson_t *reply,
                           bson_error_t *error) {
    bson_t opts = BSON_INITIALIZER;
    bool ok = t->session == NULL || mongoc_client_session_append(t->session, &opts, error);
    if (ok) ok = mongoc_client_command_with_opts(t->server, db, command, NULL, &opts, reply, error);
    else bson_init(reply);
    bson_destroy(&opts);
    return ok;
}

/* ---- both ---- */

struct target *target_open(const struct target_args *a, enum target_use use, const char *tool) {
    struct target *t = bson_malloc0(sizeof(*t));
    bool ok;
    if (target_is_named(a) || is_uri(a->target)) {
        ok = open_server(t, a, tool);
    } else {
        t->name = bson_strdup(a->target);
        t->db = open_db(a->target, use == TARGET_READ, use == TARGET_CREATE, a->sync);
        ok = t->db != NULL;
    }
    if (ok) return t;
    target_close(t);
    return NULL;
}

void target_close(struct target *t) {
    if (t == NULL) return;
    if (t->session != NULL) mongoc_client_session_destroy(t->session);
    if (t->server != NULL) mongoc_client_destroy(t->server);
    elmo_close(t->db);
    bson_free(t->name);
    bson_free(t->default_db);
    bson_free(t);
}

bool target_namespace(const struct target *t, const char *db, const char *coll, char **db_out, char **coll_out) {
    const char *dot = strchr(coll, '.');
    *db_out = *coll_out = NULL;
    if (db == NULL) db = t->default_db;
    if (db == NULL && !check_namespace(coll)) return false;
    *db_out = db != NULL ? bson_strdup(db) : bson_strndup(coll, (size_t) (dot - coll));
    *coll_out = bson_strdup(db != NULL ? coll : dot + 1);
    return true;
}

bool target_command(struct target *t, const char *db, const bson_t *command, bson_t *reply, bson_error_t *error) {
    if (t->db != NULL) return elmo_command_simple(t->db, db, command, reply, error);
    return server_command(t, db, command, reply, error);
}

/* ---- cursors ---- */

/* Takes the reply's batch and id. */
static bool take_batch(struct rows *r, const char *batch) {
    bson_iter_t it, cursor, found;
    r->has_batch = false;
    r->id = 0;
    if (bson_iter_init_find(&it, &r->reply, "cursor") && bson_iter_recurse(&it, &cursor)) {
        if (bson_iter_find_descendant(&cursor, "id", &found)) r->id = bson_iter_as_int64(&found);
        if (bson_iter_recurse(&it, &cursor) && bson_iter_find(&cursor, batch) && BSON_ITER_HOLDS_ARRAY(&cursor))
            r->has_batch = bson_iter_recurse(&cursor, &r->it);
        if (r->coll == NULL && bson_iter_recurse(&it, &cursor) && bson_iter_find(&cursor, "ns") &&
            BSON_ITER_HOLDS_UTF8(&cursor)) {
            const char *dot = strchr(bson_iter_utf8(&cursor, NULL), '.');
            r->coll = bson_strdup(dot != NULL ? dot + 1 : "");
        }
    }
    if (!r->has_batch) bson_set_error(&r->error, ELMO_ERROR_SERVER, 1, "the answer has no cursor");
    return r->has_batch;
}

bool rows_open(struct rows *r, struct target *t, const char *db, const bson_t *command, bson_error_t *error) {
    *r = (struct rows){.target = t, .db = bson_strdup(db)};
    if (target_command(t, db, command, &r->reply, &r->error) && take_batch(r, "firstBatch")) return true;
    if (error != NULL) *error = r->error;
    r->id = 0;
    rows_close(r);
    return false;
}

static bool get_more(struct rows *r) {
    bson_t command = BSON_INITIALIZER;
    BSON_APPEND_INT64(&command, "getMore", r->id);
    BSON_APPEND_UTF8(&command, "collection", r->coll != NULL ? r->coll : "");
    bson_destroy(&r->reply);
    bool ok = target_command(r->target, r->db, &command, &r->reply, &r->error);
    bson_destroy(&command);
    if (!ok) r->id = 0;
    if (!ok || !take_batch(r, "nextBatch")) r->failed = true;
    return !r->failed;
}

bool rows_next(struct rows *r, const bson_t **doc) {
    const uint8_t *bytes;
    uint32_t len;
    while (!r->failed) {
        while (bson_iter_next(&r->it)) {
            if (!BSON_ITER_HOLDS_DOCUMENT(&r->it)) continue;
            bson_iter_document(&r->it, &len, &bytes);
            if (!bson_init_static(&r->view, bytes, len)) break;
            *doc = &r->view;
            return true;
        }
        if (r->id == 0 || !get_more(r)) break;
    }
    return false;
}

bool rows_failed(struct rows *r, bson_error_t *error) {
    if (r->failed && error != NULL) *error = r->error;
    return r->failed;
}

void rows_close(struct rows *r) {
    if (r->id != 0) {
        bson_t command = BSON_INITIALIZER, ids, reply;
        BSON_APPEND_UTF8(&command, "killCursors", r->coll != NULL ? r->coll : "");
        BSON_APPEND_ARRAY_BEGIN(&command, "cursors", &ids);
        BSON_APPEND_INT64(&ids, "0", r->id);
        bson_append_array_end(&command, &ids);
        (void) target_command(r->target, r->db, &command, &reply, NULL);
        bson_destroy(&reply);
        bson_destroy(&command);
    }
    bson_destroy(&r->reply);
    bson_free(r->db);
    bson_free(r->coll);
}
