/* The default allocator and the few shapes in which memory is asked for. */
#include "base/mem.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void *resize_default(void *ctx, void *p, size_t old_len, size_t new_len) {
    (void) ctx;
    (void) old_len;
    if (new_len == 0) {
        free(p);
        return NULL;
    }
    return realloc(p, new_len);
}

static const struct mem default_mem = {resize_default, NULL};

const struct mem *mem_default(void) { return &default_mem; }

void *mem_alloc(const struct mem *mem, size_t len) { return mem->resize(mem->ctx, NULL, 0, len != 0 ? len : 1); }

void *mem_zalloc(const struct mem *mem, size_t len) {
    void *p = mem_alloc(mem, len);
    if (p != NULL) memset(p, 0, len);
    return p;
}

void *mem_resize(const struct mem *mem, void *p, size_t old_len, size_t new_len) {
    return mem->resize(mem->ctx, p, p != NULL && old_len == 0 ? 1 : old_len, new_len != 0 ? new_len : 1);
}

void mem_free(const struct mem *mem, void *p, size_t len) {
    if (p != NULL) (void) mem->resize(mem->ctx, p, len != 0 ? len : 1, 0);
}

void *mem_copy(const struct mem *mem, const void *p, size_t len) {
    void *copy = mem_alloc(mem, len);
    if (copy != NULL && len != 0) memcpy(copy, p, len);
    return copy;
}

int mem_grow(const struct mem *mem, void **p, size_t *cap, size_t need, size_t size) {
    if (need <= *cap) return 1;
    size_t n = *cap != 0 ? *cap : 8;
    while (n < need) {
        if (n > SIZE_MAX / 2 / size) return 0;
        n *= 2;
    }
    void *q = mem_resize(mem, *p, *cap * size, n * size);
    if (q == NULL) return 0;
    *p = q;
    *cap = n;
    return 1;
}
