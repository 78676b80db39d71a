/* The server: what its parts share.
 *
 *      accept                 something to read or write              quiet for a while, or others wait
 *   ───────────> PARKED ────────────────────────────────> READY ──> WORKED ──────────────────────────> PARKED
 *               (loop.c)              (loop.c)           (pool.c)   (conn.c, request.c)
 *                                                                      │ asks for memory that there is not
 *                                                                      ├──────────> WAITING (budget.c) ──> READY
 *                                                                      │ the end
 *                                                                      └──────────> DEAD ──> freed (loop.c)
 *
 * One thread runs the loop (libuv): it accepts, watches parked connections and keeps time. Commands never run there, nor does anything else that takes time.
 * A parked connection is a struct conn without buffers and its entry in an epoll set of its own inside of the loop, so that a worker parks a
 * connection by one system call, without waking the loop. Workers (pool.c) are made as they are needed and end when they are idle.
 *
 *   S1  A connection is in exactly one of these states; whoever has it alone touches its fields, but for the atomics and what is guarded by a lock.
 *   S2  Only the loop's thread closes descriptors and frees connections, so it may look at any of them at any time: shut it down, ask who hung up.
 *   S3  The bytes of a message stay where they are while its command runs; the answer stays in the client until it is sent wholly, and no other command of the
 *       connection begins before. So answers need no copy, and a slow reader holds no worker.
 *   S4  Everything that a peer can make the server hold is counted in the budget or bounded by a constant; every wait for a peer has a deadline, but that of
 *       an idle connection for its next command. */
#ifndef ELMO_SERVER_SERVER_H
#define ELMO_SERVER_SERVER_H

#include <pthread.h>
#include <stdatomic.h>
#include <uv.h>

#include <elmo/client.h>

#include "server/address.h"
#include "server/budget.h"
#include "server/log.h"
#include "server/options.h"
#include "server/pool.h"
#include "server/tls.h"

#define BUDGET_LEN ((size_t) 256 * 1024 * 1024) /* of messages in flight: five of the largest */
#define ADDRESS_URI_MAX 320

struct server {
    elmo_t *db;
    struct options options;
    struct log log;
    struct budget budget;
    struct tls_context tls;
    struct addresses addresses;
    struct pool pool;
    char uri[ADDRESS_URI_MAX];

    pthread_t thread; /* the loop's */
    uv_loop_t loop;
    uv_async_t wake;  /* something is in dead, or stopping */
    uv_timer_t tick;  /* deadlines, peers that vanished */
    uv_timer_t pause; /* accepting is put off: no descriptors */
    uv_poll_t parked; /* of parked_fd */
    uv_poll_t accepting[ADDRESSES_MAX];
    int parked_fd; /* the epoll set of parked connections */
    struct conn *conns;
    size_t conn_count; /* both the loop's */
    uint64_t last_conn_id;
    unsigned stop_ticks; /* since it was told to stop */

    atomic_bool is_stopping;
    atomic_size_t deadline_count; /* connections that have one */
    pthread_mutex_t dead_lock;
    struct conn *dead;
};

/* loop.c: sets up the loop and its handles in the caller's thread; nothing runs yet. False with `error`: nothing is left of it. */
bool loop_open(struct server *s, bson_error_t *error);
/* Runs until the server is told to stop and all connections are gone. A thread's main function. */
void *loop_run(void *server);
/* Frees what loop_open made. The loop's thread has ended, or never began. */
void loop_close(struct server *s);
/* Any thread: a connection has ended; the loop frees it. */
void loop_bury(struct server *s, struct conn *c);
/* Any thread: no new connections; the others end as soon as their commands have. */
void loop_stop(struct server *s);

#endif
