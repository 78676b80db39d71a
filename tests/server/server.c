/* A server under good, slow, half-open, vanishing and hostile clients, by raw sockets. */
#include <criterion/criterion.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <elmo/server.h>

#include "support/wire.h"

static elmo_t *db;
static bson_error_t error;
static char uri[128], log_path[64];

static void start(const char *more) {
    char text[512];
    bson_t opts;
    (void) strcpy(log_path, "/tmp/elmo-server-log-XXXXXX");
    int fd = mkstemp(log_path);
    cr_assert(fd >= 0);
    (void) close(fd);
    if (db == NULL) cr_assert(elmo_open(":memory:", NULL, &db, &error), "%s", error.message);
    (void) snprintf(text, sizeof(text), "{port: 0, logPath: '%s'%s%s}", log_path, more[0] != '\0' ? ", " : "", more);
    cr_assert(elmo_json_parse(text, -1, &opts, NULL, NULL, &error), "%s", error.message);
    cr_assert(elmo_listen(db, &opts, &error), "%s", error.message);
    bson_destroy(&opts);
    (void) snprintf(uri, sizeof(uri), "%s", elmo_listen_address(db));
}

static void stop(void) {
    elmo_close(db); /* the server ends with it */
    db = NULL;
    (void) unlink(log_path);
}

