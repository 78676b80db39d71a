/* Reading `opts`; see options.h. */
#include "api/options.h"

#include "api/handles.h"
#include "command/fields.h"
#include "command/generic.h"
#include "command/requests.h"
#include "doc/db.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

static status read_opts(struct op *op, const bson_t *opts, const char *where, const struct field *rows, size_t n,
                        void *out, struct err *err) {
    struct bdoc doc;
    if (opts == NULL) return ST_OK;
    TRY(api_opts(op, opts, "opts", &doc, err));
    TRY(fields_parse(where, doc, rows, n, true, out, err));
    return command_deadline(op, doc, err);
}

status find_options(struct op *op, const bson_t *opts, struct find_request *req, struct err *err) {
    struct find_command cmd = {0};
    if (opts == NULL) return ST_OK;
    /* Row 0 is the command's own name. */
    TRY(read_opts(op, opts, "find", find_fields + 1, find_field_count - 1, &cmd, err));
    TRY(collation_check(cmd.collation, err));
    req->projection = cmd.projection;
    req->sort = cmd.sort;
    req->hint = cmd.hint;
    req->skip = cmd.skip;
    req->limit = cmd.limit;
    req->allow_disk_use = cmd.allow_disk_use;
    req->let = cmd.let;
    return ST_OK;
}

status count_options(struct op *op, const bson_t *opts, struct find_request *req, struct err *err) {
    static const struct field rows[] = {
        {"skip", FIELD_COUNT, offsetof(struct find_request, skip), 0},
        {"limit", FIELD_COUNT, offsetof(struct find_request, limit), 0},
        {"hint", FIELD_VALUE, offsetof(struct find_request, hint), 0},
        {"collation", FIELD_REFUSED, 0, 0},
    };
    return read_opts(op, opts, "count", rows, COUNT(rows), req, err);
}

status insert_options(struct op *op, const bson_t *opts, struct write_options *out, struct err *err) {
    static const struct field rows[] = {
        {"ordered", FIELD_BOOL, offsetof(struct write_options, ordered), 0},
        {"bypassDocumentValidation", FIELD_BOOL, offsetof(struct write_options, bypass_validation), 0},
        {"validate", FIELD_IGNORED, 0, 0},
    };
    *out = (struct write_options){.ordered = true};
    return read_opts(op, opts, "insert", rows, COUNT(rows), out, err);
}

status update_options(struct op *op, const bson_t *opts, struct write_options *out, struct err *err) {
    static const struct field rows[] = {
        {"upsert", FIELD_BOOL, offsetof(struct write_options, upsert), 0},
        {"hint", FIELD_VALUE, offsetof(struct write_options, hint), 0},
        {"arrayFilters", FIELD_ARRAY, offsetof(struct write_options, array_filters), 0},
        {"bypassDocumentValidation", FIELD_BOOL, offsetof(struct write_options, bypass_validation), 0},
        {"validate", FIELD_IGNORED, 0, 0},
        {"collation", FIELD_REFUSED, 0, 0},
        {"let", FIELD_DOCUMENT, offsetof(struct write_options, let), 0},
    };
    *out = (struct write_options){.ordered = true};
    return read_opts(op, opts, "update", rows, COUNT(rows), out, err);
}

status delete_options(struct op *op, const bson_t *opts, struct write_options *out, struct err *err) {
    static const struct field rows[] = {
        {"hint", FIELD_VALUE, offsetof(struct write_options, hint), 0},
        {"collation", FIELD_REFUSED, 0, 0},
        {"let", FIELD_DOCUMENT, offsetof(struct write_options, let), 0},
    };
    *out = (struct write_options){.ordered = true};
    return read_opts(op, opts, "delete", rows, COUNT(rows), out, err);
}

struct aggregate_opts {
    bool allow_disk_use, bypass_validation;
    struct bval hint, collation;
    struct bdoc let;
    int64_t batch_size;
};

status aggregate_options(struct op *op, const bson_t *opts, struct pipeline_request *req, struct err *err) {
    struct aggregate_opts o = {0};
    static const struct field rows[] = {
        {"allowDiskUse", FIELD_BOOL, offsetof(struct aggregate_opts, allow_disk_use), 0},
        {"bypassDocumentValidation", FIELD_BOOL, offsetof(struct aggregate_opts, bypass_validation), 0},
        {"hint", FIELD_VALUE, offsetof(struct aggregate_opts, hint), 0},
        {"let", FIELD_DOCUMENT, offsetof(struct aggregate_opts, let), 0},
        {"collation", FIELD_VALUE, offsetof(struct aggregate_opts, collation), 0},
        {"batchSize", FIELD_COUNT, offsetof(struct aggregate_opts, batch_size), 0},
    };
    TRY(read_opts(op, opts, "aggregate", rows, COUNT(rows), &o, err));
    TRY(collation_check(o.collation, err));
    req->allow_disk_use = o.allow_disk_use;
    req->bypass_validation = o.bypass_validation;
    req->hint = o.hint;
    req->let = o.let;
    return ST_OK;
}
