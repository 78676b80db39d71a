/* Users, logins and roles as clients meet them: whole conversations, and each role against representative commands. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/handles.h"
#include "support/api_db.h"
#include "support/client_ease.h"
#include "support/scram_client.h"

#define SHA1 "SCRAM-SHA-1"
#define SHA256 "SCRAM-SHA-256"

static elmo_t *db;

static elmo_client_t *client_of(const char *opts) {
    bson_error_t error;
    bson_t *o = doc_of("%s", opts);
    elmo_client_t *c = elmo_client_new(db, o, &error);
    cr_assert_not_null(c, "%s", error.message);
    bson_destroy(o);
    return c;
}
static elmo_client_t *local_client(void) { return client_of("{remote: '127.0.0.1:5', isLocal: true}"); }
static elmo_client_t *remote_client(void) { return client_of("{remote: '10.0.0.7:5'}"); }
static elmo_client_t *trusted_client(void) { return client_of("{trusted: true}"); }

static void serve(bool auth) {
    bson_error_t error;
    bson_t *o = doc_of("{host: 'localhost:27017', auth: %s}", auth ? "true" : "false");
    db = db != NULL ? db : open_at(":memory:", NULL);
    cr_assert(elmo_set_service(db, o, &error), "%s", error.message);
    bson_destroy(o);
}
static void stop(void) {
    elmo_close(db);
    db = NULL;
}

/* By a trusted client: {createUser: ...} with one role. */
static void make_user(const char *on, const char *name, const char *password, const char *role, const char *role_db) {
    elmo_client_t *c = trusted_client();
    cr_assert_eq(client_run(c, on, NULL, "{'createUser': '%s', 'pwd': '%s', 'roles': [{'role': '%s', 'db': '%s'}]}",
                            name, password, role, role_db),
                 0, "%s", client_message);
    elmo_client_destroy(c);
}
static void expect_message(const char *text) { cr_assert_str_eq(client_message, text); }

Test(auth, both_mechanisms_log_in_and_nothing_else_does) {
    serve(true);
    make_user("app", "ann, a=b", "secret", "readWrite", "app");
    const char *const mechanisms[] = {SHA1, SHA256};
    for (int i = 0; i < 2; i++) {
        elmo_client_t *c = remote_client();
        cr_assert_eq(client_run(c, "app", NULL, "{'find': 'c'}"), 13);
        expect_message("Command find requires authentication");
        cr_assert_eq(client_login(c, "app", mechanisms[i], "ann, a=b", "wrong"), 18);
        expect_message("Authentication failed.");
        cr_assert_eq(client_run(c, "app", NULL, "{'find': 'c'}"), 13);
        cr_assert_eq(client_login(c, "admin", mechanisms[i], "ann, a=b", "secret"), 18); /* of another database */
        cr_assert_eq(client_login(c, "app", mechanisms[i], "ann", "secret"), 18);
        cr_assert_eq(client_login(c, "app", mechanisms[i], "ann, a=b", "secret"), 0);
        cr_assert_eq(client_run(c, "app", NULL, "{'insert': 'c', 'documents': [{'a': 1}]}"), 0);
        cr_assert_eq(client_run(c, "other", NULL, "{'find': 'c', 'filter': {'a': 1}}"), 13);
        expect_message("not authorized on other to execute command { find: \"c\", filter: { a: 1 } }");
        cr_assert_eq(client_run(c, "app", NULL, "{'logout': 1}"), 0);
        cr_assert_eq(client_run(c, "app", NULL, "{'find': 'c'}"), 13);
        elmo_client_destroy(c);
    }
    stop();
}

Test(auth, a_conversation_out_of_turn_is_refused) {
    struct scram_client s;
    char first[600];
    struct sasl_answer a, again;
    serve(true);
    make_user("admin", "ann", "secret", "root", "admin");
    elmo_client_t *c = remote_client(), *d = remote_client();
    cr_assert_eq(sasl_send(c, "admin", NULL, false, "x", 1).code, 17); /* none under way */
    scram_client_init(&s, SHA256, "ann", "secret", "clientnonce");
    scram_client_first(&s, first);
    cr_assert_eq(sasl_send(c, "admin", "PLAIN", true, "x", 1).code, 334);
    a = sasl_send(c, "admin", SHA256, true, first, strlen(first));
    cr_assert(scram_client_final(&s, a.payload, a.len));
    char kept[1024];
    snprintf(kept, sizeof(kept), "%s", s.final);
    again = sasl_send(d, "admin", SHA256, true, first, strlen(first)); /* a conversation of its own */
    cr_assert(again.len != a.len || memcmp(again.payload, a.payload, a.len) != 0, "nonces differ");
    cr_assert_eq(sasl_send(d, "admin", NULL, true, kept, strlen(kept)).code, 18); /* what another conversation proved */
    cr_assert_eq(sasl_send(c, "other", NULL, true, kept, strlen(kept)).code, 17);
    cr_assert_eq(sasl_send(c, "admin", NULL, true, kept, strlen(kept)).code, 17); /* it has ended */
    /* A second beginning ends the first. */
    a = sasl_send(c, "admin", SHA256, true, first, strlen(first));
    cr_assert(scram_client_final(&s, a.payload, a.len));
    again = sasl_send(c, "admin", SHA256, true, first, strlen(first));
    cr_assert_eq(sasl_send(c, "admin", NULL, true, s.final, strlen(s.final)).code, 18);
    /* Truncated. */
    for (size_t n = 0; n < 8; n++) {
        a = sasl_send(c, "admin", SHA256, true, first, strlen(first) * n / 8);
        if (a.code == 0) (void) sasl_send(c, "admin", NULL, true, "c=biws", n);
        cr_assert_eq(client_run(c, "admin", NULL, "{'listDatabases': 1}"), 13);
    }
    cr_assert_eq(client_login(c, "admin", SHA256, "ann", "secret"), 0);
    cr_assert_eq(client_run(c, "admin", NULL, "{'listDatabases': 1}"), 0);
    elmo_client_destroy(c);
    elmo_client_destroy(d);
    stop();
}

