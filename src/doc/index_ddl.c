/* Creating and dropping indexes: what is asked for, what exists, what conflicts; the registration of a build. The build itself: index_build.c. */
#include "base/codes.h"
#include "doc/db_state.h"
#include "doc/duplicate.h"
#include "doc/index_build.h"
#include "doc/scan.h"

struct request {
    struct op *op;
    struct ns ns;
    uint32_t count;           /* specs that are no _id index */
    struct index_spec *specs; /* in the op's arena */
};

static status parse_specs(struct request *r, const struct bdoc *documents, uint32_t count, struct err *err) {
    r->specs = arena_array(&r->op->arena, struct index_spec, count + 1);
    if (r->specs == NULL) return RAISE(err, ST_NOMEM, "creating indexes");
    for (uint32_t i = 0; i < count; i++) {
        struct index_spec *spec = &r->specs[r->count];
        TRY(index_spec_parse(&r->op->arena, documents[i], spec, err));
        if (!spec->is_id) r->count++;
    }
    return ST_OK;
}

/* Both specs as MongoDB's messages show them. */
static status refuse(struct op *op, int32_t code, const char *text, struct bdoc requested, struct bdoc existing,
                     struct err *err) {
    struct buf out;
    buf_init(&out, op->mem);
    buf_append_format(&out, "%s Requested index: ", text);
    bdoc_dump(requested, false, &out);
    buf_append_slice(&out, SLICE_LIT(", existing index: "));
    bdoc_dump(existing, false, &out);
    status st = out.failed
        ? RAISE(err, ST_NOMEM, "creating indexes")
        : RAISE_CODE(err, code, "%.*s", (int) (out.len < ERR_TEXT_LEN ? out.len : ERR_TEXT_LEN), (const char *) out.p);
    buf_release(&out);
    return st;
}

/* ST_OK: both may exist; ST_END: they are the same index. */
static status compare_specs(struct op *op, const struct index_spec *wanted, const struct index_spec *existing,
                            struct err *err) {
    bool is_same = index_spec_same(wanted, existing);
    if (slice_equal(wanted->name, existing->name)) {
        if (is_same) return ST_END;
        return refuse(op, CODE_IndexKeySpecsConflict,
                      "An existing index has the same name as the requested index. When index names are not specified, "
                      "they are auto generated and can "
                      "cause conflicts. Please refer to our documentation.",
                      wanted->document, existing->document, err);
    }
    if (is_same)
        return RAISE_CODE(err, CODE_IndexOptionsConflict, "Index already exists with a different name: %.*s",
                          (int) existing->name.len, (const char *) existing->name.p);
    if (wanted->kind == INDEX_TEXT && existing->kind == INDEX_TEXT)
        return refuse(op, CODE_IndexOptionsConflict, "only one text index per collection is allowed.", wanted->document,
                      existing->document, err);
    return ST_OK;
}

/* ST_END: exists already. */
static status check_existing(struct request *r, const struct collection *c, const struct index_spec *wanted,
                             struct err *err) {
    for (uint32_t i = 0; c != NULL && i < c->index_count; i++) {
        const struct index *ix = &c->indexes[i];
        bool is_building = ix->state == INDEX_BUILDING;
        if (is_building && !index_build_is_active(r->op->db, c->id, ix->id))
            continue; /* a leftover, removed by register_new */
        status st = compare_specs(r->op, wanted, &ix->spec, err);
        if (st == ST_END && is_building)
            return RAISE_CODE(err, CODE_ConflictingOperationInProgress, "index %.*s is being built",
                              (int) wanted->name.len, (const char *) wanted->name.p);
        if (st != ST_OK) return st;
    }
    return ST_OK;
}

/* Leaves in r->specs those that are to be made. */
static status keep_missing(struct request *r, const struct collection *c, struct err *err) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < r->count; i++) {
        status st = check_existing(r, c, &r->specs[i], err);
        for (uint32_t k = 0; k < kept && st == ST_OK; k++) st = compare_specs(r->op, &r->specs[i], &r->specs[k], err);
        if (status_failed(st)) return st;
        if (st == ST_OK) r->specs[kept++] = r->specs[i];
    }
    r->count = kept;
    return ST_OK;
}

static status remove_leftovers(struct request *r, struct kv_txn *txn, struct entry_edit *e, struct err *err) {
    for (uint32_t i = e->index_count; i-- > 0;)
        if (e->indexes[i].state == INDEX_BUILDING && !index_build_is_active(r->op->db, e->id, e->indexes[i].id))
            TRY(entry_index_remove(r->op, txn, e, i, err));
    return ST_OK;
}

