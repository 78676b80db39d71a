/* A raw client of the wire protocol. */
#include "support/wire.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/compress.h"
#include "server/crc32c.h"

#define PATIENCE_S 30

void wire_free(struct wire *m) {
    free(m->p);
    *m = (struct wire){0};
}

void wire_bytes(struct wire *m, const void *p, size_t len) {
    if (len > m->cap - m->len) {
        m->cap = 2 * m->cap + len + 64;
        m->p = realloc(m->p, m->cap);
        cr_assert_not_null(m->p);
    }
    if (len != 0) memcpy(m->p + m->len, p, len);
    m->len += len;
}

void wire_u8(struct wire *m, uint8_t value) { wire_bytes(m, &value, 1); }

static void put(uint8_t *p, int32_t value) {
    for (int i = 0; i < 4; i++) p[i] = (uint8_t) ((uint32_t) value >> 8 * i);
}

void wire_i32(struct wire *m, int32_t value) {
    uint8_t bytes[4];
    put(bytes, value);
    wire_bytes(m, bytes, 4);
}

int32_t wire_get(const struct wire *m, size_t at) {
    int32_t value;
    cr_assert(at + 4 <= m->len);
    memcpy(&value, m->p + at, 4);
    return value;
}

void wire_text(struct wire *m, const char *text) { wire_bytes(m, text, strlen(text) + 1); }

void wire_begin(struct wire *m, int32_t id, int32_t opcode) {
    m->len = 0;
    wire_i32(m, 0);
    wire_i32(m, id);
    wire_i32(m, 0);
    wire_i32(m, opcode);
}

void wire_end(struct wire *m) { put(m->p, (int32_t) m->len); }

static void body_of(struct wire *m, const char *fmt, va_list ap) {
    static _Thread_local char text[1 << 16];
    bson_error_t error;
    (void) vsnprintf(text, sizeof(text), fmt, ap);
    for (char *p = text; *p != '\0'; p++)
        if (*p == '\'') *p = '"';
    bson_t *doc = bson_new_from_json((const uint8_t *) text, -1, &error);
    cr_assert(doc != NULL, "%s: %s", text, error.message);
    wire_bytes(m, bson_get_data(doc), doc->len);
    bson_destroy(doc);
}

void wire_body(struct wire *m, const char *fmt, ...) {
    va_list ap;
    wire_u8(m, 0);
    va_start(ap, fmt);
    body_of(m, fmt, ap);
    va_end(ap);
}

static void msg_of(struct wire *m, int32_t id, uint32_t flags, const char *fmt, va_list ap) {
    wire_begin(m, id, WIRE_MSG);
    wire_i32(m, (int32_t) flags);
    wire_u8(m, 0);
    body_of(m, fmt, ap);
    wire_end(m);
}

void wire_msg(struct wire *m, int32_t id, uint32_t flags, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    msg_of(m, id, flags, fmt, ap);
    va_end(ap);
}

void wire_end_checksum(struct wire *m) {
    put(m->p, (int32_t) m->len + 4);
    wire_i32(m, (int32_t) crc32c(0, m->p, m->len));
}

void wire_compress(struct wire *m, uint8_t compressor) {
    struct wire out = {0};
    size_t room = pack_room(compressor, m->len - 16);
    uint8_t *packed = malloc(room);
    cr_assert_not_null(packed);
    size_t len = pack(compressor, m->p + 16, m->len - 16, packed, room);
    wire_begin(&out, wire_get(m, 4), WIRE_COMPRESSED);
    wire_i32(&out, wire_get(m, 12));
    wire_i32(&out, (int32_t) m->len - 16);
    wire_u8(&out, compressor);
    wire_bytes(&out, packed, len);
    wire_end(&out);
    free(packed);
    wire_free(m);
    *m = out;
}

/* ---- sockets ---- */

