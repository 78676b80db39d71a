/* $out and $merge: the last stage, which writes the rows somewhere else and gives none. Their writes are statements of their own, outside the
 * transaction that the pipeline reads in; inside a session's transaction they are refused.
 *
 * $out writes a collection under a name of its own and renames it at the end, so that readers see the old or the new one whole. */
#include <stdio.h>

#include "doc/db.h"
#include "query/pipeline_internal.h"
#include "query/write.h"

#define BATCH_DOCS 500
#define BATCH_LEN ((size_t) 4 * 1024 * 1024)

struct out_stage {
    struct pipe_stage base;
    struct ns target;
};

/* Documents that wait to be written. */
struct batch {
    struct op op; /* of the writes */
    struct bdoc *docs;
    uint32_t count;
    size_t len;
};

static void begin_writes(struct pipeline *p, struct op *op) {
    op_init(op, p->op.db);
    op->mem = p->op.mem;
    arena_init(&op->arena, op->mem);
    op->deadline_ns = p->op.deadline_ns;
    op->cancelled = p->op.cancelled;
}

static status first_error(const struct write_result *r, struct err *err) {
    if (r->error_count == 0) return ST_OK;
    const struct write_error *we = &r->errors[0];
    return RAISE_CODE(err, we->code, "%s", we->text);
}

static status flush(struct batch *b, struct ns ns, bool bypass, struct err *err) {
    struct write_result result = {0};
    struct insert_request req = {
        .ns = ns, .doc_count = b->count, .docs = b->docs, .ordered = true, .bypass_validation = bypass};
    if (b->count == 0) return ST_OK;
    TRY(insert_run(&b->op, &req, &result, err));
    TRY(first_error(&result, err));
    arena_reset(&b->op.arena);
    b->docs = NULL;
    b->count = 0;
    b->len = 0;
    return ST_OK;
}

static status add(struct batch *b, struct bdoc doc, struct err *err) {
    if (b->docs == NULL) b->docs = arena_array(&b->op.arena, struct bdoc, BATCH_DOCS);
    const uint8_t *p = b->docs != NULL ? arena_copy(&b->op.arena, doc.p, doc.len) : NULL;
    if (p == NULL) return RAISE(err, ST_NOMEM, "$out");
    b->docs[b->count++] = bdoc_of(p);
    b->len += doc.len;
    return ST_OK;
}

/* The target's indexes, built on the empty collection. */
static status copy_indexes(struct out_stage *s, struct op *op, struct ns to, struct err *err) {
    struct pipeline *p = s->base.list->p;
    struct collection *c;
    uint32_t count = 0, before, after;
    bool created;
    status st = catalog_find(op, p->txn, s->target, &c, err);
    if (st == ST_NOT_FOUND) return catalog_create_indexes(op, to, NULL, 0, NULL, NULL, &created, &before, &after, err);
    TRY(st);
    struct bdoc *specs = arena_array(&op->arena, struct bdoc, (size_t) c->index_count + 1);
    if (specs == NULL) st = RAISE(err, ST_NOMEM, "$out");
    for (uint32_t i = 0; st == ST_OK && i < c->index_count; i++) {
        if (c->indexes[i].state == INDEX_READY) specs[count++] = c->indexes[i].spec.document;
    }
    if (st == ST_OK) st = catalog_create_indexes(op, to, specs, count, NULL, NULL, &created, &before, &after, err);
    collection_unref(c);
    return st;
}

static status write_all(struct out_stage *s, struct batch *b, struct ns temp, struct err *err) {
    struct pipeline *p = s->base.list->p;
    struct pipe_row row;
    status st;
    while ((st = pipe_next(&s->base, &row, err)) == ST_OK) {
        TRY(add(b, row.doc, err));
        if (b->count == BATCH_DOCS || b->len >= BATCH_LEN) TRY(flush(b, temp, p->req.bypass_validation, err));
    }
    if (st != ST_END) return st;
    return flush(b, temp, p->req.bypass_validation, err);
}

static status out_next(struct pipe_stage *stage, struct pipe_row *row, struct err *err) {
    struct out_stage *s = (struct out_stage *) stage;
    struct pipeline *p = stage->list->p;
    struct env *env = db_env(p->op.db);
    struct batch b = {0};
    uint64_t number;
    char name[48];
    (void) row;
    env->ops->random(env, &number, sizeof(number));
    int n = snprintf(name, sizeof(name), "tmp.agg_out.%016llx", (unsigned long long) number);
    struct ns temp = {s->target.db, slice_of(name, (size_t) n)};
    begin_writes(p, &b.op);
    status st = copy_indexes(s, &b.op, temp, err);
    if (st == ST_OK) st = write_all(s, &b, temp, err);
    if (st == ST_OK) st = catalog_rename(&b.op, temp, s->target, true, err);
    if (st != ST_OK) (void) catalog_drop_now(&b.op, temp, NULL);
    op_release(&b.op);
    return st == ST_OK ? ST_END : st;
}

static const struct stage_vtable ops = {.next = out_next};

extern const struct stage_def stage_out;

static status parse(struct pipe_parse *ps, struct bval spec) {
    struct out_stage *s;
    struct pipeline *p = ps->list->p;
    struct ns target = {ps->list->ns.db, SLICE_NONE};
    if (spec.type == B_STRING) {
        target.coll = bval_string(spec);
    } else if (spec.type == B_DOCUMENT) {
        struct bval db = bdoc_get_str(bval_doc(spec), "db"), coll = bdoc_get_str(bval_doc(spec), "coll");
        if (bdoc_get_str(bval_doc(spec), "timeseries").type != B_MISSING)
            return RAISE(ps->err, ST_UNSUPPORTED, "$out to a time-series collection is not supported");
        if (db.type != B_STRING || coll.type != B_STRING)
            return RAISE_CODE(ps->err, 16994, "If an object is passed to $out it must have exactly 2 fields: 'db' and 'coll'");
        target = (struct ns){bval_string(db), bval_string(coll)};
    } else {
        return RAISE_CODE(ps->err, 16990, "$out only supports a string or object argument, but found %s", btype_name(spec.type));
    }
    TRY(ns_check(target, true, ps->err));
    if (p->op.session_txn != NULL)
        return RAISE_CODE(ps->err, CODE_OperationNotSupportedInTransaction, "$out cannot be used in a transaction");
    TRY(pipe_append(ps, &stage_out, &ops, sizeof(*s), &s));
    s->target = target;
    return ST_OK;
}

const struct stage_def stage_out = {"$out", STAGE_LAST | STAGE_NOT_IN_FACET | STAGE_NOT_NESTED, parse};
