/* The table of sessions: finding, entering, ending; see session.h. */
#include "doc/session.h"

#include "base/codes.h"
#include "base/hash.h"
#include "doc/db.h"
#include "doc/session_internal.h"

#define WAIT_SLICE_MS 50 /* of who waits for a session, between two looks at its own limits */
#define RECORDS_EVERY_MS ((uint64_t) 5 * 60 * 1000)
#define IDLE_EVERY_MS ((uint64_t) 10 * 1000)

uint64_t sessions_now_ms(const struct sessions *ss) {
    struct env *env = db_env(ss->db);
    return env->ops->monotonic_ns(env) / 1000000;
}

status sessions_new(struct db *db, struct sessions **out, struct err *err) {
    struct sessions *ss = mem_new(db_mem(db), struct sessions);
    if (ss == NULL) return RAISE(err, ST_NOMEM, "no memory for the table of sessions");
    ss->db = db;
    ss->mem = db_mem(db);
    ss->lifetime_s = TXN_LIFETIME_S;
    status st = mutex_init(&ss->mutex, err);
    if (st == ST_OK) {
        st = cond_init(&ss->left, err);
        if (st != ST_OK) mutex_release(&ss->mutex);
    }
    if (st != ST_OK) {
        mem_delete(ss->mem, ss);
        return st;
    }
    ss->records_at_ms = sessions_now_ms(ss);
    *out = ss;
    return ST_OK;
}

static void free_session(struct session *s) {
    const struct mem *mem = s->table->mem;
    union {
        const uint8_t *p;
        void *free;
    } user = {.p = s->id.user.p}; /* made by new_session */
    mem_free(mem, user.free, s->id.user.len);
    mem_delete(mem, s);
}

void sessions_free(struct sessions *ss) {
    if (ss == NULL) return;
    for (size_t i = 0; i < SESSION_BUCKETS; i++) {
        while (ss->buckets[i] != NULL) {
            struct session *s = ss->buckets[i];
            ss->buckets[i] = s->next;
            if (s->state == TXN_RUNS) session_rollback(s);
            free_session(s);
        }
    }
    cond_release(&ss->left);
    mutex_release(&ss->mutex);
    mem_delete(ss->mem, ss);
}

/* --- finding; all under the mutex --- */

static size_t bucket_of(const uint8_t uuid[16]) { return hash64(uuid, 16, 0) % SESSION_BUCKETS; }

static struct session *look_up(struct sessions *ss, const struct session_id *id) {
    struct session *s = ss->buckets[bucket_of(id->uuid)];
    while (s != NULL && (memcmp(s->id.uuid, id->uuid, 16) != 0 || !slice_equal(s->id.user, id->user))) s = s->next;
    return s;
}

static status new_session(struct sessions *ss, const struct session_id *id, bool is_local, struct session **out,
                          struct err *err) {
    if (ss->count >= SESSIONS_MAX)
        return RAISE_CODE(err, CODE_TooManyLogicalSessions, "cannot add session into the cache: there are %d",
                          SESSIONS_MAX);
    struct session *s = mem_new(ss->mem, struct session);
    uint8_t *user = mem_alloc(ss->mem, id->user.len);
    if (s == NULL || user == NULL) {
        if (s != NULL) mem_delete(ss->mem, s);
        mem_free(ss->mem, user, id->user.len);
        return RAISE(err, ST_NOMEM, "no memory for a session");
    }
    if (id->user.len != 0) memcpy(user, id->user.p, id->user.len);
    *s = (struct session){.table = ss, .ref_count = 1, .is_listed = true, .is_local = is_local, .number = -1};
    s->id = *id;
    s->id.user.p = user;
    s->is_loaded = is_local;
    s->handle = ++ss->last_handle;
    struct session **at = &ss->buckets[bucket_of(id->uuid)], **by = &ss->handles[s->handle % SESSION_BUCKETS];
    s->next = *at;
    *at = s;
    s->handle_next = *by;
    *by = s;
    ss->count++;
    *out = s;
    return ST_OK;
}

static status get(struct sessions *ss, const struct session_id *id, bool make, struct session **out, struct err *err) {
    uint64_t now_ms = sessions_now_ms(ss);
    mutex_lock(&ss->mutex);
    struct session *s = look_up(ss, id);
    status st = s != NULL ? ST_OK : ST_NOT_FOUND;
    if (s == NULL && make) st = new_session(ss, id, false, &s, err);
    if (st == ST_OK) {
        s->ref_count++;
        s->used_at_ms = now_ms;
        *out = s;
    }
    mutex_unlock(&ss->mutex);
    return st;
}

