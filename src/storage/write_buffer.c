/* The write buffer: a list of written keys with chains of versions, a list of bounds of deleted ranges, and one history of all changes;
 * see write_buffer.h.
 *
 *   keys     a ------------- c ------------- f              bounds   b (since 2) ---- e (since 0xffffffff: not deleted)
 *            put s3          delete s2       add s1
 *            put s1          put s1
 *
 *   history  put a s3 -> bound e -> bound b -> deleted b..e since 2 -> delete c s2 -> ... (newest first)
 *
 * A key is removed from its list with its last version, a bound with the change that made it. Memory is a stack of chunks; B3 makes
 * undoing a change a rewind of that stack to the change's own address. Values of BIG_LEN and more are allocations of their own.
 */
#include "storage/write_buffer.h"

#include <assert.h>

#include "base/codes.h"
#include "base/endian.h"
#include "storage/write_buffer_list.h"

#define CHUNK_MIN ((size_t) 4 * 1024)
#define CHUNK_MAX ((size_t) 256 * 1024)
#define BIG_LEN ((size_t) 64 * 1024)
#define NOT_DELETED UINT32_MAX

enum change_what { CHANGE_VERSION, CHANGE_SUM, CHANGE_BOUND, CHANGE_COVER };

struct change {
    struct change *older;
    uint8_t what; /* enum change_what */
    uint8_t kind; /* of a version: enum entry_kind */
    bool is_big;  /* of a version: its bytes are a pointer to the value */
    uint32_t statement;
};

struct key_version {
    struct change change;
    struct key_node *node;
    struct key_version *below; /* older version of the key */
    uint32_t value_len;
    uint8_t bytes[]; /* the value; for an ADD the delta, 8 bytes */
};

struct sum_change { /* an add onto an add of the same statement, made in place */
    struct change change;
    struct key_version *version;
    int64_t before;
};

struct bound_change { /* a bound was made, or the range from it was deleted */
    struct change change;
    struct key_node *node;
};

struct chunk {
    struct chunk *older;
    size_t len;
};

struct buffer_source { /* a cursor */
    struct source source;
    struct write_buffer *b;
    const struct key_node *n; /* NULL: stands nowhere */
    uint32_t limit;
    struct buffer_source *next, **link; /* among the buffer's cursors */
};

struct write_buffer {
    const struct mem *mem;
    size_t used, memory_max;
    struct chunk *chunks;
    char *at, *end;
    struct key_list keys, bounds;
    struct change *history;
    struct buffer_source
        *cursors; /* open ones: a rollback makes those that may stand on what it undoes stand nowhere */
    uint64_t change_count, big_count;
    uint32_t statement;
};

/* --- memory --- */

static status charge(const struct write_buffer *b, size_t len, struct err *err) {
    if (b->memory_max == 0 || (b->used <= b->memory_max && len <= b->memory_max - b->used)) return ST_OK;
    return err_raise(err, ST_TOO_LARGE, CODE_TransactionTooLarge, __FILE__, __LINE__,
                     "the transaction's writes take more than %zu bytes of memory", b->memory_max);
}

/* Aligned to 8. */
static status take(struct write_buffer *b, size_t len, void *out, struct err *err) {
    void **p = out;
    len = (len + 7) & ~(size_t) 7;
    if (len > (size_t) (b->end - b->at)) {
        size_t chunk_len = b->chunks == NULL ? CHUNK_MIN : b->chunks->len < CHUNK_MAX ? b->chunks->len * 2 : CHUNK_MAX;
        if (chunk_len > CHUNK_MAX) chunk_len = CHUNK_MAX;
        if (len > chunk_len - sizeof(struct chunk)) chunk_len = sizeof(struct chunk) + len;
        TRY(charge(b, chunk_len, err));
        struct chunk *c = mem_alloc(b->mem, chunk_len);
        if (c == NULL) return RAISE(err, ST_NOMEM, "no memory for %zu bytes of a transaction's writes", chunk_len);
        *c = (struct chunk){b->chunks, chunk_len};
        b->chunks = c;
        b->used += chunk_len;
        b->at = (char *) (c + 1);
        b->end = (char *) c + chunk_len;
    }
    *p = b->at;
    b->at += len;
    return ST_OK;
}

