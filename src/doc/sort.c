/* Sorting index entries: see sort.h.
 *
 * In memory an entry is a record in the arena and an item in an array: its record and the first eight bytes of its key after the prefix that all share
 * (the collection's), as a number, so that most comparisons touch only the array. Items are sorted by a stable bottom-up merge between two halves. */
#include "doc/sort.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/endian.h"
#include "base/varint.h"

#define RUNS_MAX 4096
#define INSERTION_LEN 16

/* The key's bytes follow, then the value's. */
struct record {
    uint32_t key_len, value_len, tail;
};

struct item {
    uint64_t head;
    const struct record *record;
};

/* A run being merged. */
struct source {
    struct kv_cursor *cursor;
    struct slice key; /* without the run's prefix */
};

struct entry_sort {
    const struct mem *mem;
    size_t memory_max, skip; /* skip: bytes of the shared prefix */
    struct kv_txn *snapshot;
    struct buf run_prefix, key, value;
    struct arena arena;
    struct item *items;
    size_t item_count, item_cap, at;
    uint64_t count;
    uint32_t run_count;
    struct source *sources; /* a heap by key once finished */
    uint32_t source_count;  /* still with entries */
    bool is_started;
};

static const uint8_t *record_bytes(const struct record *r) { return (const uint8_t *) (r + 1); }
static struct slice record_key(const struct record *r) { return slice_of(record_bytes(r), r->key_len); }
static struct slice record_value(const struct record *r) {
    return slice_of(record_bytes(r) + r->key_len, r->value_len);
}

status entry_sort_new(const struct mem *mem, size_t memory_max, struct kv_txn *snapshot, struct slice run_prefix,
                      struct entry_sort **out, struct err *err) {
    struct entry_sort *s = mem_new(mem, struct entry_sort);
    if (s == NULL) return RAISE(err, ST_NOMEM, "sorting index entries");
    s->mem = mem;
    s->memory_max = memory_max;
    s->snapshot = snapshot;
    s->skip = run_prefix.len != 0 ? 1u + run_prefix.p[0] : 0; /* the collection's id */
    arena_init(&s->arena, mem);
    buf_init(&s->run_prefix, mem);
    buf_init(&s->key, mem);
    buf_init(&s->value, mem);
    if (!buf_append_slice(&s->run_prefix, run_prefix)) {
        entry_sort_free(s);
        return RAISE(err, ST_NOMEM, "sorting index entries");
    }
    *out = s;
    return ST_OK;
}

void entry_sort_free(struct entry_sort *s) {
    if (s == NULL) return;
    for (uint32_t i = 0; s->sources != NULL && i < s->run_count; i++) kv_cursor_close(s->sources[i].cursor);
    mem_free(s->mem, s->sources, s->run_count * sizeof(*s->sources));
    mem_free(s->mem, s->items, s->item_cap * sizeof(*s->items));
    buf_release(&s->value);
    buf_release(&s->key);
    buf_release(&s->run_prefix);
    arena_release(&s->arena);
    mem_delete(s->mem, s);
}

uint64_t entry_sort_count(const struct entry_sort *s) { return s->count; }

/* --- sorting in memory --- */

static uint64_t head_of(struct slice key, size_t skip) {
    uint8_t room[8] = {0};
    if (key.len >= skip + 8) return get_be64(key.p + skip);
    if (key.len > skip) memcpy(room, key.p + skip, key.len - skip);
    return get_be64(room);
}

static bool is_less(const struct item *a, const struct item *b) {
    if (a->head != b->head) return a->head < b->head;
    return slice_compare(record_key(a->record), record_key(b->record)) < 0;
}

static void sort_short(struct item *items, size_t n) {
    for (size_t i = 1; i < n; i++) {
        struct item it = items[i];
        size_t k = i;
        for (; k > 0 && is_less(&it, &items[k - 1]); k--) items[k] = items[k - 1];
        items[k] = it;
    }
}

static void merge(const struct item *a, size_t a_count, const struct item *b, size_t b_count, struct item *out) {
    while (a_count != 0 && b_count != 0) {
        if (is_less(b, a)) *out++ = *b++, b_count--;
        else *out++ = *a++, a_count--;
    }
    memcpy(out, a, a_count * sizeof(*a));
    memcpy(out + a_count, b, b_count * sizeof(*b));
}

