/* The env of a real machine; see env.h for the contract.
 *
 * Holds nothing but the memory hook. A file holds its descriptor and its path (for errors). Locks are open-file-description
 * locks: they belong to the open, not to the process, so that a second open in the same process is refused too, and closing
 * some other descriptor of the file does not drop them. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "os/env.h"
#include "os/secret.h"

#define FILE_MODE 0644 /* before the umask */
#define LINKS_MAX 40   /* as the kernel's own limit on links followed in one path */

struct posix_file {
    struct file file;
    const struct mem *mem;
    int fd;
    char *path; /* NUL-terminated, mem_free'd with path_len + 1 */
    size_t path_len;
};

struct posix_env {
    struct env env;
};

/* The cast of an ops argument back to what it is embedded in. */
static struct posix_file *file_of(struct file *f) { return (struct posix_file *) f; }

static status raise_errno(struct err *err, int e, const char *what, const char *path) {
    char text[128];
    status st = e == ENOSPC || e == EDQUOT || e == EFBIG ? ST_NO_SPACE : e == ENOMEM ? ST_NOMEM : ST_IO;
    return RAISE(err, st, "%s %s: %s", what, path, strerror_r(e, text, sizeof(text)));
}

static status posix_read_at(struct file *f, uint64_t at, void *p, size_t len, struct err *err) {
    struct posix_file *pf = file_of(f);
    for (size_t done = 0; done < len;) {
        ssize_t n = pread(pf->fd, (char *) p + done, len - done, (off_t) (at + done));
        if (n > 0) {
            done += (size_t) n;
        } else if (n == 0) {
            return RAISE(err, ST_CORRUPT, "%s: short read at %llu: %zu bytes of %zu", pf->path, (unsigned long long) at,
                         done, len);
        } else if (errno != EINTR) {
            return raise_errno(err, errno, "read", pf->path);
        }
    }
    return ST_OK;
}

static status posix_write_at(struct file *f, uint64_t at, const void *p, size_t len, struct err *err) {
    struct posix_file *pf = file_of(f);
    for (size_t done = 0; done < len;) {
        ssize_t n = pwrite(pf->fd, (const char *) p + done, len - done, (off_t) (at + done));
        if (n > 0) {
            done += (size_t) n;
        } else if (n == 0) {
            return raise_errno(err, EIO, "write", pf->path);
        } else if (errno != EINTR) {
            return raise_errno(err, errno, "write", pf->path);
        }
    }
    return ST_OK;
}

static status posix_sync(struct file *f, struct err *err) {
    struct posix_file *pf = file_of(f);
    while (fdatasync(pf->fd) != 0)
        if (errno != EINTR) return raise_errno(err, errno, "sync", pf->path);
    return ST_OK;
}

static status posix_truncate(struct file *f, uint64_t len, struct err *err) {
    struct posix_file *pf = file_of(f);
    while (ftruncate(pf->fd, (off_t) len) != 0)
        if (errno != EINTR) return raise_errno(err, errno, "truncate", pf->path);
    return ST_OK;
}

static status posix_size(struct file *f, uint64_t *len, struct err *err) {
    struct posix_file *pf = file_of(f);
    struct stat s;
    if (fstat(pf->fd, &s) != 0) return raise_errno(err, errno, "stat", pf->path);
    if (!S_ISREG(s.st_mode)) return RAISE(err, ST_IO, "%s is not a regular file", pf->path);
    *len = (uint64_t) s.st_size;
    return ST_OK;
}

static status posix_preallocate(struct file *f, uint64_t at, uint64_t len, struct err *err) {
    struct posix_file *pf = file_of(f);
    if (len == 0) return ST_OK;
    while (fallocate(pf->fd, 0, (off_t) at, (off_t) len) != 0) {
        if (errno == EINTR) continue;
        if (errno != EOPNOTSUPP && errno != ENOSYS && errno != EINVAL)
            return raise_errno(err, errno, "allocate", pf->path);
        uint64_t have; /* this file system cannot: the length at least */
        TRY(posix_size(f, &have, err));
        return have < at + len ? posix_truncate(f, at + len, err) : ST_OK;
    }
    return ST_OK;
}

static status posix_lock(struct file *f, enum file_lock kind, struct err *err) {
    struct posix_file *pf = file_of(f);
    struct flock whole = {.l_type = kind == FILE_LOCK_SHARED ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET};
    while (fcntl(pf->fd, F_OFD_SETLK, &whole) != 0) {
        if (errno == EAGAIN || errno == EACCES) return RAISE(err, ST_BUSY, "%s is locked by another user", pf->path);
        if (errno != EINTR) return raise_errno(err, errno, "lock", pf->path);
    }
    return ST_OK;
}

