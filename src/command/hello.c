/* The hello command, and isMaster, its name of old: what a client must know of the server before anything else. It has no topologyVersion: clients then ask again
 * from time to time instead of waiting for news.
 *
 * The `client` document of a connection's first hello tells who is there; currentOp shows it. */
#include "base/codes.h"
#include "command/auth.h"
#include "command/fields.h"
#include "command/replica_set.h"
#include "command/requests.h"
#include "command/version.h"
#include "doc/db.h"

#define CLIENT_LEN_MAX 512
#define APP_NAME_LEN_MAX 128

struct hello {
    bool hello_ok;
    struct bval client;
    struct bdoc compression;
};

/* Generic fields are taken too; what is not known is let pass, as by MongoDB, whose clients of tomorrow ask this first. */
static const struct field fields[] = {
    {"helloOk", FIELD_BOOL, offsetof(struct hello, hello_ok), 0},
    {"client", FIELD_VALUE, offsetof(struct hello, client), 0},
    {"compression", FIELD_ARRAY, offsetof(struct hello, compression), 0},
};

static status parse(struct bdoc body, struct hello *out, struct err *err) {
    struct biter it = biter_of(body);
    struct belem e;
    while (biter_next(&it, &e)) {
        for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
            if (slice_equal(e.name, slice_str(fields[i].name))) TRY(field_read("hello", &fields[i], e.value, out, err));
        }
    }
    return ST_OK;
}

/* --- who is there --- */

static status missing(const char *field, struct err *err) {
    return RAISE_CODE(err, CODE_ClientMetadataMissingField,
                      "Missing required field '%s' in the client metadata document", field);
}

static status check_strings(struct bdoc doc, const char *const *names, const char *where, struct err *err) {
    for (int i = 0; names[i] != NULL; i++) {
        struct bval v = bdoc_get_str(doc, names[i]);
        if (v.type == B_MISSING) return missing(where, err);
        if (v.type != B_STRING)
            return RAISE_CODE(err, CODE_TypeMismatch,
                              "The '%s.%s' field must be a string in the client metadata document", where, names[i]);
    }
    return ST_OK;
}

static status check_client(struct bdoc doc, struct err *err) {
    static const char *const driver_fields[] = {"name", "version", NULL}, *const os_fields[] = {"type", NULL};
    struct bval application = bdoc_get_str(doc, "application"), driver = bdoc_get_str(doc, "driver"),
                os = bdoc_get_str(doc, "os");
    if (doc.len > CLIENT_LEN_MAX)
        return RAISE_CODE(err, CODE_ClientMetadataDocumentTooLarge,
                          "The client metadata document must be less then or equal to %d bytes", CLIENT_LEN_MAX);
    if (application.type == B_DOCUMENT) {
        struct bval name = bdoc_get_str(bval_doc(application), "name");
        if (name.type == B_STRING && bval_string(name).len > APP_NAME_LEN_MAX)
            return RAISE_CODE(err, CODE_ClientMetadataAppNameTooLarge,
                              "The 'client.application.name' field must be less then or equal to %d bytes in length",
                              APP_NAME_LEN_MAX);
    }
    if (driver.type != B_DOCUMENT) return missing("driver", err);
    if (os.type != B_DOCUMENT) return missing("os", err);
    TRY(check_strings(bval_doc(driver), driver_fields, "driver", err));
    return check_strings(bval_doc(os), os_fields, "os", err);
}

static status keep_client(struct command_call *call, struct bval told, struct err *err) {
    struct client *client = call->client;
    struct service *service = &call->env->service;
    if (told.type == B_MISSING) return ST_OK;
    if (told.type != B_DOCUMENT)
        return RAISE_CODE(err, CODE_TypeMismatch,
                          "The 'client' field is required to be a BSON document in the client metadata document");
    if (client->app.len != 0)
        return RAISE_CODE(err, CODE_ClientMetadataCannotBeMutated,
                          "The client metadata document may only be sent in the first hello");
    TRY(check_client(bval_doc(told), err));
    mutex_lock(&service->lock);
    bool is_kept = buf_append(&client->app, told.p, told.len);
    if (!is_kept) buf_clear(&client->app);
    mutex_unlock(&service->lock);
    return is_kept ? ST_OK : RAISE(err, ST_NOMEM, "no memory for the client's description");
}

/* --- the answer --- */

static bool contains(struct bdoc array, struct slice text) {
    struct biter it = biter_of(array);
    struct belem e;
    while (biter_next(&it, &e))
        if (e.value.type == B_STRING && slice_equal(bval_string(e.value), text)) return true;
    return false;
}

/* Those of the client's that the server has, in the client's order. */
static void append_compression(struct bbuild *reply, struct bdoc wanted, const struct service_info *info) {
    struct biter it = biter_of(wanted);
    struct belem e;
    struct bbuild array;
    bool is_open = false;
    while (biter_next(&it, &e)) {
        if (e.value.type != B_STRING || !contains(info->compressors, bval_string(e.value))) continue;
        if (!is_open) array = bbuild_open_array(reply, SLICE_LIT("compression"));
        is_open = true;
        bbuild_push(&array, e.value);
    }
    if (is_open) bbuild_close(&array);
}

static void append_limits(struct command_call *call) {
    struct env *env = db_env(call->env->db);
    struct bbuild *b = call->reply;
    bbuild_int32(b, "maxBsonObjectSize", (int32_t) BSON_LEN_MAX);
    bbuild_int32(b, "maxMessageSizeBytes", MESSAGE_LEN_MAX);
    bbuild_int32(b, "maxWriteBatchSize", WRITE_BATCH_MAX);
    bbuild_date(b, "localTime", (int64_t) env->ops->now_ms(env));
    bbuild_int32(b, "logicalSessionTimeoutMinutes", SESSION_MINUTES);
    bbuild_int32(b, "connectionId", (int32_t) call->client->id);
    bbuild_int32(b, "minWireVersion", 0);
    bbuild_int32(b, "maxWireVersion", WIRE_VERSION_MAX);
    bbuild_bool(b, "readOnly", db_is_read_only(call->env->db));
}

static bool is_asked_as_hello(struct bdoc body) {
    struct biter it = biter_of(body);
    struct belem first;
    return biter_next(&it, &first) && slice_equal(first.name, SLICE_LIT("hello"));
}

static status run(struct command_call *call, struct err *err) {
    struct hello cmd = {.client = BVAL_MISSING, .compression = bdoc_empty};
    TRY(parse(call->body, &cmd, err));
    TRY(keep_client(call, cmd.client, err));
    struct service_info *info = service_info_of(call->env);
    const char *primary = is_asked_as_hello(call->body) ? "isWritablePrimary" : "ismaster";
    if (cmd.hello_ok) bbuild_bool(call->reply, "helloOk", true);
    if (info != NULL && info->replica_set.len != 0) replica_set_hello(call, info);
    bbuild_bool(call->reply, primary, !db_is_read_only(call->env->db));
    append_limits(call);
    if (info != NULL) append_compression(call->reply, cmd.compression, info);
    service_info_unref(info, db_mem(call->env->db));
    return auth_hello(call, err);
}

const struct command command_hello = {.name = "hello",
                                      .flags = COMMAND_API_V1 | COMMAND_NO_SESSION,
                                      .run = run,
                                      .access = ACCESS_ANYBODY,
                                      .help = "What a client must know of the server."};
const struct command command_is_master = {.name = "isMaster",
                                          .flags = COMMAND_NO_SESSION,
                                          .run = run,
                                          .access = ACCESS_ANYBODY,
                                          .help = "hello, by its name of old."};
