/* The update command. */
#include "base/codes.h"
#include "command/fields.h"
#include "command/requests.h"

struct update_body {
    struct slice collection;
    struct bdoc updates, let;
    bool ordered, bypass;
};

static const struct field body_fields[] = {
    {"update", FIELD_NAME, offsetof(struct update_body, collection), FIELD_REQUIRED},
    {"updates", FIELD_ARRAY, offsetof(struct update_body, updates), 0}, /* or a sequence */
    {"ordered", FIELD_STRICT_BOOL, offsetof(struct update_body, ordered), 0},
    {"bypassDocumentValidation", FIELD_BOOL, offsetof(struct update_body, bypass), 0},
    {"let", FIELD_DOCUMENT, offsetof(struct update_body, let), 0},
};

struct statement {
    struct bdoc q;
    struct bval u, hint, collation;
    struct bdoc array_filters, constants;
    bool multi, upsert;
};

static const struct field statement_fields[] = {
    {"q", FIELD_DOCUMENT, offsetof(struct statement, q), FIELD_REQUIRED},
    {"u", FIELD_VALUE, offsetof(struct statement, u), FIELD_REQUIRED},
    {"multi", FIELD_BOOL, offsetof(struct statement, multi), 0},
    {"upsert", FIELD_BOOL, offsetof(struct statement, upsert), 0},
    {"hint", FIELD_VALUE, offsetof(struct statement, hint), 0},
    {"collation", FIELD_VALUE, offsetof(struct statement, collation), 0},
    {"arrayFilters", FIELD_ARRAY, offsetof(struct statement, array_filters), 0},
    {"c", FIELD_DOCUMENT, offsetof(struct statement, constants), 0},
};

static status parse_statement(struct bdoc doc, struct update_statement *out, struct err *err) {
    struct statement s = {.q = bdoc_empty};
    TRY(fields_parse("update.updates", doc, statement_fields, sizeof(statement_fields) / sizeof(statement_fields[0]),
                     false, &s, err));
    TRY(collation_check(s.collation, err));
    if (s.u.type != B_DOCUMENT && s.u.type != B_ARRAY) {
        return RAISE_CODE(err, CODE_FailedToParse, "Update argument must be either an object or an array, not %s",
                          btype_name(s.u.type));
    }
    *out = (struct update_statement){.filter = s.q,
                                     .update = s.u,
                                     .multi = s.multi,
                                     .upsert = s.upsert,
                                     .hint = s.hint,
                                     .array_filters = s.array_filters,
                                     .constants = s.constants,
                                     .expect = UPDATE_ANY};
    return ST_OK;
}

status update_command_parse(const struct command_call *call, struct bdoc body, struct update_request *req,
                            struct err *err) {
    struct update_body cmd = {.ordered = true};
    const struct bdoc *docs;
    uint32_t count;
    TRY(fields_parse("update", body, body_fields, sizeof(body_fields) / sizeof(body_fields[0]), true, &cmd, err));
    *req = (struct update_request){.ordered = cmd.ordered, .let = cmd.let};
    TRY(command_ns(call, cmd.collection, true, &req->ns, err));
    TRY(command_documents(call, "update.updates", "updates", cmd.updates, &docs, &count, err));
    struct update_statement *statements = arena_array(&call->op->arena, struct update_statement, count);
    if (statements == NULL) return RAISE(err, ST_NOMEM, "no memory for %u updates", count);
    for (uint32_t i = 0; i < count; i++) TRY(parse_statement(docs[i], &statements[i], err));
    req->statements = statements;
    req->statement_count = count;
    return ST_OK;
}

static status run(struct command_call *call, struct err *err) {
    struct update_request req;
    struct write_result result = {0};
    TRY(update_command_parse(call, call->body, &req, err));
    command_count_ops(call->env, OPCOUNT_UPDATE, req.statement_count);
    TRY(update_run(call->op, &req, &result, err));
    bbuild_int32(call->reply, "n", (int32_t) (result.matched + result.upserted_count));
    if (result.upserted_count != 0) {
        struct bbuild array = bbuild_open_array(call->reply, SLICE_LIT("upserted"));
        for (uint32_t i = 0; i < result.upserted_count; i++) {
            struct bbuild u = bbuild_push_doc(&array);
            bbuild_int32(&u, "index", (int32_t) result.upserted[i].index);
            bbuild_value(&u, SLICE_LIT("_id"), result.upserted[i].id);
            bbuild_close(&u);
        }
        bbuild_close(&array);
    }
    bbuild_int32(call->reply, "nModified", (int32_t) result.modified);
    write_errors_append(call->reply, &result);
    return ST_OK;
}

const struct command command_update = {.name = "update",
                                       .flags = COMMAND_WRITES | COMMAND_IN_TXN | COMMAND_RETRYABLE | COMMAND_API_V1,
                                       .run = run,
                                       .access = ACCESS_BY_WRITE,
                                       .help = "Updates documents."};
