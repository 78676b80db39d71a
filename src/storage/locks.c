/* Locks by name: a sharded hash table of lock objects, each with counts of its holders and a list of nobody: owners know what they hold.
 *
 * An owner's holds are few (the collections that its transaction writes), so a request looks through them first, without any mutex. A lock that
 * nobody holds stays in its table for the next transaction, up to IDLE_MAX per shard.
 *
 * Waiters sleep on their shard's condition and look again when a lock with waiters is released; DDL is rare, so a herd is small.
 */
#include "storage/locks.h"

#include <assert.h>

#include "base/hash.h"
#include "os/env.h"
#include "os/thread.h"

#define SHARD_COUNT 16
#define IDLE_MAX 64
#define BUCKETS_MIN 16

struct lock {
    struct lock *next; /* in its bucket */
    uint64_t hash;
    uint32_t shared;            /* owners that hold it shared */
    uint32_t waiting;           /* requests of any kind, asleep */
    uint32_t waiting_exclusive; /* of them, exclusive ones (L2) */
    bool is_exclusive;          /* one owner holds it exclusive */
    bool is_raising;            /* a shared holder waits to be the only one (L3) */
    uint32_t name_len;
    uint8_t name[];
};

struct shard {
    _Alignas(64) struct mutex mutex;
    struct cond released;
    struct lock **buckets;
    size_t bucket_count, lock_count, idle_count;
};

struct locks {
    const struct mem *mem;
    struct env *env;
    void *memory; /* as allocated: this struct is aligned within */
    struct shard shards[SHARD_COUNT];
};

#define LOCKS_MEMORY_LEN (sizeof(struct locks) + 64)

static struct shard *shard_of(struct locks *t, uint64_t hash) { return &t->shards[hash >> 60]; }

static bool is_idle(const struct lock *l) { return l->shared == 0 && !l->is_exclusive && l->waiting == 0; }

/* --- the table --- */

static void shard_release(const struct mem *mem, struct shard *s) {
    for (size_t i = 0; i < s->bucket_count; i++) {
        for (struct lock *l = s->buckets[i], *next; l != NULL; l = next) {
            assert(is_idle(l));
            next = l->next;
            mem_free(mem, l, sizeof(*l) + l->name_len);
        }
    }
    mem_free(mem, s->buckets, s->bucket_count * sizeof(struct lock *));
    cond_release(&s->released);
    mutex_release(&s->mutex);
}

static status shard_init(const struct mem *mem, struct shard *s, struct err *err) {
    TRY(mutex_init(&s->mutex, err));
    status st = cond_init(&s->released, err);
    if (st != ST_OK) {
        mutex_release(&s->mutex);
        return st;
    }
    s->buckets = mem_zalloc(mem, BUCKETS_MIN * sizeof(struct lock *));
    if (s->buckets == NULL) {
        cond_release(&s->released);
        mutex_release(&s->mutex);
        return RAISE(err, ST_NOMEM, "lock table");
    }
    s->bucket_count = BUCKETS_MIN;
    return ST_OK;
}

status locks_new(const struct mem *mem, struct env *env, struct locks **out, struct err *err) {
    void *memory = mem_zalloc(mem, LOCKS_MEMORY_LEN);
    if (memory == NULL) return RAISE(err, ST_NOMEM, "lock table");
    struct locks *t = (struct locks *) (((uintptr_t) memory + 63) & ~(uintptr_t) 63);
    t->mem = mem;
    t->env = env;
    t->memory = memory;
    for (unsigned i = 0; i < SHARD_COUNT; i++) {
        status st = shard_init(mem, &t->shards[i], err);
        if (st == ST_OK) continue;
        while (i-- > 0) shard_release(mem, &t->shards[i]);
        mem_free(mem, memory, LOCKS_MEMORY_LEN);
        return st;
    }
    *out = t;
    return ST_OK;
}

