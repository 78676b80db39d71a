/* Reading a command's fields into a struct by a table, so that every command refuses unknown fields and wrong types alike and in MongoDB's words. */
#ifndef ELMO_COMMAND_FIELDS_H
#define ELMO_COMMAND_FIELDS_H

#include "base/err.h"
#include "bson/value.h"

enum field_kind {
    FIELD_DOCUMENT, /* struct bdoc */
    FIELD_ARRAY,    /* struct bdoc */
    FIELD_STRING,   /* struct slice */
    FIELD_NAME, /* struct slice: a collection's name; 2 when it is no string, as MongoDB's writes and index commands answer */
    FIELD_NAMESPACE,   /* the same; 73 when it is no string, as MongoDB's reads answer */
    FIELD_BOOL,        /* bool; numbers are taken as truth values */
    FIELD_STRICT_BOOL, /* bool and nothing else */
    FIELD_INT64,       /* int64_t; any number with a whole value */
    FIELD_COUNT,       /* the same, and not negative: 51024 */
    FIELD_VALUE,       /* struct bval: anything */
    FIELD_IGNORED,     /* accepted; means nothing here */
    FIELD_REFUSED,     /* known to MongoDB: refused when it is given and truthy */
};

enum field_flag { FIELD_REQUIRED = 1u << 0 };

struct field {
    const char *name;
    enum field_kind kind;
    size_t offset; /* of the member in the target struct */
    unsigned flags;
};

/* null counts as absent but for names, FIELD_VALUE and FIELD_IGNORED. Fills `target`, which the caller initialised with defaults. `where` names the document in messages: "find", "update.updates". With `generic`, the fields that any command takes (lsid, comment,
 * readConcern, maxTimeMS, ...) pass. Codes: 40415 unknown field, 14 TypeMismatch, 40414 missing field, 40413 given twice, 51024 negative. */
status fields_parse(const char *where, struct bdoc body, const struct field *rows, size_t row_count, bool generic,
                    void *target, struct err *err);

/* Is it one of the fields that every command takes? */
bool fields_is_generic(struct slice name);
/* One value, as `row` has it. */
status field_read(const char *where, const struct field *row, struct bval v, void *target, struct err *err);
/* 2 unless `text` (p NULL: not given) is one of the names; NULL ends them. */
status field_check_one_of(const char *where, struct slice text, const char *const *names, struct err *err);

#endif
