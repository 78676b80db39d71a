/* A skip list (Pugh 1990; concurrent readers as in LevelDB's) whose nodes hold header, links, key and value in one piece of arena.
 *
 *   node   head: first 8 key bytes, big-endian, zero padded | seq | lengths, kind, height | link[height] | key | value
 *   link   next node | its head
 *
 * The head decides most comparisons without touching the key, and the copy beside the link without touching the node: a search in a large table waits
 * for memory and for little else. Half of the nodes rise a level; with the heads at hand that touches fewer nodes than a quarter
 * (500,000 random keys: get 1.4 us, against 2.0 us with one in four and no heads in the links).
 *
 * Fingers: keys of one table or index ascend or cluster while those of several alternate, so the last place of an insert is remembered
 * apart for each of a few groups of keys (by their first 4 bytes). A key that belongs right after its group's last one is
 * linked there without a search.
 *
 *   M1  A node is complete before the release store that links it; links are only ever set from a node to a newer one in between.
 *       So a reader that follows acquire loads sees whole nodes, and misses at most what is being inserted.
 *   M2  finger->prev[l] stands at or before finger->prev[0] in order, for every level l: nodes are never moved or removed, so a
 *       level's true predecessor is found by walking forward from there.
 *   M3  `reserved` bytes of the current room belong to inserts that were reserved: taller nodes than they need take only what is over.
 *   M4  The fragments are replaced as a whole under the mutex; whoever took a reference keeps the old ones.
 *   M5  A link's head is stored after its node and loaded before it, and links only ever turn to lesser nodes: so the head that a reader loads is never
 *       less than that of the node it would load. When it is greater than the sought one the reader goes down a level; a node that it
 *       passes by that way was being linked, and is linked below already.
 *   M6  A key's bits are in the filter before its node is linked. Whoever reads a sequence that the writer published afterwards sees them.
 */
#include "storage/memtable.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/chance.h"
#include "base/endian.h"
#include "os/thread.h"
#include "storage/segment.h"

#define HEIGHT_MAX 22 /* 2^22 = 4 million entries before the top level grows long */
#define FINGER_BITS 3
#define CHUNK_MIN ((size_t) 16 * 1024)
#define CHUNK_MAX ((size_t) 1024 * 1024)

struct node {
    uint64_t head;
    uint64_t seq;
    uint32_t key_len : 26, height : 6; /* 16 MiB + 16 KiB fits */
    uint32_t value_len : 26, kind : 6;
    struct link {
        struct node *_Atomic node; /* NULL: the last */
        _Atomic uint64_t head;     /* of node, UINT64_MAX when NULL (M5) */
    } next[];                      /* then key, then value */
};

struct finger {
    struct node *prev[HEIGHT_MAX];
};

struct chunk {
    struct chunk *next;
    size_t len;
};

struct room {
    char *at, *end;
};

static inline size_t room_len(const struct room *r) { return (size_t) (r->end - r->at); }

struct memtable {
    const struct mem *mem;
    _Atomic uint32_t refs;
    _Atomic uint32_t height; /* of the tallest node */
    struct node *top;        /* before the first node; HEIGHT_MAX links */
    /* the writer's: */
    struct room room, spare;
    size_t reserved; /* M3 */
    struct chunk *chunks;
    size_t chunk_len;
    struct chance chance;
    struct finger fingers[1 << FINGER_BITS];
    struct fragments *staged;
    bool is_staged;
    uint64_t staged_min, staged_max;
    /* read by anyone: */
    _Atomic uint64_t entry_count, min_seq, max_seq;
    _Atomic size_t used;
    _Atomic size_t range_count;
    _Atomic uint64_t *filter; /* M6; lines of 64 bytes */
    size_t filter_lines;      /* a power of two */
    size_t filter_len;        /* as allocated */
    struct mutex mutex;       /* of fragments */
    struct fragments *fragments;
};

/* --- memory --- */

