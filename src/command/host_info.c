/* The hostInfo command: the machine. */
#include "os/host.h"

#include "command/fields.h"
#include "command/requests.h"
#include "doc/db.h"

static const struct field fields[] = {{"hostInfo", FIELD_IGNORED, 0, FIELD_REQUIRED}};

static void append_system(struct bbuild *reply, const struct host_info *host, int64_t now_ms) {
    struct bbuild b = bbuild_open_doc(reply, SLICE_LIT("system"));
    bbuild_date(&b, "currentTime", now_ms);
    bbuild_str(&b, "hostname", host->hostname);
    bbuild_int32(&b, "cpuAddrSize", (int32_t) sizeof(void *) * 8);
    bbuild_int64(&b, "memSizeMB", (int64_t) (host->memory_len >> 20));
    bbuild_int64(&b, "memLimitMB", (int64_t) (host->memory_len >> 20));
    bbuild_int32(&b, "numCores", (int32_t) host->core_count);
    bbuild_int32(&b, "numCoresAvailableToProcess", (int32_t) host->available_count);
    bbuild_str(&b, "cpuArch", host->arch);
    bbuild_bool(&b, "numaEnabled", false);
    bbuild_close(&b);
}

static status run(struct command_call *call, struct err *err) {
    struct env *env = db_env(call->env->db);
    struct host_info host;
    TRY(fields_parse("hostInfo", call->body, fields, 1, true, NULL, err));
    host_info(&host);
    append_system(call->reply, &host, (int64_t) env->ops->now_ms(env));
    struct bbuild os = bbuild_open_doc(call->reply, SLICE_LIT("os"));
    bbuild_str(&os, "type", host.os_type);
    bbuild_str(&os, "name", host.os_name);
    bbuild_str(&os, "version", host.os_version);
    bbuild_close(&os);
    struct bbuild extra = bbuild_open_doc(call->reply, SLICE_LIT("extra"));
    bbuild_str(&extra, "kernelVersion", host.kernel);
    bbuild_str(&extra, "cpuString", host.cpu);
    bbuild_int64(&extra, "pageSize", host.page_len);
    bbuild_close(&extra);
    return ST_OK;
}

const struct command command_host_info = {.name = "hostInfo",
                                          .run = run,
                                          .access = ACCESS_BY_MONITOR,
                                          .help = "The machine and its operating system."};
