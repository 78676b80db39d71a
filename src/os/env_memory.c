/* Files in memory, for `:memory:` databases; see env.h for the contract.
 *
 *   env ── list of nodes (name, bytes) ── opens refer to a node, which lives until it has neither a name nor an open
 *
 * A node's bytes lie in chunks of CHUNK_LEN, made when first written (a hole reads as zeros), so that a file grows without
 * being copied. Threads: env->lock guards the list of nodes, reference counts and locks; node->lock (shared for reading) the
 * bytes. Taken in that order, never the other way round. Nothing is ever lost here, so syncs do nothing. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "os/env.h"
#include "os/secret.h"
#include "os/thread.h"

#define CHUNK_LEN ((size_t) 64 * 1024)

struct node {
    struct node *next;
    char *name; /* NULL once unlinked or replaced */
    size_t name_len;
    uint32_t open_count;
    uint32_t shared_locks;
    bool is_locked; /* exclusively */
    pthread_rwlock_t lock;
    uint64_t len;
    uint8_t **chunks;
    size_t chunk_count, chunk_cap; /* chunk_count: slots in use, NULL for a hole */
};

struct memory_env {
    struct env env;
    struct mutex lock;
    struct node *nodes;
};

struct memory_file {
    struct file file;
    struct memory_env *env;
    struct node *node;
    char *path; /* as it was opened, for errors */
    bool is_read_only, holds_shared, holds_exclusive;
};

static struct memory_env *env_of(struct env *env) { return (struct memory_env *) env; }
static struct memory_file *file_of(struct file *f) { return (struct memory_file *) f; }

/* --- nodes --- */

static void drop_chunks(struct memory_env *me, struct node *n, size_t from) {
    for (size_t i = from; i < n->chunk_count; i++) {
        if (n->chunks[i] != NULL) mem_free(me->env.mem, n->chunks[i], CHUNK_LEN);
        n->chunks[i] = NULL;
    }
    if (n->chunk_count > from) n->chunk_count = from;
}

static void free_node(struct memory_env *me, struct node *n) {
    drop_chunks(me, n, 0);
    mem_free(me->env.mem, n->chunks, n->chunk_cap * sizeof(*n->chunks));
    mem_free(me->env.mem, n->name, n->name_len + 1);
    (void) pthread_rwlock_destroy(&n->lock);
    mem_delete(me->env.mem, n);
}

static struct node *find_node(struct memory_env *me, const char *name) {
    for (struct node *n = me->nodes; n != NULL; n = n->next)
        if (n->name != NULL && strcmp(n->name, name) == 0) return n;
    return NULL;
}

/* Frees the node if nobody needs it any more. */
static void release_node(struct memory_env *me, struct node *n) {
    if (n->name != NULL || n->open_count != 0) return;
    for (struct node **at = &me->nodes; *at != NULL; at = &(*at)->next) {
        if (*at != n) continue;
        *at = n->next;
        break;
    }
    free_node(me, n);
}

static void unname_node(struct memory_env *me, struct node *n) {
    mem_free(me->env.mem, n->name, n->name_len + 1);
    n->name = NULL;
    release_node(me, n);
}

static struct node *new_node(struct memory_env *me, const char *name) {
    struct node *n = mem_new(me->env.mem, struct node);
    if (n == NULL) return NULL;
    n->name_len = strlen(name);
    n->name = mem_copy(me->env.mem, name, n->name_len + 1);
    if (n->name == NULL || pthread_rwlock_init(&n->lock, NULL) != 0) {
        mem_free(me->env.mem, n->name, n->name_len + 1);
        mem_delete(me->env.mem, n);
        return NULL;
    }
    n->next = me->nodes;
    me->nodes = n;
    return n;
}

/* --- bytes; the caller holds node->lock --- */

static void copy_out(const struct node *n, uint64_t at, uint8_t *p, size_t len) {
    while (len != 0) {
        size_t idx = (size_t) (at / CHUNK_LEN), off = (size_t) (at % CHUNK_LEN);
        size_t part = len < CHUNK_LEN - off ? len : CHUNK_LEN - off;
        const uint8_t *chunk = idx < n->chunk_count ? n->chunks[idx] : NULL;
        if (chunk != NULL) memcpy(p, chunk + off, part);
        else memset(p, 0, part);
        p += part;
        at += part;
        len -= part;
    }
}

