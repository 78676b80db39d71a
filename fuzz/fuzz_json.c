/* Any text as JSON, in both dialects: what is read is valid BSON, and its own text reads as the same. */
#include <stdlib.h>

#include "bson/check.h"
#include "bson/compare.h"
#include "bson/json.h"

static void try_dialect(struct slice text, enum json_dialect dialect) {
    struct buf first, again, written;
    struct bdoc d;
    struct err err;
    bool is_array;
    size_t used;
    buf_init(&first, mem_default());
    buf_init(&again, mem_default());
    buf_init(&written, mem_default());
    if (json_parse(text, dialect, &first, &is_array, &used, &err) == ST_OK) {
        if (used > text.len || bson_check(first.p, first.len, BSON_CHECK_UTF8, &d, &err) != ST_OK) abort();
        json_write(d, is_array, JSON_CANONICAL, 2, &written);
        if (json_parse(buf_slice(&written), JSON_STRICT, &again, &is_array, &used, &err) != ST_OK) abort();
        if (bdoc_compare(d, bdoc_of(again.p)) != 0) abort();
    } else if (err.code == 0 || first.len != 0) {
        abort();
    }
    buf_release(&first);
    buf_release(&again);
    buf_release(&written);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    try_dialect(slice_of(data, len), JSON_STRICT);
    try_dialect(slice_of(data, len), JSON_SHELL);
    return 0;
}
