/* The write buffer against a model that keeps every operation in a list and reads by replaying it. */
#include "storage/write_buffer.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/chance.h"
#include "base/codes.h"
#include "base/endian.h"
#include "storage/mem_reuse.h"
#include "support/mem_fail.h"

#define S(text) SLICE_LIT(text)

/* --- the model: operations in order; a rollback shortens the list --- */

enum { OP_PUT = 1, OP_DELETE, OP_ADD, OP_RANGE };
#define OPS_MAX 400
#define KEY_COUNT 60

struct op {
    uint8_t what;
    uint8_t key, hi; /* numbers of keys */
    uint32_t statement;
    int64_t number; /* delta, or which value */
};

struct model {
    struct op ops[OPS_MAX];
    size_t count;
};

struct state {
    uint8_t kind; /* 0: nothing known; else enum entry_kind */
    bool is_number;
    int64_t number;
};

/* Key n in order of n: some share 8 bytes, some are prefixes of others. */
static struct slice key_of(unsigned n, uint8_t *room) {
    memset(room, 'p', 16);
    put_be16(room + 8, (uint16_t) (n / 2));
    room[10] = 0;
    return slice_of(room, n % 2 == 0 ? 10 : 11);
}

/* Values are of any length, a few big; a value of 8 bytes is a counter. */
static size_t value_len(int64_t number) {
    return number % 7 == 0 ? 8 : number % 41 == 1 ? 70000 : (size_t) number % 50;
}

static struct slice value_of(int64_t number, uint8_t *room) {
    size_t len = value_len(number);
    if (len == 8) put_le64(room, (uint64_t) number);
    else memset(room, (uint8_t) number, len);
    return slice_of(room, len);
}

static struct state model_read(const struct model *m, unsigned key, uint32_t limit) {
    struct state s = {0};
    for (size_t i = 0; i < m->count; i++) {
        const struct op *o = &m->ops[i];
        if (o->statement >= limit && limit != STATEMENT_ALL) break;
        if (o->what == OP_RANGE ? key < o->key || key >= o->hi : key != o->key) continue;
        if (o->what == OP_PUT) s = (struct state){ENTRY_PUT, false, o->number};
        else if (o->what != OP_ADD) s = (struct state){.kind = ENTRY_DELETE};
        else {
            bool is_counter = s.is_number || (s.kind == ENTRY_PUT && value_len(s.number) == 8);
            s = (struct state){s.kind == 0 || s.kind == ENTRY_ADD ? ENTRY_ADD : ENTRY_PUT, true,
                               (is_counter ? s.number : 0) + o->number};
        }
    }
    return s;
}

/* Whether a key has a write of its own (what a cursor must show), not only a range over it. */
static bool model_is_written(const struct model *m, unsigned key, uint32_t limit) {
    for (size_t i = 0; i < m->count; i++)
        if (m->ops[i].what != OP_RANGE && m->ops[i].key == key &&
            (m->ops[i].statement < limit || limit == STATEMENT_ALL))
            return true;
    return false;
}

static bool model_covers(const struct model *m, unsigned key, uint32_t limit) {
    for (size_t i = 0; i < m->count; i++)
        if (m->ops[i].what == OP_RANGE && m->ops[i].key <= key && key < m->ops[i].hi &&
            (m->ops[i].statement < limit || limit == STATEMENT_ALL))
            return true;
    return false;
}

static void check_state(const struct entry *e, const struct state *s, uint64_t seed) {
    static uint8_t room[80000];
    cr_assert_eq(e->kind, s->kind, "seed %lu", seed);
    if (s->kind == ENTRY_DELETE) {
        cr_assert_eq(e->value.len, 0);
    } else if (s->is_number) {
        cr_assert_eq(e->value.len, 8);
        cr_assert_eq((int64_t) get_le64(e->value.p), s->number, "seed %lu", seed);
    } else {
        cr_assert(slice_equal(e->value, value_of(s->number, room)), "seed %lu", seed);
    }
}