/* Makes at least `need` bytes of one chunk the room that is filled next. A piece that is large for a chunk gets one of exactly its size; what is left
 * of the chunk before is kept as the spare room and used up later. */
static status make_room(struct memtable *m, size_t need, struct err *err) {
    struct room old = m->room;
    if (room_len(&old) >= need) return ST_OK;
    if (room_len(&m->spare) >= need) {
        m->room = m->spare;
        m->spare = old;
        return ST_OK;
    }
    if (need > SIZE_MAX / 2) return RAISE(err, ST_NOMEM, "a memtable entry of %zu bytes", need);
    size_t len = need > m->chunk_len / 4 ? sizeof(struct chunk) + need : m->chunk_len;
    struct chunk *c = mem_alloc(m->mem, len);
    if (c == NULL) return RAISE(err, ST_NOMEM, "no memory for %zu bytes of memtable", len);
    *c = (struct chunk){m->chunks, len};
    m->chunks = c;
    m->room = (struct room){(char *) (c + 1), (char *) c + len};
    if (room_len(&old) > room_len(&m->spare)) m->spare = old;
    if (m->chunk_len < CHUNK_MAX) m->chunk_len *= 2;
    (void) atomic_fetch_add_explicit(&m->used, len, memory_order_relaxed);
    return ST_OK;
}

static size_t node_len(size_t key_len, size_t value_len, unsigned height) {
    return (sizeof(struct node) + height * sizeof(struct link) + key_len + value_len + 7) & ~(size_t) 7;
}

/* What memtable_reserve counts for an entry beside its bytes: the lowest node, the rounding, and the links of those that rise:
 * one for each on average, and an eighth to spare. */
#define ENTRY_OVERHEAD (sizeof(struct node) + sizeof(struct link) + 7 + sizeof(struct link) * 9 / 8)

status memtable_reserve(struct memtable *m, size_t entry_count, size_t bytes, struct err *err) {
    size_t need;
    if (__builtin_mul_overflow(entry_count, ENTRY_OVERHEAD, &need) || __builtin_add_overflow(need, bytes, &need))
        return RAISE(err, ST_NOMEM, "a batch of %zu entries", entry_count);
    TRY(make_room(m, need, err));
    m->reserved = need;
    return ST_OK;
}

/* Room for a node; *height is lowered when only a reservation is left to take it from. */
static status node_alloc(struct memtable *m, size_t key_len, size_t value_len, unsigned *height, struct node **out,
                         struct err *err) {
    size_t counted = ENTRY_OVERHEAD + key_len + value_len;
    size_t room = room_len(&m->room);
    if (counted <= m->reserved) {
        m->reserved -= counted;
        assert(room >= node_len(key_len, value_len, 1) + m->reserved); /* M3 */
        while (*height > 1 && node_len(key_len, value_len, *height) > room - m->reserved) --*height;
    } else {
        TRY(make_room(m, m->reserved + node_len(key_len, value_len, *height), err));
    }
    *out = (struct node *) (void *) m->room.at;
    m->room.at += node_len(key_len, value_len, *height);
    return ST_OK;
}

/* --- nodes in order --- */

static inline uint64_t head_of(struct slice key) {
    if (key.len >= 8) return get_be64(key.p);
    uint8_t head[8] = {0};
    if (key.len != 0) memcpy(head, key.p, key.len);
    return get_be64(head);
}

static inline size_t bytes_at(unsigned height) { return sizeof(struct node) + height * sizeof(struct link); }

static inline struct slice node_key(const struct node *n) {
    return slice_of((const uint8_t *) n + bytes_at(n->height), n->key_len);
}

static inline struct slice node_value(const struct node *n) {
    return slice_of((const uint8_t *) n + bytes_at(n->height) + n->key_len, n->value_len);
}

static inline struct entry node_entry(const struct node *n) {
    return (struct entry){node_key(n), node_value(n), n->seq, (uint8_t) n->kind};
}

