/* The shell's language: `db.users.find({age: {$gt: 30}}).sort({age: 1}).limit(5)` as a collection's name and a chain of calls. */
#ifndef ELMO_CLI_SHELL_H
#define ELMO_CLI_SHELL_H

#include <elmo/elmo.h>

#define SHELL_CALLS_MAX 16
#define SHELL_NAME_MAX 256

struct shell_call {
    char name[SHELL_NAME_MAX];
    bson_t args; /* an array */
};

struct shell_line {
    char collection[SHELL_NAME_MAX]; /* empty: a method of the database */
    struct shell_call calls[SHELL_CALLS_MAX];
    int call_count;
};

/* False with a message that shows the place. Release it in either case. */
bool shell_parse(const char *text, struct shell_line *out, char *message, size_t message_len);
void shell_line_release(struct shell_line *line);
/* The end of the first statement in `text`: at a ';' or a line's end outside of brackets, unless the next line goes on with a '.'. */
const char *shell_statement_end(const char *text);
/* Over white space and comments. */
const char *shell_skip_space(const char *text);
/* True while brackets or quotes are open: more lines belong to it. */
bool shell_is_open(const char *text);

/* Argument i of a call. */
bool shell_arg(const struct shell_call *call, int i, bson_iter_t *out);
/* A document argument: false when it is missing or none. `out` is a view. */
bool shell_doc_arg(const struct shell_call *call, int i, bson_t *out);
int shell_arg_count(const struct shell_call *call);

#endif