static bool copy_in(struct memory_env *me, struct node *n, uint64_t at, const uint8_t *p, size_t len) {
    size_t need = (size_t) ((at + len + CHUNK_LEN - 1) / CHUNK_LEN);
    if (!mem_grow(me->env.mem, (void **) &n->chunks, &n->chunk_cap, need, sizeof(*n->chunks))) return false;
    while (n->chunk_count < need) n->chunks[n->chunk_count++] = NULL;
    while (len != 0) {
        size_t idx = (size_t) (at / CHUNK_LEN), off = (size_t) (at % CHUNK_LEN);
        size_t part = len < CHUNK_LEN - off ? len : CHUNK_LEN - off;
        if (n->chunks[idx] == NULL) n->chunks[idx] = mem_zalloc(me->env.mem, CHUNK_LEN);
        if (n->chunks[idx] == NULL) return false;
        memcpy(n->chunks[idx] + off, p, part);
        p += part;
        at += part;
        len -= part;
        if (at > n->len) n->len = at;
    }
    return true;
}

/* --- files --- */

static status memory_read_at(struct file *f, uint64_t at, void *p, size_t len, struct err *err) {
    struct memory_file *mf = file_of(f);
    struct node *n = mf->node;
    (void) pthread_rwlock_rdlock(&n->lock);
    bool fits = at <= n->len && len <= n->len - at;
    if (fits) copy_out(n, at, p, len);
    (void) pthread_rwlock_unlock(&n->lock);
    if (fits) return ST_OK;
    return RAISE(err, ST_CORRUPT, "%s: short read of %zu bytes at %llu", mf->path, len, (unsigned long long) at);
}

static status memory_write_at(struct file *f, uint64_t at, const void *p, size_t len, struct err *err) {
    struct memory_file *mf = file_of(f);
    if (mf->is_read_only) return RAISE(err, ST_IO, "write %s: opened for reading", mf->path);
    if (len == 0) return ST_OK;
    if (at + len < at) return RAISE(err, ST_IO, "write %s: past the greatest length", mf->path);
    (void) pthread_rwlock_wrlock(&mf->node->lock);
    bool done = copy_in(mf->env, mf->node, at, p, len);
    (void) pthread_rwlock_unlock(&mf->node->lock);
    return done ? ST_OK : RAISE(err, ST_NOMEM, "write %s", mf->path);
}

static status memory_sync(struct file *f, struct err *err) {
    (void) f;
    (void) err;
    return ST_OK;
}

static void set_len(struct memory_env *me, struct node *n, uint64_t len) {
    if (len < n->len) {
        size_t idx = (size_t) (len / CHUNK_LEN), off = (size_t) (len % CHUNK_LEN);
        drop_chunks(me, n, idx + (off != 0));
        if (off != 0 && idx < n->chunk_count && n->chunks[idx] != NULL)
            memset(n->chunks[idx] + off, 0, CHUNK_LEN - off);
    }
    n->len = len;
}

static status memory_truncate(struct file *f, uint64_t len, struct err *err) {
    struct memory_file *mf = file_of(f);
    if (mf->is_read_only) return RAISE(err, ST_IO, "truncate %s: opened for reading", mf->path);
    (void) pthread_rwlock_wrlock(&mf->node->lock);
    set_len(mf->env, mf->node, len);
    (void) pthread_rwlock_unlock(&mf->node->lock);
    return ST_OK;
}

static status memory_size(struct file *f, uint64_t *len, struct err *err) {
    (void) err;
    struct memory_file *mf = file_of(f);
    (void) pthread_rwlock_rdlock(&mf->node->lock);
    *len = mf->node->len;
    (void) pthread_rwlock_unlock(&mf->node->lock);
    return ST_OK;
}

static status memory_preallocate(struct file *f, uint64_t at, uint64_t len, struct err *err) {
    struct memory_file *mf = file_of(f);
    if (mf->is_read_only) return RAISE(err, ST_IO, "allocate %s: opened for reading", mf->path);
    (void) pthread_rwlock_wrlock(&mf->node->lock);
    if (mf->node->len < at + len) mf->node->len = at + len; /* the rest is a hole until it is written */
    (void) pthread_rwlock_unlock(&mf->node->lock);
    return ST_OK;
}

static status memory_lock(struct file *f, enum file_lock kind, struct err *err) {
    struct memory_file *mf = file_of(f);
    struct node *n = mf->node;
    mutex_lock(&mf->env->lock);
    bool others_share = n->shared_locks > (mf->holds_shared ? 1u : 0u);
    bool other_owns = n->is_locked && !mf->holds_exclusive;
    bool granted = !other_owns && (kind == FILE_LOCK_SHARED || !others_share);
    if (granted) {
        if (mf->holds_shared) n->shared_locks--;
        if (kind == FILE_LOCK_SHARED) n->shared_locks++;
        n->is_locked = mf->holds_exclusive = kind == FILE_LOCK_EXCLUSIVE;
        mf->holds_shared = kind == FILE_LOCK_SHARED;
    }
    mutex_unlock(&mf->env->lock);
    return granted ? ST_OK : RAISE(err, ST_BUSY, "%s is locked by another user", mf->path);
}

