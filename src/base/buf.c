/* The growable buffer; see buf.h. */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/endian.h"
#include "base/varint.h"

void buf_init(struct buf *buf, const struct mem *mem) { *buf = (struct buf){.mem = mem, .cap_max = BUF_CAP_MAX}; }

void buf_release(struct buf *buf) {
    if (buf->p != NULL) mem_free(buf->mem, buf->p, buf->cap);
    buf->p = NULL;
    buf->len = buf->cap = 0;
    buf->failed = false;
}

void buf_clear(struct buf *buf) {
    buf->len = 0;
    buf->failed = false;
}

bool buf_reserve(struct buf *buf, size_t n) {
    if (buf->failed) return false;
    if (n <= buf->cap - buf->len) return true;
    size_t cap = buf->cap != 0 ? buf->cap : 64;
    if (n > buf->cap_max || buf->len > buf->cap_max - n) goto fail;
    while (cap < buf->len + n) cap *= 2;
    uint8_t *p = mem_resize(buf->mem, buf->p, buf->cap, cap);
    if (p == NULL) goto fail;
    buf->p = p;
    buf->cap = cap;
    return true;
fail:
    buf->failed = true;
    return false;
}

uint8_t *buf_extend(struct buf *buf, size_t n) {
    if (!buf_reserve(buf, n)) return NULL;
    uint8_t *at = buf->p + buf->len;
    buf->len += n;
    return at;
}

bool buf_append(struct buf *buf, const void *p, size_t n) {
    if (!buf_reserve(buf, n)) return false;
    if (n != 0) memcpy(buf->p + buf->len, p, n);
    buf->len += n;
    return true;
}

bool buf_append_zero(struct buf *buf, size_t n) {
    if (!buf_reserve(buf, n)) return false;
    if (n != 0) memset(buf->p + buf->len, 0, n);
    buf->len += n;
    return true;
}

bool buf_append_varint(struct buf *buf, uint64_t v) {
    if (!buf_reserve(buf, VARINT_LEN_MAX)) return false;
    buf->len += varint_put(buf->p + buf->len, v);
    return true;
}

bool buf_append_u32(struct buf *buf, uint32_t v) {
    uint8_t b[4];
    put_le32(b, v);
    return buf_append(buf, b, sizeof(b));
}

bool buf_append_u64(struct buf *buf, uint64_t v) {
    uint8_t b[8];
    put_le64(b, v);
    return buf_append(buf, b, sizeof(b));
}

bool buf_append_format(struct buf *buf, const char *fmt, ...) {
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    bool ok = n >= 0 && buf_reserve(buf, (size_t) n + 1);
    if (ok) {
        (void) vsnprintf((char *) buf->p + buf->len, (size_t) n + 1, fmt, again);
        buf->len += (size_t) n;
    }
    va_end(again);
    return ok;
}