static double now_s(void) {
    struct timespec t;
    (void) clock_gettime(CLOCK_MONOTONIC, &t);
    return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

static void nap(int ms) { (void) poll(NULL, 0, ms); }

/* How often the log says `word`. */
static int log_count(const char *word) {
    char line[4096];
    int count = 0;
    FILE *in = fopen(log_path, "r");
    while (in != NULL && fgets(line, sizeof(line), in) != NULL) count += strstr(line, word) != NULL;
    if (in != NULL) (void) fclose(in);
    return count;
}

static bool log_says(const char *word, int times, double seconds) {
    for (double until = now_s() + seconds; now_s() < until; nap(5))
        if (log_count(word) >= times) return true;
    return false;
}

/* ---- the protocol ---- */

Test(server, answers_commands) {
    start("");
    int fd = wire_connect(uri);
    (void) wire_ok(fd, "{'ping': 1}");
    (void) wire_ok(fd, "{'insert': 'c', 'documents': [{'_id': 1, 'a': 'x'}, {'_id': 2}]}");
    cr_assert(strstr(wire_ok(fd, "{'find': 'c', 'filter': {'_id': 1}}"), "\"a\" : \"x\"") != NULL);
    cr_assert(strstr(wire_run(fd, "{'frobnicate': 1}"), "CommandNotFound") != NULL);
    (void) wire_ok(fd, "{'ping': 1, '$db': 'admin'}");
    (void) close(fd);
    stop();
}

Test(server, takes_documents_from_sequences) {
    struct wire m = {0}, reply = {0};
    start("");
    int fd = wire_connect(uri);
    wire_begin(&m, 8, WIRE_MSG);
    wire_i32(&m, 0);
    wire_u8(&m, 1);
    wire_i32(&m, 4 + 10 + 3 * 14);
    wire_text(&m, "documents");
    for (uint8_t i = 0; i < 3; i++)
        wire_bytes(&m, (const uint8_t[]){14, 0, 0, 0, 0x10, '_', 'i', 'd', 0, i, 0, 0, 0, 0}, 14);
    wire_body(&m, "{'insert': 'c', '$db': 'test'}");
    wire_end(&m);
    wire_send(fd, &m);
    cr_assert(wire_receive(fd, &reply));
    cr_assert_eq(wire_get(&reply, 8), 8);
    cr_assert(strstr(wire_ok(fd, "{'count': 'c'}"), "\"n\" : 3") != NULL);
    wire_free(&m);
    wire_free(&reply);
    (void) close(fd);
    stop();
}

Test(server, answers_pipelined_messages_in_order_and_none_for_more_to_come) {
    struct wire m = {0}, all = {0}, reply = {0};
    start("");
    int fd = wire_connect(uri);
    for (int i = 1; i <= 300; i++) {
        bool is_silent = i % 3 == 0;
        wire_msg(&m, i, is_silent ? 2 : 0, "{'insert': 'c', 'documents': [{'_id': %d}], '$db': 'test'}", i);
        wire_bytes(&all, m.p, m.len);
    }
    wire_send(fd, &all);
    for (int i = 1; i <= 300; i++) {
        if (i % 3 == 0) continue;
        cr_assert(wire_receive(fd, &reply));
        cr_assert_eq(wire_get(&reply, 8), i);
    }
    cr_assert(strstr(wire_ok(fd, "{'count': 'c'}"), "\"n\" : 300") != NULL);
    wire_free(&m);
    wire_free(&all);
    wire_free(&reply);
    (void) close(fd);
    stop();
}

Test(server, takes_messages_byte_by_byte) {
    struct wire m = {0}, reply = {0};
    start("threads: 1");
    int fd = wire_connect(uri), other = wire_connect(uri);
    wire_msg(&m, 5, 0, "{'ping': 1, '$db': 'test'}");
    for (size_t i = 0; i < m.len; i++) {
        cr_assert(wire_try_send(fd, m.p + i, 1));
        if (i % 7 == 0) nap(15); /* longer than a worker lingers */
        if (i % 7 == 0) (void) wire_ok(other, "{'ping': 1}");
    }
    cr_assert(wire_receive(fd, &reply));
    cr_assert_eq(wire_get(&reply, 8), 5);
    wire_free(&m);
    wire_free(&reply);
    (void) close(fd);
    (void) close(other);
    stop();
}

Test(server, checks_and_gives_checksums) {
    struct wire m = {0}, reply = {0};
    start("");
    int fd = wire_connect(uri);
    for (int broken = 0; broken < 2; broken++) {
        wire_begin(&m, 5, WIRE_MSG);
        wire_i32(&m, 1);
        wire_body(&m, "{'ping': 1, '$db': 'test'}");
        wire_end_checksum(&m);
        m.p[30] ^= (uint8_t) broken;
        wire_send(fd, &m);
        if (broken) break;
        cr_assert(wire_receive(fd, &reply));
        cr_assert_eq(wire_get(&reply, 16), 1);
        struct wire again = {0};
        wire_bytes(&again, reply.p, reply.len - 4);
        wire_end_checksum(&again);
        cr_assert_arr_eq(again.p, reply.p, reply.len);
        wire_free(&again);
    }
    cr_assert(wire_is_closed(fd));
    cr_assert(log_says("checksum does not match", 1, 5));
    wire_free(&m);
    wire_free(&reply);
    (void) close(fd);
    stop();
}

Test(server, speaks_each_compressor) {
    struct wire m = {0}, reply = {0};
    start("compressors: 'zstd,snappy,zlib,noop'");
    int fd = wire_connect(uri);
    for (int i = 0; i < 50; i++)
        (void) wire_ok(fd, "{'insert': 'c', 'documents': [{'_id': %d, 'text': 'the same words again and again'}]}", i);
    for (uint8_t compressor = 0; compressor < 4; compressor++) {
        wire_msg(&m, 50 + compressor, 0, "{'find': 'c', '$db': 'test'}");
        wire_compress(&m, compressor);
        wire_send(fd, &m);
        cr_assert(wire_receive(fd, &reply));
        cr_assert_eq(wire_get(&reply, 8), 50 + compressor);
        cr_assert_eq(wire_get(&reply, 12), compressor == 0 ? WIRE_MSG : WIRE_COMPRESSED, "%d", compressor);
        if (compressor != 0) cr_assert_eq(reply.p[24], compressor);
        if (compressor != 0) cr_assert_eq(wire_get(&reply, 16), WIRE_MSG);
        wire_msg(&m, 60, 0, "{'hello': 1, '$db': 'admin'}"); /* never compressed */
        wire_compress(&m, compressor);
        wire_send(fd, &m);
        cr_assert(wire_receive(fd, &reply));
        cr_assert_eq(wire_get(&reply, 12), WIRE_MSG);
    }
    wire_free(&m);
    wire_free(&reply);
    (void) close(fd);
    stop();
}

Test(server, answers_the_legacy_hello) {
    struct wire m = {0}, reply = {0};
    start("");
    int fd = wire_connect(uri);
    for (int i = 0; i < 2; i++) {
        wire_begin(&m, 3, WIRE_QUERY);
        wire_i32(&m, 4);
        wire_text(&m, "admin.$cmd");
        wire_i32(&m, 0);
        wire_i32(&m, -1);
        struct wire body = {0};
        wire_body(&body, i == 0 ? "{'buildInfo': 1}" : "{'find': 'c'}");
        wire_bytes(&m, body.p + 1, body.len - 1);
        wire_end(&m);
        wire_send(fd, &m);
        cr_assert(wire_receive(fd, &reply));
        cr_assert_eq(wire_get(&reply, 12), WIRE_REPLY);
        cr_assert_eq(wire_get(&reply, 32), 1);
        bson_t doc;
        wire_doc(&reply, &doc);
        bson_iter_t it;
        cr_assert(bson_iter_init_find(&it, &doc, i == 0 ? "version" : "code"));
        if (i == 1) cr_assert_eq(bson_iter_as_int64(&it), 352);
        wire_free(&body);
    }
    wire_free(&m);
    wire_free(&reply);
    (void) close(fd);
    stop();
}

/* ---- bad clients ---- */

Test(server, closes_malformed_streams_and_says_why) {
    static const struct {
        uint8_t bytes[26];
        size_t len;
    } rows[] = {
        {{'G', 'E', 'T', ' ', '/', ' ', 'H', 'T', 'T', 'P', '/', '1', '.', '1', '\r', '\n'}, 16},
        {{0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3, 1, 2, 3, 4, 5}, 16},
        {{15, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0xdd, 7, 0, 0}, 16},
        {{0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0, 0, 0, 0, 0xdd, 7, 0, 0}, 16},
        {{20, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0xd2, 7, 0, 0}, 16},
        {{20, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0xdd, 7, 0, 0, 4, 0, 0, 0}, 20},
        {{25, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0xdc, 7, 0, 0, 0xdd, 7, 0, 0, 0xff, 0xff, 0xff, 0x7f, 3}, 25},
        {{26, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0xdc, 7, 0, 0, 0xdd, 7, 0, 0, 100, 0, 0, 0, 1, 9}, 26},
    };
    enum { ROWS = sizeof(rows) / sizeof(rows[0]) };
    start("");
    for (int i = 0; i < ROWS; i++) {
        int fd = wire_connect(uri);
        cr_assert(wire_try_send(fd, rows[i].bytes, rows[i].len));
        cr_assert(wire_is_closed(fd), "row %d", i);
        (void) close(fd);
        cr_assert(log_says("Error receiving request", i + 1, 5), "row %d", i);
    }
    int fd = wire_connect(uri);
    (void) wire_ok(fd, "{'ping': 1}");
    (void) close(fd);
    stop();
}

Test(server, answers_wrong_sections_and_goes_on) {
    struct wire m = {0}, reply = {0};
    start("");
    int fd = wire_connect(uri);
    for (int i = 0; i < 3; i++) {
        wire_begin(&m, 4, WIRE_MSG);
        wire_i32(&m, 0);
        if (i == 0) wire_u8(&m, 9);
        if (i == 1) wire_bytes(&m, (const uint8_t[]){0, 200, 0, 0, 0, 0}, 6);
        if (i == 2) wire_bytes(&m, (const uint8_t[]){0, 8, 0, 0, 0, 1, 'a', 0, 0}, 9); /* BSON that ends in a value */
        wire_end(&m);
        wire_send(fd, &m);
        cr_assert(wire_receive(fd, &reply));
        bson_t doc;
        wire_doc(&reply, &doc);
        bson_iter_t it;
        cr_assert(bson_iter_init_find(&it, &doc, "code"));
        cr_assert_neq(bson_iter_as_int64(&it), 0);
    }
    (void) wire_ok(fd, "{'ping': 1}");
    wire_free(&m);
    wire_free(&reply);
    (void) close(fd);
    stop();
}

/* Clients that begin messages and never end them hold neither threads nor more memory than they sent. */
Test(server, is_not_held_up_by_half_messages) {
    enum { CLIENTS = 200 };
    int fds[CLIENTS];
    static const uint8_t head[] = {0, 0x6c, 0xdc, 2, 1, 0, 0, 0, 0, 0,
                                   0, 0,    0xdd, 7, 0, 0, 0, 0, 0, 0}; /* 47,999,... bytes to come */
    start("threads: 2");
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = wire_connect(uri);
        cr_assert(wire_try_send(fds[i], head, (size_t) (i % 20) + 1));
    }
    int fd = wire_connect(uri);
    double begun = now_s();
    for (int i = 0; i < 50; i++) (void) wire_ok(fd, "{'ping': 1}");
    cr_assert(now_s() - begun < 20, "%f s for 50 pings", now_s() - begun);
    for (int i = 0; i < CLIENTS; i++) (void) close(fds[i]);
    cr_assert(log_says("Connection ended", CLIENTS, 20));
    (void) wire_ok(fd, "{'ping': 1}");
    (void) close(fd);
    stop();
}

