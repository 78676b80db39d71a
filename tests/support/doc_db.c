/* See doc_db.h. */
#include "support/doc_db.h"

#include <bson/bson.h>
#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "bson/build.h"
#include "index/key.h"
#include "support/model_kv.h"

/* What tests hold to their end, in sight of leak checkers. Tests with threads keep things in all of them. */
struct kept {
    struct kept *next;
};
static _Atomic(struct kept *) kept_list;

static void *keep(size_t len) {
    struct kept *k = malloc(sizeof(*k) + len);
    cr_assert_not_null(k);
    k->next = atomic_load(&kept_list);
    while (!atomic_compare_exchange_weak(&kept_list, &k->next, k)) {
    }
    return k + 1;
}

status doc_try_open(struct doc_db *t, struct kv *kv, const struct mem *mem) {
    memset(t, 0, sizeof(*t));
    t->kv = kv;
    cr_assert_eq(env_memory_new(mem_default(), &t->env, &t->err), ST_OK, "%s", t->err.text);
    status st = db_open(t->env, t->kv, false, mem, &t->db, &t->err);
    if (st == ST_OK) op_init(&t->op, t->db);
    else env_free(t->env);
    return st;
}

void doc_open_kv(struct doc_db *t, struct kv *kv) {
    cr_assert_eq(doc_try_open(t, kv, mem_default()), ST_OK, "%s", t->err.text);
}

void doc_open(struct doc_db *t) { doc_open_kv(t, model_kv_new()); }

void doc_close(struct doc_db *t) {
    op_release(&t->op);
    db_close(t->db);
}

struct bdoc json(const char *fmt, ...) {
    va_list ap;
    char *text = NULL;
    va_start(ap, fmt);
    int n = vasprintf(&text, fmt, ap);
    va_end(ap);
    cr_assert_geq(n, 0);
    for (char *p = text; *p != 0; p++)
        if (*p == '\'') *p = '"';
    bson_error_t error;
    bson_t *b = bson_new_from_json((const uint8_t *) text, -1, &error);
    cr_assert_not_null(b, "%s in %s", error.message, text);
    struct bdoc d = {keep(b->len), b->len};
    memcpy((void *) (uintptr_t) d.p, bson_get_data(b), b->len);
    bson_destroy(b);
    free(text);
    return d;
}

const char *text_of(struct bdoc d) {
    bson_t b;
    size_t len;
    cr_assert(bson_init_static(&b, d.p, d.len));
    char *text = bson_as_canonical_extended_json(&b, &len), *copy = keep(len + 1);
    memcpy(copy, text, len + 1);
    bson_free(text);
    return copy;
}

struct kv_txn *begin_txn(struct doc_db *t, bool read_only) {
    struct kv_txn *txn = NULL;
    cr_assert_eq(db_begin(t->db, read_only, &txn, &t->err), ST_OK, "%s", t->err.text);
    return txn;
}

struct collection *find_collection(struct doc_db *t, struct kv_txn *txn) {
    struct collection *c = NULL;
    status st = catalog_find(&t->op, txn, NS, &c, &t->err);
    cr_assert(st == ST_OK || st == ST_NOT_FOUND, "%s", t->err.text);
    return c;
}

status write_in(struct doc_db *t, struct kv_txn *txn, struct bdoc old_doc, struct bdoc new_doc) {
    struct collection *c = NULL;
    status st = catalog_create(&t->op, txn, NS, bdoc_empty, &c, &t->err);
    if (st != ST_OK) return st;
    st = collection_lock(&t->op, txn, c, &t->err);
    if (st == ST_OK) st = collection_write(&t->op, txn, c, old_doc, new_doc, NULL, &t->err);
    collection_unref(c);
    return st;
}

static status end(struct doc_db *t, struct kv_txn *txn, status st) {
    if (st == ST_OK) return kv_commit(txn, KV_SYNC, &t->err);
    kv_abort(txn);
    return st;
}

status insert(struct doc_db *t, struct bdoc doc) {
    struct kv_txn *txn = begin_txn(t, false);
    return end(t, txn, write_in(t, txn, (struct bdoc){0}, doc));
}

