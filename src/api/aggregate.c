/* elmo_collection_aggregate: a pipeline behind a cursor. */
#include "api/handles.h"
#include "api/options.h"
#include "base/codes.h"
#include "doc/db.h"

/* As libmongoc: the array itself, or {pipeline: [...]}. */
static struct bdoc stages_of(struct bdoc given) {
    struct bval inner = bdoc_get_str(given, "pipeline");
    return inner.type == B_ARRAY ? bval_doc(inner) : given;
}

static status open_pipeline(struct elmo_cursor *cur, struct elmo_collection *c, const bson_t *pipeline,
                            const bson_t *opts) {
    struct pipeline_request req = {.ns = c->ns, .hint = BVAL_MISSING};
    struct bdoc given;
    TRY(api_begin(c->db, &cur->op, &cur->err));
    TRY(ns_check(c->ns, false, &cur->err));
    TRY(api_document(pipeline, "pipeline", &given, &cur->err));
    TRY(aggregate_options(&cur->op, opts, &req, &cur->err));
    req.pipeline = stages_of(given);
    if (pipeline_writes(req.pipeline) && db_is_read_only(c->db->document_db))
        return RAISE(&cur->err, ST_READ_ONLY, "cannot write: the database was opened read-only");
    TRY(pipeline_open(&cur->op, &req, &cur->pipeline, &cur->err));
    api_cursor_opened(cur);
    return ST_OK;
}

elmo_cursor_t *elmo_collection_aggregate(elmo_collection_t *c, const bson_t *pipeline, const bson_t *opts) {
    struct elmo_cursor *cur = c != NULL ? api_cursor_new(c->db) : NULL;
    if (cur == NULL) return api_cursor_none();
    status st = open_pipeline(cur, c, pipeline, opts);
    api_leave(&cur->op, st, &cur->err);
    if (st != ST_OK) api_cursor_fail(cur);
    return cur;
}
