/* A client of the wire protocol for tests, as raw as it gets: sockets and bytes. Failures of helpers fail the test, unless they say otherwise. */
#ifndef ELMO_TESTS_WIRE_H
#define ELMO_TESTS_WIRE_H

#include <bson/bson.h>

#include <elmo/client.h>

#define WIRE_MSG 2013
#define WIRE_QUERY 2004
#define WIRE_REPLY 1
#define WIRE_COMPRESSED 2012

/* A message under construction or received: malloc'd bytes. */
struct wire {
    uint8_t *p;
    size_t len, cap;
};

void wire_free(struct wire *m);
void wire_begin(struct wire *m, int32_t id, int32_t opcode); /* the head; its length is set by wire_end */
void wire_u8(struct wire *m, uint8_t value);
void wire_i32(struct wire *m, int32_t value);
void wire_bytes(struct wire *m, const void *p, size_t len);
void wire_text(struct wire *m, const char *text); /* with its NUL */
void wire_end(struct wire *m);
/* A whole OP_MSG with one body. JSON with single quotes for double ones. */
void wire_msg(struct wire *m, int32_t id, uint32_t flags, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
void wire_body(struct wire *m, const char *fmt, ...) __attribute__((format(printf, 2, 3))); /* a section of kind 0 */
/* Appends the CRC-32C and ends the message, whose flags say that it has one. */
void wire_end_checksum(struct wire *m);
/* The same message as OP_COMPRESSED. */
void wire_compress(struct wire *m, uint8_t compressor);

int32_t wire_get(const struct wire *m, size_t at);

/* "mongodb://127.0.0.1:27017" or "mongodb://%2Ftmp%2Fx.sock". Reads give up after 30 s. */
int wire_connect(const char *uri);
int wire_try_connect(const char *uri); /* -1: refused */
void wire_send(int fd, const struct wire *m);
bool wire_try_send(int fd, const void *p, size_t len);
/* The next message, whole. False: the peer closed (or nothing came for 30 s). */
bool wire_receive(int fd, struct wire *m);
bool wire_is_closed(int fd); /* waits for the end: true when nothing else came before */
/* The document of an OP_MSG or OP_REPLY; a view. */
void wire_doc(const struct wire *m, bson_t *out);
/* Sends a command and waits for its answer, which lives until the connection's next; "$db" is "test" unless the command has one. Relaxed JSON. */
const char *wire_run(int fd, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The same, and that it answered ok: 1. */
const char *wire_ok(int fd, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
