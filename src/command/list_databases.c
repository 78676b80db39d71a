/* The listDatabases command: a database is there when it has a collection. */
#include "base/codes.h"
#include "command/auth.h"
#include "command/fields.h"
#include "command/requests.h"
#include "eval/match.h"
#include "doc/write.h"

struct list_databases {
    struct bdoc filter;
    bool name_only;
    struct bval authorized; /* false: all or a refusal */
};

static const struct field fields[] = {
    {"listDatabases", FIELD_IGNORED, 0, FIELD_REQUIRED},
    {"nameOnly", FIELD_BOOL, offsetof(struct list_databases, name_only), 0},
    {"filter", FIELD_DOCUMENT, offsetof(struct list_databases, filter), 0},
    {"authorizedDatabases", FIELD_VALUE, offsetof(struct list_databases, authorized), 0},
};

struct visit_ctx {
    struct op *op;
    struct kv_txn *txn;
    struct bbuild *array;
    struct matcher matcher;
    struct buf row;
    bool name_only;
    const struct command_call *filter_for; /* only what this caller may see; NULL: all */
    char name[64];                         /* of the database being added up; names have at most 63 bytes */
    int64_t bytes, total;
};

/* The database that `visit` has added up, if it matches. */
static status append_row(struct visit_ctx *v, struct err *err) {
    struct bbuild row;
    bool matches = false;
    if (v->name[0] == '\0') return ST_OK;
    if (v->filter_for != NULL && !auth_may(v->filter_for, ACCESS_ON_DATABASE, slice_str(v->name))) {
        v->bytes = 0;
        return ST_OK;
    }
    buf_clear(&v->row);
    bbuild_begin(&row, &v->row);
    bbuild_str(&row, "name", v->name);
    if (!v->name_only) {
        bbuild_int64(&row, "sizeOnDisk", v->bytes);
        bbuild_bool(&row, "empty", v->bytes == 0);
    }
    struct bdoc doc = bbuild_finish(&row);
    if (doc.p == NULL) return RAISE(err, ST_NOMEM, "no memory to list databases");
    TRY(match_doc(&v->matcher, doc, &matches, err));
    if (matches) {
        bbuild_push(v->array, (struct bval){doc.p, doc.len, B_DOCUMENT});
        v->total += v->bytes;
    }
    v->bytes = 0;
    return ST_OK;
}

static status visit(void *ctx, struct collection *c, struct err *err) {
    struct visit_ctx *v = ctx;
    struct collection_stat stat = {0};
    if (!slice_equal(slice_str(v->name), c->ns.db)) {
        TRY(append_row(v, err));
        size_t n = c->ns.db.len < sizeof(v->name) - 1 ? c->ns.db.len : sizeof(v->name) - 1;
        memcpy(v->name, c->ns.db.p, n);
        v->name[n] = '\0';
    }
    TRY(collection_stat(v->op, v->txn, c, &stat, err));
    v->bytes += stat.bytes;
    return ST_OK;
}

/* All databases are listed to whoever looks after the server or has a role on every database; others see those that they have a role on, unless they ask for all. */
static status find_filter(const struct command_call *call, struct bval authorized, const struct command_call **out,
                          struct err *err) {
    bool sees_all = auth_may(call, ACCESS_BY_MONITOR, SLICE_LIT("admin")) || auth_may(call, ACCESS_ON_DATABASE, SLICE_LIT("*"));
    bool is_given = !bval_is_nullish(authorized);
    if (is_given && authorized.type != B_BOOL && !bval_is_number(authorized))
        return RAISE_CODE(err, CODE_TypeMismatch,
                          "BSON field 'listDatabases.authorizedDatabases' is the wrong type '%s', expected types "
                          "'[bool, long, int, decimal, double]'",
                          btype_name(authorized.type));
    if (is_given && !bval_truthy(authorized) && !sees_all) return auth_refuse(call, call->db, err);
    *out = sees_all && !(is_given && bval_truthy(authorized)) ? NULL : call;
    return ST_OK;
}

static status run(struct command_call *call, struct err *err) {
    struct list_databases cmd = {.filter = bdoc_empty};
    struct visit_ctx v = {.op = call->op};
    TRY(fields_parse("listDatabases", call->body, fields, sizeof(fields) / sizeof(fields[0]), true, &cmd, err));
    TRY(find_filter(call, cmd.authorized, &v.filter_for, err));
    TRY(match_compile(call->op->mem, &call->op->arena, cmd.filter, &v.matcher, err));
    v.name_only = cmd.name_only;
    buf_init(&v.row, call->op->mem);
    status st = command_begin_read(call->op, &v.txn, err);
    if (st == ST_OK) {
        struct bbuild array = bbuild_open_array(call->reply, SLICE_LIT("databases"));
        v.array = &array;
        st = catalog_list(call->op, v.txn, SLICE_NONE, visit, &v, err);
        if (st == ST_OK) st = append_row(&v, err);
        bbuild_close(&array);
    }
    command_end_read(call->op, v.txn);
    buf_release(&v.row);
    matcher_release(&v.matcher);
    if (cmd.name_only) return st;
    bbuild_int64(call->reply, "totalSize", v.total);
    bbuild_int64(call->reply, "totalSizeMb", v.total >> 20);
    return st;
}

const struct command command_list_databases = {.name = "listDatabases",
                                               .flags = COMMAND_ADMIN_ONLY | COMMAND_API_V1,
                                               .run = run,
                                               .access = ACCESS_LOGGED_IN,
                                               .help = "Lists the databases."};