static void check_gets(const struct write_buffer *b, const struct model *m, uint32_t limit, uint64_t seed) {
    for (unsigned key = 0; key < KEY_COUNT; key++) {
        uint8_t room[16];
        struct slice k = key_of(key, room), from, until;
        struct state s = model_read(m, key, limit);
        struct entry e;
        status st = write_buffer_get(b, k, limit, &e);
        cr_assert_eq(st, s.kind == 0 ? ST_NOT_FOUND : ST_OK, "seed %lu", seed);
        if (st == ST_OK) check_state(&e, &s, seed);
        cr_assert_eq(write_buffer_covers(b, k, limit, &from, &until), model_covers(m, key, limit), "seed %lu", seed);
        cr_assert_leq(slice_compare(from, k), 0);
        for (unsigned other = 0; other < KEY_COUNT; other++) {
            uint8_t room2[16];
            struct slice o = key_of(other, room2);
            if (slice_compare(from, o) > 0 || (until.len != 0 && slice_compare(o, until) >= 0)) continue;
            cr_assert_eq(model_covers(m, other, limit), model_covers(m, key, limit), "seed %lu", seed);
        }
    }
}

static void check_walk(struct write_buffer *b, const struct model *m, uint32_t limit, uint64_t seed) {
    struct source *s;
    uint8_t room[16];
    cr_assert_eq(write_buffer_cursor(b, limit, &s, NULL), ST_OK);
    status st = s->ops->first(s, NULL);
    for (unsigned key = 0; key < KEY_COUNT; key++) {
        if (!model_is_written(m, key, limit)) continue;
        struct state want = model_read(m, key, limit);
        cr_assert_eq(st, ST_OK, "seed %lu", seed);
        cr_assert(slice_equal(s->at.key, key_of(key, room)), "seed %lu", seed);
        cr_assert_eq(s->at.seq, SEQ_MAX);
        check_state(&s->at, &want, seed);
        st = s->ops->next(s, NULL);
    }
    cr_assert_eq(st, ST_END, "seed %lu", seed);
    st = s->ops->last(s, NULL);
    for (unsigned key = KEY_COUNT; key-- > 0;) {
        if (!model_is_written(m, key, limit)) continue;
        cr_assert_eq(st, ST_OK, "seed %lu", seed);
        cr_assert(slice_equal(s->at.key, key_of(key, room)), "seed %lu", seed);
        st = s->ops->prev(s, NULL);
    }
    cr_assert_eq(st, ST_END, "seed %lu", seed);
    for (unsigned key = 0; key < KEY_COUNT; key++) {
        unsigned ge = key, le = key, gt = key + 1;
        while (ge < KEY_COUNT && !model_is_written(m, ge, limit)) ge++;
        while (gt < KEY_COUNT && !model_is_written(m, gt, limit)) gt++;
        while (le < KEY_COUNT && !model_is_written(m, le, limit)) le--;
        st = s->ops->seek_ge(s, key_of(key, room), SEQ_MAX, NULL);
        cr_assert(ge < KEY_COUNT ? st == ST_OK && slice_equal(s->at.key, key_of(ge, room)) : st == ST_END, "seed %lu",
                  seed);
        st = s->ops->seek_ge(s, key_of(key, room), 5, NULL);
        cr_assert(gt < KEY_COUNT ? st == ST_OK && slice_equal(s->at.key, key_of(gt, room)) : st == ST_END, "seed %lu",
                  seed);
        st = s->ops->seek_le(s, key_of(key, room), 0, NULL);
        cr_assert(le < KEY_COUNT ? st == ST_OK && slice_equal(s->at.key, key_of(le, room)) : st == ST_END, "seed %lu",
                  seed);
    }
    s->ops->close(s);
}

/* What the commit would apply, taken over "nothing below", must give the model's state. */
struct applied {
    bool is_covered[KEY_COUNT], is_set[KEY_COUNT];
    struct state expected[KEY_COUNT];
    uint64_t entries, ranges, entry_bytes;
    uint8_t last[16];
    size_t last_len;
    uint64_t seed;
};

static status apply_range(void *ctx, struct slice lo, struct slice hi) {
    struct applied *a = ctx;
    uint8_t room[16];
    cr_assert_lt(slice_compare(lo, hi), 0);
    cr_assert_eq(a->entries, 0);
    cr_assert(a->ranges == 0 ||
              slice_compare(slice_of(a->last, a->last_len), lo) < 0); /* disjoint and apart: maximal */
    memcpy(a->last, hi.p, a->last_len = hi.len);
    a->ranges++;
    for (unsigned key = 0; key < KEY_COUNT; key++)
        if (slice_compare(lo, key_of(key, room)) <= 0 && slice_compare(key_of(key, room), hi) < 0)
            a->is_covered[key] = true;
    return ST_OK;
}