static inline struct node *next_of(const struct node *n, unsigned level) {
    return atomic_load_explicit(&n->next[level].node, memory_order_acquire);
}

struct place {
    struct slice key;
    uint64_t head, seq;
};

static inline struct place place_of(struct slice key, uint64_t seq) { return (struct place){key, head_of(key), seq}; }

/* Like entry_compare(node, place). */
static inline int node_compare(const struct node *n, const struct place *p) {
    if (n->head != p->head) return n->head < p->head ? -1 : 1;
    struct slice a = node_key(n), b = p->key;
    size_t common = a.len < b.len ? a.len : b.len;
    int c = common > 8 ? memcmp(a.p + 8, b.p + 8, common - 8) : 0;
    if (c == 0) c = (a.len > b.len) - (a.len < b.len);
    return c != 0 ? c : (n->seq < p->seq) - (n->seq > p->seq);
}

/* The first node >= p, NULL when none; prev, when given, gets the last node < p of every level in use. */
static struct node *find_ge(const struct memtable *m, const struct place *p, struct node **prev) {
    struct node *n = m->top, *not_less = NULL;
    for (unsigned level = atomic_load_explicit(&m->height, memory_order_relaxed); level-- > 0;) {
        for (;;) {
            /* M5: most steps down are decided here, without touching the next node. */
            if (level != 0 && atomic_load_explicit(&n->next[level].head, memory_order_acquire) > p->head) break;
            struct node *next = next_of(n, level);
            if (next == NULL || next == not_less || node_compare(next, p) >= 0) {
                not_less = next;
                break;
            }
            n = next;
        }
        if (prev != NULL) prev[level] = n;
    }
    return not_less;
}

/* The last node < p; m->top when none. */
static struct node *find_lt(const struct memtable *m, const struct place *p) {
    struct node *prev[HEIGHT_MAX];
    (void) find_ge(m, p, prev);
    return prev[0];
}

static struct node *find_last(const struct memtable *m) {
    struct node *n = m->top;
    for (unsigned level = atomic_load_explicit(&m->height, memory_order_relaxed); level-- > 0;)
        for (struct node *next; (next = next_of(n, level)) != NULL;) n = next;
    return n;
}

/* --- life --- */

/* --- the filter: Bloom bits of a key in one line of 64 bytes (as storage/filter.h, 4 probes) --- */

#define FILTER_WORDS 8u /* of a line */
#define FILTER_PROBES 4

static status filter_new(struct memtable *m, size_t want, struct err *err) {
    size_t lines = 1;
    while (lines * 2 * 64 <= want) lines *= 2;
    m->filter_len = lines * 64;
    m->filter = mem_zalloc(m->mem, m->filter_len);
    if (m->filter == NULL) return RAISE(err, ST_NOMEM, "no memory for a memtable's filter of %zu bytes", m->filter_len);
    m->filter_lines = lines;
    (void) atomic_fetch_add_explicit(&m->used, m->filter_len, memory_order_relaxed);
    return ST_OK;
}

static inline _Atomic uint64_t *filter_line_of(const struct memtable *m, uint64_t hash) {
    return m->filter + (hash & (m->filter_lines - 1)) * FILTER_WORDS;
}

static void filter_add(struct memtable *m, struct slice key) {
    uint64_t hash = segment_filter_hash(key);
    _Atomic uint64_t *line = filter_line_of(m, hash);
    for (unsigned i = 0; i < FILTER_PROBES; i++) {
        unsigned bit = (unsigned) (hash >> (28 + 9 * i)) & 511;
        uint64_t word = atomic_load_explicit(&line[bit >> 6], memory_order_relaxed),
                 with = word | (uint64_t) 1 << (bit & 63);
        if (with != word) atomic_store_explicit(&line[bit >> 6], with, memory_order_relaxed);
    }
}

