/* The part of Criterion's interface that the tests use, in one process and without its runner.
 *
 * For ThreadSanitizer: Criterion forks workers around a memory arena at an address that the sanitizer refuses ("Could not initialize inheritable
 * arena"). Tests run one after the other in the order of the file; the first failed assertion ends the process.
 * An argument that is not an option names the one test to run. */
#ifndef TESTS_SUPPORT_BARE_CRITERION_H
#define TESTS_SUPPORT_BARE_CRITERION_H

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct bare_test {
    const char *suite, *name;
    void (*run)(void);
    struct bare_test *next;
};

struct bare_options {
    void (*init)(void), (*fini)(void);
    const char *description;
    bool disabled;
    double timeout;
    int exit_code, signal;
};

extern struct bare_test *bare_first, **bare_last; /* runner.c */

#define Test(suite_, name_, ...)                                                                                       \
    static void suite_##_##name_##_body(void);                                                                         \
    static void suite_##_##name_##_run(void) {                                                                         \
        struct bare_options o = {__VA_ARGS__};                                                                         \
        if (o.disabled) return;                                                                                        \
        if (o.init != NULL) o.init();                                                                                  \
        suite_##_##name_##_body();                                                                                     \
        if (o.fini != NULL) o.fini();                                                                                  \
    }                                                                                                                  \
    __attribute__((constructor)) static void suite_##_##name_##_add(void) {                                            \
        static struct bare_test t = {#suite_, #name_, suite_##_##name_##_run, NULL};                                   \
        *bare_last = &t;                                                                                               \
        bare_last = &t.next;                                                                                           \
    }                                                                                                                  \
    static void suite_##_##name_##_body(void)

#define TestSuite(suite_, ...) extern int bare_suite_##suite_

struct criterion_test_params {
    size_t size;
    void *params;
    size_t length;
};
#define cr_make_param_array(type, array, length_, ...)                                                                 \
    ((struct criterion_test_params){sizeof(type), (array), (length_)})
#define ParameterizedTestParameters(suite_, name_) static struct criterion_test_params suite_##_##name_##_params(void)
#define ParameterizedTest(param, suite_, name_, ...)                                                                   \
    static void suite_##_##name_##_each(param);                                                                        \
    Test(suite_, name_, __VA_ARGS__) {                                                                                 \
        struct criterion_test_params p = suite_##_##name_##_params();                                                  \
        for (size_t i = 0; i < p.length; i++) suite_##_##name_##_each((void *) ((char *) p.params + i * p.size));      \
    }                                                                                                                  \
    static void suite_##_##name_##_each(param)

#define bare_fail(what, ...)                                                                                           \
    (fprintf(stderr, "%s:%d: failed: %s ", __FILE__, __LINE__, what), fprintf(stderr, " " __VA_ARGS__),                \
     fprintf(stderr, "\n"), abort())

#define cr_assert(condition, ...) ((condition) ? (void) 0 : (void) bare_fail(#condition, __VA_ARGS__))
#define cr_assert_not(condition, ...) cr_assert(!(condition), __VA_ARGS__)
#define cr_assert_fail(...) bare_fail("reached", __VA_ARGS__)
#define cr_assert_eq(a, b, ...) cr_assert((a) == (b), __VA_ARGS__)
#define cr_assert_neq(a, b, ...) cr_assert((a) != (b), __VA_ARGS__)
#define cr_assert_lt(a, b, ...) cr_assert((a) < (b), __VA_ARGS__)
#define cr_assert_leq(a, b, ...) cr_assert((a) <= (b), __VA_ARGS__)
#define cr_assert_gt(a, b, ...) cr_assert((a) > (b), __VA_ARGS__)
#define cr_assert_geq(a, b, ...) cr_assert((a) >= (b), __VA_ARGS__)
#define cr_assert_null(a, ...) cr_assert((a) == NULL, __VA_ARGS__)
#define cr_assert_not_null(a, ...) cr_assert((a) != NULL, __VA_ARGS__)
#define cr_assert_str_eq(a, b, ...) cr_assert(strcmp((a), (b)) == 0, __VA_ARGS__)
#define cr_assert_str_neq(a, b, ...) cr_assert(strcmp((a), (b)) != 0, __VA_ARGS__)
#define cr_assert_arr_eq(a, b, len, ...) cr_assert(memcmp((a), (b), (len)) == 0, __VA_ARGS__)
#define cr_assert_arr_neq(a, b, len, ...) cr_assert(memcmp((a), (b), (len)) != 0, __VA_ARGS__)
#define cr_assert_float_eq(a, b, epsilon, ...) cr_assert(fabs((double) ((a) - (b))) <= (epsilon), __VA_ARGS__)
#define cr_expect cr_assert
#define cr_expect_eq cr_assert_eq
#define cr_expect_not cr_assert_not
#define cr_expect_neq cr_assert_neq
#define cr_expect_lt cr_assert_lt
#define cr_expect_leq cr_assert_leq
#define cr_expect_gt cr_assert_gt
#define cr_expect_geq cr_assert_geq
#define cr_expect_null cr_assert_null
#define cr_expect_not_null cr_assert_not_null
#define cr_expect_str_eq cr_assert_str_eq
#define cr_log_info(...) ((void) fprintf(stderr, __VA_ARGS__), (void) fprintf(stderr, "\n"))
#define cr_log_warn cr_log_info
#define cr_skip_test(...) return

#endif