/* Gives back p and everything taken after it. */
static void rewind_to(struct write_buffer *b, const void *p) {
    uintptr_t at = (uintptr_t) p;
    while (b->chunks != NULL && (at < (uintptr_t) b->chunks || at >= (uintptr_t) b->chunks + b->chunks->len)) {
        struct chunk *c = b->chunks;
        b->chunks = c->older;
        b->used -= c->len;
        mem_free(b->mem, c, c->len);
    }
    assert(b->chunks != NULL);
    b->at = (char *) b->chunks + (at - (uintptr_t) b->chunks);
    b->end = (char *) b->chunks + b->chunks->len;
}

static void push(struct write_buffer *b, struct change *c, enum change_what what) {
    c->older = b->history;
    c->what = (uint8_t) what;
    c->statement = b->statement;
    b->history = c;
    b->change_count++;
}

static void *big_of(const struct key_version *v) {
    void *p;
    memcpy(&p, v->bytes, sizeof(p));
    return p;
}

static struct slice value_of(const struct key_version *v) {
    return slice_of(v->change.is_big ? big_of(v) : v->bytes, v->value_len);
}

static void free_big(struct write_buffer *b, struct key_version *v) {
    if (!v->change.is_big) return;
    mem_free(b->mem, big_of(v), v->value_len);
    b->used -= v->value_len;
    b->big_count--;
}

status write_buffer_new(const struct mem *mem, size_t memory_max, struct write_buffer **out, struct err *err) {
    struct write_buffer *b = mem_new(mem, struct write_buffer);
    if (b == NULL) return RAISE(err, ST_NOMEM, "write buffer");
    b->mem = mem;
    b->memory_max = memory_max;
    b->used = sizeof(*b);
    key_list_init(&b->keys);
    key_list_init(&b->bounds);
    *out = b;
    return ST_OK;
}

void write_buffer_free(struct write_buffer *b) {
    if (b == NULL) return;
    for (struct change *c = b->history; c != NULL && b->big_count != 0; c = c->older)
        if (c->what == CHANGE_VERSION) free_big(b, (struct key_version *) (void *) c);
    for (struct chunk *c = b->chunks, *older; c != NULL; c = older) {
        older = c->older;
        mem_free(b->mem, c, c->len);
    }
    mem_delete(b->mem, b);
}

uint32_t write_buffer_statement(const struct write_buffer *b) { return b->statement; }

uint32_t write_buffer_next_statement(struct write_buffer *b) {
    assert(b->statement < STATEMENT_ALL - 1);
    return ++b->statement;
}

size_t write_buffer_used(const struct write_buffer *b) { return b->used; }
bool write_buffer_is_empty(const struct write_buffer *b) { return b->history == NULL; }
uint64_t write_buffer_mark(const struct write_buffer *b) { return b->change_count; }

/* --- rollback --- */

static void undo(struct write_buffer *b, struct change *c) {
    switch ((enum change_what) c->what) {
    case CHANGE_VERSION: {
        struct key_version *v = (struct key_version *) (void *) c;
        assert(v->node->u.newest == v);
        v->node->u.newest = v->below;
        if (v->below == NULL) key_list_unlink(&b->keys, v->node);
        free_big(b, v);
        break;
    }
    case CHANGE_SUM: {
        struct sum_change *s = (struct sum_change *) (void *) c;
        put_le64(s->version->bytes, (uint64_t) s->before);
        break;
    }
    case CHANGE_BOUND: key_list_unlink(&b->bounds, ((struct bound_change *) (void *) c)->node); break;
    case CHANGE_COVER: ((struct bound_change *) (void *) c)->node->u.since = NOT_DELETED; break;
    }
}

void write_buffer_rollback_to(struct write_buffer *b, uint64_t mark) {
    if (b->change_count <= mark) return;
    struct change *oldest = NULL;
    while (b->change_count > mark) {
        oldest = b->history;
        b->history = oldest->older;
        b->change_count--;
        undo(b, oldest);
    }
    for (struct buffer_source *c = b->cursors; c != NULL; c = c->next)
        if (c->limit > oldest->statement) c->n = NULL;
    rewind_to(b, oldest);
}

/* --- writing keys --- */

static const struct key_version *newest_under(const struct key_node *n, uint32_t limit) {
    const struct key_version *v = n->u.newest;
    while (v != NULL && v->change.statement >= limit && limit != STATEMENT_ALL) v = v->below;
    return v;
}

