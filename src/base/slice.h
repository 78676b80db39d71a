/* A borrowed run of bytes. A slice never owns: whoever returns one says until when it is valid. */
#ifndef ELMO_BASE_SLICE_H
#define ELMO_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
    const uint8_t *p; /* NULL with len 0 is "none" where a comment says so */
    size_t len;
};

#define SLICE_NONE ((struct slice){NULL, 0})
#define SLICE_LIT(s) ((struct slice){(const uint8_t *) (s), sizeof(s) - 1})

static inline struct slice slice_of(const void *p, size_t len) { return (struct slice){p, len}; }
static inline struct slice slice_str(const char *s) { return (struct slice){(const uint8_t *) s, strlen(s)}; }

/* memcmp order, a proper prefix before what it is a prefix of: < 0, 0, > 0. */
static inline int slice_compare(struct slice a, struct slice b) {
    size_t n = a.len < b.len ? a.len : b.len;
    int c = n != 0 ? memcmp(a.p, b.p, n) : 0;
    return c != 0 ? c : (a.len > b.len) - (a.len < b.len);
}

static inline bool slice_equal(struct slice a, struct slice b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

static inline bool slice_starts_with(struct slice s, struct slice prefix) {
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.p, prefix.p, prefix.len) == 0);
}

#endif
