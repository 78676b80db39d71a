/* Renaming collections and dropping databases: what moves, what stays, who waits for whom. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "doc/multikey.h"
#include "os/thread.h"
#include "storage/lsm.h"
#include "support/doc_db.h"
#include "support/mem_fail.h"
#include "support/model_kv.h"

#define OTHER ((struct ns){SLICE_LIT("test"), SLICE_LIT("other")})
#define AWAY ((struct ns){SLICE_LIT("away"), SLICE_LIT("c")})

static void ok(struct doc_db *t, status st) { cr_assert_eq(st, ST_OK, "%s", t->err.text); }

static struct collection *find(struct doc_db *t, struct ns ns) {
    struct kv_txn *txn = NULL;
    struct collection *c = NULL;
    ok(t, db_begin(t->db, true, &txn, &t->err));
    if (catalog_find(&t->op, txn, ns, &c, &t->err) == ST_NOT_FOUND) c = NULL;
    kv_abort(txn);
    return c;
}

static bool exists(struct doc_db *t, struct ns ns) {
    struct collection *c = find(t, ns);
    collection_unref(c);
    return c != NULL;
}

Test(rename, keeps_documents_indexes_and_identity) {
    struct doc_db t;
    doc_open(&t);
    ok(&t, insert(&t, json("{'_id': 1, 'a': [1, 2]}")));
    ok(&t, create_index(&t, "{'key': {'a': 1}}"));
    struct collection *before = find(&t, NS);
    uint64_t keys = key_total(t.kv);
    ok(&t, catalog_rename(&t.op, NS, AWAY, false, &t.err));
    cr_assert_eq(key_total(t.kv), keys);
    cr_assert(!exists(&t, NS));
    struct collection *after = find(&t, AWAY);
    cr_assert_not_null(after);
    cr_assert_eq(after->id, before->id);
    cr_assert_gt(after->version, before->version);
    cr_assert_arr_eq(after->uuid, before->uuid, 16);
    cr_assert_eq(after->index_count, 1);
    collection_unref(before);
    collection_unref(after);
    ok(&t, catalog_rename(&t.op, AWAY, NS, false, &t.err));
    assert_sound(&t, 1);
    doc_close(&t);
}

/* Under the old name nothing is found any more; the flags are the new name's all the same. */
Test(rename, one_object_of_flags_serves_the_index_for_ever) {
    struct doc_db t;
    doc_open(&t);
    ok(&t, insert(&t, json("{'_id': 1, 'a': 1}")));
    ok(&t, create_index(&t, "{'key': {'a': 1}}"));
    struct collection *reader = find(&t, NS);
    struct multikey *flags = reader->indexes[0].flags;
    ok(&t, catalog_rename(&t.op, NS, OTHER, false, &t.err));
    for (int i = 0; i < 2; i++) cr_assert(!exists(&t, NS));
    struct collection *moved = find(&t, OTHER);
    cr_assert_eq(moved->indexes[0].flags, flags);
    collection_unref(moved);
    ok(&t, catalog_rename(&t.op, OTHER, NS, false, &t.err));
    cr_assert(!exists(&t, OTHER));
    ok(&t, insert(&t, json("{'_id': 2, 'a': [1, 2]}")));
    cr_assert_neq(index_multikey(&reader->indexes[0], 0), 0);
    collection_unref(reader);
    /* and they go with the collection: the next one of that name starts without */
    ok(&t, catalog_drop_now(&t.op, NS, &t.err));
    ok(&t, insert(&t, json("{'_id': 1, 'a': 1}")));
    ok(&t, create_index(&t, "{'key': {'a': 1}}"));
    reader = find(&t, NS);
    cr_assert_eq(index_multikey(&reader->indexes[0], 0), 0);
    collection_unref(reader);
    assert_sound(&t, 1);
    doc_close(&t);
}

