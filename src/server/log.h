/* The server's log: lines of JSON in mongod's form, so that what reads mongod's logs reads these.
 *
 *   {"t":{"$date":"2024-05-01T12:00:00.000+00:00"},"s":"I","c":"NETWORK","id":23016,"ctx":"listener","msg":"Waiting for connections","attr":{"port":27017}}
 *
 * Each line goes to the file (or standard output) in one write, and to the database, where getLog finds it. Any thread may log. A line that does not
 * fit is cut and stays JSON: attributes that do not fit are left out. */
#ifndef ELMO_SERVER_LOG_H
#define ELMO_SERVER_LOG_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <elmo/client.h>

struct log {
    elmo_t *db;
    pthread_mutex_t lock; /* of fd */
    int fd;               /* -1: none */
    char *path;           /* NULL: none to reopen */
    bool is_quiet;
};

/* Path NULL: none; "-": standard output. False with `error`. */
bool log_open(struct log *log, elmo_t *db, const char *path, bool is_quiet, bson_error_t *error);
/* Opens the file anew, which somebody has moved away. On failure the old one goes on. */
bool log_reopen(struct log *log, bson_error_t *error);
void log_close(struct log *log);

/* One attribute. */
enum attr_kind { ATTR_NONE, ATTR_TEXT, ATTR_NUMBER, ATTR_BOOL };
struct attr {
    const char *name;
    enum attr_kind kind;
    const char *text;
    int64_t number;
};
#define ATTR_T(name_, text_) ((struct attr){name_, ATTR_TEXT, text_, 0})
#define ATTR_N(name_, number_) ((struct attr){name_, ATTR_NUMBER, NULL, number_})
#define ATTR_B(name_, bool_) ((struct attr){name_, ATTR_BOOL, NULL, bool_})

/* `severity` 'I', 'W', 'E'; `id` is mongod's number for the event where it has one. */
void log_line(struct log *log, char severity, const char *component, int32_t id, const char *context,
              const char *message, const struct attr *attrs, size_t attr_count);
#define LOG(log_, severity_, component_, id_, context_, message_, ...)                                                 \
    log_line(log_, severity_, component_, id_, context_, message_, (const struct attr[]){__VA_ARGS__},                 \
             sizeof((const struct attr[]){__VA_ARGS__}) / sizeof(struct attr))
/* With attributes that are JSON already ("{...}"). */
void log_json(struct log *log, char severity, const char *component, int32_t id, const char *context,
              const char *message, const char *json);

#endif
