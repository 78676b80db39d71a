/* The ping command. */
#include "command/command.h"

static status run(struct command_call *call, struct err *err) {
    (void) call;
    (void) err;
    return ST_OK;
}

const struct command command_ping = {
    .name = "ping", .flags = COMMAND_API_V1, .run = run, .access = ACCESS_ANYBODY, .help = "Answers."};
