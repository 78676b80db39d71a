/* Threads: thin names over POSIX threads, so that a port has one place to change. */
#ifndef ELMO_OS_THREAD_H
#define ELMO_OS_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct mutex {
    pthread_mutex_t m;
};
struct cond {
    pthread_cond_t c;
}; /* waits on the monotonic clock */
struct thread {
    pthread_t t;
    bool is_running;
};

status mutex_init(struct mutex *m, struct err *err);
void mutex_release(struct mutex *m);
static inline void mutex_lock(struct mutex *m) { (void) pthread_mutex_lock(&m->m); }
static inline bool mutex_try_lock(struct mutex *m) { return pthread_mutex_trylock(&m->m) == 0; }
static inline void mutex_unlock(struct mutex *m) { (void) pthread_mutex_unlock(&m->m); }

status cond_init(struct cond *c, struct err *err);
void cond_release(struct cond *c);
static inline void cond_wait(struct cond *c, struct mutex *m) { (void) pthread_cond_wait(&c->c, &m->m); }
/* False when timeout_ms passed. */
bool cond_wait_ms(struct cond *c, struct mutex *m, uint64_t timeout_ms);
static inline void cond_signal(struct cond *c) { (void) pthread_cond_signal(&c->c); }
static inline void cond_broadcast(struct cond *c) { (void) pthread_cond_broadcast(&c->c); }

/* All signals are blocked in the new thread: they belong to the application. */
status thread_start(struct thread *t, void *(*run)(void *), void *ctx, struct err *err);
void thread_yield(void); /* lets others run */
void thread_join(struct thread *t); /* nothing when it is not running */

#endif
