/* The findAndModify command. */
#include "query/find_and_modify.h"

#include "base/codes.h"
#include "command/fields.h"
#include "command/requests.h"

struct find_and_modify {
    struct slice collection;
    struct bdoc query, sort, fields, array_filters, let;
    struct bval update, hint, collation;
    bool remove, returns_new, upsert, bypass;
};

#define BODY_ROWS                                                                                                      \
    3 /* both spellings of the command's own name, and the query: what the typed function has as arguments */

static const struct field fields[] = {
    {"findAndModify", FIELD_NAMESPACE, offsetof(struct find_and_modify, collection), 0},
    {"findandmodify", FIELD_NAMESPACE, offsetof(struct find_and_modify, collection), 0},
    {"query", FIELD_DOCUMENT, offsetof(struct find_and_modify, query), 0},
    {"sort", FIELD_DOCUMENT, offsetof(struct find_and_modify, sort), 0},
    {"fields", FIELD_DOCUMENT, offsetof(struct find_and_modify, fields), 0},
    {"remove", FIELD_BOOL, offsetof(struct find_and_modify, remove), 0},
    {"update", FIELD_VALUE, offsetof(struct find_and_modify, update), 0},
    {"new", FIELD_BOOL, offsetof(struct find_and_modify, returns_new), 0},
    {"upsert", FIELD_BOOL, offsetof(struct find_and_modify, upsert), 0},
    {"arrayFilters", FIELD_ARRAY, offsetof(struct find_and_modify, array_filters), 0},
    {"hint", FIELD_VALUE, offsetof(struct find_and_modify, hint), 0},
    {"collation", FIELD_VALUE, offsetof(struct find_and_modify, collation), 0},
    {"bypassDocumentValidation", FIELD_BOOL, offsetof(struct find_and_modify, bypass), 0},
    {"let", FIELD_DOCUMENT, offsetof(struct find_and_modify, let), 0},
};

static status check_remove(const struct find_and_modify *cmd, struct err *err) {
    if (cmd->update.type != B_MISSING)
        return RAISE_CODE(err, CODE_FailedToParse, "Cannot specify both an update and remove=true");
    if (cmd->upsert) return RAISE_CODE(err, CODE_FailedToParse, "Cannot specify both upsert=true and remove=true");
    if (cmd->returns_new)
        return RAISE_CODE(err, CODE_FailedToParse,
                          "Cannot specify both new=true and remove=true; 'remove' always returns the deleted document");
    if (cmd->array_filters.p != NULL)
        return RAISE_CODE(err, CODE_FailedToParse, "Cannot specify arrayFilters and remove=true");
    return ST_OK;
}

static status check(struct find_and_modify *cmd, struct err *err) {
    if (cmd->update.type == B_NULL) cmd->update = BVAL_MISSING;
    TRY(collation_check(cmd->collation, err));
    if (cmd->remove) return check_remove(cmd, err);
    if (cmd->update.type == B_MISSING)
        return RAISE_CODE(err, CODE_FailedToParse, "Either an update or remove=true must be specified");
    if (cmd->update.type != B_DOCUMENT && cmd->update.type != B_ARRAY)
        return RAISE_CODE(err, CODE_FailedToParse, "Update argument must be either an object or an array");
    if (cmd->update.type == B_ARRAY && cmd->array_filters.p != NULL)
        return RAISE_CODE(err, CODE_FailedToParse, "Cannot specify both arrayFilters and a pipeline update");
    return ST_OK;
}

status find_and_modify_parse(struct bdoc doc, bool is_body, struct slice *collection,
                             struct find_and_modify_request *req, struct err *err) {
    struct find_and_modify cmd = {0};
    size_t skip = is_body ? 0 : BODY_ROWS;
    TRY(fields_parse("findAndModify", doc, fields + skip, sizeof(fields) / sizeof(fields[0]) - skip, true, &cmd, err));
    TRY(check(&cmd, err));
    *req = (struct find_and_modify_request){.sort = cmd.sort,
                                            .projection = cmd.fields,
                                            .let = cmd.let,
                                            .remove = cmd.remove,
                                            .returns_new = cmd.returns_new,
                                            .bypass_validation = cmd.bypass,
                                            .statement = {.filter = cmd.query,
                                                          .update = cmd.update,
                                                          .upsert = cmd.upsert,
                                                          .hint = cmd.hint,
                                                          .array_filters = cmd.array_filters}};
    *collection = cmd.collection;
    return ST_OK;
}

void find_and_modify_append(struct bbuild *reply, const struct find_and_modify_request *req,
                            const struct find_and_modify_result *result) {
    struct bbuild last = bbuild_open_doc(reply, SLICE_LIT("lastErrorObject"));
    bbuild_int32(&last, "n", result->found || result->upserted.type != B_MISSING ? 1 : 0);
    if (!req->remove) bbuild_bool(&last, "updatedExisting", result->found);
    bbuild_value(&last, SLICE_LIT("upserted"), result->upserted);
    bbuild_close(&last);
    if (result->value.p != NULL) bbuild_doc(reply, "value", result->value);
    else bbuild_null(reply, "value");
}

static status run(struct command_call *call, struct err *err) {
    struct find_and_modify_request req;
    struct find_and_modify_result result;
    struct slice collection;
    TRY(find_and_modify_parse(call->body, true, &collection, &req, err));
    TRY(command_ns(call, collection, true, &req.ns, err));
    TRY(find_and_modify_run(call->op, &req, &result, err));
    find_and_modify_append(call->reply, &req, &result);
    return ST_OK;
}

const struct command command_find_and_modify = {.name = "findAndModify",
                                                .flags = COMMAND_WRITES | COMMAND_IN_TXN | COMMAND_RETRYABLE |
                                                    COMMAND_API_V1,
                                                .run = run,
                                                .access = ACCESS_BY_WRITE,
                                                .help = "Changes one document and answers it."};
