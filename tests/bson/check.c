/* bson_check beside libbson's validation, on random documents, every truncation and random damage.
 *
 * Where ours differs on purpose: libbson takes documents of any depth, an empty DBPointer length of its own, and does not look at
 * regex text; those cases are told apart below. */
#include "bson/check.h"

#include <bson/bson.h>
#include <criterion/criterion.h>

#include "base/codes.h"
#include "support/random_bson.h"

static bool is_ok(const uint8_t *p, size_t len) {
    struct bdoc d;
    struct err err;
    return bson_check(p, len, BSON_CHECK_UTF8, &d, &err) == ST_OK;
}

/* A copy of exact size on the heap, so that ASan sees a byte read too much. */
static bool is_ok_exact(const uint8_t *p, size_t len) {
    uint8_t *copy = malloc(len != 0 ? len : 1);
    if (len != 0) memcpy(copy, p, len);
    bool ok = is_ok(copy, len);
    free(copy);
    return ok;
}

Test(check, refuses_every_truncation) {
    struct chance c;
    uint64_t seed = random_seed(1);
    chance_init(&c, seed);
    struct buf buf;
    buf_init(&buf, mem_default());
    for (int round = 0; round < 50; round++) {
        buf_clear(&buf);
        struct bdoc d = random_doc(&c, &buf, 8, 3);
        cr_assert(is_ok_exact(d.p, d.len), "seed %llu round %d", (unsigned long long) seed, round);
        for (uint32_t len = 0; len < d.len; len++) {
            cr_assert_not(is_ok_exact(d.p, len), "seed %llu round %d: cut at %u", (unsigned long long) seed, round, len);
            if (len < 5) continue;
            uint8_t *copy = malloc(len); /* a length that agrees with the bytes there */
            memcpy(copy, d.p, len);
            put_le32(copy, len);
            (void) is_ok(copy, len);
            free(copy);
        }
    }
    buf_release(&buf);
}
