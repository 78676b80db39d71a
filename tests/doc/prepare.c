/* Making documents fit to be stored. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "base/codes.h"
#include "bson/build.h"
#include "support/doc_db.h"

struct prepared {
    struct doc_db t;
    struct buf buf;
    struct bdoc doc;
};

static status prepare(struct prepared *p, struct bdoc doc) {
    return collection_prepare(&p->t.op, doc, &p->buf, &p->doc, &p->t.err);
}

static void setup_p(struct prepared *p) {
    doc_open(&p->t);
    buf_init(&p->buf, mem_default());
}
static void finish_p(struct prepared *p) {
    buf_release(&p->buf);
    doc_close(&p->t);
}
static void refused(struct prepared *p, struct bdoc doc, int32_t code, const char *text) {
    cr_assert_eq(prepare(p, doc), ST_INVALID);
    cr_assert_eq(p->t.err.code, code);
    cr_assert_str_eq(p->t.err.text, text);
}

Test(prepare, a_document_with_its_id_first_is_borrowed) {
    struct prepared p;
    setup_p(&p);
    struct bdoc d = json("{'_id': 1, '$a': 2, '': 3}");
    cr_assert_eq(prepare(&p, d), ST_OK);
    cr_assert_eq(p.doc.p, d.p);
    finish_p(&p);
}

Test(prepare, an_id_is_moved_to_the_front_or_made) {
    struct prepared p;
    setup_p(&p);
    cr_assert_eq(prepare(&p, json("{'a': 1, '_id': 'x', 'b': [2]}")), ST_OK);
    cr_assert_str_eq(text_of(p.doc), text_of(json("{'_id': 'x', 'a': 1, 'b': [2]}")));
    struct bdoc d = json("{'a': 1}");
    cr_assert_eq(prepare(&p, d), ST_OK);
    cr_assert_eq(p.doc.len, d.len + 17);
    cr_assert_eq(bdoc_get_str(p.doc, "_id").type, B_OBJECT_ID);
    cr_assert_eq(bval_int32(bdoc_get_str(p.doc, "a")), 1);
    cr_assert_eq(prepare(&p, bdoc_empty), ST_OK);
    cr_assert_eq(bdoc_count(p.doc), 1);
    finish_p(&p);
}

Test(prepare, ids_that_cannot_be_are_refused) {
    struct prepared p;
    setup_p(&p);
    refused(&p, json("{'_id': [1]}"), CODE_BadValue, "can't use an array for _id");
    refused(&p, json("{'_id': {'$regularExpression': {'pattern': 'a', 'options': ''}}}"), CODE_BadValue,
            "can't use a regex for _id");
    refused(&p, json("{'_id': {'$undefined': true}}"), CODE_BadValue, "can't use a undefined for _id");
    refused(&p, json("{'_id': {'$x': 1}}"), CODE_DollarPrefixedFieldName,
            "_id fields may not contain '$'-prefixed fields: $x is not valid for storage.");
    refused(&p, json("{'_id': 1, 'a': 1, '_id': 2}"), CODE_BadValue, "can't have multiple _id fields in one document");
    cr_assert_eq(prepare(&p, json("{'_id': {'a': {'$x': 1}}}")), ST_OK);
    cr_assert_eq(prepare(&p, json("{'_id': null}")), ST_OK);
    finish_p(&p);
}

Test(prepare, an_empty_timestamp_is_filled_in) {
    struct prepared p;
    setup_p(&p);
    cr_assert_eq(
        prepare(&p,
                json(
                    "{'_id': 1, 't': {'$timestamp': {'t': 0, 'i': 0}}, 'd': {'t': {'$timestamp': {'t': 0, 'i': 0}}}}")),
        ST_OK);
    cr_assert_neq(bval_timestamp(bdoc_get_str(p.doc, "t")), 0);
    cr_assert_eq(bval_timestamp(bdoc_get_str(bval_doc(bdoc_get_str(p.doc, "d")), "t")), 0);
    finish_p(&p);
}

Test(prepare, unsound_and_oversized_documents_are_refused) {
    struct prepared p;
    struct buf big;
    struct bbuild b;
    setup_p(&p);
    static const uint8_t bad[] = {12, 0, 0, 0, B_INT32, 'a', 0, 1, 0, 0, 0, 1};
    cr_assert_eq(prepare(&p, (struct bdoc){bad, sizeof(bad)}), ST_INVALID);
    cr_assert_eq(p.t.err.code, CODE_InvalidBSON);
    buf_init(&big, mem_default());
    bbuild_begin(&b, &big);
    uint8_t *bytes = calloc(1, BSON_LEN_MAX);
    bbuild_binary(&b, "_id", 0, slice_of(bytes, BSON_LEN_MAX - 15));
    struct bdoc d = bbuild_finish(&b);
    cr_assert_eq(d.len, BSON_LEN_MAX);
    cr_assert_eq(prepare(&p, d), ST_OK);
    buf_clear(&big);
    bbuild_begin(&b, &big);
    bbuild_binary(&b, "_id", 0, slice_of(bytes, BSON_LEN_MAX - 14));
    cr_assert_eq(prepare(&p, bbuild_finish(&b)), ST_INVALID);
    cr_assert_eq(p.t.err.code, CODE_BadValue);
    cr_assert_str_eq(p.t.err.text, "object to insert too large. size in bytes: 16777217, max size: 16777216");
    free(bytes);
    buf_release(&big);
    finish_p(&p);
}