/* Copies the value into the version or, when it is big, beside it. */
static status set_value(struct write_buffer *b, struct key_version *v, struct slice value, struct err *err) {
    v->value_len = (uint32_t) value.len;
    v->change.is_big = value.len >= BIG_LEN;
    if (!v->change.is_big) {
        if (value.len != 0) memcpy(v->bytes, value.p, value.len);
        return ST_OK;
    }
    TRY(charge(b, value.len, err));
    void *p = mem_copy(b->mem, value.p, value.len);
    if (p == NULL) return RAISE(err, ST_NOMEM, "no memory for a value of %zu bytes", value.len);
    memcpy(v->bytes, &p, sizeof(p));
    b->used += value.len;
    b->big_count++;
    return ST_OK;
}

/* Puts a version on top of the key at `place`. */
static status write(struct write_buffer *b, const struct key_place *place, struct slice key, enum entry_kind kind,
                    struct slice value, struct err *err) {
    status st;
    struct key_version *v;
    struct key_node *n = place->found;
    void *room = NULL;
    unsigned height = 0;
    assert(value.len < UINT32_MAX && key.len < UINT32_MAX);
    TRY(take(b, offsetof(struct key_version, bytes) + (value.len >= BIG_LEN ? sizeof(void *) : value.len), &v,
             err)); /* B3 */
    if (n == NULL) {
        height = key_list_draw(&b->keys);
        st = take(b, key_node_len(key.len, height), &room, err);
        if (st != ST_OK) goto fail;
    }
    st = set_value(b, v, value, err);
    if (st != ST_OK) goto fail;
    if (n == NULL) {
        n = key_list_link(&b->keys, place, key, height, room);
        n->u.newest = NULL;
    }
    assert(n->u.newest == NULL || n->u.newest->change.statement <= b->statement); /* B1 */
    v->change.kind = (uint8_t) kind;
    v->node = n;
    v->below = n->u.newest;
    n->u.newest = v;
    push(b, &v->change, CHANGE_VERSION);
    return ST_OK;
fail:
    rewind_to(b, v); /* B4 */
    return st;
}

status write_buffer_put(struct write_buffer *b, struct slice key, struct slice value, struct err *err) {
    struct key_place place = key_list_place(&b->keys, key);
    return write(b, &place, key, ENTRY_PUT, value, err);
}

status write_buffer_delete(struct write_buffer *b, struct slice key, struct err *err) {
    struct key_place place = key_list_place(&b->keys, key);
    return write(b, &place, key, ENTRY_DELETE, SLICE_NONE, err);
}

int64_t counter_of(struct slice value) { return value.len == 8 ? (int64_t) get_le64(value.p) : 0; }

static status add_in_place(struct write_buffer *b, struct key_version *v, int64_t sum, struct err *err) {
    struct sum_change *c;
    TRY(take(b, sizeof(*c), &c, err));
    c->version = v;
    c->before = (int64_t) get_le64(v->bytes);
    put_le64(v->bytes, (uint64_t) sum);
    push(b, &c->change, CHANGE_SUM);
    return ST_OK;
}

status write_buffer_add(struct write_buffer *b, struct slice key, int64_t delta, struct err *err) {
    struct key_place place = key_list_place(&b->keys, key);
    struct key_version *v = place.found != NULL ? place.found->u.newest : NULL;
    enum entry_kind kind = ENTRY_PUT;
    uint64_t sum = (uint64_t) delta;
    if (v == NULL) {
        if (!write_buffer_covers(b, key, STATEMENT_ALL, NULL, NULL)) kind = ENTRY_ADD;
    } else if (v->change.kind != ENTRY_DELETE) {
        sum += (uint64_t) counter_of(value_of(v));
        kind = v->change.kind;
        if (kind == ENTRY_ADD && v->change.statement == b->statement) return add_in_place(b, v, (int64_t) sum, err);
    }
    uint8_t bytes[8];
    put_le64(bytes, sum);
    return write(b, &place, key, kind, slice_of(bytes, 8), err);
}

/* --- range deletes --- */

bool write_buffer_has_ranges(const struct write_buffer *b) { return b->bounds.first[0] != NULL; }

bool write_buffer_covers(const struct write_buffer *b, struct slice key, uint32_t limit, struct slice *from,
                         struct slice *until) {
    const struct key_node *n = NULL;
    if (write_buffer_has_ranges(b)) n = key_list_le(&b->bounds, key);
    const struct key_node *next = n != NULL ? n->next[0] : b->bounds.first[0];
    if (from != NULL) *from = n != NULL ? key_node_key(n) : SLICE_NONE;
    if (until != NULL) *until = next != NULL ? key_node_key(next) : SLICE_NONE;
    return n != NULL && n->u.since < limit;
}

