/* The drop command. */
#include "command/fields.h"
#include "command/requests.h"

struct drop {
    struct slice collection;
};

static const struct field fields[] = {
    {"drop", FIELD_NAME, offsetof(struct drop, collection), FIELD_REQUIRED},
};

/* How many indexes the collection has, `_id_` included; 0: there is no such collection. */
static status count_indexes(struct op *op, struct ns ns, int32_t *out, struct err *err) {
    struct kv_txn *txn = NULL;
    struct collection *c = NULL;
    *out = 0;
    TRY(command_begin_read(op, &txn, err));
    status st = catalog_find(op, txn, ns, &c, err);
    command_end_read(op, txn);
    if (st == ST_NOT_FOUND) return ST_OK;
    TRY(st);
    *out = (int32_t) c->index_count + 1;
    collection_unref(c);
    return ST_OK;
}

static status run(struct command_call *call, struct err *err) {
    struct drop cmd = {0};
    struct ns ns;
    int32_t index_count;
    char text[NS_TEXT_LEN];
    TRY(fields_parse("drop", call->body, fields, sizeof(fields) / sizeof(fields[0]), true, &cmd, err));
    TRY(command_ns(call, cmd.collection, true, &ns, err));
    TRY(count_indexes(call->op, ns, &index_count, err));
    status st = catalog_drop_now(call->op, ns, err);
    if (st == ST_NOT_FOUND) return ST_OK; /* MongoDB 7.0 answers plain success for a collection that is not there */
    TRY(st);
    ns_text(ns, text);
    bbuild_int32(call->reply, "nIndexesWas", index_count);
    bbuild_str(call->reply, "ns", text);
    return ST_OK;
}

const struct command command_drop = {.name = "drop",
                                     .flags = COMMAND_WRITES | COMMAND_API_V1,
                                     .run = run,
                                     .access = ACCESS_KEEPERS,
                                     .help = "Drops a collection."};
