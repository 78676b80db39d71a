/* The dbStats command. Sizes are bytes divided by `scale`. */
#include "command/fields.h"
#include "command/requests.h"
#include "doc/scan.h"
#include "doc/write.h"

struct db_stats {
    int64_t scale;
};

static const struct field fields[] = {
    {"dbStats", FIELD_IGNORED, 0, FIELD_REQUIRED},
    {"scale", FIELD_INT64, offsetof(struct db_stats, scale), 0},
    {"freeStorage", FIELD_IGNORED, 0, 0},
};

struct totals {
    struct op *op;
    struct kv_txn *txn;
    int64_t collections, indexes, objects, data_len, stored_len, index_len;
};

static status add_collection(void *ctx, struct collection *c, struct err *err) {
    struct totals *t = ctx;
    struct collection_stat stat = {0};
    uint64_t stored = 0;
    TRY(collection_stat(t->op, t->txn, c, &stat, err));
    TRY(record_size(t->txn, c, &stored, err));
    t->collections++;
    t->indexes += c->index_count + 1;
    t->objects += stat.documents;
    t->data_len += stat.bytes;
    t->stored_len += (int64_t) stored;
    for (uint32_t i = 0; i < c->index_count; i++) {
        uint64_t bytes = 0;
        TRY(index_size(t->txn, c, &c->indexes[i], &bytes, err));
        t->index_len += (int64_t) bytes;
    }
    return ST_OK;
}

static status run(struct command_call *call, struct err *err) {
    struct db_stats cmd = {.scale = 1};
    TRY(fields_parse("dbStats", call->body, fields, sizeof(fields) / sizeof(fields[0]), true, &cmd, err));
    TRY(scale_check(cmd.scale, err));
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
    bbuild_double(call->reply, "dataSize", (double) (t.data_len / cmd.scale));
    bbuild_double(call->reply, "storageSize", (double) (t.stored_len / cmd.scale));
    bbuild_double(call->reply, "freeStorageSize", (double) ((int64_t) storage.free_len / cmd.scale));
    bbuild_int64(call->reply, "indexes", t.indexes);
    bbuild_double(call->reply, "indexSize", (double) (t.index_len / cmd.scale));
    bbuild_double(call->reply, "totalSize", (double) ((t.stored_len + t.index_len) / cmd.scale));
    bbuild_int64(call->reply, "scaleFactor", cmd.scale);
    bbuild_double(call->reply, "fileSize", (double) ((int64_t) storage.file_len / cmd.scale));
    return ST_OK;
}

const struct command command_db_stats = {.name = "dbStats",
                                         .run = run,
                                         .access = ACCESS_READERS | ACCESS_BY_DB_ADMIN,
                                         .help = "Sizes of the database."};
