/* SQLite with JSON text and expression indexes, both table kinds; one prepared statement of each kind, WAL. */
#include <sqlite3.h>

#include "doc.h"

enum {
    S_BEGIN,
    S_COMMIT,
    S_INSERT,
    S_ID,
    S_EMAIL,
    S_RANGE,
    S_FILTER,
    S_COUNT,
    S_AVERAGE,
    S_AGE,
    S_BALANCE,
    S_COUNT_OF
};

static const char *const statements[S_COUNT_OF] = {
    "BEGIN IMMEDIATE",
    "COMMIT",
    "INSERT INTO profiles VALUES (?, ?)",
    "SELECT body FROM profiles WHERE id = ?",
    "SELECT body FROM profiles WHERE body ->> '$.email' = ?",
    "SELECT body FROM profiles WHERE body ->> '$.age' >= ? AND body ->> '$.age' < ? ORDER BY body ->> '$.age' LIMIT ?",
    "SELECT body FROM profiles WHERE body ->> '$.balance' < ? AND body ->> '$.bio' LIKE ?",
    "SELECT count(*) FROM profiles WHERE body ->> '$.city' = ?",
    "SELECT body ->> '$.city', avg(body ->> '$.age'), count(*) FROM profiles GROUP BY body ->> '$.city'",
    "UPDATE profiles SET body = json_set(body, '$.age', body ->> '$.age' + ?) WHERE id = ?",
    "UPDATE profiles SET body = json_set(body, '$.balance', body ->> '$.balance' + ?) WHERE id = ?",
};

static sqlite3 *db;
static sqlite3_stmt *st[S_COUNT_OF];

static void must(int rc, const char *what) {
    if (rc != SQLITE_OK && rc != SQLITE_DONE && rc != SQLITE_ROW) bench_fail(what, sqlite3_errmsg(db));
}

static void exec(const char *sql) { must(sqlite3_exec(db, sql, NULL, NULL, NULL), sql); }

