/* The killCursors command. */
#include "base/codes.h"
#include "command/command.h"
#include "command/fields.h"

struct kill_cursors {
    struct slice collection;
    struct bdoc cursors;
};

static const struct field fields[] = {
    {"killCursors", FIELD_NAME, offsetof(struct kill_cursors, collection), FIELD_REQUIRED},
    {"cursors", FIELD_ARRAY, offsetof(struct kill_cursors, cursors), FIELD_REQUIRED},
};

static status run(struct command_call *call, struct err *err) {
    struct kill_cursors cmd = {.cursors = bdoc_empty};
    TRY(fields_parse("killCursors", call->body, fields, sizeof(fields) / sizeof(fields[0]), true, &cmd, err));
    uint32_t count = bdoc_count(cmd.cursors);
    bool *killed = arena_array(&call->op->arena, bool, count + 1);
    if (killed == NULL) return RAISE(err, ST_NOMEM, "no memory to kill %u cursors", count);
    struct biter it = biter_of(cmd.cursors);
    struct belem e;
    while (biter_next(&it, &e)) {
        if (e.value.type != B_INT64)
            return RAISE_CODE(err, CODE_TypeMismatch, "BSON field 'killCursors.cursors' must hold longs, found %s",
                              btype_name(e.value.type));
    }
    it = biter_of(cmd.cursors);
    for (uint32_t i = 0; biter_next(&it, &e); i++) killed[i] = cursors_kill(call->env->cursors, call->op->user, bval_int64(e.value));
    static const char *const names[] = {"cursorsKilled", "cursorsNotFound", "cursorsAlive", "cursorsUnknown"};
    for (int list = 0; list < 4; list++) {
        struct bbuild array = bbuild_open_array(call->reply, slice_str(names[list]));
        it = biter_of(cmd.cursors);
        for (uint32_t i = 0; biter_next(&it, &e); i++) {
            if (list < 2 && killed[i] == (list == 0)) bbuild_push(&array, e.value);
        }
        bbuild_close(&array);
    }
    return ST_OK;
}

const struct command command_kill_cursors = {.name = "killCursors",
                                             .flags = COMMAND_IN_TXN | COMMAND_API_V1,
                                             .run = run,
                                             .access = ACCESS_LOGGED_IN,
                                             .help = "Closes cursors."};
