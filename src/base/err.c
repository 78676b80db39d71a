/* Status texts and the one place that writes an error. */
#include "base/err.h"

#include <stdio.h>

static const struct {
    int32_t code;
    const char *text;
} rows[ST_COUNT] = {
#define X(name, code, text) [name] = {code, text},
#include "base/status.def"
#undef X
};

const char *status_text(status st) { return (unsigned) st < ST_COUNT ? rows[st].text : "unknown status"; }

int32_t status_code(status st) { return (unsigned) st < ST_COUNT ? rows[st].code : 8; }

status err_raise(struct err *err, status st, int32_t code, const char *file, int line, const char *fmt, ...) {
    if (err == NULL) return st;
    err->st = st;
    err->code = code != 0 ? code : status_code(st);
    err->labels = st == ST_CONFLICT || st == ST_STALE ? ERR_TRANSIENT
        : st == ST_OUTCOME_UNKNOWN                    ? ERR_UNKNOWN_COMMIT
                                                      : 0;
    err->file = file;
    err->line = line;
    err->details = NULL;
    err->details_len = 0;
    va_list ap;
    va_start(ap, fmt);
    (void) vsnprintf(err->text, sizeof(err->text), fmt, ap);
    va_end(ap);
    return st;
}

void err_clear(struct err *err) {
    if (err != NULL) *err = ERR_INIT;
}