static status sort_items(struct entry_sort *s, struct err *err) {
    size_t n = s->item_count;
    for (size_t i = 0; i < n; i += INSERTION_LEN)
        sort_short(s->items + i, n - i < INSERTION_LEN ? n - i : INSERTION_LEN);
    if (n <= INSERTION_LEN) return ST_OK;
    struct item *other = mem_alloc(s->mem, n * sizeof(*other)), *from = s->items, *to = other;
    if (other == NULL) return RAISE(err, ST_NOMEM, "sorting index entries");
    for (size_t width = INSERTION_LEN; width < n; width *= 2) {
        for (size_t i = 0; i < n; i += 2 * width) {
            size_t a = n - i < width ? n - i : width, b = n - i - a < width ? n - i - a : width;
            merge(from + i, a, from + i + a, b, to + i);
        }
        struct item *done = to;
        to = from;
        from = done;
    }
    if (from != s->items) memcpy(s->items, from, n * sizeof(*from));
    mem_free(s->mem, other, n * sizeof(*other));
    return ST_OK;
}

/* --- runs --- */

static void start_run_key(struct entry_sort *s, uint32_t run) {
    uint8_t room[ORDERED_LEN_MAX];
    buf_clear(&s->key);
    buf_append_slice(&s->key, buf_slice(&s->run_prefix));
    buf_append(&s->key, room, ordered_put(room, run));
}

static status spill_item(struct entry_sort *s, struct kv_bulk *bulk, const struct record *r, struct err *err) {
    start_run_key(s, s->run_count);
    buf_append_slice(&s->key, record_key(r));
    buf_clear(&s->value);
    buf_append_varint(&s->value, r->tail);
    buf_append_slice(&s->value, record_value(r));
    if (s->key.failed || s->value.failed) return RAISE(err, ST_NOMEM, "sorting index entries");
    return kv_bulk_put(bulk, buf_slice(&s->key), buf_slice(&s->value), err);
}

/* Sorts what is in memory and loads it as the next run. */
static status spill(struct entry_sort *s, struct err *err) {
    struct kv_bulk *bulk = NULL;
    if (s->run_count == RUNS_MAX)
        return RAISE(err, ST_TOO_LARGE, "too many runs in the sort of an index build: more memory is needed");
    TRY(sort_items(s, err));
    TRY(kv_bulk_begin(s->snapshot, &bulk, err));
    for (size_t i = 0; i < s->item_count; i++) {
        status st = spill_item(s, bulk, s->items[i].record, err);
        if (st == ST_OK) continue;
        kv_bulk_abort(bulk);
        return st;
    }
    TRY(kv_bulk_commit(bulk, err));
    s->run_count++;
    s->item_count = 0;
    arena_reset(&s->arena);
    return ST_OK;
}

status entry_sort_add(struct entry_sort *s, struct slice prefix, struct slice key, struct slice tail,
                      struct slice value, struct err *err) {
    size_t key_len = prefix.len + key.len + tail.len;
    if (key_len > KV_KEY_LEN_MAX || value.len > KV_VALUE_LEN_MAX)
        return RAISE(err, ST_TOO_LARGE, "index entry too large");
    size_t len = sizeof(struct record) + key_len + value.len;
    if (s->item_count != 0 && s->arena.used + len + 2 * s->item_cap * sizeof(struct item) > s->memory_max)
        TRY(spill(s, err));
    struct record *r = arena_alloc(&s->arena, len);
    void *items = s->items;
    if (r == NULL || !mem_grow(s->mem, &items, &s->item_cap, s->item_count + 1, sizeof(*s->items)))
        return RAISE(err, ST_NOMEM, "sorting index entries");
    s->items = items;
    *r = (struct record){(uint32_t) key_len, (uint32_t) value.len, (uint32_t) tail.len};
    uint8_t *p = (uint8_t *) (r + 1);
    memcpy(p, prefix.p, prefix.len);
    if (key.len != 0) memcpy(p + prefix.len, key.p, key.len);
    if (tail.len != 0) memcpy(p + prefix.len + key.len, tail.p, tail.len);
    if (value.len != 0) memcpy(p + key_len, value.p, value.len);
    s->items[s->item_count++] = (struct item){head_of(record_key(r), s->skip), r};
    s->count++;
    return ST_OK;
}

