/* Commands and logins by clients; see client_ease.h. */
#include "support/client_ease.h"

#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "support/scram_client.h"

char client_message[1024];

static int code_of(const bson_t *reply) {
    bson_iter_t it;
    cr_assert_not_null(reply);
    cr_assert(bson_validate(reply, BSON_VALIDATE_NONE, NULL));
    snprintf(client_message, sizeof(client_message), "%s",
             bson_iter_init_find(&it, reply, "errmsg") ? bson_iter_utf8(&it, NULL) : "");
    cr_assert(bson_iter_init_find(&it, reply, "ok"));
    if (bson_iter_as_bool(&it)) return 0;
    return bson_iter_init_find(&it, reply, "code") ? bson_iter_int32(&it) : -1;
}

int client_run(elmo_client_t *client, const char *db, const bson_t **reply, const char *fmt, ...) {
    char text[8192];
    va_list args;
    bson_error_t error;
    const bson_t *own;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    for (char *p = text; *p != 0; p++)
        if (*p == '\'') *p = '"';
    bson_t *body = bson_new_from_json((const uint8_t *) text, -1, &error);
    cr_assert_not_null(body, "%s: %s", text, error.message);
    (void) elmo_client_command(client, db, body, NULL, 0, &own, &error);
    bson_destroy(body);
    if (reply != NULL) *reply = own;
    return code_of(own);
}

struct sasl_answer sasl_send(elmo_client_t *client, const char *db, const char *mechanism, bool skips_empty,
                             const void *payload, size_t len) {
    struct sasl_answer a = {0};
    bson_t body, options;
    const bson_t *reply;
    bson_iter_t it;
    bson_error_t error;
    bson_init(&body);
    if (mechanism != NULL) {
        BSON_APPEND_INT32(&body, "saslStart", 1);
        BSON_APPEND_UTF8(&body, "mechanism", mechanism);
        BSON_APPEND_DOCUMENT_BEGIN(&body, "options", &options);
        BSON_APPEND_BOOL(&options, "skipEmptyExchange", skips_empty);
        bson_append_document_end(&body, &options);
    } else {
        BSON_APPEND_INT32(&body, "saslContinue", 1);
        BSON_APPEND_INT32(&body, "conversationId", 1);
    }
    BSON_APPEND_BINARY(&body, "payload", BSON_SUBTYPE_BINARY, payload, (uint32_t) len);
    (void) elmo_client_command(client, db, &body, NULL, 0, &reply, &error);
    bson_destroy(&body);
    a.code = code_of(reply);
    if (a.code != 0) return a;
    const uint8_t *bytes;
    uint32_t got;
    cr_assert(bson_iter_init_find(&it, reply, "done"));
    a.done = bson_iter_bool(&it);
    cr_assert(bson_iter_init_find(&it, reply, "payload"));
    bson_iter_binary(&it, NULL, &got, &bytes);
    cr_assert_lt(got, sizeof(a.payload));
    memcpy(a.payload, bytes, got);
    a.len = got;
    return a;
}

int client_login(elmo_client_t *client, const char *db, const char *mechanism, const char *user, const char *password) {
    struct scram_client c;
    char text[600];
    scram_client_init(&c, mechanism, user, password, NULL);
    scram_client_first(&c, text);
    struct sasl_answer a = sasl_send(client, db, mechanism, true, text, strlen(text));
    if (a.code != 0) return a.code;
    cr_assert(!a.done);
    cr_assert(scram_client_final(&c, a.payload, a.len));
    a = sasl_send(client, db, NULL, false, c.final, strlen(c.final));
    if (a.code != 0) return a.code;
    cr_assert(a.done);
    cr_assert_eq(a.len, strlen(c.signature));
    cr_assert_arr_eq(a.payload, c.signature, a.len);
    return 0;
}
