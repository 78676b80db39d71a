/* The table of intents; see intents.h.
 *
 *   shard (by the hash's high bits): mutex, buckets of intents, each intent also in its owner's list
 *   ranges: one list under one mutex, with a count that writers of points look at first
 *
 * Shards double their buckets on their own. An intent carries its hash and its key: one hash serves both.
 */
#include "storage/intents.h"

#include <assert.h>
#include <stdatomic.h>

#include "base/hash.h"
#include "os/thread.h"

#define SHARD_BITS 5
#define BUCKETS_MIN 64

struct intent {
    struct intent *next;       /* in its bucket */
    struct intent *owner_next; /* of its owner */
    struct intent_owner *owner;
    uint64_t hash;
    uint32_t key_len;
    uint8_t kind; /* enum intent_kind */
    uint8_t key[];
};

struct intent_range {
    struct intent_range *next, **link; /* among all ranges */
    struct intent_range *owner_next;
    struct intent_owner *owner;
    struct slice lo, hi;
};

struct shard {
    _Alignas(64) struct mutex mutex;
    struct intent **buckets;
    size_t bucket_count, intent_count;
};

struct intents {
    const struct mem *mem;
    void *memory; /* as allocated: this struct is aligned within */
    _Atomic uint64_t point_count, range_count;
    struct mutex range_mutex;
    struct intent_range *ranges;
    struct shard shards[1 << SHARD_BITS];
};

#define SHARD_COUNT (1u << SHARD_BITS)
#define INTENTS_MEMORY_LEN (sizeof(struct intents) + 64)

/* --- life --- */

static void shards_release(struct intents *t, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        assert(t->shards[i].intent_count == 0);
        mem_free(t->mem, t->shards[i].buckets, t->shards[i].bucket_count * sizeof(struct intent *));
        mutex_release(&t->shards[i].mutex);
    }
}

static status shard_init(const struct mem *mem, struct shard *s, struct err *err) {
    s->buckets = mem_zalloc(mem, BUCKETS_MIN * sizeof(struct intent *));
    if (s->buckets == NULL) return RAISE(err, ST_NOMEM, "intent table");
    s->bucket_count = BUCKETS_MIN;
    status st = mutex_init(&s->mutex, err);
    if (st != ST_OK) mem_free(mem, s->buckets, BUCKETS_MIN * sizeof(struct intent *));
    return st;
}

status intents_new(const struct mem *mem, struct intents **out, struct err *err) {
    void *memory = mem_zalloc(mem, INTENTS_MEMORY_LEN);
    if (memory == NULL) return RAISE(err, ST_NOMEM, "intent table");
    struct intents *t = (struct intents *) (((uintptr_t) memory + 63) & ~(uintptr_t) 63);
    t->mem = mem;
    t->memory = memory;
    status st = mutex_init(&t->range_mutex, err);
    if (st != ST_OK) goto fail;
    for (unsigned i = 0; i < SHARD_COUNT; i++) {
        st = shard_init(mem, &t->shards[i], err);
        if (st == ST_OK) continue;
        shards_release(t, i);
        mutex_release(&t->range_mutex);
        goto fail;
    }
    *out = t;
    return ST_OK;
fail:
    mem_free(mem, memory, INTENTS_MEMORY_LEN);
    return st;
}

void intents_free(struct intents *t) {
    if (t == NULL) return;
    assert(t->ranges == NULL && atomic_load(&t->point_count) == 0);
    shards_release(t, SHARD_COUNT);
    mutex_release(&t->range_mutex);
    mem_free(t->mem, t->memory, INTENTS_MEMORY_LEN);
}

void intent_owner_init(struct intent_owner *o, const struct mem *mem) {
    *o = (struct intent_owner){0};
    arena_init(&o->arena, mem);
}

size_t intent_owner_used(const struct intent_owner *o) { return o->arena.used; }
uint64_t intents_count(const struct intents *t) { return atomic_load_explicit(&t->point_count, memory_order_relaxed); }

static struct shard *shard_of(struct intents *t, uint64_t hash) { return &t->shards[hash >> (64 - SHARD_BITS)]; }