Test(auth, the_last_exchange_may_be_left_out_or_not) {
    struct scram_client s;
    char first[600];
    serve(true);
    make_user("admin", "ann", "secret", "root", "admin");
    elmo_client_t *c = remote_client();
    scram_client_init(&s, SHA1, "ann", "secret", NULL);
    scram_client_first(&s, first);
    struct sasl_answer a = sasl_send(c, "admin", SHA1, false, first, strlen(first));
    cr_assert(scram_client_final(&s, a.payload, a.len));
    a = sasl_send(c, "admin", NULL, false, s.final, strlen(s.final));
    cr_assert_eq(a.code, 0);
    cr_assert(!a.done);
    cr_assert_eq(client_run(c, "admin", NULL, "{'listDatabases': 1}"), 13, "not before the end");
    a = sasl_send(c, "admin", NULL, false, "", 0);
    cr_assert(a.code == 0 && a.done && a.len == 0);
    cr_assert_eq(client_run(c, "admin", NULL, "{'listDatabases': 1}"), 0);
    elmo_client_destroy(c);
    stop();
}

Test(auth, users_that_do_not_exist_answer_like_those_that_do) {
    struct scram_client s;
    char first[600];
    int iterations[2];
    struct sasl_answer a, b;
    serve(true);
    make_user("admin", "ann", "secret", "root", "admin");
    elmo_client_t *c = remote_client();
    scram_client_init(&s, SHA256, "nobody", "secret", "nonce");
    scram_client_first(&s, first);
    a = sasl_send(c, "admin", SHA256, true, first, strlen(first));
    b = sasl_send(c, "admin", SHA256, true, first, strlen(first));
    cr_assert(a.code == 0 && b.code == 0 && a.len == b.len);
    cr_assert_str_eq(strstr(a.payload, ",s="), strstr(b.payload, ",s="), "the salt of a name stays");
    cr_assert_eq(sscanf(strstr(a.payload, ",i="), ",i=%d", &iterations[0]), 1);
    cr_assert_eq(iterations[0], 15000);
    scram_client_init(&s, SHA256, "ann", "secret", "nonce");
    scram_client_first(&s, first);
    b = sasl_send(c, "admin", SHA256, true, first, strlen(first));
    cr_assert_eq(a.len, b.len);
    cr_assert_eq(client_login(c, "admin", SHA256, "nobody", "secret"), 18);
    elmo_client_destroy(c);
    stop();
}

Test(auth, a_changed_or_dropped_user_is_another_at_its_next_command) {
    serve(true);
    make_user("admin", "root", "r", "root", "admin");
    make_user("app", "ann", "old", "readWrite", "app");
    elmo_client_t *root = remote_client(), *ann = remote_client(), *late = remote_client();
    cr_assert_eq(client_login(root, "admin", SHA256, "root", "r"), 0);
    cr_assert_eq(client_login(ann, "app", SHA256, "ann", "old"), 0);
    cr_assert_eq(client_run(ann, "app", NULL, "{'insert': 'c', 'documents': [{}]}"), 0);
    cr_assert_eq(client_run(root, "app", NULL, "{'updateUser': 'ann', 'roles': ['read'], 'pwd': 'new'}"), 0, "%s",
                 client_message);
    cr_assert_eq(client_run(ann, "app", NULL, "{'insert': 'c', 'documents': [{}]}"), 13);
    cr_assert_eq(client_run(ann, "app", NULL, "{'find': 'c'}"), 0);
    cr_assert_eq(client_login(late, "app", SHA256, "ann", "old"), 18);
    cr_assert_eq(client_login(late, "app", SHA1, "ann", "new"), 0);
    cr_assert_eq(client_run(root, "app", NULL, "{'grantRolesToUser': 'ann', 'roles': ['readWrite', 'read']}"), 0);
    cr_assert_eq(client_run(ann, "app", NULL, "{'insert': 'c', 'documents': [{}]}"), 0);
    cr_assert_eq(client_run(root, "app", NULL, "{'revokeRolesFromUser': 'ann', 'roles': ['readWrite']}"), 0);
    cr_assert_eq(client_run(ann, "app", NULL, "{'insert': 'c', 'documents': [{}]}"), 13);
    cr_assert_eq(client_run(root, "app", NULL, "{'dropUser': 'ann'}"), 0);
    cr_assert_eq(client_run(ann, "app", NULL, "{'find': 'c'}"), 13);
    expect_message("Command find requires authentication");
    /* One of the same name is somebody else. */
    make_user("app", "ann", "new", "readWrite", "app");
    cr_assert_eq(client_run(late, "app", NULL, "{'find': 'c'}"), 13);
    elmo_client_destroy(root);
    elmo_client_destroy(ann);
    elmo_client_destroy(late);
    stop();
}

Test(auth, a_password_changed_in_the_middle_of_a_login_does_not_log_in) {
    struct scram_client s;
    char first[600];
    serve(true);
    make_user("admin", "ann", "old", "root", "admin");
    elmo_client_t *c = remote_client(), *boss = trusted_client();
    scram_client_init(&s, SHA256, "ann", "old", NULL);
    scram_client_first(&s, first);
    struct sasl_answer a = sasl_send(c, "admin", SHA256, true, first, strlen(first));
    cr_assert(scram_client_final(&s, a.payload, a.len));
    cr_assert_eq(client_run(boss, "admin", NULL, "{'updateUser': 'ann', 'pwd': 'new'}"), 0);
    cr_assert_eq(sasl_send(c, "admin", NULL, true, s.final, strlen(s.final)).code, 18);
    elmo_client_destroy(c);
    elmo_client_destroy(boss);
    stop();
}