static status apply_entry(void *ctx, const struct entry *e) {
    struct applied *a = ctx;
    uint8_t room[16];
    unsigned key = 0;
    if (a->entries == 0) a->last_len = 0;
    cr_assert_lt(slice_compare(slice_of(a->last, a->last_len), e->key), 0);
    memcpy(a->last, e->key.p, a->last_len = e->key.len);
    while (key < KEY_COUNT && !slice_equal(e->key, key_of(key, room))) key++;
    cr_assert_lt(key, KEY_COUNT);
    check_state(e, &a->expected[key], a->seed);
    cr_assert(!(e->kind == ENTRY_DELETE && a->is_covered[key]));
    cr_assert(!(e->kind == ENTRY_ADD && a->is_covered[key]));
    a->is_set[key] = true;
    a->entries++;
    a->entry_bytes += e->key.len + e->value.len;
    return ST_OK;
}

static void check_final(const struct write_buffer *b, const struct model *m, uint64_t seed) {
    struct applied a = {.seed = seed};
    for (unsigned key = 0; key < KEY_COUNT; key++) a.expected[key] = model_read(m, key, STATEMENT_ALL);
    cr_assert_eq(write_buffer_final(b, apply_range, apply_entry, &a), ST_OK);
    for (unsigned key = 0; key < KEY_COUNT; key++) {
        cr_assert_eq(a.is_covered[key], model_covers(m, key, STATEMENT_ALL), "seed %lu", seed);
        uint8_t kind = a.expected[key].kind;
        if (kind == ENTRY_PUT || kind == ENTRY_ADD) cr_assert(a.is_set[key], "seed %lu", seed);
        if (kind == ENTRY_DELETE) cr_assert(a.is_set[key] || a.is_covered[key], "seed %lu", seed);
        if (kind == 0) cr_assert(!a.is_set[key], "seed %lu", seed);
    }
    struct write_buffer_totals t = write_buffer_totals(b);
    cr_assert_eq(t.entry_count, a.entries);
    cr_assert_eq(t.entry_bytes, a.entry_bytes);
    cr_assert_eq(t.range_count, a.ranges);
    cr_assert_eq(write_buffer_is_empty(b), m->count == 0);
}

static void random_write(struct write_buffer *b, struct model *m, struct chance *c, uint64_t seed) {
    static uint8_t value[80000];
    uint8_t room[16], room2[16];
    struct op o = {.statement = write_buffer_statement(b), .key = (uint8_t) chance_below(c, KEY_COUNT)};
    static const uint8_t mix[] = {OP_PUT, OP_PUT, OP_PUT, OP_DELETE, OP_ADD, OP_ADD, OP_ADD, OP_RANGE};
    o.what = mix[chance_below(c, 8)];
    o.number = (int64_t) chance_below(c, 1000);
    o.hi =
        (uint8_t) (o.key + 1 + chance_below(c, 12) > KEY_COUNT - 1 ? KEY_COUNT - 1 : o.key + 1 + chance_below(c, 12));
    if (o.what == OP_RANGE && o.hi <= o.key) return;
    struct slice key = key_of(o.key, room);
    status st = o.what == OP_PUT ? write_buffer_put(b, key, value_of(o.number, value), NULL)
        : o.what == OP_DELETE    ? write_buffer_delete(b, key, NULL)
        : o.what == OP_ADD       ? write_buffer_add(b, key, o.number, NULL)
                                 : write_buffer_delete_range(b, key, key_of(o.hi, room2), NULL);
    cr_assert_eq(st, ST_OK, "seed %lu", seed);
    m->ops[m->count++] = o;
}