/* Makes `key` a bound, with the state that it had without being one. */
static status make_bound(struct write_buffer *b, struct slice key, struct err *err) {
    struct key_place place = key_list_place(&b->bounds, key);
    if (place.found != NULL) return ST_OK;
    struct bound_change *c;
    void *room;
    unsigned height = key_list_draw(&b->bounds);
    TRY(take(b, sizeof(*c), &c, err));
    status st = take(b, key_node_len(key.len, height), &room, err);
    if (st != ST_OK) {
        rewind_to(b, c);
        return st;
    }
    c->node = key_list_link(&b->bounds, &place, key, height, room);
    c->node->u.since = c->node->back != NULL ? c->node->back->u.since : NOT_DELETED;
    push(b, &c->change, CHANGE_BOUND);
    return ST_OK;
}

static status cover(struct write_buffer *b, struct slice lo, struct slice hi, struct err *err) {
    TRY(make_bound(b, lo, err));
    TRY(make_bound(b, hi, err));
    for (struct key_node *n = key_list_ge(&b->bounds, lo); slice_compare(key_node_key(n), hi) < 0; n = n->next[0]) {
        if (n->u.since != NOT_DELETED) continue; /* since an earlier statement: it says more */
        struct bound_change *c;
        TRY(take(b, sizeof(*c), &c, err));
        c->node = n;
        n->u.since = b->statement;
        push(b, &c->change, CHANGE_COVER);
    }
    return ST_OK;
}

status write_buffer_delete_range(struct write_buffer *b, struct slice lo, struct slice hi, struct err *err) {
    if (slice_compare(lo, hi) >= 0) return ST_OK;
    uint64_t mark = b->change_count;
    status st = cover(b, lo, hi, err);
    for (struct key_node *n = key_list_ge(&b->keys, lo); st == ST_OK && n != NULL; n = n->next[0]) {
        struct slice key = key_node_key(n);
        if (slice_compare(key, hi) >= 0) break;
        if (n->u.newest->change.kind == ENTRY_DELETE) continue;
        st = write(b, &(struct key_place){.found = n}, key, ENTRY_DELETE, SLICE_NONE, err);
    }
    if (st != ST_OK) write_buffer_rollback_to(b, mark); /* B4 */
    return st;
}

status write_buffer_ranges(const struct write_buffer *b, uint32_t limit,
                           status (*visit)(void *ctx, struct slice lo, struct slice hi), void *ctx) {
    const struct key_node *start = NULL;
    for (const struct key_node *n = b->bounds.first[0]; n != NULL; n = n->next[0]) {
        bool is_deleted = n->u.since < limit;
        if (is_deleted && start == NULL) start = n;
        if (is_deleted || start == NULL) continue;
        TRY(visit(ctx, key_node_key(start), key_node_key(n)));
        start = NULL;
    }
    assert(start == NULL);
    return ST_OK;
}

/* --- reading --- */

static void entry_set(struct entry *e, struct slice key, const struct key_version *v) {
    *e = (struct entry){key, value_of(v), SEQ_MAX, v->change.kind};
}

status write_buffer_get(const struct write_buffer *b, struct slice key, uint32_t limit, struct entry *out) {
    const struct key_node *n = key_list_ge(&b->keys, key);
    const struct key_version *v = n != NULL && slice_equal(key_node_key(n), key) ? newest_under(n, limit) : NULL;
    if (v != NULL) {
        entry_set(out, key, v);
        return ST_OK;
    }
    if (!write_buffer_covers(b, key, limit, NULL, NULL)) return ST_NOT_FOUND;
    *out = (struct entry){key, SLICE_NONE, SEQ_MAX, ENTRY_DELETE};
    return ST_OK;
}

/* Calls entry() for each key's last state but the deletes that a range delete says already. */
static status final_entries(const struct write_buffer *b, status (*entry)(void *ctx, const struct entry *e),
                            void *ctx) {
    const struct key_node *bound = NULL,
                          *next = b->bounds.first[0]; /* the last bound <= the key, and the one after it */
    for (const struct key_node *n = b->keys.first[0]; n != NULL; n = n->next[0]) {
        struct slice key = key_node_key(n);
        for (; next != NULL && slice_compare(key_node_key(next), key) <= 0; next = next->next[0]) bound = next;
        const struct key_version *v = n->u.newest;
        if (v->change.kind == ENTRY_DELETE && bound != NULL && bound->u.since != NOT_DELETED) continue;
        struct entry e;
        entry_set(&e, key, v);
        e.seq = 0;
        TRY(entry(ctx, &e));
    }
    return ST_OK;
}

