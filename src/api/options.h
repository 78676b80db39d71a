/* The `opts` documents of the typed functions, read by the same tables as the commands' bodies. */
#ifndef ELMO_API_OPTIONS_H
#define ELMO_API_OPTIONS_H

#include <bson/bson.h>

#include "query/find.h"
#include "query/pipeline.h"
#include "query/write.h"

struct write_options {
    bool ordered, upsert, bypass_validation;
    struct bval hint;
    struct bdoc array_filters, let; /* p NULL: none */
};

/* Each also sets op's deadline from maxTimeMS. What is read borrows `opts`. */
status find_options(struct op *op, const bson_t *opts, struct find_request *req, struct err *err);
status count_options(struct op *op, const bson_t *opts, struct find_request *req, struct err *err);
status insert_options(struct op *op, const bson_t *opts, struct write_options *out, struct err *err);
status update_options(struct op *op, const bson_t *opts, struct write_options *out, struct err *err);
status delete_options(struct op *op, const bson_t *opts, struct write_options *out, struct err *err);
status aggregate_options(struct op *op, const bson_t *opts, struct pipeline_request *req, struct err *err);

#endif