Test(auth, the_localhost_exception_makes_one_user_and_no_more) {
    serve(true);
    elmo_client_t *near = local_client(), *far = remote_client(), *other = local_client();
    cr_assert_eq(client_run(far, "admin", NULL, "{'createUser': 'a', 'pwd': 'p', 'roles': ['root']}"), 13);
    expect_message("Command createUser requires authentication");
    cr_assert_eq(client_run(near, "test", NULL, "{'find': 'c'}"), 13);
    cr_assert(strncmp(client_message, "not authorized on test to execute command", 41) == 0, "%s", client_message);
    cr_assert_eq(client_run(near, "test", NULL, "{'createUser': 'a', 'pwd': 'top secret', 'roles': []}"), 13);
    cr_assert_null(strstr(client_message, "top secret"));
    cr_assert_eq(client_run(near, "admin", NULL,
                            "{'createUser': 'a', 'pwd': 'p', 'roles': [{'role': 'read', 'db': 'test'}]}"),
                 13);
    cr_assert_eq(client_run(near, "admin", NULL, "{'createUser': 'a', 'pwd': 'p', 'roles': ['userAdminAnyDatabase']}"),
                 0, "%s", client_message);
    cr_assert_eq(client_run(other, "admin", NULL, "{'createUser': 'b', 'pwd': 'p', 'roles': ['root']}"), 13);
    cr_assert_eq(client_run(near, "admin", NULL, "{'createUser': 'b', 'pwd': 'p', 'roles': ['root']}"), 13);
    cr_assert_eq(client_login(near, "admin", SHA256, "a", "p"), 0);
    cr_assert_eq(client_run(near, "test", NULL, "{'createUser': 'b', 'pwd': 'p', 'roles': ['dbOwner']}"), 0);
    cr_assert_eq(client_run(near, "test", NULL, "{'find': 'c'}"), 13);
    /* With nobody left it stays over. */
    cr_assert_eq(client_run(near, "test", NULL, "{'dropAllUsersFromDatabase': 1}"), 0);
    cr_assert_eq(client_run(near, "admin", NULL, "{'dropUser': 'a'}"), 0);
    cr_assert_eq(client_run(near, "admin", NULL, "{'createUser': 'b', 'pwd': 'p', 'roles': ['root']}"), 13);
    elmo_client_destroy(near);
    elmo_client_destroy(far);
    elmo_client_destroy(other);
    stop();
}

Test(auth, without_auth_nobody_needs_to_log_in_and_anybody_can) {
    serve(false);
    make_user("app", "ann", "secret", "read", "app");
    elmo_client_t *c = remote_client();
    cr_assert_eq(client_run(c, "app", NULL, "{'insert': 'c', 'documents': [{}]}"), 0);
    cr_assert_eq(client_login(c, "app", SHA256, "ann", "secret"), 0);
    cr_assert_eq(client_run(c, "app", NULL, "{'insert': 'c', 'documents': [{}]}"), 0);
    cr_assert_eq(client_run(c, "admin", NULL, "{'find': 'system.users'}"), 0);
    cr_assert_eq(client_run(c, "admin", NULL, "{'insert': 'system.users', 'documents': [{}]}"), 73);
    elmo_client_destroy(c);
    stop();
}

/* What each role may do: a letter for each command of the table below, in its order. */
static const struct {
    const char *db, *command;
} commands[] = {
    {"app", "{'find': 'c'}"},                                                         /* 0 */
    {"app", "{'count': 'c'}"},                                                        /* 1 */
    {"app", "{'insert': 'c', 'documents': [{'x': 1}]}"},                              /* 2 */
    {"app", "{'update': 'c', 'updates': [{'q': {}, 'u': {'$set': {'a': 1}}}]}"},      /* 3 */
    {"app", "{'delete': 'c', 'deletes': [{'q': {'n': 1}, 'limit': 1}]}"},             /* 4 */
    {"app", "{'createIndexes': 'c', 'indexes': [{'key': {'a': 1}, 'name': 'a_1'}]}"}, /* 5 */
    {"app", "{'listIndexes': 'c'}"},                                                  /* 6 */
    {"app", "{'listCollections': 1}"},                                                /* 7 */
    {"app", "{'usersInfo': 1}"},                                                      /* 8 */
    {"app", "{'explain': {'find': 'c'}}"},                                            /* 9 */
    {"other", "{'find': 'c'}"},                                                       /* 10 */
    {"other", "{'insert': 'c', 'documents': [{}]}"},                                  /* 11 */
    {"admin", "{'find': 'system.users'}"},                                            /* 12 */
    {"app", "{'updateUser': 'extra', 'customData': {}}"},                             /* 13 */
    {"local", "{'find': 'c'}"},                                                       /* 14 */
    {"app", "{'explain': {'delete': 'c', 'deletes': [{'q': {}, 'limit': 1}]}}"},      /* 15 */
};
static const struct {
    const char *role, *db, *may;
} matrix[] = {
    {"read", "app", "yy----yy-y------"},
    {"readWrite", "app", "yyyyyyyy-y-----y"},
    {"dbAdmin", "app", "-----yyy--------"},
    {"userAdmin", "app", "--------y----y--"},
    {"dbOwner", "app", "yyyyyyyyyy---y-y"},
    {"read", "other", "----------y-----"},
    {"readAnyDatabase", "admin", "yy----yy-yy-----"},
    {"readWriteAnyDatabase", "admin", "yyyyyyyy-yyy---y"},
    {"dbAdminAnyDatabase", "admin", "-----yyy--------"},
    {"userAdminAnyDatabase", "admin", "--------y---yy--"},
    {"clusterMonitor", "admin", "----------------"},
    {"clusterAdmin", "admin", "----------------"},
    {"root", "admin", "yyyyyyyyyyyyyyyy"},
};

Test(auth, each_role_may_do_its_own_and_nothing_more) {
    serve(true);
    make_user("app", "extra", "p", "read", "app");
    for (size_t r = 0; r < sizeof(matrix) / sizeof(matrix[0]); r++) {
        char name[32];
        snprintf(name, sizeof(name), "u%zu", r);
        make_user("admin", name, "p", matrix[r].role, matrix[r].db);
        elmo_client_t *c = remote_client();
        cr_assert_eq(client_login(c, "admin", SHA1, name, "p"), 0);
        for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
            int code = client_run(c, commands[i].db, NULL, "%s", commands[i].command);
            if (matrix[r].may[i] == 'y')
                cr_expect_neq(code, 13, "%s: %s: %s", matrix[r].role, commands[i].command, client_message);
            else cr_expect_eq(code, 13, "%s: %s gave %d", matrix[r].role, commands[i].command, code);
        }
        elmo_client_destroy(c);
    }
    stop();
}

