/* What commands answer from the description that elmo_set_service was given: hello, the replica set of one, the command line, the log. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include <elmo/client.h>

#include "support/api_db.h"

struct served {
    elmo_t *db;
    elmo_client_t *client;
};

static void serve(struct served *s, const char *service) {
    bson_error_t error;
    s->db = open_at(NULL, NULL);
    bson_t *told = doc_of("%s", service), *who = doc_of("{remote: '127.0.0.1:50312', isLocal: true}");
    cr_assert(elmo_set_service(s->db, told, &error), "%s", error.message);
    s->client = elmo_client_new(s->db, who, &error);
    cr_assert_not_null(s->client);
    bson_destroy(told);
    bson_destroy(who);
}

static void end(struct served *s) {
    elmo_client_destroy(s->client);
    elmo_close(s->db);
}

/* The reply, lent until the next one; its code when it must fail, else 0. */
static const bson_t *ask(struct served *s, const char *command, uint32_t code) {
    const bson_t *reply;
    bson_error_t error = {0};
    bson_t *body = doc_of("%s", command);
    bool ok = elmo_client_command(s->client, "admin", body, NULL, 0, &reply, &error);
    cr_expect_eq(ok, code == 0, "%s: %s", command, error.message);
    if (!ok) cr_expect_eq(error.code, code, "%s: %u %s", command, error.code, error.message);
    bson_destroy(body);
    return reply;
}

static bool has(const bson_t *reply, const char *path) {
    bson_iter_t it, found;
    return bson_iter_init(&it, reply) && bson_iter_find_descendant(&it, path, &found);
}

static const char *text_at(const bson_t *reply, const char *path) {
    bson_iter_t it, found;
    if (!bson_iter_init(&it, reply) || !bson_iter_find_descendant(&it, path, &found)) return "(missing)";
    return BSON_ITER_HOLDS_UTF8(&found) ? bson_iter_utf8(&found, NULL) : "(no text)";
}

Test(service, hello_tells_what_the_service_was_told) {
    struct served s;
    serve(&s, "{host: '127.0.0.1:4711', compressors: ['snappy', 'zstd', 'zlib']}");
    const bson_t *reply = ask(&s, "{hello: 1, compression: ['zlib', 'brotli', 'snappy']}", 0);
    cr_expect_str_eq(text_at(reply, "compression.0"), "zlib");
    cr_expect_str_eq(text_at(reply, "compression.1"), "snappy");
    cr_expect(!has(reply, "compression.2"));
    cr_expect(!has(reply, "setName"));
    cr_expect_eq(number_in(reply, "connectionId"), 1);
    reply = ask(&s, "{hello: 1, compression: ['brotli']}", 0);
    cr_expect(!has(reply, "compression"));
    reply = ask(&s, "{whatsmyuri: 1}", 0);
    cr_expect_str_eq(text_at(reply, "you"), "127.0.0.1:50312");
    end(&s);
}

Test(service, the_first_hello_says_who_is_there_and_no_other) {
    struct served s;
    const char *client = "client: {driver: {name: 'x', version: '1'}, os: {type: 'Linux'}}";
    char command[200];
    serve(&s, "{}");
    (void) snprintf(command, sizeof(command), "{hello: 1, %s}", client);
    (void) ask(&s, command, 0);
    (void) ask(&s, command, 186);
    (void) ask(&s, "{hello: 1}", 0);
    end(&s);
}

Test(service, a_replica_set_of_one_is_primary_from_the_start) {
    struct served s;
    serve(&s, "{host: '127.0.0.1:4711', replicaSet: 'rs0'}");
    const bson_t *reply = ask(&s, "{hello: 1}", 0);
    cr_expect_str_eq(text_at(reply, "setName"), "rs0");
    cr_expect_str_eq(text_at(reply, "hosts.0"), "127.0.0.1:4711");
    cr_expect_str_eq(text_at(reply, "me"), "127.0.0.1:4711");
    cr_expect_str_eq(text_at(reply, "primary"), "127.0.0.1:4711");
    cr_expect(has(reply, "electionId") && has(reply, "lastWrite.opTime.ts"));
    reply = ask(&s, "{replSetGetStatus: 1}", 0);
    cr_expect_str_eq(text_at(reply, "members.0.stateStr"), "PRIMARY");
    reply = ask(&s, "{replSetInitiate: {}}", 23);
    cr_expect_str_eq(text_at(reply, "errmsg"), "already initialized");
    reply = ask(&s, "{replSetGetConfig: 1}", 0);
    cr_expect_str_eq(text_at(reply, "config.members.0.host"), "127.0.0.1:4711");
    (void) ask(&s, "{replSetReconfig: {_id: 'rs0', version: 2, members: [{_id: 0, host: 'h'}]}}", 0);
    (void) ask(&s, "{replSetReconfig: {_id: 'rs1', version: 2, members: [{_id: 0, host: 'h'}]}}", 103);
    (void) ask(&s, "{replSetReconfig: {_id: 'rs0', version: 2, members: [{}, {}]}}", 103);
    reply = ask(&s, "{serverStatus: 1}", 0);
    cr_expect_str_eq(text_at(reply, "repl.setName"), "rs0");
    cr_expect_str_eq(text_at(reply, "host"), "127.0.0.1:4711");
    cr_expect_eq(number_in(reply, "connections.current"), 1);
    cr_expect_eq(number_in(reply, "connections.active"), 1);
    reply = ask(&s, "{getDefaultRWConcern: 1}", 0);
    cr_expect_str_eq(text_at(reply, "defaultWriteConcern.w"), "majority");
    end(&s);
}

Test(service, the_command_line_and_the_log_are_told_as_they_were) {
    struct served s;
    serve(&s, "{argv: ['mongod', '--port', '1'], parsed: {net: {port: 1}}}");
    const bson_t *reply = ask(&s, "{getCmdLineOpts: 1}", 0);
    cr_expect_str_eq(text_at(reply, "argv.1"), "--port");
    cr_expect_eq(number_in(reply, "parsed.net.port"), 1);
    elmo_log_line(s.db, "{\"msg\": \"as it is\"}", false);
    elmo_log_line(s.db, "no \"access\" control\t\\", true);
    reply = ask(&s, "{getLog: 'global'}", 0);
    cr_expect_str_eq(text_at(reply, "log.0"), "{\"msg\": \"as it is\"}");
    cr_expect_eq(number_in(reply, "totalLinesWritten"), 2);
    reply = ask(&s, "{getLog: 'startupWarnings'}", 0);
    cr_expect(!has(reply, "log.1"));
    bson_error_t error;
    const char *line = text_at(reply, "log.0");
    bson_t *parsed = bson_new_from_json((const uint8_t *) line, -1, &error);
    cr_assert_not_null(parsed, "%s: %s", line, error.message);
    cr_expect_str_eq(text_at(parsed, "msg"), "no \"access\" control\t\\");
    cr_expect_str_eq(text_at(parsed, "s"), "W");
    cr_expect(has(parsed, "t"));
    bson_destroy(parsed);
    for (int i = 0; i < 1500; i++) elmo_log_line(s.db, "{}", false);
    reply = ask(&s, "{getLog: 'global'}", 0);
    cr_expect(has(reply, "log.1023"));
    cr_expect(!has(reply, "log.1024"));
    cr_expect_eq(number_in(reply, "totalLinesWritten"), 1502);
    end(&s);
}
