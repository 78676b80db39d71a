/* insert, update, replace and delete: typed functions over query/write.h. Write errors make a typed function answer
 * false. */
#include <stdio.h>

#include "api/handles.h"
#include "api/options.h"
#include "base/codes.h"
#include "bson/check.h"
#include "command/requests.h"
#include "doc/db.h"

#define STACK_DOCS 16 /* insert_many of so few documents needs no array of its own */

/* One write call from begin to answer. */
struct write_call {
    struct elmo_collection *c;
    struct op op;
    struct buf buf; /* the reply */
    struct bbuild reply;
    struct err err;
};

static status begin(struct write_call *w, struct elmo_collection *c) {
    w->c = c;
    w->err = ERR_INIT;
    buf_init(&w->buf, c->db->mem);
    TRY(api_begin(c->db, &w->op, &w->err));
    bbuild_begin(&w->reply, &w->buf);
    TRY(ns_check(c->ns, true, &w->err));
    if (db_is_read_only(c->db->document_db))
        return RAISE(&w->err, ST_READ_ONLY, "cannot write: the database was opened read-only");
    return ST_OK;
}

/* The first write error as the call's error; counts are in the reply already. */
static status first_error(struct write_call *w, const struct write_result *result) {
    if (result->error_count == 0) return ST_OK;
    const struct write_error *we = &result->errors[0];
    write_errors_append(&w->reply, result);
    return RAISE_CODE(&w->err, we->code, "%s", we->text);
}

static bool finish(struct write_call *w, status st, bson_t *reply, bson_error_t *error) {
    struct bdoc doc = w->buf.len != 0 && reply != NULL ? bbuild_finish(&w->reply) : (struct bdoc){0};
    api_leave(&w->op, st, &w->err);
    bool ok = api_answer(st, &w->err, doc, reply, error);
    buf_release(&w->buf);
    op_release(&w->op);
    return ok;
}

/* The document with its `_id`, so that the reply can tell it: a new ObjectId in front when there is none. */
static status with_id(struct write_call *w, struct bdoc *doc, struct bval *id, struct err *err) {
    TRY(bson_check(doc->p, doc->len, BSON_CHECK_UTF8, doc, err));
    *id = bdoc_get_str(*doc, "_id");
    if (id->type != B_MISSING) return ST_OK;
    struct buf copy;
    struct bbuild b;
    uint8_t oid[12];
    db_new_object_id(w->op.db, oid);
    buf_init(&copy, w->op.mem);
    bbuild_begin(&b, &copy);
    bbuild_object_id(&b, "_id", oid);
    bbuild_elems(&b, *doc);
    struct bdoc made = bbuild_finish(&b);
    const uint8_t *p = made.p != NULL ? arena_copy(&w->op.arena, made.p, made.len) : NULL;
    buf_release(&copy);
    if (p == NULL) return RAISE(err, ST_NOMEM, "no memory for the document with its _id");
    *doc = bdoc_of(p);
    *id = bdoc_get_str(*doc, "_id");
    return ST_OK;
}

static status insert_docs(struct write_call *w, const struct bdoc *docs, size_t n, const bson_t *opts,
                          struct write_result *result) {
    struct write_options o;
    TRY(insert_options(&w->op, opts, &o, &w->err));
    struct insert_request req = {.ns = w->c->ns,
                                 .doc_count = (uint32_t) n,
                                 .docs = docs,
                                 .ordered = o.ordered,
                                 .bypass_validation = o.bypass_validation};
    TRY(insert_run(&w->op, &req, result, &w->err));
    bbuild_int32(&w->reply, "insertedCount", (int32_t) result->inserted);
    return ST_OK;
}

/* The documents' bytes as they are; the write door checks them. */
static status lend_documents(struct write_call *w, const bson_t **docs, size_t n, struct bdoc *out) {
    for (size_t i = 0; i < n; i++) {
        if (docs[i] == NULL) return RAISE_CODE(&w->err, CODE_BadValue, "document %zu to insert is NULL", i);
        out[i] = api_unchecked(docs[i]);
    }
    return ST_OK;
}

bool elmo_collection_insert_one(elmo_collection_t *c, const bson_t *doc, const bson_t *opts, bson_t *reply,
                                bson_error_t *error) {
    struct write_call w;
    struct write_result result = {0};
    struct bdoc d = {0};
    struct bval id = BVAL_MISSING;
    if (c == NULL) return api_no_handle(reply, error);
    status st = begin(&w, c);
    if (st == ST_OK) st = lend_documents(&w, &doc, 1, &d);
    if (st == ST_OK && reply != NULL) st = with_id(&w, &d, &id, &w.err);
    if (st == ST_OK) st = insert_docs(&w, &d, 1, opts, &result);
    if (st == ST_OK && result.error_count == 0) bbuild_value(&w.reply, SLICE_LIT("insertedId"), id);
    if (st == ST_OK) st = first_error(&w, &result);
    return finish(&w, st, reply, error);
}

bool elmo_collection_insert_many(elmo_collection_t *c, const bson_t **docs, size_t n, const bson_t *opts, bson_t *reply,
                                 bson_error_t *error) {
    struct write_call w;
    struct write_result result = {0};
    struct bdoc few[STACK_DOCS], *all = few;
    if (c == NULL) return api_no_handle(reply, error);
    status st = begin(&w, c);
    if (st == ST_OK && (n == 0 || n > UINT32_MAX))
        st = RAISE_CODE(&w.err, CODE_InvalidLength, "cannot insert %zu documents: at least one is needed", n);
    if (st == ST_OK && n > STACK_DOCS) {
        all = arena_alloc(&w.op.arena, n * sizeof(*all));
        if (all == NULL) st = RAISE(&w.err, ST_NOMEM, "no memory for %zu documents", n);
    }
    if (st == ST_OK) {
        st = lend_documents(&w, docs, n, all);
    }
    if (st == ST_OK) {
        st = insert_docs(&w, all, n, opts, &result);
    }
    if (st == ST_OK) st = first_error(&w, &result);
    return finish(&w, st, reply, error);
}

