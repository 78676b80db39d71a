/* The server's log. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "server/fault.h"
#include "server/log.h"

#define LINE_MAX_LEN 2048u
#define TAIL_LEN 4u /* room kept for what closes a line */

/* A line under construction: what does not fit leaves it as it was before that part. */
struct line {
    char text[LINE_MAX_LEN];
    size_t len;
    bool is_full;
};

static void add(struct line *line, const char *p, size_t len) {
    if (line->is_full || len > LINE_MAX_LEN - TAIL_LEN - line->len) {
        line->is_full = true;
        return;
    }
    memcpy(line->text + line->len, p, len);
    line->len += len;
}

static void add_text(struct line *line, const char *text) { add(line, text, strlen(text)); }

/* Over-long bytes of UTF-8 are not told from good ones here: whatever is no ASCII is escaped as Latin-1, which is JSON in any case. */
static void add_quoted(struct line *line, const char *text) {
    add_text(line, "\"");
    for (const unsigned char *p = (const unsigned char *) text; *p != '\0' && !line->is_full; p++) {
        char escape[8];
        if (*p == '"' || *p == '\\') (void) snprintf(escape, sizeof(escape), "\\%c", *p);
        else if (*p < ' ' || *p > '~') (void) snprintf(escape, sizeof(escape), "\\u%04x", *p);
        else (void) snprintf(escape, sizeof(escape), "%c", *p);
        add_text(line, escape);
    }
    add_text(line, "\"");
}

static void add_attr(struct line *line, const struct attr *a, bool is_first) {
    char number[24];
    struct line before = {.len = line->len, .is_full = line->is_full};
    add_text(line, is_first ? "" : ",");
    add_quoted(line, a->name);
    add_text(line, ":");
    (void) snprintf(number, sizeof(number), "%" PRId64, a->number);
    if (a->kind == ATTR_TEXT) add_quoted(line, a->text != NULL ? a->text : "");
    else if (a->kind == ATTR_BOOL) add_text(line, a->number != 0 ? "true" : "false");
    else add_text(line, number);
    if (line->is_full) line->len = before.len;
}

static void begin(struct line *line, char severity, const char *component, int32_t id, const char *context,
                  const char *message) {
    struct timespec now;
    struct tm utc;
    char head[160];
    (void) clock_gettime(CLOCK_REALTIME, &now);
    (void) gmtime_r(&now.tv_sec, &utc);
    (void) snprintf(head, sizeof(head),
                    "{\"t\":{\"$date\":\"%04d-%02d-%02dT%02d:%02d:%02d.%03d+00:00\"},\"s\":\"%c\",\"c\":\"%s\","
                    "\"id\":%" PRId32 ",\"ctx\":",
                    utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
                    (int) (now.tv_nsec / 1000000), severity, component, id);
    line->len = 0;
    line->is_full = false;
    add_text(line, head);
    add_quoted(line, context);
    add_text(line, ",\"msg\":");
    add_quoted(line, message);
}

/* Standard output may be a pipe that nobody reads any more: the line is lost then, the server is not. */
static void end(struct log *log, struct line *line, char severity) {
    line->text[line->len++] = '}';
    line->text[line->len] = '\0';
    if (log->db != NULL) elmo_log_line(log->db, line->text, severity == 'W');
    line->text[line->len++] = '\n';
    (void) pthread_mutex_lock(&log->lock);
    for (size_t at = 0; log->fd >= 0 && at < line->len;) {
        ssize_t n = write(log->fd, line->text + at, line->len - at);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break;
        at += (size_t) n;
    }
    (void) pthread_mutex_unlock(&log->lock);
}

void log_line(struct log *log, char severity, const char *component, int32_t id, const char *context,
              const char *message, const struct attr *attrs, size_t attr_count) {
    struct line line;
    begin(&line, severity, component, id, context, message);
    if (attr_count > 0 && attrs[0].kind != ATTR_NONE) {
        size_t len = line.len;
        add_text(&line, ",\"attr\":{");
        if (line.is_full) line.len = len;
        else {
            for (size_t i = 0; i < attr_count && !line.is_full; i++) add_attr(&line, &attrs[i], i == 0);
            line.text[line.len++] = '}'; /* TAIL_LEN has room for it */
        }
    }
    end(log, &line, severity);
}

void log_json(struct log *log, char severity, const char *component, int32_t id, const char *context,
              const char *message, const char *json) {
    struct line line;
    begin(&line, severity, component, id, context, message);
    size_t len = line.len;
    add_text(&line, ",\"attr\":");
    add_text(&line, json);
    if (line.is_full) line.len = len;
    end(log, &line, severity);
}

static int open_file(const char *path) {
    return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0600);
}

bool log_open(struct log *log, elmo_t *db, const char *path, bool is_quiet, bson_error_t *error) {
    *log = (struct log){.db = db, .fd = -1, .is_quiet = is_quiet};
    if (path != NULL && strcmp(path, "-") == 0) {
        log->fd = STDOUT_FILENO;
    } else if (path != NULL) {
        log->path = strdup(path);
        if (log->path == NULL) return fault_memory(error);
        log->fd = open_file(path);
        if (log->fd < 0) {
            int why = errno;
            free(log->path);
            return fault(error, 2, "the log file '%s' cannot be opened: %s; choose another one with logPath", path,
                         strerror(why));
        }
    }
    if (pthread_mutex_init(&log->lock, NULL) == 0) return true;
    if (log->path != NULL) (void) close(log->fd);
    free(log->path);
    return fault_memory(error);
}

bool log_reopen(struct log *log, bson_error_t *error) {
    if (log->path == NULL) return true;
    int fd = open_file(log->path);
    if (fd < 0) return fault(error, 2, "the log file '%s' cannot be opened again: %s", log->path, strerror(errno));
    (void) pthread_mutex_lock(&log->lock);
    int old = log->fd;
    log->fd = fd;
    (void) pthread_mutex_unlock(&log->lock);
    (void) close(old);
    return true;
}

void log_close(struct log *log) {
    if (log->path != NULL) (void) close(log->fd);
    free(log->path);
    (void) pthread_mutex_destroy(&log->lock);
}
