/* The document level on the real store, with threads: builds, drops and writers at once. Bounded loops, no sleeps. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/chance.h"
#include "os/thread.h"
#include "storage/lsm.h"
#include "support/doc_db.h"
#include "support/random_bson.h"

static void ok(struct doc_db *t, status st) { cr_assert_eq(st, ST_OK, "%s", t->err.text); }

static void open_lsm(struct doc_db *t) {
    struct lsm_opts o = {.sync = LSM_SYNC_OFF,
                         .create = true,
                         .threads = LSM_THREADS_DEFAULT,
                         .memtable_bytes = 256 * 1024,
                         .log_file_len = 1 << 20};
    memset(t, 0, sizeof(*t));
    ok(t, env_memory_new(mem_default(), &t->env, &t->err));
    ok(t, lsm_kv_open(t->env, "db", &o, &t->kv, &t->err));
    ok(t, db_open(t->env, t->kv, false, mem_default(), &t->db, &t->err));
    op_init(&t->op, t->db);
}

struct worker {
    struct doc_db view; /* the same database, an op of its own */
    struct thread thread;
    struct chance chance;
    int from, count, rounds;
    int64_t present;
    bool held[400];
    uint64_t duplicates, retries;
    status failed;
    char text[ERR_TEXT_LEN];
};

static struct bdoc make(struct worker *w, struct buf *buf, int id) {
    struct bbuild b;
    buf_clear(buf);
    bbuild_begin(&b, buf);
    bbuild_int32(&b, "_id", id);
    bbuild_int32(&b, "u", (int) chance_below(&w->chance, 3000));
    struct bbuild tags = bbuild_open_array(&b, SLICE_LIT("tags"));
    for (uint64_t n = chance_below(&w->chance, 4); n > 0; n--)
        bbuild_push(&tags,
                    (struct bval){w->chance.s[0] & 1 ? (const uint8_t *) "\1\0\0\0" : (const uint8_t *) "\2\0\0\0", 4,
                                  B_INT32});
    bbuild_close(&tags);
    bbuild_slice(&b, "text",
                 chance_below(&w->chance, 2) != 0 ? SLICE_LIT("some common words") : SLICE_LIT("other common words"));
    return bbuild_finish(&b);
}

/* One attempt of one write: ST_CONFLICT and ST_STALE mean "again". */
static status attempt(struct worker *w, int id, bool is_delete, struct buf *buf, struct buf *key) {
    struct kv_txn *txn = NULL;
    struct collection *c = NULL;
    struct kv_value old = KV_VALUE_INIT;
    uint8_t bytes[4];
    struct err *err = &w->view.err;
    TRY(db_begin(w->view.db, false, &txn, err));
    status st = catalog_find(&w->view.op, txn, NS, &c, err);
    if (st == ST_OK) st = collection_lock(&w->view.op, txn, c, err);
    put_le32(bytes, (uint32_t) id);
    if (st == ST_OK) st = record_get(txn, c, (struct bval){bytes, 4, B_INT32}, key, &old, err);
    if (st == ST_NOT_FOUND && c != NULL) st = ST_OK;
    struct bdoc before = {old.bytes.p, (uint32_t) old.bytes.len},
                after = is_delete ? (struct bdoc){0} : make(w, buf, id);
    if (st == ST_OK && (before.p != NULL || after.p != NULL))
        st = collection_write(&w->view.op, txn, c, before, after, NULL, err);
    kv_value_release(&old);
    collection_unref(c);
    if (st == ST_OK) return kv_commit(txn, KV_SYNC_LATER, err);
    kv_abort(txn);
    return st;
}

static void *write_documents(void *ctx) {
    struct worker *w = ctx;
    struct buf buf, key;
    buf_init(&buf, mem_default());
    buf_init(&key, mem_default());
    for (int r = 0; r < w->rounds && w->failed == ST_OK; r++) {
        int at = (int) chance_below(&w->chance, (uint64_t) w->count);
        bool is_delete = w->held[at] && chance_below(&w->chance, 3) == 0;
        status st;
        while ((st = attempt(w, w->from + at, is_delete, &buf, &key)) == ST_CONFLICT || st == ST_STALE) w->retries++;
        if (st == ST_OK) {
            w->present += !is_delete - w->held[at];
            w->held[at] = !is_delete;
        } else if (st == ST_DUPLICATE) {
            w->duplicates++;
        } else {
            w->failed = st;
            memcpy(w->text, w->view.err.text, sizeof(w->text));
        }
    }
    buf_release(&key);
    buf_release(&buf);
    return NULL;
}

