/* The delete command. */
#include "base/codes.h"
#include "command/fields.h"
#include "command/requests.h"

struct delete_body {
    struct slice collection;
    struct bdoc deletes, let;
    bool ordered;
};

static const struct field body_fields[] = {
    {"delete", FIELD_NAME, offsetof(struct delete_body, collection), FIELD_REQUIRED},
    {"deletes", FIELD_ARRAY, offsetof(struct delete_body, deletes), 0}, /* or a sequence */
    {"ordered", FIELD_STRICT_BOOL, offsetof(struct delete_body, ordered), 0},
    {"let", FIELD_DOCUMENT, offsetof(struct delete_body, let), 0},
};

struct statement {
    struct bdoc q;
    struct bval limit;
    struct bval hint, collation;
};

static const struct field statement_fields[] = {
    {"q", FIELD_DOCUMENT, offsetof(struct statement, q), FIELD_REQUIRED},
    {"limit", FIELD_VALUE, offsetof(struct statement, limit), FIELD_REQUIRED},
    {"hint", FIELD_VALUE, offsetof(struct statement, hint), 0},
    {"collation", FIELD_VALUE, offsetof(struct statement, collation), 0},
};

static status parse_statement(struct bdoc doc, struct delete_statement *out, struct err *err) {
    struct statement s = {.q = bdoc_empty};
    TRY(fields_parse("delete.deletes", doc, statement_fields, sizeof(statement_fields) / sizeof(statement_fields[0]),
                     false, &s, err));
    TRY(collation_check(s.collation, err));
    /* As in MongoDB, what is no number counts as 0. */
    double limit = bval_is_number(s.limit) ? bnum_to_double(bnum_of(s.limit)) : 0;
    if (limit != 0 && limit != 1)
        return RAISE_CODE(err, CODE_FailedToParse, "The limit field in delete objects must be 0 or 1. Got %.17g",
                          limit);
    *out = (struct delete_statement){.filter = s.q, .multi = limit == 0, .hint = s.hint};
    return ST_OK;
}

status delete_command_parse(const struct command_call *call, struct bdoc body, struct delete_request *req,
                            struct err *err) {
    struct delete_body cmd = {.ordered = true};
    const struct bdoc *docs;
    uint32_t count;
    TRY(fields_parse("delete", body, body_fields, sizeof(body_fields) / sizeof(body_fields[0]), true, &cmd, err));
    *req = (struct delete_request){.ordered = cmd.ordered, .let = cmd.let};
    TRY(command_ns(call, cmd.collection, true, &req->ns, err));
    TRY(command_documents(call, "delete.deletes", "deletes", cmd.deletes, &docs, &count, err));
    struct delete_statement *statements = arena_array(&call->op->arena, struct delete_statement, count);
    if (statements == NULL) return RAISE(err, ST_NOMEM, "no memory for %u deletes", count);
    for (uint32_t i = 0; i < count; i++) TRY(parse_statement(docs[i], &statements[i], err));
    req->statements = statements;
    req->statement_count = count;
    return ST_OK;
}

static status run(struct command_call *call, struct err *err) {
    struct delete_request req;
    struct write_result result = {0};
    TRY(delete_command_parse(call, call->body, &req, err));
    command_count_ops(call->env, OPCOUNT_DELETE, req.statement_count);
    TRY(delete_run(call->op, &req, &result, err));
    bbuild_int32(call->reply, "n", (int32_t) result.deleted);
    write_errors_append(call->reply, &result);
    return ST_OK;
}

const struct command command_delete = {.name = "delete",
                                       .flags = COMMAND_WRITES | COMMAND_IN_TXN | COMMAND_RETRYABLE | COMMAND_API_V1,
                                       .run = run,
                                       .access = ACCESS_BY_WRITE,
                                       .help = "Deletes documents."};
