/* What elmo import reads: a window that slides over a file, a pipe or a gzip stream. Memory is bounded by the largest document.
 *
 * `text + at` is where the reader stands; text[len] is a NUL. input_more gets more behind it, and may move the window: keep offsets from `at`. */
#ifndef ELMO_CLI_INPUT_H
#define ELMO_CLI_INPUT_H

#include "stream.h"

/* A document of 16 MiB may be several times as long as JSON. */
#define INPUT_WINDOW_MAX ((size_t) 256 * 1024 * 1024)

struct input {
    struct stream_in in;
    char *text;
    size_t at, len, cap;
    bool at_end;
    size_t line, counted_to; /* `line`, from 1, is that of text[counted_to] */
    uint64_t base;           /* the place of text[0] in the input */
};

/* "-" is standard input. A mark of UTF-8 at the beginning is passed over. Complains. */
bool input_open(struct input *i, const char *path);
/* False when there is nothing more, or the window is full. */
bool input_more(struct input *i);
/* Are there n bytes from `at`? Reads as needed. */
bool input_has(struct input *i, size_t n);
/* The line of text[at]; to be asked in ascending order. */
size_t input_line(struct input *i, size_t at);
/* Over white space. False at the end of the input. */
bool input_skip_space(struct input *i);
/* Behind the end of the line. */
void input_skip_line(struct input *i);
/* True (complained) when reading failed: what looked like the end was none. */
bool input_failed(const struct input *i);
void input_close(struct input *i);

#endif