Test(auth, nobody_gives_more_than_he_administers) {
    serve(true);
    make_user("app", "boss", "p", "userAdmin", "app");
    make_user("app", "ann", "p", "read", "app");
    elmo_client_t *c = remote_client();
    cr_assert_eq(client_login(c, "app", SHA256, "boss", "p"), 0);
    cr_assert_eq(client_run(c, "app", NULL,
                            "{'createUser': 'x', 'pwd': 'p', 'roles': [{'role': 'root', 'db': 'admin'}]}"),
                 13);
    cr_assert_eq(client_run(c, "app", NULL,
                            "{'createUser': 'x', 'pwd': 'p', 'roles': [{'role': 'read', 'db': 'other'}]}"),
                 13);
    cr_assert_eq(client_run(c, "app", NULL, "{'grantRolesToUser': 'boss', 'roles': [{'role': 'root', 'db': 'admin'}]}"),
                 13);
    cr_assert_eq(client_run(c, "app", NULL, "{'updateUser': 'ann', 'roles': []}"), 13);
    cr_assert_eq(client_run(c, "admin", NULL, "{'createUser': 'x', 'pwd': 'p', 'roles': []}"), 13);
    cr_assert_eq(client_run(c, "app", NULL, "{'createUser': 'x', 'pwd': 'p', 'roles': ['readWrite']}"), 0);
    cr_assert_eq(client_run(c, "app", NULL, "{'updateUser': 'ann', 'pwd': 'q'}"), 0);
    elmo_client_destroy(c);
    stop();
}

Test(auth, refuses_what_is_no_user_in_mongodbs_words) {
    static const struct {
        const char *db, *command;
        int code;
        const char *message;
    } rows[] = {
        {"app", "{'createUser': 'ann', 'pwd': 'p', 'roles': []}", 51003, "User \"ann@app\" already exists"},
        {"app", "{'createUser': '', 'pwd': 'p', 'roles': []}", 2, "User document needs 'user' field to be non-empty"},
        {"app", "{'createUser': 'x', 'roles': []}", 2,
         "Must provide a 'pwd' field for all user documents, except those with '$external' as the user's source db"},
        {"app", "{'createUser': 'x', 'pwd': 'p'}", 40414, NULL},
        {"app", "{'createUser': 'x', 'pwd': 5, 'roles': []}", 14, NULL},
        {"app", "{'createUser': 'x', 'pwd': '', 'roles': []}", 2, "Password cannot be empty"},
        {"app", "{'createUser': 'x', 'pwd': 'a\\u0007', 'roles': []}", 2, NULL},
        {"app", "{'createUser': 'x', 'pwd': 'p', 'roles': ['nope']}", 31, "Could not find role: nope@app"},
        {"app", "{'createUser': 'x', 'pwd': 'p', 'roles': ['root']}", 31, "Could not find role: root@app"},
        {"app", "{'createUser': 'x', 'pwd': 'p', 'roles': [5]}", 2, NULL},
        {"app", "{'createUser': 'x', 'pwd': 'p', 'roles': [{'role': 'read'}]}", 40414, NULL},
        {"app", "{'createUser': 'x', 'pwd': 'p', 'roles': [], 'mechanisms': []}", 2,
         "mechanisms field must not be empty"},
        {"app", "{'createUser': 'x', 'pwd': 'p', 'roles': [], 'mechanisms': ['PLAIN']}", 2,
         "Unknown auth mechanism 'PLAIN'"},
        {"app",
         "{'createUser': 'x', 'pwd': 'p', 'roles': [], 'digestPassword': false, 'mechanisms': ['SCRAM-SHA-256']}", 2,
         "Use of SCRAM-SHA-256 requires undigested passwords"},
        {"app",
         "{'createUser': 'x', 'pwd': 'p', 'roles': [], 'authenticationRestrictions': [{'clientSource': ['1.2.3.4']}]}",
         238, NULL},
        {"app", "{'createUser': 'x', 'pwd': 'p', 'roles': [], 'bogus': 1}", 40415, NULL},
        {"local", "{'createUser': 'x', 'pwd': 'p', 'roles': []}", 2, "Cannot create users in the local database"},
        {"app", "{'updateUser': 'x', 'pwd': 'p'}", 11, "User 'x@app' not found"},
        {"app", "{'updateUser': 'ann'}", 2, "Must specify at least one field to update in updateUser"},
        {"app", "{'dropUser': 'x'}", 11, "User 'x@app' not found"},
        {"app", "{'grantRolesToUser': 'x', 'roles': ['read']}", 11, NULL},
        {"app", "{'grantRolesToUser': 'ann', 'roles': []}", 2, NULL},
        {"app", "{'createRole': 'x', 'privileges': [], 'roles': []}", 115, NULL},
    };
    serve(false);
    make_user("app", "ann", "p", "read", "app");
    elmo_client_t *c = remote_client();
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cr_expect_eq(client_run(c, rows[i].db, NULL, "%s", rows[i].command), rows[i].code, "%s: %s", rows[i].command,
                     client_message);
        if (rows[i].message != NULL) cr_expect_str_eq(client_message, rows[i].message);
    }
    elmo_client_destroy(c);
    stop();
}

static char *json_of(const bson_t *doc) { return bson_as_relaxed_extended_json(doc, NULL); }