Test(rename, replaces_its_target_only_when_told) {
    struct doc_db t;
    doc_open(&t);
    uint64_t empty = key_total(t.kv);
    ok(&t, insert(&t, json("{'_id': 1}")));
    ok(&t, catalog_rename(&t.op, NS, OTHER, false, &t.err));
    ok(&t, insert(&t, json("{'_id': 2}")));
    ok(&t, create_index(&t, "{'key': {'a': 1}}"));
    cr_assert_neq(catalog_rename(&t.op, OTHER, NS, false, &t.err), ST_OK);
    cr_assert_eq(t.err.code, 48);
    ok(&t, catalog_rename(&t.op, OTHER, NS, true, &t.err));
    assert_sound(&t, 1);
    struct collection *c = find(&t, NS);
    cr_assert_eq(c->index_count, 0);
    collection_unref(c);
    ok(&t, catalog_drop_now(&t.op, NS, &t.err));
    cr_assert_eq(key_total(t.kv), empty);
    doc_close(&t);
}

Test(rename, an_insert_open_meanwhile_is_refused_and_one_that_holds_its_lock_is_waited_for) {
    struct doc_db t;
    doc_open(&t);
    ok(&t, insert(&t, json("{'_id': 1}")));
    struct kv_txn *writer = begin_txn(&t, false);
    struct collection *c = find_collection(&t, writer);
    ok(&t, catalog_rename(&t.op, NS, OTHER, false, &t.err));
    cr_assert_eq(collection_lock(&t.op, writer, c, &t.err), ST_STALE);
    collection_unref(c);
    kv_abort(writer);
    ok(&t, catalog_rename(&t.op, OTHER, NS, false, &t.err));
    writer = begin_txn(&t, false);
    ok(&t, write_in(&t, writer, (struct bdoc){0}, json("{'_id': 2}")));
    cr_assert_eq(catalog_rename(&t.op, NS, OTHER, false, &t.err), ST_BUSY); /* the naive store does not wait */
    ok(&t, kv_commit(writer, KV_SYNC, &t.err));
    assert_sound(&t, 2);
    doc_close(&t);
}

Test(rename, a_reader_keeps_the_name_of_its_snapshot) {
    struct doc_db t;
    doc_open(&t);
    ok(&t, insert(&t, json("{'_id': 1}")));
    struct kv_txn *reader = begin_txn(&t, true);
    ok(&t, catalog_rename(&t.op, NS, OTHER, false, &t.err));
    struct collection *c = find_collection(&t, reader);
    cr_assert_not_null(c);
    collection_unref(c);
    kv_abort(reader);
    cr_assert(!exists(&t, NS));
    doc_close(&t);
}

Test(rename, a_dropped_database_leaves_nothing_and_takes_nothing_with_it) {
    struct doc_db t;
    bool existed = true;
    doc_open(&t);
    uint64_t empty = key_total(t.kv);
    ok(&t, catalog_drop_database(&t.op, SLICE_LIT("test"), &existed, &t.err));
    cr_assert(!existed);
    for (int i = 0; i < 40; i++) {
        char name[16];
        (void) snprintf(name, sizeof(name), "c%d", i);
        ok(&t, insert(&t, json("{'_id': %d, 'a': [1, 2]}", i)));
        ok(&t, create_index(&t, "{'key': {'a': 1}}"));
        ok(&t, catalog_rename(&t.op, NS, (struct ns){SLICE_LIT("test"), slice_str(name)}, false, &t.err));
    }
    ok(&t, insert(&t, json("{'_id': 1}")));
    ok(&t, catalog_rename(&t.op, NS, (struct ns){SLICE_LIT("test2"), SLICE_LIT("c")}, false, &t.err));
    ok(&t, catalog_drop_database(&t.op, SLICE_LIT("test"), &existed, &t.err));
    cr_assert(existed);
    cr_assert(exists(&t, (struct ns){SLICE_LIT("test2"), SLICE_LIT("c")}));
    cr_assert(!exists(&t, (struct ns){SLICE_LIT("test"), SLICE_LIT("c7")}));
    ok(&t, catalog_drop_database(&t.op, SLICE_LIT("test2"), &existed, &t.err));
    cr_assert_eq(key_total(t.kv), empty);
    doc_close(&t);
}