status sessions_get(struct sessions *ss, const struct session_id *id, struct session **out, struct err *err) {
    return get(ss, id, true, out, err);
}

status sessions_find(struct sessions *ss, const struct session_id *id, struct session **out) {
    return get(ss, id, false, out, NULL);
}

bool sessions_has(struct sessions *ss, const struct session_id *id) {
    mutex_lock(&ss->mutex);
    bool has = look_up(ss, id) != NULL;
    mutex_unlock(&ss->mutex);
    return has;
}

status sessions_start(struct sessions *ss, struct session **out, struct err *err) {
    struct env *env = db_env(ss->db);
    struct session_id id = {.user = SLICE_NONE};
    env->ops->random(env, id.uuid, sizeof(id.uuid));
    id.uuid[6] = (uint8_t) ((id.uuid[6] & 0x0f) | 0x40); /* RFC 4122, version 4 */
    id.uuid[8] = (uint8_t) ((id.uuid[8] & 0x3f) | 0x80);
    uint64_t now_ms = sessions_now_ms(ss);
    mutex_lock(&ss->mutex);
    status st = new_session(ss, &id, true, out, err);
    if (st == ST_OK) {
        (*out)->ref_count++;
        (*out)->used_at_ms = now_ms;
    }
    mutex_unlock(&ss->mutex);
    return st;
}

struct session *sessions_by_handle(struct sessions *ss, uint64_t handle) {
    uint64_t now_ms = sessions_now_ms(ss);
    mutex_lock(&ss->mutex);
    struct session *s = ss->handles[handle % SESSION_BUCKETS];
    while (s != NULL && s->handle != handle) s = s->handle_next;
    if (s != NULL) {
        s->ref_count++;
        s->used_at_ms = now_ms;
    }
    mutex_unlock(&ss->mutex);
    return s;
}

static void unref_locked(struct session *s) {
    if (--s->ref_count == 0) free_session(s);
}

struct session *session_ref(struct session *s) {
    mutex_lock(&s->table->mutex);
    s->ref_count++;
    mutex_unlock(&s->table->mutex);
    return s;
}

void session_unref(struct session *s) {
    if (s == NULL) return;
    struct sessions *ss = s->table;
    mutex_lock(&ss->mutex);
    unref_locked(s);
    mutex_unlock(&ss->mutex);
}

bool session_is_ended(struct session *s) {
    mutex_lock(&s->table->mutex);
    bool is_ended = !s->is_listed;
    mutex_unlock(&s->table->mutex);
    return is_ended;
}

size_t sessions_count(struct sessions *ss) {
    mutex_lock(&ss->mutex);
    size_t n = ss->count;
    mutex_unlock(&ss->mutex);
    return n;
}

/* Takes it out of the table, with the table's reference. */
static void unlist(struct session *s) {
    struct sessions *ss = s->table;
    struct session **at = &ss->buckets[bucket_of(s->id.uuid)], **by = &ss->handles[s->handle % SESSION_BUCKETS];
    if (!s->is_listed) return;
    while (*at != s) at = &(*at)->next;
    *at = s->next;
    while (*by != s) by = &(*by)->handle_next;
    *by = s->handle_next;
    s->is_listed = false;
    ss->count--;
    unref_locked(s);
}

/* --- entering --- */

status session_enter(struct session *s, const struct op *op, struct err *err) {
    struct sessions *ss = s->table;
    status st = ST_OK;
    mutex_lock(&ss->mutex);
    while (s->is_busy && (st = op_check(op, err)) == ST_OK) (void) cond_wait_ms(&ss->left, &ss->mutex, WAIT_SLICE_MS);
    if (st == ST_OK) s->is_busy = true;
    mutex_unlock(&ss->mutex);
    return st;
}

/* Under the mutex. */
static bool is_overdue(const struct sessions *ss, const struct session *s, uint64_t now_ms) {
    return s->txn_began_ms != 0 && now_ms - s->txn_began_ms >= (uint64_t) ss->lifetime_s * 1000;
}

void session_leave(struct session *s) {
    struct sessions *ss = s->table;
    uint64_t now_ms = sessions_now_ms(ss);
    mutex_lock(&ss->mutex);
    s->used_at_ms = now_ms;
    if ((s->is_killed || s->is_ending || is_overdue(ss, s, now_ms)) && s->state == TXN_RUNS) {
        mutex_unlock(&ss->mutex);
        session_rollback(s);
        mutex_lock(&ss->mutex);
    }
    s->is_killed = false;
    s->is_busy = false;
    if (s->is_ending) unlist(s);
    cond_broadcast(&ss->left);
    mutex_unlock(&ss->mutex);
}

