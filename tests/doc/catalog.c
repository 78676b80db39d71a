/* The catalog: creating, finding at a snapshot, listing, dropping, ids, and transactions that a change overtakes. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/codes.h"
#include "doc/db_state.h"
#include "support/doc_db.h"
#include "support/kv_fail.h"
#include "support/model_kv.h"

static void ok(struct doc_db *t, status st) { cr_assert_eq(st, ST_OK, "%s", t->err.text); }

static struct ns named(const char *db, const char *coll) { return (struct ns){slice_str(db), slice_str(coll)}; }

static uint64_t create(struct doc_db *t, struct ns ns) {
    struct kv_txn *txn = begin_txn(t, false);
    struct collection *c = NULL;
    ok(t, catalog_create(&t->op, txn, ns, bdoc_empty, &c, &t->err));
    uint64_t id = c->id;
    collection_unref(c);
    ok(t, kv_commit(txn, KV_SYNC, &t->err));
    return id;
}

static struct collection *find(struct doc_db *t, struct kv_txn *txn, struct ns ns) {
    struct collection *c = NULL;
    status st = catalog_find(&t->op, txn, ns, &c, &t->err);
    cr_assert(st == ST_OK || st == ST_NOT_FOUND, "%s", t->err.text);
    return c;
}

Test(catalog, a_collection_is_seen_by_later_snapshots_only) {
    struct doc_db t;
    doc_open(&t);
    struct kv_txn *before = begin_txn(&t, true);
    create(&t, NS);
    struct kv_txn *after = begin_txn(&t, true);
    cr_assert_null(find(&t, before, NS));
    struct collection *c = find(&t, after, NS);
    cr_assert_not_null(c);
    cr_assert_eq(c->ns.db.p[c->ns.db.len], 0);
    collection_unref(c);
    kv_abort(before);
    kv_abort(after);
    doc_close(&t);
}

Test(catalog, a_reader_keeps_the_indexes_of_its_snapshot) {
    struct doc_db t;
    doc_open(&t);
    create(&t, NS);
    struct kv_txn *old = begin_txn(&t, true);
    ok(&t, create_index(&t, "{'key': {'a': 1}}"));
    struct kv_txn *new = begin_txn(&t, true);
    for (int i = 0; i < 3; i++) { /* in turns: the cache must not mix them up */
        struct collection *a = find(&t, old, NS), *b = find(&t, new, NS);
        cr_assert_eq(a->index_count, 0);
        cr_assert_eq(b->index_count, 1);
        collection_unref(a);
        collection_unref(b);
    }
    kv_abort(old);
    kv_abort(new);
    doc_close(&t);
}

Test(catalog, a_collection_found_again_costs_no_read) {
    struct doc_db t;
    struct kv_fail counted;
    kv_fail_init(&counted, model_kv_new(), 0);
    doc_open_kv(&t, &counted.base);
    create(&t, NS);
    struct kv_txn *txn = begin_txn(&t, true);
    collection_unref(find(&t, txn, NS));
    kv_abort(txn);
    txn = begin_txn(&t, true);
    uint64_t calls = counted.calls;
    struct collection *c = find(&t, txn, NS), *again = find(&t, txn, NS);
    cr_assert_eq(c, again);
    cr_assert_eq(counted.calls, calls);
    collection_unref(c);
    collection_unref(again);
    kv_abort(txn);
    doc_close(&t);
    kv_close(counted.inner);
}

Test(catalog, a_transaction_sees_what_it_creates_and_others_do_not) {
    struct doc_db t;
    struct collection *c = NULL;
    doc_open(&t);
    create(&t, named("test", "other"));
    struct kv_txn *txn = begin_txn(&t, false);
    ok(&t, catalog_create(&t.op, txn, NS, bdoc_empty, &c, &t.err));
    collection_unref(c);
    struct kv_txn *other = begin_txn(&t, true);
    cr_assert_null(find(&t, other, NS));
    c = find(&t, txn, NS);
    cr_assert_not_null(c);
    collection_unref(c);
    kv_abort(other);
    kv_abort(txn);
    txn = begin_txn(&t, true);
    cr_assert_null(find(&t, txn, NS));
    cr_assert_neq(txn->tag, 0);
    kv_abort(txn);
    doc_close(&t);
}

Test(catalog, creating_again_needs_the_same_options) {
    struct doc_db t;
    doc_open(&t);
    struct kv_txn *txn = begin_txn(&t, false);
    ok(&t, catalog_create(&t.op, txn, NS, json("{'a': 1}"), NULL, &t.err));
    ok(&t, kv_commit(txn, KV_SYNC, &t.err));
    txn = begin_txn(&t, false);
    ok(&t, catalog_create(&t.op, txn, NS, json("{'a': 1}"), NULL, &t.err));
    cr_assert_eq(catalog_create(&t.op, txn, NS, bdoc_empty, NULL, &t.err), ST_INVALID);
    cr_assert_eq(t.err.code, CODE_NamespaceExists);
    cr_assert_eq(catalog_create(&t.op, txn, named("test", "system.x"), bdoc_empty, NULL, &t.err), ST_INVALID);
    cr_assert_eq(t.err.code, CODE_InvalidNamespace);
    kv_abort(txn);
    doc_close(&t);
}

