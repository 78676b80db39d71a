/* Arithmetic and conversions across the four types. */
#include "bson/number.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

static struct bnum i32(int32_t v) { return (struct bnum){.type = B_INT32, .i32 = v}; }
static struct bnum i64(int64_t v) { return (struct bnum){.type = B_INT64, .i64 = v}; }
static struct bnum dbl(double v) { return (struct bnum){.type = B_DOUBLE, .d = v}; }

static struct bnum dec(const char *text) {
    struct bnum n = {.type = B_DECIMAL};
    cr_assert(decimal_from_text(text, &n.dec), "%s", text);
    return n;
}

/* "int 5", "long 5", "double 0.5", "decimal 1.0" */
static const char *show(struct bnum n, char text[80]) {
    char digits[43];
    switch (n.type) {
    case B_INT32: (void) snprintf(text, 80, "int %d", n.i32); break;
    case B_INT64: (void) snprintf(text, 80, "long %lld", (long long) n.i64); break;
    case B_DOUBLE: (void) snprintf(text, 80, "double %.17g", n.d); break;
    default:
        decimal_to_text(n.dec, digits);
        (void) snprintf(text, 80, "decimal %s", digits);
        break;
    }
    return text;
}

#define SUM(a, b, want) check_result(bnum_add, a, b, want)
#define PRODUCT(a, b, want) check_result(bnum_mul, a, b, want)

static void check_result(bool (*op)(struct bnum, struct bnum, struct bnum *), struct bnum a, struct bnum b,
                         const char *want) {
    struct bnum r;
    char text[80];
    bool ok = op(a, b, &r);
    cr_assert_eq(ok, want != NULL);
    if (ok) cr_assert_str_eq(show(r, text), want);
    ok = op(b, a, &r);
    cr_assert_eq(ok, want != NULL);
    if (ok) cr_assert_str_eq(show(r, text), want);
}

Test(number, widens_as_mongodb_does) {
    SUM(i32(1), i32(2), "int 3");
    SUM(i32(INT32_MAX), i32(1), "long 2147483648");
    SUM(i32(1), i64(2), "long 3");
    SUM(i64(INT64_MAX), i32(1), NULL);
    SUM(i64(INT64_MIN), i64(-1), NULL);
    SUM(i32(1), dbl(0.5), "double 1.5");
    SUM(i64(1), dec("0.1"), "decimal 1.1");
    SUM(dbl(0.5), dec("1"), "decimal 1.500000000000000");
    PRODUCT(i32(3), i32(-4), "int -12");
    PRODUCT(i32(65536), i32(65536), "long 4294967296");
    PRODUCT(i64(INT64_MAX), i64(2), NULL);
    PRODUCT(i64(INT64_MIN), i32(-1), NULL);
    PRODUCT(dbl(2.5), i32(2), "double 5");
    PRODUCT(dec("1.10"), i32(3), "decimal 3.30");
    PRODUCT(dec("9.999999999999999999999999999999999E+6144"), i32(10), "decimal Infinity");
}

Test(number, keeps_fifteen_digits_of_a_double) {
    static const struct {
        double v;
        const char *want;
    } rows[] = {
        {0.1, "0.100000000000000"},          {2.5, "2.50000000000000"},
        {-5.5, "-5.50000000000000"},         {0.0, "0"},
        {1e300, "1.00000000000000E+300"},    {9.9999999999999995, "10.0000000000000"},
        {123456789.125, "123456789.125000"},
    };
    char text[43];
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        decimal_to_text(bnum_to_decimal(dbl(rows[i].v)), text);
        cr_assert_str_eq(text, rows[i].want);
    }
}

Test(number, converts_to_integers_only_what_fits) {
    int64_t v;
    cr_assert(bnum_to_int64(dbl(-2.9), &v) && v == -2);
    cr_assert(bnum_to_int64(dbl(-0x1p63), &v) && v == INT64_MIN);
    cr_assert_not(bnum_to_int64(dbl(0x1p63), &v));
    cr_assert_not(bnum_to_int64(dbl(NAN), &v));
    cr_assert_not(bnum_to_int64(dbl(INFINITY), &v));
    cr_assert(bnum_to_int64(dec("9223372036854775807.9"), &v) && v == INT64_MAX);
    cr_assert_not(bnum_to_int64(dec("9223372036854775808"), &v));
    cr_assert(bnum_to_int64(dec("-9223372036854775808"), &v) && v == INT64_MIN);
    cr_assert_not(bnum_to_int64(dec("NaN"), &v));
    cr_assert_not(bnum_to_int64(dec("Infinity"), &v));
    cr_assert_not(bnum_to_int64_exact(dec("2.5"), &v));
    cr_assert(bnum_to_int64_exact(dec("2.50E+1"), &v) && v == 25);
    cr_assert(bnum_to_int64_exact(dec("250E-1"), &v) && v == 25);
    cr_assert(bnum_is_integral(dec("1E+6000")));
    cr_assert_not(bnum_is_integral(dec("1E-6000")));
    cr_assert_not(bnum_is_integral(dbl(INFINITY)));
}

Test(number, is_nan_only_when_it_is) {
    cr_assert(bnum_is_nan(dbl(NAN)) && bnum_is_nan(dec("NaN")));
    cr_assert_not(bnum_is_nan(dbl(INFINITY)) || bnum_is_nan(dec("Infinity")) || bnum_is_nan(i32(0)));
}
