/* The rules for names. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/codes.h"
#include "doc/catalog.h"

static status check(const char *db, const char *coll, bool for_write, struct err *err) {
    return ns_check((struct ns){slice_str(db), slice_str(coll)}, for_write, err);
}

static void refused(struct ns ns, bool for_write, const char *text) {
    struct err err = ERR_INIT;
    cr_assert_eq(ns_check(ns, for_write, &err), ST_INVALID, "%.*s was not refused", (int) ns.coll.len,
                 (const char *) ns.coll.p);
    cr_assert_eq(err.code, CODE_InvalidNamespace);
    cr_assert_not_null(strstr(err.text, text), "'%s' is not in '%s'", text, err.text);
}
#define REFUSED(db, coll, text) refused((struct ns){SLICE_LIT(db), SLICE_LIT(coll)}, false, text)

Test(names, common_names_are_taken) {
    const char *good[][2] = {{"a", "b"},          {"test", "app.users"},     {"t-e_s+t", "with space"},
                             {"db", "c/d\\e\"f"}, {"d\xc3\xb6", "\xc3\xa4"}, {"db", "systems"},
                             {"db", "a."}};
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
        cr_assert_eq(check(good[i][0], good[i][1], true, NULL), ST_OK, "%s.%s", good[i][0], good[i][1]);
}

Test(names, forbidden_bytes_in_databases_are_refused) {
    REFUSED("", "c", "Invalid database name: ''");
    for (const char *p = "/\\. \"$"; *p != 0; p++) {
        char name[] = {'a', *p, 'b', 0};
        struct err err = ERR_INIT;
        cr_assert_eq(check(name, "c", false, &err), ST_INVALID, "%s", name);
    }
    REFUSED("a\0b", "c", "Invalid database name: 'a");
}

Test(names, forbidden_collections_are_refused) {
    REFUSED("db", "", "Invalid namespace specified 'db.'");
    REFUSED("db", ".a", "Invalid namespace specified 'db..a'");
    REFUSED("db", "a$b", "Invalid namespace specified 'db.a$b'");
    REFUSED("db", "$cmd", "Invalid namespace");
    REFUSED("db", "a\0b", "Invalid namespace");
}

Test(names, lengths_have_limits) {
    char name[400];
    memset(name, 'x', sizeof(name));
    cr_assert_eq(ns_check((struct ns){slice_of(name, 63), SLICE_LIT("c")}, true, NULL), ST_OK);
    refused((struct ns){slice_of(name, 64), SLICE_LIT("c")}, true, "Invalid database name");
    cr_assert_eq(ns_check((struct ns){SLICE_LIT("db"), slice_of(name, 255 - 3)}, true, NULL), ST_OK);
    refused((struct ns){SLICE_LIT("db"), slice_of(name, 256 - 3)}, true, "too long");
}

Test(names, system_collections_are_refused_for_writing_only) {
    cr_assert_eq(check("db", "system.profile", false, NULL), ST_OK);
    refused((struct ns){SLICE_LIT("db"), SLICE_LIT("system.profile")}, true,
            "Invalid system namespace: db.system.profile");
    refused((struct ns){SLICE_LIT("db"), SLICE_LIT("a.system.b")}, true, "Invalid system namespace");
}
