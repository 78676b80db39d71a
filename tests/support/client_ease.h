/* Short ways to run commands and to log in by an elmo_client_t. What must not happen fails the test. */
#ifndef TESTS_SUPPORT_CLIENT_EASE_H
#define TESTS_SUPPORT_CLIENT_EASE_H

#include <elmo/client.h>

/* A command as JSON by a client: its code, 0 for success. `reply` (may be NULL) is lent until the client's next call. */
int client_run(elmo_client_t *client, const char *db, const bson_t **reply, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* The errmsg of the last client_run. */
extern char client_message[1024];
/* One payload. ->payload gets the answer's. */
struct sasl_answer {
    int code;
    bool done;
    char payload[2048];
    size_t len;
};
struct sasl_answer sasl_send(elmo_client_t *client, const char *db, const char *mechanism, bool skips_empty,
                             const void *payload, size_t len); /* mechanism NULL: saslContinue */
/* The whole conversation: its code. */
int client_login(elmo_client_t *client, const char *db, const char *mechanism, const char *user, const char *password);

#endif
