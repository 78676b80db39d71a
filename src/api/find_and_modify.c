/* findAndModify as a typed function. */
#include "api/handles.h"
#include "command/generic.h"
#include "command/requests.h"
#include "doc/db.h"

static status run(struct elmo_collection *c, struct op *op, const bson_t *query, const bson_t *opts, struct buf *reply,
                  struct bdoc *reply_doc, struct err *err) {
    struct find_and_modify_request req;
    struct find_and_modify_result result;
    struct slice no_collection;
    struct bdoc filter, doc;
    struct bbuild b;
    TRY(ns_check(c->ns, true, err));
    if (db_is_read_only(op->db)) return RAISE(err, ST_READ_ONLY, "cannot write: the database was opened read-only");
    TRY(api_document(query, "query", &filter, err));
    TRY(api_opts(op, opts, "opts", &doc, err));
    TRY(find_and_modify_parse(doc, false, &no_collection, &req, err));
    TRY(command_deadline(op, doc, err));
    req.ns = c->ns;
    req.statement.filter = filter;
    TRY(find_and_modify_run(op, &req, &result, err));
    bbuild_begin(&b, reply);
    find_and_modify_append(&b, &req, &result);
    *reply_doc = bbuild_finish(&b);
    return reply_doc->p != NULL ? ST_OK : RAISE(err, ST_NOMEM, "no memory for the reply");
}

bool elmo_collection_find_and_modify_with_opts(elmo_collection_t *c, const bson_t *query, const bson_t *opts,
                                               bson_t *reply, bson_error_t *error) {
    struct err err = ERR_INIT;
    struct op op;
    struct buf buf;
    struct bdoc reply_doc = {0};
    if (c == NULL) return api_no_handle(reply, error);
    buf_init(&buf, c->db->mem);
    status st = api_begin(c->db, &op, &err);
    if (st == ST_OK) st = run(c, &op, query, opts, &buf, &reply_doc, &err);
    api_leave(&op, st, &err);
    bool ok = api_answer(st, &err, reply_doc, reply, error);
    buf_release(&buf);
    op_release(&op);
    return ok;
}
