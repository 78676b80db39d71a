/* Making a document fit to be stored: checked, `_id` present and first, empty timestamps filled in. What MongoDB's server does to an insert. */
#include "base/codes.h"
#include "bson/build.h"
#include "bson/check.h"
#include "doc/db_state.h"
#include "doc/write.h"

static status check_id(struct bval id, struct err *err) {
    if (id.type == B_ARRAY) return RAISE_CODE(err, CODE_BadValue, "can't use an array for _id");
    if (id.type == B_REGEX) return RAISE_CODE(err, CODE_BadValue, "can't use a regex for _id");
    if (id.type == B_UNDEFINED) return RAISE_CODE(err, CODE_BadValue, "can't use a undefined for _id");
    if (id.type != B_DOCUMENT) return ST_OK;
    struct biter it = biter_of(bval_doc(id));
    struct belem e;
    while (biter_next(&it, &e))
        if (e.name.len != 0 && e.name.p[0] == '$')
            return RAISE_CODE(err, CODE_DollarPrefixedFieldName,
                              "_id fields may not contain '$'-prefixed fields: %.*s is not valid for storage.",
                              (int) (e.name.len < 100 ? e.name.len : 100), (const char *) e.name.p);
    return ST_OK;
}

static bool is_id(struct slice name) { return name.len == 3 && memcmp(name.p, "_id", 3) == 0; }

static bool is_empty_timestamp(struct belem e) {
    return e.value.type == B_TIMESTAMP && bval_timestamp(e.value) == 0 && !is_id(e.name);
}

struct survey {
    struct bval id;
    bool id_is_first, has_empty_timestamp;
};

static status survey(struct bdoc doc, struct survey *out, struct err *err) {
    struct biter it = biter_of(doc);
    struct belem e;
    bool is_first = true;
    *out = (struct survey){.id = BVAL_MISSING};
    for (; biter_next(&it, &e); is_first = false) {
        if (is_id(e.name)) {
            if (out->id.type != B_MISSING)
                return RAISE_CODE(err, CODE_BadValue, "can't have multiple _id fields in one document");
            out->id = e.value;
            out->id_is_first = is_first;
        } else if (is_empty_timestamp(e)) {
            out->has_empty_timestamp = true;
        }
    }
    return check_id(out->id, err);
}

/* The document anew in `buf`: _id first, empty timestamps filled in. */
static status rewrite(struct op *op, struct bdoc doc, struct bval id, struct buf *buf, struct bdoc *out,
                      struct err *err) {
    struct bbuild b;
    struct biter it = biter_of(doc);
    struct belem e;
    uint8_t fresh[12], stamp[8];
    buf_clear(buf);
    bbuild_begin(&b, buf);
    if (id.type == B_MISSING) {
        db_new_object_id(op->db, fresh);
        id = (struct bval){fresh, sizeof(fresh), B_OBJECT_ID};
    }
    bbuild_value(&b, SLICE_LIT("_id"), id);
    while (biter_next(&it, &e)) {
        if (is_id(e.name)) continue;
        if (is_empty_timestamp(e)) {
            put_le64(stamp, db_new_timestamp(op->db));
            e.value.p = stamp;
        }
        bbuild_value(&b, e.name, e.value);
    }
    *out = bbuild_finish(&b);
    return out->p != NULL ? ST_OK : RAISE(err, ST_NOMEM, "document");
}

/* A fresh _id in front of a document that lacks one: one copy. */
static status prepend_id(struct op *op, struct bdoc doc, struct buf *buf, struct bdoc *out, struct err *err) {
    enum { ELEMENT_LEN = 1 + 4 + 12 };
    buf_clear(buf);
    uint8_t *p = buf_extend(buf, doc.len + ELEMENT_LEN);
    if (p == NULL) return RAISE(err, ST_NOMEM, "document");
    put_le32(p, doc.len + ELEMENT_LEN);
    memcpy(p + 4, "\x07_id", 5);
    db_new_object_id(op->db, p + 9);
    memcpy(p + 4 + ELEMENT_LEN, doc.p + 4, doc.len - 4);
    *out = (struct bdoc){p, doc.len + ELEMENT_LEN};
    return ST_OK;
}

status collection_prepare(struct op *op, struct bdoc doc, struct buf *buf, struct bdoc *out, struct err *err) {
    struct survey s;
    if (doc.len > BSON_LEN_MAX)
        return RAISE_CODE(err, CODE_BadValue, "object to insert too large. size in bytes: %u, max size: %u", doc.len,
                          BSON_LEN_MAX);
    TRY(bson_check(doc.p, doc.len, BSON_CHECK_UTF8, &doc, err));
    TRY(survey(doc, &s, err));
    if (s.has_empty_timestamp || (s.id.type != B_MISSING && !s.id_is_first))
        return rewrite(op, doc, s.id, buf, out, err);
    if (s.id.type == B_MISSING) return prepend_id(op, doc, buf, out, err);
    *out = doc;
    return ST_OK;
}
