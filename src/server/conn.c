/* A connection in a worker's hands: reading messages, sending answers, and giving it back.
 *
 * While it is busy a worker waits for its next command in recv itself, for LINGER_MS at most (SO_RCVTIMEO): one system call to receive, one to send.
 *
 *   C1  in.p[at, len) are bytes received and not yet run. The buffer is the worker's while the connection is served, unless bytes must be kept:
 *       then it is the connection's and counted in the budget.
 *   C2  A message is run only when it is there wholly.
 *   C3  While an answer waits to be sent nothing is read. */
#include "server/conn.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define FRAME_MS 60000        /* a message must be there wholly, an answer be taken, within this */
#define FRAME_BYTES_PER_MS 64 /* plus what a slow line needs */
#define HANDSHAKE_MS 15000
#define KEEPALIVE_S 120

/* ---- its life ---- */

static void set_socket(int fd, bool is_tcp) {
    int on = 1, idle = KEEPALIVE_S;
    struct timeval linger = {.tv_usec = LINGER_MS * 1000};
    (void) setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &linger, sizeof(linger));
    if (!is_tcp) return;
    (void) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    (void) setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    (void) setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
}

struct conn *conn_new(struct server *s, int fd, const struct sockaddr_storage *peer, const struct address *at) {
    struct conn *c = calloc(1, sizeof(*c));
    if (c == NULL) return NULL;
    c->server = s;
    c->fd = fd;
    c->is_known = s->options.tls_mode == TLS_DISABLED;
    atomic_init(&c->deadline_ms, 0);
    atomic_init(&c->moved, 0);
    atomic_init(&c->parked_held, 0);
    atomic_init(&c->is_parked, false);
    atomic_init(&c->end, END_PEER);
    peer_text(peer, at, c->remote, sizeof(c->remote), &c->is_local);
    set_socket(fd, !at->is_unix);
    return c;
}

void conn_free(struct conn *c) {
    (void) close(c->fd);
    free(c);
}

void conn_shut(struct conn *c, enum conn_end end) {
    int expected = END_PEER;
    (void) atomic_compare_exchange_strong(&c->end, &expected, (int) end);
    (void) shutdown(c->fd, end == END_STOPPED ? SHUT_RD : SHUT_RDWR);
}

static void set_deadline(struct conn *c, uint64_t ms) {
    if (atomic_load_explicit(&c->deadline_ms, memory_order_relaxed) == 0)
        atomic_fetch_add_explicit(&c->server->deadline_count, 1, memory_order_relaxed);
    atomic_store_explicit(&c->deadline_ms, clock_ms() + ms, memory_order_relaxed);
}

static bool has_deadline(struct conn *c) { return atomic_load_explicit(&c->deadline_ms, memory_order_relaxed) != 0; }

static void clear_deadline(struct conn *c) {
    if (!has_deadline(c)) return;
    atomic_store_explicit(&c->deadline_ms, 0, memory_order_relaxed);
    atomic_fetch_sub_explicit(&c->server->deadline_count, 1, memory_order_relaxed);
}

static void count_moved(struct conn *c, size_t n) {
    size_t moved = atomic_load_explicit(&c->moved, memory_order_relaxed);
    atomic_store_explicit(&c->moved, moved + n, memory_order_relaxed);
}

enum step conn_refuse(struct conn *c, enum conn_end end, const char *why) {
    int expected = END_PEER;
    (void) atomic_compare_exchange_strong(&c->end, &expected, (int) end);
    LOG(&c->server->log, 'I', "NETWORK", 22988, "conn",
        "Error receiving request from client. Ending connection from remote", ATTR_T("remote", c->remote),
        ATTR_N("connectionId", (int64_t) c->id), ATTR_T("error", why));
    return STEP_END;
}

/* ---- memory ---- */

bool conn_reserve(struct conn *c, struct bytes *b, size_t cap, enum step *step) {
    struct server *s = c->server;
    if (cap <= b->cap) return true;
    size_t counted = b->cap > IN_LEN ? b->cap : 0, more = cap > IN_LEN ? cap - counted : 0;
    if (more != 0 && !budget_take(&s->budget, &c->share, more)) {
        c->wanted = more;
        *step = STEP_WAIT;
        return false;
    }
    uint8_t *p = realloc(b->p, cap);
    if (p == NULL) {
        budget_give(&s->budget, &c->share, more);
        *step = conn_refuse(c, END_MEMORY, "no memory for a message");
        return false;
    }
    b->p = p;
    b->cap = cap;
    return true;
}