void locks_free(struct locks *t) {
    if (t == NULL) return;
    for (unsigned i = 0; i < SHARD_COUNT; i++) shard_release(t->mem, &t->shards[i]);
    mem_free(t->mem, t->memory, LOCKS_MEMORY_LEN);
}

static struct lock **slot_of(struct shard *s, uint64_t hash, struct slice name) {
    struct lock **at = &s->buckets[hash & (s->bucket_count - 1)];
    while (*at != NULL && ((*at)->hash != hash || !slice_equal(slice_of((*at)->name, (*at)->name_len), name)))
        at = &(*at)->next;
    return at;
}

/* Doubles the buckets when they are full; without memory the chains grow instead. */
static void shard_grow(const struct mem *mem, struct shard *s) {
    if (s->lock_count <= s->bucket_count) return;
    size_t n = s->bucket_count * 2;
    struct lock **buckets = mem_zalloc(mem, n * sizeof(struct lock *));
    if (buckets == NULL) return;
    for (size_t i = 0; i < s->bucket_count; i++) {
        for (struct lock *l = s->buckets[i], *next; l != NULL; l = next) {
            next = l->next;
            l->next = buckets[l->hash & (n - 1)];
            buckets[l->hash & (n - 1)] = l;
        }
    }
    mem_free(mem, s->buckets, s->bucket_count * sizeof(struct lock *));
    s->buckets = buckets;
    s->bucket_count = n;
}

/* The lock of that name, made when it is missing. The caller holds or waits for it, or calls lock_rest. NULL without memory. */
static struct lock *lock_find(struct locks *t, struct shard *s, uint64_t hash, struct slice name) {
    struct lock **at = slot_of(s, hash, name);
    if (*at != NULL) {
        if (is_idle(*at)) s->idle_count--;
        return *at;
    }
    struct lock *l = mem_zalloc(t->mem, sizeof(*l) + name.len);
    if (l == NULL) return NULL;
    l->hash = hash;
    l->name_len = (uint32_t) name.len;
    if (name.len != 0) memcpy(l->name, name.p, name.len);
    *at = l;
    s->lock_count++;
    shard_grow(t->mem, s);
    return l;
}

/* After a change that may have left the lock without holders and waiters. */
static void lock_rest(struct locks *t, struct shard *s, struct lock *l) {
    if (!is_idle(l)) return;
    if (s->idle_count < IDLE_MAX) {
        s->idle_count++;
        return;
    }
    struct lock **at = slot_of(s, l->hash, slice_of(l->name, l->name_len));
    assert(*at == l);
    *at = l->next;
    s->lock_count--;
    mem_free(t->mem, l, sizeof(*l) + l->name_len);
}

/* --- holding --- */

static struct lock_hold *hold_find(const struct lock_owner *o, struct slice name) {
    for (struct lock_hold *h = o->holds; h != NULL; h = h->next)
        if (slice_equal(slice_of(h->lock->name, h->lock->name_len), name)) return h;
    return NULL;
}

static struct lock_hold *hold_new(struct locks *t, struct lock_owner *o) {
    if (o->inline_count < LOCK_HOLDS_INLINE) {
        struct lock_hold *h = &o->inline_holds[o->inline_count++];
        *h = (struct lock_hold){.is_inline = true};
        return h;
    }
    return mem_new(t->mem, struct lock_hold);
}

static void hold_free(struct locks *t, struct lock_owner *o, struct lock_hold *h) {
    if (!h->is_inline) mem_delete(t->mem, h);
    else if (h == &o->inline_holds[o->inline_count - 1]) o->inline_count--;
}

/* `held`: the requester's own shared hold counts for nothing. */
static bool may_grant(const struct lock *l, bool is_exclusive, bool is_held) {
    if (l->is_exclusive) return false;
    if (is_exclusive) return l->shared == (is_held ? 1u : 0u);
    return l->waiting_exclusive == 0; /* L2 */
}