/* Doubles the buckets when they are full; without memory the chains grow instead. */
static void shard_grow(const struct mem *mem, struct shard *s) {
    if (s->intent_count <= s->bucket_count) return;
    size_t n = s->bucket_count * 2;
    struct intent **buckets = mem_zalloc(mem, n * sizeof(struct intent *));
    if (buckets == NULL) return;
    for (size_t i = 0; i < s->bucket_count; i++) {
        for (struct intent *x = s->buckets[i], *next; x != NULL; x = next) {
            next = x->next;
            x->next = buckets[x->hash & (n - 1)];
            buckets[x->hash & (n - 1)] = x;
        }
    }
    mem_free(mem, s->buckets, s->bucket_count * sizeof(struct intent *));
    s->buckets = buckets;
    s->bucket_count = n;
}

/* --- points --- */

static bool ranges_hold(struct intents *t, const struct intent_owner *o, struct slice key) {
    if (atomic_load(&t->range_count) == 0) return false; /* I2 */
    bool is_held = false;
    mutex_lock(&t->range_mutex);
    for (const struct intent_range *r = t->ranges; r != NULL && !is_held; r = r->next)
        is_held = r->owner != o && slice_compare(r->lo, key) <= 0 && slice_compare(key, r->hi) < 0;
    mutex_unlock(&t->range_mutex);
    return is_held;
}

/* Takes x out of its bucket and counts it out. Under the shard's mutex. */
static void unlink_point(struct intents *t, struct shard *s, struct intent *x) {
    struct intent **at = &s->buckets[x->hash & (s->bucket_count - 1)];
    while (*at != x) at = &(*at)->next;
    *at = x->next;
    s->intent_count--;
    (void) atomic_fetch_sub(&t->point_count, 1);
}

enum found { FOUND_NONE, FOUND_MINE, FOUND_CONFLICT };

/* Looks among the intents on the key. *mine is set when there is one of o's. */
static enum found look(const struct shard *s, const struct intent_owner *o, uint64_t hash, struct slice key,
                       enum intent_kind kind, struct intent **mine) {
    enum found found = FOUND_NONE;
    *mine = NULL;
    for (struct intent *x = s->buckets[hash & (s->bucket_count - 1)]; x != NULL; x = x->next) {
        if (x->hash != hash || !slice_equal(slice_of(x->key, x->key_len), key)) continue;
        if (x->owner == o) {
            *mine = x;
            if (x->kind == INTENT_WRITE || kind == INTENT_ADD) return FOUND_MINE; /* I1: nobody else matters */
            if (found == FOUND_NONE) found = FOUND_MINE;
        } else if (x->kind == INTENT_WRITE || kind == INTENT_WRITE) {
            found = FOUND_CONFLICT;
        }
    }
    return found;
}

status intents_acquire(struct intents *t, struct intent_owner *o, struct slice key, enum intent_kind kind,
                       struct err *err) {
    assert(key.len < UINT32_MAX);
    uint64_t hash = hash64(key.p, key.len, 0);
    struct shard *s = shard_of(t, hash);
    struct intent *x;
    mutex_lock(&s->mutex);
    enum found found = look(s, o, hash, key, kind, &x);
    if (found == FOUND_MINE && kind == INTENT_WRITE) x->kind = INTENT_WRITE;
    if (found == FOUND_NONE) {
        struct arena_mark mark = arena_mark(&o->arena);
        x = arena_alloc(&o->arena, offsetof(struct intent, key) + key.len);
        if (x != NULL) {
            *x = (struct intent){.owner = o, .hash = hash, .key_len = (uint32_t) key.len, .kind = (uint8_t) kind};
            if (key.len != 0) memcpy(x->key, key.p, key.len);
            struct intent **bucket = &s->buckets[hash & (s->bucket_count - 1)];
            x->next = *bucket;
            *bucket = x;
            s->intent_count++;
            (void) atomic_fetch_add(&t->point_count, 1); /* I2: before the look at the ranges */
            shard_grow(t->mem, s);
            if (ranges_hold(t, o, key)) {
                unlink_point(t, s, x);
                arena_rewind(&o->arena, mark);
                found = FOUND_CONFLICT;
            }
        }
    }
    mutex_unlock(&s->mutex);
    if (found == FOUND_CONFLICT) return RAISE(err, ST_CONFLICT, "another transaction has a pending write to the key");
    if (found == FOUND_MINE) return ST_OK;
    if (x == NULL) return RAISE(err, ST_NOMEM, "no memory for a write intent");
    x->owner_next = o->intents;
    o->intents = x;
    o->intent_count++;
    return ST_OK;
}

