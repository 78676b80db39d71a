/* The getLog command: the last lines of the server's log. Lines are as the server gave them; one that is no JSON is wrapped into a line of mongod's kind, for clients
 * that parse them. */
#include "bson/date.h"

#include "base/codes.h"
#include "command/fields.h"
#include "command/requests.h"

static bool is_json(const char *line) { return line[0] == '{'; }

static void append_escaped(struct buf *out, const char *text) {
    for (const char *p = text; *p != '\0'; p++) {
        if (*p == '"' || *p == '\\') buf_append_format(out, "\\%c", *p);
        else if ((unsigned char) *p < 0x20) buf_append_format(out, "\\u%04x", (unsigned) *p);
        else buf_append_u8(out, (uint8_t) *p);
    }
}

static void wrap_line(struct buf *out, const struct service *s, const char *line, bool is_warning) {
    char at[32];
    if (!date_to_text_ms((int64_t) s->opened_at_ms, at)) at[0] = '\0';
    buf_clear(out);
    buf_append_slice(out, SLICE_LIT("{\"t\":{\"$date\":\""));
    buf_append_slice(out, slice_str(at));
    buf_append_format(out, "\"},\"s\":\"%s\",\"c\":\"CONTROL\",\"id\":0,\"ctx\":\"elmo\",\"msg\":\"",
                      is_warning ? "W" : "I");
    append_escaped(out, line);
    buf_append_slice(out, SLICE_LIT("\"}"));
}

/* With the service locked. Answers how many lines were ever written. */
static uint64_t append_lines(const struct service *s, bool warnings_only, struct bbuild *array, struct buf *scratch) {
    uint64_t total = 0, first = s->line_count > LOG_LINES_MAX ? s->line_count - LOG_LINES_MAX : 0;
    for (uint64_t i = first; i < s->line_count; i++) {
        const char *line = s->lines[i % LOG_LINES_MAX].text;
        bool is_warning = s->lines[i % LOG_LINES_MAX].is_warning;
        if (line == NULL || (warnings_only && !is_warning)) continue;
        total++;
        if (is_json(line)) {
            bbuild_push_slice(array, slice_str(line));
            continue;
        }
        wrap_line(scratch, s, line, is_warning);
        if (scratch->failed) array->buf->failed = true;
        else bbuild_push_slice(array, buf_slice(scratch));
    }
    return warnings_only ? total : s->line_count;
}

static void append_names(struct bbuild *reply) {
    struct bbuild names = bbuild_open_array(reply, SLICE_LIT("names"));
    bbuild_push_slice(&names, SLICE_LIT("global"));
    bbuild_push_slice(&names, SLICE_LIT("startupWarnings"));
    bbuild_close(&names);
}

static status run(struct command_call *call, struct err *err) {
    struct service *s = &call->env->service;
    struct buf scratch;
    struct bval which = bdoc_get_str(call->body, "getLog");
    if (which.type != B_STRING)
        return RAISE_CODE(err, CODE_TypeMismatch, "Argument to getLog must be of type String; found type %s",
                          btype_name(which.type));
    struct slice name = bval_string(which);
    bool warnings_only = slice_equal(name, SLICE_LIT("startupWarnings"));
    if (slice_equal(name, SLICE_LIT("*"))) {
        append_names(call->reply);
        return ST_OK;
    }
    if (!warnings_only && !slice_equal(name, SLICE_LIT("global")))
        return RAISE_CODE(err, CODE_OperationFailed, "No log named '%.*s'", (int) name.len, (const char *) name.p);
    buf_init(&scratch, call->op->mem);
    struct bbuild array = bbuild_open_array(call->reply, SLICE_LIT("log"));
    mutex_lock(&s->lock);
    uint64_t total = append_lines(s, warnings_only, &array, &scratch);
    mutex_unlock(&s->lock);
    bbuild_close(&array);
    bbuild_int32(call->reply, "totalLinesWritten", (int32_t) total);
    buf_release(&scratch);
    return ST_OK;
}

const struct command command_get_log = {.name = "getLog",
                                        .flags = COMMAND_ADMIN_ONLY,
                                        .run = run,
                                        .access = ACCESS_BY_MONITOR,
                                        .help = "The last lines of the log."};
