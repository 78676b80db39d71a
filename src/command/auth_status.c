/* The connectionStatus command: who is logged in on this connection, and what that gives. */
#include "command/fields.h"
#include "command/roles.h"
#include "command/users.h"

struct connection_status {
    bool privileges;
};
static const struct field fields[] = {
    {"connectionStatus", FIELD_IGNORED, 0, FIELD_REQUIRED},
    {"showPrivileges", FIELD_BOOL, offsetof(struct connection_status, privileges), 0},
};

static status run(struct command_call *call, struct err *err) {
    struct connection_status cmd = {false};
    TRY(fields_parse("connectionStatus", call->body, fields, sizeof(fields) / sizeof(fields[0]), true, &cmd, err));
    const struct principal *p = call->client->principal;
    struct bbuild info = bbuild_open_doc(call->reply, SLICE_LIT("authInfo"));
    struct bbuild list = bbuild_open_array(&info, SLICE_LIT("authenticatedUsers"));
    if (p != NULL) {
        struct bbuild user = bbuild_push_doc(&list);
        bbuild_slice(&user, "user", p->user);
        bbuild_slice(&user, "db", p->db);
        bbuild_close(&user);
    }
    bbuild_close(&list);
    list = bbuild_open_array(&info, SLICE_LIT("authenticatedUserRoles"));
    if (p != NULL) grants_append(p->granted, p->granted_count, &list);
    bbuild_close(&list);
    if (cmd.privileges) {
        list = bbuild_open_array(&info, SLICE_LIT("authenticatedUserPrivileges"));
        if (p != NULL) grants_privileges(p->granted, p->granted_count, &list);
        bbuild_close(&list);
    }
    bbuild_close(&info);
    return ST_OK;
}

const struct command command_connection_status = {.name = "connectionStatus",
                                                  .flags = COMMAND_API_V1,
                                                  .run = run,
                                                  .access = ACCESS_ANYBODY,
                                                  .help = "Tells who is logged in."};
