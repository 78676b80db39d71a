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
    {"documents", FIELD_ARRAY, offsetof(struct insert, documents), 0}, /* or a sequence */
    {"ordered", FIELD_STRICT_BOOL, offsetof(struct insert, ordered), 0},
    {"bypassDocumentValidation", FIELD_BOOL, offsetof(struct insert, bypass), 0},
};

static status check_count(uint32_t n, struct err *err) {
    if (n != 0 && n <= BATCH_MAX) return ST_OK;
    return RAISE_CODE(err, CODE_InvalidLength, "Write batch sizes must be between 1 and %d. Got %u operations.",
                      BATCH_MAX, n);
}

status documents_of(struct op *op, const char *where, struct bdoc array, const struct bdoc **out, uint32_t *count,
                    struct err *err) {
    uint32_t n = bdoc_count(array), i = 0;
    TRY(check_count(n, err));
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

static status documents_of_sequence(struct op *op, const struct command_sequence *s, const struct bdoc **out,
                                    struct err *err) {
    TRY(check_count(s->count, err));
    struct bdoc *docs = arena_array(&op->arena, struct bdoc, s->count);
    if (docs == NULL) return RAISE(err, ST_NOMEM, "no memory for %u statements", s->count);
    const uint8_t *p = s->bytes.p;
    for (uint32_t i = 0; i < s->count; i++) {
        docs[i] = bdoc_of(p);
        p += docs[i].len;
    }
    *out = docs;
    return ST_OK;
}

status command_documents(const struct command_call *call, const char *where, const char *field, struct bdoc array,
                         const struct bdoc **out, uint32_t *count, struct err *err) {
    for (size_t i = 0; i < call->sequence_count; i++) {
        const struct command_sequence *s = &call->sequences[i];
        if (!slice_equal(s->name, slice_str(field)))
            return RAISE_CODE(err, 40415, "BSON field '%s.%.*s' is an unknown field.", call->command->name,
                              (int) s->name.len, (const char *) s->name.p);
        if (array.p != NULL) return RAISE_CODE(err, 40413, "BSON field '%s' is a duplicate field", where);
        *count = s->count;
        return documents_of_sequence(call->op, s, out, err);
    }
    if (array.p == NULL)
        return RAISE_CODE(err, 40414, "BSON field '%s' is missing but a required field", where);
    return documents_of(call->op, where, array, out, count, err);
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
    TRY(command_documents(call, "insert.documents", "documents", cmd.documents, &req.docs, &req.doc_count, err));
    req.ordered = cmd.ordered;
    req.bypass_validation = cmd.bypass;
    command_count_ops(call->env, OPCOUNT_INSERT, req.doc_count);
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
