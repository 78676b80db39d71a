/* POSIX threads under our names; see thread.h. */
#include "os/thread.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <time.h>

status mutex_init(struct mutex *m, struct err *err) {
    int e = pthread_mutex_init(&m->m, NULL);
    return e == 0 ? ST_OK : RAISE(err, ST_NOMEM, "cannot make a mutex (error %d)", e);
}

void mutex_release(struct mutex *m) { (void) pthread_mutex_destroy(&m->m); }

status cond_init(struct cond *c, struct err *err) {
    pthread_condattr_t attr;
    int e = pthread_condattr_init(&attr);
    if (e == 0) {
        e = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        if (e == 0) e = pthread_cond_init(&c->c, &attr);
        (void) pthread_condattr_destroy(&attr);
    }
    return e == 0 ? ST_OK : RAISE(err, ST_NOMEM, "cannot make a condition variable (error %d)", e);
}

void cond_release(struct cond *c) { (void) pthread_cond_destroy(&c->c); }

bool cond_wait_ms(struct cond *c, struct mutex *m, uint64_t timeout_ms) {
    const uint64_t year_ms = (uint64_t) 365 * 24 * 3600 * 1000; /* keeps the sum inside time_t */
    if (timeout_ms > year_ms) timeout_ms = year_ms;
    struct timespec until;
    (void) clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t) (timeout_ms / 1000);
    until.tv_nsec += (long) (timeout_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    return pthread_cond_timedwait(&c->c, &m->m, &until) != ETIMEDOUT;
}

status thread_start(struct thread *t, void *(*run)(void *), void *ctx, struct err *err) {
    sigset_t all, before;
    t->is_running = false;
    (void) sigfillset(&all);
    int e = pthread_sigmask(SIG_SETMASK, &all, &before);
    if (e == 0) {
        e = pthread_create(&t->t, NULL, run, ctx);
        (void) pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    if (e != 0) return RAISE(err, ST_NOMEM, "cannot start a thread (error %d)", e);
    t->is_running = true;
    return ST_OK;
}

void thread_yield(void) { (void) sched_yield(); }

void thread_join(struct thread *t) {
    if (!t->is_running) return;
    (void) pthread_join(t->t, NULL);
    t->is_running = false;
}
