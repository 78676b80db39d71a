/* Memory: one hook through which everything is allocated, so that a host can count it, cap it or let it fail.
 * base/mem.c alone says malloc. Every free tells the length that was allocated. */
#ifndef ELMO_BASE_MEM_H
#define ELMO_BASE_MEM_H

#include <stddef.h>

struct mem {
    /* Allocates (p NULL, old_len 0), resizes, or frees (new_len 0, returns NULL). NULL for a new_len > 0 means no memory,
     * and p stays as it was. Aligned for any type. May be called from any thread. */
    void *(*resize)(void *ctx, void *p, size_t old_len, size_t new_len);
    void *ctx;
};

/* The C library's allocator. Immutable, never freed. */
const struct mem *mem_default(void);

void *mem_alloc(const struct mem *mem, size_t len);  /* NULL without memory; len 0 gives a unique pointer of 1 byte */
void *mem_zalloc(const struct mem *mem, size_t len); /* the same, zeroed */
void *mem_resize(const struct mem *mem, void *p, size_t old_len, size_t new_len);
void mem_free(const struct mem *mem, void *p, size_t len); /* p may be NULL; len as allocated */
void *mem_copy(const struct mem *mem, const void *p, size_t len);

#define mem_new(mem, type) ((type *) mem_zalloc((mem), sizeof(type)))
#define mem_delete(mem, p) mem_free((mem), (p), sizeof(*(p)))

/* Grows *p, an array of *cap elements of `size` bytes, to hold at least `need`: doubling, starting at 8.
 * False without memory, and nothing changed. */
int mem_grow(const struct mem *mem, void **p, size_t *cap, size_t need, size_t size);

#endif
