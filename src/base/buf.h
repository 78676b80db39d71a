/* A growable byte buffer with a cap. Appending to a failed buffer does nothing, so that a builder may check once at its end. */
#ifndef ELMO_BASE_BUF_H
#define ELMO_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/slice.h"

struct buf {
    const struct mem *mem;
    uint8_t *p;
    size_t len, cap;
    size_t cap_max; /* growing past this fails */
    bool failed;    /* an append found no memory or met cap_max; sticks until buf_clear */
};

#define BUF_CAP_MAX ((size_t) 1 << 30)

void buf_init(struct buf *buf, const struct mem *mem);
void buf_release(struct buf *buf);
void buf_clear(struct buf *buf); /* keeps the memory */

/* Room for n more bytes at p + len. False (and `failed`) without memory. */
bool buf_reserve(struct buf *buf, size_t n);
bool buf_append(struct buf *buf, const void *p, size_t n);
bool buf_append_zero(struct buf *buf, size_t n);
/* Makes n uninitialised bytes part of the buffer: where they start, or NULL. */
uint8_t *buf_extend(struct buf *buf, size_t n);

static inline bool buf_append_u8(struct buf *buf, uint8_t v) {
    if (buf->len < buf->cap && !buf->failed) {
        buf->p[buf->len++] = v;
        return true;
    }
    return buf_append(buf, &v, 1);
}
static inline bool buf_append_slice(struct buf *buf, struct slice s) { return buf_append(buf, s.p, s.len); }
bool buf_append_varint(struct buf *buf, uint64_t v); /* base/varint.h */
bool buf_append_u32(struct buf *buf, uint32_t v);    /* little endian */
bool buf_append_u64(struct buf *buf, uint64_t v);    /* little endian */
bool buf_append_format(struct buf *buf, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static inline struct slice buf_slice(const struct buf *buf) { return (struct slice){buf->p, buf->len}; }

#endif
