/* getCmdLineOpts and whatsmyuri: how the server was started, and who asks. */
#include "command/fields.h"
#include "command/requests.h"
#include "doc/db.h"

static status run_options(struct command_call *call, struct err *err) {
    static const struct field fields[] = {{"getCmdLineOpts", FIELD_IGNORED, 0, FIELD_REQUIRED}};
    TRY(fields_parse("getCmdLineOpts", call->body, fields, 1, true, NULL, err));
    struct service_info *info = service_info_of(call->env);
    bbuild_array(call->reply, "argv", info != NULL ? info->argv : bdoc_empty);
    bbuild_doc(call->reply, "parsed", info != NULL ? info->parsed : bdoc_empty);
    service_info_unref(info, db_mem(call->env->db));
    return ST_OK;
}

static status run_uri(struct command_call *call, struct err *err) {
    static const struct field fields[] = {{"whatsmyuri", FIELD_IGNORED, 0, FIELD_REQUIRED}};
    TRY(fields_parse("whatsmyuri", call->body, fields, 1, true, NULL, err));
    bbuild_str(call->reply, "you", call->client->remote);
    return ST_OK;
}

const struct command command_get_cmd_line_opts = {.name = "getCmdLineOpts",
                                                  .flags = COMMAND_ADMIN_ONLY,
                                                  .run = run_options,
                                                  .access = ACCESS_BY_MONITOR,
                                                  .help = "The command line of the server."};
const struct command command_whatsmyuri = {.name = "whatsmyuri",
                                           .flags = COMMAND_NO_SESSION,
                                           .run = run_uri,
                                           .access = ACCESS_ANYBODY,
                                           .help = "The address that the client comes from."};
