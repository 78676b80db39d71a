/* The serverStatus command: a document of sections, each of which the caller may leave out ({metrics: 0}). */
#include "command/fields.h"
#include "command/replica_set.h"
#include "command/requests.h"
#include "command/version.h"
#include "doc/db.h"
#include "os/host.h"

#define CONNECTIONS_DEFAULT 10000 /* when nobody said how many are allowed */

struct status_call {
    struct command_call *call;
    struct service_info *info; /* NULL: not served */
    struct process_info process;
    uint64_t client_count, clients_created, running_count, current_op_id;
};

static void append_count(struct bbuild *b, const char *name, uint64_t n) { bbuild_int64(b, name, (int64_t) n); }

static void append_asserts(struct status_call *s, struct bbuild *b) {
    static const char *const none[] = {"regular", "warning", "msg"}, *const rest[] = {"tripwire", "rollovers"};
    for (int i = 0; i < 3; i++) bbuild_int32(b, none[i], 0);
    bbuild_int32(b, "user", (int32_t) atomic_load_explicit(&s->call->env->service.asserts_user, memory_order_relaxed));
    for (int i = 0; i < 2; i++) bbuild_int32(b, rest[i], 0);
}

static void append_connections(struct status_call *s, struct bbuild *b) {
    int64_t max = s->info != NULL && s->info->max_connections > 0 ? s->info->max_connections : CONNECTIONS_DEFAULT;
    int64_t available = max - (int64_t) s->client_count;
    bbuild_int32(b, "current", (int32_t) s->client_count);
    bbuild_int32(b, "available", (int32_t) (available > 0 ? available : 0));
    bbuild_int32(b, "totalCreated", (int32_t) s->clients_created);
    bbuild_int32(b, "active", (int32_t) s->running_count);
    bbuild_int32(b, "exhaustIsMaster", 0);
    bbuild_int32(b, "exhaustHello", 0);
    bbuild_int32(b, "awaitingTopologyChanges", 0);
}

static void append_extra(struct status_call *s, struct bbuild *b) {
    bbuild_str(b, "note", "fields vary by platform");
    append_count(b, "user_time_us", s->process.user_us);
    append_count(b, "system_time_us", s->process.system_us);
    append_count(b, "maximum_resident_set_kb", s->process.max_resident_len / 1024);
    append_count(b, "page_faults", s->process.page_faults);
}

/* Nothing waits for a global lock: there is none. */
static void append_global_lock(struct status_call *s, struct bbuild *b) {
    struct env *env = db_env(s->call->env->db);
    append_count(b, "totalTime", (env->ops->monotonic_ns(env) - s->call->env->service.opened_ns) / 1000);
    struct bbuild queue = bbuild_open_doc(b, SLICE_LIT("currentQueue"));
    static const char *const names[] = {"total", "readers", "writers"};
    for (int i = 0; i < 3; i++) bbuild_int32(&queue, names[i], 0);
    bbuild_close(&queue);
    struct bbuild active = bbuild_open_doc(b, SLICE_LIT("activeClients"));
    bbuild_int32(&active, "total", (int32_t) s->running_count);
    bbuild_int32(&active, "readers", 0);
    bbuild_int32(&active, "writers", 0);
    bbuild_close(&active);
}

static void append_mem(struct status_call *s, struct bbuild *b) {
    bbuild_int32(b, "bits", (int32_t) sizeof(void *) * 8);
    bbuild_int32(b, "resident", (int32_t) (s->process.resident_len >> 20));
    bbuild_int32(b, "virtual", (int32_t) (s->process.virtual_len >> 20));
    bbuild_bool(b, "supported", true);
}

static void append_metrics(struct status_call *s, struct bbuild *b) {
    struct bbuild cursor = bbuild_open_doc(b, SLICE_LIT("cursor"));
    struct bbuild open = bbuild_open_doc(&cursor, SLICE_LIT("open"));
    append_count(&open, "total", cursors_count(s->call->env->cursors));
    bbuild_close(&open);
    bbuild_close(&cursor);
}

static void append_network(struct status_call *s, struct bbuild *b) {
    uint64_t requests = 0;
    for (int i = 0; i < OPCOUNT_COUNT; i++)
        requests += atomic_load_explicit(&s->call->env->service.counters[i], memory_order_relaxed);
    append_count(b, "numRequests", requests);
}

