/* A process that is killed while it writes: everything it was told is stored is there. */
#include <criterion/criterion.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "support/api_db.h"

/* Inserts, updates and deletes until killed, telling each acknowledged number. */
static void work(const char *path, int from, int fd) {
    elmo_t *db;
    bson_error_t error;
    bson_t *opts = doc_of("{writeBufferMB: 1}");
    if (!elmo_open(path, opts, &db, &error)) _exit(10);
    elmo_collection_t *c = elmo_get_collection(db, "test", "c");
    bson_t *key = doc_of("{key: {a: 1, tags: 1}}");
    const bson_t *keys[] = {key};
    if (!elmo_collection_create_indexes_with_opts(c, keys, 1, NULL, NULL, &error)) _exit(11);
    for (int i = from;; i++) {
        bson_t *doc =
            doc_of("{_id: %d, a: %d, tags: ['x%d', 'y'], text: '%0*d'}", i, i % 50, i % 9, 200 + i % 3000 / 2, i);
        bson_t *of = doc_of("{_id: %d}", i), *set = doc_of("{$set: {done: true}, $inc: {a: 1}}");
        if (!elmo_collection_insert_one(c, doc, NULL, NULL, &error) ||
            !elmo_collection_update_one(c, of, set, NULL, NULL, &error))
            _exit(12);
        if (write(fd, &i, sizeof(i)) != sizeof(i)) _exit(13);
        bson_destroy(doc);
        bson_destroy(of);
        bson_destroy(set);
    }
}

static int run_and_kill(const char *path, int from, long delay_us) {
    int fds[2], status, last = from - 1, number;
    cr_assert_eq(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) work(path, from, fds[1]);
    (void) close(fds[1]);
    /* The clock runs from the first answer, so that a slow machine does not kill every child in its beginning. */
    if (delay_us % 4 != 0 && read(fds[0], &number, sizeof(number)) == sizeof(number)) last = number;
    struct timespec delay = {0, delay_us * 1000};
    (void) nanosleep(&delay, NULL);
    cr_assert_eq(kill(pid, SIGKILL), 0);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFSIGNALED(status), "the child ended by itself: %d", WEXITSTATUS(status));
    while (read(fds[0], &number, sizeof(number)) == sizeof(number)) last = number;
    (void) close(fds[0]);
    return last;
}

Test(kill, whatever_was_acknowledged_is_there_when_it_is_opened_again) {
    struct folder f;
    const char *env = getenv("ELMO_KILL_ROUNDS"), *seed = getenv("ELMO_SEED");
    int rounds = env != NULL ? atoi(env) : 20, next = 0;
    srand(seed != NULL ? (unsigned) atoi(seed) : 1u);
    folder_make(&f);
    for (int round = 0; round < rounds; round++) {
        int last = run_and_kill(f.file, next, rand() % 200000);
        elmo_t *db = open_at(f.file, NULL);
        elmo_collection_t *c = elmo_get_collection(db, "test", "c");
        int64_t n = documents_in(c, "{}");
        cr_assert(n == last + 1 || n == last + 2, "round %d: %d acknowledged, %lld there", round, last + 1,
                  (long long) n);
        cr_assert_geq(documents_in(c, "{done: true}"), last + 1);
        char filter[64];
        (void) snprintf(filter, sizeof(filter), "{_id: {$lte: %d}, done: true}", last);
        cr_assert_eq(documents_in(c, filter), last + 1, "round %d", round);
        bson_t *reply = run_command_of(db, "{validate: 'c'}");
        cr_assert_eq(number_in(reply, "nrecords"), n);
        cr_assert(number_in(reply, "errors.0") == -1 && number_in(reply, "valid") == 1);
        bson_destroy(reply);
        if (round % 5 == 4) assert_no_faults(db);
        bson_t *undone = doc_of("{done: {$exists: false}}"),
               *set = doc_of("{$set: {done: true}}"); /* what was killed between its insert and its update */
        cr_assert(elmo_collection_update_many(c, undone, set, NULL, NULL, NULL));
        bson_destroy(undone);
        bson_destroy(set);
        elmo_collection_destroy(c);
        elmo_close(db);
        next = (int) n;
    }
    cr_expect_gt(next, rounds);
    folder_remove(&f);
}