static void posix_will_need(struct file *f, uint64_t at, uint64_t len) {
    (void) posix_fadvise(file_of(f)->fd, (off_t) at, (off_t) len, POSIX_FADV_WILLNEED);
}

static void posix_close(struct file *f) {
    struct posix_file *pf = file_of(f);
    (void) close(pf->fd); /* not restarted: on Linux the descriptor is gone either way */
    mem_free(pf->mem, pf->path, pf->path_len + 1);
    mem_delete(pf->mem, pf);
}

static const struct file_ops posix_file_ops = {
    .read_at = posix_read_at,
    .write_at = posix_write_at,
    .sync = posix_sync,
    .truncate = posix_truncate,
    .size = posix_size,
    .preallocate = posix_preallocate,
    .lock = posix_lock,
    .will_need = posix_will_need,
    .close = posix_close,
};

static status posix_open(struct env *env, const char *path, unsigned flags, struct file **out, struct err *err) {
    int how = O_CLOEXEC | ((flags & FILE_READ_ONLY) != 0 ? O_RDONLY : O_RDWR);
    if ((flags & FILE_CREATE) != 0) how |= O_CREAT;
    if ((flags & FILE_EXCLUSIVE) != 0) how |= O_EXCL;
    if ((flags & FILE_TRUNCATE) != 0) how |= O_TRUNC;
    struct posix_file *pf = mem_new(env->mem, struct posix_file);
    size_t path_len = strlen(path);
    char *copy = mem_copy(env->mem, path, path_len + 1);
    status st = ST_OK;
    if (pf == NULL || copy == NULL) {
        st = RAISE(err, ST_NOMEM, "open %s", path);
        goto out;
    }
    int fd;
    do fd = open(path, how, FILE_MODE);
    while (fd < 0 && errno == EINTR);
    if (fd < 0) {
        if (errno == ENOENT && (flags & FILE_CREATE) == 0) st = ST_NOT_FOUND;
        else if (errno == EEXIST) st = RAISE(err, ST_DUPLICATE, "%s exists", path);
        else st = raise_errno(err, errno, "open", path);
        goto out;
    }
    *pf =
        (struct posix_file){.file.ops = &posix_file_ops, .mem = env->mem, .fd = fd, .path = copy, .path_len = path_len};
    *out = &pf->file;
    pf = NULL;
    copy = NULL;
out:
    if (pf != NULL) mem_delete(env->mem, pf);
    mem_free(env->mem, copy, path_len + 1);
    return st;
}

static status posix_unlink(struct env *env, const char *path, struct err *err) {
    (void) env;
    if (unlink(path) == 0) return ST_OK;
    return errno == ENOENT ? ST_NOT_FOUND : raise_errno(err, errno, "unlink", path);
}

static status posix_rename(struct env *env, const char *from, const char *to, struct err *err) {
    (void) env;
    return rename(from, to) == 0 ? ST_OK : raise_errno(err, errno, "rename", from);
}

/* The directory that holds `path`, into dir (PATH_MAX bytes). */
static status directory_of(const char *path, char *dir, struct err *err) {
    const char *slash = strrchr(path, '/');
    size_t len = slash == NULL ? 0 : slash == path ? 1 : (size_t) (slash - path);
    if (len >= PATH_MAX) return raise_errno(err, ENAMETOOLONG, "open", path);
    memcpy(dir, len != 0 ? path : ".", len != 0 ? len : 1);
    dir[len != 0 ? len : 1] = '\0';
    return ST_OK;
}

static status posix_sync_dir(struct env *env, const char *path, struct err *err) {
    (void) env;
    char dir[PATH_MAX];
    TRY(directory_of(path, dir, err));
    int fd;
    do fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    while (fd < 0 && errno == EINTR);
    if (fd < 0) return raise_errno(err, errno, "open directory", dir);
    int e = 0;
    while (fsync(fd) != 0) {
        if (errno == EINTR) continue;
        if (errno != EINVAL && errno != ENOTSUP)
            e = errno; /* some file systems cannot sync directories: nothing to do */
        break;
    }
    (void) close(fd);
    return e == 0 ? ST_OK : raise_errno(err, e, "sync directory", dir);
}

