/* Bytes in and out: see stream.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "stream.h"

/* ---- in ---- */

static size_t read_some(struct stream_in *s, uint8_t *out, size_t n) {
    ssize_t got;
    do {
        got = read(s->fd, out, n);
    } while (got < 0 && errno == EINTR);
    if (got < 0) (void) snprintf(s->error, sizeof(s->error), "cannot read: %s", strerror(errno));
    if (got > 0) s->taken += (uint64_t) got;
    return got > 0 ? (size_t) got : 0;
}

/* Fills the plain buffer from compressed bytes. */
static void inflate_some(struct stream_in *s) {
    s->z.next_out = s->buf;
    s->z.avail_out = (uInt) STREAM_BUFFER;
    while (s->z.avail_out > 0 && s->error[0] == '\0') {
        if (s->z.avail_in == 0) {
            s->z.next_in = s->raw;
            s->z.avail_in = (uInt) read_some(s, s->raw, STREAM_BUFFER);
            if (s->z.avail_in == 0) break;
        }
        if (!s->member_open && inflateReset(&s->z) != Z_OK) break;
        s->member_open = true;
        int rc = inflate(&s->z, Z_NO_FLUSH);
        if (rc == Z_STREAM_END) s->member_open = false; /* another member may follow */
        else if (rc != Z_OK && rc != Z_BUF_ERROR)
            (void) snprintf(s->error, sizeof(s->error), "the compressed data is damaged (%s)",
                            s->z.msg != NULL ? s->z.msg : "zlib");
        if (rc == Z_OK && s->z.avail_in > 0 && s->z.avail_out == 0) break;
    }
    s->begin = 0;
    s->end = STREAM_BUFFER - s->z.avail_out;
    if (s->end == 0 && s->error[0] == '\0' && s->member_open)
        (void) snprintf(s->error, sizeof(s->error), "the compressed data ends in the middle: the file is cut off");
}

static bool fill(struct stream_in *s) {
    if (s->at_end || s->error[0] != '\0') return false;
    if (s->is_gzip) {
        inflate_some(s);
    } else {
        s->begin = 0;
        s->end = read_some(s, s->buf, STREAM_BUFFER);
    }
    if (s->end == 0) s->at_end = true;
    return s->end > 0;
}

/* The first bytes are in the plain buffer already: is it gzip? */
static bool begin_gzip(struct stream_in *s, enum gzip_mode mode) {
    size_t len = 0, n;
    while (len < 2 && (n = read_some(s, s->buf + len, STREAM_BUFFER - len)) > 0) len += n;
    bool magic = len >= 2 && s->buf[0] == 0x1f && s->buf[1] == 0x8b;
    s->end = len;
    if (s->error[0] != '\0') {
        (void) complain("%s: %s", s->name, s->error);
        return false;
    }
    if (!magic && mode == GZIP_YES) {
        (void) complain("%s: this is not gzip", s->name);
        return false;
    }
    if (!magic) return true;
    memcpy(s->raw, s->buf, len);
    s->end = 0;
    s->is_gzip = true;
    s->z.next_in = s->raw;
    s->z.avail_in = (uInt) len;
    if (inflateInit2(&s->z, 15 + 16) == Z_OK) return true;
    s->is_gzip = false;
    (void) complain("no memory");
    return false;
}

bool stream_in_open(struct stream_in *s, const char *path, enum gzip_mode mode) {
    struct stat st;
    *s = (struct stream_in){.name = path, .is_stdin = strcmp(path, "-") == 0};
    if (s->is_stdin) s->name = "standard input";
    s->fd = s->is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (s->fd < 0 || fstat(s->fd, &st) != 0 || (S_ISDIR(st.st_mode) && (errno = EISDIR))) {
        (void) complain("cannot read '%s': %s", s->name, strerror(errno));
        if (s->fd >= 0 && !s->is_stdin) (void) close(s->fd);
        s->fd = -1;
        return false;
    }
    if (S_ISREG(st.st_mode)) s->size = (uint64_t) st.st_size;
    s->buf = malloc(STREAM_BUFFER);
    s->raw = mode != GZIP_NO ? malloc(STREAM_BUFFER) : NULL;
    bool ok = s->buf != NULL && (mode == GZIP_NO || s->raw != NULL);
    if (!ok) (void) complain("no memory");
    if (ok && mode != GZIP_NO) ok = begin_gzip(s, mode);
    if (!ok) stream_in_close(s);
    return ok;
}

size_t stream_in_read(struct stream_in *s, void *out, size_t n) {
    if (s->begin == s->end && !fill(s)) return 0;
    size_t have = s->end - s->begin;
    if (n > have) n = have;
    memcpy(out, s->buf + s->begin, n);
    s->begin += n;
    s->at += n;
    return n;
}

