/* The validate command: a collection's documents against its indexes and back. */
#include "doc/validate.h"

#include <stdio.h>

#include "base/codes.h"
#include "command/fields.h"
#include "command/requests.h"

#define ERRORS_MAX 100 /* faults that are listed; all are counted */

struct validate {
    struct slice collection;
};

static const struct field fields[] = {
    {"validate", FIELD_NAMESPACE, offsetof(struct validate, collection), FIELD_REQUIRED},
    {"full", FIELD_IGNORED, 0, 0},
    {"background", FIELD_IGNORED, 0, 0},
    {"metadata", FIELD_IGNORED, 0, 0},
    {"checkBSONConformance", FIELD_IGNORED, 0, 0},
    {"repair", FIELD_REFUSED, 0, 0},
    {"scandata", FIELD_IGNORED, 0, 0},
};

struct found {
    struct bbuild *errors;
    uint64_t count;
};

static void on_found(void *ctx, const char *text) {
    struct found *f = ctx;
    if (f->count++ >= ERRORS_MAX) return;
    struct bbuild *b = f->errors;
    char idx[16];
    (void) snprintf(idx, sizeof(idx), "%u", b->next_idx++);
    bbuild_str(b, idx, text);
}

static status run(struct command_call *call, struct err *err) {
    struct validate cmd = {0};
    struct ns ns;
    struct kv_txn *txn = NULL;
    struct collection *c = NULL;
    struct validate_report report = {0};
    char text[NS_TEXT_LEN];
    TRY(fields_parse("validate", call->body, fields, sizeof(fields) / sizeof(fields[0]), true, &cmd, err));
    TRY(command_ns(call, cmd.collection, false, &ns, err));
    TRY(command_begin_read(call->op, &txn, err));
    ns_text(ns, text);
    status st = catalog_find(call->op, txn, ns, &c, err);
    if (st == ST_NOT_FOUND)
        st = RAISE_CODE(err, CODE_NamespaceNotFound, "Collection '%s' does not exist to validate.", text);
    if (st == ST_OK) {
        bbuild_str(call->reply, "ns", text);
        struct bbuild errors = bbuild_open_array(call->reply, SLICE_LIT("errors"));
        struct found found = {&errors, 0};
        st = collection_validate(call->op, txn, c, on_found, &found, &report, err);
        bbuild_close(&errors);
        bbuild_int32(call->reply, "nIndexes", (int32_t) c->index_count + 1);
        bbuild_int64(call->reply, "nrecords", (int64_t) report.documents);
        bbuild_int64(call->reply, "nInvalidDocuments", (int64_t) report.invalid_documents);
        bbuild_int64(call->reply, "nKeys", (int64_t) report.keys);
        bbuild_int64(call->reply, "nMissingIndexEntries", (int64_t) report.missing_entries);
        bbuild_int64(call->reply, "nExtraIndexEntries", (int64_t) report.extra_entries);
        bbuild_bool(call->reply, "valid", found.count == 0);
        bbuild_bool(call->reply, "repaired", false);
    }
    if (c != NULL) collection_unref(c);
    command_end_read(call->op, txn);
    return st;
}

const struct command command_validate = {.name = "validate",
                                         .run = run,
                                         .access = ACCESS_BY_DB_ADMIN,
                                         .help = "Checks a collection and its indexes against each other."};
