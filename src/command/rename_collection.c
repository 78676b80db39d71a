/* The renameCollection command. */
#include "base/codes.h"
#include "command/auth.h"
#include "command/fields.h"
#include "command/requests.h"

struct rename_collection {
    struct slice from, to;
    bool drop_target;
};

static const struct field fields[] = {
    {"renameCollection", FIELD_STRING, offsetof(struct rename_collection, from), FIELD_REQUIRED},
    {"to", FIELD_STRING, offsetof(struct rename_collection, to), FIELD_REQUIRED},
    {"dropTarget", FIELD_BOOL, offsetof(struct rename_collection, drop_target), 0},
    {"stayTemp", FIELD_IGNORED, 0, 0},
};

/* "db.collection" in its two parts. */
static status split(struct slice text, const char *which, struct ns *out, struct err *err) {
    const uint8_t *dot = text.len != 0 ? memchr(text.p, '.', text.len) : NULL;
    int len = (int) (text.len < 300 ? text.len : 300);
    if (dot == NULL || memchr(text.p, 0, text.len) != NULL)
        return RAISE_CODE(err, CODE_InvalidNamespace, "Invalid %s namespace: %.*s", which, len,
                          text.len != 0 ? (const char *) text.p : "");
    out->db = slice_of(text.p, (size_t) (dot - text.p));
    out->coll = slice_of(dot + 1, text.len - out->db.len - 1);
    return ns_check(*out, true, err);
}

static status run(struct command_call *call, struct err *err) {
    struct rename_collection cmd = {0};
    struct ns from, to;
    TRY(fields_parse("renameCollection", call->body, fields, sizeof(fields) / sizeof(fields[0]), true, &cmd, err));
    TRY(split(cmd.from, "source", &from, err));
    TRY(split(cmd.to, "target", &to, err));
    TRY(command_authorize_ns(call, ACCESS_BY_WRITE, from, err));
    TRY(command_authorize_ns(call, ACCESS_BY_WRITE, to, err));
    return catalog_rename(call->op, from, to, cmd.drop_target, err);
}

const struct command command_rename_collection = {.name = "renameCollection",
                                                  .flags = COMMAND_WRITES | COMMAND_ADMIN_ONLY,
                                                  .run = run,
                                                  .access = ACCESS_ASKS,
                                                  .help = "Gives a collection another name."};
