/* JSON as people type it, for programs and the command. */
#include "bson/json.h"

#include "api/handles.h"
#include "base/codes.h"

static status parse(struct slice text, struct buf *buf, bool *is_array, size_t *used, struct err *err) {
    bool array = false;
    size_t n = 0;
    TRY(json_parse(text, JSON_SHELL, buf, &array, &n, err));
    if (array && is_array == NULL)
        return RAISE_CODE(err, CODE_FailedToParse, "a document is needed here, not an array");
    if (used == NULL && n != text.len)
        return RAISE_CODE(err, CODE_FailedToParse, "unexpected text after the document: '%.20s'",
                          (const char *) text.p + n);
    if (is_array != NULL) *is_array = array;
    if (used != NULL) *used = n;
    return ST_OK;
}

bool elmo_json_parse(const char *text, ssize_t len, bson_t *out, bool *is_array, size_t *used, bson_error_t *error) {
    struct err err = ERR_INIT;
    struct buf buf;
    buf_init(&buf, mem_default());
    status st = parse(slice_of(text, len < 0 ? strlen(text) : (size_t) len), &buf, is_array, used, &err);
    bool ok = api_answer(st, &err, st == ST_OK ? bdoc_of(buf.p) : (struct bdoc){0}, out, error);
    buf_release(&buf);
    return ok;
}