/* Adds the specs to the entry and gives them ids: the indexes', the unique ones' logs, the sort. */
static status add_specs(struct request *r, struct entry_edit *e, enum index_state state, struct err *err) {
    uint32_t first = e->index_count;
    if (first + r->count >= COLLECTION_INDEXES_MAX)
        return RAISE_CODE(err, CODE_CannotCreateIndex, "add index fails, too many indexes for %.*s.%.*s key:%.*s",
                          (int) r->ns.db.len, (const char *) r->ns.db.p, (int) r->ns.coll.len,
                          (const char *) r->ns.coll.p, (int) r->specs[0].name.len, (const char *) r->specs[0].name.p);
    for (uint32_t i = 0; i < r->count; i++)
        e->indexes[e->index_count++] =
            (struct entry_index){.id = e->next_index_id++, .state = state, .spec = r->specs[i].document};
    if (state == INDEX_READY) return ST_OK;
    for (uint32_t i = first; i < e->index_count; i++)
        if (r->specs[i - first].is_unique) e->indexes[i].log_id = e->next_index_id++;
    for (uint32_t i = first; i < e->index_count; i++) e->indexes[i].sort_id = e->next_index_id;
    e->next_index_id++;
    return ST_OK;
}

static status is_empty(struct op *op, struct ddl *d, bool *out, struct err *err) {
    struct record_scan *scan = NULL;
    struct bdoc doc;
    *out = true;
    if (d->c == NULL) return ST_OK;
    TRY(record_scan_open(op, d->txn, d->c, SLICE_NONE, SLICE_NONE, false, &scan, err));
    status st = record_scan_next(scan, &doc, err);
    record_scan_close(scan);
    *out = st == ST_END;
    return st == ST_END ? ST_OK : st;
}

/* Everything in the frame of one change: the entry as it will be, and for data that exists the build's snapshot. */
static status register_new(struct request *r, struct ddl *d, struct index_build *b, struct err *err) {
    struct entry_edit e;
    uint8_t uuid[16];
    bool needs_no_build;
    TRY(is_empty(r->op, d, &needs_no_build, err));
    if (d->c != NULL) {
        entry_edit_init(&e, d->c);
    } else {
        TRY(database_check_case(r->op, d->txn, r->ns.db, err));
        TRY(entry_init_new(r->op, bdoc_empty, uuid, &e, err));
    }
    TRY(remove_leftovers(r, d->txn, &e, err));
    *b = (struct index_build){.ns = r->ns, .collection_id = e.id, .first_id = e.next_index_id};
    TRY(add_specs(r, &e, needs_no_build ? INDEX_READY : INDEX_BUILDING, err));
    b->end_id = e.next_index_id;
    TRY(entry_put(r->op, d->txn, r->ns, &e, err));
    return needs_no_build ? ST_OK : kv_begin(r->op->db->kv, true, &b->snapshot, err);
}

static uint32_t ready_count(const struct collection *c) {
    uint32_t n = 1;
    for (uint32_t i = 0; c != NULL && i < c->index_count; i++) n += c->indexes[i].state == INDEX_READY;
    return n;
}

struct counts {
    bool created;
    uint32_t before, after;
};

static status register_request(struct request *r, struct index_build *b, struct counts *out, struct err *err) {
    struct ddl d;
    TRY(ddl_begin(r->op, r->ns, true, &d, err));
    status st = keep_missing(r, d.c, err);
    *out = (struct counts){.created = d.c == NULL, .before = ready_count(d.c), .after = ready_count(d.c) + r->count};
    bool is_done = st == ST_OK && r->count == 0 && d.c != NULL;
    if (st == ST_OK && !is_done) st = register_new(r, &d, b, err);
    if (st == ST_OK && !is_done) {
        st = ddl_commit(&d, err);
    } else {
        ddl_abort(&d);
    }
    if (st != ST_OK) {
        kv_abort(b->snapshot);
        b->snapshot = NULL;
    }
    return st;
}

/* Was the collection made by the session's own transaction, and is nothing in it yet? Then nobody else can see it, and there is nothing to build. */
static status check_own(struct request *r, struct ddl *d, struct err *err) {
    struct op *op = r->op;
    struct kv_txn *txn = NULL;
    struct collection *known = NULL;
    bool empty = true;
    TRY(kv_begin(op->db->kv, true, &txn, err));
    status st = catalog_find(op, txn, r->ns, &known, err);
    bool is_own = st == ST_NOT_FOUND || (st == ST_OK && known->id != d->c->id);
    collection_unref(known);
    kv_abort(txn);
    if (status_failed(st)) return st;
    if (!is_own)
        return RAISE_CODE(err, CODE_OperationNotSupportedInTransaction,
                          "Cannot create new indexes on existing collection %.*s.%.*s in a multi-document transaction.",
                          (int) r->ns.db.len, (const char *) r->ns.db.p, (int) r->ns.coll.len,
                          (const char *) r->ns.coll.p);
    (void) kv_next_statement(d->txn);
    TRY(is_empty(op, d, &empty, err));
    if (empty) return ST_OK;
    return RAISE_CODE(err, CODE_OperationNotSupportedInTransaction,
                      "Cannot create new indexes on non-empty collection %.*s.%.*s in a multi-document transaction.",
                      (int) r->ns.db.len, (const char *) r->ns.db.p, (int) r->ns.coll.len,
                      (const char *) r->ns.coll.p);
}

