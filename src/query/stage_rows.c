/* Stages that make rows of their own: $documents, $collStats, $indexStats, $currentOp, and the queue that feeds the pipelines of $facet.
 * The rows are made at the first call, end to end in one buffer. */
#include "doc/db.h"
#include "doc/scan.h"
#include "doc/write.h"
#include "query/stage_rows.h"

struct rows_stage {
    struct pipe_stage base;
    status (*make)(struct rows_stage *s, struct err *err);
    struct bdoc options;
    const struct expr *documents;
    struct buf rows;
    const struct buf *queue; /* of a queue: somebody else's rows */
    size_t at;
    bool is_made;
};

static status rows_next(struct pipe_stage *stage, struct pipe_row *out, struct err *err) {
    struct rows_stage *s = (struct rows_stage *) stage;
    if (!s->is_made && s->make != NULL) TRY(s->make(s, err));
    s->is_made = true;
    const struct buf *rows = s->queue != NULL ? s->queue : &s->rows;
    TRY(pipe_tick(stage->list->p, err));
    if (s->at >= rows->len) return ST_END;
    *out = (struct pipe_row){.doc = bdoc_of(rows->p + s->at)};
    s->at += out->doc.len;
    return ST_OK;
}

static status rows_restart(struct pipe_stage *stage, struct err *err) {
    struct rows_stage *s = (struct rows_stage *) stage;
    (void) err;
    if (s->make != NULL) buf_clear(&s->rows);
    s->is_made = false;
    s->at = 0;
    return ST_OK;
}

static void rows_close(struct pipe_stage *stage) { buf_release(&((struct rows_stage *) stage)->rows); }

static const struct stage_vtable ops = {.next = rows_next, .restart = rows_restart, .close = rows_close};

status queue_new(struct pipe_list *list, const struct buf *rows, struct pipe_stage **out, struct err *err) {
    static const struct stage_def queue_def = {.name = "$queue"};
    struct pipe_parse ps = {list, err};
    struct rows_stage *s;
    TRY(pipe_stage_new(&ps, &queue_def, &ops, sizeof(*s), &s));
    buf_init(&s->rows, list->p->op.mem);
    s->queue = rows;
    *out = &s->base;
    return ST_OK;
}

static status make(struct pipe_parse *ps, const struct stage_def *def, status (*rows)(struct rows_stage *s, struct err *err),
                   struct rows_stage **out) {
    TRY(pipe_append(ps, def, &ops, sizeof(**out), out));
    buf_init(&(*out)->rows, ps->list->p->op.mem);
    (*out)->make = rows;
    return ST_OK;
}

static status finish(struct bbuild *b, struct err *err) {
    return bbuild_finish(b).p != NULL ? ST_OK : RAISE(err, ST_NOMEM, "pipeline");
}

extern const struct stage_def stage_documents, stage_coll_stats, stage_index_stats, stage_current_op;

/* --- $documents ------------------------------------------------------------------------------------------------ */

static status make_documents(struct rows_stage *s, struct err *err) {
    struct pipe_row none = {.doc = bdoc_empty};
    struct bval v;
    TRY(expr_eval(pipe_run(&s->base, &none, err), s->documents, &v));
    if (v.type != B_ARRAY)
        return RAISE_CODE(err, 5858203, "error during evaluating $documents :: caused by :: an array is expected");
    struct biter it = biter_of(bval_doc(v));
    struct belem e;
    while (biter_next(&it, &e)) {
        if (e.value.type != B_DOCUMENT)
            return RAISE_CODE(err, 40228, "$documents: every element must be an object, found %s", btype_name(e.value.type));
        if (!buf_append(&s->rows, e.value.p, e.value.len)) return RAISE(err, ST_NOMEM, "$documents");
    }
    return ST_OK;
}

static status parse_documents(struct pipe_parse *ps, struct bval spec) {
    struct rows_stage *s;
    TRY(make(ps, &stage_documents, make_documents, &s));
    return expr_parse(&ps->list->p->env.scope, spec, &s->documents, ps->err);
}

/* --- $collStats ------------------------------------------------------------------------------------------------ */

