/* The collStats and dataSize commands: one collection's sizes, from the tree's counts and the collection's counters. */
#include "base/codes.h"
#include "command/auth.h"
#include "command/fields.h"
#include "command/requests.h"
#include "doc/db.h"
#include "doc/scan.h"
#include "doc/write.h"

struct coll_stats {
    struct slice collection;
    int64_t scale;
};

static const struct field fields[] = {
    {"collStats", FIELD_NAMESPACE, offsetof(struct coll_stats, collection), FIELD_REQUIRED},
    {"scale", FIELD_INT64, offsetof(struct coll_stats, scale), 0},
};

status scale_check(int64_t scale, struct err *err) {
    return scale >= 1
        ? ST_OK
        : RAISE_CODE(err, 51024, "BSON field 'scale' value must be >= 1, actual value '%lld'", (long long) scale);
}

struct sizes {
    struct collection_stat documents;
    uint64_t stored_len, index_len;
};

static status append_builds(struct bbuild *reply, const struct collection *c) {
    struct bbuild builds = bbuild_open_array(reply, SLICE_LIT("indexBuilds"));
    for (uint32_t i = 0; i < c->index_count; i++)
        if (c->indexes[i].state == INDEX_BUILDING) bbuild_push_slice(&builds, c->indexes[i].spec.name);
    bbuild_close(&builds);
    return ST_OK;
}

/* Documents are stored under their _id: that index has no entries of its own. */
static status append_index_sizes(struct bbuild *reply, struct kv_txn *txn, struct collection *c, int64_t scale,
                                 struct err *err) {
    struct bbuild b = bbuild_open_doc(reply, SLICE_LIT("indexSizes"));
    bbuild_whole(&b, "_id_", 0);
    for (uint32_t i = 0; i < c->index_count; i++) {
        uint64_t bytes = 0;
        TRY(index_size(txn, c, &c->indexes[i], &bytes, err));
        bbuild_whole(&b, (const char *) c->indexes[i].spec.name.p, (int64_t) bytes / scale);
    }
    bbuild_close(&b);
    return ST_OK;
}

static status measure(struct op *op, struct kv_txn *txn, struct collection *c, struct sizes *out, struct err *err) {
    TRY(collection_stat(op, txn, c, &out->documents, err));
    TRY(record_size(txn, c, &out->stored_len, err));
    for (uint32_t i = 0; i < c->index_count; i++) {
        uint64_t bytes = 0;
        TRY(index_size(txn, c, &c->indexes[i], &bytes, err));
        out->index_len += bytes;
    }
    return ST_OK;
}

static void append_sizes(struct bbuild *b, const struct sizes *s, int64_t scale, int32_t index_count) {
    bbuild_whole(b, "size", s->documents.bytes / scale);
    bbuild_whole(b, "count", s->documents.documents);
    if (s->documents.documents != 0) bbuild_whole(b, "avgObjSize", s->documents.bytes / s->documents.documents);
    bbuild_int32(b, "numOrphanDocs", 0);
    bbuild_whole(b, "storageSize", (int64_t) s->stored_len / scale);
    bbuild_whole(b, "freeStorageSize", 0);
    bbuild_bool(b, "capped", false);
    bbuild_int32(b, "nindexes", index_count);
    bbuild_doc(b, "indexDetails", bdoc_empty);
    bbuild_whole(b, "totalIndexSize", (int64_t) s->index_len / scale);
    bbuild_whole(b, "totalSize", (int64_t) (s->stored_len + s->index_len) / scale);
}

static status append_collection(struct command_call *call, struct kv_txn *txn, struct collection *c, int64_t scale,
                                struct err *err) {
    struct sizes sizes = {0};
    TRY(measure(call->op, txn, c, &sizes, err));
    append_sizes(call->reply, &sizes, scale, (int32_t) c->index_count + 1);
    TRY(append_builds(call->reply, c));
    return append_index_sizes(call->reply, txn, c, scale, err);
}

static status run(struct command_call *call, struct err *err) {
    struct coll_stats cmd = {.scale = 1};
    struct ns ns;
    struct kv_txn *txn = NULL;
    struct collection *c = NULL;
    char text[NS_TEXT_LEN];
    TRY(fields_parse("collStats", call->body, fields, sizeof(fields) / sizeof(fields[0]), true, &cmd, err));
    TRY(scale_check(cmd.scale, err));
    TRY(command_ns(call, cmd.collection, false, &ns, err));
    TRY(command_begin_read(call->op, &txn, err));
    ns_text(ns, text);
    bbuild_str(call->reply, "ns", text);
    status st = catalog_find(call->op, txn, ns, &c, err);
    if (st == ST_OK) {
        st = append_collection(call, txn, c, cmd.scale, err);
        collection_unref(c);
    } else if (st == ST_NOT_FOUND) { /* MongoDB answers zeros */
        append_sizes(call->reply, &(struct sizes){0}, 1, 0);
        bbuild_doc(call->reply, "indexSizes", bdoc_empty);
        st = ST_OK;
    }
    command_end_read(call->op, txn);
    if (st == ST_OK) bbuild_whole(call->reply, "scaleFactor", cmd.scale);
    return st;
}

/* --- dataSize --- */

struct data_size {
    struct slice ns;
    struct bdoc key_pattern, min, max;
    bool estimate;
};