/* Clients that ask for megabytes and read nothing hold no thread, and get all when they read at last. */
Test(server, is_not_held_up_by_slow_readers) {
    enum { CLIENTS = 8, KB = 600 };
    int fds[CLIENTS];
    struct wire m = {0}, reply = {0};
    start("threads: 2");
    int fd = wire_connect(uri);
    char *text = malloc(KB * 1024 + 1);
    memset(text, 'x', KB * 1024);
    text[KB * 1024] = '\0';
    bson_t *insert = BCON_NEW("insert", BCON_UTF8("c"), "documents", "[", "{", "text", BCON_UTF8(text), "}", "]", "$db",
                              BCON_UTF8("test"));
    for (int i = 0; i < 12; i++) {
        wire_begin(&m, 1, WIRE_MSG);
        wire_i32(&m, 0);
        wire_u8(&m, 0);
        wire_bytes(&m, bson_get_data(insert), insert->len);
        wire_end(&m);
        wire_send(fd, &m);
        cr_assert(wire_receive(fd, &reply));
    }
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = wire_connect(uri);
        wire_msg(&m, i, 0, "{'find': 'c', '$db': 'test'}");
        wire_send(fds[i], &m);
    }
    nap(100);
    double begun = now_s();
    for (int i = 0; i < 50; i++) (void) wire_ok(fd, "{'ping': 1}");
    cr_assert(now_s() - begun < 20);
    for (int i = 0; i < CLIENTS; i++) {
        cr_assert(wire_receive(fds[i], &reply));
        cr_assert(reply.len > 7 * 1000 * 1000, "%zu bytes", reply.len);
        bson_t doc;
        wire_doc(&reply, &doc);
        cr_assert(bson_validate(&doc, BSON_VALIDATE_NONE, NULL));
        (void) wire_ok(fds[i], "{'ping': 1}");
        (void) close(fds[i]);
    }
    free(text);
    bson_destroy(insert);
    wire_free(&m);
    wire_free(&reply);
    (void) close(fd);
    stop();
}

