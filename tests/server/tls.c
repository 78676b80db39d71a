/* TLS: who is let in how, with certificates that the test makes. */
#include <criterion/criterion.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <elmo/server.h>

#include "server/tls.h"
#include "support/wire.h"

static elmo_t *db;
static bson_error_t error;
static char folder[64], uri[128];

/* ---- certificates ---- */

struct identity {
    EVP_PKEY *key;
    X509 *certificate;
};

static struct identity authority, server_id, client_id, stranger;

static struct identity make_identity(const char *name, const struct identity *signer) {
    struct identity id = {EVP_RSA_gen(2048), X509_new()};
    X509_NAME *subject = X509_get_subject_name(id.certificate);
    cr_assert(id.key != NULL && id.certificate != NULL);
    (void) X509_set_version(id.certificate, 2);
    (void) ASN1_INTEGER_set(X509_get_serialNumber(id.certificate), (long) strlen(name) + 1000);
    (void) X509_gmtime_adj(X509_getm_notBefore(id.certificate), -3600);
    (void) X509_gmtime_adj(X509_getm_notAfter(id.certificate), 24 * 3600);
    (void) X509_NAME_add_entry_by_txt(subject, "O", MBSTRING_ASC, (const unsigned char *) "Elmo", -1, -1, 0);
    (void) X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *) name, -1, -1, 0);
    (void) X509_set_pubkey(id.certificate, id.key);
    (void) X509_set_issuer_name(id.certificate, signer != NULL ? X509_get_subject_name(signer->certificate) : subject);
    if (signer == NULL) {
        X509_EXTENSION *ca = X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "critical,CA:TRUE");
        (void) X509_add_ext(id.certificate, ca, -1);
        X509_EXTENSION_free(ca);
    }
    cr_assert(X509_sign(id.certificate, signer != NULL ? signer->key : id.key, EVP_sha256()) > 0);
    return id;
}

static void write_pem(const char *name, const struct identity *id, bool with_key) {
    char path[100];
    (void) snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *out = fopen(path, "w");
    cr_assert_not_null(out);
    (void) PEM_write_X509(out, id->certificate);
    if (with_key) (void) PEM_write_PrivateKey(out, id->key, NULL, NULL, 0, NULL, NULL);
    (void) fclose(out);
}

static void free_identity(struct identity *id) {
    EVP_PKEY_free(id->key);
    X509_free(id->certificate);
}

