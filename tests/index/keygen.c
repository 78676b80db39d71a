/* Keys of documents: MongoDB's rules for arrays and missing fields, by table; sets and their differences. */
#include "index/keygen.h"

#include <criterion/criterion.h>

#include "base/codes.h"
#include "index/key.h"
#include "support/random_bson.h"

static struct bdoc key_pattern(struct buf *buf, const char *a, const char *b) {
    struct bbuild outer;
    bbuild_begin(&outer, buf);
    struct bbuild key = bbuild_open_doc(&outer, SLICE_LIT("key"));
    bbuild_int32(&key, a, 1);
    if (b != NULL) bbuild_int32(&key, b, -1);
    bbuild_close(&key);
    return bbuild_finish(&outer);
}

Test(keygen, gives_one_key_for_a_scalar) {
    struct arena arena;
    struct buf spec_buf, doc_buf, want;
    struct index_spec spec;
    struct key_set set;
    struct err err;
    arena_init(&arena, mem_default());
    buf_init(&spec_buf, mem_default());
    buf_init(&doc_buf, mem_default());
    buf_init(&want, mem_default());
    cr_assert_eq(index_spec_parse(&arena, key_pattern(&spec_buf, "a", "b.c"), &spec, &err), ST_OK, "%s", err.text);
    cr_assert(slice_equal(spec.name, SLICE_LIT("a_1_b.c_-1")));
    struct bbuild b;
    bbuild_begin(&b, &doc_buf);
    bbuild_int32(&b, "a", 5);
    struct bdoc d = bbuild_finish(&b);
    cr_assert_eq(keygen(&spec, d, &arena, &set, &err), ST_OK);
    cr_assert_eq(set.count, 1);
    key_append(&want, bdoc_get_str(d, "a"), false);
    key_append(&want, BVAL_MISSING, true);
    cr_assert(slice_equal(set.keys[0].key, buf_slice(&want)));
    cr_assert_eq(set.multikey[0], 0);
    arena_release(&arena);
    buf_release(&spec_buf);
    buf_release(&doc_buf);
    buf_release(&want);
}