status write_buffer_final(const struct write_buffer *b, status (*range)(void *ctx, struct slice lo, struct slice hi),
                          status (*entry)(void *ctx, const struct entry *e), void *ctx) {
    TRY(write_buffer_ranges(b, STATEMENT_ALL, range, ctx));
    return final_entries(b, entry, ctx);
}

static status total_range(void *ctx, struct slice lo, struct slice hi) {
    struct write_buffer_totals *t = ctx;
    t->range_count++;
    t->range_bytes += lo.len + hi.len;
    return ST_OK;
}

static status total_entry(void *ctx, const struct entry *e) {
    struct write_buffer_totals *t = ctx;
    t->entry_count++;
    t->entry_bytes += e->key.len + e->value.len;
    return ST_OK;
}

struct write_buffer_totals write_buffer_totals(const struct write_buffer *b) {
    struct write_buffer_totals t = {0};
    (void) write_buffer_final(b, total_range, total_entry, &t);
    return t;
}

/* --- cursor --- */

static struct buffer_source *self(struct source *s) { return (struct buffer_source *) (void *) s; }

/* Stands on the first key from n on (backwards: down) that has a version under the limit. */
static status stand_from(struct buffer_source *c, const struct key_node *n, bool is_backwards) {
    const struct key_version *v = NULL;
    for (; n != NULL; n = is_backwards ? n->back : n->next[0])
        if ((v = newest_under(n, c->limit)) != NULL) break;
    c->n = n;
    if (n == NULL) return ST_END;
    entry_set(&c->source.at, key_node_key(n), v);
    return ST_OK;
}

static status source_seek_ge(struct source *s, struct slice key, uint64_t seq, struct err *err) {
    (void) err;
    const struct key_node *n = key_list_ge(&self(s)->b->keys, key);
    /* The entry of the key itself, with its greatest sequence, comes before every other (key, seq). */
    if (n != NULL && seq != SEQ_MAX && slice_equal(key_node_key(n), key)) n = n->next[0];
    return stand_from(self(s), n, false);
}

static status source_seek_le(struct source *s, struct slice key, uint64_t seq, struct err *err) {
    (void) seq;
    (void) err;
    return stand_from(self(s), key_list_le(&self(s)->b->keys, key), true);
}

static status source_first(struct source *s, struct err *err) {
    (void) err;
    return stand_from(self(s), self(s)->b->keys.first[0], false);
}

static status source_last(struct source *s, struct err *err) {
    (void) err;
    return stand_from(self(s), self(s)->b->keys.last, true);
}

static status source_next(struct source *s, struct err *err) {
    (void) err;
    assert(self(s)->n != NULL);
    return stand_from(self(s), self(s)->n->next[0], false);
}

static status source_prev(struct source *s, struct err *err) {
    (void) err;
    assert(self(s)->n != NULL);
    return stand_from(self(s), self(s)->n->back, true);
}

static void source_rest(struct source *s) { self(s)->n = NULL; }

static void source_close(struct source *s) {
    struct buffer_source *c = self(s);
    *c->link = c->next;
    if (c->next != NULL) c->next->link = c->link;
    mem_delete(c->b->mem, c);
}

static const struct source_ops buffer_source_ops = {
    .seek_ge = source_seek_ge,
    .seek_le = source_seek_le,
    .first = source_first,
    .last = source_last,
    .next = source_next,
    .prev = source_prev,
    .rest = source_rest,
    .close = source_close,
};

status write_buffer_cursor(struct write_buffer *b, uint32_t limit, struct source **out, struct err *err) {
    struct buffer_source *c = mem_new(b->mem, struct buffer_source);
    if (c == NULL) return RAISE(err, ST_NOMEM, "write buffer cursor");
    c->source.ops = &buffer_source_ops;
    c->b = b;
    c->limit = limit;
    c->next = b->cursors;
    c->link = &b->cursors;
    if (c->next != NULL) c->next->link = &c->next;
    b->cursors = c;
    *out = &c->source;
    return ST_OK;
}
