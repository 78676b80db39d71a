/* Writing: insert, update, delete over whole commands, with MongoDB's write errors. Outside a session each document is its own transaction as far as
 * anyone can tell: documents are batched into transactions, a conflicting one is retried until it is applied or the deadline passes, and one sync stands before the answer. */
#ifndef ELMO_QUERY_WRITE_H
#define ELMO_QUERY_WRITE_H

#include "query/find.h"

struct write_error {
    uint32_t index; /* of the statement in the command */
    int32_t code;
    const char *text;
    struct bdoc details; /* {keyPattern, keyValue} or p NULL */
};

struct upserted {
    uint32_t index;
    struct bval id;
};

/* Everything in the op's arena. */
struct write_result {
    int64_t inserted, matched, modified, deleted;
    uint32_t upserted_count, error_count;
    struct upserted *upserted;
    struct write_error *errors;
};

struct insert_request {
    struct ns ns;
    uint32_t doc_count;
    const struct bdoc *docs; /* not yet checked: the door checks, a bad one is a write error */
    bool ordered, bypass_validation;
};

struct update_statement {
    struct bdoc filter;
    struct bval update; /* a document, or a pipeline (array) */
    bool multi, upsert;
    struct bval hint;
    struct bdoc array_filters; /* p NULL: none */
    struct bdoc constants;     /* variables of a pipeline; p NULL: none */
    enum { UPDATE_ANY, UPDATE_OPERATORS_ONLY, UPDATE_REPLACE_ONLY } expect;
};
struct update_request {
    struct ns ns;
    uint32_t statement_count;
    const struct update_statement *statements;
    bool ordered;
    struct bdoc let; /* variables for expressions; p NULL: none */
};

struct delete_statement {
    struct bdoc filter;
    bool multi;
    struct bval hint;
};
struct delete_request {
    struct ns ns;
    uint32_t statement_count;
    const struct delete_statement *statements;
    bool ordered;
    struct bdoc let; /* as update_request's */
};

/* Failures of a single statement are in the result; the answer is a failure only when the command as a whole failed (bad namespace, I/O, deadline). A collection that does not exist is created by insert and upsert. */
status insert_run(struct op *op, const struct insert_request *req, struct write_result *out, struct err *err);
status update_run(struct op *op, const struct update_request *req, struct write_result *out, struct err *err);
status delete_run(struct op *op, const struct delete_request *req, struct write_result *out, struct err *err);
/* What the first statement of an update or delete would do, as find_explain. */
status update_explain(struct op *op, const struct update_request *req, enum explain_verbosity v, struct bbuild *out,
                      struct err *err);
status delete_explain(struct op *op, const struct delete_request *req, enum explain_verbosity v, struct bbuild *out,
                      struct err *err);

#endif