bool memtable_may_contain(const struct memtable *m, uint64_t hash) {
    const _Atomic uint64_t *line = filter_line_of(m, hash);
    for (unsigned i = 0; i < FILTER_PROBES; i++) {
        unsigned bit = (unsigned) (hash >> (28 + 9 * i)) & 511;
        if ((atomic_load_explicit(&line[bit >> 6], memory_order_relaxed) >> (bit & 63) & 1) == 0) return false;
    }
    return true;
}

size_t memtable_range_count(const struct memtable *m) {
    return atomic_load_explicit(&m->range_count, memory_order_acquire);
}

void memtable_prefetch(const struct memtable *m, uint64_t hash) { __builtin_prefetch(filter_line_of(m, hash)); }

status memtable_new(const struct mem *mem, size_t filter_len, struct memtable **out, struct err *err) {
    struct memtable *m = mem_new(mem, struct memtable);
    if (m == NULL) return RAISE(err, ST_NOMEM, "memtable");
    m->mem = mem;
    m->chunk_len = CHUNK_MIN;
    atomic_init(&m->refs, 1);
    atomic_init(&m->height, 1);
    atomic_init(&m->min_seq, SEQ_MAX);
    atomic_init(&m->used, sizeof(*m));
    chance_init(&m->chance, 0x6d656d7461626c65u);
    status st = mutex_init(&m->mutex, err);
    if (st != ST_OK) goto fail;
    st = filter_new(m, filter_len, err);
    if (st == ST_OK) st = make_room(m, node_len(0, 0, HEIGHT_MAX), err);
    if (st != ST_OK) {
        mutex_release(&m->mutex);
        goto fail;
    }
    m->top = (struct node *) (void *) m->room.at;
    m->room.at += node_len(0, 0, HEIGHT_MAX);
    memset(m->top, 0, node_len(0, 0, HEIGHT_MAX));
    for (unsigned l = 0; l < HEIGHT_MAX; l++) atomic_init(&m->top->next[l].head, UINT64_MAX);
    for (unsigned i = 0; i < 1u << FINGER_BITS; i++)
        for (unsigned l = 0; l < HEIGHT_MAX; l++) m->fingers[i].prev[l] = m->top;
    *out = m;
    return ST_OK;
fail:
    mem_free(mem, m->filter, m->filter_len);
    mem_delete(mem, m);
    return st;
}

struct memtable *memtable_ref(struct memtable *m) {
    (void) atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);
    return m;
}

void memtable_unref(struct memtable *m) {
    if (m == NULL) return;
    uint32_t refs = atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel);
    assert(refs != 0);
    if (refs != 1) return;
    fragments_unref(m->fragments);
    fragments_unref(m->staged);
    mutex_release(&m->mutex);
    for (struct chunk *c = m->chunks, *next; c != NULL; c = next) {
        next = c->next;
        mem_free(m->mem, c, c->len);
    }
    mem_free(m->mem, m->filter, m->filter_len);
    mem_delete(m->mem, m);
}

/* --- writing --- */

static unsigned draw_height(struct memtable *m) {
    uint64_t r = chance_next(&m->chance) | (uint64_t) 1 << 62;
    unsigned height = 1 + (unsigned) __builtin_ctzll(r);
    return height < HEIGHT_MAX ? height : HEIGHT_MAX;
}

/* Sets f->prev[l] to the last node < p for every level below `height` (and some above). */
static void finger_find(struct memtable *m, struct finger *f, const struct place *p, unsigned height) {
    struct node *n = f->prev[0];
    if (n != m->top && node_compare(n, p) < 0) {
        struct node *next = next_of(n, 0);
        if (next == NULL || node_compare(next, p) >= 0) {
            for (unsigned l = 1; l < height; l++) { /* M2 */
                n = f->prev[l];
                while ((next = next_of(n, l)) != NULL && node_compare(next, p) < 0) n = next;
                f->prev[l] = n;
            }
            return;
        }
    }
    (void) find_ge(m, p, f->prev);
}

