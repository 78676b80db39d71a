/* The listCollections command. */
#include "base/codes.h"
#include "command/auth.h"
#include "command/fields.h"
#include "command/requests.h"
#include "doc/db.h"
#include "eval/match.h"

#define LISTS (ACCESS_READERS | ACCESS_BY_DB_ADMIN)

struct list_collections {
    struct bdoc filter, cursor;
    bool name_only, authorized;
};

static const struct field fields[] = {
    {"listCollections", FIELD_IGNORED, 0, FIELD_REQUIRED},
    {"filter", FIELD_DOCUMENT, offsetof(struct list_collections, filter), 0},
    {"cursor", FIELD_DOCUMENT, offsetof(struct list_collections, cursor), 0},
    {"nameOnly", FIELD_BOOL, offsetof(struct list_collections, name_only), 0},
    {"authorizedCollections", FIELD_BOOL, offsetof(struct list_collections, authorized), 0},
};

struct visit_ctx {
    struct command_call *call;
    struct matcher matcher;
    bool name_only;
    bool sees_none; /* a user without a role that reads here asked for what it may see */
    struct buf row;
    struct client_cursor *cursor;
};

status list_cursor_parse(struct bdoc cursor, int64_t *batch_size, struct err *err) {
    static const struct field rows[] = {{"batchSize", FIELD_COUNT, offsetof(struct list_cursor, batch_size), 0}};
    struct list_cursor c = {.batch_size = -1};
    if (cursor.p != NULL) TRY(fields_parse("cursor", cursor, rows, 1, false, &c, err));
    *batch_size = c.batch_size;
    return ST_OK;
}

static void append_id_index(struct bbuild *b) {
    struct bbuild id = bbuild_open_doc(b, SLICE_LIT("idIndex"));
    bbuild_int32(&id, "v", 2);
    struct bbuild key = bbuild_open_doc(&id, SLICE_LIT("key"));
    bbuild_int32(&key, "_id", 1);
    bbuild_close(&key);
    bbuild_str(&id, "name", "_id_");
    bbuild_close(&id);
}

static void append_row(struct visit_ctx *v, struct collection *c) {
    struct bbuild b;
    buf_clear(&v->row);
    bbuild_begin(&b, &v->row);
    bbuild_slice(&b, "name", c->ns.coll);
    bbuild_str(&b, "type", "collection");
    if (!v->name_only) {
        bbuild_doc(&b, "options", c->options);
        struct bbuild info = bbuild_open_doc(&b, SLICE_LIT("info"));
        bbuild_bool(&info, "readOnly", db_is_read_only(v->call->op->db));
        bbuild_binary(&info, "uuid", 4, slice_of(c->uuid, sizeof(c->uuid)));
        bbuild_close(&info);
        if (bdoc_get_str(c->options, "clusteredIndex").type == B_MISSING) append_id_index(&b);
    }
    (void) bbuild_finish(&b);
}

static status visit(void *ctx, struct collection *c, struct err *err) {
    struct visit_ctx *v = ctx;
    bool matches = false;
    if (v->sees_none) return ST_OK;
    append_row(v, c);
    if (v->row.failed) return RAISE(err, ST_NOMEM, "no memory to list collections");
    TRY(match_doc(&v->matcher, bdoc_of(v->row.p), &matches, err));
    if (matches && !buf_append(&v->cursor->rows, v->row.p, v->row.len))
        return RAISE(err, ST_NOMEM, "no memory to list collections");
    return ST_OK;
}

static status run(struct command_call *call, struct err *err) {
    struct list_collections cmd = {.filter = bdoc_empty};
    struct visit_ctx v = {.call = call};
    struct kv_txn *txn = NULL;
    int64_t batch_size = 0;
    status st = ST_OK;
    TRY(fields_parse("listCollections", call->body, fields, sizeof(fields) / sizeof(fields[0]), true, &cmd, err));
    TRY(list_cursor_parse(cmd.cursor, &batch_size, err));
    /* Names of what one may see are for everybody. */
    if (cmd.name_only && cmd.authorized) v.sees_none = !auth_may(call, LISTS, call->db);
    else TRY(command_authorize(call, LISTS, call->db, err));
    struct ns ns = {call->db, SLICE_LIT("$cmd.listCollections")};
    v.name_only = cmd.name_only;
    buf_init(&v.row, call->op->mem);
    TRY(match_compile(call->op->mem, &call->op->arena, cmd.filter, &v.matcher, err));
    TRY_OUT(client_cursor_new(call->env->cursors, ns, NULL, &v.cursor, err));
    v.cursor->access = cmd.name_only && cmd.authorized ? 0 : LISTS;
    TRY_OUT(command_begin_read(call->op, &txn, err));
    TRY_OUT(catalog_list(call->op, txn, call->db, visit, &v, err));
    struct client_cursor *cursor = v.cursor;
    v.cursor = NULL;
    TRY_OUT(cursor_reply(call->env->cursors, call->op, cursor, "firstBatch", batch_size, false, call->reply, err));
out:
    command_end_read(call->op, txn);
    client_cursor_free(call->env->cursors, v.cursor);
    buf_release(&v.row);
    matcher_release(&v.matcher);
    return st;
}

const struct command command_list_collections = {.name = "listCollections",
                                                 .flags = COMMAND_API_V1,
                                                 .run = run,
                                                 .access = ACCESS_ASKS,
                                                 .help = "Lists the collections of the database."};