/* Under the shard's mutex: waits until it may be granted. False when the time is over. */
static bool wait_for(struct locks *t, struct shard *s, struct lock *l, bool is_exclusive, bool is_held,
                     uint64_t timeout_ms) {
    if (may_grant(l, is_exclusive, is_held)) return true;
    if (timeout_ms == 0 || (is_held && l->is_raising)) return false; /* L3 */
    uint64_t start = t->env->ops->monotonic_ns(t->env);
    bool is_granted = false;
    l->waiting++;
    l->waiting_exclusive += is_exclusive;
    if (is_held) l->is_raising = true;
    for (uint64_t left = timeout_ms; !is_granted;) {
        bool is_signalled = cond_wait_ms(&s->released, &s->mutex, left);
        is_granted = may_grant(l, is_exclusive, is_held);
        uint64_t passed = (t->env->ops->monotonic_ns(t->env) - start) / 1000000;
        if (!is_signalled || passed >= timeout_ms) break;
        left = timeout_ms - passed;
    }
    l->waiting--;
    l->waiting_exclusive -= is_exclusive;
    if (is_held) l->is_raising = false;
    /* Shared requests may have waited only for this one to go away. */
    if (is_exclusive && !is_granted && l->waiting != 0) cond_broadcast(&s->released);
    return is_granted;
}

status locks_acquire(struct locks *t, struct lock_owner *o, struct slice name, bool is_exclusive, uint64_t timeout_ms,
                     struct err *err) {
    struct lock_hold *held = hold_find(o, name);
    if (held != NULL && (held->is_exclusive || !is_exclusive)) return ST_OK; /* L1 */
    uint64_t hash = held != NULL ? held->lock->hash : hash64(name.p, name.len, 0);
    struct shard *s = shard_of(t, hash);
    struct lock_hold *h = held != NULL ? held : hold_new(t, o);
    if (h == NULL) return RAISE(err, ST_NOMEM, "a lock");

    mutex_lock(&s->mutex);
    struct lock *l = held != NULL ? held->lock : lock_find(t, s, hash, name);
    bool is_granted = l != NULL && wait_for(t, s, l, is_exclusive, held != NULL, timeout_ms);
    if (is_granted) {
        l->shared += !is_exclusive;
        if (held != NULL) l->shared--;
        l->is_exclusive = is_exclusive;
    } else if (l != NULL) {
        lock_rest(t, s, l);
    }
    mutex_unlock(&s->mutex);

    if (!is_granted) {
        if (held == NULL) hold_free(t, o, h);
        if (l == NULL) return RAISE(err, ST_NOMEM, "a lock");
        return RAISE(err, ST_BUSY, "another operation holds the %s for more than %llu ms",
                     is_exclusive ? "lock that must be exclusive" : "lock exclusively",
                     (unsigned long long) timeout_ms);
    }
    h->is_exclusive = is_exclusive;
    if (held == NULL) {
        h->lock = l;
        h->next = o->holds;
        o->holds = h;
    }
    return ST_OK;
}

bool locks_held(struct locks *t, const struct lock_owner *o, struct slice name, bool is_exclusive) {
    (void) t;
    const struct lock_hold *h = hold_find(o, name);
    return h != NULL && (h->is_exclusive || !is_exclusive);
}

void locks_release_all(struct locks *t, struct lock_owner *o) {
    for (struct lock_hold *h = o->holds, *next; h != NULL; h = next) {
        next = h->next;
        struct lock *l = h->lock;
        struct shard *s = shard_of(t, l->hash);
        mutex_lock(&s->mutex);
        assert(h->is_exclusive ? l->is_exclusive && l->shared == 0 : l->shared != 0);
        if (h->is_exclusive) l->is_exclusive = false;
        else l->shared--;
        if (l->waiting != 0) cond_broadcast(&s->released);
        lock_rest(t, s, l);
        mutex_unlock(&s->mutex);
        if (!h->is_inline) mem_delete(t->mem, h);
    }
    lock_owner_init(o);
}
