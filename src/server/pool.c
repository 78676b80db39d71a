/* The pool of threads. */
#include "server/pool.h"

#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "server/conn.h"
#include "server/server.h"

#define IDLE_MS 10000
#define CROWDED_MS 100 /* how long after the last wait nobody lingers */

uint64_t clock_ms(void) {
    struct timespec now;
    (void) clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t) now.tv_sec * 1000 + (uint64_t) now.tv_nsec / 1000000;
}

bool pool_init(struct pool *pool, struct server *s, size_t max) {
    pthread_condattr_t attr;
    *pool = (struct pool){.server = s, .max = max};
    pool->last = &pool->first;
    atomic_init(&pool->crowded_until_ms, 0);
    if (pthread_mutex_init(&pool->lock, NULL) != 0) return false;
    (void) pthread_condattr_init(&attr);
    (void) pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    int rc = pthread_cond_init(&pool->has_work, &attr);
    if (rc == 0 && (rc = pthread_cond_init(&pool->has_retired, &attr)) != 0)
        (void) pthread_cond_destroy(&pool->has_work);
    (void) pthread_condattr_destroy(&attr);
    if (rc != 0) (void) pthread_mutex_destroy(&pool->lock);
    return rc == 0;
}

void pool_release(struct pool *pool) {
    (void) pthread_cond_destroy(&pool->has_retired);
    (void) pthread_cond_destroy(&pool->has_work);
    (void) pthread_mutex_destroy(&pool->lock);
}

/* ---- a thread's life ---- */

static void free_worker(struct worker *w) {
    free(w->in.p);
    free(w->plain.p);
    free(w->packed.p);
    (void) pthread_mutex_destroy(&w->lock);
    free(w);
}

/* With the lock. The next connection; NULL: the thread is to end. */
static struct conn *wait_for_work(struct pool *pool) {
    while (pool->first == NULL && !pool->is_stopping) {
        struct timespec until;
        (void) clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += IDLE_MS / 1000;
        pool->idle++;
        int rc = pthread_cond_timedwait(&pool->has_work, &pool->lock, &until);
        pool->idle--;
        if (pool->woken > 0 && rc == 0) pool->woken--;
        if (pool->woken > pool->idle) pool->woken = pool->idle; /* one gave up while a signal was on its way */
        if (rc != 0 && pool->first == NULL) return NULL;
    }
    struct conn *c = pool->first;
    if (c == NULL) return NULL;
    pool->first = c->queue_next;
    if (pool->first == NULL) pool->last = &pool->first;
    c->queue_next = NULL;
    return c;
}

/* With the lock: takes w out of the list of workers, into that of those that ended. */
static void retire(struct pool *pool, struct worker *w) {
    struct worker **at = &pool->workers;
    while (*at != w) at = &(*at)->next;
    *at = w->next;
    w->next = pool->ended;
    pool->ended = w;
    pool->count--;
    (void) pthread_cond_signal(&pool->has_retired);
}

static void *work(void *arg) {
    struct worker *w = arg;
    struct pool *pool = &w->server->pool;
    struct conn *c;
    (void) pthread_setname_np(pthread_self(), "elmo-worker");
    (void) pthread_mutex_lock(&pool->lock);
    while ((c = wait_for_work(pool)) != NULL) {
        (void) pthread_mutex_unlock(&pool->lock);
        conn_serve(c, w);
        (void) pthread_mutex_lock(&pool->lock);
    }
    retire(pool, w);
    (void) pthread_mutex_unlock(&pool->lock);
    return NULL;
}

/* The program's signals are not for these threads. */
static bool start_thread(struct worker *w) {
    sigset_t all, before;
    (void) sigfillset(&all);
    (void) pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&w->thread, NULL, work, w);
    (void) pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc == 0;
}

/* With the lock, which the new thread needs to begin. */
static bool add_worker(struct pool *pool) {
    struct worker *w = calloc(1, sizeof(*w));
    if (w == NULL) return false;
    w->server = pool->server;
    if (pthread_mutex_init(&w->lock, NULL) != 0) {
        free(w);
        return false;
    }
    w->next = pool->workers;
    pool->workers = w;
    pool->count++;
    if (start_thread(w)) return true;
    pool->workers = w->next;
    pool->count--;
    free_worker(w);
    return false;
}

/* With the lock: those that ended, to be joined without it. */
static struct worker *take_ended(struct pool *pool) {
    struct worker *ended = pool->ended;
    pool->ended = NULL;
    return ended;
}

static void join(struct worker *ended) {
    while (ended != NULL) {
        struct worker *next = ended->next;
        (void) pthread_join(ended->thread, NULL);
        free_worker(ended);
        ended = next;
    }
}

/* With the lock: sees to it that somebody comes for what is in the queue. */
static void call_worker(struct pool *pool) {
    if (pool->idle > pool->woken) {
        pool->woken++;
        (void) pthread_cond_signal(&pool->has_work);
    } else if (pool->count == pool->max || !add_worker(pool)) {
        atomic_store_explicit(&pool->crowded_until_ms, clock_ms() + CROWDED_MS, memory_order_relaxed);
    }
}

void pool_push(struct pool *pool, struct conn *c) {
    (void) pthread_mutex_lock(&pool->lock);
    c->queue_next = NULL;
    *pool->last = c;
    pool->last = &c->queue_next;
    call_worker(pool);
    struct worker *ended = take_ended(pool);
    (void) pthread_mutex_unlock(&pool->lock);
    join(ended);
}

void pool_poke(struct pool *pool) {
    (void) pthread_mutex_lock(&pool->lock);
    if (pool->first != NULL) call_worker(pool);
    struct worker *ended = take_ended(pool);
    (void) pthread_mutex_unlock(&pool->lock);
    join(ended);
}

bool pool_is_crowded(const struct pool *pool) {
    uint64_t until = atomic_load_explicit(&pool->crowded_until_ms, memory_order_relaxed);
    return until != 0 && clock_ms() < until;
}

void pool_each_running(struct pool *pool, void (*look)(struct conn *c, uint64_t ran, void *ctx), void *ctx) {
    (void) pthread_mutex_lock(&pool->lock);
    for (struct worker *w = pool->workers; w != NULL; w = w->next) {
        (void) pthread_mutex_lock(&w->lock);
        if (w->running != NULL) look(w->running, w->run_count - w->seen_count, ctx);
        w->seen_count = w->run_count;
        (void) pthread_mutex_unlock(&w->lock);
    }
    (void) pthread_mutex_unlock(&pool->lock);
}

void pool_stop(struct pool *pool) {
    (void) pthread_mutex_lock(&pool->lock);
    pool->is_stopping = true;
    (void) pthread_cond_broadcast(&pool->has_work);
    while (pool->count > 0) (void) pthread_cond_wait(&pool->has_retired, &pool->lock);
    struct worker *ended = take_ended(pool);
    (void) pthread_mutex_unlock(&pool->lock);
    join(ended);
}
