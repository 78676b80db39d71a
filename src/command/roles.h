/* The built-in roles: MongoDB's names, each a set of access bits (command.h) on its database, on every database, or of the server. Roles of one's own are not supported. */
#ifndef ELMO_COMMAND_ROLES_H
#define ELMO_COMMAND_ROLES_H

#include "command/auth.h"

enum role_flag {
    ROLE_ADMIN = 1u << 0,        /* stands on admin alone */
    ROLE_ANY_DATABASE = 1u << 1, /* on every database but config and local */
    ROLE_ALL = 1u << 2,          /* root: everywhere, everything */
};

struct role {
    const char *name;
    unsigned access;
    unsigned flags;
};

/* NULL: there is no such role on that database. */
const struct role *role_find(struct slice name, struct slice db);
const struct role *role_at(size_t i); /* NULL past the last */
/* What the grants give on a database, as access bits; UINT_MAX is everything. */
unsigned grants_access(const struct granted *granted, uint32_t count, struct slice db);
/* Appends {resource, actions} for what the grants give, one for each resource. */
void grants_privileges(const struct granted *granted, uint32_t count, struct bbuild *array);
/* Reads [{role, db} | "role", ...] (a name alone stands on `db`) into the op's arena. Codes: 2 and 14 for what is no role, 31 RoleNotFound. */
status grants_parse(struct op *op, struct bdoc array, struct slice db, struct granted **out, uint32_t *count,
                    struct err *err);
/* Appends {role, db} for each. */
void grants_append(const struct granted *granted, uint32_t count, struct bbuild *array);

#endif
