/* The loop's thread: accepting, parked connections, deadlines, peers that vanished, and the end. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "server/conn.h"
#include "server/fault.h"

#define TICK_MS 500
#define ACCEPTS_AT_ONCE 64
#define PARKED_AT_ONCE 128
#define PAUSE_MS 200        /* before accepting again after there were no descriptors */
#define STALL_LEN 65536u    /* a connection that moves less in a tick is stalled */
#define STALL_TICKS 2       /* so long, and it is ended when others wait for memory */
#define STOP_CANCEL_TICKS 6 /* after stopping: running commands are cancelled */
#define STOP_SHUT_TICKS 12  /* answers that nobody takes are given up */

/* ---- accepting ---- */

static void start_accepting(struct server *s);

static void resume_accepting(uv_timer_t *timer) { start_accepting(timer->data); }

/* No descriptors, or no memory for a socket: the connections stay in the kernel's queue for a while. */
static void pause_accepting(struct server *s, int why) {
    for (unsigned i = 0; i < s->addresses.count; i++) (void) uv_poll_stop(&s->accepting[i]);
    (void) uv_timer_start(&s->pause, resume_accepting, PAUSE_MS, 0);
    LOG(&s->log, 'W', "NETWORK", 22942, "listener", "Connections cannot be accepted for a moment",
        ATTR_T("error", strerror(why)), ATTR_N("connectionCount", (int64_t) s->conn_count));
}

static void on_tick(uv_timer_t *timer);

static void adopt(struct server *s, struct conn *c) {
    struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT, .data.ptr = c};
    c->id = ++s->last_conn_id;
    if (epoll_ctl(s->parked_fd, EPOLL_CTL_ADD, c->fd, &event) != 0) {
        conn_free(c);
        return;
    }
    c->next = s->conns;
    if (c->next != NULL) c->next->prev = c;
    s->conns = c;
    if (s->conn_count++ == 0) (void) uv_timer_start(&s->tick, on_tick, TICK_MS, TICK_MS);
    if (!s->log.is_quiet)
        LOG(&s->log, 'I', "NETWORK", 22943, "listener", "Connection accepted", ATTR_T("remote", c->remote),
            ATTR_N("connectionId", (int64_t) c->id), ATTR_N("connectionCount", (int64_t) s->conn_count));
}

static bool is_short_of_means(int why) { return why == EMFILE || why == ENFILE || why == ENOBUFS || why == ENOMEM; }

static void on_connection(uv_poll_t *handle, int status, int events) {
    struct server *s = handle->data;
    const struct address *at = &s->addresses.of[handle - s->accepting];
    (void) status;
    (void) events;
    for (int i = 0; i < ACCEPTS_AT_ONCE; i++) {
        struct sockaddr_storage peer = {0};
        socklen_t len = sizeof(peer);
        int fd = accept4(at->fd, (struct sockaddr *) &peer, &len, SOCK_CLOEXEC);
        if (fd < 0) {
            if (is_short_of_means(errno)) pause_accepting(s, errno);
            if (errno == ECONNABORTED || errno == EINTR) continue;
            return;
        }
        struct conn *c = NULL;
        if (s->conn_count < (size_t) s->options.connections_max) c = conn_new(s, fd, &peer, at);
        if (c != NULL) {
            adopt(s, c);
            continue;
        }
        (void) close(fd);
        LOG(&s->log, 'W', "NETWORK", 22942, "listener",
            "Connection refused because there are too many open connections",
            ATTR_N("connectionCount", (int64_t) s->conn_count));
    }
}

static void start_accepting(struct server *s) {
    for (unsigned i = 0; i < s->addresses.count; i++)
        (void) uv_poll_start(&s->accepting[i], UV_READABLE, on_connection);
}

/* ---- parked connections ---- */

