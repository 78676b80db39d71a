/* MongoDB's error codes by name: CODE_BadValue and so on, and the name of a number for `codeName`. */
#ifndef ELMO_BASE_CODES_H
#define ELMO_BASE_CODES_H

#include <stdint.h>

enum code {
#define X(number, name) CODE_##name = number,
#include "base/codes.def"
#undef X
};

/* The name of a code as MongoDB prints it in `codeName`: "Location<number>" codes have none of their own, the answer is NULL. */
const char *code_name(int32_t code);

#endif
