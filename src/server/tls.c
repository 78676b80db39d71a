/* TLS on a connection.
 *
 * The stream under SSL is one of our own: OpenSSL's writes with write(2), which would raise SIGPIPE in a program that did not ask for it. */
#include "server/tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "server/fault.h"

#define RECORD_LEN 16384u /* TLS's largest */

/* ---- the stream below ---- */

static bool is_try_again(int why) { return why == EAGAIN || why == EWOULDBLOCK || why == EINTR; }

static int stream_read(BIO *bio, char *out, int len) {
    struct tls_stream *t = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (t->early_at < t->early_len) {
        size_t n = t->early_len - t->early_at < (size_t) len ? t->early_len - t->early_at : (size_t) len;
        memcpy(out, t->early + t->early_at, n);
        t->early_at += n;
        return (int) n;
    }
    ssize_t n = recv(t->fd, out, (size_t) len, t->may_wait ? 0 : MSG_DONTWAIT);
    t->may_wait = false;
    if (n < 0 && is_try_again(errno)) BIO_set_retry_read(bio);
    return (int) n;
}

static int stream_write(BIO *bio, const char *p, int len) {
    struct tls_stream *t = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    ssize_t n = send(t->fd, p, (size_t) len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && is_try_again(errno)) BIO_set_retry_write(bio);
    return (int) n;
}

static long stream_control(BIO *bio, int command, long number, void *p) {
    (void) bio;
    (void) number;
    (void) p;
    return command == BIO_CTRL_FLUSH || command == BIO_CTRL_DUP;
}

/* ---- the context ---- */

static bool refuse(struct tls_context *tls, bson_error_t *error, const char *what, const char *file,
                   const char *advice) {
    char why[160] = "the file cannot be used";
    unsigned long code = ERR_peek_last_error();
    if (code != 0) ERR_error_string_n(code, why, sizeof(why));
    const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;
    ERR_clear_error();
    tls_context_close(tls);
    return fault(error, FAULT_INVALID_SSL, "%s '%.160s' cannot be used: %.100s; %s", what, file,
                 reason != NULL ? reason : why, advice);
}

static int give_password(char *buf, int size, int for_writing, void *ctx) {
    const char *password = ctx;
    (void) for_writing;
    if (password == NULL || strlen(password) > (size_t) size) return -1;
    memcpy(buf, password, strlen(password));
    return (int) strlen(password);
}

static bool load_files(struct tls_context *tls, const struct options *o, bson_error_t *error) {
    SSL_CTX *ctx = tls->ctx;
    SSL_CTX_set_default_passwd_cb(ctx, give_password);
    SSL_CTX_set_default_passwd_cb_userdata(ctx, o->tls_password);
    if (SSL_CTX_use_certificate_chain_file(ctx, o->tls_file) != 1)
        return refuse(tls, error, "the certificate file", o->tls_file,
                      "tlsCertificateKeyFile must be a readable PEM file with a CERTIFICATE block");
    if (SSL_CTX_use_PrivateKey_file(ctx, o->tls_file, SSL_FILETYPE_PEM) != 1 || SSL_CTX_check_private_key(ctx) != 1)
        return refuse(tls, error, "the key in the certificate file", o->tls_file,
                      "tlsCertificateKeyFile must hold the certificate's PRIVATE KEY block too, and "
                      "tlsCertificateKeyFilePassword its password if it has one");
    SSL_CTX_set_default_passwd_cb_userdata(ctx, NULL);
    if (o->tls_ca_file == NULL) return true;
    STACK_OF(X509_NAME) *names = NULL;
    if (SSL_CTX_load_verify_locations(ctx, o->tls_ca_file, NULL) == 1) names = SSL_load_client_CA_file(o->tls_ca_file);
    if (names == NULL)
        return refuse(
            tls, error, "the CA file", o->tls_ca_file,
            "tlsCAFile must be a readable PEM file with the CERTIFICATE blocks of those who sign certificates");
    SSL_CTX_set_client_CA_list(ctx, names);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | (o->tls_allow_no_certificate ? 0 : SSL_VERIFY_FAIL_IF_NO_PEER_CERT),
                       NULL);
    return true;
}

bool tls_context_open(struct tls_context *tls, const struct options *o, bson_error_t *error) {
    static const unsigned char session_name[] = "elmo";
    *tls = (struct tls_context){0};
    if (o->tls_mode == TLS_DISABLED) return true;
    tls->ctx = SSL_CTX_new(TLS_server_method());
    tls->method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "elmo connection");
    if (tls->ctx == NULL || tls->method == NULL || BIO_meth_set_read(tls->method, stream_read) != 1 ||
        BIO_meth_set_write(tls->method, stream_write) != 1 || BIO_meth_set_ctrl(tls->method, stream_control) != 1) {
        ERR_clear_error();
        tls_context_close(tls);
        return fault_memory(error);
    }
    (void) SSL_CTX_set_min_proto_version(tls->ctx, TLS1_2_VERSION);
    (void) SSL_CTX_set_options(tls->ctx,
                               SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_NO_COMPRESSION |
                                   SSL_OP_IGNORE_UNEXPECTED_EOF);
    (void) SSL_CTX_set_mode(tls->ctx,
                            SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                SSL_MODE_RELEASE_BUFFERS); /* an idle connection keeps no record buffers */
    (void) SSL_CTX_set_session_id_context(tls->ctx, session_name, sizeof(session_name) - 1);
    (void) SSL_CTX_set_session_cache_mode(tls->ctx, SSL_SESS_CACHE_OFF);
    return load_files(tls, o, error);
}

