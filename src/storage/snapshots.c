/* The registry of snapshots; see snapshots.h for the invariant N1 that all orders here serve.
 *
 * A slot holds 0 when free, else sequence + 1. Blocks of slots form a list that only grows, newest first. A thread begins its search at a slot
 * chosen by the address of its stack, so that threads mostly stay out of each other's cache lines. */
#include "storage/snapshots.h"

#include <assert.h>
#include <stdlib.h>

#define SLOTS_PER_BLOCK 64
#define CACHE_LINE 64

struct slot {
    _Alignas(CACHE_LINE) _Atomic uint64_t seq1; /* sequence + 1, 0: free */
};

struct block {
    struct slot slots[SLOTS_PER_BLOCK];
    struct block *older;
    void *memory; /* as allocated: the block is aligned within */
};

#define BLOCK_MEMORY_LEN (sizeof(struct block) + CACHE_LINE)

struct snapshots {
    const struct mem *mem;
    _Atomic uint64_t published;
    struct block *_Atomic blocks;
};

static struct block *block_new(const struct mem *mem) {
    void *memory = mem_zalloc(mem, BLOCK_MEMORY_LEN);
    if (memory == NULL) return NULL;
    struct block *b = (struct block *) (((uintptr_t) memory + CACHE_LINE - 1) & ~(uintptr_t) (CACHE_LINE - 1));
    b->memory = memory;
    return b;
}

status snapshots_new(const struct mem *mem, uint64_t published, struct snapshots **out, struct err *err) {
    struct snapshots *s = mem_new(mem, struct snapshots);
    struct block *b = s != NULL ? block_new(mem) : NULL;
    if (b == NULL) {
        if (s != NULL) mem_delete(mem, s);
        return RAISE(err, ST_NOMEM, "snapshots");
    }
    s->mem = mem;
    atomic_init(&s->published, published);
    atomic_init(&s->blocks, b);
    *out = s;
    return ST_OK;
}

void snapshots_free(struct snapshots *s) {
    if (s == NULL) return;
    assert(snapshots_count(s) == 0);
    for (struct block *b = atomic_load(&s->blocks), *older; b != NULL; b = older) {
        older = b->older;
        mem_free(s->mem, b->memory, BLOCK_MEMORY_LEN);
    }
    mem_delete(s->mem, s);
}

void snapshots_publish(struct snapshots *s, uint64_t seq) {
    assert(seq >= atomic_load_explicit(&s->published, memory_order_relaxed));
    atomic_store(&s->published, seq);
}

uint64_t snapshots_published(const struct snapshots *s) { return atomic_load(&s->published); }

/* Takes a free slot and stores seq in it; NULL when all are taken. */
static _Atomic uint64_t *take_slot(struct block *b, uint64_t seq) {
    char here;
    unsigned start = (unsigned) (((uintptr_t) &here >> 12) * 0x9e3779b97f4a7c15u >> 58);
    for (; b != NULL; b = b->older) {
        for (unsigned i = 0; i < SLOTS_PER_BLOCK; i++) {
            _Atomic uint64_t *slot = &b->slots[(start + i) % SLOTS_PER_BLOCK].seq1;
            uint64_t is_free = 0;
            if (atomic_load_explicit(slot, memory_order_relaxed) == 0 &&
                atomic_compare_exchange_strong(slot, &is_free, seq + 1))
                return slot;
        }
    }
    return NULL;
}

/* Adds a block whose first slot is taken with seq. */
static _Atomic uint64_t *grow(struct snapshots *s, uint64_t seq) {
    struct block *b = block_new(s->mem);
    if (b == NULL) return NULL;
    atomic_init(&b->slots[0].seq1, seq + 1);
    b->older = atomic_load(&s->blocks);
    while (!atomic_compare_exchange_weak(&s->blocks, &b->older, b)) continue;
    return &b->slots[0].seq1;
}

status snapshots_acquire(struct snapshots *s, struct snapshot *out, struct err *err) {
    uint64_t seq = atomic_load(&s->published);                        /* (a) */
    _Atomic uint64_t *slot = take_slot(atomic_load(&s->blocks), seq); /* (b) */
    if (slot == NULL) slot = grow(s, seq);
    if (slot == NULL) return RAISE(err, ST_NOMEM, "no memory for one more snapshot");
    for (uint64_t again; (again = atomic_load(&s->published)) != seq; seq = again) { /* (c) */
        assert(again > seq);
        atomic_store(slot, again + 1);
    }
    *out = (struct snapshot){seq, slot};
    return ST_OK;
}

void snapshots_release(struct snapshots *s, struct snapshot *snapshot) {
    (void) s;
    if (snapshot->slot == NULL) return;
    assert(atomic_load_explicit(snapshot->slot, memory_order_relaxed) == snapshot->seq + 1);
    /* Release: what was read under the snapshot was read before a merge that sees the slot free drops it. */
    atomic_store_explicit(snapshot->slot, 0, memory_order_release);
    *snapshot = SNAPSHOT_INIT;
}

uint64_t snapshots_oldest(const struct snapshots *s) {
    uint64_t oldest = atomic_load(&s->published); /* (x) */
    for (const struct block *b = atomic_load(&s->blocks); b != NULL; b = b->older) {
        for (unsigned i = 0; i < SLOTS_PER_BLOCK; i++) { /* (y) */
            uint64_t seq1 = atomic_load(&b->slots[i].seq1);
            if (seq1 != 0 && seq1 - 1 < oldest) oldest = seq1 - 1;
        }
    }
    return oldest;
}

static int compare_seqs(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;
    return (x > y) - (x < y);
}

status snapshots_list(const struct snapshots *s, const struct mem *mem, uint64_t **out, size_t *count,
                      struct err *err) {
    uint64_t published = atomic_load(&s->published); /* (x); a block linked later holds nothing older */
    const struct block *newest = atomic_load(&s->blocks);
    size_t cap = 1, n = 0;
    for (const struct block *b = newest; b != NULL; b = b->older) cap += SLOTS_PER_BLOCK;
    uint64_t *all = mem_alloc(mem, cap * sizeof(*all));
    if (all == NULL) return RAISE(err, ST_NOMEM, "a list of snapshots");
    all[n++] = published;
    for (const struct block *b = newest; b != NULL; b = b->older) {
        for (unsigned i = 0; i < SLOTS_PER_BLOCK; i++) { /* (y) */
            uint64_t seq1 = atomic_load(&b->slots[i].seq1);
            if (seq1 != 0 && seq1 - 1 < published) all[n++] = seq1 - 1;
        }
    }
    qsort(all, n, sizeof(*all), compare_seqs);
    size_t kept = 1;
    for (size_t i = 1; i < n; i++)
        if (all[i] != all[kept - 1]) all[kept++] = all[i];
    uint64_t *shrunk = mem_resize(mem, all, cap * sizeof(*all), kept * sizeof(*all));
    if (shrunk == NULL) {
        mem_free(mem, all, cap * sizeof(*all));
        return RAISE(err, ST_NOMEM, "a list of snapshots");
    }
    *out = shrunk;
    *count = kept;
    return ST_OK;
}

size_t snapshots_count(const struct snapshots *s) {
    size_t n = 0;
    for (const struct block *b = atomic_load(&s->blocks); b != NULL; b = b->older)
        for (unsigned i = 0; i < SLOTS_PER_BLOCK; i++)
            n += atomic_load_explicit(&b->slots[i].seq1, memory_order_relaxed) != 0;
    return n;
}