static status append_name(void *ctx, struct collection *c, struct err *err) {
    (void) err;
    struct buf *out = ctx;
    buf_append_format(out, "%s.%s ", (const char *) c->ns.db.p, (const char *) c->ns.coll.p);
    return ST_OK;
}

Test(catalog, collections_are_listed_by_database_in_name_order) {
    struct doc_db t;
    struct buf out;
    doc_open(&t);
    const char *names[][2] = {{"b", "z"}, {"b", "a"}, {"bb", "x"}, {"a", "x"}, {"b", "a.b"}, {"c", "x"}};
    for (size_t i = 0; i < 6; i++) create(&t, named(names[i][0], names[i][1]));
    buf_init(&out, mem_default());
    struct kv_txn *txn = begin_txn(&t, false);
    ok(&t, catalog_create(&t.op, txn, named("b", "new"), bdoc_empty, NULL, &t.err));
    ok(&t, catalog_list(&t.op, txn, SLICE_LIT("b"), append_name, &out, &t.err));
    buf_append_u8(&out, 0);
    cr_assert_str_eq((const char *) out.p, "b.a b.a.b b.new b.z ");
    buf_clear(&out);
    ok(&t, catalog_list(&t.op, txn, SLICE_NONE, append_name, &out, &t.err));
    buf_append_u8(&out, 0);
    cr_assert_str_eq((const char *) out.p, "a.x b.a b.a.b b.new b.z bb.x c.x ");
    kv_abort(txn);
    buf_release(&out);
    doc_close(&t);
}

Test(catalog, ids_are_never_used_again) {
    struct doc_db t;
    doc_open(&t);
    uint64_t id = create(&t, NS);
    ok(&t, create_index(&t, "{'key': {'a': 1}}"));
    uint32_t before;
    ok(&t, catalog_drop_index(&t.op, NS, SLICE_LIT("a_1"), &before, &t.err));
    cr_assert_eq(before, 2);
    ok(&t, create_index(&t, "{'key': {'b': 1}}"));
    struct kv_txn *txn = begin_txn(&t, true);
    struct collection *c = find(&t, txn, NS);
    cr_assert_eq(c->index_count, 1);
    cr_assert_gt(c->indexes[0].id, 1);
    collection_unref(c);
    kv_abort(txn);
    ok(&t, catalog_drop_now(&t.op, NS, &t.err));
    cr_assert_gt(create(&t, NS), id);
    doc_close(&t);
}

Test(catalog, a_dropped_collection_leaves_nothing_and_takes_nothing_with_it) {
    struct doc_db t;
    struct err *err = NULL;
    doc_open(&t);
    char name[32];
    uint64_t empty = key_total(t.kv);
    for (uint64_t id = 0; id < 256;) {
        snprintf(name, sizeof(name), "c%llu", (unsigned long long) id + 1);
        id = create(&t, named("n", name));
    }
    /* one document and one index entry each in 127, 128, 129, 255, 256 */
    const char *some[] = {"c127", "c128", "c129", "c255", "c256"};
    for (int i = 0; i < 5; i++) {
        bool created;
        uint32_t b, a;
        struct bdoc spec = json("{'key': {'a': 1}}");
        ok(&t, catalog_create_indexes(&t.op, named("n", some[i]), &spec, 1, NULL, NULL, &created, &b, &a, &t.err));
        struct kv_txn *txn = begin_txn(&t, false);
        struct collection *c = find(&t, txn, named("n", some[i]));
        cr_assert_eq(c->id, (uint64_t) atoi(some[i] + 1));
        ok(&t, collection_lock(&t.op, txn, c, &t.err));
        ok(&t, collection_write(&t.op, txn, c, (struct bdoc){0}, json("{'_id': 1, 'a': [1, 2]}"), NULL, &t.err));
        collection_unref(c);
        ok(&t, kv_commit(txn, KV_SYNC, &t.err));
    }
    uint64_t all = key_total(t.kv);
    ok(&t, catalog_drop_now(&t.op, named("n", "c128"), &t.err));
    cr_assert_eq(key_total(t.kv), all - 7); /* entry, document, two index entries, a flag, two counters */
    for (int i = 0; i < 5; i++) {
        if (i == 1) continue;
        struct validate_report r;
        struct kv_txn *txn = begin_txn(&t, true);
        struct collection *c = find(&t, txn, named("n", some[i]));
        ok(&t, collection_validate(&t.op, txn, c, NULL, NULL, &r, err));
        cr_assert_eq(r.documents, 1);
        cr_assert_eq(r.keys, 2);
        cr_assert_eq(r.missing_entries + r.extra_entries + r.count_mismatches + r.invalid_documents, 0);
        collection_unref(c);
        kv_abort(txn);
    }
    for (int id = 1; id <= 256; id++) {
        snprintf(name, sizeof(name), "c%d", id);
        cr_assert_eq(catalog_drop_now(&t.op, named("n", name), &t.err), id == 128 ? ST_NOT_FOUND : ST_OK);
    }
    cr_assert_eq(key_total(t.kv), empty);
    doc_close(&t);
}

