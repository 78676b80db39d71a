/* server PEER WHERE DOCUMENTS CONNECTIONS SECONDS: loads, then runs each kind of request from CONNECTIONS threads for SECONDS and prints rows as bench.h says. */
#include "server.h"

#include <pthread.h>
#include <stdatomic.h>

#include "bench.h"

enum kind { INSERT, FIND_ID, FIND_EMAIL, FIND_AGE, FIND_TAG, AGGREGATE, UPDATE, KIND_COUNT };
static const char *const kind_names[] = {"insert",      "find by _id",   "find by unique field", "20 of an age",
                                         "20 of a tag", "group by city", "update by _id"};

struct worker {
    pthread_t thread;
    const struct peer *peer;
    const char *where;
    void *connection;
    enum kind kind;
    uint64_t chance;
    int64_t documents;
    _Atomic int64_t *next_id;
    double until;
    double *seconds; /* of each request */
    size_t count, room;
    int64_t found;
};

void profile_make(struct profile *p, int64_t id) {
    static const char *const first[] = {"Ada", "Grace", "Linus", "Ken", "Barbara", "Edsger", "Alan", "Donald"};
    uint64_t s = (uint64_t) id * 77 + 1;
    p->id = id;
    (void) snprintf(p->name, sizeof(p->name), "%s %llu", first[bench_random(&s) % 8],
                    (unsigned long long) (bench_random(&s) % 100000));
    (void) snprintf(p->email, sizeof(p->email), "user%lld@example.org", (long long) id);
    (void) snprintf(p->city, sizeof(p->city), "city%llu", (unsigned long long) (bench_random(&s) % CITY_COUNT));
    p->age = (int32_t) (bench_random(&s) % AGE_MAX);
    p->score = (double) (bench_random(&s) % 100000) / 100;
    for (int i = 0; i < 3; i++)
        (void) snprintf(p->tags[i], sizeof(p->tags[i]), "tag%llu", (unsigned long long) (bench_random(&s) % TAG_COUNT));
    for (int i = 0; i < 160; i++) p->bio[i] = (char) (i % 7 == 6 ? ' ' : 'a' + (char) (bench_random(&s) % 26));
    p->bio[160] = 0;
}

static void one(struct worker *w) {
    const struct peer *peer = w->peer;
    int64_t id = (int64_t) (bench_random(&w->chance) % (uint64_t) w->documents);
    switch (w->kind) {
    case INSERT: peer->insert(w->connection, atomic_fetch_add(w->next_id, 1)), w->found++; break;
    case FIND_ID: w->found += peer->find_id(w->connection, id); break;
    case FIND_EMAIL: w->found += peer->find_email(w->connection, id); break;
    case FIND_AGE: w->found += peer->find_age(w->connection, (int32_t) (id % AGE_MAX)); break;
    case FIND_TAG: w->found += peer->find_tag(w->connection, (int32_t) (id % TAG_COUNT)); break;
    case AGGREGATE: w->found += peer->aggregate(w->connection, (int32_t) (id % AGE_MAX)); break;
    case UPDATE: peer->update(w->connection, id), w->found++; break;
    case KIND_COUNT: break;
    }
}

static void *work(void *arg) {
    struct worker *w = arg;
    for (double now = bench_now(); now < w->until;) {
        one(w);
        double then = bench_now();
        if (w->count == w->room) {
            w->room = w->room != 0 ? w->room * 2 : 1024;
            w->seconds = realloc(w->seconds, w->room * sizeof(double));
            if (w->seconds == NULL) bench_fail("memory", "none");
        }
        w->seconds[w->count++] = then - now;
        now = then;
    }
    return NULL;
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *) a, y = *(const double *) b;
    return (x > y) - (x < y);
}

static void report(struct worker *ws, size_t n, enum kind kind, double seconds) {
    size_t total = 0;
    int64_t found = 0;
    for (size_t i = 0; i < n; i++) total += ws[i].count, found += ws[i].found;
    double *all = malloc((total + 1) * sizeof(double));
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        memcpy(all + at, ws[i].seconds, ws[i].count * sizeof(double));
        at += ws[i].count;
    }
    qsort(all, total, sizeof(double), by_size);
    char name[80];
    const char *is = n == 1 ? "connection" : "connections";
    (void) snprintf(name, sizeof(name), "%s, %zu %s", kind_names[kind], n, is);
    bench_row(name, (double) total / seconds, "per second", "more");
    (void) snprintf(name, sizeof(name), "%s, %zu %s, p50", kind_names[kind], n, is);
    bench_row(name, all[total / 2] * 1e6, "us", "less");
    (void) snprintf(name, sizeof(name), "%s, %zu %s, p99", kind_names[kind], n, is);
    bench_row(name, all[total * 99 / 100] * 1e6, "us", "less");
    (void) snprintf(name, sizeof(name), "%s, %zu %s, rows each", kind_names[kind], n, is);
    fprintf(stderr, "%s: %.3f\n", name, (double) found / (double) total);
    free(all);
}

static void measure(const struct peer *peer, const char *where, int64_t documents, size_t n, double seconds) {
    static _Atomic int64_t next_id;
    struct worker *ws = calloc(n, sizeof(*ws));
    if (ws == NULL) bench_fail("memory", "none");
    if (atomic_load(&next_id) < documents) atomic_store(&next_id, documents);
    for (size_t i = 0; i < n; i++)
        ws[i] = (struct worker){.peer = peer,
                                .where = where,
                                .connection = peer->connect(where),
                                .documents = documents,
                                .next_id = &next_id,
                                .chance = i + 1};
    for (int kind = 0; kind < KIND_COUNT; kind++) {
        for (size_t i = 0; i < n; i++) {
            ws[i].kind = (enum kind) kind, ws[i].count = 0, ws[i].found = 0;
            one(&ws[i]); /* warm: statements are prepared, plans made */
        }
        double from = bench_now();
        for (size_t i = 0; i < n; i++) {
            ws[i].found = 0, ws[i].until = from + seconds;
            if (pthread_create(&ws[i].thread, NULL, work, &ws[i]) != 0) bench_fail("thread", "cannot be started");
        }
        for (size_t i = 0; i < n; i++) (void) pthread_join(ws[i].thread, NULL);
        report(ws, n, (enum kind) kind, bench_now() - from);
    }
    for (size_t i = 0; i < n; i++) peer->disconnect(ws[i].connection), free(ws[i].seconds);
    free(ws);
}

int main(int argc, char **argv) {
    if (argc != 6) {
        fprintf(stderr, "usage: %s elmo|postgres WHERE DOCUMENTS CONNECTIONS,... SECONDS\n", argv[0]);
        return 2;
    }
    const struct peer *peer = strcmp(argv[1], "elmo") == 0 ? &peer_elmo : &peer_postgres;
    int64_t documents = atoll(argv[3]);
    void *connection = peer->connect(argv[2]);
    peer->prepare(connection);
    for (int64_t at = 0; at < documents; at += 1000)
        peer->load(connection, at, documents - at < 1000 ? documents - at : 1000);
    peer->disconnect(connection);
    for (char *n = strtok(argv[4], ","); n != NULL; n = strtok(NULL, ","))
        measure(peer, argv[2], documents, (size_t) atoi(n), atof(argv[5]));
    return 0;
}