void conn_drop(struct conn *c, struct bytes *b) {
    if (b->cap > IN_LEN) budget_give(&c->server->budget, &c->share, b->cap);
    free(b->p);
    *b = (struct bytes){0};
}

/* C1, the beginning of it. */
static bool lend_buffer(struct conn *c, struct worker *w) {
    if (c->in.p != NULL) {
        if (c->in.cap < IN_LEN) { /* kept short while it was parked */
            uint8_t *p = realloc(c->in.p, IN_LEN);
            if (p == NULL) return false;
            budget_give(&c->server->budget, &c->share, c->in.cap);
            c->in.p = p;
            c->in.cap = IN_LEN;
        }
        return true;
    }
    if (w->in.p == NULL) {
        w->in = (struct bytes){.p = malloc(IN_LEN), .cap = IN_LEN};
        if (w->in.p == NULL) return false;
    }
    c->in = w->in;
    w->in = (struct bytes){0};
    return true;
}

/* C1, the end of it: gives the buffer back, or keeps as much of it as is needed and counts that. */
static void return_buffer(struct conn *c, struct worker *w) {
    struct bytes *in = &c->in;
    size_t len = in->len - in->at;
    if (in->p == NULL) return;
    if (len == 0 && in->cap == IN_LEN && w->in.p == NULL) {
        w->in = (struct bytes){.p = in->p, .cap = in->cap};
        *in = (struct bytes){0};
    } else if (len == 0) {
        conn_drop(c, in);
    } else if (in->cap <= IN_LEN) {
        memmove(in->p, in->p + in->at, len);
        *in = (struct bytes){.p = in->p, .len = len, .cap = in->cap};
        uint8_t *p = realloc(in->p, len);
        if (p != NULL) {
            in->p = p;
            in->cap = len < IN_LEN ? len : IN_LEN;
        }
        if (in->cap < IN_LEN) budget_force(&c->server->budget, &c->share, in->cap);
    }
}

/* ---- bytes ---- */

static enum io read_some(struct conn *c, void *p, size_t len, bool may_wait, size_t *got) {
    if (c->tls != NULL) return tls_read(c->tls, p, len, may_wait, got);
    for (;;) {
        ssize_t n = recv(c->fd, p, len, may_wait ? 0 : MSG_DONTWAIT);
        *got = n > 0 ? (size_t) n : 0;
        if (n > 0) return IO_DONE;
        if (n == 0) return IO_CLOSED;
        if (errno != EINTR) return errno == EAGAIN || errno == EWOULDBLOCK ? IO_WANTS_READ : IO_CLOSED;
    }
}