static status change(struct doc_db *t, const char *id_json, struct bdoc doc) {
    struct kv_txn *txn = begin_txn(t, false);
    struct collection *c = find_collection(t, txn);
    struct kv_value v = KV_VALUE_INIT;
    struct buf key;
    if (c == NULL) return end(t, txn, ST_NOT_FOUND);
    buf_init(&key, mem_default());
    status st = record_get(txn, c, bdoc_get_str(json("%s", id_json), "_id"), &key, &v, &t->err);
    if (st == ST_OK) st = write_in(t, txn, (struct bdoc){v.bytes.p, (uint32_t) v.bytes.len}, doc);
    kv_value_release(&v);
    buf_release(&key);
    collection_unref(c);
    return end(t, txn, st);
}

status replace(struct doc_db *t, const char *id_json, struct bdoc doc) { return change(t, id_json, doc); }
status erase(struct doc_db *t, const char *id_json) { return change(t, id_json, (struct bdoc){0}); }

status create_index(struct doc_db *t, const char *spec) {
    bool created;
    uint32_t before, after;
    struct bdoc d = json("%s", spec);
    return catalog_create_indexes(&t->op, NS, &d, 1, NULL, NULL, &created, &before, &after, &t->err);
}

static void print_fault(void *ctx, const char *text) {
    (void) ctx;
    fprintf(stderr, "fault: %s\n", text);
}

void assert_sound(struct doc_db *t, uint64_t documents) {
    struct kv_txn *txn = begin_txn(t, true);
    struct collection *c = find_collection(t, txn);
    struct validate_report r = {0};
    if (c != NULL)
        cr_assert_eq(collection_validate(&t->op, txn, c, print_fault, NULL, &r, &t->err), ST_OK, "%s", t->err.text);
    collection_unref(c);
    kv_abort(txn);
    cr_assert_eq(r.invalid_documents + r.missing_entries + r.extra_entries + r.count_mismatches, 0);
    cr_assert_eq(r.documents, documents, "%llu documents", (unsigned long long) r.documents);
}

static void append_value(struct buf *out, struct slice *key, bool descending, struct slice *side) {
    struct buf field, wrapped;
    struct bval v;
    struct bbuild b;
    buf_init(&field, mem_default());
    buf_init(&wrapped, mem_default());
    cr_assert_eq(key_decode_field(key, descending, side, &field, &v, NULL), ST_OK);
    bbuild_begin(&b, &wrapped);
    if (v.type != B_MISSING) bbuild_value(&b, SLICE_LIT(""), v);
    const char *text = text_of(bbuild_finish(&b));
    buf_append(out, text, strlen(text));
    buf_release(&wrapped);
    buf_release(&field);
}

const char *entries_of(struct doc_db *t, const char *index_name, bool backward) {
    struct kv_txn *txn = begin_txn(t, true);
    struct collection *c = find_collection(t, txn);
    struct index *ix = c != NULL ? collection_index(c, slice_str(index_name)) : NULL;
    struct index_scan *scan = NULL;
    struct index_entry e;
    struct buf out;
    status st;
    cr_assert_not_null(ix);
    buf_init(&out, mem_default());
    cr_assert_eq(index_scan_open(&t->op, txn, c, ix, backward, &scan, &t->err), ST_OK);
    while ((st = index_scan_next(scan, &e, &t->err)) == ST_OK) {
        for (uint32_t f = 0; f < ix->spec.field_count; f++)
            append_value(&out, &e.key, ix->spec.fields[f].descending, &e.side);
        append_value(&out, &e.locator, false, &e.side);
        buf_append_u8(&out, '\n');
        cr_assert_eq(e.key.len + e.locator.len + e.side.len, 0);
    }
    cr_assert_eq(st, ST_END);
    buf_append_u8(&out, 0);
    index_scan_close(scan);
    collection_unref(c);
    kv_abort(txn);
    char *text = keep(out.len);
    memcpy(text, out.p, out.len);
    buf_release(&out);
    return text;
}

uint64_t key_total(struct kv *kv) {
    struct kv_txn *txn = NULL;
    struct kv_cursor *cursor = NULL;
    uint64_t n = 0;
    cr_assert_eq(kv_begin(kv, true, &txn, NULL), ST_OK);
    cr_assert_eq(kv_cursor_open(txn, NULL, &cursor, NULL), ST_OK);
    for (status st = kv_first(cursor, NULL); st == ST_OK; st = kv_next(cursor, NULL)) n++;
    kv_cursor_close(cursor);
    kv_abort(txn);
    return n;
}
