/* The distinct command. */
#include "base/codes.h"
#include "command/fields.h"
#include "command/requests.h"

struct distinct {
    struct slice collection, key;
    struct bdoc query;
    struct bval hint, collation;
};

static const struct field fields[] = {
    {"distinct", FIELD_NAMESPACE, offsetof(struct distinct, collection), FIELD_REQUIRED},
    {"key", FIELD_STRING, offsetof(struct distinct, key), FIELD_REQUIRED},
    {"query", FIELD_DOCUMENT, offsetof(struct distinct, query), 0},
    {"hint", FIELD_VALUE, offsetof(struct distinct, hint), 0},
    {"collation", FIELD_VALUE, offsetof(struct distinct, collation), 0},
};

status distinct_command_parse(const struct command_call *call, struct bdoc body, struct find_request *req,
                              struct slice *key, struct err *err) {
    struct distinct cmd = {0};
    TRY(fields_parse("distinct", body, fields, sizeof(fields) / sizeof(fields[0]), true, &cmd, err));
    TRY(collation_check(cmd.collation, err));
    if (memchr(cmd.key.p, 0, cmd.key.len) != NULL)
        return RAISE_CODE(err, 31032, "Key field cannot contain an embedded null byte");
    *req = (struct find_request){.filter = cmd.query, .hint = cmd.hint};
    *key = cmd.key;
    return command_ns(call, cmd.collection, false, &req->ns, err);
}

static status run(struct command_call *call, struct err *err) {
    struct find_request req;
    struct slice key;
    struct bdoc values;
    struct buf buf;
    TRY(distinct_command_parse(call, call->body, &req, &key, err));
    buf_init(&buf, call->op->mem);
    status st = distinct_run(call->op, &req, key, &buf, &values, err);
    if (st == ST_OK) bbuild_array(call->reply, "values", values);
    buf_release(&buf);
    return st;
}

const struct command command_distinct = {.name = "distinct",
                                         .flags = COMMAND_IN_TXN,
                                         .run = run,
                                         .access = ACCESS_READERS,
                                         .help = "The distinct values of a field."};