static void open_sqlite(const char *dir, int cache_mb, int durable, int rowid) {
    char text[1024];
    (void) snprintf(text, sizeof(text), "%s/bench.sqlite", dir);
    must(sqlite3_open(text, &db), "open");
    exec("PRAGMA journal_mode = WAL");
    exec(durable ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL");
    (void) snprintf(text, sizeof(text), "PRAGMA cache_size = -%d", cache_mb * 1024);
    exec(text);
    exec(rowid ? "CREATE TABLE IF NOT EXISTS profiles (id BLOB PRIMARY KEY, body TEXT NOT NULL)"
               : "CREATE TABLE IF NOT EXISTS profiles (id BLOB PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID");
    exec("CREATE INDEX IF NOT EXISTS by_age ON profiles (body ->> '$.age')");
    exec("CREATE INDEX IF NOT EXISTS by_city ON profiles (body ->> '$.city')");
    exec("CREATE UNIQUE INDEX IF NOT EXISTS by_email ON profiles (body ->> '$.email')");
    for (int i = 0; i < S_COUNT_OF; i++)
        must(sqlite3_prepare_v3(db, statements[i], -1, SQLITE_PREPARE_PERSISTENT, &st[i], NULL), statements[i]);
}

static void open_plain(const char *dir, int cache_mb, int durable) { open_sqlite(dir, cache_mb, durable, 0); }
static void open_rowid(const char *dir, int cache_mb, int durable) { open_sqlite(dir, cache_mb, durable, 1); }

static void close_sqlite(void) {
    for (int i = 0; i < S_COUNT_OF; i++) (void) sqlite3_finalize(st[i]);
    (void) sqlite3_close(db);
}

static void step_done(int s) {
    must(sqlite3_step(st[s]), statements[s]);
    (void) sqlite3_reset(st[s]);
}

static void insert_batch(const struct profile *p, int count) {
    static char json[2048];
    step_done(S_BEGIN);
    for (int i = 0; i < count; i++) {
        int n = snprintf(json, sizeof(json),
                         "{\"name\":\"%s\",\"email\":\"%s\",\"age\":%d,\"city\":\"%s\",\"address\":{\"street\":\"%s\","
                         "\"zip\":\"%s\"},\"balance\":%.2f,"
                         "\"created\":%lld,\"tags\":[\"%s\",\"%s\",\"%s\"],\"bio\":\"%s\"}",
                         p[i].name, p[i].email, p[i].age, p[i].city, p[i].street, p[i].zip, p[i].balance,
                         (long long) p[i].created_ms, p[i].tags[0], p[i].tags[1], p[i].tags[2], p[i].bio);
        must(sqlite3_bind_blob(st[S_INSERT], 1, p[i].id, 12, SQLITE_STATIC), "bind");
        must(sqlite3_bind_text(st[S_INSERT], 2, json, n, SQLITE_STATIC), "bind");
        step_done(S_INSERT);
    }
    step_done(S_COMMIT);
}

static int count_rows(int s) {
    int rows = 0, rc;
    while ((rc = sqlite3_step(st[s])) == SQLITE_ROW)
        rows += sqlite3_column_text(st[s], 0) != NULL && sqlite3_column_bytes(st[s], 0) > 100;
    must(rc, statements[s]);
    (void) sqlite3_reset(st[s]);
    return rows;
}

static int find_id(const uint8_t id[12]) {
    must(sqlite3_bind_blob(st[S_ID], 1, id, 12, SQLITE_STATIC), "bind");
    return count_rows(S_ID);
}

static int find_email(const char *email) {
    must(sqlite3_bind_text(st[S_EMAIL], 1, email, -1, SQLITE_STATIC), "bind");
    return count_rows(S_EMAIL);
}

static int range_age(int lo, int hi, int limit) {
    must(sqlite3_bind_int(st[S_RANGE], 1, lo), "bind");
    must(sqlite3_bind_int(st[S_RANGE], 2, hi), "bind");
    must(sqlite3_bind_int(st[S_RANGE], 3, limit), "bind");
    return count_rows(S_RANGE);
}

static int filter_all(double below, const char *text) {
    char like[64];
    (void) snprintf(like, sizeof(like), "%%%s%%", text);
    must(sqlite3_bind_double(st[S_FILTER], 1, below), "bind");
    must(sqlite3_bind_text(st[S_FILTER], 2, like, -1, SQLITE_TRANSIENT), "bind");
    return count_rows(S_FILTER);
}

static int64_t count_city(const char *city) {
    must(sqlite3_bind_text(st[S_COUNT], 1, city, -1, SQLITE_STATIC), "bind");
    must(sqlite3_step(st[S_COUNT]), "count");
    int64_t n = sqlite3_column_int64(st[S_COUNT], 0);
    (void) sqlite3_reset(st[S_COUNT]);
    return n;
}

static double average_age(double *by_city) {
    double rows = 0;
    while (sqlite3_step(st[S_AVERAGE]) == SQLITE_ROW) {
        by_city[atoi((const char *) sqlite3_column_text(st[S_AVERAGE], 0) + 5)] =
            sqlite3_column_double(st[S_AVERAGE], 1);
        rows += (double) sqlite3_column_int64(st[S_AVERAGE], 2);
    }
    (void) sqlite3_reset(st[S_AVERAGE]);
    return rows;
}

static void update_batch(int s, const uint8_t (*ids)[12], int count, double delta) {
    step_done(S_BEGIN);
    for (int i = 0; i < count; i++) {
        must(s == S_AGE ? sqlite3_bind_int(st[s], 1, (int) delta) : sqlite3_bind_double(st[s], 1, delta), "bind");
        must(sqlite3_bind_blob(st[s], 2, ids[i], 12, SQLITE_STATIC), "bind");
        step_done(s);
        if (sqlite3_changes(db) != 1) bench_fail("update", "not every row was updated");
    }
    step_done(S_COMMIT);
}

static void update_age(const uint8_t (*ids)[12], int count, int delta) { update_batch(S_AGE, ids, count, delta); }
static void update_balance(const uint8_t (*ids)[12], int count, double delta) {
    update_batch(S_BALANCE, ids, count, delta);
}

const struct doc_engine doc_sqlite = {"sqlite",      "WITHOUT ROWID, WAL, synchronous NORMAL (durable insert: FULL)",
                                      open_plain,    close_sqlite,
                                      insert_batch,  find_id,
                                      find_email,    range_age,
                                      filter_all,    count_city,
                                      average_age,   update_age,
                                      update_balance};
const struct doc_engine doc_sqlite_rowid = {
    "sqlite-rowid", "rowid table, WAL, synchronous NORMAL (durable insert: FULL)",
    open_rowid,     close_sqlite,
    insert_batch,   find_id,
    find_email,     range_age,
    filter_all,     count_city,
    average_age,    update_age,
    update_balance};
