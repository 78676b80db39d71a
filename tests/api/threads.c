/* One database under many threads: inserts, updates, finds, counts, an index build, all at once. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "support/api_db.h"

#define THREAD_COUNT 4
#define ROUNDS 150

struct shared {
    elmo_t *db;
    elmo_collection_t *c;
    atomic_int number, failures, next;
};

static void expect(struct shared *s, bool ok, const bson_error_t *error) {
    if (ok) return;
    (void) fprintf(stderr, "%u %s\n", error->code, error->message);
    atomic_fetch_add(&s->failures, 1);
}

static void *work(void *arg) {
    struct shared *s = arg;
    int me = atomic_fetch_add(&s->number, 1);
    bson_error_t error = {0};
    for (int i = 0; i < ROUNDS; i++) {
        const bson_t *row;
        bson_t *doc = doc_of("{_id: %d, who: %d, tags: ['a', %d]}", atomic_fetch_add(&s->next, 1), me, i % 5);
        bson_t *mine = doc_of("{who: %d}", me), *one = doc_of("{_id: 'counter'}"), *inc = doc_of("{$inc: {n: 1}}"),
               *upsert = doc_of("{upsert: true}");
        expect(s, elmo_collection_insert_one(s->c, doc, NULL, NULL, &error), &error);
        expect(s, elmo_collection_update_one(s->c, one, inc, upsert, NULL, &error), &error);
        elmo_cursor_t *cursor = elmo_collection_find_with_opts(s->c, mine, NULL);
        int seen = 0;
        while (elmo_cursor_next(cursor, &row)) seen++;
        expect(s, !elmo_cursor_error(cursor, &error), &error);
        if (seen != i + 1) atomic_fetch_add(&s->failures, 1);
        elmo_cursor_destroy(cursor);
        if (me == 0 && i == ROUNDS / 3) {
            bson_t *key = doc_of("{key: {who: 1, tags: 1}}");
            const bson_t *keys[] = {key};
            expect(s, elmo_collection_create_indexes_with_opts(s->c, keys, 1, NULL, NULL, &error), &error);
            bson_destroy(key);
        }
        bson_t *all[] = {doc, mine, one, inc, upsert};
        for (int k = 0; k < 5; k++) bson_destroy(all[k]);
    }
    return NULL;
}

static void run(const char *path, const char *opts) {
    struct shared s = {.db = open_at(path, opts)};
    pthread_t threads[THREAD_COUNT];
    s.c = elmo_get_collection(s.db, "test", "c");
    for (int i = 0; i < THREAD_COUNT; i++) cr_assert_eq(pthread_create(&threads[i], NULL, work, &s), 0);
    for (int i = 0; i < THREAD_COUNT; i++) (void) pthread_join(threads[i], NULL);
    cr_expect_eq(atomic_load(&s.failures), 0);
    cr_expect_eq(documents_in(s.c, "{who: {$gte: 0}}"), THREAD_COUNT * ROUNDS);
    char *rows = rows_of(s.c, "{_id: 'counter'}", "{projection: {_id: 0}}"), want[64];
    (void) snprintf(want, sizeof(want), "{ \"n\" : %d }\n", THREAD_COUNT * ROUNDS);
    cr_expect_str_eq(rows, want, "an increment was lost: %s", rows);
    bson_free(rows);
    assert_no_faults(s.db);
    elmo_collection_destroy(s.c);
    elmo_close(s.db);
}

Test(threads, share_a_collection_and_lose_nothing) {
    struct folder f;
    folder_make(&f);
    run(f.file, "{sync: 'off', writeBufferMB: 1}");
    folder_remove(&f);
}

Test(threads, share_a_database_in_memory) { run(NULL, "{threads: 0}"); }

/* A cursor made by one thread is read by another; killed and used at once it answers an error, not a crash. */
static void *get_more(void *arg) {
    struct shared *s = arg;
    for (int i = 0; i < 200; i++) {
        bson_t *find = run_command_of(s->db, "{find: 'c', batchSize: 1}");
        int64_t id = number_in(find, "cursor.id");
        bson_t *more = doc_of("{getMore: NumberLong('%lld'), collection: 'c', batchSize: 2}",
                              (long long) atomic_exchange(&s->next, (int) 0) + (long long) id);
        bson_t *kill = doc_of("{killCursors: 'c', cursors: [NumberLong('%lld')]}", (long long) id), reply;
        bson_error_t error;
        if (!elmo_command_simple(s->db, "test", more, &reply, &error) && error.code != 43)
            atomic_fetch_add(&s->failures, 1);
        bson_destroy(&reply);
        expect(s, elmo_command_simple(s->db, "test", kill, NULL, &error), &error);
        bson_destroy(find);
        bson_destroy(more);
        bson_destroy(kill);
    }
    return NULL;
}

Test(threads, open_and_kill_cursors) {
    struct shared s = {.db = open_at(NULL, NULL)};
    pthread_t threads[THREAD_COUNT];
    s.c = elmo_get_collection(s.db, "test", "c");
    for (int i = 0; i < 10; i++) cr_assert(insert_doc(s.c, "{}", NULL));
    for (int i = 0; i < THREAD_COUNT; i++) cr_assert_eq(pthread_create(&threads[i], NULL, get_more, &s), 0);
    for (int i = 0; i < THREAD_COUNT; i++) (void) pthread_join(threads[i], NULL);
    cr_expect_eq(atomic_load(&s.failures), 0);
    elmo_collection_destroy(s.c);
    elmo_close(s.db);
}
