/* A connection: its bytes in and out. See server.h for its life. */
#ifndef ELMO_SERVER_CONN_H
#define ELMO_SERVER_CONN_H

#include "server/frame.h"
#include "server/server.h"

#define IN_LEN ((size_t) 16 * 1024)      /* of the buffer that a worker lends: most commands fit */
#define FORGET_LEN ((size_t) 128 * 1024) /* a larger answer is not kept by its client */
#define KEEP_LEN ((size_t) 64 * 1024)    /* a worker's other buffers that grew larger are not kept */
#define LINGER_MS 10 /* how long a worker waits for a connection's next command before it parks it */

/* An answer on its way: head | document | checksum. */
struct output {
    struct iovec iov[3];
    unsigned at, count; /* iov[at, count) is left; count 0: there is none */
    struct bytes owned; /* when the document does not lie in the client */
    bool is_large;      /* the client's memory for it is not to be kept */
    size_t counted;     /* in the budget, since it had to wait */
    uint8_t head[FRAME_ANSWER_HEAD_MAX];
    uint8_t checksum[4];
};

enum conn_end { END_PEER, END_STOPPED, END_FAULT, END_SLOW, END_MEMORY, END_HANDSHAKE };

struct conn {
    struct share share;
    struct server *server;
    struct conn *prev, *next; /* of server->conns: the loop's */
    struct conn *queue_next;  /* of the pool's queue, or of the dead */
    struct tls_stream *tls;   /* NULL: plain */
    elmo_client_t *client;    /* from its first command on */
    struct bytes in;
    size_t frame_len; /* of the message at in.at; 0: its head is not there yet */
    size_t wanted;    /* what the budget refused */
    struct output out;
    uint64_t id;
    int fd;
    int32_t answer_id;
    bool is_local;
    bool is_known; /* to be plain or TLS */
    bool is_over;  /* ends when its answer is sent */

    /* What the loop reads while others have the connection. */
    atomic_uint_fast64_t deadline_ms; /* 0: none */
    atomic_size_t moved;              /* bytes received and sent, all told */
    atomic_size_t parked_held;        /* of the budget, when it was parked */
    atomic_bool
        is_parked;  /* stored before it is parked, loaded after it shows: the kernel between them orders nothing in C */
    atomic_int end; /* enum conn_end: why */
    size_t moved_seen; /* the loop's */
    unsigned stalled_ticks;

    char remote[64];
};

/* What a connection does next. */
enum step {
    STEP_ON,    /* goes on at once */
    STEP_QUEUE, /* has more to do; others first */
    STEP_READ,  /* parked until it can be read */
    STEP_WRITE, /* parked until it can be written */
    STEP_WAIT,  /* for `wanted` bytes of the budget */
    STEP_END,
};

/* Of a socket that was accepted. It takes the descriptor only when it succeeds. NULL without memory. */
struct conn *conn_new(struct server *s, int fd, const struct sockaddr_storage *peer, const struct address *at);
/* Closes the descriptor and frees: the loop's thread. */
void conn_free(struct conn *c);
/* Serves it for a while, in a worker's thread; then it belongs to somebody else or is dead. */
void conn_serve(struct conn *c, struct worker *w);
/* The loop's: it is not to go on, because of `end`. Whoever has it notices. */
void conn_shut(struct conn *c, enum conn_end end);

/* request.c: runs the whole message at in.at. What it answers is left in `out`. */
enum step request_run(struct conn *c, struct worker *w);

/* For request.c: ends the connection and says why in the log. */
enum step conn_refuse(struct conn *c, enum conn_end end, const char *why);
/* Grows to `cap`, counting it. False: *step tells what to do. */
bool conn_reserve(struct conn *c, struct bytes *b, size_t cap, enum step *step);
/* Frees what is counted. */
void conn_drop(struct conn *c, struct bytes *b);

#endif
