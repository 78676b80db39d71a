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

static void append_indexes(struct bbuild *b, const struct collection *c, const struct validate_report *report) {
    struct bbuild keys = bbuild_open_doc(b, SLICE_LIT("keysPerIndex"));
    bbuild_whole(&keys, "_id_", (int64_t) report->documents);
    for (uint32_t i = 0; i < c->index_count; i++) {
        if (c->indexes[i].spec.kind == INDEX_TEXT) continue;
        bbuild_whole(&keys, (const char *) c->indexes[i].spec.name.p, (int64_t) report->index_keys[i]);
    }
    bbuild_close(&keys);
    struct bbuild details = bbuild_open_doc(b, SLICE_LIT("indexDetails"));
    struct bbuild id = bbuild_open_doc(&details, SLICE_LIT("_id_"));
    bbuild_bool(&id, "valid", report->invalid_documents == 0);
    bbuild_close(&id);
    for (uint32_t i = 0; i < c->index_count; i++) {
        struct bbuild ix = bbuild_open_doc(&details, c->indexes[i].spec.name);
        bbuild_bool(&ix, "valid", report->index_missing[i] == 0 && report->extra_entries == 0);
        bbuild_close(&ix);
    }
    bbuild_close(&details);
}

static void append_report(struct bbuild *b, const struct collection *c, const struct validate_report *report,
                          bool is_valid) {
    static const char *const lists[] = {"warnings", "extraIndexEntries", "missingIndexEntries", "corruptRecords"};
    bbuild_whole(b, "nInvalidDocuments", (int64_t) report->invalid_documents);
    bbuild_int32(b, "nNonCompliantDocuments", 0);
    bbuild_whole(b, "nrecords", (int64_t) report->documents);
    bbuild_int32(b, "nIndexes", (int32_t) c->index_count + 1);
    append_indexes(b, c, report);
    bbuild_whole(b, "nKeys", (int64_t) report->keys);
    bbuild_whole(b, "nMissingIndexEntries", (int64_t) report->missing_entries);
    bbuild_whole(b, "nExtraIndexEntries", (int64_t) report->extra_entries);
    bbuild_bool(b, "valid", is_valid);
    bbuild_bool(b, "repaired", false);
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) bbuild_array(b, lists[i], bdoc_empty);
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
        bbuild_binary(call->reply, "uuid", 4, slice_of(c->uuid, sizeof(c->uuid)));
        struct bbuild errors = bbuild_open_array(call->reply, SLICE_LIT("errors"));
        struct found found = {&errors, 0};
        st = collection_validate(call->op, txn, c, on_found, &found, &report, err);
        bbuild_close(&errors);
        if (st == ST_OK) append_report(call->reply, c, &report, found.count == 0);
    }
    if (c != NULL) collection_unref(c);
    command_end_read(call->op, txn);
    return st;
}

const struct command command_validate = {.name = "validate",
                                         .run = run,
                                         .access = ACCESS_BY_DB_ADMIN,
                                         .help = "Checks a collection and its indexes against each other."};