static void begin(void) {
    (void) strcpy(folder, "/tmp/elmo-tls-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    authority = make_identity("authority", NULL);
    server_id = make_identity("localhost", &authority);
    client_id = make_identity("Ada, the \"first\"", &authority);
    stranger = make_identity("stranger", NULL);
    write_pem("ca.pem", &authority, false);
    write_pem("server.pem", &server_id, true);
    cr_assert(elmo_open(":memory:", NULL, &db, &error));
}

static void end(void) {
    char command[100];
    elmo_close(db);
    free_identity(&authority);
    free_identity(&server_id);
    free_identity(&client_id);
    free_identity(&stranger);
    (void) snprintf(command, sizeof(command), "rm -rf %s", folder);
    cr_assert_eq(system(command), 0);
}

static void start(const char *mode, const char *more) {
    char text[512];
    bson_t opts;
    (void) snprintf(text, sizeof(text),
                    "{port: 0, threads: 4, tlsMode: '%s', tlsCertificateKeyFile: '%s/server.pem'%s}", mode, folder,
                    more);
    cr_assert(elmo_json_parse(text, -1, &opts, NULL, NULL, &error), "%s", error.message);
    cr_assert(elmo_listen(db, &opts, &error), "%s", error.message);
    bson_destroy(&opts);
    (void) snprintf(uri, sizeof(uri), "%s", elmo_listen_address(db));
}

static const char *with_ca(const char *more) {
    static char text[200];
    (void) snprintf(text, sizeof(text), ", tlsCAFile: '%s/ca.pem'%s", folder, more);
    return text;
}

/* ---- a client ---- */

struct peer {
    SSL_CTX *ctx;
    SSL *ssl;
    int fd;
};

static bool meet(struct peer *p, const struct identity *id, int max_version) {
    p->fd = wire_connect(uri);
    p->ctx = SSL_CTX_new(TLS_client_method());
    if (max_version != 0) {
        SSL_CTX_set_security_level(p->ctx, 0);
        (void) SSL_CTX_set_min_proto_version(p->ctx, TLS1_VERSION);
        (void) SSL_CTX_set_max_proto_version(p->ctx, max_version);
    }
    if (id != NULL) {
        (void) SSL_CTX_use_certificate(p->ctx, id->certificate);
        (void) SSL_CTX_use_PrivateKey(p->ctx, id->key);
    }
    p->ssl = SSL_new(p->ctx);
    (void) SSL_set_fd(p->ssl, p->fd);
    return SSL_connect(p->ssl) == 1;
}

static void part(struct peer *p) {
    SSL_free(p->ssl);
    SSL_CTX_free(p->ctx);
    (void) close(p->fd);
    ERR_clear_error();
}

static bool read_all(SSL *ssl, uint8_t *p, size_t len) {
    while (len > 0) {
        int n = SSL_read(ssl, p, (int) len);
        if (n <= 0) return false;
        p += n;
        len -= (size_t) n;
    }
    return true;
}

/* Sends a command with a sequence of `extra` bytes that is ignored, reads the answer; its length, 0: the connection is closed. */
static size_t ask(struct peer *p, const char *json) {
    struct wire m = {0};
    uint8_t head[16];
    uint32_t len = 0;
    wire_msg(&m, 3, 0, "%s", json);
    if (SSL_write(p->ssl, m.p, (int) m.len) == (int) m.len && read_all(p->ssl, head, 16)) {
        memcpy(&len, head, 4);
        uint8_t *rest = malloc(len);
        if (!read_all(p->ssl, rest, len - 16)) len = 0;
        free(rest);
    }
    wire_free(&m);
    return len;
}

#define PING "{'ping': 1, '$db': 'test'}"

static bool pings_plain(void) {
    struct wire m = {0}, reply = {0};
    int fd = wire_connect(uri);
    wire_msg(&m, 3, 0, PING);
    bool ok = wire_try_send(fd, m.p, m.len) && wire_receive(fd, &reply);
    (void) close(fd);
    wire_free(&m);
    wire_free(&reply);
    return ok;
}

static bool pings_tls(const struct identity *id, int max_version) {
    struct peer p;
    bool ok = meet(&p, id, max_version) && ask(&p, PING) > 0 && ask(&p, PING) > 0;
    part(&p);
    return ok;
}

/* ---- the tests ---- */

Test(tls, is_spoken_or_not_as_the_mode_says, .init = begin, .fini = end) {
    static const char *const modes[] = {"allowTLS", "preferTLS", "requireTLS"};
    for (int i = 0; i < 3; i++) {
        start(modes[i], "");
        cr_assert(pings_tls(NULL, 0), "%s", modes[i]);
        cr_assert_eq(pings_plain(), i < 2, "%s", modes[i]);
        elmo_unlisten(db);
    }
}

Test(tls, begins_with_version_1_2, .init = begin, .fini = end) {
    start("requireTLS", "");
    cr_assert(pings_tls(NULL, TLS1_3_VERSION));
    cr_assert(pings_tls(NULL, TLS1_2_VERSION));
    cr_assert_not(pings_tls(NULL, TLS1_1_VERSION));
    cr_assert_not(pings_tls(NULL, TLS1_VERSION));
}

Test(tls, asks_for_certificates_and_checks_them, .init = begin, .fini = end) {
    start("requireTLS", with_ca(""));
    cr_assert(pings_tls(&client_id, 0));
    cr_assert(pings_tls(&client_id, TLS1_2_VERSION));
    cr_assert_not(pings_tls(NULL, 0));
    cr_assert_not(pings_tls(&stranger, 0));
    elmo_unlisten(db);
    start("requireTLS", with_ca(", tlsAllowConnectionsWithoutCertificates: true"));
    cr_assert(pings_tls(&client_id, 0));
    cr_assert(pings_tls(NULL, 0));
    cr_assert_not(pings_tls(&stranger, 0));
}

Test(tls, carries_large_messages_both_ways, .init = begin, .fini = end) {
    start("requireTLS", "");
    struct peer p;
    struct wire m = {0};
    uint8_t head[16];
    uint32_t len;
    enum { KB = 700 };
    cr_assert(meet(&p, NULL, 0));
    char *text = malloc(KB * 1024 + 1);
    memset(text, 'x', KB * 1024);
    text[KB * 1024] = '\0';
    bson_t *insert = BCON_NEW("insert", BCON_UTF8("c"), "documents", "[", "{", "t", BCON_UTF8(text), "}", "]", "$db",
                              BCON_UTF8("test"));
    for (int i = 0; i < 4; i++) {
        wire_begin(&m, 1, WIRE_MSG);
        wire_i32(&m, 0);
        wire_u8(&m, 0);
        wire_bytes(&m, bson_get_data(insert), insert->len);
        wire_end(&m);
        cr_assert_eq(SSL_write(p.ssl, m.p, (int) m.len), (int) m.len);
        cr_assert(read_all(p.ssl, head, 16));
        memcpy(&len, head, 4);
        uint8_t *rest = malloc(len);
        cr_assert(read_all(p.ssl, rest, len - 16));
        free(rest);
    }
    for (int i = 0; i < 3; i++) cr_assert(ask(&p, "{'find': 'c', '$db': 'test'}") > 4 * KB * 1024);
    part(&p);
    free(text);
    bson_destroy(insert);
    wire_free(&m);
}

/* Handshakes that stop midway hold nobody up. */
Test(tls, is_not_held_up_by_half_handshakes, .init = begin, .fini = end) {
    enum { CLIENTS = 40 };
    static const uint8_t hello[] = {0x16, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3, 9, 9, 9, 9, 9, 9, 9, 9, 9};
    int fds[CLIENTS];
    start("requireTLS", "");
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = wire_connect(uri);
        cr_assert(wire_try_send(fds[i], hello, (size_t) (i % 20) + 1));
    }
    for (int i = 0; i < 5; i++) cr_assert(pings_tls(NULL, 0));
    for (int i = 0; i < CLIENTS; i++) (void) close(fds[i]);
    int fd = wire_connect(uri); /* garbage after the beginning of a handshake */
    static const uint8_t garbage[64] = {0x16, 3, 1, 0, 40, 7};
    cr_assert(wire_try_send(fd, garbage, sizeof(garbage)));
    uint8_t alert[64];
    while (recv(fd, alert, sizeof(alert), 0) > 0) {
    }
    (void) close(fd);
    cr_assert(pings_tls(NULL, 0));
}