static void count_in(struct memtable *m, uint64_t min, uint64_t max) {
    if (min < atomic_load_explicit(&m->min_seq, memory_order_relaxed))
        atomic_store_explicit(&m->min_seq, min, memory_order_relaxed);
    if (max > atomic_load_explicit(&m->max_seq, memory_order_relaxed))
        atomic_store_explicit(&m->max_seq, max, memory_order_relaxed);
}

status memtable_insert(struct memtable *m, const struct entry *e, struct err *err) {
    assert(e->key.len < 1u << 26 && e->value.len < 1u << 26);
    unsigned height = draw_height(m);
    struct node *n;
    TRY(node_alloc(m, e->key.len, e->value.len, &height, &n, err));
    struct place p = place_of(e->key, e->seq);
    struct finger *f = &m->fingers[(uint32_t) (p.head >> 32) * 0x9e3779b1u >> (32 - FINGER_BITS)];
    finger_find(m, f, &p, height);

    n->head = p.head;
    n->seq = e->seq;
    n->key_len = (uint32_t) e->key.len & ((1u << 26) - 1);
    n->value_len = (uint32_t) e->value.len & ((1u << 26) - 1);
    n->height = height & 63;
    n->kind = e->kind & 63;
    uint8_t *bytes = (uint8_t *) n + bytes_at(height);
    if (e->key.len != 0) memcpy(bytes, e->key.p, e->key.len);
    if (e->value.len != 0) memcpy(bytes + e->key.len, e->value.p, e->value.len);
    if (height > atomic_load_explicit(&m->height, memory_order_relaxed))
        atomic_store_explicit(&m->height, height,
                              memory_order_relaxed); /* a reader that sees it early finds top's empty links */
    for (unsigned l = 0; l < height; l++) {
        struct node *prev = f->prev[l];
        struct node *next = atomic_load_explicit(&prev->next[l].node, memory_order_relaxed);
        assert(next == NULL || node_compare(next, &p) > 0);
        atomic_init(&n->next[l].node, next);
        atomic_init(&n->next[l].head, atomic_load_explicit(&prev->next[l].head, memory_order_relaxed));
    }
    filter_add(m, e->key); /* M6 */
    for (unsigned l = 0; l < height; l++) {
        atomic_store_explicit(&f->prev[l]->next[l].node, n, memory_order_release); /* M1 */
        atomic_store_explicit(&f->prev[l]->next[l].head, n->head, memory_order_release);
        f->prev[l] = n;
    }
    count_in(m, e->seq, e->seq);
    (void) atomic_fetch_add_explicit(&m->entry_count, 1, memory_order_relaxed);
    return ST_OK;
}

/* --- range deletes --- */

status memtable_stage_ranges(struct memtable *m, const struct range_delete *ranges, size_t n, struct err *err) {
    assert(!m->is_staged);
    m->staged = NULL;
    if (n != 0) {
        const struct fragments *old = m->fragments; /* the writer's own to read without the mutex */
        size_t total = n;
        for (size_t i = 0; i < fragments_count(old); i++) total += fragments_at(old, i)->seq_count;
        struct range_delete *all = total <= SIZE_MAX / sizeof(*all) ? mem_alloc(m->mem, total * sizeof(*all)) : NULL;
        if (all == NULL) return RAISE(err, ST_NOMEM, "no memory for %zu range deletes", total);
        memcpy(all, ranges, n * sizeof(*all));
        size_t at = n;
        for (size_t i = 0; i < fragments_count(old); i++) {
            const struct fragment *g = fragments_at(old, i);
            for (uint32_t j = 0; j < g->seq_count; j++) all[at++] = (struct range_delete){g->lo, g->hi, g->seqs[j]};
        }
        status st = fragments_new(m->mem, all, total, &m->staged, err);
        mem_free(m->mem, all, total * sizeof(*all));
        if (st != ST_OK) return st;
    }
    m->staged_min = SEQ_MAX;
    m->staged_max = 0;
    for (size_t i = 0; i < n; i++) {
        if (ranges[i].seq < m->staged_min) m->staged_min = ranges[i].seq;
        if (ranges[i].seq > m->staged_max) m->staged_max = ranges[i].seq;
    }
    m->is_staged = true;
    return ST_OK;
}

