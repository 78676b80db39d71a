/* bson_check beside libbson's validation, on random documents, every truncation and random damage.
 * Ours is stricter: what it accepts libbson accepts, and is_stricter lists its reasons to refuse that libbson has not. */
#include "bson/check.h"

#include <bson/bson.h>
#include <criterion/criterion.h>
#include <stdlib.h>

#include "base/codes.h"
#include "bson/compare.h"
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
            cr_assert_not(is_ok_exact(d.p, len), "seed %llu round %d: cut at %u", (unsigned long long) seed, round,
                          len);
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

/* libbson does not look at the text of regular expressions, code, symbols and names of database pointers, and it passes over a child
 * whose frame is broken: our reasons for a refusal that it has not. */
static bool is_stricter(const char *our_text) {
    static const char *const reasons[] = {"text that is not UTF-8", "a document ", "inner length", "scope", "deeper"};
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
        if (strstr(our_text, reasons[i]) != NULL) return true;
    return false;
}

/* A walk through everything, as a reader does: what the check lets pass can be read without harm. */
static uint64_t walk(struct bdoc d) {
    struct biter it = biter_of(d);
    struct belem e;
    uint64_t sum = 0;
    while (biter_next(&it, &e)) {
        sum += e.name.len + bval_hash(e.value, sum);
        if (e.value.type == B_DOCUMENT || e.value.type == B_ARRAY) sum += walk(bval_doc(e.value));
    }
    return sum + bdoc_compare(d, d);
}

Test(check, agrees_with_libbson_on_damaged_documents) {
    uint64_t seed = random_seed(2), rounds = random_rounds(60000), refused = 0, compared = 0;
    struct chance c;
    struct buf buf;
    chance_init(&c, seed);
    buf_init(&buf, mem_default());
    for (uint64_t round = 0; round < rounds; round++) {
        struct bdoc d, checked;
        struct err err;
        size_t offset;
        bson_t theirs;
        buf_clear(&buf);
        bool is_flat = round & 1;
        d = random_doc(&c, &buf, 5, is_flat ? 0 : 3);
        uint8_t *copy = malloc(d.len);
        memcpy(copy, d.p, d.len);
        for (uint64_t n = 1 + chance_below(&c, 2); n > 0; n--) {
            uint64_t at = chance_below(&c, d.len);
            copy[at] =
                (uint8_t) (chance_below(&c, 2) ? chance_next(&c) : (uint64_t) copy[at] + chance_below(&c, 9) - 4);
        }
        bool ours = bson_check(copy, d.len, BSON_CHECK_UTF8, &checked, &err) == ST_OK;
        bool their = bson_init_static(&theirs, copy, d.len) &&
            bson_validate(&theirs, BSON_VALIDATE_UTF8 | BSON_VALIDATE_UTF8_ALLOW_NULL, &offset);
        if (ours) (void) walk(checked);
        refused += !ours;
        cr_assert(!ours || their, "seed %llu round %llu: libbson refuses it at %zu", (unsigned long long) seed,
                  (unsigned long long) round, offset);
        if (is_flat && !ours && !is_stricter(err.text)) {
            compared++;
            cr_assert_not(their, "seed %llu round %llu: %s", (unsigned long long) seed, (unsigned long long) round,
                          err.text);
        }
        free(copy);
    }
    cr_assert_gt(refused, rounds / 5);
    cr_assert_gt(compared, rounds / 20);
    buf_release(&buf);
}

static const struct {
    const char *bytes;
    size_t len;
    int32_t code;
    const char *text;
} faults[] = {
#define BYTES(s) s, sizeof(s) - 1
    {BYTES("\x05\0\0\0\0"), 0, NULL},
    {BYTES(""), 22, "invalid BSON at offset 0: a document that is cut off"},
    {BYTES("\x06\0\0\0\0\0"), 22, "invalid BSON in field '' at offset 5: a field name without its closing zero"},
    {BYTES("\x05\0\0\0\1"), 22, "invalid BSON at offset 0: a document without its closing zero"},
    {BYTES("\x06\0\0\0\0"), 22, "invalid BSON at offset 0: a document whose length is wrong"},
    {BYTES("\x09\0\0\0\x08"
           "a\0\2\0"),
     22, "invalid BSON in field 'a' at offset 7: a boolean that is neither 0 nor 1"},
    {BYTES("\x08\0\0\0\x15"
           "a\0\0"),
     22, "invalid BSON in field 'a' at offset 7: a value of an unknown type"},
    {BYTES("\x0b\0\0\0\x10"
           "a\0\0\0\0\0"),
     22, "invalid BSON in field 'a' at offset 7: a value that is cut off"},
    {BYTES("\x0e\0\0\0\2a\0\2\0\0\0xy\0"), 22,
     "invalid BSON in field 'a' at offset 7: a string without its closing zero"},
    {BYTES("\x0e\0\0\0\2a\0\0\0\0\0xy\0"), 22, "invalid BSON in field 'a' at offset 7: a string whose length is wrong"},
    {BYTES("\x0e\0\0\0\2a\0\3\0\0\0x\xff\0\0"), 22, "invalid BSON at offset 0: a document whose length is wrong"},
    {BYTES("\x0e\0\0\0\2a\0\2\0\0\0\xc3\0\0"), 22, "invalid BSON in field 'a' at offset 11: text that is not UTF-8"},
    {BYTES("\x11\0\0\0\3a\0\x09\0\0\0\x08"
           "b\0\5\0\0"),
     22, "invalid BSON in field 'a.b' at offset 14: a boolean that is neither 0 nor 1"},
};

Test(check, says_where_and_what_is_wrong) {
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        struct bdoc d;
        struct err err;
        uint8_t *copy = malloc(faults[i].len + 1);
        memcpy(copy + 1, faults[i].bytes, faults[i].len);
        status st = bson_check(copy + 1, faults[i].len, BSON_CHECK_UTF8, &d, &err);
        cr_assert_eq(st, faults[i].code == 0 ? ST_OK : ST_INVALID, "row %zu", i);
        if (st != ST_OK) cr_assert_str_eq(err.text, faults[i].text);
        if (st != ST_OK) cr_assert_eq(err.code, faults[i].code);
        free(copy);
    }
}

Test(check, limits_the_depth) {
    for (int levels = BSON_DEPTH_MAX; levels <= BSON_DEPTH_MAX + 1; levels++) {
        struct buf buf;
        struct bbuild b[BSON_DEPTH_MAX + 1];
        struct bdoc d;
        struct err err;
        buf_init(&buf, mem_default());
        bbuild_begin(&b[0], &buf);
        for (int i = 1; i < levels; i++) b[i] = bbuild_open_doc(&b[i - 1], SLICE_LIT("x"));
        for (int i = levels - 1; i > 0; i--) bbuild_close(&b[i]);
        d = bbuild_finish(&b[0]);
        status st = bson_check(d.p, d.len, 0, &d, &err);
        cr_assert_eq(st, levels <= BSON_DEPTH_MAX ? ST_OK : ST_INVALID);
        if (st != ST_OK) cr_assert_eq(err.code, CODE_Overflow);
        buf_release(&buf);
    }
}
