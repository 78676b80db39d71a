/* Free space against a naive bitmap of units. */
#include "storage/space.h"

#include <criterion/criterion.h>

#include "support/mem_fail.h"

enum { UNITS = 400 };

static struct extent units(uint64_t at, uint64_t len) { return (struct extent){at * UNIT_LEN, len * UNIT_LEN}; }

struct model {
    bool is_free[UNITS];
};

/* The lowest run of at least `len` units, UNITS when there is none. */
static uint64_t first_fit(const struct model *m, uint64_t len) {
    uint64_t run = 0;
    for (uint64_t i = 0; i < UNITS; i++) {
        run = m->is_free[i] ? run + 1 : 0;
        if (run == len) return i + 1 - len;
    }
    return UNITS;
}

struct walk {
    const struct model *m;
    uint64_t next, sum, longest, last_at, last_len;
    bool agrees;
};

static void visit(void *ctx, struct extent e) {
    struct walk *w = ctx;
    uint64_t at = e.at / UNIT_LEN, len = e.len / UNIT_LEN;
    for (uint64_t i = w->next; i < at; i++) w->agrees &= !w->m->is_free[i];
    for (uint64_t i = at; i < at + len; i++) w->agrees &= w->m->is_free[i];
    w->agrees &= at == 0 || !w->m->is_free[at - 1];
    w->next = at + len;
    w->sum += e.len;
    if (e.len > w->longest) w->longest = e.len;
    w->last_at = e.at;
    w->last_len = e.len;
}

static void compare(const struct space *sp, const struct model *m, uint64_t seed, int round) {
    struct walk w = {.m = m, .agrees = true};
    space_each(sp, visit, &w);
    for (uint64_t i = w.next; i < UNITS; i++) w.agrees &= !m->is_free[i];
    cr_assert(w.agrees, "seed %lu round %d", seed, round);
    cr_assert_eq(w.sum, sp->free_len);
    cr_assert_eq(w.longest, space_longest(sp));
    struct extent last = space_last(sp);
    cr_assert(last.at == w.last_at && last.len == w.last_len);
}

static void take_one(struct space *sp, struct model *m, struct chance *c) {
    uint64_t len = chance_below(c, 12) + 1, at = first_fit(m, len);
    struct extent e;
    cr_assert_eq(space_take(sp, len * UNIT_LEN, &e), at != UNITS);
    if (at == UNITS) return;
    cr_assert(e.at == at * UNIT_LEN && e.len == len * UNIT_LEN, "the run with the lowest address");
    for (uint64_t i = 0; i < len; i++) m->is_free[at + i] = false;
}

static void take_some(struct space *sp, struct model *m, struct chance *c) {
    uint64_t min = chance_below(c, 4) + 1, max = min + chance_below(c, 30), at = first_fit(m, min);
    struct extent e;
    cr_assert_eq(space_take_some(sp, min * UNIT_LEN, max * UNIT_LEN, &e), at != UNITS);
    if (at == UNITS) return;
    uint64_t len = 0;
    while (at + len < UNITS && m->is_free[at + len] && len < max) m->is_free[at + len++] = false;
    cr_assert(e.at == at * UNIT_LEN && e.len == len * UNIT_LEN);
}

static void claim_one(struct space *sp, struct model *m, struct chance *c) {
    uint64_t len = chance_below(c, 5) + 1, at = chance_below(c, UNITS - len);
    bool is_free = true, any = false, was_free;
    for (uint64_t i = 0; i < len; i++) is_free &= m->is_free[at + i], any |= m->is_free[at + i];
    cr_assert_eq(space_overlaps(sp, units(at, len)), any);
    cr_assert_eq(space_claim(sp, units(at, len), &was_free, NULL), ST_OK);
    cr_assert_eq(was_free, is_free);
    for (uint64_t i = 0; is_free && i < len; i++) m->is_free[at + i] = false;
}

static void give_one(struct space *sp, struct model *m, struct chance *c) {
    uint64_t at = chance_below(c, UNITS), len = 0, max = chance_below(c, 20) + 1;
    while (at + len < UNITS && !m->is_free[at + len] && len < max) m->is_free[at + len++] = true;
    cr_assert_eq(space_give(sp, units(at, len), NULL), ST_OK);
}

Test(space, agrees_with_a_bitmap) {
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct space sp;
        struct model m = {0};
        struct chance c;
        chance_init(&c, seed);
        space_init(&sp, mem_default());
        for (int round = 0; round < 1500; round++) {
            switch (chance_below(&c, 5)) {
            case 0: take_one(&sp, &m, &c); break;
            case 1: take_some(&sp, &m, &c); break;
            case 2: claim_one(&sp, &m, &c); break;
            default: give_one(&sp, &m, &c);
            }
            compare(&sp, &m, seed, round);
        }
        space_release(&sp);
    }
}

Test(space, an_empty_one_has_nothing_to_give) {
    struct space sp;
    struct extent e;
    bool was_free = true;
    space_init(&sp, mem_default());
    cr_expect_not(space_take(&sp, UNIT_LEN, &e));
    cr_expect_eq(space_last(&sp).len, 0);
    cr_expect_not(space_overlaps(&sp, units(0, 100)));
    cr_expect_eq(space_claim(&sp, units(3, 1), &was_free, NULL), ST_OK);
    cr_expect_not(was_free);
    space_release(&sp);
}

Test(space, a_failed_allocation_changes_nothing) {
    struct mem_fail mf;
    struct space sp;
    mem_fail_init(&mf, 0);
    space_init(&sp, &mf.mem);
    uint64_t given = 0;
    cr_assert_eq(space_reserve(&sp, 10, NULL), ST_OK);
    mf.fail_at = mf.count + 1;
    while (given < 1000 && space_give(&sp, units(given * 2, 1), NULL) == ST_OK) given++;
    cr_expect(given >= 10 && given < 1000, "what was reserved was there");
    cr_expect_eq(sp.free_len, given * UNIT_LEN);
    cr_expect_not(space_overlaps(&sp, units(given * 2, 1)));
    space_release(&sp);
    cr_expect_eq(mem_fail_live(&mf), 0);
}
