/* getrandom, whole or not at all. */
#include "os/secret.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

status random_secret(void *p, size_t len, struct err *err) {
    for (size_t done = 0; done < len;) {
        ssize_t n = getrandom((char *) p + done, len - done, 0);
        if (n > 0) done += (size_t) n;
        else if (errno != EINTR) return RAISE(err, ST_IO, "no random bytes from the kernel: %s", strerror(errno));
    }
    return ST_OK;
}
