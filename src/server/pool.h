/* The threads that serve connections, and the queue of those that are ready to be served.
 *
 *   P1  A ready connection waits only while all threads that may be are busy; the queue is first in, first out.
 *   P2  A thread ends after IDLE_MS without work. Those that ended are joined by the next that begins, and by pool_stop. */
#ifndef ELMO_SERVER_POOL_H
#define ELMO_SERVER_POOL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct conn;
struct server;

/* A buffer of bytes p[at, len) with room for `cap`. */
struct bytes {
    uint8_t *p;
    size_t at, len, cap;
};

struct worker {
    struct server *server;
    struct worker *next;
    pthread_t thread;
    struct bytes in;     /* lent to the connection that is served */
    struct bytes plain;  /* a message that was compressed */
    struct bytes packed; /* an answer that was */

    pthread_mutex_t lock; /* of what follows: the loop looks at it */
    struct conn *running; /* its command is being run */
    uint64_t run_count;   /* commands begun */
    uint64_t seen_count;  /* the loop's: run_count when it looked last */
};

struct pool {
    struct server *server;
    pthread_mutex_t lock;
    pthread_cond_t has_work, has_retired;
    struct conn *first, **last;
    size_t idle, woken; /* threads that wait; signals on the way to them */
    size_t count, max;
    struct worker *workers, *ended;
    bool is_stopping;
    atomic_uint_fast64_t crowded_until_ms; /* connections had to wait for a thread lately: nobody lingers */
};

bool pool_init(struct pool *pool, struct server *s, size_t max);
/* Any thread. */
void pool_push(struct pool *pool, struct conn *c);
/* Tries again to make a thread if connections wait and there was none to be had. */
void pool_poke(struct pool *pool);
/* Connections wait, or had to of late: give yours back after each request. */
bool pool_is_crowded(const struct pool *pool);
/* Calls `look` for each worker that runs a command, with the worker's lock held. `ran` commands have been begun since it looked last. */
void pool_each_running(struct pool *pool, void (*look)(struct conn *c, uint64_t ran, void *ctx), void *ctx);
/* Ends all threads and waits for them. The queue must be empty. */
void pool_stop(struct pool *pool);
void pool_release(struct pool *pool);

/* CLOCK_MONOTONIC in milliseconds. */
uint64_t clock_ms(void);

#endif
