/* The listDatabases command: a database is there when it has a collection. */
#include "command/fields.h"
#include "command/requests.h"
#include "doc/write.h"

struct list_databases {
    bool name_only;
};

static const struct field fields[] = {
    {"listDatabases", FIELD_IGNORED, 0, FIELD_REQUIRED},
    {"nameOnly", FIELD_BOOL, offsetof(struct list_databases, name_only), 0},
    {"filter", FIELD_REFUSED, 0, 0},
    {"authorizedDatabases", FIELD_IGNORED, 0, 0},
};

struct visit_ctx {
    struct op *op;
    struct kv_txn *txn;
    struct bbuild *array;
    bool name_only;
    char name[64]; /* of the database being added up; names have at most 63 bytes */
    int64_t bytes, total;
};

static void append_row(struct visit_ctx *v) {
    if (v->name[0] == '\0') return;
    struct bbuild row = bbuild_push_doc(v->array);
    bbuild_str(&row, "name", v->name);
    if (!v->name_only) {
        bbuild_int64(&row, "sizeOnDisk", v->bytes);
        bbuild_bool(&row, "empty", v->bytes == 0);
    }
    bbuild_close(&row);
    v->total += v->bytes;
    v->bytes = 0;
}

static status visit(void *ctx, struct collection *c, struct err *err) {
    struct visit_ctx *v = ctx;
    struct collection_stat stat = {0};
    if (!slice_equal(slice_str(v->name), c->ns.db)) {
        append_row(v);
        size_t n = c->ns.db.len < sizeof(v->name) - 1 ? c->ns.db.len : sizeof(v->name) - 1;
        memcpy(v->name, c->ns.db.p, n);
        v->name[n] = '\0';
    }
    TRY(collection_stat(v->op, v->txn, c, &stat, err));
    v->bytes += stat.bytes;
    return ST_OK;
}

static status run(struct command_call *call, struct err *err) {
    struct list_databases cmd = {0};
    struct kv_txn *txn = NULL;
    TRY(fields_parse("listDatabases", call->body, fields, sizeof(fields) / sizeof(fields[0]), true, &cmd, err));
    TRY(command_begin_read(call->op, &txn, err));
    struct bbuild array = bbuild_open_array(call->reply, SLICE_LIT("databases"));
    struct visit_ctx v = {.op = call->op, .txn = txn, .array = &array, .name_only = cmd.name_only};
    status st = catalog_list(call->op, txn, SLICE_NONE, visit, &v, err);
    append_row(&v);
    bbuild_close(&array);
    command_end_read(call->op, txn);
    if (!cmd.name_only) bbuild_int64(call->reply, "totalSize", v.total);
    return st;
}

const struct command command_list_databases = {"listDatabases", 0, run};
