/* Writing BSON into a growable buffer. Appends to a failed buffer do nothing: check once at the end (bbuild_finish).
 *
 *   struct bbuild b;
 *   bbuild_begin(&b, &buf);                 // a document at the buffer's end
 *   bbuild_int32(&b, "a", 1);
 *   struct bbuild sub = bbuild_open_doc(&b, SLICE_LIT("b"));
 *   bbuild_value(&sub, SLICE_LIT("c"), v);
 *   bbuild_close(&sub);
 *   struct bdoc d = bbuild_finish(&b);      // d.p NULL: out of memory. Valid until the buffer changes.
 */
#ifndef ELMO_BSON_BUILD_H
#define ELMO_BSON_BUILD_H

#include "base/buf.h"
#include "bson/number.h"
#include "bson/value.h"

struct bbuild {
    struct buf *buf;
    size_t at;         /* where this document's length stands */
    uint32_t next_idx; /* of an array */
};

void bbuild_begin(struct bbuild *b, struct buf *buf);
struct bdoc bbuild_finish(struct bbuild *b);

struct bbuild bbuild_open_doc(struct bbuild *parent, struct slice name);
struct bbuild bbuild_open_array(struct bbuild *parent, struct slice name);
void bbuild_close(struct bbuild *child);

/* Any value, copied as it is. B_MISSING appends nothing. */
void bbuild_value(struct bbuild *b, struct slice name, struct bval v);
void bbuild_push(struct bbuild *array, struct bval v); /* the next element of an array */
void bbuild_push_slice(struct bbuild *array, struct slice v); /* a string */
struct bbuild bbuild_push_doc(struct bbuild *array);
struct bbuild bbuild_push_array(struct bbuild *array);
void bbuild_elems(struct bbuild *b, struct bdoc d); /* every field of d */
void bbuild_number(struct bbuild *b, struct slice name, struct bnum n);

/* Convenience for replies; names are C strings. */
void bbuild_int32(struct bbuild *b, const char *name, int32_t v);
void bbuild_whole(struct bbuild *b, const char *name, int64_t v); /* an int32 when it fits */
void bbuild_int64(struct bbuild *b, const char *name, int64_t v);
void bbuild_double(struct bbuild *b, const char *name, double v);
void bbuild_bool(struct bbuild *b, const char *name, bool v);
void bbuild_null(struct bbuild *b, const char *name);
void bbuild_str(struct bbuild *b, const char *name, const char *v);
void bbuild_slice(struct bbuild *b, const char *name, struct slice v); /* a string */
void bbuild_date(struct bbuild *b, const char *name, int64_t ms);
void bbuild_object_id(struct bbuild *b, const char *name, const uint8_t id[12]);
void bbuild_doc(struct bbuild *b, const char *name, struct bdoc d);
void bbuild_array(struct bbuild *b, const char *name, struct bdoc d);
void bbuild_timestamp(struct bbuild *b, const char *name, uint32_t seconds, uint32_t increment);
void bbuild_binary(struct bbuild *b, const char *name, uint8_t subtype, struct slice v);

#endif
