/* How many bytes of messages all connections together may hold: those that come in, those that were unpacked, and answers that wait for slow readers.
 *
 * A connection asks for more as its message grows. When there is no more it waits, in the order of coming, holding what it has. So that those who wait
 * cannot wait for each other for ever, the first of them, the elder, may go over the limit, by one message at most; the next elder is chosen when it
 * has given all back. Answers are counted without asking: they exist already, and while they stand above the limit nothing new is let in.
 *
 *   B1  used is the sum of what the connections hold; above the limit only by what the elder holds and by answers.
 *   B2  While anybody waits, somebody holds bytes and is not waiting; whoever gives back lets the first of those who wait try again. */
#ifndef ELMO_SERVER_BUDGET_H
#define ELMO_SERVER_BUDGET_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

/* A connection's part of it. Zeroed at first; touched by the thread that has the connection. */
struct share {
    size_t held;
    struct share *next; /* of those who wait */
    bool is_waiting;
};

struct budget {
    pthread_mutex_t lock;
    size_t limit, used;
    struct share *elder;
    struct share *first, **last;              /* who waits */
    atomic_size_t waiting_count;              /* may be read without the lock */
    void (*wake)(void *ctx, struct share *s); /* it may try again; called without the lock */
    void *ctx;
};

/* False: no mutex. */
bool budget_init(struct budget *b, size_t limit, void (*wake)(void *ctx, struct share *s), void *ctx);
void budget_release(struct budget *b);

/* `more` bytes. False: there are none now; then budget_wait. */
bool budget_take(struct budget *b, struct share *s, size_t more);
/* Counts without asking. */
void budget_force(struct budget *b, struct share *s, size_t more);
void budget_give(struct budget *b, struct share *s, size_t less);
/* Stands in the line for `more`. False: try again at once. After true the share belongs to whoever gets the wake, which may have come already. */
bool budget_wait(struct budget *b, struct share *s, size_t more);
/* Wakes all who wait: the server stops. */
void budget_wake_all(struct budget *b);

#endif
