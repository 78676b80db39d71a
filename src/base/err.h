/* Errors: a small status for control flow and a fixed-size description that needs no memory.
 *
 * A function that can fail returns a status and takes `struct err *err` last. The description is written once, where the
 * failure is born, with MongoDB's numeric code; everyone above passes it on untouched. `err` may be NULL.
 * ST_END and ST_NOT_FOUND are answers: they never write an err.
 */
#ifndef ELMO_BASE_ERR_H
#define ELMO_BASE_ERR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum status {
#define X(name, code, text) name,
#include "base/status.def"
#undef X
    ST_COUNT
};
typedef enum status status;

#define ERR_TEXT_LEN 480

enum err_label {
    ERR_TRANSIENT = 1u << 0,      /* TransientTransactionError: the whole transaction may be retried */
    ERR_UNKNOWN_COMMIT = 1u << 1, /* UnknownTransactionCommitResult */
    ERR_RETRYABLE = 1u << 2,      /* RetryableWriteError: the command may be sent again, with its number, once there is a server */
};

struct err {
    status st;
    int32_t code;     /* MongoDB's error code */
    uint32_t labels;  /* enum err_label bits */
    const char *file; /* where it was born: static storage */
    int line;
    const uint8_t
        *details; /* NULL, or a BSON document (keyPattern, keyValue, errInfo) in the arena of the op that failed */
    size_t details_len;
    char text[ERR_TEXT_LEN]; /* NUL-terminated, without a final full stop */
};

#define ERR_INIT ((struct err){0})

/* Writes the description and returns st. `code` 0 takes the status's default. */
status err_raise(struct err *err, status st, int32_t code, const char *file, int line, const char *fmt, ...)
    __attribute__((format(printf, 6, 7)));

/* Fails with the status's default code. */
#define RAISE(err, st, ...) err_raise((err), (st), 0, __FILE__, __LINE__, __VA_ARGS__)
/* Fails as ST_INVALID with a MongoDB code (base/codes.h): the usual way to refuse what a user asked for. */
#define RAISE_CODE(err, code, ...) err_raise((err), ST_INVALID, (code), __FILE__, __LINE__, __VA_ARGS__)

#define TRY(call)                                                                                                      \
    do {                                                                                                               \
        status try_st_ = (call);                                                                                       \
        if (try_st_ != ST_OK) return try_st_;                                                                          \
    } while (0)

/* Needs a local `status st` and a label `out:`. */
#define TRY_OUT(call)                                                                                                  \
    do {                                                                                                               \
        st = (call);                                                                                                   \
        if (st != ST_OK) goto out;                                                                                     \
    } while (0)

/* True when st is a failure, false for ST_OK and the two answers. */
static inline bool status_failed(status st) { return st != ST_OK && st != ST_END && st != ST_NOT_FOUND; }

const char *status_text(status st);
int32_t status_code(status st);

/* Clears an error that has been dealt with. */
void err_clear(struct err *err);

#endif
