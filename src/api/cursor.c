/* Cursors: a find or a pipeline whose documents are lent one by one, or a list made beforehand. */
#include "api/handles.h"
#include "api/options.h"
#include "base/codes.h"
#include "bson/check.h"

/* Stands for the cursor that there was no memory for: it has no rows and its error is 146. Nothing ever writes to it. */
struct elmo_cursor *api_cursor_none(void) {
    static struct elmo_cursor cursor = {.is_done = true,
                                        .is_failed = true,
                                        .err = {.code = CODE_ExceededMemoryLimit, .text = "no memory for a cursor"}};
    return &cursor;
}

struct elmo_cursor *api_cursor_new(struct elmo *db) {
    struct elmo_cursor *cur = mem_new(db->mem, struct elmo_cursor);
    if (cur == NULL) return NULL;
    cur->db = elmo_ref(db);
    cur->doc = (bson_t *) (void *) (cur->room + (-(uintptr_t) cur->room & (_Alignof(bson_t) - 1)));
    buf_init(&cur->rows, db->mem);
    return cur;
}

void api_cursor_fail(struct elmo_cursor *cur) {
    cur->is_failed = true;
    cur->is_done = true;
}

/* Between two rows maxTimeMS stands still. */
static void resume_clock(struct elmo_cursor *cur) {
    if (cur->time_left_ns == 0) return;
    struct env *env = cur->db->env;
    cur->op.deadline_ns = env->ops->monotonic_ns(env) + cur->time_left_ns;
}

static void stop_clock(struct elmo_cursor *cur) {
    if (cur->op.deadline_ns == 0) return;
    struct env *env = cur->db->env;
    uint64_t now = env->ops->monotonic_ns(env);
    cur->time_left_ns = now < cur->op.deadline_ns ? cur->op.deadline_ns - now : 1;
}

/* The transaction that it reads in ends (doc/session.h, S3). */
static void txn_ended(struct txn_member *m) {
    struct elmo_cursor *cur = (struct elmo_cursor *) (void *) ((char *) m - offsetof(struct elmo_cursor, member));
    find_close(cur->find);
    pipeline_close(cur->pipeline);
    cur->find = NULL;
    cur->pipeline = NULL;
}

void api_cursor_opened(struct elmo_cursor *cur) {
    if (cur->op.session_txn != NULL) {
        cur->session = session_ref(cur->op.session);
        cur->member.ended = txn_ended;
        session_add_member(cur->session, &cur->member);
    }
    stop_clock(cur);
}

static status open_find(struct elmo_cursor *cur, struct elmo_collection *c, const bson_t *filter, const bson_t *opts) {
    struct find_request req = {.ns = c->ns};
    TRY(api_begin(c->db, &cur->op, &cur->err));
    TRY(ns_check(c->ns, false, &cur->err));
    TRY(api_document(filter, "filter", &req.filter, &cur->err));
    TRY(find_options(&cur->op, opts, &req, &cur->err));
    TRY(find_open(&cur->op, &req, &cur->find, &cur->err));
    api_cursor_opened(cur);
    return ST_OK;
}

elmo_cursor_t *elmo_collection_find_with_opts(elmo_collection_t *c, const bson_t *filter, const bson_t *opts) {
    struct elmo_cursor *cur = c != NULL ? api_cursor_new(c->db) : NULL;
    if (cur == NULL) return api_cursor_none();
    status st = open_find(cur, c, filter, opts);
    api_leave(&cur->op, st, &cur->err);
    if (st != ST_OK) api_cursor_fail(cur);
    return cur;
}

/* The rows of a listIndexes reply. */
static void take_rows(struct elmo_cursor *cur, const bson_t *reply) {
    struct bdoc doc = api_unchecked(reply);
    struct bval cursor = bdoc_get_str(doc, "cursor");
    if (cursor.type != B_DOCUMENT) return;
    struct bval batch = bdoc_get_str(bval_doc(cursor), "firstBatch");
    struct biter it = biter_of(bval_doc(batch));
    struct belem e;
    while (biter_next(&it, &e)) (void) buf_append(&cur->rows, e.value.p, e.value.len);
    if (!cur->rows.failed) return;
    (void) RAISE(&cur->err, ST_NOMEM, "no memory for the list of indexes");
    api_cursor_fail(cur);
}