static void on_parked(uv_poll_t *handle, int status, int events) {
    struct server *s = handle->data;
    struct epoll_event ready[PARKED_AT_ONCE];
    int count;
    (void) status;
    (void) events;
    do {
        count = epoll_wait(s->parked_fd, ready, PARKED_AT_ONCE, 0);
        for (int i = 0; i < count; i++) { /* it shows once: it is the pool's now */
            struct conn *c = ready[i].data.ptr;
            (void) atomic_load_explicit(&c->is_parked, memory_order_acquire);
            pool_push(&s->pool, c);
        }
    } while (count == PARKED_AT_ONCE);
}

/* ---- time ---- */

/* A command has run for a tick at least: is there anybody who waits for it? */
static void look_at_running(struct conn *c, uint64_t ran, void *ctx) {
    struct server *s = ctx;
    struct pollfd peer = {.fd = c->fd, .events = POLLRDHUP};
    bool is_gone = ran == 0 && poll(&peer, 1, 0) == 1;
    if (s->stop_ticks > 0) is_gone = s->stop_ticks > STOP_CANCEL_TICKS; /* stopping has shut the reading side down */
    if (is_gone) elmo_client_cancel(c->client);
}

static void look_at_deadline(struct server *s, struct conn *c, uint64_t now, bool is_memory_short) {
    uint64_t deadline = atomic_load_explicit(&c->deadline_ms, memory_order_relaxed);
    size_t moved = atomic_load_explicit(&c->moved, memory_order_relaxed);
    size_t held = atomic_load_explicit(&c->parked_held, memory_order_relaxed);
    if (moved - c->moved_seen >= STALL_LEN) c->stalled_ticks = 0;
    else c->stalled_ticks++;
    c->moved_seen = moved;
    if (deadline == 0) c->stalled_ticks = 0;
    else if (now >= deadline) conn_shut(c, END_SLOW);
    else if (is_memory_short && held >= STALL_LEN && c->stalled_ticks > STALL_TICKS) conn_shut(c, END_MEMORY);
    if (s->stop_ticks == STOP_SHUT_TICKS) (void) shutdown(c->fd, SHUT_RDWR);
}

static void on_tick(uv_timer_t *timer) {
    struct server *s = timer->data;
    bool is_memory_short = atomic_load_explicit(&s->budget.waiting_count, memory_order_relaxed) != 0;
    if (s->stop_ticks > 0) {
        s->stop_ticks++;
        budget_wake_all(&s->budget);
    }
    pool_poke(&s->pool);
    pool_each_running(&s->pool, look_at_running, s);
    if (s->stop_ticks == 0 && atomic_load_explicit(&s->deadline_count, memory_order_relaxed) == 0) return;
    uint64_t now = clock_ms();
    for (struct conn *c = s->conns; c != NULL; c = c->next) look_at_deadline(s, c, now, is_memory_short);
}

/* ---- the end of connections, and of all ---- */

void loop_bury(struct server *s, struct conn *c) {
    (void) pthread_mutex_lock(&s->dead_lock);
    c->queue_next = s->dead;
    s->dead = c;
    (void) uv_async_send(&s->wake); /* under the lock: after the last connection the loop closes the handle */
    (void) pthread_mutex_unlock(&s->dead_lock);
}

void loop_stop(struct server *s) {
    (void) pthread_mutex_lock(&s->dead_lock);
    atomic_store(&s->is_stopping, true);
    (void) uv_async_send(&s->wake);
    (void) pthread_mutex_unlock(&s->dead_lock);
}

static void remove_conn(struct server *s, struct conn *c) {
    (void) epoll_ctl(s->parked_fd, EPOLL_CTL_DEL, c->fd, NULL);
    if (c->prev != NULL) c->prev->next = c->next;
    else s->conns = c->next;
    if (c->next != NULL) c->next->prev = c->prev;
    if (--s->conn_count == 0 && s->stop_ticks == 0) (void) uv_timer_stop(&s->tick);
    conn_free(c);
}

