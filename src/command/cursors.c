/* The table of waiting cursors and the reply that carries a batch; see cursors.h. */
#include "command/cursors.h"

#include "base/codes.h"
#include "os/thread.h"

#define BUCKET_COUNT 256

struct cursors {
    struct env *env;
    const struct mem *mem;
    struct mutex mutex;
    struct client_cursor *buckets[BUCKET_COUNT];
    size_t count, rows_len;
    uint64_t swept_at_ms;
    struct cursors_stat stat;
};

status cursors_new(struct env *env, const struct mem *mem, struct cursors **out, struct err *err) {
    struct cursors *cs = mem_new(mem, struct cursors);
    if (cs == NULL) return RAISE(err, ST_NOMEM, "no memory for the cursor table");
    cs->env = env;
    cs->mem = mem;
    status st = mutex_init(&cs->mutex, err);
    if (st != ST_OK) {
        mem_delete(mem, cs);
        return st;
    }
    *out = cs;
    return ST_OK;
}

void cursors_free(struct cursors *cs) {
    if (cs == NULL) return;
    for (size_t i = 0; i < BUCKET_COUNT; i++) {
        while (cs->buckets[i] != NULL) {
            struct client_cursor *c = cs->buckets[i];
            cs->buckets[i] = c->next;
            client_cursor_free(cs, c);
        }
    }
    mutex_release(&cs->mutex);
    mem_delete(cs->mem, cs);
}

static size_t ns_len(struct ns ns) { return ns.db.len + ns.coll.len; }

status client_cursor_new(struct cursors *cs, struct ns ns, struct find *find, struct client_cursor **out,
                         struct err *err) {
    struct client_cursor *c = mem_new(cs->mem, struct client_cursor);
    uint8_t *names = mem_alloc(cs->mem, ns_len(ns));
    if (c == NULL || names == NULL) {
        if (c != NULL) mem_delete(cs->mem, c);
        mem_free(cs->mem, names, ns_len(ns));
        return RAISE(err, ST_NOMEM, "no memory for a cursor");
    }
    memcpy(names, ns.db.p, ns.db.len);
    if (ns.coll.len != 0) memcpy(names + ns.db.len, ns.coll.p, ns.coll.len);
    c->ns = (struct ns){slice_of(names, ns.db.len), slice_of(names + ns.db.len, ns.coll.len)};
    c->table = cs;
    c->find = find;
    c->rows_left = -1;
    buf_init(&c->rows, cs->mem);
    buf_init(&c->held, cs->mem);
    *out = c;
    return ST_OK;
}

void client_cursor_free(struct cursors *cs, struct client_cursor *c) {
    if (c == NULL) return;
    session_part(&c->member);
    if (c->find != NULL) find_close(c->find);
    pipeline_close(c->pipeline);
    buf_release(&c->rows);
    buf_release(&c->held);
    union {
        const uint8_t *p;
        void *free;
    } names = {.p = c->ns.db.p}; /* client_cursor_new allocated it */
    mem_free(cs->mem, names.free, ns_len(c->ns));
    names.p = c->user.p;
    mem_free(cs->mem, names.free, c->user.len);
    mem_delete(cs->mem, c);
}

status client_cursor_next(struct op *op, struct client_cursor *c, struct bdoc *doc, struct err *err) {
    if (c->has_held) {
        c->has_held = false;
        *doc = bdoc_of(c->held.p);
        return ST_OK;
    }
    if (c->find != NULL) return find_next(op, c->find, doc, err);
    if (c->pipeline != NULL) return pipeline_next(op, c->pipeline, doc, err);
    if (c->rows_at == c->rows.len) return ST_END;
    *doc = bdoc_of(c->rows.p + c->rows_at);
    c->rows_at += doc->len;
    return ST_OK;
}

status client_cursor_hold(struct client_cursor *c, struct bdoc doc, struct err *err) {
    buf_clear(&c->held);
    if (!buf_append(&c->held, doc.p, doc.len))
        return RAISE(err, ST_NOMEM, "no memory to keep a document for the next batch");
    c->has_held = true;
    return ST_OK;
}

static struct client_cursor **find_slot(struct cursors *cs, int64_t id) {
    struct client_cursor **at = &cs->buckets[(uint64_t) id % BUCKET_COUNT];
    while (*at != NULL && (*at)->id != id) at = &(*at)->next;
    return at;
}

static void uncount(struct cursors *cs, const struct client_cursor *c) {
    cs->count--;
    cs->rows_len -= c->rows_counted;
}

