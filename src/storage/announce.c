/* The announcement beside an open database. */
#include "storage/announce.h"

#include <string.h>

#define SUFFIX "-listen"
#define TEXT_MAX 512u

static char *path_new(struct env *env, const char *real) {
    size_t len = strlen(real);
    char *path = mem_alloc(env->mem, len + sizeof(SUFFIX));
    if (path == NULL) return NULL;
    memcpy(path, real, len);
    memcpy(path + len, SUFFIX, sizeof(SUFFIX));
    return path;
}

static void path_free(struct env *env, const char *real, char *path) {
    if (path != NULL) mem_free(env->mem, path, strlen(real) + sizeof(SUFFIX));
}

status announce_write(struct env *env, const char *real, struct slice where, struct err *err) {
    char text[TEXT_MAX];
    struct file *f = NULL;
    env->ops->process_name(env, text, sizeof(text) / 2);
    size_t len = strlen(text);
    if (where.len > sizeof(text) - len - 2)
        return RAISE(err, ST_INVALID, "an address of %zu bytes is too long", where.len);
    text[len++] = '\n';
    memcpy(text + len, where.p, where.len);
    len += where.len;
    text[len++] = '\n';
    char *path = path_new(env, real);
    if (path == NULL) return RAISE(err, ST_NOMEM, "no memory for a path");
    status st = env_open(env, path, FILE_CREATE, &f, err);
    if (st == ST_OK) st = f->ops->truncate(f, 0, err);
    if (st == ST_OK) st = file_write(f, 0, text, len, err);
    file_close(f);
    path_free(env, real, path);
    return st;
}

void announce_remove(struct env *env, const char *real) {
    char *path = path_new(env, real);
    if (path == NULL) return;
    (void) env->ops->unlink(env, path, NULL);
    path_free(env, real, path);
}

/* The second line, when the first is the holder. */
static void take_second_line(const char *text, const char *holder, char *where, size_t where_len) {
    size_t holder_len = strlen(holder), len = 0;
    if (holder_len == 0 || strncmp(text, holder, holder_len) != 0 || text[holder_len] != '\n') return;
    for (const char *p = text + holder_len + 1; *p > ' ' && *p <= '~' && len + 1 < where_len; p++) where[len++] = *p;
    where[len] = '\0';
}

void announce_read(struct env *env, const char *real, const char *holder, char *where, size_t where_len) {
    char text[TEXT_MAX] = "";
    struct file *f = NULL;
    uint64_t len;
    char *path = path_new(env, real);
    where[0] = '\0';
    if (path == NULL) return;
    if (env_open(env, path, FILE_READ_ONLY, &f, NULL) == ST_OK && f->ops->size(f, &len, NULL) == ST_OK &&
        len < sizeof(text) && file_read(f, 0, text, (size_t) len, NULL) == ST_OK)
        take_second_line(text, holder, where, where_len);
    file_close(f);
    path_free(env, real, path);
}