static void memory_will_need(struct file *f, uint64_t at, uint64_t len) {
    (void) f;
    (void) at;
    (void) len;
}

static void memory_close(struct file *f) {
    struct memory_file *mf = file_of(f);
    struct memory_env *me = mf->env;
    mutex_lock(&me->lock);
    if (mf->holds_shared) mf->node->shared_locks--;
    if (mf->holds_exclusive) mf->node->is_locked = false;
    mf->node->open_count--;
    release_node(me, mf->node);
    mutex_unlock(&me->lock);
    mem_free(me->env.mem, mf->path, strlen(mf->path) + 1);
    mem_delete(me->env.mem, mf);
}

static const struct file_ops memory_file_ops = {
    .read_at = memory_read_at,
    .write_at = memory_write_at,
    .sync = memory_sync,
    .truncate = memory_truncate,
    .size = memory_size,
    .preallocate = memory_preallocate,
    .lock = memory_lock,
    .will_need = memory_will_need,
    .close = memory_close,
};

/* --- names --- */

/* The node that an open with these flags refers to, made when it may be; the caller holds env->lock. */
static status node_for_open(struct memory_env *me, const char *path, unsigned flags, struct node **out,
                            struct err *err) {
    struct node *n = find_node(me, path);
    if (n == NULL) {
        if ((flags & FILE_CREATE) == 0) return ST_NOT_FOUND;
        n = new_node(me, path);
        if (n == NULL) return RAISE(err, ST_NOMEM, "open %s", path);
    } else if ((flags & FILE_EXCLUSIVE) != 0) {
        return RAISE(err, ST_DUPLICATE, "%s exists", path);
    }
    *out = n;
    return ST_OK;
}

static status memory_open(struct env *env, const char *path, unsigned flags, struct file **out, struct err *err) {
    struct memory_env *me = env_of(env);
    struct memory_file *mf = mem_new(env->mem, struct memory_file);
    char *copy = mem_copy(env->mem, path, strlen(path) + 1);
    struct node *n = NULL;
    status st = ST_OK;
    if (mf == NULL || copy == NULL) {
        st = RAISE(err, ST_NOMEM, "open %s", path);
    } else {
        mutex_lock(&me->lock);
        st = node_for_open(me, path, flags, &n, err);
        if (st == ST_OK) n->open_count++;
        mutex_unlock(&me->lock);
    }
    if (st != ST_OK) {
        if (mf != NULL) mem_delete(env->mem, mf);
        mem_free(env->mem, copy, strlen(path) + 1);
        return st;
    }
    if ((flags & FILE_TRUNCATE) != 0) {
        (void) pthread_rwlock_wrlock(&n->lock);
        set_len(me, n, 0);
        (void) pthread_rwlock_unlock(&n->lock);
    }
    *mf = (struct memory_file){.file.ops = &memory_file_ops,
                               .env = me,
                               .node = n,
                               .path = copy,
                               .is_read_only = (flags & FILE_READ_ONLY) != 0};
    *out = &mf->file;
    return ST_OK;
}

static status memory_unlink(struct env *env, const char *path, struct err *err) {
    (void) err;
    struct memory_env *me = env_of(env);
    mutex_lock(&me->lock);
    struct node *n = find_node(me, path);
    if (n != NULL) unname_node(me, n);
    mutex_unlock(&me->lock);
    return n != NULL ? ST_OK : ST_NOT_FOUND;
}

static status memory_rename(struct env *env, const char *from, const char *to, struct err *err) {
    struct memory_env *me = env_of(env);
    size_t len = strlen(to);
    char *name = mem_copy(env->mem, to, len + 1);
    if (name == NULL) return RAISE(err, ST_NOMEM, "rename %s", from);
    mutex_lock(&me->lock);
    struct node *n = find_node(me, from), *old = find_node(me, to);
    if (n != NULL && n != old) {
        if (old != NULL) unname_node(me, old);
        mem_free(env->mem, n->name, n->name_len + 1);
        n->name = name;
        n->name_len = len;
        name = NULL;
    }
    mutex_unlock(&me->lock);
    mem_free(env->mem, name, len + 1);
    return n != NULL ? ST_OK : RAISE(err, ST_IO, "rename %s: no such file", from);
}