elmo_cursor_t *elmo_collection_find_indexes_with_opts(elmo_collection_t *c, const bson_t *opts) {
    struct elmo_cursor *cur = c != NULL ? api_cursor_new(c->db) : NULL;
    bson_t command = BSON_INITIALIZER, reply;
    bson_error_t error;
    if (cur == NULL) return api_cursor_none();
    op_init(&cur->op, c->db->document_db);
    BSON_APPEND_UTF8(&command, "listIndexes", (const char *) c->ns.coll.p);
    if (elmo_command_with_opts(c->db, (const char *) c->ns.db.p, &command, opts, &reply, &error)) {
        take_rows(cur, &reply);
    } else {
        (void) RAISE_CODE(&cur->err, (int32_t) error.code, "%s", error.message);
        api_cursor_fail(cur);
    }
    bson_destroy(&command);
    bson_destroy(&reply);
    return cur;
}

/* With the session entered; the document is copied, for another statement may move what it lies in. */
static status next_in_txn(struct elmo_cursor *cur, struct bdoc *doc) {
    struct session *s = cur->session;
    TRY(session_enter(s, &cur->op, &cur->err));
    status st = ST_OK;
    if (cur->find == NULL && cur->pipeline == NULL) {
        st = RAISE_CODE(&cur->err, CODE_NoSuchTransaction, "the transaction in which the cursor was opened has ended");
    } else {
        cur->op.session_txn = s->txn;
        st = cur->find != NULL ? find_next(&cur->op, cur->find, doc, &cur->err)
                               : pipeline_next(&cur->op, cur->pipeline, doc, &cur->err);
        cur->op.session_txn = NULL;
        if (status_failed(st)) session_txn_fail(s);
    }
    buf_clear(&cur->rows);
    if (st == ST_OK && !buf_append(&cur->rows, doc->p, doc->len))
        st = RAISE(&cur->err, ST_NOMEM, "no memory for a document");
    if (st == ST_OK) *doc = bdoc_of(cur->rows.p);
    session_leave(s);
    return st;
}

static status next_row(struct elmo_cursor *cur, struct bdoc *doc) {
    if (atomic_load_explicit(&cur->db->is_closed, memory_order_acquire))
        return RAISE(&cur->err, ST_CLOSED, "the database was closed");
    if (cur->session != NULL) return next_in_txn(cur, doc);
    if (cur->find != NULL) return find_next(&cur->op, cur->find, doc, &cur->err);
    if (cur->pipeline != NULL) return pipeline_next(&cur->op, cur->pipeline, doc, &cur->err);
    if (cur->rows_at == cur->rows.len) return ST_END;
    *doc = bdoc_of(cur->rows.p + cur->rows_at);
    cur->rows_at += doc->len;
    return ST_OK;
}

bool elmo_cursor_next(elmo_cursor_t *cur, const bson_t **doc) {
    struct bdoc d;
    *doc = NULL;
    if (cur == NULL || cur->is_done) return false;
    resume_clock(cur);
    status st = next_row(cur, &d);
    stop_clock(cur);
    if (st == ST_OK && bson_init_static(cur->doc, d.p, d.len)) {
        *doc = cur->doc;
        return true;
    }
    if (st == ST_OK) (void) RAISE(&cur->err, ST_CORRUPT, "a stored document is not BSON");
    cur->is_done = true;
    if (st != ST_END) api_cursor_fail(cur);
    return false;
}

bool elmo_cursor_error(elmo_cursor_t *cur, bson_error_t *error) {
    if (cur == NULL || !cur->is_failed) return false;
    bson_set_error(error, ELMO_ERROR_SERVER, (uint32_t) cur->err.code, "%s", cur->err.text);
    return true;
}

void elmo_cursor_destroy(elmo_cursor_t *cur) {
    if (cur == NULL || cur->db == NULL) return;
    struct elmo *db = cur->db;
    if (cur->session != NULL) {
        /* The op has no deadline any more and is not cancelled: entering cannot fail. */
        cur->op.deadline_ns = 0;
        (void) session_enter(cur->session, &cur->op, NULL);
        session_part(&cur->member);
        find_close(cur->find);
        pipeline_close(cur->pipeline);
        session_leave(cur->session);
        session_unref(cur->session);
    } else {
        find_close(cur->find);
        pipeline_close(cur->pipeline);
    }
    op_release(&cur->op);
    buf_release(&cur->rows);
    mem_delete(db->mem, cur);
    elmo_unref(db);
}