Test(auth, users_are_described_without_their_credentials_unless_asked) {
    const bson_t *reply;
    serve(false);
    make_user("app", "ann", "p", "read", "app");
    make_user("other", "bob", "p", "readWrite", "other");
    elmo_client_t *c = remote_client();
    cr_assert_eq(client_run(c, "app", &reply, "{'usersInfo': 1}"), 0);
    cr_assert_eq(number_in(reply, "users.1"), -1);
    char *text = json_of(reply);
    cr_assert_not_null(strstr(text, "\"_id\" : \"app.ann\""), "%s", text);
    cr_assert_not_null(strstr(text, "\"roles\" : [ { \"role\" : \"read\", \"db\" : \"app\" } ]"), "%s", text);
    cr_assert_not_null(strstr(text, "\"mechanisms\" : [ \"SCRAM-SHA-1\", \"SCRAM-SHA-256\" ]"), "%s", text);
    cr_assert_null(strstr(text, "storedKey"));
    bson_free(text);
    cr_assert_eq(client_run(c, "app", &reply, "{'usersInfo': 'ann', 'showCredentials': true, 'showPrivileges': true}"),
                 0);
    cr_assert_eq(number_in(reply, "users.0.credentials.SCRAM-SHA-256.iterationCount"), 15000);
    cr_assert_eq(number_in(reply, "users.0.credentials.SCRAM-SHA-1.iterationCount"), 10000);
    text = json_of(reply);
    cr_assert_not_null(strstr(text, "inheritedPrivileges"));
    bson_free(text);
    cr_assert_eq(client_run(c, "app", &reply, "{'usersInfo': {'forAllDBs': true}, 'filter': {'db': 'other'}}"), 0);
    text = json_of(reply);
    cr_assert(strstr(text, "other.bob") != NULL && strstr(text, "app.ann") == NULL);
    bson_free(text);
    cr_assert_eq(client_run(c, "app", &reply, "{'usersInfo': ['nobody', {'user': 'bob', 'db': 'other'}]}"), 0);
    text = json_of(reply);
    cr_assert(strstr(text, "other.bob") != NULL);
    bson_free(text);
    cr_assert_eq(client_run(c, "admin", &reply, "{'rolesInfo': 1, 'showBuiltinRoles': true, 'showPrivileges': true}"),
                 0);
    text = json_of(reply);
    cr_assert(strstr(text, "admin.root") != NULL && strstr(text, "admin.readWrite") != NULL);
    bson_free(text);
    cr_assert_eq(client_run(c, "app", &reply, "{'rolesInfo': 1, 'showBuiltinRoles': true}"), 0);
    text = json_of(reply);
    cr_assert(strstr(text, "app.dbOwner") != NULL && strstr(text, "root") == NULL);
    bson_free(text);
    elmo_client_destroy(c);
    stop();
}

Test(auth, connection_status_tells_who_is_there) {
    const bson_t *reply;
    serve(true);
    make_user("app", "ann", "p", "read", "app");
    elmo_client_t *c = remote_client();
    cr_assert_eq(client_run(c, "admin", &reply, "{'connectionStatus': 1}"), 0);
    char *text = json_of(reply);
    cr_assert_not_null(strstr(text, "\"authenticatedUsers\" : [  ]"), "%s", text);
    bson_free(text);
    cr_assert_eq(client_login(c, "app", SHA256, "ann", "p"), 0);
    cr_assert_eq(client_run(c, "admin", &reply, "{'connectionStatus': 1, 'showPrivileges': true}"), 0);
    text = json_of(reply);
    cr_assert_not_null(strstr(text, "\"authenticatedUsers\" : [ { \"user\" : \"ann\", \"db\" : \"app\" } ]"), "%s",
                       text);
    cr_assert_not_null(strstr(text, "\"authenticatedUserRoles\" : [ { \"role\" : \"read\", \"db\" : \"app\" } ]"), "%s",
                       text);
    cr_assert_not_null(strstr(text, "\"resource\" : { \"db\" : \"app\", \"collection\" : \"\" }"), "%s", text);
    bson_free(text);
    cr_assert_eq(client_login(c, "admin", SHA256, "nobody", "p"), 18);
    cr_assert_eq(client_run(c, "app", &reply, "{'usersInfo': 'ann'}"), 0, "oneself");
    cr_assert_eq(client_run(c, "app", &reply, "{'usersInfo': 'bob'}"), 13);
    elmo_client_destroy(c);
    stop();
}

Test(auth, lists_show_what_one_may_see) {
    const bson_t *reply;
    serve(true);
    make_user("app", "ann", "p", "read", "app");
    make_user("admin", "root", "p", "root", "admin");
    elmo_client_t *boss = trusted_client(), *c = remote_client();
    cr_assert_eq(client_run(boss, "app", NULL, "{'insert': 'c', 'documents': [{}]}"), 0);
    cr_assert_eq(client_run(boss, "other", NULL, "{'insert': 'c', 'documents': [{}]}"), 0);
    cr_assert_eq(client_login(c, "app", SHA256, "ann", "p"), 0);
    cr_assert_eq(client_run(c, "admin", &reply, "{'listDatabases': 1, 'nameOnly': true}"), 0);
    char *text = json_of(reply);
    cr_assert(strstr(text, "app") != NULL && strstr(text, "other") == NULL, "%s", text);
    bson_free(text);
    cr_assert_eq(client_run(c, "admin", &reply, "{'listDatabases': 1, 'authorizedDatabases': false}"), 13);
    cr_assert_eq(client_run(c, "other", &reply, "{'listCollections': 1, 'nameOnly': true}"), 13);
    cr_assert_eq(client_run(c, "other", &reply,
                            "{'listCollections': 1, 'nameOnly': true, 'authorizedCollections': true}"),
                 0);
    text = json_of(reply);
    cr_assert_not_null(strstr(text, "\"firstBatch\" : [  ]"), "%s", text);
    bson_free(text);
    cr_assert_eq(client_login(c, "admin", SHA256, "root", "p"), 5626702, "one login for each connection");
    cr_assert_eq(client_run(c, "app", NULL, "{'logout': 1}"), 0);
    cr_assert_eq(client_login(c, "admin", SHA256, "root", "p"), 0);
    cr_assert_eq(client_run(c, "admin", &reply, "{'listDatabases': 1, 'authorizedDatabases': false}"), 0);
    text = json_of(reply);
    cr_assert(strstr(text, "app") != NULL && strstr(text, "other") != NULL, "%s", text);
    bson_free(text);
    elmo_client_destroy(boss);
    elmo_client_destroy(c);
    stop();
}

