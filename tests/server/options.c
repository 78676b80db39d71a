/* The options of elmo_listen, and what is said of wrong ones. */
#include <criterion/criterion.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <elmo/server.h>

static elmo_t *db;
static bson_error_t error;
static char folder[64];

static void open_db(void) {
    cr_assert(elmo_open(":memory:", NULL, &db, &error));
    (void) strcpy(folder, "/tmp/elmo-options-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
}

static void close_db(void) {
    elmo_close(db);
    char command[100];
    (void) snprintf(command, sizeof(command), "rm -rf %s", folder);
    cr_assert_eq(system(command), 0);
}

static bool try_json(const char *json) {
    bson_t opts;
    cr_assert(elmo_json_parse(json, -1, &opts, NULL, NULL, &error), "%s: %s", json, error.message);
    bool ok = elmo_listen(db, &opts, &error);
    bson_destroy(&opts);
    return ok;
}

Test(options, are_refused_by_name, .init = open_db, .fini = close_db) {
    static const struct {
        const char *json;
        uint32_t code;
        const char *word;
    } rows[] = {
        {"{prot: 1}", 40415, "prot"},
        {"{port: 'x'}", 2, "port"},
        {"{port: 65536}", 2, "port"},
        {"{port: 1.5}", 2, "port"},
        {"{port: -1}", 2, "port"},
        {"{threads: 0}", 2, "threads"},
        {"{maxConnections: 0}", 2, "maxConnections"},
        {"{auth: 1}", 2, "auth"},
        {"{bindIp: 5}", 2, "bindIp"},
        {"{bindIp: ''}", 2, "nothing to listen on"},
        {"{bindIp: '0.0.0.0', port: 0}", 2, "allowUnsafeBind"},
        {"{bindIp: '::', port: 0}", 2, "allowUnsafeBind"},
        {"{bindIp: '1.2.3.4.5'}", 9001, "1.2.3.4.5"},
        {"{bindIp: '192.0.2.1', auth: true, port: 0}", 9001, "192.0.2.1"},
        {"{tlsMode: 'on'}", 2, "tlsMode"},
        {"{tlsMode: 'requireTLS'}", 140, "tlsCertificateKeyFile"},
        {"{tlsCertificateKeyFile: '/x'}", 140, "tlsMode"},
        {"{tlsMode: 'requireTLS', tlsCertificateKeyFile: '/no/such.pem'}", 140, "/no/such.pem"},
        {"{compressors: 'snappy,lzma'}", 2, "lzma"},
        {"{replicaSet: ''}", 2, "replicaSet"},
        {"{argv: {}}", 2, "argv"},
        {"{parsed: []}", 2, "parsed"},
        {"{logPath: '/no/such/folder/log', port: 0}", 2, "/no/such/folder/log"},
        {"{unixSocketPath: '/no/such/folder/s.sock', port: 0}", 9001, "/no/such/folder/s.sock"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cr_assert_not(try_json(rows[i].json), "%s", rows[i].json);
        cr_assert_eq(error.code, rows[i].code, "%s: %u %s", rows[i].json, error.code, error.message);
        cr_assert(strstr(error.message, rows[i].word) != NULL, "%s: %s", rows[i].json, error.message);
        cr_assert_null(elmo_listen_address(db));
    }
}

Test(options, tell_the_address_and_listen_once, .init = open_db, .fini = close_db) {
    cr_assert(try_json("{port: 0}"), "%s", error.message);
    const char *uri = elmo_listen_address(db);
    cr_assert(strncmp(uri, "mongodb://127.0.0.1:", 20) == 0 && atoi(uri + 20) > 0, "%s", uri);
    char taken[64], text[160];
    (void) snprintf(taken, sizeof(taken), "%s", uri);
    cr_assert_not(try_json("{port: 0}"));
    cr_assert(strstr(error.message, taken) != NULL, "%s", error.message);
    elmo_t *other, *mine = db;
    cr_assert(elmo_open(":memory:", NULL, &other, &error));
    db = other;
    (void) snprintf(text, sizeof(text), "{port: %d}", atoi(taken + 20));
    cr_assert_not(try_json(text));
    cr_assert_eq(error.code, 9001);
    cr_assert(strstr(error.message, "Address already in use") != NULL && strstr(error.message, taken + 10) != NULL,
              "%s", error.message);
    elmo_close(other);
    db = mine;
    elmo_unlisten(db);
    cr_assert_null(elmo_listen_address(db));
    elmo_unlisten(db);
    cr_assert(try_json(text), "the port is free again at once: %s", error.message);
}

Test(options, listen_on_several_addresses_with_one_port, .init = open_db, .fini = close_db) {
    char text[300];
    (void) snprintf(text, sizeof(text), "{bindIp: 'localhost,%s/a.sock', unixSocketPath: '%s/b.sock', port: 0}", folder,
                    folder);
    cr_assert(try_json(text), "%s", error.message);
    struct stat st;
    for (int i = 0; i < 2; i++) {
        (void) snprintf(text, sizeof(text), "%s/%c.sock", folder, 'a' + i);
        cr_assert_eq(lstat(text, &st), 0);
        cr_assert(S_ISSOCK(st.st_mode));
        cr_assert_eq(st.st_mode & 0777, 0600);
    }
    elmo_unlisten(db);
    cr_assert_neq(lstat(text, &st), 0, "the socket is removed");
}

Test(options, remove_stale_sockets_and_nothing_else, .init = open_db, .fini = close_db) {
    char text[300], path[100];
    struct stat st;
    (void) snprintf(path, sizeof(path), "%s/s.sock", folder);
    (void) snprintf(text, sizeof(text), "{bindIp: '', unixSocketPath: '%s'}", path);
    FILE *file = fopen(path, "w");
    (void) fclose(file);
    cr_assert_not(try_json(text));
    cr_assert(strstr(error.message, "no socket") != NULL, "%s", error.message);
    cr_assert_eq(lstat(path, &st), 0);
    cr_assert_eq(unlink(path), 0);
    cr_assert(try_json(text), "%s", error.message);
    elmo_t *mine = db, *other;
    cr_assert(elmo_open(":memory:", NULL, &other, &error));
    db = other;
    cr_assert_not(try_json(text), "somebody listens there");
    cr_assert(strstr(error.message, "already in use") != NULL);
    db = mine;
    char moved[120];
    (void) snprintf(moved, sizeof(moved), "%s.moved", path);
    cr_assert_eq(rename(path, moved), 0);
    elmo_unlisten(db); /* its name is another's or nobody's now: the file stays */
    cr_assert_eq(lstat(moved, &st), 0);
    cr_assert_eq(rename(moved, path), 0);
    cr_assert(try_json(text), "a socket that nobody listens on is replaced: %s", error.message);
    elmo_unlisten(db);
    elmo_close(other);
}