static status append_storage(struct rows_stage *s, struct collection *c, int64_t scale, struct bbuild *out, struct err *err) {
    struct pipeline *p = s->base.list->p;
    struct collection_stat stat = {0};
    uint64_t stored = 0, bytes = 0;
    int64_t index_len = 0;
    TRY(collection_stat(&p->op, p->txn, c, &stat, err));
    TRY(record_size(p->txn, c, &stored, err));
    bbuild_int64(out, "size", stat.bytes / scale);
    bbuild_int64(out, "count", stat.documents);
    if (stat.documents != 0) bbuild_int64(out, "avgObjSize", stat.bytes / stat.documents);
    bbuild_int64(out, "storageSize", (int64_t) stored / scale);
    bbuild_bool(out, "capped", false);
    bbuild_int32(out, "nindexes", (int32_t) c->index_count + 1);
    struct bbuild sizes = bbuild_open_doc(out, SLICE_LIT("indexSizes"));
    bbuild_int64(&sizes, "_id_", 0);
    for (uint32_t i = 0; i < c->index_count; i++) {
        TRY(index_size(p->txn, c, &c->indexes[i], &bytes, err));
        index_len += (int64_t) bytes;
        bbuild_int64(&sizes, (const char *) c->indexes[i].spec.name.p, (int64_t) bytes / scale);
    }
    bbuild_close(&sizes);
    bbuild_int64(out, "totalIndexSize", index_len / scale);
    bbuild_int64(out, "totalSize", ((int64_t) stored + index_len) / scale);
    bbuild_int64(out, "scaleFactor", scale);
    return ST_OK;
}

static status append_stats(struct rows_stage *s, struct collection *c, struct bbuild *b, struct err *err) {
    struct pipeline *p = s->base.list->p;
    struct bval storage = bdoc_get_str(s->options, "storageStats");
    struct collection_stat stat = {0};
    int64_t scale = 1;
    if (storage.type == B_DOCUMENT) {
        struct bval v = bdoc_get_str(bval_doc(storage), "scale");
        if (v.type != B_MISSING && (!bval_is_number(v) || !bnum_to_int64_exact(bnum_of(v), &scale) || scale < 1))
            return RAISE_CODE(err, 51024, "BSON field '$collStats.storageStats.scale' value must be >= 1");
        struct bbuild sub = bbuild_open_doc(b, SLICE_LIT("storageStats"));
        TRY(append_storage(s, c, scale, &sub, err));
        bbuild_close(&sub);
    }
    if (bdoc_get_str(s->options, "count").type == B_MISSING) return ST_OK;
    TRY(collection_stat(&p->op, p->txn, c, &stat, err));
    bbuild_int64(b, "count", stat.documents);
    return ST_OK;
}

static status find_collection(struct rows_stage *s, const char *stage, struct collection **out, struct err *err) {
    struct pipeline *p = s->base.list->p;
    char text[NS_TEXT_LEN];
    status st = catalog_find(&p->op, p->txn, s->base.list->ns, out, err);
    ns_text(s->base.list->ns, text);
    if (st != ST_NOT_FOUND) return st;
    return RAISE_CODE(err, CODE_NamespaceNotFound, "%s: Collection [%s] not found.", stage, text);
}

static status make_coll_stats(struct rows_stage *s, struct err *err) {
    struct pipeline *p = s->base.list->p;
    struct env *env = db_env(p->op.db);
    struct collection *c;
    struct bbuild b;
    char text[NS_TEXT_LEN];
    TRY(find_collection(s, "$collStats", &c, err));
    ns_text(s->base.list->ns, text);
    bbuild_begin(&b, &s->rows);
    bbuild_str(&b, "ns", text);
    bbuild_date(&b, "localTime", (int64_t) env->ops->now_ms(env));
    status st = append_stats(s, c, &b, err);
    collection_unref(c);
    return st == ST_OK ? finish(&b, err) : st;
}

static status parse_coll_stats(struct pipe_parse *ps, struct bval spec) {
    struct rows_stage *s;
    if (spec.type != B_DOCUMENT)
        return RAISE_CODE(ps->err, 5447000, "$collStats must take a nested object but found: %s", btype_name(spec.type));
    struct biter it = biter_of(bval_doc(spec));
    struct belem e;
    while (biter_next(&it, &e)) {
        bool known = slice_equal(e.name, SLICE_LIT("latencyStats")) || slice_equal(e.name, SLICE_LIT("queryExecStats"));
        if (known) return RAISE(ps->err, ST_UNSUPPORTED, "$collStats: '%.*s' is not supported", SLICE_ARGS(e.name));
        if (!slice_equal(e.name, SLICE_LIT("count")) && !slice_equal(e.name, SLICE_LIT("storageStats")))
            return RAISE_CODE(ps->err, 40415, "BSON field '$collStats.%.*s' is an unknown field.", SLICE_ARGS(e.name));
        if (e.value.type != B_DOCUMENT)
            return RAISE_CODE(ps->err, CODE_TypeMismatch, "BSON field '$collStats.%.*s' is the wrong type '%s', expected type 'object'",
                              SLICE_ARGS(e.name), btype_name(e.value.type));
    }
    TRY(make(ps, &stage_coll_stats, make_coll_stats, &s));
    s->options = bval_doc(spec);
    return ST_OK;
}

