/* Rows of CSV and TSV: see csv.h. */
#include <stdio.h>
#include <string.h>

#include "csv.h"

#define ROW_BYTES_MAX ((size_t) 64 * 1024 * 1024)

static void append(struct csv_row *row, const char *bytes, size_t len) {
    if (row->cap - row->used < len + 1) {
        row->cap = row->cap == 0 ? 4096 : row->cap;
        while (row->cap - row->used < len + 1) row->cap *= 2;
        row->bytes = bson_realloc(row->bytes, row->cap);
    }
    memcpy(row->bytes + row->used, bytes, len);
    row->used += len;
}

static void begin_field(struct csv_row *row) {
    if (row->count == row->field_cap) {
        row->field_cap = row->field_cap == 0 ? 64 : row->field_cap * 2;
        row->fields = bson_realloc(row->fields, row->field_cap * sizeof(*row->fields));
    }
    row->fields[row->count++] = (struct csv_field){.at = row->used};
}

static void end_field(struct csv_row *row) {
    struct csv_field *field = &row->fields[row->count - 1];
    field->len = row->used - field->at;
    append(row, "", 1); /* the NUL */
}

/* What stands at offset `at` from the reader's place; 0 at the end of the input (and for a NUL, which is told apart by `*has`). */
static char peek(struct input *in, size_t at, bool *has) {
    *has = input_has(in, at + 1);
    return *has ? in->text[in->at + at] : '\0';
}

/* Where the line ends that begins at the offset. */
static size_t line_end(struct input *in, size_t from) {
    for (;;) {
        size_t here = in->at + from;
        const char *end = in->len > here ? memchr(in->text + here, '\n', in->len - here) : NULL;
        if (end != NULL) return (size_t) (end - in->text) - in->at;
        from = in->len - in->at;
        if (from > ROW_BYTES_MAX || !input_more(in)) return in->len - in->at;
    }
}

/* A field in quotes, the first of them at *at; leaves *at behind the last. False: it does not end well. */
static bool take_quoted(struct input *in, size_t *at, struct csv_row *row) {
    bool has;
    for (++*at;;) {
        if (!input_has(in, *at + 1)) break;
        const char *from = in->text + in->at + *at;
        size_t left = in->len - in->at - *at;
        const char *quote = memchr(from, '"', left);
        size_t len = quote != NULL ? (size_t) (quote - from) : left;
        for (size_t i = 0; i < len; i++) /* CR LF is one line end, also in quotes */
            if (!(from[i] == '\r' && i + 1 < len && from[i + 1] == '\n')) append(row, from + i, 1);
        *at += len;
        if (row->used > ROW_BYTES_MAX) break;
        if (quote == NULL) continue;
        ++*at;
        char c = peek(in, *at, &has);
        if (has && c == '"') {
            append(row, "\"", 1);
            ++*at;
            continue;
        }
        if (!has || c == ',' || c == '\n' || c == '\r') return true;
        (void) snprintf(row->error, sizeof(row->error), "field %zu: a quote inside a quoted field must be doubled",
                        row->count);
        return false;
    }
    (void) snprintf(row->error, sizeof(row->error), "field %zu: the quoted field does not end", row->count);
    return false;
}

static void take_plain(struct input *in, size_t *at, struct csv_row *row) {
    for (;;) {
        if (!input_has(in, *at + 1)) return;
        const char *from = in->text + in->at + *at;
        size_t len = strcspn(from, ",\n\r"), left = in->len - in->at - *at;
        if (len > left) len = left;
        append(row, from, len);
        *at += len;
        if (len == left) continue;
        char c = from[len];
        bool has, is_end = c == ',' || c == '\n' || (c == '\r' && (peek(in, *at + 1, &has) == '\n' || !has));
        if (is_end) return;
        append(row, &c, 1); /* a NUL, or a lone CR */
        ++*at;
    }
}

static enum csv_result take_csv(struct input *in, struct csv_row *row) {
    size_t at = 0;
    bool has;
    for (;;) {
        begin_field(row);
        char c = peek(in, at, &has);
        while (has && (c == ' ' || c == '\t')) c = peek(in, ++at, &has);
        if (has && c == '"') {
            if (!take_quoted(in, &at, row)) return CSV_BAD;
        } else {
            take_plain(in, &at, row);
        }
        end_field(row);
        if (row->used > ROW_BYTES_MAX) {
            (void) snprintf(row->error, sizeof(row->error), "the row is too long");
            return CSV_BAD;
        }
        c = peek(in, at, &has);
        if (has && c == ',') {
            at++;
            continue;
        }
        if (has && c == '\r') c = peek(in, ++at, &has);
        if (has && c == '\n') at++;
        in->at += at;
        return CSV_ROW;
    }
}

static enum csv_result take_tsv(struct input *in, struct csv_row *row) {
    size_t len = line_end(in, 0), end = len;
    const char *from = in->text + in->at;
    while (end > 0 && from[end - 1] == '\r') end--;
    for (size_t at = 0;;) {
        const char *tab = at < end ? memchr(from + at, '\t', end - at) : NULL;
        size_t field_end = tab != NULL ? (size_t) (tab - from) : end;
        begin_field(row);
        append(row, from + at, field_end - at);
        end_field(row);
        if (tab == NULL) break;
        at = field_end + 1;
    }
    in->at += len + (in->at + len < in->len);
    return CSV_ROW;
}

/* Over empty lines. False at the end. */
static bool find_row(struct input *in) {
    bool has;
    for (;;) {
        char c = peek(in, 0, &has);
        if (!has) return false;
        if (c == '\r' && peek(in, 1, &has) == '\n' && has) in->at += 2;
        else if (c == '\n') in->at++;
        else return true;
    }
}

enum csv_result csv_next(struct input *in, bool is_tsv, struct csv_row *row) {
    row->used = row->count = 0;
    row->error[0] = '\0';
    if (!find_row(in)) return CSV_END;
    row->line = input_line(in, in->at);
    enum csv_result result = is_tsv ? take_tsv(in, row) : take_csv(in, row);
    if (result == CSV_BAD) input_skip_line(in);
    return result;
}

void csv_row_release(struct csv_row *row) {
    bson_free(row->bytes);
    bson_free(row->fields);
    *row = (struct csv_row){0};
}
