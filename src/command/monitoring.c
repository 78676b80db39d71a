/* Small commands that tools for watching a server ask: what elmo has of what they want is told, and no more. */
#include "base/codes.h"
#include "command/fields.h"
#include "command/replica_set.h"
#include "command/requests.h"
#include "doc/db.h"

static status parse_name_only(struct command_call *call, struct err *err) {
    const struct field row = {call->command->name, FIELD_IGNORED, 0, FIELD_REQUIRED};
    return fields_parse(call->command->name, call->body, &row, 1, true, NULL, err);
}

/* Time is not measured by collection. */
static status run_top(struct command_call *call, struct err *err) {
    TRY(parse_name_only(call, err));
    struct bbuild totals = bbuild_open_doc(call->reply, SLICE_LIT("totals"));
    bbuild_str(&totals, "note", "all times in microseconds");
    bbuild_close(&totals);
    return ST_OK;
}

/* There are no connections to other servers. */
static status run_pool(struct command_call *call, struct err *err) {
    static const char *const counts[] = {"numClientConnections", "numAScopedConnections", "totalInUse",
                                         "totalAvailable",       "totalLeased",           "totalCreated",
                                         "totalRefreshing",      "totalRefreshed"};
    static const char *const none[] = {"pools", "hosts"};
    TRY(parse_name_only(call, err));
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) bbuild_int32(call->reply, counts[i], 0);
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) bbuild_doc(call->reply, none[i], bdoc_empty);
    return ST_OK;
}

static status run_features(struct command_call *call, struct err *err) {
    static const struct field fields[] = {{"features", FIELD_IGNORED, 0, FIELD_REQUIRED},
                                          {"oidReset", FIELD_IGNORED, 0, 0}};
    TRY(fields_parse("features", call->body, fields, 2, true, NULL, err));
    bbuild_int32(call->reply, "oidMachine", (int32_t) (get_le32(call->env->service.process_id + 4) & 0xffffff));
    return ST_OK;
}

static status run_free_monitoring(struct command_call *call, struct err *err) {
    TRY(parse_name_only(call, err));
    bbuild_str(call->reply, "state", "disabled");
    return ST_OK;
}

static status run_rw_concern(struct command_call *call, struct err *err) {
    static const struct field fields[] = {{"getDefaultRWConcern", FIELD_IGNORED, 0, FIELD_REQUIRED},
                                          {"inMemory", FIELD_IGNORED, 0, 0}};
    struct service_info *info;
    TRY(fields_parse("getDefaultRWConcern", call->body, fields, 2, true, NULL, err));
    if (replica_set_require(call, &info, NULL) != ST_OK)
        return RAISE_CODE(err, 51300, "'getDefaultRWConcern' is not supported on standalone nodes.");
    service_info_unref(info, db_mem(call->env->db));
    struct bbuild read = bbuild_open_doc(call->reply, SLICE_LIT("defaultReadConcern"));
    bbuild_str(&read, "level", "local");
    bbuild_close(&read);
    struct bbuild write = bbuild_open_doc(call->reply, SLICE_LIT("defaultWriteConcern"));
    bbuild_str(&write, "w", "majority");
    bbuild_int32(&write, "wtimeout", 0);
    bbuild_close(&write);
    bbuild_str(call->reply, "defaultReadConcernSource", "implicit");
    bbuild_str(call->reply, "defaultWriteConcernSource", "implicit");
    return ST_OK;
}

const struct command command_top = {.name = "top",
                                    .flags = COMMAND_ADMIN_ONLY,
                                    .run = run_top,
                                    .access = ACCESS_BY_MONITOR,
                                    .help = "Time spent by collection: not measured."};
const struct command command_conn_pool_stats = {.name = "connPoolStats",
                                                .run = run_pool,
                                                .access = ACCESS_BY_MONITOR,
                                                .help = "Connections to other servers: none."};
const struct command command_features = {.name = "features",
                                         .run = run_features,
                                         .access = ACCESS_ANYBODY,
                                         .help = "How the server was built."};
const struct command command_get_free_monitoring_status = {.name = "getFreeMonitoringStatus",
                                                           .flags = COMMAND_ADMIN_ONLY,
                                                           .run = run_free_monitoring,
                                                           .access = ACCESS_LOGGED_IN,
                                                           .help = "There is no free monitoring."};
const struct command command_get_default_rw_concern = {.name = "getDefaultRWConcern",
                                                       .flags = COMMAND_ADMIN_ONLY,
                                                       .run = run_rw_concern,
                                                       .access = ACCESS_LOGGED_IN,
                                                       .help = "The read and write concern when none is given."};