/* No new connections; those that are parked wake up and see that it is over. */
static void begin_stop(struct server *s) {
    s->stop_ticks = 1;
    for (unsigned i = 0; i < s->addresses.count; i++) uv_close((uv_handle_t *) &s->accepting[i], NULL);
    uv_close((uv_handle_t *) &s->pause, NULL);
    addresses_close(&s->addresses);
    for (struct conn *c = s->conns; c != NULL; c = c->next) conn_shut(c, END_STOPPED);
    budget_wake_all(&s->budget);
    (void) uv_timer_start(&s->tick, on_tick, TICK_MS, TICK_MS);
}

static void on_wake(uv_async_t *handle) {
    struct server *s = handle->data;
    (void) pthread_mutex_lock(&s->dead_lock);
    struct conn *dead = s->dead;
    bool is_stopping = atomic_load(&s->is_stopping);
    s->dead = NULL;
    (void) pthread_mutex_unlock(&s->dead_lock);
    while (dead != NULL) {
        struct conn *next = dead->queue_next;
        remove_conn(s, dead);
        dead = next;
    }
    if (!is_stopping) return;
    if (s->stop_ticks == 0) begin_stop(s);
    if (s->conns != NULL || uv_is_closing((uv_handle_t *) &s->wake)) return;
    uv_close((uv_handle_t *) &s->wake, NULL);
    uv_close((uv_handle_t *) &s->tick, NULL);
    uv_close((uv_handle_t *) &s->parked, NULL);
}

/* ---- the loop ---- */

static bool refuse(bson_error_t *error, int rc) {
    return fault(error, FAULT_NO_MEMORY, "the server's loop cannot be set up: %s", uv_strerror(rc));
}

/* Closes whatever handles were opened, then the loop. */
static void close_walk(uv_handle_t *handle, void *ctx) {
    (void) ctx;
    if (!uv_is_closing(handle)) uv_close(handle, NULL);
}

void loop_close(struct server *s) {
    uv_walk(&s->loop, close_walk, NULL);
    (void) uv_run(&s->loop, UV_RUN_DEFAULT);
    (void) uv_loop_close(&s->loop);
    (void) close(s->parked_fd);
    (void) pthread_mutex_destroy(&s->dead_lock);
}

static int open_handles(struct server *s) {
    int rc = uv_async_init(&s->loop, &s->wake, on_wake);
    if (rc == 0) rc = uv_timer_init(&s->loop, &s->tick);
    if (rc == 0) rc = uv_timer_init(&s->loop, &s->pause);
    if (rc == 0) rc = uv_poll_init(&s->loop, &s->parked, s->parked_fd);
    if (rc == 0) rc = uv_poll_start(&s->parked, UV_READABLE, on_parked);
    s->wake.data = s->tick.data = s->pause.data = s->parked.data = s;
    for (unsigned i = 0; rc == 0 && i < s->addresses.count; i++) {
        rc = uv_poll_init(&s->loop, &s->accepting[i], s->addresses.of[i].fd);
        s->accepting[i].data = s;
    }
    if (rc == 0) start_accepting(s);
    return rc;
}

bool loop_open(struct server *s, bson_error_t *error) {
    s->parked_fd = epoll_create1(EPOLL_CLOEXEC);
    if (s->parked_fd < 0) return refuse(error, -errno);
    int rc = -pthread_mutex_init(&s->dead_lock, NULL);
    if (rc != 0) {
        (void) close(s->parked_fd);
        return refuse(error, rc);
    }
    rc = uv_loop_init(&s->loop);
    if (rc != 0) {
        (void) close(s->parked_fd);
        (void) pthread_mutex_destroy(&s->dead_lock);
        return refuse(error, rc);
    }
    rc = open_handles(s);
    if (rc == 0) return true;
    loop_close(s);
    return refuse(error, rc);
}

void *loop_run(void *server) {
    struct server *s = server;
    (void) pthread_setname_np(pthread_self(), "elmo-listener");
    (void) uv_run(&s->loop, UV_RUN_DEFAULT);
    return NULL;
}
