/* $merge: each row inserted into, or merged with, the document of another collection that has the same `on` fields. A statement of its own for each
 * row: an update with upsert, or an insert. */
#include "query/pipeline_internal.h"
#include "query/write.h"

enum when_matched { MATCHED_MERGE, MATCHED_REPLACE, MATCHED_KEEP, MATCHED_FAIL, MATCHED_PIPELINE };
enum when_missing { MISSING_INSERT, MISSING_DISCARD, MISSING_FAIL };

#define ON_MAX 32

struct merge_stage {
    struct pipe_stage base;
    struct ns target;
    struct path on[ON_MAX];
    uint32_t on_count;
    enum when_matched matched;
    enum when_missing missing;
    struct bdoc pipeline, let;
    struct buf filter, update;
};

enum { CODE_NO_UNIQUE_INDEX = 51183, CODE_MISSING_ON = 51132, CODE_ON_ARRAY = 51185, CODE_NO_MATCH = 13113 };

/* --- one row --------------------------------------------------------------------------------------------------- */

static status build_filter(struct merge_stage *s, struct bdoc doc, struct bdoc *out, struct err *err) {
    struct bbuild b;
    buf_clear(&s->filter);
    bbuild_begin(&b, &s->filter);
    for (uint32_t i = 0; i < s->on_count; i++) {
        struct bval v = path_get(doc, &s->on[i]);
        bool is_id = slice_equal(s->on[i].text, SLICE_LIT("_id"));
        if (v.type == B_ARRAY)
            return RAISE_CODE(err, CODE_ON_ARRAY, "$merge write error: 'on' field '%.*s' is an array", SLICE_ARGS(s->on[i].text));
        if (bval_is_nullish(v) && !(is_id && v.type == B_NULL))
            return RAISE_CODE(err, CODE_MISSING_ON, "$merge write error: 'on' field cannot be missing, null, undefined or an array");
        struct bbuild eq = bbuild_open_doc(&b, s->on[i].text);
        bbuild_value(&eq, SLICE_LIT("$eq"), v);
        bbuild_close(&eq);
    }
    *out = bbuild_finish(&b);
    return out->p != NULL ? ST_OK : RAISE(err, ST_NOMEM, "$merge");
}

/* {$set: doc} or {$setOnInsert: doc}, field by field. */
static status build_update(struct merge_stage *s, const char *op, struct bdoc doc, struct bval *out, struct err *err) {
    struct bbuild b;
    buf_clear(&s->update);
    bbuild_begin(&b, &s->update);
    bbuild_doc(&b, op, doc);
    struct bdoc d = bbuild_finish(&b);
    if (d.p == NULL) return RAISE(err, ST_NOMEM, "$merge");
    *out = (struct bval){d.p, d.len, B_DOCUMENT};
    return ST_OK;
}

static status insert(struct merge_stage *s, struct op *op, struct bdoc doc, struct write_result *r, struct err *err) {
    struct insert_request req = {.ns = s->target,
                                 .doc_count = 1,
                                 .docs = &doc,
                                 .ordered = true,
                                 .bypass_validation = s->base.list->p->req.bypass_validation};
    return insert_run(op, &req, r, err);
}

static status update(struct merge_stage *s, struct op *op, struct bdoc doc, struct write_result *r, struct err *err) {
    struct update_statement st = {.upsert = s->missing == MISSING_INSERT, .hint = BVAL_MISSING};
    struct update_request req = {.ns = s->target, .statement_count = 1, .statements = &st, .ordered = true};
    TRY(build_filter(s, doc, &st.filter, err));
    if (s->matched == MATCHED_REPLACE) st.update = (struct bval){doc.p, doc.len, B_DOCUMENT};
    else TRY(build_update(s, s->matched == MATCHED_KEEP ? "$setOnInsert" : "$set", doc, &st.update, err));
    return update_run(op, &req, r, err);
}

static status write_row(struct merge_stage *s, struct op *op, struct bdoc doc, struct err *err) {
    struct write_result r = {0};
    status st;
    if (s->matched == MATCHED_FAIL) {
        struct bdoc filter;
        TRY(build_filter(s, doc, &filter, err));
        st = insert(s, op, doc, &r, err);
    } else {
        st = update(s, op, doc, &r, err);
    }
    if (st != ST_OK) return st;
    if (r.error_count != 0) return RAISE_CODE(err, r.errors[0].code, "%s", r.errors[0].text);
    if (s->missing == MISSING_FAIL && r.matched == 0)
        return RAISE_CODE(err, CODE_NO_MATCH, "$merge could not find a matching document in the target collection for at least one document in the source collection");
    return ST_OK;
}