/* --- merging runs --- */

static status take_key(struct entry_sort *s, struct source *src, struct err *err) {
    struct slice key = kv_cursor_key(src->cursor);
    size_t prefix = s->run_prefix.len, id = prefix < key.len ? 1u + key.p[prefix] : 0;
    if (id == 0 || key.len < prefix + id) return RAISE(err, ST_CORRUPT, "a run of an index build is damaged");
    src->key = slice_of(key.p + prefix + id, key.len - prefix - id);
    return ST_OK;
}

static void sift_down(struct entry_sort *s, uint32_t i) {
    struct source *h = s->sources, moved = h[i];
    for (;;) {
        uint32_t child = 2 * i + 1;
        if (child >= s->source_count) break;
        if (child + 1 < s->source_count && slice_compare(h[child + 1].key, h[child].key) < 0) child++;
        if (slice_compare(h[child].key, moved.key) >= 0) break;
        h[i] = h[child];
        i = child;
    }
    h[i] = moved;
}

static status open_source(struct entry_sort *s, uint32_t run, struct err *err) {
    struct source *src = &s->sources[s->source_count];
    struct buf hi;
    buf_init(&hi, s->mem);
    start_run_key(s, run + 1);
    buf_append_slice(&hi, buf_slice(&s->key));
    start_run_key(s, run);
    struct kv_bounds bounds = {buf_slice(&s->key), buf_slice(&hi)};
    status st = s->key.failed || hi.failed ? RAISE(err, ST_NOMEM, "sorting index entries")
                                           : kv_cursor_open(s->snapshot, &bounds, &src->cursor, err);
    if (st == ST_OK) {
        s->source_count++;
        st = kv_first(src->cursor, err);
    }
    if (st == ST_END) st = RAISE(err, ST_CORRUPT, "a run of an index build is missing");
    if (st == ST_OK) st = take_key(s, src, err);
    buf_release(&hi);
    return st;
}

status entry_sort_finish(struct entry_sort *s, struct err *err) {
    if (s->run_count == 0) return sort_items(s, err);
    if (s->item_count != 0) TRY(spill(s, err));
    arena_release(&s->arena);
    s->sources = mem_zalloc(s->mem, s->run_count * sizeof(*s->sources));
    if (s->sources == NULL) return RAISE(err, ST_NOMEM, "sorting index entries");
    for (uint32_t i = 0; i < s->run_count; i++) TRY(open_source(s, i, err));
    for (uint32_t i = s->source_count / 2; i-- > 0;) sift_down(s, i);
    return ST_OK;
}

/* Moves the run whose entry was given on. */
static status advance(struct entry_sort *s, struct err *err) {
    struct source *top = &s->sources[0];
    status st = kv_next(top->cursor, err);
    if (st == ST_OK) st = take_key(s, top, err);
    if (st == ST_END) {
        struct source done = *top; /* keeps its cursor, behind the heap, for entry_sort_free */
        *top = s->sources[--s->source_count];
        s->sources[s->source_count] = done;
        st = ST_OK;
    }
    if (st == ST_OK && s->source_count != 0) sift_down(s, 0);
    return st;
}

static status next_merged(struct entry_sort *s, struct sort_entry *out, struct err *err) {
    struct slice value;
    uint64_t tail;
    if (s->is_started) TRY(advance(s, err));
    s->is_started = true;
    if (s->source_count == 0) return ST_END;
    TRY(kv_cursor_value(s->sources[0].cursor, &value, err));
    size_t n = varint_get(value.p, value.p + value.len, &tail);
    if (n == 0 || tail > s->sources[0].key.len) return RAISE(err, ST_CORRUPT, "a run of an index build is damaged");
    *out = (struct sort_entry){s->sources[0].key, slice_of(value.p + n, value.len - n), (uint32_t) tail};
    return ST_OK;
}

status entry_sort_next(struct entry_sort *s, struct sort_entry *out, struct err *err) {
    if (s->sources != NULL) return next_merged(s, out, err);
    if (s->at == s->item_count) return ST_END;
    const struct record *r = s->items[s->at++].record;
    *out = (struct sort_entry){record_key(r), record_value(r), r->tail};
    return ST_OK;
}
