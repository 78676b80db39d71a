/* Reading base64 (RFC 4648, with padding) strictly, into memory that is there already. Writing is bson/json_text.h's. */
#ifndef ELMO_COMMAND_BASE64_H
#define ELMO_COMMAND_BASE64_H

#include "base/slice.h"

#define BASE64_LEN(n) (((n) + 2) / 3 * 4)

/* Reads `text` into out[0, out_max); false when it is not base64, is not in its one proper form, or gives more. */
bool base64_read(struct slice text, uint8_t *out, size_t out_max, size_t *out_len);

#endif