/* Resolves a path whose last component is missing, following it while it is a dangling link. `real` has PATH_MAX bytes. */
static status resolve_missing(const char *path, char *real, struct err *err) {
    char at[PATH_MAX], dir[PATH_MAX], target[PATH_MAX];
    if (strlen(path) >= sizeof(at)) return raise_errno(err, ENAMETOOLONG, "open", path);
    strcpy(at, path);
    for (int links = 0; links < LINKS_MAX; links++) {
        TRY(directory_of(at, dir, err));
        if (realpath(dir, real) == NULL) return raise_errno(err, errno, "open", path);
        const char *slash = strrchr(at, '/');
        const char *name = slash != NULL ? slash + 1 : at;
        if (name[0] == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
            return raise_errno(err, ENOENT, "open", path);
        size_t dir_len = strcmp(real, "/") == 0 ? 0 : strlen(real), name_len = strlen(name);
        if (dir_len + 1 + name_len >= PATH_MAX) return raise_errno(err, ENAMETOOLONG, "open", path);
        real[dir_len] = '/';
        memcpy(real + dir_len + 1, name, name_len + 1);
        ssize_t n = readlink(real, target, sizeof(target) - 1);
        if (n < 0) return ST_OK; /* no link: this is the name to create */
        target[n] = '\0';
        if (target[0] == '/') {
            memcpy(at, target, (size_t) n + 1);
        } else {
            if (dir_len + 1 + (size_t) n >= PATH_MAX) return raise_errno(err, ENAMETOOLONG, "open", path);
            memcpy(at, real, dir_len + 1);
            memcpy(at + dir_len + 1, target, (size_t) n + 1);
        }
    }
    return raise_errno(err, ELOOP, "open", path);
}

static status posix_real_path(struct env *env, const char *path, char **out, struct err *err) {
    char real[PATH_MAX];
    if (realpath(path, real) == NULL) {
        if (errno != ENOENT) return raise_errno(err, errno, "open", path);
        TRY(resolve_missing(path, real, err));
    }
    *out = mem_copy(env->mem, real, strlen(real) + 1);
    return *out != NULL ? ST_OK : RAISE(err, ST_NOMEM, "resolve %s", path);
}

static status posix_list_dir(struct env *env, const char *path, status (*visit)(void *ctx, const char *name), void *ctx,
                             struct err *err) {
    (void) env;
    char dir[PATH_MAX];
    TRY(directory_of(path, dir, err));
    DIR *d = opendir(dir);
    if (d == NULL) return raise_errno(err, errno, "list", dir);
    status st = ST_OK;
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(d);
        if (entry == NULL) {
            if (errno != 0) st = raise_errno(err, errno, "list", dir);
            break;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        st = visit(ctx, entry->d_name);
        if (st != ST_OK) break;
    }
    (void) closedir(d);
    return st;
}

static uint64_t posix_now_ms(struct env *env) {
    (void) env;
    struct timespec t;
    (void) clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t) t.tv_sec * 1000 + (uint64_t) t.tv_nsec / 1000000;
}

static uint64_t posix_monotonic_ns(struct env *env) {
    (void) env;
    struct timespec t;
    (void) clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t) t.tv_sec * 1000000000 + (uint64_t) t.tv_nsec;
}

static void posix_random(struct env *env, void *p, size_t len) {
    size_t done = 0;
    while (done < len) {
        ssize_t n = getrandom((char *) p + done, len - done, 0);
        if (n > 0) done += (size_t) n;
        else if (errno != EINTR) break;
    }
    /* A kernel without getrandom: distinct in time and process, which is what ids and salts need. */
    uint64_t mix = posix_monotonic_ns(env) ^ posix_now_ms(env) << 20 ^ (uint64_t) getpid() << 44;
    for (; done < len; done++) {
        mix = mix * 0x5851f42d4c957f2du + 0x14057b7ef767814fu;
        ((unsigned char *) p)[done] = (unsigned char) (mix >> 56);
    }
}

static status posix_secret(struct env *env, void *p, size_t len, struct err *err) {
    (void) env;
    return random_secret(p, len, err);
}

static void posix_process_name(struct env *env, char *text, size_t text_len) {
    (void) env;
    char host[HOST_NAME_MAX + 1];
    if (gethostname(host, sizeof(host)) != 0) strcpy(host, "localhost");
    host[HOST_NAME_MAX] = '\0';
    (void) snprintf(text, text_len, "pid %ld on %s", (long) getpid(), host);
}

static void posix_free(struct env *env) {
    struct posix_env *pe = (struct posix_env *) env;
    mem_delete(env->mem, pe);
}

static const struct env_ops posix_env_ops = {
    .open = posix_open,
    .unlink = posix_unlink,
    .rename = posix_rename,
    .sync_dir = posix_sync_dir,
    .real_path = posix_real_path,
    .list_dir = posix_list_dir,
    .now_ms = posix_now_ms,
    .monotonic_ns = posix_monotonic_ns,
    .random = posix_random,
    .secret = posix_secret,
    .process_name = posix_process_name,
    .free = posix_free,
};

status env_posix_new(const struct mem *mem, struct env **out, struct err *err) {
    struct posix_env *pe = mem_new(mem, struct posix_env);
    if (pe == NULL) return RAISE(err, ST_NOMEM, "env");
    pe->env = (struct env){&posix_env_ops, mem};
    *out = &pe->env;
    return ST_OK;
}
