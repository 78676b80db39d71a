/* Collection handles: making and destroying them, dropping, counting, and indexes. */
#include "api/handles.h"
#include "api/options.h"
#include "base/codes.h"
#include "command/requests.h"
#include "doc/write.h"

elmo_collection_t *elmo_get_collection(elmo_t *db, const char *db_name, const char *collection) {
    if (db_name == NULL) db_name = "";
    if (collection == NULL) collection = "";
    size_t db_len = strlen(db_name), coll_len = strlen(collection);
    struct elmo_collection *c = mem_new(db->mem, struct elmo_collection);
    if (c == NULL) return NULL;
    c->names_len = db_len + coll_len + 2;
    c->names = mem_alloc(db->mem, c->names_len);
    if (c->names == NULL) {
        mem_delete(db->mem, c);
        return NULL;
    }
    memcpy(c->names, db_name, db_len + 1);
    memcpy(c->names + db_len + 1, collection, coll_len + 1);
    c->ns = (struct ns){slice_of(c->names, db_len), slice_of(c->names + db_len + 1, coll_len)};
    c->db = elmo_ref(db);
    return c;
}

void elmo_collection_destroy(elmo_collection_t *c) {
    if (c == NULL) return;
    struct elmo *db = c->db;
    mem_free(db->mem, c->names, c->names_len);
    mem_delete(db->mem, c);
    elmo_unref(db);
}

const char *elmo_collection_get_name(elmo_collection_t *c) { return c != NULL ? (const char *) c->ns.coll.p : ""; }

/* Runs a command whose body `fill` appends to, in the collection's database. */
static bool run_command(elmo_collection_t *c, const char *name, const bson_t *opts,
                        void (*fill)(struct bbuild *b, const void *ctx), const void *ctx, bson_t *reply,
                        bson_error_t *error) {
    struct err err = ERR_INIT;
    struct op op;
    struct buf body, buf;
    if (c == NULL) return api_no_handle(reply, error);
    struct bbuild b;
    struct bdoc options, reply_doc = {0};
    buf_init(&body, c->db->mem);
    buf_init(&buf, c->db->mem);
    status st = api_begin(c->db, &op, &err);
    struct session *session = NULL;
    if (st == ST_OK) st = api_document(opts, "opts", &options, &err);
    if (st == ST_OK) st = api_session_of(&op, &options, &session, &err);
    if (st == ST_OK) {
        bbuild_begin(&b, &body);
        bbuild_slice(&b, name, c->ns.coll);
        if (fill != NULL) fill(&b, ctx);
        bbuild_elems(&b, options);
        struct bdoc doc = bbuild_finish(&b);
        st = doc.p == NULL ? RAISE(&err, ST_NOMEM, "no memory for a command")
                           : api_command(c->db, &op, session, c->ns.db, doc, &buf, &reply_doc, &err);
    }
    session_unref(session);
    bool ok = api_answer(st, &err, reply_doc, reply, error);
    buf_release(&body);
    buf_release(&buf);
    op_release(&op);
    return ok;
}

bool elmo_collection_drop(elmo_collection_t *c, bson_error_t *error) {
    return run_command(c, "drop", NULL, NULL, NULL, NULL, error);
}

static status count_filter(elmo_collection_t *c, struct op *op, const bson_t *filter, const bson_t *opts, int64_t *n,
                           struct err *err) {
    struct find_request req = {.ns = c->ns};
    TRY(ns_check(c->ns, false, err));
    TRY(api_document(filter, "filter", &req.filter, err));
    TRY(count_options(op, opts, &req, err));
    return count_run(op, &req, n, err);
}

static int64_t answer_count(elmo_collection_t *c, const bson_t *filter, const bson_t *opts, bson_t *reply,
                            bson_error_t *error) {
    struct err err = ERR_INIT;
    struct op op;
    struct buf buf;
    struct bbuild b;
    struct bdoc reply_doc = {0};
    int64_t n = -1;
    if (c == NULL) return api_no_handle(reply, error) ? 0 : -1;
    buf_init(&buf, c->db->mem);
    status st = api_begin(c->db, &op, &err);
    if (st == ST_OK) st = count_filter(c, &op, filter, opts, &n, &err);
    if (st == ST_OK && reply != NULL) {
        bbuild_begin(&b, &buf);
        bbuild_int64(&b, "n", n);
        bbuild_double(&b, "ok", 1);
        reply_doc = bbuild_finish(&b);
    }
    api_leave(&op, st, &err);
    bool ok = api_answer(st, &err, reply_doc, reply, error);
    buf_release(&buf);
    op_release(&op);
    return ok ? n : -1;
}

int64_t elmo_collection_count_documents(elmo_collection_t *c, const bson_t *filter, const bson_t *opts, bson_t *reply,
                                        bson_error_t *error) {
    return answer_count(c, filter, opts, reply, error);
}

int64_t elmo_collection_estimated_document_count(elmo_collection_t *c, const bson_t *opts, bson_t *reply,
                                                 bson_error_t *error) {
    return answer_count(c, NULL, opts, reply, error);
}

struct specs {
    const bson_t **docs;
    size_t n;
    const struct mem *mem;
};

/* A specification; the command wants a name in it, which the caller need not give. */
static void push_spec(struct bbuild *array, struct bdoc spec, const struct mem *mem) {
    struct bbuild b = bbuild_push_doc(array);
    struct bval key = bdoc_get_str(spec, "key");
    bbuild_elems(&b, spec);
    if (key.type == B_DOCUMENT && bdoc_get_str(spec, "name").type == B_MISSING) {
        struct buf name;
        buf_init(&name, mem);
        index_make_name(&name, bval_doc(key));
        bbuild_slice(&b, "name", buf_slice(&name));
        b.buf->failed = b.buf->failed || name.failed;
        buf_release(&name);
    }
    bbuild_close(&b);
}

static void fill_indexes(struct bbuild *b, const void *ctx) {
    const struct specs *s = ctx;
    struct bbuild array = bbuild_open_array(b, SLICE_LIT("indexes"));
    for (size_t i = 0; i < s->n; i++) push_spec(&array, api_unchecked(s->docs[i]), s->mem);
    bbuild_close(&array);
}

bool elmo_collection_create_indexes_with_opts(elmo_collection_t *c, const bson_t **specs, size_t n, const bson_t *opts,
                                              bson_t *reply, bson_error_t *error) {
    struct specs s = {specs, n, c != NULL ? c->db->mem : NULL};
    struct err err = ERR_INIT;
    for (size_t i = 0; i < n; i++) {
        struct bdoc checked;
        status st = api_document(specs[i], "index specification", &checked, &err);
        if (st != ST_OK) return api_answer(st, &err, (struct bdoc){0}, reply, error);
    }
    return run_command(c, "createIndexes", opts, fill_indexes, &s, reply, error);
}

static void fill_index_name(struct bbuild *b, const void *ctx) { bbuild_str(b, "index", ctx); }

bool elmo_collection_drop_index(elmo_collection_t *c, const char *index_name, bson_error_t *error) {
    return run_command(c, "dropIndexes", NULL, fill_index_name, index_name, NULL, error);
}
