/* Keys. The first byte chooses: any bytes are decoded, and what they decode to encodes to them again; or the bytes are two BSON documents,
 * whose values must order as their keys do and come back from them. */
#include <stdlib.h>

#include "bson/build.h"
#include "bson/check.h"
#include "bson/compare.h"
#include "index/key.h"

static void decode_any(struct slice key, bool descending) {
    struct buf out, again;
    struct bval v;
    struct err err;
    struct slice rest = key;
    size_t len = key_field_len(key, descending);
    buf_init(&out, mem_default());
    buf_init(&again, mem_default());
    if (key_decode_field(&rest, descending, NULL, &out, &v, &err) == ST_OK) {
        if (len != key.len - rest.len) abort();
        key_append(&again, v, descending);
        if (!slice_equal(buf_slice(&again), slice_of(key.p, len))) abort();
    }
    buf_release(&out);
    buf_release(&again);
}

static void round_trip(struct bval v, struct buf *key, bool descending) {
    struct buf side, out;
    struct bval back;
    struct err err;
    buf_init(&side, mem_default());
    buf_init(&out, mem_default());
    key_append(key, v, descending);
    key_append_side(&side, v);
    struct slice k = buf_slice(key), s = buf_slice(&side);
    if (key_decode_field(&k, descending, &s, &out, &back, &err) != ST_OK || k.len != 0 || s.len != 0) abort();
    if (!bval_identical(v, back) && v.type != B_ARRAY && v.type != B_DOCUMENT) abort(); /* arrays in them get their names anew */
    if (bval_compare(v, back) != 0) abort();
    buf_release(&side);
    buf_release(&out);
}

static void compare_docs(const uint8_t *data, size_t len, bool descending) {
    struct bdoc a, b;
    struct err err;
    if (len < 10) return;
    uint32_t a_len = get_le32(data);
    if (a_len < 5 || a_len >= len) return;
    if (bson_check(data, a_len, 0, &a, &err) != ST_OK || bson_check(data + a_len, len - a_len, 0, &b, &err) != ST_OK) return;
    struct buf ka, kb;
    buf_init(&ka, mem_default());
    buf_init(&kb, mem_default());
    round_trip((struct bval){a.p, a.len, B_DOCUMENT}, &ka, descending);
    round_trip((struct bval){b.p, b.len, B_DOCUMENT}, &kb, descending);
    int want = bdoc_compare(a, b), got = slice_compare(buf_slice(&ka), buf_slice(&kb));
    got = (got > 0) - (got < 0);
    if (got != (descending ? -want : want)) abort();
    buf_release(&ka);
    buf_release(&kb);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    if (len < 1) return 0;
    if (data[0] & 2) decode_any(slice_of(data + 1, len - 1), data[0] & 1);
    else compare_docs(data + 1, len - 1, data[0] & 1);
    return 0;
}