void memtable_install_ranges(struct memtable *m) {
    assert(m->is_staged);
    m->is_staged = false;
    if (m->staged == NULL) return;
    count_in(m, m->staged_min, m->staged_max);
    (void) atomic_fetch_add_explicit(&m->used, fragments_used(m->staged) - fragments_used(m->fragments),
                                     memory_order_relaxed);
    mutex_lock(&m->mutex);
    struct fragments *old = m->fragments;
    m->fragments = m->staged; /* M4 */
    mutex_unlock(&m->mutex);
    atomic_store_explicit(&m->range_count, fragments_seq_count(m->staged), memory_order_release);
    m->staged = NULL;
    fragments_unref(old);
}

void memtable_unstage_ranges(struct memtable *m) {
    fragments_unref(m->staged);
    m->staged = NULL;
    m->is_staged = false;
}

status memtable_delete_range(struct memtable *m, struct slice lo, struct slice hi, uint64_t seq, struct err *err) {
    TRY(memtable_stage_ranges(m, &(struct range_delete){lo, hi, seq}, 1, err));
    memtable_install_ranges(m);
    return ST_OK;
}

struct fragments *memtable_range_deletes(struct memtable *m) {
    if (memtable_range_count(m) == 0) return NULL;
    mutex_lock(&m->mutex);
    struct fragments *f = fragments_ref(m->fragments);
    mutex_unlock(&m->mutex);
    return f;
}

/* --- reading --- */

status memtable_get(struct memtable *m, struct slice key, uint64_t snapshot, struct entry *out) {
    struct place p = place_of(key, snapshot);
    const struct node *n = find_ge(m, &p, NULL);
    if (n == NULL || n->head != p.head || !slice_equal(node_key(n), key)) return ST_NOT_FOUND;
    *out = node_entry(n);
    return ST_OK;
}

uint64_t memtable_newest(struct memtable *m, struct slice key) {
    struct entry e;
    return memtable_get(m, key, SEQ_MAX, &e) == ST_OK ? e.seq : 0;
}

uint64_t memtable_newest_in(struct memtable *m, struct slice lo, struct slice hi) {
    struct place from = place_of(lo, SEQ_MAX), to = place_of(hi, SEQ_MAX);
    uint64_t max = 0;
    for (const struct node *n = find_ge(m, &from, NULL); n != NULL; n = next_of(n, 0)) {
        if (hi.len != 0 && node_compare(n, &to) >= 0) break;
        if (n->seq > max) max = n->seq;
    }
    return max;
}

uint64_t memtable_estimate(struct memtable *m, struct slice lo, struct slice hi) {
    struct place from = place_of(lo, SEQ_MAX), to = place_of(hi, SEQ_MAX);
    struct node *prev[HEIGHT_MAX];
    unsigned level = atomic_load_explicit(&m->height, memory_order_relaxed);
    for (unsigned l = 0; l < HEIGHT_MAX; l++) prev[l] = m->top;
    (void) find_ge(m, &from, prev);
    /* From the top down to the first level that has enough nodes in the range to stand for 4^level entries each. */
    for (;;) {
        level--;
        uint64_t count = 0;
        for (const struct node *n = next_of(prev[level], level); n != NULL; n = next_of(n, level)) {
            if (hi.len != 0 && node_compare(n, &to) >= 0) break;
            count++;
        }
        if (level == 0) return count;
        if (count >= 32) return count << level;
    }
}

