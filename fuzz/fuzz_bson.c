/* Any bytes as BSON: what the check lets pass is walked, compared, hashed, written as JSON and read again. */
#include <stdlib.h>

#include "bson/check.h"
#include "bson/compare.h"
#include "bson/json.h"

static uint64_t walk(struct bdoc d) {
    struct biter it = biter_of(d);
    struct belem e;
    uint64_t sum = 0;
    while (biter_next(&it, &e)) {
        sum += e.name.len + bval_hash(e.value, sum);
        if (e.value.type == B_DOCUMENT || e.value.type == B_ARRAY) sum += walk(bval_doc(e.value));
    }
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    struct bdoc d, back;
    struct err err;
    if (bson_check(data, len, BSON_CHECK_UTF8, &d, &err) != ST_OK) return 0;
    (void) walk(d);
    if (bdoc_compare(d, d) != 0) abort();
    struct buf text, out;
    bool is_array;
    size_t used;
    buf_init(&text, mem_default());
    buf_init(&out, mem_default());
    json_write(d, false, JSON_CANONICAL, 0, &text);
    /* Documents that look like extended JSON ({"$oid": 5}) are the ones that need not come back. */
    if (json_parse(buf_slice(&text), JSON_STRICT, &out, &is_array, &used, &err) == ST_OK) {
        if (bson_check(out.p, out.len, BSON_CHECK_UTF8, &back, &err) != ST_OK) abort();
    } else if (memchr(text.p, '$', text.len) == NULL) {
        abort();
    }
    buf_release(&text);
    buf_release(&out);
    return 0;
}
