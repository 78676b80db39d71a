/* Writing BSON: every append makes room once for type, name and value. A document's length is written when it is closed. */
#include "bson/build.h"

/* Makes room for an element of value_len bytes and writes type and name: where the value goes, or NULL. */
static uint8_t *append_elem(struct bbuild *b, uint8_t type, struct slice name, size_t value_len) {
    uint8_t *p = buf_extend(b->buf, 1 + name.len + 1 + value_len);
    if (p == NULL) return NULL;
    *p++ = type;
    if (name.len != 0) memcpy(p, name.p, name.len);
    p += name.len;
    *p++ = 0;
    return p;
}

static void append_value(struct bbuild *b, uint8_t type, struct slice name, const void *value, size_t len) {
    uint8_t *p = append_elem(b, type, name, len);
    if (p != NULL && len != 0) memcpy(p, value, len);
}

/* The name of the next array element. */
static struct slice next_name(struct bbuild *array, char text[16]) {
    uint32_t idx = array->next_idx++;
    char *p = text + 16;
    do {
        *--p = (char) ('0' + idx % 10);
        idx /= 10;
    } while (idx != 0);
    return slice_of(p, (size_t) (text + 16 - p));
}

void bbuild_begin(struct bbuild *b, struct buf *buf) {
    *b = (struct bbuild){.buf = buf, .at = buf->len};
    (void) buf_append_zero(buf, 4);
}

void bbuild_close(struct bbuild *child) {
    struct buf *buf = child->buf;
    if (buf_append_u8(buf, 0)) {
        if (buf->len - child->at > INT32_MAX) buf->failed = true;
        else put_le32(buf->p + child->at, (uint32_t) (buf->len - child->at));
    }
}

struct bdoc bbuild_finish(struct bbuild *b) {
    bbuild_close(b);
    if (b->buf->failed) return (struct bdoc){NULL, 0};
    return (struct bdoc){b->buf->p + b->at, (uint32_t) (b->buf->len - b->at)};
}

static struct bbuild open_child(struct bbuild *parent, uint8_t type, struct slice name) {
    uint8_t *p = append_elem(parent, type, name, 4);
    if (p != NULL) put_le32(p, 0);
    return (struct bbuild){.buf = parent->buf, .at = p != NULL ? parent->buf->len - 4 : parent->buf->len};
}

struct bbuild bbuild_open_doc(struct bbuild *parent, struct slice name) {
    return open_child(parent, B_DOCUMENT, name);
}
struct bbuild bbuild_open_array(struct bbuild *parent, struct slice name) {
    return open_child(parent, B_ARRAY, name);
}

void bbuild_value(struct bbuild *b, struct slice name, struct bval v) {
    if (v.type != B_MISSING) append_value(b, v.type, name, v.p, v.len);
}

void bbuild_push_slice(struct bbuild *array, struct slice v) {
    char text[16];
    uint8_t *p = append_elem(array, B_STRING, next_name(array, text), 4 + v.len + 1);
    if (p == NULL) return;
    put_le32(p, (uint32_t) v.len + 1);
    if (v.len != 0) memcpy(p + 4, v.p, v.len);
    p[4 + v.len] = 0;
}

void bbuild_push(struct bbuild *array, struct bval v) {
    char text[16];
    if (v.type != B_MISSING) bbuild_value(array, next_name(array, text), v);
}

struct bbuild bbuild_push_doc(struct bbuild *array) {
    char text[16];
    return bbuild_open_doc(array, next_name(array, text));
}

struct bbuild bbuild_push_array(struct bbuild *array) {
    char text[16];
    return bbuild_open_array(array, next_name(array, text));
}

void bbuild_elems(struct bbuild *b, struct bdoc d) { (void) buf_append(b->buf, d.p + 4, d.len - 5); }

void bbuild_number(struct bbuild *b, struct slice name, struct bnum n) {
    switch (n.type) {
    case B_INT32: append_value(b, B_INT32, name, &n.i32, 4); break;
    case B_INT64: append_value(b, B_INT64, name, &n.i64, 8); break;
    case B_DOUBLE: append_value(b, B_DOUBLE, name, &n.d, 8); break;
    default: append_value(b, B_DECIMAL, name, &n.dec, 16); break;
    }
}

void bbuild_int32(struct bbuild *b, const char *name, int32_t v) { append_value(b, B_INT32, slice_str(name), &v, 4); }
void bbuild_int64(struct bbuild *b, const char *name, int64_t v) { append_value(b, B_INT64, slice_str(name), &v, 8); }
void bbuild_double(struct bbuild *b, const char *name, double v) { append_value(b, B_DOUBLE, slice_str(name), &v, 8); }
void bbuild_null(struct bbuild *b, const char *name) { append_value(b, B_NULL, slice_str(name), NULL, 0); }
void bbuild_date(struct bbuild *b, const char *name, int64_t ms) { append_value(b, B_DATE, slice_str(name), &ms, 8); }

void bbuild_bool(struct bbuild *b, const char *name, bool v) {
    uint8_t byte = v ? 1 : 0;
    append_value(b, B_BOOL, slice_str(name), &byte, 1);
}

void bbuild_whole(struct bbuild *b, const char *name, int64_t v) {
    if (v >= INT32_MIN && v <= INT32_MAX) bbuild_int32(b, name, (int32_t) v);
    else bbuild_int64(b, name, v);
}

void bbuild_str(struct bbuild *b, const char *name, const char *v) { bbuild_slice(b, name, slice_str(v)); }

void bbuild_slice(struct bbuild *b, const char *name, struct slice v) {
    uint8_t *p = append_elem(b, B_STRING, slice_str(name), 4 + v.len + 1);
    if (p == NULL) return;
    put_le32(p, (uint32_t) v.len + 1);
    if (v.len != 0) memcpy(p + 4, v.p, v.len);
    p[4 + v.len] = 0;
}

void bbuild_object_id(struct bbuild *b, const char *name, const uint8_t id[12]) {
    append_value(b, B_OBJECT_ID, slice_str(name), id, 12);
}

void bbuild_doc(struct bbuild *b, const char *name, struct bdoc d) {
    append_value(b, B_DOCUMENT, slice_str(name), d.p, d.len);
}

void bbuild_array(struct bbuild *b, const char *name, struct bdoc d) {
    append_value(b, B_ARRAY, slice_str(name), d.p, d.len);
}

void bbuild_timestamp(struct bbuild *b, const char *name, uint32_t seconds, uint32_t increment) {
    uint64_t v = (uint64_t) seconds << 32 | increment;
    append_value(b, B_TIMESTAMP, slice_str(name), &v, 8);
}

void bbuild_binary(struct bbuild *b, const char *name, uint8_t subtype, struct slice v) {
    uint8_t *p = append_elem(b, B_BINARY, slice_str(name), 5 + v.len);
    if (p == NULL) return;
    put_le32(p, (uint32_t) v.len);
    p[4] = subtype;
    if (v.len != 0) memcpy(p + 5, v.p, v.len);
}