/* In a session's transaction: on a collection that it makes, or made. */
static status register_in_session(struct request *r, struct counts *out, struct err *err) {
    struct op *op = r->op;
    struct ddl d = {.txn = op->session_txn};
    struct entry_edit e;
    status st = catalog_find(op, d.txn, r->ns, &d.c, err);
    *out = (struct counts){.created = st == ST_NOT_FOUND};
    if (st == ST_NOT_FOUND) st = catalog_create(op, d.txn, r->ns, bdoc_empty, &d.c, err);
    if (st == ST_OK) st = keep_missing(r, d.c, err);
    if (st == ST_OK) {
        out->before = ready_count(d.c);
        out->after = out->before + r->count;
    }
    if (st == ST_OK && r->count != 0) {
        st = check_own(r, &d, err);
        if (st == ST_OK) {
            entry_edit_init(&e, d.c);
            st = add_specs(r, &e, INDEX_READY, err);
        }
        if (st == ST_OK) st = entry_put(op, d.txn, r->ns, &e, err);
    }
    collection_unref(d.c);
    return st;
}

status catalog_create_indexes(struct op *op, struct ns ns, const struct bdoc *specs, uint32_t spec_count,
                              void (*progress)(void *ctx, struct index_build_progress p), void *ctx, bool *created,
                              uint32_t *before, uint32_t *after, struct err *err) {
    struct request r = {.op = op, .ns = ns};
    struct index_build b = {0};
    struct counts counts;
    TRY(ns_check(ns, true, err));
    TRY(parse_specs(&r, specs, spec_count, err));
    if (op->session_txn != NULL) TRY(register_in_session(&r, &counts, err));
    else TRY(register_request(&r, &b, &counts, err));
    b.progress = progress;
    b.ctx = ctx;
    if (b.snapshot != NULL) TRY(index_build_run(op, &b, err));
    *created = counts.created;
    *before = counts.before;
    *after = counts.after;
    return ST_OK;
}

/* --- dropping --- */

static status remove_named(struct op *op, struct ddl *d, struct entry_edit *e, struct slice name, struct err *err) {
    bool is_all = slice_equal(name, SLICE_LIT("*")), found = is_all;
    for (uint32_t i = e->index_count; i-- > 0;) {
        const struct index *ix = &d->c->indexes[i]; /* removal goes from the end, so places agree */
        if (!is_all && !slice_equal(ix->spec.name, name)) continue;
        TRY(entry_index_remove(op, d->txn, e, i, err));
        found = true;
    }
    return found ? ST_OK
                 : RAISE_CODE(err, CODE_IndexNotFound, "index not found with name [%.*s]",
                              (int) (name.len < 200 ? name.len : 200), (const char *) name.p);
}

status catalog_drop_index(struct op *op, struct ns ns, struct slice name, uint32_t *before, struct err *err) {
    struct ddl d;
    struct entry_edit e;
    if (op->session_txn != NULL)
        return RAISE_CODE(err, CODE_OperationNotSupportedInTransaction, "Cannot drop indexes in a transaction");
    if (slice_equal(name, SLICE_LIT("_id_"))) return RAISE_CODE(err, CODE_InvalidOptions, "cannot drop _id index");
    status st = ddl_begin(op, ns, false, &d, err);
    if (st == ST_NOT_FOUND)
        return RAISE_CODE(err, CODE_NamespaceNotFound, "ns not found %.*s.%.*s", (int) ns.db.len,
                          (const char *) ns.db.p, (int) ns.coll.len, (const char *) ns.coll.p);
    if (st != ST_OK) return st;
    uint32_t count = ready_count(d.c);
    entry_edit_init(&e, d.c);
    st = remove_named(op, &d, &e, name, err);
    if (st == ST_OK) st = entry_put(op, d.txn, ns, &e, err);
    if (st == ST_OK) st = ddl_commit(&d, err);
    else ddl_abort(&d);
    if (st == ST_OK) *before = count;
    return st;
}
