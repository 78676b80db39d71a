/* A store of extents in memory, for tests of what lies above it. Linked only where the real one is not. */
#include <stdlib.h>
#include <string.h>

#include "storage/store.h"

struct store {
    uint8_t *bytes;
    uint64_t len, cap;
};

status store_open(struct env *env, const char *path, const struct store_opts *opts, struct store **out, struct manifest *out_manifest, struct err *err) {
    (void) env;
    (void) path;
    (void) opts;
    *out = calloc(1, sizeof(struct store));
    *out_manifest = (struct manifest){0};
    return *out != NULL ? ST_OK : RAISE(err, ST_NOMEM, "store");
}
void store_close(struct store *s) {
    free(s->bytes);
    free(s);
}
status store_alloc(struct store *s, uint64_t len, uint32_t extents_max, struct extent *out, uint32_t *out_count, struct err *err) {
    (void) extents_max;
    len = (len + UNIT_LEN - 1) / UNIT_LEN * UNIT_LEN;
    if (s->len + len > s->cap) {
        uint64_t cap = (s->len + len) * 2;
        uint8_t *bytes = realloc(s->bytes, cap);
        if (bytes == NULL) return RAISE(err, ST_NO_SPACE, "store");
        memset(bytes + s->cap, 0xee, cap - s->cap);
        s->bytes = bytes;
        s->cap = cap;
    }
    *out = (struct extent){s->len, len};
    *out_count = 1;
    s->len += len;
    return ST_OK;
}
void store_forfeit(struct store *s, const struct extent *extents, uint32_t count) {
    (void) s;
    (void) extents;
    (void) count;
}
status store_write(struct store *s, uint64_t at, const void *p, size_t len, struct err *err) {
    if (at + len > s->len) return RAISE(err, ST_IO, "store: a write past the end");
    memcpy(s->bytes + at, p, len);
    return ST_OK;
}
status store_read(struct store *s, uint64_t at, void *p, size_t len, struct err *err) {
    if (at + len > s->len) return RAISE(err, ST_CORRUPT, "store: a read past the end");
    memcpy(p, s->bytes + at, len);
    return ST_OK;
}
void store_will_need(struct store *s, uint64_t at, uint64_t len) {
    (void) s;
    (void) at;
    (void) len;
}
void manifest_release(struct manifest *m) { *m = (struct manifest){0}; }
