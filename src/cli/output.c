/* What the command prints: documents, errors, numbers, progress. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "json_out.h"

bool is_terminal(int fd) { return isatty(fd) == 1; }

double now_seconds(void) {
    struct timespec ts;
    (void) clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double) ts.tv_sec + (double) ts.tv_nsec / 1e9;
}

int complain(const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    fputs("elmo: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    return EXIT_ERROR;
}

int complain_of(const bson_error_t *error) { return complain("%s (code %u)", error->message, error->code); }

char *json_of(const bson_t *doc) {
    struct text json = {0};
    if (json_append(&json, doc, false, JSON_RELAXED | JSON_SPACED)) return json.p;
    text_release(&json);
    return NULL;
}

/* One line of JSON, laid out: a new line and two blanks more per level; short innermost objects stay on one line. */
static void print_indented(const char *json, FILE *out) {
    int depth = 0;
    bool in_string = false;
    for (const char *p = json; *p != '\0'; p++) {
        if (in_string) {
            fputc(*p, out);
            if (*p == '\\' && p[1] != '\0') fputc(*++p, out);
            else if (*p == '"') in_string = false;
            continue;
        }
        if (*p == '{' || *p == '[') {
            char close = *p == '{' ? '}' : ']';
            size_t inner = strcspn(p + 1, "{}[]");
            if (p[1 + inner] == close && inner < 80) { /* nothing nested inside */
                fwrite(p, 1, inner + 2, out);
                p += inner + 1;
                continue;
            }
            depth++;
            fprintf(out, "%c\n%*s", *p, depth * 2, "");
            while (p[1] == ' ') p++;
        } else if (*p == '}' || *p == ']') {
            depth--;
            fprintf(out, "\n%*s%c", depth * 2, "", *p);
        } else if (*p == ',') {
            fprintf(out, ",\n%*s", depth * 2, "");
            while (p[1] == ' ') p++;
        } else {
            fputc(*p, out);
            in_string = *p == '"';
        }
    }
    fputc('\n', out);
}

void print_document(const bson_t *doc) {
    char *json = json_of(doc);
    if (json == NULL) {
        (void) complain("a document cannot be shown as JSON");
        return;
    }
    if (is_terminal(STDOUT_FILENO)) {
        print_indented(json, stdout);
    } else {
        puts(json);
    }
    bson_free(json);
}

const char *with_commas(int64_t n) {
    static char ring[8][32];
    static int at;
    char digits[32], *out = ring[at++ & 7];
    int len = snprintf(digits, sizeof(digits), "%lld", (long long) n), w = 0;
    for (int i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0 && digits[i - 1] != '-') out[w++] = ',';
        out[w++] = digits[i];
    }
    out[w] = '\0';
    return out;
}

const char *with_unit(int64_t bytes) {
    static char ring[8][32];
    static int at;
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    char *out = ring[at++ & 7];
    double v = (double) bytes;
    int u = 0;
    while (v >= 1024 && u < 4) {
        v /= 1024;
        u++;
    }
    (void) snprintf(out, 32, u == 0 ? "%.0f %s" : "%.1f %s", v, units[u]);
    return out;
}

void progress_start(struct progress *p, const char *what) {
    *p = (struct progress){.what = what, .started = now_seconds(), .is_on = is_terminal(STDERR_FILENO)};
}

void progress_show(struct progress *p, double fraction, int64_t count) {
    double now = now_seconds();
    if (!p->is_on || now - p->drawn < 0.1) return;
    p->drawn = now;
    char bar[31];
    int full = (int) (fraction * 30);
    for (int i = 0; i < 30; i++) bar[i] = i < full ? '#' : '.';
    bar[30] = '\0';
    double seconds = now - p->started, left = fraction > 0.01 ? seconds / fraction - seconds : 0;
    fprintf(stderr, "\r%s [%s] %3.0f %%  %s documents  %s/s  %.0f s left \033[K", p->what, bar, fraction * 100,
            with_commas(count), with_commas(seconds > 0 ? (int64_t) ((double) count / seconds) : 0), left);
    fflush(stderr);
}

void progress_end(struct progress *p) {
    if (p->is_on && p->drawn > 0) fputs("\r\033[K", stderr);
}
