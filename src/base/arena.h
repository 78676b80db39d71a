/* An arena: memory that is taken piece by piece and given back all at once. One thread at a time.
 *
 * Chunks double from 4 KiB to 256 KiB; a piece larger than a quarter of a chunk gets a chunk of its own.
 * arena_reset keeps the largest ordinary chunk, so that an arena reset per row soon allocates nothing at all. */
#ifndef ELMO_BASE_ARENA_H
#define ELMO_BASE_ARENA_H

#include <stddef.h>

#include "base/mem.h"

struct arena_chunk;

struct arena {
    const struct mem *mem;
    struct arena_chunk *head; /* the chunk that is being filled, newest first */
    char *at, *end;           /* free room in it */
    size_t used;              /* bytes held in all chunks, headers included */
};

struct arena_mark {
    struct arena_chunk *head;
    char *at;
};

void arena_init(struct arena *arena, const struct mem *mem);
void arena_release(struct arena *arena);
void arena_reset(struct arena *arena);

/* Aligned to 8 (16 for pieces of 16 bytes and more). NULL without memory. */
void *arena_alloc(struct arena *arena, size_t len);
void *arena_zalloc(struct arena *arena, size_t len);
void *arena_copy(struct arena *arena, const void *p, size_t len);
char *arena_strndup(struct arena *arena, const char *s, size_t len); /* NUL-terminated */

/* Everything taken after the mark is given back. */
struct arena_mark arena_mark(const struct arena *arena);
void arena_rewind(struct arena *arena, struct arena_mark mark);

#define arena_new(arena, type) ((type *) arena_zalloc((arena), sizeof(type)))
#define arena_array(arena, type, n) ((type *) arena_zalloc((arena), sizeof(type) * (n)))

#endif
