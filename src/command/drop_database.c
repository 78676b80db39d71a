/* The dropDatabase command. */
#include "base/codes.h"
#include "bson/number.h"
#include "command/fields.h"
#include "command/requests.h"

struct drop_database {
    struct bval one;
};

static const struct field fields[] = {
    {"dropDatabase", FIELD_VALUE, offsetof(struct drop_database, one), FIELD_REQUIRED},
};

static status run(struct command_call *call, struct err *err) {
    struct drop_database cmd = {0};
    int64_t one = 0;
    bool existed = false;
    TRY(fields_parse("dropDatabase", call->body, fields, sizeof(fields) / sizeof(fields[0]), true, &cmd, err));
    if (!bval_is_number(cmd.one) || !bnum_to_int64_exact(bnum_of(cmd.one), &one) || one != 1)
        return RAISE_CODE(err, 5255100, "Have to pass 1 as db parameter");
    if (slice_equal(call->db, SLICE_LIT("admin")))
        return RAISE_CODE(err, CODE_IllegalOperation, "Dropping the 'admin' database is prohibited.");
    TRY(catalog_drop_database(call->op, call->db, &existed, err));
    if (existed) bbuild_slice(call->reply, "dropped", call->db); /* MongoDB answers plain success when there was none */
    return ST_OK;
}

const struct command command_drop_database = {.name = "dropDatabase",
                                              .flags = COMMAND_WRITES | COMMAND_API_V1,
                                              .run = run,
                                              .access = ACCESS_BY_DB_ADMIN,
                                              .help = "Drops the database with all its collections."};