static const struct field size_fields[] = {
    {"dataSize", FIELD_STRING, offsetof(struct data_size, ns), FIELD_REQUIRED},
    {"keyPattern", FIELD_DOCUMENT, offsetof(struct data_size, key_pattern), 0},
    {"min", FIELD_DOCUMENT, offsetof(struct data_size, min), 0},
    {"max", FIELD_DOCUMENT, offsetof(struct data_size, max), 0},
    {"estimate", FIELD_BOOL, offsetof(struct data_size, estimate), 0},
};

/* {field: {$gte: min, $lt: max}} for a range of one field, in `buf`. */
static status range_filter(const struct data_size *cmd, struct buf *buf, struct bdoc *out, struct err *err) {
    struct bdoc bound = cmd->min.p != NULL ? cmd->min : cmd->max;
    struct biter it = biter_of(bound);
    struct belem e;
    struct bbuild b;
    if (bdoc_count(bound) != 1 || (cmd->key_pattern.p != NULL && bdoc_count(cmd->key_pattern) != 1) ||
        !biter_next(&it, &e))
        return RAISE(err, ST_UNSUPPORTED, "dataSize is supported for ranges of one field");
    if (cmd->key_pattern.p != NULL && bdoc_get(cmd->key_pattern, e.name).type == B_MISSING)
        return RAISE_CODE(err, CODE_BadValue, "min or max does not match the key pattern");
    bbuild_begin(&b, buf);
    struct bbuild range = bbuild_open_doc(&b, e.name);
    if (cmd->min.p != NULL) bbuild_value(&range, SLICE_LIT("$gte"), bdoc_get(cmd->min, e.name));
    if (cmd->max.p != NULL) bbuild_value(&range, SLICE_LIT("$lt"), bdoc_get(cmd->max, e.name));
    bbuild_close(&range);
    *out = bbuild_finish(&b);
    return out->p != NULL ? ST_OK : RAISE(err, ST_NOMEM, "no memory for a range");
}

/* By reading the documents of the range. */
static status measure_range(struct op *op, struct ns ns, const struct data_size *cmd, struct collection_stat *out,
                            struct err *err) {
    struct find_request req = {.ns = ns};
    struct find *find = NULL;
    struct buf buf;
    struct bdoc doc;
    buf_init(&buf, op->mem);
    status st = range_filter(cmd, &buf, &req.filter, err);
    if (st == ST_OK) st = find_open(op, &req, &find, err);
    while (st == ST_OK && (st = find_next(op, find, &doc, err)) == ST_OK) {
        out->documents++;
        out->bytes += doc.len;
    }
    find_close(find);
    buf_release(&buf);
    return st == ST_END ? ST_OK : st;
}

static status measure_whole(struct op *op, struct ns ns, struct collection_stat *out, struct err *err) {
    struct kv_txn *txn = NULL;
    struct collection *c = NULL;
    TRY(command_begin_read(op, &txn, err));
    status st = catalog_find(op, txn, ns, &c, err);
    if (st == ST_OK) st = collection_stat(op, txn, c, out, err);
    collection_unref(c);
    command_end_read(op, txn);
    return st == ST_NOT_FOUND ? ST_OK : st;
}

static status run_size(struct command_call *call, struct err *err) {
    struct data_size cmd = {0};
    struct collection_stat stat = {0};
    struct env *env = db_env(call->env->db);
    uint64_t start_ns = env->ops->monotonic_ns(env);
    TRY(fields_parse("dataSize", call->body, size_fields, sizeof(size_fields) / sizeof(size_fields[0]), true, &cmd,
                     err));
    const uint8_t *dot = cmd.ns.len != 0 ? memchr(cmd.ns.p, '.', cmd.ns.len) : NULL;
    if (dot == NULL)
        return RAISE_CODE(err, CODE_InvalidNamespace, "Invalid namespace specified '%.*s'", (int) cmd.ns.len,
                          (const char *) cmd.ns.p);
    struct ns ns = {slice_of(cmd.ns.p, (size_t) (dot - cmd.ns.p)),
                    slice_of(dot + 1, cmd.ns.len - (size_t) (dot - cmd.ns.p) - 1)};
    TRY(ns_check(ns, false, err));
    TRY(command_authorize_ns(call, ACCESS_READERS, ns, err));
    if ((cmd.min.p == NULL) != (cmd.max.p == NULL))
        return RAISE_CODE(err, CODE_BadValue, "only one of min or max specified");
    if (cmd.min.p != NULL) TRY(measure_range(call->op, ns, &cmd, &stat, err));
    else TRY(measure_whole(call->op, ns, &stat, err));
    bbuild_bool(call->reply, "estimate", cmd.estimate);
    bbuild_whole(call->reply, "size", stat.bytes);
    bbuild_whole(call->reply, "numObjects", stat.documents);
    bbuild_whole(call->reply, "millis", (int64_t) ((env->ops->monotonic_ns(env) - start_ns) / 1000000));
    return ST_OK;
}

const struct command command_coll_stats = {.name = "collStats",
                                           .run = run,
                                           .access = ACCESS_READERS | ACCESS_BY_DB_ADMIN,
                                           .help = "Sizes of a collection."};
const struct command command_data_size = {.name = "dataSize",
                                          .run = run_size,
                                          .access = ACCESS_ASKS,
                                          .help = "The size of a collection, or of a range of it."};