/* Under the mutex. */
static void unlink_cursor(struct cursors *cs, struct client_cursor *c) {
    struct client_cursor **at = find_slot(cs, c->id);
    if (*at != c) return;
    *at = c->next;
    c->next = NULL;
    uncount(cs, c);
}

/* Its transaction ends. Nobody has checked it out: that would need the session. */
static void txn_ended(struct txn_member *m) {
    struct client_cursor *c = (struct client_cursor *) (void *) ((char *) m - offsetof(struct client_cursor, member));
    struct cursors *cs = c->table;
    mutex_lock(&cs->mutex);
    unlink_cursor(cs, c);
    mutex_unlock(&cs->mutex);
    client_cursor_free(cs, c);
}

/* The cursor becomes the session's and the user's of op. */
static status own_cursor(struct cursors *cs, const struct op *op, struct client_cursor *c, struct err *err) {
    if (op->user.len != 0) {
        uint8_t *user = mem_copy(cs->mem, op->user.p, op->user.len);
        if (user == NULL) return RAISE(err, ST_NOMEM, "no memory for a cursor");
        c->user = slice_of(user, op->user.len);
    }
    if (op->session == NULL) return ST_OK;
    c->has_session = true;
    memcpy(c->lsid, op->session->id.uuid, sizeof(c->lsid));
    if (op->session_txn == NULL) return ST_OK;
    c->in_txn = true;
    c->txn_number = op->session->number;
    c->member.ended = txn_ended;
    session_add_member(op->session, &c->member);
    return ST_OK;
}

/* Before it is stored for the first time: is there room, and whose is it? */
static status admit(struct cursors *cs, const struct op *op, struct client_cursor *c, struct err *err) {
    if (c->id != 0) return ST_OK;
    size_t rows_len = c->rows.cap;
    mutex_lock(&cs->mutex);
    bool has_room = cs->count < CURSORS_MAX && cs->rows_len + rows_len <= CURSOR_ROWS_LEN_MAX;
    mutex_unlock(&cs->mutex);
    if (!has_room)
        return RAISE(err, ST_NOMEM, "too many open cursors: at most %d, and %zu bytes of rows, are kept", CURSORS_MAX,
                     CURSOR_ROWS_LEN_MAX);
    c->rows_counted = rows_len;
    return own_cursor(cs, op, c, err);
}

/* Under the mutex: unlinks cursors that have idled too long, as a list. */
static struct client_cursor *unlink_idle(struct cursors *cs, uint64_t now_ms) {
    struct client_cursor *old = NULL;
    if (now_ms - cs->swept_at_ms < CURSOR_IDLE_MS / 10) return NULL;
    cs->swept_at_ms = now_ms;
    for (size_t i = 0; i < BUCKET_COUNT; i++) {
        for (struct client_cursor **at = &cs->buckets[i]; *at != NULL;) {
            struct client_cursor *c = *at;
            if (c->is_busy || c->no_timeout || c->in_txn || now_ms - c->used_at_ms < CURSOR_IDLE_MS) {
                at = &c->next;
                continue;
            }
            *at = c->next;
            uncount(cs, c);
            cs->stat.timed_out++;
            c->next = old;
            old = c;
        }
    }
    return old;
}

static void free_list(struct cursors *cs, struct client_cursor *list) {
    while (list != NULL) {
        struct client_cursor *c = list;
        list = c->next;
        client_cursor_free(cs, c);
    }
}

/* Under the mutex: gives it an id and a place. */
static void insert_cursor(struct cursors *cs, struct client_cursor *c) {
    /* Random ids, as MongoDB's: a stale id from an earlier run finds nothing. */
    do {
        cs->env->ops->random(cs->env, &c->id, sizeof(c->id));
        c->id &= INT64_MAX;
    } while (c->id == 0 || *find_slot(cs, c->id) != NULL);
    struct client_cursor **at = &cs->buckets[(uint64_t) c->id % BUCKET_COUNT];
    c->next = *at;
    *at = c;
    cs->count++;
    cs->rows_len += c->rows_counted;
    cs->stat.opened++;
}

