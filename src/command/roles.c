/* The table of roles and what they amount to; see roles.h. Actions are rows too: which access bits carry them. */
#include "command/roles.h"

#include <limits.h>

#include "base/codes.h"
#include "command/fields.h"

#define R ACCESS_BY_READ
#define W ACCESS_BY_WRITE
#define D ACCESS_BY_DB_ADMIN
#define U ACCESS_BY_USER_ADMIN
#define M ACCESS_BY_MONITOR
#define C ACCESS_BY_CLUSTER

static const struct role roles[] = {
    {"read", R, 0},
    {"readWrite", R | W, 0},
    {"dbAdmin", D, 0},
    {"userAdmin", U, 0},
    {"dbOwner", R | W | D | U, 0},
    {"readAnyDatabase", R, ROLE_ADMIN | ROLE_ANY_DATABASE},
    {"readWriteAnyDatabase", R | W, ROLE_ADMIN | ROLE_ANY_DATABASE},
    {"dbAdminAnyDatabase", D, ROLE_ADMIN | ROLE_ANY_DATABASE},
    {"userAdminAnyDatabase", U, ROLE_ADMIN | ROLE_ANY_DATABASE},
    {"clusterMonitor", M, ROLE_ADMIN},
    {"hostManager", C, ROLE_ADMIN},
    {"clusterAdmin", M | C, ROLE_ADMIN},
    {"root", R | W | D | U | M | C, ROLE_ADMIN | ROLE_ANY_DATABASE | ROLE_ALL},
};

struct action {
    const char *name;
    unsigned access;
};

static const struct action database_actions[] = {
    {"bypassDocumentValidation", D},
    {"changeCustomData", U},
    {"changePassword", U},
    {"changeStream", R},
    {"collMod", D},
    {"collStats", R | D},
    {"compact", D},
    {"convertToCapped", W | D},
    {"createCollection", W | D},
    {"createIndex", W | D},
    {"createRole", U},
    {"createUser", U},
    {"dbHash", R | D},
    {"dbStats", R | D},
    {"dropCollection", W | D},
    {"dropDatabase", D},
    {"dropIndex", W | D},
    {"dropRole", U},
    {"dropUser", U},
    {"enableProfiler", D},
    {"find", R},
    {"grantRole", U},
    {"indexStats", D},
    {"insert", W},
    {"killCursors", R | D},
    {"listCollections", R | D},
    {"listIndexes", R | D},
    {"planCacheIndexFilter", D},
    {"planCacheRead", R | D},
    {"planCacheWrite", D},
    {"reIndex", D},
    {"remove", W},
    {"renameCollectionSameDB", W | D},
    {"revokeRole", U},
    {"setAuthenticationRestriction", U},
    {"storageDetails", D},
    {"update", W},
    {"validate", D},
    {"viewRole", U},
    {"viewUser", U},
};

/* Of the server. ACCESS bits of a role on every database carry listDatabases, too. */
#define ANY_DATABASE (1u << 31)
static const struct action cluster_actions[] = {
    {"connPoolStats", M},
    {"fsync", C},
    {"getCmdLineOpts", M},
    {"getLog", M},
    {"getParameter", M},
    {"hostInfo", M},
    {"inprog", M},
    {"invalidateUserCache", C},
    {"killAnyCursor", C},
    {"killAnySession", C},
    {"killop", C},
    {"listDatabases", M | ANY_DATABASE},
    {"listSessions", M},
    {"logRotate", C},
    {"replSetGetStatus", M},
    {"serverStatus", M},
    {"setParameter", C},
    {"shutdown", C},
    {"top", M},
};

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

const struct role *role_at(size_t i) { return i < COUNT(roles) ? &roles[i] : NULL; }

const struct role *role_find(struct slice name, struct slice db) {
    for (size_t i = 0; i < COUNT(roles); i++) {
        if (!slice_equal(name, slice_str(roles[i].name))) continue;
        bool stands = (roles[i].flags & ROLE_ADMIN) == 0 || slice_equal(db, SLICE_LIT("admin"));
        return stands ? &roles[i] : NULL;
    }
    return NULL;
}

static unsigned grant_access(const struct granted *g, struct slice db) {
    const struct role *role = g->role;
    const unsigned on_database = R | W | D | U;
    bool is_internal = slice_equal(db, SLICE_LIT("config")) || slice_equal(db, SLICE_LIT("local"));
    if ((role->flags & ROLE_ALL) != 0) return UINT_MAX;
    if ((role->flags & ROLE_ANY_DATABASE) != 0) return is_internal ? role->access & ~on_database : role->access;
    return slice_equal(g->db, db) ? role->access : role->access & ~on_database;
}

unsigned grants_access(const struct granted *granted, uint32_t count, struct slice db) {
    unsigned access = 0;
    for (uint32_t i = 0; i < count; i++) access |= grant_access(&granted[i], db);
    return access;
}

