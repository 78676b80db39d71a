/* Commands as a client sends them, for tests. Failures of helpers fail the test. */
#ifndef TESTS_SUPPORT_API_CLIENT_H
#define TESTS_SUPPORT_API_CLIENT_H

#include <elmo/client.h>

#include "support/api_db.h"

/* `opts` as JSON. */
elmo_client_t *client_of(elmo_t *db, const char *opts);

/* Runs a command given as JSON against the database "test" (its `$db` may say otherwise). It must answer with this code; 0: go well. The reply is lent until the client's next
 * command. */
const bson_t *ask(elmo_client_t *c, int64_t code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Is it among the reply's errorLabels? */
bool has_label(const bson_t *reply, const char *label);

/* JSON of session `digit` ('0' to '9'), and of statement of its transaction n. */
#define LSID(digit) "lsid: {id: {$binary: {base64: 'AAAAAAAAAAAAAAAAAAAA" digit "A==', subType: '04'}}}"
#define NUMBER(n) "txnNumber: {$numberLong: '" n "'}"
#define START(digit, n) LSID(digit) ", " NUMBER(n) ", startTransaction: true, autocommit: false"
#define IN_TXN(digit, n) LSID(digit) ", " NUMBER(n) ", autocommit: false"

#endif