int64_t cursors_put(struct cursors *cs, struct client_cursor *c) {
    if (c->find != NULL) find_rest(c->find);
    if (c->pipeline != NULL) pipeline_rest(c->pipeline);
    uint64_t now_ms = cs->env->ops->monotonic_ns(cs->env) / 1000000;
    mutex_lock(&cs->mutex);
    c->used_at_ms = now_ms;
    if (c->id == 0) insert_cursor(cs, c);
    c->is_busy = false;
    int64_t id = c->id;
    struct client_cursor *gone = NULL;
    if (c->is_killed) {
        unlink_cursor(cs, c);
        gone = c;
        id = 0;
    }
    struct client_cursor *old = unlink_idle(cs, now_ms);
    mutex_unlock(&cs->mutex);
    free_list(cs, gone);
    free_list(cs, old);
    return id;
}

/* May this op go on with it? MongoDB's codes. */
static status check_owner(const struct client_cursor *c, const struct op *op, struct err *err) {
    const struct session *s = op->session;
    long long id = (long long) c->id;
    if (!slice_equal(c->user, op->user) && op->user.len != 0)
        return RAISE_CODE(err, CODE_Unauthorized, "cursor id %lld was not created by the authenticated user", id);
    if (s != NULL && !c->has_session)
        return RAISE_CODE(err, 50736,
                          "Cannot run getMore on cursor %lld, which was not created in a session, in a session", id);
    if (s == NULL && c->has_session)
        return RAISE_CODE(err, 50737, "Cannot run getMore on cursor %lld, which was created in a session, without an lsid",
                          id);
    if (s != NULL && memcmp(s->id.uuid, c->lsid, sizeof(c->lsid)) != 0)
        return RAISE_CODE(err, 50738, "Cannot run getMore on cursor %lld, which was created in another session", id);
    if (op->session_txn != NULL && !c->in_txn)
        return RAISE_CODE(err, 50739,
                          "Cannot run getMore on cursor %lld, which was not created in a transaction, in transaction %lld",
                          id, (long long) s->number);
    if (op->session_txn == NULL && c->in_txn)
        return RAISE_CODE(err, 50740,
                          "Cannot run getMore on cursor %lld, which was created in transaction %lld, without a txnNumber",
                          id, (long long) c->txn_number);
    if (c->in_txn && s->number != c->txn_number)
        return RAISE_CODE(err, 50741,
                          "Cannot run getMore on cursor %lld, which was created in transaction %lld, in transaction %lld",
                          id, (long long) c->txn_number, (long long) s->number);
    return ST_OK;
}

static status check_ns(const struct client_cursor *c, struct ns ns, struct err *err) {
    if (slice_equal(c->ns.db, ns.db) && slice_equal(c->ns.coll, ns.coll)) return ST_OK;
    return RAISE_CODE(
        err, CODE_Unauthorized,
        "Requested getMore on namespace '%.*s.%.*s', but cursor belongs to a different namespace %.*s.%.*s",
        (int) ns.db.len, (const char *) ns.db.p, (int) ns.coll.len, (const char *) ns.coll.p, (int) c->ns.db.len,
        (const char *) c->ns.db.p, (int) c->ns.coll.len, (const char *) c->ns.coll.p);
}

status cursors_take(struct cursors *cs, const struct op *op, int64_t id, struct ns ns, struct client_cursor **out,
                    struct err *err) {
    status st = ST_OK;
    mutex_lock(&cs->mutex);
    struct client_cursor *c = *find_slot(cs, id);
    if (c == NULL || c->is_killed) {
        st = RAISE_CODE(err, CODE_CursorNotFound, "cursor id %lld not found", (long long) id);
    } else if (c->is_busy) {
        st = RAISE_CODE(err, CODE_CursorInUse, "cursor id %lld is already in use", (long long) id);
    } else {
        st = check_ns(c, ns, err);
        if (st == ST_OK) st = check_owner(c, op, err);
    }
    if (st == ST_OK) {
        c->is_busy = true;
        *out = c;
    }
    mutex_unlock(&cs->mutex);
    return st;
}

/* Takes a busy cursor out of the table and frees it. */
static void remove_cursor(struct cursors *cs, struct client_cursor *c) {
    if (c->id != 0) {
        mutex_lock(&cs->mutex);
        unlink_cursor(cs, c);
        mutex_unlock(&cs->mutex);
    }
    client_cursor_free(cs, c);
}

/* Under the mutex: marks it. Answers it, unlinked, when it can be freed now. */
static struct client_cursor *kill_locked(struct cursors *cs, struct client_cursor *c) {
    c->is_killed = true;
    if (c->is_busy || c->in_txn) return NULL;
    unlink_cursor(cs, c);
    return c;
}

