/* SASLprep (RFC 4013, a profile of stringprep, RFC 3454): the one form of a password that people may type in several. */
#ifndef ELMO_COMMAND_SASLPREP_H
#define ELMO_COMMAND_SASLPREP_H

#include "base/buf.h"
#include "base/err.h"

/* Appends the prepared text. BadValue (2) when it is not UTF-8 or holds what may not stand in a password. What it leaves in freed memory is wiped; `out` is the caller's to wipe. */
status saslprep(const struct mem *mem, struct slice text, struct buf *out, struct err *err);

#endif