Test(write_buffer, reads_as_a_replay_of_all_operations) {
    static struct model m;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct chance c;
        chance_init(&c, seed);
        struct mem_fail mf;
        mem_fail_init(&mf, 0);
        struct write_buffer *b;
        cr_assert_eq(write_buffer_new(&mf.mem, 0, &b, NULL), ST_OK);
        m.count = 0;
        struct {
            uint64_t mark;
            size_t count;
        } marks[10];
        size_t mark_count = 0;
        for (int step = 0; step < 150; step++) {
            uint64_t what = chance_below(&c, 12);
            if (what == 0) (void) write_buffer_next_statement(b);
            else if (what == 1 && mark_count < 10) {
                marks[mark_count].mark = write_buffer_mark(b);
                marks[mark_count++].count = m.count;
            } else if (what == 2 && mark_count > 0) {
                mark_count = chance_below(&c, mark_count);
                write_buffer_rollback_to(b, marks[mark_count].mark);
                m.count = marks[mark_count].count;
            } else random_write(b, &m, &c, seed);
            if (step % 10 != 0) continue;
            uint32_t limit = (uint32_t) chance_below(&c, write_buffer_statement(b) + 2);
            check_gets(b, &m, limit, seed);
            check_gets(b, &m, STATEMENT_ALL, seed);
            check_walk(b, &m, limit, seed);
            check_walk(b, &m, STATEMENT_ALL, seed);
            check_final(b, &m, seed);
            cr_assert_eq(write_buffer_used(b), mem_fail_live(&mf), "seed %lu", seed);
        }
        write_buffer_rollback_to(b, 0);
        cr_assert(write_buffer_is_empty(b));
        cr_assert_leq(write_buffer_used(b), 20000); /* big values and all chunks but the first are given back */
        write_buffer_free(b);
        cr_assert_eq(mem_fail_live(&mf), 0);
    }
}

/* --- cursors beside writes --- */

Test(write_buffer, shows_a_statement_only_what_came_before_it) {
    struct write_buffer *b;
    struct source *s;
    cr_assert_eq(write_buffer_new(mem_default(), 0, &b, NULL), ST_OK);
    cr_assert_eq(write_buffer_put(b, S("b"), S("1"), NULL), ST_OK);
    cr_assert_eq(write_buffer_put(b, S("d"), S("1"), NULL), ST_OK);
    uint32_t statement = write_buffer_next_statement(b);
    cr_assert_eq(statement, 1);
    cr_assert_eq(write_buffer_cursor(b, statement, &s, NULL), ST_OK);
    cr_assert_eq(s->ops->first(s, NULL), ST_OK);
    uint64_t mark = write_buffer_mark(b);
    cr_assert_eq(write_buffer_put(b, S("c"), S("2"), NULL), ST_OK); /* ahead of the cursor */
    cr_assert_eq(write_buffer_put(b, S("d"), S("2"), NULL), ST_OK);
    cr_assert_eq(write_buffer_delete_range(b, S("a"), S("z"), NULL), ST_OK);
    cr_assert_eq(s->ops->next(s, NULL), ST_OK);
    cr_assert(slice_equal(s->at.key, S("d")) && slice_equal(s->at.value, S("1")));
    write_buffer_rollback_to(b, mark); /* undoes nothing that the cursor may see: it stands */
    cr_assert_eq(s->ops->prev(s, NULL), ST_OK);
    cr_assert(slice_equal(s->at.key, S("b")) && slice_equal(s->at.value, S("1")));
    cr_assert_eq(s->ops->prev(s, NULL), ST_END);
    s->ops->close(s);
    write_buffer_free(b);
}

/* --- limits and memory --- */

Test(write_buffer, refuses_more_than_its_memory_and_changes_nothing) {
    static uint8_t value[200000];
    struct write_buffer *b;
    struct err err = ERR_INIT;
    struct entry e;
    cr_assert_eq(write_buffer_new(mem_default(), 300000, &b, NULL), ST_OK);
    cr_assert_eq(write_buffer_put(b, S("a"), slice_of(value, 200000), NULL), ST_OK);
    cr_assert_eq(write_buffer_put(b, S("a"), slice_of(value, 200000), &err), ST_TOO_LARGE);
    cr_assert_eq(err.code, CODE_TransactionTooLarge);
    cr_assert_eq(write_buffer_put(b, S("b"), slice_of(value, 200000), NULL), ST_TOO_LARGE);
    cr_assert_eq(write_buffer_get(b, S("b"), STATEMENT_ALL, &e), ST_NOT_FOUND);
    cr_assert_eq(write_buffer_mark(b), 1);
    uint32_t n = 0;
    for (status st = ST_OK; st == ST_OK; n++) {
        uint8_t key[4];
        put_be32(key, n);
        st = write_buffer_put(b, slice_of(key, 4), S("value"), NULL);
        cr_assert(st == ST_OK || st == ST_TOO_LARGE);
    }
    cr_assert_gt(n, 300);
    cr_assert_leq(write_buffer_used(b), 300000);
    cr_assert_eq(write_buffer_totals(b).entry_count, n); /* with "a", without the refused one */
    write_buffer_rollback_to(b, 1);
    cr_assert_eq(write_buffer_put(b, S("b"), S("fits again"), NULL), ST_OK);
    write_buffer_free(b);
}