/* Every allocation fails once: both names then tell the same story as before or after, and nothing leaks. */
Test(rename, want_of_memory_leaves_one_name_or_the_other) {
    bool existed;
    for (uint64_t n = 1;; n++) {
        struct doc_db t;
        struct mem_fail mf;
        mem_fail_init(&mf, 0);
        ok(&t, doc_try_open(&t, model_kv_new(), &mf.mem));
        t.op.mem = &mf.mem;
        arena_init(&t.op.arena, &mf.mem);
        ok(&t, insert(&t, json("{'_id': 1, 'a': [1]}")));
        ok(&t, create_index(&t, "{'key': {'a': 1}}"));
        mf.fail_at = mf.count + n;
        mf.once = true;
        status st = catalog_rename(&t.op, NS, OTHER, true, &t.err);
        status dropped = st == ST_OK ? catalog_drop_database(&t.op, SLICE_LIT("test"), &existed, &t.err) : ST_OK;
        bool hit = mem_fail_hit(&mf);
        mf.fail_at = 0;
        cr_assert(st == ST_OK || st == ST_NOMEM, "allocation %llu: %s", (unsigned long long) n, t.err.text);
        cr_assert(dropped == ST_OK || dropped == ST_NOMEM);
        cr_assert_eq(exists(&t, NS), st != ST_OK);
        cr_assert_eq(exists(&t, OTHER), st == ST_OK && dropped != ST_OK);
        doc_close(&t);
        cr_assert_eq(mem_fail_live(&mf), 0, "allocation %llu leaks", (unsigned long long) n);
        if (!hit) break;
    }
}

/* --- threads --- */

struct mover {
    struct doc_db view;
    struct thread thread;
    status failed;
    int moves;
};

/* There and back, beside a writer that makes the collection anew when it does not find it; what it made is then in the way. */
static void *move(void *arg) {
    struct mover *m = arg;
    struct doc_db *v = &m->view;
    for (int i = 0; i < 60 && m->failed == ST_OK; i++) {
        struct err err = ERR_INIT;
        status st = catalog_rename(&v->op, i % 2 == 0 ? NS : AWAY, i % 2 == 0 ? AWAY : NS, i % 2 != 0, &err);
        if (st == ST_OK) m->moves++;
        else if (err.code != 48 && err.code != 26) m->failed = st;
    }
    return NULL;
}

Test(rename, names_change_beside_a_writer) {
    struct doc_db t = {0};
    struct lsm_opts o = {.sync = LSM_SYNC_OFF, .create = true, .threads = LSM_THREADS_DEFAULT};
    ok(&t, env_memory_new(mem_default(), &t.env, &t.err));
    ok(&t, lsm_kv_open(t.env, "db", &o, &t.kv, &t.err));
    ok(&t, db_open(t.env, t.kv, false, mem_default(), &t.db, &t.err));
    op_init(&t.op, t.db);
    struct mover m = {.view = t};
    op_init(&m.view.op, t.db);
    ok(&t, insert(&t, json("{'_id': -1, 'a': 1}")));
    ok(&t, create_index(&t, "{'key': {'a': 1}}"));
    ok(&t, thread_start(&m.thread, move, &m, &t.err));
    for (int i = 0; i < 600; i++) {
        status st;
        do st = insert(&t, json("{'_id': %d, 'a': [%d, 1]}", i, i));
        while (st == ST_CONFLICT || st == ST_STALE || st == ST_BUSY);
        cr_assert(st == ST_OK || t.err.code == 11000, "%s", t.err.text);
    }
    thread_join(&m.thread);
    op_release(&m.view.op);
    cr_assert_eq(m.failed, ST_OK);
    cr_assert_gt(m.moves, 1);
    struct kv_txn *txn = begin_txn(&t, true);
    for (int i = 0; i < 2; i++) {
        struct collection *c = find(&t, i == 0 ? NS : AWAY);
        struct validate_report report = {0};
        if (c == NULL) continue;
        ok(&t, collection_validate(&t.op, txn, c, NULL, NULL, &report, &t.err));
        cr_assert_eq(report.missing_entries + report.extra_entries, 0);
        collection_unref(c);
    }
    kv_abort(txn);
    doc_close(&t);
}
