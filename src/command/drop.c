/* The drop command. */
#include "command/ddl.h"
#include "command/fields.h"
#include "command/requests.h"

struct drop {
    struct slice collection;
};

static const struct field fields[] = {
    {"drop", FIELD_STRING, offsetof(struct drop, collection), FIELD_REQUIRED},
};

struct drop_ctx {
    struct ns ns;
    int32_t index_count;
    bool existed;
};

static status drop_in(struct op *op, struct kv_txn *txn, void *ctx, struct err *err) {
    struct drop_ctx *d = ctx;
    struct collection *c = NULL;
    status st = catalog_find(op, txn, d->ns, &c, err);
    d->existed = st == ST_OK;
    if (st == ST_NOT_FOUND) return ST_OK;
    TRY(st);
    d->index_count = (int32_t) c->index_count + 1;
    collection_unref(c);
    return catalog_drop(op, txn, d->ns, err);
}

static status run(struct command_call *call, struct err *err) {
    struct drop cmd = {0};
    struct drop_ctx ctx = {0};
    TRY(fields_parse("drop", call->body, fields, sizeof(fields) / sizeof(fields[0]), true, &cmd, err));
    TRY(command_ns(call, cmd.collection, true, &ctx.ns, err));
    TRY(ddl_run(call->op, drop_in, &ctx, err));
    /* MongoDB 7.0 answers plain success for a collection that is not there. */
    if (!ctx.existed) return ST_OK;
    char text[NS_TEXT_LEN];
    ns_text(ctx.ns, text);
    bbuild_int32(call->reply, "nIndexesWas", ctx.index_count);
    bbuild_str(call->reply, "ns", text);
    return ST_OK;
}

const struct command command_drop = {"drop", COMMAND_WRITES, run};