Test(write_buffer, survives_every_failing_allocation_and_stays_as_it_was) {
    static uint8_t value[80000];
    static struct model m;
    for (uint64_t n = 1;; n++) {
        struct mem_fail mf;
        mem_fail_init(&mf, n);
        mf.once = true; /* and goes on afterwards */
        struct write_buffer *b = NULL;
        struct chance c;
        chance_init(&c, 99);
        m.count = 0;
        status st = write_buffer_new(&mf.mem, 0, &b, NULL);
        cr_assert(st == ST_OK || mem_fail_hit(&mf));
        for (int i = 0; b != NULL && i < 300; i++) {
            uint8_t room[16], room2[16];
            struct op o = {(uint8_t) (1 + chance_below(&c, 4)), (uint8_t) chance_below(&c, 40), 0, 0,
                           (int64_t) chance_below(&c, 1000)};
            o.hi = (uint8_t) (o.key + 1 + chance_below(&c, 15));
            struct slice key = key_of(o.key, room);
            uint64_t count = write_buffer_mark(b);
            st = o.what == OP_PUT     ? write_buffer_put(b, key, value_of(o.number, value), NULL)
                : o.what == OP_DELETE ? write_buffer_delete(b, key, NULL)
                : o.what == OP_ADD    ? write_buffer_add(b, key, o.number, NULL)
                                      : write_buffer_delete_range(b, key, key_of(o.hi, room2), NULL);
            if (st == ST_OK) m.ops[m.count++] = o;
            else cr_assert(st == ST_NOMEM && write_buffer_mark(b) == count);
        }
        if (b != NULL) {
            check_gets(b, &m, STATEMENT_ALL, n);
            check_final(b, &m, n);
            cr_assert_eq(write_buffer_used(b), mem_fail_live(&mf));
        }
        write_buffer_free(b);
        cr_assert_eq(mem_fail_live(&mf), 0);
        if (!mem_fail_hit(&mf)) break;
    }
}

/* --- speed, when asked for: MICRO=1 --- */

static double nanoseconds(void) {
    struct timespec t;
    (void) clock_gettime(CLOCK_MONOTONIC, &t);
    return (double) t.tv_sec * 1e9 + (double) t.tv_nsec;
}

static void measure(const struct mem *mem, const char *name, uint64_t groups, bool is_random) {
    enum { N = 50000, ROUNDS = 10 };
    double put = 0, get = 0;
    size_t used = 0;
    for (int round = 0; round < ROUNDS; round++) {
        struct write_buffer *b;
        struct chance c;
        uint8_t key[20] = {1, 5, 0, 7}, value[100] = {0};
        cr_assert_eq(write_buffer_new(mem, 0, &b, NULL), ST_OK);
        for (int pass = 0; pass < 2; pass++) {
            chance_init(&c, 1);
            double start = nanoseconds();
            for (uint64_t i = 0; i < N; i++) {
                struct entry e;
                key[3] = (uint8_t) (i % groups);
                put_be64(key + 4, is_random ? chance_next(&c) : i);
                status st = pass == 0 ? write_buffer_put(b, slice_of(key, 20), slice_of(value, 100), NULL)
                                      : write_buffer_get(b, slice_of(key, 20), STATEMENT_ALL, &e);
                if (st != ST_OK) cr_assert_fail();
            }
            *(pass == 0 ? &put : &get) += nanoseconds() - start;
        }
        used = write_buffer_used(b);
        write_buffer_free(b);
    }
    fprintf(stderr, "%-40s put %4.0f ns  get %4.0f ns  %zu bytes each\n", name, put / N / ROUNDS, get / N / ROUNDS,
            used / N);
}

Test(write_buffer, is_fast) {
    if (getenv("MICRO") == NULL) return;
    struct mem_reuse *r;
    cr_assert_eq(mem_reuse_new(mem_default(), (size_t) 20 << 20, &r, NULL), ST_OK);
    for (int i = 0; i < 2; i++) {
        const struct mem *mem = i == 0 ? mem_default() : mem_reuse_hook(r);
        fprintf(stderr, "%s\n", i == 0 ? "fresh memory" : "memory used before");
        measure(mem, "ascending", 1, false);
        measure(mem, "ascending, 4 groups in turns", 4, false);
        measure(mem, "random", 1, true);
    }
    mem_reuse_free(r);
}
