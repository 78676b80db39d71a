/* replSetGetStatus, replSetGetConfig, replSetInitiate, replSetReconfig and hello's part, for a set whose one member is this process: it is the primary from its start, by
 * an election that it has always won. What it reports as its last operation is the moment of asking: there is nobody to lag behind. */
#include "command/replica_set.h"

#include "base/codes.h"
#include "command/fields.h"
#include "doc/db.h"

#define TERM 1
#define CONFIG_VERSION 1

static const uint8_t election_id[12] = {0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, TERM};

static uint64_t now_ms(const struct command_call *call) {
    struct env *env = db_env(call->env->db);
    return env->ops->now_ms(env);
}

static void append_optime(struct bbuild *b, struct slice name, uint64_t at_ms) {
    struct bbuild t = bbuild_open_doc(b, name);
    bbuild_timestamp(&t, "ts", (uint32_t) (at_ms / 1000), 1);
    bbuild_int64(&t, "t", TERM);
    bbuild_close(&t);
}

static void append_last_write(struct bbuild *b, uint64_t at_ms) {
    struct bbuild last = bbuild_open_doc(b, SLICE_LIT("lastWrite"));
    append_optime(&last, SLICE_LIT("opTime"), at_ms);
    bbuild_date(&last, "lastWriteDate", (int64_t) (at_ms / 1000 * 1000));
    append_optime(&last, SLICE_LIT("majorityOpTime"), at_ms);
    bbuild_date(&last, "majorityWriteDate", (int64_t) (at_ms / 1000 * 1000));
    bbuild_close(&last);
}

static void append_hosts(struct bbuild *b, const struct service_info *info) {
    struct bbuild hosts = bbuild_open_array(b, SLICE_LIT("hosts"));
    bbuild_slice(&hosts, "0", info->host);
    bbuild_close(&hosts);
}

void replica_set_hello(struct command_call *call, const struct service_info *info) {
    struct bbuild *b = call->reply;
    append_hosts(b, info);
    bbuild_slice(b, "setName", info->replica_set);
    bbuild_int32(b, "setVersion", CONFIG_VERSION);
    bbuild_bool(b, "secondary", false);
    bbuild_slice(b, "primary", info->host);
    bbuild_slice(b, "me", info->host);
    bbuild_object_id(b, "electionId", election_id);
    append_last_write(b, now_ms(call));
}

void replica_set_status(struct bbuild *b, struct command_call *call, const struct service_info *info) {
    struct bbuild repl = bbuild_open_doc(b, SLICE_LIT("repl"));
    append_hosts(&repl, info);
    bbuild_slice(&repl, "setName", info->replica_set);
    bbuild_int32(&repl, "setVersion", CONFIG_VERSION);
    bbuild_bool(&repl, "isWritablePrimary", true);
    bbuild_bool(&repl, "secondary", false);
    bbuild_slice(&repl, "primary", info->host);
    bbuild_slice(&repl, "me", info->host);
    bbuild_object_id(&repl, "electionId", election_id);
    append_last_write(&repl, now_ms(call));
    bbuild_close(&repl);
}

status replica_set_require(struct command_call *call, struct service_info **info, struct err *err) {
    struct service_info *i = service_info_of(call->env);
    if (i != NULL && i->replica_set.len != 0) {
        *info = i;
        return ST_OK;
    }
    service_info_unref(i, db_mem(call->env->db));
    return RAISE_CODE(err, CODE_NoReplicationEnabled, "not running with --replSet");
}

/* --- replSetGetStatus --- */

static void append_member(struct bbuild *array, const struct command_call *call, const struct service_info *info) {
    struct env *env = db_env(call->env->db);
    const struct service *s = &call->env->service;
    uint64_t now = now_ms(call);
    struct bbuild m = bbuild_push_doc(array);
    bbuild_int32(&m, "_id", 0);
    bbuild_slice(&m, "name", info->host);
    bbuild_double(&m, "health", 1);
    bbuild_int32(&m, "state", 1);
    bbuild_str(&m, "stateStr", "PRIMARY");
    bbuild_int32(&m, "uptime", (int32_t) ((env->ops->monotonic_ns(env) - s->opened_ns) / 1000000000));
    append_optime(&m, SLICE_LIT("optime"), now);
    bbuild_date(&m, "optimeDate", (int64_t) (now / 1000 * 1000));
    bbuild_timestamp(&m, "electionTime", (uint32_t) (s->opened_at_ms / 1000), 1);
    bbuild_date(&m, "electionDate", (int64_t) (s->opened_at_ms / 1000 * 1000));
    bbuild_int32(&m, "configVersion", CONFIG_VERSION);
    bbuild_int32(&m, "configTerm", TERM);
    bbuild_bool(&m, "self", true);
    bbuild_str(&m, "lastHeartbeatMessage", "");
    bbuild_close(&m);
}

static status run_status(struct command_call *call, struct err *err) {
    static const struct field fields[] = {{"replSetGetStatus", FIELD_IGNORED, 0, FIELD_REQUIRED},
                                          {"initialSync", FIELD_IGNORED, 0, 0}};
    struct service_info *info;
    TRY(fields_parse("replSetGetStatus", call->body, fields, 2, true, NULL, err));
    TRY(replica_set_require(call, &info, err));
    struct bbuild *b = call->reply;
    uint64_t now = now_ms(call);
    bbuild_slice(b, "set", info->replica_set);
    bbuild_date(b, "date", (int64_t) now);
    bbuild_int32(b, "myState", 1);
    bbuild_int64(b, "term", TERM);
    bbuild_int64(b, "heartbeatIntervalMillis", 2000);
    bbuild_int32(b, "majorityVoteCount", 1);
    bbuild_int32(b, "writeMajorityCount", 1);
    bbuild_int32(b, "votingMembersCount", 1);
    bbuild_int32(b, "writableVotingMembersCount", 1);
    struct bbuild optimes = bbuild_open_doc(b, SLICE_LIT("optimes"));
    static const char *const names[] = {"lastCommittedOpTime", "readConcernMajorityOpTime", "appliedOpTime",
                                        "durableOpTime"};
    for (int i = 0; i < 4; i++) append_optime(&optimes, slice_str(names[i]), now);
    bbuild_close(&optimes);
    struct bbuild members = bbuild_open_array(b, SLICE_LIT("members"));
    append_member(&members, call, info);
    bbuild_close(&members);
    service_info_unref(info, db_mem(call->env->db));
    return ST_OK;
}