/* --- $indexStats ----------------------------------------------------------------------------------------------- */

static void append_index(struct rows_stage *s, struct slice name, struct bdoc key, struct bdoc spec) {
    struct env *env = db_env(s->base.list->p->op.db);
    struct bbuild b;
    bbuild_begin(&b, &s->rows);
    bbuild_slice(&b, "name", name);
    bbuild_doc(&b, "key", key);
    struct bbuild accesses = bbuild_open_doc(&b, SLICE_LIT("accesses"));
    bbuild_int64(&accesses, "ops", 0); /* uses of an index are not counted: since now there were none */
    bbuild_date(&accesses, "since", (int64_t) env->ops->now_ms(env));
    bbuild_close(&accesses);
    bbuild_doc(&b, "spec", spec);
    (void) bbuild_finish(&b);
}

static void append_id_index(struct rows_stage *s) {
    static const uint8_t key[] = "\x0e\0\0\0\x10_id\0\1\0\0\0";
    struct buf buf;
    struct bbuild b;
    buf_init(&buf, s->base.list->p->op.mem);
    bbuild_begin(&b, &buf);
    bbuild_int32(&b, "v", 2);
    bbuild_doc(&b, "key", bdoc_of(key));
    bbuild_str(&b, "name", "_id_");
    struct bdoc spec = bbuild_finish(&b);
    if (spec.p == NULL) s->rows.failed = true;
    else append_index(s, SLICE_LIT("_id_"), bdoc_of(key), spec);
    buf_release(&buf);
}

static status make_index_stats(struct rows_stage *s, struct err *err) {
    struct collection *c;
    status st = catalog_find(&s->base.list->p->op, s->base.list->p->txn, s->base.list->ns, &c, err);
    if (st == ST_NOT_FOUND) return ST_OK;
    TRY(st);
    append_id_index(s);
    for (uint32_t i = 0; i < c->index_count; i++) {
        const struct index_spec *spec = &c->indexes[i].spec;
        if (c->indexes[i].state == INDEX_READY) append_index(s, spec->name, spec->key, spec->document);
    }
    collection_unref(c);
    return s->rows.failed ? RAISE(err, ST_NOMEM, "$indexStats") : ST_OK;
}

static status parse_index_stats(struct pipe_parse *ps, struct bval spec) {
    struct rows_stage *s;
    if (spec.type != B_DOCUMENT || !bdoc_is_empty(bval_doc(spec)))
        return RAISE_CODE(ps->err, 28803, "The $indexStats stage specification must be an empty object");
    return make(ps, &stage_index_stats, make_index_stats, &s);
}

/* --- $currentOp ------------------------------------------------------------------------------------------------ */

/* The rows are those of the moment at which the pipeline is opened, by whom it is opened. */
static status parse_current_op(struct pipe_parse *ps, struct bval spec) {
    struct rows_stage *s;
    const struct pipeline_hooks *hooks = ps->list->p->req.hooks;
    if (spec.type != B_DOCUMENT)
        return RAISE_CODE(ps->err, CODE_FailedToParse, "$currentOp options must be specified in an object, but found: %s", btype_name(spec.type));
    if (!slice_equal(ps->list->ns.db, SLICE_LIT("admin")))
        return RAISE_CODE(ps->err, CODE_InvalidNamespace, "$currentOp must be run against the 'admin' database with {aggregate: 1}");
    if (hooks == NULL) return RAISE(ps->err, ST_UNSUPPORTED, "the stage $currentOp is not supported here");
    TRY(make(ps, &stage_current_op, NULL, &s));
    return hooks->current_op(hooks->ctx, bval_doc(spec), &s->rows, ps->err);
}

const struct stage_def stage_documents = {"$documents", STAGE_FIRST | STAGE_WITHOUT_COLLECTION, parse_documents};
const struct stage_def stage_coll_stats = {"$collStats", STAGE_FIRST, parse_coll_stats};
const struct stage_def stage_index_stats = {"$indexStats", STAGE_FIRST, parse_index_stats};
const struct stage_def stage_current_op = {"$currentOp", STAGE_FIRST | STAGE_WITHOUT_COLLECTION | STAGE_NOT_NESTED, parse_current_op};
