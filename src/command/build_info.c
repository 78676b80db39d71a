/* The buildInfo command: MongoDB's version first, for clients decide by it what they may send; elmo's own beside it. */
#include "command/command.h"
#include "command/version.h"

static void append_version(struct bbuild *b) {
    struct bbuild array = bbuild_open_array(b, SLICE_LIT("versionArray"));
    bbuild_int32(&array, "0", MONGODB_VERSION_MAJOR);
    bbuild_int32(&array, "1", MONGODB_VERSION_MINOR);
    bbuild_int32(&array, "2", MONGODB_VERSION_PATCH);
    bbuild_int32(&array, "3", 0);
    bbuild_close(&array);
}

static status run(struct command_call *call, struct err *err) {
    struct bbuild *b = call->reply;
    (void) err;
    bbuild_str(b, "version", MONGODB_VERSION);
    bbuild_str(b, "elmoVersion", call->env->version);
    bbuild_str(b, "gitVersion", "elmo");
    struct bbuild modules = bbuild_open_array(b, SLICE_LIT("modules"));
    bbuild_close(&modules);
    bbuild_str(b, "allocator", "system");
    bbuild_str(b, "javascriptEngine", "none");
    bbuild_str(b, "sysInfo", "deprecated");
    append_version(b);
    struct bbuild environment = bbuild_open_doc(b, SLICE_LIT("buildEnvironment"));
    bbuild_str(&environment, "cc", "cc: " __VERSION__);
    bbuild_str(&environment, "target_os", "linux");
    bbuild_close(&environment);
    bbuild_int32(b, "bits", (int32_t) sizeof(void *) * 8);
    bbuild_bool(b, "debug", false);
    bbuild_int32(b, "maxBsonObjectSize", (int32_t) BSON_LEN_MAX);
    struct bbuild engines = bbuild_open_array(b, SLICE_LIT("storageEngines"));
    bbuild_push_slice(&engines, SLICE_LIT("elmo"));
    bbuild_close(&engines);
    return ST_OK;
}

const struct command command_build_info = {.name = "buildInfo",
                                           .flags = COMMAND_NO_SESSION,
                                           .run = run,
                                           .access = ACCESS_ANYBODY,
                                           .help = "The version and what it is built of."};