/* --- replSetGetConfig --- */

static void append_config_member(struct bbuild *config, const struct service_info *info) {
    struct bbuild members = bbuild_open_array(config, SLICE_LIT("members"));
    struct bbuild m = bbuild_push_doc(&members);
    bbuild_int32(&m, "_id", 0);
    bbuild_slice(&m, "host", info->host);
    bbuild_bool(&m, "arbiterOnly", false);
    bbuild_bool(&m, "buildIndexes", true);
    bbuild_bool(&m, "hidden", false);
    bbuild_double(&m, "priority", 1);
    bbuild_doc(&m, "tags", bdoc_empty);
    bbuild_int64(&m, "secondaryDelaySecs", 0);
    bbuild_int32(&m, "votes", 1);
    bbuild_close(&m);
    bbuild_close(&members);
}

static status run_get_config(struct command_call *call, struct err *err) {
    static const struct field fields[] = {{"replSetGetConfig", FIELD_IGNORED, 0, FIELD_REQUIRED},
                                          {"commitmentStatus", FIELD_IGNORED, 0, 0},
                                          {"includeNewlyAdded", FIELD_IGNORED, 0, 0}};
    struct service_info *info;
    TRY(fields_parse("replSetGetConfig", call->body, fields, 3, true, NULL, err));
    TRY(replica_set_require(call, &info, err));
    struct bbuild config = bbuild_open_doc(call->reply, SLICE_LIT("config"));
    bbuild_slice(&config, "_id", info->replica_set);
    bbuild_int32(&config, "version", CONFIG_VERSION);
    bbuild_int32(&config, "term", TERM);
    append_config_member(&config, info);
    bbuild_int64(&config, "protocolVersion", 1);
    bbuild_bool(&config, "writeConcernMajorityJournalDefault", true);
    struct bbuild settings = bbuild_open_doc(&config, SLICE_LIT("settings"));
    bbuild_bool(&settings, "chainingAllowed", true);
    bbuild_int32(&settings, "heartbeatIntervalMillis", 2000);
    bbuild_int32(&settings, "heartbeatTimeoutSecs", 10);
    bbuild_int32(&settings, "electionTimeoutMillis", 10000);
    bbuild_object_id(&settings, "replicaSetId", call->env->service.process_id);
    bbuild_close(&settings);
    bbuild_close(&config);
    service_info_unref(info, db_mem(call->env->db));
    return ST_OK;
}

/* --- what would change the set --- */

static status run_initiate(struct command_call *call, struct err *err) {
    struct service_info *info;
    TRY(replica_set_require(call, &info, err));
    service_info_unref(info, db_mem(call->env->db));
    return RAISE_CODE(err, CODE_AlreadyInitialized, "already initialized");
}

/* The configuration that is there already is fine, by itself or as replSetGetConfig wraps it. */
static status run_reconfig(struct command_call *call, struct err *err) {
    struct service_info *info;
    struct bval config = bdoc_get_str(call->body, "replSetReconfig");
    TRY(replica_set_require(call, &info, err));
    if (config.type == B_DOCUMENT && bdoc_get_str(bval_doc(config), "config").type == B_DOCUMENT)
        config = bdoc_get_str(bval_doc(config), "config");
    struct bdoc doc = config.type == B_DOCUMENT ? bval_doc(config) : bdoc_empty;
    struct bval id = bdoc_get_str(doc, "_id"), members = bdoc_get_str(doc, "members");
    bool is_ours = id.type == B_STRING && slice_equal(bval_string(id), info->replica_set);
    bool is_one = members.type == B_ARRAY && bdoc_count(bval_doc(members)) == 1;
    service_info_unref(info, db_mem(call->env->db));
    if (is_ours && is_one) return ST_OK;
    return RAISE_CODE(err, CODE_NewReplicaSetConfigurationIncompatible,
                      "this replica set has one member, and no other configuration");
}

const struct command command_repl_set_get_status = {.name = "replSetGetStatus",
                                                    .flags = COMMAND_ADMIN_ONLY,
                                                    .run = run_status,
                                                    .access = ACCESS_LOGGED_IN,
                                                    .help = "The state of the replica set of one."};
const struct command command_repl_set_get_config = {.name = "replSetGetConfig",
                                                    .flags = COMMAND_ADMIN_ONLY,
                                                    .run = run_get_config,
                                                    .access = ACCESS_LOGGED_IN,
                                                    .help = "The configuration of the replica set of one."};
const struct command command_repl_set_initiate = {.name = "replSetInitiate",
                                                  .flags = COMMAND_ADMIN_ONLY,
                                                  .run = run_initiate,
                                                  .help = "The replica set is there from the start."};
const struct command command_repl_set_reconfig = {.name = "replSetReconfig",
                                                  .flags = COMMAND_ADMIN_ONLY,
                                                  .run = run_reconfig,
                                                  .help = "Takes the configuration that is there."};