/* A find that matches nothing in a long time. */
#define SLOW_FIND                                                                                                      \
    "{'find': 's', 'filter': {'$or': [{'t': {'$regex': 'a.*b.*c.*d.*e$'}}, {'t': {'$regex': '(x|y)+z.*w$'}}, "         \
    "{'t': {'$regex': 'a.*a.*a.*a.*1$'}}]}, '$db': 'test'}"

static void fill_slowly_searched(int fd) {
    char text[3000];
    memset(text, 'a', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    for (int i = 0; i < 300; i++) (void) wire_ok(fd, "{'insert': 's', 'documents': [{'_id': %d, 't': '%s'}]}", i, text);
}

Test(server, cancels_the_command_of_a_peer_that_vanished) {
    struct wire m = {0};
    start("");
    int fd = wire_connect(uri), gone = wire_connect(uri);
    fill_slowly_searched(fd);
    wire_msg(&m, 1, 0, "%s", SLOW_FIND);
    wire_send(gone, &m);
    nap(100);
    int ended = log_count("Connection ended");
    double begun = now_s();
    (void) close(gone);
    cr_assert(log_says("Connection ended", ended + 1, 25), "the command goes on");
    cr_assert(now_s() - begun < 10, "%f s", now_s() - begun);
    (void) wire_ok(fd, "{'ping': 1}");
    wire_free(&m);
    (void) close(fd);
    stop();
}

Test(server, refuses_more_connections_than_it_may_have) {
    int fds[5];
    start("maxConnections: 3");
    for (int i = 0; i < 3; i++) {
        fds[i] = wire_connect(uri);
        (void) wire_ok(fds[i], "{'ping': 1}");
    }
    for (int i = 3; i < 5; i++) {
        fds[i] = wire_connect(uri);
        cr_assert(wire_is_closed(fds[i]));
        (void) close(fds[i]);
    }
    cr_assert(log_says("too many open connections", 2, 5));
    (void) close(fds[0]);
    cr_assert(log_says("Connection ended", 1, 5));
    fds[0] = wire_connect(uri);
    (void) wire_ok(fds[0], "{'ping': 1}");
    for (int i = 0; i < 3; i++) (void) close(fds[i]);
    stop();
}

/* ---- many ---- */

static size_t resident(void) {
    size_t pages = 0, ignored;
    FILE *in = fopen("/proc/self/statm", "r");
    cr_assert(in != NULL && fscanf(in, "%zu %zu", &ignored, &pages) == 2);
    (void) fclose(in);
    return pages * (size_t) sysconf(_SC_PAGESIZE);
}

Test(server, keeps_a_thousand_idle_connections_in_little_memory) {
    enum { IDLE = 1000 };
    static int fds[IDLE];
    struct rlimit limit;
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    (void) setrlimit(RLIMIT_NOFILE, &limit);
    cr_assert(limit.rlim_cur > 2 * IDLE + 100, "the limit of descriptors is %ld", (long) limit.rlim_cur);
    start("quiet: true");
    int fd = wire_connect(uri);
    for (int i = 0; i < 1000; i++) (void) wire_ok(fd, "{'ping': 1}");
    size_t before = resident();
    for (int i = 0; i < IDLE; i++) {
        fds[i] = wire_connect(uri);
        (void) wire_ok(fds[i], "{'ping': 1}");
    }
    size_t after = resident();
    size_t each = after > before ? (after - before) / IDLE : 0;
    fprintf(stderr, "%d idle connections: %zu bytes each\n", IDLE, each);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    cr_assert(each < 8192, "%zu bytes each", each);
#endif
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < IDLE; i++) (void) wire_ok(fds[i], "{'ping': 1}");
    (void) wire_ok(fd, "{'ping': 1}");
    for (int i = 0; i < IDLE; i++) (void) close(fds[i]);
    (void) close(fd);
    stop();
}