bool cursors_kill(struct cursors *cs, struct slice user, int64_t id) {
    struct client_cursor *gone = NULL;
    mutex_lock(&cs->mutex);
    struct client_cursor *c = *find_slot(cs, id);
    bool existed = c != NULL && !c->is_killed && (user.len == 0 || slice_equal(user, c->user));
    if (existed) gone = kill_locked(cs, c);
    mutex_unlock(&cs->mutex);
    free_list(cs, gone);
    return existed;
}

void cursors_kill_session(struct cursors *cs, const struct session_id *id) {
    struct client_cursor *gone = NULL;
    mutex_lock(&cs->mutex);
    for (size_t i = 0; cs->count != 0 && i < BUCKET_COUNT; i++) {
        for (struct client_cursor *c = cs->buckets[i], *next; c != NULL; c = next) {
            next = c->next;
            if (!c->has_session || memcmp(c->lsid, id->uuid, 16) != 0 || !slice_equal(c->user, id->user)) continue;
            struct client_cursor *one = kill_locked(cs, c);
            if (one == NULL) continue;
            one->next = gone;
            gone = one;
        }
    }
    mutex_unlock(&cs->mutex);
    free_list(cs, gone);
}

void cursors_stat(struct cursors *cs, struct cursors_stat *out) {
    mutex_lock(&cs->mutex);
    *out = cs->stat;
    for (size_t i = 0; i < BUCKET_COUNT; i++) {
        for (const struct client_cursor *c = cs->buckets[i]; c != NULL; c = c->next) {
            out->open++;
            out->no_timeout += c->no_timeout;
            out->in_txn += c->in_txn;
        }
    }
    mutex_unlock(&cs->mutex);
}

size_t cursors_count(struct cursors *cs) {
    mutex_lock(&cs->mutex);
    size_t n = cs->count;
    mutex_unlock(&cs->mutex);
    return n;
}

/* Fills the batch array: *more tells that the cursor has not ended. */
static status fill_batch(struct op *op, struct client_cursor *c, int64_t batch_size, struct bbuild *batch, bool *more,
                         struct err *err) {
    size_t start = batch->buf->len;
    *more = true;
    for (int64_t n = 0; batch_size < 0 || n < batch_size; n++) {
        struct bdoc doc;
        status st = client_cursor_next(op, c, &doc, err);
        if (st == ST_END) {
            *more = false;
            return ST_OK;
        }
        TRY(st);
        if (n > 0 && batch->buf->len - start + doc.len + 16 > BSON_LEN_MAX) return client_cursor_hold(c, doc, err);
        bbuild_push(batch, (struct bval){doc.p, doc.len, B_DOCUMENT});
        if (batch->buf->failed) return RAISE(err, ST_NOMEM, "no memory for a batch of documents");
        if (c->rows_left > 0 && --c->rows_left == 0) {
            *more = false;
            return ST_OK;
        }
    }
    return ST_OK;
}

/* Around a batch: the statement's deadline becomes what is left of the cursor's time, and back. */
static void resume_clock(struct cursors *cs, struct op *op, const struct client_cursor *c) {
    if (c->time_left_ns != 0) op->deadline_ns = cs->env->ops->monotonic_ns(cs->env) + c->time_left_ns;
}

static void stop_clock(struct cursors *cs, const struct op *op, struct client_cursor *c) {
    if (op->deadline_ns == 0) return;
    uint64_t now = cs->env->ops->monotonic_ns(cs->env);
    c->time_left_ns = now < op->deadline_ns ? op->deadline_ns - now : 1;
}

status cursor_reply(struct cursors *cs, struct op *op, struct client_cursor *c, const char *batch_name,
                    int64_t batch_size, bool single_batch, struct bbuild *reply, struct err *err) {
    struct bbuild cursor = bbuild_open_doc(reply, SLICE_LIT("cursor"));
    struct bbuild batch = bbuild_open_array(&cursor, slice_str(batch_name));
    bool more = false;
    char text[NS_TEXT_LEN];
    ns_text(c->ns, text);
    resume_clock(cs, op, c);
    status st = fill_batch(op, c, batch_size, &batch, &more, err);
    stop_clock(cs, op, c);
    bbuild_close(&batch);
    int64_t id = 0;
    bool stays = st == ST_OK && more && !single_batch;
    if (stays) st = admit(cs, op, c, err);
    if (stays && st == ST_OK) {
        id = cursors_put(cs, c);
    } else {
        remove_cursor(cs, c);
    }
    bbuild_int64(&cursor, "id", id);
    bbuild_str(&cursor, "ns", text);
    bbuild_close(&cursor);
    return st;
}