static enum io write_some(struct conn *c, struct iovec *iov, unsigned count, size_t *taken) {
    if (c->tls != NULL) return tls_write(c->tls, iov, (int) count, taken);
    struct msghdr message = {.msg_iov = iov, .msg_iovlen = count};
    for (;;) {
        ssize_t n = sendmsg(c->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
        *taken = n > 0 ? (size_t) n : 0;
        if (n >= 0) return IO_DONE;
        if (errno != EINTR) return errno == EAGAIN || errno == EWOULDBLOCK ? IO_WANTS_WRITE : IO_CLOSED;
    }
}

/* ---- sending ---- */

/* After a command: is it the others' turn? */
static enum step next_turn(struct conn *c) {
    if (!pool_is_crowded(&c->server->pool)) return STEP_ON;
    bool has_more = c->in.len > c->in.at || (c->tls != NULL && tls_has_pending(c->tls));
    return has_more ? STEP_QUEUE : STEP_READ;
}

static void end_output(struct conn *c, struct worker *w) {
    struct output *out = &c->out;
    out->at = out->count = 0;
    budget_give(&c->server->budget, &c->share, out->counted);
    out->counted = 0;
    if (w != NULL && w->packed.p == NULL && out->owned.cap <= KEEP_LEN) w->packed = out->owned;
    else free(out->owned.p);
    out->owned = (struct bytes){0};
    if (out->is_large) elmo_client_forget(c->client);
    out->is_large = false;
    clear_deadline(c);
}

static size_t output_left(const struct output *out) {
    size_t left = 0;
    for (unsigned i = out->at; i < out->count; i++) left += out->iov[i].iov_len;
    return left;
}

/* The socket takes no more for now: what is left waits, counted, until it does (S3). */
static enum step wait_for_reader(struct conn *c, enum step step) {
    struct output *out = &c->out;
    size_t left = output_left(out);
    if (out->counted == 0) {
        budget_force(&c->server->budget, &c->share, left);
        out->counted = left;
        set_deadline(c, FRAME_MS + left / FRAME_BYTES_PER_MS);
    }
    return step;
}

static enum step send_output(struct conn *c, struct worker *w) {
    struct output *out = &c->out;
    while (out->at < out->count) {
        size_t taken;
        switch (write_some(c, out->iov + out->at, out->count - out->at, &taken)) {
        case IO_DONE: break;
        case IO_WANTS_WRITE: return wait_for_reader(c, STEP_WRITE);
        case IO_WANTS_READ: return wait_for_reader(c, STEP_READ);
        case IO_CLOSED: return STEP_END;
        }
        count_moved(c, taken);
        while (out->at < out->count && taken >= out->iov[out->at].iov_len) taken -= out->iov[out->at++].iov_len;
        if (out->at < out->count) {
            out->iov[out->at].iov_base = (uint8_t *) out->iov[out->at].iov_base + taken;
            out->iov[out->at].iov_len -= taken;
        }
    }
    end_output(c, w);
    return c->is_over ? STEP_END : next_turn(c);
}

/* ---- receiving ---- */

/* A message of MongoDB's begins with its length, and its opcode follows; a ClientHello begins with 22, 3. */
static bool looks_like_tls(const uint8_t *p) {
    struct frame_head head;
    struct frame_fault ignored;
    return p[0] == 0x16 && p[1] == 0x03 && !frame_head_decode(p, &head, &ignored);
}

/* The first bytes tell how the peer wants to talk. */
static enum step get_to_know(struct conn *c) {
    struct server *s = c->server;
    const uint8_t *first = c->in.p + c->in.at;
    c->is_known = true;
    if (!looks_like_tls(first)) {
        if (s->options.tls_mode == TLS_REQUIRE)
            return conn_refuse(c, END_FAULT, "The server is configured to only allow SSL connections");
        return STEP_ON;
    }
    c->tls = tls_stream_new(&s->tls, c->fd, first, FRAME_HEAD_LEN);
    if (c->tls == NULL) return conn_refuse(c, END_MEMORY, "no memory for TLS");
    c->in.at = c->in.len = 0;
    return STEP_ON;
}

static enum step shake_hands(struct conn *c) {
    char why[160];
    if (!has_deadline(c)) set_deadline(c, HANDSHAKE_MS);
    switch (tls_handshake(c->tls, why, sizeof(why))) {
    case IO_DONE: clear_deadline(c); return STEP_ON;
    case IO_WANTS_READ: return STEP_READ;
    case IO_WANTS_WRITE: return STEP_WRITE;
    default: break;
    }
    char text[200];
    (void) snprintf(text, sizeof(text), "SSLHandshakeFailed: %s", why);
    return conn_refuse(c, END_HANDSHAKE, text);
}

/* Room for more of the message at in.at. It grows with what has come, never with what the head says. */
static bool make_room(struct conn *c, enum step *step) {
    struct bytes *in = &c->in;
    size_t len = in->len - in->at, need = c->frame_len != 0 ? c->frame_len : FRAME_HEAD_LEN;
    if (in->len < in->cap && in->at + need <= in->cap) return true;
    if (in->at != 0) {
        memmove(in->p, in->p + in->at, len);
        in->at = 0;
        in->len = len;
    }
    if (in->len < in->cap) return true;
    size_t cap = in->cap < KEEP_LEN ? KEEP_LEN : 2 * in->cap;
    return conn_reserve(c, in, cap < need ? cap : need, step);
}

/* The head of the message at in.at, once it is there; of a TLS handshake at the first there is none. */
static enum step note_frame(struct conn *c) {
    struct frame_head head;
    struct frame_fault fault;
    if (c->frame_len != 0 || c->in.len - c->in.at < FRAME_HEAD_LEN) return STEP_ON;
    if (!c->is_known) {
        enum step step = get_to_know(c);
        if (step != STEP_ON || c->tls != NULL) return step;
    }
    if (!frame_head_decode(c->in.p + c->in.at, &head, &fault)) return conn_refuse(c, END_FAULT, fault.text);
    c->frame_len = head.len;
    return STEP_ON;
}

static enum step receive(struct conn *c) {
    struct bytes *in = &c->in;
    enum step step;
    size_t got, room;
    if (!make_room(c, &step)) return step;
    room = in->cap - in->len;
    if (!c->is_known && room > FRAME_HEAD_LEN - in->len) room = FRAME_HEAD_LEN - in->len; /* the rest is TLS's */
    switch (read_some(c, in->p + in->len, room, !pool_is_crowded(&c->server->pool), &got)) {
    case IO_DONE: break;
    case IO_CLOSED: return STEP_END;
    case IO_WANTS_READ: step = STEP_READ; goto wait;
    case IO_WANTS_WRITE: step = STEP_WRITE; goto wait;
    }
    count_moved(c, got);
    in->len += got;
    return STEP_ON;
wait:
    if (in->len > in->at && !has_deadline(c)) set_deadline(c, FRAME_MS + c->frame_len / FRAME_BYTES_PER_MS);
    return step;
}

static enum step run(struct conn *c, struct worker *w) {
    enum step step = request_run(c, w);
    if (step == STEP_WAIT) return step;
    clear_deadline(c);
    if (step != STEP_ON) return step;
    c->in.at += c->frame_len;
    c->frame_len = 0;
    if (c->in.at == c->in.len) {
        c->in.at = c->in.len = 0;
        if (c->in.cap > IN_LEN) { /* a large message is not kept while its answer is on the way */
            conn_drop(c, &c->in);
            if (!lend_buffer(c, w)) return conn_refuse(c, END_MEMORY, "no memory for a buffer");
        }
    }
    return c->out.count != 0 ? STEP_ON : next_turn(c);
}

static enum step advance(struct conn *c, struct worker *w) {
    if (c->out.count != 0) return send_output(c, w);
    if (atomic_load_explicit(&c->server->is_stopping, memory_order_relaxed)) {
        (void) atomic_exchange(&c->end, END_STOPPED);
        return STEP_END;
    }
    if (c->tls != NULL && !c->tls->is_ready) return shake_hands(c);
    enum step step = note_frame(c);
    if (step != STEP_ON || (c->tls != NULL && !c->tls->is_ready)) return step;
    if (c->frame_len != 0 && c->in.len - c->in.at >= c->frame_len) return run(c, w);
    return receive(c);
}

/* ---- giving it back ---- */

static void end(struct conn *c) {
    static const char *const reasons[] = {"peer", "stopped", "fault", "slow", "memory", "handshake"};
    end_output(c, NULL);
    elmo_client_destroy(c->client);
    c->client = NULL;
    tls_stream_free(c->tls);
    c->tls = NULL;
    conn_drop(c, &c->in);
    budget_give(&c->server->budget, &c->share, c->share.held);
    if (!c->server->log.is_quiet)
        LOG(&c->server->log, 'I', "NETWORK", 22944, "conn", "Connection ended", ATTR_T("remote", c->remote),
            ATTR_N("connectionId", (int64_t) c->id), ATTR_T("reason", reasons[atomic_load(&c->end)]));
    loop_bury(c->server, c);
}

static void park(struct conn *c, uint32_t events) {
    struct epoll_event event = {.events = events | EPOLLONESHOT, .data.ptr = c};
    atomic_store_explicit(&c->parked_held, c->share.held, memory_order_relaxed);
    atomic_store_explicit(&c->is_parked, true, memory_order_release);
    if (epoll_ctl(c->server->parked_fd, EPOLL_CTL_MOD, c->fd, &event) == 0) return; /* no longer ours */
    (void) conn_refuse(c, END_MEMORY, strerror(errno));
    end(c);
}

void conn_serve(struct conn *c, struct worker *w) {
    struct server *s = c->server;
    enum step step = lend_buffer(c, w) ? STEP_ON : conn_refuse(c, END_MEMORY, "no memory for a buffer");
    while (step == STEP_ON) step = advance(c, w);
    return_buffer(c, w);
    switch (step) {
    case STEP_ON:
    case STEP_QUEUE: pool_push(&s->pool, c); break;
    case STEP_READ: park(c, EPOLLIN); break;
    case STEP_WRITE: park(c, EPOLLOUT); break;
    case STEP_WAIT:
        clear_deadline(c);
        if (!budget_wait(&s->budget, &c->share, c->wanted)) pool_push(&s->pool, c);
        break;
    case STEP_END: end(c); break;
    }
}