static long long cursor_in(const bson_t *reply) {
    bson_iter_t it, at;
    cr_assert(bson_iter_init(&it, reply) && bson_iter_find_descendant(&it, "cursor.id", &at));
    return (long long) bson_iter_int64(&at);
}

Test(auth, a_cursor_is_its_makers) {
    const bson_t *reply;
    serve(true);
    make_user("app", "ann", "p", "read", "app");
    make_user("app", "bob", "p", "read", "app");
    elmo_client_t *boss = trusted_client(), *ann = remote_client(), *too = remote_client(), *bob = remote_client();
    cr_assert_eq(client_run(boss, "app", NULL, "{'insert': 'c', 'documents': [{}, {}, {}]}"), 0);
    cr_assert_eq(client_login(ann, "app", SHA1, "ann", "p"), 0);
    cr_assert_eq(client_login(too, "app", SHA1, "ann", "p"), 0);
    cr_assert_eq(client_login(bob, "app", SHA1, "bob", "p"), 0);
    cr_assert_eq(client_run(ann, "app", &reply, "{'find': 'c', 'batchSize': 1}"), 0);
    long long id = cursor_in(reply);
    const char *more = "{'getMore': {'$numberLong': '%lld'}, 'collection': 'c', 'batchSize': 1}";
    char text[200];
    snprintf(text, sizeof(text), more, id);
    cr_assert_eq(client_run(bob, "app", NULL, "%s", text), 13);
    cr_assert_not_null(strstr(client_message, "was not created by the authenticated user"));
    cr_assert_eq(client_run(bob, "app", NULL, "{'killCursors': 'c', 'cursors': [{'$numberLong': '%lld'}]}", id), 0,
                 "for him there is none");
    cr_assert_eq(client_run(too, "app", NULL, "%s", text), 0, "the same user elsewhere");
    cr_assert_eq(client_run(ann, "app", NULL, "{'killCursors': 'c', 'cursors': [{'$numberLong': '%lld'}]}", id), 0);
    cr_assert_eq(client_run(ann, "app", NULL, "%s", text), 43);
    elmo_client_destroy(boss);
    elmo_client_destroy(ann);
    elmo_client_destroy(too);
    elmo_client_destroy(bob);
    stop();
}

Test(auth, a_role_that_is_taken_away_ends_its_cursors_too) {
    const bson_t *reply;
    serve(true);
    make_user("app", "ann", "p", "read", "app");
    elmo_client_t *boss = trusted_client(), *ann = remote_client();
    cr_assert_eq(client_run(boss, "app", NULL, "{'insert': 'c', 'documents': [{}, {}, {}]}"), 0);
    cr_assert_eq(client_run(boss, "app", NULL, "{'insert': 'd', 'documents': [{}]}"), 0);
    cr_assert_eq(client_login(ann, "app", SHA1, "ann", "p"), 0);
    cr_assert_eq(client_run(ann, "app", &reply, "{'find': 'c', 'batchSize': 1}"), 0);
    long long rows = cursor_in(reply);
    cr_assert_eq(client_run(ann, "app", &reply, "{'listCollections': 1, 'cursor': {'batchSize': 0}}"), 0);
    long long names = cursor_in(reply);
    const char *more = "{'getMore': {'$numberLong': '%lld'}, 'collection': '%s', 'batchSize': 1}";
    char of_rows[200], of_names[200];
    snprintf(of_rows, sizeof(of_rows), more, rows, "c");
    snprintf(of_names, sizeof(of_names), more, names, "$cmd.listCollections");
    cr_assert_eq(client_run(ann, "app", NULL, "%s", of_rows), 0);
    cr_assert_eq(client_run(boss, "app", NULL, "{'revokeRolesFromUser': 'ann', 'roles': ['read']}"), 0);
    cr_assert_eq(client_run(ann, "app", NULL, "%s", of_rows), 13);
    cr_assert_eq(client_run(ann, "app", NULL, "%s", of_names), 13);
    cr_assert_eq(client_run(boss, "app", NULL, "{'grantRolesToUser': 'ann', 'roles': ['read']}"), 0);
    cr_assert_eq(client_run(ann, "app", NULL, "%s", of_rows), 0, "it was not used up: %s", client_message);
    cr_assert_eq(client_run(ann, "app", NULL, "%s", of_names), 0);
    elmo_client_destroy(boss);
    elmo_client_destroy(ann);
    stop();
}

Test(auth, commands_with_whole_namespaces_ask_about_those) {
    serve(true);
    make_user("app", "ann", "p", "readWrite", "admin");
    make_user("app", "bob", "p", "readWrite", "system");
    elmo_client_t *boss = trusted_client(), *ann = remote_client(), *bob = remote_client();
    cr_assert_eq(client_run(boss, "app", NULL, "{'grantRolesToUser': 'bob', 'roles': [{'role': 'userAdmin', 'db': 'admin'}]}"), 0);
    cr_assert_eq(client_run(boss, "system", NULL, "{'insert': 'users', 'documents': [{}]}"), 0);
    cr_assert_eq(client_login(ann, "app", SHA1, "ann", "p"), 0);
    cr_assert_eq(client_login(bob, "app", SHA1, "bob", "p"), 0);
    /* Ranges that are measured one after the other would tell what users' documents hold. */
    cr_assert_eq(client_run(ann, "admin", NULL,
                            "{'dataSize': 'admin.system.users', 'keyPattern': {'_id': 1}, 'min': {'_id': 'a'}, 'max': {'_id': 'b'}}"),
                 13);
    cr_assert_eq(client_run(ann, "admin", NULL, "{'dataSize': 'admin.system.users'}"), 13);
    cr_assert_eq(client_run(ann, "admin", NULL, "{'dataSize': 'admin.c'}"), 0);
    cr_assert_eq(client_run(bob, "admin", NULL, "{'dataSize': 'admin.system.users'}"), 0, "%s", client_message);
    /* Administering users of admin is no right to write there, whatever the source is called. */
    cr_assert_eq(client_run(bob, "admin", NULL, "{'renameCollection': 'system.users', 'to': 'admin.taken'}"), 13);
    elmo_client_destroy(boss);
    elmo_client_destroy(ann);
    elmo_client_destroy(bob);
    stop();
}

