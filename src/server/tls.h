/* TLS 1.2 and later on a connection, by OpenSSL. Nothing here blocks but a read that is asked to: a handshake goes on when the socket has more. */
#ifndef ELMO_SERVER_TLS_H
#define ELMO_SERVER_TLS_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "server/options.h"

/* What a socket answers. */
enum io { IO_DONE, IO_WANTS_READ, IO_WANTS_WRITE, IO_CLOSED };

struct tls_context {
    SSL_CTX *ctx; /* NULL: no TLS */
    BIO_METHOD *method;
};

/* False (140) names the file that is wrong and why. Without TLS in the options the context is empty. */
bool tls_context_open(struct tls_context *tls, const struct options *o, bson_error_t *error);
void tls_context_close(struct tls_context *tls);

struct tls_stream {
    SSL *ssl;
    int fd;
    bool may_wait;     /* the next read may wait as long as the socket's SO_RCVTIMEO says */
    bool is_ready;     /* the handshake is done */
    uint8_t early[16]; /* bytes that were read before it was known to be TLS */
    size_t early_at, early_len;
};

/* NULL without memory. */
struct tls_stream *tls_stream_new(struct tls_context *tls, int fd, const uint8_t *early, size_t early_len);
/* Says goodbye if the socket takes it, and frees. NULL is allowed. */
void tls_stream_free(struct tls_stream *t);

/* Goes on with the handshake. IO_CLOSED: it failed, `why` tells. */
enum io tls_handshake(struct tls_stream *t, char *why, size_t why_len);
enum io tls_read(struct tls_stream *t, void *buf, size_t len, bool may_wait, size_t *got);
enum io tls_write(struct tls_stream *t, const struct iovec *iov, int count, size_t *taken);
/* Decrypted bytes that no poll on the socket would show. */
bool tls_has_pending(const struct tls_stream *t);
/* The subject of the peer's verified certificate as RFC 2253 has it; false: it gave none. */
bool tls_subject(const struct tls_stream *t, char *out, size_t len);

#endif
