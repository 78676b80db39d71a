/* Bytes in and out of files, pipes and gzip.
 *
 * A file that is written appears under its name only when it is whole: until stream_out_commit it is .partial-PID in the same folder (a short name: a collection's may be as long as
 * names can be). Pipes, devices and
 * standard output ("-") are written as they are. */
#ifndef ELMO_CLI_STREAM_H
#define ELMO_CLI_STREAM_H

#include <zlib.h>

#include "cli.h"

#define STREAM_BUFFER ((size_t) 1024 * 1024)

struct stream_in {
    const char *name; /* for messages; borrowed */
    int fd;
    bool is_gzip, is_stdin, at_end;
    uint64_t at;    /* bytes handed out, after decompression */
    uint64_t size;  /* of the file, 0 when unknown */
    uint64_t taken; /* bytes read from the file, for progress */
    z_stream z;
    uint8_t *raw; /* compressed */
    uint8_t *buf; /* plain: [begin, end) waits */
    size_t begin, end;
    bool member_open; /* in the middle of a gzip member */
    char error[200];  /* "" while all is well */
};
enum gzip_mode { GZIP_NO, GZIP_YES, GZIP_DETECT }; /* DETECT: by the first two bytes */

/* "-" is standard input. Complains on failure. */
bool stream_in_open(struct stream_in *s, const char *path, enum gzip_mode mode);
/* Reads up to n bytes: 0 at the end or on failure (s->error). */
size_t stream_in_read(struct stream_in *s, void *out, size_t n);
/* Exactly n bytes. False at the end and on failure; *got (may be NULL) tells how many there were. */
bool stream_in_exact(struct stream_in *s, void *out, size_t n, size_t *got);
void stream_in_close(struct stream_in *s);

/* All of a file that is at most max bytes long, with a NUL behind it, to be freed with bson_free; NULL (complained) on failure. */
char *read_text(const char *path, size_t max, size_t *len);

struct stream_out {
    char *path, *partial; /* partial NULL: not a file of ours */
    int fd;
    bool is_gzip, failed;
    uint64_t written; /* before compression */
    z_stream z;
    uint8_t *raw, *buf;
    size_t used;
};
/* "-" is standard output. Complains on failure. */
bool stream_out_open(struct stream_out *s, const char *path, bool gzip);
/* Complains once on failure. */
bool stream_out_write(struct stream_out *s, const void *bytes, size_t n);
/* All is written: the file gets its name. Complains. The stream is closed in either case. */
bool stream_out_commit(struct stream_out *s);
/* Gives up: an unfinished file is removed. Safe after commit and on a zeroed stream. */
void stream_out_abort(struct stream_out *s);

#endif