/* As libmongoc has it, an array of stages: {"0": {$stage: ...}, "1": ...}. */
static bool is_pipeline(struct bdoc doc) {
    struct biter it = biter_of(doc);
    struct belem e, stage;
    char digits[16];
    uint32_t i = 0;
    for (; biter_next(&it, &e); i++) {
        snprintf(digits, sizeof(digits), "%u", (unsigned) i);
        if (e.value.type != B_DOCUMENT || !slice_equal(e.name, slice_str(digits))) return false;
        struct biter of = biter_of(bval_doc(e.value));
        if (!biter_next(&of, &stage) || stage.name.len == 0 || stage.name.p[0] != '$') return false;
    }
    return i != 0;
}

static status update_docs(struct write_call *w, const bson_t *filter, const bson_t *update, const bson_t *opts,
                          struct update_statement *s, struct write_result *result) {
    struct write_options o;
    struct bdoc u;
    TRY(api_document(filter, "filter", &s->filter, &w->err));
    TRY(api_document(update, "update", &u, &w->err));
    TRY(update_options(&w->op, opts, &o, &w->err));
    bool by_pipeline = s->expect == UPDATE_OPERATORS_ONLY && is_pipeline(u);
    s->update = (struct bval){u.p, u.len, by_pipeline ? B_ARRAY : B_DOCUMENT};
    s->upsert = o.upsert;
    s->hint = o.hint;
    s->array_filters = o.array_filters;
    struct update_request req = {.ns = w->c->ns, .statement_count = 1, .statements = s, .ordered = true, .let = o.let};
    TRY(update_run(&w->op, &req, result, &w->err));
    bbuild_int32(&w->reply, "modifiedCount", (int32_t) result->modified);
    bbuild_int32(&w->reply, "matchedCount", (int32_t) result->matched);
    bbuild_int32(&w->reply, "upsertedCount", (int32_t) result->upserted_count);
    if (result->upserted_count != 0) bbuild_value(&w->reply, SLICE_LIT("upsertedId"), result->upserted[0].id);
    return first_error(w, result);
}

static bool update(elmo_collection_t *c, const bson_t *filter, const bson_t *doc, const bson_t *opts,
                   struct update_statement s, bson_t *reply, bson_error_t *error) {
    struct write_call w;
    struct write_result result = {0};
    if (c == NULL) return api_no_handle(reply, error);
    status st = begin(&w, c);
    if (st == ST_OK) st = update_docs(&w, filter, doc, opts, &s, &result);
    return finish(&w, st, reply, error);
}

bool elmo_collection_update_one(elmo_collection_t *c, const bson_t *filter, const bson_t *doc, const bson_t *opts,
                                bson_t *reply, bson_error_t *error) {
    return update(c, filter, doc, opts, (struct update_statement){.expect = UPDATE_OPERATORS_ONLY}, reply, error);
}

bool elmo_collection_update_many(elmo_collection_t *c, const bson_t *filter, const bson_t *doc, const bson_t *opts,
                                 bson_t *reply, bson_error_t *error) {
    return update(c, filter, doc, opts, (struct update_statement){.multi = true, .expect = UPDATE_OPERATORS_ONLY},
                  reply, error);
}

bool elmo_collection_replace_one(elmo_collection_t *c, const bson_t *filter, const bson_t *doc, const bson_t *opts,
                                 bson_t *reply, bson_error_t *error) {
    return update(c, filter, doc, opts, (struct update_statement){.expect = UPDATE_REPLACE_ONLY}, reply, error);
}

static status delete_docs(struct write_call *w, const bson_t *filter, const bson_t *opts, bool multi,
                          struct write_result *result) {
    struct write_options o;
    struct delete_statement s = {.multi = multi};
    TRY(api_document(filter, "filter", &s.filter, &w->err));
    TRY(delete_options(&w->op, opts, &o, &w->err));
    s.hint = o.hint;
    struct delete_request req = {.ns = w->c->ns, .statement_count = 1, .statements = &s, .ordered = true, .let = o.let};
    TRY(delete_run(&w->op, &req, result, &w->err));
    bbuild_int32(&w->reply, "deletedCount", (int32_t) result->deleted);
    return first_error(w, result);
}

static bool delete_any(elmo_collection_t *c, const bson_t *filter, const bson_t *opts, bool multi, bson_t *reply,
                       bson_error_t *error) {
    struct write_call w;
    struct write_result result = {0};
    if (c == NULL) return api_no_handle(reply, error);
    status st = begin(&w, c);
    if (st == ST_OK) st = delete_docs(&w, filter, opts, multi, &result);
    return finish(&w, st, reply, error);
}

bool elmo_collection_delete_one(elmo_collection_t *c, const bson_t *filter, const bson_t *opts, bson_t *reply,
                                bson_error_t *error) {
    return delete_any(c, filter, opts, false, reply, error);
}

bool elmo_collection_delete_many(elmo_collection_t *c, const bson_t *filter, const bson_t *opts, bson_t *reply,
                                 bson_error_t *error) {
    return delete_any(c, filter, opts, true, reply, error);
}