static void start(struct worker *w, struct doc_db *t, int from, int rounds, uint64_t seed) {
    *w = (struct worker){.view = *t, .from = from, .count = 400, .rounds = rounds};
    op_init(&w->view.op, t->db);
    chance_init(&w->chance, seed);
    ok(t, thread_start(&w->thread, write_documents, w, &t->err));
}

static void finish(struct worker *w) {
    thread_join(&w->thread);
    op_release(&w->view.op);
    cr_assert_eq(w->failed, ST_OK, "%s", w->text);
}

Test(concurrent, indexes_come_and_go_beside_two_writers) {
    struct doc_db t;
    struct worker a, b;
    static const char *const specs[] = {"{'key': {'u': 1}}", "{'key': {'tags': 1, 'u': -1}}",
                                        "{'key': {'u': -1}, 'unique': true}", "{'key': {'text': 'text'}}"};
    static const char *const names[] = {"u_1", "tags_1_u_-1", "u_-1", "text_text"};
    uint64_t seed = random_seed(11);
    open_lsm(&t);
    ok(&t, db_upkeep_start(t.db, &t.err));
    ok(&t, insert(&t, json("{'_id': -1, 'u': -1}")));
    start(&a, &t, 0, 1500, seed);
    start(&b, &t, 400, 1500, seed + 1);
    for (int r = 0; r < 12; r++) {
        uint32_t before;
        status st = create_index(&t, specs[r % 4]);
        cr_assert(st == ST_OK || (st == ST_DUPLICATE && r % 4 == 2), "seed %llu, index %s: %s",
                  (unsigned long long) seed, names[r % 4], t.err.text);
        if (r < 8 && st == ST_OK) ok(&t, catalog_drop_index(&t.op, NS, slice_str(names[r % 4]), &before, &t.err));
    }
    finish(&a);
    finish(&b);
    assert_sound(&t, (uint64_t) (1 + a.present + b.present));
    doc_close(&t);
}

static void *drop_and_create(void *ctx) {
    struct worker *w = ctx;
    for (int r = 0; r < w->rounds && w->failed == ST_OK; r++) {
        status st = catalog_drop_now(&w->view.op, NS, &w->view.err);
        if (st == ST_OK) st = create_index(&w->view, "{'key': {'u': 1}}");
        if (st == ST_OK || st == ST_NOT_FOUND) continue;
        w->failed = st;
        memcpy(w->text, w->view.err.text, sizeof(w->text));
    }
    return NULL;
}

Test(concurrent, a_collection_is_dropped_beside_its_writers) {
    struct doc_db t;
    struct worker dropper;
    open_lsm(&t);
    dropper = (struct worker){.view = t, .rounds = 20};
    op_init(&dropper.view.op, t.db);
    ok(&t, thread_start(&dropper.thread, drop_and_create, &dropper, &t.err));
    for (int i = 0; i < 600; i++) {
        status st;
        do st = insert(&t, json("{'_id': %d, 'u': [%d, 1]}", i, i));
        while (st == ST_CONFLICT || st == ST_STALE);
        ok(&t, st);
    }
    finish(&dropper);
    struct kv_txn *txn = begin_txn(&t, true);
    struct collection *c = find_collection(&t, txn);
    struct collection_stat stat = {0};
    if (c != NULL) ok(&t, collection_stat(&t.op, txn, c, &stat, &t.err));
    collection_unref(c);
    kv_abort(txn);
    assert_sound(&t, (uint64_t) stat.documents);
    doc_close(&t);
}

Test(concurrent, a_text_index_is_consolidated_beside_its_writer) {
    struct doc_db t;
    struct worker w;
    open_lsm(&t);
    ok(&t, create_index(&t, "{'key': {'text': 'text'}}"));
    ok(&t, db_upkeep_start(t.db, &t.err));
    start(&w, &t, 0, 5000, 5);
    finish(&w);
    assert_sound(&t, (uint64_t) w.present);
    doc_close(&t);
}

Test(concurrent, upkeep_in_the_caller_folds_what_writers_left) {
    struct doc_db t;
    bool more = true;
    open_lsm(&t);
    ok(&t, create_index(&t, "{'key': {'text': 'text'}}"));
    ok(&t, db_upkeep(&t.op, &more, &t.err));
    cr_assert(!more); /* nothing due */
    for (int i = 0; i < 1200; i++)
        ok(&t, insert(&t, json("{'_id': %d, 'text': 'common words about green apples w%d'}", i, i % 50)));
    uint64_t before = key_total(t.kv);
    int steps = 0;
    do ok(&t, db_upkeep(&t.op, &more, &t.err));
    while (more && ++steps < 1000);
    cr_assert_lt(key_total(t.kv), before - 1000);
    assert_sound(&t, 1200);
    doc_close(&t);
}
