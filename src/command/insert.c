/* The insert command, and what write commands share. */
#include "base/codes.h"
#include "command/fields.h"
#include "command/requests.h"

#define BATCH_MAX 100000 /* MongoDB's maxWriteBatchSize */

struct insert {
    struct slice collection;
    struct bdoc documents;
    bool ordered, bypass;
};

static const struct field fields[] = {
    {"insert", FIELD_NAME, offsetof(struct insert, collection), FIELD_REQUIRED},
    {"documents", FIELD_ARRAY, offsetof(struct insert, documents), FIELD_REQUIRED},
    {"ordered", FIELD_STRICT_BOOL, offsetof(struct insert, ordered), 0},
    {"bypassDocumentValidation", FIELD_BOOL, offsetof(struct insert, bypass), 0},
};

status documents_of(struct op *op, const char *where, struct bdoc array, const struct bdoc **out, uint32_t *count,
                    struct err *err) {
    uint32_t n = bdoc_count(array), i = 0;
    if (n == 0 || n > BATCH_MAX) {
        return RAISE_CODE(err, CODE_InvalidLength, "Write batch sizes must be between 1 and %d. Got %u operations.",
                          BATCH_MAX, n);
    }
    struct bdoc *docs = arena_array(&op->arena, struct bdoc, n);
    if (docs == NULL) return RAISE(err, ST_NOMEM, "no memory for %u statements", n);
    struct biter it = biter_of(array);
    struct belem e;
    while (biter_next(&it, &e)) {
        if (e.value.type != B_DOCUMENT) {
            return RAISE_CODE(err, CODE_TypeMismatch,
                              "BSON field '%s.%u' is the wrong type '%s', expected type 'object'", where, i,
                              btype_name(e.value.type));
        }
        docs[i++] = bval_doc(e.value);
    }
    *out = docs;
    *count = n;
    return ST_OK;
}

void write_errors_append(struct bbuild *reply, const struct write_result *result) {
    if (result->error_count == 0) return;
    struct bbuild errors = bbuild_open_array(reply, SLICE_LIT("writeErrors"));
    for (uint32_t i = 0; i < result->error_count; i++) {
        const struct write_error *we = &result->errors[i];
        struct bbuild e = bbuild_push_doc(&errors);
        bbuild_int32(&e, "index", (int32_t) we->index);
        bbuild_int32(&e, "code", we->code);
        if (we->details.p != NULL) bbuild_elems(&e, we->details);
        bbuild_str(&e, "errmsg", we->text);
        bbuild_close(&e);
    }
    bbuild_close(&errors);
}

static status run(struct command_call *call, struct err *err) {
    struct insert cmd = {.ordered = true};
    struct insert_request req = {0};
    struct write_result result = {0};
    TRY(fields_parse("insert", call->body, fields, sizeof(fields) / sizeof(fields[0]), true, &cmd, err));
    TRY(command_ns(call, cmd.collection, true, &req.ns, err));
    TRY(documents_of(call->op, "insert.documents", cmd.documents, &req.docs, &req.doc_count, err));
    req.ordered = cmd.ordered;
    req.bypass_validation = cmd.bypass;
    TRY(insert_run(call->op, &req, &result, err));
    bbuild_int32(call->reply, "n", (int32_t) result.inserted);
    write_errors_append(call->reply, &result);
    return ST_OK;
}

const struct command command_insert = {.name = "insert",
                                       .flags = COMMAND_WRITES | COMMAND_IN_TXN | COMMAND_RETRYABLE | COMMAND_API_V1,
                                       .run = run,
                                       .access = ACCESS_BY_WRITE,
                                       .help = "Inserts documents."};