static int connect_unix(const char *text) {
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    size_t n = 0;
    for (const char *p = text; *p != '\0' && n + 1 < sizeof(un.sun_path); p++) {
        bool is_slash = strncmp(p, "%2F", 3) == 0;
        un.sun_path[n++] = is_slash ? '/' : *p;
        if (is_slash) p += 2;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *) &un, sizeof(un)) == 0) return fd;
    (void) close(fd);
    return -1;
}

int wire_try_connect(const char *uri) {
    struct timeval patience = {.tv_sec = PATIENCE_S};
    struct sockaddr_in in = {.sin_family = AF_INET};
    const char *text = uri + strlen("mongodb://"), *colon = strrchr(text, ':');
    int fd, on = 1;
    if (text[0] == '%' || text[0] == '/') {
        fd = connect_unix(text);
    } else {
        in.sin_port = htons((uint16_t) atoi(colon + 1));
        in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(fd, (struct sockaddr *) &in, sizeof(in)) != 0) {
            (void) close(fd);
            fd = -1;
        }
        if (fd >= 0) (void) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    }
    if (fd >= 0) (void) setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    return fd;
}

int wire_connect(const char *uri) {
    int fd = wire_try_connect(uri);
    cr_assert(fd >= 0, "%s refuses connections", uri);
    return fd;
}

bool wire_try_send(int fd, const void *p, size_t len) {
    const uint8_t *at = p;
    while (len > 0) {
        ssize_t n = send(fd, at, len, MSG_NOSIGNAL);
        if (n <= 0) return false;
        at += n;
        len -= (size_t) n;
    }
    return true;
}

void wire_send(int fd, const struct wire *m) { cr_assert(wire_try_send(fd, m->p, m->len)); }

static bool receive(int fd, uint8_t *p, size_t len) {
    while (len > 0) {
        ssize_t n = recv(fd, p, len, 0);
        if (n <= 0) return false;
        p += n;
        len -= (size_t) n;
    }
    return true;
}

bool wire_receive(int fd, struct wire *m) {
    uint8_t head[16];
    uint32_t len;
    if (!receive(fd, head, 16)) return false;
    memcpy(&len, head, 4);
    cr_assert(len >= 16 && len <= 48000000u, "a message of %u bytes", len);
    m->len = 0;
    wire_bytes(m, head, 16);
    uint8_t *rest = malloc(len - 15);
    cr_assert_not_null(rest);
    bool ok = receive(fd, rest, len - 16);
    wire_bytes(m, rest, len - 16);
    free(rest);
    return ok;
}

bool wire_is_closed(int fd) {
    uint8_t byte;
    return recv(fd, &byte, 1, 0) <= 0;
}

void wire_doc(const struct wire *m, bson_t *out) {
    size_t at = wire_get(m, 12) == WIRE_REPLY ? 36 : 21;
    cr_assert(m->len >= at + 5);
    cr_assert(bson_init_static(out, m->p + at, (size_t) wire_get(m, at)));
}

static const char *run(int fd, const char *fmt, va_list ap) {
    static _Thread_local char *text;
    struct wire m = {0}, reply = {0};
    bson_t body;
    char with_db[4096];
    const char *end = strrchr(fmt, '}');
    cr_assert_not_null(end);
    (void) snprintf(with_db, sizeof(with_db), strstr(fmt, "$db") != NULL ? "%.*s}" : "%.*s, '$db': 'test'}",
                    (int) (end - fmt), fmt);
    msg_of(&m, 7, 0, with_db, ap);
    wire_send(fd, &m);
    cr_assert(wire_receive(fd, &reply), "no answer to %s", fmt);
    cr_assert_eq(wire_get(&reply, 8), 7);
    wire_doc(&reply, &body);
    bson_free(text);
    text = bson_as_relaxed_extended_json(&body, NULL);
    wire_free(&m);
    wire_free(&reply);
    return text;
}

const char *wire_run(int fd, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    const char *text = run(fd, fmt, ap);
    va_end(ap);
    return text;
}

const char *wire_ok(int fd, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    const char *text = run(fd, fmt, ap);
    va_end(ap);
    cr_assert(strstr(text, "\"ok\" : 1") != NULL, "%s: %s", fmt, text);
    return text;
}