Test(auth, a_pipeline_touches_only_what_its_user_may) {
    serve(true);
    make_user("app", "ann", "p", "readWrite", "admin");
    elmo_client_t *boss = trusted_client(), *ann = remote_client();
    cr_assert_eq(client_run(boss, "admin", NULL, "{'insert': 'c', 'documents': [{}]}"), 0);
    cr_assert_eq(client_login(ann, "app", SHA1, "ann", "p"), 0);
    static const struct {
        const char *stage;
        int code;
    } rows[] = {
        {"{'$unionWith': 'c'}", 0},
        {"{'$unionWith': 'system.users'}", 13},
        {"{'$unionWith': {'coll': 'system.users', 'pipeline': []}}", 13},
        {"{'$lookup': {'from': 'system.users', 'as': 'a', 'pipeline': []}}", 13},
        {"{'$lookup': {'from': 'c', 'as': 'a', 'pipeline': [{'$unionWith': 'system.users'}]}}", 13},
        {"{'$facet': {'a': [{'$lookup': {'from': 'system.users', 'as': 'a', 'pipeline': []}}]}}", 13},
        {"{'$out': 'd'}", 0},
        {"{'$out': {'db': 'other', 'coll': 'd'}}", 13},
        {"{'$merge': {'into': {'db': 'other', 'coll': 'd'}}}", 13},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cr_expect_eq(client_run(ann, "admin", NULL, "{'aggregate': 'c', 'pipeline': [%s], 'cursor': {}}", rows[i].stage),
                     rows[i].code, "%s: %s", rows[i].stage, client_message);
        if (rows[i].code == 13)
            cr_expect_eq(client_run(ann, "admin", NULL, "{'explain': {'aggregate': 'c', 'pipeline': [%s], 'cursor': {}}}",
                                    rows[i].stage),
                         13, "%s: %s", rows[i].stage, client_message);
    }
    elmo_client_destroy(boss);
    elmo_client_destroy(ann);
    stop();
}

static size_t session_count(void) { return sessions_count(db->command.sessions); }

Test(auth, who_is_not_logged_in_keeps_no_session) {
    serve(true);
    make_user("app", "ann", "p", "read", "app");
    elmo_client_t *c = remote_client();
    const char *ping = "{'ping': 1, 'lsid': {'id': {'$binary': {'base64': 'AAAAAAAAAAAAAAAAAAAAAA==', 'subType': '04'}}}}";
    size_t before = session_count();
    cr_assert_eq(client_run(c, "admin", NULL, "%s", ping), 0);
    cr_assert_eq(session_count(), before);
    cr_assert_eq(client_login(c, "app", SHA1, "ann", "p"), 0);
    cr_assert_eq(client_run(c, "admin", NULL, "%s", ping), 0);
    cr_assert_eq(session_count(), before + 1);
    elmo_client_destroy(c);
    stop();
}

Test(auth, the_localhost_exception_shows_nothing) {
    const bson_t *reply;
    serve(true);
    elmo_client_t *boss = trusted_client(), *near = local_client();
    cr_assert_eq(client_run(boss, "app", NULL, "{'insert': 'c', 'documents': [{}, {}, {}]}"), 0);
    cr_assert_eq(client_run(boss, "app", &reply, "{'find': 'c', 'batchSize': 1}"), 0);
    long long id = cursor_in(reply);
    cr_assert_eq(client_run(near, "app", NULL, "{'getMore': {'$numberLong': '%lld'}, 'collection': 'c'}", id), 13);
    expect_message("Command getMore requires authentication");
    cr_assert_eq(client_run(near, "app", NULL, "{'killCursors': 'c', 'cursors': [{'$numberLong': '%lld'}]}", id), 13);
    cr_assert_eq(client_run(near, "admin", NULL, "{'currentOp': 1, '$ownOps': true}"), 13);
    cr_assert_eq(client_run(near, "admin", NULL, "{'killSessions': []}"), 13);
    cr_assert_eq(client_run(near, "admin", NULL, "{'listDatabases': 1}"), 13);
    elmo_client_destroy(boss);
    elmo_client_destroy(near);
    stop();
}

Test(auth, what_runs_is_for_those_who_look_after_the_server_and_ones_own_for_everybody) {
    static const struct {
        const char *role;
        int current_op, kill_all;
    } rows[] = {{"clusterMonitor", 0, 13}, {"hostManager", 13, 0}, {"clusterAdmin", 0, 0}, {"readWriteAnyDatabase", 13, 13}};
    serve(true);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        elmo_client_t *c = remote_client();
        make_user("admin", rows[i].role, "p", rows[i].role, "admin");
        cr_assert_eq(client_login(c, "admin", SHA1, rows[i].role, "p"), 0);
        cr_expect_eq(client_run(c, "admin", NULL, "{'currentOp': 1}"), rows[i].current_op, "%s", rows[i].role);
        cr_expect_eq(client_run(c, "admin", NULL, "{'currentOp': 1, '$ownOps': true}"), 0, "%s", rows[i].role);
        cr_expect_eq(client_run(c, "admin", NULL, "{'killOp': 1, 'op': 1}"), 0, "%s", rows[i].role);
        cr_expect_eq(client_run(c, "admin", NULL, "{'killAllSessions': []}"), rows[i].kill_all, "%s", rows[i].role);
        elmo_client_destroy(c);
    }
    stop();
}

