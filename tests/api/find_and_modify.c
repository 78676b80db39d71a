/* findAndModify from many threads: numbers given once each, jobs taken once each; and without memory. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "api/handles.h"
#include "support/api_db.h"
#include "support/mem_fail.h"

#define THREAD_COUNT 4
#define NUMBERS 250 /* of each thread */
#define JOBS 400

struct shared {
    elmo_collection_t *c;
    atomic_int failures;
    atomic_int given[THREAD_COUNT * NUMBERS + 1]; /* how often each number, or job, was given */
};

/* The int at `path` of the reply's value; -1 when value is null; -2 on failure. */
static int64_t step(struct shared *s, const char *query, const char *opts, const char *path) {
    bson_error_t error;
    bson_t reply, *q = doc_of("%s", query), *o = doc_of("%s", opts);
    int64_t n = -2;
    if (elmo_collection_find_and_modify_with_opts(s->c, q, o, &reply, &error)) n = number_in(&reply, path);
    else (void) fprintf(stderr, "%u %s\n", error.code, error.message);
    if (n == -2) atomic_fetch_add(&s->failures, 1);
    bson_destroy(&reply);
    bson_destroy(q);
    bson_destroy(o);
    return n;
}

static void *draw_numbers(void *arg) {
    struct shared *s = arg;
    for (int i = 0; i < NUMBERS; i++) {
        int64_t n =
            step(s, "{_id: 'counter'}", "{update: {$inc: {n: 1}}, new: true, upsert: true, fields: {n: 1}}", "value.n");
        if (n >= 1 && n <= THREAD_COUNT * NUMBERS) atomic_fetch_add(&s->given[n], 1);
    }
    return NULL;
}

static void *take_jobs(void *arg) {
    struct shared *s = arg;
    for (;;) {
        int64_t id = step(s, "{state: 'new'}", "{update: {$set: {state: 'taken'}}, sort: {_id: 1}}", "value._id");
        if (id < 0) return NULL;
        atomic_fetch_add(&s->given[id], 1);
    }
}

static void *pop_jobs(void *arg) {
    struct shared *s = arg;
    for (;;) {
        int64_t id = step(s, "{}", "{remove: true, sort: {priority: -1}}", "value._id");
        if (id < 0) return NULL;
        atomic_fetch_add(&s->given[id], 1);
    }
}

static void run_threads(struct shared *s, void *(*work)(void *) ) {
    pthread_t threads[THREAD_COUNT];
    for (int i = 0; i < THREAD_COUNT; i++) cr_assert_eq(pthread_create(&threads[i], NULL, work, s), 0);
    for (int i = 0; i < THREAD_COUNT; i++) (void) pthread_join(threads[i], NULL);
    cr_expect_eq(atomic_load(&s->failures), 0);
}

static void expect_each_once(struct shared *s, int first, int count) {
    for (int i = first; i < first + count; i++)
        cr_expect_eq(atomic_load(&s->given[i]), 1, "%d was given %d times", i, atomic_load(&s->given[i]));
}

static struct shared *jobs_made(elmo_t *db, bool with_index) {
    struct shared *s = calloc(1, sizeof(*s));
    bson_error_t error;
    s->c = elmo_get_collection(db, "test", "jobs");
    for (int i = 0; i < JOBS; i++) {
        char doc[100];
        (void) snprintf(doc, sizeof(doc), "{_id: %d, state: 'new', priority: %d}", i, i * 7 % 50);
        cr_assert(insert_doc(s->c, doc, &error), "%s", error.message);
    }
    bson_t *key = doc_of("{key: {state: 1, _id: 1}}"), *priority = doc_of("{key: {priority: 1}}");
    const bson_t *keys[] = {key, priority};
    if (with_index) cr_assert(elmo_collection_create_indexes_with_opts(s->c, keys, 2, NULL, NULL, &error));
    bson_destroy(key);
    bson_destroy(priority);
    return s;
}