Test(catalog, an_insert_open_while_the_collection_is_dropped_is_refused) {
    struct doc_db t;
    doc_open(&t);
    ok(&t, insert(&t, json("{'_id': 1}")));
    struct kv_txn *writer = begin_txn(&t, false);
    struct collection *c = find(&t, writer, NS);
    ok(&t, catalog_drop_now(&t.op, NS, &t.err));
    cr_assert_eq(collection_lock(&t.op, writer, c, &t.err), ST_STALE);
    collection_unref(c);
    kv_abort(writer);
    /* and the other way around: the drop waits for a writer that holds its lock (here: gives up) */
    ok(&t, insert(&t, json("{'_id': 1}")));
    writer = begin_txn(&t, false);
    ok(&t, write_in(&t, writer, (struct bdoc){0}, json("{'_id': 2}")));
    cr_assert_eq(catalog_drop_now(&t.op, NS, &t.err), ST_BUSY);
    ok(&t, kv_commit(writer, KV_SYNC, &t.err));
    assert_sound(&t, 2);
    doc_close(&t);
}

Test(catalog, an_insert_open_while_an_index_is_created_is_refused) {
    struct doc_db t;
    doc_open(&t);
    ok(&t, insert(&t, json("{'_id': 1, 'a': 1}")));
    struct kv_txn *writer = begin_txn(&t, false);
    struct collection *c = find(&t, writer, NS);
    ok(&t, create_index(&t, "{'key': {'a': 1}}"));
    cr_assert_eq(collection_lock(&t.op, writer, c, &t.err), ST_STALE);
    cr_assert_eq(t.err.code, 246);
    collection_unref(c);
    kv_abort(writer);
    assert_sound(&t, 1);
    doc_close(&t);
}

Test(catalog, a_description_of_another_snapshot_is_refused_for_writing) {
    struct doc_db t;
    doc_open(&t);
    create(&t, NS);
    struct kv_txn *txn = begin_txn(&t, true);
    struct collection *stale = find(&t, txn, NS);
    kv_abort(txn);
    ok(&t, create_index(&t, "{'key': {'a': 1}}"));
    txn = begin_txn(&t, false);
    cr_assert_eq(collection_lock(&t.op, txn, stale, &t.err), ST_STALE);
    cr_assert(t.err.labels & ERR_TRANSIENT);
    kv_abort(txn);
    collection_unref(stale);
    doc_close(&t);
}

Test(catalog, concurrent_creation_of_one_collection_is_refused_to_the_second) {
    struct doc_db t;
    doc_open(&t);
    struct kv_txn *one = begin_txn(&t, false), *two = begin_txn(&t, false);
    ok(&t, catalog_create(&t.op, one, NS, bdoc_empty, NULL, &t.err));
    cr_assert_eq(catalog_create(&t.op, two, NS, bdoc_empty, NULL, &t.err), ST_BUSY);
    ok(&t, kv_commit(one, KV_SYNC, &t.err));
    cr_assert_eq(catalog_create(&t.op, two, NS, bdoc_empty, NULL, &t.err), ST_STALE);
    kv_abort(two);
    doc_close(&t);
}

Test(catalog, a_reopened_store_has_its_collections) {
    struct doc_db t, again;
    struct kv_fail shared;
    doc_open(&t);
    ok(&t, create_index(&t, "{'key': {'a': 1}, 'unique': true, 'name': 'mine'}"));
    ok(&t, insert(&t, json("{'_id': 1, 'a': 1}")));
    kv_fail_init(&shared, t.kv, 0);
    doc_open_kv(&again, &shared.base);
    assert_sound(&again, 1);
    struct kv_txn *txn = begin_txn(&again, true);
    struct collection *c = find(&again, txn, NS);
    cr_assert_not_null(collection_index(c, SLICE_LIT("mine")));
    cr_assert(collection_index(c, SLICE_LIT("mine"))->spec.is_unique);
    collection_unref(c);
    kv_abort(txn);
    doc_close(&again);
    doc_close(&t);
}

Test(catalog, object_ids_differ) {
    struct doc_db t;
    uint8_t a[12], b[12];
    doc_open(&t);
    db_new_object_id(t.db, a);
    db_new_object_id(t.db, b);
    cr_assert_neq(memcmp(a, b, 12), 0);
    cr_assert_eq(memcmp(a + 4, b + 4, 5), 0);
    doc_close(&t);
}
