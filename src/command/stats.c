/* The dbStats and collStats commands. Sizes are bytes divided by `scale`. */
#include "base/codes.h"
#include "command/fields.h"
#include "command/requests.h"
#include "doc/scan.h"
#include "doc/write.h"

struct stats {
    struct slice collection;
    int64_t scale;
};

static const struct field db_fields[] = {
    {"dbStats", FIELD_IGNORED, 0, FIELD_REQUIRED},
    {"scale", FIELD_INT64, offsetof(struct stats, scale), 0},
    {"freeStorage", FIELD_IGNORED, 0, 0},
};
static const struct field coll_fields[] = {
    {"collStats", FIELD_NAMESPACE, offsetof(struct stats, collection), FIELD_REQUIRED},
    {"scale", FIELD_INT64, offsetof(struct stats, scale), 0},
};

static status check_scale(int64_t scale, struct err *err) {
    return scale >= 1
        ? ST_OK
        : RAISE_CODE(err, 51024, "BSON field 'scale' value must be >= 1, actual value '%lld'", (long long) scale);
}

struct totals {
    struct op *op;
    struct kv_txn *txn;
    int64_t collections, indexes, objects, data_len, index_len;
};

/* Bytes of keys and entries, before compression; from the tree's counts. */
static status index_bytes(struct totals *t, struct collection *c, uint32_t i, int64_t *out, struct err *err) {
    uint64_t bytes = 0;
    TRY(index_size(t->txn, c, &c->indexes[i], &bytes, err));
    *out = (int64_t) bytes;
    return ST_OK;
}

static status add_collection(void *ctx, struct collection *c, struct err *err) {
    struct totals *t = ctx;
    struct collection_stat stat = {0};
    TRY(collection_stat(t->op, t->txn, c, &stat, err));
    t->collections++;
    t->indexes += c->index_count + 1;
    t->objects += stat.documents;
    t->data_len += stat.bytes;
    for (uint32_t i = 0; i < c->index_count; i++) {
        int64_t bytes = 0;
        TRY(index_bytes(t, c, i, &bytes, err));
        t->index_len += bytes;
    }
    return ST_OK;
}

static status run_db(struct command_call *call, struct err *err) {
    struct stats cmd = {.scale = 1};
    TRY(fields_parse("dbStats", call->body, db_fields, sizeof(db_fields) / sizeof(db_fields[0]), true, &cmd, err));
    TRY(check_scale(cmd.scale, err));
    struct totals t = {.op = call->op};
    TRY(command_begin_read(call->op, &t.txn, err));
    status st = catalog_list(call->op, t.txn, call->db, add_collection, &t, err);
    command_end_read(call->op, t.txn);
    TRY(st);
    struct storage_stat storage = {0};
    if (call->env->storage_stat != NULL) call->env->storage_stat(call->env->storage_ctx, &storage);
    bbuild_slice(call->reply, "db", call->db);
    bbuild_int64(call->reply, "collections", t.collections);
    bbuild_int64(call->reply, "views", 0);
    bbuild_int64(call->reply, "objects", t.objects);
    bbuild_double(call->reply, "avgObjSize", t.objects != 0 ? (double) t.data_len / (double) t.objects : 0);
    bbuild_int64(call->reply, "dataSize", t.data_len / cmd.scale);
    bbuild_int64(call->reply, "storageSize", (int64_t) storage.used_len / cmd.scale);
    bbuild_int64(call->reply, "freeStorageSize", (int64_t) storage.free_len / cmd.scale);
    bbuild_int64(call->reply, "indexes", t.indexes);
    bbuild_int64(call->reply, "indexSize", t.index_len / cmd.scale);
    bbuild_int64(call->reply, "totalSize", (int64_t) storage.file_len / cmd.scale);
    bbuild_int64(call->reply, "scaleFactor", cmd.scale);
    return ST_OK;
}

static status append_collection(struct command_call *call, struct totals *t, struct collection *c, int64_t scale,
                                struct err *err) {
    struct collection_stat stat = {0};
    TRY(collection_stat(t->op, t->txn, c, &stat, err));
    bbuild_int64(call->reply, "count", stat.documents);
    bbuild_int64(call->reply, "size", stat.bytes / scale);
    if (stat.documents != 0) bbuild_int64(call->reply, "avgObjSize", stat.bytes / stat.documents);
    uint64_t stored = 0;
    TRY(record_size(t->txn, c, &stored, err));
    bbuild_int64(call->reply, "storageSize", (int64_t) stored / scale);
    bbuild_bool(call->reply, "capped", false);
    bbuild_int32(call->reply, "nindexes", (int32_t) c->index_count + 1);
    struct bbuild sizes = bbuild_open_doc(call->reply, SLICE_LIT("indexSizes"));
    bbuild_int64(&sizes, "_id_", 0); /* documents are stored under their _id: there is no second tree */
    for (uint32_t i = 0; i < c->index_count; i++) {
        int64_t bytes = 0;
        TRY(index_bytes(t, c, i, &bytes, err));
        t->index_len += bytes;
        bbuild_int64(&sizes, (const char *) c->indexes[i].spec.name.p, bytes / scale);
    }
    bbuild_close(&sizes);
    bbuild_int64(call->reply, "totalIndexSize", t->index_len / scale);
    bbuild_int64(call->reply, "totalSize", ((int64_t) stored + t->index_len) / scale);
    return ST_OK;
}

static status run_coll(struct command_call *call, struct err *err) {
    struct stats cmd = {.scale = 1};
    struct ns ns;
    struct collection *c = NULL;
    char text[NS_TEXT_LEN];
    TRY(fields_parse("collStats", call->body, coll_fields, sizeof(coll_fields) / sizeof(coll_fields[0]), true, &cmd,
                     err));
    TRY(check_scale(cmd.scale, err));
    TRY(command_ns(call, cmd.collection, false, &ns, err));
    struct totals t = {.op = call->op};
    TRY(command_begin_read(call->op, &t.txn, err));
    ns_text(ns, text);
    bbuild_str(call->reply, "ns", text);
    status st = catalog_find(call->op, t.txn, ns, &c, err);
    if (st == ST_OK) {
        st = append_collection(call, &t, c, cmd.scale, err);
        collection_unref(c);
    } else if (st == ST_NOT_FOUND) { /* MongoDB answers zeros */
        bbuild_int32(call->reply, "count", 0);
        bbuild_int32(call->reply, "size", 0);
        bbuild_int32(call->reply, "storageSize", 0);
        bbuild_int32(call->reply, "nindexes", 0);
        bbuild_int32(call->reply, "totalIndexSize", 0);
        bbuild_int32(call->reply, "totalSize", 0);
        st = ST_OK;
    }
    command_end_read(call->op, t.txn);
    if (st == ST_OK) bbuild_int64(call->reply, "scaleFactor", cmd.scale);
    return st;
}

const struct command command_db_stats = {.name = "dbStats",
                                         .run = run_db,
                                         .access = ACCESS_READERS | ACCESS_BY_DB_ADMIN,
                                         .help = "Sizes of the database."};
const struct command command_coll_stats = {.name = "collStats",
                                           .run = run_coll,
                                           .access = ACCESS_READERS | ACCESS_BY_DB_ADMIN,
                                           .help = "Sizes of a collection."};