/* --- the stage ------------------------------------------------------------------------------------------------- */

/* Is there a unique index on exactly these fields? */
static bool is_unique_on(const struct merge_stage *s, const struct index *ix) {
    const struct index_spec *spec = &ix->spec;
    if (ix->state != INDEX_READY || !spec->is_unique || bdoc_count(spec->key) != s->on_count) return false;
    if (bdoc_get_str(spec->document, "partialFilterExpression").type != B_MISSING) return false;
    for (uint32_t i = 0; i < s->on_count; i++) {
        if (bdoc_get(spec->key, s->on[i].text).type == B_MISSING) return false;
    }
    return true;
}

static status check_unique(struct merge_stage *s, struct err *err) {
    struct pipeline *p = s->base.list->p;
    struct collection *c;
    bool found = s->on_count == 1 && slice_equal(s->on[0].text, SLICE_LIT("_id"));
    if (found) return ST_OK;
    status st = catalog_find(&p->op, p->txn, s->target, &c, err);
    if (st == ST_OK) {
        for (uint32_t i = 0; i < c->index_count && !found; i++) found = is_unique_on(s, &c->indexes[i]);
        collection_unref(c);
    }
    if (status_failed(st)) return st;
    return found ? ST_OK : RAISE_CODE(err, CODE_NO_UNIQUE_INDEX, "Cannot find index to verify that join fields will be unique");
}

static status merge_next(struct pipe_stage *stage, struct pipe_row *row, struct err *err) {
    struct merge_stage *s = (struct merge_stage *) stage;
    struct pipeline *p = stage->list->p;
    struct op op;
    TRY(check_unique(s, err));
    op_init(&op, p->op.db);
    op.mem = p->op.mem;
    arena_init(&op.arena, op.mem);
    op.deadline_ns = p->op.deadline_ns;
    op.cancelled = p->op.cancelled;
    status st;
    while ((st = pipe_next(stage, row, err)) == ST_OK) {
        st = write_row(s, &op, row->doc, err);
        if (st != ST_OK) break;
        arena_reset(&op.arena);
    }
    op_release(&op);
    return st;
}

static void merge_close(struct pipe_stage *stage) {
    struct merge_stage *s = (struct merge_stage *) stage;
    buf_release(&s->filter);
    buf_release(&s->update);
}

static const struct stage_vtable ops = {.next = merge_next, .close = merge_close};

/* --- parsing --------------------------------------------------------------------------------------------------- */

static status parse_into(struct pipe_parse *ps, struct bval v, struct ns *out) {
    *out = (struct ns){ps->list->ns.db, SLICE_NONE};
    if (v.type == B_STRING) {
        out->coll = bval_string(v);
    } else if (v.type == B_DOCUMENT) {
        struct bval db = bdoc_get_str(bval_doc(v), "db"), coll = bdoc_get_str(bval_doc(v), "coll");
        if (db.type == B_STRING) out->db = bval_string(db);
        if (coll.type != B_STRING) return RAISE_CODE(ps->err, 51178, "If 'into' field is not a string, it must be an object with a 'coll' field");
        out->coll = bval_string(coll);
    } else {
        return RAISE_CODE(ps->err, 51178, "$merge 'into' field  must be either a string or an object, but found %s", btype_name(v.type));
    }
    return ns_check(*out, true, ps->err);
}

static status parse_on(struct pipe_parse *ps, struct bval v, struct merge_stage *s) {
    struct belem e;
    if (v.type == B_STRING) {
        s->on_count = 1;
        return path_parse(pipe_arena(ps), bval_string(v), &s->on[0], ps->err);
    }
    if (v.type != B_ARRAY) return RAISE_CODE(ps->err, 51186, "$merge 'on' field  must be either a string or an array of strings, but found %s", btype_name(v.type));
    struct biter it = biter_of(bval_doc(v));
    while (biter_next(&it, &e)) {
        if (e.value.type != B_STRING) return RAISE_CODE(ps->err, 51134, "$merge 'on' array elements must be strings, but found %s", btype_name(e.value.type));
        if (s->on_count == ON_MAX) return RAISE_CODE(ps->err, CODE_BadValue, "$merge has too many 'on' fields");
        TRY(path_parse(pipe_arena(ps), bval_string(e.value), &s->on[s->on_count], ps->err));
        for (uint32_t i = 0; i < s->on_count; i++) {
            if (slice_equal(s->on[i].text, bval_string(e.value)))
                return RAISE_CODE(ps->err, 31465, "Found a duplicate field '%.*s'", SLICE_ARGS(bval_string(e.value)));
        }
        s->on_count++;
    }
    return s->on_count != 0 ? ST_OK : RAISE_CODE(ps->err, 51187, "If explicitly specifying $merge 'on', must include at least one field");
}