/* ---- threads ---- */

enum { LOADERS = 12 };
static atomic_int acknowledged;
static atomic_bool is_over;

static void *load(void *arg) {
    int fd = wire_try_connect(uri), n = (int) (intptr_t) arg;
    struct wire m = {0}, reply = {0};
    for (int i = 0; fd >= 0 && !atomic_load(&is_over); i++) {
        wire_msg(&m, i, 0, "{'insert': 'load', 'documents': [{'_id': '%d.%d'}], '$db': 'test'}", n, i);
        if (!wire_try_send(fd, m.p, m.len) || !wire_receive(fd, &reply)) break;
        bson_t doc;
        wire_doc(&reply, &doc);
        bson_iter_t it;
        cr_assert(bson_iter_init_find(&it, &doc, "ok"));
        if (bson_iter_as_double(&it) == 1.0) atomic_fetch_add(&acknowledged, 1);
    }
    if (fd >= 0) (void) close(fd);
    wire_free(&m);
    wire_free(&reply);
    return NULL;
}

static void run_loaders(pthread_t *threads) {
    atomic_store(&acknowledged, 0);
    atomic_store(&is_over, false);
    for (int i = 0; i < LOADERS; i++) cr_assert_eq(pthread_create(&threads[i], NULL, load, (void *) (intptr_t) i), 0);
}

