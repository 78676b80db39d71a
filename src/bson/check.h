/* Validation: the gate through which every document from outside passes once. Faster than bson_validate, and it says where. */
#ifndef ELMO_BSON_CHECK_H
#define ELMO_BSON_CHECK_H

#include "base/err.h"
#include "bson/value.h"

enum bson_check_flag {
    BSON_CHECK_UTF8 = 1u << 0,   /* names and strings must be UTF-8 */
    BSON_CHECK_DEEPER = 1u << 1, /* for documents of elmo's own around ones from outside: 8 levels more */
};

/* Verifies length, structure, types, depth (BSON_DEPTH_MAX, code 15 Overflow), booleans 0/1, string terminators, binary and
 * code-with-scope lengths; `len` is the bytes available and must equal the document's own length. A fault is CODE_InvalidBSON (22)
 * and names the path and offset: "invalid BSON in field 'a.b.3' at offset 41: string without closing zero".
 * Never reads outside [p, p + len). */
status bson_check(const uint8_t *p, size_t len, unsigned flags, struct bdoc *out, struct err *err);

#endif