bool stream_in_exact(struct stream_in *s, void *out, size_t n, size_t *got) {
    size_t done = 0, part;
    while (done < n && (part = stream_in_read(s, (uint8_t *) out + done, n - done)) > 0) done += part;
    if (got != NULL) *got = done;
    return done == n;
}

void stream_in_close(struct stream_in *s) {
    if (s->is_gzip) (void) inflateEnd(&s->z);
    if (s->fd >= 0 && !s->is_stdin) (void) close(s->fd);
    free(s->raw);
    free(s->buf);
    *s = (struct stream_in){.fd = -1};
}

/* ---- out ---- */

static bool fail(struct stream_out *s, const char *what, int code) {
    if (!s->failed)
        (void) complain("cannot %s '%s': %s", what, s->path != NULL ? s->path : "standard output", strerror(code));
    s->failed = true;
    return false;
}

static bool write_all(struct stream_out *s, const uint8_t *bytes, size_t n) {
    while (n > 0 && !s->failed) {
        ssize_t done = write(s->fd, bytes, n);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return fail(s, "write", errno);
        bytes += done;
        n -= (size_t) done;
    }
    return !s->failed;
}

static bool flush(struct stream_out *s, bool last) {
    if (!s->is_gzip) {
        bool ok = write_all(s, s->buf, s->used);
        s->used = 0;
        return ok;
    }
    int rc = Z_OK;
    s->z.next_in = s->buf;
    s->z.avail_in = (uInt) s->used;
    do {
        s->z.next_out = s->raw;
        s->z.avail_out = (uInt) STREAM_BUFFER;
        rc = deflate(&s->z, last ? Z_FINISH : Z_NO_FLUSH);
        if (!write_all(s, s->raw, STREAM_BUFFER - s->z.avail_out)) return false;
    } while (s->z.avail_out == 0 || (last && rc == Z_OK));
    s->used = 0;
    return true;
}

/* A file that is none yet, or a regular one, is written beside its name first. */
static bool open_file(struct stream_out *s, const char *path) {
    struct stat st;
    s->path = strdup(path);
    if (s->path == NULL) return fail(s, "write", ENOMEM);
    if (stat(path, &st) != 0 || S_ISREG(st.st_mode)) {
        const char *slash = strrchr(path, '/');
        int folder = slash != NULL ? (int) (slash - path) + 1 : 0;
        s->partial = bson_strdup_printf("%.*s.partial-%ld", folder, path, (long) getpid());
    }
    s->fd = open(s->partial != NULL ? s->partial : path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (s->fd >= 0) return true;
    (void) fail(s, "write", errno);
    bson_free(s->partial);
    s->partial = NULL;
    return false;
}

bool stream_out_open(struct stream_out *s, const char *path, bool gzip) {
    *s = (struct stream_out){.fd = STDOUT_FILENO, .is_gzip = gzip};
    s->buf = malloc(STREAM_BUFFER);
    s->raw = gzip ? malloc(STREAM_BUFFER) : NULL;
    bool ok = s->buf != NULL && (!gzip || s->raw != NULL) &&
        (!gzip || deflateInit2(&s->z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    if (!ok) {
        s->is_gzip = false;
        (void) fail(s, "write", ENOMEM);
    }
    if (ok && strcmp(path, "-") != 0) ok = open_file(s, path);
    if (!ok) stream_out_abort(s);
    return ok;
}

bool stream_out_write(struct stream_out *s, const void *bytes, size_t n) {
    const uint8_t *from = bytes;
    s->written += n;
    while (n > 0) {
        size_t part = STREAM_BUFFER - s->used;
        if (part > n) part = n;
        memcpy(s->buf + s->used, from, part);
        s->used += part;
        from += part;
        n -= part;
        if (s->used == STREAM_BUFFER && !flush(s, false)) return false;
    }
    return !s->failed;
}

bool stream_out_commit(struct stream_out *s) {
    bool ok = !s->failed && flush(s, true);
    if (ok && s->partial != NULL && fsync(s->fd) != 0) ok = fail(s, "write", errno);
    if (s->path != NULL && s->fd >= 0) {
        if (close(s->fd) != 0 && ok) ok = fail(s, "write", errno);
        s->fd = -1;
    }
    if (ok && s->partial != NULL && rename(s->partial, s->path) != 0) ok = fail(s, "write", errno);
    if (ok) {
        bson_free(s->partial);
        s->partial = NULL;
    }
    stream_out_abort(s);
    return ok;
}

void stream_out_abort(struct stream_out *s) {
    if (s->is_gzip) (void) deflateEnd(&s->z);
    if (s->path != NULL && s->fd >= 0) (void) close(s->fd);
    if (s->partial != NULL) (void) unlink(s->partial);
    bson_free(s->partial);
    free(s->path);
    free(s->raw);
    free(s->buf);
    *s = (struct stream_out){.fd = -1};
}
