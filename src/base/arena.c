/* Arena allocation; see arena.h. */
#include "base/arena.h"

#include <stdint.h>
#include <string.h>

#define CHUNK_MIN ((size_t) 4096)
#define CHUNK_MAX ((size_t) 256 * 1024)

struct arena_chunk {
    struct arena_chunk *next;
    size_t len; /* with this header */
};

#define HEADER_LEN ((sizeof(struct arena_chunk) + 15) & ~(size_t) 15)

void arena_init(struct arena *arena, const struct mem *mem) { *arena = (struct arena){.mem = mem}; }

static void free_chunks(struct arena *arena, struct arena_chunk *until) {
    while (arena->head != until) {
        struct arena_chunk *chunk = arena->head;
        arena->head = chunk->next;
        arena->used -= chunk->len;
        mem_free(arena->mem, chunk, chunk->len);
    }
}

void arena_release(struct arena *arena) {
    if (arena->mem == NULL) return;
    free_chunks(arena, NULL);
    *arena = (struct arena){.mem = arena->mem};
}

void arena_reset(struct arena *arena) {
    /* Keep one chunk, the newest of ordinary size, so that a per-row arena stops allocating. */
    struct arena_chunk *keep = arena->head;
    while (keep != NULL && keep->len > CHUNK_MAX) keep = keep->next;
    while (arena->head != NULL) {
        struct arena_chunk *chunk = arena->head;
        arena->head = chunk->next;
        if (chunk == keep) continue;
        arena->used -= chunk->len;
        mem_free(arena->mem, chunk, chunk->len);
    }
    arena->head = keep;
    arena->at = arena->end = NULL;
    if (keep != NULL) {
        keep->next = NULL;
        arena->at = (char *) keep + HEADER_LEN;
        arena->end = (char *) keep + keep->len;
    }
}

static void *alloc_slow(struct arena *arena, size_t len) {
    size_t next = arena->head != NULL && arena->head->len < CHUNK_MAX ? arena->head->len * 2 : CHUNK_MIN;
    if (arena->head != NULL && arena->head->len >= CHUNK_MAX) next = CHUNK_MAX;
    if (len > SIZE_MAX - HEADER_LEN - 16) return NULL;
    size_t chunk_len = len > next / 4 ? HEADER_LEN + len : next;
    struct arena_chunk *chunk = mem_alloc(arena->mem, chunk_len);
    if (chunk == NULL) return NULL;
    chunk->len = chunk_len;
    chunk->next = arena->head;
    arena->head = chunk;
    arena->used += chunk_len;
    arena->at = (char *) chunk + HEADER_LEN + len;
    arena->end = (char *) chunk + chunk_len;
    return (char *) chunk + HEADER_LEN;
}

void *arena_alloc(struct arena *arena, size_t len) {
    size_t align = len >= 16 ? 16 : 8;
    len = len != 0 ? (len + 7) & ~(size_t) 7 : 8;
    if (arena->at != NULL) {
        char *at = (char *) (((uintptr_t) arena->at + align - 1) & ~(uintptr_t) (align - 1));
        if (at <= arena->end && len <= (size_t) (arena->end - at)) {
            arena->at = at + len;
            return at;
        }
    }
    return alloc_slow(arena, len);
}

void *arena_zalloc(struct arena *arena, size_t len) {
    void *p = arena_alloc(arena, len);
    if (p != NULL) memset(p, 0, len);
    return p;
}

void *arena_copy(struct arena *arena, const void *p, size_t len) {
    void *copy = arena_alloc(arena, len);
    if (copy != NULL && len != 0) memcpy(copy, p, len);
    return copy;
}

char *arena_strndup(struct arena *arena, const char *s, size_t len) {
    char *copy = arena_alloc(arena, len + 1);
    if (copy == NULL) return NULL;
    if (len != 0) memcpy(copy, s, len);
    copy[len] = '\0';
    return copy;
}

struct arena_mark arena_mark(const struct arena *arena) {
    return (struct arena_mark){arena->head, arena->at};
}

void arena_rewind(struct arena *arena, struct arena_mark mark) {
    if (mark.head == NULL) {
        arena_reset(arena);
        return;
    }
    free_chunks(arena, mark.head);
    arena->at = mark.at;
    arena->end = (char *) mark.head + mark.head->len;
}