static void end(struct shared *s, elmo_t *db) {
    elmo_collection_destroy(s->c);
    free(s);
    assert_no_faults(db);
    elmo_close(db);
}

Test(find_and_modify, a_counter_gives_each_number_once) {
    elmo_t *db = open_at(NULL, NULL);
    struct shared *s = calloc(1, sizeof(*s));
    s->c = elmo_get_collection(db, "test", "counters");
    run_threads(s, draw_numbers);
    expect_each_once(s, 1, THREAD_COUNT * NUMBERS);
    end(s, db);
}

Test(find_and_modify, a_queue_gives_each_job_once) {
    for (int with_index = 0; with_index < 2; with_index++) {
        elmo_t *db = open_at(NULL, NULL);
        struct shared *s = jobs_made(db, with_index != 0);
        run_threads(s, take_jobs);
        expect_each_once(s, 0, JOBS);
        cr_expect_eq(documents_in(s->c, "{state: 'taken'}"), JOBS);
        end(s, db);
    }
}

Test(find_and_modify, removing_gives_each_job_once) {
    elmo_t *db = open_at(NULL, NULL);
    struct shared *s = jobs_made(db, true);
    run_threads(s, pop_jobs);
    expect_each_once(s, 0, JOBS);
    cr_expect_eq(documents_in(s->c, "{}"), 0);
    end(s, db);
}

Test(find_and_modify, options_are_those_of_the_command) {
    elmo_t *db = open_at(NULL, NULL);
    elmo_collection_t *c = elmo_get_collection(db, "test", "c");
    bson_error_t error;
    bson_t reply, *query = doc_of("{_id: 1}"), *unknown = doc_of("{update: {a: 1}, query: {}}");
    cr_expect(!elmo_collection_find_and_modify_with_opts(c, query, NULL, NULL, &error));
    cr_expect_eq(error.code, 9);
    cr_expect(!elmo_collection_find_and_modify_with_opts(c, query, unknown, &reply, &error));
    cr_expect_eq(error.code, 40415);
    cr_expect_str_eq(error.message, "BSON field 'findAndModify.query' is an unknown field.");
    bson_destroy(&reply);
    bson_destroy(query);
    bson_destroy(unknown);
    elmo_collection_destroy(c);
    elmo_close(db);
}

/* Each call either does its work or answers 146 and has done nothing. */
static void sweep_with(bool once) {
    struct mem_fail mf;
    for (uint64_t n = 1;; n += n > 200 ? 5 : 1) {
        bson_error_t error;
        elmo_t *db = NULL;
        mem_fail_init(&mf, n);
        mf.once = once;
        if (api_open(NULL, NULL, &mf.mem, &db, &error)) {
            elmo_collection_t *c = elmo_get_collection(db, "test", "c");
            static const char *const steps[] = {
                "{update: {$inc: {n: 1}}, upsert: true, new: true}",
                "{update: {$inc: {n: 1}, $set: {s: 'a longer text'}}, sort: {n: 1}, fields: {n: 1}}", "{remove: true}"};
            for (int i = 0; i < 3; i++) {
                bson_t reply, *query = doc_of("{k: {$gte: 0}}"), *opts = doc_of("%s", steps[i]);
                bool ok = elmo_collection_find_and_modify_with_opts(c, query, opts, &reply, &error);
                cr_expect(ok || error.code == 146, "allocation %llu: %u %s", (unsigned long long) n, error.code,
                          error.message);
                bson_destroy(&reply);
                bson_destroy(query);
                bson_destroy(opts);
            }
            elmo_collection_destroy(c);
            elmo_close(db);
        }
        cr_assert_eq(mem_fail_live(&mf), 0, "allocation %llu leaks", (unsigned long long) n);
        if (!mem_fail_hit(&mf)) break;
    }
}

Test(find_and_modify, want_of_memory_is_an_error_wherever_it_happens) {
    sweep_with(false);
    sweep_with(true);
}
