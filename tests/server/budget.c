/* The budget of message bytes: who waits, who goes on, and that nobody waits for ever. */
#include <criterion/criterion.h>
#include <string.h>

#include "base/chance.h"
#include "server/budget.h"
#include "support/random_bson.h"

static struct share *woken[64];
static int woken_count;
static void note(void *ctx, struct share *s) {
    (void) ctx;
    cr_assert_not(s->is_waiting);
    woken[woken_count++] = s;
}

Test(budget, grants_up_to_its_limit_and_one_elder_beyond) {
    struct budget b;
    struct share a = {0}, c = {0}, d = {0};
    cr_assert(budget_init(&b, 100, note, NULL));
    cr_assert(budget_take(&b, &a, 60));
    cr_assert(budget_take(&b, &c, 60), "the first that does not fit is the elder");
    cr_assert_eq(b.elder, &c);
    cr_assert_not(budget_take(&b, &d, 10));
    cr_assert(budget_wait(&b, &d, 10));
    cr_assert(budget_take(&b, &c, 1000), "the elder goes on");
    budget_give(&b, &a, 60);
    cr_assert_eq(woken_count, 0, "still above the limit");
    budget_give(&b, &c, 1060);
    cr_assert_eq(woken_count, 1);
    cr_assert(woken[0] == &d);
    cr_assert(budget_take(&b, &d, 10));
    budget_give(&b, &d, 10);
    cr_assert_eq(b.used, 0);
    cr_assert_null(b.elder);
    budget_release(&b);
}

Test(budget, wakes_in_the_order_of_coming_and_as_many_as_fit) {
    struct budget b;
    struct share big = {0}, huge = {0}, small[4] = {0};
    cr_assert(budget_init(&b, 100, note, NULL));
    cr_assert(budget_take(&b, &big, 100));
    cr_assert(budget_take(&b, &huge, 5));
    for (int i = 0; i < 4; i++) {
        cr_assert_not(budget_take(&b, &small[i], 20));
        cr_assert(budget_wait(&b, &small[i], 20));
    }
    budget_give(&b, &big, 100);
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(woken_count, i + 1);
        cr_assert(woken[i] == &small[i]);
        cr_assert(budget_take(&b, &small[i], 20)); /* wakes the next */
    }
    budget_release(&b);
}

/* Many connections that each gather a message and give it back: every one gets through, and the limit holds but for the elder. */
Test(budget, lets_everybody_through_in_the_end) {
    enum { SHARES = 40, LIMIT = 1000, MESSAGE = 300 };
    struct share shares[SHARES] = {0};
    bool waits[SHARES] = {false};
    int done[SHARES] = {0}, total = 0;
    struct budget b;
    struct chance chance;
    uint64_t seed = random_seed(7);
    chance_init(&chance, seed);
    cr_assert(budget_init(&b, LIMIT, note, NULL));
    for (long step = 0; total < SHARES * 20; step++) {
        cr_assert(step < 10000000, "nobody goes on; seed %llu", (unsigned long long) seed);
        for (int i = 0; i < woken_count; i++) waits[woken[i] - shares] = false;
        woken_count = 0;
        size_t i = (size_t) chance_below(&chance, SHARES);
        struct share *s = &shares[i];
        if (waits[i] || done[i] == 20) continue;
        if (s->held >= MESSAGE) {
            budget_give(&b, s, s->held);
            done[i]++;
            total++;
        } else if (!budget_take(&b, s, 50)) {
            waits[i] = budget_wait(&b, s, 50);
        }
        size_t elder = b.elder != NULL ? b.elder->held : 0;
        cr_assert(b.used <= LIMIT + elder);
    }
    cr_assert_eq(b.used, 0);
    budget_release(&b);
}
