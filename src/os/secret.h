/* Chance that nobody can guess, from the kernel. Private to src/os. */
#ifndef ELMO_OS_SECRET_H
#define ELMO_OS_SECRET_H

#include <stddef.h>

#include "base/err.h"

status random_secret(void *p, size_t len, struct err *err);

#endif