Test(auth, a_certificate_is_a_user_of_external) {
    const bson_t *reply;
    serve(true);
    elmo_client_t *boss = trusted_client(), *c = client_of("{remote: '10.0.0.1:3', tlsSubject: 'CN=ann,O=app'}"),
                  *none = remote_client();
    cr_assert_eq(client_run(c, "$external", NULL, "{'authenticate': 1, 'mechanism': 'MONGODB-X509'}"), 18);
    cr_assert_eq(client_run(boss, "$external", NULL,
                            "{'createUser': 'CN=ann,O=app', 'roles': [{'role': 'read', 'db': 'app'}]}"),
                 0, "%s", client_message);
    cr_assert_eq(client_run(none, "$external", NULL,
                            "{'authenticate': 1, 'mechanism': 'MONGODB-X509', 'user': 'CN=ann,O=app'}"),
                 18);
    cr_assert_eq(client_run(c, "$external", NULL, "{'authenticate': 1, 'mechanism': 'MONGODB-X509', 'user': 'CN=bob'}"),
                 18);
    cr_assert_eq(client_run(c, "$external", &reply,
                            "{'authenticate': 1, 'mechanism': 'MONGODB-X509', 'user': 'CN=ann,O=app'}"),
                 0);
    cr_assert_eq(client_run(c, "app", NULL, "{'find': 'c'}"), 0);
    cr_assert_eq(client_run(c, "$external", NULL, "{'insert': 'c', 'documents': [{}]}"), 13);
    elmo_client_destroy(boss);
    elmo_client_destroy(c);
    elmo_client_destroy(none);
    stop();
}

Test(auth, users_outlive_the_database_handle) {
    struct folder f;
    folder_make(&f);
    db = open_at(f.file, NULL);
    serve(true);
    make_user("admin", "ann", "p", "root", "admin");
    stop();
    db = open_at(f.file, NULL);
    serve(true);
    elmo_client_t *c = local_client();
    cr_assert_eq(client_run(c, "admin", NULL, "{'createUser': 'b', 'pwd': 'p', 'roles': ['root']}"), 13,
                 "there is a user");
    cr_assert_eq(client_login(c, "admin", SHA256, "ann", "p"), 0);
    assert_no_faults(db);
    elmo_client_destroy(c);
    stop();
    folder_remove(&f);
}

Test(auth, guessing_becomes_slow_and_bounded_and_a_success_forgets_it) {
    serve(true);
    make_user("admin", "ann", "p", "root", "admin");
    elmo_client_t *c = remote_client();
    int64_t start = bson_get_monotonic_time();
    for (int i = 0; i < 4; i++) cr_assert_eq(client_login(c, "admin", SHA1, "ann", "wrong"), 18);
    /* Nothing before the second, then 0, 50 and 100 ms. */
    cr_assert_geq(bson_get_monotonic_time() - start, 150000);
    cr_assert_eq(client_login(c, "admin", SHA1, "ann", "p"), 0);
    start = bson_get_monotonic_time();
    cr_assert_eq(client_login(c, "admin", SHA1, "ann", "p"), 0);
    elmo_client_destroy(c);
    stop();
}

Test(auth, hello_takes_the_first_step) {
    const bson_t *reply;
    bson_iter_t it, at;
    struct scram_client s;
    char first[600], text[1000];
    uint32_t len;
    const uint8_t *bytes;
    serve(true);
    make_user("app", "ann", "p", "read", "app");
    elmo_client_t *boss = trusted_client(), *c = remote_client();
    cr_assert_eq(client_run(boss, "app", NULL,
                            "{'createUser': 'one', 'pwd': 'p', 'roles': [], 'mechanisms': ['SCRAM-SHA-1']}"),
                 0);
    cr_assert_eq(client_run(c, "admin", &reply, "{'hello': 1, 'saslSupportedMechs': 'app.one'}"), 0);
    char *shown = json_of(reply);
    cr_assert_not_null(strstr(shown, "\"saslSupportedMechs\" : [ \"SCRAM-SHA-1\" ]"), "%s", shown);
    bson_free(shown);
    const char *const both[] = {"app.ann", "app.nobody"};
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(client_run(c, "admin", &reply, "{'hello': 1, 'saslSupportedMechs': '%s'}", both[i]), 0);
        shown = json_of(reply);
        cr_assert_not_null(strstr(shown, "\"saslSupportedMechs\" : [ \"SCRAM-SHA-256\", \"SCRAM-SHA-1\" ]"), "%s",
                           shown);
        bson_free(shown);
    }
    scram_client_init(&s, SHA256, "ann", "p", "abcdefgh");
    scram_client_first(&s, first);
    bson_t *payload = BCON_NEW("p", BCON_BIN(BSON_SUBTYPE_BINARY, (const uint8_t *) first, (uint32_t) strlen(first)));
    shown = bson_as_canonical_extended_json(payload, NULL);
    snprintf(text, sizeof(text), "%.*s", (int) (strlen(shown) - strlen("{ \"p\" : ") - 2),
             shown + strlen("{ \"p\" : "));
    bson_free(shown);
    bson_destroy(payload);
    cr_assert_eq(client_run(c, "admin", &reply,
                            "{'hello': 1, 'speculativeAuthenticate': {'saslStart': 1, 'mechanism': 'SCRAM-SHA-256', "
                            "'payload': %s, 'db': 'app', 'options': {'skipEmptyExchange': true}}}",
                            text),
                 0);
    cr_assert(bson_iter_init(&it, reply) && bson_iter_find_descendant(&it, "speculativeAuthenticate.payload", &at));
    bson_iter_binary(&at, NULL, &len, &bytes);
    cr_assert(scram_client_final(&s, (const char *) bytes, len));
    struct sasl_answer a = sasl_send(c, "app", NULL, true, s.final, strlen(s.final));
    cr_assert(a.code == 0 && a.done);
    cr_assert_eq(client_run(c, "app", NULL, "{'find': 'c'}"), 0);
    cr_assert_eq(
        client_run(c, "admin", &reply,
                   "{'hello': 1, 'speculativeAuthenticate': {'saslStart': 1, 'mechanism': 'X', 'payload': ''}}"),
        0);
    cr_assert(!bson_iter_init_find(&it, reply, "speculativeAuthenticate"));
    elmo_client_destroy(boss);
    elmo_client_destroy(c);
    stop();
}
