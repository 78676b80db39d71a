/* Filters: no key that was put in is denied, few others pass, and hostile payloads are refused. */
#include "storage/filter.h"

#include <criterion/criterion.h>

#include "base/chance.h"

Test(filter, denies_no_key_and_passes_few_others) {
    static const struct {
        size_t count;
        uint32_t bits;
        double passes_max;
    } rows[] = {{1, 10, 0.02},     {10, 10, 0.05},      {1000, 10, 0.016}, {100000, 10, 0.013},
                {100000, 4, 0.20}, {100000, 16, 0.003}, {50000, 1, 0.75}};
    for (size_t row = 0; row < sizeof(rows) / sizeof(rows[0]); row++) {
        struct chance chance, again;
        struct buf payload, hashes;
        struct filter f;
        buf_init(&payload, mem_default());
        buf_init(&hashes, mem_default());
        chance_init(&chance, row);
        again = chance;
        for (size_t i = 0; i < rows[row].count; i++) cr_assert(buf_append_u64(&hashes, chance_next(&chance)));
        cr_assert_eq(filter_build((const uint64_t *) (void *) hashes.p, rows[row].count, rows[row].bits, &payload,
                                  NULL),
                     ST_OK);
        cr_assert_null(filter_open(payload.p, payload.len, &f));
        for (size_t i = 0; i < rows[row].count; i++) cr_assert(filter_may_contain(&f, chance_next(&again)));
        size_t passed = 0;
        for (size_t i = 0; i < 100000; i++) passed += filter_may_contain(&f, chance_next(&chance));
        cr_assert_lt((double) passed / 100000, rows[row].passes_max, "row %zu: %zu of 100000 passed", row, passed);
        buf_release(&payload);
        buf_release(&hashes);
    }
}

Test(filter, refuses_impossible_payloads) {
    uint8_t p[FILTER_HEADER_LEN + 2 * FILTER_LINE_LEN] = {0};
    struct filter f;
    p[1] = 6;
    put_le32(p + 4, 2);
    cr_assert_null(filter_open(p, sizeof(p), &f));
    cr_assert_not_null(filter_open(p, sizeof(p) - 1, &f));
    cr_assert_not_null(filter_open(p, 64, &f));
    cr_assert_not_null(filter_open(p, 0, &f));
    put_le32(p + 4, 3);
    cr_assert_not_null(filter_open(p, sizeof(p), &f), "more lines than bytes");
    put_le32(p + 4, 0);
    cr_assert_not_null(filter_open(p, sizeof(p), &f));
    put_le32(p + 4, 2);
    p[1] = 0;
    cr_assert_not_null(filter_open(p, sizeof(p), &f));
    p[1] = 17;
    cr_assert_not_null(filter_open(p, sizeof(p), &f));
}
