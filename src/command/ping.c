/* The ping and buildInfo commands: they touch no data. */
#include "command/command.h"

static status run_ping(struct command_call *call, struct err *err) {
    (void) call;
    (void) err;
    return ST_OK;
}

/* MongoDB's version first: clients decide by it what they may send. */
static status run_build_info(struct command_call *call, struct err *err) {
    (void) err;
    bbuild_str(call->reply, "version", "7.0.0");
    bbuild_str(call->reply, "elmoVersion", call->env->version);
    struct bbuild array = bbuild_open_array(call->reply, SLICE_LIT("versionArray"));
    bbuild_int32(&array, "0", 7);
    bbuild_int32(&array, "1", 0);
    bbuild_int32(&array, "2", 0);
    bbuild_int32(&array, "3", 0);
    bbuild_close(&array);
    bbuild_int32(call->reply, "bits", (int32_t) sizeof(void *) * 8);
    bbuild_bool(call->reply, "debug", false);
    bbuild_int32(call->reply, "maxBsonObjectSize", (int32_t) BSON_LEN_MAX);
    struct bbuild engines = bbuild_open_array(call->reply, SLICE_LIT("storageEngines"));
    static const uint8_t elmo[] = "\x05\0\0\0elmo";
    bbuild_push(&engines, (struct bval){elmo, sizeof(elmo), B_STRING});
    bbuild_close(&engines);
    return ST_OK;
}

const struct command command_ping = {
    .name = "ping", .flags = COMMAND_API_V1, .run = run_ping, .access = ACCESS_ANYBODY, .help = "Answers."};
const struct command command_build_info = {.name = "buildInfo",
                                           .run = run_build_info,
                                           .access = ACCESS_ANYBODY,
                                           .help = "The version and what it is built of."};