static void append_actions(struct bbuild *privilege, const struct action *rows, size_t count, unsigned access) {
    struct bbuild actions = bbuild_open_array(privilege, SLICE_LIT("actions"));
    for (size_t i = 0; i < count; i++) {
        if ((rows[i].access & access) == 0) continue;
        uint8_t bytes[64] = {0};
        size_t len = strlen(rows[i].name);
        put_le32(bytes, (uint32_t) len + 1);
        memcpy(bytes + 4, rows[i].name, len);
        bbuild_push(&actions, (struct bval){bytes, (uint32_t) len + 5, B_STRING});
    }
    bbuild_close(&actions);
}

/* db.len 0: every database. */
static void append_database(struct bbuild *array, struct slice db, unsigned access) {
    if (access == 0) return;
    struct bbuild privilege = bbuild_push_doc(array);
    struct bbuild resource = bbuild_open_doc(&privilege, SLICE_LIT("resource"));
    bbuild_slice(&resource, "db", db);
    bbuild_str(&resource, "collection", "");
    bbuild_close(&resource);
    append_actions(&privilege, database_actions, COUNT(database_actions), access);
    bbuild_close(&privilege);
}

/* The bits that one database's grants give it; 0 when an earlier grant has told of that database. */
static unsigned access_of_database(const struct granted *granted, uint32_t count, uint32_t i) {
    unsigned access = 0;
    for (uint32_t j = 0; j < count; j++) {
        if ((granted[j].role->flags & ROLE_ANY_DATABASE) != 0 || !slice_equal(granted[j].db, granted[i].db)) continue;
        if (j < i) return 0;
        access |= granted[j].role->access & (R | W | D | U);
    }
    return access;
}

void grants_privileges(const struct granted *granted, uint32_t count, struct bbuild *array) {
    unsigned any = 0, cluster = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct role *role = granted[i].role;
        cluster |= role->access & (M | C);
        if ((role->flags & ROLE_ANY_DATABASE) != 0) any |= role->access & (R | W | D | U);
        else append_database(array, granted[i].db, access_of_database(granted, count, i));
    }
    append_database(array, SLICE_NONE, any);
    if (any != 0) cluster |= ANY_DATABASE;
    if (cluster == 0) return;
    struct bbuild privilege = bbuild_push_doc(array);
    struct bbuild resource = bbuild_open_doc(&privilege, SLICE_LIT("resource"));
    bbuild_bool(&resource, "cluster", true);
    bbuild_close(&resource);
    append_actions(&privilege, cluster_actions, COUNT(cluster_actions), cluster);
    bbuild_close(&privilege);
}

struct role_name {
    struct slice role, db;
};

static status parse_grant(struct bval v, struct slice db, struct granted *out, struct err *err) {
    static const struct field rows[] = {
        {"role", FIELD_STRING, offsetof(struct role_name, role), FIELD_REQUIRED},
        {"db", FIELD_STRING, offsetof(struct role_name, db), FIELD_REQUIRED},
    };
    struct role_name name = {.db = db};
    if (v.type == B_STRING) name.role = bval_string(v);
    else if (v.type == B_DOCUMENT) TRY(fields_parse("roles", bval_doc(v), rows, COUNT(rows), false, &name, err));
    else return RAISE_CODE(err, CODE_BadValue, "Role names must be either strings or objects");
    const struct role *role = role_find(name.role, name.db);
    if (role == NULL)
        return RAISE_CODE(err, CODE_RoleNotFound, "Could not find role: %.*s@%.*s", (int) name.role.len,
                          (const char *) name.role.p, (int) name.db.len, (const char *) name.db.p);
    *out = (struct granted){role, name.db};
    return ST_OK;
}

status grants_parse(struct op *op, struct bdoc array, struct slice db, struct granted **out, uint32_t *count,
                    struct err *err) {
    uint32_t n = 0;
    struct granted *granted = arena_array(&op->arena, struct granted, (size_t) bdoc_count(array) + 1);
    if (granted == NULL) return RAISE(err, ST_NOMEM, "no memory for roles");
    struct biter it = biter_of(array);
    struct belem e;
    while (biter_next(&it, &e)) {
        struct granted g;
        bool is_new = true;
        TRY(parse_grant(e.value, db, &g, err));
        for (uint32_t i = 0; i < n; i++)
            if (granted[i].role == g.role && slice_equal(granted[i].db, g.db)) is_new = false;
        if (is_new) granted[n++] = g;
    }
    *out = granted;
    *count = n;
    return ST_OK;
}

void grants_append(const struct granted *granted, uint32_t count, struct bbuild *array) {
    for (uint32_t i = 0; i < count; i++) {
        struct bbuild one = bbuild_push_doc(array);
        bbuild_str(&one, "role", granted[i].role->name);
        bbuild_slice(&one, "db", granted[i].db);
        bbuild_close(&one);
    }
}
