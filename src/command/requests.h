/* Bodies of the reading and writing commands as structs, shared with explain, which parses the command that it is given. */
#ifndef ELMO_COMMAND_REQUESTS_H
#define ELMO_COMMAND_REQUESTS_H

#include "command/command.h"
#include "command/fields.h"
#include "query/find.h"
#include "query/pipeline.h"
#include "query/find_and_modify.h"
#include "query/write.h"

struct find_command {
    struct slice collection;
    struct bdoc filter, sort, projection, let;
    struct bval hint, collation;
    int64_t skip, limit, batch_size;
    bool single_batch, no_cursor_timeout, allow_disk_use;
};

extern const struct field find_fields[]; /* row 0 is the command's name */
extern const size_t find_field_count;

status find_command_parse(const struct command_call *call, struct bdoc body, struct find_command *cmd,
                          struct find_request *req, struct err *err);
status count_command_parse(const struct command_call *call, struct bdoc body, struct find_request *req,
                           struct err *err);
status distinct_command_parse(const struct command_call *call, struct bdoc body, struct find_request *req,
                              struct slice *key, struct err *err);

/* `batch_size` 101 when nothing is said; *explain: the field of that name. */
status aggregate_command_parse(const struct command_call *call, struct bdoc body, struct pipeline_request *req,
                               int64_t *batch_size, bool *explain, struct err *err);

/* The statements of the command, in the op's arena. */
status update_command_parse(const struct command_call *call, struct bdoc body, struct update_request *req,
                            struct err *err);
status delete_command_parse(const struct command_call *call, struct bdoc body, struct delete_request *req,
                            struct err *err);

/* A findAndModify body, or (not is_body) the options of the typed function, which has collection and query as arguments. req->ns is the caller's to set. */
status find_and_modify_parse(struct bdoc doc, bool is_body, struct slice *collection,
                             struct find_and_modify_request *req, struct err *err);
/* {lastErrorObject, value}. */
void find_and_modify_append(struct bbuild *reply, const struct find_and_modify_request *req,
                            const struct find_and_modify_result *result);

/* The option `scale` of statistics: 51024 below 1. */
status scale_check(int64_t scale, struct err *err);

/* {locale: "simple"}, {} and nothing pass; others are not supported. */
status collation_check(struct bval collation, struct err *err);

/* Appends writeErrors, when there are any, as write commands answer them. */
void write_errors_append(struct bbuild *reply, const struct write_result *result);

/* The elements of an array of documents, in the op's arena. CODE_TypeMismatch naming `where` when one is no document. */
status documents_of(struct op *op, const char *where, struct bdoc array, const struct bdoc **out, uint32_t *count,
                    struct err *err);

/* {cursor: ...} over documents that were appended to cursor->rows. */
struct list_cursor {
    int64_t batch_size;
};
status list_cursor_parse(struct bdoc cursor, int64_t *batch_size, struct err *err);

#endif