/* The subject as the database is told it: RFC 2253, escapes and all. */
Test(tls, tells_the_subject_of_a_verified_certificate, .init = begin, .fini = end) {
    struct options o = {.tls_mode = TLS_REQUIRE};
    struct tls_context tls;
    char file[100], ca[100], why[160], subject[256] = "", tiny[8];
    (void) snprintf(file, sizeof(file), "%s/server.pem", folder);
    (void) snprintf(ca, sizeof(ca), "%s/ca.pem", folder);
    o.tls_file = file;
    o.tls_ca_file = ca;
    cr_assert(tls_context_open(&tls, &o, &error), "%s", error.message);
    int ends[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    struct tls_stream *t = tls_stream_new(&tls, ends[0], NULL, 0);
    struct peer p = {.ctx = SSL_CTX_new(TLS_client_method()), .fd = ends[1]};
    (void) SSL_CTX_use_certificate(p.ctx, client_id.certificate);
    (void) SSL_CTX_use_PrivateKey(p.ctx, client_id.key);
    p.ssl = SSL_new(p.ctx);
    (void) SSL_set_fd(p.ssl, p.fd);
    SSL_set_connect_state(p.ssl);
    struct timeval soon = {.tv_usec = 1000};
    (void) setsockopt(ends[1], SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof(soon));
    enum io io = IO_WANTS_READ;
    for (int i = 0; i < 1000 && io != IO_DONE && io != IO_CLOSED; i++) {
        (void) SSL_do_handshake(p.ssl);
        io = tls_handshake(t, why, sizeof(why));
    }
    cr_assert_eq(io, IO_DONE, "%s", why);
    cr_assert(tls_subject(t, subject, sizeof(subject)));
    cr_assert_str_eq(subject, "CN=Ada\\, the \\\"first\\\",O=Elmo");
    cr_assert_not(tls_subject(t, tiny, sizeof(tiny)), "a subject that was cut is somebody else's");
    tls_stream_free(t);
    (void) close(ends[0]);
    part(&p);
    tls_context_close(&tls);
}