static void append_opcounters(struct status_call *s, struct bbuild *b) {
    static const struct {
        const char *name;
        enum opcounter which;
    } rows[] = {
        {"insert", OPCOUNT_INSERT}, {"query", OPCOUNT_QUERY},     {"update", OPCOUNT_UPDATE},
        {"delete", OPCOUNT_DELETE}, {"getmore", OPCOUNT_GETMORE}, {"command", OPCOUNT_COMMAND},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        append_count(b, rows[i].name,
                     atomic_load_explicit(&s->call->env->service.counters[rows[i].which], memory_order_relaxed));
}

static void append_storage(struct status_call *s, struct bbuild *b) {
    struct storage_stat storage = {0};
    struct command_env *env = s->call->env;
    if (env->storage_stat != NULL) env->storage_stat(env->storage_ctx, &storage);
    bbuild_str(b, "name", "elmo");
    bbuild_bool(b, "supportsCommittedReads", true);
    bbuild_bool(b, "supportsPendingDrops", false);
    bbuild_bool(b, "supportsSnapshotReadConcern", true);
    bbuild_bool(b, "readOnly", db_is_read_only(env->db));
    bbuild_bool(b, "persistent", !storage.is_in_memory);
    append_count(b, "fileBytes", storage.file_len);
    append_count(b, "usedBytes", storage.used_len);
    append_count(b, "freeBytes", storage.free_len);
}

static const struct section {
    const char *name;
    void (*append)(struct status_call *s, struct bbuild *b);
} sections[] = {
    {"asserts", append_asserts},
    {"connections", append_connections},
    {"extra_info", append_extra},
    {"globalLock", append_global_lock},
    {"mem", append_mem},
    {"metrics", append_metrics},
    {"network", append_network},
    {"opcounters", append_opcounters},
    {"storageEngine", append_storage},
};

static bool is_wanted(struct bdoc body, const char *section) {
    struct bval v = bdoc_get_str(body, section);
    return v.type == B_MISSING || bval_truthy(v);
}

static void append_head(struct status_call *s, struct bbuild *b) {
    struct env *env = db_env(s->call->env->db);
    uint64_t up_ms = (env->ops->monotonic_ns(env) - s->call->env->service.opened_ns) / 1000000;
    struct host_info host;
    host_info(&host);
    if (s->info != NULL && s->info->host.len != 0) bbuild_slice(b, "host", s->info->host);
    else bbuild_str(b, "host", host.hostname);
    bbuild_str(b, "version", MONGODB_VERSION);
    bbuild_str(b, "elmoVersion", s->call->env->version);
    bbuild_str(b, "process", "mongod");
    append_count(b, "pid", s->process.pid);
    bbuild_double(b, "uptime", (double) (up_ms / 1000));
    append_count(b, "uptimeMillis", up_ms);
    append_count(b, "uptimeEstimate", up_ms / 1000);
    bbuild_date(b, "localTime", (int64_t) env->ops->now_ms(env));
}

static void look_at_clients(struct status_call *s) {
    struct service *service = &s->call->env->service;
    mutex_lock(&service->lock);
    s->client_count = service->client_count;
    s->clients_created = service->clients_created;
    for (const struct client *c = service->clients; c != NULL; c = c->next)
        if (c->running != NULL) s->running_count++;
    mutex_unlock(&service->lock);
}

static status run(struct command_call *call, struct err *err) {
    struct status_call s = {.call = call, .info = service_info_of(call->env)};
    (void) err;
    process_info(&s.process);
    look_at_clients(&s);
    append_head(&s, call->reply);
    for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++) {
        if (!is_wanted(call->body, sections[i].name)) continue;
        struct bbuild b = bbuild_open_doc(call->reply, slice_str(sections[i].name));
        sections[i].append(&s, &b);
        bbuild_close(&b);
    }
    if (s.info != NULL && s.info->replica_set.len != 0 && is_wanted(call->body, "repl"))
        replica_set_status(call->reply, call, s.info);
    service_info_unref(s.info, db_mem(call->env->db));
    return ST_OK;
}

const struct command command_server_status = {.name = "serverStatus",
                                              .run = run,
                                              .access = ACCESS_BY_MONITOR,
                                              .help = "What the server does and has done."};
