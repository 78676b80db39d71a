/* The listIndexes command. */
#include "base/codes.h"
#include "command/fields.h"
#include "command/requests.h"

struct list_indexes {
    struct slice collection;
    struct bdoc cursor;
};

static const struct field fields[] = {
    {"listIndexes", FIELD_NAME, offsetof(struct list_indexes, collection), FIELD_REQUIRED},
    {"cursor", FIELD_DOCUMENT, offsetof(struct list_indexes, cursor), 0},
};

static void append_id_index(struct buf *rows, const struct collection *c) {
    struct bbuild b;
    struct bval clustered = bdoc_get_str(c->options, "clusteredIndex");
    bbuild_begin(&b, rows);
    if (clustered.type == B_DOCUMENT) {
        bbuild_elems(&b, bval_doc(clustered));
        bbuild_bool(&b, "clustered", true);
        (void) bbuild_finish(&b);
        return;
    }
    bbuild_int32(&b, "v", 2);
    struct bbuild key = bbuild_open_doc(&b, SLICE_LIT("key"));
    bbuild_int32(&key, "_id", 1);
    bbuild_close(&key);
    bbuild_str(&b, "name", "_id_");
    (void) bbuild_finish(&b);
}

static status append_indexes(struct op *op, struct ns ns, struct buf *rows, struct err *err) {
    struct kv_txn *txn = NULL;
    struct collection *c = NULL;
    char text[NS_TEXT_LEN];
    TRY(command_begin_read(op, &txn, err));
    status st = catalog_find(op, txn, ns, &c, err);
    command_end_read(op, txn);
    ns_text(ns, text);
    if (st == ST_NOT_FOUND) return RAISE_CODE(err, CODE_NamespaceNotFound, "ns does not exist: %s", text);
    TRY(st);
    append_id_index(rows, c);
    for (uint32_t i = 0; i < c->index_count; i++) {
        struct bdoc spec = c->indexes[i].spec.document;
        if (c->indexes[i].state == INDEX_READY) (void) buf_append(rows, spec.p, spec.len);
    }
    collection_unref(c);
    return rows->failed ? RAISE(err, ST_NOMEM, "no memory to list indexes") : ST_OK;
}

static status run(struct command_call *call, struct err *err) {
    struct list_indexes cmd = {0};
    struct ns ns;
    struct client_cursor *cursor = NULL;
    int64_t batch_size = 0;
    TRY(fields_parse("listIndexes", call->body, fields, sizeof(fields) / sizeof(fields[0]), true, &cmd, err));
    TRY(list_cursor_parse(cmd.cursor, &batch_size, err));
    TRY(command_ns(call, cmd.collection, false, &ns, err));
    TRY(client_cursor_new(call->env->cursors, ns, NULL, &cursor, err));
    cursor->access = call->command->access;
    status st = append_indexes(call->op, ns, &cursor->rows, err);
    if (st != ST_OK) {
        client_cursor_free(call->env->cursors, cursor);
        return st;
    }
    return cursor_reply(call->env->cursors, call->op, cursor, "firstBatch", batch_size, false, call->reply, err);
}

const struct command command_list_indexes = {.name = "listIndexes",
                                             .flags = COMMAND_API_V1,
                                             .run = run,
                                             .access = ACCESS_READERS | ACCESS_BY_DB_ADMIN,
                                             .help = "Lists the indexes of a collection."};
