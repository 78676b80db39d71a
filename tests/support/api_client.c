#include "support/api_client.h"

#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

elmo_client_t *client_of(elmo_t *db, const char *opts) {
    bson_error_t error;
    bson_t *o = doc_of("%s", opts);
    elmo_client_t *c = elmo_client_new(db, o, &error);
    bson_destroy(o);
    cr_assert_not_null(c, "%s", error.message);
    return c;
}

const bson_t *ask(elmo_client_t *c, int64_t code, const char *fmt, ...) {
    char json[4000];
    const bson_t *reply;
    bson_error_t error = {0};
    va_list ap;
    va_start(ap, fmt);
    (void) vsnprintf(json, sizeof(json), fmt, ap);
    va_end(ap);
    bson_t *body = doc_of("%s", json);
    bool ok = elmo_client_command(c, bson_has_field(body, "$db") ? NULL : "test", body, NULL, 0, &reply, &error);
    bson_destroy(body);
    cr_assert_eq(ok, code == 0, "%s: %s", json, ok ? "it went well" : error.message);
    if (!ok) cr_assert_eq(error.code, (uint32_t) code, "%s: %u %s", json, error.code, error.message);
    cr_assert_eq(number_in(reply, "ok"), ok);
    return reply;
}

bool has_label(const bson_t *reply, const char *label) {
    bson_iter_t it, labels;
    if (!bson_iter_init_find(&it, reply, "errorLabels") || !bson_iter_recurse(&it, &labels)) return false;
    while (bson_iter_next(&labels))
        if (strcmp(bson_iter_utf8(&labels, NULL), label) == 0) return true;
    return false;
}