static int64_t loaded(void) {
    bson_t command, reply;
    bson_iter_t it;
    cr_assert(elmo_json_parse("{count: 'load'}", -1, &command, NULL, NULL, &error));
    cr_assert(elmo_command_simple(db, "test", &command, &reply, &error), "%s", error.message);
    cr_assert(bson_iter_init_find(&it, &reply, "n"));
    int64_t n = bson_iter_as_int64(&it);
    bson_destroy(&command);
    bson_destroy(&reply);
    return n;
}

/* More connections than threads: everybody is served, in turn. */
Test(server, serves_more_busy_connections_than_it_has_threads) {
    pthread_t threads[LOADERS];
    start("threads: 3");
    run_loaders(threads);
    nap(1000);
    atomic_store(&is_over, true);
    for (int i = 0; i < LOADERS; i++) (void) pthread_join(threads[i], NULL);
    cr_assert(atomic_load(&acknowledged) > LOADERS * 5, "%d", atomic_load(&acknowledged));
    for (int i = 0; i < LOADERS; i++) {
        char text[80];
        bson_t filter;
        (void) snprintf(text, sizeof(text), "{_id: '%d.0'}", i);
        cr_assert(elmo_json_parse(text, -1, &filter, NULL, NULL, &error));
        elmo_collection_t *c = elmo_get_collection(db, "test", "load");
        cr_assert_eq(elmo_collection_count_documents(c, &filter, NULL, NULL, &error), 1, "client %d was never served",
                     i);
        elmo_collection_destroy(c);
        bson_destroy(&filter);
    }
    stop();
}

Test(server, loses_nothing_when_it_stops_under_load) {
    pthread_t threads[LOADERS];
    for (int round = 0; round < 3; round++) {
        start(round == 1 ? "threads: 2" : "");
        int64_t before = loaded();
        if (round > 0) {
            bson_t command, reply;
            cr_assert(elmo_json_parse("{drop: 'load'}", -1, &command, NULL, NULL, &error));
            (void) elmo_command_simple(db, "test", &command, &reply, &error);
            bson_destroy(&command);
            bson_destroy(&reply);
            before = loaded();
        }
        run_loaders(threads);
        nap(300);
        elmo_unlisten(db);
        cr_assert_null(elmo_listen_address(db));
        int64_t after = loaded();
        for (int i = 0; i < LOADERS; i++) (void) pthread_join(threads[i], NULL);
        cr_assert_eq(loaded(), after, "something was written after the end");
        cr_assert(after - before >= atomic_load(&acknowledged), "%lld documents, %d acknowledged", (long long) after,
                  atomic_load(&acknowledged));
        cr_assert(atomic_load(&acknowledged) > 0);
        (void) unlink(log_path);
    }
    stop();
}

