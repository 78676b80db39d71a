/* PostgreSQL through libpq: jsonb, btree indexes over expressions, a GIN index over the tags, prepared statements. */
#include <libpq-fe.h>

#include "bench.h"
#include "server.h"

static PGresult *must(PGconn *c, PGresult *r, ExecStatusType wanted, const char *what) {
    if (PQresultStatus(r) != wanted) bench_fail(what, PQerrorMessage(c));
    return r;
}
static void run(PGconn *c, const char *sql) { PQclear(must(c, PQexec(c, sql), PGRES_COMMAND_OK, sql)); }
static void prepare_statement(PGconn *c, const char *name, const char *sql) {
    PQclear(must(c, PQprepare(c, name, sql, 0, NULL), PGRES_COMMAND_OK, sql));
}

static void statements(PGconn *c) {
    prepare_statement(c, "insert", "insert into profiles values ($1::bigint, $2::jsonb)");
    prepare_statement(c, "id", "select doc from profiles where id = $1::bigint");
    prepare_statement(c, "email", "select doc from profiles where doc->>'email' = $1");
    prepare_statement(c, "age", "select doc from profiles where (doc->>'age')::int = $1::int limit 20");
    prepare_statement(c, "tag", "select doc from profiles where doc->'tags' ? $1 limit 20");
    prepare_statement(c, "aggregate",
                      "select doc->>'city', count(*), avg((doc->>'score')::float8) from profiles where "
                      "(doc->>'age')::int = $1::int group by 1");
    prepare_statement(c, "update",
                      "update profiles set doc = jsonb_set(doc, '{visits}', to_jsonb((doc->>'visits')::int + 1)) where "
                      "id = $1::bigint");
}

static void *connect_to(const char *where) {
    PGconn *c = PQconnectdb(where);
    if (PQstatus(c) != CONNECTION_OK) bench_fail(where, PQerrorMessage(c));
    PGresult *r = PQexec(c, "select 1 from pg_tables where tablename = 'profiles'");
    if (PQntuples(r) == 1) statements(c);
    PQclear(r);
    return c;
}
static void disconnect(void *c) { PQfinish(c); }

static void prepare(void *c) {
    run(c, "drop table if exists profiles");
    run(c, "create table profiles (id bigint primary key, doc jsonb not null)");
    run(c, "create unique index on profiles ((doc->>'email'))");
    run(c, "create index on profiles (((doc->>'age')::int))");
    run(c, "create index on profiles using gin ((doc->'tags'))");
    statements(c);
}

static int text_of(char *out, size_t room, int64_t id) {
    struct profile p;
    profile_make(&p, id);
    return snprintf(out, room,
                    "{\"name\":\"%s\",\"email\":\"%s\",\"city\":\"%s\",\"age\":%d,\"score\":%.2f,\"tags\":[\"%s\",\"%"
                    "s\",\"%s\"],\"bio\":\"%s\",\"visits\":0}",
                    p.name, p.email, p.city, p.age, p.score, p.tags[0], p.tags[1], p.tags[2], p.bio);
}

static void insert(void *c, int64_t id) {
    char number[24], doc[600];
    (void) snprintf(number, sizeof(number), "%lld", (long long) id);
    (void) text_of(doc, sizeof(doc), id);
    const char *values[] = {number, doc};
    PQclear(must(c, PQexecPrepared(c, "insert", 2, values, NULL, NULL, 0), PGRES_COMMAND_OK, "insert"));
}

static void load(void *c, int64_t from, int64_t count) {
    char line[700], doc[600];
    PQclear(must(c, PQexec(c, "copy profiles from stdin"), PGRES_COPY_IN, "copy"));
    for (int64_t i = from; i < from + count; i++) {
        (void) text_of(doc, sizeof(doc), i);
        int n = snprintf(line, sizeof(line), "%lld\t%s\n", (long long) i, doc);
        if (PQputCopyData(c, line, n) != 1) bench_fail("copy", PQerrorMessage(c));
    }
    if (PQputCopyEnd(c, NULL) != 1) bench_fail("copy", PQerrorMessage(c));
    for (PGresult *r; (r = PQgetResult(c)) != NULL;) PQclear(must(c, r, PGRES_COMMAND_OK, "copy"));
    if (from % 50000 == 49000) run(c, "analyze profiles");
}

static int64_t rows_of(PGconn *c, const char *statement, const char *value) {
    const char *values[] = {value};
    PGresult *r = must(c, PQexecPrepared(c, statement, 1, values, NULL, NULL, 0), PGRES_TUPLES_OK, statement);
    int64_t n = PQntuples(r);
    PQclear(r);
    return n;
}
static int64_t rows_of_number(PGconn *c, const char *statement, int64_t number) {
    char text[24];
    (void) snprintf(text, sizeof(text), "%lld", (long long) number);
    return rows_of(c, statement, text);
}

static int64_t find_id(void *c, int64_t id) { return rows_of_number(c, "id", id); }
static int64_t find_email(void *c, int64_t id) {
    struct profile p;
    profile_make(&p, id);
    return rows_of(c, "email", p.email);
}
static int64_t find_age(void *c, int32_t age) { return rows_of_number(c, "age", age); }
static int64_t find_tag(void *c, int32_t tag) {
    char text[16];
    (void) snprintf(text, sizeof(text), "tag%d", tag);
    return rows_of(c, "tag", text);
}
static int64_t aggregate(void *c, int32_t age) { return rows_of_number(c, "aggregate", age); }
static void update(void *c, int64_t id) {
    char text[24];
    (void) snprintf(text, sizeof(text), "%lld", (long long) id);
    const char *values[] = {text};
    PQclear(must(c, PQexecPrepared(c, "update", 1, values, NULL, NULL, 0), PGRES_COMMAND_OK, "update"));
}

const struct peer peer_postgres = {"postgres", connect_to, disconnect, prepare,  load,      insert,
                                   find_id,    find_email, find_age,   find_tag, aggregate, update};
