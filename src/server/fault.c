/* Errors of the server's own. */
#include <stdarg.h>
#include <stdio.h>

#include "server/fault.h"

bool fault(bson_error_t *error, uint32_t code, const char *fmt, ...) {
    va_list ap;
    if (error == NULL) return false;
    error->domain = ELMO_ERROR_SERVER;
    error->code = code;
    va_start(ap, fmt);
    (void) vsnprintf(error->message, sizeof(error->message), fmt, ap);
    va_end(ap);
    return false;
}

bool fault_memory(bson_error_t *error) { return fault(error, FAULT_NO_MEMORY, "no memory for the server"); }
