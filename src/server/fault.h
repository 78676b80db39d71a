/* Errors of the server's own: bson_error_t with MongoDB's codes. Each function answers false, so that `return fault(...)` says all. */
#ifndef ELMO_SERVER_FAULT_H
#define ELMO_SERVER_FAULT_H

#include <stdbool.h>
#include <stdint.h>

#include <elmo/elmo.h>

enum {
    FAULT_BAD_VALUE = 2,
    FAULT_INVALID_SSL = 140,
    FAULT_NO_MEMORY = 146,
    FAULT_SOCKET = 9001,
    FAULT_UNKNOWN_OPTION = 40415
};

/* `error` may be NULL. */
bool fault(bson_error_t *error, uint32_t code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
bool fault_memory(bson_error_t *error);

#endif