void tls_context_close(struct tls_context *tls) {
    SSL_CTX_free(tls->ctx);
    BIO_meth_free(tls->method);
    *tls = (struct tls_context){0};
}

/* ---- one connection ---- */

struct tls_stream *tls_stream_new(struct tls_context *tls, int fd, const uint8_t *early, size_t early_len) {
    struct tls_stream *t = calloc(1, sizeof(*t));
    if (t == NULL) return NULL;
    t->fd = fd;
    t->early_len = early_len < sizeof(t->early) ? early_len : sizeof(t->early);
    if (t->early_len > 0) memcpy(t->early, early, t->early_len);
    t->ssl = SSL_new(tls->ctx);
    BIO *bio = BIO_new(tls->method);
    if (t->ssl == NULL || bio == NULL) {
        SSL_free(t->ssl);
        (void) BIO_free(bio);
        free(t);
        ERR_clear_error();
        return NULL;
    }
    BIO_set_data(bio, t);
    BIO_set_init(bio, 1);
    SSL_set_bio(t->ssl, bio, bio);
    SSL_set_accept_state(t->ssl);
    return t;
}

void tls_stream_free(struct tls_stream *t) {
    if (t == NULL) return;
    if (t->is_ready) (void) SSL_shutdown(t->ssl);
    SSL_free(t->ssl);
    ERR_clear_error();
    free(t);
}

static enum io answer_of(struct tls_stream *t, int rc) {
    switch (SSL_get_error(t->ssl, rc)) {
    case SSL_ERROR_WANT_READ: return IO_WANTS_READ;
    case SSL_ERROR_WANT_WRITE: return IO_WANTS_WRITE;
    case SSL_ERROR_SYSCALL:
    case SSL_ERROR_SSL: t->is_ready = false; return IO_CLOSED; /* no goodbye after a failure */
    default: return IO_CLOSED;
    }
}

enum io tls_handshake(struct tls_stream *t, char *why, size_t why_len) {
    ERR_clear_error();
    int rc = SSL_accept(t->ssl);
    if (rc == 1) {
        t->is_ready = true;
        return IO_DONE;
    }
    enum io io = answer_of(t, rc);
    if (io == IO_CLOSED) {
        unsigned long code = ERR_peek_last_error();
        const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;
        (void) snprintf(why, why_len, "%s", reason != NULL ? reason : "the peer has gone");
        ERR_clear_error();
    }
    return io;
}

enum io tls_read(struct tls_stream *t, void *buf, size_t len, bool may_wait, size_t *got) {
    ERR_clear_error();
    t->may_wait = may_wait;
    int rc = SSL_read_ex(t->ssl, buf, len, got);
    t->may_wait = false;
    if (rc == 1) return IO_DONE;
    enum io io = answer_of(t, rc);
    ERR_clear_error();
    return io;
}

/* Small pieces go into one record; a try that was refused is repeated with the same bytes, as SSL_write wants it, for nothing is left of it here. */
enum io tls_write(struct tls_stream *t, const struct iovec *iov, int count, size_t *taken) {
    uint8_t record[RECORD_LEN];
    const uint8_t *p = iov[0].iov_base;
    size_t len = iov[0].iov_len < RECORD_LEN ? iov[0].iov_len : RECORD_LEN;
    if (len < RECORD_LEN && count > 1) {
        len = 0;
        for (int i = 0; i < count && len < RECORD_LEN; i++) {
            size_t n = iov[i].iov_len < RECORD_LEN - len ? iov[i].iov_len : RECORD_LEN - len;
            if (n != 0) memcpy(record + len, iov[i].iov_base, n);
            len += n;
        }
        p = record;
    }
    ERR_clear_error();
    int rc = SSL_write_ex(t->ssl, p, len, taken);
    if (rc == 1) return IO_DONE;
    enum io io = answer_of(t, rc);
    ERR_clear_error();
    return io;
}

bool tls_has_pending(const struct tls_stream *t) { return SSL_has_pending(t->ssl) == 1; }

bool tls_subject(const struct tls_stream *t, char *out, size_t len) {
    X509 *certificate = SSL_get1_peer_certificate(t->ssl);
    if (certificate == NULL) return false;
    bool ok = false;
    BIO *bio = SSL_get_verify_result(t->ssl) == X509_V_OK ? BIO_new(BIO_s_mem()) : NULL;
    if (bio != NULL && X509_NAME_print_ex(bio, X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253) >= 0) {
        int n = BIO_read(bio, out, (int) len - 1);
        ok = n > 0 && BIO_pending(bio) == 0; /* a subject that was cut would be somebody else's */
        out[ok ? n : 0] = '\0';
    }
    (void) BIO_free(bio);
    X509_free(certificate);
    ERR_clear_error();
    return ok;
}
