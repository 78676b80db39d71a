/* Names of MongoDB's error codes. */
#include "base/codes.h"

#include <stddef.h>

static const struct {
    int32_t number;
    const char *name;
} rows[] = {
#define X(number, name) {number, #name},
#include "base/codes.def"
#undef X
};

const char *code_name(int32_t code) {
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (rows[i].number == code) return rows[i].name;
    }
    return NULL;
}