static status memory_sync_dir(struct env *env, const char *path, struct err *err) {
    (void) env;
    (void) path;
    (void) err;
    return ST_OK;
}

static status memory_real_path(struct env *env, const char *path, char **out, struct err *err) {
    *out = mem_copy(env->mem, path, strlen(path) + 1);
    return *out != NULL ? ST_OK : RAISE(err, ST_NOMEM, "resolve %s", path);
}

static status memory_list_dir(struct env *env, const char *path, status (*visit)(void *ctx, const char *name),
                              void *ctx, struct err *err) {
    struct memory_env *me = env_of(env);
    const char *slash = strrchr(path, '/');
    size_t dir_len = slash != NULL ? (size_t) (slash - path) + 1 : 0, count = 0, cap = 0;
    char **names = NULL;
    status st = ST_OK;
    /* The names are copied first: `visit` may unlink. */
    mutex_lock(&me->lock);
    for (struct node *n = me->nodes; n != NULL && st == ST_OK; n = n->next) {
        if (n->name == NULL || strncmp(n->name, path, dir_len) != 0 || strchr(n->name + dir_len, '/') != NULL) continue;
        char *copy = mem_copy(env->mem, n->name + dir_len, strlen(n->name + dir_len) + 1);
        if (copy == NULL || !mem_grow(env->mem, (void **) &names, &cap, count + 1, sizeof(*names))) {
            if (copy != NULL) mem_free(env->mem, copy, strlen(copy) + 1);
            st = RAISE(err, ST_NOMEM, "list %s", path);
        } else {
            names[count++] = copy;
        }
    }
    mutex_unlock(&me->lock);
    for (size_t i = 0; i < count; i++) {
        if (st == ST_OK) st = visit(ctx, names[i]);
        mem_free(env->mem, names[i], strlen(names[i]) + 1);
    }
    mem_free(env->mem, names, cap * sizeof(*names));
    return st;
}

/* --- clock, chance, process --- */

static uint64_t memory_now_ms(struct env *env) {
    (void) env;
    struct timespec t;
    (void) clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t) t.tv_sec * 1000 + (uint64_t) t.tv_nsec / 1000000;
}

static uint64_t memory_monotonic_ns(struct env *env) {
    (void) env;
    struct timespec t;
    (void) clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t) t.tv_sec * 1000000000 + (uint64_t) t.tv_nsec;
}

static void memory_random(struct env *env, void *p, size_t len) {
    uint64_t mix = memory_monotonic_ns(env) ^ (uint64_t) (uintptr_t) p << 16;
    for (size_t i = 0; i < len; i++) { /* stands when the kernel gives none */
        mix = mix * 0x5851f42d4c957f2du + 0x14057b7ef767814fu;
        ((uint8_t *) p)[i] = (uint8_t) (mix >> 56);
    }
    for (size_t done = 0; done < len;) {
        ssize_t n = getrandom((char *) p + done, len - done, GRND_NONBLOCK);
        if (n <= 0) break;
        done += (size_t) n;
    }
}

static status memory_secret(struct env *env, void *p, size_t len, struct err *err) {
    (void) env;
    return random_secret(p, len, err);
}

static void memory_process_name(struct env *env, char *text, size_t text_len) {
    (void) env;
    (void) snprintf(text, text_len, "pid %ld", (long) getpid());
}

static void memory_free(struct env *env) {
    struct memory_env *me = env_of(env);
    while (me->nodes != NULL) {
        struct node *n = me->nodes;
        me->nodes = n->next;
        free_node(me, n);
    }
    mutex_release(&me->lock);
    mem_delete(env->mem, me);
}

static const struct env_ops memory_env_ops = {
    .open = memory_open,
    .unlink = memory_unlink,
    .rename = memory_rename,
    .sync_dir = memory_sync_dir,
    .real_path = memory_real_path,
    .list_dir = memory_list_dir,
    .now_ms = memory_now_ms,
    .monotonic_ns = memory_monotonic_ns,
    .random = memory_random,
    .secret = memory_secret,
    .process_name = memory_process_name,
    .free = memory_free,
};

status env_memory_new(const struct mem *mem, struct env **out, struct err *err) {
    struct memory_env *me = mem_new(mem, struct memory_env);
    if (me == NULL) return RAISE(err, ST_NOMEM, "env");
    me->env = (struct env){&memory_env_ops, mem};
    status st = mutex_init(&me->lock, err);
    if (st != ST_OK) {
        mem_delete(mem, me);
        return st;
    }
    *out = &me->env;
    return ST_OK;
}
