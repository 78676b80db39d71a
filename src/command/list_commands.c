/* The listCommands command: the rows of commands.def. */
#include "command/fields.h"
#include "command/requests.h"

static void append_command(struct bbuild *b, const struct command *c) {
    struct bbuild row = bbuild_open_doc(b, slice_str(c->name));
    bbuild_str(&row, "help", c->help != NULL ? c->help : "");
    bbuild_bool(&row, "requiresAuth", (c->access & ACCESS_ANYBODY) == 0);
    bbuild_bool(&row, "secondaryOk", (c->flags & COMMAND_WRITES) == 0);
    bbuild_bool(&row, "adminOnly", (c->flags & COMMAND_ADMIN_ONLY) != 0);
    struct bbuild versions = bbuild_open_array(&row, SLICE_LIT("apiVersions"));
    if ((c->flags & COMMAND_API_V1) != 0) bbuild_push_slice(&versions, SLICE_LIT("1"));
    bbuild_close(&versions);
    struct bbuild deprecated = bbuild_open_array(&row, SLICE_LIT("deprecatedApiVersions"));
    bbuild_close(&deprecated);
    bbuild_close(&row);
}

static status run(struct command_call *call, struct err *err) {
    static const struct field fields[] = {{"listCommands", FIELD_IGNORED, 0, FIELD_REQUIRED}};
    TRY(fields_parse("listCommands", call->body, fields, 1, true, NULL, err));
    struct bbuild b = bbuild_open_doc(call->reply, SLICE_LIT("commands"));
    size_t count;
    const struct command *const *commands = command_rows(&count);
    for (size_t i = 0; i < count; i++)
        if (commands[i]->run != NULL) append_command(&b, commands[i]);
    bbuild_close(&b);
    return ST_OK;
}

const struct command command_list_commands = {.name = "listCommands",
                                              .run = run,
                                              .access = ACCESS_ANYBODY,
                                              .help = "The commands that there are."};