uint64_t memtable_entry_count(const struct memtable *m) {
    return atomic_load_explicit(&m->entry_count, memory_order_relaxed);
}
size_t memtable_used(const struct memtable *m) { return atomic_load_explicit(&m->used, memory_order_relaxed); }
uint64_t memtable_min_seq(const struct memtable *m) { return atomic_load_explicit(&m->min_seq, memory_order_relaxed); }
uint64_t memtable_max_seq(const struct memtable *m) { return atomic_load_explicit(&m->max_seq, memory_order_relaxed); }

/* --- cursor --- */

struct memtable_source {
    struct source source;
    struct memtable *m;
    struct node *n; /* NULL: stands nowhere */
};

static struct memtable_source *self(struct source *s) { return (struct memtable_source *) (void *) s; }

static status stand_on(struct memtable_source *c, struct node *n) {
    c->n = n != c->m->top ? n : NULL;
    if (c->n == NULL) return ST_END;
    c->source.at = node_entry(n);
    return ST_OK;
}

static status source_seek_ge(struct source *s, struct slice key, uint64_t seq, struct err *err) {
    (void) err;
    struct place p = place_of(key, seq);
    return stand_on(self(s), find_ge(self(s)->m, &p, NULL));
}

static status source_seek_le(struct source *s, struct slice key, uint64_t seq, struct err *err) {
    (void) err;
    struct place p = place_of(key, seq);
    struct node *prev[HEIGHT_MAX];
    struct node *n = find_ge(self(s)->m, &p, prev);
    return stand_on(self(s), n != NULL && node_compare(n, &p) == 0 ? n : prev[0]);
}

static status source_first(struct source *s, struct err *err) {
    (void) err;
    return stand_on(self(s), next_of(self(s)->m->top, 0));
}

static status source_last(struct source *s, struct err *err) {
    (void) err;
    return stand_on(self(s), find_last(self(s)->m));
}

static status source_next(struct source *s, struct err *err) {
    (void) err;
    assert(self(s)->n != NULL);
    return stand_on(self(s), next_of(self(s)->n, 0));
}

static status source_prev(struct source *s, struct err *err) {
    (void) err;
    assert(self(s)->n != NULL);
    struct place p = place_of(node_key(self(s)->n), self(s)->n->seq);
    return stand_on(self(s), find_lt(self(s)->m, &p));
}

/* What is inserted meanwhile is newer than any snapshot: it comes before the versions of its key that are seen here. */
static void source_pass(struct source *s, struct slice limit, uint64_t snapshot, uint64_t max, uint64_t *passed) {
    struct memtable_source *c = self(s);
    struct place end = place_of(limit, SEQ_MAX);
    struct node *n = c->n;
    *passed = 0;
    while (*passed < max) {
        if (n->seq > snapshot || (n->kind != ENTRY_PUT && n->kind != ENTRY_LARGE)) break;
        if (limit.len != 0 && node_compare(n, &end) >= 0) break;
        struct node *next = next_of(n, 0);
        if (next == NULL || (next->head == n->head && slice_equal(node_key(next), node_key(n)))) break;
        n = next;
        ++*passed;
    }
    if (*passed > 0) (void) stand_on(c, n);
}

static void source_rest(struct source *s) { self(s)->n = NULL; }

static void source_close(struct source *s) {
    struct memtable *m = self(s)->m;
    mem_delete(m->mem, self(s));
    memtable_unref(m);
}

static const struct source_ops memtable_source_ops = {
    .seek_ge = source_seek_ge,
    .seek_le = source_seek_le,
    .first = source_first,
    .last = source_last,
    .next = source_next,
    .prev = source_prev,
    .pass = source_pass,
    .rest = source_rest,
    .close = source_close,
};

status memtable_cursor(struct memtable *m, struct source **out, struct err *err) {
    struct memtable_source *c = mem_new(m->mem, struct memtable_source);
    if (c == NULL) return RAISE(err, ST_NOMEM, "memtable cursor");
    c->source.ops = &memtable_source_ops;
    c->m = memtable_ref(m);
    *out = &c->source;
    return ST_OK;
}