/* Under the mutex, which it gives up meanwhile (the caller holds a reference, or does not look at s again): aborts what runs, at once when nobody has entered. */
static void kill_locked(struct session *s) {
    struct sessions *ss = s->table;
    if (s->is_busy) {
        s->is_killed = true;
        return;
    }
    if (s->state != TXN_RUNS) return;
    s->is_busy = true;
    s->ref_count++;
    mutex_unlock(&ss->mutex);
    session_rollback(s);
    mutex_lock(&ss->mutex);
    s->is_killed = false;
    s->is_busy = false;
    if (s->is_ending) unlist(s);
    unref_locked(s);
    cond_broadcast(&ss->left);
}

void session_kill_txn(struct session *s) {
    mutex_lock(&s->table->mutex);
    kill_locked(s);
    mutex_unlock(&s->table->mutex);
}

void session_end(struct session *s) {
    struct sessions *ss = s->table;
    mutex_lock(&ss->mutex);
    s->ref_count++;
    s->is_ending = true;
    kill_locked(s);
    if (!s->is_busy) unlist(s);
    unref_locked(s);
    mutex_unlock(&ss->mutex);
}

status sessions_each(struct sessions *ss, void (*visit)(void *ctx, struct session *s), void *ctx, struct err *err) {
    size_t n = 0, count = sessions_count(ss) + 16;
    struct session **all = mem_alloc(ss->mem, count * sizeof(struct session *));
    if (all == NULL) return RAISE(err, ST_NOMEM, "no memory to look at %zu sessions", count);
    mutex_lock(&ss->mutex);
    for (size_t i = 0; i < SESSION_BUCKETS; i++) {
        for (struct session *s = ss->buckets[i]; s != NULL && n < count; s = s->next) {
            s->ref_count++;
            all[n++] = s;
        }
    }
    mutex_unlock(&ss->mutex);
    for (size_t i = 0; i < n; i++) {
        visit(ctx, all[i]);
        session_unref(all[i]);
    }
    mem_free(ss->mem, all, count * sizeof(struct session *));
    return ST_OK;
}

/* --- upkeep --- */

/* Under the mutex: one session that must be done with, or NULL. */
static struct session *next_due(struct sessions *ss, size_t *bucket, bool also_idle, uint64_t now_ms) {
    for (; *bucket < SESSION_BUCKETS; ++*bucket) {
        for (struct session *s = ss->buckets[*bucket]; s != NULL; s = s->next) {
            if (s->is_busy) continue; /* who has entered leaves some time, and then there is another sweep */
            if (is_overdue(ss, s, now_ms)) return s;
            if (also_idle && !s->is_local && s->txn_began_ms == 0 && now_ms > s->used_at_ms &&
                now_ms - s->used_at_ms >= SESSION_IDLE_MS)
                return s;
        }
    }
    return NULL;
}

bool sessions_sweep(struct sessions *ss) {
    uint64_t now_ms = sessions_now_ms(ss);
    uint64_t last = atomic_load_explicit(&ss->swept_at_ms, memory_order_relaxed);
    if (now_ms - last < 1000 || !atomic_compare_exchange_strong(&ss->swept_at_ms, &last, now_ms)) return false;
    size_t bucket = 0;
    struct session *s;
    mutex_lock(&ss->mutex);
    bool also_idle = now_ms - ss->idle_at_ms >= IDLE_EVERY_MS;
    if (also_idle) ss->idle_at_ms = now_ms;
    while ((ss->stat.active != 0 || also_idle) && (s = next_due(ss, &bucket, also_idle, now_ms)) != NULL) {
        if (s->txn_began_ms != 0) kill_locked(s);
        else unlist(s);
    }
    bool records = now_ms - ss->records_at_ms >= RECORDS_EVERY_MS;
    if (records) ss->records_at_ms = now_ms;
    mutex_unlock(&ss->mutex);
    return records;
}

void sessions_set_lifetime(struct sessions *ss, uint32_t seconds) {
    mutex_lock(&ss->mutex);
    ss->lifetime_s = seconds;
    mutex_unlock(&ss->mutex);
}

uint32_t sessions_lifetime(struct sessions *ss) {
    mutex_lock(&ss->mutex);
    uint32_t seconds = ss->lifetime_s;
    mutex_unlock(&ss->mutex);
    return seconds;
}

void sessions_stat(struct sessions *ss, struct sessions_stat *out) {
    mutex_lock(&ss->mutex);
    *out = ss->stat;
    mutex_unlock(&ss->mutex);
}
