/* A window over the input: see input.h. */
#include <string.h>

#include "input.h"

#define WINDOW_STEP ((size_t) 1024 * 1024)

bool input_open(struct input *i, const char *path) {
    *i = (struct input){.line = 1};
    if (!stream_in_open(&i->in, path, GZIP_DETECT)) return false;
    if (input_has(i, 3) && memcmp(i->text, "\xEF\xBB\xBF", 3) == 0) i->at = 3;
    return true;
}

size_t input_line(struct input *i, size_t at) {
    while (i->counted_to < at && i->counted_to < i->len) {
        const char *from = i->text + i->counted_to;
        size_t left = (at < i->len ? at : i->len) - i->counted_to;
        const char *end = memchr(from, '\n', left);
        i->counted_to += end != NULL ? (size_t) (end - from) + 1 : left;
        i->line += end != NULL;
    }
    return i->line;
}

bool input_more(struct input *i) {
    if (i->at_end) return false;
    if (i->at > 0 && i->at >= i->len / 2) { /* what is done with goes */
        (void) input_line(i, i->at);
        memmove(i->text, i->text + i->at, i->len - i->at + 1);
        i->base += i->at;
        i->len -= i->at;
        i->counted_to -= i->at;
        i->at = 0;
    }
    if (i->cap - i->len <= WINDOW_STEP / 2) {
        if (i->cap >= INPUT_WINDOW_MAX) return false;
        i->cap = i->cap == 0 ? WINDOW_STEP : i->cap * 2;
        i->text = bson_realloc(i->text, i->cap);
    }
    size_t n = stream_in_read(&i->in, i->text + i->len, i->cap - i->len - 1);
    i->len += n;
    i->text[i->len] = '\0';
    if (n == 0) i->at_end = true;
    return n > 0;
}

bool input_has(struct input *i, size_t n) {
    while (i->len - i->at < n)
        if (!input_more(i)) return false;
    return true;
}

bool input_skip_space(struct input *i) {
    do {
        while (i->at < i->len && (i->text[i->at] == ' ' || (i->text[i->at] >= '\t' && i->text[i->at] <= '\r'))) i->at++;
    } while (i->at == i->len && input_more(i));
    return i->at < i->len;
}

void input_skip_line(struct input *i) {
    do {
        const char *end = i->len > i->at ? memchr(i->text + i->at, '\n', i->len - i->at) : NULL;
        i->at = end != NULL ? (size_t) (end - i->text) + 1 : i->len;
        if (end != NULL) return;
    } while (input_more(i));
}

bool input_failed(const struct input *i) {
    if (i->in.error[0] == '\0') return false;
    (void) complain("%s: byte %llu: %s", i->in.name, (unsigned long long) i->in.at, i->in.error);
    return true;
}

void input_close(struct input *i) {
    stream_in_close(&i->in);
    bson_free(i->text);
    i->text = NULL;
}