/* --- ranges --- */

/* Whether another owner has a point intent in [lo, hi). */
static bool points_hold(struct intents *t, const struct intent_owner *o, struct slice lo, struct slice hi) {
    if (atomic_load(&t->point_count) == o->intent_count) return false; /* all are its own (I2) */
    bool is_held = false;
    for (unsigned i = 0; i < SHARD_COUNT && !is_held; i++) {
        struct shard *s = &t->shards[i];
        mutex_lock(&s->mutex);
        for (size_t j = 0; s->intent_count != 0 && j < s->bucket_count && !is_held; j++) {
            for (const struct intent *x = s->buckets[j]; x != NULL && !is_held; x = x->next) {
                struct slice key = slice_of(x->key, x->key_len);
                is_held = x->owner != o && slice_compare(lo, key) <= 0 && slice_compare(key, hi) < 0;
            }
        }
        mutex_unlock(&s->mutex);
    }
    return is_held;
}

static void unlink_range(struct intents *t, struct intent_range *r) {
    *r->link = r->next;
    if (r->next != NULL) r->next->link = r->link;
    (void) atomic_fetch_sub(&t->range_count, 1);
}

/* Enters r unless a range of another owner overlaps it. */
static bool link_range(struct intents *t, struct intent_range *r) {
    bool is_free = true;
    mutex_lock(&t->range_mutex);
    for (const struct intent_range *x = t->ranges; x != NULL && is_free; x = x->next)
        is_free = x->owner == r->owner || slice_compare(x->lo, r->hi) >= 0 || slice_compare(r->lo, x->hi) >= 0;
    if (is_free) {
        r->next = t->ranges;
        r->link = &t->ranges;
        if (r->next != NULL) r->next->link = &r->next;
        t->ranges = r;
        (void) atomic_fetch_add(&t->range_count, 1); /* I2: before the look at the points */
    }
    mutex_unlock(&t->range_mutex);
    return is_free;
}

status intents_acquire_range(struct intents *t, struct intent_owner *o, struct slice lo, struct slice hi,
                             struct err *err) {
    if (slice_compare(lo, hi) >= 0) return ST_OK;
    struct arena_mark mark = arena_mark(&o->arena);
    struct intent_range *r = arena_alloc(&o->arena, sizeof(*r));
    uint8_t *lo_bytes = arena_copy(&o->arena, lo.p, lo.len), *hi_bytes = arena_copy(&o->arena, hi.p, hi.len);
    if (r == NULL || lo_bytes == NULL || hi_bytes == NULL) {
        arena_rewind(&o->arena, mark);
        return RAISE(err, ST_NOMEM, "no memory for a write intent");
    }
    *r = (struct intent_range){.owner = o, .lo = slice_of(lo_bytes, lo.len), .hi = slice_of(hi_bytes, hi.len)};
    bool is_free = link_range(t, r);
    if (is_free && points_hold(t, o, lo, hi)) {
        mutex_lock(&t->range_mutex);
        unlink_range(t, r);
        mutex_unlock(&t->range_mutex);
        is_free = false;
    }
    if (!is_free) {
        arena_rewind(&o->arena, mark);
        return RAISE(err, ST_CONFLICT, "another transaction has a pending write in the range");
    }
    r->owner_next = o->ranges;
    o->ranges = r;
    o->range_count++;
    return ST_OK;
}

void intents_release_all(struct intents *t, struct intent_owner *o) {
    for (struct intent *x = o->intents; x != NULL; x = x->owner_next) {
        struct shard *s = shard_of(t, x->hash);
        mutex_lock(&s->mutex);
        unlink_point(t, s, x);
        mutex_unlock(&s->mutex);
    }
    if (o->ranges != NULL) {
        mutex_lock(&t->range_mutex);
        for (struct intent_range *r = o->ranges; r != NULL; r = r->owner_next) unlink_range(t, r);
        mutex_unlock(&t->range_mutex);
    }
    arena_release(&o->arena);
    intent_owner_init(o, o->arena.mem);
}