static status parse_choice(struct pipe_parse *ps, struct belem e, const char *const *names, int *out) {
    if (e.value.type != B_STRING)
        return RAISE_CODE(ps->err, CODE_TypeMismatch, "BSON field '$merge.%.*s' is the wrong type '%s', expected type 'string'", SLICE_ARGS(e.name), btype_name(e.value.type));
    for (int i = 0; names[i] != NULL; i++) {
        if (!slice_equal(bval_string(e.value), slice_str(names[i]))) continue;
        *out = i;
        return ST_OK;
    }
    return RAISE_CODE(ps->err, CODE_BadValue, "Enumeration value '%.*s' for field '%.*s' is not a valid value.", SLICE_ARGS(bval_string(e.value)), SLICE_ARGS(e.name));
}

static status parse_field(struct pipe_parse *ps, struct belem e, struct merge_stage *s, struct bval *into, struct bval *on) {
    static const char *const matched[] = {"merge", "replace", "keepExisting", "fail", NULL};
    static const char *const missing[] = {"insert", "discard", "fail", NULL};
    int choice = 0;
    if (slice_equal(e.name, SLICE_LIT("into"))) {
        *into = e.value;
    } else if (slice_equal(e.name, SLICE_LIT("on"))) {
        *on = e.value;
    } else if (slice_equal(e.name, SLICE_LIT("whenMatched"))) {
        if (e.value.type == B_ARRAY) return RAISE_CODE(ps->err, CODE_CommandNotSupported, "$merge with a pipeline as 'whenMatched' is not supported");
        if (e.value.type != B_STRING) return RAISE_CODE(ps->err, 51191, "$merge 'whenMatched' field  must be either a string or an array, but found %s", btype_name(e.value.type));
        TRY(parse_choice(ps, e, matched, &choice));
        s->matched = (enum when_matched) choice;
    } else if (slice_equal(e.name, SLICE_LIT("whenNotMatched"))) {
        TRY(parse_choice(ps, e, missing, &choice));
        s->missing = (enum when_missing) choice;
    } else if (slice_equal(e.name, SLICE_LIT("let"))) {
        return RAISE_CODE(ps->err, 51199, "Cannot use 'let' variables with 'whenMatched' mode that is no pipeline");
    } else {
        return RAISE_CODE(ps->err, 40415, "BSON field '$merge.%.*s' is an unknown field.", SLICE_ARGS(e.name));
    }
    return ST_OK;
}

extern const struct stage_def stage_merge;

static status parse(struct pipe_parse *ps, struct bval spec) {
    struct merge_stage *s;
    struct bval into = spec, on = BVAL_MISSING;
    struct belem e;
    if (spec.type != B_STRING && spec.type != B_DOCUMENT)
        return RAISE_CODE(ps->err, 51182, "$merge requires a string or object argument, but found %s", btype_name(spec.type));
    TRY(pipe_append(ps, &stage_merge, &ops, sizeof(*s), &s));
    buf_init(&s->filter, ps->list->p->op.mem);
    buf_init(&s->update, ps->list->p->op.mem);
    if (spec.type == B_DOCUMENT) {
        into = BVAL_MISSING;
        struct biter it = biter_of(bval_doc(spec));
        while (biter_next(&it, &e)) TRY(parse_field(ps, e, s, &into, &on));
        if (into.type == B_MISSING) return RAISE_CODE(ps->err, 40414, "BSON field '$merge.into' is missing but a required field");
    }
    TRY(parse_into(ps, into, &s->target));
    if (on.type != B_MISSING) TRY(parse_on(ps, on, s));
    if (s->matched == MATCHED_FAIL && s->missing != MISSING_INSERT)
        return RAISE_CODE(ps->err, 51189, "Combination of $merge modes is not supported");
    if (s->matched == MATCHED_KEEP && s->missing != MISSING_INSERT)
        return RAISE_CODE(ps->err, 51189, "Combination of $merge modes is not supported");
    if (ps->list->p->op.session_txn != NULL)
        return RAISE_CODE(ps->err, CODE_OperationNotSupportedInTransaction, "$merge cannot be used in a transaction");
    if (s->on_count != 0) return ST_OK;
    s->on_count = 1;
    return path_parse(pipe_arena(ps), SLICE_LIT("_id"), &s->on[0], ps->err);
}

const struct stage_def stage_merge = {"$merge", STAGE_LAST | STAGE_NOT_IN_FACET | STAGE_NOT_NESTED, parse};