Test(server, stops_while_commands_run_readers_sleep_and_messages_are_half) {
    struct wire m = {0};
    start("threads: 2");
    int fd = wire_connect(uri), slow = wire_connect(uri), half = wire_connect(uri), idle = wire_connect(uri);
    fill_slowly_searched(fd);
    wire_msg(&m, 1, 0, "%s", SLOW_FIND);
    wire_send(slow, &m);
    cr_assert(wire_try_send(half, m.p, 30));
    nap(100);
    double begun = now_s();
    elmo_unlisten(db);
    cr_assert(now_s() - begun < 20, "%f s", now_s() - begun);
    cr_assert(wire_is_closed(idle));
    cr_assert(wire_is_closed(half));
    (void) close(fd);
    (void) close(slow);
    (void) close(half);
    (void) close(idle);
    wire_free(&m);
    stop();
}

static void *open_and_close(void *arg) {
    unsigned seed = (unsigned) (uintptr_t) arg;
    struct wire m = {0};
    wire_msg(&m, 1, 0, "{'ping': 1, '$db': 'test'}");
    for (int i = 0; i < 60; i++) {
        int fd = wire_try_connect(uri);
        if (fd < 0) continue;
        size_t len = (size_t) rand_r(&seed) % (m.len + 1);
        (void) wire_try_send(fd, m.p, len);
        if (rand_r(&seed) % 2 == 0) nap(rand_r(&seed) % 15);
        if (rand_r(&seed) % 3 == 0) (void) shutdown(fd, SHUT_WR);
        (void) close(fd);
    }
    wire_free(&m);
    return NULL;
}

Test(server, outlives_clients_that_come_and_go_at_any_point) {
    pthread_t threads[6];
    start("threads: 4");
    for (uintptr_t i = 0; i < 6; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, open_and_close, (void *) (i + 1)), 0);
    for (int i = 0; i < 6; i++) (void) pthread_join(threads[i], NULL);
    cr_assert(log_says("Connection ended", log_count("Connection accepted"), 20));
    int fd = wire_connect(uri);
    (void) wire_ok(fd, "{'ping': 1}");
    (void) close(fd);
    stop();
}

/* ---- unix sockets, memory ---- */

Test(server, serves_unix_sockets) {
    char more[100], path[64];
    (void) snprintf(path, sizeof(path), "/tmp/elmo-test-%ld.sock", (long) getpid());
    (void) snprintf(more, sizeof(more), "bindIp: '%s'", path);
    start(more);
    cr_assert(strncmp(uri, "mongodb://%2Ftmp%2F", 19) == 0, "%s", uri);
    int fd = wire_connect(uri);
    (void) wire_ok(fd, "{'ping': 1}");
    (void) close(fd);
    stop();
    cr_assert_neq(access(path, F_OK), 0);
}

/* Many large messages at once: more than the budget, all get through. */
static void *send_large(void *arg) {
    struct wire m = {0}, reply = {0};
    int fd = wire_try_connect(uri);
    (void) arg;
    cr_assert(fd >= 0);
    wire_begin(&m, 1, WIRE_MSG);
    wire_i32(&m, 0);
    wire_body(&m, "{'ping': 1, '$db': 'test'}");
    wire_u8(&m, 1);
    size_t len = 24 * 1024 * 1024;
    wire_i32(&m, (int32_t) (4 + 2 + len));
    wire_text(&m, "x");
    uint8_t *zeros = calloc(1, len);
    wire_bytes(&m, zeros, len);
    free(zeros);
    wire_end(&m);
    cr_assert(wire_try_send(fd, m.p, m.len));
    cr_assert(wire_receive(fd, &reply)); /* an error: the sequence is no BSON. It was read wholly */
    (void) close(fd);
    wire_free(&m);
    wire_free(&reply);
    return NULL;
}

Test(server, lets_large_messages_through_one_after_the_other_when_memory_is_short) {
    enum { CLIENTS = 16 };
    pthread_t threads[CLIENTS];
    start("");
    for (int i = 0; i < CLIENTS; i++) cr_assert_eq(pthread_create(&threads[i], NULL, send_large, NULL), 0);
    for (int i = 0; i < CLIENTS; i++) (void) pthread_join(threads[i], NULL);
    int fd = wire_connect(uri);
    (void) wire_ok(fd, "{'ping': 1}");
    (void) close(fd);
    stop();
}
