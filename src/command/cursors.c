/* The table of waiting cursors and the reply that carries a batch; see cursors.h. */
#include "command/cursors.h"

#include "base/codes.h"
#include "os/thread.h"

#define BUCKET_COUNT 256
#define CODE_CursorInUse 12051

struct cursors {
    struct env *env;
    const struct mem *mem;
    struct mutex mutex;
    struct client_cursor *buckets[BUCKET_COUNT];
    size_t count;
    uint64_t swept_at_ms;
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
    c->find = find;
    c->rows_left = -1;
    buf_init(&c->rows, cs->mem);
    buf_init(&c->held, cs->mem);
    *out = c;
    return ST_OK;
}

void client_cursor_free(struct cursors *cs, struct client_cursor *c) {
    if (c == NULL) return;
    if (c->find != NULL) find_close(c->find);
    buf_release(&c->rows);
    buf_release(&c->held);
    union {
        const uint8_t *p;
        void *free;
    } names = {.p = c->ns.db.p}; /* client_cursor_new allocated it */
    mem_free(cs->mem, names.free, ns_len(c->ns));
    mem_delete(cs->mem, c);
}

status client_cursor_next(struct op *op, struct client_cursor *c, struct bdoc *doc, struct err *err) {
    if (c->has_held) {
        c->has_held = false;
        *doc = bdoc_of(c->held.p);
        return ST_OK;
    }
    if (c->find != NULL) return find_next(op, c->find, doc, err);
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

/* Under the mutex: unlinks cursors that have idled too long, as a list. */
static struct client_cursor *unlink_idle(struct cursors *cs, uint64_t now_ms) {
    struct client_cursor *old = NULL;
    if (now_ms - cs->swept_at_ms < CURSOR_IDLE_MS / 10) return NULL;
    cs->swept_at_ms = now_ms;
    for (size_t i = 0; i < BUCKET_COUNT; i++) {
        for (struct client_cursor **at = &cs->buckets[i]; *at != NULL;) {
            struct client_cursor *c = *at;
            if (c->is_busy || c->no_timeout || now_ms - c->used_at_ms < CURSOR_IDLE_MS) {
                at = &c->next;
                continue;
            }
            *at = c->next;
            cs->count--;
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

int64_t cursors_put(struct cursors *cs, struct client_cursor *c) {
    if (c->find != NULL) find_rest(c->find);
    uint64_t now_ms = cs->env->ops->monotonic_ns(cs->env) / 1000000;
    mutex_lock(&cs->mutex);
    c->used_at_ms = now_ms;
    if (c->id == 0) {
        /* Random ids, as MongoDB's: a stale id from an earlier run finds nothing. */
        do {
            cs->env->ops->random(cs->env, &c->id, sizeof(c->id));
            c->id &= INT64_MAX;
        } while (c->id == 0 || *find_slot(cs, c->id) != NULL);
        struct client_cursor **at = &cs->buckets[(uint64_t) c->id % BUCKET_COUNT];
        c->next = *at;
        *at = c;
        cs->count++;
    }
    c->is_busy = false;
    int64_t id = c->id;
    struct client_cursor *gone = NULL;
    if (c->is_killed) {
        *find_slot(cs, c->id) = c->next;
        cs->count--;
        gone = c;
        gone->next = NULL;
        id = 0;
    }
    struct client_cursor *old = unlink_idle(cs, now_ms);
    mutex_unlock(&cs->mutex);
    free_list(cs, gone);
    free_list(cs, old);
    return id;
}

status cursors_take(struct cursors *cs, int64_t id, struct ns ns, struct client_cursor **out, struct err *err) {
    status st = ST_OK;
    mutex_lock(&cs->mutex);
    struct client_cursor *c = *find_slot(cs, id);
    if (c == NULL || c->is_killed) {
        st = RAISE_CODE(err, CODE_CursorNotFound, "cursor id %lld not found", (long long) id);
    } else if (c->is_busy) {
        st = RAISE_CODE(err, CODE_CursorInUse, "cursor id %lld is already in use", (long long) id);
    } else if (!slice_equal(c->ns.db, ns.db) || !slice_equal(c->ns.coll, ns.coll)) {
        st = RAISE_CODE(
            err, CODE_Unauthorized,
            "Requested getMore on namespace '%.*s.%.*s', but cursor belongs to a different namespace %.*s.%.*s",
            (int) ns.db.len, (const char *) ns.db.p, (int) ns.coll.len, (const char *) ns.coll.p, (int) c->ns.db.len,
            (const char *) c->ns.db.p, (int) c->ns.coll.len, (const char *) c->ns.coll.p);
    } else {
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
        *find_slot(cs, c->id) = c->next;
        cs->count--;
        mutex_unlock(&cs->mutex);
    }
    client_cursor_free(cs, c);
}

bool cursors_kill(struct cursors *cs, int64_t id) {
    struct client_cursor *gone = NULL;
    bool existed = false;
    mutex_lock(&cs->mutex);
    struct client_cursor **at = find_slot(cs, id);
    if (*at != NULL && !(*at)->is_killed) {
        existed = true;
        (*at)->is_killed = true;
        if (!(*at)->is_busy) {
            gone = *at;
            *at = gone->next;
            gone->next = NULL;
            cs->count--;
        }
    }
    mutex_unlock(&cs->mutex);
    free_list(cs, gone);
    return existed;
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
    if (st == ST_OK && more && !single_batch) {
        id = cursors_put(cs, c);
    } else {
        remove_cursor(cs, c);
    }
    bbuild_int64(&cursor, "id", id);
    bbuild_str(&cursor, "ns", text);
    bbuild_close(&cursor);
    return st;
}
